package connectortest

import (
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"strings"
	"testing"

	"smi/connectors"
	"smi/internal/social"
)

func (r *runner) joining(t *testing.T) {
	r.check(t, "joining/identity", "the health probe says who we are", func(c *check) string {
		p, err := c.client.Identity(c.Context())
		c.must("asking who we are", err)
		if p.RemoteID != c.h.Account.RemoteID || p.Handle == "" {
			c.Errorf("we are %+v, not %s", p, c.h.Account.RemoteID)
		}
		return ""
	})
	r.check(t, "joining/other account", "a token of another account must not pass for ours", func(c *check) string {
		other := c.h.Account
		other.RemoteID = "somebody-else"
		cl, err := connectors.Open(c.platform, other, c.creds)
		c.must("opening the account", err)
		_, err = cl.Identity(c.Context())
		c.want("asking for another account", err, connectors.Permanent, connectors.Permission)
		return ""
	})
	r.check(t, "joining/form", "what a person types opens the account", func(c *check) string {
		form, ok := c.platform.(connectors.FormLogin)
		if !ok || len(form.LoginFields()) == 0 {
			return "no form"
		}
		for _, f := range form.LoginFields() {
			if _, has := c.h.Login.Form[f.Name]; !has {
				c.Fatalf("Harness.Login.Form has no %q", f.Name)
			}
		}
		g, err := form.Login(c.Context(), maps.Clone(c.h.Login.Form))
		c.must("logging in", err)
		c.opens(g)
		return ""
	})
	r.check(t, "joining/wrong password", "a wrong password is told from an outage", func(c *check) string {
		form, ok := c.platform.(connectors.FormLogin)
		if !ok || len(form.LoginFields()) == 0 {
			return "no form"
		}
		bad := c.h.Login.Bad
		for _, f := range form.LoginFields() {
			if bad == "" && f.Secret {
				bad = f.Name
			}
		}
		in := maps.Clone(c.h.Login.Form)
		in[bad] = social.NewSecret("wrong-canary-5e1d")
		c.creds.saw(in[bad])
		_, err := form.Login(c.Context(), in)
		c.want("logging in with a wrong "+bad, err, connectors.AuthExpired, connectors.Invalid)
		return ""
	})
	r.check(t, "joining/browser", "state, PKCE and the exact redirect are there, and the answer opens the account", func(c *check) string {
		o, ok := c.platform.(connectors.OAuth)
		if !ok {
			return "no OAuth"
		}
		req, back := c.dance(o)
		sum := sha256.Sum256([]byte(req.Verifier.Reveal()))
		if c.h.Login.NoPKCE == "" && (back.Method != "S256" || back.Challenge != base64.RawURLEncoding.EncodeToString(sum[:])) {
			c.Errorf("the network was given the challenge %q by %q, not that of the verifier by S256", back.Challenge, back.Method)
		}
		if back.State != req.State {
			c.Errorf("the network was given the state %q, not ours", back.State)
		}
		if back.RedirectURI != req.RedirectURI {
			c.Errorf("the network was given the redirect %q, want exactly %q", back.RedirectURI, req.RedirectURI)
		}
		g, err := o.Exchange(c.Context(), *req, back.Query)
		c.must("exchanging the code", err)
		c.opens(g)
		return ""
	})
	r.check(t, "joining/stolen code", "a code without its verifier is worthless", func(c *check) string {
		o, ok := c.platform.(connectors.OAuth)
		if !ok {
			return "no OAuth"
		}
		if c.h.Login.NoPKCE != "" {
			return c.h.Login.NoPKCE
		}
		req, back := c.dance(o)
		req.Verifier = social.NewSecret("another-verifier-that-is-long-enough-to-be-one-0001")
		_, err := o.Exchange(c.Context(), *req, back.Query)
		c.want("exchanging a code with another verifier", err, connectors.AuthExpired, connectors.Invalid, connectors.Permission)
		return ""
	})
	r.check(t, "joining/missing scope", "what was not agreed to is named, not found out at nine in the morning", func(c *check) string {
		o, ok := c.platform.(connectors.OAuth)
		if !ok {
			return "no OAuth"
		}
		if c.h.Login.Scope == "" {
			return "this network has no scope that can be withheld"
		}
		req, back := c.dance(o, c.h.Login.Scope)
		_, err := o.Exchange(c.Context(), *req, back.Query)
		c.want("exchanging the code without "+c.h.Login.Scope, err, connectors.Permission)
		if err != nil && !strings.Contains(connectors.AsError(err).Text, c.h.Login.Scope) {
			c.Errorf("the message does not name %q: %v", c.h.Login.Scope, err)
		}
		return ""
	})
	r.check(t, "joining/refresh", "a refreshed grant works, and its record says whether the old one is dead", func(c *check) string {
		by, ok := c.platform.(connectors.Refresher)
		if !ok {
			return "nothing refreshes"
		}
		old := c.h.Grant
		g, err := by.Refresh(c.Context(), old)
		c.must("refreshing", err)
		c.creds.saw(g.Access, g.Refresh)
		if g.Access.Empty() || g.Access == old.Access {
			c.Error("the refresh gave no new access token")
		}
		c.opens(g)
		_, err = by.Refresh(c.Context(), old)
		if g.Rotates {
			if g.Refresh == old.Refresh {
				c.Error("Rotates is set and the refresh token is the old one")
			}
			c.want("refreshing with the old refresh token", err, connectors.AuthExpired)
		} else {
			c.want("refreshing again where grants do not rotate", err, "")
		}
		return ""
	})
	r.check(t, "joining/revoked", "only the network's own word makes a person log in again", func(c *check) string {
		if c.h.Stage.Revoke == nil {
			c.Fatal("the harness has no Stage.Revoke")
		}
		c.h.Stage.Revoke()
		_, err := c.client.Identity(c.Context())
		c.want("a call after access was taken away", err, connectors.AuthExpired)
		if by, ok := c.platform.(connectors.Refresher); ok {
			_, err := by.Refresh(c.Context(), c.h.Grant)
			c.want("a refresh after access was taken away", err, connectors.AuthExpired)
		}
		return ""
	})
	r.check(t, "joining/revoke", "disconnecting ends the grant at the network, and twice is no error", func(c *check) string {
		v, ok := c.platform.(connectors.Revoker)
		if !ok {
			return "nothing revokes"
		}
		c.must("revoking", v.Revoke(c.Context(), c.h.Grant))
		_, err := c.client.Identity(c.Context())
		c.want("a call after Revoke", err, connectors.AuthExpired)
		c.must("revoking again", v.Revoke(c.Context(), c.h.Grant))
		return ""
	})
	r.check(t, "joining/accounts", "one login lists the accounts it opens", func(c *check) string {
		l, ok := c.platform.(connectors.AccountLister)
		if !ok {
			return "a login opens one account"
		}
		ps, err := l.Accounts(c.Context(), c.h.Grant)
		c.must("listing the accounts", err)
		found := false
		for _, p := range ps {
			found = found || p.RemoteID == c.h.Account.RemoteID
		}
		if !found {
			c.Errorf("%+v lacks %s", ps, c.h.Account.RemoteID)
		}
		return ""
	})
}

// dance goes to the browser and back.
func (c *check) dance(o connectors.OAuth, withhold ...string) (*connectors.AuthRequest, Callback) {
	c.Helper()
	if c.h.Login.Consent == nil || c.h.Login.Redirect == "" {
		c.Fatal("the platform is an OAuth, and the harness has no Login.Consent or Login.Redirect")
	}
	req := &connectors.AuthRequest{
		State:       "state-0123456789abcdef",
		RedirectURI: c.h.Login.Redirect,
		Verifier:    social.NewSecret("verifier-0123456789-0123456789-0123456789-0123"),
		Hint:        c.h.Login.Hint,
	}
	c.creds.saw(req.Verifier)
	u, err := o.AuthURL(c.Context(), req)
	c.must("making the address for the browser", err)
	c.note(u)
	back, err := c.h.Login.Consent(c.Context(), u, withhold...)
	if err != nil {
		c.Fatalf("at the browser: %v", err)
	}
	return req, back
}

// opens fails unless a grant opens the account.
func (c *check) opens(g connectors.Grant) {
	c.Helper()
	c.creds.saw(g.Access, g.Refresh)
	p, err := c.open(newVault(c.platform, g)).Identity(c.Context())
	c.must("using the new grant", err)
	if p.RemoteID != c.h.Account.RemoteID {
		c.Errorf("the grant opens %s, not %s", p.RemoteID, c.h.Account.RemoteID)
	}
}
