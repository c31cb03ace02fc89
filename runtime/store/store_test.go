package store

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/tiercel-project/tiercel/bus"
	"github.com/tiercel-project/tiercel/bus/bustest"
	"github.com/tiercel-project/tiercel/runtime/function"
)

func open(t *testing.T) (*Store, *bus.Bus) {
	t.Helper()
	b := bustest.Start(t, bus.DefaultServerConfig())
	st, err := Open(t.Context(), b.JetStream())
	if err != nil {
		t.Fatal(err)
	}
	return st, b
}

func doc(t *testing.T, spec string) *function.Document {
	t.Helper()
	ds, err := function.Parse("x.yaml", []byte("apiVersion: tiercel.dev/v1alpha1\nkind: Function\nmetadata: {name: x.y}\nspec: {module: builtin:x, triggers: [{}]"+spec+"}"))
	if err != nil {
		t.Fatal(err)
	}
	return ds[0]
}

func TestModules(t *testing.T) {
	s, _ := open(t)
	d, err := s.PutModule(t.Context(), []byte("module"))
	if err != nil || d != Digest([]byte("module")) {
		t.Fatal(d, err)
	}
	if again, err := s.PutModule(t.Context(), []byte("module")); err != nil || again != d {
		t.Errorf("again: %s, %v", again, err)
	}
	if b, err := s.Module(t.Context(), d); err != nil || string(b) != "module" {
		t.Errorf("got %q, %v", b, err)
	}
	if _, err := s.Module(t.Context(), Digest([]byte("other"))); !errors.Is(err, ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	// What is not what its name says is not given out.
	if _, err := s.modules.PutBytes(t.Context(), d, []byte("forged")); err != nil {
		t.Fatal(err)
	}
	if b, err := s.Module(t.Context(), d); err == nil {
		t.Errorf("got %q", b)
	}
}

func TestApply(t *testing.T) {
	s, b := open(t)
	for range 3 {
		if _, err := b.JetStream().Publish(t.Context(), "tiercel.events.a.b.c.d.e", nil); err != nil {
			t.Fatal(err)
		}
	}
	apply := func(spec, module string, by Manager) (*Entry, Applied, error) {
		return s.Apply(t.Context(), doc(t, spec), module, nil, by, "test")
	}
	first, how, err := apply("", "m1", ByCLI)
	if err != nil || how != Created || first.Revision != 1 || first.StartAt != 4 || first.Key() != "default_x_y" {
		t.Fatalf("got %+v, %s, %v", first, how, err)
	}
	if e, how, err := apply("", "m1", ByCLI); err != nil || how != Unchanged || e.Revision != 1 {
		t.Errorf("unchanged: %+v, %s, %v", e, how, err)
	}
	if e, how, err := apply("", "m2", ByCLI); err != nil || how != Updated || e.Revision != 2 || e.ID != first.ID || e.StartAt != 4 {
		t.Errorf("another module: %+v, %s, %v", e, how, err)
	}
	if _, _, err := apply(", suspend: true", "m2", ByDir); !errors.Is(err, ErrManaged) {
		t.Errorf("another manager: %v", err)
	}
	if _, err := s.Delete(t.Context(), first.Key(), ByDir); !errors.Is(err, ErrManaged) {
		t.Errorf("another manager deletes: %v", err)
	}
	if e, err := s.Suspend(t.Context(), first.Key(), true); err != nil || !e.Suspended || e.Revision != 2 {
		t.Errorf("suspended: %+v, %v", e, err)
	}
	if _, err := s.Delete(t.Context(), first.Key(), ByCLI); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), first.Key()); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
	if e, how, err := apply("", "m1", ByDir); err != nil || how != Created || e.ID.UID == first.ID.UID || e.Suspended {
		t.Errorf("made again: %+v, %s, %v", e, how, err)
	}
}

// Writers at the same time make revisions one after the other; none is lost.
func TestConcurrentWriters(t *testing.T) {
	s, _ := open(t)
	if _, _, err := s.Apply(t.Context(), doc(t, ""), "m", nil, ByCLI, ""); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for on := range 6 {
				if _, err := s.Suspend(t.Context(), "default_x_y", on%2 == 0); err != nil && !errors.Is(err, ErrConflict) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if e, err := s.Get(t.Context(), "default_x_y"); err != nil || e.Revision != 1 {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestWatch(t *testing.T) {
	s, _ := open(t)
	if _, _, err := s.Apply(t.Context(), doc(t, ""), "m", nil, ByCLI, ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	changes := make(chan Change, 10)
	done := make(chan error, 1)
	go func() { done <- s.Watch(ctx, func(c Change) { changes <- c }) }()
	if c := <-changes; c.Entry == nil || c.Token != "default_x_y" {
		t.Errorf("got %+v", c)
	}
	if c := <-changes; !c.Ready {
		t.Errorf("got %+v", c)
	}
	if _, err := s.Delete(t.Context(), "default_x_y", ByCLI); err != nil {
		t.Fatal(err)
	}
	if c := <-changes; c.Entry != nil || c.Token != "default_x_y" || c.Err != nil {
		t.Errorf("got %+v", c)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Watch: %v", err)
	}
}
