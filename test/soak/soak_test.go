//go:build soak

package soak

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/sensor"
	"github.com/tiercel-project/tiercel/sensor/kernel"
	"github.com/tiercel-project/tiercel/test/workload"
)

// ownRule matches every open of a file.
const ownRule = `
- rule: Soak
  desc: the soak test opens its file
  condition: evt.type in (open, openat, openat2) and fd.name=%s
  output: Opened | file=%%fd.name
  priority: NOTICE
`

func number(t *testing.T, name string, by int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return by
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is no positive number", name, text)
	}
	return n
}

// A memory is what the sensor holds.
type memory struct{ pss, maps int } // KiB

func (m memory) String() string { return fmt.Sprintf("PSS %d KiB, BPF maps %d KiB", m.pss, m.maps) }

// measure reads the proportional set size of this process and the memory of the BPF maps that it holds.
func measure(t *testing.T) memory {
	t.Helper()
	var m memory
	m.pss = sum(t, "/proc/self/smaps_rollup", "Pss:")
	fds, err := filepath.Glob("/proc/self/fdinfo/*")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, fd := range fds {
		b, err := os.ReadFile(fd)
		if err != nil || !strings.Contains(string(b), "map_type:") {
			continue // closed meanwhile, or something else
		}
		var id, bytes int
		for line := range strings.Lines(string(b)) {
			_, _ = fmt.Sscanf(line, "map_id: %d", &id)
			_, _ = fmt.Sscanf(line, "memlock: %d", &bytes)
		}
		if !seen[id] {
			seen[id] = true
			m.maps += bytes / 1024
		}
	}
	return m
}

func sum(t *testing.T, file, key string) int {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if rest, ok := strings.CutPrefix(sc.Text(), key); ok {
			var kib int
			if _, err := fmt.Sscan(rest, &kib); err != nil {
				t.Fatal(err)
			}
			n += kib
		}
	}
	return n
}

// ruleFiles are Falco's stock rules if TIERCEL_CONFORMANCE says where they are, otherwise our own.
func ruleFiles() []string {
	dir := os.Getenv("TIERCEL_CONFORMANCE")
	if dir == "" {
		return []string{"../../samples/rules/tiercel_rules.yaml"}
	}
	var files []string
	for _, f := range []string{"falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml"} {
		files = append(files, filepath.Join(dir, "rules", f))
	}
	return files
}

// start runs a sensor, with the flight recorder as it is by default, that counts its alerts.
func start(t *testing.T, file string) (source func() kernel.Stats, alerts *atomic.Int64) {
	t.Helper()
	files, err := rules.ReadFiles(ruleFiles())
	if err != nil {
		t.Fatal(err)
	}
	files = append([]rules.File{{Name: "soak.yaml", Data: []byte(fmt.Sprintf(ownRule, file))}}, files...)
	set, report := rules.Load(files, rules.Options{Provider: sensor.Provider()})
	if set == nil {
		t.Fatal(report.Err())
	}
	alerts = new(atomic.Int64)
	src := make(chan sensor.Source, 1)
	cfg := sensor.DefaultConfig()
	cfg.RuntimeSockets = nil
	s, err := sensor.New(cfg, sensor.Deps{
		Rules: set, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Stdout: counter{alerts},
		Open: func(c kernel.Config) (sensor.Source, error) {
			k, err := kernel.Open(c)
			if err != nil {
				return nil, err
			}
			src <- k
			return k, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	var k sensor.Source
	select {
	case k = <-src:
	case err := <-done:
		done <- err
		t.FailNow()
	}
	for s.Ready() != nil {
		time.Sleep(10 * time.Millisecond)
	}
	return func() kernel.Stats {
		st, err := k.Stats()
		if err != nil {
			t.Fatal(err)
		}
		return st
	}, alerts
}

// A counter counts lines.
type counter struct{ n *atomic.Int64 }

func (c counter) Write(b []byte) (int, error) {
	c.n.Add(int64(strings.Count(string(b), "\n")))
	return len(b), nil
}

var _ io.Writer = counter{}

// TestSoak: after the first tenth neither memory nor maps grow any more.
func TestSoak(t *testing.T) {
	const parts = 10
	forks, opens := number(t, "TIERCEL_SOAK_FORKS", 2_000_000), number(t, "TIERCEL_SOAK_OPENS", 20_000_000)
	dir := t.TempDir()
	program, file := workload.Build(t), filepath.Join(dir, "watched")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	stats, alerts := start(t, file)
	t.Logf("rules %q; at the start: %v", ruleFiles(), measure(t))
	var first, last memory
	for i := range parts {
		work(t, exec.Command(program, "fork", strconv.Itoa(forks/parts), "0", "-"), exec.Command(program, "open", strconv.Itoa(opens/parts), "0", file))
		last = measure(t)
		if i == 0 {
			first = last
		}
		t.Logf("%3d %%: %v, %d alerts written, %s", (i+1)*100/parts, last, alerts.Load(), describe(stats()))
	}
	if last.pss > first.pss+first.pss/5+8<<10 {
		t.Errorf("memory grew from %d to %d KiB", first.pss, last.pss)
	}
	if last.maps > first.maps+first.maps/20+1<<10 {
		t.Errorf("BPF maps grew from %d to %d KiB", first.maps, last.maps)
	}
}

// work runs the commands at the same time.
func work(t *testing.T, cmds ...*exec.Cmd) {
	t.Helper()
	for _, cmd := range cmds {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}

func describe(st kernel.Stats) string {
	var b strings.Builder
	for _, r := range st.Rings {
		var lost uint64
		for _, l := range r.Lost {
			lost += l.Count
		}
		fmt.Fprintf(&b, "%s ring: %d read, %d lost; ", r.Name, r.Received, lost)
	}
	return strings.TrimSuffix(b.String(), "; ")
}
