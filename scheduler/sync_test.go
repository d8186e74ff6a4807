package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"smi/connectors"
	"smi/connectors/fake"
	"smi/internal/insights"
	"smi/internal/social"
	"smi/scheduler"
)

// inWorld runs a test in a bubble with a world of its own.
func inWorld(t *testing.T, o fake.Options, fn func(t *testing.T, w *world, a social.Account, f *fake.Account)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, o)
		defer w.close()
		a := w.account()
		fn(t, w, a, w.net.Account(a.RemoteID))
	})
}

// reader returns the sync of this world; platform nil is the world's network.
func (w *world) reader(archive scheduler.Archive, platform connectors.Platform) *scheduler.Sync {
	if archive == nil {
		archive = w.db
	}
	if platform == nil {
		platform = w.net
	}
	return &scheduler.Sync{Archive: archive, Now: now, Log: w.log, Clients: func(_ context.Context, a social.Account) (*connectors.Client, error) {
		return connectors.Open(platform, a, w.creds[a.RemoteID])
	}}
}

// order makes a run by hand.
func (w *world) order(a social.Account) social.ID {
	w.t.Helper()
	id, err := w.db.PlanSync(w.t.Context(), a.ID, social.DateOf(now(), time.UTC), noQueue)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// work calls Account as the queue would until the run has ended, and returns how
// long it waited between the calls.
func (w *world) work(s *scheduler.Sync, id social.ID) []time.Duration {
	w.t.Helper()
	var waits []time.Duration
	for range 50 {
		again, err := s.Account(w.t.Context(), id)
		if err != nil {
			w.t.Fatal(err)
		}
		if again == 0 {
			return waits
		}
		waits = append(waits, again)
		pass(again)
	}
	w.t.Fatalf("the run %s does not end", id)
	return nil
}

// ran orders a run, works on it, and fails the test unless it is done.
func (w *world) ran(a social.Account, platform connectors.Platform) {
	w.t.Helper()
	id := w.order(a)
	w.work(w.reader(nil, platform), id)
	w.wantRun(id, scheduler.SyncDone, "")
}

func (w *world) wantRun(id social.ID, state scheduler.SyncState, reason string) {
	w.t.Helper()
	got := w.seeds.Text(`SELECT state || ': ' || reason FROM sync_run WHERE id = $1`, int64(id))
	if !strings.HasPrefix(got, string(state)+": ") || !strings.Contains(got, reason) {
		w.t.Errorf("the run is %q, want %s: …%s…", got, state, reason)
	}
	notices := w.seeds.Text(`SELECT count(*) FROM outbox WHERE kind = 'sync_failed'`)
	if want := map[bool]string{true: "1", false: "0"}[state == scheduler.SyncFailed]; notices != want {
		w.t.Errorf("%s notices of a run that is %s, want %s", notices, state, want)
	}
}

// table is everything that was stored of numbers and posts, without the ids and
// the time of reading.
func (w *world) table() string {
	w.t.Helper()
	const numbers = `COALESCE(views,'?') || ' ' || COALESCE(reach,'?') || ' ' || COALESCE(likes,'?') || ' ' || COALESCE(comments,'?') || ' ' || COALESCE(shares,'?') || ' ' || extra`
	return strings.Join([]string{
		w.seeds.Text(`SELECT group_concat(line, char(10)) FROM (SELECT r.remote_id || ' day ' || p.day || ' ' || p.amount || ': ' || ` + numbers + ` AS line
			FROM post_day p JOIN remote_post r ON r.id = p.post_id ORDER BY r.remote_id, p.day, p.amount)`),
		w.seeds.Text(`SELECT group_concat(line, char(10)) FROM (SELECT 'account day ' || day || ' ' || source || ': ' || COALESCE(followers,'?') || ' ' || COALESCE(posts,'?') || ' ' || ` + numbers + ` AS line
			FROM account_day ORDER BY day, source)`),
		w.seeds.Text(`SELECT group_concat(line, char(10)) FROM (SELECT remote_id || ' ' || (delivery_id <> 0) || ' ' || step || ' ' || parent_ref || ' ' || url || ' ' || excerpt || ' ' || kind || ' ' || receipt || ' ' || published_at || ' ' || (gone_at <> 0) AS line
			FROM remote_post ORDER BY remote_id)`),
	}, "\n\n")
}

// life fills an account: 25 posts over five days, liked, one removed.
func life(f *fake.Account) {
	f.SetCount("", social.Followers, 120)
	for i := range 25 {
		id := f.Write(fmt.Sprintf("post %d", i), "")
		f.Like(id, int64(i))
		f.Reply(id, int64(i%3))
		if i%5 == 4 {
			pass(24 * time.Hour)
		}
	}
}

func TestSyncTwiceChangesNothing(t *testing.T) {
	inWorld(t, fake.Options{}, func(t *testing.T, w *world, a social.Account, f *fake.Account) {
		life(f)
		f.Remove(f.Posts()[3].RemoteID)
		w.ran(a, nil)
		before := w.table()
		if n := strings.Count(before, "post-"); n < 24*2 {
			t.Fatalf("%d posts were stored:\n%s", n, before)
		}
		pass(time.Minute)
		w.ran(a, nil)
		if diff := cmp.Diff(before, w.table()); diff != "" {
			t.Error(diff)
		}
	})
}

// mortalArchive dies at the n-th call, before or after it took effect.
type mortalArchive struct {
	scheduler.Archive
	calls, at int
	after     bool
}

var errKilled = errors.New("killed")

func (m *mortalArchive) around(do func() error) error {
	if m.calls++; m.at != 0 && (m.calls > m.at || m.calls == m.at && !m.after) {
		return errKilled
	}
	err := do()
	if m.calls == m.at {
		return errKilled
	}
	return err
}

func (m *mortalArchive) SyncRun(ctx context.Context, id social.ID, at time.Time) (r scheduler.SyncRun, a social.Account, err error) {
	err = m.around(func() error { r, a, err = m.Archive.SyncRun(ctx, id, at); return err })
	return r, a, err
}

func (m *mortalArchive) SaveNumbers(ctx context.Context, run scheduler.SyncRun, a social.Account, r social.Reading) (n int, err error) {
	err = m.around(func() error { n, err = m.Archive.SaveNumbers(ctx, run, a, r); return err })
	return n, err
}

func (m *mortalArchive) SavePosts(ctx context.Context, run scheduler.SyncRun, a social.Account, p connectors.Page) error {
	return m.around(func() error { return m.Archive.SavePosts(ctx, run, a, p) })
}

func (m *mortalArchive) PostsToRead(ctx context.Context, account social.ID, since time.Time, after social.ID, limit int) (k []scheduler.KnownPost, err error) {
	err = m.around(func() error { k, err = m.Archive.PostsToRead(ctx, account, since, after, limit); return err })
	return k, err
}

func (m *mortalArchive) DayTotals(ctx context.Context, account social.ID, day int) (t []insights.Totals, before map[social.ID]insights.Totals, last time.Time, err error) {
	err = m.around(func() error { t, before, last, err = m.Archive.DayTotals(ctx, account, day); return err })
	return t, before, last, err
}

func (m *mortalArchive) SaveDay(ctx context.Context, account social.ID, day int, n insights.Numbers, at time.Time) error {
	return m.around(func() error { return m.Archive.SaveDay(ctx, account, day, n, at) })
}

func (m *mortalArchive) EndTry(ctx context.Context, r scheduler.SyncRun, n *scheduler.Notice, at time.Time) error {
	return m.around(func() error { return m.Archive.EndTry(ctx, r, n, at) })
}

// TestSyncKilledAnywhere kills the process before and after every call to the
// store and lets the next one go on: the tables are those of a run that nothing
// disturbed.
func TestSyncKilledAnywhere(t *testing.T) {
	t.Parallel()
	lives := func(t *testing.T, at int, after bool) (table string, calls, lists, accounts int) {
		inWorld(t, fake.Options{}, func(t *testing.T, w *world, a social.Account, f *fake.Account) {
			life(f)
			m := &mortalArchive{Archive: w.db, at: at, after: after}
			id := w.order(a)
			if again, err := w.reader(m, nil).Account(t.Context(), id); at != 0 && !errors.Is(err, errKilled) {
				t.Fatalf("killed at call %d: got %s, %v", at, again, err)
			}
			w.work(w.reader(nil, nil), id)
			w.wantRun(id, scheduler.SyncDone, "")
			table, calls, lists, accounts = w.table(), m.calls, f.Calls(fake.OpList), f.Calls(fake.OpAccountInsights)
		})
		return table, calls, lists, accounts
	}
	want, calls, pages, _ := lives(t, 0, false)
	if calls < 9 {
		t.Fatalf("an undisturbed run makes %d calls to the store, want more", calls)
	}
	for at := 1; at <= calls; at++ {
		for _, after := range []bool{false, true} {
			got, _, lists, accounts := lives(t, at, after)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("killed at call %d of %d (after it: %v):\n%s", at, calls, after, diff)
			}
			if saved := at > 2 || at == 2 && after; saved && accounts != 1 {
				t.Errorf("killed at call %d: the account was read %d times, although that had been saved", at, accounts)
			}
			if lists > 2*pages {
				t.Errorf("killed at call %d: %d pages were listed, of %d", at, lists, pages)
			}
		}
	}
}

func TestSyncFaults(t *testing.T) {
	t.Parallel()
	refuse := func(k connectors.Kind, retry time.Duration) fake.Fault {
		return fake.Fault{Do: fake.Refuse, Kind: k, RetryAfter: retry}
	}
	for name, c := range map[string]struct {
		op     fake.Op
		faults []fake.Fault
		always fake.Fault
		before func(w *world, a social.Account, f *fake.Account)
		waits  []time.Duration
		state  scheduler.SyncState
		reason string
		gen    int64 // of the grant at the end; 0: as it was
	}{
		"rate limited": {
			op: fake.OpPostInsights, faults: []fake.Fault{refuse(connectors.RateLimited, 3*time.Hour)},
			waits: []time.Duration{3 * time.Hour}, state: scheduler.SyncDone,
		},
		"rate limited again and again is no failure": {
			op: fake.OpList, faults: slices.Repeat([]fake.Fault{refuse(connectors.RateLimited, time.Hour)}, 12),
			waits: slices.Repeat([]time.Duration{time.Hour}, 12), state: scheduler.SyncDone,
		},
		"passing": {
			op: fake.OpAccountInsights, faults: []fake.Fault{refuse(connectors.Transient, 0), {Do: fake.CutBeforeEffect}, {Do: fake.Garbage}},
			waits: []time.Duration{2 * time.Minute, 4 * time.Minute, 8 * time.Minute}, state: scheduler.SyncDone,
		},
		"as long as the network asked": {
			op: fake.OpAccountInsights, faults: []fake.Fault{refuse(connectors.Transient, 5*time.Hour)},
			waits: []time.Duration{5 * time.Hour}, state: scheduler.SyncDone,
		},
		"for good after eight tries": {
			op: fake.OpList, always: refuse(connectors.Transient, 0),
			waits: []time.Duration{2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour},
			state: scheduler.SyncFailed, reason: "list",
		},
		"unclassified is tried again too": {
			op: fake.OpList, faults: slices.Repeat([]fake.Fault{refuse(connectors.Unknown, 0)}, 5),
			waits: []time.Duration{2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute}, state: scheduler.SyncDone,
		},
		"the login is renewed once": {
			op: fake.OpList, faults: []fake.Fault{refuse(connectors.AuthExpired, 0)}, state: scheduler.SyncDone, gen: 2,
		},
		"a dead login": {
			op: fake.OpList, always: refuse(connectors.AuthExpired, 0), state: scheduler.SyncFailed, reason: "Unauthorized", gen: 2,
		},
		"a dead login that cannot be renewed": {
			before: func(_ *world, _ social.Account, f *fake.Account) { f.RevokeAll() }, state: scheduler.SyncFailed,
		},
		"a missing permission": {
			before: func(_ *world, _ social.Account, f *fake.Account) { f.Withhold("insights", true) }, state: scheduler.SyncFailed, reason: "insights",
		},
		"not connected": {
			before: func(w *world, a social.Account, _ *fake.Account) {
				w.seeds.Exec(`UPDATE account SET status = 'needs_reconnect', status_reason = 'the password was changed; connect it again' WHERE id = $1`, int64(a.ID))
			},
			state: scheduler.SyncFailed, reason: "the password was changed; connect it again",
		},
		"a listing that leads back to its page": {
			before: func(_ *world, _ social.Account, f *fake.Account) { f.Loop(true) },
			waits:  []time.Duration{2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour},
			state:  scheduler.SyncFailed, reason: "the same page",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, fake.Options{}, func(t *testing.T, w *world, a social.Account, f *fake.Account) {
				life(f)
				id := w.order(a)
				if c.before != nil {
					c.before(w, a, f)
				}
				f.Script(c.op, c.faults...)
				f.Always(c.op, c.always)
				s := w.reader(nil, nil)
				if len(c.waits) > 0 {
					again, err := s.Account(t.Context(), id)
					if err != nil || again != c.waits[0] {
						t.Fatalf("got %s, %v; want to wait %s", again, err, c.waits[0])
					}
					w.wantRun(id, scheduler.SyncPartial, ".")
					if got, want := w.count(`SELECT resume_at FROM sync_run WHERE id = $1`, id), int(now().Add(again).UnixMilli()); got != want {
						t.Errorf("it says that it goes on at %d, want %d", got, want)
					}
					// Called too early, as by a job that was put in again, it waits on.
					calls := f.AllCalls()
					if left, err := s.Account(t.Context(), id); err != nil || left != again || f.AllCalls() != calls {
						t.Errorf("called too early: %s, %v and %d calls; want %s and none", left, err, f.AllCalls()-calls, again)
					}
				}
				if diff := cmp.Diff(c.waits, w.work(s, id)); diff != "" {
					t.Error(diff)
				}
				w.wantRun(id, c.state, c.reason)
				if g, err := w.creds[a.RemoteID].Grant(t.Context()); err != nil || g.Gen != max(c.gen, 1) {
					t.Errorf("the grant is of generation %d, %v; want %d", g.Gen, err, max(c.gen, 1))
				}
				if n := strings.Count(w.table(), "day"); c.state == scheduler.SyncDone && n < 25 {
					t.Errorf("%d rows of numbers, want those of all posts", n)
				}
			})
		})
	}
}

func TestSyncOfARemovedAccountTellsNobody(t *testing.T) {
	inWorld(t, fake.Options{}, func(t *testing.T, w *world, a social.Account, f *fake.Account) {
		id := w.order(a)
		w.seeds.Exec(`UPDATE account SET status = 'removed' WHERE id = $1`, int64(a.ID))
		w.work(w.reader(nil, nil), id)
		if got := w.seeds.Text(`SELECT state || ' ' || (SELECT count(*) FROM outbox) FROM sync_run`); got != "failed 0" || f.AllCalls() != 0 {
			t.Errorf("got %s notices and %d calls, want failed, no notice, no call", got, f.AllCalls())
		}
	})
}

func TestSyncOutOfTime(t *testing.T) {
	inWorld(t, fake.Options{}, func(t *testing.T, w *world, a social.Account, f *fake.Account) {
		life(f)
		id := w.order(a)
		s := w.reader(nil, nil)
		try := func() time.Duration {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			again, err := s.Account(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			return again
		}
		f.Latency(fake.OpList, 4*time.Second) // three pages
		if again := try(); again != time.Second {
			t.Errorf("a try that got on: again after %s, want a second", again)
		}
		w.wantRun(id, scheduler.SyncPartial, "too long")
		if got := w.seeds.Text(`SELECT tries || ' ' || step || ' ' || (cursor <> '') FROM sync_run`); got != "0 list 1" {
			t.Errorf("it is at %s, want no failure, in the middle of the listing", got)
		}
		f.Latency(fake.OpList, time.Minute)
		pass(time.Second)
		if again := try(); again != 2*time.Minute {
			t.Errorf("a try that did not get on: again after %s, want two minutes", again)
		}
		f.Latency(fake.OpList, 0)
		pass(2 * time.Minute)
		if again := try(); again != 0 {
			t.Errorf("again after %s, want done", again)
		}
		w.wantRun(id, scheduler.SyncDone, "")
	})
}

func TestSyncStopped(t *testing.T) {
	inWorld(t, fake.Options{}, func(t *testing.T, w *world, a social.Account, f *fake.Account) {
		life(f)
		id := w.order(a)
		f.Latency(fake.OpPostInsights, time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := w.reader(nil, nil).Account(ctx, id); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want that it was stopped", err)
		}
		w.wantRun(id, scheduler.SyncRunning, "") // the job is taken up by the next start
		w.work(w.reader(nil, nil), id)
		w.wantRun(id, scheduler.SyncDone, "")
		if n := w.seeds.Text(`SELECT tries FROM sync_run`); n != "0" {
			t.Errorf("a stop counted as %s failures", n)
		}
	})
}

// part is a network of which the connector can do less.
type part struct {
	connectors.Platform
	conn func(connectors.Conn) connectors.Conn
}

func (p part) Dial(a social.Account, c connectors.Credentials) (connectors.Conn, error) {
	conn, err := p.Platform.Dial(a, c)
	if err != nil {
		return nil, err
	}
	return p.conn(conn), nil
}

// numbersOnly has no listing.
type numbersOnly struct {
	connectors.Conn
	numbers connectors.PostInsights
}

func (n numbersOnly) PostInsights(ctx context.Context, rs []connectors.Receipt) (social.Reading, error) {
	return n.numbers.PostInsights(ctx, rs)
}

func TestSyncWithoutAListing(t *testing.T) {
	inWorld(t, fake.Options{}, func(t *testing.T, w *world, a social.Account, f *fake.Account) {
		run := w.start()
		ids := w.plan(now().Add(time.Minute), thread("ours", 1), a)
		w.rest(time.Hour, ids...)
		run.end()
		w.want(ids[0], social.Published)
		f.Write("not ours", "")
		posts := f.Posts()
		f.Like(posts[0].RemoteID, 7)
		w.ran(a, part{w.net, func(c connectors.Conn) connectors.Conn {
			return numbersOnly{c, c.(connectors.PostInsights)}
		}})
		numbers, err := w.db.NumbersOfPost(t.Context(), w.ws.ID, w.postOf(ids[0]))
		if err != nil || len(numbers) != 2 {
			t.Fatalf("numbers of %d parts, %v; want both", len(numbers), err)
		}
		if n := numbers[0]; n.Step != 0 || n.URL != posts[0].URL || n.Numbers[social.Likes] != 7 || n.Delivery != ids[0] {
			t.Errorf("the body's numbers are %+v", n)
		}
		if n := w.seeds.Text(`SELECT count(*) || ' ' || sum(delivery_id <> 0) FROM remote_post`); n != "2 2" {
			t.Errorf("known posts and ours: %s, want the two that smi published", n)
		}
	})
}

func (w *world) postOf(delivery social.ID) social.ID {
	w.t.Helper()
	return social.ID(w.count(`SELECT post_id FROM delivery WHERE id = $1`, delivery))
}

// circling lists two pages for ever.
type circling struct {
	numbersOnly
	listed *int
}

func (c circling) List(_ context.Context, _ time.Time, cursor string) (connectors.Page, error) {
	*c.listed++
	next := map[string]string{"": "a", "a": "b", "b": "a"}[cursor]
	return connectors.Page{Next: next, Posts: []connectors.RemotePost{{Receipt: connectors.Receipt{RemoteID: "post-" + next, PublishedAt: now()}}}}, nil
}

func TestSyncGoesRoundOnce(t *testing.T) {
	inWorld(t, fake.Options{}, func(t *testing.T, w *world, a social.Account, _ *fake.Account) {
		listed := 0
		w.ran(a, part{w.net, func(c connectors.Conn) connectors.Conn {
			return circling{numbersOnly{c, c.(connectors.PostInsights)}, &listed}
		}})
		if n := w.seeds.Text(`SELECT count(*) FROM remote_post`); n != "2" {
			t.Errorf("%s posts are known, want the two of the circle", n)
		}
		if listed != 3 {
			t.Errorf("%d pages were listed, want the circle once and the page that closes it", listed)
		}
	})
}

// picky refuses every request in which one of these posts is.
type picky struct {
	numbersOnly
	connectors.Lister
	refused map[string]bool
}

func (p picky) PostInsights(ctx context.Context, rs []connectors.Receipt) (social.Reading, error) {
	for _, r := range rs {
		if p.refused[r.RemoteID] {
			return social.Reading{}, &connectors.Error{Kind: connectors.Invalid, Op: "numbers", Text: "one of the posts cannot be asked for"}
		}
	}
	return p.numbers.PostInsights(ctx, rs)
}

func TestSyncWithoutThePostThatIsRefused(t *testing.T) {
	inWorld(t, fake.Options{}, func(t *testing.T, w *world, a social.Account, f *fake.Account) {
		life(f)
		posts := f.Posts()
		read := func(refused ...int) social.ID {
			t.Helper()
			no := map[string]bool{}
			for _, i := range refused {
				no[posts[i].RemoteID] = true
			}
			id := w.order(a)
			w.work(w.reader(nil, part{w.net, func(c connectors.Conn) connectors.Conn {
				return picky{numbersOnly{c, c.(connectors.PostInsights)}, c.(connectors.Lister), no}
			}}), id)
			return id
		}
		w.wantRun(read(3, 17), scheduler.SyncDone, posts[3].RemoteID)
		if n := w.seeds.Text(`SELECT count(*) FROM post_day`); n != "23" {
			t.Errorf("numbers of %s posts, want those of the 23 others", n)
		}
		// Each value comes from the answer that held it.
		if n := w.seeds.Text(`SELECT count(*) FROM post_day p LEFT JOIN raw_answer r ON r.id = p.raw_id WHERE r.op IS NOT 'post_insights'`); n != "0" {
			t.Errorf("%s rows cannot be traced to their answer", n)
		}
		for i, p := range posts {
			if i == 3 || i == 17 {
				continue
			}
			id, err := strconv.ParseInt(w.seeds.Text(`SELECT raw_id FROM post_day JOIN remote_post ON id = post_id WHERE remote_id = $1`, p.RemoteID), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := w.db.RawAnswer(t.Context(), social.ID(id))
			if err != nil || !strings.Contains(string(raw.Body), `"`+p.RemoteID+`"`) {
				t.Errorf("the numbers of %s come from %s, %v", p.RemoteID, raw.Body, err)
			}
		}
		w.wantRun(read(1, 2, 3, 4), scheduler.SyncFailed, "cannot be asked for") // no accident any more
	})
}

func TestSyncOfADeadCursor(t *testing.T) {
	inWorld(t, fake.Options{}, func(t *testing.T, w *world, a social.Account, f *fake.Account) {
		life(f)
		id := w.order(a)
		w.seeds.Exec(`UPDATE sync_run SET step = 'list', cursor = 'of-yesterday' WHERE id = $1`, int64(id))
		w.work(w.reader(nil, nil), id)
		w.wantRun(id, scheduler.SyncDone, "")
		if n := w.seeds.Text(`SELECT count(*) FROM remote_post`); n != "25" {
			t.Errorf("%s posts are known, want 25", n)
		}
	})
}

func TestSyncLookBack(t *testing.T) {
	inWorld(t, fake.Options{}, func(t *testing.T, w *world, a social.Account, f *fake.Account) {
		older := f.Write("older", "")
		pass(time.Millisecond)
		edge := f.Write("on the edge", "")
		pass(time.Hour)
		young := f.Write("young", "")
		pass(48*time.Hour - time.Hour)
		s := w.reader(nil, nil)
		s.LookBack = 48 * time.Hour
		id := w.order(a)
		w.work(s, id)
		w.wantRun(id, scheduler.SyncDone, "")
		got := w.seeds.Text(`SELECT group_concat(remote_id) FROM (SELECT remote_id FROM remote_post JOIN post_day ON post_id = id ORDER BY published_at)`)
		if want := edge + "," + young; got != want {
			t.Errorf("numbers were read of %s, want %s and not of %s", got, want, older)
		}
	})
}

func TestSyncReadsWhatOthersPosted(t *testing.T) {
	inWorld(t, fake.Options{}, func(t *testing.T, w *world, a social.Account, f *fake.Account) {
		byHand := f.Write("by hand, in the network's own app", "", social.Image, social.Image)
		f.Like(byHand, 3)
		f.Hide(social.Views, true)
		w.ran(a, nil)
		if got := w.seeds.Text(`SELECT r.kind || ' ' || r.delivery_id || ' ' || p.likes || ' ' || p.comments || ' ' || COALESCE(CAST(p.views AS TEXT), 'unknown') FROM post_day p JOIN remote_post r ON r.id = p.post_id`); got != "image 0 3 0 unknown" {
			t.Errorf("got %s, want its kind, that it is not ours, 3 likes, no comment, and unknown views", got)
		}
		// It is taken off the network.
		f.Remove(byHand)
		w.ran(a, nil)
		if got := w.seeds.Text(`SELECT gone_at > 0 FROM remote_post`); got != "1" {
			t.Errorf("the post is gone on the network, and not here")
		}
		calls := f.Calls(fake.OpPostInsights)
		w.ran(a, nil)
		if n := f.Calls(fake.OpPostInsights) - calls; n != 0 {
			t.Errorf("a post that is gone was asked for %d times", n)
		}
		if got := w.seeds.Text(`SELECT likes FROM post_day`); got != "3" {
			t.Errorf("its last likes are %s, want 3", got)
		}
	})
}

// TestSyncDayAmounts lets an account live for two months with nights left out,
// two readings on one day, likes taken back and metrics left out by the network.
// The amounts of all days add up to what the network counted.
func TestSyncDayAmounts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			inWorld(t, fake.Options{}, func(t *testing.T, w *world, a social.Account, f *fake.Account) {
				w.seeds.Exec(`UPDATE account SET day_zone = 'Pacific/Auckland' WHERE id = $1`, int64(a.ID))
				r := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // a test's dice
				var posts []string
				total := map[string]int64{}
				for i := range 3 {
					id := f.Write(fmt.Sprint("old ", i), "")
					posts, total[id] = append(posts, id), 100
					f.Like(id, 100)
				}
				pass(50 * time.Hour)
				w.ran(a, nil) // the first reading: what was before it is nobody's day
				want := int64(0)
				unread := false
				for day := range 60 {
					for range r.IntN(3) {
						id := f.Write(fmt.Sprint("new ", day, r.Int()), "")
						posts, total[id] = append(posts, id), 0
						unread = true
						pass(time.Duration(r.IntN(240)) * time.Minute)
					}
					for _, id := range posts[max(0, len(posts)-20):] {
						n := r.Int64N(9) - 2
						n = max(n, -total[id])
						f.Like(id, n)
						total[id] += n
						want += n
					}
					pass(time.Duration(8+r.IntN(16)) * time.Hour)
					if r.IntN(3) == 0 && day < 59 {
						continue // the daemon was down
					}
					hide := !unread && r.IntN(4) == 0 && day < 59
					f.Hide(social.Likes, hide)
					w.ran(a, nil)
					unread = false
				}
				got := w.count(`SELECT sum(likes) FROM account_day WHERE source = 'posts' AND account_id = $1`, a.ID)
				if int64(got) != want {
					t.Errorf("the days add up to %d likes, the network counted %d since the first reading", got, want)
				}
			})
		})
	}
}

// TestSyncOverMidnight: a run that was killed after it had read everything, and
// goes on two days later, computes the amounts of the day on which it read.
func TestSyncOverMidnight(t *testing.T) {
	inWorld(t, fake.Options{}, func(t *testing.T, w *world, a social.Account, f *fake.Account) {
		f.Like(f.Write("new", ""), 5)
		id := w.order(a)
		day := social.DateOf(now(), time.UTC)
		m := &mortalArchive{Archive: w.db, at: 6} // the roll-up's first call
		if _, err := w.reader(m, nil).Account(t.Context(), id); !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		if n := w.seeds.Text(`SELECT count(*) || ' ' || (SELECT count(*) FROM account_day WHERE source = 'posts') FROM post_day`); n != "1 0" {
			t.Fatalf("it was killed with %s rows of posts and of amounts, want 1 and 0", n)
		}
		pass(49 * time.Hour)
		w.work(w.reader(nil, nil), id)
		w.wantRun(id, scheduler.SyncDone, "")
		if got, want := w.seeds.Text(`SELECT group_concat(day || ': ' || likes) FROM account_day WHERE source = 'posts'`), fmt.Sprintf("%d: 5", day); got != want {
			t.Errorf("the amounts are %q, want %q", got, want)
		}
	})
}

// TestSyncKeepsNoToken: what is kept of the answers holds neither token.
func TestSyncKeepsNoToken(t *testing.T) {
	inWorld(t, fake.Options{TokenLife: 10 * time.Minute, Rotates: true}, func(t *testing.T, w *world, a social.Account, f *fake.Account) {
		life(f)
		secrets := func() []string {
			g, err := w.creds[a.RemoteID].Grant(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return []string{g.Access.Reveal(), g.Refresh.Reveal()}
		}
		all := secrets()
		w.ran(a, nil) // the token has run out and is renewed on the way
		all = append(all, secrets()...)
		if all[0] == all[2] {
			t.Fatal("the token was not renewed")
		}
		rows, err := w.db.WriterDB().QueryContext(t.Context(), `SELECT id FROM raw_answer`)
		if err != nil {
			t.Fatal(err)
		}
		var ids []int64
		for rows.Next() {
			var id int64
			if err := rows.Scan(&id); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(ids) < 5 {
			t.Fatalf("%d answers, %v", len(ids), err)
		}
		for _, id := range ids {
			raw, err := w.db.RawAnswer(t.Context(), social.ID(id))
			if err != nil || len(raw.Body) == 0 {
				t.Fatalf("answer %d: %d bytes, %v", id, len(raw.Body), err)
			}
			for _, secret := range all {
				if secret == "" || strings.Contains(string(raw.Body), secret) {
					t.Errorf("the answer to %s holds a token (or the token is empty)", raw.Op)
				}
			}
		}
	})
}
