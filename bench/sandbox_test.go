//go:build bench

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/bus/bustest"
	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/runtime"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/function"
	"github.com/tiercel-project/tiercel/runtime/heap"
	"github.com/tiercel-project/tiercel/runtime/journal"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
	"github.com/tiercel-project/tiercel/runtime/store"
)

// A plant is a bus with file-backed streams, a sandbox and a runtime in one process, as tiercel run has them; what functions ask for is
// answered at once, and takes no time of its own.
type plant struct {
	bus       *bus.Bus
	store     *store.Store
	engine    *sandbox.Engine
	published map[string]int // events of each rule
}

func newPlant(b *testing.B) *plant {
	b.Helper()
	b.Cleanup(heap.Pace())
	ctx := context.Background()
	p := &plant{published: map[string]int{}, bus: bustest.Start(b, bus.DefaultServerConfig())}
	var err error
	if p.store, err = store.Open(ctx, p.bus.JetStream()); err != nil {
		b.Fatal(err)
	}
	cfg := sandbox.DefaultConfig()
	cfg.CacheDir = b.TempDir()
	if p.engine, err = sandbox.New(cfg, nil); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.engine.Close() })
	return p
}

// deployer is what tiercel fn deploy does, with the runtime's own engine.
func (p *plant) deployer() *runtime.Deployer {
	return &runtime.Deployer{Store: p.store, Compile: func(ctx context.Context, module []byte) error {
		m, err := p.engine.Compile(ctx, module)
		if err != nil {
			return err
		}
		return m.Close()
	}}
}

// deploy writes the module beside its document and deploys both.
func (p *plant) deploy(b *testing.B, name, rule, limits string, module []byte) {
	b.Helper()
	file := filepath.Join(b.TempDir(), "function.wasm")
	if err := os.WriteFile(file, module, 0o600); err != nil {
		b.Fatal(err)
	}
	docs, err := function.Parse(filepath.Join(filepath.Dir(file), "function.yaml"), []byte(`
apiVersion: tiercel.dev/v1alpha1
kind: Function
metadata: {name: `+name+`}
spec:
  module: file:function.wasm
  mode: dryRun
  triggers: [{rules: [`+rule+`]}]
  limits: `+limits+`
  grants: {kubernetes: [{apiGroups: [""], resources: [pods], verbs: [patch]}]}
`))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := p.deployer().Deploy(b.Context(), docs[0], store.ByCLI, "bench"); err != nil {
		b.Fatal(err)
	}
}

// run starts the runtime; done is told of each finished action.
func (p *plant) run(b *testing.B, caps runtime.Capabilities, done func(*journal.Action)) {
	b.Helper()
	r, err := runtime.New(context.Background(), runtime.DefaultConfig(), runtime.Deps{
		Bus: p.bus, Capabilities: caps, Free: p.engine.Free, OnAction: done,
		Compile: func(ctx context.Context, module []byte) (runtime.Guest, error) {
			m, err := p.engine.Compile(ctx, module)
			if err != nil {
				return nil, err
			}
			return m, nil
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
}

// event is a match of a rule, of 1.5 KB, as a sensor publishes it.
func event(b *testing.B, id, rule string) *nats.Msg {
	b.Helper()
	m := &bus.MatchData{
		Rule: rule, Priority: "Warning", Source: "syscall", Output: strings.Repeat("Something happened in a container. ", 12), Time: time.Now().UTC(), Tags: []string{"container", "network"},
		OutputFields: json.RawMessage(`{"proc.name":"sh","proc.cmdline":"sh -c id","fd.name":"10.0.0.1:443->10.0.0.2:80","user.name":"root","k8s.pod.name":"web-1","k8s.ns.name":"default","container.id":"0123456789ab","evt.time":1795215521000000000}`),
		Target:       bus.Target{Node: "n1", Namespace: "default", Pod: "web-1", PodUID: "0b6f1d1c-58f6-4d0e-9a43-6a8d6f8e2a11", ContainerID: "0123456789ab"},
	}
	e := &bus.Event{ID: id, Source: "/c/n1/syscall", Type: bus.TypeRuleMatched, Subject: "default/web-1", Time: m.Time, Rule: m.Rule, Priority: m.Priority, Data: m.AppendJSON(nil)}
	subject := bus.EventSubject(m.Source, m.Priority, m.Rule, m.Target.Namespace, m.Target.Node)
	return &nats.Msg{Subject: string(subject), Data: bus.Marshal(e), Header: nats.Header{nats.MsgIdHdr: {e.ID}}}
}

func (p *plant) publish(b *testing.B, m *nats.Msg) jetstream.PubAckFuture {
	b.Helper()
	f, err := p.bus.JetStream().PublishMsgAsync(m)
	if err != nil {
		b.Fatal(err)
	}
	return f
}

// id is that of the next event of a rule, as long as those of a sensor: a node's name and a ULID.
func (p *plant) id(rule string) string {
	p.published[rule]++
	return fmt.Sprintf("n1-%s-%020d", bus.RuleToken(rule), p.published[rule])
}

// backlog publishes n events of a rule and waits until the stream has them.
func (p *plant) backlog(b *testing.B, n int, rule string) {
	b.Helper()
	var last jetstream.PubAckFuture
	for i := range n {
		last = p.publish(b, event(b, p.id(rule), rule))
		if i%1000 == 999 {
			<-p.bus.JetStream().PublishAsyncComplete()
		}
	}
	select {
	case <-last.Ok():
	case err := <-last.Err():
		b.Fatal(err)
	}
	<-p.bus.JetStream().PublishAsyncComplete()
}

// atOnce answers every operation at once.
type atOnce struct {
	wait func(s capability.Scope) // before it does; nil: no time
}

func (a atOnce) Prepare(_ context.Context, _ capability.Scope, op string, request []byte) (*capability.Prepared, error) {
	return &capability.Prepared{Op: op, Canonical: request, Summary: op}, nil
}

func (a atOnce) Execute(_ context.Context, s capability.Scope, _ *capability.Prepared, _ string) (capability.Result, error) {
	if a.wait != nil {
		a.wait(s)
	}
	return capability.Result{Response: json.RawMessage(`{"object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-1","namespace":"default","uid":"0b6f1d1c-58f6-4d0e-9a43-6a8d6f8e2a11"}}}`)}, nil
}

func (atOnce) Look(context.Context, capability.Scope, *capability.Prepared, string) (bool, capability.Result, error) {
	return true, capability.Result{}, nil
}

func (atOnce) Revert(context.Context, capability.Scope, *capability.Inverse, string) (capability.Result, error) {
	return capability.Result{}, nil
}

func build(b *testing.B, language string) []byte {
	b.Helper()
	bin, err := functions.Build(b.Context(), filepath.Join("..", "samples", "sdk", language))
	if err != nil {
		b.Fatal(err)
	}
	return bin
}

// A tally counts actions and tells when there are as many as awaited.
type tally struct {
	n, want atomic.Int64
	failed  atomic.Int64
	done    chan struct{}
}

func newTally(want int) *tally {
	t := &tally{done: make(chan struct{})}
	t.want.Store(int64(want))
	return t
}

func (t *tally) add(a *journal.Action) {
	if a.Outcome != journal.Succeeded {
		t.failed.Add(1)
	}
	if t.n.Add(1) == t.want.Load() {
		close(t.done)
	}
}

// BenchmarkRuntime handles a backlog: file-backed JetStream → sandbox → outcome stored → acknowledged, one process. The function is
// samples/sdk, the events have 1.5 KB. Baselines: the same backlog, pulled and acknowledged by a consumer that does nothing else; and what
// encoding/json takes for such an event, by which machines are compared: reads is how many of its times go by for each event.
func BenchmarkRuntime(b *testing.B) {
	read := reading(b)
	b.Run("baseline=consume", func(b *testing.B) {
		p := newPlant(b)
		p.backlog(b, b.N, "Busy")
		cons, err := p.bus.JetStream().CreateConsumer(b.Context(), bus.StreamEvents, jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 1000})
		if err != nil {
			b.Fatal(err)
		}
		b.ResetTimer()
		start, n, done := cpu(b), 0, make(chan struct{})
		c, err := cons.Consume(func(m jetstream.Msg) {
			_ = m.Ack()
			if n++; n == b.N {
				close(done)
			}
		})
		if err != nil {
			b.Fatal(err)
		}
		<-done
		c.Stop()
		report(b, start, b.N)
	})
	for _, language := range []string{"c", "rust", "go"} {
		b.Run(language, func(b *testing.B) {
			p := newPlant(b)
			p.deploy(b, "busy", "Busy", "{concurrency: 16}", build(b, language))
			p.backlog(b, b.N, "Busy")
			t := newTally(b.N)
			b.ReportAllocs()
			b.ResetTimer()
			start := cpu(b)
			p.run(b, atOnce{}, t.add)
			<-t.done
			report(b, start, b.N)
			b.ReportMetric(float64(read.Nanoseconds())/1e3, "encoding-json-µs")
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(read), "reads")
			if n := t.failed.Load(); n > 0 {
				b.Errorf("%d of %d did not succeed", n, b.N)
			}
		})
	}
}

// reading is the processor time that encoding/json takes to read the event of BenchmarkSDK, the least of some rounds.
func reading(b *testing.B) time.Duration {
	b.Helper()
	ev, err := os.ReadFile(filepath.Join("..", "functions", "testdata", "event.json"))
	if err != nil {
		b.Fatal(err)
	}
	var least time.Duration
	for range 5 {
		start := cpu(b)
		for range 2000 {
			var v any
			if err := json.Unmarshal(ev, &v); err != nil {
				b.Fatal(err)
			}
		}
		if took := (cpu(b) - start) / 2000; least == 0 || took < least {
			least = took
		}
	}
	return least
}

func report(b *testing.B, start time.Duration, n int) {
	b.Helper()
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64((cpu(b)-start).Microseconds())/float64(n), "cpu-µs/event")
}

// paced publishes n events of a rule at a rate and returns how long each took until its outcome was stored, sorted.
func (p *plant) paced(b *testing.B, n, rate int, rule string, outcomes *sync.Map) []time.Duration {
	b.Helper()
	sent := make([]time.Time, n)
	got := make([]chan time.Time, n)
	ids := make([]string, n)
	for i := range got {
		ids[i] = p.id(rule)
		got[i] = make(chan time.Time, 1)
		outcomes.Store(ids[i], got[i])
	}
	t := time.NewTicker(time.Second / time.Duration(rate))
	defer t.Stop()
	for i := range n {
		<-t.C
		m := event(b, ids[i], rule)
		sent[i] = time.Now()
		p.publish(b, m)
	}
	took := make([]time.Duration, n)
	for i := range took {
		took[i] = (<-got[i]).Sub(sent[i])
	}
	slices.Sort(took)
	return took
}

func told(outcomes *sync.Map) func(*journal.Action) {
	return func(a *journal.Action) {
		if c, ok := outcomes.LoadAndDelete(a.Event.ID); ok {
			c.(chan time.Time) <- time.Now()
		}
	}
}

func percentiles(b *testing.B, name string, took []time.Duration) {
	b.Helper()
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1e3, name+"p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1e3, name+"p99-ms")
}

// BenchmarkPaced is 500 events a second, each timed from its publication to its outcome stored.
func BenchmarkPaced(b *testing.B) {
	for _, language := range []string{"c", "rust", "go"} {
		b.Run(language, func(b *testing.B) {
			p := newPlant(b)
			p.deploy(b, "paced", "Paced", "{concurrency: 16}", build(b, language))
			var outcomes sync.Map
			p.run(b, atOnce{}, told(&outcomes))
			p.paced(b, 200, 500, "Paced", &outcomes) // its module is compiled, its instances are there
			b.ResetTimer()
			took := p.paced(b, b.N, 500, "Paced", &outcomes)
			percentiles(b, "", took)
		})
	}
}
