// Package jobs runs work in the background: whatever may safely run twice (the
// nightly sync, token refreshes, notices). It is a narrow door to River, which
// gives durable jobs in the program's own database, retries, uniqueness and one
// leader among many nodes.
//
// Publishing is not a job: see package scheduler.
//
// A job kind is registered with Handle before Start. Jobs are put into the
// queue with Enqueue, inside the transaction that makes them necessary.
//
// A job may be run again although it had ended well (the process died before
// that was noted), so every worker must be one that may safely run twice.
package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// Args is what a job needs to know, stored as JSON. Kind names the work and is
// stored too; it has two letters or more and never changes its meaning.
type Args interface{ Kind() string }

// Config is what a Runner needs.
type Config struct {
	// DB is the writing connection of SQLite, shared with the store.
	DB *sql.DB
	// Postgres is the pool of connections to a server, in place of DB.
	Postgres *pgxpool.Pool
	// Turn runs fn while no other node does so under this name: Alone of the store.
	// On a server it brings the job tables up to date.
	Turn func(ctx context.Context, name string, fn func(context.Context) error) error
	// Alone says that no other process works on this queue: jobs that were
	// running when the last process died are taken up at once.
	Alone bool
	// Memory keeps when each job that comes by schedule ran last, so that one node
	// that becomes the leader after another does not run again what ran in this
	// period. Without it such jobs run at each start.
	Memory  Memory
	Workers int           // jobs at a time; 8
	Grace   time.Duration // how long Stop lets running jobs go on before it ends their context; 20 s
	Log     *slog.Logger
}

// Runner is the queue and its workers.
type Runner struct {
	cfg       Config
	workers   *river.Workers
	options   map[string]Options  // by kind
	schedules map[string]Schedule // of what comes by schedule, by kind
	periodic  []*river.PeriodicJob
	engine    engine
	queue     queue // puts jobs in, from the beginning
	client    queue // works on them, from Start
}

// New brings River's tables up to date and returns a runner that does not run
// yet.
func New(ctx context.Context, cfg Config) (*Runner, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Workers == 0 {
		cfg.Workers = 8
	}
	if cfg.Grace == 0 {
		cfg.Grace = 20 * time.Second
	}
	e := onSQLite(cfg.DB)
	if cfg.Postgres != nil {
		e = onPostgres(cfg.Postgres, cfg.Turn)
	}
	if err := e.migrate(ctx, quiet(cfg.Log)); err != nil {
		return nil, err
	}
	q, err := e.open(&river.Config{Logger: quiet(cfg.Log)})
	if err != nil {
		return nil, fmt.Errorf("opening the job queue: %w", err)
	}
	return &Runner{cfg: cfg, workers: river.NewWorkers(), options: map[string]Options{}, schedules: map[string]Schedule{}, engine: e, queue: q}, nil
}

// Options say how jobs of a kind run.
type Options struct {
	Timeout time.Duration // of one try; 1 minute
	// MaxAttempts is how often it is tried before it is given up, with up to ten
	// minutes between two tries; 0: 25, which is about three hours.
	MaxAttempts int
}

// Handle registers the worker of a job kind. It is called before Start, on every
// node for every kind: River throws away jobs that its leader does not know.
func Handle[T Args](r *Runner, o Options, work func(context.Context, T) error) {
	river.AddWorker(r.workers, &worker[T]{r: r, o: o, work: work})
	var kind T
	r.options[kind.Kind()] = o
}

type worker[T Args] struct {
	river.WorkerDefaults[T]
	r    *Runner
	o    Options
	work func(context.Context, T) error
}

func (w *worker[T]) Timeout(*river.Job[T]) time.Duration { return w.o.Timeout }

// NextRetry implements river.Worker. River's own distances grow to a day, and a
// job that waits keeps one of its kind that comes every minute from being put
// in.
func (w *worker[T]) NextRetry(job *river.Job[T]) time.Time {
	after := maxRetry
	if n := job.Attempt; n < 5 {
		after = time.Duration(n*n*n*n) * time.Second
	}
	return time.Now().Add(min(after, maxRetry))
}

// maxRetry is the longest time between two tries of a job that failed.
const maxRetry = 10 * time.Minute

func (w *worker[T]) Work(ctx context.Context, job *river.Job[T]) error {
	err := w.once(ctx, job)
	if later, ok := errors.AsType[*laterError](err); ok {
		return river.JobSnooze(later.after)
	}
	if stop, ok := errors.AsType[*stopError](err); ok {
		return river.JobCancel(stop.err)
	}
	return err
}

type laterError struct{ after time.Duration }

func (e *laterError) Error() string { return "again in " + e.after.String() }

// Later ends a try without failing it: the job runs again after d.
func Later(d time.Duration) error { return &laterError{max(d, time.Second)} }

type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }
func (e *stopError) Unwrap() error { return e.err }

// Stop ends a job for good: trying again would not help.
func Stop(err error) error { return &stopError{err} }

// Schedule says when something runs: the first time after a time. A
// robfig/cron schedule is one.
type Schedule interface {
	Next(time.Time) time.Time
}

// Every puts a job of this kind into the queue at the times of the schedule, on
// one node, and once at start, so that what was missed while nothing ran is
// caught up: its worker must find out by itself whether there is something to
// do. With a Memory a job that ran since the last of those times does not come
// again before the next one, whoever starts. It is called before Start.
func (r *Runner) Every(id string, s Schedule, args Args) {
	r.schedules[args.Kind()] = s
	r.periodic = append(r.periodic, river.NewPeriodicJob(s, func() (river.JobArgs, *river.InsertOpts) {
		if ran, err := r.ranAlready(context.Background(), args.Kind(), time.Now()); ran && err == nil {
			return nil, nil
		}
		o := r.insert(args, true)
		o.Tags = []string{bySchedule}
		return args, o
	}, &river.PeriodicJobOpts{ID: id, RunOnStart: true}))
}

// insert says how a job is put in.
func (r *Runner) insert(args Args, unique bool) *river.InsertOpts {
	o := &river.InsertOpts{MaxAttempts: r.options[args.Kind()].MaxAttempts}
	if unique {
		o.UniqueOpts = river.UniqueOpts{ByArgs: true, ByState: waitingStates}
	}
	return o
}

// waitingStates are those of a job that waits or runs.
var waitingStates = []rivertype.JobState{
	rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled,
}

// rescueAfter is how long a job may be running beyond what its kind allows
// before its node is taken for dead, and another goes on with it.
const rescueAfter = 2 * time.Minute

// Start begins to work. Jobs get a context that ends with Stop, not with ctx.
func (r *Runner) Start(ctx context.Context) error {
	if r.cfg.Alone {
		// River would wait for an hour before it believes that they are dead.
		if _, err := r.cfg.DB.ExecContext(ctx, `UPDATE river_job SET state = 'available' WHERE state = 'running'`); err != nil {
			return fmt.Errorf("taking up interrupted jobs: %w", err)
		}
		// A dead process may still be the leader for 15 s, in which nothing would
		// come by schedule.
		if _, err := r.cfg.DB.ExecContext(ctx, `DELETE FROM river_leader`); err != nil {
			return fmt.Errorf("ending the leadership of the last run: %w", err)
		}
	}
	client, err := r.engine.open(&river.Config{
		Queues:       map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: r.cfg.Workers}},
		Workers:      r.workers,
		PeriodicJobs: r.periodic,
		Logger:       quiet(r.cfg.Log),
		// Asking once a second costs less than notifications, which SQLite imitates
		// and poolers of PostgreSQL do not pass on, and nothing here is in a hurry.
		PollOnly:                    true,
		FetchPollInterval:           time.Second,
		JobTimeout:                  time.Minute,
		RescueStuckJobsAfter:        rescueAfter,
		SoftStopTimeout:             r.cfg.Grace,
		CompletedJobRetentionPeriod: 24 * time.Hour,
	})
	if err != nil {
		return fmt.Errorf("setting the job runner up: %w", err)
	}
	r.client = client
	if err := client.start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("starting the job runner: %w", err)
	}
	return nil
}

// Stop lets running jobs finish for a while, then ends their context, and waits
// for them.
func (r *Runner) Stop(ctx context.Context) error {
	if r.client == nil {
		return nil
	}
	if err := r.client.stop(ctx); err != nil {
		return fmt.Errorf("stopping the job runner: %w", err)
	}
	return nil
}

// Enqueue puts a job into the queue in the caller's transaction; it may be
// called before Start. With unique set it does nothing while a job with the
// same arguments waits or runs; where fields of the arguments have the tag
// `river:"unique"`, only those are compared. MaxAttempts comes before that of
// the kind.
//
// On PostgreSQL the context must be that of the store's change (see WithConn).
func (r *Runner) Enqueue(ctx context.Context, tx *sql.Tx, args Args, unique bool, o Options) error {
	return r.put(ctx, tx, args, unique, o)
}

// Add puts a job into the queue in a transaction of its own. It must not be
// called inside another: on SQLite it would wait for ever.
func (r *Runner) Add(ctx context.Context, args Args, unique bool, o Options) error {
	return r.put(ctx, nil, args, unique, o)
}

func (r *Runner) put(ctx context.Context, tx *sql.Tx, args Args, unique bool, o Options) error {
	opts := r.insert(args, unique)
	if o.MaxAttempts != 0 {
		opts.MaxAttempts = o.MaxAttempts
	}
	if err := r.queue.insert(ctx, tx, args, opts); err != nil {
		return fmt.Errorf("queueing a %s job: %w", args.Kind(), err)
	}
	return nil
}
