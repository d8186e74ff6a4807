package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"smi/internal/social"
	"smi/scheduler"
)

// moving is a post whose planned time is another instant by today's rules.
type moving struct {
	post, workspace social.ID
	when            social.When
	was             time.Time
}

// ApplyZoneRules moves what is still to come to the wall-clock time that its
// author meant, where the rules of its time zone were changed since: smi brings
// the rules with it, so that an update may bring new ones. It tells each workspace
// and zone once, and returns how many posts were moved. It is called after a start
// and each hour.
//
// What was planned by an instant, as the second of two equal times of a night, is
// left alone, and so is what may be on its network already.
func (s *Store) ApplyZoneRules(ctx context.Context) (int, error) {
	found, err := s.movedByRules(ctx)
	if err != nil {
		return 0, fmt.Errorf("comparing planned times with the rules of their zones: %w", err)
	}
	type place struct {
		workspace social.ID
		zone      string
	}
	by := map[place][]moving{}
	var order []place
	for _, m := range found {
		p := place{m.workspace, m.when.Zone}
		if len(by[p]) == 0 {
			order = append(order, p)
		}
		by[p] = append(by[p], m)
	}
	total := 0
	for _, p := range order {
		moved := 0
		err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
			moved = 0
			var first *moving
			for i := range by[p] {
				ok, err := s.moveByRules(ctx, tx, &by[p][i])
				if err != nil {
					return err
				}
				if !ok {
					continue
				}
				if moved++; first == nil {
					first = &by[p][i]
				}
			}
			if moved == 0 {
				return nil
			}
			return s.tell(ctx, tx, p.workspace, &scheduler.Notice{Kind: "zone_rules_changed", Severity: "warning", Text: fmt.Sprintf(
				"The clocks of %s follow other rules than before. %s their local time: the first goes out at %s there, which is now %s and was %s. Look at them if another moment was meant.",
				p.zone, keep(moved), first.when.Local, first.when.UTC.Format(time.RFC3339), first.was.UTC().Format(time.RFC3339))}, s.now())
		})
		if err != nil {
			return total, fmt.Errorf("moving posts by the new rules of %s: %w", p.zone, err)
		}
		total += moved
	}
	return total, nil
}

func keep(posts int) string {
	if posts == 1 {
		return "One planned post keeps"
	}
	return fmt.Sprintf("%d planned posts keep", posts)
}

const toComeSQL = `SELECT DISTINCT p.id, p.workspace_id, p.planned_local, p.planned_zone, p.planned_utc
	FROM delivery d JOIN post p ON p.id = d.post_id
	WHERE d.planned_utc > $1 AND d.state IN ` + sqlPublishing + ` ORDER BY p.planned_utc, p.id`

// movedByRules finds the posts to come whose wall-clock time is another instant
// than the one that is stored.
func (s *Store) movedByRules(ctx context.Context) ([]moving, error) {
	rows, err := s.read().QueryContext(ctx, toComeSQL, millis(s.now()))
	all, err := collect(rows, err, func(row interface{ Scan(...any) error }) (moving, error) {
		var m moving
		var at int64
		err := row.Scan((*int64)(&m.post), (*int64)(&m.workspace), &m.when.Local, &m.when.Zone, &at)
		m.was = fromMillis(at)
		return m, err
	})
	if err != nil {
		return nil, err
	}
	var out []moving
	for _, m := range all {
		now, err := social.Plan(m.when.Local, m.when.Zone)
		if err != nil {
			s.log.Warn("the zone of a planned post is not known any more; it goes out at the instant that it was", "post", m.post, "zone", m.when.Zone, "err", err)
			continue
		}
		if now.UTC.Equal(m.was) || social.Shows(m.was, m.when) {
			continue
		}
		m.when = now
		out = append(out, m)
	}
	return out, nil
}

// moveByRules gives a post and its deliveries their new instant. Deliveries with
// a time of their own keep it. It returns false where nothing was left to move.
func (s *Store) moveByRules(ctx context.Context, tx *sql.Tx, m *moving) (bool, error) {
	now, was, at := millis(s.now()), millis(m.was), millis(m.when.UTC)
	n, err := changed(tx.ExecContext(ctx, `UPDATE post SET planned_utc = $1, tzdata = $2, rev = rev + 1, updated_at = $3 WHERE id = $4 AND planned_utc = $5`,
		at, tzdataName, now, int64(m.post), was))
	if err != nil || n == 0 {
		return false, err
	}
	const sqlMovable = ` AND planned_utc = $2 AND step = 0 AND state IN ('scheduled','claimed','ready','waiting','blocked')
		AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.delivery_id = delivery.id AND (a.early OR a.state IN ('armed','ambiguous','ok','adopted')))`
	if _, err := tx.ExecContext(ctx, `DELETE FROM checkpoint WHERE delivery_id IN (SELECT id FROM delivery WHERE post_id = $1`+sqlMovable+`)`, int64(m.post), was); err != nil {
		return false, fmt.Errorf("dropping the preparation: %w", err)
	}
	// Looks and limits of time go with it.
	if _, err := tx.ExecContext(ctx, `UPDATE delivery SET planned_utc = $3, state = CASE WHEN state = 'blocked' THEN state ELSE 'scheduled' END,
			next_at = CASE WHEN next_at > 0 THEN next_at + CAST($3 AS BIGINT) - CAST($2 AS BIGINT) ELSE 0 END,
			not_after = CASE WHEN not_after > 0 THEN not_after + CAST($3 AS BIGINT) - CAST($2 AS BIGINT) ELSE 0 END, `+takeAway+`, updated_at = $4
		WHERE post_id = $1`+sqlMovable, int64(m.post), was, at, now); err != nil {
		return false, fmt.Errorf("moving its deliveries: %w", err)
	}
	return true, s.note(ctx, tx, auditEntry{
		Workspace: m.workspace, Actor: "zone rules", Action: "post.move", Subject: m.post.String(),
		Detail: map[string]any{"zone": m.when.Zone, "local": m.when.Local, "was": m.was.UTC(), "planned": m.when.UTC},
	})
}
