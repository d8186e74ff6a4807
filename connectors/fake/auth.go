package fake

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"
	"time"

	"smi/connectors"
	"smi/internal/social"
)

// Scopes are what the connector asks for.
var Scopes = []string{"read", "write", "insights"}

// grant is one login as the network knows it. Its tokens change with each
// refresh; the old ones stay known, as dead.
type grant struct {
	owner   string
	number  int
	gen     int64
	access  string
	refresh string
	expires time.Time
	scopes  []string
	revoked bool
}

// code is what the network gives to the browser on consent, for one exchange.
type code struct {
	owner     string
	challenge string
	redirect  string
	scopes    []string
}

// issue makes the next tokens of a grant. The lock is held.
func (n *Network) issue(g *grant) connectors.Grant {
	g.gen++
	g.access = fmt.Sprintf("fake-access-%s-%d-%d", g.owner, g.number, g.gen)
	if g.refresh == "" || n.o.Rotates {
		g.refresh = fmt.Sprintf("fake-refresh-%s-%d-%d", g.owner, g.number, g.gen)
	}
	g.expires = time.Time{}
	if n.o.TokenLife > 0 {
		g.expires = n.o.Now().Add(n.o.TokenLife)
	}
	n.grants[g.access], n.grants[g.refresh] = g, g
	return connectors.Grant{
		Access:  social.NewSecret(g.access),
		Refresh: social.NewSecret(g.refresh),
		Expires: g.expires,
		Scopes:  slices.Clone(g.scopes),
		Rotates: n.o.Rotates,
	}
}

func (n *Network) newGrant(owner string, scopes []string) connectors.Grant {
	n.seq++
	return n.issue(&grant{owner: owner, number: n.seq, scopes: scopes})
}

// signed returns the grant of an access token, or the refusal of a dead one. The
// lock is held.
func (n *Network) signed(op Op, token social.Secret) (*grant, *connectors.Error) {
	g := n.grants[token.Reveal()]
	dead := g == nil || g.revoked || g.access != token.Reveal() || !g.expires.IsZero() && !n.o.Now().Before(g.expires)
	if dead {
		e := refused(op, connectors.AuthExpired, http.StatusUnauthorized, "the network no longer accepts this login; connect the account again")
		e.Code = "dead_token"
		return nil, e
	}
	return g, nil
}

// may says whether a grant may do this for an account. The lock is held.
func (n *Network) may(op Op, g *grant, remoteID, scope string) (*account, *connectors.Error) {
	a := n.accounts[remoteID]
	switch {
	case a == nil:
		return nil, refused(op, connectors.Permanent, http.StatusGone, "there is no such account on the network any more")
	case a.disabled:
		return nil, refused(op, connectors.Permanent, http.StatusGone, "the network has closed this account")
	case a.owner != g.owner:
		return nil, refused(op, connectors.Permission, http.StatusForbidden, "this login does not open the account")
	case a.scopes[scope] || !slices.Contains(g.scopes, scope):
		e := refused(op, connectors.Permission, http.StatusForbidden, fmt.Sprintf("the login lacks the permission %q; connect the account again and agree to it", scope))
		e.Code = "scope"
		return nil, e
	}
	return a, nil
}

// AuthURL implements connectors.OAuth.
func (n *Network) AuthURL(_ context.Context, req *connectors.AuthRequest) (string, error) {
	scopes := req.Scopes
	if len(scopes) == 0 {
		scopes = Scopes
	}
	q := url.Values{
		"response_type":         {"code"},
		"client_id":             {"smi"},
		"redirect_uri":          {req.RedirectURI},
		"state":                 {req.State},
		"scope":                 {strings.Join(scopes, " ")},
		"code_challenge":        {challenge(req.Verifier)},
		"code_challenge_method": {"S256"},
	}
	if req.Hint != "" {
		q.Set("login_hint", req.Hint)
	}
	return "https://" + string(n.o.Network) + ".example/authorize?" + q.Encode(), nil
}

func challenge(verifier social.Secret) string {
	sum := sha256.Sum256([]byte(verifier.Reveal()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Consent is the person at the browser: they open the URL, log in as the owner
// of the account and agree to all but the withheld scopes. It returns the query
// of the callback.
func (n *Network) Consent(authURL, remoteID string, withhold ...string) (url.Values, error) {
	u, err := url.Parse(authURL)
	if err != nil {
		return nil, fmt.Errorf("opening the address: %w", err)
	}
	q := u.Query()
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.accounts[remoteID]
	if a == nil {
		return nil, fmt.Errorf("there is no account %q", remoteID)
	}
	var scopes []string
	for s := range strings.FieldsSeq(q.Get("scope")) {
		if !slices.Contains(withhold, s) {
			scopes = append(scopes, s)
		}
	}
	n.seq++
	c := fmt.Sprintf("fake-code-%d", n.seq)
	n.codes[c] = &code{owner: a.owner, challenge: q.Get("code_challenge"), redirect: q.Get("redirect_uri"), scopes: scopes}
	return url.Values{"code": {c}, "state": {q.Get("state")}}, nil
}

// Exchange implements connectors.OAuth.
func (n *Network) Exchange(ctx context.Context, req connectors.AuthRequest, callback url.Values) (connectors.Grant, error) {
	if why := callback.Get("error"); why != "" {
		return connectors.Grant{}, &connectors.Error{Kind: connectors.Permission, Op: "exchange", Code: why, Text: "the login was not agreed to; start again and agree to all permissions"}
	}
	if err := n.begin(ctx, OpExchange, n.sharedKnobs); err != nil {
		return connectors.Grant{}, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.codes[callback.Get("code")]
	delete(n.codes, callback.Get("code"))
	if c == nil || c.redirect != req.RedirectURI || c.challenge != challenge(req.Verifier) {
		return connectors.Grant{}, refused(OpExchange, connectors.AuthExpired, http.StatusBadRequest, "the login has run out or was begun elsewhere; start again")
	}
	wanted := req.Scopes
	if len(wanted) == 0 {
		wanted = Scopes
	}
	var missing []string
	for _, s := range wanted {
		if !slices.Contains(c.scopes, s) {
			missing = append(missing, s)
		}
	}
	if len(missing) > 0 {
		text := fmt.Sprintf("these permissions were not given: %s; start again and agree to them", strings.Join(missing, ", "))
		return connectors.Grant{}, &connectors.Error{Kind: connectors.Permission, Op: "exchange", Code: "scope", Text: text}
	}
	return n.newGrant(c.owner, c.scopes), nil
}

// LoginFields implements connectors.FormLogin.
func (n *Network) LoginFields() []connectors.Field {
	if n.o.NoForm {
		return nil
	}
	return []connectors.Field{
		{Name: "handle", Label: "Handle", Help: "the account's name on the network"},
		{Name: "password", Label: "Password", Help: "an app password, not that of the account", Secret: true},
	}
}

// Login implements connectors.FormLogin.
func (n *Network) Login(ctx context.Context, in map[string]social.Secret) (connectors.Grant, error) {
	if err := n.begin(ctx, OpLogin, n.sharedKnobs); err != nil {
		return connectors.Grant{}, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range n.accounts {
		if a.profile.Handle == in["handle"].Reveal() && a.password == in["password"].Reveal() {
			return n.newGrant(a.owner, Scopes), nil
		}
	}
	return connectors.Grant{}, refused(OpLogin, connectors.AuthExpired, http.StatusUnauthorized, "the network does not know this handle with this password; check both")
}

// Refresh implements connectors.Refresher.
func (n *Network) Refresh(ctx context.Context, old connectors.Grant) (connectors.Grant, error) {
	if err := ctx.Err(); err != nil {
		return connectors.Grant{}, cut(OpRefresh, false, err)
	}
	n.mu.Lock()
	f, latency := n.shared.next(OpRefresh)
	n.mu.Unlock()
	if err := wait(ctx, f.Before); err != nil {
		return connectors.Grant{}, cut(OpRefresh, false, err)
	}
	switch f.Do {
	case CutBeforeWrite, CutBeforeEffect, Refuse, HangBefore:
		f.met()
	}
	switch f.Do {
	case CutBeforeWrite:
		return connectors.Grant{}, cut(OpRefresh, false, errReset)
	case CutBeforeEffect:
		return connectors.Grant{}, cut(OpRefresh, true, errReset)
	case Refuse:
		if err := wait(ctx, latency+f.Delay); err != nil {
			return connectors.Grant{}, cut(OpRefresh, true, err)
		}
		return connectors.Grant{}, refreshFailure(f.refusal(OpRefresh))
	case HangBefore:
		<-ctx.Done()
		return connectors.Grant{}, cut(OpRefresh, true, ctx.Err())
	}
	fresh, err := n.refresh(old)
	f.met()
	switch f.Do {
	case CutAfterEffect, Park:
		return connectors.Grant{}, cut(OpRefresh, true, errReset)
	case Hang:
		<-ctx.Done()
		return connectors.Grant{}, cut(OpRefresh, true, ctx.Err())
	}
	if err := wait(ctx, latency+f.Delay); err != nil {
		return connectors.Grant{}, cut(OpRefresh, true, err)
	}
	switch f.Do {
	case FailAfterEffect:
		return connectors.Grant{}, f.refusal(OpRefresh)
	case Garbage, WithoutID:
		return connectors.Grant{}, garbled(OpRefresh)
	}
	if err != nil {
		return connectors.Grant{}, err
	}
	return fresh, nil
}

// refreshFailure makes what is not a clear word about the grant ambiguous: a
// 5xx may come after the old refresh token was used up.
func refreshFailure(e *connectors.Error) *connectors.Error {
	if e.Kind == connectors.Transient || e.Kind == connectors.Unknown {
		e.Kind = connectors.Ambiguous
	}
	return e
}

func (n *Network) refresh(old connectors.Grant) (connectors.Grant, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	g := n.grants[old.Refresh.Reveal()]
	dead := refused(OpRefresh, connectors.AuthExpired, http.StatusBadRequest, "the network no longer accepts this login; connect the account again")
	dead.Code = "invalid_grant"
	switch {
	case g == nil || g.revoked:
		return connectors.Grant{}, dead
	case g.refresh != old.Refresh.Reveal():
		n.reused++
		if n.o.StrictReuse {
			g.revoked = true
		}
		return connectors.Grant{}, dead
	}
	return n.issue(g), nil
}

// Accounts implements connectors.AccountLister.
func (n *Network) Accounts(ctx context.Context, g connectors.Grant) ([]social.Profile, error) {
	if err := n.begin(ctx, OpAccounts, n.sharedKnobs); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	known, dead := n.signed(OpAccounts, g.Access)
	if dead != nil {
		return nil, dead
	}
	var out []social.Profile
	for _, a := range n.accounts {
		if a.owner == known.owner && !a.disabled {
			out = append(out, a.profile)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].RemoteID < out[j].RemoteID })
	return out, nil
}

// Revoke implements connectors.Revoker. Revoking what is dead is no error.
func (n *Network) Revoke(ctx context.Context, g connectors.Grant) error {
	if err := n.begin(ctx, OpRevoke, n.sharedKnobs); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if known := n.grants[g.Access.Reveal()]; known != nil {
		known.revoked = true
	}
	return nil
}

func (n *Network) sharedKnobs() *knobs { return &n.shared }
