package sensor

import (
	"time"

	"github.com/tiercel-project/tiercel/sensor/container"
	"github.com/tiercel-project/tiercel/sensor/event"
	"github.com/tiercel-project/tiercel/sensor/process"
)

// maxWaitingArguments bounds the long arguments of events that wait, in bytes: those of one program can be megabytes.
const maxWaitingArguments = 32 << 20

// A waiting is the queue of events whose container is not named yet, in the order of their arrival. Other events pass by.
type waiting struct {
	max       int
	timeout   time.Duration
	queue     []waiter
	arguments int // bytes of waiters' arguments
}

// A waiter is an event that waits. It is a copy: the kernel side reuses its events.
type waiter struct {
	ev       *event.Event
	proc     *process.Process // pinned
	root     container.Root
	args     string // what readArguments has returned
	deadline uint64 // boot time
}

// add copies ev into the queue and reports whether there was room.
func (w *waiting) add(ev *event.Event, proc *process.Process, root container.Root, args string, now uint64) bool {
	if len(w.queue) >= w.max || w.arguments+len(args) > maxWaitingArguments {
		return false
	}
	w.arguments += len(args)
	w.queue = append(w.queue, waiter{ev: ev.Clone(), proc: proc, root: root, args: args, deadline: now + uint64(w.timeout)})
	return true
}

// each calls f for every waiter in order, drops those for which it returns false, and returns the earliest deadline left, or 0.
func (w *waiting) each(f func(*waiter) (keep bool)) (next uint64) {
	kept := w.queue[:0]
	for i := range w.queue {
		if x := w.queue[i]; f(&x) {
			kept = append(kept, x)
			if next == 0 || x.deadline < next {
				next = x.deadline
			}
		} else {
			w.arguments -= len(x.args)
		}
	}
	clear(w.queue[len(kept):])
	w.queue = kept
	return next
}
