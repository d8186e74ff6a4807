package linkedin_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"testing"

	"smi/connectors"
	"smi/connectors/connectortest"
	"smi/connectors/internal/simkit"
	"smi/connectors/linkedin"
	"smi/connectors/linkedin/linkedinsim"
	"smi/connectors/linkedin/linkedintest"
	"smi/internal/social"
)

const callback = "http://127.0.0.1:8080/oauth/callback"

// TestConformance runs the suite on an organisation and on a member: they can do
// different things.
func TestConformance(t *testing.T) {
	for _, mode := range []string{"organisation", "member"} {
		t.Run(mode, func(t *testing.T) {
			connectortest.Run(t, func(t testing.TB) *connectortest.Harness { return open(t, mode == "organisation") })
		})
	}
}

func open(t testing.TB, organization bool) *connectortest.Harness {
	t.Helper()
	sim := linkedinsim.New(linkedinsim.Options{})
	sim.AddApp(linkedintest.App(callback))
	person := sim.AddMember(linkedinsim.Member{ID: "782bbtaQ", First: "Alice", Last: "Example", Vanity: "alice-example"})
	page := sim.AddOrganization(linkedinsim.Organization{ID: "5515715", Name: "Devtestco", Vanity: "devtestco"})
	sim.SetRole(page, person, "ADMINISTRATOR")
	srv := simkit.Serve(t, sim)
	cfg := linkedintest.Config(srv.URL)
	cfg.CommentDelay, cfg.MemberNumbers = 0, "analytics"

	urn, handle := page, "devtestco"
	if !organization {
		urn, handle = person, "alice-example"
	}
	env := connectortest.NewEnv(t)
	env.Dial, env.RootCAs = srv.Dial, srv.RootCAs
	browser := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: srv.RootCAs, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	h := &connectortest.Harness{
		Env:     env,
		New:     func(env connectors.Env) (connectors.Platform, error) { return linkedin.New(*cfg, env) },
		Account: social.Account{Network: linkedin.Network, RemoteID: urn, Handle: handle},
		Truth:   truth{sim, urn},
		Stage: connectortest.Stage{
			Write:  func(text string) string { return sim.Write(urn, text) },
			Remove: sim.RemovePost,
			Count: func(id string, m social.Metric, v int64) {
				switch m {
				case social.Likes:
					sim.SetCounts(id, linkedinsim.Counts{Impressions: 1, Likes: v})
				case social.Followers:
					sim.SetFollowers(urn, v)
				default:
					panic("the simulator cannot set " + string(m))
				}
			},
			Hide:   func(m social.Metric) { sim.Hide(counters(organization)[m]) },
			Loop:   sim.Loop,
			Noise:  sim.Noise,
			Revoke: func() { sim.RevokeTokens(urn) },
		},
		Login: connectortest.Login{
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
				a := sim.LastAsked()
				return connectortest.Callback{Query: back.Query(), State: a.State, Challenge: a.Challenge, Method: a.Method, RedirectURI: a.RedirectURI}, nil
			},
			NoPKCE:   "LinkedIn's flow for web apps has no PKCE; the app's secret guards the code",
			Redirect: callback, Scope: "w_organization_social",
		},
		Skip: map[string]string{},
		Expect: map[string][]connectors.Kind{
			// The answer to a post has an empty body: there is nothing that could be cut.
			"wire/commit/cut JSON": {""},
		},
	}
	routes := map[connectortest.Op]connectortest.Route{
		connectortest.OpPrepare: {Method: http.MethodPost, Path: "/rest/images"},
		connectortest.OpCommit:  {Method: http.MethodPost, Path: "/rest/posts"},
		connectortest.OpDelete:  {Method: http.MethodDelete, Path: "/rest/posts/*"},
		connectortest.OpRefresh: {Path: "/oauth/v2/accessToken"},
	}
	if organization {
		h.Stage.PageSize = 100
		finder := connectortest.Route{Method: http.MethodGet, Path: "/rest/posts"}
		routes[connectortest.OpIdentity] = connectortest.Route{Path: "/rest/organizationAcls"}
		routes[connectortest.OpFind], routes[connectortest.OpList] = finder, finder
		routes[connectortest.OpGet] = connectortest.Route{Method: http.MethodGet, Path: "/rest/posts/*"}
		routes[connectortest.OpPostInsights] = connectortest.Route{Path: "/rest/organizationalEntityShareStatistics"}
		routes[connectortest.OpAccountInsights] = connectortest.Route{Path: "/rest/networkSizes/*"}
	} else {
		routes[connectortest.OpIdentity] = connectortest.Route{Path: "/rest/me"}
		routes[connectortest.OpGet] = connectortest.Route{Path: "/rest/socialMetadata/*"}
		routes[connectortest.OpPostInsights] = connectortest.Route{Path: "/rest/memberCreatorPostAnalytics"}
		routes[connectortest.OpAccountInsights] = connectortest.Route{Path: "/rest/memberFollowersCount"}
		// Most apps may not ask after a member's post: who names it is believed.
		h.Expect["wire/get/status 403"] = []connectors.Kind{""}
		// An app without the Standard tier is told 404 (see docs/networks/linkedin.md).
		h.Expect["wire/post_insights/status 404"] = []connectors.Kind{connectors.Permission}
		h.Expect["wire/account_insights/status 404"] = []connectors.Kind{connectors.Permission}
	}
	h.Faults = connectortest.SimkitFaults(sim.Kit.Script, routes)
	h.Grant = signIn(t, h)
	return h
}

// signIn goes through the browser.
func signIn(t testing.TB, h *connectortest.Harness) connectors.Grant {
	t.Helper()
	p, err := h.New(h.Env)
	if err != nil {
		t.Fatal(err)
	}
	o := p.(connectors.OAuth)
	req := connectors.AuthRequest{State: "state-of-the-harness", RedirectURI: callback}
	to, err := o.AuthURL(t.Context(), &req)
	if err != nil {
		t.Fatal(err)
	}
	back, err := h.Login.Consent(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	g, err := o.Exchange(t.Context(), req, back.Query)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// truth is the simulated network's.
type truth struct {
	sim *linkedinsim.Sim
	urn string
}

func (w truth) Posts() []connectortest.Post {
	hashes := map[string]string{}
	for _, e := range w.sim.Kit.Journal.Effects("create") {
		hashes[e.RemoteID] = e.Hash
	}
	var out []connectortest.Post
	for _, p := range w.sim.Posts(w.urn) {
		out = append(out, connectortest.Post{RemoteID: p.URN, Text: p.Text, Parent: p.Parent, Media: p.Media, Hash: hashes[p.URN]})
	}
	return out
}

func (w truth) Effects() int { return w.sim.Kit.Journal.Count("create") }

func (w truth) Calls() int { return w.sim.Kit.Requests.Count("", "") }

// counters are the network's names of the numbers.
func counters(organization bool) map[social.Metric]string {
	if organization {
		return map[social.Metric]string{social.Likes: "likeCount", social.Followers: "firstDegreeSize"}
	}
	return map[social.Metric]string{social.Likes: "REACTION", social.Followers: "memberFollowersCount"}
}
