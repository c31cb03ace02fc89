//go:build e2e

package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/samples/scenarios"
	"github.com/tiercel-project/tiercel/test/kubetest"
)

var (
	update = flag.Bool("update", false, "write docs/coverage.md and docs/bypasses.md anew")
	only   = flag.String("scenario", "", "play only scenarios whose rule, event or title contains this; the docs are not looked at")
)

// endRule matches what the actor does last. The kernel's clock orders it behind everything the scenario did.
const endRule = "Scenario over"

const endRules = `
- rule: Scenario over
  desc: The actor has made its last call.
  condition: evt.type=memfd_create and evt.arg.name=scenario-over
  output: over
  priority: NOTICE
`

// A match is an alert that a scenario caused.
type match struct {
	Rule   string         `json:"rule"`
	Fields map[string]any `json:"output_fields"`
}

// A watcher is a sensor with rules under test. It collects alerts by the mark of the scenario whose process caused them.
type watcher struct {
	t    testing.TB
	p    *process
	mu   sync.Mutex
	seen map[string][]match   // guarded by mu
	over map[string]chan bool // closed at the end of a scenario; guarded by mu
}

// watch starts a sensor with all rules of the files enabled.
func (th *theatre) watch(files ...string) *watcher {
	t := th.t
	t.Helper()
	dir := t.TempDir()
	end, hosts, config := filepath.Join(dir, "end.yaml"), filepath.Join(dir, "hosts"), filepath.Join(dir, "config.yaml")
	writeFile(t, end, endRules)
	writeFile(t, hosts, scenarioHosts)
	writeFile(t, config, fmt.Sprintf(`
ruleMatching: all
ruleSelection: [{enable: {rule: "*"}}]
appendOutput: [{extra_fields: [%s]}]
runtimeSockets: ["docker:%s"]
identityTimeout: 10s # a machine that is busy answers late who a container is
throttle: {rate: 0, burst: 1} # every match counts
processRingBytes: 16Mi # a bomb of 10,000 processes, while others play and this sensor waits for a processor
`, strings.Join(append([]string{`{scenario: "%proc.env[SCENARIO_ID]"}`}, quoted(th.fields)...), ", "), th.docker.socket))
	args := []string{"run", "--config", config, "--data", t.TempDir(), "--http", "", "--node", "e2e", "--output", "json", "--rules", end}
	for _, f := range files {
		args = append(args, "--rules", f)
	}
	// A mount namespace of its own, in which rules' domain names have addresses.
	cmd := exec.Command("sh", append([]string{"-c", `mount --bind "$0" /etc/hosts && exec "$@"`, hosts, binary}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Unshareflags: syscall.CLONE_NEWNS}
	w := &watcher{t: t, p: startCommand(t, "tiercel run", cmd), seen: map[string][]match{}, over: map[string]chan bool{}}
	w.p.stderr.waitFor(t, 2*time.Minute, `msg="watching the kernel"`)
	go w.collect()
	return w
}

func quoted(list []string) []string {
	q := make([]string, len(list))
	for i, s := range list {
		q[i] = strconv.Quote(s)
	}
	return q
}

func (w *watcher) collect() {
	for n := 0; ; {
		lines, more := w.p.stdout.after(n)
		n += len(lines)
		for _, l := range lines {
			var m match
			if json.Unmarshal([]byte(l), &m) != nil {
				continue
			}
			if mark, _ := m.Fields["scenario"].(string); strings.HasPrefix(mark, ownMarks) {
				w.add(mark, m)
			}
		}
		if more == nil {
			return
		}
		<-more
	}
}

func (w *watcher) end(mark string) chan bool {
	if w.over[mark] == nil {
		w.over[mark] = make(chan bool)
	}
	return w.over[mark]
}

func (w *watcher) add(mark string, m match) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.Rule == endRule {
		select {
		case <-w.end(mark): // a mark that has been played twice
		default:
			close(w.end(mark))
		}
		return
	}
	w.seen[mark] = append(w.seen[mark], m)
}

// matches waits for the end of the scenario and returns what matched.
func (w *watcher) matches(mark string) ([]match, error) {
	w.mu.Lock()
	over := w.end(mark)
	w.mu.Unlock()
	select {
	case <-over:
	case <-time.After(2 * time.Minute):
		return nil, fmt.Errorf("after 2m the sensor has not seen the end of the scenario")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[mark], nil
}

// A played is what came of an act.
type played struct {
	output  string
	matches []match
	err     error
}

func (p *played) fired(rule string) bool {
	return slices.ContainsFunc(p.matches, func(m match) bool { return m.Rule == rule })
}

func (p *played) rules() []string {
	var names []string
	for _, m := range p.matches {
		names = append(names, m.Rule)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ownMarks is how the marks of this process begin: the sensor sees others' scenarios too.
var ownMarks = fmt.Sprintf("%d-", os.Getpid())

// mark returns a new mark.
func (th *theatre) mark() string { return ownMarks + strconv.FormatInt(int64(th.acts.Add(1)), 10) }

func (th *theatre) perform(w *watcher, act *scenarios.Act, mark, program string) *played {
	p := &played{}
	if p.output, p.err = th.play(act, mark, program); p.err != nil {
		return p
	}
	p.matches, p.err = w.matches(mark)
	return p
}

// performers is how many scenarios run at once.
const performers = 4

// stockTables are the tables of scenarios, and the rules they are about.
var stockTables = []struct{ table, rules, title string }{
	{"stable.yaml", "falco_rules.yaml", "Falco's stable rules"},
	{"incubating.yaml", "falco-incubating_rules.yaml", "Falco's incubating rules"},
	{"sandbox.yaml", "falco-sandbox_rules.yaml", "Falco's sandbox rules"},
}

// Every stock rule fires at what it is about, and is silent at a near miss.
func TestStockRules(t *testing.T) {
	conformance := os.Getenv("TIERCEL_CONFORMANCE")
	if conformance == "" {
		t.Skip("TIERCEL_CONFORMANCE names no folder: Falco's rules are not there")
	}
	var files []string
	for _, s := range stockTables {
		files = append(files, filepath.Join(conformance, "rules", s.rules))
	}
	th := newTheatre(t)
	w := th.watch(append(files, filepath.Join(kubetest.Root(), "samples", "scenarios", "tuning.yaml"))...)
	th.open()
	for i, s := range stockTables {
		list := load(t, s.table)
		section := th.testRules(t, w, list, rulesOf(t, files[i]))
		document(t, "coverage.md", s.title, section)
	}
}

func load(t testing.TB, table string) []scenarios.Scenario {
	t.Helper()
	list, err := scenarios.Load(table)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(list, func(s scenarios.Scenario) bool {
		return *only != "" && !strings.Contains(s.Rule+s.Event+s.Bypass, *only)
	})
}

// rulesOf returns the names of the rules of a file.
func rulesOf(t testing.TB, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(line, "- rule: "); ok {
			names = append(names, strings.Trim(strings.TrimSpace(name), `"'`))
		}
	}
	return names
}

// testRules plays the scenarios, holds each against its rule, and returns them as a table.
func (th *theatre) testRules(t *testing.T, w *watcher, list []scenarios.Scenario, all []string) string {
	did, near := make([]*played, len(list)), make([]*played, len(list))
	slots := make(chan bool, performers)
	var wg sync.WaitGroup
	for i := range list {
		if list[i].Why != "" {
			continue
		}
		slots <- true
		wg.Go(func() {
			defer func() { <-slots }()
			did[i] = th.perform(w, &list[i].Act, th.mark(), "actor")
			near[i] = th.perform(w, list[i].Near, th.mark(), "actor")
		})
	}
	wg.Wait()
	var b strings.Builder
	b.WriteString("| rule | fires | near miss, silent |\n|---|---|---|\n")
	covered := map[string]bool{}
	for i, s := range list {
		covered[s.Rule] = true
		if s.Why != "" {
			fmt.Fprintf(&b, "| %s | not here: %s | |\n", s.Rule, cell(s.Why))
			continue
		}
		t.Run(s.Rule, func(t *testing.T) {
			if p := did[i]; p.err != nil {
				t.Errorf("%s\n%v\n%s", &s.Act, p.err, p.output)
			} else if !p.fired(s.Rule) {
				t.Errorf("%s\nthe rule is silent; there fired %q", &s.Act, p.rules())
			}
			if p := near[i]; p.err != nil {
				t.Errorf("near miss: %s\n%v\n%s", s.Near, p.err, p.output)
			} else if p.fired(s.Rule) {
				t.Errorf("near miss: %s\nthe rule fires: %v", s.Near, p.matches)
			}
		})
		fmt.Fprintf(&b, "| %s | `%s` | `%s` |\n", s.Rule, cell(s.Act.String()), cell(s.Near.String()))
	}
	for _, name := range all {
		if !covered[name] && *only == "" {
			t.Errorf("rule %q has no scenario", name)
		}
	}
	return b.String()
}

func cell(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, "|", `\|`), "\n", "; ") }

// document holds a generated section of a file in docs against what it has to be, or writes it.
func document(t *testing.T, name, title, section string) {
	t.Helper()
	if *only != "" {
		return
	}
	file := filepath.Join(kubetest.Root(), "docs", name)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head := "## " + title + "\n"
	before, rest, ok := strings.Cut(string(data), head)
	if !ok {
		t.Fatalf("%s has no section %q", file, title)
	}
	_, after, more := strings.Cut(rest, "\n## ")
	if more {
		after = "\n## " + after
	}
	intro, _, _ := strings.Cut(rest, "\n|")
	want := before + head + intro + "\n" + section + after
	switch {
	case want == string(data):
	case *update && !t.Failed():
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	case *update:
		t.Errorf("%s is not written: the test has failed", file)
	default:
		t.Errorf("docs/%s, section %q is not what this test makes of the scenarios: run go test -tags e2e -run %s ./test/e2e -update", name, title, t.Name())
	}
}
