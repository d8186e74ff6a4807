package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"smi/internal/crash"
	"smi/internal/social"
)

// ErrCommitUnknown is in the chain of an error when the COMMIT itself failed:
// the change may have been made, now or when the database is opened next. Who
// wanted to send something must not send it.
var ErrCommitUnknown = errors.New("the change may or may not have been saved")

// ErrClosed is returned for writes after Close.
var ErrClosed = errors.New("the database is closed")

// maxBatch is how many changes share one transaction at most. More would make
// the first of them wait longer than a commit takes.
const maxBatch = 128

// change is one caller's part of a transaction.
type change struct {
	ctx   context.Context //nolint:containedctx // it belongs to the call that waits for done
	fn    func(ctx context.Context, tx *sql.Tx) error
	taken atomic.Bool // by the writer, or by its caller who gave up
	err   error       // of fn, while the batch runs
	done  chan error
}

// groupWriter runs all changes on the one writing connection: those that wait
// while a commit is under way share the next one.
type groupWriter struct {
	s *Store

	mu     sync.Mutex
	queue  []*change
	closed bool
	wake   chan struct{}
	ended  chan struct{}

	changes sync.WaitGroup // on PostgreSQL: under way

	commits atomic.Int64                 // transactions so far
	broken  atomic.Pointer[social.Error] // why nothing is written any more
	down    chan struct{}                // closed with broken
}

func (w *groupWriter) start(s *Store) {
	w.s = s
	w.wake = make(chan struct{}, 1)
	w.ended = make(chan struct{})
	w.down = make(chan struct{})
	go w.run()
}

// stop lets what is queued finish and ends the writer.
func (w *groupWriter) stop() {
	if w.ended == nil { // was never started
		return
	}
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.signal()
	<-w.ended
	w.changes.Wait()
}

// begin counts a change that runs beside others, unless the store is closed.
func (w *groupWriter) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.changes.Add(1)
	return true
}

func (w *groupWriter) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// write makes a change. fn runs in a savepoint of a transaction that it may
// share with others; an error of fn undoes only its own part and is returned as
// it is. nil means that the change is durable. An error with ErrCommitUnknown
// in its chain means that nobody knows.
//
// fn may be run more than once (when the disk was full, or another's change
// broke the transaction), so it must set whatever it gives to its caller anew
// each time. It must use the ctx it is given, must not keep tx, must close its
// rows before the next query, must not call write, and must be quick: everyone
// waits for it. If the caller's ctx ends before fn was started, fn is not run.
func (s *Store) write(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx) error) error {
	return s.writeAt(ctx, sql.LevelSerializable, fn)
}

// writeAt is write at another isolation level than serializable, for changes
// that lock what they look at. On SQLite there is only one.
func (s *Store) writeAt(ctx context.Context, level sql.IsolationLevel, fn func(ctx context.Context, tx *sql.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.looking {
		return errLooking
	}
	if s.pg != nil {
		if !s.w.begin() {
			return ErrClosed
		}
		defer s.w.changes.Done()
		defer s.timed(time.Now())
		return s.pg.explain(s.pg.change(ctx, s.writer, level, fn))
	}
	if err := s.Healthy(); err != nil {
		return err
	}
	c := &change{ctx: ctx, fn: fn, done: make(chan error, 1)}
	w := &s.w
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return ErrClosed
	}
	w.queue = append(w.queue, c)
	w.mu.Unlock()
	w.signal()
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		if c.taken.CompareAndSwap(false, true) {
			return ctx.Err()
		}
		return <-c.done
	}
}

// Healthy returns why nothing can be written any more, nil while all is well.
// It stays broken until the process starts again: after a failed fsync the
// kernel may have dropped what it could not write, so a second fsync that
// succeeds proves nothing.
func (s *Store) Healthy() error {
	if e := s.w.broken.Load(); e != nil {
		return e
	}
	return nil
}

// Broken is closed when Healthy begins to return an error: the process should
// end, so that the next one starts from what is on the disk.
func (s *Store) Broken() <-chan struct{} { return s.w.down }

func (w *groupWriter) run() {
	defer close(w.ended)
	for {
		w.mu.Lock()
		n := min(len(w.queue), maxBatch)
		batch := w.queue[:n:n]
		w.queue = w.queue[n:]
		closed := w.closed
		w.mu.Unlock()
		if n == 0 {
			if closed {
				return
			}
			<-w.wake
			continue
		}
		batch = slices.DeleteFunc(batch, func(c *change) bool { return !c.taken.CompareAndSwap(false, true) })
		if len(batch) > 0 {
			w.together(batch)
		}
	}
}

// together makes the changes of a batch in one transaction, and one by one if
// the transaction cannot carry them all.
func (w *groupWriter) together(batch []*change) {
	s := w.s
	if err := s.Healthy(); err != nil {
		answer(batch, err)
		return
	}
	began := time.Now()
	err := w.transaction(batch)
	s.timed(began)
	if s.dialect.IsFull(err) && s.ballast.release(s.now()) {
		s.log.Warn("the disk is full; the ballast file was deleted so that outcomes can be recorded", "dir", s.dir)
		err = w.transaction(batch)
	}
	if errors.Is(err, errTorn) && len(batch) > 1 {
		for _, c := range batch {
			w.together([]*change{c})
		}
		return
	}
	if err != nil {
		answer(batch, w.explain(err))
		return
	}
	s.ballast.refill(s.now())
	for _, c := range batch {
		c.done <- w.explain(c.err)
	}
	s.statements.prepare(context.Background(), s.writer)
}

// timed tells how long a transaction took.
func (s *Store) timed(began time.Time) {
	if s.committed != nil {
		s.committed(time.Since(began))
	}
}

func answer(batch []*change, err error) {
	for _, c := range batch {
		c.done <- err
	}
}

// errTorn means that a change ended the transaction that it shared with others,
// as SQLite does by itself after some errors.
var errTorn = errors.New("the transaction was ended from inside")

// transaction runs a batch once. It returns an error if nothing of the batch is
// known to be saved; else each change has its own error or nil.
func (w *groupWriter) transaction(batch []*change) error {
	ctx := context.Background() // the changes belong to many callers; none of them may end it
	conn, err := w.s.writer.Conn(ctx)
	if err != nil {
		return fmt.Errorf("waiting for the database: %w", err)
	}
	defer conn.Close() //nolint:errcheck // gives it back to the pool
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	for _, c := range batch {
		if err := runChange(tx, c); err != nil {
			tx.Rollback() //nolint:errcheck // there may be nothing left to undo
			return err
		}
		// Whether these ended the transaction depends on where they happened.
		if w.s.dialect.IsFull(c.err) || w.s.dialect.IsBroken(c.err) {
			tx.Rollback() //nolint:errcheck // there may be nothing left to undo
			return fmt.Errorf("%w: %w", errTorn, c.err)
		}
	}
	crashCommit()
	if err := tx.Commit(); err != nil {
		// database/sql thinks that the transaction is over; SQLite may not.
		conn.ExecContext(ctx, "ROLLBACK") //nolint:errcheck // there may be nothing left to undo
		return fmt.Errorf("%w: committing: %w", ErrCommitUnknown, err)
	}
	crashCommitted()
	w.commits.Add(1)
	return nil
}

func crashCommit()    { crash.Point("before-commit") }
func crashCommitted() { crash.Point("after-commit") }

// runChange runs one change in its savepoint and keeps fn's error in c.err. Its
// own error means that the transaction is gone.
func runChange(tx *sql.Tx, c *change) error {
	// An interrupted statement would make SQLite undo the whole transaction, with
	// everybody's changes, so the caller's cancellation does not reach it.
	ctx := context.WithoutCancel(c.ctx)
	if _, err := tx.ExecContext(ctx, "SAVEPOINT one"); err != nil {
		return fmt.Errorf("%w: %w", errTorn, err)
	}
	c.err = protect(ctx, tx, c.fn)
	if c.err == nil {
		if _, err := tx.ExecContext(ctx, "RELEASE SAVEPOINT one"); err != nil {
			return fmt.Errorf("%w: %w", errTorn, err)
		}
		return nil
	}
	if _, err := tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT one"); err != nil {
		return fmt.Errorf("%w: %w: %w", errTorn, c.err, err)
	}
	if _, err := tx.ExecContext(ctx, "RELEASE SAVEPOINT one"); err != nil {
		return fmt.Errorf("%w: %w", errTorn, err)
	}
	return nil
}

// protect turns a panic of fn into an error, so that one caller's bug does not
// stop everybody's writing.
func protect(ctx context.Context, tx *sql.Tx, fn func(context.Context, *sql.Tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic while writing: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(ctx, tx)
}

// explain puts the sentence for a person before what the database said, and
// notes a failure after which nothing may be written.
func (w *groupWriter) explain(err error) error {
	s := w.s
	switch {
	case s.dialect.IsFull(err):
		return &social.Error{
			Code: social.CodeExhausted, Err: err,
			Text: fmt.Sprintf("the disk of %s is full; free space there, and smi goes on by itself", s.dir),
		}
	case s.dialect.IsBroken(err):
		e := &social.Error{
			Code: social.CodeUnavailable, Err: err,
			Text: fmt.Sprintf("the database in %s could not be written; check the disk and its file system, then restart smi", s.dir),
		}
		if w.broken.CompareAndSwap(nil, e) {
			s.log.Error("writing has stopped until smi is restarted", "dir", s.dir, "err", err)
			close(w.down)
		}
		return e
	case s.dialect.IsRetryable(err):
		return &social.Error{
			Code: social.CodeUnavailable, Err: err,
			Text: fmt.Sprintf("another program holds the database in %s; end it and try again", s.dir),
		}
	}
	return err
}
