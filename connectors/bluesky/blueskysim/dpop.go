package blueskysim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Proofs of possession (RFC 9449 in the atproto profile). The time in a proof is
// only looked at for its presence: here the nonce is what proves that it is
// fresh, and a simulated network may live at another time than its client.

// The two kinds of nonce: the authorisation server's and the data server's.
const (
	nonceAuth = "auth"
	nonceData = "data"
)

// nonceLife is how long a nonce stands; the one before it is good as well.
const nonceLife = 3 * time.Minute

const useNonce = "use_dpop_nonce"

// jwk is a public key.
type jwk struct {
	Kty string `json:"kty"`
	Crv string `json:"crv"`
	X   string `json:"x"`
	Y   string `json:"y"`
	Kid string `json:"kid"`
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// nonce is the current nonce of a kind. The caller holds s.mu.
func (s *Sim) nonce(kind string) string { return s.nonceAt(kind, s.now()) }

func (s *Sim) nonceAt(kind string, at time.Time) string {
	return b64(digest("nonce", kind, fmt.Sprint(s.oauth.nonces), fmt.Sprint(at.Unix()/int64(nonceLife.Seconds()))))
}

// checkProof verifies the DPoP header and returns the thumbprint of its key, or
// what is wrong. The caller holds s.mu.
func (s *Sim) checkProof(r *http.Request, htu, access, kind string) (thumb, problem string) {
	const bad = "invalid_dpop_proof"
	headers := r.Header.Values("DPoP")
	if len(headers) != 1 {
		return "", bad
	}
	var head struct {
		Typ string `json:"typ"`
		Alg string `json:"alg"`
		JWK jwk    `json:"jwk"`
	}
	var claims struct {
		JTI, HTM, HTU, Nonce, ATH string
		IAT                       int64
	}
	if !verifyJWT(headers[0], &head, &claims, func() jwk { return head.JWK }) {
		return "", bad
	}
	switch {
	case head.Typ != "dpop+jwt" || head.Alg != "ES256" || claims.JTI == "" || claims.IAT == 0:
		return "", bad
	case claims.HTM != r.Method || claims.HTU != htu:
		return "", bad
	case access != "" && claims.ATH != b64(digest(access)):
		return "", bad
	case claims.Nonce != s.nonce(kind) && claims.Nonce != s.nonceAt(kind, s.now().Add(-nonceLife)):
		return "", useNonce
	case s.oauth.proofs[claims.JTI]:
		return "", bad
	}
	s.oauth.proofs[claims.JTI] = true
	canonical := fmt.Sprintf(`{"crv":%q,"kty":%q,"x":%q,"y":%q}`, head.JWK.Crv, head.JWK.Kty, head.JWK.X, head.JWK.Y)
	return b64(digest(canonical)), ""
}

// dpopToken checks the token and proof of a call to the data server. The caller
// holds s.mu.
func (s *Sim) dpopToken(w http.ResponseWriter, r *http.Request) (*token, error) {
	v := strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP ")
	w.Header().Set("DPoP-Nonce", s.nonce(nonceData))
	refused := func(name, text string) error {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`DPoP error="%s", error_description="%s"`, name, text))
		return &refusal{http.StatusUnauthorized, name, text}
	}
	thumb, problem := s.checkProof(r, s.base(r)+r.URL.Path, v, nonceData)
	if problem == useNonce {
		return nil, refused(useNonce, "Resource server requires nonce in DPoP proof")
	}
	t := s.tokens[v]
	switch {
	case problem != "":
		return nil, refused(problem, "Invalid DPoP proof")
	case t == nil || t.kind != kindAccess || t.thumb != thumb:
		return nil, refused("invalid_token", "Invalid token")
	case t.revoked:
		return nil, refused("invalid_token", "Token has been revoked")
	case !s.now().Before(t.expires):
		return nil, refused("invalid_token", `"exp" claim timestamp check failed`)
	}
	return t, nil
}

// assertionGood checks how a confidential client says who it is.
func (s *Sim) assertionGood(m clientMetadata, r *http.Request) bool {
	if r.PostForm.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		return false
	}
	var head struct{ Kid, Alg string }
	var claims struct {
		Iss, Sub, JTI string
		Aud           any
	}
	key := func() jwk {
		i := slices.IndexFunc(m.JWKS.Keys, func(k jwk) bool { return k.Kid == head.Kid })
		if i < 0 {
			return jwk{}
		}
		return m.JWKS.Keys[i]
	}
	return verifyJWT(r.PostForm.Get("client_assertion"), &head, &claims, key) &&
		head.Alg == "ES256" && claims.Iss == m.ClientID && claims.Sub == m.ClientID && claims.JTI != ""
}

// verifyJWT decodes a token and checks its ES256 signature with the key that is
// asked for after the header was decoded.
func verifyJWT(raw string, head, claims any, key func() jwk) bool {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return false
	}
	var dec [3][]byte
	for i, p := range parts {
		b, err := base64.RawURLEncoding.DecodeString(p)
		if err != nil {
			return false
		}
		dec[i] = b
	}
	if json.Unmarshal(dec[0], head) != nil || json.Unmarshal(dec[1], claims) != nil || len(dec[2]) != 64 {
		return false
	}
	k := key()
	x, errX := base64.RawURLEncoding.DecodeString(k.X)
	y, errY := base64.RawURLEncoding.DecodeString(k.Y)
	if errX != nil || errY != nil || k.Kty != "EC" || k.Crv != "P-256" || len(x) != 32 || len(y) != 32 {
		return false
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
	if err != nil {
		return false
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	return ecdsa.Verify(pub, sum[:], new(big.Int).SetBytes(dec[2][:32]), new(big.Int).SetBytes(dec[2][32:]))
}
