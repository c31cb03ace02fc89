package format

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/match"
)

// A Field is a field that a template prints.
type Field struct {
	Name string // as written: "proc.aname[2]"
	Ref  field.Ref

	operand *match.Operand
}

// Fields returns the fields that t prints as they are, each once, in the order of the template. Those inside a transformer are not among them.
func (t *Template) Fields() []Field {
	var out []Field
	seen := make(map[string]bool)
	for _, p := range t.parts {
		if p.operand == nil || p.operand.Kind != match.FieldOperand || seen[p.operand.String()] {
			continue
		}
		seen[p.operand.String()] = true
		out = append(out, Field{Name: p.operand.String(), Ref: p.operand.Ref, operand: p.operand})
	}
	return out
}

// Refs returns each use of a field in t once, those inside transformers included.
func (t *Template) Refs() []field.Ref {
	var out []field.Ref
	seen := make(map[string]bool)
	var visit func(o *match.Operand)
	visit = func(o *match.Operand) {
		if o.Kind == match.FieldOperand && !seen[o.String()] {
			seen[o.String()] = true
			out = append(out, o.Ref)
		}
		for _, a := range o.Args {
			visit(a)
		}
	}
	for _, p := range t.parts {
		if p.operand != nil {
			visit(p.operand)
		}
	}
	return out
}

// Value returns the value of f in ev as JSON has it: int64, uint64, float64, bool, string, []any, or nil if there is none.
func (f *Field) Value(ev field.Event) any {
	text, value, isText := f.AppendValue(nil, ev, new(field.Value))
	if isText {
		return string(text)
	}
	return value
}

// AppendValue is Value, but of a string: isText says that it is one, and that it was appended to dst. v is room for a value.
func (f *Field) AppendValue(dst []byte, ev field.Event, v *field.Value) (_ []byte, value any, isText bool) {
	if !f.operand.Value(ev, field.AsPassed, v) {
		return dst, nil, false
	}
	switch v.Kind {
	case field.KindBool, field.KindInt, field.KindUint, field.KindFloat:
	case field.KindList:
		if !f.operand.List {
			return appendValue(dst, f.operand, v), nil, true
		}
	default:
		return field.AppendText(dst, f.operand.Type, v), nil, true
	}
	return dst, jsonValue(f.operand.Type, v), false
}

func jsonValue(t field.Type, v *field.Value) any {
	switch v.Kind {
	case field.KindBool:
		return v.Num != 0
	case field.KindInt:
		return int64(v.Num)
	case field.KindUint:
		if t == field.TypeBool {
			return v.Num != 0
		}
		return v.Num
	case field.KindFloat:
		if x := math.Float64frombits(v.Num); !math.IsNaN(x) && !math.IsInf(x, 0) {
			return x
		}
		return nil
	case field.KindList:
		list := make([]any, len(v.List))
		for i := range v.List {
			list[i] = jsonValue(t, &v.List[i])
		}
		return list
	}
	return string(field.AppendText(nil, t, v))
}

// AppendJSON adds the value of f in ev to dst as JSON.
func (f *Field) AppendJSON(dst []byte, ev field.Event) []byte {
	switch v := f.Value(ev).(type) {
	case nil:
		return append(dst, "null"...)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case uint64:
		return strconv.AppendUint(dst, v, 10)
	case bool:
		return strconv.AppendBool(dst, v)
	default:
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			return append(dst, "null"...)
		}
		return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
	}
}

// appendValue adds v, the value of o, to dst as Falco prints it. A field that is no list and has several values, one for each ancestor,
// prints them from the parent upwards.
func appendValue(dst []byte, o *match.Operand, v *field.Value) []byte {
	if v.Kind != field.KindList || o.List {
		return field.AppendText(dst, o.Type, v)
	}
	for i := range v.List {
		if i > 0 {
			dst = append(dst, "->"...)
		}
		dst = field.AppendText(dst, o.Type, &v.List[i])
	}
	return dst
}
