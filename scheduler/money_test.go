package scheduler_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"smi/connectors"
	"smi/connectors/fake"
	"smi/internal/social"
	"smi/scheduler"
)

// paid is a network that charges a cent for each part.
type paid struct {
	connectors.Platform
	limit int64
}

func (p paid) Purse() connectors.Purse { return connectors.Purse{Name: "posts", Limit: p.limit} }

func (p paid) Dial(a social.Account, c connectors.Credentials) (connectors.Conn, error) {
	conn, err := p.Platform.Dial(a, c)
	if err != nil {
		return nil, err
	}
	return paidConn{conn, conn.(connectors.Publisher), conn.(connectors.CommitDialer), conn.(connectors.Finder)}, nil
}

type paidConn struct {
	connectors.Conn
	connectors.Publisher
	connectors.CommitDialer
	connectors.Finder
}

func (paidConn) Prices(parts []social.Part) []connectors.Price {
	var out []connectors.Price
	for range parts {
		out = append(out, connectors.Price{Micros: 10_000, Reason: "for a part"})
	}
	return out
}

// TestMoney: what is sent is paid once, also a thread; what was refused or never
// sent is given back; and what the month's budget has no room for is not sent.
func TestMoney(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault fake.Fault
		limit int64
		parts []social.Part
		spent int64
		state social.DeliveryState
		sent  int
	}{
		{"a post", fake.Fault{}, 20_000, text("one"), 10_000, social.Published, 1},
		{"a thread", fake.Fault{}, 30_000, thread("three", 2), 30_000, social.Published, 3},
		{"a thread of which a part does not fit", fake.Fault{}, 29_999, thread("three", 2), 0, social.Waiting, 0},
		{"refused", fake.Fault{Do: fake.Refuse, Kind: connectors.Invalid}, 20_000, text("one"), 0, social.Failed, 0},
		{"nothing written, then sent", fake.Fault{Do: fake.CutBeforeWrite}, 10_000, text("one"), 10_000, social.Published, 1},
		{"answer lost", fake.Fault{Do: fake.CutAfterEffect}, 20_000, text("one"), 10_000, social.Published, 1},
		{"no room", fake.Fault{}, 9_999, text("one"), 0, social.Waiting, 0},
		{"no limit", fake.Fault{}, 0, text("one"), 10_000, social.Published, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fake.Options{})
				defer w.close()
				a := w.account()
				if c.fault.Do != fake.Nothing {
					w.net.Account(a.RemoteID).Script(fake.OpCommit, c.fault)
				}
				ids := w.plan(now().Add(time.Minute), c.parts, a)
				w.start(func(cfg *scheduler.Config) {
					cfg.Clients = func(_ context.Context, a social.Account) (*connectors.Client, error) {
						return connectors.Open(paid{w.net, c.limit}, a, w.creds[a.RemoteID])
					}
				})
				pass(20 * time.Minute)
				w.want(ids[0], c.state)
				if n := len(w.net.Journal()); n != c.sent {
					t.Errorf("%d posts are public, want %d", n, c.sent)
				}
				spent, err := w.db.Spent(t.Context(), "posts", now())
				if err != nil || spent != c.spent {
					t.Errorf("%d spent, %v; want %d", spent, err, c.spent)
				}
				if _, why := w.state(ids[0]); c.state == social.Waiting && !strings.Contains(why, "budget") {
					t.Errorf("it waits, and the reason is %q", why)
				}
			})
		})
	}
}
