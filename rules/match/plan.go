package match

import (
	"slices"
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

// A plan says how events of one type are matched: which programs can match them at all, and how to tell quickly which of those cannot match
// this one. A program that has an access set — strings of which one must be right for the program to match — is looked at only if one is;
// the others are grouped by a condition that they share, and looked at only if it holds.
type plan struct {
	rules  []planRule // in the order of the programs
	words  int        // of a set of rules
	nodes  int        // in all
	slots  int        // in all
	always bitset
	groups []group
	access []access
	path   bool // the result may differ between the forms of a path
}

type planRule struct {
	index int // of the program
	root  *gnode
}

// A group is rules with a necessary condition in common.
type group struct {
	guard *gnode
	rules bitset
}

// A bitset is a set of rules of a plan.
type bitset []uint64

func (b bitset) set(i int) { b[i/64] |= 1 << (i % 64) }

func (b bitset) or(o bitset) {
	for i := range o {
		b[i] |= o[i]
	}
}

// makePlan makes the plan for events of type t. It is nil if no program can match them.
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
	p.words, p.nodes, p.slots = (len(p.rules)+63)/64, len(g.nodes), len(g.slots)
	p.always = make(bitset, p.words)
	p.index()
	return p
}

// index sorts the rules into access sets, groups and those that are always looked at.
func (p *plan) index() {
	bySlot := make(map[*slot]*access)
	guards := make(map[*gnode]*group)
	count := p.countGuards()
	for i, r := range p.rules {
		if atoms, _ := accessSet(r.root); atoms != nil {
			for _, a := range atoms {
				p.accessOf(bySlot, a.left).add(a.atom, i, p.words)
			}
			continue
		}
		guard := bestGuard(r.root, count)
		if guard == nil {
			p.always.set(i)
			continue
		}
		g, ok := guards[guard]
		if !ok {
			g = &group{guard: guard, rules: make(bitset, p.words)}
			guards[guard] = g
		}
		g.rules.set(i)
	}
	for _, g := range guards {
		p.groups = append(p.groups, *g)
	}
	slices.SortFunc(p.groups, func(a, b group) int { return a.guard.id - b.guard.id })
	for _, a := range bySlot {
		a.finish()
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

// countGuards counts, for each condition, the rules that need it.
func (p *plan) countGuards() map[*gnode]int {
	count := make(map[*gnode]int)
	for _, r := range p.rules {
		for _, c := range conjuncts(r.root) {
			count[c]++
		}
	}
	return count
}

// bestGuard returns the condition of n that most rules share, the cheapest if several do.
func bestGuard(n *gnode, count map[*gnode]int) *gnode {
	var best *gnode
	for _, c := range conjuncts(n) {
		if best == nil || count[c] > count[best] || count[c] == count[best] && c.cost < best.cost {
			best = c
		}
	}
	return best
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
	switch {
	case a.Op == filter.Equal && (a.Mod == 0 || a.Mod == filter.AnyOf), a.Op == filter.In, a.Op == filter.Intersects:
		score = 1
	case a.Op == filter.StartsWith && (a.Mod == 0 || a.Mod == filter.AnyOf), a.Op == filter.PMatch && !hasGlob(a.Values):
		score = 3
	default:
		return 0, false
	}
	if fewValued(a.Left.Ref.ID) {
		return 0, false
	}
	for _, v := range a.Values {
		if v.Bytes == "" {
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
