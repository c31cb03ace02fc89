package load_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/rules/load"
)

// Short files that stand for very large rules are refused, and soon.
func TestBounds(t *testing.T) {
	var lists, macros strings.Builder
	lists.WriteString("- list: l0\n  items: [abcdefgh, ijklmnop]\n")
	macros.WriteString("- macro: m0\n  condition: evt.type = open\n")
	for i := 1; i < 60; i++ {
		fmt.Fprintf(&lists, "- list: l%d\n  items: [l%d, l%d, l%d]\n", i, i-1, i-1, i-1)
		fmt.Fprintf(&macros, "- macro: m%d\n  condition: m%d or m%d\n", i, i-1, i-1)
	}
	aliases := "- rule: r\n  desc: d\n  condition: evt.type = open\n  output: o\n  priority: INFO\n  exceptions:\n  - name: e\n    fields: &f0 [a, b, c, d, e, f, g, h]\n"
	wide := aliases + "    comps: &f1 [*f0, *f0, *f0, *f0, *f0, *f0, *f0, *f0]\n    values:\n"
	for i := 2; i < 5; i++ {
		wide += fmt.Sprintf("    - &f%d [%s]\n", i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*f%d, ", i-1), 60), ", "))
	}
	for _, tt := range []struct{ name, text, want string }{
		{"lists", lists.String(), "List stands for more than"},
		{"macros", macros.String(), "condition has more than"},
		{"alias of itself", strings.Replace(aliases, "h]", "*f0]", 1), "nested too deep"},
		{"aliases", wide, "nested too deep or too large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			col, rep := load.Read([]load.File{{Name: "f", Data: []byte(tt.text)}}, load.Options{})
			col.Resolve()
			for _, p := range rep.Errors() {
				if strings.Contains(p.Message(), tt.want) {
					return
				}
			}
			t.Errorf("errors %v, want %q", rep.Err(), tt.want)
		})
	}
}
