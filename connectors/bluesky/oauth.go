package bluesky

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/auth/oauth"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// Signing in by the browser follows the OAuth profile of the AT protocol (PAR,
// PKCE and DPoP are all mandatory; atproto.com specs/oauth, read 2026-08-20).
// indigo serves the documents, the proofs and the client assertions. Its own
// flow is not used where it keeps the state itself, repeats a token request
// or logs what a token endpoint said.

// How long a session can be refreshed (the reference oauth-provider, read
// 2026-08-20).
const (
	publicLife       = 14 * 24 * time.Hour
	confidentialLife = 90 * 24 * time.Hour
)

// client is smi as the authorisation server knows it.
func (p *Platform) client(redirect string) (oauth.ClientConfig, error) {
	o := p.cfg.OAuth
	if o.ClientID == "" {
		u, err := url.Parse(redirect)
		if err != nil || u.Hostname() != "127.0.0.1" && u.Hostname() != "::1" {
			return oauth.ClientConfig{}, &connectors.Error{
				Kind: connectors.Permission, Op: "connect",
				Text: "signing in by the browser needs bluesky.oauth.client_id, unless smi is used at 127.0.0.1; use an app password or set it",
			}
		}
		return oauth.NewLocalhostConfig(redirect, o.Scopes), nil
	}
	c := oauth.NewPublicConfig(o.ClientID, redirect, o.Scopes)
	if o.ClientKey.Empty() {
		return c, nil
	}
	key, err := o.key()
	if err == nil {
		err = c.SetClientSecret(key, o.KeyID)
	}
	if err != nil {
		return c, &connectors.Error{Kind: connectors.Permission, Op: "connect", Text: "bluesky.oauth.client_key cannot be used", Err: err}
	}
	return c, nil
}

// ClientMetadata is the document that must be served at oauth.client_id, for
// sign-ins that come back to redirect. Its keys are inside.
func (p *Platform) ClientMetadata(redirect string) ([]byte, error) {
	c, err := p.client(redirect)
	if err != nil {
		return nil, err
	}
	m := c.ClientMetadata()
	m.ClientName = &p.cfg.OAuth.ClientName
	if c.IsConfidential() {
		keys := c.PublicJWKS()
		m.JWKS = &keys
	}
	return json.MarshalIndent(m, "", "  ")
}

// AuthURL looks the person's server up, pushes the request there and returns
// where their browser must go. req.Hint is the handle.
func (p *Platform) AuthURL(ctx context.Context, req *connectors.AuthRequest) (string, error) {
	if strings.TrimSpace(req.Hint) == "" {
		return "", &connectors.Error{Kind: connectors.Invalid, Op: "connect", Field: "hint", Text: "type the handle of the account, such as name.bsky.social"}
	}
	w, err := p.lookUp(ctx, req.Hint, p.cfg.resolver())
	if err != nil {
		return "", err
	}
	server, err := p.authServer(ctx, w.pds)
	if err != nil {
		return "", err
	}
	c, err := p.client(req.RedirectURI)
	if err != nil {
		return "", err
	}
	key, err := newKey()
	if err != nil {
		return "", err
	}
	scopes := req.Scopes
	if len(scopes) == 0 {
		scopes = c.Scopes
	}
	var pushed oauth.PushedAuthResponse
	err = p.form(ctx, formCall{
		op: "par", account: w.did, url: server.PushedAuthorizationRequestEndpoint, issuer: server.Issuer, key: key, client: c, out: &pushed,
		form: url.Values{
			"response_type": {"code"}, "redirect_uri": {req.RedirectURI}, "scope": {strings.Join(scopes, " ")}, "state": {req.State},
			"code_challenge": {oauth.S256CodeChallenge(req.Verifier.Reveal())}, "code_challenge_method": {"S256"},
			"login_hint": {cmp.Or(w.handle, w.did)},
		},
	})
	if err != nil {
		return "", err
	}
	if pushed.RequestURI == "" {
		return "", &connectors.Error{Kind: connectors.Transient, Op: "par", Text: "Bluesky took the request for signing in but did not name it; try again"}
	}
	req.Extra = map[string]social.Secret{
		extraMode: social.NewSecret(modeOAuth), extraDID: social.NewSecret(w.did), extraPDS: social.NewSecret(w.pds),
		extraIssuer: social.NewSecret(server.Issuer), extraToken: social.NewSecret(server.TokenEndpoint), extraRevoke: social.NewSecret(server.RevocationEndpoint),
		extraKey: p.secret(key.Multibase()),
	}
	return server.AuthorizationEndpoint + "?" + url.Values{"client_id": {c.ClientID}, "request_uri": {pushed.RequestURI}}.Encode(), nil
}

// newKey makes the key of a session.
func newKey() (*atcrypto.PrivateKeyP256, error) {
	for {
		key, err := atcrypto.GeneratePrivateKeyP256()
		if err != nil {
			return nil, fmt.Errorf("making a session key: %w", err)
		}
		if usableKey(key) {
			return key, nil
		}
	}
}

// usableKey says whether the public half of a key is written as RFC 7518 (6.2.1)
// wants it, in 32 bytes each. indigo drops leading zeros (atcrypto, JWK, of
// 2026-06-05), so that a server refuses one key in 128, for good.
func usableKey(key atcrypto.PrivateKey) bool {
	pub, err := key.PublicKey()
	if err != nil {
		return false
	}
	j, err := pub.JWK()
	return err == nil && j.Curve == "P-256" && len(j.X) == 43 && len(j.Y) == 43
}

// authServer reads which server signs people in for a data server, and what it
// can do.
func (p *Platform) authServer(ctx context.Context, pds string) (oauth.AuthServerMetadata, error) {
	var meta oauth.AuthServerMetadata
	var resource oauth.ProtectedResourceMetadata
	if err := p.get(ctx, api.Call{Op: "oauth-protected-resource", URL: pds + "/.well-known/oauth-protected-resource", Out: &resource}); err != nil {
		return meta, err
	}
	bad := func(format string, args ...any) error {
		return &connectors.Error{Kind: connectors.Permanent, Op: "connect", Text: "the server " + pds + " cannot sign people in by the browser: " + fmt.Sprintf(format, args...)}
	}
	if len(resource.AuthorizationServers) == 0 {
		return meta, bad("it names no authorisation server")
	}
	issuer, err := p.cfg.serverURL(resource.AuthorizationServers[0])
	if err != nil {
		return meta, bad("%v", err)
	}
	if err := p.get(ctx, api.Call{Op: "oauth-authorization-server", URL: issuer.String() + "/.well-known/oauth-authorization-server", Out: &meta}); err != nil {
		return meta, err
	}
	switch {
	case meta.Issuer != issuer.String():
		return meta, bad("it says that it is %q", meta.Issuer)
	case !slices.Contains(meta.ScopesSupported, "atproto"), !slices.Contains(meta.DPoPSigningAlgValuesSupported, "ES256"),
		!slices.Contains(meta.CodeChallengeMethodsSupported, "S256"), !meta.AuthorizationReponseISSParameterSupported:
		return meta, bad("it lacks what the network's profile asks for")
	}
	for _, raw := range []string{meta.PushedAuthorizationRequestEndpoint, meta.AuthorizationEndpoint, meta.TokenEndpoint} {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || p.cfg.secure(u) != nil {
			return meta, bad("its address %q cannot be used", raw)
		}
	}
	return meta, nil
}

// tokens is the answer of the token endpoint.
type tokens struct {
	Access    string `json:"access_token"`
	Refresh   string `json:"refresh_token"`
	Type      string `json:"token_type"`
	Scope     string `json:"scope"`
	Sub       string `json:"sub"`
	ExpiresIn int64  `json:"expires_in"`
}

// Validate asks for the tokens.
func (t tokens) Validate() error {
	if t.Access == "" || t.Refresh == "" || t.Sub == "" {
		return fmt.Errorf("access_token, refresh_token or sub is missing")
	}
	return nil
}

// Exchange takes the callback's code to the token endpoint. What comes back
// must be for the account that was asked for.
func (p *Platform) Exchange(ctx context.Context, req connectors.AuthRequest, callback url.Values) (connectors.Grant, error) {
	none := connectors.Grant{}
	refused := func(kind connectors.Kind, text string) error {
		return &connectors.Error{Kind: kind, Op: "connect", Text: text}
	}
	if e := callback.Get("error"); e != "" {
		text := "Bluesky did not sign you in (" + e + "); try again"
		if e == "access_denied" {
			text = "the sign-in was refused in Bluesky"
		}
		return none, refused(connectors.Permission, text)
	}
	issuer := req.Extra[extraIssuer].Reveal()
	switch {
	case issuer == "":
		return none, refused(connectors.Invalid, "this sign-in was not begun here; start again")
	case callback.Get("iss") != issuer:
		return none, refused(connectors.Permission, "the answer came from another server than the one that was asked; start again")
	case callback.Get("code") == "":
		return none, refused(connectors.Invalid, "the answer holds no code; start again")
	}
	g := connectors.Grant{Extra: maps.Clone(req.Extra)}
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {callback.Get("code")},
		"redirect_uri": {req.RedirectURI}, "code_verifier": {req.Verifier.Reveal()},
	}
	t, err := p.token(ctx, g, req.RedirectURI, form)
	if connectors.KindOf(err) == connectors.AuthExpired {
		return none, refused(connectors.Invalid, "Bluesky no longer accepts this sign-in, perhaps because it took too long; start again")
	}
	if err != nil {
		return none, err
	}
	wanted := req.Scopes
	if len(wanted) == 0 {
		wanted = p.cfg.OAuth.Scopes
	}
	for _, scope := range wanted {
		if !slices.Contains(strings.Fields(t.Scope), scope) {
			return none, refused(connectors.Permission, "the right "+scope+" was not granted; start again and allow it")
		}
	}
	g.Extra[extraRedirect] = social.NewSecret(req.RedirectURI)
	return p.oauthGrant(g, t)
}

// extraRedirect keeps the redirect address: a loopback client is named by it.
const extraRedirect = "redirect_uri"

// refreshOAuth uses the refresh token, which works once: using it a second time
// ends the whole session.
func (p *Platform) refreshOAuth(ctx context.Context, g connectors.Grant) (connectors.Grant, error) {
	t, err := p.token(ctx, g, g.Extra[extraRedirect].Reveal(), url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.Refresh.Reveal()}})
	if err != nil {
		return connectors.Grant{}, err
	}
	return p.oauthGrant(g, t)
}

// oauthGrant checks what the token endpoint gave and makes the next grant.
func (p *Platform) oauthGrant(old connectors.Grant, t tokens) (connectors.Grant, error) {
	did := old.Extra[extraDID].Reveal()
	scopes := strings.Fields(t.Scope)
	refused := func(kind connectors.Kind, text string) (connectors.Grant, error) {
		return connectors.Grant{}, &connectors.Error{Kind: kind, Op: "connect", Text: text}
	}
	switch {
	case !strings.EqualFold(t.Type, "DPoP"):
		return refused(connectors.Permanent, "the server gave tokens of another kind than the network's profile asks for")
	case t.Sub != did:
		return refused(connectors.Permission, fmt.Sprintf("you signed in as %s, not as the account that was typed (%s); start again", t.Sub, did))
	case !slices.Contains(scopes, "atproto"):
		return refused(connectors.Permission, "the scope atproto was not granted; start again and allow it")
	}
	now := p.env.Now()
	life := publicLife
	if !p.cfg.OAuth.ClientKey.Empty() {
		life = confidentialLife
	}
	g := connectors.Grant{
		Access: p.secret(t.Access), Refresh: p.secret(t.Refresh), RefreshExpires: now.Add(life),
		Scopes: scopes, Rotates: true, Extra: old.Extra, Public: public,
	}
	if t.ExpiresIn > 0 {
		g.Expires = now.Add(time.Duration(t.ExpiresIn) * time.Second)
	}
	return g, nil
}

// token asks the token endpoint.
func (p *Platform) token(ctx context.Context, g connectors.Grant, redirect string, form url.Values) (tokens, error) {
	var t tokens
	c, err := p.client(redirect)
	if err != nil {
		return t, err
	}
	key, err := atcrypto.ParsePrivateMultibase(g.Extra[extraKey].Reveal())
	if err != nil {
		return t, &connectors.Error{Kind: connectors.AuthExpired, Op: "refresh", Text: "the key of this sign-in cannot be read; connect the account again"}
	}
	err = p.form(ctx, formCall{
		op: "token", account: g.Extra[extraDID].Reveal(), url: g.Extra[extraToken].Reveal(), issuer: g.Extra[extraIssuer].Reveal(),
		key: key, client: c, form: form, out: &t, secret: true,
	})
	return t, err
}

// revokeOAuth ends the session. A server without the endpoint ends it when the
// refresh token runs out.
func (p *Platform) revokeOAuth(ctx context.Context, g connectors.Grant) error {
	endpoint := g.Extra[extraRevoke].Reveal()
	if endpoint == "" {
		return nil
	}
	c, err := p.client(g.Extra[extraRedirect].Reveal())
	if err != nil {
		return err
	}
	key, err := atcrypto.ParsePrivateMultibase(g.Extra[extraKey].Reveal())
	if err != nil {
		return fmt.Errorf("reading the key of the session: %w", err)
	}
	return p.form(ctx, formCall{
		op: "revoke", account: g.Extra[extraDID].Reveal(), url: endpoint, issuer: g.Extra[extraIssuer].Reveal(), key: key, client: c, secret: true,
		form: url.Values{"token": {g.Refresh.Reveal()}, "token_type_hint": {"refresh_token"}},
	})
}

// formCall is a POST to the authorisation server.
type formCall struct {
	op, url, issuer string
	key             atcrypto.PrivateKey
	client          oauth.ClientConfig
	form            url.Values
	out             any
	secret          bool   // the answer holds tokens
	account         string // DID, for the rate limit
}

// form posts to the authorisation server, written once. A refusal for a stale
// nonce uses nothing up (RFC 9449, 8): it is followed by one request with the
// new nonce.
func (p *Platform) form(ctx context.Context, f formCall) error {
	u, err := url.Parse(f.url)
	if err != nil {
		return fmt.Errorf("reading the address of the authorisation server: %w", err)
	}
	client, err := p.at(f.url)
	if err != nil {
		return err
	}
	for again := false; ; again = true {
		body, err := f.body()
		if err != nil {
			return err
		}
		proof, err := oauth.NewAuthDPoP(http.MethodPost, f.url, p.nonces.get(nonceAuth, u), f.key)
		if err != nil {
			return fmt.Errorf("signing a proof: %w", err)
		}
		a, err := client.Once(ctx, api.Call{
			Op: f.op, Method: http.MethodPost, URL: f.url, Secret: f.secret, Out: f.out, Bucket: f.op + "/" + f.account,
			Header: http.Header{"Dpop": {proof}}, Body: []byte(body), ContentType: "application/x-www-form-urlencoded",
		})
		p.nonces.learn(nonceAuth, f.url, a.Header, p.env.Now())
		if !isCode(err, codeNonce) || again {
			return transientNonce(err)
		}
	}
}

// transientNonce says of a second refusal for its nonce what it is: nothing
// happened.
func transientNonce(err error) error {
	if !isCode(err, codeNonce) {
		return err
	}
	e := *connectors.AsError(err)
	e.Kind = connectors.Transient
	return &e
}

// body is the form with who we are. A confidential client signs it anew for
// each request.
func (f *formCall) body() (string, error) {
	v := url.Values{"client_id": {f.client.ClientID}}
	maps.Copy(v, f.form)
	if f.client.IsConfidential() {
		assertion, err := f.client.NewClientAssertion(f.issuer)
		if err != nil {
			return "", fmt.Errorf("signing who we are: %w", err)
		}
		v.Set("client_assertion_type", oauth.ClientAssertionJWTBearer)
		v.Set("client_assertion", assertion)
	}
	return v.Encode(), nil
}
