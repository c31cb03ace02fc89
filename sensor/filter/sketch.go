package filter

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

// A Sketch is what of an open says that no rule can match it, whatever else it is: its path begins with none of Heads and ends with none of
// Tails, has none of Pairs in it, and so on. The kernel looks for that before it captures anything (bpf/c/sketch.h).
type Sketch struct {
	Heads []string // first eight bytes of a path, or first four
	Tails []string // last eight, if none is a slash, or last four
	Pairs []string // two neighbouring bytes
	Names []string // of the process
	Exec  bool     // a file that is made is not one that somebody may execute
	Check bool     // what is dropped leaves the kernel, to be checked

	// Where says that the path must be known, not only how it was passed, and that it is not in the root; PathPairs, that Pairs are looked for in all
	// of the path.
	Where, PathPairs bool
}

// Bounds of a Sketch. The kernel keeps its texts in sets of 1024 bits by their hash, in which a tenth of all bits may be taken.
const (
	maxSketchTexts = 100
	maxSketchPairs = 4
	tailBytes      = 4
)

// SketchLong is the length of the longer ones of a Sketch's heads and tails.
const SketchLong = 8

// SketchTypes are the event types of which there are sketches: opens whose flags are in a register.
var SketchTypes = [...]field.EventType{field.EventOpen, field.EventOpenat, field.EventCreat}

// needs are what of a Sketch a comparison is false without.
type needs uint8

const (
	needsHead needs = 1 << iota
	needsDepth
	needsTail
	needsPair // in the path
	needsRaw  // a pair in the path as passed
	needsName
	needsExec
)

// where are those that the path as passed does not tell: it may be relative, and not clean.
const where = needsHead | needsDepth | needsTail | needsPair

// needs returns what e, a literal, is false without; 0 if it may be true of any open.
func (e *Expr) needs() needs {
	t := e.Test
	if t.Kind == Class {
		mask := t.May
		if e.Not {
			mask = t.MayNot
		}
		if t.Fact == OpenExec && mask&1 == 0 {
			return needsExec
		}
		return 0
	}
	if e.Not != (t.Op == filter.NotEqual) {
		return 0
	}
	switch t.Kind {
	case Names:
		return needsName
	case Path:
		return t.pathNeeds()
	}
	return 0
}

func (t *Test) pathNeeds() needs {
	shortest := len(slices.MinFunc(t.Strings, func(a, b string) int { return len(a) - len(b) }))
	whole := t.Subject == Opened || t.Subject == Directory
	switch t.Op {
	case filter.In, filter.NotEqual:
		switch {
		case t.Subject == Basename && shortest >= tailBytes-1:
			return needsTail
		case t.Subject == Directory && slices.ContainsFunc(t.Strings, func(s string) bool { return len(s) < headBytes && s != "/" }):
			return 0
		case whole && shortest < headBytes:
			return needsHead | needsDepth
		case whole:
			return needsHead
		}
	case filter.StartsWith, filter.PMatch:
		if whole && shortest >= headBytes {
			return needsHead
		}
	case filter.EndsWith:
		if (t.Subject == Opened || t.Subject == Basename) && shortest >= tailBytes {
			return needsTail
		}
	case filter.Contains:
		switch {
		case t.Subject == Raw:
			return needsRaw
		case openPair(t.Strings[0]) != "":
			return needsPair
		}
	}
	return 0
}

// openPair is the rarest pair of s that does not end with a slash: a component of a directory is looked at without what follows it.
func openPair(s string) string {
	best := ""
	for i := 0; i+1 < len(s); i++ {
		if p := s[i : i+2]; p[1] != '/' && (best == "" || pairRarity(p[0], p[1]) > pairRarity(best[0], best[1])) {
			best = p
		}
	}
	return best
}

// Sketches returns the sketches of opens by their shape: nil where there is none, and where all opens of a shape are dropped for that.
func (f *Filter) Sketches(p *Plan) (out [shapes]*Sketch) {
	if !slices.Contains(SketchTypes[:], f.Type) || !f.Late() {
		return out
	}
	dropped, _ := f.Shapes(p)
	for shape := range uint32(shapes) {
		if dropped>>shape&1 == 0 {
			out[shape] = f.sketch(shape, p.opts.Shadow)
		}
	}
	return out
}

// maxSketched bounds the comparisons that are tried one by one, each of them for each shape.
const maxSketched = 200

// sketch makes the sketch of opens of a shape: of what makes f's condition false, as little as is enough, and rather what costs little.
func (f *Filter) sketch(shape uint32, check bool) *Sketch {
	ruledOut := map[*Expr]needs{} // literals that are, where there is nothing of the sketch
	f.Expr.walk(func(l *Expr) {
		if n := l.needs(); n != 0 {
			ruledOut[l] = n
		}
	})
	enough := func() bool { return !f.Expr.mayBeTrue(shape, ruledOut) }
	if !enough() {
		return nil
	}
	without := func(is func(*Expr, needs) bool) {
		before := maps.Clone(ruledOut)
		if maps.DeleteFunc(ruledOut, is); !enough() {
			ruledOut = before
		}
	}
	for _, n := range []needs{where, needsName, needsPair, needsRaw, needsDepth, needsTail, needsExec, needsHead} {
		without(func(_ *Expr, has needs) bool { return has&n != 0 })
	}
	f.Expr.walk(func(l *Expr) {
		if n := ruledOut[l]; n != 0 && (len(ruledOut) <= maxSketched || n&(needsName|needsPair) != 0) {
			without(func(other *Expr, _ needs) bool { return other == l })
		}
	})
	s := &Sketch{Check: check}
	f.Expr.walk(func(l *Expr) { s.add(l.Test, ruledOut[l]) })
	if max(len(s.Heads), len(s.Tails), len(s.Names)) > maxSketchTexts || len(s.Pairs) > maxSketchPairs {
		return nil
	}
	return s
}

// mayBeTrue reports whether e may be true of an open of a shape of which some literals are false.
func (e *Expr) mayBeTrue(shape uint32, ruledOut map[*Expr]needs) bool {
	may := func(k *Expr) bool { return k.mayBeTrue(shape, ruledOut) }
	switch e.Op {
	case False:
		return false
	case And:
		return !slices.ContainsFunc(e.Kids, func(k *Expr) bool { return !may(k) })
	case Or:
		return slices.ContainsFunc(e.Kids, may)
	case Literal:
		if ruledOut[e] != 0 {
			return false
		}
		is, _ := e.ofShape(shape)
		return is
	}
	return true
}

// add has s know what a comparison needs.
func (s *Sketch) add(t *Test, n needs) {
	add := func(to *[]string, text string) {
		if !slices.Contains(*to, text) {
			*to = append(*to, text)
		}
	}
	s.Where, s.PathPairs = s.Where || n&where != 0, s.PathPairs || n&needsPair != 0
	switch {
	case n&needsExec != 0:
		s.Exec = true
	case n&needsName != 0:
		for _, name := range t.Strings {
			add(&s.Names, name)
		}
	case n&needsPair != 0:
		add(&s.Pairs, openPair(t.Strings[0]))
	case n&needsRaw != 0:
		a, b := rarePair(t.Strings[0])
		add(&s.Pairs, string([]byte{a, b}))
	case n&needsHead != 0:
		for _, text := range t.Strings {
			switch {
			case len(text) >= SketchLong:
				add(&s.Heads, text[:SketchLong])
			case len(text) >= headBytes:
				add(&s.Heads, text[:headBytes])
			}
		}
	case n&needsTail != 0:
		for _, text := range t.Strings {
			add(&s.Tails, tail("/"+text)) // the slash before a name
		}
	}
}

// tail is what a path ends with that ends with text. Names of fewer than eight bytes have a slash among a path's last eight.
func tail(text string) string {
	if long := text[max(0, len(text)-SketchLong):]; len(long) == SketchLong && !strings.Contains(long, "/") {
		return long
	}
	return text[len(text)-tailBytes:]
}

// SketchWords is the size of a SketchSet.
const SketchWords = 16

// A SketchSet is texts by their hash, as the kernel looks them up. Others may seem to be in it.
type SketchSet [SketchWords]uint64

// Add adds the first eight bytes of text.
func (s *SketchSet) Add(text string) {
	var b [8]byte
	copy(b[:], text)
	h := binary.LittleEndian.Uint64(b[:]) * 0x9e3779b97f4a7c15 >> 54
	s[h/64] |= 1 << (h % 64)
}
