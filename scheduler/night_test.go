package scheduler_test

import (
	"context"
	"database/sql"
	"sync"
	"testing"
	"time"

	"github.com/robfig/cron/v3"

	"smi/connectors/fake"
	"smi/internal/social"
	"smi/scheduler"
)

func noQueue(context.Context, *sql.Tx, social.ID) error { return nil }

// sleeper plans the nights of a zone at 2:30, at whatever time a test says.
type sleeper struct {
	*scheduler.Night
	at     time.Time
	queued int
}

func (w *world) sleeper(zone string) *sleeper {
	w.t.Helper()
	loc, err := social.LoadZone(zone)
	if err != nil {
		w.t.Fatal(err)
	}
	schedule, err := cron.ParseStandard("30 2 * * *")
	if err != nil {
		w.t.Fatal(err)
	}
	n := &sleeper{}
	var mu sync.Mutex
	n.Night = &scheduler.Night{
		Workspace: w.ws.ID, Runs: w.db, Now: func() time.Time { return n.at },
		Due: func(from, to time.Time) []scheduler.Run { return scheduler.RunsBetween(schedule, loc, from, to) },
		Enqueue: func(context.Context, *sql.Tx, social.ID) error {
			mu.Lock()
			defer mu.Unlock()
			n.queued++
			return nil
		},
	}
	return n
}

// nights are the dates of the runs of all accounts.
func (w *world) nights() string {
	return w.seeds.Text(`SELECT group_concat(d) FROM (SELECT strftime('%m-%d', local_date * 86400, 'unixepoch') AS d FROM sync_run ORDER BY local_date, account_id)`)
}

func TestNightsWhenTheClocksChange(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		from, to string
		want     string
	}{
		// 2:30 does not exist on the 28th; 3:30 stands in for it.
		"forward": {"2027-03-27T00:00:00Z", "2027-03-29T12:00:00Z", "03-26,03-27,03-28,03-29"},
		// 2:30 comes twice on the 25th.
		"back": {"2026-10-24T00:00:00Z", "2026-10-26T12:00:00Z", "10-23,10-24,10-25,10-26"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, fake.Options{}, func(t *testing.T, w *world, _ social.Account, _ *fake.Account) {
				n := w.sleeper("Europe/Berlin")
				from, err := time.Parse(time.RFC3339, c.from)
				if err != nil {
					t.Fatal(err)
				}
				to, err := time.Parse(time.RFC3339, c.to)
				if err != nil {
					t.Fatal(err)
				}
				for n.at = from; n.at.Before(to); n.at = n.at.Add(7 * time.Minute) {
					if _, err := n.Plan(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if got := w.nights(); got != c.want {
					t.Errorf("runs for %s, want %s", got, c.want)
				}
			})
		})
	}
}

func TestNightsWhileItWasDown(t *testing.T) {
	inWorld(t, fake.Options{}, func(t *testing.T, w *world, _ social.Account, _ *fake.Account) {
		n := w.sleeper("Europe/Berlin")
		plan := func(at string, want int) {
			t.Helper()
			var err error
			if n.at, err = time.Parse(time.RFC3339, at); err != nil {
				t.Fatal(err)
			}
			if made, err := n.Plan(t.Context()); err != nil || made != want {
				t.Errorf("at %s: %d runs, %v; want %d", at, made, err, want)
			}
		}
		plan("2026-11-20T02:00:00Z", 1)
		plan("2026-11-23T09:00:00Z", 1) // three nights were missed
		plan("2026-11-23T09:01:00Z", 0)
		if got := w.nights(); got != "11-20,11-23" {
			t.Errorf("runs for %s, want the last night before it was down and the latest", got)
		}
	})
}

func TestNightsPlannedByTwo(t *testing.T) {
	inWorld(t, fake.Options{}, func(t *testing.T, w *world, _ social.Account, _ *fake.Account) {
		for range 59 {
			w.seeds.Account(w.ws.ID) // more than are planned in one transaction
		}
		n := w.sleeper("UTC")
		n.at = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
		made := make([]int, 4)
		var wg sync.WaitGroup
		for i := range made {
			wg.Go(func() {
				var err error
				if made[i], err = n.Plan(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if sum := made[0] + made[1] + made[2] + made[3]; sum != 60 || n.queued != 60 || w.seeds.Text(`SELECT count(*) FROM sync_run`) != "60" {
			t.Errorf("made %v, queued %d; want 60 in all", made, n.queued)
		}
	})
}

func TestNightResumesWhatIsOpen(t *testing.T) {
	inWorld(t, fake.Options{}, func(t *testing.T, w *world, a social.Account, f *fake.Account) {
		life(f)
		w.ran(a, nil)
		var open []social.ID
		for _, state := range []string{"queued", "running", "partial", "done", "failed"} {
			id := w.seeds.ID()
			w.seeds.Exec(`INSERT INTO sync_run (id, account_id, local_date, kind, state, created_at) VALUES ($1, $2, 1, 'manual', $3, $4)`,
				int64(id), int64(a.ID), state, now().UnixMilli())
			if state != "done" && state != "failed" {
				open = append(open, id)
			}
		}
		n := w.sleeper("UTC")
		var taken []social.ID
		n.Enqueue = func(_ context.Context, _ *sql.Tx, run social.ID) error { taken = append(taken, run); return nil }
		if found, err := n.Resume(t.Context()); err != nil || found != 3 || len(taken) != 3 {
			t.Fatalf("%d open runs, %d queued, %v; want the three that have not ended", found, len(taken), err)
		}
		for _, id := range open {
			w.work(w.reader(nil, nil), id)
			w.wantRun(id, scheduler.SyncDone, "")
		}
	})
}
