package realservers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// Wire is a TCP path to a server on which answers can be held or cut. Bytes pass
// through toxiproxy, which does the harm, and then through a listener that reads
// the request lines, so that the harm begins exactly when a named request is on
// its way: before the server sees it, and so before it can answer.
type Wire struct {
	proxy    *toxiproxy.Proxy
	listener net.Listener
	upstream string
	conns    sync.WaitGroup

	mu       sync.Mutex
	requests []request // in the order in which they passed
	traps    []*Trap
	open     map[net.Conn]bool
	holding  chan struct{} // not nil while a Hold strikes; closed by its Release
}

type request struct {
	line string // "POST /path"
	at   time.Time
}

// NewWire returns a wire on a free port of 127.0.0.1 that leads to upstream
// ("host:port"), which need not listen yet.
func NewWire(upstream string) (*Wire, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening before %s: %w", upstream, err)
	}
	w := &Wire{listener: listener, upstream: upstream, open: map[net.Conn]bool{}}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	w.proxy = toxiproxy.NewProxy(server, "wire", "127.0.0.1:0", listener.Addr().String())
	if err := w.proxy.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting toxiproxy: %w", err), listener.Close())
	}
	w.conns.Go(w.accept)
	return w, nil
}

// Addr is where the wire listens, as host:port.
func (w *Wire) Addr() string { return w.proxy.Listen }

// Close ends the wire and all connections on it.
func (w *Wire) Close() error {
	w.proxy.Stop()
	w.letGo()
	err := w.listener.Close()
	w.mu.Lock()
	for c := range w.open {
		c.Close()
	}
	w.mu.Unlock()
	w.conns.Wait()
	return err
}

// Requests counts the requests that passed and begin with prefix, such as
// "POST /xrpc/com.atproto.repo.putRecord".
func (w *Wire) Requests(prefix string) int { return len(w.Times(prefix)) }

// Times says when each of them passed.
func (w *Wire) Times(prefix string) []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	var at []time.Time
	for _, r := range w.requests {
		if strings.HasPrefix(r.line, prefix) {
			at = append(at, r.at)
		}
	}
	return at
}

// Fault says what happens to an answer.
type Fault struct {
	kind  string
	attrs map[string]int64
}

// Hold drops all answers and keeps the connections open until Release, which
// closes them.
func Hold() Fault { return Fault{"timeout", map[string]int64{"timeout": 0}} }

// Cut lets the first n bytes of answers pass on each connection and then closes
// it. With 0, the connection is closed when the server begins to answer.
func Cut(n int64) Fault { return Fault{"limit_data", map[string]int64{"bytes": n}} }

// Trap is a fault that waits for a request.
type Trap struct {
	wire   *Wire
	prefix string
	fault  Fault
	sprung chan struct{}

	once sync.Once
	err  error
}

// Trap sets a fault that strikes when the next request that begins with prefix
// passes. From then until Release it strikes every connection of the wire, new
// ones too.
func (w *Wire) Trap(prefix string, f Fault) *Trap {
	t := &Trap{wire: w, prefix: prefix, fault: f, sprung: make(chan struct{})}
	w.mu.Lock()
	w.traps = append(w.traps, t)
	w.mu.Unlock()
	return t
}

// Sprung is closed when the request has come and the fault is in place, right
// before the server gets to see the request.
func (t *Trap) Sprung() <-chan struct{} { return t.sprung }

// Release ends the fault, or takes the trap away if nothing came. It may be
// called twice.
func (t *Trap) Release(ctx context.Context) error {
	t.once.Do(func() {
		w := t.wire
		w.mu.Lock()
		for i, other := range w.traps {
			if other == t {
				w.traps = append(w.traps[:i], w.traps[i+1:]...)
				w.mu.Unlock()
				return // it never sprang
			}
		}
		w.mu.Unlock()
		<-t.sprung // it may be about to
		if t.err == nil {
			t.err = w.proxy.Toxics.RemoveToxic(ctx, "trap")
		}
		w.letGo()
	})
	if t.err != nil {
		return fmt.Errorf("releasing the trap for %s: %w", t.prefix, t.err)
	}
	return nil
}

func (t *Trap) spring() {
	if t.fault.kind == "timeout" {
		t.wire.mu.Lock()
		t.wire.holding = make(chan struct{})
		t.wire.mu.Unlock()
	}
	toxic, err := json.Marshal(map[string]any{"name": "trap", "type": t.fault.kind, "stream": "downstream", "attributes": t.fault.attrs})
	if err == nil {
		_, err = t.wire.proxy.Toxics.AddToxicJson(bytes.NewReader(toxic))
	}
	t.err = err
	close(t.sprung)
}

func (w *Wire) letGo() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.holding != nil {
		close(w.holding)
		w.holding = nil
	}
}

// held returns what to wait for before the end of an answer is passed on: a
// server that closes its connection must not tell the client that it answered.
func (w *Wire) held() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.holding == nil {
		over := make(chan struct{})
		close(over)
		return over
	}
	return w.holding
}

// passed is called with each request line before it goes on.
func (w *Wire) passed(line string) {
	w.mu.Lock()
	w.requests = append(w.requests, request{line, time.Now()})
	var sprung *Trap
	for i, t := range w.traps {
		if strings.HasPrefix(line, t.prefix) {
			sprung = t
			w.traps = append(w.traps[:i], w.traps[i+1:]...)
			break
		}
	}
	w.mu.Unlock()
	if sprung != nil {
		sprung.spring()
	}
}

func (w *Wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return // closed
		}
		w.conns.Go(func() { w.carry(client) })
	}
}

// carry joins a connection with one to the server until either side ends.
func (w *Wire) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", w.upstream)
	if err != nil {
		return
	}
	defer server.Close()
	w.mu.Lock()
	w.open[client], w.open[server] = true, true
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.open, client)
		delete(w.open, server)
		w.mu.Unlock()
	}()
	var both sync.WaitGroup
	both.Go(func() {
		io.Copy(io.MultiWriter(&requestLines{found: w.passed}, server), client)
		server.(*net.TCPConn).CloseWrite()
	})
	both.Go(func() {
		io.Copy(client, server)
		<-w.held()
		client.(*net.TCPConn).CloseWrite()
	})
	both.Wait()
}

// requestLines finds the request lines in what a client writes.
type requestLines struct {
	found func(request string)
	line  []byte // the unfinished last line, its end if it is long
}

// A line may begin with the end of the body of the request before it.
var requestLine = regexp.MustCompile(`(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/[^ ]*) HTTP/1\.[01]\r$`)

const longestLine = 16 << 10

func (r *requestLines) Write(p []byte) (int, error) {
	rest := p
	for {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			break
		}
		r.keep(rest[:i])
		if m := requestLine.FindSubmatch(r.line); m != nil {
			r.found(string(m[1]) + " " + string(m[2]))
		}
		r.line = r.line[:0]
		rest = rest[i+1:]
	}
	r.keep(rest)
	return len(p), nil
}

func (r *requestLines) keep(p []byte) {
	r.line = append(r.line, p...)
	if over := len(r.line) - longestLine; over > 0 {
		r.line = append(r.line[:0], r.line[over:]...)
	}
}
