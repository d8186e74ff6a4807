package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"smi/connectors"
	"smi/connectors/internal/simkit"
	"smi/internal/obs"
	"smi/internal/social"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// canary is a token that must never be seen in an error or a log line.
const canary = "canary-Zk3/9+token=="

// rig is a client before a server.
type rig struct {
	*Client
	srv *simkit.Server
	kit *simkit.Kit
	log *strings.Builder
}

// published is what the test network answers to a commit.
type published struct {
	ID string `json:"id"`
	N  int64  `json:"n"`
}

func (p published) Validate() error {
	if p.ID == "" {
		return errors.New("id is missing")
	}
	return nil
}

// network is a tiny network: POST /publish makes a post public.
func network(k *simkit.Kit) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /publish", func(w http.ResponseWriter, r *http.Request) {
		k.Journal.Add(simkit.Effect{Op: "publish", Hash: simkit.BodyHash(r)})
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"id": "p1", "n": 9007199254740993, "extra": []int{1}}) //nolint:errcheck // a test
	})
	mux.HandleFunc("GET /read", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(`{"id":"r1","n":9007199254740993}`)) //nolint:errcheck // a test
	})
	return mux
}

type fixed struct{ renewals int }

func (f *fixed) Sign(_ context.Context, r *http.Request) (int64, error) {
	r.Header.Set("Authorization", "Bearer "+canary)
	return 7, nil
}

func (f *fixed) Renew(context.Context, int64) error { f.renewals++; return nil }

// testClassify reads {"error":CODE,"message":TEXT}.
func testClassify(a Answer) *connectors.Error {
	var b struct{ Error, Message string }
	if a.JSON(&b) != nil || b.Error == "" {
		return nil
	}
	e := byStatus("Test", a)
	e.Code, e.Text = b.Error, b.Message
	if b.Error == "ExpiredToken" {
		e.Kind = connectors.AuthExpired
	}
	return e
}

var testRules = []Rule{
	{Op: "publish", Status: 400, Code: "InvalidRequest", Kind: connectors.Invalid, Source: "test", Date: "2026-11-23"},
	{Op: "publish", Status: 401, Code: "ExpiredToken", Kind: connectors.AuthExpired, Source: "test", Date: "2026-11-23"},
	{Op: "publish", Status: 429, Code: "RateLimitExceeded", Kind: connectors.RateLimited, Source: "test", Date: "2026-11-23"},
}

type syncWriter struct {
	mu sync.Mutex
	b  *strings.Builder
}

func (w *syncWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

// serve makes a rig over TLS on loopback. change may be nil.
func serve(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	kit := simkit.New(simkit.Options{})
	return rigOver(t, kit, simkit.Serve(t, kit.Handler(network(kit))), change)
}

func rigOver(t *testing.T, kit *simkit.Kit, srv *simkit.Server, change func(*Config)) *rig {
	t.Helper()
	r := &rig{srv: srv, kit: kit, log: &strings.Builder{}}
	red := obs.NewRedactor()
	cfg := Config{
		Env: connectors.Env{
			Dial: srv.Dial, RootCAs: srv.RootCAs, Now: time.Now,
			Secrets: red.Add, Redact: red.Text, UserAgent: "smi-test",
			Log: newLog(&syncWriter{b: r.log}),
		},
		Network: "test", Title: "Test", Hosts: []string{srv.URL}, Account: "a1",
		Signer: &fixed{}, Classify: testClassify, BeforeEffect: testRules,
	}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	r.Client = c
	return r
}

var attemptIDs social.IDs

// shoot dials, arms and commits.
func (r *rig) shoot(t *testing.T, k Call) (Answer, connectors.Evidence, error) {
	t.Helper()
	conn, err := r.DialCommit(t.Context(), k.URL)
	if err != nil {
		t.Fatalf("DialCommit: %v", err)
	}
	shot := connectors.NewShot(attemptIDs.New(time.Now()), time.Now().Add(30*time.Second), conn, time.Now)
	a, err := r.Commit(connectors.WithShot(t.Context(), shot), k)
	return a, shot.Evidence(), err
}

func (r *rig) publish() Call {
	return Call{Op: "publish", URL: r.srv.URL + "/publish", JSON: map[string]string{"text": "hello"}, Out: new(published), HeaderTimeout: 300 * time.Millisecond, Timeout: time.Second}
}
