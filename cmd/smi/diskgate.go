package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"smi/internal/social"
	"smi/scheduler"
)

// diskGate keeps posts from being armed while the disk is nearly full: what is
// left is for the outcomes of what is on the wire. They wait and go out when
// there is room; people are told once.
type diskGate struct {
	scheduler.Ledger
	d *daemon

	mu      sync.Mutex
	checked time.Time
	low     string // why nothing is armed; "" while there is room
}

// diskCheckEvery is how old an answer about free space may be.
const diskCheckEvery = 5 * time.Second

// diskAgain is when a delivery that found no room is looked at again.
const diskAgain = time.Minute

// Arm implements scheduler.Ledger.
func (g *diskGate) Arm(ctx context.Context, r scheduler.ArmRequest) (scheduler.Attempt, error) {
	if low := g.full(ctx, r.Now); low != "" {
		return scheduler.Attempt{}, &scheduler.Refusal{Gate: scheduler.GateBudget, Until: r.Now.Add(diskAgain), Text: low}
	}
	return g.Ledger.Arm(ctx, r)
}

// full says why nothing may be armed, "" if there is room.
func (g *diskGate) full(ctx context.Context, now time.Time) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.checked).Abs() < diskCheckEvery {
		return g.low
	}
	g.checked = now
	cfg := g.d.cfg.Current()
	free, err := freeSpace(cfg.DataDir)
	was := g.low
	g.low = ""
	if err == nil && free < int64(cfg.Disk.StopPublish) {
		g.low = fmt.Sprintf("Only %s are free in %s; free space there, then it goes on by itself.", megabytes(free), cfg.DataDir)
	}
	if g.low != "" && was == "" {
		g.d.log.Error("the disk is nearly full; nothing is published", "data_dir", cfg.DataDir, "free", free)
		if err := g.d.store.Tell(ctx, social.ID(0), scheduler.Notice{Kind: "disk_low", Severity: "alarm", Text: "Posts wait because the disk is nearly full. " + g.low}); err != nil {
			g.d.log.Error("telling people about the disk", "err", err)
		}
	}
	return g.low
}
