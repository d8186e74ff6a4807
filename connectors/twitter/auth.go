package twitter

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// neededScopes are what smi cannot work without (docs.x.com, OAuth 2.0 scopes,
// read 2026-08-22).
var neededScopes = []string{"tweet.read", "tweet.write", "users.read", "media.write", "offline.access"}

// AuthURL returns where the person's browser must go (docs.x.com, OAuth 2.0
// Authorization Code Flow with PKCE, read 2026-08-22). No I/O.
func (p *Platform) AuthURL(_ context.Context, req *connectors.AuthRequest) (string, error) {
	if p.cfg.ClientID == "" {
		return "", &connectors.Error{Kind: connectors.Permission, Op: "connect", Text: "signing in to X needs networks.twitter.client_id of an app in X's developer console; see docs/networks/twitter.md"}
	}
	return strings.TrimRight(p.cfg.WebURL, "/") + "/i/oauth2/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {p.cfg.ClientID}, "redirect_uri": {req.RedirectURI}, "state": {req.State},
		"scope":          {strings.Join(p.scopes(req), " ")},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(req.Verifier.Reveal())}, "code_challenge_method": {"S256"},
	}.Encode(), nil
}

func (p *Platform) scopes(req *connectors.AuthRequest) []string {
	if len(req.Scopes) > 0 {
		return req.Scopes
	}
	return p.cfg.Scopes
}

// Exchange takes the callback's code to the token endpoint, at once: it lives 30
// seconds.
func (p *Platform) Exchange(ctx context.Context, req connectors.AuthRequest, callback url.Values) (connectors.Grant, error) {
	refused := func(kind connectors.Kind, text string) (connectors.Grant, error) {
		return connectors.Grant{}, &connectors.Error{Kind: kind, Op: "connect", Text: text}
	}
	if e := callback.Get("error"); e != "" {
		if e == "access_denied" {
			return refused(connectors.Permission, "the sign-in was refused at X")
		}
		return refused(connectors.Permission, "X did not sign you in ("+e+"); try again")
	}
	if callback.Get("code") == "" {
		return refused(connectors.Invalid, "the answer holds no code; start again")
	}
	t, err := p.token(ctx, opExchange, url.Values{
		"grant_type": {"authorization_code"}, "code": {callback.Get("code")},
		"redirect_uri": {req.RedirectURI}, "code_verifier": {req.Verifier.Reveal()},
	})
	if k := connectors.KindOf(err); k == connectors.AuthExpired || k == connectors.Invalid {
		return refused(connectors.Invalid, "X no longer accepts this sign-in, perhaps because it took longer than 30 seconds; start again")
	}
	if err != nil {
		return connectors.Grant{}, err
	}
	granted := strings.Fields(t.Scope)
	for _, scope := range p.scopes(&req) {
		if !slices.Contains(granted, scope) {
			return refused(connectors.Permission, "the right "+scope+" was not granted; start again and allow it")
		}
	}
	return p.grant(t)
}

// Refresh uses the refresh token, which works once.
func (p *Platform) Refresh(ctx context.Context, g connectors.Grant) (connectors.Grant, error) {
	if g.Refresh.Empty() {
		return connectors.Grant{}, &connectors.Error{Kind: connectors.AuthExpired, Op: "refresh", Text: "this sign-in cannot be renewed; connect the account again"}
	}
	t, err := p.token(ctx, opRefresh, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.Refresh.Reveal()}})
	if err != nil {
		return connectors.Grant{}, err
	}
	if t.Scope == "" {
		t.Scope = strings.Join(g.Scopes, " ")
	}
	return p.grant(t)
}

// grant makes a grant of what the token endpoint gave. How long a refresh token
// lives is not written anywhere; developers report about six months.
func (p *Platform) grant(t tokens) (connectors.Grant, error) {
	if t.Refresh == "" {
		return connectors.Grant{}, &connectors.Error{Kind: connectors.Ambiguous, Op: "token", Text: "X signed you in without a token to renew the sign-in"}
	}
	g := connectors.Grant{Access: p.secret(t.Access), Refresh: p.secret(t.Refresh), Scopes: strings.Fields(t.Scope), Rotates: true}
	if s, ok := number(t.Expires); ok && s > 0 {
		g.Expires = p.env.Now().Add(time.Duration(s) * time.Second)
	}
	return g, nil
}

// The two calls of the token endpoint.
const (
	opExchange = "exchange"
	opRefresh  = "refresh"
)

// token posts to the token endpoint, written once.
func (p *Platform) token(ctx context.Context, op string, form url.Values) (tokens, error) {
	var t tokens
	_, err := p.http.Once(ctx, p.formCall(op, "/2/oauth2/token", form, &t))
	if e := connectors.AsError(err); e != nil && e.Kind == connectors.Permission && e.Status == http.StatusUnauthorized {
		app := *e
		app.Text = "X does not accept the app; look at networks.twitter.client_id and client_secret_file"
		return t, &app
	}
	return t, err
}

// formCall is a form sent as the app: a confidential one says its secret, a
// public one its id.
func (p *Platform) formCall(op, path string, form url.Values, out any) api.Call {
	k := api.Call{
		Op: op, Method: http.MethodPost, URL: p.url(path), Secret: true, Out: out, Anonymous: true, Bucket: op,
		ContentType: "application/x-www-form-urlencoded",
	}
	if p.cfg.ClientSecret.Empty() {
		form.Set("client_id", p.cfg.ClientID)
	} else {
		req := &http.Request{Header: http.Header{}}
		req.SetBasicAuth(p.cfg.ClientID, p.cfg.ClientSecret.Reveal())
		k.Header = req.Header
	}
	k.Body = []byte(form.Encode())
	return k
}

// Revoke ends both tokens at the network. That one fails is no reason to leave
// the other.
func (p *Platform) Revoke(ctx context.Context, g connectors.Grant) error {
	var failed error
	for _, t := range []struct{ value, hint string }{{g.Refresh.Reveal(), "refresh_token"}, {g.Access.Reveal(), "access_token"}} {
		if t.value == "" {
			continue
		}
		k := p.formCall(opRevoke, "/2/oauth2/revoke", url.Values{"token": {t.value}, "token_type_hint": {t.hint}}, nil)
		k.Repeatable = true
		_, err := p.http.Do(ctx, k)
		if err != nil && connectors.KindOf(err) != connectors.AuthExpired && failed == nil { // else it had ended before
			failed = err
		}
	}
	return failed
}

// Accounts says which account a grant opens: one.
func (p *Platform) Accounts(ctx context.Context, g connectors.Grant) ([]social.Profile, error) {
	c, err := p.conn(social.Account{}, api.Lend(g, "login", "X"))
	if err != nil {
		return nil, err
	}
	prof, err := c.Identity(ctx)
	if err != nil {
		return nil, err
	}
	return []social.Profile{prof}, nil
}
