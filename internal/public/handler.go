package public

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"smi/internal/social"
)

// Files opens the bytes of files (internal/media). The error of one that is not
// there has CodeNotFound.
type Files interface {
	Open(ctx context.Context, hash string) (io.ReadSeekCloser, error)
}

// Handler answers strangers.
type Handler struct {
	signer  *Signer
	files   Files
	proxies []netip.Prefix
	host    string // of the base
	log     *slog.Logger
	warned  atomic.Int64 // when it was said last that the proxy passes on what came without TLS, in Unix seconds
}

// The limits of an answer: a receiver that takes nothing for stallTime is cut
// off, and so is one that takes less than slowest bytes a second over all.
const (
	stallTime = 30 * time.Second
	graceTime = time.Minute
	slowest   = 64 << 10
)

const notKept = "private, no-store"

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer") // the address is a secret for a while
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	head.Set("Cross-Origin-Opener-Policy", "same-origin")
	head.Set("X-Robots-Tag", "noindex, nofollow")
	head.Set("Cache-Control", notKept)
	head.Set("Strict-Transport-Security", "max-age=31536000")
	what, ok := h.admit(r)
	if !ok {
		h.nothing(w)
		return
	}
	if what.ending == probe {
		head.Set("Content-Type", what.mime)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(h.signer.answer(what.hash)))
		return
	}
	f, size, err := h.open(r.Context(), what.hash)
	switch {
	case social.CodeOf(err) == social.CodeNotFound:
		h.nothing(w)
		return
	case err != nil: // never a 404, which networks take for the last word
		if r.Context().Err() == nil {
			h.log.Error("a file that a network asks for cannot be opened", "file", what.hash, "err", err)
		}
		head.Set("Retry-After", "30")
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	}
	defer f.Close() //nolint:errcheck // it was read
	head.Set("Content-Type", what.mime)
	head.Set("Content-Disposition", `attachment; filename="`+what.hash[:12]+"."+what.ending+`"`)
	head.Set("ETag", `"`+what.hash+`"`)
	if many(r) { // one piece at a time is what fetchers ask for
		r.Header.Del("Range")
	}
	content := &noting{ReadSeeker: f}
	http.ServeContent(h.steady(w, size), r, "", time.Time{}, content)
	if content.err != nil {
		if r.Context().Err() == nil {
			h.log.Error("a file that a network asks for cannot be read to its end", "file", what.hash, "err", content.err)
		}
		panic(http.ErrAbortHandler) // so that nobody takes what was sent for the whole
	}
}

// open opens a file and says how long it is.
func (h *Handler) open(ctx context.Context, hash string) (io.ReadSeekCloser, int64, error) {
	f, err := h.files.Open(ctx, hash)
	if err != nil {
		return nil, 0, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close() //nolint:errcheck // err says more
		return nil, 0, err
	}
	return f, size, nil
}

// noting keeps why a file could not be read on, which http.ServeContent does not
// tell.
type noting struct {
	io.ReadSeeker
	err error
}

// Read implements io.Reader.
func (n *noting) Read(p []byte) (int, error) {
	k, err := n.ReadSeeker.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return k, err
}

// nothing is the answer to all that is not there, is over, or was never signed.
func (h *Handler) nothing(w http.ResponseWriter) {
	http.Error(w, "404", http.StatusNotFound)
}

// admit says what a request is about, if it may be answered.
func (h *Handler) admit(r *http.Request) (asked, bool) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.ContentLength != 0 {
		return asked{}, false
	}
	if !h.mine(r.Host) {
		return asked{}, false
	}
	// What a proxy adds counts only from a proxy that was named; from anybody else
	// it is as if it were not there.
	if len(h.proxies) > 0 && r.TLS == nil && !h.secure(r) {
		// Strangers choose how often: once a minute is enough.
		if now, last := time.Now().Unix(), h.warned.Load(); now-last >= 60 && h.warned.CompareAndSwap(last, now) {
			h.log.Warn("the proxy in front passes on requests that came without TLS; let it refuse them", "peer", r.RemoteAddr)
		}
		return asked{}, false
	}
	// The path in the form of an address only: not *, not http://other/.
	if r.URL.Host != "" || r.URL.Opaque != "" || !strings.HasPrefix(r.RequestURI, "/") {
		return asked{}, false
	}
	return h.signer.open(r.URL)
}

// mine says whether a request is for the host of the public address. Nothing is
// ever made of what a request says its host is.
func (h *Handler) mine(host string) bool {
	return strings.EqualFold(strings.TrimSuffix(host, ":443"), h.host)
}

// secure says whether a proxy got a request over TLS. One that does not say
// counts as one that takes nothing else.
func (h *Handler) secure(r *http.Request) bool {
	for _, v := range r.Header.Values("X-Forwarded-Proto") {
		for p := range strings.SplitSeq(v, ",") {
			if !strings.EqualFold(strings.TrimSpace(p), "https") {
				return false
			}
		}
	}
	return true
}

// many says whether a request asks for several pieces.
func many(r *http.Request) bool { return strings.Contains(r.Header.Get("Range"), ",") }

// hostOf is the host of the base as requests name it: with its port, if that is
// not 443.
func hostOf(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(strings.ToLower(u.Host), ":443")
}

func trusted(proxies []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// steady is an answer whose receiver must keep up.
func (h *Handler) steady(w http.ResponseWriter, size int64) http.ResponseWriter {
	control := http.NewResponseController(w)
	// The time to send a request is over when it was read; that it ends must not
	// end the answer.
	if err := control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		h.log.Debug("answering a request", "err", err)
	}
	return &steady{
		ResponseWriter: w, control: control,
		end: time.Now().Add(graceTime + time.Duration(size/slowest)*time.Second),
	}
}

type steady struct {
	http.ResponseWriter
	control *http.ResponseController
	end     time.Time
}

// WriteHeader keeps what http.ServeContent takes out of a refusal.
func (s *steady) WriteHeader(status int) {
	s.Header().Set("Cache-Control", notKept)
	s.ResponseWriter.WriteHeader(status)
}

// Write gives each piece its own time, within that of the whole.
func (s *steady) Write(p []byte) (int, error) {
	next := time.Now().Add(stallTime)
	if next.After(s.end) {
		next = s.end
	}
	if err := s.control.SetWriteDeadline(next); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return s.ResponseWriter.Write(p)
}

// Try answers an address as it would if it came from outside, for who looks what
// is wrong on the way.
func (h *Handler) Try(ctx context.Context, address string) (status int, body string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return http.StatusBadRequest, ""
	}
	// As net/http's server makes it of what a client sends.
	r.RequestURI, r.TLS = r.URL.RequestURI(), &tls.ConnectionState{}
	r.URL.Scheme, r.URL.Host = "", ""
	w := &kept{head: http.Header{}}
	h.ServeHTTP(w, r)
	return cmp.Or(w.status, http.StatusOK), w.body.String()
}

// kept is an answer in memory.
type kept struct {
	head   http.Header
	status int
	body   bytes.Buffer
}

func (k *kept) Header() http.Header         { return k.head }
func (k *kept) Write(p []byte) (int, error) { return k.body.Write(p) }
func (k *kept) WriteHeader(status int)      { k.status = status }
