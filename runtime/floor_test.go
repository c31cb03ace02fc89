package runtime

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/bus/quantity"
	"github.com/tiercel-project/tiercel/runtime/journal"
)

func TestDiscarded(t *testing.T) {
	for _, c := range []struct {
		name             string
		f                floor
		first, delivered uint64
		want             uint64
	}{
		{"nothing beyond what was taken", floor{Taken: 10, looked: true, last: 10}, 11, 0, 0},
		{"of a runtime that knows no more", floor{Taken: 10}, 21, 0, 10},
		{"some of those that waited", floor{Taken: 10, looked: true, waiting: 30, last: 50}, 21, 0, 10},
		{"others' in between", floor{Taken: 10, looked: true, waiting: 3, last: 50}, 21, 0, 3},
		{"taken in time", floor{Taken: 10, looked: true, waiting: 30, last: 50, delivered: 7}, 21, 17, 0},
		{"half of them taken in time", floor{Taken: 10, looked: true, waiting: 30, last: 50, delivered: 7}, 21, 12, 5},
		{"more than waited", floor{Taken: 10, looked: true, waiting: 2, last: 12}, 21, 0, 10},
		{"a consumer that was made anew", floor{Taken: 10, looked: true, waiting: 30, last: 50, delivered: 100}, 21, 3, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.f.discarded(c.first, c.delivered); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

// losses returns what is on record as lost, and fails if it is not all of function fn.
func losses(t *testing.T, b *bus.Bus) (n uint64, records int) {
	t.Helper()
	if err := journal.New(journal.DefaultConfig(), b).Actions(t.Context(), "tiercel.actions.*.*.lost", time.Time{}, func(a *journal.Action) bool {
		var l Loss
		if err := json.Unmarshal(a.End.Data, &l); err != nil || a.Function.Name != "fn" || a.Outcome != journal.Lost || l.Last < l.First || l.AtMost > l.Last-l.First+1 {
			t.Errorf("got %+v, %+v, %v", a, l, err)
		}
		n += l.AtMost
		records++
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return n, records
}

// What EVENTS discards before a function took it is on record, counted, and makes the runtime not ready until the function has caught up;
// before that it is warned. A function that misses nothing hears nothing of it.
func TestLost(t *testing.T) {
	t.Parallel()
	b := newBusOf(t, bus.Limits{MaxBytes: map[string]quantity.Size{bus.StreamEvents: 64 << 10}})
	deploy(t, b, strings.Replace(plain, "spec:", "spec:\n  suspend: true", 1))
	deploy(t, b, strings.NewReplacer("name: fn", "name: idle", "Test rule", "Other rule").Replace(plain))
	deps := Deps{Capabilities: newWorld(b), Compile: compileTo(readOnly)}
	r, stop := start(t, b, DefaultConfig(), deps)
	n := 0
	first := func() uint64 {
		s, err := b.JetStream().Stream(t.Context(), bus.StreamEvents)
		if err != nil {
			t.Fatal(err)
		}
		return s.CachedInfo().State.FirstSeq
	}
	used := func() float64 { return testutil.ToFloat64(r.metrics.windows.WithLabelValues("default_fn")) }
	more := func() { // a tenth of what the stream keeps at a time, and each function is looked at in between
		for range 12 {
			n++
			publish(t, b, fmt.Sprint("n1-", n), nil)
		}
		eventually(t, "the functions were looked at", func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, token := range []string{"default_fn", "default_idle"} {
				w := r.workers[token]
				if w == nil {
					return false
				}
				w.mu.Lock()
				f := w.floor
				w.mu.Unlock()
				if f == nil || f.last != uint64(n) {
					return false
				}
			}
			return true
		})
	}
	for used() < windowWarn {
		more()
		if first() > 1 {
			t.Fatalf("the stream discards, and %v of the window are used", used())
		}
	}
	if err := r.Ready(); err != nil {
		t.Errorf("nothing is lost yet: %v", err)
	}
	for first() < 10 {
		more()
	}
	want := first() - 1
	eventually(t, "all that is lost is on record", func() bool { got, _ := losses(t, b); return got == want })
	if got := testutil.ToFloat64(r.metrics.lost.WithLabelValues("default_fn")); got != float64(want) {
		t.Errorf("counted %v, want %d", got, want)
	}
	if err := r.Ready(); err == nil || !strings.Contains(err.Error(), "events were lost") {
		t.Errorf("ready: %v", err)
	}

	// What is discarded while no runtime runs is found by the next, once.
	stop()
	for before := first(); first() < before+10; {
		n++
		publish(t, b, fmt.Sprint("n1-", n), nil)
	}
	_, recorded := losses(t, b)
	var readies []func() error
	for _, name := range []string{"second", "third"} {
		cfg := DefaultConfig()
		cfg.Name = name
		next, _ := start(t, b, cfg, deps)
		readies = append(readies, next.Ready)
	}
	want = first() - 1
	eventually(t, "the rest is on record", func() bool { got, _ := losses(t, b); return got == want })

	// Caught up, all is well again.
	e := deploy(t, b, plain)
	settled(t, b, e)
	for i, ready := range readies {
		eventually(t, fmt.Sprintf("runtime %d is ready again", i), func() bool { return ready() == nil })
	}
	if got, records := losses(t, b); got != want || records != recorded+1 {
		t.Errorf("%d lost in %d records, want %d in %d", got, records, want, recorded+1)
	}
}
