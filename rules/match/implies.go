package match

import (
	"slices"
	"strings"

	"github.com/tiercel-project/tiercel/rules/filter"
)

// Implies reports whether q is known to match every event that p matches. False means that it is not known: what two conditions have in
// common is found by what they say, not by what they mean.
func (p *Program) Implies(q *Program) bool {
	i := implication{left: maxImplication, keys: make(map[*Node]string)}
	return i.node(p.root, q.root)
}

// maxImplication bounds how many pairs of nodes are compared.
const maxImplication = 100_000

type implication struct {
	left int
	keys map[*Node]string
}

// node reports whether y holds wherever x does.
func (i *implication) node(x, y *Node) bool {
	if i.left--; i.left < 0 {
		return false
	}
	switch {
	case x.Kind == False, y.Kind == True, i.key(x) == i.key(y):
		return true
	case y.Kind == And:
		return !slices.ContainsFunc(y.Kids, func(k *Node) bool { return !i.node(x, k) })
	case x.Kind == Or:
		return !slices.ContainsFunc(x.Kids, func(k *Node) bool { return !i.node(k, y) })
	case x.Kind == Not && y.Kind == Not && i.node(y.Kids[0], x.Kids[0]):
		return true
	case x.Kind == Check && y.Kind == Check:
		return atomImplies(x.Atom, y.Atom)
	}
	return y.Kind == Or && slices.ContainsFunc(y.Kids, func(k *Node) bool { return i.node(x, k) }) ||
		x.Kind == And && slices.ContainsFunc(x.Kids, func(k *Node) bool { return i.node(k, y) })
}

// key is the same for nodes that say the same, in whatever order.
func (i *implication) key(n *Node) string {
	if n.Kind == Check {
		return n.Atom.key
	}
	if key, ok := i.keys[n]; ok {
		return key
	}
	kids := make([]string, len(n.Kids))
	for j, k := range n.Kids {
		kids[j] = i.key(k)
	}
	slices.Sort(kids)
	key := string(rune('0'+n.Kind)) + "(" + strings.Join(kids, "\x00") + ")"
	i.keys[n] = key
	return key
}

// atomImplies reports whether a comparison of a string field implies another of the same field: what is one of some strings, or begins,
// ends or has in it what one of them does.
func atomImplies(a, b *Atom) bool {
	if a.Left.key != b.Left.key || a.Right != nil || b.Right != nil || a.Left.List || manyValued(a.Left) {
		return false
	}
	if b.Op == filter.Exists {
		return true
	}
	if classOf(a.Left.Type) != classString || !a.anyValue() || !b.anyValue() {
		return false
	}
	for _, v := range a.Values {
		if !slices.ContainsFunc(b.Values, func(w Literal) bool { return textImplies(a.Op, v.Bytes, b.Op, w.Bytes) }) {
			return false
		}
	}
	return true
}

// anyValue reports whether one of the values is enough for a to hold, and there is one.
func (a *Atom) anyValue() bool { return len(a.Values) > 0 && (a.Mod == 0 || a.Mod == filter.AnyOf) }

// textImplies reports whether "f opA a" implies "f opB b".
func textImplies(opA filter.Op, a string, opB filter.Op, b string) bool {
	isA, isB := member(opA), member(opB)
	switch {
	case isA && isB:
		return a == b
	case opB == filter.StartsWith:
		return (isA || opA == filter.StartsWith) && strings.HasPrefix(a, b)
	case opB == filter.EndsWith:
		return (isA || opA == filter.EndsWith) && strings.HasSuffix(a, b)
	case opB == filter.Contains:
		return (isA || opA == filter.StartsWith || opA == filter.EndsWith || opA == filter.Contains) && strings.Contains(a, b)
	}
	return false
}

// member reports whether op says that a value is one of some.
func member(op filter.Op) bool {
	return op == filter.Equal || op == filter.In || op == filter.Intersects
}
