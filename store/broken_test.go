package store

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"smi/internal/social"
)

// failCommit is a change that is fine by itself and makes the COMMIT fail: a
// foreign key that is only looked at then.
func failCommit(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, `PRAGMA defer_foreign_keys = 1`); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO account (id, workspace_id, network, remote_id, handle, status, created_at) VALUES (1, 99, 'x', 'x', 'x', 'connected', 0)`)
	return err
}

// When the COMMIT fails, everybody whose change was in it hears that nobody
// knows, and the next transaction starts afresh.
func TestCommitFails(t *testing.T) {
	t.Parallel()
	s := open(t)
	release := hold(t, s)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, fn := range []func(context.Context, *sql.Tx) error{put("innocent"), failCommit, put("innocent too")} {
		wg.Go(func() {
			err := s.write(t.Context(), fn)
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
		})
	}
	queued(s, 3)
	release()
	wg.Wait()
	for _, err := range errs {
		if !errors.Is(err, ErrCommitUnknown) {
			t.Errorf("got %v, want one with ErrCommitUnknown", err)
		}
	}
	if has(t, s, "innocent") || has(t, s, "innocent too") {
		t.Error("half of the transaction is there")
	}
	if err := s.write(t.Context(), put("next")); err != nil || !has(t, s, "next") {
		t.Errorf("the next change: %v", err)
	}
}

// Once the storage has failed, nothing is acknowledged any more: not by this
// process.
func TestBrokenStorage(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "smi.db")
	s, err := Open(t.Context(), Options{Path: path, BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	var root, size int64
	if err := s.writer.QueryRowContext(t.Context(), `SELECT rootpage FROM sqlite_master WHERE name = 'limit_block'`).Scan(&root); err != nil {
		t.Fatal(err)
	}
	if err := s.writer.QueryRowContext(t.Context(), `PRAGMA page_size`).Scan(&size); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // moves everything into the one file
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(strings.Repeat("?", int(size))), (root-1)*size); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = Open(t.Context(), Options{Path: path, BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.write(t.Context(), put("before")); err != nil {
		t.Fatal(err)
	}
	if err := s.Healthy(); err != nil {
		t.Fatalf("broken before anything failed: %v", err)
	}
	err = s.Block(t.Context(), "b", s.now())
	if social.CodeOf(err) != social.CodeUnavailable || !strings.Contains(err.Error(), "could not be written; check the disk") || !strings.Contains(err.Error(), s.dir) {
		t.Errorf("writing to a damaged file: %v", err)
	}
	if err := s.Healthy(); social.CodeOf(err) != social.CodeUnavailable {
		t.Errorf("healthy after that: %v", err)
	}
	if err := s.write(t.Context(), put("after")); social.CodeOf(err) != social.CodeUnavailable {
		t.Errorf("a write after that: %v", err)
	}
	if has(t, s, "after") {
		t.Error("it was written all the same")
	}
}
