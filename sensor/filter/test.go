package filter

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

// A Fact is a number that the kernel has of an event.
type Fact uint8

// Facts. Those of a small domain are classes, numbered as said here.
const (
	Result     Fact = iota + 1 // of the call
	FDNum                      // the descriptor made, -1 if none was
	Arg                        // an argument register: see Test.Arg
	UID                        // effective
	GID                        // effective
	LoginUID                   // -1: unset
	PID                        // of the process
	TID                        // of the thread
	AccessMode                 // class: O_RDONLY, O_WRONLY, O_RDWR, both bits; 4: not known yet
	OpenExec                   // class: no, yes, not known yet
	Created                    // class: no, yes, not known yet
	OpenKind                   // class: no descriptor, file, directory, not known yet
	CgroupKind                 // class: not known, host, container
	Name                       // the process's name
	Text                       // a path: see Test.Subject

	SocketKind      // class: as enum socket_kind in bpf/c/filter.h
	SocketProtocol  // class: as enum socket_protocol
	SocketServer    // class: no, yes, null, not known; so are the next two
	SocketConnected // the socket is, after the call
	SocketChanged   // the call changed the peer
	EndAddr         // address of an end of a connection: see Test.End
	EndPort         // its port
	ExecFlag        // class: no, yes: whether bit Arg is set of what is known of a program
	Head            // a number in the record's head, where Arg says
	ExecText        // a text of an exec: see Test.Subject
)

// A Stage says when something is known: each costs more than the one before.
type Stage uint8

// Stages, in their order.
const (
	StageCall   Stage = iota // arguments, result, ids
	StageTask                // the process's name, and what its cgroup is
	StagePath                // what has been captured: paths, the ends of a socket; of process events, the record
	StageSketch              // of an open: what is seen of its path without a capture
	Stages
)

// String is the stage as metrics name it.
func (s Stage) String() string { return [...]string{"call", "task", "path", "sketch"}[s] }

// Name is String as metrics have it of events of type t.
func (s Stage) Name(t field.EventType) string {
	if s == StagePath && hasSocket(t) {
		return "socket"
	}
	return s.String()
}

// Stage returns when f is known.
func (f Fact) Stage() Stage {
	switch f {
	case Name, CgroupKind:
		return StageTask
	case Text, SocketKind, SocketProtocol, SocketServer, SocketConnected, SocketChanged, EndAddr, EndPort, ExecFlag, Head, ExecText:
		return StagePath
	}
	return StageCall
}

// A Kind says how a Test compares.
type Kind uint8

// Kinds of a Test.
const (
	Class    Kind = iota + 1 // the fact is one of a few: May and MayNot are sets of them
	Number                   // Op with Values
	Bits                     // one of Masks is set whole
	Errno                    // the result is one of those for which Values stand
	Names                    // the name is one of Strings
	Path                     // Op of Subject with Strings
	NameText                 // Op of the name with the only one of Strings
	Address                  // Op of an end's address with Nets
	Program                  // Op of a text of an exec with Strings; of Contains and IContains, with two neighbouring bytes of the rule's text
)

// A Width is how much of an argument register counts.
type Width uint8

// Widths of an argument.
const (
	Wide   Width = iota + 1 // 64 bits
	Bits32                  // unsigned
	Int32                   // signed
	Perm                    // the permission bits of a mode
)

// A Subject is the path, or the part of one, that a Test looks at.
type Subject uint8

// Subjects.
const (
	Opened    Subject = iota + 1 // the path of an open, in each form
	Directory                    // of it
	Basename                     // of it
	Raw                          // as passed, an open's
	First                        // path argument
	Second
	ExecPath // of the program that was started
	ExecCwd  // working directory, with a slash behind it
	ExecName // argv[0]
	ExecArgs // the others
	ExecEnv
	ExecLine // the process's name and the arguments
)

// An End is what of a connection a Test looks at.
type End uint8

// Ends.
const (
	Client End = iota + 1
	Server
	Local
	Remote
	Either // of client and server: one is enough, but both must differ for !=
)

// A Test is a comparison that the kernel makes. It stands for a comparison of a rule: where Exact is set, they agree; where not, the kernel
// only knows when that one is false.
type Test struct {
	Kind    Kind
	Fact    Fact
	Arg     int // of Fact Arg
	Width   Width
	Subject Subject
	End     End
	Op      filter.Op
	Signed  bool
	Exact   bool

	May, MayNot uint64   // of Class: values for which it may be true, and false
	Values      []uint64 // of Number and Bits
	Success     bool     // of Errno: what it is for a call that succeeded
	Others      bool     // of Errno: what it is for errors that are not in Values
	Strings     []string
	Nets        []netip.Prefix // of Address

	Name int // of Names: index of the bit in a process's name, given by Compile

	text  string // as the first rule has it
	key   string
	stage Stage
	cost  int
}

// finish fills what follows from the rest.
func (t *Test) finish() *Test {
	t.stage = t.Fact.Stage()
	t.cost = [...]int{Class: 2, Number: 2, Bits: 3, Errno: 3, Names: 4, Path: 8, NameText: 5, Address: 8, Program: 9}[t.Kind]
	switch {
	case t.Kind == Path && (t.Op == filter.Contains || t.Op == filter.IContains):
		t.cost = 60
	case t.Kind == Program && t.Subject == ExecEnv: // it is long
		t.cost = 200
	case t.Kind == Program && (t.Op == filter.Contains || t.Op == filter.IContains):
		t.cost = 30
	case t.Kind == Path:
		t.cost += 4 * min(len(t.Strings), straightTexts)
	case t.Kind == Address:
		t.cost += 4 * min(len(t.Nets), straightNets)
	case t.Kind == Number && len(t.Values) > 1:
		t.cost += bits.Len(uint(len(t.Values)))
	case t.stage == StageTask:
		t.cost = 5
	}
	b := fmt.Appendf(nil, "%d %d %d %d %d %d %d %v %v %x %x %v %v", t.Kind, t.Fact, t.Arg, t.Width, t.Subject, t.End, t.Op, t.Signed, t.Exact,
		t.May, t.MayNot, t.Success, t.Others)
	for _, n := range t.Nets {
		b = n.AppendTo(append(b, ' '))
	}
	for _, v := range t.Values {
		b = append(strconv.AppendUint(append(b, ' '), v, 16), ' ')
	}
	slices.Sort(t.Strings)
	t.Strings = slices.Compact(t.Strings)
	for _, s := range t.Strings {
		b = append(strconv.AppendInt(append(b, ' '), int64(len(s)), 10), s...)
	}
	t.key = string(b)
	return t
}

// odds is how likely t is true of an event: rules name what is rare, and what they except is rare as well.
func (t *Test) odds() float64 {
	negated := t.Op == filter.NotEqual
	p := 0.5
	switch t.Kind {
	case Path, Program, Address:
		p = 0.05
	case Names, NameText:
		p = 0.1
	default:
		return p
	}
	if negated {
		return 1 - p
	}
	return p
}

// String is the comparison as a rule has it; one that the kernel can only rule out begins with a tilde.
func (t *Test) String() string {
	if t.Exact || t.Kind == Class {
		return t.text
	}
	return "~" + t.text
}
