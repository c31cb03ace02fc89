//go:build bench

package bench

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stockFiles are the files of Falco's rules that a sensor under measurement has, below TIERCEL_CONFORMANCE.
var stockFiles = []string{"falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml"}

// markerRule comes before them: what a benchmark waits for is told apart from what others on the machine do.
const markerRule = `
- rule: Marker
  desc: a benchmark opens one of its own files
  condition: evt.type in (open, openat, openat2) and evt.is_open_read=true and fd.name startswith DIR/marker
  output: Marker opened | file=%fd.name process=%proc.cmdline user=%user.name container=%container.id
  priority: WARNING
`

// A watch is the real program, tiercel sensor, on the machine as it is: stock rules where TIERCEL_CONFORMANCE says where they are, our own
// otherwise, after markerRule; flight recorder on, embedded bus. Everything is attached that the rules need.
type watch struct {
	b      *testing.B
	dir    string // marker files are in it
	cmd    *exec.Cmd
	out    int // its standard output, a pipe that blocks
	status string
	log    string
}

// program is the binary that is measured: $TIERCEL, or what make build made.
func program(b *testing.B) string {
	b.Helper()
	name := os.Getenv("TIERCEL")
	if name == "" {
		name = "../bin/tiercel"
	}
	name, err := filepath.Abs(name)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := os.Stat(name); err != nil {
		b.Fatalf("%v: make build first, or name the program in TIERCEL", err)
	}
	return name
}

func needRoot(b *testing.B) {
	b.Helper()
	if os.Geteuid() != 0 {
		b.Skip("not root: there is no sensor to measure")
	}
}

// ruleFiles returns the stock rules, and how a benchmark calls them.
func ruleFiles(b *testing.B) (files []string, name string) {
	b.Helper()
	dir := os.Getenv("TIERCEL_CONFORMANCE")
	if dir == "" {
		return []string{"../samples/rules/tiercel_rules.yaml"}, "own"
	}
	for _, f := range stockFiles {
		files = append(files, filepath.Join(dir, "rules", f))
	}
	return files, "stock"
}

// startWatch starts the sensor and waits until it watches. It ends with the benchmark, or by stop.
func startWatch(b *testing.B, args ...string) *watch { return startProgram(b, "sensor", args...) }

func startProgram(b *testing.B, command string, args ...string) *watch {
	b.Helper()
	dir, err := os.MkdirTemp("", "tiercel-bench-") //nolint:usetesting // a name that a condition can hold without quotes
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	w := &watch{b: b, dir: dir, status: freeAddress(b)}
	marker := filepath.Join(w.dir, "rule.yaml")
	put(b, marker, strings.ReplaceAll(markerRule, "DIR", w.dir))
	all := []string{command, "--data", filepath.Join(w.dir, "data"), "--http", w.status, "--rules", marker}
	files, _ := ruleFiles(b)
	for _, f := range files {
		all = append(all, "--rules", f)
	}
	w.cmd = exec.Command(program(b), append(all, args...)...)
	w.log = filepath.Join(w.dir, "log")
	log, err := os.Create(w.log)
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		b.Fatal(err)
	}
	out := os.NewFile(uintptr(pipe[1]), "stdout")
	defer out.Close()
	w.out, w.cmd.Stdout, w.cmd.Stderr = pipe[0], out, log
	if err := w.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { w.stop(); _ = unix.Close(w.out) })
	w.waitFor("watching the kernel")
	return w
}

// waitFor waits for a line of the log.
func (w *watch) waitFor(text string) {
	w.b.Helper()
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if log, _ := os.ReadFile(w.log); bytes.Contains(log, []byte(text)) {
			return
		}
		if err := w.cmd.Process.Signal(syscall.Signal(0)); err != nil {
			break
		}
	}
	log, _ := os.ReadFile(w.log)
	w.b.Fatalf("the log has no %q:\n%s", text, log)
}

// stop ends the sensor. It may be called twice.
func (w *watch) stop() {
	if w.cmd.ProcessState != nil {
		return
	}
	_ = w.cmd.Process.Signal(syscall.SIGTERM)
	if err := w.cmd.Wait(); err != nil {
		w.b.Errorf("%v: %v", w.cmd.Args[1], err)
	}
}

// drainLines hands every line of standard output to f, with the time at which it was read, until the sensor ends.
func (w *watch) drainLines(f func(line string, at time.Time)) (done <-chan struct{}) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		in := bufio.NewReaderSize(stampedReader{w.out}, 1<<16)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			f(line, time.Now())
		}
	}()
	return ended
}

type stampedReader struct{ fd int }

func (r stampedReader) Read(p []byte) (int, error) {
	n, err := retryRead(r.fd, p)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return max(n, 0), err
}

func retryRead(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Read(fd, p)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// cpu is the processor time that the sensor has used, to the nanosecond.
func (w *watch) cpu() time.Duration { return cpuOf(w.b, w.cmd.Process.Pid) }

func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	const sched = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &ts); err != nil { // the clock of another process: clock_getcpuclockid(3)
		b.Fatalf("processor time of %d: %v", pid, err)
	}
	return time.Duration(ts.Nano())
}

// metric adds up the samples of a metric whose labels contain all of having.
func (w *watch) metric(name string, having ...string) (sum float64) {
	w.b.Helper()
	resp, err := http.Get("http://" + w.status + "/metrics")
	if err != nil {
		w.b.Fatal(err)
	}
	defer resp.Body.Close()
	for sc := bufio.NewScanner(resp.Body); sc.Scan(); {
		line := sc.Text()
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' || slices.ContainsFunc(having, func(s string) bool { return !strings.Contains(rest, s) }) {
			continue
		}
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			w.b.Fatal(err)
		}
		sum += v
	}
	return sum
}

// lost is how many records found no room in a ring.
func (w *watch) lost() float64 { return w.metric("tiercel_sensor_records_lost_total") }

// markers makes n files that the marker rule is about.
func (w *watch) markers(n int) (prefix string) {
	w.b.Helper()
	prefix = filepath.Join(w.dir, "marker-")
	for i := range n {
		put(w.b, prefix+strconv.Itoa(i), "x")
	}
	return prefix
}

func put(b *testing.B, name, text string) {
	b.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
}

func freeAddress(b *testing.B) string {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// runLoad runs the load to its end and returns how long it took.
func runLoad(b *testing.B, args ...string) time.Duration {
	b.Helper()
	begin := time.Now()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		b.Fatalf("%v: %v\n%s", args, err, out)
	}
	return time.Since(begin)
}

// percentile returns the p-th percentile of sorted times, in milliseconds.
func percentile(sorted []time.Duration, p int) float64 {
	return float64(sorted[min(len(sorted)-1, len(sorted)*p/100)].Nanoseconds()) / 1e6
}

func reportPercentiles(b *testing.B, name string, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(percentile(took, 50), name+"ms-p50")
	b.ReportMetric(percentile(took, 99), name+"ms-p99")
}
