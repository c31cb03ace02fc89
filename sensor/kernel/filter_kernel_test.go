//go:build kernel

package kernel

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/tiercel-project/tiercel/rules"
	"github.com/tiercel-project/tiercel/rules/field"
	rulefilter "github.com/tiercel-project/tiercel/rules/filter"
	"github.com/tiercel-project/tiercel/rules/match"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/filter"
)

// stockRules compiles Falco's own rules files, with all also those that are disabled.
func stockRules(t testing.TB, all bool, names ...string) []*match.Program {
	t.Helper()
	dir := os.Getenv("TIERCEL_CONFORMANCE")
	if dir == "" {
		t.Skip("TIERCEL_CONFORMANCE names no folder: Falco's rules are not there")
	}
	var paths []string
	for _, n := range names {
		paths = append(paths, filepath.Join(dir, "rules", n))
	}
	files, err := rules.ReadFiles(paths)
	if err != nil {
		t.Fatal(err)
	}
	set, report := rules.Load(files, rules.Options{})
	if set == nil {
		t.Fatal(report.Err())
	}
	var programs []*match.Program
	for _, r := range set.Rules() {
		if r.Source == "syscall" && (r.Enabled || all) {
			programs = append(programs, r.Program())
		}
	}
	return programs
}

func stable(t testing.TB) []*match.Program { return stockRules(t, false, "falco_rules.yaml") }

func everyStock(t testing.TB) []*match.Program {
	return stockRules(t, true, "falco_rules.yaml", "falco-incubating_rules.yaml", "falco-sandbox_rules.yaml")
}

// compilePlan makes a plan of conditions.
func compilePlan(t testing.TB, opts filter.Options, conditions ...string) *filter.Plan {
	t.Helper()
	var programs []*match.Program
	for _, c := range conditions {
		e, err := rulefilter.Parse(c)
		if err != nil {
			t.Fatalf("%s: %v", c, err)
		}
		p, _, merr := match.Compile(e, match.Env{Source: "syscall"})
		if merr != nil {
			t.Fatalf("%s: %v", c, merr)
		}
		programs = append(programs, p)
	}
	return filter.Compile(programs, 1, opts)
}

// The kernel takes the filters of all stock rules.
func TestStockFiltersLoad(t *testing.T) {
	s, err := Open(backend())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, programs := range map[string][]*match.Program{"stable": stable(t), "all": everyStock(t)} {
		p := filter.Compile(programs, 1, filter.Options{})
		if err := s.Use(p, p); err != nil {
			t.Fatal(err)
		}
		for typ, err := range s.filter.refused {
			t.Errorf("%s: %s: %v", name, typ, err)
		}
		if len(s.filter.programs) == 0 {
			t.Errorf("%s: no filter at all", name)
		}
	}
}

func init() {
	// opens DIR: a read, a write that makes a file, an open that fails, a directory, and a read through a symbolic link.
	addChild("opens", func(args []string) error {
		dir := args[0]
		for _, call := range []struct {
			name  string
			flags int
		}{
			{dir + "/read", unix.O_RDONLY},
			{dir + "/new", unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC},
			{dir + "/none", unix.O_RDONLY},
			{dir + "/sub", unix.O_RDONLY | unix.O_DIRECTORY},
			{dir + "/link", unix.O_RDONLY},
			{"sub/./../read", unix.O_RDONLY},
		} {
			if err := os.Chdir(dir); err != nil {
				return err
			}
			if fd, err := unix.Openat(unix.AT_FDCWD, call.name, call.flags, 0o755); err == nil {
				_ = unix.Close(fd)
			}
		}
		return nil
	})
}

// Each comparison that the kernel makes lets out what it holds for and drops what it does not, and the other way round when negated. What
// it cannot tell leaves either way.
func TestFilterComparisons(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{
		os.WriteFile(dir+"/read", nil, 0o600), os.Mkdir(dir+"/sub", 0o755), os.Symlink("read", dir+"/link"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const all = "rwndlu" // read, write, none, directory, link, unclean
	names := map[string]string{
		dir + "/read": "r", dir + "/new": "w", dir + "/none": "n", dir + "/sub": "d", dir + "/link": "l", "sub/./../read": "u",
	}
	w := start(t, func(ev *event.Event) bool { return names[ev.Open.Path.Raw] != "" })
	for _, tt := range []struct{ condition, yes, no string }{ // what leaves under the condition, and under its negation
		{"evt.is_open_read = true", "rndlu", "w"},
		{"evt.is_open_write = true", "w", "rndlu"},
		{"evt.is_open_exec = true", "w", "rndlu"},
		{"evt.is_open_create = true", "w", "rndlu"},
		{"evt.failed = true", "n", "rwdlu"},
		{"evt.res = ENOENT", "n", "rwdlu"},
		{"evt.res != ENOENT", "rwdlu", "n"},
		{"evt.res in (SUCCESS, EACCES)", "rwdlu", "n"},
		{"evt.rawres < 0", "n", "rwdlu"},
		{"fd.num = -1", "n", "rwdlu"},
		{"fd.num in (-1, 77)", "n", "rwdlu"},
		{"fd.typechar = d", "d", "rwnlu"},
		{"fd.type = file", "rwlu", "nd"}, // null where there is no descriptor
		{"fd.type != file", "d", "rwnlu"},
		{"evt.arg.flags contains O_TRUNC", "w", all},
		{"evt.rawarg.mode = 493", all, all}, // an open's mode is not compared
		{"user.uid = " + strconv.Itoa(os.Getuid()), all, ""},
		{"user.uid > 4000000000", "", all},
		{"proc.name = kernel.test", all, ""},
		{"proc.name != kernel.test", "", all},
		{"proc.name in (a, kernel.test)", all, ""},
		{"proc.pname = x", all, all},
		{"fd.name = " + dir + "/read", "rlu", "wndl" + "u"}, // both forms are tried: the link's is another as passed; an unclean one is not known
		{"fd.name in (" + dir + "/new, /x)", "wu", "rndlu"},
		{"fd.name != " + dir + "/new", "rndlu", "wu"},
		{"fd.name startswith " + dir + "/", "rwndlu", "u"},
		{"fd.name startswith /etc/", "u", all},
		{"fd.name startswith " + dir + "/read", "rlu", "wndlu"}, // as long as the path
		{"fd.name endswith /none", "nu", "rwdlu"},
		{"fd.name endswith /rea", "u", all},
		{"fd.name pmatch (" + dir + ")", all, "u"},
		{"fd.name pmatch (" + dir + "/su)", "u", all},
		{"fd.name pmatch (" + dir + "/sub)", "du", "rwnlu"},
		{"fd.name glob " + dir + "/n*", "wnu", all},
		{"fd.name contains zz", "u", all},
		{"fd.directory = " + dir, "rwnlu", "du"},
		{"fd.directory = " + dir + "/sub", "du", "rwnlu"},
		{"fd.filename = new", "wu", "rndlu"}, // null of a directory and of what is not there
		{"fd.filename in (read, link)", "rlu", "wndu"},
		{"fd.nameraw contains ../", "u", all},
		{"fd.nameraw icontains ../", "u", all},
		{"fd.name in " + listed(200, dir+"/read", func(i int) string { return fmt.Sprintf("/x/%d", i) }), "rlu", "wndlu"},
		{"fd.name pmatch " + listed(200, dir+"/sub", func(i int) string { return fmt.Sprintf("%s/su%d", dir, i) }), "du", "rwnlu"},
		{"fd.directory in " + listed(200, dir, func(i int) string { return fmt.Sprintf("/x/%d", i) }), "rwnlu", "du"},
		{"fd.name icontains ZZ", "u", all},
		{"fd.name icontains /SuB", "du", all},
		{"fd.name regex " + dir + "/n.*", "wnu", all},
		{"proc.name startswith kernel", all, ""},
		{"proc.name startswith x", "", all},
		{"proc.name contains nel.t", all, all},
		{"proc.name contains zz", "", all},
		{"container.id = host", "?", "?"},
	} {
		for i, want := range []string{tt.yes, tt.no} {
			condition := tt.condition
			if i == 1 {
				condition = "not " + condition
			}
			p := compilePlan(t, filter.Options{Shadow: true}, "evt.type = openat and "+condition)
			if !p.Types.Has(field.EventOpenat) {
				t.Errorf("%s: no event at all", condition)
				continue
			}
			if err := w.Use(p, p); err != nil {
				t.Fatal(err)
			}
			got := ""
			_ = os.Remove(dir + "/new")
			for _, ev := range w.collect(t, run(t, child(t, "opens", dir))) {
				if ev.Flags&event.Dropped == 0 {
					got += names[ev.Open.Path.Raw]
				}
			}
			if want != "?" && sorted(got) != sorted(want) {
				t.Errorf("%s: %q leave, want %q", condition, got, want)
			}
		}
	}
}

func sorted(s string) string {
	b := []byte(s)
	slices.Sort(b)
	return string(slices.Compact(b))
}

// A dropping is a condition that no open of deepFile meets, and where that is decided.
type dropping struct {
	condition string
	stage     filter.Stage
}

func droppings(t testing.TB) []dropping {
	t.Helper()
	told := filter.StagePath
	if climbs(t) {
		told = filter.StageSketch
	}
	return []dropping{
		{"fd.num > 1000000", filter.StageCall},
		{"proc.name = nobody", filter.StageTask},
		{"fd.name endswith y/ore_id", filter.StagePath},
		{"fd.name = /nowhere/at/all", told},
	}
}

// dropMany has deepFile opened so many times under a filter that drops that. It returns those opens that left the kernel all the same, and what was
// counted meanwhile, opens of other processes too.
func (w *watch) dropMany(t testing.TB, d dropping, calls int) (events []*event.Event, counted FilterStats) {
	t.Helper()
	p := compilePlan(t, filter.Options{}, "evt.type = openat and "+d.condition)
	if err := w.Use(p, p); err != nil {
		t.Fatal(err)
	}
	before := openatStats(t, w.Sensor)
	events = w.collect(t, run(t, child(t, "opens many", deepFile, strconv.Itoa(calls))))
	counted = openatStats(t, w.Sensor)
	counted.Sampled -= before.Sampled
	for i := range counted.Dropped {
		counted.Dropped[i] -= before.Dropped[i]
	}
	return events, counted
}

func startDropped(t testing.TB) *watch {
	t.Helper()
	return start(t, func(ev *event.Event) bool { return ev.Type == field.EventOpenat && ev.Open.Path.Raw == deepFile }, field.EventOpenat)
}

// What the filter drops does not leave the kernel, and is counted where it was decided; the first of each CPU is let out to be checked.
func TestFilterDrops(t *testing.T) {
	const calls = 3000
	w := startDropped(t)
	for _, d := range droppings(t) {
		events, counted := w.dropMany(t, d, calls)
		if n := counted.Dropped[d.stage]; n < calls {
			t.Errorf("%s: %d dropped by %s, want %d or more", d.condition, n, d.stage, calls)
		}
		if len(events) > int(counted.Sampled) || counted.Sampled > 20 {
			t.Errorf("%s: %d left the kernel, %d to be checked", d.condition, len(events), counted.Sampled)
		}
	}
}

// Of what the filter drops, about one in filter.SampleEvery is let out to be checked, wherever it is decided. Which ones is left to chance: the
// bounds for those of this test are some five standard deviations from what is expected. What is counted has a bound that holds in any case.
func TestFilterSamples(t *testing.T) {
	calls := rounds(250_000)
	expected := calls / filter.SampleEvery
	least, most := expected/4-1, 2*expected+10
	w := startDropped(t)
	for _, d := range droppings(t) {
		events, counted := w.dropMany(t, d, calls)
		if n := len(events); n < least || n > most {
			t.Errorf("%s: of %d opens %d left to be checked, want %d to %d", d.condition, calls, n, least, most)
		}
		for _, ev := range events {
			if ev.Flags&event.Dropped == 0 {
				t.Errorf("%s: an event does not say that it was dropped: %+v", d.condition, ev)
				break
			}
		}
		var dropped uint64
		for _, n := range counted.Dropped {
			dropped += n
		}
		// Each CPU counts for itself, and up to twice SampleEvery.
		if sure := int(dropped/(2*filter.SampleEvery)) - 2*ebpf.MustPossibleCPU(); int(counted.Sampled) < sure {
			t.Errorf("%s: of %d drops %d were counted as let out, want %d at least", d.condition, dropped, counted.Sampled, sure)
		}
	}
}

func openatStats(t testing.TB, s *Sensor) FilterStats {
	t.Helper()
	all, err := s.FilterStats()
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range all {
		if st.Type == field.EventOpenat {
			return st
		}
	}
	t.Fatal("no filter for openat")
	return FilterStats{}
}

func init() {
	// opens many FILE N: opens and closes a file N times.
	addChild("opens many", func(args []string) error {
		n, err := strconv.Atoi(args[1])
		for range n {
			openClose(args[0])
		}
		return err
	})
}
