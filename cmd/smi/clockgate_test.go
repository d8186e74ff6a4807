package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"smi/config"
	"smi/connectors"
	"smi/connectors/fake"
	"smi/internal/app"
	"smi/internal/clock"
	"smi/internal/instance"
	"smi/internal/social"
	"smi/scheduler"
	"smi/store"
	"smi/store/storetest"
)

// station is a daemon's publishing in a bubble, on a machine whose clocks are set
// at will.
type station struct {
	t     *testing.T
	dir   string
	d     *daemon
	seeds *storetest.Seeds
	net   *fake.Network
	acc   social.Account
	log   bytes.Buffer
	began time.Time

	mu    sync.Mutex
	wrong time.Duration // of the wall clock
	slept time.Duration // in suspend: clocks went on, timers did not

	halt func() // ends the work, and leaves the database open
	stop func()
}

// truth is the time of the world.
func (s *station) truth() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Round(0).AddDate(26, 10, 0).Add(s.slept).UTC() // bubbles begin in 2000
}

func (s *station) wall() time.Time {
	at := s.truth()
	s.mu.Lock()
	defer s.mu.Unlock()
	return at.Add(s.wrong)
}

func (s *station) boot() time.Duration { return s.truth().Sub(s.began) }

func (s *station) set(wrong time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = wrong
}

func (s *station) sleep(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slept += d
}

func newStation(t *testing.T) *station {
	s := &station{t: t, dir: t.TempDir()}
	s.began = s.truth()
	s.net = fake.New(fake.Options{Now: s.truth})
	s.live()
	ws := s.seeds.Workspace()
	s.acc = s.seeds.Account(ws.ID)
	s.net.AddAccount(s.acc.RemoteID, "owner")
	return s
}

// live begins a life of the daemon.
func (s *station) live() {
	t := s.t
	t.Helper()
	cfg, err := config.Parse("config.yaml", fmt.Appendf(nil, "data_dir: %q\nkey_file: %q\n", s.dir, filepath.Join(t.TempDir(), "k")), &connectors.Registry{})
	if err != nil {
		t.Fatal(err)
	}
	watch := clock.NewWatch(s.wall, s.boot)
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(s.dir, dbFile), Now: watch.Now, BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{cfg: config.NewHolder(cfg, nil), store: db, now: watch.Now, wall: s.wall, watch: watch, log: slog.New(slog.NewTextHandler(&s.log, nil))}
	s.d, s.seeds = d, storetest.Seed(t, db)
	d.marks = newMarks(d, "")
	d.marks.facts, d.marks.boot = instance.Facts{}, "b1"
	if err := d.marks.judge(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.clock = &clockGate{Ledger: markedLedger{db, d.marks}, d: d, watch: watch, boot: "b1"}
	d.scheduler = scheduler.New(scheduler.Config{
		Ledger: d.clock, IDs: &social.IDs{}, Node: "node", Alone: true, Now: watch.Now, Media: fake.Files{},
		Boot: func() time.Time { return s.began.Add(s.boot()) },
		Clients: func(_ context.Context, a social.Account) (*connectors.Client, error) {
			return connectors.Open(s.net, a, s.net.Account(a.RemoteID).Credentials())
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := d.scheduler.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() { d.clock.keepUp(ctx) })
	wg.Go(func() { d.marks.keepUp(ctx) })
	s.halt = func() {
		cancel()
		wg.Wait()
	}
	s.stop = func() {
		s.halt()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

// plan plans a text for a time from now on.
func (s *station) plan(text string, in time.Duration) social.ID {
	s.t.Helper()
	due := s.truth().Add(in)
	row := s.seeds.Delivery(s.seeds.Post(s.acc.WorkspaceID, due, social.Part{Role: social.RoleBody, Text: text}), s.acc)
	s.seeds.Exec(`UPDATE delivery SET next_at = $1 WHERE id = $2`, scheduler.FirstLook(due, 15*time.Minute).UnixMilli(), int64(row.ID))
	s.d.scheduler.Wake()
	return row.ID
}

// pass lets time pass, and what it brings happen.
func (s *station) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (s *station) state(id social.ID) social.DeliveryState {
	s.t.Helper()
	return social.DeliveryState(s.seeds.Text(`SELECT state FROM delivery WHERE id = $1`, int64(id)))
}

// out are the texts on the network, in order.
func (s *station) out() string {
	var all []string
	for _, p := range s.net.Account(s.acc.RemoteID).Posts() {
		all = append(all, p.Text)
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

func (s *station) wants(out string) {
	s.t.Helper()
	if got := s.out(); got != out {
		s.t.Errorf("published are %q, want %q", got, out)
	}
}

func (s *station) told(times string) {
	s.t.Helper()
	if got := s.seeds.Text(`SELECT COUNT(*) FROM outbox WHERE kind = 'clock'`); got != times {
		s.t.Errorf("people were told of the clock %s times, want %s", got, times)
	}
}

var (
	day  = 24 * time.Hour
	year = 365 * day
)

// While the clock is off nothing goes out: neither what is planned for the time
// that it shows, nor what is due. When it is set back what is due goes out, once,
// and the rest at its time.
func TestClockThatIsSetAndSetBack(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{time.Hour, -time.Hour, 4 * time.Hour, year, -year} {
		t.Run(jump.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStation(t)
				defer func() { s.stop() }()
				first, soon, tomorrow := s.plan("first", 20*time.Second), s.plan("soon", time.Minute), s.plan("later", 3*time.Hour)
				s.pass(30 * time.Second)
				s.wants("first")
				s.set(jump)
				s.pass(5 * time.Minute)
				s.wants("first")
				s.told("1")
				if got := s.seeds.Text(`SELECT state || ': ' || reason FROM delivery WHERE id = $1`, int64(soon)); !strings.HasPrefix(got, "waiting: "+clockWaits+"the clock of this machine was set ") {
					t.Errorf("what is due is %q", got)
				}
				if got := s.state(tomorrow); got != social.Scheduled {
					t.Errorf("what is planned for later is %s", got)
				}
				if got := s.d.checkClock(t.Context()); got.Verdict != app.Broken {
					t.Errorf("doctor says %+v", got)
				}
				s.set(0)
				s.pass(20 * time.Second)
				s.wants("first,soon")
				if got := s.d.checkClock(t.Context()); got.Verdict != app.Fine {
					t.Errorf("doctor says %+v", got)
				}
				s.pass(3 * time.Hour)
				s.wants("first,later,soon")
				s.told("1")
				for _, id := range []social.ID{first, soon, tomorrow} {
					if got := s.state(id); got != social.Published {
						t.Errorf("delivery %s is %s", id, got)
					}
				}
			})
		})
	}
}

// When a person says that the clock is right, posts go on by it: those that are
// late by it follow the rule for late posts, and the others have their time.
func TestClockThatIsConfirmed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		jump                 time.Duration
		soon, later, nextDay social.DeliveryState
	}{
		{time.Hour, social.HeldLate, social.HeldLate, social.Scheduled},
		{year, social.Skipped, social.Skipped, social.Skipped},
		{-time.Hour, social.Scheduled, social.Scheduled, social.Scheduled},
		{-year, social.Scheduled, social.Scheduled, social.Scheduled},
	} {
		t.Run(c.jump.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStation(t)
				defer func() { s.stop() }()
				soon, later, nextDay := s.plan("soon", time.Minute), s.plan("later", 30*time.Minute), s.plan("next day", 3*time.Hour)
				s.pass(30 * time.Second)
				s.set(c.jump)
				s.pass(5 * time.Minute)
				s.wants("")
				if c.jump < 0 { // a time that was reckoned by the other clock keeps nobody waiting
					s.seeds.Exec(`UPDATE delivery SET state = 'waiting', reason = 'A limit.', next_at = $1 WHERE id = $2`, s.truth().Add(2*time.Hour).UnixMilli(), int64(later))
				}
				if err := s.d.clock.Confirm(t.Context(), "cli:tester"); err != nil {
					t.Fatal(err)
				}
				s.pass(30 * time.Second)
				s.wants("")
				for id, want := range map[social.ID]social.DeliveryState{soon: c.soon, later: c.later, nextDay: c.nextDay} {
					got := s.state(id)
					if got == social.Waiting || got == social.Ready { // for its minute
						got = social.Scheduled
					}
					if got != want {
						t.Errorf("delivery %s is %s, want %s", id, got, want)
					}
				}
				// Each has its minute by the clock as it is now.
				if c.jump < -day {
					return // until then it is long
				}
				want := []string{}
				for _, p := range []struct {
					text  string
					in    time.Duration
					state social.DeliveryState
				}{{"soon", time.Minute, c.soon}, {"later", 30 * time.Minute, c.later}, {"next day", 3 * time.Hour, c.nextDay}} {
					if p.state != social.Scheduled {
						continue
					}
					until := s.began.Add(p.in).Sub(s.wall())
					s.pass(until - 5*time.Second)
					s.wants(strings.Join(want, ","))
					s.pass(10 * time.Second)
					want = append(want, p.text)
					slices.Sort(want)
					s.wants(strings.Join(want, ","))
				}
				s.told("1")
				if err := s.d.clock.Confirm(t.Context(), "cli:tester"); err == nil {
					t.Error("a clock that is not in doubt was confirmed")
				}
			})
		})
	}
}

// A daemon that is started while the clock is off, or whose clock was set while
// it was down, publishes nothing either.
func TestClockThatWasSetBeforeTheStart(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStation(t)
				defer func() { s.stop() }()
				s.plan("soon", 3*time.Minute)
				s.pass(70 * time.Second)
				s.stop()
				s.set(jump)
				s.live()
				s.pass(5 * time.Minute)
				s.wants("")
				s.told("1")
				s.set(0)
				s.pass(20 * time.Second)
				s.wants("soon")
			})
		})
	}
}

// A machine that boots with a clock that is behind what smi has written looks at
// nothing: every decision would be wrong. It goes on when the clock is set.
func TestClockBehindTheDatabase(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t)
		defer func() { s.stop() }()
		id := s.plan("soon", 3*time.Minute)
		s.pass(70 * time.Second)
		s.stop()
		s.seeds = nil
		s.set(-20 * year)
		s.began = s.truth() // another boot
		reboot(t, s)
		s.pass(5 * time.Minute)
		s.wants("")
		s.told("1")
		if got := s.state(id); got != social.Scheduled && got != social.Ready {
			t.Errorf("the delivery is %s", got)
		}
		s.set(0)
		s.pass(20 * time.Second)
		s.wants("soon")
	})
}

// reboot begins a life after another boot of the machine: the state of the clock
// does not hold any more.
func reboot(t *testing.T, s *station) {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(s.dir, dbFile), BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	storetest.Seed(t, db).Exec(`DELETE FROM meta WHERE key = 'clock'`)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s.live()
}

// Two networks that say that the clock is far off stop it; they are told of a
// smaller difference only.
func TestClockThatNetworksDoubt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t)
		defer func() { s.stop() }()
		s.plan("a", time.Minute)
		s.plan("b", 5*time.Minute)
		for _, network := range []social.Network{"one", "two"} {
			s.d.sawDate(network, s.truth().Add(-3*time.Minute))
		}
		s.pass(90 * time.Second)
		s.wants("a")
		s.told("1")
		for _, network := range []social.Network{"one", "two"} {
			s.d.sawDate(network, s.truth().Add(-20*time.Minute))
		}
		s.pass(5 * time.Minute)
		s.wants("a")
		s.told("2")
		if err := s.d.clock.Confirm(t.Context(), "cli:tester"); err != nil {
			t.Fatal(err)
		}
		s.pass(20 * time.Second)
		s.wants("a,b")
	})
}

// A machine that slept knows that it did: what became late meanwhile is asked
// about, and nothing else is wrong.
func TestClockOverSuspend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t)
		defer func() { s.stop() }()
		soon, later := s.plan("soon", time.Minute), s.plan("later", 9*time.Hour)
		s.pass(20 * time.Second)
		s.sleep(8 * time.Hour)
		s.pass(time.Minute)
		s.told("0")
		s.wants("")
		if got := s.state(soon); got != social.HeldLate {
			t.Errorf("what became late is %s", got)
		}
		s.pass(time.Hour)
		s.wants("later")
		if got := s.state(later); got != social.Published {
			t.Errorf("what came later is %s", got)
		}
	})
}

// What was armed is in the mark beside the database within seconds, before the
// mark of the minute.
func TestMarksFollowArming(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t)
		defer func() { s.stop() }()
		s.plan("soon", 20*time.Second)
		s.pass(30 * time.Second)
		s.wants("soon")
		if m := instance.ReadFile(filepath.Join(s.dir, instance.FileName)); m.Mark.Attempt == 0 {
			t.Errorf("the mark knows of no attempt: %+v", m)
		}
	})
}
