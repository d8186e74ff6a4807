// Package clock tells the time in a way that does not stop while the machine
// sleeps. Go's monotonic clock stops in suspend, so a deadline measured with it
// can pass unnoticed; the boot clock goes on.
package clock

import "time"

// Boot is a clock that starts at the wall time of its making and runs with the
// machine's boot clock: it never jumps when the wall clock is set, and it does
// not stop while the machine sleeps.
type Boot struct {
	wall  time.Time
	start time.Duration
}

// NewBoot returns a clock that shows the wall time now.
func NewBoot() Boot {
	return Boot{wall: time.Now().Round(0), start: sinceBoot()}
}

// Now returns the clock's time.
func (b Boot) Now() time.Time { return b.wall.Add(sinceBoot() - b.start) }

// Drift says how far the wall clock is ahead of this one: how much it was set
// since the clock was made.
func (b Boot) Drift() time.Duration { return time.Now().Round(0).Sub(b.Now()) }

var processStart = time.Now()
