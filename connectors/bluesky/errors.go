package bluesky

import (
	"net/http"
	"regexp"
	"strings"

	"smi/connectors"
	"smi/connectors/internal/api"
)

// The network's error names that smi treats in a special way. Names are those
// of the lexicons and the server sources of bluesky-social/atproto, read
// 2026-08-20.
const (
	codeNonce          = "use_dpop_nonce"
	codeInvalidToken   = "invalid_token"
	codeInvalidGrant   = "invalid_grant"
	codeRecordNotFound = "RecordNotFound"
	codeInvalidRequest = "InvalidRequest"
	codeBlobNotFound   = "BlobNotFound"
	codeAuthRequired   = "AuthenticationRequired"
)

// opPublish is the one call that makes something public.
const opPublish = "putRecord"

// beforeEffect are the refusals of putRecord that come before anything is
// written. The server checks in this order: proof and token, scopes, body and
// record, blobs, write points; only then does it touch the repository.
var beforeEffect = func() []api.Rule {
	const (
		verifier = "bluesky-social/atproto packages/pds/src/auth-verifier.ts"
		handler  = "bluesky-social/atproto packages/pds/src/api/com/atproto/repo/putRecord.ts"
		prepare  = "bluesky-social/atproto packages/pds/src/repo/prepare.ts"
		provider = "bluesky-social/atproto packages/oauth/oauth-provider"
		limiter  = "bluesky-social/atproto packages/xrpc-server/src/rate-limiter.ts"
		input    = "bluesky-social/atproto packages/xrpc-server/src/server.ts"
		read     = "2026-08-20"
	)
	var rules []api.Rule
	add := func(kind connectors.Kind, source string, status int, codes ...string) {
		for _, code := range codes {
			rules = append(rules, api.Rule{Op: opPublish, Status: status, Code: code, Kind: kind, Source: source, Date: read})
		}
	}
	add(connectors.Transient, provider, 401, codeNonce)
	add(connectors.AuthExpired, provider, 401, codeInvalidToken, "invalid_dpop_proof")
	add(connectors.AuthExpired, verifier, 400, "ExpiredToken", "InvalidToken")
	add(connectors.AuthExpired, verifier, 401, "ExpiredToken", "InvalidToken", "AuthMissing", codeAuthRequired)
	add(connectors.Permission, verifier, 403, "Forbidden", "ScopeMissingError", "InsufficientScope", "InvalidToken")
	add(connectors.Permanent, verifier, 401, "AccountTakedown", "AccountDeactivated")
	add(connectors.Permanent, verifier, 403, "AccountNotFound", "AccountTakedown", "AccountDeactivated")
	add(connectors.Permanent, handler, 400, "AccountTakedown", "AccountDeactivated", "RepoTakendown", "RepoDeactivated", "RepoSuspended")
	add(connectors.Invalid, prepare, 400, codeInvalidRequest, "InvalidRecord")
	add(connectors.Transient, prepare, 400, codeBlobNotFound)
	add(connectors.Invalid, prepare, 400, "InvalidMimeType", "BlobTooLarge")
	add(connectors.Transient, handler, 400, "InvalidSwap")
	add(connectors.RateLimited, limiter, 429, "RateLimitExceeded")
	add(connectors.Invalid, input, 413, "PayloadTooLarge")
	return rules
}()

// classify says what a refusal means, whatever was called. It never says
// Ambiguous: that is for the HTTP stack, which knows how far a request went.
func classify(a api.Answer) *connectors.Error {
	var body xrpcError
	_ = a.JSON(&body) // a page of a proxy has no name and falls through to its status
	message := body.Message
	if message == "" {
		message = body.Description
	}
	code := body.Error
	if m := challenge.FindStringSubmatch(a.Header.Get("WWW-Authenticate")); m != nil {
		code = m[1]
	}
	e := &connectors.Error{Op: a.Op, Status: a.Status, Code: code, Kind: kindOf(a.Status, code, message)}
	switch e.Kind {
	case connectors.AuthExpired:
		e.Text = "Bluesky no longer accepts the sign-in of this account; connect it again"
	case connectors.Permission:
		e.Text = "Bluesky does not allow it" + api.Quoted(message) + "; connect the account again with the rights it needs"
	case connectors.Permanent:
		e.Text = "Bluesky has closed or paused this account" + api.Quoted(message) + "; its owner must sort it out there"
	case connectors.RateLimited:
		e.Text = "Bluesky asks to wait: too many calls"
	case connectors.Invalid:
		e.Field = fieldOf(message)
		e.Text = "Bluesky refused it" + api.Quoted(message)
	case connectors.Transient:
		e.Text = "Bluesky could not do it now" + api.Quoted(message)
	default:
		e.Text = "Bluesky answered in an unknown way" + api.Quoted(message)
		if code == codeNonce {
			e.Text = "Bluesky asked for a fresh proof of the session"
		}
	}
	return e
}

// challenge finds the error in a WWW-Authenticate header (RFC 9449, 7.1).
var challenge = regexp.MustCompile(`error="([A-Za-z_]+)"`)

// kindOf sorts the network's errors: by name where names are sure, then by
// status.
func kindOf(status int, name, message string) connectors.Kind {
	switch name {
	case codeNonce:
		// Not Transient: the HTTP stack would try again at once without the new
		// nonce. Whoever called knows what to do; on a commit it is a rule.
		return connectors.Unknown
	case "ExpiredToken", "InvalidToken", "AuthMissing", codeAuthRequired, "AuthFactorTokenRequired",
		codeInvalidToken, codeInvalidGrant, "invalid_dpop_proof":
		if status == http.StatusForbidden || strings.Contains(message, "Bad token scope") {
			return connectors.Permission
		}
		return connectors.AuthExpired
	case "AccountTakedown", "AccountDeactivated", "AccountNotFound", "RepoTakendown", "RepoDeactivated", "RepoSuspended", "RepoNotFound":
		return connectors.Permanent
	case "Forbidden", "ScopeMissingError", "InsufficientScope", "UploadForbidden", "access_denied", "invalid_client", "invalid_scope":
		return connectors.Permission
	case "RateLimitExceeded", "DailyLimitExceeded", "TooManyOpenUploads":
		return connectors.RateLimited
	case "InternalServerError", "UpstreamFailure", "UpstreamTimeout", "NotEnoughResources", "ServiceOverloaded", "InvalidSwap":
		return connectors.Transient
	case codeBlobNotFound: // collected meanwhile: the next attempt uploads it again
		return connectors.Transient
	case codeInvalidRequest, "InvalidRecord", "InvalidHandle", codeRecordNotFound, "NotFound", "BlobTooLarge", "InvalidMimeType",
		"PayloadTooLarge", "UnsupportedContentType", "VideoTooLarge", "VideoTooLong", "BadAspectRatio", "HandleNotFound":
		return connectors.Invalid
	}
	switch {
	case strings.Contains(message, "Missing required scope"):
		return connectors.Permission
	case status == http.StatusUnauthorized:
		return connectors.AuthExpired
	case status == http.StatusForbidden:
		return connectors.Permission
	case status == http.StatusTooManyRequests:
		return connectors.RateLimited
	case status == http.StatusRequestEntityTooLarge:
		return connectors.Invalid
	case status == http.StatusNotFound:
		return connectors.Invalid
	case status >= 500, status == http.StatusRequestTimeout:
		return connectors.Transient
	}
	return connectors.Unknown
}

// Servers name the place in a record as $.record.embed.images[1] (the reference
// server on loopback, 2026-11-23) or, older ones, as Record/embed/images/1
// (bluesky-social/atproto lexicon package, read 2026-08-20).
var (
	oldPath    = regexp.MustCompile(`\bRecord((?:/\w+)+)`)
	newPath    = regexp.MustCompile(`\$\.record((?:\.\w+|\[\d+\])+)`)
	imagePath  = regexp.MustCompile(`^embed(?:/media)?/images/(\d+)(/alt)?`)
	fieldPaths = []struct{ path, field string }{
		{"text", "text"},
		{"langs", "langs"},
		{"facets", "text"},
		{"embed/external", "link"},
		{"embed/media/external", "link"},
		{"embed/record", "options.quote"},
		{"labels", "options.label"},
		{"embed", "media"},
		{"reply", "parent"},
	}
)

// fieldOf finds our field in a message that names the network's.
func fieldOf(message string) string {
	path := ""
	if m := newPath.FindStringSubmatch(message); m != nil {
		path = strings.NewReplacer(".", "/", "[", "/", "]", "").Replace(m[1])
	} else if m := oldPath.FindStringSubmatch(message); m != nil {
		path = m[1]
	}
	path = strings.TrimPrefix(path, "/")
	if m := imagePath.FindStringSubmatch(path); m != nil {
		if m[2] != "" {
			return "media[" + m[1] + "].alt"
		}
		return "media[" + m[1] + "]"
	}
	for _, p := range fieldPaths {
		if path == p.path || strings.HasPrefix(path, p.path+"/") {
			return p.field
		}
	}
	return ""
}

// isCode says whether err is the network's refusal of this name.
func isCode(err error, code string) bool {
	e := connectors.AsError(err)
	return e != nil && e.Code == code
}
