//go:build kernel

package kernel

import (
	"fmt"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"golang.org/x/sys/unix"
)

func init() {
	// files DIR N: makes, opens, renames and removes a file N times.
	addChild("files", func(args []string) error {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		name, other := filepath.Join(args[0], "made"), filepath.Join(args[0], "renamed")
		for range n {
			for _, flags := range []int{unix.O_CREAT | unix.O_RDWR, unix.O_CREAT | unix.O_RDWR, unix.O_RDONLY} {
				fd, err := unix.Open(name, flags, 0o600)
				if err != nil {
					return err
				}
				_ = unix.Close(fd)
			}
			if err := unix.Rename(name, other); err != nil {
				return err
			}
			if err := unix.Unlink(other); err != nil {
				return err
			}
			if err := unix.Unlink(other); err == nil {
				return fmt.Errorf("%s is there twice", other)
			}
		}
		return nil
	})
}

var recordTypes = field.NewEventSet(field.EventExecve, field.EventOpen, field.EventOpenat, field.EventUnlink, field.EventUnlinkat,
	field.EventRename, field.EventRenameat, field.EventRenameat2)

// recorded counts the calls of process pid by name, and those of them that left for the recorder alone.
func recorded(events []*event.Event) (all, only map[string]int) {
	all, only = map[string]int{}, map[string]int{}
	for _, ev := range events {
		kind := map[field.EventType]string{
			field.EventOpen: "open", field.EventOpenat: "open", field.EventUnlink: "unlink", field.EventUnlinkat: "unlink",
			field.EventRename: "rename", field.EventRenameat: "rename", field.EventRenameat2: "rename",
		}[ev.Type]
		if kind == "" || filepath.Base(ev.Open.Path.Raw) != "made" && filepath.Base(ev.Path[0].Raw) != "made" && filepath.Base(ev.Path[0].Raw) != "renamed" {
			continue
		}
		all[kind]++
		if ev.Flags&event.Recorded != 0 {
			only[kind]++
		}
	}
	return all, only
}

// What no rule asks for leaves for the recorder: the opens that made a file, and what succeeded of the other calls.
func TestRecorded(t *testing.T) {
	for _, tt := range []struct {
		name      string
		wanted    []field.EventType
		all, only map[string]int
	}{
		{"no rules", nil, map[string]int{"open": 1, "rename": 1, "unlink": 1}, map[string]int{"open": 1, "rename": 1, "unlink": 1}},
		{
			"rules ask for opens",
			[]field.EventType{field.EventOpen, field.EventOpenat},
			map[string]int{"open": 3, "rename": 1, "unlink": 1},
			map[string]int{"rename": 1, "unlink": 1},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := startConfig(t, Config{Record: recordTypes}, all, tt.wanted...)
			gotAll, gotOnly := recorded(w.collect(t, run(t, child(t, "files", t.TempDir(), "1"))))
			if fmt.Sprint(gotAll) != fmt.Sprint(tt.all) || fmt.Sprint(gotOnly) != fmt.Sprint(tt.only) {
				t.Errorf("got %v, for the recorder alone %v; want %v and %v", gotAll, gotOnly, tt.all, tt.only)
			}
		})
	}
}

// A cgroup's events for the recorder are limited by the second, those for rules are not.
func TestRecordRate(t *testing.T) {
	const n, rate = 1000, 50
	w := startConfig(t, Config{Record: recordTypes, RecordRate: rate}, all, field.EventUnlink, field.EventUnlinkat)
	dir, _ := testCgroup(t, "recorded")
	before := bootNS()
	events := w.collect(t, run(t, child(t, "in", dir, "files", t.TempDir(), strconv.Itoa(n))))
	seconds := int(bootNS()/1e9-before/1e9) + 1
	everything, only := recorded(events)
	if got := only["open"] + only["rename"]; got == 0 || got > rate*seconds {
		t.Errorf("%d events for the recorder in %d seconds", got, seconds)
	}
	if everything["unlink"] != 2*n { // one of the two fails
		t.Errorf("%d events for rules, want %d", everything["unlink"], 2*n)
	}
	st, err := w.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if want := uint64(2*n - only["open"] - only["rename"]); st.Limited < want {
		t.Errorf("%d events were counted as limited, want %d", st.Limited, want)
	}
}

// A flood beyond the rate does not look at its cgroup for each event, but once a tick, and where somebody else ran in between.
func TestRecordRateLooks(t *testing.T) {
	const rate, perSecond = 50, 1000 // of the clock, at most
	n := rounds(3000)
	w := startConfig(t, Config{Record: recordTypes, RecordRate: rate}, func(*event.Event) bool { return false })
	dir, id := testCgroup(t, "looks")
	flood := child(t, "in", dir, "files", t.TempDir(), strconv.Itoa(n))
	before := bootNS()
	run(t, flood)
	ticks := 1 + (bootNS()-before)*perSecond/1e9
	var state bpf.SensorCgroupState
	if err := w.coll.Maps[bpf.SensorMapCgroups].Lookup(bpf.SensorCgroupKey{Id: id}, &state); err != nil {
		t.Fatal(err)
	}
	use := flood.ProcessState.SysUsage().(*syscall.Rusage)
	most := rate + ticks + uint64(use.Nvcsw+use.Nivcsw)
	t.Logf("%d looks for %d events in %d ticks", state.Recorded, 3*n, ticks)
	if state.Recorded == 0 || state.Recorded > most {
		t.Errorf("%d looks for %d events, want %d at most", state.Recorded, 3*n, most)
	}
	st, err := w.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if seconds := ticks/perSecond + 3; st.Limited+rate*seconds < uint64(3*n) {
		t.Errorf("%d of %d events in less than %d seconds were counted as limited", st.Limited, 3*n, seconds)
	}
}

// With the recorder off and no rules nothing is attached to system calls.
func TestNothingPaidWhenOff(t *testing.T) {
	s, err := Open(backend())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.SetInterest(field.EventSet{}); err != nil {
		t.Fatal(err)
	}
	if s.callExit != nil || s.callEnter != nil || len(s.entering) != 0 || len(s.uring) != 0 {
		t.Error("programs are attached to system calls")
	}
	on, err := Open(Config{Record: recordTypes})
	if err != nil {
		t.Fatal(err)
	}
	defer on.Close()
	if err := on.SetInterest(field.EventSet{}); err != nil {
		t.Fatal(err)
	}
	if on.callExit == nil || on.callEnter != nil || len(on.entering) != 0 {
		t.Error("with the recorder on, the end of calls is watched and their beginning is not")
	}
}
