package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"smi/connectors"
	"smi/internal/social"
)

// DialCommit opens the connection of a commit to the host of rawURL, before the
// attempt is armed: DNS, TCP and TLS failures are Transient, because nothing
// was sent. The connection goes into NewShot as it is and serves one request.
func (c *Client) DialCommit(ctx context.Context, rawURL string) (net.Conn, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, misuse("dial", "the address of the commit cannot be parsed")
	}
	if err := c.allowed(u); err != nil {
		return nil, &connectors.Error{Kind: connectors.Permission, Op: "dial", Text: err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	fail := func(err error) error {
		return c.clean(&connectors.Error{Kind: connectors.Transient, Op: "dial", Text: unreachable(u.Host, err), Err: err}, nil)
	}
	conn, err := c.cfg.Env.Dial(ctx, "tcp", hostPort(u))
	if err != nil {
		return nil, fail(err)
	}
	raw := conn
	loseAfter(raw, undelivered)
	if u.Scheme == "https" {
		cfg := c.core.tls.Clone()
		cfg.ServerName = u.Hostname()
		t := tls.Client(conn, cfg)
		if err := t.HandshakeContext(ctx); err != nil {
			conn.Close() //nolint:errcheck // nothing was written
			return nil, fail(err)
		}
		if p := t.ConnectionState().NegotiatedProtocol; p != "" && p != "http/1.1" {
			raw.Close() //nolint:errcheck // nothing was written
			return nil, fail(fmt.Errorf("the server insists on %q", p))
		}
		conn = t
	}
	return &commitConn{Conn: conn, raw: raw, to: u.Scheme + "://" + hostPort(u)}, nil
}

// commitConn is a connection that knows where it goes.
type commitConn struct {
	net.Conn
	raw net.Conn // below TLS
	to  string
}

// Close does not say goodbye: TLS would wait up to 5 s for a peer that does not
// read, and the one answer was read or given up.
func (c *commitConn) Close() error { return c.raw.Close() }

// undelivered is how long the system goes on trying to get bytes through that
// nobody acknowledges. Without a bound it would do so for a quarter of an hour,
// also for a process that was killed.
const undelivered = 30 * time.Second

// abandon is called when an answer was given up: what the system has not got
// through yet must not arrive after it was looked for and not found.
func (c *commitConn) abandon() {
	if l, ok := c.raw.(interface{ SetLinger(sec int) error }); ok {
		l.SetLinger(0) //nolint:errcheck // then it is an ordinary close
	}
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// Commit makes the one call that makes something public. It needs the Shot of
// the publish protocol in ctx, over a connection from DialCommit to the same
// host. The request is signed before the shot is taken, so that a wait for a
// token happens before anything is used up.
//
// The outcome is a success (2xx, complete, decoded into Out), a refusal of the
// before-effect list in its kind, an error that says that nothing was written,
// or Ambiguous.
//
// Why no http.Transport: it decides by itself when a request is sent again, in
// more places with each Go release. Here the request is serialised into memory,
// written by one Write on a connection that is then closed, and read back with
// net/http's own parser. There is nothing that could write twice.
func (c *Client) Commit(ctx context.Context, k Call) (Answer, error) {
	began := time.Now() //nolint:forbidigo // only for the log
	a, req, err := c.commit(ctx, &k)
	c.log(ctx, &k, req, a, began, err)
	return a, c.clean(err, req)
}

func (c *Client) commit(ctx context.Context, k *Call) (Answer, *http.Request, error) {
	shot, err := connectors.ShotFrom(ctx)
	if err != nil {
		return Answer{}, nil, err
	}
	if err := c.gate(ctx, k); err != nil {
		return Answer{}, nil, err
	}
	req, raw, err := c.serialise(ctx, k)
	if err != nil {
		return Answer{}, req, err
	}
	if !c.core.used.first(shot.Attempt) {
		return Answer{}, req, misuse(k.Op, "attempt %s was committed before; it is not sent again", shot.Attempt)
	}
	conn, err := shot.Take()
	if err != nil {
		return Answer{}, req, err
	}
	if conn == nil {
		return Answer{}, req, misuse(k.Op, "the commit has no connection; it must be dialled before it is armed")
	}
	defer conn.Close() //nolint:errcheck // one request per connection, and it is over
	cc, ok := conn.(*commitConn)
	if !ok || cc.to != req.URL.Scheme+"://"+hostPort(req.URL) {
		return Answer{}, req, misuse(k.Op, "the connection of the commit goes to another host than the commit")
	}
	a, x, err := c.exchange(ctx, k, conn, req, raw, shot.BeforeByte, shot.Wrote)
	switch {
	case x == connectors.ReachNothing:
		return Answer{}, req, notSent(k.Op, err)
	case x == connectors.ReachWritten:
		cc.abandon()
		return Answer{}, req, &connectors.Error{Kind: connectors.Ambiguous, Op: k.Op, Text: c.broken(err), Err: err}
	}
	shot.Answered()
	return a, req, c.judge(ctx, k, a)
}

// judge decides the outcome of a commit from its complete answer.
func (c *Client) judge(ctx context.Context, k *Call, a Answer) error {
	if a.Status >= 200 && a.Status < 300 {
		c.learn(ctx, k, a, nil)
		if k.Out == nil {
			return nil
		}
		if err := decode(a.Body, k.Out); err != nil {
			return &connectors.Error{
				Kind: connectors.Ambiguous, Op: k.Op, Status: a.Status, RequestID: a.RequestID(),
				Text: c.cfg.Title + " accepted the request, but its answer cannot be read", Err: err,
			}
		}
		return nil
	}
	e := c.classify(k, a)
	c.learn(ctx, k, a, e)
	rule, ok := c.beforeEffect(k.Op, a.Status, e.Code)
	if !ok {
		e.Err = join(e.Err, fmt.Errorf("%s", e.Text))
		e.Kind, e.RetryAfter = connectors.Ambiguous, 0
		e.Text = fmt.Sprintf("%s answered with an error after which the post may still be there", c.cfg.Title)
		return e
	}
	e.Kind = rule.Kind
	return e
}

func join(err, more error) error {
	if err == nil {
		return more
	}
	return fmt.Errorf("%w: %w", more, err)
}

// Once makes a call that must be written at most once but is no commit: token
// refresh. It dials by itself and does not sign. Transient means that nothing
// was written; a complete answer is classified (one that is not JSON, a 5xx, a
// redirect, 408, 409 and 425 are Ambiguous: somebody in between may have spoken);
// everything else is Ambiguous.
func (c *Client) Once(ctx context.Context, k Call) (Answer, error) {
	began := time.Now() //nolint:forbidigo // only for the log
	a, req, err := c.onceOnly(ctx, &k)
	c.log(ctx, &k, req, a, began, err)
	return a, c.clean(err, req)
}

func (c *Client) onceOnly(ctx context.Context, k *Call) (Answer, *http.Request, error) {
	k.Anonymous = true
	if err := c.gate(ctx, k); err != nil {
		return Answer{}, nil, err
	}
	req, raw, err := c.serialise(ctx, k)
	if err != nil {
		return Answer{}, req, err
	}
	conn, err := c.DialCommit(ctx, k.URL)
	if err != nil {
		return Answer{}, req, err
	}
	defer conn.Close() //nolint:errcheck // one request per connection
	a, x, err := c.exchange(ctx, k, conn, req, raw, func() error { return nil }, func(int) {})
	switch {
	case x == connectors.ReachNothing:
		return Answer{}, req, notSent(k.Op, err)
	case x == connectors.ReachWritten:
		return Answer{}, req, &connectors.Error{Kind: connectors.Ambiguous, Op: k.Op, Text: c.broken(err), Err: err}
	case a.Status >= 200 && a.Status < 300:
		c.learn(ctx, k, a, nil)
		if k.Out == nil {
			return a, req, nil
		}
		if err := decode(a.Body, k.Out); err != nil {
			return a, req, &connectors.Error{Kind: connectors.Ambiguous, Op: k.Op, Status: a.Status, Text: c.cfg.Title + " answered in a way smi does not understand", Err: err}
		}
		return a, req, nil
	}
	e := c.classify(k, a)
	c.learn(ctx, k, a, e)
	var object map[string]any
	unsure := a.Status < 400 || a.Status >= 500 ||
		slices.Contains([]int{http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly}, a.Status) ||
		e.Kind == connectors.Unknown || e.Kind == connectors.Transient ||
		decode(a.Body, &object) != nil
	if unsure {
		e.Kind = connectors.Ambiguous
	}
	return a, req, e
}

// serialise builds and signs the request and writes it into memory.
func (c *Client) serialise(ctx context.Context, k *Call) (*http.Request, []byte, error) {
	req, err := c.request(ctx, k)
	if err != nil {
		return nil, nil, err
	}
	defer closeBody(req)
	// A method that takes no body (Bluesky's refreshSession) is called with an
	// empty one, on purpose; a commit always has one.
	empty := k.Body != nil && k.Anonymous
	if (req.Body == nil || req.Body == http.NoBody) && !empty {
		return req, nil, misuse(k.Op, "a call that must be written once needs a body")
	}
	for _, name := range []string{"Expect", "Connection", "Upgrade", "Transfer-Encoding"} {
		req.Header.Del(name)
	}
	req.Header.Set("Accept-Encoding", "identity") // what we cannot read would be Ambiguous
	if !k.Anonymous && c.cfg.Signer != nil {
		if _, err := c.cfg.Signer.Sign(ctx, req); err != nil {
			return req, nil, asTransient(k.Op, err)
		}
	}
	req.Close = true
	var w limitedBuffer
	if err := req.Write(&w); err != nil {
		return req, nil, &connectors.Error{Kind: connectors.Transient, Op: k.Op, Text: "the request could not be put together", Err: err}
	}
	return req, w.b, nil
}

// maxRequest bounds a request that is written once. Files go up before, in
// Prepare.
const maxRequest = 32 << 20

type limitedBuffer struct{ b []byte }

func (w *limitedBuffer) Write(p []byte) (int, error) {
	if len(w.b)+len(p) > maxRequest {
		return 0, errors.New("the request is too large to be written once")
	}
	w.b = append(w.b, p...)
	return len(p), nil
}

// notSent keeps the kind of an error that came before the first byte; one
// without a kind is Transient.
func notSent(op string, err error) error {
	e := *connectors.AsError(err)
	if e.Kind == connectors.Unknown || e.Kind == connectors.Ambiguous {
		e.Kind = connectors.Transient
		e.Text = "the connection was lost before anything was sent"
	}
	e.Op = op
	return &e
}

func (c *Client) broken(err error) string {
	var bad badAnswer
	switch {
	case errors.As(err, &bad):
		return c.cfg.Title + " gave an answer that cannot be trusted"
	case timedOut(err):
		return c.cfg.Title + " did not answer in time"
	default:
		return "the connection to " + c.cfg.Title + " broke before the answer was complete"
	}
}

// attempts remembers the attempts that were begun, so that a second shot for
// one attempt is refused even if the protocol above had a bug.
type attempts struct {
	mu   sync.Mutex
	seen map[social.ID]struct{}
	ring []social.ID
	next int
}

const rememberAttempts = 1 << 16

func (a *attempts) first(id social.ID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen == nil {
		a.seen = map[social.ID]struct{}{}
	}
	if _, again := a.seen[id]; again {
		return false
	}
	if len(a.ring) < rememberAttempts {
		a.ring = append(a.ring, id)
	} else {
		delete(a.seen, a.ring[a.next])
		a.ring[a.next] = id
		a.next = (a.next + 1) % rememberAttempts
	}
	a.seen[id] = struct{}{}
	return true
}

// interim is how many 1xx answers are read past.
const interim = 5

// stale is how long the connection is listened to before the request is
// written. A server that has closed it, or speaks first, is noticed while that
// still means "nothing was sent".
const stale = time.Millisecond

// exchange writes raw once and reads the answer. Its reach says how far it
// came: with ReachAnswered err is nil and the answer complete.
func (c *Client) exchange(ctx context.Context, k *Call, conn net.Conn, req *http.Request, raw []byte, before func() error, wrote func(int)) (a Answer, reach connectors.Reach, err error) {
	began := time.Now() //nolint:forbidigo // deadlines of sockets are real time
	reach = connectors.ReachNothing
	if err := ctx.Err(); err != nil {
		return a, reach, err
	}
	if err := alive(conn); err != nil {
		return a, reach, &connectors.Error{Kind: connectors.Transient, Op: k.Op, Text: "the connection was lost before anything was sent", Err: err}
	}
	whole, header, limit := k.Timeout, k.HeaderTimeout, k.MaxBytes
	if whole <= 0 {
		whole = CommitTimeout
	}
	if header <= 0 {
		header = HeaderTimeout
	}
	if limit <= 0 {
		limit = MaxCommit
	}
	end := began.Add(whole)
	deadline := func(t time.Time) {
		conn.SetDeadline(t) //nolint:errcheck // a broken connection fails at the next use
		if ctx.Err() != nil {
			conn.SetDeadline(time.Unix(1, 0)) //nolint:errcheck // as above
		}
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // as above
	defer stop()
	deadline(end)

	if err := before(); err != nil {
		return a, reach, err
	}
	reach = connectors.ReachWritten
	n, err := conn.Write(raw)
	wrote(n)
	if err != nil {
		return a, reach, fmt.Errorf("writing the request: %w", err)
	}
	headEnd := time.Now().Add(header) //nolint:forbidigo // deadlines of sockets are real time
	if headEnd.After(end) {
		headEnd = end
	}
	deadline(headEnd)
	a, err = readAnswer(conn, req, limit, func() { deadline(end) })
	if err != nil {
		return Answer{}, reach, err
	}
	a.Op = k.Op
	return a, connectors.ReachAnswered, nil
}

// alive looks whether the other side has closed the connection or speaks
// unasked.
func alive(conn net.Conn) error {
	conn.SetReadDeadline(time.Now().Add(stale)) //nolint:errcheck,forbidigo // Read tells; sockets use real time
	var b [1]byte
	n, err := conn.Read(b[:])
	switch {
	case n > 0:
		return errors.New("the server spoke before it was asked")
	case timedOut(err):
		return nil
	case err == nil:
		return io.ErrNoProgress
	default:
		return err
	}
}
