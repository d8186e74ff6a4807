package linkedin

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// Signing in is the code flow of OAuth 2 with the app's secret
// (learn.microsoft.com/linkedin, "3-legged OAuth", read 2026-08-22). LinkedIn
// knows no PKCE for web apps, so that the state and the secret are what guards
// the code.
const (
	opToken   = "oauth.token" //nolint:gosec // the name of a call
	opRefresh = "oauth.refresh"
	opRevoke  = "oauth.revoke"
)

// AuthURL returns where the person's browser must go.
func (p *Platform) AuthURL(_ context.Context, req *connectors.AuthRequest) (string, error) {
	if p.cfg.ClientID == "" {
		return "", &connectors.Error{
			Kind: connectors.Permission, Op: "connect",
			Text: "LinkedIn lets people sign in through a developer app only: set networks.linkedin.client_id and client_secret_file (see docs/networks/linkedin.md)",
		}
	}
	return p.cfg.OAuthURL + "/oauth/v2/authorization?" + url.Values{
		"response_type": {"code"}, "client_id": {p.cfg.ClientID}, "redirect_uri": {req.RedirectURI}, "state": {req.State},
		"scope": {strings.Join(p.wanted(*req), " ")},
	}.Encode(), nil
}

// wanted are the scopes of a login.
func (p *Platform) wanted(req connectors.AuthRequest) []string {
	if len(req.Scopes) > 0 {
		return req.Scopes
	}
	return p.cfg.scopes()
}

// Exchange takes the callback's code to the token endpoint.
func (p *Platform) Exchange(ctx context.Context, req connectors.AuthRequest, callback url.Values) (connectors.Grant, error) {
	none := connectors.Grant{}
	refused := func(kind connectors.Kind, text string) error {
		return &connectors.Error{Kind: kind, Op: "connect", Text: text}
	}
	switch e := callback.Get("error"); {
	case e == "user_cancelled_login", e == "user_cancelled_authorize", e == "access_denied":
		return none, refused(connectors.Permission, "the sign-in was refused at LinkedIn")
	case e == "unauthorized_scope_error", e == "invalid_scope":
		return none, refused(connectors.Permission, "the app was not given one of the rights "+strings.Join(p.wanted(req), ", ")+": add the product in LinkedIn's developer portal, or set linkedin.scopes to what it has")
	case e != "":
		return none, refused(connectors.Permission, "LinkedIn did not sign you in; try again")
	case callback.Get("code") == "":
		return none, refused(connectors.Invalid, "the answer holds no code; start again")
	}
	t, err := p.token(ctx, opToken, url.Values{"grant_type": {"authorization_code"}, "code": {callback.Get("code")}, "redirect_uri": {req.RedirectURI}})
	if connectors.KindOf(err) == connectors.AuthExpired {
		return none, refused(connectors.Invalid, "LinkedIn no longer accepts this sign-in, perhaps because it took too long; start again")
	}
	if err != nil {
		return none, err
	}
	g := p.grant(t)
	for _, scope := range p.wanted(req) {
		if !has(g.Scopes, scope) {
			return none, refused(connectors.Permission, "the right "+scope+" was not granted; start again and allow it")
		}
	}
	return g, nil
}

// Refresh gets a new access token. Only approved apps are given refresh tokens,
// which end a year after the login, however often they are used ("Refresh tokens
// with OAuth 2.0", read 2026-08-22).
func (p *Platform) Refresh(ctx context.Context, g connectors.Grant) (connectors.Grant, error) {
	if g.Refresh.Empty() || !p.cfg.Refresh {
		return connectors.Grant{}, &connectors.Error{Kind: connectors.AuthExpired, Op: opRefresh, Text: "LinkedIn gave this app no way to renew the login: it ends 60 days after signing in; connect the account again"}
	}
	t, err := p.token(ctx, opRefresh, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.Refresh.Reveal()}})
	if err != nil {
		return connectors.Grant{}, err
	}
	fresh := p.grant(t)
	if fresh.Refresh.Empty() {
		fresh.Refresh = g.Refresh
	}
	if fresh.RefreshExpires.IsZero() {
		fresh.RefreshExpires = g.RefreshExpires
	}
	if len(fresh.Scopes) == 0 {
		fresh.Scopes = g.Scopes
	}
	return fresh, nil
}

// grant is what the token endpoint gave. Rotates stays false: the old refresh
// token goes on working.
func (p *Platform) grant(t tokens) connectors.Grant {
	now := p.env.Now()
	g := connectors.Grant{
		Access: p.secret(t.Access),
		// Both are in use ("3-legged OAuth": spaces; answers have commas).
		Scopes: strings.FieldsFunc(t.Scope, func(r rune) bool { return r == ',' || r == ' ' }),
	}
	if t.ExpiresIn > 0 {
		g.Expires = now.Add(time.Duration(t.ExpiresIn) * time.Second)
	}
	if t.Refresh != "" && p.cfg.Refresh {
		g.Refresh = p.secret(t.Refresh)
		if t.RefreshIn > 0 {
			g.RefreshExpires = now.Add(time.Duration(t.RefreshIn) * time.Second)
		}
	}
	return g
}

// token asks the token endpoint, once.
func (p *Platform) token(ctx context.Context, op string, form url.Values) (tokens, error) {
	var t tokens
	form.Set("client_id", p.cfg.ClientID)
	form.Set("client_secret", p.cfg.ClientSecret.Reveal())
	_, err := p.http.Once(ctx, api.Call{
		Op: op, Method: http.MethodPost, URL: p.cfg.OAuthURL + "/oauth/v2/accessToken", Secret: true, Out: &t, Bucket: "oauth",
		Body: []byte(form.Encode()), ContentType: "application/x-www-form-urlencoded",
	})
	return t, err
}

// Revoke ends the login at LinkedIn. The endpoint is not in LinkedIn's pages,
// though in wide use: that it refuses is no error, since the login then ends by
// itself.
func (p *Platform) Revoke(ctx context.Context, g connectors.Grant) error {
	_, err := p.http.Do(ctx, api.Call{
		Op: opRevoke, Method: http.MethodPost, URL: p.cfg.OAuthURL + "/oauth/v2/revoke", Anonymous: true, Repeatable: true, Secret: true, Bucket: "oauth",
		Body: []byte(url.Values{
			"client_id": {p.cfg.ClientID}, "client_secret": {p.cfg.ClientSecret.Reveal()}, "token": {g.Access.Reveal()},
		}.Encode()),
		ContentType: "application/x-www-form-urlencoded",
	})
	switch connectors.KindOf(err) {
	case connectors.Transient, connectors.RateLimited:
		return err
	}
	return nil
}

// Accounts says which accounts a grant opens: the member, if the app may post as
// a member, and the organisations in which the member may post.
func (p *Platform) Accounts(ctx context.Context, g connectors.Grant) ([]social.Profile, error) {
	http, err := p.http.For("", api.Bearer(api.Lend(g, "connect", title)))
	if err != nil {
		return nil, err
	}
	c := &conn{p: p, http: http}
	scopes := g.Scopes
	if len(scopes) == 0 {
		scopes = p.cfg.scopes()
	}
	var out []social.Profile
	if has(scopes, "w_member_social") {
		who, err := c.person(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, who)
	}
	if has(scopes, "w_organization_social") {
		roles, err := c.roles(ctx)
		if err != nil {
			return nil, err
		}
		profiles, err := c.profiles(ctx, roles)
		if err != nil {
			return nil, err
		}
		out = append(out, profiles...)
	}
	if len(out) == 0 {
		return nil, &connectors.Error{Kind: connectors.Permission, Op: "connect", Text: "this login opens no account: the app may post neither as a member nor as an organisation, or you are no administrator of one"}
	}
	return out, nil
}

// person is the member to whom the login belongs. Their id is one of this app:
// another app knows the same person by another.
func (c *conn) person(ctx context.Context) (social.Profile, error) {
	if slices.Contains(c.p.cfg.scopes(), "openid") {
		var u userinfo
		if _, err := c.http.Do(ctx, api.Call{Op: "userinfo", URL: c.p.cfg.APIURL + "/v2/userinfo", Out: &u}); err != nil {
			return social.Profile{}, err
		}
		return social.Profile{RemoteID: personURN + u.Sub, Handle: cmp.Or(u.Name, u.Sub), Name: u.Name, AvatarURL: u.Picture, DayZone: "UTC"}, nil
	}
	var m me
	if _, err := c.get(ctx, "me", "/rest/me", "", &m); err != nil {
		return social.Profile{}, err
	}
	name := strings.TrimSpace(m.First + " " + m.Last)
	out := social.Profile{RemoteID: personURN + m.ID, Handle: cmp.Or(m.Vanity, cmp.Or(name, m.ID)), Name: name, DayZone: "UTC"}
	if m.Vanity != "" {
		out.URL = c.p.cfg.WebURL + "/in/" + url.PathEscape(m.Vanity)
	}
	return out, nil
}

// posting are the roles that may post ("Organization access control by role",
// read 2026-08-22; two spellings of one are in use).
var posting = []string{"ADMINISTRATOR", "CONTENT_ADMINISTRATOR", "CONTENT_ADMIN"}

// maxPages bounds a listing that does not end.
const maxPages = 50

// roles are the organisations for which the member may post.
func (c *conn) roles(ctx context.Context) ([]string, error) {
	var out []string
	for start := 0; start < maxPages*pageSize; start += pageSize {
		var page acls
		if _, err := c.get(ctx, "organizationAcls", "/rest/organizationAcls", fmt.Sprintf("q=roleAssignee&state=APPROVED&start=%d&count=%d", start, pageSize), &page); err != nil {
			return nil, err
		}
		for _, a := range page.Elements {
			urn := cmp.Or(a.Organization, a.Target)
			if a.State != "APPROVED" || !slices.Contains(posting, a.Role) || !strings.HasPrefix(urn, organizationURN) || slices.Contains(out, urn) {
				continue
			}
			out = append(out, urn)
		}
		if len(page.Elements) < pageSize {
			break
		}
	}
	return out, nil
}

// profiles says how organisations are called. One of which LinkedIn says nothing
// is called by its number.
func (c *conn) profiles(ctx context.Context, urns []string) ([]social.Profile, error) {
	var out []social.Profile
	for some := range slices.Chunk(urns, batch) {
		ids := make([]string, len(some))
		for i, urn := range some {
			ids[i] = strings.TrimPrefix(urn, organizationURN)
		}
		var found organizations
		if _, err := c.get(ctx, "organizationsLookup", "/rest/organizationsLookup", "ids="+list(ids), &found); err != nil {
			return nil, err
		}
		for i, urn := range some {
			o := found.Results[ids[i]]
			p := social.Profile{
				RemoteID: urn, Name: o.Name, Handle: cmp.Or(o.Vanity, cmp.Or(o.Name, ids[i])), DayZone: "UTC",
				URL: c.p.cfg.WebURL + "/company/" + url.PathEscape(cmp.Or(o.Vanity, ids[i])) + "/",
			}
			out = append(out, p)
		}
	}
	return out, nil
}
