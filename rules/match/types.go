package match

import (
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

var typeNames = [...]string{
	field.TypeString: "CHARBUF", field.TypeBytes: "BYTEBUF", field.TypeInt16: "INT16", field.TypeInt32: "INT32", field.TypeInt64: "INT64",
	field.TypeUint32: "UINT32", field.TypeUint64: "UINT64", field.TypeBool: "BOOL", field.TypeDouble: "DOUBLE", field.TypePort: "PORT",
	field.TypeIPAddr: "IPADDR", field.TypeIPNet: "IPNET", field.TypeRelTime: "RELTIME", field.TypeAbsTime: "ABSTIME", field.TypeDyn: "DYN",
}

// typeName is the type of o in messages.
func typeName(o *Operand) string {
	if o.List {
		return "LIST(" + typeNames[o.Type] + ")"
	}
	return typeNames[o.Type]
}

// A class is a group of types that take the same operators.
type class uint8

const (
	classString class = iota
	classBytes
	classInt
	classUint
	classFloat
	classBool
	classAddr
	classNet
)

func classOf(t field.Type) class {
	switch t {
	case field.TypeString:
		return classString
	case field.TypeBytes:
		return classBytes
	case field.TypeInt16, field.TypeInt32, field.TypeInt64:
		return classInt
	case field.TypeDouble:
		return classFloat
	case field.TypeBool:
		return classBool
	case field.TypeIPAddr:
		return classAddr
	case field.TypeIPNet:
		return classNet
	}
	return classUint
}

type opSet uint32

func ops(list ...filter.Op) opSet {
	var s opSet
	for _, o := range list {
		s |= 1 << o
	}
	return s
}

var (
	equalityOps = ops(filter.Exists, filter.Equal, filter.NotEqual, filter.In, filter.Intersects)
	orderOps    = ops(filter.Less, filter.LessEqual, filter.Greater, filter.GreaterEqual)
	listOps     = ops(filter.Exists, filter.In, filter.Intersects)

	classOps = [...]opSet{
		classString: equalityOps | orderOps | ops(filter.Contains, filter.IContains, filter.StartsWith, filter.EndsWith, filter.Glob, filter.IGlob,
			filter.Regex, filter.PMatch),
		classBytes: equalityOps | ops(filter.Contains, filter.StartsWith, filter.EndsWith, filter.BContains, filter.BStartsWith),
		classInt:   equalityOps | orderOps,
		classUint:  equalityOps | orderOps,
		classFloat: equalityOps | orderOps,
		classBool:  equalityOps,
		classAddr:  equalityOps,
		classNet:   equalityOps,
	}
)

// admissible checks the operator and the modifier against the type of the left side.
func admissible(a *Atom, pos filter.Pos) error {
	allowed := classOps[classOf(a.Left.Type)]
	switch {
	case a.Left.List && listOps&(1<<a.Op) == 0:
		return errorf(pos, "operator '%s' is not supported for list field '%s'", a.Op, a.Left.key)
	case allowed&(1<<a.Op) == 0:
		return errorf(pos, "operator '%s' is not supported for type '%s' of field '%s'", a.Op, typeName(a.Left), a.Left.key)
	case a.Mod != 0 && (a.Left.List || a.Left.Type == field.TypeBool):
		return errorf(pos, "modifier '%s' is not supported for type '%s' of field '%s'", a.Mod, typeName(a.Left), a.Left.key)
	case a.Left.Kind == FieldOperand && a.Left.Ref.ID == field.EvtAround && (a.Op != filter.Equal || a.Mod != 0):
		return errorf(pos, "field 'evt.around' supports the operator '=' only")
	}
	return nil
}
