package credentials

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"smi/connectors"
	"smi/internal/crash"
	"smi/internal/social"
)

// want says why a flight begins.
type want struct {
	refused int64     // the network refused this generation; 0: it did not
	until   time.Time // the token should be good until then; zero: only what is due
}

// flight is one attempt to get a newer grant, for everyone in this process who
// waits for one.
type flight struct {
	done  chan struct{}
	grant connectors.Grant
	err   error
}

// fly joins the flight of the account, or begins one, and waits for its end. It
// goes on when the caller gives up: an answer must never be lost because nobody
// waits for it.
func (s *Service) fly(ctx context.Context, account social.ID, by connectors.Refresher, w want, wait time.Duration) (connectors.Grant, error) {
	s.mu.Lock()
	f := s.flights[account]
	if f == nil {
		if s.closed {
			s.mu.Unlock()
			return connectors.Grant{}, &connectors.Error{Kind: connectors.Transient, Op: "refresh", Text: "smi is stopping"}
		}
		f = &flight{done: make(chan struct{})}
		s.flights[account] = f
		s.wg.Go(func() {
			// Not the caller's context: neither its end nor its Shot may reach the refresh.
			f.grant, f.err = s.refresh(context.Background(), account, by, w) //nolint:contextcheck // see above
			s.mu.Lock()
			delete(s.flights, account)
			s.mu.Unlock()
			close(f.done)
		})
	}
	s.mu.Unlock()
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-f.done:
		return f.grant, f.err
	case <-ctx.Done():
		return connectors.Grant{}, &connectors.Error{Kind: connectors.Transient, Op: "refresh", Text: "the call was given up while the login was being renewed", Err: ctx.Err()}
	case <-t.C:
		return connectors.Grant{}, busy(account)
	}
}

// refresh is the body of a flight.
func (s *Service) refresh(ctx context.Context, account social.ID, by connectors.Refresher, w want) (connectors.Grant, error) {
	giveUp := s.now().Add(waitTime)
	for s.now().Before(giveUp) {
		row, err := s.c.Store.GrantRow(ctx, account)
		if u := s.held(account); u != nil && (err != nil || u.grant.Gen > row.Gen) && row.State != Removed {
			if u.grant.Gen > w.refused && usable(u.row, s.now()) {
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
		now := s.now()
		if w.refused > 0 && row.Gen > w.refused {
			return s.open(row)
		}
		if row.State == Refreshing {
			if now.Before(row.LeaseUntil) {
				if err := s.pause(pollTime); err != nil {
					return connectors.Grant{}, err
				}
				continue
			}
			if err := s.interrupted(ctx, row); err != nil && !errors.Is(err, ErrStale) {
				return connectors.Grant{}, readError(account, err)
			}
			continue
		}
		g, err := s.open(row)
		if err != nil {
			return g, err
		}
		able := by != nil && !spent(g, now)
		if w.refused == 0 && spent(g, now) && due(row, now) {
			if err := s.rest(ctx, row, now); err != nil && !errors.Is(err, ErrStale) {
				return connectors.Grant{}, readError(account, err)
			}
			return g, nil
		}
		if w.refused == 0 && (!able || !s.wanted(row, w, now)) {
			if usable(row, now) || !able {
				return g, nil
			}
			return connectors.Grant{}, later(row, now)
		}
		if w.refused > 0 && (postponed(row, now) || !s.mayRenew(account)) {
			return connectors.Grant{}, later(row, now)
		}
		if err := s.frozen(ctx, row); err != nil {
			if w.refused == 0 && usable(row, now) {
				return g, nil
			}
			return connectors.Grant{}, err
		}
		epoch, err := s.c.Store.BeginRefresh(ctx, Begin{Account: account, Gen: row.Gen, Epoch: row.Epoch, Node: s.c.Node, Now: now, LeaseUntil: now.Add(leaseTime)})
		if errors.Is(err, ErrStale) {
			continue
		}
		if err != nil {
			return connectors.Grant{}, &connectors.Error{Kind: connectors.Transient, Op: "refresh", Text: "the refresh could not be written down, so it was not begun", Err: err}
		}
		row.Epoch, row.Started, row.State, row.Owner = epoch, now, Refreshing, s.c.Node
		crash.Point("refresh-begun")
		if !able && !vouched(by, g) {
			return s.failed(ctx, row, g, &connectors.Error{Kind: connectors.AuthExpired, Text: "the network refused the login, and it is of the kind that cannot be renewed"})
		}
		fresh, err := s.call(by, g, row.Started.Add(leaseTime))
		crash.Point("refresh-answered")
		if err == nil && fresh.Access.Empty() {
			err = &connectors.Error{Kind: connectors.Ambiguous, Text: "the network's answer held no access token"}
		}
		if err != nil {
			return s.failed(ctx, row, g, err)
		}
		return s.keep(ctx, row, g, fresh)
	}
	return connectors.Grant{}, busy(account)
}

// vouched says whether the connector can ask the network about a grant that it
// cannot renew.
func vouched(by connectors.Refresher, g connectors.Grant) bool {
	_, asks := by.(connectors.Voucher)
	return asks && g.Refresh.Empty()
}

// wanted says whether a refresh should be made although no call was refused.
func (s *Service) wanted(r Row, w want, now time.Time) bool {
	if due(r, now) {
		return true
	}
	// For what is planned: only where nothing is in doubt, and not again right
	// after the last one because the network gives shorter lives.
	return !w.until.IsZero() && !r.Expires.IsZero() && r.Expires.Before(w.until) && r.State == Connected &&
		r.Fails == 0 && r.RefusedAt.IsZero() && now.Sub(r.Issued) > r.Expires.Sub(r.Issued)/4
}

// postponed says whether a refused call has to wait: a refresh failed lately, or
// the second question is not due. One thing is done at once: after a lost answer
// the old refresh token of a rotating network is kept back to protect the access
// token, and there is nothing left to protect when that is refused.
func postponed(r Row, now time.Time) bool {
	if r.NextAt.IsZero() || !now.Before(r.NextAt) {
		return false
	}
	if r.State == RefreshUnknown && r.Rotates && r.RefusedAt.IsZero() && r.Fails <= 1 {
		return false
	}
	return r.Fails > 0 || !r.RefusedAt.IsZero()
}

// later is the error of a call that has no usable grant for now.
func later(r Row, now time.Time) error {
	e := &connectors.Error{
		Kind: connectors.Transient, Op: "refresh", RetryAfter: max(time.Second, r.NextAt.Sub(now)),
		Text: "the login of " + name(r) + " could not be renewed yet",
	}
	if r.LastError != "" {
		e.Text += ": " + r.LastError
	}
	return e
}

// pause waits, unless the service is closed.
func (s *Service) pause(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-s.stop:
		return &connectors.Error{Kind: connectors.Transient, Op: "refresh", Text: "smi is stopping"}
	}
}

// call asks the network, in time before the lease ends. A panic of a connector
// is an answer that was lost; what it says may hold a secret and is not kept.
func (s *Service) call(by connectors.Refresher, g connectors.Grant, lease time.Time) (fresh connectors.Grant, err error) {
	limit := min(callTime, lease.Sub(s.now())-leaseTime/4)
	if limit < time.Second { // it took that long to write the refresh down
		return fresh, &connectors.Error{Kind: connectors.Transient, Text: "writing the refresh down took too long, so it was not begun"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			fresh, err = connectors.Grant{}, &connectors.Error{Kind: connectors.Ambiguous, Text: fmt.Sprintf("the connector broke (%T)", p)}
		}
	}()
	return by.Refresh(ctx, g)
}

// verdict is what an error of a refresh means.
type verdict int

const (
	notSent verdict = iota // the grant is as it was; try again later
	lost                   // the grant may be dead
	refused                // the network says that it is dead
	broken                 // the grant is as it was, but trying again will not help: an admin must act
)

// judge sorts an error. Only a classified error proves anything: a bare
// context.DeadlineExceeded may have come after the request was written. A 5xx
// may come from a proxy in front of a network that did the work.
func judge(err error) (verdict, *connectors.Error) {
	e, ok := errors.AsType[*connectors.Error](err)
	if !ok {
		return lost, &connectors.Error{Kind: connectors.Unknown, Text: "the refresh ended in an unexpected way"}
	}
	if e.Status >= 500 {
		return lost, e
	}
	switch e.Kind {
	case connectors.AuthExpired:
		return refused, e
	case connectors.Transient, connectors.RateLimited:
		return notSent, e
	case connectors.Permission, connectors.Invalid, connectors.Unsupported, connectors.Permanent:
		return broken, e
	case connectors.Ambiguous, connectors.Unknown:
	}
	return lost, e
}

// failed writes down how a refresh ended without a grant and returns what the
// caller gets.
func (s *Service) failed(ctx context.Context, row Row, g connectors.Grant, err error) (connectors.Grant, error) {
	now := s.now()
	v, e := judge(err)
	said := describe(e, g)
	end := End{
		Account: row.Account, Gen: row.Gen, Epoch: row.Epoch, To: Connected, UnknownSince: row.UnknownSince, RefusedAt: row.RefusedAt,
		Fails: row.Fails + 1, LastError: said, Told: row.Told, Now: now,
	}
	if !row.UnknownSince.IsZero() {
		end.To = RefreshUnknown
	}
	out := &connectors.Error{Kind: connectors.Transient, Op: "refresh", Status: e.Status, Code: e.Code, RequestID: e.RequestID}
	switch v {
	case notSent:
		end.NextAt = retryAt(row, end.Fails, e.RetryAfter, now)
		if row.Told == "" && (end.Fails >= 6 || !row.Expires.IsZero() && row.Expires.Sub(now) < lastMoves/2) {
			end.tell(NoticeRefreshFails, "warning", fmt.Sprintf("The login of %s could not be renewed %d times (%s). smi goes on trying; %s.", name(row), end.Fails, said, until(row, now)))
		}
	case broken:
		end.NextAt = retryAt(row, 6, e.RetryAfter, now)
		out.Kind = e.Kind
		if row.Told == "" {
			end.tell(NoticeRefreshFails, "alarm", fmt.Sprintf("The login of %s cannot be renewed: %s. An administrator must look at the app's settings; %s.", name(row), said, until(row, now)))
		}
	case lost:
		s.doubt(&end, row, now)
	case refused:
		if cur, err := s.c.Store.GrantRow(ctx, row.Account); err == nil && cur.Gen > row.Gen { // somebody else was faster
			return s.open(cur)
		}
		if row.RefusedAt.IsZero() || now.Before(row.RefusedAt.Add(proofTime)) {
			if row.RefusedAt.IsZero() {
				end.RefusedAt = now
			}
			end.NextAt = end.RefusedAt.Add(proofTime)
			break
		}
		end.To, end.NextAt, end.RefusedAt = NeedsReconnect, time.Time{}, row.RefusedAt
		cause := fmt.Sprintf("the network refused the login at %s and again at %s: %s", clock(row.RefusedAt), clock(now), said)
		if !row.UnknownSince.IsZero() {
			cause = fmt.Sprintf("the answer to our refresh of %s was lost, and the network refuses the old login: %s", clock(row.UnknownSince), said)
		}
		end.LastError = cause
		end.Reason = strings.ToUpper(cause[:1]) + cause[1:] + ". Connect the account again."
		end.tell(NoticeNeedsReconnect, "alarm", fmt.Sprintf("%s must be connected again: %s. Its posts wait until then.", name(row), cause))
		out.Kind = connectors.AuthExpired
	}
	if !end.NextAt.IsZero() {
		out.RetryAfter = max(time.Second, end.NextAt.Sub(now))
	}
	out.Text = "the login of " + name(row) + " could not be renewed: " + said
	if out.Kind == connectors.AuthExpired {
		out.Text = name(row) + " must be connected again: " + end.LastError
	}
	switch err := s.c.Store.EndRefresh(ctx, end); {
	case errors.Is(err, ErrStale):
		// Another node took over: what it finds out counts.
		return connectors.Grant{}, busy(row.Account)
	case err != nil:
		// The row still says refreshing; after the lease it counts as a lost answer.
		s.c.Log.Error("the end of a refresh could not be stored", "account", row.Account, "err", err)
		out.Kind, out.Text = connectors.Transient, "the login of "+name(row)+" could not be renewed, and that could not be stored"
	default:
		s.c.Log.Warn("a refresh brought no new login", "account", row.Account, "state", end.To, "said", said)
	}
	return connectors.Grant{}, out
}

// doubt makes end the end of a refresh whose answer nobody has.
func (s *Service) doubt(end *End, row Row, now time.Time) {
	end.To, end.UnknownSince = RefreshUnknown, row.UnknownSince
	if !row.UnknownSince.IsZero() { // it was tried again, and that was lost too
		end.NextAt = retryAt(row, end.Fails, 0, now)
		return
	}
	end.UnknownSince = row.Started
	end.NextAt = unknownAt(row, now)
	text := fmt.Sprintf("%s may need to be connected again: the answer to our refresh of %s was lost. smi goes on with the old login and tries once more", name(row), clock(row.Started))
	if end.NextAt.IsZero() {
		text += "."
	} else {
		text += " at " + clock(end.NextAt) + "; " + until(row, now) + "."
	}
	end.tell(NoticeMayReconnect, "alarm", text)
}

// interrupted notes that a node ended in the middle of a refresh.
func (s *Service) interrupted(ctx context.Context, row Row) error {
	now := s.now()
	end := End{
		Account: row.Account, Gen: row.Gen, Epoch: row.Epoch, RefusedAt: row.RefusedAt, Fails: row.Fails + 1,
		LastError: "smi was stopped in the middle of a refresh", Told: row.Told, Now: now,
	}
	s.doubt(&end, row, now)
	return s.c.Store.EndRefresh(ctx, end)
}

// rest ends the refreshes of a login that cannot be renewed any more. Its access
// token is used to its end.
func (s *Service) rest(ctx context.Context, row Row, now time.Time) error {
	epoch, err := s.c.Store.BeginRefresh(ctx, Begin{Account: row.Account, Gen: row.Gen, Epoch: row.Epoch, Node: s.c.Node, Now: now, LeaseUntil: now.Add(leaseTime)})
	if err != nil {
		return err
	}
	return s.c.Store.EndRefresh(ctx, End{
		Account: row.Account, Gen: row.Gen, Epoch: epoch, To: row.State, UnknownSince: row.UnknownSince, RefusedAt: row.RefusedAt,
		Fails: row.Fails, LastError: row.LastError, Told: row.Told, Now: now,
	})
}

func (e *End) tell(kind, severity, text string) {
	e.Told = kind
	e.Notice = &Notice{Kind: kind, Severity: severity, Account: e.Account, Text: text}
}

// until says how long the old access token lasts, for the end of a sentence.
func until(r Row, now time.Time) string {
	switch {
	case r.Expires.IsZero():
		return "nobody knows how long it lasts"
	case now.Before(r.Expires):
		return "it works until " + r.Expires.UTC().Format("15:04 UTC on 2 January")
	}
	return "it has ended, and its posts wait"
}

func clock(t time.Time) string { return t.UTC().Format("15:04 UTC") }

// describe makes one short sentence of an error. The cause is left out (its text
// is not ours, and an address may hold a token), and if the connector's own
// sentence holds a secret of the grant, so is that.
func describe(e *connectors.Error, g connectors.Grant) string {
	said := e.Text
	if said == "" {
		said = string(e.Kind)
	}
	for _, v := range values(g) {
		said = strings.ReplaceAll(said, v, social.Redacted)
	}
	if e.Status != 0 {
		said += fmt.Sprintf(" (status %d)", e.Status)
	}
	return said
}
