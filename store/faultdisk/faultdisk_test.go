package faultdisk_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"smi/store/faultdisk"
)

// open opens a database in dir on a disk, nil for the ordinary one.
func open(t *testing.T, dir string, d *faultdisk.Disk, synchronous string) *sql.DB {
	t.Helper()
	dsn := "file:" + filepath.Join(dir, "a.db") + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(" + synchronous + ")"
	if d != nil {
		dsn += "&vfs=" + d.Name()
	}
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func run(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func text(t *testing.T, db *sql.DB, query string) string {
	t.Helper()
	var s string
	if err := db.QueryRowContext(context.WithoutCancel(t.Context()), query).Scan(&s); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return s
}

// data returns a folder that a disk may move: not the one that the test removes.
func data(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFail(t *testing.T) {
	t.Parallel()
	for _, stay := range []bool{false, true} {
		d := faultdisk.New(t)
		db := open(t, data(t), d, "FULL")
		run(t, db, `CREATE TABLE t (n INTEGER)`)
		d.Fail(1, faultdisk.WriteError, stay)
		if _, err := db.Exec(`INSERT INTO t VALUES (1)`); err == nil || !strings.Contains(err.Error(), "disk I/O error") {
			t.Errorf("the first write: %v", err)
		}
		if _, err := db.Exec(`INSERT INTO t VALUES (2)`); (err != nil) != stay {
			t.Errorf("the second, staying %v: %v", stay, err)
		}
		d.Fail(0, 0, false)
		run(t, db, `INSERT INTO t VALUES (3)`)
		if d.Calls() == 0 {
			t.Error("no call was counted")
		}
		db.Close()
	}
}

// Disks know nothing of each other, and many connections of one see the same
// data.
func TestBesideEachOther(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for range 4 {
		d, dir := faultdisk.New(t), data(t)
		db := open(t, dir, d, "FULL")
		run(t, db, `CREATE TABLE t (n INTEGER)`)
		wg.Go(func() {
			readers := open(t, dir, d, "FULL")
			for i := range 50 {
				if _, err := db.Exec(`INSERT INTO t VALUES ($1)`, i); err != nil {
					t.Error(err)
				}
				var n int
				if err := readers.QueryRow(`SELECT count(*) FROM t`).Scan(&n); err != nil || n != i+1 {
					t.Errorf("after %d rows: read %d, %v", i+1, n, err)
				}
			}
			d.Fail(1, faultdisk.Full, true)
			if _, err := db.Exec(`INSERT INTO t VALUES (50)`); err == nil {
				t.Error("its own disk does not fail")
			}
			readers.Close()
			db.Close()
		})
	}
	wg.Wait()
}

// The killed process sees its own files for as long as it likes; the next one
// finds what was there at the instant, at the same place.
func TestKill(t *testing.T) {
	t.Parallel()
	d, dir := faultdisk.New(t), data(t)
	zombie := open(t, dir, d, "FULL")
	run(t, zombie, `CREATE TABLE t (n INTEGER)`)
	run(t, zombie, `INSERT INTO t VALUES (1)`)
	if err := os.WriteFile(filepath.Join(dir, "mark"), []byte("m"), 0o600); err != nil {
		t.Fatal(err)
	}
	tx, err := zombie.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(`INSERT INTO t VALUES (2)`); err != nil {
		t.Fatal(err)
	}
	if err := d.Kill(dir); err != nil {
		t.Fatal(err)
	}
	next := open(t, dir, faultdisk.New(t), "FULL")
	run(t, next, `INSERT INTO t VALUES (10)`)
	if err := tx.Commit(); err != nil {
		t.Errorf("what the zombie had begun: %v", err)
	}
	// More connections of the zombie, opened after its death.
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := zombie.Exec(`INSERT INTO t VALUES ($1)`, 3+i); err != nil {
				t.Errorf("the zombie writes: %v", err)
			}
		})
	}
	run(t, next, `INSERT INTO t VALUES (11)`)
	wg.Wait()
	if got := text(t, zombie, `SELECT group_concat(n) FROM (SELECT n FROM t ORDER BY n)`); got != "1,2,3,4,5,6,7,8,9,10" {
		t.Errorf("the zombie reads %s", got)
	}
	if got := text(t, next, `SELECT group_concat(n) FROM (SELECT n FROM t ORDER BY n)`); got != "1,10,11" {
		t.Errorf("the next one reads %s, want 1,10,11", got)
	}
	zombie.Close()
	next.Close()
	again := open(t, dir, nil, "FULL")
	if got := text(t, again, `SELECT count(*) FROM t`); got != "3" {
		t.Errorf("after both are gone: %s rows, want 3", got)
	}
	if got := text(t, again, `PRAGMA integrity_check`); got != "ok" {
		t.Error(got)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "mark")); string(b) != "m" {
		t.Errorf("a file of another kind: %q, %v", b, err)
	}
	if err := d.Kill(dir); err == nil {
		t.Error("killed twice")
	}
}

// After a power cut all that was acknowledged is there, unless the disk lies or
// SQLite was told not to wait for it; and the file is whole in any case but a lie.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	seeds := uint64(30)
	if testing.Short() {
		seeds = 12
	}
	for _, c := range []struct {
		synchronous string
		lie         bool
		lose        bool
	}{{"FULL", false, false}, {"NORMAL", false, true}, {"FULL", true, true}} {
		name := fmt.Sprintf("synchronous %s, lying %v", c.synchronous, c.lie)
		var sum faultdisk.Cut
		lost, broken := 0, 0
		for seed := range seeds {
			r := rand.New(rand.NewPCG(seed, 1))
			d, dir := faultdisk.New(t), data(t)
			db := open(t, dir, d, c.synchronous)
			run(t, db, `CREATE TABLE t (n INTEGER PRIMARY KEY, s TEXT)`)
			run(t, db, `PRAGMA wal_checkpoint(TRUNCATE)`)
			var err error
			if c.lie {
				d.Lie()
			}
			// The power goes in the middle of a commit, or of a checkpoint.
			d.Fail(1+r.IntN(300), faultdisk.WriteError, true)
			n := 0 // acknowledged
			for err = nil; err == nil; n++ {
				_, err = db.Exec(`INSERT INTO t VALUES ($1, $2)`, n+1, strings.Repeat("x", 300))
				if r.IntN(20) == 0 {
					db.Exec(`PRAGMA wal_checkpoint(PASSIVE)`)
				}
			}
			n--
			cut, err := d.PowerCut(dir, r)
			if err != nil {
				t.Fatal(err)
			}
			sum.Kept, sum.Older, sum.Dropped = sum.Kept+cut.Kept, sum.Older+cut.Older, sum.Dropped+cut.Dropped
			d.Fail(0, 0, false)
			if _, err := db.Exec(`INSERT INTO t VALUES (1000, 'x')`); err == nil {
				t.Errorf("%s: seed %d: written without power", name, seed)
			}
			db.Close()
			next := open(t, dir, nil, "FULL")
			var have int
			var whole string
			if err := next.QueryRow(`SELECT count(*) FROM t`).Scan(&have); err != nil {
				broken++
			} else if err := next.QueryRow(`PRAGMA integrity_check`).Scan(&whole); err != nil || whole != "ok" {
				broken++
			}
			if have < n {
				lost++
			}
			next.Close()
		}
		t.Logf("%s: acknowledged rows lost in %d of %d power cuts, %d files broken; sectors kept %d, older %d, dropped %d", name, lost, seeds, broken, sum.Kept, sum.Older, sum.Dropped)
		if (lost > 0) != c.lose || broken > 0 && !c.lie {
			t.Errorf("%s: acknowledged rows lost in %d of %d power cuts, %d files broken", name, lost, seeds, broken)
		}
		if sum.Kept == 0 || sum.Older == 0 || sum.Dropped == 0 {
			t.Errorf("%s: %+v: the power cuts do not bite", name, sum)
		}
	}
}

// A full disk has room again when a file on it is deleted.
func TestLimit(t *testing.T) {
	t.Parallel()
	d, dir := faultdisk.New(t), data(t)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	db := open(t, dir, d, "FULL")
	run(t, db, `CREATE TABLE t (s TEXT)`)
	d.Limit(dir, 200_000)
	n := 0
	var err error
	for ; err == nil && n < 100; n++ {
		_, err = db.Exec(`INSERT INTO t VALUES ($1)`, strings.Repeat("x", 3000))
	}
	if err == nil || !strings.Contains(err.Error(), "full") {
		t.Fatalf("after %d rows: %v", n, err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	run(t, db, `INSERT INTO t VALUES ($1)`, strings.Repeat("x", 3000))
	d.Limit(dir, 0)
	if _, err := db.Exec(`INSERT INTO t VALUES ($1)`, strings.Repeat("x", 30000)); err == nil {
		t.Error("written without room")
	}
	d.Limit(dir, -1)
	run(t, db, `INSERT INTO t VALUES ($1)`, strings.Repeat("x", 30000))
	db.Close()
}
