package scheduler

import (
	"time"

	"github.com/robfig/cron/v3"

	"smi/internal/social"
)

// Run is a time of a schedule.
type Run struct {
	At time.Time
	// Date is the day number (social.DateOf) of the date for which the run was
	// planned. It is that of At, except where a gap of the clocks moved a run
	// over midnight.
	Date int
}

// NextRun returns the first time of a schedule after a time, on the wall clock
// of a zone; the zero time if there is none within five years. The schedule is
// one that names no zone.
//
// A wall-clock time happens exactly once, by the rule of social.Plan: where the
// clocks go forward over it, it is moved forward by the width of the gap, and
// where it comes twice, it is the first. cron's own Next leaves out what lies
// in a gap, and so a night of figures each spring.
func NextRun(schedule cron.Schedule, zone *time.Location, after time.Time) time.Time {
	return nextRun(schedule, zone, after).At
}

// RunsBetween returns the times of a schedule that are after from and not after
// to: those that were missed while nobody was there.
func RunsBetween(schedule cron.Schedule, zone *time.Location, from, to time.Time) []Run {
	var out []Run
	for r := nextRun(schedule, zone, from); !r.At.IsZero() && !r.At.After(to); r = nextRun(schedule, zone, r.At) {
		out = append(out, r)
	}
	return out
}

// nextRun asks the schedule for wall-clock times, written as times in UTC, and
// maps each to its instant. That map is not monotonic: a time in a gap comes to
// lie behind later ones. So the search begins as far back as the last gap was
// wide, and after a time that was moved it goes on to where it was moved.
func nextRun(schedule cron.Schedule, zone *time.Location, after time.Time) Run {
	offset := func(at time.Time) time.Duration {
		_, s := at.In(zone).Zone()
		return time.Duration(s) * time.Second
	}
	var best Run
	var until time.Time // the last wall-clock time that could come before best
	gap := max(0, offset(after)-offset(after.Add(-36*time.Hour)))
	for wall := schedule.Next(wallOf(after, zone).Add(-gap)); !wall.IsZero(); wall = schedule.Next(wall) {
		if !best.At.IsZero() && !wall.Before(until) {
			break
		}
		at := social.AtWall(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), zone)
		if !at.After(after) || (!best.At.IsZero() && !at.Before(best.At)) {
			continue
		}
		best, until = Run{At: at, Date: social.DateOf(wall, time.UTC)}, wallOf(at, zone)
	}
	return best
}

// wallOf is what the clocks of a zone show, as a time in UTC.
func wallOf(at time.Time, zone *time.Location) time.Time {
	_, s := at.In(zone).Zone()
	return at.UTC().Add(time.Duration(s) * time.Second)
}
