package scheduler_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"smi/connectors"
	"smi/connectors/fake"
	"smi/internal/social"
	"smi/scheduler"
)

func TestPublishesAtThePlannedSecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Options{})
		defer w.close()
		a, b := w.account(), w.account()
		at := now().Add(time.Hour).Truncate(time.Second)
		ids := w.plan(at, text("hello"), a, b)
		ids = append(ids, w.plan(at, thread("a thread", 2), a)...)
		w.start()
		pass(59 * time.Minute)
		if n := len(w.net.Journal()); n != 0 {
			t.Fatalf("%d posts are public before their time", n)
		}
		pass(2 * time.Minute)
		w.oracle(ids...)
		for _, id := range ids {
			w.want(id, social.Published)
		}
		for _, p := range w.net.Journal() {
			if late := p.At.Sub(at); late < 0 || late > 50*time.Millisecond {
				t.Errorf("%q became public %v after its time", p.Text, late)
			}
		}
	})
}

func TestThreadKeepsItsOrderAndParents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Options{})
		defer w.close()
		a := w.account()
		parts := append(thread("thread", 2), social.Part{Role: social.RoleComment, Text: "a first comment"})
		ids := w.plan(now().Add(time.Minute), parts, a)
		w.start()
		pass(5 * time.Minute)
		w.oracle(ids...)
		posts := w.net.Posts(a.RemoteID)
		if len(posts) != 4 {
			t.Fatalf("%d posts, want 4", len(posts))
		}
		want := []string{"", posts[0].RemoteID, posts[1].RemoteID, posts[0].RemoteID}
		for i, p := range posts {
			if p.Step != i || p.Parent != want[i] {
				t.Errorf("post %d is step %d under %q, want step %d under %q", i, p.Step, p.Parent, i, want[i])
			}
		}
	})
}

func TestAccountsPostsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Options{Describe: func(d *connectors.Description) { d.MinGap = 0; d.Budgets = nil }})
		defer w.close()
		a := w.account()
		at := now().Add(30 * time.Minute)
		var ids []social.ID
		for i := range 40 {
			ids = append(ids, w.plan(at, text(fmt.Sprintf("number %02d", i)), a)...)
		}
		w.start()
		pass(40 * time.Minute)
		w.oracle(ids...)
		for i, p := range w.net.Posts(a.RemoteID) {
			if p.Text != fmt.Sprintf("number %02d", i) {
				t.Fatalf("post %d is %q", i, p.Text)
			}
		}
	})
}

// Every way in which a commit can go wrong, keyed and unkeyed: what smi says
// afterwards is true, and nothing is there twice.
// TestUploadsDoNotHoldUpWhatIsDue: uploads for later that hang, on accounts that
// have many of them, keep no other post from going out at its second, whether it
// could be prepared in time or was written just now.
// The ledger keeps milliseconds and the clock does not: a distance that ends in
// the middle of one must not be waited for in circles.
func TestDistanceOfPartOfAMillisecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Options{Describe: func(d *connectors.Description) { d.MinGap = 10 * time.Second }})
		defer w.close()
		a := w.account()
		at := now().Add(30 * time.Minute)
		ids := append(w.plan(at, text("first"), a), w.plan(at, text("second"), a)...)
		w.net.Account(a.RemoteID).Latency(fake.OpCommit, 300*time.Millisecond+700*time.Microsecond)
		w.start()
		pass(31 * time.Minute)
		w.oracle(ids...)
		waited := 0
		for _, e := range w.events {
			if e.Delivery == ids[1] && e.State == social.Waiting {
				waited++
			}
		}
		if waited != 1 {
			t.Errorf("the second post was put back %d times to keep its distance, want 1", waited)
		}
	})
}

func TestUploadsDoNotHoldUpWhatIsDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Options{})
		defer w.close()
		slow, other, third := w.account(), w.account(), w.account()
		hang := fake.Fault{Do: fake.HangBefore}
		w.net.Account(slow.RemoteID).Script(fake.OpPrepare, hang, hang, hang, hang, hang, hang)
		for i := range 6 {
			w.plan(now().Add(14*time.Minute), text(fmt.Sprintf("slow %d", i)), slow)
		}
		w.start(func(c *scheduler.Config) { c.StageWorkers = 5 })
		pass(time.Second)
		// The places that the slow account may not have are enough for what is
		// prepared ahead.
		ahead := w.plan(now().Add(10*time.Minute), text("prepared ahead"), third)
		pass(10 * time.Second)
		w.want(ahead[0], social.Ready)
		// Now nobody has a place, and what is due goes out all the same.
		w.net.Account(third.RemoteID).Script(fake.OpPrepare, hang)
		w.plan(now().Add(5*time.Minute), text("hangs too"), third)
		pass(10 * time.Second)
		at := now().Truncate(time.Second).Add(time.Second)
		due := w.plan(at, text("just now"), other)
		pass(5 * time.Second)
		w.want(due[0], social.Published)
		for _, p := range w.net.Journal() {
			if late := p.At.Sub(at); late > time.Second {
				t.Errorf("%q became public %v after its time", p.Text, late)
			}
		}
	})
}

// TestRulesChange: other rules count from the next look at a post on.
func TestRulesChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Options{})
		defer w.close()
		a := w.account()
		r := w.start()
		r.s.SetRules(scheduler.Rules{DialAhead: time.Second, Grace: 15 * time.Minute, HoldUntil: time.Hour, MinGap: 40 * time.Second})
		at := now().Add(time.Minute)
		ids := append(w.plan(at, text("first"), a), w.plan(at, text("second"), a)...)
		pass(5 * time.Minute)
		// Without grace and without holding, what is late is skipped at once.
		r.end()
		late := w.plan(now().Add(-time.Minute), text("late"), a)
		w.start(func(c *scheduler.Config) { c.Rules = scheduler.Rules{DialAhead: time.Second} })
		pass(time.Minute)
		w.oracle(append(ids, late...)...)
		w.want(late[0], social.Skipped)
		posts := w.net.Journal()
		if len(posts) != 2 || posts[1].At.Sub(posts[0].At) < 40*time.Second {
			t.Errorf("got %+v, want two posts 40 s apart", posts)
		}
	})
}

func TestCommitFaults(t *testing.T) {
	t.Parallel()
	type row struct {
		name  string
		fault fake.Fault
		keyed social.DeliveryState // where a keyed one ends
		un    social.DeliveryState // where an unkeyed one ends
	}
	const p, f, b, h = social.Published, social.Failed, social.Blocked, social.NeedsHuman
	for _, r := range []row{
		{"refused: content", fake.Fault{Do: fake.Refuse, Kind: connectors.Invalid}, f, f},
		{"refused: permission", fake.Fault{Do: fake.Refuse, Kind: connectors.Permission}, b, b},
		{"refused: token", fake.Fault{Do: fake.Refuse, Kind: connectors.AuthExpired}, p, p},
		{"refused: limit", fake.Fault{Do: fake.Refuse, Kind: connectors.RateLimited, RetryAfter: 90 * time.Second}, p, p},
		{"nothing written", fake.Fault{Do: fake.CutBeforeWrite}, p, p},
		{"written, not applied", fake.Fault{Do: fake.CutBeforeEffect}, p, h},
		{"applied, answer lost", fake.Fault{Do: fake.CutAfterEffect}, p, p},
		{"applied, 500", fake.Fault{Do: fake.FailAfterEffect}, p, p},
		{"applied, 400 from a liar", fake.Fault{Do: fake.FailAfterEffect, Status: 409}, p, p},
		{"applied, garbage", fake.Fault{Do: fake.Garbage}, p, p},
		{"applied, no id", fake.Fault{Do: fake.WithoutID}, p, p},
		{"applied, hangs", fake.Fault{Do: fake.Hang}, p, p},
		{"not applied, hangs", fake.Fault{Do: fake.HangBefore}, p, h},
		{"applied 45 s later", fake.Fault{Do: fake.Park, After: 45 * time.Second}, p, p},
		{"applied 4 min later", fake.Fault{Do: fake.Park, After: 4 * time.Minute}, p, p},
	} {
		for _, class := range []connectors.Class{connectors.Keyed, connectors.Unkeyed} {
			t.Run(fmt.Sprintf("%s, %s", r.name, class), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, fake.Options{Class: class})
					defer w.close()
					a := w.account()
					w.net.Account(a.RemoteID).Script(fake.OpCommit, r.fault)
					ids := w.plan(now().Add(time.Minute), text("once"), a)
					w.start()
					pass(45 * time.Minute)
					w.oracle(ids...)
					want := r.un
					if class == connectors.Keyed {
						want = r.keyed
					}
					w.want(ids[0], want)
					if w.net.Account(a.RemoteID).Fired() == 0 {
						t.Error("the fault never came")
					}
				})
			})
		}
	}
}

func TestLateRules(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		late   time.Duration
		policy social.LatePolicy
		until  time.Duration // not_after, from the planned time
		want   social.DeliveryState
	}{
		"a little":              {10 * time.Minute, social.LateAsk, 0, social.Published},
		"an hour":               {time.Hour, social.LateAsk, 0, social.HeldLate},
		"an hour, skip":         {time.Hour, social.LateSkip, 0, social.Skipped},
		"an hour, publish":      {time.Hour, social.LatePublish, 0, social.Published},
		"two days":              {48 * time.Hour, social.LateAsk, 0, social.Skipped},
		"a little, but too old": {10 * time.Minute, social.LatePublish, 5 * time.Minute, social.Skipped},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fake.Options{})
				defer w.close()
				at := now().Add(time.Minute)
				ids := w.plan(at, text("late"), w.account())
				w.seeds.Exec(`UPDATE delivery SET late_policy = $1 WHERE id = $2`, string(c.policy), int64(ids[0]))
				if c.until > 0 {
					w.seeds.Exec(`UPDATE delivery SET not_after = $1 WHERE id = $2`, at.Add(c.until).UnixMilli(), int64(ids[0]))
				}
				pass(c.late + time.Minute) // smi is down
				w.start()
				pass(30 * time.Minute)
				w.want(ids[0], c.want)
				w.oracle(ids...)
			})
		})
	}
}

// The process is killed right before and right after every single write to the
// ledger, with and without a fault on the wire, and started again.
func TestKilledAtEveryWrite(t *testing.T) {
	t.Parallel()
	faults := map[string][]fake.Fault{
		"healthy":     nil,
		"answer lost": {{Do: fake.CutAfterEffect}},
		"not applied": {{Do: fake.CutBeforeEffect}},
		"parked":      {{Do: fake.Park, After: 20 * time.Second}},
	}
	if testing.Short() { // the race detector makes the database ten times slower
		faults = map[string][]fake.Fault{"answer lost": faults["answer lost"]}
	}
	for name, script := range faults {
		for _, class := range []connectors.Class{connectors.Keyed, connectors.Unkeyed} {
			t.Run(fmt.Sprintf("%s, %s", name, class), func(t *testing.T) {
				t.Parallel()
				reached := 0
				for at := 1; ; at++ {
					var writes int
					for _, after := range []bool{false, true} {
						synctest.Test(t, func(t *testing.T) {
							w := newWorld(t, fake.Options{Class: class})
							defer w.close()
							a := w.account()
							w.net.Account(a.RemoteID).Script(fake.OpCommit, script...)
							ids := w.plan(now().Add(16*time.Minute), thread("killed", 1), a)
							r := w.start()
							r.ledger.mu.Lock()
							r.ledger.at, r.ledger.after = at, after
							r.ledger.mu.Unlock()
							pass(17 * time.Minute)
							writes = r.ledger.writes
							r.kill()
							r.end()
							w.start()
							w.rest(2*time.Hour, ids...)
							w.oracle(ids...)
							if t.Failed() {
								t.Logf("killed at write %d (after: %v)", at, after)
							}
						})
					}
					if writes < at {
						break // there was no such write: every one has been tried
					}
					reached = at
				}
				if reached < 6 {
					t.Errorf("only %d writes were seen: the test does not reach what it is for", reached)
				}
			})
		}
	}
}

func TestCancelWinsOrLosesAgainstArming(t *testing.T) {
	t.Parallel()
	for ms := range 12 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fake.Options{})
			defer w.close()
			a := w.account()
			w.net.Account(a.RemoteID).Latency(fake.OpCommit, 5*time.Millisecond)
			at := now().Add(time.Minute).Truncate(time.Second)
			ids := w.plan(at, text("wanted?"), a)
			w.start()
			pass(at.Sub(now()) + time.Duration(ms-4)*time.Millisecond)
			state, err := w.db.CancelDelivery(t.Context(), w.ws.ID, ids[0], "test")
			w.rest(30*time.Minute, ids...)
			if n := len(w.net.Journal()); state == social.Cancelled && err == nil && n != 0 {
				t.Errorf("%d ms: cancelled was answered, and %d posts are public", ms-4, n)
			} else if err != nil && n != 1 {
				t.Errorf("%d ms: too late was answered (%v), and %d posts are public", ms-4, err, n)
			}
			w.oracle(ids...)
		})
	}
}

// Random posts, faults, kills and stops: whatever happens, nothing is there
// twice, nothing is forgotten, and what smi says is true.
func TestRandomLives(t *testing.T) {
	t.Parallel()
	seeds := 60
	if testing.Short() {
		seeds = 6
	}
	seen := map[social.DeliveryState]int{}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(uint64(seed), 7))
			w := newWorld(t, fake.Options{Rotates: true, TokenLife: time.Hour, Describe: func(d *connectors.Description) { d.MinGap = 0 }})
			defer w.close()
			var accounts []social.Account
			for range 3 {
				a := w.account()
				accounts = append(accounts, a)
				n := w.net.Account(a.RemoteID)
				if rnd.IntN(2) == 0 {
					n.SetClass(connectors.Keyed)
				}
				n.Script(fake.OpCommit, randomFaults(rnd, 6)...)
				n.Script(fake.OpPrepare, randomRefusals(rnd, 4)...)
				n.Script(fake.OpFind, randomRefusals(rnd, 4)...)
				n.Latency(fake.OpCommit, time.Duration(rnd.IntN(3000))*time.Millisecond)
				n.Stale(time.Duration(rnd.IntN(90)) * time.Second)
			}
			var ids []social.ID
			for i := range 12 {
				parts := text(fmt.Sprintf("post %d of seed %d", i, seed))
				if rnd.IntN(3) == 0 {
					parts = thread(fmt.Sprintf("thread %d of seed %d", i, seed), 1+rnd.IntN(2))
				}
				at := now().Add(time.Duration(rnd.IntN(3600)) * time.Second)
				ids = append(ids, w.plan(at, parts, accounts[rnd.IntN(3)])...)
			}
			for range 1 + rnd.IntN(4) {
				r := w.start()
				pass(time.Duration(rnd.IntN(800)) * time.Second)
				for range rnd.IntN(3) { // an error means too late; success is a promise that the oracle checks
					w.db.CancelDelivery(t.Context(), w.ws.ID, ids[rnd.IntN(len(ids))], "somebody") //nolint:errcheck // see above
				}
				pass(time.Duration(rnd.IntN(800)) * time.Second)
				if rnd.IntN(2) == 0 {
					r.kill()
				}
				r.end()
				pass(time.Duration(rnd.IntN(120)) * time.Second)
			}
			w.start()
			w.rest(6*time.Hour, ids...)
			w.oracle(ids...)
			for _, id := range ids {
				s, _ := w.state(id)
				seen[s]++
			}
			if t.Failed() {
				t.Logf("seed %d", seed)
			}
		})
		if t.Failed() {
			return
		}
	}
	for _, s := range []social.DeliveryState{social.Published, social.Failed, social.NeedsHuman, social.Cancelled} {
		if seen[s] == 0 {
			t.Errorf("no delivery ended as %s: the search does not reach what it is for (%v)", s, seen)
		}
	}
	t.Logf("%d lives: %v", seeds, seen)
}

func randomFaults(rnd *rand.Rand, n int) []fake.Fault {
	all := []fake.Fault{
		{},
		{},
		{},
		{Do: fake.Refuse, Kind: connectors.Invalid},
		{Do: fake.Refuse, Kind: connectors.RateLimited, RetryAfter: 30 * time.Second},
		{Do: fake.CutBeforeWrite},
		{Do: fake.CutBeforeEffect},
		{Do: fake.CutAfterEffect},
		{Do: fake.FailAfterEffect},
		{Do: fake.Park, After: time.Duration(rnd.IntN(200)) * time.Second},
		{Do: fake.WithoutID},
		{Do: fake.Garbage},
		{Do: fake.Hang},
		{Do: fake.HangBefore},
	}
	var out []fake.Fault
	for range n {
		out = append(out, all[rnd.IntN(len(all))])
	}
	return out
}

func randomRefusals(rnd *rand.Rand, n int) []fake.Fault {
	var out []fake.Fault
	for range n {
		f := fake.Fault{}
		if rnd.IntN(2) == 0 {
			f = fake.Fault{Do: fake.Refuse, Kind: connectors.Transient}
		}
		out = append(out, f)
	}
	return out
}

var _ scheduler.Ledger = (*mortal)(nil)
