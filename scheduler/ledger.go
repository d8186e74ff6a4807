package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"smi/connectors"
	"smi/internal/social"
)

// Ledger is the durable memory of publishing: what the scheduler needs of the
// store. Every method is one transaction, durable when it returns nil. An error
// from Arm or Move may also mean that the transaction was committed and the
// answer lost: the scheduler then sends nothing, and the row is taken over later.
type Ledger interface {
	// NextDue returns the earliest NextAt of all deliveries that somebody may
	// claim, the zero time if there is none.
	NextDue(ctx context.Context) (time.Time, error)
	// Claim takes due deliveries for a node: it sets owner and lease and raises
	// the epoch, and changes no state. See ClaimRequest for which.
	Claim(ctx context.Context, r ClaimRequest) ([]Work, error)
	// Renew lengthens the leases that a node holds.
	Renew(ctx context.Context, node string, until time.Time) error
	// Arm writes an attempt down and thereby gives the right to send it, once. It
	// returns a *Refusal if a gate is closed; then nothing was changed.
	Arm(ctx context.Context, r ArmRequest) (Attempt, error)
	// Move changes a delivery's state together with all that belongs to it. It
	// returns ErrStale if the delivery is not in one of the From states with this
	// epoch any more; then nothing was changed.
	Move(ctx context.Context, m Move) error
	// Save keeps the state of a Prepare. ErrStale as in Move.
	Save(ctx context.Context, delivery social.ID, epoch int64, c Checkpoint) error
	// Recover is called once when a node starts. alone means that no other
	// process can hold anything (a lock says so): every claim is void at once and
	// every armed attempt becomes ambiguous at once, due for its first look. Else
	// only this node's own former rows are treated so. It returns how many
	// deliveries were armed.
	Recover(ctx context.Context, node string, alone bool, now time.Time) (int, error)
	// Owned says which of these posts of an account belong to a delivery already.
	Owned(ctx context.Context, account social.ID, remoteIDs []string) (map[string]bool, error)
}

// ErrStale is returned when a write came too late: somebody else has the
// delivery, or a person changed it.
var ErrStale = errors.New("the delivery was changed by somebody else")

// ErrRemoteTaken is returned by Move when the post that an attempt is said to
// have made belongs to another attempt of the account already. Nothing was
// changed. Two deliveries never own one remote post.
var ErrRemoteTaken = errors.New("this remote post belongs to another delivery already")

// ErrInvalidMove is returned by Move for a change that the ledger never makes,
// such as one into Failed without a notice. Nothing was changed; it is a bug of
// the caller, which trying again does not cure.
var ErrInvalidMove = errors.New("the ledger does not make this change")

// ClaimRequest asks for due work. Due is a delivery with NextAt ≤ Now that is
// not owned, or whose lease has ended, in a state with something to do
// (scheduled, claimed, ready, armed, ambiguous, waiting). Left out are:
//
//   - publishing states (scheduled, claimed, ready, waiting) of an account or a
//     workspace that is paused, or while everything is paused or the instance is
//     in quarantine, and those of a gap that were not looked up yet;
//   - deliveries of an account of which another node holds one;
//   - more than PerAccount deliveries of one account, counting those this node
//     holds already.
//
// They come ordered by account-independent urgency: planned time, then id.
//
// States, if not empty, narrows the claim to deliveries in these states, and
// PlannedBy, if not zero, leaves out those that are not prepared yet (scheduled,
// claimed) and planned for later than that: so that uploads for later never take
// the place of what is due now.
//
// Gap claims deliveries of a gap for a look instead: those whose look is due and
// that are neither armed nor ambiguous, whatever is paused, because looking
// changes nothing on a network.
type ClaimRequest struct {
	Node       string
	Gap        bool
	States     []social.DeliveryState
	PlannedBy  time.Time
	Now        time.Time
	Lease      time.Duration
	Limit      int
	PerAccount int
}

// Work is a claimed delivery with all that is known of it.
type Work struct {
	Delivery    social.Delivery
	Account     social.Account
	Checkpoint  *Checkpoint                // of the current step, if any
	Attempts    []Attempt                  // of the current step, by N
	Receipts    map[int]connectors.Receipt // of the steps that are done
	ParentState json.RawMessage            // for replies: what the parent's receipt kept, if known
	Gap         *Gap                       // set by a claim for a look
}

// Checkpoint is the state of a part's preparation.
type Checkpoint struct {
	Step        int
	State       json.RawMessage
	Class       connectors.Class // "" while Prepare is not finished
	RequestHash string
	Expires     time.Time // zero: never
}

// AttemptState is what is known of an attempt.
type AttemptState string

// The states of an attempt. At most one attempt of a part is armed or
// ambiguous, and at most one is ok or adopted: unique indexes see to it.
const (
	AttemptArmed          AttemptState = "armed"
	AttemptOK             AttemptState = "ok"               // the network said so, with an id
	AttemptRejected       AttemptState = "rejected"         // refused before any effect
	AttemptNotSent        AttemptState = "not_sent"         // not one byte was written; only the arming process may say so
	AttemptAmbiguous      AttemptState = "ambiguous"        // nobody knows yet
	AttemptAdopted        AttemptState = "adopted"          // found on the network, or shown to be there by a person
	AttemptAbsentByHandle AttemptState = "absent_by_handle" // the handle says that it did not happen
	AttemptAbsentByHuman  AttemptState = "absent_by_human"  // a person says that it did not happen
)

// Attempt is one armed try to publish a part.
type Attempt struct {
	ID          social.ID
	Delivery    social.ID
	Account     social.ID
	Step        int
	N           int // from 1
	Class       connectors.Class
	Epoch       int64
	Node        string
	ArmedAt     time.Time
	SendBy      time.Time
	TakeoverAt  time.Time // not before this may another node call it ambiguous
	TokenGen    int64
	RequestHash string
	Fingerprint string
	State       AttemptState
	Evidence    Evidence
	Receipt     connectors.Receipt // of ok and adopted ones
	Polls       int                // looks so far, while ambiguous
	Early       bool               // absent by its handle, but asked so soon that it may still take effect
	DecidedBy   string             // "answer", "handle", "listing", "person:NAME", "takeover", "restart", "restore"
	DecidedAt   time.Time
}

// Evidence is why an attempt was judged as it was. It is shown to people.
type Evidence struct {
	Reach     connectors.Reach `json:"reach,omitempty"`
	Bytes     int64            `json:"bytes,omitempty"`
	FirstByte time.Time        `json:"first_byte,omitzero"`
	Kind      connectors.Kind  `json:"kind,omitempty"`
	Status    int              `json:"status,omitempty"`
	Code      string           `json:"code,omitempty"`
	RequestID string           `json:"request_id,omitempty"`
	Text      string           `json:"text,omitempty"` // at most 4 KiB, no secrets
	// Candidates are posts that may be this one, for the person who decides.
	Candidates []connectors.Candidate `json:"candidates,omitempty"`
}

// ArmRequest asks for the right to send. Arm checks, in the transaction that
// writes the attempt:
//
//   - the delivery is Ready with this epoch and version, not cancelled, its
//     content hash is ContentHash, its post is approved, and not_after has not
//     passed;
//   - nothing is paused, the account is connected and its grant is of TokenGen;
//   - the instance is not in quarantine;
//   - each charge fits its budget, and adds it;
//   - Spend fits what may be spent in the month of Now, and adds it;
//   - no other delivery of the account with the same fingerprint was armed,
//     ambiguous or published in the last 24 hours, unless AllowRepeat.
//
// It sets the delivery to Armed with NextAt = TakeoverAt.
type ArmRequest struct {
	Delivery    social.ID
	Epoch       int64
	Ver         int64
	Attempt     social.ID // id of the new attempt
	Step        int
	N           int
	Node        string
	Class       connectors.Class
	Now         time.Time
	SendBy      time.Time
	TakeoverAt  time.Time
	TokenGen    int64
	RequestHash string
	Fingerprint string
	ContentHash string
	AllowRepeat bool
	Charges     []Charge
	Spend       Spend // the zero value: it costs nothing
}

// Charge is what an attempt takes from a budget.
type Charge struct {
	Key    string // "bluesky/did:plc:…/create"
	Window time.Duration
	Zone   *time.Location // of the days of a window of 24 hours; nil: UTC
	Limit  int            // after head-room
	Cost   int
}

// Span is the window that a time is in.
func (c Charge) Span(at time.Time) (start, end time.Time) {
	if c.Zone == nil || c.Window != 24*time.Hour {
		start = at.UTC().Truncate(c.Window)
		return start, start.Add(c.Window)
	}
	y, m, d := at.In(c.Zone).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, c.Zone).UTC(), time.Date(y, m, d+1, 0, 0, 0, 0, c.Zone).UTC()
}

// Spend is what a delivery costs at a network that is paid per use. It is taken
// when its first part is armed, for all parts: half a thread is worse than none.
type Spend struct {
	Purse  connectors.Purse
	Micros int64 // millionths of a US dollar
}

// Gate names what refused an arming.
type Gate string

// The gates.
const (
	GateStale      Gate = "stale"      // changed by somebody: not ours any more
	GateCancelled  Gate = "cancelled"  //
	GateContent    Gate = "content"    // changed, or not approved
	GateExpired    Gate = "expired"    // not_after has passed
	GatePaused     Gate = "paused"     //
	GateAccount    Gate = "account"    // not connected
	GateToken      Gate = "token"      // another grant was stored meanwhile
	GateQuarantine Gate = "quarantine" // restored or copied instance
	GateBudget     Gate = "budget"     // Until says when there is room
	GateClock      Gate = "clock"      // the machine's clock is in doubt; Until says when to ask again
	GateRepeat     Gate = "repeat"     // the same text is or may be there already
	GateOpen       Gate = "open"       // another attempt of this part is open or has succeeded
)

// Refusal is why Arm did not arm.
type Refusal struct {
	Gate  Gate
	Until time.Time // for GateBudget and GateClock
	Text  string    // for a person
}

func (r *Refusal) Error() string { return "not armed (" + string(r.Gate) + "): " + r.Text }

// Move is one change of a delivery. Zero fields leave things as they are, with
// three exceptions: NextAt zero means that nobody looks at it by itself, Tries is
// taken as it is, and a change to another state takes Reason as it is, because a
// reason belongs to its state.
type Move struct {
	Delivery social.ID
	Epoch    int64
	From     []social.DeliveryState
	To       social.DeliveryState
	Now      time.Time
	Reason   string
	Step     int
	Tries    int
	NextAt   time.Time // with needs_human and held_late: see social.Delivery
	Release  bool      // give the claim back
	// Checkpoint is saved, DropCheckpoint removes that of Step.
	Checkpoint     *Checkpoint
	DropCheckpoint bool
	// Attempt changes the open attempt.
	Attempt *AttemptChange
	// Body is set when the body became public: its id and URL become the
	// delivery's.
	Body *connectors.Receipt
	// Gap is what a look at a delivery of a gap brought, Trace the attempt that
	// stands for what it found.
	Gap   *GapChange
	Trace *Trace
	// Notice tells people. The states failed, needs_human, held_late, blocked and
	// skipped need one; the store refuses a move into them without it.
	Notice *Notice
}

// AttemptChange is the new knowledge about an attempt. The attempt must be
// armed, ambiguous, or called absent too early.
type AttemptChange struct {
	ID       social.ID
	State    AttemptState
	Evidence Evidence
	Receipt  connectors.Receipt
	Polls    int
	// Early goes with AttemptAbsentByHandle: the word of the handle came before the
	// attempt could no longer take effect. Nothing is decided on it but to send the
	// same handle again. A later word, without Early, holds for all attempts of the
	// part before it as well.
	Early     bool
	DecidedBy string
	// GiveBack is what Arm took for this attempt at ArmedAt. The store gives it back
	// where the change says that nothing was sent or that the network refused:
	// networks do not charge for what they refuse.
	GiveBack Spend
	ArmedAt  time.Time
}

// Notice is something people must hear.
type Notice struct {
	Kind     string // "delivery_failed", "delivery_needs_human", "account_needs_reconnect" …
	Severity string // "info", "warning", "alarm"
	Delivery social.ID
	Account  social.ID
	Text     string // one or two sentences: what happened and what to do
}
