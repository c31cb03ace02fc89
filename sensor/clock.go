package sensor

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A clock converts boot times, which the kernel stamps records with, to times since the epoch.
type clock struct{ offset atomic.Int64 }

// newClock returns a clock that is set.
func newClock() *clock {
	c := new(clock)
	c.set()
	return c
}

// set takes the difference of the two clocks anew: somebody may have set the machine's time.
func (c *clock) set() {
	var boot, real unix.Timespec
	best, offset := int64(1)<<62, int64(0)
	for range 3 { // the reading between which the least time passed is the most exact
		before := bootNS()
		_ = unix.ClockGettime(unix.CLOCK_REALTIME, &real)
		_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot)
		if d := boot.Nano() - int64(before); d < best {
			best, offset = d, real.Nano()-int64(before)-d/2
		}
	}
	c.offset.Store(offset)
}

// wall converts a boot time to nanoseconds since the epoch.
func (c *clock) wall(bootNS uint64) int64 { return int64(bootNS) + c.offset.Load() }

// bootNS is the boot time now. The call is raw: the Go runtime's monitor wakes up for any other.
func bootNS() uint64 {
	var ts unix.Timespec
	_, _, _ = unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&ts)), 0) // cannot fail: Linux 2.6.39
	return uint64(ts.Nano())
}

// BootOffset is the wall clock minus the boot clock, in nanoseconds.
func BootOffset() int64 { return newClock().offset.Load() }
