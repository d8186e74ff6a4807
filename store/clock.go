package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"smi/scheduler"
)

// metaClock is what was known of the clock last, in a form of its keeper's own.
const metaClock = "clock"

// ClockState returns what was kept of the clock, "" if nothing was.
func (s *Store) ClockState(ctx context.Context) (string, error) {
	return metaGet(ctx, s.read(), metaClock)
}

// KeepClock keeps what is known of the clock, and tells everybody in the same
// transaction if there is a notice.
func (s *Store) KeepClock(ctx context.Context, state string, n *scheduler.Notice) error {
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := metaSet(ctx, tx, metaClock, state); err != nil {
			return err
		}
		return s.tell(ctx, tx, 0, n, s.now())
	})
}

// limitMost is how long a network's limit may last; one that is longer was
// written by a clock that was wrong.
const limitMost = 24 * time.Hour

// ClockRight is called when the clock is in doubt no more, with the sentence that
// posts which wait for it begin with. They are due at once, as is what waits for
// a time that was reckoned by a wrong clock. actor is who said so.
func (s *Store) ClockRight(ctx context.Context, state, sentence, actor string) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		now := s.now()
		if err := metaSet(ctx, tx, metaClock, state); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE delivery SET next_at = CASE WHEN planned_utc > $1 THEN planned_utc ELSE $1 END
			WHERE owner = '' AND next_at > $1 AND planned_utc < next_at AND state IN `+sqlClaimable+` AND (reason LIKE $2 OR next_at > $3)`,
			millis(now), sentence+"%", millis(now.Add(time.Hour))); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM limit_block WHERE until > $1`, millis(now.Add(limitMost))); err != nil {
			return err
		}
		return s.note(ctx, tx, auditEntry{Actor: actor, Action: "clock.right", Detail: map[string]any{"now": now.UTC()}})
	})
	if err != nil {
		return fmt.Errorf("going on by the clock: %w", err)
	}
	s.limits.forget()
	return nil
}
