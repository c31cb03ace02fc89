package recorder

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
)

const second = uint64(time.Second)

func config(change func(*Config)) Config {
	c := DefaultConfig()
	change(&c)
	return c
}

// unlink is an event at boot time ns with a record of n bytes that begins with text.
func unlink(ns uint64, text string, n int) *event.Event {
	raw := append([]byte(text), make([]byte, max(0, n-len(text)))...)
	return &event.Event{Type: field.EventUnlinkat, BootNS: ns, ReadNS: ns + 5, Raw: raw}
}

func texts(t *testing.T, r *Recorder, container string, since uint64) []string {
	t.Helper()
	tape, _ := r.Tape(container, since)
	var got []string
	for _, rec := range tape.Records {
		got = append(got, string(bytes.TrimRight(rec.Record, "\x00")))
	}
	return got
}

// TestRecords: what is kept comes back as it was, by container, from a time on.
func TestRecords(t *testing.T) {
	r := New(DefaultConfig())
	r.Keep("a", "", unlink(1*second, "one", 10))
	r.Keep(Host, "/", unlink(2*second, "on the host", 20))
	done := unlink(3*second, "two", 10)
	done.Completion, done.Flags = []byte("done"), event.NoResult
	r.Keep("a", "/kube/a", done)
	tape, known := r.Tape("a", 0)
	records := tape.Records
	if diff := cmp.Diff([]event.Cgroup{{Path: "/kube/a"}}, tape.Cgroups); diff != "" {
		t.Errorf("cgroups (-want +got):\n%s", diff)
	}
	if !known || len(records) != 2 {
		t.Fatalf("got %d records of a", len(records))
	}
	last := records[1]
	if string(last.Completion) != "done" || !last.NoResult || last.ReadNS != 3*second+5 || len(last.Record) != 10 || records[0].NoResult {
		t.Errorf("got %+v", records)
	}
	if diff := cmp.Diff([]string{"two"}, texts(t, r, "a", 2*second)); diff != "" {
		t.Errorf("since 2s (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"on the host"}, texts(t, r, Host, 0)); diff != "" {
		t.Errorf("host (-want +got):\n%s", diff)
	}
	if _, known := r.Tape("b", 0); known {
		t.Error("a container that nobody knows is known")
	}
	names := r.Containers()
	slices.Sort(names)
	if diff := cmp.Diff([]string{"a", Host}, names); diff != "" {
		t.Errorf("containers (-want +got):\n%s", diff)
	}
}

// TestBounds: a container has its room and the whole has its own; who has much goes first, and nothing is older than it may be.
func TestBounds(t *testing.T) {
	r := New(config(func(c *Config) { c.ContainerBytes, c.TotalBytes, c.Rate = 64<<10, 200<<10, 1e9 }))
	r.Keep("quiet", "", unlink(second, "kept", 100))
	for i := range 2000 {
		for c := range 5 {
			r.Keep(fmt.Sprint("loud", c), "", unlink(second+uint64(i), fmt.Sprint(i), 200))
		}
	}
	st := r.Stats()
	if st.Bytes > 200<<10 || st.Evicted == 0 || st.Events != 10001 {
		t.Errorf("stats %+v", st)
	}
	for c := range 5 {
		got := texts(t, r, fmt.Sprint("loud", c), 0)
		if len(got) == 0 || got[len(got)-1] != "1999" {
			t.Errorf("the last of container %d is %v", c, got)
		}
		if n := len(got) * (200 + entryHead); n > 64<<10 {
			t.Errorf("container %d holds %d bytes", c, n)
		}
	}
	if got := texts(t, r, "quiet", 0); len(got) != 1 {
		t.Errorf("the quiet one has %v", got)
	}
	r.Expire(second + 61*second)
	if st := r.Stats(); st.Bytes != 0 || st.Containers != 0 || st.Evicted != 10001 {
		t.Errorf("after a minute: %+v", st)
	}
}

// TestLargeRecord: a record larger than a chunk is kept whole.
func TestLargeRecord(t *testing.T) {
	r := New(DefaultConfig())
	r.Keep("a", "", unlink(second, "large", 30<<10))
	r.Keep("a", "", unlink(second, "small", 10))
	tape, _ := r.Tape("a", 0)
	records := tape.Records
	if len(records) != 2 || len(records[0].Record) != 30<<10 {
		t.Fatalf("got %d records", len(records))
	}
}

// TestRate: beyond the rate events of a container are passed over for the rest of the second; others are not concerned.
func TestRate(t *testing.T) {
	r := New(config(func(c *Config) { c.Rate = 3 }))
	kept := 0
	for i := range 10 {
		if r.Keep("a", "", unlink(second+uint64(i), "x", 10)) {
			kept++
		}
	}
	if !r.Keep("b", "", unlink(second, "x", 10)) || !r.Keep("a", "", unlink(2*second, "x", 10)) {
		t.Error("the rate of one container and second is that of another")
	}
	if st := r.Stats(); kept != 3 || st.Limited != 7 || st.Events != 5 {
		t.Errorf("kept %d, stats %+v", kept, st)
	}
}

// TestWants: of opens those that made a file, of paths what succeeded, of connections all.
func TestWants(t *testing.T) {
	r := New(DefaultConfig())
	with := func(typ field.EventType, result int64, change func(*event.Event)) *event.Event {
		ev := &event.Event{Type: typ, Result: result, Raw: []byte{1}}
		if change != nil {
			change(ev)
		}
		return ev
	}
	for _, tt := range []struct {
		name string
		ev   *event.Event
		want bool
	}{
		{"exec", with(field.EventExecve, 0, nil), true},
		{"failed exec", with(field.EventExecve, -2, nil), false},
		{"open", with(field.EventOpenat, 3, nil), false},
		{"creation", with(field.EventOpenat, 3, func(ev *event.Event) { ev.Open.Created = true }), true},
		{"rename", with(field.EventRenameat2, 0, nil), true},
		{"failed rename", with(field.EventRenameat2, -2, nil), false},
		{"connect in progress", with(field.EventConnect, -115, nil), true},
		{"request without completion", with(field.EventUnlinkat, -1, func(ev *event.Event) { ev.Flags = event.NoResult }), true},
		{"chmod", with(field.EventChmod, 0, nil), false},
		{"no record", with(field.EventUnlinkat, 0, func(ev *event.Event) { ev.Raw = nil }), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := r.Wants(tt.ev); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
	off := New(Config{Off: true})
	if off.Wants(with(field.EventExecve, 0, nil)) || off.Stats() != (Stats{}) {
		t.Error("a recorder that is off wants events")
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	bad := Config{TotalBytes: -1, Events: []string{"opn", "fork"}}
	err := bad.Validate()
	for _, path := range []string{"keep", "containerBytes", "totalBytes", "rate", `events[0]: "opn"`, "events[1]"} {
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%v does not name %s", err, path)
		}
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(New(DefaultConfig()))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) != 0 || len(families) != 3 {
		t.Errorf("%d families, problems %v, %v", len(families), problems, err)
	}
}

func BenchmarkKeep(b *testing.B) {
	r := New(config(func(c *Config) { c.Rate = 1e9 }))
	ev := unlink(second, "x", 400)
	b.ReportAllocs()
	for b.Loop() {
		r.Keep("a", "", ev)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
