// Package httpapi is the daemon's API: typed handlers under /api/v1, its
// OpenAPI description, the OAuth callback, and the client that the command line
// uses. Handlers translate; what may be done and what it does is in
// internal/app.
//
// The API is served on a Unix socket that only its owner can open. Nothing of
// it is on a network port; the OAuth callback on the loopback interface takes
// one request per login and shows one sentence.
package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"smi/internal/app"
	"smi/internal/social"
)

// The limits of requests. A caller on the own machine can be wrong as well.
const (
	maxBody     = 4 << 20 // bytes of JSON
	callTime    = time.Minute
	waitTime    = 10 * time.Minute // longest long poll
	headerTime  = 10 * time.Second
	bodyTime    = 30 * time.Second
	uploadTime  = 2 * time.Hour
	maxHeader   = 64 << 10
	maxConnIdle = 2 * time.Minute
)

// WorkspaceHeader names the workspace of a request, by name or id. Without it
// the first workspace is meant.
const WorkspaceHeader = "Smi-Workspace"

// Config is what the API needs.
type Config struct {
	App     *app.App
	Version string
	Log     *slog.Logger
	// Reload loads the configuration anew. Its error names file, line and cure.
	Reload func(context.Context) (ReloadResult, error)
	// Metrics answers /metrics; nil: there are none.
	Metrics http.Handler
	// Upload bounds a media upload in bytes; 0 means 4 GiB.
	Upload int64
}

// ReloadResult says what a reload changed.
type ReloadResult struct {
	Changed []string `json:"changed" doc:"settings that are in force now"`
	Restart []string `json:"restart" doc:"settings that changed and need a restart"`
}

// API is the handler with its description.
type API struct {
	cfg  Config
	huma huma.API
	mux  *http.ServeMux
}

// New returns the API.
func New(c Config) *API {
	useProblems()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Upload == 0 {
		c.Upload = 4 << 30
	}
	mux := http.NewServeMux()
	hc := huma.DefaultConfig("smi", "v1")
	hc.Info.Description = "The API of the smi daemon. Errors are RFC 9457 problems with a code, the field and one sentence. " +
		"Times are RFC 3339. Ids are 13 characters. A write that makes something takes an Idempotency-Key; every other write changes nothing when it is repeated."
	hc.OpenAPIPath, hc.DocsPath, hc.SchemasPath = "/api/v1/openapi", "", ""
	hc.CreateHooks = nil // no $schema links: answers hold what was asked for
	hc.RejectUnknownQueryParameters = true
	a := &API{cfg: c, mux: mux, huma: humago.New(mux, hc)}
	a.routes()
	if c.Metrics != nil {
		mux.Handle("GET "+metricsPath, c.Metrics)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.writeProblem(w, newProblem(social.CodeNotFound, "", fmt.Sprintf("there is no %s %s; smi openapi lists what there is", r.Method, r.URL.Path)))
	})
	return a
}

// OpenAPI returns the description as JSON.
func (a *API) OpenAPI() ([]byte, error) { return a.huma.OpenAPI().MarshalJSON() }

type peerKey struct{}

// peer is who is at the other end of a connection.
type peer struct {
	uid uint32
	ok  bool
}

// ServeHTTP answers requests that came over the Unix socket.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, _ := r.Context().Value(peerKey{}).(peer)
	if !p.ok || p.uid != uint32(os.Geteuid()) && p.uid != 0 { //nolint:gosec // a uid fits
		a.writeProblem(w, newProblem(social.CodeForbidden, "", "this socket is for the user that runs the daemon"))
		return
	}
	defer a.recover(w, r)
	limit := callTime
	if r.URL.Query().Has("wait") {
		limit = waitTime
	}
	if r.Method == http.MethodPost && (r.URL.Path == mediaPath || r.URL.Path == backups || strings.HasSuffix(r.URL.Path, "/transcode")) || r.URL.Query().Has("full") {
		limit = uploadTime
	}
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	r = r.WithContext(context.WithValue(ctx, callerKey{}, caller{name: userName(p.uid), workspace: r.Header.Get(WorkspaceHeader)}))
	a.mux.ServeHTTP(w, r)
}

// recover turns a panic of a handler into an answer and a line of the log: one
// bug must not look like a daemon that went away.
func (a *API) recover(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler { //nolint:errorlint // the value net/http documents
		panic(p)
	}
	a.cfg.Log.Error("a request panicked", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
	a.writeProblem(w, newProblem(social.CodeInternal, "", "something went wrong inside smi; the log of the daemon says what"))
}

type callerKey struct{}

type caller struct{ name, workspace string }

// actor returns who asks.
func (a *API) actor(ctx context.Context) (app.Actor, error) {
	c, ok := ctx.Value(callerKey{}).(caller)
	if !ok {
		return app.Actor{}, social.Errorf(social.CodeForbidden, "", "nobody is known to ask this")
	}
	return a.cfg.App.OwnerOf(ctx, "cli", c.name, c.workspace)
}

func userName(uid uint32) string {
	if u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid%d", uid)
}

// Listen makes the Unix socket: its folder closed to others, the socket itself
// too. A socket that nobody listens on any more is removed; a living one is an
// error.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > 100 { // the kernel's limit is 108 bytes with the final zero
		return nil, social.Errorf(social.CodeInvalid, "api.socket", "the path %s has %d bytes and a Unix socket may have 100; set api.socket to a shorter one", path, len(path))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the socket: %w", err)
	}
	if st, err := os.Lstat(path); err == nil {
		if st.Mode()&fs.ModeSocket == 0 {
			return nil, social.Errorf(social.CodeConflict, "api.socket", "%s is there and is no socket; remove it or set api.socket to another path", path)
		}
		d := net.Dialer{Timeout: time.Second}
		if conn, err := d.DialContext(ctx, "unix", path); err == nil {
			conn.Close() //nolint:errcheck // only a question
			return nil, social.Errorf(social.CodeConflict, "api.socket", "another daemon listens on %s; stop it, or give this one another data_dir", path)
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("removing the socket of a daemon that is gone: %w", err)
		}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close() //nolint:errcheck // the first error is told
		return nil, fmt.Errorf("protecting the socket: %w", err)
	}
	return l, nil
}

// Serve answers on the listener until ctx ends, then lets what is under way
// finish for a few seconds.
func (a *API) Serve(ctx context.Context, l net.Listener) error {
	return serve(ctx, l, a, a.cfg.Log)
}

func serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: headerTime, IdleTimeout: maxConnIdle, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, peerOf(c))
		},
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		down, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err := srv.Shutdown(down)
		if err != nil {
			err = srv.Close()
		}
		done <- err
	}()
	if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving %s: %w", l.Addr(), err)
	}
	return <-done
}
