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
	// Next returns the first time of the schedule after a time. See NextRun for
	// one that no change of the clocks can make skip a night.
	Next func(after time.Time) time.Time
	Zone *time.Location // of the workspace
	Now  func() time.Time
	Runs interface {
		PlanNightly(ctx context.Context, workspace social.ID, localDate int, enqueue func(ctx context.Context, tx *sql.Tx, run social.ID) error) (int, error)
	}
	// Enqueue puts the run of one account into the job queue, in the transaction
	// that makes it.
	Enqueue func(ctx context.Context, tx *sql.Tx, run social.ID) error
}

// Plan makes the runs of the latest night that is due. It may be called at any
// time and any number of times: each account has one run a night. Called at
// start, it catches up what was missed; nights before the latest are not made
// up, since networks only say how things stand now, and a run reads the closed
// days before it anyway. It returns how many runs it made.
func (n *Night) Plan(ctx context.Context) (int, error) {
	due := n.lastDue()
	if due.IsZero() {
		return 0, nil
	}
	made, err := n.Runs.PlanNightly(ctx, n.Workspace, social.DateOf(due, n.Zone), n.Enqueue)
	if err != nil {
		return made, fmt.Errorf("planning the night of %s: %w", due.In(n.Zone).Format(time.DateOnly), err)
	}
	return made, nil
}

// lastDue returns the latest scheduled time that is not after now, looking back
// 35 days (a schedule may run monthly).
func (n *Night) lastDue() time.Time {
	now := n.Now()
	var due time.Time
	for at := n.Next(now.Add(-35 * 24 * time.Hour)); !at.IsZero() && !at.After(now); at = n.Next(at) {
		due = at
	}
	return due
}
