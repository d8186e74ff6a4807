package twitter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
)

// The codes by which smi knows a refusal: the last segment of a problem's type,
// a legacy number, OAuth's word, or a name of our own where X has only a
// sentence. Sentences drift, so they are found by a part of them.
const (
	codeUnauthorized = "unauthorized"
	codeDuplicate    = "duplicate"
	codeTooLong      = "too-long"
	codeReply        = "reply-not-allowed"
	codeNotPermitted = "not-permitted"
	codeMissingScope = "missing-scope"
	codeBadMedia     = "invalid-media-ids"
	codeVideoLong    = "video-too-long"
	codeCashtags     = "cashtags"
	codeTooMany      = "too-many-requests"
	codeCredits      = "credits-depleted"
	codeCapped       = "usage-capped"
	codeInvalid      = "invalid-request"
	codeNotFound     = "resource-not-found"
)

// opRevoke ends a token.
const opRevoke = "revoke"

// opCreate and opUpdate are the calls that make something public.
const (
	opCreate = "createPost"
	opUpdate = "statusesUpdate"
)

// legacy are the numbers of API v1.1, some of which v2 still uses (docs.x.com,
// Response codes, read 2026-08-22).
var legacy = map[string]connectors.Kind{
	"32": connectors.AuthExpired, "89": connectors.AuthExpired, "99": connectors.AuthExpired, "215": connectors.AuthExpired,
	"135": connectors.Transient, // the clock is wrong, not the token
	"93":  connectors.Permission, "220": connectors.Permission, "261": connectors.Permission, "453": connectors.Permission, "226": connectors.Permission,
	"64": connectors.Permanent, "326": connectors.Permanent,
	"88": connectors.RateLimited, "185": connectors.RateLimited,
	"130": connectors.Transient, "131": connectors.Transient, "323": connectors.Invalid, "324": connectors.Invalid, "325": connectors.Transient,
	"186": connectors.Invalid, "187": connectors.Invalid, "385": connectors.Invalid, "386": connectors.Invalid, "433": connectors.Invalid,
	"34": connectors.Invalid, "144": connectors.Invalid, "170": connectors.Invalid, "44": connectors.Invalid,
}

// beforeEffect are the refusals of a post that come before anything is written.
// All of them are complete answers in which X itself says why: a bare status,
// or a sentence smi does not know, is none.
var beforeEffect = func() []api.Rule {
	const (
		problems = "docs.x.com, Response codes and errors"
		codes    = "docs.x.com, v1.1 response codes"
		policy   = "docs.x.com, Changelog"
		threads  = "devcommunity.x.com and the open-source client node-twitter-api-v2"
		read     = "2026-08-22"
	)
	var rules []api.Rule
	add := func(op string, kind connectors.Kind, source string, status int, codes ...string) {
		for _, code := range codes {
			rules = append(rules, api.Rule{Op: op, Status: status, Code: code, Kind: kind, Source: source, Date: read})
		}
	}
	add(opCreate, connectors.AuthExpired, problems, 401, codeUnauthorized)
	add(opCreate, connectors.Invalid, problems, 400, codeInvalid, codeTooLong, codeCashtags)
	add(opCreate, connectors.Transient, problems, 400, codeBadMedia)
	add(opCreate, connectors.Permission, problems, 403, "client-forbidden", "unsupported-authentication", "oauth1-permissions", codeMissingScope, "not-authorized-for-resource")
	add(opCreate, connectors.Invalid, threads, 403, codeDuplicate, codeTooLong, codeVideoLong)
	add(opCreate, connectors.Invalid, policy, 403, codeReply, codeCashtags)
	add(opCreate, connectors.Permission, threads, 403, codeNotPermitted)
	add(opCreate, connectors.RateLimited, problems, 429, codeTooMany, codeCapped)
	add(opCreate, connectors.RateLimited, policy, 402, codeCredits)
	for _, op := range []string{opCreate, opUpdate} {
		for code, kind := range legacy {
			switch code {
			case "130", "131", "325", "34", "144", "170", "44": // of the server, or of reading
				continue
			}
			for _, status := range []int{400, 401, 403, 429} {
				add(op, kind, codes, status, code)
			}
		}
	}
	slices.SortFunc(rules, func(a, b api.Rule) int {
		return strings.Compare(fmt.Sprint(a.Op, a.Code, a.Status), fmt.Sprint(b.Op, b.Code, b.Status))
	})
	return rules
}()

// classify says what a refusal means. It never says Ambiguous: that is for the
// HTTP stack, which knows how far a request went.
func (p *Platform) classify(a api.Answer) *connectors.Error {
	var f failure
	_ = a.JSON(&f) // a page of a proxy has no code and falls through to its status
	message := f.Detail
	if message == "" && len(f.Errors) > 0 {
		message = f.Errors[0].Message
	}
	if message == "" {
		message = f.Description
	}
	e := &connectors.Error{Op: a.Op, Status: a.Status, Code: codeOf(a, f)}
	e.Kind, e.Field = kindOf(a, e.Code, f), fieldOf(f)
	switch e.Kind {
	case connectors.AuthExpired:
		e.Text = "X no longer accepts the sign-in of this account; connect it again"
	case connectors.Permission:
		e.Text = "X does not allow it" + api.Quoted(message)
		switch e.Code {
		case "453", "client-forbidden":
			e.Text += "; the app's access does not cover it: look at its plan in X's developer console"
		case codeMissingScope, "oauth1-permissions":
			e.Text += "; connect the account again with the rights it needs"
		case "226", codeNotPermitted:
			e.Text += "; look at the account on X before anything is tried again"
		}
	case connectors.Permanent:
		e.Text = "X has closed or locked this account" + api.Quoted(message) + "; its owner must sort it out there"
	case connectors.RateLimited:
		e.Text = "X asks to wait: too many calls"
		p.limited(a, e, f)
	case connectors.Invalid:
		e.Text = "X refused it" + api.Quoted(message)
		switch e.Code {
		case codeDuplicate, "187":
			e.Field, e.Text = "text", "X refuses the same text again"+api.Quoted(message)+"; change it"
		case codeTooLong, "186":
			e.Field = "text"
		case codeReply, "433":
			e.Field, e.Text = "parent", "X lets apps answer only those who mentioned or quoted the account"+api.Quoted(message)+"; answer on X itself"
		case "385":
			e.Field, e.Text = "parent", "the post that is answered is gone or cannot be seen"
		case codeCashtags:
			e.Field = "text"
		}
	case connectors.Transient:
		e.Text = "X could not do it now" + api.Quoted(message)
		if e.Code == "135" {
			e.Text = "X does not believe the time of this machine" + api.Quoted(message) + "; set its clock"
		}
	default:
		e.Text = fmt.Sprintf("X answered with status %d in an unknown way%s", a.Status, api.Quoted(message))
	}
	return e
}

// limited says how long to wait. There are limits of 15 minutes, whose headers
// the HTTP stack reads, and of a day, whose headers are not documented
// (node-twitter-api-v2, read 2025-11).
func (p *Platform) limited(a api.Answer, e *connectors.Error, f failure) {
	switch e.Code {
	case codeCapped:
		// It ends with the period, or when somebody raises it: asked once an hour.
		e.Bucket, e.RetryAfter = "app", time.Hour
		e.Text = "X says that what the app may use of this period is used up" + api.Quoted(f.Detail) + "; raise its limit in X's developer console"
		return
	case codeCredits:
		// Only a top-up helps, and nobody says when it comes.
		e.Bucket, e.RetryAfter = "app", 15*time.Minute
		e.Text = "the credits of the app at X are used up; top them up in X's developer console"
		return
	case "185":
		// What an account may post in a day is given out by the half hour (X Help
		// Center, About X limits). The headers are those of another limit.
		e.RetryAfter = dailySlice
		e.Text = "X asks to wait: the account has posted as much as it may for now"
	}
	// They are the endpoint's, so that what is read is not held up with it.
	for _, day := range []string{"X-User-Limit-24hour", "X-App-Limit-24hour"} {
		left, err := strconv.ParseInt(a.Header.Get(day+"-Remaining"), 10, 64)
		reset, err2 := strconv.ParseInt(a.Header.Get(day+"-Reset"), 10, 64)
		if err == nil && err2 == nil && left <= 0 {
			e.RetryAfter = max(e.RetryAfter, time.Unix(reset, 0).Sub(p.env.Now()))
		}
	}
}

// dailySlice is in what portions a day's posts are given out.
const dailySlice = 30 * time.Minute

// sentences are refusals that have no code, by a part of what they say.
var sentences = []struct{ part, code string }{
	{"duplicate content", codeDuplicate},
	{"too long", codeTooLong},
	{"needs to be a bit shorter", codeTooLong},
	{"reply to this conversation is not allowed", codeReply},
	{"post a video longer than", codeVideoLong},
	{"media ids are invalid", codeBadMedia},
	{"cashtag", codeCashtags},
	{"required scope", codeMissingScope},
	{"not permitted to perform this action", codeNotPermitted},
	{"reply to a tweet that is deleted", "385"},
}

func codeOf(a api.Answer, f failure) string {
	if a.Status == http.StatusPaymentRequired && (f.Title != "" || f.Type != "") {
		return codeCredits // whatever type the problem has
	}
	for _, e := range f.Errors {
		if c := string(bytes.Trim(e.Code, `"`)); c != "" && c != "null" {
			return c
		}
	}
	said := []string{f.Detail}
	for _, e := range f.Errors {
		said = append(said, e.Message)
	}
	for _, s := range sentences {
		if strings.Contains(strings.ToLower(strings.Join(said, " ")), s.part) {
			return s.code
		}
	}
	if i := strings.LastIndexByte(f.Type, '/'); i >= 0 && i+1 < len(f.Type) {
		return f.Type[i+1:]
	}
	var word string
	if json.Unmarshal(f.Error, &word) == nil && word != "" {
		return word
	}
	switch {
	case a.Status == http.StatusUnauthorized && strings.EqualFold(f.Title, "Unauthorized"):
		return codeUnauthorized
	case a.Status == http.StatusTooManyRequests && strings.EqualFold(f.Title, "Too Many Requests"):
		return codeTooMany
	}
	return ""
}

// kindOf sorts refusals: by code where codes are sure, then by status.
func kindOf(a api.Answer, code string, f failure) connectors.Kind {
	if k, ok := legacy[code]; ok {
		return k
	}
	asApp := a.Op == opRefresh || a.Op == opExchange
	switch code {
	case codeUnauthorized:
		if asApp { // the client id or secret: it says nothing of the token
			return connectors.Permission
		}
		return connectors.AuthExpired
	case "invalid_grant", "invalid_token":
		return connectors.AuthExpired
	case "invalid_request":
		// A used or ended token (seen 2026); other mistakes in a request have the
		// same word.
		switch {
		case a.Op == opExchange:
			return connectors.Invalid
		case (a.Op == opRefresh || a.Op == opRevoke) && strings.Contains(strings.ToLower(f.Description), "token was invalid"):
			return connectors.AuthExpired
		}
		return connectors.Unknown
	case "invalid_client", "unauthorized_client", "access_denied", "invalid_scope", "client-forbidden", "unsupported-authentication", "oauth1-permissions",
		codeMissingScope, "not-authorized-for-resource", codeNotPermitted:
		return connectors.Permission
	case codeDuplicate, codeTooLong, codeReply, codeVideoLong, codeCashtags, codeInvalid, codeNotFound:
		return connectors.Invalid
	case codeBadMedia: // they live a day: the next attempt uploads them again
		return connectors.Transient
	case codeTooMany, codeCapped, codeCredits:
		return connectors.RateLimited
	}
	switch s := a.Status; {
	case asApp && s == http.StatusBadRequest:
		return connectors.Unknown
	case asApp && s == http.StatusUnauthorized:
		return connectors.Permission
	case s == http.StatusUnauthorized:
		return connectors.AuthExpired
	case s == http.StatusForbidden:
		return connectors.Permission
	case s == http.StatusTooManyRequests, s == http.StatusPaymentRequired:
		return connectors.RateLimited
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s >= 500:
		return connectors.Transient
	case s == http.StatusBadRequest, s == http.StatusNotFound, s == http.StatusGone, s == http.StatusRequestEntityTooLarge, s == http.StatusUnprocessableEntity:
		return connectors.Invalid
	}
	return connectors.Unknown
}

// fields are our names of the network's parameters.
var fields = []struct{ parameter, field string }{
	{"text", "text"},
	{"status", "text"},
	{"media", "media"},
	{"poll.duration", "options." + optionPollFor},
	{"poll", "options." + optionPoll},
	{"reply_settings", "options." + optionReplies},
	{"reply", "parent"},
}

// fieldOf finds our field in the parameters that a refusal names.
func fieldOf(f failure) string {
	for _, e := range f.Errors {
		for _, name := range slices.Sorted(maps.Keys(e.Parameters)) {
			for _, k := range fields {
				if strings.HasPrefix(name, k.parameter) {
					return k.field
				}
			}
		}
	}
	return ""
}

// isCode says whether err is the network's refusal of this name.
func isCode(err error, codes ...string) bool {
	e := connectors.AsError(err)
	return e != nil && slices.Contains(codes, e.Code)
}
