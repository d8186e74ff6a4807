package jobs_test

import (
	"context"
	"database/sql"
	"sync/atomic"
	"testing"
	"time"

	"smi/internal/jobs"
	"smi/internal/social"
	"smi/scheduler"
	"smi/store/storetest"
)

type readArgs struct {
	Run       social.ID `river:"unique"`
	NotBefore time.Time
}

func (readArgs) Kind() string { return "read" }

// TestALostJob: a run whose job is lost, for whatever reason, is put in again at
// the next start; one that has its job is not put in twice.
func TestALostJob(t *testing.T) {
	b := open(t)
	seeds := storetest.Seed(t, b.db)
	ws := seeds.Workspace()
	for range 30 {
		seeds.Account(ws.ID)
	}
	var jitter atomic.Int64
	queue := func(r *jobs.Runner) func(context.Context, *sql.Tx, social.ID) error {
		return func(ctx context.Context, tx *sql.Tx, run social.ID) error {
			return r.Enqueue(ctx, tx, readArgs{run, time.Now().Add(time.Duration(jitter.Add(1)) * time.Second)}, true, jobs.Options{})
		}
	}
	r := b.runner()
	night := &scheduler.Night{
		Workspace: ws.ID, Runs: b.db, Now: time.Now, Enqueue: queue(r),
		Due: func(_, to time.Time) []scheduler.Run { return []scheduler.Run{{At: to, Date: 20780}} },
	}
	if n, err := night.Plan(t.Context()); err != nil || n != 30 {
		t.Fatalf("%d runs, %v; want 30", n, err)
	}
	lost := seeds.Exec(`DELETE FROM river_job WHERE id % 3 = 0`)
	if n, err := night.Resume(t.Context()); err != nil || n != 30 {
		t.Fatalf("%d runs are open, %v; want 30", n, err)
	}
	if n := b.text(`SELECT count(*) FROM river_job`); lost == 0 || n != "30" {
		t.Errorf("%s jobs after %d were lost, want one for each of 30 runs", n, lost)
	}

	read := make(chan social.ID, 100)
	jobs.Handle(r, jobs.Options{}, func(_ context.Context, a readArgs) error { read <- a.Run; return nil })
	b.start(r)
	seen := map[social.ID]bool{}
	for range 30 {
		id := receive(t, read, "a run")
		if seen[id] {
			t.Errorf("run %s was read twice", id)
		}
		seen[id] = true
	}
}
