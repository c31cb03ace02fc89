package match

import (
	"sync"

	"github.com/tiercel-project/tiercel/rules/field"
)

// An Index matches an event against many programs at once. What they have in common is evaluated at most once an event. It is immutable and
// safe for concurrent use; each goroutine has a Matcher of its own.
type Index struct {
	programs []*Program
	first    bool

	plans [planCount]planSlot

	mu       sync.Mutex
	distinct map[string]*plan // guarded by mu; by what they say
}

const planCount = 1024 // above every event type

// A planSlot holds the plan for one event type, made when the first event of the type comes.
type planSlot struct {
	once sync.Once
	plan *plan
}

// NewIndex makes an index of programs. If first is set, only the first program that matches counts, in their order; else all.
func NewIndex(programs []*Program, first bool) *Index {
	return &Index{programs: programs, first: first, distinct: make(map[string]*plan)}
}

// plan returns the plan for events of type t.
func (ix *Index) plan(t field.EventType) *plan {
	if int(t) >= planCount {
		t = 0
	}
	slot := &ix.plans[t]
	slot.once.Do(func() { slot.plan = ix.makePlan(t) })
	return slot.plan
}

// Prepare makes the plans for types now, so that their first events do not wait for it: some milliseconds each for a thousand rules.
func (ix *Index) Prepare(types field.EventSet) {
	for t := range types.All() {
		ix.plan(t)
	}
}

// NewMatcher returns a matcher for one goroutine.
func (ix *Index) NewMatcher() *Matcher { return &Matcher{ix: ix} }
