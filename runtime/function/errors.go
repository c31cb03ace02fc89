package function

import (
	"fmt"
	"strings"
)

// A PosError is a problem at a known place in a Function document.
type PosError struct {
	File      string
	Line, Col int    // 1-based; Col counts runes; 0 means unknown
	Path      string // YAML path, as spec.triggers[0].rules
	Near      string // the known name nearest to an unknown one; may be empty
	Err       error
}

func (e *PosError) Error() string {
	var b strings.Builder
	if e.File != "" || e.Line != 0 {
		fmt.Fprintf(&b, "%s:%d:%d: ", e.File, e.Line, e.Col)
	}
	if e.Path != "" {
		fmt.Fprintf(&b, "%s: ", e.Path)
	}
	b.WriteString(e.Err.Error())
	if e.Near != "" {
		fmt.Fprintf(&b, " (did you mean %q?)", e.Near)
	}
	return b.String()
}

func (e *PosError) Unwrap() error { return e.Err }
