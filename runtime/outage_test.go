package runtime

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

// A restartable is a NATS server that comes back where it was, with what it had stored.
type restartable struct {
	t    *testing.T
	opts server.Options

	mu  sync.Mutex
	srv *server.Server // guarded by mu
}

func newRestartable(t *testing.T) (*restartable, *bus.Bus) {
	t.Helper()
	s := &restartable{t: t, opts: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 64 << 30,
	}}
	s.up()
	t.Cleanup(s.down)
	s.opts.Port = s.srv.Addr().(*net.TCPAddr).Port
	cfg := bus.DefaultConfig()
	cfg.URL = s.srv.ClientURL()
	b, err := bus.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, b
}

func (s *restartable) up() {
	s.t.Helper()
	opts := s.opts
	srv, err := server.NewServer(&opts)
	if err != nil {
		s.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		s.t.Fatal("the server does not start")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.srv = srv
}

func (s *restartable) down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

// An attempt that ends because NATS went away is no death: as many of them as deaths are allowed, at different steps, and the invocation
// still ends well, with each effect done once and none left unknown.
func TestOutages(t *testing.T) {
	t.Parallel()
	nats, b := newRestartable(t)
	w := newWorld(b)
	away := make(chan struct{})
	outage := func() { nats.down(); away <- struct{}{} }
	blocked := map[string]bool{} // effects are sent one after the other
	w.block = func(ctx context.Context, effect string) {
		if !blocked[effect] && !strings.HasSuffix(effect, ".3") {
			blocked[effect] = true
			outage()
			<-ctx.Done()
		}
	}
	thrice := script(func(_ context.Context, _ sandbox.Invocation, call func(op, request string) (string, error)) (abi.Result, error) {
		for i, op := range []string{"create", "create", "notify"} {
			if _, err := call(op, strconv.Itoa(i)); err != nil {
				return abi.Result{Outcome: abi.OutcomeFailed, Text: err.Error()}, nil //nolint:nilerr // a guest that fails has run
			}
		}
		return abi.Result{Outcome: abi.OutcomeSucceeded}, nil
	})
	done, ending := once(PointDone, 1), once(PointEnding, 1)
	e := deploy(t, b, strings.Replace(plain, "spec:", "spec:\n  retry: {attempts: 1, backoff: 10ms}", 1))
	r, _ := start(t, b, quick(), Deps{Capabilities: w, Compile: compileTo(thrice), Faults: dieAt(func(p Point, id string) bool {
		if w.carriedOut() && done(p, id) || ending(p, id) {
			outage()
		}
		return false
	})})
	publish(t, b, "n1-1", nil)
	for n := range 4 {
		select {
		case <-away:
		case <-time.After(2 * time.Minute):
			t.Fatalf("there is no attempt for outage %d", n+1)
		}
		eventually(t, "the attempt is given up", func() bool {
			return testutil.ToFloat64(r.metrics.skipped.WithLabelValues("default_fn", "given_up")) > float64(n)
		})
		nats.up()
	}
	a := actions(t, b, 1)["n1-1"][0]
	settled(t, b, e)
	if a.Outcome != journal.Succeeded || len(a.Attempts) < 4 {
		t.Errorf("got %+v, attempts %+v", a.End, a.Attempts)
	}
	for _, at := range a.Attempts {
		if at.Ended == "" {
			t.Errorf("attempt %d counts as one that died", at.Number)
		}
	}
	w.check(t)
	if n, _ := w.count(); n != 3 {
		t.Errorf("%d effects", n)
	}
}

// carriedOut reports whether anything was.
func (w *world) carriedOut() bool {
	n, _ := w.count()
	return n != 0
}
