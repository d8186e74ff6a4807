package blueskysim

import (
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Lives of what the authorisation server hands out (atproto OAuth profile and
// the reference oauth-provider, read 2026-08-20).
const (
	parLife          = 5 * time.Minute
	codeLife         = 5 * time.Minute
	oauthAccessLife  = time.Hour
	publicRefresh    = 14 * 24 * time.Hour
	confidentialLife = 90 * 24 * time.Hour
)

// oauthState is what the authorisation server remembers.
type oauthState struct {
	requests map[string]*authRequest // by request_uri
	codes    map[string]*authRequest // by code
	clients  map[string]clientMetadata
	proofs   map[string]bool // jti of proofs seen
	nonces   int             // grows when nonces are thrown away
}

// authRequest is one pushed request on its way to a code.
type authRequest struct {
	clientID, redirect, scope, state string
	challenge, hint, thumb           string
	expires                          time.Time
	did                              string // once approved
	used                             bool
	family                           string
}

// clientMetadata is what is known of a client.
type clientMetadata struct {
	ClientID     string   `json:"client_id"`
	RedirectURIs []string `json:"redirect_uris"`
	Scope        string   `json:"scope"`
	AuthMethod   string   `json:"token_endpoint_auth_method"`
	DPoPBound    bool     `json:"dpop_bound_access_tokens"`
	JWKS         struct {
		Keys []jwk `json:"keys"`
	} `json:"jwks"`
}

func newOAuthState() oauthState {
	return oauthState{
		requests: map[string]*authRequest{}, codes: map[string]*authRequest{},
		clients: map[string]clientMetadata{}, proofs: map[string]bool{},
	}
}

// RegisterClient tells the server a client metadata document, which a real one
// would fetch from the client's address.
func (s *Sim) RegisterClient(document []byte) error {
	var m clientMetadata
	if err := json.Unmarshal(document, &m); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oauth.clients[m.ClientID] = m
	return nil
}

// NewNonces makes every nonce handed out so far stale.
func (s *Sim) NewNonces() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.oauth.nonces++
}

func (s *Sim) oauthRoutes() {
	s.mux.HandleFunc("GET /.well-known/oauth-protected-resource", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, map[string]any{
			"resource": s.base(r), "authorization_servers": []string{s.base(r)},
			"scopes_supported": []string{}, "bearer_methods_supported": []string{"header"},
		})
	})
	s.mux.HandleFunc("GET /.well-known/oauth-authorization-server", s.authServerMetadata)
	s.mux.HandleFunc("POST /oauth/par", s.par)
	s.mux.HandleFunc("GET /oauth/authorize", s.authorizePage)
	s.mux.HandleFunc("POST /oauth/authorize", s.authorizeAnswer)
	s.mux.HandleFunc("POST /oauth/token", s.tokenEndpoint)
	s.mux.HandleFunc("POST /oauth/revoke", s.revoke)
}

func (s *Sim) authServerMetadata(w http.ResponseWriter, r *http.Request) {
	b := s.base(r)
	answer(w, http.StatusOK, map[string]any{
		"issuer":                                           b,
		"authorization_endpoint":                           b + "/oauth/authorize",
		"token_endpoint":                                   b + "/oauth/token",
		"revocation_endpoint":                              b + "/oauth/revoke",
		"pushed_authorization_request_endpoint":            b + "/oauth/par",
		"require_pushed_authorization_requests":            true,
		"response_types_supported":                         []string{"code"},
		"grant_types_supported":                            []string{"authorization_code", "refresh_token"},
		"code_challenge_methods_supported":                 []string{"S256"},
		"token_endpoint_auth_methods_supported":            []string{"none", "private_key_jwt"},
		"token_endpoint_auth_signing_alg_values_supported": []string{"ES256"},
		"scopes_supported":                                 []string{"atproto", "transition:generic", "transition:email", "transition:chat.bsky"},
		"dpop_signing_alg_values_supported":                []string{"ES256"},
		"authorization_response_iss_parameter_supported":   true,
		"client_id_metadata_document_supported":            true,
	})
}

// oauthError answers as the OAuth endpoints do.
func oauthError(w http.ResponseWriter, name, text string) {
	answer(w, http.StatusBadRequest, map[string]string{"error": name, "error_description": text})
}

// begin checks what every POST to the authorisation server must have: form,
// client, proof. It answers itself and returns false when something is wrong.
// The caller holds s.mu.
func (s *Sim) begin(w http.ResponseWriter, r *http.Request) (client clientMetadata, thumb string, ok bool) {
	if err := r.ParseForm(); err != nil {
		oauthError(w, "invalid_request", "the body is no form")
		return client, "", false
	}
	proof, problem := s.checkProof(r, s.base(r)+r.URL.Path, "", nonceAuth)
	w.Header().Set("DPoP-Nonce", s.nonce(nonceAuth))
	if problem != "" {
		text := "Invalid DPoP proof"
		if problem == useNonce {
			text = "Authorization server requires nonce in DPoP proof"
		}
		oauthError(w, problem, text)
		return client, "", false
	}
	client, problem = s.client(r)
	if problem != "" {
		oauthError(w, "invalid_client", problem)
		return client, "", false
	}
	return client, proof, true
}

// client finds the client of a request and checks who it says it is.
func (s *Sim) client(r *http.Request) (clientMetadata, string) {
	id := r.PostForm.Get("client_id")
	u, err := url.Parse(id)
	if err != nil || id == "" {
		return clientMetadata{}, "client_id is missing"
	}
	if u.Scheme == "http" && u.Host == "localhost" && (u.Path == "" || u.Path == "/") {
		q := u.Query()
		m := clientMetadata{ClientID: id, RedirectURIs: q["redirect_uri"], Scope: q.Get("scope"), AuthMethod: "none", DPoPBound: true}
		if len(m.RedirectURIs) == 0 {
			m.RedirectURIs = []string{"http://127.0.0.1/", "http://[::1]/"}
		}
		if m.Scope == "" {
			m.Scope = "atproto"
		}
		for _, raw := range m.RedirectURIs {
			if ru, err := url.Parse(raw); err != nil || ru.Hostname() != "127.0.0.1" && ru.Hostname() != "::1" {
				return m, "a loopback client must use a loopback address as redirect_uri"
			}
		}
		return m, ""
	}
	m, known := s.oauth.clients[id]
	if !known || !m.DPoPBound {
		return m, "Unable to obtain client metadata for " + id
	}
	if m.AuthMethod == "private_key_jwt" && !s.assertionGood(m, r) {
		return m, "client assertion is missing or wrong"
	}
	return m, ""
}

func (s *Sim) par(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	client, thumb, ok := s.begin(w, r)
	if !ok {
		return
	}
	f := r.PostForm
	switch {
	case f.Get("response_type") != "code":
		oauthError(w, "unsupported_response_type", "only code")
		return
	case f.Get("code_challenge_method") != "S256" || len(f.Get("code_challenge")) != 43:
		oauthError(w, "invalid_request", "code_challenge is required, method S256")
		return
	case !client.redirects(f.Get("redirect_uri")):
		oauthError(w, "invalid_request", "Invalid redirect_uri")
		return
	case f.Get("state") == "":
		oauthError(w, "invalid_request", "state is required")
		return
	}
	scopes := strings.Fields(f.Get("scope"))
	if !slices.Contains(scopes, "atproto") {
		oauthError(w, "invalid_scope", `The "atproto" scope is required`)
		return
	}
	for _, sc := range scopes {
		if !slices.Contains(strings.Fields(client.Scope), sc) {
			oauthError(w, "invalid_scope", `Scope "`+sc+`" is not declared in the client metadata`)
			return
		}
	}
	s.stage.pushed = Pushed{f.Get("state"), f.Get("code_challenge"), f.Get("code_challenge_method"), f.Get("redirect_uri")}
	uri := "urn:ietf:params:oauth:request_uri:req-" + s.unique("par")
	s.oauth.requests[uri] = &authRequest{
		clientID: client.ClientID, redirect: f.Get("redirect_uri"), scope: f.Get("scope"), state: f.Get("state"),
		challenge: f.Get("code_challenge"), hint: f.Get("login_hint"), thumb: thumb, expires: s.now().Add(parLife),
	}
	answer(w, http.StatusCreated, map[string]any{"request_uri": uri, "expires_in": int(parLife.Seconds())})
}

// redirects says whether a redirect address is registered. The port of a
// loopback address is free.
func (m clientMetadata) redirects(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(m.RedirectURIs, func(reg string) bool {
		if reg == raw {
			return true
		}
		ru, err := url.Parse(reg)
		loopback := err == nil && (ru.Hostname() == "127.0.0.1" || ru.Hostname() == "::1")
		return loopback && ru.Scheme == u.Scheme && ru.Hostname() == u.Hostname() && ru.Path == u.Path
	})
}

var consentPage = template.Must(template.New("consent").Parse(`<!doctype html>
<title>Sign in to the simulated Bluesky</title>
<h1>Simulated Bluesky</h1>
<p>{{.Client}} asks for: {{.Scope}}</p>
<form method="post" action="/oauth/authorize">
<input type="hidden" name="request_uri" value="{{.URI}}">
<p><label>Account <select name="did">{{range .Accounts}}<option value="{{.DID}}"{{if .Chosen}} selected{{end}}>{{.Handle}}</option>{{end}}</select></label></p>
<button name="answer" value="approve">Approve</button>
<button name="answer" value="deny">Deny</button>
</form>
`))

func (s *Sim) authorizePage(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	uri := r.URL.Query().Get("request_uri")
	req := s.oauth.requests[uri]
	if req == nil || req.used || !s.now().Before(req.expires) || req.clientID != r.URL.Query().Get("client_id") {
		http.Error(w, "This request is unknown or too old. Start again.", http.StatusBadRequest)
		return
	}
	chosen := s.find(req.hint)
	if chosen == nil && len(s.order) > 0 {
		chosen = s.accounts[s.order[0]]
	}
	if !s.o.ConsentPage {
		s.approve(w, r, uri, chosen, chosen != nil)
		return
	}
	type choice struct {
		DID, Handle string
		Chosen      bool
	}
	var list []choice
	for _, did := range s.order {
		a := s.accounts[did]
		list = append(list, choice{did, a.Handle, a == chosen})
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = consentPage.Execute(w, map[string]any{"Client": req.clientID, "Scope": req.scope, "URI": uri, "Accounts": list})
}

func (s *Sim) authorizeAnswer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	uri := r.PostFormValue("request_uri")
	req := s.oauth.requests[uri]
	if req == nil || req.used || !s.now().Before(req.expires) {
		http.Error(w, "This request is unknown or too old. Start again.", http.StatusBadRequest)
		return
	}
	s.approve(w, r, uri, s.accounts[r.PostFormValue("did")], r.PostFormValue("answer") == "approve")
}

// approve sends the browser back with a code, or with a refusal. The caller
// holds s.mu.
func (s *Sim) approve(w http.ResponseWriter, r *http.Request, uri string, a *account, yes bool) {
	req := s.oauth.requests[uri]
	req.used = true
	back, err := url.Parse(req.redirect)
	if err != nil {
		http.Error(w, "bad redirect_uri", http.StatusBadRequest)
		return
	}
	q := back.Query()
	q.Set("state", req.state)
	q.Set("iss", s.base(r))
	if !yes || a == nil {
		q.Set("error", "access_denied")
		q.Set("error_description", "The user rejected the request")
	} else {
		code := "cod-" + s.unique("code")
		granted := *req
		granted.scope = strings.Join(slices.DeleteFunc(strings.Fields(req.scope), func(sc string) bool { return slices.Contains(s.stage.withheld, sc) }), " ")
		granted.did, granted.used, granted.expires = a.DID, false, s.now().Add(codeLife)
		s.oauth.codes[code] = &granted
		q.Set("code", code)
	}
	back.RawQuery = q.Encode()
	http.Redirect(w, r, back.String(), http.StatusSeeOther)
}

func (s *Sim) tokenEndpoint(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	client, thumb, ok := s.begin(w, r)
	if !ok {
		return
	}
	switch r.PostForm.Get("grant_type") {
	case "authorization_code":
		s.redeem(w, r, client, thumb)
	case "refresh_token":
		s.rotate(w, r, client, thumb)
	default:
		oauthError(w, "unsupported_grant_type", "only authorization_code and refresh_token")
	}
}

func (s *Sim) redeem(w http.ResponseWriter, r *http.Request, client clientMetadata, thumb string) {
	f := r.PostForm
	req := s.oauth.codes[f.Get("code")]
	switch {
	case req == nil || req.clientID != client.ClientID || !s.now().Before(req.expires):
		oauthError(w, "invalid_grant", "Invalid code")
	case req.used:
		s.killFamily(req.family)
		oauthError(w, "invalid_grant", "Code replayed")
	case thumb != req.thumb:
		oauthError(w, "invalid_dpop_proof", "the proof is by another key than that of the pushed request")
	case f.Get("redirect_uri") != req.redirect:
		oauthError(w, "invalid_grant", "Invalid redirect_uri")
	case b64(digest(f.Get("code_verifier"))) != req.challenge:
		oauthError(w, "invalid_grant", "Invalid code_verifier")
	default:
		req.used, req.family = true, s.unique("family")
		s.grantTokens(w, &token{did: req.did, family: req.family, thumb: thumb, clientID: client.ClientID, scopes: strings.Fields(req.scope)}, client)
	}
}

// rotate gives new tokens for a refresh token, once: using one a second time
// ends the whole session (seen at the reference server on loopback, 2026-11-22).
func (s *Sim) rotate(w http.ResponseWriter, r *http.Request, client clientMetadata, thumb string) {
	t := s.tokens[r.PostForm.Get("refresh_token")]
	switch {
	case t == nil || t.kind != kindRefresh || t.clientID != client.ClientID || t.revoked || !s.now().Before(t.expires):
		oauthError(w, "invalid_grant", "Invalid refresh token")
	case !t.usedAt.IsZero():
		s.stage.reused++
		s.killFamily(t.family)
		oauthError(w, "invalid_grant", "Refresh token replayed")
	case t.thumb != thumb:
		oauthError(w, "invalid_dpop_proof", "the proof is by another key than that of the session")
	default:
		t.usedAt = s.now()
		for _, other := range s.tokens { // the old access token ends as well
			if other.family == t.family && other.kind == kindAccess {
				other.revoked = true
			}
		}
		s.grantTokens(w, &token{did: t.did, family: t.family, thumb: thumb, clientID: t.clientID, scopes: t.scopes}, client)
	}
}

// grantTokens answers with a pair of tokens like t. The caller holds s.mu.
func (s *Sim) grantTokens(w http.ResponseWriter, t *token, client clientMetadata) {
	life, long := s.o.AccessLife, publicRefresh
	if life == 0 {
		life = oauthAccessLife
	}
	if client.AuthMethod == "private_key_jwt" {
		long = confidentialLife
	}
	access, refresh := *t, *t
	access.kind, access.expires = kindAccess, s.now().Add(life)
	refresh.kind, refresh.expires = kindRefresh, s.now().Add(long)
	at := s.jwt(map[string]any{"sub": t.did, "exp": access.expires.Unix()})
	rt := "ref-" + s.unique("refresh")
	s.tokens[at], s.tokens[rt] = &access, &refresh
	w.Header().Set("Cache-Control", "no-store")
	answer(w, http.StatusOK, map[string]any{
		"access_token": at, "token_type": "DPoP", "refresh_token": rt, "scope": strings.Join(t.scopes, " "),
		"expires_in": int(life.Seconds()), "sub": t.did,
	})
}

func (s *Sim) revoke(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	client, _, ok := s.begin(w, r)
	if !ok {
		return
	}
	if t := s.tokens[r.PostForm.Get("token")]; t != nil && t.clientID == client.ClientID {
		s.killFamily(t.family)
	}
	answer(w, http.StatusOK, map[string]any{})
}
