package extract

import "github.com/tiercel-project/tiercel/rules/field"

// What follows is for those who work out beforehand what a condition says of a number, without an event.

// ErrnoName is what evt.res is for a result below zero.
func ErrnoName(result int64) string { return errnoName(result) }

// A NamedValue is a value of an argument that has a name.
type NamedValue struct {
	Name  string
	Value uint64
}

// NamesOf are the named values of p in the order in which they are looked up; none if p is no enumeration and no set of flags. Those of the
// flags of an open are Falco's bits: see OpenFlag.
func NamesOf(p *field.Param) []NamedValue {
	var out []NamedValue
	for _, f := range tables[p.Names] {
		out = append(out, NamedValue{f.name, f.value})
	}
	return out
}

// OpenFlag returns the kernel's flags of which one must be set for Falco's flag ppm to be, and whether it is about those alone.
func OpenFlag(ppm uint64) (kernel uint32, ok bool) {
	for _, b := range openBits {
		if uint64(b.ppm) == ppm {
			return b.kernel, true
		}
	}
	return 0, false
}
