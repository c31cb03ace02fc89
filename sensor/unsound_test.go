package sensor

import (
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
