package filter

import (
	"strings"
	"unsafe"

	"github.com/cilium/ebpf/asm"

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
			g.programPair(test, t)
			g.add(asm.LoadMem(asm.R4, call, place+execLen, asm.Word))
		}
		g.add(
			asm.JEq.Imm(asm.R4, 0, f),
			asm.LoadMem(asm.R1, call, place, asm.Word),
			asm.Mov.Reg(asm.R2, asm.R4),
		)
		g.programPair(test, t)
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

// programPair goes to t if the two bytes of a test may stand in the R2 bytes of the record from R1 on.
func (g *generator) programPair(test *Test, t string) {
	g.hasPair(pairInLife, test.Strings[0][0], test.Strings[0][1], test.Op == filter.IContains, t)
}
