package linkedinsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"smi/connectors/internal/simkit"
)

type post struct {
	urn, activity, author string
	commentary, text      string // as it was sent, and as a reader sees it
	visibility            string
	content               json.RawMessage
	media                 int
	created, modified     time.Time
	deleted               bool
}

// duplicateWindow is for how long the same words of the same author are a
// duplicate. The network's own is not documented.
const duplicateWindow = 10 * time.Minute

type postInput struct {
	Author       string `json:"author"`
	Commentary   string `json:"commentary"`
	Visibility   string `json:"visibility"`
	Lifecycle    string `json:"lifecycleState"`
	Distribution *struct {
		Feed string `json:"feedDistribution"`
	} `json:"distribution"`
	Content json.RawMessage `json:"content"`
}

type contentInput struct {
	Media *struct {
		ID, AltText, Title string
	} `json:"media"`
	MultiImage *struct {
		Images []struct{ ID, AltText string } `json:"images"`
	} `json:"multiImage"`
	Article *struct {
		Source, Title, Description, Thumbnail string
	} `json:"article"`
	Poll *struct {
		Question string
		Options  []struct{ Text string }
		Settings struct{ Duration string }
	} `json:"poll"`
}

// units is the length of a text in UTF-16.
func units(s string) int { return len(utf16.Encode([]rune(s))) }

func (s *Sim) createPost(c *call) {
	if c.method != "" && c.method != "CREATE" {
		refuse(c.w, http.StatusBadRequest, "ILLEGAL_ARGUMENT", "X-RestLi-Method "+c.method+" does not fit", "")
		return
	}
	hash := simkit.BodyHash(c.r)
	var in postInput
	if err := json.Unmarshal(body(c.r), &in); err != nil {
		refuse(c.w, http.StatusBadRequest, "", "the request cannot be read", "")
		return
	}
	if in.Author == "" || in.Distribution == nil || in.Lifecycle == "" || in.Visibility == "" {
		refuse(c.w, http.StatusBadRequest, "MISSING_FIELD", "author, distribution, lifecycleState and visibility are required", "author")
		return
	}
	if !s.acts(c, in.Author, "w_member_social", "w_organization_social") {
		return
	}
	bad := func(status int, code, field, format string, args ...any) {
		refuse(c.w, status, code, fmt.Sprintf(format, args...), field)
	}
	switch {
	case !slices.Contains([]string{"PUBLIC", "CONNECTIONS", "LOGGED_IN"}, in.Visibility):
		bad(http.StatusBadRequest, "INVALID_VALUE_FOR_FIELD", "visibility", "unknown visibility")
		return
	case units(in.Commentary) > 3000:
		bad(http.StatusUnprocessableEntity, "FIELD_LENGTH_TOO_LONG", "commentary", "commentary exceeded maximum length of 3000")
		return
	case strings.TrimSpace(in.Commentary) == "" && len(in.Content) == 0:
		bad(http.StatusUnprocessableEntity, "INVALID_VALUE_BLANK_FIELD", "commentary", "commentary is blank")
		return
	}
	p := &post{author: in.Author, commentary: in.Commentary, text: render(in.Commentary), visibility: in.Visibility, content: in.Content}
	if !s.checkContent(c, p) {
		return
	}
	if old := s.duplicate(p); old != "" {
		answer(c.w, http.StatusUnprocessableEntity, map[string]any{
			"errorDetailType": "com.linkedin.common.error.BadRequest",
			"message":         "com.linkedin.content.common.exception.BadRequestResponseException: Content is a duplicate of " + old,
			"errorDetails": map[string]any{"inputErrors": []any{map[string]any{
				"description": "Duplicate post is detected", "input": map[string]any{}, "code": "DUPLICATE_POST",
			}}},
			"status": 422,
		})
		return
	}
	s.keep(p)
	s.Kit.Journal.Add(simkit.Effect{Op: "create", Account: p.author, RemoteID: p.urn, Hash: hash, Text: p.text})
	c.w.Header().Set("X-RestLi-Id", p.urn)
	c.w.Header().Set("X-LinkedIn-Id", p.urn)
	c.w.WriteHeader(http.StatusCreated)
}

// keep makes a post public.
func (s *Sim) keep(p *post) {
	kind := "share"
	if strings.Contains(string(p.content), "urn:li:video:") {
		kind = "ugcPost"
	}
	p.urn, p.activity = "urn:li:"+kind+":"+s.next(), "urn:li:activity:"+s.next()
	p.created, p.modified = s.now(), s.now()
	s.posts = append(s.posts, p)
	if !s.o.Sparse { // its author has seen it
		s.counts[p.urn] = Counts{Impressions: 1, Unique: 1}
	}
}

// duplicate returns of which post p is one, or "".
func (s *Sim) duplicate(p *post) string {
	for _, old := range s.posts {
		if old.author != p.author || old.commentary != p.commentary || string(old.content) != string(p.content) || s.now().Sub(old.created) > duplicateWindow {
			continue
		}
		if !old.deleted {
			return old.urn
		}
		if s.o.Ghosts { // another name each time, of nothing
			return "urn:li:share:" + s.next()
		}
	}
	return ""
}

// checkContent refuses content that the network would refuse.
func (s *Sim) checkContent(c *call, p *post) bool {
	if len(p.content) == 0 {
		return true
	}
	bad := func(code, field, text string) bool {
		status := http.StatusBadRequest
		if code == "FIELD_LENGTH_TOO_LONG" {
			status = http.StatusUnprocessableEntity
		}
		refuse(c.w, status, code, text, field)
		return false
	}
	var in contentInput
	if err := json.Unmarshal(p.content, &in); err != nil {
		return bad("INVALID_VALUE_FOR_FIELD", "content", "the content cannot be read")
	}
	file := func(urn, field string, kinds ...string) bool {
		a := s.assets[urn]
		switch {
		case a == nil || !slices.Contains(kinds, a.kind):
			return bad("INVALID_URN_ID", field, "no such file")
		case a.owner != p.author:
			return bad("INVALID_URN_ID", field, "the owner of the file is not the author of the post")
		case a.status() == "PROCESSING_FAILED":
			return bad("MEDIA_ASSET_PROCESSING_FAILED", field, "the file could not be processed")
		case a.status() != "AVAILABLE":
			return bad("MEDIA_ASSET_WAITING_UPLOAD", field, "the file is not ready")
		}
		p.media++
		return true
	}
	switch {
	case in.Media != nil:
		m := in.Media
		if units(m.AltText) > 4086 {
			return bad("FIELD_LENGTH_TOO_LONG", "content/media/altText", "altText exceeded maximum length of 4086")
		}
		if !file(m.ID, "content/media/id", "images", "videos", "documents") {
			return false
		}
		if s.assets[m.ID].kind == "documents" && m.Title == "" {
			return bad("MISSING_FIELD", "content/media/title", "a document needs a title")
		}
	case in.MultiImage != nil:
		n := len(in.MultiImage.Images)
		if n < 2 || n > 20 {
			return bad("INVALID_VALUE_FOR_FIELD", "content/multiImage/images", "2 to 20 images are required")
		}
		for i, m := range in.MultiImage.Images {
			if units(m.AltText) > 4086 {
				return bad("FIELD_LENGTH_TOO_LONG", fmt.Sprintf("content/multiImage/images/%d/altText", i), "altText is too long")
			}
			if !file(m.ID, fmt.Sprintf("content/multiImage/images/%d/id", i), "images") {
				return false
			}
		}
	case in.Article != nil:
		a := in.Article
		if !strings.HasPrefix(a.Source, "http") {
			return bad("INVALID_VALUE_FOR_FIELD", "content/article/source", "source is no address")
		}
		if units(a.Title) > 400 {
			return bad("FIELD_LENGTH_TOO_LONG", "content/article/title", "title exceeded maximum length of 400")
		}
		if a.Thumbnail != "" {
			if !file(a.Thumbnail, "content/article/thumbnail", "images") {
				return false
			}
			p.media--
		}
	case in.Poll != nil:
		q := in.Poll
		if units(q.Question) > 140 || q.Question == "" {
			return bad("FIELD_LENGTH_TOO_LONG", "content/poll/question", "1 to 140 characters are required")
		}
		if len(q.Options) < 2 || len(q.Options) > 4 {
			return bad("INVALID_VALUE_FOR_FIELD", "content/poll/options", "2 to 4 options are required")
		}
		for _, o := range q.Options {
			if o.Text == "" || units(o.Text) > 30 {
				return bad("FIELD_LENGTH_TOO_LONG", "content/poll/options", "1 to 30 characters are required")
			}
		}
		if !slices.Contains([]string{"ONE_DAY", "THREE_DAYS", "SEVEN_DAYS", "FOURTEEN_DAYS"}, q.Settings.Duration) {
			return bad("INVALID_VALUE_FOR_FIELD", "content/poll/settings/duration", "unknown duration")
		}
	default:
		return bad("INVALID_VALUE_FOR_FIELD", "content", "unknown content")
	}
	return true
}

var mentionElement = regexp.MustCompile(`^@\[((?:[^\[\]\\]|\\.)+)\]\(urn:li:(?:person|organization):[^()]+\)`)

// render is what a reader sees of a text in the little text format. At a
// reserved character that is no element and has no backslash the text is cut,
// without a word, as the network does.
func render(s string) string {
	const reserved = `\|{}@[]()<>#*_~`
	var b strings.Builder
	rs := []rune(s)
	for i := 0; i < len(rs); i++ {
		rest := string(rs[i:])
		switch r := rs[i]; {
		case r == '\\' && i+1 < len(rs) && strings.ContainsRune(reserved, rs[i+1]):
			i++
			b.WriteRune(rs[i])
		case strings.HasPrefix(rest, `{hashtag|\#|`):
			end := strings.Index(rest, "}")
			if end < 0 {
				return b.String()
			}
			inner := strings.TrimPrefix(rest[:end], `{hashtag|\#|`)
			b.WriteString("#" + render(inner))
			i += len([]rune(rest[:end]))
		case mentionElement.MatchString(rest):
			m := mentionElement.FindStringSubmatch(rest)
			b.WriteString(render(m[1]))
			i += len([]rune(m[0])) - 1
		case r == '#' && i+1 < len(rs) && (unicode.IsLetter(rs[i+1]) || unicode.IsDigit(rs[i+1])):
			b.WriteRune(r)
		case strings.ContainsRune(reserved, r):
			return b.String()
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// find returns a post by its name or that of its activity.
func (s *Sim) find(urn string) *post {
	for _, p := range s.posts {
		if (p.urn == urn || p.activity == urn) && !p.deleted {
			return p
		}
	}
	return nil
}

// mayRead refuses a read that the token may not make.
func (s *Sim) mayRead(c *call, author string) bool {
	if author == personURN(c.t.member) {
		return c.allows("r_member_social")
	}
	if !c.allows("r_organization_social") {
		return false
	}
	if s.roles[author][c.t.member] == "" {
		refuse(c.w, http.StatusForbidden, "ACCESS_DENIED", "no role in "+author, "")
		return false
	}
	return true
}

func (p *post) json() map[string]any {
	out := map[string]any{
		"id": p.urn, "author": p.author, "commentary": p.commentary, "visibility": p.visibility, "lifecycleState": "PUBLISHED",
		"createdAt": p.created.UnixMilli(), "publishedAt": p.created.UnixMilli(), "lastModifiedAt": p.modified.UnixMilli(),
		"distribution":              map[string]any{"feedDistribution": "MAIN_FEED", "targetEntities": []any{}, "thirdPartyDistributionChannels": []any{}},
		"isReshareDisabledByAuthor": false, "lifecycleStateInfo": map[string]any{"isEditedByAuthor": p.modified.After(p.created)},
	}
	if len(p.content) > 0 {
		out["content"] = p.content
	}
	return out
}

func (s *Sim) onePost(c *call) {
	p := s.find(c.path[1])
	if p != nil && p.urn != c.path[1] {
		p = nil // activities are not posts here
	}
	switch {
	case c.r.Method == http.MethodDelete:
		if p == nil { // deleting is repeatable
			c.w.WriteHeader(http.StatusNoContent)
			return
		}
		if s.acts(c, p.author, "w_member_social", "w_organization_social") {
			p.deleted = true
			s.Kit.Journal.Add(simkit.Effect{Op: "delete", Account: p.author, RemoteID: p.urn})
			c.w.WriteHeader(http.StatusNoContent)
		}
	case p == nil:
		refuse(c.w, http.StatusNotFound, "NOT_FOUND", "Could not find entity", "")
	case c.r.Method == http.MethodGet:
		if s.mayRead(c, p.author) {
			answer(c.w, http.StatusOK, p.json())
		}
	case c.r.Method == http.MethodPost && c.method == "PARTIAL_UPDATE":
		s.updatePost(c, p)
	default:
		refuse(c.w, http.StatusBadRequest, "ILLEGAL_ARGUMENT", "a change needs X-RestLi-Method: PARTIAL_UPDATE", "")
	}
}

func (s *Sim) updatePost(c *call, p *post) {
	if !s.acts(c, p.author, "w_member_social", "w_organization_social") {
		return
	}
	var in struct {
		Patch struct {
			Set struct {
				Commentary *string `json:"commentary"`
			} `json:"$set"`
		} `json:"patch"`
	}
	if err := json.Unmarshal(body(c.r), &in); err != nil || in.Patch.Set.Commentary == nil {
		refuse(c.w, http.StatusBadRequest, "MISSING_FIELD", "patch is missing", "patch")
		return
	}
	p.commentary, p.text, p.modified = *in.Patch.Set.Commentary, render(*in.Patch.Set.Commentary), s.now()
	s.Kit.Journal.Add(simkit.Effect{Op: "update", Account: p.author, RemoteID: p.urn, Text: p.text})
	c.w.WriteHeader(http.StatusNoContent)
}

// findPosts answers the finder of an author's posts and the question for many
// posts by their names.
func (s *Sim) findPosts(c *call) {
	if c.query.text("q") == "author" {
		s.byAuthor(c)
		return
	}
	results, errs, statuses := map[string]any{}, map[string]any{}, map[string]any{}
	for _, id := range c.query.list("ids") {
		p := s.find(id)
		if p == nil || p.urn != id {
			errs[id] = map[string]any{"status": 404, "message": "Could not find entity"}
			continue
		}
		if !s.mayRead(c, p.author) {
			return
		}
		results[id], statuses[id] = p.json(), 200
	}
	answer(c.w, http.StatusOK, map[string]any{"results": results, "statuses": statuses, "errors": errs})
}

func (s *Sim) byAuthor(c *call) {
	author := c.query.text("author")
	if strings.HasPrefix(author, "urn:li:person:") && !slices.Contains(c.t.scopes, "r_member_social") {
		answer(c.w, http.StatusBadRequest, map[string]any{"message": "Member permissions must be used when using member as author", "status": 400})
		return
	}
	if !s.mayRead(c, author) {
		return
	}
	var all []any
	for _, p := range slices.Backward(s.posts) {
		if p.author == author && !p.deleted && s.listed(author, p.created) {
			all = append(all, p.json())
		}
	}
	if s.stage.loop {
		c.query["start"] = value{text: "0"}
	}
	answer(c.w, http.StatusOK, page(c, all))
}

// listed says whether listings show what was made at a time.
func (s *Sim) listed(author string, at time.Time) bool {
	return !at.After(s.now().Add(-s.stage.stale[author]))
}
