package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/store"
)

// What timers bring back counts towards the function's limit of concurrency.
func TestRetryConcurrency(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	e := deploy(t, b, strings.Replace(plain, "spec:", "spec:\n  limits: {concurrency: 1}", 1))
	running, release := make(chan struct{}), make(chan struct{})
	r, _ := start(t, b, quick(), Deps{
		Capabilities: newWorld(b),
		Compile: compileTo(func(context.Context, sandbox.Invocation, func(op, request string) (string, error)) (abi.Result, error) {
			close(running)
			<-release
			return abi.Result{Outcome: abi.OutcomeSucceeded}, nil
		}),
	})
	publish(t, b, "n1-1", nil)
	<-running
	stream, err := b.JetStream().Stream(t.Context(), bus.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	due := &retry{
		Function: e.Key(), UID: e.ID.UID, Address: m.Subject, MsgID: m.Header.Get(nats.MsgIdHdr), Sequence: m.Sequence, Published: m.Time, Event: m.Data,
	}
	if v := r.retry(t.Context(), due); v.String() != "nak" {
		t.Errorf("a retry beside a function at its limit: %v", v)
	}
	close(release)
	actions(t, b, 1)
	settled(t, b, e)
	if v := r.retry(t.Context(), due); v.String() != "ack" {
		t.Errorf("a retry when there is room: %v", v)
	}
}

var errAway = &capability.TransientError{Err: errors.New("the API server is away")}

// What waits while its function is suspended leaves nothing pending with the consumer of all timers, however often the sweep finds it.
func TestHeldRetry(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	e := deploy(t, b, strings.Replace(plain, "spec:", "spec:\n  retry: {backoff: 10ms}", 1))
	w := newWorld(b)
	var r *Runtime
	started := make(chan struct{})
	w.fail = func(op string, n int) error {
		if op != "create" || n > 0 {
			return nil
		}
		<-started
		if _, err := r.store.Suspend(context.Background(), e.Key(), true); err != nil {
			t.Error(err)
		}
		return errAway
	}
	r, _ = start(t, b, quick(), Deps{Capabilities: w, Compile: compileTo(createOne)})
	close(started)
	publish(t, b, "n1-1", nil)
	// The sweep misses a timer, sets it, and it is due.
	eventually(t, "the retry waits for later", func() bool {
		at, err := b.ReadSubject(t.Context(), bus.StreamTimers, "tiercel.timers.at.>")
		return err == nil && len(at) == 1 && strings.Contains(string(at[0].Data), `"held":1`)
	})
	for range 3 {
		if err := r.wake(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "one message is left, and none is pending", func() bool {
		all, err := b.ReadSubject(t.Context(), bus.StreamTimers, bus.TimersSubjects)
		if err != nil {
			return false
		}
		c, err := b.JetStream().Consumer(t.Context(), bus.StreamTimers, dueDurable)
		return err == nil && len(all) == 1 && c.CachedInfo().NumAckPending == 0
	})
	if _, err := r.store.Suspend(t.Context(), e.Key(), false); err != nil {
		t.Fatal(err)
	}
	actions(t, b, 1)
	w.check(t)
}

// awayWorld is a world in which nothing can be made.
func awayWorld(b *bus.Bus) *world {
	w := newWorld(b)
	w.fail = func(op string, _ int) error {
		if op == "create" {
			return errAway
		}
		return nil
	}
	return w
}

// One function's target that is out of reach holds back no timer of others.
func TestRetriesHaveNoBreaker(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	e := deploy(t, b, strings.Replace(plain, "spec:", "spec:\n  retry: {backoff: 1m}", 1))
	w := awayWorld(b)
	r, _ := start(t, b, quick(), Deps{Capabilities: w, Compile: compileTo(createOne)})
	publish(t, b, "n1-1", nil)
	suspended := func(n int) {
		eventually(t, "the invocation is suspended", func() bool {
			return testutil.ToFloat64(r.metrics.skipped.WithLabelValues(e.Key(), "suspended")) >= float64(n)
		})
	}
	suspended(1)
	event := eventOf(t, b, 1)
	began := time.Now()
	for n := range 28 { // the first sixteen are asked for at once; a breaker holds the others back
		if _, err := Invoke(t.Context(), b, e.ID, event, "test", false); err != nil {
			t.Fatal(err)
		}
		suspended(n + 2)
	}
	if d := time.Since(began); d > time.Minute { // a breaker lets one through in ten seconds
		t.Errorf("28 invocations in turn took %v", d)
	}
}

// A runtime that finds nothing where it looks for what an invocation needs ends it; one that gets no answer does not.
func TestLookUpsWithoutAnswer(t *testing.T) {
	t.Parallel()
	_, b := newRestartable(t)
	e := deploy(t, b, strings.Replace(plain, "spec:", "spec:\n  retry: {backoff: 1m}", 1))
	w := awayWorld(b)
	_, stop := start(t, b, quick(), Deps{Capabilities: w, Compile: compileTo(createOne)})
	publish(t, b, "n1-1", nil)
	timers := func(n int) (all []bus.Record) {
		t.Helper()
		eventually(t, "the timers are set", func() bool {
			var err error
			all, err = b.ReadSubject(t.Context(), bus.StreamTimers, bus.TimersSubjects)
			return err == nil && len(all) == n
		})
		return all
	}
	timers(1)
	if _, err := Invoke(t.Context(), b, e.ID, eventOf(t, b, 1), "test", false); err != nil {
		t.Fatal(err)
	}
	var due []*retry
	for _, m := range timers(2) {
		q := new(retry)
		if err := json.Unmarshal(m.Data, q); err != nil {
			t.Fatal(err)
		}
		due = append(due, q)
	}
	stop()

	cfg := bus.DefaultConfig()
	cfg.URL = b.Conn().ConnectedUrl()
	deaf, err := bus.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(t.Context(), quick(), Deps{Bus: b, Capabilities: w, Compile: compileTo(createOne), Clock: later{}})
	if err != nil {
		t.Fatal(err)
	}
	r.ready = true
	functions, bodies := r.store, r.bodies
	if r.store, err = store.Open(t.Context(), deaf.JetStream()); err != nil {
		t.Fatal(err)
	}
	if r.bodies, err = deaf.ObjectStore(t.Context(), bus.StoreBodies); err != nil {
		t.Fatal(err)
	}
	deaf.Close()
	ended := func() (ids []string) {
		t.Helper()
		for _, q := range due {
			s, err := r.journal.Read(t.Context(), q.Function, q.Invocation)
			if err != nil {
				t.Fatal(err)
			}
			if s.Sealed != 0 {
				ids = append(ids, q.Invocation)
			}
		}
		return ids
	}
	wake := func() {
		t.Helper()
		if err := r.wake(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	purge := func(stream string, s bus.Subject) {
		t.Helper()
		if err := b.PurgeSubject(t.Context(), stream, s); err != nil {
			t.Fatal(err)
		}
	}
	for _, q := range due {
		if v := r.retry(t.Context(), q); v.String() != "nak" {
			t.Errorf("a retry while the store does not answer: %v", v)
		}
	}
	purge(bus.StreamEvents, ">") // the timers have the events
	wake()
	if ids := ended(); ids != nil {
		t.Fatalf("ended with their timers set: %v", ids)
	}
	for _, q := range due {
		if q.Manual != nil {
			purge(bus.StreamTimers, bus.TimerSubject(q.Invocation))
		}
	}
	wake()
	if ids := ended(); ids != nil {
		t.Fatalf("ended while the event's store does not answer: %v", ids)
	}
	r.store, r.bodies = functions, bodies
	wake()
	timers(2)
	purge(bus.StreamTimers, bus.TimersSubjects)
	for _, q := range due {
		if q.Manual != nil {
			if err := bodies.Delete(t.Context(), q.Manual.Event); err != nil {
				t.Fatal(err)
			}
		}
	}
	wake()
	for _, a := range actions(t, b, 2)["n1-1"] {
		if a.Outcome != journal.Failed || a.End.Reason != reasonDiscarded {
			t.Errorf("got %+v", a.End)
		}
	}
}

// later is a clock of an hour later.
type later struct{ journal.SystemClock }

func (c later) Now() time.Time { return c.SystemClock.Now().Add(time.Hour) }

func eventOf(t *testing.T, b *bus.Bus, sequence uint64) []byte {
	t.Helper()
	stream, err := b.JetStream().Stream(t.Context(), bus.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetMsg(t.Context(), sequence)
	if err != nil {
		t.Fatal(err)
	}
	return m.Data
}
