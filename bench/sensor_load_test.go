//go:build bench

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/test/workload"
)

// BenchmarkDropped gives the sensor's own processor time for an open and close that no rule cares about: 5 million of them an iteration, less
// what it used in the same time without them.
func BenchmarkDropped(b *testing.B) {
	needRoot(b)
	_, name := ruleFiles(b)
	b.Run("rules="+name, func(b *testing.B) {
		const opens = 5_000_000
		program := workload.Build(b)
		file := filepath.Join(b.TempDir(), "file")
		put(b, file, "x")
		w := startWatch(b)
		w.drainLines(func(string, time.Time) {})
		time.Sleep(idleSettle)
		var each []time.Duration
		for b.Loop() {
			before := w.cpu()
			took := runLoad(b, program, "open", strconv.Itoa(opens), "0", file)
			used := w.cpu() - before
			before = w.cpu()
			time.Sleep(took)
			each = append(each, 1000*(used-(w.cpu()-before))/opens) // a thousand: durations are whole nanoseconds
		}
		slices.Sort(each)
		b.ReportMetric(float64(each[len(each)/2])/1000, "sensor-cpu-ns/open+close")
		b.ReportMetric(w.lost(), "records-lost")
		b.ReportMetric(0, "ns/op")
	})
}

// BenchmarkForkExec gives the sensor's own processor time for a fork, exec and exit of a program: 1,000 a second for a minute an iteration.
func BenchmarkForkExec(b *testing.B) {
	needRoot(b)
	_, name := ruleFiles(b)
	b.Run("rules="+name, func(b *testing.B) {
		const starts, pause = 60_000, time.Millisecond
		program := workload.Build(b)
		w := startWatch(b)
		w.drainLines(func(string, time.Time) {})
		time.Sleep(idleSettle)
		var each []time.Duration
		var rate []float64
		for b.Loop() {
			before := w.cpu()
			took := runLoad(b, program, "spawn", strconv.Itoa(starts), strconv.Itoa(int(pause.Microseconds())), "/bin/true")
			each = append(each, (w.cpu()-before)/starts)
			rate = append(rate, starts/took.Seconds())
		}
		slices.Sort(each)
		slices.Sort(rate)
		b.ReportMetric(float64(each[len(each)/2])/1e3, "sensor-cpu-µs/fork+exec")
		b.ReportMetric(rate[len(rate)/2], "fork+exec/s")
		b.ReportMetric(w.lost(), "records-lost")
		b.ReportMetric(0, "ns/op")
	})
}

// BenchmarkMemory gives what the sensor holds at the start, and after both rings have wrapped: its proportional set size and the memory of its
// BPF maps. The pages of the rings are in both.
func BenchmarkMemory(b *testing.B) {
	needRoot(b)
	_, name := ruleFiles(b)
	b.Run("rules="+name, func(b *testing.B) {
		program := workload.Build(b)
		var first, last memory
		for b.Loop() {
			w := startWatch(b)
			w.drainLines(func(string, time.Time) {})
			time.Sleep(idleSettle)
			first = w.memory()
			prefix := w.markers(1)
			const leastRecord = 208
			events := w.metric("tiercel_sensor_ring_size_bytes", `ring="event"`) / leastRecord
			processes := w.metric("tiercel_sensor_ring_size_bytes", `ring="process"`) / leastRecord
			runLoad(b, program, "open", strconv.Itoa(int(events)), "20", prefix+"0")
			runLoad(b, program, "spawn", strconv.Itoa(int(processes)), "500", "/bin/true")
			last = w.memory()
			b.ReportMetric(w.lost(), "records-lost")
			w.stop()
		}
		b.ReportMetric(first.pss, "MiB-PSS-at-start")
		b.ReportMetric(last.pss, "MiB-PSS")
		b.ReportMetric(last.anonymous, "MiB-anonymous")
		b.ReportMetric(last.maps, "MiB-BPF-maps")
		b.ReportMetric(last.pss+last.maps, "MiB")
		b.ReportMetric(0, "ns/op")
	})
}

// A memory is what a process holds, in MiB.
type memory struct{ pss, anonymous, maps float64 }

func (w *watch) memory() (m memory) {
	w.b.Helper()
	proc := fmt.Sprintf("/proc/%d", w.cmd.Process.Pid)
	text, err := os.ReadFile(proc + "/smaps_rollup")
	if err != nil {
		w.b.Fatal(err)
	}
	kib := func(text, key string) (n float64) {
		_, rest, _ := strings.Cut(text, "\n"+key)
		_, _ = fmt.Sscan(rest, &n)
		return n
	}
	m.pss, m.anonymous = kib(string(text), "Pss:")/1024, kib(string(text), "Anonymous:")/1024
	infos, _ := filepath.Glob(proc + "/fdinfo/*")
	seen := map[float64]bool{}
	for _, name := range infos {
		text, err := os.ReadFile(name)
		if err != nil || !strings.Contains(string(text), "map_type:") {
			continue // closed meanwhile, or something else
		}
		if id := kib(string(text), "map_id:"); !seen[id] {
			seen[id] = true
			m.maps += kib(string(text), "memlock:") / (1 << 20)
		}
	}
	return m
}

// reportMedian reports the median of times with its 95 % interval, in nanoseconds.
func reportMedian(b *testing.B, unit string, times []time.Duration) {
	slices.Sort(times)
	n := len(times)
	b.ReportMetric(float64(times[n/2].Nanoseconds()), unit)
	if low, high, ok := medianRanks(n); ok {
		b.ReportMetric(float64(times[low].Nanoseconds()), unit+"-low")
		b.ReportMetric(float64(times[high].Nanoseconds()), unit+"-high")
	}
}

// medianRanks returns the ranks between which the median lies with 95 %, by the binomial distribution; false below six values.
func medianRanks(n int) (low, high int, ok bool) {
	p := 1.0
	for range n {
		p /= 2
	}
	tail := 0.0
	k := 0
	for term := p; k < n/2 && tail+term <= 0.025; k++ {
		tail += term
		term = term * float64(n-k) / float64(k+1)
	}
	return k - 1, n - k, k > 0
}
