package output

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// All are the outputs of one sensor. List is not changed once Send is called.
type All struct {
	List   []*Output
	noWait atomic.Int64 // nanoseconds since 1970: before it, processors are too busy to give way
}

// Send hands a to every output in turn, each of which drops it if it has no room, and gives way to whoever has got it by that. It never blocks and
// is safe for concurrent use.
func (l *All) Send(a Alert) {
	for _, o := range l.List {
		if _, direct := o.send(a); direct {
			l.giveWay()
		}
	}
}

const (
	// longWait is what giving way may take on a machine where only the reader of an output was waiting for the processor.
	longWait = time.Millisecond
	// busyPause is how long nobody is given way to after it took longer: a thread that computes got a slice of several milliseconds.
	busyPause = time.Second
)

// giveWay lets the processes that read the outputs run. The kernel takes a write to a pipe or socket for the last thing that the writer does before
// it sleeps, and puts whom it wakes on the writer's processor (fs/pipe.c, the sync wake-up), where it would wait until the sensor has served the
// other outputs and published the event.
func (l *All) giveWay() {
	begin := time.Now()
	if begin.UnixNano() < l.noWait.Load() {
		return
	}
	_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // always succeeds
	if end := time.Now(); end.Sub(begin) > longWait {
		l.noWait.Store(end.Add(busyPause).UnixNano())
	}
}
