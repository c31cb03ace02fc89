package format

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
	"github.com/tiercel-project/tiercel/rules/match"
)

// NA is printed where a field has no value.
const NA = "<NA>"

// An Error is a template that cannot be read, and where.
type Error struct {
	Offset  int // in bytes, from 0: of the percent sign
	Msg     string
	Near    string // what was probably meant; empty if nothing is near
	Unknown bool   // it names a field that there is none of
}

func (e *Error) Error() string { return e.Msg }

// A Template is a compiled output. It is immutable and safe for concurrent use.
type Template struct {
	parts  []part
	always bool // begins with *: written even if fields have no value
}

// A part is literal text, or a value if operand is set.
type part struct {
	text    string
	operand *match.Operand
	width   int // 0: as long as it is
}

// Compile reads an output template for rules of source. Empty: all fields. The error is an *Error.
//
//	%field %field[arg] %transformer(field)   the value
//	%12field                                 padded with blanks or cut to 12 characters
//	*…                                       at the very beginning: a value that is missing is <NA>; without it, Append writes nothing then
//
// The longest text behind the percent sign that is a field counts: "%proc.name." is a field and a dot. A percent sign cannot be escaped.
func Compile(text, source string) (*Template, error) {
	t := &Template{}
	rest, always := strings.CutPrefix(text, "*")
	t.always = always
	for rest != "" {
		n := strings.IndexByte(rest, '%')
		if n < 0 {
			n = len(rest)
		}
		if n > 0 {
			t.parts = append(t.parts, part{text: rest[:n]})
		}
		if rest = rest[n:]; rest == "" {
			break
		}
		p, n, err := token(rest[1:], source)
		if err != nil {
			err.Offset = len(text) - len(rest)
			return nil, err
		}
		t.parts = append(t.parts, p)
		rest = rest[1+n:]
	}
	return t, nil
}

// token reads the width and the operand behind a percent sign, and returns how long they are.
func token(text, source string) (part, int, *Error) {
	p := part{}
	digits := 0
	for digits < len(text) && '0' <= text[digits] && text[digits] <= '9' {
		p.width = min(p.width*10+int(text[digits]-'0'), maxWidth)
		digits++
	}
	text = text[digits:]
	var n int
	var err *Error
	p.operand, n, err = longest(text, source)
	return p, digits + n, err
}

// maxWidth bounds what a template can make of an alert, and how long a use of a field may be.
const maxWidth = 4096

// longest reads the longest operand at the front of text that there is.
func longest(text, source string) (*match.Operand, int, *Error) {
	_, n, err := filter.ParseOperand(text)
	if err != nil {
		n = nameLen(text)
	}
	var first error
	for n = min(n, maxWidth); n > 0; n-- {
		o, m, err := filter.ParseOperand(text[:n])
		if err != nil || m != n || first != nil && !known(o) {
			continue
		}
		op, err := match.CompileOperand(o, match.Env{Source: source})
		if err == nil {
			return op, n, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, 0, invalid(text, first)
}

// known reports whether all fields of o exist. It costs less than to be told why not.
func known(o filter.Operand) bool {
	ok := true
	filter.OperandFields(o, func(f *filter.Field) { ok = ok && field.Known(f.Name, f.Arg, f.HasArg) })
	return ok
}

// nameLen is the length of what may be a name at the front of text.
func nameLen(text string) int {
	n := strings.IndexFunc(text, func(r rune) bool {
		return r != '.' && r != '_' && (r < '0' || '9' < r) && (r < 'A' || 'Z' < r) && (r < 'a' || 'z' < r)
	})
	if n < 0 {
		return len(text)
	}
	return n
}

// invalid is the error for a percent sign without an operand; cause is why the longest text was none, if it looked like one.
func invalid(text string, cause error) *Error {
	tok, _, _ := strings.Cut(text, " ")
	e := &Error{Msg: "invalid formatting token " + tok, Unknown: true}
	if m, ok := errors.AsType[*match.Error](cause); ok {
		e.Near, e.Unknown = m.Near, m.Unknown
		if !m.Unknown {
			e.Msg = fmt.Sprintf("%s: %s", e.Msg, m.Msg)
		}
	} else if n := nameLen(text); n > 0 {
		e.Near = field.Nearest(text[:n])
	}
	return e
}

// Append adds the output for ev to dst. It returns dst as it was, and false, if a field has no value and the template does not begin with *.
// Paths are in the form that the program passed. v is room for one value at a time.
func (t *Template) Append(dst []byte, ev field.Event, v *field.Value) ([]byte, bool) {
	start := len(dst)
	for i := range t.parts {
		p := &t.parts[i]
		if p.operand == nil {
			dst = append(dst, p.text...)
			continue
		}
		before := len(dst)
		if p.operand.Value(ev, field.AsPassed, v) {
			dst = appendValue(dst, p.operand, v)
		} else if t.always {
			dst = append(dst, NA...)
		} else {
			return dst[:start], false
		}
		if p.width > 0 {
			dst = fit(dst, before, p.width)
		}
	}
	return dst, true
}

// fit pads or cuts what was added to dst since start to width characters.
func fit(dst []byte, start, width int) []byte {
	n := utf8.RuneCount(dst[start:])
	for ; n < width; n++ {
		dst = append(dst, ' ')
	}
	if n == width {
		return dst
	}
	end := start
	for range width {
		_, size := utf8.DecodeRune(dst[end:])
		end += size
	}
	return dst[:end]
}
