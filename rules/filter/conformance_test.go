package filter_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tiercel-project/tiercel/rules/filter"
	"github.com/tiercel-project/tiercel/rules/internal/conformance"
)

type filterCase struct {
	Expr         string
	Parses       bool
	Whitespace   bool    `json:"whitespace_variants"`
	AST          *string `json:"ast_string"`
	ParseError   string  `json:"parse_error"`
	ParsePos     []int   `json:"parse_error_pos"`
	AsString     string  `json:"expected_as_string"`
	ASTPositions string  `json:"ast_positions"`
}

func TestConformance(t *testing.T) {
	var cases []filterCase
	conformance.Decode(t, "filter_cases.json", &cases)
	for i, c := range cases {
		t.Run(fmt.Sprint(i), func(t *testing.T) { checkCase(t, c) })
	}
}

func checkCase(t *testing.T, c filterCase) {
	e, err := filter.Parse(c.Expr)
	if !c.Parses {
		var ferr *filter.Error
		if !errors.As(err, &ferr) {
			t.Fatalf("%s: got %v, want an error %q", c.Expr, err, c.ParseError)
		}
		if ferr.Msg != c.ParseError {
			t.Errorf("%s:\n got %s\nwant %s", c.Expr, ferr.Msg, c.ParseError)
		}
		if got := []int{ferr.Offset, ferr.Line, ferr.Col}; !cmp.Equal(got, c.ParsePos) {
			t.Errorf("%s: error at %v, want %v", c.Expr, got, c.ParsePos)
		}
		return
	}
	if err != nil {
		t.Fatalf("%s: %v", c.Expr, err)
	}
	for _, want := range []*string{c.AST, &c.AsString} {
		if want != nil && *want != "" && filter.FalcoString(e) != *want {
			t.Errorf("%s:\n got %s\nwant %s", c.Expr, filter.FalcoString(e), *want)
		}
	}
	if got := positions(e); c.ASTPositions != "" && got != c.ASTPositions {
		t.Errorf("%s: positions %q, want %q", c.Expr, got, c.ASTPositions)
	}
	roundTrip(t, e)
	if c.Whitespace {
		variants(t, c.Expr, e)
	}
}

// roundTrip checks that what is printed is read back as it was.
func roundTrip(t *testing.T, e filter.Expr) {
	t.Helper()
	text := filter.Print(e)
	again, err := filter.Parse(text)
	if err != nil {
		t.Fatalf("printed %q: %v", text, err)
	}
	if diff := cmp.Diff(e, again, cmpopts.IgnoreTypes(filter.Pos{})); diff != "" {
		t.Errorf("printed %q (-parsed +read back):\n%s", text, diff)
	}
}

// variants checks that any blank is as good as a space, wherever a space stands outside quotes.
func variants(t *testing.T, text string, want filter.Expr) {
	t.Helper()
	if strings.ContainsAny(text, `'"`) {
		return
	}
	for _, blank := range []string{"\t", "\n", "\r\n", " \b "} {
		got, err := filter.Parse(strings.ReplaceAll(text, " ", blank))
		if err != nil {
			t.Errorf("%q for blanks: %v", blank, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreTypes(filter.Pos{})); diff != "" {
			t.Errorf("%q for blanks (-want +got):\n%s", blank, diff)
		}
	}
}

// positions lists the nodes of e with their places as the cases do.
func positions(e filter.Expr) string {
	var b strings.Builder
	add := func(kind string, p filter.Pos) { fmt.Fprintf(&b, "%s%d %d %d", kind, p.Offset, p.Line, p.Col) }
	filter.Walk(e, func(e filter.Expr) bool {
		switch e := e.(type) {
		case *filter.And:
			add("and", e.At)
		case *filter.Or:
			add("or", e.At)
		case *filter.Not:
			add("not", e.At)
		case *filter.Check:
			add("binary", e.At)
			add("field", e.Left.Pos())
			switch r := e.Right.(type) {
			case *filter.Value:
				add("value", r.At)
			case *filter.List:
				add("list", r.At)
			}
		}
		return true
	})
	return b.String()
}
