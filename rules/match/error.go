package match

import (
	"fmt"

	"github.com/tiercel-project/tiercel/rules/filter"
)

// An Error is a condition that reads well but means nothing, and where.
type Error struct {
	Pos     filter.Pos
	Msg     string // Falco's words where it has some
	Near    string // what was probably meant; empty if nothing is near
	Unknown bool   // it names a field, an event type or an argument that there is none of
}

func (e *Error) Error() string {
	return fmt.Sprintf("filter error at index %d, line %d, column %d: %s", e.Pos.Offset, e.Pos.Line, e.Pos.Col, e.Msg)
}

// A Warning is something in a condition that is allowed and probably not meant.
type Warning struct {
	Pos filter.Pos
	Msg string
}

func errorf(pos filter.Pos, format string, args ...any) *Error {
	return &Error{Pos: pos, Msg: fmt.Sprintf(format, args...)}
}
