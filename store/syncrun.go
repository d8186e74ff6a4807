package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
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

// enqueueBatch is how many jobs are put into the queue in one transaction. Each
// takes about a millisecond, in which nobody else can write.
const enqueueBatch = 25

// PlanNightly makes sure that every connected account of a workspace has its
// run for a night, and gives each new one to enqueue, in the same transaction.
// Any number of calls for one night make each run once; after a failure some
// may be made, and the next call makes the others. It returns how many were
// made.
func (s *Store) PlanNightly(ctx context.Context, workspace social.ID, localDate int, enqueue func(ctx context.Context, tx *sql.Tx, run social.ID) error) (int, error) {
	rows, err := s.read().QueryContext(ctx, `SELECT a.id FROM account a WHERE a.workspace_id = $1 AND a.status = 'connected'
	AND NOT EXISTS (SELECT 1 FROM sync_run r WHERE r.account_id = a.id AND r.local_date = $2 AND r.kind = 'nightly') ORDER BY a.id`, int64(workspace), localDate)
	accounts, err := collect(rows, err, scanID)
	if err != nil {
		return 0, fmt.Errorf("planning the night's syncs: %w", err)
	}
	made := 0
	for batch := range slices.Chunk(accounts, enqueueBatch) {
		n := 0
		err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
			n = 0
			for _, account := range batch {
				id := s.ids.New(s.now())
				added, err := changed(tx.ExecContext(ctx, `INSERT INTO sync_run (id, account_id, local_date, kind, state, created_at) VALUES ($1, $2, $3, 'nightly', 'queued', $4)
ON CONFLICT (account_id, local_date) WHERE kind = 'nightly' DO NOTHING`, int64(id), int64(account), localDate, millis(s.now())))
				if err != nil {
					return err
				}
				if added == 0 {
					continue
				}
				if err := enqueue(ctx, tx, id); err != nil {
					return err
				}
				n++
			}
			return nil
		})
		if err != nil {
			return made, fmt.Errorf("planning the night's syncs: %w", err)
		}
		made += n
	}
	return made, nil
}

func scanID(row interface{ Scan(...any) error }) (social.ID, error) {
	var id int64
	err := row.Scan(&id)
	return social.ID(id), err
}

// OpenRuns returns the sync runs that have not ended, the oldest first.
func (s *Store) OpenRuns(ctx context.Context) ([]social.ID, error) {
	rows, err := s.read().QueryContext(ctx, `SELECT id FROM sync_run WHERE state IN ('queued','running','partial') ORDER BY id`)
	ids, err := collect(rows, err, scanID)
	if err != nil {
		return nil, fmt.Errorf("finding open sync runs: %w", err)
	}
	return ids, nil
}

// RequeueSyncs gives every open run to enqueue, which does nothing for one that
// is in the queue already. It returns how many are open.
func (s *Store) RequeueSyncs(ctx context.Context, enqueue func(ctx context.Context, tx *sql.Tx, run social.ID) error) (int, error) {
	open, err := s.OpenRuns(ctx)
	if err != nil {
		return 0, err
	}
	for batch := range slices.Chunk(open, enqueueBatch) {
		err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
			for _, id := range batch {
				if err := enqueue(ctx, tx, id); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return len(open), fmt.Errorf("queueing open sync runs: %w", err)
		}
	}
	return len(open), nil
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
		_, err := tx.ExecContext(ctx, `UPDATE sync_run SET state = 'running', resume_at = 0, reason = '', started_at = CASE WHEN started_at = 0 THEN CAST($1 AS BIGINT) ELSE started_at END
WHERE id = $2 AND (state IN ('queued','running') OR state = 'partial' AND resume_at <= $1)`, millis(now), int64(id))
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
		ends, err := changed(tx.ExecContext(ctx, `UPDATE sync_run SET state = $1, reason = $2, resume_at = $3, tries = $4, step = $5, cursor = $6, finished_at = $7
WHERE id = $8 AND state NOT IN ('done','failed')`,
			string(r.State), r.Reason, millis(r.ResumeAt), r.Tries, r.Step, r.Cursor, millis(ended), int64(r.ID)))
		if err != nil || ends == 0 || n == nil { // another worker may have ended it first
			return err
		}
		var workspace social.ID
		if err := tx.QueryRowContext(ctx, `SELECT workspace_id FROM account WHERE id = $1`, int64(n.Account)).Scan((*int64)(&workspace)); err != nil {
			return err
		}
		return s.tell(ctx, tx, workspace, n, s.now())
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

// SyncRuns returns runs of a workspace by id.
func (s *Store) SyncRuns(ctx context.Context, workspace social.ID, ids ...social.ID) ([]scheduler.SyncRun, error) {
	var out []scheduler.SyncRun
	for _, id := range ids {
		r, err := scanSyncRun(s.read().QueryRowContext(ctx, `SELECT `+syncColumns+` FROM sync_run
WHERE id = $1 AND account_id IN (SELECT id FROM account WHERE workspace_id = $2)`, int64(id), int64(workspace)))
		if errors.Is(err, sql.ErrNoRows) {
			return nil, social.Errorf(social.CodeNotFound, "run", "there is no reading %s; smi sync status shows the latest ones", id)
		}
		if err != nil {
			return nil, fmt.Errorf("reading a sync run: %w", err)
		}
		out = append(out, r)
	}
	return out, nil
}
