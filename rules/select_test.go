package rules

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestUnused: what the configuration says of rules that there are not is told with its place and the nearest name.
func TestUnused(t *testing.T) {
	const text = "- rule: Read sensitive file\n  desc: d\n  condition: evt.type=open\n  output: o\n  priority: INFO\n  tags: [files, noisy]\n"
	opts := Options{Select: []Selection{
		{Disable: &Selector{Rule: "Read sensitve file"}},
		{Disable: &Selector{Rule: "Read *"}, Enable: &Selector{Rule: "Write *"}},
		{Enable: &Selector{Tag: "noisi"}},
		{Enable: &Selector{Tag: "noisy"}},
		{Disable: &Selector{}},
	}, AppendOutput: make([]AppendOutput, 4)}
	opts.AppendOutput[0].Match.Rule = "Shell"
	opts.AppendOutput[1].Match.Tags = []string{"files", "file"}
	opts.AppendOutput[2].Match.Source = "k8s_audit" // of whichever rules there are
	opts.AppendOutput[3].Match.Rule = "Read sensitive file"
	set, report := Load([]File{{Name: "r.yaml", Data: []byte(text)}}, opts)
	if set == nil {
		t.Fatal(report.Err())
	}
	var got []string
	for _, err := range Unused(set, opts) {
		got = append(got, err.Error())
	}
	want := []string{
		`ruleSelection[0].disable: no rule is named "Read sensitve file" (did you mean "Read sensitive file"?)`,
		`ruleSelection[1].enable: concerns no rule`,
		`ruleSelection[2].enable: no rule has the tag "noisi" (did you mean "noisy"?)`,
		`ruleSelection[4].disable: concerns no rule`,
		`appendOutput[0].match: no rule is named "Shell"`,
		`appendOutput[1].match: no rule has the tag "file" (did you mean "files"?)`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
