package simkit

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Action answers a request in place of the simulator; it may call next to let
// the request act.
type Action func(w http.ResponseWriter, r *http.Request, next http.Handler)

// Fault is one line of a script.
type Fault struct {
	Name   string // for the request log
	Method string // "" means any
	Path   string // exact, or a prefix ending in "*"; "" means any
	// Match narrows further; nil means all.
	Match func(*http.Request) bool
	// Nth is which of the matching requests is meant, from 1; 0 means from the
	// first one on.
	Nth int
	// Times bounds how often the fault happens; 0 means once if Nth is set, else
	// always.
	Times int
	Do    Action
}

// Script is a list of faults. Of each request's matches the first one happens;
// all matching faults count it.
type Script struct {
	mu     sync.Mutex
	faults []*scripted
}

type scripted struct {
	Fault
	seen, done int
}

// Add appends faults.
func (s *Script) Add(faults ...Fault) *Script {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range faults {
		if f.Do == nil {
			panic("simkit: a fault without Do")
		}
		if f.Nth > 0 && f.Times == 0 {
			f.Times = 1
		}
		s.faults = append(s.faults, &scripted{Fault: f})
	}
	return s
}

// Clear forgets all faults.
func (s *Script) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Happened is how often a fault of this name happened.
func (s *Script) Happened(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, f := range s.faults {
		if f.Name == name {
			n += f.done
		}
	}
	return n
}

func (s *Script) match(r *http.Request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	var hit *scripted
	for _, f := range s.faults {
		if !f.fits(r) {
			continue
		}
		f.seen++
		if hit == nil && f.seen >= f.Nth && (f.Times == 0 || f.done < f.Times) {
			hit = f
		}
	}
	if hit == nil {
		return nil
	}
	hit.done++
	return &hit.Fault
}

func (f *scripted) fits(r *http.Request) bool {
	if f.Method != "" && f.Method != r.Method {
		return false
	}
	if prefix, ok := strings.CutSuffix(f.Path, "*"); ok {
		if !strings.HasPrefix(r.URL.Path, prefix) {
			return false
		}
	} else if f.Path != "" && f.Path != r.URL.Path {
		return false
	}
	return f.Match == nil || f.Match(r)
}

// Status answers without acting. A body that begins with { or [ is sent as
// JSON. header may be nil.
func Status(code int, header map[string]string, body string) Action {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		write(w, code, header, body)
	}
}

// ActThenStatus lets the request act and answers something else: a 504 before a
// post that is live, a limit code on one that was made.
func ActThenStatus(code int, header map[string]string, body string) Action {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		record(r, next)
		write(w, code, header, body)
	}
}

// HTML answers with a proxy's error page, without acting.
func HTML(code int) Action {
	return Status(code, map[string]string{"Content-Type": "text/html"}, htmlPage)
}

// ActThenHTML acts, then answers with a proxy's page.
func ActThenHTML(code int) Action {
	return ActThenStatus(code, map[string]string{"Content-Type": "text/html"}, htmlPage)
}

const htmlPage = "<!DOCTYPE html>\n<html><head><title>Bad gateway</title></head><body>upstream</body></html>\n"

// Garbage acts, then answers 200 with bytes that are no JSON.
func Garbage() Action {
	return ActThenStatus(http.StatusOK, map[string]string{"Content-Type": "application/json"}, "\x00\xff{{\"id\":")
}

// Delay waits, then lets the simulator act and answer.
func Delay(d time.Duration) Action {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		wait(d, gone(r))
		next.ServeHTTP(w, r)
	}
}

// Park acts only after d, whether or not the client is still there, then
// answers.
func Park(d time.Duration) Action {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		wait(d, nil)
		next.ServeHTTP(w, r)
	}
}

// ActThenDelay acts at once and answers after d, and not at all if the client
// goes away before: one that gives up says so (TLS) before it closes, and could
// still read an answer that is given to that.
func ActThenDelay(d time.Duration) Action {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := record(r, next)
		if !wait(d, gone(r)) {
			cut(w, nil, false)
			return
		}
		rec.replay(w)
	}
}

// CutBefore closes the connection without acting.
func CutBefore() Action {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { cut(w, nil, false) }
}

// CutAfter acts, then closes the connection without an answer.
func CutAfter() Action {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		record(r, next)
		cut(w, nil, false)
	}
}

// ResetBefore resets the connection (RST) without acting.
func ResetBefore() Action {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { cut(w, nil, true) }
}

// ResetAfter acts, then resets the connection.
func ResetAfter() Action {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		record(r, next)
		cut(w, nil, true)
	}
}

// Truncate acts, promises the whole answer and sends n bytes of its body.
func Truncate(n int) Action {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		b := record(r, next).bytes()
		end := bytes.Index(b, []byte("\r\n\r\n")) + 4
		cut(w, b[:min(end+n, len(b))], false)
	}
}

// Double acts once and sends its answer twice.
func Double() Action {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		b := record(r, next).bytes()
		cut(w, append(slices.Clip(b), b...), false)
	}
}

// Slow acts, then sends the answer, headers and all, n bytes per tick.
func Slow(n int, tick time.Duration) Action {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		b := record(r, next).bytes()
		conn := hijack(w)
		defer conn.Close()
		for len(b) > 0 {
			if !wait(tick, gone(r)) {
				return
			}
			m := min(n, len(b))
			if _, err := conn.Write(b[:m]); err != nil {
				return
			}
			b = b[m:]
		}
	}
}

// EndlessHeaders acts, then sends header lines until the client gives up.
func EndlessHeaders() Action {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		record(r, next)
		conn := hijack(w)
		defer conn.Close()
		_, err := conn.Write([]byte("HTTP/1.1 200 OK\r\n"))
		for i := 0; err == nil; i++ {
			_, err = fmt.Fprintf(conn, "X-Line-%d: %s\r\n", i, strings.Repeat("x", 1000))
		}
	}
}

// Huge acts, then answers 200 with a JSON string of n bytes (as far as the
// client reads).
func Huge(n int64) Action {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		record(r, next)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		block := bytes.Repeat([]byte{'a'}, 64<<10)
		if _, err := w.Write([]byte{'"'}); err != nil {
			return
		}
		for n--; n > 0; n -= int64(len(block)) {
			if _, err := w.Write(block[:min(n, int64(len(block)))]); err != nil {
				return
			}
		}
	}
}

// Raw acts if act is set, then writes these bytes to the connection as they are
// and closes it.
func Raw(act bool, b string) Action {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if act {
			record(r, next)
		}
		cut(w, []byte(b), false)
	}
}

// Then calls a hook of the test, then does the action.
func Then(before func(*http.Request), a Action) Action {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		before(r)
		a(w, r, next)
	}
}

func write(w http.ResponseWriter, code int, header map[string]string, body string) {
	if strings.HasPrefix(body, "{") || strings.HasPrefix(body, "[") {
		w.Header().Set("Content-Type", "application/json")
	}
	for k, v := range header {
		w.Header().Set(k, v)
	}
	w.WriteHeader(code)
	w.Write([]byte(body)) //nolint:errcheck // the client may have gone
}

// wait returns false if stop came first.
func wait(d time.Duration, stop <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-stop:
		return false
	}
}

// recorded is an answer that was kept back.
type recorded struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func record(r *http.Request, next http.Handler) *recorded {
	rec := &recorded{header: http.Header{}}
	next.ServeHTTP(rec, r)
	return rec
}

func (c *recorded) Header() http.Header { return c.header }

func (c *recorded) WriteHeader(code int) {
	if c.code == 0 {
		c.code = code
	}
}

func (c *recorded) Write(b []byte) (int, error) { return c.body.Write(b) }

func (c *recorded) status() int {
	if c.code == 0 {
		return http.StatusOK
	}
	return c.code
}

func (c *recorded) replay(w http.ResponseWriter) {
	maps.Copy(w.Header(), c.header)
	w.WriteHeader(c.status())
	w.Write(c.body.Bytes()) //nolint:errcheck // the client may have gone
}

// bytes is the answer as it stands on the wire.
func (c *recorded) bytes() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", c.status(), http.StatusText(c.status()))
	h := c.header.Clone()
	h.Set("Content-Length", strconv.Itoa(c.body.Len()))
	h.Write(&b) //nolint:errcheck // to memory
	b.WriteString("\r\n")
	b.Write(c.body.Bytes())
	return b.Bytes()
}

func hijack(w http.ResponseWriter) net.Conn {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2: the stream is reset
	}
	return conn
}

// cut writes b as it is and closes the connection, with a reset if asked.
func cut(w http.ResponseWriter, b []byte, reset bool) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	if len(b) > 0 {
		bw := bufio.NewWriter(rw)
		bw.Write(b) //nolint:errcheck // Flush tells
		if bw.Flush() == nil {
			rw.Flush() //nolint:errcheck // the client may have gone
		}
	}
	if reset {
		raw := conn
		if t, ok := raw.(interface{ NetConn() net.Conn }); ok {
			raw = t.NetConn()
		}
		if t, ok := raw.(*net.TCPConn); ok {
			t.SetLinger(0) //nolint:errcheck // then it is an ordinary close
			t.Close()      //nolint:errcheck // as above
		}
	}
}
