package faultdisk_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"smi/store/faultdisk"
)

// A disk in memory keeps what a disk with files keeps: two pools of connections
// see each other's commits, a killed process goes on beside the next one, and
// after a power cut all is there that was acknowledged, unless SQLite was told
// not to wait for the disk.
func TestInMemory(t *testing.T) {
	t.Parallel()
	for _, synchronous := range []string{"FULL", "NORMAL"} {
		lost := 0
		for seed := range uint64(12) {
			dir := t.TempDir() // for the paths alone
			d := faultdisk.InMemory(t, nil)
			db := open(t, dir, d, synchronous)
			run(t, db, `CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)`)
			readers := open(t, dir, d, synchronous)
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					for range 20 {
						var n, most int
						if err := readers.QueryRow(`SELECT count(*), COALESCE(max(n), 0) FROM t`).Scan(&n, &most); err != nil || n != most {
							t.Errorf("%d rows, the last is %d, %v", n, most, err)
						}
					}
				})
			}
			for i := range 60 {
				run(t, db, `INSERT INTO t VALUES ($1, hex(randomblob(300)))`, i+1)
			}
			wg.Wait()
			if seed%2 == 0 {
				if err := d.Kill(dir); err != nil {
					t.Fatal(err)
				}
				run(t, db, `INSERT INTO t VALUES (1000, 'of the dead')`)
			} else {
				cut, err := d.PowerCut(dir, rand.New(rand.NewPCG(seed, 1)))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := db.Exec(`INSERT INTO t VALUES (1000, 'without power')`); err == nil {
					t.Error("a write without power")
				}
				if synchronous == "FULL" && cut.Dropped+cut.Older > 0 {
					t.Errorf("all was durable, and the cut took %+v", cut)
				}
			}
			next := open(t, dir, faultdisk.InMemory(t, d.Left()), synchronous)
			if got := text(t, next, `PRAGMA integrity_check`); got != "ok" {
				t.Error(got)
			}
			if text(t, next, `SELECT count(*) FROM sqlite_master`) == "0" || text(t, next, `SELECT count(*) FROM t WHERE n <= 60`) != "60" {
				lost++
			} else if got := text(t, next, `SELECT count(*) FROM t WHERE n = 1000`); got != "0" {
				t.Error("the next life sees what the last one did after its end")
			}
			readers.Close()
			db.Close()
			next.Close()
		}
		if lost > 0 != (synchronous == "NORMAL") {
			t.Errorf("%s: rows were lost in %d of 12 runs", synchronous, lost)
		}
	}
}

// A disk in memory fails and runs full as any other.
func TestInMemoryFails(t *testing.T) {
	t.Parallel()
	d := faultdisk.InMemory(t, nil)
	db := open(t, t.TempDir(), d, "FULL")
	run(t, db, `CREATE TABLE t (text TEXT)`)
	for _, with := range []faultdisk.Fault{faultdisk.WriteError, faultdisk.SyncError, faultdisk.Full} {
		d.Fail(1, with, false)
		if _, err := db.Exec(`INSERT INTO t VALUES ('a')`); with != faultdisk.SyncError && err == nil {
			t.Errorf("%s: the write is said to have worked", with)
		}
		d.Fail(0, 0, false)
		run(t, db, `INSERT INTO t VALUES ('b')`)
	}
	d.Limit("", 20_000)
	if _, err := db.Exec(`INSERT INTO t VALUES (hex(randomblob(50000)))`); err == nil {
		t.Error("more was written than there is room")
	}
	d.Limit("", -1)
	run(t, db, `INSERT INTO t VALUES ('c')`)
	db.Close()
}
