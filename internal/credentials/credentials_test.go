package credentials_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"smi/connectors"
	"smi/internal/credentials"
	"smi/internal/social"
)

func TestALongLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		net, n := newNetwork(r), r.node("a")
		a := r.account(n, net.login())
		c := n.For(a, net)
		if g := mustGrant(t, c); g.Gen != 1 || !net.good(g) || g.Extra["dpop"].Reveal() != "SMICANARY-dpop" || len(g.Scopes) != 2 {
			t.Fatalf("first grant: generation %d", g.Gen)
		}
		if got := r.status(a); got != "connected 1: " {
			t.Errorf("after the login the account is %q", got)
		}
		for gen := int64(2); gen < 50; gen++ {
			next := r.row(a).NextAt
			life := next.Sub(r.now())
			if life < 62*time.Minute || life > 82*time.Minute {
				t.Fatalf("generation %d is refreshed after %v, which is not near 60 %% of two hours", gen-1, life)
			}
			sleep(life - time.Second)
			if due, err := n.Due(t.Context()); err != nil || len(due) != 0 {
				t.Fatalf("due a second too early: %v, %v", due, err)
			}
			sleep(time.Second)
			due, err := n.Due(t.Context())
			if err != nil || len(due) != 1 || due[0] != a {
				t.Fatalf("due: %v, %v", due, err)
			}
			if gen%2 == 0 { // by the job, or by the next call
				if err := n.Refresh(t.Context(), a, net); err != nil {
					t.Fatal(err)
				}
			}
			if g := mustGrant(t, c); g.Gen != gen || !net.good(g) {
				t.Fatalf("generation %d, want %d", g.Gen, gen)
			}
			if got, want := r.status(a), fmt.Sprintf("connected %d: ", gen); got != want {
				t.Fatalf("account is %q, want %q", got, want)
			}
		}
		if net.count() != 48 || r.notices(a) != "" {
			t.Errorf("%d refreshes, notices %q", net.count(), r.notices(a))
		}
		// The former generation is kept for a day and no longer.
		former := func() string {
			return r.seeds.Text(`SELECT prev_gen || ' ' || (prev_sealed IS NOT NULL) FROM grant_row WHERE account_id = $1`, int64(a))
		}
		if got := former(); got != "48 1" {
			t.Errorf("former generation: %q", got)
		}
		sleep(25 * time.Hour)
		if _, err := n.Due(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := former(); got != "0 0" {
			t.Errorf("former generation after a day: %q", got)
		}
		r.close(n)
	})
}

func TestOneRefreshForAllNodes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		after time.Duration
		renew bool
	}{
		{"the token has ended", 3 * time.Hour, false},
		{"the token is still good", 115 * time.Minute, false},
		{"every call was refused", 10 * time.Minute, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				net := newNetwork(r)
				net.latency = 2 * time.Second
				nodes := []*credentials.Service{r.node("a"), r.node("b")}
				a := r.account(nodes[0], net.login())
				sleep(c.after)
				var wg sync.WaitGroup
				for _, n := range nodes {
					lent := n.For(a, net)
					for range 16 {
						wg.Go(func() {
							var g connectors.Grant
							var err error
							if c.renew {
								g, err = lent.Renew(t.Context(), 1)
							} else {
								g, err = lent.Grant(t.Context())
							}
							ended := c.after > net.life
							if err != nil || (ended || c.renew) && g.Gen != 2 || g.Gen > 2 {
								t.Errorf("generation %d, %v", g.Gen, err)
							}
						})
					}
				}
				wg.Wait()
				if net.calls != 1 || net.most != 1 {
					t.Errorf("%d refreshes, %d at once; want exactly one", net.calls, net.most)
				}
				for _, n := range nodes {
					if g := mustGrant(t, n.For(a, net)); g.Gen != 2 || !net.good(g) {
						t.Errorf("afterwards generation %d", g.Gen)
					}
				}
				r.close(nodes...)
			})
		})
	}
}

// TestNobodyIsDisconnectedByTrouble: what is not the network's own word on the
// grant leaves the account connected, and the old token in use.
func TestNobodyIsDisconnectedByTrouble(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		lenient bool
		fault   fault
		state   credentials.State
		next    time.Duration // from the failure; 0: see unknown
		notices string
	}{
		{"nothing was written", false, unsent, credentials.Connected, 30 * time.Second, ""},
		{"429", false, tooMany, credentials.Connected, 20 * time.Minute, ""},
		{"the app is refused", false, noApp, credentials.Connected, 15 * time.Minute, "account_refresh_failing/alarm"},
		{"cut, rotating", false, cutEarly, credentials.RefreshUnknown, 0, "account_may_need_reconnect/alarm"},
		{"502 after the work, rotating", false, gateway, credentials.RefreshUnknown, 0, "account_may_need_reconnect/alarm"},
		{"a bare deadline, rotating", false, deadline, credentials.RefreshUnknown, 0, "account_may_need_reconnect/alarm"},
		{"a panic, rotating", false, breaks, credentials.RefreshUnknown, 0, "account_may_need_reconnect/alarm"},
		{"cut, lasting", true, cutEarly, credentials.RefreshUnknown, 30 * time.Second, "account_may_need_reconnect/alarm"},
		{"502 after the work, lasting", true, gateway, credentials.RefreshUnknown, 30 * time.Second, "account_may_need_reconnect/alarm"},
		{"refused once", false, denied, credentials.Connected, time.Minute, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				net, n := newNetwork(r), r.node("a")
				net.lenient = c.lenient
				first := net.login()
				a := r.account(n, first)
				sleep(r.row(a).NextAt.Sub(r.now()))
				net.then(c.fault)
				if err := n.Refresh(t.Context(), a, net); err == nil {
					t.Error("the refresh is said to have worked")
				}
				row := r.row(a)
				if row.State != c.state || row.Gen != 1 || r.notices(a) != c.notices {
					t.Errorf("state %s of generation %d, notices %q (%s)", row.State, row.Gen, r.notices(a), r.told(a))
				}
				want := r.now().Add(c.next)
				if c.fault == noApp { // two more tries must fit before the end
					want = r.now().Add(min(c.next, row.Expires.Sub(r.now())/3))
				}
				if c.next == 0 {
					want = row.Expires.Add(-10 * time.Minute)
				}
				if !row.NextAt.Equal(want.Truncate(time.Millisecond)) {
					t.Errorf("next look at %v, want %v", row.NextAt, want)
				}
				if got := r.status(a); got != "connected 1: " {
					t.Errorf("the account is %q", got)
				}
				calls := net.count()
				if g := mustGrant(t, n.For(a, net)); g.Access.Reveal() != first.Access.Reveal() {
					t.Error("the old token is not used any more")
				}
				if net.count() != calls {
					t.Error("the network was asked again at once")
				}
				if c.fault == gateway && !c.lenient { // that login is lost, see below
					r.close(n)
					return
				}
				sleep(row.NextAt.Sub(r.now()))
				if err := n.Refresh(t.Context(), a, net); err != nil {
					t.Fatalf("the second try: %v", err)
				}
				if g := mustGrant(t, n.For(a, net)); g.Gen != 2 || !net.good(g) {
					t.Errorf("generation %d after the second try", g.Gen)
				}
				if row = r.row(a); row.State != credentials.Connected || !row.UnknownSince.IsZero() || !row.RefusedAt.IsZero() || row.Fails != 0 {
					t.Errorf("row after the second try: %+v", row)
				}
				if c.notices != "" {
					if got := r.notices(a); got != c.notices+" account_fine_again/info" {
						t.Errorf("notices %q", got)
					}
				}
				r.close(n)
			})
		})
	}
}

// TestLostAnswer is the one way to lose an account of a rotating network: it is
// said at once, used to the end, and ends in two refusals and a clear word.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		net, n := newNetwork(r), r.node("a")
		first := net.login()
		a := r.account(n, first)
		c := n.For(a, net)
		sleep(80 * time.Minute)
		began := r.now().Format("15:04 UTC")
		net.then(cutLate)
		if g := mustGrant(t, c); g.Gen != 1 {
			t.Fatalf("generation %d", g.Gen)
		}
		wantText(t, "notice", r.told(a), "team2 on fake may need to be connected again", "the answer to our refresh of "+began+" was lost", "tries once more at 04:50 UTC", "it works until 05:00 UTC on 23 November")
		sleep(29 * time.Minute)
		if g := mustGrant(t, c); g.Gen != 1 || net.count() != 1 {
			t.Fatalf("generation %d, %d refreshes before the last ten minutes", g.Gen, net.count())
		}
		sleep(90 * time.Second)
		if g := mustGrant(t, c); g.Gen != 1 || net.count() != 2 { // refused: it goes on with the old token and asks again
			t.Fatalf("generation %d, %d refreshes", g.Gen, net.count())
		}
		if got := r.status(a); got != "connected 1: " {
			t.Fatalf("disconnected after one refusal: %q", got)
		}
		sleep(59 * time.Second)
		if _, err := c.Renew(t.Context(), 1); connectors.KindOf(err) != connectors.Transient || net.count() != 2 {
			t.Fatalf("Renew between the refusals: %v, %d refreshes", err, net.count())
		}
		sleep(time.Second)
		err := n.Refresh(t.Context(), a, net)
		if connectors.KindOf(err) != connectors.AuthExpired {
			t.Fatalf("the second refusal: %v", err)
		}
		if row := r.row(a); row.State != credentials.NeedsReconnect || !row.NextAt.IsZero() {
			t.Errorf("row %+v", row)
		}
		wantText(t, "account", r.status(a), "needs_reconnect 1: The answer to our refresh of "+began+" was lost", "the network refuses the old login", "Connect the account again.")
		if got := r.notices(a); got != "account_may_need_reconnect/alarm account_needs_reconnect/alarm" {
			t.Errorf("notices %q", got)
		}
		wantText(t, "notice", r.told(a), "team2 on fake must be connected again: the answer to our refresh of "+began+" was lost")
		for range 3 {
			if _, err := c.Grant(t.Context()); connectors.KindOf(err) != connectors.AuthExpired {
				t.Errorf("Grant of a dead login: %v", err)
			}
			if _, err := c.Renew(t.Context(), 1); connectors.KindOf(err) != connectors.AuthExpired {
				t.Errorf("Renew of a dead login: %v", err)
			}
		}
		if due, err := n.Due(t.Context()); err != nil || len(due) != 0 || net.count() != 3 {
			t.Errorf("due %v, %v; %d refreshes", due, err, net.count())
		}
		// A person logs in again.
		if err := n.Connect(t.Context(), a, net.login()); err != nil {
			t.Fatal(err)
		}
		if g := mustGrant(t, c); g.Gen != 2 || !net.good(g) {
			t.Errorf("generation %d after the login", g.Gen)
		}
		if got := r.status(a); got != "connected 2: " {
			t.Errorf("the account is %q", got)
		}
		r.close(n)
	})
}

// TestTwoRefusals: a person revoked the app; no answer was lost.
func TestTwoRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		net, n := newNetwork(r), r.node("a")
		a := r.account(n, net.login())
		c := n.For(a, net)
		net.then(denied, unsent, denied)
		if _, err := c.Renew(t.Context(), 1); connectors.KindOf(err) != connectors.Transient || connectors.AsError(err).RetryAfter != time.Minute {
			t.Fatalf("the first refusal: %#v", err)
		}
		sleep(time.Minute)
		if _, err := c.Renew(t.Context(), 1); connectors.KindOf(err) != connectors.Transient {
			t.Fatalf("a network that cannot be reached: %v", err)
		}
		if got := r.status(a); got != "connected 1: " {
			t.Fatalf("the account is %q", got)
		}
		sleep(time.Minute)
		if _, err := c.Renew(t.Context(), 1); connectors.KindOf(err) != connectors.AuthExpired {
			t.Fatalf("the second refusal: %v", err)
		}
		wantText(t, "account", r.status(a), "needs_reconnect 1: The network refused the login at 03:00 UTC and again at 03:02 UTC")
		if got := r.notices(a); got != "account_needs_reconnect/alarm" {
			t.Errorf("notices %q", got)
		}
		r.close(n)
	})
}

// TestWhatCannotBeRenewed: without a refresh token or a refresher the network's
// word on the access token counts, said twice.
func TestWhatCannotBeRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		net, n := newNetwork(r), r.node("a")
		g := net.login()
		g.Refresh = social.Secret{}
		a := r.account(n, g)
		c := n.For(a, net)
		sleep(3 * time.Hour) // past the end it is still lent: clocks differ, the network decides
		if got := mustGrant(t, c); got.Gen != 1 {
			t.Fatalf("generation %d", got.Gen)
		}
		if _, err := c.Renew(t.Context(), 1); connectors.KindOf(err) != connectors.Transient {
			t.Fatalf("the first refusal: %v", err)
		}
		if _, err := c.Renew(t.Context(), 1); connectors.KindOf(err) != connectors.Transient {
			t.Fatalf("the first refusal, said twice: %v", err)
		}
		sleep(time.Minute)
		if _, err := n.For(a, nil).Renew(t.Context(), 1); connectors.KindOf(err) != connectors.AuthExpired {
			t.Fatalf("the second refusal: %v", err)
		}
		if got := r.notices(a); got != "account_needs_reconnect/alarm" || net.count() != 0 {
			t.Errorf("notices %q, %d refreshes", got, net.count())
		}
		if _, err := n.For(r.seeds.Account(r.space).ID, net).Grant(t.Context()); connectors.KindOf(err) != connectors.AuthExpired {
			t.Errorf("Grant of an account without a login: %v", err)
		}
		r.close(n)
	})
}

// TestRefusedWhileUnknown: when the access token that the caution protects is
// refused, the old refresh token is tried at once, and once.
func TestRefusedWhileUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		net, n := newNetwork(r), r.node("a")
		a := r.account(n, net.login())
		c := n.For(a, net)
		net.then(cutEarly, unsent)
		if _, err := c.Renew(t.Context(), 1); connectors.KindOf(err) != connectors.Transient {
			t.Fatal(err)
		}
		for range 4 { // the first reaches for the network, the others wait their turn
			if _, err := c.Renew(t.Context(), 1); connectors.KindOf(err) != connectors.Transient {
				t.Fatal(err)
			}
		}
		if net.count() != 2 {
			t.Fatalf("%d refreshes", net.count())
		}
		sleep(2 * time.Minute)
		if g, err := c.Renew(t.Context(), 1); err != nil || g.Gen != 2 || !net.good(g) {
			t.Fatalf("generation %d, %v", g.Gen, err)
		}
		r.close(n)
	})
}

func TestRefusedGrantsAreNotRenewedWithoutEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		net, n := newNetwork(r), r.node("a")
		a := r.account(n, net.login())
		c := n.For(a, net)
		gen := int64(1)
		for range 100 { // a network that refuses whatever it issues
			g, err := c.Renew(t.Context(), gen)
			if err == nil {
				gen = g.Gen
			} else if connectors.KindOf(err) != connectors.Transient {
				t.Fatal(err)
			}
		}
		if net.count() != 5 {
			t.Errorf("%d refreshes for 100 refusals", net.count())
		}
		sleep(11 * time.Minute)
		if g, err := c.Renew(t.Context(), gen); err != nil || g.Gen != gen+1 {
			t.Errorf("after a while: %v", err)
		}
		if got := r.status(a); got != fmt.Sprintf("connected %d: ", gen+1) {
			t.Errorf("the account is %q", got)
		}
		r.close(n)
	})
}

// TestACommitIsNotHeldUp: a grant that is due but good is lent as it is while a
// commit is on its way, and a refresh never sees the commit's shot.
func TestACommitIsNotHeldUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		net, n := newNetwork(r), r.node("a")
		a := r.account(n, net.login())
		c := n.For(a, net)
		ctx := connectors.WithShot(t.Context(), connectors.NewShot(1, r.now().Add(time.Hour), nil, r.now))
		sleep(115 * time.Minute)
		if g, err := c.Grant(ctx); err != nil || g.Gen != 1 || net.count() != 0 {
			t.Errorf("generation %d, %v, %d refreshes", g.Gen, err, net.count())
		}
		sleep(time.Hour)
		if g, err := c.Grant(ctx); err != nil || g.Gen != 2 {
			t.Errorf("of an ended token: generation %d, %v", g.Gen, err)
		}
		if len(net.seen) != 1 {
			t.Fatalf("%d refreshes", len(net.seen))
		}
		if _, err := connectors.ShotFrom(net.seen[0]); err == nil {
			t.Error("the refresh could use the commit's shot up")
		}
		r.close(n)
	})
}

// TestACallerWhoLeaves does not take the answer with him.
func TestACallerWhoLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		net, n := newNetwork(r), r.node("a")
		net.latency = 10 * time.Second
		a := r.account(n, net.login())
		c := n.For(a, net)
		ctx, cancel := contextFor(t, time.Second)
		defer cancel()
		if _, err := c.Renew(ctx, 1); connectors.KindOf(err) != connectors.Transient {
			t.Fatal(err)
		}
		r.close(n) // waits
		if row := r.row(a); row.Gen != 2 || row.State != credentials.Connected {
			t.Errorf("generation %d, %s", row.Gen, row.State)
		}
		if r.log.Len() > 0 {
			t.Errorf("something went wrong: %s", r.log.String())
		}
		if _, err := c.Renew(t.Context(), 2); connectors.KindOf(err) != connectors.Transient {
			t.Errorf("a refresh after Close: %v", err)
		}
	})
}

func TestEnsure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		net, n := newNetwork(r), r.node("a")
		a := r.account(n, net.login())
		sleep(40 * time.Minute)
		for _, c := range []struct {
			until time.Duration
			gen   int64
		}{{time.Hour, 1}, {90 * time.Minute, 2}, {5 * time.Hour, 2}} { // the last: not again right after
			if err := n.Ensure(t.Context(), a, net, r.now().Add(c.until)); err != nil {
				t.Fatal(err)
			}
			if row := r.row(a); row.Gen != c.gen {
				t.Errorf("until %v: generation %d, want %d", c.until, row.Gen, c.gen)
			}
		}
		r.close(n)
	})
}

// TestEndsAreAnnounced: a login that nothing prolongs does not end in silence.
func TestEndsAreAnnounced(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	run := func(t *testing.T, n *credentials.Service, by connectors.Refresher, days int) {
		for range days * 4 {
			sleep(6 * time.Hour)
			due, err := n.Due(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range due {
				if err := n.Refresh(t.Context(), id, by); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // saying it twice tells it once
				if err := n.Ends(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	t.Run("not renewable", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			net, n := newNetwork(r), r.node("a")
			g := net.login()
			g.Refresh, g.Expires = social.Secret{}, r.now().Add(60*day)
			a := r.account(n, g)
			run(t, n, net, 59)
			if got := r.notices(a); got != strings.Repeat("account_login_ends/warning ", 3)+"account_login_ends/alarm account_login_ends/alarm" {
				t.Errorf("notices %q", got)
			}
			wantText(t, "notice", r.told(a), "The login of team2 on fake ends at 03:00 UTC on 22 January 2027 and cannot be renewed by smi. Connect the account again before")
			run(t, n, net, 30)
			wantText(t, "notice", r.told(a), "The login of team2 on fake ended at 03:00 UTC on 22 January 2027. Connect the account again.")
			if got := r.seeds.Text(`SELECT COUNT(*) FROM outbox`); got != "6" || net.count() != 0 || r.row(a).Fails != 0 {
				t.Errorf("%s notices, %d refreshes, row %+v", got, net.count(), r.row(a))
			}
			r.close(n)
		})
	})
	t.Run("posts after the end", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			net, n := newNetwork(r), r.node("a")
			g := net.login()
			g.Refresh, g.Expires = social.Secret{}, r.now().Add(100*day)
			a := r.account(n, g)
			run(t, n, net, 1)
			if got := r.notices(a); got != "" {
				t.Errorf("notices %q long before", got)
			}
			acc := social.Account{ID: a, WorkspaceID: r.space}
			for _, after := range []time.Duration{99 * day, 101 * day, 102 * day} {
				r.seeds.Delivery(r.seeds.Post(r.space, began.Add(after)), acc)
			}
			run(t, n, net, 1)
			run(t, r.node("b"), net, 1) // after a restart
			if got := r.notices(a); got != "account_login_ends/alarm" {
				t.Errorf("notices %q, although posts are planned for later", got)
			}
			wantText(t, "notice", r.told(a), "ENDS BEFORE ITS POSTS GO OUT", "2 posts are planned for later, the first for 03:00 UTC on 4 March 2027")
			run(t, n, net, 68)
			if got := r.notices(a); got != "account_login_ends/alarm account_login_ends/alarm" {
				t.Errorf("notices %q, 30 days before", got)
			}
			// A new login begins anew, and has no end that nothing prolongs.
			if err := n.Connect(t.Context(), a, net.login()); err != nil {
				t.Fatal(err)
			}
			if got := r.seeds.Text(`SELECT count(*) FROM login_end`); got != "0" {
				t.Errorf("%s ends are known after a new login", got)
			}
			g.Expires = r.now().Add(20 * day)
			if err := n.Connect(t.Context(), a, g); err != nil {
				t.Fatal(err)
			}
			r.seeds.Exec(`UPDATE delivery SET state = 'cancelled', next_at = 0`)
			run(t, n, net, 5)
			if got := r.notices(a); got != "account_login_ends/alarm account_login_ends/alarm" {
				t.Errorf("notices %q, although the person saw that it lasts 20 days", got)
			}
			run(t, n, net, 2)
			if got := r.notices(a); got != "account_login_ends/alarm account_login_ends/alarm account_login_ends/warning" {
				t.Errorf("notices %q, 14 days before", got)
			}
			r.close(n)
		})
	})
	t.Run("renewable up to a day", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			net, n := newNetwork(r), r.node("a")
			net.life = 60 * day
			g := net.login()
			g.RefreshExpires = r.now().Add(365 * day) // the network does not prolong it
			a := r.account(n, g)
			fixed := refresherFunc(func(ctx context.Context, old connectors.Grant) (connectors.Grant, error) {
				fresh, err := net.Refresh(ctx, old)
				fresh.RefreshExpires = old.RefreshExpires
				return fresh, err
			})
			run(t, n, fixed, 334)
			if got := r.notices(a); got != "" {
				t.Errorf("notices %q more than a month before", got)
			}
			run(t, n, fixed, 30)
			if got := r.notices(a); !strings.HasPrefix(got, "account_login_ends/warning account_login_ends/warning ") || !strings.HasSuffix(got, "account_login_ends/alarm") {
				t.Errorf("notices %q", got)
			}
			calls := net.count()
			if calls > 365/6+20 {
				t.Errorf("%d refreshes in a year", calls)
			}
			run(t, n, fixed, 20) // past the end of the refresh token the access token is used to its own
			if g := mustGrant(t, n.For(a, fixed)); !net.good(g) || !strings.HasPrefix(r.status(a), "connected") {
				t.Errorf("lent generation %d, account %q", g.Gen, r.status(a))
			}
			run(t, n, fixed, 60)
			wantText(t, "notice", r.told(a), "The login of team2 on fake ended at")
			r.close(n)
		})
	})
}

// TestACopyRenewsNothing: in quarantine the access token is used to its end, and
// the login of the live instance stays what it is; afterwards it is renewed.
func TestACopyRenewsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		frozen, broken := true, false
		net, n := newNetwork(r), r.node("a", func(c *credentials.Config) {
			c.Frozen = func(context.Context) (bool, error) {
				if broken {
					return false, errors.New("the database is gone")
				}
				return frozen, nil
			}
		})
		a := r.account(n, net.login())
		calls := net.count()
		sleep(100 * time.Minute) // long past the time of its renewal
		if due, err := n.Due(t.Context()); err != nil || len(due) != 0 {
			t.Errorf("due are %v, %v", due, err)
		}
		lent := n.For(a, net)
		if g, err := lent.Grant(t.Context()); err != nil || g.Gen != 1 {
			t.Errorf("lent generation %d, %v", g.Gen, err)
		}
		if _, err := lent.Renew(t.Context(), 1); !errors.Is(err, connectors.ErrFrozen) {
			t.Errorf("renewing a refused one: %v", err)
		}
		sleep(time.Hour)
		for _, broken = range []bool{false, true} { // what cannot be known is not risked
			if _, err := lent.Grant(t.Context()); !errors.Is(err, connectors.ErrFrozen) || connectors.KindOf(err) != connectors.Transient {
				t.Errorf("lending one that has ended: %v", err)
			}
		}
		if got := net.count(); got != calls || r.row(a).State != credentials.Connected {
			t.Errorf("the network was asked %d times, and the login is %s", got-calls, r.row(a).State)
		}
		frozen, broken = false, false
		if g, err := lent.Grant(t.Context()); err != nil || g.Gen != 2 {
			t.Errorf("afterwards generation %d, %v", g.Gen, err)
		}
		r.close(n)
	})
}
