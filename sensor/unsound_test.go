package sensor

import (
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tiercel-project/tiercel/sensor/event"
)

// A match that the kernel filter would have prevented is an alert like any other, is counted, and is logged once with what was compared.
func TestUnsoundMatch(t *testing.T) {
	r := start(t, nil)
	r.src.events <- cgroup(1, "/user.slice")
	for range 3 {
		ev := shadow(task(41, "cat"))
		ev.Flags |= event.Dropped
		r.src.events <- ev
	}
	r.src.events <- shadow(task(42, "last"))
	r.out.waitFor(t, "process=last")
	if n := strings.Count(r.out.String(), "\n"); n != 4 {
		t.Errorf("%d alerts, want 4:\n%s", n, r.out.String())
	}
	if checked, wrong := testutil.ToFloat64(r.metrics.checked), testutil.ToFloat64(r.metrics.unsound); checked != 3 || wrong != 3 {
		t.Errorf("%v checked, %v matched, want 3 and 3", checked, wrong)
	}
	log := r.log.String()
	if strings.Count(log, "the kernel filter would have dropped") != 1 {
		t.Errorf("not logged once:\n%s", log)
	}
	for _, want := range []string{"event_type=openat", "fd.name=/etc/shadow"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in\n%s", want, log)
		}
	}
}

// What the kernel marks as broad is compared with the rules alone that it could not exclude; of one in so many, and of all in shadow mode, with all
// of them, and a match of another rule is unsound.
func TestBroadEvents(t *testing.T) {
	const others = `
- rule: Any parent
  desc: of this the kernel can tell nothing
  condition: evt.type=execve and proc.pname != zsh and proc.pname != bash
  output: Any parent | process=%proc.cmdline
  priority: NOTICE
`
	for _, all := range []bool{false, true} {
		t.Run("shadow="+strconv.FormatBool(all), func(t *testing.T) {
			r := start(t, func(cfg *Config, deps *Deps) {
				cfg.FilterShadow = all
				deps.Rules = load(t, testRules+others)
			})
			r.src.events <- cgroup(1, "/user.slice")
			init := shell(task(1, "init"))
			init.Flags |= event.ProcessOnly
			r.src.events <- init
			broad := shell(task(41, "sh")) // matches "Shell", which comes first, and "Any parent"
			broad.Flags |= event.Broad
			broad.Task.PPID, broad.Task.ParentStartNS = 1, 1
			r.src.events <- broad
			r.src.events <- shadow(task(42, "last"))
			r.out.waitFor(t, "process=last")
			want := map[bool]string{false: "Any parent", true: "Shell"}[all]
			if out := r.out.String(); strings.Count(out, "\n") != 2 || !strings.Contains(out, want+" ") {
				t.Errorf("alerts, want one of %q and one of the file:\n%s", want, out)
			}
			checked, wrong := testutil.ToFloat64(r.metrics.checked), testutil.ToFloat64(r.metrics.unsound)
			if n := map[bool]float64{false: 0, true: 1}[all]; checked != n || wrong != n {
				t.Errorf("%v checked, %v unsound, want %v", checked, wrong, n)
			}
		})
	}
}
