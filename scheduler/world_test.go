package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/fake"
	"smi/internal/social"
	"smi/scheduler"
	"smi/store"
	"smi/store/storetest"
)

// world is everything around a scheduler in a test: a real SQLite store, the
// network in memory, and a clock that only moves when everybody waits (the test
// runs in a synctest bubble).
type world struct {
	t     *testing.T
	db    *store.Store
	seeds *storetest.Seeds
	net   *fake.Network
	ws    social.Workspace
	ids   social.IDs
	log   *slog.Logger

	mu     sync.Mutex
	creds  map[string]*fake.Credentials
	events []scheduler.Event
	runs   []*run
}

// now is the bubble's time moved into the life of smi: bubbles begin in 2000.
func now() time.Time { return time.Now().AddDate(26, 10, 0).UTC() }

func newWorld(t *testing.T, o fake.Options) *world {
	t.Helper()
	o.Now = now
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "smi.db"), Now: now, BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, db: db, seeds: storetest.Seed(t, db), net: fake.New(o), creds: map[string]*fake.Credentials{}, log: slog.New(slog.DiscardHandler)}
	if testing.Verbose() {
		w.log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.String("t", now().Format("02 15:04:05.000"))
			}
			return a
		}}))
	}
	w.ws = w.seeds.Workspace()
	return w
}

// close ends what still runs and closes the store.
func (w *world) close() {
	w.t.Helper()
	for _, r := range w.runs {
		r.kill()
		r.end()
	}
	if err := w.db.Close(); err != nil {
		w.t.Error(err)
	}
}

// account adds a connected account.
func (w *world) account() social.Account {
	a := w.seeds.Account(w.ws.ID)
	w.net.AddAccount(a.RemoteID, "owner of "+a.RemoteID)
	w.creds[a.RemoteID] = w.net.Account(a.RemoteID).Credentials()
	return a
}

// plan adds a post with one delivery per account.
func (w *world) plan(at time.Time, parts []social.Part, accounts ...social.Account) []social.ID {
	p := w.seeds.Post(w.ws.ID, at, parts...)
	var ids []social.ID
	for _, a := range accounts {
		d := w.seeds.Delivery(p, a)
		w.seeds.Exec(`UPDATE delivery SET next_at = $1 WHERE id = $2`, scheduler.FirstLook(at, 15*time.Minute).UnixMilli(), int64(d.ID))
		ids = append(ids, d.ID)
	}
	return ids
}

func text(s string) []social.Part { return []social.Part{{Role: social.RoleBody, Text: s}} }

func thread(s string, items int) []social.Part {
	parts := text(s)
	for i := range items {
		parts = append(parts, social.Part{Role: social.RoleThread, Text: fmt.Sprintf("%s, item %d", s, i+1)})
	}
	return parts
}

// run is one life of the process: from its start to its end, by the book or by
// kill.
type run struct {
	s      *scheduler.Scheduler
	ledger *mortal
	cancel context.CancelFunc
	done   chan struct{}
}

// start starts the daemon's scheduler.
func (w *world) start(change ...func(*scheduler.Config)) *run {
	w.t.Helper()
	r := &run{ledger: newMortal(w.db), done: make(chan struct{})}
	cfg := scheduler.Config{
		Ledger: r.ledger, IDs: &w.ids, Node: "node-1", Alone: true, Now: now, Log: w.log, Media: fake.Files{},
		Clients: func(_ context.Context, a social.Account) (*connectors.Client, error) {
			return connectors.Open(w.net, a, w.creds[a.RemoteID])
		},
		Observe: func(e scheduler.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
		},
	}
	for _, c := range change {
		c(&cfg)
	}
	r.s = scheduler.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() {
		defer close(r.done)
		if err := r.s.Run(ctx); err != nil && !errors.Is(err, scheduler.ErrStale) {
			w.t.Errorf("the scheduler ended: %v", err)
		}
	}()
	w.runs = append(w.runs, r)
	return r
}

// kill ends the process as kill -9 would: nothing it does from now on reaches
// the ledger. What is on the wire stays there.
func (r *run) kill() { r.ledger.kill() }

// end stops the process by the book and waits for it.
func (r *run) end() {
	r.cancel()
	<-r.done
}

// mortal is a ledger whose process can be killed: at once, or right before or
// right after the n-th write.
type mortal struct {
	scheduler.Ledger
	mu     sync.Mutex
	dead   chan struct{}
	writes int
	at     int  // die at this write; 0: never
	after  bool // die after it was made, before it returns
	killed bool
}

func newMortal(l scheduler.Ledger) *mortal { return &mortal{Ledger: l, dead: make(chan struct{})} }

func (m *mortal) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.killed {
		m.killed = true
		close(m.dead)
	}
}

// around counts a write and runs it unless the process is dead. A dead process
// gets ErrStale: it cannot do anything with it that reaches anybody.
func (m *mortal) around(do func() error) error {
	m.mu.Lock()
	m.writes++
	hit := m.at != 0 && m.writes == m.at
	m.mu.Unlock()
	if hit && !m.after {
		m.kill()
	}
	select {
	case <-m.dead:
		return scheduler.ErrStale
	default:
	}
	err := do()
	if hit && m.after {
		m.kill()
		return scheduler.ErrStale
	}
	return err
}

func (m *mortal) alive() bool {
	select {
	case <-m.dead:
		return false
	default:
		return true
	}
}

func (m *mortal) Claim(ctx context.Context, r scheduler.ClaimRequest) ([]scheduler.Work, error) {
	if !m.alive() {
		return nil, nil
	}
	works, err := m.Ledger.Claim(ctx, r)
	if err != nil || len(works) == 0 {
		return works, err // an empty claim is no write
	}
	if m.around(func() error { return nil }) != nil {
		return nil, nil
	}
	return works, nil
}

func (m *mortal) Arm(ctx context.Context, r scheduler.ArmRequest) (a scheduler.Attempt, err error) {
	err = m.around(func() error { a, err = m.Ledger.Arm(ctx, r); return err })
	return a, err
}

func (m *mortal) Move(ctx context.Context, v scheduler.Move) error {
	return m.around(func() error { return m.Ledger.Move(ctx, v) })
}

func (m *mortal) Save(ctx context.Context, d social.ID, epoch int64, c scheduler.Checkpoint) error {
	return m.around(func() error { return m.Ledger.Save(ctx, d, epoch, c) })
}

func (m *mortal) Renew(ctx context.Context, node string, until time.Time) error {
	if !m.alive() {
		return nil
	}
	return m.Ledger.Renew(ctx, node, until)
}

// state returns a delivery's state and reason.
func (w *world) state(id social.ID) (social.DeliveryState, string) {
	s := w.seeds.Text(`SELECT state FROM delivery WHERE id = $1`, int64(id))
	return social.DeliveryState(s), w.seeds.Text(`SELECT reason FROM delivery WHERE id = $1`, int64(id))
}

// want fails the test if a delivery is not in a state.
func (w *world) want(id social.ID, s social.DeliveryState) {
	w.t.Helper()
	if got, reason := w.state(id); got != s {
		w.t.Errorf("the delivery is %s (%s), want %s", got, reason, s)
	}
}

// effects counts what became visible of each step of a delivery.
func (w *world) effects(id social.ID) map[int]int {
	out := map[int]int{}
	for _, p := range w.net.Journal() {
		if p.Delivery == id {
			out[p.Step]++
		}
	}
	return out
}

// oracle compares what smi says with what is true on the network.
func (w *world) oracle(ids ...social.ID) {
	w.t.Helper()
	for _, id := range ids {
		state, reason := w.state(id)
		effects := w.effects(id)
		for step, n := range effects {
			if n > 1 {
				w.t.Errorf("DUPLICATE: step %d of %s is %d times on the network (%s: %s)", step, id, n, state, reason)
			}
		}
		switch state {
		case social.Published:
			done, parts := w.count(`SELECT step FROM delivery WHERE id = $1`, id), w.count(`SELECT json_array_length(parts) FROM delivery WHERE id = $1`, id)
			if len(effects) != done || done != parts && reason == "" {
				w.t.Errorf("FALSE: published (%s) with %d of %d parts, %d are on the network", reason, done, parts, len(effects))
			}
		case social.Failed, social.Cancelled, social.Skipped, social.HeldLate:
			if len(effects) != 0 {
				w.t.Errorf("FALSE: %s (%s), but %d parts are on the network", state, reason, len(effects))
			}
		}
		if !state.Resting() {
			w.t.Errorf("LOST: still %s (%s)", state, reason)
		}
		if state != social.Published && state != social.Cancelled {
			if w.seeds.Text(`SELECT count(*) FROM outbox WHERE delivery_id = $1`, int64(id)) == "0" {
				w.t.Errorf("SILENT: %s (%s), and nobody was told", state, reason)
			}
		}
	}
}

func (w *world) count(query string, id social.ID) int {
	w.t.Helper()
	n, err := strconv.Atoi(w.seeds.Text(query, int64(id)))
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// rest lets time go by until all these deliveries rest, at most for a while, and
// then some more, in which nothing may happen any more.
func (w *world) rest(most time.Duration, ids ...social.ID) {
	for end := now().Add(most); now().Before(end); pass(20 * time.Second) {
		busy := false
		for _, id := range ids {
			s, _ := w.state(id)
			busy = busy || !s.Resting()
		}
		if !busy {
			break
		}
	}
	pass(5 * time.Minute)
}

// pass lets time go by in the bubble.
func pass(d time.Duration) { <-time.After(d) }
