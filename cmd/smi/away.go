package main

import (
	"context"
	"time"

	"smi/internal/social"
	"smi/scheduler"
	"smi/store"
)

// away says how an absence is reported: with the rules for late posts that are in
// force, and the nights on the wall clock of the first workspace.
func (d *daemon) away(ctx context.Context) store.Away {
	cfg := d.cfg.Current()
	o := store.Away{Least: awayTime, Grace: cfg.Publish.Grace, HoldUntil: cfg.Publish.HoldUntil}
	all, err := d.store.Workspaces(ctx)
	if err != nil || len(all) == 0 || !cfg.Sync.Enabled {
		return o
	}
	if zone, err := social.LoadZone(all[0].Zone); err == nil {
		o.Nights = func(from, to time.Time) int {
			return len(scheduler.RunsBetween(cfg.Sync.Cron.Schedule, zone, from, to))
		}
	}
	return o
}
