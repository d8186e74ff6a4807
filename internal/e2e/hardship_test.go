//go:build e2e

package e2e

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"smi/connectors/bluesky/blueskysim"
)

// toxics are what toxiproxy can do to the bytes on a wire.
var toxics = []struct {
	name  string
	kind  string
	attrs map[string]int64
}{
	{"slow by 400 ms", "latency", map[string]int64{"latency": 400, "jitter": 300}},
	{"3 kB a second", "bandwidth", map[string]int64{"rate": 3}},
	{"closed late", "slow_close", map[string]int64{"delay": 2000}},
	{"silent, then closed", "timeout", map[string]int64{"timeout": 700}},
	{"silent for ever", "timeout", map[string]int64{"timeout": 0}},
	{"reset", "reset_peer", map[string]int64{"timeout": 20}},
	{"in slices", "slicer", map[string]int64{"average_size": 40, "size_variation": 20, "delay": 2000}},
	{"cut after 2500 bytes", "limit_data", map[string]int64{"bytes": 2500}},
}

// proxied is a network behind toxiproxy.
func proxied(t testing.TB, accounts int) (*network, *toxiproxy.Proxy) {
	t.Helper()
	n := startNetwork(t, 0)
	proxy := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), t.Name(), "127.0.0.1:0", n.host)
	if err := proxy.Start(); err != nil {
		t.Fatalf("starting toxiproxy: %v", err)
	}
	t.Cleanup(proxy.Stop)
	n.host = proxy.Listen
	n.url = "https://" + n.host
	n.Sim = blueskysim.New(blueskysim.Options{BaseURL: n.url})
	n.addAccounts(accounts)
	return n, proxy
}

// TestBytesFail lets the wire to the network fail in each of toxiproxy's ways,
// in each direction, while posts are due, and in half of the rows kills the
// daemon meanwhile. When the wire is well again everything is published, once.
func TestBytesFail(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var rows []row
	t.Run("wires", func(t *testing.T) {
		for i, toxic := range toxics {
			for k, stream := range []string{"upstream", "downstream"} {
				r := row{name: toxic.name + ", " + stream}
				kill := (i+k)%2 == 0
				if kill {
					r.name += ", killed"
				}
				t.Run(r.name, func(t *testing.T) {
					t.Parallel()
					n, proxy := proxied(t, 4)
					in := install(t, n)
					in.start("")
					in.connect()
					all := in.wishes(8, "2s")
					j, err := json.Marshal(map[string]any{"name": "toxic", "type": toxic.kind, "stream": stream, "attributes": toxic.attrs})
					if err != nil {
						t.Fatal(err)
					}
					if !in.plan(all) {
						t.Fatal("the daemon went away")
					}
					if _, err := proxy.Toxics.AddToxicJson(bytes.NewReader(j)); err != nil {
						t.Fatalf("putting %s on the wire: %v", j, err)
					}
					over := time.Now().Add(7 * time.Second)
					passed := func() (bool, string) { return time.Now().After(over), "not yet" }
					until(t, time.Minute, "the wire to be bad for long enough", passed)
					if kill {
						in.kill()
						r.kills++
						in.start("")
						over = time.Now().Add(3 * time.Second)
						until(t, time.Minute, "the wire to be bad for longer", passed)
					}
					if err := proxy.Toxics.RemoveToxic(t.Context(), "toxic"); err != nil {
						t.Fatal(err)
					}
					began := time.Now()
					in.rest(3 * time.Minute)
					r.rest = time.Since(began)
					r.verdict = *in.judge(all)
					for _, f := range r.verdict.findings {
						t.Error(f)
					}
					in.stop()
					for _, f := range in.printed() {
						t.Error(f)
					}
					mu.Lock()
					rows = append(rows, r)
					mu.Unlock()
				})
			}
		}
	})
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.name, b.name) })
	table(t, "wire", rows)
}

// TestStopped stops the daemon at a point with SIGSTOP for longer than the time
// in which an attempt may be sent, and lets it go on.
func TestStopped(t *testing.T) {
	t.Parallel()
	const sendTime = 30 * time.Second // of the connector
	var mu sync.Mutex
	var rows []row
	t.Run("points", func(t *testing.T) {
		for _, at := range []string{"after-claim:3", "after-arm:4", "before-write:3", "after-write:5", "before-record:4"} {
			t.Run(at, func(t *testing.T) {
				t.Parallel()
				n := startNetwork(t, 8)
				in := install(t, n)
				in.start("")
				in.connect()
				all := in.wishes(wishesEach, "3s")
				in.stop()
				l := in.start("stop:" + at)
				stopped := make(chan struct{}) // nothing that the test asks the daemon is answered meanwhile
				go func() {
					defer close(stopped)
					point, _, _ := strings.Cut(at, ":")
					until(t, time.Minute, "the daemon to stop at "+at, func() (bool, string) {
						return strings.Contains(l.log(t), "crash: stopped at "+point+"\n"), "it works on"
					})
					over := time.Now().Add(sendTime + 3*time.Second)
					until(t, time.Minute, "the time to send to be over", func() (bool, string) { return time.Now().After(over), "not yet" })
					if err := l.cmd.Process.Signal(syscall.SIGCONT); err != nil {
						t.Error(err)
					}
				}()
				planned := in.plan(all)
				<-stopped
				if !planned && !in.plan(all) {
					t.Fatal("the daemon went away")
				}
				began := time.Now()
				in.rest(3 * time.Minute)
				r := row{name: "stopped " + at, rest: time.Since(began), verdict: *in.judge(all)}
				for _, f := range r.verdict.findings {
					t.Error(f)
				}
				in.stop()
				if at == "after-arm:4" {
					if n := in.count(`SELECT count(*) FROM attempt WHERE state = 'not_sent'`); n == 0 {
						t.Error("what was armed before the stop was sent after its time")
					}
				}
				for _, f := range in.printed() {
					t.Error(f)
				}
				mu.Lock()
				rows = append(rows, r)
				mu.Unlock()
			})
		}
	})
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.name, b.name) })
	table(t, "stops", rows)
}

// TestGoesOnAtOnce kills the daemon while it holds claims of posts that are due.
// The next one takes them up when it starts, not when the claims run out.
func TestGoesOnAtOnce(t *testing.T) {
	t.Parallel()
	n := startNetwork(t, 8)
	in := install(t, n)
	in.start("")
	in.connect()
	all := in.wishes(8, "3s")
	in.stop()
	in.start("after-prepare:8")
	in.plan(all)
	in.diesAt("after-prepare:8", time.Minute)
	killed := time.Now()
	db := in.open()
	held := map[int64]int64{} // delivery → end of its claim
	rows, err := db.QueryContext(t.Context(), `SELECT id, lease_until FROM delivery WHERE owner <> '' AND state IN ('scheduled','claimed','ready')`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, until int64
		if err := rows.Scan(&id, &until); err != nil {
			t.Fatal(err)
		}
		held[id] = until
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if len(held) == 0 {
		t.Fatal("nothing was claimed when the daemon was killed")
	}
	l := in.start("")
	in.plan(all)
	in.rest(time.Minute)
	for _, f := range in.judge(all).findings {
		t.Error(f)
	}
	in.stop()
	db = in.open()
	defer db.Close()
	var worst time.Duration
	for id, leased := range held {
		armed := armedAfter(t, db, id, killed)
		worst = max(worst, armed.Sub(l.began))
		if end := time.UnixMilli(leased); !armed.Before(end) {
			t.Errorf("delivery %d was armed %s after the start: its old claim, which ran until %s, was waited for", id, armed.Sub(l.began), end.Format("15:04:05.000"))
		}
	}
	t.Logf("%d deliveries were held by the daemon that was killed; the last of them was armed %d ms after the next one was started", len(held), worst.Milliseconds())
}

// armedAfter is when a delivery's first attempt after a moment was armed.
func armedAfter(t *testing.T, db *sql.DB, delivery int64, after time.Time) time.Time {
	t.Helper()
	var ms int64
	if err := db.QueryRowContext(t.Context(), `SELECT min(armed_at) FROM attempt WHERE delivery_id = $1 AND armed_at > $2`, delivery, after.UnixMilli()).Scan(&ms); err != nil {
		t.Fatalf("delivery %d was not armed after the start: %v", delivery, err)
	}
	return time.UnixMilli(ms)
}

// TestFewFiles gives the daemon 256 open files and a burst on 40 accounts with
// slow answers.
func TestFewFiles(t *testing.T) {
	t.Parallel()
	n := startNetwork(t, 40)
	in := install(t, n)
	in.via = []string{"sh", "-c", `ulimit -n 256 && exec "$0" "$@"`}
	in.start("")
	in.connect()
	n.slows(300 * time.Millisecond)
	all := in.wishes(80, "6s")
	if !in.plan(all) {
		t.Fatal("the daemon went away")
	}
	in.rest(3 * time.Minute)
	for _, f := range in.judge(all).findings {
		t.Error(f)
	}
	in.stop()
	for _, f := range in.printed() {
		t.Error(f)
	}
}
