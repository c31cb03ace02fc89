//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tiercel-project/tiercel/samples/scenarios"
)

// eventRules is a rule for each event type of the scenarios, which shows the fields that they want, and one for each scenario, which asks for
// them all.
func eventRules(list []scenarios.Scenario) string {
	fields := map[string]map[string]bool{}
	for _, s := range list {
		if fields[s.Event] == nil {
			fields[s.Event] = map[string]bool{}
		}
		for f := range s.Want {
			fields[s.Event][f] = true
		}
	}
	var b strings.Builder
	rule := func(name, condition, output string) {
		fmt.Fprintf(&b, "- rule: %s\n  desc: d\n  condition: %s\n  output: %q\n  priority: DEBUG\n", name, condition, output)
	}
	for _, event := range sorted(fields) {
		rule("Event "+event, "evt.type="+event+" and proc.env[SCENARIO_ID] exists", "%"+strings.Join(sorted(fields[event]), " %"))
	}
	for i, s := range list {
		rule(exactRule(i, s.Event), exactly(&s), "%evt.type")
	}
	return b.String()
}

// exactRule is the name of the rule that asks for all that scenario i wants.
func exactRule(i int, event string) string { return fmt.Sprintf("Exactly %s %d", event, i) }

// exactly is the condition of that rule. Where the actor's own file is depends on the program.
func exactly(s *scenarios.Scenario) string {
	all := []string{"evt.type=" + s.Event}
	for _, f := range sorted(s.Want) {
		if !strings.Contains(s.Want[f], "/scenario/actor") {
			all = append(all, f+`="`+s.Want[f]+`"`)
		}
	}
	return "'" + strings.Join(append(all, "proc.env[SCENARIO_ID] exists"), " and ") + "'"
}

// step finds a script's steps of one name.
func step(name string) *regexp.Regexp {
	return regexp.MustCompile(`((?:^|;) *(?:[a-z]=)?\??)` + name + `( |;|$)`)
}

// otherwise returns the script with the call made another way, and the program that does so.
func otherwise(s *scenarios.Scenario, by string) (do, program string) {
	switch by {
	case "int80":
		return step(s.Event).ReplaceAllString(s.Act.Do, "${1}int80 "+s.Event+"$2"), "actor"
	case "uring":
		return "ring; " + step(s.Event).ReplaceAllString(s.Act.Do, "${1}uring "+s.Event+"$2"), "actor"
	case "ia32":
		return s.Act.Do, "actor32/actor"
	}
	return s.Act.Do, "actor"
}

// An event of each type has the arguments and fields of what was done, whichever way the call came into the kernel.
func TestEventTypes(t *testing.T) {
	list := load(t, "events.yaml")
	th := newTheatre(t)
	rules := filepath.Join(t.TempDir(), "events.yaml")
	writeFile(t, rules, eventRules(list))
	w := th.watch(rules)
	th.open()

	type show struct {
		scenario *scenarios.Scenario
		exact    string // the scenario's rule
		by       string
		act      scenarios.Act
		program  string
		got      *played
		near     *played // of the first way only
	}
	var shows []*show
	for i := range list {
		for _, by := range append([]string{""}, list[i].By...) {
			if !ia32 && (by == "int80" || by == "ia32") {
				continue
			}
			sh := &show{scenario: &list[i], exact: exactRule(i, list[i].Event), by: by, act: list[i].Act}
			if sh.act.Do, sh.program = otherwise(&list[i], by); by != "" && by != "ia32" && !strings.Contains(sh.act.Do, by+" ") {
				t.Fatalf("%s by %s: the script has no step of that name: %s", sh.scenario.Event, by, sh.act.Do)
			}
			shows = append(shows, sh)
		}
	}
	slots := make(chan bool, performers)
	var wg sync.WaitGroup
	byScenario := map[*scenarios.Scenario]*sync.Mutex{} // ways of one scenario use the same files and ports
	for i := range list {
		byScenario[&list[i]] = &sync.Mutex{}
	}
	for _, s := range shows {
		slots <- true
		wg.Go(func() {
			defer func() { <-slots }()
			byScenario[s.scenario].Lock()
			defer byScenario[s.scenario].Unlock()
			s.got = th.perform(w, &s.act, th.mark(), s.program)
			if s.by == "" {
				s.near = th.perform(w, s.scenario.Near, th.mark(), s.program)
			}
		})
	}
	wg.Wait()
	for _, s := range shows {
		t.Run(s.scenario.Event+"/"+s.by, func(t *testing.T) {
			checkEvent(t, s.scenario, &s.act, s.program, s.got)
			if s.got.err == nil && !s.got.fired(s.exact) {
				t.Errorf("%s\n%q is silent: %s", &s.act, s.exact, exactly(s.scenario))
			}
			if n := s.near; n != nil && n.err != nil {
				t.Errorf("near miss: %s\n%v\n%s", s.scenario.Near, n.err, n.output)
			} else if n != nil && n.fired(s.exact) {
				t.Errorf("near miss: %s\n%q fires: %s", s.scenario.Near, s.exact, exactly(s.scenario))
			}
		})
	}
	document(t, "coverage.md", "Event types", eventTable(list))
}

func checkEvent(t *testing.T, s *scenarios.Scenario, act *scenarios.Act, program string, p *played) {
	if p.err != nil {
		t.Fatalf("%s\n%v\n%s", act, p.err, p.output)
	}
	var diffs []string
	want := maps.Clone(s.Want)
	for f, v := range want { // of a 32-bit program
		want[f] = strings.ReplaceAll(v, "/scenario/actor", "/scenario/"+program)
	}
	for _, m := range p.matches {
		if m.Rule != "Event "+s.Event {
			continue
		}
		diff := m.differs(want)
		if len(diff) == 0 {
			return
		}
		diffs = append(diffs, strings.Join(diff, ", "))
	}
	t.Errorf("%s\n%d events:\n%s", act, len(diffs), strings.Join(diffs, "\n"))
}

// differs says in which fields the match is not what is wanted.
func (m *match) differs(want map[string]string) []string {
	var diff []string
	for _, f := range sorted(want) {
		got, ok := m.Fields[f]
		text := fmt.Sprint(got)
		if n, isNumber := got.(float64); isNumber {
			text = fmt.Sprintf("%.0f", n)
		}
		if !ok || text != want[f] {
			diff = append(diff, fmt.Sprintf("%s is %v, want %q", f, got, want[f]))
		}
	}
	return diff
}

func eventTable(list []scenarios.Scenario) string {
	var b strings.Builder
	b.WriteString("| event type | what is done | also by | fields checked | near miss, silent |\n|---|---|---|---|---|\n")
	for _, s := range list {
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | `%s` |\n", s.Event, cell(s.Act.Do), strings.Join(s.By, ", "), fieldList(s.Want), cell(nearOf(&s)))
	}
	return b.String()
}

// nearOf is what is different in the near miss: the script, or where it is played.
func nearOf(s *scenarios.Scenario) string {
	if s.Near.Do != s.Act.Do {
		return s.Near.Do
	}
	return s.Near.String()
}

func fieldList(want map[string]string) string {
	var fields []string
	for _, f := range sorted(want) {
		fields = append(fields, "`"+cell(f+"="+want[f])+"`")
	}
	return strings.Join(fields, " ")
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
