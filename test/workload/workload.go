// Package workload makes the work that tests and benchmarks put under a sensor: a program that opens files, starts programs or forks, paced or as
// fast as it goes, and cgroups named like those of containers to run it in. Read testdata/workload.c first.
package workload

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

//go:embed testdata/workload.c
var source string

// Build compiles the program, statically, and returns its path. It needs gcc.
func Build(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(dir, "workload")
	if err := os.WriteFile(name+".c", []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-O2", "-static", "-o", name, name+".c").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return name
}

// Start runs a command until the returned function is called, or the test ends.
func Start(t testing.TB, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // its group: what it forked too
			_ = cmd.Wait()
		}
	}
	t.Cleanup(stop)
	return stop
}

// A Cgroup is one that looks like a container's, of at most so many processes.
type Cgroup struct {
	ID   string // of the container
	dirs []string
}

// NewCgroup makes a cgroup that is removed when the test ends; what runs in it is killed then.
func NewCgroup(t testing.TB, pids int) *Cgroup {
	t.Helper()
	hex := fmt.Sprintf("%08x%08x", uint32(os.Getpid()), uint32(time.Now().UnixNano()))
	g := &Cgroup{ID: strings.Repeat(hex, 4)}
	top := fmt.Sprintf("tiercel-load-%d", os.Getpid())
	name := filepath.Join(top, "kubepods", "pod"+hex[:8]+"-0000-4000-8000-"+hex[4:], g.ID)
	roots := []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified"}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		roots = []string{"/sys/fs/cgroup"}
	}
	for _, root := range roots {
		if _, err := os.Stat(root); err != nil {
			continue
		}
		dir := filepath.Join(root, name)
		t.Cleanup(func() { remove(dir, filepath.Join(root, top)) })
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if root == "/sys/fs/cgroup" { // version 2: the controller is handed down level by level
			for d := root; d != dir; d = filepath.Join(d, strings.Split(strings.TrimPrefix(dir, d+"/"), "/")[0]) {
				if err := os.WriteFile(filepath.Join(d, "cgroup.subtree_control"), []byte("+pids"), 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		if root != "/sys/fs/cgroup/unified" {
			if err := os.WriteFile(filepath.Join(dir, "pids.max"), []byte(strconv.Itoa(pids)), 0); err != nil {
				t.Fatal(err)
			}
		}
		g.dirs = append(g.dirs, dir)
	}
	if len(g.dirs) == 0 {
		t.Fatal("no cgroups below /sys/fs/cgroup")
	}
	return g
}

// Below makes a cgroup of that name below g, as a process in g may.
func (g *Cgroup) Below(t testing.TB, name string) *Cgroup {
	t.Helper()
	below := &Cgroup{ID: g.ID}
	for _, parent := range g.dirs {
		dir := filepath.Join(parent, name)
		t.Cleanup(func() { remove(dir, dir) })
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		below.dirs = append(below.dirs, dir)
	}
	return below
}

// Command returns args as a command that runs in the cgroup.
func (g *Cgroup) Command(args ...string) []string {
	script := ""
	for _, dir := range g.dirs {
		script += "echo $$ >" + dir + "/cgroup.procs && "
	}
	return append([]string{"/bin/sh", "-c", script + `exec "$@"`, "sh"}, args...)
}

// remove kills what runs in dir and removes it and its parents up to top.
func remove(dir, top string) {
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) { //nolint:forbidigo // the kernel tells nobody when a cgroup is empty
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			break
		}
		for _, pid := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(pid); err == nil && n > 1 {
				_ = syscall.Kill(n, syscall.SIGKILL)
			}
		}
		if os.Remove(dir) == nil {
			break
		}
	}
	for d := filepath.Dir(dir); len(d) >= len(top); d = filepath.Dir(d) {
		if os.Remove(d) != nil {
			return // others are in it
		}
	}
}
