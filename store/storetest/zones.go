package storetest

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"smi/internal/social"
	"smi/scheduler"
)

// zones proves that what is planned keeps its wall-clock time when the rules of
// its zone change, and that nothing else is touched.
func zones(t *testing.T, open Opener) {
	r := newRoom(t, open)
	// Nine in the morning in Berlin is eight in UTC; it was stored as if Berlin had
	// kept its summer time.
	right := time.Date(2031, 1, 15, 8, 0, 0, 0, time.UTC)
	stored := right.Add(-time.Hour)
	plan := func(local, zone string, at time.Time) social.Delivery {
		d := r.due(at)
		r.Exec(`UPDATE post SET planned_local = $1, planned_zone = $2 WHERE id = $3`, local, zone, int64(d.PostID))
		return d
	}
	moved := plan("2031-01-15T09:00:00", "Europe/Berlin", stored)
	r.Exec(`UPDATE delivery SET not_after = $1, next_at = next_at - 60000, state = 'ready' WHERE id = $2`, stored.Add(time.Hour).UnixMilli(), int64(moved.ID))
	r.Exec(`INSERT INTO checkpoint (delivery_id, step, state) VALUES ($1, 0, '{"at":"seven"}')`, int64(moved.ID))
	blocked := plan("2031-01-15T09:00:00", "Europe/Berlin", stored)
	r.Exec(`UPDATE delivery SET state = 'blocked', next_at = 0 WHERE id = $1`, int64(blocked.ID))
	r.Exec(`UPDATE delivery SET post_id = $1, account_id = $2 WHERE id = $3`, int64(moved.PostID), int64(r.Account(r.ws.ID).ID), int64(blocked.ID))
	own := plan("2031-01-15T09:00:00", "Europe/Berlin", stored)
	r.Exec(`UPDATE delivery SET planned_utc = planned_utc + 7200000, post_id = $1, account_id = $2 WHERE id = $3`, int64(moved.PostID), int64(r.Account(r.ws.ID).ID), int64(own.ID))
	doubtful := plan("2031-01-15T09:00:00", "Europe/Berlin", stored)
	r.Exec(`UPDATE delivery SET post_id = $1, account_id = $2 WHERE id = $3`, int64(moved.PostID), int64(r.Account(r.ws.ID).ID), int64(doubtful.ID))
	r.Exec(`INSERT INTO attempt (id, delivery_id, account_id, step, n, class, epoch, node, armed_at, send_by, takeover_at, token_gen, req_hash, fp, state, early)
		VALUES ($1, $2, 1, 0, 1, 'keyed', 1, 'n1', 1, 1, 1, 1, '', '', 'absent_by_handle', TRUE)`, int64(r.ID()), int64(doubtful.ID))
	// The second of two equal times was planned by its offset.
	twice := plan("2030-10-27T02:30:00", "Europe/Berlin", time.Date(2030, 10, 27, 1, 30, 0, 0, time.UTC))
	unchanged := plan("2031-01-15T09:00:00", "Asia/Tokyo", time.Date(2031, 1, 15, 0, 0, 0, 0, time.UTC))
	unknown := plan("2031-01-15T09:00:00", "Mars/Olympus", stored)
	past := plan("2021-01-15T09:00:00", "Europe/Berlin", time.Date(2021, 1, 15, 7, 0, 0, 0, time.UTC))

	apply := func(want int) {
		t.Helper()
		if n, err := r.s.ApplyZoneRules(t.Context()); n != want || err != nil {
			t.Errorf("%d posts were moved (%v), want %d", n, err, want)
		}
	}
	before := r.claim("n1", stored.Add(-30*time.Second), func(q *scheduler.ClaimRequest) { q.PlannedBy = stored.Add(time.Hour) })
	apply(1)
	at := func(id social.ID, column string) time.Time {
		t.Helper()
		ms, err := strconv.ParseInt(r.Text(`SELECT `+column+` FROM delivery WHERE id = $1`, int64(id)), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return time.UnixMilli(ms).UTC()
	}
	for what, c := range map[string]struct{ got, want time.Time }{
		"the moved one's time":         {at(moved.ID, "planned_utc"), right},
		"the moved one's first look":   {at(moved.ID, "next_at"), right.Add(-time.Minute)},
		"the moved one's limit":        {at(moved.ID, "not_after"), right.Add(time.Hour)},
		"the blocked one's time":       {at(blocked.ID, "planned_utc"), right},
		"the blocked one's first look": {at(blocked.ID, "next_at"), time.UnixMilli(0)},
		"one with a time of its own":   {at(own.ID, "planned_utc"), stored.Add(2 * time.Hour)},
		"one that may be there":        {at(doubtful.ID, "planned_utc"), stored},
		"the second of two times":      {at(twice.ID, "planned_utc"), time.Date(2030, 10, 27, 1, 30, 0, 0, time.UTC)},
		"another zone":                 {at(unchanged.ID, "planned_utc"), time.Date(2031, 1, 15, 0, 0, 0, 0, time.UTC)},
		"a zone that is gone":          {at(unknown.ID, "planned_utc"), stored},
		"the past":                     {at(past.ID, "planned_utc"), time.Date(2021, 1, 15, 7, 0, 0, 0, time.UTC)},
	} {
		if !c.got.Equal(c.want) {
			t.Errorf("%s is %s, want %s", what, c.got, c.want)
		}
	}
	if got := r.state(moved.ID); got != social.Scheduled || r.state(blocked.ID) != social.Blocked {
		t.Errorf("the moved one is %s and the blocked one %s", got, r.state(blocked.ID))
	}
	if n := r.Text(`SELECT count(*) FROM checkpoint WHERE delivery_id = $1`, int64(moved.ID)); n != "0" {
		t.Error("what was prepared for another time is kept")
	}
	for _, w := range before { // whoever had it has it no more
		if err := r.s.Move(t.Context(), scheduler.Move{Delivery: w.Delivery.ID, Epoch: w.Delivery.Epoch, From: []social.DeliveryState{social.Scheduled}, To: social.Claimed, Now: stored}); w.Delivery.ID == moved.ID && err == nil {
			t.Error("the node that had claimed it still moves it")
		}
	}
	text := r.Text(`SELECT text FROM outbox WHERE kind = 'zone_rules_changed'`)
	if n := r.Text(`SELECT count(*) FROM outbox WHERE kind = 'zone_rules_changed'`); n != "1" || !strings.Contains(text, "Europe/Berlin") || !strings.Contains(text, "One planned post keeps") || !strings.Contains(text, "2031-01-15T08:00:00Z and was 2031-01-15T07:00:00Z") {
		t.Errorf("%s notices, the first says: %s", n, text)
	}
	apply(0)
}
