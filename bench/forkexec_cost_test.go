//go:build bench

package bench

import (
	"encoding/binary"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/bpf"
)

const (
	spawnsABatch = 20
	wallBatches  = 4 // the median of which is the time with the sensor, or without
	countRounds  = 4 // in which the kernel counts the programs' time
)

func init() {
	// spawn: for each byte on standard input runs /bin/true so many times, and answers with nanoseconds of wall time each. All of it is on one
	// processor: the sensor and what else there is have the others.
	children["spawn"] = func([]string) error {
		runtime.LockOSThread()
		if err := stayOn(strconv.Itoa(runtime.NumCPU() - 1)); err != nil {
			return err
		}
		var one [1]byte
		for {
			switch _, err := os.Stdin.Read(one[:]); {
			case err == io.EOF:
				return nil
			case err != nil:
				return err
			}
			from := time.Now()
			for range spawnsABatch {
				pid, err := syscall.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{})
				if err != nil {
					return err
				}
				if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
					return err
				}
			}
			if err := binary.Write(os.Stdout, binary.LittleEndian, float64(time.Since(from).Nanoseconds())/spawnsABatch); err != nil {
				return err
			}
		}
	}
}

// BenchmarkForkExecPrograms gives what the sensor with Falco's stable rules adds to fork, exec and exit of /bin/true, wall time: a round has its
// programs detached, attached and detached again; as many rounds after these are of empty programs at the end of all system calls and at fork, exec
// and exit, which are the baseline; of each round the time with them less the mean of those before and after; of all rounds the median of that, with the interval
// in which it lies with 95 % (-benchtime 40x and more). By the kernel's own count the programs' time, of which the count is some part: of all,
// those at system calls included, and of the three at fork, exec and exit each; and the CPU time of the sensor's process. Empty programs are the
// baseline of that too (empty-run-ns).
func BenchmarkForkExecPrograms(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("not root: there is no sensor to measure")
	}
	c := startCommand(b, child(b, "spawn"), spawnsABatch)
	others := allPrograms(b, nil)
	attachEmpty := emptyPrograms(b)
	empty := emptyRun(b, c, attachEmpty, others)
	stop := runSensorWith(b, stockRules(b, false))
	defer stop()
	ran := map[string][]float64{}
	for range countRounds {
		for name, ns := range leastRuns(b, c, others) {
			ran[name] = append(ran[name], ns)
		}
	}
	closeAll(others)
	links := sensorLinks(b)
	own := func() (undo func()) {
		attach(b, links)
		return func() { detach(b, links) }
	}
	var added, addedEmpty []float64
	var cpu time.Duration
	detach(b, links)
	w := wallTurns{c: c, before: medianBatch(b, c)}
	for b.Loop() {
		ns, used := w.turn(b, own)
		added, cpu = append(added, ns), cpu+used
	}
	for range added { // not in between: in a longer pause the sensor saves up wake-ups, which it has none of at a steady rate
		ns, _ := w.turn(b, attachEmpty)
		addedEmpty = append(addedEmpty, ns)
	}
	attach(b, links)
	for _, l := range links {
		_ = l.program.Close()
	}
	slices.Sort(w.without)
	b.ReportMetric(w.without[len(w.without)/2], "ns-without")
	reportAdded(b, "ns-added", added)
	reportAdded(b, "ns-empty-added", addedEmpty)
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
	b.ReportMetric(empty, "empty-run-ns")
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(len(added)*wallBatches*spawnsABatch), "sensor-ns")
	b.ReportMetric(0, "ns/op")
}

// wallTurns attaches something and takes it off again, and remembers how long an operation takes without it.
type wallTurns struct {
	c       *caller
	before  float64 // in the batches before
	without []float64
}

// turn is how many nanoseconds of wall time an operation takes more with what attached attaches until undo is called, and what CPU time this process
// uses meanwhile.
func (w *wallTurns) turn(b *testing.B, attached func() (undo func())) (added float64, used time.Duration) {
	b.Helper()
	undo := attached()
	from := ownTime()
	with := medianBatch(b, w.c)
	used = ownTime() - from
	undo()
	after := medianBatch(b, w.c)
	added = with - (w.before+after)/2
	w.without, w.before = append(w.without, after), after
	return added, used
}

// reportAdded reports the median of what rounds add, with its 95 % interval.
func reportAdded(b *testing.B, unit string, ns []float64) {
	b.Helper()
	slices.Sort(ns)
	b.ReportMetric(ns[len(ns)/2], unit)
	if low, high, ok := medianRanks(len(ns)); ok {
		b.ReportMetric(ns[low], unit+"-low")
		b.ReportMetric(ns[high], unit+"-high")
		b.Logf("%d rounds: %s %.0f [%.0f..%.0f] (95 %%)", len(ns), unit, ns[len(ns)/2], ns[low], ns[high])
	}
}

// emptyPrograms loads programs that do nothing for the end of all system calls and for fork, exec and exit. They run from attach until undo.
func emptyPrograms(b *testing.B) (attach func() (undo func())) {
	b.Helper()
	var programs []*ebpf.Program
	for _, hook := range []string{"sys_exit", "task_newtask", "sched_process_exec", "sched_process_exit"} {
		p := newEmptyProgram(b, hook)
		b.Cleanup(func() { p.Close() })
		programs = append(programs, p)
	}
	return func() func() {
		var links []link.Link
		for _, p := range programs {
			l, err := link.AttachTracing(link.TracingOptions{Program: p})
			if err != nil {
				b.Fatal(err)
			}
			links = append(links, l)
		}
		return func() {
			for _, l := range links {
				if err := l.Close(); err != nil {
					b.Error(err)
				}
			}
		}
	}
}

// emptyRun is how many nanoseconds the empty programs run, by the kernel's count.
func emptyRun(b *testing.B, c *caller, attach func() (undo func()), others map[ebpf.ProgramID]*ebpf.Program) (sum float64) {
	b.Helper()
	defer attach()()
	for _, ns := range leastRuns(b, c, others) {
		sum += ns
	}
	return sum
}

// medianBatch is the median of some batches, after one that does not count.
func medianBatch(b *testing.B, c *caller) float64 {
	b.Helper()
	c.batch(b)
	var ns [wallBatches]float64
	for i := range ns {
		ns[i] = c.batch(b)
	}
	slices.Sort(ns[:])
	return (ns[(wallBatches-1)/2] + ns[wallBatches/2]) / 2
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
