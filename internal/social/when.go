package social

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // the same zones on every machine, whatever it has installed
)

// When is a planned time as its author meant it: a wall-clock time in a zone,
// and the instant that is. All three are kept, so that a change of a country's
// rules can be applied to what is still to come.
type When struct {
	Local string    `json:"local"` // "2026-11-22T09:00" or with seconds
	Zone  string    `json:"zone"`  // IANA name
	UTC   time.Time `json:"utc"`
	Note  string    `json:"note,omitempty"` // what had to be decided about a clock change, for the author to see
}

const wallLayout = "2006-01-02T15:04:05"

// offsetLayouts have an offset; seconds may be left out. A fraction of a second is
// read too, as time.Parse does after seconds.
var offsetLayouts = []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04Z07:00"}

var wallLayouts = []string{wallLayout, "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04"}

// LoadZone returns the zone of an IANA name. "Local" and "" are refused: a
// plan must mean the same on every machine.
func LoadZone(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, Errorf(CodeInvalid, "zone", "name a time zone such as Europe/Berlin or UTC")
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, Errorf(CodeInvalid, "zone", "there is no time zone %q; use an IANA name such as Europe/Berlin or Asia/Ho_Chi_Minh", name)
	}
	return loc, nil
}

// Plan reads a wall-clock time in a zone. Where the clocks go back and the time
// happens twice, the first is taken. Where the clocks go forward and the time
// does not exist, it is moved forward by the width of the gap. Both are said in
// Note. A time with its own offset (RFC 3339) is an instant and is taken as it is.
func Plan(text, zone string) (When, error) {
	loc, err := LoadZone(zone)
	if err != nil {
		return When{}, err
	}
	noDay := false
	for _, layout := range offsetLayouts {
		t, err := time.Parse(layout, text)
		if err == nil {
			return When{Local: t.In(loc).Format(wallLayout), Zone: zone, UTC: t.UTC()}, nil
		}
		noDay = noDay || isNoDay(err)
	}
	for _, layout := range wallLayouts {
		wall, err := time.Parse(layout, text)
		if err != nil {
			noDay = noDay || isNoDay(err)
			continue
		}
		at, note := resolve(wall, loc)
		return When{Local: wall.Format(wallLayout), Zone: zone, UTC: at, Note: note}, nil
	}
	if noDay {
		return When{}, Errorf(CodeInvalid, "planned", "there is no such day: %s; check the day and the month", text)
	}
	return When{}, Errorf(CodeInvalid, "planned", "%q is not a time; write it as YYYY-MM-DDTHH:MM, or with an offset as YYYY-MM-DDTHH:MM+01:00", text)
}

// isNoDay says whether a text has the form of a time and its day is not in the
// calendar.
func isNoDay(err error) bool {
	p, ok := errors.AsType[*time.ParseError](err)
	return ok && strings.Contains(p.Message, "day out of range")
}

// Shows says whether the clocks of a plan's zone show its wall-clock time at an
// instant. Where that time happens twice both instants do.
func Shows(at time.Time, w When) bool {
	loc, err := LoadZone(w.Zone)
	return err == nil && at.In(loc).Format(wallLayout) == w.Local
}

// AtWall returns the instant of a wall-clock time in a zone by the rule of Plan.
func AtWall(year int, month time.Month, day, hour, minute, sec int, loc *time.Location) time.Time {
	at, _ := resolve(time.Date(year, month, day, hour, minute, sec, 0, time.UTC), loc)
	return at
}

// resolve finds the instant of wall (a time whose UTC fields are the wall
// clock). time.Date is not used for this: in a gap it goes forward in one zone
// and back in another.
func resolve(wall time.Time, loc *time.Location) (time.Time, string) {
	offset := func(at time.Time) time.Duration {
		_, s := at.In(loc).Zone()
		return time.Duration(s) * time.Second
	}
	before := offset(wall.Add(-36 * time.Hour))
	after := offset(wall.Add(36 * time.Hour))
	shown := func(at time.Time) bool { return at.In(loc).Format(wallLayout) == wall.Format(wallLayout) }
	first, second := wall.Add(-before), wall.Add(-after)
	if second.Before(first) {
		first, second = second, first
	}
	switch {
	case shown(first) && shown(second) && !first.Equal(second):
		return first, fmt.Sprintf("%s happens twice in %s that night; the first one is used", wall.Format("15:04"), loc)
	case shown(first):
		return first, ""
	case shown(second):
		return second, ""
	}
	at := wall.Add(-before)
	return at, fmt.Sprintf("%s does not exist in %s that day because the clocks go forward; %s is used", wall.Format("15:04"), loc, at.In(loc).Format("15:04"))
}
