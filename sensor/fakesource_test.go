package sensor

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/tiercel-project/tiercel/rules/field"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/filter"
	"github.com/tiercel-project/tiercel/sensor/kernel"
)

// A fakeSource is a kernel side whose records the test makes.
type fakeSource struct {
	events   chan *event.Event
	snapshot []*event.Event

	mu         sync.Mutex
	interest   field.EventSet      // guarded by mu
	generation uint32              // guarded by mu
	lost       uint64              // guarded by mu; in the ring that lossy names
	lossy      string              // guarded by mu
	charged    []kernel.CgroupLoss // guarded by mu
	now        []*event.Event      // guarded by mu; what Reread gives
	known      int                 // guarded by mu; how many of them were
	done       uint64              // guarded by mu; up to when all events have come
	tended     int                 // guarded by mu; how often that was asked for
}

func newFakeSource() *fakeSource {
	return &fakeSource{events: make(chan *event.Event), lossy: "event", done: ^uint64(0)}
}

func (f *fakeSource) Use(_, next *filter.Plan) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.interest, f.generation = next.Types, next.Generation
	return nil
}

func (f *fakeSource) has(t field.EventType) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.interest.Has(t)
}

func (f *fakeSource) Snapshot(handle func(*event.Event)) error {
	for _, ev := range f.snapshot {
		handle(ev)
	}
	return nil
}

func (f *fakeSource) Run(ctx context.Context, handle func(*event.Event)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev := <-f.events:
			f.mu.Lock()
			ev.Generation = f.generation
			f.mu.Unlock()
			handle(ev)
			*ev = event.Event{} // as the kernel side does, in effect
		}
	}
}

func (f *fakeSource) Stats() (kernel.Stats, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return kernel.Stats{Rings: []kernel.RingStats{{Name: f.lossy, Lost: []kernel.Loss{{Reason: "full", Count: f.lost}}}}}, nil
}

func (f *fakeSource) Done() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tended++
	return f.done
}

func (f *fakeSource) setDone(bootNS uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = bootNS
}

// waitTended waits until the sensor has looked after its tables n times more, the last of which may still be under way.
func (f *fakeSource) waitTended(t testing.TB, n int) {
	t.Helper()
	count := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.tended
	}
	for from, end := count(), time.Now().Add(2*time.Minute); count() < from+n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it looked after its tables %d times", count()-from)
		}
	}
}

func (f *fakeSource) Losses() ([]kernel.CgroupLoss, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	charged := f.charged
	f.charged = nil
	return charged, nil
}

func (f *fakeSource) Exempt(uint32, func() error) (*kernel.Exemption, error) {
	return nil, kernel.ErrExemptGone
}

func (f *fakeSource) Reread(known func(*event.Event) bool, handle func(*event.Event)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, ev := range f.now {
		if known(ev) {
			f.known++
		}
		handle(ev)
	}
	return nil
}

func (f *fakeSource) Close() error { return nil }
