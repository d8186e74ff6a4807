package linkedinsim

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

type code struct {
	member, app, redirect string
	scopes                []string
	expires               time.Time
	used                  bool
}

type token struct {
	member, app string
	scopes      []string
	refresh     bool
	issued      time.Time
	expires     time.Time
	revoked     bool
	login       string // the consent it came from
}

// codeLife is how long a code is good, refreshLife a refresh token, from the
// first consent on.
const (
	codeLife    = 30 * time.Minute
	refreshLife = 365 * 24 * time.Hour
)

func (s *Sim) login(w http.ResponseWriter, r *http.Request) {
	switch strings.TrimPrefix(r.URL.Path, "/oauth/v2/") {
	case "authorization":
		s.authorize(w, r)
	case "accessToken":
		s.accessToken(w, r)
	case "introspectToken":
		s.introspect(w, r)
	case "revoke":
		s.revoke(w, r)
	default:
		http.NotFound(w, r)
	}
}

// authorize is the login page: whoever is at the browser (see AtBrowser) agrees
// to everything but what is withheld.
func (s *Sim) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	app, ok := s.apps[q.Get("client_id")]
	if !ok || !slices.Contains(app.Redirects, q.Get("redirect_uri")) {
		http.Error(w, "The redirect_uri does not match the registered value", http.StatusBadRequest)
		return
	}
	s.stage.asked = Asked{State: q.Get("state"), RedirectURI: q.Get("redirect_uri"), Challenge: q.Get("code_challenge"), Method: q.Get("code_challenge_method"), Scope: q.Get("scope")}
	back := url.Values{"state": {q.Get("state")}}
	scopes := strings.Fields(q.Get("scope"))
	wrong := slices.ContainsFunc(scopes, func(sc string) bool { return !slices.Contains(app.Scopes, sc) })
	who := s.stage.browser
	if who == "" && len(s.members) > 0 {
		who = s.members[0].ID
	}
	switch {
	case q.Get("response_type") != "code":
		back.Set("error", "unsupported_response_type")
	case wrong || len(scopes) == 0:
		back.Set("error", "unauthorized_scope_error")
		back.Set("error_description", "Scope is not authorized for your application")
	case s.stage.refuses:
		back.Set("error", "user_cancelled_authorize")
	default:
		id := s.secret("code")
		s.codes[id] = &code{
			member: who, app: app.ID, redirect: q.Get("redirect_uri"), expires: s.now().Add(codeLife),
			scopes: slices.DeleteFunc(scopes, func(sc string) bool { return slices.Contains(s.stage.withheld, sc) }),
		}
		back.Set("code", id)
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

// secret is a value that nobody can guess, as long as the network's are.
func (s *Sim) secret(kind string) string {
	s.serial++
	sum := sha256.Sum256([]byte(fmt.Sprint(kind, s.serial, s.o.Seed)))
	return "AQ" + strings.Repeat(base64.RawURLEncoding.EncodeToString(sum[:]), 4)
}

// form reads a form of the app, or answers.
func (s *Sim) form(w http.ResponseWriter, r *http.Request) (url.Values, bool) {
	f, err := url.ParseQuery(string(body(r)))
	app, ok := s.apps[f.Get("client_id")]
	switch {
	case r.Method != http.MethodPost || err != nil || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded":
		oauthError(w, http.StatusBadRequest, "invalid_request", "a form is needed")
	case !ok || app.Secret != f.Get("client_secret"):
		oauthError(w, http.StatusUnauthorized, "invalid_client", "Client authentication failed")
	default:
		return f, true
	}
	return nil, false
}

func oauthError(w http.ResponseWriter, status int, name, text string) {
	answer(w, status, map[string]string{"error": name, "error_description": text})
}

func (s *Sim) accessToken(w http.ResponseWriter, r *http.Request) {
	f, ok := s.form(w, r)
	if !ok {
		return
	}
	switch f.Get("grant_type") {
	case "authorization_code":
		c := s.codes[f.Get("code")]
		if c == nil || c.used || c.app != f.Get("client_id") || c.redirect != f.Get("redirect_uri") || !s.now().Before(c.expires) {
			oauthError(w, http.StatusBadRequest, "invalid_grant", "Unable to retrieve access token: appid/redirect uri/code verifier does not match authorization code. Or authorization code expired.")
			return
		}
		c.used = true
		// A consent to other rights ends the tokens of this member and app.
		for _, t := range s.tokens {
			if t.member == c.member && t.app == c.app && !slices.Equal(t.scopes, c.scopes) {
				t.revoked = true
			}
		}
		login := s.secret("login")
		out := s.issue(&token{member: c.member, app: c.app, scopes: c.scopes, login: login})
		if !s.o.NoRefresh {
			refresh := s.secret("refresh")
			s.tokens[refresh] = &token{member: c.member, app: c.app, scopes: c.scopes, refresh: true, issued: s.now(), expires: s.now().Add(refreshLife), login: login}
			out["refresh_token"], out["refresh_token_expires_in"] = refresh, int(refreshLife.Seconds())
		}
		answer(w, http.StatusOK, out)
	case "refresh_token":
		old := s.tokens[f.Get("refresh_token")]
		if old == nil || !old.refresh || old.revoked || old.app != f.Get("client_id") || !s.now().Before(old.expires) {
			oauthError(w, http.StatusBadRequest, "invalid_grant", "The provided authorization grant or refresh token is invalid, expired or revoked")
			return
		}
		out := s.issue(&token{member: old.member, app: old.app, scopes: old.scopes, login: old.login})
		out["refresh_token"] = f.Get("refresh_token")
		out["refresh_token_expires_in"] = int(old.expires.Sub(s.now()).Seconds()) // goes on running out
		answer(w, http.StatusOK, out)
	default:
		oauthError(w, http.StatusBadRequest, "unsupported_grant_type", "only authorization_code and refresh_token")
	}
}

func (s *Sim) issue(t *token) map[string]any {
	access := s.secret("access")
	t.issued, t.expires = s.now(), s.now().Add(s.o.AccessLife)
	s.tokens[access] = t
	return map[string]any{"access_token": access, "expires_in": int(s.o.AccessLife.Seconds()), "scope": strings.Join(t.scopes, ","), "token_type": "Bearer"}
}

func (s *Sim) introspect(w http.ResponseWriter, r *http.Request) {
	f, ok := s.form(w, r)
	if !ok {
		return
	}
	t := s.tokens[f.Get("token")]
	if t == nil {
		answer(w, http.StatusOK, map[string]any{"active": false})
		return
	}
	status := "active"
	switch {
	case t.revoked:
		status = "revoked"
	case !s.now().Before(t.expires):
		status = "expired"
	}
	answer(w, http.StatusOK, map[string]any{
		"active": status == "active", "status": status, "scope": strings.Join(t.scopes, ","), "client_id": t.app, "auth_type": "3L",
		"created_at": t.issued.Unix(), "authorized_at": t.issued.Unix(), "expires_at": t.expires.Unix(),
	})
}

// revoke ends the whole login of a token.
func (s *Sim) revoke(w http.ResponseWriter, r *http.Request) {
	f, ok := s.form(w, r)
	if !ok {
		return
	}
	if t := s.tokens[f.Get("token")]; t != nil {
		s.end(func(o *token) bool { return o.login == t.login })
	}
	w.WriteHeader(http.StatusOK)
}

func (s *Sim) end(which func(*token) bool) {
	for _, t := range s.tokens {
		if which(t) {
			t.revoked = true
		}
	}
}

// bearer returns the token of a request, or answers.
func (s *Sim) bearer(w http.ResponseWriter, r *http.Request) *token {
	scheme, v, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	t := s.tokens[v]
	switch {
	case v == "" || scheme != "Bearer":
		refuse(w, http.StatusUnauthorized, "EMPTY_ACCESS_TOKEN", "Empty oauth2 access token", "")
	case t == nil || t.refresh:
		refuse(w, http.StatusUnauthorized, "INVALID_ACCESS_TOKEN", "Invalid access token", "")
	case t.revoked:
		refuse(w, http.StatusUnauthorized, "REVOKED_ACCESS_TOKEN", "The token used in the request has been revoked by the user", "")
	case !s.now().Before(t.expires):
		refuse(w, http.StatusUnauthorized, "EXPIRED_ACCESS_TOKEN", "The token used in the request has expired", "")
	default:
		return t
	}
	return nil
}
