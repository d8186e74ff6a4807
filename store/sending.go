package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"smi/internal/notify"
	"smi/internal/social"
)

// The store is the outbox of notices.
var _ notify.Outbox = (*Store)(nil)

// mostClaimed is how many notices one claim looks at.
const mostClaimed = 2000

// dueNotice is an unsent notice that nobody is sending.
type dueNotice struct {
	social.NoticeRecord
	workspace social.ID
	tries     int
}

func scanDue(row interface{ Scan(...any) error }) (dueNotice, error) {
	var n dueNotice
	var at int64
	err := row.Scan((*int64)(&n.ID), (*int64)(&n.workspace), &n.Kind, &n.Severity, (*int64)(&n.Delivery), (*int64)(&n.Account), &n.Text, &at, &n.tries)
	n.CreatedAt = fromMillis(at)
	return n, err
}

const sqlDueColumns = `id, workspace_id, kind, severity, delivery_id, account_id, text, created_at, tries`

// groupKey is what the notices of a message have in common.
type groupKey struct {
	workspace      social.ID
	kind, severity string
}

// ClaimNotices implements notify.Outbox. While nothing is ready it only reads.
func (s *Store) ClaimNotices(ctx context.Context, r notify.ClaimRequest) ([]notify.Group, error) {
	rows, err := s.read().QueryContext(ctx, `SELECT `+sqlDueColumns+` FROM outbox WHERE sent_at = 0 AND due_at <= $1 AND lease_until <= $1 ORDER BY id LIMIT $2`,
		millis(r.Now), mostClaimed)
	all, err := collect(rows, err, scanDue)
	if err != nil {
		return nil, fmt.Errorf("reading the outbox: %w", err)
	}
	newest := map[groupKey]social.ID{}
	var keys []groupKey
	for _, n := range all {
		k := groupKey{n.workspace, n.Kind, n.Severity}
		if _, ok := newest[k]; !ok {
			ready, err := s.groupReady(ctx, k, n.CreatedAt, r)
			if err != nil {
				return nil, err
			}
			newest[k] = 0
			if ready {
				keys = append(keys, k)
			}
		}
		newest[k] = n.ID
	}
	slices.SortStableFunc(keys, func(a, b groupKey) int {
		return slices.Index(notify.Severities, a.severity) - slices.Index(notify.Severities, b.severity)
	})
	var out []notify.Group
	for _, k := range keys[:min(len(keys), r.Limit)] {
		g, err := s.claimGroup(ctx, k, newest[k], r)
		if err != nil {
			return out, err
		}
		if len(g.Notices) > 0 {
			out = append(out, g)
		}
	}
	return out, nil
}

// groupReady says whether the notices of a group, the oldest of which was made
// at a time, were gathered for long enough.
func (s *Store) groupReady(ctx context.Context, k groupKey, oldest time.Time, r notify.ClaimRequest) (bool, error) {
	if r.Now.Sub(oldest) < r.Settle && !oldest.After(r.Now) {
		return false, nil
	}
	var last sql.NullInt64
	err := s.read().QueryRowContext(ctx, `SELECT MAX(n.sent_at) FROM notice_send n JOIN outbox o ON o.id = n.notice_id
		WHERE n.sent_at > $1 AND n.sent_at <= $2 AND o.workspace_id = $3 AND o.kind = $4 AND o.severity = $5`,
		millis(r.Now.Add(-r.Gap(k.severity))), millis(r.Now), int64(k.workspace), k.kind, k.severity).Scan(&last)
	if err != nil {
		return false, fmt.Errorf("reading when a notice was sent last: %w", err)
	}
	return !last.Valid, nil
}

// claimGroup takes the notices of a group up to one of them. Another node may
// have taken some or all.
func (s *Store) claimGroup(ctx context.Context, k groupKey, upTo social.ID, r notify.ClaimRequest) (notify.Group, error) {
	g := notify.Group{Workspace: k.workspace, Kind: k.kind, Severity: k.severity, Claim: r.Node + "/" + s.ids.New(r.Now).String()}
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		g.Notices, g.Tries = nil, 0
		n, err := changed(tx.ExecContext(ctx, `UPDATE outbox SET owner = $1, lease_until = $2
			WHERE sent_at = 0 AND due_at <= $3 AND lease_until <= $3 AND id <= $4 AND workspace_id = $5 AND kind = $6 AND severity = $7`,
			g.Claim, millis(r.Now.Add(r.Lease)), millis(r.Now), int64(upTo), int64(k.workspace), k.kind, k.severity))
		if err != nil || n == 0 {
			return err
		}
		rows, err := tx.QueryContext(ctx, `SELECT `+sqlDueColumns+` FROM outbox WHERE owner = $1 ORDER BY id`, g.Claim)
		all, err := collect(rows, err, scanDue)
		for _, n := range all {
			g.Notices = append(g.Notices, n.NoticeRecord)
			g.Tries = max(g.Tries, n.tries)
		}
		return err
	})
	if err != nil {
		return notify.Group{}, fmt.Errorf("claiming notices: %w", err)
	}
	return g, nil
}

// EndNotices implements notify.Outbox.
func (s *Store) EndNotices(ctx context.Context, o notify.Outcome) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, t := range o.Tries {
			sent := int64(0)
			if t.Error == "" {
				sent = millis(o.Now)
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO notice_send (notice_id, channel, tries, tried_at, sent_at, error, node)
				SELECT id, CAST($1 AS TEXT), 1, CAST($2 AS BIGINT), CAST($3 AS BIGINT), CAST($4 AS TEXT), CAST($5 AS TEXT) FROM outbox WHERE owner = $6
				ON CONFLICT (notice_id, channel) DO UPDATE SET tries = notice_send.tries + 1, tried_at = excluded.tried_at,
				sent_at = excluded.sent_at, error = excluded.error, node = excluded.node`,
				t.Channel, millis(o.Now), sent, t.Error, o.Node, o.Claim); err != nil {
				return err
			}
		}
		if o.Done {
			_, err := tx.ExecContext(ctx, `UPDATE outbox SET sent_at = $1, owner = '', lease_until = 0 WHERE owner = $2`, millis(o.Now), o.Claim)
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE outbox SET tries = tries + 1, due_at = $1, owner = '', lease_until = 0 WHERE owner = $2`, millis(o.Next), o.Claim)
		return err
	})
	if err != nil {
		return fmt.Errorf("noting what became of notices: %w", err)
	}
	return nil
}

// ReleaseNotices implements notify.Outbox.
func (s *Store) ReleaseNotices(ctx context.Context, node string) error {
	mine := node + "/"
	var n int
	err := s.read().QueryRowContext(ctx, `SELECT COUNT(*) FROM outbox WHERE owner <> '' AND substr(owner, 1, length(CAST($1 AS TEXT))) = CAST($1 AS TEXT)`, mine).Scan(&n)
	if err == nil && n > 0 {
		err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `UPDATE outbox SET owner = '', lease_until = 0 WHERE owner <> '' AND substr(owner, 1, length(CAST($1 AS TEXT))) = CAST($1 AS TEXT)`, mine)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("releasing notices: %w", err)
	}
	return nil
}

// NextNotice implements notify.Outbox.
func (s *Store) NextNotice(ctx context.Context) (time.Time, error) {
	var at sql.NullInt64
	err := s.read().QueryRowContext(ctx, `SELECT MIN(CASE WHEN lease_until > due_at THEN lease_until WHEN due_at > created_at THEN due_at ELSE created_at END)
		FROM outbox WHERE sent_at = 0`).Scan(&at)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the outbox: %w", err)
	}
	return fromMillis(at.Int64), nil
}

// Told implements notify.Outbox.
func (s *Store) Told() <-chan struct{} { return s.told }

// ring says that there may be a new notice. It rings before the commit: who
// listens waits a little anyhow.
func (s *Store) ring() {
	select {
	case s.told <- struct{}{}:
	default:
	}
}

// Backlog is what was not sent yet.
func (s *Store) Backlog(ctx context.Context) (social.NoticeBacklog, error) {
	var b social.NoticeBacklog
	var oldest, oldestAlarm sql.NullInt64
	err := s.read().QueryRowContext(ctx, `SELECT COUNT(*), COUNT(CASE WHEN severity = 'alarm' THEN 1 END), MIN(created_at), MIN(CASE WHEN severity = 'alarm' THEN created_at END)
		FROM outbox WHERE sent_at = 0`).Scan(&b.Unsent, &b.Alarms, &oldest, &oldestAlarm)
	if err != nil {
		return b, fmt.Errorf("counting unsent notices: %w", err)
	}
	b.Oldest, b.OldestAlarm = fromMillis(oldest.Int64), fromMillis(oldestAlarm.Int64)
	return b, nil
}

// sendings adds to notices what became of them on the channels.
func (s *Store) sendings(ctx context.Context, all []social.NoticeRecord) error {
	if len(all) == 0 {
		return nil
	}
	lo, hi := all[0].ID, all[0].ID
	at := map[social.ID]int{}
	for i, n := range all {
		lo, hi, at[n.ID] = min(lo, n.ID), max(hi, n.ID), i
	}
	type sending struct {
		notice social.ID
		social.NoticeSending
	}
	rows, err := s.read().QueryContext(ctx, `SELECT notice_id, channel, tries, tried_at, sent_at, error FROM notice_send
		WHERE notice_id BETWEEN $1 AND $2 ORDER BY notice_id, tried_at, channel`, int64(lo), int64(hi))
	found, err := collect(rows, err, func(row interface{ Scan(...any) error }) (sending, error) {
		var x sending
		var tried, sent int64
		err := row.Scan((*int64)(&x.notice), &x.Channel, &x.Tries, &tried, &sent, &x.Error)
		x.TriedAt, x.SentAt = fromMillis(tried), fromMillis(sent)
		return x, err
	})
	for _, x := range found {
		if i, ok := at[x.notice]; ok {
			all[i].Sendings = append(all[i].Sendings, x.NoticeSending)
		}
	}
	return err
}
