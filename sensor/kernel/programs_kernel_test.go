//go:build kernel

package kernel

import (
	"os/exec"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"golang.org/x/sys/unix"
)

// BenchmarkForkExecPrograms gives what the programs of fork, exec and exit take for one run of /bin/true, by the kernel's own count, which
// itself adds some 30 ns to each: where a rule asks for exec, whose program then wakes the reader, and where none does.
func BenchmarkForkExecPrograms(b *testing.B) {
	b.Run("no rule", func(b *testing.B) { benchPrograms(b) })
	b.Run("exec watched", func(b *testing.B) { benchPrograms(b, field.EventExecve) })
}

func benchPrograms(b *testing.B, types ...field.EventType) {
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		b.Fatal(err)
	}
	defer stats.Close()
	w := startConfig(b, Config{}, func(*event.Event) bool { return false }, types...)
	names := []string{bpf.SensorProgProcessFork, bpf.SensorProgProcessExec, bpf.SensorProgProcessExit}
	type count struct {
		time time.Duration
		n    uint64
	}
	read := func() (counts [3]count) {
		for i, name := range names {
			info, err := w.coll.Programs[name].Stats()
			if err != nil {
				b.Fatal(err)
			}
			counts[i] = count{info.Runtime, info.RunCount}
		}
		return counts
	}
	before := read()
	for b.Loop() {
		if err := exec.Command("/bin/true").Run(); err != nil {
			b.Fatal(err)
		}
	}
	after, sum := read(), 0.0
	for i, name := range names {
		n := after[i].n - before[i].n
		each := float64((after[i].time - before[i].time).Nanoseconds()) / float64(max(n, 1))
		b.ReportMetric(each, "ns/"+name)
		sum += each
	}
	b.ReportMetric(sum, "ns-of-programs")
	b.ReportMetric(0, "ns/op")
}
