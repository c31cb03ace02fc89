//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/test/kubetest"
)

// binary is the program under test.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tiercel-e2e-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if binary = os.Getenv("TIERCEL"); binary == "" {
		binary = filepath.Join(dir, "tiercel")
		for _, args := range [][]string{{"generate", "./functions/builtin"}, {"build", "-o", binary, "./cmd/tiercel"}} {
			cmd := exec.Command("go", args...)
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as in the image, which has no library
			cmd.Dir = kubetest.Root()
			if out, err := cmd.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "go %s: %v\n%s", strings.Join(args, " "), err, out)
				return 1
			}
		}
	}
	return m.Run()
}

// A process is the program running in the background.
type process struct {
	t      testing.TB
	name   string
	cmd    *exec.Cmd
	stdout *transcript
	stderr *transcript
	done   chan struct{}
	err    error // once done is closed
}

// start runs tiercel until the test ends.
func start(t testing.TB, args ...string) *process {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return startCommand(t, "tiercel "+args[0], cmd)
}

func startCommand(t testing.TB, name string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, name: name, cmd: cmd, stdout: newTranscript(), stderr: newTranscript(), done: make(chan struct{})}
	p.cmd.Dir = t.TempDir()
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		p.stdout.close()
		p.stderr.close()
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("%s, standard output:\n%s\nstandard error:\n%s", p.name, p.stdout, p.stderr)
		}
	})
	return p
}

// terminate asks the program to end and returns its exit code.
func (p *process) terminate() int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	return p.exit(2 * time.Minute)
}

// exit waits for the program's end and returns its exit code.
func (p *process) exit(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		p.t.Fatalf("%s has not ended after %s", p.name, limit)
		return -1
	}
}

// tiercel runs a command to its end and returns its standard output. It fails the test if the command fails.
func tiercel(t testing.TB, args ...string) string {
	t.Helper()
	out, stderr, code := command(t, args...)
	if code != 0 {
		t.Fatalf("tiercel %s: exit code %d\n%s", strings.Join(args, " "), code, stderr)
	}
	return out
}

// command runs a command to its end.
func command(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, err bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Stdout, cmd.Stderr = &out, &err
	if e := cmd.Run(); e != nil && cmd.ProcessState == nil {
		t.Fatal(e)
	}
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

// sh runs a program that must succeed.
func sh(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// A transcript is what a process wrote, line by line, to be waited on.
type transcript struct {
	mu     sync.Mutex
	lines  []string      // guarded by mu
	more   chan struct{} // closed when a line is added; guarded by mu
	closed bool          // guarded by mu
	in     *io.PipeWriter
	ended  chan struct{}
}

func newTranscript() *transcript {
	r, w := io.Pipe()
	tr := &transcript{more: make(chan struct{}), in: w, ended: make(chan struct{})}
	go func() {
		defer close(tr.ended)
		sc := bufio.NewScanner(r)
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			tr.add(sc.Text(), false)
		}
		_, _ = io.Copy(io.Discard, r)
		tr.add("", true)
	}()
	return tr
}

func (tr *transcript) Write(p []byte) (int, error) { return tr.in.Write(p) }

func (tr *transcript) close() {
	_ = tr.in.Close()
	<-tr.ended
}

func (tr *transcript) add(line string, last bool) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.closed = last; !last {
		tr.lines = append(tr.lines, line)
	}
	close(tr.more)
	tr.more = make(chan struct{})
}

// after returns the lines from index n on, and a channel that is closed when there are more; nil if there never will be.
func (tr *transcript) after(n int) ([]string, <-chan struct{}) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.closed {
		return tr.lines[n:], nil
	}
	return tr.lines[n:], tr.more
}

func (tr *transcript) String() string {
	lines, _ := tr.after(0)
	return strings.Join(lines, "\n")
}

// waitFor returns the first line that matches, present or to come.
func (tr *transcript) waitFor(t testing.TB, limit time.Duration, pattern string) string {
	t.Helper()
	re, timeout := regexp.MustCompile(pattern), time.After(limit)
	for seen := 0; ; {
		lines, more := tr.after(seen)
		for _, l := range lines {
			if re.MatchString(l) {
				return l
			}
		}
		seen += len(lines)
		if more == nil {
			t.Fatalf("the process has ended without a line that matches %q:\n%s", pattern, tr)
		}
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("after %s no line matches %q:\n%s", limit, pattern, tr)
		}
	}
}

// count returns how many lines match.
func (tr *transcript) count(pattern string) int {
	re, n := regexp.MustCompile(pattern), 0
	lines, _ := tr.after(0)
	for _, l := range lines {
		if re.MatchString(l) {
			n++
		}
	}
	return n
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
