//go:build e2e

package e2e

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/test/kubetest"
)

// A netns is a network namespace of the test.
type netns struct{ name, path string }

var namespaces atomic.Int32

func newNetns(t testing.TB) netns {
	t.Helper()
	n := netns{name: fmt.Sprintf("tiercel-e2e-%d-%d", os.Getpid(), namespaces.Add(1))}
	n.path = "/var/run/netns/" + n.name
	sh(t, "ip", "netns", "add", n.name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", n.name).Run() })
	sh(t, "ip", "-n", n.name, "link", "set", "lo", "up")
	return n
}

// join connects two namespaces: each gets an address and a default route to the other.
func join(t testing.TB, a netns, addrA string, b netns, addrB string) {
	t.Helper()
	sh(t, "ip", "-n", a.name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", b.name)
	for ns, addr := range map[netns]string{a: addrA, b: addrB} {
		sh(t, "ip", "-n", ns.name, "addr", "add", addr+"/32", "dev", "eth0")
		sh(t, "ip", "-n", ns.name, "link", "set", "eth0", "up")
		sh(t, "ip", "-n", ns.name, "route", "add", "default", "dev", "eth0")
	}
}

// listen accepts and closes connections in the namespace until the test ends.
func (n netns) listen(t testing.TB, addr string) {
	t.Helper()
	type result struct {
		l   net.Listener
		err error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and its namespace with it
		l, err := listenIn(n.path, addr)
		made <- result{l, err}
	}()
	r := <-made
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { _ = r.l.Close() })
	go func() {
		for {
			conn, err := r.l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
}

func listenIn(path, addr string) (net.Listener, error) {
	ns, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("setns: %w", err)
	}
	return net.Listen("tcp", addr)
}

// A container is a real one, of runc, with a cgroup named as a kubelet names them.
type container struct {
	t      testing.TB
	id     string
	bundle string
}

// newContainerID returns what a container runtime would call a container.
func newContainerID() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// runContainer starts a container of busybox that does nothing, in the network namespace.
func runContainer(t testing.TB, id, podUID string, ns netns) *container {
	t.Helper()
	c := &container{t: t, id: id, bundle: t.TempDir()}
	c.makeRoot()
	// One top-level cgroup per test process, so that what is left over after a crash is known to be ours.
	top := fmt.Sprintf("/tiercel-e2e-%d", os.Getpid())
	spec := c.spec(top+"/kubepods/besteffort/pod"+podUID+"/"+id, ns)
	b, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(c.bundle, "config.json"), string(b))
	logFile := filepath.Join(c.bundle, "log")
	t.Cleanup(func() {
		_ = c.runc("delete", "--force", id).Run()
		removeCgroups(top)
	})
	run := c.runc("--log", logFile, "run", "--detach", "--bundle", c.bundle, id)
	run.Stdin, run.Stdout, run.Stderr = nil, nil, nil // the container inherits them: a pipe would never end
	if err := run.Run(); err != nil {
		text, _ := os.ReadFile(logFile)
		t.Fatalf("runc run: %v\n%s", err, text)
	}
	return c
}

func (c *container) runc(args ...string) *exec.Cmd {
	return exec.Command("runc", append([]string{"--root", filepath.Join(c.bundle, "state")}, args...)...)
}

func (c *container) makeRoot() {
	c.t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		c.t.Fatalf("%v: install busybox-static", err)
	}
	data, err := os.ReadFile(busybox)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, dir := range []string{"bin", "dev", "proc", "etc", "tmp"} {
		if err := os.MkdirAll(filepath.Join(c.bundle, "rootfs", dir), 0o755); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(c.bundle, "rootfs", "bin", "busybox"), data, 0o755); err != nil {
		c.t.Fatal(err)
	}
	for _, applet := range []string{"sh", "sleep", "nc", "cat", "true"} {
		if err := os.Symlink("busybox", filepath.Join(c.bundle, "rootfs", "bin", applet)); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *container) spec(cgroup string, ns netns) map[string]any {
	type object = map[string]any
	mount := func(at, kind string) object { return object{"destination": at, "type": kind, "source": kind} }
	return object{
		"ociVersion": "1.0.2",
		"process":    object{"args": []string{"sleep", "3600"}, "cwd": "/", "env": []string{"PATH=/bin"}, "user": object{"uid": 0, "gid": 0}},
		"root":       object{"path": "rootfs"},
		"hostname":   "web-1",
		"mounts":     []object{mount("/proc", "proc"), mount("/dev", "tmpfs"), {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": []string{"newinstance", "ptmxmode=0666"}}},
		"linux": object{
			"cgroupsPath": cgroup,
			"namespaces":  []object{{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "network", "path": ns.path}},
		},
	}
}

// exec runs a program in the container, as kubectl exec does.
func (c *container) exec(args ...string) *exec.Cmd {
	return c.runc(append([]string{"exec", c.id}, args...)...)
}

// execTTY does so with a terminal.
func (c *container) execTTY(args ...string) *exec.Cmd {
	quoted := strings.Join(append([]string{"runc", "--root", filepath.Join(c.bundle, "state"), "exec", "-t", c.id}, args...), " ")
	return exec.Command("script", "-q", "-e", "-c", quoted, "/dev/null")
}

// removeCgroups removes the test's cgroup in each hierarchy, innermost first.
func removeCgroups(top string) {
	roots, _ := filepath.Glob("/sys/fs/cgroup/*" + top)
	for _, root := range append(roots, "/sys/fs/cgroup"+top) {
		var dirs []string
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, d := range slices.Backward(dirs) {
			_ = os.Remove(d)
		}
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	kubetest.Eventually(t, 2*time.Minute, what, ok)
}
