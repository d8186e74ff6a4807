package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"smi/internal/social"
)

// What Stock asks. None of it may grow with the past: TestPlansDoNotGrowWithThePast
// looks at each. The "+ 0" keep the databases from going along the index of
// accounts, over every delivery there ever was.
const (
	stockPlannedSQL = `SELECT COUNT(*) FROM delivery WHERE state IN ` + sqlPublishing
	stockDueSQL     = `SELECT a.network, '', SUM(o.n), MIN(o.oldest)
		FROM (SELECT account_id, COUNT(*) AS n, MIN(planned_utc) AS oldest
			FROM (SELECT account_id + 0 AS account_id, planned_utc FROM delivery WHERE state IN ` + sqlPublishing + ` AND planned_utc <= $1) d GROUP BY account_id) o
		JOIN account a ON a.id = o.account_id JOIN workspace w ON w.id = a.workspace_id
		WHERE NOT a.paused AND NOT w.paused GROUP BY a.network`
	stockAskingSQL = `SELECT a.network, d.state, COUNT(*), MIN(d.planned_utc)
		FROM (SELECT account_id + 0 AS account_id, state, planned_utc FROM delivery WHERE state IN ('needs_human','held_late','blocked')) d
		JOIN account a ON a.id = d.account_id GROUP BY a.network, d.state`
	// What a person dropped stays ambiguous for ever, so that nothing is sent
	// under it; nobody has to look at it any more.
	stockAttemptsSQL = `SELECT a.network, t.state, COUNT(*), MIN(t.armed_at)
		FROM (SELECT delivery_id + 0 AS delivery_id, account_id + 0 AS account_id, state, armed_at FROM attempt WHERE state IN ('armed','ambiguous')) t
		JOIN delivery d ON d.id = t.delivery_id JOIN account a ON a.id = t.account_id
		WHERE d.state NOT IN ('published','failed','cancelled','skipped') GROUP BY a.network, t.state`
	stockAccountsSQL = `SELECT network, status, COUNT(*), 0 FROM account WHERE status <> 'removed' GROUP BY network, status`
	stockHeldSQL     = `SELECT a.network, '', COUNT(*), 0 FROM account a JOIN workspace w ON w.id = a.workspace_id
		WHERE a.status <> 'removed' AND (a.paused OR w.paused) GROUP BY a.network`
	stockLoginsSQL = `SELECT a.network, g.state, COUNT(*), MIN(g.issued_at), COALESCE(MIN(NULLIF(g.expires_at, 0)), 0), COALESCE(MIN(NULLIF(g.refresh_expires_at, 0)), 0)
		FROM grant_row g JOIN account a ON a.id = g.account_id WHERE g.state <> 'removed' AND a.status <> 'removed' GROUP BY a.network, g.state`
	stockSyncsSQL = `SELECT n.network, COUNT(*), SUM(CASE WHEN n.state = 'failed' THEN 1 ELSE 0 END), MIN(CASE WHEN n.done > 0 THEN n.done ELSE n.created_at END), MAX(n.done)
		FROM (SELECT c.network, c.created_at,
			COALESCE((SELECT r.finished_at FROM sync_run r WHERE r.account_id = c.id AND r.state = 'done' ORDER BY r.created_at DESC LIMIT 1), 0) AS done,
			COALESCE((SELECT r.state FROM sync_run r WHERE r.account_id = c.id ORDER BY r.created_at DESC LIMIT 1), '') AS state
			FROM account c WHERE c.status = 'connected') n GROUP BY n.network`
	stockLimitsSQL  = `SELECT bucket, '', 1, until FROM limit_block WHERE until > $1`
	stockBudgetsSQL = `SELECT key, window_start, used FROM budget`
	stockNoticesSQL = `SELECT '', severity, COUNT(*), MIN(created_at) FROM outbox WHERE sent_at = 0 GROUP BY severity`
	stockFailingSQL = `SELECT '', severity, COUNT(*), MIN(created_at) FROM outbox WHERE sent_at = 0 AND tries > 0 GROUP BY severity`
	stockFlagsSQL   = `SELECT EXISTS (SELECT 1 FROM meta WHERE key = '` + metaPaused + `' AND value = '1'), ` + sqlQuarantined + `,
		(SELECT COUNT(*) FROM gap_delivery WHERE decided_at = 0), (SELECT COUNT(*) FROM node WHERE seen_at >= $1), (SELECT COUNT(*) FROM node WHERE seen_at < $1), `
)

// Stock counts how things stand, at one instant.
func (s *Store) Stock(ctx context.Context) (social.Stock, error) {
	var out social.Stock
	level := sql.LevelDefault
	if s.pg != nil {
		level = sql.LevelRepeatableRead
	}
	tx, err := s.read().BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: level})
	if err != nil {
		return out, fmt.Errorf("counting what there is: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written
	if out, err = s.stock(ctx, tx); err != nil {
		return out, fmt.Errorf("counting what there is: %w", err)
	}
	return out, nil
}

func (s *Store) stock(ctx context.Context, tx *sql.Tx) (social.Stock, error) {
	var out social.Stock
	now := s.now()
	if err := tx.QueryRowContext(ctx, stockPlannedSQL).Scan(&out.Planned); err != nil {
		return out, err
	}
	for _, q := range []struct {
		into  *[]social.StockCount
		query string
		args  []any
	}{
		{&out.Due, stockDueSQL, []any{millis(now)}},
		{&out.Asking, stockAskingSQL, nil},
		{&out.Attempts, stockAttemptsSQL, nil},
		{&out.Accounts, stockAccountsSQL, nil},
		{&out.Held, stockHeldSQL, nil},
		{&out.Limits, stockLimitsSQL, []any{millis(now)}},
		{&out.Notices, stockNoticesSQL, nil},
		{&out.Failing, stockFailingSQL, nil},
	} {
		rows, err := tx.QueryContext(ctx, q.query, q.args...)
		if *q.into, err = collect(rows, err, scanStock); err != nil {
			return out, err
		}
	}
	out.Limits = byNetwork(out.Limits)
	rows, err := tx.QueryContext(ctx, stockLoginsSQL)
	if out.Logins, err = collect(rows, err, scanLogins); err != nil {
		return out, err
	}
	rows, err = tx.QueryContext(ctx, stockSyncsSQL)
	if out.Syncs, err = collect(rows, err, scanSyncs); err != nil {
		return out, err
	}
	rows, err = tx.QueryContext(ctx, stockBudgetsSQL)
	budgets, err := collect(rows, err, scanBudget)
	if err != nil {
		return out, err
	}
	out.Budgets = mostUsed(budgets, now)
	size := `(SELECT page_count FROM pragma_page_count()) * (SELECT page_size FROM pragma_page_size())`
	silent := time.UnixMilli(0) // who reads a file is who wrote it
	if s.pg != nil {
		size, silent = `pg_database_size(current_database())`, now.Add(-nodeSilent)
	}
	err = tx.QueryRowContext(ctx, stockFlagsSQL+size, millis(silent)).Scan(&out.Paused, &out.Quarantined, &out.Gap, &out.Nodes, &out.Silent, &out.Bytes)
	return out, err
}

func scanStock(row interface{ Scan(...any) error }) (social.StockCount, error) {
	var c social.StockCount
	var oldest int64
	err := row.Scan((*string)(&c.Network), &c.State, &c.Count, &oldest)
	c.Oldest = fromMillis(oldest)
	return c, err
}

func scanLogins(row interface{ Scan(...any) error }) (social.LoginStock, error) {
	var l social.LoginStock
	var oldest, access, login int64
	err := row.Scan((*string)(&l.Network), &l.State, &l.Count, &oldest, &access, &login)
	l.Oldest, l.AccessEnds, l.LoginEnds = fromMillis(oldest), fromMillis(access), fromMillis(login)
	return l, err
}

func scanSyncs(row interface{ Scan(...any) error }) (social.SyncStock, error) {
	var y social.SyncStock
	var oldest, newest int64
	err := row.Scan((*string)(&y.Network), &y.Accounts, &y.Failed, &oldest, &newest)
	y.Oldest, y.Newest = fromMillis(oldest), fromMillis(newest)
	return y, err
}

// scanBudget takes a key apart: network/who/endpoint/window, of which who may
// hold anything. A key that says nothing has no network.
func scanBudget(row interface{ Scan(...any) error }) (social.BudgetUse, error) {
	var b social.BudgetUse
	var key string
	var start int64
	if err := row.Scan(&key, &start, &b.Used); err != nil {
		return b, err
	}
	b.Start = fromMillis(start)
	parts := strings.Split(key, "/")
	if len(parts) < 4 {
		return b, nil
	}
	window, err := time.ParseDuration(parts[len(parts)-1])
	if err != nil {
		return b, nil //nolint:nilerr // not a key of the scheduler
	}
	b.Network, b.Endpoint, b.Window = social.Network(parts[0]), parts[len(parts)-2], window
	b.Who = strings.Join(parts[1:len(parts)-2], "/")
	return b, nil
}

// openBudget says whether the window of a budget is not over.
func openBudget(b social.BudgetUse, now time.Time) bool {
	return b.Network != "" && now.Before(b.Start.Add(b.Window))
}

// LimitsNow returns what was taken from the budgets whose window is not over,
// and the waits that networks asked for, of all workspaces.
func (s *Store) LimitsNow(ctx context.Context) ([]social.BudgetUse, []social.LimitWait, error) {
	now := s.now()
	rows, err := s.reader.QueryContext(ctx, stockBudgetsSQL+` ORDER BY key`)
	uses, err := collect(rows, err, scanBudget)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the budgets: %w", err)
	}
	uses = slices.DeleteFunc(uses, func(b social.BudgetUse) bool { return !openBudget(b, now) })
	rows, err = s.reader.QueryContext(ctx, `SELECT bucket, until FROM limit_block WHERE until > $1 ORDER BY bucket`, millis(now))
	waits, err := collect(rows, err, func(row interface{ Scan(...any) error }) (w social.LimitWait, err error) {
		var until int64
		err = row.Scan(&w.Bucket, &until)
		w.Until = fromMillis(until)
		return w, err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("reading the limits: %w", err)
	}
	return uses, waits, nil
}

// mostUsed keeps, of each budget whose window is not over, the use of who used
// most.
func mostUsed(all []social.BudgetUse, now time.Time) []social.BudgetStock {
	var out []social.BudgetStock
	at := map[social.BudgetStock]int{}
	for _, b := range all {
		if !openBudget(b, now) {
			continue
		}
		k := social.BudgetStock{Network: b.Network, Endpoint: b.Endpoint, Window: b.Window}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, k)
		}
		out[i].Used = max(out[i].Used, b.Used)
	}
	return out
}

// byNetwork adds blocked buckets up: a bucket's name begins with its network.
func byNetwork(buckets []social.StockCount) []social.StockCount {
	var out []social.StockCount
	at := map[social.Network]int{}
	for _, b := range buckets {
		name, _, _ := strings.Cut(string(b.Network), "/")
		b.Network = social.Network(name)
		i, ok := at[b.Network]
		if !ok {
			at[b.Network] = len(out)
			out = append(out, b)
			continue
		}
		out[i].Count++
		if b.Oldest.After(out[i].Oldest) {
			out[i].Oldest = b.Oldest
		}
	}
	return out
}
