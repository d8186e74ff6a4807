package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"smi/config"
	"smi/connectors"
	"smi/connectors/fake"
	"smi/internal/social"
	"smi/scheduler"
	"smi/store"
	"smi/store/storetest"
)

// A post that found no room says so, waits without writing to the disk, and
// goes out within ten seconds of there being room. The log has one line for
// each.
func TestPostsWaitForRoomOnTheDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := func() time.Time { return time.Now().AddDate(26, 10, 0).UTC() } // bubbles begin in 2000
		dir := t.TempDir()
		cfg, err := config.Parse("config.yaml", fmt.Appendf(nil, "data_dir: %q\nkey_file: %q\n", dir, filepath.Join(t.TempDir(), "k")), &connectors.Registry{})
		if err != nil {
			t.Fatal(err)
		}
		db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(dir, "smi.db"), Now: now, BallastBytes: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close() //nolint:errcheck // nothing is read after
		var log bytes.Buffer
		d := &daemon{cfg: config.NewHolder(cfg, nil), store: db, now: now, log: slog.New(slog.NewTextHandler(&log, nil))}
		var free atomic.Int64
		gate := &diskGate{Ledger: db, d: d, free: func(string) (int64, error) { return free.Load(), nil }}
		network := fake.New(fake.Options{Now: now})
		var mu sync.Mutex
		var events []scheduler.Event
		s := scheduler.New(scheduler.Config{
			Ledger: gate, IDs: &social.IDs{}, Node: "node", Alone: true, Now: now, Media: fake.Files{},
			Clients: func(_ context.Context, a social.Account) (*connectors.Client, error) {
				return connectors.Open(network, a, network.Account(a.RemoteID).Credentials())
			},
			Observe: func(e scheduler.Event) {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, e)
			},
		})
		seeds := storetest.Seed(t, db)
		ws := seeds.Workspace()
		a := seeds.Account(ws.ID)
		network.AddAccount(a.RemoteID, "owner")
		due := now().Add(5 * time.Second)
		row := seeds.Delivery(seeds.Post(ws.ID, due, social.Part{Role: social.RoleBody, Text: "hello"}), a)
		seeds.Exec(`UPDATE delivery SET next_at = $1`, due.UnixMilli())
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()

		<-time.After(40 * time.Second)
		synctest.Wait()
		state := seeds.Text(`SELECT state || ': ' || reason FROM delivery WHERE id = $1`, int64(row.ID))
		if want := "waiting: Only 0 MiB are free in " + dir + ": it waits, and goes on by itself when 50 MiB are free there."; state != want {
			t.Errorf("the delivery is %q, want %q", state, want)
		}
		mu.Lock()
		if len(events) > 3 {
			t.Errorf("%d changes were written while the disk was full, want a few: %+v", len(events), events)
		}
		mu.Unlock()
		if got := seeds.Text(`SELECT COUNT(*) FROM outbox WHERE kind = 'disk_low'`); got != "1" {
			t.Errorf("people were told %s times, want once", got)
		}

		free.Store(60 << 20)
		<-time.After(10 * time.Second)
		synctest.Wait()
		if state := seeds.Text(`SELECT state FROM delivery WHERE id = $1`, int64(row.ID)); state != string(social.Published) {
			t.Errorf("ten seconds after there was room the delivery is %s, want it published", state)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		for _, line := range []string{"the disk is nearly full; posts wait until there is room", "there is room on the disk again; publishing goes on"} {
			if n := strings.Count(log.String(), line); n != 1 {
				t.Errorf("the log says %d times %q, want once:\n%s", n, line, log.String())
			}
		}
	})
}
