package httpapi_test

import (
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"smi/internal/app"
	"smi/internal/httpapi"
	"smi/internal/social"
	"smi/store"
)

// listening is the API of an empty installation on a socket.
func listening(t *testing.T) (api *httpapi.API, a *app.App, socket string) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "smi.db"), BallastBytes: -1})
	check(t, err)
	t.Cleanup(func() { check(t, s.Close()) })
	_, err = s.EnsureWorkspace(t.Context(), "Main", "UTC")
	check(t, err)
	a = app.New(app.Config{Accounts: s, Posts: s, Changes: s})
	api = httpapi.New(httpapi.Config{App: a})
	// A socket's path is short, which t.TempDir is not on every system.
	dir, err := os.MkdirTemp("", "smi-api-") //nolint:usetesting // see above
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	socket = filepath.Join(dir, "d", "s")
	l, err := httpapi.Listen(t.Context(), socket)
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		check(t, <-done)
	})
	return api, a, socket
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// send makes a request and returns status and problem.
func send(t *testing.T, socket, method, path, body string, header ...string) (int, httpapi.Problem, http.Header) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://smi/api/v1"+path, strings.NewReader(body))
	check(t, err)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	check(t, err)
	defer resp.Body.Close() //nolint:errcheck // it was read
	b, err := io.ReadAll(resp.Body)
	check(t, err)
	var p httpapi.Problem
	if resp.StatusCode >= 400 {
		if err := json.Unmarshal(b, &p); err != nil {
			t.Errorf("%s %s: status %d is no problem: %s", method, path, resp.StatusCode, b)
		}
	}
	return resp.StatusCode, p, resp.Header
}

func TestWrongRequests(t *testing.T) {
	t.Parallel()
	_, _, socket := listening(t)
	for _, tc := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		code                     social.Code
		field, says              string
	}{
		{"unknown field", "POST", "/posts", `{"accounts":[],"parts":[],"plan":{"att":"x"}}`, nil, 422, social.CodeInvalid, "plan.att", "no such field"},
		{"missing field", "POST", "/posts", `{"accounts":[]}`, nil, 422, social.CodeInvalid, "", "required"},
		{"wrong type", "POST", "/posts", `{"accounts":"alice","parts":[],"plan":{}}`, nil, 422, social.CodeInvalid, "accounts", "array"},
		{"no JSON", "POST", "/posts", `accounts=alice`, nil, 400, social.CodeInvalid, "", ""},
		{"too large", "POST", "/posts", `{"accounts":["` + strings.Repeat("x", 5<<20) + `"]}`, nil, 413, social.CodeInvalid, "", ""},
		{"unknown parameter", "GET", "/posts?sort=up", "", nil, 422, social.CodeInvalid, "sort", ""},
		{"wrong parameter", "GET", "/posts?limit=0", "", nil, 422, social.CodeInvalid, "limit", ""},
		{"long key", "POST", "/posts", `{"accounts":[],"parts":[],"plan":{}}`, []string{"Idempotency-Key", strings.Repeat("k", 201)}, 422, social.CodeInvalid, "Idempotency-Key", ""},
		{"unknown path", "GET", "/nothing", "", nil, 404, social.CodeNotFound, "", "smi openapi"},
		{"unknown post", "GET", "/posts/0000000000001", "", nil, 404, social.CodeNotFound, "delivery", "smi post list"},
		{"no id", "GET", "/posts/xyz", "", nil, 404, social.CodeNotFound, "id", "13 characters"},
		{"unknown workspace", "GET", "/posts", "", []string{httpapi.WorkspaceHeader, "Other"}, 404, social.CodeNotFound, "workspace", "Main"},
		{"nothing to publish on", "POST", "/posts", `{"accounts":["alice"],"parts":[{"text":"x"}],"plan":{"now":true}}`, nil, 404, social.CodeNotFound, "accounts[0]", "smi accounts add"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			header := append([]string{"Content-Type", "application/json"}, tc.header...)
			status, p, h := send(t, socket, tc.method, tc.path, tc.body, header...)
			if status != tc.status || p.Code != tc.code || p.Status != status || p.Detail == "" {
				t.Errorf("status %d, problem %+v; want %d %s", status, p, tc.status, tc.code)
			}
			if tc.field != "" && p.Field != tc.field || !strings.Contains(p.Detail, tc.says) {
				t.Errorf("problem at %q says %q; want %q saying %q", p.Field, p.Detail, tc.field, tc.says)
			}
			if ct := h.Get("Content-Type"); ct != "application/problem+json" {
				t.Errorf("the content type is %q", ct)
			}
		})
	}
	for _, path := range []string{"/status", "/openapi.json"} {
		if status, _, _ := send(t, socket, "GET", path, ""); status != 200 {
			t.Errorf("after all that %s answers %d", path, status)
		}
	}
}

// TestStrangersAreRefused: who is not known to be at the other end of a Unix
// socket as the daemon's own user gets nothing.
func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	api, _, _ := listening(t)
	w := httptest.NewRecorder()
	api.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/status", http.NoBody))
	if w.Code != 403 {
		t.Errorf("a request without a known peer got %d: %s", w.Code, w.Body)
	}
}

func TestSocket(t *testing.T) {
	t.Parallel()
	_, _, socket := listening(t)
	for path, want := range map[string]fs.FileMode{filepath.Dir(socket): 0o700, socket: 0o600} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s has mode %v, %v; want %v", path, st.Mode().Perm(), err, want)
		}
	}
	_, err := httpapi.Listen(t.Context(), socket)
	if social.CodeOf(err) != social.CodeConflict {
		t.Errorf("a second daemon got %v", err)
	}
	dir := filepath.Dir(socket)

	stale := filepath.Join(dir, "stale")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", stale)
	check(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as a killed daemon leaves it
	check(t, l.Close())
	l, err = httpapi.Listen(t.Context(), stale)
	check(t, err)
	check(t, l.Close())

	file := filepath.Join(dir, "file")
	check(t, os.WriteFile(file, []byte("precious"), 0o600))
	if _, err := httpapi.Listen(t.Context(), file); social.CodeOf(err) != social.CodeConflict {
		t.Errorf("a file in the place of the socket: %v", err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file was touched: %q, %v", b, err)
	}
	if _, err := httpapi.Listen(t.Context(), filepath.Join(dir, strings.Repeat("x", 120))); social.CodeOf(err) != social.CodeInvalid {
		t.Errorf("a long path: %v", err)
	}
}

// TestCallback: who has no state learns nothing, and the page keeps the address,
// which may hold a code, to itself.
func TestCallback(t *testing.T) {
	t.Parallel()
	_, a, _ := listening(t)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- httpapi.Callback(ctx, l, a, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		check(t, <-done)
	})
	for path, want := range map[string]int{"/oauth/callback": 404, "/oauth/callback?state=guess&code=SECRET": 404, "/": 404, "/api/v1/status": 404} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+l.Addr().String()+path, http.NoBody)
		check(t, err)
		resp, err := http.DefaultClient.Do(req)
		check(t, err)
		b, err := io.ReadAll(resp.Body)
		check(t, err)
		check(t, resp.Body.Close())
		if resp.StatusCode != want || strings.Contains(string(b), "SECRET") || strings.Contains(string(b), "guess") {
			t.Errorf("%s: status %d: %s", path, resp.StatusCode, b)
		}
		if strings.HasPrefix(path, "/oauth") && (resp.Header.Get("Referrer-Policy") != "no-referrer" || resp.Header.Get("Cache-Control") != "no-store" || !strings.Contains(resp.Header.Get("Content-Security-Policy"), "default-src 'none'")) {
			t.Errorf("%s: headers %v", path, resp.Header)
		}
	}
}
