package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"smi/internal/social"
)

// hold keeps the writer busy until the returned function is called, so that what
// is written meanwhile shares the next transaction.
func hold(t *testing.T, s *Store) func() {
	t.Helper()
	running, release, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- s.write(context.Background(), func(context.Context, *sql.Tx) error {
			close(running)
			<-release
			return nil
		})
	}()
	<-running
	return func() {
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// queued waits until n changes wait for the writer.
func queued(s *Store, n int) {
	for {
		s.w.mu.Lock()
		have := len(s.w.queue)
		s.w.mu.Unlock()
		if have >= n {
			return
		}
		runtime.Gosched()
	}
}

func put(key string) func(context.Context, *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error { return metaSet(ctx, tx, key, "yes") }
}

func has(t *testing.T, s *Store, key string) bool {
	t.Helper()
	v, err := metaGet(t.Context(), s.read(), key)
	if err != nil {
		t.Fatal(err)
	}
	return v == "yes"
}

func TestWriteUndoesOnlyTheOneThatFailed(t *testing.T) {
	t.Parallel()
	s := open(t)
	release := hold(t, s)
	bad := errors.New("no")
	fns := map[string]func(context.Context, *sql.Tx) error{
		"good 1": put("good 1"),
		"bad": func(ctx context.Context, tx *sql.Tx) error {
			if err := metaSet(ctx, tx, "bad", "yes"); err != nil {
				return err
			}
			return bad
		},
		"broken": func(ctx context.Context, tx *sql.Tx) error {
			if err := metaSet(ctx, tx, "broken", "yes"); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES ('broken', NULL)`)
			return err
		},
		"panics": func(ctx context.Context, tx *sql.Tx) error {
			if err := metaSet(ctx, tx, "panics", "yes"); err != nil {
				return err
			}
			panic("boom")
		},
		"good 2": put("good 2"),
	}
	var mu sync.Mutex
	got := map[string]error{}
	var wg sync.WaitGroup
	for name, fn := range fns {
		wg.Go(func() {
			err := s.write(t.Context(), fn)
			mu.Lock()
			got[name] = err
			mu.Unlock()
		})
	}
	queued(s, len(fns))
	release()
	wg.Wait()
	for name, err := range got {
		good := strings.HasPrefix(name, "good")
		if (err == nil) != good || has(t, s, name) != good {
			t.Errorf("%s: error %v, written %v", name, err, has(t, s, name))
		}
	}
	if !errors.Is(got["bad"], bad) {
		t.Errorf("bad got %v", got["bad"])
	}
	if !strings.Contains(fmt.Sprint(got["panics"]), "boom") {
		t.Errorf("panics got %v", got["panics"])
	}
}

func TestWriteSharesTransactions(t *testing.T) {
	t.Parallel()
	s := open(t)
	release := hold(t, s)
	const n = 100
	before := s.w.commits.Load()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := s.write(t.Context(), put(fmt.Sprintf("k%d", i))); err != nil {
				t.Error(err)
			}
		})
	}
	queued(s, n)
	release()
	wg.Wait()
	for i := range n {
		if !has(t, s, fmt.Sprintf("k%d", i)) {
			t.Errorf("k%d is not there", i)
		}
	}
	if made := s.w.commits.Load() - before; made > 2 {
		t.Errorf("%d changes that waited together took %d transactions", n, made)
	}
}

func TestWriteConcurrently(t *testing.T) {
	t.Parallel()
	s := open(t)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for range 20 {
				if err := s.write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
					_, err := tx.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES ('n', '1') ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(meta.value AS BIGINT) + 1 AS TEXT)`)
					return err
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	// The job engine shares the connection; neither may starve the other.
	for range 50 {
		if _, err := s.WriterDB().ExecContext(t.Context(), `INSERT INTO meta (key, value) VALUES ('engine', '1') ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(meta.value AS BIGINT) + 1 AS TEXT)`); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	for key, want := range map[string]string{"n": "640", "engine": "50"} {
		if v, err := metaGet(t.Context(), s.read(), key); err != nil || v != want {
			t.Errorf("%s = %q, %v; want %s", key, v, err, want)
		}
	}
}

func TestWriteGivenUp(t *testing.T) {
	t.Parallel()
	s := open(t)
	release := hold(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error)
	go func() { got <- s.write(ctx, put("given up")) }()
	queued(s, 1)
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller who gave up got %v", err)
	}
	release()
	if err := s.write(t.Context(), put("later")); err != nil {
		t.Error(err)
	}
	if has(t, s, "given up") || !has(t, s, "later") {
		t.Error("what was given up was written, or what came later was not")
	}
	// Once fn runs, its caller waits for the truth, and the statement is not
	// interrupted: that would undo everybody's changes.
	ctx, cancel = context.WithCancel(t.Context())
	if err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		cancel()
		return put("running")(ctx, tx)
	}); err != nil || !has(t, s, "running") {
		t.Errorf("cancelled while running: %v, written %v", err, has(t, s, "running"))
	}
}

// A change that ends the transaction takes nobody with it.
func TestWriteAfterTornTransaction(t *testing.T) {
	t.Parallel()
	s := open(t)
	release := hold(t, s)
	var wg sync.WaitGroup
	var torn error
	wg.Go(func() {
		torn = s.write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `ROLLBACK`)
			return err
		})
	})
	for i := range 5 {
		wg.Go(func() {
			if err := s.write(t.Context(), put(fmt.Sprintf("k%d", i))); err != nil {
				t.Errorf("an innocent change: %v", err)
			}
		})
	}
	queued(s, 6)
	release()
	wg.Wait()
	if torn == nil {
		t.Error("ending the transaction from inside was no error")
	}
	for i := range 5 {
		if !has(t, s, fmt.Sprintf("k%d", i)) {
			t.Errorf("k%d is lost", i)
		}
	}
}

// limitPages lets the database grow by n more pages only, which is a full disk
// as SQLite sees it. n < 0 takes the limit away.
func limitPages(t testing.TB, s *Store, n int) {
	t.Helper()
	var pages int
	if err := s.writer.QueryRowContext(context.Background(), `PRAGMA page_count`).Scan(&pages); err != nil {
		t.Error(err)
	}
	limit := pages + n
	if n < 0 {
		limit = 1 << 30
	}
	if _, err := s.writer.ExecContext(context.Background(), fmt.Sprintf(`PRAGMA max_page_count = %d`, limit)); err != nil {
		t.Error(err)
	}
}

func big(key string) func(context.Context, *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error {
		return metaSet(ctx, tx, key, strings.Repeat("x", 100_000))
	}
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	s := open(t)
	limitPages(t, s, 4)
	release := hold(t, s)
	var wg sync.WaitGroup
	var full, small error
	wg.Go(func() { full = s.write(t.Context(), big("big")) })
	wg.Go(func() { small = s.write(t.Context(), put("small")) })
	queued(s, 2)
	release()
	wg.Wait()
	if social.CodeOf(full) != social.CodeExhausted || !strings.Contains(full.Error(), s.dir) || !strings.Contains(full.Error(), "is full; free space there") {
		t.Errorf("a write on a full disk: %v", full)
	}
	if !s.dialect.IsFull(full) {
		t.Errorf("the cause is lost: %v", full)
	}
	if small != nil || !has(t, s, "small") {
		t.Errorf("a small write beside it: %v", small)
	}
	if err := s.Healthy(); err != nil {
		t.Errorf("a full disk is not a broken one: %v", err)
	}
	limitPages(t, s, -1)
	if err := s.write(t.Context(), big("big")); err != nil {
		t.Errorf("after space was freed: %v", err)
	}
}

func TestBallastGivesWay(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "smi.db")
	s, err := Open(t.Context(), Options{Path: path, BallastBytes: 300_000, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	size := func() int64 {
		st, err := os.Stat(filepath.Join(s.dir, ballastName))
		if err != nil {
			return -1
		}
		return st.Size()
	}
	if size() != 300_000 {
		t.Fatalf("ballast of %d bytes", size())
	}
	limitPages(t, s, 4)
	freed := 0
	s.ballast.freed = func() { freed++; limitPages(t, s, -1) }
	runs := 0
	err = s.write(t.Context(), func(ctx context.Context, tx *sql.Tx) error { runs++; return big("outcome")(ctx, tx) })
	if err != nil || runs != 2 || freed != 1 || size() != -1 {
		t.Fatalf("recording on a full disk: %v; run %d times, freed %d times, ballast %d", err, runs, freed, size())
	}
	if err := s.write(t.Context(), put("k")); err != nil || size() != -1 {
		t.Errorf("the ballast is back at once: %d, %v", size(), err)
	}
	now = now.Add(ballastEvery + time.Second)
	if err := s.write(t.Context(), put("k")); err != nil || size() != 300_000 {
		t.Errorf("the ballast is not back: %d, %v", size(), err)
	}
}

func TestNoBallast(t *testing.T) {
	t.Parallel()
	s := open(t)
	if _, err := os.Stat(filepath.Join(s.dir, ballastName)); !os.IsNotExist(err) {
		t.Errorf("ballast although it is off: %v", err)
	}
}

func TestCloseWaitsForWrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "smi.db")
	s, err := Open(t.Context(), Options{Path: path, BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	release := hold(t, s)
	got := make(chan error)
	go func() { got <- s.write(context.Background(), put("last")) }()
	queued(s, 1)
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	release()
	if err := <-got; err != nil {
		t.Errorf("a write that came before Close: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	s, err = Open(t.Context(), Options{Path: path, BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !has(t, s, "last") {
		t.Error("the last write is lost")
	}
}

// Open and Close leave nothing behind, and all waits are such that a fake clock
// can pass over them.
func TestLeavesNoGoroutine(t *testing.T) {
	dir := t.TempDir()
	old := goleak.IgnoreCurrent()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(t.Context(), Options{Path: filepath.Join(dir, "smi.db")})
		if err != nil {
			t.Fatal(err)
		}
		var n atomic.Int32
		go func() {
			<-time.After(24 * time.Hour)
			if err := s.write(context.Background(), put("tomorrow")); err == nil {
				n.Add(1)
			}
		}()
		<-time.After(48 * time.Hour)
		synctest.Wait()
		if n.Load() != 1 {
			t.Error("nothing was written")
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	goleak.VerifyNone(t, old)
}
