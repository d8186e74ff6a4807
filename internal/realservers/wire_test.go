package realservers

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// lab is a server behind a wire that counts what it did.
type lab struct {
	wire  *Wire
	url   string
	acted atomic.Int64
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/write" {
			l.acted.Add(1)
		}
		io.WriteString(w, "done "+r.URL.Path)
	}))
	t.Cleanup(srv.Close)
	wire, err := NewWire(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { wire.Close() })
	l.wire, l.url = wire, "http://"+wire.Addr()
	return l
}

func (l *lab) post(ctx context.Context, path, body string) (string, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

func TestWirePassesAndCounts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for range 3 {
		if got, err := l.post(t.Context(), "/write", "x"); err != nil || got != "done /write" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if _, err := l.post(t.Context(), "/other", "POST /write HTTP/1.1 is no request line here"); err != nil {
		t.Fatal(err)
	}
	if got := l.wire.Requests("POST /write"); got != 3 {
		t.Errorf("counted %d writes, want 3", got)
	}
	if got := l.wire.Requests("POST /"); got != 4 {
		t.Errorf("counted %d requests, want 4", got)
	}
}

func TestWireCutsTheAnswerAfterTheServerActed(t *testing.T) {
	t.Parallel()
	for _, bytes := range []int64{0, 30} {
		l := newLab(t)
		trap := l.wire.Trap("POST /write", Cut(bytes))
		if got, err := l.post(t.Context(), "/other", ""); err != nil || got != "done /other" {
			t.Fatalf("another request met the trap: %q, %v", got, err)
		}
		if got, err := l.post(t.Context(), "/write", "x"); err == nil {
			t.Errorf("the answer came through: %q", got)
		}
		if got := l.acted.Load(); got != 1 {
			t.Errorf("the server acted %d times, want once", got)
		}
		select {
		case <-trap.Sprung():
		default:
			t.Error("the trap did not say that it sprang")
		}
		if err := trap.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := l.post(t.Context(), "/write", "x"); err != nil || got != "done /write" {
			t.Errorf("after the release: %q, %v", got, err)
		}
	}
}

func TestWireHoldsTheAnswer(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	trap := l.wire.Trap("POST /write", Hold())
	answered := make(chan error, 1)
	go func() {
		_, err := l.post(t.Context(), "/write", "x")
		answered <- err
	}()
	<-trap.Sprung()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := Until(ctx, 5*time.Millisecond, func(context.Context) (bool, error) { return l.acted.Load() == 1, nil }); err != nil {
		t.Fatalf("the server never acted: %v", err)
	}
	select {
	case err := <-answered:
		t.Fatalf("the answer was not held: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := trap.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err == nil {
		t.Error("the held answer came through")
	}
}

func TestWireReleaseOfATrapThatNeverSprang(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	trap := l.wire.Trap("POST /write", Cut(0))
	for range 2 {
		if err := trap.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := l.post(t.Context(), "/write", "x"); err != nil || got != "done /write" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestRequestLines(t *testing.T) {
	t.Parallel()
	stream := "POST /a HTTP/1.1\r\nHost: x\r\n\r\n{\"long\":\"" + strings.Repeat("é", longestLine) + "\"}" +
		"GET /b?x=1 HTTP/1.1\r\nHost: x\r\n\r\n" + "GET  /no HTTP/1.1\r\nPOST /no HTTP/2.0\r\nGET /c HTTP/1.1\r\n\r\n"
	want := []string{"POST /a", "GET /b?x=1", "GET /c"}
	for _, size := range []int{1, 7, 4096, len(stream)} {
		var got []string
		r := &requestLines{found: func(s string) { got = append(got, s) }}
		for rest := stream; rest != ""; {
			n := min(size, len(rest))
			io.WriteString(r, rest[:n])
			rest = rest[n:]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("in pieces of %d bytes (-want +got):\n%s", size, diff)
		}
	}
}
