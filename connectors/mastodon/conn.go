package mastodon

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// conn is one account.
type conn struct {
	p       *Platform
	account social.Account
	creds   connectors.Credentials
	server  server            // as it is kept with the account
	limits  connectors.Limits // of that server
}

var _ connectors.OwnLimits = (*conn)(nil)

// Limits are those of the account's own server.
func (c *conn) Limits() connectors.Limits { return c.limits }

// Buckets of the rate limits: a full one of uploads, or of pages (300 in a
// quarter of an hour; mastodon/mastodon, config/initializers/rack_attack.rb, read
// 2026-07-02), keeps no post back.
const (
	bucketCreate = "create"
	bucketMedia  = "media"
	bucketDelete = "delete"
	bucketPaging = "paging"
)

// Paths that are needed in several places.
const (
	pathMe       = "/api/v1/accounts/verify_credentials"
	pathStatuses = "/api/v1/statuses"
)

// remote is the account's server as the grant knows it, with a client that sends
// the token there and nowhere else.
type remote struct {
	c        *conn
	http     *api.Client
	base     *url.URL
	domain   string
	software string
}

// remote opens the account's server. Its only wait is that for the grant.
func (c *conn) remote(ctx context.Context) (*remote, error) {
	g, err := c.creds.Grant(ctx)
	if err != nil {
		return nil, err
	}
	base, err := c.p.cfg.baseOf(g.Extra[extraHost].Reveal())
	if err != nil {
		return nil, &connectors.Error{Kind: connectors.Permission, Op: "connect", Text: err.Error(), Err: err}
	}
	r := &remote{c: c, base: base, domain: g.Extra[extraDomain].Reveal(), software: g.Extra[extraSoftware].Reveal()}
	if !c.server.ReadAt.IsZero() { // newer than the login
		r.software = c.server.Software
	}
	name := c.account.RemoteID
	if name == "" { // it is being connected
		name = base.Host
	}
	r.http, err = c.p.http.For(name, api.Bearer(c.creds), base.Scheme+"://"+base.Host)
	return r, err
}

// get asks for something.
func (r *remote) get(ctx context.Context, op, path string, q url.Values, out any) (api.Answer, error) {
	return r.http.Do(ctx, api.Call{Op: op, URL: r.base.String() + path, Query: q, Out: out})
}

// id is the server's own id of the account.
func (r *remote) id() string {
	id, _, _ := strings.Cut(r.c.account.RemoteID, "@")
	return id
}

// remoteID is how an account is named among those of all servers.
func (r *remote) remoteID(id string) string { return id + "@" + r.domain }

// known is the account as fingerprints name it.
func (c *conn) known() social.Account {
	a := c.account
	a.Network = Network
	return a
}

// Identity says whose token it is. Once a day it reads the server's rules as
// well; a server that does not give them now is asked again the next time.
func (c *conn) Identity(ctx context.Context) (social.Profile, error) {
	none := social.Profile{}
	r, err := c.remote(ctx)
	if err != nil {
		return none, err
	}
	var me account
	if _, err := r.get(ctx, "verify_credentials", pathMe, nil, &me); err != nil {
		return none, err
	}
	p := social.Profile{
		RemoteID: r.remoteID(me.ID), Handle: me.Acct + "@" + r.domain, Name: cmp.Or(me.DisplayName, me.Acct),
		URL: me.URL, AvatarURL: me.Avatar, Host: r.base.String(), DayZone: "UTC",
	}
	age := c.p.env.Now().Sub(c.server.ReadAt)
	if !c.server.ReadAt.IsZero() && age >= 0 && age < serverLife {
		return p, nil
	}
	s, err := c.p.ask(ctx, r.base)
	if err != nil {
		c.p.env.Log.Warn("what the server takes could not be read; what was known of it holds", "network", Network, "host", r.base.Host, "kind", connectors.KindOf(err))
		return p, nil
	}
	if p.Server, err = json.Marshal(s); err != nil {
		return none, fmt.Errorf("keeping what the server takes: %w", err)
	}
	return p, nil
}

// Validate asks for what an account must have.
func (a account) Validate() error {
	if a.ID == "" || a.Acct == "" {
		return missing("id or acct")
	}
	return nil
}

func missing(what string) error { return fmt.Errorf("%s is missing", what) }
