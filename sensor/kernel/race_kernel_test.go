//go:build kernel

package kernel

import (
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"golang.org/x/sys/unix"
)

// raceRounds is how many calls race: fewer where TIERCEL_TEST_SLOWER says so.
var raceRounds = rounds(50_000)

// raceTries is how often a race is run until it has shown what it is for: on a busy machine its two threads may never run at once, or the one
// that changes the path stand still with a path that is not there.
const raceTries = 20

func init() {
	// race CALL: one thread calls with a path that another one changes all the time. Only "there" exists.
	addChild("race", func(args []string) error {
		names := [2][8]byte{{'t', 'h', 'e', 'r', 'e'}, {'n', 'o', 'n', 'e', 'x'}}
		var shared atomic.Uint64
		word := func(b [8]byte) uint64 { return *(*uint64)(unsafe.Pointer(&b)) }
		shared.Store(word(names[0])) // the first call may come before the other thread runs
		done := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
					shared.Store(word(names[i%2]))
				}
			}
		}()
		path := unsafe.Pointer(&shared)
		cwd := unix.AT_FDCWD
		for range raceRounds {
			if args[0] == "open" {
				fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(cwd), uintptr(path), unix.O_RDONLY, 0, 0, 0)
				if errno == 0 {
					_ = unix.Close(int(fd))
				}
				continue
			}
			_, _, _ = unix.Syscall(unix.SYS_FCHMODAT, uintptr(cwd), uintptr(path), 0o600)
		}
		close(done)
		return nil
	})
}

// Backend L is chosen where the kernel lets it: who knows that it does sets TIERCEL_TEST_BACKEND.
func TestBackend(t *testing.T) {
	w := start(t, func(*event.Event) bool { return false })
	t.Logf("backend %s", w.Backend())
	if want := os.Getenv("TIERCEL_TEST_BACKEND"); want != "" && w.Backend() != want {
		t.Errorf("got backend %s, want %s; missing: %v", w.Backend(), want, w.Missing())
	}
}

// What an open resolved to is free of races: it is the file that is open.
func TestOpenRace(t *testing.T) {
	w := start(t, func(ev *event.Event) bool { return ev.Type == field.EventOpenat }, field.EventOpenat)
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	swapped, opened := 0, 0
	for try := 0; try < raceTries && opened < raceRounds/10; try++ {
		cmd := child(t, "race", "open")
		cmd.Dir = dir
		for _, ev := range w.collect(t, run(t, cmd)) {
			if ev.Open.Path.Dir != dir || ev.Result < 0 {
				continue
			}
			opened++
			if ev.Open.Path.Resolved != there {
				t.Fatalf("opened %s, reported %+v", there, ev.Open.Path)
			}
			if ev.Open.Path.Raw != "there" {
				swapped++
			}
		}
	}
	t.Logf("%d opens, %d whose path was changed behind them", opened, swapped)
	if opened < raceRounds/10 {
		t.Errorf("only %d opens", opened)
	}
}

// lostEvents is how many records the event ring had no room for so far.
func lostEvents(t *testing.T, w *watch) int {
	t.Helper()
	st, err := w.Stats()
	if err != nil {
		t.Fatal(err)
	}
	n := uint64(0)
	for _, l := range st.Rings[1].Lost {
		n += l.Count
	}
	return int(n)
}

// A path that changed during the call is reported as the kernel copied it by backend L, and as it was before and as it was after by backend T,
// which cannot see all such changes: the test prints how many it missed.
func TestPathRace(t *testing.T) {
	w := start(t, func(ev *event.Event) bool { return ev.Type == field.EventFchmodat }, field.EventFchmodat)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "there"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if w.Backend() == BackendL {
		pathRaceL(t, w, dir)
		return
	}
	calls, wrong, unstable, lost := 0, 0, map[string]int{}, lostEvents(t, w)
	for try := 0; try < raceTries && unstable["there"] == 0; try++ {
		c, n, u := race(t, w, dir)
		calls, wrong = calls+c, wrong+n
		for path, n := range u {
			unstable[path] += n
		}
	}
	t.Logf("%d calls of which both reads agree, %d of them wrong; %v as both reads differ", calls, wrong, unstable)
	// Each such call is two events, of which the ring may have had no room for one; a read may find the page of the path gone.
	difference := max(unstable["there"]-unstable["nonex"], unstable["nonex"]-unstable["there"])
	if lost := lostEvents(t, w) - lost; unstable["there"] == 0 || difference > lost+raceRounds/100 {
		t.Errorf("paths of unstable events: got %v, want as many of both", unstable)
	}
}

// pathRaceL is TestPathRace on backend L. Its programs are kept from running while another run of theirs on the same processor has been
// interrupted: such a call says that its path is not known.
func pathRaceL(t *testing.T, w *watch, dir string) {
	for try := 1; ; try++ {
		before := lostEvents(t, w)
		calls, wrong, unstable := race(t, w, dir)
		missed, lost := unstable["there"]+unstable["nonex"], lostEvents(t, w)-before
		t.Logf("%d calls, %d of which say that their path is not known; %d found no room in the ring", calls+missed, missed, lost)
		if wrong != 0 || calls+missed+lost < raceRounds {
			t.Fatalf("of %d calls %d are reported with a wrong path, want %d and none", calls+missed, wrong, raceRounds)
		}
		if missed <= raceRounds/100 {
			return
		}
		if try == raceTries {
			t.Fatalf("%d of %d calls say that their path is not known, want few", missed, raceRounds)
		}
	}
}

// race runs the race of fchmodat once: how many events are of calls whose path is known, how many of those name the wrong one, and the others
// by what they name.
func race(t *testing.T, w *watch, dir string) (calls, wrong int, unstable map[string]int) {
	t.Helper()
	unstable = map[string]int{}
	cmd := child(t, "race", "fchmodat")
	cmd.Dir = dir
	for _, ev := range w.collect(t, run(t, cmd)) {
		if ev.Flags&event.ArgsUnstable != 0 {
			unstable[ev.Path[0].Raw]++
			continue
		}
		calls++
		if (ev.Result == 0) != (ev.Path[0].Raw == "there") {
			wrong++
		}
	}
	return calls, wrong, unstable
}
