// Package decode turns the records of package bpf into events, and holds the tables that tell which system call is which event type. It
// reads no ring and keeps no state.
//
// Read Record first.
package decode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
)

// Errors of Record.
var (
	// ErrShort means that a record ends before it should.
	ErrShort = errors.New("record too short")
	// ErrKind means that a record is of no known kind.
	ErrKind = errors.New("unknown kind of record")
)

const (
	headSize     = int(unsafe.Sizeof(bpf.SensorHead{}))
	sectionSize  = int(unsafe.Sizeof(bpf.SensorSection{}))
	timeOffset   = unsafe.Offsetof(bpf.SensorHead{}.Time)
	cgroupOffset = unsafe.Offsetof(bpf.SensorHead{}.Cgroup)
	commOffset   = int(unsafe.Offsetof(bpf.SensorHead{}.Comm))
)

// Record decodes the record b into ev, whose content before does not matter. Strings and bytes of ev alias b. BootNS, ReadNS and Seq are
// the reader's: of them only BootNS is set. If b is no record, Record returns ErrShort or ErrKind and leaves ev zero.
func Record(b []byte, ev *event.Event) error {
	*ev = event.Event{}
	if len(b) < headSize {
		return ErrShort
	}
	kind := bpf.SensorKind(binary.LittleEndian.Uint16(b))
	if kind < bpf.SensorKindKIND_CALL || kind > bpf.SensorKindKIND_URING_DONE {
		return ErrKind
	}
	head(b, ev)
	if err := sections(b[headSize:], ev, kind); err != nil {
		*ev = event.Event{}
		return err
	}
	finish(ev, kind)
	ev.Raw = b
	return nil
}

// Time returns the kernel time of record b; 0 if it is too short.
func Time(b []byte) uint64 {
	if len(b) < headSize {
		return 0
	}
	return binary.LittleEndian.Uint64(b[timeOffset:])
}

// Kind returns the kind of record b; 0 if it is too short.
func Kind(b []byte) bpf.SensorKind {
	if len(b) < headSize {
		return 0
	}
	return bpf.SensorKind(binary.LittleEndian.Uint16(b))
}

// CgroupOf returns the id of the cgroup of record b, of a system call or an io_uring request; 0 for records of other kinds, and if it is too short.
func CgroupOf(b []byte) uint64 {
	switch Kind(b) {
	case bpf.SensorKindKIND_CALL, bpf.SensorKindKIND_URING, bpf.SensorKindKIND_URING_DONE:
		return binary.LittleEndian.Uint64(b[cgroupOffset:])
	}
	return 0
}

// A reader takes numbers off a structure. Structures are as in C: aligned, little-endian.
type reader struct {
	b []byte
}

func (r *reader) u8() byte    { v := r.b[0]; r.b = r.b[1:]; return v }
func (r *reader) u16() uint16 { v := binary.LittleEndian.Uint16(r.b); r.b = r.b[2:]; return v }
func (r *reader) u32() uint32 { v := binary.LittleEndian.Uint32(r.b); r.b = r.b[4:]; return v }
func (r *reader) u64() uint64 { v := binary.LittleEndian.Uint64(r.b); r.b = r.b[8:]; return v }

// head decodes struct head; b is long enough.
func head(b []byte, ev *event.Event) {
	r := reader{b[:headSize]}
	r.u16()
	ev.Type = field.EventType(r.u16())
	ev.Flags = flags(r.u32())
	ev.CPU = r.u32()
	r.u32()
	ev.BootNS = r.u64()
	ev.Result = int64(r.u64())
	t := &ev.Task
	t.StartNS, t.ParentStartNS, t.CgroupID = r.u64(), r.u64(), r.u64()
	t.CapEffective, t.CapPermitted, t.CapInheritable = r.u64(), r.u64(), r.u64()
	t.TID, t.PID, t.PPID = r.u32(), r.u32(), r.u32()
	t.VTID, t.VPID = r.u32(), r.u32()
	t.PGID, t.SID, t.VPGID, t.VSID = r.u32(), r.u32(), r.u32(), r.u32()
	t.UID, t.GID, t.LoginUID, t.TTY = r.u32(), r.u32(), r.u32(), r.u32()
	t.ExecGen, t.MntNS, t.PidNS = r.u32(), r.u32(), r.u32()
	ev.Generation = r.u32()
	t.Comm = text(untilNUL(b[commOffset:headSize]))
}

var flagTable = [...]struct {
	from bpf.SensorHeadFlag
	to   event.Flags
}{
	{bpf.SensorHeadFlagHEAD_UNSTABLE, event.ArgsUnstable},
	{bpf.SensorHeadFlagHEAD_PATH_TRUNCATED, event.PathTruncated},
	{bpf.SensorHeadFlagHEAD_ARGS_TRUNCATED, event.ArgsTruncated},
	{bpf.SensorHeadFlagHEAD_ENV_TRUNCATED, event.EnvTruncated},
	{bpf.SensorHeadFlagHEAD_COMPAT, event.Compat},
	{bpf.SensorHeadFlagHEAD_NO_RESULT, event.NoResult},
	{bpf.SensorHeadFlagHEAD_CGROUP_V1, event.CgroupV1},
	{bpf.SensorHeadFlagHEAD_DROPPED, event.Dropped},
	{bpf.SensorHeadFlagHEAD_RECORDED, event.Recorded},
	{bpf.SensorHeadFlagHEAD_BROAD, event.Broad},
	{bpf.SensorHeadFlagHEAD_BRIEF, event.Brief},
}

func flags(v uint32) event.Flags {
	var f event.Flags
	if v == 0 {
		return f
	}
	for _, m := range flagTable {
		if v&uint32(m.from) != 0 {
			f |= m.to
		}
	}
	return f
}

// sections decodes what follows the head.
func sections(b []byte, ev *event.Event, kind bpf.SensorKind) error {
	path := &ev.Path[0]
	for len(b) > 0 {
		if len(b) < sectionSize {
			return ErrShort
		}
		tag, n := bpf.SensorTag(binary.LittleEndian.Uint16(b)), int(binary.LittleEndian.Uint16(b[2:]))
		b = b[sectionSize:]
		if n > len(b) {
			return ErrShort
		}
		v := b[:n:n]
		b = b[n:]
		if tag == bpf.SensorTagTAG_OPEN {
			path = &ev.Open.Path // paths from here on are those of the file
		}
		if err := section(tag, v, ev, path); err != nil {
			return fmt.Errorf("section %d of record kind %d: %w", tag, kind, err)
		}
	}
	return nil
}

// section decodes one section. Tags of later versions are passed over.
func section(tag bpf.SensorTag, v []byte, ev *event.Event, path *event.Path) error {
	switch tag {
	case bpf.SensorTagTAG_RAW:
		path.Raw = text(v)
	case bpf.SensorTagTAG_RAW2:
		ev.Path[1].Raw = text(v)
	case bpf.SensorTagTAG_DIR:
		path.Dir = text(v)
	case bpf.SensorTagTAG_DIR2:
		ev.Path[1].Dir = text(v)
	case bpf.SensorTagTAG_RESOLVED:
		path.Resolved = text(v)
	case bpf.SensorTagTAG_RESOLVED2:
		ev.Path[1].Resolved = text(v)
	case bpf.SensorTagTAG_DATA:
		ev.Data = v
	case bpf.SensorTagTAG_FILENAME:
		ev.Exec.Filename = text(v)
	case bpf.SensorTagTAG_EXE_PATH:
		ev.Exec.ExePath = text(v)
	case bpf.SensorTagTAG_CWD:
		ev.Exec.Cwd = text(v)
	case bpf.SensorTagTAG_ARGS:
		argv(v, ev)
	case bpf.SensorTagTAG_ENV:
		ev.Exec.Env = v
	case bpf.SensorTagTAG_CGROUP:
		ev.Cgroup.Path = text(v)
	case bpf.SensorTagTAG_SOCKADDR:
		end := &ev.Socket.Remote
		if ev.Type == field.EventBind {
			end = &ev.Socket.Local
		}
		passedAddr(v, &ev.Socket, end)
	case bpf.SensorTagTAG_UNIX_PATH:
		ev.Socket.UnixPath = unixPath(v)
	default:
		return fixed(tag, v, ev)
	}
	return nil
}

// argv splits the argument vector into argv[0] and the rest.
func argv(v []byte, ev *event.Event) {
	i := bytes.IndexByte(v, 0)
	if i < 0 {
		ev.Exec.Exe = text(v)
		return
	}
	ev.Exec.Exe, ev.Exec.Args = text(v[:i]), v[i+1:]
}

// finish fills what follows from the kind.
func finish(ev *event.Event, kind bpf.SensorKind) {
	switch kind {
	case bpf.SensorKindKIND_TASK:
		ev.Type = field.EventProcinfo
		ev.Flags |= event.ProcessOnly
	case bpf.SensorKindKIND_CGROUP, bpf.SensorKindKIND_CGROUP_GONE:
		ev.Type = 0
		ev.Flags |= event.ProcessOnly
		ev.Cgroup.ID = ev.Task.CgroupID
		ev.Cgroup.V1 = ev.Flags&event.CgroupV1 != 0
	case bpf.SensorKindKIND_CALL:
		if ev.Type == field.EventExecve || ev.Type == field.EventExecveat {
			ev.Exec.Filename = ev.Open.Path.Raw
		}
	}
}

func untilNUL(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

// text returns b as a string without copying it.
func text(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}

// numbers stores up to six raw arguments.
func numbers(v []byte, ev *event.Event) error {
	if len(v) < len(ev.Num)*8 {
		return ErrShort
	}
	r := reader{v}
	for i := range ev.Num {
		ev.Num[i] = r.u64()
	}
	return nil
}

// descriptor is a file descriptor as an argument register holds it.
func descriptor(v uint32) int32 {
	if v <= math.MaxInt32 {
		return int32(v)
	}
	return -int32(^v) - 1
}
