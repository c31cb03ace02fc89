package match

import (
	"math/bits"

	"github.com/tiercel-project/tiercel/rules/field"
)

// A Matcher matches events against the programs of an Index. It is for one goroutine.
type Matcher struct {
	ix   *Index
	ev   field.Event
	gen  uint32       // of the event; what carries another number is from before
	memo [2][]result  // of nodes, by form
	vals [2][]slotVal // of slots, by form
	sets []uint64     // room for sets of rules

	unknown func(*field.Ref) bool // in MayMatch only
}

// A result is what a node was in the event of generation gen.
type result struct {
	gen uint32
	is  bool
}

// A slotVal is the value of an operand in the event of generation gen.
type slotVal struct {
	gen uint32
	ok  bool
	v   field.Value
	tmp scratch
}

// Match appends the indexes of the programs that match ev to dst, in their order; only the first if the index was made so. It allocates
// nothing if none matches.
func (m *Matcher) Match(ev field.Event, dst []int) []int {
	p := m.ix.plan(ev.Type())
	if p == nil {
		return dst
	}
	m.begin(ev, p)
	two := p.path && ev.TwoForms()
	cand := m.candidates(p, two)
	for w, word := range cand {
		for ; word != 0; word &= word - 1 {
			r := &p.rules[w*64+bits.TrailingZeros64(word)]
			if m.node(r.root, field.AsPassed) || two && r.root.path && m.node(r.root, field.Resolved) {
				dst = append(dst, r.index)
				if m.ix.first {
					return dst
				}
			}
		}
	}
	return dst
}

// begin makes the matcher ready for ev.
func (m *Matcher) begin(ev field.Event, p *plan) {
	m.ev = ev
	if m.gen++; m.gen == 0 { // after four billion events: old marks could be taken for new ones
		for f := range m.memo {
			clear(m.memo[f])
			clear(m.vals[f])
		}
		m.gen = 1
	}
	for f := range m.memo {
		if n := p.nodes - len(m.memo[f]); n > 0 {
			m.memo[f] = append(m.memo[f], make([]result, n)...)
		}
		if n := p.slots - len(m.vals[f]); n > 0 {
			m.vals[f] = append(m.vals[f], make([]slotVal, n)...)
		}
	}
	if len(m.sets) < 2*p.words {
		m.sets = make([]uint64, 2*p.words)
	}
}

// candidates returns the rules of p that can match.
func (m *Matcher) candidates(p *plan, two bool) bitset {
	cand, alive := bitset(m.sets[:p.words]), bitset(m.sets[p.words:2*p.words])
	copy(cand, p.always)
	for i := range alive {
		alive[i] = ^uint64(0)
	}
	for i := range p.gates {
		g := &p.gates[i]
		if alive.meets(g.rules) && !m.isUnknown(g.node.left) && !m.node(g.node, field.AsPassed) {
			alive.without(g.rules)
		}
	}
	for i := range p.access {
		x := &p.access[i]
		if !alive.meets(x.all) {
			continue
		}
		if m.isUnknown(x.slot) {
			cand.or(x.all)
			continue
		}
		m.access(x, field.AsPassed, cand)
		if two && x.slot.op.Path {
			m.access(x, field.Resolved, cand)
		}
	}
	for i := range cand {
		cand[i] &= alive[i]
	}
	return cand
}

func (m *Matcher) access(x *access, form field.Form, cand bitset) {
	v := m.value(x.slot, form)
	switch {
	case v == nil:
	case v.Kind == field.KindList:
		for i := range v.List {
			x.lookup(v.List[i].Str, cand)
		}
	default:
		x.lookup(v.Str, cand)
	}
}

// node evaluates n. Nodes that others share are evaluated once an event and form.
func (m *Matcher) node(n *gnode, form field.Form) bool {
	if !n.path {
		form = field.AsPassed
	}
	if n.uses < 2 {
		return m.eval(n, form)
	}
	r := &m.memo[form][n.id]
	if r.gen != m.gen {
		is := m.eval(n, form)
		r.gen, r.is = m.gen, is
	}
	return r.is
}

func (m *Matcher) eval(n *gnode, form field.Form) bool {
	switch n.kind {
	case Check:
		return m.check(n, form)
	case Not:
		return !m.node(n.kids[0], form)
	case And:
		for _, k := range n.kids {
			if !m.node(k, form) {
				return false
			}
		}
		return true
	case Or:
		for _, k := range n.kids {
			if m.node(k, form) {
				return true
			}
		}
		return false
	}
	return n.kind == True
}

func (m *Matcher) check(n *gnode, form field.Form) bool {
	left := m.value(n.left, form)
	if left == nil {
		return false
	}
	if n.rhs == nil {
		return n.atom.holds(left, m.ev)
	}
	right := m.value(n.rhs, form)
	return right != nil && n.atom.holdsFor(left, right)
}

// value returns the value of s, or nil if it has none. Values are got once an event and form.
func (m *Matcher) value(s *slot, form field.Form) *field.Value {
	if !s.op.Path {
		form = field.AsPassed
	}
	sv := &m.vals[form][s.id]
	if sv.gen != m.gen {
		sv.ok = m.extract(s, form, sv)
		sv.gen = m.gen
	}
	if !sv.ok {
		return nil
	}
	return &sv.v
}

// extract gets the value of s from the event, or computes it.
func (m *Matcher) extract(s *slot, form field.Form, sv *slotVal) bool {
	switch s.op.Kind {
	case FieldOperand:
		if s.op.Ref.ID == field.EvtAround {
			return sv.v.SetUint(0)
		}
		return m.ev.Extract(&s.op.Ref, form, &sv.v)
	case LiteralOperand:
		return sv.v.SetString(s.op.Text)
	}
	sv.tmp.reset()
	sv.tmp.args = sv.tmp.args[:0]
	for _, a := range s.args {
		v := m.value(a, form)
		if v == nil {
			return false
		}
		sv.tmp.args = append(sv.tmp.args, v)
	}
	if s.op.Kind == ListOperand {
		return listOf(sv.tmp.args, &sv.tmp, &sv.v)
	}
	return s.op.transform(sv.tmp.args, &sv.tmp, &sv.v)
}

// listOf makes a list of strings of args.
func listOf(args []*field.Value, s *scratch, out *field.Value) bool {
	out.SetList()
	for _, a := range args {
		if isStr(a) {
			out.AppendString(a.Str)
			continue
		}
		start := len(s.buf)
		s.buf = appendText(s.buf, a)
		out.AppendString(s.string(start))
	}
	return true
}
