package mastodon_test

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/internal/simkit"
	"smi/connectors/mastodon"
	"smi/connectors/mastodon/mastodonsim"
	"smi/internal/social"
)

// What a person types becomes a server, or is refused before anything is asked.
func TestServerThatWasTyped(t *testing.T) {
	t.Parallel()
	asked := ""
	for _, c := range []struct{ typed, want string }{
		{"Mastodon.Social", "mastodon.social:443"},
		{" https://mastodon.social/@alice ", "mastodon.social:443"},
		{"@alice@mastodon.social", "mastodon.social:443"},
		{"alice@mastodon.social", "mastodon.social:443"},
		{"mastodon.social.", "mastodon.social:443"},
		{"mastodon.social:8443", "mastodon.social:8443"},
		{"münchen.social", "xn--mnchen-3ya.social:443"},
		{"", ""},
		{"localhost", ""},
		{"mastodon", ""},
		{"http://mastodon.social", ""},
		{"ftp://mastodon.social", ""},
		{"https://user:pass@mastodon.social", ""},
		{"10.0.0.1", ""},
		{"https://[::1]/", ""},
		{"::1", ""},
		{"a b.c", ""},
		{"mastodon.social/..@evil", "mastodon.social:443"},
	} {
		asked = ""
		p, err := mastodon.New(*mastodon.NewConfig(), connectors.Env{Now: time.Now, Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
			asked = addr
			return nil, context.Canceled
		}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.AuthURL(t.Context(), &connectors.AuthRequest{Hint: c.typed})
		switch e := connectors.AsError(err); {
		case asked != c.want:
			t.Errorf("%q leads to %q, want %q: %v", c.typed, asked, c.want, err)
		case c.want == "" && (e.Kind != connectors.Invalid || e.Field != "handle" || e.Text == ""):
			t.Errorf("%q is refused with %v", c.typed, err)
		}
	}
	cfg := mastodon.NewConfig()
	cfg.Servers = []string{"Our.Example"}
	p, err := mastodon.New(*cfg, connectors.Env{Now: time.Now, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, context.Canceled }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.AuthURL(t.Context(), &connectors.AuthRequest{Hint: "mastodon.social"}); connectors.KindOf(err) != connectors.Invalid {
		t.Errorf("a server that is not on the list: %v", err)
	}
	if _, err := p.AuthURL(t.Context(), &connectors.AuthRequest{Hint: "our.example"}); connectors.KindOf(err) != connectors.Transient {
		t.Errorf("a server on the list: %v", err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*mastodon.Config){
		"client_name":       func(c *mastodon.Config) { c.ClientName = " " },
		"website":           func(c *mastodon.Config) { c.Website = "example.org" },
		"scopes":            func(c *mastodon.Config) { c.Scopes = []string{"read", "write:statuses"} },
		"servers[0]":        func(c *mastodon.Config) { c.Servers = []string{"x"} },
		"visibility":        func(c *mastodon.Config) { c.Visibility = "friends" },
		"follow_visibility": func(c *mastodon.Config) { c.FollowVisibility = "" },
		"key_window":        func(c *mastodon.Config) { c.KeyWindow = time.Hour },
		"status_batch":      func(c *mastodon.Config) { c.StatusBatch = 0 },
		"min_gap":           func(c *mastodon.Config) { c.MinGap = -1 },
	} {
		c := mastodon.NewConfig()
		change(c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("a bad %s: %v", field, err)
		}
	}
	c := mastodon.NewConfig()
	c.Scopes = []string{"read", "write"}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}

// Each login has an app of its own, so that ending one ends no other.
func TestLoginsAreApart(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{})
	other := s.login()
	if other.Access == s.grant.Access {
		t.Fatal("two logins share a token")
	}
	s.must(s.platform.Revoke(t.Context(), other))
	if _, err := s.client().Identity(t.Context()); err != nil {
		t.Errorf("ending another login ended ours: %v", err)
	}
	s.must(s.platform.Revoke(t.Context(), s.grant))
	_, err := s.client().Identity(t.Context())
	s.wantKind("a call after the end", err, connectors.AuthExpired)
	for name := range s.grant.Extra {
		if public := slices.Contains(s.grant.Public, name); public == (name == "client_secret") {
			t.Errorf("%s is public: %v", name, public)
		}
	}
}

// A proxy that says 401 does not end a login; the server does.
func TestOnlyTheServerEndsALogin(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{})
	s.sim.Kit.Script.Add(simkit.Fault{Path: "/api/v1/accounts/verify_credentials", Nth: 1, Do: simkit.HTML(http.StatusUnauthorized)})
	if _, err := s.client().Identity(t.Context()); err != nil {
		t.Errorf("one 401 of a proxy: %v", err)
	}
	s.sim.Kit.Script.Clear()
	s.sim.Kit.Script.Add(simkit.Fault{Path: "/api/v1/accounts/verify_credentials", Do: simkit.HTML(http.StatusUnauthorized)})
	_, err := s.client().Identity(t.Context())
	s.wantKind("a proxy that goes on saying 401", err, connectors.Transient)
	s.sim.Kit.Script.Clear()
	s.sim.RevokeTokens(s.account.RemoteID)
	_, err = s.client().Identity(t.Context())
	s.wantKind("a token that was revoked", err, connectors.AuthExpired)
}

// What a server takes is read when the account is connected and once a day.
func TestRulesOfTheServer(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{MaxCharacters: 1000, MaxMedia: 8, MaxAlt: 99})
	l := s.client().Describe().Limits
	if l.Text.Max != 1000 || l.Image.Max != 8 || l.MediaTotal != 8 || l.Image.AltMax != 99 || l.Video.Max != 1 {
		t.Errorf("the limits are %+v", l)
	}
	if d := s.platform.Describe().Limits; d.Text.Max != 500 || d.Image.Max != 4 {
		t.Errorf("the network's own limits became %+v", d)
	}
	fits := social.Part{Role: social.RoleBody, Text: strings.Repeat("x", 1000)}
	if bad := social.Refusals(s.client().Check([]social.Part{fits})); len(bad) != 0 {
		t.Errorf("what the server takes is refused: %+v", bad)
	}
	said := decode(t, s.account.Server)
	if said["software"] != "mastodon" || said["domain"] != "mastodon.test" || said["api"] != 6.0 {
		t.Errorf("of the server is kept %v", said)
	}
	count := func() int { return s.sim.Kit.Requests.Count(http.MethodGet, "/api/v2/instance") }
	before := count()
	me, err := s.client().Identity(t.Context())
	s.must(err)
	if me.Server != nil || count() != before || me.Handle != "alice@mastodon.test" || me.Host != s.srv.URL {
		t.Errorf("within a day it was asked again: %+v", me)
	}
	s.pass(25 * time.Hour)
	s.sim.Kit.Script.Add(simkit.Fault{Path: "/api/*", Match: func(r *http.Request) bool { return strings.Contains(r.URL.Path, "instance") }, Times: 3, Do: simkit.HTML(http.StatusBadGateway)})
	me, err = s.client().Identity(t.Context())
	s.must(err)
	if me.Server != nil {
		t.Errorf("of a server that did not answer is kept %s", me.Server)
	}
	me, err = s.client().Identity(t.Context())
	s.must(err)
	if me.Server == nil || count() == before {
		t.Error("after a day it was not asked again")
	}
	s.account.Server = []byte(`{"text":"many"}`) // of a release that is not ours
	if l := s.client().Describe().Limits; l.Text.Max != 500 {
		t.Errorf("the limits are %+v", l)
	}
}

func TestOtherServers(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{Old: true})
	if l := s.client().Describe().Limits; l.Text.Max != 500 || l.Image.Max != 4 {
		t.Errorf("the limits of an old server are %+v", l)
	}
	r := s.publish(social.Part{Text: "on an old server"})
	rd, err := s.client().PostInsights(t.Context(), []connectors.Receipt{r, {RemoteID: "1"}})
	s.must(err)
	if len(rd.Observations) != 3 || !slices.Equal(rd.Gone, []string{"1"}) { // no quotes are counted there
		t.Errorf("read %+v", rd)
	}
	s = newScene(t, mastodonsim.Options{GoToSocial: true})
	if l := s.client().Describe().Limits; l.Text.Max != 5000 || l.Image.Max != 6 {
		t.Errorf("the limits of a GoToSocial are %+v", l)
	}
	r = s.publish(social.Part{Text: "elsewhere"})
	for _, name := range []string{r.RemoteID, r.URL} {
		if k, err := s.client().Get(t.Context(), name); err != nil || k.Receipt.RemoteID != r.RemoteID {
			t.Errorf("%s reads back as %+v, %v", name, k, err)
		}
	}
	for _, name := range []string{"https://elsewhere.example/@alice/1", "../../oauth/token", "https://" + s.srv.Addr + "/@alice/..%2F1?x"} {
		if _, err := s.client().Get(t.Context(), name); connectors.KindOf(err) != connectors.Invalid {
			t.Errorf("%q reads as %v", name, err)
		}
	}
	// What is no server of this kind is named as such.
	s.sim.Kit.Script.Add(simkit.Fault{Path: "/api/*", Do: simkit.HTML(http.StatusOK)})
	_, err = s.platform.AuthURL(t.Context(), &connectors.AuthRequest{Hint: s.srv.URL, RedirectURI: "http://127.0.0.1:1/back"})
	if e := s.wantKind("a server of another kind", err, connectors.Invalid); e.Field != "handle" {
		t.Errorf("the field is %q", e.Field)
	}
}

// An account that is connected again is looked for on its own server, whatever
// its handle says.
func TestConnectedAgain(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{})
	req := connectors.AuthRequest{Hint: "alice@mastodon.test", Host: s.srv.URL, RedirectURI: "http://127.0.0.1:1/back", State: "s", Verifier: social.NewSecret(strings.Repeat("v", 50))}
	to, err := s.platform.AuthURL(t.Context(), &req)
	s.must(err)
	if !strings.HasPrefix(to, s.srv.URL+"/oauth/authorize?") {
		t.Errorf("the browser goes to %s", to)
	}
	_, err = s.platform.Exchange(t.Context(), req, map[string][]string{"error": {"access_denied"}})
	s.wantKind("a person who does not agree", err, connectors.Permission)
	_, err = s.platform.Exchange(t.Context(), req, nil)
	s.wantKind("no code", err, connectors.Invalid)
}
