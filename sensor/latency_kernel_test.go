//go:build kernel

package sensor

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// openerEnv makes this program open the file it names whenever it reads a line: the sensor passes over its own process.
const openerEnv = "TIERCEL_SENSOR_TEST_OPEN"

func TestMain(m *testing.M) {
	if name := os.Getenv(openerEnv); name != "" {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			f, err := os.Open(name)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			_ = f.Close()
		}
		os.Exit(0)
	}
	if dir := os.Getenv(callsEnv); dir != "" {
		if err := makeCalls(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// BenchmarkKernelToPublished opens a file once for each iteration, waits until JetStream (file storage) has acknowledged the match, and
// reports where the time went. Run it on a quiet machine: go test -tags kernel -run '^$' -bench KernelToPublished -benchtime 1000x ./sensor
func BenchmarkKernelToPublished(b *testing.B) {
	file := filepath.Join(b.TempDir(), "watched")
	put(b, file, nil, 0o600)
	s, _ := live(b, fmt.Sprintf(`
- rule: Watched
  desc: d
  condition: evt.type in (open, openat, openat2) and evt.is_open_read=true and fd.name=%s
  output: Opened | file=%%fd.name process=%%proc.cmdline parent=%%proc.pname user=%%user.name
  priority: NOTICE
`, file))
	done := make(chan stamps, 16)
	s.reporter.watch = func(at stamps) { done <- at }
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), openerEnv+"="+file)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = cmd.Wait() }()

	once := func() stamps {
		if _, err := io.WriteString(in, "\n"); err != nil {
			b.Fatal(err)
		}
		select {
		case at := <-done:
			return at
		case <-time.After(10 * time.Second):
			b.Fatal("no acknowledgement")
			return stamps{}
		}
	}
	for range 50 { // connection, caches
		once()
	}
	var read, matched, published, total []uint64
	for b.Loop() {
		at := once()
		read = append(read, at.read-at.kernel)
		matched = append(matched, at.matched-at.read)
		published = append(published, at.acked-at.matched)
		total = append(total, at.acked-at.kernel)
	}
	report := func(ns []uint64, name string) {
		slices.Sort(ns)
		b.ReportMetric(float64(ns[len(ns)/2])/1e3, name+"-p50-µs")
		b.ReportMetric(float64(ns[min(len(ns)-1, len(ns)*99/100)])/1e3, name+"-p99-µs")
	}
	report(read, "kernel→read")
	report(matched, "read→matched")
	report(published, "matched→acked")
	report(total, "total")
}
