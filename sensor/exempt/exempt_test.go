package exempt

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/sensor/kernel"
)

// patience bounds a wait for something that comes.
const patience = time.Minute

// askEnv names the socket at which a process of the test asks instead of running tests. It prints the answer and waits for the end of its input.
const askEnv = "TIERCEL_EXEMPT_TEST_ASK"

func TestMain(m *testing.M) {
	path := os.Getenv(askEnv)
	if path == "" {
		os.Exit(m.Run())
	}
	if os.Getenv(askEnv+"_SEAL") != "" {
		if err := Seal(); err != nil {
			fmt.Println(err)
		}
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	fmt.Println(strings.TrimSpace(line), err)
	if os.Getenv(askEnv+"_PASS") != "" { // the connection outlives the process
		f, _ := conn.(*net.UnixConn).File()
		cmd := exec.Command("/bin/sh", "-c", "echo passed; exec cat")
		cmd.ExtraFiles, cmd.Stdin, cmd.Stdout = []*os.File{f}, os.Stdin, os.Stdout
		if err := cmd.Start(); err != nil {
			fmt.Println(err)
		}
		os.Exit(0)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// A fakeKernel grants every exemption whose check passes, up to the kernel side's bound.
type fakeKernel struct {
	mu     sync.Mutex
	exempt map[uint32]bool // guarded by mu
	change chan struct{}   // capacity 1
}

func newFakeKernel() *fakeKernel {
	return &fakeKernel{exempt: map[uint32]bool{}, change: make(chan struct{}, 1)}
}

func (k *fakeKernel) set(pid uint32, is bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if delete(k.exempt, pid); is {
		k.exempt[pid] = true
	}
	select {
	case k.change <- struct{}{}:
	default:
	}
}

func (k *fakeKernel) Exempt(pid uint32, check func() error) (Exemption, error) {
	if err := check(); err != nil {
		return nil, err
	}
	k.mu.Lock()
	n := len(k.exempt)
	k.mu.Unlock()
	if n >= kernel.MaxExempt {
		return nil, kernel.ErrExemptMany
	}
	k.set(pid, true)
	return fakeExemption{k, pid}, nil
}

// wait waits until a process is exempt, or none is.
func (k *fakeKernel) wait(t *testing.T, pid int, is bool) {
	t.Helper()
	for timeout := time.After(patience); ; {
		k.mu.Lock()
		now := k.exempt[uint32(pid)]
		k.mu.Unlock()
		if now == is {
			return
		}
		select {
		case <-k.change:
		case <-timeout:
			t.Fatalf("process %d: exempt %v, want %v", pid, now, is)
		}
	}
}

type fakeExemption struct {
	k   *fakeKernel
	pid uint32
}

func (e fakeExemption) Calls() uint64 { return 7 }

func (e fakeExemption) Close() error {
	e.k.set(e.pid, false)
	return nil
}

// A safeBuffer takes the log of several goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// serve runs a server until the test or stop ends it.
func serve(t *testing.T, path string, k *fakeKernel, users ...uint32) (s *Server, log *safeBuffer, stop func()) {
	t.Helper()
	log = new(safeBuffer)
	s = New(Config{Path: path, Users: users, Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), Registerer: prometheus.NewRegistry()})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx, k.Exempt)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	waitFor(t, "the server to listen", func() bool { return strings.Contains(log.String(), "may ask") })
	return s, log, stop
}

func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// An asker is a process that asks.
type asker struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	answer string
}

// ask starts program, which has to be one of the test's, and returns when it has its answer.
func ask(t *testing.T, program, path string, env ...string) *asker {
	t.Helper()
	return askAs(t, program, path, nil, env...)
}

// askAs is ask of a process with attributes.
func askAs(t *testing.T, program, path string, attr *syscall.SysProcAttr, env ...string) *asker {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Env, cmd.SysProcAttr = append(append(os.Environ(), askEnv+"="+path), env...), attr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if attr != nil && attr.Ptrace {
		trace(t, cmd)
	} else if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a := &asker{cmd: cmd, in: in}
	t.Cleanup(a.end)
	if a.answer, err = bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("no answer: %v", err)
	}
	return a
}

func (a *asker) end() {
	_ = a.in.Close()
	if a.cmd.ProcessState == nil {
		_ = a.cmd.Wait()
	}
}

func socket(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "self", "self.sock")
}

// copyProgram copies the test's program, with change applied.
func copyProgram(t *testing.T, change func([]byte) []byte) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(name, change(b), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

// A process of the same program is exempt while its connection stands, also from another file with the same content.
func TestServer(t *testing.T) {
	path, k := socket(t), newFakeKernel()
	s, log, _ := serve(t, path, k)
	for _, st := range []struct {
		name string
		mode os.FileMode
	}{{path, os.ModeSocket | 0o600}, {filepath.Dir(path), os.ModeDir | 0o700}} {
		if is, err := os.Stat(st.name); err != nil || is.Mode() != st.mode {
			t.Errorf("%s: got %v (%v), want %v", st.name, is.Mode(), err, st.mode)
		}
	}
	for name, program := range map[string]string{"same file": os.Args[0], "copy": copyProgram(t, func(b []byte) []byte { return b })} {
		t.Run(name, func(t *testing.T) {
			a := ask(t, program, path)
			if a.answer != "exempt <nil>\n" {
				t.Fatalf("got %q", a.answer)
			}
			k.wait(t, a.cmd.Process.Pid, true)
			list := s.Peers()
			if len(list) != 1 || list[0].PID != uint32(a.cmd.Process.Pid) || list[0].Calls != 7 || !strings.HasPrefix(list[0].Exe, "/") {
				t.Errorf("got %+v", list)
			}
			a.end()
			k.wait(t, a.cmd.Process.Pid, false)
			waitFor(t, "no peer", func() bool { return len(s.Peers()) == 0 })
		})
	}
	for _, want := range []string{"a process is exempt", "no longer exempt", "pid=", "exe="} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the log\n%s", want, log)
		}
	}
}

// Other programs are refused, of the same size too.
func TestProgramRefused(t *testing.T) {
	path, k := socket(t), newFakeKernel()
	s, log, _ := serve(t, path, k)
	for name, program := range map[string]string{
		"longer": copyProgram(t, func(b []byte) []byte { return append(b, 'x') }),
		"same size": copyProgram(t, func(b []byte) []byte {
			id := []byte("Go build ID: \"")
			at := bytes.Index(b, id)
			if at < 0 {
				at = bytes.Index(b, []byte("\x00Go\x00")) - len(id) + 4 // the note
			}
			b[at+len(id)] ^= 1
			return b
		}),
	} {
		t.Run(name, func(t *testing.T) {
			if a := ask(t, program, path); a.answer != denied+errProgram.Error()+" <nil>\n" {
				t.Errorf("got %q", a.answer)
			}
		})
	}
	if n := testutil.ToFloat64(s.refused.WithLabelValues("program")); n != 2 {
		t.Errorf("%v refusals were counted, want 2", n)
	}
	if n := strings.Count(log.String(), "was refused"); n != 1 {
		t.Errorf("%d refusals were logged, want the first alone\n%s", n, log)
	}
}

// The exemption ends with the process, not with its last copy of the connection: what it passed that on to is not exempt.
func TestPassedOn(t *testing.T) {
	path, k := socket(t), newFakeKernel()
	serve(t, path, k)
	a := ask(t, os.Args[0], path, askEnv+"_PASS=1")
	if a.answer != "exempt <nil>\n" {
		t.Fatalf("got %q", a.answer)
	}
	k.wait(t, a.cmd.Process.Pid, false)
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.exempt) != 0 {
		t.Errorf("exempt: %v", k.exempt)
	}
}

// There are no more peers than the kernel side has room for, nor more connections than the server.
func TestBounds(t *testing.T) {
	path, k := socket(t), newFakeKernel()
	s, _, _ := serve(t, path, k)
	for i := range kernel.MaxExempt + 1 {
		want := "exempt <nil>\n"
		if i == kernel.MaxExempt {
			want = denied + kernel.ErrExemptMany.Error() + " <nil>\n"
		}
		if a := ask(t, os.Args[0], path); a.answer != want {
			t.Errorf("process %d: got %q, want %q", i, a.answer, want)
		}
	}
	s.checking <- struct{}{} // nobody else is looked at
	waitFor(t, "a connection too many", func() bool {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return testutil.ToFloat64(s.refused.WithLabelValues("busy")) > 0
	})
	<-s.checking
}

// A process that says anything loses its exemption: there is nothing to say.
func TestSays(t *testing.T) {
	path, k := socket(t), newFakeKernel()
	serve(t, path, k)
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	k.wait(t, os.Getpid(), true)
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	k.wait(t, os.Getpid(), false)
}

// A second server waits for the first, and takes over from one that was killed; then the client asks again.
func TestRestart(t *testing.T) {
	path, k := socket(t), newFakeKernel()
	_, _, stop := serve(t, path, k)
	log := new(safeBuffer)
	client := &Client{Path: path, Log: slog.New(slog.NewTextHandler(log, nil))}
	ctx, cancel := context.WithCancel(t.Context())
	asked, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		client.Run(ctx, func() { close(asked) })
	}()
	<-asked
	k.wait(t, os.Getpid(), true)
	if _, err := listen(t.Context(), path, false); !errors.Is(err, errInUse) {
		t.Errorf("a second server: got %v, want %v", err, errInUse)
	}
	stop()
	k.wait(t, os.Getpid(), false)
	if err := unix.Mknod(path, unix.S_IFSOCK|0o600, 0); err != nil { // as a killed one leaves it
		t.Fatal(err)
	}
	serve(t, path, k)
	k.wait(t, os.Getpid(), true)
	cancel()
	<-done
	k.wait(t, os.Getpid(), false)
	for _, want := range []string{"passes over what this process does", "has ended"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the log\n%s", want, log)
		}
	}
}

// Without a sensor the client says so once.
func TestNoSensor(t *testing.T) {
	log := new(safeBuffer)
	client := &Client{Path: filepath.Join(t.TempDir(), "none"), Log: slog.New(slog.NewTextHandler(log, nil))}
	for range 3 {
		was, err := client.ask(t.Context(), nil)
		client.tell(was, err)
	}
	if n := strings.Count(log.String(), "no sensor on this machine"); n != 1 || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("got\n%s", log)
	}
}

// Where others could put a socket there is none, and nothing that is no socket is removed.
func TestListenRefused(t *testing.T) {
	path := socket(t)
	dir := filepath.Dir(path)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(t.Context(), path, false); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("a file in its place: got %v", err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(t.Context(), path, false); err == nil || !strings.Contains(err.Error(), "others could put") {
		t.Errorf("a directory that all may write to: got %v", err)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	New(Config{Path: "/x", Log: slog.New(slog.DiscardHandler), Registerer: reg})
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) != 0 || len(families) != 2 {
		t.Errorf("%d metrics: %+v, %v", len(families), problems, err)
	}
}

func TestValidatePath(t *testing.T) {
	for path, want := range map[string]string{
		"/run/tiercel/self.sock":       "",
		"self.sock":                    "no absolute path",
		"/" + strings.Repeat("x", 107): "longer than 107 bytes",
	} {
		err := ValidatePath(path)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}
