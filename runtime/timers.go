package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/runtime/dispatch"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/revert"
	"github.com/tiercel-project/tiercel/runtime/store"
)

// A retry is the data of a timer that brings an event back to a function.
type retry struct {
	Kind       string    `json:"kind"`     // kindRetry
	Function   string    `json:"function"` // token
	UID        string    `json:"uid"`
	Invocation string    `json:"invocation"`
	Address    string    `json:"address"`
	MsgID      string    `json:"msgID,omitempty"`
	Sequence   uint64    `json:"sequence"`
	Published  time.Time `json:"published"`
	Event      []byte    `json:"event"`
	Held       int       `json:"held,omitempty"` // how often it was due and its function held

	Manual *journal.Manual `json:"manual,omitempty"`
}

const kindRetry = "retry"

// scheduleRetry has the event of a suspended invocation come again after d.
func (r *Runtime) scheduleRetry(ctx context.Context, i *invocation, d time.Duration) error {
	b, err := json.Marshal(retry{
		Kind: kindRetry, Function: i.token, UID: i.lv.fn.ID.UID, Invocation: i.id, Address: i.d.Address, Sequence: i.d.Sequence,
		MsgID: i.d.Event.ID, Published: i.d.Published, Event: i.d.Raw, Manual: i.d.Manual,
	})
	if err != nil {
		return err
	}
	return r.deps.Bus.Schedule(ctx, i.id, r.deps.Clock.Now().Add(d), b)
}

// dueDurable is the consumer of what timers deliver; all runtimes share it.
const dueDurable = "runtime"

// timers handles what is due until ctx ends.
func (r *Runtime) timers(ctx context.Context) error {
	return dispatch.NewConsumer(dispatch.Config{
		Stream: bus.StreamTimers, Durable: dueDurable, Filters: []string{bus.TimersDueSubjects}, AckWait: r.cfg.AckWait, Concurrency: 16, Shared: true,
		Grace: r.cfg.Grace, Metrics: r.dispatch, Label: "timers", Log: r.log,
	}, r.deps.Bus.JetStream(), r.due).Run(ctx)
}

// due handles one message of a timer, and removes it from the stream when it is over.
func (r *Runtime) due(ctx context.Context, m *dispatch.Message, _ bool) dispatch.Verdict {
	var head struct {
		Kind string `json:"kind"`
	}
	if err := json.Unmarshal(m.Data, &head); err != nil {
		r.log.Error("timer cannot be read", "subject", m.Subject, "err", err)
		return dispatch.Term()
	}
	switch head.Kind {
	case kindRetry, kindInvoke:
		var t retry
		if err := json.Unmarshal(m.Data, &t); err != nil {
			return dispatch.Term()
		}
		return r.clear(m, r.retry(ctx, &t))
	case revert.Kind:
		var q revert.Request
		if err := json.Unmarshal(m.Data, &q); err != nil {
			return dispatch.Term()
		}
		return r.clear(m, r.reverter.Handle(ctx, q))
	}
	r.log.Error("timer of an unknown kind", "subject", m.Subject, "kind", head.Kind)
	return dispatch.Term()
}

// clear wraps a verdict so that the message is removed when it is handled: TIMERS keeps what is due until it is full, and then forgets
// the oldest, which may be a timer that is still to come.
func (r *Runtime) clear(m *dispatch.Message, v dispatch.Verdict) dispatch.Verdict {
	return v.Then(func(ctx context.Context) {
		if err := r.deps.Bus.PurgeSubject(ctx, bus.StreamTimers, bus.Subject(m.Subject)); err != nil {
			r.log.Debug("handled timer stays in the stream", "subject", m.Subject, "err", err)
		}
	})
}

// retry brings a suspended invocation's event back to its function.
func (r *Runtime) retry(ctx context.Context, t *retry) dispatch.Verdict {
	r.mu.Lock()
	w, ready := r.workers[t.Function], r.ready
	r.mu.Unlock()
	var lv *live
	if w != nil {
		lv = w.current()
	}
	switch {
	case !ready:
		return dispatch.Nak(time.Second)
	case lv == nil || lv.entry.ID.UID != t.UID:
		e, err := r.store.Get(ctx, t.Function)
		switch {
		case errors.Is(err, store.ErrNotFound) || err == nil && e.ID.UID != t.UID:
			return r.gone(ctx, t.Function, t.Invocation, reasonDeleted, "the function was deleted")
		case err != nil:
			r.log.Warn("retry is put off", "function", t.Function, "err", err)
			return dispatch.Nak(holdFirst)
		case t.Kind == kindInvoke && r.deps.Clock.Now().Sub(t.Published) < holdFirst:
			return dispatch.Nak(200 * time.Millisecond) // somebody waits
		}
		return r.hold(ctx, t) // it is being loaded
	case lv.entry.Suspended || lv.fn.Doc.Spec.Suspend || r.stop.State().Stopped:
		return r.hold(ctx, t)
	}
	d, err := t.read()
	if err != nil {
		r.log.Error("timer's event cannot be read", "function", t.Function, "err", err)
		return dispatch.Term()
	}
	d.Received = r.deps.Clock.Now()
	if !lv.take(ctx, busyPause) {
		return dispatch.Nak(busyRetry)
	}
	defer lv.give()
	return r.handle(ctx, lv, d)
}

// A due retry whose function is at its limit of concurrency waits a little for a slot, and then comes again: timers of all functions
// share one consumer.
const (
	busyPause = 100 * time.Millisecond
	busyRetry = 500 * time.Millisecond
)

// A due retry waits that long while its function, or everything, is stopped: twice as long each time.
const (
	holdFirst = 5 * time.Second
	holdMost  = time.Minute
)

// hold has a due retry come again when its function may take it. A message that is nak'd stays pending, and of a thousand of those the
// server delivers nothing more to the consumer, reverts included.
func (r *Runtime) hold(ctx context.Context, t *retry) dispatch.Verdict {
	d := min(holdFirst<<min(t.Held, 8), holdMost)
	next := *t
	next.Held++
	b, err := json.Marshal(next)
	if err == nil {
		err = r.deps.Bus.Schedule(ctx, t.Invocation, r.deps.Clock.Now().Add(d), b)
	}
	if err != nil {
		r.log.Warn("retry of a held function is put off", "function", t.Function, "err", err)
		return dispatch.Nak(d)
	}
	return dispatch.Ack()
}

// sweep looks each minute at what is overdue: effects that should have been reverted, and suspended invocations whose timer was lost.
func (r *Runtime) sweep(ctx context.Context) error {
	t := time.NewTicker(r.cfg.Sweep)
	defer t.Stop()
	for {
		if err := r.reverter.Sweep(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("sweep over open effects", "err", err)
		}
		if err := r.wake(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("sweep over suspended invocations", "err", err)
		}
		r.deprovision(ctx)
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// wake schedules anew what is suspended and overdue by a sweep, if its timer was lost.
func (r *Runtime) wake(ctx context.Context) error {
	now := r.deps.Clock.Now()
	var overdue []*journal.Action
	err := r.journal.Running(ctx, bus.JournalSubjects, func(a *journal.Action) bool {
		if a.Waiting != nil && now.Sub(a.Waiting.Until) > r.cfg.Sweep && !strings.Contains(a.ID, "/") {
			overdue = append(overdue, a)
		}
		return true
	})
	if err != nil || len(overdue) == 0 {
		return err
	}
	if overdue, err = r.untimed(ctx, overdue); err != nil {
		return err
	}
	stream, err := r.deps.Bus.JetStream().Stream(ctx, bus.StreamEvents)
	if err != nil {
		return err
	}
	for _, a := range overdue {
		t, err := r.overdue(ctx, stream, a)
		if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrObjectNotFound) {
			r.log.Warn("suspended invocation cannot go on: its event is no longer kept", "function", a.Function.Token(), "event_id", a.Event.ID, "err", err)
			r.gone(ctx, a.Function.Token(), a.ID, reasonDiscarded, "its event is no longer kept, so that it cannot go on")
			continue
		}
		if err != nil {
			r.log.Warn("suspended invocation waits for the next sweep", "function", a.Function.Token(), "event_id", a.Event.ID, "err", err)
			continue
		}
		b, err := json.Marshal(t)
		if err != nil {
			return err
		}
		if err := r.deps.Bus.Schedule(ctx, a.ID, now, b); err != nil {
			return fmt.Errorf("schedule %s: %w", a.ID, err)
		}
	}
	return nil
}

// untimed returns those invocations, 1,000 at most, of which TIMERS holds nothing: a second timer of one would only be one more message
// to handle.
func (r *Runtime) untimed(ctx context.Context, as []*journal.Action) ([]*journal.Action, error) {
	stream, err := r.deps.Bus.JetStream().Stream(ctx, bus.StreamTimers)
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(bus.TimersSubjects))
	if err != nil {
		return nil, err
	}
	var out []*journal.Action
	for _, a := range as {
		timed, err := r.timed(ctx, a, info.State.Subjects)
		if err != nil {
			return nil, err
		}
		if !timed {
			out = append(out, a)
		}
		if len(out) == 1000 {
			break
		}
	}
	return out, nil
}

// timed reports whether TIMERS, whose subjects are given, holds something that brings an invocation back.
func (r *Runtime) timed(ctx context.Context, a *journal.Action, subjects map[string]uint64) (bool, error) {
	if subjects[string(bus.TimerSubject(a.ID))] != 0 {
		return true, nil
	}
	for _, s := range []bus.Subject{bus.TimerDueSubject(a.ID), bus.TimerDueSubject(a.ID + "/invoke")} {
		if subjects[string(s)] == 0 {
			continue
		}
		m, err := r.deps.Bus.Last(ctx, bus.StreamTimers, s)
		if err != nil && !errors.Is(err, bus.ErrNotFound) {
			return false, err
		}
		if err == nil && time.Since(m.Time) < staleDue {
			return true, nil
		}
	}
	return false, nil
}

// staleDue is how old a due message is that may have been handled: who handled it may have died before it was removed.
const staleDue = 10 * time.Minute

// overdue is the timer's data that has an overdue invocation go on.
func (r *Runtime) overdue(ctx context.Context, stream jetstream.Stream, a *journal.Action) (*retry, error) {
	if a.Event.Manual != nil {
		return r.manualRetry(ctx, a)
	}
	m, err := stream.GetMsg(ctx, a.Event.Sequence)
	if err != nil {
		return nil, err
	}
	return &retry{
		Kind: kindRetry, Function: a.Function.Token(), UID: a.Function.UID, Invocation: a.ID, Address: m.Subject, Sequence: m.Sequence,
		MsgID: m.Header.Get(nats.MsgIdHdr), Published: m.Time, Event: m.Data,
	}, nil
}
