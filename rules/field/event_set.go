package field

import (
	"iter"
	"math/bits"
)

const eventWords = (numEvents + 63) / 64

// An EventSet is a set of event types. The zero EventSet is empty. It is a value: sets are compared with ==.
type EventSet [eventWords]uint64

// NewEventSet returns the set of types.
func NewEventSet(types ...EventType) EventSet {
	var s EventSet
	for _, t := range types {
		s.Add(t)
	}
	return s
}

// AllEvents returns the set of all event types.
func AllEvents() EventSet { return EventSet{}.Complement() }

// Add puts t into s. No event and unknown types are left out.
func (s *EventSet) Add(t EventType) {
	if t != 0 && int(t) < numEvents {
		s[t/64] |= 1 << (t % 64)
	}
}

// Has reports whether t is in s.
func (s EventSet) Has(t EventType) bool { return int(t) < numEvents && s[t/64]&(1<<(t%64)) != 0 }

// Union returns the event types in s or o.
func (s EventSet) Union(o EventSet) EventSet {
	for i := range s {
		s[i] |= o[i]
	}
	return s
}

// Intersect returns the event types in both s and o.
func (s EventSet) Intersect(o EventSet) EventSet {
	for i := range s {
		s[i] &= o[i]
	}
	return s
}

// Complement returns the event types that are not in s.
func (s EventSet) Complement() EventSet {
	for i := range s {
		s[i] = ^s[i]
	}
	s[0] &^= 1 // no event
	if rest := numEvents % 64; rest != 0 {
		s[eventWords-1] &= 1<<rest - 1
	}
	return s
}

// Empty reports whether s has no event type.
func (s EventSet) Empty() bool { return s == EventSet{} }

// Len is the number of event types in s.
func (s EventSet) Len() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// All yields the event types in s, in their order.
func (s EventSet) All() iter.Seq[EventType] {
	return func(yield func(EventType) bool) {
		for i, w := range s {
			for ; w != 0; w &= w - 1 {
				if !yield(EventType(i*64 + bits.TrailingZeros64(w))) {
					return
				}
			}
		}
	}
}

// Names returns the names of the event types in s: the modelled ones first, each group sorted.
func (s EventSet) Names() []string {
	names := make([]string, 0, s.Len())
	for t := range s.All() {
		names = append(names, t.String())
	}
	return names
}
