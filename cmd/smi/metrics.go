package main

import (
	"context"
	"time"

	"smi/connectors"
	"smi/internal/monitor"
	"smi/internal/notify"
	"smi/internal/social"
	"smi/scheduler"
)

// newMetrics makes the metrics of this process. They are asked only when the
// rest of it is there.
func (d *daemon) newMetrics(r *connectors.Registry) *monitor.Metrics {
	var networks []social.Network
	for _, n := range r.Names() {
		networks = append(networks, social.Network(n))
	}
	return monitor.New(monitor.Config{
		Version: d.version, Networks: networks, Log: d.log, Stock: d.stock, Facts: d.facts,
		Now: func() time.Time { return d.now() }, // a shared database brings its own clock
	})
}

// stock is what the database holds.
func (d *daemon) stock(ctx context.Context) (monitor.Stock, error) {
	s, err := d.store.Stock(ctx)
	if err != nil {
		return monitor.Stock{}, err
	}
	last, err := d.lastBackup(ctx)
	return monitor.Stock{Stock: s, Backup: last}, err
}

// facts are what this process knows of itself.
func (d *daemon) facts() monitor.Facts {
	cfg := d.cfg.Current()
	f := monitor.Facts{
		Dispatching: d.dispatching.Load(), Busy: d.scheduler.Busy(), ClockDoubt: d.watch.Doubt() != nil,
		Channels: map[string]bool{}, Budgets: map[monitor.Budget]int{}, DiskFree: -1, DiskNeeded: int64(cfg.Disk.StopPublish),
		SyncOn: cfg.Sync.Enabled, BackupOn: cfg.Backup.To != "",
	}
	for _, c := range d.notices.Health() {
		f.Channels[c.Channel] = c.State == notify.Down
	}
	if free, err := freeSpace(cfg.DataDir); err == nil {
		f.DiskFree = free
	}
	for _, p := range d.platforms.All() {
		about := p.Describe()
		for _, b := range about.Budgets {
			if b.Cost > 0 {
				f.Budgets[monitor.Budget{Network: about.Network, Endpoint: b.Endpoint, Window: b.Window}] = scheduler.Usable(b)
			}
		}
	}
	return f
}

// changeOf is what is counted of a change of a delivery.
func changeOf(e scheduler.Event) monitor.Change {
	return monitor.Change{
		Network: e.Network, From: e.From, State: e.State, Attempt: string(e.Attempt),
		First: e.Step == 1, Late: e.FirstByte.Sub(e.Planned), Written: !e.FirstByte.IsZero(),
	}
}
