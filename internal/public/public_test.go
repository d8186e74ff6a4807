package public

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"smi/internal/social"
)

const host = "media.example.org"

var fileHash = strings.Repeat("ab", 32)

// shelf is a source of one file.
type shelf struct {
	content []byte
	opened  atomic.Int64
	broken  error
	open    func(context.Context) io.ReadSeeker // instead of content
}

func (s *shelf) Open(ctx context.Context, hash string) (io.ReadSeekCloser, error) {
	s.opened.Add(1)
	if s.open != nil {
		return struct {
			io.ReadSeeker
			io.Closer
		}{s.open(ctx), io.NopCloser(nil)}, nil
	}
	if s.broken != nil {
		return nil, s.broken
	}
	if hash != fileHash {
		return nil, social.Errorf(social.CodeNotFound, "", "no such file")
	}
	return struct {
		io.ReadSeeker
		io.Closer
	}{bytes.NewReader(s.content), io.NopCloser(nil)}, nil
}

type fixture struct {
	signer *Signer
	files  *shelf
	now    time.Time
	addr   string
	roots  *x509.CertPool
	secure bool
}

// start serves on loopback, with TLS or behind a proxy.
func start(t *testing.T, secure bool, change ...func(*Config)) *fixture {
	t.Helper()
	f := &fixture{files: &shelf{content: []byte(strings.Repeat("0123456789", 1000))}, now: time.Now(), secure: secure}
	f.signer = NewSigner("https://"+host, bytes.Repeat([]byte{1}, 32), func() time.Time { return f.now })
	c := Config{Signer: f.signer, Files: f.files, Log: slog.New(slog.DiscardHandler), Connections: 4000}
	if secure {
		c.Cert, c.Key, f.roots = certificate(t, host, t.TempDir())
	} else {
		c.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	}
	for _, fn := range change {
		fn(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return f
}

// certificate writes a certificate of a host into files.
func certificate(t *testing.T, host, dir string) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: serial, DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	kder, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, roots = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), x509.NewCertPool()
	for path, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: kder}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(c)
	return cert, key, roots
}

func (f *fixture) dial(t testing.TB) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", f.addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if f.secure {
		return tls.Client(c, &tls.Config{ServerName: host, RootCAs: f.roots, NextProtos: []string{"http/1.1"}})
	}
	return c
}

// ask sends a request as it is written and returns the answer with its body.
func (f *fixture) ask(t testing.TB, raw string) (*http.Response, string) {
	t.Helper()
	c := f.dial(t)
	if _, err := io.WriteString(c, strings.ReplaceAll(raw, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(raw, " ")
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func (f *fixture) path(t testing.TB) string {
	t.Helper()
	u, err := f.signer.URL(fileHash, "video/mp4", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	p, ok := strings.CutPrefix(u, "https://"+host)
	if !ok {
		t.Fatalf("the address is %s", u)
	}
	return p
}

func get(path string, headers ...string) string {
	return "GET " + path + " HTTP/1.1\nHost: " + host + "\n" + strings.Join(append(headers, ""), "\n") + "\n"
}

// inBothWays runs a test with TLS of our own and behind a proxy.
func inBothWays(t *testing.T, run func(t *testing.T, f *fixture)) {
	for name, secure := range map[string]bool{"own certificate": true, "behind a proxy": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, start(t, secure))
		})
	}
}

func TestSignedFile(t *testing.T) {
	t.Parallel()
	inBothWays(t, func(t *testing.T, f *fixture) {
		path, content := f.path(t), string(f.files.content)
		resp, body := f.ask(t, get(path))
		if resp.StatusCode != 200 || body != content || resp.Header.Get("Content-Type") != "video/mp4" || resp.Header.Get("Accept-Ranges") != "bytes" {
			t.Errorf("%v, %d bytes", resp.Header, len(body))
		}
		for name, want := range map[string]string{
			"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"Content-Disposition": "attachment", "Strict-Transport-Security": "max-age", "X-Robots-Tag": "noindex", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if !strings.Contains(resp.Header.Get(name), want) {
				t.Errorf("%s is %q", name, resp.Header.Get(name))
			}
		}
		for _, name := range []string{"Set-Cookie", "Server", "Access-Control-Allow-Origin"} {
			if resp.Header.Get(name) != "" {
				t.Errorf("%s is sent", name)
			}
		}
		resp, body = f.ask(t, strings.Replace(get(path), "GET", "HEAD", 1))
		if resp.StatusCode != 200 || body != "" || resp.ContentLength != int64(len(content)) {
			t.Errorf("HEAD: %d, %d bytes of %d", resp.StatusCode, len(body), resp.ContentLength)
		}
		resp, body = f.ask(t, get(path, "Range: bytes=10-14"))
		if resp.StatusCode != 206 || body != "01234" || resp.Header.Get("Content-Range") != "bytes 10-14/10000" {
			t.Errorf("a part: %d %q %v", resp.StatusCode, body, resp.Header)
		}
		if resp, body = f.ask(t, get(path, "Range: bytes=0-1,4-5,8-9")); resp.StatusCode != 200 || len(body) != len(content) {
			t.Errorf("many parts: %d, %d bytes", resp.StatusCode, len(body))
		}
		if resp, _ = f.ask(t, get(path, "Range: bytes=20000-")); resp.StatusCode != 416 || !strings.Contains(resp.Header.Get("Cache-Control"), "no-store") {
			t.Errorf("a part behind the end: %d, %v", resp.StatusCode, resp.Header)
		}
		f.now = f.now.Add(time.Hour)
		if resp, _ := f.ask(t, get(path)); resp.StatusCode != 404 {
			t.Errorf("after its time: %d", resp.StatusCode)
		}
	})
}

// TestNothingElse: whatever is not an address that was given out gets the same
// answer, and opens no file.
func TestNothingElse(t *testing.T) {
	t.Parallel()
	inBothWays(t, func(t *testing.T, f *fixture) {
		path := f.path(t)
		parts := strings.Split(path, "/") // "", m, time, hash, mac.mp4
		mac := strings.TrimSuffix(parts[4], ".mp4")
		with := func(i int, s string) string {
			p := append([]string{}, parts...)
			p[i] = s
			return strings.Join(p, "/")
		}
		flipped := []byte(mac)
		flipped[0] ^= 1
		// The last character has two bits that a lenient decoder overlooks.
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		last := mac[:len(mac)-1] + string(alphabet[strings.IndexByte(alphabet, mac[len(mac)-1])|1])
		other := NewSigner("https://"+host, bytes.Repeat([]byte{2}, 32), f.signer.now)
		stranger, _ := other.URL(fileHash, "video/mp4", time.Hour)
		elsewhere, _ := NewSigner("https://other.example.org", bytes.Repeat([]byte{1}, 32), f.signer.now).URL(fileHash, "video/mp4", time.Hour)
		missing, _ := f.signer.URL(strings.Repeat("cd", 32), "video/mp4", time.Hour)
		paths := []string{
			"/", "/m", "/m/", "/m/" + fileHash, "/api/v1/status", "/healthz", "/metrics", "/oauth/callback", "/favicon.ico", "/robots.txt", "/m/../m/", "//" + path[1:], "*",
			"/.well-known/acme-challenge/x", path + "/", path + "?x=1", path + "?", path + "%00", path + ".mp4", strings.Replace(path, "/m/", "/m//", 1), strings.Replace(path, "/m/", "/M/", 1),
			strings.Replace(path, "/m/", "/%6d/", 1), "/x/.." + path, "/m/./" + path[3:], "http://" + host + "/..%2f", "http://evil.example" + path,
			with(2, "9999999999"), with(2, "0"), with(2, "-1"), with(2, parts[2]+"0"), with(2, "+"+parts[2]), with(2, ""),
			with(3, strings.Repeat("cd", 32)), with(3, strings.ToUpper(fileHash)), with(3, ".."), with(3, "..%2f..%2fetc%2fpasswd"), with(3, "%2e%2e"), with(3, fileHash[:63]), with(3, ""),
			with(4, mac+".jpg"), with(4, mac+".txt"), with(4, mac+".html"), with(4, mac), with(4, string(flipped)+".mp4"), with(4, mac[:len(mac)-1]+".mp4"), with(4, ".mp4"), with(4, mac+"=.mp4"), with(4, last+".mp4"),
			with(4, "..%2f..%2f..%2fetc%2fpasswd.mp4"), "/" + strings.Repeat("a", 4000),
			strings.TrimPrefix(stranger, "https://"+host), strings.TrimPrefix(elsewhere, "https://other.example.org"),
		}
		for _, p := range paths {
			resp, body := f.ask(t, get(p))
			if resp.StatusCode != 404 && resp.StatusCode != 400 || strings.Contains(body, "0123") || resp.StatusCode == 404 && body != "404\n" || len(body) > 60 {
				t.Errorf("%s: %d %.80q", p, resp.StatusCode, body)
			}
		}
		for _, h := range []string{"", "evil.example", host + ":8443", host + ".evil.example", "127.0.0.1", host + "@evil.example"} {
			if resp, body := f.ask(t, "GET "+path+" HTTP/1.1\nHost: "+h+"\n\n"); resp.StatusCode != 404 && resp.StatusCode != 400 || strings.Contains(body, "0123") {
				t.Errorf("host %q: %d", h, resp.StatusCode)
			}
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "PROPFIND", "get"} {
			if resp, _ := f.ask(t, strings.Replace(get(path), "GET", method, 1)); resp.StatusCode/100 != 4 {
				t.Errorf("%s: %d", method, resp.StatusCode)
			}
		}
		for _, head := range []string{"Content-Length: 3\n\nabc", "Transfer-Encoding: chunked\n\n0\n"} {
			if resp, _ := f.ask(t, strings.TrimSuffix(get(path), "\n")+head+"\n"); resp.StatusCode != 404 {
				t.Errorf("with a body: %d", resp.StatusCode)
			}
		}
		if n := f.files.opened.Load(); n != 0 {
			t.Errorf("%d files were opened", n)
		}
		if resp, body := f.ask(t, get(strings.TrimPrefix(missing, "https://"+host))); resp.StatusCode != 404 || body != "404\n" {
			t.Errorf("a file that is gone: %d %q", resp.StatusCode, body)
		}
		if resp, _ := f.ask(t, get(path, "Host: "+host+":443")); resp.StatusCode == 200 {
			t.Error("a request with two hosts was answered")
		}
		if resp, _ := f.ask(t, "GET "+path+" HTTP/1.1\nHost: "+strings.ToUpper(host)+":443\n\n"); resp.StatusCode != 200 {
			t.Errorf("the host in another spelling: %d", resp.StatusCode)
		}
		f.files.open = func(context.Context) io.ReadSeeker { return noSeeker{} }
		if resp, _ := f.ask(t, get(path)); resp.StatusCode != 503 {
			t.Errorf("a file whose length is not known: %d", resp.StatusCode)
		}
		f.files.open, f.files.broken = nil, errors.New("the bucket is away")
		if resp, body := f.ask(t, get(path)); resp.StatusCode != 503 || strings.Contains(body, "bucket") {
			t.Errorf("a store that does not answer: %d %q", resp.StatusCode, body)
		}
	})
}

// TestForwardedWords: what a request says of itself counts from a proxy that was
// named, and only there.
func TestForwardedWords(t *testing.T) {
	t.Parallel()
	own, behind := start(t, true), start(t, false)
	lies := []string{"X-Forwarded-Host: evil.example", "X-Forwarded-For: 10.0.0.1", "Forwarded: host=evil.example", "X-Original-URL: /api", "X-Rewrite-URL: /api"}
	for _, f := range []*fixture{own, behind} {
		if resp, _ := f.ask(t, get(f.path(t), lies...)); resp.StatusCode != 200 {
			t.Errorf("with words to overlook: %d", resp.StatusCode)
		}
		if resp, _ := f.ask(t, "GET "+f.path(t)+" HTTP/1.1\nHost: evil.example\nX-Forwarded-Host: "+host+"\n\n"); resp.StatusCode != 404 {
			t.Errorf("a host by X-Forwarded-Host: %d", resp.StatusCode)
		}
	}
	for said, want := range map[string]int{"https": 200, "HTTPS": 200, "http": 404, "https, http": 404, "ftp": 404} {
		if resp, _ := behind.ask(t, get(behind.path(t), "X-Forwarded-Proto: "+said)); resp.StatusCode != want {
			t.Errorf("the proxy says %s: %d", said, resp.StatusCode)
		}
	}
	if resp, _ := own.ask(t, get(own.path(t), "X-Forwarded-Proto: http")); resp.StatusCode != 200 {
		t.Errorf("a stranger's X-Forwarded-Proto counts: %d", resp.StatusCode)
	}
	var said bytes.Buffer
	loud := start(t, false, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&said, nil)) })
	for range 5 {
		loud.ask(t, get(loud.path(t), "X-Forwarded-Proto: http"))
	}
	if n := strings.Count(said.String(), "without TLS"); n != 1 {
		t.Errorf("strangers wrote %d lines into the log", n)
	}
	closed := start(t, false, func(c *Config) { c.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	c := closed.dial(t)
	io.WriteString(c, strings.ReplaceAll(get(closed.path(t), "X-Forwarded-For: 10.0.0.1"), "\n", "\r\n"))
	if b, _ := io.ReadAll(c); len(b) != 0 {
		t.Errorf("who is no proxy was answered: %q", b)
	}
}

// TestLimits: connections are counted, one address has its share, heads are
// small, and who is slow is sent away.
func TestLimits(t *testing.T) {
	t.Parallel()
	t.Run("huge head", func(t *testing.T) {
		t.Parallel()
		f := start(t, true)
		if resp, _ := f.ask(t, get(f.path(t), "X: "+strings.Repeat("a", 20<<10))); resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%d", resp.StatusCode)
		}
	})
	t.Run("one address", func(t *testing.T) {
		t.Parallel()
		f := start(t, true, func(c *Config) { c.Connections = 16 }) // so 2 each
		a, b := f.dial(t), f.dial(t)
		for _, c := range []net.Conn{a, b} {
			if err := c.(*tls.Conn).HandshakeContext(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.dial(t).(*tls.Conn).HandshakeContext(t.Context()); err == nil {
			t.Error("a third connection of one address was let in")
		}
		a.Close()
		deadline := time.Now().Add(10 * time.Second)
		for f.dial(t).(*tls.Conn).HandshakeContext(t.Context()) != nil {
			if time.Now().After(deadline) {
				t.Fatal("no connection after another one ended")
			}
		}
	})
	t.Run("a slow head", func(t *testing.T) {
		t.Parallel()
		f := start(t, false, func(c *Config) { c.headerTime = 300 * time.Millisecond })
		c := f.dial(t)
		begin := time.Now()
		stop := make(chan struct{})
		defer close(stop)
		go func() { // a byte now and then
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for _, b := range get(f.path(t), "X: "+strings.Repeat("a", 1000)) {
				select {
				case <-tick.C:
				case <-stop:
					return
				}
				if _, err := c.Write([]byte(string(b))); err != nil {
					return
				}
			}
		}()
		io.Copy(io.Discard, c)
		if took := time.Since(begin); took > 8*time.Second {
			t.Errorf("it was let be for %v", took)
		}
	})
	t.Run("counting", func(t *testing.T) {
		t.Parallel()
		d := &door{most: 16, peers: map[netip.Prefix]int{}, proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}}
		one, same, third := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8:0:1::1")
		leave := d.enter(one)
		if leave == nil || d.enter(same) == nil || d.enter(netip.MustParseAddr("2001:db8::3")) != nil {
			t.Error("a network does not count as one")
		}
		if d.enter(third) == nil {
			t.Error("another network has no share")
		}
		leave()
		if d.enter(same) == nil {
			t.Error("who left still counts")
		}
		if d.enter(netip.MustParseAddr("2001:db8:0:2::1")) == nil || d.enter(netip.MustParseAddr("2001:db8:0:3::1")) != nil {
			t.Error("a large network does not count as one")
		}
		for range 12 {
			if d.enter(netip.MustParseAddr("10.0.0.1")) == nil {
				t.Fatal("a proxy has no more than a share")
			}
		}
		if d.enter(netip.MustParseAddr("10.0.0.1")) != nil || d.enter(third) != nil {
			t.Error("more than the most")
		}
		d.only = true
		d.open = 0
		if d.enter(third) != nil || d.enter(netip.MustParseAddr("::ffff:10.0.0.1")) == nil {
			t.Error("behind a proxy somebody else is let in, or the proxy is not")
		}
	})
}

// TestSlowReceiver: each piece of an answer has its time, within that of the
// whole.
func TestSlowReceiver(t *testing.T) {
	t.Parallel()
	h := &Handler{log: slog.New(slog.DiscardHandler)}
	w := &stalls{kept: kept{head: http.Header{}}}
	s := h.steady(w, slowest*100)
	begin := time.Now()
	s.Write([]byte("x"))
	if d := w.until.Sub(begin); d < stallTime-time.Second || d > stallTime+time.Second {
		t.Errorf("a piece has %v", d)
	}
	s.(*steady).end = begin.Add(time.Second)
	s.Write([]byte("x"))
	if !w.until.Equal(begin.Add(time.Second)) || !w.reading.IsZero() {
		t.Errorf("the whole ends at %v", w.until)
	}
	if end := h.steady(w, slowest*100).(*steady).end; end.Sub(begin) < 160*time.Second || end.Sub(begin) > 170*time.Second {
		t.Errorf("100 s at the least pace have %v", end.Sub(begin))
	}
}

// stalls is an answer that notes its deadlines.
type stalls struct {
	kept
	until, reading time.Time
}

func (s *stalls) SetWriteDeadline(at time.Time) error { s.until = at; return nil }
func (s *stalls) SetReadDeadline(at time.Time) error  { s.reading = at; return nil }

func TestRenewedCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key, _ := certificate(t, "first.example.org", dir)
	p := &pair{cert: cert, key: key, log: slog.New(slog.DiscardHandler)}
	if err := p.load(); err != nil {
		t.Fatal(err)
	}
	name := func() string {
		p.looked = time.Time{}
		c, err := p.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return leaf.DNSNames[0]
	}
	later := time.Now().Add(time.Minute)
	os.WriteFile(cert, []byte("half"), 0o600)
	os.Chtimes(cert, later, later)
	if n := name(); n != "first.example.org" {
		t.Errorf("half a renewal gives %s", n)
	}
	certificate(t, "second.example.org", dir)
	later = later.Add(time.Minute)
	os.Chtimes(cert, later, later)
	if n := name(); n != "second.example.org" {
		t.Errorf("a renewal gives %s", n)
	}
	// Both halves within one tick of the disk's clock, seen between them.
	otherCert, otherKey, _ := certificate(t, "third.example.org", t.TempDir())
	same := func(to, from string) {
		t.Helper()
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
		os.Chtimes(to, later, later)
	}
	later = later.Add(time.Minute)
	same(cert, otherCert)
	os.Chtimes(key, later, later)
	if n := name(); n != "second.example.org" {
		t.Errorf("half a renewal gives %s", n)
	}
	same(key, otherKey)
	if n := name(); n != "third.example.org" {
		t.Errorf("the other half within the same tick gives %s", n)
	}
	if _, err := New(Config{Signer: NewSigner("https://x", nil, time.Now), Cert: "/none", Key: "/none"}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("no certificate: %v", err)
	}
	if _, err := New(Config{Signer: NewSigner("https://x", nil, time.Now)}); err == nil {
		t.Error("a listener without TLS and without a proxy was made")
	}
}

func TestURL(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	s := NewSigner("https://"+host+"/", []byte("key"), func() time.Time { return now })
	for lasts, want := range map[time.Duration]time.Duration{0: time.Minute, time.Hour: time.Hour, 1000 * time.Hour: 24 * time.Hour, -time.Hour: time.Minute} {
		u, err := s.URL(fileHash, "image/jpeg", lasts)
		if err != nil || !strings.HasPrefix(u, fmt.Sprintf("https://%s/m/%d/%s/", host, now.Add(want).Unix(), fileHash)) || !strings.HasSuffix(u, ".jpg") {
			t.Errorf("%v: %s, %v", lasts, u, err)
		}
	}
	for _, mime := range []string{"text/html", "image/svg+xml", "text/plain; charset=utf-8", ""} {
		if _, err := s.URL(fileHash, mime, time.Hour); social.CodeOf(err) != social.CodeUnsupported {
			t.Errorf("%q: %v", mime, err)
		}
	}
	if _, err := s.URL("../../etc/passwd", "image/jpeg", time.Hour); social.CodeOf(err) != social.CodeInvalid {
		t.Errorf("no hash: %v", err)
	}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	inBothWays(t, func(t *testing.T, f *fixture) {
		address, want := f.signer.Probe(fileHash)
		resp, body := f.ask(t, get(strings.TrimPrefix(address, "https://"+host)))
		if resp.StatusCode != 200 || body != want || f.files.opened.Load() != 0 {
			t.Errorf("%d %q, want %q", resp.StatusCode, body, want)
		}
	})
}

// noSeeker is a file that cannot be looked at.
type noSeeker struct{ io.Reader }

func (noSeeker) Seek(int64, int) (int64, error) { return 0, errors.New("the disk is away") }

// half is a file that cannot be read to its end.
type half struct {
	io.ReadSeeker
	n int
}

func (h *half) Read(p []byte) (int, error) {
	if h.n <= 0 {
		return 0, errors.New("the bucket is away")
	}
	n, err := h.ReadSeeker.Read(p[:min(len(p), h.n)])
	h.n -= n
	return n, err
}

// TestHalfAFile: what broke off does not look like the whole, in either protocol.
func TestHalfAFile(t *testing.T) {
	t.Parallel()
	inBothWays(t, func(t *testing.T, f *fixture) {
		f.files.open = func(context.Context) io.ReadSeeker { return &half{bytes.NewReader(f.files.content), 5000} }
		c := f.dial(t)
		io.WriteString(c, strings.ReplaceAll(get(f.path(t)), "\n", "\r\n"))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil {
			defer resp.Body.Close()
			_, err = io.ReadAll(resp.Body)
		}
		if err == nil {
			t.Error("half a file came as a whole")
		}
		if !f.secure {
			return
		}
		if resp, err = f.http2(t).Get("https://" + host + f.path(t)); err == nil {
			defer resp.Body.Close()
			_, err = io.ReadAll(resp.Body)
		}
		if err == nil || strings.Contains(err.Error(), "unexpected EOF") { // the latter is what the client counted
			t.Errorf("half a file ended well: %v", err)
		}
	})
}

// TestUnderWay: what is being sent when smi ends goes on for a while.
func TestUnderWay(t *testing.T) {
	t.Parallel()
	f := &fixture{files: &shelf{}, now: time.Now()}
	f.signer = NewSigner("https://"+host, bytes.Repeat([]byte{1}, 32), func() time.Time { return f.now })
	s, err := New(Config{Signer: f.signer, Files: f.files, Log: slog.New(slog.DiscardHandler), Connections: 100, Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = l.Addr().String()
	ctx, end := context.WithCancel(t.Context())
	content := strings.Repeat("x", 100_000)
	f.files.open = func(of context.Context) io.ReadSeeker {
		end()
		return &living{ctx: of, ReadSeeker: strings.NewReader(content)}
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	if resp, body := f.ask(t, get(f.path(t))); resp.StatusCode != 200 || body != content {
		t.Errorf("%d, %d bytes", resp.StatusCode, len(body))
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// living is a file that is read while a context lives, as those in buckets are.
type living struct {
	ctx context.Context
	io.ReadSeeker
}

func (l *living) Read(p []byte) (int, error) {
	if l.ctx.Err() != nil {
		return 0, l.ctx.Err()
	}
	return l.ReadSeeker.Read(p)
}

// http2 is a client of that protocol.
func (f *fixture) http2(t testing.TB) *http.Client {
	t.Helper()
	tr := &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: f.roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, f.addr)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// TestHTTP2: what holds for one protocol holds for the other.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	f := start(t, true)
	c := f.http2(t)
	ask := func(path, host, part string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://media.example.org"+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		if part != "" {
			req.Header.Set("Range", part)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.ProtoMajor != 2 {
			t.Errorf("the protocol is %s", resp.Proto)
		}
		return resp, string(b)
	}
	if resp, body := ask(f.path(t), "", ""); resp.StatusCode != 200 || body != string(f.files.content) {
		t.Errorf("%d, %d bytes", resp.StatusCode, len(body))
	}
	if resp, body := ask(f.path(t), "", "bytes=-3"); resp.StatusCode != 206 || body != "789" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	if resp, _ := ask(f.path(t), "evil.example", ""); resp.StatusCode != 404 {
		t.Errorf("another host: %d", resp.StatusCode)
	}
	if resp, _ := ask("/", "", ""); resp.StatusCode != 404 {
		t.Errorf("no address: %d", resp.StatusCode)
	}
}

func FuzzOpen(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	s := NewSigner("https://"+host, []byte("key"), func() time.Time { return now })
	u, err := s.URL(fileHash, "image/png", time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	good := strings.TrimPrefix(u, "https://"+host)
	f.Add(good)
	f.Add(good + "/../x")
	f.Add("/m/1/2/3.png")
	f.Fuzz(func(t *testing.T, path string) {
		r, err := http.NewRequest(http.MethodGet, "https://"+host, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Path = path
		if _, ok := s.open(r.URL); ok != (path == good) {
			t.Errorf("%q: %v", path, ok)
		}
	})
}
