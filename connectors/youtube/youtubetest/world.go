// Package youtubetest stands the YouTube connector before the simulation of the
// whole program, and signs people in for the tests of the connector.
package youtubetest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"smi/connectors"
	"smi/connectors/connectortest"
	"smi/connectors/youtube"
	"smi/connectors/youtube/youtubesim"
	"smi/internal/social"
)

// host is where the whole network is.
const host = "youtube.sim.test"

// Redirect is the address people come back to.
const Redirect = "http://127.0.0.1:8080/oauth/callback"

// Config is the configuration for a simulator at url.
func Config(url, host string) *youtube.Config {
	cfg := youtube.NewConfig()
	cfg.ClientID, cfg.ClientSecret = youtubesim.ClientID, social.NewSecret(youtubesim.ClientSecret)
	cfg.API, cfg.Upload, cfg.Analytics, cfg.WebURL = url, url, url, url
	cfg.AuthURL, cfg.TokenURL, cfg.RevokeURL = url+"/o/oauth2/v2/auth", url+"/token", url+"/revoke"
	cfg.AllowHosts = []string{host}
	cfg.MadeForKids = "no"
	return cfg
}

// Browser is a person's browser: it opens an address and says where it is sent.
func Browser(ctx context.Context, t http.RoundTripper, address string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("User-Agent", connectortest.PersonAgent)
	c := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	back, err := res.Location()
	if err != nil {
		return "", errors.Join(fmt.Errorf("the browser stays at %s", res.Status), err)
	}
	return back.String(), nil
}

// Join is a person who connects a channel.
func Join(ctx context.Context, p *youtube.Platform, t http.RoundTripper, channel string) (connectors.Grant, error) {
	req := connectors.AuthRequest{
		State: "state of " + channel, RedirectURI: Redirect, Verifier: social.NewSecret(strings.Repeat("verifier", 6)), Hint: channel,
	}
	to, err := p.AuthURL(ctx, &req)
	if err != nil {
		return connectors.Grant{}, err
	}
	back, err := Browser(ctx, t, to)
	if err != nil {
		return connectors.Grant{}, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, back, nil)
	if err != nil {
		return connectors.Grant{}, err
	}
	return p.Exchange(ctx, req, r.URL.Query())
}

// World returns a YouTube network for a simulation.
func World(t testing.TB, o connectortest.WorldOptions) *connectortest.World {
	t.Helper()
	sim := youtubesim.New(youtubesim.Options{Now: o.Now, BaseURL: "https://" + host, AccessLife: o.TokenLife, Seed: o.Seed, Units: 1 << 30, Inserts: 1 << 30})
	w := &connectortest.World{
		Expire: sim.ExpireAccess, Revoke: sim.Revoke, Reused: func() int { return 0 }, // a refresh token may be used again
		VideoOnly: true,
		Effects: func() (out []connectortest.Effect) {
			for _, e := range sim.Kit.Journal.Effects("publish") {
				out = append(out, connectortest.Effect{Account: e.Account, RemoteID: e.RemoteID, Text: e.Text, Media: 1, At: e.At, Hash: e.Hash})
			}
			return out
		},
	}
	url := connectortest.ServeWorld(t, w, o, sim, sim.Kit, host, func(r *http.Request) (connectortest.Op, string) {
		return ops[r.Method+" "+r.URL.Path], sim.Who(r)
	})
	cfg := Config(url, host)
	cfg.MinGap = 0
	w.New = func(env connectors.Env) (connectors.Platform, error) { return youtube.New(*cfg, env) }
	w.AddAccount = func(n int) social.Account {
		handle := fmt.Sprintf("@channel%d", n)
		return social.Account{Network: youtube.Network, RemoteID: sim.AddChannel(fmt.Sprintf("Channel %d", n), handle), Handle: handle, DayZone: "America/Los_Angeles"}
	}
	w.Login = func(ctx context.Context, remoteID string) (connectors.Grant, error) {
		p, err := youtube.New(*cfg, connectortest.PersonEnv(w, o.Now))
		if err != nil {
			return connectors.Grant{}, err
		}
		return Join(ctx, p, &http.Transport{
			DialContext: w.Dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: w.RootCAs, MinVersion: tls.VersionTLS12},
		}, remoteID)
	}
	return w
}

// ops are the requests of each verb; what is none of them is "other".
var ops = map[string]connectortest.Op{
	"GET /youtube/v3/channels":             connectortest.OpIdentity,
	"PUT /upload/youtube/v3/videos":        connectortest.OpPrepare,
	"PUT /youtube/v3/videos":               connectortest.OpCommit,
	"GET /youtube/v3/videos":               connectortest.OpFind,
	"DELETE /youtube/v3/videos":            connectortest.OpDelete,
	"GET /youtube/v3/playlistItems":        connectortest.OpList,
	"GET /youtube/v3/videos:batchGetStats": connectortest.OpPostInsights,
	"GET /v2/reports":                      connectortest.OpAccountInsights,
	"POST /token":                          connectortest.OpRefresh,
}
