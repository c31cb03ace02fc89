package rules_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/internal/conformance"
	"github.com/tiercel-project/tiercel/rules/k8saudit"
	"github.com/tiercel-project/tiercel/rules/load"
)

// names are Falco's names for messages that its tests share.
var names = map[string]string{
	"WARNING_APPEND":                 "'append' key is deprecated. Add an 'append' entry (e.g. 'condition: append') under 'override' instead.",
	"WARNING_ENABLED":                "The standalone 'enabled' key usage is deprecated. The correct approach requires also a 'replace' entry under the 'override' key (i.e. 'enabled: replace').",
	"WARNING_NO_EVTTYPE":             "Rule matches too many evt.type values. This has a significant performance penalty.",
	"ERROR_NO_PREVIOUS_MACRO":        "Macro uses 'append' or 'override.condition: append' but no macro by that name already exists",
	"ERROR_NO_PREVIOUS_LIST":         "List uses 'append' or 'override.items: append' but no list by that name already exists",
	"ERROR_NO_PREVIOUS_RULE_APPEND":  "Rule uses 'append' or 'override.<key>: append' but no rule by that name already exists",
	"ERROR_NO_PREVIOUS_RULE_REPLACE": "An 'override.<key>: replace' to a rule was requested but no rule by that name already exists",
	"ERROR_OVERRIDE_APPEND":          "Keys 'override' and 'append: true' cannot be used together. Add an 'append' entry (e.g. 'condition: append') under 'override' instead.",
}

// says reports whether one of the problems is what a case wants: a shared name, a code or a quoted part of a message.
func says(problems []*load.Problem, want string) bool {
	part := names[want]
	if part == "" {
		if err := json.Unmarshal([]byte(want), &part); err != nil {
			part = want
		}
	}
	return slices.ContainsFunc(problems, func(p *load.Problem) bool {
		return strings.Contains(p.Message(), part) || string(p.Code) == want
	})
}

func TestConformanceLoader(t *testing.T) {
	var cases []struct {
		Test  string
		Rules map[string]string
		Loads []struct {
			Expr   string
			Expect bool
		}
		Warnings   []string
		NoWarnings []string `json:"no_warnings"`
		Has        *bool    `json:"has_warnings"`
		Errors     []string
		Schema     []string
		Compiled   [][2]string
	}
	conformance.Decode(t, "rule_loader_cases.json", &cases)
	for _, c := range cases {
		t.Run(c.Test, func(t *testing.T) {
			if len(c.Loads) == 0 { // the texts are loaded by the test's own hand
				for name := range c.Rules {
					c.Loads = append(c.Loads, struct {
						Expr   string
						Expect bool
					}{name, true})
				}
			}
			var files []rules.File
			for _, l := range c.Loads {
				files = append(files, rules.File{Name: l.Expr + ".yaml", Data: []byte(c.Rules[l.Expr])})
				set, rep := rules.Load(files, rules.Options{})
				if (set != nil) != l.Expect || rep.OK() != l.Expect {
					t.Fatalf("%s: loads %v, want %v\n%v", l.Expr, set != nil, l.Expect, rep.Err())
				}
				for _, want := range c.Warnings {
					if !says(rep.Warnings(), want) {
						t.Errorf("no warning %s", want)
					}
				}
				for _, w := range c.NoWarnings {
					if says(rep.Warnings(), w) {
						t.Errorf("warning %s", w)
					}
				}
				if c.Has != nil && (len(rep.Warnings()) > 0) != *c.Has {
					t.Errorf("warnings %v, want %v", rep.Warnings(), *c.Has)
				}
				for _, want := range c.Errors {
					if !says(rep.Errors(), want) {
						t.Errorf("no error %s among %v", want, rep.Err())
					}
				}
				for _, want := range c.Schema {
					if valid := len(rep.Files[0].SchemaWarnings) == 0; valid != (want == "validation_ok") {
						t.Errorf("schema warnings %q, want %s", rep.Files[0].SchemaWarnings, want)
					}
				}
				for _, want := range c.Compiled {
					if r := set.Rule(want[0]); r == nil || r.Condition != want[1] {
						t.Errorf("rule %v, want %s", r, want[1])
					}
				}
			}
		})
	}
}

// falcoDoc is what Falco's own tests read from its document.
type falcoDoc struct {
	Results []struct {
		Successful       bool
		Errors, Warnings []falcoItem
	} `json:"falco_load_results"`
}

type falcoItem struct {
	Code, Message string
	Context       struct {
		Locations []struct {
			ItemType string `json:"item_type"`
			ItemName string `json:"item_name"`
		}
		Snippet string
	}
}

// is reports whether the item has the code, the message and an item of the type and name; what is empty is not asked for.
func (i *falcoItem) is(code, itemType, itemName, message string) bool {
	if code != "" && i.Code != code || message != "" && i.Message != message {
		return false
	}
	for _, l := range i.Context.Locations {
		if (itemType == "" || l.ItemType == itemType) && (itemName == "" || l.ItemName == itemName) {
			return true
		}
	}
	return false
}

func TestConformanceValidation(t *testing.T) {
	var cases []struct {
		Test    string
		Rules   []struct{ Name, Content string }
		Asserts []struct {
			Kind, What, Code, Message, Text string
			ItemType                        string `json:"item_type"`
			ItemName                        string `json:"item_name"`
		}
	}
	conformance.Decode(t, "validation_cases.json", &cases)
	for _, c := range cases {
		t.Run(c.Test, func(t *testing.T) {
			var files []rules.File
			for _, r := range c.Rules {
				files = append(files, rules.File{Name: r.Name, Data: []byte(r.Content)})
			}
			set, rep := rules.Load(files, rules.Options{})
			data, err := json.Marshal(rep)
			if err != nil {
				t.Fatal(err)
			}
			var doc falcoDoc
			if err := json.Unmarshal(data, &doc); err != nil {
				t.Fatal(err)
			}
			var errs, warns []falcoItem
			for _, r := range doc.Results {
				errs, warns = append(errs, r.Errors...), append(warns, r.Warnings...)
			}
			for _, a := range c.Asserts {
				switch items := errs; {
				case a.Kind == "NoError" || strings.Contains(a.Text, "0, res.ExitCode()") || strings.HasSuffix(a.Text, "Successful"):
					if set == nil {
						t.Errorf("does not load: %v", rep.Err())
					}
				case a.Kind == "Error" || strings.Contains(a.Text, "1, res.ExitCode()"):
					if set != nil {
						t.Error("loads")
					}
				case strings.HasPrefix(a.Text, "1, res.RuleValidation().AllErrors().Count()"):
					if len(errs) != 1 {
						t.Errorf("%d errors, want 1", len(errs))
					}
				case strings.HasPrefix(a.Text, "warnings.OfItemName("):
					name := strings.TrimSuffix(strings.TrimPrefix(a.Text, `warnings.OfItemName("`), `")`)
					if !slices.ContainsFunc(warns, func(i falcoItem) bool { return i.is("", "", name, "") }) {
						t.Errorf("no warning about %s", name)
					}
				case a.Code == "" && a.Message == "":
					t.Errorf("assertion not understood: %+v", a)
				default:
					if a.What == "warnings" {
						items = warns
					}
					if !slices.ContainsFunc(items, func(i falcoItem) bool { return i.is(a.Code, a.ItemType, a.ItemName, a.Message) }) {
						t.Errorf("no %s with code %s, item %s %q, message %q\nin %+v", a.What, a.Code, a.ItemType, a.ItemName, a.Message, items)
					}
				}
			}
		})
	}
}

func TestConformanceK8sAudit(t *testing.T) {
	var cases []struct {
		Test          string
		Rules, Traces []string
		Asserts       []struct {
			Kind, What, Rule, Priority, Text string
			Count                            int
		}
	}
	conformance.Decode(t, "k8saudit/cases.json", &cases)
	for _, c := range cases {
		t.Run(c.Test, func(t *testing.T) {
			var files []rules.File
			for _, name := range c.Rules {
				path := "k8saudit/rules/" + name
				if name == "k8s_audit_rules.yaml" {
					path = "rules/" + name
				}
				files = append(files, rules.File{Name: name, Data: conformance.Read(t, path)})
			}
			set, rep := rules.Load(files, rules.Options{})
			if set == nil {
				t.Fatal(rep.Err())
			}
			byRule, byPriority, total := map[string]int{}, map[string]int{}, 0
			m := set.NewMatcher()
			for _, name := range c.Traces {
				events, rejected, err := k8saudit.Parse(conformance.Read(t, "k8saudit/traces/"+name))
				if err != nil || len(rejected) > 0 {
					t.Fatal(err, rejected)
				}
				for _, e := range events {
					for _, r := range m.Match(e, nil) {
						byRule[r.Name]++
						byPriority[strings.ToUpper(m.Alert(r, e).Priority.String())]++
						total++
					}
				}
			}
			for _, a := range c.Asserts {
				n := total
				switch {
				case a.Rule != "":
					n = byRule[a.Rule]
				case strings.HasPrefix(a.Priority, "INFO"):
					n = byPriority["INFORMATIONAL"]
				case a.Priority != "":
					n = byPriority[a.Priority]
				case a.What != "detections":
					continue
				}
				if a.Kind == "NotZero" && n == 0 || a.Kind == "Zero" && n != 0 || a.Kind == "Equal" && n != a.Count {
					t.Errorf("%s: %d, by rule %v", a.Text, n, byRule)
				}
			}
		})
	}
}

// Falco's tests of rule selection, in the words of the configuration: there a part of a name is *part*.
func TestConformanceEnable(t *testing.T) {
	var cases []struct {
		Test  string
		Rules map[string]string
	}
	conformance.Decode(t, "rule_loader_cases.json", &cases)
	ran := 0
	for _, c := range cases {
		text, ok := c.Rules["single_rule"]
		if !ok {
			continue
		}
		ran++
		for _, tt := range []struct {
			name string
			sel  []rules.Selection
			want int
		}{
			{"as written", nil, 1},
			{"none", []rules.Selection{{Disable: &rules.Selector{Rule: "*"}}}, 0},
			{"part of a name", []rules.Selection{{Disable: &rules.Selector{Rule: "*"}}, {Enable: &rules.Selector{Rule: "*test*"}}}, 1},
			{"exact name", []rules.Selection{{Disable: &rules.Selector{Rule: "*"}}, {Enable: &rules.Selector{Rule: "test rule"}}}, 1},
			{"no exact name", []rules.Selection{{Disable: &rules.Selector{Rule: "*"}}, {Enable: &rules.Selector{Rule: "test"}}}, 0},
			{"all", []rules.Selection{{Enable: &rules.Selector{Rule: "*"}}}, 2},
			{"tag", []rules.Selection{{Enable: &rules.Selector{Tag: "exec process"}}}, 2},
			{"tag off", []rules.Selection{{Enable: &rules.Selector{Rule: "*"}}, {Disable: &rules.Selector{Tag: "process"}}}, 1},
		} {
			t.Run(c.Test+"/"+tt.name, func(t *testing.T) {
				set, rep := rules.Load([]rules.File{{Name: "single_rule.yaml", Data: []byte(text)}}, rules.Options{Select: tt.sel})
				if set == nil {
					t.Fatal(rep.Err())
				}
				n := 0
				for _, r := range set.Rules() {
					if r.Enabled {
						n++
					}
				}
				if n != tt.want {
					t.Errorf("%d rules enabled, want %d", n, tt.want)
				}
			})
		}
	}
	if ran == 0 {
		t.Error("no case was run")
	}
}
