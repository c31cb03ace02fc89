package filter

import (
	"slices"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/match"
)

// Describe returns the comparisons of a condition that the kernel makes, and those that it leaves to user space: each field with its
// operator once, in the order of the condition. One that it makes for some of the event types only is among both.
func Describe(p *match.Program) (decided, left []string) {
	types := slices.Collect(p.EventTypes().All())
	describe(p.Root(), false, types, &decided, &left)
	return decided, left
}

func describe(n *match.Node, not bool, types []field.EventType, decided, left *[]string) {
	if n.Kind != match.Check {
		for _, k := range n.Kids {
			describe(k, not != (n.Kind == match.Not), types, decided, left)
		}
		return
	}
	text := n.Atom.Left.String() + " " + n.Atom.Op.String()
	add := func(to *[]string) {
		if !slices.Contains(*to, text) {
			*to = append(*to, text)
		}
	}
	id := n.Atom.Left.Ref.ID
	if n.Atom.Left.Kind == match.FieldOperand && n.Atom.Right == nil && (id == field.EvtType || id == field.SyscallType) {
		add(decided)
		return
	}
	for _, t := range types {
		if literalOf(n.Atom, t, not).Op == True {
			add(left)
		} else {
			add(decided)
		}
	}
}
