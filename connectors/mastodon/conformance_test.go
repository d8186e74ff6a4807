package mastodon_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/connectortest"
	"smi/connectors/internal/simkit"
	"smi/connectors/mastodon"
	"smi/connectors/mastodon/mastodonsim"
	"smi/connectors/mastodon/mastodontest"
	"smi/internal/social"
)

// TestConformance runs the suite in front of servers that differ: a Mastodon that
// recognises keys and whose tokens end and are refreshed, as its documentation
// foresees, and a GoToSocial that ignores keys, takes longer posts, and whose
// tokens have no end, as all do today.
func TestConformance(t *testing.T) {
	for name, o := range map[string]mastodonsim.Options{
		"mastodon":   {TokenLife: 2 * time.Hour, MediaPolls: 2},
		"gotosocial": {GoToSocial: true},
	} {
		t.Run(name, func(t *testing.T) {
			connectortest.Run(t, func(t testing.TB) *connectortest.Harness { return openHarness(t, o) })
		})
	}
}

// openHarness opens the connector in front of a server of these options, on
// loopback.
func openHarness(t testing.TB, o mastodonsim.Options) *connectortest.Harness {
	t.Helper()
	sim := mastodonsim.New(o)
	id := sim.AddAccount(mastodonsim.Account{Username: "alice", DisplayName: "Alice"})
	srv := simkit.Serve(t, sim)
	browser := mastodontest.Browser{Dial: srv.Dial, RootCAs: srv.RootCAs, Account: id}
	cfg := mastodon.NewConfig()
	cfg.AllowHosts = []string{"127.0.0.1"}
	env := connectortest.NewEnv(t)
	env.Dial, env.RootCAs = srv.Dial, srv.RootCAs

	h := &connectortest.Harness{
		Env:     env,
		New:     func(env connectors.Env) (connectors.Platform, error) { return mastodon.New(*cfg, env) },
		Account: social.Account{Network: mastodon.Network, RemoteID: id, Handle: sim.Handles()[0], Host: srv.URL},
		Truth:   truth{sim, id},
		Stage: connectortest.Stage{
			Write:  func(text string) string { return sim.Write(id, text) },
			Remove: sim.RemovePost,
			Count: func(post string, m social.Metric, v int64) {
				switch m {
				case social.Likes:
					sim.SetCounts(post, mastodonsim.Counts{Favourites: v})
				case social.Followers:
					sim.SetFollowers(id, v)
				default:
					panic("the simulator cannot set " + string(m))
				}
			},
			Hide:     func(m social.Metric) { sim.Hide(counters[m]) },
			Loop:     sim.Loop,
			Noise:    sim.Noise,
			Revoke:   func() { sim.RevokeTokens(id) },
			PageSize: 40,
		},
		Login: connectortest.Login{
			Consent: func(ctx context.Context, authURL string, withhold ...string) (connectortest.Callback, error) {
				sim.Withhold(withhold...)
				query, err := browser.Consent(ctx, authURL)
				if err != nil {
					return connectortest.Callback{}, err
				}
				q := sim.LastAsked()
				return connectortest.Callback{Query: query, State: q.State, Challenge: q.Challenge, Method: q.Method, RedirectURI: q.RedirectURI}, nil
			},
			Redirect: mastodontest.Callback, Hint: srv.URL, Scope: "write:media",
		},
		Count: func(text string) int { return mastodonsim.Count("", text) },
		ResetHeader: func(at time.Time) map[string]string {
			return map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": at.UTC().Format("2006-01-02T15:04:05.000000Z")}
		},
		Skip: map[string]string{},
		Expect: map[string][]connectors.Kind{
			// Whether a token is dead is asked of the very path that is faulty here, and a
			// 401 without the server's own words is somebody else's (Platform.Refresh).
			"wire/identity/status 401": {connectors.Transient, connectors.AuthExpired},
			// An empty list is shorter than what the suite leaves of an answer: nothing is
			// cut. The simulation cuts lists that hold something.
			"wire/find/cut JSON": {"", connectors.Transient},
			"wire/list/cut JSON": {"", connectors.Transient},
		},
	}
	if o.TokenLife == 0 {
		h.Skip["joining/refresh"] = "tokens live until they are revoked; there is nothing to refresh them with"
		h.Skip["wire/refresh"] = "as above: a refresh only asks whether the token still lives"
		h.Expect["wire/account_insights/status 401"] = h.Expect["wire/identity/status 401"] // the same path
	}
	if o.GoToSocial {
		h.Skip["joining/stolen code"] = "GoToSocial does not look at the verifier; smi sends it all the same"
	}
	h.Faults = connectortest.SimkitFaults(sim.Kit.Script, routes(o, id))
	p, err := h.New(env)
	if err != nil {
		t.Fatal(err)
	}
	if h.Grant, err = browser.Login(t.Context(), p.(*mastodon.Platform), srv.URL); err != nil {
		t.Fatal(err)
	}
	// What the server takes is known from the day on which the account was connected.
	client, err := connectors.Open(p, h.Account, lent{h.Grant})
	if err != nil {
		t.Fatal(err)
	}
	me, err := client.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.Account.Server = me.Server
	return h
}

type lent struct{ g connectors.Grant }

func (l lent) Grant(context.Context) (connectors.Grant, error) { return l.g, nil }

func (l lent) Renew(context.Context, int64) (connectors.Grant, error) {
	return connectors.Grant{}, &connectors.Error{Kind: connectors.AuthExpired, Text: "the login was refused"}
}

// routes are the requests of each verb.
func routes(o mastodonsim.Options, id string) map[connectortest.Op]connectortest.Route {
	own, _, _ := strings.Cut(id, "@")
	me := connectortest.Route{Method: http.MethodGet, Path: "/api/v1/accounts/verify_credentials"}
	list := connectortest.Route{Method: http.MethodGet, Path: "/api/v1/accounts/" + own + "/statuses"}
	one := connectortest.Route{Method: http.MethodGet, Path: "/api/v1/statuses/*"}
	out := map[connectortest.Op]connectortest.Route{
		connectortest.OpIdentity:        me,
		connectortest.OpPrepare:         {Method: http.MethodPost, Path: "/api/v2/media"},
		connectortest.OpCommit:          {Method: http.MethodPost, Path: "/api/v1/statuses"},
		connectortest.OpFind:            list,
		connectortest.OpGet:             one,
		connectortest.OpDelete:          {Method: http.MethodDelete, Path: "/api/v1/statuses/*"},
		connectortest.OpList:            list,
		connectortest.OpPostInsights:    {Method: http.MethodGet, Path: "/api/v1/statuses"},
		connectortest.OpAccountInsights: me,
		connectortest.OpRefresh:         {Method: http.MethodPost, Path: "/oauth/token"},
	}
	if o.GoToSocial || o.Old {
		out[connectortest.OpPostInsights] = one
	}
	return out
}

// counters are the network's names of the numbers.
var counters = map[social.Metric]string{
	social.Likes: "favourites_count", social.Comments: "replies_count", social.Shares: "reblogs_count", social.Quotes: "quotes_count",
	social.Followers: "followers_count", social.Following: "following_count", social.Posts: "statuses_count",
}

// truth is the simulated server's.
type truth struct {
	sim *mastodonsim.Sim
	id  string
}

func (w truth) Posts() []connectortest.Post {
	hashes := map[string]string{}
	for _, e := range w.sim.Kit.Journal.Effects("create") {
		hashes[e.RemoteID] = e.Hash
	}
	var out []connectortest.Post
	for _, p := range w.sim.Posts(w.id) {
		out = append(out, connectortest.Post{RemoteID: p.ID, Text: p.Text, Parent: p.Parent, Media: len(p.Media), Hash: hashes[p.ID]})
	}
	return out
}

func (w truth) Effects() int { return w.sim.Kit.Journal.Count("create") }

func (w truth) Calls() int { return w.sim.Kit.Requests.Count("", "") }
