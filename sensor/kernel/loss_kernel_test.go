//go:build kernel

package kernel

import (
	"os"
	"strconv"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/filter"
	"golang.org/x/sys/unix"
)

func init() {
	// flood N: opens a file that is not there N times.
	addChild("flood", func(args []string) error {
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		for range n {
			_, _ = unix.Openat(unix.AT_FDCWD, "/nonexistent/flood", unix.O_RDONLY, 0)
		}
		return nil
	})
}

// What does not fit into a ring is counted: received and lost make what was done.
func TestLossIsCounted(t *testing.T) {
	const n = 5000
	s, err := Open(Config{RingBytes: minRingBytes})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.SetInterest(field.NewEventSet(field.EventOpenat)); err != nil {
		t.Fatal(err)
	}
	run(t, child(t, "flood", strconv.Itoa(n))) // nobody reads
	st, err := s.Stats()
	if err != nil {
		t.Fatal(err)
	}
	got := st.Rings[1]
	lost := got.Lost[0].Count + got.Lost[3].Count
	if got.Name != EventRing || got.Bytes != minRingBytes || got.Lost[0].Reason != "full" || got.Lost[3].Reason != "share" || lost == 0 {
		t.Fatalf("stats: got %+v", got)
	}
	received := 0
	count := func(ev *event.Event) {
		if ev.Type == field.EventOpenat {
			received++
		}
	}
	for s.drain(count) { // a turn at a time
	}
	if received == 0 || uint64(received)+lost < n {
		t.Errorf("received %d, lost %d of %d", received, lost, n)
	}
	for _, l := range st.Rings[0].Lost {
		if l.Count != 0 {
			t.Errorf("the flood of opens lost %d process records: %s", l.Count, l.Reason)
		}
	}
}

// Of a process that did more than a turn holds, the end is handed out before the rest of what it did. Done says that there is more to come.
func TestDone(t *testing.T) {
	const n = 1000
	s, err := Open(backend())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.SetInterest(field.NewEventSet(field.EventOpenat)); err != nil {
		t.Fatal(err)
	}
	pid := run(t, child(t, "flood", strconv.Itoa(n)))
	var ended uint64
	early, late := 0, 0
	handle := func(ev *event.Event) {
		if ev.Task.PID != pid {
			return
		}
		if ev.BootNS < s.Done() {
			early++
		}
		switch {
		case ev.Type == field.EventProcexit:
			ended = ev.BootNS
		case ended != 0:
			late++
		}
	}
	for s.drain(handle) {
	}
	if late == 0 {
		t.Error("nothing came after the process's end: there was more than one turn")
	}
	if early > 0 || s.Done() < ended {
		t.Errorf("%d events are older than Done said all that was to come is; at last that is %d, and the process ended at %d", early, s.Done(), ended)
	}
}

// The sensor's own calls are no events, and its forks none for rules. What a program that it starts does is, its exec first of all.
func TestSelfIsExempt(t *testing.T) {
	name := t.TempDir() + "/self"
	w := start(t, func(ev *event.Event) bool {
		return ev.Type == field.EventOpenat || ev.Type == field.EventExecve || ev.Fork.ChildPID != 0
	}, field.EventOpenat, field.EventExecve, field.EventClone, field.EventClone3, field.EventVfork)
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	pid := run(t, child(t, "flood", "1"))
	w.find(t, "the child's open", func(ev *event.Event) bool { return ev.Task.PID == pid && ev.Result < 0 })
	execs, forks := 0, 0
	for _, ev := range w.seen {
		own := ev.Task.PID == uint32(os.Getpid())
		switch {
		case ev.Fork.ChildPID != 0:
			if own != (ev.Flags&event.ProcessOnly != 0) {
				t.Errorf("fork by %d, own process %v, flags %b", ev.Task.PID, own, ev.Flags)
			}
			if ev.Fork.ChildPID == pid {
				forks++
			}
		case own:
			t.Errorf("own open of %s is an event", ev.Open.Path.Raw)
		case ev.Type == field.EventExecve && ev.Task.PID == pid && ev.Flags&event.ProcessOnly == 0:
			execs++
		}
	}
	if execs != 1 || forks != 1 {
		t.Errorf("%d execs of the program that was started, %d forks of it, want one each", execs, forks)
	}
	st, err := w.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if st.Exempt == 0 {
		t.Error("no exempt call was counted")
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	s, err := Open(Config{Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	p := compilePlan(t, filter.Options{}, "evt.type = openat and fd.num > 1000")
	if err := s.Use(p, p); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if len(families) != 13 {
		t.Errorf("got %d metrics, want 13", len(families))
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if families, _ := reg.Gather(); len(families) != 0 {
		t.Errorf("%d metrics are left after Close", len(families))
	}
}
