package match_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
	"github.com/tiercel-project/tiercel/rules/match"
)

// A random makes conditions over few fields and few values, so that events often meet them.
type random struct{ *rand.Rand }

func (r random) pick(words ...string) string { return words[r.IntN(len(words))] }

func (r random) word() string {
	return r.pick("a", "b", "ab", "abc", "/", "/a", "/a/b", "/a/bc", "/ab", "O_A|O_B", "host", "''")
}

func (r random) words() string {
	list := make([]string, r.IntN(4))
	for i := range list {
		list[i] = r.word()
	}
	return "(" + strings.Join(list, ", ") + ")"
}

func (r random) condition(depth int) string {
	if depth == 0 || r.IntN(4) == 0 {
		return r.check()
	}
	switch r.IntN(5) {
	case 0:
		return "not (" + r.condition(depth-1) + ")"
	case 1, 2:
		return "(" + r.condition(depth-1) + " and " + r.condition(depth-1) + ")"
	}
	return "(" + r.condition(depth-1) + " or " + r.condition(depth-1) + ")"
}

func (r random) check() string {
	switch r.IntN(12) {
	case 0:
		return "evt.type " + r.pick("= open", "in (open, openat)", "!= execve", "= execve", "exists", "startswith open")
	case 1:
		return "evt.is_open_write " + r.pick("= true", "= false", "!= true", "exists")
	case 2:
		return "fd.num " + r.pick("= 1", "!= 1", ">= 0", "< 2", "in (1, 2)", "= anyof (1, 3)", "!= oneof (1, 2)")
	case 3:
		return "fd.sip " + r.pick("= 10.0.0.1", "!= 10.0.0.1", "in (10.0.0.1, ::1)")
	case 4:
		return "fd.ip " + r.pick("= 10.0.0.1", "!= 10.0.0.1", "in (10.0.0.1, 10.0.0.2)")
	case 5:
		return "fd.types " + r.pick("in ", "intersects ") + r.words()
	case 6:
		return r.pick("tolower(fd.name)", "basename(fd.name)", "concat(proc.name, fd.name)", "join('/', (proc.name, fd.num))") + " = " + r.word()
	case 7:
		return r.pick("proc.name", "fd.directory", "evt.arg.flags") + " = val(" + r.pick("proc.pname", "fd.name") + ")"
	}
	f := r.stringField()
	switch r.IntN(6) {
	case 0:
		return f + " in " + r.words()
	case 1:
		return f + " pmatch " + r.words()
	case 2:
		return f + " " + r.pick("=", "!=", "startswith", "contains") + " " + r.pick("oneof", "anyof", "allof") + " " + r.words()
	case 3:
		return f + " glob " + r.pick("*", "/a*", "*b", "?", "[ab]*", "*/b*")
	case 4:
		return f + " regex '" + r.pick(".*", "a+", "/a.*", ".*b", "(a|b)c?", "") + "'"
	}
	return f + " " + r.pick("=", "!=", "contains", "icontains", "startswith", "endswith") + " " + r.word()
}

func (r random) stringField() string {
	return r.pick("proc.name", "proc.pname", "fd.name", "fd.name", "fd.directory", "proc.aname[2]", "container.id", "evt.arg.flags", "evt.arg.name")
}

func (r random) event() *event {
	fields := map[string]any{"evt.type": r.pick("open", "openat", "execve", "getcwd")}
	set := func(name string, value any) {
		if r.IntN(4) > 0 {
			fields[name] = value
		}
	}
	text := func() string { return strings.Trim(r.word(), "'") }
	for _, name := range []string{"proc.name", "proc.pname", "fd.name", "fd.directory", "proc.aname[2]", "container.id", "evt.arg.flags"} {
		set(name, text())
	}
	set("evt.is_open_write", r.IntN(2) == 0)
	set("fd.num", r.IntN(3))
	set("fd.sip", r.pick("10.0.0.1", "::1"))
	set("fd.ip", []string{r.pick("10.0.0.1", "10.0.0.2"), r.pick("10.0.0.1", "10.0.0.3")})
	set("fd.types", []string{text(), text()}[:r.IntN(3)])
	if fields["evt.type"] == "getcwd" {
		delete(fields, "evt.arg.flags") // it has none, and an event does not have what its type does not
	}
	e := newEvent(fields)
	if r.IntN(3) == 0 {
		e.resolved = map[string]any{"fd.name": text(), "fd.directory": text()}
	}
	return e
}

// checkIndex matches random events against an index of random programs, and each program alone. They must agree.
func checkIndex(t *testing.T, seed uint64) {
	r := random{rand.New(rand.NewPCG(seed, 1))}
	var programs []*match.Program
	for range 1 + r.IntN(90) {
		text := r.condition(1 + r.IntN(4))
		p, _, err := compile(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		programs = append(programs, p)
	}
	all := match.NewIndex(programs, false).NewMatcher()
	first := match.NewIndex(programs, true).NewMatcher()
	for range 20 {
		ev := r.event()
		var want []int
		for i, p := range programs {
			matches := p.Match(ev)
			if matches {
				want = append(want, i)
			}
			if x := p.Explain(ev); x.Result != matches || len(x.Deciding()) == 0 {
				t.Fatalf("explained %v, matches %v", x.Result, matches)
			}
			if why, never := p.Never(); never && matches {
				t.Fatalf("matches, though %s", why)
			}
			if matches && !p.EventTypes().Has(ev.Type()) {
				t.Fatalf("matches %s, which is not among its event types", ev.Type())
			}
		}
		if diff := cmp.Diff(want, all.Match(ev, nil)); diff != "" {
			for i, p := range programs {
				t.Log(i, filter.Print(p.Expr()))
			}
			t.Fatalf("%v %v (-alone +index):\n%s", ev.fields, ev.resolved, diff)
		}
		if len(want) > 1 {
			want = want[:1]
		}
		if diff := cmp.Diff(want, first.Match(ev, nil)); diff != "" {
			t.Fatalf("first of %v %v (-alone +index):\n%s", ev.fields, ev.resolved, diff)
		}
	}
}

// TestImpliesRandom checks what Implies says against random events.
func TestImpliesRandom(t *testing.T) {
	r := random{rand.New(rand.NewPCG(3, 4))}
	known := 0
	for range 20000 {
		p, _, err := compile(r.condition(r.IntN(3)))
		q, _, err2 := compile(r.condition(r.IntN(2)))
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if !p.Implies(q) {
			continue
		}
		known++
		for range 20 {
			if ev := r.event(); p.Match(ev) && !q.Match(ev) {
				t.Fatalf("%s does not imply %s: %v %v", filter.Print(p.Expr()), filter.Print(q.Expr()), ev.fields, ev.resolved)
			}
		}
	}
	if known < 100 {
		t.Errorf("only %d implications among the random conditions", known)
	}
}

// TestMayMatchRandom hides a field of events: none may be given up that matches with some value of it.
func TestMayMatchRandom(t *testing.T) {
	r := random{rand.New(rand.NewPCG(5, 6))}
	given := 0
	for range 2000 {
		p, _, err := compile(r.condition(r.IntN(4)))
		if err != nil {
			t.Fatal(err)
		}
		m := match.NewIndex([]*match.Program{p}, true).NewMatcher()
		hidden := r.pick("proc.name", "fd.name", "fd.num", "evt.is_open_write", "container.id")
		unknown := func(ref *field.Ref) bool { return ref.String() == hidden }
		for range 5 {
			ev := r.event()
			matches := len(m.Match(ev, nil)) > 0
			with := ev.fields[hidden]
			delete(ev.fields, hidden)
			switch may := m.MayMatch(ev, unknown); {
			case matches && !may:
				t.Fatalf("%s: given up without %s = %v: %v", filter.Print(p.Expr()), hidden, with, ev.fields)
			case !may:
				given++
			}
			if always := func(*field.Ref) bool { return false }; m.MayMatch(ev, always) != p.Match(ev) {
				t.Fatalf("%s: with everything known %v is not right", filter.Print(p.Expr()), p.Match(ev))
			}
		}
	}
	if given < 1000 {
		t.Errorf("only %d events given up", given)
	}
}

func TestIndexRandom(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { checkIndex(t, seed) })
	}
}

func FuzzIndex(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(checkIndex)
}

func FuzzCompile(f *testing.F) {
	r := random{rand.New(rand.NewPCG(1, 1))}
	for range 20 {
		f.Add(r.condition(3))
	}
	f.Add(`getopt(proc.args, "a:b")[a] = x and evt.around[1] = 2 and evt.buffer bcontains cafe and fd.port = ssh and fd.snet in (10.0.0.0/8)`)
	f.Add(`evt.rawarg.res < -0x1 or thread.cpu = 1 or evt.type.is.open = 1 or len(fd.types) > 1 and b64(evt.buffer) contains a`)
	f.Fuzz(func(t *testing.T, text string) {
		p, _, err := compile(text)
		if (p == nil) == (err == nil) {
			t.Fatalf("got both or neither: %v, %v", p, err)
		}
		if err != nil {
			return
		}
		p.Never()
		ev := r.event()
		want := p.Match(ev)
		got := match.NewIndex([]*match.Program{p}, false).NewMatcher().Match(ev, nil)
		if want != (len(got) > 0) || p.Explain(ev).Result != want {
			t.Fatalf("%s: alone %v, in an index %v", text, want, got)
		}
	})
}
