package public

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"smi/internal/social"
)

// The limits of a connection.
const (
	headerTime  = 5 * time.Second  // of the head of a request, and of the TLS handshake
	requestTime = 10 * time.Second // of a whole request: none has a body
	idleTime    = 30 * time.Second
	maxHeader   = 8 << 10
	maxStreams  = 32 // of HTTP/2 on one connection
)

// Config is what the listener needs.
type Config struct {
	Signer *Signer
	Files  Files
	Log    *slog.Logger
	// Cert and Key are files in PEM. They are read again when they change. Both
	// empty: TLS ends at a proxy.
	Cert, Key string
	// Proxies are the addresses of proxies that may ask, and whose word on where a
	// request came from counts. With Cert, strangers may ask as well.
	Proxies []netip.Prefix
	// Connections is the most there are at a time. One address that is no proxy's
	// has at most an eighth of them.
	Connections int

	headerTime time.Duration // 0: the usual one
}

// Server is the public listener.
type Server struct {
	Handler *Handler
	c       Config
	tls     *tls.Config
}

// New returns a server, or says what is wrong with the certificate.
func New(c Config) (*Server, error) {
	if c.Cert == "" && len(c.Proxies) == 0 {
		return nil, errors.New("public: neither a certificate nor a proxy")
	}
	s := &Server{c: c, Handler: &Handler{signer: c.Signer, files: c.Files, proxies: c.Proxies, host: hostOf(c.Signer.base), log: c.Log}}
	if c.Cert == "" {
		return s, nil
	}
	pair := &pair{cert: c.Cert, key: c.Key, log: c.Log}
	if err := pair.load(); err != nil {
		return nil, social.Errorf(social.CodeInvalid, "public.tls_cert", "the certificate of the public listener cannot be used: %v", err)
	}
	s.tls = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.get, NextProtos: []string{"h2", "http/1.1"}}
	return s, nil
}

// Serve answers on a listener until ctx ends, then lets what is under way finish
// for a few seconds.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler: s.Handler, ReadHeaderTimeout: cmp.Or(s.c.headerTime, headerTime), ReadTimeout: requestTime, WriteTimeout: requestTime + stallTime, IdleTimeout: idleTime,
		MaxHeaderBytes: maxHeader,
		TLSConfig:      s.tls, ErrorLog: slog.NewLogLogger(s.c.Log.Handler(), slog.LevelDebug),
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		BaseContext:                  func(net.Listener) context.Context { return ctx },
		DisableGeneralOptionsHandler: true,
	}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		down, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err := srv.Shutdown(down)
		if err != nil {
			err = srv.Close()
		}
		done <- err
	}()
	bounded := &door{Listener: l, proxies: s.c.Proxies, only: s.tls == nil, most: max(8, s.c.Connections), peers: map[netip.Addr]int{}}
	serve := func() error { return srv.Serve(bounded) }
	if s.tls != nil {
		serve = func() error { return srv.ServeTLS(bounded, "", "") }
	}
	if err := serve(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving %s: %w", l.Addr(), err)
	}
	return <-done
}

// door lets in so many connections, so many of one address, and, where TLS ends
// at a proxy, nobody but the proxies. Who is not let in is not answered.
type door struct {
	net.Listener
	proxies []netip.Prefix
	only    bool
	most    int

	mu    sync.Mutex
	open  int
	peers map[netip.Addr]int
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer := addrOf(c.RemoteAddr())
		if leave := d.enter(peer); leave != nil {
			return &guest{Conn: c, leave: leave}, nil
		}
		c.Close() //nolint:errcheck // it was not let in
	}
}

// enter counts a connection in and returns what counts it out; nil if it may not
// come in.
func (d *door) enter(peer netip.Addr) func() {
	proxy := trusted(d.proxies, peer)
	if d.only && !proxy {
		return nil
	}
	if peer.Is6() && !peer.Is4In6() { // one customer has a whole network
		peer = netip.PrefixFrom(peer, 64).Masked().Addr()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open >= d.most || !proxy && d.peers[peer] >= d.most/8 {
		return nil
	}
	d.open++
	d.peers[peer]++
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.open--
		if d.peers[peer]--; d.peers[peer] == 0 {
			delete(d.peers, peer)
		}
	}
}

// guest is a connection that is counted.
type guest struct {
	net.Conn
	once  sync.Once
	leave func()
}

// Close implements net.Conn.
func (g *guest) Close() error {
	g.once.Do(g.leave)
	return g.Conn.Close()
}

func addrOf(a net.Addr) netip.Addr {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// pair is a certificate in files that others renew.
type pair struct {
	cert, key string
	log       *slog.Logger

	mu     sync.Mutex
	loaded *tls.Certificate
	stamp  time.Time // of the files that are loaded, or that could not be
	looked time.Time
}

// load reads the files.
func (p *pair) load() error {
	c, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		return err
	}
	p.loaded, p.stamp = &c, p.changed()
	return nil
}

func (p *pair) changed() time.Time {
	var last time.Time
	for _, name := range []string{p.cert, p.key} {
		if st, err := os.Stat(name); err == nil && st.ModTime().After(last) {
			last = st.ModTime()
		}
	}
	return last
}

// get looks at the files at most every ten seconds. A pair that does not work,
// such as one that is half renewed, leaves the one that does.
func (p *pair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.looked) > 10*time.Second {
		p.looked = now
		if at := p.changed(); !at.Equal(p.stamp) {
			p.stamp = at
			if err := p.load(); err != nil {
				p.log.Warn("the renewed certificate of the public listener cannot be used; the old one stays", "err", err)
			}
		}
	}
	return p.loaded, nil
}
