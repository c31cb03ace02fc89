package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/function"
)

// A Record is one message on an invocation's journal subject. Several parts may ride in one: the claim and reads with the first
// intent, the last result with the end. Parts happened in the order of the fields.
type Record struct {
	Nonce   string    `json:"nonce"` // of this append: who gets a conflict recognises its own record by it
	Attempt int       `json:"attempt,omitempty"`
	Runtime string    `json:"runtime,omitempty"`
	Time    time.Time `json:"time"` // of the writer's clock; for people only, leases go by the reader's

	Claim     *Claim     `json:"claim,omitempty"`
	Calls     []Call     `json:"calls,omitempty"`     // finished, in order
	Intent    *Call      `json:"intent,omitempty"`    // about to be done
	Lease     bool       `json:"lease,omitempty"`     // nothing but the lease's extension
	Suspend   *Suspend   `json:"suspend,omitempty"`   // the attempt is over, the invocation is not
	Tombstone *Tombstone `json:"tombstone,omitempty"` // written by a revert: no effect may follow
	End       *End       `json:"end,omitempty"`       //
	Sealed    uint64     `json:"sealed,omitempty"`    // sequence in ACTIONS: this record is all that is left
}

// A Claim begins an attempt.
type Claim struct {
	Event    EventRef        `json:"event"`
	Function function.ID     `json:"function"`
	Pins     Pins            `json:"pins"`
	Mode     capability.Mode `json:"mode"`
	Lease    time.Duration   `json:"lease"`
	Fresh    bool            `json:"fresh,omitempty"` // what earlier attempts recorded does not count: they had no intent and other pins
	Decision string          `json:"decision"`        // guard's: "run" and why
	Revert   *RevertOf       `json:"revert,omitempty"`
}

// Pins is what a re-run needs to be the same run.
type Pins struct {
	Revision uint64 `json:"revision"`          // of the function, for people
	Module   string `json:"module"`            // digest
	Config   string `json:"config,omitempty"`  // digest
	Image    string `json:"image,omitempty"`   // digest of the state that the module was sealed in
	Sandbox  string `json:"sandbox,omitempty"` // version of rewriter and engine
	ABI      string `json:"abi"`
	Arch     string `json:"arch"`
}

// Same reports whether a run under o repeats one under p. The revision may differ: what matters of it is in the other pins.
func (p Pins) Same(o Pins) bool { p.Revision = o.Revision; return p == o }

// An EventRef is what the journal keeps of the event.
type EventRef struct {
	ID        string     `json:"id"`
	Source    string     `json:"source,omitempty"`
	Subject   string     `json:"subject,omitempty"`
	Time      time.Time  `json:"time"`      // when the kernel saw it
	Published time.Time  `json:"published"` // when the stream stored it
	Started   time.Time  `json:"started"`   // when the runtime took it up
	Sequence  uint64     `json:"sequence,omitempty"`
	Rule      string     `json:"rule,omitempty"`
	Priority  string     `json:"priority,omitempty"`
	Address   string     `json:"address,omitempty"` // bus subject
	Trace     string     `json:"traceparent,omitempty"`
	Target    bus.Target `json:"target,omitzero"`
	Manual    *Manual    `json:"manual,omitempty"` // not an event that came: somebody had the function run on it
}

// A Manual says who had a function run on an event by hand.
type Manual struct {
	By     string    `json:"by"`
	DryRun bool      `json:"dryRun,omitempty"` // rehearse, whatever the function's mode
	Asked  time.Time `json:"asked"`
	Nonce  string    `json:"nonce"` // tells apart those of one event
	Event  string    `json:"event"` // digest of the event, in the object store of bodies
}

// A Call is one operation of a function: an intent while Done is zero.
type Call struct {
	Step     int                  `json:"step"` // 1, 2, …: the function's calls in order
	Op       string               `json:"op"`
	Request  string               `json:"request,omitempty"`  // digest of operation and request as the function gave it
	Prepared *capability.Prepared `json:"prepared,omitempty"` // of a write; a result after an intent leaves it out
	Effect   string               `json:"effect,omitempty"`   // effect id, of a write
	RevertAt time.Time            `json:"revertAt,omitzero"`

	Start     time.Time           `json:"start"`
	Done      time.Time           `json:"done,omitzero"`
	Tries     int                 `json:"tries,omitempty"`    // beyond the first
	Found     bool                `json:"found,omitempty"`    // not done now: found to be done by an attempt that died
	Response  json.RawMessage     `json:"response,omitempty"` // what the function was told
	Body      string              `json:"body,omitempty"`     // or its digest, in the object store of bodies
	Error     *abi.Error          `json:"error,omitempty"`    // or the error it was told
	Inverse   *capability.Inverse `json:"inverse,omitempty"`  // more exact than the prepared one
	Object    string              `json:"object,omitempty"`
	Rehearsed bool                `json:"rehearsed,omitempty"`
	Reverted  bool                `json:"reverted,omitempty"`
	Note      string              `json:"note,omitempty"`
	Before    json.RawMessage     `json:"before,omitempty"` // the object, redacted: a rehearsal is shown as the difference
	After     json.RawMessage     `json:"after,omitempty"`
}

// RequestDigest is what Call.Request holds of an operation and its request.
func RequestDigest(op string, request []byte) string {
	s := sha256.New()
	s.Write([]byte(op))
	s.Write([]byte{'\n'})
	s.Write(request)
	return hex.EncodeToString(s.Sum(nil)[:16])
}

// Undo returns how the call is taken back, or nil if it changed nothing.
func (c *Call) Undo() *capability.Inverse {
	switch {
	case c.Effect == "" || c.Rehearsed || c.Error != nil:
		return nil
	case c.Inverse != nil:
		return c.Inverse
	case c.Prepared != nil:
		return c.Prepared.Inverse
	}
	return nil
}

// A Suspend ends an attempt whose call failed transiently.
type Suspend struct {
	Step  int       `json:"step"`
	Tries int       `json:"tries"` // of that step so far
	Until time.Time `json:"until"`
	Cause string    `json:"cause"`

	Fresh   bool `json:"fresh,omitempty"`   // begin again from live state: the function asked for it
	Stopped bool `json:"stopped,omitempty"` // by the stop switch
	Outage  bool `json:"outage,omitempty"`  // the bus was away; step and tries are those of the suspension before
	Unsent  int  `json:"unsent,omitempty"`  // step whose intent is recorded and whose effect is known not to have been sent
}

// A Tombstone is left by a revert in the journal of the invocation it reverts.
type Tombstone struct {
	Revert string `json:"revert"` // id of the revert's invocation
}

// A RevertOf says which invocation an invocation reverts, and at whose wish.
type RevertOf struct {
	Invocation string `json:"invocation"`
	By         string `json:"by"` // "timer", "sweep", or who asked
}

// An End says how the invocation ended.
type End struct {
	Outcome Outcome         `json:"outcome"`
	Reason  string          `json:"reason,omitempty"` // a short word of a closed set: trap, deadline, memory, retries, …
	Code    abi.Code        `json:"code,omitempty"`   // of the operation's error that made it fail
	Text    string          `json:"text,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"` // the function's own
	Log     []LogLine       `json:"log,omitempty"`
	Dropped int             `json:"logDropped,omitempty"` // lines above the log limit
	Guest   time.Duration   `json:"guest,omitempty"`      // time spent in the function itself, of the last attempt
}

// A LogLine is one line a function logged.
type LogLine struct {
	Level string `json:"level"`
	Text  string `json:"text"`
}
