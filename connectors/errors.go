package connectors

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind says what a failure means to whoever must act on it. Kinds are stored;
// do not rename them.
type Kind string

// The kinds. Only scheduler.Decide compares them.
const (
	// AuthExpired: the token is dead. Refresh once, else a person reconnects.
	AuthExpired Kind = "auth_expired"
	// Permission: the token is fine, a scope, role or app review is missing.
	// Text names it.
	Permission Kind = "permission"
	// RateLimited: the network said to wait. RetryAfter says how long; Bucket
	// says what is full ("app", "account", "endpoint:…").
	RateLimited Kind = "rate_limited"
	// Transient: it certainly did not happen, and may be tried again.
	Transient Kind = "transient"
	// Invalid: the content was refused. Field says where.
	Invalid Kind = "invalid"
	// Ambiguous: it may have happened. Never sent again by smi itself.
	Ambiguous Kind = "ambiguous"
	// Unsupported: the connector cannot. A bug if Check allowed it.
	Unsupported Kind = "unsupported"
	// Permanent: the account is gone or the API retired. An admin acts.
	Permanent Kind = "permanent"
	// Unknown: not classified. Before a commit it is treated as Transient a few
	// times; from a commit it is treated as Ambiguous.
	Unknown Kind = "unknown"
)

// Kinds lists every kind.
var Kinds = []Kind{AuthExpired, Permission, RateLimited, Transient, Invalid, Ambiguous, Unsupported, Permanent, Unknown}

// ErrFrozen is in the chain of an error when a login may not be renewed at the
// moment because that would end the login of another instance.
var ErrFrozen = errors.New("this may be a copy of the live smi: the login is not renewed before smi adopt")

// Error is what every verb of a connector returns when it fails.
type Error struct {
	Kind       Kind
	Op         string        // "publish", "upload", "refresh": the connector's verb or the network's method
	Text       string        // one sentence for a team member; holds no secret
	Field      string        // for Invalid: "text", "media[1]", "link"
	RetryAfter time.Duration // for RateLimited and Transient; 0: the caller's own back-off
	Bucket     string        // for RateLimited: "app", "account", "endpoint:NAME"
	Status     int           // HTTP status, 0 if there was no complete answer
	Code       string        // the network's own code
	RequestID  string        // the network's id of the request, for its support
	Err        error         // the cause
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op + ": ")
	}
	if e.Text != "" {
		b.WriteString(e.Text)
	} else {
		b.WriteString(string(e.Kind))
	}
	if e.Status != 0 || e.Code != "" {
		fmt.Fprintf(&b, " (status %d", e.Status)
		if e.Code != "" {
			b.WriteString(", code " + e.Code)
		}
		b.WriteString(")")
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// AsError returns the first Error in err's chain. An error without one becomes
// Unknown, a cancelled or expired context Transient; nil stays nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &Error{Kind: Transient, Text: "the call was given up", Err: err}
	}
	return &Error{Kind: Unknown, Text: "unexpected failure", Err: err}
}

// KindOf returns the kind of err, and "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	return AsError(err).Kind
}
