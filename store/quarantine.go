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

// sqlWithheld is true for a delivery d that is of an open gap: it was not looked
// up yet and is neither prepared nor armed.
const sqlWithheld = `EXISTS (SELECT 1 FROM gap_delivery g WHERE g.delivery_id = d.id AND g.decided_at = 0)`

// sqlQuarantined is true while nothing at all may be armed because of a
// quarantine.
const sqlQuarantined = `EXISTS (SELECT 1 FROM quarantine WHERE open AND stops)`

// quarantineText is why nothing is armed.
const quarantineText = "this may be a copy of the live smi (a restored backup or a cloned machine); run smi adopt here if it is the one to publish"

// withheldText is why a delivery of a gap is left alone.
const withheldText = "smi has not looked yet whether it is on the network, because its own records of that time may be incomplete; smi status says how far that is"

// BeginQuarantine puts the instance into quarantine and tells everybody, in one
// transaction. There is one quarantine at a time: where one is open already, its
// gap is made wider, and a full one takes the place of a short one.
func (s *Store) BeginQuarantine(ctx context.Context, o social.QuarantineOrder) (social.Quarantine, error) {
	var q social.Quarantine
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := s.stopArming(ctx, tx); err != nil {
			return err
		}
		now := s.now()
		open, err := openQuarantine(ctx, tx)
		if err != nil {
			return err
		}
		if open.ID != 0 {
			err = s.widen(ctx, tx, open, o, now)
			q.ID = open.ID
		} else {
			q.ID, err = s.beginQuarantine(ctx, tx, o, now)
		}
		if err != nil {
			return err
		}
		if err := s.enrol(ctx, tx, now); err != nil {
			return err
		}
		if err := s.settleQuarantine(ctx, tx, now); err != nil {
			return err
		}
		q, err = quarantineByID(ctx, tx, q.ID)
		return err
	})
	if err != nil {
		return q, fmt.Errorf("beginning the quarantine: %w", err)
	}
	return q, nil
}

func (s *Store) beginQuarantine(ctx context.Context, tx *sql.Tx, o social.QuarantineOrder, now time.Time) (social.ID, error) {
	id := s.ids.New(now)
	phase, adopted := social.Quarantined, time.Time{}
	severity := "alarm"
	text := fmt.Sprintf("smi is in quarantine: %s Nothing is sent from here. What was due since %s is looked up on the networks. "+
		"If this is the instance that is to publish, run smi adopt; if another one publishes already, stop this one.", o.Reason, clock(o.From))
	if o.Short {
		phase, adopted, severity = social.Adopting, now, "warning"
		text = fmt.Sprintf("%s What was due from %s to %s is looked up on the networks before it is sent; all else goes on.", o.Reason, clock(o.From), clock(o.To))
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO quarantine (id, kind, reason, phase, open, short, stops, gap_from, gap_to, begun_at, begun_by, adopted_at, adopted_by)
		VALUES ($1, $2, $3, $4, TRUE, $5, $6, $7, $8, $9, $10, $11, $12)`,
		int64(id), string(o.Kind), o.Reason, string(phase), o.Short, !o.Short, millis(o.From), millis(o.To), millis(now), o.By, millis(adopted), ""); err != nil {
		return 0, err
	}
	if err := s.tell(ctx, tx, 0, &scheduler.Notice{Kind: "quarantine_began", Severity: severity, Text: text}, now); err != nil {
		return 0, err
	}
	return id, s.note(ctx, tx, auditEntry{Actor: o.By, Action: "quarantine.begin", Subject: id.String(), Detail: map[string]any{"kind": o.Kind, "short": o.Short, "from": o.From.UTC()}})
}

// widen adds an order to the quarantine that is open.
func (s *Store) widen(ctx context.Context, tx *sql.Tx, q social.Quarantine, o social.QuarantineOrder, now time.Time) error {
	kind, reason, phase, short, from, to := q.Kind, q.Reason, q.Phase, q.Short, q.From, q.To
	if o.From.Before(from) {
		from = o.From
	}
	switch {
	case !o.Short && phase != social.Quarantined: // a doubt that only a person can end begins anew
		kind, reason, phase, short, to = o.Kind, o.Reason, social.Quarantined, false, time.Time{}
	case o.Short && !to.IsZero() && o.To.After(to):
		to = o.To
	}
	if kind == q.Kind && phase == q.Phase && short == q.Short && from.Equal(q.From) && to.Equal(q.To) && reason == q.Reason {
		return nil // the same doubt at the next start is no news
	}
	if _, err := tx.ExecContext(ctx, `UPDATE quarantine SET kind = $1, reason = $2, phase = $3, short = $4, stops = CASE WHEN $4 THEN stops ELSE TRUE END, gap_from = $5, gap_to = $6 WHERE id = $7`,
		string(kind), reason, string(phase), short, millis(from), millis(to), int64(q.ID)); err != nil {
		return err
	}
	if q.Short && !short {
		// What was let go because nothing was missing is in doubt again.
		if _, err := tx.ExecContext(ctx, `DELETE FROM gap_delivery WHERE quarantine_id = $1 AND outcome = 'released'`, int64(q.ID)); err != nil {
			return err
		}
	}
	if phase != q.Phase {
		text := fmt.Sprintf("smi is in quarantine again: %s Nothing is sent from here before smi adopt.", o.Reason)
		if err := s.tell(ctx, tx, 0, &scheduler.Notice{Kind: "quarantine_began", Severity: "alarm", Text: text}, now); err != nil {
			return err
		}
	}
	return s.note(ctx, tx, auditEntry{Actor: o.By, Action: "quarantine.widen", Subject: q.ID.String(), Detail: map[string]any{"kind": o.Kind, "short": o.Short, "from": o.From.UTC()}})
}

// enrol takes the deliveries of the open gap into it. For a full quarantine they
// are all that may have been sent without this database knowing: everything that
// was planned until the end of the gap and is not over. Deliveries made here
// after the quarantine began are known to nobody else.
func (s *Store) enrol(ctx context.Context, tx *sql.Tx, now time.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO gap_delivery (delivery_id, quarantine_id, planned_utc, next_at)
		SELECT d.id, q.id, d.planned_utc, $1 FROM quarantine q JOIN delivery d ON d.planned_utc <= CASE WHEN q.gap_to > 0 THEN q.gap_to ELSE CAST($1 AS BIGINT) END
		WHERE q.open AND d.created_at <= q.begun_at AND (
			q.short AND d.planned_utc >= q.gap_from AND d.state IN `+sqlPublishing+`
			OR NOT q.short AND d.state IN ('scheduled','claimed','ready','waiting','armed','ambiguous','held_late','blocked'))
		ON CONFLICT (delivery_id, quarantine_id) DO NOTHING`, millis(now))
	if err != nil {
		return fmt.Errorf("listing the posts of the gap: %w", err)
	}
	return nil
}

// Adopt says that this is the live instance. What is left of the gap is looked
// up before anything is armed, and the quarantine ends by itself.
func (s *Store) Adopt(ctx context.Context, actor string) (social.Quarantine, error) {
	var out social.Quarantine
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		now := s.now()
		q, err := openQuarantine(ctx, tx)
		if err != nil {
			return err
		}
		if q.ID == 0 {
			return social.Errorf(social.CodeConflict, "", "this smi is not in quarantine; there is nothing to adopt")
		}
		out = q
		if q.Phase != social.Quarantined {
			return nil // saying it twice changes nothing
		}
		if _, err := tx.ExecContext(ctx, `UPDATE quarantine SET phase = 'adopting', gap_to = $1, adopted_at = $1, adopted_by = $2 WHERE id = $3`, millis(now), actor, int64(q.ID)); err != nil {
			return err
		}
		if err := s.enrol(ctx, tx, now); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE gap_delivery SET next_at = $1, tries = 0, seen_at = 0 WHERE quarantine_id = $2 AND decided_at = 0`, millis(now), int64(q.ID)); err != nil {
			return err
		}
		// What waited for a login that could not be renewed is looked for now.
		if _, err := tx.ExecContext(ctx, `UPDATE delivery SET next_at = $1 WHERE state = 'ambiguous' AND owner = '' AND next_at > $1`, millis(now)); err != nil {
			return err
		}
		if err := s.tell(ctx, tx, 0, &scheduler.Notice{Kind: "quarantine_adopted", Severity: "info", Text: fmt.Sprintf(
			"%s said that this is the live smi. What was due since %s is looked up on the networks now; then publishing goes on.", actor, clock(q.From))}, now); err != nil {
			return err
		}
		if err := s.note(ctx, tx, auditEntry{Actor: actor, Action: "quarantine.adopt", Subject: q.ID.String()}); err != nil {
			return err
		}
		if err := s.closeRested(ctx, tx, now); err != nil {
			return err
		}
		if err := s.settleQuarantine(ctx, tx, now); err != nil {
			return err
		}
		out, err = quarantineByID(ctx, tx, q.ID)
		return err
	})
	if err != nil {
		return out, fmt.Errorf("adopting: %w", err)
	}
	return out, nil
}

// closeRested takes deliveries out of the gap about which nothing is open any
// more: the ordinary look found them, or a person decided.
func (s *Store) closeRested(ctx context.Context, tx *sql.Tx, now time.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE gap_delivery SET decided_at = $1,
			outcome = CASE (SELECT d.state FROM delivery d WHERE d.id = gap_delivery.delivery_id) WHEN 'published' THEN 'adopted' WHEN 'needs_human' THEN 'asked' ELSE 'released' END
		WHERE decided_at = 0 AND delivery_id IN (SELECT d.id FROM delivery d WHERE d.state IN ('published','needs_human','failed','cancelled','skipped'))`, millis(now))
	if err != nil {
		return fmt.Errorf("closing the gap: %w", err)
	}
	return nil
}

// settleQuarantine lets publishing go on when everything of the gap was looked
// up, and ends the quarantine when everything is decided.
func (s *Store) settleQuarantine(ctx context.Context, tx *sql.Tx, now time.Time) error {
	var id social.ID
	var stops, short bool
	var pending, unseen, from int64
	err := tx.QueryRowContext(ctx, `SELECT q.id, q.stops, q.short, q.gap_from,
			(SELECT count(*) FROM gap_delivery g WHERE g.quarantine_id = q.id AND g.decided_at = 0),
			(SELECT count(*) FROM gap_delivery g WHERE g.quarantine_id = q.id AND g.decided_at = 0 AND g.seen_at = 0)
		FROM quarantine q WHERE q.open AND q.phase = 'adopting'`).Scan((*int64)(&id), &stops, &short, &from, &pending, &unseen)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("reading the quarantine: %w", err)
	case pending > 0 && (unseen > 0 || !stops):
		return nil
	case pending > 0:
		_, err := tx.ExecContext(ctx, `UPDATE quarantine SET stops = FALSE WHERE id = $1`, int64(id))
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE quarantine SET phase = 'ended', open = FALSE, stops = FALSE, ended_at = $1 WHERE id = $2`, millis(now), int64(id)); err != nil {
		return err
	}
	gap, err := countGap(ctx, tx, id)
	if err != nil {
		return err
	}
	ask := gap.Asked + gap.Missing + gap.Unlooked
	text := fmt.Sprintf("The quarantine has ended. Of what was due since %s, %d are on the networks and were taken up", clock(fromMillis(from)), gap.Adopted)
	severity := "info"
	if ask > 0 {
		severity = "warning"
		text += fmt.Sprintf("; about %d you are asked: %d were not found, %d may be there, %d could not be looked up. See smi post list --state held_late,needs_human", ask, gap.Missing, gap.Asked, gap.Unlooked)
	}
	if err := s.tell(ctx, tx, 0, &scheduler.Notice{Kind: "quarantine_ended", Severity: severity, Text: text + "."}, now); err != nil {
		return err
	}
	return s.note(ctx, tx, auditEntry{Actor: "smi", Action: "quarantine.end", Subject: id.String(), Detail: map[string]any{"gap": gap}})
}

// clock is a time in a sentence.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

const quarantineColumns = `id, kind, reason, phase, short, stops, gap_from, gap_to, begun_at, begun_by, adopted_at, adopted_by, ended_at`

func scanQuarantine(row interface{ Scan(...any) error }) (social.Quarantine, error) {
	var q social.Quarantine
	var from, to, since, adopted, ended int64
	err := row.Scan((*int64)(&q.ID), &q.Kind, &q.Reason, &q.Phase, &q.Short, &q.Stops, &from, &to, &since, &q.By, &adopted, &q.AdoptedBy, &ended)
	q.From, q.To, q.Since, q.AdoptedAt, q.EndedAt = fromMillis(from), fromMillis(to), fromMillis(since), fromMillis(adopted), fromMillis(ended)
	return q, err
}

// openQuarantine returns the quarantine that is open, a zero one if there is
// none.
func openQuarantine(ctx context.Context, q queryer) (social.Quarantine, error) {
	v, err := scanQuarantine(q.QueryRowContext(ctx, `SELECT `+quarantineColumns+` FROM quarantine WHERE open`))
	if errors.Is(err, sql.ErrNoRows) {
		return social.Quarantine{}, nil
	}
	if err != nil {
		return v, fmt.Errorf("reading the quarantine: %w", err)
	}
	return v, nil
}

func quarantineByID(ctx context.Context, q queryer, id social.ID) (social.Quarantine, error) {
	v, err := scanQuarantine(q.QueryRowContext(ctx, `SELECT `+quarantineColumns+` FROM quarantine WHERE id = $1`, int64(id)))
	if err != nil {
		return v, fmt.Errorf("reading the quarantine: %w", err)
	}
	v.Gap, err = countGap(ctx, q, id)
	return v, err
}

func countGap(ctx context.Context, q queryer, id social.ID) (social.GapCount, error) {
	var c social.GapCount
	rows, err := q.QueryContext(ctx, `SELECT outcome, count(*) FROM gap_delivery WHERE quarantine_id = $1 GROUP BY outcome`, int64(id))
	if err != nil {
		return c, fmt.Errorf("counting the gap: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	of := map[social.GapOutcome]*int{
		social.GapPending: &c.Pending, social.GapAdopted: &c.Adopted, social.GapAsked: &c.Asked,
		social.GapMissing: &c.Missing, social.GapUnlooked: &c.Unlooked, social.GapReleased: &c.Released,
	}
	for rows.Next() {
		var o social.GapOutcome
		var n int
		if err := rows.Scan(&o, &n); err != nil {
			return c, fmt.Errorf("counting the gap: %w", err)
		}
		if p := of[o]; p != nil {
			*p = n
		}
	}
	return c, rows.Err()
}

// Quarantine returns the quarantine that is open, or else the last one. Without
// any it is zero.
func (s *Store) Quarantine(ctx context.Context) (social.Quarantine, error) {
	var id social.ID
	err := s.read().QueryRowContext(ctx, `SELECT id FROM quarantine ORDER BY open DESC, begun_at DESC, id DESC LIMIT 1`).Scan((*int64)(&id))
	if errors.Is(err, sql.ErrNoRows) {
		return social.Quarantine{}, nil
	}
	if err != nil {
		return social.Quarantine{}, fmt.Errorf("reading the quarantine: %w", err)
	}
	return quarantineByID(ctx, s.read(), id)
}

// SetQuarantine begins a full quarantine by hand, or ends whatever quarantine
// there is without a look: that is for tests, and for a person who knows better.
func (s *Store) SetQuarantine(ctx context.Context, on bool, actor string) error {
	if on {
		_, err := s.BeginQuarantine(ctx, social.QuarantineOrder{
			Kind: social.ByHand, Reason: fmt.Sprintf("%s asked for it.", actor), From: s.now().Add(-time.Hour), By: actor,
		})
		return err
	}
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		now := millis(s.now())
		if _, err := tx.ExecContext(ctx, `UPDATE gap_delivery SET outcome = 'released', decided_at = $1 WHERE decided_at = 0`, now); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE quarantine SET phase = 'ended', open = FALSE, stops = FALSE, ended_at = $1 WHERE open`, now); err != nil {
			return err
		}
		return s.note(ctx, tx, auditEntry{Actor: actor, Action: "quarantine.drop"})
	})
	if err != nil {
		return fmt.Errorf("ending the quarantine: %w", err)
	}
	return nil
}

// Quarantined says whether nobody has said yet that this is the live instance:
// nothing may be changed on any network.
func (s *Store) Quarantined(ctx context.Context) (bool, error) {
	var on bool
	if err := s.read().QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM quarantine WHERE open AND phase = 'quarantined')`).Scan(&on); err != nil {
		return false, fmt.Errorf("reading the quarantine: %w", err)
	}
	return on, nil
}

// LastWrite is when the database was last written to by a running smi, as far as
// it knows: the latest of the last beat, the last line of the audit log and the
// last attempt. A running smi beats each minute.
func (s *Store) LastWrite(ctx context.Context) (time.Time, error) {
	return lastWrite(ctx, s.read())
}

// lastWriteSQL asks for the newest row of each workspace, which an index has: the
// log is long.
const lastWriteSQL = `SELECT max(v) FROM (
	SELECT COALESCE((SELECT CAST(value AS BIGINT) FROM meta WHERE key = '` + metaAlive + `'), 0) AS v
	UNION ALL SELECT COALESCE((SELECT l.at FROM audit l WHERE l.workspace_id = w.id ORDER BY l.at DESC LIMIT 1), 0) FROM (SELECT 0 AS id UNION ALL SELECT id FROM workspace) w
	UNION ALL SELECT COALESCE((SELECT t.armed_at FROM attempt t ORDER BY t.id DESC LIMIT 1), 0)) newest`

func lastWrite(ctx context.Context, q queryer) (time.Time, error) {
	var ms int64
	if err := q.QueryRowContext(ctx, lastWriteSQL).Scan(&ms); err != nil {
		return time.Time{}, fmt.Errorf("reading when the database was last used: %w", err)
	}
	return fromMillis(ms), nil
}
