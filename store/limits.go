package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"smi/connectors"
)

var _ connectors.LimitStore = (*Store)(nil)

// limitCacheFor is how long the answer for a bucket is kept: how late a block
// that another node wrote may be seen.
const limitCacheFor = time.Second

// limitCacheMax bounds the cache; beyond it, it starts afresh.
const limitCacheMax = 10000

// limitCache remembers what limit_block says, because every request asks.
type limitCache struct {
	mu      sync.Mutex
	entries map[string]limitEntry
}

type limitEntry struct{ until, read time.Time }

func (c *limitCache) get(bucket string, now time.Time) (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[bucket]
	if !ok {
		return time.Time{}, false
	}
	// A block never gets shorter, so one that still holds need not be read again.
	age := now.Sub(e.read)
	return e.until, e.until.After(now) || (age >= 0 && age < limitCacheFor)
}

func (c *limitCache) put(bucket string, until, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil || len(c.entries) >= limitCacheMax {
		c.entries = map[string]limitEntry{}
	}
	if old, ok := c.entries[bucket]; ok && old.until.After(until) {
		until = old.until
	}
	c.entries[bucket] = limitEntry{until, now}
}

func (c *limitCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries = nil
}

// BlockedUntil returns until when a bucket is blocked, the zero time if it never
// was. The time may have passed.
func (s *Store) BlockedUntil(ctx context.Context, bucket string) (time.Time, error) {
	now := s.now()
	if until, ok := s.limits.get(bucket, now); ok {
		return until, nil
	}
	var ms int64
	err := s.lookup(ctx, `SELECT until FROM limit_block WHERE bucket = $1`, bucket).Scan(&ms)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, fmt.Errorf("reading the limit %s: %w", bucket, err)
	}
	until := fromMillis(ms)
	s.limits.put(bucket, until, now)
	return until, nil
}

// Block keeps a bucket blocked until a time. It never shortens a block.
func (s *Store) Block(ctx context.Context, bucket string, until time.Time) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM limit_block WHERE until < $1`, millis(s.now().Add(-24*time.Hour))); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO limit_block (bucket, until) VALUES ($1, $2)
			ON CONFLICT (bucket) DO UPDATE SET until = excluded.until WHERE limit_block.until < excluded.until`, bucket, millis(until))
		return err
	})
	if err != nil {
		return fmt.Errorf("keeping the limit %s: %w", bucket, err)
	}
	s.limits.put(bucket, fromMillis(millis(until)), s.now())
	return nil
}
