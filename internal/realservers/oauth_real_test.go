//go:build real

package realservers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

var b64 = base64.RawURLEncoding

// prover signs the proofs (DPoP, RFC 9449) that the PDS asks of every request.
type prover struct {
	key   *ecdsa.PrivateKey
	nonce string
}

func (p *prover) proof(t *testing.T, method, to string) string {
	t.Helper()
	point, err := p.key.PublicKey.Bytes() // 4, X, Y
	if err != nil {
		t.Fatal(err)
	}
	part := func(v map[string]any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b64.EncodeToString(text)
	}
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": to, "iat": time.Now().Unix()}
	if p.nonce != "" {
		claims["nonce"] = p.nonce
	}
	signed := part(map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": map[string]any{
		"kty": "EC", "crv": "P-256", "x": b64.EncodeToString(point[1:33]), "y": b64.EncodeToString(point[33:]),
	}}) + "." + part(claims)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, p.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + b64.EncodeToString(signature)
}

// form posts a form with a proof, and once more with the nonce it is given.
func (p *prover) form(ctx context.Context, t *testing.T, to string, v url.Values) (status int, out map[string]any) {
	t.Helper()
	for range 2 {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(v.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("DPoP", p.proof(t, http.MethodPost, to))
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		out = map[string]any{}
		err = json.NewDecoder(res.Body).Decode(&out)
		res.Body.Close()
		if err != nil {
			t.Fatalf("reading the answer of %s: %v", to, err)
		}
		status = res.StatusCode
		if n := res.Header.Get("DPoP-Nonce"); n != "" {
			p.nonce = n
		}
		if out["error"] != "use_dpop_nonce" {
			break
		}
	}
	return status, out
}

// TestRealOAuth shows that Approve stands in for a person, that TokenLife is
// heeded, and that a refresh token is good once: what the tests of smi's own
// connecting and refreshing rely on.
func TestRealOAuth(t *testing.T) {
	n := Start(t, Options{Accounts: []string{"alice"}, TokenLife: 2 * time.Minute})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	alice := n.Account("alice")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &prover{key: key}

	const callback, scope = "http://127.0.0.1:1/callback", "atproto transition:generic"
	clientID := "http://localhost?" + url.Values{"redirect_uri": {callback}, "scope": {scope}}.Encode()
	verifier, state := rand.Text()+rand.Text(), rand.Text()
	challenge := sha256.Sum256([]byte(verifier))
	// One request is for one browser, so each sign-in announces its own.
	announce := func() (authURL string) {
		status, out := p.form(ctx, t, n.PDS+"/oauth/par", url.Values{
			"client_id": {clientID}, "response_type": {"code"}, "redirect_uri": {callback}, "scope": {scope}, "state": {state},
			"code_challenge": {b64.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"}, "login_hint": {alice.Handle},
		})
		if status != http.StatusCreated {
			t.Fatalf("announcing the request: status %d, %v", status, out)
		}
		return n.PDS + "/oauth/authorize?" + url.Values{"client_id": {clientID}, "request_uri": {fmt.Sprint(out["request_uri"])}}.Encode()
	}

	if _, err := Approve(ctx, announce(), alice.Handle, "a wrong password"); err == nil || !strings.HasPrefix(err.Error(), "signing in: status 4") {
		t.Errorf("a wrong password: got %v", err)
	}
	back, err := Approve(ctx, announce(), alice.Handle, alice.Password)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(back, callback) || u.Query().Get("state") != state || u.Query().Get("iss") != n.PDS || u.Query().Get("code") == "" {
		t.Fatalf("sent back to %s", back)
	}

	status, out := p.form(ctx, t, n.PDS+"/oauth/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {u.Query().Get("code")}, "redirect_uri": {callback}, "code_verifier": {verifier}, "client_id": {clientID},
	})
	if status != http.StatusOK || out["sub"] != alice.DID {
		t.Fatalf("the code's tokens: status %d, %v", status, out)
	}
	if life, _ := out["expires_in"].(float64); life < 100 || life > 120 {
		t.Errorf("the access token lives %v s, want 120 as set", out["expires_in"])
	}
	refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {fmt.Sprint(out["refresh_token"])}, "client_id": {clientID}}
	if status, out = p.form(ctx, t, n.PDS+"/oauth/token", refresh); status != http.StatusOK {
		t.Fatalf("a refresh: status %d, %v", status, out)
	}
	if status, out = p.form(ctx, t, n.PDS+"/oauth/token", refresh); status != http.StatusBadRequest || out["error"] != "invalid_grant" {
		t.Errorf("the old refresh token again: status %d, %v; want it refused", status, out)
	}
}
