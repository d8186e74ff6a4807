package credentials

import (
	"context"
	"errors"
	"time"

	"smi/internal/social"
)

// Store is what this package needs of the database. Each method is one
// transaction, durable when it returns nil. Secrets come and go sealed.
type Store interface {
	// GrantRow returns the row of an account, ErrNoGrant if it has none.
	GrantRow(ctx context.Context, account social.ID) (Row, error)
	// SaveGrant stores a new generation, and with it account.token_gen and, where
	// Save says so, account.status. It returns ErrStale, and changes nothing,
	// unless the row is of the generation before, or if the row or the account
	// was removed.
	SaveGrant(ctx context.Context, v Save) error
	// BeginRefresh writes down that a refresh is under way and returns its epoch.
	// ErrStale: the row is not as Begin says any more.
	BeginRefresh(ctx context.Context, b Begin) (epoch int64, err error)
	// EndRefresh writes down how a refresh ended that brought no grant. ErrStale:
	// the refresh is not the one under way any more.
	EndRefresh(ctx context.Context, e End) error
	// GrantsDue lists accounts whose NextAt has come, the longest waiting first.
	GrantsDue(ctx context.Context, now time.Time, limit int) ([]social.ID, error)
	// RefreshingGrants lists rows in state refreshing: of one node, or of all if
	// node is "".
	RefreshingGrants(ctx context.Context, node string) ([]Row, error)
	// DestroyGrant overwrites and forgets the secrets of an account.
	DestroyGrant(ctx context.Context, account social.ID, now time.Time) error
	// SweepGrants forgets former generations whose time is over, and destroys the
	// secrets of removed accounts.
	SweepGrants(ctx context.Context, now time.Time) error
	// TellGrant puts a notice into the outbox.
	TellGrant(ctx context.Context, n Notice, now time.Time) error
	// TellEnds gives each login that ends (see Save.Ends) to say, and puts the
	// notice that it returns into the outbox together with the mark that it was
	// told.
	TellEnds(ctx context.Context, now time.Time, say func(Ending) (Told, *Notice)) error
}

// The store's answers.
var (
	// ErrNoGrant means that the account never had one.
	ErrNoGrant = errors.New("the account has no login stored")
	// ErrStale means that the row was changed by somebody else.
	ErrStale = errors.New("the login was changed by somebody else")
)

// State is where a grant is. States are stored; do not rename them.
type State string

// The states.
const (
	Connected      State = "connected"
	Refreshing     State = "refreshing"      // a refresh was written down and may be on the wire
	RefreshUnknown State = "refresh_unknown" // the answer to a refresh was lost; the old grant is used meanwhile
	NeedsReconnect State = "needs_reconnect" // the network said twice that it is over
	Removed        State = "removed"         // disconnected by us; there are no secrets
)

// Row is a stored grant.
type Row struct {
	Account        social.ID
	Network        social.Network // of the account, for messages
	Handle         string         // of the account, for messages
	Gen            int64
	Sealed         []byte // the grant, see seal
	KeyID          string // of the key it was sealed with
	Issued         time.Time
	Expires        time.Time // of the access token; zero: unknown or never
	RefreshExpires time.Time
	Rotates        bool
	Scopes         []string

	State        State
	Owner        string // node that refreshes
	Epoch        int64  // grows with each refresh
	LeaseUntil   time.Time
	Started      time.Time // when the last refresh was written down
	UnknownSince time.Time // when the refresh began whose answer was lost; zero: none
	RefusedAt    time.Time // when the network first refused the refresh; zero: it did not
	NextAt       time.Time // when a refresh is due next; zero: never by itself
	Fails        int       // failed refreshes of this generation
	LastError    string
	Told         string // kind of the last notice about this generation
}

// Save is a new generation: Row.Gen must be one more than the stored one.
type Save struct {
	Row
	Now time.Time
	// Login means that a person connected the account: whatever the account's
	// status was, it is connected now. Otherwise the status changes only if the
	// row needed a reconnect.
	Login bool
	// KeepPrevious keeps the former generation, sealed, until then. Zero: it is
	// overwritten.
	KeepPrevious time.Time
	// Ends is when the login ends whatever smi does; zero: refreshes prolong it,
	// or nobody knows yet.
	Ends   time.Time
	Notice *Notice
}

// Begin asks for the right to refresh.
type Begin struct {
	Account    social.ID
	Gen        int64 // the row must be of this generation
	Epoch      int64 // and epoch, connected or refresh_unknown
	Node       string
	Now        time.Time
	LeaseUntil time.Time
}

// End is the end of a refresh that brought nothing, or that nobody saw the end
// of.
type End struct {
	Account      social.ID
	Gen          int64
	Epoch        int64
	To           State // Connected, RefreshUnknown or NeedsReconnect
	UnknownSince time.Time
	RefusedAt    time.Time
	NextAt       time.Time
	Fails        int
	LastError    string
	Told         string
	Now          time.Time
	// Reason becomes the account's status_reason with NeedsReconnect.
	Reason string
	Notice *Notice
}

// Notice is something people must hear. The store adds the workspace.
type Notice struct {
	Kind     string // one of the Notice constants
	Severity string // "info", "warning", "alarm"
	Account  social.ID
	Text     string
}

// The kinds of notices.
const (
	NoticeMayReconnect   = "account_may_need_reconnect" // the answer to a refresh was lost
	NoticeNeedsReconnect = "account_needs_reconnect"
	NoticeRefreshFails   = "account_refresh_failing" // it keeps failing for another reason
	NoticeUnsaved        = "account_grant_unsaved"   // a new grant could not be stored
	NoticeEnds           = "account_login_ends"      // no refresh prolongs it
	NoticeFine           = "account_fine_again"
)
