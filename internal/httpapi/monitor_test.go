package httpapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"smi/internal/app"
	"smi/internal/social"
)

func TestMonitor(t *testing.T) {
	t.Parallel()
	const token = "0123456789abcdef"
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("smi_x 1\n")) }) //nolint:errcheck // into memory
	for _, c := range []struct {
		name, path, auth string
		method           string
		h                app.Health
		want             int
		says             string
	}{
		{"well", "/readyz", "Bearer " + token, "GET", app.Health{Alive: true, Ready: true, Node: "n"}, 200, `"node":"n"`},
		{"alive and not ready", "/healthz", "Bearer " + token, "GET", app.Health{Alive: true}, 200, `"ready":false`},
		{"not ready", "/readyz", "Bearer " + token, "GET", app.Health{Alive: true, Problems: []string{"in quarantine"}}, 503, "in quarantine"},
		{"broken", "/healthz", "Bearer " + token, "GET", app.Health{}, 503, `"alive":false`},
		{"no token", "/healthz", "", "GET", app.Health{Alive: true, Ready: true}, 401, "monitor.token"},
		{"wrong token", "/healthz", "Bearer 0123456789abcdeX", "GET", app.Health{Alive: true, Ready: true}, 401, ""},
		{"elsewhere", "/api/v1/status", "Bearer " + token, "GET", app.Health{Alive: true, Ready: true}, 404, "/readyz"},
		{"metrics", "/metrics", "Bearer " + token, "GET", app.Health{}, 200, "smi_x 1"},
		{"metrics without a token", "/metrics", "", "GET", app.Health{Alive: true, Ready: true}, 401, "monitor.token"},
		{"a write", "/healthz", "Bearer " + token, "POST", app.Health{Alive: true, Ready: true}, 405, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := Monitor{Health: func(context.Context) app.Health { return c.h }, Metrics: metrics, Token: social.NewSecret(token)}
			r := httptest.NewRequest(c.method, c.path, http.NoBody)
			if c.auth != "" {
				r.Header.Set("Authorization", c.auth)
			}
			w := httptest.NewRecorder()
			m.ServeHTTP(w, r)
			if w.Code != c.want || !strings.Contains(w.Body.String(), c.says) {
				t.Errorf("got %d %s, want %d with %q", w.Code, w.Body, c.want, c.says)
			}
		})
	}
}
