package storetest

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"smi/store"
)

// away proves that who comes back after a while is told exactly what was missed.
func away(t *testing.T, open Opener) {
	s := open(t)
	d := Seed(t, s)
	ws := d.Workspace()
	a := d.Account(ws.ID)
	report := func(want int) {
		t.Helper()
		n, err := s.ReportAway(t.Context(), store.Away{Least: 2 * time.Minute, Grace: 15 * time.Minute, HoldUntil: 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if n != want {
			t.Errorf("%d posts are reported as missed, want %d", n, want)
		}
	}
	now := time.Now()
	report(0) // the first start knows of no absence
	before := d.Delivery(d.Post(ws.ID, now.Add(-3*time.Hour)), a)
	within := d.Delivery(d.Post(ws.ID, now.Add(-time.Hour)), a)
	done := d.Delivery(d.Post(ws.ID, now.Add(-time.Hour)), a)
	later := d.Delivery(d.Post(ws.ID, now.Add(time.Hour)), a)
	d.Exec(`UPDATE delivery SET state = 'cancelled', next_at = 0 WHERE id = $1`, int64(done.ID))
	report(0) // smi ran a moment ago
	d.Exec(`UPDATE meta SET value = $1 WHERE key = 'alive'`, strconv.FormatInt(now.Add(-2*time.Hour).UnixMilli(), 10))
	report(1)
	text := d.Text(`SELECT text FROM outbox WHERE kind = 'away'`)
	if !strings.Contains(text, within.ID.String()) || strings.Contains(text, before.ID.String()) || strings.Contains(text, done.ID.String()) || strings.Contains(text, later.ID.String()) {
		t.Errorf("the report names the wrong posts: %s (missed was %s)", text, within.ID)
	}
	report(0) // told once
	if n := d.Text(`SELECT count(*) FROM outbox WHERE kind = 'away'`); n != "1" {
		t.Errorf("%s reports, want 1", n)
	}
	if err := s.Beat(t.Context()); err != nil {
		t.Fatal(err)
	}
}
