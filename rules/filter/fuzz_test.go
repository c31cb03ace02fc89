package filter_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/rules/filter"
)

// seeds are conditions that reach every production.
var seeds = []string{
	`(proc.aname[2]=nginx and evt.type in (connect,accept)) or (not fd.name exists) or not(a)and(not(b))`,
	`join("-", (tolower(fd.name), 'a\'b', 12)) = val(a.b[1]) and getopt(proc.args, "nt:")[t] = value`,
	`a.b <= -1.5e+3 or a.b > 0x1F or a.b["x y"] != "\x00\b\f\n\r\t\\\/ \""`,
	`proc.name == oneof (cat, nginx) and proc.name = oneof and a.b startswith anyof list`,
	`not not not(not not x) and "`,
	`a.b in (,`,
	"a.b\tcontains\nx\r\nor(y)",
}

func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := filter.Parse(text)
		if (e == nil) == (err == nil) {
			t.Fatalf("got both or neither: %v, %v", e, err)
		}
		if err != nil {
			ferr, ok := errors.AsType[*filter.Error](err)
			if !ok {
				t.Fatalf("%q: %T is no *filter.Error", text, err)
			}
			checkErrorPos(t, text, ferr)
			return
		}
		roundTrip(t, e)
	})
}

func checkErrorPos(t *testing.T, text string, err *filter.Error) {
	t.Helper()
	if err.Offset < 0 || err.Offset > len(text) || err.Line < 1 || err.Col < 1 || err.Line > strings.Count(text, "\n")+strings.Count(text, "\r")+1 {
		t.Fatalf("%q: error at offset %d, line %d, column %d", text, err.Offset, err.Line, err.Col)
	}
}
