package social

import (
	"errors"
	"fmt"
	"strings"
)

// Code sorts application errors by what the caller can do about them. HTTP
// statuses and exit codes are made from it in one place.
type Code string

// The codes. They are on the wire; don't rename them.
const (
	CodeInvalid     Code = "invalid"      // the request is wrong: Field says where
	CodeNotFound    Code = "not_found"    // no such thing, or not for this caller
	CodeConflict    Code = "conflict"     // somebody else changed it first, or it is too late
	CodeForbidden   Code = "forbidden"    // the caller may not
	CodeUnavailable Code = "unavailable"  // try again later
	CodeExhausted   Code = "exhausted"    // disk full, limit reached
	CodeInternal    Code = "internal"     // our fault
	CodeUnsupported Code = "unsupported"  // the network cannot
	CodeRemote      Code = "remote_error" // the network said no; Text says what
)

// Error is an application error: one sentence for a person, the field it is
// about, and the cause for the log. Errors of networks are connectors.Error.
type Error struct {
	Code  Code
	Field string // the request's field as the caller wrote it, e.g. "parts[1].text"; may be empty
	Text  string // one sentence that names the trouble and the cure; never a secret
	Err   error  // the cause; may be nil, is not shown to callers
}

func (e *Error) Error() string {
	s := e.Text
	if e.Field != "" {
		s = e.Field + ": " + s
	}
	if e.Err != nil && !strings.Contains(e.Text, e.Err.Error()) {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error. A %w in the format becomes its cause; where the format
// ends in ": %w" the cause is left out of Text, which is for people.
func Errorf(code Code, field, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	e := &Error{Code: code, Field: field, Text: err.Error(), Err: errors.Unwrap(err)}
	if e.Err != nil {
		e.Text = strings.TrimSuffix(e.Text, ": "+e.Err.Error())
	}
	return e
}

// CodeOf returns the code of the first Error in err's chain, CodeInternal if
// there is none, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// Problem is something wrong with a part before it is sent: found by a
// connector's Check, shown in the composer, and named by the CLI.
type Problem struct {
	Field    string   `json:"field"`           // "text", "media[2].alt", "media", "link", "options.reply_to"
	Text     string   `json:"text"`            // one sentence: what is wrong and what to do
	Severity Severity `json:"severity"`        // only Refused keeps a post from being planned
	Limit    int64    `json:"limit,omitempty"` // the limit that was passed, if it is one
	Value    int64    `json:"value,omitempty"` // what was found
}

// Severity says what a Problem does.
type Severity string

// The severities.
const (
	Refused Severity = "refused" // the network would refuse it: cannot be planned
	Lossy   Severity = "lossy"   // it will be changed on the way, Text says how
	Advice  Severity = "advice"  // allowed, but unwise (an image without alt text)
	Costs   Severity = "costs"   // what it will cost; Value is in millionths of a US dollar
)

// Refusals returns the problems that keep a part from being planned.
func Refusals(ps []Problem) []Problem {
	var out []Problem
	for _, p := range ps {
		if p.Severity == Refused {
			out = append(out, p)
		}
	}
	return out
}
