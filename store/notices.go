package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"smi/internal/social"
	"smi/scheduler"
)

// tell puts a notice into the outbox, in the transaction of what it is about.
// nil is no notice.
func (s *Store) tell(ctx context.Context, tx *sql.Tx, workspace social.ID, n *scheduler.Notice, now time.Time) error {
	if n == nil {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO outbox (id, workspace_id, kind, severity, delivery_id, account_id, text, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		int64(s.ids.New(now)), int64(workspace), n.Kind, n.Severity, int64(n.Delivery), int64(n.Account), n.Text, millis(now)); err != nil {
		return fmt.Errorf("writing the notice: %w", err)
	}
	s.ring()
	return nil
}

// Tell puts a notice into the outbox by itself. A zero workspace means that it
// is for everybody.
func (s *Store) Tell(ctx context.Context, workspace social.ID, n scheduler.Notice) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error { return s.tell(ctx, tx, workspace, &n, s.now()) })
}

// Outgoing is a notice that waits to be sent.
type Outgoing struct {
	ID        social.ID
	Workspace social.ID // zero: everybody
	scheduler.Notice
	CreatedAt time.Time
}

// Unsent returns notices that were not sent yet, the oldest first.
func (s *Store) Unsent(ctx context.Context, limit int) ([]Outgoing, error) {
	rows, err := s.read().QueryContext(ctx, `SELECT id, workspace_id, kind, severity, delivery_id, account_id, text, created_at FROM outbox
		WHERE sent_at = 0 ORDER BY id LIMIT $1`, limit)
	out, err := collect(rows, err, func(row interface{ Scan(...any) error }) (Outgoing, error) {
		var o Outgoing
		var at int64
		err := row.Scan((*int64)(&o.ID), (*int64)(&o.Workspace), &o.Kind, &o.Severity, (*int64)(&o.Delivery), (*int64)(&o.Account), &o.Text, &at)
		o.CreatedAt = fromMillis(at)
		return o, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the outbox: %w", err)
	}
	return out, nil
}

// MarkSent says that a notice was sent. Saying it twice keeps the first time.
func (s *Store) MarkSent(ctx context.Context, id social.ID) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE outbox SET sent_at = $1 WHERE id = $2 AND sent_at = 0`, millis(s.now()), int64(id))
		return err
	})
	if err != nil {
		return fmt.Errorf("marking a notice sent: %w", err)
	}
	return nil
}

// metaPruned is up to when notices were deleted, in milliseconds.
const metaPruned = "notices_pruned"

// PruneNotices deletes the notices made before a time, some thousand at a call,
// and returns how many.
func (s *Store) PruneNotices(ctx context.Context, before time.Time) (int64, error) {
	var n int64
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM notice_send WHERE notice_id IN (SELECT id FROM outbox WHERE created_at < $1 ORDER BY id LIMIT 2000)`, millis(before)); err != nil {
			return err
		}
		if err := metaSet(ctx, tx, metaPruned, strconv.FormatInt(millis(before), 10)); err != nil {
			return err
		}
		var err error
		n, err = changed(tx.ExecContext(ctx, `DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE created_at < $1 ORDER BY id LIMIT 2000)`, millis(before)))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("deleting old notices: %w", err)
	}
	return n, nil
}
