package blueskysim

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// The kinds of token.
const (
	kindAccess  = "access"
	kindRefresh = "refresh"
	kindService = "service" // for the video service
)

// Lives of session tokens and the time in which a used refresh token still
// gives its successor (com.atproto.server.refreshSession in the reference
// server, read 2026-08-20).
const (
	sessionAccessLife  = 2 * time.Hour
	sessionRefreshLife = 90 * 24 * time.Hour
	refreshGrace       = 2 * time.Hour
)

// token is a credential in somebody's hands.
type token struct {
	did     string
	kind    string
	family  string // tokens that die together
	expires time.Time
	revoked bool
	// of refresh tokens
	usedAt    time.Time
	successor [2]string // access, refresh
	// of OAuth tokens
	thumb    string // DPoP key
	clientID string
	scopes   []string
	// of service tokens
	lxm string
}

func (s *Sim) sessionRoutes() {
	s.mux.HandleFunc("POST /xrpc/com.atproto.server.createSession", s.createSession)
	s.mux.HandleFunc("POST /xrpc/com.atproto.server.refreshSession", s.refreshSession)
	s.mux.HandleFunc("POST /xrpc/com.atproto.server.deleteSession", s.deleteSession)
	s.mux.HandleFunc("GET /xrpc/com.atproto.server.getSession", s.getSession)
	s.mux.HandleFunc("GET /xrpc/com.atproto.server.getServiceAuth", s.getServiceAuth)
}

// RevokeTokens ends every session of an account, as changing its password or
// removing the app password does.
func (s *Sim) RevokeTokens(did string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tokens {
		if t.did == did {
			t.revoked = true
		}
	}
}

// ExpireAccess lets the access tokens of an account end now.
func (s *Sim) ExpireAccess(did string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tokens {
		if t.did == did && t.kind == kindAccess {
			t.expires = s.now().Add(-time.Second)
		}
	}
}

func (s *Sim) createSession(w http.ResponseWriter, r *http.Request) {
	var in struct{ Identifier, Password string }
	if err := read(r, &in); err != nil {
		send(w, nil, err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(in.Identifier)
	if a != nil {
		cut := s.now().Add(-5 * time.Minute)
		recent := a.logins[:0]
		for _, at := range a.logins {
			if at.After(cut) {
				recent = append(recent, at)
			}
		}
		a.logins = append(recent, s.now())
		if len(a.logins) > 30 {
			s.rateHeaders(w, 30, 0, s.now().Add(5*time.Minute), 5*time.Minute)
			refuse(w, http.StatusTooManyRequests, "RateLimitExceeded", "Rate Limit Exceeded")
			return
		}
	}
	if a == nil || in.Password == "" || in.Password != a.Password && in.Password != a.AppPassword {
		refuse(w, http.StatusUnauthorized, "AuthenticationRequired", "Invalid identifier or password")
		return
	}
	if a.status == "takendown" {
		refuse(w, http.StatusUnauthorized, "AccountTakedown", "Account has been taken down")
		return
	}
	access, refresh := s.issueSession(a.DID, s.unique("family"))
	answer(w, http.StatusOK, s.sessionAnswer(r, a, access, refresh))
}

func (s *Sim) refreshSession(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		send(w, nil, invalid("A request body was provided when none was expected"))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.bearer(r, kindRefresh)
	if err != nil {
		send(w, nil, err)
		return
	}
	a := s.accounts[t.did]
	if a.status == "takendown" {
		refuse(w, http.StatusUnauthorized, "AccountTakedown", "Account has been taken down")
		return
	}
	now := s.now()
	switch {
	case t.usedAt.IsZero():
		t.usedAt = now
		t.successor[0], t.successor[1] = s.issueSession(a.DID, t.family)
	case now.Sub(t.usedAt) > refreshGrace:
		refuse(w, http.StatusBadRequest, "ExpiredToken", "Token has been revoked")
		return
	}
	answer(w, http.StatusOK, s.sessionAnswer(r, a, t.successor[0], t.successor[1]))
}

func (s *Sim) deleteSession(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		send(w, nil, invalid("A request body was provided when none was expected"))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.bearer(r, kindRefresh)
	if err != nil {
		send(w, nil, err)
		return
	}
	t.revoked = true
	for _, other := range s.tokens { // stricter than the reference server, whose access tokens live on
		if other.family == t.family && other.kind == kindAccess {
			other.revoked = true
		}
	}
	w.WriteHeader(http.StatusOK)
}

func (s *Sim) getSession(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, _, err := s.authorise(w, r)
	if err != nil {
		send(w, nil, err)
		return
	}
	answer(w, http.StatusOK, s.sessionAnswer(r, a, "", ""))
}

func (s *Sim) getServiceAuth(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, _, err := s.authorise(w, r)
	if err != nil {
		send(w, nil, err)
		return
	}
	q := r.URL.Query()
	if q.Get("aud") == "" {
		send(w, nil, invalid("Error: Params must have the property \"aud\""))
		return
	}
	v := s.jwt(map[string]any{"iss": a.DID, "aud": q.Get("aud"), "lxm": q.Get("lxm"), "exp": s.now().Add(time.Minute * 30).Unix()})
	s.tokens[v] = &token{did: a.DID, kind: kindService, lxm: q.Get("lxm"), expires: s.now().Add(30 * time.Minute)}
	answer(w, http.StatusOK, map[string]string{"token": v})
}

// issueSession makes a pair of tokens. The caller holds s.mu.
func (s *Sim) issueSession(did, family string) (access, refresh string) {
	life := s.o.AccessLife
	if life == 0 {
		life = sessionAccessLife
	}
	now := s.now()
	access = s.jwt(map[string]any{"scope": "com.atproto.appPass", "sub": did, "iat": now.Unix(), "exp": now.Add(life).Unix()})
	refresh = s.jwt(map[string]any{"scope": "com.atproto.refresh", "sub": did, "iat": now.Unix(), "exp": now.Add(sessionRefreshLife).Unix()})
	s.tokens[access] = &token{did: did, kind: kindAccess, family: family, expires: now.Add(life)}
	s.tokens[refresh] = &token{did: did, kind: kindRefresh, family: family, expires: now.Add(sessionRefreshLife)}
	return access, refresh
}

func (s *Sim) sessionAnswer(r *http.Request, a *account, access, refresh string) map[string]any {
	out := map[string]any{
		"did": a.DID, "handle": a.Handle, "email": "someone@example.test", "emailConfirmed": a.email,
		"active": a.status == "", "didDoc": s.didDocument(r, a),
	}
	if a.status != "" {
		out["status"] = a.status
	}
	if access != "" {
		out["accessJwt"], out["refreshJwt"] = access, refresh
	}
	return out
}

// jwt makes a token of the form of a JWT, which no one can verify. The caller
// holds s.mu.
func (s *Sim) jwt(claims map[string]any) string {
	claims["jti"] = s.unique("jti")
	b, err := json.Marshal(claims)
	if err != nil { // only strings and numbers come here
		panic(err)
	}
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(`{"typ":"at+jwt","alg":"ES256K"}`)) + "." + enc.EncodeToString(b) + "." + enc.EncodeToString(digest(string(b)))
}

// killFamily ends all tokens of a session. The caller holds s.mu.
func (s *Sim) killFamily(family string) {
	for _, t := range s.tokens {
		if t.family == family {
			t.revoked = true
		}
	}
}

// bearer checks a token of one kind in the Authorization header. A token that
// is no good gives 400, not 401 (seen at the reference server on loopback,
// 2026-11-22). The caller holds s.mu.
func (s *Sim) bearer(r *http.Request, kind string) (*token, error) {
	v, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return nil, &refusal{http.StatusUnauthorized, "AuthMissing", "Authentication Required"}
	}
	t := s.tokens[v]
	switch {
	case t == nil || t.kind != kind || t.thumb != "":
		return nil, &refusal{http.StatusBadRequest, "InvalidToken", "Token could not be verified"}
	case t.revoked || !s.now().Before(t.expires):
		if t.revoked && kind == kindAccess {
			return nil, &refusal{http.StatusBadRequest, "InvalidToken", "Token has been revoked"}
		}
		return nil, &refusal{http.StatusBadRequest, "ExpiredToken", "Token has expired"}
	}
	return t, nil
}

// authorise finds the account of a request, by session or by OAuth. The caller
// holds s.mu.
func (s *Sim) authorise(w http.ResponseWriter, r *http.Request) (*account, *token, error) {
	var t *token
	var err error
	if strings.HasPrefix(r.Header.Get("Authorization"), "DPoP ") {
		t, err = s.dpopToken(w, r)
	} else {
		t, err = s.bearer(r, kindAccess)
	}
	if err != nil {
		return nil, nil, err
	}
	a := s.accounts[t.did]
	switch a.status {
	case "takendown":
		return nil, nil, &refusal{http.StatusUnauthorized, "AccountTakedown", "Account has been taken down"}
	case "deactivated", "suspended":
		if r.Method == http.MethodPost {
			return nil, nil, &refusal{http.StatusUnauthorized, "AccountDeactivated", "Account is deactivated"}
		}
	}
	return a, t, nil
}
