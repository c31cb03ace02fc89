//go:build kernel

package kernel

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"golang.org/x/sys/unix"
)

var openTypes = []field.EventType{field.EventOpen, field.EventOpenat, field.EventOpenat2, field.EventCreat}

func init() {
	// openat FILE...: opens each in the current directory and in the directory "dir" of it, by all calls.
	addChild("open", func(args []string) error {
		dir, err := unix.Open("dir", unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		if dir, err = unix.FcntlInt(uintptr(dir), unix.F_DUPFD, 100); err != nil {
			return err
		}
		_, _ = unix.Openat(unix.AT_FDCWD, "plain", unix.O_RDWR|unix.O_CREAT, 0o640)
		_, _ = unix.Openat(dir, "../link", unix.O_RDONLY, 0)
		_, _ = unix.Openat(dir, "absent", unix.O_RDONLY, 0)
		_, _ = unix.Openat2(dir, "/inside", &unix.OpenHow{Flags: unix.O_RDONLY, Resolve: unix.RESOLVE_IN_ROOT})
		_, _ = unix.Openat2(dir, "../plain", &unix.OpenHow{Flags: unix.O_RDONLY, Resolve: unix.RESOLVE_BENEATH})
		return legacyOpens()
	})
}

func TestOpen(t *testing.T) {
	w := start(t, func(ev *event.Event) bool { return openSet.Has(ev.Type) }, openTypes...)
	tmp := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(tmp, "dir"), 0o755), os.WriteFile(filepath.Join(tmp, "dir/inside"), nil, 0o600), os.Symlink("dir/inside", filepath.Join(tmp, "link"))); err != nil {
		t.Fatal(err)
	}
	cmd := child(t, "open")
	cmd.Dir = tmp
	pid := run(t, cmd)
	const regular, directory = unix.S_IFREG >> 12, unix.S_IFDIR >> 12
	inside := event.Path{Dir: tmp + "/dir", Resolved: tmp + "/dir/inside"}
	for _, want := range append([]openCase{
		{field.EventOpenat, "dir", 0, event.Open{Path: event.Path{Raw: "dir", Dir: tmp, Resolved: tmp + "/dir"}, DirFD: unix.AT_FDCWD, Flags: unix.O_DIRECTORY, Type: directory}},
		{field.EventOpenat, "plain", 0, event.Open{Path: event.Path{Raw: "plain", Dir: tmp, Resolved: tmp + "/plain"}, DirFD: unix.AT_FDCWD, Flags: unix.O_RDWR | unix.O_CREAT, Mode: 0o640, Type: regular, Created: true}},
		{field.EventOpenat, "../link", 0, event.Open{Path: event.Path{Raw: "../link", Dir: inside.Dir, Resolved: inside.Resolved}, DirFD: 100, Type: regular}},
		{field.EventOpenat, "absent", -int64(unix.ENOENT), event.Open{Path: event.Path{Raw: "absent", Dir: inside.Dir}, DirFD: 100}},
		{field.EventOpenat2, "/inside", 0, event.Open{Path: event.Path{Raw: "/inside", Dir: inside.Dir, Resolved: inside.Resolved}, DirFD: 100, How: unix.RESOLVE_IN_ROOT, Type: regular}},
		{field.EventOpenat2, "../plain", -int64(unix.EXDEV), event.Open{Path: event.Path{Raw: "../plain", Dir: inside.Dir}, DirFD: 100, How: unix.RESOLVE_BENEATH}},
	}, legacyCases(tmp)...) {
		t.Run(want.typ.String()+" "+want.raw, func(t *testing.T) {
			ev := w.find(t, "event", func(ev *event.Event) bool {
				return ev.Task.PID == pid && ev.Type == want.typ && ev.Open.Path.Raw == want.raw
			})
			got := ev.Open
			if want.result < 0 && ev.Result != want.result || want.result >= 0 && ev.Result < 0 {
				t.Errorf("result: got %d, want %d", ev.Result, want.result)
			}
			if ev.Result >= 0 {
				var st unix.Stat_t
				if err := unix.Stat(got.Path.Resolved, &st); err != nil {
					t.Fatal(err)
				}
				want.open.Dev, want.open.Ino = uint32(st.Dev), st.Ino
				want.open.Flags |= got.Flags & unix.O_LARGEFILE
				want.open.UpperLayer, want.open.LowerLayer = got.UpperLayer, got.LowerLayer
			}
			if diff := cmp.Diff(want.open, got); diff != "" {
				t.Errorf("open (-want +got):\n%s", diff)
			}
		})
	}
}

var openSet = field.NewEventSet(openTypes...)

type openCase struct {
	typ    field.EventType
	raw    string
	result int64
	open   event.Open
}
