package twittersim

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
)

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}

// refusal is an error of a method, in whatever shape its part of the API has.
type refusal struct {
	status int
	body   map[string]any
	header map[string]string
}

func (r *refusal) Error() string {
	b, _ := json.Marshal(r.body) //nolint:errchkjson // only strings and numbers
	return string(b)
}

// send answers with v (200), or with the error of a method.
func send(w http.ResponseWriter, v any, err error) { sendAs(w, http.StatusOK, v, err) }

func sendAs(w http.ResponseWriter, status int, v any, err error) {
	if err == nil {
		answer(w, status, v)
		return
	}
	r, ok := errors.AsType[*refusal](err)
	if !ok {
		r = &refusal{status: http.StatusInternalServerError, body: map[string]any{"title": "Internal Server Error", "type": "about:blank", "status": 500}}
	}
	for k, v := range r.header {
		w.Header().Set(k, v)
	}
	answer(w, r.status, r.body)
}

// problem is a refusal without a type of its own.
func problem(status int, detail string) *refusal {
	return &refusal{status: status, body: map[string]any{"title": http.StatusText(status), "detail": detail, "type": "about:blank", "status": status}}
}

// typed is a refusal with a type.
func typed(status int, slug, title, detail string) *refusal {
	return &refusal{status: status, body: map[string]any{"title": title, "detail": detail, "type": "https://api.twitter.com/2/problems/" + slug, "status": status}}
}

// invalid is a refusal of a parameter.
func invalid(parameter, value, message string) *refusal {
	return &refusal{status: http.StatusBadRequest, body: map[string]any{
		"errors": []any{map[string]any{"parameters": map[string]any{parameter: []string{value}}, "message": message}},
		"title":  "Invalid Request", "detail": "One or more parameters to your request was invalid.", "type": "https://api.twitter.com/2/problems/invalid-request",
	}}
}

// coded is a refusal of API v1.1.
func coded(status, code int, message string) *refusal {
	return &refusal{status: status, body: map[string]any{"errors": []any{map[string]any{"code": code, "message": message}}}}
}

func notFound(id string) *refusal {
	return typed(http.StatusNotFound, "resource-not-found", "Not Found Error", "Could not find tweet with ids: ["+id+"].")
}

func gone(id, parameter string) map[string]any {
	return map[string]any{
		"resource_id": id, "value": id, "parameter": parameter, "resource_type": "tweet", "title": "Not Found Error",
		"detail": "Could not find tweet with " + parameter + ": [" + id + "].", "type": "https://api.twitter.com/2/problems/resource-not-found",
	}
}

// window is what an account has used of an endpoint in 15 minutes.
type window struct {
	from time.Time
	used int
}

// perQuarter are the calls of an account in 15 minutes (docs.x.com, Rate
// limits, read 2026-08-22).
var perQuarter = map[string]int{
	"create": 100, "delete": 50, "me": 75, "lookup": 5000, "timeline": 900, "upload": 500, "initialize": 1875, "append": 1875, "finalize": 1875,
	"status": 1000, "metadata": 500, "legacy": 900,
}

// spend takes a call from the account's quarter of an hour and says in the
// headers what is left. The caller holds s.mu.
func (s *Sim) spend(w http.ResponseWriter, account, endpoint string) error {
	limit := perQuarter[endpoint]
	key, now := account+" "+endpoint, s.now()
	win := s.spent[key]
	if win == nil || now.Sub(win.from) >= 15*time.Minute {
		win = &window{from: now}
		s.spent[key] = win
	}
	reset := win.from.Add(15 * time.Minute)
	if win.used < limit {
		win.used++
	} else {
		win.used = limit + 1
	}
	h := w.Header()
	h.Set("x-rate-limit-limit", strconv.Itoa(limit))
	h.Set("x-rate-limit-remaining", strconv.Itoa(max(limit-win.used, 0)))
	h.Set("x-rate-limit-reset", strconv.FormatInt(reset.Unix()+1, 10))
	if win.used > limit {
		return problem(http.StatusTooManyRequests, "Too Many Requests")
	}
	return nil
}
