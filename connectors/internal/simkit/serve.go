package simkit

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"
)

// TB is the part of testing.TB that is needed here.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Server is a handler that is being served.
type Server struct {
	URL     string         // "https://127.0.0.1:41234" or "https://sim.test"
	Addr    string         // host:port of URL
	RootCAs *x509.CertPool // trusts the server's certificate; nil without TLS
	// Dial reaches the server: on loopback by address, in memory whatever the
	// address says. It fits connectors.Env.Dial.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	srv *http.Server
	ln  net.Listener
}

// Close stops the server at once, with all its connections.
func (s *Server) Close() error { return s.srv.Close() }

// Serve serves h with TLS on loopback until the test ends.
func Serve(t TB, h http.Handler) *Server {
	t.Helper()
	return start(t, h, true)
}

// ServePlain is Serve without TLS.
func ServePlain(t TB, h http.Handler) *Server {
	t.Helper()
	return start(t, h, false)
}

func start(t TB, h http.Handler, secure bool) *Server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a listener of a test
	if err != nil {
		t.Fatalf("listening on loopback: %v", err)
	}
	s, err := NewServer(ln, h, secure, "127.0.0.1")
	if err != nil {
		t.Fatalf("serving: %v", err)
	}
	s.Dial = (&net.Dialer{}).DialContext
	t.Cleanup(func() { s.Close() }) //nolint:errcheck // the test is over
	return s
}

// ServePipe serves h in memory until the test ends; no socket is opened, so it
// works in a bubble of testing/synctest. Every address that is dialled reaches
// it; its certificate is for host, "sim.test" if "".
func ServePipe(t TB, h http.Handler, secure bool, host string) *Server {
	t.Helper()
	if host == "" {
		host = "sim.test"
	}
	p := NewPipe()
	s, err := NewServer(p, h, secure, host)
	if err != nil {
		t.Fatalf("serving: %v", err)
	}
	s.Dial = p.Dial
	t.Cleanup(func() { s.Close() }) //nolint:errcheck // the test is over
	return s
}

// NewServer serves h on ln. With TLS it makes a certificate for host, valid
// from a day ago for ten years.
func NewServer(ln net.Listener, h http.Handler, secure bool, host string) (*Server, error) {
	addr := ln.Addr().String()
	if _, inMemory := ln.(*Pipe); inMemory {
		addr = host
	}
	s := &Server{Addr: addr, URL: "http://" + addr, ln: ln}
	s.srv = &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	if secure {
		cert, pool, err := Certificate(time.Now(), host)
		if err != nil {
			return nil, err
		}
		s.URL, s.RootCAs = "https://"+addr, pool
		s.srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
		ln = tls.NewListener(ln, s.srv.TLSConfig)
	}
	go s.srv.Serve(ln) //nolint:errcheck // ends with Close
	return s, nil
}

// Certificate makes a self-signed certificate for hosts (names or IP
// addresses) and a pool that trusts it.
func Certificate(now time.Time, hosts ...string) (tls.Certificate, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "simulator"},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool, nil
}

// Pipe is a listener in memory. Its connections know deadlines.
type Pipe struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// NewPipe returns a listener that waits for Dial.
func NewPipe() *Pipe { return &Pipe{conns: make(chan net.Conn), done: make(chan struct{})} }

// Dial connects to the listener, whatever the address says.
func (p *Pipe) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := link()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.done:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: errors.New("connection refused")}
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: ctx.Err()}
	}
}

// Accept waits for the next Dial.
func (p *Pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// Close makes Accept and Dial fail.
func (p *Pipe) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

// Addr is a name without a meaning.
func (p *Pipe) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
