// Package linkedintest stands the LinkedIn connector before the simulation of the
// whole program.
package linkedintest

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
	"smi/connectors/linkedin"
	"smi/connectors/linkedin/linkedinsim"
	"smi/internal/social"
)

// host is where the whole network is.
const host = "linkedin.sim.test"

const callback = "http://127.0.0.1:8080/oauth/callback"

// Scopes are what the app of the tests was given.
var Scopes = []string{
	"r_basicprofile", "rw_organization_admin", "r_organization_social", "w_organization_social", "w_member_social_feed",
	"r_member_postAnalytics", "r_member_profileAnalytics",
}

// App is the developer app of the tests.
func App(redirect string) linkedinsim.App {
	return linkedinsim.App{ID: "86sim0app0id", Secret: "WPL_AP1.simulated-secret.0001", Redirects: []string{redirect}, Scopes: Scopes}
}

// Config are settings for a simulator at url.
func Config(url string) *linkedin.Config {
	cfg := linkedin.NewConfig()
	app := App("")
	cfg.ClientID, cfg.ClientSecret = app.ID, social.NewSecret(app.Secret)
	cfg.Product, cfg.Scopes = "community", Scopes
	cfg.APIURL, cfg.OAuthURL = url, url
	name := strings.TrimPrefix(strings.TrimPrefix(url, "https://"), "http://")
	cfg.UploadHosts, cfg.AllowHosts = []string{name}, []string{name}
	return cfg
}

// World returns a LinkedIn for a simulation, whose accounts are organisations or
// members.
func World(t testing.TB, organizations bool, o connectortest.WorldOptions) *connectortest.World {
	t.Helper()
	sim := linkedinsim.New(linkedinsim.Options{Now: o.Now, BaseURL: "https://" + host, AccessLife: o.TokenLife, Seed: o.Seed})
	sim.AddApp(App(callback))
	owners := map[string]string{}   // member by account
	accounts := map[string]string{} // account by id of a member
	w := &connectortest.World{
		Expire: sim.ExpireAccess, Revoke: sim.RevokeTokens, Stale: sim.Stale,
		Reused: func() int { return 0 }, // refresh tokens work many times
		Effects: func() (out []connectortest.Effect) {
			now := map[string]linkedinsim.Post{}
			for account := range owners {
				for _, p := range sim.Ever(account) {
					now[p.URN] = p
				}
			}
			for _, e := range sim.Kit.Journal.Effects("create") {
				p := now[e.RemoteID]
				out = append(out, connectortest.Effect{Account: e.Account, RemoteID: e.RemoteID, Parent: p.Parent, Text: e.Text, Media: p.Media, At: e.At, Hash: e.Hash})
			}
			return out
		},
	}
	url := connectortest.ServeWorld(t, w, o, sim, sim.Kit, host, func(r *http.Request) (connectortest.Op, string) {
		return op(r), accounts[sim.Who(r)]
	})
	cfg := Config(url)
	w.New = func(env connectors.Env) (connectors.Platform, error) { return linkedin.New(*cfg, env) }
	w.AddAccount = func(n int) social.Account {
		id := fmt.Sprintf("simMember%d", n)
		member := sim.AddMember(linkedinsim.Member{ID: id, First: "Member", Last: fmt.Sprint(n), Vanity: fmt.Sprintf("member-%d", n)})
		a := social.Account{Network: linkedin.Network, RemoteID: member, Handle: fmt.Sprintf("member-%d", n), DayZone: "UTC"}
		if organizations {
			a.Handle = fmt.Sprintf("page-%d", n)
			a.RemoteID = sim.AddOrganization(linkedinsim.Organization{ID: fmt.Sprint(5515715 + n), Name: fmt.Sprintf("Page %d", n), Vanity: a.Handle})
			sim.SetRole(a.RemoteID, member, "ADMINISTRATOR")
		}
		owners[a.RemoteID], accounts[id] = member, a.RemoteID
		return a
	}
	w.Login = func(ctx context.Context, remoteID string) (connectors.Grant, error) {
		sim.AtBrowser(owners[remoteID])
		p, err := linkedin.New(*cfg, connectortest.PersonEnv(w, o.Now))
		if err != nil {
			return connectors.Grant{}, err
		}
		return login(ctx, w, p, remoteID)
	}
	return w
}

// op is what a request is; one that is none of the suites' is "".
func op(r *http.Request) connectortest.Op {
	path := r.URL.Path
	switch post := r.Method == http.MethodPost; {
	case path == "/oauth/v2/accessToken":
		return connectortest.OpRefresh
	case post && path == "/rest/posts", post && strings.HasPrefix(path, "/rest/socialActions/"):
		return connectortest.OpCommit
	case path == "/rest/posts" && strings.Contains(r.URL.RawQuery, "viewContext"), strings.HasPrefix(path, "/rest/socialActions/"):
		return connectortest.OpFind
	case path == "/rest/posts":
		return connectortest.OpList
	case path == "/rest/images":
		return connectortest.OpPrepare
	case path == "/rest/organizationAcls", path == "/rest/me":
		return connectortest.OpIdentity
	}
	return ""
}

// login is a person who signs in.
func login(ctx context.Context, w *connectortest.World, p *linkedin.Platform, who string) (connectors.Grant, error) {
	req := connectors.AuthRequest{State: "state of " + who, RedirectURI: callback}
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
		Timeout: time.Minute,
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
