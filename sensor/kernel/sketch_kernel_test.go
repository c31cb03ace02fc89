//go:build kernel

package kernel

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/filter"
)

var longName = strings.Repeat("long", 20)

func init() {
	// sketched DIR: opens files of DIR by paths of many forms.
	addChild("sketched", func(args []string) error {
		dir := args[0]
		x, err := unix.Open(dir+"/x", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		if err := os.Chdir(dir); err != nil {
			return err
		}
		for _, call := range []struct {
			at   int
			name string
		}{
			{unix.AT_FDCWD, dir + "/x/file.txt"},
			{unix.AT_FDCWD, "x/file.txt"},
			{x, "file.txt"},
			{unix.AT_FDCWD, dir + "/way/file.txt"},
			{unix.AT_FDCWD, "way/file.txt"},
			{unix.AT_FDCWD, dir + "/x/none.log"},
			{unix.AT_FDCWD, "x/none.log"},
			{x, "none.log"},
			{x, "../x//file.txt"},
			{unix.AT_FDCWD, "x/" + longName},
			{unix.AT_FDCWD, "out/version"},
		} {
			if fd, err := unix.Openat(call.at, call.name, unix.O_RDONLY, 0); err == nil {
				_ = unix.Close(fd)
			}
		}
		for _, from := range []string{"/", shallow(dir)} {
			if err := os.Chdir(from); err != nil {
				return err
			}
			fd, err := unix.Openat(unix.AT_FDCWD, strings.TrimPrefix(dir[len(from):], "/")+"/x/file.txt", unix.O_RDONLY, 0)
			if err := errors.Join(err, unix.Close(fd)); err != nil {
				return err
			}
		}
		return nil
	})
}

// shallow is the folder in the root that dir is in.
func shallow(dir string) string {
	first, _, _ := strings.Cut(dir[1:], "/")
	return "/" + first
}

// An open is not dropped for its sketch if the condition is true of its path, however it was passed.
func TestSketch(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{
		os.Mkdir(dir+"/x", 0o755), os.WriteFile(dir+"/x/file.txt", nil, 0o600), os.WriteFile(dir+"/x/"+longName, nil, 0o600), os.Symlink("x", dir+"/way"),
		os.Symlink("/proc", dir+"/out"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	names := map[string]string{
		dir + "/x/file.txt": "a", "x/file.txt": "b", "file.txt": "c", dir + "/way/file.txt": "d", "way/file.txt": "e", dir + "/x/none.log": "f", "x/none.log": "g", "none.log": "h",
		"../x//file.txt": "i", "x/" + longName: "j", dir[1:] + "/x/file.txt": "k", dir[len(shallow(dir))+1:] + "/x/file.txt": "l", "out/version": "m",
	}
	w := start(t, func(ev *event.Event) bool { return names[ev.Open.Path.Raw] != "" })
	for _, tt := range []struct {
		condition, want string
		told            int // how many are dropped for their sketch, at least: those of other processes count too
	}{
		{"fd.name = " + dir + "/x/file.txt", "abcdeikl", 0},
		{"fd.name = " + dir + "/way/file.txt", "dei", 0},
		{"fd.name = " + dir + "/x/none.log", "fghi", 0},
		{"fd.name = /nowhere/at/all", "i", 9},
		{"fd.directory = " + dir + "/x", "abcdefghijkl", 0},
		{"fd.directory = /", "i", 8},
		{"fd.name startswith /usr/bin", "i", 9},
		{"fd.name startswith /proc/vers", "im", 9},
		{"fd.name startswith " + dir[:len(dir)-1], "abcdefghijklm", 0},
		{"fd.name endswith none.log", "fghi", 6},
		{"fd.name endswith .log", "fghi", 6},
		{"fd.name endswith x/none.log", "fghi", 6},
		{"fd.filename = file.txt", "abcdeikl", 4},
		{"fd.name contains " + dir[len(dir)-4:], "abcdefghijklm", 0},
		{"fd.name contains g~", "i", 8}, // a long name is not looked at whole
		{"fd.name contains /way/f", "dei", 0},
		{"fd.nameraw contains ../", "i", 10},
		{"proc.name = nobody and fd.name startswith " + dir, "", 10},
		{"proc.name != nobody and fd.name = " + dir + "/x/file.txt", "abcdeikl", 0},
	} {
		p := compilePlan(t, filter.Options{Shadow: true}, "evt.type = openat and "+tt.condition)
		if err := w.Use(p, p); err != nil {
			t.Fatal(err)
		}
		before, got := openatStats(t, w.Sensor), ""
		for _, ev := range w.collect(t, run(t, child(t, "sketched", dir))) {
			if ev.Flags&event.Dropped == 0 {
				got += names[ev.Open.Path.Raw]
			}
		}
		if sorted(got) != sorted(tt.want) {
			t.Errorf("%s: %q leave, want %q", tt.condition, sorted(got), tt.want)
		}
		told := openatStats(t, w.Sensor).Dropped[filter.StageSketch] - before.Dropped[filter.StageSketch]
		if climbs(t) && told < uint64(tt.told) {
			t.Errorf("%s: %d dropped for their sketch, want %d or more", tt.condition, told, tt.told)
		}
	}
}

// Each set of rules has its own sketches: after a reload an open leaves that the rules before did not ask for, and one is dropped by its sketch
// that they did. There are more sets than the kernel keeps the sketches of at once, and they come by way of a wider one, and without.
func TestSketchReload(t *testing.T) {
	dir := t.TempDir()
	files := []string{dir + "/x.aaaa", dir + "/x.bbbb", dir + "/x.cccc"}
	for _, f := range files {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plans := make([]*filter.Plan, len(files))
	wanted := func(i int) string { return "evt.type = openat and fd.name endswith " + filepath.Base(files[i]) }
	for i := range files {
		plans[i] = compilePlan(t, filter.Options{}, wanted(i))
	}
	const calls, turns = 50, 2
	w := start(t, func(ev *event.Event) bool {
		return ev.Flags&event.Dropped == 0 && slices.Contains(files, ev.Open.Path.Raw)
	})
	for turn := range turns {
		for i := range files {
			wide := plans[i]
			if turn > 0 {
				wide = compilePlan(t, filter.Options{}, wanted((i+len(files)-1)%len(files)), wanted(i))
			}
			if err := w.Use(wide, plans[i]); err != nil {
				t.Fatal(err)
			}
			for j, f := range files {
				before := openatStats(t, w.Sensor)
				got := len(w.collect(t, run(t, child(t, "opens many", f, strconv.Itoa(calls)))))
				told := openatStats(t, w.Sensor).Dropped[filter.StageSketch] - before.Dropped[filter.StageSketch]
				switch {
				case i == j && got != calls:
					t.Errorf("turn %d, set %d: of %d opens of its file %d left", turn, i, calls, got)
				case i != j && got != 0:
					t.Errorf("turn %d, set %d: %d opens of file %d left", turn, i, got, j)
				case i != j && climbs(t) && told < calls:
					t.Errorf("turn %d, set %d: of %d opens of file %d %d were dropped for their sketch", turn, i, calls, j, told)
				}
			}
		}
	}
}

// climbs reports whether the kernel lets sketches see the files that were opened (6.2).
func climbs(t testing.TB) bool {
	t.Helper()
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	var f *btf.Func
	return spec.TypeByName("bpf_rdonly_cast", &f) == nil
}
