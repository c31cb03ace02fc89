package filter

import (
	"unsafe"

	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/match"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// A Life is what happens to a process. Its record leaves the kernel whatever the filter says: the process table lives on it.
type Life uint8

// Kinds of a Life. Programs of each are attached elsewhere.
const (
	NoLife Life = iota
	Exec
	Fork
	Exit
)

// LifeOf returns what events of type t say of a process. Those of Exec and Fork are also calls, where they failed.
func LifeOf(t field.EventType) Life {
	switch t {
	case field.EventExecve: // execveat too, where it succeeded
		return Exec
	case field.EventClone, field.EventClone3, field.EventFork, field.EventVfork:
		return Fork
	case field.EventProcexit:
		return Exit
	}
	return NoLife
}

// execFlags are the bits of what an exec says of its file.
var execFlags = map[field.ID]int{
	field.ProcIsExeWritable: event.ExeWritable, field.ProcIsExeUpperLayer: event.ExeUpperLayer, field.ProcIsExeFromMemfd: event.ExeFromMemfd,
	field.ProcIsExeLowerLayer: event.ExeLowerLayer,
}

// headNumbers are the fields that stand in the record's head as they are.
var headNumbers = map[field.ID]uintptr{
	field.ProcTTY:    unsafe.Offsetof(bpf.SensorHead{}.Tty),
	field.ProcPpid:   unsafe.Offsetof(bpf.SensorHead{}.Ppid),
	field.ProcVpid:   unsafe.Offsetof(bpf.SensorHead{}.Vpid),
	field.ProcSID:    unsafe.Offsetof(bpf.SensorHead{}.Vsid),
	field.ProcVpgid:  unsafe.Offsetof(bpf.SensorHead{}.Vpgid),
	field.ProcPgid:   unsafe.Offsetof(bpf.SensorHead{}.Pgid),
	field.ThreadVtid: unsafe.Offsetof(bpf.SensorHead{}.Vtid),
}

// processTest makes a test of what the record of a process event says; nil if it does not.
func processTest(a *match.Atom, t field.EventType) *Test {
	life := LifeOf(t)
	if life == NoLife {
		return nil
	}
	if offset, ok := headNumbers[a.Left.Ref.ID]; ok {
		return number(a, &Test{Fact: Head, Arg: int(offset)})
	}
	if life != Exec {
		return nil
	}
	if flag, ok := execFlags[a.Left.Ref.ID]; ok {
		return classOf(a, &Test{Fact: ExecFlag, Arg: flag}, isBool(false, true))
	}
	if s, ok := execTexts[a.Left.Ref.ID]; ok {
		return execTest(a, s)
	}
	return nil
}
