//go:build bench

package bench

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// idleTime is how long an idle program is looked at, after it has settled.
const (
	idleTime   = 25 * time.Second
	idleSettle = 5 * time.Second
)

// BenchmarkIdle gives the processor time of a program on which nobody calls: its readers are blocked. What others on the machine forked
// meanwhile is reported beside it, since each of that is an event; on a quiet machine it is next to nothing. -benchtime 1x, or more for the
// median.
func BenchmarkIdle(b *testing.B) {
	needRoot(b)
	_, name := ruleFiles(b)
	for _, command := range []string{"sensor", "run"} {
		b.Run(command+"/rules="+name, func(b *testing.B) {
			var args []string
			if command == "run" {
				args = []string{"--functions", "../samples/functions"}
			}
			w := startProgram(b, command, args...)
			w.drainLines(func(string, time.Time) {})
			time.Sleep(idleSettle)
			var share, forks []float64
			for b.Loop() {
				f, c, t := forked(b), w.cpu(), time.Now()
				time.Sleep(idleTime)
				share = append(share, 100*float64(w.cpu()-c)/float64(time.Since(t)))
				forks = append(forks, float64(forked(b)-f)/idleTime.Seconds())
			}
			slices.Sort(share)
			slices.Sort(forks)
			b.ReportMetric(share[len(share)/2], "%-of-a-core")
			b.ReportMetric(forks[len(forks)/2], "forks/s-of-others")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// forked is how many processes and threads this machine has started.
func forked(b *testing.B) int {
	b.Helper()
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "processes "); ok {
			n, err := strconv.Atoi(strings.TrimSpace(rest))
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("/proc/stat has no processes")
	return 0
}
