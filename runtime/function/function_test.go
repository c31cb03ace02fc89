package function

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions/abi/manifest"
)

var wantRE = regexp.MustCompile(`# want((?: "(?:[^"\\]|\\.)*")+)`)

// compare holds errors against the wants in the text they are about, line by line.
func compare(t *testing.T, text []byte, err error) {
	t.Helper()
	got := map[int][]string{}
	for _, e := range all(err) {
		pe, ok := errors.AsType[*PosError](e)
		if !ok {
			t.Errorf("error without a position: %v", e)
			continue
		}
		got[pe.Line] = append(got[pe.Line], e.Error())
	}
	for i, line := range strings.Split(string(text), "\n") {
		m := wantRE.FindStringSubmatch(line)
		var wants []string
		if m != nil {
			for rest := strings.TrimSpace(m[1]); rest != ""; rest = strings.TrimSpace(rest) {
				q, err := strconv.QuotedPrefix(rest)
				if err != nil {
					t.Fatalf("line %d: %v", i+1, err)
				}
				w, _ := strconv.Unquote(q)
				wants, rest = append(wants, w), rest[len(q):]
			}
		}
		for _, w := range wants {
			if !strings.Contains(strings.Join(got[i+1], "\n"), w) {
				t.Errorf("line %d: want %q, got %q", i+1, w, got[i+1])
			}
		}
		if len(got[i+1]) > len(wants) {
			t.Errorf("line %d: got %q, want %q only", i+1, got[i+1], wants)
		}
		delete(got, i+1)
	}
	for line, g := range got {
		t.Errorf("line %d: unexpected %q", line, g)
	}
}

func all(err error) []error {
	var out []error
	for _, e := range joined(err) {
		if _, ok := e.(interface{ Unwrap() []error }); ok {
			out = append(out, all(e)...)
			continue
		}
		out = append(out, e)
	}
	return out
}

func archive(t *testing.T, name string) *txtar.Archive {
	t.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestErrors(t *testing.T) {
	for _, f := range archive(t, "errors.txtar").Files {
		t.Run(f.Name, func(t *testing.T) {
			docs, err := Parse(f.Name, f.Data)
			if err == nil || docs != nil {
				t.Fatalf("got %d documents, error %v", len(docs), err)
			}
			compare(t, f.Data, err)
		})
	}
}

func TestCheck(t *testing.T) {
	testCheck(t, "manifest.txtar", `{"allow":[],"label":"a"}`)
}

// What a configuration names, commands, URLs and secrets, is refused here if it is not granted, not when the function asks for it.
func TestCheckUses(t *testing.T) {
	testCheck(t, "uses.txtar", "")
}

func testCheck(t *testing.T, name, config string) {
	a := archive(t, name)
	m, err := manifest.Parse(a.Files[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range a.Files[1:] {
		t.Run(f.Name, func(t *testing.T) {
			docs, err := Parse(f.Name, f.Data)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, f.Data, docs[0].Check(m))
			if f.Name == "good.yaml" && config != "" && string(docs[0].Spec.Config) != config {
				t.Errorf("configuration with defaults: %s", docs[0].Spec.Config)
			}
		})
	}
}

const full = `
apiVersion: tiercel.dev/v1alpha1
kind: Function
metadata: {name: isolate.pod, namespace: team-a}
spec:
  module: sha256:0000000000000000000000000000000000000000000000000000000000000000
  mode: enforce
  triggers:
  - {rules: [Terminal shell in container], priority: warning, sources: [syscall], tags: [network], namespaces: {include: ["pay*"], exclude: [kube-system]}}
  - {rules: ["Connection to *"], condition: "fd.sip in (203.0.113.10) and k8s.ns.name = payments"}
  config: {allow: [10.0.0.0/8], n: 12345678901234567}
  limits: {timeout: 5s, memory: 64Mi, concurrency: 2, fuel: 1000000, output: 128Ki, log: 32Ki, calls: 20}
  retry: {attempts: 0, backoff: 250ms}
  dedup: {key: [rule], window: 1m}
  budget: {max: 5, per: 10m, scope: namespace, over: drop}
  revert: {after: 1h30m}
  maxAge: 2d
`

// What Encode writes is what Decode reads, and the same document gives the same bytes.
func TestEncode(t *testing.T) {
	docs, err := Parse("full.yaml", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	b := docs[0].Encode()
	d, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(b), string(d.Encode())); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if d.Spec.Retry.Attempts != 0 || d.Spec.MaxAge.Std() != 48*time.Hour || d.Metadata.Token() != "team-a_isolate_pod" {
		t.Errorf("got %+v", d.Spec)
	}
	if !strings.Contains(string(d.Spec.Config), "12345678901234567") {
		t.Errorf("configuration: %s", d.Spec.Config)
	}
}

func TestSelects(t *testing.T) {
	docs, err := Parse("full.yaml", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	f, err := Compile(ID{"team-a", "isolate.pod", "1"}, docs[0])
	if err != nil {
		t.Fatal(err)
	}
	shell := bus.MatchData{Rule: "Terminal shell in container", Priority: "Critical", Source: "syscall", Tags: []string{"x", "network"}, Target: bus.Target{Namespace: "payments"}}
	conn := bus.MatchData{Rule: "Connection to a forbidden site", Priority: "Notice", Source: "syscall", Fields: json.RawMessage(`{"fd.sip":"203.0.113.10"}`), Target: bus.Target{Namespace: "payments"}}
	for _, c := range []struct {
		name   string
		match  bus.MatchData
		change func(*bus.MatchData)
		want   bool
	}{
		{"all of the first", shell, nil, true},
		{"priority too low", shell, func(m *bus.MatchData) { m.Priority = "Notice" }, false},
		{"priority exactly", shell, func(m *bus.MatchData) { m.Priority = "Warning" }, true},
		{"other source", shell, func(m *bus.MatchData) { m.Source = "k8s_audit" }, false},
		{"no tag", shell, func(m *bus.MatchData) { m.Tags = nil }, false},
		{"other namespace", shell, func(m *bus.MatchData) { m.Target.Namespace = "default" }, false},
		{"host", shell, func(m *bus.MatchData) { m.Target.Namespace = "" }, false},
		{"pattern and condition", conn, nil, true},
		{"other address", conn, func(m *bus.MatchData) { m.Fields = json.RawMessage(`{"fd.sip":"203.0.113.11"}`) }, false},
		{"address in the output only", conn, func(m *bus.MatchData) { m.OutputFields, m.Fields = m.Fields, nil }, true},
		{"condition over the target", conn, func(m *bus.MatchData) { m.Target.Namespace = "default" }, false},
		{"no fields", conn, func(m *bus.MatchData) { m.Fields = nil }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := c.match
			if c.change != nil {
				c.change(&m)
			}
			if got := f.Selects(&bus.Event{}, &m); got != c.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestFilters(t *testing.T) {
	for _, c := range []struct {
		name, triggers string
		want           []string
	}{
		{"everything", `[{}]`, []string{"tiercel.events.*.*.*.*.*"}},
		{"a rule", `[{rules: [Terminal shell in container]}]`, []string{"tiercel.events.*.*.terminal_shell_in_container.*.*"}},
		{"a pattern", `[{rules: ["Terminal *"], sources: [k8s_audit]}]`, []string{"tiercel.events.k8s_audit.*.*.*.*"}},
		{"priority and namespace", `[{rules: [A], priority: alert, namespaces: {include: [b.c]}}]`, []string{"tiercel.events.*.alert.a.b_c.*", "tiercel.events.*.emergency.a.b_c.*"}},
		{"one covers the other", `[{rules: [A]}, {rules: [A], sources: [syscall]}]`, []string{"tiercel.events.*.*.a.*.*"}},
		{"overlap", `[{rules: [A]}, {sources: [syscall]}]`, []string{"tiercel.events.>"}},
		{"too many", `[{rules: [A, B, C, D, E, F, G], priority: informational}]`, []string{"tiercel.events.>"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			docs, err := Parse("f.yaml", []byte("apiVersion: tiercel.dev/v1alpha1\nkind: Function\nmetadata: {name: x}\nspec:\n  module: builtin:x\n  triggers: "+c.triggers))
			if err != nil {
				t.Fatal(err)
			}
			f, err := Compile(ID{}, docs[0])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, f.Filters()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestUnknownRules(t *testing.T) {
	docs, err := Parse("full.yaml", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	got := docs[0].UnknownRules([]string{"Terminal shell in containers", "Connection to a site"})
	if len(got) != 1 || got[0].Line != 9 || got[0].Near != "Terminal shell in containers" {
		t.Errorf("got %v", got)
	}
}

func TestReadFiles(t *testing.T) {
	dir := t.TempDir()
	doc := func(name string) string {
		return "apiVersion: tiercel.dev/v1alpha1\nkind: Function\nmetadata: {name: " + name + "}\nspec: {module: builtin:x, triggers: [{}]}\n"
	}
	for name, text := range map[string]string{"a.yaml": doc("a") + "---\n" + doc("b"), "sub/c.yml": doc("c"), ".hidden.yaml": "nonsense", "readme.md": "nonsense"} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	docs, err := ReadFiles(dir)
	if err != nil || len(docs) != 3 {
		t.Fatalf("got %d documents, %v", len(docs), err)
	}
	if err := os.WriteFile(filepath.Join(dir, "d.yaml"), []byte(doc("a")), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFiles(dir); err == nil || !strings.Contains(err.Error(), `d.yaml:3:18: metadata.name: function "a" stands in `) {
		t.Errorf("two of one name: %v", err)
	}
}

// The id of an invocation is the same wherever it is computed, and another's for every part that differs.
func TestInvocation(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000)
	id := ID{"default", "x", "01ABC"}
	a := id.Invocation("n1-1", at, "")
	if a != id.Invocation("n1-1", at, "") || !strings.HasPrefix(a, "01HF7YAT00") {
		t.Errorf("got %s", a)
	}
	seen := map[string]bool{a: true}
	for _, o := range []string{ID{"default", "x", "01ABD"}.Invocation("n1-1", at, ""), id.Invocation("n1-2", at, ""), id.Invocation("n1-1", at, "x"), id.Invocation("n1-", at, "1")} {
		if seen[o] {
			t.Errorf("%s twice", o)
		}
		seen[o] = true
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	for _, name := range []string{"errors.txtar", "manifest.txtar"} {
		a, err := txtar.ParseFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range a.Files {
			f.Add(file.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, err := Parse("f.yaml", data)
		if (err == nil) == (len(docs) == 0) {
			t.Fatalf("%d documents, error %v", len(docs), err)
		}
		for _, d := range docs {
			if _, err := Decode(d.Encode()); err != nil {
				t.Fatalf("what was encoded cannot be decoded: %v", err)
			}
			fn, err := Compile(ID{}, d)
			if err != nil {
				t.Fatal(err)
			}
			fn.Filters()
		}
	})
}
