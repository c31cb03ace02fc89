package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/goleak"

	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/functions/abi"
	"github.com/tiercel-project/tiercel/runtime/sandbox"
)

// A Go module takes more than a second to compile: the tests of one run share a cache.
func TestMain(m *testing.M) {
	var err error
	if sandbox.TestCache, err = os.MkdirTemp("", "tiercel-sandbox-test-"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(sandbox.TestCache)
		os.Exit(code)
	}))
}

func newEngine(t testing.TB, slots int) *sandbox.Engine {
	t.Helper()
	e, err := sandbox.New(sandbox.Config{CacheDir: sandbox.TestCache, Slots: slots}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return e
}

func compile(t testing.TB, e *sandbox.Engine, bin []byte) *sandbox.Module {
	t.Helper()
	m, err := e.Compile(t.Context(), bin)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var hostile = sync.OnceValues(func() ([]byte, error) {
	dir := filepath.Join("testdata", "hostile")
	for _, d := range []string{dir, "../../functions/sdk/go", "../../functions/abi"} {
		noteSources(d)
	}
	return functions.Build(context.Background(), dir)
})

// noteSources opens the Go files of a folder: go test keeps no result of a test whose files have changed, but does not see what the go
// command reads that the test starts.
func noteSources(dir string) {
	files, _ := filepath.Glob(filepath.Join(dir, "*.go"))
	for _, file := range files {
		_, _ = os.ReadFile(file)
	}
}

func hostileModule(t testing.TB, e *sandbox.Engine) *sandbox.Module {
	t.Helper()
	bin, err := hostile()
	if err != nil {
		t.Fatal(err)
	}
	return compile(t, e, bin)
}

// answers is a host that answers by key of kv.get.
type answers struct {
	mu       sync.Mutex
	requests []string
}

func (a *answers) Call(_ context.Context, op string, request []byte) ([]byte, error) {
	a.mu.Lock()
	a.requests = append(a.requests, op+" "+string(request))
	a.mu.Unlock()
	switch {
	case op != abi.OpKVGet:
		return nil, abi.NewError(abi.CodeUnsupported, "no such operation: "+op)
	case string(request) == `{"key":"panic"}`:
		panic("a host's own mistake")
	case string(request) == `{"key":"big"}`:
		return []byte(`{"revision":1,"value":"` + strings.Repeat("v", 100_000) + `"}`), nil
	}
	return []byte(`{"revision":7,"value":"kept"}`), nil
}

func event(subject string) []byte {
	return fmt.Appendf(nil, `{"specversion":"1.0","id":"n-1","subject":%q,"data":{}}`, subject)
}

// spinTime is the timeout of guests that run into it; others get a minute, for the machine may be busy.
const spinTime = 200 * time.Millisecond

var limits = sandbox.Limits{Timeout: time.Minute, Memory: 16 << 20, Output: 8 << 10, Log: 16 << 10, Calls: 10}

func invocation(ev []byte) sandbox.Invocation {
	return sandbox.Invocation{ID: "inv-1", Function: "hostile", Event: ev, Time: time.Date(2026, 11, 21, 1, 2, 3, 4, time.UTC), Limits: limits}
}

// wellBehaved fails unless the engine still runs what it should.
func wellBehaved(t *testing.T, m *sandbox.Module) {
	t.Helper()
	inv := invocation(event("calls"))
	res, _, err := m.Handle(t.Context(), inv, &answers{})
	if err != nil || res.Outcome != abi.OutcomeSucceeded || string(res.Data) != `{"calls":1,"value":"kept"}` {
		t.Errorf("afterwards: %+v, %v", res, err)
	}
}

func TestHostileGuests(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	e, err := sandbox.New(sandbox.Config{CacheDir: sandbox.TestCache, Slots: 2}, reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	m := hostileModule(t, e)
	ends := map[sandbox.Kind]float64{}
	for _, tt := range []struct {
		subject string
		kind    sandbox.Kind
		text    string
	}{
		{"spin", sandbox.FaultDeadline, "it ran longer than 200ms"},
		{"spin", sandbox.FaultFuel, "it took more than 100000000 steps; limits.fuel in the function's document raises that"},
		{"memory", sandbox.FaultMemory, "it needed more than 16Mi of memory"},
		{"goroutines", sandbox.FaultMemory, "it needed more than 16Mi of memory"},
		{"recursion", sandbox.FaultMemory, "it needed more than 16Mi of memory"},
		{"output-outside", sandbox.FaultTrap, "output: 4096 bytes at 0xffffff00 are outside its memory"},
		{"output-huge-length", sandbox.FaultOutput, "its result is larger than 8Ki"},
		{"output-negative-length", sandbox.FaultOutput, "its result is larger than 8Ki"},
		{"response-outside", sandbox.FaultTrap, "call: the response: 4096 bytes at 0xffffff00 are outside its memory"},
		{"request-outside", sandbox.FaultTrap, "call: the request: 4096 bytes at 0xffffff00 are outside its memory"},
		{"output-flood", sandbox.FaultOutput, "its result is larger than 8Ki"},
		{"call-flood", sandbox.FaultCalls, "it made more than 10 calls"},
		{"corrupt", sandbox.FaultTrap, ""},
		{"log-for-ever", sandbox.FaultLog, "it wrote more than 64 times its log's 16Ki; limits.log in the function's document raises that, to 1Mi at most"},
		{"print-for-ever", sandbox.FaultLog, "it wrote more than 64 times"},
		{"deadlock", sandbox.FaultTrap, "all goroutines are asleep - deadlock!"},
	} {
		t.Run(tt.subject+" "+string(tt.kind), func(t *testing.T) {
			inv := invocation(event(tt.subject))
			switch tt.kind {
			case sandbox.FaultDeadline:
				inv.Limits.Timeout = spinTime
			case sandbox.FaultFuel:
				inv.Limits.Fuel = 100_000_000
			}
			res, _, err := m.Handle(t.Context(), inv, &answers{})
			fault, ok := errors.AsType[*sandbox.Fault](err)
			if !ok {
				t.Fatalf("got %+v, %v; want a fault", res, err)
			}
			if fault.Kind != tt.kind || !strings.Contains(fault.Text, tt.text) {
				t.Errorf("got %s: %q; want %s: %q", fault.Kind, fault.Text, tt.kind, tt.text)
			}
			if res.Outcome != abi.OutcomeFailed {
				t.Errorf("outcome %q", res.Outcome)
			}
			if ends[tt.kind]++; ended(t, reg, tt.kind) != ends[tt.kind] {
				t.Errorf("%v invocations counted that ended with %s, want %v", ended(t, reg, tt.kind), tt.kind, ends[tt.kind])
			}
			wellBehaved(t, m)
		})
	}
}

// ended is how many invocations are counted that ended with a fault of a kind.
func ended(t *testing.T, reg prometheus.Gatherer, kind sandbox.Kind) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "tiercel_runtime_sandbox_invocations_total" && m.GetLabel()[0].GetValue() == string(kind) {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// What a guest may do, and how it is told what it may not.
func TestGuests(t *testing.T) {
	e := newEngine(t, 2)
	m := hostileModule(t, e)
	for _, tt := range []struct {
		subject string
		want    abi.Result
		log     []sandbox.LogLine
		dropped int
	}{
		{subject: "panic", want: abi.Result{Outcome: "failed", Text: "panic: assignment to entry in nil map"}},
		{subject: "unknown-operation", want: abi.Result{Outcome: "failed", Code: "unsupported", Text: "no such operation: no.such"}},
		{subject: "request-huge", want: abi.Result{Outcome: "failed", Code: "too_large", Text: "the request has 2097174 bytes, more than 1048576"}},
		{subject: "sleep", want: abi.Result{Outcome: "succeeded", Data: abi.Raw(`{"calls":1,"slept":3000}`)}},
		{subject: "overlapping", want: abi.Result{Outcome: "succeeded", Data: abi.Raw(`{"answer":29,"buffer":"{\"revision\":7,\"va","calls":1}`)}},
		{subject: "retry", want: abi.Result{Outcome: "failed", Code: "conflict", Text: "changed", Retry: true}},
		{subject: "big-response", want: abi.Result{Outcome: "succeeded", Data: abi.Raw(`{"calls":1,"length":100000}`)}},
		{subject: "nothing", want: abi.Result{Outcome: "skipped", Text: "no attack nothing"}},
		{subject: "log-flood", want: abi.Result{Outcome: "succeeded", Data: abi.Raw(`{"calls":1}`)}, dropped: 984},
		{subject: "log-huge-line", want: abi.Result{Outcome: "succeeded", Data: abi.Raw(`{"calls":1}`)}, log: []sandbox.LogLine{{abi.LevelInfo, strings.Repeat("x", abi.MaxLogLine)}}},
		{subject: "log-binary", want: abi.Result{Outcome: "succeeded", Data: abi.Raw(`{"calls":1}`)}, log: []sandbox.LogLine{{abi.LevelInfo, "\uFFFD[2J\uFFFD\uFFFDend"}, {abi.LevelInfo, "second"}}},
		{subject: "print", want: abi.Result{Outcome: "succeeded", Data: abi.Raw(`{"calls":1}`)}, log: []sandbox.LogLine{{abi.LevelError, "half line"}, {abi.LevelError, "rest"}}},
		{subject: "self", want: abi.Result{Outcome: "succeeded", Data: abi.Raw(`{"calls":1,"config":{"allow":["10.0.0.0/8"]},"function":"hostile","id":"inv-1"}`)}},
	} {
		t.Run(tt.subject, func(t *testing.T) {
			inv := invocation(event(tt.subject))
			inv.Config = []byte(`{"allow":["10.0.0.0/8"]}`)
			res, report, err := m.Handle(t.Context(), inv, &answers{})
			if err != nil {
				t.Fatal(err)
			}
			if tt.want.Data == nil && tt.subject != "nothing" || tt.subject == "nothing" {
				tt.want.Data = abi.Raw(`{"calls":1}`)
			}
			if diff := cmp.Diff(tt.want, res); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if tt.log != nil {
				if diff := cmp.Diff(tt.log, report.Log); diff != "" {
					t.Errorf("log (-want +got):\n%s", diff)
				}
			}
			if report.LogDropped != tt.dropped {
				t.Errorf("%d lines dropped, want %d", report.LogDropped, tt.dropped)
			}
		})
	}
}

func TestStop(t *testing.T) {
	e := newEngine(t, 1)
	m := hostileModule(t, e)
	cause := errors.New("lease lost")
	_, report, err := m.Handle(t.Context(), invocation(event("calls")), hostFunc(func(context.Context, string, []byte) ([]byte, error) {
		return nil, &sandbox.Stop{Err: cause}
	}))
	if stop, ok := errors.AsType[*sandbox.Stop](err); !ok || !errors.Is(stop, cause) {
		t.Errorf("got %v, want a Stop for %v", err, cause)
	}
	if report.Calls != 1 {
		t.Errorf("%d calls", report.Calls)
	}
	_, _, err = m.Handle(t.Context(), invocation(event("host-panic")), &answers{})
	if _, ok := errors.AsType[*sandbox.Stop](err); !ok || !strings.Contains(err.Error(), "a host's own mistake") {
		t.Errorf("got %v, want a Stop with the panic", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, _, err = m.Handle(ctx, invocation(event("calls")), hostFunc(func(context.Context, string, []byte) ([]byte, error) {
		cancel()
		return []byte(`{}`), nil
	}))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	wellBehaved(t, m)
}

type hostFunc func(ctx context.Context, op string, request []byte) ([]byte, error)

func (f hostFunc) Call(ctx context.Context, op string, request []byte) ([]byte, error) {
	return f(ctx, op, request)
}

// The guest's time stands still while the host works; a host that takes longer than the guest may is no fault of the guest's.
func TestHostTimeDoesNotCount(t *testing.T) {
	e := newEngine(t, 1)
	m := hostileModule(t, e)
	inv := invocation(event("calls"))
	inv.Limits.Timeout = 2 * time.Second
	_, report, err := m.Handle(t.Context(), inv, hostFunc(func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		timer := time.NewTimer(inv.Limits.Timeout + time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
			return []byte(`{"revision":1}`), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	if report.Host < inv.Limits.Timeout || report.Guest > inv.Limits.Timeout {
		t.Errorf("host %v, guest %v", report.Host, report.Guest)
	}
}

// What a guest had declared is what is told of it when it is stopped.
func TestProgressIsKept(t *testing.T) {
	e := newEngine(t, 1)
	inv := invocation(event("progress-then-spin"))
	inv.Limits.Timeout = 3 * time.Second // enough to have declared it
	res, _, err := hostileModule(t, e).Handle(t.Context(), inv, &answers{})
	if fault, ok := errors.AsType[*sandbox.Fault](err); !ok || fault.Kind != sandbox.FaultDeadline {
		t.Errorf("got %v, want a deadline", err)
	}
	if want := (abi.Result{Outcome: abi.OutcomeFailed, Text: "half way"}); !cmp.Equal(want, res) {
		t.Errorf("got %+v, want %+v", res, want)
	}
}

func TestDeterminism(t *testing.T) {
	e := newEngine(t, 4)
	m := hostileModule(t, e)
	run := func(seed byte) (string, []string) {
		host := &answers{}
		inv := invocation(event("entropy"))
		inv.Seed[0] = seed
		res, report, err := m.Handle(t.Context(), inv, host)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s %q memory %d fuel %d", res.Data, report.Log, report.Memory, report.Fuel), host.requests
	}
	first, requests := run(1)
	for range 5 {
		if again, r := run(1); again != first || !cmp.Equal(requests, r) {
			t.Errorf("differs:\n%s\n%s", first, again)
		}
	}
	if other, _ := run(2); other == first {
		t.Error("another seed gives the same")
	}
}

// Many at a time do not see each other, faults among them.
func TestParallel(t *testing.T) {
	e := newEngine(t, 4)
	m := hostileModule(t, e)
	defer m.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 60 {
				subject := []string{"calls", "deadlock", "self", "output-flood"}[i%4]
				res, report, err := m.Handle(t.Context(), invocation(event(subject)), &answers{})
				_, isFault := errors.AsType[*sandbox.Fault](err)
				if isFault != (i%2 == 1) || err == nil && !strings.HasPrefix(string(res.Data), `{"calls":1,`) {
					t.Errorf("%s: %+v, %v", subject, res, err)
				}
				if report.Memory == 0 || report.Fuel == 0 {
					t.Errorf("%s: %+v", subject, report)
				}
			}
		})
	}
	wg.Wait()
}

// A module that is closed while it runs ends what runs, and then frees itself.
func TestCloseWhileRunning(t *testing.T) {
	e := newEngine(t, 2)
	m := hostileModule(t, e)
	wellBehaved(t, m) // leaves an idle instance
	res, _, err := m.Handle(t.Context(), invocation(event("calls")), hostFunc(func(context.Context, string, []byte) ([]byte, error) {
		if err := errors.Join(m.Close(), m.Close()); err != nil {
			t.Error(err)
		}
		return []byte(`{"revision":1,"value":"late"}`), nil
	}))
	if err != nil || !strings.Contains(string(res.Data), "late") {
		t.Errorf("got %+v, %v", res, err)
	}
	if _, _, err := m.Handle(t.Context(), invocation(event("calls")), &answers{}); !errors.Is(err, sandbox.ErrClosed) {
		t.Errorf("after Close: %v, want ErrClosed", err)
	}
	wellBehaved(t, hostileModule(t, e))
}

// The fuel limit holds to the step: what an invocation took is enough for it, and one less is not.
func TestFuel(t *testing.T) {
	e := newEngine(t, 1)
	m := hostileModule(t, e)
	inv := invocation(event("calls"))
	_, report, err := m.Handle(t.Context(), inv, &answers{})
	if err != nil {
		t.Fatal(err)
	}
	inv.Limits.Fuel = report.Fuel
	if _, again, err := m.Handle(t.Context(), inv, &answers{}); err != nil || again.Fuel != report.Fuel {
		t.Errorf("with a limit of %d: fuel %d, %v", report.Fuel, again.Fuel, err)
	}
	inv.Limits.Fuel--
	_, _, err = m.Handle(t.Context(), inv, &answers{})
	if fault, ok := errors.AsType[*sandbox.Fault](err); !ok || fault.Kind != sandbox.FaultFuel {
		t.Errorf("with one less: %v, want fuel", err)
	}
}

// A guest that spins keeps neither the garbage collector nor others from working.
func TestSpinningGuestLetsOthersWork(t *testing.T) {
	e := newEngine(t, 8)
	m := hostileModule(t, e)
	inv := invocation(event("spin"))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			if _, _, err := m.Handle(ctx, inv, &answers{}); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want context.Canceled", err)
			}
		})
	}
	for range 2 {
		runtime.GC()
		wellBehaved(t, m)
	}
	cancel()
	wg.Wait()
}

// Slots bound what runs at one time, and Free tells how many are left.
func TestSlots(t *testing.T) {
	e := newEngine(t, 2)
	m := hostileModule(t, e)
	inside, release := make(chan struct{}), make(chan struct{})
	host := hostFunc(func(context.Context, string, []byte) ([]byte, error) {
		inside <- struct{}{}
		<-release
		return []byte(`{"revision":1}`), nil
	})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if _, _, err := m.Handle(t.Context(), invocation(event("calls")), host); err != nil {
				t.Error(err)
			}
		})
	}
	<-inside
	<-inside
	if e.Free() != 0 {
		t.Errorf("%d slots free with two running", e.Free())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := m.Handle(ctx, invocation(event("calls")), host); !errors.Is(err, context.Canceled) {
		t.Errorf("a full pool: %v, want context.Canceled", err)
	}
	close(release)
	<-inside
	wg.Wait()
	if e.Free() != e.Slots() {
		t.Errorf("%d of %d slots free at the end", e.Free(), e.Slots())
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	e, err := sandbox.New(sandbox.Config{Slots: 1}, reg)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, _, err := compile(t, e, good().bytes(t)).Handle(t.Context(), invocation(event("x")), &answers{}); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// A cache that cannot be written is the machine's fault, not the module's.
func TestCacheFolderGone(t *testing.T) {
	dir := t.TempDir()
	e, err := sandbox.New(sandbox.Config{CacheDir: dir, Slots: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	_, err = e.Compile(t.Context(), good().bytes(t))
	if _, isModule := errors.AsType[*sandbox.ModuleError](err); isModule || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want os.ErrNotExist", err)
	}
}

func TestConfig(t *testing.T) {
	if err := sandbox.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for _, slots := range []int{-1, 0, 1025} {
		if _, err := sandbox.New(sandbox.Config{Slots: slots}, nil); err == nil || !strings.Contains(err.Error(), "slots: ") {
			t.Errorf("%d slots: %v", slots, err)
		}
	}
}
