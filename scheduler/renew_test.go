package scheduler_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"smi/connectors"
	"smi/connectors/fake"
	"smi/internal/social"
	"smi/scheduler"
)

// stubborn refuses to renew a login some times.
type stubborn struct {
	*fake.Credentials
	left  *atomic.Int64
	calls *atomic.Int64
	kind  connectors.Kind
}

func (s stubborn) Renew(ctx context.Context, gen int64) (connectors.Grant, error) {
	s.calls.Add(1)
	if s.left.Add(-1) >= 0 {
		return connectors.Grant{}, &connectors.Error{Kind: s.kind, Op: "refresh", RetryAfter: 40 * time.Second, Text: "not now"}
	}
	return s.Credentials.Renew(ctx, gen)
}

// TestTokenEnds is a login that the network refuses at the worst of times: the
// post goes out with a new one, and only a login that cannot be renewed, or a
// new one that is refused too, blocks it.
func TestTokenEnds(t *testing.T) {
	t.Parallel()
	expired := fake.Fault{Do: fake.Refuse, Kind: connectors.AuthExpired}
	for name, c := range map[string]struct {
		commits  []fake.Fault
		renewals int64 // that fail first
		kind     connectors.Kind
		dead     bool // each new token is refused too
		want     social.DeliveryState
		calls    int64 // renewals, at most
	}{
		"alone":                             {commits: []fake.Fault{expired}, want: social.Published, calls: 1},
		"after failures that pass":          {commits: []fake.Fault{{Do: fake.CutBeforeWrite}, {Do: fake.CutBeforeWrite}, expired}, want: social.Published, calls: 1},
		"after a request that was lost":     {commits: []fake.Fault{{Do: fake.CutBeforeEffect}, expired}, want: social.Published, calls: 1},
		"and cannot be renewed for a while": {commits: []fake.Fault{expired, expired, expired}, renewals: 2, kind: connectors.Transient, want: social.Published, calls: 3},
		"and the renewal's answer is lost":  {commits: []fake.Fault{expired, expired}, renewals: 1, kind: connectors.Ambiguous, want: social.Published, calls: 2},
		"and cannot be renewed any more":    {commits: []fake.Fault{expired}, renewals: 1, kind: connectors.AuthExpired, want: social.Blocked, calls: 1},
		"and the new one is refused once":   {commits: []fake.Fault{expired, expired}, dead: true, want: social.Published, calls: 2},
		"and the new ones are refused too":  {commits: []fake.Fault{expired, expired, expired}, dead: true, want: social.Blocked, calls: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fake.Options{Class: connectors.Keyed})
				defer w.close()
				a := w.account()
				w.net.Account(a.RemoteID).Script(fake.OpCommit, c.commits...)
				ids := w.plan(now().Add(time.Minute), text("once"), a)
				var left, calls atomic.Int64
				left.Store(c.renewals)
				w.start(func(cfg *scheduler.Config) {
					cfg.Clients = func(_ context.Context, a social.Account) (*connectors.Client, error) {
						s := stubborn{w.creds[a.RemoteID], &left, &calls, c.kind}
						if c.dead && calls.Load() > 0 {
							a.TokenGen = 1 + calls.Load()
							w.seeds.Exec(`UPDATE account SET token_gen = $1 WHERE id = $2`, a.TokenGen, int64(a.ID))
						}
						return connectors.Open(w.net, a, s)
					}
				})
				pass(20 * time.Minute)
				w.want(ids[0], c.want)
				if calls.Load() == 0 || calls.Load() > c.calls {
					t.Errorf("the login was renewed %d times, want 1 to %d", calls.Load(), c.calls)
				}
				if w.net.Account(a.RemoteID).Fired() != len(c.commits) {
					t.Errorf("%d of %d faults came", w.net.Account(a.RemoteID).Fired(), len(c.commits))
				}
			})
		})
	}
}

// TestTokensThatEndOften: a token that worked since it was got is worth another,
// however soon it ends.
func TestTokensThatEndOften(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Options{Class: connectors.Keyed})
		defer w.close()
		a := w.account()
		expired := fake.Fault{Do: fake.Refuse, Kind: connectors.AuthExpired}
		w.net.Account(a.RemoteID).Script(fake.OpCommit, expired, fake.Fault{}, expired, fake.Fault{}, expired, fake.Fault{}, expired)
		var ids []social.ID
		for i := range 4 {
			ids = append(ids, w.plan(now().Add(time.Duration(1+i)*time.Minute), text(fmt.Sprint("number ", i)), a)...)
		}
		var left, calls atomic.Int64
		w.start(func(cfg *scheduler.Config) {
			cfg.Clients = func(_ context.Context, a social.Account) (*connectors.Client, error) {
				a.TokenGen = 1 + calls.Load()
				w.seeds.Exec(`UPDATE account SET token_gen = $1 WHERE id = $2`, a.TokenGen, int64(a.ID))
				return connectors.Open(w.net, a, stubborn{w.creds[a.RemoteID], &left, &calls, ""})
			}
		})
		pass(9 * time.Minute)
		for _, id := range ids {
			w.want(id, social.Published)
		}
		if calls.Load() != 4 {
			t.Errorf("the login was renewed %d times, want 4", calls.Load())
		}
	})
}
