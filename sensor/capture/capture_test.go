package capture_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/capture"
	"github.com/tiercel-project/tiercel/sensor/capture/capturetest"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/event"
)

var sh = capturetest.Process{PID: 11, PPID: 10, Start: 5, ParentStart: 4, Cgroup: 1, Comm: "sh"}

// sample writes a capture with one frame of each kind.
func sample(t testing.TB, h capture.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := capture.NewWriter(&b, h, 0)
	if err != nil {
		t.Fatal(err)
	}
	submission, completion := sh.UringOpen(40, 77, "/etc/passwd")
	for _, r := range capturetest.Records(capturetest.Cgroup(1, "/user.slice"), sh.Task("/bin/sh"), sh.Open(30, "/etc/shadow"), submission) {
		if r.Seq == 4 {
			r.Completion = completion
		}
		if err := w.Record(&r); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		w.Clock(1000),
		w.Container(&capture.Container{ID: container.ID{Container: "abc"}, Info: &container.Info{Name: "web", Privileged: container.True}}),
		w.Names(&capture.Names{Root: container.Root{Container: "abc", MntNS: 7}, Users: map[uint32]container.User{33: {Name: "www"}}, Groups: map[uint32]string{33: "web"}}),
		w.Domains(capture.Domains{netip.MustParseAddr("10.0.0.1"): {"a.example"}}),
		w.Record(&capture.Record{Record: sh.Open(50, "/x"), NoResult: true, ReadNS: 60}),
		w.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if w.Events() != 5 || w.Size() != int64(b.Len()) {
		t.Errorf("%d events in %d bytes, want 5 in %d", w.Events(), w.Size(), b.Len())
	}
	return b.Bytes()
}

// told is what a capture says, a line each.
func told(in io.Reader) (lines []string, err error) {
	add := func(format string, args ...any) error {
		lines = append(lines, fmt.Sprintf(format, args...))
		return nil
	}
	r, err := capture.NewReader(in, "x.capture")
	if err != nil {
		return nil, err
	}
	err = r.Visit(capture.Visitor{
		Event: func(ev *event.Event) error {
			return add("%d %s %d %d %d %q %q %v", ev.Seq, name(ev.Type), ev.ReadNS, ev.Task.PID, ev.Result, ev.Open.Path.Resolved, ev.Cgroup.Path,
				ev.Flags&event.NoResult != 0)
		},
		Clock: func(offset int64) error { return add("clock %d", offset) },
		Container: func(c *capture.Container) error {
			return add("container %s %s %v", c.ID.Container, c.Info.Name, c.Info.Privileged)
		},
		Names:   func(n *capture.Names) error { return add("names %v %v %v", n.Root, n.Users, n.Groups) },
		Domains: func(d capture.Domains) error { return add("domains %v", d) },
	})
	return lines, err
}

func name(t field.EventType) string {
	if t == 0 {
		return "NA"
	}
	return t.Info().Name
}

func wantTold() []string {
	return []string{
		`1 NA 1001 0 0 "" "/user.slice" false`,
		`2 procinfo 1001 11 0 "" "" false`,
		`3 openat 1030 11 3 "/etc/shadow" "" false`,
		`4 openat 1040 11 5 "/etc/passwd" "" false`,
		"clock 1000",
		"container abc web 2",
		"names {abc 7} map[33:{www  }] map[33:web]",
		"domains map[10.0.0.1:[a.example]]",
		`5 openat 60 11 3 "/x" "" true`,
	}
}

func TestCapture(t *testing.T) {
	got, err := told(bytes.NewReader(sample(t, capture.NewHeader())))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantTold(), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestOtherEventTypes: a program that numbers event types differently reads the same.
func TestOtherEventTypes(t *testing.T) {
	h := capture.NewHeader()
	i := int(field.EventOpenat)
	h.EventTypes[i], h.EventTypes[i+1] = h.EventTypes[i+1], h.EventTypes[i]
	got, err := told(bytes.NewReader(sample(t, h)))
	if err != nil {
		t.Fatal(err)
	}
	want := `3 openat2 1030 11 3 "/etc/shadow" "" false`
	if got[2] != want {
		t.Errorf("got %s, want %s", got[2], want)
	}
}

// TestTruncated: wherever a file ends too early, what is whole is read and the rest is said to be missing, with the place.
func TestTruncated(t *testing.T) {
	whole := sample(t, capture.NewHeader())
	full := len(wantTold())
	most := 0
	for n := 0; n < len(whole); n = further(n) {
		got, err := told(bytes.NewReader(whole[:n]))
		at, ok := errors.AsType[*capture.Error](err)
		if !ok || at.File != "x.capture" || at.Offset > int64(n) {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if !errors.Is(err, capture.ErrTruncated) && (n >= 20 || !errors.Is(err, capture.ErrNoCapture)) {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if diff := cmp.Diff(wantTold()[:len(got)], got, cmp.Transformer("nil", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
			t.Fatalf("%d bytes (-want +got):\n%s", n, diff)
		}
		most = max(most, len(got))
	}
	if most != full {
		t.Errorf("at most %d frames were read, want %d", most, full)
	}
}

// further is the next place to look at: not every byte of the header, which is the larger part.
func further(i int) int {
	if i > 100 && i < 6000 {
		return i + 97
	}
	return i + 1
}

// TestDamaged: no changed bit goes unnoticed.
func TestDamaged(t *testing.T) {
	whole := sample(t, capture.NewHeader())
	for i := 0; i < len(whole); i = further(i) {
		b := bytes.Clone(whole)
		b[i] ^= 0x10
		if _, err := told(bytes.NewReader(b)); err == nil {
			t.Errorf("byte %d changed: no error", i)
		}
	}
	if _, err := told(bytes.NewReader(append(bytes.Clone(whole), 1))); !errors.Is(err, capture.ErrDamaged) {
		t.Errorf("a byte behind the end: %v", err)
	}
}

func TestOtherVersions(t *testing.T) {
	for name, change := range map[string]func(*capture.Header){
		"format": func(h *capture.Header) { h.Format = 99 },
		"layout": func(h *capture.Header) { h.Layout, h.Program = "other", "v9.9" },
	} {
		h := capture.NewHeader()
		change(&h)
		_, err := told(bytes.NewReader(sample(t, h)))
		if !errors.Is(err, capture.ErrVersion) || (name == "layout" && !strings.Contains(err.Error(), "v9.9")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLimit: a file never grows beyond its limit and has its end mark all the same.
func TestLimit(t *testing.T) {
	const limit = 16 << 10
	name := filepath.Join(t.TempDir(), "x.capture")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w, err := capture.NewWriter(f, capture.NewHeader(), limit)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; ; n++ {
		if err = w.Record(&capture.Record{Record: sh.Open(30, "/etc/shadow")}); err != nil {
			break
		}
	}
	if !errors.Is(err, capture.ErrFull) || n == 0 {
		t.Fatalf("after %d events: %v", n, err)
	}
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(name)
	if err != nil || st.Size() > limit {
		t.Errorf("%d bytes, limit %d, %v", st.Size(), limit, err)
	}
	r, err := capture.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := 0
	if err := r.Visit(capture.Visitor{Event: func(*event.Event) error { got++; return nil }}); err != nil || got != n {
		t.Errorf("%d events, want %d: %v", got, n, err)
	}
}

func TestNoRecord(t *testing.T) {
	w, err := capture.NewWriter(io.Discard, capture.NewHeader(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Event(&event.Event{}); !errors.Is(err, capture.ErrNoRecord) {
		t.Errorf("event without record: %v", err)
	}
}

func FuzzReader(f *testing.F) {
	whole := sample(f, capture.NewHeader())
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := capture.NewReader(bytes.NewReader(b), "fuzz")
		if (r == nil) == (err == nil) {
			t.Fatalf("reader %v, error %v", r, err)
		}
		if r == nil {
			return
		}
		err = r.Visit(capture.Visitor{Event: func(ev *event.Event) error { ev.Clone(); return nil }})
		if _, ok := errors.AsType[*capture.Error](err); err != nil && !ok {
			t.Errorf("error without a place: %v", err)
		}
	})
}
