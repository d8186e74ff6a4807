package main

import (
	"cmp"
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"smi/config"
	"smi/internal/app"
	"smi/internal/bucket"
	"smi/internal/clock"
	"smi/internal/credentials"
	"smi/internal/media"
	"smi/internal/obs"
	"smi/store"
)

// doctorAlone checks an installation in which no daemon answers. It opens the
// database for reading only, and so that no daemon can start meanwhile.
func (c *cli) doctorAlone(ctx context.Context, full bool, why error) app.Report {
	d := &daemon{now: time.Now, wall: time.Now, log: slog.New(slog.DiscardHandler), redactor: obs.NewRedactor(), boot: clock.NewBoot(), load: c.load, version: version}
	checks := []app.Check{{Name: "config", Run: func(context.Context) app.CheckResult {
		cfg, err := c.load()
		if err != nil {
			return broken("%s", oneLine(err.Error()))
		}
		d.cfg = config.NewHolder(cfg, c.load)
		return fine("read, without a mistake")
	}}}
	r := app.Examine(ctx, checks, full, time.Now())
	if !r.OK {
		return r
	}
	alone := warn("no daemon answers (%s). The database was opened for reading only; what only a running smi knows is left out", why)
	if err := d.openToLook(ctx); err != nil {
		alone = broken("%s. The database was not looked at: %s", why, oneLine(err.Error()))
		checks = []app.Check{{Name: "disk", Run: d.checkDisk}}
	} else {
		defer d.close() //nolint:errcheck // nothing was written
		checks = []app.Check{
			{Name: "database", Run: d.checkDatabase},
			d.invariantsCheck(!d.store.Shared()),
			{Name: "key", Run: d.checkKeyAlone},
			{Name: "disk", Run: d.checkDisk},
			{Name: "clock", Run: d.checkClockAlone},
			{Name: "instance", Run: d.checkInstance},
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
	rest := app.Examine(ctx, append([]app.Check{{Name: "daemon", Run: func(context.Context) app.CheckResult { return alone }}}, checks...), full, time.Now())
	r.OK, r.Checks = rest.OK, append(r.Checks, rest.Checks...)
	return r
}

// openToLook opens what can be looked at without a running daemon.
func (d *daemon) openToLook(ctx context.Context) error {
	cfg := d.cfg.Current()
	o := store.Options{Path: filepath.Join(cfg.DataDir, store.DatabaseName), Version: d.version}
	if url := cfg.Database.URL.Reveal(); url != "" {
		o = store.Options{URL: url, Node: "doctor", Connections: 2, Boot: d.boot.Now, Version: d.version}
	}
	var err error
	if d.store, err = store.OpenToLook(ctx, o); err != nil {
		return err
	}
	var b *bucket.Bucket
	if b, err = mediaBucket(ctx, cfg); err != nil {
		return err
	}
	if files, err := media.OpenToLook(mediaDir(cfg), b); err == nil {
		d.media = &mediaStore{Store: files}
	}
	return d.openTelling(cfg, d.version)
}

// checkKeyAlone loads the key first.
func (d *daemon) checkKeyAlone(ctx context.Context) app.CheckResult {
	var err error
	if d.keys, err = loadKey(d.cfg.Current()); err != nil {
		return broken("%s", oneLine(err.Error()))
	}
	instance, err := d.store.InstanceID(ctx)
	if err == nil {
		d.creds, err = credentials.New(credentials.Config{Store: d.store, Keyring: d.keys, Instance: instance, Node: cmp.Or(d.node, "doctor"), Now: d.now, Log: d.log})
	}
	if err != nil {
		return broken("%v", err)
	}
	return d.checkKey(ctx)
}

// checkClockAlone compares the time with what the database remembers: without a
// daemon no network was asked.
func (d *daemon) checkClockAlone(ctx context.Context) app.CheckResult {
	last, err := d.store.LastWrite(ctx)
	if err != nil {
		return broken("%v", err)
	}
	if ahead := last.Sub(d.now()); ahead > clock.Jump {
		return broken("the clock says %s, but smi last wrote at %s; set the clock right before you start smi", at(d.now(), "UTC"), at(last, "UTC"))
	}
	return fine("%s, and smi last wrote at %s", d.now().UTC().Format(time.RFC3339), last.Format(time.RFC3339))
}
