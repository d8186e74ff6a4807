package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"smi/internal/app"
	"smi/internal/public"
)

// noFiles has none.
type noFiles struct{}

func (noFiles) Open(context.Context, string) (io.ReadSeekCloser, error) {
	return nil, errors.New("none")
}

// TestWayToThePublicListener: doctor names the part that is in the way.
func TestWayToThePublicListener(t *testing.T) {
	t.Parallel()
	front := httptest.NewUnstartedServer(nil) // has a certificate for example.com
	front.StartTLS()
	defer front.Close()
	const base = "https://example.com"
	addr := front.Listener.Addr().String()
	key := bytes.Repeat([]byte{1}, 32)
	server := func(base string, key []byte) (*public.Signer, *public.Server) {
		signer := public.NewSigner(base, key, time.Now)
		s, err := public.New(public.Config{Signer: signer, Files: noFiles{}, Log: slog.New(slog.DiscardHandler), Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
		if err != nil {
			t.Fatal(err)
		}
		return signer, s
	}
	signer, own := server(base, key)
	_, stranger := server(base, bytes.Repeat([]byte{2}, 32))
	public1 := []netip.Addr{netip.MustParseAddr("203.0.113.7")}
	good := way{
		base: base, signer: signer, handler: own.Handler, proxied: true,
		lookup: func(context.Context, string, string) ([]netip.Addr, error) { return public1, nil },
		dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != "203.0.113.7:443" {
				t.Errorf("%s was called", address)
			}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
		roots: x509.NewCertPool(),
	}
	good.roots.AddCert(front.Certificate())
	change := func(fn func(*way)) way { w := good; fn(&w); return w }
	answers := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if status == http.StatusMovedPermanently {
				w.Header().Set("Location", "https://www.example.com/")
			}
			w.WriteHeader(status)
			io.WriteString(w, body)
		})
	}
	tests := []struct {
		name    string
		way     way
		front   http.Handler
		verdict app.Verdict
		want    string
	}{
		{"all is well", good, own.Handler, app.Fine, "answers, and only to signed addresses"},
		{"no such name", change(func(w *way) {
			w.lookup = func(context.Context, string, string) ([]netip.Addr, error) { return nil, errors.New("no such host") }
		}), nil, app.Broken, "DNS: example.com, the host of public.url, has no address: no such host"},
		{"no address", change(func(w *way) {
			w.lookup = func(context.Context, string, string) ([]netip.Addr, error) { return nil, nil }
		}), nil, app.Broken, "DNS: "},
		{"nobody there", change(func(w *way) {
			w.dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") }
		}), nil, app.Warning, "connect: nothing answers at example.com (203.0.113.7:443): connection refused"},
		{"a private address", change(func(w *way) {
			w.lookup = func(context.Context, string, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("10.0.0.7")}, nil
			}
			w.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			}
		}), own.Handler, app.Warning, "10.0.0.7 is an address of a private network"},
		{"nobody vouches for the certificate", change(func(w *way) { w.roots = x509.NewCertPool() }), own.Handler, app.Broken, "TLS: 203.0.113.7:443 does not prove that it is example.com"},
		{"another site", good, answers(200, "<html>welcome"), app.Broken, "proxy: something else than this smi answers"},
		{"another page that is not there", good, answers(404, "<html>404"), app.Broken, "proxy: something else than this smi answers"},
		{"sent on", good, answers(301, ""), app.Broken, `proxy: https://example.com sends on to "https://www.example.com/"`},
		{"the proxy reaches nobody", good, answers(502, "bad gateway"), app.Broken, "proxy: the proxy in front answers 502"},
		{"the proxy changes the host", good, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Host = "127.0.0.1:8480"
			own.Handler.ServeHTTP(w, r)
		}), app.Broken, "proxy: smi is reached but not asked for example.com; let the proxy pass on the host"},
		{"the proxy knows no parts", good, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Range")
			own.Handler.ServeHTTP(w, r)
		}), app.Warning, "let the proxy pass on Range"},
		{"the proxy says http", good, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.TLS = nil
			r.Header.Set("X-Forwarded-Proto", "http")
			own.Handler.ServeHTTP(w, r)
		}), app.Broken, "proxy: "},
		{"a node with another key", change(func(w *way) { w.proxied = false }), stranger.Handler, app.Broken, "signature: an smi answers at https://example.com, but not to what this one signs"},
		{"a clock that is away", change(func(w *way) {
			w.signer = public.NewSigner(base, key, func() time.Time { return time.Now().Add(-time.Hour) })
		}), own.Handler, app.Broken, "signature: smi does not recognise an address that it signed itself"},
		{"nonsense", good, answers(206, "smi abc"), app.Broken, "signature: "},
	}
	for _, tt := range tests { //nolint:paralleltest // one front
		t.Run(tt.name, func(t *testing.T) {
			front.Config.Handler = tt.front
			if got := tt.way.check(t.Context()); got.Verdict != tt.verdict || !strings.Contains(got.Text, tt.want) {
				t.Errorf("%s: %s\nwant %s: %s", got.Verdict, got.Text, tt.verdict, tt.want)
			}
		})
	}
}
