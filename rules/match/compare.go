package match

import (
	"math"
	"net/netip"
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

// A testFunc tests one element of the left side of an atom against its literals. A value of a kind that the type cannot have fails.
type testFunc func(v *field.Value) bool

// newTest makes the test of an atom whose literals are known.
func newTest(a *Atom) (testFunc, error) {
	switch {
	case a.Mod != 0:
		return newModifierTest(a)
	case a.Op == filter.PMatch:
		return newPathTest(a.Values), nil
	case a.Op == filter.In || a.Op == filter.Intersects:
		return newSetTest(classOf(a.Left.Type), a.Values), nil
	}
	return newSingleTest(a, a.Values[0])
}

// newModifierTest makes the test of "op oneof|anyof|allof (…)". No modifier holds for an empty list.
func newModifierTest(a *Atom) (testFunc, error) {
	if len(a.Values) == 0 {
		return func(*field.Value) bool { return false }, nil
	}
	if a.Mod == filter.AnyOf && a.Op == filter.Equal {
		return newSetTest(classOf(a.Left.Type), a.Values), nil
	}
	tests := make([]testFunc, len(a.Values))
	for i, v := range a.Values {
		var err error
		if tests[i], err = newSingleTest(a, v); err != nil {
			return nil, err
		}
	}
	least, most := 1, len(tests)
	switch a.Mod {
	case filter.OneOf:
		most = 1
	case filter.AllOf:
		least = len(tests)
	}
	return func(v *field.Value) bool {
		n := 0
		for i, test := range tests {
			if test(v) {
				if n++; n > most {
					return false
				}
			}
			if n >= least && most == len(tests) {
				return true
			}
			if n+len(tests)-i-1 < least {
				return false
			}
		}
		return n >= least
	}, nil
}

// newSetTest makes the test of membership in a list of values.
func newSetTest(c class, values []Literal) testFunc {
	switch c {
	case classString, classBytes:
		return newStringSetTest(values)
	case classAddr:
		set := make(map[netip.Addr]struct{}, len(values))
		for _, v := range values {
			set[v.Addr] = struct{}{}
		}
		return func(v *field.Value) bool {
			if v.Kind != field.KindAddr {
				return false
			}
			_, ok := set[v.Addr.Unmap()]
			return ok
		}
	case classNet:
		return func(v *field.Value) bool {
			for i := range values {
				if inNet(v, values[i].Prefix) {
					return true
				}
			}
			return false
		}
	case classFloat:
		return func(v *field.Value) bool {
			f, ok := floatOf(v)
			for i := range values {
				if ok && f == math.Float64frombits(values[i].Num) {
					return true
				}
			}
			return false
		}
	}
	set := make(map[uint64]struct{}, len(values))
	for _, v := range values {
		set[v.Num] = struct{}{}
	}
	return func(v *field.Value) bool {
		_, ok := set[v.Num]
		return ok && isNum(v)
	}
}

// newStringSetTest makes the test of membership in a list of strings. Lengths are looked at first: most values have none of the list's.
func newStringSetTest(values []Literal) testFunc {
	if len(values) == 1 {
		want := values[0].Bytes
		return func(v *field.Value) bool { return v.Str == want && isStr(v) }
	}
	var lengths uint64
	set := make(map[string]struct{}, len(values))
	for _, v := range values {
		lengths |= lengthBit(len(v.Bytes))
		set[v.Bytes] = struct{}{}
	}
	return func(v *field.Value) bool {
		if lengths&lengthBit(len(v.Str)) == 0 || !isStr(v) {
			return false
		}
		_, ok := set[v.Str]
		return ok
	}
}

func lengthBit(n int) uint64 { return 1 << min(n, 63) }

// newSingleTest makes the test against one value.
func newSingleTest(a *Atom, lit Literal) (testFunc, error) {
	switch classOf(a.Left.Type) {
	case classString, classBytes:
		return newStringTest(a, lit)
	case classAddr:
		want, eq := lit.Addr, a.Op == filter.Equal
		return func(v *field.Value) bool { return v.Kind == field.KindAddr && (v.Addr.Unmap() == want) == eq }, nil
	case classNet:
		want, eq := lit.Prefix, a.Op == filter.Equal
		return func(v *field.Value) bool { return v.Kind == field.KindAddr && inNet(v, want) == eq }, nil
	}
	op, c, want := a.Op, classOf(a.Left.Type), field.Value{Kind: field.KindUint, Num: lit.Num}
	switch {
	case c == classFloat:
		want.Kind = field.KindFloat
	case c == classInt:
		want.Kind = field.KindInt
	case op == filter.Equal:
		return func(v *field.Value) bool { return v.Num == want.Num && isNum(v) }, nil
	}
	return func(v *field.Value) bool { return holdsOrder(op, compareNum(c, v, &want)) }, nil
}

func newStringTest(a *Atom, lit Literal) (testFunc, error) {
	s := lit.Bytes
	switch a.Op {
	case filter.Equal:
		return func(v *field.Value) bool { return v.Str == s && isStr(v) }, nil
	case filter.NotEqual:
		return func(v *field.Value) bool { return v.Str != s && isStr(v) }, nil
	case filter.Contains, filter.BContains:
		return func(v *field.Value) bool { return strings.Contains(v.Str, s) && isStr(v) }, nil
	case filter.IContains:
		lower := toLower(s)
		return func(v *field.Value) bool { return containsFold(v.Str, lower) && isStr(v) }, nil
	case filter.StartsWith, filter.BStartsWith:
		return func(v *field.Value) bool { return strings.HasPrefix(v.Str, s) && isStr(v) }, nil
	case filter.EndsWith:
		return func(v *field.Value) bool { return strings.HasSuffix(v.Str, s) && isStr(v) }, nil
	case filter.Glob, filter.IGlob:
		g := newGlob(s, a.Op == filter.IGlob)
		return func(v *field.Value) bool { return isStr(v) && g.match(v.Str) }, nil
	case filter.Regex:
		r, err := newRegex(s)
		if err != nil {
			return nil, errorf(lit.pos, "invalid regular expression '%s': %v", s, err)
		}
		return func(v *field.Value) bool { return isStr(v) && r.match(v.Str) }, nil
	}
	op := a.Op
	return func(v *field.Value) bool { return isStr(v) && holdsOrder(op, strings.Compare(v.Str, s)) }, nil
}

func isStr(v *field.Value) bool { return v.Kind == field.KindString || v.Kind == field.KindBytes }

func isNum(v *field.Value) bool {
	return v.Kind == field.KindInt || v.Kind == field.KindUint || v.Kind == field.KindBool
}

// inNet reports whether v is an address in p. An address of the other family is in no network.
func inNet(v *field.Value, p netip.Prefix) bool {
	return v.Kind == field.KindAddr && p.Contains(v.Addr.Unmap())
}

func floatBits(f float64) uint64 { return math.Float64bits(f) }

func floatOf(v *field.Value) (float64, bool) {
	switch v.Kind {
	case field.KindFloat:
		return math.Float64frombits(v.Num), true
	case field.KindInt:
		return float64(int64(v.Num)), true
	case field.KindUint:
		return float64(v.Num), true
	}
	return 0, false
}

// unordered is the result of comparing what cannot be compared.
const unordered = 2

// compareNum compares two numbers of class c.
func compareNum(c class, a, b *field.Value) int {
	if c == classFloat {
		x, okX := floatOf(a)
		y, okY := floatOf(b)
		if !okX || !okY || x != x || y != y {
			return unordered
		}
		return sign(x < y, x > y)
	}
	if !isNum(a) || !isNum(b) {
		return unordered
	}
	if c == classInt {
		return sign(int64(a.Num) < int64(b.Num), int64(a.Num) > int64(b.Num))
	}
	return sign(a.Num < b.Num, a.Num > b.Num)
}

func sign(less, greater bool) int {
	switch {
	case less:
		return -1
	case greater:
		return 1
	}
	return 0
}

// holdsOrder reports whether op holds for two values that compare as order says.
func holdsOrder(op filter.Op, order int) bool {
	if order == unordered {
		return false
	}
	switch op {
	case filter.Equal:
		return order == 0
	case filter.NotEqual:
		return order != 0
	case filter.Less:
		return order < 0
	case filter.LessEqual:
		return order <= 0
	case filter.Greater:
		return order > 0
	case filter.GreaterEqual:
		return order >= 0
	}
	return false
}

// containsFold reports whether s contains lower, which is in lower case, without regard to the case of ASCII letters.
func containsFold(s, lower string) bool {
	if lower == "" {
		return true
	}
	for i := 0; i+len(lower) <= len(s); i++ {
		if lowerByte(s[i]) == lower[0] && equalFold(s[i:i+len(lower)], lower) {
			return true
		}
	}
	return false
}

func equalFold(s, lower string) bool {
	for i := 0; i < len(lower); i++ {
		if lowerByte(s[i]) != lower[i] {
			return false
		}
	}
	return true
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// toLower changes ASCII letters only, as Falco does.
func toLower(s string) string { return string(appendLower(nil, s)) }

func appendLower(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		dst = append(dst, lowerByte(s[i]))
	}
	return dst
}
