package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"smi/internal/social"
	"smi/scheduler"
)

// The times of trying logins: a day and an hour before each post, and never
// twice within an hour.
const (
	probeLong  = 24 * time.Hour
	probeShort = time.Hour
)

// probesSQL finds connected accounts with posts planned from $1 to a day later
// ($2) that were not tried in the day before one of them, or in the hour before
// one of the next hour ($3); and not at all since $4.
const probesSQL = `SELECT d.account_id, count(*), min(d.planned_utc), max(CASE WHEN p.told THEN 1 ELSE 0 END), COALESCE(max(p.said), '')
	FROM delivery d JOIN account a ON a.id = d.account_id AND a.status = 'connected' LEFT JOIN login_probe p ON p.account_id = d.account_id
	WHERE d.state IN ('scheduled','claimed','ready','waiting') AND d.planned_utc > $1 AND d.planned_utc <= $2 AND COALESCE(p.asked_at, 0) <= $4
	GROUP BY d.account_id
	HAVING max(CASE WHEN COALESCE(p.asked_at, 0) < d.planned_utc - 86400000 OR d.planned_utc <= $3 AND COALESCE(p.asked_at, 0) < d.planned_utc - 3600000 THEN 1 ELSE 0 END) = 1
	ORDER BY min(d.planned_utc), d.account_id LIMIT $5`

// Probes returns the logins that are to be tried now because posts are planned,
// the most urgent first.
func (s *Store) Probes(ctx context.Context, now time.Time, limit int) ([]social.Probe, error) {
	rows, err := s.read().QueryContext(ctx, probesSQL, millis(now), millis(now.Add(probeLong)), millis(now.Add(probeShort)), millis(now.Add(-probeShort)), limit)
	out, err := collect(rows, err, func(row interface{ Scan(...any) error }) (social.Probe, error) {
		var p social.Probe
		var first int64
		var told int
		err := row.Scan((*int64)(&p.Account.ID), &p.Posts, &first, &told, &p.Said)
		p.First, p.Told = fromMillis(first), told == 1
		p.Near = p.First.Sub(now) <= probeShort
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("listing logins to try: %w", err)
	}
	for i := range out {
		a, err := s.accounts(ctx, `WHERE id = $1`, int64(out[i].Account.ID))
		if err != nil {
			return nil, err
		}
		if len(a) == 1 {
			out[i].Account = a[0]
		}
	}
	return out, nil
}

// BeginProbe gives the right to try a login, once an hour.
func (s *Store) BeginProbe(ctx context.Context, account social.ID, now time.Time) (mine bool, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		n, err := changed(tx.ExecContext(ctx, `INSERT INTO login_probe (account_id, asked_at) VALUES ($1, $2)
			ON CONFLICT (account_id) DO UPDATE SET asked_at = excluded.asked_at WHERE login_probe.asked_at <= $3`,
			int64(account), millis(now), millis(now.Add(-probeShort))))
		mine = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("beginning to try a login: %w", err)
	}
	return mine, nil
}

// EndProbe notes what came of it, with the notice about it. Where the account
// was found to need a new login meanwhile, people were told of that.
func (s *Store) EndProbe(ctx context.Context, a social.Account, said string, told bool, n *scheduler.Notice, now time.Time) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE login_probe SET said = $1, told = $2 WHERE account_id = $3`, said, told, int64(a.ID)); err != nil {
			return err
		}
		var status social.AccountStatus
		if err := tx.QueryRowContext(ctx, `SELECT status FROM account WHERE id = $1`, int64(a.ID)).Scan(&status); err != nil || status != social.AccountConnected {
			return err
		}
		return s.tell(ctx, tx, a.WorkspaceID, n, now)
	})
	if err != nil {
		return fmt.Errorf("noting how a login is: %w", err)
	}
	return nil
}
