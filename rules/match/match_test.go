package match_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
	"github.com/tiercel-project/tiercel/rules/match"
)

func mustCompile(t testing.TB, text string) *match.Program {
	t.Helper()
	p, _, err := compile(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

func TestMatch(t *testing.T) {
	ev := newEvent(map[string]any{
		"evt.type": "connect", "evt.num": 7, "proc.name": "curl", "proc.cmdline": "curl -k http://X", "fd.name": "/etc/shadow", "fd.num": -1,
		"user.uid": 4294967295, "fd.ip": []string{"10.0.0.1", "8.8.8.8"}, "fd.net": []string{"10.0.0.1", "8.8.8.8"}, "fd.port": []string{"40000", "443"},
		"fd.sip": "8.8.8.8", "fd.snet": "8.8.8.8", "fd.cnet": "fe80::1", "fd.sport": 443, "fd.types": []string{"file", "ipv4"}, "evt.is_open_read": false,
		"proc.aname": []string{"bash", "sshd", "systemd"}, "ka.user.groups": []string{}, "evt.buffer": "\xca\xfe\xba\xbe\x00", "thread.cpu": 12.5,
		"proc.env[PATH]": "/bin", "evt.rawarg.fd": -1, "fs.path.name": "",
	})
	ev.when = time.Unix(0, 1404996934793590564)
	for _, tt := range []struct {
		text string
		want bool
	}{
		// No value: every comparison is false, and not inverts that.
		{"user.name = x", false},
		{"user.name != x", false},
		{"not user.name = x", true},
		{"not user.name != x", true},
		{"user.name exists", false},
		{"not user.name exists", true},
		{"user.name in (x)", false},
		{"user.name = <NA>", false},
		{"proc.name = val(user.name)", false},
		{"proc.name != val(user.name)", false},
		{"toupper(user.name) = X", false},
		// An empty string and a false boolean are values.
		{"fs.path.name exists", true},
		{"fs.path.name = ''", true},
		{"evt.is_open_read exists", true},
		{"evt.is_open_read != true", true},
		// Strings.
		{"proc.name = curl", true},
		{"proc.name == CURL", false},
		{"proc.name icontains UR", true},
		{"proc.cmdline contains ' -k '", true},
		{"proc.name < 1", false},
		{"proc.name >= 1", true},
		{"fd.name startswith /etc/", true},
		{"fd.name endswith shadow", true},
		{"fd.name glob /*w", true},
		{"fd.name glob /?tc/*", true},
		{"fd.name glob '/[!a-d]tc/shado[[:alpha:]]'", true},
		{"proc.name iglob C*L", true},
		{"fd.name glob '/etc'", false},
		{"fd.name glob '*\\\\*'", false},
		{"proc.name regex cu", false},
		{"proc.name regex 'c.*|x'", true},
		{"proc.cmdline regex 'curl .*http[s]?://.*'", true},
		{"proc.name in (a, curl)", true},
		{"proc.name intersects (curl)", true},
		{"proc.env[PATH] = /bin", true},
		{"proc.env[HOME] = /bin", false},
		// Paths by component.
		{"fd.name pmatch (/etc)", true},
		{"fd.name pmatch (/etc/)", true},
		{"fd.name pmatch (/et)", false},
		{"fd.name pmatch (/)", true},
		{"fd.name pmatch (/etc/shadow/x)", false},
		{"fd.name pmatch (/usr, /e*/shadow)", true},
		{"fd.name pmatch (etc)", false},
		// Numbers.
		{"fd.num < 0", true},
		{"fd.num = -1", true},
		{"fd.num in (1, -1)", true},
		{"fd.num >= 0", false},
		{"user.uid = -1", true},
		{"user.uid > 5", true},
		{"fd.sport = https", true},
		{"fd.sport in (80, 443)", true},
		{"evt.num > 6", true},
		{"thread.cpu > 12", true},
		{"thread.cpu = 12", false},
		{"evt.rawarg.fd < 0", true},
		{"fd.num = 0xF", false},
		// Either side of a connection: = is for one, != for both.
		{"fd.ip = 8.8.8.8", true},
		{"fd.ip = 1.1.1.1", false},
		{"fd.ip != 8.8.8.8", false},
		{"fd.ip != 1.1.1.1", true},
		{"fd.ip in (10.0.0.1)", true},
		{"fd.net = 10.0.0.0/8", true},
		{"fd.net != 10.0.0.0/8", false},
		{"fd.net in (1.0.0.0/8, 8.0.0.0/8)", true},
		{"fd.port = 443", true},
		{"fd.port != 443", false},
		{"fd.port < 1000", true},
		{"fd.ip = ::1", false},
		{"fd.ip != ::1", true},
		{"fd.snet = 8.8.0.0/16", true},
		{"fd.snet in (10.0.0.0/8, 8.0.0.0/8)", true},
		{"fd.cnet = 10.0.0.0/8", false},
		{"fd.cnet != 10.0.0.0/8", true},
		{"fd.cnet = fe80::/10", true},
		{"fd.snet == anyof (10.0.0.0/8, 8.0.0.0/8)", true},
		// Lists.
		{"fd.types in (file, ipv4, x)", true},
		{"fd.types in (file)", false},
		{"fd.types intersects (file)", true},
		{"fd.types intersects ()", false},
		{"ka.user.groups in ()", true},
		{"ka.user.groups in (a)", true},
		{"ka.user.groups intersects (a)", false},
		{"len(fd.types) = 2", true},
		// Any ancestor.
		{"proc.aname = sshd", true},
		{"proc.aname != sshd", true},
		{"proc.aname in (zsh)", false},
		{"proc.aname startswith sys", true},
		// Bytes.
		{"evt.buffer bcontains cafebabe", true},
		{"evt.buffer bstartswith fe", false},
		{"evt.buffer bcontains 00", true},
		// Transformers.
		{"toupper(proc.name) = CURL", true},
		{"basename(fd.name) = shadow", true},
		{"len(proc.name) = 4", true},
		{"concat(proc.name, '-', fd.name) = curl-/etc/shadow", true},
		{"join(',', (proc.name, fd.num)) = 'curl,-1'", true},
		{"proc.name = tolower(proc.name)", true},
		{"b64(proc.name) exists", true},
		{"proc.cmdline startswith val(proc.name)", true},
		{"getopt(proc.cmdline, 'k') intersects (k)", false},
		{"getopt(('-k', '-o', 'f'), 'ko:')[o] = f", true},
		{"getopt(('-ko'), 'ko:')[o] = ''", true},
		{"getopt(('-k'), 'ko:')[o] exists", false},
		// Modifiers.
		{"proc.name contains oneof (c, u)", false},
		{"proc.name != oneof (curl, x)", true},
		{"proc.name != allof (x, y)", true},
		{"proc.name != allof ()", false},
		// Times and types.
		{"evt.around[1404996934793590564] = 0", true},
		{"evt.around[1404996934893590564] = 99", false},
		{"evt.around[1404996934893590564] = 100", true},
		{"evt.type.is.connect = 1", false},
		{"evt.type in (connect, accept)", true},
		{"evt.type startswith conn", true},
		// Constants.
		{"evt.num = 0", false},
		{"evt.num >= 0", true},
		{"proc.name in ()", false},
		{"not proc.name in ()", true},
	} {
		ev.fields["evt.type.is.connect"] = 0
		p := mustCompile(t, tt.text)
		if strings.Contains(tt.text, "evt.type.is") {
			if got := len(match.NewIndex([]*match.Program{p}, false).NewMatcher().Match(ev, nil)) > 0; !got {
				t.Errorf("%s: the index does not know the type itself", tt.text)
			}
			continue
		}
		checkMatch(t, p, ev, tt.want)
	}
}

func TestMatchTwoForms(t *testing.T) {
	ev := newEvent(map[string]any{"evt.type": "open", "proc.name": "cat", "fd.name": "/proc/self/root/etc/shadow", "fd.directory": "/proc/self/root/etc"})
	ev.resolved = map[string]any{"fd.name": "/etc/shadow", "fd.directory": "/etc"}
	for _, tt := range []struct {
		text string
		want bool
	}{
		{"fd.name = /etc/shadow", true},
		{"fd.name startswith /proc/self", true},
		{"fd.name = /etc/shadow and fd.directory = /etc", true},
		{"fd.name = /etc/shadow and fd.directory = /proc/self/root/etc", false}, // each time all paths have the same form
		{"not fd.name = /etc/shadow", true},                                     // as passed it is not
		{"not fd.name = /etc/shadow and not fd.name startswith /proc", false},
		{"proc.name = cat and fd.directory in (/etc)", true},
	} {
		checkMatch(t, mustCompile(t, tt.text), ev, tt.want)
	}
	x := mustCompile(t, "fd.name = /etc/shadow").Explain(ev)
	if x.Form != field.Resolved {
		t.Errorf("explained with form %d, want the one that matches", x.Form)
	}
}

func TestMatcherManyTypes(t *testing.T) {
	programs := []*match.Program{
		mustCompile(t, "evt.type = open and fd.name = /a and (proc.name = x or proc.name = y) and toupper(fd.name) = /A"),
		mustCompile(t, "evt.type = execve and proc.name = x"),
		mustCompile(t, "proc.name = x"),
	}
	open := newEvent(map[string]any{"evt.type": "open", "fd.name": "/a", "proc.name": "x"})
	exec := newEvent(map[string]any{"evt.type": "execve", "proc.name": "x"})
	for _, order := range [][]*event{{open, exec, open}, {exec, open, exec}} {
		m := match.NewIndex(programs, false).NewMatcher()
		for _, ev := range order {
			want := []int{0, 2}
			if ev == exec {
				want = []int{1, 2}
			}
			if diff := cmp.Diff(want, m.Match(ev, nil)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", ev.typ, diff)
			}
		}
	}
}

// TestIndexConcurrent makes plans from several goroutines at once.
func TestIndexConcurrent(t *testing.T) {
	ix := match.NewIndex([]*match.Program{mustCompile(t, "proc.name = x or toupper(proc.name) = Y"), mustCompile(t, "evt.type = open and proc.name != z")}, false)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			m := ix.NewMatcher()
			for typ := range field.AllEvents().All() {
				ev := newFixed(typ, map[string]any{"proc.name": "x"})
				want := 1
				if typ == field.EventOpen {
					want = 2
				}
				if got := m.Match(ev, nil); len(got) != want {
					t.Errorf("%s: got %v", typ, got)
				}
			}
		})
	}
	wg.Wait()
}

// TestSharedOnce counts how often an event is asked for a field that many programs use.
func TestSharedOnce(t *testing.T) {
	var programs []*match.Program
	for _, s := range []string{"a", "b", "c", "d"} {
		programs = append(programs, mustCompile(t, "proc.name icontains "+s+" and (fd.name != /x or fd.num = 1) and toupper(fd.name) != "+s))
	}
	ev := newEvent(map[string]any{"evt.type": "open", "proc.name": "abcd", "fd.name": "/y"})
	m := match.NewIndex(programs, false).NewMatcher()
	if got := len(m.Match(ev, nil)); got != 4 {
		t.Fatalf("got %d matches, want 4", got)
	}
	if ev.extracts != 3 {
		t.Errorf("%d values taken from the event, want 3: proc.name, fd.num and fd.name", ev.extracts)
	}
}

func TestCompileError(t *testing.T) {
	for _, tt := range []struct {
		text, msg, near string
		unknown         bool
		offset          int
	}{
		{"a = 1", "", "", false, 0},
		{"evt.type = open and proc.nmae = x", "filter_check called with nonexistent field proc.nmae", "proc.name", true, 20},
		{"proc.namex = x", "filter_check called with nonexistent field proc.namex", "proc.name", true, 0},
		{"proc.name[1] = x", "filter_check called with nonexistent field proc.name[1]", "proc.name", true, 0},
		{"evt.type = opne", "unknown event type opne", "open", true, 11},
		{"evt.type in (open, opneat)", "unknown event type opneat", "openat", true, 19},
		{"evt.arg.flag = x", "unknown event argument flag", "flags", true, 0},
		{"evt.arg = x", "requires an argument", "", false, 0},
		{"proc.aname[x] = x", "must be a number", "", false, 0},
		{"some_macro and proc.name = x", "unexpected identifier 'some_macro'", "", false, 0},
		{"fd.num = 1.0", "no number", "", false, 9},
		{"evt.cpu = 40000", "no number of type 'INT16'", "", false, 10},
		{"fd.sport = 70000", "no port number", "", false, 11},
		{"fd.sport = nosuchservice", "no known service name", "", false, 11},
		{"fd.sip = 10.0.0", "unrecognized IP address 10.0.0", "", false, 9},
		{"fd.snet = 10.0.0.1", "unrecognized IP network 10.0.0.1", "", false, 10},
		{"fd.snet = 10.0.0.1/33", "unrecognized IP network", "", false, 10},
		{"evt.is_io = 1", "unrecognized boolean value", "", false, 12},
		{"proc.name regex '('", "invalid regular expression", "", false, 16},
		{"proc.name = val(evt.num)", "has type 'CHARBUF' while the right-hand side field 'evt.num' has incompatible type 'UINT64'", "", false, 12},
		{"fd.types = x", "not supported for list field", "", false, 9},
		{"evt.is_io = anyof (true)", "modifier 'anyof' is not supported", "", false, 10},
		{"evt.outputtime = x", "for outputs only", "", false, 0},
		{"toupper(proc.aname[1]) = X", "field 'proc.aname[1]' does not support transformers", "", false, 8},
		{"toupper(fd.num) = X", "can't add field transformer: type 'INT64' is not supported by 'toupper' transformer applied on field 'fd.num'", "", false, 8},
		{"concat(fd.types, 'a') = x", "applied on list field 'fd.types'", "", false, 7},
		{"evt.around[5] > 1", "supports the operator '=' only", "", false, 14},
	} {
		_, _, err := compile(tt.text)
		var got *match.Error
		if !errors.As(err, &got) {
			var syntax *filter.Error
			if tt.msg == "" && errors.As(err, &syntax) {
				continue
			}
			t.Errorf("%s: got %v, want an error", tt.text, err)
			continue
		}
		if !strings.Contains(got.Msg, tt.msg) || got.Near != tt.near || got.Unknown != tt.unknown || got.Pos.Offset != tt.offset {
			t.Errorf("%s: got %+v, want %+v", tt.text, *got, tt)
		}
	}
}

func TestCompileSource(t *testing.T) {
	e, err := filter.Parse("ka.verb = get and jevt.value[/a] = x")
	if err != nil {
		t.Fatal(err)
	}
	for source, valid := range map[string]bool{"": true, "k8s_audit": true, "syscall": false} {
		if _, _, err := match.Compile(e, match.Env{Source: source}); (err == nil) != valid {
			t.Errorf("source %q: %v", source, err)
		}
	}
}

func TestNever(t *testing.T) {
	for text, want := range map[string]bool{
		"proc.name = a":                                          false,
		"evt.num = 0 and proc.name = a":                          true,
		"evt.type = open and evt.type = close":                   true,
		"proc.name = a and proc.name = b":                        true,
		"proc.name in (a, b) and proc.name in (b, c)":            false,
		"proc.name in (a, b) and proc.name in (c)":               true,
		"proc.aname = a and proc.aname = b":                      false,
		"fd.num = 1 and (proc.name = a and not proc.name = a)":   true,
		"evt.type = execve and evt.arg.linkpath = a":             true,
		"evt.type in (execve, symlink) and evt.arg.linkpath = a": false,
		"evt.type = open or not evt.type = open":                 false,
	} {
		if why, got := mustCompile(t, text).Never(); got != want || got != (why != "") {
			t.Errorf("%s: got %v %q, want %v", text, got, why, want)
		}
	}
}

func TestExplain(t *testing.T) {
	ev := newEvent(map[string]any{"evt.type": "open", "proc.name": "cat", "fd.name": "/etc/shadow"})
	p := mustCompile(t, "evt.type = open and (proc.name = vi or tolower(fd.name) startswith /home) and not user.name = root and proc.name = cat")
	var got []string
	for _, x := range p.Explain(ev).Deciding() {
		line := filter.Print(x.Expr)
		for _, v := range x.Values {
			line += "; " + v.Operand + "=" + v.Text
		}
		got = append(got, line)
	}
	want := []string{"proc.name = vi; proc.name=cat", "tolower(fd.name) startswith /home; tolower(fd.name)=/etc/shadow; fd.name=/etc/shadow"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what decided (-want +got):\n%s", diff)
	}
	x := mustCompile(t, "user.name = root").Explain(ev)
	if len(x.Values) != 1 || !x.Values[0].Missing {
		t.Errorf("a missing value is not said to be missing: %+v", x.Values)
	}
}

func TestProgramFields(t *testing.T) {
	p := mustCompile(t, "proc.name = a and fd.sip.name in (a.com, b.com) and (proc.name = b or fd.sip.name = c.com)")
	var got []string
	for _, r := range p.Fields() {
		got = append(got, r.String())
	}
	if diff := cmp.Diff([]string{"proc.name", "fd.sip.name"}, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	id, _ := field.ByName("fd.sip.name")
	if diff := cmp.Diff([]string{"a.com", "b.com", "c.com"}, p.Operands(id)); diff != "" {
		t.Errorf("operands (-want +got):\n%s", diff)
	}
}

func TestImplies(t *testing.T) {
	for _, tt := range []struct {
		p, q string
		want bool
	}{
		{"proc.name = a and fd.num = 1", "fd.num = 1", true},
		{"fd.num = 1", "proc.name = a and fd.num = 1", false},
		{"proc.name = a and fd.num = 1", "fd.num = 1 and proc.name = a", true},
		{"proc.name = a", "proc.name in (a, b)", true},
		{"proc.name in (a, b)", "proc.name = a", false},
		{"proc.name in (a, b)", "proc.name in (c, b, a)", true},
		{"proc.name = a or proc.name = b", "proc.name in (a, b)", true},
		{"fd.name startswith /etc/ssh", "fd.name startswith /etc/", true},
		{"fd.name = /etc/ssh/x", "fd.name contains ssh", true},
		{"fd.name endswith .so", "fd.name startswith .", false},
		{"not proc.name in (a, b)", "not proc.name = a", true},
		{"not proc.name = a", "not proc.name in (a, b)", false},
		{"proc.name = a", "proc.name exists", true},
		{"proc.aname = a", "proc.aname in (a, b)", false}, // true, but not known
		{"evt.num = 0", "proc.name = a", true},
		{"proc.name != a", "proc.name != a", true},
		{"proc.name != a", "proc.name startswith b", false},
		{"evt.type = open and (proc.name = a or fd.name startswith /x)", "evt.type in (open, openat) and (fd.name startswith / or proc.name = a)", true},
	} {
		if got := mustCompile(t, tt.p).Implies(mustCompile(t, tt.q)); got != tt.want {
			t.Errorf("%s => %s: got %v", tt.p, tt.q, got)
		}
	}
}
