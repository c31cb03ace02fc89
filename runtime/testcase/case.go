// Package testcase tests functions without a cluster: a case is an event, a configuration and recorded answers of the host; a module is
// run on it in the real sandbox, and what it asked for, how it ended and what it logged is compared with what the case says. The format is
// described in docs/functions.md; tiercel fn test runs cases and makes them from recorded actions.
//
// It leaves to others where modules come from (functions) and what the operations do (runtime/capability). Read [Case] first, then
// [Case.Run].
package testcase

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/rules/spell"
)

// Names of the parts of a case.
const (
	partEvent      = "event.json"
	partConfig     = "config.json"
	partInvocation = "invocation.json"
	partAnswers    = "answers"
	partCalls      = "calls"
	partResult     = "result"
	partLog        = "log"
)

var parts = []string{partEvent, partConfig, partInvocation, partAnswers, partCalls, partResult, partLog}

// golden are the parts that are compared, and rewritten by Update.
var golden = []string{partCalls, partResult, partLog}

// EventFile is the file beside cases with the event of those that have none.
const EventFile = partEvent

// Pattern is the glob of the names of files with cases.
const Pattern = "*.txtar"

// Defaults is what a case takes that does not say it itself.
type Defaults struct {
	Event  []byte          // nil: it is an error to have none
	Config json.RawMessage // nil: {}
}

// A Case is one test of a function.
type Case struct {
	File    string // name for messages
	Comment string // what stands before the first part
	Event   []byte
	Config  json.RawMessage
	ID      string // of the invocation; default "test"
	// Function is its name as told to the function; empty stands for the module's.
	Function string
	Answers  []Answer

	archive *txtar.Archive
	lines   map[string]int // of the first line of each part
}

// An Error is a problem at a place of a case.
type Error struct {
	File string
	Line int // 1-based
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

func (c *Case) bad(line int, format string, args ...any) error {
	return &Error{c.File, line, fmt.Errorf(format, args...)}
}

var nameless = regexp.MustCompile(`(?m)^-- --`)

// Load reads a case. One without an event has that of the file event.json beside it, or else of def.
func Load(file string, def Defaults) (*Case, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	event, err := os.ReadFile(filepath.Join(filepath.Dir(file), EventFile))
	if err == nil {
		def.Event = event
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return Parse(file, data, def)
}

// Parse reads a case from data. Its errors are *Error, joined.
func Parse(file string, data []byte, def Defaults) (*Case, error) {
	if at := nameless.FindIndex(data); at != nil { // package txtar would panic
		return nil, &Error{file, 1 + bytes.Count(data[:at[0]], []byte("\n")), errors.New("a part has no name")}
	}
	c := &Case{File: file, archive: txtar.Parse(data), lines: map[string]int{}, ID: "test", Event: def.Event, Config: def.Config}
	c.Comment = strings.TrimSpace(string(c.archive.Comment))
	var errs []error
	line := 1 + bytes.Count(c.archive.Comment, []byte("\n"))
	for _, f := range c.archive.Files {
		switch {
		case !slices.Contains(parts, f.Name):
			errs = append(errs, c.bad(line, "a case has no part %q%s", f.Name, didYouMean(f.Name, parts)))
		case c.lines[f.Name] != 0:
			errs = append(errs, c.bad(line, "part %q is here for the second time", f.Name))
		default:
			c.lines[f.Name] = line + 1
			errs = append(errs, c.part(f.Name, f.Data, line+1))
		}
		line += 1 + bytes.Count(f.Data, []byte("\n"))
	}
	errs = append(errs, c.checkEvent())
	return c, errors.Join(errs...)
}

func (c *Case) part(name string, data []byte, line int) error {
	switch name {
	case partEvent:
		c.Event = data
	case partConfig:
		c.Config = nil // it may be another's: decoding would write into it
		return c.json(data, line, &c.Config)
	case partInvocation:
		var inv struct {
			ID       string `json:"id"`
			Function string `json:"function"`
		}
		if err := c.json(data, line, &inv); err != nil {
			return err
		}
		if inv.ID != "" {
			c.ID = inv.ID
		}
		c.Function = inv.Function
	case partAnswers:
		return c.answers(data, line)
	}
	return nil
}

// json decodes a part that is one JSON value.
func (c *Case) json(data []byte, line int, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return c.bad(line+lineOf(data, err), "%v", err)
	}
	if rest := bytes.TrimSpace(data[dec.InputOffset():]); len(rest) > 0 {
		return c.bad(line+bytes.Count(data[:dec.InputOffset()], []byte("\n")), "something follows the JSON value")
	}
	return nil
}

// lineOf is the number of line feeds before the place of an error of encoding/json.
func lineOf(data []byte, err error) int {
	at := int64(len(bytes.TrimRight(data, "\n")))
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		at = max(e.Offset-1, 0)
	} else if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		at = e.Offset
	} else if _, ok := err.(interface{ Unwrap() error }); !ok && len(data) > 0 && !strings.Contains(err.Error(), "EOF") {
		at = 0
	}
	return bytes.Count(data[:min(at, int64(len(data)))], []byte("\n"))
}

// checkEvent makes sure that there is an event that a runtime would take.
func (c *Case) checkEvent() error {
	line := max(c.lines[partEvent], 1)
	c.Event = bytes.TrimSpace(c.Event)
	if len(c.Event) == 0 {
		return c.bad(line, "there is no event: add a part event.json, or a file of that name beside this one")
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(c.Event, &object); err != nil {
		return c.bad(line+lineOf(c.Event, err), "event: %v", err)
	}
	var compact bytes.Buffer
	_ = json.Compact(&compact, c.Event) // it was decoded
	c.Event = compact.Bytes()
	e, err := bus.Unmarshal(c.Event)
	if err != nil {
		return c.bad(line, "event: %v", err)
	}
	if _, err := e.Match(); err != nil {
		return c.bad(line, "event: %v", err)
	}
	return nil
}

func didYouMean(name string, candidates []string) string {
	if near := spell.Nearest(name, candidates); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return fmt.Sprintf(" (there are %s)", strings.Join(candidates, ", "))
}
