package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Keep copies the running server as pg_basebackup does. The function that it
// returns puts the copy in the place of the server, which must have been
// stopped; Restart then starts what was then.
func (s *Server) Keep(t testing.TB) (putBack func()) {
	t.Helper()
	kept := s.data + ".kept"
	if err := s.keep(t.Context(), kept); err != nil {
		t.Fatalf("copying PostgreSQL: %v", err)
	}
	return func() {
		t.Helper()
		if err := errors.Join(os.RemoveAll(s.data), os.Rename(kept, s.data)); err != nil {
			t.Fatalf("putting PostgreSQL back: %v", err)
		}
	}
}

func (s *Server) keep(ctx context.Context, to string) error {
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	if s.run.root {
		if err := os.Chown(to, s.run.uid, s.run.gid); err != nil {
			return err
		}
	}
	return s.program(ctx, "pg_basebackup", "-d", fmt.Sprintf("host=%s port=%d user=smi", s.Host, s.Port), "-D", to, "--checkpoint=fast", "--no-sync")
}

// Alone lets a standby receive nothing any more: what its primary writes from
// now on is missing from it when it is promoted.
func (s *Server) Alone(t testing.TB) {
	t.Helper()
	err := s.exec(t.Context(), "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
	if err == nil {
		err = s.holds(t.Context(), "the standby to be alone", "SELECT count(*) = 0 FROM pg_stat_wal_receiver")
	}
	if err != nil {
		t.Fatalf("parting a standby: %v", err)
	}
}

// Restored copies a database to another server by pg_dump and pg_restore, under
// the same name, and returns its address there.
func (s *Server) Restored(t testing.TB, on *Server, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	dump := filepath.Join(s.dir, "run", name+".dump")
	err = s.program(t.Context(), "pg_dump", "-Fc", "-f", dump, s.URL(name))
	if err == nil {
		err = on.exec(t.Context(), "CREATE DATABASE "+name)
	}
	if err == nil {
		err = s.program(t.Context(), "pg_restore", "--no-owner", "--exit-on-error", "-d", on.URL(name), dump)
	}
	if err != nil {
		t.Fatalf("restoring a dump: %v", err)
	}
	return on.URL(name)
}

// program runs one of PostgreSQL's programs to its end.
func (s *Server) program(ctx context.Context, name string, args ...string) error {
	cmd, err := s.run.command(ctx, s.dir, name, args...)
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, tail(string(out), 20))
	}
	return nil
}
