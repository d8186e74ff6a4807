package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
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
	if err := d.pulse.feel(ctx, d.store.Beat); err != nil {
		fail(true, "the database does not take a write; see the log")
		return h
	}
	if d.watch.Doubt() != nil {
		fail(true, "the clock is in doubt, and nothing is sent by it; see smi status")
	}
	cfg := d.cfg.Current()
	if free, err := freeSpace(cfg.DataDir); err == nil && free < int64(cfg.Disk.StopPublish) {
		fail(true, "the disk is nearly full, and posts wait for room; see smi doctor")
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

// pulseEvery is for how long one write answers whether the database takes
// writes: a probe each second must not cost a durable write each second. A
// failure that nothing is written after, such as a failed fsync, is known at once
// all the same (Store.Healthy).
const pulseEvery = 15 * time.Second

// pulse says whether the database takes a write, by writing now and then.
type pulse struct {
	mu    sync.Mutex
	good  time.Time     // when the last write began that went well
	err   error         // of the last write
	under chan struct{} // of the write under way; nil: none
}

// feel returns nil if a write that began less than pulseEvery ago went well. One
// that hangs is waited for by all who ask, and no other is begun.
func (p *pulse) feel(ctx context.Context, write func(context.Context) error) error {
	p.mu.Lock()
	if p.under == nil && p.err == nil && !p.good.IsZero() && time.Since(p.good) < pulseEvery {
		p.mu.Unlock()
		return nil
	}
	if p.under == nil {
		p.under = make(chan struct{})
		go p.write(context.WithoutCancel(ctx), write)
	}
	under := p.under
	p.mu.Unlock()
	select {
	case <-under:
	case <-ctx.Done():
		return fmt.Errorf("waiting for a write: %w", ctx.Err())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *pulse) write(ctx context.Context, write func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, pulseEvery)
	defer cancel()
	began := time.Now()
	err := write(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err = err; err == nil {
		p.good = began
	}
	close(p.under)
	p.under = nil
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
