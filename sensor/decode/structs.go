package decode

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/sensor/event"
	"golang.org/x/sys/unix"
)

const (
	openSize   = int(unsafe.Sizeof(bpf.SensorOpenInfo{}))
	socketSize = int(unsafe.Sizeof(bpf.SensorSocketInfo{}))
	execSize   = int(unsafe.Sizeof(bpf.SensorExecInfo{}))
	forkSize   = int(unsafe.Sizeof(bpf.SensorForkInfo{}))
)

// fixed decodes the sections that are structures.
func fixed(tag bpf.SensorTag, v []byte, ev *event.Event) error {
	switch tag {
	case bpf.SensorTagTAG_OPEN:
		return open(v, &ev.Open)
	case bpf.SensorTagTAG_SOCKET:
		return socket(v, &ev.Socket)
	case bpf.SensorTagTAG_EXEC:
		return exec(v, &ev.Exec)
	case bpf.SensorTagTAG_FORK:
		return fork(v, ev)
	case bpf.SensorTagTAG_NUM:
		return numbers(v, ev)
	}
	return nil
}

func open(v []byte, o *event.Open) error {
	if len(v) < openSize {
		return ErrShort
	}
	r := reader{v}
	o.Flags, o.Mode = r.u32(), r.u32()
	o.How, o.Ino = r.u64(), r.u64()
	o.Dev = r.u32()
	o.DirFD = descriptor(r.u32())
	o.Type = r.u8()
	o.Created, o.UpperLayer, o.LowerLayer = r.u8() != 0, r.u8() != 0, r.u8() != 0
	return nil
}

func exec(v []byte, x *event.Exec) error {
	if len(v) < execSize {
		return ErrShort
	}
	r := reader{v}
	x.Flags = r.u32()
	r.u32()
	x.Ino, x.CTimeNS, x.MTimeNS, x.PidNSInitStartNS = r.u64(), r.u64(), r.u64(), r.u64()
	return nil
}

func fork(v []byte, ev *event.Event) error {
	if len(v) < forkSize {
		return ErrShort
	}
	r := reader{v}
	f := &ev.Fork
	f.ChildStartNS, f.ChildCgroupID, f.CloneFlags = r.u64(), r.u64(), r.u64()
	f.ChildTID, f.ChildPID, f.ChildVTID, f.ChildVPID = r.u32(), r.u32(), r.u32(), r.u32()
	return nil
}

func socket(v []byte, s *event.Socket) error {
	if len(v) < socketSize {
		return ErrShort
	}
	r := reader{v}
	s.FD = descriptor(r.u32())
	s.Family = r.u16()
	s.Type, s.Proto = r.u8(), r.u8()
	local, remote := r.u16(), r.u16()
	s.Connected, s.Changed, s.Server = r.u8() != 0, r.u8() != 0, r.u8() != 0
	known := r.u8() != 0
	s.Local = addrPort(s.Family, r.b, local)
	if known {
		s.Remote = addrPort(s.Family, r.b[16:], remote)
	}
	r.b = r.b[32:]
	s.Size = r.u64()
	s.Backlog, s.BacklogMax = r.u32(), r.u32()
	return nil
}

// addrPort makes an address of the 16 bytes that the kernel's structures hold; the zero AddrPort for other families.
func addrPort(family uint16, b []byte, port uint16) netip.AddrPort {
	switch family {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)), port)
	}
	return netip.AddrPort{}
}

// passedAddr stores in end a struct sockaddr as the program passed it. What the kernel saw is better, where it is known.
func passedAddr(v []byte, s *event.Socket, end *netip.AddrPort) {
	if len(v) < 2 {
		return
	}
	family := binary.LittleEndian.Uint16(v)
	if s.Family == 0 {
		s.Family = family
	}
	switch {
	case family == unix.AF_UNIX && s.UnixPath == "":
		s.UnixPath = unixPath(v)
	case end.IsValid() && end.Port() != 0:
	case family == unix.AF_INET && len(v) >= 8:
		*end = addrPort(family, v[4:], binary.BigEndian.Uint16(v[2:]))
	case family == unix.AF_INET6 && len(v) >= 24:
		*end = addrPort(family, v[8:], binary.BigEndian.Uint16(v[2:]))
	}
}

// unixPath is the path in a struct sockaddr_un. That of an abstract address begins with NUL.
func unixPath(v []byte) string {
	if len(v) <= 2 {
		return ""
	}
	v = v[2:]
	if v[0] == 0 {
		return text(v)
	}
	return text(untilNUL(v))
}
