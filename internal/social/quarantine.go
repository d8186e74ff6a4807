package social

import "time"

// QuarantineKind says why an instance may not be the live one, or may not know
// all that it did.
type QuarantineKind string

// The kinds. They are stored; do not rename them.
const (
	Restored    QuarantineKind = "restored"     // smi restore put a backup in place
	Copied      QuarantineKind = "copied"       // another machine, name or folder than last time
	OldDatabase QuarantineKind = "old_database" // the database is older than what this machine knows of it
	Timeline    QuarantineKind = "timeline"     // PostgreSQL failed over, and may have lost what was written last
	UncleanStop QuarantineKind = "unclean_stop" // the machine went down without a word
	ByHand      QuarantineKind = "by_hand"      // a person or a test asked for it
)

// QuarantinePhase is how far a quarantine is.
type QuarantinePhase string

// The phases.
const (
	// Quarantined: nothing is armed, and no login is renewed whose renewal would
	// end the login of the live instance. What can be looked up is looked up.
	Quarantined QuarantinePhase = "quarantined"
	// Adopting: a person said that this is the live instance, or nobody needs to.
	// Each delivery of the gap is looked up before it may be armed.
	Adopting QuarantinePhase = "adopting"
	// Ended: every delivery of the gap is decided.
	Ended QuarantinePhase = "ended"
)

// QuarantineOrder begins a quarantine.
type QuarantineOrder struct {
	Kind   QuarantineKind
	Reason string // one sentence for a person: what was seen
	// From and To bound the gap: what happened in it may not be in the database.
	// A zero To means until a person adopts the instance.
	From, To time.Time
	// Short: this certainly is the live instance, and only what was planned in the
	// gap is held back until it was looked up. What is not found goes out as usual.
	// It ends by itself.
	Short bool
	By    string // actor
}

// Quarantine is one quarantine with what is known of its gap.
type Quarantine struct {
	ID        ID              `json:"id"`
	Kind      QuarantineKind  `json:"kind" enum:"restored,copied,old_database,timeline,unclean_stop,by_hand"`
	Reason    string          `json:"reason"`
	Phase     QuarantinePhase `json:"phase" enum:"quarantined,adopting,ended"`
	Short     bool            `json:"short" doc:"only what was planned in the gap is held back, and it ends by itself"`
	Stops     bool            `json:"stops" doc:"nothing at all is sent at the moment"`
	From      time.Time       `json:"from" doc:"begin of the gap: what happened since may be missing here"`
	To        time.Time       `json:"to,omitzero" doc:"end of the gap; absent until the instance is adopted"`
	Since     time.Time       `json:"since"`
	By        string          `json:"by"`
	AdoptedAt time.Time       `json:"adopted_at,omitzero"`
	AdoptedBy string          `json:"adopted_by,omitempty"`
	EndedAt   time.Time       `json:"ended_at,omitzero"`
	Gap       GapCount        `json:"gap" doc:"how many deliveries of the gap are in which case"`
}

// Open says whether the quarantine has not ended.
func (q Quarantine) Open() bool { return q.ID != 0 && q.Phase != Ended }

// GapCount counts the deliveries of a gap by what became of them.
type GapCount struct {
	Pending  int `json:"pending" doc:"not decided yet"`
	Adopted  int `json:"adopted" doc:"found on the network"`
	Asked    int `json:"asked" doc:"something like it was found; a person must say"`
	Missing  int `json:"missing" doc:"looked for and not found; a person must say"`
	Unlooked int `json:"unlooked" doc:"could not be looked up; a person must say"`
	Released int `json:"released" doc:"goes out as usual, or was decided in another way"`
}

// GapOutcome is what became of a delivery of the gap.
type GapOutcome string

// The outcomes. They are stored; do not rename them.
const (
	GapPending  GapOutcome = ""
	GapAdopted  GapOutcome = "adopted"
	GapAsked    GapOutcome = "asked"
	GapMissing  GapOutcome = "missing"
	GapUnlooked GapOutcome = "unlooked"
	GapReleased GapOutcome = "released"
)
