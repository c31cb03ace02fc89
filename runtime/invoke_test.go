package runtime

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/guard"
	"github.com/tiercel-project/tiercel/runtime/journal"
)

// byHand is an event that no trigger selects, from long ago, as a file may have it.
func byHand(namespace string) []byte {
	m := &bus.MatchData{Rule: "Other rule", Priority: "Warning", Source: "syscall", Time: time.Now().Add(-time.Hour).UTC(), Target: bus.Target{Node: "n1", Namespace: namespace, Pod: "web-1", PodUID: "u1"}}
	e := &bus.Event{ID: "made-up", Source: "/c/n1/syscall", Type: bus.TypeRuleMatched, Time: m.Time, Rule: m.Rule, Priority: m.Priority, Data: m.AppendJSON(nil)}
	return bus.Marshal(e)
}

// By hand a function runs each time it is asked, whatever its triggers, age, duplicates and budget say; protection holds.
func TestInvoke(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		namespace string
		dryRun    bool
		want      journal.Outcome
		reason    string
		done      int // effects after two invocations
	}{
		{"enforces", "default", false, journal.Succeeded, "", 2},
		{"rehearses", "default", true, journal.Succeeded, "", 0},
		{"protected", "kube-system", false, journal.Refused, guard.ReasonProtected, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			w := newWorld(b)
			e := deploy(t, b, strings.Replace(plain, "spec:", "spec:\n  dedup: {key: [rule], window: 1m}\n  budget: {max: 1, per: 1h}", 1))
			start(t, b, quick(), Deps{Capabilities: w, Compile: compileTo(createOne)})
			ids := map[string]bool{}
			for range 2 {
				id, err := Invoke(t.Context(), b, e.ID, byHand(c.namespace), "tester", c.dryRun)
				if err != nil {
					t.Fatal(err)
				}
				ids[id] = true
			}
			if len(ids) != 2 {
				t.Errorf("two invocations have one id: %v", ids)
			}
			for _, a := range actions(t, b, 2)["made-up"] {
				if !ids[a.ID] || a.Outcome != c.want || a.End.Reason != c.reason || a.Event.Manual.By != "tester" || (a.Mode == capability.DryRun) != c.dryRun {
					t.Errorf("got %s %s %+v, by %+v", a.ID, a.Mode, a.End, a.Event.Manual)
				}
			}
			if done, _ := w.count(); done != c.done {
				t.Errorf("%d effects, want %d", done, c.done)
			}
			w.check(t)
		})
	}
}

// What is asked for by hand is tried again like anything else, under the same id, and is dry run when it was asked for so.
func TestInvokeRetries(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	w := newWorld(b)
	w.fail = func(op string, n int) error {
		if op == "create" && n < 2 {
			return &capability.TransientError{Err: errors.New("away"), After: 6 * time.Second / time.Duration(1+99*n)}
		}
		return nil
	}
	e := deploy(t, b, strings.Replace(plain, "spec:", "spec:\n  retry: {backoff: 10ms}", 1))
	start(t, b, quick(), Deps{Capabilities: w, Compile: compileTo(createOne)})
	id, err := Invoke(t.Context(), b, e.ID, byHand("default"), "tester", false)
	if err != nil {
		t.Fatal(err)
	}
	a := actions(t, b, 1)["made-up"][0]
	if a.ID != id || a.Outcome != journal.Succeeded || len(a.Attempts) != 3 || a.Event.Manual == nil {
		t.Errorf("got %s %+v after %d attempts", a.ID, a.End, len(a.Attempts))
	}
	w.check(t)
}

func TestInvokeRefuses(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	e := deploy(t, b, plain)
	for _, event := range []string{"", "{}", "x", `{"specversion":"1.0","id":"1","source":"s","type":"other","data":{}}`} {
		if id, err := Invoke(t.Context(), b, e.ID, []byte(event), "tester", false); err == nil {
			t.Errorf("%q: got invocation %s", event, id)
		}
	}
}
