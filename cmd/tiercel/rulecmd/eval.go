package rulecmd

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tiercel-project/tiercel/rules/filter"
	"github.com/tiercel-project/tiercel/rules/match"
	"github.com/tiercel-project/tiercel/rules/record"
)

// An evalRequest is a line that `rule eval` reads.
type evalRequest struct {
	Expr   string                     `json:"expr"`
	Fields map[string]json.RawMessage `json:"fields"`
}

// An evalAnswer is a line that `rule eval` writes. Line and Column count from 1.
type evalAnswer struct {
	Expr       string   `json:"expr"`
	Valid      bool     `json:"valid"`
	Error      string   `json:"error,omitempty"`
	Line       int      `json:"line,omitempty"`
	Column     int      `json:"column,omitempty"`
	Hint       string   `json:"hint,omitempty"`
	EventTypes []string `json:"event_types,omitzero"`
	Match      *bool    `json:"match,omitempty"`
}

const maxLine = 16 << 20 // bytes of a line of JSON

func (c *command) eval() *cobra.Command {
	var source sourceFlag
	cmd := &cobra.Command{
		Use:   "eval",
		Short: "Evaluate conditions, one JSON object a line",
		Long: "Read one JSON object a line from the standard input and write one for each to the standard output:\n\n" +
			`  {"expr": "…", "fields": {"proc.name": "cat", "fd.num": 3}}` + "\n" +
			`  {"expr": "…", "valid": true, "event_types": ["openat"], "match": false}` + "\n\n" +
			"A condition that is not valid is answered with error, line and column. Without fields the condition is only compiled. A field\n" +
			"that is not given has no value; nor has one that there is not, which is answered with an error beside the match.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.evalLines(string(source))
		},
	}
	cmd.Flags().Var(&source, "source", "allow the fields of this event source only: syscall, k8s_audit")
	return cmd
}

func (c *command) evalLines(source string) error {
	in := bufio.NewScanner(c.In)
	in.Buffer(nil, maxLine)
	out := bufio.NewWriter(c.Out)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for n := 1; in.Scan(); n++ {
		line := bytes.TrimSpace(in.Bytes())
		if len(line) == 0 {
			continue
		}
		var req evalRequest
		if err := json.Unmarshal(line, &req); err != nil {
			return errors.Join(out.Flush(), fmt.Errorf("line %d: %w", n, err))
		}
		if err := enc.Encode(evaluate(&req, source)); err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil && !errors.Is(err, io.EOF) {
		return errors.Join(out.Flush(), fmt.Errorf("read conditions: %w", err))
	}
	return out.Flush()
}

// evaluate answers req.
func evaluate(req *evalRequest, source string) *evalAnswer {
	a := &evalAnswer{Expr: req.Expr}
	e, err := filter.Parse(req.Expr)
	if err != nil {
		return a.invalid(err)
	}
	types, typesErr := match.EventTypes(e)
	if typesErr == nil { // of a condition that does not compile, too: they follow from the syntax
		a.EventTypes = notNil(types.Names())
	}
	prog, _, err := match.Compile(e, match.Env{Source: source})
	if err != nil {
		return a.invalid(err)
	}
	if req.Fields == nil { // a condition as such: of a rule, which must have event types
		if typesErr != nil {
			return a.invalid(typesErr)
		}
		a.Valid = true
		return a
	}
	a.Valid = true
	if source == "" {
		source = "syscall"
	}
	ev, err := record.New(source, req.Fields)
	if err != nil {
		a.Error = err.Error() // the fields in question have no value
	}
	matched := prog.Match(ev)
	a.Match = &matched
	return a
}

// invalid says why the condition is not valid, and where.
func (a *evalAnswer) invalid(err error) *evalAnswer {
	a.Error = err.Error()
	near := ""
	if e, ok := errors.AsType[*filter.Error](err); ok {
		a.Error, a.Line, a.Column, near = e.Msg, e.Line, e.Col, e.Near
	}
	if e, ok := errors.AsType[*match.Error](err); ok {
		a.Error, a.Line, a.Column, near = e.Msg, e.Pos.Line, e.Pos.Col, e.Near
	}
	if near != "" {
		a.Hint = "did you mean " + near + "?"
	}
	return a
}
