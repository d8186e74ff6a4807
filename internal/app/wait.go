package app

import (
	"context"
	"sync"
	"time"
)

// bell wakes everybody who waits for a change.
type bell struct {
	mu sync.Mutex
	ch chan struct{}
}

func (b *bell) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// Observed is called when a delivery changed, by the scheduler's Observe. It
// never blocks.
func (a *App) Observed() { a.changed.ring() }

// WaitPost returns a post as soon as all its deliveries rest (are over or wait
// for a person), or as it is when ctx ends.
func (a *App) WaitPost(ctx context.Context, actor Actor, id string) (Post, error) {
	// The bell rings for changes of this process; the ticker is for those of
	// another node.
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	read := context.WithoutCancel(ctx) // the end of ctx ends the waiting, not the last look
	for {
		rung := a.changed.wait()
		p, err := a.GetPost(read, actor, id)
		if err != nil || p.resting() {
			return p, err
		}
		select {
		case <-rung:
		case <-tick.C:
		case <-ctx.Done():
			return a.GetPost(read, actor, id)
		}
	}
}

// resting says whether nothing of a post will change by itself.
func (p Post) resting() bool {
	for _, d := range p.Deliveries {
		if !d.State.Resting() {
			return false
		}
	}
	return true
}

// Resting says whether nothing of a delivery will change by itself.
func (d Delivery) Resting() bool { return d.State.Resting() }
