package social

import "time"

// DeliveryEdit is what a person makes of a delivery that was not sent yet.
type DeliveryEdit struct {
	Ver         int64 // of the delivery that the person saw; another one in the store is a conflict
	Parts       []Part
	PlannedAt   time.Time
	NextAt      time.Time // when smi looks at it first; zero means now
	NotAfter    time.Time
	LatePolicy  LatePolicy
	AllowRepeat bool
	// Approved says that these very parts are approved. Without it the delivery
	// cannot be armed until somebody approves them.
	Approved bool
}

// Answer is what a person says of a delivery in NeedsHuman.
type Answer string

// The answers.
const (
	AnswerThere Answer = "there" // it is on the network: here is its id
	AnswerAgain Answer = "again" // it is not there; send it again
	AnswerDrop  Answer = "drop"  // whatever it is, do nothing more about it
)

// Answers lists every answer.
var Answers = []Answer{AnswerThere, AnswerAgain, AnswerDrop}

// PauseScope says what is paused: one account, one workspace, or, if zero,
// everything.
type PauseScope struct {
	Workspace ID
	Account   ID // with its Workspace
}
