package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"smi/internal/instance"
	"smi/internal/social"
)

// metaMark is the mark of the instance, as JSON.
const metaMark = "mark"

// Mark returns the mark that was kept last, with the newest attempt, and the
// time of the newest row. A database without a mark has Beat 0.
func (s *Store) Mark(ctx context.Context) (m instance.Mark, wrote time.Time, err error) {
	if m, err = s.mark(ctx, s.read()); err != nil {
		return m, wrote, err
	}
	var at int64
	if err := s.read().QueryRowContext(ctx, `SELECT COALESCE(MAX(at), 0) FROM (
		SELECT at FROM (SELECT at FROM audit ORDER BY id DESC LIMIT 1) AS newest_audit
		UNION ALL SELECT armed_at FROM (SELECT armed_at FROM attempt ORDER BY id DESC LIMIT 1) AS newest_attempt) AS newest`).Scan(&at); err != nil {
		return m, wrote, fmt.Errorf("reading the newest row: %w", err)
	}
	return m, fromMillis(at), nil
}

func (s *Store) mark(ctx context.Context, q queryer) (m instance.Mark, err error) {
	text, err := metaGet(ctx, q, metaMark)
	if err == nil && text != "" {
		err = json.Unmarshal([]byte(text), &m)
	}
	if err == nil {
		m.Instance, err = metaGet(ctx, q, metaInstance)
	}
	if err == nil {
		err = q.QueryRowContext(ctx, `SELECT COALESCE(MAX(id), 0) FROM attempt`).Scan((*int64)(&m.Attempt))
	}
	if err != nil {
		return m, fmt.Errorf("reading the mark: %w", err)
	}
	return m, nil
}

// KeepMark stores a new mark: the one before it, one beat on, with what change
// makes of it.
func (s *Store) KeepMark(ctx context.Context, change func(*instance.Mark)) (instance.Mark, error) {
	var m instance.Mark
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var err error
		if m, err = s.mark(ctx, tx); err != nil {
			return err
		}
		m.At = s.now().UTC().Truncate(time.Millisecond)
		m.Beat++
		change(&m)
		text, err := json.Marshal(m)
		if err != nil {
			return err
		}
		return metaSet(ctx, tx, metaMark, string(text))
	})
	if err != nil {
		return m, fmt.Errorf("keeping the mark: %w", err)
	}
	return m, nil
}

// NewestAttempt returns the attempt that was armed last, 0 if there is none.
func (s *Store) NewestAttempt(ctx context.Context) (id social.ID, err error) {
	if err := s.read().QueryRowContext(ctx, `SELECT COALESCE(MAX(id), 0) FROM attempt`).Scan((*int64)(&id)); err != nil {
		return 0, fmt.Errorf("reading the newest attempt: %w", err)
	}
	return id, nil
}
