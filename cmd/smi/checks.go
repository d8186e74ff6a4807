package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"smi/internal/app"
	"smi/internal/social"
	"smi/store"
)

// checks are the questions of doctor.
func (d *daemon) checks() []app.Check {
	return []app.Check{
		{Name: "config", Run: d.checkConfig},
		{Name: "database", Run: d.checkDatabase},
		d.invariantsCheck(false),
		{Name: "key", Run: d.checkKey},
		{Name: "disk", Run: d.checkDisk},
		{Name: "clock", Run: d.checkClock},
		{Name: "instance", Run: d.checkInstance},
		{Name: "nodes", Run: d.checkNodes},
		{Name: "backup", Run: d.checkBackup},
		{Name: "accounts", Run: d.checkAccounts},
		{Name: "callback", Run: d.checkCallback},
		{Name: "posts", Run: d.checkPosts},
		d.mediaCheck(),
		{Name: "public", Run: d.checkPublic},
		{Name: "sync", Run: d.checkSyncs},
		{Name: "notices", Run: d.checkNotices},
	}
}

func fine(format string, args ...any) app.CheckResult {
	return app.CheckResult{Verdict: app.Fine, Text: fmt.Sprintf(format, args...)}
}

func warn(format string, args ...any) app.CheckResult {
	return app.CheckResult{Verdict: app.Warning, Text: fmt.Sprintf(format, args...)}
}

func broken(format string, args ...any) app.CheckResult {
	return app.CheckResult{Verdict: app.Broken, Text: fmt.Sprintf(format, args...)}
}

func (d *daemon) checkDatabase(ctx context.Context) app.CheckResult {
	if err := d.store.Healthy(); err != nil {
		return broken("%v", err)
	}
	said, err := d.store.Integrity(ctx)
	switch {
	case err != nil:
		return broken("the database cannot be checked: %v", err)
	case said != "ok":
		return broken("the database is damaged (%s); stop smi and restore a backup", said)
	}
	if d.store.Shared() {
		return fine("the server answers, and keeps what it acknowledges")
	}
	return fine("whole, and locked against a second daemon")
}

// invariantsCheck asks whether the data is as it must be. stopped says that no
// daemon runs.
func (d *daemon) invariantsCheck(stopped bool) app.Check {
	ask := func(recent bool) func(context.Context) app.CheckResult {
		return func(ctx context.Context) app.CheckResult {
			bad, err := d.store.CheckInvariants(ctx, store.InvariantsOptions{Now: d.now(), Recent: recent, Stopped: stopped})
			switch {
			case err != nil:
				return broken("the invariants cannot be checked: %v", err)
			case len(bad) > 0:
				return broken("%s", strings.Join(bad, "; "))
			case recent:
				return fine("every post rests, waits with a time, or a person was told; no remote post belongs to two (what is open or of the last week; smi doctor --full checks all)")
			}
			return fine("every post there ever was rests, waits with a time, or a person was told; no remote post belongs to two")
		}
	}
	return app.Check{Name: "invariants", Run: ask(true), Full: ask(false)}
}

func (d *daemon) checkKey(ctx context.Context) app.CheckResult {
	instance, err := d.store.InstanceID(ctx)
	if err == nil {
		err = d.keys.Check(ctx, d.store, instance)
	}
	if err != nil {
		return broken("%v", err)
	}
	sealed, err := d.store.SealedGrants(ctx)
	if err != nil {
		return broken("%v", err)
	}
	if bad := d.creds.Unopenable(sealed); len(bad) > 0 {
		return broken("%s cannot be opened with the keys of %s; put the key back that they were sealed with, or connect the accounts again", strings.Join(bad, ", "), d.keys.Source())
	}
	if w := d.keys.Warning(); w != "" {
		return warn("%s", w)
	}
	return fine("%s opens all %d stored logins", d.keys.Source(), len(sealed))
}

func (d *daemon) checkDisk(context.Context) app.CheckResult {
	cfg := d.cfg.Current()
	free, err := freeSpace(cfg.DataDir)
	if errors.Is(err, errors.ErrUnsupported) {
		return warn("free space is not known on this system")
	}
	if err != nil {
		return broken("the disk of %s cannot be asked: %v", cfg.DataDir, err)
	}
	switch {
	case free < int64(cfg.Disk.StopPublish):
		return broken("%s are free in %s; free space there, or posts wait", megabytes(free), cfg.DataDir)
	case free < int64(cfg.Disk.RefuseMedia):
		return warn("%s are free in %s; no media is taken in until there is more", megabytes(free), cfg.DataDir)
	}
	return fine("%s free in %s", megabytes(free), cfg.DataDir)
}

// endsSoon is how early doctor says that a login will end.
const endsSoon = 30 * 24 * time.Hour

func (d *daemon) checkAccounts(ctx context.Context) app.CheckResult {
	all, err := d.store.AllAccounts(ctx)
	if err != nil {
		return broken("the accounts cannot be read: %v", err)
	}
	if len(all) == 0 {
		return warn("no account is connected; connect one with: smi accounts add")
	}
	for _, a := range all {
		if a.Status != social.AccountConnected {
			return broken("%s is %s (%s); connect it again with: smi accounts reconnect %s", app.AccountName(a), a.Status, a.StatusReason, app.AccountName(a))
		}
	}
	ends, err := d.store.Endings(ctx)
	if err != nil {
		return broken("%v", err)
	}
	var soon []string
	for _, e := range ends {
		text := fmt.Sprintf("the login of %s on %s ends at %s", e.Handle, e.Network, at(e.Ends, "UTC"))
		switch {
		case e.Posts > 0:
			soon = append(soon, fmt.Sprintf("%s, and %d posts are planned for later, the first for %s", text, e.Posts, at(e.First, "UTC")))
		case e.Ends.Sub(d.now()) < endsSoon:
			soon = append(soon, text)
		}
	}
	if len(soon) > 0 {
		return warn("%s; smi cannot renew it, so connect the account again before with: smi accounts reconnect ACCOUNT", strings.Join(soon, "; "))
	}
	return fine("%d connected, no login ends within 30 days without being renewed", len(all))
}

func (d *daemon) checkPosts(ctx context.Context) app.CheckResult {
	all, err := d.store.Workspaces(ctx)
	if err != nil {
		return broken("the workspaces cannot be read: %v", err)
	}
	waiting, attention := 0, 0
	for _, w := range all {
		n, _, err := d.store.CountDeliveries(ctx, w.ID)
		if err != nil {
			return broken("the posts cannot be counted: %v", err)
		}
		waiting += n[social.Scheduled] + n[social.Claimed] + n[social.Ready] + n[social.Waiting]
		attention += n[social.NeedsHuman] + n[social.HeldLate] + n[social.Blocked]
	}
	if attention > 0 {
		return warn("%d deliveries wait for a person; see: smi post list --state needs_human,held_late,blocked", attention)
	}
	return fine("%d planned, none waits for a person", waiting)
}

func (d *daemon) checkSyncs(ctx context.Context) app.CheckResult {
	all, err := d.store.Workspaces(ctx)
	if err != nil {
		return broken("the workspaces cannot be read: %v", err)
	}
	for _, w := range all {
		runs, err := d.store.LastSyncs(ctx, w.ID)
		if err != nil {
			return broken("the readings cannot be listed: %v", err)
		}
		for _, r := range runs {
			if r.State == "failed" {
				return warn("the numbers of account %s could not be read (%s); see: smi sync status", r.Account, r.Reason)
			}
		}
	}
	if !d.cfg.Current().Sync.Enabled {
		return warn("the nightly reading is switched off (sync.enabled)")
	}
	return fine("the nightly reading runs at %q", d.cfg.Current().Sync.Cron.Text)
}
