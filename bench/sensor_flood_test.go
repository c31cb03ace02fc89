//go:build bench

package bench

import (
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/test/workload"
)

// victimMarks is how many watched files the victim of a flood opens, one every victimPause.
const (
	victimMarks = 100
	victimPause = 20 * time.Millisecond
)

// Alerts of a victim, by file, as they come from standard output.
type alerts struct {
	prefix string
	mu     sync.Mutex
	took   map[string]time.Duration // guarded by mu: from the kernel's time of the call to the reading of the line
	texts  []string                 // guarded by mu: of what the sensor says of itself
}

// collect reads the sensor's JSON alerts.
func (w *watch) collect(prefix string) *alerts {
	a := &alerts{prefix: prefix, took: map[string]time.Duration{}}
	w.drainLines(func(line string, at time.Time) {
		var alert struct {
			Rule, Output string
			Time         time.Time
			Fields       map[string]any `json:"output_fields"`
		}
		switch {
		case strings.Contains(line, a.prefix):
			name := ""
			if json.Unmarshal([]byte(line), &alert) == nil {
				name, _ = alert.Fields["fd.name"].(string)
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			if _, again := a.took[name]; !again {
				a.took[name] = at.Sub(alert.Time)
			}
		case strings.Contains(line, "Tiercel internal"):
			if json.Unmarshal([]byte(line), &alert) == nil {
				a.mu.Lock()
				defer a.mu.Unlock()
				a.texts = append(a.texts, alert.Output)
			}
		}
	})
	return a
}

// wait waits until all marks have come, or none has for a while, and returns how long they took.
func (a *alerts) wait() (took []time.Duration) {
	const patience = 10 * time.Second
	n, since := 0, time.Now()
	for ; n < victimMarks && time.Since(since) < patience; time.Sleep(10 * time.Millisecond) {
		a.mu.Lock()
		if len(a.took) > n {
			n, since = len(a.took), time.Now()
		}
		a.mu.Unlock()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range a.took {
		took = append(took, d)
	}
	clear(a.took)
	return took
}

// BenchmarkNeighbour has one process open and close a file that no rule cares about as fast as it can while another one makes 100 calls that
// a rule alerts of: how many records the sensor lost, how many of the alerts, how long they took from the kernel's time of the call to the
// line on standard output, and what the sensor costs the neighbour, whose rate without it is the baseline. -benchtime 5x
func BenchmarkNeighbour(b *testing.B) {
	needRoot(b)
	_, name := ruleFiles(b)
	b.Run("rules="+name, func(b *testing.B) {
		program := workload.Build(b)
		file := filepath.Join(b.TempDir(), "file")
		put(b, file, "x")
		const opens = 500_000
		flatOut := func() time.Duration { return runLoad(b, program, "open", strconv.Itoa(opens), "0", file) }
		var more []time.Duration
		var took []time.Duration
		var lost, missing float64
		for b.Loop() {
			without := flatOut()
			w := startWatch(b, "--output", "json")
			prefix := w.markers(victimMarks)
			a := w.collect(prefix)
			with := flatOut()
			stop := workload.Start(b, program, "open", "0", "0", file)
			runLoad(b, program, "mark", strconv.Itoa(victimMarks), strconv.Itoa(int(victimPause.Microseconds())), prefix)
			got := a.wait()
			stop()
			took = append(took, got...)
			missing += float64(victimMarks - len(got))
			lost += w.lost()
			w.stop()
			more = append(more, (with-without)/opens)
		}
		b.ReportMetric(lost, "records-lost")
		b.ReportMetric(missing, "alerts-lost")
		reportPercentiles(b, "", took)
		reportMedian(b, "ns-more/open+close", more)
		b.ReportMetric(0, "ns/op")
	})
}

// BenchmarkFloods has one container open /etc/shadow as fast as it can and another one, of at most 256 processes, fork as fast as it can,
// while a third makes 100 calls that a rule alerts of: how many of the alerts were lost, how long they took from the kernel's time of the call
// to the line on standard output, how many records were lost and how much of that a container other than the two is charged with. The containers
// are cgroups. Its baseline is the same victim without floods. -benchtime 5x
func BenchmarkFloods(b *testing.B) {
	needRoot(b)
	_, name := ruleFiles(b)
	b.Run("rules="+name, func(b *testing.B) {
		program := workload.Build(b)
		opener, bomb, victim := workload.NewCgroup(b, 256), workload.NewCgroup(b, 256), workload.NewCgroup(b, 256)
		w := startWatch(b, "--output", "json")
		prefix := w.markers(victimMarks)
		a := w.collect(prefix)
		play := func() []time.Duration {
			runLoad(b, victim.Command(program, "mark", strconv.Itoa(victimMarks), strconv.Itoa(int(victimPause.Microseconds())), prefix)...)
			return a.wait()
		}
		var quiet, took []time.Duration
		missing := 0.0
		for b.Loop() {
			quiet = append(quiet, play()...)
			stops := []func(){
				workload.Start(b, opener.Command(program, "open", "0", "0", "/etc/shadow")...),
				workload.Start(b, bomb.Command(program, "fork", "0", "0", "-")...),
			}
			time.Sleep(time.Second) // the rings fill
			got := play()
			for _, stop := range stops {
				stop()
			}
			took = append(took, got...)
			missing += float64(victimMarks - len(got))
		}
		lost := w.lost()
		w.stop() // it says what was lost last
		a.mu.Lock()
		defer a.mu.Unlock()
		charged := 0.0
		for _, text := range a.texts {
			if strings.Contains(text, "records") && !strings.Contains(text, opener.ID[:12]) && !strings.Contains(text, bomb.ID[:12]) {
				b.Log(text)
			}
			if strings.Contains(text, victim.ID[:12]) {
				charged++
			}
		}
		b.ReportMetric(missing, "alerts-lost")
		b.ReportMetric(lost, "records-lost")
		b.ReportMetric(charged, "losses-of-the-victim")
		reportPercentiles(b, "quiet-", quiet)
		reportPercentiles(b, "", took)
		b.ReportMetric(0, "ns/op")
	})
}
