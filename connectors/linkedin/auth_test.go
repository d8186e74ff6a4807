package linkedin_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/internal/simkit"
	"smi/connectors/linkedin"
	"smi/connectors/linkedin/linkedinsim"
	"smi/internal/social"
)

// One login opens the member and the pages for which they may post.
func TestAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	for i, role := range []string{"CONTENT_ADMINISTRATOR", "ANALYST", "CURATOR", "DIRECT_SPONSORED_CONTENT_POSTER", ""} {
		urn := w.sim.AddOrganization(linkedinsim.Organization{ID: fmt.Sprint(100 + i), Name: "Page " + role})
		w.sim.SetRole(urn, w.person, role)
	}
	all, err := w.p.Accounts(t.Context(), w.login())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range all {
		got = append(got, p.RemoteID+" "+p.Handle+" "+p.URL)
	}
	wanted := []string{
		"urn:li:person:782bbtaQ alice https://www.linkedin.com/in/alice",
		"urn:li:organization:5515715 devtestco https://www.linkedin.com/company/devtestco/",
		"urn:li:organization:100 Page CONTENT_ADMINISTRATOR https://www.linkedin.com/company/100/",
	}
	if strings.Join(got, "\n") != strings.Join(wanted, "\n") {
		t.Errorf("the login opens\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(wanted, "\n"))
	}

	// More pages than fit on a page of the list, and the older spelling.
	for i := range 150 {
		w.sim.SetRole(w.sim.AddOrganization(linkedinsim.Organization{ID: fmt.Sprint(1000 + i), Name: fmt.Sprint("Page ", i)}), w.person, "ADMINISTRATOR")
	}
	if all, err = w.p.Accounts(t.Context(), w.login()); err != nil || len(all) != 153 {
		t.Errorf("%d accounts, %v; want 153", len(all), err)
	}
	w.sim.Kit.Script.Add(simkit.Fault{Path: "/rest/organizationAcls", Do: simkit.Status(http.StatusOK, nil,
		`{"elements":[{"role":"CONTENT_ADMIN","state":"APPROVED","organizationalTarget":"urn:li:organization:5515715"},{"role":"ADMINISTRATOR","state":"REVOKED","organization":"urn:li:organization:1001"}]}`)})
	if all, err = w.p.Accounts(t.Context(), w.login()); err != nil || len(all) != 2 || all[1].Handle != "devtestco" {
		t.Errorf("in the older spelling: %+v, %v", all, err)
	}
}

// A role that was taken away is told as such.
func TestRoleLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	cl := w.client(w.page)
	if p, err := cl.Identity(t.Context()); err != nil || p.Handle != "devtestco" || p.Name != "Devtestco" {
		t.Fatalf("%+v, %v", p, err)
	}
	w.sim.SetRole(w.page, w.person, "ANALYST")
	_, err := cl.Identity(t.Context())
	if connectors.KindOf(err) != connectors.Permission || !strings.Contains(err.Error(), "administrator") {
		t.Errorf("a lost role is %v", err)
	}
}

// The self-serve app knows a member by OpenID Connect.
func TestOpenID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{cfg: func(c *linkedin.Config) { c.Product, c.Scopes = "share", nil }})
	w.sim.AddApp(linkedinsim.App{ID: w.cfg.ClientID, Secret: w.cfg.ClientSecret.Reveal(), Redirects: []string{callback}, Scopes: []string{"openid", "profile", "w_member_social"}})
	all, err := w.p.Accounts(t.Context(), w.login())
	if err != nil || len(all) != 1 || all[0].RemoteID != w.person || all[0].Handle != "Alice Example" {
		t.Errorf("%+v, %v", all, err)
	}
}

// What goes wrong at the browser is said in words that help.
func TestBrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	for name, c := range map[string]struct {
		query string
		kind  connectors.Kind
		says  string
	}{
		"refused login":   {"error=user_cancelled_login", connectors.Permission, "refused"},
		"refused consent": {"error=user_cancelled_authorize", connectors.Permission, "refused"},
		"missing product": {"error=unauthorized_scope_error&error_description=x", connectors.Permission, "w_organization_social"},
		"something else":  {"error=oops&error_description=%3Cscript%3E", connectors.Permission, "try again"},
		"no code":         {"state=x", connectors.Invalid, "no code"},
		"old code":        {"code=AQold", connectors.Invalid, "start again"},
	} {
		q, err := url.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.p.Exchange(t.Context(), connectors.AuthRequest{RedirectURI: callback}, q)
		if connectors.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "script") {
			t.Errorf("%s: %v; want %s with %q", name, err, c.kind, c.says)
		}
	}
	req := connectors.AuthRequest{State: "state", RedirectURI: callback, Scopes: []string{"r_ads"}}
	back, err := w.browse(&req)
	if err != nil || !strings.Contains(back, "unauthorized_scope_error") {
		t.Errorf("a scope that the app has not: %s, %v", back, err)
	}
	cfg := linkedin.NewConfig()
	p, err := linkedin.New(*cfg, connectors.Env{Dial: w.srv.Dial, Now: w.now.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.AuthURL(t.Context(), &req); connectors.KindOf(err) != connectors.Permission || !strings.Contains(err.Error(), "linkedin.client_id") {
		t.Errorf("without an app: %v", err)
	}
}

// A login is renewed with a refresh token, which runs out a year after signing
// in; without one, or where it may not be used, a person signs in again.
func TestRefresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	g := w.login()
	if g.Expires != start.Add(60*24*time.Hour) || g.RefreshExpires != start.Add(365*24*time.Hour) || g.Rotates {
		t.Fatalf("the login ends %v and %v, rotates %v", g.Expires, g.RefreshExpires, g.Rotates)
	}
	w.now.Add(50 * 24 * time.Hour)
	fresh, err := w.p.Refresh(t.Context(), g)
	if err != nil || fresh.RefreshExpires != g.RefreshExpires || fresh.Refresh != g.Refresh || fresh.Expires != w.now.Now().Add(60*24*time.Hour) || len(fresh.Scopes) != len(g.Scopes) {
		t.Errorf("%+v, %v", fresh, err)
	}
	w.now.Add(320 * 24 * time.Hour)
	if _, err := w.p.Refresh(t.Context(), g); connectors.KindOf(err) != connectors.AuthExpired {
		t.Errorf("after a year: %v", err)
	}
	for name, c := range map[string]change{
		"none given":     {sim: func(o *linkedinsim.Options) { o.NoRefresh = true }},
		"not to be used": {cfg: func(c *linkedin.Config) { c.Refresh = false }},
	} {
		w := newWorld(t, c)
		g := w.login()
		_, err := w.p.Refresh(t.Context(), g)
		if !g.Refresh.Empty() || connectors.KindOf(err) != connectors.AuthExpired || !strings.Contains(err.Error(), "60 days") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A wrong secret of the app is the admin's to put right, not the person's.
	wrong := *w.cfg
	wrong.ClientSecret = social.NewSecret("another secret")
	p, err := linkedin.New(wrong, connectors.Env{Dial: w.srv.Dial, Now: w.now.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Refresh(context.Background(), g); connectors.KindOf(err) != connectors.Permission {
		t.Errorf("a wrong secret is %v", err)
	}
	// LinkedIn's pages do not have the endpoint: that it fails is no error.
	w.sim.Kit.Script.Add(simkit.Fault{Path: "/oauth/v2/revoke", Do: simkit.Status(http.StatusNotFound, nil, `{"error":"invalid_request"}`)})
	if err := w.p.Revoke(t.Context(), g); err != nil {
		t.Errorf("revoking: %v", err)
	}
}

// A right that was granted by its newer name is granted.
func TestNewerScopeNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{cfg: func(c *linkedin.Config) { c.Scopes = []string{"r_basicprofile", "w_member_social"} }})
	answer := func(scope string) (connectors.Grant, error) {
		w.sim.Kit.Script.Clear()
		w.sim.Kit.Script.Add(simkit.Fault{Path: "/oauth/v2/accessToken", Do: simkit.Status(http.StatusOK, nil, `{"access_token":"AQ","expires_in":5184000,"scope":"`+scope+`"}`)})
		return w.p.Exchange(t.Context(), connectors.AuthRequest{RedirectURI: callback}, url.Values{"code": {"AQcode"}})
	}
	if g, err := answer("r_basicprofile,w_member_social_feed"); err != nil || len(g.Scopes) != 2 {
		t.Errorf("granted as w_member_social_feed: %v, %v", g.Scopes, err)
	}
	if _, err := answer("r_basicprofile"); connectors.KindOf(err) != connectors.Permission {
		t.Errorf("not granted: %v", err)
	}
}

// A login is over when LinkedIn says so of the login, and not because the app's
// settings are wrong or something in between refuses.
func TestRefreshRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
		kind   connectors.Kind
	}{
		"dead":                  {400, `{"error":"invalid_grant","error_description":"Token has been expired or revoked."}`, connectors.AuthExpired},
		"dead, in other words":  {400, `{"error":"invalid_request","error_description":"The provided authorization grant or refresh token is invalid, expired or revoked"}`, connectors.AuthExpired},
		"no client_id":          {400, `{"error":"invalid_request","error_description":"A required parameter \"client_id\" is missing"}`, connectors.Permission},
		"of another app":        {400, `{"error":"refresh_token_client_mismatch","error_description":"The passed in client_id does not own the refresh token"}`, connectors.Permission},
		"wrong secret":          {401, `{"error":"invalid_client","error_description":"Client authentication failed"}`, connectors.Permission},
		"trouble as a 400":      {400, `{"error":"temporarily_unavailable"}`, connectors.Ambiguous},
		"a gateway's 401":       {401, `{"status":401,"serviceErrorCode":65604,"message":"Empty oauth2 access token"}`, connectors.Ambiguous},
		"a gateway's bare 401":  {401, `{}`, connectors.Ambiguous},
		"too many, by no words": {429, `{"status":429}`, connectors.RateLimited},
	} {
		w := newWorld(t, change{})
		g := w.login()
		w.sim.Kit.Script.Add(simkit.Fault{Path: "/oauth/v2/accessToken", Do: simkit.Status(c.status, nil, c.body)})
		if _, err := w.p.Refresh(t.Context(), g); connectors.KindOf(err) != c.kind {
			t.Errorf("%s: %v; want %s", name, err, c.kind)
		}
	}
}

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	if err := linkedin.NewConfig().Check(); err != nil {
		t.Error(err)
	}
	for says, change := range map[string]func(*linkedin.Config){
		"write year and month":         func(c *linkedin.Config) { c.Version = "202613" },
		"none of LinkedIn's own hosts": func(c *linkedin.Config) { c.APIURL = "https://elsewhere.example" },
		"not encrypted":                func(c *linkedin.Config) { c.OAuthURL = "http://www.linkedin.com" },
		"without path":                 func(c *linkedin.Config) { c.WebURL = "https://www.linkedin.com/feed" },
		"belong together":              func(c *linkedin.Config) { c.ClientID = "86" },
		`"ads" is unknown`:             func(c *linkedin.Config) { c.Product = "ads" },
		`"all" is unknown`:             func(c *linkedin.Config) { c.MemberNumbers = "all" },
		`"bytes" is unknown`:           func(c *linkedin.Config) { c.TextUnit = "bytes" },
		"too few":                      func(c *linkedin.Config) { c.AccountPosts = 0 },
		"negative":                     func(c *linkedin.Config) { c.MinGap = -1 },
		"too short":                    func(c *linkedin.Config) { c.MediaLife = time.Minute },
		"without a host no file":       func(c *linkedin.Config) { c.UploadHosts = nil },
	} {
		c := linkedin.NewConfig()
		change(c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q, got %v", says, err)
		}
	}
}
