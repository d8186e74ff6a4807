package connectors_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/internal/social"
)

// platform hands out one connection.
type platform struct {
	about connectors.Description
	conn  connectors.Conn
}

func (p platform) Describe() connectors.Description { return p.about }

func (p platform) Dial(social.Account, connectors.Credentials) (connectors.Conn, error) {
	return p.conn, nil
}

// plain is a connection with no verb but Identity.
type plain struct{ who social.Profile }

func (p plain) Identity(context.Context) (social.Profile, error) { return p.who, nil }

// publisher is a connection whose commit is told what to do.
type publisher struct {
	plain
	commit  func(context.Context) (connectors.Receipt, error)
	prepare connectors.Preparation
	bad     []social.Problem
}

func (p publisher) Check(*social.Part) []social.Problem { return p.bad }

func (p publisher) Prepare(context.Context, *connectors.Job) (connectors.Preparation, error) {
	return p.prepare, nil
}

func (p publisher) Commit(ctx context.Context, _ *connectors.Job) (connectors.Receipt, error) {
	return p.commit(ctx)
}

func open(t *testing.T, about connectors.Description, conn connectors.Conn) *connectors.Client {
	t.Helper()
	if about.Title == "" {
		about.Title = "Plain"
	}
	c, err := connectors.Open(platform{about, conn}, social.Account{Network: "plain", RemoteID: "me", Handle: "me.example"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// line is a connection that notes whether it was closed.
type line struct {
	net.Conn
	closed *bool
}

func (l line) Close() error {
	*l.closed = true
	return nil
}

// TestCommitClasses: whatever a connector says, the client tells no doubt for
// certainty and no certainty for doubt.
func TestCommitClasses(t *testing.T) {
	t.Parallel()
	e := func(k connectors.Kind, status int) error {
		return &connectors.Error{Kind: k, Status: status, Text: "as the connector says"}
	}
	good := connectors.Receipt{RemoteID: "1"}
	const nothing, written, answered = connectors.ReachNothing, connectors.ReachWritten, connectors.ReachAnswered
	for _, c := range []struct {
		reach connectors.Reach
		r     connectors.Receipt
		err   error
		want  connectors.Kind
	}{
		{answered, good, nil, ""},
		{answered, connectors.Receipt{}, nil, connectors.Ambiguous},
		{answered, connectors.Receipt{URL: "https://example.com/1"}, nil, connectors.Ambiguous},
		{written, good, nil, connectors.Ambiguous},
		{nothing, good, nil, connectors.Ambiguous},

		// Nothing was written: never a doubt, whatever was said.
		{nothing, good, e(connectors.Ambiguous, 0), connectors.Transient},
		{nothing, good, e(connectors.Unknown, 0), connectors.Transient},
		{nothing, good, errors.New("out of memory"), connectors.Transient},
		{nothing, good, context.Canceled, connectors.Transient},
		{nothing, good, e(connectors.Transient, 0), connectors.Transient},
		{nothing, good, e(connectors.AuthExpired, 0), connectors.AuthExpired},
		{nothing, good, e(connectors.RateLimited, 0), connectors.RateLimited},
		{nothing, good, e(connectors.Unsupported, 0), connectors.Unsupported},

		// Something was written and nothing came back: always a doubt.
		{written, good, e(connectors.Transient, 0), connectors.Ambiguous},
		{written, good, e(connectors.Invalid, 400), connectors.Ambiguous},
		{written, good, e(connectors.AuthExpired, 401), connectors.Ambiguous},
		{written, good, e(connectors.RateLimited, 429), connectors.Ambiguous},
		{written, good, io.ErrUnexpectedEOF, connectors.Ambiguous},
		{written, good, context.DeadlineExceeded, connectors.Ambiguous},

		// An answer came: a refusal stays one, the rest is a doubt.
		{answered, good, e(connectors.Invalid, 400), connectors.Invalid},
		{answered, good, e(connectors.AuthExpired, 401), connectors.AuthExpired},
		{answered, good, e(connectors.Permission, 403), connectors.Permission},
		{answered, good, e(connectors.RateLimited, 429), connectors.RateLimited},
		{answered, good, e(connectors.Permanent, 410), connectors.Permanent},
		{answered, good, e(connectors.Ambiguous, 403), connectors.Ambiguous},
		{answered, good, e(connectors.Transient, 400), connectors.Transient}, // a handle that ran out
		{answered, good, e(connectors.Transient, 401), connectors.Transient}, // a new nonce is wanted
		{answered, good, e(connectors.Transient, 408), connectors.Ambiguous},
		{answered, good, e(connectors.Transient, 409), connectors.Ambiguous},
		{answered, good, e(connectors.Transient, 425), connectors.Ambiguous},
		{answered, good, e(connectors.Transient, 500), connectors.Ambiguous},
		{answered, good, e(connectors.Transient, 503), connectors.Ambiguous},
		{answered, good, e(connectors.Transient, 200), connectors.Ambiguous}, // unreadable
		{answered, good, e(connectors.Transient, 307), connectors.Ambiguous},
		{answered, good, e(connectors.Transient, 0), connectors.Ambiguous},
		{answered, good, e(connectors.Unknown, 418), connectors.Ambiguous},
		{answered, good, context.Canceled, connectors.Ambiguous}, // ended while the answer was read
		{answered, good, errors.New("invalid character '<'"), connectors.Ambiguous},
	} {
		t.Run(fmt.Sprintf("%s %v", c.reach, c.err), func(t *testing.T) {
			client := open(t, connectors.Description{}, publisher{commit: func(ctx context.Context) (connectors.Receipt, error) {
				shot, err := connectors.ShotFrom(ctx)
				if err != nil {
					return connectors.Receipt{}, err
				}
				if c.reach != nothing {
					if _, err := shot.Take(); err != nil {
						return connectors.Receipt{}, err
					}
					if err := shot.BeforeByte(); err != nil {
						return connectors.Receipt{}, err
					}
				}
				if c.reach == answered {
					shot.Answered()
				}
				return c.r, c.err
			}})
			closed := false
			shot := connectors.NewShot(1, time.Now().Add(time.Minute), line{closed: &closed}, time.Now)
			_, err := client.Commit(t.Context(), &connectors.Job{}, shot)
			if got := connectors.KindOf(err); got != c.want {
				t.Errorf("came out as %q (%v), want %q", got, err, c.want)
			}
			if c.reach == nothing && !closed {
				t.Error("the connection of a shot that nobody took was left open")
			}
			if c.err != nil && !errors.Is(err, c.err) && connectors.AsError(c.err).Text != connectors.AsError(err).Text {
				t.Errorf("the cause is lost: %v", err)
			}
		})
	}
}

// TestCommitKeepsTheConnectorsError: what the connector kept to itself is not
// changed by the client's second thoughts.
func TestCommitKeepsTheConnectorsError(t *testing.T) {
	t.Parallel()
	own := &connectors.Error{Kind: connectors.Transient, Text: "shared"}
	client := open(t, connectors.Description{}, publisher{commit: func(ctx context.Context) (connectors.Receipt, error) {
		shot, err := connectors.ShotFrom(ctx)
		if err != nil {
			return connectors.Receipt{}, err
		}
		shot.Take()       //nolint:errcheck // it is fresh
		shot.BeforeByte() //nolint:errcheck // it is in time
		return connectors.Receipt{}, own
	}})
	_, err := client.Commit(t.Context(), &connectors.Job{}, connectors.NewShot(1, time.Now().Add(time.Minute), nil, time.Now))
	if connectors.KindOf(err) != connectors.Ambiguous || own.Kind != connectors.Transient {
		t.Errorf("%v, and the connector's own is %v", err, own)
	}
}

func TestShot(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	by := now.Add(10 * time.Second)

	s := connectors.NewShot(1, by, nil, clock)
	if _, err := s.Take(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Take(); connectors.KindOf(err) != connectors.Unsupported {
		t.Errorf("taken twice: %v", err)
	}
	now = by // still in time
	if err := s.BeforeByte(); err != nil {
		t.Fatal(err)
	}
	now = by.Add(time.Hour) // only the first byte can be too late
	if err := s.BeforeByte(); err != nil {
		t.Errorf("the second byte: %v", err)
	}
	s.Wrote(3)
	s.Wrote(4)
	if ev := s.Evidence(); !ev.Taken || ev.Reach != connectors.ReachWritten || ev.Bytes != 7 || !ev.FirstByte.Equal(by) {
		t.Errorf("%+v", ev)
	}
	s.Answered()
	if ev := s.Evidence(); ev.Reach != connectors.ReachAnswered {
		t.Errorf("%+v", ev)
	}

	late := connectors.NewShot(2, by, nil, clock)
	if _, err := late.Take(); connectors.KindOf(err) != connectors.Transient {
		t.Errorf("taken too late: %v", err)
	}
	now = by
	slow := connectors.NewShot(3, by, nil, clock)
	if _, err := slow.Take(); err != nil {
		t.Fatal(err)
	}
	now = by.Add(1)
	if err := slow.BeforeByte(); connectors.KindOf(err) != connectors.Transient {
		t.Errorf("a first byte too late: %v", err)
	}
	if ev := slow.Evidence(); ev.Reach != connectors.ReachNothing || !ev.FirstByte.IsZero() {
		t.Errorf("%+v", ev)
	}
	closed := false
	gone := connectors.NewShot(4, by, line{closed: &closed}, clock)
	gone.Discard()
	if _, err := gone.Take(); err == nil || !closed {
		t.Error("a discarded shot can be taken, or its connection is open")
	}
	if _, err := connectors.ShotFrom(t.Context()); connectors.KindOf(err) != connectors.Unsupported {
		t.Errorf("a context without a shot: %v", err)
	}
}

// TestCheckRoles: what is wrong with the parts together.
func TestCheckRoles(t *testing.T) {
	t.Parallel()
	about := connectors.Description{Limits: connectors.Limits{Thread: 2, Comment: 1}}
	client := open(t, about, publisher{})
	const body, thread, comment = social.RoleBody, social.RoleThread, social.RoleComment
	for _, c := range []struct {
		roles []social.PartRole
		want  string // fields
	}{
		{nil, "parts"},
		{[]social.PartRole{body}, ""},
		{[]social.PartRole{body, thread, thread, comment}, ""},
		{[]social.PartRole{thread}, "parts[0].role"},
		{[]social.PartRole{comment, body}, "parts[0].role parts[1].role"},
		{[]social.PartRole{body, body}, "parts[1].role"},
		{[]social.PartRole{body, comment, thread}, "parts[2].role"},
		{[]social.PartRole{body, "footnote"}, "parts[1].role"},
		{[]social.PartRole{body, ""}, "parts[1].role"},
		{[]social.PartRole{body, thread, thread, thread}, "parts"},
		{[]social.PartRole{body, comment, comment}, "parts"},
	} {
		var parts []social.Part
		for _, r := range c.roles {
			parts = append(parts, social.Part{Role: r})
		}
		var got []string
		for _, p := range client.Check(parts) {
			got = append(got, p.Field)
			if p.Severity != social.Refused || p.Text == "" {
				t.Errorf("%v: %+v", c.roles, p)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%v: problems with %q, want %q", c.roles, got, c.want)
		}
	}
	noisy := open(t, about, publisher{bad: []social.Problem{{Field: "media[1].alt", Text: "x", Severity: social.Advice}}})
	if got := noisy.Check([]social.Part{{Role: body}, {Role: thread}}); len(got) != 2 || got[1].Field != "parts[1].media[1].alt" || got[1].Severity != social.Advice {
		t.Errorf("%+v", got)
	}
	silent := open(t, about, plain{})
	if got := silent.Check([]social.Part{{Role: body}}); len(got) != 1 || got[0].Field != "account" || got[0].Severity != social.Refused {
		t.Errorf("a network that cannot be published to: %+v", got)
	}
}

// TestUnsupported: every verb a connection lacks says so, and none is pretended.
func TestUnsupported(t *testing.T) {
	t.Parallel()
	c := open(t, connectors.Description{}, plain{})
	ctx := t.Context()
	closed := false
	for name, call := range map[string]func() error{
		"prepare":          func() error { _, err := c.Prepare(ctx, &connectors.Job{}); return err },
		"find":             func() error { _, err := c.Find(ctx, &connectors.Job{}); return err },
		"get":              func() error { _, err := c.Get(ctx, "1"); return err },
		"delete":           func() error { return c.Delete(ctx, connectors.Receipt{}) },
		"list":             func() error { _, err := c.List(ctx, time.Time{}, ""); return err },
		"post insights":    func() error { _, err := c.PostInsights(ctx, []connectors.Receipt{{}}); return err },
		"account insights": func() error { _, err := c.AccountInsights(ctx, time.Time{}, time.Time{}); return err },
		"commit": func() error {
			_, err := c.Commit(ctx, &connectors.Job{}, connectors.NewShot(1, time.Now(), line{closed: &closed}, time.Now))
			return err
		},
	} {
		if err := call(); connectors.KindOf(err) != connectors.Unsupported || !strings.Contains(err.Error(), "Plain") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !closed {
		t.Error("the connection of a commit that cannot be was left open")
	}
	if v := c.Verbs(); v != (connectors.Verbs{}) {
		t.Errorf("%+v", v)
	}
	if v := open(t, connectors.Description{}, publisher{}).Verbs(); v != (connectors.Verbs{Publish: true}) {
		t.Errorf("%+v", v)
	}
	if conn, err := c.DialCommit(ctx, &connectors.Job{}); conn != nil || err != nil {
		t.Errorf("dialling where there is nothing to dial: %v, %v", conn, err)
	}
	r := connectors.Receipt{RemoteID: "1", Pending: true}
	if got, err := c.Confirm(ctx, r); err != nil || got.RemoteID != "1" {
		t.Errorf("confirming where nothing confirms: %+v, %v", got, err)
	}
}

// TestPrepareNeedsAClass: a finished preparation that does not say what may be
// repeated is no preparation.
// broken is a connector with a bug in each call of publishing.
type broken struct{ publisher }

func (broken) Prepare(context.Context, *connectors.Job) (connectors.Preparation, error) {
	panic("a bug")
}

func (broken) DialCommit(context.Context, *connectors.Job) (net.Conn, error) { panic("a bug") }

func (broken) Find(context.Context, *connectors.Job) (connectors.Finding, error) { panic("a bug") }

// TestPanics: a bug in a connector is an error of that call, and a commit that
// panicked after a byte was written is as unknown as any other.
func TestPanics(t *testing.T) {
	t.Parallel()
	c := open(t, connectors.Description{}, broken{})
	_, prepare := c.Prepare(t.Context(), nil)
	_, dial := c.DialCommit(t.Context(), nil)
	_, find := c.Find(t.Context(), nil)
	for op, err := range map[string]error{"prepare": prepare, "dial": dial, "find": find} {
		if connectors.KindOf(err) != connectors.Unknown || !strings.Contains(err.Error(), "client_test.go") || !strings.Contains(err.Error(), "a bug") {
			t.Errorf("%s: %v, want an unknown failure that says where", op, err)
		}
	}
	for name, row := range map[string]struct {
		write bool
		kind  connectors.Kind
	}{
		"before a byte": {false, connectors.Transient},
		"after a byte":  {true, connectors.Ambiguous},
	} {
		shot := connectors.NewShot(1, time.Now().Add(time.Minute), nil, time.Now)
		c := open(t, connectors.Description{}, publisher{commit: func(context.Context) (connectors.Receipt, error) {
			if row.write {
				if err := shot.BeforeByte(); err != nil {
					t.Error(err)
				}
			}
			panic("a bug")
		}})
		r, err := c.Commit(t.Context(), &connectors.Job{}, shot)
		if connectors.KindOf(err) != row.kind || r.RemoteID != "" {
			t.Errorf("a commit that panics %s: %+v, %v, want %s", name, r, err, row.kind)
		}
	}
}

func TestPrepareNeedsAClass(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		p    connectors.Preparation
		want connectors.Kind
	}{
		{connectors.Preparation{Class: connectors.Keyed}, ""},
		{connectors.Preparation{Again: time.Second}, ""},
		{connectors.Preparation{}, connectors.Unsupported},
	} {
		_, err := open(t, connectors.Description{}, publisher{prepare: c.p}).Prepare(t.Context(), &connectors.Job{})
		if connectors.KindOf(err) != c.want {
			t.Errorf("%+v: %v", c.p, err)
		}
	}
}

func TestIdentityOfAnother(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]connectors.Kind{"me": "", "you": connectors.Permanent, "": connectors.Permanent} {
		_, err := open(t, connectors.Description{}, plain{social.Profile{RemoteID: id}}).Identity(t.Context())
		if connectors.KindOf(err) != want {
			t.Errorf("a token of %q: %v", id, err)
		}
	}
}

// TestFingerprintForms: the two ways to write an accent are one text.
type own struct {
	publisher
	limits connectors.Limits
}

func (o own) Limits() connectors.Limits { return o.limits }

// TestOwnLimits: where servers differ, an account's own limits are the ones that
// are shown and kept.
func TestOwnLimits(t *testing.T) {
	t.Parallel()
	network := connectors.Description{Network: "n", Title: "N", Limits: connectors.Limits{Text: connectors.TextLimit{Max: 500}, Thread: 9}}
	if got := open(t, network, publisher{}).Describe(); got.Limits.Text.Max != 500 || got.Limits.Thread != 9 {
		t.Errorf("the network's limits became %+v", got.Limits)
	}
	c := open(t, network, own{limits: connectors.Limits{Text: connectors.TextLimit{Max: 5000}, Thread: 1}})
	if got := c.Describe(); got.Title != "N" || got.Limits.Text.Max != 5000 {
		t.Errorf("the account's limits are %+v of %s", got.Limits, got.Title)
	}
	parts := []social.Part{{Role: social.RoleBody}, {Role: social.RoleThread}, {Role: social.RoleThread}}
	if bad := c.Check(parts); len(bad) != 1 || bad[0].Field != "parts" {
		t.Errorf("two thread items where the server takes one: %+v", bad)
	}
}

func TestFingerprintForms(t *testing.T) {
	t.Parallel()
	a := social.Account{Network: "plain", RemoteID: "me"}
	composed, taken := connectors.FingerprintOf(a, "", "caf\u00e9", nil), connectors.FingerprintOf(a, "", "cafe\u0301", nil)
	if composed != taken {
		t.Error("an accent in two parts makes another fingerprint")
	}
	c := open(t, connectors.Description{}, plain{})
	p := &social.Part{Text: "caf\u00e9", Media: []social.Media{{Kind: social.Image}}}
	if c.Fingerprint(p, "p") != connectors.FingerprintOf(c.Account(), "p", "cafe\u0301", []social.MediaKind{social.Image}) {
		t.Error("what is sent and what is listed have different fingerprints")
	}
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	r := connectors.NewRegistry(connectors.Maker{Network: "zeta"}, connectors.Maker{Network: "alpha", Title: "Alpha"})
	if got := strings.Join(r.Names(), " "); got != "alpha zeta" {
		t.Errorf("the names are %q", got)
	}
	if m, ok := r.Maker("alpha"); !ok || m.Title != "Alpha" || len(r.Makers()) != 2 {
		t.Errorf("%+v %v", m, ok)
	}
	if _, ok := r.Maker("beta"); ok {
		t.Error("beta is known")
	}
	defer func() {
		if why := fmt.Sprint(recover()); !strings.Contains(why, "alpha") {
			t.Errorf("a name that comes twice: %s", why)
		}
	}()
	connectors.NewRegistry(connectors.Maker{Network: "alpha"}, connectors.Maker{Network: "alpha"})
}

func TestAsError(t *testing.T) {
	t.Parallel()
	if connectors.AsError(nil) != nil || connectors.KindOf(nil) != "" {
		t.Error("nil is an error")
	}
	e := &connectors.Error{Kind: connectors.Invalid, Op: "publish", Text: "too long", Status: 400, Code: "TooLong", Err: io.EOF}
	wrapped := fmt.Errorf("publishing: %w", e)
	if connectors.AsError(wrapped) != e || !errors.Is(wrapped, io.EOF) {
		t.Errorf("%v", connectors.AsError(wrapped))
	}
	if got, want := e.Error(), "publish: too long (status 400, code TooLong): EOF"; got != want {
		t.Errorf("it reads %q, want %q", got, want)
	}
	for err, want := range map[error]connectors.Kind{
		context.Canceled: connectors.Transient, context.DeadlineExceeded: connectors.Transient, io.EOF: connectors.Unknown,
		fmt.Errorf("x: %w", context.Canceled): connectors.Transient,
	} {
		if got := connectors.AsError(err); got.Kind != want || got.Text == "" || !errors.Is(got, errors.Unwrap(got)) {
			t.Errorf("%v became %+v", err, got)
		}
	}
	if got := (&connectors.Error{Kind: connectors.Permanent}).Error(); got != "permanent" {
		t.Errorf("an error without words reads %q", got)
	}
}
