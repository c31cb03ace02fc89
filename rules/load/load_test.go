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

// What the YAML library gives no place for, or the wrong one, is placed all the same.
func TestSyntaxPlaces(t *testing.T) {
	for _, tt := range []struct {
		name, text, want string
		line, col        int
	}{
		{"second colon", "- rule: r\n  desc: a: b\n", "mapping values", 2, 10},
		{"tab", "- rule: r\n\tdesc: d\n", "tab character", 2, 1},
		{"no UTF-8", "- rule: r\n  desc: \"a\xff\"\n", "UTF-8", 2, 11},
		{"control character", "- rule: r\n  desc: \"ab\x01\"\n", "control characters", 2, 12},
		{"carriage returns", "- rule: r\r\n  desc: >\r\n    a\r\n  output: o: p\r\n", "mapping values", 4, 12},
		{"open bracket", "- list: l\n  items: [a, b\n- list: m\n  items: []\n", "did not find expected", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, rep := load.Read([]load.File{{Name: "f", Data: []byte(tt.text)}}, load.Options{})
			errs := rep.Errors()
			if len(errs) != 1 || errs[0].Code != load.ErrYAMLParse || !strings.Contains(errs[0].Message(), tt.want) {
				t.Fatalf("errors %v, want %q", rep.Err(), tt.want)
			}
			if p := errs[0]; tt.line != 0 && (p.Line != tt.line || p.Col != tt.col) {
				t.Errorf("at %d:%d, want %d:%d", p.Line, p.Col, tt.line, tt.col)
			}
		})
	}
}
