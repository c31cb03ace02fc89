package journal

import (
	"time"

	"golang.org/x/sys/unix"
)

// A Clock tells time. Leases go by Boot, which goes on while the machine sleeps and is never set.
type Clock interface {
	Boot() time.Duration
	Now() time.Time
}

// SystemClock is the machine's.
type SystemClock struct{}

// Boot is CLOCK_BOOTTIME.
func (SystemClock) Boot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("journal: clock_gettime: " + err.Error()) // every Linux has it
	}
	return time.Duration(ts.Nano())
}

// Now is the wall clock.
func (SystemClock) Now() time.Time { return time.Now() }
