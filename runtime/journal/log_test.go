package journal

import (
	"errors"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/bus/bustest"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/function"
)

func newJournal(t *testing.T, cfg Config) (*Journal, *bus.Bus) {
	t.Helper()
	b := bustest.Start(t, bus.DefaultServerConfig())
	return New(cfg, b), b
}

// A testClock is set by hand.
type testClock struct {
	boot time.Duration
	now  time.Time
}

func (c *testClock) Boot() time.Duration { return c.boot }
func (c *testClock) Now() time.Time      { return c.now }

var fn = function.ID{Tenant: "default", Name: "f", UID: "1"}

func claim() Claim {
	return Claim{Function: fn, Mode: capability.Enforce, Decision: "run", Event: EventRef{ID: "e", Time: time.Now()}}
}

func intent(step int) Call {
	return Call{Step: step, Op: "x", Effect: "e", Prepared: &capability.Prepared{Op: "x", Write: true, Inverse: &capability.Inverse{Op: "x"}}}
}

// Of two attempts that know the same state, one may go on.
func TestTwoAttempts(t *testing.T) {
	j, _ := newJournal(t, Config{})
	const id = "01HF7YAT00AAAAAAAAAAAAAAAA"
	a, b := j.Begin("default_f", id, claim(), nil), j.Begin("default_f", id, claim(), nil)
	if err := a.Intend(t.Context(), intent(1)); err != nil {
		t.Fatal(err)
	}
	if err := b.Intend(t.Context(), intent(1)); !errors.Is(err, ErrTaken) {
		t.Errorf("second claim: %v", err)
	}
	if err := b.Renew(t.Context()); !errors.Is(err, ErrTaken) {
		t.Errorf("after it was taken: %v", err)
	}
	s, err := j.Read(t.Context(), "default_f", id)
	if err != nil || !s.Running() || s.Intent == nil || s.Intents != 1 || s.Crashes() != 1 {
		t.Fatalf("got %+v, %v", s, err)
	}
	// The next attempt takes over, and the first may write no more.
	c := j.Begin("default_f", id, claim(), s)
	if err := c.Claim(t.Context()); err != nil || c.Attempt() != 2 {
		t.Fatal(err)
	}
	if err := a.Renew(t.Context()); !errors.Is(err, ErrTaken) {
		t.Errorf("the one taken over from: %v", err)
	}
}

// A lease counts from before its append, and once it is over its holder writes nothing.
func TestLease(t *testing.T) {
	clock := &testClock{boot: time.Hour, now: time.Now()}
	j, _ := newJournal(t, Config{Lease: 10 * time.Second, Clock: clock})
	l := j.Begin("default_f", "01HF7YAT00AAAAAAAAAAAAAAAA", claim(), nil)
	if l.Lease() != 0 {
		t.Error("a lease before the claim")
	}
	if err := l.Claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l.Lease() != time.Hour+10*time.Second {
		t.Errorf("lease until %v", l.Lease())
	}
	clock.boot += 9 * time.Second
	if err := l.Renew(t.Context()); err != nil || l.Lease() != time.Hour+19*time.Second {
		t.Errorf("renewed until %v, %v", l.Lease(), err)
	}
	clock.boot += 10 * time.Second
	if err := l.Renew(t.Context()); !errors.Is(err, ErrLease) {
		t.Errorf("after the lease: %v", err)
	}
}

// An append whose answer was lost is recognised as one's own.
func TestOwnRecord(t *testing.T) {
	j, _ := newJournal(t, Config{})
	r := &Record{Nonce: nonce(), Claim: &Claim{}}
	first, err := j.append(t.Context(), "default_f", "x", r, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := j.append(t.Context(), "default_f", "x", r, 0, nil)
	if err != nil || again != first {
		t.Errorf("the same record again: %d, %v, want %d", again, err, first)
	}
	other := *r
	other.Nonce = nonce()
	if _, err := j.append(t.Context(), "default_f", "x", &other, 0, nil); !errors.Is(err, ErrTaken) {
		t.Errorf("another's: %v", err)
	}
}

// Sealed twice, an action is in ACTIONS once; its journal refuses everything after.
func TestSeal(t *testing.T) {
	j, _ := newJournal(t, Config{})
	id := fn.Invocation("e", time.Now(), "")
	l := j.Begin("default_f", id, claim(), nil)
	if err := l.Intend(t.Context(), intent(1)); err != nil {
		t.Fatal(err)
	}
	c := intent(1)
	c.Prepared, c.Done, c.Inverse = nil, time.Now(), &capability.Inverse{Op: "exact"}
	if err := l.Add(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	a, last, err := l.End(t.Context(), End{Outcome: Succeeded})
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Calls) != 1 || a.Calls[0].Prepared == nil || a.Effects()[0].Undo().Op != "exact" {
		t.Errorf("got %+v", a.Calls)
	}
	for range 2 {
		if err := j.Seal(t.Context(), a, last, true); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	if err := j.Actions(t.Context(), bus.ActionsSubjects, time.Time{}, func(*Action) bool { n++; return true }); err != nil || n != 1 {
		t.Errorf("%d actions, %v", n, err)
	}
	got, err := j.Find(t.Context(), id, time.Time{})
	if err != nil || got.ID != id || got.Sequence == 0 {
		t.Errorf("found %+v, %v", got, err)
	}
	if at, err := j.At(t.Context(), got.Sequence); err != nil || at.ID != id {
		t.Errorf("at %d: %+v, %v", got.Sequence, at, err)
	}
	if s, err := j.Read(t.Context(), "default_f", id); err != nil || s.Sealed != got.Sequence {
		t.Errorf("got %+v, %v", s, err)
	}
	if err := j.Begin("default_f", id, claim(), nil).Claim(t.Context()); !errors.Is(err, ErrTaken) {
		t.Errorf("a claim after the seal: %v", err)
	}
	if _, err := j.Find(t.Context(), fn.Invocation("other", time.Now(), ""), time.Time{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	if s, err := j.Fence(t.Context(), "default_f", id, "r"); err != nil || s.Tombstone != nil {
		t.Errorf("a sealed one is fenced: %+v, %v", s, err)
	}
}

// An invocation that has written nothing is stored by its message id alone, once: by the attempt or not at all once it was taken over.
func TestSend(t *testing.T) {
	j, _ := newJournal(t, Config{})
	finish := func(id string) *Action {
		t.Helper()
		l := j.Begin("default_f", id, claim(), nil)
		if err := l.Add(t.Context(), Call{Step: 1, Op: "get"}); err != nil {
			t.Fatal(err)
		}
		a, last, over, err := l.Finish(t.Context(), End{Outcome: Succeeded}, true)
		if err != nil || !over || last != 0 || len(a.Calls) != 1 || len(a.Attempts) != 1 {
			t.Fatalf("got %+v, %d, %v, %v", a, last, over, err)
		}
		return a
	}
	send := func(a *Action) error {
		t.Helper()
		s, err := j.Send(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		return s.Wait(t.Context())
	}
	ended, taken := fn.Invocation("ended", time.Now(), ""), fn.Invocation("taken", time.Now(), "")
	if err := send(finish(ended)); err != nil {
		t.Fatal(err)
	}
	if err := send(finish(ended)); !errors.Is(err, ErrTaken) {
		t.Errorf("a second attempt: %v", err)
	}
	if a, err := j.Take(t.Context(), claim(), ended); err != nil || a == nil || a.ID != ended || a.Outcome != Succeeded {
		t.Errorf("taken over after its end: %+v, %v", a, err)
	}
	for range 2 {
		if a, err := j.Take(t.Context(), claim(), taken); err != nil || a != nil {
			t.Errorf("taken over before its end: %+v, %v", a, err)
		}
	}
	if err := send(finish(taken)); !errors.Is(err, ErrTaken) {
		t.Errorf("after it was taken over: %v", err)
	}
	if a, err := j.Find(t.Context(), taken, time.Time{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("what is only taken over is found: %+v, %v", a, err)
	}
	n := 0
	if err := j.Actions(t.Context(), bus.ActionsSubjects, time.Time{}, func(*Action) bool { n++; return true }); err != nil || n != 1 {
		t.Errorf("%d actions, %v", n, err)
	}
	l := j.Begin("default_f", taken, claim(), nil)
	if err := l.Claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, last, over, err := l.Finish(t.Context(), End{Outcome: Succeeded}, true); err != nil || over || last == 0 {
		t.Errorf("with a claim on record: %d, %v, %v", last, over, err)
	}
}

// After a tombstone the owner can intend nothing.
func TestFence(t *testing.T) {
	j, _ := newJournal(t, Config{})
	l := j.Begin("default_f", "x", claim(), nil)
	if err := l.Claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if s, err := j.Fence(t.Context(), "default_f", "x", "x/revert/1"); err != nil || s.Tombstone == nil || s.Last != 2 {
			t.Fatalf("got %+v, %v", s, err)
		}
	}
	if err := l.Intend(t.Context(), intent(1)); !errors.Is(err, ErrTaken) {
		t.Errorf("an intent after the tombstone: %v", err)
	}
	if s, err := j.Fence(t.Context(), "default_f", "none", "r"); err != nil || s.Last != 0 {
		t.Errorf("one that is not there: %+v, %v", s, err)
	}
}
