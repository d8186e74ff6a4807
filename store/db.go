package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"smi/internal/social"
)

// Options say where the database is and what it may use.
type Options struct {
	// Path is the database file. Its directory is the data directory: made if it
	// is missing, with access for the owner only, and locked against a second smi.
	Path string
	// Now is the time; nil means time.Now.
	Now func() time.Time
	// Log gets what is worth a line; nil means no log.
	Log *slog.Logger
	// Version of the program, kept so that an older smi can say what it needs.
	Version string
	// Committed is told how long each transaction took that changed something,
	// from its beginning until it was durable; nil means nobody.
	Committed func(took time.Duration)
	// BallastBytes is the size of a file kept in the data directory only to be
	// deleted when the disk is full, so that outcomes of what is on the wire can
	// still be recorded. 0 means 1 MiB, a negative number none.
	BallastBytes int64

	// VFS is the file system that SQLite uses, and Synchronous how sure it makes
	// that a commit is on the disk. Both are for tests with a disk that fails, and
	// empty elsewhere: with less than FULL a power cut loses what was acknowledged.
	VFS, Synchronous string

	// URL is the address of a PostgreSQL database, postgres://…, which any number
	// of nodes may use at the same time. With it Path, VFS and the ballast do not
	// count, and the time is that of the server's clock unless Now is given.
	URL string
	// Node names this process among those of the database, for the server's list
	// of connections.
	Node string
	// Connections is how many connections to the server may be open; 0 means 16.
	Connections int
	// Boot is a clock that neither jumps nor stops while the machine sleeps, with
	// which the server's time is followed; nil means time.Now.
	Boot func() time.Time
}

// defaultBallast leaves room for the outcomes of some thousand attempts.
const defaultBallast = 1 << 20

// Store is the open database. It is safe for concurrent use.
type Store struct {
	dir, path string
	version   string
	now       func() time.Time
	log       *slog.Logger
	dialect   *dialect
	ids       social.IDs
	writer    *sql.DB // one connection, shared with the job engine
	reader    *sql.DB
	lock      *dirLock
	ballast   ballast
	w         groupWriter
	pg        *postgres // nil on SQLite
	looking   bool      // nothing is written

	committed  func(time.Duration)
	told       chan struct{} // rings when a notice is stored
	limits     limitCache
	statements statements
	lookups    statements // of the readers

	closeOnce sync.Once
	closeErr  error
}

// Open opens the database, and makes it if it is not there: it takes the lock
// on the data directory and brings the schema up to date. One process may have
// it open; a second gets an error that names the first.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	if o.URL != "" {
		return openShared(ctx, o)
	}
	if o.Path == "" {
		return nil, social.Errorf(social.CodeInvalid, "path", "name the database file")
	}
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", o.Path, err)
	}
	s := &Store{dir: filepath.Dir(path), path: path, version: o.Version, now: o.Now, log: o.Log, dialect: &sqliteDialect, committed: o.Committed, told: make(chan struct{}, 1)}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	s.lock, err = lockDir(s.dir, s.now())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close() //nolint:errcheck // the first error is told
		}
	}()
	// SQLite gives its side files the mode of the database file.
	if err := privateFile(path); err != nil {
		return nil, err
	}
	if err := s.openPools(o.VFS, o.Synchronous); err != nil {
		return nil, err
	}
	s.ballast = newBallast(s.dir, o.BallastBytes)
	s.ballast.refill(s.now())
	s.w.start(s)
	if err := s.migrate(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// openShared opens a database on a server.
func openShared(ctx context.Context, o Options) (_ *Store, err error) {
	s := &Store{version: o.Version, log: o.Log, committed: o.Committed, told: make(chan struct{}, 1)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	defer func() {
		if err != nil {
			s.Close() //nolint:errcheck // the first error is told
		}
	}()
	if err := s.openPostgres(ctx, o); err != nil {
		return nil, err
	}
	s.now = o.Now
	if s.now == nil {
		s.now = s.pg.clock.Now
	}
	s.w.start(s)
	if err := s.migrate(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// openPools opens the one writing connection and the readers.
func (s *Store) openPools(vfs, synchronous string) error {
	if synchronous == "" {
		synchronous = "FULL"
	}
	// busy_timeout comes first: the pragmas after it may themselves have to wait.
	dsn := "file:" + (&url.URL{Path: s.path}).EscapedPath() +
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(" + synchronous + ")&_pragma=foreign_keys(1)&_pragma=journal_size_limit(200000000)"
	if vfs != "" {
		dsn += "&vfs=" + vfs
	}
	var err error
	if s.writer, err = sql.Open("sqlite", dsn+"&_txlock=immediate"); err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	s.writer.SetMaxOpenConns(1)
	s.writer.SetMaxIdleConns(1)
	if s.reader, err = sql.Open("sqlite", dsn+"&_pragma=query_only(1)"); err != nil {
		return fmt.Errorf("opening the database for reading: %w", err)
	}
	s.reader.SetMaxOpenConns(4)
	s.reader.SetMaxIdleConns(4)
	return nil
}

// privateFile makes the file if it is missing and takes it from all others.
func privateFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("opening the database file: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	if err := f.Chmod(0o600); err != nil && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("protecting the database file: %w", err)
	}
	return nil
}

// Close waits for the writes under way, closes the database and gives the data
// directory back. Writes that come later fail.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.w.stop()
		var errs []error
		if s.pg != nil && s.pg.clock != nil {
			s.pg.clock.close()
		}
		if s.reader != nil && s.reader != s.writer {
			errs = append(errs, s.reader.Close())
		}
		if s.writer != nil {
			errs = append(errs, s.writer.Close())
		}
		if s.pg != nil {
			s.pg.pool.Close()
		}
		if s.lock != nil {
			errs = append(errs, s.lock.Close())
		}
		s.closeErr = errors.Join(errs...)
	})
	return s.closeErr
}

// WriterDB is the one writing connection as a pool, for the job engine, which
// must share it: two writers on one file starve each other for seconds. Never
// hold it open while calling a method of the store.
func (s *Store) WriterDB() *sql.DB { return s.writer }

// read returns the pool for reading: up to four connections, which see only
// what was committed and cannot write.
func (s *Store) read() *sql.DB { return s.reader }

// millis is how a time is stored: UTC milliseconds, 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// fromMillis is the inverse of millis.
func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
