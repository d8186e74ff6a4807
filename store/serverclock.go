package store

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"
)

// serverClock follows the clock of the database's server, so that all nodes
// mean the same second by it, whatever their own clocks say. Between two
// measurements it runs with a clock that neither jumps nor stops.
type serverClock struct {
	boot func() time.Time

	mu     sync.Mutex
	ahead  time.Duration // of the server before boot
	within time.Duration // half of the round trip of that measurement
	read   time.Time     // by boot

	stop chan struct{}
	done chan struct{}
}

// clockEvery is how often the server's clock is read.
const clockEvery = time.Minute

func newServerClock(ctx context.Context, db *sql.DB, boot func() time.Time) (*serverClock, error) {
	if boot == nil {
		boot = time.Now
	}
	c := &serverClock{boot: boot, stop: make(chan struct{}), done: make(chan struct{})}
	for range 3 {
		if err := c.measure(ctx, db); err != nil {
			return nil, err
		}
	}
	go c.follow(db)
	return c, nil
}

// Now is the server's time, and never ahead of it: what is planned for a second
// does not go out before. It may be behind by the round trip of a measurement.
func (c *serverClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.boot().Add(c.ahead - c.within)
}

// measure reads the server's clock. A slow answer says little, and is taken only
// where nothing better is known.
func (c *serverClock) measure(ctx context.Context, db *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, pgConnect)
	defer cancel()
	var micros int64
	asked := c.boot()
	if err := db.QueryRowContext(ctx, `SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)`).Scan(&micros); err != nil {
		return fmt.Errorf("reading the database's clock: %w", err)
	}
	now := c.boot()
	within := now.Sub(asked) / 2
	ahead := time.UnixMicro(micros).Sub(asked.Add(within))
	c.mu.Lock()
	defer c.mu.Unlock()
	// Two clocks part by less than this since the last measurement.
	parted := now.Sub(c.read)/10000 + time.Millisecond
	if !c.read.IsZero() && within > c.within+parted && (ahead-c.ahead).Abs() <= within {
		return nil // it says nothing new
	}
	c.ahead, c.within, c.read = ahead, within, now
	return nil
}

func (c *serverClock) follow(db *sql.DB) {
	defer close(c.done)
	t := time.NewTicker(clockEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			c.measure(context.Background(), db) //nolint:errcheck // the next one, in a minute
		case <-c.stop:
			return
		}
	}
}

func (c *serverClock) close() {
	close(c.stop)
	<-c.done
}

// Now is the time of the store: that of the server where nodes share one.
func (s *Store) Now() time.Time { return s.now() }
