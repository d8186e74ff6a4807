package simkit_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"smi/connectors/internal/simkit"
)

// Every object gets a field that nobody knows, but those whose keys are names;
// numbers keep their digits.
func TestNoisy(t *testing.T) {
	t.Parallel()
	on := false
	h := simkit.Noisy(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"id":9007199254740993,"by":{"ann":1}}`) //nolint:errcheck // into memory
	}), func() bool { return on }, func(x map[string]any) bool { return x["ann"] != nil })
	for _, want := range []string{
		`{"id":9007199254740993,"by":{"ann":1}}`,
		`{"by":{"ann":1},"id":9007199254740993,"newInThisRelease":{"of":[1,"unknown",null]}}`,
	} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody))
		if rec.Code != http.StatusCreated || rec.Body.String() != want {
			t.Errorf("%d %s, want %s", rec.Code, rec.Body, want)
		}
		on = true
	}
}
