package store

import (
	"context"
	"fmt"
	"time"

	"smi/internal/social"
)

// Integrity returns what the database says of itself, "ok" if it is whole. It
// reads every page.
func (s *Store) Integrity(ctx context.Context) (string, error) {
	if s.pg != nil { // the server looks after its files; what can be asked is whether it keeps its word
		return "ok", s.checkServer(ctx)
	}
	var said string
	if err := s.read().QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&said); err != nil {
		return "", fmt.Errorf("checking the database: %w", err)
	}
	return said, nil
}

// invariants are what must hold at any time, each a query that finds what
// breaks it. %s in the sentence is the id it found.
var invariants = []struct{ query, sentence string }{
	{
		`SELECT id FROM delivery WHERE state = 'published' AND NOT EXISTS
		(SELECT 1 FROM attempt a WHERE a.delivery_id = delivery.id AND a.step = 0 AND a.state IN ('ok','adopted')) LIMIT 1`,
		"delivery %s is published, but no attempt of it is known to have succeeded",
	},
	{
		`SELECT id FROM delivery WHERE state IN ('cancelled','skipped') AND EXISTS
		(SELECT 1 FROM attempt a WHERE a.delivery_id = delivery.id AND a.state IN ('armed','ambiguous')) LIMIT 1`,
		"delivery %s is over, but an attempt of it is open",
	},
	{
		`SELECT delivery_id FROM attempt WHERE state IN ('armed','ambiguous') GROUP BY delivery_id, step HAVING COUNT(*) > 1 LIMIT 1`,
		"delivery %s has two open attempts of one part",
	},
	{
		`SELECT delivery_id FROM attempt WHERE state IN ('ok','adopted') GROUP BY delivery_id, step HAVING COUNT(*) > 1 LIMIT 1`,
		"delivery %s was published twice",
	},
	{
		`SELECT MIN(delivery_id) FROM attempt WHERE remote_id IS NOT NULL GROUP BY account_id, remote_id HAVING COUNT(*) > 1 LIMIT 1`,
		"delivery %s shares its remote post with another",
	},
	{
		`SELECT id FROM delivery WHERE state IN ('scheduled','claimed','ready','armed','ambiguous','waiting') AND next_at = 0 LIMIT 1`,
		"delivery %s waits without a time; restart smi, which gives it one",
	},
}

// lateWithoutWord is how long after its time a delivery may wait for itself.
const lateWithoutWord = 5 * time.Minute

// Invariants returns a sentence for each rule that the data breaks, none if all
// is well. It is what the property tests check, asked in production.
func (s *Store) Invariants(ctx context.Context, now time.Time) ([]string, error) {
	var bad []string
	for _, i := range invariants {
		id, err := s.firstID(ctx, i.query)
		if err != nil {
			return nil, err
		}
		if id != "" {
			bad = append(bad, fmt.Sprintf(i.sentence, id))
		}
	}
	// A delivery whose time has come is looked at within minutes, unless it may
	// not be: paused, in quarantine, or behind another node's lease.
	id, err := s.firstID(ctx, `SELECT d.id FROM delivery d JOIN account a ON a.id = d.account_id JOIN workspace w ON w.id = d.workspace_id
		WHERE d.state IN `+sqlPublishing+` AND d.next_at > 0 AND d.next_at < $1 AND d.planned_utc < $1 AND d.owner = ''
		AND NOT a.paused AND NOT w.paused AND NOT `+sqlStopped+` AND NOT `+sqlWithheld+` LIMIT 1`, millis(now.Add(-lateWithoutWord)))
	if err != nil {
		return nil, err
	}
	if id != "" {
		bad = append(bad, fmt.Sprintf("delivery %s is due since more than %s and nobody works on it; see the log", id, lateWithoutWord))
	}
	return bad, nil
}

// firstID returns the first id that a query finds, "" if it finds none.
func (s *Store) firstID(ctx context.Context, query string, args ...any) (string, error) {
	rows, err := s.read().QueryContext(ctx, query, args...)
	ids, err := collect(rows, err, func(row interface{ Scan(...any) error }) (social.ID, error) {
		var id social.ID
		err := row.Scan((*int64)(&id))
		return id, err
	})
	if err != nil {
		return "", fmt.Errorf("checking the invariants: %w", err)
	}
	if len(ids) == 0 {
		return "", nil
	}
	return ids[0].String(), nil
}

// Overdue counts the deliveries that were due before a time and that nobody works
// on although somebody may.
func (s *Store) Overdue(ctx context.Context, before time.Time) (int, error) {
	var n int
	err := s.read().QueryRowContext(ctx, `SELECT COUNT(*) FROM delivery d JOIN account a ON a.id = d.account_id JOIN workspace w ON w.id = d.workspace_id
		WHERE d.state IN `+sqlPublishing+` AND d.next_at > 0 AND d.next_at < $1 AND d.planned_utc < $1 AND d.owner = ''
		AND NOT a.paused AND NOT w.paused AND NOT `+sqlStopped, millis(before)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("counting what is overdue: %w", err)
	}
	return n, nil
}
