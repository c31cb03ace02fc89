//go:build bench

package bench

import (
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkKill kills a sensor while a process opens a watched file every millisecond, and gives how much of what was called before the signal
// makes no alert on standard output: how many calls, and how long before the signal the first of them was. -benchtime 20x
func BenchmarkKill(b *testing.B) {
	needRoot(b)
	_, name := ruleFiles(b)
	b.Run("rules="+name, func(b *testing.B) {
		const files, pause, calls = 1000, time.Millisecond, 2000
		var counts, ages []time.Duration
		config := filepath.Join(b.TempDir(), "config.yaml")
		put(b, config, "throttle: {rate: 0, burst: 1}\n")
		for b.Loop() {
			w := startWatch(b, "--config", config)
			prefix := w.markers(files)
			var mu sync.Mutex
			alerted := 0
			done := w.drainLines(func(line string, _ time.Time) {
				if strings.Contains(line, prefix) {
					mu.Lock()
					alerted++
					mu.Unlock()
				}
			})
			made := make([]time.Time, 0, calls)
			for next := time.Now(); len(made) < calls; next = next.Add(pause) {
				for time.Now().Before(next) { // sleeping is not exact enough
				}
				openOnce(b, prefix+strconv.Itoa(len(made)%files))
				made = append(made, time.Now())
			}
			if err := unix.Kill(w.cmd.Process.Pid, unix.SIGKILL); err != nil {
				b.Fatal(err)
			}
			at := time.Now()
			_ = w.cmd.Wait()
			<-done
			mu.Lock()
			missing := len(made) - alerted
			mu.Unlock()
			counts = append(counts, time.Duration(missing))
			age := time.Duration(0)
			if missing > 0 {
				age = at.Sub(made[len(made)-missing])
			}
			ages = append(ages, age)
		}
		reportPercentiles(b, "lost-", ages)
		reportMedian(b, "calls-lost", counts)
		b.ReportMetric(0, "ns/op")
	})
}
