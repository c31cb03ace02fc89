//go:build bench

package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/sensor"
)

// A callRow is a call whose cost is measured.
type callRow struct {
	name, call string
	file       string // below the folder of the benchmark; absolute: as it is
	pause      time.Duration
	batch      int // 0: batchCalls
}

// deepFile and deepFolder make, with the folder that they stand in, a path of seven components.
const (
	deepFile   = "a/b/c/file"
	deepFolder = "a/b/c/folder"
)

// By the kernel's count each measurement is the least of so many batches of calls.
const (
	batches    = 60
	batchCalls = 300
)

// BenchmarkCalls gives what the sensor adds to a system call, against what an empty program at the end of all system calls adds to it. What is
// attached changes some sixty times a round (call_turns_test.go), and in each state the batch counts that was disturbed least; the median of
// the rounds is reported, of what the sensor adds (ns) and of what it adds for each nanosecond that the empty program adds to the same row in
// the same round (x), and printed with the least and the most. Each round has a sensor and callers of its own, so that it is not one place in memory that
// is measured. The sensor is whole, its flight recorder on. Callers have a processor to themselves, without a collector of garbage, and a batch is of
// the CPU time of its thread. Rounds in which another process watched system calls are counted (watched-rounds) and printed.
func BenchmarkCalls(b *testing.B) {
	b.Run("stable", func(b *testing.B) {
		benchCalls(b, stockRules(b, false), false, []callRow{
			{name: "getppid", call: "getppid", batch: 10 * batchCalls},
			{name: "ring-enter", call: "ring", batch: 10 * batchCalls}, // looked at for what it may have opened
			{name: "open-read", call: "read", file: deepFile},
			{name: "open-flags", call: "directory", file: deepFolder}, // O_DIRECTORY: the flags decide
			{name: "open-write", call: "write", file: deepFile},
			{name: "absent", call: "absent", file: "a/b/c/absent"},
		})
	})
	b.Run("all-in-container", func(b *testing.B) {
		benchCalls(b, stockRules(b, true), true, []callRow{
			{name: "getppid", call: "getppid", batch: 10 * batchCalls},
			{name: "open-read", call: "read", file: deepFile},
			{name: "open-write", call: "write", file: deepFile},
			{name: "open-create", call: "create", file: deepFile},
			{name: "absent", call: "absent", file: "a/b/c/absent"},
		})
	})
	// The event of each read goes to user space, whose rule does not match. Pauses let the ring be emptied.
	b.Run("captured", func(b *testing.B) {
		benchCalls(b, loadRules(b, false, ownRules(b, readRule)), false, []callRow{
			{name: "getppid", call: "getppid", batch: 10 * batchCalls},
			{name: "read", call: "read1", file: "/dev/zero", batch: 1000, pause: 5 * time.Millisecond},
		})
	})
}

const readRule = `
- rule: Read
  desc: each read is looked at
  condition: evt.type = read and fd.name = /nonexistent
  output: read
  priority: NOTICE
`

// A callCost is what was measured of one row in one round, in nanoseconds.
type callCost struct {
	none          float64 // what the call takes
	empty, sensor float64 // what is added to that
	inEmpty, ran  float64 // by the kernel's count: in the empty program, and in the sensor's
}

func benchCalls(b *testing.B, set *rules.Set, inContainer bool, rows []callRow) {
	if os.Geteuid() != 0 {
		b.Skip("not root: there is no sensor to measure")
	}
	dir, cgroup := b.TempDir(), ""
	makeFile(b, filepath.Join(dir, deepFile))
	makeFile(b, filepath.Join(dir, deepFolder, "file"))
	if inContainer {
		cgroup = containerCgroup(b)
	}
	processor := leaveLastProcessor(b)
	costs := make([][]callCost, len(rows))
	watched := 0
	for b.Loop() {
		if who := otherWatchers(); len(who) > 0 {
			b.Logf("round %d: system calls are watched by others too: %s", len(costs[0]), strings.Join(who, ", "))
			watched++
		}
		callers := startCallers(b, rows, dir, processor, cgroup)
		for i, c := range measureCalls(b, set, callers) {
			costs[i] = append(costs[i], c)
		}
		for _, c := range callers {
			c.stop()
		}
	}
	reportCalls(b, rows, costs)
	b.ReportMetric(float64(watched), "watched-rounds")
	b.ReportMetric(0, "ns/op")
}

func startCallers(b *testing.B, rows []callRow, dir string, processor int, cgroup string) []*caller {
	b.Helper()
	callers := make([]*caller, len(rows))
	for i, r := range rows {
		if !filepath.IsAbs(r.file) {
			r.file = filepath.Join(dir, r.file)
		}
		callers[i] = startCaller(b, r.call, r.file, cmp.Or(r.batch, batchCalls), r.pause, processor, cgroup)
	}
	return callers
}

// measureCalls measures what the calls of each caller cost, once.
func measureCalls(b *testing.B, set *rules.Set, callers []*caller) []callCost {
	b.Helper()
	round, costs := newCallRound(len(callers)), make([]callCost, len(callers))
	others := allPrograms(b, nil)
	defer closeAll(others)
	stop := emptyProgram(b)
	for i, c := range callers {
		costs[i].inEmpty = leastRun(b, c, others)
	}
	stop()
	stop = runSensorWith(b, set)
	for i, c := range callers {
		costs[i].ran = leastRun(b, c, others)
	}
	end := findCallsEnd(b)
	defer end.Close()
	round.withSensor(b, end, callers)
	stop()
	round.withoutSensor(b, end.begun, callers)
	for i := range callers {
		c := round.cost(i)
		c.inEmpty, c.ran = costs[i].inEmpty, costs[i].ran
		costs[i] = c
	}
	return costs
}

// leastRun is how many nanoseconds programs other than others run during a call, by the kernel's count, in the batch of many that is
// disturbed least. That is exact where the difference of two times is not, but for what the count itself takes: it is in the empty program's
// time as well.
func leastRun(b *testing.B, c *caller, others map[ebpf.ProgramID]*ebpf.Program) float64 {
	b.Helper()
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		b.Fatal(err)
	}
	defer stats.Close()
	programs := allPrograms(b, others)
	sum := func() (ns float64) {
		for _, p := range programs {
			s, err := p.Stats()
			if err != nil {
				b.Fatal(err)
			}
			ns += float64(s.Runtime.Nanoseconds())
		}
		return ns
	}
	ns := math.Inf(1)
	for range batches {
		before := sum()
		c.batch(b)
		ns = min(ns, (sum()-before)/float64(c.n))
	}
	closeAll(programs)
	return ns
}

func closeAll(programs map[ebpf.ProgramID]*ebpf.Program) {
	for _, p := range programs {
		p.Close()
	}
}

// allPrograms returns the programs of this machine but for others. They are not to be closed while others are compared: ids are used again.
func allPrograms(b *testing.B, others map[ebpf.ProgramID]*ebpf.Program) map[ebpf.ProgramID]*ebpf.Program {
	b.Helper()
	programs := map[ebpf.ProgramID]*ebpf.Program{}
	for id := ebpf.ProgramID(0); ; {
		next, err := ebpf.ProgramGetNextID(id)
		if errors.Is(err, os.ErrNotExist) {
			return programs
		}
		if err != nil {
			b.Fatal(err)
		}
		id = next
		if others[id] != nil {
			continue
		}
		if p, err := ebpf.NewProgramFromID(id); err == nil { // else it is gone
			programs[id] = p
		}
	}
}

// reportCalls reports medians, and prints them with the least and the most.
func reportCalls(b *testing.B, rows []callRow, costs [][]callCost) {
	var table strings.Builder
	line := func(v ...any) { fmt.Fprintf(&table, "%-11s %7s %20s %20s %20s %17s %17s\n", v...) }
	line("ns a call", "nothing", "empty program adds", "sensor adds", "ratio", "in empty program", "in sensor's")
	for i, r := range rows {
		of := func(what func(c callCost) float64) spread {
			v := make([]float64, len(costs[i]))
			for j, c := range costs[i] {
				v[j] = what(c)
			}
			return spreadOf(v)
		}
		none := of(func(c callCost) float64 { return c.none })
		empty, sensor := of(func(c callCost) float64 { return c.empty }), of(func(c callCost) float64 { return c.sensor })
		ratio := of(func(c callCost) float64 { return c.sensor / c.empty })
		inEmpty, ran := of(func(c callCost) float64 { return c.inEmpty }), of(func(c callCost) float64 { return c.ran })
		line(r.name, none.format(), empty, sensor, fmt.Sprintf("%.2f [%.2f..%.2f]", ratio.median, ratio.least, ratio.most), inEmpty, ran)
		b.ReportMetric(ratio.median, r.name+"-x")
		b.ReportMetric(sensor.median, r.name+"-ns")
		b.ReportMetric(ran.median-inEmpty.median, r.name+"-run-ns")
	}
	b.Logf("%d rounds: median [least..most]\n%s", len(costs[0]), table.String())
}

type spread struct{ median, least, most float64 }

func spreadOf(v []float64) spread {
	slices.Sort(v)
	return spread{v[len(v)/2], v[0], v[len(v)-1]}
}

func (s spread) format() string { return fmt.Sprintf("%.0f", s.median) }

func (s spread) String() string { return fmt.Sprintf("%.0f [%.0f..%.0f]", s.median, s.least, s.most) }

func makeFile(b *testing.B, name string) {
	b.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		b.Fatal(err)
	}
}

// ownTime is the CPU time of this process, which the sensor is in.
func ownTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// containerCgroup makes a cgroup that is named as a container's.
func containerCgroup(b *testing.B) string {
	b.Helper()
	root := "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/cgroup.procs"); err != nil {
		root += "/unified" // beside the hierarchies of version 1
	}
	outer := filepath.Join(root, fmt.Sprintf("tiercel-bench-%d", os.Getpid()))
	inner := filepath.Join(outer, strings.Repeat("b0", 32))
	if err := os.MkdirAll(inner, 0o755); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		for _, dir := range []string{inner, outer} {
			if err := unix.Rmdir(dir); err != nil {
				b.Errorf("remove cgroup: %v", err)
			}
		}
	})
	return inner
}

// stockRules are Falco's: the stable ones, or all of them with those that are disabled.
func stockRules(b *testing.B, all bool) *rules.Set {
	b.Helper()
	dir := os.Getenv("TIERCEL_CONFORMANCE")
	if dir == "" {
		b.Skip("TIERCEL_CONFORMANCE names no folder: Falco's rules are not there")
	}
	names := []string{"falco_rules.yaml"}
	if all {
		names = append(names, "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml")
	}
	for i, n := range names {
		names[i] = filepath.Join(dir, "rules", n)
	}
	return loadRules(b, all, names...)
}

// ownRules writes a file of rules and returns its name.
func ownRules(b *testing.B, text string) string {
	b.Helper()
	name := filepath.Join(b.TempDir(), "rules.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return name
}

func loadRules(b *testing.B, all bool, names ...string) *rules.Set {
	b.Helper()
	files, err := rules.ReadFiles(names)
	if err != nil {
		b.Fatal(err)
	}
	opts := rules.Options{Provider: sensor.Provider()}
	if all {
		opts.Select = []rules.Selection{{Enable: &rules.Selector{Rule: "*"}}}
	}
	set, report := rules.Load(files, opts)
	if set == nil {
		b.Fatal(report.Err())
	}
	return set
}

// runSensorWith runs a sensor with rules until stop is called.
func runSensorWith(b *testing.B, set *rules.Set) (stop func()) {
	b.Helper()
	cfg := sensor.DefaultConfig()
	cfg.RuntimeSockets = nil
	s, err := sensor.New(cfg, sensor.Deps{Rules: set, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	for s.Ready() != nil {
		select {
		case err := <-done:
			b.Fatal(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
}
