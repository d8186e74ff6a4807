package linkedinsim

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"smi/connectors/internal/simkit"
)

// stage is what a test has changed behind everybody's back.
type stage struct {
	browser    string // id of the member at the browser
	refuses    bool
	withheld   []string
	asked      Asked
	hidden     []string
	loop       bool
	noise      bool
	mediaFails bool
	stale      map[string]time.Duration
}

// uploadLife is how long upload addresses are good.
const uploadLife = 24 * time.Hour

// Asked is what the login page was asked.
type Asked struct{ State, RedirectURI, Challenge, Method, Scope string }

// LastAsked returns the last request for a login.
func (s *Sim) LastAsked() Asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stage.asked
}

// AtBrowser says which member signs in from now on.
func (s *Sim) AtBrowser(member string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage.browser = strings.TrimPrefix(member, "urn:li:person:")
}

// Refuse lets the member refuse consent.
func (s *Sim) Refuse(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage.refuses = yes
}

// Withhold lets people grant everything but these scopes.
func (s *Sim) Withhold(scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage.withheld = scopes
}

// Hide leaves a counter ("likeCount", "firstDegreeSize", "REACTION") out of all
// answers.
func (s *Sim) Hide(counter string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage.hidden = append(s.stage.hidden, counter)
}

// Loop lets the list of posts begin anew on each page.
func (s *Sim) Loop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage.loop = true
}

// Noise adds fields that nobody knows to every JSON object of every answer.
func (s *Sim) Noise() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage.noise = true
}

// ExpireUploads ends the addresses of uploads that were given out. Later ones
// are good.
func (s *Sim) ExpireUploads() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.uploads {
		p.expired = true
	}
}

// FailMedia lets the next files fail in processing.
func (s *Sim) FailMedia(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage.mediaFails = yes
}

// Stale makes listings of what an account wrote show only what is older.
func (s *Sim) Stale(urn string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stage.stale == nil {
		s.stage.stale = map[string]time.Duration{}
	}
	s.stage.stale[urn] = d
}

// Write is somebody who posts by hand. It returns the post's name.
func (s *Sim) Write(author, text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, r := range text {
		if strings.ContainsRune(`\|{}@[]()<>#*_~`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	p := &post{author: author, commentary: b.String(), text: text, visibility: "PUBLIC"}
	s.keep(p)
	s.Kit.Journal.Add(effect(p))
	return p.urn
}

// RemovePost takes a post or comment away as its author or the network would.
func (s *Sim) RemovePost(urn string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.find(urn); p != nil {
		p.deleted = true
	}
	if r := s.reply(urn); r != nil {
		r.deleted = true
	}
}

// SetCounts sets the numbers of a post, SetDay those of an organisation's posts
// on a day, SetGain the followers won on a day, SetFollowers those there are.
func (s *Sim) SetCounts(urn string, c Counts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[urn] = c
}

// SetDay sets the numbers of an organisation's posts on a day in UTC.
func (s *Sim) SetDay(organization string, day time.Time, c Counts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.days[organization] == nil {
		s.days[organization] = map[string]Counts{}
	}
	s.days[organization][day.Format(time.DateOnly)] = c
}

// SetGain sets the followers won on a day in UTC.
func (s *Sim) SetGain(organization string, day time.Time, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gains[organization] == nil {
		s.gains[organization] = map[string]int64{}
	}
	s.gains[organization][day.Format(time.DateOnly)] = n
}

// SetFollowers sets how many follow a member or an organisation.
func (s *Sim) SetFollowers(urn string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.follow[urn] = n
}

// owns says whether a member may speak for an account. The caller holds s.mu.
func (s *Sim) owns(urn, member string) bool {
	return urn == personURN(member) || s.roles[urn][member] != ""
}

// ExpireAccess ends the access tokens of those who may speak for an account.
func (s *Sim) ExpireAccess(urn string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tokens {
		if !t.refresh && s.owns(urn, t.member) && t.expires.After(s.now()) {
			t.expires = s.now()
		}
	}
}

// RevokeTokens ends the logins of those who may speak for an account.
func (s *Sim) RevokeTokens(urn string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(func(t *token) bool { return s.owns(urn, t.member) })
}

// Post is a post or comment as the public can see it.
type Post struct {
	URN, Author string
	Text        string // as a reader sees it
	Parent      string // name of what it answers, or ""
	Media       int
	At          time.Time
	Content     json.RawMessage
	Visibility  string
}

// Posts returns what an account has published and is there, the oldest first.
func (s *Sim) Posts(author string) []Post { return s.all(author, false) }

// Ever returns also what was removed.
func (s *Sim) Ever(author string) []Post { return s.all(author, true) }

func (s *Sim) all(author string, removed bool) []Post {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Post
	for _, p := range s.posts {
		if p.author == author && (removed || !p.deleted) {
			out = append(out, Post{URN: p.urn, Author: author, Text: p.text, Media: p.media, At: p.created, Content: p.content, Visibility: p.visibility})
		}
	}
	for _, r := range s.replies { // no comment is older than its post
		if r.actor == author && (removed || !r.deleted) {
			out = append(out, Post{URN: r.urn, Author: author, Text: r.text, Parent: r.parent, Media: r.media, At: r.created, Content: r.content})
		}
	}
	return out
}

// Who is the id of the member whose token, of any kind and living or not, a
// request carries in its header or its form, "" if it has none.
func (s *Sim) Who(r *http.Request) string {
	_, v, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if v == "" && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		b := body(r)
		r.Body = io.NopCloser(bytes.NewReader(b))
		if f, err := url.ParseQuery(string(b)); err == nil {
			v = f.Get("refresh_token")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tokens[v]; t != nil {
		return t.member
	}
	return ""
}

// effect is what the journal notes of a post.
func effect(p *post) simkit.Effect {
	return simkit.Effect{Op: "create", Account: p.author, RemoteID: p.urn, Text: p.text}
}

// isNoisy says whether Noise was called.
func (s *Sim) isNoisy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stage.noise
}

// named says whether the keys of an object are names of things, not fields.
func named(x map[string]any) bool {
	for k := range x {
		if strings.HasPrefix(k, "urn:") || k == "LIKE" {
			return true
		}
	}
	return false
}
