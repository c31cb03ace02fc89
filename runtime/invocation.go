package runtime

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/dispatch"
	"github.com/tiercel-project/tiercel/runtime/function"
	"github.com/tiercel-project/tiercel/runtime/guard"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

// An invocation is one function handling one event, as one runtime attempts it.
type invocation struct {
	rt    *Runtime
	lv    *live
	d     *dispatch.Delivery
	id    string
	token string
	state *journal.State // as read back; empty on a first delivery
	epoch uint64         // of the connection to the bus when the attempt began
	kept  bool           // as being attempted here, until what was sent is stored
}

// Reasons of ends, beside the guard's and the kinds of faults.
const (
	reasonRetries    = "retries"   // a call failed transiently once too often
	reasonAttempts   = "attempts"  // too many attempts ended without saying how
	reasonFunction   = "function"  // the function says so
	reasonPins       = "pins"      // another revision, and effects were begun
	reasonReplay     = "replay"    // run again, it asked for something else
	reasonUnknown    = "unknown"   // whether an effect took place
	reasonForged     = "forged"    //
	reasonReverted   = "reverted"  //
	reasonDeleted    = "deleted"   // the function is no more
	reasonSpooledDup = "duplicate" // handled long ago
	reasonStopped    = "stopped"   // by the switch, and too old since
	reasonDiscarded  = "discarded" // by the stream of events
	reasonInternal   = "internal"  // the runtime's own fault
	longBackoff      = 5 * time.Second
)

// handle handles one event that came for a function.
func (r *Runtime) handle(ctx context.Context, lv *live, d *dispatch.Delivery) dispatch.Verdict {
	if d.Forged != nil {
		return r.forged(ctx, lv, d)
	}
	if d.Manual == nil && !lv.fn.Selects(d.Event, d.Match) {
		r.metrics.unselected(lv.fn.ID.Token())
		return dispatch.Ack()
	}
	i := &invocation{rt: r, lv: lv, d: d, token: lv.fn.ID.Token(), state: new(journal.State)}
	i.id = lv.fn.ID.Invocation(d.Event.ID, d.Event.Time, "")
	if d.Manual != nil {
		i.id = manualID(lv.fn.ID, d.Event.ID, d.Manual)
	}
	if !r.enter(i.id) {
		// This runtime is at it already: the message came again in spite of its extension.
		return dispatch.After(func(ctx context.Context) dispatch.Verdict { return i.rest(ctx, r.cfg.Lease/4) })
	}
	defer func() {
		if !i.kept {
			r.leave(i.id)
		}
	}()
	return i.handle(ctx)
}

// enter marks an invocation as being attempted here, once at a time.
func (r *Runtime) enter(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.active[id] {
		return false
	}
	r.active[id] = true
	return true
}

func (r *Runtime) leave(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.active, id)
}

func (i *invocation) handle(ctx context.Context) dispatch.Verdict {
	if i.d.Again {
		s, err := i.rt.journal.Read(ctx, i.token, i.id)
		if err != nil {
			return i.later(err)
		}
		i.state = s
	}
	if v, done := i.finished(ctx); done {
		return v
	}
	if i.state.Claim != nil {
		return i.resume(ctx)
	}
	return i.first(ctx)
}

// finished ends an invocation that is over, or was handled long ago.
func (i *invocation) finished(ctx context.Context) (v dispatch.Verdict, done bool) {
	s, r := i.state, i.rt
	switch {
	case s.Sealed != 0:
		r.metrics.duplicate(i.token)
		return dispatch.Ack(), true
	case s.End != nil:
		return i.seal(ctx, s.Action(i.id), s.Last, true), true
	case s.Last == 0 && i.aged():
		a, err := r.journal.Find(ctx, i.id, time.Time{})
		if err == nil && i.d.Again {
			err = r.journal.AnnounceAgain(ctx, a) // the attempt that stored it may have died before it did
		}
		if err == nil {
			r.metrics.duplicate(i.token)
			return dispatch.Ack(), true
		}
		if !errors.Is(err, journal.ErrNotFound) {
			return i.later(err), true
		}
	}
	if s.Last == 0 && i.d.Again && i.d.Manual == nil {
		return i.take(ctx)
	}
	return v, false
}

// take keeps an earlier attempt out that has written nothing to the journal, or finds that it has ended the invocation.
func (i *invocation) take(ctx context.Context) (v dispatch.Verdict, done bool) {
	a, err := i.rt.journal.Take(ctx, i.claim(""), i.id)
	if err == nil && a != nil {
		err = i.rt.journal.AnnounceAgain(ctx, a) // it may have died before it did
	}
	switch {
	case err != nil:
		return i.later(err), true
	case a != nil:
		i.rt.metrics.duplicate(i.token)
		return dispatch.Ack(), true
	}
	return v, false
}

// aged reports whether the event may have been handled so long ago that its journal is gone: it was spooled for longer than the stream
// remembers ids, or comes again after longer than sealed invocations are remembered.
func (i *invocation) aged() bool {
	const window = 2 * time.Minute // EVENTS' duplicate window
	spooled := i.d.Published.Sub(i.d.Event.Time) > window
	again := i.d.Again && i.d.Received.Sub(i.d.Published) > min(journal.MinSeen, i.rt.cfg.Seen)/2
	return spooled || again
}

// later gives the message back after a failure of the bus, which says nothing about the event.
func (i *invocation) later(err error) dispatch.Verdict {
	i.rt.log.Debug("invocation is put off", "function", i.token, "event_id", i.d.Event.ID, "err", err)
	return dispatch.Nak(time.Second + rand.N(time.Second))
}

// rest waits and then has the event handled again.
func (i *invocation) rest(ctx context.Context, d time.Duration) dispatch.Verdict {
	if !sleep(ctx, d) {
		return dispatch.Leave()
	}
	return dispatch.Again()
}

// request is what the guard decides on.
func (i *invocation) request() guard.Request {
	return guard.Request{Function: i.lv.fn, Revision: i.lv.entry.Revision, Invocation: i.id, Event: i.d.Event, Match: i.d.Match, Now: i.d.Received}
}

// first attempts an invocation that nobody has claimed.
func (i *invocation) first(ctx context.Context) dispatch.Verdict {
	decision, err := i.decide(ctx)
	if err != nil {
		return i.later(err)
	}
	switch {
	case decision.Run():
		return i.attempt(ctx, i.claim(decision.String()))
	case decision.Outcome == journal.Skipped:
		skip := guard.Skip{Function: i.lv.fn.ID, Mode: i.mode(), Event: i.event(), Decision: decision}
		return dispatch.Finish(func(ctx context.Context) dispatch.Verdict {
			if err := i.rt.skips.Add(ctx, skip); err != nil {
				return i.later(err)
			}
			i.rt.metrics.ended(i.token, journal.Skipped)
			return dispatch.Ack()
		})
	}
	return i.end(ctx, i.begin(i.claim(decision.String())), journal.End{Outcome: decision.Outcome, Reason: decision.Reason, Text: decision.Text})
}

func (i *invocation) begin(c journal.Claim) *journal.Log {
	return i.rt.journal.Begin(i.token, i.id, c, i.state)
}

func (i *invocation) mode() capability.Mode {
	if m := i.d.Manual; m != nil && m.DryRun {
		return capability.DryRun
	}
	return i.lv.fn.Doc.Spec.Mode
}

func (i *invocation) claim(decision string) journal.Claim {
	return journal.Claim{Event: i.event(), Function: i.lv.fn.ID, Pins: i.lv.pins, Mode: i.mode(), Decision: decision}
}

func (i *invocation) event() journal.EventRef {
	d := i.d
	return journal.EventRef{
		ID: d.Event.ID, Source: d.Event.Source, Subject: d.Event.Subject, Time: d.Event.Time, Published: d.Published, Started: d.Received,
		Sequence: d.Sequence, Rule: d.Match.Rule, Priority: d.Match.Priority, Address: d.Address, Trace: d.Event.TraceParent, Target: d.Match.Target,
		Manual: d.Manual,
	}
}

// resume attempts an invocation that was claimed before.
func (i *invocation) resume(ctx context.Context) dispatch.Verdict {
	s, r := i.state, i.rt
	if s.Tombstone != nil {
		return i.end(ctx, i.begin(i.claim("none: reverted")), journal.End{Outcome: journal.Reverted, Reason: reasonReverted, Text: "reverted by " + s.Tombstone.Revert})
	}
	if s.Running() && !r.mayTake(i.id, s) {
		return dispatch.After(i.awaitLease)
	}
	if s.Suspend != nil {
		if left := s.Suspend.Until.Sub(r.deps.Clock.Now()); left > 50*time.Millisecond {
			return i.putOff(ctx, left)
		}
	}
	claim := i.claim("resumed")
	if n := s.Crashes(); n >= r.cfg.Attempts {
		return i.crashed(ctx, claim, n)
	}
	if !s.Claim.Pins.Same(i.lv.pins) || s.Claim.Mode != i.mode() {
		if s.Intents != 0 {
			return i.end(ctx, i.begin(claim), journal.End{
				Outcome: journal.Unresumable, Reason: reasonPins,
				Text: fmt.Sprintf("begun under revision %d, which is not what is deployed now, and effects were begun", s.Claim.Pins.Revision),
			})
		}
		claim.Fresh = true
	}
	if s.Suspend != nil && s.Suspend.Fresh && s.Intents == 0 {
		claim.Fresh = true
	}
	if age := r.deps.Clock.Now().Sub(i.d.Event.Time); s.Intents == 0 && s.Suspend != nil && s.Suspend.Stopped && i.maxAge() > 0 && age > i.maxAge() {
		return i.end(ctx, i.begin(claim), journal.End{Outcome: journal.Expired, Reason: reasonStopped, Text: "too old when the stop switch was turned off"})
	}
	return i.attempt(ctx, claim)
}

// maxAge is how old the event may be; 0: of any age.
func (i *invocation) maxAge() time.Duration {
	if i.d.Manual != nil {
		return 0
	}
	return i.lv.fn.Doc.Spec.MaxAge.Std()
}

// mayTake reports whether the attempt that seems to be running is known to be over: it was this runtime's own, or a full lease has gone
// by on this runtime's clock since it saw the last record.
func (r *Runtime) mayTake(id string, s *journal.State) bool {
	if s.Attempts[len(s.Attempts)-1].Runtime == r.cfg.Name {
		return true // enter has made sure that it is not going on
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waited[id] == s.Last
}

// awaitLease waits until a full lease has gone by without a new record of the attempt that seems to be running, or it is over.
func (i *invocation) awaitLease(ctx context.Context) dispatch.Verdict {
	r := i.rt
	last, since := i.state.Last, r.deps.Clock.Boot()
	for {
		if !sleep(ctx, r.cfg.Lease/4) {
			return dispatch.Leave()
		}
		s, err := r.journal.Read(ctx, i.token, i.id)
		if err != nil {
			return i.later(err)
		}
		now := r.deps.Clock.Boot()
		switch {
		case !s.Running():
			return dispatch.Again()
		case s.Last != last:
			last, since = s.Last, now
		case now-since > r.cfg.Lease:
			r.mu.Lock()
			defer r.mu.Unlock()
			if len(r.waited) > 10_000 {
				clear(r.waited) // then others wait once more
			}
			r.waited[i.id] = last
			return dispatch.Again()
		}
	}
}

// sleep reports whether d has gone by before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// crashed ends an invocation whose attempts keep dying, and holds the revision back from the rule until somebody has looked.
func (i *invocation) crashed(ctx context.Context, claim journal.Claim, n int) dispatch.Verdict {
	err := i.rt.halts.Halt(ctx, i.lv.fn.ID, guard.Halt{UID: i.lv.fn.ID.UID, Revision: i.lv.entry.Revision, Rule: i.d.Match.Rule, Invocation: i.id, Time: i.rt.deps.Clock.Now()})
	if err != nil {
		return i.later(err)
	}
	claim.Decision = "none: crashed"
	return i.end(ctx, i.begin(claim), journal.End{Outcome: journal.Crashed, Reason: reasonAttempts, Text: fmt.Sprintf("%d attempts ended without saying how", n)})
}

// attempt runs the function.
func (i *invocation) attempt(ctx context.Context, claim journal.Claim) dispatch.Verdict {
	r := i.rt
	i.epoch = r.epoch()
	log := i.begin(claim)
	if i.d.Again {
		// A first attempt's claim rides with its first intent. Later ones claim at once: attempts that die are counted by claims.
		if err := log.Claim(ctx); err != nil {
			return i.lost(ctx, log, err)
		}
		if err := r.deps.Faults.Reach(ctx, PointClaimed, i.id); err != nil {
			return dispatch.Leave()
		}
	}
	h := newHost(i, log, claim)
	gctx, cancel := context.WithCancelCause(ctx)
	beat := i.renew(gctx, log, cancel)
	spec := &i.lv.fn.Doc.Spec
	res, report, err := i.lv.guest.Handle(gctx, sandbox.Invocation{
		ID: i.id, Function: i.lv.fn.ID.Name, Event: i.d.Raw, Config: spec.Config,
		Seed: sha256.Sum256([]byte(i.id)), Time: i.d.Event.Time,
		Limits: LimitsOf(spec),
	}, h)
	cause := context.Cause(gctx)
	cancel(nil)
	beat.Stop()
	if err != nil && cause != nil && ctx.Err() == nil {
		err = cause // the heartbeat ended it
	}
	return i.conclude(ctx, h, log, res, report, err)
}

// LimitsOf is what a document allows one invocation.
func LimitsOf(s *function.Spec) sandbox.Limits {
	l := s.Limits
	return sandbox.Limits{
		Timeout: l.Timeout.Std(), Fuel: l.Fuel, Memory: int64(l.Memory), Output: int(l.Output), Log: int(l.Log), Calls: l.Calls,
	}
}

// renew extends the lease from time to time, and ends the attempt when it cannot.
func (i *invocation) renew(ctx context.Context, log *journal.Log, cancel context.CancelCauseFunc) *dispatch.Heartbeat {
	return dispatch.Beat(i.rt.cfg.Lease/3, func() {
		if ctx.Err() != nil {
			return
		}
		// An append that is broken off leaves the log of no use to the attempt's end.
		if err := log.Renew(context.WithoutCancel(ctx)); err != nil && ctx.Err() == nil {
			cancel(err)
		}
	})
}

// conclude makes an end, or a suspension, of how the run of the guest ended.
func (i *invocation) conclude(ctx context.Context, h *host, log *journal.Log, res abi.Result, report *sandbox.Report, err error) dispatch.Verdict {
	end := journal.End{Outcome: journal.Outcome(res.Outcome), Reason: reasonFunction, Code: res.Code, Text: res.Text, Data: []byte(res.Data)}
	fillReport(&end, report)
	if susp, ok := errors.AsType[*suspension](err); ok {
		return i.suspend(ctx, log, susp, end)
	}
	fault, isFault := errors.AsType[*sandbox.Fault](err)
	switch {
	case err == nil && h.unfinished():
		end.Outcome, end.Reason, end.Text = journal.Diverged, reasonReplay, "run again, the function ended before a call it had made"
	case err == nil:
		if end.Outcome == "" {
			end.Outcome = journal.Succeeded
		}
		if end.Outcome == journal.Succeeded {
			end.Reason = ""
		}
		if res.Outcome == abi.OutcomeFailed && res.Retry && h.intents == 0 && h.fresh < i.lv.fn.Doc.Spec.Retry.Attempts {
			return i.suspend(ctx, log, &suspension{tries: h.fresh + 1, cause: errors.New(res.Text), fresh: true}, end)
		}
	case isFault:
		end.Outcome, end.Reason, end.Text = journal.Failed, string(fault.Kind), fault.Text
	case errors.Is(err, errDiverged):
		end.Outcome, end.Reason, end.Text = journal.Diverged, reasonReplay, err.Error()
	case errors.Is(err, capability.ErrUnknown):
		end.Outcome, end.Reason, end.Text = journal.Unknown, reasonUnknown, err.Error()
	case errors.Is(err, capability.ErrForged):
		end.Outcome, end.Reason, end.Text = journal.Forged, reasonForged, err.Error()
	default:
		return i.lost(ctx, log, err)
	}
	if err := i.rt.deps.Faults.Reach(ctx, PointEnding, i.id); err != nil {
		return dispatch.Leave()
	}
	return i.end(ctx, log, end)
}

func fillReport(end *journal.End, report *sandbox.Report) {
	if report == nil {
		return
	}
	for _, l := range report.Log {
		end.Log = append(end.Log, journal.LogLine{Level: l.Level.String(), Text: l.Text})
	}
	if report.LogDropped > 0 {
		text := fmt.Sprintf("%d more lines did not fit: limits.log in the function's document raises the limit, to %v at most", report.LogDropped, function.Size(abi.MaxLog))
		end.Log = append(end.Log, journal.LogLine{Level: abi.LevelWarn.String(), Text: text})
	}
	end.Dropped, end.Guest = report.LogDropped, report.Guest
}

// A suspension ends an attempt that is to be resumed.
type suspension struct {
	step    int
	tries   int           // of that step, or of fresh attempts
	after   time.Duration // at least
	cause   error
	fresh   bool // start from live state again
	stopped bool // by the stop switch: no failure, and not counted
}

func (s *suspension) Error() string { return s.cause.Error() }

func (s *suspension) Unwrap() error { return s.cause }

// suspend records the suspension and has the event come again, or ends the invocation if there were too many.
func (i *invocation) suspend(ctx context.Context, log *journal.Log, s *suspension, end journal.End) dispatch.Verdict {
	retry := i.lv.fn.Doc.Spec.Retry
	if !s.stopped && s.tries > retry.Attempts {
		end.Outcome, end.Reason, end.Text = journal.Failed, reasonRetries, fmt.Sprintf("given up after %d tries: %v", s.tries, s.cause)
		v := i.end(ctx, log, end)
		v.Transient = true
		return v
	}
	delay := stopPause
	if !s.stopped {
		delay = max(s.after, backoff(retry.Backoff.Std(), s.tries))
	}
	js := journal.Suspend{Step: s.step, Tries: s.tries, Until: i.rt.deps.Clock.Now().Add(delay), Cause: s.cause.Error(), Fresh: s.fresh, Stopped: s.stopped}
	if err := log.Suspend(ctx, js); err != nil {
		return i.giveUp(ctx, log, err, js)
	}
	i.rt.metrics.suspended(i.token)
	v := i.putOff(ctx, delay)
	v.Transient = !s.stopped
	return v
}

// stopPause is how long an invocation waits at least that the stop switch holds back. It waits in the consumer, which takes nothing
// while the switch is on.
const stopPause = 2 * time.Second

// backoff is the pause before the n-th try after the first: doubled each time up to function.MaxBackoff, jittered by a fifth.
func backoff(first time.Duration, n int) time.Duration {
	d := min(first<<min(max(n-1, 0), 16), function.MaxBackoff)
	if d <= 0 {
		d = function.MaxBackoff
	}
	return d - d/10 + rand.N(d/5+1)
}

// putOff has the event come again: by the consumer if that is soon, otherwise by a timer.
func (i *invocation) putOff(ctx context.Context, d time.Duration) dispatch.Verdict {
	if d < longBackoff {
		return dispatch.Nak(d)
	}
	if err := i.rt.scheduleRetry(ctx, i, d); err != nil {
		return i.later(err)
	}
	return dispatch.Ack()
}
