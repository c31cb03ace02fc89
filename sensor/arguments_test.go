package sensor

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/event"
)

func TestBudget(t *testing.T) {
	var b budget
	taken := 0
	for range 100 {
		if b.take(5e9, 32) {
			taken++
		}
	}
	if taken != 32 {
		t.Errorf("%d in a second, want 32", taken)
	}
	if !b.take(6e9+1, 32) {
		t.Error("none in the next second")
	}
	if !b.take(5e9, 32) {
		t.Error("none at an earlier time")
	}
}

// startLong starts a program of this cgroup whose arguments the kernel side cuts before text, which is not at their end either, and returns the
// event of its start and what ends it.
func startLong(t *testing.T, cgroup uint64, text string) (ev *event.Event, end func()) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "echo; read x", strings.Repeat("x", 6000), text, strings.Repeat("y", 3000))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() { _ = in.Close(); _ = cmd.Wait() }
	t.Cleanup(end)
	if _, err := out.Read(make([]byte, 1)); err != nil { // before that it may not have its arguments yet
		t.Fatal(err)
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	ticks, err := strconv.ParseUint(string(bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])[19]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	k := task(uint32(cmd.Process.Pid), "sh")
	k.StartNS, k.CgroupID = ticks*1e7, cgroup
	all := []byte(strings.Join(cmd.Args[1:], "\x00"))
	return &event.Event{
		Type: field.EventExecve, Flags: event.ArgsTruncated, BootNS: bootNS(), ReadNS: bootNS(), Task: k,
		Exec: event.Exec{Exe: cmd.Args[0], ExePath: "/bin/sh", Args: append(all[:4095:4095], 0)},
	}, end
}

// Rules see all arguments of a program also where its start has to wait for the names of its container, and it has ended by then.
func TestWaitingArguments(t *testing.T) {
	res := slowResolver{make(chan *container.Info)}
	r := start(t, func(c *Config, d *Deps) {
		d.Resolvers = []container.Resolver{res}
		c.IdentityTimeout = 10 * time.Second
		d.Rules = load(t, `
- rule: Miner
  desc: d
  condition: evt.type=execve and proc.cmdline contains "stratum+tcp"
  output: Miner | container=%container.id cmdline=%proc.cmdline
  priority: NOTICE
`)
	})
	r.pipeline.mu.Lock()
	r.pipeline.seesProcesses = true
	r.pipeline.mu.Unlock()
	r.src.events <- cgroup(1, "/user.slice")
	r.src.events <- cgroup(7, "/kubepods/besteffort/pod"+testUID+"/"+testID)
	atOnce, _ := startLong(t, 1, "stratum+tcp://pool")
	r.src.events <- atOnce
	r.out.waitFor(t, "container=host")
	waits, end := startLong(t, 7, "stratum+tcp://pool")
	r.src.events <- waits
	waitUntil(t, "the event waits", func() bool {
		r.pipeline.mu.Lock()
		defer r.pipeline.mu.Unlock()
		return len(r.pipeline.waiting.queue) == 1 && r.pipeline.waiting.arguments > 9000
	})
	end()
	res.answer <- &container.Info{Name: "app"}
	r.out.waitFor(t, "container="+testID[:12])
	r.stop()
	for line := range strings.Lines(r.out.String()) { // what is told is short, and has both ends
		if !strings.Contains(line, "cmdline=sh -c echo; read x xxx") || !strings.Contains(line, "xxx \u2026 yyy") || strings.Contains(line, "stratum") {
			t.Errorf("told: %s", line)
		}
	}
	if n := r.pipeline.waiting.arguments; n != 0 {
		t.Errorf("%d bytes of arguments wait, with nobody", n)
	}
	if n := testutil.ToFloat64(r.metrics.arguments.WithLabelValues(argumentsRead)); n != 2 {
		t.Errorf("arguments were read %v times, want 2", n)
	}
}

// What has no room to wait with its arguments is matched at once, with all of them.
func TestWaitingArgumentsBound(t *testing.T) {
	w := waiting{max: 10, timeout: time.Second}
	long := strings.Repeat("x", maxWaitingArguments/2)
	for i, want := range []bool{true, true, false} {
		if got := w.add(&event.Event{}, nil, container.Root{}, long, 0); got != want {
			t.Errorf("%d: got %t", i, got)
		}
	}
	w.each(func(*waiter) bool { return false })
	if !w.add(&event.Event{}, nil, container.Root{}, long, 0) {
		t.Error("no room after all have left")
	}
}
