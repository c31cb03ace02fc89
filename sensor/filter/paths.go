package filter

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf/asm"

	"github.com/tiercel-project/tiercel/rules/filter"
)

// path compares a path, or a part of one. R4 is its length, R5 where it begins.
func (g *generator) path(test *Test, t, f, either, fall string) {
	if test.Subject == Raw {
		g.add(
			asm.LoadMem(asm.R5, asm.RFP, slotScratch, asm.DWord),
			asm.LoadMem(asm.R4, asm.R5, openRaw+2, asm.Half),
			asm.JGT.Imm(asm.R4, maxText, either),
		)
		if fold := test.Op == filter.IContains; g.inline || g.next.Short {
			g.contains(test.Strings[0], openRaw+4, maxText, fold, t)
		} else {
			g.add(asm.Mov.Imm(asm.R1, int32(openRaw+4)), asm.Mov.Reg(asm.R2, asm.R4))
			g.anyPair(pairInCall, test.Strings[0], fold, t)
		}
		g.finally(f, fall)
		return
	}
	if g.longList(test) {
		g.textTrie(test, t, f)
		return
	}
	at := g.subject(test.Subject, f, either)
	if test.Op == filter.NotEqual {
		t, f = f, t
	}
	if test.Op == filter.Contains || test.Op == filter.IContains {
		g.add(asm.JGT.Imm(asm.R4, maxText, either))
		if fold := test.Op == filter.IContains; g.next.Short {
			g.contains(test.Strings[0], at, maxText, fold, t)
		} else {
			g.textHasPair(test.Strings[0], at, fold, t)
		}
		g.finally(f, fall)
		return
	}
	if test.Op == filter.In {
		g.oneOf(test.Strings, at, t, f)
		return
	}
	for _, s := range test.Strings {
		if len(s) > maxText {
			continue
		}
		on := g.newLabel()
		g.candidate(test.Op, s, at, on, either)
		if test.Op == filter.PMatch {
			g.add(asm.JEq.Imm(asm.R4, int32(len(s)), t), asm.LoadMem(asm.R1, asm.R5, at+int16(len(s)), asm.Byte), asm.JEq.Imm(asm.R1, '/', t))
		} else {
			g.jump(t)
		}
		g.place(on)
	}
	// A place must be taken by an instruction: whatever falls through here is false.
	g.jump(f)
	_ = fall
}

// oneOf goes to t if the R4 bytes at R5 and at are one of some texts, else to f. Those of other lengths are not looked at.
func (g *generator) oneOf(texts []string, at int16, t, f string) {
	of := map[uint64][]string{}
	to := map[uint64]string{}
	for _, s := range texts {
		n := uint64(len(s))
		if n > maxText {
			continue
		}
		if of[n] = append(of[n], s); to[n] == "" {
			to[n] = g.newLabel()
		}
	}
	lengths := slices.Sorted(maps.Keys(of))
	g.choose(asm.R4, lengths, to, f)
	for _, n := range lengths {
		g.place(to[n])
		for _, s := range of[n] {
			on := g.newLabel()
			g.words(asm.R5, at, s, on)
			g.jump(t)
			g.place(on)
		}
		g.jump(f) // a place must be taken by an instruction
	}
}

// subject makes R4 and R5 of a subject, and returns where its bytes stand from R5. A name of a file that is none is null: f.
func (g *generator) subject(s Subject, f, either string) (at int16) {
	at = textOffset(s) + textBytes
	g.add(asm.Mov.Reg(asm.R5, text))
	switch s {
	case Directory:
		g.add(asm.LoadMem(asm.R4, text, textDir, asm.Word))
	case Basename:
		g.add(
			asm.LoadMem(asm.R1, call, callKind, asm.Word),
			asm.JNE.Imm(asm.R1, kindFile, f),
			asm.LoadMem(asm.R3, text, textBase, asm.Word),
			asm.JGT.Imm(asm.R3, maxText, either),
			asm.LoadMem(asm.R4, text, textLen, asm.Word),
			asm.Sub.Reg(asm.R4, asm.R3),
			asm.Add.Reg(asm.R5, asm.R3),
		)
	default:
		g.add(asm.LoadMem(asm.R4, text, textOffset(s)+textLen, asm.Word))
	}
	return at
}

// candidate goes to no unless the subject is s, begins with it, or ends with it.
func (g *generator) candidate(op filter.Op, s string, at int16, no, either string) {
	n := int32(len(s))
	switch op {
	case filter.EndsWith:
		g.add(
			asm.JGT.Imm(asm.R4, maxText, either),
			asm.JLT.Imm(asm.R4, n, no),
			asm.Mov.Reg(asm.R3, asm.R4),
			asm.Sub.Imm(asm.R3, n),
			asm.Mov.Reg(asm.R0, asm.R5),
			asm.Add.Reg(asm.R0, asm.R3),
		)
		g.words(asm.R0, at, s, no)
		return
	case filter.StartsWith, filter.PMatch:
		g.add(asm.JLT.Imm(asm.R4, n, no))
	default:
		g.add(asm.JNE.Imm(asm.R4, n, no))
	}
	g.words(asm.R5, at, s, no)
}

// words goes to no unless s stands at an address.
func (g *generator) words(p asm.Register, at int16, s string, no string) {
	b := []byte(s)
	for ; len(b) >= 8; b, at = b[8:], at+8 {
		g.add(asm.LoadMem(asm.R1, p, at, asm.DWord), asm.LoadImm(asm.R2, int64(binary.LittleEndian.Uint64(b)), asm.DWord), asm.JNE.Reg(asm.R1, asm.R2, no))
	}
	for _, size := range []asm.Size{asm.Word, asm.Half, asm.Byte} {
		n := size.Sizeof()
		if len(b) < n {
			continue
		}
		var w [8]byte
		copy(w[:], b[:n])
		v := int64(binary.LittleEndian.Uint64(w[:]))
		g.add(asm.LoadMem(asm.R1, p, at, size))
		if size == asm.Word && v > 1<<31-1 {
			g.add(asm.LoadImm(asm.R2, v, asm.DWord), asm.JNE.Reg(asm.R1, asm.R2, no))
		} else {
			g.add(asm.JNE.Imm(asm.R1, int32(v), no))
		}
		b, at = b[n:], at+int16(n)
	}
}

// contains goes to t if two neighbouring bytes of s may stand in the R4 bytes at R5, which are at most so many: without them s does not either.
// It looks at eight places at a time, for the second byte only where the first one is, and may see the two where they are not; with fold, also
// in the other case.
func (g *generator) contains(s string, at, most int16, fold bool, t string) {
	if fold {
		s = strings.ToLower(s)
	}
	a, b := rarePair(s)
	done := g.newLabel()
	g.add(asm.LoadImm(asm.R0, ones, asm.DWord))
	for i := int16(0); i <= most; i += 8 {
		next := g.newLabel()
		g.add(asm.JLE.Imm(asm.R4, int32(i), done))
		g.bytesAre(asm.R1, at+i, a, fold)
		g.add(asm.JEq.Imm(asm.R1, 0, next))
		g.bytesAre(asm.R2, at+i+1, b, fold)
		g.add(asm.And.Reg(asm.R1, asm.R2), asm.JNE.Imm(asm.R1, 0, t))
		g.place(next)
	}
	g.place(done)
}

// bytesAre leaves of reg the high bit of each byte where the byte at R5 and at is c. R0 holds ones, R3 is lost.
func (g *generator) bytesAre(reg asm.Register, at int16, c byte, fold bool) {
	g.add(asm.LoadMem(reg, asm.R5, at, asm.DWord))
	if fold {
		c |= lower & 0xff // the bit that tells the cases of a letter apart
		g.add(asm.LoadImm(asm.R3, lower, asm.DWord), asm.Or.Reg(reg, asm.R3))
	}
	g.add(
		asm.LoadImm(asm.R3, int64(uint64(c)*ones), asm.DWord),
		asm.Xor.Reg(reg, asm.R3),
		asm.Mov.Reg(asm.R3, reg),
		asm.Sub.Reg(asm.R3, asm.R0),
		asm.Xor.Imm(reg, -1),
		asm.And.Reg(reg, asm.R3),
		asm.LoadImm(asm.R3, highs, asm.DWord),
		asm.And.Reg(reg, asm.R3),
	)
}

// rarePair returns the two neighbouring bytes of s that paths have least; of several such, those of which the second is the rarer.
func rarePair(s string) (a, b byte) {
	best := -1
	for i := 0; i+1 < len(s); i++ {
		if r := pairRarity(s[i], s[i+1]); r > best || r == best && byteRarity(s[i+1]) > byteRarity(b) {
			best, a, b = r, s[i], s[i+1]
		}
	}
	return a, b
}

// pairRarity is how rare two neighbouring bytes are in paths.
func pairRarity(a, b byte) int {
	r := byteRarity(a) + byteRarity(b)
	if a == b {
		r++
	}
	return r
}

// byteRarity is how rare a byte is in paths.
func byteRarity(c byte) int {
	switch {
	case c >= 'a' && c <= 'z', c == '/':
		return 0
	case c >= '0' && c <= '9':
		return 1
	case c == '.' || c == '-':
		return 2
	}
	return 4
}
