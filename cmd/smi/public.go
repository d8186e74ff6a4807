package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"smi/config"
	"smi/internal/app"
	"smi/internal/public"
	"smi/internal/social"
)

// signerOf makes public addresses; nil if there is no public listener. They die
// with the key, which is the same on every node.
func (d *daemon) signerOf(cfg *config.Config) *public.Signer {
	if cfg.Public.Listen == "" {
		return nil
	}
	return public.NewSigner(cfg.Public.URL, d.keys.Subkey("public media"), d.now)
}

// listenPublic opens the door for strangers, if the admin wants one.
func (d *daemon) listenPublic(ctx context.Context, cfg *config.Config) error {
	p := cfg.Public
	if p.Listen == "" {
		return nil
	}
	proxies, err := p.Proxies()
	if err != nil {
		return err
	}
	if d.public, err = public.New(public.Config{
		Signer: d.media.signer, Files: d.media, Log: d.log, Cert: p.TLSCert, Key: p.TLSKey, Proxies: proxies, Connections: p.Connections,
	}); err != nil {
		return err
	}
	var lc net.ListenConfig
	if d.open, err = lc.Listen(ctx, "tcp", p.Listen); err != nil {
		return social.Errorf(social.CodeUnavailable, "public.listen", "%s cannot be listened on (%v); set public.listen to a free port of this machine", p.Listen, errors.Unwrap(err))
	}
	return nil
}

// publicTime is how long doctor waits for the public address.
const publicTime = 10 * time.Second

// checkPublic asks the public address for a file that only this smi can answer.
func (d *daemon) checkPublic(ctx context.Context) app.CheckResult {
	p := d.cfg.Current().Public
	switch {
	case p.Listen == "":
		return fine("not open (public.listen); needed only for networks that fetch files by themselves")
	case d.public == nil:
		return fine("smi serve opens it (%s); whether %s leads there is seen then", p.Listen, p.URL)
	}
	w := &way{base: p.URL, signer: d.media.signer, handler: d.public.Handler, proxied: p.TLSCert == "", lookup: net.DefaultResolver.LookupNetIP, dial: (&net.Dialer{Timeout: publicTime}).DialContext}
	return w.check(ctx)
}

// way is the way from the internet to the public listener, which is tried step by
// step, so that what is in the way can be named.
type way struct {
	base    string
	signer  *public.Signer
	handler *public.Handler
	proxied bool // TLS ends at a proxy
	lookup  func(ctx context.Context, network, host string) ([]netip.Addr, error)
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	roots   *x509.CertPool // nil: the system's
}

func (w *way) check(ctx context.Context) app.CheckResult {
	ctx, cancel := context.WithTimeout(ctx, publicTime)
	defer cancel()
	u, err := url.Parse(w.base)
	if err != nil || u.Hostname() == "" {
		return broken("configuration: public.url %q is no address", w.base)
	}
	address, want := w.signer.Probe(nonce())
	// First without any network: does smi recognise what it signs?
	if status, body := w.handler.Try(ctx, address); status != http.StatusOK || body != want {
		return broken("signature: smi does not recognise an address that it signed itself (status %d); see that public.url, %s, is as networks are to see it, and restart smi", status, w.base)
	}
	addrs, err := w.lookup(ctx, "ip", u.Hostname())
	if err != nil || len(addrs) == 0 {
		return broken("DNS: %s, the host of public.url, has no address: %v; make an A or AAAA record for it", u.Hostname(), orNothing(err))
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	conn, at, err := w.connect(ctx, addrs, port)
	if err != nil {
		return warn("connect: nothing answers at %s (%s): %s; open the port in the firewall and lead it to public.listen. Behind a router this machine may not reach its own public address: then ask from elsewhere with curl -I %s, which must say 404", u.Hostname(), net.JoinHostPort(at, port), oneLine(err.Error()), w.base)
	}
	secure := tls.Client(conn, &tls.Config{ServerName: u.Hostname(), RootCAs: w.roots, MinVersion: tls.VersionTLS12})
	defer secure.Close() //nolint:errcheck // it was read
	if err := secure.HandshakeContext(ctx); err != nil {
		where := "public.tls_cert"
		if w.proxied {
			where = "the certificate of the proxy"
		}
		return broken("TLS: %s does not prove that it is %s: %s; see %s: networks fetch nothing from it", net.JoinHostPort(at, port), u.Hostname(), oneLine(err.Error()), where)
	}
	if r, ok := w.ask(ctx, secure, address, want); !ok {
		return r
	}
	private := ""
	if !slices.ContainsFunc(addrs, func(a netip.Addr) bool {
		a = a.Unmap()
		return !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast()
	}) {
		private = fmt.Sprintf(". %s is an address of a private network, though: networks on the internet cannot reach it", addrs[0])
		return warn("connect: %s answers rightly from here%s", w.base, private)
	}
	return fine("%s answers, and only to signed addresses", w.base)
}

// connect opens a connection to the first address that takes one.
func (w *way) connect(ctx context.Context, addrs []netip.Addr, port string) (net.Conn, string, error) {
	var last error
	for _, a := range addrs {
		c, err := w.dial(ctx, "tcp", net.JoinHostPort(a.Unmap().String(), port))
		if err == nil {
			return c, a.Unmap().String(), nil
		}
		last = err
	}
	return nil, addrs[0].Unmap().String(), last
}

// ask asks for the probe over a connection, first a part of it.
func (w *way) ask(ctx context.Context, conn net.Conn, address, want string) (app.CheckResult, bool) {
	used := false
	c := &http.Client{
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 1,
			DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
				if used {
					return nil, errors.New("the connection was closed between two requests")
				}
				used = true
				return conn, nil
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	get := func(part string) (status int, location, body string, err error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
		if err != nil {
			return 0, "", "", err
		}
		if part != "" {
			req.Header.Set("Range", part)
		}
		resp, err := c.Do(req)
		if e, ok := errors.AsType[*url.Error](err); ok { // it quotes the address, which is a secret
			err = e.Err
		}
		if err != nil {
			return 0, "", "", err
		}
		defer resp.Body.Close() //nolint:errcheck // it was read
		b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		return resp.StatusCode, resp.Header.Get("Location"), string(b), err
	}
	status, location, body, err := get("bytes=0-3")
	what := "public.listen"
	if w.proxied {
		what = "the proxy in front"
	}
	switch {
	case err != nil:
		return broken("proxy: %s gives no answer: %s; see that %s leads to smi", w.base, oneLine(err.Error()), what), false
	case status/100 == 3:
		return broken("proxy: %s sends on to %.100q; networks do not follow that, so let the address answer itself", w.base, location), false
	case status == http.StatusNotFound && strings.TrimSpace(body) == "404" && w.proxied:
		return broken("proxy: smi is reached but not asked for %s; let the proxy pass on the host and the path as they came (nginx: proxy_set_header Host $http_host), and see that the smi behind it has the same key, public.url and time", strings.TrimPrefix(w.base, "https://")), false
	case status == http.StatusNotFound && strings.TrimSpace(body) == "404":
		return broken("signature: an smi answers at %s, but not to what this one signs; see that all nodes have the same key, public.url and time", w.base), false
	case status == http.StatusBadGateway || status == http.StatusGatewayTimeout || status == http.StatusServiceUnavailable:
		return broken("proxy: the proxy in front answers %d: it does not reach public.listen, or is not in public.trusted_proxies", status), false
	case status == http.StatusOK && body == want:
		return warn("proxy: %s answers, but with the whole file when a part is asked for; let the proxy pass on Range, which some networks need", w.base), false
	case status != http.StatusPartialContent:
		return broken("proxy: something else than this smi answers at %s (status %d); see that %s leads to smi", w.base, status, what), false
	case body != want[:4]:
		return broken("signature: %s answers with another content than this smi gave; see that all nodes have the same key", w.base), false
	}
	if status, _, body, err = get(""); err != nil || status != http.StatusOK || body != want {
		return broken("signature: %s does not give what this smi signed; see that all nodes have the same key", w.base), false
	}
	return app.CheckResult{}, true
}

// nonce is a hash that no file has.
func nonce() string {
	sum := sha256.Sum256([]byte(rand.Text()))
	return hex.EncodeToString(sum[:])
}
