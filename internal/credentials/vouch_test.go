package credentials_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"smi/connectors"
	"smi/internal/credentials"
	"smi/internal/social"
)

// witness is a network whose tokens have no end and are not renewed. It is asked
// whether it still knows one.
type witness struct {
	asked int
	err   error
}

func (w *witness) Refresh(_ context.Context, g connectors.Grant) (connectors.Grant, error) {
	w.asked++
	return g, w.err
}

func (w *witness) Vouches() {}

// TestVouched: a 401 from something before the network does not end a login that
// cannot be renewed, however often it comes; the network's own word does.
func TestVouched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		net, n := &witness{}, r.node("a")
		g := newNetwork(r).login()
		g.Refresh, g.Expires, g.Rotates = social.Secret{}, time.Time{}, false
		a := r.account(n, g)
		refused := func() error {
			creds := n.For(a, net)
			now, err := creds.Grant(t.Context())
			if err != nil {
				return err
			}
			_, err = creds.Renew(t.Context(), now.Gen)
			return err
		}
		for range 5 {
			if err := refused(); err != nil {
				t.Errorf("refused by something before it: %v", err)
			}
			<-time.After(time.Hour)
		}
		if net.asked != 5 || r.row(a).State != credentials.Connected || r.notices(a) != "" {
			t.Errorf("asked %d times, the login is %s, notices %q", net.asked, r.row(a).State, r.notices(a))
		}
		net.err = &connectors.Error{Kind: connectors.Transient, Text: "something before it"}
		for range 3 {
			if err := refused(); connectors.KindOf(err) != connectors.Transient {
				t.Errorf("nobody knows: %v", err)
			}
			<-time.After(time.Hour)
		}
		if r.row(a).State != credentials.Connected {
			t.Errorf("the login is %s although nobody could ask", r.row(a).State)
		}
		net.err = &connectors.Error{Kind: connectors.AuthExpired, Text: "revoked"}
		for range 3 {
			refused() //nolint:errcheck // the row tells
			<-time.After(time.Hour)
		}
		if r.row(a).State != credentials.NeedsReconnect {
			t.Errorf("the login is %s although the network ended it", r.row(a).State)
		}
		r.close(n)
	})
}
