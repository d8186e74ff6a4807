package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"smi/internal/jobs"
	"smi/internal/social"
)

// The codes of PostgreSQL that mean something here.
const (
	pgUnique        = "23505"
	pgSerialization = "40001"
	pgDeadlock      = "40P01"
	pgDiskFull      = "53100"
)

var postgresDialect = dialect{
	Name:        "postgres",
	Goose:       goose.DialectPostgres,
	SkipLocked:  "FOR UPDATE SKIP LOCKED",
	IsUnique:    func(err error) bool { return pgCode(err) == pgUnique },
	IsRetryable: func(err error) bool { c := pgCode(err); return c == pgSerialization || c == pgDeadlock },
	IsFull:      func(err error) bool { return pgCode(err) == pgDiskFull },
	// The server looks after its own disk; when it is back, smi goes on.
	IsBroken: func(error) bool { return false },
}

// pgCode returns PostgreSQL's code of err, "" if it is not PostgreSQL's.
func pgCode(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// Times of talking to PostgreSQL.
const (
	pgConnect = 5 * time.Second
	// pgUnheard is how long the server may leave what was sent to it without a
	// sign of life before the connection counts as lost.
	pgUnheard = 10 * time.Second
	// pgChange is the longest time of one try of a change, its COMMIT included.
	pgChange = 20 * time.Second
	// pgTries is how often a change is tried that others were in the way of.
	pgTries = 30
	// pgLost is how often it is tried when the connection broke before COMMIT.
	pgLost = 3
	// turnEvery is how often a node asks whether its turn has come.
	turnEvery = 200 * time.Millisecond
)

// postgres is a database on a server, for any number of nodes.
type postgres struct {
	pool    *pgxpool.Pool
	name    string // host and database, for messages
	clock   *serverClock
	told    bool // the time is told by a test
	watched watched
	// retried counts the tries that others were in the way of.
	retried atomic.Int64
}

// openPostgres connects to a server and makes sure that it keeps what it
// acknowledges.
func (s *Store) openPostgres(ctx context.Context, o Options) error {
	cfg, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return &social.Error{Code: social.CodeInvalid, Field: "database.url", Err: hidePassword(err, o.URL), Text: "the address of the database cannot be read; write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE"}
	}
	c := cfg.ConnConfig
	c.ConnectTimeout = pgConnect
	c.DialFunc = (&net.Dialer{Timeout: pgConnect, KeepAlive: pgUnheard / 2, Control: lostAfter(pgUnheard)}).DialContext
	maps.Copy(c.RuntimeParams, map[string]string{
		"application_name": "smi " + o.Node,
		// An acknowledged commit is on the disk: an attempt that can vanish is none.
		"synchronous_commit":                  "on",
		"statement_timeout":                   fmt.Sprint(pgChange.Milliseconds()),
		"lock_timeout":                        fmt.Sprint((pgChange / 2).Milliseconds()),
		"idle_in_transaction_session_timeout": fmt.Sprint((2 * pgChange).Milliseconds()),
		"timezone":                            "UTC",
		// The server must notice as soon as we do that a connection is dead: until then
		// it keeps the locks of a node whose cable was out, and with them its name.
		"tcp_keepalives_idle":     fmt.Sprint(int(pgUnheard.Seconds()) / 2),
		"tcp_keepalives_interval": "2",
		"tcp_keepalives_count":    "3",
		"tcp_user_timeout":        fmt.Sprint(pgUnheard.Milliseconds()),
	})
	// A server that wants the strongest kind may have it.
	if strings.Contains(o.URL, "synchronous_commit=remote_apply") {
		c.RuntimeParams["synchronous_commit"] = "remote_apply"
	}
	cfg.MaxConns = int32(o.Connections) //nolint:gosec // bounded by the configuration
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = 16
	}
	cfg.MaxConnIdleTime = 5 * time.Minute
	p := &postgres{watched: watched{doubts: make(chan struct{}, 1)}}
	cfg.AfterConnect = p.connected
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("opening the database: %w", hidePassword(err, o.URL))
	}
	s.pg = p
	p.pool, p.name = pool, fmt.Sprintf("%s on %s", c.Database, net.JoinHostPort(c.Host, fmt.Sprint(c.Port)))
	s.path = s.pg.name
	s.dialect = &postgresDialect
	s.writer = stdlib.OpenDBFromPool(pool)
	s.reader = s.writer
	s.pg.told = o.Now != nil
	if err := s.checkServer(ctx); err != nil {
		return err
	}
	s.pg.clock, err = newServerClock(ctx, s.writer, o.Boot)
	return err
}

// hidePassword keeps the address, which may hold a password, out of an error.
func hidePassword(err error, address string) error {
	text := err.Error()
	if u, perr := url.Parse(address); perr == nil && u.User != nil {
		if p, ok := u.User.Password(); ok && p != "" {
			text = strings.ReplaceAll(text, p, "[redacted]")
		}
	}
	return errors.New(strings.ReplaceAll(text, address, "[redacted]"))
}

// oldestServer is the oldest version of PostgreSQL that is used.
const oldestServer = 140000

// checkServer refuses a server that may lose what it acknowledged.
func (s *Store) checkServer(ctx context.Context) error {
	var version int
	var fsync, pages, readOnly string
	err := s.writer.QueryRowContext(ctx, `SELECT CAST(current_setting('server_version_num') AS INTEGER), current_setting('fsync'), current_setting('full_page_writes'), current_setting('transaction_read_only')`).
		Scan(&version, &fsync, &pages, &readOnly)
	switch {
	case err != nil:
		return &social.Error{Code: social.CodeUnavailable, Field: "database.url", Err: err, Text: fmt.Sprintf("the database %s cannot be reached (%v); check that the server runs, and its address, user and password", s.pg.name, rootCause(err))}
	case version < oldestServer:
		return social.Errorf(social.CodeInvalid, "database.url", "the PostgreSQL of %s is version %d.%d; smi needs 14 or newer", s.pg.name, version/10000, version%10000)
	case fsync != "on" || pages != "on":
		return social.Errorf(social.CodeInvalid, "database.url", "the PostgreSQL of %s runs with fsync = %s and full_page_writes = %s: after a power cut posts could go out twice; set both to on and restart it", s.pg.name, fsync, pages)
	case readOnly != "off":
		return social.Errorf(social.CodeUnavailable, "database.url", "%s is a standby, which cannot be written; name the primary, or both with target_session_attrs=read-write", s.pg.name)
	}
	return nil
}

// rootCause is the innermost error, in the words of who met it.
func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// change makes a change in a transaction of its own. What the code of the store
// relies on, that nobody else writes meanwhile, is what SERIALIZABLE promises:
// a change that would break it fails and is made again.
func (p *postgres) change(ctx context.Context, db *sql.DB, level sql.IsolationLevel, fn func(ctx context.Context, tx *sql.Tx) error) error {
	lost := 0
	for try := 0; ; try++ {
		err := p.once(ctx, db, level, fn)
		switch {
		case err == nil || errors.Is(err, ErrCommitUnknown):
			return err
		case postgresDialect.IsRetryable(err) && try < pgTries:
			p.retried.Add(1)
		case postgresDialect.IsUnique(err) && try < pgLost:
			// Somebody was quicker since this change looked; it looks again, and says so
			// in its own words.
			p.retried.Add(1)
		case isLost(err) && lost < pgLost:
			lost++
		default:
			return err
		}
		if !wait(ctx, time.Duration(rand.Int64N(int64(min(time.Duration(try+1)*4*time.Millisecond, 200*time.Millisecond))+1))) { //nolint:gosec // it hides nothing
			return err
		}
	}
}

// once is one try. Before COMMIT is sent a failure means that nothing was
// changed: the server undoes what a lost connection had begun.
func (p *postgres) once(ctx context.Context, db *sql.DB, level sql.IsolationLevel, fn func(ctx context.Context, tx *sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pgChange) // a COMMIT that is broken off is one that nobody knows of
	defer cancel()
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("waiting for the database: %w", err)
	}
	defer conn.Close() //nolint:errcheck // gives it back to the pool
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{Isolation: level})
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	if err := protect(jobs.WithConn(ctx, conn), tx, fn); err != nil {
		tx.Rollback() //nolint:errcheck // there may be nothing left to undo
		return err
	}
	crashCommit()
	if err := tx.Commit(); err != nil {
		if postgresDialect.IsRetryable(err) {
			return err // the server says that it undid it
		}
		return fmt.Errorf("%w: committing: %w", ErrCommitUnknown, err)
	}
	crashCommitted()
	return nil
}

// isLost says that the connection broke, or that the server is going or coming.
func isLost(err error) bool {
	if pgconn.SafeToRetry(err) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	if c := pgCode(err); c != "" {
		return strings.HasPrefix(c, "08") || strings.HasPrefix(c, "57P") // connection exceptions; shutdown, crash, starting up
	}
	var op net.Error
	return errors.As(err, &op)
}

// wait lets a time pass, and says whether ctx still lives.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// explain puts the sentence for a person before what the server said.
func (p *postgres) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case postgresDialect.IsFull(err):
		return &social.Error{Code: social.CodeExhausted, Err: err, Text: fmt.Sprintf("the disk of the database %s is full; free space there, and smi goes on by itself", p.name)}
	case isLost(err), errors.Is(err, context.DeadlineExceeded):
		return &social.Error{Code: social.CodeUnavailable, Err: err, Text: fmt.Sprintf("the database %s does not answer; smi goes on by itself when it does", p.name)}
	case postgresDialect.IsRetryable(err):
		return &social.Error{Code: social.CodeUnavailable, Err: err, Text: "too many changes at once; try again"}
	}
	return err
}

// advisory locks of PostgreSQL, by what they are for.
const (
	lockClaims = 0x736d6901 // "smi", 1
	// lockArming is shared by all that arm. Who stops publishing has it alone: once
	// a pause was acknowledged, nothing is armed any more that had not seen it.
	lockArming = 0x736d6902
)

// takeTurns lets one node at a time go on in this transaction. On SQLite there
// is one writer anyway.
func (s *Store) takeTurns(ctx context.Context, tx *sql.Tx, lock int64) error {
	if s.pg == nil {
		return nil
	}
	_, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, lock)
	return err
}

// stopArming waits for what is being armed, and lets nothing be armed before the
// transaction has ended.
func (s *Store) stopArming(ctx context.Context, tx *sql.Tx) error {
	if err := s.takeTurns(ctx, tx, lockArming); err != nil {
		return fmt.Errorf("waiting for what is being armed: %w", err)
	}
	return nil
}

// lockArm takes what the gates of a delivery depend on. The next statement sees
// it as it stays until the transaction ends, so arming needs no stronger
// isolation, and two that arm on different accounts are not in each other's way.
func (s *Store) lockArm(ctx context.Context, tx *sql.Tx, delivery social.ID) error {
	if s.pg == nil {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock_shared($2)
		FROM delivery d JOIN account a ON a.id = d.account_id JOIN post p ON p.id = d.post_id
		WHERE d.id = $1 FOR NO KEY UPDATE OF d, a FOR SHARE OF p`, int64(delivery), lockArming); err != nil {
		return fmt.Errorf("waiting for the delivery: %w", err)
	}
	return nil
}

// timeIn returns the time by which leases are judged: that of the database
// where nodes share one, else the caller's.
func (s *Store) timeIn(ctx context.Context, tx *sql.Tx, now time.Time) (time.Time, error) {
	if s.pg == nil || s.pg.told {
		return now, nil
	}
	var ms int64
	if err := tx.QueryRowContext(ctx, `SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)`).Scan(&ms); err != nil {
		return now, fmt.Errorf("reading the database's clock: %w", err)
	}
	return fromMillis(ms), nil
}

// Pool is the pool of connections to PostgreSQL, nil on SQLite.
func (s *Store) Pool() *pgxpool.Pool {
	if s.pg == nil {
		return nil
	}
	return s.pg.pool
}

// Shared says whether other nodes may use this database.
func (s *Store) Shared() bool { return s.pg != nil }

// Alone runs fn while no other node runs one of the same name, so that what is
// made once is not made twice by nodes that start together. On SQLite there is
// no other node.
func (s *Store) Alone(ctx context.Context, name string, fn func(ctx context.Context) error) error {
	if s.pg == nil {
		return fn(ctx)
	}
	conn, err := s.pg.pool.Acquire(ctx)
	if err != nil {
		return s.pg.explain(fmt.Errorf("waiting for the other nodes: %w", err))
	}
	defer conn.Release()
	// A statement that waits for the lock would be ended by the server after a while,
	// and hold up the server's tidying until then.
	for first := true; ; first = false {
		var ok bool
		if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1, hashtext($2))`, lockClaims, name).Scan(&ok); err != nil {
			return s.pg.explain(fmt.Errorf("waiting for the other nodes: %w", err))
		}
		if ok {
			break
		}
		if first {
			s.log.Info("waiting for another node", "what", name)
		}
		if !wait(ctx, turnEvery) {
			return fmt.Errorf("waiting for the other nodes (%s): %w", name, ctx.Err())
		}
	}
	defer conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1, hashtext($2))`, lockClaims, name) //nolint:errcheck // it ends with the connection
	return fn(ctx)
}
