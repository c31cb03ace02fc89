package runtime

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

var errCrash = errors.New("crash")

// dieAt makes runtimes die where it says.
type dieAt func(p Point, invocation string) bool

func (f dieAt) Reach(_ context.Context, p Point, invocation string) error {
	if f(p, invocation) {
		return errCrash
	}
	return nil
}

// once dies the first n times that a point is reached.
func once(point Point, n int) dieAt {
	var mu sync.Mutex
	return func(p Point, _ string) bool {
		mu.Lock()
		defer mu.Unlock()
		if p != point || n == 0 {
			return false
		}
		n--
		return true
	}
}

// A runtime that dies at any step is followed by one that ends the invocation: one outcome, one effect.
func TestDeathAtEachPoint(t *testing.T) {
	t.Parallel()
	for _, p := range []Point{PointPrepared, PointIntended, PointSending, PointDone, PointEnding, PointEnded, PointSealed} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			w := newWorld(b)
			e := deploy(t, b, plain)
			cfg := quick()
			cfg.Name = "first"
			died := make(chan struct{})
			var first sync.Once
			_, stop := start(t, b, cfg, Deps{Capabilities: w, Compile: compileTo(createOne), Faults: dieAt(func(at Point, _ string) bool {
				if at == p {
					first.Do(func() { close(died) })
				}
				return at == p
			})})
			publish(t, b, "n1-1", nil)
			<-died
			stop()
			cfg.Name = "second"
			start(t, b, cfg, Deps{Capabilities: w, Compile: compileTo(createOne)})
			got := actions(t, b, 1)["n1-1"]
			settled(t, b, e)
			if n := len(actions(t, b, 1)["n1-1"]); n != 1 {
				t.Errorf("%d outcomes", n)
			}
			w.check(t)
			if done, _ := w.count(); done != 1 || got[0].Outcome != journal.Succeeded {
				t.Errorf("%d effects, outcome %+v", done, got[0])
			}
		})
	}
}

// readOnly asks for something and changes nothing.
func readOnly(_ context.Context, _ sandbox.Invocation, call func(op, request string) (string, error)) (abi.Result, error) {
	_, err := call("get", `{}`)
	return abi.Result{Outcome: abi.OutcomeSucceeded}, err
}

// An invocation without effects has one record. A runtime that dies before it was sent leaves an invocation that is run again; one that
// dies behind it leaves an event that comes again and is over: one outcome in the end, and one event about it. So it is when the event comes
// again so late that its action is looked for in ACTIONS.
func TestDeathWithoutEffects(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]Point{"ending": PointEnding, "stored": PointStored, "sealed": PointSealed, "stored, late": PointStored, "sealed, late": PointSealed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			w := newWorld(b)
			e := deploy(t, b, plain)
			cfg := quick()
			cfg.Name = "first"
			if strings.HasSuffix(name, "late") {
				cfg.Seen = time.Second // what comes again after half of it is late, and nothing comes again before AckWait
			}
			died := make(chan struct{})
			var first sync.Once
			_, stop := start(t, b, cfg, Deps{Capabilities: w, Compile: compileTo(readOnly), Faults: dieAt(func(at Point, _ string) bool {
				if at == p {
					first.Do(func() { close(died) })
				}
				return at == p
			})})
			publish(t, b, "n1-1", nil)
			<-died
			stop()
			cfg.Name = "second"
			start(t, b, cfg, Deps{Capabilities: w, Compile: compileTo(readOnly)})
			a := actions(t, b, 1)["n1-1"][0]
			settled(t, b, e)
			if n := len(actions(t, b, 1)["n1-1"]); n != 1 || a.Outcome != journal.Succeeded || len(a.Attempts) != 1 || len(a.Calls) != 1 {
				t.Errorf("%d outcomes, the first %s with attempts %+v", n, a.Outcome, a.Attempts)
			}
			if info, err := b.JetStream().Stream(t.Context(), bus.StreamOutcomes); err != nil || info.CachedInfo().State.Msgs != 1 {
				t.Errorf("%+v events about it, %v", info.CachedInfo().State, err)
			}
		})
	}
}

// A runtime that is paused before it seals an invocation without effects, until another has taken the event over, seals nothing: neither
// when the other had effects, nor when it had none.
func TestPausedBeforeTheSeal(t *testing.T) {
	t.Parallel()
	for name, guest := range map[string]script{"effect": createOne, "none": readOnly} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			w := newWorld(b)
			e := deploy(t, b, plain)
			paused, release := make(chan struct{}), make(chan struct{})
			clock := &heldClock{}
			var first sync.Once
			hold := dieAt(func(p Point, _ string) bool {
				if p == PointEnding {
					first.Do(func() { clock.hold(); close(paused); <-release; clock.release() })
				}
				return false
			})
			cfg := quick()
			cfg.Name, cfg.AckWait = "paused", time.Hour // what is paused does not extend its messages either
			r, stopFirst := start(t, b, cfg, Deps{Capabilities: w, Compile: compileTo(readOnly), Faults: hold, Clock: clock})
			publish(t, b, "n1-1", nil)
			<-paused
			cfg.Name, cfg.AckWait = "other", quick().AckWait
			start(t, b, cfg, Deps{Capabilities: w, Compile: compileTo(guest)})
			a := actions(t, b, 1)["n1-1"][0]
			close(release)
			eventually(t, "the paused one has given up", func() bool {
				return testutil.ToFloat64(r.metrics.skipped.WithLabelValues("default_fn", "given_up")) == 1
			})
			stopFirst()
			settled(t, b, e)
			w.check(t)
			if as := actions(t, b, 1)["n1-1"]; len(as) != 1 || a.Attempts[0].Runtime != "other" {
				t.Errorf("%d outcomes, attempts %+v", len(as), a.Attempts)
			}
		})
	}
}

// Attempts that die without saying how are counted by their claims: then the invocation ends as crashed, and its rule is halted.
func TestCrashed(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	w := newWorld(b)
	e := deploy(t, b, plain)
	r, _ := start(t, b, quick(), Deps{Capabilities: w, Compile: compileTo(createOne), Faults: once(PointSending, -1)})
	publish(t, b, "n1-1", nil)
	a := actions(t, b, 1)["n1-1"][0]
	if a.Outcome != journal.Crashed || a.End.Reason != reasonAttempts {
		t.Fatalf("got %+v, attempts %+v", a.End, a.Attempts)
	}
	settled(t, b, e)
	if rec, err := b.ReadSubject(t.Context(), "DEADLETTER", "tiercel.deadletter.default_fn.crashed"); err != nil || len(rec) != 1 {
		t.Errorf("dead letters: %v %v", rec, err)
	}
	eventually(t, "the rule is halted", func() bool { _, ok := r.halts.Halted(e.ID, 1, "Test rule"); return ok })
	publish(t, b, "n1-2", nil)
	if a := actions(t, b, 2)["n1-2"][0]; a.Outcome != journal.Skipped || a.End.Reason != "halted" {
		t.Errorf("after the halt: %+v", a.End)
	}
}

// A runtime that is paused beyond its lease just before it sends an effect does not send it, and another does.
func TestPausedBeyondLease(t *testing.T) {
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
	cfg.Name, cfg.AckWait = "paused", time.Hour // what is paused does not extend its messages either
	_, stopFirst := start(t, b, cfg, Deps{Capabilities: w, Compile: compileTo(createOne), Faults: hold, Clock: clock})
	publish(t, b, "n1-1", nil)
	<-paused
	cfg.Name, cfg.AckWait = "other", quick().AckWait
	start(t, b, cfg, Deps{Capabilities: w, Compile: compileTo(createOne)})
	a := actions(t, b, 1)["n1-1"][0]
	close(release)
	stopFirst()
	settled(t, b, e)
	w.check(t)
	if done, _ := w.count(); done != 1 || a.Attempts[len(a.Attempts)-1].Runtime != "other" {
		t.Errorf("%d effects, attempts %+v", done, a.Attempts)
	}
}

// A heldClock is a clock whose owner does not run while it is held: whoever asks waits, as the heartbeats of a stopped process do.
type heldClock struct {
	journal.SystemClock
	mu sync.RWMutex
}

func (c *heldClock) hold()    { c.mu.Lock() }
func (c *heldClock) release() { c.mu.Unlock() }

func (c *heldClock) Boot() time.Duration {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.SystemClock.Boot()
}

func (c *heldClock) Now() time.Time {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.SystemClock.Now()
}

// Failures that say nothing about the call suspend the invocation there, and only that call is made again.
func TestTransient(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	w := newWorld(b)
	w.fail = func(op string, n int) error {
		if op == "create" && n < 3 {
			return &capability.TransientError{Err: errors.New("connection refused")}
		}
		return nil
	}
	e := deploy(t, b, strings.Replace(plain, "spec:", "spec:\n  retry: {attempts: 4, backoff: 10ms}", 1))
	start(t, b, quick(), Deps{Capabilities: w, Compile: compileTo(createOne)})
	publish(t, b, "n1-1", nil)
	a := actions(t, b, 1)["n1-1"][0]
	settled(t, b, e)
	w.check(t)
	if a.Outcome != journal.Succeeded || len(a.Attempts) != 4 || a.Calls[1].Tries != 3 {
		t.Errorf("got %+v", a)
	}
	if w.asked["get"] != 1 || w.asked["prepare create"] != 1 {
		t.Errorf("calls were repeated that need not be: %v", w.asked)
	}
}

func TestRetriesRunOut(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	w := newWorld(b)
	w.fail = func(op string, _ int) error {
		if op == "create" {
			return &capability.TransientError{Err: errors.New("connection refused")}
		}
		return nil
	}
	e := deploy(t, b, strings.Replace(plain, "spec:", "spec:\n  retry: {attempts: 2, backoff: 10ms}", 1))
	start(t, b, quick(), Deps{Capabilities: w, Compile: compileTo(createOne)})
	publish(t, b, "n1-1", nil)
	a := actions(t, b, 1)["n1-1"][0]
	settled(t, b, e)
	if a.Outcome != journal.Failed || a.End.Reason != reasonRetries {
		t.Errorf("got %+v", a.End)
	}
	if rec, err := b.ReadSubject(t.Context(), "DEADLETTER", "tiercel.deadletter.default_fn.retries"); err != nil || len(rec) != 1 {
		t.Errorf("dead letters: %v %v", rec, err)
	}
}

// What a function was told before it was interrupted is told again; if it then asks for something else, nothing more is done.
func TestDiverged(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	w := newWorld(b)
	e := deploy(t, b, plain)
	n := 0
	guest := script(func(_ context.Context, inv sandbox.Invocation, call func(op, request string) (string, error)) (abi.Result, error) {
		n++
		_, err := call("create", fmt.Sprintf(`{"run":%d}`, n))
		return abi.Result{Outcome: abi.OutcomeSucceeded}, err
	})
	start(t, b, quick(), Deps{Capabilities: w, Compile: compileTo(guest), Faults: once(PointDone, 1)})
	publish(t, b, "n1-1", nil)
	a := actions(t, b, 1)["n1-1"][0]
	settled(t, b, e)
	if a.Outcome != journal.Diverged || len(a.Effects()) != 1 {
		t.Errorf("got %+v", a)
	}
	if done, _ := w.count(); done != 1 {
		t.Errorf("%d effects", done)
	}
}

// Nobody can tell whether an unconditional effect took place: it is reported unknown, or repeated if the grant says so.
func TestUnknown(t *testing.T) {
	t.Parallel()
	notify := script(func(_ context.Context, inv sandbox.Invocation, call func(op, request string) (string, error)) (abi.Result, error) {
		_, err := call("notify", `{}`)
		return abi.Result{Outcome: abi.OutcomeSucceeded}, err
	})
	for _, c := range []struct {
		onUnknown string
		want      journal.Outcome
		times     int
	}{{"giveUp", journal.Unknown, 1}, {"repeat", journal.Succeeded, 2}} {
		t.Run(c.onUnknown, func(t *testing.T) {
			b := newBus(t)
			w := newWorld(b)
			deploy(t, b, strings.Replace(plain, "spec:", "spec:\n  grants: {onUnknown: "+c.onUnknown+"}", 1))
			start(t, b, quick(), Deps{Capabilities: w, Compile: compileTo(notify), Faults: once(PointDone, 1)})
			publish(t, b, "n1-1", nil)
			a := actions(t, b, 1)["n1-1"][0]
			if a.Outcome != c.want || w.done[a.ID+".1"] != c.times {
				t.Errorf("got %+v, %v", a.End, w.done)
			}
		})
	}
}

// Whatever dies and whenever: every event has exactly one sealed outcome, no effect lacks an intent or is done twice.
func TestRandomDeaths(t *testing.T) {
	t.Parallel()
	const events, runtimes = 60, 2
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	var mu sync.Mutex
	chance := func(p float64) bool {
		mu.Lock()
		defer mu.Unlock()
		return rnd.Float64() < p
	}
	b := newBus(t)
	w := newWorld(b)
	w.fail = func(op string, _ int) error { // guarded by w.mu, not by mu
		if strings.HasPrefix(op, "prepare") || op == "get" {
			return nil
		}
		if chance(0.1) {
			return &capability.TransientError{Err: errors.New("connection reset")}
		}
		return nil
	}
	e := deploy(t, b, strings.Replace(plain, "spec:", "spec:\n  retry: {attempts: 50, backoff: 5ms}\n  limits: {concurrency: 8}", 1))
	cfg := quick()
	cfg.Attempts = 50
	for i := range runtimes {
		c := cfg
		c.Name = fmt.Sprint("runtime-", i)
		start(t, b, c, Deps{Capabilities: w, Compile: compileTo(createOne), Faults: dieAt(func(Point, string) bool { return chance(0.06) })})
	}
	for i := range events {
		publish(t, b, fmt.Sprintf("n1-%d", i), nil)
	}
	actions(t, b, events)
	settled(t, b, e)
	got := actions(t, b, events)
	for i := range events {
		if as := got[fmt.Sprintf("n1-%d", i)]; len(as) != 1 || as[0].Outcome != journal.Succeeded {
			t.Errorf("event %d: %d outcomes", i, len(as))
		}
	}
	w.check(t)
	if done, there := w.count(); done != events || there != events {
		t.Errorf("%d effects and %d objects for %d events", done, there, events)
	}
}
