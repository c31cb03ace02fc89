//go:build kernel

package kernel

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// childEnv names the function of children that a process of the test runs instead of tests: the sensor passes over its own process.
const childEnv = "TIERCEL_KERNEL_TEST_CHILD"

// children are what child processes do, by name.
var children = map[string]func(args []string) error{}

func TestMain(m *testing.M) {
	name := os.Getenv(childEnv)
	if name == "" {
		os.Exit(m.Run())
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
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
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

	mu    sync.Mutex
	exits map[uint32]chan struct{} // guarded by mu; closed when the process's end has been delivered
}

// ended returns a channel that is closed once the end of process pid has been delivered.
func (w *watch) ended(pid uint32) chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.exits[pid] == nil {
		w.exits[pid] = make(chan struct{})
	}
	return w.exits[pid]
}

// start opens a sensor that watches types and keeps the events for which keep is true.
func start(t testing.TB, keep func(*event.Event) bool, types ...field.EventType) *watch {
	t.Helper()
	return startConfig(t, Config{}, keep, types...)
}

func startConfig(t testing.TB, cfg Config, keep func(*event.Event) bool, types ...field.EventType) *watch {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetInterest(field.NewEventSet(types...)); err != nil {
		t.Fatal(err)
	}
	w := &watch{Sensor: s, events: make(chan *event.Event, 1<<16), exits: map[uint32]chan struct{}{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx, func(ev *event.Event) {
			if keep(ev) {
				w.events <- ev.Clone()
			}
			if ev.Type == field.EventProcexit {
				if c := w.ended(ev.Task.PID); c != nil {
					close(c)
				}
			}
		})
	}()
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
	deadline := time.After(5 * time.Second)
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

// collect returns what process pid did, once its end has arrived, and that of another process which began later: the reader notes how much there
// is in the ring of events before it does in that of processes, so that an end may arrive before what was done last.
func (w *watch) collect(t testing.TB, pid uint32) []*event.Event {
	t.Helper()
	<-w.ended(pid)
	<-w.ended(run(t, exec.Command("/bin/true")))
	var events []*event.Event
	for {
		select {
		case ev := <-w.events:
			if ev.Task.PID == pid {
				events = append(events, ev)
			}
		default:
			return events
		}
	}
}

func (w *watch) list() string {
	var b strings.Builder
	for _, ev := range w.seen {
		fmt.Fprintf(&b, "%s %s[%d] = %d open %q socket %+v path %q flags %x\n", ev.Type, ev.Task.Comm, ev.Task.PID, ev.Result, ev.Open.Path.Raw, ev.Socket, ev.Path, ev.Flags)
	}
	return b.String()
}

func all(*event.Event) bool { return true }
