package sensor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/filter"
	"github.com/tiercel-project/tiercel/sensor/kernel"
	"github.com/tiercel-project/tiercel/sensor/output"
	"github.com/tiercel-project/tiercel/sensor/process"
)

const testRules = `
- rule: Read shadow
  desc: somebody reads the passwords
  condition: evt.type in (open, openat, openat2) and evt.is_open_read=true and fd.name=/etc/shadow
  output: Passwords read | file=%fd.name process=%proc.cmdline container=%container.id pod=%k8s.pod.name
  priority: WARNING
  tags: [files]
- rule: Shell
  desc: a shell is started
  condition: evt.type=execve and proc.name=sh
  output: Shell started | command=%proc.cmdline parent=%proc.pname
  priority: NOTICE
`

// load compiles rules for a test.
func load(t testing.TB, text string) *rules.Set {
	t.Helper()
	set, report := rules.Load([]rules.File{{Name: "test.yaml", Data: []byte(text)}}, rules.Options{Hostname: "box"})
	if set == nil {
		t.Fatal(report.Err())
	}
	return set
}

// A fakeSource is a kernel side whose records the test makes.
type fakeSource struct {
	events   chan *event.Event
	snapshot []*event.Event

	mu         sync.Mutex
	interest   field.EventSet      // guarded by mu
	generation uint32              // guarded by mu
	lost       uint64              // guarded by mu; in the ring that lossy names
	lossy      string              // guarded by mu
	charged    []kernel.CgroupLoss // guarded by mu
	now        []*event.Event      // guarded by mu; what Reread gives
	known      int                 // guarded by mu; how many of them were
	done       uint64              // guarded by mu; up to when all events have come
	tended     int                 // guarded by mu; how often that was asked for
}

func newFakeSource() *fakeSource {
	return &fakeSource{events: make(chan *event.Event), lossy: "event", done: ^uint64(0)}
}

func (f *fakeSource) Use(_, next *filter.Plan) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.interest, f.generation = next.Types, next.Generation
	return nil
}

func (f *fakeSource) has(t field.EventType) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.interest.Has(t)
}

func (f *fakeSource) Snapshot(handle func(*event.Event)) error {
	for _, ev := range f.snapshot {
		handle(ev)
	}
	return nil
}

func (f *fakeSource) Run(ctx context.Context, handle func(*event.Event)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev := <-f.events:
			f.mu.Lock()
			ev.Generation = f.generation
			f.mu.Unlock()
			handle(ev)
			*ev = event.Event{} // as the kernel side does, in effect
		}
	}
}

func (f *fakeSource) Stats() (kernel.Stats, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return kernel.Stats{Rings: []kernel.RingStats{{Name: f.lossy, Lost: []kernel.Loss{{Reason: "full", Count: f.lost}}}}}, nil
}

func (f *fakeSource) Done() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tended++
	return f.done
}

func (f *fakeSource) setDone(bootNS uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = bootNS
}

// waitTended waits until the sensor has looked after its tables n times more, the last of which may still be under way.
func (f *fakeSource) waitTended(t testing.TB, n int) {
	t.Helper()
	count := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.tended
	}
	for from, end := count(), time.Now().Add(2*time.Minute); count() < from+n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it looked after its tables %d times", count()-from)
		}
	}
}

func (f *fakeSource) Losses() ([]kernel.CgroupLoss, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	charged := f.charged
	f.charged = nil
	return charged, nil
}

func (f *fakeSource) Exempt(uint32, func() error) (*kernel.Exemption, error) {
	return nil, kernel.ErrExemptGone
}

func (f *fakeSource) Reread(known func(*event.Event) bool, handle func(*event.Event)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, ev := range f.now {
		if known(ev) {
			f.known++
		}
		handle(ev)
	}
	return nil
}

func (f *fakeSource) Close() error { return nil }

// A syncBuffer is a buffer that a test reads while the sensor writes.
type syncBuffer struct {
	mu    sync.Mutex
	b     bytes.Buffer  // guarded by mu
	wrote chan struct{} // capacity 1
}

func newSyncBuffer() *syncBuffer { return &syncBuffer{wrote: make(chan struct{}, 1)} }

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.wrote <- struct{}{}:
	default:
	}
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// waitFor waits until the buffer contains text.
func (s *syncBuffer) waitFor(t testing.TB, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for !strings.Contains(s.String(), text) {
		select {
		case <-s.wrote:
		case <-ctx.Done():
			t.Fatalf("%q did not come; there is:\n%s", text, s.String())
		}
	}
}

// A rig is a running sensor.
type rig struct {
	*Sensor
	src  *fakeSource
	out  *syncBuffer
	log  *syncBuffer
	reg  *prometheus.Registry
	stop func()
}

// start runs a sensor over a fakeSource until the test ends.
func start(t *testing.T, change func(*Config, *Deps)) *rig {
	t.Helper()
	r := &rig{src: newFakeSource()}
	s := newSensor(t, r, change)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// newSensor makes the sensor of r over its source.
func newSensor(t *testing.T, r *rig, change func(*Config, *Deps)) *Sensor {
	t.Helper()
	r.out, r.log, r.reg = newSyncBuffer(), newSyncBuffer(), prometheus.NewRegistry()
	cfg := DefaultConfig()
	cfg.Node, cfg.Cluster, cfg.Hostname, cfg.Format, cfg.RuntimeSockets = "node-1", "lab", "box", output.JSON, nil
	deps := Deps{
		Rules: load(t, testRules), Stdout: r.out, Log: slog.New(slog.NewTextHandler(r.log, nil)), Registerer: r.reg,
		Open: func(cfg kernel.Config) (Source, error) { return r.src, r.src.Use(cfg.Filter, cfg.Filter) },
	}
	if change != nil {
		change(&cfg, &deps)
	}
	s, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	r.Sensor = s
	return s
}

// task is a process of these tests.
func task(pid uint32, comm string) event.Task {
	return event.Task{PID: pid, TID: pid, VPID: pid, StartNS: uint64(pid), Comm: comm, CgroupID: 1}
}

func cgroup(id uint64, path string) *event.Event {
	return &event.Event{Flags: event.ProcessOnly, Cgroup: event.Cgroup{ID: id, Path: path}}
}

func shadow(t event.Task) *event.Event {
	return &event.Event{
		Type: field.EventOpenat, BootNS: bootNS(), ReadNS: bootNS(), Result: 3, Task: t,
		Open: event.Open{Path: event.Path{Raw: "/etc/shadow", Resolved: "/etc/shadow"}, Flags: unix.O_RDONLY, DirFD: unix.AT_FDCWD, Type: 8},
	}
}

func shell(t event.Task) *event.Event {
	return &event.Event{
		Type: field.EventExecve, BootNS: bootNS(), ReadNS: bootNS(), Task: t,
		Exec: event.Exec{Exe: "sh", ExePath: "/bin/sh", Args: []byte("-c\x00id\x00")},
	}
}

// procinfo is what the kernel side tells of a process that is there.
func procinfo(t event.Task) *event.Event {
	return &event.Event{
		Type: field.EventProcinfo, Flags: event.ProcessOnly, BootNS: bootNS(), ReadNS: bootNS(), Task: t,
		Exec: event.Exec{ExePath: "/bin/" + t.Comm},
	}
}

// startBus starts an embedded server and returns a connection to it.
func startBus(t testing.TB) *bus.Bus {
	t.Helper()
	sc := bus.DefaultServerConfig()
	sc.DataDir, sc.Port = t.TempDir(), 0
	srv, err := bus.StartServer(t.Context(), sc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	bc := bus.DefaultConfig()
	bc.Server = srv
	b, err := bus.Connect(t.Context(), bc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.EnsureStreams(t.Context(), bus.RoleSensor); err != nil {
		t.Fatal(err)
	}
	return b
}

// events collects what the bus gets on the subjects of events.
func events(t testing.TB, b *bus.Bus) <-chan *bus.Event {
	t.Helper()
	got := make(chan *bus.Event, 4096)
	sub, err := b.Conn().Subscribe("tiercel.events.>", func(m *nats.Msg) {
		ev, err := bus.Unmarshal(m.Data)
		if err != nil {
			t.Errorf("%s: %v", m.Subject, err)
			return
		}
		if ev.Extensions == nil {
			ev.Extensions = map[string]any{}
		}
		ev.Extensions["subject"] = m.Subject
		got <- ev
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	if err := b.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	return got
}

func receive(t testing.TB, c <-chan *bus.Event) *bus.Event {
	t.Helper()
	select {
	case ev := <-c:
		return ev
	case <-time.After(2 * time.Minute):
		t.Fatal("no event came")
		return nil
	}
}

// TestMatch follows events from the kernel's records to the outputs and the bus.
func TestMatch(t *testing.T) {
	b := startBus(t)
	got := events(t, b)
	r := start(t, func(_ *Config, d *Deps) { d.Bus = b })
	for _, ev := range []*event.Event{
		cgroup(1, "/user.slice"),
		shell(task(10, "bash")), // no rule
		{
			Type: field.EventClone, BootNS: bootNS(), Task: task(10, "bash"), Result: 11,
			Fork: event.Fork{ChildPID: 11, ChildTID: 11, ChildVPID: 11, ChildStartNS: 11, ChildCgroupID: 1},
		},
		shell(func() event.Task { k := task(11, "sh"); k.PPID, k.ParentStartNS, k.ExecGen = 10, 10, 1; return k }()),
		shadow(func() event.Task { k := task(11, "sh"); k.PPID, k.ParentStartNS, k.ExecGen = 10, 10, 1; return k }()),
	} {
		r.src.events <- ev
	}
	r.out.waitFor(t, "Passwords read")
	var lines []map[string]any
	for line := range strings.Lines(r.out.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		lines = append(lines, m)
	}
	if len(lines) != 2 || lines[0]["rule"] != "Shell" || lines[1]["rule"] != "Read shadow" {
		t.Fatalf("lines %v", lines)
	}
	if got, want := lines[0]["output"].(string), "Notice Shell started | command=sh -c id parent=bash"; !strings.HasSuffix(got, want) {
		t.Errorf("output %q, want …%q", got, want)
	}
	receive(t, got)
	ev := receive(t, got)
	if subject := ev.Extensions["subject"]; subject != "tiercel.events.syscall.warning.read_shadow._host.node-1" {
		t.Errorf("published on %v", subject)
	}
	if !strings.HasPrefix(ev.ID, "node-1-") || ev.Source != "/lab/node-1/syscall" || ev.Subject != "box" || ev.Rule != "Read shadow" ||
		ev.Priority != "Warning" || ev.EventSource != "syscall" || len(ev.TraceParent) != 55 {
		t.Errorf("envelope %+v", ev)
	}
	m, err := ev.Match()
	if err != nil {
		t.Fatal(err)
	}
	want := bus.Target{Cluster: "lab", Node: "node-1", CgroupID: 1, PID: 11, PIDStartTime: 11}
	if diff := cmp.Diff(want, m.Target); diff != "" {
		t.Errorf("target (-want +got):\n%s", diff)
	}
	var fields map[string]any
	if err := json.Unmarshal(m.Fields, &fields); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"fd.name": "/etc/shadow", "evt.arg.flags": "O_RDONLY", "proc.name": "sh", "proc.pname": "bash", "container.id": "host", "tiercel.identity": "host",
		"evt.is_open_read": true, "fd.num": 3.0, "user.uid": 0.0,
	} {
		if fields[name] != want {
			t.Errorf("field %s is %v, want %v", name, fields[name], want)
		}
	}
	if err := r.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
	r.stop()
	if err := r.Ready(); !errors.Is(err, errNotAttached) {
		t.Errorf("after the end: %v", err)
	}
	if n := testutil.ToFloat64(r.metrics.matches.WithLabelValues("Warning")); n != 1 {
		t.Errorf("%v matches counted", n)
	}
}

// A slowResolver answers when it is told to.
type slowResolver struct{ answer chan *container.Info }

func (s slowResolver) String() string { return "slow" }
func (s slowResolver) Resolve(ctx context.Context, _ container.ID) (*container.Info, error) {
	select {
	case in := <-s.answer:
		return in, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

const (
	testID  = "3ad7b26ded6d2ccc0a0b7e4a9b9d4f9e1c2d3e4f5a6b7c8d9e0f112233445566"
	testUID = "6c7f5a2e-0f4b-4b1d-9d8e-2a1b3c4d5e6f"
)

// inPod is a process of a container.
func inPod(pid uint32, comm string) event.Task {
	k := task(pid, comm)
	k.CgroupID, k.VPID = 7, 1
	return k
}

// TestWaiting: an event of a container that is not named yet waits, others pass it, and it leaves with the names.
func TestWaiting(t *testing.T) {
	res := slowResolver{make(chan *container.Info)}
	r := start(t, func(c *Config, d *Deps) {
		d.Resolvers = []container.Resolver{res}
		c.IdentityTimeout = 10 * time.Second
	})
	r.src.events <- cgroup(1, "/user.slice")
	r.src.events <- cgroup(7, "/kubepods/besteffort/pod"+testUID+"/"+testID)
	r.src.events <- shadow(inPod(20, "cat"))
	r.src.events <- shell(inPod(22, "cat")) // no rule can match it, whatever the names are
	r.src.events <- shell(task(21, "sh"))
	r.out.waitFor(t, "Shell started")
	r.pipeline.mu.Lock()
	if n := len(r.pipeline.waiting.queue); n != 1 {
		t.Errorf("%d events wait, want 1", n)
	}
	r.pipeline.mu.Unlock()
	if strings.Contains(r.out.String(), "Passwords read") {
		t.Fatal("the event did not wait")
	}
	res.answer <- &container.Info{Name: "app", Pod: container.Pod{Name: "web-0", Namespace: "prod"}}
	r.out.waitFor(t, "container="+testID[:12]+" pod=web-0")
	r.stop()
	if n := testutil.ToFloat64(r.metrics.waited.WithLabelValues(waitedKnown)); n != 1 {
		t.Errorf("%v events counted that waited", n)
	}
}

// TestUnresolved: when nobody tells the names in time, the event leaves without them, and says so; what finds the queue full does at once.
func TestUnresolved(t *testing.T) {
	b := startBus(t)
	got := events(t, b)
	r := start(t, func(c *Config, d *Deps) {
		d.Bus = b
		d.Resolvers = []container.Resolver{slowResolver{}}
		c.IdentityTimeout, c.Waiting = 200*time.Millisecond, 1
	})
	r.src.events <- cgroup(7, "/kubepods/besteffort/pod"+testUID+"/"+testID)
	r.src.events <- shadow(inPod(20, "one"))
	r.src.events <- shadow(inPod(20, "one"))
	for _, how := range []string{"overflow", "timeout"} {
		m, err := receive(t, got).Match()
		if err != nil {
			t.Fatal(err)
		}
		if m.Target.ContainerID != testID || m.Target.PodUID != testUID || m.Target.Pod != "" || !bytes.Contains(m.Fields, []byte(`"tiercel.identity":"unresolved"`)) {
			t.Errorf("%s: target %+v, fields %s", how, m.Target, m.Fields)
		}
	}
	r.stop()
	for _, outcome := range []string{waitedTimeout, waitedOverflow} {
		if n := testutil.ToFloat64(r.metrics.waited.WithLabelValues(outcome)); n != 1 {
			t.Errorf("%v events counted as %s", n, outcome)
		}
	}
}

// TestDrain: what waits when the sensor ends is matched and written before Run returns.
func TestDrain(t *testing.T) {
	r := start(t, func(c *Config, d *Deps) {
		d.Resolvers = []container.Resolver{slowResolver{}}
		c.IdentityTimeout = 10 * time.Second
	})
	r.src.events <- cgroup(7, "/docker/"+testID)
	r.src.events <- shadow(inPod(20, "cat"))
	r.src.events <- cgroup(8, "/x") // handled, so the one before is
	r.stop()
	if !strings.Contains(r.out.String(), "Passwords read") {
		t.Errorf("output %q", r.out.String())
	}
}

// TestReload: rules are taken over when their file changes; bad ones are reported by position and those before stay.
func TestReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules.yaml")
	put := func(text string) {
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil { // as editors do
			t.Fatal(err)
		}
	}
	put(testRules)
	r := start(t, func(c *Config, d *Deps) {
		c.ReloadDelay = time.Millisecond
		d.Watch = []string{file}
		d.Load = func() (*rules.Set, *rules.Report, error) {
			files, err := rules.ReadFiles([]string{file})
			if err != nil {
				return nil, nil, err
			}
			set, report := rules.Load(files, rules.Options{})
			return set, report, nil
		}
	})
	r.log.waitFor(t, "watching the kernel")
	put(strings.ReplaceAll(testRules, "fd.name=", "fd.nam="))
	r.log.waitFor(t, "those before stay")
	if want := "at=" + file + ":4:"; !strings.Contains(r.log.String(), want) {
		t.Errorf("log lacks %q:\n%s", want, r.log.String())
	}
	r.out.waitFor(t, "Tiercel internal: rules not reloaded")
	if n := testutil.ToFloat64(r.metrics.stale); n != 1 {
		t.Errorf("rules_stale is %v although the rules were rejected", n)
	}
	r.src.events <- cgroup(1, "/user.slice")
	r.src.events <- shell(task(21, "sh"))
	r.out.waitFor(t, "Shell started")
	put("- rule: Socket\n  desc: d\n  condition: evt.type=socket\n  output: Socket made\n  priority: INFO\n")
	r.log.waitFor(t, "rules reloaded")
	if !r.src.has(field.EventSocket) || r.src.has(field.EventOpenat) {
		t.Error("the kernel side does not select what the new rules want")
	}
	r.src.events <- &event.Event{Type: field.EventSocket, BootNS: bootNS(), Result: 4, Task: task(21, "sh")}
	r.out.waitFor(t, "Socket made")
	if n := testutil.ToFloat64(r.metrics.stale); n != 0 {
		t.Errorf("rules_stale is %v although rules were loaded", n)
	}
	put("# none\n")
	r.log.waitFor(t, "nothing is watched")
	for result, want := range map[string]float64{"loaded": 1, "rejected": 1} {
		if n := testutil.ToFloat64(r.metrics.reloads.WithLabelValues(result)); n < want {
			t.Errorf("%v reloads %s", n, result)
		}
	}
}

// TestSignals: SIGHUP loads the rules anew, SIGUSR1 opens the file output anew.
func TestSignals(t *testing.T) {
	file := filepath.Join(t.TempDir(), "alerts")
	r := start(t, func(c *Config, d *Deps) {
		c.FileOutput = file
		set := load(t, testRules)
		d.Load = func() (*rules.Set, *rules.Report, error) { return set, &rules.Report{}, nil }
	})
	r.log.waitFor(t, "watching the kernel")
	if err := unix.Kill(os.Getpid(), unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	r.log.waitFor(t, `msg="rules reloaded" why=SIGHUP`)
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(os.Getpid(), unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	r.log.waitFor(t, "the file output is opened anew")
	r.src.events <- cgroup(1, "/user.slice")
	r.src.events <- shell(task(21, "sh"))
	r.stop()
	if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), "Shell started") {
		t.Errorf("new file: %q %v", b, err)
	}
}

// TestLoss: lost records make an alert and an event.
func TestLoss(t *testing.T) {
	b := startBus(t)
	got := events(t, b)
	r := start(t, func(_ *Config, d *Deps) { d.Bus = b })
	r.log.waitFor(t, "watching the kernel")
	r.src.mu.Lock()
	r.src.lost = 17
	r.src.mu.Unlock()
	r.out.waitFor(t, "ring=event lost=17")
	ev := receive(t, got)
	if ev.Type != bus.TypeRecordsLost || !strings.HasPrefix(ev.Extensions["subject"].(string), "tiercel.events.syscall.warning.") {
		t.Errorf("event %+v", ev)
	}
}

// TestLossOfContainers: what a container lost is told with its name, the rest by ring, and nothing twice.
func TestLossOfContainers(t *testing.T) {
	b := startBus(t)
	got := events(t, b)
	r := start(t, func(_ *Config, d *Deps) { d.Bus = b })
	r.log.waitFor(t, "watching the kernel")
	id := strings.Repeat("ab", 32)
	r.src.events <- cgroup(7, "/kubepods/pod1/"+id)
	r.src.events <- cgroup(8, "/kubepods/pod1/"+id+"/inner")
	r.src.mu.Lock()
	r.src.lost = 17
	r.src.charged = []kernel.CgroupLoss{{ID: 7, Event: 9}, {ID: 8, Event: 3}, {ID: 99, Event: 1}}
	r.src.mu.Unlock()
	r.out.waitFor(t, "ring=event lost=4")
	r.out.waitFor(t, "container="+id[:12]+" cgroup=/kubepods/pod1/"+id+" process=0 event=12")
	var m bus.MatchData
	if err := json.Unmarshal(receive(t, got).Data, &m); err != nil {
		t.Fatal(err)
	}
	if m.Target.ContainerID != id || m.Target.CgroupID != 7 {
		t.Errorf("target %+v", m.Target)
	}
	if n := strings.Count(r.out.String(), "ring=event"); n != 1 {
		t.Errorf("%d events of the ring, want 1:\n%s", n, r.out)
	}
}

// TestLossOfMany: where more containers lose records at once than have events of their own, the smaller losses share one, and all are counted.
func TestLossOfMany(t *testing.T) {
	const more = 3
	r := start(t, nil)
	r.log.waitFor(t, "watching the kernel")
	var charged []kernel.CgroupLoss
	var all uint64
	for i := range uint64(maxCharged + more) {
		r.src.events <- cgroup(100+i, fmt.Sprintf("/kubepods/pod1/%064x", i))
		n := 1000 - i // the greatest first, as the kernel side gives them
		charged = append(charged, kernel.CgroupLoss{ID: 100 + i, Event: n})
		all += n
	}
	r.src.mu.Lock()
	r.src.lost, r.src.charged = all+5, charged
	r.src.mu.Unlock()
	r.out.waitFor(t, "ring=event lost=5")
	last := uint64(maxCharged + more)
	r.out.waitFor(t, fmt.Sprintf("containers=%d process=0 event=%d", more, more*1000-(last-3+last-2+last-1)))
	if n := strings.Count(r.out.String(), "Records of one container"); n != maxCharged {
		t.Errorf("%d containers have an event of their own, want %d", n, maxCharged)
	}
	var tallied uint64
	for _, c := range r.Losses() {
		tallied += c.Event
	}
	if tallied != all {
		t.Errorf("%d records are on the containers' accounts, want %d", tallied, all)
	}
}

// TestRestore: after a loss of process records those that live are read again, and those that are not there have ended.
func TestRestore(t *testing.T) {
	r := start(t, nil)
	r.log.waitFor(t, "watching the kernel")
	for _, pid := range []uint32{31, 32} {
		r.src.events <- shell(task(pid, "sh"))
	}
	r.src.mu.Lock()
	again := procinfo(task(31, "sh"))
	missed := procinfo(task(33, "missed"))
	missed.Task.PPID, missed.Task.ParentStartNS = 31, again.Task.StartNS
	r.src.now = []*event.Event{again, missed}
	r.src.lossy, r.src.lost = kernel.ProcessRing, 3
	r.src.mu.Unlock()
	r.log.waitFor(t, `msg="processes read again after a loss" added=1 ended=1`)
	p := &r.pipeline
	p.mu.Lock()
	defer p.mu.Unlock()
	find := func(pid uint32) *process.Process { return p.table.ByPID(pid, p.now()) }
	if q := find(33); q == nil || q.Image(0).Name != "missed" || p.table.Parent(q, p.now()) != find(31) {
		t.Errorf("process 33: %+v", q)
	}
	if q := find(31); q.ExitNS != 0 || q.Image(0).Exe == "" {
		t.Errorf("process 31 %+v", q)
	}
	if q := find(32); q.ExitNS == 0 {
		t.Error("process 32 has not ended")
	}
	if r.src.known != 1 {
		t.Errorf("%d processes were known, want 1", r.src.known)
	}
}

// TestBusAway: while the bus is away matches are kept and the sensor is not ready; when it is back they arrive, each once, in their order.
func TestBusAway(t *testing.T) {
	sc := bus.DefaultServerConfig()
	sc.DataDir = t.TempDir()
	srv, err := bus.StartServer(t.Context(), sc)
	if err != nil {
		t.Fatal(err)
	}
	sc.Port = port(t, srv.URL())
	bc := bus.DefaultConfig()
	bc.URL, bc.Creds = srv.URL(), filepath.Join(sc.DataDir, bus.AccessFile)
	b, err := bus.Connect(t.Context(), bc)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.EnsureStreams(t.Context(), bus.RoleSensor); err != nil {
		t.Fatal(err)
	}
	r := start(t, func(_ *Config, d *Deps) { d.Bus = b })
	r.src.events <- cgroup(1, "/user.slice")
	const n = 50
	for i := range n {
		if i == 10 {
			for r.publisher.Pending() > 0 {
				runtime.Gosched()
			}
			srv.Close()
			for r.Ready() == nil {
				runtime.Gosched()
			}
		}
		r.src.events <- shell(task(uint32(100+i), "sh"))
	}
	if srv, err = bus.StartServer(t.Context(), sc); err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	for r.publisher.Pending() > 0 {
		runtime.Gosched()
	}
	if err := r.Ready(); err != nil {
		t.Errorf("not ready again: %v", err)
	}
	stream, err := b.JetStream().Stream(t.Context(), bus.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.State.Msgs != n {
		t.Errorf("the stream has %d events, want %d", info.State.Msgs, n)
	}
	for i := range n {
		raw, err := stream.GetMsg(t.Context(), uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		ev, err := bus.Unmarshal(raw.Data)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := ev.Match(); err != nil || m.Target.PID != int32(100+i) {
			t.Errorf("event %d is about process %d: %v", i, m.Target.PID, err)
		}
	}
}

func port(t *testing.T, address string) int {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestLongArguments: an event stays within its bound however long the texts of the process are, and is valid JSON whatever bytes they have.
func TestLongArguments(t *testing.T) {
	b := startBus(t)
	got := events(t, b)
	long := strings.Repeat("\x01\xff\"", 4096)
	r := start(t, func(_ *Config, d *Deps) {
		d.Bus = b
		d.Rules = load(t, "- rule: Any\n  desc: d\n  condition: evt.type=execve\n  output: x %proc.cmdline %proc.args %proc.env %proc.pcmdline %evt.args %proc.cwd\n  priority: INFO\n")
	})
	r.src.events <- cgroup(1, "/")
	for _, text := range []string{long, strings.Repeat("ü", 10_000), "short"} {
		ev := shell(task(30, "x"))
		ev.Exec.Args, ev.Exec.Env, ev.Exec.Cwd = []byte(text+"\x00"), []byte("A="+text+"\x00"), "/"+text
		r.src.events <- ev
		e := receive(t, got)
		if len(e.Data) > bus.MaxDataSize || !json.Valid(e.Data) {
			t.Errorf("data of %d bytes, valid %v", len(e.Data), json.Valid(e.Data))
		}
		m, err := e.Match()
		if err != nil || m.Rule != "Any" || m.Target.PID != 30 || !bytes.Contains(m.Fields, []byte(`"proc.pid":30`)) {
			t.Errorf("match %+v: %v", m, err)
		}
	}
}

// TestHTTPOutput and file: all outputs get each alert.
func TestOutputs(t *testing.T) {
	posted := make(chan string, 4)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		posted <- string(b)
	}))
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "alerts")
	r := start(t, func(c *Config, _ *Deps) { c.HTTPOutput, c.FileOutput, c.Format = srv.URL, file, output.Text })
	r.src.events <- cgroup(1, "/user.slice")
	r.src.events <- shell(task(21, "sh"))
	if got := <-posted; !strings.HasPrefix(got, `{"hostname":"box","output":"`) {
		t.Errorf("posted %q", got)
	}
	r.stop()
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(written) != r.out.String() || !strings.Contains(string(written), ": Notice Shell started") {
		t.Errorf("file %q, standard output %q", written, r.out.String())
	}
}

func TestMetrics(t *testing.T) {
	r := start(t, nil)
	r.src.events <- cgroup(1, "/user.slice")
	r.src.events <- shell(task(21, "sh"))
	r.out.waitFor(t, "Shell started")
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "tiercel_sensor_") {
			t.Errorf("metric %s", f.GetName())
		}
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	c := DefaultConfig()
	c.Node, c.Format, c.HTTPOutput, c.Waiting, c.DrainTimeout, c.RuntimeSockets = "Box!", "xml", "ftp://x", 0, -1, []string{"lxc:/x"}
	c.IdentityTimeout = time.Minute
	err := c.Validate()
	var got []string
	for line := range strings.Lines(fmt.Sprint(err)) {
		path, _, _ := strings.Cut(line, ":")
		got = append(got, path)
	}
	want := []string{"node", "format", "httpOutput", "drainTimeout", "identityTimeout", "waiting", "runtimeSockets[0]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths (-want +got):\n%s\n%v", diff, err)
	}
}

// TestStandardFields: they are in the registry and are given; refs panics else.
func TestStandardFields(t *testing.T) {
	p := Provider()
	for _, list := range [][]field.Ref{taskStandard, lineStandard, execStandard, openStandard, netStandard, callStandard} {
		for i := range list {
			if !p.Field("syscall", &list[i]) {
				t.Errorf("standard field %s is not given", list[i])
			}
		}
	}
}
