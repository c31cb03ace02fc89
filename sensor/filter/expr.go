package filter

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tiercel-project/tiercel/rules/filter"
)

// An Op says what an Expr is.
type Op uint8

// Kinds of an Expr.
const (
	False Op = iota
	True
	And
	Or
	Literal // a Test, or its negation
)

// An Expr is a condition without "not": it is true where the pair's half that it stands for is.
type Expr struct {
	Op   Op
	Kids []*Expr // of And and Or, two or more
	Test *Test   // of Literal
	Not  bool    // of Literal: the test is false, or may be

	key  string
	cost float64 // that is expected
	odds float64 // how likely it is true
}

var (
	never  = &Expr{Op: False, key: "F"}
	always = &Expr{Op: True, key: "T", odds: 1}
)

// literal makes an Expr of a test that may be true, or with not, may be false.
func literal(t *Test, not bool) *Expr {
	if t == nil || not && !t.Exact && t.Kind != Class {
		return always
	}
	e := &Expr{Op: Literal, Test: t, Not: not, cost: float64(t.cost), odds: t.odds(), key: "+" + t.key}
	if not {
		e.key, e.odds = "-"+t.key, 1-e.odds
	}
	return e
}

// join makes an And or an Or of kids, as simple as it can be told without trying values.
func join(op Op, kids []*Expr) *Expr {
	decides, neutral := False, True
	if op == Or {
		decides, neutral = True, False
	}
	var flat []*Expr
	seen := map[string]bool{}
	var add func(kids []*Expr) bool
	add = func(kids []*Expr) bool {
		for _, k := range kids {
			switch {
			case k.Op == decides:
				return false
			case k.Op == neutral || seen[k.key]:
			case k.Op == op:
				if !add(k.Kids) {
					return false
				}
			default:
				seen[k.key] = true
				flat = append(flat, k)
			}
		}
		return true
	}
	if !add(kids) || contradicts(flat, seen) {
		return constant(decides)
	}
	flat = absorb(op, flat, seen)
	switch len(flat) {
	case 0:
		return constant(neutral)
	case 1:
		return flat[0]
	}
	if op == Or {
		if e := factor(flat); e != nil {
			return e
		}
	}
	slices.SortStableFunc(flat, func(a, b *Expr) int {
		return cmp.Or(cmp.Compare(a.price(op), b.price(op)), strings.Compare(a.key, b.key))
	})
	e := &Expr{Op: op, Kids: flat}
	keys := make([]string, len(flat))
	goesOn := 1.0 // how likely the next kid is looked at
	for i, k := range flat {
		keys[i] = k.key
		e.cost += goesOn * k.cost
		goesOn *= 1 - k.decides(op)
	}
	e.odds = goesOn
	if op == Or {
		e.odds = 1 - goesOn
	}
	e.key = map[Op]string{And: "(&", Or: "(|"}[op] + strings.Join(keys, ";") + ")"
	return e
}

// decides is how likely e decides an And or an Or that it is a kid of.
func (e *Expr) decides(op Op) float64 {
	if op == And {
		return 1 - e.odds
	}
	return e.odds
}

// price is what e costs for each And or Or that it decides: the order of that is the one in which kids cost least together.
func (e *Expr) price(op Op) float64 { return e.cost / max(e.decides(op), 1e-6) }

func constant(op Op) *Expr {
	if op == True {
		return always
	}
	return never
}

// contradicts reports whether one of the literals is the opposite of another, both exact.
func contradicts(flat []*Expr, seen map[string]bool) bool {
	return slices.ContainsFunc(flat, func(e *Expr) bool {
		return e.Op == Literal && e.Not && e.Test.Exact && e.Test.Kind != Class && seen["+"+e.Test.key]
	})
}

// absorb leaves out kids that one of the others makes superfluous: a or (a and b), a and (a or b).
func absorb(op Op, flat []*Expr, seen map[string]bool) []*Expr {
	return slices.DeleteFunc(flat, func(e *Expr) bool {
		return (e.Op == And || e.Op == Or) && e.Op != op && slices.ContainsFunc(e.Kids, func(k *Expr) bool { return seen[k.key] })
	})
}

// conjuncts are what must all be true for e to be.
func conjuncts(e *Expr) []*Expr {
	if e.Op == And {
		return e.Kids
	}
	return []*Expr{e}
}

// factor takes the conjunct that most of the alternatives share, the cheapest of those, out of them: (a and b) or (a and c) or d becomes
// (a and (b or c)) or d. It returns nil if no two share one.
func factor(alternatives []*Expr) *Expr {
	type shared struct {
		e *Expr
		n int
	}
	counts := map[string]*shared{}
	for _, a := range alternatives {
		for _, c := range conjuncts(a) {
			if counts[c.key] == nil {
				counts[c.key] = &shared{e: c}
			}
			counts[c.key].n++
		}
	}
	var best *shared
	for _, s := range counts {
		if s.n > 1 && (best == nil || cmp.Or(s.n-best.n, cmp.Compare(best.e.cost, s.e.cost), strings.Compare(best.e.key, s.e.key)) > 0) {
			best = s
		}
	}
	if best == nil {
		return nil
	}
	var with, without []*Expr
	for _, a := range alternatives {
		kids := conjuncts(a)
		if i := slices.IndexFunc(kids, func(k *Expr) bool { return k.key == best.e.key }); i >= 0 {
			with = append(with, join(And, slices.Concat(kids[:i], kids[i+1:])))
			continue
		}
		without = append(without, a)
	}
	common := join(And, []*Expr{best.e, join(Or, with)})
	if len(without) == 0 {
		return common
	}
	return join(Or, append(without, common))
}

// known is e as far as it is decided by tests for which is is true: all others may be true.
func (e *Expr) known(is func(*Test) bool) *Expr {
	switch e.Op {
	case Literal:
		if !is(e.Test) {
			return always
		}
		return e
	case And, Or:
		kids := make([]*Expr, len(e.Kids))
		for i, k := range e.Kids {
			kids[i] = k.known(is)
		}
		return join(e.Op, kids)
	}
	return e
}

// ordinary reports whether e is true of a process event that has nothing that rules ask for: no name or text is one of theirs, no flag is set; and
// be it in a container or not.
func (e *Expr) ordinary() bool {
	switch e.Op {
	case Literal:
		return e.Test.Fact == CgroupKind || e.Not != (e.Test.Op == filter.NotEqual)
	case And:
		return !slices.ContainsFunc(e.Kids, func(k *Expr) bool { return !k.ordinary() })
	case Or:
		return slices.ContainsFunc(e.Kids, (*Expr).ordinary)
	}
	return e.Op == True
}

// walk calls visit for each literal of e.
func (e *Expr) walk(visit func(*Expr)) {
	if e.Op == Literal {
		visit(e)
	}
	for _, k := range e.Kids {
		k.walk(visit)
	}
}

// uses reports whether a test of e is one for which is is true.
func (e *Expr) uses(is func(*Test) bool) bool {
	found := false
	e.walk(func(l *Expr) { found = found || is(l.Test) })
	return found
}
