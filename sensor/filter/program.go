package filter

import (
	"strings"
	"unsafe"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/tiercel-project/tiercel/bpf"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
	"github.com/tiercel-project/tiercel/rules/match"
)

// execTexts are the fields that stand in the record of an exec as text.
var execTexts = map[field.ID]Subject{
	field.ProcExepath: ExecPath, field.ProcCwd: ExecCwd, field.ProcExe: ExecName, field.ProcArgs: ExecArgs, field.ProcEnv: ExecEnv,
	field.ProcCmdline: ExecLine,
}

// execTest is about a text of an exec; nil if the kernel cannot tell.
func execTest(a *match.Atom, s Subject) *Test {
	ref := &a.Left.Ref
	if ref.Index >= 0 || ref.Arg != "" || a.Mod != 0 && (a.Mod != filter.AnyOf || a.Op != filter.Equal) || len(a.Values) == 0 || len(a.Values) > straightTexts {
		return nil
	}
	t := &Test{Kind: Program, Fact: ExecText, Subject: s, Op: a.Op}
	for _, v := range a.Values {
		if v.Bytes == "" || len(v.Bytes) > maxText {
			return nil
		}
		t.Strings = append(t.Strings, v.Bytes)
	}
	switch a.Op {
	case filter.Glob, filter.IGlob:
		t = patternTest(t, a.Op)
	case filter.Regex:
		t = regexTest(t)
	case filter.StartsWith, filter.Equal, filter.In, filter.Intersects, filter.NotEqual:
		t.Exact = true
	}
	if t == nil {
		return nil
	}
	switch t.Op {
	case filter.Equal, filter.In, filter.Intersects, filter.NotEqual:
		if s != ExecPath && s != ExecName {
			return nil
		}
		if t.Op != filter.NotEqual {
			t.Op = filter.In
		}
	case filter.StartsWith:
		switch s {
		case ExecArgs:
			t.Exact = t.Exact && !strings.HasSuffix(t.Strings[0], " ") // what ends the last argument is no blank to the rules
		case ExecCwd:
			t.Exact = t.Exact && !strings.Contains(t.Strings[0], "//") // the root has a slash already
		case ExecEnv, ExecLine:
			return nil
		}
	case filter.Contains, filter.IContains, filter.EndsWith:
		if t.Op == filter.EndsWith {
			t.Op = filter.Contains
		}
		if t.Strings[0] = solidPair(t.Strings[0], t.Op == filter.IContains); t.Strings[0] == "" || s == ExecCwd {
			return nil
		}
	default:
		return nil
	}
	return t.finish()
}

// solidPair returns the two neighbouring bytes of s that texts have least, of those that are not blank: in the record there may be a NUL for a
// blank. It returns none if there are no such two.
func solidPair(s string, fold bool) string {
	if fold {
		s = strings.ToLower(s)
	}
	best := ""
	for _, part := range strings.Split(s, " ") {
		if len(part) < 2 {
			continue
		}
		a, b := rarePair(part)
		if best == "" || pairRarity(a, b) > pairRarity(best[0], best[1]) {
			best = string([]byte{a, b})
		}
	}
	return best
}

// Where the texts of an exec stand in struct call.
const (
	execAt     = int16(unsafe.Offsetof(bpf.SensorCall{}.Exec))
	execSize   = int16(unsafe.Sizeof(bpf.SensorCall{}.Exec[0]))
	execLen    = int16(unsafe.Offsetof(bpf.SensorCall{}.Exec[0].Len))
	recordMax  = 32<<10 - 4096 - 64 // RECORD_MAX
	sectionMax = 4096               // PATH_LEN
	headName   = int32(unsafe.Offsetof(bpf.SensorHead{}.Comm))
)

// execPlaces are the places of texts in struct call: enum exec_text_index.
var execPlaces = map[Subject]int16{
	ExecPath: execAt, ExecCwd: execAt + execSize, ExecName: execAt + 2*execSize, ExecArgs: execAt + 3*execSize, ExecEnv: execAt + 4*execSize,
	ExecLine: execAt + 3*execSize,
}

// program compares a text of an exec.
func (g *generator) program(test *Test, t, f, either string) {
	place := execPlaces[test.Subject]
	g.add(asm.LoadMem(asm.R4, call, place+execLen, asm.Word), asm.JGT.Imm(asm.R4, sectionMax, either))
	if test.Op == filter.Contains || test.Op == filter.IContains {
		if test.Subject == ExecLine {
			g.add(asm.Mov.Imm(asm.R1, headName), asm.Mov.Imm(asm.R2, maxName+1))
			g.hasPair(test, t)
			g.add(asm.LoadMem(asm.R4, call, place+execLen, asm.Word))
		}
		g.add(
			asm.JEq.Imm(asm.R4, 0, f),
			asm.LoadMem(asm.R1, call, place, asm.Word),
			asm.Mov.Reg(asm.R2, asm.R4),
		)
		g.hasPair(test, t)
		g.jump(f)
		return
	}
	switch test.Subject {
	case ExecCwd:
		g.add(asm.JEq.Imm(asm.R4, 0, either)) // rules see the one known from before
	case ExecPath, ExecName:
		g.add(asm.JEq.Imm(asm.R4, 0, f)) // null
	}
	if test.Op == filter.NotEqual {
		t, f = f, t
	}
	g.add(
		asm.LoadMem(asm.R5, asm.RFP, slotScratch, asm.DWord),
		asm.LoadMem(asm.R3, call, place, asm.Word),
		asm.JGT.Imm(asm.R3, recordMax, either),
		asm.Add.Reg(asm.R5, asm.R3),
	)
	for _, s := range test.Strings {
		on := g.newLabel()
		g.text(test, s, t, on)
		g.place(on)
	}
	g.jump(f) // a place must be taken by an instruction
}

// text goes to t if the R4 bytes at R5 are s, or begin with it, else to no.
func (g *generator) text(test *Test, s, t, no string) {
	n := int32(len(s))
	switch {
	case test.Op != filter.StartsWith:
		g.add(asm.JNE.Imm(asm.R4, n, no))
		g.words(asm.R5, 0, s, no)
	case test.Subject == ExecArgs:
		g.add(asm.JLT.Imm(asm.R4, n, no))
		g.argWords(s, no)
	case test.Subject == ExecCwd && n > 1 && s[n-1] == '/':
		short := s[:n-1]
		g.add(asm.JLT.Imm(asm.R4, n-1, no))
		g.words(asm.R5, 0, short, no)
		g.add(asm.JEq.Imm(asm.R4, n-1, t), asm.LoadMem(asm.R1, asm.R5, int16(n-1), asm.Byte), asm.JNE.Imm(asm.R1, '/', no))
	default:
		g.add(asm.JLT.Imm(asm.R4, n, no))
		g.words(asm.R5, 0, s, no)
	}
	g.jump(t)
}

// argWords goes to no unless the arguments at R5 begin with s: a blank of it may be the NUL that ends one of them.
func (g *generator) argWords(s, no string) {
	at := int16(0)
	for i, part := range strings.Split(s, " ") {
		if i > 0 {
			on := g.newLabel()
			g.add(
				asm.LoadMem(asm.R1, asm.R5, at, asm.Byte),
				asm.JEq.Imm(asm.R1, 0, on),
				asm.JNE.Imm(asm.R1, ' ', no),
			)
			g.place(on)
			at++
		}
		g.words(asm.R5, at, part, no)
		at += int16(len(part))
	}
}

// pairFunction is the name of the function that looks for two bytes.
const pairFunction = "has_pair"

const ones, highs, lower = 0x0101010101010101, -0x7f7f7f7f7f7f7f80, 0x2020202020202020

// hasPair goes to t if the two bytes of a test may stand in the R2 bytes of the record from R1 on.
func (g *generator) hasPair(test *Test, t string) {
	a, b, fold := uint64(test.Strings[0][0]), uint64(test.Strings[0][1]), int64(0)
	if test.Op == filter.IContains {
		a, b, fold = a|0x20, b|0x20, lower // the bit that tells the cases of a letter apart
	}
	g.pairs = true
	g.add(
		asm.LoadImm(asm.R3, int64(a*ones), asm.DWord),
		asm.LoadImm(asm.R4, int64(b*ones), asm.DWord),
		asm.LoadImm(asm.R5, fold, asm.DWord),
		asm.Call.Label(pairFunction),
		asm.JNE.Imm(asm.R0, 0, t),
	)
}

// withFunctions is what the generator has written, with the functions that it calls behind.
func (g *generator) withFunctions() asm.Instructions {
	if !g.pairs {
		return g.ins
	}
	number := &btf.Int{Name: "u64", Size: 8}
	result := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	first := &btf.Func{
		Name: "filter", Linkage: btf.GlobalFunc,
		Type: &btf.FuncProto{Return: result, Params: []btf.FuncParam{{Name: "ctx", Type: &btf.Pointer{Target: &btf.Void{}}}}},
	}
	second := &btf.Func{Name: pairFunction, Linkage: btf.GlobalFunc, Type: &btf.FuncProto{Return: result, Params: []btf.FuncParam{
		{Name: "at", Type: number}, {Name: "n", Type: number}, {Name: "a", Type: number}, {Name: "b", Type: number}, {Name: "fold", Type: number},
	}}}
	function := pairIn(g.env.Scratches)
	g.ins[0] = btf.WithFuncMetadata(g.ins[0].WithSymbol("filter"), first)
	function[0] = btf.WithFuncMetadata(function[0].WithSymbol(pairFunction), second)
	return append(g.ins, function...)
}

// pairIn is a function that the verifier looks at once, whoever calls it. It returns 1 if two bytes may stand next to each other in the n bytes
// of the record from a place on, or if it cannot tell: a has the first one in each of its bytes, b the second, fold the bits that do not count.
// It looks at eight places at a time, and may see them where they are not.
func pairIn(scratches int) asm.Instructions {
	const at, n, a, b, fold, step = asm.R6, asm.R7, asm.R8, asm.R9, asm.R1, asm.R2
	zeroes := func(reg asm.Register, offset int16, c asm.Register) asm.Instructions {
		return asm.Instructions{ // the high bit of each byte that is c's is set
			asm.LoadMem(reg, asm.R0, offset, asm.DWord),
			asm.Or.Reg(reg, fold),
			asm.Xor.Reg(reg, c),
			asm.Mov.Reg(asm.R5, reg),
			asm.Sub.Reg(asm.R5, at), // which is ones by then
			asm.Xor.Imm(reg, -1),
			asm.And.Reg(reg, asm.R5),
		}
	}
	const slotFold = -16
	ins := asm.Instructions{
		asm.Mov.Reg(at, asm.R1),
		asm.Mov.Reg(n, asm.R2),
		asm.Mov.Reg(a, asm.R3),
		asm.Mov.Reg(b, asm.R4),
		asm.StoreMem(asm.RFP, slotFold, asm.R5, asm.DWord),
		asm.JGT.Imm(at, recordMax, "maybe"),
		asm.StoreImm(asm.RFP, slotKey, slotOfLives, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, int32(slotKey)),
		asm.LoadMapPtr(asm.R1, scratches),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "maybe"),
		asm.Add.Reg(asm.R0, at),
		asm.LoadImm(at, ones, asm.DWord),
		asm.LoadMem(fold, asm.RFP, slotFold, asm.DWord),
		asm.Mov.Imm(step, 0),
		asm.JGE.Reg(step, n, "no").WithSymbol("next"),
	}
	ins = append(ins, zeroes(asm.R3, 0, a)...)
	ins = append(ins, zeroes(asm.R4, 1, b)...)
	return append(ins,
		asm.And.Reg(asm.R3, asm.R4),
		asm.LoadImm(asm.R5, highs, asm.DWord),
		asm.And.Reg(asm.R3, asm.R5),
		asm.JNE.Imm(asm.R3, 0, "maybe"),
		asm.Add.Imm(asm.R0, 8),
		asm.Add.Imm(step, 8),
		asm.JLT.Imm(step, sectionMax, "next"),
		asm.JGT.Imm(n, sectionMax, "maybe"),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("no"),
		asm.Return(),
		asm.Mov.Imm(asm.R0, 1).WithSymbol("maybe"),
		asm.Return(),
	)
}
