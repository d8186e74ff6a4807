package scheduler_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"smi/connectors"
	"smi/connectors/fake"
	"smi/internal/social"
	"smi/scheduler"
	"smi/store"
	"smi/store/storetest"
)

// restored closes the world's store and goes on with a copy of an earlier time,
// in quarantine, as smi restore would.
func (w *world) restored(file string) social.Quarantine {
	w.t.Helper()
	if err := w.db.Close(); err != nil {
		w.t.Fatal(err)
	}
	db, err := store.Open(w.t.Context(), store.Options{Path: file, Now: now, BallastBytes: -1})
	if err != nil {
		w.t.Fatal(err)
	}
	w.db, w.seeds = db, storetest.Seed(w.t, db)
	q, err := db.Revive(w.t.Context(), "A backup was restored.", "cli:test")
	if err != nil {
		w.t.Fatal(err)
	}
	return q
}

// snapshot copies the store as it is now.
func (w *world) snapshot() string {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "smi.db")
	if err := w.db.Snapshot(w.t.Context(), file); err != nil {
		w.t.Fatal(err)
	}
	return file
}

func (w *world) quarantine() social.Quarantine {
	w.t.Helper()
	q, err := w.db.Quarantine(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return q
}

func (w *world) adopt() {
	w.t.Helper()
	if _, err := w.db.Adopt(w.t.Context(), "cli:test"); err != nil {
		w.t.Fatal(err)
	}
	for _, r := range w.runs {
		r.s.Wake()
	}
}

// armed counts attempts that were armed here: those that a look found stand for
// what others sent.
func (w *world) armed() string {
	return w.seeds.Text(`SELECT count(*) FROM attempt WHERE node <> ''`)
}

// TestRestoreOfFifty is the promise of a restore: of 50 posts that were due after
// the backup, none is published before it was looked up, those that are live are
// taken up, and about the rest people are asked.
func TestRestoreOfFifty(t *testing.T) {
	for _, class := range []connectors.Class{connectors.Unkeyed, connectors.Keyed} {
		t.Run(string(class), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fake.Options{Class: class, PageSize: 7})
				defer w.close()
				accounts := []social.Account{w.account(), w.account(), w.account()}
				var ids []social.ID
				for i := range 50 {
					at := now().Add(30*time.Minute + time.Duration(i)*time.Minute)
					ids = append(ids, w.plan(at, text(fmt.Sprintf("number %d says that word %d is its own", i, i*i)), accounts[i%3])...)
				}
				after := w.plan(now().Add(10*time.Hour), text("planned for after the gap"), accounts[0])[0]
				during := w.plan(now().Add(3*time.Hour), text("due while nobody has adopted it"), accounts[1])[0]
				w.seeds.Exec(`UPDATE delivery SET created_at = $1, updated_at = $1`, now().UnixMilli())
				backup := w.snapshot()

				// The live smi publishes until its machine burns, 25 minutes into the 50.
				live := w.start()
				pass(55 * time.Minute)
				live.kill()
				pass(time.Second)
				published := len(w.net.Journal())
				if published < 20 || published > 30 {
					t.Fatalf("%d posts went out before the fire", published)
				}
				pass(40 * time.Minute)

				q := w.restored(backup)
				if q.Gap.Pending != 50 || !q.Stops || q.Phase != social.Quarantined {
					t.Fatalf("the quarantine began as %+v", q)
				}
				w.start()
				pass(3 * time.Hour)
				if got := w.armed(); got != "0" || len(w.net.Journal()) != published {
					t.Errorf("in quarantine %s attempts were armed and %d posts appeared", got, len(w.net.Journal())-published)
				}
				if q = w.quarantine(); q.Gap.Adopted != published || q.Gap.Pending != 50-published {
					t.Errorf("in quarantine %d are live, and it found %+v", published, q.Gap)
				}
				w.adopt()
				pass(2 * time.Minute)
				if q = w.quarantine(); q.Open() || q.Gap.Adopted != published || q.Gap.Missing != 51-published {
					t.Errorf("%d are live, and the quarantine is %s with %+v", published, q.Phase, q.Gap)
				}
				w.want(during, social.HeldLate)
				w.rest(24*time.Hour, append(ids, after)...)
				if got := w.armed(); got != "1" || len(w.net.Journal()) != published+1 {
					t.Errorf("afterwards %s attempts were armed and %d posts appeared, want the one planned for later", got, len(w.net.Journal())-published)
				}
				w.want(after, social.Published)
				w.oracle(append(ids, after)...)
				for _, id := range ids {
					live := len(w.effects(id)) > 0
					if s, reason := w.state(id); live != (s == social.Published) || !live && s != social.HeldLate {
						t.Errorf("on the network: %v, but it is %s (%s)", live, s, reason)
					}
				}
				if n := w.seeds.Text(`SELECT count(*) FROM attempt WHERE state = 'adopted' AND decided_by = 'restore'`); n != fmt.Sprint(published) {
					t.Errorf("%s attempts say that they were found", n)
				}
				for _, kind := range []string{"quarantine_began", "quarantine_adopted", "quarantine_ended"} {
					if n := w.seeds.Text(`SELECT count(*) FROM outbox WHERE kind = $1`, kind); n != "1" {
						t.Errorf("%s notices %s", n, kind)
					}
				}
			})
		})
	}
}

// lost makes a world whose live smi published for a while after the backup, and
// of which only the backup is left. plan plans posts, due a minute from now on.
func lost(t *testing.T, o fake.Options, plan func(*world), after ...func(*world)) *world {
	t.Helper()
	w := newWorld(t, o)
	plan(w)
	w.seeds.Exec(`UPDATE delivery SET created_at = $1, updated_at = $1`, now().UnixMilli())
	file := w.snapshot()
	live := w.start()
	for _, fn := range after {
		fn(w)
	}
	pass(10 * time.Minute)
	live.kill()
	pass(time.Hour)
	w.restored(file)
	return w
}

// TestRestoredThread: the parts of a thread and the comments that are live are
// taken up one by one; what is not there is asked about, and follows by a
// person's word.
func TestRestoredThread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var whole, half social.ID
		w := lost(t, fake.Options{}, func(w *world) {
			a, b := w.account(), w.account()
			parts := append(thread("a thread that is whole", 2), social.Part{Role: social.RoleComment, Text: "a comment under it"})
			whole = w.plan(now().Add(time.Minute), parts, a)[0]
			half = w.plan(now().Add(time.Minute), thread("a thread that broke off", 2), b)[0]
			// The third part never got out, and the live smi waited.
			w.net.Account(b.RemoteID).Script(fake.OpCommit, fake.Fault{}, fake.Fault{}, fake.Fault{Do: fake.Refuse, Kind: connectors.RateLimited, RetryAfter: 20 * time.Hour})
		})
		defer w.close()
		w.start()
		pass(time.Minute)
		w.want(whole, social.Published)
		w.adopt()
		pass(time.Minute)
		w.want(half, social.HeldLate)
		if n := w.count(`SELECT step FROM delivery WHERE id = $1`, half); n != 2 {
			t.Errorf("%d parts were taken up, want 2", n)
		}
		if n := len(w.effects(whole)); n != 4 {
			t.Errorf("the whole thread has %d parts on the network", n)
		}
		if got := w.armed(); got != "0" {
			t.Errorf("%s attempts were armed", got)
		}
		if err := w.db.PublishLate(t.Context(), w.ws.ID, half, true, "person:ada"); err != nil {
			t.Fatal(err)
		}
		for _, r := range w.runs {
			r.s.Wake()
		}
		pass(time.Minute)
		w.want(half, social.Published)
		w.oracle(whole, half)
	})
}

// TestRestoredDoubt: what is there twice, or only something like it, is for a
// person, who is shown what was found.
func TestRestoredDoubt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const words = "a post of ten words so that one may differ"
		var twice, near, other social.ID
		w := lost(t, fake.Options{}, func(w *world) {
			a, b := w.account(), w.account()
			twice = w.plan(now().Add(time.Minute), text("said twice"), a)[0]
			w.net.Account(a.RemoteID).Write("said twice", "")
			near = w.plan(now().Add(20*time.Minute), text(words), b)[0]
			w.net.Account(b.RemoteID).Write("a post of ten words so that one might differ", "")
			other = w.plan(now().Add(20*time.Minute), text("nothing is like this"), b)[0]
		})
		defer w.close()
		w.start()
		pass(time.Minute)
		w.adopt()
		pass(time.Minute)
		w.want(twice, social.NeedsHuman)
		w.want(near, social.NeedsHuman)
		w.want(other, social.HeldLate)
		for id, n := range map[social.ID]int{twice: 2, near: 1} {
			as, err := w.db.Attempts(t.Context(), w.ws.ID, id)
			if err != nil || len(as) != 1 || as[0].State != scheduler.AttemptAmbiguous || as[0].DecidedBy != "restore" || len(as[0].Evidence.Candidates) != n {
				t.Errorf("the person is shown %+v, %v", as, err)
			}
		}
		if q := w.quarantine(); q.Open() || q.Gap.Asked != 2 || q.Gap.Missing != 1 {
			t.Errorf("the quarantine is %+v", q)
		}
		pass(24 * time.Hour)
		if got := w.armed(); got != "0" {
			t.Errorf("%s attempts were armed", got)
		}
	})
}

// TestRestoredUnlooked: what cannot be looked up is said to be so, and is not
// sent; while it may still get better, smi tries again.
func TestRestoredUnlooked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault fake.Fault
		want  social.DeliveryState
	}{
		"signed out":      {fake.Fault{Do: fake.Refuse, Kind: connectors.Permission}, social.HeldLate},
		"no list":         {fake.Fault{Do: fake.Refuse, Kind: connectors.Unsupported}, social.HeldLate},
		"network is down": {fake.Fault{Do: fake.Refuse, Kind: connectors.Transient}, social.HeldLate},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var id, fine, next social.ID
				var bad social.Account
				w := lost(t, fake.Options{Class: connectors.Unkeyed}, func(w *world) {
					bad = w.account()
					id = w.plan(now().Add(time.Minute), text("live, and not to be seen"), bad)[0]
					ok := w.account()
					fine = w.plan(now().Add(time.Minute), text("live and seen"), ok)[0]
					next = w.plan(now().Add(3*time.Hour), text("for later"), ok)[0]
				})
				defer w.close()
				w.net.Account(bad.RemoteID).Always(fake.OpList, c.fault)
				w.net.Account(bad.RemoteID).Always(fake.OpFind, c.fault)
				w.start()
				pass(30 * time.Minute)
				w.want(fine, social.Published)
				if s, _ := w.state(id); s != social.Scheduled {
					t.Errorf("before it was adopted it is %s", s)
				}
				w.adopt()
				pass(time.Hour)
				w.want(id, c.want)
				if _, reason := w.state(id); !strings.Contains(reason, "could not be looked up") {
					t.Errorf("the reason is %q", reason)
				}
				if q := w.quarantine(); q.Open() || q.Gap.Unlooked != 1 {
					t.Errorf("the quarantine is %+v", q)
				}
				pass(3 * time.Hour)
				w.want(next, social.Published)
				if n := len(w.effects(id)); n != 1 {
					t.Errorf("it is %d times on the network", n)
				}
			})
		})
	}
}

// TestRestoredAmbiguous: what was on the wire when the backup was made goes
// through the ordinary look, in quarantine as well, and is sent by nobody.
func TestRestoredAmbiguous(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Options{})
		defer w.close()
		a := w.account()
		id := w.plan(now().Add(time.Minute), text("on the wire"), a)[0]
		w.seeds.Exec(`UPDATE delivery SET created_at = $1, updated_at = $1`, now().UnixMilli())
		w.net.Account(a.RemoteID).Script(fake.OpCommit, fake.Fault{Do: fake.CutAfterEffect})
		live := w.start()
		pass(61 * time.Second)
		w.want(id, social.Ambiguous)
		file := w.snapshot()
		live.kill()
		pass(time.Hour)
		w.restored(file)
		w.start()
		pass(time.Hour)
		w.want(id, social.Published)
		w.adopt()
		pass(time.Minute)
		if q := w.quarantine(); q.Open() || q.Gap.Adopted != 1 {
			t.Errorf("the quarantine is %+v", q)
		}
		w.oracle(id)
	})
}

// TestCloneLooksOn: two instances of one database. The copy sends nothing and
// takes up what the live one publishes; nobody's work is done twice.
func TestCloneLooksOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Options{})
		defer w.close()
		a := w.account()
		var ids []social.ID
		for i := range 6 {
			ids = append(ids, w.plan(now().Add(time.Duration(1+10*i)*time.Minute), text(fmt.Sprintf("post %d has words of its own: %d", i, i*7)), a)...)
		}
		w.seeds.Exec(`UPDATE delivery SET created_at = $1, updated_at = $1`, now().UnixMilli())
		file := w.snapshot()
		live := w.start()
		copied, err := store.Open(t.Context(), store.Options{Path: file, Now: now, BallastBytes: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer copied.Close() //nolint:errcheck // the test ends
		if _, err := copied.BeginQuarantine(t.Context(), social.QuarantineOrder{Kind: social.Copied, Reason: "Another machine.", From: now().Add(-time.Hour), By: "smi"}); err != nil {
			t.Fatal(err)
		}
		w.start(func(c *scheduler.Config) { c.Ledger = copied })
		pass(2 * time.Hour)
		w.oracle(ids...)
		live.kill()
		pass(time.Minute)
		if _, err := copied.Adopt(t.Context(), "cli:test"); err != nil {
			t.Fatal(err)
		}
		w.runs[1].s.Wake()
		pass(time.Minute)
		if q, err := copied.Quarantine(t.Context()); err != nil || q.Open() || q.Gap.Adopted != 6 {
			t.Errorf("the copy's quarantine is %+v, %v", q, err)
		}
		w.oracle(ids...)
	})
}

// TestShortQuarantine: after the machine went down, only what was planned around
// that moment is held back until it was looked up, without a person; what is not
// there goes out, and the rest is not kept waiting.
func TestShortQuarantine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Options{})
		defer w.close()
		a, b := w.account(), w.account()
		lost := w.plan(now().Add(time.Minute), text("sent, and its record lost"), a)[0]
		never := w.plan(now().Add(2*time.Minute), text("not sent"), b)[0]
		other := w.plan(now().Add(5*time.Minute), text("has nothing to do with it"), a)[0]
		w.seeds.Exec(`UPDATE delivery SET created_at = $1, updated_at = $1`, now().UnixMilli())
		pass(3 * time.Minute)
		w.net.Account(a.RemoteID).Write("sent, and its record lost", "")
		q, err := w.db.BeginQuarantine(t.Context(), social.QuarantineOrder{
			Kind: social.UncleanStop, Reason: "The machine went down.", Short: true, From: now().Add(-10 * time.Minute), To: now(), By: "smi",
		})
		if err != nil || q.Gap.Pending != 2 || q.Stops || q.Phase != social.Adopting {
			t.Fatalf("it began as %+v, %v", q, err)
		}
		w.start()
		pass(3 * time.Minute)
		w.want(lost, social.Published)
		w.want(other, social.Published)
		if s, _ := w.state(never); s != social.Scheduled {
			t.Errorf("before a listing proves anything it is %s", s)
		}
		w.rest(time.Hour, never)
		if n := len(w.effects(never)); n > 1 || n == 0 {
			s, reason := w.state(never)
			t.Errorf("it is %d times on the network, and %s (%s)", n, s, reason)
		}
		if q := w.quarantine(); q.Open() || q.Gap.Adopted != 1 || q.Gap.Released != 1 {
			t.Errorf("the quarantine is %+v", q)
		}
		if n := len(w.effects(lost)); n != 0 { // the one there was written by hand
			t.Errorf("it was sent again, %d times", n)
		}
	})
}

// spelling is a network that spells links out.
type spelling struct{ connectors.Platform }

func (p spelling) Dial(a social.Account, c connectors.Credentials) (connectors.Conn, error) {
	conn, err := p.Platform.Dial(a, c)
	if err != nil {
		return nil, err
	}
	return spellingConn{conn, conn.(connectors.Publisher), conn.(connectors.CommitDialer), conn.(connectors.Finder), conn.(connectors.Lister)}, nil
}

type spellingConn struct {
	connectors.Conn
	connectors.Publisher
	connectors.CommitDialer
	connectors.Finder
	connectors.Lister
}

func (spellingConn) Recognises(p *social.Part, r connectors.RemotePost) bool {
	return strings.ReplaceAll(r.Text, "https://example.com/", "example.com") == p.Text
}

// TestGapOfRewrittenPosts: a post that the network writes in its own way is
// taken for what it is after a gap, and not sent again.
func TestGapOfRewrittenPosts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Options{})
		defer w.close()
		a := w.account()
		lost := w.plan(now().Add(time.Minute), text("see example.com"), a)[0]
		w.seeds.Exec(`UPDATE delivery SET created_at = $1, updated_at = $1`, now().UnixMilli())
		pass(3 * time.Minute)
		w.net.Account(a.RemoteID).Write("see https://example.com/", "")
		if _, err := w.db.BeginQuarantine(t.Context(), social.QuarantineOrder{
			Kind: social.UncleanStop, Reason: "The machine went down.", Short: true, From: now().Add(-10 * time.Minute), To: now(), By: "smi",
		}); err != nil {
			t.Fatal(err)
		}
		w.start(func(c *scheduler.Config) {
			c.Clients = func(_ context.Context, a social.Account) (*connectors.Client, error) {
				return connectors.Open(spelling{w.net}, a, w.creds[a.RemoteID])
			}
		})
		w.rest(time.Hour, lost)
		if n := len(w.effects(lost)); n != 0 { // the one there was written by hand
			t.Errorf("it was sent again, %d times", n)
		}
		w.want(lost, social.Published)
	})
}
