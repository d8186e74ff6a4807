package mastodonsim

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// stage is what a test has changed behind everybody's back.
type stage struct {
	hidden    []string // counters that are left out of answers
	withheld  []string // scopes that are not granted
	loop      bool     // links to the next page lead back
	unlinked  bool     // there are none
	noise     bool     // unknown fields everywhere
	failMedia bool     // moving pictures cannot be processed
	asked     Asked
}

// Asked is the last request at the authorisation endpoint.
type Asked struct{ State, Challenge, Method, RedirectURI string }

// LastAsked returns the last request at the authorisation endpoint.
func (s *Sim) LastAsked() Asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stage.asked
}

// change does something to the server.
func (s *Sim) change(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}

// Withhold lets people grant everything but these scopes.
func (s *Sim) Withhold(scopes ...string) { s.change(func() { s.stage.withheld = scopes }) }

// Hide leaves a counter ("favourites_count", "followers_count") out of all
// answers.
func (s *Sim) Hide(counter string) {
	s.change(func() { s.stage.hidden = append(s.stage.hidden, counter) })
}

// Loop lets the links of listings lead back to the beginning.
func (s *Sim) Loop() { s.change(func() { s.stage.loop = true }) }

// Unlink leaves the links to other pages out of listings, as a proxy may.
func (s *Sim) Unlink() { s.change(func() { s.stage.unlinked = true }) }

// Noise adds fields that nobody knows to every JSON object of every answer.
func (s *Sim) Noise() { s.change(func() { s.stage.noise = true }) }

// FailMedia lets the processing of moving pictures fail from now on.
func (s *Sim) FailMedia(fail bool) { s.change(func() { s.stage.failMedia = fail }) }

// Write is the owner of an account who posts by hand. It returns the post's id.
func (s *Sim) Write(remote, text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.own(remote)
	if a == nil {
		return ""
	}
	base := s.o.BaseURL
	if base == "" {
		base = "https://" + s.o.Domain
	}
	p := &status{app: "Web", Post: Post{Account: remote, Text: text, Visibility: "public", At: s.now(), ID: s.newID()}}
	p.URL = base + "/@" + a.Username + "/" + p.ID
	s.store(a, p, "")
	return p.ID
}

// RemovePost takes a post away as a moderator or its author would.
func (s *Sim) RemovePost(id string) { s.change(func() { s.drop(id) }) }

// CollectMedia forgets the files that no post shows, as the server does after a
// day.
func (s *Sim) CollectMedia() {
	s.change(func() {
		for id, m := range s.media {
			if m.status == "" {
				delete(s.media, id)
			}
		}
	})
}

// ForgetKeys forgets all idempotency keys, as a restart of Redis would.
func (s *Sim) ForgetKeys() { s.change(func() { clear(s.keys) }) }

// SetCounts sets the counters of a post.
func (s *Sim) SetCounts(id string, c Counts) {
	s.change(func() {
		if p := s.statuses[id]; p != nil {
			p.counts = c
		}
	})
}

// SetFollowers sets how many followers an account has.
func (s *Sim) SetFollowers(remote string, n int64) {
	s.change(func() {
		if a := s.own(remote); a != nil {
			a.Followers = n
		}
	})
}

// Stale lets the list of an account's posts show only what is older than d.
func (s *Sim) Stale(remote string, d time.Duration) {
	s.change(func() {
		if a := s.own(remote); a != nil {
			a.stale = d
		}
	})
}

// RevokeTokens ends all logins of an account.
func (s *Sim) RevokeTokens(remote string) {
	s.change(func() {
		for _, t := range s.tokens {
			if t.account != nil && t.account == s.own(remote) {
				t.revoked = true
			}
		}
	})
}

// ExpireTokens ends the access tokens of an account that have an end; their
// refresh tokens live on.
func (s *Sim) ExpireTokens(remote string) {
	s.change(func() {
		for _, t := range s.tokens {
			if t.account != nil && t.account == s.own(remote) && !t.expires.IsZero() {
				t.expires = s.now()
			}
		}
	})
}

// Token makes an app and a token of an account with these scopes, for clients
// that bring no login of their own.
func (s *Sim) Token(remote string, scopes ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &app{id: s.newID(), client: s.unique("client"), secret: s.unique("secret"), name: "a client", scopes: scopes, redirects: []string{outOfBand}}
	s.apps[a.client] = a
	return s.issue(a, s.own(remote), scopes).value
}

// Advance lets time pass for the counters: posts of the last days gain.
func (s *Sim) Advance() {
	s.change(func() {
		if !s.o.Growth {
			return
		}
		for _, id := range sortedKeys(s.statuses) {
			p := s.statuses[id]
			if age := s.now().Sub(p.At); age < 72*time.Hour {
				p.counts.Favourites += int64(s.Kit.Rand.IntN(4))
				p.counts.Reblogs += int64(s.Kit.Rand.IntN(2))
			}
		}
		for _, id := range s.order {
			s.accounts[id].Followers += int64(s.Kit.Rand.IntN(3))
		}
	})
}

// Who is the remote id of the account whose token, living or not, a request
// carries in its header or its form, "" if it has none.
func (s *Sim) Who(r *http.Request) string {
	_, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	renewal := ""
	if value == "" && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		if body, err := io.ReadAll(r.Body); err == nil {
			r.Body = io.NopCloser(bytes.NewReader(body))
			if form, err := url.ParseQuery(string(body)); err == nil {
				value, renewal = form.Get("token"), form.Get("refresh_token")
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[value]
	if t == nil {
		t = s.renewals[renewal]
	}
	if t == nil || t.account == nil {
		return ""
	}
	return s.remote(t.account.id)
}

// without takes the hidden counters out of a view. The caller holds s.mu.
func (s *Sim) without(view object) object {
	for _, name := range s.stage.hidden {
		delete(view, name)
	}
	return view
}

// isNoisy says whether Noise was called.
func (s *Sim) isNoisy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stage.noise
}
