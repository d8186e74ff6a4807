package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"smi/internal/social"
	"smi/scheduler"
)

// claimGapSQL takes deliveries of a gap for a look. $1 node, $2 now, $3 lease
// end, $4 limit; %s is the dialect's way to pass over locked rows.
const claimGapSQL = `UPDATE delivery SET owner = $1, lease_until = $3, epoch = epoch + 1
WHERE id IN (SELECT id FROM delivery WHERE id IN (
		SELECT d.id FROM gap_delivery g JOIN delivery d ON d.id = g.delivery_id
		WHERE g.decided_at = 0 AND g.next_at > 0 AND g.next_at <= $2 AND (d.owner = '' OR d.lease_until <= $2)
			AND d.state IN ('scheduled','claimed','ready','waiting','held_late','blocked')
		ORDER BY g.planned_utc, d.id LIMIT $4) %s)
	AND (owner = '' OR lease_until <= $2)
RETURNING ` + ledgerColumns

// claimGap takes deliveries of a gap whose look is due.
func (s *Store) claimGap(ctx context.Context, r scheduler.ClaimRequest) ([]scheduler.Work, error) {
	var any bool
	if err := s.lookup(ctx, `SELECT EXISTS (SELECT 1 FROM gap_delivery WHERE decided_at = 0)`).Scan(&any); err != nil || !any {
		return nil, err
	}
	query := fmt.Sprintf(claimGapSQL, s.dialect.SkipLocked)
	var out []scheduler.Work
	err := s.writeAt(ctx, sql.LevelReadCommitted, func(ctx context.Context, tx *sql.Tx) error {
		out = nil
		now, err := s.timeIn(ctx, tx, r.Now)
		if err != nil {
			return err
		}
		lease := millis(now.Add(r.Lease))
		if err := s.closeRested(ctx, tx, now); err != nil {
			return err
		}
		if err := s.settleQuarantine(ctx, tx, now); err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, query, r.Node, millis(now), lease, r.Limit)
		taken, err := collect(rows, err, scanDelivery)
		if err != nil {
			return fmt.Errorf("taking the posts of the gap: %w", err)
		}
		if len(taken) == 0 {
			return nil
		}
		sortByPlan(taken)
		out = make([]scheduler.Work, len(taken))
		for i, d := range taken {
			out[i].Delivery = d
		}
		if err := s.load(ctx, tx, out, r.Node, lease); err != nil {
			return err
		}
		return loadGaps(ctx, tx, out, r.Node, lease)
	})
	return out, err
}

// gapOf is a gap with the delivery it belongs to.
type gapOf struct {
	delivery social.ID
	gap      scheduler.Gap
}

func loadGaps(ctx context.Context, tx *sql.Tx, works []scheduler.Work, node string, lease int64) error {
	rows, err := tx.QueryContext(ctx, `SELECT d.id, q.id, g.planned_utc, q.gap_from, q.phase, q.short, g.tries
		FROM delivery d JOIN gap_delivery g ON g.delivery_id = d.id AND g.decided_at = 0 JOIN quarantine q ON q.id = g.quarantine_id
		WHERE d.owner = $1 AND d.owner <> '' AND d.lease_until = $2 ORDER BY q.id`, node, lease)
	gaps, err := collect(rows, err, func(row interface{ Scan(...any) error }) (gapOf, error) {
		var v gapOf
		var planned, since int64
		var phase social.QuarantinePhase
		err := row.Scan((*int64)(&v.delivery), (*int64)(&v.gap.Quarantine), &planned, &since, &phase, &v.gap.Short, &v.gap.Tries)
		v.gap.Planned, v.gap.Since, v.gap.Adopting = fromMillis(planned), fromMillis(since), phase != social.Quarantined
		return v, err
	})
	if err != nil {
		return fmt.Errorf("reading the gap: %w", err)
	}
	for _, g := range gaps {
		for i := range works {
			if works[i].Delivery.ID == g.delivery {
				works[i].Gap = &g.gap
			}
		}
	}
	return nil
}

// changeGap notes what a look brought, and what that means for the quarantine.
func (s *Store) changeGap(ctx context.Context, tx *sql.Tx, m *scheduler.Move) error {
	g := m.Gap
	var seen, decided int64
	if g.Seen {
		seen = millis(m.Now)
	}
	if g.Outcome != social.GapPending {
		decided = millis(m.Now)
	}
	n, err := changed(tx.ExecContext(ctx, `UPDATE gap_delivery SET next_at = $1, tries = $2, seen_at = CASE WHEN CAST($3 AS BIGINT) > 0 THEN $3 ELSE seen_at END, outcome = $4, decided_at = $5
		WHERE delivery_id = $6 AND quarantine_id = $7 AND decided_at = 0`,
		millis(g.NextAt), g.Tries, seen, string(g.Outcome), decided, int64(m.Delivery), int64(g.Quarantine)))
	if err != nil {
		return fmt.Errorf("noting the look: %w", err)
	}
	if n != 1 {
		return scheduler.ErrStale
	}
	if g.NextAt.IsZero() && decided == 0 {
		// It waits for the instance to be adopted. If that happened while the network
		// was asked, the answer is an old one and the look is made again.
		if _, err := tx.ExecContext(ctx, `UPDATE gap_delivery SET next_at = $1, seen_at = 0 WHERE delivery_id = $2 AND quarantine_id = $3
			AND EXISTS (SELECT 1 FROM quarantine q WHERE q.id = $3 AND q.phase <> 'quarantined')`, millis(m.Now), int64(m.Delivery), int64(g.Quarantine)); err != nil {
			return fmt.Errorf("noting the look: %w", err)
		}
	}
	return s.settleQuarantine(ctx, tx, m.Now)
}

// insertTrace writes an attempt down that nobody here made.
func (s *Store) insertTrace(ctx context.Context, tx *sql.Tx, m *scheduler.Move, account social.ID, step int) error {
	v := m.Trace
	evidence, err := json.Marshal(v.Evidence)
	if err != nil {
		return fmt.Errorf("writing the evidence: %w", err)
	}
	receipt, remote := []byte("{}"), (*string)(nil)
	if v.State == scheduler.AttemptAdopted {
		if receipt, err = json.Marshal(v.Receipt); err != nil {
			return fmt.Errorf("writing the receipt: %w", err)
		}
		remote = &v.Receipt.RemoteID
		owned, err := ownedBy(ctx, tx, account, []string{*remote})
		if err != nil {
			return err
		}
		if owned[*remote] {
			return fmt.Errorf("%w: %s", scheduler.ErrRemoteTaken, *remote)
		}
	}
	at := v.Receipt.PublishedAt
	if at.IsZero() {
		at = m.Now
	}
	n, err := changed(tx.ExecContext(ctx, `INSERT INTO attempt (id, delivery_id, account_id, step, n, class, epoch, node, armed_at, send_by, takeover_at, token_gen, req_hash, fp, state, evidence, remote_id, receipt, decided_by, decided_at)
		SELECT $1, $2, $3, $4, COALESCE(max(n), 0) + 1, 'unkeyed', $5, '', $6, $6, $6, 0, '', $7, $8, $9, $10, $11, $12, $13 FROM attempt WHERE delivery_id = $2 AND step = $4
		ON CONFLICT DO NOTHING`,
		int64(v.ID), int64(m.Delivery), int64(account), step, m.Epoch, millis(at), v.Fingerprint, string(v.State), string(evidence), remote, string(receipt), v.DecidedBy, millis(m.Now)))
	if err != nil {
		return fmt.Errorf("writing down what was found: %w", err)
	}
	if n != 1 {
		return scheduler.ErrStale
	}
	return nil
}

// Owned implements scheduler.Ledger.
func (s *Store) Owned(ctx context.Context, account social.ID, remoteIDs []string) (map[string]bool, error) {
	return ownedBy(ctx, s.read(), account, remoteIDs)
}

func ownedBy(ctx context.Context, q queryer, account social.ID, remoteIDs []string) (map[string]bool, error) {
	const atOnce = 200
	out := map[string]bool{}
	for len(remoteIDs) > 0 {
		some := remoteIDs[:min(len(remoteIDs), atOnce)]
		remoteIDs = remoteIDs[len(some):]
		w := query{}
		w.and(`account_id = %s`, int64(account))
		args := make([]any, len(some))
		for i, id := range some {
			args[i] = id
		}
		w.and(`remote_id IN (`+strings.Repeat(`%s, `, len(some)-1)+`%s)`, args...)
		rows, err := q.QueryContext(ctx, `SELECT remote_id FROM attempt WHERE `+strings.Join(w.where, ` AND `), w.args...)
		ids, err := collect(rows, err, func(row interface{ Scan(...any) error }) (string, error) {
			var id string
			err := row.Scan(&id)
			return id, err
		})
		if err != nil {
			return nil, fmt.Errorf("looking for the owners of posts: %w", err)
		}
		for _, id := range ids {
			out[id] = true
		}
	}
	return out, nil
}

// nextGapSQL is when the next look at a delivery of a gap is due, 0 for none.
const nextGapSQL = `COALESCE((SELECT min(CASE WHEN d.owner <> '' AND d.lease_until > g.next_at THEN d.lease_until ELSE g.next_at END)
	FROM gap_delivery g JOIN delivery d ON d.id = g.delivery_id
	WHERE g.decided_at = 0 AND g.next_at > 0 AND d.state NOT IN ('armed','ambiguous')), 0)`

// sooner returns the earlier of two times in milliseconds of which 0 is none.
func sooner(a, b int64) int64 {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}
