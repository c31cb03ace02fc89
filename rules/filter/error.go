package filter

import (
	"fmt"
	"strings"
)

// An Error is a condition that cannot be read, and where.
type Error struct {
	Offset int    // in bytes, from 0
	Line   int    // from 1
	Col    int    // in runes, from 1
	Msg    string // Falco's words where it has some
	Near   string // what was probably meant; empty if nothing is near
}

func (e *Error) Error() string {
	return fmt.Sprintf("filter error at index %d, line %d, column %d: %s", e.Offset, e.Line, e.Col, e.Msg)
}

// quoted lists words as Falco does in messages.
func quoted[T any](words []T) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "'%v'", w)
	}
	return b.String()
}

var (
	msgOperator = "expected a valid check operator: one of " + quoted(Operators())
	msgTransf   = " or a field with a valid transformer: " + quoted(append([]string{"val"}, transformers...))
	msgNumber   = "expected a number value" + msgTransf
	msgString   = "expected a string value" + msgTransf
	msgList     = "expected a list, an identifier," + msgTransf
)
