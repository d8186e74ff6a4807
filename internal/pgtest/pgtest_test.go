package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
)

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatalf("connecting to %s: %v", url, err)
	}
	t.Cleanup(func() { conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// query returns the one value that a query gives, as text.
func query(t *testing.T, conn *pgx.Conn, q string) string {
	t.Helper()
	var out any
	if err := conn.QueryRow(t.Context(), q).Scan(&out); err != nil {
		t.Fatalf("%s: %v", q, err)
	}
	return fmt.Sprint(out)
}

func do(t *testing.T, conn *pgx.Conn, q string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), q); err != nil {
		t.Fatalf("%s: %v", q, err)
	}
}

func TestSharedServerHoldsWhatItAcknowledges(t *testing.T) {
	t.Parallel()
	conn := connect(t, Shared(t).Database(t))
	for setting, want := range map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"} {
		if got := query(t, conn, "SHOW "+setting); got != want {
			t.Errorf("%s is %s, want %s", setting, got, want)
		}
	}
}

func TestDatabasesAreApart(t *testing.T) {
	t.Parallel()
	s := Shared(t)
	a, b := connect(t, s.Database(t)), connect(t, s.Database(t))
	do(t, a, "CREATE TABLE x (n BIGINT)")
	if got := query(t, b, "SELECT count(*) FROM pg_tables WHERE tablename = 'x'"); got != "0" {
		t.Errorf("the other database has %s tables x, want none", got)
	}
}

func TestFilledIsFilledOnce(t *testing.T) {
	t.Parallel()
	s := Shared(t)
	filled := 0
	fill := func(url string) error {
		filled++
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			return err
		}
		_, err = conn.Exec(t.Context(), "CREATE TABLE x (n BIGINT); INSERT INTO x VALUES (7)")
		return errors.Join(err, conn.Close(t.Context()))
	}
	for range 3 {
		conn := connect(t, s.Filled(t, "sevens", fill))
		if got := query(t, conn, "SELECT sum(n)::text FROM x"); got != "7" {
			t.Errorf("the copy holds %s, want 7", got)
		}
		do(t, conn, "UPDATE x SET n = 8")
	}
	if filled != 1 {
		t.Errorf("the template was filled %d times, want once", filled)
	}
}

// TestStopped shows that what was committed is there after each kind of end,
// and that the server can be started at once after it.
func TestStopped(t *testing.T) {
	t.Parallel()
	s := Start(t)
	url := s.Database(t)
	do(t, connect(t, url), "CREATE TABLE x (n BIGINT)")
	for i, stop := range []func(){
		func() { s.StopImmediate(t) },
		func() { s.KillPostmaster(t) },
		func() {}, // Restart does it
	} {
		conn := connect(t, url)
		do(t, conn, fmt.Sprintf("INSERT INTO x VALUES (%d)", i))
		stop()
		s.Restart(t)
		if err := conn.Ping(t.Context()); err == nil {
			t.Errorf("end %d: an old connection still answers", i)
		}
		if got, want := query(t, connect(t, url), "SELECT count(*) FROM x"), fmt.Sprint(i+1); got != want {
			t.Errorf("end %d: %s rows, want %s", i, got, want)
		}
	}
}

func TestStandbyTakesOver(t *testing.T) {
	t.Parallel()
	s := Start(t)
	url := s.Database(t)
	b := s.Standby(t, Synchronous)
	conn := connect(t, url)
	do(t, conn, "CREATE TABLE x (n BIGINT)")
	do(t, conn, "INSERT INTO x VALUES (1)")
	before := query(t, conn, "SELECT timeline_id FROM pg_control_checkpoint()")
	s.KillPostmaster(t)
	b.Promote(t)
	conn = connect(t, b.URL("test_1"))
	if got := query(t, conn, "SELECT count(*) FROM x"); got != "1" {
		t.Errorf("the standby has %s rows of a synchronous commit, want 1", got)
	}
	do(t, conn, "INSERT INTO x VALUES (2)") // waits for nobody
	do(t, conn, "CHECKPOINT")
	if after := query(t, conn, "SELECT timeline_id FROM pg_control_checkpoint()"); after == before {
		t.Errorf("the timeline is still %s", after)
	}
}

// TestEnd shows that nothing is left of a server that has ended.
func TestEnd(t *testing.T) {
	t.Parallel()
	var s *Server
	t.Run("server", func(t *testing.T) { s = Start(t) })
	if s == nil {
		t.Skip("PostgreSQL cannot be had")
	}
	if left := s.processes(); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder is left: %v", err)
	}
}
