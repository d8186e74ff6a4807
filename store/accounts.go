package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"smi/internal/social"
)

// EnsureWorkspace returns the workspace of this name and makes it if there is
// none. The zone is what the config says now: it replaces the stored one.
func (s *Store) EnsureWorkspace(ctx context.Context, name, zone string) (social.Workspace, error) {
	var w social.Workspace
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var err error
		w, err = scanWorkspace(tx.QueryRowContext(ctx, `SELECT `+workspaceColumns+` FROM workspace WHERE name = $1 ORDER BY id LIMIT 1`, name))
		switch {
		case err == nil && w.Zone == zone:
			return nil
		case err == nil:
			w.Zone = zone
			_, err = tx.ExecContext(ctx, `UPDATE workspace SET zone = $1 WHERE id = $2`, zone, int64(w.ID))
			return err
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		now := s.now()
		w = social.Workspace{ID: s.ids.New(now), Name: name, Zone: zone, CreatedAt: fromMillis(millis(now))}
		if _, err := tx.ExecContext(ctx, `INSERT INTO workspace (id, name, zone, created_at) VALUES ($1, $2, $3, $4)`,
			int64(w.ID), w.Name, w.Zone, millis(now)); err != nil {
			return err
		}
		return s.note(ctx, tx, auditEntry{Workspace: w.ID, Actor: "config", Action: "workspace.create", Subject: w.ID.String()})
	})
	if err != nil {
		return w, fmt.Errorf("ensuring workspace %q: %w", name, err)
	}
	return w, nil
}

const workspaceColumns = `id, name, zone, paused, created_at`

func scanWorkspace(row interface{ Scan(...any) error }) (social.Workspace, error) {
	var w social.Workspace
	var created int64
	err := row.Scan((*int64)(&w.ID), &w.Name, &w.Zone, &w.Paused, &created)
	w.CreatedAt = fromMillis(created)
	return w, err
}

// Workspaces returns all workspaces, the oldest first.
func (s *Store) Workspaces(ctx context.Context) ([]social.Workspace, error) {
	rows, err := s.read().QueryContext(ctx, `SELECT `+workspaceColumns+` FROM workspace ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("listing workspaces: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var out []social.Workspace
	for rows.Next() {
		w, err := scanWorkspace(rows)
		if err != nil {
			return nil, fmt.Errorf("reading a workspace: %w", err)
		}
		out = append(out, w)
	}
	return out, rows.Err()
}

const accountColumns = `id, workspace_id, network, app, remote_id, handle, name, url, avatar_url, host, day_zone,
	status, status_reason, paused, token_gen, created_at, server`

func scanAccountRow(row interface{ Scan(...any) error }) (social.Account, error) {
	var a social.Account
	var created int64
	var server string
	err := row.Scan((*int64)(&a.ID), (*int64)(&a.WorkspaceID), &a.Network, &a.App, &a.RemoteID, &a.Handle, &a.Name, &a.URL,
		&a.AvatarURL, &a.Host, &a.DayZone, &a.Status, &a.StatusReason, &a.Paused, &a.TokenGen, &created, &server)
	a.CreatedAt = fromMillis(created)
	if server != "" {
		a.Server = json.RawMessage(server)
	}
	return a, err
}

// Accounts returns the accounts of a workspace by network and handle. Removed
// ones are left out unless wanted.
func (s *Store) Accounts(ctx context.Context, workspace social.ID, removed bool) ([]social.Account, error) {
	return s.accounts(ctx, `WHERE workspace_id = $1 AND (status <> 'removed' OR $2) ORDER BY network, handle, id`, int64(workspace), removed)
}

// AllAccounts returns every account that is not removed, of all workspaces: for
// the work nobody asks for (sync, token life), never for a person.
func (s *Store) AllAccounts(ctx context.Context) ([]social.Account, error) {
	return s.accounts(ctx, `WHERE status <> 'removed' ORDER BY id`)
}

func (s *Store) accounts(ctx context.Context, where string, args ...any) ([]social.Account, error) {
	rows, err := s.read().QueryContext(ctx, `SELECT `+accountColumns+` FROM account `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("listing accounts: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var out []social.Account
	for rows.Next() {
		a, err := scanAccountRow(rows)
		if err != nil {
			return nil, fmt.Errorf("reading an account: %w", err)
		}
		out = append(out, a)
	}
	return out, rows.Err()
}

// Account returns one account of a workspace, a removed one too. It answers
// CodeNotFound where the account is of another workspace.
func (s *Store) Account(ctx context.Context, workspace, id social.ID) (social.Account, error) {
	a, err := scanAccountRow(s.lookup(ctx, `SELECT `+accountColumns+` FROM account WHERE workspace_id = $1 AND id = $2`,
		int64(workspace), int64(id)))
	return a, accountErr(err, id)
}

func accountErr(err error, id social.ID) error {
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return social.Errorf(social.CodeNotFound, "account", "there is no account %s; smi accounts list shows them", id)
	case err != nil:
		return fmt.Errorf("reading account %s: %w", id, err)
	}
	return nil
}

// ConnectAccount stores that a person logged in to an account: a new row, or
// the row there is for this network and remote id with what the network says
// of it now. The status becomes connected only by MarkConnected, when the grant
// is stored; until then a new row says that it needs a login. reconnect, if not
// zero, is the account that the person meant: another remote id is refused
// with CodeConflict and changes nothing.
func (s *Store) ConnectAccount(ctx context.Context, a social.Account, reconnect social.ID, actor string) (social.Account, error) {
	var out social.Account
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if reconnect != 0 {
			meant, err := scanAccountRow(tx.QueryRowContext(ctx, `SELECT `+accountColumns+` FROM account
				WHERE workspace_id = $1 AND id = $2 AND status <> 'removed'`, int64(a.WorkspaceID), int64(reconnect)))
			if err := accountErr(err, reconnect); err != nil {
				return err
			}
			if meant.Network != a.Network || meant.RemoteID != a.RemoteID {
				return social.Errorf(social.CodeConflict, "account", "you logged in as %s (%s), but this account is %s (%s); log in as that one, or add the other as a new account",
					a.Handle, a.RemoteID, meant.Handle, meant.RemoteID)
			}
		}
		old, err := scanAccountRow(tx.QueryRowContext(ctx, `SELECT `+accountColumns+` FROM account
			WHERE workspace_id = $1 AND network = $2 AND remote_id = $3 AND status <> 'removed'`, int64(a.WorkspaceID), string(a.Network), a.RemoteID))
		switch {
		case errors.Is(err, sql.ErrNoRows):
			now := s.now()
			out = a
			out.ID, out.CreatedAt, out.TokenGen, out.Paused = s.ids.New(now), fromMillis(millis(now)), 0, false
			out.Status, out.StatusReason = social.AccountNeedsReconnect, "the login was not finished; connect the account again"
			if _, err := tx.ExecContext(ctx, `INSERT INTO account (`+accountColumns+`)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`,
				int64(out.ID), int64(out.WorkspaceID), string(out.Network), out.App, out.RemoteID, out.Handle, out.Name, out.URL,
				out.AvatarURL, out.Host, out.DayZone, string(out.Status), out.StatusReason, out.Paused, out.TokenGen, millis(now), string(out.Server)); err != nil {
				return err
			}
			return s.note(ctx, tx, auditEntry{
				Workspace: out.WorkspaceID, Actor: actor, Action: "account.add", Subject: out.ID.String(),
				Detail: map[string]any{"network": out.Network, "remote_id": out.RemoteID, "handle": out.Handle},
			})
		case err != nil:
			return err
		}
		out = old
		out.App, out.Handle, out.Name, out.URL, out.AvatarURL, out.Host, out.DayZone = a.App, a.Handle, a.Name, a.URL, a.AvatarURL, a.Host, a.DayZone
		if len(a.Server) > 0 {
			out.Server = a.Server
		}
		if _, err := tx.ExecContext(ctx, `UPDATE account SET app = $1, handle = $2, name = $3, url = $4, avatar_url = $5, host = $6, day_zone = $7, server = $8
			WHERE id = $9`, out.App, out.Handle, out.Name, out.URL, out.AvatarURL, out.Host, out.DayZone, string(out.Server), int64(out.ID)); err != nil {
			return err
		}
		return s.note(ctx, tx, auditEntry{
			Workspace: out.WorkspaceID, Actor: actor, Action: "account.reconnect", Subject: out.ID.String(),
			Detail: map[string]any{"handle": out.Handle},
		})
	})
	if err != nil {
		return out, fmt.Errorf("storing account %s: %w", a.Handle, err)
	}
	return out, nil
}

// MarkConnected says that the account has a working grant, and gives its
// blocked deliveries back to the scheduler, for which the late rule runs from
// now on. It returns how many those are.
func (s *Store) MarkConnected(ctx context.Context, workspace, id social.ID) (int, error) {
	var freed int64
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		now := millis(s.now())
		res, err := tx.ExecContext(ctx, `UPDATE account SET status = 'connected', status_reason = '' WHERE workspace_id = $1 AND id = $2 AND status <> 'removed'`,
			int64(workspace), int64(id))
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return accountErr(sql.ErrNoRows, id)
		}
		freed, err = free(ctx, tx, id, "the account was reconnected", now)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("marking account %s connected: %w", id, err)
	}
	return int(freed), nil
}

// FreeBlocked gives the blocked deliveries of accounts that are connected back
// to the scheduler: what blocked them (a permission, a network that was switched
// off) may be gone. What is blocked still is blocked again, and people are told
// again; so it is for when somebody did something about it. account 0 means all
// accounts. It returns how many deliveries those are.
func (s *Store) FreeBlocked(ctx context.Context, account social.ID) (int, error) {
	var freed int64
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var err error
		freed, err = free(ctx, tx, account, "it is tried again", millis(s.now()))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("freeing blocked deliveries: %w", err)
	}
	return int(freed), nil
}

// free moves the blocked deliveries of an account (0: of all accounts) on, if
// it is connected.
func free(ctx context.Context, tx *sql.Tx, account social.ID, reason string, now int64) (int64, error) {
	return changed(tx.ExecContext(ctx, `UPDATE delivery SET state = 'scheduled', reason = $1, next_at = $2, `+takeAway+`, updated_at = $2
		WHERE state = 'blocked' AND account_id IN (SELECT id FROM account WHERE status = 'connected' AND (CAST($3 AS BIGINT) = 0 OR id = $3))`,
		reason, now, int64(account)))
}

// SetAccountStatus changes an account's status. reason is one sentence for a
// person. It does nothing to a removed account.
func (s *Store) SetAccountStatus(ctx context.Context, workspace, id social.ID, status social.AccountStatus, reason, actor string) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE account SET status = $1, status_reason = $2
			WHERE workspace_id = $3 AND id = $4 AND status <> 'removed' AND (status <> $1 OR status_reason <> $2)`,
			string(status), reason, int64(workspace), int64(id))
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		return s.note(ctx, tx, auditEntry{
			Workspace: workspace, Actor: actor, Action: "account.status", Subject: id.String(),
			Detail: map[string]any{"status": status, "reason": reason},
		})
	})
	if err != nil {
		return fmt.Errorf("setting the status of account %s: %w", id, err)
	}
	return nil
}

// UpdateProfile stores what the network says of an account now (a new handle,
// name or picture, and what its server takes, where the profile says that).
func (s *Store) UpdateProfile(ctx context.Context, workspace, id social.ID, p social.Profile) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE account SET handle = $1, name = $2, url = $3, avatar_url = $4, server = CASE WHEN $5 = '' THEN server ELSE $5 END
			WHERE workspace_id = $6 AND id = $7 AND status <> 'removed'`, p.Handle, p.Name, p.URL, p.AvatarURL, string(p.Server), int64(workspace), int64(id))
		return err
	})
	if err != nil {
		return fmt.Errorf("updating account %s: %w", id, err)
	}
	return nil
}

// WaitingDeliveries counts what would not be published if the account were
// removed.
func (s *Store) WaitingDeliveries(ctx context.Context, workspace, account social.ID) (int, error) {
	var n int
	err := s.read().QueryRowContext(ctx, `SELECT COUNT(*) FROM delivery WHERE workspace_id = $1 AND account_id = $2 AND state IN `+sqlStoppable,
		int64(workspace), int64(account)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("counting deliveries of account %s: %w", account, err)
	}
	return n, nil
}

// RemoveAccount marks an account removed and cancels what waits for it, in one
// transaction. Without force it refuses with CodeConflict if anything waits,
// and always if something is being sent right now. It returns how many
// deliveries were cancelled. The secrets are destroyed by internal/credentials
// before this.
func (s *Store) RemoveAccount(ctx context.Context, workspace, id social.ID, force bool, actor string) (int, error) {
	cancelled := 0
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		a, err := scanAccountRow(tx.QueryRowContext(ctx, `SELECT `+accountColumns+` FROM account WHERE workspace_id = $1 AND id = $2 AND status <> 'removed'`,
			int64(workspace), int64(id)))
		if err := accountErr(err, id); err != nil {
			return err
		}
		var waiting, open int
		if err := tx.QueryRowContext(ctx, `SELECT COALESCE(SUM(CASE WHEN state IN `+sqlStoppable+` THEN 1 ELSE 0 END), 0),
			COALESCE(SUM(CASE WHEN state IN ('armed','ambiguous','needs_human') THEN 1 ELSE 0 END), 0)
			FROM delivery WHERE workspace_id = $1 AND account_id = $2`, int64(workspace), int64(id)).Scan(&waiting, &open); err != nil {
			return err
		}
		if open > 0 {
			return social.Errorf(social.CodeConflict, "account", "%d of %s's posts are being sent or have an unknown outcome; wait for them or resolve them, then remove the account", open, a.Handle)
		}
		if waiting > 0 && !force {
			return social.Errorf(social.CodeConflict, "force", "%s waiting on %s and would be cancelled; remove with force to do that", countPosts(waiting), a.Handle)
		}
		now := millis(s.now())
		if _, err := tx.ExecContext(ctx, `UPDATE delivery SET state = 'cancelled', reason = 'the account was removed', next_at = 0, `+takeAway+`,
			updated_at = $1 WHERE workspace_id = $2 AND account_id = $3 AND state IN `+sqlStoppable,
			now, int64(workspace), int64(id)); err != nil {
			return err
		}
		cancelled = waiting
		if _, err := tx.ExecContext(ctx, `UPDATE account SET status = 'removed', status_reason = '' WHERE id = $1`, int64(id)); err != nil {
			return err
		}
		return s.note(ctx, tx, auditEntry{
			Workspace: workspace, Actor: actor, Action: "account.remove", Subject: id.String(),
			Detail: map[string]any{"handle": a.Handle, "cancelled": waiting},
		})
	})
	if err != nil {
		return 0, fmt.Errorf("removing account %s: %w", id, err)
	}
	return cancelled, nil
}

func countPosts(n int) string {
	if n == 1 {
		return "1 post is"
	}
	return fmt.Sprintf("%d posts are", n)
}
