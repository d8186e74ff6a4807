package twitter_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/connectortest"
	"smi/connectors/internal/simkit"
	"smi/connectors/twitter"
	"smi/connectors/twitter/twittersim"
	"smi/internal/social"
)

// granted lends one grant.
type granted struct{ g connectors.Grant }

func (g granted) Grant(context.Context) (connectors.Grant, error) { return g.g, nil }

func (g granted) Renew(context.Context, int64) (connectors.Grant, error) {
	return connectors.Grant{}, &connectors.Error{Kind: connectors.AuthExpired, Text: "nothing renews it here"}
}

// TestFieldsByNewNames: once X drops the older names without a word, the newer
// ones are asked for, and numbers and words come as before.
func TestFieldsByNewNames(t *testing.T) {
	t.Parallel()
	sim := twittersim.New(app, twittersim.Options{Renamed: true})
	id := sim.AddAccount(twittersim.Account{Username: "alice_test"})
	srv := simkit.Serve(t, sim)
	env := connectortest.NewEnv(t)
	env.Dial, env.RootCAs = srv.Dial, srv.RootCAs
	p, err := twitter.New(*config(srv.URL, "2", app), env)
	if err != nil {
		t.Fatal(err)
	}
	h := &connectortest.Harness{Login: connectortest.Login{Consent: consent(sim, srv)}}
	g := signIn(t, p.(connectors.OAuth), h)
	c, err := connectors.Open(p, social.Account{Network: twitter.Network, RemoteID: id, Handle: "alice_test"}, granted{g})
	if err != nil {
		t.Fatal(err)
	}
	post := sim.Write(id, "see https://example.com/a?b=1&c=2 & <that>")
	sim.SetCounts(post, twittersim.Counts{Likes: 5, Reposts: 7, Views: 9_007_199_254_740_993})
	got, err := c.Get(t.Context(), post)
	if err != nil || got.Excerpt != "see https://example.com/a?b=1&c=2 & <that>" {
		t.Errorf("the post reads %q, %v", got.Excerpt, err)
	}
	rd, err := c.PostInsights(t.Context(), []connectors.Receipt{{RemoteID: post}})
	if err != nil {
		t.Fatal(err)
	}
	n := map[social.Metric]int64{}
	for _, o := range rd.Observations {
		n[o.Metric] = o.Value
	}
	if n[social.Likes] != 5 || n[social.Shares] != 7 || n[social.Views] != 9_007_199_254_740_993 {
		t.Errorf("the numbers are %v", n)
	}
}

// TestPrices: a link in the words, or as a card, costs more.
func TestPrices(t *testing.T) {
	t.Parallel()
	h := open(t, "2", app)
	p, err := h.New(h.Env)
	if err != nil {
		t.Fatal(err)
	}
	c, err := connectors.Open(p, h.Account, granted{h.Grant})
	if err != nil {
		t.Fatal(err)
	}
	prices := c.Prices([]social.Part{
		{Text: "words"},
		{Text: "see example.com"},
		{Text: "a card", Link: &social.LinkCard{URL: "https://example.com/"}},
		{Text: "a picture", Media: []social.Media{{Kind: social.Image, Alt: "a cat"}}},
	})
	for i, want := range []int64{15_000, 200_000, 200_000, 20_000} {
		if prices[i].Micros != want {
			t.Errorf("part %d costs %d, want %d", i, prices[i].Micros, want)
		}
	}
	if !strings.Contains(prices[1].Reason, "link") {
		t.Errorf("the reason is %q", prices[1].Reason)
	}
}

// purse is a SpendStore in memory.
type purse struct{ spent int64 }

func (p *purse) Spent(context.Context, string, time.Time) (int64, error) { return p.spent, nil }

func (p *purse) Spend(_ context.Context, _ string, _ time.Time, amount, _ int64) (bool, error) {
	p.spent += amount
	return true, nil
}

// TestReadsStopFirst: once four fifths of the budget are spent numbers are not
// read, and the rest of what smi needs is.
func TestReadsStopFirst(t *testing.T) {
	t.Parallel()
	h := open(t, "2", app)
	spent := &purse{}
	env := h.Env
	env.Spend = spent
	cfg := config("https://127.0.0.1", "2", app)
	made, err := h.New(env)
	if err != nil {
		t.Fatal(err)
	}
	base := *cfg
	base.MonthlyBudget = 100
	if p, err := twitter.New(base, env); err != nil || connectors.PurseOf(p).Limit != 1_000_000 {
		t.Errorf("the purse is %+v, %v", connectors.PurseOf(p), err)
	}
	c, err := connectors.Open(made, h.Account, granted{h.Grant})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Identity(t.Context()); err != nil || spent.spent != 10_000 {
		t.Errorf("asking who we are: %v, %d spent", err, spent.spent)
	}
	p, err := twitter.New(base, env)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = connectors.Open(p, h.Account, granted{h.Grant}); err != nil {
		t.Fatal(err)
	}
	spent.spent = 800_000
	_, err = c.PostInsights(t.Context(), []connectors.Receipt{{RemoteID: "1"}})
	e := connectors.AsError(err)
	if e == nil || e.Kind != connectors.RateLimited || !strings.Contains(e.Text, "$0.80 of the budget of $1.00") || e.RetryAfter <= 0 {
		t.Errorf("reading numbers: %v", err)
	}
}
