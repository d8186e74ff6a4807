package credentials

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"smi/connectors"
	"smi/internal/keyring"
	"smi/internal/social"
)

// Config is what a Service needs. Only Now, Log and Secrets may be left out.
type Config struct {
	Store    Store
	Keyring  *keyring.Keyring
	Instance string // id of the installation, bound into everything sealed
	Node     string // name of this process among those that share the store
	Now      func() time.Time
	Log      *slog.Logger
	// Frozen says that this may be a copy of the live instance, whose login a
	// renewal could end: most networks change the refresh token sooner or later.
	// While it does, tokens are used to their end and not renewed. nil: never.
	Frozen func(context.Context) (bool, error)
	// Secrets is told every secret value that was opened or got, so that it can be
	// removed from whatever is logged.
	Secrets func(value string)
}

// Service keeps and lends grants. It is safe for concurrent use, and printing
// it shows no secret.
type Service struct {
	c Config

	mu      sync.Mutex
	closed  bool
	flights map[social.ID]*flight
	unsaved map[social.ID]*unsaved
	renewed map[social.ID][]time.Time // forced refreshes of the last minutes
	stop    chan struct{}
	wg      sync.WaitGroup
}

// New returns a Service. Call Recover before anything else, and Close at the
// end.
func New(c Config) (*Service, error) {
	if c.Store == nil || c.Keyring == nil || c.Instance == "" || c.Node == "" {
		return nil, errors.New("credentials need a store, a keyring, the id of the instance and the name of the node")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{
		c: c, flights: map[social.ID]*flight{}, unsaved: map[social.ID]*unsaved{}, renewed: map[social.ID][]time.Time{},
		stop: make(chan struct{}),
	}, nil
}

func (s *Service) now() time.Time { return s.c.Now() }

// Format hides everything from fmt, which would print the fields.
func (s *Service) Format(f fmt.State, _ rune) { fmt.Fprint(f, "credentials of ", s.c.Node) }

// Connect stores the grant of a login as the account's next generation and
// marks the account connected. It is durable when Connect returns nil. That the
// login belongs to this account was checked by the caller.
func (s *Service) Connect(ctx context.Context, account social.ID, g connectors.Grant) error {
	if g.Access.Empty() {
		return social.Errorf(social.CodeRemote, "", "the network gave no access token; try the login again")
	}
	s.register(g)
	for range 5 {
		old, err := s.c.Store.GrantRow(ctx, account)
		if err != nil && !errors.Is(err, ErrNoGrant) {
			return fmt.Errorf("reading the login of account %s: %w", account, err)
		}
		g.Gen = old.Gen + 1
		row, err := s.seal(account, g)
		if err != nil {
			return err
		}
		v := Save{Row: row, Now: s.now(), Login: true}
		if spent(g, v.Now) {
			v.Ends = g.Expires
		}
		err = s.c.Store.SaveGrant(ctx, v)
		if err == nil {
			s.forget(account)
			return nil
		}
		if !errors.Is(err, ErrStale) {
			return fmt.Errorf("storing the login of account %s: %w", account, err)
		}
	}
	return social.Errorf(social.CodeConflict, "account", "the account was removed, or its login is being changed by somebody else; try again")
}

// Remove destroys the secrets of an account: they are overwritten and gone when
// it returns nil. The rows stay. Revoking the grant at the network is done
// before, by the caller.
func (s *Service) Remove(ctx context.Context, account social.ID) error {
	if err := s.c.Store.DestroyGrant(ctx, account, s.now()); err != nil {
		return fmt.Errorf("destroying the login of account %s: %w", account, err)
	}
	s.forget(account)
	return nil
}

// forget drops what is kept in memory of an account.
func (s *Service) forget(account social.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.unsaved, account)
	delete(s.renewed, account)
}

// For lends the grant of an account. by renews it; nil if the network cannot.
func (s *Service) For(account social.ID, by connectors.Refresher) connectors.Credentials {
	return &lent{s: s, account: account, by: by}
}

type lent struct {
	s       *Service
	account social.ID
	by      connectors.Refresher
}

// Format hides the service and the connector from fmt.
func (l *lent) Format(f fmt.State, _ rune) {
	fmt.Fprint(f, "credentials of account ", l.account.String())
}

// Grant implements connectors.Credentials.
func (l *lent) Grant(ctx context.Context) (connectors.Grant, error) {
	return l.s.lend(ctx, l.account, l.by)
}

// Renew implements connectors.Credentials.
func (l *lent) Renew(ctx context.Context, gen int64) (connectors.Grant, error) {
	return l.s.renew(ctx, l.account, l.by, gen)
}

// Due lists the accounts whose grants want attention now: a refresh is due, the
// second question after a refusal, or a refresh whose node is gone. A periodic
// job calls it each minute and gives each account to Refresh.
func (s *Service) Due(ctx context.Context) ([]social.ID, error) {
	now := s.now()
	if err := s.c.Store.SweepGrants(ctx, now); err != nil {
		return nil, fmt.Errorf("forgetting old logins: %w", err)
	}
	if s.frozen(ctx, Row{}) != nil {
		return nil, nil
	}
	ids, err := s.c.Store.GrantsDue(ctx, now, 1000)
	if err != nil {
		return nil, fmt.Errorf("listing logins to refresh: %w", err)
	}
	return ids, nil
}

// Refresh does what is due for an account, and nothing if nothing is. An error
// has the kind AuthExpired if a person must log in again, Transient if a later
// call will try again by itself; people were told where they must know.
func (s *Service) Refresh(ctx context.Context, account social.ID, by connectors.Refresher) error {
	_, err := s.fly(ctx, account, by, want{}, callTime+waitTime)
	return err
}

// Ensure refreshes a grant that will not outlive until, if it can be refreshed
// now without risk. It is for what is planned; see Refresh for errors.
func (s *Service) Ensure(ctx context.Context, account social.ID, by connectors.Refresher, until time.Time) error {
	_, err := s.fly(ctx, account, by, want{until: until}, callTime+waitTime)
	return err
}

// Recover is called once at start, before anything is lent: refreshes that were
// under way when this node ended have an unknown outcome. alone means that no
// other node can be running. It returns how many there were.
func (s *Service) Recover(ctx context.Context, alone bool) (int, error) {
	node := s.c.Node
	if alone {
		node = ""
	}
	rows, err := s.c.Store.RefreshingGrants(ctx, node)
	if err != nil {
		return 0, fmt.Errorf("listing interrupted refreshes: %w", err)
	}
	for _, r := range rows {
		if err := s.interrupted(ctx, r); err != nil && !errors.Is(err, ErrStale) {
			return 0, fmt.Errorf("noting an interrupted refresh: %w", err)
		}
	}
	return len(rows), nil
}

// Close waits for refreshes under way and tries once more to store what could
// not be stored. If ctx ends before, or a grant stays unsaved, its error says so.
func (s *Service) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.stop)
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("waiting for refreshes under way: %w", ctx.Err())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.unsaved); n > 0 {
		return fmt.Errorf("%d renewed logins could not be stored; their accounts may have to be connected again", n)
	}
	return nil
}

// lend returns the current grant, refreshed first if that is due. It waits no
// longer than it must while the old one is good.
func (s *Service) lend(ctx context.Context, account social.ID, by connectors.Refresher) (connectors.Grant, error) {
	row, err := s.c.Store.GrantRow(ctx, account)
	now := s.now()
	if u := s.held(account); u != nil && (err != nil || u.grant.Gen > row.Gen) && row.State != Removed {
		if usable(u.row, now) {
			return u.grant, nil
		}
		return connectors.Grant{}, errUnsaved(u.row)
	}
	if err != nil {
		return connectors.Grant{}, readError(account, err)
	}
	if err := dead(row); err != nil {
		return connectors.Grant{}, err
	}
	g, err := s.open(row)
	if err != nil || by == nil || spent(g, now) {
		return g, err // where nothing can be renewed, the network's word decides
	}
	_, err = connectors.ShotFrom(ctx)
	committing := err == nil // a commit is on its way: it must be neither late nor of another generation
	ok := usable(row, now)
	switch {
	case ok && !due(row, now),
		ok && row.State == Refreshing && now.Before(row.LeaseUntil),
		ok && committing:
		return g, nil
	case !ok:
		return s.fly(ctx, account, by, want{}, waitTime)
	}
	fresh, err := s.fly(ctx, account, by, want{}, waitValid)
	if err == nil || connectors.KindOf(err) == connectors.AuthExpired {
		return fresh, err
	}
	return g, nil // it is good for a while, and the refresh will be tried again
}

// The most refreshes that refused calls may cause for one account. A network
// that refuses what it has just issued would be asked without end otherwise.
const (
	maxRenewals = 5
	renewalSpan = 10 * time.Minute
)

// renew returns a grant newer than gen, which the network refused.
func (s *Service) renew(ctx context.Context, account social.ID, by connectors.Refresher, gen int64) (connectors.Grant, error) {
	for range 3 { // a flight that was joined may have begun for another reason
		g, err := s.fly(ctx, account, by, want{refused: gen}, waitTime)
		if err != nil || g.Gen > gen {
			return g, err
		}
	}
	return connectors.Grant{}, busy(account)
}

// mayRenew counts a forced refresh, unless there were too many.
func (s *Service) mayRenew(account social.ID) bool {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var recent []time.Time
	for _, at := range s.renewed[account] {
		if now.Sub(at) < renewalSpan {
			recent = append(recent, at)
		}
	}
	ok := len(recent) < maxRenewals
	if ok {
		recent = append(recent, now)
	}
	s.renewed[account] = recent
	return ok
}

// due says whether a row wants attention.
func due(r Row, now time.Time) bool { return !r.NextAt.IsZero() && !now.Before(r.NextAt) }

// dead returns the error for a grant that can only be replaced by a person.
func dead(r Row) error {
	switch r.State {
	case Removed:
		return &connectors.Error{Kind: connectors.AuthExpired, Op: "login", Text: name(r) + " was disconnected; connect it again to use it"}
	case NeedsReconnect:
		return &connectors.Error{Kind: connectors.AuthExpired, Op: "login", Text: name(r) + " must be connected again: " + r.LastError}
	case Connected, Refreshing, RefreshUnknown:
	}
	return nil
}

func readError(account social.ID, err error) error {
	if errors.Is(err, ErrNoGrant) {
		return &connectors.Error{Kind: connectors.AuthExpired, Op: "login", Text: "account " + account.String() + " was never logged in; connect it"}
	}
	return &connectors.Error{Kind: connectors.Transient, Op: "login", Text: "the stored login could not be read", Err: err}
}

// frozen returns an error while logins may not be renewed. What cannot be known
// is not risked.
func (s *Service) frozen(ctx context.Context, r Row) error {
	if s.c.Frozen == nil {
		return nil
	}
	on, err := s.c.Frozen(ctx)
	if err == nil && !on {
		return nil
	}
	return &connectors.Error{
		Kind: connectors.Transient, Op: "refresh", RetryAfter: 10 * time.Minute, Err: errors.Join(connectors.ErrFrozen, err),
		Text: "the login of " + name(r) + " is not renewed, because this may be a copy of the live smi; run smi adopt if it is the one to publish",
	}
}

func busy(account social.ID) error {
	return &connectors.Error{
		Kind: connectors.Transient, Op: "refresh", RetryAfter: waitTime,
		Text: "the login of account " + account.String() + " is still being renewed",
	}
}

func errUnsaved(r Row) error {
	return &connectors.Error{
		Kind: connectors.Transient, Op: "refresh", RetryAfter: time.Minute,
		Text: "the renewed login of " + name(r) + " cannot be stored, so it is not renewed again; see to the disk",
	}
}
