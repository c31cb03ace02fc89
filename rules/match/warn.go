package match

import (
	"fmt"
	"strings"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
)

// warnValue warns of a value that was probably meant to be something else. As in Falco blanks in it do not count, and every value is looked
// at, whatever the type of the field.
func (c *Compiler) warnValue(a *Atom, v *filter.Value) {
	if a.Op == filter.Regex && simpleRegex(v.Text) {
		c.warn(v.At, "regex check with '%s' may be optimized with simpler operators such as '=', 'contains', 'startswith', 'endswith'", v.Text)
	}
	if !strings.ContainsAny(v.Text, ".(") { // most values
		return
	}
	text := withoutBlanks(v.Text)
	if f, ok := wholeOperand(text).(*filter.Field); ok && field.Known(f.Name, f.Arg, f.HasArg) {
		c.warn(v.At, "'%s' may be a valid field misused as a const string value", v.Text)
	}
	if name, rest, ok := strings.Cut(text, "("); ok && strings.HasSuffix(rest, ")") && (name == "val" || callKinds[name] != 0) {
		c.warn(v.At, "'%s' may be a valid field transformer misused as a const string value", v.Text)
	}
}

func withoutBlanks(s string) string {
	if !strings.ContainsAny(s, " \t\r\n\v\f") {
		return s
	}
	return strings.Join(strings.Fields(s), "")
}

func (c *Compiler) warn(pos filter.Pos, format string, args ...any) {
	c.cur.warnings = append(c.cur.warnings, Warning{Pos: pos, Msg: fmt.Sprintf(format, args...)})
}

// wholeOperand reads text as a field or a transformer, or returns nil if it is not one from end to end.
func wholeOperand(text string) filter.Operand {
	if strings.HasPrefix(text, "/") {
		return nil
	}
	o, n, err := filter.ParseOperand(text)
	if err != nil || n != len(text) {
		return nil
	}
	return o
}

// simpleRegex reports whether a simpler operator may do what the regular expression does: nothing in it is special but anchors, and what
// stands for any characters at its ends. It is Falco's rule.
func simpleRegex(text string) bool {
	for i := 0; i < len(text); i++ {
		switch {
		case i == 0 && text[i] == '^', i == len(text)-1 && text[i] == '$':
		case text[i] == '.' && i+1 < len(text) && (i == 0 || i == len(text)-2) && strings.IndexByte("+*?", text[i+1]) >= 0:
			i++
		case strings.IndexByte(`.+*?^$()[]{}|\`, text[i]) >= 0:
			return false
		}
	}
	return true
}
