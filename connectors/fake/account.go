package fake

import (
	"fmt"
	"slices"
	"time"

	"smi/connectors"
	"smi/internal/social"
)

// Account is what a test does behind the connector's back with one account: it
// turns knobs and reads the truth.
type Account struct {
	net *Network
	id  string
}

// AddAccount puts an account on the network. Owner "" means that it is its own;
// accounts with one owner are opened by one grant.
func (n *Network) AddAccount(remoteID, owner string) *Account {
	n.mu.Lock()
	defer n.mu.Unlock()
	if owner == "" {
		owner = remoteID
	}
	n.accounts[remoteID] = &account{
		profile: social.Profile{
			RemoteID: remoteID,
			Handle:   remoteID + "." + string(n.o.Network) + ".example",
			Name:     "The account " + remoteID,
			URL:      "https://" + string(n.o.Network) + ".example/@" + remoteID,
			DayZone:  "UTC",
		},
		owner:    owner,
		password: "fake-password-" + remoteID,
		scopes:   map[string]bool{},
		class:    n.o.Class,
		hidden:   map[social.Metric]bool{},
		counts:   map[social.Metric]int64{social.Followers: 0},
		knobs:    n.played(remoteID),
	}
	return &Account{net: n, id: remoteID}
}

// Account returns the knobs of an account. It panics for one that was never
// added: the test is wrong.
func (n *Network) Account(remoteID string) *Account {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.accounts[remoteID] == nil {
		panic(fmt.Sprintf("fake: there is no account %q", remoteID))
	}
	return &Account{net: n, id: remoteID}
}

// with runs fn under the lock, after what was parked and is due.
func (a *Account) with(fn func(*account)) {
	a.net.mu.Lock()
	defer a.net.mu.Unlock()
	a.net.settle()
	fn(a.net.accounts[a.id])
}

// Profile returns what the network says of the account.
func (a *Account) Profile() (p social.Profile) {
	a.with(func(s *account) { p = s.profile })
	return p
}

// Connected returns the account as smi stores it once connected.
func (a *Account) Connected(id, workspace social.ID) social.Account {
	p := a.Profile()
	return social.Account{
		ID: id, WorkspaceID: workspace, Network: a.net.o.Network, RemoteID: p.RemoteID, Handle: p.Handle, Name: p.Name,
		URL: p.URL, DayZone: p.DayZone, Status: social.AccountConnected, TokenGen: 1, CreatedAt: a.net.o.Now(),
	}
}

// Login returns what the person types into the login form.
func (a *Account) Login() (in map[string]social.Secret) {
	a.with(func(s *account) {
		in = map[string]social.Secret{"handle": social.NewSecret(s.profile.Handle), "password": social.NewSecret(s.password)}
	})
	return in
}

// Grant logs in behind the connector's back and returns a grant with all scopes.
func (a *Account) Grant() (g connectors.Grant) {
	a.with(func(s *account) { g = a.net.newGrant(s.owner, Scopes) })
	return g
}

// Credentials returns credentials over a fresh grant that refresh by themselves.
func (a *Account) Credentials() *Credentials { return NewCredentials(a.net, a.Grant()) }

// Script lines faults up for the next calls of an operation, one each, in
// order. After them calls are healthy again, or as Always says.
func (a *Account) Script(op Op, faults ...Fault) {
	a.with(func(s *account) { s.add(op, faults) })
}

// Always plays the fault at every call of the operation that has no script.
// The zero Fault ends it.
func (a *Account) Always(op Op, f Fault) {
	a.with(func(s *account) { s.keep(op, f) })
}

// FailPrepare lets the next calls of Prepare be refused with these kinds.
func (a *Account) FailPrepare(kinds ...connectors.Kind) { a.refuse(OpPrepare, kinds) }

// FailCommit lets the next commits be refused before any effect with these kinds.
func (a *Account) FailCommit(kinds ...connectors.Kind) { a.refuse(OpCommit, kinds) }

func (a *Account) refuse(op Op, kinds []connectors.Kind) {
	for _, k := range kinds {
		a.Script(op, Fault{Do: Refuse, Kind: k})
	}
}

// Latency sets how long the network takes to answer an operation.
func (a *Account) Latency(op Op, d time.Duration) {
	a.with(func(s *account) { s.slow(op, d) })
}

// Calls returns how often an operation was called.
func (a *Account) Calls(op Op) (c int) {
	a.with(func(s *account) { c = s.calls[op] })
	return c
}

// AllCalls returns how many calls of any kind were made.
func (a *Account) AllCalls() (c int) {
	a.with(func(s *account) { c = s.allCalls() })
	return c
}

// Fired returns how many scripted faults were played on this account.
func (a *Account) Fired() (c int) {
	a.with(func(s *account) { c = s.fired })
	return c
}

// SetClass chooses whether what is prepared from now on is keyed.
func (a *Account) SetClass(c connectors.Class) { a.with(func(s *account) { s.class = c }) }

// Stale makes listings show only what is older than d. Asking for a post by id
// or a handle is not affected.
func (a *Account) Stale(d time.Duration) { a.with(func(s *account) { s.stale = d }) }

// Loop makes the cursor of listings lead back to the same page.
func (a *Account) Loop(on bool) { a.with(func(s *account) { s.loop = on }) }

// Withhold takes a permission away, or gives it back.
func (a *Account) Withhold(scope string, on bool) { a.with(func(s *account) { s.scopes[scope] = on }) }

// Disable closes the account at the network, or opens it again.
func (a *Account) Disable(on bool) { a.with(func(s *account) { s.disabled = on }) }

// Rename changes the account's handle.
func (a *Account) Rename(handle string) { a.with(func(s *account) { s.profile.Handle = handle }) }

// Expire ends every access token of the account's owner at once. Refresh tokens
// live on.
func (a *Account) Expire() {
	a.with(func(s *account) {
		for _, g := range a.net.grants {
			if g.owner == s.owner {
				g.expires = a.net.o.Now()
			}
		}
	})
}

// RevokeAll is the person who takes smi's access away at the network.
func (a *Account) RevokeAll() {
	a.with(func(s *account) {
		for _, g := range a.net.grants {
			if g.owner == s.owner {
				g.revoked = true
			}
		}
	})
}

// KillHandles makes every handle of the account that is not yet published dead.
func (a *Account) KillHandles() {
	a.with(func(s *account) {
		for _, h := range a.net.handles {
			if h.account == a.id && h.post == "" {
				h.dead = true
			}
		}
	})
}

// Write is the owner who posts by hand in the network's own app. parent may be "".
func (a *Account) Write(text, parent string, media ...social.MediaKind) (remoteID string) {
	a.with(func(*account) {
		remoteID = a.net.publish(draft{Account: a.id, Text: text, Parent: parent, Media: media}, a.net.o.Now(), origin{}).RemoteID
	})
	return remoteID
}

// Remove takes a post off the network, as its owner might. It reports whether
// it was there.
func (a *Account) Remove(remoteID string) (was bool) {
	a.with(func(*account) {
		if p := a.net.find(remoteID); p != nil && p.Account == a.id {
			p.Removed, was = true, true
		}
	})
	return was
}

// Count adds to a number of a post, or of the account where remoteID is "".
func (a *Account) Count(remoteID string, m social.Metric, by int64) {
	a.with(func(s *account) {
		if remoteID == "" {
			s.counts[m] += by
		} else if p := a.net.find(remoteID); p != nil {
			p.counts[m] += by
		}
	})
}

// SetCount sets a number of a post, or of the account where remoteID is "".
func (a *Account) SetCount(remoteID string, m social.Metric, value int64) {
	a.with(func(s *account) {
		if remoteID == "" {
			s.counts[m] = value
		} else if p := a.net.find(remoteID); p != nil {
			p.counts[m] = value
		}
	})
}

// Like adds likes to a post. It is other people's doing, as Repost and Reply are.
func (a *Account) Like(remoteID string, by int64) { a.Count(remoteID, social.Likes, by) }

// Repost adds shares to a post.
func (a *Account) Repost(remoteID string, by int64) { a.Count(remoteID, social.Shares, by) }

// Reply adds comments to a post.
func (a *Account) Reply(remoteID string, by int64) { a.Count(remoteID, social.Comments, by) }

// Hide makes the network stop reporting a metric, or report it again.
func (a *Account) Hide(m social.Metric, on bool) { a.with(func(s *account) { s.hidden[m] = on }) }

// Posts returns the posts of the account that are visible now, oldest first.
func (a *Account) Posts() []Post { return a.net.Posts(a.id) }

// Effects returns everything that ever became visible, or will, on the account:
// what was removed as well. It is the truth that "published twice" is judged by.
func (a *Account) Effects() (out []Post) {
	a.with(func(*account) {
		for _, p := range a.net.journal {
			if p.Account == a.id {
				out = append(out, p)
			}
		}
	})
	return out
}

// Posts returns the posts of an account that are visible now, oldest first.
func (n *Network) Posts(remoteID string) []Post {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.settle()
	var out []Post
	for _, p := range n.journal {
		if p.Account == remoteID && !p.Removed && !p.At.After(now) {
			out = append(out, p)
		}
	}
	return out
}

// Journal returns every effect there ever was on the network, in order.
func (n *Network) Journal() []Post {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.settle()
	return slices.Clone(n.journal)
}

// Parked returns how many accepted posts are still to be applied.
func (n *Network) Parked() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.settle()
	return len(n.parked)
}

// Release applies everything that is parked now, whatever its time.
func (n *Network) Release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.o.Now()
	for i := range n.parked {
		if n.parked[i].at.After(now) {
			n.parked[i].at = now
		}
	}
	n.settle()
}

// Script is Account.Script for calls that belong to no account: exchange,
// login, refresh, accounts, revoke.
func (n *Network) Script(op Op, faults ...Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.shared.add(op, faults)
}

// Always is Account.Always for calls that belong to no account.
func (n *Network) Always(op Op, f Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.shared.keep(op, f)
}

// Latency is Account.Latency for calls that belong to no account.
func (n *Network) Latency(op Op, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.shared.slow(op, d)
}

// Calls counts the calls that belong to no account.
func (n *Network) Calls(op Op) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.shared.calls[op]
}

// AllCalls counts all calls that belong to no account.
func (n *Network) AllCalls() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.shared.allCalls()
}

// Reused counts the dead refresh tokens that were used.
func (n *Network) Reused() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.reused
}

// PageSize is how many posts a page of a listing has.
func (n *Network) PageSize() int { return n.o.PageSize }

// Fired counts the faults played on calls that belong to no account.
func (n *Network) Fired() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.shared.fired
}

func (k *knobs) add(op Op, faults []Fault) {
	if k.script == nil {
		k.script = map[Op][]Fault{}
	}
	k.script[op] = append(k.script[op], faults...)
}

func (k *knobs) keep(op Op, f Fault) {
	if k.always == nil {
		k.always = map[Op]Fault{}
	}
	if f.none() {
		delete(k.always, op)
		return
	}
	k.always[op] = f
}

func (k *knobs) slow(op Op, d time.Duration) {
	if k.latency == nil {
		k.latency = map[Op]time.Duration{}
	}
	k.latency[op] = d
}

func (k *knobs) allCalls() int {
	n := 0
	for _, c := range k.calls {
		n += c
	}
	return n
}
