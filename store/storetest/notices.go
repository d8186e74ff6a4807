package storetest

import (
	"strconv"
	"testing"
	"time"

	"smi/scheduler"
)

func notices(t *testing.T, open Opener) {
	t.Parallel()
	r := newRoom(t, open)
	n := scheduler.Notice{Kind: "account_needs_reconnect", Severity: "alarm", Account: r.a.ID, Text: "Log in again."}
	for range 3 {
		if err := r.s.Tell(t.Context(), r.ws.ID, n); err != nil {
			t.Fatal(err)
		}
	}
	got, err := r.s.Unsent(t.Context(), 2)
	if err != nil || len(got) != 2 || got[0].Notice != n || got[0].ID >= got[1].ID || got[0].CreatedAt.IsZero() {
		t.Fatalf("unsent %+v, %v", got, err)
	}
	for range 2 {
		if err := r.s.MarkSent(t.Context(), got[0].ID); err != nil {
			t.Fatal(err)
		}
	}
	left, err := r.s.Unsent(t.Context(), 10)
	if err != nil || len(left) != 2 || left[0].ID != got[1].ID {
		t.Errorf("left %+v, %v", left, err)
	}
	if n, err := r.s.PruneNotices(t.Context(), got[0].CreatedAt); n != 0 || err != nil {
		t.Errorf("%d notices deleted before there were any (%v)", n, err)
	}
	if n, err := r.s.PruneNotices(t.Context(), got[1].CreatedAt.Add(time.Hour)); n != 3 || err != nil {
		t.Errorf("%d notices deleted (%v), want 3", n, err)
	}
}

func limits(t *testing.T, open Opener) {
	t.Parallel()
	s := open(t)
	check := func(bucket string, want time.Time) {
		t.Helper()
		if got, err := s.BlockedUntil(t.Context(), bucket); err != nil || !got.Equal(want) {
			t.Errorf("%s is blocked until %v, %v; want %v", bucket, got, err, want)
		}
	}
	block := func(bucket string, until time.Time) {
		t.Helper()
		if err := s.Block(t.Context(), bucket, until); err != nil {
			t.Fatal(err)
		}
	}
	hour := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	check("a", time.Time{})
	block("a", hour)
	check("a", hour)
	block("a", hour.Add(-time.Minute)) // never shorter
	check("a", hour)
	block("a", hour.Add(time.Minute))
	check("a", hour.Add(time.Minute))
	check("b", time.Time{})
	past := time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)
	block("c", past)
	check("c", past)
	// What the database has, not only what the cache has.
	d := Seed(t, s)
	if got := d.Text(`SELECT until FROM limit_block WHERE bucket = 'a'`); got != millisText(hour.Add(time.Minute)) {
		t.Errorf("stored %s", got)
	}
	d.Exec(`INSERT INTO limit_block (bucket, until) VALUES ('other node', $1)`, hour.UnixMilli())
	check("other node", hour)
}

func millisText(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }
