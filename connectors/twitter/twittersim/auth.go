package twittersim

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // OAuth 1.0a asks for it
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// token is an OAuth 2 token in somebody's hands.
type token struct {
	account string
	refresh bool
	family  string // of one login
	scopes  []string
	expires time.Time // of access tokens
	used    bool      // of refresh tokens
	revoked bool
}

// code is an answer on its way from the browser.
type code struct {
	account, challenge, method, redirect string
	scopes                               []string
	expires                              time.Time
	used                                 bool
}

// keyToken is an OAuth 1.0a token with its secret.
type keyToken struct {
	account, secret string
	revoked         bool
}

// codeLife is how long a code lives.
const codeLife = 30 * time.Second

// Asked is what the browser was sent to the network with last.
type Asked struct{ State, Challenge, Method, RedirectURI string }

func (s *Sim) authRoutes() {
	s.mux.HandleFunc("GET /i/oauth2/authorize", s.authorizePage)
	s.mux.HandleFunc("POST /i/oauth2/authorize", s.authorizePage)
	s.mux.HandleFunc("POST /2/oauth2/token", s.tokenEndpoint)
	s.mux.HandleFunc("POST /2/oauth2/revoke", s.revokeEndpoint)
}

var consentPage = template.Must(template.New("").Parse(`<!DOCTYPE html><html><head><title>Sign in</title></head><body>
<h1>An app wants to post for you</h1><form method="post"><label>Account <select name="account">{{range .}}<option>{{.}}</option>{{end}}</select></label>
<button name="answer" value="yes">Approve</button><button name="answer" value="no">Deny</button></form></body></html>`))

// authorizePage is where people say yes.
func (s *Sim) authorizePage(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	back, err := url.Parse(q.Get("redirect_uri"))
	switch {
	case err != nil || back.Host == "" || q.Get("client_id") != s.app.ClientID || q.Get("response_type") != "code" || len(s.order) == 0:
		http.Error(w, "Something went wrong. You weren't able to give access to the App.", http.StatusBadRequest)
		return
	case q.Get("code_challenge") == "" || q.Get("code_challenge_method") == "" || q.Get("state") == "" || len(q.Get("state")) > 500:
		http.Error(w, "Something went wrong. You weren't able to give access to the App.", http.StatusBadRequest)
		return
	}
	account := s.order[0]
	if s.stage.signedIn != "" {
		account = s.stage.signedIn
	}
	yes := true
	if s.o.ConsentPage {
		if r.Method == http.MethodGet {
			var names []string
			for _, id := range s.order {
				names = append(names, s.accounts[id].Username)
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_ = consentPage.Execute(w, names) // the client may have gone
			return
		}
		yes = r.FormValue("answer") == "yes"
		for _, id := range s.order {
			if s.accounts[id].Username == r.FormValue("account") {
				account = id
			}
		}
	}
	s.stage.asked = Asked{q.Get("state"), q.Get("code_challenge"), q.Get("code_challenge_method"), q.Get("redirect_uri")}
	out := back.Query()
	out.Set("state", q.Get("state"))
	if yes {
		var scopes []string
		for sc := range strings.FieldsSeq(q.Get("scope")) {
			if !slices.Contains(s.stage.withheld, sc) {
				scopes = append(scopes, sc)
			}
		}
		value := s.unique("code")
		s.codes[value] = &code{account: account, challenge: q.Get("code_challenge"), method: q.Get("code_challenge_method"), redirect: q.Get("redirect_uri"), scopes: scopes, expires: s.now().Add(codeLife)}
		out.Set("code", value)
	} else {
		out.Set("error", "access_denied")
	}
	back.RawQuery = out.Encode()
	w.Header().Set("Location", back.String())
	w.WriteHeader(http.StatusFound)
}

func oauthError(status int, word, text string) *refusal {
	return &refusal{status: status, body: map[string]any{"error": word, "error_description": text}}
}

// readForm reads the form of a request. JSON is taken as well: clients send it
// (twitter-api-v2 1.29.1).
func readForm(r *http.Request) {
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		_ = r.ParseForm() // what cannot be read is not there
		return
	}
	var in map[string]string
	_ = json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&in) // as above
	r.PostForm = url.Values{}
	for name, v := range in {
		r.PostForm.Set(name, v)
	}
}

// client checks who the app is. The caller holds s.mu.
func (s *Sim) client(r *http.Request) error {
	id, secret, basic := r.BasicAuth()
	switch {
	case s.app.ClientSecret == "" && r.PostForm.Get("client_id") == s.app.ClientID:
		return nil
	case s.app.ClientSecret != "" && basic && id == s.app.ClientID && subtle.ConstantTimeCompare([]byte(secret), []byte(s.app.ClientSecret)) == 1:
		return nil
	}
	return oauthError(http.StatusUnauthorized, "unauthorized_client", "Missing valid authorization header")
}

func badToken() *refusal {
	return oauthError(http.StatusBadRequest, "invalid_request", "Value passed for the token was invalid.")
}

func (s *Sim) tokenEndpoint(w http.ResponseWriter, r *http.Request) {
	readForm(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.client(r); err != nil {
		send(w, nil, err)
		return
	}
	f := r.PostForm
	switch f.Get("grant_type") {
	case "authorization_code":
		c := s.codes[f.Get("code")]
		sum := sha256.Sum256([]byte(f.Get("code_verifier")))
		proof := f.Get("code_verifier")
		if c != nil && strings.EqualFold(c.method, "S256") {
			proof = base64.RawURLEncoding.EncodeToString(sum[:])
		}
		switch {
		case c == nil || c.used || !s.now().Before(c.expires):
			send(w, nil, oauthError(http.StatusBadRequest, "invalid_request", "Value passed for the authorization code was invalid."))
		case c.redirect != f.Get("redirect_uri"):
			send(w, nil, oauthError(http.StatusBadRequest, "invalid_request", "Value passed for the redirect uri did not match the uri of the authorization code."))
		case c.challenge != proof:
			send(w, nil, oauthError(http.StatusBadRequest, "invalid_request", "Value passed for the code verifier did not match the code challenge."))
		default:
			c.used = true
			send(w, s.issue(c.account, s.unique("family"), c.scopes), nil)
		}
	case "refresh_token":
		t := s.tokens[f.Get("refresh_token")]
		switch {
		case t == nil || !t.refresh || t.revoked:
			send(w, nil, badToken())
		case t.used:
			s.stage.reused++
			send(w, nil, badToken())
		default:
			t.used = true
			send(w, s.issue(t.account, t.family, t.scopes), nil)
		}
	default:
		send(w, nil, oauthError(http.StatusBadRequest, "unsupported_grant_type", "grant_type"))
	}
}

// issue makes an access token, and a refresh token where that was agreed to.
// The caller holds s.mu.
func (s *Sim) issue(account, family string, scopes []string) map[string]any {
	access := s.unique("access")
	s.tokens[access] = &token{account: account, family: family, scopes: scopes, expires: s.now().Add(s.o.AccessLife)}
	out := map[string]any{"token_type": "bearer", "expires_in": int(s.o.AccessLife / time.Second), "access_token": access, "scope": strings.Join(scopes, " ")}
	if slices.Contains(scopes, "offline.access") {
		refresh := s.unique("refresh")
		s.tokens[refresh] = &token{account: account, refresh: true, family: family, scopes: scopes}
		out["refresh_token"] = refresh
	}
	return out
}

func (s *Sim) revokeEndpoint(w http.ResponseWriter, r *http.Request) {
	readForm(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.client(r); err != nil {
		send(w, nil, err)
		return
	}
	if t := s.tokens[r.PostForm.Get("token")]; t != nil {
		t.revoked = true
	}
	send(w, map[string]any{"revoked": true}, nil)
}

func unauthorized() *refusal { return problem(http.StatusUnauthorized, "Unauthorized") }

// authorise says whose request it is, and whether it may do what needs these
// scopes. The caller holds s.mu.
func (s *Sim) authorise(r *http.Request, scopes ...string) (*Account, error) {
	kind, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch kind {
	case "Bearer":
		t := s.tokens[value]
		if t == nil || t.refresh || t.revoked || !s.now().Before(t.expires) {
			return nil, unauthorized()
		}
		for _, sc := range scopes {
			if !slices.Contains(t.scopes, sc) {
				return nil, typed(http.StatusForbidden, "client-forbidden", "Forbidden", "Your client app is not configured with the appropriate oauth1 app permissions or the required scopes for this endpoint: "+sc)
			}
		}
		return s.accounts[t.account], nil
	case "OAuth":
		k, err := s.verify(r, value)
		if err != nil {
			return nil, err
		}
		return s.accounts[k.account], nil
	}
	return nil, unauthorized()
}

// verify checks an OAuth 1.0a signature (RFC 5849). The caller holds s.mu.
func (s *Sim) verify(r *http.Request, header string) (*keyToken, error) {
	bad := coded(http.StatusUnauthorized, 32, "Could not authenticate you.")
	p := map[string]string{}
	for part := range strings.SplitSeq(header, ",") {
		name, v, ok := strings.Cut(strings.TrimSpace(part), "=")
		if v, err := url.PathUnescape(strings.Trim(v, `"`)); ok && err == nil {
			p[name] = v
		}
	}
	k := s.keys[p["oauth_token"]]
	switch {
	case k == nil || k.revoked:
		return nil, coded(http.StatusUnauthorized, 89, "Invalid or expired token.")
	case p["oauth_consumer_key"] != s.app.ConsumerKey || p["oauth_signature_method"] != "HMAC-SHA1" || p["oauth_version"] != "1.0":
		return nil, bad
	}
	at, err := strconv.ParseInt(p["oauth_timestamp"], 10, 64)
	if d := time.Since(time.Unix(at, 0)); err != nil || d > 5*time.Minute || d < -5*time.Minute {
		return nil, coded(http.StatusUnauthorized, 135, "Timestamp out of bounds.")
	}
	var pairs []string
	pair := func(name, v string) { pairs = append(pairs, percent(name)+"="+percent(v)) }
	for name, v := range p {
		if name != "oauth_signature" && name != "realm" {
			pair(name, v)
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, bad
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	form := url.Values{}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		if form, err = url.ParseQuery(string(body)); err != nil {
			return nil, bad
		}
	}
	for _, values := range []url.Values{r.URL.Query(), form} {
		for name, vs := range values {
			for _, v := range vs {
				pair(name, v)
			}
		}
	}
	slices.Sort(pairs)
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	base := r.Method + "&" + percent(scheme+"://"+strings.ToLower(r.Host)+r.URL.EscapedPath()) + "&" + percent(strings.Join(pairs, "&"))
	mac := hmac.New(sha1.New, []byte(percent(s.app.ConsumerSecret)+"&"+percent(k.secret)))
	mac.Write([]byte(base))
	if !hmac.Equal([]byte(base64.StdEncoding.EncodeToString(mac.Sum(nil))), []byte(p["oauth_signature"])) || s.nonces[p["oauth_nonce"]] {
		return nil, bad
	}
	s.nonces[p["oauth_nonce"]] = true
	return k, nil
}

// percent escapes as RFC 5849, 3.6, asks.
func percent(v string) string {
	return strings.ReplaceAll(url.QueryEscape(v), "+", "%20")
}

// AddKeys makes an OAuth 1.0a token of an account and its secret.
func (s *Sim) AddKeys(account string) (tokenValue, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tokenValue, secret = account+"-"+s.unique("key"), s.unique("secret")
	s.keys[tokenValue] = &keyToken{account: account, secret: secret}
	return tokenValue, secret
}
