package mastodontest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"smi/connectors"
	"smi/connectors/connectortest"
	"smi/connectors/mastodon"
	"smi/internal/social"
)

// Callback is where the browser comes back to.
const Callback = "http://127.0.0.1:8080/oauth/callback"

// Browser is a person at a browser that reaches the simulated server.
type Browser struct {
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	RootCAs *x509.CertPool
	Account string // remote id of the account as which they are signed in
}

// Login signs in at the server of host and agrees to all that is asked.
func (b Browser) Login(ctx context.Context, p *mastodon.Platform, host string) (connectors.Grant, error) {
	req := connectors.AuthRequest{
		State: "state of somebody", RedirectURI: Callback, Verifier: social.NewSecret(strings.Repeat("verifier", 6)), Hint: host,
	}
	to, err := p.AuthURL(ctx, &req)
	if err != nil {
		return connectors.Grant{}, err
	}
	query, err := b.Consent(ctx, to)
	if err != nil {
		return connectors.Grant{}, err
	}
	return p.Exchange(ctx, req, query)
}

// Consent opens a consent page and returns what the browser brings back.
func (b Browser) Consent(ctx context.Context, to string) (url.Values, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, to, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", connectortest.PersonAgent)
	r.AddCookie(&http.Cookie{Name: "account", Value: b.Account})
	browser := &http.Client{
		Transport: &http.Transport{
			DialContext: b.Dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: b.RootCAs, MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := browser.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	back, err := res.Location()
	if err != nil {
		return nil, fmt.Errorf("the browser stays at %s: %w", res.Status, err)
	}
	return back.Query(), nil
}
