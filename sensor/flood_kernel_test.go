//go:build kernel

package sensor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/sensor/kernel"
	"github.com/tiercel-project/tiercel/test/workload"
)

const floodRules = `
- rule: Read shadow
  desc: d
  condition: evt.type in (open, openat, openat2) and evt.is_open_read=true and fd.name=/etc/shadow
  output: Read | process=%proc.cmdline
  priority: WARNING
- rule: Read secret
  desc: d
  condition: evt.type in (open, openat, openat2) and evt.is_open_read=true and fd.name startswith /etc/secret
  output: Read | file=%fd.name container=%container.id parent=%proc.pname
  priority: WARNING
- rule: Started
  desc: d
  condition: evt.type=execve and container.id != host
  output: Started | process=%proc.cmdline
  priority: NOTICE
`

// A flooding is a sensor under containers that flood it and one that does little, and what became of the last one's matches.
type flooding struct {
	*Sensor
	flooders []*bundle
	victim   *bundle

	mu      sync.Mutex
	took    []time.Duration // guarded by mu; of the victim's matches, from the kernel's time
	wrong   []string        // guarded by mu; matches of the victim that are not as they should be
	flooded int             // guarded by mu; other matches
	log     *syncBuffer
}

const victimReads = 100

// Floods, each a container's arguments of the workload.
const (
	openFlat = "open 0 0 /etc/shadow"
	ringFlat = "ring 0 0 /etc/shadow" // by io_uring
	forkFlat = "fork 0 0 -"
)

// startFlood starts a container for each of the floods; play has the victim do its part.
func startFlood(t testing.TB, change func(*Config), floods ...string) *flooding {
	t.Helper()
	s, _, log := liveWith(t, floodRules, change)
	f := &flooding{Sensor: s, log: log}
	script := func(text string) *bundle {
		b := newBundle(t, "/bin/sh", "-c", text)
		put(t, filepath.Join(b.dir, "rootfs/etc/shadow"), []byte("x\n"), 0o644)
		put(t, filepath.Join(b.dir, "rootfs/etc/secret"), []byte("x\n"), 0o644)
		return b
	}
	program, err := os.ReadFile(workload.Build(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range floods {
		b := script("exec /bin/load " + what)
		put(t, filepath.Join(b.dir, "rootfs/bin/load"), program, 0o755)
		f.flooders = append(f.flooders, b)
	}
	f.victim = script(fmt.Sprintf("i=0; while [ $i -lt %d ]; do /bin/cat /etc/secret >/dev/null; /bin/sleep 0.02; i=$((i+1)); done", victimReads))
	p := &s.pipeline
	p.mu.Lock()
	p.report = f.report
	p.mu.Unlock()
	for _, b := range f.flooders {
		cmd := exec.Command("runc", "--root", b.root, "run", "--bundle", b.dir, b.name())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = exec.Command("runc", "--root", b.root, "kill", b.name(), "KILL").Run()
			_ = cmd.Wait()
		})
	}
	waitUntil(t, "the floods have begun", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.flooded > 1000
	})
	return f
}

// report takes the place of alerts and bus: what they do with a flood of matches is not the rings' concern.
func (f *flooding) report(m *match) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.rule.Name != "Read secret" {
		f.flooded++
		return
	}
	f.took = append(f.took, time.Duration(f.pipeline.now()-m.raw.BootNS))
	if m.id.Container != f.victim.id {
		f.wrong = append(f.wrong, "container "+m.id.Container)
	}
	if a := m.matcher.Alert(m.rule, m.event); !strings.Contains(a.Output, "parent=sh") {
		f.wrong = append(f.wrong, a.Output)
	}
}

// play runs the victim and waits for its matches, and returns how long they took.
func (f *flooding) play(t testing.TB) []time.Duration {
	t.Helper()
	f.victim.runc(t, "run", "--bundle", f.victim.dir, f.victim.name())
	done := func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.took) >= victimReads
	}
	for until := time.Now().Add(time.Minute); !done() && time.Now().Before(until); {
		time.Sleep(10 * time.Millisecond)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.took) != victimReads {
		t.Errorf("%d of the victim's %d reads matched", len(f.took), victimReads)
	}
	if len(f.wrong) > 0 {
		t.Errorf("%d of them are wrong: %s", len(f.wrong), f.wrong[0])
	}
	took := f.took
	f.took, f.wrong = nil, nil
	return took
}

// TestFlood: while one container opens a watched file flat out, by calls or through an io_uring, and another forks flat out, none of a third
// one's matches is lost, each has its container and its parent, and what is lost is charged to the two. The rings are small, so that
// something is.
func TestFlood(t *testing.T) {
	t.Run("calls", func(t *testing.T) { testFlood(t, openFlat, forkFlat) })
	t.Run("io_uring", func(t *testing.T) { testFlood(t, ringFlat, forkFlat) })
}

// testFlood has the first of the floods open the watched file.
func testFlood(t *testing.T, floods ...string) {
	f := startFlood(t, func(c *Config) { c.RingBytes, c.ProcessRingBytes = 128<<10, 128<<10 }, floods...)
	opener := f.flooders[0].id[:12]
	src := *f.source.Load()
	// The reader is held up for a moment now and then: a machine that is busy elsewhere.
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
				f.pipeline.mu.Lock()
				time.Sleep(20 * time.Millisecond)
				f.pipeline.mu.Unlock()
			}
		}
	}()
	took := f.play(t)
	close(stop)
	<-stopped
	slices.Sort(took)
	st, err := src.Stats()
	if err != nil {
		t.Fatal(err)
	}
	lost := map[string]uint64{}
	for _, r := range st.Rings {
		for _, l := range r.Lost {
			lost[r.Name] += l.Count
		}
	}
	if lost[kernel.EventRing] == 0 {
		t.Error("nothing was lost: the test shows nothing")
	}
	t.Logf("victim's matches: p50 %v; others %d; lost %v", took[len(took)/2], f.flooded, lost)
	told := f.log.String()
	if !strings.Contains(told, "container="+opener) {
		t.Errorf("the log does not name the flooder %s:\n%s", opener, told)
	}
	// A full ring refuses whoever comes next, now and then the victim too.
	if charged, all := chargedTo(told, f.victim.id[:12]), lost[kernel.EventRing]+lost[kernel.ProcessRing]; charged > all/100 {
		t.Errorf("the victim is charged with %d of %d:\n%s", charged, all, told)
	}
}

// chargedTo adds up the records that the log says a container has lost.
func chargedTo(log, container string) (n uint64) {
	for _, m := range regexp.MustCompile(`container=(\S+) .*process_records=(\d+) event_records=(\d+)`).FindAllStringSubmatch(log, -1) {
		if m[1] != container {
			continue
		}
		for _, digits := range m[2:] {
			k, _ := strconv.ParseUint(digits, 10, 64)
			n += k
		}
	}
	return n
}

// BenchmarkFlood gives how long the victim's matches take under the floods, with the rings as they are by default.
func BenchmarkFlood(b *testing.B) {
	b.Run("calls", func(b *testing.B) { benchmarkFlood(b, openFlat, forkFlat) })
	b.Run("io_uring", func(b *testing.B) { benchmarkFlood(b, ringFlat, forkFlat) })
}

func benchmarkFlood(b *testing.B, floods ...string) {
	f := startFlood(b, func(*Config) {}, floods...)
	var took []time.Duration
	for b.Loop() {
		took = append(took, f.play(b)...)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/1e6, "ms-p50")
	b.ReportMetric(float64(took[len(took)*99/100])/1e6, "ms-p99")
	b.ReportMetric(float64(f.flooded)/b.Elapsed().Seconds(), "flood-matches/s")
	b.ReportMetric(0, "ns/op")
}
