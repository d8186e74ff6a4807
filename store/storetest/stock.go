package storetest

import (
	"cmp"
	"slices"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"smi/internal/social"
)

// stock wants what monitoring is told to be what is in the tables.
func stock(t *testing.T, open Opener) {
	s := open(t)
	d := Seed(t, s)
	now := s.Now().UTC().Truncate(time.Millisecond)
	ago := func(x time.Duration) time.Time { return now.Add(-x) }
	ws := d.Workspace()
	a, b, off := d.Account(ws.ID), d.Account(ws.ID), d.Account(ws.ID)
	d.Exec(`UPDATE account SET network = 'other', status = 'needs_reconnect' WHERE id = $1`, int64(b.ID))
	d.Exec(`UPDATE account SET paused = TRUE WHERE id = $1`, int64(off.ID))
	gone := d.Account(ws.ID)
	d.Exec(`UPDATE account SET status = 'removed' WHERE id = $1`, int64(gone.ID))
	at := func(a social.Account, state string, planned time.Time) social.ID {
		id := d.Delivery(d.Post(ws.ID, planned), a).ID
		d.Exec(`UPDATE delivery SET state = $1, remote_id = CASE WHEN $1 = 'published' THEN 'r' ELSE '' END WHERE id = $2`, state, int64(id))
		return id
	}
	attempt := func(id social.ID, a social.Account, state string, armed time.Time) {
		d.Exec(`INSERT INTO attempt (id, delivery_id, account_id, step, n, class, epoch, node, armed_at, send_by, takeover_at, token_gen, req_hash, fp, state)
			VALUES ($1, $2, $3, 0, 1, 'unkeyed', 1, 'n', $4, $4, $4, 1, '', '', $5)`, int64(d.ID()), int64(id), int64(a.ID), armed.UnixMilli(), state)
	}
	at(a, "scheduled", now.Add(time.Hour))
	at(a, "scheduled", ago(time.Minute))
	at(a, "waiting", ago(time.Hour))
	at(b, "ready", ago(2*time.Hour))
	at(off, "scheduled", ago(3*time.Hour)) // a person holds it back
	at(a, "published", ago(4*time.Hour))
	at(a, "held_late", ago(5*time.Hour))
	attempt(at(b, "needs_human", ago(6*time.Hour)), b, "ambiguous", ago(6*time.Hour))
	attempt(at(a, "armed", ago(time.Second)), a, "armed", ago(time.Second))
	attempt(at(a, "failed", ago(7*time.Hour)), a, "ambiguous", ago(7*time.Hour)) // dropped by a person
	grant := func(a social.Account, state string, issued, access, login time.Time) {
		ms := func(t time.Time) int64 {
			if t.IsZero() {
				return 0
			}
			return t.UnixMilli()
		}
		d.Exec(`INSERT INTO grant_row (account_id, gen, sealed, issued_at, expires_at, refresh_expires_at, state, updated_at) VALUES ($1, 1, $2, $3, $4, $5, $6, 0)`,
			int64(a.ID), []byte("x"), ms(issued), ms(access), ms(login), state)
	}
	grant(a, "connected", ago(time.Hour), now.Add(time.Hour), now.Add(48*time.Hour))
	grant(off, "connected", ago(2*time.Hour), time.Time{}, now.Add(24*time.Hour))
	grant(gone, "connected", ago(9*time.Hour), ago(time.Hour), ago(time.Hour))
	run := func(a social.Account, state string, created time.Time) {
		d.Exec(`INSERT INTO sync_run (id, account_id, local_date, kind, state, created_at, finished_at) VALUES ($1, $2, 1, 'manual', $3, $4, $4)`, int64(d.ID()), int64(a.ID), state, created.UnixMilli())
	}
	run(a, "done", ago(30*time.Hour))
	run(a, "failed", ago(6*time.Hour))
	run(off, "done", ago(5*time.Hour))
	limit := func(bucket string, until time.Time) {
		d.Exec(`INSERT INTO limit_block (bucket, until) VALUES ($1, $2)`, bucket, until.UnixMilli())
	}
	limit("fake/app", now.Add(time.Hour))
	limit("fake/account/x/y", now.Add(2*time.Hour))
	limit("other/app", ago(time.Hour))
	for key, used := range map[string]int{"fake/a/b/create/1h0m0s": 7, "fake/c/create/1h0m0s": 9, "odd": 3} {
		d.Exec(`INSERT INTO budget (key, window_start, used) VALUES ($1, $2, $3)`, key, now.Truncate(time.Hour).UnixMilli(), used)
	}
	d.Exec(`INSERT INTO budget (key, window_start, used) VALUES ('fake/d/create/1h0m0s', $1, 99)`, ago(3*time.Hour).UnixMilli())
	uses, waits, err := s.LimitsNow(t.Context())
	hour := now.Truncate(time.Hour)
	use := func(who string, used int) social.BudgetUse {
		return social.BudgetUse{BudgetStock: social.BudgetStock{Network: "fake", Endpoint: "create", Window: time.Hour, Used: used}, Who: who, Start: hour}
	}
	if d := diff.Diff([]social.BudgetUse{use("a/b", 7), use("c", 9)}, uses); err != nil || d != "" {
		t.Errorf("budgets (-want +got): %s %v", d, err)
	}
	if d := diff.Diff([]social.LimitWait{{Bucket: "fake/account/x/y", Until: now.Add(2 * time.Hour)}, {Bucket: "fake/app", Until: now.Add(time.Hour)}}, waits); d != "" {
		t.Errorf("waits (-want +got): %s", d)
	}
	notice := func(severity string, tries int, made, sent int64) {
		d.Exec(`INSERT INTO outbox (id, kind, severity, text, created_at, sent_at, tries) VALUES ($1, 'k', $2, '', $3, $4, $5)`, int64(d.ID()), severity, made, sent, tries)
	}
	notice("alarm", 2, ago(time.Hour).UnixMilli(), 0)
	notice("alarm", 0, ago(time.Minute).UnixMilli(), 0)
	notice("warning", 0, ago(time.Hour).UnixMilli(), 1)

	got, err := s.Stock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Bytes < 4096 {
		t.Errorf("the database has %d bytes", got.Bytes)
	}
	got.Bytes = 0
	sortStock(&got)
	count := func(network, state string, n int, oldest time.Time) social.StockCount {
		return social.StockCount{Network: social.Network(network), State: state, Count: n, Oldest: oldest}
	}
	want := social.Stock{
		Planned:  5,
		Due:      []social.StockCount{count("fake", "", 2, ago(time.Hour)), count("other", "", 1, ago(2*time.Hour))},
		Asking:   []social.StockCount{count("fake", "held_late", 1, ago(5*time.Hour)), count("other", "needs_human", 1, ago(6*time.Hour))},
		Attempts: []social.StockCount{count("fake", "armed", 1, ago(time.Second)), count("other", "ambiguous", 1, ago(6*time.Hour))},
		Accounts: []social.StockCount{count("fake", "connected", 2, time.Time{}), count("other", "needs_reconnect", 1, time.Time{})},
		Held:     []social.StockCount{count("fake", "", 1, time.Time{})},
		Logins:   []social.LoginStock{{Network: "fake", State: "connected", Count: 2, Oldest: ago(2 * time.Hour), AccessEnds: now.Add(time.Hour), LoginEnds: now.Add(24 * time.Hour)}},
		Syncs:    []social.SyncStock{{Network: "fake", Accounts: 2, Failed: 1, Oldest: ago(30 * time.Hour), Newest: ago(5 * time.Hour)}},
		Limits:   []social.StockCount{count("fake", "", 2, now.Add(2*time.Hour))},
		Budgets:  []social.BudgetStock{{Network: "fake", Endpoint: "create", Window: time.Hour, Used: 9}},
		Notices:  []social.StockCount{count("", "alarm", 2, ago(time.Hour))},
		Failing:  []social.StockCount{count("", "alarm", 1, ago(time.Hour))},
	}
	if d := diff.Diff(want, got); d != "" {
		t.Errorf("the stock is not what is there (-want +got):\n%s", d)
	}

	if err := s.SetPaused(t.Context(), social.PauseScope{}, true, "cli:root"); err != nil {
		t.Fatal(err)
	}
	if err := s.SetQuarantine(t.Context(), true, "cli:root"); err != nil {
		t.Fatal(err)
	}
	m, err := s.Join(t.Context(), "n1", "run")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Leave(t.Context()) //nolint:errcheck // the test is over
	got, err = s.Stock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !got.Paused || !got.Quarantined || got.Gap != 6 || got.Nodes != 1 || got.Silent != 0 {
		t.Errorf("paused %v, in quarantine %v, %d to look up, %d nodes and %d silent; want true, true, 6, 1, 0", got.Paused, got.Quarantined, got.Gap, got.Nodes, got.Silent)
	}
}

func sortStock(s *social.Stock) {
	for _, all := range [][]social.StockCount{s.Due, s.Asking, s.Attempts, s.Accounts} {
		slices.SortFunc(all, func(a, b social.StockCount) int {
			return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.State, b.State))
		})
	}
}
