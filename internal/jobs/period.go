package jobs

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/riverqueue/river"
)

// Memory keeps short texts by their names: the store's table meta.
type Memory interface {
	Meta(ctx context.Context, key string) (string, error)
	SetMeta(ctx context.Context, key, value string) error
}

// bySchedule is the tag of a job that came by schedule.
const bySchedule = "schedule"

// early is how long before a time of a schedule a job may come that is meant for
// it: nodes do not agree about the time to the last millisecond.
const early = 2 * time.Second

// ranKey is under which name the memory has when a kind ran last.
func ranKey(kind string) string { return "job_ran:" + kind }

// ranAlready says whether a kind has run in the period of a time: when there is
// no time of its schedule between the last run and this one.
func (r *Runner) ranAlready(ctx context.Context, kind string, now time.Time) (bool, error) {
	s := r.schedules[kind]
	if r.cfg.Memory == nil || s == nil {
		return false, nil
	}
	text, err := r.cfg.Memory.Meta(ctx, ranKey(kind))
	if err != nil || text == "" {
		return false, err
	}
	last, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return false, nil //nolint:nilerr // as if it had never run
	}
	return s.Next(last.Add(early)).After(now.Add(early)), nil
}

// once works on a job, unless it came by schedule and another of its kind has run
// in the same period: a leader that was cut off puts in what the next one did.
func (w *worker[T]) once(ctx context.Context, job *river.Job[T]) error {
	if w.r.cfg.Memory == nil || !slices.Contains(job.Tags, bySchedule) {
		return w.work(ctx, job.Args)
	}
	if ran, err := w.r.ranAlready(ctx, job.Kind, job.CreatedAt); err != nil || ran {
		return err
	}
	if err := w.work(ctx, job.Args); err != nil {
		return err
	}
	if err := w.r.cfg.Memory.SetMeta(ctx, ranKey(job.Kind), job.CreatedAt.UTC().Format(time.RFC3339Nano)); err != nil {
		return fmt.Errorf("keeping that %s ran: %w", job.Kind, err)
	}
	return nil
}
