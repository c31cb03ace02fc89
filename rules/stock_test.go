package rules_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/internal/conformance"
	"github.com/tiercel-project/tiercel/rules/load"
)

var stockNames = []string{"falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml", "k8s_audit_rules.yaml"}

// stock returns Falco's own rules files.
func stock(t testing.TB) []rules.File {
	t.Helper()
	var files []rules.File
	for _, name := range stockNames {
		files = append(files, rules.File{Name: name, Data: conformance.Read(t, "rules/"+name)})
	}
	return files
}

func BenchmarkLoadStock(b *testing.B) {
	files := stock(b)
	b.ReportAllocs()
	for b.Loop() {
		if set, rep := rules.Load(files, rules.Options{}); set == nil {
			b.Fatal(rep.Err())
		}
	}
}

// The event types and fields of every stock rule, one block for each, as Falco's own set algebra gives them.
func TestStockRules(t *testing.T) {
	set, rep := rules.Load(stock(t), rules.Options{})
	if set == nil {
		t.Fatal(rep.Err())
	}
	want, err := os.ReadFile("testdata/stock.golden")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range set.Rules() {
		events := r.Events.Names()
		if r.Source == "k8s_audit" { // every rule of the source matches its one event type
			if !r.Events.Has(field.EventPluginevent) {
				t.Errorf("%s does not match audit events", r.Name)
			}
			events = []string{"pluginevent"}
		}
		slices.Sort(events)
		got = append(got, fmt.Sprintf("rule %s\nenabled %v\npriority %s\nevents %s\ncondition %s\noutput %s\n", r.Name, r.Enabled,
			strings.ToUpper(r.Priority.String()[:4]), strings.Join(events, " "), strings.Join(r.ConditionFields, " "), strings.Join(r.OutputFields, " ")))
	}
	for i, block := range strings.Split(string(want), "\n\n") {
		if i >= len(got) {
			t.Fatalf("%d rules, want more: %s", len(got), block)
		}
		if diff := cmp.Diff(strings.TrimSpace(block), strings.TrimSpace(got[i])); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	for _, w := range rep.Warnings() {
		if w.Code != load.WarnDeprecatedItem && w.Code != load.WarnNeverMatches {
			t.Error(w)
		}
	}
}
