package simkit

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
)

// Noisy adds a field that nobody knows to every object of JSON answers while on
// says so. named says of an object that its keys are no field names but names of
// things: it gets none; nil means that there is no such object.
func Noisy(next http.Handler, on func() bool, named func(map[string]any) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !on() {
			next.ServeHTTP(w, r)
			return
		}
		rec := &held{header: w.Header(), status: http.StatusOK}
		next.ServeHTTP(rec, r)
		body := rec.body.Bytes()
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber()
		var v any
		if strings.HasPrefix(rec.header.Get("Content-Type"), "application/json") && dec.Decode(&v) == nil {
			if b, err := json.Marshal(noise(v, named)); err == nil {
				body = b
			}
		}
		w.WriteHeader(rec.status)
		_, _ = w.Write(body) // the client may have gone
	})
}

// noise adds a field to the objects in v.
func noise(v any, named func(map[string]any) bool) any {
	switch x := v.(type) {
	case []any:
		for i, e := range x {
			x[i] = noise(e, named)
		}
	case map[string]any:
		for k, e := range x {
			x[k] = noise(e, named)
		}
		if named == nil || !named(x) {
			x["newInThisRelease"] = map[string]any{"of": []any{1, "unknown", nil}}
		}
	}
	return v
}

// held is an answer that is not sent yet.
type held struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (h *held) Header() http.Header         { return h.header }
func (h *held) WriteHeader(status int)      { h.status = status }
func (h *held) Write(b []byte) (int, error) { return h.body.Write(b) }
