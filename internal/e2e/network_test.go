//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log" //nolint:depguard // http.Server wants one
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"smi/connectors/bluesky/blueskysim"
)

// appPassword opens every account of the simulator and nothing else.
const appPassword = "demo-demo-demo-demo"

// network is a simulated Bluesky behind TLS, with faults on the wire.
type network struct {
	*blueskysim.Sim
	url, host, ca string
	handles, dids []string

	mu     sync.Mutex
	came   []arrival
	fault  func(w http.ResponseWriter, r *http.Request, act func() *httptest.ResponseRecorder)
	writes map[string]writes // by the text of the record
	looks  map[string][]time.Time
	faults int // faults that happened
	parked int // writes that are held back now or were
}

// writes is what came for one record.
type writes struct {
	came    int // complete requests
	refused int // those that were answered with a refusal
}

// arrival is a complete request to write a record, from which address and port it
// came, and the key of the record.
type arrival struct {
	text, from, key string
	at              time.Time
}

// startNetwork serves a network with this many accounts until the test ends.
func startNetwork(t testing.TB, accounts int) *network {
	t.Helper()
	return serveNetwork(t, accounts, func(*httptest.Server) {})
}

// serveNetwork is startNetwork for who must change something about the server
// before it starts.
func serveNetwork(t testing.TB, accounts int, prepare func(*httptest.Server)) *network {
	t.Helper()
	n := &network{writes: map[string]writes{}, looks: map[string][]time.Time{}}
	srv := httptest.NewUnstartedServer(n)
	prepare(srv)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // a killed client breaks handshakes off
	srv.StartTLS()
	t.Cleanup(srv.Close)
	n.url = srv.URL
	n.host = strings.TrimPrefix(srv.URL, "https://")
	n.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	n.Sim = blueskysim.New(blueskysim.Options{BaseURL: srv.URL})
	n.addAccounts(accounts)
	return n
}

func (n *network) addAccounts(accounts int) {
	for i := range accounts {
		h := fmt.Sprintf("a%d.test", i+1)
		n.handles = append(n.handles, h)
		n.dids = append(n.dids, n.AddAccount(blueskysim.Account{Handle: h, DisplayName: h, AppPassword: appPassword, Followers: int64(100 + i)}))
	}
}

// latency is how long a write takes to get to the network, and its answer back.
// With it a kill finds posts in every place between arming and recording.
const latency = 15 * time.Millisecond

// ServeHTTP lets the network answer, or what the test has put before it. A
// request that was read acts, whoever goes away.
func (n *network) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/xrpc/com.atproto.repo.putRecord":
	case "/xrpc/com.atproto.repo.getRecord":
		n.look(w, r)
		return
	default:
		n.Sim.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // it did not come completely
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var in struct {
		Rkey   string
		Record struct{ Text string }
	}
	if err := json.Unmarshal(body, &in); err != nil {
		http.Error(w, "no JSON", http.StatusBadRequest)
		return
	}
	act := func() *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		n.Sim.ServeHTTP(rec, r)
		if rec.Code >= 400 && rec.Code < 500 {
			n.mu.Lock()
			w := n.writes[in.Record.Text]
			w.refused++
			n.writes[in.Record.Text] = w
			n.mu.Unlock()
		}
		return rec
	}
	n.mu.Lock()
	n.came = append(n.came, arrival{in.Record.Text, r.RemoteAddr, in.Rkey, time.Now()})
	w1 := n.writes[in.Record.Text]
	w1.came++
	n.writes[in.Record.Text] = w1
	fault := n.fault
	if w1.came > 1 {
		fault = nil // the first time only: the network is not broken for ever
	}
	if fault != nil {
		n.faults++
	}
	n.mu.Unlock()
	wait(latency)
	if fault != nil {
		fault(w, r, act)
		return
	}
	rec := act()
	wait(latency)
	maps.Copy(w.Header(), rec.Header())
	w.WriteHeader(rec.Code)
	w.Write(rec.Body.Bytes()) //nolint:errcheck // the daemon may be dead
}

// look answers who asks for a record, and notes when it was not there.
func (n *network) look(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	rec := httptest.NewRecorder()
	n.Sim.ServeHTTP(rec, r)
	if rec.Code == http.StatusBadRequest {
		key := r.URL.Query().Get("rkey")
		n.mu.Lock()
		n.looks[key] = append(n.looks[key], at)
		n.mu.Unlock()
	}
	maps.Copy(w.Header(), rec.Header())
	w.WriteHeader(rec.Code)
	w.Write(rec.Body.Bytes()) //nolint:errcheck // the daemon may be dead
}

// wait lets time pass on the wire.
func wait(d time.Duration) { <-time.After(d) }

// faulty puts a fault before the first write of each record.
func (n *network) faulty(f func(w http.ResponseWriter, r *http.Request, act func() *httptest.ResponseRecorder)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fault = f
}

func (n *network) happened() (faults, parked int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.faults, n.parked
}

// cutAnswers lets the network act and then closes the connection.
func (n *network) cutAnswers() {
	n.faulty(func(_ http.ResponseWriter, _ *http.Request, act func() *httptest.ResponseRecorder) {
		act()
		panic(http.ErrAbortHandler)
	})
}

// lostRequests closes the connection before anything came to be.
func (n *network) lostRequests() {
	n.faulty(func(http.ResponseWriter, *http.Request, func() *httptest.ResponseRecorder) {
		panic(http.ErrAbortHandler)
	})
}

// badGateways lets the network act and answers with a proxy's error page.
func (n *network) badGateways() {
	n.faulty(func(w http.ResponseWriter, _ *http.Request, act func() *httptest.ResponseRecorder) {
		act()
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		io.WriteString(w, "<html><body>upstream</body></html>") //nolint:errcheck // the daemon may be dead
	})
}

// parks holds each write back for d; then it takes effect, whoever still waits.
func (n *network) parks(d time.Duration) {
	n.faulty(func(w http.ResponseWriter, _ *http.Request, act func() *httptest.ResponseRecorder) {
		n.mu.Lock()
		n.parked++
		n.mu.Unlock()
		wait(d)
		rec := act()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(rec.Code)
		w.Write(rec.Body.Bytes()) //nolint:errcheck // the daemon may be dead
	})
}

// slows lets each write take d on its way, and its answer as long.
func (n *network) slows(d time.Duration) {
	n.faulty(func(w http.ResponseWriter, _ *http.Request, act func() *httptest.ResponseRecorder) {
		wait(d)
		rec := act()
		wait(d)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(rec.Code)
		w.Write(rec.Body.Bytes()) //nolint:errcheck // the daemon may be dead
	})
}

// expireTokens ends the access tokens of all accounts.
func (n *network) expireTokens() {
	for _, did := range n.dids {
		n.ExpireAccess(did)
	}
}

// seenPost is a post as the public can see it.
type seenPost = blueskysim.Post

// all is what the public sees, on all accounts, by text.
func (n *network) all() map[string][]seenPost {
	out := map[string][]seenPost{}
	for _, did := range n.dids {
		for _, p := range n.Posts(did) {
			out[p.Text] = append(out[p.Text], p)
		}
	}
	return out
}

// written is what came for each text.
func (n *network) written() map[string]writes {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.writes)
}

// arrivals are the requests to write each text, in the order in which they came.
func (n *network) arrivals() map[string][]arrival {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := map[string][]arrival{}
	for _, a := range n.came {
		out[a.text] = append(out[a.text], a)
	}
	return out
}

// missed is when a record, by its key, was looked for and was not there.
func (n *network) missed() map[string][]time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := map[string][]time.Time{}
	for key, at := range n.looks {
		out[key] = slices.Clone(at)
	}
	return out
}

// made counts how often a text came to be, on all accounts. Records that were
// taken away again count too.
func (n *network) made() map[string]int {
	out := map[string]int{}
	for _, e := range n.Kit.Journal.Effects("") {
		if e.Op != "delete" {
			out[e.Text]++
		}
	}
	return out
}
