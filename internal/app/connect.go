package app

import (
	"context"
	"crypto/rand"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"smi/connectors"
	"smi/internal/social"
)

// maxPending bounds the logins under way, so that nobody fills the memory.
const maxPending = 100

// ConnectRequest starts a login.
type ConnectRequest struct {
	Network   social.Network `json:"network,omitempty" doc:"bluesky …; not needed with reconnect"`
	App       string         `json:"app,omitempty" doc:"which set of app credentials of the config; the default set if empty"`
	Method    string         `json:"method,omitempty" enum:"oauth,form" doc:"oauth: in a browser; form: by typing something in. The network's first choice if empty"`
	Handle    string         `json:"handle,omitempty" doc:"the account's handle or home server, where the network has many servers"`
	Reconnect string         `json:"reconnect,omitempty" doc:"an account that is connected already: log in to it again"`
}

// Connection is a login under way, or its end. It is kept in memory only: a
// restart of the daemon forgets it, and the person starts again.
type Connection struct {
	ID      string             `json:"id"`
	Network social.Network     `json:"network"`
	Method  string             `json:"method" enum:"oauth,form"`
	State   string             `json:"state" enum:"waiting,done,failed" doc:"waiting: for the browser or for the form"`
	AuthURL string             `json:"auth_url,omitempty" doc:"where to send the browser"`
	Fields  []connectors.Field `json:"fields,omitempty" doc:"what to type in"`
	Expires time.Time          `json:"expires_at"`
	Account *Account           `json:"account,omitempty" doc:"once done"`
	Freed   int                `json:"freed,omitempty" doc:"posts that were blocked and go on now"`
	New     bool               `json:"new,omitempty" doc:"the account was not connected before"`
	Text    string             `json:"text,omitempty" doc:"why it failed"`
}

// connection is a Connection with what only we know.
type connection struct {
	Connection
	actor     Actor
	app       string
	platform  connectors.Platform
	reconnect social.Account // zero: a new account
	req       connectors.AuthRequest
	busy      bool // taken by one finisher
	done      chan struct{}
}

// StartConnect begins a login: it returns an address for the browser or the
// fields of a form.
func (a *App) StartConnect(ctx context.Context, actor Actor, r ConnectRequest) (Connection, error) {
	if err := a.may(actor, Operate); err != nil {
		return Connection{}, err
	}
	c := &connection{actor: actor, app: r.App, done: make(chan struct{})}
	if r.Reconnect != "" {
		acc, err := a.FindAccount(ctx, actor, "reconnect", r.Reconnect)
		if err != nil {
			return Connection{}, err
		}
		c.reconnect, c.app, r.Network = acc, acc.App, acc.Network
		if r.Handle == "" {
			r.Handle = acc.Handle
		}
	}
	var err error
	if c.platform, err = a.Networks.Platform(r.Network, c.app); err != nil {
		return Connection{}, err
	}
	about := c.platform.Describe()
	join := connectors.JoinOf(c.platform)
	method := r.Method
	if method == "" {
		method = "form"
		if join.OAuth != nil {
			method = "oauth"
		}
	}
	now := a.Now()
	c.Connection = Connection{ID: rand.Text(), Network: about.Network, Method: method, State: "waiting", Expires: now.Add(a.LoginTime())}
	switch {
	case method == "form" && join.Form != nil:
		c.Fields = join.Form.LoginFields()
		c.req.Hint = r.Handle
	case method == "oauth" && join.OAuth != nil:
		back := a.Callback()
		if back == "" {
			return Connection{}, social.Errorf(social.CodeUnavailable, "method", "the daemon does not listen for the browser's return; set oauth.callback_listen in the config")
		}
		c.req = connectors.AuthRequest{State: rand.Text() + rand.Text(), RedirectURI: back, Verifier: social.NewSecret(oauth2.GenerateVerifier()), Hint: r.Handle, Host: c.reconnect.Host}
		if c.AuthURL, err = join.OAuth.AuthURL(ctx, &c.req); err != nil {
			if e := connectors.AsError(err); e.Kind == connectors.Permission && social.CodeOf(err) == social.CodeInternal { // it was not asked: the settings of its app are missing
				return Connection{}, &social.Error{Code: social.CodeUnavailable, Field: "network", Text: e.Text, Err: err}
			}
			return Connection{}, remote("handle", err)
		}
	case method == "form":
		return Connection{}, social.Errorf(social.CodeUnsupported, "method", "%s is connected with a browser, not by typing: use oauth", about.Title)
	case method == "oauth":
		return Connection{}, social.Errorf(social.CodeUnsupported, "method", "%s is connected by typing, not with a browser: use form", about.Title)
	default:
		return Connection{}, social.Errorf(social.CodeUnsupported, "method", "%s cannot be joined by %q", about.Title, method)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.pending, func(_ string, p *connection) bool { return now.After(p.Expires) })
	open := 0
	for _, p := range a.pending {
		if p.State == "waiting" {
			open++
		}
	}
	if len(a.pending) >= 20*maxPending { // the ended ones are kept only so that their end can be asked for
		maps.DeleteFunc(a.pending, func(_ string, p *connection) bool { return p.State != "waiting" })
	}
	if open >= maxPending {
		return Connection{}, social.Errorf(social.CodeExhausted, "", "too many logins are under way; finish or wait %s", a.LoginTime())
	}
	a.pending[c.ID] = c
	return c.Connection, nil
}

// take gives a login under way to the one who will finish it.
func (a *App) take(match func(*connection) bool) (*connection, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.pending {
		if !match(c) {
			continue
		}
		switch {
		case a.Now().After(c.Expires):
			return nil, social.Errorf(social.CodeConflict, "id", "this login took longer than %s; start again", a.LoginTime())
		case c.busy || c.State != "waiting":
			return nil, social.Errorf(social.CodeConflict, "id", "this login was used already; start again")
		}
		c.busy = true
		return c, nil
	}
	return nil, social.Errorf(social.CodeNotFound, "id", "there is no such login under way; start again")
}

// FinishForm ends a login by what the person typed in. A refusal by the network
// ends this login too: start another.
func (a *App) FinishForm(ctx context.Context, actor Actor, id string, values map[string]social.Secret) (Connection, error) {
	if err := a.may(actor, Operate); err != nil {
		return Connection{}, err
	}
	c, err := a.take(func(c *connection) bool {
		return c.ID == id && c.Method == "form" && c.actor.Workspace == actor.Workspace
	})
	if err != nil {
		return Connection{}, err
	}
	for _, f := range c.Fields {
		if f.Secret && values[f.Name].Empty() { // what else may be left out, its connector knows
			a.mu.Lock()
			c.busy = false
			a.mu.Unlock()
			return Connection{}, social.Errorf(social.CodeInvalid, "fields."+f.Name, "%s is needed: %s", f.Label, f.Help)
		}
	}
	grant, err := connectors.JoinOf(c.platform).Form.Login(ctx, values)
	return a.finish(ctx, c, grant, remote("fields", err))
}

// FinishOAuth ends a login by the query with which the browser came back. The
// state in it is the proof that the login was begun here; it works once.
func (a *App) FinishOAuth(ctx context.Context, query url.Values) (Connection, error) {
	state := query.Get("state")
	c, err := a.take(func(c *connection) bool { return state != "" && c.req.State == state })
	if err != nil {
		return Connection{}, err
	}
	grant, err := connectors.JoinOf(c.platform).OAuth.Exchange(ctx, c.req, query)
	return a.finish(ctx, c, grant, remote("", err))
}

// finish stores what a login gave, or why it gave nothing.
func (a *App) finish(ctx context.Context, c *connection, grant connectors.Grant, err error) (Connection, error) {
	var acc social.Account
	var freed int
	if err == nil {
		// Half a connection is worse than a slow one: a browser that goes away
		// does not stop it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		acc, freed, err = a.join(ctx, c, grant)
	}
	var shown Account
	if err == nil {
		shown = a.showAccount(ctx, acc)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		c.State, c.Text = "failed", sentence(err)
	} else {
		c.State, c.Account, c.Freed = "done", &shown, freed
		c.New = acc.TokenGen == 0 // as it was before this login
	}
	close(c.done)
	c.req = connectors.AuthRequest{State: c.req.State} // verifier and keys are not needed any more
	return c.Connection, err
}

// sentence is what a person is told of an error.
func sentence(err error) string {
	if e := asSocial(err); e != nil {
		return e.Text
	}
	return "something went wrong inside smi; the log of the daemon says what"
}

// join finds out whose login it is and stores account and grant.
func (a *App) join(ctx context.Context, c *connection, grant connectors.Grant) (social.Account, int, error) {
	p, err := a.profile(ctx, c, grant)
	if err != nil {
		return social.Account{}, 0, err
	}
	zone := p.DayZone
	if zone == "" {
		zone = "UTC"
	}
	acc, err := a.Accounts.ConnectAccount(ctx, social.Account{
		WorkspaceID: c.actor.Workspace, Network: c.Network, App: c.app, RemoteID: p.RemoteID,
		Handle: p.Handle, Name: p.Name, URL: p.URL, AvatarURL: p.AvatarURL, Host: p.Host, DayZone: zone, Server: p.Server,
	}, c.reconnect.ID, c.actor.String())
	if err != nil {
		return acc, 0, err
	}
	if err := a.Logins.Put(ctx, acc.ID, grant); err != nil {
		return acc, 0, err
	}
	freed, err := a.Accounts.MarkConnected(ctx, acc.WorkspaceID, acc.ID)
	if err != nil {
		return acc, 0, err
	}
	a.Wake()
	gen := acc.TokenGen
	acc, err = a.Accounts.Account(ctx, acc.WorkspaceID, acc.ID)
	acc.TokenGen = gen
	return acc, freed, err
}

// profile asks the network which account a fresh grant opens. Where it opens
// several, the one that the person named is taken.
func (a *App) profile(ctx context.Context, c *connection, grant connectors.Grant) (social.Profile, error) {
	if l := connectors.JoinOf(c.platform).Lister; l != nil {
		all, err := l.Accounts(ctx, grant)
		if err != nil {
			return social.Profile{}, remote("", err)
		}
		if len(all) == 1 && c.reconnect.ID == 0 {
			return all[0], nil
		}
		return choose(all, c)
	}
	client, err := connectors.Open(c.platform, social.Account{Network: c.Network, App: c.app, WorkspaceID: c.actor.Workspace, Status: social.AccountConnected}, lent{grant})
	if err != nil {
		return social.Profile{}, remote("", err)
	}
	p, err := client.Identity(ctx)
	return p, remote("", err)
}

func choose(all []social.Profile, c *connection) (social.Profile, error) {
	var handles []string
	for _, p := range all {
		handles = append(handles, p.Handle)
	}
	i := slices.IndexFunc(all, func(p social.Profile) bool {
		if c.reconnect.ID != 0 {
			return p.RemoteID == c.reconnect.RemoteID
		}
		return strings.EqualFold(p.Handle, strings.TrimPrefix(c.hint(), "@"))
	})
	if i >= 0 {
		return all[i], nil
	}
	if c.reconnect.ID != 0 {
		return social.Profile{}, social.Errorf(social.CodeConflict, "reconnect", "this login opens %s, not %s; log in as the owner of that one", list(handles, "no account"), c.reconnect.Handle)
	}
	return social.Profile{}, social.Errorf(social.CodeInvalid, "handle", "this login opens %s; say with the handle which of them to connect, and log in again", list(handles, "no account"))
}

func (c *connection) hint() string { return c.req.Hint }

// lent lends a grant that is not stored yet, for the first question.
type lent struct{ g connectors.Grant }

func (l lent) Grant(context.Context) (connectors.Grant, error) { return l.g, nil }

func (l lent) Renew(context.Context, int64) (connectors.Grant, error) {
	return connectors.Grant{}, &connectors.Error{Kind: connectors.AuthExpired, Op: "identity", Text: "the network refused the login right after it was made; try again"}
}

// GetConnection returns a login. With wait it returns when the login has ended
// or ctx has.
func (a *App) GetConnection(ctx context.Context, actor Actor, id string, wait bool) (Connection, error) {
	if err := a.may(actor, Read); err != nil {
		return Connection{}, err
	}
	a.mu.Lock()
	c := a.pending[id]
	a.mu.Unlock()
	if c == nil || c.actor.Workspace != actor.Workspace {
		return Connection{}, social.Errorf(social.CodeNotFound, "id", "there is no such login under way; start again")
	}
	if wait {
		select {
		case <-c.done:
		case <-ctx.Done():
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return c.Connection, nil
}
