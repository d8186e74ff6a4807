package youtube

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"smi/connectors"
	"smi/connectors/internal/api"
)

// The network's reasons that smi treats in a special way (YouTube Data API,
// "Errors" and the error tables of each method; Google Identity, "Using OAuth
// 2.0"; read 2026-11).
const (
	codeInvalidToken     = "invalid_token"
	codeInvalidGrant     = "invalid_grant"
	codeVideoNotFound    = "videoNotFound"
	codePlaylistNotFound = "playlistNotFound"
	codeQuota            = "quotaExceeded"
	codeDaily            = "dailyLimitExceeded"
	codeUploadLimit      = "uploadLimitExceeded"
	codeUserRate         = "userRateLimitExceeded"
	codePrivacy          = "forbiddenPrivacySetting"
	codeLicense          = "forbiddenLicenseSetting"
)

// Ops that have a quota of their own.
const (
	opInsert  = "videos.insert"
	opStats   = "videos.batchGetStats"
	opReports = "reports.query"
	opToken   = "token"
)

// opPublish is the one call that makes something public.
const opPublish = "videos.update"

// beforeEffect are the refusals of videos.update that come before anything is
// changed: who calls, whether there is quota left, whether there is such a
// video, and whether what is asked for is allowed.
var beforeEffect = func() []api.Rule {
	const (
		general = "developers.google.com/youtube/v3/docs/errors, General errors"
		method  = "developers.google.com/youtube/v3/docs/videos/update, Errors"
		quotas  = "developers.google.com/youtube/v3/getting-started, Quota usage"
		read    = "2026-11-23"
	)
	var rules []api.Rule
	add := func(kind connectors.Kind, source string, status int, codes ...string) {
		for _, code := range codes {
			rules = append(rules, api.Rule{Op: opPublish, Status: status, Code: code, Kind: kind, Source: source, Date: read})
		}
	}
	add(connectors.AuthExpired, general, 401, "authError")
	add(connectors.Permission, general, 401, "youtubeSignupRequired")
	add(connectors.Permission, general, 403, "insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "accountDelegationForbidden")
	add(connectors.Permanent, general, 403, "authenticatedUserAccountClosed", "authenticatedUserAccountSuspended", "channelClosed", "channelSuspended")
	add(connectors.RateLimited, quotas, 403, codeQuota, codeDaily, "rateLimitExceeded", codeUserRate)
	add(connectors.Permission, method, 403, "forbidden")
	add(connectors.Invalid, method, 403, codePrivacy, codeLicense)
	add(connectors.Invalid, method, 400, "invalidPublishAt", "invalidVideoMetadata")
	add(connectors.Invalid, method, 404, codeVideoNotFound)
	return rules
}()

// classify says what a refusal means, whatever was called. It never says
// Ambiguous: that is for the HTTP stack, which knows how far a request went.
func (p *Platform) classify(a api.Answer) *connectors.Error {
	code, message := wordsOf(a)
	if code == "" {
		return nil // a bare status, a page of a proxy: what it means everywhere
	}
	e := &connectors.Error{Code: code, Kind: kindOf(a.Status, code), Field: fieldOf(code)}
	switch e.Kind {
	case connectors.AuthExpired:
		e.Text = "YouTube no longer accepts the sign-in of this channel; connect it again"
	case connectors.Permission:
		e.Text = permissionText(code) + api.Quoted(message)
	case connectors.Permanent:
		e.Text = "YouTube has closed or suspended this account" + api.Quoted(message) + "; its owner must sort it out there"
	case connectors.RateLimited:
		p.limit(a, e)
	case connectors.Invalid:
		e.Text = "YouTube refused it" + api.Quoted(message)
		switch code {
		case codeVideoNotFound:
			e.Text = "the video is not on YouTube any more" + api.Quoted(message)
		case codePrivacy:
			e.Text = "YouTube does not let this video become public; it may lock the uploads of apps that Google has not audited" + api.Quoted(message)
		}
	case connectors.Transient:
		e.Text = "YouTube could not do it now" + api.Quoted(message)
	default:
		e.Text = "YouTube answered in an unknown way" + api.Quoted(message)
	}
	return e
}

// limit says how long a limit lasts and who shares it. The network names no
// time: quotas begin anew at midnight Pacific time, the uploads of a channel a
// day later, everything else in seconds.
func (p *Platform) limit(a api.Answer, e *connectors.Error) {
	switch e.Code {
	case codeQuota, codeDaily:
		e.RetryAfter = p.midnight().Sub(p.env.Now())
		e.Bucket, e.Text = "app", "the day's quota of the Google Cloud project is used up; it begins anew at midnight Pacific time"
		if p.cfg.Quota.Model == quotaSplit && (a.Op == opInsert || a.Op == opStats) {
			e.Bucket = "endpoint:" + a.Op // a quota of its own
		}
	case codeUploadLimit:
		e.RetryAfter, e.Bucket = 24*time.Hour, "endpoint:"+opInsert
		e.Text = "the channel has reached the number of videos that YouTube takes from it in a day"
	case codeUserRate:
		e.Bucket, e.Text = "account", "YouTube asks to wait: too many calls"
	default:
		e.Bucket, e.Text = "app", "YouTube asks to wait: too many calls"
	}
	if a.Op == opReports || a.Op == opToken { // other servers with limits of their own: no reason to publish late
		e.Bucket = "endpoint:" + a.Op
	}
}

// wordsOf finds the network's code and sentence in an answer.
func wordsOf(a api.Answer) (code, message string) {
	var body errorBody
	if a.JSON(&body) != nil || len(body.Error) == 0 {
		return "", ""
	}
	if json.Unmarshal(body.Error, &code) == nil {
		return code, "" // OAuth: one word
	}
	var o errorObject
	if json.Unmarshal(body.Error, &o) != nil {
		return "", ""
	}
	code, message = o.Status, o.Message
	for _, d := range o.Details {
		if d.Reason != "" {
			code = d.Reason
			break
		}
	}
	if len(o.Errors) > 0 && o.Errors[0].Reason != "" {
		code = o.Errors[0].Reason
	}
	return code, clean(message)
}

var codeKinds = map[connectors.Kind][]string{
	connectors.AuthExpired: {"authError", "UNAUTHENTICATED", codeInvalidGrant, codeInvalidToken, "ACCESS_TOKEN_EXPIRED"},
	connectors.Permission: {
		"insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "forbidden", "accountDelegationForbidden", "youtubeSignupRequired", "PERMISSION_DENIED",
		"accessNotConfigured", "SERVICE_DISABLED", "channelNotVerified",
		"invalid_client", "unauthorized_client", "deleted_client", "org_internal", "access_denied", "admin_policy_enforced", "invalid_scope", "redirect_uri_mismatch",
	},
	connectors.Invalid:     {codePrivacy, codeLicense}, // of this video, not of the account
	connectors.Permanent:   {"authenticatedUserAccountClosed", "authenticatedUserAccountSuspended", "channelClosed", "channelSuspended"},
	connectors.RateLimited: {codeQuota, codeDaily, codeUploadLimit, codeUserRate, "rateLimitExceeded", "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED"},
	connectors.Transient:   {"backendError", "internalError", "INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "processingFailure", "SERVICE_UNAVAILABLE", "serviceUnavailable"},
}

// kindOf sorts the network's refusals: by reason where it is sure, then by
// status.
func kindOf(status int, code string) connectors.Kind {
	for kind, codes := range codeKinds {
		if slices.Contains(codes, code) {
			return kind
		}
	}
	switch {
	case status == http.StatusUnauthorized:
		return connectors.AuthExpired
	case status == http.StatusForbidden:
		return connectors.Permission
	case status == http.StatusTooManyRequests:
		return connectors.RateLimited
	case status == http.StatusBadRequest, status == http.StatusNotFound, status == http.StatusGone, status == http.StatusRequestEntityTooLarge,
		status == http.StatusUnprocessableEntity:
		return connectors.Invalid
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusConflict:
		return connectors.Transient
	}
	return connectors.Unknown
}

// fields are our names of what the network's reasons complain about.
var fields = map[string]string{
	"invalidTitle": "options." + optionTitle, "invalidDescription": "text", "invalidTags": "options." + optionTags,
	"invalidCategoryId": "options." + optionCategory, "invalidPublishAt": "options." + optionPublishAt,
	codePrivacy: "options." + optionPrivacy, "defaultLanguageNotSet": "langs",
	codePlaylistNotFound: "options." + optionPlaylist, "invalidImage": "options." + optionThumbnail,
	"mediaBodyRequired": "media[0]", "badContent": "media[0]", "invalidFilename": "media[0]", "invalidVideoMetadata": "options",
}

func fieldOf(code string) string { return fields[code] }

func permissionText(code string) string {
	switch code {
	case "insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT":
		return "the channel was connected without a right this needs; connect it again and leave every box ticked"
	case "youtubeSignupRequired":
		return "this Google account has no YouTube channel; create one at youtube.com and connect it again"
	case "accessNotConfigured", "SERVICE_DISABLED":
		return "the API is not switched on in the Google Cloud project; an admin does that in its console"
	case "invalid_client", "unauthorized_client", "deleted_client":
		return "Google does not know the OAuth client; an admin must check networks.youtube.client_id and client_secret"
	}
	return "YouTube does not allow it"
}

// clean makes a text from the network fit for one line: Google's messages hold
// markup now and then.
func clean(s string) string {
	var b strings.Builder
	tag := false
	for _, r := range s {
		switch {
		case r == '<':
			tag = true
		case r == '>' && tag:
			tag = false
		case tag:
		case unicode.IsControl(r):
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
	}
	return strings.TrimSpace(b.String())
}

// isCode says whether err is the network's refusal of this reason.
func isCode(err error, code string) bool {
	e := connectors.AsError(err)
	return e != nil && e.Code == code
}

// unseen makes of an error of a call of Prepare what it is: whatever was cut, it
// showed nothing to anybody, and Prepare may be called again.
func unseen(err error) error {
	if connectors.KindOf(err) != connectors.Ambiguous {
		return err
	}
	e := *connectors.AsError(err)
	e.Kind = connectors.Transient
	return &e
}
