package main

import (
	"context"

	"smi/internal/app"
)

// tryLogins tries the logins that will be needed soon, unless this is a copy,
// which leaves the logins of the live smi alone.
func (d *daemon) tryLogins(ctx context.Context) error {
	if stopped, err := d.store.Quarantined(ctx); err != nil || stopped {
		return err
	}
	p := app.Prober{Rows: d.store, Clients: d.clients.open, Now: d.now, Log: d.log}
	return p.Run(ctx)
}
