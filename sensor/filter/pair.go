package filter

import (
	"strings"
	"unsafe"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/tiercel-project/tiercel/bpf"
)

// A pairPlace is where a function looks for two bytes: in an element of an array of structures. The verifier looks at each function once,
// whoever calls it.
type pairPlace uint8

const (
	pairInLife pairPlace = iota // the record about a process
	pairInCall                  // the record of a call
	pairInText                  // the texts of a call's paths
	pairPlaces
)

// name is the function's.
func (p pairPlace) name() string { return [...]string{"has_pair", "has_pair_call", "has_pair_text"}[p] }

// bounds are the last place where a text may begin, and how long it may be.
func (p pairPlace) bounds() (last, most int32) {
	if p == pairInText {
		return int32(unsafe.Sizeof(bpf.SensorTexts{})) - 2*(maxText+1), maxText + 1
	}
	return recordMax, sectionMax
}

// array returns the map and the index of the element.
func (p pairPlace) array(env *Env) (fd int, index int64) {
	switch p {
	case pairInCall:
		return env.Scratches, slotOfCalls
	case pairInText:
		return env.Texts, 0
	}
	return env.Scratches, slotOfLives
}

const ones, highs, lower = 0x0101010101010101, -0x7f7f7f7f7f7f7f80, 0x2020202020202020

// hasPair goes to t if two bytes may stand next to each other in the R2 bytes from R1 on of a place.
func (g *generator) hasPair(in pairPlace, first, second byte, fold bool, t string) {
	a, b, folded := uint64(first), uint64(second), int64(0)
	if fold {
		a, b, folded = a|0x20, b|0x20, lower // the bit that tells the cases of a letter apart
	}
	g.pairs[in] = true
	g.add(
		asm.LoadImm(asm.R3, int64(a*ones), asm.DWord),
		asm.LoadImm(asm.R4, int64(b*ones), asm.DWord),
		asm.LoadImm(asm.R5, folded, asm.DWord),
		asm.Call.Label(in.name()),
		asm.JNE.Imm(asm.R0, 0, t),
	)
}

// textHasPair goes to t if the text of R4 bytes at R5 and at may have s in it. The text is one of the texts of paths.
func (g *generator) textHasPair(s string, at int16, fold bool, t string) {
	g.add(
		asm.Mov.Reg(asm.R1, asm.R5),
		asm.LoadMem(asm.R2, asm.RFP, slotForm, asm.DWord),
		asm.Sub.Reg(asm.R1, asm.R2),
		asm.Add.Imm(asm.R1, int32(at)),
		asm.Mov.Reg(asm.R2, asm.R4),
	)
	g.anyPair(pairInText, s, fold, t)
}

// anyPair is hasPair for the two neighbouring bytes of s that paths have least.
func (g *generator) anyPair(in pairPlace, s string, fold bool, t string) {
	if fold {
		s = strings.ToLower(s)
	}
	a, b := rarePair(s)
	g.hasPair(in, a, b, fold, t)
}

// withFunctions is what the generator has written, with the functions that it calls behind.
func (g *generator) withFunctions() asm.Instructions {
	if g.pairs == ([pairPlaces]bool{}) {
		return g.ins
	}
	number := &btf.Int{Name: "u64", Size: 8}
	result := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	first := &btf.Func{
		Name: "filter", Linkage: btf.GlobalFunc,
		Type: &btf.FuncProto{Return: result, Params: []btf.FuncParam{{Name: "ctx", Type: &btf.Pointer{Target: &btf.Void{}}}}},
	}
	g.ins[0] = btf.WithFuncMetadata(g.ins[0].WithSymbol("filter"), first)
	out := g.ins
	for p := range pairPlaces {
		if !g.pairs[p] {
			continue
		}
		f := &btf.Func{Name: p.name(), Linkage: btf.GlobalFunc, Type: &btf.FuncProto{Return: result, Params: []btf.FuncParam{
			{Name: "at", Type: number}, {Name: "n", Type: number}, {Name: "a", Type: number}, {Name: "b", Type: number}, {Name: "fold", Type: number},
		}}}
		function := pairIn(p, g.env)
		function[0] = btf.WithFuncMetadata(function[0].WithSymbol(p.name()), f)
		out = append(out, function...)
	}
	return out
}

// pairIn returns 1 if two bytes may stand next to each other in the n bytes from a place on, or if it cannot tell: a has the first one in each of
// its bytes, b the second, fold the bits that do not count. It looks at eight places at a time, and may see them where they are not.
func pairIn(p pairPlace, env *Env) asm.Instructions {
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
	const slotFold, slotFound = -16, -24
	fd, index := p.array(env)
	last, most := p.bounds()
	no, maybe, next, on := p.name()+"no", p.name()+"maybe", p.name()+"next", p.name()+"on"
	ins := asm.Instructions{
		asm.Mov.Reg(at, asm.R1),
		asm.Mov.Reg(n, asm.R2),
		asm.Mov.Reg(a, asm.R3),
		asm.Mov.Reg(b, asm.R4),
		asm.JEq.Imm(n, 0, no),
		asm.JGT.Imm(n, most, maybe),
		asm.JGT.Imm(at, last, maybe),
		asm.StoreMem(asm.RFP, slotFold, asm.R5, asm.DWord),
		asm.StoreImm(asm.RFP, slotKey, index, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, int32(slotKey)),
		asm.LoadMapPtr(asm.R1, fd),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, maybe),
		asm.Add.Reg(asm.R0, at),
		asm.LoadImm(at, ones, asm.DWord),
		asm.LoadMem(fold, asm.RFP, slotFold, asm.DWord),
		asm.LoadImm(asm.R4, highs, asm.DWord),
		asm.Mov.Imm(step, 0),
	}
	second := zeroes(asm.R3, 1, b) // first, as that is the rarer one: see rarePair
	second[0] = second[0].WithSymbol(next)
	ins = append(append(ins, second...), asm.And.Reg(asm.R3, asm.R4), asm.JEq.Imm(asm.R3, 0, on))
	ins = append(ins, asm.StoreMem(asm.RFP, slotFound, asm.R3, asm.DWord))
	ins = append(ins, zeroes(asm.R3, 0, a)...)
	return append(ins,
		asm.LoadMem(asm.R5, asm.RFP, slotFound, asm.DWord),
		asm.And.Reg(asm.R3, asm.R5),
		asm.JNE.Imm(asm.R3, 0, maybe),
		asm.Add.Imm(asm.R0, 8).WithSymbol(on),
		asm.Add.Imm(step, 8),
		asm.JGT.Reg(n, step, next),
		asm.Mov.Imm(asm.R0, 0).WithSymbol(no),
		asm.Return(),
		asm.Mov.Imm(asm.R0, 1).WithSymbol(maybe),
		asm.Return(),
	)
}
