package match

import (
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

// An Explanation is a node of a condition with its result in one event.
type Explanation struct {
	Kind   Kind
	Expr   filter.Expr
	Result bool
	Form   field.Form // the form of paths it was evaluated with
	// Values are the operands of a Check with what they were, left before right.
	Values []OperandValue
	// Kids are the parts in their order. All are evaluated, also those that no longer matter.
	Kids []*Explanation
	// Decided reports whether the result of the whole is what it is because of this node.
	Decided bool
}

// An OperandValue is what an operand was in an event.
type OperandValue struct {
	Operand string // as written
	Text    string // the value as it is printed
	Missing bool   // it had none: comparisons are false
}

// Explain says why p matches ev or why not. Where paths have two forms it is about the form that matches, or the first if none does.
func (p *Program) Explain(ev field.Event) *Explanation {
	r := runner{ev: ev}
	x := r.explain(p.tree)
	if !x.Result && ev.TwoForms() {
		r.form = field.Resolved
		if second := r.explain(p.tree); second.Result {
			x = second
		}
	}
	x.decide()
	return x
}

func (r *runner) explain(n *Node) *Explanation {
	x := &Explanation{Kind: n.Kind, Expr: n.Expr, Form: r.form, Result: r.node(n)}
	for _, k := range n.Kids {
		x.Kids = append(x.Kids, r.explain(k))
	}
	if n.Kind == Check {
		x.Values = r.operandValues(n.Atom.Left, nil)
		if n.Atom.Right != nil {
			x.Values = r.operandValues(n.Atom.Right, x.Values)
		}
	}
	return x
}

// operandValues adds o and what it is made of, literals aside.
func (r *runner) operandValues(o *Operand, to []OperandValue) []OperandValue {
	if o.Kind == LiteralOperand {
		return to
	}
	if o.Kind != ListOperand {
		ov := OperandValue{Operand: o.key}
		if v, ok := r.value(o); ok {
			ov.Text = string(field.AppendText(nil, o.Type, v))
		} else {
			ov.Missing = true
		}
		to = append(to, ov)
	}
	for _, a := range o.Args {
		to = r.operandValues(a, to)
	}
	return to
}

// decide marks x and those of its parts that made it what it is: all parts of a true "and" and of a false "or", else the first that settled it.
func (x *Explanation) decide() {
	x.Decided = true
	settles := x.Kind == And && !x.Result || x.Kind == Or && x.Result
	for _, k := range x.Kids {
		if !settles {
			k.decide()
		} else if k.Result == x.Result {
			k.decide()
			return
		}
	}
}

// Deciding returns the checks that decided, in the order of the condition.
func (x *Explanation) Deciding() []*Explanation {
	if !x.Decided {
		return nil
	}
	if len(x.Kids) == 0 {
		return []*Explanation{x}
	}
	var out []*Explanation
	for _, k := range x.Kids {
		out = append(out, k.Deciding()...)
	}
	return out
}
