package rules_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/field"
)

const alertRules = `
- rule: Shadow
  desc: d
  condition: evt.type = openat and fd.name = /etc/shadow
  output: "read %fd.name by %proc.name tty=%proc.tty missing=%fd.sip up=%toupper(proc.name) static=%static.env"
  priority: info
  tags: [b, a, b]
- rule: Other
  desc: d
  condition: evt.type = openat
  output: other
  priority: WARNING
  source: syscall
  tags: [c]
`

func loadText(t *testing.T, text string, opts rules.Options) *rules.Set {
	t.Helper()
	set, rep := rules.Load([]rules.File{{Name: "r.yaml", Data: []byte(text)}}, opts)
	if set == nil {
		t.Fatal(rep.Err())
	}
	return set
}

func shadowEvent(t *testing.T) *fastEvent {
	return newFastEvent(t, field.EventOpenat, map[string]any{"fd.name": "/etc/shadow", "proc.name": "c\"at\n\xff", "proc.tty": 34816})
}

func TestAlert(t *testing.T) {
	defer func(l *time.Location) { time.Local = l }(time.Local)
	time.Local = time.UTC
	set := loadText(t, alertRules, rules.Options{Hostname: "node-1", StaticFields: map[string]string{"env": "100%", "envelope": "x"}})
	m := set.NewMatcher()
	hits := m.Match(shadowEvent(t), nil)
	if len(hits) != 1 || hits[0].Name != "Shadow" {
		t.Fatalf("hits %v", hits)
	}
	a := m.Alert(hits[0], shadowEvent(t))
	const output = `read /etc/shadow by c\"at\n` + "\ufffd" + ` tty=34816 missing=<NA> up=C\"AT\n` + "\ufffd" + ` static=100%`
	if diff := cmp.Diff("03:04:05.000000006: Informational "+output, string(a.AppendText(nil))); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	want := `{"hostname":"node-1","output":"03:04:05.000000006: Informational ` + output + `","output_fields":{"evt.time":1767323045000000006,` +
		`"fd.name":"/etc/shadow","fd.sip":null,"proc.name":"c\"at\n` + "\ufffd" + `","proc.tty":34816,"static.env":"100%"},` +
		`"priority":"Informational","rule":"Shadow","source":"syscall","tags":["a","b"],"time":"2026-01-02T03:04:05.000000006Z"}`
	got := a.AppendJSON(nil)
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	if !json.Valid(got) {
		t.Error("not JSON")
	}
	if diff := cmp.Diff(a.Fields()["fd.name"], any("/etc/shadow")); diff != "" {
		t.Error(diff)
	}
}

// What stands for itself is copied in pieces: they must not run over what does not.
func TestTextInJSON(t *testing.T) {
	alphabet := []string{"a", "plain text ", `"`, `\`, "\n", "\r", "\t", "\b", "\f", "\x00", "\x1f", "\x7f", "é", "\u2028", "\ufffd", "𝄞", "\xff", "\xc3", "\xed\xa0\x80"}
	for range 2000 {
		var b strings.Builder
		for range rand.IntN(8) {
			b.WriteString(alphabet[rand.IntN(len(alphabet))])
		}
		text := b.String()
		line := (&rules.Alert{Rule: text}).AppendJSON(nil)
		var got struct{ Rule string }
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%q: %v in %s", text, err, line)
		}
		if want := string([]rune(text)); got.Rule != want || !utf8.Valid(line) || bytes.ContainsFunc(line, func(r rune) bool { return r < ' ' }) {
			t.Fatalf("%q: got %q, want %q in %s", text, got.Rule, want, line)
		}
	}
}

func TestOptions(t *testing.T) {
	warning := rules.Warning
	var appended []rules.AppendOutput
	err := yaml.Unmarshal([]byte(`
- match: {rule: Shadow}
  extra_output: "more=%proc.tty"
  extra_fields: [proc.name, {who: "%proc.name!"}]
- match: {tags: [c], source: syscall}
  suggested_output: true
- match: {source: k8s_audit}
  extra_output: "never"
`), &appended)
	if err != nil {
		t.Fatal(err)
	}
	const all = 2
	for _, tt := range []struct {
		name    string
		opts    rules.Options
		matched string // rules that match, in order
		output  string // part of the first alert
	}{
		{name: "first", matched: "Shadow"},
		{name: "all", opts: rules.Options{Matching: rules.All}, matched: "Shadow Other"},
		{name: "minimum priority", opts: rules.Options{MinPriority: &warning}, matched: "Other"},
		{name: "minimum priority beats selection", opts: rules.Options{MinPriority: &warning, Select: []rules.Selection{{Enable: &rules.Selector{Rule: "*"}}}}, matched: "Other"},
		{name: "disabled by tag", opts: rules.Options{Select: []rules.Selection{{Disable: &rules.Selector{Tag: "a"}}}}, matched: "Other"},
		{name: "selection in order", opts: rules.Options{Select: []rules.Selection{{Disable: &rules.Selector{Rule: "S*w"}}, {Enable: &rules.Selector{Rule: "*had*"}}}}, matched: "Shadow"},
		{name: "append", opts: rules.Options{AppendOutput: appended, Matching: rules.All}, matched: "Shadow Other", output: `static=env more=34816","output_fields":{`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.opts.StaticFields = map[string]string{"env": "env"}
			m := loadText(t, alertRules, tt.opts).NewMatcher()
			var names []string
			hits := m.Match(shadowEvent(t), nil)
			for _, r := range hits {
				names = append(names, r.Name)
			}
			if diff := cmp.Diff(tt.matched, strings.Join(names, " ")); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
			if len(hits) == 0 || tt.output == "" {
				return
			}
			if got := string(m.Alert(hits[0], shadowEvent(t)).AppendJSON(nil)); !strings.Contains(got, tt.output) || !strings.Contains(got, `"who":"c\"at\n`) {
				t.Errorf("alert %s, want %s and the field who", got, tt.output)
			}
			if got := m.Alert(hits[all-1], shadowEvent(t)).Output; !strings.Contains(got, "other container_id=<NA>") || strings.Contains(got, "more") {
				t.Errorf("suggested output %q", got)
			}
		})
	}
}

func TestISO8601(t *testing.T) {
	defer func(l *time.Location) { time.Local = l }(time.Local)
	time.Local = time.FixedZone("", 3600)
	set := loadText(t, alertRules, rules.Options{TimeISO8601: true, StaticFields: map[string]string{"env": "e"}})
	m := set.NewMatcher()
	a := m.Alert(set.Rule("Other"), shadowEvent(t))
	if got := string(a.AppendText(nil)); got != "2026-01-02T04:04:05.000000006+0100: Warning other" {
		t.Error(got)
	}
	if got := a.Fields()["evt.time.iso8601"]; got != "2026-01-02T04:04:05.000000006+0100" {
		t.Error(got)
	}
}

// A Set may be used by many matchers at once.
func TestConcurrentMatchers(t *testing.T) {
	set := loadText(t, alertRules, rules.Options{Matching: rules.All, StaticFields: map[string]string{"env": "e"}})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			m, ev := set.NewMatcher(), shadowEvent(t)
			for range 200 {
				for _, r := range m.Match(ev, nil) {
					m.Alert(r, ev)
				}
			}
		})
	}
	wg.Wait()
}
