// Package blueskytest stands the Bluesky connector before the simulation of the
// whole program.
package blueskytest

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
	"smi/connectors/bluesky"
	"smi/connectors/bluesky/blueskysim"
	"smi/connectors/connectortest"
	"smi/internal/social"
)

// host is where the whole network is.
const host = "bluesky.sim.test"

// password is the app password of every account.
const password = "abcd-efgh-ijkl-mnop"

// World returns a Bluesky network for a simulation, whose accounts sign in by
// app password or by OAuth.
func World(t testing.TB, oauth bool, o connectortest.WorldOptions) *connectortest.World {
	t.Helper()
	sim := blueskysim.New(blueskysim.Options{Now: o.Now, BaseURL: "https://" + host, AccessLife: o.TokenLife, Seed: o.Seed})
	w := &connectortest.World{
		Expire: sim.ExpireAccess, Revoke: sim.RevokeTokens, Reused: sim.Reused,
		Effects: func() (out []connectortest.Effect) {
			now := map[string]blueskysim.Post{}
			for _, e := range sim.Kit.Journal.Effects("create") {
				for _, p := range sim.Posts(e.Account) {
					now[p.URI] = p
				}
				p := now[e.RemoteID]
				out = append(out, connectortest.Effect{Account: e.Account, RemoteID: e.RemoteID, Parent: p.Parent, Text: e.Text, Media: p.Media, At: e.At, Hash: e.Hash})
			}
			return out
		},
	}
	url := connectortest.ServeWorld(t, w, o, sim, sim.Kit, host, func(r *http.Request) (connectortest.Op, string) {
		return ops[strings.TrimPrefix(r.URL.Path, "/xrpc/")], sim.Who(r)
	})
	cfg := bluesky.NewConfig()
	cfg.Service, cfg.PLC, cfg.VideoService = url, url, url
	cfg.AllowHosts = []string{host}
	w.New = func(env connectors.Env) (connectors.Platform, error) { return bluesky.New(*cfg, env) }
	w.AddAccount = func(n int) social.Account {
		handle := fmt.Sprintf("account%d.test", n)
		did := sim.AddAccount(blueskysim.Account{Handle: handle, AppPassword: password})
		return social.Account{Network: bluesky.Network, RemoteID: did, Handle: handle, Host: url, DayZone: "UTC"}
	}
	w.Login = func(ctx context.Context, remoteID string) (connectors.Grant, error) {
		return login(ctx, w, cfg, remoteID, oauth, o.Now)
	}
	return w
}

// ops are the requests of each verb; what is none of them is "other".
var ops = map[string]connectortest.Op{
	"com.atproto.server.getSession":     connectortest.OpIdentity,
	"com.atproto.repo.uploadBlob":       connectortest.OpPrepare,
	"com.atproto.repo.putRecord":        connectortest.OpCommit,
	"com.atproto.repo.getRecord":        connectortest.OpFind,
	"com.atproto.repo.deleteRecord":     connectortest.OpDelete,
	"com.atproto.repo.listRecords":      connectortest.OpList,
	"com.atproto.server.refreshSession": connectortest.OpRefresh,
	"/oauth/token":                      connectortest.OpRefresh,
}

// login is a person who signs in, in one way or the other.
func login(ctx context.Context, w *connectortest.World, cfg *bluesky.Config, did string, oauth bool, now func() time.Time) (connectors.Grant, error) {
	p, err := bluesky.New(*cfg, connectortest.PersonEnv(w, now))
	if err != nil {
		return connectors.Grant{}, err
	}
	if !oauth {
		return p.Login(ctx, map[string]social.Secret{"identifier": social.NewSecret(did), "app_password": social.NewSecret(password)})
	}
	req := connectors.AuthRequest{
		State: "state of " + did, RedirectURI: "http://127.0.0.1:8080/oauth/callback", Verifier: social.NewSecret(strings.Repeat("verifier", 6)), Hint: did,
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
		Transport: &http.Transport{
			DialContext: w.Dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: w.RootCAs, MinVersion: tls.VersionTLS12},
		},
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
