package match

import (
	"math/bits"

	"github.com/tiercel-project/tiercel/rules/field"
)

// A verdict is what a condition may be while some values are not known yet.
type verdict uint8

const (
	mayBe    verdict = 1 << iota // true
	mayNotBe                     // false
)

// MayMatch reports whether a program matches ev, or could once the values are known for which unknown is true. It is for events that would
// have to wait for those values: one that no program can match need not. It allocates nothing.
func (m *Matcher) MayMatch(ev field.Event, unknown func(*field.Ref) bool) bool {
	p := m.ix.plan(ev.Type())
	if p == nil {
		return false
	}
	m.begin(ev, p)
	m.unknown = unknown
	defer func() { m.unknown = nil }()
	two := p.path && ev.TwoForms()
	for w, word := range m.candidates(p, two) {
		for ; word != 0; word &= word - 1 {
			root := p.rules[w*64+bits.TrailingZeros64(word)].root
			if m.may(root, field.AsPassed)&mayBe != 0 || two && root.path && m.may(root, field.Resolved)&mayBe != 0 {
				return true
			}
		}
	}
	return false
}

// may is node for a condition with unknown values.
func (m *Matcher) may(n *gnode, form field.Form) verdict {
	switch n.kind {
	case Check:
		if m.isUnknown(n.left) || n.rhs != nil && m.isUnknown(n.rhs) {
			return mayBe | mayNotBe
		}
		if m.node(n, form) {
			return mayBe
		}
		return mayNotBe
	case Not:
		v := m.may(n.kids[0], form)
		return v>>1 | v<<1&mayNotBe
	case And:
		all := mayBe
		for _, k := range n.kids {
			v := m.may(k, form)
			if v&mayBe == 0 {
				return mayNotBe
			}
			all |= v
		}
		return all
	case Or:
		any := mayNotBe
		for _, k := range n.kids {
			v := m.may(k, form)
			if v&mayNotBe == 0 {
				return mayBe
			}
			any |= v
		}
		return any
	}
	if n.kind == True {
		return mayBe
	}
	return mayNotBe
}

// isUnknown reports whether the value of s depends on one that is not known yet.
func (m *Matcher) isUnknown(s *slot) bool {
	if m.unknown == nil {
		return false
	}
	if s.op.Kind == FieldOperand {
		return m.unknown(&s.op.Ref)
	}
	for _, a := range s.args {
		if m.isUnknown(a) {
			return true
		}
	}
	return false
}
