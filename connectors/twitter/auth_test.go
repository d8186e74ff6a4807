package twitter_test

import (
	"net/http"
	"strings"
	"testing"

	"smi/connectors"
	"smi/connectors/internal/simkit"
	"smi/connectors/twitter/twittersim"
	"smi/internal/social"
)

// TestWrongSecretIsTheAppsFault: where X does not know the app, no sign-in is
// declared dead, and what is to be looked at is said.
func TestWrongSecretIsTheAppsFault(t *testing.T) {
	t.Parallel()
	s := newScene(t, "2", twittersim.Options{})
	token := simkit.Fault{Method: http.MethodPost, Path: "/2/oauth2/token"}
	for _, body := range []string{"", `{"title":"Unauthorized","type":"about:blank","status":401,"detail":"Unauthorized"}`} {
		s.sim.Kit.Script.Clear()
		if body == "" {
			s.cfg.ClientSecret = social.NewSecret("another")
		} else {
			token.Do = simkit.Status(http.StatusUnauthorized, nil, body)
			s.sim.Kit.Script.Add(token)
		}
		_, err := s.platform().(connectors.OAuth).Refresh(s.Context(), s.grant)
		if e := s.wantKind("a refresh as an app that X does not know", err, connectors.Permission); !strings.Contains(e.Text, "client_secret_file") {
			t.Errorf("the error is %+v", e)
		}
	}
	s.sim.Kit.Script.Clear()
	s.cfg.ClientSecret = social.NewSecret(app.ClientSecret)
	p := s.platform().(connectors.OAuth)
	fresh, err := p.Refresh(s.Context(), s.grant)
	s.must(err)
	_, err = p.Refresh(s.Context(), s.grant)
	s.wantKind("a used token", err, connectors.AuthExpired)
	if fresh.Refresh.Reveal() == s.grant.Refresh.Reveal() || !fresh.Rotates {
		t.Error("the refresh token did not change")
	}
}

// TestRevokeEndsBoth: a refresh token that had ended before does not keep the
// access token alive.
func TestRevokeEndsBoth(t *testing.T) {
	t.Parallel()
	s := newScene(t, "2", twittersim.Options{})
	s.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodPost, Path: "/2/oauth2/revoke", Nth: 1, Do: simkit.Status(http.StatusBadRequest, nil,
		`{"error":"invalid_request","error_description":"Value passed for the token was invalid."}`)})
	s.must(s.platform().(connectors.Revoker).Revoke(s.Context(), s.grant))
	_, err := s.client().Identity(s.Context())
	s.wantKind("a call after it", err, connectors.AuthExpired)

	s.sim.Kit.Script.Clear()
	s.grant = signIn(t, s.platform().(connectors.OAuth), s.harness())
	s.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodPost, Path: "/2/oauth2/revoke", Nth: 1, Do: simkit.Status(http.StatusForbidden, nil, `{"error":"access_denied"}`)})
	if err := s.platform().(connectors.Revoker).Revoke(s.Context(), s.grant); err == nil {
		t.Error("what was refused is not told")
	}
	_, err = s.client().Identity(s.Context())
	s.wantKind("a call after half of it", err, connectors.AuthExpired)
}

// TestWrongClockIsNoDeadToken: OAuth 1.0a signs the time, and X refuses a wrong
// one.
func TestWrongClockIsNoDeadToken(t *testing.T) {
	t.Parallel()
	s := newScene(t, "1.1", twittersim.Options{})
	s.refuse(http.StatusUnauthorized, nil, `{"errors":[{"code":135,"message":"Timestamp out of bounds."}]}`)
	_, err := s.publish(s.job(social.Part{Text: "too early"}, ""))
	if e := s.wantKind("a post at the wrong time", err, connectors.Transient); !strings.Contains(e.Text, "clock") {
		t.Errorf("the error is %+v", e)
	}
}
