package extract

import (
	"maps"

	"github.com/tiercel-project/tiercel/rules/field"
)

// A getter stores the value of a field in v and reports whether there is one.
type getter func(e *Event, ref *field.Ref, form field.Form, v *field.Value) bool

// A class is a part of the table of fields.
type class map[field.ID]getter

// getters is the table of all fields that are given, by ID.
var getters = func() []getter {
	all := class{}
	for _, c := range []class{evtFields, argFields, procFields, lineFields, userFields, fdFields, pathFields, containerFields, podFields, ourFields} {
		maps.Copy(all, c)
	}
	t := make([]getter, field.NumFields+1)
	for id, get := range all {
		t[id] = get
	}
	return t
}()

// text makes a getter of a function that returns a string.
func text(f func(e *Event) (string, bool)) getter {
	return func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		s, ok := f(e)
		return ok && v.SetString(s)
	}
}

// signed makes a getter of a function that returns a number that is always there.
func signed(f func(e *Event) int64) getter {
	return func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool { return v.SetInt(f(e)) }
}

// unsigned makes a getter of a function that returns a number; zero is no value if that is what none means.
func unsigned(f func(e *Event) (uint64, bool)) getter {
	return func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool {
		n, ok := f(e)
		return ok && v.SetUint(n)
	}
}

// boolean makes a getter of a function that returns a truth value that is always there.
func boolean(f func(e *Event) bool) getter {
	return func(e *Event, _ *field.Ref, _ field.Form, v *field.Value) bool { return v.SetBool(f(e)) }
}

// fixed makes a getter of a constant string.
func fixed(s string) getter {
	return func(_ *Event, _ *field.Ref, _ field.Form, v *field.Value) bool { return v.SetString(s) }
}
