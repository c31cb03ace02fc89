package filter

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/extract"
	"github.com/tiercel-project/tiercel/sensor/process"
)

type noNames struct{}

func (noNames) User(container.Root, uint32) (container.User, bool) { return container.User{}, false }
func (noNames) Group(container.Root, uint32) (string, bool)        { return "", false }

// inRegister is what the kernel's side takes the argument for.
func inRegister(w Width, reg uint64) uint64 {
	switch w {
	case Bits32:
		return uint64(uint32(reg))
	case Int32:
		return uint64(int64(int32(reg)))
	case Perm:
		return reg & 0o7777
	}
	return reg
}

// The number that a rule sees is the one that the kernel's side looks at, whatever stands in the registers. Flags as open takes them are left
// out: rules see Falco's bits of them, and the names of those are tested against the kernel.
func TestArgs(t *testing.T) {
	table := process.New(process.DefaultConfig(), nil)
	x := extract.New(extract.Config{Hostname: "box", Table: table, Names: noNames{}, Wall: func(ns uint64) int64 { return int64(ns) }})
	task := event.Task{TID: 7, PID: 7, VTID: 7, VPID: 7, StartNS: 7, Comm: "cat"}
	r := rand.New(rand.NewPCG(1, 2))
	numbers := func() uint64 {
		n := r.Uint64()
		return []uint64{n, uint64(uint32(n)), n % 64, 0, 1, ^uint64(0), uint64(^uint32(0)), 1 << 31}[r.IntN(8)]
	}
	for _, typ := range slices.Sorted(maps.Keys(numberArgs)) {
		for name, where := range numberArgs[typ] {
			if where.open {
				continue
			}
			ref, err := field.Lookup("evt.rawarg." + name)
			if err != nil {
				t.Fatal(err)
			}
			given := 0
			for range 200 {
				ev := event.Event{Type: typ, BootNS: 9, Task: task, Result: int64(r.IntN(3)) - 1}
				for i := range ev.Num {
					ev.Num[i] = numbers()
				}
				e := x.Bind(&ev, table.Apply(&ev), container.HostIdentity)
				var v field.Value
				if !e.Extract(&ref, field.AsPassed, &v) {
					continue
				}
				given++
				if want := inRegister(where.width, ev.Num[where.arg]); v.Num != want {
					t.Errorf("%s: evt.rawarg.%s of register %#x: rules see %#x, the kernel %#x", typ, name, ev.Num[where.arg], v.Num, want)
					break
				}
			}
			if given == 0 {
				t.Errorf("%s: rules never see %s", typ, name)
			}
		}
	}
}
