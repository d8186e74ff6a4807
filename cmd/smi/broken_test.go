package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"smi/config"
	"smi/connectors"
	"smi/internal/keyring"
	"smi/store"
	"smi/store/storetest"
)

// A database that cannot be written any more ends the daemon with an error, so
// that whoever started it starts it again: a daemon that stays would publish
// nothing and look alive.
func TestBrokenStoreEndsTheDaemon(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "smi") //nolint:usetesting // short: the path of a socket is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) //nolint:errcheck // a folder that stays does no harm
	data, key := filepath.Join(dir, "data"), filepath.Join(dir, "key", "smi.keyset")
	if _, err := keyring.Init(key, data); err != nil {
		t.Fatal(err)
	}
	damage(t, filepath.Join(data, "smi.db"), "limit_block")
	registry := &connectors.Registry{}
	d, err := newDaemon(t.Context(), daemonOptions{
		Load: func() (*config.Config, error) {
			return config.Parse("config.yaml", fmt.Appendf(nil, "data_dir: %q\nkey_file: %q\n", data, key), registry)
		},
		Registry: registry, Version: "test", Log: &bytes.Buffer{},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	// A claim that an earlier life left behind shows when the scheduler runs.
	seeds := storetest.Seed(t, d.store)
	ws := seeds.Workspace()
	seeds.Delivery(seeds.Post(ws.ID, time.Now().Add(time.Hour)), seeds.Account(ws.ID))
	seeds.Exec(`UPDATE delivery SET owner = 'gone', lease_until = 1, next_at = $1`, time.Now().Add(time.Hour).UnixMilli())
	go func() { ended <- d.run(ctx) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for seeds.Text(`SELECT owner FROM delivery`) != "" {
		select {
		case <-tick.C:
		case err := <-ended:
			t.Fatalf("the daemon ended before it began: %v", err)
		}
	}
	if err := d.store.Block(ctx, "bucket", time.Now()); err == nil {
		t.Error("the damage was not noticed")
	}
	err = <-ended
	if ctx.Err() != nil || err == nil || !strings.Contains(err.Error(), "could not be written") {
		t.Errorf("the daemon ended with %v (%v), want the reason at once", err, ctx.Err())
	}
}

// damage makes a database and writes nonsense over the page of a table.
func damage(t *testing.T, path, table string) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Path: path, BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	var root, size int64
	if err := s.WriterDB().QueryRowContext(t.Context(), `SELECT rootpage FROM sqlite_master WHERE name = $1`, table).Scan(&root); err != nil {
		t.Fatal(err)
	}
	if err := s.WriterDB().QueryRowContext(t.Context(), `PRAGMA page_size`).Scan(&size); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // moves everything into the one file
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte("?"), int(size)), (root-1)*size); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
