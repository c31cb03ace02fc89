package runtime

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/revert"
)

var withRevert = strings.Replace(plain, "spec:", "spec:\n  revert: {after: 1s}", 1)

// bySuffix returns the actions that revert, and the others.
func byRevert(as []*journal.Action) (reverts, others []*journal.Action) {
	for _, a := range as {
		if a.Revert != nil {
			reverts = append(reverts, a)
		} else {
			others = append(others, a)
		}
	}
	return reverts, others
}

// An effect is undone by itself when revert.after has gone by, once, and not before.
func TestRevertAfter(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	w := newWorld(b)
	deploy(t, b, withRevert)
	start(t, b, quick(), Deps{Capabilities: w, Compile: compileTo(createOne)})
	start(t, b, quick(), Deps{Capabilities: w, Compile: compileTo(createOne)})
	publish(t, b, "n1-1", nil)
	reverts, others := byRevert(actions(t, b, 2)["n1-1"])
	if len(reverts) != 1 || len(others) != 1 {
		t.Fatalf("got %d reverts of %d actions", len(reverts), len(others))
	}
	a, r := others[0], reverts[0]
	if r.ID != revert.ID(a.ID, 1) || r.Outcome != journal.Succeeded || r.Revert.Invocation != a.ID {
		t.Errorf("got %+v", r)
	}
	if at := r.Calls[0].Done; at.Before(a.Calls[1].RevertAt) {
		t.Errorf("undone at %v, before %v", at, a.Calls[1].RevertAt)
	}
	if _, there := w.count(); there != 0 {
		t.Errorf("%d objects are left", there)
	}
	// Whatever asks for it again finds it done.
	if err := revert.Ask(t.Context(), b, revert.Request{Function: a.Function, Invocation: a.ID, By: "test", Manual: true}, "again"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the due message is handled", func() bool {
		rec, err := b.ReadSubject(t.Context(), bus.StreamTimers, bus.TimerDueSubject(a.ID+"/revert"))
		return err == nil && len(rec) == 0
	})
	w.check(t)
	if len(w.reverted) != 1 {
		t.Errorf("inverses carried out: %v", w.reverted)
	}
}

// The sweep finds what no timer does.
func TestSweepReverts(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	w := newWorld(b)
	deploy(t, b, strings.Replace(withRevert, "1s", "10s", 1)) // the timer has to be cancelled before it fires
	_, stop := start(t, b, quick(), Deps{Capabilities: w, Compile: compileTo(createOne)})
	publish(t, b, "n1-1", nil)
	a := actions(t, b, 1)["n1-1"][0]
	if err := b.CancelSchedule(t.Context(), a.ID+"/revert"); err != nil {
		t.Fatal(err)
	}
	stop()
	start(t, b, quick(), Deps{Capabilities: w, Compile: compileTo(createOne)})
	reverts, _ := byRevert(actions(t, b, 2)["n1-1"])
	if len(reverts) != 1 || reverts[0].Revert.By != revert.BySweep {
		t.Errorf("got %+v", reverts)
	}
}

// A runtime that dies in a revert is followed by one that ends it.
func TestRevertSurvivesDeath(t *testing.T) {
	t.Parallel()
	for _, p := range []Point{PointRevertFence, PointRevertSent} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			w := newWorld(b)
			deploy(t, b, withRevert)
			start(t, b, quick(), Deps{Capabilities: w, Compile: compileTo(createOne), Faults: once(p, 1)})
			publish(t, b, "n1-1", nil)
			reverts, _ := byRevert(actions(t, b, 2)["n1-1"])
			if len(reverts) != 1 || reverts[0].Outcome != journal.Succeeded {
				t.Errorf("got %+v", reverts)
			}
			if _, there := w.count(); there != 0 {
				t.Errorf("%d objects are left", there)
			}
		})
	}
}

// What is reverted before it has ended never comes back: its runtime, paused just before it sends, finds the tombstone or its lease gone.
func TestRevertBeforeTheEffect(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	w := newWorld(b)
	e := deploy(t, b, plain)
	paused, release := make(chan struct{}), make(chan struct{})
	clock := &heldClock{}
	var first sync.Once
	hold := dieAt(func(p Point, _ string) bool {
		if p == PointSending {
			first.Do(func() { clock.hold(); close(paused); <-release; clock.release() })
		}
		return false
	})
	cfg := quick()
	cfg.Name, cfg.AckWait = "paused", time.Hour
	r, stop := start(t, b, cfg, Deps{Capabilities: w, Compile: compileTo(createOne), Faults: hold, Clock: clock})
	publish(t, b, "n1-1", nil)
	<-paused
	var id string
	other := journal.New(journal.DefaultConfig(), b)
	if err := other.Running(t.Context(), bus.JournalSubjects, func(a *journal.Action) bool { id = a.ID; return true }); err != nil || id == "" {
		t.Fatalf("running: %q, %v", id, err)
	}
	cfg = quick()
	cfg.Name = "other"
	start(t, b, cfg, Deps{Capabilities: w, Compile: compileTo(createOne)})
	if err := revert.Ask(t.Context(), b, revert.Request{Function: e.ID, Invocation: id, By: "test", Manual: true}, "1"); err != nil {
		t.Fatal(err)
	}
	got := actions(t, b, 2)["n1-1"]
	close(release)
	stop()
	settled(t, b, e)
	_ = r
	reverts, others := byRevert(got)
	if len(reverts) != 1 || len(others) != 1 || others[0].Outcome != journal.Reverted {
		t.Fatalf("got %+v and %+v", reverts, others)
	}
	if done, there := w.count(); done != 0 || there != 0 {
		t.Errorf("%d effects, %d objects after the revert", done, there)
	}
}
