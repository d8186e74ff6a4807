package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"smi/internal/credentials"
	"smi/internal/social"
)

// markEnd notes when a login ends that nothing prolongs. A login by a person
// begins anew: how near the end is then, they see for themselves.
func markEnd(ctx context.Context, tx *sql.Tx, v *credentials.Save) error {
	if v.Ends.IsZero() || v.Login {
		if _, err := tx.ExecContext(ctx, `DELETE FROM login_end WHERE account_id = $1`, int64(v.Account)); err != nil {
			return fmt.Errorf("forgetting the end of a login: %w", err)
		}
	}
	if v.Ends.IsZero() {
		return nil
	}
	days := credentials.NotTold
	if v.Login {
		days = credentials.Nearness(v.Ends, v.Now)
	}
	// The same end is said a little differently each time.
	_, err := tx.ExecContext(ctx, `INSERT INTO login_end (account_id, ends_at, days, posts, told_at) VALUES ($1, $2, $3, FALSE, 0)
		ON CONFLICT (account_id) DO UPDATE SET ends_at = excluded.ends_at,
			days = CASE WHEN excluded.ends_at > login_end.ends_at + $4 THEN excluded.days ELSE login_end.days END,
			posts = CASE WHEN excluded.ends_at > login_end.ends_at + $4 THEN FALSE ELSE login_end.posts END`,
		int64(v.Account), millis(v.Ends), days, (12 * time.Hour).Milliseconds())
	if err != nil {
		return fmt.Errorf("noting the end of a login: %w", err)
	}
	return nil
}

const endingSQL = `SELECT e.account_id, a.network, a.handle, CASE WHEN e.ends_at <= $1 AND g.expires_at > e.ends_at THEN g.expires_at ELSE e.ends_at END, e.days, e.posts,
	(SELECT count(*) FROM delivery d WHERE d.account_id = e.account_id AND d.planned_utc > e.ends_at AND d.planned_utc > g.expires_at AND d.state IN ` + sqlPublishing + `),
	COALESCE((SELECT min(d.planned_utc) FROM delivery d WHERE d.account_id = e.account_id AND d.planned_utc > e.ends_at AND d.planned_utc > g.expires_at AND d.state IN ` + sqlPublishing + `), 0)
	FROM login_end e JOIN account a ON a.id = e.account_id AND a.status = 'connected' JOIN grant_row g ON g.account_id = e.account_id ORDER BY e.ends_at, e.account_id`

// Endings returns the logins that end whatever smi does, the next first.
func (s *Store) Endings(ctx context.Context) ([]credentials.Ending, error) {
	return s.endings(ctx, s.read(), s.now())
}

func (s *Store) endings(ctx context.Context, q queryer, now time.Time) ([]credentials.Ending, error) {
	rows, err := q.QueryContext(ctx, endingSQL, millis(now))
	out, err := collect(rows, err, func(row interface{ Scan(...any) error }) (credentials.Ending, error) {
		var e credentials.Ending
		var ends, first int64
		err := row.Scan((*int64)(&e.Account), &e.Network, &e.Handle, &ends, &e.Told.Days, &e.Told.Posts, &e.Posts, &first)
		e.Ends, e.First = fromMillis(ends), fromMillis(first)
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the ends of logins: %w", err)
	}
	return out, nil
}

// TellEnds implements credentials.Store. Where there is nothing to tell it writes
// nothing.
func (s *Store) TellEnds(ctx context.Context, now time.Time, say func(credentials.Ending) (credentials.Told, *credentials.Notice)) error {
	all, err := s.endings(ctx, s.read(), now)
	if err != nil {
		return err
	}
	news := map[social.ID]bool{}
	for _, e := range all {
		if _, n := say(e); n != nil {
			news[e.Account] = true
		}
	}
	if len(news) == 0 {
		return nil
	}
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		all, err := s.endings(ctx, tx, now) // another node may have been faster
		if err != nil {
			return err
		}
		for _, e := range all {
			told, n := say(e)
			if n == nil || !news[e.Account] {
				continue
			}
			if _, err := tx.ExecContext(ctx, `UPDATE login_end SET days = $1, posts = $2, ends_at = $3, told_at = $4 WHERE account_id = $5`,
				told.Days, told.Posts, millis(e.Ends), millis(now), int64(e.Account)); err != nil {
				return fmt.Errorf("noting what was told: %w", err)
			}
			if err := s.tellGrant(ctx, tx, n, now); err != nil {
				return err
			}
		}
		return nil
	})
}
