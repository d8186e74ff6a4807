package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"smi/connectors"
	"smi/internal/social"
)

// Config is what a Scheduler needs. Ledger, Clients, Media, Node and IDs are
// required; the rest has defaults.
type Config struct {
	Ledger  Ledger
	Clients func(context.Context, social.Account) (*connectors.Client, error)
	Media   connectors.MediaSource
	IDs     *social.IDs
	Node    string // name of this process among those that share the ledger
	// Alone says that no other process can use the ledger (a lock file says so).
	Alone bool
	// Now is the wall clock, Boot a clock that neither jumps nor stops while the
	// machine sleeps (see internal/clock).
	Now  func() time.Time
	Boot func() time.Time
	Log  *slog.Logger
	// Observe is told of every change of a delivery that this node made. It must
	// not block.
	Observe func(Event)

	Workers      int           // deliveries being published at a time; 512
	StageWorkers int           // deliveries being prepared for later at a time; 32
	PerAccount   int           // deliveries of one account held at a time; 16
	Lease        time.Duration // 15 s
	Rules        Rules
	BacklogGap   time.Duration // between posts of one account that were missed while smi was away; 60 s
}

// Rules are what may be changed while a scheduler runs. A Config without any has
// defaultRules; a field that is zero among others means zero.
type Rules struct {
	DialAhead time.Duration
	Grace     time.Duration // how late a post may be without asking
	HoldUntil time.Duration // how late it may be and still be asked about
	MinGap    time.Duration // between posts of one account, where the platform asks for less
}

var defaultRules = Rules{DialAhead: 2 * time.Second, Grace: 15 * time.Minute, HoldUntil: 24 * time.Hour}

// SetRules puts other rules in force, for everything that is looked at from now
// on.
func (s *Scheduler) SetRules(r Rules) { s.rules.Store(&r) }

// Event is a change of a delivery, for the log, the metrics and the browser.
type Event struct {
	Delivery  social.ID
	Account   social.ID
	Network   social.Network
	Step      int
	From      social.DeliveryState
	State     social.DeliveryState
	Attempt   AttemptState // what became known of the attempt; "" if nothing new did
	Planned   time.Time
	FirstByte time.Time // of the commit that led here; zero if none
	URL       string
	Reason    string
}

// Scheduler publishes due deliveries. Make it with New, run it with Run.
type Scheduler struct {
	cfg     Config
	rules   atomic.Pointer[Rules]
	wake    chan struct{}
	started time.Time

	mu      sync.Mutex
	lanes   map[laneKey]*lane
	busy    map[pool]int
	last    map[social.ID]time.Time // last commit on an account
	renewed time.Time               // last time the leases were certainly ours, by Boot
	// renewals are the last logins that were renewed because they were refused.
	renewals map[social.ID]renewal
	// listings are what accounts have posted since the beginning of a gap.
	listings map[social.ID]listing

	work sync.WaitGroup
}

// pool is what a claim takes a place of.
type pool int

const (
	publishing pool = iota
	staging
	looking // for what may have been published in a gap
)

// request is what a pool claims. What nobody prepared in time goes out like what
// is ready: uploads for later, which may hang, must not hold it up. Of these no
// account gets more than a few places, since its lane does one at a time.
func (s *Scheduler) request(p pool, free int) ClaimRequest {
	const stagePerAccount = 4
	now := s.cfg.Now()
	r := ClaimRequest{Node: s.cfg.Node, Now: now, Lease: s.cfg.Lease, Limit: free, PerAccount: s.cfg.PerAccount}
	if p == looking {
		r.Gap = true
		return r
	}
	if p == staging {
		r.States, r.PerAccount = []social.DeliveryState{social.Scheduled, social.Claimed}, min(s.cfg.PerAccount, stagePerAccount)
	} else {
		r.PlannedBy = now.Add(2 * s.rules.Load().DialAhead)
	}
	return r
}

// laneKey names a lane. Uploads for later and questions about the past run
// beside the lane in which an account's posts go out in order.
type laneKey struct {
	account social.ID
	kind    string // "publish", "stage", "look", "gap"
}

type lane struct {
	queue   []job
	running bool
}

type job struct {
	work Work
	pool pool
}

// New returns a scheduler. It does nothing until Run.
func New(cfg Config) *Scheduler {
	cfg.Now = orElse(cfg.Now, time.Now)
	cfg.Boot = orElse(cfg.Boot, cfg.Now)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Observe == nil {
		cfg.Observe = func(Event) {}
	}
	cfg.Workers = cmp.Or(cfg.Workers, 512)
	cfg.StageWorkers = cmp.Or(cfg.StageWorkers, 32)
	cfg.PerAccount = cmp.Or(cfg.PerAccount, 16)
	cfg.Lease = cmp.Or(cfg.Lease, 15*time.Second)
	cfg.BacklogGap = cmp.Or(cfg.BacklogGap, time.Minute)
	s := &Scheduler{
		cfg:   cfg,
		wake:  make(chan struct{}, 1),
		lanes: map[laneKey]*lane{},
		busy:  map[pool]int{},
		last:  map[social.ID]time.Time{},

		renewals: map[social.ID]renewal{},
		listings: map[social.ID]listing{},
	}
	s.SetRules(cmp.Or(cfg.Rules, defaultRules))
	return s
}

func orElse(f, other func() time.Time) func() time.Time {
	if f == nil {
		return other
	}
	return f
}

// FirstLook returns when a delivery planned at a time should first be looked
// at: its NextAt when it is created or planned anew.
func FirstLook(planned time.Time, stageAhead time.Duration) time.Time {
	return planned.Add(-min(stageAhead, 15*time.Minute))
}

// Wake makes the dispatcher look at the due index now: something was planned,
// changed or resumed. It never blocks.
func (s *Scheduler) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Busy returns how many deliveries this node holds.
func (s *Scheduler) Busy() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busy[publishing] + s.busy[staging] + s.busy[looking]
}

// Run publishes until ctx ends. Then it claims nothing more, gives back what is
// not on the wire, waits for what is, and returns.
func (s *Scheduler) Run(ctx context.Context) error {
	s.started = s.cfg.Now()
	n, err := s.cfg.Ledger.Recover(ctx, s.cfg.Node, s.cfg.Alone, s.started)
	if err != nil {
		return fmt.Errorf("taking up what the last run left: %w", err)
	}
	if n > 0 {
		s.cfg.Log.Warn("posts were on the wire when smi stopped; looking for them on the networks", "count", n)
	}
	s.renewed = s.cfg.Boot()
	stop := make(chan struct{})
	renewals := make(chan struct{})
	go func() {
		defer close(renewals)
		s.renewLeases(stop)
	}()
	for ctx.Err() == nil {
		wait := s.dispatch(ctx)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	s.work.Wait() // leases are renewed until the last commit is recorded
	close(stop)
	<-renewals
	return nil
}

// dispatch claims what is due and starts it, and returns how long nothing more
// is due. While nothing is due it only reads.
func (s *Scheduler) dispatch(ctx context.Context) time.Duration {
	longest, failed := 30*time.Second, time.Second // wall clocks are set, notifications get lost
	if !s.cfg.Alone {
		longest = s.cfg.Lease / 3 // another node may have claimed something since, and gone
	}
	next, err := s.cfg.Ledger.NextDue(ctx)
	switch {
	case err != nil:
		if ctx.Err() == nil {
			s.cfg.Log.Error("reading the due index failed; trying again", "err", err)
		}
		return failed
	case next.IsZero():
		return longest
	}
	if wait := next.Sub(s.cfg.Now()); wait > 0 {
		return min(wait, longest)
	}
	claimed := false
	for _, p := range []pool{looking, publishing, staging} {
		free := min(s.free(p), 256)
		if free <= 0 {
			continue // a place that becomes free wakes us
		}
		works, err := s.cfg.Ledger.Claim(ctx, s.request(p, free))
		if err != nil {
			if ctx.Err() == nil {
				s.cfg.Log.Error("claiming due posts failed; trying again", "err", err)
			}
			return failed
		}
		for _, w := range works {
			s.start(ctx, job{w, p})
		}
		claimed = claimed || len(works) > 0
	}
	if claimed {
		return 0
	}
	// What is due but cannot be claimed (a full lane, another node's account) wakes
	// us when that changes; the pause keeps us from spinning meanwhile.
	return 200 * time.Millisecond
}

func (s *Scheduler) free(p pool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p != publishing {
		return s.cfg.StageWorkers - s.busy[p]
	}
	return s.cfg.Workers - s.busy[publishing]
}

// start puts claimed work into its lane.
func (s *Scheduler) start(ctx context.Context, j job) {
	key := laneKey{j.work.Delivery.AccountID, "publish"}
	switch {
	case j.work.Gap != nil:
		key.kind = "gap"
	case j.work.Delivery.State == social.Ambiguous || j.work.Delivery.State == social.Armed:
		key = laneKey{j.work.Delivery.ID, "look"}
	case j.pool == staging && j.work.Delivery.PlannedAt.After(s.cfg.Now().Add(2*s.rules.Load().DialAhead)):
		key.kind = "stage"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy[j.pool]++
	l := s.lanes[key]
	if l == nil {
		l = &lane{}
		s.lanes[key] = l
	}
	at, _ := slices.BinarySearchFunc(l.queue, j, func(a, b job) int { return inOrder(a.work.Delivery, b.work.Delivery) })
	l.queue = slices.Insert(l.queue, at, j)
	if !l.running {
		l.running = true
		s.work.Add(1)
		go s.drive(ctx, key, l)
	}
}

// inOrder is the order in which an account's posts go out.
func inOrder(a, b social.Delivery) int {
	return cmp.Or(a.PlannedAt.Compare(b.PlannedAt), cmp.Compare(a.ID, b.ID))
}

// drive works off one lane and ends when it is empty.
func (s *Scheduler) drive(ctx context.Context, key laneKey, l *lane) {
	defer s.work.Done()
	for {
		s.mu.Lock()
		if len(l.queue) == 0 {
			l.running = false
			delete(s.lanes, key)
			s.mu.Unlock()
			return
		}
		j := l.queue[0]
		l.queue = l.queue[1:]
		s.mu.Unlock()

		t := &task{Scheduler: s, Work: j.work, pool: j.pool, log: s.cfg.Log.With(
			"delivery", j.work.Delivery.ID, "account", j.work.Account.Handle, "network", j.work.Account.Network)}
		t.run(ctx)

		s.mu.Lock()
		s.busy[t.pool]--
		s.mu.Unlock()
		s.Wake()
	}
}

// renewLeases keeps this node's claims alive until stop closes.
func (s *Scheduler) renewLeases(stop <-chan struct{}) {
	tick := time.NewTicker(s.cfg.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		if s.Busy() == 0 {
			s.markRenewed(s.cfg.Boot())
			continue
		}
		asked := s.cfg.Boot()
		ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Lease/3)
		err := s.cfg.Ledger.Renew(ctx, s.cfg.Node, s.cfg.Now().Add(s.cfg.Lease))
		cancel()
		if err != nil {
			s.cfg.Log.Error("renewing the claims failed; nothing new is sent until it works", "err", err)
			continue
		}
		s.markRenewed(asked)
	}
}

func (s *Scheduler) markRenewed(at time.Time) {
	s.mu.Lock()
	s.renewed = at
	s.mu.Unlock()
}

// holds says whether this node may still trust its claims. Arming checks the
// epoch anyway; this stops a node that lost its database from trying.
func (s *Scheduler) holds() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg.Boot().Sub(s.renewed) < s.cfg.Lease*2/3
}

// pause waits for d or until ctx ends, and says whether the time passed.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// isStale says that somebody else has the delivery now.
func isStale(err error) bool { return errors.Is(err, ErrStale) }
