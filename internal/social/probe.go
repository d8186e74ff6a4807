package social

import "time"

// Probe is a login that is to be tried because posts are planned.
type Probe struct {
	Account Account
	Posts   int       // within a day
	First   time.Time // the next of them
	Near    bool      // the next is within an hour
	Told    bool      // people know that something is wrong
	Said    string    // what was, the last time
}
