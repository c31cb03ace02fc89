package bus

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRuleToken(t *testing.T) {
	for in, want := range map[string]string{
		"Terminal shell in container":                   "terminal_shell_in_container",
		"Connection to a forbidden site":                "connection_to_a_forbidden_site",
		"Read sensitive file: trusted (after startup)!": "read_sensitive_file_trusted_after_startup",
		"k8s_audit":    "k8s_audit",
		"a > b.*":      "a_b",
		"Règle  n°1":   "r_gle_n_1",
		"___x___":      "x",
		"":             "_",
		"日本":           "_",
		"CPU\x00 burn": "cpu_burn",
	} {
		if got := RuleToken(in); got != want {
			t.Errorf("RuleToken(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestEventSubject(t *testing.T) {
	for _, tc := range []struct {
		name                             string
		source, priority, rule, ns, node string
		want                             Subject
		wantAddress                      Address
	}{
		{
			"pod", "syscall", "Warning", "Terminal shell in container", "payments", "ip-10-0-0-1.eu.internal",
			"tiercel.events.syscall.warning.terminal_shell_in_container.payments.ip-10-0-0-1_eu_internal",
			Address{"syscall", "warning", "terminal_shell_in_container", "payments", "ip-10-0-0-1.eu.internal"},
		},
		{
			"host", "syscall", "Informational", "Cat /etc/shadow", "", "n1",
			"tiercel.events.syscall.informational.cat_etc_shadow._host.n1",
			Address{"syscall", "informational", "cat_etc_shadow", "", "n1"},
		},
		{
			"namespace that would escape", "syscall", "Error", "x", "a.b.>", "n1",
			"tiercel.events.syscall.error.x._invalid.n1",
			Address{"syscall", "error", "x", "_invalid", "n1"},
		},
		{
			"namespace that would be the host", "syscall", "Error", "x", "_host", "n1",
			"tiercel.events.syscall.error.x._invalid.n1",
			Address{"syscall", "error", "x", "_invalid", "n1"},
		},
		{
			"node that is none", "syscall", "Error", "x", "ns", "My Host",
			"tiercel.events.syscall.error.x.ns._invalid",
			Address{"syscall", "error", "x", "ns", "_invalid"},
		},
		{
			"upper-case namespace is not lowered into another tenant's", "syscall", "Error", "x", "NS", "n",
			"tiercel.events.syscall.error.x._invalid.n",
			Address{"syscall", "error", "x", "_invalid", "n"},
		},
		{"nothing known", "", "", "", "", "", "tiercel.events._._._._host._invalid", Address{"_", "_", "_", "", "_invalid"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := EventSubject(tc.source, tc.priority, tc.rule, tc.ns, tc.node)
			if got != tc.want {
				t.Errorf("got %s\nwant %s", got, tc.want)
			}
			a, err := ParseEventSubject(got)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.wantAddress, a); diff != "" {
				t.Errorf("address (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseEventSubjectErrors(t *testing.T) {
	for _, s := range []Subject{
		"", "tiercel.events", "tiercel.events.a.b.c.d", "tiercel.events.a.b.c.d.e.f", "tiercel.outcomes.a.b.c.d.e", "other.events.a.b.c.d.e",
		"tiercel.events.A.b.c.d.e", "tiercel.events.*.b.c.d.e", "tiercel.events.a.b.c__d.ns.n", "tiercel.events.a.b.c.d.>",
		"tiercel.events.a.b.c._x.n", "tiercel.events.a.b.c.ns._host", "tiercel.events.a.b.c..n", "tiercel.events.a.b.c.-x.n",
		"tiercel.events.a.b.c.n s.n",
	} {
		if a, err := ParseEventSubject(s); !errors.Is(err, ErrSubject) {
			t.Errorf("%q: got %+v, %v, want ErrSubject", s, a, err)
		}
	}
}

func TestNodeName(t *testing.T) {
	for in, want := range map[string]string{
		"node-1": "node-1", "My_Host": "my-host", "a.b.C": "a.b.c", "-x-": "x", "": "localhost", "..": "localhost", "ü": "localhost",
		"a..b": "a.b", strings.Repeat("x", 300): strings.Repeat("x", 253),
	} {
		got := NodeName(in)
		if got != want {
			t.Errorf("NodeName(%q) = %q, want %q", in, got, want)
		}
		if !isName(got) {
			t.Errorf("NodeName(%q) = %q is no name", in, got)
		}
	}
}

func TestOtherSubjects(t *testing.T) {
	for _, tc := range []struct{ got, want Subject }{
		{JournalSubject(FunctionToken("default", "isolate.pod"), "01J/revert/1"), "tiercel.journal.default_isolate_pod.01J/revert/1"},
		{ActionSubject("payments", "default_f", "succeeded"), "tiercel.actions.payments.default_f.succeeded"},
		{ActionSubject("", "default_f", "failed"), "tiercel.actions._host.default_f.failed"},
		{OutcomeSubject("ns", "f", "reverted"), "tiercel.outcomes.ns.f.reverted"},
		{TimerSubject("inv"), "tiercel.timers.at.inv"},
		{TimerDueSubject("inv"), "tiercel.timers.due.inv"},
		{DeadLetterSubject("f", "crashed"), "tiercel.deadletter.f.crashed"},
		{NodeSubject("n.internal", "quarantine"), "tiercel.node.n_internal.quarantine"},
		{JournalSubject("f", "a.b *>=\n"), "tiercel.journal.f.a=2eb=20=2a=3e=3d=0a"},
		{TimerSubject(""), "tiercel.timers.at.="},
	} {
		if tc.got != tc.want {
			t.Errorf("got %s, want %s", tc.got, tc.want)
		}
	}
}

// FuzzEventSubject: whatever the names are, the subject has seven tokens, no wildcard, and parses back to an address that makes it again.
func FuzzEventSubject(f *testing.F) {
	f.Add("syscall", "Warning", "Terminal shell in container", "ns", "node.internal")
	f.Add("a.b", ">", "*", "_host", "_invalid")
	f.Add("", "", "", "", "")
	f.Fuzz(func(t *testing.T, source, priority, rule, ns, node string) {
		s := EventSubject(source, priority, rule, ns, node)
		if strings.ContainsAny(string(s), "*> \t\r\n") || strings.Count(string(s), ".") != 6 {
			t.Fatalf("malformed: %q", s)
		}
		a, err := ParseEventSubject(s)
		if err != nil {
			t.Fatal(err)
		}
		if again := EventSubject(a.Source, a.Priority, a.Rule, a.Namespace, a.Node); again != s {
			t.Errorf("%s becomes %s", s, again)
		}
		if isName(ns) && a.Namespace != ns || isName(node) && a.Node != node {
			t.Errorf("names %q, %q come back as %+v", ns, node, a)
		}
	})
}

// FuzzParseEventSubject: exactly one of result and error, and a result makes its subject again.
func FuzzParseEventSubject(f *testing.F) {
	f.Add("tiercel.events.syscall.warning.r.ns.n_x")
	f.Add("tiercel.events.a.b.c._host._invalid")
	f.Fuzz(func(t *testing.T, in string) {
		a, err := ParseEventSubject(Subject(in))
		if err != nil {
			if a != (Address{}) {
				t.Errorf("both %+v and %v", a, err)
			}
			return
		}
		if s := EventSubject(a.Source, a.Priority, a.Rule, a.Namespace, a.Node); string(s) != in {
			t.Errorf("%q becomes %q", in, s)
		}
	})
}

func FuzzToken(f *testing.F) {
	f.Add("a.b", "a=2eb")
	f.Add("", "=")
	f.Fuzz(func(t *testing.T, a, b string) {
		ta, tb := Token(a), Token(b)
		if ta == "" || strings.ContainsAny(ta, ".*> \t\r\n\x00\x7f") {
			t.Errorf("Token(%q) = %q", a, ta)
		}
		if (a == b) != (ta == tb) {
			t.Errorf("%q and %q become %q and %q", a, b, ta, tb)
		}
	})
}
