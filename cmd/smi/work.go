package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"smi/config"
	"smi/connectors"
	"smi/internal/app"
	"smi/internal/jobs"
	"smi/internal/social"
	"smi/scheduler"
)

// The kinds of background jobs. They are stored; do not rename them.
type (
	nightArgs struct{}
	syncArgs  struct {
		Run       social.ID `river:"unique"`
		NotBefore time.Time // so that the networks are not asked for everything at once; zero: now
	}
	refreshArgs struct{}
	endsArgs    struct{}
	probeArgs   struct{}
	tidyArgs    struct{}
	zonesArgs   struct{}
)

// Kind names the jobs.
func (nightArgs) Kind() string   { return "plan_night" }
func (syncArgs) Kind() string    { return "sync_account" }
func (refreshArgs) Kind() string { return "refresh_logins" }
func (endsArgs) Kind() string    { return "tell_login_ends" }
func (probeArgs) Kind() string   { return "try_logins" }
func (tidyArgs) Kind() string    { return "tidy" }
func (zonesArgs) Kind() string   { return "apply_zone_rules" }

// every is a schedule with a fixed distance.
type every time.Duration

// Next implements jobs.Schedule.
func (e every) Next(after time.Time) time.Time {
	return after.Truncate(time.Duration(e)).Add(time.Duration(e)) // the same times on every node
}

// nightly is the schedule of the configuration in force, on the wall clock of a
// zone.
type nightly struct {
	cfg  *config.Holder
	zone *time.Location
}

// Next implements jobs.Schedule. Where no night comes, it looks again tomorrow:
// the configuration may have changed.
func (n nightly) Next(after time.Time) time.Time {
	at := scheduler.NextRun(n.cfg.Current().Sync.Cron.Schedule, n.zone, after)
	if tomorrow := after.Add(24 * time.Hour); at.IsZero() || at.After(tomorrow) {
		return tomorrow
	}
	return at
}

// startable registers the background work of the daemon and returns the sync as
// people start it.
func (d *daemon) startable(ctx context.Context, cfg *config.Config, ws social.Workspace) (*syncs, error) {
	work := jobs.Config{DB: d.store.WriterDB(), Postgres: d.store.Pool(), Alone: !d.store.Shared(), Workers: cfg.Sync.Workers, Log: d.log}
	if d.store.Shared() {
		work.Memory, work.Turn = d.store, d.store.Alone
	}
	var err error
	if d.jobs, err = jobs.New(ctx, work); err != nil {
		return nil, err
	}
	zone, err := social.LoadZone(ws.Zone)
	if err != nil {
		return nil, fmt.Errorf("loading the zone of workspace %q: %w", ws.Name, err)
	}
	reader := func() *scheduler.Sync {
		return &scheduler.Sync{Archive: d.store, Clients: d.clients.open, Now: d.now, Log: d.log, LookBack: d.cfg.Current().Sync.LookBack}
	}
	jobs.Handle(d.jobs, jobs.Options{Timeout: cfg.Sync.Timeout}, func(ctx context.Context, a syncArgs) error {
		if wait := a.NotBefore.Sub(d.now()); wait > 0 {
			return jobs.Later(wait)
		}
		again, err := reader().Account(ctx, a.Run)
		if err == nil && again > 0 {
			return jobs.Later(again)
		}
		return err
	})
	s := &syncs{d: d, zone: zone}
	night := &scheduler.Night{
		Workspace: ws.ID, Now: d.now, Runs: d.store, Enqueue: s.spread,
		Due: func(from, to time.Time) []scheduler.Run {
			return scheduler.RunsBetween(d.cfg.Current().Sync.Cron.Schedule, zone, from, to)
		},
	}
	jobs.Handle(d.jobs, jobs.Options{}, func(ctx context.Context, _ nightArgs) error {
		if _, err := night.Resume(ctx); err != nil {
			return err
		}
		if !d.cfg.Current().Sync.Enabled {
			return nil
		}
		_, err := night.Plan(ctx)
		return err
	})
	jobs.Handle(d.jobs, jobs.Options{Timeout: 5 * time.Minute, MaxAttempts: 1}, func(ctx context.Context, _ refreshArgs) error {
		return errors.Join(d.store.Beat(ctx), d.refreshLogins(ctx))
	})
	jobs.Handle(d.jobs, jobs.Options{MaxAttempts: 1}, func(ctx context.Context, _ endsArgs) error { return d.creds.Ends(ctx) })
	jobs.Handle(d.jobs, jobs.Options{Timeout: 4 * time.Minute, MaxAttempts: 1}, func(ctx context.Context, _ probeArgs) error { return d.tryLogins(ctx) })
	jobs.Handle(d.jobs, jobs.Options{Timeout: 10 * time.Minute}, func(ctx context.Context, _ tidyArgs) error { return d.tidy(ctx) })
	jobs.Handle(d.jobs, jobs.Options{Timeout: 10 * time.Minute}, func(ctx context.Context, _ zonesArgs) error {
		n, err := d.store.ApplyZoneRules(ctx)
		if n > 0 {
			d.log.Warn("the rules of a time zone have changed: posts keep their local time and go out at another moment", "posts", n)
		}
		return err
	})
	d.startBackups(zone, version)
	d.jobs.Every("plan_night", nightly{d.cfg, zone}, nightArgs{})
	d.jobs.Every("refresh_logins", every(time.Minute), refreshArgs{})
	d.jobs.Every("tell_login_ends", every(10*time.Minute), endsArgs{})
	d.jobs.Every("try_logins", every(5*time.Minute), probeArgs{})
	d.jobs.Every("tidy", every(24*time.Hour), tidyArgs{})
	d.jobs.Every("apply_zone_rules", every(time.Hour), zonesArgs{})
	return s, nil
}

// refreshLogins renews what is due. One account that cannot be renewed keeps no
// other from it.
func (d *daemon) refreshLogins(ctx context.Context) error {
	due, err := d.creds.Due(ctx)
	if err != nil || len(due) == 0 {
		return err
	}
	accounts, err := d.store.AllAccounts(ctx)
	if err != nil {
		return err
	}
	by := map[social.ID]social.Account{}
	for _, a := range accounts {
		by[a.ID] = a
	}
	var g errgroup.Group
	g.SetLimit(8)
	for _, id := range due {
		a, ok := by[id]
		if !ok {
			continue
		}
		p, err := d.platforms.Platform(a.Network, a.App)
		if err != nil {
			continue // its network is switched off; the login rests
		}
		g.Go(func() error {
			if err := d.creds.Refresh(ctx, id, connectors.JoinOf(p).Renew); err != nil {
				d.log.Warn("a login could not be renewed", "account", app.AccountName(a), "err", err)
			}
			return nil
		})
	}
	return g.Wait()
}

// tidy forgets what is older than the configuration keeps it.
func (d *daemon) tidy(ctx context.Context) error {
	now := d.now()
	_, err := d.store.PurgeKeys(ctx, now.Add(-30*24*time.Hour))
	err = errors.Join(err, d.store.ForgetNodes(ctx, now.Add(-24*time.Hour)))
	keep := d.cfg.Current().Retention
	return errors.Join(err, prune(ctx, d.store.PruneRaw, now, keep.RawAnswers), prune(ctx, d.store.PruneNotices, now, keep.Notices))
}

// prune deletes what is older than it is kept, some at a time, so that nobody
// waits for long; zero keeps everything.
func prune(ctx context.Context, some func(context.Context, time.Time) (int64, error), now time.Time, keep time.Duration) error {
	if keep <= 0 {
		return nil
	}
	for {
		if n, err := some(ctx, now.Add(-keep)); err != nil || n == 0 {
			return err
		}
	}
}

// syncs is the sync as people start it and look at it.
type syncs struct {
	d    *daemon
	zone *time.Location
}

var _ app.Syncs = (*syncs)(nil)

func (s *syncs) enqueue(ctx context.Context, tx *sql.Tx, run social.ID) error {
	return s.d.jobs.Enqueue(ctx, tx, syncArgs{Run: run}, true, jobs.Options{})
}

// spread puts the run of a night into the queue, for some time within the
// jitter of the configuration.
func (s *syncs) spread(ctx context.Context, tx *sql.Tx, run social.ID) error {
	args := syncArgs{Run: run}
	if jitter := s.d.cfg.Current().Sync.Jitter; jitter > 0 {
		args.NotBefore = s.d.now().Add(rand.N(jitter)) //nolint:gosec // it spreads load and hides nothing
	}
	return s.d.jobs.Enqueue(ctx, tx, args, true, jobs.Options{})
}

// Now implements app.Syncs.
func (s *syncs) Now(ctx context.Context, workspace, account social.ID) ([]app.SyncRun, error) {
	accounts, err := s.d.store.Accounts(ctx, workspace, false)
	if err != nil {
		return nil, err
	}
	var wanted []social.ID
	for _, a := range accounts {
		if account != 0 && a.ID != account || a.Status != social.AccountConnected {
			continue
		}
		queued := false
		run, err := s.d.store.PlanSync(ctx, a.ID, social.DateOf(s.d.now(), s.zone), func(ctx context.Context, tx *sql.Tx, run social.ID) error {
			queued = true
			return s.enqueue(ctx, tx, run)
		})
		if err != nil {
			return nil, err
		}
		if !queued {
			if err := s.hurry(ctx, run); err != nil {
				return nil, err
			}
		}
		wanted = append(wanted, run)
	}
	if len(wanted) == 0 {
		return nil, social.Errorf(social.CodeConflict, "account", "no connected account to read; see smi accounts list")
	}
	return s.ByID(ctx, workspace, wanted)
}

// hurry begins a run that waits for its place in the night. Two jobs for one run
// do no harm: the second finds it done.
func (s *syncs) hurry(ctx context.Context, run social.ID) error {
	return s.d.jobs.Add(ctx, syncArgs{Run: run}, false, jobs.Options{})
}

// Runs implements app.Syncs.
func (s *syncs) Runs(ctx context.Context, workspace social.ID) ([]app.SyncRun, error) {
	return shown(s.d.store.LastSyncs(ctx, workspace))
}

// ByID implements app.Syncs.
func (s *syncs) ByID(ctx context.Context, workspace social.ID, ids []social.ID) ([]app.SyncRun, error) {
	return shown(s.d.store.SyncRuns(ctx, workspace, ids...))
}

func shown(runs []scheduler.SyncRun, err error) ([]app.SyncRun, error) {
	if err != nil {
		return nil, err
	}
	var out []app.SyncRun
	for _, r := range runs {
		out = append(out, app.SyncRun{
			ID: r.ID, Account: r.Account, Date: social.DayStart(r.LocalDate).Format(time.DateOnly), State: string(r.State),
			Kind: r.Kind, Next: r.ResumeAt, Values: r.Values, Reason: r.Reason, Started: r.StartedAt, Finished: r.EndedAt,
		})
	}
	return out, nil
}

// figures are the stored numbers as the app shows them.
type figures struct{ d *daemon }

// OfPost implements app.Figures.
func (f figures) OfPost(ctx context.Context, workspace, post social.ID) ([]app.PartNumbers, error) {
	all, err := f.d.store.NumbersOfPost(ctx, workspace, post)
	if err != nil {
		return nil, err
	}
	var out []app.PartNumbers
	for _, n := range all {
		out = append(out, app.PartNumbers{Delivery: n.Delivery, Part: n.Step, URL: n.URL, Read: n.Read, Gone: n.Gone, Totals: n.Numbers})
	}
	return out, nil
}
