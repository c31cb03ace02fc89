package filter

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
	"github.com/tiercel-project/tiercel/rules/match"
)

func program(t testing.TB, condition string) *match.Program {
	t.Helper()
	e, err := filter.Parse(condition)
	if err != nil {
		t.Fatalf("%s: %v", condition, err)
	}
	p, _, merr := match.Compile(e, match.Env{Source: "syscall"})
	if merr != nil {
		t.Fatalf("%s: %v", condition, merr)
	}
	return p
}

func plan(t testing.TB, conditions ...string) *Plan {
	t.Helper()
	var programs []*match.Program
	for _, c := range conditions {
		programs = append(programs, program(t, c))
	}
	return Compile(programs, 1, Options{})
}

// say writes e for the tests below.
func say(e *Expr) string {
	switch e.Op {
	case True:
		return "true"
	case False:
		return "false"
	case Literal:
		if e.Not {
			return "not " + e.Test.String()
		}
		return e.Test.String()
	}
	kids := make([]string, len(e.Kids))
	for i, k := range e.Kids {
		kids[i] = say(k)
	}
	return "(" + strings.Join(kids, map[Op]string{And: " and ", Or: " or "}[e.Op]) + ")"
}

// Each comparison is a pair: what the kernel cannot tell may be true, and its negation too.
func TestPairs(t *testing.T) {
	for _, tt := range []struct{ name, condition, want string }{
		{"exact", "evt.rawres >= 0", "evt.rawres >= 0"},
		{"exact, negated", "not evt.rawres >= 0", "not evt.rawres >= 0"},
		{"unknown", "proc.pname = x", "true"},
		{"unknown, negated", "not proc.pname = x", "true"},
		{"unknown beside exact", "proc.pname = x and fd.num > 2", "fd.num > 2"},
		{"unknown or exact", "proc.pname = x or fd.num > 2", "true"},
		{"negated conjunction with unknown", "not (proc.pname = x and fd.num > 2)", "true"},
		{"negated disjunction with unknown", "not (proc.pname = x or fd.num > 2)", "not fd.num > 2"},
		{"false only", "fd.name contains shadow", "~fd.name contains shadow"},
		{"false only, negated", "not fd.name contains shadow", "true"},
		{"regex", "fd.name regex '.*shadow'", "~fd.name regex .*shadow"},
		{"regex, negated", "not fd.name regex '.*shadow'", "true"},
		{"regex without a text", "fd.name regex '[a-z]*'", "true"},
		{"case", "fd.name icontains ShaDow and fd.name iglob '*A?s'", "~fd.name icontains ShaDow"},
		{"part of the name", "proc.name startswith ba and proc.name endswith sh", "(~proc.name endswith sh and proc.name startswith ba)"},
		{"part of the name, negated", "not proc.name startswith ba or not proc.name endswith sh", "true"},
		{"transformer", "tolower(fd.name) = /etc/shadow", "true"},
		{"another field", "fd.name = val(proc.exepath)", "true"},
		{"constant", "evt.dir = >", "no filter"},
		{"never numbered 0", "evt.num = 0 and fd.num > 2", "no filter"},
		{"any number", "evt.num > 5 and fd.num > 2", "fd.num > 2"},
		{"host", "container.id = host", "container.id = host"},
		{"container", "container.id != host", "container.id != host"},
		{"not host", "not container.id = host", "not container.id = host"},
		{"one container", "container.id = 0123456789ab", "container.id = 0123456789ab"},
		{"not one container", "not container.id = 0123456789ab", "true"},
		{"container's names", "container.name = x", "true"},
		{"name too long", "proc.name in (averylongnameindeed, cat)", "proc.name in averylongnameindeed,cat"},
		{"results", "evt.res in (ENOENT, EACCES)", "evt.res in ENOENT,EACCES"},
		{"results, negated", "evt.failed = true", "evt.failed = true"},
		{"factored", "fd.num > 2 and (proc.name = a or user.uid = 3) or fd.num > 2 and user.uid = 4", "(fd.num > 2 and (user.uid = 3 or user.uid = 4 or proc.name = a))"},
		{"absorbed", "fd.num > 2 or fd.num > 2 and user.uid = 4", "fd.num > 2"},
		{"contradiction", "fd.num > 2 and not fd.num > 2", "no filter"},
		{"modifier", "fd.name startswith oneof (/a, /b)", "true"},
		{"glob", "fd.name glob /etc/*", "~fd.name glob /etc/*"},
		{"flags", "evt.arg.flags contains O_TRUNC", "~evt.arg.flags contains O_TRUNC"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := plan(t, "evt.type = openat and ("+tt.condition+")")
			got := "no filter"
			if f := p.Filters[field.EventOpenat]; f != nil {
				got = say(f.Expr)
			} else if p.Types.Has(field.EventOpenat) {
				got = "true"
			}
			if got != tt.want {
				t.Errorf("%s: got %q, want %q", tt.condition, got, tt.want)
			}
		})
	}
}

// Calls about a socket are compared by its ends, and records about processes by what stands in them; where neither is there, nothing is known.
func TestPairsByType(t *testing.T) {
	for _, tt := range []struct {
		typ             field.EventType
		condition, want string
	}{
		{field.EventConnect, "fd.sip = 10.0.0.1", "fd.sip = 10.0.0.1"},
		{field.EventConnect, "not fd.sip = 10.0.0.1", "not fd.sip = 10.0.0.1"},
		{field.EventConnect, "fd.snet in (10.0.0.0/8, fd00::/8)", "fd.snet in 10.0.0.0/8,fd00::/8"},
		{field.EventConnect, "fd.sport in (80, 443) and fd.l4proto = tcp", "(fd.l4proto = tcp and fd.sport in 80,443)"},
		{field.EventConnect, "fd.typechar in (4, 6)", "fd.typechar in 4,6"},
		{field.EventConnect, "fd.sip.name = example.org", "true"},
		{field.EventConnect, "fd.name = x", "true"},
		{field.EventConnect, "proc.is_exe_upper_layer = true", "true"},
		{field.EventSendmmsg, "fd.sip = 10.0.0.1", "true"},
		{field.EventOpenat, "fd.sip = 10.0.0.1", "true"},
		{field.EventUnlink, "fd.sip = 10.0.0.1", "no filter"},
		{field.EventUnlink, "not fd.sip = 10.0.0.1", "true"},
		{field.EventExecve, "proc.is_exe_upper_layer = true", "proc.is_exe_upper_layer = true"},
		{field.EventExecve, "not proc.is_exe_upper_layer = true", "not proc.is_exe_upper_layer = true"},
		{field.EventExecve, "proc.tty != 0 and proc.name = sh", "(proc.tty != 0 and proc.name = sh)"},
		{field.EventExecve, "proc.cmdline contains x", "true"},
		{field.EventProcexit, "proc.vpid = 1", "proc.vpid = 1"},
		{field.EventProcexit, "proc.is_exe_writable = true", "true"},
	} {
		p := plan(t, "evt.type = "+tt.typ.String()+" and ("+tt.condition+")")
		got := "no filter"
		if f := p.Filters[tt.typ]; f != nil {
			got = say(f.Expr)
		} else if p.Types.Has(tt.typ) {
			got = "true"
		}
		if got != tt.want {
			t.Errorf("%s: %s: got %q, want %q", tt.typ, tt.condition, got, tt.want)
		}
	}
}

// A filter lets out what one of the rules may match.
func TestUnion(t *testing.T) {
	p := plan(t, "evt.type = openat and fd.num > 2", "evt.type in (openat, close) and user.uid = 4", "evt.type = dup and proc.pname = x")
	if got, want := say(p.Filters[field.EventOpenat].Expr), "(fd.num > 2 or user.uid = 4)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := say(p.Filters[field.EventClose].Expr), "user.uid = 4"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if p.Filters[field.EventDup] != nil || !p.Types.Has(field.EventDup) {
		t.Error("dup has a filter, or is not wanted")
	}
	if p.Paths.Has(field.EventOpenat) {
		t.Error("no rule looks at a path")
	}
}

// A condition that is too large for a program is refused, not cut.
func TestTooLarge(t *testing.T) {
	var b strings.Builder
	for i := range 3000 {
		if i > 0 {
			b.WriteString(" or ")
		}
		fmt.Fprintf(&b, "(fd.name startswith /a/very/long/path/number/%d and user.uid = %d)", i, i)
	}
	f := plan(t, "evt.type = openat and ("+b.String()+")").Filters[field.EventOpenat]
	if _, err := f.Assemble(&Plan{}, &Env{V1Controller: -1}, Next{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

// A rule is broad if a program that has nothing of what the rule asks for may match it, as far as the kernel can tell.
func TestBroad(t *testing.T) {
	for _, tt := range []struct {
		condition string
		want      bool
	}{
		{"proc.pname = x", true},
		{"proc.name = x", false},
		{"proc.name != x and user.name = y", true},
		{"not proc.name in (x, y)", true},
		{"not (proc.name = x or proc.exe startswith /dev/shm)", true},
		{"proc.pname = x and proc.name = y", false},
		{"proc.pname = x or proc.name = y", true},
		{"container.id != host and proc.pname = x", true},
		{"container.id = host and proc.pname = x", true},
		{"proc.is_exe_from_memfd = true", false},
		{"proc.cmdline contains zq", false},
		{"not proc.cmdline contains zq", true},
		{"proc.tty != 0", true},
		{"proc.vpid = 1", false},
	} {
		p := program(t, "evt.type = execve and "+tt.condition)
		if got := Broad(p, field.EventExecve); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.condition, got, tt.want)
		}
		if Broad(p, field.EventOpenat) {
			t.Errorf("%s: broad for another type", tt.condition)
		}
	}
	if Broad(program(t, "evt.type = openat and proc.pname = x"), field.EventOpenat) {
		t.Error("a call is broad")
	}
}
