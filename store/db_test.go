package store

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"smi/internal/social"
)

// open returns a store in a directory of its own, closed when the test ends.
func open(t testing.TB) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "data", "smi.db"), BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestOpenKeepsWhatWasWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a b%3F#d", "smi.db")
	s, err := Open(t.Context(), Options{Path: path, Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.InstanceID(t.Context())
	if err != nil || len(id) != 32 {
		t.Fatalf("instance id %q, %v", id, err)
	}
	if err := s.write(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return metaSet(ctx, tx, "k", "v") }); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{".": 0o700, "smi.db": 0o600, "smi.db-wal": 0o600, "smi.lock": 0o600, "ballast": 0o600} {
		st, err := os.Stat(filepath.Join(filepath.Dir(path), name))
		if err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, st.Mode().Perm(), err, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.write(t.Context(), func(context.Context, *sql.Tx) error { return nil }); err != ErrClosed {
		t.Errorf("write after Close: %v", err)
	}
	s, err = Open(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	again, _ := s.InstanceID(t.Context())
	v, err := metaGet(t.Context(), s.read(), "k")
	if again != id || v != "v" || err != nil {
		t.Errorf("after reopening: instance %q (was %q), k = %q, %v", again, id, v, err)
	}
}

func TestPragmas(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, c := range []struct {
		db           *sql.DB
		pragma, want string
	}{
		{s.writer, "journal_mode", "wal"},
		{s.writer, "synchronous", "2"},
		{s.writer, "foreign_keys", "1"},
		{s.writer, "busy_timeout", "10000"},
		{s.writer, "query_only", "0"},
		{s.reader, "query_only", "1"},
		{s.reader, "busy_timeout", "10000"},
		{s.writer, "journal_size_limit", "200000000"},
	} {
		var got string
		if err := c.db.QueryRowContext(t.Context(), "PRAGMA "+c.pragma).Scan(&got); err != nil || got != c.want {
			t.Errorf("%s = %q, %v; want %q", c.pragma, got, err, c.want)
		}
	}
	if _, err := s.read().ExecContext(t.Context(), `INSERT INTO meta VALUES ('x','y')`); err == nil {
		t.Error("the readers can write")
	}
	if n := s.WriterDB().Stats().MaxOpenConnections; n != 1 {
		t.Errorf("%d writing connections", n)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	_, err := Open(t.Context(), Options{Path: s.path})
	if social.CodeOf(err) != social.CodeUnavailable {
		t.Fatalf("second Open: %v", err)
	}
	for _, want := range []string{fmt.Sprintf("pid %d", os.Getpid()), s.dir, "since 20", "stop that one first"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
	if err := s.write(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return metaSet(ctx, tx, "k", "v") }); err != nil {
		t.Errorf("the first is disturbed: %v", err)
	}
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "smi.db")
	s, err := Open(t.Context(), Options{Path: path, Version: "9.9.9"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.writer.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9000, 1)`); err != nil {
		t.Fatal(err)
	}
	s.Close()
	_, err = Open(t.Context(), Options{Path: path, Version: "1.0.0"})
	if social.CodeOf(err) != social.CodeInvalid || !strings.Contains(err.Error(), "newer smi (9.9.9, schema 9000)") {
		t.Fatalf("opening a newer database: %v", err)
	}
	// The refusal gave the lock back.
	f, err := lockDir(filepath.Dir(path), s.now())
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}
