package sandbox

import "time"

// A stopwatch measures a guest's own time. It belongs to the guest's goroutine.
type stopwatch struct {
	limit   time.Duration
	running bool
	since   time.Duration // on the clock of now: when it last began to run or to stand
	spent   time.Duration
}

var epoch = time.Now()

// now is a clock that is read in half the time of time.Now.
func now() time.Duration { return time.Since(epoch) }

// newStopwatch returns a running one.
func newStopwatch(limit time.Duration) stopwatch {
	return stopwatch{limit: limit, running: true, since: now()}
}

// stop makes it stand; one that stands already is left as it is.
func (w *stopwatch) stop() {
	if !w.running {
		return
	}
	t := now()
	w.spent += t - w.since
	w.running, w.since = false, t
}

// start makes it run again and returns how long it stood.
func (w *stopwatch) start() time.Duration {
	t := now()
	stood := t - w.since
	w.running, w.since = true, t
	return stood
}

// elapsed returns the guest's time so far.
func (w *stopwatch) elapsed() time.Duration {
	if !w.running {
		return w.spent
	}
	return w.spent + now() - w.since
}

// expired reports whether the time is used up.
func (w *stopwatch) expired() bool { return w.elapsed() > w.limit }
