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
// time tar takes: the median of the rounds. It needs root.
func BenchmarkTar(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("not root: there is no sensor to measure")
	}
	archive := filepath.Join(b.TempDir(), "files.tar")
	if err := os.WriteFile(archive, makeTar(b), 0o600); err != nil {
		b.Fatal(err)
	}
	var more []float64
	var without []time.Duration
	for b.Loop() {
		base := unpack(b, archive)
		stop := runSensor(b)
		with := unpack(b, archive)
		stop()
		without, more = append(without, base), append(more, 100*(with.Seconds()/base.Seconds()-1))
	}
	slices.Sort(more)
	slices.Sort(without)
	b.ReportMetric(without[len(without)/2].Seconds()*1e3, "ms-without")
	b.ReportMetric(more[len(more)/2], "%-more")
	b.ReportMetric(0, "ns/op")
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

func unpack(b *testing.B, archive string) time.Duration {
	dir := b.TempDir()
	cmd := exec.Command("tar", "xf", archive, "-C", dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("tar: %v\n%s", err, out)
	}
	took := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if err := os.RemoveAll(dir); err != nil {
		b.Fatal(err)
	}
	return took
}

// runSensor runs a sensor with our own rules until stop is called.
func runSensor(b *testing.B) (stop func()) {
	return runSensorWith(b, loadRules(b, false, "../samples/rules/tiercel_rules.yaml"))
}
