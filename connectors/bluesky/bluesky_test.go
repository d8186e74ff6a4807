package bluesky_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"smi/connectors"
	"smi/connectors/bluesky"
	"smi/connectors/bluesky/blueskysim"
	"smi/connectors/fake"
	"smi/connectors/internal/simkit"
	"smi/internal/social"
)

// world is a simulated network with an account, seen through the connector.
type world struct {
	t     *testing.T
	sim   *blueskysim.Sim
	srv   *simkit.Server
	p     *bluesky.Platform
	did   string
	now   *clock
	files files
}

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// files are media by hash.
type files map[string][]byte

type file struct{ *bytes.Reader }

func (file) Close() error { return nil }

func (f files) Open(_ context.Context, hash string) (io.ReadSeekCloser, error) {
	b, ok := f[hash]
	if !ok {
		return nil, fmt.Errorf("no file %s", hash)
	}
	return file{bytes.NewReader(b)}, nil
}

func (f files) add(kind social.MediaKind, mime, content, alt string) social.Media {
	sum := sha256.Sum256([]byte(content))
	h := hex.EncodeToString(sum[:])
	f[h] = []byte(content)
	return social.Media{Hash: h, Kind: kind, MIME: mime, Bytes: int64(len(content)), Width: 40, Height: 30, Alt: alt}
}

const password = "abcd-efgh-ijkl-mnop"

var start = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

type change struct {
	sim func(*blueskysim.Options)
	cfg func(*bluesky.Config)
}

func newWorld(t *testing.T, c change) *world {
	t.Helper()
	w := &world{t: t, now: &clock{t: start}, files: files{}}
	o := blueskysim.Options{Now: w.now.Now}
	if c.sim != nil {
		c.sim(&o)
	}
	w.sim = blueskysim.New(o)
	w.did = w.sim.AddAccount(blueskysim.Account{Handle: "alice.test", DisplayName: "Alice", Password: "main password", AppPassword: password, Followers: 7, Follows: 3})
	w.srv = simkit.ServePlain(t, w.sim)
	cfg := bluesky.NewConfig()
	cfg.Service, cfg.PLC, cfg.VideoService = w.srv.URL, w.srv.URL, w.srv.URL
	cfg.AllowHosts = []string{"127.0.0.1"}
	if c.cfg != nil {
		c.cfg(cfg)
	}
	p, err := bluesky.New(*cfg, connectors.Env{Dial: w.srv.Dial, Now: w.now.Now, UserAgent: "smi-test"})
	if err != nil {
		t.Fatal(err)
	}
	w.p = p
	return w
}

func (w *world) login() connectors.Grant {
	w.t.Helper()
	g, err := w.p.Login(w.t.Context(), map[string]social.Secret{
		"identifier": social.NewSecret("@Alice.test"), "app_password": social.NewSecret(password),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

// client is the account as the scheduler has it.
func (w *world) client(g connectors.Grant) *connectors.Client {
	w.t.Helper()
	a := social.Account{Network: bluesky.Network, RemoteID: w.did, Handle: "alice.test"}
	c, err := connectors.Open(w.p, a, fake.NewCredentials(w.p, g))
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) job(p social.Part) *connectors.Job {
	if p.Role == "" {
		p.Role = social.RoleBody
	}
	return &connectors.Job{Part: &p, Kind: social.KindPost, Planned: start.Add(10 * time.Minute), Now: w.now.Now(), Attempt: 1, Media: w.files}
}

var ids social.IDs

// prepare runs Prepare as often as it asks for.
func (w *world) prepare(c *connectors.Client, j *connectors.Job) connectors.Preparation {
	w.t.Helper()
	for range 20 {
		prep, err := c.Prepare(w.t.Context(), j)
		if err != nil {
			w.t.Fatalf("prepare: %v", err)
		}
		j.State = prep.State
		if prep.Again == 0 {
			return prep
		}
		w.now.Add(prep.Again)
		j.Now = w.now.Now()
	}
	w.t.Fatal("prepare never ends")
	return connectors.Preparation{}
}

func (w *world) commit(c *connectors.Client, j *connectors.Job) (connectors.Receipt, error) {
	w.t.Helper()
	conn, err := c.DialCommit(w.t.Context(), j)
	if err != nil {
		w.t.Fatalf("dialling: %v", err)
	}
	shot := connectors.NewShot(ids.New(time.Now()), w.now.Now().Add(30*time.Second), conn, w.now.Now)
	return c.Commit(w.t.Context(), j, shot)
}

func (w *world) publish(c *connectors.Client, j *connectors.Job) connectors.Receipt {
	w.t.Helper()
	w.prepare(c, j)
	r, err := w.commit(c, j)
	if err != nil {
		w.t.Fatalf("commit: %v", err)
	}
	return r
}

func TestPublishText(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	w.sim.AddAccount(blueskysim.Account{Handle: "bob.test"})
	c := w.client(w.login())
	j := w.job(social.Part{Text: "Grüße 👩‍👩‍👧 https://example.com/x @bob.test @nobody.test #Montag", Langs: []string{"de"}})
	prep := w.prepare(c, j)
	if prep.Class != connectors.Keyed || prep.RequestHash == "" {
		t.Errorf("preparation is %+v", prep)
	}
	if n := len(w.sim.Posts(w.did)); n != 0 {
		t.Fatalf("Prepare published %d posts", n)
	}
	r, err := w.commit(c, j)
	if err != nil {
		t.Fatal(err)
	}
	posts := w.sim.Posts(w.did)
	if len(posts) != 1 || posts[0].URI != r.RemoteID || posts[0].Text != j.Part.Text {
		t.Fatalf("posts are %+v, receipt %+v", posts, r)
	}
	if posts[0].CreatedAt != "2026-11-23T09:10:00.000Z" {
		t.Errorf("createdAt is %s, not the planned time", posts[0].CreatedAt)
	}
	if want := "https://bsky.app/profile/" + w.did + "/post/" + posts[0].RKey; r.URL != want {
		t.Errorf("URL is %s, want %s", r.URL, want)
	}
	if made := syntax.TID(posts[0].RKey).Time(); !made.Equal(start) {
		t.Errorf("the key is of %s, not of now", made)
	}
	for _, want := range []string{"#link", "#tag", `"did":"did:plc:`} {
		if !strings.Contains(string(posts[0].Record), want) {
			t.Errorf("the record lacks %s: %s", want, posts[0].Record)
		}
	}
	if n := strings.Count(string(posts[0].Record), "facet#mention"); n != 1 {
		t.Errorf("%d mentions are linked; the one of nobody must stay text", n)
	}
	got, err := c.Get(t.Context(), r.URL)
	if err != nil {
		t.Fatal(err)
	}
	if got.Fingerprint != c.Fingerprint(j.Part, "") || got.Receipt.RemoteID != r.RemoteID {
		t.Errorf("read back %+v", got)
	}
	if effects := w.sim.Kit.Journal.Effects("create"); len(effects) != 1 || effects[0].Hash != prep.RequestHash {
		t.Errorf("what was sent is not what RequestHash said: %+v", effects)
	}
}
