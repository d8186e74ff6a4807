package scheduler

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"smi/internal/social"
)

// Night plans the nightly reading of a workspace's accounts.
type Night struct {
	Workspace social.ID
	// Due returns the nights of the schedule after from, up to to: see
	// RunsBetween, which no change of the clocks makes skip one.
	Due  func(from, to time.Time) []Run
	Now  func() time.Time
	Runs interface {
		PlanNightly(ctx context.Context, workspace social.ID, localDate int, enqueue func(ctx context.Context, tx *sql.Tx, run social.ID) error) (int, error)
		RequeueSyncs(ctx context.Context, enqueue func(ctx context.Context, tx *sql.Tx, run social.ID) error) (int, error)
	}
	// Enqueue puts the run of one account into the job queue, in the transaction
	// that makes it. It does nothing for a run that is in the queue already.
	Enqueue func(ctx context.Context, tx *sql.Tx, run social.ID) error
}

// Plan makes the runs of the latest night that is due. It may be called at any
// time and any number of times: each account has one run a night. Called at
// start, it catches up what was missed; nights before the latest are not made
// up, since networks only say how things stand now, and a run reads the closed
// days before it anyway. It returns how many runs it made.
func (n *Night) Plan(ctx context.Context) (int, error) {
	now := n.Now()
	due := n.Due(now.Add(-lookForNight), now)
	if len(due) == 0 {
		return 0, nil
	}
	night := due[len(due)-1].Date
	made, err := n.Runs.PlanNightly(ctx, n.Workspace, night, n.Enqueue)
	if err != nil {
		return made, fmt.Errorf("planning the night of %s: %w", social.DayStart(night).Format(time.DateOnly), err)
	}
	return made, nil
}

// Resume puts every run that has not ended into the queue, in case its job was
// lost: a run never stays open in silence. It may be called at any time. It
// returns how many runs are open.
func (n *Night) Resume(ctx context.Context) (int, error) {
	open, err := n.Runs.RequeueSyncs(ctx, n.Enqueue)
	if err != nil {
		return open, fmt.Errorf("taking up open sync runs: %w", err)
	}
	return open, nil
}

// lookForNight is how far back a night may be that is caught up: a schedule may
// run once a month.
const lookForNight = 35 * 24 * time.Hour
