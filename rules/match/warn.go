package match

import (
	"fmt"
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

// warnValue warns of a string that was probably meant to be something else.
func (c *Compiler) warnValue(a *Atom, v *filter.Value) {
	if classOf(a.Left.Type) != classString {
		return
	}
	if a.Op == filter.Regex {
		if simple := simpleRegex(v.Text); simple != "" {
			c.warn(v.At, "regex '%s' can be replaced by the cheaper operator '%s'", v.Text, simple)
		}
		return
	}
	switch o := wholeOperand(strings.TrimSpace(v.Text)).(type) {
	case *filter.Field:
		if field.Known(o.Name, o.Arg, o.HasArg) {
			c.warn(v.At, "'%s' may be a valid field misused as a const string value", v.Text)
		}
	case *filter.Transform:
		known := true
		filter.OperandFields(o, func(f *filter.Field) { known = known && field.Known(f.Name, f.Arg, f.HasArg) })
		if known {
			c.warn(v.At, "'%s' may be a valid field transformer misused as a const string value", v.Text)
		}
	}
}

func (c *Compiler) warn(pos filter.Pos, format string, args ...any) {
	c.cur.warnings = append(c.cur.warnings, Warning{Pos: pos, Msg: fmt.Sprintf(format, args...)})
}

// wholeOperand reads text as a field or a transformer, or returns nil if it is not one from end to end.
func wholeOperand(text string) filter.Operand {
	if !strings.ContainsAny(text, ".(") || strings.HasPrefix(text, "/") {
		return nil
	}
	o, n, err := filter.ParseOperand(text)
	if err != nil || n != len(text) {
		return nil
	}
	return o
}

// simpleRegex names the operator that does what the regular expression does, if one does.
func simpleRegex(text string) string {
	text = strings.TrimSuffix(strings.TrimPrefix(text, "^"), "$")
	body, front := trimAny(text, strings.CutPrefix)
	body, back := trimAny(body, strings.CutSuffix)
	switch {
	case body == "" || strings.ContainsAny(body, `\.+*?()|[]{}^$`):
		return ""
	case front && back:
		return "contains"
	case front:
		return "endswith"
	case back:
		return "startswith"
	}
	return "="
}

// trimAny cuts what matches anything off one end of a regular expression.
func trimAny(text string, cut func(s, part string) (string, bool)) (string, bool) {
	for _, part := range []string{".*", ".+", ".?"} {
		if rest, ok := cut(text, part); ok {
			return rest, true
		}
	}
	return text, false
}
