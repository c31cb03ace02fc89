package dispatch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/runtime/journal"
)

// A Delivery is an event that is to be handled, from the stream or from a timer.
type Delivery struct {
	Event     *bus.Event
	Match     *bus.MatchData
	Raw       []byte          // the event as JSON, structured mode
	Address   string          // bus subject
	Sequence  uint64          // in EVENTS
	Published time.Time       // when the stream stored it
	Received  time.Time       // when this runtime took it
	Again     bool            // not the first delivery: there may be a journal
	Manual    *journal.Manual // not nil: asked for by hand, not from the stream
	Forged    error           // not nil: the event is not what its address says, and nothing in it is to be believed
}

// A Verdict says what becomes of a message.
type Verdict struct {
	do        action
	delay     time.Duration
	Transient bool // the target is out of reach: the next event would fare no better

	after  func(context.Context) Verdict
	finish bool // after's context outlives Run's by the grace
	store  bool // after takes a round trip to the bus
	then   func(context.Context)
}

type action uint8

const (
	ack action = iota + 1
	term
	nak
	leave
	handleAgain
)

// Ack ends the message: it is handled.
func Ack() Verdict { return Verdict{do: ack} }

// Term ends the message: it will never be handled. Its dead letter is stored already.
func Term() Verdict { return Verdict{do: term} }

// Nak asks for the message again after a delay, which should be short: MaxAckPending counts it until then.
func Nak(delay time.Duration) Verdict { return Verdict{do: nak, delay: delay} }

// Leave does nothing: the message comes again when the ack wait is over, here or elsewhere.
func Leave() Verdict { return Verdict{do: leave} }

// Again has the message handled once more, when a slot is free. It is for the end of After's function.
func Again() Verdict { return Verdict{do: handleAgain} }

// After gives the slot back and has f decide, while the message goes on being extended. It is for waiting: f's context ends with Run's.
func After(f func(context.Context) Verdict) Verdict { return Verdict{after: f} }

// Finish is After for work that is to be finished when Run's context ends: f's context outlives it by the grace.
func Finish(f func(context.Context) Verdict) Verdict { return Verdict{after: f, finish: true} }

// Store is Finish for what takes one round trip to the bus: of those, only a few wait beside those that have a slot.
func Store(f func(context.Context) Verdict) Verdict {
	return Verdict{after: f, finish: true, store: true}
}

// Then has f called once the message is acked or terminated for good. It is not called for any other verdict.
func (v Verdict) Then(f func(context.Context)) Verdict {
	if after := v.after; after != nil {
		v.after = func(ctx context.Context) Verdict { return after(ctx).Then(f) }
		return v
	}
	if v.do == ack || v.do == term {
		v.then = f
	}
	return v
}

func (v Verdict) String() string {
	switch v.do {
	case ack:
		return "ack"
	case term:
		return "term"
	case nak:
		return "nak"
	}
	return "leave"
}

// ErrForged is in every error about an event that contradicts its address.
var ErrForged = errors.New("the event is not what its address says")

// Read makes a delivery of a message of EVENTS. The error says that it is no event at all; a forged one is no error.
func Read(subject string, h nats.Header, body []byte) (*Delivery, error) {
	e, m, err := bus.DecodeMatch(h, body)
	if err != nil {
		return nil, err
	}
	d := &Delivery{Event: e, Match: m, Address: subject, Raw: body}
	if h.Get("ce-specversion") != "" {
		d.Raw = bus.Marshal(e)
	}
	d.Forged = check(bus.Subject(subject), h.Get(nats.MsgIdHdr), e, m)
	return d, nil
}

// check compares the body with the subject, which the server let the publisher use.
func check(subject bus.Subject, msgID string, e *bus.Event, m *bus.MatchData) error {
	a, err := bus.ParseEventSubject(subject)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForged, err)
	}
	differ := func(what, got, want string) error {
		if got == want {
			return nil
		}
		return fmt.Errorf("%w: %s is %q in the event and %q in the subject", ErrForged, what, got, want)
	}
	token := func(what, name, want string) error {
		if bus.IsRuleToken(want, name) {
			return nil
		}
		return differ(what, bus.RuleToken(name), want)
	}
	var errs []error
	for _, err := range [...]error{
		token("rule", m.Rule, a.Rule),
		token("priority", m.Priority, a.Priority),
		token("source", m.Source, a.Source),
		differ("namespace", m.Target.Namespace, a.Namespace),
	} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	if e.Rule != "" {
		errs = append(errs, token("rule attribute", e.Rule, a.Rule))
	}
	// By the subject's source: "Syscall" in the body has the same token.
	sensor := a.Source == "syscall"
	if sensor || m.Target.Node != "" { // a sensor always says its node: without it, nothing would tell where the target must be
		errs = append(errs, differ("node", m.Target.Node, a.Node))
	}
	if sensor {
		// The sensor's ids begin with its node: otherwise one node could swallow another's event by using its id.
		for _, id := range [...]struct{ what, id string }{{"id", e.ID}, {"message id", msgID}} {
			if rest, ok := strings.CutPrefix(id.id, a.Node); id.id != "" && (!ok || !strings.HasPrefix(rest, "-")) {
				errs = append(errs, fmt.Errorf("%w: %s %q is not one of node %q", ErrForged, id.what, id.id, a.Node))
			}
		}
	}
	if msgID != "" && msgID != e.ID {
		errs = append(errs, fmt.Errorf("%w: id is %q in the event and %q in the message", ErrForged, e.ID, msgID))
	}
	return errors.Join(errs...)
}
