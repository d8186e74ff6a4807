package twitter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/dghubble/go-twitter/twitter" //nolint:staticcheck // it is archived, as is the API it speaks
	"github.com/dghubble/oauth1"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// Legacy is X by API v1.1, for the enterprise and legacy contracts that still
// have it: text, threads, deleting, the own timeline and the counters of posts.
// The calls are those of go-twitter; they are sent by the same HTTP stack as all
// others.
type Legacy struct{ p *Platform }

var (
	_ connectors.Platform      = (*Legacy)(nil)
	_ connectors.FormLogin     = (*Legacy)(nil)
	_ connectors.AccountLister = (*Legacy)(nil)
	_ connectors.Revoker       = (*Legacy)(nil)
	_ connectors.Voucher       = (*Legacy)(nil)
)

// extraSecret is where a grant keeps the secret of its access token.
const extraSecret = "token_secret"

// The fields of the login form.
const (
	fieldToken  = "access_token"
	fieldSecret = "access_token_secret"
)

// Describe returns the facts of the network as v1.1 has it.
func (l *Legacy) Describe() connectors.Description {
	d := l.p.Describe()
	d.Limits = legacyLimits()
	d.Metrics = []social.Metric{social.Likes, social.Shares, social.Followers, social.Following, social.Posts}
	d.Budgets = legacyBudgets
	d.Missing = append([]connectors.Missing{
		{What: "media and polls", Why: "X switched the upload of API v1.1 off on 2025-06-09; use api: \"2\""},
		{What: "views, comments, quotes and bookmarks in numbers", Why: "API v1.1 does not tell them; use api: \"2\""},
	}, missing...)
	return d
}

func legacyLimits() connectors.Limits {
	return connectors.Limits{
		Text:         connectors.TextLimit{Unit: connectors.Weighted, Max: normalText},
		Link:         connectors.Lossy,
		LinkAndMedia: true,
		Thread:       99,
		Comment:      10,
	}
}

// legacyBudgets are the limits of statuses/update (developer.x.com, v1.1 rate
// limits, read 2026-08-22): 300 posts and reposts in three hours.
var legacyBudgets = []connectors.Budget{{Endpoint: "create", Window: 3 * time.Hour, Limit: 300, Cost: 1}}

// Dial returns the connection of one account. No I/O.
func (l *Legacy) Dial(a social.Account, c connectors.Credentials) (connectors.Conn, error) {
	return l.conn(a, c)
}

func (l *Legacy) conn(a social.Account, c connectors.Credentials) (*legacyConn, error) {
	client, err := l.p.http.For(a.RemoteID, oauth1Signer{c, l.p.cfg})
	if err != nil {
		return nil, err
	}
	return &legacyConn{p: l.p, account: a, http: client}, nil
}

// LoginFields are what the form asks for.
func (l *Legacy) LoginFields() []connectors.Field {
	return []connectors.Field{
		{Name: fieldToken, Label: "Access token", Secret: true, Help: "Of the account, made in X's developer console beside the app's keys, with the right to read and write."},
		{Name: fieldSecret, Label: "Access token secret", Secret: true, Help: "Shown together with the access token."},
	}
}

// Login takes the tokens of an account and asks X whether they are good.
func (l *Legacy) Login(ctx context.Context, in map[string]social.Secret) (connectors.Grant, error) {
	none := connectors.Grant{}
	if l.p.cfg.ConsumerKey.Empty() || l.p.cfg.ConsumerSecret.Empty() {
		return none, &connectors.Error{Kind: connectors.Permission, Op: "login", Text: "API v1.1 needs twitter.consumer_key and twitter.consumer_secret: set them"}
	}
	g := connectors.Grant{
		Access: l.p.secret(strings.TrimSpace(in[fieldToken].Reveal())),
		Extra:  map[string]social.Secret{extraSecret: l.p.secret(strings.TrimSpace(in[fieldSecret].Reveal()))},
	}
	for _, f := range []struct {
		name string
		v    social.Secret
	}{{fieldToken, g.Access}, {fieldSecret, g.Extra[extraSecret]}} {
		if f.v.Empty() {
			return none, &connectors.Error{Kind: connectors.Invalid, Op: "login", Field: f.name, Text: "type it as X's developer console shows it"}
		}
	}
	if _, err := l.Accounts(ctx, g); err != nil {
		if connectors.KindOf(err) == connectors.AuthExpired {
			return none, &connectors.Error{Kind: connectors.Invalid, Op: "login", Field: fieldToken, Text: "X does not accept these tokens; make new ones in the developer console and type both again"}
		}
		return none, err
	}
	return g, nil
}

// Refresh asks whether the tokens are still good: they have no end and are never
// renewed, and a 401 may come from something before X. Only X's own words end
// them.
func (l *Legacy) Refresh(ctx context.Context, g connectors.Grant) (connectors.Grant, error) {
	none := connectors.Grant{}
	c, err := l.conn(social.Account{}, asking{api.Lend(g, "login", "X"), g})
	if err != nil {
		return none, err
	}
	_, _, _, err = c.whoAmI(ctx)
	e := connectors.AsError(err)
	if e == nil {
		return g, nil
	}
	own := *e
	own.Op = "refresh"
	if e.Kind == connectors.AuthExpired {
		if legacy[e.Code] == connectors.AuthExpired {
			own.Text = "X no longer accepts the tokens of this account; make new ones in X's developer console and connect it again"
		} else {
			own.Kind, own.Text = connectors.Transient, "something before X refuses smi; it is tried again"
		}
	}
	return none, &own
}

// Vouches says that Refresh asks about tokens that cannot be renewed.
func (l *Legacy) Vouches() {}

// asking lends a grant to a question about that very grant: when it is refused it
// is shown once more, and what is said then counts.
type asking struct {
	connectors.Credentials
	g connectors.Grant
}

func (a asking) Renew(context.Context, int64) (connectors.Grant, error) { return a.g, nil }

// Accounts says which account a grant opens: one.
func (l *Legacy) Accounts(ctx context.Context, g connectors.Grant) ([]social.Profile, error) {
	c, err := l.conn(social.Account{}, api.Lend(g, "login", "X"))
	if err != nil {
		return nil, err
	}
	prof, err := c.Identity(ctx)
	if err != nil {
		return nil, err
	}
	return []social.Profile{prof}, nil
}

// Revoke ends the token at the network (POST oauth/invalidate_token).
func (l *Legacy) Revoke(ctx context.Context, g connectors.Grant) error {
	c, err := l.conn(social.Account{}, api.Lend(g, "login", "X"))
	if err != nil {
		return err
	}
	_, err = c.http.Do(ctx, api.Call{
		Op: "invalidateToken", Method: http.MethodPost, URL: l.p.url("/1.1/oauth/invalidate_token.json"), Repeatable: true, Secret: true,
	})
	if connectors.KindOf(err) == connectors.AuthExpired {
		return nil // it had ended before
	}
	return err
}

// oauth1Signer signs with OAuth 1.0a, each request anew: X refuses a nonce that
// it has seen.
type oauth1Signer struct {
	creds connectors.Credentials
	cfg   Config
}

// Sign adds the signature of a request, of which a form is a part.
func (s oauth1Signer) Sign(ctx context.Context, r *http.Request) (int64, error) {
	g, err := s.creds.Grant(ctx)
	if err != nil {
		return 0, err
	}
	signed := r.Clone(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return g.Gen, fmt.Errorf("reading the request to sign it: %w", err)
		}
		r.Body, signed.Body = io.NopCloser(bytes.NewReader(body)), io.NopCloser(bytes.NewReader(body))
	}
	var seen headerOnly
	config := oauth1.NewConfig(s.cfg.ConsumerKey.Reveal(), s.cfg.ConsumerSecret.Reveal())
	base := context.WithValue(ctx, oauth1.HTTPClient, &http.Client{Transport: &seen})
	client := oauth1.NewClient(base, config, oauth1.NewToken(g.Access.Reveal(), g.Extra[extraSecret].Reveal()))
	if _, err := client.Transport.RoundTrip(signed); !errors.Is(err, errSigned) { //nolint:bodyclose // there is no answer
		return g.Gen, fmt.Errorf("signing the request: %w", err)
	}
	r.Header.Set("Authorization", seen.authorization)
	return g.Gen, nil
}

// Renew tells that the tokens were refused; there will be no newer ones.
func (s oauth1Signer) Renew(ctx context.Context, gen int64) error {
	_, err := s.creds.Renew(ctx, gen)
	if e := connectors.AsError(err); e != nil && e.Kind == connectors.AuthExpired && e.Status == 0 {
		refused := *e
		refused.Status = http.StatusUnauthorized
		return &refused
	}
	return err
}

var errSigned = errors.New("signed, not sent")

// headerOnly takes a signed request and sends nothing.
type headerOnly struct{ authorization string }

// RoundTrip implements http.RoundTripper.
func (h *headerOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	h.authorization = r.Header.Get("Authorization")
	return nil, errSigned
}

// bridge carries one call of go-twitter over our own HTTP stack: a commit is
// written once, under its Shot, and nothing is redirected or repeated behind it.
type bridge struct {
	ctx    context.Context //nolint:containedctx // go-twitter takes none; the bridge lives for one call
	c      *legacyConn
	call   api.Call // what is not in the request: Op, Bucket, Out
	commit bool

	answer api.Answer
	err    error
}

// libraryBase is where go-twitter sends its calls to.
const libraryBase = "https://api.twitter.com"

// RoundTrip implements http.RoundTripper.
func (b *bridge) RoundTrip(r *http.Request) (*http.Response, error) {
	k := b.call
	k.Method, k.URL = r.Method, b.c.p.url(strings.TrimPrefix(r.URL.String(), libraryBase))
	k.ContentType = r.Header.Get("Content-Type")
	if r.Body != nil {
		defer r.Body.Close() //nolint:errcheck // was read
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		k.Body = body
	}
	if b.commit {
		b.answer, b.err = b.c.http.Commit(b.ctx, k)
	} else {
		b.answer, b.err = b.c.http.Do(b.ctx, k)
	}
	if b.err != nil {
		return nil, b.err
	}
	return &http.Response{
		StatusCode: b.answer.Status, Status: http.StatusText(b.answer.Status), Header: b.answer.Header, Request: r, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(bytes.NewReader(b.answer.Body)), ContentLength: int64(len(b.answer.Body)),
	}, nil
}

// through makes one call of go-twitter and returns its answer. The error of the
// HTTP stack comes before what the library makes of it.
func (c *legacyConn) through(ctx context.Context, k api.Call, commit bool, do func(*twitter.Client) error) (api.Answer, error) {
	b := &bridge{ctx: ctx, c: c, call: k, commit: commit}
	err := do(twitter.NewClient(&http.Client{
		Transport:     b,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}))
	switch {
	case b.err != nil:
		return b.answer, b.err
	case err != nil:
		return b.answer, &connectors.Error{Kind: connectors.Unknown, Op: k.Op, Status: b.answer.Status, Text: "X answered in a way smi does not understand", Err: err}
	}
	return b.answer, nil
}
