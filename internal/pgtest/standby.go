package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Mode says whether a commit waits for the standby.
type Mode int

// Asynchronous commits answer before the standby has them: what was answered
// may be missing after a fail-over. Synchronous ones do not.
const (
	Asynchronous Mode = iota
	Synchronous
)

// standbys numbers them: each has a name of its own.
var standbys atomic.Int64

// Standby starts a copy of the server that follows it, on another port of the
// same address, and returns when it follows. It ends with the test.
func (s *Server) Standby(t testing.TB, mode Mode) *Server {
	t.Helper()
	return s.StandbyOn(t, mode, 0)
}

// StandbyOn is Standby on a port that the test has chosen. In a network
// namespace it must be: no free one can be looked for there.
func (s *Server) StandbyOn(t testing.TB, mode Mode, port int) *Server {
	t.Helper()
	b, err := s.standby(t.Context(), mode, port)
	if err != nil {
		t.Fatalf("starting a standby: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of what the standby printed:\n%s", b.log(40))
		}
		b.end()
	})
	return b
}

func (s *Server) standby(ctx context.Context, mode Mode, port int) (*Server, error) {
	name := fmt.Sprintf("standby_%d", standbys.Add(1))
	b := &Server{Host: s.Host, Port: port, run: s.run, settings: s.settings, names: s.names, templates: s.templates}
	if err := b.folder(false); err != nil {
		return nil, err
	}
	conn := fmt.Sprintf("host=%s port=%d user=smi application_name=%s", s.Host, s.Port, name)
	copying, err := s.run.command(ctx, b.dir, "pg_basebackup", "-d", conn, "-D", b.data, "--checkpoint=fast", "--write-recovery-conf", "--no-sync")
	if err != nil {
		return nil, errors.Join(err, b.guard.Close())
	}
	if out, err := copying.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("copying the server: %w\n%s", err, tail(string(out), 20)), b.guard.Close())
	}
	if err := b.alone(); err != nil {
		return nil, errors.Join(err, b.guard.Close())
	}
	if err := b.startAnywhere(ctx); err != nil {
		return nil, errors.Join(err, b.guard.Close())
	}
	if mode == Synchronous {
		err = s.exec(ctx, "ALTER SYSTEM SET synchronous_standby_names = "+quote(name), "SELECT pg_reload_conf()")
	}
	if err == nil {
		err = s.followed(ctx, name, mode)
	}
	if err != nil {
		b.end()
		return nil, err
	}
	return b, nil
}

// alone takes from a copied configuration that others are waited for: nobody
// follows the copy.
func (s *Server) alone() error {
	file := filepath.Join(s.data, "postgresql.auto.conf")
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the copy's configuration: %w", err)
	}
	var keep []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "synchronous_standby_names") {
			keep = append(keep, line)
		}
	}
	if err := os.WriteFile(file, []byte(strings.Join(keep, "")), 0o600); err != nil {
		return fmt.Errorf("writing the copy's configuration: %w", err)
	}
	return nil
}

// followed waits until a standby has all that the server has, and in the
// synchronous mode until commits wait for it.
func (s *Server) followed(ctx context.Context, name string, mode Mode) error {
	want := "async"
	if mode == Synchronous {
		want = "sync"
	}
	return s.holds(ctx, "a standby to follow",
		"SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming' AND application_name = "+quote(name)+" AND sync_state = "+quote(want))
}

// holds waits until a query says true.
func (s *Server) holds(ctx context.Context, what, query string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.Local("postgres"))
	if err != nil {
		return fmt.Errorf("asking PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var yes bool
		if err := conn.QueryRow(ctx, query).Scan(&yes); err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		if yes {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w\n%s", what, ctx.Err(), s.log(20))
		case <-tick.C:
		}
	}
}

// Promote makes a standby the server that is written to, and returns when it
// is. The old one must have been stopped before.
func (s *Server) Promote(t testing.TB) {
	t.Helper()
	err := s.exec(t.Context(), "SELECT pg_promote(wait => false)")
	if err == nil {
		err = s.holds(t.Context(), "the standby to take over", "SELECT NOT pg_is_in_recovery()")
	}
	if err != nil {
		t.Fatalf("promoting a standby: %v", err)
	}
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
