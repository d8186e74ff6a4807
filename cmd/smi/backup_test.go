package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"smi/config"
	"smi/connectors"
	"smi/internal/app"
	"smi/store"
)

// TestScheduledBackups: a backup by schedule is made, proved and remembered, old
// ones of this instance go, a failure is told as an alarm, and doctor says when
// there was none for too long.
func TestScheduledBackups(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	to := filepath.Join(root, "nightly")
	text := fmt.Sprintf("data_dir: %q\nkey_file: %q\ndisk: {refuse_media_below: 1KiB, stop_publishing_below: 1KiB}\nbackup: {to: %q, keep: 2, keep_weekly: 0}\n",
		filepath.Join(root, "data"), filepath.Join(root, "k"), to)
	cfg, err := config.Parse("config.yaml", []byte(text), &connectors.Registry{})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 20, 3, 15, 0, 0, time.UTC)
	now := func() time.Time { return at }
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(root, "data", store.DatabaseName), Now: now, BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() }) //nolint:errcheck // nothing is read after
	d := &daemon{cfg: config.NewHolder(cfg, nil), store: db, now: now, log: slog.New(slog.DiscardHandler), app: app.New(app.Config{Now: now})}
	d.backups = &maker{source: db, cfg: d.cfg.Current, now: now, version: "test"}

	if r := d.checkBackup(t.Context()); r.Verdict != app.Fine || !strings.Contains(r.Text, "the first backup") {
		t.Errorf("before the first: %+v", r)
	}
	foreign := filepath.Join(to, "smi-000000000000-20260101T000000Z.backup.tar.gz")
	for i := range 4 {
		if err := d.backUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if err := os.WriteFile(foreign, []byte("another instance's"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		at = at.AddDate(0, 0, 1)
	}
	l, err := d.backups.List(t.Context(), "")
	if err != nil || len(l.Backups) != 3 || !l.Backups[0].Own || !l.Backups[1].Own || l.Backups[2].Own {
		t.Errorf("there are %+v, %v", l.Backups, err)
	}
	if r := d.checkBackup(t.Context()); r.Verdict != app.Fine || !strings.Contains(r.Text, "2026-11-23") {
		t.Errorf("after the last: %+v", r)
	}
	at = at.AddDate(0, 0, 2)
	if r := d.checkBackup(t.Context()); r.Verdict != app.Warning || !strings.Contains(r.Text, "one is due each 24h") {
		t.Errorf("after too long: %+v", r)
	}

	// The disk is gone: a file is where the folder was.
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.backUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	told, err := db.Unsent(t.Context(), 10)
	if err != nil || len(told) != 1 || told[0].Kind != "backup_failed" || told[0].Severity != "alarm" || !strings.Contains(told[0].Text, "cannot be made") {
		t.Errorf("told: %+v, %v", told, err)
	}
}
