//go:build kernel

package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// childEnv names the function of children that a process of the test runs instead of tests: the sensor passes over its own process.
const childEnv = "TIERCEL_KERNEL_TEST_CHILD"

// children are what child processes do, by name.
var children = map[string]func(args []string) error{}

// addChild makes f one of children, from an init. No test runs if two have one name.
func addChild(name string, f func(args []string) error) {
	if children[name] != nil {
		panic(fmt.Sprintf("two children are called %q", name))
	}
	children[name] = f
}

func TestMain(m *testing.M) {
	name := os.Getenv(childEnv)
	if name == "" {
		code := m.Run()
		if err := shared.close(); err != nil {
			fmt.Fprintln(os.Stderr, "shared sensor:", err)
			code = 1
		}
		os.Exit(code)
	}
	if err := children[name](os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child returns the command that runs children[name] with args.
func child(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	if children[name] == nil {
		t.Fatalf("no child %q", name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	return cmd
}

// run runs cmd and fails the test if it fails. It returns the pid.
func run(t testing.TB, cmd *exec.Cmd) uint32 {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return uint32(cmd.Process.Pid)
}

// A watch is a running sensor and what it has delivered so far.
type watch struct {
	*Sensor
	events chan *event.Event
	seen   []*event.Event
}

// backend is what the tests' sensors may use: TIERCEL_TEST_BACKEND=T keeps them to backend T.
func backend() Config { return Config{NoBackendL: os.Getenv("TIERCEL_TEST_BACKEND") == BackendT} }

// rounds is n, or a part of it where TIERCEL_TEST_SLOWER says how many times slower the machine is: emulated ones are.
func rounds(n int) int { return n / slower() }

func slower() int {
	times, err := strconv.Atoi(os.Getenv("TIERCEL_TEST_SLOWER"))
	if err != nil || times < 1 {
		return 1
	}
	return times
}

// waitTime bounds a wait for something that comes.
var waitTime = time.Duration(slower()) * 2 * time.Minute

// shared is the sensor of all tests that want nothing special of it: to load one takes a second, and emulated half a minute.
var shared sharedSensor

type sharedSensor struct {
	once   sync.Once
	sensor *Sensor
	err    error
	handle atomic.Pointer[func(*event.Event)] // of the test that runs; nil: none does
	cancel context.CancelFunc
	done   chan error
}

func (s *sharedSensor) open(t testing.TB) *Sensor {
	t.Helper()
	s.once.Do(func() {
		if s.sensor, s.err = Open(backend()); s.err != nil {
			return
		}
		for _, m := range s.sensor.Missing() {
			t.Logf("missing: %s", m)
		}
		ctx, cancel := context.WithCancel(context.Background())
		s.cancel, s.done = cancel, make(chan error, 1)
		go func() {
			s.done <- s.sensor.Run(ctx, func(ev *event.Event) {
				if handle := s.handle.Load(); handle != nil {
					(*handle)(ev)
				}
			})
		}()
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.sensor
}

func (s *sharedSensor) close() error {
	if s.done == nil {
		return nil
	}
	s.cancel()
	return errors.Join(<-s.done, s.sensor.Close())
}

func newWatch(s *Sensor) *watch {
	return &watch{Sensor: s, events: make(chan *event.Event, 1<<16)}
}

// handler is what the sensor calls: keep says which events the watch wants.
func (w *watch) handler(keep func(*event.Event) bool) func(*event.Event) {
	return func(ev *event.Event) {
		if keep(ev) {
			w.events <- ev.Clone()
		}
	}
}

// start has the shared sensor watch types, and keeps the events for which keep is true.
func start(t testing.TB, keep func(*event.Event) bool, types ...field.EventType) *watch {
	t.Helper()
	w := newWatch(shared.open(t))
	handle := w.handler(keep)
	if !shared.handle.CompareAndSwap(nil, &handle) {
		t.Fatal("two tests want the shared sensor at once")
	}
	t.Cleanup(func() {
		shared.handle.Store(nil)
		if err := w.SetInterest(field.EventSet{}); err != nil {
			t.Error(err)
		}
	})
	if err := w.SetInterest(field.NewEventSet(types...)); err != nil {
		t.Fatal(err)
	}
	return w
}

// startConfig is start with a sensor of the test's own.
func startConfig(t testing.TB, cfg Config, keep func(*event.Event) bool, types ...field.EventType) *watch {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetInterest(field.NewEventSet(types...)); err != nil {
		t.Fatal(err)
	}
	w := newWatch(s)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, w.handler(keep)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// find returns the first event, arrived or to come, for which ok is true.
func (w *watch) find(t testing.TB, what string, ok func(*event.Event) bool) *event.Event {
	t.Helper()
	for _, ev := range w.seen {
		if ok(ev) {
			return ev
		}
	}
	deadline := time.After(waitTime)
	for {
		select {
		case ev := <-w.events:
			w.seen = append(w.seen, ev)
			if ok(ev) {
				return ev
			}
		case <-deadline:
			t.Fatalf("no %s among:\n%s", what, w.list())
		}
	}
}

// collect returns what process pid, which has ended, did: all that the rings hold now is waited for. Its end may be handed out before what it did
// last, when that was more than a turn.
func (w *watch) collect(t testing.TB, pid uint32) []*event.Event {
	t.Helper()
	var ends [len(ringNames)]uint64
	for i, r := range w.rings {
		ends[i] = r.produced()
	}
	var events []*event.Event
	tick, deadline := time.NewTicker(time.Millisecond), time.After(waitTime)
	defer tick.Stop()
	for read := false; !read || len(w.events) > 0; {
		select {
		case ev := <-w.events: // without a taker the sensor would come to stand
			if ev.Task.PID == pid {
				events = append(events, ev)
			}
		case <-tick.C:
			read = true
			for i, r := range w.rings {
				read = read && r.consumerPos().Load() >= ends[i]
			}
		case <-deadline:
			t.Fatal("the rings are not read")
		}
	}
	return events
}

func (w *watch) list() string {
	var b strings.Builder
	for _, ev := range w.seen {
		fmt.Fprintf(&b, "%s %s[%d] = %d open %q socket %+v path %q flags %x\n", ev.Type, ev.Task.Comm, ev.Task.PID, ev.Result, ev.Open.Path.Raw, ev.Socket, ev.Path, ev.Flags)
	}
	return b.String()
}

func all(*event.Event) bool { return true }
