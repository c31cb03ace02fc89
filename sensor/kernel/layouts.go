package kernel

import (
	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
)

// Sections of the call table, as in bpf/c/call.h.
const (
	callsNative = 576
	callsCompat = 512
	callsSocket = 32
	callsTotal  = callsNative + callsCompat + callsSocket
)

// Flags and programs of a layout, under shorter names.
const (
	failedOnly   = uint8(bpf.SensorCallFlagCALL_FAILED_ONLY)
	socketcall   = uint8(bpf.SensorCallFlagCALL_SOCKETCALL)
	creat        = uint8(bpf.SensorCallFlagCALL_CREAT)
	newFD        = uint8(bpf.SensorCallFlagCALL_NEW_FD)
	accepts      = uint8(bpf.SensorCallFlagCALL_ACCEPTS)
	msghdr       = uint8(bpf.SensorCallFlagCALL_MSGHDR)
	receives     = uint8(bpf.SensorCallFlagCALL_RECEIVES)
	onlyFastopen = uint8(bpf.SensorCallFlagCALL_ONLY_FASTOPEN)

	progOpen     = uint8(bpf.SensorCallProgramCALL_OPEN)
	progExec     = uint8(bpf.SensorCallProgramCALL_EXEC)
	progSocket   = uint8(bpf.SensorCallProgramCALL_SOCKET)
	progMessages = uint8(bpf.SensorCallProgramCALL_MESSAGES)
	progGeneric  = uint8(bpf.SensorCallProgramCALL_GENERIC)
)

// layouts say where the arguments of a call stand: positions from 1, 0 for none. Calls that are not listed give their numbers only.
var layouts = map[field.EventType]bpf.SensorCallLayout{
	field.EventOpen:    {Program: progOpen, Path: 1, OpenFlags: 2, OpenMode: 3},
	field.EventOpenat:  {Program: progOpen, Dir: 1, Path: 2, OpenFlags: 3, OpenMode: 4},
	field.EventOpenat2: {Program: progOpen, Dir: 1, Path: 2, OpenHow: 3},
	field.EventCreat:   {Program: progOpen, Path: 1, OpenMode: 2, Flags: creat},

	field.EventExecve:   {Program: progExec, Path: 1, Data: 2, Flags: failedOnly},
	field.EventExecveat: {Program: progExec, Dir: 1, Path: 2, Data: 3, Flags: failedOnly},
	field.EventClone:    {Program: progGeneric, Flags: failedOnly},
	field.EventClone3:   {Program: progGeneric, Flags: failedOnly},
	field.EventFork:     {Program: progGeneric, Flags: failedOnly},
	field.EventVfork:    {Program: progGeneric, Flags: failedOnly},
}

// layout returns the layout of calls of type t.
func layout(t field.EventType) bpf.SensorCallLayout {
	l, ok := layouts[t]
	if !ok {
		l.Program = progGeneric
	}
	l.Type = uint16(t)
	return l
}

// Given returns the event types that the sensor delivers with their arguments. Other system calls arrive with Num and Result only.
func Given() field.EventSet {
	set := field.NewEventSet(field.EventProcexit)
	for t := range layouts {
		set.Add(t)
	}
	return set
}
