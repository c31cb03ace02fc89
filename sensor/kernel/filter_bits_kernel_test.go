//go:build kernel

package kernel

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/filter"
)

var chmodModes = []uint32{0o644, 0o755, 0o1777, 0o2755, 0o4755, 0o6711}

// chmodRounds are more than what is let out to be checked at first, on each processor.
const chmodRounds = 50

func init() {
	// chmods FILE: changes the file's mode in three ways, to each of chmodModes, often.
	addChild("chmods", func(args []string) error {
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		for range chmodRounds {
			for _, mode := range chmodModes {
				err = errors.Join(err, unix.Fchmod(int(f.Fd()), mode), unix.Fchmodat(unix.AT_FDCWD, args[0], mode, 0), unix.Chmod(args[0], mode))
			}
		}
		return err
	})
}

// Calls that lack the bits that every rule wants are dropped by the dispatcher and counted; all others leave, also where it cannot tell.
func TestFilterBits(t *testing.T) {
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	types := map[field.EventType]int{field.EventFchmod: 1, field.EventFchmodat: 2, field.EventChmod: 1} // the mode's place
	w := start(t, func(ev *event.Event) bool { return types[ev.Type] != 0 && ev.Flags&event.Recorded == 0 })
	for _, tt := range []struct {
		condition string
		bits      uint32 // any of them
		looked    bool   // by the dispatcher
	}{
		{"evt.arg.mode contains S_ISUID", 0o4000, true},
		{"(evt.arg.mode contains S_ISUID or evt.arg.mode contains S_ISGID)", 0o6000, true},
		{"(evt.arg.mode contains S_IXOTH and evt.arg.mode contains S_ISVTX)", 0o1000, true},
		{"(evt.arg.mode contains S_ISVTX or evt.rawres = 0)", 0o7777, false},
	} {
		p := compilePlan(t, filter.Options{}, "evt.type in (fchmod, fchmodat, chmod) and "+tt.condition)
		if err := w.Use(p, p); err != nil {
			t.Fatal(err)
		}
		for _, l := range w.layouts[:callsNative] {
			if types[field.EventType(l.Type)] != 0 && (l.BitsArg != 0) != tt.looked {
				t.Errorf("%s: the dispatcher looks at argument %d of %s", tt.condition, l.BitsArg, field.EventType(l.Type))
			}
		}
		got, want, sampled := map[uint32]int{}, map[uint32]int{}, 0
		for _, ev := range w.collect(t, run(t, child(t, "chmods", file))) {
			if ev.Flags&event.Dropped != 0 {
				sampled++
				continue
			}
			got[uint32(ev.Num[types[ev.Type]])]++
		}
		for _, mode := range chmodModes {
			if mode&tt.bits != 0 {
				want[mode] = 3 * chmodRounds
			}
		}
		for _, mode := range chmodModes {
			if got[mode] != want[mode] {
				t.Errorf("%s: %d calls with mode %#o leave, want %d", tt.condition, got[mode], mode, want[mode])
			}
		}
		if sampled > 3*chmodRounds {
			t.Errorf("%s: %d left to be checked", tt.condition, sampled)
		}
	}
}
