//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tiercel-project/tiercel/samples/scenarios"
	"github.com/tiercel-project/tiercel/test/kubetest"
)

// Who does not want to be seen is seen, by the rules that come with Tiercel.
func TestBypasses(t *testing.T) {
	list := load(t, "bypasses.yaml")
	th := newTheatre(t)
	th.fields = wanted(list)
	w := th.watch(filepath.Join(kubetest.Root(), "samples", "rules", "tiercel_rules.yaml"))
	th.open()
	got := make([]*played, len(list))
	slots := make(chan bool, performers)
	var wg sync.WaitGroup
	for i := range list {
		program := "actor"
		if list[i].By != nil {
			if program = "actor32/actor"; !ia32 {
				continue
			}
		}
		slots <- true
		wg.Go(func() {
			defer func() { <-slots }()
			got[i] = th.perform(w, &list[i].Act, th.mark(), program)
		})
	}
	wg.Wait()
	for i := range list {
		if got[i] != nil {
			t.Run(list[i].Bypass, func(t *testing.T) { checkBypass(t, &list[i], got[i]) })
		}
	}
	document(t, "bypasses.md", "Attempts", bypassTable(list))
}

// wanted returns the fields that the scenarios want.
func wanted(list []scenarios.Scenario) []string {
	all := map[string]bool{}
	for _, s := range list {
		for f := range s.Want {
			all[f] = true
		}
	}
	return sorted(all)
}

var hits = regexp.MustCompile(`hits=(\d+)`)

func checkBypass(t *testing.T, s *scenarios.Scenario, p *played) {
	if p.err != nil {
		t.Fatalf("%s\n%v\n%s", &s.Act, p.err, p.output)
	}
	if s.Through {
		if p.fired(s.Rule) {
			t.Errorf("%s\n%q fires: %v; this is no bypass any more", &s.Act, s.Rule, p.matches)
		}
		return
	}
	right, need := 0, max(1, s.Count)
	var diffs []string
	for _, m := range p.matches {
		if m.Rule != s.Rule {
			continue
		}
		if diff := m.differs(s.Want); len(diff) > 0 {
			diffs = append(diffs, strings.Join(diff, ", "))
			continue
		}
		right++
	}
	if m := hits.FindStringSubmatch(p.output); m != nil {
		t.Logf("%s successes, %d matches", m[1], right)
		if n, _ := strconv.Atoi(m[1]); s.Every {
			need = max(1, n)
		}
	}
	if right < need || s.Count > 0 && len(diffs) > 0 {
		t.Errorf("%s\n%d matches of %q are right, want %d; there fired %q; %d are wrong:\n%s", &s.Act, right, s.Rule, need, p.rules(), len(diffs),
			strings.Join(diffs[:min(3, len(diffs))], "\n"))
	}
}

func bypassTable(list []scenarios.Scenario) string {
	var b strings.Builder
	b.WriteString("| attempt | what is done | rule that fires | with | what gets through |\n|---|---|---|---|---|\n")
	for _, s := range list {
		do := s.Act.Do
		if s.By != nil {
			do += " (32-bit)"
		}
		rule, with := s.Rule, fieldList(s.Want)
		if s.Through {
			rule = "none (*" + s.Rule + "* is silent)"
		}
		if s.Count > 0 {
			with += fmt.Sprintf(", %d times", s.Count)
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s |\n", s.Bypass, cell(do), rule, with, cell(s.Open))
	}
	return b.String()
}
