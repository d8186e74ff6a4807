package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"smi/internal/social"
	"smi/scheduler"
)

// diskGate keeps posts from being armed while the disk is nearly full: what is
// left is for the outcomes of what is on the wire. They wait and go out within
// seconds when there is room; people are told once.
type diskGate struct {
	scheduler.Ledger
	d    *daemon
	free func(dir string) (int64, error) // nil: freeSpace

	mu      sync.Mutex
	checked time.Time
	low     string    // why nothing is armed; "" while there is room
	told    bool      // the notice about it is stored
	nothing time.Time // when a claim last found nothing, while the disk is full
}

const (
	// diskCheckEvery is how old an answer about free space may be.
	diskCheckEvery = 3 * time.Second
	// diskAgain is when a delivery that found no room is due again. While the disk
	// is full it is not claimed then either: every turn would write to the disk.
	diskAgain = 5 * time.Second
	// diskPause is how long nothing is claimed after there was nothing but what
	// waits.
	diskPause = time.Second
)

// whileFull are the states of what is claimed while the disk is full: what may be
// on the wire, and what is new, to be told why it waits.
var whileFull = []social.DeliveryState{social.Armed, social.Ambiguous, social.Scheduled, social.Claimed, social.Ready}

// Arm implements scheduler.Ledger.
func (g *diskGate) Arm(ctx context.Context, r scheduler.ArmRequest) (scheduler.Attempt, error) {
	if low := g.full(ctx, r.Now); low != "" {
		return scheduler.Attempt{}, &scheduler.Refusal{Gate: scheduler.GateBudget, Until: r.Now.Add(diskAgain), Text: low}
	}
	return g.Ledger.Arm(ctx, r)
}

// NextDue implements scheduler.Ledger. What waits for room is due all the time.
func (g *diskGate) NextDue(ctx context.Context) (time.Time, error) {
	next, err := g.Ledger.NextDue(ctx)
	if err != nil || !g.stillFull(ctx) || next.IsZero() {
		return next, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if hold := g.nothing.Add(diskPause); next.Before(hold) {
		return hold, nil
	}
	return next, nil
}

// Claim implements scheduler.Ledger.
func (g *diskGate) Claim(ctx context.Context, r scheduler.ClaimRequest) ([]scheduler.Work, error) {
	if !g.stillFull(ctx) {
		return g.Ledger.Claim(ctx, r)
	}
	if len(r.States) == 0 {
		r.States = whileFull
	} else {
		r.States = slices.DeleteFunc(slices.Clone(r.States), func(s social.DeliveryState) bool { return !slices.Contains(whileFull, s) })
	}
	works, err := g.Ledger.Claim(ctx, r)
	if e, ok := errors.AsType[*social.Error](err); ok && e.Code == social.CodeExhausted {
		works, err = nil, nil // not even a claim can be written: that was told already
	}
	if err == nil && len(works) == 0 {
		g.mu.Lock()
		g.nothing = g.d.now()
		g.mu.Unlock()
	}
	return works, err
}

// stillFull says whether the disk was full and is so still.
func (g *diskGate) stillFull(ctx context.Context) bool {
	g.mu.Lock()
	was := g.low
	g.mu.Unlock()
	return was != "" && g.full(ctx, g.d.now()) != ""
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
	ask := g.free
	if ask == nil {
		ask = freeSpace
	}
	free, err := ask(cfg.DataDir)
	was := g.low
	g.low = ""
	if err == nil && free < int64(cfg.Disk.StopPublish) {
		g.low = fmt.Sprintf("Only %s are free in %s: it waits, and goes on by itself when %s are free there.", megabytes(free), cfg.DataDir, megabytes(int64(cfg.Disk.StopPublish)))
	}
	switch {
	case g.low != "" && was == "":
		g.told = false
		g.d.log.Error("the disk is nearly full; posts wait until there is room", "data_dir", cfg.DataDir, "free", megabytes(free), "needed", megabytes(int64(cfg.Disk.StopPublish)))
		g.tell(ctx)
	case g.low != "" && !g.told:
		g.tell(ctx)
	case g.low == "" && was != "":
		g.nothing = time.Time{}
		g.d.log.Info("there is room on the disk again; publishing goes on", "data_dir", cfg.DataDir, "free", megabytes(free))
	}
	return g.low
}

// tell stores the notice. On a disk without any room that fails; it is tried
// again at every look.
func (g *diskGate) tell(ctx context.Context) {
	err := g.d.store.Tell(ctx, social.ID(0), scheduler.Notice{Kind: "disk_low", Severity: "alarm", Text: "Posts wait because the disk is nearly full. " + g.low})
	g.told = err == nil
	if err != nil {
		g.d.log.Debug("telling people about the disk failed; trying again", "err", err)
	}
}

// megabytes writes a size for people, rounded down, always with its unit.
func megabytes(n int64) string {
	if n > 0 && n < 1<<20 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}
