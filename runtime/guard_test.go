package runtime

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/guard"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/store"
)

// One event each, in a table: how it ends, and how many effects it has.
func TestDecisions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		doc    string // replaces "spec:"
		change func(*bus.Event, *bus.MatchData)
		want   journal.Outcome
		reason string
		done   int
	}{
		{"runs", "spec:", nil, journal.Succeeded, "", 1},
		{"too old", "spec:", func(e *bus.Event, _ *bus.MatchData) { e.Time = time.Now().Add(-10 * time.Minute) }, journal.Expired, guard.ReasonAge, 0},
		{"old enough for a longer maxAge", "spec:\n  maxAge: 1h", func(e *bus.Event, _ *bus.MatchData) { e.Time = time.Now().Add(-10 * time.Minute) }, journal.Succeeded, "", 1},
		{"protected", "spec:\n  protect: {namespaces: [default]}", nil, journal.Refused, guard.ReasonProtected, 0},
		{"body contradicts the namespace", "spec:", func(_ *bus.Event, m *bus.MatchData) { m.Target.Namespace = "kube-system" }, journal.Forged, reasonForged, 0},
		{"body contradicts the rule", "spec:", func(_ *bus.Event, m *bus.MatchData) { m.Rule = "Other rule" }, journal.Forged, reasonForged, 0},
		{"body contradicts the node", "spec:", func(_ *bus.Event, m *bus.MatchData) { m.Target.Node = "n2" }, journal.Forged, reasonForged, 0},
		{"another node's id", "spec:", func(e *bus.Event, _ *bus.MatchData) { e.ID = "n2-1" }, journal.Forged, reasonForged, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			w := newWorld(b)
			e := deploy(t, b, strings.Replace(plain, "spec:", c.doc, 1))
			start(t, b, quick(), Deps{Capabilities: w, Compile: compileTo(createOne)})
			publish(t, b, "n1-1", c.change)
			for _, as := range actions(t, b, 1) {
				if as[0].Outcome != c.want || as[0].End.Reason != c.reason {
					t.Errorf("got %+v", as[0].End)
				}
			}
			settled(t, b, e)
			if done, _ := w.count(); done != c.done {
				t.Errorf("%d effects, want %d", done, c.done)
			}
		})
	}
}

// Duplicates are skipped, in one record each second, while the first runs or after it succeeded.
func TestDedup(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	w := newWorld(b)
	e := deploy(t, b, strings.Replace(plain, "spec:", "spec:\n  dedup: {key: [rule, target.podUID], window: 1m}", 1))
	start(t, b, DefaultConfig(), Deps{Capabilities: w, Compile: compileTo(createOne)})
	began := time.Now()
	const n = 200
	for i := range n {
		publish(t, b, "n1-"+string(rune('A'+i%26))+time.Now().Format("150405.000000000"), nil)
	}
	settled(t, b, e)
	ran, skipped, records := 0, 0, 0
	if err := journal.New(journal.DefaultConfig(), b).Actions(t.Context(), bus.ActionsSubjects, time.Time{}, func(a *journal.Action) bool {
		records++
		if a.Skips != nil {
			skipped += len(a.Skips.Events)
		} else {
			ran++
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if most := 3 + int(time.Since(began)/time.Second); ran != 1 || skipped != n-1 || records > most {
		t.Errorf("%d ran, %d skipped in %d records", ran, skipped, records)
	}
}

// An event that came to nothing suppresses no others.
func TestDedupAfterFailure(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	w := newWorld(b)
	e := deploy(t, b, strings.Replace(plain, "spec:", "spec:\n  dedup: {key: [rule], window: 1m}", 1))
	n := 0
	start(t, b, DefaultConfig(), Deps{Capabilities: w, Compile: compileTo(func(ctx context.Context, inv sandbox.Invocation, call func(op, request string) (string, error)) (abi.Result, error) {
		if n++; n == 1 {
			return abi.Result{Outcome: abi.OutcomeFailed, Text: "not now"}, nil
		}
		return createOne(ctx, inv, call)
	})})
	publish(t, b, "n1-1", nil)
	actions(t, b, 1)
	settled(t, b, e)
	publish(t, b, "n1-2", nil)
	if a := actions(t, b, 2)["n1-2"][0]; a.Outcome != journal.Succeeded {
		t.Errorf("got %+v", a.End)
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	w := newWorld(b)
	e := deploy(t, b, strings.Replace(plain, "spec:", "spec:\n  limits: {concurrency: 1}\n  budget: {max: 2, per: 1m, scope: namespace}", 1))
	start(t, b, DefaultConfig(), Deps{Capabilities: w, Compile: compileTo(createOne)})
	for _, id := range []string{"n1-1", "n1-2", "n1-3"} {
		publish(t, b, id, nil)
	}
	if a := actions(t, b, 3)["n1-3"][0]; a.Outcome != journal.Skipped || a.End.Reason != guard.ReasonBudget {
		t.Errorf("got %+v", a.End)
	}
	settled(t, b, e)
	if done, _ := w.count(); done != 2 {
		t.Errorf("%d effects", done)
	}
}

// The stop switch holds back what has begun before its next effect, and everything after; starting again goes on with it.
func TestStop(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	w := newWorld(b)
	e := deploy(t, b, plain)
	state, err := b.KeyValue(t.Context(), bus.BucketState)
	if err != nil {
		t.Fatal(err)
	}
	begun, go_ := make(chan struct{}), make(chan struct{})
	first := true
	r, _ := start(t, b, quick(), Deps{Capabilities: w, Compile: compileTo(func(ctx context.Context, inv sandbox.Invocation, call func(op, request string) (string, error)) (abi.Result, error) {
		if first {
			first = false
			close(begun)
			<-go_
		}
		return createOne(ctx, inv, call)
	})})
	publish(t, b, "n1-1", nil)
	<-begun
	if err := guard.WriteStop(t.Context(), state, guard.Stop{Stopped: true, By: "test"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the runtime knows", func() bool { return r.stop.State().Stopped })
	close(go_)
	eventually(t, "the invocation is suspended", func() bool {
		found := false
		err := r.journal.Running(t.Context(), bus.JournalSubjects, func(a *journal.Action) bool { found = a.Waiting != nil && a.Waiting.Stopped; return true })
		return err == nil && found
	})
	publish(t, b, "n1-2", nil)
	if done, _ := w.count(); done != 0 {
		t.Fatalf("%d effects while stopped", done)
	}
	if err := guard.WriteStop(t.Context(), state, guard.Stop{}); err != nil {
		t.Fatal(err)
	}
	got := actions(t, b, 2)
	settled(t, b, e)
	w.check(t)
	if done, _ := w.count(); done != 2 || len(got) != 2 {
		t.Errorf("%d effects of %d events", done, len(got))
	}
}

// A dry run asks for everything and changes nothing; its plan is in the action. It writes one record before the mark.
func TestDryRun(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	w := newWorld(b)
	deploy(t, b, strings.Replace(plain, "mode: enforce", "mode: dryRun", 1))
	start(t, b, DefaultConfig(), Deps{Capabilities: w, Compile: compileTo(createOne)})
	publish(t, b, "n1-1", nil)
	a := actions(t, b, 1)["n1-1"][0]
	if done, _ := w.count(); done != 0 || !a.Calls[1].Rehearsed || a.Calls[1].Prepared == nil || len(a.Effects()) != 0 {
		t.Errorf("%d effects, got %+v", done, a.Calls)
	}
	var want any
	if err := json.Unmarshal(a.Calls[1].After, &want); err != nil {
		t.Errorf("no plan: %v", err)
	}
}

// A suspended function takes nothing, and goes on where it was.
func TestSuspendAndRevision(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	w := newWorld(b)
	e := deploy(t, b, plain)
	s, err := store.Open(t.Context(), b.JetStream())
	if err != nil {
		t.Fatal(err)
	}
	r, _ := start(t, b, quick(), Deps{Capabilities: w, Compile: compileTo(createOne)})
	publish(t, b, "n1-1", nil)
	actions(t, b, 1)
	if _, err := s.Suspend(t.Context(), e.Key(), true); err != nil {
		t.Fatal(err)
	}
	current := func(f func(*live) bool) func() bool {
		return func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			wk := r.workers[e.Key()]
			if wk == nil {
				return false
			}
			lv := wk.current()
			return lv != nil && f(lv)
		}
	}
	eventually(t, "suspended", current(func(l *live) bool { return l.entry.Suspended }))
	publish(t, b, "n1-2", nil)
	// A new revision of a suspended function is still suspended.
	if e2 := deploy(t, b, strings.Replace(plain, "spec:", "spec:\n  comment: second", 1)); e2.Revision != 2 || !e2.Suspended || e2.ID != e.ID {
		t.Fatalf("got %+v", e2)
	}
	if _, err := s.Suspend(t.Context(), e.Key(), false); err != nil {
		t.Fatal(err)
	}
	if a := actions(t, b, 2)["n1-2"][0]; a.Pins.Revision != 2 {
		t.Errorf("got %+v", a.Pins)
	}
	// Deleted and made again it is another function: it begins anew, and handles nothing twice.
	if _, err := s.Delete(t.Context(), e.Key(), store.ByCLI); err != nil {
		t.Fatal(err)
	}
	e3 := deploy(t, b, plain)
	if e3.ID.UID == e.ID.UID || e3.Revision != 1 || e3.StartAt != 3 {
		t.Errorf("got %+v", e3)
	}
	eventually(t, "made again", current(func(l *live) bool { return l.entry.ID.UID == e3.ID.UID }))
	publish(t, b, "n1-3", nil)
	if got := actions(t, b, 3); len(got) != 3 || got["n1-3"][0].Function.UID != e3.ID.UID {
		t.Errorf("got %v", got)
	}
}

// What is no match at all goes to the dead letters at once.
func TestMalformed(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	e := deploy(t, b, plain)
	start(t, b, quick(), Deps{Capabilities: newWorld(b), Compile: compileTo(createOne)})
	if _, err := b.JetStream().Publish(t.Context(), "tiercel.events.syscall.warning.test_rule.default.n1", []byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is a dead letter", func() bool {
		rec, err := b.ReadSubject(t.Context(), bus.StreamDeadLetter, bus.DeadLetterSubject(e.Key(), "malformed"))
		return err == nil && len(rec) == 1
	})
	settled(t, b, e)
}

// An event published a second time, after the stream has forgotten its id, is refused by the claim.
func TestDuplicateEvent(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	w := newWorld(b)
	e := deploy(t, b, plain)
	start(t, b, quick(), Deps{Capabilities: w, Compile: compileTo(createOne)})
	publish(t, b, "n1-1", nil)
	a := actions(t, b, 1)["n1-1"][0]
	m, err := b.Last(t.Context(), bus.StreamEvents, bus.Subject(a.Event.Address))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.JetStream().Publish(t.Context(), a.Event.Address, m.Data); err != nil { // without its message id
		t.Fatal(err)
	}
	eventually(t, "both are handled", func() bool {
		c, err := b.JetStream().Consumer(t.Context(), bus.StreamEvents, durable(e.ID))
		return err == nil && c.CachedInfo().AckFloor.Stream == 2
	})
	publish(t, b, "n1-2", nil)
	if got := actions(t, b, 2); len(got["n1-1"]) != 1 || len(got["n1-2"]) != 1 {
		t.Errorf("got %v", got)
	}
	w.check(t)
}
