package httpapi

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"smi/internal/app"
	"smi/internal/social"
)

// metricsPath is where metrics are, for those who ask by the address of the
// monitor and for those who ask by the socket.
const metricsPath = "/metrics"

// Monitor serves what monitoring programs ask.
type Monitor struct {
	Health func(context.Context) app.Health
	// Metrics answers /metrics; nil: there are none.
	Metrics http.Handler
	// Token must be sent as a bearer token; the empty one asks for none.
	Token social.Secret
}

// ServeHTTP implements http.Handler.
func (m Monitor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !m.Token.Empty() {
		sent, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || subtle.ConstantTimeCompare([]byte(sent), []byte(m.Token.Reveal())) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "send the token of monitor.token: Authorization: Bearer TOKEN", http.StatusUnauthorized)
			return
		}
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "only GET is answered here", http.StatusMethodNotAllowed)
		return
	}
	if r.URL.Path == metricsPath && m.Metrics != nil {
		m.Metrics.ServeHTTP(w, r)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), headerTime)
	defer cancel()
	h := m.Health(ctx)
	well := h.Ready
	switch r.URL.Path {
	case "/healthz":
		well = h.Alive
	case "/readyz":
	default:
		http.Error(w, "there are /healthz, /readyz and /metrics", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if !well {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	json.NewEncoder(w).Encode(h) //nolint:errcheck // nobody is left to tell
}

// Serve answers on a listener until ctx ends.
func (m Monitor) Serve(ctx context.Context, l net.Listener, log *slog.Logger) error {
	return serve(ctx, l, m, log)
}
