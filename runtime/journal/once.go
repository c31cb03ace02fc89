package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/tiercel-project/tiercel/bus"
)

// An invocation without effects that ends in its first attempt has one record: its action in ACTIONS. What keeps a second one out is the
// record's message id, which the stream takes once within its duplicate window. Whoever gets the event again takes the id first (Take):
// then a first attempt that is still going on somewhere cannot be stored any more, or it was stored and is found.

// A Sent is an action on its way into ACTIONS.
type Sent struct {
	j    *Journal
	a    *Action
	sent bus.Storing
}

// Send has the action of an invocation that has written nothing stored. Wait, which must be called once, tells what came of it.
func (j *Journal) Send(ctx context.Context, a *Action) (Sent, error) {
	sent, err := j.send(ctx, a, a.ID)
	return Sent{j: j, a: a, sent: sent}, err
}

// Wait returns nil once the action is stored. It is to be announced then. The error is ErrTaken if another attempt has taken the invocation over: then
// this one never was. After any other error the event comes again, and Take finds what became of it.
func (s Sent) Wait(ctx context.Context) error {
	ack, err := s.sent.Wait(ctx, s.j.cfg.Lease)
	if err != nil {
		return fmt.Errorf("seal %s: %w", s.a.ID, err)
	}
	if ack.Duplicate {
		return fmt.Errorf("seal %s: %w", s.a.ID, ErrTaken)
	}
	s.a.Sequence = ack.Sequence
	return nil
}

// Take makes sure that no attempt that has written nothing to the invocation's journal can be stored from now on, for as long as
// ACTIONS remembers ids. It returns the action if one was stored. What it leaves in ACTIONS is a record of outcome Pending that those
// who read actions do not see.
func (j *Journal) Take(ctx context.Context, c Claim, invocation string) (*Action, error) {
	a := &Action{ID: invocation, Function: c.Function, Mode: c.Mode, Event: c.Event, Outcome: Pending}
	sent, err := j.send(ctx, a, invocation, bus.Field{Key: headerTaken, Value: "by " + j.cfg.Runtime})
	if err != nil {
		return nil, err
	}
	ack, err := sent.Wait(ctx, j.cfg.Lease)
	if err != nil {
		return nil, fmt.Errorf("take %s over: %w", invocation, err)
	}
	if !ack.Duplicate {
		return nil, nil
	}
	found, err := j.At(ctx, ack.Sequence)
	if errors.Is(err, ErrNotFound) {
		return nil, nil // taken before
	}
	return found, err
}
