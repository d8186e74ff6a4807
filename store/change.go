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

// What people do to deliveries. Each is a compare-and-set against arming: either
// it comes before the attempt is written down, and then nothing is sent, or it
// is refused with a sentence that says why. It raises the epoch, so that whoever
// was working on the delivery changes nothing any more.

// sqlStoppable are the states in which nothing is on the wire and nobody has to
// be asked.
const sqlStoppable = `('scheduled','claimed','ready','waiting','held_late','blocked')`

// takeAway ends the claim of whoever works on a delivery.
const takeAway = `owner = '', lease_until = 0, epoch = epoch + 1, ver = ver + 1`

// seen is a delivery as a person's change finds it.
type seen struct {
	social.Delivery
	openAttempt social.ID // of the current part; 0 if none
	armedAt     time.Time // of openAttempt
	early       social.ID // an attempt that was called absent too early: it may still take effect, or have done so
	earlyAt     time.Time // when early was armed
	withheld    bool      // of a gap, and not looked up yet
}

// see reads a delivery in the transaction that changes it.
func see(ctx context.Context, tx *sql.Tx, workspace, id social.ID) (seen, error) {
	d, err := scanDelivery(tx.QueryRowContext(ctx, `SELECT `+ledgerColumns+` FROM delivery WHERE workspace_id = $1 AND id = $2`, int64(workspace), int64(id)))
	if errors.Is(err, sql.ErrNoRows) {
		return seen{}, social.Errorf(social.CodeNotFound, "delivery", "there is no delivery %s in this workspace", id)
	}
	if err != nil {
		return seen{}, err
	}
	v := seen{Delivery: d}
	var armed int64
	err = tx.QueryRowContext(ctx, `SELECT id, armed_at FROM attempt WHERE delivery_id = $1 AND step = $2 AND state IN ('armed','ambiguous')`, int64(id), d.Step).
		Scan((*int64)(&v.openAttempt), &armed)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return v, fmt.Errorf("reading the open attempt: %w", err)
	}
	v.armedAt = fromMillis(armed)
	err = tx.QueryRowContext(ctx, `SELECT id, armed_at FROM attempt WHERE delivery_id = $1 AND step = $2 AND early ORDER BY n DESC LIMIT 1`, int64(id), d.Step).
		Scan((*int64)(&v.early), &armed)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return v, fmt.Errorf("reading the last attempts: %w", err)
	}
	v.earlyAt = fromMillis(armed)
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM gap_delivery WHERE delivery_id = $1 AND decided_at = 0)`, int64(id)).Scan(&v.withheld); err != nil {
		return v, fmt.Errorf("reading the gap: %w", err)
	}
	return v, nil
}

// tooLate is the sentence for a change that can not be made in this state, nil
// if the delivery can still be changed.
func (v *seen) tooLate(now time.Time) *social.Error {
	switch v.State {
	case social.Scheduled, social.Claimed, social.Ready, social.Waiting, social.HeldLate, social.Blocked:
		if v.withheld {
			return social.Errorf(social.CodeConflict, "delivery", "%s; try again when it has", withheldText)
		}
		if v.early != 0 {
			return social.Errorf(social.CodeConflict, "delivery", "too late: it was sent at %s and may still appear; smi looks again as soon as that is certain and its account is connected and not paused; when it is there, delete it",
				v.earlyAt.Format("15:04:05 UTC"))
		}
		return v.unripe(now)
	case social.Armed, social.Ambiguous:
		return social.Errorf(social.CodeConflict, "delivery", "too late: it is being sent since %s; when it is there, delete it", v.armedAt.Format("15:04:05 UTC"))
	case social.Published:
		where := v.RemoteURL
		if where == "" {
			where = v.RemoteID
		}
		return social.Errorf(social.CodeConflict, "delivery", "it is published already (%s); delete it instead", where)
	case social.NeedsHuman:
		return social.Errorf(social.CodeConflict, "delivery", "smi does not know whether it is on the network; look there, then answer: it is there, send it again, or drop it")
	default: // Failed, Cancelled, Skipped
		return social.Errorf(social.CodeConflict, "delivery", "it is %s already, so nothing of it will be sent", v.State)
	}
}

// unripe is the sentence for a decision that comes while what was sent may still
// appear, nil if nothing can: who sends it again now might publish it twice, and
// who drops it might find it published.
func (v *seen) unripe(now time.Time) *social.Error {
	if v.State != social.NeedsHuman && v.State != social.HeldLate || !v.NextAt.After(now) {
		return nil
	}
	return social.Errorf(social.CodeConflict, "answer", "too early: what was sent may still appear until %s; look again then. That it is there can be said at once", v.NextAt.UTC().Format("15:04:05 UTC"))
}

// changeDelivery runs a person's change of one delivery in a transaction.
func (s *Store) changeDelivery(ctx context.Context, workspace, id social.ID, doing string, fn func(ctx context.Context, tx *sql.Tx, v *seen) error) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		v, err := see(ctx, tx, workspace, id)
		if err != nil {
			return err
		}
		return fn(ctx, tx, &v)
	})
	if err != nil {
		return fmt.Errorf("%s delivery %s: %w", doing, id, err)
	}
	return nil
}

// exec runs a statement that must change exactly one row, and notes it.
func (s *Store) exec(ctx context.Context, tx *sql.Tx, e auditEntry, query string, args ...any) error {
	n, err := changed(tx.ExecContext(ctx, query, args...))
	if err != nil {
		return err
	}
	if n != 1 {
		return social.Errorf(social.CodeConflict, "delivery", "somebody else changed it meanwhile; look at it again")
	}
	return s.note(ctx, tx, e)
}

func byPerson(v *seen, actor, action string, detail map[string]any) auditEntry {
	if detail == nil {
		detail = map[string]any{}
	}
	detail["from"] = v.State
	return auditEntry{Workspace: v.WorkspaceID, Actor: actor, Action: action, Subject: v.ID.String(), Detail: detail}
}

// CancelDelivery stops a delivery and returns its state. A nil error is a
// promise: nothing (more) of it will ever be sent. Of a thread that has begun,
// the rest is stopped and the state is Published. Too late, the answer is
// CodeConflict and says what to do; while it is being sent the wish is kept, and
// honoured if it turns out that nothing got out.
func (s *Store) CancelDelivery(ctx context.Context, workspace, id social.ID, actor string) (social.DeliveryState, error) {
	var state social.DeliveryState
	var late *social.Error
	err := s.changeDelivery(ctx, workspace, id, "cancelling", func(ctx context.Context, tx *sql.Tx, v *seen) error {
		state, late = v.State, nil
		now := millis(s.now())
		if v.State == social.Cancelled {
			return nil
		}
		if late = v.tooLate(s.now()); late != nil {
			switch {
			case v.State == social.Blocked && v.early != 0: // the scheduler looks, or asks
				return s.exec(ctx, tx, byPerson(v, actor, "delivery.cancel_wanted", nil), `UPDATE delivery SET cancel_wanted = TRUE, state = 'waiting', next_at = $1, `+takeAway+`, updated_at = $1 WHERE id = $2`, now, int64(id))
			case v.State == social.Armed || v.State == social.Ambiguous || v.early != 0:
				return s.exec(ctx, tx, byPerson(v, actor, "delivery.cancel_wanted", nil), `UPDATE delivery SET cancel_wanted = TRUE, updated_at = $1 WHERE id = $2`, now, int64(id))
			}
			return nil
		}
		var reason string
		state, reason = stopped(v.Step, len(v.Parts), actor)
		return s.exec(ctx, tx, byPerson(v, actor, "delivery.cancel", nil), `UPDATE delivery SET state = $1, reason = $2, next_at = 0, `+takeAway+`, updated_at = $3
			WHERE id = $4 AND state IN `+sqlStoppable, string(state), reason, now, int64(id))
	})
	if err != nil {
		return state, err
	}
	if late != nil {
		return state, late
	}
	return state, nil
}

// stopped is what becomes of a delivery of which step parts are published and
// nothing more will be.
func stopped(step, parts int, actor string) (social.DeliveryState, string) {
	if step == 0 {
		return social.Cancelled, fmt.Sprintf("Cancelled by %s.", actor)
	}
	return social.Published, fmt.Sprintf("%d of %d parts are published; the rest was cancelled by %s.", step, parts, actor)
}

// EditDelivery replaces the content and the plan of a delivery of which nothing
// is on the wire. Parts that are published already must stay as they are. What
// was prepared is prepared anew. A blocked delivery stays blocked while its
// account is not connected.
func (s *Store) EditDelivery(ctx context.Context, workspace, id social.ID, e social.DeliveryEdit, actor string) error {
	return s.changeDelivery(ctx, workspace, id, "changing", func(ctx context.Context, tx *sql.Tx, v *seen) error {
		// A refused part of a thread waits for a person with nothing on the wire.
		if v.State != social.NeedsHuman || v.openAttempt != 0 || v.early != 0 {
			if late := v.tooLate(s.now()); late != nil {
				return late
			}
		}
		if v.Ver != e.Ver {
			return social.Errorf(social.CodeConflict, "delivery", "somebody else changed it meanwhile; look at it again")
		}
		if len(e.Parts) == 0 || len(e.Parts) < v.Step {
			return social.Errorf(social.CodeInvalid, "parts", "%d parts are published already, so at least these are needed", v.Step)
		}
		if v.Step > 0 && social.ContentHash(e.Parts[:v.Step]) != social.ContentHash(v.Parts[:v.Step]) {
			return social.Errorf(social.CodeConflict, "parts", "the first %d parts are published already and cannot be changed; change those after them", v.Step)
		}
		if err := checkPlan(e.PlannedAt, e.NotAfter); err != nil {
			return err
		}
		parts, err := partsJSON(e.Parts)
		if err != nil {
			return err
		}
		hash, approved := social.ContentHash(e.Parts), ""
		if e.Approved {
			approved = hash
		}
		if e.LatePolicy == "" {
			e.LatePolicy = social.LateAsk
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM checkpoint WHERE delivery_id = $1`, int64(id)); err != nil {
			return fmt.Errorf("dropping the preparation: %w", err)
		}
		state, next, err := s.replanned(ctx, tx, v, e.PlannedAt, e.NextAt)
		if err != nil {
			return err
		}
		return s.exec(ctx, tx, byPerson(v, actor, "delivery.edit", map[string]any{"content_hash": hash}),
			`UPDATE delivery SET parts = $1, content_hash = $2, approved_hash = $3, planned_utc = CASE WHEN step > 0 THEN planned_utc ELSE $4 END, not_after = $5, late_policy = $6, allow_repeat = $7,
				state = $8, reason = CASE WHEN $8 = 'blocked' THEN reason ELSE '' END, next_at = $9, tries = 0, `+takeAway+`, updated_at = $10 WHERE id = $11 AND ver = $12`,
			parts, hash, approved, millis(e.PlannedAt), millis(e.NotAfter), string(e.LatePolicy), e.AllowRepeat, string(state), next, millis(s.now()), int64(id), e.Ver)
	})
}

// RescheduleDelivery gives a delivery another time; next is when smi looks at it
// first, zero for now. It also revives one that was skipped or refused before
// anything of it was published. ver is that of the delivery that the person saw.
func (s *Store) RescheduleDelivery(ctx context.Context, workspace, id social.ID, ver int64, planned, next time.Time, actor string) error {
	return s.changeDelivery(ctx, workspace, id, "rescheduling", func(ctx context.Context, tx *sql.Tx, v *seen) error {
		revive := (v.State == social.Skipped || v.State == social.Failed) && v.Step == 0 && v.openAttempt == 0 && v.early == 0
		if late := v.tooLate(s.now()); late != nil && !revive {
			return late
		}
		if v.Ver != ver {
			return social.Errorf(social.CodeConflict, "delivery", "somebody else changed it meanwhile; look at it again")
		}
		if err := checkPlan(planned, v.NotAfter); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM checkpoint WHERE delivery_id = $1`, int64(id)); err != nil {
			return fmt.Errorf("dropping the preparation: %w", err)
		}
		state, at, err := s.replanned(ctx, tx, v, planned, next)
		if err != nil {
			return err
		}
		return s.exec(ctx, tx, byPerson(v, actor, "delivery.reschedule", map[string]any{"planned": planned.UTC()}),
			`UPDATE delivery SET planned_utc = CASE WHEN step > 0 THEN planned_utc ELSE $1 END, state = $2, reason = CASE WHEN $2 = 'blocked' THEN reason ELSE '' END, next_at = $3, tries = 0, cancel_wanted = FALSE, `+takeAway+`, updated_at = $4
			WHERE id = $5 AND ver = $6`, millis(planned), string(state), at, millis(s.now()), int64(id), ver)
	})
}

// replanned is the state and the next look of a delivery that was planned anew;
// the rest of one that has begun is not looked at before its time. A blocked one is tried again, unless its account waits for a new login, which
// then sets it free.
func (s *Store) replanned(ctx context.Context, tx *sql.Tx, v *seen, planned, next time.Time) (social.DeliveryState, int64, error) {
	if v.State == social.Blocked {
		var status social.AccountStatus
		if err := tx.QueryRowContext(ctx, `SELECT status FROM account WHERE id = $1`, int64(v.AccountID)).Scan(&status); err != nil {
			return "", 0, fmt.Errorf("reading the account: %w", err)
		}
		if status != social.AccountConnected {
			return social.Blocked, 0, nil
		}
	}
	if v.Step > 0 {
		next = planned
	}
	if next.IsZero() {
		next = s.now()
	}
	return social.Scheduled, millis(next), nil
}

func checkPlan(planned, notAfter time.Time) error {
	switch {
	case planned.IsZero():
		return social.Errorf(social.CodeInvalid, "planned", "name the time at which it is to be published")
	case !notAfter.IsZero() && notAfter.Before(planned):
		return social.Errorf(social.CodeInvalid, "not_after", "it is not wanted after %s, which is before the planned time; move that limit as well", notAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// PublishLate decides about a delivery that was held because it is late: to
// publish it now, or to skip it.
func (s *Store) PublishLate(ctx context.Context, workspace, id social.ID, publish bool, actor string) error {
	return s.changeDelivery(ctx, workspace, id, "deciding about", func(ctx context.Context, tx *sql.Tx, v *seen) error {
		if v.State != social.HeldLate {
			return social.Errorf(social.CodeConflict, "delivery", "it is not waiting for this decision: it is %s", v.State)
		}
		if late := v.tooLate(s.now()); late != nil {
			return late
		}
		now := s.now()
		if publish {
			return s.exec(ctx, tx, byPerson(v, actor, "delivery.publish_late", nil), `UPDATE delivery SET state = 'scheduled', reason = '', late_policy = 'publish', not_after = CASE WHEN not_after < $1 THEN 0 ELSE not_after END,
				next_at = $1, tries = 0, `+takeAway+`, updated_at = $1 WHERE id = $2 AND state = 'held_late'`, millis(now), int64(id))
		}
		state, reason := social.Skipped, fmt.Sprintf("Skipped by %s.", actor)
		if v.Step > 0 { // it went on with a thread before it was held
			state, reason = stopped(v.Step, len(v.Parts), actor)
		} else if err := s.tell(ctx, tx, workspace, &scheduler.Notice{Kind: "delivery_skipped", Severity: "info", Delivery: id, Account: v.AccountID, Text: reason}, now); err != nil {
			return err
		}
		return s.exec(ctx, tx, byPerson(v, actor, "delivery.skip", nil), `UPDATE delivery SET state = $1, reason = $2, next_at = 0, `+takeAway+`, updated_at = $3 WHERE id = $4 AND state = 'held_late'`,
			string(state), reason, millis(now), int64(id))
	})
}
