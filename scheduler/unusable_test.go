package scheduler_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"smi/connectors"
	"smi/connectors/fake"
	"smi/internal/social"
	"smi/scheduler"
)

// TestAccountCannotBeOpened: whatever the reason why an account has no client,
// its post is blocked and people are told.
func TestAccountCannotBeOpened(t *testing.T) {
	t.Parallel()
	for _, kind := range []connectors.Kind{connectors.AuthExpired, connectors.Permission, connectors.Permanent} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fake.Options{})
				defer w.close()
				ids := w.plan(now().Add(time.Minute), text("stays"), w.account())
				w.start(func(c *scheduler.Config) {
					c.Clients = func(context.Context, social.Account) (*connectors.Client, error) {
						return nil, &connectors.Error{Kind: kind, Op: "open", Text: "the network is switched off"}
					}
				})
				pass(5 * time.Minute)
				w.oracle(ids...)
				w.want(ids[0], social.Blocked)
			})
		})
	}
}

// TestCancelledWithoutALogin: what is to be cancelled is not blocked until
// somebody logs in. It is cancelled where nothing can have got out; else only a
// person can say.
func TestCancelledWithoutALogin(t *testing.T) {
	t.Parallel()
	for name, sent := range map[string]bool{"never sent": false, "may have got out": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fake.Options{})
				defer w.close()
				ids := w.plan(now(), text("not wanted"), w.account())
				w.seeds.Exec(`UPDATE delivery SET state = 'waiting', cancel_wanted = TRUE`)
				w.seeds.Exec(`UPDATE account SET status = 'needs_reconnect'`)
				want := social.Cancelled
				if sent {
					want = social.NeedsHuman
					w.seeds.Exec(`INSERT INTO attempt (id, delivery_id, account_id, step, n, class, epoch, node, armed_at, send_by, takeover_at, token_gen, req_hash, fp, state, early)
						SELECT 1, id, account_id, 0, 1, 'keyed', 0, 'node-1', $1, $1, $1, 1, '', '', 'absent_by_handle', TRUE FROM delivery`, now().Add(-time.Hour).UnixMilli())
				}
				w.start()
				pass(10 * time.Minute)
				w.oracle(ids...)
				w.want(ids[0], want)
			})
		})
	}
}
