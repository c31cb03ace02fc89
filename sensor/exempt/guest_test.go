package exempt

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

const guestUser = 65532

// trace starts cmd under ptrace and lets it run.
func trace(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: a tracer is a thread
		err := cmd.Start()
		started <- err
		for err == nil {
			var ws syscall.WaitStatus
			if _, err = syscall.Wait4(cmd.Process.Pid, &ws, 0, nil); err != nil || ws.Exited() || ws.Signaled() {
				return
			}
			pass := 0
			if ws.StopSignal() != syscall.SIGTRAP {
				pass = int(ws.StopSignal())
			}
			err = syscall.PtraceCont(cmd.Process.Pid, pass)
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
}

// publicDir is a directory that every user may pass, and has the test's program in it.
func publicDir(t *testing.T) (dir, program string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "tiercel-exempt-") //nolint:usetesting // that of the test is root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program = filepath.Join(dir, "program")
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, b, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir, program
}

// A process of a user that is listed is exempt if nobody but root could have changed it: each way in which somebody could is a refusal.
func TestGuests(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: no process of another user can be started")
	}
	dir, program := publicDir(t)
	path, k := filepath.Join(dir, "self", "self.sock"), newFakeKernel()
	s, _, _ := serve(t, path, k, guestUser)
	for _, st := range []struct {
		name string
		mode os.FileMode
	}{{path, os.ModeSocket | 0o666}, {filepath.Dir(path), os.ModeDir | 0o711}} {
		if is, err := os.Stat(st.name); err != nil || is.Mode() != st.mode {
			t.Errorf("%s: got %v (%v), want %v", st.name, is.Mode(), err, st.mode)
		}
	}
	other := filepath.Join(dir, "other")
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, append(b, 'x'), 0o755); err != nil {
		t.Fatal(err)
	}
	guest, first := &syscall.Credential{Uid: guestUser, Gid: guestUser}, uintptr(syscall.CLONE_NEWPID)
	tests := []struct {
		name, program, reason string
		attr                  syscall.SysProcAttr
		open                  bool // not sealed
		want                  error
	}{
		{"first of a container", program, "", syscall.SysProcAttr{Credential: guest, Cloneflags: first}, false, nil},
		{"of a user that is not listed", program, "user", syscall.SysProcAttr{Credential: &syscall.Credential{Uid: guestUser - 1, Gid: guestUser}, Cloneflags: first}, false, errUser},
		{"started by its own user, perhaps", program, "first", syscall.SysProcAttr{Credential: guest}, false, errNotFirst},
		{"open to its own user", program, "open", syscall.SysProcAttr{Credential: guest, Cloneflags: first}, true, errOpen},
		{"traced", program, "traced", syscall.SysProcAttr{Credential: guest, Cloneflags: first, Ptrace: true}, false, errTraced},
		{"in a user namespace", program, "namespace", syscall.SysProcAttr{
			Cloneflags:  first | syscall.CLONE_NEWUSER,
			Credential:  &syscall.Credential{NoSetGroups: true}, // root in there, the guest's user outside
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: guestUser, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: guestUser, Size: 1}},
		}, false, errUserNamespace},
		{"of another program", other, "program", syscall.SysProcAttr{Credential: guest, Cloneflags: first}, false, errProgram},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			seal := askEnv + "_SEAL=1"
			if tt.open {
				seal = askEnv + "_SEAL="
			}
			a := askAs(t, tt.program, path, &tt.attr, seal)
			if tt.want == nil {
				if a.answer != "exempt <nil>\n" {
					t.Fatalf("got %q", a.answer)
				}
				k.wait(t, a.cmd.Process.Pid, true)
				a.end()
				k.wait(t, a.cmd.Process.Pid, false)
				return
			}
			if a.answer != denied+tt.want.Error()+" <nil>\n" {
				t.Errorf("got %q, want %q", a.answer, tt.want)
			}
			if n := testutil.ToFloat64(s.refused.WithLabelValues(tt.reason)); n != 1 {
				t.Errorf("%v refusals for the reason %s were counted, want 1", n, tt.reason)
			}
		})
	}
}

// A directory that guests cannot pass is an error that says what to do, not one whose mode is changed: other things may be in it.
func TestGuestsShutOut(t *testing.T) {
	path := socket(t)
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(t.Context(), path, true); err == nil || !strings.Contains(err.Error(), "chmod go+x "+filepath.Dir(path)) {
		t.Errorf("got %v", err)
	}
}
