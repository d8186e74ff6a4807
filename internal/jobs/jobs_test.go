package jobs_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"smi/internal/jobs"
	"smi/internal/social"
	"smi/store"
	"smi/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen. It is only used up by
// a test that fails.
const patience = 30 * time.Second

type (
	greetArgs struct {
		Name string `json:"name"`
	}
	slowArgs  struct{}
	nightArgs struct{}
	keyedArgs struct {
		Run  int `river:"unique"`
		Wait int
	}
)

func (greetArgs) Kind() string { return "greet" }
func (slowArgs) Kind() string  { return "slow" }
func (nightArgs) Kind() string { return "night" }
func (keyedArgs) Kind() string { return "keyed" }

// bench is a queue on a real store.
type bench struct {
	t  *testing.T
	db *store.Store
}

func open(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "smi.db"), BallastBytes: -1})
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

func (b *bench) runner(change ...func(*jobs.Config)) *jobs.Runner {
	b.t.Helper()
	cfg := jobs.Config{DB: b.db.WriterDB(), Alone: true}
	for _, c := range change {
		c(&cfg)
	}
	r, err := jobs.New(b.t.Context(), cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// start starts a runner and stops it when the test ends.
func (b *bench) start(r *jobs.Runner) {
	b.t.Helper()
	if err := r.Start(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { b.stop(r) })
}

func (b *bench) stop(r *jobs.Runner) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		b.t.Error(err)
	}
}

// enqueue puts jobs in, in a transaction of their own.
func (b *bench) enqueue(r *jobs.Runner, unique bool, all ...jobs.Args) {
	b.t.Helper()
	if err := b.try(func(tx *sql.Tx) error {
		for _, a := range all {
			if err := r.Enqueue(b.t.Context(), tx, a, unique, jobs.Options{}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) try(fn func(tx *sql.Tx) error) error {
	tx, err := b.db.WriterDB().BeginTx(b.t.Context(), nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (b *bench) text(query string) string { return storetest.Seed(b.t, b.db).Text(query) }

func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("waited %s in vain: %s", patience, what)
		panic("not reached")
	}
}

// until asks again and again until a query says what is wanted.
func (b *bench) until(query, want string) {
	b.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		got := b.text(query)
		if got == want {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			b.t.Fatalf("%s: %q, want %q", query, got, want)
		}
	}
}

func TestAJobLivesInItsTransaction(t *testing.T) {
	b := open(t)
	r := b.runner()
	greeted := make(chan string, 10)
	jobs.Handle(r, jobs.Options{}, func(_ context.Context, a greetArgs) error { greeted <- a.Name; return nil })

	// Before Start, as the API may do while the daemon comes up.
	b.enqueue(r, false, greetArgs{"before"})
	b.start(r)
	if err := b.try(func(tx *sql.Tx) error {
		if err := r.Enqueue(t.Context(), tx, greetArgs{"undone"}, false, jobs.Options{}); err != nil {
			t.Error(err)
		}
		return errors.New("the reason for it did not come to be")
	}); err == nil {
		t.Fatal("the transaction was not undone")
	}
	b.enqueue(r, false, greetArgs{"after"})
	got := map[string]bool{receive(t, greeted, "two jobs"): true, receive(t, greeted, "the second job"): true}
	if !got["before"] || !got["after"] {
		t.Errorf("ran %v, want before and after", got)
	}
	b.until(`SELECT group_concat(state || ' ' || attempt) FROM river_job`, "completed 1,completed 1")
}

func TestUnique(t *testing.T) {
	b := open(t)
	r := b.runner()
	begun, end := make(chan int, 10), make(chan struct{})
	jobs.Handle(r, jobs.Options{}, func(_ context.Context, a keyedArgs) error { begun <- a.Run; <-end; return nil })
	b.start(r)
	b.enqueue(r, true, keyedArgs{Run: 1, Wait: 10}, keyedArgs{Run: 1, Wait: 20}, keyedArgs{Run: 2})
	receive(t, begun, "the first job")
	receive(t, begun, "the second job")
	b.enqueue(r, true, keyedArgs{Run: 1}) // while it runs
	if n := b.text(`SELECT count(*) FROM river_job`); n != "2" {
		t.Errorf("%s jobs, want one for each run", n)
	}
	close(end)
	b.until(`SELECT count(*) FROM river_job WHERE state = 'completed'`, "2")
	b.enqueue(r, true, keyedArgs{Run: 1}) // what has ended is in nobody's way
	if n := receive(t, begun, "the job that was put in again"); n != 1 {
		t.Errorf("run %d, want 1", n)
	}
}

func TestHowATryEnds(t *testing.T) {
	b := open(t)
	r := b.runner()
	tries := make(chan string, 20)
	var again, bugs atomic.Int64
	jobs.Handle(r, jobs.Options{Timeout: 100 * time.Millisecond, MaxAttempts: 1}, func(ctx context.Context, _ slowArgs) error {
		<-ctx.Done()
		tries <- "slow"
		return ctx.Err()
	})
	jobs.Handle(r, jobs.Options{}, func(_ context.Context, a greetArgs) error {
		tries <- a.Name
		switch a.Name {
		case "later":
			if again.Add(1) < 3 {
				return fmt.Errorf("wrapped: %w", jobs.Later(time.Second))
			}
		case "stop":
			return jobs.Stop(errors.New("there is nothing to be done"))
		case "panic":
			if bugs.Add(1) == 1 {
				panic("a bug")
			}
		}
		return nil
	})
	b.start(r)
	b.enqueue(r, false, greetArgs{"later"}, greetArgs{"stop"}, greetArgs{"panic"}, slowArgs{})
	count := map[string]int{}
	for range 7 {
		count[receive(t, tries, "a try")]++
	}
	if count["later"] != 3 || count["stop"] != 1 || count["slow"] != 1 || count["panic"] != 2 {
		t.Errorf("tries: %v", count)
	}
	const state = `SELECT state || ' ' || attempt FROM river_job WHERE `
	b.until(state+`kind = 'greet' AND json(args) LIKE '%later%'`, "completed 1") // the waiting counts for nothing
	b.until(state+`kind = 'greet' AND json(args) LIKE '%stop%'`, "cancelled 1")
	b.until(state+`kind = 'slow'`, "discarded 1") // the kind's own MaxAttempts
	b.until(state+`kind = 'greet' AND json(args) LIKE '%panic%'`, "completed 2")
	if errs := b.text(`SELECT json(errors) FROM river_job WHERE kind = 'greet' AND json(args) LIKE '%stop%'`); !strings.Contains(errs, "there is nothing to be done") {
		t.Errorf("the reason of the stop is not kept: %s", errs)
	}
}

// yearly runs long after the test, so that only the catch-up at start comes.
type yearly struct{}

func (yearly) Next(t time.Time) time.Time { return t.AddDate(1, 0, 0) }

// often runs a few times a second.
type often struct{}

func (often) Next(t time.Time) time.Time { return t.Add(300 * time.Millisecond) }

func TestEvery(t *testing.T) {
	b := open(t)
	r := b.runner()
	night, greet := make(chan struct{}, 100), make(chan struct{}, 100)
	jobs.Handle(r, jobs.Options{}, func(context.Context, nightArgs) error { night <- struct{}{}; return nil })
	jobs.Handle(r, jobs.Options{MaxAttempts: 1}, func(context.Context, greetArgs) error { greet <- struct{}{}; return nil })
	r.Every("night", yearly{}, nightArgs{})
	r.Every("greet", often{}, greetArgs{})
	b.start(r)
	receive(t, night, "the catch-up at start")
	for range 3 {
		receive(t, greet, "a run by schedule")
	}
	b.stop(r)
	if len(night) != 0 {
		t.Errorf("the yearly job ran %d times more", len(night))
	}
	if n := b.text(`SELECT max(max_attempts) FROM river_job WHERE kind = 'greet'`); n != "1" {
		t.Errorf("a job by schedule may be tried %s times, want what its kind says: 1", n)
	}
	// The next start catches up again.
	r = b.runner()
	jobs.Handle(r, jobs.Options{}, func(context.Context, nightArgs) error { night <- struct{}{}; return nil })
	jobs.Handle(r, jobs.Options{}, func(context.Context, greetArgs) error { return nil })
	r.Every("night", yearly{}, nightArgs{})
	b.start(r)
	receive(t, night, "the catch-up at the second start")
}

// TestADeadProcess: the first runner is never stopped by the book; its only
// worker is stuck in the job, as the job of a dead process is.
func TestADeadProcess(t *testing.T) {
	b := open(t)
	dead := b.runner(func(c *jobs.Config) { c.Workers = 1 })
	stuck, free := make(chan struct{}), make(chan struct{})
	jobs.Handle(dead, jobs.Options{Timeout: time.Hour}, func(context.Context, greetArgs) error { close(stuck); <-free; return errors.New("nobody hears this") })
	jobs.Handle(dead, jobs.Options{}, func(context.Context, nightArgs) error { return nil })
	b.enqueue(dead, true, greetArgs{"interrupted"})
	b.start(dead)
	receive(t, stuck, "the job")
	if s := b.text(`SELECT state FROM river_job`); s != "running" {
		t.Fatalf("the job is %s, want running", s)
	}

	next := b.runner()
	taken, night := make(chan time.Time, 1), make(chan time.Time, 10)
	jobs.Handle(next, jobs.Options{}, func(context.Context, greetArgs) error { taken <- time.Now(); return nil })
	jobs.Handle(next, jobs.Options{}, func(context.Context, nightArgs) error { night <- time.Now(); return nil })
	next.Every("night", yearly{}, nightArgs{})
	began := time.Now()
	b.start(next)
	if took := receive(t, taken, "the interrupted job").Sub(began); took > 5*time.Second {
		t.Errorf("the interrupted job was taken up after %s, want at once", took)
	}
	if took := receive(t, night, "the catch-up").Sub(began); took > 10*time.Second {
		t.Errorf("the catch-up came after %s: the dead process was still the leader", took)
	}
	close(free)
	b.until(`SELECT state FROM river_job WHERE kind = 'greet'`, "completed")
}

func TestStop(t *testing.T) {
	b := open(t)
	r := b.runner(func(c *jobs.Config) { c.Grace = 500 * time.Millisecond })
	begun, finish := make(chan struct{}, 2), make(chan struct{})
	jobs.Handle(r, jobs.Options{}, func(context.Context, greetArgs) error { begun <- struct{}{}; <-finish; return nil })
	var cut atomic.Bool
	jobs.Handle(r, jobs.Options{Timeout: time.Hour}, func(ctx context.Context, _ slowArgs) error {
		begun <- struct{}{}
		<-ctx.Done()
		cut.Store(true)
		return ctx.Err()
	})
	b.start(r)
	b.enqueue(r, false, greetArgs{"finishes"}, slowArgs{})
	receive(t, begun, "a job")
	receive(t, begun, "the other job")
	stopped := make(chan struct{})
	go func() { b.stop(r); close(stopped) }()
	select {
	case <-stopped:
		t.Fatal("Stop did not wait for a running job")
	case <-time.After(200 * time.Millisecond):
	}
	if cut.Load() {
		t.Error("a job's context was ended before its grace was over")
	}
	close(finish)
	receive(t, stopped, "the end of Stop")
	if !cut.Load() {
		t.Error("Stop came back while a job was running")
	}
	if s := b.text(`SELECT state FROM river_job WHERE kind = 'greet'`); s != "completed" {
		t.Errorf("the job that finished in time is %s", s)
	}
	// What was cut off is there for the next start.
	r = b.runner()
	jobs.Handle(r, jobs.Options{}, func(context.Context, slowArgs) error { begun <- struct{}{}; return nil })
	b.start(r)
	receive(t, begun, "the job that was cut off")
}

// TestOneWriter lets the queue and the store write at the same time over the
// one connection: both get on, and nothing waits for ever.
func TestOneWriter(t *testing.T) {
	b := open(t)
	r := b.runner()
	const wanted, puts = 60, 30
	var ran atomic.Int64
	all := make(chan struct{})
	seeds := storetest.Seed(t, b.db)
	ws := seeds.Workspace()
	seeds.Account(ws.ID)
	jobs.Handle(r, jobs.Options{}, func(ctx context.Context, a keyedArgs) error {
		// A job that writes to the store and puts a job in, as the night's plan does.
		if a.Run < puts {
			_, err := b.db.PlanNightly(ctx, ws.ID, a.Run, func(ctx context.Context, tx *sql.Tx, _ social.ID) error {
				return r.Enqueue(ctx, tx, keyedArgs{Run: wanted + a.Run}, true, jobs.Options{})
			})
			if err != nil {
				return err
			}
		}
		if ran.Add(1) == wanted+puts {
			close(all)
		}
		return nil
	})
	b.start(r)
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	var writes atomic.Int64
	for range 8 {
		writers.Go(func() {
			for ctx.Err() == nil {
				if err := b.db.Renew(ctx, "node", time.Now()); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
				writes.Add(1)
			}
		})
	}
	for i := range wanted {
		b.enqueue(r, true, keyedArgs{Run: i})
	}
	receive(t, all, fmt.Sprintf("%d jobs beside a busy store", wanted+puts))
	cancel()
	writers.Wait()
	if n := writes.Load(); n < 100 {
		t.Errorf("the store made %d writes meanwhile, want many", n)
	}
}
