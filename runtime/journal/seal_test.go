package journal

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/bus"
)

// sealOne stores the action of an invocation that has written nothing, as its only attempt does.
func sealOne(t *testing.T, j *Journal, id string) *Action {
	t.Helper()
	c := claim()
	a := &Action{ID: id, Function: fn, Event: c.Event, Outcome: Succeeded, End: End{Outcome: Succeeded}, Ended: time.Now()}
	sent, err := j.Send(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if err := sent.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	stored, err := j.At(t.Context(), a.Sequence)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func outcomes(t *testing.T, b *bus.Bus) uint64 {
	t.Helper()
	stream, err := b.JetStream().Stream(t.Context(), bus.StreamOutcomes)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs
}

// Whoever finds an action announces it again, and there is one event about it: whether the one who stored it had announced it or not, and
// however many find it at the same time.
func TestAnnounceAgain(t *testing.T) {
	for _, c := range []struct {
		name  string
		first bool
	}{{"announced", true}, {"not announced", false}} {
		t.Run(c.name, func(t *testing.T) {
			j, b := newJournal(t, Config{})
			other := sealOne(t, j, "01HF7YAT00AAAAAAAAAAAAAAAA")
			if err := j.Announce(t.Context(), other); err != nil {
				t.Fatal(err)
			}
			a := sealOne(t, j, "01HF7YAT00BBBBBBBBBBBBBBBB")
			if c.first {
				if err := j.Announce(t.Context(), a); err != nil {
					t.Fatal(err)
				}
			}
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					if err := j.AnnounceAgain(t.Context(), a); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if err := j.AnnounceAgain(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			if got := outcomes(t, b); got != 2 {
				t.Errorf("%d events about two actions", got)
			}
		})
	}
}

// Storing an action twice leaves one, and one event about it.
func TestStoreTwice(t *testing.T) {
	j, b := newJournal(t, Config{})
	for range 2 {
		a := &Action{ID: "01HF7YAT00AAAAAAAAAAAAAAAA", Function: fn, Event: claim().Event, Outcome: Lost, End: End{Outcome: Lost}, Ended: time.Now()}
		if err := j.Store(t.Context(), a); err != nil || a.Sequence != 1 {
			t.Fatalf("sequence %d, %v", a.Sequence, err)
		}
	}
	if got := outcomes(t, b); got != 1 {
		t.Errorf("%d events about it", got)
	}
}

// What ACTIONS remembers outlasts the lease that bounds how late an action may be sent, and the time after which actions are looked up.
func TestWindow(t *testing.T) {
	_, b := newJournal(t, Config{})
	stream, err := b.JetStream().Stream(t.Context(), bus.StreamActions)
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.CachedInfo().Config.Duplicates; got < MinSeen || got < 2*DefaultConfig().Lease {
		t.Errorf("ids are remembered for %v", got)
	}
}

// An attempt that was held up for a lease before its end does not end without its journal, which tells it who came in between.
func TestFinishTooLate(t *testing.T) {
	const id = "01HF7YAT00AAAAAAAAAAAAAAAA"
	clock := &testClock{boot: time.Hour, now: time.Now()}
	j, _ := newJournal(t, Config{Lease: 10 * time.Second, Clock: clock})
	early := j.Begin("default_f", id, claim(), nil)
	if _, _, over, err := early.Finish(t.Context(), End{Outcome: Succeeded}, true); err != nil || !over {
		t.Fatalf("over %v, %v", over, err)
	}
	late := j.Begin("default_f", id, claim(), nil)
	clock.boot += 10 * time.Second
	if err := j.Begin("default_f", id, claim(), nil).Claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, over, err := late.Finish(t.Context(), End{Outcome: Succeeded}, true); !errors.Is(err, ErrTaken) {
		t.Errorf("over %v, %v, want ErrTaken", over, err)
	}
}
