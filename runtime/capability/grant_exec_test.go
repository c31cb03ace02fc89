package capability

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestExecGrantCheck(t *testing.T) {
	ok := [][]string{{"cat", "/proc/net/tcp"}}
	for name, tt := range map[string]struct {
		grant     ExecGrant
		key, text string
	}{
		"good":         {ExecGrant{Commands: ok, Selector: "app in (web, db),!canary"}, "", ""},
		"no commands":  {ExecGrant{}, ".commands", "is missing"},
		"an empty one": {ExecGrant{Commands: [][]string{{"ls"}, {}}}, ".commands[1]", "is missing"},
		"a NUL":        {ExecGrant{Commands: [][]string{{"ls", "a\x00b"}}}, ".commands[0]", "NUL"},
		"too long":     {ExecGrant{Commands: [][]string{{"echo", strings.Repeat("x", 9000)}}}, ".commands[0]", "8192 are allowed"},
		"too many":     {ExecGrant{Commands: [][]string{strings.Split(strings.Repeat("x ", 65), " ")}}, ".commands[0]", "64 and"},
		"selector":     {ExecGrant{Commands: ok, Selector: "app=="}, "", ""},
		"bad selector": {ExecGrant{Commands: ok, Selector: "app in web"}, ".selector", "unable to parse"},
	} {
		key, err := tt.grant.Check()
		if key != tt.key || (err == nil) != (tt.text == "") || err != nil && !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %q, %v", name, key, err)
		}
	}
}

func TestExecTimeout(t *testing.T) {
	var g ExecGrant
	if g.timeout() != 5*time.Second {
		t.Errorf("default %s", g.timeout())
	}
	for text, good := range map[string]bool{"1s": true, "8s": true, "500ms": false, "9s": false, "-1s": false, "x": false, "": false} {
		if err := g.Timeout.UnmarshalText([]byte(text)); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What a role gives for commands is those, in the namespaces that are named, and to look at the pod.
func TestExecRoles(t *testing.T) {
	g := Grants{Exec: []ExecGrant{{Commands: [][]string{{"ls"}}, Namespaces: []string{"shop"}}}}
	rule := func(resource string, verbs ...any) any {
		return map[string]any{"apiGroups": []any{""}, "resources": []any{resource}, "verbs": verbs}
	}
	want := map[string][]any{"": {}, "shop": {rule("pods/exec", "create", "get"), rule("pods", "get")}}
	if diff := cmp.Diff(want, rulesByNamespace(g)); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	g.Exec[0].Namespaces = nil
	if got := rulesByNamespace(g); len(got) != 1 || len(got[""]) != 2 {
		t.Errorf("everywhere: %v", got)
	}
}

func TestRedactText(t *testing.T) {
	const jwt = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJl"
	for text, want := range map[string]string{
		"Authorization: Bearer " + jwt + "\n":                                           "Authorization: Bearer [redacted]\n",
		"a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE+/=\n-----END RSA PRIVATE KEY-----\nb": "a\n[redacted]\nb",
		"-----BEGIN PRIVATE KEY-----\nMIIE":                                             "[redacted]",
		"-----BEGIN CERTIFICATE-----\nMIIE":                                             "-----BEGIN CERTIFICATE-----\nMIIE",
		"eyJ is how they begin":                                                         "eyJ is how they begin",
	} {
		if got := redactText(text); got != want {
			t.Errorf("%q became %q", text, got)
		}
	}
}
