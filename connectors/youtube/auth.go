package youtube

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// The scopes (YouTube Data API and YouTube Analytics API, "Authorization",
// read 2026-11).
const (
	scopePrefix    = "https://www.googleapis.com/auth/"
	scopeUpload    = scopePrefix + "youtube.upload"    // videos, thumbnails
	scopeManage    = scopePrefix + "youtube.force-ssl" // change and delete videos, playlists, captions
	scopeRead      = scopePrefix + "youtube.readonly"
	scopeAnalytics = scopePrefix + "yt-analytics.readonly"
)

// testingLife is how long Google keeps a login of a project whose consent screen
// is in the state Testing (Google Identity, "Using OAuth 2.0", Refresh token
// expiration, read 2026-11).
const testingLife = 7 * 24 * time.Hour

func (p *Platform) scopes(asked []string) []string {
	if len(asked) > 0 {
		return asked
	}
	out := []string{scopeUpload, scopeManage, scopeRead}
	if p.cfg.AnalyticsData {
		out = append(out, scopeAnalytics)
	}
	return out
}

func refused(kind connectors.Kind, text string) error {
	return &connectors.Error{Kind: kind, Op: "connect", Text: text}
}

// AuthURL returns the page at which a person allows access. No I/O. The person
// chooses the channel there: one login is one channel.
func (p *Platform) AuthURL(_ context.Context, req *connectors.AuthRequest) (string, error) {
	if p.cfg.ClientID == "" {
		return "", refused(connectors.Permission, "connecting a channel needs networks.youtube.client_id and client_secret_file of an OAuth client; see docs/networks/youtube.md")
	}
	c := oauth2.Config{
		ClientID: p.cfg.ClientID, RedirectURL: req.RedirectURI, Scopes: p.scopes(req.Scopes),
		Endpoint: oauth2.Endpoint{AuthURL: p.cfg.AuthURL, TokenURL: p.cfg.TokenURL},
	}
	opts := []oauth2.AuthCodeOption{
		oauth2.AccessTypeOffline, // without it there is no refresh token
		oauth2.SetAuthURLParam("prompt", "consent"),
		oauth2.SetAuthURLParam("include_granted_scopes", "true"),
		oauth2.S256ChallengeOption(req.Verifier.Reveal()),
	}
	if req.Hint != "" {
		opts = append(opts, oauth2.SetAuthURLParam("login_hint", req.Hint))
	}
	return c.AuthCodeURL(req.State, opts...), nil
}

// Exchange takes the callback's code to the token endpoint. People can untick
// scopes at the consent page; what is missing is named.
func (p *Platform) Exchange(ctx context.Context, req connectors.AuthRequest, callback url.Values) (connectors.Grant, error) {
	none := connectors.Grant{}
	if e := callback.Get("error"); e != "" {
		text := "Google did not allow access (" + clean(e) + "); try again"
		if e == "access_denied" {
			text = "the access was refused at Google"
		}
		return none, refused(connectors.Permission, text)
	}
	if callback.Get("code") == "" {
		return none, refused(connectors.Invalid, "the answer holds no code; start again")
	}
	t, err := p.token(ctx, url.Values{
		"grant_type": {"authorization_code"}, "code": {callback.Get("code")}, "redirect_uri": {req.RedirectURI}, "code_verifier": {req.Verifier.Reveal()},
	})
	if connectors.KindOf(err) == connectors.AuthExpired {
		return none, refused(connectors.Invalid, "Google no longer accepts this sign-in, perhaps because it took too long; start again")
	}
	if err != nil {
		return none, err
	}
	granted := strings.Fields(t.Scope)
	for _, s := range p.scopes(req.Scopes) {
		if !slices.Contains(granted, s) {
			return none, refused(connectors.Permission, "the right "+s+" was not granted; start again and leave its box ticked")
		}
	}
	if t.Refresh == "" {
		return none, refused(connectors.Permission, "Google gave no lasting login; remove smi at myaccount.google.com/permissions and start again")
	}
	return p.grant(connectors.Grant{}, t), nil
}

// Refresh gets a new access token. The refresh token stays the same and may be
// used any number of times (Google Identity, "Using OAuth 2.0 for Web Server
// Applications", read 2026-11).
func (p *Platform) Refresh(ctx context.Context, g connectors.Grant) (connectors.Grant, error) {
	t, err := p.token(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.Refresh.Reveal()}})
	if err != nil {
		return connectors.Grant{}, err
	}
	return p.grant(g, t), nil
}

// grant makes the next grant of what the token endpoint gave.
func (p *Platform) grant(old connectors.Grant, t tokens) connectors.Grant {
	now := p.env.Now()
	g := connectors.Grant{
		Access: p.secret(t.Access), Refresh: old.Refresh, RefreshExpires: old.RefreshExpires, Scopes: old.Scopes,
		Extra: maps.Clone(old.Extra), Public: old.Public,
	}
	if t.ExpiresIn > 0 {
		g.Expires = now.Add(time.Duration(t.ExpiresIn) * time.Second)
	}
	if t.Scope != "" {
		g.Scopes = strings.Fields(t.Scope)
	}
	if t.Refresh != "" && t.Refresh != old.Refresh.Reveal() {
		g.Refresh, g.RefreshExpires = p.secret(t.Refresh), time.Time{}
		if p.cfg.Testing {
			g.RefreshExpires = now.Add(testingLife)
		}
	}
	if t.RefreshExpiresIn > 0 {
		g.RefreshExpires = now.Add(time.Duration(t.RefreshExpiresIn) * time.Second)
	}
	return g
}

// token asks the token endpoint, written once.
func (p *Platform) token(ctx context.Context, form url.Values) (tokens, error) {
	var t tokens
	if p.cfg.ClientID == "" {
		return t, &connectors.Error{Kind: connectors.Permission, Op: "token", Text: "networks.youtube.client_id is not set any more; logins cannot be renewed without it"}
	}
	form.Set("client_id", p.cfg.ClientID)
	form.Set("client_secret", p.cfg.ClientSecret.Reveal())
	_, err := p.http.Once(ctx, api.Call{
		Op: opToken, URL: p.cfg.TokenURL, Secret: true, Body: []byte(form.Encode()), ContentType: "application/x-www-form-urlencoded", Out: &t, Bucket: opToken,
	})
	return t, err
}

// Revoke ends the login at Google.
func (p *Platform) Revoke(ctx context.Context, g connectors.Grant) error {
	_, err := p.http.Do(ctx, api.Call{
		Op: "revoke", URL: p.cfg.RevokeURL, Anonymous: true, Repeatable: true, Secret: true, Bucket: opToken,
		Body: []byte(url.Values{"token": {g.Refresh.Reveal()}}.Encode()), ContentType: "application/x-www-form-urlencoded",
	})
	if isCode(err, codeInvalidToken) {
		return nil // it had ended before
	}
	return err
}

// Accounts says which channel a grant opens: the one that was chosen at the
// consent page.
func (p *Platform) Accounts(ctx context.Context, g connectors.Grant) ([]social.Profile, error) {
	c := &conn{p: p, creds: api.Lend(g, "login", "YouTube")}
	prof, err := c.Identity(ctx)
	if err != nil {
		return nil, err
	}
	return []social.Profile{prof}, nil
}

// tokens is the answer of the token endpoint.
type tokens struct {
	Access           string `json:"access_token"`
	Refresh          string `json:"refresh_token"`
	Scope            string `json:"scope"`
	ExpiresIn        int64  `json:"expires_in"`
	RefreshExpiresIn int64  `json:"refresh_token_expires_in"`
}

// Validate asks for the token.
func (t *tokens) Validate() error {
	if t.Access == "" {
		return errors.New("access_token is missing")
	}
	return nil
}
