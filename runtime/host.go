package runtime

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/function"
	"github.com/tiercel-project/tiercel/runtime/guard"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

var (
	errDiverged = errors.New("run again, the function asked for something else than is recorded")
	errDied     = errors.New("the runtime died here")
)

// A host answers the calls of one attempt: those that are recorded from the journal, the others by doing them.
type host struct {
	i       *invocation
	log     *journal.Log
	scope   capability.Scope
	step    int
	intents int // ever written for this invocation
	fresh   int // fresh attempts the function has asked for so far

	recorded []journal.Call // of earlier attempts, in order
	pending  *journal.Call  // an intent of an attempt that died or was suspended
	susp     *journal.Suspend
}

func newHost(i *invocation, log *journal.Log, claim journal.Claim) *host {
	h := &host{i: i, log: log, intents: i.state.Intents, susp: i.state.Suspend, scope: i.scope()}
	if h.susp != nil && h.susp.Fresh {
		h.fresh = h.susp.Tries
	}
	if !claim.Fresh {
		h.recorded, h.pending = i.state.Calls, i.state.Intent
	}
	return h
}

func (i *invocation) scope() capability.Scope {
	return capability.Scope{
		Function: i.lv.fn.ID.Capability(), Grants: i.lv.grants, Target: i.d.Match.Target, Mode: i.mode(), Invocation: i.id,
		Event: i.d.Event.ID, Rule: i.d.Match.Rule, Root: i.d.Event.ID, Config: i.lv.fn.Doc.Spec.Config,
	}
}

// unfinished reports whether a run that has ended has left out a call that an earlier one had made.
func (h *host) unfinished() bool {
	return h.step < len(h.recorded) || h.pending != nil
}

// Call answers one operation. See sandbox.Host.
func (h *host) Call(ctx context.Context, op string, request []byte) ([]byte, error) {
	h.step++
	digest := journal.RequestDigest(op, request)
	if h.step <= len(h.recorded) {
		c := h.recorded[h.step-1]
		if c.Step != h.step || c.Request != digest {
			return nil, h.stop(fmt.Errorf("%w: call %d is %s", errDiverged, h.step, op))
		}
		return h.answer(ctx, c)
	}
	if in := h.pending; in != nil {
		if in.Step != h.step || in.Request != digest {
			return nil, h.stop(fmt.Errorf("%w: call %d is %s", errDiverged, h.step, op))
		}
		h.pending = nil
		return h.settle(ctx, *in)
	}
	return h.perform(ctx, journal.Call{Step: h.step, Op: op, Request: digest, Start: h.now()}, request)
}

func (h *host) now() time.Time { return h.i.rt.deps.Clock.Now() }

func (h *host) stop(err error) error { return &sandbox.Stop{Err: err} }

func (h *host) reach(ctx context.Context, p Point) error {
	if err := h.i.rt.deps.Faults.Reach(ctx, p, h.i.id); err != nil {
		return h.stop(fmt.Errorf("%w: %w", errDied, err))
	}
	return nil
}

// answer repeats a recorded answer.
func (h *host) answer(ctx context.Context, c journal.Call) ([]byte, error) {
	if c.Error != nil {
		return nil, c.Error
	}
	if c.Body == "" {
		return c.Response, nil
	}
	b, err := h.i.rt.bodies.GetBytes(ctx, c.Body)
	if err != nil {
		return nil, h.stop(fmt.Errorf("answer to call %d: %w", c.Step, err))
	}
	return b, nil
}

// perform does a call that no attempt has made.
func (h *host) perform(ctx context.Context, c journal.Call, request []byte) ([]byte, error) {
	caps := h.i.rt.deps.Capabilities
	p, err := caps.Prepare(ctx, h.scope, c.Op, request)
	if err != nil {
		return h.failed(ctx, c, err)
	}
	if !p.Write || h.scope.Mode != capability.Enforce {
		if p.Write {
			c.Prepared = p
		}
		res, err := caps.Execute(ctx, h.scope, p, h.effect())
		if err != nil {
			return h.failed(ctx, c, err)
		}
		return h.done(ctx, c, res)
	}
	c.Prepared, c.Effect = p, h.effect()
	return h.intend(ctx, c)
}

// effect is the id of the effect of the current call: the same in every attempt.
func (h *host) effect() string { return h.i.id + "." + strconv.Itoa(h.step) }

// intend records that a write is about to be done, and does it.
func (h *host) intend(ctx context.Context, c journal.Call) ([]byte, error) {
	if err := h.allowed(ctx, c); err != nil {
		return nil, err
	}
	if err := h.reach(ctx, PointPrepared); err != nil {
		return nil, err
	}
	if rv := h.i.lv.fn.Doc.Spec.Revert; rv != nil && c.Prepared.Inverse.Reversible() {
		c.RevertAt = h.now().Add(rv.After.Std())
	}
	if err := h.log.Intend(ctx, c); err != nil {
		return nil, h.stop(err)
	}
	h.intents++
	if err := h.reach(ctx, PointIntended); err != nil {
		return nil, err
	}
	return h.open(ctx, c)
}

// open sees to it that a write whose intent is recorded is reverted in time, and does it.
func (h *host) open(ctx context.Context, c journal.Call) ([]byte, error) {
	if !c.RevertAt.IsZero() {
		// Before the effect: what must be undone is never known to nobody.
		if err := h.i.rt.reverter.Open(ctx, h.i.lv.fn.ID, h.i.id, c.RevertAt); err != nil {
			return nil, h.stop(h.transient(c, err, 0))
		}
	}
	return h.send(ctx, c)
}

// allowed asks the stop switch.
func (h *host) allowed(ctx context.Context, c journal.Call) error {
	err := h.i.rt.stop.Check(ctx, false)
	if errors.Is(err, guard.ErrStopped) || errors.Is(err, guard.ErrUnconfirmed) {
		return h.stop(&suspension{step: c.Step, tries: h.tries(c.Step), cause: err, stopped: true})
	}
	if err != nil {
		return h.stop(err)
	}
	return nil
}

// tries is how often a step has been tried again so far.
func (h *host) tries(step int) int {
	if h.susp != nil && !h.susp.Fresh && h.susp.Step == step {
		return h.susp.Tries
	}
	return 0
}

// transient is the suspension after a call that may succeed later.
func (h *host) transient(c journal.Call, err error, after time.Duration) error {
	return &suspension{step: c.Step, tries: h.tries(c.Step) + 1, after: after, cause: err}
}

// send does a write whose intent is recorded, while the lease holds.
func (h *host) send(ctx context.Context, c journal.Call) ([]byte, error) {
	r := h.i.rt
	if left := h.log.Lease() - r.deps.Clock.Boot(); left < r.cfg.Lease/2 {
		if err := h.log.Renew(ctx); err != nil {
			return nil, h.stop(err)
		}
	}
	if err := h.reach(ctx, PointSending); err != nil {
		return nil, err
	}
	if err := h.allowed(ctx, c); err != nil {
		return nil, err
	}
	left := h.log.Lease() - r.deps.Clock.Boot()
	if left <= 0 {
		return nil, h.stop(journal.ErrLease)
	}
	ectx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	c.Tries = h.tries(c.Step)
	res, err := r.deps.Capabilities.Execute(ectx, h.scope, c.Prepared, c.Effect)
	if ferr := h.reach(ctx, PointDone); ferr != nil {
		return nil, ferr
	}
	if err != nil {
		return h.failed(ctx, c, err)
	}
	return h.done(ctx, c, res)
}

// settle finds out what became of a write that an earlier attempt began, and finishes it.
func (h *host) settle(ctx context.Context, c journal.Call) ([]byte, error) {
	if h.unsent(c.Step) {
		return h.open(ctx, c)
	}
	done, res, err := h.i.rt.deps.Capabilities.Look(ctx, h.scope, c.Prepared, c.Effect)
	switch {
	case errors.Is(err, capability.ErrUnknown):
		if h.i.lv.fn.Doc.Spec.Grants.OnUnknown != function.OnUnknownRepeat {
			return nil, h.stop(fmt.Errorf("%s: %w", c.Prepared.Summary, err))
		}
		return h.open(ctx, c)
	case err != nil:
		return h.failed(ctx, c, err)
	case done:
		c.Found = true
		return h.done(ctx, c, res)
	}
	return h.open(ctx, c)
}

// unsent reports whether it is known that the effect of a recorded intent may be sent without looking: it was answered that it is worth
// another try, or it was not sent at all.
func (h *host) unsent(step int) bool {
	return h.susp != nil && (h.susp.Step == step && !h.susp.Outage || h.susp.Unsent == step)
}

// failed turns an error into an answer for the function if it is one, and into the end of the attempt otherwise.
func (h *host) failed(ctx context.Context, c journal.Call, err error) ([]byte, error) {
	if answer, ok := errors.AsType[*abi.Error](err); ok {
		c.Done, c.Error = h.now(), answer
		if err := h.add(ctx, c); err != nil {
			return nil, err
		}
		return nil, answer
	}
	if errors.Is(err, capability.ErrForged) || errors.Is(err, capability.ErrUnknown) {
		return nil, h.stop(err)
	}
	if after, ok := capability.Transient(err); ok {
		return nil, h.stop(h.transient(c, err, after))
	}
	if ctx.Err() != nil {
		return nil, h.stop(ctx.Err())
	}
	if c.Effect != "" && c.Prepared.Class == capability.Unconditional && errors.Is(err, context.DeadlineExceeded) {
		return nil, h.stop(fmt.Errorf("%s: %w: %w", c.Prepared.Summary, capability.ErrUnknown, err))
	}
	return nil, h.stop(h.transient(c, err, 0))
}

// largeAnswer is the size above which an answer is stored as an object of its own, in bytes.
const largeAnswer = 64 << 10

// done records the answer of a call and gives it to the function.
func (h *host) done(ctx context.Context, c journal.Call, res capability.Result) ([]byte, error) {
	c.Done, c.Response, c.Object, c.Rehearsed, c.Note, c.Inverse = h.now(), res.Response, res.Object, res.Rehearsed, res.Note, res.Inverse
	if res.Rehearsed && len(res.Before)+len(res.After) <= largeAnswer {
		c.Before, c.After = res.Before, res.After
	}
	if len(c.Response) == 0 {
		c.Response = json.RawMessage("{}")
	}
	answer := c.Response
	if len(answer) > largeAnswer {
		sum := sha256.Sum256(answer)
		c.Body, c.Response = "sha256:"+hex.EncodeToString(sum[:]), nil
		if _, err := h.i.rt.bodies.PutBytes(ctx, c.Body, answer); err != nil {
			return nil, h.stop(fmt.Errorf("store answer to call %d: %w", c.Step, err))
		}
	}
	if err := h.add(ctx, c); err != nil {
		return nil, err
	}
	return answer, nil
}

func (h *host) add(ctx context.Context, c journal.Call) error {
	if err := h.log.Add(ctx, c); err != nil {
		return h.stop(err)
	}
	return nil
}
