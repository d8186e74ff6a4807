// Package twittertest stands the X connector before the simulation of the whole
// program.
package twittertest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/connectortest"
	"smi/connectors/twitter"
	"smi/connectors/twitter/twittersim"
	"smi/internal/social"
)

// host is where the whole network is.
const host = "x.sim.test"

var app = twittersim.App{ClientID: "client", ClientSecret: "client-secret", ConsumerKey: "consumer-key", ConsumerSecret: "consumer-secret"}

// World returns X for a simulation, by API version "2" or "1.1".
func World(t testing.TB, version string, o connectortest.WorldOptions) *connectortest.World {
	t.Helper()
	sim := twittersim.New(app, twittersim.Options{Now: o.Now, AccessLife: o.TokenLife, Seed: o.Seed, MediaPolls: 1})
	w := &connectortest.World{
		Expire: sim.Expire, Revoke: sim.Revoke, Stale: sim.Stale, Reused: sim.Reused, TextOnly: version == "1.1",
		Effects: func() (out []connectortest.Effect) {
			for _, e := range sim.Kit.Journal.Effects("create") {
				p := sim.Made(e.RemoteID)
				out = append(out, connectortest.Effect{Account: e.Account, RemoteID: e.RemoteID, Parent: p.Parent, Text: e.Text, Media: len(p.Media), At: e.At, Hash: e.Hash})
			}
			return out
		},
	}
	url := connectortest.ServeWorld(t, w, o, sim, sim.Kit, host, func(r *http.Request) (connectortest.Op, string) {
		return opOf(r), sim.Who(r)
	})
	cfg := twitter.NewConfig()
	cfg.API, cfg.APIURL, cfg.WebURL, cfg.AllowHosts = version, url, url, []string{host}
	cfg.ClientID, cfg.ClientSecret = app.ClientID, social.NewSecret(app.ClientSecret)
	cfg.ConsumerKey, cfg.ConsumerSecret = social.NewSecret(app.ConsumerKey), social.NewSecret(app.ConsumerSecret)
	w.New = func(env connectors.Env) (connectors.Platform, error) { return twitter.New(*cfg, env) }
	w.AddAccount = func(n int) social.Account {
		name := fmt.Sprintf("account%d", n)
		return social.Account{Network: twitter.Network, RemoteID: sim.AddAccount(twittersim.Account{Username: name}), Handle: name, DayZone: "UTC"}
	}
	w.Login = func(ctx context.Context, remoteID string) (connectors.Grant, error) {
		p, err := twitter.New(*cfg, connectortest.PersonEnv(w, o.Now))
		if err != nil {
			return connectors.Grant{}, err
		}
		if form, ok := p.(connectors.FormLogin); ok {
			token, secret := sim.AddKeys(remoteID)
			return form.Login(ctx, map[string]social.Secret{"access_token": social.NewSecret(token), "access_token_secret": social.NewSecret(secret)})
		}
		sim.SignIn(remoteID)
		return signIn(ctx, w, p.(connectors.OAuth), remoteID)
	}
	return w
}

// opOf says which verb makes a request; what is none of them is "other".
func opOf(r *http.Request) connectortest.Op {
	path := r.URL.Path
	switch {
	case path == "/2/oauth2/token":
		return connectortest.OpRefresh
	case path == "/2/users/me", strings.HasSuffix(path, "/verify_credentials.json"):
		return connectortest.OpIdentity
	case strings.HasPrefix(path, "/2/media/"):
		return connectortest.OpPrepare
	case r.Method == http.MethodPost && path == "/2/tweets", strings.HasSuffix(path, "/statuses/update.json"):
		return connectortest.OpCommit
	case r.Method == http.MethodDelete, strings.Contains(path, "/statuses/destroy/"):
		return connectortest.OpDelete
	case strings.HasPrefix(path, "/2/users/"), strings.HasSuffix(path, "/user_timeline.json"):
		return connectortest.OpFind
	case strings.HasPrefix(path, "/2/tweets/"), strings.HasSuffix(path, "/show.json"):
		return connectortest.OpGet
	}
	return connectortest.OpOther
}

// signIn is a person at the browser.
func signIn(ctx context.Context, w *connectortest.World, p connectors.OAuth, account string) (connectors.Grant, error) {
	req := connectors.AuthRequest{
		State: "state of " + account, RedirectURI: "http://127.0.0.1:8080/oauth/callback", Verifier: social.NewSecret(strings.Repeat("verifier", 6)),
	}
	to, err := p.AuthURL(ctx, &req)
	if err != nil {
		return connectors.Grant{}, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, to, nil)
	if err != nil {
		return connectors.Grant{}, err
	}
	r.Header.Set("User-Agent", connectortest.PersonAgent)
	browser := &http.Client{
		Timeout:       time.Minute,
		Transport:     &http.Transport{DialContext: w.Dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: w.RootCAs, MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := browser.Do(r)
	if err != nil {
		return connectors.Grant{}, err
	}
	defer res.Body.Close()
	back, err := res.Location()
	if err != nil {
		return connectors.Grant{}, errors.Join(fmt.Errorf("the browser stays at %s", res.Status), err)
	}
	return p.Exchange(ctx, req, back.Query())
}
