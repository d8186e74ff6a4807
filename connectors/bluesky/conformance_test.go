package bluesky_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/bluesky"
	"smi/connectors/bluesky/blueskysim"
	"smi/connectors/connectortest"
	"smi/connectors/internal/simkit"
	"smi/internal/social"
)

// TestConformance runs the suite on both kinds of sign-in: they sign, refresh
// and fail differently.
func TestConformance(t *testing.T) {
	for _, mode := range []string{"app password", "oauth"} {
		t.Run(mode, func(t *testing.T) {
			connectortest.Run(t, func(t testing.TB) *connectortest.Harness { return open(t, mode == "oauth") })
		})
	}
}

func open(t testing.TB, oauth bool) *connectortest.Harness {
	t.Helper()
	sim := blueskysim.New(blueskysim.Options{})
	did := sim.AddAccount(blueskysim.Account{Handle: "alice.test", AppPassword: password})
	srv := simkit.Serve(t, sim)
	cfg := bluesky.NewConfig()
	cfg.Service, cfg.PLC, cfg.VideoService = srv.URL, srv.URL, srv.URL
	cfg.AllowHosts = []string{"127.0.0.1"}

	env := connectortest.NewEnv(t)
	env.Dial, env.RootCAs = srv.Dial, srv.RootCAs
	browser := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: srv.RootCAs, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	h := &connectortest.Harness{
		Env:     env,
		New:     func(env connectors.Env) (connectors.Platform, error) { return bluesky.New(*cfg, env) },
		Account: social.Account{Network: bluesky.Network, RemoteID: did, Handle: "alice.test", Host: srv.URL},
		Truth:   truth{sim, did},
		Stage: connectortest.Stage{
			Write:    func(text string) string { return sim.Write(did, text) },
			Remove:   func(id string) { sim.RemovePost(did, id[len(id)-13:]) },
			Count:    count(sim, did),
			Hide:     func(m social.Metric) { sim.Hide(counters[m]) },
			Loop:     sim.Loop,
			Noise:    sim.Noise,
			Revoke:   func() { sim.RevokeTokens(did) },
			PageSize: 100,
		},
		Login: connectortest.Login{
			Form: map[string]social.Secret{
				"identifier": social.NewSecret("alice.test"), "app_password": social.NewSecret(password), "service": social.NewSecret(""),
			},
			Consent: func(ctx context.Context, authURL string, withhold ...string) (connectortest.Callback, error) {
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
				p := sim.LastPushed()
				return connectortest.Callback{Query: back.Query(), State: p.State, Challenge: p.Challenge, Method: p.Method, RedirectURI: p.RedirectURI}, nil
			},
			Redirect: callback, Hint: "alice.test", Scope: "transition:generic",
		},
		ResetHeader: func(at time.Time) map[string]string {
			return map[string]string{"ratelimit-remaining": "0", "ratelimit-reset": strconv.FormatInt(at.Unix(), 10)}
		},
		Skip: map[string]string{
			"limits/empty at the network":          "a record may hold an empty text; an empty post is only never meant",
			"limits/image alt at the network":      "the length of alt text is a limit of the network's client, not of its records",
			"limits/gif alt at the network":        "as for images",
			"limits/video alt at the network":      "as for images",
			"limits/video duration at the network": "the simulated video service does not look into the file",
		},
	}
	h.Faults = connectortest.SimkitFaults(sim.Kit.Script, routes(oauth))
	p, err := h.New(env)
	if err != nil {
		t.Fatal(err)
	}
	h.Grant = grant(t, p.(*bluesky.Platform), h, oauth)
	return h
}

// grant signs in, in one way or the other.
func grant(t testing.TB, p *bluesky.Platform, h *connectortest.Harness, oauth bool) connectors.Grant {
	t.Helper()
	if !oauth {
		g, err := p.Login(t.Context(), h.Login.Form)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	req := authRequest()
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

// routes are the requests of each verb.
func routes(oauth bool) map[connectortest.Op]connectortest.Route {
	xrpc := func(method string) connectortest.Route { return connectortest.Route{Path: "/xrpc/" + method} }
	out := map[connectortest.Op]connectortest.Route{
		connectortest.OpIdentity:        xrpc("com.atproto.server.getSession"),
		connectortest.OpPrepare:         xrpc("com.atproto.repo.uploadBlob"),
		connectortest.OpCommit:          xrpc("com.atproto.repo.putRecord"),
		connectortest.OpFind:            xrpc("com.atproto.repo.getRecord"),
		connectortest.OpGet:             xrpc("com.atproto.repo.getRecord"),
		connectortest.OpDelete:          xrpc("com.atproto.repo.deleteRecord"),
		connectortest.OpList:            xrpc("com.atproto.repo.listRecords"),
		connectortest.OpPostInsights:    xrpc("app.bsky.feed.getPosts"),
		connectortest.OpAccountInsights: xrpc("app.bsky.actor.getProfile"),
		connectortest.OpRefresh:         xrpc("com.atproto.server.refreshSession"),
	}
	if !oauth {
		return out
	}
	// Every read is signed as identity is; what differs is played here.
	return map[connectortest.Op]connectortest.Route{
		connectortest.OpIdentity: out[connectortest.OpIdentity],
		connectortest.OpCommit:   out[connectortest.OpCommit],
		connectortest.OpRefresh:  {Path: "/oauth/token"},
	}
}

// truth is the simulated network's.
type truth struct {
	sim *blueskysim.Sim
	did string
}

func (w truth) Posts() []connectortest.Post {
	hashes := map[string]string{}
	for _, e := range w.sim.Kit.Journal.Effects("create") {
		hashes[e.RemoteID] = e.Hash
	}
	var out []connectortest.Post
	for _, p := range w.sim.Posts(w.did) {
		out = append(out, connectortest.Post{RemoteID: p.URI, Text: p.Text, Parent: p.Parent, Media: p.Media, Hash: hashes[p.URI]})
	}
	return out
}

func (w truth) Effects() int { return w.sim.Kit.Journal.Count("create") }

func (w truth) Calls() int { return w.sim.Kit.Requests.Count("", "") }

// counters are the network's names of the numbers.
var counters = map[social.Metric]string{
	social.Likes: "likeCount", social.Comments: "replyCount", social.Shares: "repostCount", social.Quotes: "quoteCount", social.Saves: "bookmarkCount",
	social.Followers: "followersCount", social.Following: "followsCount", social.Posts: "postsCount",
}

func count(sim *blueskysim.Sim, did string) func(string, social.Metric, int64) {
	return func(id string, m social.Metric, v int64) {
		switch m {
		case social.Likes:
			sim.SetCounts(id, blueskysim.Counts{Likes: v})
		case social.Followers:
			sim.SetFollowers(did, v)
		default:
			panic("the simulator cannot set " + string(m))
		}
	}
}
