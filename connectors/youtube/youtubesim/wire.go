package youtubesim

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
)

// refusal is an error as Google's APIs say it.
type refusal struct {
	status          int
	domain, reason  string
	message, global string
}

func (r *refusal) Error() string { return r.reason }

func refuse(status int, domain, reason, message string) error {
	global := map[int]string{400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}[status]
	return &refusal{status, domain, reason, message, global}
}

func invalid(reason, message string) error {
	return refuse(http.StatusBadRequest, "youtube.video", reason, message)
}

// send answers with v, or with what err refuses.
func send(w http.ResponseWriter, v any, err error) {
	var r *refusal
	switch {
	case errors.As(err, &r):
		body := map[string]any{"code": r.status, "message": r.message, "errors": []any{map[string]any{"message": r.message, "domain": r.domain, "reason": r.reason}}}
		if r.global != "" {
			body["status"] = r.global
		}
		answer(w, r.status, map[string]any{"error": body})
	case err != nil:
		send(w, nil, refuse(http.StatusInternalServerError, "global", "backendError", "Backend Error"))
	case v == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		answer(w, http.StatusOK, v)
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}

// read decodes a JSON body.
func read(r *http.Request, v any) error {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return refuse(http.StatusBadRequest, "global", "parseError", "Parse Error")
	}
	return nil
}

// parts reads the parameter part, which must be there and name known ones.
func parts(r *http.Request, known ...string) (map[string]bool, error) {
	out := map[string]bool{}
	for _, v := range r.URL.Query()["part"] {
		for p := range strings.SplitSeq(v, ",") {
			p = strings.TrimSpace(p)
			ok := p == "id"
			for _, k := range known {
				ok = ok || p == k
			}
			if !ok {
				return nil, refuse(http.StatusBadRequest, "youtube.part", "unknownPart", p)
			}
			out[p] = true
		}
	}
	if len(out) == 0 {
		return nil, refuse(http.StatusBadRequest, "youtube.parameter", "missingRequiredParameter", "No filter selected. Expected one of: part")
	}
	return out, nil
}

// ids reads a parameter of comma-separated or repeated ids.
func ids(r *http.Request, name string) []string {
	var out []string
	for _, v := range r.URL.Query()[name] {
		for id := range strings.SplitSeq(v, ",") {
			if id = strings.TrimSpace(id); id != "" {
				out = append(out, id)
			}
		}
	}
	return out
}

// isNoisy says whether Noise was called.
func (s *Sim) isNoisy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stage.noise
}
