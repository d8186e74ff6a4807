package twittersim

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"smi/connectors/internal/simkit"
)

func (s *Sim) postRoutes() {
	s.mux.HandleFunc("GET /2/users/me", s.usersMe)
	s.mux.HandleFunc("GET /2/users/{id}/tweets", s.userTweets)
	s.mux.HandleFunc("GET /2/tweets", s.lookup)
	s.mux.HandleFunc("GET /2/tweets/{id}", s.getTweet)
	s.mux.HandleFunc("POST /2/tweets", s.createTweet)
	s.mux.HandleFunc("DELETE /2/tweets/{id}", s.deleteTweet)
}

// enter finds out whose request it is and takes it from their limit. The caller
// holds s.mu.
func (s *Sim) enter(w http.ResponseWriter, r *http.Request, endpoint string, scopes ...string) (*Account, error) {
	a, err := s.authorise(r, scopes...)
	if err != nil {
		return nil, err
	}
	return a, s.spend(w, a.ID, endpoint)
}

func (s *Sim) usersMe(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.enter(w, r, "me", "users.read", "tweet.read")
	if err != nil {
		send(w, nil, err)
		return
	}
	asked := strings.Split(r.URL.Query().Get("user.fields"), ",")
	out := map[string]any{"id": a.ID, "name": a.Name, "username": a.Username}
	if slices.Contains(asked, "subscription_type") {
		out["subscription_type"] = a.Subscription
	}
	if slices.Contains(asked, "public_metrics") {
		posts := 0
		for _, id := range s.ids {
			if p := s.visible(id); p != nil && p.Account == a.ID {
				posts++
			}
		}
		name := "tweet_count"
		if s.o.Renamed {
			name = "post_count"
		}
		out["public_metrics"] = s.without(map[string]any{"followers_count": a.Followers, "following_count": a.Following, name: posts, "listed_count": 0, "like_count": 0, "media_count": 0})
	}
	send(w, map[string]any{"data": out}, nil)
}

// wanted is what a request asks of posts, in one of two spellings.
type wanted struct {
	newer      bool
	fields     []string
	expansions []string
}

func (s *Sim) wanted(r *http.Request) wanted {
	q := r.URL.Query()
	v := wanted{newer: q.Has("post.fields"), expansions: strings.Split(q.Get("expansions"), ",")}
	name := "tweet.fields"
	if v.newer {
		name = "post.fields"
	}
	if v.newer && s.o.OldOnly || !v.newer && s.o.Renamed {
		return v // names that are not known are dropped without a word
	}
	v.fields = strings.Split(q.Get(name), ",")
	return v
}

func (v wanted) has(field string) bool { return slices.Contains(v.fields, field) }

func (v wanted) spelled(older, newer string) string {
	if v.newer {
		return newer
	}
	return older
}

const stamp = "2006-01-02T15:04:05.000Z"

// private is how long an author may read what is not public of a post.
const private = 30 * 24 * time.Hour

// show is a post as the API gives it, with what belongs beside it. The caller
// holds s.mu.
func (s *Sim) show(p *Post, v wanted, reader string, in map[string][]any) (map[string]any, []any) {
	a := s.accounts[p.Account]
	sh := shorten(p, a.Username, 280)
	whole := shorten(p, a.Username, 0)
	out := map[string]any{"id": p.ID, "text": sh.text}
	if !v.newer {
		out["edit_history_tweet_ids"] = []string{p.ID}
	}
	if v.has("created_at") {
		out["created_at"] = p.At.UTC().Format(stamp)
	}
	if v.has("entities") && len(sh.urls) > 0 {
		out["entities"] = map[string]any{"urls": sh.urls}
	}
	if v.has(v.spelled("note_tweet", "note_post")) && utf8.RuneCountInString(p.Text) > 280 {
		out[v.spelled("note_tweet", "note_post")] = map[string]any{"text": whole.text, "entities": map[string]any{"urls": whole.urls}}
	}
	if !v.newer && v.has("author_id") || v.newer && slices.Contains(v.expansions, "author_id") {
		out["author_id"] = p.Account
		if slices.Contains(v.expansions, "author_id") {
			in["users"] = append(in["users"], map[string]any{"id": a.ID, "username": a.Username, "name": a.Name})
		}
	}
	if p.Parent != "" && (!v.newer && v.has("referenced_tweets") || v.newer && slices.Contains(v.expansions, "referenced_posts")) {
		out[v.spelled("referenced_tweets", "referenced_posts")] = []any{map[string]any{"type": "replied_to", "id": p.Parent}}
	}
	if p.Repost != "" && !v.newer && v.has("referenced_tweets") {
		out["referenced_tweets"] = []any{map[string]any{"type": "retweeted", "id": p.Repost}}
	}
	if v.has("attachments") && len(p.Media) > 0 {
		var keys []string
		for _, id := range p.Media {
			key := "3_" + id
			keys = append(keys, key)
			if slices.Contains(v.expansions, "attachments.media_keys") {
				in["media"] = append(in["media"], map[string]any{"media_key": key, "type": s.media[id].shownAs()})
			}
		}
		out["attachments"] = map[string]any{"media_keys": keys}
	}
	c := s.counts[p.ID]
	if v.has("public_metrics") {
		out["public_metrics"] = s.without(map[string]any{
			v.spelled("retweet_count", "repost_count"): c.Reposts, "reply_count": c.Replies, "like_count": c.Likes, "quote_count": c.Quotes,
			"bookmark_count": c.Bookmarks, "impression_count": c.Views,
		})
	}
	var errs []any
	for _, name := range []string{"non_public_metrics", "organic_metrics"} {
		switch {
		case !v.has(name):
		case p.Account != reader || s.now().Sub(p.At) > private:
			errs = append(errs, map[string]any{
				"resource_id": p.ID, "parameter": "ids", "resource_type": "tweet", "field": name, "title": "Field Authorization Error",
				"detail": "Sorry, you are not authorized to access '" + name + "' on the Tweet.", "type": "https://api.twitter.com/2/problems/field-unauthorized",
			})
		default:
			out[name] = s.without(map[string]any{"impression_count": c.Views, "url_link_clicks": c.Clicks, "user_profile_clicks": 1, "engagements": c.Likes + c.Reposts})
		}
	}
	return out, errs
}

func (s *Sim) userTweets(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.enter(w, r, "timeline", "tweet.read", "users.read")
	q := r.URL.Query()
	size, sizeErr := strconv.Atoi(q.Get("max_results"))
	if q.Get("max_results") == "" {
		size, sizeErr = 10, nil
	}
	switch {
	case err != nil:
	case s.accounts[r.PathValue("id")] == nil:
		err = notFound(r.PathValue("id"))
	case sizeErr != nil || size < 5 || size > 100:
		err = invalid("max_results", q.Get("max_results"), "The `max_results` query parameter value ["+q.Get("max_results")+"] is not between 5 and 100")
	}
	if err != nil {
		send(w, nil, err)
		return
	}
	v := s.wanted(r)
	data, in, errs, meta := []any{}, map[string][]any{}, []any{}, map[string]any{}
	stale := s.stage.stale[r.PathValue("id")]
	from := q.Get("pagination_token")
	without := strings.Split(q.Get("exclude"), ",")
	last := ""
	seen := 0 // what is left out takes its place in the page
	for _, newest := range slices.Backward(s.ids) {
		p := s.visible(newest)
		if p == nil || p.Account != r.PathValue("id") || stale > 0 && s.now().Sub(p.At) < stale {
			continue
		}
		if id := strings.TrimPrefix(from, "page"); from != "" && !s.stage.loop && p.ID >= id || q.Get("since_id") != "" && p.ID <= q.Get("since_id") {
			continue
		}
		if seen == size {
			meta["next_token"] = "page" + last
			break
		}
		seen, last = seen+1, p.ID
		if p.Repost != "" && slices.Contains(without, "retweets") {
			continue
		}
		one, e := s.show(p, v, a.ID, in)
		data, errs = append(data, one), append(errs, e...)
		if len(data) == 1 {
			meta["newest_id"] = p.ID
		}
		meta["oldest_id"] = p.ID
	}
	meta["result_count"] = len(data)
	out := map[string]any{"meta": meta}
	if len(data) > 0 {
		out["data"] = data
	}
	answerWith(w, out, in, errs)
}

func answerWith(w http.ResponseWriter, out map[string]any, in map[string][]any, errs []any) {
	if len(in) > 0 {
		out["includes"] = in
	}
	if len(errs) > 0 {
		out["errors"] = errs
	}
	send(w, out, nil)
}

func (s *Sim) lookup(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.enter(w, r, "lookup", "tweet.read", "users.read")
	ids := strings.Split(r.URL.Query().Get("ids"), ",")
	if err == nil && (len(ids) > 100 || ids[0] == "") {
		err = invalid("ids", r.URL.Query().Get("ids"), "The number of values in the `ids` query parameter list is not between 1 and 100")
	}
	if err != nil {
		send(w, nil, err)
		return
	}
	v := s.wanted(r)
	out, data, in, errs := map[string]any{}, []any{}, map[string][]any{}, []any{}
	for _, id := range ids {
		p := s.visible(id)
		if p == nil {
			errs = append(errs, gone(id, "ids"))
			continue
		}
		one, e := s.show(p, v, a.ID, in)
		data, errs = append(data, one), append(errs, e...)
	}
	if len(data) > 0 {
		out["data"] = data
	}
	answerWith(w, out, in, errs)
}

func (s *Sim) getTweet(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.enter(w, r, "lookup", "tweet.read", "users.read")
	if err != nil {
		send(w, nil, err)
		return
	}
	p := s.visible(r.PathValue("id"))
	if p == nil {
		send(w, map[string]any{"errors": []any{gone(r.PathValue("id"), "id")}}, nil)
		return
	}
	in := map[string][]any{}
	one, errs := s.show(p, s.wanted(r), a.ID, in)
	answerWith(w, map[string]any{"data": one}, in, errs)
}

// newPost is the body of POST /2/tweets. Other keys are refused.
type newPost struct {
	Text  string `json:"text"`
	Reply *struct {
		ID      string   `json:"in_reply_to_tweet_id"`
		Exclude []string `json:"exclude_reply_user_ids"`
	} `json:"reply"`
	Quote string `json:"quote_tweet_id"`
	Media *struct {
		IDs    []string `json:"media_ids"`
		Tagged []string `json:"tagged_user_ids"`
	} `json:"media"`
	Poll *struct {
		Options []string `json:"options"`
		Minutes int      `json:"duration_minutes"`
		Replies string   `json:"reply_settings"`
	} `json:"poll"`
	Replies     string `json:"reply_settings"`
	AI          bool   `json:"made_with_ai"`
	Partnership bool   `json:"paid_partnership"`
}

var cashtags = regexp.MustCompile(`(?:^|\s)\$[A-Za-z]{1,6}\b`)

func (s *Sim) createTweet(w http.ResponseWriter, r *http.Request) {
	hash := simkit.BodyHash(r)
	body, readErr := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.enter(w, r, "create", "tweet.read", "tweet.write", "users.read")
	if err != nil {
		send(w, nil, err)
		return
	}
	var in newPost
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil || readErr != nil || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		send(w, nil, invalid("body", "", "The body of the request is not a valid document"))
		return
	}
	p, err := s.accept(a, &in)
	if err != nil {
		send(w, nil, err)
		return
	}
	made := s.add(p, hash)
	sendAs(w, http.StatusCreated, map[string]any{"data": map[string]any{"id": made.ID, "text": shorten(made, a.Username, 280).text, "edit_history_tweet_ids": []string{made.ID}}}, nil)
}

// accept checks a new post. The caller holds s.mu.
func (s *Sim) accept(a *Account, in *newPost) (Post, error) {
	p := Post{Account: a.ID, Text: in.Text, Replies: in.Replies}
	most := 280
	if a.Subscription == "Premium" || a.Subscription == "PremiumPlus" {
		most = 25000
	}
	switch {
	case in.Text == "" && in.Media == nil:
		return p, invalid("text", "", "The text of the Tweet is missing")
	case weight(in.Text) > most:
		return p, problem(http.StatusForbidden, "Your Tweet text is too long. For more information, visit: https://docs.x.com/resources/fundamentals/counting-characters")
	case len(cashtags.FindAllString(in.Text, -1)) > 1:
		return p, problem(http.StatusForbidden, "Only one cashtag is allowed per post.")
	case in.Quote != "":
		return p, problem(http.StatusForbidden, "Quoting this post is not allowed.")
	case in.Replies != "" && !slices.Contains([]string{"following", "mentionedUsers", "subscribers", "verified"}, in.Replies):
		return p, invalid("reply_settings", in.Replies, "The `reply_settings` field is not one of [following,mentionedUsers,subscribers,verified]")
	case in.Media != nil && in.Poll != nil:
		return p, invalid("media", "", "A post has either media or a poll")
	}
	if in.Poll != nil {
		if n := len(in.Poll.Options); n < 2 || n > 4 || slices.ContainsFunc(in.Poll.Options, func(o string) bool { return o == "" || utf8.RuneCountInString(o) > 25 }) {
			return p, invalid("poll.options", strings.Join(in.Poll.Options, ","), "The poll needs 2 to 4 options of 1 to 25 characters")
		}
		if in.Poll.Minutes < 5 || in.Poll.Minutes > 10080 {
			return p, invalid("poll.duration_minutes", strconv.Itoa(in.Poll.Minutes), "The duration is not between 5 and 10080")
		}
		p.Poll, p.Minutes = in.Poll.Options, in.Poll.Minutes
	}
	if in.Media != nil {
		if err := s.attach(&p, in.Media.IDs); err != nil {
			return p, err
		}
	}
	if in.Reply != nil {
		parent := s.visible(in.Reply.ID)
		switch {
		case parent == nil:
			return p, problem(http.StatusForbidden, "You attempted to reply to a Tweet that is deleted or not visible to you.")
		case parent.Account != a.ID && !strings.Contains(strings.ToLower(parent.Text), "@"+strings.ToLower(a.Username)):
			return p, problem(http.StatusForbidden, "Reply to this conversation is not allowed because you have not been mentioned or otherwise engaged by the author of the post you are replying to.")
		}
		p.Parent = parent.ID
	}
	if s.repeated(a.ID, in.Text) {
		return p, problem(http.StatusForbidden, "You are not allowed to create a Tweet with duplicate content.")
	}
	return p, nil
}

func (s *Sim) deleteTweet(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.enter(w, r, "delete", "tweet.read", "tweet.write", "users.read")
	p := s.visible(r.PathValue("id"))
	switch {
	case err != nil:
	case p == nil:
		err = notFound(r.PathValue("id"))
	case p.Account != a.ID:
		err = problem(http.StatusForbidden, "You are not authorized to delete this Tweet.")
	}
	if err == nil {
		s.removed[p.ID] = true
		s.Kit.Journal.Add(simkit.Effect{At: s.now(), Op: "delete", Account: a.ID, RemoteID: p.ID})
	}
	send(w, map[string]any{"data": map[string]any{"deleted": true}}, err)
}
