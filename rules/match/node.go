package match

import (
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

// A Kind says what a Node is.
type Kind uint8

// Kinds of nodes.
const (
	False Kind = iota
	True
	And
	Or
	Not
	Check
)

// A Node is a node of a compiled condition.
type Node struct {
	Kind Kind
	Kids []*Node     // of And, Or (two or more) and Not (one)
	Atom *Atom       // of Check, and of a True or False that was one
	Expr filter.Expr // what it was compiled from
}

// An Atom is a comparison.
type Atom struct {
	Left   *Operand
	Op     filter.Op // never DoubleEqual, which is Equal
	Mod    filter.Modifier
	Values []Literal // right-hand side, unless it is an operand
	Right  *Operand  // right-hand side if that is a field or a transformer

	test testFunc // for one element of the left side against the literals; nil if there is an operand
	key  string
}

// Holds reports whether a, which has literals on its right-hand side, holds for the value v of its left side.
func (a *Atom) Holds(v *field.Value) bool {
	return a.Op == filter.Exists || v.Kind != field.KindList && a.test(v) || v.Kind == field.KindList && a.each(v.List, a.test)
}

// Walk calls visit for n and all nodes below it.
func (n *Node) Walk(visit func(*Node)) {
	visit(n)
	for _, k := range n.Kids {
		k.Walk(visit)
	}
}

// An OperandKind says what an Operand is.
type OperandKind uint8

// Kinds of operands.
const (
	FieldOperand OperandKind = iota + 1
	LiteralOperand
	CallOperand // a transformer
	ListOperand // operands in parentheses, as an argument of a transformer
)

// An Operand is something with a value in an event.
type Operand struct {
	Kind OperandKind
	Type field.Type
	List bool // the value is a list, of elements of Type
	Ref  field.Ref
	Text string // of a literal; the name of a transformer
	Args []*Operand
	Key  string // of getopt(…)[c]
	Path bool   // the value may differ between the forms of a path

	pos filter.Pos
	key string
	fn  callKind
}

// String is the operand as it is written.
func (o *Operand) String() string { return o.key }
