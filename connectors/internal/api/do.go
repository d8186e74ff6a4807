package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"smi/connectors"
)

const (
	tries     = 3                      // of a call that may be repeated
	firstWait = 200 * time.Millisecond // doubles; half of it is jitter
	longWait  = 2 * time.Second        // a longer Retry-After goes back to the scheduler
)

// Do makes a call and decodes its answer into Call.Out. The error, if any, is a
// *connectors.Error. Without a complete answer it is Transient where the call
// may be repeated or nothing was written, else Ambiguous. The Answer is
// returned with every complete answer, errors included.
func (c *Client) Do(ctx context.Context, k Call) (Answer, error) {
	renewed := false
	for try := 1; ; try++ {
		a, gen, req, err := c.try(ctx, &k)
		if err == nil {
			return a, nil
		}
		e := connectors.AsError(err)
		if e.Kind == connectors.AuthExpired && a.Status != 0 && !renewed && !k.Anonymous && c.cfg.Signer != nil {
			renewed = true
			if rerr := c.cfg.Signer.Renew(ctx, gen); rerr != nil {
				return a, c.clean(rerr, req)
			}
			try--
			continue
		}
		if e.Kind != connectors.Transient || !k.repeatable() || try >= tries || !c.pause(ctx, try, e.RetryAfter) {
			return a, c.clean(err, req)
		}
	}
}

// pause waits before the next try. It returns false if that is not worth it:
// the network asked for a longer wait, or the caller's time is over before.
func (c *Client) pause(ctx context.Context, try int, asked time.Duration) bool {
	if asked > longWait {
		return false
	}
	d := firstWait << (try - 1)
	d = max(asked, d/2+c.jitter(d/2, try))
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= d {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// jitter is a time below most, of which nobody else has the same: it is drawn
// from the clock, so that a simulation with a clock of its own can be repeated.
func (c *Client) jitter(most time.Duration, try int) time.Duration {
	h := fnv.New64a()
	fmt.Fprint(h, c.cfg.Env.Now().UnixNano(), c.cfg.Account, try)
	return time.Duration(h.Sum64() % uint64(most))
}

// try makes the call once.
func (c *Client) try(ctx context.Context, k *Call) (a Answer, gen int64, req *http.Request, err error) {
	if err := c.gate(ctx, k); err != nil {
		return a, 0, nil, err
	}
	timeout := k.Timeout
	if timeout <= 0 {
		timeout = CallTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var written atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		// Fires before the bytes leave the buffer: it errs to the safe side.
		WroteHeaderField: func(string, []string) { written.Store(true) },
	})
	req, err = c.request(traced, k)
	if err != nil {
		return a, 0, nil, err
	}
	if !k.Anonymous && c.cfg.Signer != nil {
		gen, err = c.cfg.Signer.Sign(ctx, req)
		if err != nil {
			closeBody(req)
			return a, gen, req, asTransient(k.Op, err)
		}
	}
	began := time.Now() //nolint:forbidigo // only for the log
	defer func() { c.log(ctx, k, req, a, began, err) }()

	resp, err := c.core.http.Do(req) //nolint:gosec // the host was checked against the list
	if err != nil {
		return a, gen, req, c.incomplete(k, written.Load(), req.URL.Host, err)
	}
	defer resp.Body.Close() //nolint:errcheck // was read
	c.date(req, resp.Header)
	limit := k.MaxBytes
	if limit <= 0 {
		limit = MaxAnswer
	}
	ok := resp.StatusCode >= 200 && resp.StatusCode < 300
	if !ok {
		limit = MaxError
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return a, gen, req, c.incomplete(k, true, req.URL.Host, err)
	}
	if int64(len(body)) > limit {
		body = body[:limit]
		if ok {
			return a, gen, req, c.incomplete(k, true, req.URL.Host, fmt.Errorf("the answer is longer than %d bytes", limit))
		}
	}
	a = Answer{Op: k.Op, Status: resp.StatusCode, Header: resp.Header, Body: body}
	if !ok {
		e := c.classify(k, a)
		c.learn(ctx, k, a, e)
		if !k.repeatable() && e.Kind == connectors.Transient {
			e.Kind = connectors.Ambiguous
		}
		return a, gen, req, e
	}
	c.learn(ctx, k, a, nil)
	if k.Out != nil {
		if derr := decode(body, k.Out); derr != nil {
			e := &connectors.Error{
				Kind: connectors.Unknown, Op: k.Op, Status: a.Status, RequestID: a.RequestID(),
				Text: c.cfg.Title + " answered in a way smi does not understand", Err: derr,
			}
			if !k.repeatable() {
				e.Kind = connectors.Ambiguous
			}
			return a, gen, req, e
		}
	}
	return a, gen, req, nil
}

// date passes on what the network says the time is. An answer out of a cache says
// what it was, and one without TLS may be anybody's.
func (c *Client) date(req *http.Request, h http.Header) {
	if c.cfg.Env.Date == nil || req.URL.Scheme != "https" || h.Get("Age") != "" {
		return
	}
	if at, err := http.ParseTime(h.Get("Date")); err == nil {
		c.cfg.Env.Date(c.cfg.Network, at)
	}
}

// incomplete is the error of a call without a complete answer.
func (c *Client) incomplete(k *Call, written bool, hostport string, err error) *connectors.Error {
	e := &connectors.Error{Kind: connectors.Transient, Op: k.Op, Err: bare(err)}
	if written && !k.repeatable() {
		e.Kind = connectors.Ambiguous
	}
	switch {
	case !written:
		e.Text = unreachable(hostport, err)
	case timedOut(err):
		e.Text = c.cfg.Title + " did not answer in time"
	default:
		e.Text = "the connection to " + c.cfg.Title + " broke before the answer was complete"
	}
	return e
}

// unreachable says why no connection came to be.
func unreachable(hostport string, err error) string {
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var refused interface{ PrivateAddress() string }
	switch {
	case errors.As(err, &refused):
		return fmt.Sprintf("%s has the private address %s, which smi does not call; list it in allow_private if it should", hostport, refused.PrivateAddress())
	case errors.As(err, &dns):
		return "the name of " + hostport + " could not be found"
	case errors.As(err, &cert):
		return "the certificate of " + hostport + " is not valid"
	case timedOut(err):
		return hostport + " could not be reached in time"
	default:
		return hostport + " could not be reached"
	}
}

func timedOut(err error) bool {
	var t net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// bare takes off the url.Error, which repeats the address with its query.
func bare(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// asTransient keeps a classified error of the signer; nothing was sent, so an
// unclassified one is Transient.
func asTransient(op string, err error) error {
	e := *connectors.AsError(err)
	if e.Kind == connectors.Unknown {
		e.Kind, e.Text = connectors.Transient, "the login could not be read"
	}
	if e.Op == "" {
		e.Op = op
	}
	return &e
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close() //nolint:errcheck // was not read
	}
}

// log writes one line per call: never an address, a header or a body.
func (c *Client) log(ctx context.Context, k *Call, req *http.Request, a Answer, began time.Time, err error) {
	attrs := []slog.Attr{
		slog.String("network", string(c.cfg.Network)), slog.String("op", k.Op),
		slog.Int("status", a.Status), slog.Int64("ms", time.Since(began).Milliseconds()),
	}
	if c.cfg.Account != "" {
		attrs = append(attrs, slog.String("account", c.cfg.Account))
	}
	if a.Status != 0 {
		if id := a.RequestID(); id != "" {
			attrs = append(attrs, slog.String("request_id", c.redactor(req)(id)))
		}
	}
	if err != nil {
		attrs = append(attrs, slog.String("kind", string(connectors.KindOf(err))))
	}
	c.cfg.Env.Log.LogAttrs(ctx, slog.LevelDebug, "call", attrs...)
}
