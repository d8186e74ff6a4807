package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"smi/connectors"
	"smi/connectors/internal/simkit"
)

func (r *rig) read() Call {
	return Call{Op: "read", URL: r.srv.URL + "/read", Out: new(published), Timeout: time.Second}
}

func TestReadFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		do       simkit.Action
		kind     connectors.Kind
		requests int
	}{
		{"answers", simkit.Delay(0), "", 1},
		{"503", simkit.Status(503, nil, "{}"), connectors.Transient, 3},
		{"503 come back later", simkit.Status(503, map[string]string{"Retry-After": "3"}, "{}"), connectors.Transient, 1},
		{"cut", simkit.CutBefore(), connectors.Transient, -1}, // Go's transport tries a GET again by itself
		{"truncated", simkit.Truncate(4), connectors.Transient, 3},
		{"404", simkit.Status(404, nil, "{}"), connectors.Invalid, 1},
		{"403", simkit.Status(403, nil, "{}"), connectors.Permission, 1},
		{"429", simkit.Status(429, nil, "{}"), connectors.RateLimited, 1},
		{"web page", simkit.HTML(200), connectors.Unknown, 1},
		{"garbage", simkit.Garbage(), connectors.Unknown, 1},
		{"two values", simkit.Status(200, nil, `{"id":"1"} x`), connectors.Unknown, 1},
		{"wrong type", simkit.Status(200, nil, `{"id":"1","n":"many"}`), connectors.Unknown, 1},
		{"redirect", simkit.Status(302, map[string]string{"Location": "https://elsewhere.test/"}, ""), connectors.Unknown, 1},
		{"1 GiB", simkit.Huge(1 << 30), connectors.Transient, 3},
		{"header without end", simkit.EndlessHeaders(), connectors.Transient, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := serve(t, nil)
			r.kit.Script.Add(simkit.Fault{Path: "/read", Do: tt.do})
			_, err := r.Do(t.Context(), r.read())
			if got := connectors.KindOf(err); got != tt.kind {
				t.Errorf("kind %q, want %q: %v", got, tt.kind, err)
			}
			if n := len(r.kit.Requests.All()); n != tt.requests && tt.requests > 0 {
				t.Errorf("the server saw %d requests, want %d", n, tt.requests)
			}
			if err != nil {
				noCanary(t, err.Error(), r)
			}
		})
	}
}

// TestEffectFaults: an ordinary call that may not be repeated is made once and
// is Ambiguous where it may have happened.
func TestEffectFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		do   simkit.Action
		kind connectors.Kind
	}{
		{"cut", simkit.CutBefore(), connectors.Ambiguous},
		{"cut after", simkit.CutAfter(), connectors.Ambiguous},
		{"504", simkit.ActThenStatus(504, nil, "{}"), connectors.Ambiguous},
		{"garbage", simkit.Garbage(), connectors.Ambiguous},
		{"late", simkit.ActThenDelay(2 * time.Second), connectors.Ambiguous},
		{"400", simkit.Status(400, nil, `{"error":"InvalidRequest","message":"no"}`), connectors.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := serve(t, nil)
			if _, err := r.Do(t.Context(), r.read()); err != nil { // a connection that is reused
				t.Fatal(err)
			}
			r.kit.Script.Add(simkit.Fault{Path: "/publish", Do: tt.do})
			k := r.publish()
			k.Timeout = 300 * time.Millisecond
			_, err := r.Do(t.Context(), k)
			if got := connectors.KindOf(err); got != tt.kind {
				t.Errorf("kind %q, want %q: %v", got, tt.kind, err)
			}
			if n := r.kit.Requests.Count("POST", "/publish"); n != 1 {
				t.Errorf("the server saw %d requests, want 1", n)
			}
		})
	}
}

// TestOrdinaryCallWithKeyIsNotSentTwice: Go's transport repeats a POST that
// carries an Idempotency-Key on a reused connection, so Do refuses the header.
func TestOrdinaryCallWithKeyIsNotSentTwice(t *testing.T) {
	t.Parallel()
	r := serve(t, nil)
	if _, err := r.Do(t.Context(), r.read()); err != nil {
		t.Fatal(err)
	}
	r.kit.Script.Add(simkit.Fault{Path: "/publish", Do: simkit.CutAfter()})
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		k := r.publish()
		k.Header = http.Header{name: {"k"}}
		if _, err := r.Do(t.Context(), k); connectors.KindOf(err) != connectors.Unsupported {
			t.Errorf("%s: %v, want Unsupported", name, err)
		}
	}
	if n := r.kit.Requests.Count("POST", "/publish"); n != 0 {
		t.Errorf("the server saw %d requests, want none", n)
	}
}

func TestRepeatableCallSendsItsBodyEachTime(t *testing.T) {
	t.Parallel()
	r := serve(t, nil)
	r.kit.Script.Add(simkit.Fault{Path: "/publish", Times: 2, Do: simkit.Status(503, nil, "{}")})
	k := Call{
		Op: "upload", URL: r.srv.URL + "/publish", Repeatable: true, Size: 5, ContentType: "image/png",
		BodyFunc: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("bytes")), nil },
	}
	if _, err := r.Do(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	all := r.kit.Requests.All()
	if len(all) != 3 {
		t.Fatalf("the server saw %d requests, want 3", len(all))
	}
	for _, req := range all {
		if req.Bytes != 5 || req.Hash != connectors.RequestHash([]byte("bytes")) {
			t.Errorf("a request had %d bytes", req.Bytes)
		}
	}
}

func TestRenewOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		refusals, requests int
		kind               connectors.Kind
	}{{1, 2, ""}, {9, 2, connectors.AuthExpired}} {
		s := &fixed{}
		r := serve(t, func(c *Config) { c.Signer = s })
		r.kit.Script.Add(simkit.Fault{Path: "/read", Times: tt.refusals, Do: simkit.Status(401, nil, `{"error":"ExpiredToken"}`)})
		_, err := r.Do(t.Context(), r.read())
		if got := connectors.KindOf(err); got != tt.kind || s.renewals != 1 || len(r.kit.Requests.All()) != tt.requests {
			t.Errorf("%d refusals: %q after %d renewals and %d requests: %v", tt.refusals, got, s.renewals, len(r.kit.Requests.All()), err)
		}
	}
	// Never for a commit.
	s := &fixed{}
	r := serve(t, func(c *Config) { c.Signer = s })
	r.kit.Script.Add(simkit.Fault{Path: "/publish", Do: simkit.Status(401, nil, `{"error":"ExpiredToken"}`)})
	_, _, err := r.shoot(t, r.publish())
	if connectors.KindOf(err) != connectors.AuthExpired || s.renewals != 0 || len(r.kit.Requests.All()) != 1 {
		t.Errorf("commit: %v after %d renewals", err, s.renewals)
	}
}

func TestCallerWithoutTimeGetsNoRetry(t *testing.T) {
	t.Parallel()
	r := serve(t, nil)
	r.kit.Script.Add(simkit.Fault{Path: "/read", Do: simkit.Status(503, nil, "{}")})
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Millisecond)
	defer cancel()
	_, err := r.Do(ctx, r.read())
	if connectors.KindOf(err) != connectors.Transient || len(r.kit.Requests.All()) > 1 {
		t.Errorf("%v after %d requests", err, len(r.kit.Requests.All()))
	}
}

// TestRetryTimes runs in a bubble: the waits are what they are said to be.
func TestRetryTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := simkit.New(simkit.Options{})
		r := rigOver(t, kit, simkit.ServePipe(t, kit.Handler(network(kit)), false, ""), nil)
		kit.Script.Add(simkit.Fault{Path: "/read", Times: 1, Do: simkit.Status(503, nil, "{}")})
		kit.Script.Add(simkit.Fault{Path: "/read", Times: 1, Do: simkit.Status(503, map[string]string{"Retry-After": "2"}, "{}")})
		if _, err := r.Do(t.Context(), r.read()); err != nil {
			t.Fatal(err)
		}
		all := kit.Requests.All()
		if len(all) != 3 {
			t.Fatalf("%d requests, want 3", len(all))
		}
		if d := all[1].At.Sub(all[0].At); d < firstWait/2 || d > firstWait {
			t.Errorf("first wait %v", d)
		}
		if d := all[2].At.Sub(all[1].At); d != 2*time.Second {
			t.Errorf("second wait %v, want the 2 s that were asked for", d)
		}
		r.Close()
		r.srv.Close()
	})
}

type memoryLimits struct {
	mu sync.Mutex
	m  map[string]time.Time
}

func (l *memoryLimits) BlockedUntil(_ context.Context, b string) (time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.m[b], nil
}

func (l *memoryLimits) Block(_ context.Context, b string, until time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.m[b] = until
	return nil
}

func TestLimits(t *testing.T) {
	t.Parallel()
	// The simulator's answers carry the machine's Date, so dates are read from it.
	now := time.Now().Truncate(time.Second)
	at := func(d time.Duration) string { return now.Add(d).UTC().Format(http.TimeFormat) }
	tests := []struct {
		name   string
		status int
		header map[string]string
		block  time.Duration // 0: not blocked
	}{
		{"429 seconds", 429, map[string]string{"Retry-After": "90"}, 90 * time.Second},
		{"429 date", 429, map[string]string{"Retry-After": at(90 * time.Second), "Date": at(0)}, 90 * time.Second},
		{"429 date of a server whose clock is a day behind", 429, map[string]string{"Retry-After": at(-24*time.Hour + 90*time.Second), "Date": at(-24 * time.Hour)}, 90 * time.Second},
		{"429 nonsense", 429, map[string]string{"Retry-After": "soon"}, time.Minute},
		{"429 nothing", 429, nil, time.Minute},
		{"429 10⁹", 429, map[string]string{"Retry-After": "1000000000"}, 24 * time.Hour},
		{"429 1e300", 429, map[string]string{"Retry-After": "1e300"}, 24 * time.Hour},
		{"429 -5", 429, map[string]string{"Retry-After": "-5"}, time.Second},
		{"429 NaN", 429, map[string]string{"Retry-After": "NaN"}, time.Second},
		{"429 reset epoch", 429, map[string]string{"RateLimit-Reset": strconv.FormatInt(now.Add(5*time.Minute).Unix(), 10)}, 5 * time.Minute},
		{"429 reset epoch in ms", 429, map[string]string{"RateLimit-Reset": strconv.FormatInt(now.Add(5*time.Minute).UnixMilli(), 10)}, 5 * time.Minute},
		{"429 reset date", 429, map[string]string{"X-RateLimit-Reset": now.Add(5 * time.Minute).UTC().Format("2006-01-02T15:04:05.000000Z")}, 5 * time.Minute},
		{"429 reset delta", 429, map[string]string{"RateLimit-Reset": "300"}, 5 * time.Minute},
		{"429 reset past", 429, map[string]string{"RateLimit-Reset": strconv.FormatInt(now.Add(-time.Hour).Unix(), 10)}, time.Minute},
		{"429 reset in the year 3000", 429, map[string]string{"x-rate-limit-reset": "32503680000"}, 24 * time.Hour},
		{"200 nothing left", 200, map[string]string{"RateLimit-Remaining": "0", "RateLimit-Reset": "30"}, 30 * time.Second},
		{"200 too little left for the cost", 200, map[string]string{"RateLimit-Remaining": "2", "RateLimit-Reset": "30"}, 30 * time.Second},
		{"200 enough left", 200, map[string]string{"RateLimit-Remaining": "3", "RateLimit-Reset": "30"}, 0},
		{"200 nothing left, no time", 200, map[string]string{"RateLimit-Remaining": "0"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := &memoryLimits{m: map[string]time.Time{}}
			env := func(c *Config) { c.Env.Limits, c.Env.Now = store, func() time.Time { return now } }
			r := serve(t, env)
			body := `{"id":"1"}`
			r.kit.Script.Add(simkit.Fault{Path: "/read", Nth: 1, Do: simkit.Status(tt.status, tt.header, body)})
			k := r.read()
			k.Bucket, k.Cost = "read", 3
			_, err := r.Do(t.Context(), k)
			if (err == nil) != (tt.status == 200) {
				t.Fatal(err)
			}
			if e := connectors.AsError(err); e != nil && (e.RetryAfter != tt.block || e.Bucket != "endpoint:read") {
				t.Errorf("RetryAfter %v of %q, want %v of endpoint:read", e.RetryAfter, e.Bucket, tt.block)
			}
			// Another process over the same store respects it, without a request.
			other := rigOver(t, r.kit, r.srv, env)
			for who, c := range map[string]*rig{"this process": r, "another process": other} {
				before := len(r.kit.Requests.All())
				_, err = c.Do(t.Context(), k)
				if tt.block == 0 {
					if err != nil {
						t.Errorf("%s: %v", who, err)
					}
					continue
				}
				e := connectors.AsError(err)
				if e == nil || e.Kind != connectors.RateLimited || e.RetryAfter != tt.block || e.Bucket != "endpoint:read" {
					t.Errorf("%s: %+v, want to wait %v", who, e, tt.block)
				}
				if n := len(r.kit.Requests.All()); n != before {
					t.Errorf("%s: the network was asked", who)
				}
			}
			// Another endpoint is free.
			k.Bucket = "write"
			if _, err := r.Do(t.Context(), k); err != nil {
				t.Errorf("another endpoint: %v", err)
			}
		})
	}
}

func TestLimitOfTheWholeApp(t *testing.T) {
	t.Parallel()
	r := serve(t, func(c *Config) {
		c.Classify = func(Answer) *connectors.Error {
			return &connectors.Error{Kind: connectors.RateLimited, Bucket: "app", Text: "slow down"}
		}
	})
	r.kit.Script.Add(simkit.Fault{Path: "/read", Nth: 1, Do: simkit.Status(400, nil, "{}")})
	if _, err := r.Do(t.Context(), r.read()); connectors.KindOf(err) != connectors.RateLimited {
		t.Fatal(err)
	}
	other, err := r.For("a2", &fixed{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.Do(t.Context(), r.read())
	if e := connectors.AsError(err); e == nil || e.Kind != connectors.RateLimited || e.Bucket != "app" {
		t.Errorf("another account: %v, want to wait for the app", err)
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	r := serve(t, func(c *Config) {
		c.Hosts = []string{"bsky.social", "*.host.bsky.network", "127.0.0.1:2583", "http://127.0.0.1:8080", "Example.ORG:443"}
	})
	tests := map[string]bool{
		"https://bsky.social/xrpc/x":                true,
		"https://BSKY.social:443/xrpc/x":            true,
		"https://bsky.social:8443/xrpc/x":           false,
		"http://bsky.social/xrpc/x":                 false,
		"https://evil.bsky.social/":                 false,
		"https://bsky.social.evil.test/":            false,
		"https://bsky.social@evil.test/":            false,
		"https://user:pw@bsky.social/":              false,
		"https://morel.us-east.host.bsky.network/x": true,
		"https://host.bsky.network/x":               false,
		"https://evilhost.bsky.network/x":           false,
		"https://127.0.0.1:2583/x":                  true,
		"http://127.0.0.1:2583/x":                   false,
		"http://127.0.0.1:8080/x":                   true,
		"https://127.0.0.1:8080/x":                  false,
		"https://example.org/":                      true,
		"file:///etc/passwd":                        false,
		"https:///x":                                false,
		"ftp://bsky.social/":                        false,
		"//bsky.social/x":                           false,
		"/x":                                        false,
	}
	for u, want := range tests {
		_, err := r.request(t.Context(), &Call{Op: "x", URL: u})
		if (err == nil) != want {
			t.Errorf("%s: %v, want allowed=%v", u, err, want)
		}
	}
	for _, bad := range []string{"", "https://", "a/b", "user@host", "a b"} {
		if _, err := parseHosts([]string{bad}); err == nil {
			t.Errorf("the host %q was accepted", bad)
		}
	}
}

// TestErrorsHoldNoSecret: the network repeats our token, and a cause holds the
// address with its query.
func TestErrorsHoldNoSecret(t *testing.T) {
	t.Parallel()
	r := serve(t, nil)
	r.kit.Script.Add(simkit.Fault{Path: "/read", Do: simkit.Status(400, map[string]string{"X-Request-Id": canary}, `{"error":"Bad `+canary+`","message":"the token `+canary+` is not\nvalid"}`)})
	r.kit.Script.Add(simkit.Fault{Path: "/publish", Do: simkit.Status(400, nil, `{"error":"InvalidRequest","message":"Authorization: Bearer `+canary+`"}`)})
	_, err := r.Do(t.Context(), r.read())
	noCanary(t, err.Error(), r)
	if strings.ContainsAny(err.Error(), "\n\r") || !strings.Contains(err.Error(), "[redacted]") {
		t.Errorf("error text %q", err)
	}
	_, _, err = r.shoot(t, r.publish())
	noCanary(t, err.Error(), r)
	k := Call{Op: "read", URL: "https://127.0.0.1:1/x?access_token=" + canary, Timeout: time.Second}
	c, err := r.For("a", &fixed{}, "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Do(t.Context(), k)
	noCanary(t, err.Error(), r)
	// Nothing of a token endpoint's answer is repeated, known secret or not.
	r.kit.Script.Clear()
	r.kit.Script.Add(simkit.Fault{Path: "/publish", Do: simkit.Status(400, nil, `{"error":"InvalidRequest","message":"refresh_token=never-seen-before"}`)})
	k = r.publish()
	k.Secret = true
	_, err = r.Once(t.Context(), k)
	if err == nil || strings.Contains(err.Error(), "never-seen-before") || !strings.Contains(err.Error(), "InvalidRequest") {
		t.Errorf("token endpoint: %v", err)
	}
	if strings.Contains(r.log.String(), "never-seen-before") || strings.Contains(r.log.String(), "access_token") {
		t.Error("the log holds more than it should")
	}
	if !strings.Contains(r.log.String(), "op=publish") {
		t.Error("the log holds nothing: the test proves nothing")
	}
}

func TestOnceFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		do   simkit.Action
		kind connectors.Kind
	}{
		{"ok", simkit.Delay(0), ""},
		{"the grant is dead", simkit.Status(400, nil, `{"error":"ExpiredToken"}`), connectors.AuthExpired},
		{"401 in JSON", simkit.Status(401, nil, `{"error":"X"}`), connectors.AuthExpired},
		{"401 of a proxy", simkit.HTML(401), connectors.Ambiguous},
		{"403 of a proxy", simkit.HTML(403), connectors.Ambiguous},
		{"429", simkit.Status(429, nil, `{"error":"RateLimitExceeded"}`), connectors.RateLimited},
		{"500", simkit.Status(500, nil, `{"error":"X"}`), connectors.Ambiguous},
		{"409", simkit.Status(409, nil, `{"error":"X"}`), connectors.Ambiguous},
		{"307", simkit.Status(307, map[string]string{"Location": "/publish"}, "{}"), connectors.Ambiguous},
		{"cut before", simkit.CutBefore(), connectors.Ambiguous},
		{"cut after", simkit.CutAfter(), connectors.Ambiguous},
		{"no answer", simkit.ActThenDelay(2 * time.Second), connectors.Ambiguous},
		{"truncated", simkit.Truncate(3), connectors.Ambiguous},
		{"garbage", simkit.Garbage(), connectors.Ambiguous},
		{"without the new grant", simkit.Status(200, nil, `{}`), connectors.Ambiguous},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := serve(t, nil)
			r.kit.Script.Add(simkit.Fault{Path: "/publish", Do: tt.do})
			_, err := r.Once(t.Context(), r.publish())
			if got := connectors.KindOf(err); got != tt.kind {
				t.Errorf("kind %q, want %q: %v", got, tt.kind, err)
			}
			if n := len(r.kit.Requests.All()); n != 1 {
				t.Errorf("the server saw %d requests, want 1", n)
			}
			if auth := r.kit.Requests.All()[0].Auth; auth != "" {
				t.Errorf("a refresh was signed by itself: %q", auth)
			}
		})
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	type wire struct {
		ID    string `json:"id"`
		Inner struct {
			N int64 `json:"n"`
		} `json:"inner"`
		Any any `json:"any"`
	}
	var w wire
	if err := decode([]byte(`{"id":"x","inner":{"n":9223372036854775807},"any":9007199254740993,"new":true}`), &w); err != nil {
		t.Fatal(err)
	}
	if got, ok := w.Any.(interface{ String() string }); !ok || got.String() != "9007199254740993" || w.Inner.N != 1<<63-1 {
		t.Errorf("numbers lost digits: %v", w)
	}
	for body, want := range map[string]string{
		``:                         "empty",
		" \n":                      "empty",
		`null`:                     "null",
		`<html>`:                   "web page",
		`{"id":"x"`:                "cut off",
		`{"id":x}`:                 "broken at byte",
		`{"inner":{"n":"7"}}`:      "inner.n is a JSON string",
		`{"inner":{"n":1.5}}`:      "inner.n is a JSON number",
		`{"inner":{"n":1e30}}`:     "inner.n is a JSON number",
		`"x"`:                      "the whole is a JSON string",
		`{"id":"x"}{"id":"y"}`:     "goes on",
		strings.Repeat("[", 20000): "",
	} {
		err := decode([]byte(body), new(wire))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("decode(%.30q) = %v, want %q", body, err, want)
		}
	}
	if err := decode([]byte(`{}`), new(published)); err == nil || !strings.Contains(err.Error(), "id is missing") {
		t.Errorf("Validate was not asked: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"no dial":    func(c *Config) { c.Env.Dial = nil },
		"no clock":   func(c *Config) { c.Env.Now = nil },
		"no network": func(c *Config) { c.Network = "" },
		"bad host":   func(c *Config) { c.Hosts = []string{"a b"} },
		"bad rule":   func(c *Config) { c.BeforeEffect = []Rule{{}} },
	} {
		cfg := Config{Network: "x", Env: connectors.Env{Now: time.Now, Dial: simkit.NewPipe().Dial}}
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRenewFails(t *testing.T) {
	t.Parallel()
	dead := errors.New("dead")
	r := serve(t, func(c *Config) { c.Signer = failing{dead} })
	r.kit.Script.Add(simkit.Fault{Path: "/read", Do: simkit.Status(401, nil, `{"error":"ExpiredToken"}`)})
	_, err := r.Do(t.Context(), r.read())
	if !errors.Is(err, dead) {
		t.Errorf("%v, want what Renew said", err)
	}
}

type failing struct{ err error }

func (failing) Sign(context.Context, *http.Request) (int64, error) { return 1, nil }
func (f failing) Renew(context.Context, int64) error               { return f.err }
