package twitter_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/connectortest"
	"smi/connectors/internal/simkit"
	"smi/connectors/twitter"
	"smi/connectors/twitter/twittersim"
	"smi/internal/social"
)

// scene is an account on a simulated network, with a clock that is set by hand.
type scene struct {
	*testing.T
	sim     *twittersim.Sim
	srv     *simkit.Server
	cfg     *twitter.Config
	env     connectors.Env
	account social.Account
	grant   connectors.Grant
	files   map[string][]byte

	shots social.ID

	mu  sync.Mutex
	now time.Time
}

// newScene connects an account by a version of the API.
func newScene(t *testing.T, version string, o twittersim.Options) *scene {
	t.Helper()
	s := &scene{T: t, now: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC), files: map[string][]byte{}}
	o.Now = s.Now
	s.sim = twittersim.New(app, o)
	id := s.sim.AddAccount(twittersim.Account{Username: "alice_test"})
	s.srv = simkit.Serve(t, s.sim)
	s.cfg = config(s.srv.URL, version, app)
	s.env = connectortest.NewEnv(t)
	s.env.Dial, s.env.RootCAs, s.env.Now = s.srv.Dial, s.srv.RootCAs, s.Now
	s.account = social.Account{Network: twitter.Network, RemoteID: id, Handle: "alice_test"}
	if version == "1.1" {
		token, secret := s.sim.AddKeys(id)
		s.grant = connectors.Grant{Access: social.NewSecret(token), Extra: map[string]social.Secret{"token_secret": social.NewSecret(secret)}}
		return s
	}
	s.grant = signIn(t, s.platform().(connectors.OAuth), s.harness())
	return s
}

// both runs a test by both versions of the API.
func both(t *testing.T, o twittersim.Options, do func(*scene)) {
	t.Helper()
	for _, version := range []string{"2", "1.1"} {
		t.Run("v"+version, func(t *testing.T) {
			t.Parallel()
			do(newScene(t, version, o))
		})
	}
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

// platform is a new process each time: what it learns is gone with it.
func (s *scene) platform() connectors.Platform {
	s.Helper()
	p, err := twitter.New(*s.cfg, s.env)
	s.must(err)
	return p
}

func (s *scene) client() *connectors.Client {
	s.Helper()
	c, err := connectors.Open(s.platform(), s.account, granted{s.grant})
	s.must(err)
	return c
}

// medium makes a file.
func (s *scene) medium(kind social.MediaKind, mime string, size int) social.Media {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i * i / 7)
	}
	sum := sha256.Sum256(b)
	h := hex.EncodeToString(sum[:])
	s.files[h] = b
	m := social.Media{Hash: h, Kind: kind, MIME: mime, Bytes: int64(size), Width: 640, Height: 360}
	if kind == social.Video {
		m.Duration = 2 * time.Second
	}
	return m
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

// job is a part of a delivery that answers parent, "" for a body. What Prepare
// saves is kept in it.
func (s *scene) job(p social.Part, parent string) *connectors.Job {
	s.Helper()
	j := &connectors.Job{
		Delivery: 1, Kind: social.KindPost, Part: &p, Planned: s.Now(), Now: s.Now(), Attempt: 1, Media: s,
		Fingerprint: s.client().Fingerprint(&p, parent),
	}
	p.Role = social.RoleBody
	if parent != "" {
		p.Role, j.Step, j.Parent = social.RoleThread, 1, &connectors.Receipt{RemoteID: parent}
	}
	j.Save = func(_ context.Context, state json.RawMessage, _ time.Time) error {
		j.State = bytes.Clone(state)
		return nil
	}
	return j
}

// prepare runs Prepare to its end, each time by a new process.
func (s *scene) prepare(j *connectors.Job) (connectors.Preparation, error) {
	s.Helper()
	for range 40 {
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
	s.Fatal("preparing has no end")
	return connectors.Preparation{}, nil
}

// commit dials, arms and shoots.
func (s *scene) commit(c *connectors.Client, j *connectors.Job) (connectors.Receipt, error) {
	s.Helper()
	conn, err := c.DialCommit(s.Context(), j)
	s.must(err)
	s.shots++
	j.Now, j.ArmedAt = s.Now(), s.Now()
	return c.Commit(s.Context(), j, connectors.NewShot(s.shots, s.Now().Add(30*time.Second), conn, s.Now))
}

// publish does the whole of it.
func (s *scene) publish(j *connectors.Job) (connectors.Receipt, error) {
	s.Helper()
	if _, err := s.prepare(j); err != nil {
		return connectors.Receipt{}, err
	}
	return s.commit(s.client(), j)
}

// lost publishes, and the answer does not come.
func (s *scene) lost(j *connectors.Job) {
	s.Helper()
	s.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodPost, Match: isCommit, Nth: 1, Do: simkit.CutAfter()})
	_, err := s.publish(j)
	s.wantKind("a post whose answer is lost", err, connectors.Ambiguous)
	s.sim.Kit.Script.Clear()
}

func isCommit(r *http.Request) bool {
	return r.URL.Path == "/2/tweets" || r.URL.Path == "/1.1/statuses/update.json"
}

// exact are the candidates of Find that are the very same post.
func (s *scene) exact(j *connectors.Job) []connectors.Candidate {
	s.Helper()
	f, err := s.client().Find(s.Context(), j)
	s.must(err)
	var out []connectors.Candidate
	for _, c := range f.Candidates {
		if c.Fingerprint == j.Fingerprint {
			out = append(out, c)
		}
	}
	return out
}

func (s *scene) wantKind(what string, err error, kind connectors.Kind) *connectors.Error {
	s.Helper()
	if connectors.KindOf(err) != kind {
		s.Fatalf("%s: %v, want %s", what, err, kind)
	}
	return connectors.AsError(err)
}

func (s *scene) posts() []twittersim.Post { return s.sim.Posts(s.account.RemoteID) }

// refuse answers the commits that follow with this.
func (s *scene) refuse(status int, header map[string]string, body string) {
	s.sim.Kit.Script.Clear()
	s.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodPost, Match: isCommit, Do: simkit.Status(status, header, body)})
}

// calls are the requests to a path.
func (s *scene) calls(path string) (out []simkit.Request) {
	for _, r := range s.sim.Kit.Requests.All() {
		if r.Path == path {
			out = append(out, r)
		}
	}
	return out
}

// harness is the person at the browser.
func (s *scene) harness() *connectortest.Harness {
	return &connectortest.Harness{Login: connectortest.Login{Consent: consent(s.sim, s.srv)}}
}
