package match

import "github.com/tiercel-project/tiercel/rules/field"

// Match reports whether p matches ev. It is for single conditions; for many, use an Index.
func (p *Program) Match(ev field.Event) bool {
	r := runner{ev: ev}
	if r.node(p.root) {
		return true
	}
	if !ev.TwoForms() {
		return false
	}
	r.form = field.Resolved
	return r.node(p.root)
}

// Value makes v the value of o in ev and reports whether it has one; v then has anything. The value is valid until ev is reused.
func (o *Operand) Value(ev field.Event, form field.Form, v *field.Value) bool {
	r := runner{ev: ev, form: form}
	return r.into(o, v)
}

// A runner evaluates a tree in one form without remembering anything.
type runner struct {
	ev   field.Event
	form field.Form
}

func (r *runner) node(n *Node) bool {
	switch n.Kind {
	case Check:
		return r.check(n.Atom)
	case Not:
		return !r.node(n.Kids[0])
	case And:
		for _, k := range n.Kids {
			if !r.node(k) {
				return false
			}
		}
		return true
	case Or:
		for _, k := range n.Kids {
			if r.node(k) {
				return true
			}
		}
		return false
	}
	return n.Kind == True
}

func (r *runner) check(a *Atom) bool {
	left, ok := r.value(a.Left)
	if !ok {
		return false
	}
	if a.Right == nil {
		return a.holds(left, r.ev)
	}
	right, ok := r.value(a.Right)
	return ok && a.holdsFor(left, right)
}

// value returns the value of o, and whether it has one.
func (r *runner) value(o *Operand) (*field.Value, bool) {
	v := new(field.Value)
	return v, r.into(o, v)
}

// into makes v the value of o and reports whether it has one.
func (r *runner) into(o *Operand, v *field.Value) bool {
	switch o.Kind {
	case FieldOperand:
		if o.Ref.ID == field.EvtAround {
			return v.SetUint(0)
		}
		return r.ev.Extract(&o.Ref, r.form, v)
	case LiteralOperand:
		return v.SetString(o.Text)
	}
	args := make([]*field.Value, len(o.Args))
	for i, a := range o.Args {
		var ok bool
		if args[i], ok = r.value(a); !ok {
			return false
		}
	}
	if o.Kind == ListOperand {
		return listOf(args, new(scratch), v)
	}
	return o.transform(args, new(scratch), v)
}
