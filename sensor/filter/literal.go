package filter

import (
	"math"
	"math/bits"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

const (
	oDirectory = unix.O_DIRECTORY
	oTmpfile   = 0o20000000 // without O_DIRECTORY
	anyExec    = 0o111
)

// eval writes code that goes to t if e is true and to f if not. fall is the label that stands behind it.
func (g *generator) eval(e *Expr, t, f, fall string) {
	switch e.Op {
	case Literal:
		g.literal(e, t, f, fall)
	case And, Or:
		for _, k := range e.Kids[:len(e.Kids)-1] {
			on := g.newLabel()
			if e.Op == And {
				g.eval(k, on, f, on)
			} else {
				g.eval(k, t, on, on)
			}
			g.place(on)
		}
		g.eval(e.Kids[len(e.Kids)-1], t, f, fall)
	case True:
		g.jump(t)
	case False:
		g.jump(f)
	}
}

var inverse = map[asm.JumpOp]asm.JumpOp{
	asm.JEq: asm.JNE, asm.JNE: asm.JEq, asm.JGT: asm.JLE, asm.JLE: asm.JGT, asm.JGE: asm.JLT, asm.JLT: asm.JGE, asm.JSGT: asm.JSLE,
	asm.JSLE: asm.JSGT, asm.JSGE: asm.JSLT, asm.JSLT: asm.JSGE,
}

// compare goes to t if op holds for reg and v, else to f. It may use R3.
func (g *generator) compare(op asm.JumpOp, reg asm.Register, v uint64, t, f, fall string) {
	if fall == t {
		op, t, f = inverse[op], f, t
	}
	if n := int64(v); n >= math.MinInt32 && n <= math.MaxInt32 {
		g.add(op.Imm(reg, int32(n), t))
	} else {
		g.add(asm.LoadImm(asm.R3, n, asm.DWord), op.Reg(reg, asm.R3, t))
	}
	if f != fall {
		g.jump(f)
	}
}

// finally ends a literal: it goes to label unless that follows anyway.
func (g *generator) finally(label, fall string) {
	if label != fall {
		g.jump(label)
	}
}

func (g *generator) literal(e *Expr, t, f, fall string) {
	test := e.Test
	if test.Kind == Class {
		mask := test.May
		if e.Not {
			mask = test.MayNot
		}
		g.load(test, t)
		g.add(asm.Mov.Imm(asm.R2, int32(mask)), asm.RSh.Reg(asm.R2, asm.R1), asm.And.Imm(asm.R2, 1))
		g.compare(asm.JNE, asm.R2, 0, t, f, fall)
		return
	}
	either := t // where it goes if the kernel cannot tell
	if e.Not {
		t, f = f, t
	}
	switch test.Kind {
	case Address:
		g.ends(test, t, f, either)
	case NameText:
		g.nameText(test, t, f, fall)
	case Number:
		if test.Fact == EndPort {
			g.ends(test, t, f, either)
			return
		}
		g.load(test, either)
		g.number(test, t, f, fall)
	case Bits:
		g.load(test, either)
		for _, v := range test.Values {
			g.add(asm.Mov.Reg(asm.R2, asm.R1), asm.LoadImm(asm.R3, int64(v), asm.DWord), asm.And.Reg(asm.R2, asm.R3), asm.JEq.Reg(asm.R2, asm.R3, t))
		}
		g.finally(f, fall)
	case Errno:
		g.errno(test, t, f, either, fall)
	case Names:
		if test.Op == filter.NotEqual {
			t, f = f, t
		}
		g.add(asm.LoadMem(asm.R1, call, callNames+8*int16(test.Name/64), asm.DWord))
		if n := test.Name % 64; n > 0 {
			g.add(asm.RSh.Imm(asm.R1, int32(n)))
		}
		g.add(asm.And.Imm(asm.R1, 1))
		g.compare(asm.JNE, asm.R1, 0, t, f, fall)
	case Path:
		g.path(test, t, f, either, fall)
	case Program:
		g.program(test, t, f, either)
	}
}

func (g *generator) number(test *Test, t, f, fall string) {
	switch test.Op {
	case filter.In:
		g.search(ranges(test.Values), t, f)
		return
	case filter.NotEqual:
		g.compare(asm.JNE, asm.R1, test.Values[0], t, f, fall)
		return
	}
	ops := map[filter.Op][2]asm.JumpOp{
		filter.Less: {asm.JLT, asm.JSLT}, filter.LessEqual: {asm.JLE, asm.JSLE}, filter.Greater: {asm.JGT, asm.JSGT},
		filter.GreaterEqual: {asm.JGE, asm.JSGE},
	}[test.Op]
	op := ops[0]
	if test.Signed {
		op = ops[1]
	}
	g.compare(op, asm.R1, test.Values[0], t, f, fall)
}

// A numberRange is some numbers that follow one another.
type numberRange struct{ first, last uint64 }

// ranges joins sorted numbers that follow one another.
func ranges(values []uint64) []numberRange {
	var out []numberRange
	for _, v := range values {
		if n := len(out); n > 0 && out[n-1].last+1 == v {
			out[n-1].last = v
			continue
		}
		out = append(out, numberRange{v, v})
	}
	return out
}

// search goes to t if R1 is in one of the ranges, else to f: one by one if they are few.
func (g *generator) search(in []numberRange, t, f string) {
	const few = 4
	if len(in) > few {
		lower := g.newLabel()
		mid := len(in) / 2
		g.compare(asm.JLT, asm.R1, in[mid].first, lower, "", "")
		g.search(in[mid:], t, f)
		g.place(lower)
		g.search(in[:mid], t, f)
		return
	}
	for _, r := range in {
		on := g.newLabel()
		if r.first == r.last {
			g.compare(asm.JEq, asm.R1, r.first, t, on, on)
		} else {
			g.compare(asm.JLT, asm.R1, r.first, on, "", "")
			g.compare(asm.JLE, asm.R1, r.last, t, on, on)
		}
		g.place(on)
	}
	g.jump(f) // a place must be taken by an instruction
}

// errno compares the name of a result. Numbers beyond those of errors have names nobody tried.
func (g *generator) errno(test *Test, t, f, either, fall string) {
	pick := func(is bool) string {
		if is {
			return t
		}
		return f
	}
	beyond := int32(-lastErrno)
	g.add(
		asm.LoadMem(asm.R1, call, callResult, asm.DWord),
		asm.JSGE.Imm(asm.R1, 0, pick(test.Success)),
		asm.JSLT.Imm(asm.R1, beyond, either),
	)
	for _, v := range test.Values {
		g.add(asm.JEq.Imm(asm.R1, int32(int64(v)), pick(!test.Others)))
	}
	g.finally(pick(test.Others), fall)
}

// load makes R1 the fact of a test. Where that is not known at all, it goes to either.
func (g *generator) load(test *Test, either string) {
	member := func(p asm.Register, offset int16, size asm.Size) { g.add(asm.LoadMem(asm.R1, p, offset, size)) }
	k := &g.env.Kernel
	switch test.Fact {
	case Result:
		member(call, callResult, asm.DWord)
	case FDNum:
		on := g.newLabel()
		member(call, callResult, asm.DWord)
		g.add(asm.JSGE.Imm(asm.R1, -1, on), asm.Mov.Imm(asm.R1, -1))
		g.place(on)
	case Arg:
		g.argument(test)
	case UID:
		member(task, k.TaskCred, asm.DWord)
		member(asm.R1, k.CredEUID, asm.Word)
	case GID:
		member(task, k.TaskCred, asm.DWord)
		member(asm.R1, k.CredEGID, asm.Word)
	case LoginUID:
		g.loginUID()
	case PID:
		member(task, k.TaskTGID, asm.Word)
	case TID:
		member(task, k.TaskPID, asm.Word)
	case AccessMode:
		if g.openFlags(asm.R1) {
			g.add(asm.And.Imm(asm.R1, unix.O_ACCMODE))
		} else {
			g.add(asm.Mov.Imm(asm.R1, 4))
		}
	case OpenExec:
		g.openExec()
	case Created:
		g.created()
	case OpenKind:
		g.openKind()
	case CgroupKind:
		member(call, callCgroup, asm.Word)
	case SocketKind, SocketProtocol, SocketServer, SocketConnected, SocketChanged:
		member(call, socketMembers[test.Fact], asm.Word)
	case ExecFlag:
		g.add(asm.LoadMem(asm.R1, asm.RFP, slotScratch, asm.DWord))
		member(asm.R1, execFlagsAt, asm.Word)
		g.add(asm.RSh.Imm(asm.R1, int32(bits.TrailingZeros(uint(test.Arg)))), asm.And.Imm(asm.R1, 1))
	case Head:
		g.add(asm.LoadMem(asm.R1, asm.RFP, slotScratch, asm.DWord))
		member(asm.R1, int16(test.Arg), asm.Word)
	}
	_ = either
}

func (g *generator) argument(test *Test) {
	offset := callArgs + 8*int16(test.Arg)
	switch test.Width {
	case Wide:
		g.add(asm.LoadMem(asm.R1, call, offset, asm.DWord))
	case Int32:
		g.add(asm.LoadMem(asm.R1, call, offset, asm.Word), asm.LSh.Imm(asm.R1, 32), asm.ArSh.Imm(asm.R1, 32))
	case Perm:
		g.add(asm.LoadMem(asm.R1, call, offset, asm.Word), asm.And.Imm(asm.R1, 0o7777))
	default:
		g.add(asm.LoadMem(asm.R1, call, offset, asm.Word))
	}
}

func (g *generator) loginUID() {
	on := g.newLabel()
	if g.env.Kernel.TaskLoginUID < 0 {
		g.add(asm.Mov.Imm(asm.R1, -1))
		return
	}
	g.add(
		asm.LoadMem(asm.R1, task, g.env.Kernel.TaskLoginUID, asm.Word),
		asm.LoadImm(asm.R2, math.MaxUint32, asm.DWord),
		asm.JNE.Reg(asm.R1, asm.R2, on),
		asm.Mov.Imm(asm.R1, -1),
	)
	g.place(on)
}

// openFlags makes reg the flags of an open, and reports false where nobody knows them yet.
func (g *generator) openFlags(reg asm.Register) bool {
	switch {
	case g.late:
		g.add(asm.LoadMem(reg, call, callFlags, asm.Word))
	case g.filter.Type == field.EventOpen:
		g.add(asm.LoadMem(reg, call, callArgs+8, asm.Word))
	case g.filter.Type == field.EventOpenat:
		g.add(asm.LoadMem(reg, call, callArgs+16, asm.Word))
	case isCreat(g.filter.Type):
		g.add(asm.Mov.Imm(reg, unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC))
	default:
		return false
	}
	return true
}

// openExec is whether a file is made with a mode that lets somebody execute it.
func (g *generator) openExec() {
	const unknown = 2
	if !g.openFlags(asm.R2) {
		g.add(asm.Mov.Imm(asm.R1, unknown))
		return
	}
	on := g.newLabel()
	g.add(asm.Mov.Imm(asm.R1, 0), asm.And.Imm(asm.R2, unix.O_CREAT|oTmpfile), asm.JEq.Imm(asm.R2, 0, on))
	switch {
	case g.late:
		g.add(asm.LoadMem(asm.R2, call, callMode, asm.Word))
	case g.filter.Type == field.EventOpenat:
		g.add(asm.LoadMem(asm.R2, call, callArgs+24, asm.Word))
	case g.filter.Type == field.EventOpen:
		g.add(asm.LoadMem(asm.R2, call, callArgs+16, asm.Word))
	default: // creat
		g.add(asm.LoadMem(asm.R2, call, callArgs+8, asm.Word))
	}
	g.add(asm.And.Imm(asm.R2, anyExec), asm.JEq.Imm(asm.R2, 0, on), asm.Mov.Imm(asm.R1, 1))
	g.place(on)
}

// created is whether the call made the file. Before it is looked at, that is known where the call failed or could not make one.
func (g *generator) created() {
	const unknown = 2
	on := g.newLabel()
	if g.late {
		g.add(
			asm.LoadMem(asm.R1, asm.RFP, slotScratch, asm.DWord),
			asm.LoadMem(asm.R1, asm.R1, openCreated, asm.Byte),
			asm.JNE.Imm(asm.R1, 0, on),
			asm.LoadMem(asm.R2, call, callResult, asm.DWord),
			asm.JSLT.Imm(asm.R2, 0, on),
			asm.LoadMem(asm.R2, call, callFlags, asm.Word),
			asm.And.Imm(asm.R2, oTmpfile),
			asm.JEq.Imm(asm.R2, 0, on),
			asm.Mov.Imm(asm.R1, 1),
		)
		g.place(on)
		return
	}
	g.add(asm.Mov.Imm(asm.R1, 0), asm.LoadMem(asm.R2, call, callResult, asm.DWord), asm.JSLT.Imm(asm.R2, 0, on))
	if g.openFlags(asm.R2) {
		g.add(asm.And.Imm(asm.R2, unix.O_CREAT|oTmpfile), asm.JEq.Imm(asm.R2, 0, on))
	}
	g.add(asm.Mov.Imm(asm.R1, unknown))
	g.place(on)
}

// openKind is what the descriptor is. Without the file, a directory is known by the flag alone.
func (g *generator) openKind() {
	const unknown = 3
	if g.late {
		g.add(asm.LoadMem(asm.R1, call, callKind, asm.Word))
		return
	}
	on := g.newLabel()
	g.add(asm.Mov.Imm(asm.R1, 0), asm.LoadMem(asm.R2, call, callResult, asm.DWord), asm.JSLT.Imm(asm.R2, 0, on))
	if g.openFlags(asm.R2) {
		g.add(asm.Mov.Imm(asm.R1, kindDirectory), asm.JSet.Imm(asm.R2, oDirectory, on))
	}
	g.add(asm.Mov.Imm(asm.R1, unknown))
	g.place(on)
}

// taskFacts finds what tests of e want to know of the task.
func (g *generator) taskFacts(e *Expr) {
	if e.uses(func(t *Test) bool { return t.Fact == CgroupKind }) {
		g.cgroupKind()
	}
	g.nameFacts(e)
}

// nameFacts finds what tests of e want to know of the process's name.
func (g *generator) nameFacts(e *Expr) {
	sets, texts := e.uses(func(t *Test) bool { return t.Kind == Names }), e.uses(func(t *Test) bool { return t.Kind == NameText })
	if sets || texts {
		g.names(sets, texts)
	}
}

// names looks the process's name up: the one that it got at exec. A process without one passes. With sets it looks for the sets that the name
// is in, with texts it keeps where the name stands.
func (g *generator) names(sets, texts bool) {
	found, done := g.newLabel(), g.newLabel()
	g.add(
		asm.LoadMem(asm.R2, asm.RFP, slotLeader, asm.DWord),
		asm.LoadMapPtr(asm.R1, g.env.Processes),
		asm.Mov.Imm(asm.R3, 0),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnTaskStorageGet.Call(), // the name stands first
		asm.JEq.Imm(asm.R0, 0, "pass"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.Byte),
		asm.JEq.Imm(asm.R1, 0, "pass"),
	)
	if texts {
		g.add(asm.StoreMem(asm.RFP, slotName, asm.R0, asm.DWord))
	}
	if !sets {
		return
	}
	g.add(
		asm.Mov.Reg(asm.R2, asm.R0),
		asm.LoadMapPtr(asm.R1, g.env.Names),
		asm.FnMapLookupElem.Call(),
		asm.JNE.Imm(asm.R0, 0, found),
	)
	g.add(asm.Mov.Imm(asm.R1, 0))
	for i := range int16(maxNames / 64) {
		g.add(asm.StoreMem(call, callNames+8*i, asm.R1, asm.DWord))
	}
	g.jump(done)
	g.place(found)
	for i := range int16(maxNames / 64) {
		g.add(asm.LoadMem(asm.R1, asm.R0, 8*i, asm.DWord), asm.StoreMem(call, callNames+8*i, asm.R1, asm.DWord))
	}
	g.place(done)
}

// nameText compares a part of the name.
func (g *generator) nameText(test *Test, t, f, fall string) {
	s := test.Strings[0]
	g.add(asm.LoadMem(asm.R5, asm.RFP, slotName, asm.DWord))
	if test.Op == filter.StartsWith {
		g.words(asm.R5, 0, s, f)
		g.finally(t, fall)
		return
	}
	g.add(asm.Mov.Imm(asm.R4, maxName))
	g.contains(s, 0, maxName, test.Op == filter.IContains, t)
	g.finally(f, fall)
}

// cgroupKind looks up what user space said of the task's cgroup: the v2 one, or in the root of v2 that of the v1 controller.
func (g *generator) cgroupKind() {
	k := &g.env.Kernel
	have, known := g.newLabel(), g.newLabel()
	g.add(
		asm.LoadMem(asm.R2, task, k.TaskCgroups, asm.DWord),
		asm.LoadMem(asm.R1, asm.R2, k.CSSSetDefault, asm.DWord),
	)
	if g.env.V1Controller >= 0 {
		g.add(
			asm.LoadMem(asm.R3, asm.R1, k.CgroupLevel, asm.Word),
			asm.JNE.Imm(asm.R3, 0, have),
			asm.LoadMem(asm.R3, asm.R2, k.CSSSetSubsys+8*int16(g.env.V1Controller), asm.DWord),
			asm.JEq.Imm(asm.R3, 0, have),
			asm.LoadMem(asm.R3, asm.R3, k.CSSCgroup, asm.DWord),
			asm.JEq.Imm(asm.R3, 0, have),
			asm.Mov.Reg(asm.R1, asm.R3),
		)
	}
	g.place(have)
	g.add(
		asm.LoadMem(asm.R2, asm.R1, k.CgroupKN, asm.DWord),
		asm.LoadMem(asm.R2, asm.R2, k.KernfsID, asm.DWord),
		asm.StoreMem(asm.RFP, slotID, asm.R2, asm.DWord),
		asm.LoadMem(asm.R2, asm.R1, k.CgroupRoot, asm.DWord),
		asm.LoadMem(asm.R2, asm.R2, k.RootHierarchy, asm.Word),
		asm.StoreMem(asm.RFP, slotID+8, asm.R2, asm.DWord),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, int32(slotID)),
		asm.LoadMapPtr(asm.R1, g.env.CgroupKinds),
		asm.FnMapLookupElem.Call(),
		asm.Mov.Imm(asm.R1, 0),
		asm.JEq.Imm(asm.R0, 0, known),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.Word),
		asm.And.Imm(asm.R1, 3),
	)
	g.place(known)
	g.add(asm.StoreMem(call, callCgroup, asm.R1, asm.Word))
}
