package youtubesim

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// token is an access or a refresh token.
type token struct {
	channel string
	refresh bool
	scopes  []string
	expires time.Time // zero: never
	revoked bool
	serial  int
}

type code struct {
	channel, redirect, challenge string
	scopes                       []string
	expires                      time.Time
	offline                      bool
}

// Asked is the last request at the consent page.
type Asked struct{ State, Challenge, Method, RedirectURI, Scope, AccessType, Prompt string }

// LastAsked returns what was asked at the consent page last.
func (s *Sim) LastAsked() Asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *Sim) oauthRoutes() {
	s.mux.HandleFunc("GET /o/oauth2/v2/auth", s.consent)
	s.mux.HandleFunc("POST /token", s.token)
	s.mux.HandleFunc("POST /revoke", s.revoke)
}

// mostTokens is how many refresh tokens a person may have for one client; the
// oldest ends in silence.
const mostTokens = 100

// consent agrees at once, to all but the withheld scopes, for the channel of
// login_hint or the first one.
func (s *Sim) consent(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = Asked{q.Get("state"), q.Get("code_challenge"), q.Get("code_challenge_method"), q.Get("redirect_uri"), q.Get("scope"), q.Get("access_type"), q.Get("prompt")}
	back, err := url.Parse(q.Get("redirect_uri"))
	switch {
	case q.Get("client_id") != ClientID, err != nil || back.Host == "", q.Get("response_type") != "code", q.Get("scope") == "", len(s.order) == 0:
		http.Error(w, "Error 400: invalid_request", http.StatusBadRequest)
		return
	case q.Get("code_challenge") != "" && q.Get("code_challenge_method") != "S256":
		http.Error(w, "Error 400: invalid_request: code_challenge_method", http.StatusBadRequest)
		return
	}
	who := s.order[0]
	for id, c := range s.channels {
		if h := q.Get("login_hint"); h != "" && (h == id || h == c.handle) {
			who = id
		}
	}
	var scopes []string
	for scope := range strings.FieldsSeq(q.Get("scope")) {
		if !slices.Contains(s.stage.withheld, scope) {
			scopes = append(scopes, scope)
		}
	}
	c := "4/0" + s.unique("code")
	s.codes[c] = &code{
		channel: who, redirect: q.Get("redirect_uri"), challenge: q.Get("code_challenge"), scopes: scopes,
		expires: s.now().Add(10 * time.Minute), offline: q.Get("access_type") == "offline" && q.Get("prompt") == "consent",
	}
	v := back.Query()
	v.Set("code", c)
	v.Set("state", q.Get("state"))
	v.Set("scope", strings.Join(scopes, " "))
	back.RawQuery = v.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

func oauthError(w http.ResponseWriter, status int, word, text string) {
	answer(w, status, map[string]string{"error": word, "error_description": text})
}

func (s *Sim) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		oauthError(w, http.StatusBadRequest, "invalid_request", "Bad Request")
		return
	}
	f := r.PostForm
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Get("client_id") != ClientID || f.Get("client_secret") != ClientSecret {
		oauthError(w, http.StatusUnauthorized, "invalid_client", "Unauthorized")
		return
	}
	switch f.Get("grant_type") {
	case "authorization_code":
		c := s.codes[f.Get("code")]
		delete(s.codes, f.Get("code"))
		sum := sha256.Sum256([]byte(f.Get("code_verifier")))
		switch {
		case c == nil || s.now().After(c.expires):
			oauthError(w, http.StatusBadRequest, "invalid_grant", "Malformed auth code.")
		case c.redirect != f.Get("redirect_uri"):
			oauthError(w, http.StatusBadRequest, "redirect_uri_mismatch", "Bad Request")
		case c.challenge != "" && c.challenge != base64.RawURLEncoding.EncodeToString(sum[:]):
			oauthError(w, http.StatusBadRequest, "invalid_grant", "Invalid code verifier.")
		default:
			out := s.issue(c.channel, c.scopes)
			if c.offline {
				out["refresh_token"] = s.refreshToken(c.channel, c.scopes)
				if s.o.Testing {
					out["refresh_token_expires_in"] = int(testingLife / time.Second)
				}
			}
			answer(w, http.StatusOK, out)
		}
	case "refresh_token":
		t := s.tokens[f.Get("refresh_token")]
		if t == nil || !t.refresh || t.revoked || !t.expires.IsZero() && !s.now().Before(t.expires) {
			oauthError(w, http.StatusBadRequest, "invalid_grant", "Token has been expired or revoked.")
			return
		}
		answer(w, http.StatusOK, s.issue(t.channel, t.scopes))
	default:
		oauthError(w, http.StatusBadRequest, "unsupported_grant_type", "Invalid grant_type: "+f.Get("grant_type"))
	}
}

const testingLife = 7 * 24 * time.Hour

// issue makes an access token. The caller holds s.mu.
func (s *Sim) issue(channel string, scopes []string) map[string]any {
	v := "ya29." + s.unique("access")
	s.tokens[v] = &token{channel: channel, scopes: scopes, expires: s.now().Add(s.o.AccessLife), serial: s.serial}
	return map[string]any{"access_token": v, "expires_in": int(s.o.AccessLife / time.Second), "scope": strings.Join(scopes, " "), "token_type": "Bearer"}
}

// refreshToken makes a refresh token and ends the oldest of too many. The caller
// holds s.mu.
func (s *Sim) refreshToken(channel string, scopes []string) string {
	v := "1//0" + s.unique("refresh")
	t := &token{channel: channel, refresh: true, scopes: scopes, serial: s.serial}
	if s.o.Testing {
		t.expires = s.now().Add(testingLife)
	}
	s.tokens[v] = t
	var live []*token
	for _, o := range s.tokens {
		if o.refresh && o.channel == channel && !o.revoked {
			live = append(live, o)
		}
	}
	if len(live) > mostTokens {
		slices.SortFunc(live, func(a, b *token) int { return a.serial - b.serial })
		live[0].revoked = true
	}
	return v
}

func (s *Sim) revoke(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		oauthError(w, http.StatusBadRequest, "invalid_request", "Bad Request")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[r.Form.Get("token")]
	if t == nil || t.revoked {
		oauthError(w, http.StatusBadRequest, "invalid_token", "Token expired or revoked")
		return
	}
	s.end(t.channel)
	answer(w, http.StatusOK, map[string]any{})
}

// end revokes all tokens of a person. The caller holds s.mu.
func (s *Sim) end(channel string) {
	for _, t := range s.tokens {
		if t.channel == channel {
			t.revoked = true
		}
	}
}

// Revoke is the person who takes the access away at myaccount.google.com.
func (s *Sim) Revoke(channel string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(channel)
}

// ExpireAccess lets the access tokens of a channel end now.
func (s *Sim) ExpireAccess(channel string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tokens {
		if t.channel == channel && !t.refresh {
			t.expires = s.now().Add(-time.Second)
		}
	}
}

// Who returns the channel whose token a request carries, "" if none.
func (s *Sim) Who(r *http.Request) string {
	_, v, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if v == "" && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		if body, err := io.ReadAll(r.Body); err == nil {
			r.Body = io.NopCloser(bytes.NewReader(body))
			if form, err := url.ParseQuery(string(body)); err == nil {
				v = form.Get("refresh_token")
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tokens[v]; t != nil {
		return t.channel
	}
	return ""
}

const scopePrefix = "https://www.googleapis.com/auth/"

// authorise finds the channel of a request; one of the scopes must have been
// granted. The caller holds s.mu.
func (s *Sim) authorise(r *http.Request, scopes ...string) (*channel, error) {
	s.settle()
	v, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	t := s.tokens[v]
	if t == nil || t.refresh || t.revoked || !s.now().Before(t.expires) {
		e := refuse(http.StatusUnauthorized, "global", "authError", "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.")
		return nil, e
	}
	for _, scope := range scopes {
		if slices.Contains(t.scopes, scopePrefix+scope) {
			return s.channels[t.channel], nil
		}
	}
	return nil, refuse(http.StatusForbidden, "global", "insufficientPermissions", "Request had insufficient authentication scopes.")
}
