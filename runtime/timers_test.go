package runtime

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
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

// One function's target that is out of reach holds back no timer of others.
func TestRetriesHaveNoBreaker(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	e := deploy(t, b, strings.Replace(plain, "spec:", "spec:\n  retry: {backoff: 1m}", 1))
	w := newWorld(b)
	w.fail = func(op string, _ int) error {
		if op == "create" {
			return errAway
		}
		return nil
	}
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
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("28 invocations in turn took %v", d)
	}
}

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
