package runtime

import (
	"context"
	"fmt"
	"time"

	"github.com/tiercel-project/tiercel/runtime/dispatch"
	"github.com/tiercel-project/tiercel/runtime/journal"
)

// end records how the invocation ended and seals it.
func (i *invocation) end(ctx context.Context, log *journal.Log, e journal.End) dispatch.Verdict {
	a, last, over, err := log.Finish(ctx, e, !i.d.Again)
	if err != nil {
		return i.lost(ctx, log, err)
	}
	if over {
		return i.send(ctx, log, a)
	}
	if err := i.rt.deps.Faults.Reach(ctx, PointEnded, i.id); err != nil {
		return dispatch.Leave()
	}
	// Who was held up for longer than a lease may find that another has sealed it.
	return i.seal(ctx, a, last, i.rt.deps.Clock.Boot() >= log.Lease())
}

// send seals an invocation that has written nothing. It goes on being attempted here until what was sent is stored, while its slot is
// another's.
func (i *invocation) send(ctx context.Context, log *journal.Log, a *journal.Action) dispatch.Verdict {
	if err := i.letter(ctx, a); err != nil {
		return i.later(err)
	}
	sent, err := i.rt.journal.Send(ctx, a)
	if err != nil {
		return i.lost(ctx, log, err)
	}
	i.kept = true
	return dispatch.Store(func(ctx context.Context) dispatch.Verdict {
		defer i.rt.leave(i.id)
		if err := sent.Wait(ctx); err != nil {
			return i.lost(ctx, log, err)
		}
		if err := i.rt.deps.Faults.Reach(ctx, PointStored, i.id); err != nil {
			return dispatch.Leave()
		}
		i.rt.sealed(a) // whoever gets the event again finds it, and counts a duplicate
		if err := i.rt.journal.Announce(ctx, a); err != nil {
			return i.lost(ctx, log, err)
		}
		return i.settled(ctx, a)
	})
}

// seal stores what is left of an invocation that has ended. again says that somebody may have begun to.
func (i *invocation) seal(ctx context.Context, a *journal.Action, last uint64, again bool) dispatch.Verdict {
	if err := i.letter(ctx, a); err != nil {
		return i.later(err)
	}
	if err := i.rt.journal.Seal(ctx, a, last, again); err != nil {
		return i.later(err)
	}
	i.rt.sealed(a)
	return i.settled(ctx, a)
}

// settled is what is left to do once the action is stored and announced.
func (i *invocation) settled(ctx context.Context, a *journal.Action) dispatch.Verdict {
	r := i.rt
	if err := r.deps.Faults.Reach(ctx, PointSealed, i.id); err != nil {
		return dispatch.Leave()
	}
	if err := r.guard.Settle(ctx, i.request(), a.Outcome); err != nil {
		r.log.Warn("duplicates of a failed action stay suppressed until their window ends", "function", i.token, "event_id", i.d.Event.ID, "err", err)
	}
	if needsLetter(a) || a.Outcome == journal.Forged {
		return dispatch.Term()
	}
	return dispatch.Ack()
}

// sealed counts an action and tells whoever wants to know.
func (r *Runtime) sealed(a *journal.Action) {
	r.metrics.action(a)
	if r.deps.OnAction != nil {
		r.deps.OnAction(a)
	}
}

func needsLetter(a *journal.Action) bool {
	return a.Outcome.DeadLetter() || a.End.Reason == reasonRetries
}

// letter leaves a dead letter, if the action needs one.
func (i *invocation) letter(ctx context.Context, a *journal.Action) error {
	if !needsLetter(a) {
		return nil
	}
	reason := string(a.Outcome)
	if a.End.Reason == reasonRetries {
		reason = reasonRetries
	}
	l := dispatch.Letter{
		Function: a.Function.String(), Invocation: a.ID, Reason: reason, Text: a.End.Text, Address: a.Event.Address, Sequence: a.Event.Sequence,
		Time: a.Ended, Event: i.d.Raw, Redrive: fmt.Sprintf("tiercel action get %s, then tiercel fn resume %s", a.ID, a.Function.Name),
	}
	for _, c := range a.Effects() {
		l.Inverses = append(l.Inverses, c.Undo().Summary)
	}
	stored, err := dispatch.DeadLetter(ctx, i.rt.deps.Bus.JetStream(), i.token, l)
	if err == nil {
		i.rt.metrics.letter(i.token, reason, stored)
	}
	return err
}

// forged records an event that is not what its address says. Nothing in it is believed: not its id either, which could be another's.
func (r *Runtime) forged(ctx context.Context, lv *live, d *dispatch.Delivery) dispatch.Verdict {
	i := &invocation{rt: r, lv: lv, d: d, token: lv.fn.ID.Token(), state: new(journal.State)}
	i.id = lv.fn.ID.Invocation(d.Event.ID, d.Published, fmt.Sprintf("forged %s %d", d.Address, d.Sequence))
	if d.Again {
		s, err := r.journal.Read(ctx, i.token, i.id)
		if err != nil {
			return i.later(err)
		}
		i.state = s
		if v, done := i.finished(ctx); done {
			return v
		}
	}
	r.log.Error("forged event: its body contradicts its address, nothing was done", "function", i.token, "event_id", d.Event.ID, "address", d.Address, "err", d.Forged)
	claim := i.claim("none: forged")
	// The target is the forger's word.
	claim.Event.Target.Namespace, claim.Event.Target.Pod, claim.Event.Target.PodUID = "", "", ""
	return i.end(ctx, i.begin(claim), journal.End{Outcome: journal.Forged, Reason: reasonForged, Text: d.Forged.Error()})
}

// gone ends an invocation whose function, or event, is no more since it began to wait.
func (r *Runtime) gone(ctx context.Context, token, id, reason, text string) dispatch.Verdict {
	s, err := r.journal.Read(ctx, token, id)
	if err != nil {
		return dispatch.Nak(time.Second)
	}
	if s.Sealed != 0 || s.Claim == nil {
		return dispatch.Ack()
	}
	a, last := s.Action(id), s.Last
	if s.End == nil {
		claim := *s.Claim
		claim.Decision = "none: " + reason
		a, last, err = r.journal.Begin(token, id, claim, s).End(ctx, journal.End{Outcome: journal.Failed, Reason: reason, Text: text})
		if err != nil {
			return dispatch.Nak(time.Second)
		}
	}
	if err := r.journal.Seal(ctx, a, last, true); err != nil {
		return dispatch.Nak(time.Second)
	}
	r.sealed(a)
	return dispatch.Ack()
}
