package load

import (
	"errors"
	"fmt"
)

// A File is the text of a rules file. Name is what errors call it.
type File struct {
	Name string
	Data []byte
}

// A PosError is a problem at a known place in a rules file.
type PosError struct {
	File      string
	Line, Col int // 1-based; Col counts runes; 0 means unknown
	Err       error
}

func (e *PosError) Error() string { return fmt.Sprintf("%s:%d:%d: %v", e.File, e.Line, e.Col, e.Err) }

// Unwrap returns the problem without its place.
func (e *PosError) Unwrap() error { return e.Err }

// A Problem is an error or a warning: what is wrong, where it was written, and what to do about it.
type Problem struct {
	PosError
	Code    Code
	Width   int       // runes from Col on that are meant, at least 1
	Hint    string    // what to do; may be empty
	Context []Context // what the place belongs to, outermost first; the last is the place itself

	// Use is where a rule uses the macro that the place is in, and Rule the rule; nil and empty if the place is in no macro.
	Use  *Context
	Rule string

	falco         string // what Falco would say, where that differs
	src           *source
	line, useLine string // the source lines
}

func (p *Problem) Error() string {
	return fmt.Sprintf("%s:%d:%d: %v (%s)", p.File, p.Line, p.Col, p.Err, p.Code)
}

// Unwrap returns the problem's PosError.
func (p *Problem) Unwrap() error { return &p.PosError }

// Message returns what is wrong, without the place.
func (p *Problem) Message() string { return p.Err.Error() }

// A Context is an item of a rules file, or a part of one, that a problem belongs to.
type Context struct {
	ItemType string // Falco's word: "rule condition"
	ItemName string
	File     string
	Line     int // 1-based; 0: the file as a whole
	Col      int
	Offset   int // bytes from the file's start
}

// A FileResult holds the problems of one file.
type FileResult struct {
	Name     string
	Errors   []*Problem
	Warnings []*Problem
	// SchemaWarnings are the deviations from the rules files' schema; they are no errors. Empty means valid.
	SchemaWarnings []string
	schemaChecked  bool
}

// A Report holds what was found in each of the files that were loaded, in their order.
type Report struct {
	Files []*FileResult
}

// Errors returns the errors of all files.
func (r *Report) Errors() []*Problem {
	var all []*Problem
	for _, f := range r.Files {
		all = append(all, f.Errors...)
	}
	return all
}

// Warnings returns the warnings of all files.
func (r *Report) Warnings() []*Problem {
	var all []*Problem
	for _, f := range r.Files {
		all = append(all, f.Warnings...)
	}
	return all
}

// OK reports whether there is no error.
func (r *Report) OK() bool {
	for _, f := range r.Files {
		if len(f.Errors) > 0 {
			return false
		}
	}
	return true
}

// Err returns all errors joined, nil if there is none.
func (r *Report) Err() error {
	var errs []error
	for _, p := range r.Errors() {
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}
