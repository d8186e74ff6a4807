package scheduler_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/robfig/cron/v3"

	"smi/internal/social"
	"smi/scheduler"
)

// clockZones have clocks that go back and forth at midnight, at night, in the
// evening, by an hour or half of one, in spring or around a fasting month, or
// not at all; or went over a whole day (Apia, in 2011).
var clockZones = []string{
	"UTC", "Europe/Berlin", "Europe/London", "Europe/Dublin", "Europe/Chisinau", "Europe/Moscow", "Atlantic/Azores",
	"America/New_York", "America/Los_Angeles", "America/St_Johns", "America/Havana", "America/Santiago", "America/Asuncion",
	"America/Nuuk", "America/Scoresbysund", "America/Miquelon", "America/Mexico_City", "America/Sao_Paulo", "Antarctica/Troll",
	"Africa/Casablanca", "Africa/El_Aaiun", "Africa/Cairo", "Asia/Beirut", "Asia/Gaza", "Asia/Jerusalem", "Asia/Almaty",
	"Asia/Ho_Chi_Minh", "Asia/Kathmandu", "Australia/Sydney", "Australia/Adelaide", "Australia/Lord_Howe", "Pacific/Auckland",
	"Pacific/Chatham", "Pacific/Norfolk", "Pacific/Easter", "Pacific/Apia", "Pacific/Kiritimati", "Pacific/Marquesas",
}

func loadZone(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := social.LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func mustCron(t testing.TB, text string) cron.Schedule {
	t.Helper()
	s, err := cron.ParseStandard(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// transitions are the instants, to the minute, at which the clocks of a zone
// change.
func transitions(zone *time.Location, from, to time.Time) []time.Time {
	offset := func(at time.Time) int { _, s := at.In(zone).Zone(); return s }
	var out []time.Time
	for at := from; at.Before(to); at = at.Add(6 * time.Hour) {
		lo, hi := at, at.Add(6*time.Hour)
		if offset(lo) == offset(hi) {
			continue
		}
		for hi.Sub(lo) > time.Minute {
			if mid := lo.Add(hi.Sub(lo) / 2).Truncate(time.Minute); offset(mid) == offset(lo) {
				lo = mid
			} else {
				hi = mid
			}
		}
		out = append(out, hi)
	}
	return out
}

// TestADailyScheduleRunsOnceADate goes over seven years in many zones.
func TestADailyScheduleRunsOnceADate(t *testing.T) {
	t.Parallel()
	schedule := mustCron(t, "30 2 * * *")
	for _, name := range clockZones {
		zone := loadZone(t, name)
		from := social.AtWall(2024, 1, 1, 0, 0, 0, zone)
		to := social.AtWall(2031, 1, 1, 0, 0, 0, zone).Add(-time.Second)
		runs := scheduler.RunsBetween(schedule, zone, from, to)
		oneADate(t, name, zone, runs, from, to)
		if len(runs) != 7*365+2 {
			t.Errorf("%s: %d runs in seven years", name, len(runs))
		}
	}
}

// TestEveryQuarterHourAroundEveryTransition does so for every time of the day,
// on the days around each change of the clocks.
func TestEveryQuarterHourAroundEveryTransition(t *testing.T) {
	t.Parallel()
	gaps, folds := 0, 0
	for _, name := range clockZones {
		zone := loadZone(t, name)
		for _, change := range transitions(zone, time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)) {
			if _, before := change.Add(-time.Minute).In(zone).Zone(); before < offsetOf(change, zone) {
				gaps++
			} else {
				folds++
			}
			day := change.In(zone)
			from := social.AtWall(day.Year(), day.Month(), day.Day()-2, 0, 0, 0, zone).Add(-time.Second)
			to := social.AtWall(day.Year(), day.Month(), day.Day()+3, 0, 0, 0, zone).Add(-time.Second)
			for quarter := range 96 {
				text := fmt.Sprintf("%d %d * * *", quarter%4*15, quarter/4)
				oneADate(t, name+" "+text, zone, scheduler.RunsBetween(mustCron(t, text), zone, from, to), from, to)
			}
		}
	}
	if gaps < 100 || folds < 100 {
		t.Errorf("only %d gaps and %d folds were tried", gaps, folds)
	}
}

func offsetOf(at time.Time, zone *time.Location) int {
	_, s := at.In(zone).Zone()
	return s
}

// oneADate checks that each local date from from to to has exactly one run.
func oneADate(t *testing.T, name string, zone *time.Location, runs []scheduler.Run, from, to time.Time) {
	t.Helper()
	want := social.DateOf(from.Add(time.Second), zone)
	for i, r := range runs {
		if r.Date != want+i {
			t.Errorf("%s: the run at %s is for day %d, not %d", name, r.At.In(zone), r.Date, want+i)
			return
		}
		if i > 0 && !r.At.After(runs[i-1].At) {
			t.Errorf("%s: the run at %s does not come after the one before", name, r.At.In(zone))
		}
	}
	if last := social.DateOf(to, zone); len(runs) == 0 || runs[len(runs)-1].Date != last && runs[len(runs)-1].Date != last-1 {
		t.Errorf("%s: the last run is not of the last date", name)
	}
	// A run of the last date that a gap moved over midnight is the only one
	// that may be missing at the end.
	if n := social.DateOf(to, zone) - want + 1; len(runs) < n-1 || len(runs) > n {
		t.Errorf("%s: %d runs on %d dates", name, len(runs), n)
	}
}

func TestNextRun(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, zone, cron, after, want string }{
		{"an ordinary night", "Europe/Berlin", "30 2 * * *", "2026-11-23T00:00:00+01:00", "2026-11-23T02:30:00+01:00"},
		{"after is not included", "Europe/Berlin", "30 2 * * *", "2026-11-23T02:30:00+01:00", "2026-11-24T02:30:00+01:00"},
		{"a night in the gap", "Europe/Berlin", "30 2 * * *", "2026-03-28T12:00:00+01:00", "2026-03-29T03:30:00+02:00"},
		{"within the moved time", "Europe/Berlin", "30 2 * * *", "2026-03-29T03:10:00+02:00", "2026-03-29T03:30:00+02:00"},
		{"not twice after the gap", "Europe/Berlin", "30 2 * * *", "2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00"},
		{"the first of a fold", "Europe/Berlin", "30 2 * * *", "2026-10-24T12:00:00+02:00", "2026-10-25T02:30:00+02:00"},
		{"not the second of a fold", "Europe/Berlin", "30 2 * * *", "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"},
		{"from between the two", "Europe/Berlin", "30 2 * * *", "2026-10-25T02:10:00+01:00", "2026-10-26T02:30:00+01:00"},
		{"a moved one behind a later one", "Europe/Berlin", "15 2,3 * * *", "2026-03-29T01:59:00+01:00", "2026-03-29T03:15:00+02:00"},
		{"one moved to the end of the gap", "Europe/Berlin", "*/40 * * * *", "2026-03-29T01:50:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"then one moved into the hour", "Europe/Berlin", "*/40 * * * *", "2026-03-29T03:00:00+02:00", "2026-03-29T03:40:00+02:00"},
		{"a later one before a moved one, after half an hour", "Australia/Lord_Howe", "*/20 2 * * *", "2026-10-04T02:30:00+11:00", "2026-10-04T02:40:00+11:00"},
		{"a gap at midnight", "Asia/Beirut", "15 0 * * *", "2026-03-28T12:00:00+02:00", "2026-03-29T01:15:00+03:00"},
		{"half an hour", "Australia/Lord_Howe", "15 2 * * *", "2026-10-03T12:00:00+10:30", "2026-10-04T02:45:00+11:00"},
		{"a day that was not", "Pacific/Apia", "30 2 * * *", "2011-12-29T12:00:00-10:00", "2011-12-31T02:30:00+14:00"},
		{"and not twice", "Pacific/Apia", "30 2 * * *", "2011-12-31T02:30:00+14:00", "2012-01-01T02:30:00+14:00"},
		{"monthly", "UTC", "@monthly", "2026-11-23T00:00:00Z", "2026-12-01T00:00:00Z"},
		{"a weekday", "UTC", "0 3 * * 0", "2026-11-23T00:00:00Z", "2026-11-29T03:00:00Z"},
		{"within a second", "UTC", "30 2 * * *", "2026-11-23T02:29:59.999Z", "2026-11-23T02:30:00Z"},
		{"never", "UTC", "0 0 31 2 *", "2026-11-23T00:00:00Z", ""},
	} {
		after, err := time.Parse(time.RFC3339, tt.after)
		if err != nil {
			t.Fatal(err)
		}
		zone := loadZone(t, tt.zone)
		got := scheduler.NextRun(mustCron(t, tt.cron), zone, after)
		if tt.want == "" && got.IsZero() {
			continue
		}
		if s := got.In(zone).Format(time.RFC3339); s != tt.want {
			t.Errorf("%s: %s after %s is %s, not %s", tt.name, tt.cron, tt.after, s, tt.want)
		}
	}
}

// TestHourlyRunsHaveNoLongPause: around a change of the clocks an hourly
// schedule neither repeats nor stops for longer than the hour that came twice.
func TestHourlyRunsHaveNoLongPause(t *testing.T) {
	t.Parallel()
	zone := loadZone(t, "Europe/Berlin")
	schedule := mustCron(t, "@hourly")
	for _, day := range []time.Time{time.Date(2026, 3, 29, 0, 0, 0, 0, zone), time.Date(2026, 10, 25, 0, 0, 0, 0, zone)} {
		last := day
		for _, r := range scheduler.RunsBetween(schedule, zone, day, day.Add(24*time.Hour)) {
			if pause := r.At.Sub(last); pause < time.Hour || pause > 2*time.Hour {
				t.Errorf("%s comes %s after the one before", r.At.In(zone), pause)
			}
			last = r.At
		}
	}
}
