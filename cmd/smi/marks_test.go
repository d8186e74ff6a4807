package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"smi/config"
	"smi/connectors"
	"smi/internal/app"
	"smi/internal/clock"
	"smi/internal/instance"
	"smi/store"
	"smi/store/storetest"
)

// house is an installation whose lives begin and end at will.
type house struct {
	t      *testing.T
	dir    string // of the data
	second string // file of the second mark; "" for none
	now    time.Time
	facts  instance.Facts
	boot   string
	log    bytes.Buffer
}

// start begins a life as newDaemon does.
func (h *house) start() *daemon {
	h.t.Helper()
	text := fmt.Sprintf("data_dir: %q\nkey_file: %q\n", h.dir, filepath.Join(h.t.TempDir(), "k"))
	if h.second != "" {
		text += fmt.Sprintf("instance: {mark: %q}\n", h.second)
	}
	cfg, err := config.Parse("config.yaml", []byte(text), &connectors.Registry{})
	if err != nil {
		h.t.Fatal(err)
	}
	now := func() time.Time { return h.now }
	db, err := store.Open(h.t.Context(), store.Options{Path: filepath.Join(h.dir, "smi.db"), Now: now, BallastBytes: -1})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { db.Close() }) //nolint:errcheck // nothing is read after
	began := h.now
	watch := clock.NewWatch(now, func() time.Duration { return h.now.Sub(began) })
	d := &daemon{cfg: config.NewHolder(cfg, nil), store: db, now: now, watch: watch, log: slog.New(slog.NewTextHandler(&h.log, nil))}
	id, err := db.InstanceID(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	d.marks = newMarks(d, id)
	d.marks.facts, d.marks.boot = h.facts, h.boot
	if err := d.marks.judge(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	return d
}

// kill ends a life without a word.
func (h *house) kill(d *daemon) {
	h.t.Helper()
	if err := d.store.Close(); err != nil {
		h.t.Fatal(err)
	}
}

// stop ends a life in order.
func (h *house) stop(d *daemon) {
	h.t.Helper()
	d.marks.stopped(h.t.Context())
	h.kill(d)
}

// beat lets a minute pass and keeps the marks.
func (h *house) beat(d *daemon) {
	h.t.Helper()
	h.now = h.now.Add(time.Minute)
	if err := d.marks.keep(h.t.Context(), func(*instance.Mark) {}); err != nil {
		h.t.Fatal(err)
	}
}

// copyTo copies the data, as a backup or a snapshot of the disk does.
func (h *house) copyTo(dir string, names ...string) {
	h.t.Helper()
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(h.dir, name))
		if err != nil {
			h.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
}

// wants checks whether the instance is in quarantine, and what people are told.
func (h *house) wants(d *daemon, reason string) {
	h.t.Helper()
	on, err := d.store.Quarantined(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	if on != (reason != "") {
		h.t.Errorf("in quarantine: %v, want %v (%q)\n%s", on, reason != "", reason, h.log.String())
	}
	if reason != "" {
		if told := storetest.Seed(h.t, d.store).Text(`SELECT text FROM outbox WHERE kind = 'quarantine_began' ORDER BY id DESC LIMIT 1`); !strings.Contains(told, reason) {
			h.t.Errorf("people are told %q, want %q in it", told, reason)
		}
	}
	want := map[bool]string{true: "broken", false: "ok"}[on]
	if got := d.checkInstance(h.t.Context()); string(got.Verdict) != want {
		h.t.Errorf("doctor says %+v, want %s", got, want)
	}
}

func newHouse(t *testing.T) *house {
	return &house{
		t: t, dir: t.TempDir(), now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), boot: "b1",
		facts: instance.Facts{Machine: "m1", Path: "/var/lib/smi"},
	}
}

const dbFile = "smi.db"

// Ordinary lives: the first, a restart, a kill, a stop before the machine is
// started anew, a container that is replaced.
func TestMarksLetOrdinaryLivesBe(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.facts.Machine = "" // as in a container
	d := h.start()
	h.wants(d, "")
	h.beat(d)
	h.stop(d)
	d = h.start()
	h.wants(d, "")
	h.kill(d)
	d = h.start()
	h.wants(d, "")
	h.stop(d)
	h.boot = "b2"
	d = h.start()
	h.wants(d, "")
}

// A database that was put back is noticed: alone by the mark beside it, with the
// whole folder by the mark in the second place. It stays in quarantine over
// restarts.
func TestMarksNoticeAnOldDatabase(t *testing.T) {
	t.Parallel()
	for _, whole := range []bool{false, true} {
		t.Run(fmt.Sprintf("whole=%v", whole), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			names := []string{dbFile}
			if whole {
				h.second = filepath.Join(t.TempDir(), "second")
				names = append(names, instance.FileName)
			}
			d := h.start()
			h.beat(d)
			h.stop(d)
			backup := t.TempDir()
			h.copyTo(backup, names...)
			d = h.start()
			h.beat(d)
			h.stop(d)
			h.wants(h.start(), "")
			for _, name := range names {
				if err := os.Rename(filepath.Join(backup, name), filepath.Join(h.dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			os.Remove(filepath.Join(h.dir, dbFile+"-wal")) //nolint:errcheck // it is of the newer one
			os.Remove(filepath.Join(h.dir, dbFile+"-shm")) //nolint:errcheck // it is of the newer one
			h.dir = moved(t, h.dir)                        // the lock of the life above
			d = h.start()
			h.wants(d, "older than what smi did with it: it ends at 2026-11-24 12:01:00 UTC")
			h.stop(d)
			h.wants(h.start(), "older than what smi did")
		})
	}
}

// moved gives a folder another name, under which nobody holds it.
func moved(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "data")
	if err := os.Rename(dir, to); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(to, "smi.lock")); err != nil {
		t.Fatal(err)
	}
	return to
}

// What was armed is in the files seconds later, without a mark of the minute: a
// copy that was made before it is old.
func TestMarksKnowWhatWasArmed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.start()
	backup := t.TempDir()
	if _, err := d.store.WriterDB().ExecContext(t.Context(), `VACUUM INTO '`+filepath.Join(backup, dbFile)+`'`); err != nil {
		t.Fatal(err)
	}
	seeds := storetest.Seed(t, d.store)
	ws := seeds.Workspace()
	row := seeds.Delivery(seeds.Post(ws.ID, h.now), seeds.Account(ws.ID))
	seeds.Exec(`INSERT INTO attempt (id, delivery_id, account_id, step, n, class, epoch, node, armed_at, send_by, takeover_at, token_gen, req_hash, fp, state)
		VALUES ($1, $2, $3, 0, 1, 'unkeyed', 1, 'n', $4, $4, $4, 0, 'h', 'f', 'armed')`, int64(seeds.ID()), int64(row.ID), int64(row.AccountID), h.now.UnixMilli())
	if err := d.marks.afterArming(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.kill(d)
	h.copyTo(backup, instance.FileName)
	h.dir = backup
	h.wants(h.start(), "older than what smi did")
}

// After a machine went down in the middle, what was planned shortly before the
// last mark is held back, and nothing else.
func TestMarksNoticeAnUncleanStop(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.start()
	seeds := storetest.Seed(t, d.store)
	ws := seeds.Workspace()
	a := seeds.Account(ws.ID)
	var want []string
	for _, minute := range []int{-12, -9, 3, 8, 60} {
		row := seeds.Delivery(seeds.Post(ws.ID, h.now.Add(time.Duration(minute)*time.Minute)), a)
		if minute >= -10 && minute <= 5 {
			want = append(want, strconv.FormatInt(int64(row.ID), 10))
		}
	}
	seeds.Exec(`UPDATE delivery SET created_at = 1, state = 'scheduled'`)
	h.kill(d)
	h.boot = "b2"
	h.now = h.now.Add(time.Hour)
	d = h.start()
	if on, err := d.store.Quarantined(t.Context()); on || err != nil {
		t.Errorf("everything is in quarantine (%v)", err)
	}
	if got := storetest.Seed(t, d.store).Text(`SELECT COALESCE(group_concat(delivery_id, ' '), '') FROM (SELECT delivery_id FROM gap_delivery ORDER BY delivery_id) AS held`); got != strings.Join(want, " ") {
		t.Errorf("held back are %q, want %q", got, want)
	}
	if got := d.checkInstance(t.Context()); got.Verdict != app.Warning || !strings.Contains(got.Text, "2 posts wait") {
		t.Errorf("doctor says %+v", got)
	}
}

// A copy on another machine or in another folder, and one whose mark was left
// behind, are noticed; the first start there is the only one that asks.
func TestMarksNoticeACopy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*house)
		names  []string
		says   string
	}{
		"machine": {func(h *house) { h.facts.Machine = "m2" }, []string{dbFile, instance.FileName}, "another machine"},
		"folder":  {func(h *house) { h.facts.Path = "/srv/smi" }, []string{dbFile, instance.FileName}, "the data folder was /var/lib/smi and is /srv/smi"},
		"mark":    {func(*house) {}, []string{dbFile}, "is missing"},
		"nothing": {func(*house) {}, []string{dbFile, instance.FileName}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.stop(h.start())
			to := t.TempDir()
			h.copyTo(to, c.names...)
			h.dir = to
			c.change(h)
			d := h.start()
			h.wants(d, c.says)
			if err := d.store.SetQuarantine(t.Context(), false, "somebody"); err != nil {
				t.Fatal(err)
			}
			h.stop(d)
			h.wants(h.start(), "")
		})
	}
}

// Two copies that run at the same time notice each other by a file that both
// write.
func TestMarksNoticeASecondSmi(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.second = filepath.Join(t.TempDir(), "second")
	h.stop(h.start())
	to := t.TempDir()
	h.copyTo(to, dbFile, instance.FileName)
	a := h.start()
	h.beat(a)
	h.wants(a, "")
	clone := *h
	clone.dir, clone.log = to, bytes.Buffer{}
	b := clone.start()
	clone.wants(b, "older than what smi did") // the file is ahead of it already
	h.beat(a)
	h.wants(a, "Another smi with a copy of this database is running")
}
