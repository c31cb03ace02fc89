package dispatch

import "time"

// A Heartbeat calls a function again and again until it is stopped. It takes no goroutine of its own in between.
type Heartbeat struct {
	turn chan struct{} // holds one token: who has it may touch what follows, or call the function
	t    *time.Timer
	done bool
}

// Beat calls f every d, the first time after d, never twice at a time. The caller stops it.
func Beat(d time.Duration, f func()) *Heartbeat {
	h := &Heartbeat{turn: make(chan struct{}, 1)}
	h.t = time.AfterFunc(d, func() {
		<-h.turn
		if !h.done {
			f()
			h.t.Reset(d)
		}
		h.turn <- struct{}{}
	})
	h.turn <- struct{}{}
	return h
}

// Stop waits for a call that is under way; none is made afterwards. It may be called twice, not from within the function.
func (h *Heartbeat) Stop() {
	<-h.turn
	h.done = true
	h.t.Stop()
	h.turn <- struct{}{}
}
