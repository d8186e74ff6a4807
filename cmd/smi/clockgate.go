package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"smi/internal/app"
	"smi/internal/clock"
	"smi/internal/social"
	"smi/scheduler"
)

// clockGate keeps posts from being armed while the clock is in doubt. Where the
// time is known all the same they say why they wait; where it is not, nothing is
// even looked at, because what was decided would be wrong. It goes on by itself
// when the clock is right again, or when a person says that it is.
type clockGate struct {
	scheduler.Ledger
	d     *daemon
	watch *clock.Watch
	boot  string // id of the machine's boot

	mu      sync.Mutex
	doubted bool      // people were told of a doubt that is not over
	alarmed bool      // people were told that networks say another time
	nothing time.Time // when a claim last found nothing, while in doubt
}

const (
	// clockAgain is when a delivery that found the clock in doubt is due again. It
	// is due earlier when the doubt is over.
	clockAgain = time.Minute
	// clockPause is how long nothing is claimed after there was nothing but what
	// waits.
	clockPause = time.Second
	// clockEvery is how often the clock is looked at when nothing is due.
	clockEvery = 10 * time.Second
	// clockWaits begins the reason of what waits for the clock.
	clockWaits = "The clock is in doubt: "
	clockCure  = "Set the clock right, or run smi clock confirm if it is right now."
)

// whileDoubted are the states of what is claimed while the clock is in doubt and
// the time is known: what may be on the wire, and what is new, to be told why it
// waits.
var whileDoubted = []social.DeliveryState{social.Armed, social.Ambiguous, social.Scheduled, social.Claimed, social.Ready}

// openClock goes on from what the process before knew of the clock.
func (d *daemon) openClock(ctx context.Context, boot string, newest time.Time) error {
	text, err := d.store.ClockState(ctx)
	if err != nil {
		return err
	}
	var s clock.State
	if text != "" {
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			return fmt.Errorf("reading the state of the clock: %w", err)
		}
	}
	d.watch.Resume(s, boot, newest)
	return nil
}

// Arm implements scheduler.Ledger.
func (g *clockGate) Arm(ctx context.Context, r scheduler.ArmRequest) (scheduler.Attempt, error) {
	if doubt := g.look(ctx); doubt != nil {
		return scheduler.Attempt{}, &scheduler.Refusal{Gate: scheduler.GateClock, Until: r.Now.Add(clockAgain), Text: clockWaits + doubt.Text + ". " + clockCure}
	}
	return g.Ledger.Arm(ctx, r)
}

// NextDue implements scheduler.Ledger.
func (g *clockGate) NextDue(ctx context.Context) (time.Time, error) {
	doubt := g.look(ctx)
	if doubt != nil && !doubt.Steady {
		return time.Time{}, nil
	}
	next, err := g.Ledger.NextDue(ctx)
	if err != nil || doubt == nil || next.IsZero() {
		return next, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if hold := g.nothing.Add(clockPause); next.Before(hold) {
		return hold, nil
	}
	return next, nil
}

// Claim implements scheduler.Ledger.
func (g *clockGate) Claim(ctx context.Context, r scheduler.ClaimRequest) ([]scheduler.Work, error) {
	doubt := g.look(ctx)
	switch {
	case doubt == nil:
		return g.Ledger.Claim(ctx, r)
	case !doubt.Steady:
		return nil, nil
	case len(r.States) == 0:
		r.States = whileDoubted
	default:
		r.States = slices.DeleteFunc(slices.Clone(r.States), func(s social.DeliveryState) bool { return !slices.Contains(whileDoubted, s) })
	}
	works, err := g.Ledger.Claim(ctx, r)
	if err == nil && len(works) == 0 {
		g.mu.Lock()
		g.nothing = g.d.now()
		g.mu.Unlock()
	}
	return works, err
}

// look returns the doubt, and tells people when one begins. When it is over,
// what waited goes on.
func (g *clockGate) look(ctx context.Context) *clock.Doubt {
	doubt := g.watch.Doubt()
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case doubt != nil && !g.doubted:
		n := &scheduler.Notice{Kind: "clock", Severity: "alarm", Text: "Nothing is published because the clock is in doubt: " + doubt.Text + ". " + clockCure}
		if err := g.keep(ctx, n); err != nil {
			g.d.log.Error("telling people about the clock failed; trying again", "err", err)
			break
		}
		g.doubted = true
		g.d.log.Error("the clock is in doubt; nothing is sent until it is right", "why", doubt.Text)
	case doubt == nil && g.doubted:
		if err := g.right(ctx, "smi"); err != nil {
			g.d.log.Error("going on by the clock failed; trying again", "err", err)
		}
	}
	return doubt
}

// right ends a doubt.
func (g *clockGate) right(ctx context.Context, actor string) error {
	state, err := json.Marshal(g.watch.State(g.boot))
	if err != nil {
		return err
	}
	if err := g.d.store.ClockRight(ctx, string(state), clockWaits, actor); err != nil {
		return err
	}
	g.doubted, g.nothing = false, time.Time{}
	g.d.log.Info("the clock is trusted again; publishing goes on", "time", g.d.now().UTC(), "by", actor)
	if g.d.scheduler != nil {
		g.d.scheduler.Wake()
	}
	return nil
}

// keep stores what is known of the clock, for the next start.
func (g *clockGate) keep(ctx context.Context, n *scheduler.Notice) error {
	state, err := json.Marshal(g.watch.State(g.boot))
	if err != nil {
		return err
	}
	return g.d.store.KeepClock(ctx, string(state), n)
}

// keepUp looks at the clock until ctx ends, whether anything is due or not.
func (g *clockGate) keepUp(ctx context.Context) {
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		g.look(ctx)
		g.alarm(ctx)
		if n%6 == 0 { // once a minute
			g.watch.Settle()
			if err := g.keep(ctx, nil); err != nil && ctx.Err() == nil {
				g.d.log.Error("keeping the state of the clock failed; trying again", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// alarm tells people once that the networks' time is another.
func (g *clockGate) alarm(ctx context.Context) {
	text := g.watch.Alarm()
	g.mu.Lock()
	defer g.mu.Unlock()
	if text == "" || g.alarmed {
		g.alarmed = g.alarmed && text != ""
		return
	}
	if err := g.d.store.Tell(ctx, social.ID(0), scheduler.Notice{Kind: "clock", Severity: "alarm", Text: text}); err != nil {
		g.d.log.Error("telling people about the clock failed; trying again", "err", err)
		return
	}
	g.alarmed = true
	g.d.log.Warn("the networks say another time", "text", text)
}

// State implements app.Clock.
func (g *clockGate) State() app.ClockState {
	s := app.ClockState{Now: g.d.now().UTC(), Machine: g.d.wall().UTC(), Trusted: true, Text: g.watch.Alarm()}
	if doubt := g.watch.Doubt(); doubt != nil {
		s.Trusted, s.Text = false, "Nothing is published: "+doubt.Text+". "+clockCure
	}
	return s
}

// Confirm implements app.Clock.
func (g *clockGate) Confirm(ctx context.Context, actor string) error {
	if g.watch.Doubt() == nil && g.watch.Alarm() == "" {
		return social.Errorf(social.CodeConflict, "", "the clock is not in doubt; there is nothing to confirm")
	}
	kept, wrote, err := g.d.store.Mark(ctx)
	if err != nil {
		return err
	}
	if kept.At.After(wrote) {
		wrote = kept.At
	}
	g.watch.Confirm(wrote)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.right(ctx, actor)
}

// checkClock is doctor's question about the time.
func (d *daemon) checkClock(context.Context) app.CheckResult {
	switch s := d.clock.State(); {
	case !s.Trusted:
		return broken("%s", s.Text)
	case s.Text != "":
		return warn("%s", s.Text)
	default:
		return fine("%s, and it was not set by more than %s", s.Now.Format(time.RFC3339), clock.Jump)
	}
}
