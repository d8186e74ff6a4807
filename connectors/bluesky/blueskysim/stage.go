package blueskysim

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// stage is what a test has changed behind everybody's back.
type stage struct {
	hidden   []string // counters that are left out of answers
	withheld []string // scopes that are not granted
	loop     bool     // cursors lead back to the beginning
	noise    bool     // unknown fields everywhere
	pushed   Pushed
	reused   int // refresh tokens that ended a session because they were used twice
}

// Pushed is the last request that was pushed to the authorisation server.
type Pushed struct{ State, Challenge, Method, RedirectURI string }

// LastPushed returns the last pushed request.
func (s *Sim) LastPushed() Pushed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stage.pushed
}

// Withhold lets people grant everything but these scopes.
func (s *Sim) Withhold(scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage.withheld = scopes
}

// Hide leaves a counter ("likeCount", "followersCount") out of all answers.
func (s *Sim) Hide(counter string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stage.hidden = append(s.stage.hidden, counter)
}

// Loop lets the cursors of listRecords lead back to the beginning.
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

// Write is the owner of an account who posts by hand. It returns the post's URI.
func (s *Sim) Write(did, text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[did]
	if a == nil {
		return ""
	}
	rkey := s.newKey()
	value, err := json.Marshal(map[string]string{"$type": postCollection, "text": text, "createdAt": s.now().Format("2006-01-02T15:04:05.000Z")})
	if err != nil { // only strings come here
		panic(err)
	}
	s.store(a, &writeInput{}, postCollection, rkey, stored{cidOf(codecCBOR, value), value, s.now()})
	return atURI(did, postCollection, rkey)
}

// SetStatus makes an account takendown, suspended, deactivated or, with "",
// active.
func (s *Sim) SetStatus(did, status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.accounts[did]; a != nil {
		a.status = status
	}
}

// SetHandle gives an account another handle.
func (s *Sim) SetHandle(did, handle string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.accounts[did]; a != nil {
		a.Handle = handle
	}
}

// Like, Repost, Quote and Bookmark add n to a counter of a post. Replies are
// counted from the posts themselves.
func (s *Sim) Like(uri string, n int64) { s.count(uri, func(c *Counts) { c.Likes += n }) }

// Repost adds n reposts.
func (s *Sim) Repost(uri string, n int64) { s.count(uri, func(c *Counts) { c.Reposts += n }) }

// Quote adds n quotes.
func (s *Sim) Quote(uri string, n int64) { s.count(uri, func(c *Counts) { c.Quotes += n }) }

// Bookmark adds n bookmarks.
func (s *Sim) Bookmark(uri string, n int64) { s.count(uri, func(c *Counts) { c.Bookmarks += n }) }

// Reply adds n replies by people who are not on this server.
func (s *Sim) Reply(uri string, n int64) { s.count(uri, func(c *Counts) { c.Replies += n }) }

func (s *Sim) count(uri string, change func(*Counts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts[uri]
	change(&c)
	s.counts[uri] = c
}

// Follow adds n followers to an account.
func (s *Sim) Follow(did string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.accounts[did]; a != nil {
		a.Followers += n
	}
}

// RemovePost takes a post away as a moderator or its author would.
func (s *Sim) RemovePost(did, rkey string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.accounts[did]; a != nil {
		delete(a.records[postCollection], rkey)
	}
}

// CollectBlobs forgets the blobs of an account that no record refers to, as the
// server does some hours after their upload.
func (s *Sim) CollectBlobs(did string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[did]
	if a == nil {
		return
	}
	used := map[string]bool{}
	for _, coll := range a.records {
		for _, rec := range coll {
			for _, cid := range blobsIn(rec.value) {
				used[cid] = true
			}
		}
	}
	for cid := range a.blobs {
		if !used[cid] {
			delete(a.blobs, cid)
		}
	}
}

// FailVideos lets the next videos fail with this failure code; "" ends it.
func (s *Sim) FailVideos(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.videoErr = code
}

// SetCounts sets the counters of a post.
func (s *Sim) SetCounts(uri string, c Counts) { s.count(uri, func(old *Counts) { *old = c }) }

// SetFollowers sets how many followers an account has.
func (s *Sim) SetFollowers(did string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.accounts[did]; a != nil {
		a.Followers = n
	}
}

// without takes the hidden counters out of a view. The caller holds s.mu.
func (s *Sim) without(view map[string]any) map[string]any {
	for _, name := range s.stage.hidden {
		delete(view, name)
	}
	return view
}

// Reused is how many sessions were ended because a refresh token was used twice.
func (s *Sim) Reused() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stage.reused
}

// Who is the DID of the account whose token, of any kind and living or not, a
// request carries in its header or its form, "" if it has none.
func (s *Sim) Who(r *http.Request) string {
	_, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if value == "" && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
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
		return t.did
	}
	return ""
}

// isNoisy says whether Noise was called.
func (s *Sim) isNoisy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stage.noise
}
