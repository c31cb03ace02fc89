package filter_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/rules/filter"
)

func TestParsePrinted(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"a or b and not c", "(a or (b and not c))"},
		{"not not a", "a"},
		{"not(not(a))", "not (not a)"},
		{"(not) and b", "((not) and b)"},
		{"a.b = 'oneof'", `a.b = "oneof"`},
		{"a.b == oneof (x,'y z')", `a.b == oneof (x, "y z")`},
		{`a.b = "back\\ "`, `a.b = "back\\ "`},
		{`a.b = "ends in \x5c"`, `a.b = "ends in \x5c"`},
		{`a.b = ""`, `a.b = ""`},
		{`a.b = 'f(x)'`, `a.b = "f(x)"`},
		{`join(',', (a.b, 12)) = x`, `join(",",(a.b,12)) = x`},
		{`a.b['x y'] exists`, `a.b["x y"] exists`},
		{"a.b in list", "a.b in list"},
		{"a.b inlist", "a.b in list"},
		{"a.b=b and(c)", "(a.b = b and c)"},
		{"a.b = val( c.d[1] )", "a.b = val(c.d[1])"},
	} {
		e, err := filter.Parse(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if got := filter.Print(e); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.text, got, tt.want)
		}
		roundTrip(t, e)
	}
}

func TestParseError(t *testing.T) {
	for _, tt := range []struct {
		text, msg, near   string
		offset, line, col int
	}{
		{"", "filter input string is empty", "", 0, 1, 1},
		{"a and1 b", "expected blank or '(' after 'and'", "", 5, 1, 6},
		{"a annd b", "unexpected token after 'a', expecting 'or', 'and'", "and", 2, 1, 3},
		{"a.b contain x", "one of", "contains", 4, 1, 5},
		{"é.b", "expected a '(' token, a field check, or an identifier", "", 0, 1, 1},
		{"a.b = 'é' x", "unexpected token after 'é', expecting 'or', 'and'", "", 11, 1, 11},
		{"a\r\nor\nb x", "unexpected token after 'b', expecting 'or', 'and'", "", 8, 3, 3},
		{"toloer(a.b) = x", "unexpected token after 'toloer', expecting 'or', 'and'", "tolower", 6, 1, 7},
		{`a.b = "\q"`, `unsupported string escape sequence: \q`, "", 10, 1, 11},
		{`a.b = "\x1"`, `unsupported string escape sequence: \x`, "", 11, 1, 12},
		{"a.b[1 = x", "expected a ']' token", "", 5, 1, 6},
		{"a.b = x\x00y", "unexpected token after 'x', expecting 'or', 'and'", "", 7, 1, 8},
	} {
		_, err := filter.Parse(tt.text)
		var got *filter.Error
		if !errors.As(err, &got) {
			t.Errorf("%q: got %v, want an error", tt.text, err)
			continue
		}
		if !strings.Contains(got.Msg, tt.msg) || got.Near != tt.near {
			t.Errorf("%q: got %q near %q, want %q near %q", tt.text, got.Msg, got.Near, tt.msg, tt.near)
		}
		if got, want := [3]int{got.Offset, got.Line, got.Col}, [3]int{tt.offset, tt.line, tt.col}; got != want {
			t.Errorf("%q: error at %v, want %v", tt.text, got, want)
		}
	}
}

func TestParseDepth(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("(", n) + "a" + strings.Repeat(")", n) }
	if _, err := filter.Parse(nested(filter.MaxDepth)); err != nil {
		t.Errorf("%d levels: %v", filter.MaxDepth, err)
	}
	_, err := filter.Parse(nested(filter.MaxDepth + 1))
	if err == nil || !strings.Contains(err.Error(), "exceeded max depth limit of 1000") {
		t.Errorf("%d levels: got %v", filter.MaxDepth+1, err)
	}
	if _, err := filter.Parse(strings.Repeat("b64(", filter.MaxDepth+1) + "a.b" + strings.Repeat(")", filter.MaxDepth+1) + " exists"); err == nil {
		t.Error("transformers do not count as levels")
	}
}

func TestParseOperand(t *testing.T) {
	for _, tt := range []struct {
		text, want string
		n          int
	}{
		{"proc.name.", "proc.name", 9},
		{"proc.aname[2]]", "proc.aname[2]", 13},
		{"toupper(proc.name) rest", "toupper(proc.name)", 18},
	} {
		o, n, err := filter.ParseOperand(tt.text)
		if err != nil || n != tt.n || filter.PrintOperand(o) != tt.want {
			t.Errorf("%s: got %v, %d, %v; want %s, %d", tt.text, o, n, err, tt.want, tt.n)
		}
	}
	if o, _, err := filter.ParseOperand("100"); err == nil {
		t.Errorf("a number is no operand, got %v", o)
	}
}

func TestReplace(t *testing.T) {
	parse := func(s string) filter.Expr {
		e, err := filter.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := parse("a and not (b or c)")
	got := filter.Print(filter.Replace(e, func(id *filter.Ident) filter.Expr {
		if id.Name == "b" {
			return parse("x.y = 1")
		}
		return nil
	}))
	if want := "(a and not (x.y = 1 or c))"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := filter.Print(e), "(a and not (b or c))"; got != want {
		t.Errorf("the tree itself was changed: got %s", got)
	}
	var fields []string
	filter.Fields(parse("join(',',(a.b,tolower(c.d))) = val(e.f[1]) or g.h exists"), func(f *filter.Field) {
		fields = append(fields, filter.PrintOperand(f))
	})
	if diff := cmp.Diff([]string{"a.b", "c.d", "e.f[1]", "g.h"}, fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}
