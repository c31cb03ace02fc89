package sensor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/sensor/capture"
	"github.com/tiercel-project/tiercel/sensor/capture/capturetest"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/decode"
	"github.com/tiercel-project/tiercel/sensor/event"
)

const containerID = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// oneContainer is a resolver that knows one container.
type oneContainer struct{}

func (oneContainer) Resolve(_ context.Context, id container.ID) (*container.Info, error) {
	if id.Container != containerID {
		return nil, container.ErrNotFound
	}
	return &container.Info{Name: "web", Image: "nginx:1.27", Pod: container.Pod{Name: "web-0", Namespace: "shop"}}, nil
}

func (oneContainer) String() string { return "test" }

// scenario is a shell in a container that reads the passwords, also by io_uring, as records.
func scenario() []capture.Record {
	runc := capturetest.Process{PID: 10, Start: 5, Cgroup: 1, Comm: "runc"}
	sh := capturetest.Process{PID: 11, PPID: 10, Start: 100, ParentStart: 5, Cgroup: 2, Comm: "sh"}
	records := capturetest.Records(
		capturetest.Cgroup(1, "/system.slice"), capturetest.Cgroup(2, "/docker/"+containerID), runc.Task("/usr/bin/runc"),
		runc.Fork(100, sh), sh.Exec(200, "/bin/sh", "sh", "-c", "id"), sh.Open(300, "/etc/shadow"), sh.Open(400, "/etc/motd"),
	)
	uring := capture.Record{Seq: 8, ReadNS: 600}
	uring.Record, uring.Completion = sh.UringOpen(500, 77, "/etc/shadow")
	return append(records, uring)
}

// eventOf decodes r as the kernel side does.
func eventOf(t testing.TB, r *capture.Record) *event.Event {
	t.Helper()
	ev := new(event.Event)
	if err := decode.Record(r.Record, ev); err != nil {
		t.Fatal(err)
	}
	if len(r.Completion) > 0 {
		var done event.Event
		if err := decode.Record(r.Completion, &done); err != nil {
			t.Fatal(err)
		}
		decode.Complete(ev, &done)
		ev.Completion = r.Completion
	}
	ev.Seq, ev.ReadNS = r.Seq, r.ReadNS
	return ev
}

// newCapture makes a capture in a new file; closing it is the test's.
func newCapture(t testing.TB, limit int64) (w *capture.Writer, name string) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "x.capture")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	h := capture.NewHeader()
	h.Hostname, h.BootOffsetNS = "box", BootOffset()
	if w, err = capture.NewWriter(f, h, limit); err != nil {
		t.Fatal(err)
	}
	return w, name
}

// replayed returns what a replay of the file name prints.
func replayed(t testing.TB, name string, set *rules.Set) (string, error) {
	t.Helper()
	var b []byte
	r := Replay{
		Rules: func(capture.Header) (*rules.Set, error) { return set, nil },
		Alert: func(a *rules.Alert) { b = append(a.AppendJSON(b), '\n') },
	}
	err := r.Run(name)
	return string(b), err
}

const replayRules = testRules + `
- rule: Read by name
  desc: only names tell it
  condition: evt.type=openat and fd.name=/etc/motd and container.name=web and user.name=root
  output: Read | namespace=%k8s.ns.name pod=%k8s.pod.name num=%evt.num time=%evt.time parents=%proc.aname[1]
  priority: NOTICE
`

// TestReplay: what is recorded beside a running sensor gives, replayed, the same alerts, and each time the same.
func TestReplay(t *testing.T) {
	w, name := newCapture(t, 0)
	set := load(t, replayRules)
	rig := start(t, func(_ *Config, d *Deps) {
		d.Rules, d.Capture, d.Resolvers = set, w, []container.Resolver{oneContainer{}}
	})
	records := scenario()
	for i := range records {
		rig.src.events <- eventOf(t, &records[i])
	}
	rig.out.waitFor(t, "Read by name")
	rig.stop()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	live := rig.out.String()
	if n := strings.Count(live, "\n"); n != 4 {
		t.Fatalf("%d alerts, want 4:\n%s", n, live)
	}
	first, err := replayed(t, name, set)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sortedLines(live), sortedLines(first)); diff != "" { // live, those that wait for the names of the container come later
		t.Errorf("(-live +replayed):\n%s", diff)
	}
	second, err := replayed(t, name, set)
	if err != nil || first != second {
		t.Errorf("replayed again (-first +second), %v:\n%s", err, cmp.Diff(first, second))
	}
}

func sortedLines(s string) map[string]int {
	m := map[string]int{}
	for line := range strings.Lines(s) {
		m[line]++
	}
	return m
}

// TestReplayTruncated: of a capture that is cut short, what is whole is replayed, and the place is named.
func TestReplayTruncated(t *testing.T) {
	w, name := newCapture(t, 0)
	records := scenario()
	for i := range records {
		if err := w.Record(&records[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	set := load(t, replayRules)
	want, err := replayed(t, name, set)
	if err != nil || strings.Count(want, "\n") != 3 { // without the names of the container
		t.Fatalf("%v:\n%s", err, want)
	}
	for cut := 1; cut < 400; cut += 13 {
		short := filepath.Join(t.TempDir(), fmt.Sprint(cut))
		if err := os.WriteFile(short, whole[:len(whole)-cut], 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := replayed(t, short, set)
		if at, ok := errors.AsType[*capture.Error](err); !ok || !errors.Is(err, capture.ErrTruncated) || at.File != short || at.Offset == 0 {
			t.Errorf("cut by %d: %v", cut, err)
		}
		if !strings.HasPrefix(want, got) {
			t.Errorf("cut by %d: (-whole +cut):\n%s", cut, cmp.Diff(want, got))
		}
	}
}

// TestCaptureFull: when a capture is full the sensor ends, and the names are in it all the same.
func TestCaptureFull(t *testing.T) {
	w, name := newCapture(t, 32<<10)
	src := newFakeSource()
	rig := &rig{src: src}
	s, run := newRecorder(t, rig, w)
	records := scenario()
	var err error
	for i := 0; err == nil; i++ {
		if i == len(records) { // once, before it is full: the container's names come from a goroutine of their own
			waitForContainer(t, s)
		}
		select {
		case src.events <- eventOf(t, &records[i%len(records)]):
		case err = <-run:
		}
	}
	if !errors.Is(err, capture.ErrFull) {
		t.Fatalf("the sensor ended with %v, want ErrFull", err)
	}
	if s.Ready() == nil {
		t.Error("a sensor that has ended is ready")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(name); err != nil || st.Size() > 32<<10 {
		t.Errorf("%d bytes, %v", st.Size(), err)
	}
	got, err := replayed(t, name, load(t, replayRules))
	if err != nil || !strings.Contains(got, `"k8s.pod.name":"web-0"`) {
		t.Errorf("%v: the names of the container are missing:\n%s", err, got)
	}
}

// waitForContainer waits until the names of a container are known.
func waitForContainer(t *testing.T, s *Sensor) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		known := false
		s.pipeline.mu.Lock()
		s.pipeline.cgroups.Each(func(id *container.Identity) { known = known || id.State == container.Resolved })
		s.pipeline.mu.Unlock()
		switch {
		case known:
			return
		case time.Now().After(end):
			t.Fatal("the names of the container are not known after a minute")
		}
	}
}

// newRecorder runs a sensor that only records.
func newRecorder(t *testing.T, r *rig, w *capture.Writer) (*Sensor, <-chan error) {
	t.Helper()
	s := newSensor(t, r, func(_ *Config, d *Deps) {
		d.Rules, d.Capture, d.Resolvers, d.Stdout = load(t, replayRules), w, []container.Resolver{oneContainer{}}, nil
	})
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context()) }()
	return s, done
}

// BenchmarkReplay drives a capture of a busy container through decoding, tables and rules.
func BenchmarkReplay(b *testing.B) {
	w, name := newCapture(b, 0)
	records := scenario()
	n := uint64(0)
	for range 5000 {
		for i := range records {
			n++
			records[i].Seq = n
			if err := w.Record(&records[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	for which, set := range map[string]*rules.Set{"two rules": load(b, testRules), "embedded": embedded(b)} {
		b.Run(which, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := Replay{Rules: func(capture.Header) (*rules.Set, error) { return set, nil }, Alert: func(*rules.Alert) {}}
				if err := r.Run(name); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
