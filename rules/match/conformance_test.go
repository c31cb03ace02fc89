package match_test

import (
	"fmt"
	"testing"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/rules/filter"
	"github.com/tiercel-project/tiercel/rules/internal/conformance"
	"github.com/tiercel-project/tiercel/rules/match"
)

func compile(text string) (*match.Program, []match.Warning, error) {
	e, err := filter.Parse(text)
	if err != nil {
		return nil, nil, err
	}
	return match.Compile(e, match.Env{})
}

func TestConformanceCompile(t *testing.T) {
	var cases []struct {
		Expr     string
		Valid    bool
		Layer    string
		Mock     bool `json:"mock_fields"`
		Warnings *int `json:"expected_warnings"`
		Error    string
		Source   string
	}
	conformance.Decode(t, "filter_cases.json", &cases)
	for i, c := range cases {
		if c.Layer != "compile" || c.Mock && !realFields(c.Expr) {
			continue
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			_, warnings, err := compile(c.Expr)
			if (err == nil) != c.Valid {
				t.Errorf("%s (%s): got %v, want valid %v", c.Expr, c.Source, err, c.Valid)
			}
			if c.Error != "" && (err == nil || !hasSuffix(err.Error(), c.Error)) {
				t.Errorf("%s: got %v, want %s", c.Expr, err, c.Error)
			}
			if err == nil && c.Warnings != nil && len(warnings) != *c.Warnings {
				t.Errorf("%s: got warnings %v, want %d", c.Expr, warnings, *c.Warnings)
			}
		})
	}
}

func hasSuffix(s, suffix string) bool {
	return len(s) >= len(suffix) && s[len(s)-len(suffix):] == suffix
}

// realFields reports whether all fields of a condition are in the registry, although the case says that some exist in its test only.
func realFields(text string) bool {
	e, err := filter.Parse(text)
	if err != nil {
		return false
	}
	real := true
	filter.Fields(e, func(f *filter.Field) { real = real && field.Known(f.Name, f.Arg, f.HasArg) })
	return real
}

func TestConformanceEventTypes(t *testing.T) {
	var cases []struct {
		Expr   string
		Set    string
		SameAs string `json:"same_as"`
		Throws bool
	}
	conformance.Decode(t, "filter_evtcode_cases.json", &cases)
	openat, openatClose := field.NewEventSet(field.EventOpenat), field.NewEventSet(field.EventOpenat, field.EventClose)
	sets := map[string]field.EventSet{
		"openat_only": openat, "not_openat": openat.Complement(), "openat_close_only": openatClose, "not_openat_close": openatClose.Complement(),
		"close_only": field.NewEventSet(field.EventClose), "not_close": field.NewEventSet(field.EventClose).Complement(),
		"all_events": field.AllEvents(), "no_events": {},
	}
	types := func(t *testing.T, text string) (field.EventSet, error) {
		e, err := filter.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return match.EventTypes(e)
	}
	for i, c := range cases {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			got, err := types(t, c.Expr)
			if (err != nil) != c.Throws {
				t.Fatalf("%s: got error %v, want one: %v", c.Expr, err, c.Throws)
			}
			if c.SameAs == "" && c.Set == "" {
				return // only whether there is an error
			}
			var want field.EventSet
			if c.SameAs != "" {
				want, _ = types(t, c.SameAs)
			} else if want = sets[c.Set]; want.Empty() && c.Set != "no_events" {
				t.Fatalf("unknown set %q", c.Set)
			}
			if got != want {
				t.Errorf("%s: got %d types, want %d", c.Expr, got.Len(), want.Len())
			}
		})
	}
}

// made are evaluation cases that are not run, and why.
var made = map[string]string{
	`sample.is_open exists and sample.is_open = 0`: "a field of a plugin that Falco makes for its test",
}

// given are values that the original's event has and the case does not list.
var given = map[string]map[string]any{
	`evt.arg.flags contains O_CREAT`:        {"evt.arg.flags": "O_CREAT|O_RDWR"},
	`evt.arg.flags icontains O_CREAT`:       {"evt.arg.flags": "O_CREAT|O_RDWR"},
	`fd.num < 0`:                            {"fd.num": -1},
	`len(fd.types) = 1`:                     {"fd.types": []string{"file"}},
	`len(fd.types) > 0`:                     {"fd.types": []string{"file"}},
	`join(",", (evt.num, evt.num)) = "1,1"`: {"evt.num": 1},
}

func TestConformanceEval(t *testing.T) {
	var cases []struct {
		Expr     string
		Expected any // true, false, "throw": it is refused, "no_throw": it compiles
		Fields   map[string]any
		Source   string
	}
	conformance.Decode(t, "filter_eval_cases.json", &cases)
	for i, c := range cases {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			if why := made[c.Expr]; why != "" {
				t.Logf("%s (%s): %s", c.Expr, c.Source, why)
				return
			}
			p, _, err := compile(c.Expr)
			if (err != nil) != (c.Expected == "throw") {
				t.Fatalf("%s (%s): got %v, want %v", c.Expr, c.Source, err, c.Expected)
			}
			want, evaluate := c.Expected.(bool)
			if !evaluate {
				return
			}
			for name, value := range given[c.Expr] {
				c.Fields[name] = value
			}
			checkMatch(t, p, newEvent(c.Fields), want)
		})
	}
}

// checkMatch runs p alone and in an index, and checks that both match or not as they should.
func checkMatch(t *testing.T, p *match.Program, ev *event, want bool) {
	t.Helper()
	text := filter.Print(p.Expr())
	if got := p.Match(ev); got != want {
		t.Errorf("%s: got %v, want %v", text, got, want)
	}
	if got := p.Explain(ev).Result; got != want {
		t.Errorf("%s: explained %v, want %v", text, got, want)
	}
	m := match.NewIndex([]*match.Program{p}, false).NewMatcher()
	if got := len(m.Match(ev, nil)) > 0; got != want {
		t.Errorf("%s: in an index: got %v, want %v", text, got, want)
	}
}
