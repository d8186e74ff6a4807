package store_test

import (
	"path/filepath"
	"testing"
	"time"

	"smi/scheduler"
	"smi/store"
	"smi/store/storetest"
)

// history fills a database with planned deliveries, one a minute from a day
// after benchNow, and ten that are due; and with published ones of the past,
// each with its attempt. It needs no more than a few statements.
func history(b *testing.B, path string, planned, past int) {
	b.Helper()
	s, err := store.Open(b.Context(), store.Options{Path: path, BallastBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	d := storetest.Seed(b, s)
	d.Exec(`PRAGMA synchronous = OFF`)
	ws := d.Workspace()
	for range 100 {
		d.Account(ws.ID)
	}
	d.Delivery(d.Post(ws.ID, benchNow), d.Account(ws.ID))
	d.Exec(`CREATE TEMP TABLE someone AS SELECT row_number() OVER () - 1 AS i, id FROM account`)
	d.Exec(`CREATE TEMP TABLE number AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) SELECT i FROM n`, planned+past)
	d.Exec(`INSERT INTO post (id, workspace_id, state, rev, parts, planned_local, planned_zone, planned_utc, created_at, updated_at)
		SELECT i, $1, 'approved', 1, '[]', '', 'UTC', 0, 0, 0 FROM number`, int64(ws.ID))
	d.Exec(`INSERT INTO delivery (id, workspace_id, post_id, account_id, parts, content_hash, approved_hash, planned_utc, state, next_at, remote_id, created_at, updated_at)
		SELECT n.i, $1, n.i, a.id, d.parts, d.content_hash, d.approved_hash,
			CASE WHEN n.i <= 10 THEN $2 WHEN n.i <= $3 THEN $2 + 86400000 + n.i * 60000 ELSE $2 - (n.i - $3) * 60000 END,
			CASE WHEN n.i <= $3 THEN 'scheduled' ELSE 'published' END,
			CASE WHEN n.i <= 10 THEN $2 WHEN n.i <= $3 THEN $2 + 86400000 + n.i * 60000 ELSE 0 END,
			CASE WHEN n.i <= $3 THEN '' ELSE 'r' || n.i END, 0, 0
		FROM number n JOIN someone a ON a.i = n.i % 100, (SELECT parts, content_hash, approved_hash FROM delivery LIMIT 1) d`, int64(ws.ID), benchNow.UnixMilli(), planned)
	d.Exec(`INSERT INTO attempt (id, delivery_id, account_id, step, n, class, epoch, node, armed_at, send_by, takeover_at, token_gen, req_hash, fp, state, remote_id)
		SELECT id, id, account_id, 0, 1, 'keyed', 0, 'n1', planned_utc, planned_utc, planned_utc, 1, '', 'f' || id, 'ok', remote_id FROM delivery WHERE state = 'published'`)
	d.Exec(`INSERT INTO audit (id, workspace_id, at, actor, action, subject) SELECT id, workspace_id, planned_utc, 'scheduler:n1', 'delivery.published', '' FROM delivery WHERE state = 'published'`)
	d.Exec(`PRAGMA synchronous = FULL`)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkStart is from opening the database to the first claim.
func BenchmarkStart(b *testing.B) {
	for _, size := range []struct {
		name          string
		planned, past int
	}{{"100k_planned_0_past", 100_000, 0}, {"100k_planned_1M_past", 100_000, 1_000_000}} {
		b.Run(size.name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "smi.db")
			history(b, path, size.planned, size.past)
			took := map[string]time.Duration{}
			at := time.Now()
			lap := func(what string) {
				took[what] += time.Since(at)
				at = time.Now()
			}
			now := benchNow
			for b.Loop() {
				at = time.Now()
				s, err := store.Open(b.Context(), store.Options{Path: path, BallastBytes: -1, Now: func() time.Time { return now }})
				if err != nil {
					b.Fatal(err)
				}
				lap("open")
				if _, err := s.Recover(b.Context(), "n1", true, now); err != nil {
					b.Fatal(err)
				}
				lap("recover")
				if next, err := s.NextDue(b.Context()); err != nil || next.After(now) {
					b.Fatalf("next due %s: %v", next, err)
				}
				lap("due")
				works, err := s.Claim(b.Context(), scheduler.ClaimRequest{Node: "n1", Now: now, Lease: 15 * time.Second, Limit: 256, PerAccount: 16})
				if err != nil || len(works) < 10 {
					b.Fatalf("claimed %d: %v", len(works), err)
				}
				lap("claim")
				if bad, err := s.CheckInvariants(b.Context(), store.InvariantsOptions{Now: now, Recent: true}); err != nil || len(bad) > 0 {
					b.Fatal(bad, err)
				}
				lap("invariants")
				if bad, err := s.Invariants(b.Context(), now); err != nil || len(bad) > 0 {
					b.Fatal(bad, err)
				}
				lap("all-invariants")
				if _, err := s.LastWrite(b.Context()); err != nil {
					b.Fatal(err)
				}
				lap("last-write")
				if _, err := s.ReportAway(b.Context(), store.Away{Least: time.Minute}); err != nil {
					b.Fatal(err)
				}
				lap("away")
				if _, err := s.Stock(b.Context()); err != nil {
					b.Fatal(err)
				}
				lap("stock")
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				now = now.Add(time.Minute)
			}
			for what, d := range took {
				b.ReportMetric(float64(d.Microseconds())/1000/float64(b.N), "ms-"+what)
			}
		})
	}
}
