package fake

import (
	"fmt"
	"net/http"
	"time"

	"smi/connectors"
)

// Op names a call that can be scripted and counted.
type Op string

// The calls. Prepare is one OpPrepare at its beginning and one OpUpload for
// each file.
const (
	OpIdentity        Op = "identity"
	OpUpload          Op = "upload"
	OpPrepare         Op = "prepare"
	OpDial            Op = "dial" // before arming
	OpCommit          Op = "commit"
	OpFind            Op = "find"
	OpConfirm         Op = "confirm"
	OpGet             Op = "get"
	OpDelete          Op = "delete"
	OpList            Op = "list"
	OpPostInsights    Op = "post_insights"
	OpAccountInsights Op = "account_insights"
	OpExchange        Op = "exchange"
	OpLogin           Op = "login"
	OpRefresh         Op = "refresh"
	OpAccounts        Op = "accounts"
	OpRevoke          Op = "revoke"
)

// Do says what goes wrong in a call. The comments say what the client can know
// (how far the bytes came) and what is true on the network.
type Do string

// What can go wrong.
const (
	Nothing         Do = ""                  // a healthy call; a place holder in a script
	Refuse          Do = "refuse"            // answered with an error, no effect
	CutBeforeWrite  Do = "cut_before_write"  // not one byte was written, no effect
	CutBeforeEffect Do = "cut_before_effect" // written, connection lost, no effect
	CutAfterEffect  Do = "cut_after_effect"  // written, connection lost, applied
	FailAfterEffect Do = "fail_after_effect" // answered with an error (500 unless Status says else), applied
	Park            Do = "park"              // written, connection lost, applied After later
	WithoutID       Do = "without_id"        // answered with success but no id, applied
	Garbage         Do = "garbage"           // answered with what nobody can read, applied
	Hang            Do = "hang"              // written, applied, no answer until the context ends
	HangBefore      Do = "hang_before"       // written, no effect, no answer until the context ends
)

// Fault is one scripted misfortune. The zero Fault is a healthy call.
type Fault struct {
	Do         Do
	Kind       connectors.Kind // for Refuse; "" takes the one that belongs to Status
	Status     int             // for Refuse and FailAfterEffect; 0 takes the one that belongs to Kind
	Code       string          // the network's own code
	Field      string          // for a Refuse of kind Invalid
	RetryAfter time.Duration   // for Refuse
	Before     time.Duration   // wait before the first byte is written
	Delay      time.Duration   // wait before the answer, beside the account's latency
	After      time.Duration   // for Park: how much later it is applied
	Met        func()          // called when the network has done what it will do and the misfortune begins; may be nil
}

// none says that nothing goes wrong.
func (f Fault) none() bool { return f.Do == Nothing && f.Before == 0 && f.Delay == 0 }

func (f Fault) met() {
	if f.Met != nil {
		f.Met()
	}
}

var statusOf = map[connectors.Kind]int{
	connectors.AuthExpired: http.StatusUnauthorized,
	connectors.Permission:  http.StatusForbidden,
	connectors.RateLimited: http.StatusTooManyRequests,
	connectors.Transient:   http.StatusServiceUnavailable,
	connectors.Invalid:     http.StatusBadRequest,
	connectors.Ambiguous:   http.StatusConflict,
	connectors.Unsupported: http.StatusNotImplemented,
	connectors.Permanent:   http.StatusGone,
	connectors.Unknown:     http.StatusTeapot,
}

// kindOf is how this network's connector reads a status. before says that the
// call is a commit: then only what is refused before any effect is definite.
func kindOf(status int, commit bool) connectors.Kind {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusNotFound:
		return connectors.Invalid
	case http.StatusUnauthorized:
		return connectors.AuthExpired
	case http.StatusForbidden:
		return connectors.Permission
	case http.StatusTooManyRequests:
		return connectors.RateLimited
	case http.StatusGone:
		return connectors.Permanent
	}
	if commit {
		return connectors.Ambiguous
	}
	if status >= 500 || status == http.StatusRequestTimeout || status == http.StatusTooEarly || status == http.StatusConflict {
		return connectors.Transient
	}
	return connectors.Unknown
}

// refusal is the Error a scripted Refuse or FailAfterEffect comes out as.
func (f Fault) refusal(op Op) *connectors.Error {
	e := &connectors.Error{Op: string(op), Kind: f.Kind, Status: f.Status, Code: f.Code, Field: f.Field, RetryAfter: f.RetryAfter}
	if f.Do == FailAfterEffect {
		if e.Status == 0 {
			e.Status = http.StatusInternalServerError
		}
		e.Kind = connectors.Ambiguous
	}
	if e.Status == 0 {
		e.Status = statusOf[e.Kind]
	}
	if e.Kind == "" {
		e.Kind = kindOf(e.Status, op == OpCommit)
	}
	if e.Kind == connectors.RateLimited {
		e.Bucket = "endpoint:" + string(op)
	}
	e.Text = fmt.Sprintf("the network answered %s with %s", op, http.StatusText(e.Status))
	return e
}

// cut is the Error of a connection that broke. wrote says whether bytes had
// been written; only on a commit does that make the outcome unknown.
func cut(op Op, wrote bool, err error) *connectors.Error {
	if wrote && op == OpCommit {
		return &connectors.Error{Kind: connectors.Ambiguous, Op: string(op), Text: "the connection was lost before the network answered", Err: err}
	}
	if wrote && op == OpRefresh {
		return &connectors.Error{Kind: connectors.Ambiguous, Op: string(op), Text: "the connection was lost before the network answered; the old grant may be dead", Err: err}
	}
	return &connectors.Error{Kind: connectors.Transient, Op: string(op), Text: "the network could not be reached", Err: err}
}

// garbled is the Error of an answer that cannot be read.
func garbled(op Op) *connectors.Error {
	e := &connectors.Error{Kind: connectors.Transient, Op: string(op), Status: http.StatusOK, Text: "the network's answer could not be read"}
	if op == OpCommit || op == OpRefresh {
		e.Kind = connectors.Ambiguous
	}
	return e
}
