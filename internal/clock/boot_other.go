//go:build !linux

package clock

import "time"

// sinceBoot is the monotonic clock where there is no boot clock to read.
func sinceBoot() time.Duration { return time.Since(processStart) }
