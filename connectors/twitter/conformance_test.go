package twitter_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strconv"
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

// app is what the developer registered.
var app = twittersim.App{ClientID: "client-of-smi", ClientSecret: "client/secret+0123456789", ConsumerKey: "consumer-key-0123456789", ConsumerSecret: "consumer-secret-0123456789"}

const callback = "http://127.0.0.1:8080/oauth/callback"

// TestConformance runs the suite on API v2, as a confidential and as a public
// app, and on v1.1: they sign, refresh and fail differently.
func TestConformance(t *testing.T) {
	t.Run("v2", func(t *testing.T) {
		connectortest.Run(t, func(t testing.TB) *connectortest.Harness { return open(t, "2", app) })
	})
	t.Run("v1.1", func(t *testing.T) {
		connectortest.Run(t, func(t testing.TB) *connectortest.Harness { return open(t, "1.1", app) })
	})
}

// open opens a harness in front of a new network.
func open(t testing.TB, version string, app twittersim.App) *connectortest.Harness {
	t.Helper()
	sim := twittersim.New(app, twittersim.Options{MediaPolls: 1})
	id := sim.AddAccount(twittersim.Account{Username: "alice_test", Name: "Alice", Followers: 3, Following: 4})
	srv := simkit.Serve(t, sim)
	cfg := config(srv.URL, version, app)

	env := connectortest.NewEnv(t)
	env.Dial, env.RootCAs = srv.Dial, srv.RootCAs
	h := &connectortest.Harness{
		Env:     env,
		New:     func(env connectors.Env) (connectors.Platform, error) { return twitter.New(*cfg, env) },
		Account: social.Account{Network: twitter.Network, RemoteID: id, Handle: "alice_test"},
		Truth:   truth{sim, id},
		Count:   twitter.Weight,
		Stage: connectortest.Stage{
			Write:    func(text string) string { return sim.Write(id, text) },
			Remove:   sim.Remove,
			Count:    count(sim, id),
			Hide:     func(m social.Metric) { sim.Hide(counters[m]...) },
			Loop:     sim.Loop,
			Noise:    sim.Noise,
			Revoke:   func() { sim.Revoke(id) },
			PageSize: 100,
		},
		ResetHeader: func(at time.Time) map[string]string {
			return map[string]string{"x-rate-limit-limit": "100", "x-rate-limit-remaining": "0", "x-rate-limit-reset": strconv.FormatInt(at.Unix(), 10)}
		},
	}
	if version == "1.1" {
		token, secret := sim.AddKeys(id)
		h.Login.Form = map[string]social.Secret{"access_token": social.NewSecret(token), "access_token_secret": social.NewSecret(secret)}
		h.Grant = connectors.Grant{Access: social.NewSecret(token), Extra: map[string]social.Secret{"token_secret": social.NewSecret(secret)}}
		h.Stage.PageSize = 200
		h.Skip = legacySkips
		// 401 without X's own words is somebody else's (Legacy.Refresh).
		somebody := []connectors.Kind{connectors.Transient, connectors.AuthExpired}
		h.Expect = map[string][]connectors.Kind{"wire/identity/status 401": somebody, "wire/account_insights/status 401": somebody}
	} else {
		h.Login = connectortest.Login{Consent: consent(sim, srv), Redirect: callback, Scope: "media.write"}
		h.Skip = map[string]string{
			"limits/video duration at the network": "the simulated network does not look into files",
			"limits/video shortest at the network": "as for the longest",
		}
	}
	h.Faults = connectortest.SimkitFaults(sim.Kit.Script, routes[version])
	if version == "2" {
		p, err := h.New(env)
		if err != nil {
			t.Fatal(err)
		}
		h.Grant = signIn(t, p.(connectors.OAuth), h)
	}
	return h
}

// legacySkips are what API v1.1 has not.
var legacySkips = map[string]string{
	"joining/refresh":                        "OAuth 1.0a tokens have no end; X is asked whether they are still good",
	"wire/prepare/refused connection":        "nothing is uploaded before a commit, so no request is made",
	"wire/prepare/broken TLS":                "nothing is uploaded before a commit, so no request is made",
	"wire/prepare/given up before":           "nothing is uploaded before a commit, so no request is made",
	"wire/find/cut JSON":                     "an empty timeline is two bytes long; nothing is left to cut",
	"wire/list/cut JSON":                     "an empty timeline is two bytes long; nothing is left to cut",
	"publishing/media":                       "X switched the upload of API v1.1 off on 2025-06-09",
	"limits/image refused at the network":    "there is no upload to refuse it",
	"limits/gif refused at the network":      "there is no upload to refuse it",
	"limits/video refused at the network":    "there is no upload to refuse it",
	"limits/document refused at the network": "there is no upload to refuse it",
}

// config are the settings that lead to a simulator.
func config(url, version string, app twittersim.App) *twitter.Config {
	cfg := twitter.NewConfig()
	cfg.API, cfg.APIURL, cfg.WebURL = version, url, url
	cfg.AllowHosts = []string{"127.0.0.1"}
	cfg.ClientID, cfg.ClientSecret = app.ClientID, social.NewSecret(app.ClientSecret)
	cfg.ConsumerKey, cfg.ConsumerSecret = social.NewSecret(app.ConsumerKey), social.NewSecret(app.ConsumerSecret)
	return cfg
}

// consent is the person at the browser.
func consent(sim *twittersim.Sim, srv *simkit.Server) func(context.Context, string, ...string) (connectortest.Callback, error) {
	browser := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: srv.RootCAs, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, authURL string, withhold ...string) (connectortest.Callback, error) {
		sim.Withhold(withhold...)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, authURL, nil)
		if err != nil {
			return connectortest.Callback{}, err
		}
		res, err := browser.Do(req)
		if err != nil {
			return connectortest.Callback{}, err
		}
		defer res.Body.Close()
		back, err := res.Location()
		if err != nil {
			return connectortest.Callback{}, fmt.Errorf("the browser stays at %s: %w", res.Status, err)
		}
		a := sim.LastAsked()
		return connectortest.Callback{Query: back.Query(), State: a.State, Challenge: a.Challenge, Method: a.Method, RedirectURI: a.RedirectURI}, nil
	}
}

// signIn goes to the browser and back.
func signIn(t testing.TB, p connectors.OAuth, h *connectortest.Harness) connectors.Grant {
	t.Helper()
	req := connectors.AuthRequest{State: "state", RedirectURI: callback, Verifier: social.NewSecret(strings.Repeat("verifier", 6))}
	to, err := p.AuthURL(t.Context(), &req)
	if err != nil {
		t.Fatal(err)
	}
	back, err := h.Login.Consent(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	g, err := p.Exchange(t.Context(), req, back.Query)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func timelineOnly(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/tweets") }

// routes are the requests of each verb.
var routes = map[string]map[connectortest.Op]connectortest.Route{
	"2": {
		connectortest.OpIdentity:        {Method: "GET", Path: "/2/users/me"},
		connectortest.OpPrepare:         {Method: "POST", Path: "/2/media/upload"},
		connectortest.OpCommit:          {Method: "POST", Path: "/2/tweets"},
		connectortest.OpFind:            {Method: "GET", Path: "/2/users/*", Match: timelineOnly},
		connectortest.OpGet:             {Method: "GET", Path: "/2/tweets/*"},
		connectortest.OpDelete:          {Method: "DELETE", Path: "/2/tweets/*"},
		connectortest.OpList:            {Method: "GET", Path: "/2/users/*", Match: timelineOnly},
		connectortest.OpPostInsights:    {Method: "GET", Path: "/2/tweets"},
		connectortest.OpAccountInsights: {Method: "GET", Path: "/2/users/me"},
		connectortest.OpRefresh:         {Method: "POST", Path: "/2/oauth2/token"},
	},
	"1.1": {
		connectortest.OpIdentity:        {Path: "/1.1/account/verify_credentials.json"},
		connectortest.OpCommit:          {Path: "/1.1/statuses/update.json"},
		connectortest.OpFind:            {Path: "/1.1/statuses/user_timeline.json"},
		connectortest.OpGet:             {Path: "/1.1/statuses/show.json"},
		connectortest.OpDelete:          {Path: "/1.1/statuses/destroy/*"},
		connectortest.OpList:            {Path: "/1.1/statuses/user_timeline.json"},
		connectortest.OpPostInsights:    {Path: "/1.1/statuses/lookup.json"},
		connectortest.OpAccountInsights: {Path: "/1.1/account/verify_credentials.json"},
	},
}

// truth is the simulated network's.
type truth struct {
	sim *twittersim.Sim
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

// counters are the network's names of the numbers, of both versions.
var counters = map[social.Metric][]string{
	social.Likes: {"like_count", "favorite_count"}, social.Followers: {"followers_count"},
}

func count(sim *twittersim.Sim, account string) func(string, social.Metric, int64) {
	return func(id string, m social.Metric, v int64) {
		switch m {
		case social.Likes:
			sim.SetCounts(id, twittersim.Counts{Likes: v})
		case social.Followers:
			sim.SetFollowers(account, v)
		default:
			panic("the simulator cannot set " + string(m))
		}
	}
}
