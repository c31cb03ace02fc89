package runtime

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/runtime/capability"
	"github.com/tiercel-project/tiercel/runtime/store"
)

// The credentials of a deleted function go when nothing of it is to be reverted any more, and a failure to take them back is tried again.
func TestDeprovision(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	w := newWorld(b)
	e := deploy(t, b, strings.Replace(withRevert, "spec:",
		"spec:\n  grants: {kubernetes: [{apiGroups: [''], resources: [pods], verbs: [get], namespaces: [a]}]}", 1))
	type taken struct {
		fn     capability.Function
		grants capability.Grants
		there  int
	}
	calls := make(chan taken, 10)
	failed := false
	r, _ := start(t, b, quick(), Deps{
		Capabilities: w, Compile: compileTo(createOne),
		Provision: func(context.Context, capability.Function, capability.Grants) error { return nil },
		Deprovision: func(_ context.Context, f capability.Function, g capability.Grants) error {
			_, there := w.count()
			calls <- taken{f, g, there}
			if !failed {
				failed = true
				return errors.New("connection refused")
			}
			return nil
		},
	})
	publish(t, b, "n1-1", nil)
	actions(t, b, 1)
	if _, err := r.store.Delete(t.Context(), e.Key(), store.ByCLI); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c := <-calls
		if c.there != 0 {
			t.Error("taken back before the revert")
		}
		if c.fn != e.ID.Capability() || len(c.grants.Kubernetes) != 1 {
			t.Errorf("took %+v back from %+v", c.grants, c.fn)
		}
	}
	eventually(t, "nothing is left to take back", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.retired) == 0
	})
	eventually(t, "what its metrics are kept by is forgotten", func() bool {
		r.metrics.mu.RLock()
		defer r.metrics.mu.RUnlock()
		return len(r.metrics.usual) == 0
	})
	if len(calls) != 0 {
		t.Error("taken back again")
	}
}
