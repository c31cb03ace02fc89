package runtime

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/functions/abi"
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

// The keys of a deleted function go, and nobody else's, whether or not a runtime ran when it was deleted or a new one took its name.
func TestKeysOfDeletedFunction(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	kv, err := b.KeyValue(t.Context(), bus.BucketKV)
	if err != nil {
		t.Fatal(err)
	}
	reg, err := capability.New(capability.Config{KV: kv})
	if err != nil {
		t.Fatal(err)
	}
	put := func(f capability.Function, key string) {
		t.Helper()
		s := capability.Scope{Mode: capability.Enforce, Function: f, Grants: capability.Grants{KV: true}}
		p, err := reg.Prepare(t.Context(), s, abi.OpKVPut, fmt.Appendf(nil, `{"key":%q,"value":"1"}`, key))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := reg.Execute(t.Context(), s, p, "e-"+key); err != nil {
			t.Fatal(err)
		}
	}
	keys := func() (n uint64) {
		t.Helper()
		st, err := kv.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return st.Values()
	}
	put(capability.Function{Name: "other", UID: "u"}, "a")
	s, err := store.Open(t.Context(), b.JetStream())
	if err != nil {
		t.Fatal(err)
	}
	remove := func(e *store.Entry) {
		t.Helper()
		if _, err := s.Delete(t.Context(), e.Key(), store.ByCLI); err != nil {
			t.Fatal(err)
		}
	}

	e := deploy(t, b, plain)
	put(e.ID.Capability(), "a")
	put(e.ID.Capability(), "b.c")
	remove(e)
	_, stop := start(t, b, quick(), Deps{Capabilities: reg, Compile: compileTo(createOne)})
	eventually(t, "the keys of what was deleted before are gone", func() bool { return keys() == 1 })
	stop()

	e = deploy(t, b, plain)
	r, _ := start(t, b, quick(), Deps{Capabilities: reg, Compile: compileTo(createOne)})
	eventually(t, "the function runs", func() bool { return runs(r, e) })
	put(e.ID.Capability(), "a")
	remove(e)
	next := deploy(t, b, plain)
	put(next.ID.Capability(), "a")
	eventually(t, "the keys of the one before are gone", func() bool { return keys() == 2 })
	eventually(t, "the next function runs", func() bool { return runs(r, next) })
	remove(next)
	eventually(t, "its keys are gone, too", func() bool { return keys() == 1 })
}

func runs(r *Runtime, e *store.Entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.workers[e.Key()]
	if w == nil {
		return false
	}
	lv := w.current()
	return lv != nil && lv.entry.ID == e.ID
}
