package bluesky

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/auth/oauth"

	"smi/connectors"
)

// signer signs the calls of one account to its own server: with the token of an
// app-password session, or with a DPoP-bound token and a proof.
type signer struct{ c *conn }

func (s signer) Sign(ctx context.Context, r *http.Request) (int64, error) {
	g, err := s.c.creds.Grant(ctx)
	if err != nil {
		return 0, err
	}
	if !isOAuth(g) {
		r.Header.Set("Authorization", "Bearer "+g.Access.Reveal())
		return g.Gen, nil
	}
	key, err := atcrypto.ParsePrivateMultibase(g.Extra[extraKey].Reveal())
	if err != nil {
		return g.Gen, &connectors.Error{Kind: connectors.AuthExpired, Op: "sign", Text: "the key of this sign-in cannot be read; connect the account again"}
	}
	host := *r.URL
	host.RawQuery, host.Fragment = "", ""
	session := oauth.ClientSession{DPoPPrivateKey: key, Data: &oauth.ClientSessionData{
		AuthServerURL: g.Extra[extraIssuer].Reveal(),
		AccessToken:   g.Access.Reveal(),
		DPoPHostNonce: s.c.p.nonces.get(nonceData, r.URL),
	}}
	proof, err := session.NewHostDPoP(r.Method, host.String())
	if err != nil {
		return g.Gen, fmt.Errorf("signing a proof: %w", err)
	}
	r.Header.Set("Authorization", "DPoP "+g.Access.Reveal())
	r.Header.Set("DPoP", proof)
	return g.Gen, nil
}

func (s signer) Renew(ctx context.Context, gen int64) error {
	_, err := s.c.creds.Renew(ctx, gen)
	return err
}

// The roles in which a server hands out nonces. One that is both hands out
// different ones (atproto OAuth profile, read 2026-08-20).
const (
	nonceAuth = "auth"
	nonceData = "data"
)

// nonceFresh is how long a nonce is taken for good; servers keep them for up to
// three minutes.
const nonceFresh = 90 * time.Second

// nonces remembers the last DPoP nonce of each server and role.
type nonces struct {
	mu sync.Mutex
	m  map[string]nonce
}

type nonce struct {
	value string
	at    time.Time
}

func newNonces() *nonces { return &nonces{m: map[string]nonce{}} }

func (n *nonces) get(role string, u *url.URL) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.m[role+" "+u.Host].value
}

// fresh says whether there is a nonce that will still be good in a moment.
func (n *nonces) fresh(role string, u *url.URL, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	v := n.m[role+" "+u.Host]
	return v.value != "" && now.Sub(v.at) < nonceFresh
}

// learn takes the nonce out of an answer, whatever it says else.
func (n *nonces) learn(role, rawURL string, h http.Header, now time.Time) {
	v := h.Get("DPoP-Nonce")
	u, err := url.Parse(rawURL)
	if v == "" || len(v) > 512 || err != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.m[role+" "+u.Host] = nonce{v, now}
}
