package runtime

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tiercel-project/tiercel/runtime/dispatch"
	"github.com/tiercel-project/tiercel/runtime/journal"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m := newMetrics(reg)
	dispatch.NewMetrics(reg)
	now := time.Now()
	m.action(&journal.Action{
		Outcome: journal.Succeeded, Ended: now, Event: journal.EventRef{Time: now, Published: now, Started: now},
		Calls: []journal.Call{{Op: "http", Effect: "e", Done: now}},
	})
	m.unselected("f")
	m.duplicate("f")
	m.suspended("f")
	m.givenUp("f")
	m.letter("f", "crashed", true)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) != 0 {
		t.Errorf("%v, %v", problems, err)
	}
	if n := testutil.CollectAndCount(m.legs); n != 5 {
		t.Errorf("%d legs", n)
	}
}
