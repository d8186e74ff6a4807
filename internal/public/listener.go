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
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		// What is under way goes on while Shutdown waits for it.
		BaseContext:                  func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
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
	bounded := &door{Listener: l, proxies: s.c.Proxies, only: s.tls == nil, most: max(8, s.c.Connections), peers: map[netip.Prefix]int{}}
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
	peers map[netip.Prefix]int
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
	shares := d.shares(peer)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open >= d.most {
		return nil
	}
	for _, s := range shares {
		if !proxy && d.peers[s.who] >= s.most {
			return nil
		}
	}
	d.open++
	for _, s := range shares {
		d.peers[s.who]++
	}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.open--
		for _, s := range shares {
			if d.peers[s.who]--; d.peers[s.who] == 0 {
				delete(d.peers, s.who)
			}
		}
	}
}

// share is how many connections a network may have.
type share struct {
	who  netip.Prefix
	most int
}

// shares are those of which an address is part: in IPv6 one customer has a whole
// network, and some have 65,536 of them.
func (d *door) shares(a netip.Addr) []share {
	if !a.Is6() {
		return []share{{netip.PrefixFrom(a, a.BitLen()), d.most / 8}}
	}
	return []share{{netip.PrefixFrom(a, 64).Masked(), d.most / 8}, {netip.PrefixFrom(a, 48).Masked(), d.most / 4}}
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
	stamp  stamp // of the files that are loaded
	failed stamp // of those that could not be
	looked time.Time
}

// stamp tells files from what they were: when they were changed, and how long they
// are.
type stamp struct {
	cert, key         int64
	certSize, keySize int64
}

// load reads the files.
func (p *pair) load() error {
	at := p.changed() // before: what changes meanwhile is seen the next time
	c, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		return err
	}
	p.loaded, p.stamp = &c, at
	return nil
}

func (p *pair) changed() (at stamp) {
	if st, err := os.Stat(p.cert); err == nil {
		at.cert, at.certSize = st.ModTime().UnixNano(), st.Size()
	}
	if st, err := os.Stat(p.key); err == nil {
		at.key, at.keySize = st.ModTime().UnixNano(), st.Size()
	}
	return at
}

// get looks at the files at most every ten seconds. A pair that does not work,
// such as one that is half renewed, leaves the one that does, and is tried again:
// the other half can come within the same tick of the disk's clock.
func (p *pair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.looked) > 10*time.Second {
		p.looked = now
		if at := p.changed(); at != p.stamp {
			if err := p.load(); err != nil && at != p.failed {
				p.failed = at
				p.log.Warn("the renewed certificate of the public listener cannot be used; the old one stays", "err", err)
			}
		}
	}
	return p.loaded, nil
}
