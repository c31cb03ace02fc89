// Package event holds what the kernel side of the sensor hands to the rest: one decoded Event, still without names that only user space
// can know (users, containers, pods). Decoding bytes into it is sensor/decode's, turning it into rule fields is sensor/extract's.
package event

import (
	"net/netip"

	"github.com/tiercel-project/tiercel/rules/field"
)

// Flags of an Event.
type Flags uint32

// Flags set by the kernel side.
const (
	// ArgsUnstable: an argument read at entry and at exit of the call differed, or one of the reads failed (SENSOR paths and races).
	ArgsUnstable Flags = 1 << iota
	// PathTruncated: a path or walk was longer than what is copied; the path is unknown beyond it.
	PathTruncated
	// ArgsTruncated: argv was longer than what is copied.
	ArgsTruncated
	// EnvTruncated: the environment was longer than what is copied.
	EnvTruncated
	// Compat: the call came in through the 32-bit ABI.
	Compat
	// NoResult: the result is not known (io_uring, without completion or before it).
	NoResult
	// ProcessOnly: the event only maintains the process table; rules do not see it.
	ProcessOnly
	// CgroupV1: Cgroup.ID is an id of a cgroup v1 hierarchy.
	CgroupV1
	// Dropped: the kernel filter says that no rule can match. Without Recorded, the event left the kernel to check that.
	Dropped
	// Recorded: the event left the kernel for the flight recorder, or the process table, alone; rules do not see it.
	Recorded
	// Broad: of the rules only those for which filter.Broad is true may match.
	Broad
	// Brief: a fork or an exit that nobody but the process table wants. Of Task there is no more than which process it is, its parent, its name
	// and, of a fork, its numbers in its namespaces and its cgroup; a fork's type is clone whatever the call was.
	Brief
)

// An Event is one decoded kernel record. Events are reused: nothing may keep a string of one beyond its handling without cloning it.
// Fields that the event type does not give are zero.
//
// What a system call fills, besides Type, Result and Task:
//   - open, openat, openat2, creat: Open. Calls about a descriptor that is a file (fchmod, setns, read, dup …): Open.Path.Resolved, Type,
//     Dev and Ino, with the descriptor in DirFD; dup, pidfd_getfd and open_by_handle_at describe the new one.
//   - Calls about a descriptor that is a socket: Socket. socket and accept describe the new one. sendmmsg and recvmmsg make one event for
//     each message, up to eight.
//   - Calls with paths: Path, the first and second path argument; symlink's first one is its target, as passed. They are read before and
//     after the call; where the readings differ, there is one event for each, and both have ArgsUnstable.
//   - All but the open family: Num, the six argument registers in the call's order. The upper half of what is an int in C is unspecified.
//   - Data: first bytes of what was read, written, sent or received; the name of memfd_create, delete_module and fsconfig, the parameters of
//     init_module and finit_module, the type of a mount.
//   - execve that succeeded, whichever call it was: EventExecve with Exec; that failed: Exec.Filename, Exe, Args and Cwd.
//   - fork, clone, vfork that succeeded: Fork, by the parent; threads make no event. procexit: once, with the last thread; Result is the
//     wait status.
type Event struct {
	Type   field.EventType
	Flags  Flags
	CPU    uint32
	BootNS uint64 // CLOCK_BOOTTIME when the kernel saw it
	ReadNS uint64 // CLOCK_BOOTTIME when user space took it from the ring
	Seq    uint64 // position in the merged order, from 1: evt.num
	Result int64  // return value; negative: -errno

	Generation uint32 // of the rules that judge it

	Task   Task
	Open   Open
	Socket Socket
	Exec   Exec
	Fork   Fork
	Path   [2]Path   // other path calls: the first and second path argument
	Num    [6]uint64 // raw arguments of a call, in its order
	Data   []byte    // first bytes of a payload
	Cgroup Cgroup    // set for a cgroup's first sight only

	// Raw is the record that the kernel sent, Completion the second one of an io_uring request. All of the event but ReadNS, Seq and the flag
	// NoResult is decoded from them; what a snapshot adds from /proc is in Raw too.
	Raw, Completion []byte
}

// A Task is who did it, as the kernel saw it then.
type Task struct {
	TID, PID, PPID uint32 // in the initial pid namespace; PID is the thread group
	VTID, VPID     uint32 // in the task's own pid namespace
	PGID, SID      uint32
	VPGID, VSID    uint32
	UID, GID       uint32
	LoginUID       uint32 // 4294967295: unset
	TTY            uint32 // device number as Falco gives it; 0: none
	StartNS        uint64 // boot time of the thread group leader's start: with PID the process's key
	ParentStartNS  uint64
	ExecGen        uint32 // counts execs of this process since the sensor or the process began
	CgroupID       uint64 // key into the cgroup paths, with CgroupV1
	MntNS, PidNS   uint32
	CapEffective   uint64
	CapPermitted   uint64
	CapInheritable uint64
	Comm           string // at exec or copied at clone; never the live one
}

// A Path is a path argument: as passed, what it is relative to, and what the kernel walked to.
type Path struct {
	Raw      string // bytes as passed
	Dir      string // absolute directory that a relative Raw starts from; empty: unknown or not needed
	Resolved string // walked in the kernel; empty: unknown
}

// An Open is an open, openat, openat2 or creat. Result is the descriptor.
type Open struct {
	Path  Path
	DirFD int32
	Flags uint32 // O_ flags as the kernel has them
	Mode  uint32
	How   uint64 // openat2: resolve flags
	Dev   uint32
	Ino   uint64
	Type  byte // file type of the descriptor: S_IFMT >> 12

	Created                bool // the call made the file
	UpperLayer, LowerLayer bool // where an overlay keeps the file
}

// A Socket is the socket of a network call and the address it names.
type Socket struct {
	FD                  int32
	Family              uint16 // AF_
	Type                uint8  // SOCK_
	Proto               uint8  // IPPROTO_; that of MPTCP counts as TCP's
	Local               netip.AddrPort
	Remote              netip.AddrPort
	UnixPath            string // an abstract address begins with NUL
	Connected           bool   // after the call
	Changed             bool   // the call changed the peer: fd.name_changed
	Server              bool   // the socket listens or was accepted
	Size                uint64 // bytes of the message
	Backlog, BacklogMax uint32 // of the listening socket: connections waiting, and how many may
}

// An Exec is a successful or failed execve or execveat.
type Exec struct {
	Filename         string // as passed to the call
	ExePath          string // walked in the kernel
	Exe              string // argv[0]
	Args             []byte // argv[1:], each ended by NUL
	Env              []byte // each ended by NUL
	Cwd              string
	Flags            uint32 // Exe flags
	Ino              uint64
	CTimeNS          uint64 // since the epoch
	MTimeNS          uint64
	PidNSInitStartNS uint64
}

// Flags of an Exec, with Falco's values.
const (
	ExeWritable   = 1 << 0
	ExeUpperLayer = 1 << 1
	ExeFromMemfd  = 1 << 2
	ExeLowerLayer = 1 << 3
)

// A Fork is a new task, seen by its parent.
type Fork struct {
	ChildTID, ChildPID   uint32
	ChildVTID, ChildVPID uint32
	ChildStartNS         uint64
	CloneFlags           uint64
	ChildCgroupID        uint64
}

// A Cgroup is the path of a cgroup, read in the kernel at its first sight.
type Cgroup struct {
	ID   uint64
	V1   bool
	Path string
}
