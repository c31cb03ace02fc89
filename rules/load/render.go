package load

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// WriteText writes all problems for a person to read: each with its place, the source line, a caret below what is meant and a hint. The
// last line sums up.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	errs, warns := 0, 0
	for _, f := range r.Files {
		for _, p := range f.Errors {
			p.writeText(&b, "error")
		}
		for _, p := range f.Warnings {
			p.writeText(&b, "warning")
		}
		errs, warns = errs+len(f.Errors), warns+len(f.Warnings)
	}
	fmt.Fprintf(&b, "%s: %s, %s\n", count(len(r.Files), "file"), count(errs, "error"), count(warns, "warning"))
	_, err := io.WriteString(w, b.String())
	return err
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.Itoa(n) + " " + what
}

// Text returns the problem as WriteText writes it; kind is "error" or "warning".
func (p *Problem) Text(kind string) string {
	var b strings.Builder
	p.writeText(&b, kind)
	return b.String()
}

func (p *Problem) writeText(b *strings.Builder, kind string) {
	fmt.Fprintf(b, "%s: %s: %v [%s]\n", kind, p.where(), p.Err, p.Code)
	if p.Line > 0 {
		num := strconv.Itoa(p.Line)
		line, col := window(p.line, p.Col)
		fmt.Fprintf(b, "%s | %s\n", num, line)
		fmt.Fprintf(b, "%s | %s%s\n", strings.Repeat(" ", len(num)), indent(line, col), strings.Repeat("^", min(p.Width, max(utf8.RuneCountInString(line)-col+1, 1))))
	}
	if p.Use != nil {
		fmt.Fprintf(b, "note: used here by rule %q: %s:%d:%d\n", p.Rule, p.Use.File, p.Use.Line, p.Use.Col)
	}
	if p.Hint != "" {
		fmt.Fprintf(b, "hint: %s\n", p.Hint)
	}
}

func (p *Problem) where() string {
	switch {
	case p.Line > 0:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
	case p.File != "":
		return p.File
	}
	return "rules"
}

const windowWidth = 160 // runes of a source line that are shown

// window cuts a long line down to what is around column col, and returns where col is then.
func window(line string, col int) (string, int) {
	runes := []rune(line)
	if len(runes) <= windowWidth {
		return line, col
	}
	from := max(min(col-1-windowWidth/2, len(runes)-windowWidth), 0)
	to := min(from+windowWidth, len(runes))
	cut, shift := string(runes[from:to]), from
	if from > 0 {
		cut, shift = "…"+cut, from-1
	}
	if to < len(runes) {
		cut += "…"
	}
	return cut, col - shift
}

// indent returns blanks as wide as the line before column col; tabs stay tabs.
func indent(line string, col int) string {
	var b strings.Builder
	for i, r := range []rune(line) {
		if i >= col-1 {
			break
		}
		if r == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	for n := utf8.RuneCountInString(line); n < col-1; n++ {
		b.WriteByte(' ')
	}
	return b.String()
}

// Falco's document.
type (
	falcoResults struct {
		Results []falcoResult `json:"falco_load_results"`
	}
	falcoResult struct {
		Name           string         `json:"name"`
		Successful     bool           `json:"successful"`
		SchemaValid    bool           `json:"schema_valid"`
		SchemaWarnings []string       `json:"schema_warnings"`
		Errors         []falcoProblem `json:"errors"`
		Warnings       []falcoProblem `json:"warnings"`
		// MoreErrors are errors that Falco would not have come to: it stops at the first of a file.
		MoreErrors []falcoProblem `json:"tiercel_more_errors,omitempty"`
	}
	falcoProblem struct {
		Context  falcoContext  `json:"context"`
		Code     Code          `json:"code"`
		CodeDesc string        `json:"codedesc"`
		Message  string        `json:"message"`
		Position falcoPosition `json:"tiercel_position"` // lines and columns from 1
		Hint     string        `json:"tiercel_hint,omitempty"`
	}
	falcoContext struct {
		Locations []falcoLocation `json:"locations"`
		Snippet   string          `json:"snippet"`
	}
	falcoLocation struct {
		ItemType string        `json:"item_type"`
		ItemName string        `json:"item_name"`
		Position falcoPosition `json:"position"`
	}
	falcoPosition struct {
		Name   string `json:"name"`
		Line   int    `json:"line"`
		Column int    `json:"column"`
		Offset int    `json:"offset"`
	}
)

// MarshalJSON returns the report as Falco's document falco_load_results. As in Falco a file has one error at most, lines and columns of
// items count from 0 and those of condition expressions from 1; what is more stands under keys that begin with tiercel_.
func (r *Report) MarshalJSON() ([]byte, error) {
	doc := falcoResults{Results: []falcoResult{}}
	for _, f := range r.Files {
		res := falcoResult{
			Name: f.Name, Successful: len(f.Errors) == 0, SchemaValid: f.schemaChecked && len(f.SchemaWarnings) == 0,
			SchemaWarnings: append([]string{}, f.SchemaWarnings...), Errors: []falcoProblem{}, Warnings: []falcoProblem{},
		}
		for i, p := range f.Errors {
			if i == 0 {
				res.Errors = append(res.Errors, p.document())
			} else {
				res.MoreErrors = append(res.MoreErrors, p.document())
			}
		}
		for _, p := range f.Warnings {
			res.Warnings = append(res.Warnings, p.document())
		}
		doc.Results = append(doc.Results, res)
	}
	return json.Marshal(doc)
}

// document returns p as Falco writes it.
func (p *Problem) document() falcoProblem {
	out := falcoProblem{
		Code: p.Code, CodeDesc: p.Code.Desc(), Message: p.Message(), Hint: p.Hint,
		Position: falcoPosition{Name: p.File, Line: p.Line, Column: p.Col},
	}
	if p.falco != "" {
		out.Message = p.falco
	}
	for _, c := range p.Context {
		pos := falcoPosition{Name: c.File, Line: c.Line, Column: c.Col, Offset: c.Offset}
		if c.ItemType != "condition expression" {
			pos.Line, pos.Column = max(c.Line-1, 0), max(c.Col-1, 0)
		}
		out.Context.Locations = append(out.Context.Locations, falcoLocation{c.ItemType, c.ItemName, pos})
	}
	if n := len(p.Context); n > 0 {
		out.Position.Offset = p.Context[n-1].Offset
	}
	line, col := p.line, p.Col
	if p.Use != nil { // Falco shows the rule
		line, col = p.useLine, p.Use.Col
	}
	line, col = window(line, col)
	out.Context.Snippet = line + "\n" + indent(line, col) + "^\n"
	return out
}
