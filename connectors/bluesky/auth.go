package bluesky

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// What a grant keeps in Extra.
const (
	extraDID  = "did"
	extraPDS  = "pds"
	extraMode = "mode" // modeSession or modeOAuth
	// of OAuth
	extraIssuer = "issuer"
	extraToken  = "token_endpoint"
	extraRevoke = "revocation_endpoint"
	extraKey    = "dpop_key"
)

// public are the entries of Extra that are no secrets.
var public = []string{extraDID, extraPDS, extraMode, extraIssuer, extraToken, extraRevoke, extraRedirect}

const (
	modeSession = "session"
	modeOAuth   = "oauth"
)

func isOAuth(g connectors.Grant) bool { return g.Extra[extraMode].Reveal() == modeOAuth }

// The fields of the login form.
const (
	fieldIdentifier = "identifier"
	fieldPassword   = "app_password"
	fieldService    = "service"
)

// appPassword is the form of every app password that the network makes
// (com.atproto.server.createAppPassword in the reference server, read
// 2026-08-20).
var appPassword = regexp.MustCompile(`^[a-z0-9]{4}(-[a-z0-9]{4}){3}$`)

// LoginFields are what the form asks for.
func (p *Platform) LoginFields() []connectors.Field {
	return []connectors.Field{
		{Name: fieldIdentifier, Label: "Handle", Help: "Your handle, such as name.bsky.social, or your own domain."},
		{Name: fieldPassword, Label: "App password", Secret: true, Help: "Made in Bluesky under Settings, Privacy and security, App passwords. It looks like xxxx-xxxx-xxxx-xxxx. Never your main password."},
		{Name: fieldService, Label: "Server", Help: "Leave it empty unless your network is not Bluesky's own: the address of the server that resolves your handle."},
	}
}

// Login opens a session with an app password. The password itself is not kept.
func (p *Platform) Login(ctx context.Context, in map[string]social.Secret) (connectors.Grant, error) {
	none := connectors.Grant{}
	invalid := func(field, text string) error {
		return &connectors.Error{Kind: connectors.Invalid, Op: "login", Field: field, Text: text}
	}
	password := strings.TrimSpace(in[fieldPassword].Reveal())
	p.secret(password)
	switch {
	case strings.TrimSpace(in[fieldIdentifier].Reveal()) == "":
		return none, invalid(fieldIdentifier, "type the handle of the account")
	case strings.Contains(strings.TrimPrefix(in[fieldIdentifier].Reveal(), "@"), "@"):
		return none, invalid(fieldIdentifier, "type the handle of the account, not a mail address")
	case password == "":
		return none, invalid(fieldPassword, "type an app password")
	case !appPassword.MatchString(password) && !p.cfg.AllowAccountPassword:
		return none, invalid(fieldPassword, "this is not an app password, which looks like xxxx-xxxx-xxxx-xxxx; make one in Bluesky under Settings, Privacy and security, App passwords")
	}
	resolver := p.cfg.resolver()
	if s := strings.TrimSpace(in[fieldService].Reveal()); s != "" {
		u, err := p.cfg.serverURL(s)
		if err != nil {
			return none, invalid(fieldService, err.Error())
		}
		resolver = u.String()
	}
	w, err := p.lookUp(ctx, in[fieldIdentifier].Reveal(), resolver)
	if err != nil {
		return none, err
	}
	client, err := p.at(w.pds)
	if err != nil {
		return none, err
	}
	var s session
	_, err = client.Do(ctx, api.Call{
		Op: "createSession", URL: xrpc(w.pds, "com.atproto.server.createSession"), Anonymous: true, Secret: true, Bucket: "login/" + w.did,
		JSON: map[string]string{"identifier": w.did, "password": password}, Out: &s,
	})
	switch {
	case isCode(err, "AuthFactorTokenRequired"):
		return none, invalid(fieldPassword, "this is the main password of an account with a second factor; make an app password in Bluesky under Settings, Privacy and security, App passwords")
	case isCode(err, codeAuthRequired):
		return none, invalid(fieldPassword, "Bluesky does not accept this app password for "+cmp.Or(w.handle, w.did)+"; make a new one and type it again")
	case err != nil:
		return none, err
	case s.DID != w.did:
		return none, &connectors.Error{Kind: connectors.Permanent, Op: "login", Text: fmt.Sprintf("the server opened a session of %s instead of %s", s.DID, w.did)}
	}
	return p.sessionGrant(s, w.pds)
}

// Validate asks for what a session must have.
func (s session) Validate() error {
	if s.DID == "" || s.Handle == "" {
		return fmt.Errorf("did or handle is missing")
	}
	return nil
}

func (p *Platform) sessionGrant(s session, pds string) (connectors.Grant, error) {
	if s.AccessJWT == "" || s.RefreshJWT == "" {
		return connectors.Grant{}, &connectors.Error{Kind: connectors.Ambiguous, Op: "login", Text: "Bluesky opened a session without tokens"}
	}
	return connectors.Grant{
		Access:         p.secret(s.AccessJWT),
		Refresh:        p.secret(s.RefreshJWT),
		Expires:        jwtExpires(s.AccessJWT),
		RefreshExpires: jwtExpires(s.RefreshJWT),
		// Rotates stays false: the old refresh token gives the same successor for
		// two more hours (the reference server, read 2026-08-20), so that a refresh
		// whose answer was lost may be tried again at once.
		Extra: map[string]social.Secret{
			extraMode: social.NewSecret(modeSession), extraDID: social.NewSecret(s.DID),
			extraPDS: social.NewSecret(pds),
		},
		Public: public,
	}, nil
}

// Refresh gets new tokens for old ones. See connectors.Refresher.
func (p *Platform) Refresh(ctx context.Context, g connectors.Grant) (connectors.Grant, error) {
	if isOAuth(g) {
		return p.refreshOAuth(ctx, g)
	}
	pds := g.Extra[extraPDS].Reveal()
	client, err := p.at(pds)
	if err != nil {
		return connectors.Grant{}, err
	}
	var s session
	_, err = client.Once(ctx, api.Call{
		Op: "refreshSession", Method: http.MethodPost, URL: xrpc(pds, "com.atproto.server.refreshSession"), Secret: true,
		Bucket: "session/" + g.Extra[extraDID].Reveal(),
		Header: http.Header{"Authorization": {"Bearer " + g.Refresh.Reveal()}},
		Body:   []byte{}, // the method takes none and refuses one (xrpc-server, read 2026-08-20)
		Out:    &s,
	})
	if err != nil {
		return connectors.Grant{}, err
	}
	if s.DID != g.Extra[extraDID].Reveal() {
		return connectors.Grant{}, &connectors.Error{Kind: connectors.Permanent, Op: "refresh", Text: fmt.Sprintf("the session now belongs to %s", s.DID)}
	}
	return p.sessionGrant(s, pds)
}

// Revoke ends the session at the network.
func (p *Platform) Revoke(ctx context.Context, g connectors.Grant) error {
	if isOAuth(g) {
		return p.revokeOAuth(ctx, g)
	}
	pds := g.Extra[extraPDS].Reveal()
	client, err := p.at(pds)
	if err != nil {
		return err
	}
	_, err = client.Do(ctx, api.Call{
		Op: "deleteSession", Method: http.MethodPost, URL: xrpc(pds, "com.atproto.server.deleteSession"), Anonymous: true, Repeatable: true, Secret: true,
		Header: http.Header{"Authorization": {"Bearer " + g.Refresh.Reveal()}},
	})
	if connectors.KindOf(err) == connectors.AuthExpired {
		return nil // it had ended before
	}
	return err
}

// Accounts says which account a grant opens: one.
func (p *Platform) Accounts(ctx context.Context, g connectors.Grant) ([]social.Profile, error) {
	c := &conn{p: p, creds: api.Lend(g, "login", "Bluesky")}
	prof, err := c.Identity(ctx)
	if err != nil {
		return nil, err
	}
	return []social.Profile{prof}, nil
}

// jwtExpires reads when a token ends. It does not verify anything: the token is
// ours to use, not to trust. Zero means that the token does not say.
func jwtExpires(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Exp int64 `json:"exp"`
	}
	if json.Unmarshal(raw, &claims) != nil || claims.Exp <= 0 {
		return time.Time{}
	}
	return time.Unix(claims.Exp, 0).UTC()
}
