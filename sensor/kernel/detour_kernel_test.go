//go:build kernel

package kernel

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
)

func init() {
	// detours DIR: opens DIR/secret/file below a bind mount of DIR/secret, and below DIR/secret as its root.
	addChild("detours", func(args []string) error {
		runtime.LockOSThread() // what is its own from here on is this thread's alone
		dir := args[0]
		open := func(name string) error {
			fd, err := unix.Open(name, unix.O_RDONLY, 0)
			return errors.Join(err, unix.Close(fd))
		}
		return errors.Join(
			unix.Unshare(unix.CLONE_NEWNS|unix.CLONE_FS),
			unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount(dir+"/secret", dir+"/bound", "", unix.MS_BIND, ""),
			unix.Chdir(dir),
			open(dir+"/bound/file"),
			open("bound/./file"),
			unix.Unmount(dir+"/bound", 0), // or the kernel does it some time after the end, when the test removes dir
			unix.Chroot(dir+"/secret"),
			unix.Chdir("/"),
			open("/file"),
			open(".//file"),
		)
	})
}

// A file that was opened through a bind mount or below another root directory is what it is without: the path as passed is beside that.
func TestDetours(t *testing.T) {
	w := start(t, func(ev *event.Event) bool { return openSet.Has(ev.Type) }, openTypes...)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.Mkdir(dir+"/bound", 0o700), os.Mkdir(dir+"/secret", 0o700), os.WriteFile(dir+"/secret/file", nil, 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	secret := dir + "/secret/file"
	if !onRoot(t, dir) {
		secret = dir + "/bound/file" // the mount is of another file system than the root, and could be of any part of it
	}
	pid := run(t, child(t, "detours", dir))
	for _, want := range []event.Path{
		{Raw: dir + "/bound/file", Resolved: secret},
		{Raw: "bound/./file", Dir: dir, Resolved: secret},
		{Raw: "/file", Resolved: dir + "/secret/file"},
		{Raw: ".//file", Dir: "/", Resolved: dir + "/secret/file"},
	} {
		ev := w.find(t, want.Raw, func(ev *event.Event) bool { return ev.Task.PID == pid && ev.Open.Path.Raw == want.Raw })
		if ev.Type != field.EventOpenat && ev.Type != field.EventOpen || ev.Open.Path != want {
			t.Errorf("%s: got %+v, want %+v", ev.Type, ev.Open.Path, want)
		}
	}
}

// onRoot reports whether dir is on the file system of the root directory.
func onRoot(t *testing.T, dir string) bool {
	t.Helper()
	var a, b unix.Stat_t
	if err := errors.Join(unix.Stat("/", &a), unix.Stat(dir, &b)); err != nil {
		t.Fatal(err)
	}
	return a.Dev == b.Dev
}
