package simulate

import (
	"context"
	"errors"
	"time"

	"smi/connectors"
	"smi/internal/credentials"
	"smi/internal/social"
	"smi/scheduler"
	"smi/store"
)

var (
	errGone = errors.New("the process is dead")
	errLost = errors.New("the database's answer was lost")
)

// ledger is the store as a node sees it: the node can be killed before and after
// each change, an answer may get lost, and the database may stand still.
type ledger struct {
	*store.Store
	n *node
}

var _ scheduler.Ledger = (*ledger)(nil)

// change makes one change between two points. A dead node gets what it can do
// nothing with.
func (g *ledger) change(ctx context.Context, before, after point, key string, fn func() error) error {
	n, r := g.n, g.n.l.m.r
	if err := r.stand(ctx, n, key); err != nil {
		return err
	}
	cut := func() {}
	if before != "" {
		cut = r.pass(before, n)
	}
	if n.isDead() {
		return scheduler.ErrStale
	}
	err := fn()
	cut()
	if n.isDead() {
		return scheduler.ErrStale
	}
	if err == nil && r.age() < r.calm && r.lossRate > 0 && r.dice.chance(r.lossRate, "loss", key, int64(r.age())) {
		r.sometimes("the database's answer was lost")
		return errLost
	}
	if after != "" {
		r.pass(after, n)
	}
	if n.isDead() {
		return scheduler.ErrStale
	}
	return err
}

// stand waits while the node's database stands still. Each answer takes a moment
// of its own, so that the order of what happens together is the story's and not
// that of goroutines.
func (r *run) stand(ctx context.Context, n *node, key string) error {
	if err := r.still(ctx, n); err != nil {
		return err
	}
	// By the time and not by a number: how often something is asked at one instant
	// is up to goroutines.
	<-time.After(r.dice.between(50*time.Microsecond, 3*time.Millisecond, "lag", n.l.n, n.i, key, int64(r.age())))
	if n.isDead() {
		return scheduler.ErrStale
	}
	return nil
}

// still is stand without the moment.
func (r *run) still(ctx context.Context, n *node) error {
	for _, s := range r.stalls {
		if wait := s.to - r.age(); s.node == n.i && r.age() >= s.from && wait > 0 {
			r.sometimes("the database stood still")
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return ctx.Err()
			case <-n.dead:
			}
		}
	}
	if n.isDead() {
		return scheduler.ErrStale
	}
	return nil
}

// NextDue takes no time: what wakes the scheduler twice at one instant makes it
// ask once or twice.
func (g *ledger) NextDue(ctx context.Context) (time.Time, error) {
	if g.n.isDead() {
		return time.Time{}, errGone
	}
	if err := g.n.l.m.r.still(ctx, g.n); err != nil {
		return time.Time{}, err
	}
	return g.Store.NextDue(ctx)
}

func (g *ledger) Claim(ctx context.Context, q scheduler.ClaimRequest) (works []scheduler.Work, err error) {
	if err := g.n.l.m.r.stand(ctx, g.n, "claim"); err != nil {
		return nil, err
	}
	works, err = g.Store.Claim(ctx, q)
	if err != nil || len(works) == 0 || g.n.isDead() {
		return nil, err
	}
	if len(works) > 0 {
		g.n.l.m.r.pass(afterClaim, g.n)
	}
	if g.n.isDead() {
		return nil, errGone
	}
	return works, nil
}

func (g *ledger) Renew(ctx context.Context, node string, until time.Time) error {
	if err := g.n.l.m.r.stand(ctx, g.n, "renew"); err != nil {
		return err
	}
	return g.Store.Renew(ctx, node, until)
}

func (g *ledger) Recover(ctx context.Context, node string, alone bool, now time.Time) (int, error) {
	if g.n.isDead() {
		return 0, errGone
	}
	k, err := g.Store.Recover(ctx, node, alone, now)
	if k > 0 {
		g.n.l.m.r.sometimes("an armed attempt was found at start")
	}
	return k, err
}

func (g *ledger) Save(ctx context.Context, d social.ID, epoch int64, c scheduler.Checkpoint) error {
	return g.change(ctx, beforeSave, afterSave, "save "+g.n.l.m.r.nameOf(d), func() error {
		fenced := g.fence("Save", d, epoch)
		err := g.Store.Save(ctx, d, epoch, c)
		fenced(err)
		return err
	})
}

func (g *ledger) Arm(ctx context.Context, q scheduler.ArmRequest) (a scheduler.Attempt, err error) {
	r := g.n.l.m.r
	key := r.nameOf(q.Delivery)
	err = g.change(ctx, beforeArm, afterArm, "arm "+key, func() error {
		if r.pausedNow(q.Delivery) {
			defer func() {
				if err == nil && r.pausedNow(q.Delivery) {
					r.find("PAUSED: %s was armed although it is paused", key)
				}
			}()
		}
		fenced := g.fence("Arm", q.Delivery, q.Epoch)
		a, err = g.Store.Arm(ctx, q)
		fenced(err)
		if err == nil {
			r.acked(g.n, func() { r.acks.armed[a.ID] = key })
		}
		return err
	})
	return a, err
}

func (g *ledger) Move(ctx context.Context, v scheduler.Move) error {
	r := g.n.l.m.r
	var before, after point
	if c := v.Attempt; c != nil {
		before, after = beforeRecord, afterRecord
		if c.State == scheduler.AttemptAdopted {
			before, after = beforeAdopt, afterAdopt
		}
	}
	return g.change(ctx, before, after, "move "+r.nameOf(v.Delivery)+string(v.To), func() error {
		fenced := g.fence("Move", v.Delivery, v.Epoch)
		err := g.Store.Move(ctx, v)
		fenced(err)
		if err == nil && v.To == social.Published {
			r.acked(g.n, func() { r.acks.published[v.Delivery] = r.nameLocked(v.Delivery) })
		}
		if err == nil {
			r.moved(v)
		}
		if errors.Is(err, scheduler.ErrStale) {
			r.sometimes("a change came too late")
		}
		return err
	})
}

// fence looks at the epoch of a delivery before a change under another one. What
// it returns wants, when the change was accepted, that it was not an old one.
func (g *ledger) fence(what string, d social.ID, epoch int64) func(error) {
	var now int64
	if g.n.l.m.r.nodes > 1 {
		g.WriterDB().QueryRowContext(context.Background(), `SELECT epoch FROM delivery WHERE id = $1`, int64(d)).Scan(&now) //nolint:errcheck // its life may end
	}
	return func(err error) {
		if err == nil && now > epoch && !g.n.isDead() {
			g.n.l.m.r.find("FENCE: %s of %s under epoch %d was accepted at epoch %d", what, g.n.l.m.r.nameOf(d), epoch, now)
		}
	}
}

// moved counts what must be reached now and then.
func (r *run) moved(v scheduler.Move) {
	if c := v.Attempt; c != nil {
		switch {
		case c.State == scheduler.AttemptAdopted:
			r.sometimes("adopted by " + c.DecidedBy)
		case c.State == scheduler.AttemptAbsentByHandle:
			r.sometimes("sent again because the handle said so")
		case c.State == scheduler.AttemptNotSent && v.To == social.Waiting:
			r.sometimes("not sent, and tried again")
		case c.DecidedBy == "takeover":
			r.sometimes("taken over")
		case c.State == scheduler.AttemptRejected && v.To == social.Waiting:
			r.sometimes("refused, and waiting")
		}
	}
	switch v.To {
	case social.NeedsHuman, social.HeldLate, social.Blocked, social.Skipped, social.Failed:
		r.sometimes("came to be " + string(v.To))
	default:
	}
}

// limits keeps what networks said of their limits.
type limits struct{ n *node }

func (l limits) BlockedUntil(ctx context.Context, bucket string) (time.Time, error) {
	if l.n.isDead() {
		return time.Time{}, errGone
	}
	return l.n.l.store.BlockedUntil(ctx, bucket)
}

func (l limits) Block(ctx context.Context, bucket string, until time.Time) error {
	if l.n.isDead() {
		return errGone
	}
	l.n.l.m.r.sometimes("a limit was kept")
	return l.n.l.store.Block(ctx, bucket, until)
}

// grants is the store of logins as a node sees it.
type grants struct {
	*store.Store
	n *node
}

var _ credentials.Store = (*grants)(nil)

func (g *grants) GrantRow(ctx context.Context, account social.ID) (credentials.Row, error) {
	if g.n.isDead() {
		return credentials.Row{}, errGone
	}
	return g.Store.GrantRow(ctx, account)
}

func (g *grants) BeginRefresh(ctx context.Context, b credentials.Begin) (epoch int64, err error) {
	if g.n.isDead() {
		return 0, errGone
	}
	epoch, err = g.Store.BeginRefresh(ctx, b)
	if err == nil {
		g.n.l.m.r.pass(refreshBegun, g.n)
	}
	if g.n.isDead() {
		return 0, errGone
	}
	return epoch, err
}

func (g *grants) SaveGrant(ctx context.Context, v credentials.Save) error {
	r := g.n.l.m.r
	cut := func() {}
	if !v.Login {
		cut = r.pass(refreshAnswered, g.n)
	}
	if g.n.isDead() {
		r.mayBeDead(v.Account)
		return credentials.ErrStale
	}
	err := g.Store.SaveGrant(ctx, v)
	cut()
	if g.n.isDead() {
		r.mayBeDead(v.Account)
		return credentials.ErrStale
	}
	if err == nil {
		r.acked(g.n, func() { r.acks.gens[v.Account] = max(v.Gen, r.acks.gens[v.Account]) })
	}
	if !v.Login {
		r.pass(refreshStored, g.n)
	}
	if g.n.isDead() {
		return credentials.ErrStale
	}
	return err
}

func (g *grants) EndRefresh(ctx context.Context, e credentials.End) error {
	if g.n.isDead() {
		return credentials.ErrStale
	}
	if e.To == credentials.RefreshUnknown {
		g.n.l.m.r.sometimes("the answer to a refresh was lost")
	}
	return g.Store.EndRefresh(ctx, e)
}

func (g *grants) GrantsDue(ctx context.Context, now time.Time, limit int) ([]social.ID, error) {
	if g.n.isDead() {
		return nil, errGone
	}
	return g.Store.GrantsDue(ctx, now, limit)
}

func (g *grants) SweepGrants(ctx context.Context, now time.Time) error {
	if g.n.isDead() {
		return errGone
	}
	return g.Store.SweepGrants(ctx, now)
}

func (g *grants) TellGrant(ctx context.Context, v credentials.Notice, now time.Time) error {
	if g.n.isDead() {
		return errGone
	}
	return g.Store.TellGrant(ctx, v, now)
}

// lent are the credentials of an account that die with their node. A grant that
// is lent has been stored before.
type lent struct {
	connectors.Credentials
	n       *node
	account social.ID
}

func (l lent) Grant(ctx context.Context) (connectors.Grant, error) {
	if l.n.isDead() {
		return connectors.Grant{}, &connectors.Error{Kind: connectors.Transient, Op: "login", Text: "the process is dead"}
	}
	g, err := l.Credentials.Grant(ctx)
	return l.stored(g, err)
}

func (l lent) Renew(ctx context.Context, gen int64) (connectors.Grant, error) {
	if l.n.isDead() {
		return connectors.Grant{}, &connectors.Error{Kind: connectors.Transient, Op: "login", Text: "the process is dead"}
	}
	g, err := l.Credentials.Renew(ctx, gen)
	return l.stored(g, err)
}

func (l lent) stored(g connectors.Grant, err error) (connectors.Grant, error) {
	if l.n.isDead() {
		return connectors.Grant{}, &connectors.Error{Kind: connectors.Transient, Op: "login", Text: "the process is dead"}
	}
	r := l.n.l.m.r
	r.mu.Lock()
	known := r.acks.gens[l.account]
	r.mu.Unlock()
	if err == nil && g.Gen > known {
		r.find("TOKEN: the login of %s is used in generation %d, and generation %d is the last that was stored", r.accountName(l.account), g.Gen, known)
	}
	return g, err
}

// refresher renews the logins of an account's network, as long as the node lives.
func (n *node) refresher(a social.Account) connectors.Refresher {
	by := connectors.JoinOf(n.nets[a.Network]).Renew
	if by == nil {
		return nil
	}
	if _, ok := by.(connectors.Voucher); ok {
		return mortalVoucher{mortalRefresher{by, n}}
	}
	return mortalRefresher{by, n}
}

// mortalVoucher is one whose network also answers for what cannot be renewed.
type mortalVoucher struct{ mortalRefresher }

func (mortalVoucher) Vouches() {}

type mortalRefresher struct {
	by connectors.Refresher
	n  *node
}

func (m mortalRefresher) Refresh(ctx context.Context, g connectors.Grant) (connectors.Grant, error) {
	if m.n.isDead() {
		return connectors.Grant{}, &connectors.Error{Kind: connectors.Transient, Op: "refresh", Text: "the process is dead"}
	}
	return m.by.Refresh(ctx, g)
}
