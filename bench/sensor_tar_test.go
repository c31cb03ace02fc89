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

	"github.com/tiercel-project/tiercel/rules"
)

// 10,000 files are in so many archives, which are unpacked one after the other, each in every state: what the machine does besides changes
// tar's time by a tenth and more, but not from one of them to the next.
const (
	tarFiles  = 10_000
	tarPieces = 10
	tarTurns  = 4 // of all of them in a round
)

// BenchmarkTar unpacks 10,000 files while the whole sensor runs, its flight recorder on, and reports how much more processor time tar takes than
// without, worked out of what is attached in turn as BenchmarkCalls does it: the median of the rounds, and the least and the most. tar has a
// processor to itself, and a file system that is new each time: on one where inodes were removed in the last seconds ext4 passes over them one by
// one, at each file that it makes. The programs' own part is the kernel's count in unpackings of their own, of tar's processor time in them, less
// what an empty program at the end of all calls counts there. -benchtime 3x
func BenchmarkTar(b *testing.B) {
	needRoot(b)
	files, name := ruleFiles(b)
	b.Run("rules="+name, func(b *testing.B) {
		set := loadRules(b, false, files...) // as tiercel sensor has them
		t := newTarRun(b)
		var more, empty, programs []float64
		var none time.Duration
		watched := 0
		for b.Loop() {
			if who := otherWatchers(); len(who) > 0 {
				b.Logf("round %d: system calls are watched by others too: %s", len(more), strings.Join(who, ", "))
				watched++
			}
			r, inSensor, inEmpty := t.round(b, set)
			none = r.none
			empty, more = append(empty, 100*r.empty), append(more, 100*(r.sensor+r.begun))
			programs = append(programs, inSensor-inEmpty)
			b.Logf("round %d: a piece takes %v, an empty program %+.1f %% (%.1f %% in it), the sensor %+.1f %% (%.1f %% in its programs)",
				len(more)-1, none, empty[len(empty)-1], inEmpty, more[len(more)-1], inSensor)
		}
		b.ReportMetric(none.Seconds()*1e3, "ms-without")
		b.ReportMetric(spreadOf(more).median, "%-more")
		b.ReportMetric(spreadOf(more).least, "%-more-least")
		b.ReportMetric(spreadOf(more).most, "%-more-most")
		b.ReportMetric(spreadOf(empty).median, "%-more-empty")
		b.ReportMetric(spreadOf(programs).median, "%-programs")
		b.ReportMetric(float64(watched), "watched-rounds")
		b.ReportMetric(0, "ns/op")
	})
}

// A tarRound is the time of an archive of a piece without anything, and which part of that is added.
type tarRound struct {
	none                 time.Duration
	empty, begun, sensor float64 // by what is in emptyAlone, in emptyBegun, and in sensorWhole more than in emptyInstead
}

// round unpacks everything in each state, and says which part of tar's time was in programs, in percent.
func (t *tarRun) round(b *testing.B, set *rules.Set) (r tarRound, inSensor, inEmpty float64) {
	b.Helper()
	none := newEmptyProgram(b, "sys_exit")
	defer none.Close()
	stop := runSensorWith(b, set)
	end := findCallsEnd(b)
	defer end.Close()
	_, added := t.turns(b, func() func() { end.put(b, none); return func() {} }, func() func() { end.put(b, end.program); return func() {} })
	inSensor = t.inPrograms(b)
	stop()
	r.sensor = added[0]
	r.none, added = t.turns(b, func() func() { return func() {} }, func() func() { return emptyProgram(b) }, func() func() {
		stop, stopBegin := emptyProgram(b), emptyBegin(b, end.begun)
		return func() { stopBegin(); stop() }
	})
	r.empty, r.begun = added[0], added[1]
	stop = emptyProgram(b)
	defer stop()
	return r, inSensor, t.inPrograms(b)
}

// turns unpacks each piece in several states, forwards and backwards. It returns the median of a piece's time in the first, and by which part
// of it the others are longer: the median of the differences between neighbours.
func (t *tarRun) turns(b *testing.B, states ...func() (stop func())) (first time.Duration, added []float64) {
	b.Helper()
	var times []float64
	differences := make([][]float64, len(states))
	for turn := range tarTurns {
		t.renew(b)
		for piece := range tarPieces {
			took := make([]float64, len(states))
			for i := range states {
				if (turn+piece)%2 == 1 {
					i = len(states) - 1 - i
				}
				stop := states[i]()
				took[i] = t.unpack(b, piece, fmt.Sprintf("%d-%d", piece, i)).Seconds()
				stop()
			}
			times = append(times, took[0])
			for i := range states {
				differences[i] = append(differences[i], took[i]-took[0])
			}
		}
	}
	median := spreadOf(times).median
	for _, d := range differences[1:] {
		added = append(added, spreadOf(d).median/median)
	}
	return time.Duration(median * 1e9), added
}

// A tarRun unpacks an archive.
type tarRun struct {
	archives           []string // the pieces
	memory, image, dir string
	processor          int // that tar runs on; below zero: any
}

func newTarRun(b *testing.B) *tarRun {
	b.Helper()
	memory, err := os.MkdirTemp("/dev/shm", "tiercel-bench-") //nolint:usetesting // a file system in memory: that of the disk writes when it likes
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(memory) })
	t := &tarRun{memory: memory, dir: b.TempDir(), processor: leaveLastProcessor(b)}
	for piece := range tarPieces {
		name := filepath.Join(memory, fmt.Sprintf("%d.tar", piece))
		if err := os.WriteFile(name, makeTar(b, piece), 0o600); err != nil {
			b.Fatal(err)
		}
		t.archives = append(t.archives, name)
	}
	b.Cleanup(t.remove)
	return t
}

// inPrograms is the part of tar's processor time, in percent, for which programs run at the end of system calls, by the kernel's count: the median
// of some unpackings.
func (t *tarRun) inPrograms(b *testing.B) float64 {
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
	t.renew(b)
	var parts []float64
	for piece := range tarPieces {
		before := ran()
		took := t.unpack(b, piece, strconv.Itoa(piece))
		parts = append(parts, 100*(ran()-before).Seconds()/took.Seconds())
	}
	return spreadOf(parts).median
}

// makeTar makes the archive of a piece.
func makeTar(b *testing.B, piece int) []byte {
	b.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	text := bytes.Repeat([]byte("x"), 2000)
	for i := piece * tarFiles / tarPieces; i < (piece+1)*tarFiles/tarPieces; i++ {
		h := &tar.Header{Name: fmt.Sprintf("d%d/f%d", i%(100/tarPieces), i), Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}
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

// renew makes the file system, with room for what is unpacked in each state. It has a file of its own: another mount namespace may still have the
// one before.
func (t *tarRun) renew(b *testing.B) {
	b.Helper()
	t.remove()
	image, err := os.CreateTemp(t.memory, "image-")
	if err != nil {
		b.Fatal(err)
	}
	defer image.Close()
	const imageBytes = 512 << 20
	if err := image.Truncate(imageBytes); err != nil {
		b.Fatal(err)
	}
	t.image = image.Name()
	mustRun(b, "mkfs.ext4", "-q", "-F", "-N", strconv.Itoa(4*tarFiles), t.image)
	mustRun(b, "mount", "-o", "loop", t.image, t.dir)
}

// remove removes the file system, if there is one.
func (t *tarRun) remove() {
	if t.image != "" {
		_ = exec.Command("umount", t.dir).Run() // else the next one comes on top of it
		_ = os.Remove(t.image)
	}
}

// unpack unpacks a piece into a new folder, and returns tar's processor time.
func (t *tarRun) unpack(b *testing.B, piece int, folder string) time.Duration {
	b.Helper()
	folder = filepath.Join(t.dir, folder)
	if err := os.Mkdir(folder, 0o700); err != nil {
		b.Fatal(err)
	}
	args := []string{"tar", "xf", t.archives[piece], "-C", folder}
	if t.processor >= 0 {
		args = append([]string{"taskset", "-c", strconv.Itoa(t.processor)}, args...)
	}
	s := mustRun(b, args...)
	return s.UserTime() + s.SystemTime()
}

func mustRun(b *testing.B, args ...string) *os.ProcessState {
	b.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return cmd.ProcessState
}
