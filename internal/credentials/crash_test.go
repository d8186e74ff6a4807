package credentials_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"smi/connectors"
	"smi/internal/credentials"
	"smi/internal/social"
)

// mortal is the store of a node that can be killed or fail around each write.
type mortal struct {
	credentials.Store
	mu     sync.Mutex
	before map[string]func() error
	after  map[string]func() error
}

func (m *mortal) around(op string, fn func() error) error {
	m.mu.Lock()
	before, after := m.before[op], m.after[op]
	m.mu.Unlock()
	if before != nil {
		if err := before(); err != nil {
			return err
		}
	}
	err := fn()
	if err == nil && after != nil {
		err = after()
	}
	return err
}

func (m *mortal) SaveGrant(ctx context.Context, v credentials.Save) error {
	return m.around("save", func() error { return m.Store.SaveGrant(ctx, v) })
}

func (m *mortal) BeginRefresh(ctx context.Context, b credentials.Begin) (epoch int64, err error) {
	err = m.around("begin", func() error { epoch, err = m.Store.BeginRefresh(ctx, b); return err })
	return epoch, err
}

func (m *mortal) EndRefresh(ctx context.Context, e credentials.End) error {
	return m.around("end", func() error { return m.Store.EndRefresh(ctx, e) })
}

func (m *mortal) TellGrant(ctx context.Context, n credentials.Notice, now time.Time) error {
	return m.around("tell", func() error { return m.Store.TellGrant(ctx, n, now) })
}

// set makes an operation fail with what fn returns; nil heals it.
func (m *mortal) set(op string, before, after func() error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before, m.after = map[string]func() error{op: before}, map[string]func() error{op: after}
}

// die ends the goroutine of a refresh as the end of the process would: nothing
// after it runs, and the answer, if there was one, is gone.
func die() error {
	runtime.Goexit()
	return nil
}

func TestCrashInTheMiddle(t *testing.T) {
	t.Parallel()
	for _, alone := range []bool{true, false} {
		t.Run(fmt.Sprintf("alone=%v", alone), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				net := newNetwork(r)
				m := &mortal{Store: r.store}
				n := r.node("a", func(c *credentials.Config) { c.Store = m })
				a := r.account(n, net.login())
				sleep(r.row(a).NextAt.Sub(r.now()))
				m.set("begin", nil, die) // written down, not sent
				ctx, cancel := contextFor(t, time.Second)
				defer cancel()
				if err := n.Refresh(ctx, a, net); connectors.KindOf(err) != connectors.Transient {
					t.Fatal(err)
				}
				if row := r.row(a); row.State != credentials.Refreshing || row.Owner != "a" || net.count() != 0 {
					t.Fatalf("row %s of %s, %d calls", row.State, row.Owner, net.count())
				}
				b := r.node("b")
				count, err := b.Recover(t.Context(), alone)
				if err != nil {
					t.Fatal(err)
				}
				if !alone { // b is another node: a's lease counts
					if count != 0 {
						t.Errorf("recovered %d", count)
					}
					if g := mustGrant(t, b.For(a, net)); g.Gen != 1 || net.count() != 0 {
						t.Errorf("generation %d, %d calls during the lease", g.Gen, net.count())
					}
					sleep(time.Minute)
					if err := b.Refresh(t.Context(), a, net); err != nil {
						t.Fatal(err)
					}
				} else if count != 1 {
					t.Errorf("recovered %d", count)
				}
				row := r.row(a)
				if row.State != credentials.RefreshUnknown || !row.NextAt.Equal(row.Expires.Add(-10*time.Minute)) || net.count() != 0 {
					t.Errorf("row %s, next %v, %d calls", row.State, row.NextAt, net.count())
				}
				if got := r.notices(a); got != "account_may_need_reconnect/alarm" {
					t.Errorf("notices %q", got)
				}
				sleep(row.NextAt.Sub(r.now()))
				if g := mustGrant(t, b.For(a, net)); g.Gen != 2 || !net.good(g) {
					t.Errorf("generation %d", g.Gen)
				}
				if got := r.notices(a); got != "account_may_need_reconnect/alarm account_fine_again/info" {
					t.Errorf("notices %q", got)
				}
				r.close(b)
			})
		})
	}
}

// TestCrashesAndCuts: whatever is cut or killed and wherever, a login is lost
// only if the network rotated it and the answer was lost, and then people are
// told; and no account is called lost that is not.
func TestCrashesAndCuts(t *testing.T) {
	t.Parallel()
	seeds := 2000
	if raceEnabled || testing.Short() {
		seeds = 200
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.seeds.Exec(`PRAGMA synchronous = OFF`) // the kills are of goroutines, not of the machine
		killed, crashes := 0, 0
		for seed := range seeds {
			k, c := randomLife(t, r, uint64(seed))
			killed, crashes = killed+k, crashes+c
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		t.Logf("%d lives, %d crashes, %d logins killed", seeds, crashes, killed)
		if killed < seeds/20 || killed > seeds*3/4 || crashes < seeds/2 {
			t.Errorf("%d logins killed and %d crashes in %d lives: the faults are not what they were meant to be", killed, crashes, seeds)
		}
	})
}

func randomLife(t *testing.T, r *rig, seed uint64) (killed, crashes int) {
	rng := rand.New(rand.NewPCG(seed, 1))
	net := newNetwork(r)
	net.lenient = rng.IntN(5) == 0
	m := &mortal{Store: r.store}
	node := func(name string) *credentials.Service {
		return r.node(name, func(c *credentials.Config) { c.Store = m; c.Log = nil })
	}
	names := []string{"a", "b"}
	n := node("a")
	first := net.login()
	a := r.account(n, first)
	lost := 0 // times that the network rotated and nobody kept the answer
	for range 1 + rng.IntN(5) {
		row := r.row(a)
		if row.State == credentials.NeedsReconnect {
			break
		}
		if wait := row.NextAt.Sub(r.now()); !row.NextAt.IsZero() && wait > 0 {
			sleep(wait)
		}
		issued := net.issuedCount()
		gen := row.Gen
		dies := false
		switch rng.IntN(14) {
		case 0:
			m.set("begin", die, nil)
			dies = true
		case 1:
			m.set("begin", nil, die)
			dies = true
		case 2, 3:
			m.set("save", die, nil) // answered, not stored
			dies = true
		case 4:
			m.set("save", nil, die) // stored, not told
			dies = true
		case 5:
			m.set("end", die, nil)
			net.then(fault(1 + rng.IntN(int(breaks))))
			dies = true
		case 6:
			m.set("end", nil, die)
			net.then(fault(1 + rng.IntN(int(breaks))))
			dies = true
		case 7, 8, 9, 10:
			net.then(fault(1 + rng.IntN(int(breaks))))
		case 11: // the save is made, but its answer is lost
			m.set("save", nil, func() error { m.set("", nil, nil); return errors.New("commit: answer lost") })
		}
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
		if rng.IntN(4) == 0 {
			n.For(a, net).Renew(ctx, gen) // what came of it is looked at below
		} else {
			n.Refresh(ctx, a, net) // what came of it is looked at below
		}
		cancel()
		m.set("", nil, nil)
		net.forget()
		if dies {
			crashes++
			n = node(names[rng.IntN(2)])
			if _, err := n.Recover(t.Context(), rng.IntN(2) == 0); err != nil {
				t.Fatal(err)
			}
		} else if rng.IntN(3) == 0 {
			if err := n.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			n = node(names[rng.IntN(2)])
		}
		if net.issuedCount() > issued && r.row(a).Gen == gen {
			sleep(2 * time.Minute) // what is held in memory gets stored
			if r.row(a).Gen == gen {
				lost++
			}
		}
	}
	// A calm time follows, in which only the job runs.
	for range 12 {
		row := r.row(a)
		if row.NextAt.IsZero() {
			break
		}
		if wait := row.NextAt.Sub(r.now()); wait > 0 {
			sleep(wait)
		}
		n.Refresh(t.Context(), a, net) // what came of it is looked at below
	}
	row, told, status := r.row(a), r.notices(a), r.status(a)
	if net.killed(first) {
		killed = 1
		if lost == 0 {
			t.Errorf("the login was killed although no answer was lost; row %s, told %s", row.State, told)
		}
		if row.State != credentials.NeedsReconnect || !strings.Contains(told, "account_may_need_reconnect/alarm") || !strings.HasSuffix(told, "account_needs_reconnect/alarm") ||
			!strings.HasPrefix(status, fmt.Sprintf("needs_reconnect %d: The answer to our refresh of ", row.Gen)) {
			t.Errorf("the login was killed in silence: row %s, told %q, account %q", row.State, told, status)
		}
	} else {
		g, err := n.For(a, net).Grant(t.Context())
		if err != nil || !net.good(g) || row.State != credentials.Connected || strings.Contains(told, "account_needs_reconnect") ||
			status != fmt.Sprintf("connected %d: ", row.Gen) {
			t.Errorf("the login lives, but: %v, good %v, row %s, told %q, account %q", err, net.good(g), row.State, told, status)
		}
	}
	if err := n.Close(t.Context()); err != nil {
		t.Error(err)
	}
	return killed, crashes
}

func (n *network) issuedCount() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.n
}

// forget drops what is left of the script.
func (n *network) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.script = nil
}

var errDisk = errors.New("no space left")

// TestUnsavedGrant: a new grant that cannot be stored is the only one there is.
// It is used, kept, and stored as soon as that works.
func TestUnsavedGrant(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		net := newNetwork(r)
		m := &mortal{Store: r.store}
		n, other := r.node("a", func(c *credentials.Config) { c.Store = m }), r.node("b")
		a := r.account(n, net.login())
		c := n.For(a, net)
		sleep(r.row(a).NextAt.Sub(r.now()))
		m.set("save", func() error { return errDisk }, nil)
		g, err := c.Renew(t.Context(), 1)
		if err != nil || g.Gen != 2 || !net.good(g) {
			t.Fatalf("generation %d, %v", g.Gen, err)
		}
		if got := r.notices(a); got != "account_grant_unsaved/alarm" {
			t.Errorf("notices %q", got)
		}
		for range 9 { // it is used meanwhile, and the network is left alone
			sleep(time.Minute)
			if g := mustGrant(t, c); g.Gen != 2 {
				t.Fatalf("generation %d", g.Gen)
			}
			if g, err := c.Renew(t.Context(), 1); err != nil || g.Gen != 2 {
				t.Fatalf("generation %d, %v", g.Gen, err)
			}
			if err := n.Refresh(t.Context(), a, net); err != nil {
				t.Fatal(err)
			}
			if err := other.Refresh(t.Context(), a, net); err != nil { // the other node finds the lease over
				t.Fatal(err)
			}
		}
		if _, err := c.Renew(t.Context(), 2); connectors.KindOf(err) != connectors.Transient {
			t.Errorf("Renew of what is not stored: %v", err)
		}
		if row := r.row(a); row.State != credentials.RefreshUnknown || row.Gen != 1 || net.count() != 1 {
			t.Fatalf("row %s of generation %d, %d calls", row.State, row.Gen, net.count())
		}
		m.set("", nil, nil)
		sleep(time.Minute)
		if row := r.row(a); row.State != credentials.Connected || row.Gen != 2 {
			t.Fatalf("row %s of generation %d", row.State, row.Gen)
		}
		if g := mustGrant(t, other.For(a, net)); g.Gen != 2 || !net.good(g) {
			t.Errorf("the other node has generation %d", g.Gen)
		}
		if got := r.notices(a); got != "account_grant_unsaved/alarm account_may_need_reconnect/alarm account_fine_again/info" {
			t.Errorf("notices %q", got)
		}
		if got := r.status(a); got != "connected 2: " {
			t.Errorf("the account is %q", got)
		}
		r.close(n, other)
	})
}

// TestUnsavedToTheEnd: nothing can be stored at all, not even an alarm; Close
// says what is lost.
func TestUnsavedToTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		net := newNetwork(r)
		m := &mortal{Store: r.store}
		n := r.node("a", func(c *credentials.Config) { c.Store = m })
		a := r.account(n, net.login())
		var tries atomic.Int64
		m.mu.Lock()
		m.before = map[string]func() error{"save": func() error { tries.Add(1); return errDisk }, "tell": func() error { return errDisk }, "end": func() error { return errDisk }}
		m.mu.Unlock()
		c := n.For(a, net)
		if g, err := c.Renew(t.Context(), 1); err != nil || g.Gen != 2 {
			t.Fatalf("generation %d, %v", g.Gen, err)
		}
		sleep(4 * time.Hour)
		if _, err := c.Grant(t.Context()); connectors.KindOf(err) != connectors.Transient || net.count() != 1 {
			t.Errorf("Grant of an ended token that was never stored: %v, %d calls", err, net.count())
		}
		if tries.Load() < 200 {
			t.Errorf("%d tries to store it in four hours", tries.Load())
		}
		before := tries.Load()
		if err := n.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "1 renewed logins could not be stored") {
			t.Errorf("Close: %v", err)
		}
		if tries.Load() != before+1 {
			t.Errorf("%d tries at the end", tries.Load()-before)
		}
	})
}

// TestUnsavedAndLoggedInAgain: a person's login is never replaced by a grant
// that was waiting to be stored.
func TestUnsavedAndLoggedInAgain(t *testing.T) {
	t.Parallel()
	for _, remove := range []bool{false, true} {
		t.Run(fmt.Sprintf("removed=%v", remove), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				net := newNetwork(r)
				m := &mortal{Store: r.store}
				n, other := r.node("a", func(c *credentials.Config) { c.Store = m }), r.node("b")
				a := r.account(n, net.login())
				m.set("save", func() error { return errDisk }, nil)
				if _, err := n.For(a, net).Renew(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				want := int64(0)
				if remove {
					if err := other.Remove(t.Context(), a); err != nil {
						t.Fatal(err)
					}
				} else {
					fresh := net.login()
					if err := other.Connect(t.Context(), a, fresh); err != nil {
						t.Fatal(err)
					}
					want = 2
				}
				m.set("", nil, nil)
				sleep(10 * time.Minute)
				g, err := n.For(a, net).Grant(t.Context())
				if remove && connectors.KindOf(err) != connectors.AuthExpired || !remove && (err != nil || g.Access.Reveal() != "SMICANARY-access-3") || g.Gen != want {
					t.Errorf("generation %d, %v", g.Gen, err)
				}
				r.close(n, other)
			})
		})
	}
}

// TestALateAnswer comes when another node has already taken over: what failed is
// not written, what was given is.
func TestALateAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fault fault
		gen   int64
		state credentials.State
	}{{unsent, 1, credentials.RefreshUnknown}, {cutEarly, 1, credentials.RefreshUnknown}, {denied, 1, credentials.RefreshUnknown}, {fine, 2, credentials.Connected}} {
		t.Run(fmt.Sprint(c.fault), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				net, n, other := newNetwork(r), r.node("a"), r.node("b")
				a := r.account(n, net.login())
				sleep(r.row(a).NextAt.Sub(r.now()))
				slow := refresherFunc(func(ctx context.Context, g connectors.Grant) (connectors.Grant, error) {
					sleep(2 * time.Minute) // a connector that does not look at its context
					net.then(c.fault)
					return net.Refresh(context.WithoutCancel(ctx), g)
				})
				done := make(chan error, 1)
				go func() { done <- n.Refresh(t.Context(), a, slow) }()
				sleep(90 * time.Second)
				if err := other.Refresh(t.Context(), a, net); err != nil {
					t.Fatal(err)
				}
				row := r.row(a)
				if row.State != credentials.RefreshUnknown {
					t.Fatalf("row %s", row.State)
				}
				<-done
				synctest.Wait()
				if err := n.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				after := r.row(a)
				if after.Gen != c.gen || after.State != c.state {
					t.Errorf("row %s of generation %d", after.State, after.Gen)
				}
				if c.gen == 1 && (after.Fails != row.Fails || after.LastError != row.LastError || !after.NextAt.Equal(row.NextAt)) {
					t.Errorf("the row was changed: %+v, was %+v", after, row)
				}
				r.close(other)
			})
		})
	}
}

type refresherFunc func(context.Context, connectors.Grant) (connectors.Grant, error)

func (f refresherFunc) Refresh(ctx context.Context, g connectors.Grant) (connectors.Grant, error) {
	return f(ctx, g)
}

// TestALostRace: the network refuses, because another node was faster.
func TestALostRace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		net, n, other := newNetwork(r), r.node("a"), r.node("b")
		a := r.account(n, net.login())
		by := refresherFunc(func(_ context.Context, g connectors.Grant) (connectors.Grant, error) {
			if err := other.Connect(t.Context(), a, net.login()); err != nil {
				t.Error(err)
			}
			return connectors.Grant{}, &connectors.Error{Kind: connectors.AuthExpired, Status: 400}
		})
		if g, err := n.For(a, by).Renew(t.Context(), 1); err != nil || g.Gen != 2 || !net.good(g) {
			t.Errorf("generation %d, %v", g.Gen, err)
		}
		if row := r.row(a); row.State != credentials.Connected || !row.RefusedAt.IsZero() {
			t.Errorf("row %+v", row)
		}
		r.close(n, other)
	})
}

// TestWritingAheadTakesTooLong: a refresh whose lease is nearly over when it
// could begin is not begun.
func TestWritingAheadTakesTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		net := newNetwork(r)
		m := &mortal{Store: r.store}
		n := r.node("a", func(c *credentials.Config) { c.Store = m })
		a := r.account(n, net.login())
		m.set("begin", nil, func() error { sleep(50 * time.Second); return nil })
		if err := n.Ensure(t.Context(), a, net, r.now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { _, err := n.For(a, net).Renew(t.Context(), 1); done <- err }()
		if err := <-done; connectors.KindOf(err) != connectors.Transient {
			t.Error(err)
		}
		r.close(n)
		if row := r.row(a); row.State != credentials.Connected || net.count() != 0 {
			t.Errorf("row %s, %d calls", row.State, net.count())
		}
	})
}

// TestNothingIsSentUnwritten: if the write-ahead fails, the network is not asked.
func TestNothingIsSentUnwritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		net := newNetwork(r)
		m := &mortal{Store: r.store}
		n := r.node("a", func(c *credentials.Config) { c.Store = m })
		var a social.ID = r.account(n, net.login())
		m.set("begin", func() error { return errDisk }, nil)
		if _, err := n.For(a, net).Renew(t.Context(), 1); connectors.KindOf(err) != connectors.Transient || net.count() != 0 {
			t.Errorf("%v, %d calls", err, net.count())
		}
		if row := r.row(a); row.State != credentials.Connected {
			t.Errorf("row %s", row.State)
		}
		r.close(n)
	})
}

// TestStoredBeforeUsed: whoever gets a new grant finds it stored, however long
// that takes.
func TestStoredBeforeUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		net := newNetwork(r)
		m := &mortal{Store: r.store}
		n := r.node("a", func(c *credentials.Config) { c.Store = m })
		a := r.account(n, net.login())
		m.set("save", func() error { sleep(5 * time.Second); return nil }, nil)
		for _, get := range []func() (connectors.Grant, error){
			func() (connectors.Grant, error) { return n.For(a, net).Renew(t.Context(), 1) },
			func() (connectors.Grant, error) { sleep(3 * time.Hour); return n.For(a, net).Grant(t.Context()) },
		} {
			g, err := get()
			if err != nil || g.Gen != r.row(a).Gen || g.Gen < 2 {
				t.Errorf("lent generation %d (%v), stored %d", g.Gen, err, r.row(a).Gen)
			}
		}
		r.close(n)
	})
}
