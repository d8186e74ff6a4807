package scheduler_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"smi/connectors"
	"smi/connectors/fake"
	"smi/internal/social"
	"smi/store"
	"smi/store/storetest"
)

// restored closes the world's store and goes on with a copy of an earlier time,
// in quarantine, as smi restore would.
func (w *world) restored(file string) social.Quarantine {
	w.t.Helper()
	if err := w.db.Close(); err != nil {
		w.t.Fatal(err)
	}
	db, err := store.Open(w.t.Context(), store.Options{Path: file, Now: now, BallastBytes: -1})
	if err != nil {
		w.t.Fatal(err)
	}
	w.db, w.seeds = db, storetest.Seed(w.t, db)
	q, err := db.Revive(w.t.Context(), "A backup was restored.", "cli:test")
	if err != nil {
		w.t.Fatal(err)
	}
	return q
}

// snapshot copies the store as it is now.
func (w *world) snapshot() string {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "smi.db")
	if err := w.db.Snapshot(w.t.Context(), file); err != nil {
		w.t.Fatal(err)
	}
	return file
}

func (w *world) quarantine() social.Quarantine {
	w.t.Helper()
	q, err := w.db.Quarantine(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return q
}

func (w *world) adopt() {
	w.t.Helper()
	if _, err := w.db.Adopt(w.t.Context(), "cli:test"); err != nil {
		w.t.Fatal(err)
	}
	for _, r := range w.runs {
		r.s.Wake()
	}
}

// armed counts attempts that were armed here: those that a look found stand for
// what others sent.
func (w *world) armed() string {
	return w.seeds.Text(`SELECT count(*) FROM attempt WHERE node <> ''`)
}

// TestRestoreOfFifty is the promise of a restore: of 50 posts that were due after
// the backup, none is published before it was looked up, those that are live are
// taken up, and about the rest people are asked.
func TestRestoreOfFifty(t *testing.T) {
	for _, class := range []connectors.Class{connectors.Unkeyed, connectors.Keyed} {
		t.Run(string(class), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fake.Options{Class: class, PageSize: 7})
				defer w.close()
				accounts := []social.Account{w.account(), w.account(), w.account()}
				var ids []social.ID
				for i := range 50 {
					at := now().Add(30*time.Minute + time.Duration(i)*time.Minute)
					ids = append(ids, w.plan(at, text(fmt.Sprintf("number %d says that word %d is its own", i, i*i)), accounts[i%3])...)
				}
				after := w.plan(now().Add(10*time.Hour), text("planned for after the gap"), accounts[0])[0]
				w.seeds.Exec(`UPDATE delivery SET created_at = $1, updated_at = $1`, now().UnixMilli())
				backup := w.snapshot()

				// The live smi publishes until its machine burns, 25 minutes into the 50.
				live := w.start()
				pass(55 * time.Minute)
				live.kill()
				pass(time.Second)
				published := len(w.net.Journal())
				if published < 20 || published > 30 {
					t.Fatalf("%d posts went out before the fire", published)
				}
				pass(40 * time.Minute)

				q := w.restored(backup)
				if q.Gap.Pending != 50 || !q.Stops || q.Phase != social.Quarantined {
					t.Fatalf("the quarantine began as %+v", q)
				}
				w.start()
				pass(3 * time.Hour)
				if got := w.armed(); got != "0" || len(w.net.Journal()) != published {
					t.Errorf("in quarantine %s attempts were armed and %d posts appeared", got, len(w.net.Journal())-published)
				}
				if q = w.quarantine(); q.Gap.Adopted != published || q.Gap.Pending != 50-published {
					t.Errorf("in quarantine %d are live, and it found %+v", published, q.Gap)
				}
				w.adopt()
				pass(2 * time.Minute)
				if q = w.quarantine(); q.Open() || q.Gap.Adopted != published || q.Gap.Missing != 50-published {
					t.Errorf("%d are live, and the quarantine is %s with %+v", published, q.Phase, q.Gap)
				}
				w.rest(24*time.Hour, append(ids, after)...)
				if got := w.armed(); got != "1" || len(w.net.Journal()) != published+1 {
					t.Errorf("afterwards %s attempts were armed and %d posts appeared, want the one planned for later", got, len(w.net.Journal())-published)
				}
				w.want(after, social.Published)
				w.oracle(append(ids, after)...)
				for _, id := range ids {
					live := len(w.effects(id)) > 0
					if s, reason := w.state(id); live != (s == social.Published) || !live && s != social.HeldLate {
						t.Errorf("on the network: %v, but it is %s (%s)", live, s, reason)
					}
				}
				if n := w.seeds.Text(`SELECT count(*) FROM attempt WHERE state = 'adopted' AND decided_by = 'restore'`); n != fmt.Sprint(published) {
					t.Errorf("%s attempts say that they were found", n)
				}
				for _, kind := range []string{"quarantine_began", "quarantine_adopted", "quarantine_ended"} {
					if n := w.seeds.Text(`SELECT count(*) FROM outbox WHERE kind = $1`, kind); n != "1" {
						t.Errorf("%s notices %s", n, kind)
					}
				}
			})
		})
	}
}
