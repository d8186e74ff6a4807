package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"smi/config"
	"smi/internal/app"
	"smi/internal/netguard"
	"smi/internal/notify"
)

// overdueTime is how long something that is due may lie before this node is not
// well.
const overdueTime = 5 * time.Minute

// health says whether this node publishes and can write down what it does.
func (d *daemon) health(ctx context.Context) app.Health {
	h := app.Health{Node: d.node, Version: d.version, Alive: true, Ready: true}
	fail := func(alive bool, text string) {
		h.Ready, h.Alive = false, h.Alive && alive
		h.Problems = append(h.Problems, text)
	}
	if err := d.store.Healthy(); err != nil {
		fail(false, "the database cannot be written any more; see the log")
		return h
	}
	if !d.dispatching.Load() {
		fail(true, "nothing is dispatched: smi is starting or stopping")
	}
	if err := d.store.Beat(ctx); err != nil {
		fail(true, "the database does not take a write; see the log")
		return h
	}
	paused, err := d.store.Paused(ctx)
	h.Paused = paused
	stopped, err2 := d.store.Quarantined(ctx)
	overdue, err3 := d.store.Overdue(ctx, d.now().Add(-overdueTime))
	if errors.Join(err, err2, err3) != nil {
		fail(true, "the database cannot be read; see the log")
		return h
	}
	h.Overdue = overdue
	if stopped {
		fail(true, "in quarantine; see smi status")
	}
	if overdue > 0 {
		fail(true, "posts are overdue and nobody works on them; see smi doctor")
	}
	return h
}

// deadman asks the watcher outside while this node is well, until ctx ends.
func (d *daemon) deadman(ctx context.Context) {
	for ctx.Err() == nil {
		cfg := d.cfg.Current()
		if !cfg.Deadman.URL.Empty() {
			d.ping(ctx, cfg)
		}
		t := time.NewTimer(cfg.Deadman.Every)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// ping asks once. A watcher that hears nothing is what is wanted where smi is
// not well.
func (d *daemon) ping(ctx context.Context, cfg *config.Config) {
	call, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	h := d.health(call)
	url := cfg.Deadman.URL
	if !h.Ready {
		d.log.Warn("the watcher outside is not told that all is well", "why", h.Problems)
		if url = cfg.Deadman.FailURL; url.Empty() {
			return
		}
	}
	guard, err := netguard.New(netguard.Options{AllowPrivate: cfg.AllowPrivate})
	if err != nil {
		return // the configuration was checked
	}
	req, err := http.NewRequestWithContext(call, http.MethodGet, url.Reveal(), http.NoBody)
	if err == nil {
		req.Header.Set("User-Agent", "smi/"+d.version)
		err = notify.Ask(notify.Client(guard.DialContext), req)
	}
	if err != nil && ctx.Err() == nil {
		d.log.Log(ctx, slog.LevelWarn, "the watcher outside cannot be reached", "err", d.redactor.Text(err.Error()))
	}
}
