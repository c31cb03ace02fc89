//go:build bench

package bench

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Files of the archive, and how often it is unpacked each time; the least of its processor times counts.
const (
	tarFiles   = 10_000
	tarUnpacks = 2
)

// BenchmarkTar unpacks 10,000 files before, while and after a sensor runs whose flight recorder is on, and reports how much more processor time
// tar takes: the median of the rounds, and the least and the most. tar has a processor to itself. The programs' own part is the kernel's count, in an
// unpacking of its own, less what an empty program at the end of all calls counts there. -benchtime 5x
func BenchmarkTar(b *testing.B) {
	needRoot(b)
	_, name := ruleFiles(b)
	b.Run("rules="+name, func(b *testing.B) {
		archive := filepath.Join(b.TempDir(), "files.tar")
		if err := os.WriteFile(archive, makeTar(b), 0o600); err != nil {
			b.Fatal(err)
		}
		t := tarRun{archive: archive, processor: leaveLastProcessor(b)}
		t.unpack(b) // it is in the page cache then
		t.remove(b)
		var more, empty, wall, programs []float64
		var without tarTime
		for b.Loop() {
			if who := otherWatchers(); len(who) > 0 {
				b.Logf("round %d: system calls are watched by others too: %s", len(more), strings.Join(who, ", "))
			}
			base := t.least(b)
			stop := emptyProgram(b)
			withEmpty, inEmpty := t.least(b), t.inPrograms(b)
			stop()
			w := startWatch(b)
			w.drainLines(func(string, time.Time) {})
			time.Sleep(time.Second)
			with, inSensor := t.least(b), t.inPrograms(b)
			counts := tarCounts(w)
			w.stop()
			base = base.min(t.least(b))
			t.remove(b)
			percent := func(with, base time.Duration) float64 { return 100 * (with.Seconds()/base.Seconds() - 1) }
			more, wall = append(more, percent(with.cpu, base.cpu)), append(wall, percent(with.wall, base.wall))
			empty = append(empty, percent(withEmpty.cpu, base.cpu))
			programs = append(programs, 100*(inSensor-inEmpty).Seconds()/base.cpu.Seconds())
			without = base
			b.Logf("round %d: without %v, an empty program %+.1f %%, the sensor %+.1f %% (its programs more than the empty one %+.1f %%), wall %+.1f %%; %s",
				len(more)-1, base.cpu, empty[len(empty)-1], more[len(more)-1], programs[len(programs)-1], wall[len(wall)-1], counts)
		}
		b.ReportMetric(without.cpu.Seconds()*1e3, "ms-without")
		b.ReportMetric(spreadOf(more).median, "%-more")
		b.ReportMetric(spreadOf(more).least, "%-more-least")
		b.ReportMetric(spreadOf(more).most, "%-more-most")
		b.ReportMetric(spreadOf(empty).median, "%-more-empty")
		b.ReportMetric(spreadOf(programs).median, "%-programs")
		b.ReportMetric(spreadOf(wall).median, "%-more-wall")
		b.ReportMetric(0, "ns/op")
	})
}

// tarCounts says what became of the calls of the unpackings while w ran.
func tarCounts(w *watch) string {
	const unpacked = (tarUnpacks + 1) * tarFiles
	return fmt.Sprintf("a file: %.2f events dropped in the kernel, %.2f not; %.4f records read, %.2f passed over beyond the rate of the recorder",
		w.metric("tiercel_sensor_filter_dropped_total")/unpacked, w.metric("tiercel_sensor_filter_emitted_total")/unpacked,
		w.metric("tiercel_sensor_records_received_total")/unpacked, w.metric("tiercel_sensor_recorder_limited_total")/unpacked)
}

// A tarRun unpacks an archive.
type tarRun struct {
	archive   string
	processor int // that tar runs on; below zero: any
	made      []string
}

// inodesRest is for how long ext4 passes over inodes that were removed, one by one at each file that it makes: an unpacking in that time takes
// up to ten times what it takes otherwise.
const inodesRest = 6 * time.Second

// remove removes what was unpacked, and waits until that costs the next unpacking nothing.
func (t *tarRun) remove(b *testing.B) {
	b.Helper()
	for _, dir := range t.made {
		if err := os.RemoveAll(dir); err != nil {
			b.Fatal(err)
		}
	}
	t.made = nil
	time.Sleep(inodesRest)
}

type tarTime struct{ cpu, wall time.Duration }

func (t tarTime) min(o tarTime) tarTime { return tarTime{min(t.cpu, o.cpu), min(t.wall, o.wall)} }

// least is the time of the unpacking that is disturbed least.
func (t *tarRun) least(b *testing.B) tarTime {
	b.Helper()
	least := t.unpack(b)
	for range tarUnpacks - 1 {
		least = least.min(t.unpack(b))
	}
	return least
}

// inPrograms is for how long programs run at the end of system calls, by the kernel's count, while the archive is unpacked once.
func (t *tarRun) inPrograms(b *testing.B) (sum time.Duration) {
	b.Helper()
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		b.Fatal(err)
	}
	defer stats.Close()
	programs := allPrograms(b, nil)
	defer closeAll(programs)
	ran := func() (sum time.Duration) {
		for _, p := range programs {
			s, err := p.Stats()
			if err != nil {
				b.Fatal(err)
			}
			sum += s.Runtime
		}
		return sum
	}
	before := ran()
	t.unpack(b)
	return ran() - before
}

func makeTar(b *testing.B) []byte {
	b.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	text := bytes.Repeat([]byte("x"), 2000)
	for i := range tarFiles {
		h := &tar.Header{Name: fmt.Sprintf("d%d/f%d", i%100, i), Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}
		if err := w.WriteHeader(h); err != nil {
			b.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return buf.Bytes()
}

// unpack unpacks the archive once. What it makes stays until remove.
func (t *tarRun) unpack(b *testing.B) tarTime {
	b.Helper()
	dir := b.TempDir()
	t.made = append(t.made, dir)
	args := []string{"tar", "xf", t.archive, "-C", dir}
	if t.processor >= 0 {
		args = append([]string{"taskset", "-c", strconv.Itoa(t.processor)}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	begin := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return tarTime{cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), time.Since(begin)}
}
