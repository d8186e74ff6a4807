package credentials_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"smi/connectors"
	"smi/internal/credentials"
	"smi/internal/keyring"
	"smi/internal/social"
	"smi/store"
	"smi/store/storetest"
)

// began is when every test begins, in the time of its bubble.
var began = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

// clockAt returns a clock that shows began now and runs with the bubble's time.
func clockAt() func() time.Time {
	offset := time.Until(began)
	return func() time.Time { return time.Now().Add(offset).UTC() }
}

// rig is a store on a disk, a network that rotates, and nodes that share them.
// All of it belongs into a synctest bubble.
type rig struct {
	t     *testing.T
	now   func() time.Time
	path  string
	store *store.Store
	seeds *storetest.Seeds
	ring  *keyring.Keyring
	log   bytes.Buffer
	logMu sync.Mutex
	space social.ID
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, now: clockAt(), path: filepath.Join(t.TempDir(), "smi.db")}
	var err error
	if r.ring, err = keyring.Init(filepath.Join(t.TempDir(), "key"), ""); err != nil {
		t.Fatal(err)
	}
	if r.store, err = store.Open(t.Context(), store.Options{Path: r.path, Now: r.now, BallastBytes: -1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	})
	r.seeds = storetest.Seed(t, r.store)
	r.space = r.seeds.Workspace().ID
	return r
}

func (r *rig) Write(p []byte) (int, error) {
	r.logMu.Lock()
	defer r.logMu.Unlock()
	return r.log.Write(p)
}

// node returns a Service of its own on the shared store. edit may change its
// configuration.
func (r *rig) node(name string, edit ...func(*credentials.Config)) *credentials.Service {
	r.t.Helper()
	c := credentials.Config{
		Store: r.store, Keyring: r.ring, Instance: "instance-1", Node: name, Now: r.now,
		Log: slog.New(slog.NewJSONHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, e := range edit {
		e(&c)
	}
	s, err := credentials.New(c)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// account adds an account whose first grant is stored by n.
func (r *rig) account(n *credentials.Service, g connectors.Grant) social.ID {
	r.t.Helper()
	a := r.seeds.Account(r.space).ID
	if err := n.Connect(r.t.Context(), a, g); err != nil {
		r.t.Fatal(err)
	}
	return a
}

func (r *rig) row(a social.ID) credentials.Row {
	r.t.Helper()
	row, err := r.store.GrantRow(r.t.Context(), a)
	if err != nil {
		r.t.Fatal(err)
	}
	return row
}

// status is "connected 2: reason" as the account says.
func (r *rig) status(a social.ID) string {
	r.t.Helper()
	return r.seeds.Text(`SELECT status || ' ' || token_gen || ': ' || status_reason FROM account WHERE id = $1`, int64(a))
}

// notices are the kinds and severities of the notices about an account, in order.
func (r *rig) notices(a social.ID) string {
	r.t.Helper()
	return r.seeds.Text(`SELECT COALESCE(group_concat(kind || '/' || severity, ' '), '') FROM (SELECT kind, severity FROM outbox WHERE account_id = $1 ORDER BY id)`, int64(a))
}

// told is the text of the last notice about an account.
func (r *rig) told(a social.ID) string {
	r.t.Helper()
	return r.seeds.Text(`SELECT text FROM outbox WHERE account_id = $1 ORDER BY id DESC LIMIT 1`, int64(a))
}

func (r *rig) close(ns ...*credentials.Service) {
	r.t.Helper()
	for _, n := range ns {
		if err := n.Close(r.t.Context()); err != nil {
			r.t.Error(err)
		}
	}
}

// sleep lets the bubble's time pass.
func sleep(d time.Duration) {
	<-time.After(d)
}

// network issues grants. Each refresh kills the refresh token it was given; the
// second use of one kills the whole login, as RFC 9700 section 4.14.2 wants it.
type network struct {
	now     func() time.Time
	life    time.Duration // of access tokens
	latency time.Duration
	lenient bool // refresh tokens stay good
	mark    string

	mu     sync.Mutex
	n      int
	tokens map[string]*family // refresh token → its login
	script []fault
	calls  int
	inside int
	most   int // calls at the same time
	seen   []context.Context
}

type family struct {
	refresh, access string // the living ones
	dead            bool
}

// fault is what happens to one refresh.
type fault int

const (
	fine     fault = iota
	unsent         // nothing was written
	cutEarly       // written, but the network never saw it
	cutLate        // the network did it; the answer was lost
	gateway        // the network did it; a proxy said 502
	tooMany        // 429
	noApp          // the app's own credentials are refused
	deadline       // a bare context error
	breaks         // the connector panics
	denied         // invalid_grant without a reason
)

func newNetwork(r *rig) *network {
	return &network{now: r.now, life: 2 * time.Hour, latency: 300 * time.Millisecond, tokens: map[string]*family{}, mark: "SMICANARY"}
}

// login makes a login and returns its first grant.
func (n *network) login() connectors.Grant {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.issue(&family{})
}

func (n *network) issue(f *family) connectors.Grant {
	n.n++
	if !n.lenient || f.refresh == "" {
		f.refresh = fmt.Sprintf("%s-refresh-%d", n.mark, n.n)
	}
	f.access = fmt.Sprintf("%s-access-%d", n.mark, n.n)
	n.tokens[f.refresh] = f
	return connectors.Grant{
		Access: social.NewSecret(f.access), Refresh: social.NewSecret(f.refresh), Expires: n.now().Add(n.life), Rotates: !n.lenient,
		Scopes: []string{"post", "read"}, Extra: map[string]social.Secret{"dpop": social.NewSecret(n.mark + "-dpop")},
	}
}

func (n *network) then(f ...fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.script = append(n.script, f...)
}

func (n *network) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls
}

// Refresh implements connectors.Refresher.
func (n *network) Refresh(ctx context.Context, g connectors.Grant) (connectors.Grant, error) {
	n.mu.Lock()
	n.calls++
	n.inside++
	n.most = max(n.most, n.inside)
	n.seen = append(n.seen, ctx)
	f := fine
	if len(n.script) > 0 {
		f, n.script = n.script[0], n.script[1:]
	}
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		n.inside--
		n.mu.Unlock()
	}()
	var none connectors.Grant
	fail := func(kind connectors.Kind, status int, text string) (connectors.Grant, error) {
		return none, &connectors.Error{Kind: kind, Status: status, Op: "refresh", Text: text, Err: errors.New("cause with " + g.Refresh.Reveal())}
	}
	switch f {
	case unsent:
		return fail(connectors.Transient, 0, "the network could not be reached")
	case tooMany:
		e := &connectors.Error{Kind: connectors.RateLimited, Status: 429, Text: "too many requests", RetryAfter: 20 * time.Minute}
		return none, e
	case noApp:
		return fail(connectors.Permission, 401, "the network does not know the app (invalid_client)")
	case denied:
		return fail(connectors.AuthExpired, 400, "the network no longer accepts "+g.Refresh.Reveal())
	case deadline:
		<-ctx.Done()
		return none, fmt.Errorf("post: %w", ctx.Err())
	case breaks:
		panic("broken with " + g.Refresh.Reveal())
	case fine, cutEarly, cutLate, gateway:
	}
	select {
	case <-time.After(n.latency):
	case <-ctx.Done():
		return fail(connectors.Ambiguous, 0, "no answer came")
	}
	if f == cutEarly {
		return fail(connectors.Ambiguous, 0, "the connection broke")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	fam := n.tokens[g.Refresh.Reveal()]
	if fam == nil || fam.dead || fam.refresh != g.Refresh.Reveal() {
		if fam != nil {
			fam.dead = true
		}
		return fail(connectors.AuthExpired, 400, "the network no longer accepts this login")
	}
	fresh := n.issue(fam)
	switch f {
	case cutLate:
		return fail(connectors.Ambiguous, 0, "the connection broke")
	case gateway:
		return fail(connectors.Transient, 502, "bad gateway")
	default:
	}
	return fresh, nil
}

// good says whether a grant's access token is the living one of a living login.
func (n *network) good(g connectors.Grant) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.tokens[g.Refresh.Reveal()]
	return f != nil && !f.dead && f.access == g.Access.Reveal()
}

// killed says whether the login that a grant belongs to is dead.
func (n *network) killed(g connectors.Grant) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.tokens[g.Refresh.Reveal()]
	return f == nil || f.dead
}

func mustGrant(t *testing.T, c connectors.Credentials) connectors.Grant {
	t.Helper()
	g, err := c.Grant(t.Context())
	if err != nil {
		t.Fatalf("Grant: %v", err)
	}
	return g
}

func wantText(t *testing.T, what, got string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(got, p) {
			t.Errorf("%s = %q; want it to hold %q", what, got, p)
		}
	}
}

func contextFor(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}
