package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/bus/bustest"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/function"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/store"
)

// newBus starts an embedded server with all streams.
func newBus(t testing.TB) *bus.Bus {
	t.Helper()
	return newBusOf(t, bus.Limits{})
}

func newBusOf(t testing.TB, l bus.Limits) *bus.Bus {
	t.Helper()
	cfg := bus.DefaultServerConfig()
	cfg.Limits = l
	return bustest.Start(t, cfg)
}

// A world is what functions act on: it remembers every effect by its id, as an API server would, and whether an intent was on record.
type world struct {
	bus *bus.Bus

	mu       sync.Mutex
	done     map[string]int               // effect id → times carried out
	reverted map[string]int               // effect id → times taken back
	exists   map[string]string            // object → effect id that made it
	fail     func(op string, n int) error // n: how often op was asked for before; guarded by mu
	asked    map[string]int
	block    func(ctx context.Context, effect string) // before an effect is carried out; not guarded
	strays   []string                                 // effects without an intent on record
}

func newWorld(b *bus.Bus) *world {
	return &world{bus: b, done: map[string]int{}, reverted: map[string]int{}, exists: map[string]string{}, asked: map[string]int{}}
}

func (w *world) failure(op string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.asked[op]
	w.asked[op]++
	if w.fail != nil {
		return w.fail(op, n)
	}
	return nil
}

func (w *world) Prepare(_ context.Context, s capability.Scope, op string, request []byte) (*capability.Prepared, error) {
	if err := w.failure("prepare " + op); err != nil {
		return nil, err
	}
	p := &capability.Prepared{Op: op, Canonical: request, Digest: op + string(request), Summary: op + " " + string(request)}
	switch op {
	case "create":
		p.Write, p.Class = true, capability.Conditional
		p.Inverse = &capability.Inverse{Op: "create", Request: request, Summary: "delete " + string(request)}
	case "notify":
		p.Write, p.Class = true, capability.Unconditional
		p.Inverse = &capability.Inverse{Irreversible: "what is told is told"}
	case "get":
	case "denied":
		return nil, abi.NewError(abi.CodeDenied, "not granted")
	default:
		return nil, abi.NewError(abi.CodeUnsupported, op)
	}
	return p, nil
}

func (w *world) Execute(ctx context.Context, s capability.Scope, p *capability.Prepared, effect string) (capability.Result, error) {
	if !p.Write {
		return capability.Result{Response: json.RawMessage(`{"read":true}`)}, w.failure(p.Op)
	}
	if s.Mode == capability.DryRun {
		return capability.Result{Response: json.RawMessage(`{}`), Rehearsed: true, After: p.Canonical}, nil
	}
	if w.block != nil {
		w.block(ctx, effect)
	}
	if err := ctx.Err(); err != nil {
		return capability.Result{}, err
	}
	w.mustBeIntended(s, effect)
	if err := w.failure(p.Op); err != nil {
		return capability.Result{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	object := string(p.Canonical)
	if p.Class == capability.Conditional {
		if by, ok := w.exists[object]; ok && by == effect {
			return w.made(object), nil // it was done already: nothing happens
		}
		w.exists[object] = effect
	}
	w.done[effect]++
	return w.made(object), nil
}

func (w *world) made(object string) capability.Result {
	return capability.Result{Response: json.RawMessage(`{"made":true}`), Object: object}
}

// mustBeIntended looks the effect up in the journal, as the stream has it now.
func (w *world) mustBeIntended(s capability.Scope, effect string) {
	records, err := w.bus.ReadSubject(context.Background(), bus.StreamJournal, bus.JournalSubject(function.Token(s.Function.Tenant, s.Function.Name), s.Invocation))
	for _, m := range records {
		var r journal.Record
		if err := json.Unmarshal(m.Data, &r); err == nil && r.Intent != nil && r.Intent.Effect == effect {
			return
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.strays = append(w.strays, fmt.Sprintf("%s (%v)", effect, err))
}

func (w *world) Look(_ context.Context, _ capability.Scope, p *capability.Prepared, effect string) (bool, capability.Result, error) {
	if p.Class == capability.Unconditional {
		return false, capability.Result{}, capability.ErrUnknown
	}
	if err := w.failure("look " + p.Op); err != nil {
		return false, capability.Result{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.exists[string(p.Canonical)] == effect, w.made(string(p.Canonical)), nil
}

func (w *world) Revert(_ context.Context, s capability.Scope, i *capability.Inverse, effect string) (capability.Result, error) {
	if err := w.failure("revert"); err != nil {
		return capability.Result{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	by, ok := w.exists[string(i.Request)]
	if !ok {
		return capability.Result{Note: "was not there"}, nil
	}
	if by != effect { // as the real operations do, which know an object as theirs by the effect that made it
		return capability.Result{Note: "left alone: " + by + " is not " + effect}, nil
	}
	delete(w.exists, string(i.Request))
	w.reverted[effect]++
	return capability.Result{Object: string(i.Request)}, nil
}

// check fails the test for effects without an intent and effects done twice.
func (w *world) check(t testing.TB) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.strays {
		t.Errorf("effect without an intent: %s", s)
	}
	for effect, n := range w.done {
		if n != 1 {
			t.Errorf("effect %s was carried out %d times", effect, n)
		}
	}
}

func (w *world) count() (done, there int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.done), len(w.exists)
}

// A script is a guest written in Go.
type script func(ctx context.Context, inv sandbox.Invocation, call func(op, request string) (string, error)) (abi.Result, error)

func (s script) Manifest() abi.Manifest { return abi.Manifest{ABI: abi.ImportModule, Name: "script"} }
func (s script) Image() string          { return "" }
func (s script) Close() error           { return nil }

// errStopped unwinds a script whose host has ended it; a real guest is torn down there.
type errStopped struct{ err error }

func (s script) Handle(ctx context.Context, inv sandbox.Invocation, host sandbox.Host) (res abi.Result, report *sandbox.Report, err error) {
	report = &sandbox.Report{}
	defer func() {
		if e, ok := recover().(errStopped); ok {
			res, err = abi.Result{Outcome: abi.OutcomeFailed}, e.err
		}
	}()
	res, err = s(ctx, inv, func(op, request string) (string, error) {
		b, err := host.Call(ctx, op, []byte(request))
		if err == nil {
			return string(b), nil
		}
		if e, ok := errors.AsType[*abi.Error](err); ok {
			return "", e
		}
		panic(errStopped{err})
	})
	return res, report, err
}

// createOne makes one object named for the event.
func createOne(_ context.Context, inv sandbox.Invocation, call func(op, request string) (string, error)) (abi.Result, error) {
	if _, err := call("get", `{}`); err != nil {
		return abi.Result{Outcome: abi.OutcomeFailed, Text: err.Error()}, nil //nolint:nilerr // a guest that fails has run
	}
	if _, err := call("create", `{"for":"`+eventID(inv)+`"}`); err != nil {
		return abi.Result{Outcome: abi.OutcomeFailed, Text: err.Error()}, nil //nolint:nilerr // a guest that fails has run
	}
	return abi.Result{Outcome: abi.OutcomeSucceeded}, nil
}

func eventID(inv sandbox.Invocation) string {
	e, err := bus.Unmarshal(inv.Event)
	if err != nil {
		panic(err)
	}
	return e.ID
}

const plain = `
apiVersion: tiercel.dev/v1alpha1
kind: Function
metadata: {name: fn}
spec:
  module: builtin:script
  mode: enforce
  triggers: [{rules: [Test rule]}]
`

func parseDoc(t testing.TB, text string) *function.Document {
	t.Helper()
	docs, err := function.Parse("fn.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return docs[0]
}

// deploy stores a document with a module that only Compile of the test understands.
func deploy(t testing.TB, b *bus.Bus, text string) *store.Entry {
	t.Helper()
	ctx := context.Background()
	s, err := store.Open(ctx, b.JetStream())
	if err != nil {
		t.Fatal(err)
	}
	digest, err := s.PutModule(ctx, []byte("script"))
	if err != nil {
		t.Fatal(err)
	}
	e, _, err := s.Apply(ctx, parseDoc(t, text), digest, nil, store.ByCLI, "test")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// quick is a configuration for tests that wait for leases. A machine that lets nobody run for a second must not end one.
func quick() Config {
	c := DefaultConfig()
	c.Lease, c.AckWait, c.Grace, c.Sweep = 1500*time.Millisecond, 1500*time.Millisecond, 5*time.Second, 300*time.Millisecond
	return c
}

// start runs a runtime until the test ends or stop is called. TIERCEL_TEST_LOG=1 shows its log.
func start(t testing.TB, b *bus.Bus, cfg Config, deps Deps) (r *Runtime, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	deps.Bus = b
	if os.Getenv("TIERCEL_TEST_LOG") != "" {
		deps.Log = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	deps.Metrics = prometheus.NewRegistry()
	r, err := New(ctx, cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return r, stop
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", strings.TrimSpace(string(p)))
	return len(p), nil
}

func compileTo(s script) func(context.Context, []byte) (Guest, error) {
	return func(context.Context, []byte) (Guest, error) { return s, nil }
}

// publish puts a match on the bus as a sensor does.
func publish(t testing.TB, b *bus.Bus, id string, change func(*bus.Event, *bus.MatchData)) {
	t.Helper()
	m := &bus.MatchData{
		Rule: "Test rule", Priority: "Warning", Source: "syscall", Output: "something happened", Time: time.Now().UTC(), Tags: []string{"test"},
		OutputFields: json.RawMessage(`{"proc.name":"sh"}`), Target: bus.Target{Node: "n1", Namespace: "default", Pod: "web-1", PodUID: "u1"},
	}
	e := &bus.Event{ID: id, Source: "/c/n1/syscall", Type: bus.TypeRuleMatched, Subject: "default/web-1", Time: m.Time, Rule: m.Rule, Priority: m.Priority}
	subject := bus.EventSubject(m.Source, m.Priority, m.Rule, m.Target.Namespace, m.Target.Node)
	if change != nil {
		change(e, m)
	}
	e.Data = m.AppendJSON(nil)
	msg := &nats.Msg{Subject: string(subject), Data: bus.Marshal(e), Header: nats.Header{nats.MsgIdHdr: {e.ID}}}
	if _, err := b.JetStream().PublishMsg(context.Background(), msg); err != nil {
		t.Fatal(err)
	}
}

// actions waits for n sealed actions and returns all there are then, by event.
func actions(t testing.TB, b *bus.Bus, n int) map[string][]*journal.Action {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cons, err := b.JetStream().OrderedConsumer(ctx, bus.StreamActions, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]*journal.Action{}
	for total := 0; total < n; {
		m, err := cons.Next(jetstream.FetchContext(ctx))
		if err != nil && ctx.Err() == nil {
			continue // nobody ran for so long that the client gave the server up
		}
		if err != nil {
			t.Fatalf("waiting for %d actions, got %d: %v", n, total, err)
		}
		a := new(journal.Action)
		if err := json.Unmarshal(m.Data(), a); err != nil {
			t.Fatal(err)
		}
		if a.Outcome == journal.Pending {
			continue // taken over
		}
		got[a.Event.ID] = append(got[a.Event.ID], a)
		total++
	}
	return got
}

// settled waits until no message of the function is on its way.
func settled(t testing.TB, b *bus.Bus, e *store.Entry) {
	t.Helper()
	eventually(t, "the consumer has nothing left", func() bool {
		c, err := b.JetStream().Consumer(context.Background(), bus.StreamEvents, durable(e.ID))
		if err != nil {
			return false
		}
		info := c.CachedInfo()
		return info.NumPending == 0 && info.NumAckPending == 0
	})
}

// eventually polls a condition of another goroutine or process; there is nothing to wait on.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still not: %s", what)
		}
	}
}
