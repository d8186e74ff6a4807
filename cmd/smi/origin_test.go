package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"smi/config"
	"smi/connectors"
	"smi/internal/instance"
	"smi/internal/pgtest"
	"smi/internal/social"
	"smi/scheduler"
	"smi/store"
	"smi/store/storetest"
)

// estate is a database on a server and the folder that its nodes share.
type estate struct {
	t     *testing.T
	pg    *pgtest.Server
	url   string
	media string
	log   bytes.Buffer
}

func newEstate(t *testing.T) *estate {
	t.Helper()
	t.Parallel()
	pg := pgtest.Start(t)
	return &estate{t: t, pg: pg, url: pg.Database(t), media: t.TempDir()}
}

// also lets the nodes know the address of another server.
func (e *estate) also(other *pgtest.Server) {
	e.t.Helper()
	u, err := url.Parse(e.url)
	if err != nil {
		e.t.Fatal(err)
	}
	e.url = fmt.Sprintf("postgres://smi@%s,%s%s?sslmode=disable&target_session_attrs=read-write",
		u.Host, net.JoinHostPort(other.Host, strconv.Itoa(other.Port)), u.Path)
}

// start begins the life of a node as newDaemon does.
func (e *estate) start(node string) *daemon {
	e.t.Helper()
	cfg, err := config.Parse("config.yaml", fmt.Appendf(nil, "data_dir: %q\nkey_file: %q\nmedia: {dir: %q}\n", e.t.TempDir(), filepath.Join(e.t.TempDir(), "k"), e.media), &connectors.Registry{})
	if err != nil {
		e.t.Fatal(err)
	}
	db, err := store.Open(e.t.Context(), store.Options{URL: e.url, Node: node, Connections: 4})
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { db.Close() }) //nolint:errcheck // nothing is read after
	d := &daemon{cfg: config.NewHolder(cfg, nil), store: db, node: node, now: db.Now, log: slog.New(slog.NewTextHandler(&e.log, nil))}
	if err := d.openMarks(e.t.Context()); err != nil {
		e.t.Fatal(err)
	}
	return d
}

func (e *estate) stop(d *daemon) {
	e.t.Helper()
	d.marks.stopped(e.t.Context())
	if err := d.store.Close(); err != nil {
		e.t.Fatal(err)
	}
}

// arm arms something, as a node that publishes does.
func (e *estate) arm(d *daemon) error {
	e.t.Helper()
	seeds := storetest.Seed(e.t, d.store)
	ws := seeds.Workspace()
	now := d.now()
	del := seeds.Delivery(seeds.Post(ws.ID, now), seeds.Account(ws.ID))
	seeds.Exec(`UPDATE delivery SET state = 'ready', owner = $1, lease_until = $2, epoch = 1, ver = 1 WHERE id = $3`, d.node, now.Add(time.Hour).UnixMilli(), int64(del.ID))
	_, err := d.store.Arm(e.t.Context(), scheduler.ArmRequest{
		Delivery: del.ID, Epoch: 1, Ver: 1, Attempt: seeds.ID(), N: 1, Node: d.node, Class: connectors.Unkeyed, Now: now, SendBy: now.Add(30 * time.Second),
		TakeoverAt: now.Add(95 * time.Second), TokenGen: 1, RequestHash: "h", Fingerprint: del.ID.String(), ContentHash: del.ContentHash,
	})
	return err
}

// armed arms something and keeps the marks, as a node does shortly after.
func (e *estate) armed(d *daemon) {
	e.t.Helper()
	if err := e.arm(d); err != nil {
		e.t.Fatal(err)
	}
	if err := d.marks.afterArming(e.t.Context()); err != nil {
		e.t.Fatal(err)
	}
}

// back waits until the server answers again on whatever connections there were.
func (e *estate) back(d *daemon) {
	e.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(30 * time.Second)
	for good := 0; good < 20; {
		good++
		if _, err := d.store.WriterDB().ExecContext(e.t.Context(), `SELECT 1`); err == nil {
			continue
		}
		good = 0
		select {
		case <-tick.C:
		case <-end:
			e.t.Fatal("the server does not answer")
		}
	}
}

// settles waits until a node that runs has noticed that its connections lead
// elsewhere, wants that nothing is armed before it has judged that, and lets it.
func (e *estate) settles(d *daemon) {
	e.t.Helper()
	e.back(d)
	if err := e.arm(d); !strings.Contains(fmt.Sprint(err), "lost nothing") {
		e.t.Errorf("arming before anybody has looked: %v, want it refused", err)
	}
	select {
	case <-d.store.Doubts():
	default:
		e.t.Fatal("nobody noticed that the connections lead elsewhere")
	}
	d.marks.settleDoubt(e.t.Context())
}

// wants checks the quarantine: its kind, "" for none.
func (e *estate) wants(d *daemon, kind social.QuarantineKind, short bool) {
	e.t.Helper()
	q, err := d.store.Quarantine(e.t.Context())
	if err != nil {
		e.t.Fatal(err)
	}
	if q.Kind != kind || q.Short != short {
		e.t.Errorf("the quarantine is %q (short %v): %s; want %q (short %v)", q.Kind, q.Short, q.Reason, kind, short)
	}
	if err := e.arm(d); (err == nil) != (kind == "" || short) {
		e.t.Errorf("arming something new: %v", err)
	}
}

// Ordinary lives: nodes come and go, and the server is killed and started again.
func TestServerStays(t *testing.T) {
	e := newEstate(t)
	n1, n2 := e.start("n1"), e.start("n2")
	e.armed(n1)
	e.armed(n2)
	e.stop(n2)
	e.pg.StopImmediate(t)
	e.pg.Restart(t)
	e.back(n1)
	e.armed(n1)
	e.wants(n1, "", false)
	n2 = e.start("n2")
	e.armed(n2)
	e.wants(n2, "", false)
}

// A standby that lacks what was written last is promoted while the nodes run:
// what was due is looked up first, and the rest goes on.
func TestFailOverThatLoses(t *testing.T) {
	e := newEstate(t)
	standby := e.pg.Standby(t, pgtest.Asynchronous)
	e.also(standby)
	n1, n2 := e.start("n1"), e.start("n2")
	e.armed(n1)
	standby.Alone(t)
	e.armed(n1)
	e.armed(n2)
	e.pg.KillPostmaster(t)
	standby.Promote(t)
	e.settles(n1)
	e.settles(n2) // which lacks something that the first does not know of
	e.wants(n1, social.Timeline, true)
	e.wants(n2, social.Timeline, true)
	if q, err := n1.store.Quarantine(t.Context()); err != nil || !strings.Contains(q.Reason, "the last attempts are missing") {
		t.Errorf("people are told %q (%v)", q.Reason, err)
	}
	e.stop(n2)
	e.wants(e.start("n2"), social.Timeline, true) // who comes later finds it judged
}

// A synchronous standby has everything: nothing is held back.
func TestFailOverThatLosesNothing(t *testing.T) {
	e := newEstate(t)
	standby := e.pg.Standby(t, pgtest.Synchronous)
	e.also(standby)
	n1 := e.start("n1")
	e.armed(n1)
	e.pg.KillPostmaster(t)
	standby.Promote(t)
	e.settles(n1)
	e.wants(n1, "", false)
	if w, err := n1.store.Whereabouts(t.Context()); err != nil || w.Kept.Timeline != 2 || w.Kept.Synchronous {
		t.Errorf("the database is kept as %+v (%v), want timeline 2 without a standby", w.Kept, err)
	}
}

// A standby that came later counts too, once it was seen.
func TestStandbyIsSeen(t *testing.T) {
	e := newEstate(t)
	n1 := e.start("n1")
	e.pg.Standby(t, pgtest.Synchronous)
	if err := n1.marks.lookForStandby(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w, err := n1.store.Whereabouts(t.Context()); err != nil || !w.Kept.Synchronous {
		t.Errorf("the standby was not seen: %+v, %v", w.Kept, err)
	}
}

// The server is put back to a copy while nodes run, and while none does.
func TestServerIsSetBack(t *testing.T) {
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprintf("running %v", running), func(t *testing.T) {
			e := newEstate(t)
			n1, n2 := e.start("n1"), e.start("n2")
			e.armed(n1)
			e.armed(n2)
			putBack := e.pg.Keep(t)
			e.armed(n1)
			e.armed(n2)
			e.stop(n2)
			if !running {
				e.stop(n1)
			}
			e.pg.StopImmediate(t)
			putBack()
			e.pg.Restart(t)
			if running {
				e.settles(n1)
			} else {
				n1 = e.start("n1")
			}
			e.wants(n1, social.OldDatabase, false)
			if _, err := n1.store.Adopt(t.Context(), "cli:me"); err != nil {
				t.Fatal(err)
			}
			n2 = e.start("n2") // its mark was judged: it begins nothing anew
			if on, err := n2.store.Quarantined(t.Context()); err != nil || on {
				t.Errorf("in quarantine again: %v, %v", on, err)
			}
		})
	}
}

// A dump that was restored by PostgreSQL's own programs is another database.
func TestDumpIsRestored(t *testing.T) {
	e := newEstate(t)
	n1 := e.start("n1")
	e.armed(n1)
	e.stop(n1)
	e.url = e.pg.Restored(t, pgtest.Start(t), e.url)
	e.wants(e.start("n1"), social.Timeline, false)
}

func TestJudgeOrigin(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	home := store.Origin{System: "7", Timeline: 3, Database: 16384}
	for _, c := range []struct {
		name   string
		change func(*store.Whereabouts)
		lacks  bool
		kind   social.QuarantineKind
		short  bool
	}{
		{"as it was", func(*store.Whereabouts) {}, false, "", false},
		{"seen for the first time", func(w *store.Whereabouts) { w.Kept = store.Origin{} }, false, "", false},
		{"another server", func(w *store.Whereabouts) { w.Found.System = "8" }, false, social.Timeline, false},
		{"a server that does not say who it is", func(w *store.Whereabouts) { w.Found.System = "" }, false, "", false},
		{"dropped and made anew", func(w *store.Whereabouts) { w.Found.Database = 20000 }, false, social.Timeline, false},
		{"the former primary", func(w *store.Whereabouts) { w.Found.Timeline = 2 }, false, social.OldDatabase, false},
		{"a fail-over", func(w *store.Whereabouts) { w.Found.Timeline = 4 }, false, social.Timeline, true},
		{"a fail-over to a synchronous standby", func(w *store.Whereabouts) { w.Found.Timeline, w.Kept.Synchronous = 4, true }, false, "", false},
		{"one that lost something all the same", func(w *store.Whereabouts) { w.Found.Timeline, w.Kept.Synchronous = 4, true }, true, social.Timeline, true},
		{"set back", func(w *store.Whereabouts) { w.Lost = true }, false, social.OldDatabase, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := store.Whereabouts{Kept: home, Found: home}
			c.change(&w)
			got := judgeOrigin(w, now.Add(-time.Minute), now, c.lacks)
			if got == nil {
				got = &instance.Finding{}
			}
			if got.Kind != c.kind || got.Short != c.short {
				t.Errorf("judged as %+v, want %q (short %v)", got, c.kind, c.short)
			}
		})
	}
}
