package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// FuzzAnswer reads whatever a server may send: within limits, and complete or
// not at all.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"id\":\"p1\"}",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n{\"id\":\"p1\"}\r\n0\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 429 Slow\r\nRetry-After: 1e300\r\nRateLimit-Reset: NaN\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.0 200 OK\r\n\r\n{\"id\":1}",
		"HTTP/1.1 101 Switching Protocols\r\n\r\n",
	} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		const limit = 1000
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://h.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := readAnswer(strings.NewReader(s), req, limit, func() {})
		if err != nil {
			return
		}
		if a.Status < 200 || len(a.Body) > limit {
			t.Errorf("status %d with %d bytes", a.Status, len(a.Body))
		}
		for _, read := range []func(http.Header, time.Time) (time.Duration, bool){retryAfter, resetAfter} {
			if d, _ := read(a.Header, now); d < 0 || d > longest {
				t.Errorf("a wait of %v", d)
			}
		}
		var out published
		if err := a.JSON(&out); err == nil && out.ID == "" {
			t.Error("an answer without an id was taken")
		}
	})
}

// TestWaitsAreBounded: whatever the headers say, a wait is between nothing and
// a day.
func TestWaitsAreBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(
			rapid.String(),
			rapid.StringMatching(`-?[0-9]{1,25}(\.[0-9]+)?(e[0-9]{1,3})?`),
			rapid.Custom(func(t *rapid.T) string {
				return time.Unix(rapid.Int64Range(-1e10, 1e12).Draw(t, "unix"), 0).UTC().Format(http.TimeFormat)
			}),
			rapid.SampledFrom([]string{"NaN", "Inf", "-Inf", "0x1p1000", "9223372036854775808"}),
		)
		now := time.Unix(rapid.Int64Range(0, 1e11).Draw(t, "now"), 0)
		h := http.Header{}
		for _, name := range []string{"Retry-After", "Ratelimit-Reset", "Date"} {
			h.Set(name, value.Draw(t, name))
		}
		for _, read := range []func(http.Header, time.Time) (time.Duration, bool){retryAfter, resetAfter} {
			if d, _ := read(h, now); d < 0 || d > longest {
				t.Fatalf("%v: a wait of %v", h, d)
			}
		}
	})
}
