// Package mastodontest stands the Mastodon connector before the simulation of the
// whole program.
package mastodontest

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"smi/connectors"
	"smi/connectors/connectortest"
	"smi/connectors/mastodon"
	"smi/connectors/mastodon/mastodonsim"
	"smi/internal/social"
)

// host is where the server is.
const host = "fediverse.sim.test"

// World returns a server for a simulation: a Mastodon, where posts are keyed, or
// a GoToSocial, where they are not. Tokens do not end by themselves there, and
// nothing refreshes them.
func World(t testing.TB, gotosocial bool, o connectortest.WorldOptions) *connectortest.World {
	t.Helper()
	sim := mastodonsim.New(mastodonsim.Options{
		Now: o.Now, Domain: host, BaseURL: "https://" + host, GoToSocial: gotosocial, MediaPolls: 2, Seed: o.Seed,
	})
	w := &connectortest.World{
		Expire: sim.ExpireTokens, Revoke: sim.RevokeTokens, Stale: sim.Stale,
		Reused: func() int { return 0 },
		Effects: func() (out []connectortest.Effect) {
			now := map[string]mastodonsim.Post{}
			for _, e := range sim.Kit.Journal.Effects("create") {
				for _, p := range sim.Posts(e.Account) {
					now[p.ID] = p
				}
				p := now[e.RemoteID]
				out = append(out, connectortest.Effect{Account: e.Account, RemoteID: e.RemoteID, Parent: p.Parent, Text: e.Text, Media: len(p.Media), At: e.At, Hash: e.Hash})
			}
			return out
		},
	}
	at := connectortest.ServeWorld(t, w, o, sim, sim.Kit, host, func(r *http.Request) (connectortest.Op, string) {
		return opOf(r), sim.Who(r)
	})
	cfg := mastodon.NewConfig()
	w.New = func(env connectors.Env) (connectors.Platform, error) { return mastodon.New(*cfg, env) }
	w.AddAccount = func(n int) social.Account {
		name := fmt.Sprintf("account%d", n)
		id := sim.AddAccount(mastodonsim.Account{Username: name})
		return social.Account{Network: mastodon.Network, RemoteID: id, Handle: name + "@" + host, Host: at, DayZone: "UTC"}
	}
	w.Login = func(ctx context.Context, remoteID string) (connectors.Grant, error) {
		p, err := mastodon.New(*cfg, connectortest.PersonEnv(w, o.Now))
		if err != nil {
			return connectors.Grant{}, err
		}
		return Browser{Dial: w.Dial, RootCAs: w.RootCAs, Account: remoteID}.Login(ctx, p, at)
	}
	return w
}

// opOf says which verb a request is of; "" is another.
func opOf(r *http.Request) connectortest.Op {
	path, ok := strings.CutPrefix(r.URL.Path, "/api/v1/")
	switch {
	case r.URL.Path == "/api/v2/media":
		return connectortest.OpPrepare
	case r.URL.Path == "/oauth/token":
		return connectortest.OpRefresh
	case !ok:
	case path == "accounts/verify_credentials":
		return connectortest.OpIdentity
	case path == "statuses" && r.Method == http.MethodPost:
		return connectortest.OpCommit
	case strings.HasPrefix(path, "accounts/") && strings.HasSuffix(path, "/statuses"):
		return connectortest.OpFind
	case strings.HasPrefix(path, "statuses/") && r.Method == http.MethodDelete:
		return connectortest.OpDelete
	}
	return ""
}
