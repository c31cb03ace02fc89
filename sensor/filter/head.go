package filter

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf/asm"

	"github.com/tiercel-project/tiercel/rules/filter"
)

// The head of a path is what it begins with. A program looks at it first, and then only at the comparisons that it leaves open: most lists of
// paths are of a few folders, and most paths are in others.
const headBytes = 4

// ownHeads is how many heads have a part of the program of their own: those with which most is compared. The others share one.
const ownHeads = 5

// seesHead reports whether t compares texts with the beginning of the path s, or of its directory.
func (t *Test) seesHead(s Subject) bool {
	if t.Kind != Path || t.Subject != s && (t.Subject != Directory || s != Opened) {
		return false
	}
	switch t.Op {
	case filter.In, filter.StartsWith, filter.PMatch, filter.NotEqual:
		return true
	}
	return false
}

// heads are what texts begin with that e compares with the path s, in groups: one for each part of a program.
func (e *Expr) heads(s Subject) [][]string {
	texts := map[string]int{}
	e.walk(func(l *Expr) {
		if !l.Test.seesHead(s) {
			return
		}
		for _, text := range l.Test.Strings {
			if len(text) >= headBytes {
				texts[text[:headBytes]]++
			}
		}
	})
	all := slices.SortedFunc(maps.Keys(texts), func(a, b string) int { return cmp.Or(texts[b]-texts[a], strings.Compare(a, b)) })
	var out [][]string
	for len(all) > 0 && len(out) < ownHeads {
		out, all = append(out, all[:1]), all[1:]
	}
	if len(all) > 0 {
		out = append(out, all)
	}
	return out
}

// given is e where the path s has one of some heads, or with none of them another than any text. A path that is shorter than a head may seem
// to have any: only texts that are as long as one are told apart by it.
func (e *Expr) given(s Subject, heads []string) *Expr {
	switch e.Op {
	case Literal:
		return e.literalGiven(s, heads)
	case And, Or:
		kids := make([]*Expr, len(e.Kids))
		for i, k := range e.Kids {
			kids[i] = k.given(s, heads)
		}
		return join(e.Op, kids)
	}
	return e
}

func (e *Expr) literalGiven(s Subject, heads []string) *Expr {
	t := e.Test
	if !t.seesHead(s) {
		return e
	}
	left := slices.DeleteFunc(slices.Clone(t.Strings), func(text string) bool {
		return len(text) >= headBytes && !slices.Contains(heads, text[:headBytes])
	})
	switch {
	case len(left) == 0:
		return constant(map[bool]Op{true: True, false: False}[(t.Op == filter.NotEqual) != e.Not])
	case len(left) == len(t.Strings), len(left) > straightTexts: // a list in a trie stands there once
		return e
	}
	some := *t
	some.Strings = left
	return literal(some.finish(), e.Not)
}

// byHead writes code that decides the filter's condition by the head of the path s first. It goes to pass where that may be true.
func (g *generator) byHead(s Subject, fail func(Stage) string) {
	e := g.filter.Expr
	heads := e.heads(s)
	if g.next.Short || g.next.Whole || len(heads) == 0 {
		g.inStages(e, fail)
		return
	}
	other := e.given(s, nil)
	labels := map[string]string{other.key: g.newLabel()}
	parts := []*Expr{other}
	to := map[uint64]string{}
	for _, group := range heads {
		part := e.given(s, group)
		if part.key == other.key {
			continue
		}
		if labels[part.key] == "" {
			labels[part.key] = g.newLabel()
			parts = append(parts, part)
		}
		for _, h := range group {
			to[uint64(binary.LittleEndian.Uint32([]byte(h)))] = labels[part.key]
		}
	}
	g.add(asm.LoadMem(asm.R1, text, textOffset(s)+textBytes, asm.Word))
	g.choose(asm.R1, slices.Sorted(maps.Keys(to)), to, labels[other.key])
	for _, part := range parts {
		g.place(labels[part.key])
		if g.inStages(part, fail) {
			g.jump("pass")
		}
	}
}

// choose goes to where the number in reg leads, or to other. It may use R3.
func (g *generator) choose(reg asm.Register, values []uint64, to map[uint64]string, other string) {
	const few = 3
	if len(values) > few {
		lower := g.newLabel()
		mid := len(values) / 2
		g.compare(asm.JLT, reg, values[mid], lower, "", "")
		g.choose(reg, values[mid:], to, other)
		g.place(lower)
		g.choose(reg, values[:mid], to, other)
		return
	}
	for _, v := range values {
		next := g.newLabel()
		g.compare(asm.JEq, reg, v, to[v], next, next)
		g.place(next)
	}
	g.jump(other)
}

// inStages writes code that decides e, by what costs least first: the paths, the process's name, its cgroup. It reports whether the code goes on
// where e may be true; else it never is.
func (g *generator) inStages(e *Expr, fail func(Stage) string) bool {
	late := e.known(func(t *Test) bool { return t.stage != StageTask })
	if late.Op == False {
		g.jump(fail(StagePath))
		return false
	}
	if late.Op != True {
		g.stage(late, StagePath, fail(StagePath))
	}
	if e.key == late.key {
		return true
	}
	named := e.known(func(t *Test) bool { return t.Fact != CgroupKind })
	if named.key == late.key || named.key == e.key {
		g.taskFacts(e)
		g.stage(e, StageTask, fail(StageTask))
		return true
	}
	g.nameFacts(e)
	g.stage(named, StageTask, fail(StageTask))
	g.cgroupKind()
	g.stage(e, StageTask, fail(StageTask))
	return true
}
