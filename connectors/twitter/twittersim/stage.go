package twittersim

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"smi/connectors/internal/simkit"
)

// stage is what a test has changed behind everybody's back.
type stage struct {
	hidden   []string // counters that are left out of answers
	withheld []string // scopes that are not granted
	signedIn string   // account of the browser
	asked    Asked
	loop     bool
	noise    bool
	reused   int
	failing  string                   // what X says of the next GIFs and videos
	stale    map[string]time.Duration // by account: listings show only what is older
}

func (s *Sim) with(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// LastAsked returns what the browser was sent with last.
func (s *Sim) LastAsked() Asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stage.asked
}

// SignIn makes the browser that of an account.
func (s *Sim) SignIn(account string) { s.with(func() { s.stage.signedIn = account }) }

// Withhold lets people grant everything but these scopes.
func (s *Sim) Withhold(scopes ...string) { s.with(func() { s.stage.withheld = scopes }) }

// Hide leaves counters ("like_count") out of all answers.
func (s *Sim) Hide(names ...string) {
	s.with(func() { s.stage.hidden = append(s.stage.hidden, names...) })
}

// Loop lets the pages of timelines lead back to the first.
func (s *Sim) Loop() { s.with(func() { s.stage.loop = true }) }

// Noise adds fields that nobody knows to every JSON object of every answer.
func (s *Sim) Noise() { s.with(func() { s.stage.noise = true }) }

// Stale makes the timeline of an account show only what is older than d.
func (s *Sim) Stale(account string, d time.Duration) { s.with(func() { s.stage.stale[account] = d }) }

// FailMedia lets the next GIFs and videos fail with these words; "" ends it.
func (s *Sim) FailMedia(words string) { s.with(func() { s.stage.failing = words }) }

// Reused is how often a refresh token was used twice.
func (s *Sim) Reused() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stage.reused
}

// Write is the owner of an account who posts by hand. It returns the post's id.
func (s *Sim) Write(account, text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(Post{Account: account, Text: text}, "").ID
}

// Repost is the owner of an account who repeats a post by hand.
func (s *Sim) Repost(account, id string) {
	s.with(func() {
		if p := s.visible(id); p != nil {
			s.add(Post{Account: account, Text: "RT @" + s.accounts[p.Account].Username + ": " + p.Text, Repost: id}, "")
		}
	})
}

// Pieces are the hashes (SHA-256, hex) of the pieces of a file in their order,
// as they came last.
func (s *Sim) Pieces(media string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	if m := s.media[media]; m != nil {
		for i := range len(m.segments) {
			out = append(out, m.segments[i].sum)
		}
	}
	return out
}

// LastMedia is the id of the file that was announced or uploaded last.
func (s *Sim) LastMedia() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := ""
	for id := range s.media {
		last = max(last, id)
	}
	return last
}

// Remove takes a post away as its author or a moderator would.
func (s *Sim) Remove(id string) {
	s.with(func() {
		if p := s.visible(id); p != nil {
			s.removed[id] = true
			s.Kit.Journal.Add(simkit.Effect{At: s.now(), Op: "delete", Account: p.Account, RemoteID: id})
		}
	})
}

// Age makes a post older than it is.
func (s *Sim) Age(id string, d time.Duration) {
	s.with(func() {
		if p := s.posts[id]; p != nil {
			p.At = p.At.Add(-d)
		}
	})
}

// SetCounts sets the counters of a post.
func (s *Sim) SetCounts(id string, c Counts) { s.with(func() { s.counts[id] = c }) }

// SetFollowers sets how many followers an account has.
func (s *Sim) SetFollowers(account string, n int64) {
	s.with(func() {
		if a := s.accounts[account]; a != nil {
			a.Followers = n
		}
	})
}

// Subscribe sets what an account pays for: None, Basic, Premium, PremiumPlus.
func (s *Sim) Subscribe(account, kind string) {
	s.with(func() {
		if a := s.accounts[account]; a != nil {
			a.Subscription = kind
		}
	})
}

// Revoke ends every token of an account, as its owner does under connected apps.
func (s *Sim) Revoke(account string) {
	s.with(func() {
		for _, t := range s.tokens {
			t.revoked = t.revoked || t.account == account
		}
		for _, k := range s.keys {
			k.revoked = k.revoked || k.account == account
		}
	})
}

// Expire lets the access tokens of an account end now. OAuth 1.0a tokens have no
// end.
func (s *Sim) Expire(account string) {
	s.with(func() {
		for _, t := range s.tokens {
			if t.account == account && !t.refresh {
				t.expires = s.now().Add(-time.Second)
			}
		}
	})
}

// ForgetMedia lets the network forget every file that no post has, as it does
// after a day.
func (s *Sim) ForgetMedia() {
	s.with(func() {
		for _, m := range s.media {
			m.expires = s.now().Add(-time.Second)
		}
	})
}

// Who is the id of the account whose token, of any kind and living or not, a
// request carries in its header or its form, "" if it has none.
func (s *Sim) Who(r *http.Request) string {
	kind, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if kind == "OAuth" {
		if i := strings.Index(value, `oauth_token="`); i >= 0 {
			value, _, _ = strings.Cut(value[i+len(`oauth_token="`):], `"`)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if k := s.keys[value]; k != nil {
			return k.account
		}
		return ""
	}
	if kind != "Bearer" && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		if body, err := io.ReadAll(r.Body); err == nil {
			r.Body = io.NopCloser(bytes.NewReader(body))
			if form, err := url.ParseQuery(string(body)); err == nil {
				value = form.Get("refresh_token")
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tokens[value]; t != nil {
		return t.account
	}
	return ""
}

// without takes the hidden counters out of some. The caller holds s.mu.
func (s *Sim) without(counts map[string]any) map[string]any {
	for name := range counts {
		if slices.Contains(s.stage.hidden, name) {
			delete(counts, name)
		}
	}
	return counts
}

// Advance lets people see and like posts, where Growth is on.
func (s *Sim) Advance() {
	s.with(func() {
		if !s.o.Growth {
			return
		}
		for _, id := range s.ids {
			if s.removed[id] {
				continue
			}
			c := s.counts[id]
			c.Views += int64(20 + s.Kit.Rand.IntN(200))
			c.Likes += int64(s.Kit.Rand.IntN(9))
			c.Reposts += int64(s.Kit.Rand.IntN(3))
			c.Replies += int64(s.Kit.Rand.IntN(2))
			c.Clicks += int64(s.Kit.Rand.IntN(5))
			s.counts[id] = c
		}
		for _, id := range s.order {
			s.accounts[id].Followers += int64(s.Kit.Rand.IntN(4))
		}
	})
}

// isNoisy says whether Noise was called.
func (s *Sim) isNoisy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stage.noise
}
