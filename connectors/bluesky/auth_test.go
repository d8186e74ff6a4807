package bluesky_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/bluesky"
	"smi/connectors/bluesky/blueskysim"
	"smi/connectors/internal/simkit"
	"smi/internal/social"
)

func TestLoginRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                  string
		id, password, service string
		field                 string
	}{
		{"nothing typed", "", password, "", "identifier"},
		{"a mail address", "alice@example.com", password, "", "identifier"},
		{"no handle", "alice", password, "", "identifier"},
		{"unknown handle", "nobody.test", password, "", "identifier"},
		{"no password", "alice.test", "", "", "app_password"},
		{"main password", "alice.test", "main password", "", "app_password"},
		{"wrong app password", "alice.test", "aaaa-bbbb-cccc-dddd", "", "app_password"},
		{"a service without TLS", "alice.test", password, "http://pds.example", "service"},
		{"claims another's handle", "imposter.test", password, "", "identifier"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, change{})
			imposter := w.sim.AddAccount(blueskysim.Account{Handle: "imposter.test", AppPassword: password})
			w.sim.Kit.Script.Add(simkit.Fault{Path: "/" + imposter, Do: simkit.Status(200, nil,
				`{"id":"`+imposter+`","alsoKnownAs":["at://someone.else.test"],"service":[{"id":"#atproto_pds","type":"AtprotoPersonalDataServer","serviceEndpoint":"`+w.srv.URL+`"}]}`)})
			_, err := w.p.Login(t.Context(), map[string]social.Secret{
				"identifier": social.NewSecret(c.id), "app_password": social.NewSecret(c.password), "service": social.NewSecret(c.service),
			})
			e := connectors.AsError(err)
			if e == nil || e.Kind != connectors.Invalid || e.Field != c.field || e.Text == "" {
				t.Fatalf("error is %+v, want one about %s", e, c.field)
			}
			if c.password != "" && strings.Contains(err.Error(), c.password) {
				t.Errorf("the password is in %q", err)
			}
		})
	}
}

func TestMainPasswordBySetting(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{cfg: func(c *bluesky.Config) { c.AllowAccountPassword = true }})
	if _, err := w.p.Login(t.Context(), map[string]social.Secret{"identifier": social.NewSecret(w.did), "app_password": social.NewSecret("main password")}); err != nil {
		t.Fatal(err)
	}
}

func TestSessionLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	g := w.login()
	if want := start.Add(2 * time.Hour); !g.Expires.Equal(want) || !g.RefreshExpires.Equal(start.Add(90*24*time.Hour)) || g.Rotates {
		t.Errorf("grant ends at %s, refresh at %s", g.Expires, g.RefreshExpires)
	}
	profiles, err := w.p.Accounts(t.Context(), g)
	if err != nil || len(profiles) != 1 || profiles[0].RemoteID != w.did {
		t.Fatalf("accounts %+v, %v", profiles, err)
	}
	w.now.Add(time.Minute) // a token of another second
	next, err := w.p.Refresh(t.Context(), g)
	if err != nil || next.Access.Reveal() == g.Access.Reveal() || next.Refresh.Reveal() == g.Refresh.Reveal() {
		t.Fatalf("refresh: %v", err)
	}
	// The answer of a refresh is lost: the old token still gives the successor.
	w.sim.Kit.Script.Add(simkit.Fault{Path: "/xrpc/com.atproto.server.refreshSession", Nth: 1, Do: simkit.CutAfter()})
	if _, err := w.p.Refresh(t.Context(), next); connectors.KindOf(err) != connectors.Ambiguous {
		t.Fatalf("a lost answer: %v", err)
	}
	last, err := w.p.Refresh(t.Context(), next)
	if err != nil {
		t.Fatalf("after a lost answer: %v", err)
	}
	if n := w.sim.Kit.Requests.Count("POST", "/xrpc/com.atproto.server.refreshSession"); n != 3 {
		t.Errorf("%d refreshes were sent for 3", n)
	}
	if _, err := w.client(last).Identity(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.p.Revoke(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if _, err := w.p.Refresh(t.Context(), last); connectors.KindOf(err) != connectors.AuthExpired {
		t.Errorf("refreshing a revoked session: %v", err)
	}
	if err := w.p.Revoke(t.Context(), last); err != nil {
		t.Errorf("revoking twice: %v", err)
	}
}

func TestRefreshFailures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   simkit.Action
		kind connectors.Kind
	}{
		{"refused", simkit.Status(400, nil, `{"error":"ExpiredToken","message":"Token has expired"}`), connectors.AuthExpired},
		{"revoked", simkit.Status(401, nil, `{"error":"InvalidToken","message":"x"}`), connectors.AuthExpired},
		{"a page with 401", simkit.HTML(401), connectors.Ambiguous},
		{"cut before", simkit.CutBefore(), connectors.Ambiguous},
		{"server error", simkit.Status(500, nil, `{"error":"InternalServerError"}`), connectors.Ambiguous},
		{"limit", simkit.Status(429, map[string]string{"retry-after": "30"}, `{"error":"RateLimitExceeded"}`), connectors.RateLimited},
		{"no tokens", simkit.Status(200, nil, `{"did":"did:plc:x","handle":"x.test"}`), connectors.Permanent},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, change{})
			g := w.login()
			w.sim.Kit.Script.Add(simkit.Fault{Path: "/xrpc/com.atproto.server.refreshSession", Nth: 1, Do: c.do})
			_, err := w.p.Refresh(t.Context(), g)
			if connectors.KindOf(err) != c.kind {
				t.Errorf("kind is %s (%v), want %s", connectors.KindOf(err), err, c.kind)
			}
			if c.kind == connectors.AuthExpired && !strings.Contains(err.Error(), "does not accept the login any more") {
				t.Errorf("a refused login reads %q", err)
			}
		})
	}
}

func TestClosedAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	cl := w.client(w.login())
	w.sim.SetStatus(w.did, "deactivated")
	if _, err := cl.Identity(t.Context()); connectors.KindOf(err) != connectors.Permanent {
		t.Errorf("a deactivated account: %v", err)
	}
	w.sim.SetStatus(w.did, "takendown")
	if _, err := cl.Identity(t.Context()); connectors.KindOf(err) != connectors.Permanent {
		t.Errorf("an account that was taken down: %v", err)
	}
}

const callback = "http://127.0.0.1:8080/oauth/callback"

// browse does what the person's browser does: follows the redirects up to the
// callback and returns its query.
func (w *world) browse(to string) url.Values {
	w.t.Helper()
	hc := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, to, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := hc.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	loc, err := res.Location()
	if err != nil || !strings.HasPrefix(loc.String(), callback) {
		w.t.Fatalf("the browser ended at %v (%s, %v)", loc, res.Status, err)
	}
	return loc.Query()
}

func authRequest() connectors.AuthRequest {
	return connectors.AuthRequest{State: "state-of-one-person", RedirectURI: callback, Verifier: social.NewSecret(strings.Repeat("verifier", 6)), Hint: "alice.test"}
}

func (w *world) signIn() connectors.Grant {
	w.t.Helper()
	req := authRequest()
	to, err := w.p.AuthURL(w.t.Context(), &req)
	if err != nil {
		w.t.Fatal(err)
	}
	back := w.browse(to)
	if back.Get("state") != req.State {
		w.t.Fatalf("state came back as %q", back.Get("state"))
	}
	g, err := w.p.Exchange(w.t.Context(), req, back)
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

func TestOAuth(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	g := w.signIn()
	if !g.Rotates || !g.Expires.Equal(start.Add(time.Hour)) || len(g.Scopes) != 2 {
		t.Errorf("grant is %+v", g)
	}
	cl := w.client(g)
	if p, err := cl.Identity(t.Context()); err != nil || p.RemoteID != w.did {
		t.Fatalf("identity %+v, %v", p, err)
	}
	w.publish(cl, w.job(social.Part{Text: "by OAuth", Media: []social.Media{w.files.add(social.Image, "image/png", "picture", "x")}}))
	// Nonces change while the post waits: the next is fetched before the attempt,
	// so that the commit itself goes through at once.
	j := w.job(social.Part{Text: "later"})
	w.prepare(cl, j)
	w.now.Add(10 * time.Minute)
	if _, err := w.commit(cl, j); err != nil {
		t.Fatalf("commit after ten minutes: %v", err)
	}
	// One that changes in the very last moment is a refusal, not a lost answer.
	j = w.job(social.Part{Text: "unlucky"})
	w.prepare(cl, j)
	conn, err := cl.DialCommit(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	w.sim.NewNonces()
	_, err = cl.Commit(t.Context(), j, connectors.NewShot(ids.New(time.Now()), w.now.Now().Add(time.Minute), conn, w.now.Now))
	if e := connectors.AsError(err); e == nil || e.Kind != connectors.Transient || e.Code != "use_dpop_nonce" {
		t.Fatalf("a stale nonce: %+v", e)
	}
	if n := w.sim.Kit.Requests.Count("POST", putRecord); n != 3 {
		t.Errorf("%d commits were sent, not 3: something was sent again inside", n)
	}
	if _, err := w.commit(cl, j); err != nil { // the refusal brought the new one
		t.Fatal(err)
	}
	if n := len(w.sim.Posts(w.did)); n != 3 {
		t.Errorf("%d posts", n)
	}
	w.sim.NewNonces()
	if _, err := cl.Identity(t.Context()); err != nil {
		t.Errorf("a read with a stale nonce: %v", err)
	}
}

func TestOAuthRefreshRotates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	first := w.signIn()
	w.sim.NewNonces() // costs one more request, and nothing else
	second, err := w.p.Refresh(t.Context(), first)
	if err != nil || second.Refresh.Reveal() == first.Refresh.Reveal() {
		t.Fatalf("refresh: %v", err)
	}
	if _, err := w.client(second).Identity(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The old token again ends everything: that is why it must never happen.
	if _, err := w.p.Refresh(t.Context(), first); connectors.KindOf(err) != connectors.AuthExpired {
		t.Fatalf("reuse: %v", err)
	}
	if _, err := w.p.Refresh(t.Context(), second); connectors.KindOf(err) != connectors.AuthExpired {
		t.Errorf("after reuse: %v", err)
	}
	if _, err := w.client(second).Identity(t.Context()); connectors.KindOf(err) != connectors.AuthExpired {
		t.Errorf("reading after reuse: %v", err)
	}
}

// A refresh whose answer is lost is sent once.
func TestOAuthRefreshIsWrittenOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	g := w.signIn()
	before := w.sim.Kit.Requests.Count("POST", "/oauth/token")
	w.sim.Kit.Script.Add(simkit.Fault{Path: "/oauth/token", Nth: 1, Do: simkit.CutAfter()})
	if _, err := w.p.Refresh(t.Context(), g); connectors.KindOf(err) != connectors.Ambiguous {
		t.Fatalf("a lost answer: %v", err)
	}
	if n := w.sim.Kit.Requests.Count("POST", "/oauth/token") - before; n != 1 {
		t.Errorf("the refresh token was sent %d times", n)
	}
}

func TestOAuthRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	w.sim.AddAccount(blueskysim.Account{Handle: "bob.test"})
	ask := func() (connectors.AuthRequest, url.Values) {
		req := authRequest()
		to, err := w.p.AuthURL(t.Context(), &req)
		if err != nil {
			t.Fatal(err)
		}
		return req, w.browse(to)
	}
	for _, c := range []struct {
		name   string
		change func(*connectors.AuthRequest, url.Values)
		kind   connectors.Kind
	}{
		{"denied", func(_ *connectors.AuthRequest, q url.Values) { q.Set("error", "access_denied") }, connectors.Permission},
		{"another issuer", func(_ *connectors.AuthRequest, q url.Values) { q.Set("iss", "https://evil.example") }, connectors.Permission},
		{"no issuer", func(_ *connectors.AuthRequest, q url.Values) { q.Del("iss") }, connectors.Permission},
		{"no code", func(_ *connectors.AuthRequest, q url.Values) { q.Del("code") }, connectors.Invalid},
		{"another's code", func(_ *connectors.AuthRequest, q url.Values) { q.Set("code", "cod-xyz") }, connectors.Invalid},
		{"wrong verifier", func(r *connectors.AuthRequest, _ url.Values) { r.Verifier = social.NewSecret("other") }, connectors.Invalid},
		{"not begun", func(r *connectors.AuthRequest, _ url.Values) { r.Extra = nil }, connectors.Invalid},
		{"another account", func(r *connectors.AuthRequest, _ url.Values) { r.Extra["did"] = social.NewSecret("did:plc:other") }, connectors.Permission},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, back := ask()
			c.change(&req, back)
			if _, err := w.p.Exchange(t.Context(), req, back); connectors.KindOf(err) != c.kind {
				t.Errorf("kind is %s (%v), want %s", connectors.KindOf(err), err, c.kind)
			}
		})
	}
	req := authRequest()
	req.Hint = ""
	if _, err := w.p.AuthURL(t.Context(), &req); connectors.KindOf(err) != connectors.Invalid {
		t.Errorf("without a handle: %v", err)
	}
	req = authRequest()
	req.RedirectURI = "https://smi.example/callback"
	if _, err := w.p.AuthURL(t.Context(), &req); connectors.KindOf(err) != connectors.Permission {
		t.Errorf("a public address without a client: %v", err)
	}
}

func TestOAuthScopeMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{cfg: func(c *bluesky.Config) { c.OAuth.Scopes = []string{"atproto"} }})
	cl := w.client(w.signIn())
	j := w.job(social.Part{Text: "not allowed"})
	w.prepare(cl, j)
	_, err := w.commit(cl, j)
	if e := connectors.AsError(err); e == nil || e.Kind != connectors.Permission || !strings.Contains(e.Text, "repo:app.bsky.feed.post") {
		t.Errorf("error is %+v", e)
	}
}

func TestConfidentialClient(t *testing.T) {
	t.Parallel()
	key := pemKey(t)
	const id = "https://smi.example/oauth/bluesky.json"
	w := newWorld(t, change{cfg: func(c *bluesky.Config) {
		c.OAuth.ClientID, c.OAuth.ClientKey = id, social.NewSecret(key)
	}})
	doc, err := w.p.ClientMetadata(callback)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(doc), `"d"`) || !strings.Contains(string(doc), `"kid": "smi-1"`) {
		t.Fatalf("the document holds %s", doc)
	}
	req := authRequest()
	if _, err := w.p.AuthURL(t.Context(), &req); err == nil {
		t.Error("a client that the server does not know was accepted")
	}
	if err := w.sim.RegisterClient(doc); err != nil {
		t.Fatal(err)
	}
	g := w.signIn()
	if !g.RefreshExpires.Equal(start.Add(90 * 24 * time.Hour)) {
		t.Errorf("refresh ends at %s", g.RefreshExpires)
	}
	next, err := w.p.Refresh(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.p.Revoke(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if _, err := w.p.Refresh(t.Context(), next); connectors.KindOf(err) != connectors.AuthExpired {
		t.Errorf("after revoking: %v", err)
	}
}

// pemKey is what openssl makes, with coordinates that can be published.
func pemKey(t *testing.T) string {
	t.Helper()
	for {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalECPrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		s := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
		cfg := bluesky.NewConfig()
		cfg.OAuth.ClientID, cfg.OAuth.ClientKey = "https://smi.example/x.json", social.NewSecret(s)
		if cfg.Check() == nil {
			return s
		}
	}
}
