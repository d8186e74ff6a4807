package mastodon

import (
	"net/http"
	"regexp"
	"strings"

	"smi/connectors"
	"smi/connectors/internal/api"
)

// opPublish is the one call that makes something public.
const opPublish = "statuses"

// The network has no error codes: a refusal is a status and a sentence. These
// are smi's own names for the sentences that are known (docs.joinmastodon.org,
// methods/statuses, methods/media and api/rate-limits; config/locales/en.yml of
// mastodon/mastodon; read 2026-07-02). The server is asked for English.
const (
	codeToken      = "invalid_token"      //nolint:gosec // the name of an error
	codeScope      = "outside_scopes"     //
	codeUser       = "user_required"      //
	codeAccount    = "account_state"      //
	codeForbidden  = "not_allowed"        //
	codeLimit      = "too_many_requests"  //
	codeValidation = "validation_failed"  //
	codeInWork     = "media_in_work"      //
	codeAttach     = "media_not_attached" //
	codeGone       = "record_not_found"   //
	codeOther      = "other"              // a sentence that nobody here knows
)

// sentences are the beginnings of what the network says, with its status.
var sentences = []struct {
	status int
	text   string
	code   string
}{
	{401, "The access token is invalid", codeToken},
	{401, "The access token was revoked", codeToken},
	{401, "The access token expired", codeToken},
	{401, "This method requires an authenticated user", codeUser},
	{403, "This action is outside the authorized scopes", codeScope},
	{403, "Your login is currently disabled", codeAccount},
	{403, "Your login is missing a confirmed e-mail address", codeAccount},
	{403, "Your login is currently pending approval", codeAccount},
	{403, "This action is not allowed", codeForbidden},
	{404, "Record not found", codeGone},
	{422, "Validation failed: ", codeValidation},
	{422, "Cannot attach files that have not finished processing", codeInWork},
	{422, "Cannot attach ", codeAttach},
	{429, "Too many requests", codeLimit},
	{429, "Throttled", codeLimit},
}

// beforeEffect are the refusals of a new post that come before anything is
// stored. The server checks in this order: rate limits (Rack::Attack), token and
// scopes (Doorkeeper), the account's state, what is answered, the files, and then
// the post itself, whose validation ends the transaction that would store it.
var beforeEffect = func() []api.Rule {
	const (
		attack  = "mastodon/mastodon config/initializers/rack_attack.rb"
		guard   = "mastodon/mastodon app/controllers/api/base_controller.rb, docs.joinmastodon.org methods/statuses"
		service = "mastodon/mastodon app/services/post_status_service.rb, docs.joinmastodon.org methods/statuses"
		read    = "2026-07-02"
	)
	var rules []api.Rule
	add := func(kind connectors.Kind, source string, status int, codes ...string) {
		for _, code := range codes {
			rules = append(rules, api.Rule{Op: opPublish, Status: status, Code: code, Kind: kind, Source: source, Date: read})
		}
	}
	add(connectors.RateLimited, attack, 429, codeLimit)
	add(connectors.AuthExpired, guard, 401, codeToken)
	add(connectors.Permission, guard, 401, codeUser)
	add(connectors.Permission, guard, 403, codeScope)
	add(connectors.Permanent, guard, 403, codeAccount)
	add(connectors.Invalid, service, 422, codeValidation, codeAttach)
	add(connectors.Transient, service, 422, codeInWork)
	// What is answered, or a file, is not there (yet, or any more): Prepare looks
	// and says which.
	add(connectors.Transient, service, 404, codeGone)
	return rules
}()

// classify says what a refusal means, whatever was called. It never says
// Ambiguous: that is for the HTTP stack, which knows how far a request went.
func classify(a api.Answer) *connectors.Error {
	var body refusal
	_ = a.JSON(&body) // a page of a proxy has no sentence and falls through to its status
	e := &connectors.Error{Op: a.Op, Status: a.Status, Code: codeOf(a.Status, body.Error)}
	e.Kind = kindOf(a.Status, e.Code)
	message := body.Error
	if body.Description != "" {
		message = body.Description
	}
	switch e.Kind {
	case connectors.AuthExpired:
		e.Text = "the server no longer accepts the login of this account; connect it again"
	case connectors.Permission:
		e.Text = "the server does not allow it" + api.Quoted(message) + "; connect the account again with the rights it needs"
	case connectors.Permanent:
		e.Text = "the server has closed or paused this account" + api.Quoted(message) + "; its owner must sort it out there"
	case connectors.RateLimited:
		e.Text = "the server asks to wait: too many calls"
	case connectors.Invalid:
		e.Field = fieldOf(message)
		e.Text = "the server refused it" + api.Quoted(message)
	case connectors.Transient:
		e.Text = "the server could not do it now" + api.Quoted(message)
	default:
		e.Text = "the server answered in an unknown way" + api.Quoted(message)
	}
	return e
}

// oauthWord is an error of the OAuth endpoints (RFC 6749, 5.2).
var oauthWord = regexp.MustCompile(`^[a-z]+(_[a-z]+)+$`)

// codeOf names what the server said; "" if it said nothing.
func codeOf(status int, text string) string {
	if text == "" {
		return ""
	}
	for _, s := range sentences {
		if s.status == status && strings.HasPrefix(text, s.text) {
			return s.code
		}
	}
	if oauthWord.MatchString(text) && (status == http.StatusBadRequest || status == http.StatusUnauthorized || status == http.StatusForbidden) {
		return text
	}
	return codeOther
}

// kindOf sorts the network's refusals: by name where names are sure, then by
// status.
func kindOf(status int, code string) connectors.Kind {
	switch code {
	case codeToken, "invalid_grant":
		return connectors.AuthExpired
	case codeScope, codeUser, codeForbidden, "invalid_client", "invalid_scope", "unauthorized_client", "access_denied":
		return connectors.Permission
	case codeAccount:
		return connectors.Permanent
	case codeInWork:
		return connectors.Transient
	}
	switch {
	case status == http.StatusUnauthorized:
		return connectors.AuthExpired
	case status == http.StatusForbidden:
		return connectors.Permission
	case status == http.StatusTooManyRequests:
		return connectors.RateLimited
	case code == "" && (status == http.StatusNotFound || status == http.StatusGone):
		return connectors.Unknown // a page of something before the server: nothing is known to be gone
	case status == http.StatusNotFound, status == http.StatusGone, status == http.StatusRequestEntityTooLarge,
		status == http.StatusUnprocessableEntity, status == http.StatusUnsupportedMediaType:
		return connectors.Invalid
	case status >= 500, status == http.StatusRequestTimeout:
		return connectors.Transient
	}
	return connectors.Unknown
}

// fields are the words by which a refusal names what it is about.
var fields = []struct{ word, field string }{
	{"cannot attach", "media"},
	{"description", "media.alt"},
	{"file", "media"},
	{"poll", "options." + optionPoll},
	{"text", "text"},
	{"language", "langs"},
	{"visibility", "options." + optionVisibility},
}

// fieldOf finds our field in what the server says.
func fieldOf(message string) string {
	message = strings.ToLower(message)
	for _, f := range fields {
		if strings.Contains(message, f.word) {
			return f.field
		}
	}
	return ""
}
