package api

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"smi/connectors"
	"smi/connectors/internal/simkit"
)

// repeater reads a POST and then does what makes clients send it again; the
// second one it would answer. It counts what reached it.
type repeater struct {
	misbehave func(*http2.Framer, uint32) // over HTTP/2
	answer    func() string               // over HTTP/1.1; "" closes the connection
	posts     atomic.Int64
}

func (p *repeater) serve(c rawConn) {
	if c.Conn.(*tls.Conn).ConnectionState().NegotiatedProtocol != "h2" {
		br := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body) //nolint:errcheck // a test
			said := p.answer()
			if p.posts.Add(1) > 1 {
				said = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
			}
			if said == "" {
				return
			}
			io.WriteString(c, said) //nolint:errcheck // a test
		}
	}
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	fr := http2.NewFramer(c, c)
	fr.WriteSettings() //nolint:errcheck // a test
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return
		}
		var ended bool
		switch f := f.(type) {
		case *http2.DataFrame:
			ended = f.StreamEnded()
		case *http2.HeadersFrame:
			ended = f.StreamEnded()
		}
		switch {
		case !ended:
		case p.posts.Add(1) == 1:
			p.misbehave(fr, f.Header().StreamID)
		default: // 0x88 is ":status: 200"
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: f.Header().StreamID, BlockFragment: []byte{0x88}, EndHeaders: true, EndStream: true}) //nolint:errcheck // a test
		}
	}
}

// TestNothingIsSentAgain holds every call that may not be repeated against
// servers that make Go's own client send a POST a second time. That they do is
// part of the test: else it would prove nothing.
func TestNothingIsSentAgain(t *testing.T) {
	t.Parallel()
	reset := func(code http2.ErrCode) func(*http2.Framer, uint32) {
		return func(fr *http2.Framer, id uint32) { fr.WriteRSTStream(id, code) } //nolint:errcheck // a test
	}
	goaway := func(fr *http2.Framer, _ uint32) { fr.WriteGoAway(0, http2.ErrCodeNo, nil) } //nolint:errcheck // a test
	closes := func(string) string { return "" }
	redirect := func(status int, host string) func(string) string {
		return func(self string) string {
			to := self
			if host != "" {
				to = host
			}
			return fmt.Sprintf("HTTP/1.1 %d Elsewhere\r\nLocation: %s/again\r\nContent-Length: 0\r\n\r\n", status, to)
		}
	}
	other := newTLSServer(t, []string{"http/1.1"}, time.Now(), "127.0.0.1", (&repeater{answer: func() string { return "" }}).serve)
	for _, tt := range []struct {
		name      string
		protos    []string
		misbehave func(*http2.Framer, uint32)
		answer    func(self string) string
		elsewhere bool // the stock client's second POST goes to another server
	}{
		{"GOAWAY", []string{"h2", "http/1.1"}, goaway, closes, false},
		{"REFUSED_STREAM", []string{"h2", "http/1.1"}, reset(http2.ErrCodeRefusedStream), closes, false},
		{"PROTOCOL_ERROR", []string{"h2", "http/1.1"}, reset(http2.ErrCodeProtocol), closes, false},
		{"307 to itself", []string{"http/1.1"}, nil, redirect(307, ""), false},
		{"308 to itself", []string{"http/1.1"}, nil, redirect(308, ""), false},
		{"307 to another host", []string{"http/1.1"}, nil, redirect(307, other.server.URL), true},
		{"308 to another host", []string{"http/1.1"}, nil, redirect(308, other.server.URL), true},
	} {
		for _, body := range []string{"", `{"text":"x"}`} {
			for _, key := range []bool{false, true} {
				name := fmt.Sprintf("%s, body %q, key %v", tt.name, body, key)
				fresh := func() (*repeater, *rawServer) {
					p := &repeater{misbehave: tt.misbehave}
					s := newTLSServer(t, tt.protos, time.Now(), "127.0.0.1", p.serve)
					p.answer = func() string { return tt.answer(s.server.URL) }
					return p, s
				}
				header := http.Header{}
				if key {
					header.Set("Idempotency-Key", "k")
				}

				p, s := fresh()
				stock := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: s.server.RootCAs, MinVersion: tls.VersionTLS12}}
				var b io.Reader
				if body != "" {
					b = bytes.NewReader([]byte(body))
				}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.server.URL+"/post", b)
				if err != nil {
					t.Fatal(err)
				}
				req.Header = header.Clone()
				if resp, err := (&http.Client{Transport: stock, Timeout: 20 * time.Second}).Do(req); err == nil {
					resp.Body.Close()
				}
				stock.CloseIdleConnections()
				if n := p.posts.Load(); n < 2 && !tt.elsewhere {
					t.Errorf("%s: the stock client sent it %d times: this server proves nothing", name, n)
				}

				for _, call := range []string{"commit", "once", "effect"} {
					p, s := fresh()
					r := rigOver(t, simkit.New(simkit.Options{}), s.server, nil)
					k := Call{Op: call, Method: http.MethodPost, URL: s.server.URL + "/post", Header: header.Clone(), Body: []byte(body), Timeout: 5 * time.Second}
					switch call {
					case "commit":
						shot := connectors.NewShot(attemptIDs.New(time.Now()), time.Now().Add(time.Minute), r.dial(t, r.srv.URL), time.Now)
						_, err = r.Commit(connectors.WithShot(t.Context(), shot), k)
					case "once":
						_, err = r.Once(t.Context(), k)
					default:
						_, err = r.Do(t.Context(), k)
					}
					if n := p.posts.Load(); n > 1 {
						t.Errorf("%s: %s reached the server %d times (%v)", name, call, n, err)
					} else if n == 0 && !(key || call == "commit" && body == "") {
						t.Errorf("%s: %s did not reach the server (%v): it proves nothing", name, call, err)
					}
					if err == nil {
						t.Errorf("%s: %s succeeded", name, call)
					}
				}
			}
		}
	}
}
