package load_test

import (
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/rules/filter"
	"github.com/tiercel-project/tiercel/rules/internal/conformance"
	"github.com/tiercel-project/tiercel/rules/load"
)

// The conditions that Falco's loader tests expect after lists, macros and exceptions are expanded.
func TestConformanceExpansion(t *testing.T) {
	var cases []struct {
		Test     string
		Rules    map[string]string
		Compiled [][2]string
	}
	conformance.Decode(t, "rule_loader_cases.json", &cases)
	for _, c := range cases {
		t.Run(c.Test, func(t *testing.T) {
			for name, text := range c.Rules {
				col, _ := load.Read([]load.File{{Name: name, Data: []byte(text)}}, load.Options{})
				got := map[string]string{}
				for u, cond := range col.Resolve() {
					got[u.Name] = filter.FalcoString(cond.Expr)
				}
				for _, want := range c.Compiled {
					if got[want[0]] != want[1] {
						t.Errorf("rule %s:\n got %s\nwant %s", want[0], got[want[0]], want[1])
					}
				}
			}
		})
	}
}

// The stock rules have no error, nothing unused, and every condition resolves.
func TestStockRules(t *testing.T) {
	var files []load.File
	for _, name := range []string{"falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml", "k8s_audit_rules.yaml"} {
		files = append(files, load.File{Name: name, Data: conformance.Read(t, "rules/"+name)})
	}
	col, rep := load.Read(files, load.Options{})
	conds := col.Resolve()
	col.WarnUnused()
	if len(rep.Errors())+len(rep.Warnings()) > 0 {
		var b strings.Builder
		_ = rep.WriteText(&b)
		t.Error(b.String())
	}
	if len(conds) != 141 {
		t.Errorf("%d rules, want 141", len(conds))
	}
	for _, f := range rep.Files {
		for _, w := range f.SchemaWarnings {
			t.Errorf("%s: %s", f.Name, w)
		}
	}
}
