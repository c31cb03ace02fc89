package sandbox

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Looking which pages of a memory were written to takes a third of a short event's time, and finds the same ones nearly each time. A watch
// tells when that need not be done: a page that has not been written to yet is not writable for the processor, so the first write takes a page
// fault, and the kernel counts the faults of each thread (mm_account_fault in mm/memory.c). A guest whose thread took none has written to no
// page but those that were found before.

// A watch is on one run of a guest. The zero watch watches nothing.
type watch struct {
	region *region // nil: there is nothing to watch
	faults int64   // of the thread, when it began
	thread int     // that the guest runs in; 0: not asked for yet
	left   bool    // between pause and resume the goroutine may leave the thread
	lost   bool    // the guest went on in another thread
	usage  unix.Rusage
}

// begin is called before a guest runs in r. If it pays, the goroutine stays in its thread from now on.
func (w *watch) begin(r *region) {
	if !r.looked || faultsCounted() != nil {
		return
	}
	runtime.LockOSThread()
	w.region, w.thread, w.left, w.lost = r, 0, false, false
	w.faults = w.count()
}

// quickAnswer is what an operation takes at most that nobody waits in.
const quickAnswer = 25 * time.Microsecond

// pause is called before an operation: the guest stands, and nobody writes to its memory, until resume is called. An operation that waits is
// not to keep the thread, which takes two system calls; whether it will is not known, but what the last one of the function did is.
func (w *watch) pause() {
	if w.region == nil || w.region.quick {
		return
	}
	if w.thread == 0 {
		w.thread = unix.Gettid()
	}
	w.left = true
	runtime.UnlockOSThread()
}

// resume is called after an operation, with the time it took.
func (w *watch) resume(took time.Duration) {
	if w.region == nil {
		return
	}
	if w.left {
		w.left = false
		runtime.LockOSThread()
		w.lost = w.lost || unix.Gettid() != w.thread
	}
	w.region.quick = took < quickAnswer
}

// end is called when the guest has come to its end.
func (w *watch) end() {
	if w.region == nil {
		return
	}
	w.region.same = !w.lost && w.count() == w.faults
	w.region = nil
	runtime.UnlockOSThread()
}

// count is how many faults the thread has taken. What it cannot tell counts as one more.
func (w *watch) count() int64 {
	// Not unix.Getrusage: it tells the scheduler of a system call that is over at once.
	_, _, errno := unix.RawSyscall(unix.SYS_GETRUSAGE, unix.RUSAGE_THREAD, uintptr(unsafe.Pointer(&w.usage)), 0)
	if errno != 0 {
		return w.faults + 1
	}
	return w.usage.Minflt + w.usage.Majflt
}

// faultsCounted says why faults cannot be relied on here, or nil.
var faultsCounted = sync.OnceValue(func() error { return testFaults((*watch).count) })

// testFaults writes to each page of a memory, half of which were read before, and looks whether that is counted each time.
func testFaults(count func(*watch) int64) error {
	page := os.Getpagesize()
	im, err := newImage(make([]byte, selfTestPages*page), 0, ways[len(ways)-1])
	if err != nil {
		return err
	}
	defer im.close()
	r, err := im.take(int64(im.size))
	if err != nil {
		return err
	}
	defer r.unmap()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	w := &watch{}
	for o := 0; o < len(r.base); o += page {
		if o/page%2 == 0 {
			sink(r.base[o])
		}
		w.faults = count(w)
		r.base[o]++
		if count(w) == w.faults {
			return errors.New("the kernel does not count a thread's page faults")
		}
	}
	return nil
}
