package blueskysim

import (
	"encoding/binary"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (s *Sim) appviewRoutes() {
	s.mux.HandleFunc("GET /xrpc/app.bsky.feed.getPosts", s.reading(s.getPosts))
	s.mux.HandleFunc("GET /xrpc/app.bsky.actor.getProfile", s.reading(s.getProfile))
	s.mux.HandleFunc("GET /xrpc/app.bsky.feed.getAuthorFeed", s.reading(s.getAuthorFeed))
}

// reading wraps a method of the AppView as the data server proxies it.
func (s *Sim) reading(do func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.Header.Get("Authorization") != "" {
			if _, _, err := s.authorise(w, r); err != nil {
				send(w, nil, err)
				return
			}
		}
		if s.o.NoAppView {
			refuse(w, http.StatusBadGateway, "UpstreamFailure", "Upstream service unreachable")
			return
		}
		out, err := do(r)
		send(w, out, err)
	}
}

func (s *Sim) getPosts(r *http.Request) (any, error) {
	uris := r.URL.Query()["uris"]
	if len(uris) == 0 {
		return nil, invalid("Error: Params must have the property \"uris\"")
	}
	if len(uris) > 25 {
		return nil, invalid("Error: uris must not have more than 25 elements")
	}
	posts := []any{}
	for _, uri := range uris {
		if v := s.postView(uri); v != nil {
			posts = append(posts, v)
		}
	}
	return map[string]any{"posts": posts}, nil
}

// postView is a post with its counters, nil if there is none. The caller holds
// s.mu.
func (s *Sim) postView(uri string) map[string]any {
	did, rkey := splitURI(uri)
	a := s.accounts[did]
	if a == nil {
		return nil
	}
	rec, ok := a.records[postCollection][rkey]
	if !ok || a.status != "" {
		return nil
	}
	c := s.counts[uri]
	return s.without(map[string]any{
		"uri": uri, "cid": rec.cid, "record": rec.value, "indexedAt": rec.indexed.Format(time.RFC3339Nano),
		"author":    map[string]any{"did": a.DID, "handle": a.Handle, "displayName": a.DisplayName},
		"likeCount": c.Likes, "repostCount": c.Reposts, "replyCount": c.Replies + s.replies(uri),
		"quoteCount": c.Quotes, "bookmarkCount": c.Bookmarks, "labels": []any{},
	})
}

// replies counts the posts on this server that answer uri.
func (s *Sim) replies(uri string) int64 {
	var n int64
	for did, a := range s.accounts {
		for rkey, rec := range a.records[postCollection] {
			if publicPost(did, rkey, rec).Parent == uri {
				n++
			}
		}
	}
	return n
}

func (s *Sim) getProfile(r *http.Request) (any, error) {
	a := s.find(r.URL.Query().Get("actor"))
	if a == nil {
		return nil, invalid("Profile not found")
	}
	return s.without(map[string]any{
		"did": a.DID, "handle": a.Handle, "displayName": a.DisplayName,
		"followersCount": a.Followers, "followsCount": a.Follows, "postsCount": len(a.records[postCollection]),
	}), nil
}

func (s *Sim) getAuthorFeed(r *http.Request) (any, error) {
	q := r.URL.Query()
	a := s.find(q.Get("actor"))
	if a == nil {
		return nil, invalid("Profile not found")
	}
	limit := 50
	if n, err := strconv.Atoi(q.Get("limit")); err == nil && n >= 1 && n <= 100 {
		limit = n
	}
	var keys []string
	for k, rec := range a.records[postCollection] {
		if q.Get("filter") == "posts_no_replies" && publicPost(a.DID, k, rec).Parent != "" {
			continue
		}
		if c := q.Get("cursor"); c == "" || k < c {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	slices.Reverse(keys)
	out := map[string]any{}
	if len(keys) > limit {
		keys = keys[:limit]
		out["cursor"] = keys[limit-1]
	}
	feed := []any{}
	for _, k := range keys {
		feed = append(feed, map[string]any{"post": s.postView(atURI(a.DID, postCollection, k))})
	}
	out["feed"] = feed
	return out, nil
}

// Advance lets the counters grow up to now, if Options.Growth is set: each post
// gathers most of its reactions on its first day, more or fewer by chance that
// depends on its address alone. Counters never shrink.
func (s *Sim) Advance(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.o.Growth {
		return
	}
	for did, a := range s.accounts {
		var likes int64
		for rkey, rec := range a.records[postCollection] {
			uri := atURI(did, postCollection, rkey)
			age := now.Sub(rec.indexed).Hours()
			if age < 0 {
				continue
			}
			luck := math.Exp(float64(binary.LittleEndian.Uint16(digest("luck", uri)))/65535*3 - 1)
			reached := (1 - math.Exp(-age/10)) * luck * math.Sqrt(float64(a.Followers+25))
			c := s.counts[uri]
			c.Likes = max(c.Likes, int64(reached))
			c.Reposts = max(c.Reposts, int64(reached/6))
			c.Replies = max(c.Replies, int64(reached/9))
			c.Quotes = max(c.Quotes, int64(reached/30))
			c.Bookmarks = max(c.Bookmarks, int64(reached/12))
			s.counts[uri] = c
			likes += c.Likes
		}
		a.Followers = max(a.Followers, likes/20)
	}
}

// splitURI takes the account and the key out of at://did/collection/rkey.
func splitURI(uri string) (did, rkey string) {
	parts := strings.Split(strings.TrimPrefix(uri, "at://"), "/")
	if len(parts) != 3 {
		return "", ""
	}
	return parts[0], parts[2]
}
