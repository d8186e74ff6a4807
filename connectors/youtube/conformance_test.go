package youtube_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"smi/connectors"
	"smi/connectors/connectortest"
	"smi/connectors/internal/simkit"
	"smi/connectors/youtube"
	"smi/connectors/youtube/youtubesim"
	"smi/connectors/youtube/youtubetest"
	"smi/internal/social"
)

func TestConformance(t *testing.T) { connectortest.Run(t, open) }

// uploadScope is one of the scopes a person can untick.
const uploadScope = "https://www.googleapis.com/auth/youtube.upload"

func open(t testing.TB) *connectortest.Harness {
	t.Helper()
	sim := youtubesim.New(youtubesim.Options{Inserts: 10_000, Units: 1_000_000})
	channel := sim.AddChannel("Alice's films", "@alice")
	srv := simkit.Serve(t, hangingUp(sim))
	cfg := youtubetest.Config(srv.URL, "127.0.0.1")
	env := connectortest.NewEnv(t)
	env.Dial, env.RootCAs = srv.Dial, srv.RootCAs
	browser := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: srv.RootCAs, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	h := &connectortest.Harness{
		Env:     env,
		New:     func(env connectors.Env) (connectors.Platform, error) { return youtube.New(*cfg, env) },
		Account: social.Account{Network: youtube.Network, RemoteID: channel, Handle: "@alice"},
		Truth:   truth{sim, channel},
		Stage: connectortest.Stage{
			Write:    func(text string) string { return sim.Write(channel, text) },
			Remove:   sim.Remove,
			Count:    count(sim, channel),
			Hide:     func(m social.Metric) { sim.Hide(counters[m]) },
			Loop:     sim.Loop,
			Noise:    sim.Noise,
			Revoke:   func() { sim.Revoke(channel) },
			PageSize: 50,
		},
		Login: connectortest.Login{
			Consent: func(ctx context.Context, authURL string, withhold ...string) (connectortest.Callback, error) {
				sim.Withhold(withhold...)
				to, err := youtubetest.Browser(ctx, browser, authURL)
				if err != nil {
					return connectortest.Callback{}, err
				}
				back, err := url.Parse(to)
				if err != nil {
					return connectortest.Callback{}, err
				}
				a := sim.LastAsked()
				return connectortest.Callback{Query: back.Query(), State: a.State, Challenge: a.Challenge, Method: a.Method, RedirectURI: a.RedirectURI}, nil
			},
			Redirect: youtubetest.Redirect, Hint: channel, Scope: uploadScope,
		},
		Skip: map[string]string{
			"limits/video duration at the network": "the simulated network does not look into the file",
		},
	}
	h.Faults = connectortest.SimkitFaults(sim.Kit.Script, map[connectortest.Op]connectortest.Route{
		connectortest.OpIdentity:        {Method: http.MethodGet, Path: "/youtube/v3/channels"},
		connectortest.OpPrepare:         {Method: http.MethodPut, Path: "/upload/youtube/v3/videos"},
		connectortest.OpCommit:          {Method: http.MethodPut, Path: "/youtube/v3/videos"},
		connectortest.OpFind:            {Method: http.MethodGet, Path: "/youtube/v3/videos"},
		connectortest.OpGet:             {Method: http.MethodGet, Path: "/youtube/v3/videos"},
		connectortest.OpDelete:          {Method: http.MethodDelete, Path: "/youtube/v3/videos"},
		connectortest.OpList:            {Method: http.MethodGet, Path: "/youtube/v3/playlistItems"},
		connectortest.OpPostInsights:    {Method: http.MethodGet, Path: "/youtube/v3/videos:batchGetStats"},
		connectortest.OpAccountInsights: {Method: http.MethodGet, Path: "/youtube/v3/channels"},
		connectortest.OpRefresh:         {Method: http.MethodPost, Path: "/token"},
	})
	p, err := youtube.New(*cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	h.Grant, err = youtubetest.Join(context.Background(), p, browser, channel)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// hangingUp closes the connection after the last call of Prepare, so that the
// next verb has to open one, as the cells of the matrix want it.
func hangingUp(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.RawQuery, "processingDetails") {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}

// truth is the simulated network's.
type truth struct {
	sim     *youtubesim.Sim
	channel string
}

func (w truth) Posts() []connectortest.Post {
	var out []connectortest.Post
	for _, p := range w.sim.Posts(w.channel) {
		out = append(out, connectortest.Post{RemoteID: p.ID, Text: p.Text, Media: 1, Hash: p.Hash})
	}
	return out
}

func (w truth) Effects() int { return w.sim.Kit.Journal.Count("publish") }

func (w truth) Calls() int { return w.sim.Kit.Requests.Count("", "") }

// counters are the network's names of the numbers.
var counters = map[social.Metric]string{
	social.Views: "viewCount", social.Likes: "likeCount", social.Comments: "commentCount", social.Followers: "subscriberCount",
}

func count(sim *youtubesim.Sim, channel string) func(string, social.Metric, int64) {
	return func(id string, m social.Metric, v int64) {
		if id == "" {
			sim.SetSubscribers(channel, v)
			return
		}
		sim.SetCount(id, counters[m], v)
	}
}
