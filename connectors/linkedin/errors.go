package linkedin

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
)

// The calls that make something public.
const (
	opPublish = "posts.create"
	opComment = "comments.create"
)

// The network's codes that smi treats in a special way ("Error handling", "API
// error details" and the pages of the APIs; read 2026-08-22).
const (
	codeDuplicate      = "DUPLICATE_POST"
	codeVersionMissing = "VERSION_MISSING"
	codeVersionEnded   = "NONEXISTENT_VERSION"
	codeWaitingUpload  = "MEDIA_ASSET_WAITING_UPLOAD"
	codeUploadExpired  = "EXPIRED_UPLOAD_URL"
	codeExpired        = "EXPIRED_ACCESS_TOKEN"
	codeRevoked        = "REVOKED_ACCESS_TOKEN"
	codeInvalidToken   = "INVALID_ACCESS_TOKEN"
	codeEmptyToken     = "EMPTY_ACCESS_TOKEN"
	codeTooMany        = "TOO_MANY_REQUESTS"
	codeDenied         = "ACCESS_DENIED"
	// codeNoActivity is our own name of a refusal that has only words.
	codeNoActivity = "NO_ACTIVITY"
)

// serviceCodes are the token codes by serviceErrorCode, for answers without a
// word ("Error handling", read 2026-08-22).
var serviceCodes = map[int64]string{65600: codeInvalidToken, 65601: codeRevoked, 65602: codeExpired, 65604: codeEmptyToken}

// contentCodes are refusals of content.
var contentCodes = []string{
	"FIELD_LENGTH_TOO_LONG", "MISSING_FIELD", "INVALID_URN_TYPE", "INVALID_URN_ID", "INVALID_VALUE_FOR_FIELD", "INVALID_VALUE_BLANK_FIELD",
	"MEDIA_ASSET_PROCESSING_FAILED",
}

// beforeEffect are the refusals that come before anything is written: of the
// gateway (version, token, quota), of the check of rights, and of the check of
// the request's fields. A duplicate is not among them: it says that something is
// there.
var beforeEffect = func() []api.Rule {
	const (
		errorPage   = "learn.microsoft.com/linkedin, Error handling"
		versionPage = "learn.microsoft.com/linkedin, Marketing API versioning"
		limitPage   = "learn.microsoft.com/linkedin, API rate limiting"
		postsPage   = "learn.microsoft.com/linkedin, Posts API, error codes"
		read        = "2026-08-22"
	)
	var rules []api.Rule
	for _, op := range []string{opPublish, opComment} {
		add := func(kind connectors.Kind, source string, status int, codes ...string) {
			for _, code := range codes {
				rules = append(rules, api.Rule{Op: op, Status: status, Code: code, Kind: kind, Source: source, Date: read})
			}
		}
		add(connectors.AuthExpired, errorPage, 401, codeExpired, codeRevoked, codeInvalidToken, codeEmptyToken)
		add(connectors.Permission, errorPage, 403, codeDenied)
		add(connectors.RateLimited, limitPage, 429, codeTooMany)
		add(connectors.Permanent, versionPage, 400, codeVersionMissing)
		add(connectors.Permanent, versionPage, 426, codeVersionEnded)
		add(connectors.Invalid, postsPage, 400, contentCodes...)
		add(connectors.Invalid, postsPage, 422, contentCodes...)
		add(connectors.Transient, postsPage, 400, codeWaitingUpload)
	}
	return rules
}()

// classify says what a refusal means, whatever was called. It never says
// Ambiguous: that is for the HTTP stack, which knows how far a request went.
func (p *Platform) classify(a api.Answer) *connectors.Error {
	var body refusal
	_ = a.JSON(&body) // a page of a proxy has no code and falls through to its status
	if body.OAuth != "" || a.Op == opToken || a.Op == opRefresh {
		return p.classifyLogin(a, body)
	}
	e := &connectors.Error{Op: a.Op, Status: a.Status, Code: body.code(), RequestID: a.Header.Get("X-Linkedin-Request-Id")}
	e.Kind = kindOf(a.Status, e.Code, body.Message)
	if e.Code == "" && strings.Contains(body.Message, "Unable to obtain activity") {
		e.Code = codeNoActivity
	}
	said := api.Quoted(body.said())
	switch e.Kind {
	case connectors.AuthExpired:
		e.Text = "LinkedIn no longer accepts the login of this account; connect it again"
	case connectors.Permission:
		e.Text = "LinkedIn does not allow it" + said + "; the app needs the right, and the account must be connected again with it"
	case connectors.Permanent:
		e.Text = "LinkedIn has closed this to smi" + said
		if a.Status == http.StatusUpgradeRequired || e.Code == codeVersionMissing || e.Code == codeVersionEnded {
			e.Text = "LinkedIn has ended version " + p.cfg.Version + " of its API: set linkedin.version to one of the last months (LinkedIn's page on API versioning lists them) and reload the configuration"
		}
	case connectors.RateLimited:
		e.Text = "LinkedIn asks to wait: too many calls"
		p.quota(e, body.Message)
	case connectors.Invalid:
		e.Field = body.field()
		e.Text = "LinkedIn refused it" + said
		if e.Code == codeDuplicate {
			e.Text = "LinkedIn says that it has this post already" + said
		}
		if a.Status == http.StatusNotFound {
			e.Text = "LinkedIn does not know what was asked for" + said
		}
	case connectors.Transient:
		e.Text = "LinkedIn could not do it now" + said
	default:
		e.Text = "LinkedIn answered in an unknown way" + said
	}
	return e
}

// classifyLogin is for the token endpoints, which have codes of RFC 6749. Only a
// refusal that speaks of the grant itself means that the login is over: whoever
// sends a client_id that is missing or wrong is told invalid_request or another
// word, and the login is as good as before ("Refresh tokens with OAuth 2.0", API
// error details, read 2026-11-25).
func (p *Platform) classifyLogin(a api.Answer, body refusal) *connectors.Error {
	e := &connectors.Error{Op: a.Op, Status: a.Status, Code: body.OAuth, Kind: connectors.Permission, Text: "LinkedIn does not accept the app: check linkedin.client_id and linkedin.client_secret"}
	over := strings.Contains(body.Description, "refresh token is invalid, expired or revoked")
	switch {
	case body.OAuth == "invalid_grant", body.OAuth == "invalid_request" && a.Op == opRefresh && over:
		e.Kind, e.Text = connectors.AuthExpired, "LinkedIn no longer accepts this login; connect the account again"
	case a.Status == http.StatusTooManyRequests:
		e.Kind, e.Text = connectors.RateLimited, "LinkedIn asks to wait: too many logins"
	case a.Status >= http.StatusInternalServerError, body.OAuth == "server_error", body.OAuth == "temporarily_unavailable":
		e.Kind, e.Text = connectors.Transient, "LinkedIn's login does not work now"
	case body.OAuth == "" && a.Status == http.StatusUnauthorized: // of something before the token endpoint
		e.Kind, e.Text = connectors.Unknown, "LinkedIn's login answered in an unknown way"
	case body.OAuth == "" && a.Status != http.StatusForbidden:
		e.Kind, e.Text = kindOf(a.Status, "", ""), "LinkedIn's login answered in an unknown way"
	case a.Op == opToken && (body.OAuth == "invalid_request" || body.OAuth == "invalid_redirect_uri"):
		e.Kind, e.Text = connectors.Invalid, "LinkedIn refused the login; start again"
	}
	return e
}

// kindOf sorts the network's errors: by code where codes are sure, then by
// status.
func kindOf(status int, code, message string) connectors.Kind {
	switch code {
	case codeExpired, codeRevoked, codeInvalidToken, codeEmptyToken:
		return connectors.AuthExpired
	case codeVersionMissing, codeVersionEnded:
		return connectors.Permanent
	case codeTooMany:
		return connectors.RateLimited
	case codeDenied:
		return connectors.Permission
	case codeWaitingUpload, "CONFLICT":
		return connectors.Transient
	case codeDuplicate:
		return connectors.Invalid
	}
	if slices.Contains(contentCodes, code) {
		return connectors.Invalid
	}
	switch {
	case strings.Contains(message, "Member permissions must be used"): // a list of posts without r_member_social (seen 2026-07-26)
		return connectors.Permission
	case strings.Contains(message, "Unable to obtain activity"):
		return connectors.Transient
	case status == http.StatusUpgradeRequired:
		return connectors.Permanent
	case status == http.StatusUnauthorized:
		return connectors.AuthExpired
	case status == http.StatusForbidden:
		return connectors.Permission
	case status == http.StatusTooManyRequests:
		return connectors.RateLimited
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusConflict, status == http.StatusTooEarly:
		return connectors.Transient
	case status >= 400:
		return connectors.Invalid
	}
	return connectors.Unknown
}

// quota says until when a quota is used up: LinkedIn sends no header for it, and
// counts days in UTC, for each endpoint ("API rate limiting", read 2026-08-22). A
// limit that does not speak of a day is a short one.
func (p *Platform) quota(e *connectors.Error, message string) {
	m := strings.ToUpper(message)
	if strings.Contains(m, "DAY") || strings.Contains(m, "DAILY") {
		now := p.env.Now().UTC()
		e.RetryAfter = now.Truncate(24 * time.Hour).Add(24*time.Hour + time.Minute).Sub(now)
	}
}

// refusal is the body of an error.
type refusal struct {
	OAuth       string `json:"error"`
	Description string `json:"error_description"`
	Code        string `json:"code"`
	Service     int64  `json:"serviceErrorCode"`
	Message     string `json:"message"`
	Details     struct {
		Inputs []struct {
			Description string `json:"description"`
			Code        string `json:"code"`
			Input       struct {
				Path struct {
					Field string `json:"fieldPath"`
				} `json:"inputPath"`
			} `json:"input"`
		} `json:"inputErrors"`
	} `json:"errorDetails"`
}

// code is the most exact word of a refusal. A duplicate goes before everything.
func (r refusal) code() string {
	code := ""
	for _, in := range r.Details.Inputs {
		if in.Code == codeDuplicate {
			return in.Code
		}
		if code == "" {
			code = in.Code
		}
	}
	if m := strings.ToLower(r.Message); strings.Contains(m, "is a duplicate") || strings.Contains(m, "duplicate post") {
		return codeDuplicate
	}
	if code == "" {
		code = r.Code
	}
	if code == "" {
		code = serviceCodes[r.Service]
	}
	return code
}

// said is what the network says to a person.
func (r refusal) said() string {
	for _, in := range r.Details.Inputs {
		if in.Description != "" && in.Code != codeDuplicate {
			return in.Description
		}
	}
	return r.Message
}

// duplicateOf finds the post of which another is a duplicate (seen in answers of
// 2023 and 2026).
var duplicateOf = regexp.MustCompile(`duplicate of (urn:li:(?:share|ugcPost):\d+)(?:[^\d…]|$)`)

// field is our name of the field that was refused.
func (r refusal) field() string {
	for _, in := range r.Details.Inputs {
		if f := fieldOf(in.Input.Path.Field); f != "" {
			return f
		}
	}
	return ""
}

// fieldOf finds our field for a path in the body of a post.
func fieldOf(path string) string {
	words := strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(`/.[]`, r) })
	number := "0"
	for _, w := range words {
		if _, err := strconv.Atoi(w); err == nil {
			number = w
		}
	}
	in := func(w string) bool { return slices.Contains(words, w) }
	media := "media[" + number + "]"
	if in("altText") {
		media += ".alt"
	}
	switch {
	case in("commentary"), in("message"):
		return "text"
	case in("article"):
		return "link"
	case in("multiImage") && words[len(words)-1] == "images":
		return "media"
	case in("multiImage"), in("media"), in("entity"):
		return media
	case in("poll") && in("options"):
		return "options." + optionPollOptions
	case in("poll"):
		return "options." + optionPollQuestion
	case in("visibility"):
		return "options." + optionVisibility
	}
	return ""
}

// isCode says whether err is the network's refusal of this name.
func isCode(err error, code string) bool {
	e := connectors.AsError(err)
	return e != nil && e.Code == code
}

// isStatus says whether err is an answer of this status.
func isStatus(err error, status int) bool {
	e := connectors.AsError(err)
	return e != nil && e.Status == status
}
