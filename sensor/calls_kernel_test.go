//go:build kernel

package sensor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// callsEnv makes this program make the calls of TestCalls, below the directory it names.
const callsEnv = "TIERCEL_SENSOR_TEST_CALLS"

// makeCalls makes one call of each kind, in the directory dir.
func makeCalls(dir string) error {
	runtime.LockOSThread()
	if err := unix.Chdir(dir); err != nil {
		return err
	}
	dirfd, err := unix.Open(".", unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	var errs []string
	try := func(what string, err error) {
		if err != nil {
			errs = append(errs, what+": "+err.Error())
		}
	}
	fd, err := unix.Openat(dirfd, "made", unix.O_CREAT|unix.O_RDWR|unix.O_EXCL, 0o755)
	try("openat", err)
	_, err = unix.Open("absent", unix.O_RDONLY, 0)
	if !errors.Is(err, unix.ENOENT) {
		errs = append(errs, fmt.Sprintf("open absent: %v", err))
	}
	try("fchmod", unix.Fchmod(fd, 0o4711))
	try("fchmodat", unix.Fchmodat(dirfd, "made", 0o700, 0))
	try("mkdirat", unix.Mkdirat(dirfd, "sub", 0o700))
	try("renameat2", unix.Renameat2(dirfd, "made", dirfd, "sub/../moved", unix.RENAME_NOREPLACE))
	try("linkat", unix.Linkat(dirfd, "moved", unix.AT_FDCWD, "hard", 0))
	try("symlinkat", unix.Symlinkat("../nowhere", dirfd, "soft"))
	try("unlinkat", unix.Unlinkat(dirfd, "hard", 0))
	try("rmdir", unix.Unlinkat(dirfd, "sub", unix.AT_REMOVEDIR))
	_, err = unix.MemfdCreate("payload", unix.MFD_CLOEXEC)
	try("memfd_create", err)
	_, err = unix.Dup(fd)
	try("dup", err)
	pk, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	try("socket", err)
	_ = unix.Close(pk)
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_ATTACH, 1<<30, 0, 0, 0, 0)
	if errno != unix.ESRCH {
		errs = append(errs, "ptrace: "+errno.Error())
	}
	_, _, errno = unix.Syscall(unix.SYS_BPF, 5, uintptr(unsafe.Pointer(&[8]byte{})), 8)
	if errno == 0 {
		errs = append(errs, "bpf loaded a program of nothing")
	}
	try("unshare", unix.Unshare(unix.CLONE_FS))
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	try("listen", err)
	go func() { c, _ := net.Dial("tcp4", ln.Addr().String()); _ = c.Close() }()
	_, err = ln.Accept()
	try("accept", err)
	u, err := net.Dial("udp4", "127.0.0.1:9")
	try("dial udp", err)
	_, err = u.Write([]byte("cafe"))
	try("write udp", err)
	raw, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	try("socket udp", err)
	try("sendto", unix.Sendto(raw, []byte("babe"), 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}))
	try("setuid", unix.Setuid(os.Getuid()))
	try("kill", unix.Kill(os.Getpid(), unix.SIGCONT))
	if len(errs) > 0 {
		return fmt.Errorf("%s", strings.Join(errs, "; "))
	}
	return nil
}

// TestCalls makes calls of many kinds in a process and compares what rules see of them.
func TestCalls(t *testing.T) {
	dir := t.TempDir()
	const rule = "- rule: %s\n  desc: d\n  condition: evt.type=%s and proc.cmdline contains %q\n  output: \"%%evt.type\"\n  priority: DEBUG\n"
	want := []struct {
		typ    string
		fields map[string]any
	}{
		{"openat", map[string]any{
			"fd.name": dir + "/made", "fd.nameraw": "made", "evt.is_open_create": true, "evt.is_open_write": true, "evt.arg.mode": "0755",
			"evt.arg.flags": "O_EXCL|O_CREAT|O_RDWR|O_F_CREATED", "fd.typechar": "f", "evt.res": "SUCCESS",
		}},
		{"fchmod", map[string]any{"fd.name": dir + "/made", "evt.args": ""}},
		{"fchmodat", map[string]any{"fs.path.name": dir + "/made"}},
		{"mkdirat", map[string]any{"fs.path.name": dir + "/sub", "evt.res": "SUCCESS"}},
		{"renameat2", map[string]any{"fs.path.source": dir + "/made", "fs.path.target": dir + "/moved"}},
		{"linkat", map[string]any{"fs.path.target": dir + "/moved", "fs.path.source": dir + "/hard"}},
		{"symlinkat", map[string]any{"fs.path.target": "../nowhere", "fs.path.source": dir + "/soft"}},
		{"unlinkat", map[string]any{"fs.path.name": dir + "/hard"}},
		{"memfd_create", map[string]any{"evt.args": "", "fd.type": "memfd"}},
		{"dup", map[string]any{"fd.name": dir + "/moved"}},
		{"socket", map[string]any{"evt.args": "", "fd.typechar": "o"}},
		{"ptrace", map[string]any{"evt.res": "ESRCH"}},
		{"bpf", map[string]any{}},
		{"unshare", map[string]any{"evt.res": "SUCCESS"}},
		{"listen", map[string]any{"fd.sip": "127.0.0.1", "fd.typechar": "2"}},
		{"accept4", map[string]any{"fd.sip": "127.0.0.1", "fd.cip": "127.0.0.1", "fd.is_server": true, "fd.l4proto": "tcp"}},
		{"connect", map[string]any{"fd.sip": "127.0.0.1", "fd.typechar": "4"}},
		{"sendto", map[string]any{"fd.rip": "127.0.0.1", "fd.rport": 9.0, "fd.l4proto": "udp"}},
		{"setuid", map[string]any{"evt.args": "res=0 uid=0(root)"}},
		{"kill", map[string]any{"evt.res": "SUCCESS"}},
	}
	args := map[string]string{ // parts of evt.args that a type must have
		"fchmod": "mode=04711(S_IXOTH|S_IXGRP|S_IXUSR|S_IWUSR|S_IRUSR|S_ISUID)", "memfd_create": "name=payload flags=1(MFD_CLOEXEC)",
		"socket": "domain=17(AF_PACKET) type=3", "ptrace": "request=16(PTRACE_ATTACH)", "bpf": "cmd=5(BPF_PROG_LOAD)",
		"unshare": "flags=512(CLONE_FS)", "kill": "sig=18(SIGCONT)", "renameat2": "flags=1(RENAME_NOREPLACE)", "linkat": "newpath=hard(" + dir + "/hard)",
	}
	var text strings.Builder
	for _, w := range want {
		fmt.Fprintf(&text, rule, "Saw "+w.typ, w.typ, "sees-"+filepath.Base(filepath.Dir(dir)))
	}
	_, got := live(t, text.String())
	cmd := exec.Command(os.Args[0], "sees-"+filepath.Base(filepath.Dir(dir)))
	cmd.Env = append(os.Environ(), callsEnv+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	seen := map[string][]map[string]any{}
	last := want[len(want)-1].typ
	for len(seen[last]) == 0 {
		_, fields := fieldsOf(t, receive(t, got))
		typ := fields["evt.type"].(string)
		seen[typ] = append(seen[typ], fields)
	}
	for _, w := range want {
		var diffs []string
		found := false
		for _, fields := range seen[w.typ] { // the runtime of the program makes calls of its own
			var diff []string
			for name, v := range w.fields {
				if name == "evt.args" && v == "" {
					continue
				}
				if fields[name] != v {
					diff = append(diff, fmt.Sprintf("%s is %v, want %v", name, fields[name], v))
				}
			}
			if part := args[w.typ]; !strings.Contains(fmt.Sprint(fields["evt.args"]), part) {
				diff = append(diff, fmt.Sprintf("evt.args is %v, want …%s…", fields["evt.args"], part))
			}
			found = found || len(diff) == 0
			diffs = append(diffs, strings.Join(diff, ", "))
		}
		if !found {
			t.Errorf("%s: %d seen:\n%s", w.typ, len(diffs), strings.Join(diffs, "\n"))
		}
	}
}
