package mastodonsim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"smi/connectors/internal/simkit"
)

func (s *Sim) accountRoutes() {
	s.mux.HandleFunc("GET /api/v1/accounts/verify_credentials", func(w http.ResponseWriter, r *http.Request) {
		t := s.signed(w, r, "read:accounts")
		if t == nil {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		out := s.accountView(r, t.account)
		out["source"] = object{
			"privacy": "public", "sensitive": false, "language": defaultLocale, "note": "", "fields": []any{}, "follow_requests_count": 0,
		}
		out["role"] = object{"id": "-99", "name": "", "permissions": "65536", "color": "", "highlighted": false}
		answer(w, http.StatusOK, out)
	})
	s.mux.HandleFunc("GET /api/v1/accounts/{id}", func(w http.ResponseWriter, r *http.Request) {
		if s.signed(w, r, "read:accounts") == nil {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if a := s.accounts[r.PathValue("id")]; a != nil {
			answer(w, http.StatusOK, s.accountView(r, a))
			return
		}
		refuse(w, http.StatusNotFound, "Record not found")
	})
	s.mux.HandleFunc("GET /api/v1/accounts/{id}/statuses", s.accountStatuses)
}

func (s *Sim) statusRoutes() {
	s.mux.HandleFunc("POST /api/v1/statuses", s.publish)
	s.mux.HandleFunc("GET /api/v1/statuses", s.manyStatuses)
	s.mux.HandleFunc("GET /api/v1/statuses/{id}", s.oneStatus(func(w http.ResponseWriter, r *http.Request, p *status) {
		answer(w, http.StatusOK, s.statusView(r, p))
	}))
	s.mux.HandleFunc("GET /api/v1/statuses/{id}/source", s.oneStatus(func(w http.ResponseWriter, _ *http.Request, p *status) {
		answer(w, http.StatusOK, object{"id": p.ID, "text": p.Text, "spoiler_text": p.Spoiler})
	}))
	s.mux.HandleFunc("GET /api/v1/statuses/{id}/context", s.oneStatus(s.context))
	s.mux.HandleFunc("DELETE /api/v1/statuses/{id}", s.deleteStatus)
	for path, change := range map[string]func(*Counts){
		"favourite":   func(c *Counts) { c.Favourites++ },
		"unfavourite": func(c *Counts) { c.Favourites = max(c.Favourites-1, 0) },
		"reblog":      func(c *Counts) { c.Reblogs++ },
		"unreblog":    func(c *Counts) { c.Reblogs = max(c.Reblogs-1, 0) },
	} {
		scope := "write:favourites"
		if strings.HasSuffix(path, "reblog") {
			scope = "write:statuses"
		}
		s.mux.HandleFunc("POST /api/v1/statuses/{id}/"+path, func(w http.ResponseWriter, r *http.Request) {
			if s.signed(w, r, scope) == nil {
				return
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			p := s.statuses[r.PathValue("id")]
			if p == nil {
				refuse(w, http.StatusNotFound, "Record not found")
				return
			}
			change(&p.counts)
			answer(w, http.StatusOK, s.statusView(r, p))
		})
	}
}

// visibilities are who may see a post.
var visibilities = []string{"public", "unlisted", "private", "direct"}

// publish makes a post. In this order it looks at the key, what is answered, the
// files, and the post itself; then it is stored, and after that the key.
func (s *Sim) publish(w http.ResponseWriter, r *http.Request) {
	hash := simkit.BodyHash(r)
	t := s.signed(w, r, "write:statuses")
	if t == nil {
		return
	}
	f, err := readForm(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "The request could not be read")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	who, now := t.account, s.now()
	name := who.id + " " + r.Header.Get("Idempotency-Key")
	if r.Header.Get("Idempotency-Key") != "" && !s.o.GoToSocial {
		if k, ok := s.keys[name]; ok && now.Before(k.until) && s.statuses[k.status] != nil {
			answer(w, http.StatusOK, s.statusView(r, s.statuses[k.status]))
			return
		}
	}
	p := &status{app: t.app.name, Post: Post{
		Account: s.remote(who.id), Text: strings.TrimSpace(f.get("status")), Spoiler: strings.TrimSpace(f.get("spoiler_text")),
		Visibility: f.get("visibility"), Language: f.get("language"), Parent: f.get("in_reply_to_id"), At: now,
	}}
	p.Sensitive = f.yes("sensitive") || p.Spoiler != ""
	if p.Visibility == "" {
		p.Visibility = "public"
		if s.o.GoToSocial {
			p.Visibility = "unlisted"
		}
	}
	files, code, text := s.check(t, f, p)
	if code != 0 {
		refuse(w, code, text)
		return
	}
	p.ID = s.newID()
	p.URL = s.base(r) + "/@" + who.Username + "/" + p.ID
	if s.o.GoToSocial {
		p.URL = s.base(r) + "/@" + who.Username + "/statuses/" + p.ID
	}
	for _, m := range files {
		m.status = p.ID
		p.Media = append(p.Media, m.Media)
	}
	s.store(who, p, hash)
	if r.Header.Get("Idempotency-Key") != "" && !s.o.GoToSocial {
		s.keys[name] = key{p.ID, now.Add(keyLife)}
	}
	answer(w, http.StatusOK, s.statusView(r, p))
}

// check says what is wrong with a post, and which files it has.
func (s *Sim) check(t *token, f form, p *status) (files []*media, code int, text string) {
	invalid := func(text string) ([]*media, int, string) { return nil, http.StatusUnprocessableEntity, text }
	if p.Parent != "" && s.statuses[p.Parent] == nil {
		return nil, http.StatusNotFound, "Record not found"
	}
	moving := 0
	ids := f.list("media_ids")
	if len(ids) > s.o.MaxMedia || len(ids) > 0 && f.has("poll[options][]") {
		return invalid(fmt.Sprintf("Cannot attach more than %d files", s.o.MaxMedia))
	}
	for _, id := range ids {
		m := s.media[id]
		switch {
		case m == nil || m.account != t.account || m.status != "" || s.now().Sub(m.made) > mediaLife:
			return nil, http.StatusNotFound, "Record not found"
		case m.polls > 0 || m.failed:
			return invalid("Cannot attach files that have not finished processing. Try again in a moment!")
		case m.Type != "image":
			moving++
		}
		files = append(files, m)
	}
	if moving > 0 && len(files) > 1 {
		return invalid("Cannot attach a video to a post that already contains images")
	}
	if p.Text == "" && len(files) == 0 {
		return invalid("Validation failed: Text can't be blank")
	}
	if Count(p.Spoiler, p.Text) > s.o.MaxCharacters {
		return invalid(fmt.Sprintf("Validation failed: Text character limit of %d exceeded", s.o.MaxCharacters))
	}
	if !slices.Contains(visibilities, p.Visibility) {
		return invalid("Validation failed: Visibility is not included in the list")
	}
	if n := len(p.Language); n != 0 && n != 2 && n != 3 {
		return invalid("Validation failed: Language is not a known language")
	}
	if !f.has("poll[options][]") {
		return files, 0, ""
	}
	options, lasts := f.list("poll[options]"), f.number("poll[expires_in]", 0)
	switch {
	case len(options) < 2:
		return invalid("Validation failed: Poll options must have more than one item")
	case len(options) > pollOptions:
		return invalid(fmt.Sprintf("Validation failed: Poll options can't contain more than %d items", pollOptions))
	case lasts < pollMin:
		return invalid("Validation failed: Poll duration is too short")
	case lasts > pollMax:
		return invalid("Validation failed: Poll duration is too far into the future")
	}
	seen := map[string]bool{}
	for _, o := range options {
		switch {
		case utf8.RuneCountInString(o) > pollOption:
			return invalid(fmt.Sprintf("Validation failed: Poll options can't be longer than %d characters each", pollOption))
		case seen[o]:
			return invalid("Validation failed: Poll options contain duplicate items")
		}
		seen[o] = true
	}
	p.Poll = options
	p.poll = &poll{id: s.newID(), options: options, expires: p.At.Add(time.Duration(lasts) * time.Second), multiple: f.yes("poll[multiple]"), hideTotals: f.yes("poll[hide_totals]")}
	return files, 0, ""
}

// store makes a post visible. The caller holds s.mu.
func (s *Sim) store(who *account, p *status, hash string) {
	s.statuses[p.ID] = p
	who.posts = append(who.posts, p.ID)
	if parent := s.statuses[p.Parent]; parent != nil {
		parent.counts.Replies++
	}
	s.Kit.Journal.Add(simkit.Effect{Op: "create", Account: p.Account, RemoteID: p.ID, Hash: hash, Text: p.Text, At: p.At})
}

// drop takes a post away. The caller holds s.mu.
func (s *Sim) drop(id string) {
	p := s.statuses[id]
	if p == nil {
		return
	}
	delete(s.statuses, id)
	if a := s.own(p.Account); a != nil {
		a.posts = slices.DeleteFunc(a.posts, func(v string) bool { return v == id })
	}
	s.Kit.Journal.Add(simkit.Effect{Op: "delete", Account: p.Account, RemoteID: id})
}

func (s *Sim) deleteStatus(w http.ResponseWriter, r *http.Request) {
	t := s.signed(w, r, "write:statuses")
	if t == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.statuses[r.PathValue("id")]
	if p == nil || p.Account != s.remote(t.account.id) {
		refuse(w, http.StatusNotFound, "Record not found")
		return
	}
	out := s.statusView(r, p)
	out["text"] = p.Text
	s.drop(p.ID)
	answer(w, http.StatusOK, out)
}

// oneStatus finds the post of a request.
func (s *Sim) oneStatus(then func(http.ResponseWriter, *http.Request, *status)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.signed(w, r, "read:statuses") == nil {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		p := s.statuses[r.PathValue("id")]
		if p == nil {
			refuse(w, http.StatusNotFound, "Record not found")
			return
		}
		then(w, r, p)
	}
}

// manyMost is how many posts are given by one call.
const manyMost = 20

func (s *Sim) manyStatuses(w http.ResponseWriter, r *http.Request) {
	if s.signed(w, r, "read:statuses") == nil {
		return
	}
	if s.o.Old || s.o.GoToSocial {
		refuse(w, http.StatusNotFound, "Record not found")
		return
	}
	f, err := readForm(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "The request could not be read")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []object{}
	for i, id := range f.list("id") {
		if p := s.statuses[id]; p != nil && i < manyMost {
			out = append(out, s.statusView(r, p))
		}
	}
	answer(w, http.StatusOK, out)
}

func (s *Sim) context(w http.ResponseWriter, r *http.Request, p *status) {
	up, down := []object{}, []object{}
	for q := s.statuses[p.Parent]; q != nil; q = s.statuses[q.Parent] {
		up = slices.Insert(up, 0, s.statusView(r, q))
	}
	under := map[string]bool{p.ID: true}
	for _, id := range sortedKeys(s.statuses) { // ids grow
		if q := s.statuses[id]; under[q.Parent] {
			under[id] = true
			down = append(down, s.statusView(r, q))
		}
	}
	answer(w, http.StatusOK, object{"ancestors": up, "descendants": down})
}

// accountStatuses lists posts of an account, the newest first, with links to the
// pages around it.
func (s *Sim) accountStatuses(w http.ResponseWriter, r *http.Request) {
	t := s.signed(w, r, "read:statuses")
	if t == nil {
		return
	}
	f, err := readForm(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "The request could not be read")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[r.PathValue("id")]
	if a == nil {
		refuse(w, http.StatusNotFound, "Record not found")
		return
	}
	limit := min(max(f.number("limit", 20), 1), 40)
	before, after := f.get("max_id"), f.get("since_id")
	var page []*status
	for _, id := range slices.Backward(a.posts) {
		p := s.statuses[id]
		older := func(x, y string) bool { return len(x) < len(y) || len(x) == len(y) && x < y }
		switch {
		case a != t.account && p.Visibility != "public" && p.Visibility != "unlisted",
			before != "" && !older(id, before),
			after != "" && !older(after, id),
			f.yes("exclude_replies") && p.Parent != "",
			f.yes("only_media") && len(p.Media) == 0,
			f.yes("pinned"),
			a.stale > 0 && s.now().Sub(p.At) < a.stale:
			continue
		}
		page = append(page, p)
	}
	more := len(page) > limit
	page = page[:min(limit, len(page))]
	out := []object{}
	for _, p := range page {
		out = append(out, s.statusView(r, p))
	}
	if len(page) > 0 && !s.stage.unlinked {
		q := r.URL.Query()
		at := func(name, id string) string {
			for _, k := range []string{"max_id", "min_id", "since_id"} {
				q.Del(k)
			}
			q.Set(name, id)
			return s.base(r) + r.URL.Path + "?" + q.Encode()
		}
		var links []string
		switch {
		case s.stage.loop:
			links = append(links, `<`+at("max_id", a.posts[len(a.posts)-1])+`>; rel="next"`)
		case more:
			links = append(links, `<`+at("max_id", page[len(page)-1].ID)+`>; rel="next"`)
		}
		links = append(links, `<`+at("min_id", page[0].ID)+`>; rel="prev"`)
		w.Header().Set("Link", strings.Join(links, ", "))
	}
	answer(w, http.StatusOK, out)
}

// accountView is an account as the API shows it. The caller holds s.mu.
func (s *Sim) accountView(r *http.Request, a *account) object {
	at := s.base(r)
	out := object{
		"id": a.id, "username": a.Username, "acct": a.Username, "display_name": a.DisplayName, "locked": false, "bot": false, "discoverable": true, "group": false,
		"created_at": "2024-01-01T00:00:00.000Z", "note": "", "url": at + "/@" + a.Username, "uri": at + "/users/" + a.Username,
		"avatar": at + "/avatar.png", "avatar_static": at + "/avatar.png", "header": at + "/header.png", "header_static": at + "/header.png",
		"followers_count": a.Followers, "following_count": a.Following, "statuses_count": len(a.posts), "last_status_at": nil,
		"emojis": []any{}, "fields": []any{}, "noindex": false, "roles": []any{}, "hide_collections": false, "indexable": true,
	}
	return s.without(out)
}

// statusView is a post as the API shows it. The caller holds s.mu.
func (s *Sim) statusView(r *http.Request, p *status) object {
	content, mentions := s.render(s.base(r), p.Text)
	if mentions == nil {
		mentions = []object{}
	}
	files := []object{}
	for _, m := range p.Media {
		files = append(files, s.mediaView(r, s.media[m.ID]))
	}
	who := s.own(p.Account)
	out := object{
		"id": p.ID, "uri": s.base(r) + "/users/" + who.Username + "/statuses/" + p.ID, "url": p.URL, "created_at": instant(p.At), "edited_at": nil,
		"account": s.accountView(r, who), "content": content, "visibility": p.Visibility, "sensitive": p.Sensitive, "spoiler_text": p.Spoiler,
		"media_attachments": files, "application": object{"name": p.app, "website": nil}, "mentions": mentions, "tags": []any{}, "emojis": []any{},
		"reblogs_count": p.counts.Reblogs, "favourites_count": p.counts.Favourites, "replies_count": p.counts.Replies, "quotes_count": p.counts.Quotes,
		"in_reply_to_id": orNil(p.Parent), "in_reply_to_account_id": nil, "reblog": nil, "poll": nil, "card": nil, "language": orNil(p.Language),
		"favourited": false, "reblogged": false, "muted": false, "bookmarked": false, "pinned": false, "filtered": []any{},
	}
	if s.o.GoToSocial || s.o.Old {
		delete(out, "quotes_count")
	}
	if parent := s.statuses[p.Parent]; parent != nil {
		if a := s.own(parent.Account); a != nil {
			out["in_reply_to_account_id"] = a.id
		}
	}
	if p.poll != nil {
		options := []object{}
		for _, o := range p.poll.options {
			options = append(options, object{"title": o, "votes_count": 0})
		}
		out["poll"] = object{
			"id": p.poll.id, "expires_at": instant(p.poll.expires), "expired": !s.now().Before(p.poll.expires), "multiple": p.poll.multiple,
			"votes_count": 0, "voters_count": 0, "options": options, "emojis": []any{}, "voted": true, "own_votes": []any{},
		}
	}
	return s.without(out)
}
