package bluesky

import (
	"cmp"
	"context"
	"fmt"
	"net/url"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// conn is one account.
type conn struct {
	p       *Platform
	account social.Account
	creds   connectors.Credentials
}

// remote is the account's server as the grant knows it, with a client that
// sends credentials there and nowhere else.
type remote struct {
	c    *conn
	http *api.Client
	pds  string
	did  string
	auth bool // signed by DPoP
}

// remote opens the account's server. Its only wait is that for the grant.
func (c *conn) remote(ctx context.Context) (*remote, error) {
	g, err := c.creds.Grant(ctx)
	if err != nil {
		return nil, err
	}
	r := &remote{c: c, pds: g.Extra[extraPDS].Reveal(), did: g.Extra[extraDID].Reveal(), auth: isOAuth(g)}
	u, err := c.p.cfg.serverURL(r.pds)
	if err != nil {
		return nil, &connectors.Error{Kind: connectors.Permission, Op: "connect", Text: err.Error(), Err: err}
	}
	r.http, err = c.p.http.For(r.did, signer{c}, u.Scheme+"://"+u.Host)
	return r, err
}

// do makes a call. A stale nonce is put right at once, with one more request:
// the first was refused before anything happened.
func (r *remote) do(ctx context.Context, k api.Call) (api.Answer, error) {
	a, err := r.http.Do(ctx, k)
	r.learn(a)
	if isCode(err, codeNonce) {
		a, err = r.http.Do(ctx, k)
		r.learn(a)
	}
	return a, transientNonce(err)
}

func (r *remote) learn(a api.Answer) {
	r.c.p.nonces.learn(nonceData, r.pds, a.Header, r.c.p.env.Now())
}

// query asks for something.
func (r *remote) query(ctx context.Context, method string, q url.Values, out any) (api.Answer, error) {
	return r.do(ctx, api.Call{Op: opOf(method), URL: xrpc(r.pds, method), Query: q, Out: out})
}

// xrpc is the address of a method.
func xrpc(server, method string) string { return server + "/xrpc/" + method }

// opOf is the last word of a method's name: what people call it.
func opOf(method string) string {
	for i := len(method) - 1; i >= 0; i-- {
		if method[i] == '.' {
			return method[i+1:]
		}
	}
	return method
}

// Identity says whose session it is. An account that the network has closed is
// an error of kind Permanent.
func (c *conn) Identity(ctx context.Context) (social.Profile, error) {
	r, err := c.remote(ctx)
	if err != nil {
		return social.Profile{}, err
	}
	var s session
	if _, err := r.query(ctx, "com.atproto.server.getSession", nil, &s); err != nil {
		return social.Profile{}, err
	}
	if s.Active != nil && !*s.Active {
		return social.Profile{}, &connectors.Error{
			Kind: connectors.Permanent, Op: "getSession", Code: s.Status,
			Text: fmt.Sprintf("Bluesky says that the account %s is %s; its owner must sort it out there", s.Handle, cmp.Or(s.Status, "not active")),
		}
	}
	return c.p.profile(s, r.pds), nil
}

func (p *Platform) profile(s session, pds string) social.Profile {
	return social.Profile{
		RemoteID: s.DID, Handle: s.Handle, Name: s.Handle, Host: pds, DayZone: "UTC",
		URL: p.cfg.WebURL + "/profile/" + s.DID,
	}
}
