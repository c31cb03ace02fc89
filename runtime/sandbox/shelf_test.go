package sandbox

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

func TestShelf(t *testing.T) {
	var made, freed atomic.Int32
	s := shelf[string, int]{free: func(int) error { freed.Add(1); return nil }}
	build := func() (int, error) { return int(made.Add(1)), nil }
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if v, err := s.get("a", build); v != 1 || err != nil {
				t.Errorf("got %d, %v", v, err)
			}
		})
	}
	wg.Wait()
	for i := range 8 {
		if freed.Load() != 0 {
			t.Fatalf("freed while %d have it", 8-i)
		}
		if err := s.put("a"); err != nil {
			t.Error(err)
		}
	}
	if made.Load() != 1 || freed.Load() != 1 {
		t.Errorf("made %d times, freed %d times", made.Load(), freed.Load())
	}
	bad := errors.New("bad")
	if _, err := s.get("b", func() (int, error) { return 0, bad }); !errors.Is(err, bad) {
		t.Errorf("got %v", err)
	}
	if v, err := s.get("b", build); v != 2 || err != nil {
		t.Errorf("after an error: %d, %v", v, err)
	}
}
