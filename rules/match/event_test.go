package match_test

import (
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/tiercel-project/tiercel/rules/field"
)

// An event is one whose fields are given by name, as a rule would write them. A value is a string, an int, a float64, a bool or a []string;
// what it becomes depends on the type of the field. resolved holds the fields that differ in the second form.
type event struct {
	fields   map[string]any
	resolved map[string]any
	typ      field.EventType
	when     time.Time
	extracts int
}

func newEvent(fields map[string]any) *event {
	e := &event{fields: fields}
	if name, ok := fields["evt.type"].(string); ok {
		e.typ, _ = field.EventTypeByName(name)
	}
	return e
}

func (e *event) Type() field.EventType { return e.typ }
func (e *event) Time() time.Time       { return e.when }
func (e *event) RuleSource() string    { return "syscall" }
func (e *event) TwoForms() bool        { return e.resolved != nil }

func (e *event) Extract(ref *field.Ref, form field.Form, v *field.Value) bool {
	e.extracts++
	name := ref.String()
	value, ok := e.fields[name]
	if other, differs := e.resolved[name]; differs && form == field.Resolved {
		value, ok = other, true
	}
	return ok && setValue(v, ref, value)
}

func setValue(v *field.Value, ref *field.Ref, value any) bool {
	t := ref.ID.Info().Type
	switch value := value.(type) {
	case nil:
		return false
	case []string:
		v.SetList()
		for _, s := range value {
			var e field.Value
			setValue(&e, ref, s)
			v.List = append(v.List, e)
		}
		return true
	case []any:
		v.SetList()
		for _, s := range value {
			var e field.Value
			setValue(&e, ref, s)
			v.List = append(v.List, e)
		}
		return true
	case bool:
		return v.SetBool(value)
	case int:
		return setNumber(v, t, float64(value))
	case float64:
		return setNumber(v, t, value)
	case string:
		return setText(v, t, value)
	}
	return false
}

func setNumber(v *field.Value, t field.Type, f float64) bool {
	switch t {
	case field.TypeBool:
		return v.SetBool(f != 0)
	case field.TypeDouble:
		v.Kind, v.Num = field.KindFloat, math.Float64bits(f)
		return true
	case field.TypeString:
		return v.SetString(strconv.FormatFloat(f, 'f', -1, 64))
	case field.TypeInt16, field.TypeInt32, field.TypeInt64, field.TypeDyn:
		return v.SetInt(int64(f))
	}
	return v.SetUint(uint64(f))
}

func setText(v *field.Value, t field.Type, s string) bool {
	switch t {
	case field.TypeBytes:
		return v.SetBytes(s)
	case field.TypeIPAddr, field.TypeIPNet:
		return v.SetAddr(netip.MustParseAddr(s))
	case field.TypePort, field.TypeUint32, field.TypeUint64, field.TypeInt64:
		n, err := strconv.ParseFloat(s, 64)
		return err == nil && setNumber(v, t, n)
	case field.TypeBool:
		return v.SetBool(strings.EqualFold(s, "true"))
	}
	return v.SetString(s)
}

// A fixed is an event that costs little to read: its values are made beforehand.
type fixed struct {
	typ    field.EventType
	values [512]*field.Value // by field
}

func newFixed(t field.EventType, fields map[string]any) *fixed {
	e := &fixed{typ: t}
	for name, value := range fields {
		ref, err := field.Lookup(name)
		v := new(field.Value)
		if err != nil || !setValue(v, &ref, value) {
			panic("no value for " + name)
		}
		e.values[ref.ID] = v
	}
	return e
}

func (e *fixed) Type() field.EventType { return e.typ }
func (e *fixed) Time() time.Time       { return time.Time{} }
func (e *fixed) RuleSource() string    { return "syscall" }
func (e *fixed) TwoForms() bool        { return false }

func (e *fixed) Extract(ref *field.Ref, _ field.Form, v *field.Value) bool {
	have := e.values[ref.ID]
	if have == nil || ref.Arg != "" {
		return false
	}
	list := v.List
	*v = *have
	if have.Kind == field.KindList {
		v.List = append(list[:0], have.List...)
	}
	return true
}
