//go:build !race

// The race detector has sync.Pool throw away what it keeps, at random, and package regexp keeps its machines there.

package match_test

import (
	"testing"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/match"
)

func TestNoAllocations(t *testing.T) {
	var programs []*match.Program
	for _, text := range []string{
		"evt.type = open and fd.name startswith /etc and proc.name in (a, b)", "toupper(fd.name) = X", "join('-', (fd.name, fd.num)) = x",
		"fd.name regex '.*[0-9]+x'", "fd.name pmatch (/usr/*)", "proc.aname = x", "fd.name = val(proc.name)", "getopt(proc.cmdline, 'a:')[a] = x",
		"fd.name contains zz and fd.name endswith yy", "proc.name icontains QQ", "fd.ip = 10.0.0.1", "fd.types in (a)",
	} {
		programs = append(programs, mustCompile(t, text))
	}
	ev := newFixed(field.EventOpen, map[string]any{
		"fd.name": "/var/lib/x", "proc.name": "cat", "fd.num": 3, "proc.cmdline": "cat -a y",
		"proc.aname": []string{"bash"}, "fd.types": []string{"file"},
	})
	m := match.NewIndex(programs, false).NewMatcher()
	var dst []int
	if n := testing.AllocsPerRun(100, func() { dst = m.Match(ev, dst[:0]) }); n != 0 || len(dst) != 0 {
		t.Errorf("%v allocations, %v matches; want none", n, dst)
	}
}
