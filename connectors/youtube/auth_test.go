package youtube_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/youtube"
	"smi/connectors/youtube/youtubesim"
	"smi/connectors/youtube/youtubetest"
	"smi/internal/social"
)

func TestAuthURL(t *testing.T) {
	w := newWorld(t, setting{})
	a := w.sim.LastAsked()
	if a.AccessType != "offline" || a.Prompt != "consent" || a.Method != "S256" || a.RedirectURI != youtubetest.Redirect {
		t.Errorf("asked was %+v", a)
	}
	for _, scope := range []string{"youtube.upload", "youtube.force-ssl", "youtube.readonly", "yt-analytics.readonly"} {
		if !strings.Contains(a.Scope, "/auth/"+scope) {
			t.Errorf("the scope %s was not asked for: %s", scope, a.Scope)
		}
	}
	_, err := (&youtube.Platform{}).AuthURL(t.Context(), &connectors.AuthRequest{})
	wantKind(t, err, connectors.Permission, "client_id")
}

// TestAnalyticsIsOptional: without Analytics its right is not asked for.
func TestAnalyticsIsOptional(t *testing.T) {
	w := newWorld(t, setting{cfg: func(c *youtube.Config) { c.AnalyticsData = false }})
	if a := w.sim.LastAsked(); strings.Contains(a.Scope, "analytics") {
		t.Errorf("asked was %s", a.Scope)
	}
	if _, err := w.client().AccountInsights(t.Context(), began.Truncate(24*time.Hour), began.Truncate(24*time.Hour)); err != nil {
		t.Error(err)
	}
	if n := w.sim.Kit.Requests.Count("", "/v2/reports"); n != 0 {
		t.Errorf("Analytics was asked %d times", n)
	}
}

func TestMissingRight(t *testing.T) {
	w := newWorld(t, setting{})
	w.sim.Withhold("https://www.googleapis.com/auth/yt-analytics.readonly")
	_, err := youtubetest.Join(context.Background(), w.platform(), &http.Transport{DialContext: w.srv.Dial, DisableKeepAlives: true}, w.channel)
	wantKind(t, err, connectors.Permission, "yt-analytics.readonly")
}

// TestTestingProject: a login of a project in the state Testing ends after seven
// days, which smi knows beforehand, and a refresh makes it no longer.
func TestTestingProject(t *testing.T) {
	end := began.Add(7 * 24 * time.Hour)
	for name, s := range map[string]setting{
		"said by the network": {sim: youtubesim.Options{Testing: true}},
		"said by the admin":   {cfg: func(c *youtube.Config) { c.Testing = true }},
	} {
		w := newWorld(t, s)
		if d := w.grant.RefreshExpires.Sub(end); d < -time.Minute || d > time.Minute {
			t.Errorf("%s: the login ends at %v, want %v", name, w.grant.RefreshExpires, end)
		}
		w.pass(24 * time.Hour)
		g, err := w.platform().Refresh(t.Context(), w.grant)
		if err != nil || !g.RefreshExpires.Equal(w.grant.RefreshExpires) || g.Refresh != w.grant.Refresh {
			t.Errorf("%s: refreshed, the login ends at %v, %v", name, g.RefreshExpires, err)
		}
	}
	w := newWorld(t, setting{sim: youtubesim.Options{Testing: true}})
	w.pass(8 * 24 * time.Hour)
	_, err := w.client().Identity(t.Context())
	wantKind(t, err, connectors.AuthExpired)
}

// TestTooManyLogins: the oldest of a hundred and one logins ends in silence.
func TestTooManyLogins(t *testing.T) {
	w := newWorld(t, setting{})
	first := w.grant
	for range 100 {
		w.connect()
	}
	_, err := w.platform().Refresh(t.Context(), first)
	wantKind(t, err, connectors.AuthExpired)
	if _, err := w.platform().Refresh(t.Context(), w.grant); err != nil {
		t.Error(err)
	}
}

func TestWrongClient(t *testing.T) {
	w := newWorld(t, setting{})
	w.cfg.ClientSecret = social.NewSecret("another-secret")
	_, err := w.platform().Refresh(t.Context(), w.grant)
	wantKind(t, err, connectors.Permission, "invalid_client")
	w.cfg.ClientID, w.cfg.ClientSecret = "", social.Secret{}
	_, err = w.platform().Refresh(t.Context(), w.grant)
	wantKind(t, err, connectors.Permission, "client_id")
}

func TestNoChannel(t *testing.T) {
	w := newWorld(t, setting{})
	w.sim.NoChannel()
	_, err := w.platform().Accounts(t.Context(), w.grant)
	wantKind(t, err, connectors.Permission, "no YouTube channel")
	w.always(http.MethodPost, uploadPath, googleError(401, "youtubeSignupRequired"))
	_, err = w.prepare(w.client(), w.job("x", nil))
	wantKind(t, err, connectors.Permission, "no YouTube channel")
}

func TestCallbackErrors(t *testing.T) {
	p := newWorld(t, setting{}).platform()
	_, err := p.Exchange(t.Context(), connectors.AuthRequest{}, url.Values{"error": {"access_denied"}})
	wantKind(t, err, connectors.Permission, "refused at Google")
	_, err = p.Exchange(t.Context(), connectors.AuthRequest{}, url.Values{"error": {"server_error<script>"}})
	wantKind(t, err, connectors.Permission, "server_error")
	_, err = p.Exchange(t.Context(), connectors.AuthRequest{}, url.Values{})
	wantKind(t, err, connectors.Invalid, "no code")
	_, err = p.Exchange(t.Context(), connectors.AuthRequest{}, url.Values{"code": {"made-up"}})
	wantKind(t, err, connectors.Invalid, "start again")
}

func TestProfile(t *testing.T) {
	w := newWorld(t, setting{})
	got, err := w.platform().Accounts(t.Context(), w.grant)
	if err != nil || len(got) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if p := got[0]; p.RemoteID != w.channel || p.Handle != "@alice" || p.Name != "Alice's films" || p.DayZone != "America/Los_Angeles" ||
		p.URL != w.srv.URL+"/channel/"+w.channel || p.AvatarURL == "" {
		t.Errorf("the profile is %+v", p)
	}
}
