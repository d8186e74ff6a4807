package connectortest

import (
	"context"
	"net/url"
	"testing"
	"time"

	"smi/connectors"
	"smi/internal/social"
)

// Harness is a connector in front of a simulated network, freshly opened for
// one check. What it needs closing is closed by t.Cleanup of the t given to the
// open function.
type Harness struct {
	// Env is made by NewEnv, with Dial (and RootCAs) leading to the simulator.
	Env connectors.Env
	// New makes the platform under test. The suite calls it with Env, or with an
	// Env whose Dial it has tampered with.
	New func(connectors.Env) (connectors.Platform, error)
	// Account exists on the simulated network and Grant opens it. Account.RemoteID
	// is the network's own id of it.
	Account social.Account
	Grant   connectors.Grant

	Truth  Truth
	Stage  Stage
	Login  Login
	Faults Faults // nil needs Skip["wire"]

	// Media makes the bytes of a file of this kind with exactly this size; nil
	// takes MediaBytes, which makes small valid pictures and padded containers.
	Media func(t testing.TB, kind social.MediaKind, mime string, size int64) []byte
	// Count counts text where Limits.Text.Unit is Weighted; nil otherwise.
	Count func(string) int
	// ResetHeader gives the header by which this network says when a limit ends;
	// nil if it has none beside Retry-After.
	ResetHeader func(time.Time) map[string]string

	// Skip leaves a suite ("insights"), a check ("insights/missing metric"), an op
	// of the wire matrix ("wire/refresh") or a cell of it ("wire/commit/status 409")
	// out, with the reason. A
	// limit that only smi keeps and the network does not is
	// "limits/NAME at the network".
	Skip map[string]string
	// Expect overrides what a cell of the wire matrix must come out as, by name
	// ("wire/commit/status 409"). The test says beside it where that is written.
	Expect map[string][]connectors.Kind
}

// Truth is what the simulated network knows, whatever a client believes.
type Truth interface {
	// Posts returns what is public on the account now, oldest first.
	Posts() []Post
	// Effects is how many posts ever became public on the account, removed ones
	// included.
	Effects() int
	// Calls is how many requests of any kind have reached the network.
	Calls() int
}

// Post is a post as the simulated network has it.
type Post struct {
	RemoteID string
	Text     string
	Parent   string // remote id it answers, or ""
	Media    int
	Hash     string // SHA-256 (hex) of the body of the request that made it; "" if the simulator cannot tell
}

// Stage is what happens behind the connector's back. A nil hook needs a skip of
// the checks that want it.
type Stage struct {
	// Write is the owner who posts by hand. It returns the remote id.
	Write func(text string) string
	// Remove takes a post off the network.
	Remove func(remoteID string)
	// Count sets a number of a post ("" is the account).
	Count func(remoteID string, m social.Metric, value int64)
	// Hide makes the network stop reporting a metric.
	Hide func(social.Metric)
	// Loop makes the cursor of listings lead back to where it came from.
	Loop func()
	// Noise adds fields nobody knows to every JSON answer.
	Noise func()
	// Revoke is the person who takes smi's access away at the network.
	Revoke func()
	// PageSize is how many posts a page of the listing has; 0 skips nothing: then
	// pages cannot be tested and "insights/pages" needs a skip.
	PageSize int
}

// Login is how a person joins.
type Login struct {
	// Form is what they type, where the platform is a FormLogin.
	Form map[string]social.Secret
	// Bad changes one value of the form into a wrong one; "" takes the first
	// secret field.
	Bad string
	// Consent is the person at the browser, where the platform is an OAuth: they
	// open the URL and agree to everything but the withheld scopes.
	Consent func(ctx context.Context, authURL string, withhold ...string) (Callback, error)
	// Redirect is the registered address, and Hint what the person typed.
	Redirect string
	Hint     string
	// NoPKCE says why this network's flow knows no PKCE; "" where it does.
	NoPKCE string
	// Scope is one of the scopes that can be withheld; "" means that this network
	// has none.
	Scope string
}

// Callback is what comes back from the browser, and what the network was asked.
type Callback struct {
	Query       url.Values
	State       string
	Challenge   string // PKCE
	Method      string // "S256"
	RedirectURI string
}

// Op is a call of the contract whose requests a fault can be put on.
type Op string

// The ops of the wire matrix. OpPrepare is a request that Prepare makes for a
// part with a picture.
const (
	OpIdentity        Op = "identity"
	OpPrepare         Op = "prepare"
	OpCommit          Op = "commit"
	OpFind            Op = "find"
	OpGet             Op = "get"
	OpDelete          Op = "delete"
	OpList            Op = "list"
	OpPostInsights    Op = "post_insights"
	OpAccountInsights Op = "account_insights"
	OpRefresh         Op = "refresh"
)

// FaultKind is what goes wrong on the wire.
type FaultKind string

// The faults. Refused connections and broken TLS are made by the suite in
// Env.Dial; a network without connections is given RefuseDial and BreakTLS and
// makes them itself.
const (
	Answer      FaultKind = "answer"       // Status, Header and Body instead of the real answer
	CutJSON     FaultKind = "cut_json"     // the real answer, cut in its middle
	Cut         FaultKind = "cut"          // the connection is closed without an answer
	SlowHeaders FaultKind = "slow_headers" // no header comes until the client gives up
	SlowBody    FaultKind = "slow_body"    // headers come, the body never ends
	RefuseDial  FaultKind = "refuse_dial"  // the connection is refused
	BreakTLS    FaultKind = "break_tls"    // the handshake fails
)

// Fault is one misfortune. Acted says that the network acts on the request
// before it misbehaves.
type Fault struct {
	Do     FaultKind
	Acted  bool
	Status int
	Header map[string]string
	Body   string
}

// Faults puts faults on the requests of an op.
type Faults interface {
	// Set plays f at every request of op from now on. It reports false if the
	// network has no request for this op, or f cannot be made on it; the cell is
	// then not applicable.
	Set(op Op, f Fault) bool
	// Hit is closed when the fault was met for the first time since Set.
	Hit() <-chan struct{}
}
