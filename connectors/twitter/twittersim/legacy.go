package twittersim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"smi/connectors/internal/simkit"
)

// API v1.1 as enterprise contracts have it (developer.x.com, v1.1 reference,
// read 2026-08-22). There is no upload any more.
func (s *Sim) legacyRoutes() {
	s.mux.HandleFunc("GET /1.1/account/verify_credentials.json", s.legacy(s.verifyCredentials))
	s.mux.HandleFunc("POST /1.1/statuses/update.json", s.legacy(s.updateStatus))
	s.mux.HandleFunc("POST /1.1/statuses/destroy/{id}", s.legacy(s.destroyStatus))
	s.mux.HandleFunc("GET /1.1/statuses/show.json", s.legacy(s.showStatus))
	s.mux.HandleFunc("GET /1.1/statuses/lookup.json", s.legacy(s.lookupStatuses))
	s.mux.HandleFunc("GET /1.1/statuses/user_timeline.json", s.legacy(s.userTimeline))
	s.mux.HandleFunc("POST /1.1/oauth/invalidate_token.json", s.legacy(s.invalidateToken))
}

// legacy is a method of v1.1: signed with OAuth 1.0a, and closed to all apps
// without a contract.
func (s *Sim) legacy(do func(*http.Request, *Account) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		kind, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if kind != "OAuth" {
			send(w, nil, coded(http.StatusUnauthorized, 215, "Bad Authentication data."))
			return
		}
		hash := simkit.BodyHash(r)
		k, err := s.verify(r, value)
		if err == nil && s.o.SelfServe {
			err = coded(http.StatusForbidden, 453, "You currently have access to a subset of X API V2 endpoints and limited v1.1 endpoints (e.g. media post, oauth) only.")
		}
		if err != nil {
			send(w, nil, err)
			return
		}
		_ = r.ParseForm() // what cannot be read is not there
		r.Header.Set("X-Sim-Hash", hash)
		out, err := do(r, s.accounts[k.account])
		send(w, out, err)
	}
}

func (s *Sim) verifyCredentials(_ *http.Request, a *Account) (any, error) {
	return s.legacyUser(a), nil
}

func number(id string) int64 {
	n, _ := strconv.ParseInt(id, 10, 64) //nolint:errcheck // ids are ours
	return n
}

func (s *Sim) legacyUser(a *Account) map[string]any {
	posts := 0
	for _, id := range s.ids {
		if p := s.visible(id); p != nil && p.Account == a.ID {
			posts++
		}
	}
	return s.without(map[string]any{
		"id": number(a.ID), "id_str": a.ID, "screen_name": a.Username, "name": a.Name, "profile_image_url_https": "https://pbs.twimg.test/a.png",
		"followers_count": a.Followers, "friends_count": a.Following, "statuses_count": posts,
	})
}

// tweet is a post as v1.1 gives it.
func (s *Sim) tweet(p *Post, extended bool) map[string]any {
	a := s.accounts[p.Account]
	cut := 280
	if extended {
		cut = 0
	}
	sh := shorten(p, a.Username, cut)
	name := "text"
	if extended {
		name = "full_text"
	}
	c := s.counts[p.ID]
	urls := []any{}
	for _, u := range sh.urls {
		urls = append(urls, u)
	}
	out := map[string]any{
		"created_at": p.At.UTC().Format(time.RubyDate), "id": number(p.ID), "id_str": p.ID, name: sh.text, "truncated": false,
		"entities": map[string]any{"urls": urls, "hashtags": []any{}, "user_mentions": []any{}}, "user": s.legacyUser(a),
		"in_reply_to_status_id": nil, "in_reply_to_status_id_str": nil, "retweet_count": c.Reposts, "favorite_count": c.Likes,
	}
	if p.Parent != "" {
		out["in_reply_to_status_id"], out["in_reply_to_status_id_str"] = number(p.Parent), p.Parent
	}
	if of := s.visible(p.Repost); of != nil {
		out["retweeted_status"] = s.tweet(of, extended)
	}
	return s.without(out)
}

func extended(r *http.Request) bool { return r.Form.Get("tweet_mode") == "extended" }

func (s *Sim) updateStatus(r *http.Request, a *Account) (any, error) {
	text, parent := r.PostForm.Get("status"), r.PostForm.Get("in_reply_to_status_id")
	switch {
	case text == "":
		return nil, coded(http.StatusForbidden, 170, "Missing required parameter: status.")
	case weight(text) > 280:
		return nil, coded(http.StatusForbidden, 186, "Tweet needs to be a bit shorter.")
	case len(cashtags.FindAllString(text, -1)) > 1:
		return nil, coded(http.StatusForbidden, 226, "This request looks like it might be automated: one cashtag is allowed.")
	case parent != "" && s.visible(parent) == nil:
		return nil, coded(http.StatusForbidden, 385, "You attempted to reply to a Tweet that is deleted or not visible to you.")
	case s.repeated(a.ID, text):
		return nil, coded(http.StatusForbidden, 187, "Status is a duplicate.")
	}
	return s.tweet(s.add(Post{Account: a.ID, Text: text, Parent: parent}, r.Header.Get("X-Sim-Hash")), extended(r)), nil
}

func noStatus() error { return coded(http.StatusNotFound, 144, "No status found with that ID.") }

func (s *Sim) destroyStatus(r *http.Request, a *Account) (any, error) {
	p := s.visible(strings.TrimSuffix(r.PathValue("id"), ".json"))
	switch {
	case p == nil:
		return nil, noStatus()
	case p.Account != a.ID:
		return nil, coded(http.StatusForbidden, 183, "You may not delete another user's status.")
	}
	out := s.tweet(p, extended(r))
	s.removed[p.ID] = true
	s.Kit.Journal.Add(simkit.Effect{At: s.now(), Op: "delete", Account: a.ID, RemoteID: p.ID})
	return out, nil
}

func (s *Sim) showStatus(r *http.Request, _ *Account) (any, error) {
	p := s.visible(r.Form.Get("id"))
	if p == nil {
		return nil, noStatus()
	}
	return s.tweet(p, extended(r)), nil
}

func (s *Sim) lookupStatuses(r *http.Request, _ *Account) (any, error) {
	ids := strings.Split(r.Form.Get("id"), ",")
	if len(ids) > 100 {
		return nil, coded(http.StatusForbidden, 18, "Too many terms specified in query.")
	}
	out := []any{}
	for _, id := range s.ids {
		if p := s.visible(id); p != nil && slices.Contains(ids, id) {
			out = append(out, s.tweet(p, extended(r)))
		}
	}
	return out, nil
}

func (s *Sim) userTimeline(r *http.Request, _ *Account) (any, error) {
	count, err := strconv.Atoi(r.Form.Get("count"))
	if err != nil || count < 1 || count > 200 {
		count = 20
	}
	out := []any{}
	account := r.Form.Get("user_id")
	stale := s.stage.stale[account]
	seen := 0 // what is left out takes its place in the page
	for i := len(s.ids) - 1; i >= 0 && seen < count; i-- {
		p := s.visible(s.ids[i])
		if p == nil || p.Account != account || stale > 0 && s.now().Sub(p.At) < stale {
			continue
		}
		if most := r.Form.Get("max_id"); most != "" && !s.stage.loop && number(p.ID) > number(most) {
			continue
		}
		if seen++; p.Repost != "" && r.Form.Get("include_rts") == "false" {
			continue
		}
		out = append(out, s.tweet(p, extended(r)))
	}
	return out, nil
}

func (s *Sim) invalidateToken(r *http.Request, _ *Account) (any, error) {
	_, value, _ := strings.Cut(r.Header.Get("Authorization"), `oauth_token="`)
	value, _, _ = strings.Cut(value, `"`)
	if k := s.keys[value]; k != nil {
		k.revoked = true
	}
	return map[string]any{"access_token": value}, nil
}
