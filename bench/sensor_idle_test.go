//go:build bench

package bench

import (
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/bus"
)

// idleTime is how long an idle program is looked at, after it has settled.
const (
	idleTime   = 25 * time.Second
	idleSettle = 5 * time.Second
)

// BenchmarkIdle gives the processor time of a program on which nobody calls: its readers are blocked. What others on the machine forked
// meanwhile is reported beside it, since each of that is an event; on a quiet machine it is next to nothing. In remote the sensor is as in a
// cluster: its NATS server is another process, this one. -benchtime 1x, or more for the median.
func BenchmarkIdle(b *testing.B) {
	needRoot(b)
	_, name := ruleFiles(b)
	for _, setting := range []string{"sensor", "remote", "run"} {
		b.Run(setting+"/rules="+name, func(b *testing.B) {
			command, args := "sensor", []string(nil)
			switch setting {
			case "remote":
				args = []string{"--nats", startServer(b)}
			case "run":
				command, args = "run", []string{"--functions", "../samples/functions"}
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

// startServer runs a NATS server in this process until the benchmark ends, and returns its URL.
func startServer(b *testing.B) string {
	b.Helper()
	cfg := bus.DefaultServerConfig()
	cfg.DataDir = b.TempDir()
	s, err := bus.StartServer(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	a, err := bus.FindServer(cfg.DataDir)
	if err != nil {
		b.Fatal(err)
	}
	u, err := url.Parse(a.URL)
	if err != nil {
		b.Fatal(err)
	}
	u.User = url.UserPassword(a.User, a.Password)
	return u.String()
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
