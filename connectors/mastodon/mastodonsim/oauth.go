package mastodonsim

import (
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

type app struct {
	id, client, secret, name, website string
	redirects, scopes                 []string
}

type code struct {
	app                 *app
	account             *account
	redirect, challenge string
	scopes              []string
	expires             time.Time
	used                bool
}

type token struct {
	value   string
	renewal string
	app     *app
	account *account // nil: the app's own
	scopes  []string
	made    time.Time
	expires time.Time // zero: never
	revoked bool
}

// codeLife is how long a code is good.
const codeLife = 10 * time.Minute

// outOfBand is the redirect of clients that have no address: the page shows the
// code.
const outOfBand = "urn:ietf:wg:oauth:2.0:oob"

// scopesKnown are the scopes of the server; an app that asks for another is
// refused as a whole.
var scopesKnown = []string{
	"read", "profile", "write", "follow", "push", "read:accounts", "read:blocks", "read:bookmarks", "read:favourites", "read:filters", "read:follows",
	"read:lists", "read:mutes", "read:notifications", "read:search", "read:statuses", "write:accounts", "write:blocks", "write:bookmarks",
	"write:conversations", "write:favourites", "write:filters", "write:follows", "write:lists", "write:media", "write:mutes",
	"write:notifications", "write:reports", "write:statuses",
}

// covers says whether scopes hold a scope, by itself or by the name above it.
func covers(scopes []string, scope string) bool {
	above, _, _ := strings.Cut(scope, ":")
	return slices.Contains(scopes, scope) || slices.Contains(scopes, above)
}

func (s *Sim) oauthRoutes() {
	s.mux.HandleFunc("POST /api/v1/apps", s.register)
	s.mux.HandleFunc("GET /api/v1/apps/verify_credentials", func(w http.ResponseWriter, r *http.Request) {
		if t := s.signed(w, r, ""); t != nil {
			answer(w, http.StatusOK, object{"id": t.app.id, "name": t.app.name, "website": orNil(t.app.website), "scopes": t.app.scopes, "redirect_uris": t.app.redirects})
		}
	})
	s.mux.HandleFunc("GET /oauth/authorize", s.authorize)
	s.mux.HandleFunc("POST /oauth/authorize", s.authorize)
	s.mux.HandleFunc("POST /oauth/token", s.tokenEndpoint)
	s.mux.HandleFunc("POST /oauth/revoke", s.revoke)
}

func orNil(v string) any {
	if v == "" {
		return nil
	}
	return v
}

func (s *Sim) register(w http.ResponseWriter, r *http.Request) {
	if s.limited(w, r, "") {
		return
	}
	f, err := readForm(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "The request could not be read")
		return
	}
	var redirects []string
	for _, v := range f.list("redirect_uris") {
		redirects = append(redirects, strings.Fields(v)...)
	}
	scopes := strings.Fields(f.get("scopes"))
	if len(scopes) == 0 {
		scopes = []string{"read"}
	}
	switch {
	case f.get("client_name") == "":
		refuse(w, http.StatusUnprocessableEntity, "Validation failed: Application name can't be blank")
		return
	case len(redirects) == 0:
		refuse(w, http.StatusUnprocessableEntity, "Validation failed: Redirect URI can't be blank")
		return
	}
	for _, u := range redirects {
		if p, err := url.Parse(u); err != nil || p.Scheme == "" {
			refuse(w, http.StatusUnprocessableEntity, "Validation failed: Redirect URI must be an absolute URI.")
			return
		}
	}
	for _, scope := range scopes {
		if !slices.Contains(scopesKnown, scope) {
			refuse(w, http.StatusUnprocessableEntity, "Validation failed: Scopes doesn't match configured on the server.")
			return
		}
	}
	s.mu.Lock()
	a := &app{id: s.newID(), client: s.unique("client"), secret: s.unique("secret"), name: f.get("client_name"), website: f.get("website"), redirects: redirects, scopes: scopes}
	s.apps[a.client] = a
	s.mu.Unlock()
	answer(w, http.StatusOK, object{
		"id": a.id, "name": a.name, "website": orNil(a.website), "client_id": a.client, "client_secret": a.secret, "client_secret_expires_at": 0,
		"redirect_uri": strings.Join(redirects, "\n"), "redirect_uris": redirects, "scopes": scopes, "vapid_key": "BAAA",
	})
}

var consentPage = template.Must(template.New("consent").Parse(`<!DOCTYPE html><html lang="en"><title>Authorisation required</title>
<h1>{{.App}} would like to use the account {{.Who}}</h1><p>It asks for: {{.Scopes}}.</p>
<form method="post"><button name="answer" value="approve">Authorise</button> <button name="answer" value="deny">Deny</button></form></html>`))

var codePage = template.Must(template.New("code").Parse(`<!DOCTYPE html><html lang="en"><title>Code</title>
<p>Copy this code and paste it to the application: <code>{{.}}</code></p></html>`))

// authorize is the person at the browser, who is signed in as the account that
// the cookie "account" names, or as the first one.
func (s *Sim) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage.asked = Asked{State: q.Get("state"), Challenge: q.Get("code_challenge"), Method: q.Get("code_challenge_method"), RedirectURI: q.Get("redirect_uri")}
	a := s.apps[q.Get("client_id")]
	if a == nil || !slices.Contains(a.redirects, q.Get("redirect_uri")) {
		http.Error(w, "Client authentication failed, or the redirect uri is not the registered one.", http.StatusUnauthorized)
		return
	}
	back := func(v url.Values) {
		if state := q.Get("state"); state != "" {
			v.Set("state", state)
		}
		to := q.Get("redirect_uri")
		if to == outOfBand {
			codePage.Execute(w, v.Get("code")) //nolint:errcheck // the browser may have gone
			return
		}
		sep := "?"
		if strings.Contains(to, "?") {
			sep = "&"
		}
		w.Header().Set("Location", to+sep+v.Encode())
		w.WriteHeader(http.StatusFound)
	}
	scopes := strings.Fields(q.Get("scope"))
	if len(scopes) == 0 {
		scopes = []string{"read"}
	}
	for _, scope := range scopes {
		if !covers(a.scopes, scope) {
			back(url.Values{"error": {"invalid_scope"}, "error_description": {"The requested scope is invalid, unknown, or malformed."}})
			return
		}
	}
	if q.Get("response_type") != "code" {
		back(url.Values{"error": {"unsupported_response_type"}})
		return
	}
	if m := q.Get("code_challenge_method"); q.Get("code_challenge") != "" && m != "S256" && !s.o.GoToSocial {
		back(url.Values{"error": {"invalid_code_challenge_method"}})
		return
	}
	if len(s.order) == 0 {
		http.Error(w, "nobody is here", http.StatusUnauthorized)
		return
	}
	who := s.accounts[s.order[0]]
	if c, err := r.Cookie("account"); err == nil && s.own(c.Value) != nil {
		who = s.own(c.Value)
	}
	if s.o.ConsentPage {
		if r.Method == http.MethodGet {
			consentPage.Execute(w, map[string]string{"App": a.name, "Who": who.Username, "Scopes": strings.Join(scopes, ", ")}) //nolint:errcheck // the browser may have gone
			return
		}
		if err := r.ParseForm(); err != nil || r.PostForm.Get("answer") != "approve" {
			back(url.Values{"error": {"access_denied"}, "error_description": {"The resource owner or authorization server denied the request."}})
			return
		}
	}
	scopes = slices.DeleteFunc(scopes, func(v string) bool { return slices.Contains(s.stage.withheld, v) })
	c := &code{app: a, account: who, redirect: q.Get("redirect_uri"), challenge: q.Get("code_challenge"), scopes: scopes, expires: s.now().Add(codeLife)}
	value := s.unique("code")
	s.codes[value] = c
	back(url.Values{"code": {value}})
}

func (s *Sim) tokenEndpoint(w http.ResponseWriter, r *http.Request) {
	if s.limited(w, r, "") {
		return
	}
	f, err := readForm(r)
	if err != nil {
		answer(w, http.StatusBadRequest, object{"error": "invalid_request"})
		return
	}
	client, secret := f.get("client_id"), f.get("client_secret")
	if u, p, ok := r.BasicAuth(); ok {
		client, secret = u, p
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	no := func(code int, name, text string) {
		answer(w, code, object{"error": name, "error_description": text})
	}
	const badGrant = "The provided authorization grant is invalid, expired, revoked, does not match the redirection URI used in the authorization request, or was issued to another client."
	a := s.apps[client]
	if a == nil || a.secret != secret {
		no(http.StatusUnauthorized, "invalid_client", "Client authentication failed due to unknown client, no client authentication included, or unsupported authentication method.")
		return
	}
	var t *token
	switch f.get("grant_type") {
	case "authorization_code":
		c := s.codes[f.get("code")]
		if c == nil || c.used || c.app != a || c.redirect != f.get("redirect_uri") || s.now().After(c.expires) || !s.verified(c, f.get("code_verifier")) {
			no(http.StatusBadRequest, "invalid_grant", badGrant)
			return
		}
		c.used = true
		t = s.issue(a, c.account, c.scopes)
	case "client_credentials":
		scopes := strings.Fields(f.get("scope"))
		if len(scopes) == 0 {
			scopes = []string{"read"}
		}
		t = s.issue(a, nil, scopes)
	case "refresh_token":
		old := s.renewals[f.get("refresh_token")]
		if old == nil || old.app != a || old.revoked {
			no(http.StatusBadRequest, "invalid_grant", badGrant)
			return
		}
		delete(s.renewals, old.renewal)
		t = s.issue(a, old.account, old.scopes)
	default:
		no(http.StatusBadRequest, "unsupported_grant_type", "The authorization grant type is not supported by the authorization server.")
		return
	}
	out := object{"access_token": t.value, "token_type": "Bearer", "scope": strings.Join(t.scopes, " "), "created_at": t.made.Unix()}
	if t.renewal != "" {
		out["refresh_token"], out["expires_in"] = t.renewal, int64(t.expires.Sub(t.made).Seconds())
	}
	answer(w, http.StatusOK, out)
}

// verified checks the verifier of a code (RFC 7636). A GoToSocial does not look.
func (s *Sim) verified(c *code, verifier string) bool {
	if c.challenge == "" || s.o.GoToSocial {
		return true
	}
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:]) == c.challenge
}

// issue makes a token, or gives the one that there is: an app gets one token for
// one person and the same scopes. The caller holds s.mu.
func (s *Sim) issue(a *app, who *account, scopes []string) *token {
	if s.o.TokenLife == 0 {
		for _, v := range sortedKeys(s.tokens) {
			if t := s.tokens[v]; t.app == a && t.account == who && !t.revoked && slices.Equal(t.scopes, scopes) {
				return t
			}
		}
	}
	t := &token{value: s.unique("token"), app: a, account: who, scopes: scopes, made: s.now()}
	if s.o.TokenLife > 0 && who != nil {
		t.expires, t.renewal = t.made.Add(s.o.TokenLife), s.unique("renewal")
		s.renewals[t.renewal] = t
	}
	s.tokens[t.value] = t
	return t
}

func (s *Sim) revoke(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r)
	if err != nil {
		answer(w, http.StatusBadRequest, object{"error": "invalid_request"})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.apps[f.get("client_id")]
	t := s.tokens[f.get("token")]
	if a == nil || a.secret != f.get("client_secret") || t != nil && t.app != a {
		answer(w, http.StatusForbidden, object{"error": "unauthorized_client", "error_description": "You are not authorized to revoke this token"})
		return
	}
	if t != nil {
		t.revoked = true
	}
	answer(w, http.StatusOK, object{})
}

// signed returns the token of a request that holds a scope ("" for any), or
// answers why not. It counts the call.
func (s *Sim) signed(w http.ResponseWriter, r *http.Request, scope string) *token {
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	s.mu.Lock()
	t := s.tokens[value]
	who, revoked, over := "", false, false
	if t != nil {
		revoked, over = t.revoked, !t.expires.IsZero() && !s.now().Before(t.expires)
		if t.account != nil {
			who = t.account.id
		}
	}
	s.mu.Unlock()
	if s.limited(w, r, who) {
		return nil
	}
	switch {
	case !strings.EqualFold(scheme, "Bearer") || t == nil:
		refuse(w, http.StatusUnauthorized, "The access token is invalid")
	case revoked:
		refuse(w, http.StatusUnauthorized, "The access token was revoked")
	case over:
		refuse(w, http.StatusUnauthorized, "The access token expired")
	case scope == "":
		return t
	case t.account == nil:
		refuse(w, http.StatusUnauthorized, "This method requires an authenticated user")
	case !covers(t.scopes, scope):
		refuse(w, http.StatusForbidden, "This action is outside the authorized scopes")
	default:
		return t
	}
	return nil
}
