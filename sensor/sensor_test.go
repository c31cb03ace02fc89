package sensor

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/output"
)

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

// All outputs get each alert.
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
