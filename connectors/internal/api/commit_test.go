package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/internal/simkit"
)

func TestCommitPublishesOnce(t *testing.T) {
	t.Parallel()
	r := serve(t, nil)
	k := r.publish()
	a, ev, err := r.shoot(t, k)
	if err != nil {
		t.Fatal(err)
	}
	if out := k.Out.(*published); out.ID != "p1" || out.N != 9007199254740993 {
		t.Errorf("decoded %+v", out)
	}
	if a.Status != 200 || ev.Reach != connectors.ReachAnswered || ev.Bytes == 0 || ev.FirstByte.IsZero() {
		t.Errorf("answer %d, evidence %+v", a.Status, ev)
	}
	if n := r.kit.Journal.Count("publish"); n != 1 {
		t.Errorf("%d posts are public, want 1", n)
	}
}

// TestCommitFaults sends one commit into each fault. Whatever happens the
// server sees at most one request, and only what is proven is not Ambiguous.
func TestCommitFaults(t *testing.T) {
	t.Parallel()
	long := map[string]string{"Retry-After": "1000000000"}
	tests := []struct {
		name   string
		do     simkit.Action
		kind   connectors.Kind // "" is success
		public int             // posts that are public in the end
	}{
		{"F5 reset before acting", simkit.ResetBefore(), connectors.Ambiguous, 0},
		{"F6 closed before acting, not one byte of answer", simkit.CutBefore(), connectors.Ambiguous, 0},
		{"F7 applied, answer lost", simkit.CutAfter(), connectors.Ambiguous, 1},
		{"F7 applied, reset", simkit.ResetAfter(), connectors.Ambiguous, 1},
		{"F8 applied, answer after we gave up", simkit.ActThenDelay(2 * time.Second), connectors.Ambiguous, 1},
		{"F9 parked, then applied", simkit.Park(600 * time.Millisecond), connectors.Ambiguous, 1},
		{"F10 503, not applied", simkit.Status(503, nil, `{"error":"Busy","message":"later"}`), connectors.Ambiguous, 0},
		{"F11 504 although applied", simkit.ActThenStatus(504, nil, `{"error":"Timeout"}`), connectors.Ambiguous, 1},
		{"F12 429 on the list", simkit.Status(429, map[string]string{"Retry-After": "30"}, `{"error":"RateLimitExceeded"}`), connectors.RateLimited, 0},
		{"F12 429 for 10⁹ seconds", simkit.Status(429, long, `{"error":"RateLimitExceeded"}`), connectors.RateLimited, 0},
		{"429 not on the list", simkit.ActThenStatus(429, nil, `{"error":"Sometimes"}`), connectors.Ambiguous, 1},
		{"429 as a web page", simkit.HTML(429), connectors.Ambiguous, 0},
		{"F13 truncated", simkit.Truncate(5), connectors.Ambiguous, 1},
		{"F13 truncated at the header", simkit.Truncate(0), connectors.Ambiguous, 1},
		{"F14 garbage", simkit.Garbage(), connectors.Ambiguous, 1},
		{"F14 web page with 200", simkit.ActThenHTML(200), connectors.Ambiguous, 1},
		{"F14 wrong type", simkit.ActThenStatus(200, nil, `{"id":17}`), connectors.Ambiguous, 1},
		{"F14 an array", simkit.ActThenStatus(200, nil, `[]`), connectors.Ambiguous, 1},
		{"F14 null", simkit.ActThenStatus(200, nil, `null`), connectors.Ambiguous, 1},
		{"F14 two values", simkit.ActThenStatus(200, nil, `{"id":"p1"}{"id":"p2"}`), connectors.Ambiguous, 1},
		{"F14 empty", simkit.ActThenStatus(200, nil, ``), connectors.Ambiguous, 1},
		{"F15 no id", simkit.ActThenStatus(200, nil, `{"n":1}`), connectors.Ambiguous, 1},
		{"204 without a word", simkit.ActThenStatus(204, nil, ``), connectors.Ambiguous, 1},
		{"F16 slow header", simkit.Slow(1, 50*time.Millisecond), connectors.Ambiguous, 1},
		{"F16 header without end", simkit.EndlessHeaders(), connectors.Ambiguous, 1},
		{"F17 1 GiB", simkit.Huge(1 << 30), connectors.Ambiguous, 1},
		{"F17 gzip", simkit.ActThenStatus(200, map[string]string{"Content-Encoding": "gzip"}, "\x1f\x8b\x08\x00"), connectors.Ambiguous, 1},
		{"F18 answered twice", simkit.Double(), connectors.Ambiguous, 1},
		{"F19 307 to another host", simkit.Status(307, map[string]string{"Location": "https://127.0.0.2/publish"}, ""), connectors.Ambiguous, 0},
		{"F19 308 to http", simkit.Status(308, map[string]string{"Location": "http://127.0.0.1/publish"}, ""), connectors.Ambiguous, 0},
		{"302", simkit.ActThenStatus(302, map[string]string{"Location": "/read"}, ""), connectors.Ambiguous, 1},
		{"F21 401 on the list", simkit.Status(401, nil, `{"error":"ExpiredToken","message":"Token has expired"}`), connectors.AuthExpired, 0},
		{"401 of a proxy", simkit.HTML(401), connectors.Ambiguous, 0},
		{"F22 400 although applied", simkit.ActThenStatus(400, nil, `{"error":"Duplicate"}`), connectors.Ambiguous, 1},
		{"400 on the list", simkit.Status(400, nil, `{"error":"InvalidRequest","message":"text is too long"}`), connectors.Invalid, 0},
		{"400 on the list of another status", simkit.ActThenStatus(403, nil, `{"error":"InvalidRequest"}`), connectors.Ambiguous, 1},
		{"400 on the list, cut off", simkit.Raw(false, "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n"+`{"error":"InvalidRequest"}`), connectors.Ambiguous, 0},
		{"408", simkit.Status(408, nil, `{"error":"InvalidRequest"}`), connectors.Ambiguous, 0},
		{"409", simkit.Status(409, nil, `{"error":"InvalidRequest"}`), connectors.Ambiguous, 0},
		{"425", simkit.Status(425, nil, `{"error":"InvalidRequest"}`), connectors.Ambiguous, 0},
		{"1xx without end", simkit.Raw(true, strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 50)+"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"id\":\"p1\"}"), connectors.Ambiguous, 1},
		{"101", simkit.Raw(true, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"), connectors.Ambiguous, 1},
		{"two lengths", simkit.Raw(true, "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nContent-Length: 12\r\n\r\n{\"id\":\"p1\"}"), connectors.Ambiguous, 1},
		{"longer than its length", simkit.Raw(true, "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"id\":\"p1\"}{}"), connectors.Ambiguous, 1},
		{"not HTTP", simkit.Raw(true, "220 mail.example ESMTP\r\n"), connectors.Ambiguous, 1},
		{"a 100 and a 103 before the answer", simkit.Raw(true, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"id\":\"p1\"}"), "", 1},
		{"chunked", simkit.Raw(true, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"id\"\r\n6\r\n:\"p1\"}\r\n0\r\n\r\n"), "", 1},
		{"chunked, last chunk missing", simkit.Raw(true, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n{\"id\":\"p1\"}\r\n"), connectors.Ambiguous, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := serve(t, nil)
			r.kit.Script.Add(simkit.Fault{Name: "f", Path: "/publish", Do: tt.do})
			k := r.publish()
			if strings.Contains(tt.name, "gave up") || strings.Contains(tt.name, "F9") {
				k.HeaderTimeout = 100 * time.Millisecond
			}
			_, ev, err := r.shoot(t, k)
			if got := connectors.KindOf(err); got != tt.kind {
				t.Errorf("kind %q, want %q: %v", got, tt.kind, err)
			}
			if ev.Reach == connectors.ReachNothing || ev.Bytes == 0 {
				t.Errorf("evidence %+v, but a request was written", ev)
			}
			if tt.public == 1 {
				select {
				case <-r.kit.Journal.Reached("publish", 1):
				case <-time.After(5 * time.Second):
				}
			}
			if n := r.kit.Journal.Count("publish"); n != tt.public {
				t.Errorf("%d posts are public, want %d", n, tt.public)
			}
			if n := len(r.kit.Requests.All()); n != 1 {
				t.Errorf("the server saw %d requests, want 1", n)
			}
			if e := connectors.AsError(err); e != nil && e.RetryAfter > 24*time.Hour {
				t.Errorf("RetryAfter %v", e.RetryAfter)
			}
			if err != nil {
				noCanary(t, err.Error(), r)
			}
		})
	}
}

func noCanary(t *testing.T, text string, r *rig) {
	t.Helper()
	for _, s := range []string{text, r.log.String()} {
		if strings.Contains(s, canary) || strings.Contains(s, "Zk3") {
			t.Errorf("the token is in %q", s)
		}
	}
}

// TestCommitIsRefused lists what must not write a byte.
func TestCommitIsRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		kind connectors.Kind
		do   func(t *testing.T, r *rig) error
	}{
		{"without a shot", connectors.Unsupported, func(t *testing.T, r *rig) error {
			_, err := r.Commit(t.Context(), r.publish())
			return err
		}},
		{"without a connection", connectors.Unsupported, func(t *testing.T, r *rig) error {
			_, err := r.Commit(connectors.WithShot(t.Context(), connectors.NewShot(attemptIDs.New(time.Now()), time.Now().Add(time.Minute), nil, time.Now)), r.publish())
			return err
		}},
		{"after send_by", connectors.Transient, func(t *testing.T, r *rig) error {
			conn := r.dial(t, r.srv.URL)
			_, err := r.Commit(connectors.WithShot(t.Context(), connectors.NewShot(attemptIDs.New(time.Now()), time.Now().Add(-time.Second), conn, time.Now)), r.publish())
			return err
		}},
		{"send_by passes between taking and writing", connectors.Transient, func(t *testing.T, r *rig) error {
			conn := r.dial(t, r.srv.URL)
			end, asked := time.Now().Add(time.Minute), 0
			now := func() time.Time {
				if asked++; asked > 1 {
					return end.Add(time.Nanosecond)
				}
				return end
			}
			_, err := r.Commit(connectors.WithShot(t.Context(), connectors.NewShot(attemptIDs.New(time.Now()), end, conn, now)), r.publish())
			return err
		}},
		{"without a body", connectors.Unsupported, func(t *testing.T, r *rig) error {
			k := r.publish()
			k.JSON, k.Method = nil, http.MethodPost
			_, _, err := r.shoot(t, k)
			return err
		}},
		{"with an empty body", connectors.Unsupported, func(t *testing.T, r *rig) error {
			k := r.publish()
			k.JSON, k.Body = nil, []byte{}
			_, _, err := r.shoot(t, k)
			return err
		}},
		{"with an idempotency key that means nothing", connectors.Unsupported, func(t *testing.T, r *rig) error {
			k := r.publish()
			k.Header = http.Header{"idempotency-key": {"k1"}}
			_, _, err := r.shoot(t, k)
			return err
		}},
		{"on a connection to elsewhere", connectors.Unsupported, func(t *testing.T, r *rig) error {
			other := serve(t, nil)
			conn := other.dial(t, other.srv.URL)
			_, err := r.Commit(connectors.WithShot(t.Context(), connectors.NewShot(attemptIDs.New(time.Now()), time.Now().Add(time.Minute), conn, time.Now)), r.publish())
			return err
		}},
		{"to a host that is not listed", connectors.Permission, func(t *testing.T, r *rig) error {
			conn := r.dial(t, r.srv.URL)
			k := r.publish()
			k.URL = "https://elsewhere.test/publish"
			_, err := r.Commit(connectors.WithShot(t.Context(), connectors.NewShot(attemptIDs.New(time.Now()), time.Now().Add(time.Minute), conn, time.Now)), k)
			return err
		}},
		{"while its bucket is blocked", connectors.RateLimited, func(t *testing.T, r *rig) error {
			r.core.limits.block(t.Context(), "test/account/a1", time.Now().Add(time.Minute))
			_, _, err := r.shoot(t, r.publish())
			return err
		}},
		{"after the caller gave up", connectors.Transient, func(t *testing.T, r *rig) error {
			conn := r.dial(t, r.srv.URL)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := r.Commit(connectors.WithShot(ctx, connectors.NewShot(attemptIDs.New(time.Now()), time.Now().Add(time.Minute), conn, time.Now)), r.publish())
			return err
		}},
		{"when it cannot be signed", connectors.AuthExpired, func(t *testing.T, r *rig) error {
			c, err := r.For("a1", noGrant{})
			if err != nil {
				t.Fatal(err)
			}
			r.Client = c
			_, _, err = r.shoot(t, r.publish())
			return err
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := serve(t, nil)
			err := tt.do(t, r)
			if got := connectors.KindOf(err); got != tt.kind {
				t.Errorf("kind %q, want %q: %v", got, tt.kind, err)
			}
			if n := len(r.kit.Requests.All()); n != 0 {
				t.Errorf("the server saw %d requests, want none", n)
			}
		})
	}
}

type noGrant struct{}

func (noGrant) Sign(context.Context, *http.Request) (int64, error) {
	return 0, &connectors.Error{Kind: connectors.AuthExpired, Text: "please connect again"}
}
func (noGrant) Renew(context.Context, int64) error { return errors.New("no") }

func TestSameAttemptTwiceIsRefused(t *testing.T) {
	t.Parallel()
	r := serve(t, nil)
	id := attemptIDs.New(time.Now())
	for i, want := range []connectors.Kind{"", connectors.Unsupported} {
		shot := connectors.NewShot(id, time.Now().Add(time.Minute), r.dial(t, r.srv.URL), time.Now)
		_, err := r.Commit(connectors.WithShot(t.Context(), shot), r.publish())
		if got := connectors.KindOf(err); got != want {
			t.Errorf("commit %d: kind %q, want %q: %v", i+1, got, want, err)
		}
		shot.Discard()
	}
	if n := r.kit.Journal.Count("publish"); n != 1 {
		t.Errorf("%d posts are public, want 1", n)
	}
}

func TestSameShotTwiceIsRefused(t *testing.T) {
	t.Parallel()
	r := serve(t, nil)
	shot := connectors.NewShot(attemptIDs.New(time.Now()), time.Now().Add(time.Minute), r.dial(t, r.srv.URL), time.Now)
	r.kit.Script.Add(simkit.Fault{Path: "/publish", Do: simkit.CutAfter()})
	for range 2 {
		if _, err := r.Commit(connectors.WithShot(t.Context(), shot), r.publish()); err == nil {
			t.Error("a commit succeeded, want an error")
		}
	}
	if n := r.kit.Journal.Count("publish"); n != 1 {
		t.Errorf("%d posts are public, want 1", n)
	}
}

// TestConnectionThatDiedBeforeTheCommit is about a server that closes, or
// speaks, between dialling and writing: nothing was sent.
func TestConnectionThatDiedBeforeTheCommit(t *testing.T) {
	t.Parallel()
	for _, speak := range []string{"", "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"} {
		ln := newRawServer(t, func(c rawConn) { c.Write([]byte(speak)) }) //nolint:errcheck // a test
		r := rigOver(t, simkit.New(simkit.Options{}), ln.server, nil)
		conn := r.dial(t, r.srv.URL)
		<-ln.done
		shot := connectors.NewShot(attemptIDs.New(time.Now()), time.Now().Add(time.Minute), conn, time.Now)
		_, err := r.Commit(connectors.WithShot(t.Context(), shot), r.publish())
		if connectors.KindOf(err) != connectors.Transient || shot.Evidence().Reach != connectors.ReachNothing {
			t.Errorf("%q: %v with evidence %+v, want Transient and nothing", speak, err, shot.Evidence())
		}
	}
}

// TestCallerGivesUpInTheMiddle: the request is out, so it is Ambiguous.
func TestCallerGivesUpInTheMiddle(t *testing.T) {
	t.Parallel()
	r := serve(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	r.kit.Script.Add(simkit.Fault{Path: "/publish", Do: simkit.Then(func(*http.Request) { cancel() }, simkit.Park(50*time.Millisecond))})
	shot := connectors.NewShot(attemptIDs.New(time.Now()), time.Now().Add(time.Minute), r.dial(t, r.srv.URL), time.Now)
	k := r.publish()
	k.HeaderTimeout, k.Timeout = time.Minute, time.Minute
	_, err := r.Commit(connectors.WithShot(ctx, shot), k)
	if connectors.KindOf(err) != connectors.Ambiguous {
		t.Errorf("%v, want Ambiguous", err)
	}
}

func TestCommitInMemory(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		kit := simkit.New(simkit.Options{})
		srv := simkit.ServePipe(t, kit.Handler(network(kit)), secure, "")
		r := rigOver(t, kit, srv, nil)
		for range 3 {
			if _, _, err := r.shoot(t, r.publish()); err != nil {
				t.Fatalf("secure=%v: %v", secure, err)
			}
		}
		if n := kit.Journal.Count("publish"); n != 3 {
			t.Errorf("secure=%v: %d posts, want 3", secure, n)
		}
	}
}

func TestCommitUsesDialledConnectionOnly(t *testing.T) {
	t.Parallel()
	r := serve(t, nil)
	if _, _, err := r.shoot(t, r.publish()); err != nil {
		t.Fatal(err)
	}
	req := r.kit.Requests.All()[0]
	if req.Proto != "HTTP/1.1" || req.IdempotencyKey != "" || req.Auth != "Bearer "+simkit.Fingerprint(canary) {
		t.Errorf("the server saw %+v", req)
	}
}

func TestKeyWindowAllowsKey(t *testing.T) {
	t.Parallel()
	r := serve(t, func(c *Config) { c.KeyWindow = time.Hour })
	k := r.publish()
	k.Header = http.Header{"Idempotency-Key": {"k1"}}
	if _, _, err := r.shoot(t, k); err != nil {
		t.Fatal(err)
	}
	if got := r.kit.Requests.All()[0].IdempotencyKey; got != "k1" {
		t.Errorf("the server saw key %q", got)
	}
}

func TestKeyIsNoReasonToSendAgain(t *testing.T) {
	t.Parallel()
	r := serve(t, func(c *Config) { c.KeyWindow = time.Hour })
	r.kit.Script.Add(simkit.Fault{Path: "/publish", Do: simkit.CutAfter()})
	k := r.publish()
	k.Header = http.Header{"Idempotency-Key": {"k1"}}
	_, _, err := r.shoot(t, k)
	if connectors.KindOf(err) != connectors.Ambiguous {
		t.Errorf("%v, want Ambiguous", err)
	}
	if n := len(r.kit.Requests.All()); n != 1 {
		t.Errorf("the server saw %d requests, want 1", n)
	}
}

func TestRulesAreChecked(t *testing.T) {
	t.Parallel()
	good := testRules[0]
	for name, change := range map[string]func(*Rule){
		"no code":    func(r *Rule) { r.Code = "" },
		"no op":      func(r *Rule) { r.Op = "" },
		"no source":  func(r *Rule) { r.Source = "" },
		"no date":    func(r *Rule) { r.Date = "" },
		"a 500":      func(r *Rule) { r.Status = 500 },
		"a 409":      func(r *Rule) { r.Status = 409 },
		"a success":  func(r *Rule) { r.Status = 200 },
		"ambiguous":  func(r *Rule) { r.Kind = connectors.Ambiguous },
		"no kind":    func(r *Rule) { r.Kind = "" },
		"kind guess": func(r *Rule) { r.Kind = connectors.Unknown },
	} {
		r := good
		change(&r)
		if err := r.check(); err == nil {
			t.Errorf("%s: accepted %+v", name, r)
		}
	}
	if err := good.check(); err != nil {
		t.Error(err)
	}
}
