package sandbox

import "time"

// A stopwatch measures a guest's own time. It belongs to the guest's goroutine.
type stopwatch struct {
	limit   time.Duration
	running bool
	since   time.Time // when it last began to run or to stand
	spent   time.Duration
}

// newStopwatch returns a running one.
func newStopwatch(limit time.Duration) *stopwatch {
	return &stopwatch{limit: limit, running: true, since: time.Now()}
}

// stop makes it stand.
func (w *stopwatch) stop() {
	w.spent, w.running, w.since = w.elapsed(), false, time.Now()
}

// start makes it run again and returns how long it stood.
func (w *stopwatch) start() time.Duration {
	stood := time.Since(w.since)
	w.running, w.since = true, time.Now()
	return stood
}

// elapsed returns the guest's time so far.
func (w *stopwatch) elapsed() time.Duration {
	if !w.running {
		return w.spent
	}
	return w.spent + time.Since(w.since)
}

// expired reports whether the time is used up.
func (w *stopwatch) expired() bool { return w.elapsed() > w.limit }
