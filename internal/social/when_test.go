package social

import (
	_ "embed"
	"fmt"
	"strings"
	"testing"
	"time"
)

// zones are the names of the tz database, as in the zoneinfo.zip of Go 1.26.
//
//go:embed testdata/zones.txt
var zones string

// span is a stretch of time in which a zone has one offset.
type span struct {
	from, to time.Time // from is included, to is not
	offset   time.Duration
}

// spans are those of a zone from 2023 to 2039. They are asked of the zone one
// after another, so nothing here knows what a clock change is.
func spans(loc *time.Location) []span {
	var out []span
	at := time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)
	for end := time.Date(2039, 1, 1, 0, 0, 0, 0, time.UTC); at.Before(end); {
		_, to := at.In(loc).ZoneBounds()
		if to = to.UTC(); to.IsZero() || to.After(end) {
			to = end
		}
		_, s := at.In(loc).Zone()
		out = append(out, span{at, to, time.Duration(s) * time.Second})
		at = to
	}
	return out
}

// meant is the rule of Plan worked out by trying every span: the first instant
// at which the zone's clocks show wall; if there is none, the wall clock read
// with the offset before the gap.
func meant(ss []span, wall time.Time) (at time.Time, times int) {
	for _, s := range ss {
		u := wall.Add(-s.offset)
		if !u.Before(s.from) && u.Before(s.to) {
			if times == 0 {
				at = u
			}
			times++
		}
	}
	if times > 0 {
		return at, times
	}
	for i := 1; i < len(ss); i++ {
		if change := ss[i].from; !wall.Before(change.Add(ss[i-1].offset)) && wall.Before(change.Add(ss[i].offset)) {
			return wall.Add(-ss[i-1].offset), 0
		}
	}
	return time.Time{}, 0
}

// TestPlanAtEveryClockChange: every zone, every clock change from 2024 to 2037,
// on both sides and in the middle of it.
func TestPlanAtEveryClockChange(t *testing.T) {
	t.Parallel()
	names := strings.Fields(zones)
	gaps, folds := 0, 0
	for _, name := range names {
		loc, err := LoadZone(name)
		if err != nil {
			t.Fatal(err)
		}
		ss := spans(loc)
		for i := 1; i < len(ss); i++ {
			change, before, after := ss[i].from, ss[i-1].offset, ss[i].offset
			if change.Year() < 2024 || change.Year() > 2037 || before == after {
				continue
			}
			if after > before {
				gaps++
			} else {
				folds++
			}
			early, late := change.Add(min(before, after)), change.Add(max(before, after))
			for _, wall := range []time.Time{
				early.Add(-24 * time.Hour), early.Add(-time.Hour), early.Add(-time.Second), early, early.Add(time.Second),
				early.Add(late.Sub(early) / 2), late.Add(-time.Second), late, late.Add(time.Second), late.Add(time.Hour), late.Add(24 * time.Hour),
			} {
				want, times := meant(ss, wall)
				got, err := Plan(wall.Format(wallLayout), name)
				if err != nil {
					t.Fatal(err)
				}
				if !got.UTC.Equal(want) {
					t.Errorf("%s in %s is %v, want %v (%d times that day)", wall.Format(wallLayout), name, got.UTC, want, times)
				}
				if (got.Note != "") != (times != 1) {
					t.Errorf("%s in %s happens %d times, and the note is %q", wall.Format(wallLayout), name, times, got.Note)
				}
				if direct := AtWall(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), loc); !direct.Equal(got.UTC) {
					t.Errorf("AtWall and Plan differ on %s in %s", wall.Format(wallLayout), name)
				}
				if t.Failed() {
					return
				}
			}
		}
	}
	if len(names) < 500 || gaps < 2000 || folds < 2000 {
		t.Errorf("only %d zones, %d gaps and %d folds were looked at", len(names), gaps, folds)
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text, zone, utc, local string
		note                   bool
	}{
		{"2026-11-22T09:00", "Asia/Ho_Chi_Minh", "2026-11-22T02:00:00Z", "2026-11-22T09:00:00", false},
		{"2026-11-22 09:00:30", "UTC", "2026-11-22T09:00:30Z", "2026-11-22T09:00:30", false},
		{"2026-03-29T02:30", "Europe/Berlin", "2026-03-29T01:30:00Z", "2026-03-29T02:30:00", true},       // shown as 03:30
		{"2026-10-25T02:30", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T02:30:00", true},       // the first one
		{"2026-10-04T02:15", "Australia/Lord_Howe", "2026-10-03T15:45:00Z", "2026-10-04T02:15:00", true}, // a gap of half an hour
		{"2011-12-30T10:00", "Pacific/Apia", "2011-12-30T20:00:00Z", "2011-12-30T10:00:00", true},        // a day that was left out
		{"2026-11-22T09:00:00+01:00", "America/New_York", "2026-11-22T08:00:00Z", "2026-11-22T03:00:00", false},
		{"2026-11-22T08:00:00Z", "Europe/Berlin", "2026-11-22T08:00:00Z", "2026-11-22T09:00:00", false},
	} {
		got, err := Plan(c.text, c.zone)
		if err != nil {
			t.Errorf("%s in %s: %v", c.text, c.zone, err)
			continue
		}
		if u := got.UTC.Format(time.RFC3339); u != c.utc || got.Local != c.local || got.Zone != c.zone || (got.Note != "") != c.note {
			t.Errorf("%s in %s: %+v, want %s, local %s", c.text, c.zone, got, c.utc, c.local)
		}
	}
	for _, c := range []struct{ text, zone, field string }{
		{"tomorrow", "UTC", "planned"},
		{"2026-02-30T09:00", "UTC", "planned"},
		{"2026-11-22T25:00", "UTC", "planned"},
		{"2026-11-22T09:00", "", "zone"},
		{"2026-11-22T09:00", "Local", "zone"},
		{"2026-11-22T09:00", "Europe/Atlantis", "zone"},
		{"2026-11-22T09:00", "../../etc/passwd", "zone"},
	} {
		_, err := Plan(c.text, c.zone)
		if e, ok := err.(*Error); !ok || e.Field != c.field || e.Code != CodeInvalid { //nolint:errorlint // the very type is meant
			t.Errorf("%q in %q: %v, want a problem of %q", c.text, c.zone, err, c.field)
		}
	}
}

// TestDays: a date is the network's own, and a day number goes there and back.
func TestDays(t *testing.T) {
	t.Parallel()
	la, err := LoadZone("America/Los_Angeles")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 23, 7, 59, 0, 0, time.UTC) // 23:59 the day before over there
	if got := DayStart(DateOf(at, la)); got.Format("2006-01-02") != "2026-11-22" {
		t.Errorf("the date in Los Angeles is %v", got)
	}
	if got := DayStart(DateOf(at, time.UTC)); got.Format("2006-01-02") != "2026-11-23" {
		t.Errorf("the date in UTC is %v", got)
	}
	for day := -1000; day < 40000; day += 13 {
		if got := DateOf(DayStart(day), time.UTC); got != day {
			t.Fatalf("day %d came back as %d", day, got)
		}
	}
	for _, at := range []time.Time{time.Date(1969, 12, 31, 23, 0, 0, 0, time.UTC)} {
		if got := fmt.Sprint(DateOf(at, time.UTC)); got != "-1" {
			t.Errorf("the day before 1970 is %s", got)
		}
	}
}

func TestPlanWithOffset(t *testing.T) {
	t.Parallel()
	want := time.Date(2027, 10, 31, 1, 30, 0, 0, time.UTC)
	for _, text := range []string{"2027-10-31T02:30+01:00", "2027-10-31T02:30:00+01:00", "2027-10-31 02:30+01:00", "2027-10-31T01:30Z"} {
		w, err := Plan(text, "Europe/Berlin")
		if err != nil || !w.UTC.Equal(want) || w.Note != "" {
			t.Errorf("%s: %+v, %v", text, w, err)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"2027-02-30T09:00":       "there is no such day",
		"2027-02-30T09:00+01:00": "there is no such day",
		"2027-11-31 09:00:00":    "there is no such day",
		"tomorrow":               "write it as YYYY-MM-DDTHH:MM",
		"2027-02-03T25:00":       "write it as YYYY-MM-DDTHH:MM",
		"2027-02-03":             "write it as YYYY-MM-DDTHH:MM",
	} {
		if w, err := Plan(text, "UTC"); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %+v, %v; want %q", text, w, err, says)
		}
	}
}
