package sandbox

import "sync"

// A shelf holds what is made once by key and shared by all who have it at the same time.
type shelf[K comparable, V any] struct {
	free func(V) error // called when the last who had it has given it back

	mu    sync.Mutex
	slots map[K]*slot[V] // guarded by mu
}

type slot[V any] struct {
	refs  int           // guarded by the shelf's mu
	ready chan struct{} // closed once value or err is set
	value V
	err   error
}

// get returns what is there under key, or makes it. Whoever gets it gives it back, once, with put. An error is not kept.
func (s *shelf[K, V]) get(key K, build func() (V, error)) (V, error) {
	s.mu.Lock()
	if s.slots == nil {
		s.slots = map[K]*slot[V]{}
	}
	sl, found := s.slots[key]
	if !found {
		sl = &slot[V]{ready: make(chan struct{})}
		s.slots[key] = sl
	}
	sl.refs++
	s.mu.Unlock()
	if found {
		<-sl.ready
	} else {
		sl.value, sl.err = build()
		close(sl.ready)
	}
	if sl.err != nil {
		s.mu.Lock()
		if s.slots[key] == sl {
			delete(s.slots, key)
		}
		s.mu.Unlock()
	}
	return sl.value, sl.err
}

// put gives back what get returned under key.
func (s *shelf[K, V]) put(key K) error {
	s.mu.Lock()
	sl := s.slots[key]
	sl.refs--
	last := sl.refs == 0
	if last {
		delete(s.slots, key)
	}
	s.mu.Unlock()
	if last {
		return s.free(sl.value)
	}
	return nil
}
