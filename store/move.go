package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"smi/connectors"
	"smi/internal/social"
	"smi/scheduler"
)

// needsNotice are the states into which nothing goes without telling people.
var needsNotice = []social.DeliveryState{social.Failed, social.NeedsHuman, social.HeldLate, social.Blocked, social.Skipped}

// maxEvidence bounds the text kept of a network's answer, in bytes.
const maxEvidence = 4 << 10

// Move changes a delivery's state together with all that belongs to it. See
// scheduler.Ledger and scheduler.Move.
func (s *Store) Move(ctx context.Context, m scheduler.Move) error {
	if err := checkMove(&m); err != nil {
		return err
	}
	asked := m
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		m := asked // this may be run again
		var was social.DeliveryState
		var workspace, account social.ID
		var epoch int64
		var step int
		var owner, remote string
		var cancel bool
		err := s.runRow(ctx, tx, `SELECT state, epoch, step, owner, workspace_id, account_id, remote_id, cancel_wanted FROM delivery WHERE id = $1`, int64(m.Delivery)).
			Scan(&was, &epoch, &step, &owner, (*int64)(&workspace), (*int64)(&account), &remote, &cancel)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return scheduler.ErrStale
		case err != nil:
			return fmt.Errorf("reading the delivery: %w", err)
		case epoch != m.Epoch || !slices.Contains(m.From, was):
			return scheduler.ErrStale
		}
		if m.To == social.Published && m.Body == nil && remote == "" {
			return fmt.Errorf("%w: %s is said to be published without saying where", scheduler.ErrInvalidMove, m.Delivery)
		}
		if m.Attempt != nil {
			if err := s.changeAttempt(ctx, tx, &m, account, step); err != nil {
				return err
			}
			if err := s.giveBack(ctx, tx, m.Attempt); err != nil {
				return err
			}
		}
		if m.Trace != nil {
			if err := s.insertTrace(ctx, tx, &m, account, step); err != nil {
				return err
			}
		}
		if m.Step == 0 {
			m.Step = step
		}
		if cancel && slices.Contains(claimable[:4], m.To) {
			if err := honourCancel(ctx, tx, &m, step, remote); err != nil {
				return err
			}
		}
		if err := s.moveDelivery(ctx, tx, &m, was); err != nil {
			return err
		}
		if m.DropCheckpoint {
			if _, err := tx.ExecContext(ctx, `DELETE FROM checkpoint WHERE delivery_id = $1 AND step = $2`, int64(m.Delivery), step); err != nil {
				return fmt.Errorf("dropping the preparation: %w", err)
			}
		}
		if m.Checkpoint != nil {
			if err := s.saveCheckpoint(ctx, tx, m.Delivery, m.Checkpoint); err != nil {
				return err
			}
		}
		if m.Gap != nil {
			if err := s.changeGap(ctx, tx, &m); err != nil {
				return err
			}
		}
		if err := s.tell(ctx, tx, workspace, m.Notice, m.Now); err != nil {
			return err
		}
		if m.To == was && m.Attempt == nil { // a claim given back, or a look that found nothing new, is no news
			return nil
		}
		return s.note(ctx, tx, moved(&m, was, workspace, owner))
	})
}

// checkMove refuses what is never right, before anything is written.
func checkMove(m *scheduler.Move) error {
	switch {
	case slices.Contains(needsNotice, m.To) && m.Notice == nil && !slices.Equal(m.From, []social.DeliveryState{m.To}):
		return fmt.Errorf("%w: nothing becomes %s without a notice", scheduler.ErrInvalidMove, m.To)
	case !slices.Contains(social.DeliveryStates, m.To):
		return fmt.Errorf("%w: there is no state %q", scheduler.ErrInvalidMove, m.To)
	case m.To == social.Armed && !slices.Equal(m.From, []social.DeliveryState{social.Armed}):
		return fmt.Errorf("%w: only Arm arms", scheduler.ErrInvalidMove)
	case m.Trace != nil && m.Trace.State == scheduler.AttemptAdopted && m.Trace.Receipt.RemoteID == "":
		return fmt.Errorf("%w: what was found has a remote id", scheduler.ErrInvalidMove)
	case m.Body != nil && m.Body.RemoteID == "":
		return fmt.Errorf("%w: a published body has a remote id", scheduler.ErrInvalidMove)
	}
	if c := m.Attempt; c != nil {
		succeeded := c.State == scheduler.AttemptOK || c.State == scheduler.AttemptAdopted
		switch {
		case c.State == scheduler.AttemptArmed:
			return fmt.Errorf("%w: an attempt never becomes armed again", scheduler.ErrInvalidMove)
		case c.Early && c.State != scheduler.AttemptAbsentByHandle:
			return fmt.Errorf("%w: only the word of a handle can be too early", scheduler.ErrInvalidMove)
		case succeeded && c.Receipt.RemoteID == "":
			return fmt.Errorf("%w: an attempt that succeeded has a remote id", scheduler.ErrInvalidMove)
		}
		return nil
	}
	return nil
}

// moveDelivery writes the row of the delivery. was is known to be current: the
// transaction has the only writing connection, and on a database with many the
// state is compared again.
func (s *Store) moveDelivery(ctx context.Context, tx *sql.Tx, m *scheduler.Move, was social.DeliveryState) error {
	next, release := millis(m.NextAt), m.Release
	if m.To.Final() {
		next, release = 0, true
	}
	var body connectors.Receipt
	if m.Body != nil {
		body = *m.Body
	}
	n, err := changed(s.run(ctx, tx, `UPDATE delivery SET state = $1, reason = CASE WHEN $2 <> '' OR state <> $1 THEN $2 ELSE reason END, step = $3, tries = $4, next_at = $5,
			owner = CASE WHEN $6 THEN '' ELSE owner END, lease_until = CASE WHEN $6 THEN 0 ELSE lease_until END,
			remote_id = CASE WHEN $7 <> '' THEN $7 ELSE remote_id END, remote_url = CASE WHEN $7 <> '' THEN $8 ELSE remote_url END,
			published_at = CASE WHEN CAST($9 AS BIGINT) > 0 THEN $9 ELSE published_at END, ver = ver + 1, updated_at = $10
		WHERE id = $11 AND epoch = $12 AND state = $13`,
		string(m.To), m.Reason, m.Step, m.Tries, next, release, body.RemoteID, body.URL, publishedAt(m), millis(m.Now), int64(m.Delivery), m.Epoch, string(was)))
	if err != nil {
		return fmt.Errorf("moving delivery %s to %s: %w", m.Delivery, m.To, err)
	}
	if n != 1 {
		return scheduler.ErrStale
	}
	return nil
}

// honourCancel turns a move that would send something into the end of the
// delivery, where a person wanted to cancel while it was being sent and it is
// now certain what got out. Where it is not (a handle that says "not done" may
// be overtaken by the request under way) the scheduler looks before it stops.
func honourCancel(ctx context.Context, tx *sql.Tx, m *scheduler.Move, step int, remote string) error {
	if m.Attempt == nil {
		return nil
	}
	switch m.Attempt.State {
	case scheduler.AttemptOK, scheduler.AttemptAdopted:
	case scheduler.AttemptNotSent, scheduler.AttemptRejected:
		var doubtful bool
		if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM attempt WHERE delivery_id = $1 AND step = $2 AND state IN ('ambiguous','absent_by_handle','absent_by_human'))`,
			int64(m.Delivery), step).Scan(&doubtful); err != nil {
			return fmt.Errorf("reading the attempts before: %w", err)
		}
		if doubtful {
			return nil
		}
	default:
		return nil
	}
	m.To, m.Reason = social.Cancelled, "Cancelled while it was being sent; it did not get out."
	if remote != "" || m.Body != nil {
		m.To, m.Reason = social.Published, "Published before it could be cancelled; the parts after it were cancelled."
	}
	if m.Notice == nil {
		m.Notice = &scheduler.Notice{Kind: "delivery_cancelled", Severity: "info", Delivery: m.Delivery, Text: m.Reason}
	}
	return nil
}

// publishedAt is when the body became public, 0 if this move does not say so.
func publishedAt(m *scheduler.Move) int64 {
	switch {
	case m.Body == nil:
		return 0
	case m.Body.PublishedAt.IsZero():
		return millis(m.Now)
	}
	return millis(m.Body.PublishedAt)
}

// changeAttempt writes new knowledge of an attempt down: of the open one, or of
// one that was called absent too early.
func (s *Store) changeAttempt(ctx context.Context, tx *sql.Tx, m *scheduler.Move, account social.ID, step int) error {
	c := m.Attempt
	c2 := c.Evidence
	if len(c2.Text) > maxEvidence {
		c2.Text = c2.Text[:maxEvidence]
	}
	evidence, err := json.Marshal(c2)
	if err != nil {
		return fmt.Errorf("writing the evidence: %w", err)
	}
	receipt, err := json.Marshal(c.Receipt)
	if err != nil {
		return fmt.Errorf("writing the receipt: %w", err)
	}
	var remote *string
	if c.State == scheduler.AttemptOK || c.State == scheduler.AttemptAdopted {
		remote = &c.Receipt.RemoteID
		var taken int
		if err := s.runRow(ctx, tx, `SELECT count(*) FROM attempt WHERE account_id = $1 AND remote_id = $2 AND id <> $3`, int64(account), *remote, int64(c.ID)).Scan(&taken); err != nil {
			return fmt.Errorf("looking for the owner of %s: %w", *remote, err)
		}
		if taken > 0 {
			return fmt.Errorf("%w: %s", scheduler.ErrRemoteTaken, *remote)
		}
	} else {
		receipt = []byte("{}")
	}
	decided := m.Now
	if c.State == scheduler.AttemptAmbiguous && c.DecidedBy == "" {
		decided = time.Time{}
	}
	query := `UPDATE attempt SET state = $1, evidence = $2, receipt = $3, remote_id = $4, polls = $5, decided_by = $6, decided_at = $7, early = $8
		WHERE id = $9 AND delivery_id = $10 AND (state IN ('armed','ambiguous') OR early)`
	args := []any{string(c.State), string(evidence), string(receipt), remote, c.Polls, c.DecidedBy, millis(decided), c.Early, int64(c.ID), int64(m.Delivery)}
	if c.State == scheduler.AttemptNotSent {
		// Only who armed it can know that nothing was written.
		query += ` AND state = 'armed' AND epoch = $11`
		args = append(args, m.Epoch)
	}
	n, err := changed(s.run(ctx, tx, query, args...))
	if err != nil {
		return fmt.Errorf("judging the attempt: %w", err)
	}
	if n != 1 {
		return scheduler.ErrStale
	}
	if c.State == scheduler.AttemptAbsentByHandle && !c.Early {
		if _, err := s.run(ctx, tx, `UPDATE attempt SET early = FALSE WHERE delivery_id = $1 AND step = $2 AND early`, int64(m.Delivery), step); err != nil {
			return fmt.Errorf("settling the attempts before: %w", err)
		}
	}
	return nil
}

// moved is a move's line in the audit log.
func moved(m *scheduler.Move, was social.DeliveryState, workspace social.ID, owner string) auditEntry {
	e := auditEntry{Workspace: workspace, Actor: "scheduler:" + owner, Action: "delivery." + string(m.To), Subject: m.Delivery.String(), Detail: map[string]any{"from": was}}
	if m.Reason != "" {
		e.Detail["reason"] = m.Reason
	}
	if m.Trace != nil {
		e.Detail["attempt"], e.Detail["outcome"], e.Detail["decided_by"] = m.Trace.ID, m.Trace.State, m.Trace.DecidedBy
	}
	if m.Attempt != nil {
		e.Detail["attempt"], e.Detail["outcome"], e.Detail["decided_by"] = m.Attempt.ID, m.Attempt.State, m.Attempt.DecidedBy
	}
	if m.Body != nil {
		e.Detail["remote_id"] = m.Body.RemoteID
	}
	return e
}
