package store

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"smi/internal/social"
)

// nodeBeat is how often a node says that it is there. nodeSilent is after how
// long without it nobody shows it as running.
const (
	nodeBeat   = 15 * time.Second
	nodeSilent = 4 * nodeBeat
	// joinWait is how long a node waits for its name: until the server has noticed
	// that the connection of its former life is dead.
	joinWait = 2 * nodeBeat
)

// Membership is a node's place among those of the database.
type Membership struct {
	s          *Store
	name, run  string
	since      time.Time
	mu         sync.Mutex
	conn       *pgxpool.Conn // holds the lock of the name
	stop, done chan struct{}
}

// lockNode is the class of the advisory locks of nodes' names.
const lockNode = 0x736d6e

// Join makes this process the node of a name. Claims and attempts carry the
// name, so two processes must not have the same: while one runs, the second is
// refused. A name is free as soon as its process or its connection has ended.
// On SQLite there is one process, and Join only takes note of it.
func (s *Store) Join(ctx context.Context, name, run string) (*Membership, error) {
	m := &Membership{s: s, name: name, run: run, since: s.now(), stop: make(chan struct{}), done: make(chan struct{})}
	if s.pg != nil {
		ok, err := m.hold(ctx)
		for end := time.Now().Add(joinWait); err == nil && !ok && time.Now().Before(end); { //nolint:forbidigo // real time: it waits for another process
			if !wait(ctx, 500*time.Millisecond) { // the former life of this node may be ending
				return nil, ctx.Err()
			}
			ok, err = m.hold(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("joining as node %s: %w", name, err)
		}
		if !ok {
			return nil, social.Errorf(social.CodeConflict, "node", "another smi runs as node %q on this database; give this one another name with the setting node", name)
		}
	}
	if err := m.beat(ctx); err != nil {
		m.release()
		return nil, err
	}
	go m.keep()
	return m, nil
}

// hold takes the lock of the name, unless this node has it.
func (m *Membership) hold(ctx context.Context) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != nil {
		var one int
		ctx, cancel := context.WithTimeout(ctx, pgConnect)
		defer cancel()
		if err := m.conn.QueryRow(ctx, `SELECT 1`).Scan(&one); err == nil {
			return true, nil
		}
		m.drop()
	}
	conn, err := m.s.pg.pool.Acquire(ctx)
	if err != nil {
		return false, m.s.pg.explain(err)
	}
	var ok bool
	if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1, hashtext($2))`, lockNode, m.name).Scan(&ok); err != nil || !ok {
		conn.Release()
		return false, err
	}
	m.conn = conn
	return true, nil
}

// drop closes the connection, and with it the lock.
func (m *Membership) drop() {
	if m.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	m.conn.Conn().Close(ctx) //nolint:errcheck // it may be broken
	m.conn.Release()
	m.conn = nil
}

func (m *Membership) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop()
}

// beat says that the node is there.
func (m *Membership) beat(ctx context.Context) error {
	s := m.s
	err := s.writeAt(ctx, sql.LevelReadCommitted, func(ctx context.Context, tx *sql.Tx) error {
		now, err := s.timeIn(ctx, tx, s.now())
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO node (name, run, version, since, seen_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (name) DO UPDATE SET run = excluded.run, version = excluded.version, since = excluded.since, seen_at = excluded.seen_at`,
			m.name, m.run, s.version, millis(m.since), millis(now))
		return err
	})
	if err != nil {
		return fmt.Errorf("noting node %s: %w", m.name, err)
	}
	return nil
}

// keep beats until Leave.
func (m *Membership) keep() {
	defer close(m.done)
	t := time.NewTicker(nodeBeat)
	defer t.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-t.C:
		}
		if m.s.pg == nil {
			continue // who reads the database is who wrote it
		}
		ctx, cancel := context.WithTimeout(context.Background(), nodeBeat)
		ok, err := m.hold(ctx)
		switch {
		case err != nil:
			m.s.log.Warn("the database does not answer; this node holds its place again when it does", "node", m.name, "err", err)
		case !ok:
			m.s.log.Error("another smi runs under the name of this node; stop one of the two", "node", m.name)
		default:
			if err := m.beat(ctx); err != nil {
				m.s.log.Warn("this node could not be noted", "node", m.name, "err", err)
			}
		}
		cancel()
	}
}

// Leave gives the place back.
func (m *Membership) Leave(ctx context.Context) error {
	close(m.stop)
	<-m.done
	defer m.release()
	err := m.s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM node WHERE name = $1 AND run = $2`, m.name, m.run)
		return err
	})
	if err != nil {
		return fmt.Errorf("leaving as node %s: %w", m.name, err)
	}
	return nil
}

// Nodes returns the processes that use the database, by name. One that was not
// heard of for a minute has ended without a word.
func (s *Store) Nodes(ctx context.Context) ([]social.Node, error) {
	now := s.now()
	rows, err := s.read().QueryContext(ctx, `SELECT name, version, since, seen_at FROM node ORDER BY name`)
	out, err := collect(rows, err, func(row interface{ Scan(...any) error }) (social.Node, error) {
		var n social.Node
		var since, seen int64
		err := row.Scan(&n.Name, &n.Version, &since, &seen)
		n.Since, n.Seen = fromMillis(since), fromMillis(seen)
		n.Silent = s.pg != nil && now.Sub(n.Seen) > nodeSilent
		return n, err
	})
	if err != nil {
		return nil, fmt.Errorf("listing the nodes: %w", err)
	}
	return out, nil
}

// ForgetNodes removes nodes that were last heard of before a time.
func (s *Store) ForgetNodes(ctx context.Context, before time.Time) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM node WHERE seen_at < $1`, millis(before))
		return err
	})
	if err != nil {
		return fmt.Errorf("forgetting nodes: %w", err)
	}
	return nil
}
