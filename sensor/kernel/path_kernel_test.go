//go:build kernel

package kernel

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"golang.org/x/sys/unix"
)

func init() {
	// paths: each call with two paths and some with one, relative to the current directory and to the directory "dir".
	addChild("paths", func([]string) error {
		dir, err := unix.Open("dir", unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		for _, f := range []func() error{
			func() error { return unix.Mkdirat(dir, "made", 0o750) },
			func() error { return os.WriteFile("dir/f", []byte("x"), 0o600) },
			func() error { return unix.Fchmodat(dir, "f", 0o4755, 0) },
			func() error { return unix.Linkat(dir, "f", unix.AT_FDCWD, "hard", 0) },
			func() error { return unix.Symlinkat("f", dir, "soft") },
			func() error { return unix.Renameat2(unix.AT_FDCWD, "hard", dir, "new", unix.RENAME_NOREPLACE) },
			func() error { return unix.Unlinkat(dir, "made", unix.AT_REMOVEDIR) },
		} {
			if err := f(); err != nil {
				return err
			}
		}
		_ = unix.Unlinkat(unix.AT_FDCWD, "/absent", 0)
		_ = unix.Chdir("..")
		return unix.Unlinkat(unix.AT_FDCWD, filepath.Base(mustGetenv("TIERCEL_TMP"))+"/dir/new", 0)
	})
	addChild("numbers", func([]string) error {
		_, _ = unix.PtraceGetEventMsg(1 << 30)
		_ = unix.Setuid(os.Getuid())
		_ = unix.Unshare(unix.CLONE_FS)
		fd, err := unix.MemfdCreate("payload", unix.MFD_CLOEXEC)
		if err != nil {
			return err
		}
		if err := unix.Fchmod(fd, 0o700); err != nil {
			return err
		}
		f, err := os.Create("file")
		if err != nil {
			return err
		}
		if err := unix.Fchmod(int(f.Fd()), 0o705); err != nil {
			return err
		}
		return unix.Dup3(int(f.Fd()), 50, unix.O_CLOEXEC)
	})
}

func mustGetenv(name string) string {
	v, ok := os.LookupEnv(name)
	if !ok {
		panic(name + " not set")
	}
	return v
}

func TestPaths(t *testing.T) {
	types := []field.EventType{
		field.EventMkdirat, field.EventFchmodat, field.EventLinkat, field.EventSymlinkat, field.EventRenameat2, field.EventUnlinkat,
	}
	set := field.NewEventSet(types...)
	w := start(t, func(ev *event.Event) bool { return set.Has(ev.Type) }, types...)
	tmp := t.TempDir()
	if err := os.Mkdir(filepath.Join(tmp, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := child(t, "paths")
	cmd.Dir = tmp
	cmd.Env = append(cmd.Env, "TIERCEL_TMP="+tmp)
	pid := run(t, cmd)
	dir := tmp + "/dir"
	for _, want := range []struct {
		typ    field.EventType
		result int64
		paths  [2]event.Path
		num    int // index of a number
		value  uint64
	}{
		{field.EventMkdirat, 0, [2]event.Path{{Raw: "made", Dir: dir}}, 2, 0o750},
		{field.EventFchmodat, 0, [2]event.Path{{Raw: "f", Dir: dir}}, 2, 0o4755},
		{field.EventLinkat, 0, [2]event.Path{{Raw: "f", Dir: dir}, {Raw: "hard", Dir: tmp}}, 4, 0},
		{field.EventSymlinkat, 0, [2]event.Path{{Raw: "f", Dir: tmp}, {Raw: "soft", Dir: dir}}, 0, 0},
		{field.EventRenameat2, 0, [2]event.Path{{Raw: "hard", Dir: tmp}, {Raw: "new", Dir: dir}}, 4, unix.RENAME_NOREPLACE},
		{field.EventUnlinkat, 0, [2]event.Path{{Raw: "made", Dir: dir}}, 2, unix.AT_REMOVEDIR},
		{field.EventUnlinkat, -int64(unix.ENOENT), [2]event.Path{{Raw: "/absent"}}, 2, 0},
		{field.EventUnlinkat, 0, [2]event.Path{{Raw: filepath.Base(tmp) + "/dir/new", Dir: filepath.Dir(tmp)}}, 2, 0},
	} {
		t.Run(want.typ.String()+" "+want.paths[0].Raw, func(t *testing.T) {
			ev := w.find(t, "event", func(ev *event.Event) bool {
				return ev.Task.PID == pid && ev.Type == want.typ && ev.Path[0].Raw == want.paths[0].Raw
			})
			if diff := cmp.Diff(want.paths, ev.Path); diff != "" {
				t.Errorf("paths (-want +got):\n%s", diff)
			}
			// Backend L says so where its program was kept from running: the kernel lets one of them at a time run on a processor.
			unstable := ev.Flags&event.ArgsUnstable != 0 && w.Backend() == BackendT
			if ev.Result != want.result || unstable {
				t.Errorf("result: got %d flags %x, want %d", ev.Result, ev.Flags, want.result)
			}
			if want.num != 0 && ev.Num[want.num] != want.value {
				t.Errorf("argument %d: got %#o, want %#o", want.num, ev.Num[want.num], want.value)
			}
		})
	}
}

func TestNumbersAndDescriptors(t *testing.T) {
	types := []field.EventType{
		field.EventPtrace, field.EventSetuid, field.EventUnshare, field.EventMemfdCreate, field.EventFchmod, field.EventDup3,
	}
	set := field.NewEventSet(types...)
	w := start(t, func(ev *event.Event) bool { return set.Has(ev.Type) }, types...)
	cmd := child(t, "numbers")
	cmd.Dir = t.TempDir()
	pid := run(t, cmd)
	of := func(typ field.EventType, more func(*event.Event) bool) *event.Event {
		return w.find(t, typ.String(), func(ev *event.Event) bool { return ev.Task.PID == pid && ev.Type == typ && more(ev) })
	}
	if ev := of(field.EventPtrace, all); ev.Num[0] != unix.PTRACE_GETEVENTMSG || ev.Num[1] != 1<<30 || ev.Result != -int64(unix.ESRCH) {
		t.Errorf("ptrace: got %v = %d", ev.Num, ev.Result)
	}
	if ev := of(field.EventSetuid, all); ev.Num[0] != uint64(os.Getuid()) || ev.Result != 0 {
		t.Errorf("setuid: got %v = %d", ev.Num, ev.Result)
	}
	if ev := of(field.EventUnshare, all); ev.Num[0] != unix.CLONE_FS {
		t.Errorf("unshare: got %v", ev.Num)
	}
	if ev := of(field.EventMemfdCreate, all); string(ev.Data) != "payload" || ev.Num[1] != unix.MFD_CLOEXEC {
		t.Errorf("memfd_create: got %q %v", ev.Data, ev.Num)
	}
	file := cmd.Dir + "/file"
	if ev := of(field.EventFchmod, func(ev *event.Event) bool { return ev.Num[1] == 0o705 }); ev.Open.Path.Resolved != file || ev.Open.Type != unix.S_IFREG>>12 {
		t.Errorf("fchmod: got %+v", ev.Open)
	}
	if ev := of(field.EventDup3, func(ev *event.Event) bool { return ev.Result >= 50 }); ev.Open.Path.Resolved != file || ev.Open.DirFD != 50 || ev.Result != 50 {
		t.Errorf("dup3: got %+v = %d", ev.Open, ev.Result)
	}
}
