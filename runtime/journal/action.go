package journal

import (
	"time"

	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/function"
)

// An Action is an invocation as told to people: sealed into ACTIONS when it has ended, or made from its journal while it has not.
type Action struct {
	ID       string          `json:"id"`
	Function function.ID     `json:"function"`
	Mode     capability.Mode `json:"mode,omitempty"`
	Event    EventRef        `json:"event"`
	Pins     Pins            `json:"pins,omitzero"`
	Outcome  Outcome         `json:"outcome"`
	End      End             `json:"end"`
	Attempts []Attempt       `json:"attempts,omitempty"`
	Calls    []Call          `json:"calls,omitempty"`
	Revert   *RevertOf       `json:"revert,omitempty"`
	Waiting  *Suspend        `json:"waiting,omitempty"` // not ended: until when, and why
	Skips    *Skips          `json:"skips,omitempty"`   // of an aggregate of skipped events
	Ended    time.Time       `json:"ended,omitzero"`
	Sealed   time.Time       `json:"sealed,omitzero"`    // when ACTIONS stored it
	Sequence uint64          `json:"sequence,omitempty"` // there
}

// An Attempt is one claim.
type Attempt struct {
	Number   int       `json:"number"`
	Runtime  string    `json:"runtime"`
	Time     time.Time `json:"time"`
	Decision string    `json:"decision"`
	Ended    string    `json:"ended,omitempty"` // "ended", "suspended: cause", "interrupted: cause" by an outage of the bus; empty: it died, or is running
}

// Skips says which events an aggregate stands for.
type Skips struct {
	Reason string    `json:"reason"`
	Count  int       `json:"count"`
	Events []string  `json:"events"` // ids, at most MaxSkipped
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
}

// MaxSkipped bounds the events of one aggregate of skips.
const MaxSkipped = 256

// Effects returns the calls that changed something and can be taken back, the latest first.
func (a *Action) Effects() []Call {
	var out []Call
	for i := len(a.Calls) - 1; i >= 0; i-- {
		if c := a.Calls[i]; c.Undo().Reversible() {
			out = append(out, c)
		}
	}
	return out
}

// FirstEffect is when the first write was acknowledged, or zero.
func (a *Action) FirstEffect() time.Time {
	for i := range a.Calls {
		if c := &a.Calls[i]; c.Effect != "" && c.Error == nil && !c.Done.IsZero() {
			return c.Done
		}
	}
	return time.Time{}
}
