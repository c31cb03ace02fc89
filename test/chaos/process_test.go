//go:build chaos

package chaos

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tiercel-project/tiercel/functions"
	"github.com/tiercel-project/tiercel/test/kubetest"
)

// natsDir makes this test binary a NATS server with its files there.
const natsDir = "TIERCEL_CHAOS_NATS"

var (
	binary string // the program under test
	module string // the function's module
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(natsDir); dir != "" {
		os.Exit(serveNATS(dir))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tiercel-chaos-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if binary = os.Getenv("TIERCEL"); binary == "" {
		binary = filepath.Join(dir, "tiercel")
		cmd := exec.Command("go", "build", "-o", binary, "./cmd/tiercel")
		cmd.Dir = kubetest.Root()
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
	}
	module = filepath.Join(dir, "mark.wasm")
	wasm, err := functions.Build(context.Background(), filepath.Join("testdata", "mark"))
	if err == nil {
		err = os.WriteFile(module, wasm, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// serveNATS is a NATS server with JetStream that prints its URL and ends with its standard input.
func serveNATS(dir string) int {
	port := 0
	if _, err := fmt.Sscan(os.Getenv(natsDir+"_PORT"), &port); err != nil || port == 0 {
		port = server.RANDOM_PORT
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, SyncInterval: time.Second})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		fmt.Fprintln(os.Stderr, "nats-server is not ready")
		return 1
	}
	fmt.Println(s.ClientURL())
	_, _ = io.Copy(io.Discard, os.Stdin)
	s.Shutdown()
	s.WaitForShutdown()
	return 0
}

// A natsServer is one in a process of its own.
type natsServer struct {
	dir, url, port string
	cmd            *exec.Cmd
	stdin          io.Closer
}

func startNATS(t *testing.T) *natsServer {
	t.Helper()
	n := &natsServer{dir: t.TempDir()}
	n.start(t)
	t.Cleanup(n.kill)
	return n
}

func (n *natsServer) start(t *testing.T) {
	t.Helper()
	n.cmd = exec.Command(os.Args[0])
	n.cmd.Env = append(os.Environ(), natsDir+"="+n.dir, natsDir+"_PORT="+n.port)
	n.cmd.Stderr = os.Stderr
	stdin, err := n.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	n.stdin = stdin
	stdout, err := n.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("nats-server: %v", err)
	}
	n.url = strings.TrimSpace(line)
	n.port = n.url[strings.LastIndex(n.url, ":")+1:]
}

// kill ends the server at once.
func (n *natsServer) kill() {
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
	_ = n.stdin.Close()
}

// A runner is a process of tiercel runtime that is brought back when it has been killed.
type runner struct {
	name string
	args []string
	log  *os.File

	mu  sync.Mutex
	cmd *exec.Cmd // guarded by mu
}

func startRunner(t *testing.T, name string, args ...string) *runner {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{name: name, args: append([]string{"runtime"}, args...), log: log}
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.signal(syscall.SIGKILL)
		r.wait()
		if t.Failed() {
			t.Logf("the end of what %s said:\n%s", name, tailOf(log.Name()))
		}
		_ = log.Close()
	})
	return r
}

func (r *runner) start() error {
	cmd := exec.Command(binary, r.args...)
	cmd.Stderr = r.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cmd = cmd
	return nil
}

func (r *runner) process() *exec.Cmd {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cmd
}

func (r *runner) signal(s syscall.Signal) { _ = r.process().Process.Signal(s) }

func (r *runner) wait() { _ = r.process().Wait() }

// die kills the process and brings up another.
func (r *runner) die() error {
	r.signal(syscall.SIGKILL)
	r.wait()
	return r.start()
}

func tailOf(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-8<<10):])
}
