package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"smi/connectors"
	"smi/internal/social"
	"smi/scheduler"
)

// The Store is the scheduler's ledger: NextDue, Claim and Renew are in claim.go,
// Arm and Save in arm.go, Move in move.go. What people do to deliveries is in
// change.go. The rules are in the comments of scheduler.Ledger.
var _ scheduler.Ledger = (*Store)(nil)

// The groups of delivery states, as they stand in SQL.
const (
	sqlPublishing = `('scheduled','claimed','ready','waiting')`
	sqlClaimable  = `('scheduled','claimed','ready','waiting','armed','ambiguous')`
)

// sqlStopped is true while nothing may be published at all.
const sqlStopped = `(EXISTS (SELECT 1 FROM meta WHERE key = '` + metaPaused + `' AND value = '1') OR ` + sqlQuarantined + `)`

// Recover takes up what the last run left. See scheduler.Ledger.
func (s *Store) Recover(ctx context.Context, node string, alone bool, now time.Time) (int, error) {
	var armed int64
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		mine, args := `owner = $2`, []any{millis(now), node}
		if alone {
			mine, args = `(owner <> '' OR state = 'armed')`, []any{millis(now)}
		}
		// Nobody may say "not sent" of these any more: the process that could is gone.
		if _, err := tx.ExecContext(ctx, `UPDATE attempt SET state = 'ambiguous', decided_by = 'restart', decided_at = $1,
				evidence = CASE WHEN evidence = '{}' THEN '{"text":"smi stopped while it was being sent"}' ELSE evidence END
			WHERE state = 'armed' AND delivery_id IN (SELECT id FROM delivery WHERE state = 'armed' AND `+mine+`)`, args...); err != nil {
			return fmt.Errorf("voiding attempts: %w", err)
		}
		r, err := tx.ExecContext(ctx, `UPDATE delivery SET state = 'ambiguous', reason = 'smi stopped while it was being sent: it is looking for the post.',
				next_at = $1, owner = '', lease_until = 0, epoch = epoch + 1, ver = ver + 1, updated_at = $1
			WHERE state = 'armed' AND `+mine, args...)
		if err != nil {
			return fmt.Errorf("voiding armed deliveries: %w", err)
		}
		if armed, err = r.RowsAffected(); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE delivery SET owner = '', lease_until = 0, epoch = epoch + 1, updated_at = $1 WHERE owner <> '' AND `+mine, args...); err != nil {
			return fmt.Errorf("voiding claims: %w", err)
		}
		if alone {
			// A delivery that smi works on always has a time. This mends one that has
			// none, whatever the reason: it would be forgotten in silence.
			if _, err := tx.ExecContext(ctx, `UPDATE delivery SET next_at = $1 WHERE next_at = 0 AND state IN `+sqlClaimable, millis(now)); err != nil {
				return fmt.Errorf("giving deliveries a time: %w", err)
			}
		}
		if armed == 0 {
			return nil
		}
		return s.note(ctx, tx, auditEntry{Actor: "scheduler:" + node, Action: "scheduler.recover", Detail: map[string]any{"armed": armed, "alone": alone}})
	})
	if err != nil {
		return 0, fmt.Errorf("recovering: %w", err)
	}
	return int(armed), nil
}

const ledgerColumns = `id, workspace_id, post_id, account_id, occurrence, kind, parent_ref, parts, content_hash, planned_utc, not_after, late_policy,
	allow_repeat, state, reason, step, next_at, tries, epoch, owner, lease_until, ver, remote_id, remote_url, published_at, cancel_wanted, created_at, updated_at`

func scanDelivery(row interface{ Scan(...any) error }) (social.Delivery, error) {
	var d social.Delivery
	var parts string
	var planned, notAfter, next, lease, published, created, updated int64
	if err := row.Scan((*int64)(&d.ID), (*int64)(&d.WorkspaceID), (*int64)(&d.PostID), (*int64)(&d.AccountID), &d.Occurrence, &d.Kind, &d.ParentRef,
		&parts, &d.ContentHash, &planned, &notAfter, &d.LatePolicy, &d.AllowRepeat, &d.State, &d.Reason, &d.Step, &next, &d.Tries, &d.Epoch, &d.Owner,
		&lease, &d.Ver, &d.RemoteID, &d.RemoteURL, &published, &d.Cancel, &created, &updated); err != nil {
		return d, fmt.Errorf("reading a delivery: %w", err)
	}
	d.PlannedAt, d.NotAfter, d.NextAt, d.LeaseUntil = fromMillis(planned), fromMillis(notAfter), fromMillis(next), fromMillis(lease)
	d.PublishedAt, d.CreatedAt, d.UpdatedAt = fromMillis(published), fromMillis(created), fromMillis(updated)
	if err := json.Unmarshal([]byte(parts), &d.Parts); err != nil {
		return d, fmt.Errorf("reading the parts of delivery %s: %w", d.ID, err)
	}
	return d, nil
}

// attemptColumns are those of scanAttempt, of the table attempt under the name a.
const attemptColumns = `a.id, a.delivery_id, a.account_id, a.step, a.n, a.class, a.epoch, a.node, a.armed_at, a.send_by, a.takeover_at, a.token_gen,
	a.req_hash, a.fp, a.state, a.evidence, a.receipt, a.polls, a.early, a.decided_by, a.decided_at`

func scanAttempt(row interface{ Scan(...any) error }) (scheduler.Attempt, error) {
	var a scheduler.Attempt
	var armed, sendBy, takeover, decided int64
	var evidence, receipt string
	if err := row.Scan((*int64)(&a.ID), (*int64)(&a.Delivery), (*int64)(&a.Account), &a.Step, &a.N, &a.Class, &a.Epoch, &a.Node, &armed, &sendBy, &takeover,
		&a.TokenGen, &a.RequestHash, &a.Fingerprint, &a.State, &evidence, &receipt, &a.Polls, &a.Early, &a.DecidedBy, &decided); err != nil {
		return a, fmt.Errorf("reading an attempt: %w", err)
	}
	a.ArmedAt, a.SendBy, a.TakeoverAt, a.DecidedAt = fromMillis(armed), fromMillis(sendBy), fromMillis(takeover), fromMillis(decided)
	if err := json.Unmarshal([]byte(evidence), &a.Evidence); err != nil {
		return a, fmt.Errorf("reading the evidence of attempt %s: %w", a.ID, err)
	}
	if err := json.Unmarshal([]byte(receipt), &a.Receipt); err != nil {
		return a, fmt.Errorf("reading the receipt of attempt %s: %w", a.ID, err)
	}
	return a, nil
}

// Attempts returns all attempts of a delivery, by step and number: what the
// person who decides is shown.
func (s *Store) Attempts(ctx context.Context, workspace, delivery social.ID) ([]scheduler.Attempt, error) {
	rows, err := s.read().QueryContext(ctx, `SELECT `+attemptColumns+` FROM attempt a JOIN delivery d ON d.id = a.delivery_id
		WHERE d.workspace_id = $1 AND a.delivery_id = $2 ORDER BY a.step, a.n`, int64(workspace), int64(delivery))
	return collect(rows, err, scanAttempt)
}

// collect reads all rows and closes them.
func collect[T any](rows *sql.Rows, err error, scan func(interface{ Scan(...any) error }) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// saveCheckpoint stores the state of a part's preparation.
func (s *Store) saveCheckpoint(ctx context.Context, tx *sql.Tx, delivery social.ID, c *scheduler.Checkpoint) error {
	state := string(c.State)
	if state == "" {
		state = "null"
	}
	if _, err := s.run(ctx, tx, `INSERT INTO checkpoint (delivery_id, step, state, class, req_hash, expires_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (delivery_id, step) DO UPDATE SET state = excluded.state, class = excluded.class, req_hash = excluded.req_hash, expires_at = excluded.expires_at`,
		int64(delivery), c.Step, state, string(c.Class), c.RequestHash, millis(c.Expires)); err != nil {
		return fmt.Errorf("saving the preparation: %w", err)
	}
	return nil
}

// stepCheckpoint is a checkpoint with the delivery it belongs to.
type stepCheckpoint struct {
	delivery social.ID
	c        scheduler.Checkpoint
}

func scanCheckpoint(row interface{ Scan(...any) error }) (stepCheckpoint, error) {
	var v stepCheckpoint
	var state string
	var expires int64
	if err := row.Scan((*int64)(&v.delivery), &v.c.Step, &state, &v.c.Class, &v.c.RequestHash, &expires); err != nil {
		return v, fmt.Errorf("reading a preparation: %w", err)
	}
	if state != "null" {
		v.c.State = json.RawMessage(state)
	}
	v.c.Expires = fromMillis(expires)
	return v, nil
}

// stepReceipt is the receipt of a part that is done.
type stepReceipt struct {
	delivery social.ID
	step     int
	receipt  connectors.Receipt
}

func scanReceipt(row interface{ Scan(...any) error }) (stepReceipt, error) {
	var v stepReceipt
	var receipt string
	if err := row.Scan((*int64)(&v.delivery), &v.step, &receipt); err != nil {
		return v, fmt.Errorf("reading a receipt: %w", err)
	}
	if err := json.Unmarshal([]byte(receipt), &v.receipt); err != nil {
		return v, fmt.Errorf("reading the receipt of part %d of delivery %s: %w", v.step+1, v.delivery, err)
	}
	return v, nil
}
