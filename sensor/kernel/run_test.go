package kernel

import (
	"testing"
	"time"
)

// Process events wake the reader while they are few; while they are many, calls alone do.
func TestPollerNext(t *testing.T) {
	now := time.Now()
	p := &poller{active: now, lastFill: now, processes: processBurst}
	// second lets a second pass in which n process events come, some every so often, and returns in how many of the waits they wake the reader.
	second := func(n int) (waits, waking int) {
		const steps = 200
		for i := range steps {
			now = now.Add(time.Second / steps)
			p.active = now
			p.took((i+1)*n/steps - i*n/steps)
			p.fill(now)
			state, deadline := p.next(now)
			if deadline != readDeadline {
				t.Fatalf("deadline %v", deadline)
			}
			p.batch = manyRecords
			if same, deadline := p.next(now); same != state || deadline != batchDeadline {
				t.Fatalf("many records: got state %d, deadline %v, want %d, %v", same, deadline, state, batchDeadline)
			}
			p.batch = 0
			if state == readerWaits {
				waking++
			}
		}
		return steps, waking
	}
	for _, tt := range []struct {
		name           string
		n, least, most int
	}{
		{"few", 100, 200, 200},
		{"many: a burst, then none", 1000, 10, 40},
		{"many", 1000, 0, 0},
		{"few again, once the debt is made good", 100, 1, 150},
		{"few", 100, 200, 200},
	} {
		if waits, waking := second(tt.n); waking < tt.least || waking > tt.most {
			t.Errorf("%s: %d of %d waits end with a process event, want %d to %d", tt.name, waking, waits, tt.least, tt.most)
		}
	}
	now = now.Add(idleAfter + time.Millisecond)
	if state, deadline := p.next(now); state != readerIdle || deadline != idleDeadline {
		t.Errorf("nothing happened for %v: got state %d, deadline %v", idleAfter, state, deadline)
	}
}
