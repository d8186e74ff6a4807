package app_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/internal/app"
	"smi/internal/social"
)

// paid is a network that charges for posts, most for those with a link.
type paid struct {
	connectors.Platform
	limit int64
}

func (p paid) Purse() connectors.Purse {
	return connectors.Purse{Name: "fake/app/one", Limit: p.limit}
}

func (p paid) Dial(a social.Account, c connectors.Credentials) (connectors.Conn, error) {
	conn, err := p.Platform.Dial(a, c)
	if err != nil {
		return nil, err
	}
	pub, ok := conn.(connectors.Publisher)
	if !ok {
		return nil, errors.New("the fake network does not publish")
	}
	return paidConn{conn, pub}, nil
}

type paidConn struct {
	connectors.Conn
	connectors.Publisher
}

func (paidConn) Prices(parts []social.Part) []connectors.Price {
	var out []connectors.Price
	for _, p := range parts {
		price := connectors.Price{Micros: 15_000, Reason: "for a post"}
		if strings.Contains(p.Text, "://") {
			price = connectors.Price{Micros: 200_000, Reason: "for a post with a link"}
		}
		out = append(out, price)
	}
	return out
}

// What a post costs is said before it is planned, and one that the budget has
// no room for is refused then.
func TestPriceIsSaidBeforePlanning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join("alice")
	net := paid{w.net, 300_000}
	w.app.Networks = networks{net}
	w.app.Clients = func(_ context.Context, a social.Account) (*connectors.Client, error) {
		return connectors.Open(net, a, w.creds.For(a.ID, w.net))
	}
	w.app.Spend = w.store
	w.app.Purses = func() []connectors.Purse { return []connectors.Purse{net.Purse()} }

	costs := func(c app.Created) (out []app.Finding) {
		for _, f := range c.Findings {
			if f.Severity == social.Costs {
				out = append(out, f)
			}
		}
		return out
	}
	plan := func(texts ...string) (app.Created, error) {
		in := app.PostInput{Accounts: []string{"alice"}, Plan: app.PlanInput{In: "1m"}, CheckOnly: true}
		for _, text := range texts {
			in.Parts = append(in.Parts, app.PartInput{Text: text})
		}
		return w.app.CreatePost(w.t.Context(), w.owner, in, "")
	}
	got, err := plan("plain words", "and https://example.com/")
	check(t, err)
	if f := costs(got); len(f) != 1 || f[0].Value != 215_000 || !strings.Contains(f[0].Text, "$0.215") || !strings.Contains(f[0].Text, "$0.20 for a post with a link") {
		t.Errorf("the price is shown as %+v", f)
	}
	two, err := plan("one of two", "two of two")
	check(t, err)
	if f := costs(two); len(f) != 1 || !strings.Contains(f[0].Text, "costs $0.03: 2 × $0.015 for a post") {
		t.Errorf("the price of two is shown as %+v", f)
	}
	if ok, err := w.store.Spend(t.Context(), net.Purse().Name, w.clock().Add(time.Minute), 200_000, 0); err != nil || !ok {
		t.Fatal(ok, err)
	}
	_, err = plan("with https://example.com/")
	var refused *app.RefusedError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "$0.20") || !strings.Contains(err.Error(), "budget of $0.30") {
		t.Errorf("over the budget: %v", err)
	}
	if _, err := plan("plain words again"); err != nil {
		t.Errorf("within the budget: %v", err)
	}
	s, err := w.app.Status(t.Context(), w.owner)
	check(t, err)
	if len(s.Spend) != 1 || s.Spend[0].Spent != 200_000 || s.Spend[0].Text != "spent this month at fake/app/one: $0.20 of $0.30" {
		t.Errorf("the status says %+v", s.Spend)
	}
}
