package match

import (
	"slices"
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

// fold replaces atoms that decide says are always True or False, and what follows from that. Nodes are not changed: what is the same is shared.
func fold(n *Node, decide func(*Atom) Kind) *Node {
	switch n.Kind {
	case Check:
		if k := decide(n.Atom); k != Check {
			return constant(k, n)
		}
		return n
	case Not:
		kid := fold(n.Kids[0], decide)
		switch {
		case kid.Kind == True:
			return constant(False, n)
		case kid.Kind == False:
			return constant(True, n)
		case kid != n.Kids[0]:
			return &Node{Kind: Not, Kids: []*Node{kid}, Expr: n.Expr}
		}
		return n
	case And:
		return foldJoin(n, decide, False, True)
	case Or:
		return foldJoin(n, decide, True, False)
	}
	return n
}

// foldJoin folds an And or an Or: one kid of kind decides makes the whole that, kids of kind neutral are left out.
func foldJoin(n *Node, decide func(*Atom) Kind, decides, neutral Kind) *Node {
	kids, changed := make([]*Node, 0, len(n.Kids)), false
	for _, k := range n.Kids {
		folded := fold(k, decide)
		changed = changed || folded != k
		switch folded.Kind {
		case decides:
			return constant(decides, n)
		case neutral:
			changed = true
		default:
			kids = append(kids, folded)
		}
	}
	switch {
	case len(kids) == 0:
		return constant(neutral, n)
	case len(kids) == 1:
		return kids[0]
	case !changed:
		return n
	}
	return &Node{Kind: n.Kind, Kids: kids, Expr: n.Expr}
}

func constant(k Kind, n *Node) *Node { return &Node{Kind: k, Atom: n.Atom, Expr: n.Expr} }

// always is what an atom is whatever the event.
func always(a *Atom) Kind {
	if a.Right != nil || a.Left.Kind != FieldOperand {
		return Check
	}
	if a.Left.Ref.ID == field.EvtNum {
		texts := make([]string, len(a.Values))
		for i, v := range a.Values {
			texts[i] = v.Text
		}
		return numConstant(a.Op, a.Mod, texts)
	}
	empty := len(a.Values) == 0 && a.Op != filter.Exists
	if empty && (a.Mod != 0 || a.Op == filter.Intersects || a.Op == filter.PMatch || a.Op == filter.In && !a.Left.List) {
		return False
	}
	return Check
}

// forType is what an atom is in events of type t, as far as evt.type and its kin decide it.
func forType(t field.EventType) func(*Atom) Kind {
	return func(a *Atom) Kind {
		if a.Left.Kind != FieldOperand || a.Right != nil {
			return Check
		}
		var v field.Value
		switch ref := a.Left.Ref; ref.ID {
		case field.EvtType, field.SyscallType:
			switch kind := t.Info().Kind; {
			case t == 0, ref.ID == field.SyscallType && kind != field.Syscall && kind != field.Generic:
				return False
			case t == field.EventAsyncevent, t == field.EventPluginevent, t == field.EventSyscall:
				return Check // the event itself knows its name
			}
			v.SetString(t.String())
		case field.EvtTypeIs:
			n := uint64(0)
			if ref.Arg == t.String() {
				n = 1
			}
			v.SetUint(n)
		default:
			return Check
		}
		if a.Op == filter.Exists || a.test(&v) {
			return True
		}
		return False
	}
}

// forArgs is forType, and false for comparisons with arguments that events of type t do not have.
func forArgs(t field.EventType) func(*Atom) Kind {
	byType := forType(t)
	return func(a *Atom) Kind {
		if ref := a.Left.Ref; a.Left.Kind == FieldOperand && ref.Index < 0 && (ref.ID == field.EvtArg || ref.ID == field.EvtRawarg) {
			if t.Info().Kind != field.Generic && !field.ParamEvents(ref.Arg).Has(t) {
				return False
			}
			return Check
		}
		return byType(a)
	}
}

// contradiction folds what can never or must always be true by itself: "a and not a", "f = x and f = y", "a or not a".
func contradiction(n *Node) *Node {
	if len(n.Kids) == 0 {
		return n
	}
	kids, changed := make([]*Node, len(n.Kids)), false
	for i, k := range n.Kids {
		kids[i] = contradiction(k)
		changed = changed || kids[i] != k
	}
	if changed {
		n = fold(&Node{Kind: n.Kind, Kids: kids, Expr: n.Expr}, func(*Atom) Kind { return Check })
	}
	switch {
	case n.Kind == And && (opposite(n.Kids) || disjoint(n.Kids)):
		return constant(False, n)
	case n.Kind == Or && opposite(n.Kids):
		return constant(True, n)
	}
	return n
}

// opposite reports whether one of the kids is the negation of another.
func opposite(kids []*Node) bool {
	positive := make(map[string]bool, len(kids))
	for _, k := range kids {
		if k.Kind == Check {
			positive[k.Atom.key] = true
		}
	}
	return slices.ContainsFunc(kids, func(k *Node) bool {
		return k.Kind == Not && k.Kids[0].Kind == Check && positive[k.Kids[0].Atom.key]
	})
}

// disjoint reports whether two of the kids want the same field to be one of two sets without a common value.
func disjoint(kids []*Node) bool {
	wanted := make(map[string][]string)
	for _, k := range kids {
		if k.Kind != Check || !isMembership(k.Atom) {
			continue
		}
		values := make([]string, len(k.Atom.Values))
		for i, v := range k.Atom.Values {
			values[i] = v.Bytes
		}
		name := k.Atom.Left.key
		before, ok := wanted[name]
		if ok {
			values = slices.DeleteFunc(values, func(v string) bool { return !slices.Contains(before, v) })
			if len(values) == 0 {
				return true
			}
		}
		wanted[name] = values
	}
	return false
}

// isMembership reports whether a says that a field with one string is one of several.
func isMembership(a *Atom) bool {
	return a.Right == nil && classOf(a.Left.Type) == classString && !a.Left.List && !manyValued(a.Left) &&
		(a.Op == filter.Equal && (a.Mod == 0 || a.Mod == filter.AnyOf) || a.Op == filter.In || a.Op == filter.Intersects)
}

// manyValued reports whether a field that is no list has several values: any ancestor, either side of a connection.
func manyValued(o *Operand) bool {
	if o.Kind != FieldOperand {
		return false
	}
	switch o.Ref.ID {
	case field.FDIP, field.FDNet, field.FDPort, field.FDProto:
		return true
	case field.ProcAname, field.ProcAexe, field.ProcAexepath, field.ProcAcmdline, field.ProcApid, field.ProcAenv, field.TiercelLineage:
		return o.Ref.Arg == "" || strings.Contains(o.Ref.Arg, "*")
	}
	return false
}
