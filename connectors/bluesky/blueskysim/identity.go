package blueskysim

import (
	"net"
	"net/http"
	"strings"
)

func (s *Sim) identityRoutes() {
	s.mux.HandleFunc("GET /{did}", s.plcDocument)
	s.mux.HandleFunc("GET /.well-known/atproto-did", s.wellKnownDID)
	s.mux.HandleFunc("GET /xrpc/com.atproto.identity.resolveHandle", s.resolveHandle)
	s.mux.HandleFunc("GET /xrpc/com.atproto.server.describeServer", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, map[string]any{"did": s.serviceDID(r), "availableUserDomains": []string{".test"}})
	})
}

// plcDocument answers as plc.directory does.
func (s *Sim) plcDocument(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[r.PathValue("did")]
	if a == nil {
		answer(w, http.StatusNotFound, map[string]string{"message": "DID not registered: " + r.PathValue("did")})
		return
	}
	answer(w, http.StatusOK, s.didDocument(r, a))
}

func (s *Sim) didDocument(r *http.Request, a *account) map[string]any {
	return map[string]any{
		"@context":    []string{"https://www.w3.org/ns/did/v1"},
		"id":          a.DID,
		"alsoKnownAs": []string{"at://" + a.Handle},
		"service": []map[string]string{{
			"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": s.base(r),
		}},
	}
}

func (s *Sim) wellKnownDID(w http.ResponseWriter, r *http.Request) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(host)
	if a == nil {
		http.Error(w, "User not found", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write([]byte(a.DID))
}

func (s *Sim) resolveHandle(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(r.URL.Query().Get("handle"))
	if a == nil || strings.HasPrefix(r.URL.Query().Get("handle"), "did:") {
		refuse(w, http.StatusBadRequest, "InvalidRequest", "Unable to resolve handle")
		return
	}
	answer(w, http.StatusOK, map[string]string{"did": a.DID})
}

func (s *Sim) serviceDID(r *http.Request) string {
	host := strings.TrimPrefix(strings.TrimPrefix(s.base(r), "https://"), "http://")
	return "did:web:" + strings.ReplaceAll(host, ":", "%3A")
}
