package mastodon

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// What a grant keeps in Extra.
const (
	extraHost     = "host"     // the server's address: https://mastodon.social
	extraDomain   = "domain"   // what stands behind the @ of its handles
	extraSoftware = "software" // as nodeinfo calls it; "" unknown
	extraClient   = "client_id"
	extraSecret   = "client_secret"
)

// public are the entries of Extra that are no secrets.
var public = []string{extraHost, extraDomain, extraSoftware, extraClient}

// AuthURL registers smi at the server that the person named, for this login
// alone, and returns the address of its consent page. A server gives the same
// token to every login of one app by one person (mastodon/mastodon,
// config/initializers/doorkeeper.rb, reuse_access_token, read 2026-07-02): with
// an app of its own, ending this login ends no other.
func (p *Platform) AuthURL(ctx context.Context, req *connectors.AuthRequest) (string, error) {
	typed := req.Host
	if typed == "" {
		typed = req.Hint
	}
	base, err := p.cfg.serverOf(typed)
	if err != nil {
		return "", &connectors.Error{Kind: connectors.Invalid, Op: "connect", Field: "handle", Text: err.Error(), Err: err}
	}
	s, err := p.ask(ctx, base)
	if err != nil {
		return "", notAServer(base, err)
	}
	scopes := req.Scopes
	if len(scopes) == 0 {
		scopes = p.cfg.Scopes
	}
	client, err := p.at(base)
	if err != nil {
		return "", err
	}
	form := url.Values{"client_name": {p.cfg.ClientName}, "redirect_uris": {req.RedirectURI}, "scopes": {strings.Join(scopes, " ")}}
	if p.cfg.Website != "" {
		form.Set("website", p.cfg.Website)
	}
	var app application
	_, err = client.Do(ctx, api.Call{
		Op: "apps", URL: base.String() + "/api/v1/apps", Anonymous: true, Repeatable: true, Secret: true, Bucket: "server/" + base.Host,
		Body: []byte(form.Encode()), ContentType: formType, Out: &app,
	})
	if err != nil {
		return "", err
	}
	if req.Extra == nil {
		req.Extra = map[string]social.Secret{}
	}
	maps.Copy(req.Extra, map[string]social.Secret{
		extraHost: social.NewSecret(base.String()), extraDomain: social.NewSecret(s.Domain), extraSoftware: social.NewSecret(s.Software),
		extraClient: social.NewSecret(app.ClientID), extraSecret: p.secret(app.ClientSecret),
	})
	// Servers before 4.3, and GoToSocial, do not look at the challenge.
	q := url.Values{
		"response_type": {"code"}, "client_id": {app.ClientID}, "redirect_uri": {req.RedirectURI}, "scope": {strings.Join(scopes, " ")},
		"state": {req.State}, "code_challenge": {oauth2.S256ChallengeFromVerifier(req.Verifier.Reveal())}, "code_challenge_method": {"S256"},
		"force_login": {"true"}, // the person may have several accounts there
	}
	return base.String() + "/oauth/authorize?" + q.Encode(), nil
}

const formType = "application/x-www-form-urlencoded"

// notAServer makes of the failure to read a server's document what the person
// who typed its name can use.
func notAServer(base *url.URL, err error) error {
	e := *connectors.AsError(err)
	if e.Kind == connectors.Invalid || e.Kind == connectors.Unknown {
		e.Kind, e.Field, e.Op = connectors.Invalid, "handle", "connect"
		e.Text = base.Host + " does not answer as a Mastodon server does; check the name"
	}
	return &e
}

// Validate asks for what a registered app must have.
func (a application) Validate() error {
	if a.ClientID == "" || a.ClientSecret == "" {
		return missing("client_id or client_secret")
	}
	return nil
}

// Exchange makes a grant of the code that the browser brought back.
func (p *Platform) Exchange(ctx context.Context, req connectors.AuthRequest, callback url.Values) (connectors.Grant, error) {
	none := connectors.Grant{}
	if said := callback.Get("error"); said != "" {
		text := "the server did not allow it"
		if said == "access_denied" {
			text = "the person did not agree; connect again to try once more"
		}
		return none, &connectors.Error{Kind: connectors.Permission, Op: "login", Code: said, Text: text}
	}
	if callback.Get("code") == "" {
		return none, &connectors.Error{Kind: connectors.Invalid, Op: "login", Text: "the server sent the browser back without a code; connect again"}
	}
	g, err := p.token(ctx, req.Extra, url.Values{
		"grant_type": {"authorization_code"}, "code": {callback.Get("code")}, "redirect_uri": {req.RedirectURI},
		"code_verifier": {req.Verifier.Reveal()},
	}, func(client *api.Client, k api.Call) error { _, err := client.Do(ctx, k); return err })
	if err != nil {
		return none, err
	}
	if len(g.Scopes) == 0 { // not said: what was asked for
		g.Scopes = req.Scopes
		if len(g.Scopes) == 0 {
			g.Scopes = p.cfg.Scopes
		}
	}
	if missing := missingScopes(g.Scopes); len(missing) > 0 {
		return none, &connectors.Error{Kind: connectors.Permission, Op: "login", Text: "the login lacks " + strings.Join(missing, " and ") + "; connect again and agree to all of it"}
	}
	return g, nil
}

// token asks a server's token endpoint by do.
func (p *Platform) token(_ context.Context, extra map[string]social.Secret, form url.Values, do func(*api.Client, api.Call) error) (connectors.Grant, error) {
	none := connectors.Grant{}
	base, err := p.cfg.baseOf(extra[extraHost].Reveal())
	if err != nil {
		return none, &connectors.Error{Kind: connectors.Permission, Op: "login", Text: err.Error(), Err: err}
	}
	client, err := p.at(base)
	if err != nil {
		return none, err
	}
	form.Set("client_id", extra[extraClient].Reveal())
	form.Set("client_secret", extra[extraSecret].Reveal())
	var t token
	err = do(client, api.Call{
		Op: "token", URL: base.String() + "/oauth/token", Anonymous: true, Secret: true, Bucket: "server/" + base.Host,
		Body: []byte(form.Encode()), ContentType: formType, Out: &t,
	})
	if err != nil {
		return none, err
	}
	g := connectors.Grant{
		Access: p.secret(t.Access), Scopes: strings.Fields(t.Scope),
		Extra: maps.Clone(extra), Public: public,
	}
	if t.Refresh != "" {
		// RFC 6749, 6: a new refresh token stands for the old one.
		g.Refresh, g.Rotates = p.secret(t.Refresh), true
	}
	if t.ExpiresIn > 0 {
		g.Expires = p.env.Now().Add(time.Duration(min(t.ExpiresIn, 10*365*24*3600)) * time.Second)
	}
	return g, nil
}

// Validate asks for the token.
func (t token) Validate() error {
	if t.Access == "" {
		return missing("access_token")
	}
	return nil
}

// Refresh gets a new grant where the server gave a refresh token. Those of today
// do not: their tokens live until they are revoked. Then the server is asked
// whether it still knows the token, because a proxy, too, may say 401; if it
// does, the grant stays as it is.
func (p *Platform) Refresh(ctx context.Context, g connectors.Grant) (connectors.Grant, error) {
	if g.Refresh.Empty() {
		return p.stillGood(ctx, g)
	}
	next, err := p.token(ctx, g.Extra, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.Refresh.Reveal()}},
		func(client *api.Client, k api.Call) error { _, err := client.Once(ctx, k); return err })
	if err != nil {
		return connectors.Grant{}, err
	}
	if next.Refresh.Empty() {
		next.Refresh, next.Rotates = g.Refresh, false
	}
	if len(next.Scopes) == 0 {
		next.Scopes = g.Scopes
	}
	return next, nil
}

// Vouches says that Refresh asks about tokens that cannot be renewed.
func (p *Platform) Vouches() {}

// stillGood returns the grant if the server still knows it. Only the server's
// own words end it.
func (p *Platform) stillGood(ctx context.Context, g connectors.Grant) (connectors.Grant, error) {
	none := connectors.Grant{}
	base, err := p.cfg.baseOf(g.Extra[extraHost].Reveal())
	if err != nil {
		return none, &connectors.Error{Kind: connectors.Permission, Op: "refresh", Text: err.Error(), Err: err}
	}
	client, err := p.at(base)
	if err != nil {
		return none, err
	}
	_, err = client.Do(ctx, api.Call{
		Op: "refresh", URL: base.String() + pathMe, Anonymous: true, Bucket: "server/" + base.Host,
		Header: http.Header{"Authorization": {"Bearer " + g.Access.Reveal()}},
	})
	if e := connectors.AsError(err); e != nil && e.Kind == connectors.AuthExpired && e.Code == "" {
		own := *e
		own.Kind, own.Text = connectors.Transient, "something before the server refuses smi; it is tried again"
		return none, &own
	}
	if e := connectors.AsError(err); e != nil && e.Status >= http.StatusInternalServerError {
		own := *e
		own.Status = 0 // asking loses nothing, as a refresh that was cut off would
		return none, &own
	}
	if err != nil {
		return none, err
	}
	return g, nil
}

// Revoke ends the grant at the server. Ending what has ended is no error there.
func (p *Platform) Revoke(ctx context.Context, g connectors.Grant) error {
	base, err := p.cfg.baseOf(g.Extra[extraHost].Reveal())
	if err != nil {
		return &connectors.Error{Kind: connectors.Permission, Op: "revoke", Text: err.Error(), Err: err}
	}
	client, err := p.at(base)
	if err != nil {
		return err
	}
	form := url.Values{"client_id": {g.Extra[extraClient].Reveal()}, "client_secret": {g.Extra[extraSecret].Reveal()}, "token": {g.Access.Reveal()}}
	_, err = client.Do(ctx, api.Call{
		Op: "revoke", URL: base.String() + "/oauth/revoke", Anonymous: true, Repeatable: true, Secret: true, Bucket: "server/" + base.Host,
		Body: []byte(form.Encode()), ContentType: formType,
	})
	return err
}
