//go:build bench

package bench

import (
	"encoding/binary"
	"io"
	"maps"
	"math"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/bpf"
)

const spawnsARound = 20

func init() {
	// spawn: for each byte on standard input runs /bin/true so many times, and answers with nanoseconds of wall time each.
	children["spawn"] = func([]string) error {
		runtime.LockOSThread()
		var one [1]byte
		for {
			switch _, err := os.Stdin.Read(one[:]); {
			case err == io.EOF:
				return nil
			case err != nil:
				return err
			}
			from := time.Now()
			for range spawnsARound {
				pid, err := syscall.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{})
				if err != nil {
					return err
				}
				if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
					return err
				}
			}
			if err := binary.Write(os.Stdout, binary.LittleEndian, float64(time.Since(from).Nanoseconds())/spawnsARound); err != nil {
				return err
			}
		}
	}
}

// BenchmarkForkExecPrograms gives what the sensor with Falco's stable rules adds to fork, exec and exit of /bin/true, wall time, without it and with it
// in turn: the mean difference and how far it may be off with 95 % certainty, over the rounds (-benchtime 40x and more); by the kernel's own
// count the programs' time, of which the count is some part: of all, those at system calls included, and of the three at fork, exec and exit
// each; and the CPU time of the sensor's process.
func BenchmarkForkExecPrograms(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("not root: there is no sensor to measure")
	}
	set := stockRules(b, false)
	c := startCommand(b, child(b, "spawn"), spawnsARound)
	c.batch(b)
	var without, added []float64
	ran := map[string][]float64{}
	var cpu time.Duration
	for b.Loop() {
		others := allPrograms(b, nil)
		before := c.batch(b)
		stop := runSensorWith(b, set)
		c.batch(b)
		from := ownTime()
		with := c.batch(b)
		cpu += ownTime() - from
		for name, ns := range leastRuns(b, c, others) {
			ran[name] = append(ran[name], ns)
		}
		stop()
		base := (before + c.batch(b)) / 2
		closeAll(others)
		without, added = append(without, base), append(added, with-base)
	}
	mean, bound := meanOf(added)
	slices.Sort(without)
	b.Logf("%d rounds: %.0f ns without, %.0f ± %.0f ns more with the sensor (95 %%)", len(added), without[len(without)/2], mean, bound)
	b.ReportMetric(without[len(without)/2], "ns-without")
	b.ReportMetric(mean, "ns-added")
	b.ReportMetric(bound, "ns-off")
	var all float64
	for _, name := range slices.Sorted(maps.Keys(ran)) {
		ns := spreadOf(ran[name])
		all += ns.median
		b.Logf("%-16s %s ns", name, ns)
	}
	for unit, name := range map[string]string{
		"fork-run-ns": bpf.SensorProgProcessFork, "exec-run-ns": bpf.SensorProgProcessExec, "exit-run-ns": bpf.SensorProgProcessExit,
	} {
		b.ReportMetric(spreadOf(ran[shortName(name)]).median, unit)
	}
	b.ReportMetric(all, "all-run-ns")
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(len(added)*spawnsARound), "sensor-ns")
	b.ReportMetric(0, "ns/op")
}

// leastRuns is how many nanoseconds each program other than others runs during an operation, by the kernel's count and by its name, in that of
// many batches where it is least. A program that another one jumps to counts as that one.
func leastRuns(b *testing.B, c *caller, others map[ebpf.ProgramID]*ebpf.Program) map[string]float64 {
	b.Helper()
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		b.Fatal(err)
	}
	defer stats.Close()
	programs := allPrograms(b, others)
	defer closeAll(programs)
	names := map[ebpf.ProgramID]string{}
	for id, p := range programs {
		info, err := p.Info()
		if err != nil {
			b.Fatal(err)
		}
		names[id] = info.Name
	}
	sum := func() map[string]float64 {
		ns := map[string]float64{}
		for id, p := range programs {
			s, err := p.Stats()
			if err != nil {
				b.Fatal(err)
			}
			ns[names[id]] += float64(s.Runtime.Nanoseconds())
		}
		return ns
	}
	least := map[string]float64{}
	for i := range batches {
		before := sum()
		c.batch(b)
		for name, ns := range sum() {
			if ns = (ns - before[name]) / float64(c.n); i == 0 || ns < least[name] {
				least[name] = ns
			}
		}
	}
	maps.DeleteFunc(least, func(_ string, ns float64) bool { return ns == 0 })
	return least
}

// shortName is a program's name as the kernel has it.
func shortName(name string) string { return name[:min(len(name), 15)] }

// meanOf is the mean of v, and how far it may be off with 95 % certainty.
func meanOf(v []float64) (mean, bound float64) {
	for _, x := range v {
		mean += x / float64(len(v))
	}
	var squares float64
	for _, x := range v {
		squares += (x - mean) * (x - mean)
	}
	if len(v) < 2 {
		return mean, math.Inf(1)
	}
	const normal = 1.96 // of 40 rounds and more
	return mean, normal * math.Sqrt(squares/float64(len(v)-1)/float64(len(v)))
}
