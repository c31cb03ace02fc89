// Package capturetest makes kernel records for tests that need a capture and no kernel.
package capturetest

import (
	"encoding/binary"
	"os"
	"time"
	"unsafe"

	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/capture"
	"github.com/tiercel-project/tiercel/sensor/decode"
)

// A Process is who does what a record says.
type Process struct {
	PID, PPID          uint32
	Start, ParentStart uint64
	UID                uint32
	Cgroup             uint64
	Comm               string
}

func (p Process) head(kind bpf.SensorKind, typ field.EventType, time uint64, result int64) []byte {
	h := bpf.SensorHead{
		Kind: uint16(kind), Type: uint16(typ), Time: time, Result: result, Start: p.Start, ParentStart: p.ParentStart, Cgroup: p.Cgroup,
		Tid: p.PID, Pid: p.PID, Ppid: p.PPID, Vtid: p.PID, Vpid: p.PID, Pgid: p.PID, Sid: p.PID, Uid: p.UID, LoginUid: 1<<32 - 1, ExecGen: 1, MntNs: 7,
	}
	for i := range min(len(p.Comm), len(h.Comm)-1) {
		h.Comm[i] = int8(p.Comm[i])
	}
	return bytesOf(&h)
}

func bytesOf[T any](p *T) []byte {
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))...)
}

func text(b []byte, tag bpf.SensorTag, s string) []byte {
	return decode.AppendSection(b, tag, []byte(s))
}

// Cgroup is the first sight of a cgroup.
func Cgroup(id uint64, path string) []byte {
	return text(Process{Cgroup: id}.head(bpf.SensorKindKIND_CGROUP, 0, 1, 0), bpf.SensorTagTAG_CGROUP, path)
}

// Task is a process that was there before, with the executable exe.
func (p Process) Task(exe string) []byte {
	b := decode.AppendSection(p.head(bpf.SensorKindKIND_TASK, 0, 1, 0), bpf.SensorTagTAG_EXEC, bytesOf(&bpf.SensorExecInfo{}))
	return text(text(b, bpf.SensorTagTAG_EXE_PATH, exe), bpf.SensorTagTAG_ARGS, p.Comm+"\x00")
}

// Exec is a successful execve of exe with args, the first of which is its name.
func (p Process) Exec(time uint64, exe string, args ...string) []byte {
	b := decode.AppendSection(p.head(bpf.SensorKindKIND_EXEC, field.EventExecve, time, 0), bpf.SensorTagTAG_EXEC, bytesOf(&bpf.SensorExecInfo{}))
	b = text(text(b, bpf.SensorTagTAG_EXE_PATH, exe), bpf.SensorTagTAG_CWD, "/")
	var all []byte
	for _, a := range args {
		all = append(append(all, a...), 0)
	}
	return text(decode.AppendSection(b, bpf.SensorTagTAG_ARGS, all), bpf.SensorTagTAG_FILENAME, exe)
}

// Fork is the birth of child.
func (p Process) Fork(time uint64, child Process) []byte {
	f := bpf.SensorForkInfo{Start: child.Start, Cgroup: child.Cgroup, Tid: child.PID, Pid: child.PID, Vtid: child.PID, Vpid: child.PID}
	return decode.AppendSection(p.head(bpf.SensorKindKIND_FORK, field.EventClone, time, int64(child.PID)), bpf.SensorTagTAG_FORK, bytesOf(&f))
}

// Open is an openat of path for reading.
func (p Process) Open(time uint64, path string) []byte {
	b := decode.AppendSection(p.head(bpf.SensorKindKIND_CALL, field.EventOpenat, time, 3), bpf.SensorTagTAG_OPEN, bytesOf(&bpf.SensorOpenInfo{Fd: -100, Type: 8}))
	return text(text(b, bpf.SensorTagTAG_RAW, path), bpf.SensorTagTAG_RESOLVED, path)
}

// UringOpen is an openat of path through io_uring, as submission and completion.
func (p Process) UringOpen(time, request uint64, path string) (submission, completion []byte) {
	key := binary.LittleEndian.AppendUint64(nil, request)
	s := decode.AppendSection(p.head(bpf.SensorKindKIND_URING, field.EventOpenat, time, 0), bpf.SensorTagTAG_REQUEST, key)
	s = decode.AppendSection(s, bpf.SensorTagTAG_OPEN, bytesOf(&bpf.SensorOpenInfo{Fd: -100}))
	s = text(s, bpf.SensorTagTAG_RAW, path)
	c := decode.AppendSection(p.head(bpf.SensorKindKIND_URING_DONE, 0, time+1, 5), bpf.SensorTagTAG_REQUEST, key)
	c = decode.AppendSection(c, bpf.SensorTagTAG_OPEN, bytesOf(&bpf.SensorOpenInfo{Ino: 99, Type: 8}))
	return s, text(c, bpf.SensorTagTAG_RESOLVED, path)
}

// Records gives each of records a place in the order, read a microsecond after its time.
func Records(records ...[]byte) []capture.Record {
	all := make([]capture.Record, len(records))
	for i, b := range records {
		all[i] = capture.Record{Seq: uint64(i) + 1, ReadNS: decode.Time(b) + 1000, Record: b}
	}
	return all
}

// Shell is a shell that is started and reads /etc/shadow, outside of containers.
func Shell() []capture.Record {
	login := Process{PID: 10, Start: 5, Cgroup: 1, Comm: "login"}
	sh := Process{PID: 11, PPID: 10, Start: 100, ParentStart: 5, Cgroup: 1, Comm: "sh"}
	return Records(Cgroup(1, "/user.slice"), login.Task("/bin/login"), login.Fork(100, sh), sh.Exec(200, "/bin/sh", "sh", "-c", "id"),
		sh.Open(300, "/etc/shadow"), sh.Open(400, "/etc/motd"))
}

// WriteFile writes records to the new capture name, of a machine called box that booted at 2026-01-02T03:04:05Z.
func WriteFile(name string, records []capture.Record) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	h := capture.NewHeader()
	h.Program, h.Hostname, h.BootOffsetNS = "test", "box", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano()
	w, err := capture.NewWriter(f, h, 0)
	if err != nil {
		return err
	}
	for i := range records {
		if err := w.Record(&records[i]); err != nil {
			return err
		}
	}
	return w.Close()
}
