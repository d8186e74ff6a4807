package youtube_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/internal/simkit"
	"smi/connectors/youtube"
	"smi/connectors/youtube/youtubesim"
	"smi/connectors/youtube/youtubetest"
	"smi/internal/social"
)

// world is a connector before a simulated network, with a clock that is told the
// time.
type world struct {
	t       *testing.T
	sim     *youtubesim.Sim
	srv     *simkit.Server
	cfg     *youtube.Config
	channel string
	grant   connectors.Grant
	files   files
	log     lockedBuffer
	secrets []string

	mu  sync.Mutex
	now time.Time
}

// began is a Wednesday in winter, at ten in the morning Pacific time.
var began = time.Date(2026, 11, 25, 18, 0, 0, 0, time.UTC)

type setting struct {
	sim  youtubesim.Options
	cfg  func(*youtube.Config)
	wrap func(http.Handler) http.Handler
}

func newWorld(t *testing.T, s setting) *world {
	t.Helper()
	w := &world{t: t, now: began, files: files{}}
	s.sim.Now = w.time
	w.sim = youtubesim.New(s.sim)
	w.channel = w.sim.AddChannel("Alice's films", "@alice")
	var h http.Handler = w.sim
	if s.wrap != nil {
		h = s.wrap(h)
	}
	w.srv = simkit.ServePipe(t, h, false, "")
	w.cfg = youtubetest.Config(w.srv.URL, "sim.test")
	if s.cfg != nil {
		s.cfg(w.cfg)
	}
	w.connect()
	return w
}

func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) env() connectors.Env {
	return connectors.Env{
		Dial: w.srv.Dial, Now: w.time, UserAgent: "smi-test",
		Log:     slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Secrets: func(v string) { w.mu.Lock(); defer w.mu.Unlock(); w.secrets = append(w.secrets, v) },
	}
}

func (w *world) platform() *youtube.Platform {
	w.t.Helper()
	p, err := youtube.New(*w.cfg, w.env())
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// connect is the person who connects the channel.
func (w *world) connect() {
	w.t.Helper()
	g, err := youtubetest.Join(context.Background(), w.platform(), &http.Transport{DialContext: w.srv.Dial, DisableKeepAlives: true}, w.channel)
	if err != nil {
		w.t.Fatal(err)
	}
	g.Gen = 1
	w.grant = g
}

// Grant and Renew lend the grant.
func (w *world) Grant(context.Context) (connectors.Grant, error) { return w.grant, nil }

func (w *world) Renew(ctx context.Context, _ int64) (connectors.Grant, error) {
	g, err := w.platform().Refresh(ctx, w.grant)
	if err != nil {
		return g, err
	}
	g.Gen = w.grant.Gen + 1
	w.grant = g
	return g, nil
}

// client is a new process: nothing is left of the last but what was stored.
func (w *world) client() *connectors.Client {
	w.t.Helper()
	c, err := connectors.Open(w.platform(), social.Account{Network: youtube.Network, RemoteID: w.channel, Handle: "@alice", DayZone: "America/Los_Angeles"}, w)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// job is a post with a small video.
func (w *world) job(text string, options map[string]string) *connectors.Job {
	m := w.files.add([]byte("\x00\x00\x00\x18ftypisom" + strings.Repeat("v", 3000)))
	m.Kind, m.MIME, m.Width, m.Height, m.Duration = social.Video, "video/mp4", 1920, 1080, time.Minute
	now := w.time()
	return &connectors.Job{
		Delivery: 7, Kind: social.KindPost, Part: &social.Part{Role: social.RoleBody, Text: text, Media: []social.Media{m}, Options: options},
		Planned: now, Now: now, Attempt: 1, Media: w.files,
	}
}

// prepare runs Prepare once and keeps its state.
func (w *world) prepare(c *connectors.Client, j *connectors.Job) (connectors.Preparation, error) {
	j.Now = w.time()
	p, err := c.Prepare(w.t.Context(), j)
	if err == nil {
		j.State = p.State
	}
	return p, err
}

func (w *world) mustPrepare(c *connectors.Client, j *connectors.Job) connectors.Preparation {
	w.t.Helper()
	p, err := w.prepare(c, j)
	if err != nil || p.Again != 0 {
		w.t.Fatalf("preparing: again after %v, %v", p.Again, err)
	}
	return p
}

var attempts social.ID = 100

// commit dials, arms and commits.
func (w *world) commit(c *connectors.Client, j *connectors.Job) (connectors.Receipt, error) {
	w.t.Helper()
	line, err := c.DialCommit(w.t.Context(), j)
	if err != nil {
		return connectors.Receipt{}, err
	}
	attempts++
	j.ArmedAt = w.time()
	return c.Commit(w.t.Context(), j, connectors.NewShot(attempts, j.ArmedAt.Add(30*time.Second), line, w.time))
}

func (w *world) mustCommit(c *connectors.Client, j *connectors.Job) connectors.Receipt {
	w.t.Helper()
	r, err := w.commit(c, j)
	if err != nil {
		w.t.Fatalf("committing: %v", err)
	}
	return r
}

func (w *world) find(c *connectors.Client, j *connectors.Job) connectors.Finding {
	w.t.Helper()
	f, err := c.Find(w.t.Context(), j)
	if err != nil {
		w.t.Fatalf("finding: %v", err)
	}
	return f
}

// public is how often something became public.
func (w *world) public() int { return w.sim.Kit.Journal.Count("publish") }

// kept is a state as a test reads it.
type kept struct {
	Session string   `json:"session"`
	Offset  int64    `json:"offset"`
	VideoID string   `json:"video_id"`
	Request string   `json:"request"`
	LeftOut []string `json:"left_out"`
}

func stateOf(t *testing.T, raw json.RawMessage) kept {
	t.Helper()
	var k kept
	if err := json.Unmarshal(raw, &k); err != nil {
		t.Fatal(err)
	}
	return k
}

func wantKind(t *testing.T, err error, kind connectors.Kind, words ...string) {
	t.Helper()
	if connectors.KindOf(err) != kind {
		t.Fatalf("it came out as %q (%v), want %q", connectors.KindOf(err), err, kind)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
}

// files is a media source in memory.
type files map[string][]byte

func (f files) add(b []byte) social.Media {
	sum := sha256.Sum256(b)
	h := hex.EncodeToString(sum[:])
	f[h] = b
	return social.Media{Hash: h, Bytes: int64(len(b))}
}

func (f files) Open(_ context.Context, hash string) (io.ReadSeekCloser, error) {
	b, ok := f[hash]
	if !ok {
		return nil, fmt.Errorf("there is no file %s", hash)
	}
	return closer{bytes.NewReader(b)}, nil
}

type closer struct{ io.ReadSeeker }

func (closer) Close() error { return nil }

// lockedBuffer is a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var errKilled = errors.New("killed")

// answerOnce plays an answer at the nth request of a method and path.
func (w *world) answer(method, path string, nth int, do simkit.Action) {
	w.sim.Kit.Script.Add(simkit.Fault{Name: "planned", Method: method, Path: path, Nth: nth, Do: do})
}

// always plays an answer at every request of a method and path.
func (w *world) always(method, path string, do simkit.Action) {
	w.sim.Kit.Script.Add(simkit.Fault{Name: "planned", Method: method, Path: path, Do: do})
}

// googleError is an error as the network says it.
func googleError(status int, reason string) simkit.Action {
	return simkit.Status(status, nil, fmt.Sprintf(`{"error":{"code":%d,"message":"It did not <b>work</b>.","errors":[{"domain":"youtube","reason":%q,"message":"m"}]}}`, status, reason))
}

var _ connectors.Credentials = (*world)(nil)
