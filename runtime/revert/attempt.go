package revert

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/dispatch"
	"github.com/tiercel-project/tiercel/runtime/journal"
)

// Points at which a runtime may die in a revert; see runtime.Point.
const (
	pointFenced = "revert-fence"
	pointSent   = "revert-sent"
)

// An attempt is one runtime carrying out one revert.
type attempt struct {
	r  *Reverter
	q  Request
	n  int
	id string // of the revert's own invocation

	state *journal.State
	log   *journal.Log
}

func (a *attempt) token() string { return a.q.Function.Token() }

func (a *attempt) run(ctx context.Context) dispatch.Verdict {
	j := a.r.deps.Journal
	s, err := j.Read(ctx, a.token(), a.id)
	if err != nil {
		return a.r.later(a.q, err)
	}
	switch {
	case s.Sealed != 0:
		return a.settle(ctx, nil)
	case s.End != nil:
		return a.seal(ctx, s.Action(a.id), s.Last, true)
	case s.Running() && s.Attempts[len(s.Attempts)-1].Runtime != a.r.cfg.Runtime:
		if !a.quiet(ctx, a.id, s.Last) {
			return dispatch.Nak(j.Lease() / 2)
		}
	case s.Suspend != nil:
		if left := s.Suspend.Until.Sub(j.Clock().Now()); left > 50*time.Millisecond {
			return dispatch.Nak(left)
		}
	}
	a.state = s
	return a.perform(ctx)
}

// quiet reports whether a full lease goes by without a new record in an invocation's journal.
func (a *attempt) quiet(ctx context.Context, invocation string, last uint64) bool {
	j := a.r.deps.Journal
	t := time.NewTimer(j.Lease() + j.Lease()/50)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return false
	}
	s, err := j.Read(ctx, a.token(), invocation)
	return err == nil && s.Last == last
}

// perform claims the revert, fences what it reverts and undoes its effects.
func (a *attempt) perform(ctx context.Context) dispatch.Verdict {
	j := a.r.deps.Journal
	target, err := j.Read(ctx, a.token(), a.q.Invocation)
	if err != nil {
		return a.r.later(a.q, err)
	}
	action, err := a.target(ctx, target)
	if errors.Is(err, journal.ErrNotFound) {
		a.r.deps.Log.Error("revert of an action that is not on record", "invocation", a.q.Invocation)
		return dispatch.Term()
	}
	if err != nil {
		return a.r.later(a.q, err)
	}
	a.log = j.Begin(a.token(), a.id, journal.Claim{
		Event: action.Event, Function: action.Function, Pins: action.Pins, Mode: capability.Enforce, Decision: "run",
		Revert: &journal.RevertOf{Invocation: a.q.Invocation, By: a.q.By},
	}, a.state)
	if err := a.log.Claim(ctx); err != nil {
		return a.lost(err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	beat := make(chan struct{})
	go func() { defer close(beat); a.renew(ctx, cancel) }()
	end, err := a.undoAll(ctx)
	cause := context.Cause(ctx)
	cancel(nil)
	<-beat
	ctx = context.WithoutCancel(ctx)
	if err != nil && cause != nil {
		err = cause
	}
	if after, ok := capability.Transient(err); ok {
		return a.suspend(ctx, err, after)
	}
	if err != nil {
		return a.lost(err)
	}
	rec, last, err := a.log.End(ctx, end)
	if err != nil {
		return a.lost(err)
	}
	return a.seal(ctx, rec, last, false)
}

// renew extends the lease until ctx ends.
func (a *attempt) renew(ctx context.Context, cancel context.CancelCauseFunc) {
	t := time.NewTicker(a.r.deps.Journal.Lease() / 3)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			// An append that is broken off leaves the log of no use to the attempt's end.
			if err := a.log.Renew(context.WithoutCancel(ctx)); err != nil && ctx.Err() == nil {
				cancel(err)
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// target returns the action to be undone as it is known: sealed, or so far.
func (a *attempt) target(ctx context.Context, s *journal.State) (*journal.Action, error) {
	if s.Claim != nil {
		return s.Action(a.q.Invocation), nil
	}
	if s.Sealed != 0 {
		if act, err := a.r.deps.Journal.At(ctx, s.Sealed); err == nil {
			return act, nil
		}
	}
	return a.r.deps.Journal.Find(ctx, a.q.Invocation, time.Time{})
}

// undoAll fences the invocation, waits until nothing of it can be under way, and undoes its effects.
func (a *attempt) undoAll(ctx context.Context) (end journal.End, err error) {
	j := a.r.deps.Journal
	s, err := j.Fence(ctx, a.token(), a.q.Invocation, a.id)
	if err != nil {
		return end, err
	}
	if err := a.reach(ctx, pointFenced); err != nil {
		return end, err
	}
	if s.Running() {
		// Its owner may have sent an effect that is still on the way.
		if err := wait(ctx, j.Lease()+j.Lease()/50); err != nil {
			return end, err
		}
	}
	action, err := a.target(ctx, s)
	if err != nil {
		return end, err
	}
	var undone int
	var failures, not []string
	for k, c := range action.Effects() {
		refused, err := a.undo(ctx, k+1, &c, action)
		switch {
		case err != nil:
			return end, err
		case refused != nil:
			failures = append(failures, fmt.Sprintf("%s: %s", c.Undo().Summary, refused.Text))
		default:
			undone++
		}
	}
	for _, c := range action.Calls {
		if u := c.Undo(); u != nil && !u.Reversible() && u.Irreversible != "" {
			not = append(not, c.Op+": "+u.Irreversible)
		}
	}
	end = journal.End{Outcome: journal.Succeeded, Text: fmt.Sprintf("%d undone", undone)}
	if len(not) != 0 {
		end.Text += "; cannot be undone: " + strings.Join(not, "; ")
	}
	if len(failures) != 0 {
		end.Outcome, end.Reason, end.Text = journal.Failed, "function", end.Text+"; not undone: "+strings.Join(failures, "; ")
	}
	if s.Claim != nil && s.End == nil && s.Sealed == 0 {
		return end, a.endTarget(ctx)
	}
	return end, nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errDied = errors.New("the runtime died here")

func (a *attempt) reach(ctx context.Context, point string) error {
	if a.r.deps.Reach == nil {
		return nil
	}
	if err := a.r.deps.Reach(ctx, point, a.q.Invocation); err != nil {
		return fmt.Errorf("%w: %w", errDied, err)
	}
	return nil
}

// undo takes one effect back, unless an earlier attempt has. refused says that it cannot be.
func (a *attempt) undo(ctx context.Context, step int, c *journal.Call, action *journal.Action) (refused *abi.Error, err error) {
	if done, ok := a.state.Recorded(step); ok {
		return done.Error, nil
	}
	inverse := c.Undo()
	clock := a.r.deps.Journal.Clock()
	call := journal.Call{
		Step: step, Op: inverse.Op, Effect: a.id + "." + strconv.Itoa(step), Start: clock.Now(),
		Prepared: &capability.Prepared{Op: inverse.Op, Write: true, Class: capability.Convergent, Canonical: inverse.Request, Summary: inverse.Summary},
	}
	if err := a.log.Intend(ctx, call); err != nil {
		return nil, err
	}
	left := a.log.Lease() - clock.Boot()
	if left <= 0 {
		return nil, journal.ErrLease
	}
	ectx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	scope := capability.Scope{
		Function: action.Function.Capability(), Target: action.Event.Target, Mode: capability.Enforce, Invocation: a.id,
		Event: action.Event.ID, Rule: action.Event.Rule,
	}
	res, err := a.r.deps.Capabilities.Revert(ectx, scope, inverse, c.Effect) // what is taken back is known by its own id
	if ferr := a.reach(ctx, pointSent); ferr != nil {
		return nil, ferr
	}
	call.Done = clock.Now()
	if e, ok := errors.AsType[*abi.Error](err); ok {
		call.Error = e
		return e, a.log.Add(ctx, call)
	}
	if err != nil {
		if _, ok := capability.Transient(err); !ok {
			err = &capability.TransientError{Err: err} // there is nothing to lose by trying again
		}
		return nil, err
	}
	call.Response, call.Object, call.Note = res.Response, res.Object, res.Note
	return nil, a.log.Add(ctx, call)
}

// endTarget ends the invocation that was undone before it had ended.
func (a *attempt) endTarget(ctx context.Context) error {
	j := a.r.deps.Journal
	s, err := j.Read(ctx, a.token(), a.q.Invocation)
	if err != nil || s.Sealed != 0 {
		return err
	}
	act, last := s.Action(a.q.Invocation), s.Last
	if s.End == nil {
		claim := *s.Claim
		claim.Decision = "none: reverted"
		act, last, err = j.Begin(a.token(), a.q.Invocation, claim, s).End(ctx, journal.End{Outcome: journal.Reverted, Reason: "reverted", Text: "reverted by " + a.id})
		if errors.Is(err, journal.ErrTaken) {
			return nil // its own runtime has seen the tombstone and ended it
		}
		if err != nil {
			return err
		}
	}
	if err := j.Seal(ctx, act, last, true); err != nil {
		return err
	}
	a.r.deps.OnAction(act)
	return nil
}

// suspend ends an attempt whose inverse could not be carried out now.
func (a *attempt) suspend(ctx context.Context, cause error, after time.Duration) dispatch.Verdict {
	tries := 1
	if a.state.Suspend != nil {
		tries = a.state.Suspend.Tries + 1
	}
	d := max(after, min(time.Second<<min(tries-1, 5), 30*time.Second))
	if err := a.log.Suspend(ctx, journal.Suspend{Tries: tries, Until: a.r.deps.Journal.Clock().Now().Add(d), Cause: cause.Error()}); err != nil {
		return a.lost(err)
	}
	a.r.deps.Log.Warn("revert is tried again", "invocation", a.q.Invocation, "attempt", tries, "err", cause)
	return dispatch.Nak(d) // for ever: what was promised to be undone is not forgotten
}

func (a *attempt) lost(err error) dispatch.Verdict {
	if errors.Is(err, errDied) {
		return dispatch.Leave()
	}
	return a.r.later(a.q, err)
}

// seal stores what is left of the revert.
func (a *attempt) seal(ctx context.Context, act *journal.Action, last uint64, again bool) dispatch.Verdict {
	if err := a.r.deps.Journal.Seal(ctx, act, last, again); err != nil {
		return a.r.later(a.q, err)
	}
	a.r.deps.OnAction(act)
	return a.settle(ctx, act)
}

// settle remembers that the revert is over. act is nil if another runtime sealed it.
func (a *attempt) settle(ctx context.Context, act *journal.Action) dispatch.Verdict {
	if act == nil {
		var err error
		if act, err = a.r.deps.Journal.Find(ctx, a.id, time.Time{}); err != nil {
			return a.r.later(a.q, err)
		}
	}
	if err := a.r.finish(ctx, a.q.Invocation, done{N: a.n, OK: act.Outcome == journal.Succeeded}); err != nil {
		return a.r.later(a.q, err)
	}
	return dispatch.Ack()
}
