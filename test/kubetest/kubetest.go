// Package kubetest gives tests a real Kubernetes API: etcd and kube-apiserver in one process, from the module test/kube. The program is
// built once into a cache (six CPU minutes when the build cache is cold, seconds afterwards) and started per test or per package; a
// start takes three seconds. There is no controller and no scheduler: pods are objects that never run, namespaces never finish deleting,
// owners are never garbage collected. Of a node there is what the API server's proxy talks to, so that exec and logs work (Container):
// a kubelet in full would be three more CPU minutes to build, and needs root and a container runtime. Read Start first.
package kubetest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A Cluster is a running Kubernetes API.
type Cluster struct {
	URL        string `json:"url"`        // https://127.0.0.1:PORT
	Kubeconfig string `json:"kubeconfig"` // of a cluster administrator
	CAFile     string `json:"ca"`
	Dir        string `json:"dir"`

	port  string
	flags []string
	cmd   *exec.Cmd
	stdin io.Closer
	done  chan struct{} // closed when cmd has ended

	node     *http.Server
	nodePort int
}

// Start starts a cluster that ends with the test. Further flags are kube-apiserver's.
func Start(t testing.TB, flags ...string) *Cluster {
	t.Helper()
	c, err := Run(t.TempDir(), flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Kill)
	return c
}

// Run starts a cluster on a directory, for TestMain; the caller kills it. It ends with the calling process in any case.
func Run(dir string, flags ...string) (*Cluster, error) {
	c := &Cluster{Dir: dir, port: "0"}
	node, err := c.startNode()
	if err != nil {
		return nil, fmt.Errorf("start the node: %w", err)
	}
	c.flags = append(node, flags...)
	if err := c.start(); err != nil {
		_ = c.node.Close()
		return nil, err
	}
	if err := c.announceNode(); err != nil {
		c.Kill()
		return nil, err
	}
	c.port = c.URL[strings.LastIndex(c.URL, ":")+1:]
	return c, nil
}

func (c *Cluster) start() error {
	program, err := Build()
	if err != nil {
		return err
	}
	args := append([]string{"-tied", "-dir", c.Dir, "-port", c.port, "--"}, c.flags...)
	c.cmd = exec.Command(program, args...)
	// A group of its own: an interrupt at the terminal is the test's to handle.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	logs := &lastLines{}
	c.cmd.Stderr = logs
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return err
	}
	c.stdin = stdin
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", program, err)
	}
	line, readErr := bufio.NewReader(stdout).ReadBytes('\n')
	done := make(chan struct{})
	c.done = done
	go func() {
		_ = c.cmd.Wait() // killed: that is what it says
		close(done)
	}()
	if readErr != nil {
		c.Kill()
		return fmt.Errorf("kubeplane did not become ready: %w\n%s", readErr, logs)
	}
	return json.Unmarshal(line, c)
}

// Kill ends the API at once, as a power cut would. It may be called twice. The node goes on until the test's process ends.
func (c *Cluster) Kill() {
	if c.done == nil {
		return
	}
	_ = c.cmd.Process.Kill()
	<-c.done
	c.done = nil
	_ = c.stdin.Close()
}

// Restart brings a killed API back on the same address, with everything it held.
func (c *Cluster) Restart() error { return c.start() }

var built = sync.OnceValues(build)

// Build returns the path of the program, built if it is not in the cache. The cache is .cache/kube in the repository, or the folder
// that TIERCEL_TEST_CACHE names.
func Build() (string, error) { return built() }

func build() (string, error) {
	source := filepath.Join(Root(), "test", "kube")
	key, err := hashTree(source)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", source, err)
	}
	cache := os.Getenv("TIERCEL_TEST_CACHE")
	if cache == "" {
		cache = filepath.Join(Root(), ".cache")
	}
	dir := filepath.Join(cache, "kube", key)
	program := filepath.Join(dir, "kubeplane")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil { // test binaries of several packages start at once
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	return program, goBuild(source, program)
}

func goBuild(source, program string) error {
	version, err := kubernetesVersion(source)
	if err != nil {
		return err
	}
	part := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	const pkg = "k8s.io/component-base/version."
	ldflags := fmt.Sprintf("-s -w -X %sgitVersion=%s -X %sgitMajor=%s -X %sgitMinor=%s", pkg, version, pkg, part[0], pkg, part[1])
	cmd := exec.Command("go", "build", "-buildvcs=false", "-p", "2", "-ldflags", ldflags, "-o", program+".new", "./cmd/kubeplane")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build kubeplane: %w\n%s", err, out)
	}
	return os.Rename(program+".new", program)
}

func kubernetesVersion(source string) (string, error) {
	mod, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(mod)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "k8s.io/kubernetes" {
			return f[1], nil
		}
	}
	return "", fmt.Errorf("%s requires no k8s.io/kubernetes", source)
}

// hashTree names a state of the module: go.mod, go.sum, the sources and the toolchain.
func hashTree(dir string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOARCH)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if ext := filepath.Ext(path); ext != ".go" && ext != ".mod" && ext != ".sum" {
			return nil
		}
		b, err := os.ReadFile(path)
		fmt.Fprintf(h, "%s %d\n", strings.TrimPrefix(path, dir), len(b))
		h.Write(b)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)[:8]), err
}

// Root is the repository's folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// lastLines keeps the end of what a process says.
type lastLines struct {
	mu  sync.Mutex
	buf []byte // guarded by mu
}

func (l *lastLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, p...)
	if over := len(l.buf) - 16<<10; over > 0 {
		l.buf = bytes.Clone(l.buf[over:])
	}
	return len(p), nil
}

func (l *lastLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.buf)
}

// Eventually calls ok until it reports true, and fails the test after a time limit. It is for states of other processes, which tell nobody
// when they change.
func Eventually(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("after %s still not so: %s", limit, what)
		}
	}
}
