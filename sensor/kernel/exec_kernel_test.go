//go:build kernel

package kernel

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"golang.org/x/sys/unix"
)

func init() {
	// failexec: tries to run what is not there.
	addChild("failexec", func([]string) error {
		_ = unix.Exec("absent", []string{"zero", "one"}, nil)
		return nil
	})
	// memfd: runs a program that has no file.
	addChild("memfd", func([]string) error {
		in, err := os.Open("/bin/true")
		if err != nil {
			return err
		}
		fd, err := unix.MemfdCreate("payload", 0)
		if err != nil {
			return err
		}
		if _, err := io.Copy(os.NewFile(uintptr(fd), "payload"), in); err != nil {
			return err
		}
		return unix.Exec(fmt.Sprintf("/proc/self/fd/%d", fd), []string{"harmless"}, nil)
	})
	// rename: takes another name, then opens a file.
	addChild("rename", func([]string) error {
		name := [16]byte{'s', 's', 'h', 'd'}
		if err := unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name)), 0, 0, 0); err != nil {
			return err
		}
		_, _ = unix.Open("/nonexistent/renamed", unix.O_RDONLY, 0)
		return nil
	})
	// deep N: opens a file below N directories, made one by one.
	addChild("deep", func(args []string) error {
		var n int
		if _, err := fmt.Sscan(args[0], &n); err != nil {
			return err
		}
		for range n {
			if err := os.Mkdir("d", 0o700); err != nil {
				return err
			}
			if err := unix.Chdir("d"); err != nil {
				return err
			}
		}
		return os.WriteFile("leaf", nil, 0o600)
	})
}

func TestExecFails(t *testing.T) {
	w := start(t, all, field.EventExecve)
	cmd := child(t, "failexec")
	cmd.Dir = t.TempDir()
	pid := run(t, cmd)
	ev := w.find(t, "failed exec", func(ev *event.Event) bool { return ev.Task.PID == pid && ev.Type == field.EventExecve && ev.Result < 0 })
	if x := ev.Exec; x.Filename != "absent" || x.Exe != "zero" || string(x.Args) != "one\x00" || x.Cwd != cmd.Dir || ev.Result != -int64(unix.ENOENT) {
		t.Errorf("got %+v = %d", x, ev.Result)
	}
}

func TestExecFlags(t *testing.T) {
	w := start(t, all, field.EventExecve)
	pid := run(t, child(t, "memfd"))
	of := func(pid uint32, what string, ok func(*event.Event) bool) *event.Event {
		return w.find(t, what, func(ev *event.Event) bool { return ev.Task.PID == pid && ev.Type == field.EventExecve && ok(ev) })
	}
	memfd := of(pid, "exec of a memfd", func(ev *event.Event) bool { return ev.Exec.Exe == "harmless" })
	if memfd.Exec.Flags&event.ExeFromMemfd == 0 || !strings.Contains(memfd.Exec.ExePath, "memfd:payload") {
		t.Errorf("memfd: got flags %x of %q", memfd.Exec.Flags, memfd.Exec.ExePath)
	}
	if first := of(pid, "first exec", func(ev *event.Event) bool { return ev.Exec.Exe == os.Args[0] }); memfd.Task.ExecGen != first.Task.ExecGen+1 || first.Exec.Flags&event.ExeFromMemfd != 0 {
		t.Errorf("generations %d, %d; flags %x", first.Task.ExecGen, memfd.Task.ExecGen, first.Exec.Flags)
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexit 0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	sh, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	ev := of(run(t, exec.Command(script)), "script", all)
	if ev.Exec.Filename != script || ev.Exec.ExePath != sh || ev.Task.Comm != "script" {
		t.Errorf("script: got %+v by %q", ev.Exec, ev.Task.Comm)
	}
	long := exec.Command("/bin/true", strings.Repeat("x", 10_000))
	if ev := of(run(t, long), "long", all); ev.Flags&event.ArgsTruncated == 0 || len(ev.Exec.Args) < 4000 {
		t.Errorf("long arguments: got %d bytes, flags %x", len(ev.Exec.Args), ev.Flags)
	}
}

// A program that renames itself keeps the name under which it was started.
func TestNameIsOfExec(t *testing.T) {
	w := start(t, all, openTypes...)
	pid := run(t, child(t, "rename"))
	ev := w.find(t, "open", func(ev *event.Event) bool { return ev.Task.PID == pid && ev.Open.Path.Raw == "/nonexistent/renamed" })
	if want := filepath.Base(os.Args[0]); ev.Task.Comm != want[:min(15, len(want))] {
		t.Errorf("got name %q, want %q", ev.Task.Comm, want)
	}
}

func TestDeepPaths(t *testing.T) {
	w := start(t, func(ev *event.Event) bool { return openSet.Has(ev.Type) }, openTypes...)
	for _, tt := range []struct {
		depth   string
		n       int
		unknown bool
	}{{"100", 100, false}, {"240", 240, false}, {"300", 300, true}} {
		t.Run(tt.depth, func(t *testing.T) {
			cmd := child(t, "deep", tt.depth)
			cmd.Dir = t.TempDir()
			pid := run(t, cmd)
			ev := w.find(t, "open", func(ev *event.Event) bool { return ev.Task.PID == pid && ev.Open.Path.Raw == "leaf" })
			want := cmd.Dir + strings.Repeat("/d", tt.n) + "/leaf"
			if tt.unknown {
				want = ""
			}
			if ev.Open.Path.Resolved != want || (ev.Flags&event.PathTruncated != 0) != tt.unknown || ev.Result < 0 {
				t.Errorf("got %q, flags %x, want %q", ev.Open.Path.Resolved, ev.Flags, want)
			}
		})
	}
}
