package match

import (
	"strconv"
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

// holds compares v, the value of the left side, with the literals of a.
func (a *Atom) holds(v *field.Value, ev field.Event) bool {
	switch {
	case a.Op == filter.Exists:
		return true
	case a.Left.Kind == FieldOperand && a.Left.Ref.ID == field.EvtAround:
		return a.around(ev)
	case v.Kind != field.KindList:
		return a.test(v)
	}
	return a.each(v.List, a.test)
}

// each compares the elements of a list. In a list field each element must be "in", one must "intersect". Of a field that is no list and has
// several values, either side of a connection or any ancestor, one is enough; but either side must differ for !=.
func (a *Atom) each(list []field.Value, test testFunc) bool {
	all := a.Left.List && a.Op == filter.In || a.Op == filter.NotEqual && a.Left.eitherSide()
	for i := range list {
		if test(&list[i]) != all {
			return !all
		}
	}
	return all
}

// eitherSide reports whether o is a field that stands for both ends of a connection.
func (o *Operand) eitherSide() bool {
	switch o.Ref.ID {
	case field.FDIP, field.FDNet, field.FDPort, field.FDProto:
		return o.Kind == FieldOperand
	}
	return false
}

// holdsFor compares l with r, the value of the right side.
func (a *Atom) holdsFor(l, r *field.Value) bool {
	test := func(e *field.Value) bool { return a.compare(e, r) }
	if l.Kind == field.KindList {
		return a.each(l.List, test)
	}
	return test(l)
}

// compare compares one element of the left side with the value of the right side.
func (a *Atom) compare(l, r *field.Value) bool {
	c := classOf(a.Left.Type)
	if a.Op == filter.In || a.Op == filter.Intersects {
		if r.Kind != field.KindList {
			return equal(c, l, r)
		}
		for i := range r.List {
			if equal(c, l, &r.List[i]) {
				return true
			}
		}
		return false
	}
	if c == classAddr || c == classNet {
		ok := l.Kind == field.KindAddr && r.Kind == field.KindAddr
		return ok && (l.Addr.Unmap() == r.Addr.Unmap()) == (a.Op == filter.Equal)
	}
	if c != classString && c != classBytes {
		return holdsOrder(a.Op, compareNum(c, l, r))
	}
	return isStr(l) && isStr(r) && compareStrings(a.Op, l.Str, r.Str)
}

// compareStrings is the test of newStringTest for a right side that is not known before.
func compareStrings(op filter.Op, l, r string) bool {
	switch op {
	case filter.Contains, filter.BContains:
		return strings.Contains(l, r)
	case filter.IContains:
		return containsFold(l, toLower(r))
	case filter.StartsWith, filter.BStartsWith:
		return strings.HasPrefix(l, r)
	case filter.EndsWith:
		return strings.HasSuffix(l, r)
	case filter.Glob, filter.IGlob:
		return fnmatch(r, l, op == filter.IGlob)
	}
	return holdsOrder(op, strings.Compare(l, r))
}

func equal(c class, l, r *field.Value) bool {
	switch c {
	case classString, classBytes:
		return isStr(l) && isStr(r) && l.Str == r.Str
	case classAddr, classNet:
		return l.Kind == field.KindAddr && r.Kind == field.KindAddr && l.Addr.Unmap() == r.Addr.Unmap()
	}
	return compareNum(c, l, r) == 0
}

// around reports whether the event is within so many milliseconds of the time that the argument of evt.around gives.
func (a *Atom) around(ev field.Event) bool {
	at, err := strconv.ParseInt(a.Left.Ref.Arg, 10, 64)
	ms := a.Values[0].Num
	if err != nil || ms > 1<<42 {
		return false
	}
	distance := ev.Time().UnixNano() - at
	return -int64(ms)*1e6 <= distance && distance <= int64(ms)*1e6
}
