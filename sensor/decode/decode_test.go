package decode

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"golang.org/x/sys/unix"
)

// A record builds records as the programs do.
type record []byte

func newRecord(kind bpf.SensorKind, typ field.EventType, flags bpf.SensorHeadFlag, result int64) record {
	h := bpf.SensorHead{
		Kind: uint16(kind), Type: uint16(typ), Flags: uint32(flags), Cpu: 3, Nr: 257, Time: 1000, Result: result,
		Start: 10, ParentStart: 11, Cgroup: 12, CapEffective: 13, CapPermitted: 14, CapInheritable: 15,
		Tid: 20, Pid: 21, Ppid: 22, Vtid: 23, Vpid: 24, Pgid: 25, Sid: 26, Vpgid: 27, Vsid: 28,
		Uid: 30, Gid: 31, LoginUid: 32, Tty: 33, ExecGen: 34, MntNs: 35, PidNs: 36,
		Comm: [16]int8{'b', 'a', 's', 'h'},
	}
	return append(record(nil), unsafe.Slice((*byte)(unsafe.Pointer(&h)), unsafe.Sizeof(h))...)
}

func (r record) section(tag bpf.SensorTag, b []byte) record {
	r = binary.LittleEndian.AppendUint16(r, uint16(tag))
	r = binary.LittleEndian.AppendUint16(r, uint16(len(b)))
	return append(r, b...)
}

func (r record) text(tag bpf.SensorTag, s string) record { return r.section(tag, []byte(s)) }

// structure appends a section that is the structure p points to.
func structure[T any](r record, tag bpf.SensorTag, p *T) record {
	return r.section(tag, unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p)))
}

var wantTask = event.Task{
	TID: 20, PID: 21, PPID: 22, VTID: 23, VPID: 24, PGID: 25, SID: 26, VPGID: 27, VSID: 28, UID: 30, GID: 31, LoginUID: 32, TTY: 33,
	StartNS: 10, ParentStartNS: 11, ExecGen: 34, CgroupID: 12, MntNS: 35, PidNS: 36, CapEffective: 13, CapPermitted: 14,
	CapInheritable: 15, Comm: "bash",
}

func openRecord() record {
	r := newRecord(bpf.SensorKindKIND_CALL, field.EventOpenat, bpf.SensorHeadFlagHEAD_COMPAT|bpf.SensorHeadFlagHEAD_UNSTABLE, 7)
	r = structure(r, bpf.SensorTagTAG_OPEN, &bpf.SensorOpenInfo{Flags: 1, Mode: 2, How: 3, Ino: 4, Dev: 5, Fd: -100, Type: 8, Created: 1})
	return r.text(bpf.SensorTagTAG_RAW, "shadow").text(bpf.SensorTagTAG_DIR, "/etc").text(bpf.SensorTagTAG_RESOLVED, "/etc/shadow")
}

func execRecord() record {
	r := newRecord(bpf.SensorKindKIND_EXEC, field.EventExecve, bpf.SensorHeadFlagHEAD_ENV_TRUNCATED, 0)
	r = structure(r, bpf.SensorTagTAG_EXEC, &bpf.SensorExecInfo{Flags: 5, Ino: 6, Ctime: 7, Mtime: 8, PidNsStart: 9})
	return r.text(bpf.SensorTagTAG_EXE_PATH, "/bin/dash").text(bpf.SensorTagTAG_CWD, "/root").text(bpf.SensorTagTAG_ARGS, "sh\x00-c\x00id\x00").
		text(bpf.SensorTagTAG_ENV, "A=1\x00").text(bpf.SensorTagTAG_FILENAME, "/bin/sh")
}

func connectRecord(passed string) record {
	r := newRecord(bpf.SensorKindKIND_CALL, field.EventConnect, 0, -111)
	s := bpf.SensorSocketInfo{Fd: 5, Family: unix.AF_INET, Type: 1, Proto: 6, LocalPort: 1024, RemotePort: 80, Changed: 1, RemoteKnown: 1, Size: 9}
	copy(s.Local[:], []byte{10, 0, 0, 1})
	copy(s.Remote[:], []byte{10, 0, 0, 2})
	if passed != "" {
		s = bpf.SensorSocketInfo{Fd: 5}
	}
	r = structure(r, bpf.SensorTagTAG_SOCKET, &s)
	if passed != "" {
		r = r.text(bpf.SensorTagTAG_SOCKADDR, passed)
	}
	return structure(r, bpf.SensorTagTAG_NUM, &[6]uint64{5, 1 << 40, 16})
}

func TestRecord(t *testing.T) {
	head := event.Event{CPU: 3, BootNS: 1000, Task: wantTask}
	addr := netip.MustParseAddrPort
	tests := []struct {
		name string
		in   record
		want func(*event.Event)
	}{
		{"open", openRecord(), func(e *event.Event) {
			e.Type, e.Result, e.Flags = field.EventOpenat, 7, event.Compat|event.ArgsUnstable
			e.Open = event.Open{
				Path:  event.Path{Raw: "shadow", Dir: "/etc", Resolved: "/etc/shadow"},
				DirFD: -100, Flags: 1, Mode: 2, How: 3, Ino: 4, Dev: 5, Type: 8, Created: true,
			}
		}},
		{"exec", execRecord(), func(e *event.Event) {
			e.Type, e.Flags = field.EventExecve, event.EnvTruncated
			e.Exec = event.Exec{
				Filename: "/bin/sh", ExePath: "/bin/dash", Exe: "sh", Args: []byte("-c\x00id\x00"), Env: []byte("A=1\x00"), Cwd: "/root",
				Flags: 5, Ino: 6, CTimeNS: 7, MTimeNS: 8, PidNSInitStartNS: 9,
			}
		}},
		{"failed exec", newRecord(bpf.SensorKindKIND_CALL, field.EventExecveat, 0, -2).text(bpf.SensorTagTAG_ARGS, "x"), func(e *event.Event) {
			e.Type, e.Result = field.EventExecveat, -2
			e.Exec.Exe = "x"
		}},
		{"connect", connectRecord(""), func(e *event.Event) {
			e.Type, e.Result, e.Num = field.EventConnect, -111, [6]uint64{5, 1 << 40, 16}
			e.Socket = event.Socket{
				FD: 5, Family: unix.AF_INET, Type: 1, Proto: 6, Local: addr("10.0.0.1:1024"), Remote: addr("10.0.0.2:80"), Changed: true, Size: 9,
			}
		}},
		{"address as passed", connectRecord("\x0a\x00\x00\x50\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00"), func(e *event.Event) {
			e.Type, e.Result, e.Num = field.EventConnect, -111, [6]uint64{5, 1 << 40, 16}
			e.Socket = event.Socket{FD: 5, Family: unix.AF_INET6, Remote: addr("[::1]:80")}
		}},
		{"unix address", connectRecord("\x01\x00/run/s\x00junk"), func(e *event.Event) {
			e.Type, e.Result, e.Num = field.EventConnect, -111, [6]uint64{5, 1 << 40, 16}
			e.Socket = event.Socket{FD: 5, Family: unix.AF_UNIX, UnixPath: "/run/s"}
		}},
		{"fork", structure(newRecord(bpf.SensorKindKIND_FORK, field.EventClone, 0, 40), bpf.SensorTagTAG_FORK,
			&bpf.SensorForkInfo{Start: 1, Cgroup: 2, CloneFlags: 3, Tid: 40, Pid: 41, Vtid: 42, Vpid: 43}), func(e *event.Event) {
			e.Type, e.Result = field.EventClone, 40
			e.Fork = event.Fork{ChildTID: 40, ChildPID: 41, ChildVTID: 42, ChildVPID: 43, ChildStartNS: 1, CloneFlags: 3, ChildCgroupID: 2}
		}},
		{"cgroup", newRecord(bpf.SensorKindKIND_CGROUP, 0, bpf.SensorHeadFlagHEAD_CGROUP_V1, 0).text(bpf.SensorTagTAG_CGROUP, "/kubepods"), func(e *event.Event) {
			e.Flags = event.CgroupV1 | event.ProcessOnly
			e.Cgroup = event.Cgroup{ID: 12, V1: true, Path: "/kubepods"}
		}},
		{"task", newRecord(bpf.SensorKindKIND_TASK, 0, 0, 0), func(e *event.Event) {
			e.Type, e.Flags = field.EventProcinfo, event.ProcessOnly
		}},
		{"two paths", newRecord(bpf.SensorKindKIND_CALL, field.EventRename, 0, 0).text(bpf.SensorTagTAG_RAW, "a").text(bpf.SensorTagTAG_RAW2, "b").
			text(bpf.SensorTagTAG_DIR2, "/d").text(200, "of a later version"), func(e *event.Event) {
			e.Type = field.EventRename
			e.Path = [2]event.Path{{Raw: "a"}, {Raw: "b", Dir: "/d"}}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := head
			want.Raw = tt.in
			tt.want(&want)
			got := event.Event{Seq: 99, Data: []byte("of the event before")}
			if err := Record(tt.in, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want, *got.Clone(), cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
				t.Errorf("clone (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRecordErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   []byte
		want error
	}{
		{"empty", nil, ErrShort},
		{"half a head", openRecord()[:headSize-1], ErrShort},
		{"unknown kind", newRecord(99, 0, 0, 0), ErrKind},
		{"half a section", append(newRecord(bpf.SensorKindKIND_EXIT, 0, 0, 0), 1, 0, 0), ErrShort},
		{"section longer than the record", append(newRecord(bpf.SensorKindKIND_EXIT, 0, 0, 0), 6, 0, 2, 0, 'x'), ErrShort},
		{"short structure", newRecord(bpf.SensorKindKIND_EXEC, 0, 0, 0).section(bpf.SensorTagTAG_EXEC, make([]byte, execSize-1)), ErrShort},
		{"short numbers", newRecord(bpf.SensorKindKIND_CALL, 0, 0, 0).section(bpf.SensorTagTAG_NUM, make([]byte, 47)), ErrShort},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := event.Event{Seq: 1}
			if err := Record(tt.in, &got); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if !reflect.DeepEqual(got, event.Event{}) {
				t.Errorf("event is not zero: %+v", got)
			}
		})
	}
}

func FuzzRecord(f *testing.F) {
	for _, r := range []record{openRecord(), execRecord(), connectRecord(""), connectRecord("\x01\x00\x00abstract"), newRecord(bpf.SensorKindKIND_CGROUP, 0, 0, 0)} {
		f.Add([]byte(r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var ev event.Event
		err := Record(b, &ev)
		if zero := reflect.DeepEqual(ev, event.Event{}); err != nil && !zero {
			t.Errorf("error %v with an event", err)
		}
		if err == nil && Time(b) != ev.BootNS {
			t.Errorf("Time %d, event's %d", Time(b), ev.BootNS)
		}
		ev.Clone()
	})
}

func BenchmarkRecord(b *testing.B) {
	for name, r := range map[string]record{"open": openRecord(), "exec": execRecord(), "connect": connectRecord("")} {
		b.Run(name, func(b *testing.B) {
			var ev event.Event
			b.ReportAllocs()
			for b.Loop() {
				if err := Record(r, &ev); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
