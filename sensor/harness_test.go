package sensor

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/kernel"
	"github.com/tiercel-project/tiercel/sensor/output"
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

func waitUntil(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not after two minutes: %s", what)
		}
	}
}
