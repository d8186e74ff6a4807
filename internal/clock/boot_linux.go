package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot reads the boot clock.
func sinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return time.Since(processStart) // a kernel without it: the monotonic clock
	}
	return time.Duration(ts.Nano())
}
