package filter

import (
	"slices"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

// The shape of an open is what its flags and its result say of it: the access mode, and these bits. bpf/c/open_shape.h makes the same number.
const (
	shapeMode      = 3
	shapeDirectory = 1 << 2 // O_DIRECTORY
	shapeMakes     = 1 << 3 // O_CREAT or O_TMPFILE
	shapeFailed    = 1 << 4
	shapes         = 1 << 5
)

// ShapesMakingFiles are the shapes of opens that may have made a file, as bits.
func ShapesMakingFiles() (bits uint32) {
	for s := range shapes {
		if s&shapeMakes != 0 && s&shapeFailed == 0 {
			bits |= 1 << s
		}
	}
	return bits
}

// Shapes says, as bits, of which shapes an open is dropped and of which it is kept by f's program that looks at the call, whatever else the open
// is: it need not run for either. There are none for other calls, none for opens whose flags stand in the program's memory, and none are
// dropped where all leave to be checked.
func (f *Filter) Shapes(p *Plan) (dropped, kept uint32) {
	if f.Type != field.EventOpen && f.Type != field.EventOpenat {
		return 0, 0
	}
	for s := range uint32(shapes) {
		switch may, must := f.early.ofShape(s); {
		case !may && !p.opts.Shadow:
			dropped |= 1 << s
		case must && f.Late(): // else the program counts what it keeps
			kept |= 1 << s
		}
	}
	return dropped, kept
}

// ofShape reports whether e may be, and whether it must be, true of an open of a shape.
func (e *Expr) ofShape(shape uint32) (may, must bool) {
	switch e.Op {
	case False:
		return false, false
	case And:
		may, must = true, true
		for _, k := range e.Kids {
			kidMay, kidMust := k.ofShape(shape)
			may, must = may && kidMay, must && kidMust
		}
		return may, must
	case Or:
		for _, k := range e.Kids {
			kidMay, kidMust := k.ofShape(shape)
			may, must = may || kidMay, must || kidMust
		}
		return may, must
	case Literal:
		if e.Test.Kind == Class {
			class, known := e.Test.classOfShape(shape)
			mask := e.Test.May
			if e.Not {
				mask = e.Test.MayNot
			}
			is := mask>>class&1 != 0
			return is || !known, is && known
		}
		is, known := e.Test.isOfShape(shape)
		return is != e.Not || !known, is != e.Not && known
	}
	return true, true
}

// classOfShape is what an early program takes a class for in an open of a shape, if that says it.
func (t *Test) classOfShape(shape uint32) (class uint, known bool) {
	failed, makes := shape&shapeFailed != 0, shape&shapeMakes != 0
	switch t.Fact {
	case AccessMode:
		return uint(shape & shapeMode), true
	case OpenKind:
		const directory, later = 2, 3
		switch {
		case failed:
			return 0, true
		case shape&shapeDirectory != 0:
			return directory, true
		}
		return later, true
	case Created:
		const later = 2
		if makes && !failed {
			return later, true
		}
		return 0, true
	case OpenExec: // the mode says the rest
		return 0, !makes
	}
	return 0, false
}

// isOfShape is what a test that is of no class is of an open of a shape, if that says it.
func (t *Test) isOfShape(shape uint32) (is, known bool) {
	failed := shape&shapeFailed != 0
	switch {
	case t.Kind == Errno && !failed:
		return t.Success, true
	case t.Kind == Number && t.Fact == FDNum && t.Signed && failed:
		return t.holds(-1), true
	case t.Kind == Number && t.Fact == FDNum && t.Signed && t.Op == filter.GreaterEqual && int64(t.Values[0]) == 0:
		return true, true // any descriptor
	}
	return false, false
}

// holds reports whether a comparison with a signed number is true of n.
func (t *Test) holds(n int64) bool {
	v := int64(t.Values[0])
	switch t.Op {
	case filter.NotEqual:
		return n != v
	case filter.Less:
		return n < v
	case filter.LessEqual:
		return n <= v
	case filter.Greater:
		return n > v
	case filter.GreaterEqual:
		return n >= v
	}
	return slices.Contains(t.Values, uint64(n))
}
