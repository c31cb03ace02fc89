//go:build kernel

package kernel

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"golang.org/x/sys/unix"
)

func init() {
	// paced FILE N: opens a file N times, one a millisecond.
	addChild("paced", func(args []string) error {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		tick := time.NewTicker(time.Millisecond)
		for range n {
			<-tick.C
			openClose(args[0])
		}
		return nil
	})
}

func openClose(name string) {
	if fd, err := unix.Open(name, unix.O_RDONLY, 0); err == nil {
		_ = unix.Close(fd)
	}
}

// deepFile has seven components.
const deepFile = "/sys/devices/system/cpu/cpu0/topology/core_id"

// BenchmarkLatency gives the time from the kernel's record to the handler, for single opens, one a millisecond.
func BenchmarkLatency(b *testing.B) {
	const n = 1000
	var took []float64
	w := start(b, func(ev *event.Event) bool {
		if ev.Type == field.EventOpenat && ev.Open.Path.Raw == deepFile {
			took = append(took, float64(bootNS()-ev.BootNS)/1e3)
		}
		return false
	}, openTypes...)
	for b.Loop() {
		run(b, child(b, "paced", deepFile, strconv.Itoa(n)))
	}
	_ = w
	slices.Sort(took)
	if len(took) == 0 {
		b.Fatal("no event")
	}
	b.ReportMetric(took[len(took)/2], "µs-p50")
	b.ReportMetric(took[len(took)*99/100], "µs-p99")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkOpen gives what it takes to load and attach the programs, without any rules' filters, and how much of it is the kernel's: its verifier.
func BenchmarkOpen(b *testing.B) {
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := Open(Config{})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		b.Fatal(err)
	}
	n := float64(b.N) * 1e9
	b.ReportMetric(float64(after.Utime.Nano()-before.Utime.Nano())/n, "user-s/op")
	b.ReportMetric(float64(after.Stime.Nano()-before.Stime.Nano())/n, "system-s/op")
}
