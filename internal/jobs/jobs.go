// Package jobs runs work in the background: whatever may safely run twice (the
// nightly sync, token refreshes, notices). It is a narrow door to River, which
// gives durable jobs in the program's own database, retries, uniqueness and one
// leader among many nodes.
//
// Publishing is not a job: see package scheduler.
//
// A job kind is registered with Handle before Start. Jobs are put into the
// queue with Enqueue, inside the transaction that makes them necessary.
package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"
)

// Args is what a job needs to know, stored as JSON. Kind names the work and is
// stored too; it has two letters or more and never changes its meaning.
type Args interface{ Kind() string }

// Config is what a Runner needs.
type Config struct {
	// DB is the writing connection. On SQLite it has one connection, shared with
	// the store.
	DB *sql.DB
	// Alone says that no other process works on this queue: jobs that were
	// running when the last process died are taken up at once.
	Alone   bool
	Workers int // jobs at a time; 8
	Log     *slog.Logger
}

// Runner is the queue and its workers.
type Runner struct {
	cfg      Config
	workers  *river.Workers
	periodic []*river.PeriodicJob
	client   *river.Client[*sql.Tx]
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
	m, err := rivermigrate.New(riversqlite.New(cfg.DB), &rivermigrate.Config{Logger: quiet(cfg.Log)})
	if err != nil {
		return nil, fmt.Errorf("preparing the job tables: %w", err)
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, fmt.Errorf("bringing the job tables up to date: %w", err)
	}
	return &Runner{cfg: cfg, workers: river.NewWorkers()}, nil
}

// quiet keeps River's own chatter out of the log: its warnings stay.
func quiet(log *slog.Logger) *slog.Logger {
	return slog.New(levelHandler{log.Handler()})
}

type levelHandler struct{ slog.Handler }

func (h levelHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

// Options say how jobs of a kind run.
type Options struct {
	Timeout     time.Duration // of one try; 1 minute
	MaxAttempts int           // 0: River's 25, over about three weeks
}

// Handle registers the worker of a job kind. It is called before Start, on every
// node for every kind: River throws away jobs that its leader does not know.
func Handle[T Args](r *Runner, o Options, work func(context.Context, T) error) {
	river.AddWorker(r.workers, &worker[T]{o: o, work: work})
}

type worker[T Args] struct {
	river.WorkerDefaults[T]
	o    Options
	work func(context.Context, T) error
}

func (w *worker[T]) Timeout(*river.Job[T]) time.Duration { return w.o.Timeout }

func (w *worker[T]) Work(ctx context.Context, job *river.Job[T]) error {
	err := w.work(ctx, job.Args)
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
// do. It is called before Start.
func (r *Runner) Every(id string, s Schedule, args Args) {
	r.periodic = append(r.periodic, river.NewPeriodicJob(s, func() (river.JobArgs, *river.InsertOpts) {
		return args, &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: waitingStates}}
	}, &river.PeriodicJobOpts{ID: id, RunOnStart: true}))
}

// waitingStates: one waiting or running job of a kind is enough.
var waitingStates = []rivertype.JobState{
	rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled,
}

// Start begins to work. Jobs get a context that ends with Stop, not with ctx.
func (r *Runner) Start(ctx context.Context) error {
	if r.cfg.Alone {
		// River would wait for an hour before it believes that they are dead.
		if _, err := r.cfg.DB.ExecContext(ctx, `UPDATE river_job SET state = 'available' WHERE state = 'running'`); err != nil {
			return fmt.Errorf("taking up interrupted jobs: %w", err)
		}
	}
	client, err := river.NewClient(riversqlite.New(r.cfg.DB), &river.Config{
		Queues:       map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: r.cfg.Workers}},
		Workers:      r.workers,
		PeriodicJobs: r.periodic,
		Logger:       quiet(r.cfg.Log),
		// One process, one connection: asking once a second costs less than
		// imitated notifications, and nothing here is in a hurry.
		PollOnly:                    true,
		FetchPollInterval:           time.Second,
		JobTimeout:                  time.Minute,
		RescueStuckJobsAfter:        time.Hour,
		SoftStopTimeout:             20 * time.Second,
		CompletedJobRetentionPeriod: 24 * time.Hour,
	})
	if err != nil {
		return fmt.Errorf("setting the job runner up: %w", err)
	}
	r.client = client
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
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
	if err := r.client.Stop(ctx); err != nil {
		return fmt.Errorf("stopping the job runner: %w", err)
	}
	return nil
}

// Enqueue puts a job into the queue in the caller's transaction. It is called
// after Start. With unique set it does nothing while a job with the same
// arguments waits or runs.
func (r *Runner) Enqueue(ctx context.Context, tx *sql.Tx, args Args, unique bool, o Options) error {
	opts := &river.InsertOpts{MaxAttempts: o.MaxAttempts}
	if unique {
		opts.UniqueOpts = river.UniqueOpts{ByArgs: true, ByState: waitingStates}
	}
	if _, err := r.client.InsertTx(ctx, tx, args, opts); err != nil {
		return fmt.Errorf("queueing a %s job: %w", args.Kind(), err)
	}
	return nil
}
