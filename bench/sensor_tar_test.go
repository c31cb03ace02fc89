//go:build bench

package bench

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

const tarFiles = 10_000

// BenchmarkTar unpacks 10,000 files without a sensor and with one whose flight recorder is on, in turns, and reports how much more processor
// time tar takes: the median of the rounds. -benchtime 5x
func BenchmarkTar(b *testing.B) {
	needRoot(b)
	_, name := ruleFiles(b)
	b.Run("rules="+name, func(b *testing.B) {
		archive := filepath.Join(b.TempDir(), "files.tar")
		if err := os.WriteFile(archive, makeTar(b), 0o600); err != nil {
			b.Fatal(err)
		}
		unpack(b, archive) // into the page cache
		var more, wall []float64
		var without []time.Duration
		for b.Loop() {
			base, baseWall := unpack(b, archive)
			w := startWatch(b)
			w.drainLines(func(string, time.Time) {})
			time.Sleep(time.Second)
			with, withWall := unpack(b, archive)
			w.stop()
			without = append(without, base)
			more, wall = append(more, 100*(with.Seconds()/base.Seconds()-1)), append(wall, 100*(withWall.Seconds()/baseWall.Seconds()-1))
		}
		slices.Sort(more)
		slices.Sort(wall)
		slices.Sort(without)
		b.ReportMetric(without[len(without)/2].Seconds()*1e3, "ms-without")
		b.ReportMetric(more[len(more)/2], "%-more")
		b.ReportMetric(wall[len(wall)/2], "%-more-wall")
		b.ReportMetric(0, "ns/op")
	})
}

func makeTar(b *testing.B) []byte {
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

func unpack(b *testing.B, archive string) (cpu, wall time.Duration) {
	dir := b.TempDir()
	cmd := exec.Command("tar", "xf", archive, "-C", dir)
	begin := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("tar: %v\n%s", err, out)
	}
	wall = time.Since(begin)
	cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if err := os.RemoveAll(dir); err != nil {
		b.Fatal(err)
	}
	return cpu, wall
}
