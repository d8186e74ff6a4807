package youtube

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

func TestClassify(t *testing.T) {
	zone, err := social.LoadZone(dayZone)
	if err != nil {
		t.Fatal(err)
	}
	// The clocks go back on 1 November 2026: this day has 25 hours.
	now := time.Date(2026, 11, 1, 0, 30, 0, 0, zone)
	p := &Platform{cfg: *NewConfig(), env: connectors.Env{Now: func() time.Time { return now }}, zone: zone}
	toMidnight := 24*time.Hour + 30*time.Minute
	for _, c := range []struct {
		op, reason string
		status     int
		kind       connectors.Kind
		bucket     string
		wait       time.Duration
		field      string
	}{
		{"videos.list", "quotaExceeded", 403, connectors.RateLimited, "app", toMidnight, ""},
		{"videos.list", "dailyLimitExceeded", 403, connectors.RateLimited, "app", toMidnight, ""},
		{opInsert, "quotaExceeded", 403, connectors.RateLimited, "endpoint:videos.insert", toMidnight, ""},
		{opStats, "quotaExceeded", 403, connectors.RateLimited, "endpoint:videos.batchGetStats", toMidnight, ""},
		{opReports, "quotaExceeded", 403, connectors.RateLimited, "endpoint:reports.query", toMidnight, ""},
		{opReports, "rateLimitExceeded", 403, connectors.RateLimited, "endpoint:reports.query", 0, ""}, // numbers that are read too fast make no post late
		{opReports, "userRateLimitExceeded", 403, connectors.RateLimited, "endpoint:reports.query", 0, ""},
		{opToken, "rateLimitExceeded", 403, connectors.RateLimited, "endpoint:token", 0, ""},
		{opPublish, "forbiddenPrivacySetting", 403, connectors.Invalid, "", 0, "options.privacy"},
		{opInsert, "uploadLimitExceeded", 400, connectors.RateLimited, "endpoint:videos.insert", 24 * time.Hour, ""},
		{"videos.list", "rateLimitExceeded", 403, connectors.RateLimited, "app", 0, ""},
		{"videos.list", "userRateLimitExceeded", 403, connectors.RateLimited, "account", 0, ""},
		{"videos.list", "RESOURCE_EXHAUSTED", 429, connectors.RateLimited, "app", 0, ""},
		{"videos.list", "authError", 401, connectors.AuthExpired, "", 0, ""},
		{"videos.list", "UNAUTHENTICATED", 401, connectors.AuthExpired, "", 0, ""},
		{"videos.list", "youtubeSignupRequired", 401, connectors.Permission, "", 0, ""},
		{"videos.list", "insufficientPermissions", 403, connectors.Permission, "", 0, ""},
		{"videos.list", "forbidden", 403, connectors.Permission, "", 0, ""},
		{"videos.list", "somethingNew", 403, connectors.Permission, "", 0, ""},
		{"videos.list", "authenticatedUserAccountSuspended", 403, connectors.Permanent, "", 0, ""},
		{opInsert, "invalidTitle", 400, connectors.Invalid, "", 0, "options.title"},
		{opInsert, "invalidDescription", 400, connectors.Invalid, "", 0, "text"},
		{opInsert, "invalidTags", 400, connectors.Invalid, "", 0, "options.tags"},
		{opInsert, "invalidCategoryId", 400, connectors.Invalid, "", 0, "options.category"},
		{opInsert, "defaultLanguageNotSet", 400, connectors.Invalid, "", 0, "langs"},
		{opInsert, "mediaBodyRequired", 400, connectors.Invalid, "", 0, "media[0]"},
		{opPublish, "videoNotFound", 404, connectors.Invalid, "", 0, ""},
		{"videos.list", "backendError", 500, connectors.Transient, "", 0, ""},
		{"videos.list", "somethingNew", 503, connectors.Transient, "", 0, ""},
		{"videos.list", "processingFailure", 409, connectors.Transient, "", 0, ""},
		{"videos.list", "somethingNew", 418, connectors.Unknown, "", 0, ""},
	} {
		body, err := json.Marshal(map[string]any{"error": map[string]any{"code": c.status, "message": `Because <a href="x">so</a>.`, "errors": []any{map[string]any{"reason": c.reason}}}})
		if err != nil {
			t.Fatal(err)
		}
		e := p.classify(api.Answer{Op: c.op, Status: c.status, Header: http.Header{}, Body: body})
		if e == nil || e.Kind != c.kind || e.Bucket != c.bucket || e.RetryAfter != c.wait || e.Field != c.field || e.Code != c.reason || e.Text == "" {
			t.Errorf("%s %d %s came out as %+v", c.op, c.status, c.reason, e)
			continue
		}
		if strings.ContainsAny(e.Text, "<>") {
			t.Errorf("the text for a person holds markup: %q", e.Text)
		}
	}
	p.cfg.Quota.Model = quotaSingle
	if e := p.classify(api.Answer{Op: opInsert, Status: 403, Body: []byte(`{"error":{"errors":[{"reason":"quotaExceeded"}]}}`)}); e.Bucket != "app" {
		t.Errorf("of a single quota the bucket is %q", e.Bucket)
	}
	for body, want := range map[string]string{
		`{"error":"invalid_grant","error_description":"Token has been expired or revoked."}`:                   "invalid_grant",
		`{"error":{"status":"PERMISSION_DENIED","details":[{},{"reason":"ACCESS_TOKEN_SCOPE_INSUFFICIENT"}]}}`: "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
		`{"error":{"status":"NOT_FOUND"}}`: "NOT_FOUND",
		`<html>`:                           "",
		`{"error":7}`:                      "",
		`{"items":[]}`:                     "",
		``:                                 "",
	} {
		if code, _ := wordsOf(api.Answer{Body: []byte(body)}); code != want {
			t.Errorf("%s has the code %q, want %q", body, code, want)
		}
	}
}

// TestRulesAreClassified: a rule that classify would never lead to is dead.
func TestRulesAreClassified(t *testing.T) {
	for _, r := range beforeEffect {
		if k := kindOf(r.Status, r.Code); k != r.Kind {
			t.Errorf("the rule for %d %s says %s, classify %s", r.Status, r.Code, r.Kind, k)
		}
		if r.Op != opPublish {
			t.Errorf("the rule for %s is of another call", r.Op)
		}
	}
}

// TestOneRequestForOneCall: whatever Google's library would do, a call is one
// request.
func TestOneRequestForOneCall(t *testing.T) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://youtube.googleapis.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (bridge{}).RoundTrip(r); err == nil { //nolint:bodyclose // there is none
		t.Error("a request of nobody was sent")
	}
	if _, err := (bridge{}).RoundTrip(r.WithContext(exchangeContext(t, &exchange{used: true}))); err == nil { //nolint:bodyclose // there is none
		t.Error("a second request for one call was sent")
	}
}

func exchangeContext(t *testing.T, x *exchange) context.Context {
	return context.WithValue(t.Context(), exchangeKey{}, x)
}
