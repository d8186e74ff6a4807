package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"smi/internal/credentials"
	"smi/internal/social"
)

var _ credentials.Store = (*Store)(nil)

// Meta returns a value of the table meta, "" if there is none.
func (s *Store) Meta(ctx context.Context, key string) (string, error) {
	return metaGet(ctx, s.read(), key)
}

// SetMeta stores a value in the table meta.
func (s *Store) SetMeta(ctx context.Context, key, value string) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error { return metaSet(ctx, tx, key, value) })
}

const grantColumns = `g.account_id, a.network, a.handle, g.gen, g.sealed, g.key_id, g.issued_at, g.expires_at, g.refresh_expires_at, g.rotates, g.scopes,
	g.state, g.refresh_owner, g.refresh_epoch, g.refresh_lease_until, g.refresh_started_at, g.unknown_since, g.refused_at, g.next_at,
	g.fail_count, g.last_error, g.told`

const grantFrom = ` FROM grant_row g JOIN account a ON a.id = g.account_id `

func scanGrant(row interface{ Scan(...any) error }) (credentials.Row, error) {
	var r credentials.Row
	var scopes string
	var issued, expires, refreshExpires, lease, started, unknown, refused, next int64
	err := row.Scan((*int64)(&r.Account), &r.Network, &r.Handle, &r.Gen, &r.Sealed, &r.KeyID, &issued, &expires, &refreshExpires, &r.Rotates, &scopes,
		&r.State, &r.Owner, &r.Epoch, &lease, &started, &unknown, &refused, &next, &r.Fails, &r.LastError, &r.Told)
	if err != nil {
		return r, err
	}
	r.Issued, r.Expires, r.RefreshExpires = fromMillis(issued), fromMillis(expires), fromMillis(refreshExpires)
	r.LeaseUntil, r.Started, r.UnknownSince = fromMillis(lease), fromMillis(started), fromMillis(unknown)
	r.RefusedAt, r.NextAt = fromMillis(refused), fromMillis(next)
	if err := json.Unmarshal([]byte(scopes), &r.Scopes); err != nil {
		return r, fmt.Errorf("reading the scopes of account %s: %w", r.Account, err)
	}
	return r, nil
}

// GrantRow implements credentials.Store.
func (s *Store) GrantRow(ctx context.Context, account social.ID) (credentials.Row, error) {
	r, err := scanGrant(s.lookup(ctx, `SELECT `+grantColumns+grantFrom+`WHERE g.account_id = $1`, int64(account)))
	if errors.Is(err, sql.ErrNoRows) {
		return r, credentials.ErrNoGrant
	}
	return r, err
}

// SealedGrants returns what is sealed of the accounts' logins, the former ones
// that are still kept as well.
func (s *Store) SealedGrants(ctx context.Context) ([]credentials.Sealed, error) {
	rows, err := s.read().QueryContext(ctx, `SELECT g.account_id, a.network, a.handle, g.gen, g.sealed, g.key_id, FALSE`+grantFrom+`WHERE g.sealed IS NOT NULL
		UNION ALL SELECT g.account_id, a.network, a.handle, g.prev_gen, g.prev_sealed, g.prev_key_id, TRUE`+grantFrom+`WHERE g.prev_sealed IS NOT NULL ORDER BY 1, 7`)
	out, err := collect(rows, err, func(row interface{ Scan(...any) error }) (credentials.Sealed, error) {
		var v credentials.Sealed
		err := row.Scan((*int64)(&v.Account), &v.Network, &v.Handle, &v.Gen, &v.Bytes, &v.KeyID, &v.Former)
		return v, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the sealed logins: %w", err)
	}
	return out, nil
}

// SaveGrant implements credentials.Store. It does not ask for the epoch of the
// refresh: a grant that the network gave is the living one, and dropping it
// because a lease had ended would lose the account. The generation keeps it
// from replacing anything newer.
func (s *Store) SaveGrant(ctx context.Context, v credentials.Save) error {
	scopes, err := json.Marshal(v.Scopes)
	if err != nil {
		return fmt.Errorf("writing the scopes: %w", err)
	}
	if v.Scopes == nil {
		scopes = []byte("[]")
	}
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var status string
		err := tx.QueryRowContext(ctx, `SELECT status FROM account WHERE id = $1`, int64(v.Account)).Scan(&status)
		if errors.Is(err, sql.ErrNoRows) || err == nil && status == string(social.AccountRemoved) {
			return credentials.ErrStale
		}
		if err != nil {
			return err
		}
		var had credentials.State
		err = tx.QueryRowContext(ctx, `SELECT state FROM grant_row WHERE account_id = $1 AND gen = $2`, int64(v.Account), v.Gen-1).Scan(&had)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			if v.Gen != 1 || !v.Login {
				return credentials.ErrStale
			}
			res, err := tx.ExecContext(ctx, `INSERT INTO grant_row (account_id, gen, sealed, key_id, issued_at, expires_at, refresh_expires_at, rotates, scopes,
				state, next_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'connected', $10, $11) ON CONFLICT (account_id) DO NOTHING`,
				int64(v.Account), v.Gen, v.Sealed, v.KeyID, millis(v.Issued), millis(v.Expires), millis(v.RefreshExpires), v.Rotates, string(scopes),
				millis(v.NextAt), millis(v.Now))
			if err := grantChanged(res, err); err != nil {
				return err
			}
		case err != nil:
			return err
		case had == credentials.Removed && !v.Login:
			return credentials.ErrStale
		default:
			keep := millis(v.KeepPrevious)
			res, err := tx.ExecContext(ctx, `UPDATE grant_row SET
				prev_gen = CASE WHEN CAST($1 AS BIGINT) > 0 THEN gen ELSE 0 END, prev_sealed = CASE WHEN CAST($1 AS BIGINT) > 0 THEN sealed END,
				prev_key_id = CASE WHEN CAST($1 AS BIGINT) > 0 THEN key_id ELSE '' END, prev_until = $1,
				gen = $2, sealed = $3, key_id = $4, issued_at = $5, expires_at = $6, refresh_expires_at = $7, rotates = $8, scopes = $9,
				state = 'connected', refresh_owner = '', refresh_lease_until = 0, refresh_started_at = 0, unknown_since = 0, refused_at = 0,
				next_at = $10, fail_count = 0, last_error = '', told = '', updated_at = $11
				WHERE account_id = $12 AND gen = $2 - 1`,
				keep, v.Gen, v.Sealed, v.KeyID, millis(v.Issued), millis(v.Expires), millis(v.RefreshExpires), v.Rotates, string(scopes),
				millis(v.NextAt), millis(v.Now), int64(v.Account))
			if err := grantChanged(res, err); err != nil {
				return err
			}
		}
		if err := markEnd(ctx, tx, &v); err != nil {
			return err
		}
		if v.Login || had == credentials.NeedsReconnect {
			_, err = tx.ExecContext(ctx, `UPDATE account SET token_gen = $1, status = 'connected', status_reason = '' WHERE id = $2`, v.Gen, int64(v.Account))
		} else {
			_, err = tx.ExecContext(ctx, `UPDATE account SET token_gen = $1 WHERE id = $2`, v.Gen, int64(v.Account))
		}
		if err != nil {
			return err
		}
		if had == credentials.NeedsReconnect && !v.Login { // nobody will call MarkConnected for it
			if _, err := free(ctx, tx, v.Account, "the account works again", millis(v.Now)); err != nil {
				return err
			}
		}
		return s.tellGrant(ctx, tx, v.Notice, v.Now)
	})
}

// grantChanged is ErrStale if a statement changed nothing.
func grantChanged(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		return credentials.ErrStale
	}
	return err
}

// BeginRefresh implements credentials.Store.
func (s *Store) BeginRefresh(ctx context.Context, b credentials.Begin) (int64, error) {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return grantChanged(tx.ExecContext(ctx, `UPDATE grant_row SET state = 'refreshing', refresh_owner = $1, refresh_epoch = refresh_epoch + 1,
			refresh_lease_until = $2, refresh_started_at = $3, next_at = $2, updated_at = $3
			WHERE account_id = $4 AND gen = $5 AND refresh_epoch = $6 AND state IN ('connected','refresh_unknown')`,
			b.Node, millis(b.LeaseUntil), millis(b.Now), int64(b.Account), b.Gen, b.Epoch))
	})
	return b.Epoch + 1, err
}

// EndRefresh implements credentials.Store.
func (s *Store) EndRefresh(ctx context.Context, e credentials.End) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := grantChanged(tx.ExecContext(ctx, `UPDATE grant_row SET state = $1, refresh_owner = '', refresh_lease_until = 0, unknown_since = $2,
			refused_at = $3, next_at = $4, fail_count = $5, last_error = $6, told = $7, updated_at = $8
			WHERE account_id = $9 AND gen = $10 AND refresh_epoch = $11 AND state = 'refreshing'`,
			string(e.To), millis(e.UnknownSince), millis(e.RefusedAt), millis(e.NextAt), e.Fails, e.LastError, e.Told, millis(e.Now),
			int64(e.Account), e.Gen, e.Epoch)); err != nil {
			return err
		}
		if e.To == credentials.NeedsReconnect {
			if _, err := tx.ExecContext(ctx, `UPDATE account SET status = 'needs_reconnect', status_reason = $1 WHERE id = $2 AND status IN ('connected','needs_reconnect')`,
				e.Reason, int64(e.Account)); err != nil {
				return err
			}
		}
		return s.tellGrant(ctx, tx, e.Notice, e.Now)
	})
}

// GrantsDue implements credentials.Store.
func (s *Store) GrantsDue(ctx context.Context, now time.Time, limit int) ([]social.ID, error) {
	rows, err := s.read().QueryContext(ctx, `SELECT account_id FROM grant_row WHERE next_at > 0 AND next_at <= $1 ORDER BY next_at LIMIT $2`, millis(now), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var out []social.ID
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, social.ID(id))
	}
	return out, rows.Err()
}

// RefreshingGrants implements credentials.Store.
func (s *Store) RefreshingGrants(ctx context.Context, node string) ([]credentials.Row, error) {
	rows, err := s.read().QueryContext(ctx, `SELECT `+grantColumns+grantFrom+`WHERE g.state = 'refreshing' AND ($1 = '' OR g.refresh_owner = $1)`, node)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var out []credentials.Row
	for rows.Next() {
		r, err := scanGrant(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// DestroyGrant implements credentials.Store. An account that is not removed yet
// needs a login from then on.
func (s *Store) DestroyGrant(ctx context.Context, account social.ID, now time.Time) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE account SET status = 'needs_reconnect', status_reason = 'Its login was deleted. Connect the account again.'
			WHERE id = $1 AND status <> 'removed'`, int64(account)); err != nil {
			return err
		}
		return destroyGrants(ctx, tx, `account_id = $2`, now, int64(account))
	})
}

// destroyGrants overwrites the sealed bytes, so that none of their pages keeps
// them, and then forgets them. where must use $2.
func destroyGrants(ctx context.Context, tx *sql.Tx, where string, now time.Time, arg any) error {
	junk := make([]byte, 4096) // longer than a sealed grant
	rand.Read(junk)            //nolint:errcheck // crypto/rand.Read never fails since Go 1.24
	if _, err := tx.ExecContext(ctx, `UPDATE grant_row SET sealed = $1, prev_sealed = $1 WHERE `+where+` AND state <> 'removed'`, junk, arg); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE grant_row SET sealed = NULL, prev_sealed = NULL, key_id = '', prev_key_id = '', prev_gen = 0, prev_until = 0,
		state = 'removed', refresh_owner = '', refresh_lease_until = 0, next_at = 0, updated_at = $1 WHERE `+where+` AND state <> 'removed'`, millis(now), arg)
	return err
}

// SweepGrants implements credentials.Store.
func (s *Store) SweepGrants(ctx context.Context, now time.Time) error {
	const former = `prev_until > 0 AND prev_until <= $1`
	const orphan = `account_id IN (SELECT id FROM account WHERE status = $2)`
	var n int
	if err := s.lookup(ctx, `SELECT COUNT(*) FROM grant_row WHERE (`+former+`) OR (state <> 'removed' AND `+orphan+`)`,
		millis(now), string(social.AccountRemoved)).Scan(&n); err != nil || n == 0 {
		return err
	}
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE grant_row SET prev_sealed = NULL, prev_key_id = '', prev_gen = 0, prev_until = 0 WHERE `+former, millis(now)); err != nil {
			return err
		}
		return destroyGrants(ctx, tx, orphan, now, string(social.AccountRemoved))
	})
}

// TellGrant implements credentials.Store.
func (s *Store) TellGrant(ctx context.Context, n credentials.Notice, now time.Time) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error { return s.tellGrant(ctx, tx, &n, now) })
}

// tellGrant puts a notice about an account into the outbox; nil puts nothing.
func (s *Store) tellGrant(ctx context.Context, tx *sql.Tx, n *credentials.Notice, now time.Time) error {
	if n == nil {
		return nil
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO outbox (id, workspace_id, kind, severity, account_id, text, created_at)
		SELECT $1, workspace_id, $2, $3, id, $4, $5 FROM account WHERE id = $6`,
		int64(s.ids.New(now)), n.Kind, n.Severity, n.Text, millis(now), int64(n.Account))
	s.ring()
	return err
}
