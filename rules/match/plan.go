package match

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

// A plan says how events of one type are matched: which programs can match them at all, and how to tell quickly which of those cannot match
// this one. Gates, cheap conditions that several programs need, rule out all of those at once. A program with an access set, strings of
// which one must be right for it to match, is looked at only if one is.
type plan struct {
	rules  []planRule // in the order of the programs
	words  int        // of a set of rules
	nodes  int        // in all
	slots  int        // in all
	gates  []gate
	access []access
	always bitset // rules without an access set
	path   bool   // the result may differ between the forms of a path
}

type planRule struct {
	index int // of the program
	root  *gnode
}

// A gate is a condition that several rules need.
type gate struct {
	node  *gnode
	rules bitset
}

// A bitset is a set of rules of a plan.
type bitset []uint64

func (b bitset) set(i int) { b[i/64] |= 1 << (i % 64) }

// without takes what is in o out of b.
func (b bitset) without(o bitset) {
	for i := range o {
		b[i] &^= o[i]
	}
}

// meets reports whether b and o have a rule in common.
func (b bitset) meets(o bitset) bool {
	for i := range o {
		if b[i]&o[i] != 0 {
			return true
		}
	}
	return false
}

func (b bitset) len() int {
	n := 0
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

func (b bitset) or(o bitset) {
	for i := range o {
		b[i] |= o[i]
	}
}

// makePlan makes the plan for events of type t, or returns that of another type if they are the same. It is nil if no program can match them.
func (ix *Index) makePlan(t field.EventType) *plan {
	p, g := &plan{}, newGraph()
	decide := forType(t)
	for i, prog := range ix.programs {
		if t != 0 && !prog.events.may.Has(t) {
			continue
		}
		root := fold(prog.root, decide)
		if root.Kind == False {
			continue
		}
		n := g.intern(root)
		n.uses++
		p.rules = append(p.rules, planRule{index: i, root: n})
		p.path = p.path || n.path
	}
	if len(p.rules) == 0 {
		return nil
	}
	for _, r := range p.rules {
		g.said.Write(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(r.index)), uint64(r.root.id)))
	}
	ix.mu.Lock()
	defer ix.mu.Unlock()
	sum := string(g.said.Sum(nil))
	if same, ok := ix.distinct[sum]; ok {
		return same
	}
	ix.distinct[sum] = p
	p.words, p.nodes, p.slots = (len(p.rules)+63)/64, len(g.nodes), len(g.slots)
	p.always = make(bitset, p.words)
	p.index()
	return p
}

// index sorts the rules into access sets and gates.
func (p *plan) index() {
	bySlot := make(map[*slot]*access)
	gates := make(map[*gnode]bitset)
	for i, r := range p.rules {
		for _, c := range conjuncts(r.root) {
			if isGate(c) {
				if gates[c] == nil {
					gates[c] = make(bitset, p.words)
				}
				gates[c].set(i)
			}
		}
		atoms, _ := accessSet(r.root)
		if atoms == nil {
			p.always.set(i)
		}
		for _, a := range atoms {
			p.accessOf(bySlot, a.left).add(a.atom, i, p.words)
		}
	}
	for n, rules := range gates {
		if rules.len() > 1 {
			p.gates = append(p.gates, gate{node: n, rules: rules})
		}
	}
	slices.SortFunc(p.gates, func(a, b gate) int { return cmp.Or(b.rules.len()-a.rules.len(), a.node.id-b.node.id) })
	for _, a := range bySlot {
		a.finish(p.words)
		p.access = append(p.access, *a)
	}
	slices.SortFunc(p.access, func(a, b access) int { return a.slot.id - b.slot.id })
}

func (p *plan) accessOf(bySlot map[*slot]*access, s *slot) *access {
	a, ok := bySlot[s]
	if !ok {
		a = &access{slot: s, all: make(bitset, p.words), equal: make(map[string]bitset)}
		bySlot[s] = a
	}
	return a
}

// conjuncts are the conditions that must all hold for n.
func conjuncts(n *gnode) []*gnode {
	if n.kind == And {
		return n.kids
	}
	return []*gnode{n}
}

// isGate reports whether n is a comparison that is cheap and often settles much: of a boolean, of a number with one value, or of whether the
// event is of the host.
func isGate(n *gnode) bool {
	if n.kind != Check || n.path || n.rhs != nil || n.atom.Left.Kind != FieldOperand || manyValued(n.atom.Left) {
		return false
	}
	if n.atom.Left.Ref.ID == field.ContainerID {
		return n.atom.Op == filter.Equal || n.atom.Op == filter.NotEqual
	}
	c := classOf(n.atom.Left.Type)
	return n.atom.Op == filter.Equal && (c == classBool || c == classInt || c == classUint) && n.left.cost <= 20
}

// accessSet returns atoms of which at least one must hold for n to hold, each a comparison of a string field with strings that a table can
// answer, and how good a choice they are: the lower the score, the fewer events will hold one. It returns nil if there are none.
func accessSet(n *gnode) (atoms []*gnode, score int) {
	switch n.kind {
	case Check:
		if score, ok := accessScore(n.atom); ok {
			return []*gnode{n}, score
		}
	case And:
		for _, k := range n.kids {
			if a, s := accessSet(k); a != nil && (atoms == nil || s < score) {
				atoms, score = a, s
			}
		}
	case Or:
		for _, k := range n.kids {
			a, s := accessSet(k)
			if a == nil {
				return nil, 0
			}
			atoms, score = append(atoms, a...), score+s
		}
	}
	return atoms, score
}

// accessScore reports whether a table can answer a, and about how often a holds.
func accessScore(a *Atom) (score int, ok bool) {
	if a.Right != nil || a.Left.Kind != FieldOperand || a.Left.List || a.Left.Type != field.TypeString || len(a.Values) == 0 {
		return 0, false
	}
	if fewValued(a.Left.Ref.ID) || a.Mod != 0 && a.Mod != filter.AnyOf {
		return 0, false
	}
	switch a.Op {
	case filter.Equal, filter.In, filter.Intersects:
		score = 1
	case filter.StartsWith, filter.EndsWith:
		score = 3
	case filter.PMatch:
		if hasGlob(a.Values) {
			return 0, false
		}
		score = 3
	case filter.Contains, filter.Glob, filter.Regex:
		score = 6
	default:
		return 0, false
	}
	for _, v := range a.Values {
		if v.Bytes == "" || requiredPart(a.Op, v.Bytes) == "" {
			return 0, false
		}
	}
	return score, true
}

func hasGlob(values []Literal) bool {
	return slices.ContainsFunc(values, func(v Literal) bool { return strings.ContainsAny(v.Bytes, `*?[\`) || !strings.HasPrefix(v.Bytes, "/") })
}

// fewValued reports whether a field has so few different values that most events share one.
func fewValued(id field.ID) bool {
	switch id {
	case field.FDTypechar, field.FDType, field.FDL4proto, field.FDSockfamily, field.EvtRes, field.EvtCategory, field.EvtSource, field.ContainerID,
		field.ContainerType, field.UserName, field.EvtIoDir, field.EvtDir:
		return true
	}
	return false
}
