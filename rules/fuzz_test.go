package rules_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/filter"
	"github.com/tiercel-project/tiercel/rules/load"
)

// Whatever a rules file has in it: there is a Set or an error and not both, each problem has a place in the file, and each condition that
// was compiled is read back as it is printed.
func FuzzLoad(f *testing.F) {
	data, err := os.ReadFile("testdata/errors.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, chunk := range regexp.MustCompile(`(?m)^=== .*\n`).Split(string(data), -1) {
		f.Add(chunk)
	}
	f.Add("- list: a\n  items: [b, '\"q r\"', \"\"]\n- list: b\n  items: [a]\n- macro: m\n  condition: proc.name in (a, b)\n- rule: r\n  desc: d\n  condition: m and \"x a y\" = b\n  output: '%5proc.name %tolower(proc.name) %static.x'\n  priority: 3\n")
	f.Fuzz(func(t *testing.T, text string) {
		set, rep := rules.Load([]rules.File{{Name: "f", Data: []byte(text)}}, rules.Options{Hostname: "h"})
		if (set == nil) == rep.OK() {
			t.Fatal("a set and errors, or neither")
		}
		lines := strings.Count(text, "\n") + 1
		for _, p := range append(rep.Errors(), rep.Warnings()...) {
			checkProblem(t, p, lines)
		}
		if _, err := json.Marshal(rep); err != nil {
			t.Fatal(err)
		}
		if set == nil {
			return
		}
		for _, r := range set.Rules() {
			printed := filter.Print(r.Program().Expr())
			if e, err := filter.Parse(printed); err != nil || filter.Print(e) != printed {
				t.Errorf("%q is not read back: %v", printed, err)
			}
		}
	})
}

func checkProblem(t *testing.T, p *load.Problem, lines int) {
	t.Helper()
	if p.File != "f" || p.Line < 1 || p.Line > lines || p.Col < 1 || p.Width < 1 || len(p.Context) == 0 {
		t.Errorf("no place: %+v", p)
	}
	if p.Code.Desc() == "" {
		t.Errorf("unknown code %s", p.Code)
	}
	if text := p.Text("error"); !strings.HasPrefix(text, "error: f:") || strings.Count(text, "\n") < 3 {
		t.Errorf("printed as %q", text)
	}
}
