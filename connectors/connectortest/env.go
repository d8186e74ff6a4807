package connectortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"smi/connectors"
	"smi/internal/social"
)

// NewEnv returns an Env that records all that is logged, at debug level, and
// reaches nothing: the harness sets Dial and RootCAs.
func NewEnv(testing.TB) connectors.Env {
	return connectors.Env{
		Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
			return nil, fmt.Errorf("the harness set no Dial: nothing leads to %s", addr)
		},
		Now:       time.Now,
		Log:       slog.New(newRecorder()),
		Limits:    &limitMemory{until: map[string]time.Time{}},
		Secrets:   func(string) {},
		UserAgent: "smi-conformance",
	}
}

// recorder keeps every log line as text.
type recorder struct {
	slog.Handler
	out *lockedBuffer
}

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

func newRecorder() *recorder {
	out := &lockedBuffer{}
	return &recorder{slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}), out}
}

// WithAttrs and WithGroup keep writing to the same buffer.
func (r *recorder) WithAttrs(a []slog.Attr) slog.Handler {
	return &recorder{r.Handler.WithAttrs(a), r.out}
}

// WithGroup implements slog.Handler.
func (r *recorder) WithGroup(name string) slog.Handler {
	return &recorder{r.Handler.WithGroup(name), r.out}
}

type limitMemory struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func (l *limitMemory) BlockedUntil(_ context.Context, bucket string) (time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until[bucket], nil
}

func (l *limitMemory) Block(_ context.Context, bucket string, until time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until[bucket] = until
	return nil
}

// vault lends one grant and renews it as internal/credentials would, and
// remembers every secret it saw.
type vault struct {
	by connectors.Refresher

	mu      sync.Mutex
	grant   connectors.Grant
	secrets map[string]bool
}

func newVault(p connectors.Platform, g connectors.Grant) *vault {
	if g.Gen == 0 {
		g.Gen = 1
	}
	v := &vault{secrets: map[string]bool{}}
	v.by, _ = p.(connectors.Refresher)
	v.keep(g)
	return v
}

// keep makes g the current grant. The lock is held, or nobody else knows v yet.
func (v *vault) keep(g connectors.Grant) {
	v.grant = g
	v.learn(g.Access, g.Refresh)
	for name, s := range g.Extra {
		if !slices.Contains(g.Public, name) {
			v.learn(s)
		}
	}
}

// learn remembers secrets long enough not to occur by chance. Addresses and
// public ids that a connector keeps in Grant.Extra are no secrets.
func (v *vault) learn(ss ...social.Secret) {
	for _, s := range ss {
		val := s.Reveal()
		public := strings.HasPrefix(val, "http://") || strings.HasPrefix(val, "https://") || strings.HasPrefix(val, "did:")
		if len(val) >= 8 && !public {
			v.secrets[val] = true
		}
	}
}

// known returns every secret that was seen.
func (v *vault) known() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []string
	for s := range v.secrets {
		out = append(out, s)
	}
	return out
}

func (v *vault) saw(ss ...social.Secret) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.learn(ss...)
}

func (v *vault) Grant(ctx context.Context) (connectors.Grant, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return connectors.Grant{}, &connectors.Error{Kind: connectors.Transient, Op: "credentials", Text: "the call was given up", Err: err}
	}
	return v.grant, nil
}

func (v *vault) Renew(ctx context.Context, gen int64) (connectors.Grant, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.grant.Gen > gen {
		return v.grant, nil
	}
	if v.by == nil {
		return connectors.Grant{}, &connectors.Error{Kind: connectors.AuthExpired, Op: "refresh", Text: "the login is dead; connect the account again", Err: errors.New("nothing refreshes it")}
	}
	g, err := v.by.Refresh(ctx, v.grant)
	if err != nil {
		return connectors.Grant{}, err
	}
	g.Gen = v.grant.Gen + 1
	v.keep(g)
	return g, nil
}
