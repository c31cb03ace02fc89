//go:build kernel && amd64

package kernel

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"golang.org/x/sys/unix"
)

func TestIA32(t *testing.T) {
	prog := os.Getenv("TIERCEL_TEST_IA32") // as built, where there is no compiler
	if prog == "" {
		prog = filepath.Join(t.TempDir(), "ia32")
		build := exec.Command("go", "build", "-o", prog, "testdata/ia32.go")
		build.Env = append(build.Environ(), "GOARCH=386", "CGO_ENABLED=0")
		run(t, build)
	}
	types := []field.EventType{field.EventOpenat, field.EventConnect, field.EventUnlink, field.EventUnlinkat, field.EventExecve}
	set := field.NewEventSet(types...)
	w := start(t, func(ev *event.Event) bool { return set.Has(ev.Type) }, types...)
	dir := t.TempDir()
	pid := run(t, exec.Command(prog, dir))
	file := dir + "/thirty-two"
	of := func(typ field.EventType, more func(*event.Event) bool) *event.Event {
		ev := w.find(t, typ.String(), func(ev *event.Event) bool { return ev.Task.PID == pid && ev.Type == typ && more(ev) })
		if ev.Flags&event.Compat == 0 {
			t.Errorf("%s: no Compat flag", typ)
		}
		return ev
	}
	open := of(field.EventOpenat, func(ev *event.Event) bool { return ev.Open.Path.Raw == file })
	if open.Open.Path.Resolved != file || open.Open.Mode != 0o640 || !open.Open.Created || open.Open.DirFD != unix.AT_FDCWD {
		t.Errorf("openat: got %+v", open.Open)
	}
	connect := of(field.EventConnect, all)
	if want := netip.MustParseAddrPort("127.0.0.7:9"); connect.Socket.Remote != want || connect.Result != -int64(unix.ECONNREFUSED) {
		t.Errorf("connect: got %+v = %d, want %v", connect.Socket, connect.Result, want)
	}
	if ev := of(field.EventUnlinkat, all); ev.Path[0].Raw != file {
		t.Errorf("unlinkat: got %+v", ev.Path)
	}
	failed := of(field.EventExecve, func(ev *event.Event) bool { return ev.Result < 0 })
	if failed.Exec.Filename != "/nonexistent/program" || failed.Exec.Exe != "a0" || string(failed.Exec.Args) != "a1\x00" {
		t.Errorf("execve: got %+v", failed.Exec)
	}
}
