package connectortest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"smi/connectors"
	"smi/internal/social"
)

// patience is how long a call may go on after its context has ended. It is not
// a measure of speed: it only tells "ends" from "does not end" on a busy
// machine. PatienceEnv shortens it for tests that wait for the failure.
var patience = func() time.Duration {
	if d, err := time.ParseDuration(os.Getenv(PatienceEnv)); err == nil {
		return d
	}
	return 10 * time.Second
}()

// PatienceEnv names the environment variable with another patience.
const PatienceEnv = "SMI_CONFORMANCE_PATIENCE"

// check is one check with its own harness.
type check struct {
	*testing.T
	r        *runner
	name     string
	h        *Harness
	platform connectors.Platform
	client   *connectors.Client
	creds    *vault
	log      *recorder
	files    files

	dials    atomic.Int64
	dialMode atomic.Int32
	attempt  int

	mu   sync.Mutex
	said []string // every error, state and answer that came out of the connector
}

// What Env.Dial does.
const (
	dialReal = iota
	dialRefuse
	dialBreakTLS
	dialForbid
)

func newCheck(t *testing.T, r *runner, name string) *check {
	c := &check{T: t, r: r, name: name, h: r.open(t), files: files{}}
	rec, ok := c.h.Env.Log.Handler().(*recorder)
	if !ok {
		t.Fatal("the harness's Env was not made by NewEnv")
	}
	c.log = rec
	env := c.h.Env
	dial := env.Dial
	env.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c.dials.Add(1)
		switch c.dialMode.Load() {
		case dialRefuse:
			return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("connection refused")}
		case dialBreakTLS:
			return garbled(), nil
		case dialForbid:
			c.Errorf("a connection to %s was opened where no I/O is allowed", addr)
			return nil, errors.New("no I/O here")
		}
		return dial(ctx, network, addr)
	}
	var err error
	if c.platform, err = c.h.New(env); err != nil {
		t.Fatalf("making the platform: %v", err)
	}
	c.creds = newVault(c.platform, c.h.Grant)
	for _, s := range c.h.Login.Form {
		c.creds.saw(s)
	}
	for _, f := range loginFields(c.platform) {
		if !f.Secret { // a handle is public
			delete(c.creds.secrets, c.h.Login.Form[f.Name].Reveal())
		}
	}
	c.client = c.open(c.creds)
	return c
}

func loginFields(p connectors.Platform) []connectors.Field {
	if f, ok := p.(connectors.FormLogin); ok {
		return f.LoginFields()
	}
	return nil
}

// garbled is a connection whose other end answers what is no TLS, and hangs up.
func garbled() net.Conn {
	near, far := net.Pipe()
	go io.Copy(io.Discard, far) //nolint:errcheck // a pipe has no buffer: nobody could write before the other reads
	go func() {
		far.Write([]byte("220 this is no TLS server\r\n")) //nolint:errcheck // the near end may have gone
		far.Close()                                        //nolint:errcheck // as above
	}()
	return near
}

func (c *check) open(creds connectors.Credentials) *connectors.Client {
	c.Helper()
	client, err := connectors.Open(c.platform, c.h.Account, creds)
	if err != nil {
		c.Fatalf("opening the account: %v", err)
	}
	return client
}

// kind notes an error for the search for secrets and returns its kind.
func (c *check) kind(err error) connectors.Kind {
	if err == nil {
		return ""
	}
	b, _ := json.Marshal(connectors.AsError(err)) //nolint:errchkjson // whatever can be shown
	c.note(err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", connectors.AsError(err)), string(b))
	for e := err; e != nil; e = errors.Unwrap(e) {
		c.note(e.Error())
	}
	return connectors.KindOf(err)
}

func (c *check) note(said ...string) {
	c.mu.Lock()
	c.said = append(c.said, said...)
	c.mu.Unlock()
}

// want fails the check unless err is of one of the kinds, and has a text for a
// person. "" is success.
func (c *check) want(what string, err error, kinds ...connectors.Kind) {
	c.Helper()
	k := c.kind(err)
	if !slices.Contains(kinds, k) {
		c.Errorf("%s came out as %s, want %s", what, show(k, err), list(kinds))
		return
	}
	if err != nil {
		if e := connectors.AsError(err); e.Text == "" {
			c.Errorf("%s: the error has no Text for a person: %v", what, err)
		}
	}
}

func show(k connectors.Kind, err error) string {
	if err == nil {
		return "success"
	}
	return fmt.Sprintf("%s (%v)", k, err)
}

func list(kinds []connectors.Kind) string {
	var out []string
	for _, k := range kinds {
		if k == "" {
			k = "success"
		}
		out = append(out, string(k))
	}
	return strings.Join(out, " or ")
}

// must fails the check at once if a call that has to work does not.
func (c *check) must(what string, err error) {
	c.Helper()
	if err != nil {
		c.kind(err)
		c.Fatalf("%s: %v", what, err)
	}
}

// leaks looks for secrets in everything the connector let out.
func (c *check) leaks() {
	c.Helper()
	log := c.log.out.String()
	for _, s := range c.creds.known() {
		for _, form := range []string{s, url.QueryEscape(s), base64.StdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s))} {
			if strings.Contains(log, form) {
				c.Errorf("a secret is in the log: %s", around(log, form))
			}
			for _, said := range c.said {
				if strings.Contains(said, form) {
					c.Errorf("a secret is in what the connector returned: %s", around(said, form))
				}
			}
		}
	}
}

func around(s, secret string) string {
	i := strings.Index(s, secret)
	return s[max(0, i-60):i] + "SECRET" + s[i+len(secret):min(len(s), i+len(secret)+20)]
}

// part is a body with this text.
func part(text string) social.Part { return social.Part{Role: social.RoleBody, Text: text} }

// body is a part that this network takes: with media where it needs them.
func (c *check) body(text string) social.Part {
	p := part(text)
	if c.r.about.Limits.MediaNeeded {
		p = c.picture(text)
	}
	return p
}

// picture is a body with one small medium of the first kind the network takes.
func (c *check) picture(text string) social.Part {
	c.Helper()
	p := part(text)
	for _, k := range mediaKinds {
		if l := c.r.about.Limits.Of(k); l.Support != connectors.No {
			p.Media = []social.Media{c.medium(k, l.MIME[0], 2000)}
			return p
		}
	}
	return p
}

// job is the first part of a new delivery.
func (c *check) job(p social.Part) *connectors.Job {
	c.attempt++
	now := c.h.Env.Now()
	return &connectors.Job{
		Delivery:    social.ID(1000 + c.attempt),
		Kind:        social.KindPost,
		Part:        &p,
		Planned:     now,
		Now:         now,
		Attempt:     1,
		Fingerprint: c.client.Fingerprint(&p, ""),
		Media:       c.files,
	}
}

// prepare runs Prepare to its end and keeps the state in the job.
func (c *check) prepare(ctx context.Context, j *connectors.Job) (connectors.Preparation, error) {
	for range 50 {
		p, err := c.client.Prepare(ctx, j)
		c.note(string(p.State))
		if err != nil {
			return p, err
		}
		j.State = p.State
		if p.Again == 0 {
			return p, nil
		}
		if err := pause(ctx, min(p.Again, 20*time.Millisecond)); err != nil {
			return p, err
		}
	}
	return connectors.Preparation{}, errors.New("preparing asked to be called again 50 times")
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// shoot dials, makes a shot and commits. A failure to dial comes back as the
// error, with no evidence: the scheduler would not have armed.
func (c *check) shoot(ctx context.Context, j *connectors.Job) (connectors.Receipt, connectors.Evidence, error) {
	conn, err := c.client.DialCommit(ctx, j)
	if err != nil {
		return connectors.Receipt{}, connectors.Evidence{Reach: connectors.ReachNothing}, err
	}
	j.ArmedAt = c.h.Env.Now()
	shot := connectors.NewShot(social.ID(c.attempt), j.ArmedAt.Add(c.r.about.SendTime), conn, c.h.Env.Now)
	r, err := c.client.Commit(ctx, j, shot)
	c.note(string(r.State))
	return r, shot.Evidence(), err
}

// publish does the whole of it with a healthy network.
func (c *check) publish(j *connectors.Job) connectors.Receipt {
	c.Helper()
	_, err := c.prepare(c.Context(), j)
	c.must("preparing", err)
	r, _, err := c.shoot(c.Context(), j)
	c.must("committing", err)
	return r
}

// there returns the post that Find shows for a job, "" if none.
func (c *check) there(j *connectors.Job) (string, connectors.FindingKind) {
	c.Helper()
	j.Now = c.h.Env.Now()
	f, err := c.client.Find(c.Context(), j)
	c.must("finding", err)
	switch f.Kind {
	case connectors.FoundPublished:
		return f.Receipt.RemoteID, f.Kind
	case connectors.FoundCandidates:
		for _, k := range f.Candidates {
			if k.Fingerprint == j.Fingerprint {
				return k.Receipt.RemoteID, f.Kind
			}
		}
	case connectors.FoundNothing, connectors.FoundHandleGood, connectors.FoundHandleDead:
	default:
		c.Errorf("Find says %q, which is no finding", f.Kind)
	}
	return "", f.Kind
}

// effects fails unless exactly n posts ever became public.
func (c *check) effects(n int, after string) {
	c.Helper()
	if got := c.h.Truth.Effects(); got != n {
		c.Errorf("after %s there were %d posts on the network, want %d", after, got, n)
	}
}

// ends runs a call that must come back soon after its context has ended.
// trigger ends the context; it is closed by the fault, or by the caller.
func (c *check) ends(what string, cancel context.CancelFunc, trigger <-chan struct{}, call func() error) error {
	c.Helper()
	done := make(chan error, 1)
	go func() { done <- call() }()
	if trigger != nil {
		select {
		case err := <-done:
			return err
		case <-trigger:
		case <-time.After(patience):
			c.Fatalf("%s neither met the fault nor came back", what)
		}
	}
	cancel()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		c.Fatalf("%s goes on after its context has ended", what)
	}
	return nil
}
