package store_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"smi/store"
	"smi/store/storetest"
)

// TestDowntimeReport: three hours away over a night end in one notice that says
// what becomes of each post, and a restart of a second in none.
func TestDowntimeReport(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 1, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "smi.db")
	nights := func(from, to time.Time) int { // at 02:30
		at := time.Date(from.Year(), from.Month(), from.Day(), 2, 30, 0, 0, time.UTC)
		if at.After(from) && !at.After(to) {
			return 1
		}
		return 0
	}
	// life opens the database, reports, and dies.
	life := func(fill func(*storetest.Seeds)) (missed int, told []store.Outgoing) {
		t.Helper()
		s, err := store.Open(t.Context(), store.Options{Path: path, BallastBytes: -1, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close() //nolint:errcheck // it is killed
		if missed, err = s.ReportAway(t.Context(), store.Away{Least: 3 * time.Minute, Grace: 15 * time.Minute, HoldUntil: 24 * time.Hour, Nights: nights}); err != nil {
			t.Fatal(err)
		}
		if fill != nil {
			fill(storetest.Seed(t, s))
		}
		if told, err = s.Unsent(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
		return missed, told
	}
	if missed, told := life(func(d *storetest.Seeds) {
		ws := d.Workspace()
		a := d.Account(ws.ID)
		plan := func(after time.Duration, change string) {
			v := d.Delivery(d.Post(ws.ID, now.Add(after)), a)
			if change != "" {
				d.Exec(`UPDATE delivery SET `+change+` WHERE id = $1`, int64(v.ID))
			}
		}
		plan(-time.Minute, "state = 'published', next_at = 0, remote_id = 'r'")
		plan(10*time.Minute, "late_policy = 'skip'")
		plan(30*time.Minute, "late_policy = 'publish'")
		plan(time.Hour, "")
		plan(90*time.Minute, "not_after = planned_utc + 60000")
		plan(160*time.Minute, "")
		plan(170*time.Minute, "")
		plan(175*time.Minute, "state = 'cancelled', next_at = 0")
		plan(4*time.Hour, "")
	}); missed != 0 || len(told) != 0 {
		t.Fatalf("the first start missed %d and tells %+v", missed, told)
	}
	now = now.Add(time.Second)
	if missed, told := life(nil); missed != 0 || len(told) != 0 {
		t.Errorf("after a second: %d, %+v", missed, told)
	}
	now = now.Add(3*time.Hour - time.Second)
	missed, told := life(nil)
	if missed != 6 || len(told) != 1 || told[0].Kind != "away" {
		t.Fatalf("after three hours: %d missed, told %+v", missed, told)
	}
	for _, want := range []string{
		"smi was away from 2026-11-25 01:00 UTC to 2026-11-25 04:00 UTC, and 6 posts were due meanwhile.",
		"2 are published late now, 2 wait for you, 2 are skipped.", "The nightly reading of numbers was missed", "2026-11-25 01:10:00 UTC on",
	} {
		if !strings.Contains(told[0].Text, want) {
			t.Errorf("%q lacks %q", told[0].Text, want)
		}
	}
	now = now.Add(time.Second)
	if missed, told := life(nil); missed != 0 || len(told) != 1 {
		t.Errorf("after another second: %d missed, %d notices", missed, len(told))
	}
}
