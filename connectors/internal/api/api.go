// Package api is the HTTP stack that connectors share. It has three ways to
// call a network:
//
//   - Client.Do for everything that may be asked again or that nobody outside
//     sees: JSON in and out, limits, one new signature after a 401, a few
//     retries of calls that may be repeated.
//   - Client.Commit for the one call that makes something public. It needs the
//     Shot of the publish protocol, writes one request on the shot's own
//     connection and never a second one, and calls Ambiguous what it cannot
//     prove.
//   - Client.Once for token refresh: written at most once as well, but it dials
//     itself and needs no shot.
//
// Everything is spoken in HTTP/1.1. Go's HTTP/2 client sends a POST again by
// itself when the peer resets the stream or goes away (net/http, Go 1.26,
// canRetryError), also after the peer has read it.
package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"smi/connectors"
	"smi/internal/social"
)

// The limits that hold where a Call or Config does not say otherwise.
const (
	MaxAnswer     = 1 << 20          // bytes of an ordinary answer
	MaxError      = 16 << 10         // bytes kept of an answer that is an error
	MaxCommit     = 4 << 20          // bytes of the answer to a commit
	MaxHeader     = 64 << 10         // bytes of an answer's header
	CallTimeout   = 30 * time.Second // one try of an ordinary call
	HeaderTimeout = 10 * time.Second // from the last byte of a commit to the end of the answer's header
	CommitTimeout = 60 * time.Second // the whole of a commit
	dialTimeout   = 10 * time.Second
)

// Config makes a Client.
type Config struct {
	Env     connectors.Env
	Network social.Network
	Title   string // "Bluesky", for sentences; "" means the network's name
	// Hosts are the hosts that may be called: "bsky.social" (https, port 443),
	// "127.0.0.1:2583", "*.host.bsky.network" (any name below it), "*" (any host;
	// Env.Dial still refuses private addresses). A leading "http://" allows plain
	// HTTP to that host. Credentials never go to a host that is not listed.
	Hosts []string
	// Signer signs every call that is not Anonymous. May be nil.
	Signer Signer
	// Classify says what a complete answer that is no success means. It may
	// return nil, and may leave Op, Status, RequestID and RetryAfter empty. Text it
	// takes from the network is redacted here.
	Classify func(Answer) *connectors.Error
	// BeforeEffect lists the refusals of commits that are known to come before
	// anything happened.
	BeforeEffect []Rule
	// KeyWindow is Description.KeyWindow. While it is 0 no commit may carry an
	// idempotency key.
	KeyWindow time.Duration
	// Language, if any, is asked for in every call ("en"): for networks that word
	// their refusals in the language of who reads them.
	Language string
	// Account is the account's part of the names of rate-limit buckets; "" for a
	// client that is not of one account.
	Account string
}

// Rule says that a commit that is refused with this status and code had no
// effect. Only complete answers of status 4xx with a code of the network's own
// can be rules; 408, 409, 425 cannot.
type Rule struct {
	Op     string // Call.Op
	Status int
	Code   string // connectors.Error.Code as Classify sets it
	Kind   connectors.Kind
	Source string // the page or the code that proves it
	Date   string // when it was read, 2026-11-23
}

// Signer signs the calls of one account.
type Signer interface {
	// Sign adds the credentials to a request and returns the generation of the
	// grant that it used. It may wait for a refresh.
	Sign(context.Context, *http.Request) (gen int64, err error)
	// Renew is called after the network refused the grant of generation gen. Nil
	// means that signing again is worth a try.
	Renew(ctx context.Context, gen int64) error
}

// Bearer signs with "Authorization: Bearer" and the access token.
func Bearer(c connectors.Credentials) Signer { return bearer{c} }

type bearer struct{ c connectors.Credentials }

func (b bearer) Sign(ctx context.Context, r *http.Request) (int64, error) {
	g, err := b.c.Grant(ctx)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+g.Access.Reveal())
	return g.Gen, nil
}

func (b bearer) Renew(ctx context.Context, gen int64) error {
	_, err := b.c.Renew(ctx, gen)
	return err
}

// Client calls one network. It is safe for concurrent use.
type Client struct {
	cfg   Config
	hosts []host
	core  *core
}

// core is what the clients of all accounts of a platform share.
type core struct {
	http   *http.Client
	limits *limiter
	tls    *tls.Config
	used   attempts
}

// New returns a client, or an error that names what is wrong with the config.
// No I/O.
func New(cfg Config) (*Client, error) {
	if cfg.Env.Dial == nil || cfg.Env.Now == nil {
		return nil, errors.New("api: Env.Dial and Env.Now are needed")
	}
	if cfg.Network == "" {
		return nil, errors.New("api: Network is needed")
	}
	if cfg.Env.Log == nil {
		cfg.Env.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Title == "" {
		cfg.Title = string(cfg.Network)
	}
	for _, r := range cfg.BeforeEffect {
		if err := r.check(); err != nil {
			return nil, err
		}
	}
	hosts, err := parseHosts(cfg.Hosts)
	if err != nil {
		return nil, err
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.Env.RootCAs, NextProtos: []string{"http/1.1"}}
	p := new(http.Protocols)
	p.SetHTTP1(true)
	c := &core{tls: t, limits: newLimiter(cfg.Env)}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext:            cfg.Env.Dial,
			TLSClientConfig:        t,
			Protocols:              p,
			Proxy:                  nil, // HTTP_PROXY would see every token
			MaxIdleConnsPerHost:    8,
			MaxConnsPerHost:        64,
			IdleConnTimeout:        60 * time.Second,
			TLSHandshakeTimeout:    dialTimeout,
			MaxResponseHeaderBytes: MaxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Client{cfg: cfg, hosts: hosts, core: c}, nil
}

// For returns a client of one account over the same connections: account names
// its rate-limit buckets, signer signs its calls, and hosts, if there are any,
// replace Config.Hosts.
func (c *Client) For(account string, signer Signer, hosts ...string) (*Client, error) {
	n := *c
	n.cfg.Account, n.cfg.Signer = account, signer
	if len(hosts) > 0 {
		hs, err := parseHosts(hosts)
		if err != nil {
			return nil, err
		}
		n.cfg.Hosts, n.hosts = hosts, hs
	}
	return &n, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.core.http.CloseIdleConnections() }

// Call is one call of a network's method.
type Call struct {
	Op     string // the network's method, or the verb: "createRecord"
	Method string // "" means GET, or POST if there is a body
	URL    string // absolute
	Query  url.Values
	Header http.Header

	JSON        any    // the body as JSON; or
	Body        []byte // the body as it is; or
	BodyFunc    func() (io.ReadCloser, error)
	Size        int64  // of BodyFunc's bytes; needed with it
	ContentType string // of Body and BodyFunc; JSON sets its own

	// Out is what the answer's JSON is decoded into; nil means that any complete
	// success will do. If it has a method Validate() error, that must agree: it is
	// where the fields that must be there are asked for.
	Out any

	// Repeatable says that the call may be made twice. GET and HEAD are.
	Repeatable bool
	// Anonymous calls are not signed.
	Anonymous bool
	// Secret says that the answer holds secrets (token endpoints): nothing of it
	// is put into an error, the classifier's text included.
	Secret bool

	MaxBytes      int64         // of the answer; 0 means MaxAnswer, or MaxCommit
	Timeout       time.Duration // of one try; 0 means CallTimeout, or CommitTimeout
	HeaderTimeout time.Duration // of a commit; 0 means HeaderTimeout
	Bucket        string        // endpoint's part of the rate-limit bucket; "" means the account's own
	Cost          int           // units of the bucket; 0 means 1
}

// Answer is a complete answer.
type Answer struct {
	Op     string
	Status int
	Header http.Header
	Body   []byte // for errors, at most MaxError
}

// JSON decodes the body as Call.Out would be.
func (a Answer) JSON(out any) error { return decode(a.Body, out) }

// RequestID is the network's id of the request, or "".
func (a Answer) RequestID() string {
	for _, n := range []string{"X-Request-Id", "X-Fb-Trace-Id", "X-Li-Uuid", "X-Transaction-Id", "Request-Id", "Atproto-Request-Id"} {
		if v := a.Header.Get(n); v != "" {
			return clip(v, 100)
		}
	}
	return ""
}

// repeatable says whether the call may be made again after it was written.
func (k *Call) repeatable() bool {
	return k.Repeatable || k.method() == http.MethodGet || k.method() == http.MethodHead
}

func (k *Call) method() string {
	switch {
	case k.Method != "":
		return k.Method
	case k.JSON != nil || k.Body != nil || k.BodyFunc != nil:
		return http.MethodPost
	default:
		return http.MethodGet
	}
}

// misuse is an error in a connector: nothing is sent.
func misuse(op, format string, args ...any) *connectors.Error {
	return &connectors.Error{Kind: connectors.Unsupported, Op: op, Text: fmt.Sprintf(format, args...)}
}

// request builds the request without signing it. The body function gives a
// fresh body at each call.
func (c *Client) request(ctx context.Context, k *Call) (*http.Request, error) {
	u, err := url.Parse(k.URL)
	if err != nil {
		return nil, misuse(k.Op, "the address of the call cannot be parsed")
	}
	if err := c.allowed(u); err != nil {
		return nil, &connectors.Error{Kind: connectors.Permission, Op: k.Op, Text: err.Error()}
	}
	if len(k.Query) > 0 {
		q := u.Query()
		maps.Copy(q, k.Query)
		u.RawQuery = q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, k.method(), u.String(), nil)
	if err != nil {
		return nil, misuse(k.Op, "the call cannot be made: %v", err)
	}
	ctype := k.ContentType
	switch {
	case k.JSON != nil:
		b, err := json.Marshal(k.JSON)
		if err != nil {
			return nil, misuse(k.Op, "the request cannot be written as JSON: %v", err)
		}
		setBody(req, b)
		ctype = "application/json"
	case k.Body != nil:
		setBody(req, k.Body)
	case k.BodyFunc != nil:
		if k.Size <= 0 {
			return nil, misuse(k.Op, "a streamed body needs its size")
		}
		body, err := k.BodyFunc()
		if err != nil {
			return nil, &connectors.Error{Kind: connectors.Transient, Op: k.Op, Text: "the file to send could not be opened", Err: err}
		}
		req.Body, req.ContentLength = body, k.Size
	}
	for name, vs := range k.Header {
		req.Header[http.CanonicalHeaderKey(name)] = slices.Clone(vs)
	}
	// With one of these headers Go's transport sends a POST again when a reused
	// connection breaks (net/http, Go 1.26, isReplayable).
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if len(req.Header.Values(name)) > 0 && c.cfg.KeyWindow <= 0 {
			closeBody(req)
			return nil, misuse(k.Op, "%s is set, but %s does not promise to recognise it", name, c.cfg.Title)
		}
	}
	if ctype != "" && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", ctype)
	}
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	if c.cfg.Language != "" {
		req.Header.Set("Accept-Language", c.cfg.Language)
	}
	req.Header.Set("User-Agent", c.cfg.Env.UserAgent)
	return req, nil
}

// setBody sets a body that the transport cannot read a second time by itself:
// GetBody stays nil.
func setBody(req *http.Request, b []byte) {
	req.Body = io.NopCloser(bytes.NewReader(b))
	req.ContentLength = int64(len(b))
	if len(b) == 0 {
		req.Body = http.NoBody
	}
}

// host is one entry of Config.Hosts.
type host struct {
	plain  bool
	suffix bool   // name is ".example.org" and matches what ends so
	name   string // "" matches all
	port   string // "" is the scheme's own
}

func parseHosts(list []string) ([]host, error) {
	var out []host
	for _, s := range list {
		h := host{}
		rest, ok := strings.CutPrefix(s, "http://")
		if ok {
			h.plain = true
		} else {
			rest = strings.TrimPrefix(s, "https://")
		}
		rest = strings.ToLower(strings.TrimSuffix(rest, "/"))
		if rest == "" || strings.ContainsAny(rest, "/@? ") {
			return nil, fmt.Errorf("api: %q is no host; write a name, name:port or *.name", s)
		}
		h.name = rest
		if name, port, err := net.SplitHostPort(rest); err == nil {
			h.name, h.port = name, port
		}
		switch {
		case h.name == "*":
			h.name = ""
		case strings.HasPrefix(h.name, "*."):
			h.suffix, h.name = true, h.name[1:]
		}
		out = append(out, h)
	}
	return out, nil
}

// allowed says whether a URL's scheme and host are on the list.
func (c *Client) allowed(u *url.URL) error {
	name, port := strings.ToLower(u.Hostname()), u.Port()
	if name == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("an address of %s must be https://host/…", c.cfg.Title)
	}
	std := map[string]string{"https": "443", "http": "80"}[u.Scheme]
	if port == std {
		port = ""
	}
	for _, h := range c.hosts {
		if (u.Scheme == "http") != h.plain {
			continue
		}
		hp := h.port
		if hp == std {
			hp = ""
		}
		switch {
		case h.name == "" && (hp == "" || hp == port):
			return nil
		case hp != port:
		case h.suffix && strings.HasSuffix(name, h.name), !h.suffix && name == h.name:
			return nil
		}
	}
	return fmt.Errorf("%s is not on the list of hosts of %s; add it to the network's settings if it should be called", u.Host, c.cfg.Title)
}
