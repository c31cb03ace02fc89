package match

import (
	"slices"
	"strconv"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

// An eventPair is the event types for which a condition may be true, and those for which it may be false.
type eventPair struct{ may, mayNot field.EventSet }

var anyEvent = eventPair{field.AllEvents(), field.AllEvents()}

// EventTypes returns the event types for which e may be true, by its checks of evt.type, syscall.type and evt.num alone. The error says
// that one of them is compared with a field or transformed, so that nothing can be said.
func EventTypes(e filter.Expr) (field.EventSet, error) {
	p, err := eventsOf(e)
	return p.may, err
}

func eventsOf(e filter.Expr) (eventPair, error) {
	switch e := e.(type) {
	case *filter.And:
		return joinEvents(e.Exprs, field.EventSet.Intersect, field.EventSet.Union)
	case *filter.Or:
		return joinEvents(e.Exprs, field.EventSet.Union, field.EventSet.Intersect)
	case *filter.Not:
		p, err := eventsOf(e.Expr)
		return eventPair{p.mayNot, p.may}, err
	case *filter.Check:
		return checkEvents(e)
	}
	return anyEvent, nil
}

func joinEvents(exprs []filter.Expr, may, mayNot func(a, b field.EventSet) field.EventSet) (eventPair, error) {
	p, err := eventsOf(exprs[0])
	for _, x := range exprs[1:] {
		q, qerr := eventsOf(x)
		if err == nil {
			err = qerr
		}
		p = eventPair{may(p.may, q.may), mayNot(p.mayNot, q.mayNot)}
	}
	if err != nil {
		return anyEvent, err
	}
	return p, nil
}

func checkEvents(c *filter.Check) (eventPair, error) {
	var err error
	transformed := func(f *filter.Field) {
		if isTypeField(f.Name) {
			err = errorf(f.At, "event types cannot be told from field '%s' with a transformer or a field on the right-hand side", f.Name)
		}
	}
	left, isField := c.Left.(*filter.Field)
	if !isField {
		filter.OperandFields(c.Left, transformed)
		return anyEvent, err
	}
	if t, ok := c.Right.(*filter.Transform); ok {
		transformed(left)
		filter.OperandFields(t, transformed)
		return anyEvent, err
	}
	switch {
	case isTypeField(left.Name):
		return typeEvents(c), nil
	case left.Name == "evt.num":
		return numEvents(c), nil
	}
	return anyEvent, nil
}

func isTypeField(name string) bool { return name == "evt.type" || name == "syscall.type" }

// typeEvents is for a check of evt.type with literals. Every event has a type.
func typeEvents(c *filter.Check) eventPair {
	texts := literalTexts(c)
	var set field.EventSet
	switch c.Op {
	case filter.Exists:
		set = field.AllEvents()
	case filter.In, filter.Intersects:
		set = typesWith(texts, func(n int) bool { return n > 0 })
	case filter.Equal, filter.DoubleEqual:
		set = typesWith(texts, func(n int) bool { return holdsFor(c.Mod, n, len(texts)) })
	case filter.NotEqual:
		set = typesWith(texts, func(n int) bool { return holdsFor(c.Mod, len(texts)-n, len(texts)) })
	default:
		return anyEvent
	}
	return eventPair{set, set.Complement()}
}

// typesWith returns the event types for which ok holds of the number of texts that name them.
func typesWith(texts []string, ok func(n int) bool) field.EventSet {
	counts := make(map[field.EventType]int, len(texts))
	for _, text := range texts {
		if t, known := field.EventTypeByName(text); known {
			counts[t]++
		}
	}
	var set field.EventSet
	none := ok(0)
	for t, n := range counts {
		if ok(n) != none {
			set.Add(t)
		}
	}
	if none {
		return set.Complement()
	}
	return set
}

// holdsFor reports whether a check with modifier mod holds if its operator does for n of all its values.
func holdsFor(mod filter.Modifier, n, all int) bool {
	switch mod {
	case filter.OneOf:
		return n == 1
	case filter.AllOf:
		return n == all && all > 0
	}
	return n > 0
}

func literalTexts(c *filter.Check) []string {
	switch r := c.Right.(type) {
	case *filter.Value:
		return []string{r.Text}
	case *filter.List:
		texts := make([]string, len(r.Items))
		for i, v := range r.Items {
			texts[i] = v.Text
		}
		return texts
	}
	return nil
}

// numEvents is for a check of evt.num with literals: rules say "never" and "always" with it, for it begins at 1.
func numEvents(c *filter.Check) eventPair {
	switch numConstant(c.Op, c.Mod, literalTexts(c)) {
	case False:
		return eventPair{mayNot: field.AllEvents()}
	case True:
		return eventPair{may: field.AllEvents()}
	}
	return anyEvent
}

// numConstant is what a check of evt.num always is: True, False, or Check if that depends.
func numConstant(op filter.Op, mod filter.Modifier, texts []string) Kind {
	nums := make([]uint64, len(texts))
	for i, text := range texts {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return Check
		}
		nums[i] = n
	}
	zero := !slices.ContainsFunc(nums, func(n uint64) bool { return n != 0 })
	switch op {
	case filter.Exists:
		return True
	case filter.In, filter.Intersects:
		if zero {
			return False
		}
		return Check
	}
	if mod != 0 || len(nums) != 1 {
		return Check
	}
	n := nums[0]
	switch {
	case (op == filter.Equal || op == filter.DoubleEqual) && n == 0, op == filter.Less && n <= 1, op == filter.LessEqual && n == 0:
		return False
	case op == filter.NotEqual && n == 0, op == filter.GreaterEqual && n <= 1, op == filter.Greater && n == 0:
		return True
	}
	return Check
}
