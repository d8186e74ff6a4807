package jobs_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"

	"smi/internal/jobs"
	"smi/internal/pgtest"
	"smi/internal/social"
	"smi/store"
	"smi/store/storetest"
)

// openShared is a bench whose database is on a server.
func openShared(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	db, err := store.Open(t.Context(), store.Options{URL: pgtest.Start(t).Database(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &bench{t, db}
}

// node is a runner as one of several on the database.
func (b *bench) node() *jobs.Runner {
	return b.runner(func(c *jobs.Config) {
		c.DB, c.Postgres, c.Alone, c.Turn, c.Memory = nil, b.db.Pool(), false, b.db.Alone, b.db
	})
}

// A job is put in by the change of the store that makes it necessary, and goes
// with it.
func TestAJobLivesInItsTransactionOnPostgres(t *testing.T) {
	b := openShared(t)
	r := b.node()
	ran := make(chan social.ID, 10)
	jobs.Handle(r, jobs.Options{}, func(_ context.Context, a keyedArgs) error { ran <- social.ID(a.Run); return nil })
	b.start(r)
	seeds := storetest.Seed(t, b.db)
	ws := seeds.Workspace()
	a := seeds.Account(ws.ID)
	plan := func(day int, end error) error {
		_, err := b.db.PlanSync(t.Context(), a.ID, day, func(ctx context.Context, tx *sql.Tx, _ social.ID) error {
			if err := r.Enqueue(ctx, tx, keyedArgs{Run: day}, true, jobs.Options{}); err != nil {
				t.Error(err)
			}
			return end
		})
		return err
	}
	undone := errors.New("undone")
	if err := plan(1, undone); !errors.Is(err, undone) {
		t.Fatal(err)
	}
	if err := plan(2, nil); err != nil {
		t.Fatal(err)
	}
	if day := receive(t, ran, "the job"); day != 2 {
		t.Errorf("the job of %d ran, want 2", day)
	}
	b.until(`SELECT CAST(count(*) AS TEXT) || ' ' || max(CAST(state AS TEXT)) FROM river_job`, "1 completed")
	// Without the connection of the change nothing is put in beside it.
	tx, err := b.db.WriterDB().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written
	if err := r.Enqueue(t.Context(), tx, keyedArgs{Run: 3}, true, jobs.Options{}); err == nil {
		t.Error("a job was put in, but not into this transaction")
	}
}

// Three nodes share the work: each job runs once, and what comes by schedule
// comes once, not three times.
func TestNodesShareTheWork(t *testing.T) {
	b := openShared(t)
	var mu sync.Mutex
	ran := map[string]int{}
	done := make(chan struct{}, 1000)
	const wanted = 60
	var nodes []*jobs.Runner
	for range 3 { // they start together, and bring the tables up to date together
		nodes = append(nodes, nil)
	}
	var starting sync.WaitGroup
	for i := range nodes {
		starting.Go(func() {
			r := b.node()
			count := func(what string) error {
				mu.Lock()
				ran[what]++
				mu.Unlock()
				done <- struct{}{}
				return nil
			}
			jobs.Handle(r, jobs.Options{}, func(_ context.Context, a keyedArgs) error { return count(fmt.Sprint(a.Run)) })
			jobs.Handle(r, jobs.Options{}, func(context.Context, nightArgs) error { return count("night") })
			r.Every("night", yearly{}, nightArgs{})
			nodes[i] = r
		})
	}
	starting.Wait()
	for _, r := range nodes {
		b.start(r)
	}
	for i := range wanted {
		if err := nodes[i%3].Add(t.Context(), keyedArgs{Run: i}, true, jobs.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	for range wanted + 1 {
		receive(t, done, "a job")
	}
	b.until(`SELECT CAST(count(*) AS TEXT) FROM river_job WHERE state <> 'completed'`, "0")
	mu.Lock()
	defer mu.Unlock()
	for what, n := range ran {
		if n != 1 {
			t.Errorf("%s ran %d times, want once", what, n)
		}
	}
	if len(ran) != wanted+1 {
		t.Errorf("%d jobs ran, want %d", len(ran), wanted+1)
	}
}

// A node that becomes the leader after another does not run again what ran in
// this period; what failed, or is due anew, it does run.
func TestOncePerPeriod(t *testing.T) {
	b := openShared(t)
	ran := make(chan string, 1000)
	count := map[string]int{}
	lead := func(node string, fail error) {
		t.Helper()
		r := b.node()
		jobs.Handle(r, jobs.Options{MaxAttempts: 1}, func(context.Context, nightArgs) error { ran <- node + " night"; return nil })
		jobs.Handle(r, jobs.Options{MaxAttempts: 1}, func(context.Context, slowArgs) error { ran <- node + " failing"; return fail })
		jobs.Handle(r, jobs.Options{MaxAttempts: 1}, func(context.Context, greetArgs) error { ran <- node; return nil })
		r.Every("night", yearly{}, nightArgs{})
		r.Every("slow", yearly{}, slowArgs{})
		r.Every("greet", often{}, greetArgs{})
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for led := 0; led < 3; { // it is the leader, and has put in what comes at start
			switch what := receive(t, ran, "a job of "+node); what {
			case node:
				led++
			default:
				count[what]++
			}
		}
		b.stop(r)
	}
	lead("n1", errors.New("not this time"))
	lead("n2", nil)
	lead("n1", nil)
	for what, want := range map[string]int{"n1 night": 1, "n2 night": 0, "n1 failing": 1, "n2 failing": 1} {
		if count[what] != want {
			t.Errorf("%q happened %d times, want %d", what, count[what], want)
		}
	}
}
