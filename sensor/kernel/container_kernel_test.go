//go:build kernel

package kernel

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"golang.org/x/sys/unix"
)

// newCgroup makes a cgroup in the v2 hierarchy and returns its directory.
func newCgroup(t testing.TB, name string) string {
	t.Helper()
	root, err := FindCgroup2("/")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, fmt.Sprintf("tiercel-test-%d-%s", os.Getpid(), name))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeCgroup(t, dir) })
	return dir
}

// removeCgroup removes the cgroup at dir, whose last process may be on its way out.
func removeCgroup(t testing.TB, dir string) {
	t.Helper()
	for until := time.Now().Add(waitTime); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Rmdir(dir)
		if err == nil {
			return
		}
		if time.Now().After(until) || !errors.Is(err, unix.EBUSY) {
			t.Errorf("remove cgroup: %v", err)
			return
		}
	}
}

// in makes cmd start in the cgroup at dir.
func in(t testing.TB, dir string, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	cmd.SysProcAttr = &unix.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
	return cmd
}

// cgroupID is the id by which the kernel knows the cgroup at dir.
func cgroupID(t testing.TB, dir string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func TestCgroupPath(t *testing.T) {
	w := start(t, all)
	dir := newCgroup(t, "path")
	id := cgroupID(t, dir)
	made := w.find(t, "cgroup", func(ev *event.Event) bool { return ev.Cgroup.ID == id && !ev.Cgroup.V1 })
	if want := "/" + filepath.Base(dir); made.Cgroup.Path != want || made.Flags&event.ProcessOnly == 0 || made.Type != 0 {
		t.Errorf("got %+v flags %x, want path %s", made.Cgroup, made.Flags, want)
	}
	pid := run(t, in(t, dir, child(t, "nothing")))
	ev := w.find(t, "exec", func(ev *event.Event) bool { return ev.Task.PID == pid && ev.Type == field.EventExecve })
	if ev.Task.CgroupID != id || ev.Flags&event.CgroupV1 != 0 {
		t.Errorf("task's cgroup: got %d, want %d", ev.Task.CgroupID, id)
	}
	gone := filepath.Join(dir, "inner")
	if err := os.Mkdir(gone, 0o755); err != nil {
		t.Fatal(err)
	}
	inner := cgroupID(t, gone)
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	w.find(t, "release", func(ev *event.Event) bool { return ev.Cgroup.ID == inner && ev.Cgroup.Path == "" })
}

// Processes that are gone before anybody could look at /proc have a cgroup with a path and a parent all the same.
func TestShortLived(t *testing.T) {
	n := rounds(300)
	w := start(t, all, field.EventExecve) // before the cgroup: its path comes once
	dir := newCgroup(t, "short")
	pids := map[uint32]bool{}
	for range n {
		cmd := in(t, dir, exec.Command("/bin/true"))
		pids[run(t, cmd)] = true
	}
	id := cgroupID(t, dir)
	paths, starts, execs := map[uint64]string{}, map[uint32]uint64{}, 0
	for deadline := time.After(waitTime); execs < n; {
		var ev *event.Event
		select {
		case ev = <-w.events:
		case <-deadline:
			st, err := w.Stats()
			t.Fatalf("%d of %d execs arrived; rings and what they lost: %+v (%v)", execs, n, st.Rings, err)
		}
		switch {
		case ev.Cgroup.Path != "":
			paths[ev.Cgroup.ID] = ev.Cgroup.Path
		case ev.Fork.ChildPID != 0:
			starts[ev.Fork.ChildPID] = ev.Fork.ChildStartNS
		case ev.Type == field.EventExecve && pids[ev.Task.PID]:
			execs++
			if ev.Task.CgroupID != id || paths[id] != "/"+filepath.Base(dir) {
				t.Errorf("process %d: cgroup %d with path %q, want %d", ev.Task.PID, ev.Task.CgroupID, paths[ev.Task.CgroupID], id)
			}
			if starts[ev.Task.PID] != ev.Task.StartNS {
				t.Errorf("process %d: started at %d, forked at %d", ev.Task.PID, ev.Task.StartNS, starts[ev.Task.PID])
			}
		}
	}
}

func TestSnapshot(t *testing.T) {
	dir := newCgroup(t, "snapshot")
	cmd := in(t, dir, exec.Command("/bin/sleep", "3600"))
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"MARK=1"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	s, err := Open(backend())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	id := cgroupID(t, dir)
	var path string
	var task *event.Event
	seen := map[uint32]bool{}
	if err := s.Snapshot(func(ev *event.Event) {
		switch {
		case ev.Cgroup.ID == id:
			path = ev.Cgroup.Path
		case ev.Task.PID == uint32(cmd.Process.Pid):
			task = ev.Clone()
		}
		if ev.Type == field.EventProcinfo {
			if ev.Task.PPID != 0 && !seen[ev.Task.PPID] && ev.Task.PPID > 2 && ev.Task.ParentStartNS < ev.Task.StartNS {
				t.Errorf("process %d comes before its parent %d", ev.Task.PID, ev.Task.PPID)
			}
			seen[ev.Task.PID] = true
		}
	}); err != nil {
		t.Fatal(err)
	}
	if path != "/"+filepath.Base(dir) {
		t.Errorf("cgroup: got path %q", path)
	}
	if task == nil {
		t.Fatal("no record of the process")
	}
	exe, err := filepath.EvalSymlinks("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	x := task.Exec
	if x.ExePath != exe || x.Exe != "/bin/sleep" || string(x.Args) != "3600\x00" || string(x.Env) != "MARK=1\x00" || x.Cwd != cmd.Dir || x.Ino == 0 {
		t.Errorf("got %+v", x)
	}
	if task.Task.CgroupID != id || task.Task.Comm != "sleep" || task.Flags&event.ProcessOnly == 0 {
		t.Errorf("got %+v", task.Task)
	}
	for _, pid := range []uint32{uint32(os.Getppid()), uint32(os.Getpid())} {
		if !seen[pid] {
			t.Errorf("process %d is missing", pid)
		}
	}
}
