package mastodon_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/connectortest"
	"smi/connectors/internal/simkit"
	"smi/connectors/mastodon"
	"smi/connectors/mastodon/mastodonsim"
	"smi/internal/social"
)

// scene is an account on a simulated server, with a clock that is set by hand.
type scene struct {
	*testing.T
	sim      *mastodonsim.Sim
	srv      *simkit.Server
	cfg      *mastodon.Config
	platform *mastodon.Platform
	account  social.Account
	grant    connectors.Grant
	files    map[string][]byte
	attempt  int

	deliveries social.ID

	mu  sync.Mutex
	now time.Time
}

func newScene(t *testing.T, o mastodonsim.Options, change ...func(*mastodon.Config)) *scene {
	t.Helper()
	s := &scene{T: t, now: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC), files: map[string][]byte{}, cfg: mastodon.NewConfig()}
	o.Now = s.Now
	s.sim = mastodonsim.New(o)
	id := s.sim.AddAccount(mastodonsim.Account{Username: "alice"})
	s.srv = simkit.Serve(t, s.sim)
	s.cfg.AllowHosts = []string{"127.0.0.1"}
	for _, fn := range change {
		fn(s.cfg)
	}
	env := connectortest.NewEnv(t)
	env.Dial, env.RootCAs, env.Now = s.srv.Dial, s.srv.RootCAs, s.Now
	p, err := mastodon.New(*s.cfg, env)
	s.must(err)
	s.platform = p
	s.account = social.Account{Network: mastodon.Network, RemoteID: id, Handle: s.sim.Handles()[0], Host: s.srv.URL}
	s.grant = s.login()
	me, err := s.client().Identity(t.Context())
	s.must(err)
	s.account.Server = me.Server
	return s
}

func (s *scene) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *scene) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func (s *scene) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// login is a person who connects the account.
func (s *scene) login() connectors.Grant {
	s.Helper()
	req := connectors.AuthRequest{State: "state", RedirectURI: "http://127.0.0.1:1/back", Verifier: social.NewSecret(strings.Repeat("v", 50)), Hint: s.srv.URL}
	to, err := s.platform.AuthURL(s.Context(), &req)
	s.must(err)
	g, err := s.platform.Exchange(s.Context(), req, s.browse(to))
	s.must(err)
	return g
}

func (s *scene) browse(to string) url.Values {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), http.MethodGet, to, nil)
	s.must(err)
	browser := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.srv.RootCAs, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := browser.Do(r)
	s.must(err)
	defer res.Body.Close()
	back, err := res.Location()
	s.must(err)
	return back.Query()
}

// creds lends a grant that cannot be renewed.
type creds struct {
	p *mastodon.Platform
	g connectors.Grant
}

func (c creds) Grant(context.Context) (connectors.Grant, error) { return c.g, nil }

func (c creds) Renew(ctx context.Context, _ int64) (connectors.Grant, error) {
	return c.p.Refresh(ctx, c.g)
}

func (s *scene) client() *connectors.Client {
	s.Helper()
	c, err := connectors.Open(s.platform, s.account, creds{s.platform, s.grant})
	s.must(err)
	return c
}

// medium makes a file.
func (s *scene) medium(kind social.MediaKind, mime, text string) social.Media {
	sum := sha256.Sum256([]byte(text))
	h := hex.EncodeToString(sum[:])
	s.files[h] = []byte(text)
	return social.Media{Hash: h, Kind: kind, MIME: mime, Bytes: int64(len(text)), Width: 8, Height: 8}
}

// Open implements connectors.MediaSource.
func (s *scene) Open(_ context.Context, hash string) (io.ReadSeekCloser, error) {
	b, ok := s.files[hash]
	if !ok {
		return nil, fmt.Errorf("there is no file %s", hash)
	}
	return struct {
		io.ReadSeeker
		io.Closer
	}{bytes.NewReader(b), io.NopCloser(nil)}, nil
}

// job is the first part of a delivery.
func (s *scene) job(p social.Part) *connectors.Job {
	if p.Role == "" {
		p.Role = social.RoleBody
	}
	s.deliveries++
	return &connectors.Job{
		Delivery: s.deliveries, Kind: social.KindPost, Part: &p, Planned: s.Now(), Now: s.Now(), Attempt: 1, Media: s,
		Fingerprint: s.client().Fingerprint(&p, ""),
	}
}

// prepare runs Prepare to its end.
func (s *scene) prepare(j *connectors.Job) (connectors.Preparation, error) {
	for range 20 {
		j.Now = s.Now()
		p, err := s.client().Prepare(s.Context(), j)
		if err != nil {
			return p, err
		}
		j.State = p.State
		if p.Again == 0 {
			return p, nil
		}
		s.pass(p.Again)
	}
	return connectors.Preparation{}, fmt.Errorf("preparing has no end")
}

// commit dials, arms and shoots.
func (s *scene) commit(j *connectors.Job) (connectors.Receipt, error) {
	s.Helper()
	c := s.client()
	conn, err := c.DialCommit(s.Context(), j)
	s.must(err)
	s.attempt++
	j.Now, j.ArmedAt = s.Now(), s.Now()
	return c.Commit(s.Context(), j, connectors.NewShot(social.ID(s.attempt), s.Now().Add(30*time.Second), conn, s.Now))
}

// publish does the whole of it.
func (s *scene) publish(p social.Part) connectors.Receipt {
	s.Helper()
	j := s.job(p)
	_, err := s.prepare(j)
	s.must(err)
	r, err := s.commit(j)
	s.must(err)
	return r
}

func (s *scene) find(j *connectors.Job) connectors.Finding {
	s.Helper()
	j.Now = s.Now()
	f, err := s.client().Find(s.Context(), j)
	s.must(err)
	return f
}

func (s *scene) wantKind(what string, err error, kind connectors.Kind) *connectors.Error {
	s.Helper()
	e := connectors.AsError(err)
	if connectors.KindOf(err) != kind {
		s.Fatalf("%s: %v, want %s", what, err, kind)
	}
	return e
}

func (s *scene) posts() []mastodonsim.Post { return s.sim.Posts(s.account.RemoteID) }

// lose lets the next post be made and its answer be lost.
func (s *scene) lose() {
	s.sim.Kit.Script.Add(simkit.Fault{Name: "lost", Method: http.MethodPost, Path: "/api/v1/statuses", Nth: 1, Do: simkit.CutAfter()})
}

func decode(t *testing.T, raw json.RawMessage) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
