package api

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"smi/connectors"
	"smi/connectors/internal/simkit"
)

func (r *rig) dial(t *testing.T, url string) net.Conn {
	t.Helper()
	c, err := r.DialCommit(t.Context(), url)
	if err != nil {
		t.Fatalf("DialCommit: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

type rawConn struct{ net.Conn }

type rawServer struct {
	server *simkit.Server
	done   chan struct{} // closed when the first connection was handled
}

// newRawServer serves TLS with HTTP/1.1 and hands the connections over after
// their handshake. They are closed afterwards.
func newRawServer(t *testing.T, handle func(rawConn)) *rawServer {
	return newTLSServer(t, []string{"http/1.1"}, time.Now(), "127.0.0.1", handle)
}

func newTLSServer(t *testing.T, protos []string, now time.Time, host string, handle func(rawConn)) *rawServer {
	t.Helper()
	cert, pool, err := simkit.Certificate(now, host)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := tls.NewListener(inner, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: protos, MinVersion: tls.VersionTLS12})
	s := &rawServer{done: make(chan struct{}), server: &simkit.Server{
		URL: "https://" + inner.Addr().String(), Addr: inner.Addr().String(), RootCAs: pool, Dial: (&net.Dialer{}).DialContext,
	}}
	var once sync.Once
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				c.SetDeadline(time.Now().Add(10 * time.Second)) //nolint:errcheck // a test
				if c.(*tls.Conn).HandshakeContext(t.Context()) == nil {
					handle(rawConn{c})
				}
				c.Close()
				once.Do(func() { close(s.done) })
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return s
}

// TestNoHTTP2 is about servers that would make Go's HTTP/2 client send a POST
// again: they cannot even be spoken to.
func TestNoHTTP2(t *testing.T) {
	t.Parallel()
	var posts, preface atomic.Int64
	speak := func(code http2.ErrCode, goaway, unasked bool) func(rawConn) {
		return func(c rawConn) {
			if unasked {
				http2.NewFramer(c, c).WriteSettings() //nolint:errcheck // a test
				return
			}
			if c.Conn.(*tls.Conn).ConnectionState().NegotiatedProtocol != "h2" {
				br := bufio.NewReader(c)
				if req, err := http.ReadRequest(br); err == nil {
					io.Copy(io.Discard, req.Body) //nolint:errcheck // a test
					posts.Add(1)
				}
				return // read, then closed: a published post without an answer
			}
			if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
				return
			}
			preface.Add(1)
			fr := http2.NewFramer(c, c)
			fr.WriteSettings() //nolint:errcheck // a test
			for {
				f, err := fr.ReadFrame()
				if err != nil {
					return
				}
				if d, ok := f.(*http2.DataFrame); ok && d.StreamEnded() {
					posts.Add(1)
					if goaway {
						fr.WriteGoAway(0, http2.ErrCodeNo, nil) //nolint:errcheck // a test
					} else {
						fr.WriteRSTStream(d.StreamID, code) //nolint:errcheck // a test
					}
				}
			}
		}
	}
	for name, tt := range map[string]struct {
		protos          []string
		code            http2.ErrCode
		goaway, unasked bool
		posts           int64
		kind            connectors.Kind
	}{
		"offers both, REFUSED_STREAM": {[]string{"h2", "http/1.1"}, http2.ErrCodeRefusedStream, false, false, 1, connectors.Ambiguous},
		"offers both, PROTOCOL_ERROR": {[]string{"h2", "http/1.1"}, http2.ErrCodeProtocol, false, false, 1, connectors.Ambiguous},
		"offers both, GOAWAY":         {[]string{"h2", "http/1.1"}, 0, true, false, 1, connectors.Ambiguous},
		"offers HTTP/2 alone":         {[]string{"h2"}, http2.ErrCodeRefusedStream, false, false, 1, connectors.Ambiguous},
		"speaks HTTP/2 unasked":       {[]string{"http/1.1"}, 0, false, true, 0, connectors.Transient},
	} {
		posts.Store(0)
		ln := newTLSServer(t, tt.protos, time.Now(), "127.0.0.1", speak(tt.code, tt.goaway, tt.unasked))
		r := rigOver(t, simkit.New(simkit.Options{}), ln.server, nil)
		conn := r.dial(t, r.srv.URL)
		if tt.unasked {
			<-ln.done
		}
		shot := connectors.NewShot(attemptIDs.New(time.Now()), time.Now().Add(time.Minute), conn, time.Now)
		_, err := r.Commit(connectors.WithShot(t.Context(), shot), r.publish())
		if connectors.KindOf(err) != tt.kind {
			t.Errorf("%s: %v, want %s", name, err, tt.kind)
		}
		// The ordinary calls do not speak it either.
		before := posts.Load()
		_, err = r.Do(t.Context(), Call{Op: "upload", URL: r.srv.URL + "/upload", Body: []byte("x"), Timeout: 2 * time.Second})
		if err == nil {
			t.Errorf("%s: an ordinary call succeeded", name)
		}
		if n := posts.Load() - before; n > 1 {
			t.Errorf("%s: the server saw the ordinary POST %d times", name, n)
		}
		if n := before; n != tt.posts {
			t.Errorf("%s: the server saw the commit %d times, want %d", name, n, tt.posts)
		}
	}
	if n := preface.Load(); n != 0 {
		t.Errorf("HTTP/2 was spoken %d times", n)
	}
}

func TestDialFailures(t *testing.T) {
	t.Parallel()
	now := time.Now()
	expired := newTLSServer(t, nil, now.AddDate(-20, 0, 0), "127.0.0.1", func(rawConn) {})
	wrong := newTLSServer(t, nil, now, "elsewhere.test", func(rawConn) {})
	closed, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	tests := []struct {
		name, url string
		pool      *x509.CertPool
	}{
		{"F1 no such name", "https://no-such-name.invalid", nil},
		{"F2 refused", "https://" + closed.Addr().String(), nil},
		{"F4 expired", expired.server.URL, expired.server.RootCAs},
		{"F4 wrong host", wrong.server.URL, wrong.server.RootCAs},
		{"F4 nobody vouches", wrong.server.URL, x509.NewCertPool()},
	}
	for _, tt := range tests {
		c, err := New(Config{Network: "test", Hosts: []string{"*", "*:1"}, Env: connectors.Env{Dial: (&net.Dialer{Timeout: 3 * time.Second}).DialContext, Now: time.Now, RootCAs: tt.pool}})
		if err != nil {
			t.Fatal(err)
		}
		c.hosts = []host{{port: port(tt.url)}}
		conn, err := c.DialCommit(t.Context(), tt.url)
		if conn != nil {
			conn.Close()
		}
		if connectors.KindOf(err) != connectors.Transient {
			t.Errorf("%s: %v, want Transient", tt.name, err)
		}
		// The same for a read and for a refresh.
		if _, err := c.Once(t.Context(), Call{Op: "refresh", URL: tt.url, Body: []byte("x")}); connectors.KindOf(err) != connectors.Transient {
			t.Errorf("%s: refresh: %v, want Transient", tt.name, err)
		}
		if _, err := c.Do(t.Context(), Call{Op: "delete", Method: "POST", URL: tt.url, Body: []byte("x")}); connectors.KindOf(err) != connectors.Transient {
			t.Errorf("%s: call: %v, want Transient", tt.name, err)
		}
		c.Close()
	}
}

func port(url string) string {
	if _, p, err := net.SplitHostPort(url[len("https://"):]); err == nil {
		return p
	}
	return ""
}
