package match

import (
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

// Env says where a condition is going to be used.
type Env struct {
	// Source whose fields the condition may use. Empty: all fields.
	Source string
}

// A Program is a compiled condition. It is immutable and safe for concurrent use.
type Program struct {
	expr   filter.Expr
	tree   *Node // as written
	root   *Node // folded
	refs   []field.Ref
	events eventPair
	evErr  error
}

// Expr is the condition p was compiled from.
func (p *Program) Expr() filter.Expr { return p.expr }

// Root is the compiled tree, with constants in their places. The caller must not change it.
func (p *Program) Root() *Node { return p.root }

// RootFor is Root for events of type t: what t alone decides is constant.
func (p *Program) RootFor(t field.EventType) *Node { return fold(p.root, forArgs(t)) }

// EventTypes returns the event types that p can match, by its checks of evt.type, syscall.type and evt.num alone.
func (p *Program) EventTypes() field.EventSet { return p.events.may }

// EventTypesErr says why the event types of p cannot be told, as Falco does for rules that compare evt.type with a field or transform it.
// The event types are all then.
func (p *Program) EventTypesErr() error { return p.evErr }

// Fields returns each use of a field in p once, in the order of the condition.
func (p *Program) Fields() []field.Ref { return p.refs }

// Never reports whether p can match no event at all, and why, as far as can be told without one.
func (p *Program) Never() (why string, never bool) {
	switch {
	case p.root.Kind == False:
		return "the condition is always false", true
	case p.events.may.Empty():
		return "no event type fulfils the condition", true
	}
	for t := range p.events.may.All() {
		if fold(p.root, forArgs(t)).Kind != False {
			return "", false
		}
	}
	return "none of its event types has the arguments it wants", true
}

// Operands returns the literal strings that p compares the field id with, in the order of the condition.
func (p *Program) Operands(id field.ID) []string {
	var out []string
	p.root.Walk(func(n *Node) {
		if n.Kind != Check || n.Atom.Left.Kind != FieldOperand || n.Atom.Left.Ref.ID != id {
			return
		}
		for _, v := range n.Atom.Values {
			out = append(out, v.Text)
		}
	})
	return out
}
