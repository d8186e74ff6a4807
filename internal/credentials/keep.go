package credentials

import (
	"bytes"
	"context"
	"errors"
	"time"

	"smi/connectors"
	"smi/internal/crash"
	"smi/internal/social"
)

// unsaved is a grant that the network gave and the store would not take. It is
// the only living one of its account, so it stays in memory until it is stored.
type unsaved struct {
	grant connectors.Grant
	row   Row // what is known of it without its sealed bytes

	// Below is what only the goroutine that stores it uses.
	save Save
	told bool // the notice about it was stored
}

// held returns the unsaved grant of an account, nil if there is none.
func (s *Service) held(account social.ID) *unsaved {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unsaved[account]
}

// keep stores a new grant and returns it. It is not returned before it is
// durable, unless the store does not work: then it is held.
func (s *Service) keep(ctx context.Context, old Row, former, fresh connectors.Grant) (connectors.Grant, error) {
	fresh.Gen = former.Gen + 1
	if fresh.Refresh.Empty() { // RFC 6749, section 6: the old one goes on
		fresh.Refresh = former.Refresh
		if fresh.RefreshExpires.IsZero() {
			fresh.RefreshExpires = former.RefreshExpires
		}
	}
	if fresh.Scopes == nil {
		fresh.Scopes = former.Scopes
	}
	if fresh.Extra == nil {
		fresh.Extra, fresh.Public = former.Extra, former.Public
	}
	s.register(fresh)
	u := &unsaved{grant: fresh, row: Row{Account: old.Account, Network: old.Network, Handle: old.Handle, Gen: fresh.Gen, Expires: fresh.Expires, Rotates: fresh.Rotates}}
	if old.Told != "" {
		u.save.Notice = &Notice{Kind: NoticeFine, Severity: "info", Account: old.Account, Text: "The login of " + name(old) + " was renewed; nothing needs to be done."}
	}
	if end := fresh.RefreshExpires; !end.IsZero() && !end.After(former.RefreshExpires) { // this refresh did not prolong it
		u.save.Ends = end
	}
	done, err := s.trySave(ctx, u)
	crash.Point("refresh-stored")
	if done && err == nil {
		return fresh, nil
	}
	if done {
		return s.stale(ctx, u)
	}
	s.c.Log.Error("a renewed login could not be stored; it is kept in memory and stored again until that works", "account", old.Account, "gen", fresh.Gen, "err", err)
	s.tellUnsaved(ctx, u)
	s.mu.Lock()
	s.unsaved[old.Account] = u
	s.wg.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.wg.Done()
		s.saveLater(context.WithoutCancel(ctx), u)
	}()
	return fresh, nil
}

// trySave stores u. done means that there is nothing left to do: it is stored,
// or the row is past it.
func (s *Service) trySave(ctx context.Context, u *unsaved) (done bool, err error) {
	if u.save.Sealed == nil {
		if u.save.Row, err = s.seal(u.row.Account, u.grant); err != nil {
			return false, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, saveTime)
	defer cancel()
	u.save.Now = s.now()
	u.save.KeepPrevious = u.save.Now.Add(keepOld)
	err = s.c.Store.SaveGrant(ctx, u.save)
	return err == nil || errors.Is(err, ErrStale), err
}

// stale returns the grant that is stored instead of u's. It may be u's after
// all: a save whose answer was lost finds its own bytes.
func (s *Service) stale(ctx context.Context, u *unsaved) (connectors.Grant, error) {
	cur, err := s.c.Store.GrantRow(ctx, u.row.Account)
	if err != nil {
		return connectors.Grant{}, readError(u.row.Account, err)
	}
	if cur.Gen == u.row.Gen && bytes.Equal(cur.Sealed, u.save.Sealed) {
		return u.grant, nil
	}
	if err := dead(cur); err != nil {
		return connectors.Grant{}, err
	}
	if cur.Gen < u.row.Gen { // only a removed account refuses the next generation
		cur.State = Removed
		return connectors.Grant{}, dead(cur)
	}
	s.c.Log.Warn("a renewed login came too late: another one was stored meanwhile", "account", u.row.Account, "gen", cur.Gen)
	return s.open(cur)
}

// saveLater stores u, again and again, as long as the process lives.
func (s *Service) saveLater(ctx context.Context, u *unsaved) {
	for wait, last := time.Second, false; !last; wait = min(2*wait, time.Minute) {
		last = s.pause(wait) != nil // closing: one more try
		if s.held(u.row.Account) != u {
			return // a person logged in again or removed the account
		}
		if u.told {
			u.save.Notice = &Notice{Kind: NoticeFine, Severity: "info", Account: u.row.Account, Text: "The renewed login of " + name(u.row) + " is stored now; nothing needs to be done."}
		}
		done, err := s.trySave(ctx, u)
		if done {
			s.mu.Lock()
			if s.unsaved[u.row.Account] == u {
				delete(s.unsaved, u.row.Account)
			}
			s.mu.Unlock()
			s.c.Log.Info("a renewed login is stored at last", "account", u.row.Account, "gen", u.grant.Gen, "superseded", err != nil)
			return
		}
		s.tellUnsaved(ctx, u)
	}
	s.c.Log.Error("smi stops with a renewed login that could not be stored; the account may have to be connected again", "account", u.row.Account)
}

// tellUnsaved puts the alarm into the outbox, once. Where nothing at all can be
// stored the log has it already.
func (s *Service) tellUnsaved(ctx context.Context, u *unsaved) {
	if u.told {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, saveTime)
	defer cancel()
	err := s.c.Store.TellGrant(ctx, Notice{
		Kind: NoticeUnsaved, Severity: "alarm", Account: u.row.Account,
		Text: "The login of " + name(u.row) + " was renewed but could not be stored; smi keeps it in memory and tries again. Do not stop smi; see to the disk.",
	}, s.now())
	u.told = err == nil
}
