package sandbox

import (
	"sync/atomic"
	"time"
)

// A stopwatch measures a guest's own time and calls expire once that is used up. All but expired belongs to the guest's goroutine.
type stopwatch struct {
	expired atomic.Bool
	timer   *time.Timer
	limit   time.Duration
	running bool
	since   time.Time // when it last began to run or to stand
	spent   time.Duration
}

// newStopwatch returns a running one.
func newStopwatch(limit time.Duration, expire func()) *stopwatch {
	w := &stopwatch{limit: limit, running: true, since: time.Now()}
	w.timer = time.AfterFunc(limit, func() {
		w.expired.Store(true)
		expire()
	})
	return w
}

// stop makes it stand.
func (w *stopwatch) stop() {
	w.timer.Stop()
	w.spent, w.running, w.since = w.elapsed(), false, time.Now()
}

// start makes it run again and returns how long it stood.
func (w *stopwatch) start() time.Duration {
	stood := time.Since(w.since)
	w.running, w.since = true, time.Now()
	if !w.expired.Load() {
		w.timer.Reset(max(w.limit-w.spent, 0))
	}
	return stood
}

// elapsed returns the guest's time so far.
func (w *stopwatch) elapsed() time.Duration {
	if !w.running {
		return w.spent
	}
	return w.spent + time.Since(w.since)
}
