// Package app holds the use cases of smi: connect, compose, plan, cancel,
// resolve, pause, look. It is the only thing that the API, the CLI and every
// other door call, and the only place where it is decided who may do what.
//
// A use case checks the actor, validates the request to the last field, makes
// one change of the store, and wakes whoever has to act on it. Errors are
// *social.Error: one sentence that names the field and the cure.
package app

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"smi/connectors"
	"smi/internal/social"
	"smi/scheduler"
)

// Actor is who asks. The zero Actor may do nothing.
type Actor struct {
	Name      string // "root"
	Kind      string // "cli", "api", "person", "daemon"
	Workspace social.ID
	Roles     []Role
}

// String is how an actor is written in the audit log.
func (a Actor) String() string { return a.Kind + ":" + a.Name }

// Role is a set of rights.
type Role string

// The roles. There is one for now: whoever owns the daemon's socket owns all.
const (
	Owner Role = "owner"
)

// Verb is what an actor wants to do, for authorisation.
type Verb string

// The verbs.
const (
	Read    Verb = "read"    // look at posts, accounts, notices, figures
	Write   Verb = "write"   // plan, change, cancel and resolve posts
	Operate Verb = "operate" // pause, sync, connect and remove accounts
)

// may is the one authorisation point: every use case begins with it.
func (a *App) may(actor Actor, v Verb) error {
	for _, r := range actor.Roles {
		if r == Owner && actor.Workspace != 0 {
			return nil
		}
	}
	return social.Errorf(social.CodeForbidden, "", "%s may not %s here; ask the owner of this workspace", actor, v)
}

// Accounts is what the app needs of the store about accounts.
type Accounts interface {
	Workspaces(ctx context.Context) ([]social.Workspace, error)
	Accounts(ctx context.Context, workspace social.ID, removed bool) ([]social.Account, error)
	Account(ctx context.Context, workspace, id social.ID) (social.Account, error)
	ConnectAccount(ctx context.Context, a social.Account, reconnect social.ID, actor string) (social.Account, error)
	MarkConnected(ctx context.Context, workspace, id social.ID) (int, error)
	FreeBlocked(ctx context.Context, account social.ID) (int, error)
	SetAccountStatus(ctx context.Context, workspace, id social.ID, status social.AccountStatus, reason, actor string) error
	UpdateProfile(ctx context.Context, workspace, id social.ID, p social.Profile) error
	WaitingDeliveries(ctx context.Context, workspace, account social.ID) (int, error)
	RemoveAccount(ctx context.Context, workspace, id social.ID, force bool, actor string) (int, error)
}

// Posts is what the app needs of the store about posts.
type Posts interface {
	CreatePost(ctx context.Context, p social.PlannedPost, actor string, once social.Once) (social.PlannedPost, bool, error)
	Recall(ctx context.Context, workspace social.ID, once social.Once) (social.PlannedPost, bool, error)
	Post(ctx context.Context, workspace, id social.ID) (social.PlannedPost, error)
	PostOfDelivery(ctx context.Context, workspace, delivery social.ID) (social.PlannedPost, error)
	Posts(ctx context.Context, workspace social.ID, f social.PostFilter) (social.PostPage, error)
	NearDeliveries(ctx context.Context, workspace, account social.ID, from, to time.Time) ([]social.Delivery, error)
	EditPost(ctx context.Context, p social.PlannedPost, actor string) (social.PlannedPost, error)
	Notices(ctx context.Context, workspace, after social.ID, limit int) ([]social.NoticeRecord, error)
}

// Networks are the platforms as the admin configured them.
type Networks interface {
	// Platform returns the platform of a set of app credentials ("" is the
	// default set), or an error that says what to configure.
	Platform(n social.Network, app string) (connectors.Platform, error)
	// All returns one platform of each network, by name.
	All() []connectors.Platform
}

// Logins keeps the grants of accounts (internal/credentials).
type Logins interface {
	// Put stores the grant of a fresh login.
	Put(ctx context.Context, account social.ID, g connectors.Grant) error
	// Grant returns the grant in use, to end it at the network.
	Grant(ctx context.Context, account social.ID) (connectors.Grant, error)
	// Destroy forgets all secrets of an account.
	Destroy(ctx context.Context, account social.ID) error
	// State says how long the login will live.
	State(ctx context.Context, account social.ID) (LoginState, error)
}

// LoginState is what is known of an account's login without its secrets.
type LoginState struct {
	State          string    `json:"state" doc:"connected, refreshing, refresh_unknown, needs_reconnect, removed or none"`
	Expires        time.Time `json:"expires_at,omitzero" doc:"end of the access token; smi renews it by itself"`
	RefreshExpires time.Time `json:"refresh_expires_at,omitzero" doc:"after this a person has to log in again"`
	LastError      string    `json:"last_error,omitempty"`
}

// Media stores files (internal/media).
type Media interface {
	// Import stores a file and says what it is. The same bytes twice are one file.
	Import(ctx context.Context, workspace social.ID, in MediaFile) (social.Media, error)
	// Get returns a stored file of a workspace, CodeNotFound if it has none such.
	Get(ctx context.Context, workspace social.ID, hash string) (social.Media, error)
	// List returns the stored files, the latest first.
	List(ctx context.Context, workspace social.ID, limit int) ([]social.Media, error)
	// Fit makes a file follow a network's rules (smaller, another format) and
	// returns what will be sent. The original stays.
	Fit(ctx context.Context, workspace social.ID, m social.Media, l connectors.Limits) (social.Media, error)
	// Transcode makes another video of a video that follows a network's rules (nil:
	// what nearly every network takes), which Fit returns from then on. It may take
	// an hour.
	Transcode(ctx context.Context, workspace social.ID, m social.Media, l *connectors.Limits) (social.Media, error)
}

// Syncs is the nightly sync as people start it and look at it.
type Syncs interface {
	// Now starts a sync of one account (or all, if zero) and returns the runs.
	Now(ctx context.Context, workspace, account social.ID) ([]SyncRun, error)
	// Runs returns the latest run of each account.
	Runs(ctx context.Context, workspace social.ID) ([]SyncRun, error)
	// ByID returns these runs, in this order.
	ByID(ctx context.Context, workspace social.ID, ids []social.ID) ([]SyncRun, error)
}

// Figures are the numbers of posts as they are stored.
type Figures interface {
	// OfPost returns the latest numbers of the parts of a post's deliveries. What
	// was never read is not in it.
	OfPost(ctx context.Context, workspace, post social.ID) ([]PartNumbers, error)
}

// PartNumbers are the latest totals of one published part.
type PartNumbers struct {
	Delivery social.ID               `json:"-"`
	Part     int                     `json:"part" doc:"from 0"`
	URL      string                  `json:"url,omitempty"`
	Read     time.Time               `json:"read_at"`
	Gone     bool                    `json:"gone,omitempty" doc:"the network no longer has it"`
	Totals   map[social.Metric]int64 `json:"totals" doc:"running totals as the network reports them; what is absent is unknown, not zero"`
}

// SyncRun is one reading of an account's numbers.
type SyncRun struct {
	ID       social.ID `json:"id"`
	Account  social.ID `json:"account"`
	Name     string    `json:"name" doc:"network/handle"`
	Date     string    `json:"date" doc:"the night it is for, in the workspace's zone"`
	Kind     string    `json:"kind" doc:"nightly or manual"`
	State    string    `json:"state" doc:"queued, running, partial (goes on at next_at), done or failed"`
	Started  time.Time `json:"started_at,omitzero"`
	Finished time.Time `json:"finished_at,omitzero"`
	Next     time.Time `json:"next_at,omitzero" doc:"when it goes on, for a partial one"`
	Values   int       `json:"values" doc:"numbers stored"`
	Reason   string    `json:"reason,omitempty"`
}

// Over says whether a run will not go on by itself soon.
func (r SyncRun) Over() bool { return r.State == "done" || r.State == "failed" || r.State == "partial" }

// Config is what an App needs. Everything is required but Syncs and Checks.
type Config struct {
	Accounts Accounts
	Posts    Posts
	Changes  Changes
	Networks Networks
	Clients  func(context.Context, social.Account) (*connectors.Client, error)
	Logins   Logins
	Media    Media
	Syncs    Syncs
	Limits   Limits
	Figures  Figures // may be nil
	Backups  Backups // may be nil
	Telling  Telling // may be nil
	// Wake tells the scheduler that there is something new.
	Wake func()
	Now  func() time.Time
	Log  *slog.Logger
	// Callback is the address the browser returns to after an OAuth login; ""
	// while there is no listener.
	Callback func() string
	// LoginTime is how long a person may take to log in; nil means 10 minutes.
	LoginTime func() time.Duration
	// StageAhead bounds how long before its time a post is prepared; nil means as
	// the network asks.
	StageAhead func() time.Duration
	// LatePolicy is what happens to late posts that say nothing themselves; nil
	// means ask.
	LatePolicy func() social.LatePolicy
	// Clock is the time by which posts go out; nil means that it cannot be doubted.
	Clock Clock
	// Checks are run by Doctor.
	Checks []Check
	// Spend is what was spent at networks that are paid per use, and Purses are what
	// they are paid from. Both may be nil.
	Spend  connectors.SpendStore
	Purses func() []connectors.Purse
	// Version of the program.
	Version string
	Started time.Time
	Node    string
}

// App is the use cases. Make it with New; it is safe for concurrent use.
type App struct {
	Config

	mu      sync.Mutex
	pending map[string]*connection // logins under way, by id

	changed bell
}

// New returns an App.
func New(c Config) *App {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Wake == nil {
		c.Wake = func() {}
	}
	if c.Callback == nil {
		c.Callback = func() string { return "" }
	}
	if c.LoginTime == nil {
		c.LoginTime = func() time.Duration { return 10 * time.Minute }
	}
	if c.StageAhead == nil {
		c.StageAhead = func() time.Duration { return time.Hour }
	}
	if c.LatePolicy == nil {
		c.LatePolicy = func() social.LatePolicy { return social.LateAsk }
	}
	if c.Started.IsZero() {
		c.Started = c.Now()
	}
	return &App{Config: c, pending: map[string]*connection{}}
}

// OwnerOf returns the actor of somebody who reached the daemon's own socket:
// the owner of a workspace. name is what the audit log shall show. workspace is
// an id or a name, "" for the first one.
func (a *App) OwnerOf(ctx context.Context, kind, name, workspace string) (Actor, error) {
	all, err := a.Accounts.Workspaces(ctx)
	if err != nil {
		return Actor{}, err
	}
	var names []string
	for _, w := range all {
		if workspace == "" || w.Name == workspace || w.ID.String() == strings.ToLower(workspace) {
			return Actor{Name: name, Kind: kind, Workspace: w.ID, Roles: []Role{Owner}}, nil
		}
		names = append(names, w.Name)
	}
	return Actor{}, social.Errorf(social.CodeNotFound, "workspace", "there is no workspace %q; there is %s", workspace, list(names, "none"))
}

// workspace returns the actor's workspace.
func (a *App) workspace(ctx context.Context, actor Actor) (social.Workspace, error) {
	all, err := a.Accounts.Workspaces(ctx)
	if err != nil {
		return social.Workspace{}, err
	}
	for _, w := range all {
		if w.ID == actor.Workspace {
			return w, nil
		}
	}
	return social.Workspace{}, social.Errorf(social.CodeNotFound, "workspace", "this workspace is gone")
}

// list writes names as people read them.
func list(names []string, none string) string {
	switch len(names) {
	case 0:
		return none
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// AccountName is how an account is named to people: network/handle.
func AccountName(a social.Account) string { return string(a.Network) + "/" + a.Handle }

// FindAccount returns the account that a person means by an id, a handle or
// network/handle. A handle that several accounts have is refused with their
// full names.
func (a *App) FindAccount(ctx context.Context, actor Actor, field, name string) (social.Account, error) {
	if err := a.may(actor, Read); err != nil {
		return social.Account{}, err
	}
	all, err := a.Accounts.Accounts(ctx, actor.Workspace, false)
	if err != nil {
		return social.Account{}, err
	}
	return pickAccount(all, field, name)
}

// noAccount begins the sentence about an account that does not exist.
const noAccount = "there is no account "

func pickAccount(all []social.Account, field, name string) (social.Account, error) {
	want := strings.ToLower(strings.TrimSpace(name))
	var found []social.Account
	for _, acc := range all {
		handle := strings.ToLower(acc.Handle)
		bare := strings.TrimPrefix(want, "@")
		if want == acc.ID.String() || want == acc.RemoteID || bare == strings.TrimPrefix(handle, "@") || want == strings.ToLower(AccountName(acc)) {
			found = append(found, acc)
		}
	}
	names := func(as []social.Account) string {
		var out []string
		for _, acc := range as {
			out = append(out, AccountName(acc))
		}
		return list(out, "none yet: connect one with smi accounts add")
	}
	switch {
	case name == "":
		return social.Account{}, social.Errorf(social.CodeInvalid, field, "name an account; connected: %s", names(all))
	case len(found) == 0:
		return social.Account{}, social.Errorf(social.CodeNotFound, field, noAccount+"%q; connected: %s", name, names(all))
	case len(found) > 1:
		return social.Account{}, social.Errorf(social.CodeInvalid, field, "%q could be %s; name one of them in full", name, names(found))
	}
	return found[0], nil
}

// remote turns an error of a network into one of the app: what the network
// said, in words for a person.
func remote(field string, err error) error {
	if err == nil {
		return nil
	}
	if social.CodeOf(err) != social.CodeInternal {
		return err
	}
	e := connectors.AsError(err)
	code := social.CodeRemote
	switch e.Kind {
	case connectors.Transient, connectors.RateLimited:
		code = social.CodeUnavailable
	case connectors.Invalid:
		code = social.CodeInvalid
		if e.Field != "" {
			field = e.Field
		}
	case connectors.Unsupported:
		code = social.CodeUnsupported
	}
	text := e.Text
	if text == "" {
		text = "the network could not be asked; try again later"
	}
	return &social.Error{Code: code, Field: field, Text: text, Err: err}
}

// noCredentials are those of a client that is opened only to check a text.
type noCredentials struct{}

func (noCredentials) Grant(context.Context) (connectors.Grant, error) {
	return connectors.Grant{}, &connectors.Error{Kind: connectors.Unsupported, Text: "this client is for checks only"}
}

func (noCredentials) Renew(context.Context, int64) (connectors.Grant, error) {
	return connectors.Grant{}, &connectors.Error{Kind: connectors.Unsupported, Text: "this client is for checks only"}
}

// checker returns a client that can check and describe, and nothing else.
func (a *App) checker(acc social.Account) (*connectors.Client, error) {
	p, err := a.Networks.Platform(acc.Network, acc.App)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", AccountName(acc), err)
	}
	return connectors.Open(p, acc, noCredentials{})
}

// firstLook is when the scheduler shall first look at a delivery.
func (a *App) firstLook(c *connectors.Client, planned time.Time) time.Time {
	return scheduler.FirstLook(planned, min(c.Describe().StageAhead, a.StageAhead()))
}
