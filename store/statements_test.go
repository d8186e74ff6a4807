package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"smi/internal/social"
)

// TestStatements: what runs often is prepared once, is the same inside a
// transaction that is undone, and outlives the connection.
func TestStatements(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "smi.db"), BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the test is over
	notes := 0
	undo := errors.New("thought better of it")
	note := func(end error) {
		t.Helper()
		err := s.write(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			if err := s.note(ctx, tx, auditEntry{Actor: "test", Action: "note", Subject: social.ID(1).String()}); err != nil {
				return err
			}
			return end
		})
		if !errors.Is(err, end) {
			t.Fatal(err)
		}
		if end == nil {
			notes++
		}
		// The statement is there for whoever comes after this write.
		if err := s.write(t.Context(), func(context.Context, *sql.Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if n := s.prepared(); n != 1 {
			t.Errorf("%d statements are prepared, want the one", n)
		}
		var stored int
		if err := s.writer.QueryRowContext(t.Context(), `SELECT count(*) FROM audit WHERE action = 'note'`).Scan(&stored); err != nil || stored != notes {
			t.Errorf("%d notes are stored, %v; want %d", stored, err, notes)
		}
	}
	note(nil)
	note(nil)
	note(undo)
	note(nil)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := s.writer.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Raw(func(any) error { return driver.ErrBadConn }); !errors.Is(err, driver.ErrBadConn) {
		t.Fatalf("the connection was not given up: %v", err)
	}
	conn.Close() //nolint:errcheck // it is gone
	note(nil)
	note(nil)
}

// prepared counts the statements that are ready.
func (s *Store) prepared() int {
	s.statements.mu.Lock()
	defer s.statements.mu.Unlock()
	n := 0
	for _, st := range s.statements.ready {
		if st != nil {
			n++
		}
	}
	return n
}
