package match_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/rules/match"
)

// Warnings of values that were meant to be something else: which values are warned of is Falco's rule.
func TestWarnings(t *testing.T) {
	const regex, fieldValue, callValue = "may be optimized with simpler operators", "valid field misused", "valid field transformer misused"
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"evt.source regex syscall", []string{regex}},
		{"evt.source regex '^syscall$'", []string{regex}},
		{"evt.source regex 'syscall.*'", []string{regex}},
		{"evt.source regex '.+syscall.?'", []string{regex}},
		{"evt.source regex '.*'", []string{regex}},
		{"evt.source regex '^$'", []string{regex}},
		{"evt.source regex '^sys.*$'", nil},
		{"evt.source regex '.*.*syscall'", nil},
		{"evt.source regex 'sys.call'", nil},
		{"evt.source regex '.'", nil},
		{"evt.source regex 'a|b'", nil},
		{"evt.source regex 'syscall.{1}'", nil},
		{"evt.source regex anyof (syscall, 'a|b', x)", []string{regex, regex}},
		{"proc.name = proc.pname", []string{fieldValue}},
		{"proc.name = ' proc . pname '", []string{fieldValue}},
		{"proc.name = proc.aname[2]", []string{fieldValue}},
		{"proc.name in (a, proc.pname, b.c)", []string{fieldValue}},
		{"evt.buffer = proc.name", []string{fieldValue}},
		{"proc.name = 'tolower( proc.pname )'", []string{callValue}},
		{"proc.name = 'getopt(x)'", []string{callValue}},
		{"proc.name = 'val(proc.pname)'", []string{callValue}},
		{"proc.name = 'tolow(proc.pname)'", nil},
		{"proc.name = 'tolower(proc.pname'", nil},
		{"proc.name = tolower", nil},
	} {
		_, warnings, err := compile(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		ok := slices.EqualFunc(warnings, tt.want, func(w match.Warning, part string) bool { return strings.Contains(w.Msg, part) })
		if !ok {
			t.Errorf("%s: got %v, want %q", tt.text, warnings, tt.want)
		}
	}
}
