package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"smi/internal/social"
	"smi/scheduler"
)

const syncColumns = `id, account_id, local_date, kind, state, step, cursor, tries, values_set, reason, resume_at, created_at, started_at, finished_at`

func scanSyncRun(row interface{ Scan(...any) error }) (scheduler.SyncRun, error) {
	var r scheduler.SyncRun
	var resume, created, started, ended int64
	err := row.Scan((*int64)(&r.ID), (*int64)(&r.Account), &r.LocalDate, &r.Kind, (*string)(&r.State), &r.Step, &r.Cursor, &r.Tries, &r.Values, &r.Reason,
		&resume, &created, &started, &ended)
	r.ResumeAt, r.CreatedAt, r.StartedAt, r.EndedAt = fromMillis(resume), fromMillis(created), fromMillis(started), fromMillis(ended)
	return r, err
}

// PlanNightly makes sure that every connected account of a workspace has its
// run for a night, and gives each new one to enqueue, in the same transaction.
// Any number of calls for one night make each run once. It returns how many
// were made.
func (s *Store) PlanNightly(ctx context.Context, workspace social.ID, localDate int, enqueue func(ctx context.Context, tx *sql.Tx, run social.ID) error) (int, error) {
	made := 0
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		made = 0
		ids, err := accountIDs(ctx, tx, workspace)
		if err != nil {
			return err
		}
		for _, account := range ids {
			id := s.ids.New(s.now())
			res, err := tx.ExecContext(ctx, `INSERT INTO sync_run (id, account_id, local_date, kind, state, created_at) VALUES ($1, $2, $3, 'nightly', 'queued', $4)
ON CONFLICT (account_id, local_date) WHERE kind = 'nightly' DO NOTHING`, int64(id), account, localDate, millis(s.now()))
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil || n == 0 {
				if err != nil {
					return err
				}
				continue
			}
			if err := enqueue(ctx, tx, id); err != nil {
				return err
			}
			made++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("planning the night's syncs: %w", err)
	}
	return made, nil
}

func accountIDs(ctx context.Context, tx *sql.Tx, workspace social.ID) ([]int64, error) {
	rows, err := tx.QueryContext(ctx, `SELECT id FROM account WHERE workspace_id = $1 AND status = 'connected' ORDER BY id`, int64(workspace))
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var out []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, rows.Err()
}

// PlanSync makes a run by hand for one account, unless one by hand is waiting or
// any is running, whose id it then returns. A night's run that waits for its
// turn is not taken for it: a person wants the numbers now.
func (s *Store) PlanSync(ctx context.Context, account social.ID, localDate int, enqueue func(ctx context.Context, tx *sql.Tx, run social.ID) error) (social.ID, error) {
	var id social.ID
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT id FROM sync_run WHERE account_id = $1 AND (state = 'running' OR state = 'queued' AND kind = 'manual') ORDER BY created_at DESC LIMIT 1`, int64(account)).Scan((*int64)(&id))
		if err == nil || !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		id = s.ids.New(s.now())
		if _, err := tx.ExecContext(ctx, `INSERT INTO sync_run (id, account_id, local_date, kind, state, created_at) VALUES ($1, $2, $3, 'manual', 'queued', $4)`,
			int64(id), int64(account), localDate, millis(s.now())); err != nil {
			return err
		}
		return enqueue(ctx, tx, id)
	})
	if err != nil {
		return 0, fmt.Errorf("planning a sync: %w", err)
	}
	return id, nil
}

// SyncRun implements scheduler.Archive.
func (s *Store) SyncRun(ctx context.Context, id social.ID, now time.Time) (scheduler.SyncRun, social.Account, error) {
	var run scheduler.SyncRun
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE sync_run SET state = 'running', resume_at = 0, reason = '', started_at = CASE WHEN started_at = 0 THEN $1 ELSE started_at END
WHERE id = $2 AND state IN ('queued','running','partial')`, millis(now), int64(id))
		if err != nil {
			return err
		}
		run, err = scanSyncRun(tx.QueryRowContext(ctx, `SELECT `+syncColumns+` FROM sync_run WHERE id = $1`, int64(id)))
		return err
	})
	if err != nil {
		return run, social.Account{}, fmt.Errorf("opening the run: %w", err)
	}
	account, err := scanAccountRow(s.read().QueryRowContext(ctx, `SELECT `+accountColumns+` FROM account WHERE id = $1`, int64(run.Account)))
	if err != nil {
		return run, account, fmt.Errorf("reading the run's account: %w", err)
	}
	return run, account, nil
}

// EndTry implements scheduler.Archive.
func (s *Store) EndTry(ctx context.Context, r scheduler.SyncRun, n *scheduler.Notice, now time.Time) error {
	ended := now
	if r.State == scheduler.SyncPartial {
		ended = time.Time{}
	}
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE sync_run SET state = $1, reason = $2, resume_at = $3, tries = $4, step = $5, cursor = $6, finished_at = $7 WHERE id = $8`,
			string(r.State), r.Reason, millis(r.ResumeAt), r.Tries, r.Step, r.Cursor, millis(ended), int64(r.ID)); err != nil {
			return err
		}
		if n == nil {
			return nil
		}
		at := s.now()
		_, err := tx.ExecContext(ctx, `INSERT INTO outbox (id, workspace_id, kind, severity, account_id, text, created_at)
SELECT $1, workspace_id, $2, $3, id, $4, $5 FROM account WHERE id = $6`, int64(s.ids.New(at)), n.Kind, n.Severity, n.Text, millis(at), int64(n.Account))
		return err
	})
	if err != nil {
		return fmt.Errorf("saving the end of a run: %w", err)
	}
	return nil
}

// LastSyncs returns each account's latest run, by account.
func (s *Store) LastSyncs(ctx context.Context, workspace social.ID) ([]scheduler.SyncRun, error) {
	rows, err := s.read().QueryContext(ctx, `SELECT `+syncColumns+` FROM sync_run r
WHERE r.account_id IN (SELECT id FROM account WHERE workspace_id = $1)
  AND r.id = (SELECT q.id FROM sync_run q WHERE q.account_id = r.account_id ORDER BY q.created_at DESC, q.id DESC LIMIT 1) ORDER BY r.account_id`, int64(workspace))
	if err != nil {
		return nil, fmt.Errorf("listing syncs: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var out []scheduler.SyncRun
	for rows.Next() {
		r, err := scanSyncRun(rows)
		if err != nil {
			return nil, fmt.Errorf("listing syncs: %w", err)
		}
		out = append(out, r)
	}
	return out, rows.Err()
}
