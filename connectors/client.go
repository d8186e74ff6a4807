package connectors

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"

	"smi/internal/social"
)

// Client is one account on its network, with every verb. It is the type all
// others use: it finds out by itself what the connection can do, and answers
// with an Error of kind Unsupported where it cannot.
type Client struct {
	platform Platform
	about    Description
	account  social.Account
	creds    Credentials
	conn     Conn
}

// Open returns the client of an account. No I/O.
func Open(p Platform, a social.Account, c Credentials) (*Client, error) {
	conn, err := p.Dial(a, c)
	if err != nil {
		return nil, err
	}
	about := p.Describe()
	if own, ok := conn.(OwnLimits); ok {
		about.Limits = own.Limits()
	}
	return &Client{platform: p, about: about, account: a, creds: c, conn: conn}, nil
}

// Account returns the account as it was when the client was opened.
func (c *Client) Account() social.Account { return c.account }

// Describe returns the platform's description, with the limits of this account's
// own server where it has some.
func (c *Client) Describe() Description { return c.about }

// Verbs are what a connection can do, found out from its type. The capability
// table of the docs and the screens are made from it.
type Verbs struct {
	Publish         bool `json:"publish"`
	Find            bool `json:"find"`
	Confirm         bool `json:"confirm"`
	Get             bool `json:"get"`
	Delete          bool `json:"delete"`
	List            bool `json:"list"`
	PostInsights    bool `json:"post_insights"`
	AccountInsights bool `json:"account_insights"`
}

// Verbs returns what this connection can do.
func (c *Client) Verbs() Verbs {
	var v Verbs
	_, v.Publish = c.conn.(Publisher)
	_, v.Find = c.conn.(Finder)
	_, v.Confirm = c.conn.(Confirmer)
	_, v.Get = c.conn.(Getter)
	_, v.Delete = c.conn.(Deleter)
	_, v.List = c.conn.(Lister)
	_, v.PostInsights = c.conn.(PostInsights)
	_, v.AccountInsights = c.conn.(AccountInsights)
	return v
}

func (c *Client) unsupported(op string) error {
	return &Error{Kind: Unsupported, Op: op, Text: fmt.Sprintf("%s has no %s for this account", c.about.Title, op)}
}

// Identity makes the cheapest signed call and checks that the token still
// belongs to this account.
func (c *Client) Identity(ctx context.Context) (social.Profile, error) {
	p, err := c.conn.Identity(ctx)
	if err != nil {
		return p, err
	}
	if c.account.RemoteID != "" && p.RemoteID != c.account.RemoteID {
		return p, &Error{Kind: Permanent, Op: "identity", Text: fmt.Sprintf("the token belongs to %s (%s), not to %s", p.Handle, p.RemoteID, c.account.Handle)}
	}
	return p, nil
}

// Renew gets a new grant after the network refused the account's present one.
func (c *Client) Renew(ctx context.Context) error {
	_, err := c.creds.Renew(ctx, c.account.TokenGen)
	return err
}

// Check says what is wrong with the parts of a delivery. Problems of part n
// have the field "parts[n].…".
func (c *Client) Check(parts []social.Part) []social.Problem {
	pub, ok := c.conn.(Publisher)
	if !ok {
		return []social.Problem{{Field: "account", Text: c.about.Title + " cannot be published to", Severity: social.Refused}}
	}
	var out []social.Problem
	add := func(field, text string) {
		out = append(out, social.Problem{Field: field, Text: text, Severity: social.Refused})
	}
	if len(parts) == 0 {
		add("parts", "a post needs at least one part")
	}
	threads, comments := 0, 0
	for i := range parts {
		p := &parts[i]
		at := fmt.Sprintf("parts[%d].", i)
		switch {
		case i == 0 && p.Role != social.RoleBody:
			add(at+"role", "the first part is the body")
		case i > 0 && p.Role == social.RoleBody:
			add(at+"role", "only the first part is the body; use thread or comment")
		case p.Role == social.RoleThread:
			threads++
			if comments > 0 {
				add(at+"role", "thread items come before comments")
			}
		case p.Role == social.RoleComment:
			comments++
		case p.Role != social.RoleBody:
			add(at+"role", fmt.Sprintf("%q is no role; use body, thread or comment", p.Role))
		}
		for _, pr := range pub.Check(p) {
			pr.Field = at + pr.Field
			out = append(out, pr)
		}
	}
	l := c.about.Limits
	if threads > l.Thread {
		add("parts", fmt.Sprintf("%s takes %d thread items after the body; there are %d", c.about.Title, l.Thread, threads))
	}
	if comments > l.Comment {
		add("parts", fmt.Sprintf("%s takes %d first comments; there are %d", c.about.Title, l.Comment, comments))
	}
	return out
}

// Fingerprint returns the fingerprint of a part, which answers parent ("" for
// none).
func (c *Client) Fingerprint(p *social.Part, parent string) string {
	return FingerprintOf(c.account, parent, c.Words(p), social.Kinds(p.Media))
}

// Worded is a Conn of a network where more than the text tells two posts apart:
// the title of a video. The texts of its RemotePosts and the fingerprints of its
// Candidates are made of the same words.
type Worded interface {
	// Words are what a part says. Pure.
	Words(*social.Part) string
}

// Words are what a part says on this network: what it is recognised by.
func (c *Client) Words(p *social.Part) string {
	if w, ok := c.conn.(Worded); ok {
		return w.Words(p)
	}
	return p.Text
}

// Weigher is a Conn whose posts do not all take as much of a budget.
type Weigher interface {
	// Weigh is how many units of a budget the commit of a part takes. Pure.
	Weigh(Budget, *social.Part) int
}

// Weigh is how many units of a budget the commit of a part takes.
func (c *Client) Weigh(b Budget, p *social.Part) int {
	if w, ok := c.conn.(Weigher); ok {
		return w.Weigh(b, p)
	}
	return b.Cost
}

// FingerprintOf is the fingerprint of a text with media on an account. A
// connector uses it for what a listing shows.
func FingerprintOf(a social.Account, parent, text string, media []social.MediaKind) string {
	return social.Fingerprint(a.Network, a.RemoteID, parent, norm.NFC.String(text), media)
}

// Prepare makes a part ready. See Publisher.
func (c *Client) Prepare(ctx context.Context, j *Job) (Preparation, error) {
	pub, ok := c.conn.(Publisher)
	if !ok {
		return Preparation{}, c.unsupported("publishing")
	}
	prep, err := guarded("prepare", func() (Preparation, error) { return pub.Prepare(ctx, j) })
	if err == nil && prep.Again == 0 && prep.Class == "" {
		return prep, &Error{Kind: Unsupported, Op: "prepare", Text: "the connector did not say whether the commit is keyed"}
	}
	return prep, err
}

// DialCommit opens the connection of the commit, before arming. The caller owns
// it and gives it to NewShot. It is nil, without an error, where the network
// needs none.
func (c *Client) DialCommit(ctx context.Context, j *Job) (net.Conn, error) {
	d, ok := c.conn.(CommitDialer)
	if !ok {
		return nil, nil
	}
	return guarded("dial", func() (net.Conn, error) { return d.DialCommit(ctx, j) })
}

// Commit makes the part public, once. shot must be armed and unused. Whatever
// the connector says, an error after bytes were written that is not a
// classified refusal comes back as Ambiguous, and an error before any byte was
// written never does.
func (c *Client) Commit(ctx context.Context, j *Job, shot *Shot) (Receipt, error) {
	pub, ok := c.conn.(Publisher)
	if !ok {
		shot.Discard()
		return Receipt{}, c.unsupported("publishing")
	}
	r, err := guarded("commit", func() (Receipt, error) { return pub.Commit(WithShot(ctx, shot), j) })
	ev := shot.Evidence()
	if !ev.Taken {
		shot.Discard()
	}
	if err == nil {
		switch {
		case ev.Reach != ReachAnswered:
			err = &Error{Kind: Ambiguous, Op: "commit", Text: "the connector reported success without an answer from the network"}
		case r.RemoteID == "":
			err = &Error{Kind: Ambiguous, Op: "commit", Text: "the network accepted the post but did not say its id"}
		}
		return r, err
	}
	e := *AsError(err)
	switch {
	case ev.Reach == ReachNothing && (e.Kind == Ambiguous || e.Kind == Unknown):
		e.Kind = Transient
	case ev.Reach == ReachWritten:
		e.Kind = Ambiguous
	case ev.Reach == ReachAnswered && (e.Kind == Unknown || e.Kind == Transient && !refusal(e.Status)):
		e.Kind = Ambiguous
	}
	return r, &e
}

// refusal says whether an answer of this status can mean that a commit was
// refused before any effect and may be tried again. A 2xx that could not be
// read, a context that ended after the answer (status 0), a redirect and a 5xx
// cannot, nor can 408, 409 and 425.
func refusal(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly:
		return false
	}
	return status >= 400 && status < 500
}

// Find asks whether the job's last attempt happened. See Finder.
func (c *Client) Find(ctx context.Context, j *Job) (Finding, error) {
	f, ok := c.conn.(Finder)
	if !ok {
		return Finding{}, c.unsupported("way to look a post up")
	}
	return guarded("find", func() (Finding, error) { return f.Find(ctx, j) })
}

// guarded makes an error of a panic. A bug that one post of one network wakes
// must not stop the posts of all the others, and again at each start.
func guarded[T any](op string, call func() (T, error)) (out T, err error) {
	defer func() {
		if p := recover(); p != nil {
			var none T
			out, err = none, &Error{Kind: Unknown, Op: op, Text: "smi itself has a fault here; please report it with the line of the log", Err: fmt.Errorf("panic %s: %v", where(), p)}
		}
	}()
	return call()
}

// where says which line panicked, for the log.
func where() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") {
			return fmt.Sprintf("in %s (%s:%d)", f.Function, filepath.Base(f.File), f.Line)
		}
		if !more {
			return "somewhere"
		}
	}
}

// Confirm asks after a pending receipt.
func (c *Client) Confirm(ctx context.Context, r Receipt) (Receipt, error) {
	f, ok := c.conn.(Confirmer)
	if !ok {
		return r, nil
	}
	return f.Confirm(ctx, r)
}

// Get reads one post back by its remote id or URL.
func (c *Client) Get(ctx context.Context, remoteID string) (Candidate, error) {
	g, ok := c.conn.(Getter)
	if !ok {
		return Candidate{}, c.unsupported("reading of single posts")
	}
	return g.Get(ctx, remoteID)
}

// Delete removes something we published.
func (c *Client) Delete(ctx context.Context, r Receipt) error {
	d, ok := c.conn.(Deleter)
	if !ok {
		return c.unsupported("deleting")
	}
	return d.Delete(ctx, r)
}

// List returns a page of the account's own posts.
func (c *Client) List(ctx context.Context, since time.Time, cursor string) (Page, error) {
	l, ok := c.conn.(Lister)
	if !ok {
		return Page{}, c.unsupported("list of posts")
	}
	return l.List(ctx, since, cursor)
}

// Likeness compares a post of a listing with a part: its fingerprint as one with
// the words of the part, "" where it has others, and how much of their words
// they share.
func (c *Client) Likeness(p *social.Part, r RemotePost) (fingerprint string, similarity float64) {
	rec, ok := c.conn.(Recogniser)
	switch {
	case !ok:
		return FingerprintOf(c.account, r.Parent, r.Text, r.Media), social.Similarity(c.Words(p), r.Text)
	case rec.Recognises(p, r):
		return FingerprintOf(c.account, r.Parent, c.Words(p), r.Media), 1
	}
	return "", social.Similarity(c.Words(p), r.Text)
}

// PostInsights reads the numbers of posts.
func (c *Client) PostInsights(ctx context.Context, rs []Receipt) (social.Reading, error) {
	p, ok := c.conn.(PostInsights)
	if !ok {
		return social.Reading{}, c.unsupported("numbers of posts")
	}
	if len(rs) == 0 {
		return social.Reading{}, nil
	}
	return p.PostInsights(ctx, rs)
}

// AccountInsights reads the numbers of the account.
func (c *Client) AccountInsights(ctx context.Context, from, to time.Time) (social.Reading, error) {
	p, ok := c.conn.(AccountInsights)
	if !ok {
		return social.Reading{}, c.unsupported("numbers of the account")
	}
	return p.AccountInsights(ctx, from, to)
}

// RequestHash is the hash of commit bytes as it is stored with an attempt.
func RequestHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
