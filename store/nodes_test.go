package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"smi/connectors"
	"smi/internal/pgtest"
	"smi/internal/social"
	"smi/scheduler"
	"smi/store"
	"smi/store/storetest"
)

var due = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// room is a database with two nodes on it.
type room struct {
	*storetest.Seeds
	t        *testing.T
	url      string
	one, two *store.Store
	ws       social.Workspace
}

func newNodes(t *testing.T) *room {
	t.Helper()
	r := &room{t: t, url: filled(t)}
	r.one, r.two = onNode(t, r.url), onNode(t, r.url)
	r.Seeds = storetest.Seed(t, r.one)
	r.ws = r.Workspace()
	return r
}

// onNode opens a database once more, as another node does.
func onNode(t testing.TB, address string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: address, Connections: 8, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// ready plans a delivery on an account of its own, which node n1 has prepared.
func (r *room) ready() (social.Delivery, scheduler.ArmRequest) {
	r.t.Helper()
	d := r.Delivery(r.Post(r.ws.ID, due), r.Account(r.ws.ID))
	r.Exec(`UPDATE delivery SET state = 'ready', owner = 'n1', lease_until = $1, epoch = 1, ver = 1 WHERE id = $2`, due.Add(time.Hour).UnixMilli(), int64(d.ID))
	return d, scheduler.ArmRequest{
		Delivery: d.ID, Epoch: 1, Ver: 1, Attempt: r.ID(), N: 1, Node: "n1", Class: connectors.Unkeyed, Now: due, SendBy: due.Add(30 * time.Second),
		TakeoverAt: due.Add(95 * time.Second), TokenGen: 1, RequestHash: "h", Fingerprint: d.ID.String(), ContentHash: d.ContentHash,
	}
}

// waiters returns once at least n transactions wait for another, or enough says
// that they need not.
func (r *room) waiters(n int, enough func() bool) {
	r.t.Helper()
	for !enough() {
		var waiting int
		if err := r.two.WriterDB().QueryRowContext(r.t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting); err != nil {
			r.t.Fatal(err)
		}
		if waiting >= n {
			return
		}
	}
}

// Nodes that claim at the same moment never take one delivery twice, nor posts of
// one account.
func TestNodesClaim(t *testing.T) {
	t.Parallel()
	r := newNodes(t)
	const accounts, each = 10, 3
	for range accounts {
		a := r.Account(r.ws.ID)
		for range each {
			r.Delivery(r.Post(r.ws.ID, due), a)
		}
	}
	var mu sync.Mutex
	owner := map[social.ID]string{}
	taken := map[social.ID]int{}
	var wg sync.WaitGroup
	for name, s := range map[string]*store.Store{"n1": r.one, "n2": r.two} {
		for range 3 { // a node's pools claim beside each other, too
			wg.Go(func() {
				for {
					works, err := s.Claim(t.Context(), scheduler.ClaimRequest{Node: name, Now: due, Lease: time.Hour, Limit: 4, PerAccount: 16})
					if err != nil {
						t.Error(err)
						return
					}
					if len(works) == 0 {
						return
					}
					mu.Lock()
					for _, w := range works {
						taken[w.Delivery.ID]++
						if had := owner[w.Account.ID]; had != "" && had != name {
							t.Errorf("account %s is %s's and %s's", w.Account.ID, had, name)
						}
						owner[w.Account.ID] = name
					}
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	if len(taken) != accounts*each {
		t.Errorf("%d of %d deliveries were claimed", len(taken), accounts*each)
	}
	for id, n := range taken {
		if n != 1 {
			t.Errorf("delivery %s was claimed %d times", id, n)
		}
	}
}

// Of those that arm one delivery at the same moment exactly one may send.
func TestNodesArm(t *testing.T) {
	t.Parallel()
	r := newNodes(t)
	d, q := r.ready()
	var won atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		mine := q
		mine.Attempt = r.ID()
		s := []*store.Store{r.one, r.two}[i%2]
		wg.Go(func() {
			_, err := s.Arm(t.Context(), mine)
			if refusal, ok := errors.AsType[*scheduler.Refusal](err); ok && (refusal.Gate == scheduler.GateStale || refusal.Gate == scheduler.GateOpen) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			won.Add(1)
		})
	}
	wg.Wait()
	if won.Load() != 1 || r.Text(`SELECT count(*) FROM attempt WHERE delivery_id = $1`, int64(d.ID)) != "1" {
		t.Errorf("%d were allowed to send", won.Load())
	}
}

// A budget that all nodes share is never overdrawn.
func TestNodesBudget(t *testing.T) {
	t.Parallel()
	r := newNodes(t)
	var won atomic.Int64
	var wg sync.WaitGroup
	for i := range 12 {
		_, q := r.ready()
		q.Charges = []scheduler.Charge{{Key: "app", Window: time.Hour, Cost: 1, Limit: 5}}
		s := []*store.Store{r.one, r.two}[i%2]
		wg.Go(func() {
			_, err := s.Arm(t.Context(), q)
			if refusal, ok := errors.AsType[*scheduler.Refusal](err); ok && refusal.Gate == scheduler.GateBudget {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			won.Add(1)
		})
	}
	wg.Wait()
	if won.Load() != 5 || r.Text(`SELECT used FROM budget WHERE key = 'app'`) != "5" {
		t.Errorf("%d of a budget of 5 were armed", won.Load())
	}
}

// Once a pause was acknowledged nothing is armed, not even what had looked at the
// gates before.
func TestNodesPause(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(r *room) error{
		"everything": func(r *room) error { return r.two.SetPaused(t.Context(), social.PauseScope{}, true, "cli:test") },
		"workspace": func(r *room) error {
			return r.two.SetPaused(t.Context(), social.PauseScope{Workspace: r.ws.ID}, true, "cli:test")
		},
		"quarantine": func(r *room) error { return r.two.SetQuarantine(t.Context(), true, "cli:test") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newNodes(t)
			_, q := r.ready()
			q.Charges = []scheduler.Charge{{Key: "app", Window: time.Hour, Cost: 1, Limit: 5}}
			r.Exec(`INSERT INTO budget (key, window_start, used) VALUES ('app', $1, 0)`, due.UnixMilli())
			hold, err := r.two.WriterDB().BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer hold.Rollback()
			if _, err := hold.ExecContext(t.Context(), `SELECT 1 FROM budget WHERE key = 'app' FOR UPDATE`); err != nil {
				t.Fatal(err)
			}
			armed := make(chan error, 1)
			go func() {
				_, err := r.one.Arm(t.Context(), q)
				armed <- err
			}()
			r.waiters(1, func() bool { return false }) // it has passed the gates and waits for the budget
			var acknowledged atomic.Bool
			stopped := make(chan error, 1)
			go func() {
				err := stop(r)
				acknowledged.Store(true)
				stopped <- err
			}()
			r.waiters(2, acknowledged.Load)
			early := acknowledged.Load()
			if err := hold.Rollback(); err != nil {
				t.Fatal(err)
			}
			err = <-armed
			if err := <-stopped; err != nil {
				t.Fatal(err)
			}
			if early && err == nil {
				t.Error("it was armed after the stop was acknowledged")
			}
			_, q = r.ready()
			if _, err := r.one.Arm(t.Context(), q); err == nil {
				t.Error("another one was armed after the stop")
			}
		})
	}
}

// cutter stands between a node and the server, and can cut the line when a
// COMMIT comes by.
type cutter struct {
	to     string
	at     atomic.Pointer[string] // what is in the way of a cut before COMMIT
	cuts   atomic.Int64           // of those, how many
	before atomic.Int64           // COMMITs that do not arrive
	after  atomic.Int64           // COMMITs whose answer does not arrive
	met    atomic.Int64
	slow   atomic.Int64 // how long what the node sends is on its way
}

// through returns the address of a database by way of the cutter.
func (c *cutter) through(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	c.to = u.Host
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go c.carry(conn)
		}
	}()
	u.Host = l.Addr().String()
	return u.String()
}

func (c *cutter) carry(client net.Conn) {
	defer client.Close()
	server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", c.to)
	if err != nil {
		return
	}
	defer server.Close()
	var mute atomic.Bool
	answered := make(chan struct{}, 1)
	go func() {
		defer client.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if err != nil {
				return
			}
			if mute.Load() {
				answered <- struct{}{}
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if slow := c.slow.Load(); slow > 0 {
			<-time.After(time.Duration(slow))
		}
		if at := c.at.Load(); at != nil && bytes.Contains(buf[:n], []byte(*at)) && c.cuts.Add(-1) >= 0 {
			c.met.Add(1)
			return
		}
		commit := bytes.Contains(buf[:n], []byte("commit\x00"))
		if commit && c.before.Add(-1) >= 0 {
			c.met.Add(1)
			return
		}
		last := commit && c.after.Add(-1) >= 0
		if last {
			c.met.Add(1)
			mute.Store(true)
		}
		if _, err := io.Copy(server, bytes.NewReader(buf[:n])); err != nil {
			return
		}
		if last { // until the server has done it
			<-answered
			return
		}
	}
}

// A COMMIT whose answer is lost gives nobody the right to send, and the attempt
// it wrote down keeps everybody from sending.
func TestCommitAnswerLost(t *testing.T) {
	t.Parallel()
	r := newNodes(t)
	var c cutter
	s := onNode(t, c.through(t, r.url))
	d, q := r.ready()
	c.after.Store(1)
	if _, err := s.Arm(t.Context(), q); !errors.Is(err, store.ErrCommitUnknown) || social.CodeOf(err) == "" {
		t.Errorf("armed: %v", err)
	}
	if c.met.Load() != 1 {
		t.Fatalf("%d answers were lost", c.met.Load())
	}
	if got := r.Text(`SELECT state FROM attempt WHERE delivery_id = $1`, int64(d.ID)); got != "armed" {
		t.Errorf("the attempt is %q", got)
	}
	q.Attempt = r.ID()
	if _, err := s.Arm(t.Context(), q); err == nil {
		t.Error("it was armed a second time")
	}
	if err := s.Healthy(); err != nil {
		t.Errorf("a lost server is no broken disk: %v", err)
	}
}

// A connection that is lost before the COMMIT was sent changed nothing, and the
// change is made again, once.
func TestConnectionLost(t *testing.T) {
	t.Parallel()
	r := newNodes(t)
	var c cutter
	s := onNode(t, c.through(t, r.url))
	_, q := r.ready()
	c.before.Store(1)
	// Who sent the COMMIT cannot know that it did not arrive.
	if _, err := s.Arm(t.Context(), q); !errors.Is(err, store.ErrCommitUnknown) {
		t.Errorf("armed: %v", err)
	}
	if r.Text(`SELECT count(*) FROM attempt`) != "0" {
		t.Error("an attempt without a COMMIT")
	}
	if _, err := s.Arm(t.Context(), q); err != nil {
		t.Errorf("armed by a new connection: %v", err)
	}
}

// A line that is cut before COMMIT was sent costs nothing: the change is made
// again on another. One that is cut again and again is an error, of which it is
// known that nothing was changed.
func TestConnectionLostBeforeCommit(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"begin isolation level", "pg_advisory_xact_lock_shared", "INSERT INTO attempt"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			r := newNodes(t)
			var c cutter
			s := onNode(t, c.through(t, r.url))
			d, q := r.ready()
			c.at.Store(&at)
			c.cuts.Store(1000)
			if _, err := s.Arm(t.Context(), q); err == nil || errors.Is(err, store.ErrCommitUnknown) || social.CodeOf(err) != social.CodeUnavailable {
				t.Errorf("armed over a line that is always cut: %v", err)
			}
			if met := c.met.Load(); met < 2 {
				t.Errorf("it was cut %d times, want it tried again", met)
			}
			if got := r.Text(`SELECT count(*) FROM attempt`); got != "0" {
				t.Errorf("%s attempts without a COMMIT", got)
			}
			c.met.Store(0)
			c.cuts.Store(1)
			if _, err := s.Arm(t.Context(), q); err != nil || c.met.Load() != 1 {
				t.Errorf("armed: %v, after %d cuts; want it armed after one", err, c.met.Load())
			}
			if got := r.Text(`SELECT CAST(count(*) AS TEXT) || ' ' || max(state) FROM attempt WHERE delivery_id = $1`, int64(d.ID)); got != "1 armed" {
				t.Errorf("the attempts are %q", got)
			}
		})
	}
}

// Two nodes take one post of the network for two deliveries at the same moment:
// one has it, and the other is told so.
func TestNodesAdopt(t *testing.T) {
	t.Parallel()
	r := newNodes(t)
	a := r.Account(r.ws.ID)
	for round := range 20 {
		rec := connectors.Receipt{RemoteID: fmt.Sprintf("post %d", round), PublishedAt: due}
		var moves []scheduler.Move
		for range 2 {
			d := r.Delivery(r.Post(r.ws.ID, due), a)
			attempt := r.ID()
			r.Exec(`UPDATE delivery SET state = 'ambiguous', owner = 'n1', epoch = 1, ver = 1 WHERE id = $1`, int64(d.ID))
			r.Exec(`INSERT INTO attempt (id, delivery_id, account_id, step, n, class, epoch, node, armed_at, send_by, takeover_at, token_gen, req_hash, fp, state)
				VALUES ($1, $2, $3, 0, 1, 'unkeyed', 1, 'n1', 1, 1, 1, 1, 'h', $4, 'ambiguous')`, int64(attempt), int64(d.ID), int64(a.ID), d.ID.String())
			moves = append(moves, scheduler.Move{
				Delivery: d.ID, Epoch: 1, From: []social.DeliveryState{social.Ambiguous}, To: social.Published, Now: due, Step: 1, Release: true, Body: &rec,
				Attempt: &scheduler.AttemptChange{ID: attempt, State: scheduler.AttemptAdopted, Receipt: rec, DecidedBy: "listing"},
			})
		}
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for i, s := range []*store.Store{r.one, r.two} {
			wg.Go(func() { errs[i] = s.Move(t.Context(), moves[i]) })
		}
		wg.Wait()
		good, taken := 0, 0
		for _, err := range errs {
			switch {
			case err == nil:
				good++
			case errors.Is(err, scheduler.ErrRemoteTaken):
				taken++
			default:
				t.Errorf("adopting: %v", err)
			}
		}
		if good != 1 || taken != 1 {
			t.Fatalf("%d adopted it and %d were told that it is taken, want one each", good, taken)
		}
	}
}

// said rings when something is logged.
type said chan struct{}

func (s said) Write(b []byte) (int, error) {
	select {
	case s <- struct{}{}:
	default:
	}
	return len(b), nil
}

// A node waits for its turn for as long as it takes: the server would end a
// statement that waits, so none does.
func TestTurnsHaveNoEnd(t *testing.T) {
	t.Parallel()
	r := newNodes(t)
	waits := make(said, 1)
	s, err := store.Open(t.Context(), store.Options{URL: r.url, Connections: 2, Now: time.Now, Log: slog.New(slog.NewTextHandler(waits, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() }) //nolint:errcheck // nothing is read after
	done := make(chan error, 1)
	if err := r.one.Alone(t.Context(), "work", func(ctx context.Context) error {
		go func() {
			done <- s.Alone(context.WithoutCancel(ctx), "work", func(context.Context) error { return nil })
		}()
		for waiting := 0; ; {
			if err := r.two.WriterDB().QueryRowContext(ctx, `SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
				WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted`).Scan(&waiting); err != nil || waiting > 0 {
				return fmt.Errorf("%d statements wait for a turn (%w)", waiting, err)
			}
			select {
			case <-waits:
				return nil
			default:
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("the turn of the second node: %v", err)
	}
	// And it ends with who waits.
	ctx, cancel := context.WithCancel(t.Context())
	if err := r.one.Alone(t.Context(), "work", func(context.Context) error {
		cancel()
		err := s.Alone(ctx, "work", func(context.Context) error { return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("waiting for a turn that was given up: %v", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// A node's time is never ahead of the server's, however long its questions are on
// their way: nothing goes out before its second.
func TestTimeIsNeverAhead(t *testing.T) {
	t.Parallel()
	var c cutter
	c.slow.Store(int64(30 * time.Millisecond))
	s, err := store.Open(t.Context(), store.Options{URL: c.through(t, filled(t)), Connections: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })                    //nolint:errcheck // nothing is read after
	if at, now := s.Now(), time.Now(); at.After(now) { // the server has the clock of this machine
		t.Errorf("the node's time is %s ahead of the server's", at.Sub(now))
	}
}

// The server is told to look often whether a node is still there: else it would
// keep the locks of one whose cable was out for two hours.
func TestServerLooksForNodes(t *testing.T) {
	t.Parallel()
	s := onNode(t, filled(t))
	var idle, timeout string
	if err := s.WriterDB().QueryRowContext(t.Context(), `SELECT current_setting('tcp_keepalives_idle'), current_setting('tcp_user_timeout')`).Scan(&idle, &timeout); err != nil {
		t.Fatal(err)
	}
	if idle != "5" || timeout != "10000" {
		t.Errorf("the server looks after %s s and gives up after %s ms, want 5 s and 10000 ms", idle, timeout)
	}
}

// While the server is away nothing is acknowledged; when it is back, the same
// store goes on.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	s := onNode(t, server.Database(t))
	if err := s.SetMeta(t.Context(), "k", "before"); err != nil {
		t.Fatal(err)
	}
	server.KillPostmaster(t)
	if err := s.SetMeta(t.Context(), "k", "while"); social.CodeOf(err) != social.CodeUnavailable {
		t.Errorf("a write without a server: %v", err)
	}
	server.Restart(t)
	if got, err := s.Meta(t.Context(), "k"); err != nil || got != "before" {
		t.Errorf("after the restart %q, %v", got, err)
	}
	if err := s.SetMeta(t.Context(), "k", "after"); err != nil || s.Healthy() != nil {
		t.Errorf("a write after the restart: %v, %v", err, s.Healthy())
	}
}
