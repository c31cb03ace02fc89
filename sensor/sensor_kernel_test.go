//go:build kernel

package sensor

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/sensor/output"
)

// kernelRules watch this test's own processes only.
const kernelRules = `
- rule: Read shadow
  desc: d
  condition: evt.type in (open, openat, openat2) and evt.is_open_read=true and fd.name=/etc/shadow
  output: Passwords read | process=%proc.cmdline
  priority: WARNING
- rule: Exec in container
  desc: d
  condition: evt.type=execve and container.id != host
  output: Started | command=%proc.cmdline container=%container.id
  priority: NOTICE
- rule: Open in container
  desc: d
  condition: evt.type in (open, openat, openat2) and container.id != host and fd.name=/etc/passwd
  output: Opened | file=%fd.name
  priority: NOTICE
- rule: Connect in container
  desc: d
  condition: evt.type=connect and container.id != host and fd.sport=%PORT%
  output: Connected | to=%fd.name
  priority: NOTICE
`

// live runs a real sensor over rules until the test ends, and returns what it publishes.
func live(t testing.TB, text string) (*Sensor, <-chan *bus.Event) {
	t.Helper()
	s, got, _ := liveWith(t, text, func(*Config) {})
	return s, got
}

// liveWith is live with a changed configuration; it returns the log too.
func liveWith(t testing.TB, text string, change func(*Config)) (*Sensor, <-chan *bus.Event, *syncBuffer) {
	t.Helper()
	b := startBus(t)
	got := events(t, b)
	cfg := DefaultConfig()
	cfg.Node, cfg.Format, cfg.RuntimeSockets = "node-1", output.JSON, nil
	change(&cfg)
	log := newSyncBuffer()
	set, report := rules.Load([]rules.File{{Name: "test.yaml", Data: []byte(text)}}, rules.Options{Matching: rules.All, Provider: Provider()})
	if set == nil {
		t.Fatal(report.Err())
	}
	for _, w := range report.Warnings() {
		t.Errorf("warning: %v", w)
	}
	s, err := New(cfg, Deps{
		Rules: set, Bus: b, Log: slog.New(slog.NewTextHandler(log, nil)), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.Run(ctx)
		_, _ = log.Write([]byte("watching the kernel: over"))
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(log.String())
		}
	})
	log.waitFor(t, "watching the kernel")
	if strings.Contains(log.String(), "watching the kernel: over") {
		t.FailNow() // the cleanup says why
	}
	return s, got, log
}

// fieldsOf returns the standard fields of a match.
func fieldsOf(t testing.TB, ev *bus.Event) (*bus.MatchData, map[string]any) {
	t.Helper()
	m, err := ev.Match()
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(m.Fields, &fields); err != nil {
		t.Fatal(err)
	}
	return m, fields
}

// TestShadow: cat /etc/shadow matches at once.
func TestShadow(t *testing.T) {
	_, got := live(t, strings.ReplaceAll(kernelRules, "%PORT%", "1"))
	cmd := exec.Command("/bin/cat", "/etc/shadow")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	for {
		ev := receive(t, got)
		m, fields := fieldsOf(t, ev)
		if m.Target.PID != int32(cmd.Process.Pid) || ev.Rule != "Read shadow" {
			continue // somebody else's
		}
		for name, want := range map[string]any{
			"proc.name": "cat", "proc.cmdline": "cat /etc/shadow", "fd.name": "/etc/shadow", "fd.typechar": "f", "proc.ppid": float64(os.Getpid()),
			"evt.is_open_read": true, "user.name": "root", "container.id": "host",
		} {
			if fields[name] != want {
				t.Errorf("%s is %v, want %v", name, fields[name], want)
			}
		}
		if d := time.Since(ev.Time); d > time.Minute || d < -time.Second {
			t.Errorf("the event is %v old", d)
		}
		return
	}
}

// A bundle is an OCI bundle with busybox, run by runc in a cgroup as a kubelet names it.
type bundle struct {
	dir, root, id, uid string
}

func newBundle(t testing.TB, args ...string) *bundle {
	t.Helper()
	b := &bundle{dir: t.TempDir(), root: t.TempDir()}
	hex := fmt.Sprintf("%016x", uint64(os.Getpid())<<32|uint64(time.Now().UnixNano()&0xffffffff))
	b.id = strings.Repeat(hex, 4)
	b.uid = hex[:8] + "-" + hex[8:12] + "-" + hex[12:16] + "-" + hex[:4] + "-" + hex[4:16]
	bin := filepath.Join(b.dir, "rootfs", "bin")
	for _, d := range []string{bin, filepath.Join(b.dir, "rootfs", "etc"), filepath.Join(b.dir, "rootfs", "proc"), filepath.Join(b.dir, "rootfs", "dev")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	box, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("busybox-static: %v", err)
	}
	put(t, filepath.Join(bin, "busybox"), box, 0o755)
	for _, name := range []string{"sh", "true", "cat", "nc", "sleep"} {
		if err := os.Symlink("busybox", filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	put(t, filepath.Join(b.dir, "rootfs/etc/passwd"), []byte("root:x:0:0::/:/bin/sh\nboxuser:x:4711:4711::/:/bin/sh\n"), 0o644)
	put(t, filepath.Join(b.dir, "rootfs/etc/group"), []byte("root:x:0:\n"), 0o644)
	spec := map[string]any{
		"ociVersion": "1.0.2", "hostname": "box",
		"root": map[string]any{"path": "rootfs"},
		"process": map[string]any{
			"args": args, "cwd": "/", "env": []string{"PATH=/bin"}, "user": map[string]any{"uid": 4711, "gid": 4711}, "noNewPrivileges": true,
		},
		"mounts": []map[string]any{{"destination": "/proc", "type": "proc", "source": "proc"}},
		"linux": map[string]any{
			"cgroupsPath": fmt.Sprintf("/tiercel-test-%d/kubepods/besteffort/pod%s/%s", os.Getpid(), b.uid, b.id),
			// the network stays the host's: the connection goes to a listener of this test on loopback
			"namespaces": []map[string]any{{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"}},
		},
	}
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(b.dir, "config.json"), text, 0o644)
	t.Cleanup(func() { b.runc(t, "delete", "--force", b.name()); removeCgroups(t) })
	return b
}

func put(t testing.TB, name string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, data, mode); err != nil {
		t.Fatal(err)
	}
}

func (b *bundle) name() string { return "tiercel-test-" + b.id[:16] }

func (b *bundle) runc(t testing.TB, args ...string) {
	t.Helper()
	cmd := exec.Command("runc", append([]string{"--root", b.root}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("runc %v: %v\n%s", args, err, out)
	}
}

// removeCgroups removes what runc leaves of the path above the container, in every hierarchy.
func removeCgroups(t testing.TB) {
	t.Helper()
	tops, err := filepath.Glob(fmt.Sprintf("/sys/fs/cgroup/*/tiercel-test-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	for _, top := range append(tops, fmt.Sprintf("/sys/fs/cgroup/tiercel-test-%d", os.Getpid())) {
		var dirs []string
		_ = filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			_ = os.Remove(dirs[i])
		}
	}
}

// TestContainer: exec, open and connect inside a real container carry its id, its pod's uid and its own users' names, and so do 300
// processes that are gone before anybody could look at them.
func TestContainer(t *testing.T) {
	const short = 300
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	port := fmt.Sprint(ln.Addr().(*net.TCPAddr).Port)
	_, got := live(t, strings.ReplaceAll(kernelRules, "%PORT%", port))
	b := newBundle(t, "/bin/sh", "-c", fmt.Sprintf(
		"/bin/cat /etc/passwd >/dev/null; /bin/nc 127.0.0.1 %s </dev/null; i=0; while [ $i -lt %d ]; do /bin/busybox true; i=$((i+1)); done", port, short))
	b.runc(t, "run", "--bundle", b.dir, b.name())

	seen := map[string]int{}
	want := map[string]int{"Exec in container": short + 3, "Open in container": 1, "Connect in container": 1} // sh, cat, nc
	for {
		enough := true
		for rule, n := range want {
			enough = enough && seen[rule] >= n
		}
		if enough {
			break
		}
		ev := receive(t, got)
		m, fields := fieldsOf(t, ev)
		if m.Target.ContainerID != b.id {
			if cmd := fields["proc.cmdline"]; ev.Rule == "Connect in container" || cmd == "busybox true" {
				t.Errorf("%s of %v: container %q", ev.Rule, cmd, m.Target.ContainerID)
				seen[ev.Rule]++
			}
			continue // another test's container
		}
		if strings.HasPrefix(fmt.Sprint(fields["proc.cmdline"]), "runc") {
			continue
		}
		seen[ev.Rule]++
		if m.Target.PodUID != b.uid || fields["k8s.pod.uid"] != b.uid || fields["container.id"] != b.id[:12] {
			t.Errorf("%s: pod uid %q, fields %v", ev.Rule, m.Target.PodUID, fields)
		}
		if fields["user.name"] != "boxuser" || fields["proc.vpid"] == fields["proc.pid"] {
			t.Errorf("%s of %v: user %v, vpid %v, pid %v", ev.Rule, fields["proc.cmdline"], fields["user.name"], fields["proc.vpid"], fields["proc.pid"])
		}
		switch ev.Rule {
		case "Open in container":
			if fields["proc.name"] != "cat" || fields["proc.pname"] != "sh" || fields["fd.name"] != "/etc/passwd" {
				t.Errorf("open: %v", fields)
			}
		case "Connect in container":
			if got := fmt.Sprint(fields["fd.name"]); fields["fd.sip"] != "127.0.0.1" || !strings.HasSuffix(got, "->127.0.0.1:"+port) || fields["fd.l4proto"] != "tcp" {
				t.Errorf("connect: %v", fields)
			}
		}
	}
	t.Logf("events by rule: %v", seen)
}
