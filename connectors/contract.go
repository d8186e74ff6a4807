package connectors

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/url"
	"time"

	"smi/internal/social"
)

// Platform is a network as the admin configured it.
type Platform interface {
	// Describe returns facts that never change while the process runs. No I/O.
	Describe() Description
	// Dial returns the connection of one account. No I/O; a Conn is cheap and
	// may be used by many goroutines.
	Dial(social.Account, Credentials) (Conn, error)
}

// Description is what is known of a network without asking it.
type Description struct {
	Network social.Network
	Title   string // "Bluesky"
	Limits  Limits
	Metrics []social.Metric // what PostInsights and AccountInsights can report
	Budgets []Budget
	// KeyWindow is how long the network itself recognises a repeated commit with
	// the same key. 0: it does not, and smi sends no key.
	KeyWindow time.Duration
	// SendTime is how long after arming the first byte may still be written.
	SendTime time.Duration
	// CommitTime is how long the longest commit may take after its last byte was
	// written; together with SendTime it decides when an attempt of a dead node
	// may be taken over (into ambiguous). It is stored with each attempt.
	CommitTime time.Duration
	// FindSettles is how long after SendTime a post may still appear. Before it,
	// "not seen" proves nothing. Never under five minutes for listings.
	FindSettles time.Duration
	// StageAhead is how early Prepare may run. At most 15 minutes.
	StageAhead time.Duration
	// MinGap is the least time between two commits on one account.
	MinGap time.Duration
	// LookBack is how long the numbers of a post keep moving: how far back the
	// nightly sync reads again.
	LookBack time.Duration
	// Docs is the network's page in docs/networks.
	Docs string
	// Missing is what people look for on this network and an app cannot do: it is
	// shown as not available, with the reason, and not as a failure.
	Missing []Missing
}

// Missing is something that an app cannot do on a network.
type Missing struct {
	What string `json:"what"` // "quoting"
	Why  string `json:"why"`
}

// Conn is one account on a network.
type Conn interface {
	// Identity makes the cheapest signed call there is and says who we are. It is
	// the health probe as well.
	Identity(context.Context) (social.Profile, error)
}

// OwnLimits is a Conn of a network whose servers differ in what they take. The
// limits come from Account.Server, which Identity reads again, at most once a
// day: pure, as Check is.
type OwnLimits interface {
	Limits() Limits
}

// Credentials lends the grant of one account to its Conn. Both methods may wait
// for a refresh under way on this or another node.
type Credentials interface {
	// Grant returns the current grant, refreshed if its end is near.
	Grant(context.Context) (Grant, error)
	// Renew is called after the network refused the grant of generation gen. It
	// returns a newer one or an error of kind AuthExpired if there will be none.
	Renew(ctx context.Context, gen int64) (Grant, error)
}

// Grant is what a login gave us. It is sealed before it is stored.
type Grant struct {
	Gen            int64 // counts the grants of this account; 0 for one that was never stored
	Access         social.Secret
	Refresh        social.Secret
	Expires        time.Time // of Access; zero: unknown or never
	RefreshExpires time.Time // the last moment at which a refresh can work; zero: unknown or never
	Scopes         []string
	Rotates        bool // a refresh kills the old refresh token
	// Extra holds what else must be kept secret between calls (a DPoP key, a
	// server's address), by names of the connector's own.
	Extra map[string]social.Secret
	// Public names the entries of Extra that are no secrets but addresses and ids:
	// they may be read in a log.
	Public []string
}

// AuthRequest is one attempt to connect, made by internal/app and kept between
// the two halves of the OAuth dance.
type AuthRequest struct {
	State       string        // single use, bound to the person who asked
	RedirectURI string        // exactly as registered
	Verifier    social.Secret // PKCE
	Hint        string        // handle or host the person typed; networks of many servers need it
	Host        string        // home server of the account that is connected again; "" for a new one
	Scopes      []string      // empty: what the connector needs
	// Extra is the connector's own memory between AuthURL and Exchange. AuthURL
	// may fill it; it is stored sealed.
	Extra map[string]social.Secret
}

// OAuth is the way to join by a browser.
type OAuth interface {
	// AuthURL returns where to send the person's browser. It may talk to the
	// network (PAR) and may add to req.Extra.
	AuthURL(ctx context.Context, req *AuthRequest) (string, error)
	// Exchange takes the query of the callback. State has been checked.
	Exchange(ctx context.Context, req AuthRequest, callback url.Values) (Grant, error)
	Refresher
}

// Refresher gets a new grant for an old one. It is not idempotent where grants
// rotate: it is called under a lease by internal/credentials and nowhere else,
// over the write-once transport. An error says which: Transient means nothing
// was written; AuthExpired means the network said that the grant is dead;
// Ambiguous means that the old grant may be dead.
type Refresher interface {
	Refresh(context.Context, Grant) (Grant, error)
}

// Voucher is a Refresher that also answers for grants that cannot be renewed.
// Refresh then asks the network, and returns the same grant if the network still
// knows it: a 401 may come from something before the network, and a login is not
// given up for that. It is asked of a grant without a refresh token.
type Voucher interface {
	Refresher
	Vouches()
}

// Field is one input of a login form.
type Field struct {
	Name   string `json:"name"`
	Label  string `json:"label"`
	Help   string `json:"help"`
	Secret bool   `json:"secret"`
}

// FormLogin is the way to join by typing something in (an app password).
type FormLogin interface {
	LoginFields() []Field
	Login(context.Context, map[string]social.Secret) (Grant, error)
	Refresher
}

// AccountLister says which accounts a grant opens. A platform without it opens
// the one of Identity.
type AccountLister interface {
	Accounts(context.Context, Grant) ([]social.Profile, error)
}

// Revoker ends a grant at the network.
type Revoker interface {
	Revoke(context.Context, Grant) error
}

// Class says what may be repeated of a prepared part. It decides, not the HTTP
// method.
type Class string

// The classes of a commit. What Prepare itself does is always repeatable.
const (
	// Keyed: a handle known before the commit lets Find ask for the truth.
	Keyed Class = "keyed"
	// Unkeyed: no handle. Never repeated by smi.
	Unkeyed Class = "unkeyed"
)

// Job is one part of a delivery, as it is given to Prepare, Commit and Find.
type Job struct {
	Delivery social.ID
	Step     int // index of the part
	Kind     social.DeliveryKind
	Part     *social.Part
	Root     *Receipt // the body's receipt, for parts after it
	Parent   *Receipt // what this part answers: the part before it, or what a reply answers
	Planned  time.Time
	Now      time.Time // when this call is made
	ArmedAt  time.Time // for Find: when the attempt was armed
	Attempt  int       // number of the attempt, from 1
	// Unproven is how many earlier attempts of this part nobody could prove
	// anything of: ones that a person called absent, or that are still open. A
	// network's "this is a duplicate" may be believed only where there is one.
	Unproven    int
	Fingerprint string          // see social.Fingerprint
	State       json.RawMessage // what the last Prepare kept; nil before the first
	Media       MediaSource
	// Save keeps state in the middle of a Prepare that has several steps, so that
	// a restart goes on from there.
	Save func(ctx context.Context, state json.RawMessage, expires time.Time) error
}

// MediaSource opens the bytes of a part's media.
type MediaSource interface {
	Open(ctx context.Context, hash string) (io.ReadSeekCloser, error)
}

// Preparation is what Prepare made ready.
type Preparation struct {
	State   json.RawMessage // what Commit and Find need; stored before the commit
	Class   Class
	Expires time.Time // when the handle dies; zero: never. Prepare runs again before it
	// RequestHash is the SHA-256 (hex) of the bytes Commit will send, so that the
	// attempt's row proves what was sent.
	RequestHash string
	// Again > 0: not finished, the network is still working (encoding a video);
	// call Prepare again after this long.
	Again time.Duration
}

// Receipt is what we know of something published.
type Receipt struct {
	RemoteID    string          `json:"remote_id"`
	URL         string          `json:"url,omitempty"`
	PublishedAt time.Time       `json:"published_at,omitzero"`
	State       json.RawMessage `json:"state,omitempty"`   // what later parts need of it (a cid)
	Pending     bool            `json:"pending,omitempty"` // accepted, not visible yet: Confirm will tell
}

// Publisher publishes one part.
type Publisher interface {
	// Check says what is wrong with a part, from the limits alone: pure and
	// instant, because the composer calls it at each key.
	Check(*social.Part) []social.Problem
	// Prepare does everything that can be done before the minute: uploads,
	// containers, the final bytes. Nothing becomes visible. It may be called again
	// with the state it returned, any number of times.
	Prepare(context.Context, *Job) (Preparation, error)
	// Commit is the one call that makes it public. Its context carries a Shot.
	Commit(context.Context, *Job) (Receipt, error)
}

// CommitDialer opens the connection of a commit before it is armed, so that
// DNS, TCP and TLS failures are still "nothing was sent". A Publisher that
// speaks HTTP implements it with one line of connectors/internal/api.
type CommitDialer interface {
	DialCommit(context.Context, *Job) (net.Conn, error)
}

// FindingKind is an answer to "did it happen?".
type FindingKind string

// The findings.
const (
	FoundPublished  FindingKind = "published"   // it is there: Receipt
	FoundHandleGood FindingKind = "handle_good" // not published; the same handle can still be committed
	FoundHandleDead FindingKind = "handle_dead" // not published; this handle never will be
	FoundNothing    FindingKind = "not_seen"    // a listing that does not show it; proves nothing
	FoundCandidates FindingKind = "candidates"  // posts of the account since the attempt; the caller compares
)

// Finding is what Find found.
type Finding struct {
	Kind       FindingKind
	Receipt    Receipt
	Candidates []Candidate
}

// Candidate is a post that may be ours.
type Candidate struct {
	Receipt     Receipt   `json:"receipt"`
	Fingerprint string    `json:"fingerprint"`
	Excerpt     string    `json:"excerpt"`    // the beginning of its text, for a person
	Similarity  float64   `json:"similarity"` // see social.Similarity
	SameMedia   bool      `json:"same_media"` // same kinds of media
	At          time.Time `json:"at"`
}

// Finder answers "did it happen?" after an attempt whose outcome is unknown. It
// only reads.
type Finder interface {
	Find(context.Context, *Job) (Finding, error)
}

// Confirmer asks after something that was accepted but is not visible yet.
type Confirmer interface {
	Confirm(context.Context, Receipt) (Receipt, error)
}

// Getter reads one published thing back: to check a receipt, or a remote id
// that a person pasted. A gone one is an Error of kind Invalid with Status 404.
type Getter interface {
	Get(ctx context.Context, remoteID string) (Candidate, error)
}

// Deleter removes something we published. Deleting what is gone is no error.
type Deleter interface {
	Delete(context.Context, Receipt) error
}

// Page is one page of a listing.
type Page struct {
	Posts []RemotePost
	Next  string // cursor of the next page; "" at the end
	Raw   []social.RawAnswer
}

// RemotePost is a post as the network has it, ours or not.
type RemotePost struct {
	Receipt Receipt
	Text    string
	Media   []social.MediaKind
	Parent  string // remote id it answers, or ""
}

// Lister lists the account's own posts, the newest first.
type Lister interface {
	List(ctx context.Context, since time.Time, cursor string) (Page, error)
}

// Recogniser is a Conn of a network that writes the words of a post in its own
// way, so that a listing does not have them as they were sent: links that were
// added or spelled out, mentions put before an answer. Pure.
type Recogniser interface {
	// Recognises says whether a post of a listing has the words of a part. Media
	// and what it answers are compared by the caller.
	Recognises(*social.Part, RemotePost) bool
}

// PostInsights reads the numbers of posts. It may be given any number of
// receipts and makes as few calls as it can.
type PostInsights interface {
	PostInsights(context.Context, []Receipt) (social.Reading, error)
}

// AccountInsights reads the numbers of the account. from and to are dates
// (midnight UTC), both included; networks that only know "now" ignore them.
type AccountInsights interface {
	AccountInsights(ctx context.Context, from, to time.Time) (social.Reading, error)
}
