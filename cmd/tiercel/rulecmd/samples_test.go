package rulecmd

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/cmd/tiercel/cli"
	"github.com/tiercel-project/tiercel/rules"
	samplerules "github.com/tiercel-project/tiercel/samples/rules"
)

const sampleData = "../../../samples/rules/testdata"

var notWord = regexp.MustCompile(`[^a-z0-9]+`)

// embedded loads the rules that come with Tiercel.
func embedded(t testing.TB) *rules.Set {
	t.Helper()
	in, err := rules.ReadFS(samplerules.FS)
	if err != nil {
		t.Fatal(err)
	}
	set, rep := rules.Load(in, rules.Options{Hostname: testHost})
	var b strings.Builder
	_ = rep.WriteText(&b)
	if set == nil || len(rep.Warnings()) > 0 {
		t.Fatal(b.String())
	}
	for _, f := range rep.Files {
		for _, w := range f.SchemaWarnings {
			t.Errorf("%s: %s", f.Name, w)
		}
	}
	return set
}

// Every rule that comes with Tiercel matches its recorded events, and none of its near misses.
func TestEmbeddedRules(t *testing.T) {
	set := embedded(t)
	c := &command{Streams: cli.Streams{}}
	used := map[string]bool{}
	for _, r := range set.Rules() {
		t.Run(r.Name, func(t *testing.T) {
			if r.Desc == "" || len(r.Tags) == 0 || len(r.OutputFields) == 0 {
				t.Error("wants a description, tags and fields in its output")
			}
			slug := strings.Trim(notWord.ReplaceAllString(strings.ToLower(r.Name), "_"), "_")
			for _, tt := range []struct {
				kind string
				want bool
			}{{"match", true}, {"miss", false}} {
				name := slug + "." + tt.kind + ".jsonl"
				used[name] = true
				events, err := c.readEvents(filepath.Join(sampleData, name))
				if err != nil {
					t.Fatal(err)
				}
				if len(events) == 0 {
					t.Errorf("%s: no event", name)
				}
				for i, ev := range events {
					if got := r.Program().Match(ev); got != tt.want {
						var b strings.Builder
						_ = printExplanations(&b, []explanation{explainRule(r, ev, i+1)}, true)
						t.Errorf("%s: %s", name, b.String())
					}
					if !r.Events.Has(ev.Type()) {
						t.Errorf("%s: event %d is of a type that the rule is not for: that tells nothing", name, i+1)
					}
				}
			}
		})
	}
	files, err := os.ReadDir(sampleData)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".jsonl") && !used[f.Name()] {
			t.Errorf("%s belongs to no rule", f.Name())
		}
	}
}
