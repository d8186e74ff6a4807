package twitter

import (
	"context"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

var (
	_ connectors.Finder  = (*conn)(nil)
	_ connectors.Getter  = (*conn)(nil)
	_ connectors.Deleter = (*conn)(nil)
	_ connectors.Lister  = (*conn)(nil)

	_ connectors.Recogniser = (*conn)(nil)
)

// fieldsOf are the query parameters that ask for a post with these fields and
// its media, in the spelling that is in use. In the newer one the author and
// what is answered are expansions, of which the author is paid.
func (p *Platform) fieldsOf(newer bool, more ...string) url.Values {
	fields := strings.Join(append([]string{"created_at,text,entities,attachments,public_metrics"}, more...), ",")
	q := url.Values{"media.fields": {"media_key,type"}}
	if newer {
		q.Set("post.fields", fields+",note_post")
		q.Set("expansions", "attachments.media_keys,author_id,referenced_posts")
		return q
	}
	q.Set("tweet.fields", fields+",author_id,referenced_tweets,note_tweet")
	q.Set("expansions", "attachments.media_keys")
	return q
}

// arrived says whether a post has what was asked for. Names that X does not
// know are dropped by it without a word, so that a change of its spelling looks
// like missing data (seen 2026-09).
func (p post) arrived() bool { return p.CreatedAt != "" }

// asking makes a call with the fields of a post, and once more in the other
// spelling where the fields did not come: ok looks at the answer, and forgets
// one without them. Without a time a post would pass for an old one, so that
// such an answer is an error and no empty list.
func (c *conn) asking(ctx context.Context, k api.Call, extra url.Values, more []string, ok func() bool) (api.Answer, error) {
	for again := false; ; again = true {
		newer := c.p.newDialect.Load()
		q := c.p.fieldsOf(newer, more...)
		maps.Copy(q, extra)
		k.Query = q
		a, err := c.http.Do(ctx, k)
		if err != nil || ok() {
			return a, err
		}
		if again || c.p.cfg.FieldsDialect != dialectAuto {
			return a, &connectors.Error{
				Kind: connectors.Unknown, Op: k.Op, Status: a.Status,
				Text: "X gave posts without the fields that were asked for; it may have new names for them: look at twitter.fields_dialect",
			}
		}
		c.p.newDialect.Store(!newer)
		if c.p.env.Log != nil {
			c.p.env.Log.Warn("X does not give fields by the names they were asked for; the other spelling is tried", "op", k.Op, "newer", !newer)
		}
	}
}

// timeline reads a page of the account's own posts.
func (c *conn) timeline(ctx context.Context, size int, token string) (posts, api.Answer, error) {
	var out posts
	extra := url.Values{"max_results": {strconv.Itoa(size)}, "exclude": {"retweets"}}
	if token != "" {
		extra.Set("pagination_token", token)
	}
	a, err := c.asking(ctx, api.Call{Op: "usersTweets", URL: c.p.url("/2/users/" + url.PathEscape(c.account.RemoteID) + "/tweets"), Bucket: "timeline", Out: &out}, extra, nil, func() bool {
		missed := len(out.Data) > 0 && !out.Data[0].arrived()
		if missed {
			out = posts{}
		}
		return !missed
	})
	if err == nil {
		c.p.spent(ctx, int64(len(out.Data))*c.p.cfg.Prices.ReadOwn+int64(len(out.Includes.Users))*c.p.cfg.Prices.ReadUser)
	}
	return out, a, err
}

// seen is a post as smi compares it.
type seen struct {
	id, text, parent, author string
	at                       time.Time
	media                    []social.MediaKind
}

// see undoes what X does to a text: t.co addresses become what was written, the
// one that stands for media goes, entities become characters.
func see(p post, in includes) seen {
	out := seen{id: p.ID, author: p.AuthorID}
	out.at, _ = time.Parse(time.RFC3339Nano, p.CreatedAt)
	out.at = out.at.UTC()
	text, urls := p.Text, p.Entities
	for _, n := range []*note{p.NoteOld, p.NoteNew} {
		if n != nil && n.Text != "" {
			text, urls = n.Text, n.Entities
		}
	}
	var list []urlEntity
	if urls != nil {
		list = urls.URLs
	}
	if p.Entities != nil && urls != p.Entities {
		list = append(list, p.Entities.URLs...)
	}
	out.text = plainText(text, list, p.ID)
	for _, r := range append(p.RefsOld, p.RefsNew...) {
		if r.Type == "replied_to" {
			out.parent = r.ID
		}
	}
	for _, key := range p.Attached.MediaKeys {
		kind := social.Image
		for _, m := range in.Media {
			if m.Key == key {
				kind = kindOfMedia(m.Type)
			}
		}
		out.media = append(out.media, kind)
	}
	return out
}

func kindOfMedia(t string) social.MediaKind {
	switch t {
	case "animated_gif":
		return social.GIF
	case "video":
		return social.Video
	}
	return social.Image
}

// mediaPage is the address that X puts at the end of a text with media. That of
// another post is what somebody wrote.
var mediaPage = regexp.MustCompile(`^https?://(?:x|twitter)\.com/[^/]+/status/(\d+)/(?:photo|video)/\d+$`)

// plainText is the text of the post id as it was written.
func plainText(text string, urls []urlEntity, id string) string {
	for _, u := range urls {
		if u.URL == "" {
			continue
		}
		with := u.Expanded
		if m := mediaPage.FindStringSubmatch(u.Expanded); u.MediaKey != "" || m != nil && m[1] == id {
			with = ""
		}
		text = strings.ReplaceAll(text, u.URL, with)
	}
	return strings.TrimSpace(html.UnescapeString(text))
}

// leading are mentions that X puts before an answer by itself.
var leading = regexp.MustCompile(`^(?:@\w+ )+$`)

// says tells whether a post has the words of a part. X writes addresses in its
// own way and may put mentions before an answer.
func (s seen) says(text string) bool {
	normal := func(t string) string { return social.NormalText(plainLinks(norm.NFC.String(t))) }
	want, got := normal(text), normal(s.text)
	before, ok := strings.CutSuffix(got, want)
	if want == "" && before != "" {
		before += " "
	}
	return ok && (before == "" || s.parent != "" && leading.MatchString(before))
}

// Recognises says whether a post of a listing has the words of a part.
func (c *conn) Recognises(p *social.Part, r connectors.RemotePost) bool { return recognises(p, r) }

func recognises(p *social.Part, r connectors.RemotePost) bool {
	return seen{text: r.Text, parent: r.Parent}.says(composed(p))
}

// fingerprint is that of the part where the post has its words, "" where it has
// others: without its link a text is not the part.
func (s seen) fingerprint(a social.Account, p *social.Part) string {
	switch {
	case p == nil:
		return connectors.FingerprintOf(a, s.parent, s.text, s.media)
	case s.says(composed(p)):
		return connectors.FingerprintOf(a, s.parent, p.Text, s.media)
	}
	return ""
}

// known is the account as fingerprints name it.
func (c *conn) known() social.Account {
	a := c.account
	a.Network = Network
	return a
}

func (c *conn) receipt(s seen) connectors.Receipt {
	return connectors.Receipt{RemoteID: s.id, URL: c.p.postURL(c.account.Handle, s.id), PublishedAt: s.at}
}

// candidate is a post that may be the part p, nil for any.
func (c *conn) candidate(s seen, p *social.Part) connectors.Candidate {
	out := connectors.Candidate{Receipt: c.receipt(s), Fingerprint: s.fingerprint(c.known(), p), Excerpt: excerpt(s.text), At: s.at}
	if p != nil {
		out.Similarity = social.Similarity(composed(p), s.text)
		kinds := social.Kinds(p.Media)
		out.SameMedia = len(kinds) == len(s.media)
		for i := range min(len(kinds), len(s.media)) {
			out.SameMedia = out.SameMedia && kinds[i] == s.media[i]
		}
	}
	return out
}

// How Find looks: pages are small because each post in them is paid, and end
// when they reach back to the attempt.
const (
	findPage  = 10
	findPages = 10
	findSlack = 2 * time.Minute // two clocks
	// A page may be empty and not the last: what is left out of it counts. Some
	// tokens lead on for ever (seen 2026-09).
	findIdle = 2 // pages without anything new
)

// Find lists what the account has posted since the attempt.
func (c *conn) Find(ctx context.Context, j *connectors.Job) (connectors.Finding, error) {
	since := j.ArmedAt.Add(-findSlack)
	var found []connectors.Candidate
	token, met, idle := "", map[string]bool{}, 0
	for range findPages {
		page, _, err := c.timeline(ctx, findPage, token)
		if err != nil {
			return connectors.Finding{}, err
		}
		older := false
		idle++
		for _, p := range page.Data {
			if met[p.ID] {
				continue
			}
			met[p.ID], idle = true, 0
			s := see(p, page.Includes)
			if s.at.Before(since) {
				older = true
				continue
			}
			found = append(found, c.candidate(s, j.Part))
		}
		next := page.next()
		if older || idle == findIdle || next == "" || next == token {
			break
		}
		token = next
	}
	if len(found) == 0 {
		return connectors.Finding{Kind: connectors.FoundNothing}, nil
	}
	return connectors.Finding{Kind: connectors.FoundCandidates, Candidates: found}, nil
}

func (p posts) next() string {
	if p.Meta == nil {
		return ""
	}
	return p.Meta.Next
}

// pageURL is the address of a post's page.
var pageURL = regexp.MustCompile(`^https?://(?:[\w-]+\.)*[\w.:-]+/(?:i|\w+)(?:/web)?/status(?:es)?/(\d{1,19})(?:[/?#].*)?$`)

// postID reads what people paste as a post: its id or the address of its page.
func postID(s string) (string, error) {
	s = strings.TrimSpace(s)
	if isID(s) {
		return s, nil
	}
	if m := pageURL.FindStringSubmatch(s); m != nil {
		return m[1], nil
	}
	return "", &connectors.Error{Kind: connectors.Invalid, Op: "get", Field: "remote_id", Text: fmt.Sprintf("%q is no post; paste its address, such as https://x.com/name/status/1990000000000000001", s)}
}

// Get reads one post back.
func (c *conn) Get(ctx context.Context, remoteID string) (connectors.Candidate, error) {
	none := connectors.Candidate{}
	id, err := postID(remoteID)
	if err != nil {
		return none, err
	}
	var out onePost
	_, err = c.asking(ctx, api.Call{Op: "getTweet", URL: c.p.url("/2/tweets/" + id), Bucket: "get", Out: &out}, nil, nil, func() bool {
		missed := out.Data != nil && !out.Data.arrived()
		if missed {
			out = onePost{}
		}
		return !missed
	})
	if err != nil {
		return none, err
	}
	if out.Data == nil {
		return none, gone(out.Errors)
	}
	c.p.spent(ctx, c.p.cfg.Prices.ReadPost+int64(len(out.Includes.Users))*c.p.cfg.Prices.ReadUser)
	s := see(*out.Data, out.Includes)
	if s.author != "" && c.account.RemoteID != "" && s.author != c.account.RemoteID {
		return none, &connectors.Error{Kind: connectors.Invalid, Op: "getTweet", Field: "remote_id", Text: "this post is by another account"}
	}
	return c.candidate(s, nil), nil
}

// gone says why there is no post.
func gone(errs []partial) error {
	e := &connectors.Error{Kind: connectors.Invalid, Op: "getTweet", Status: http.StatusNotFound, Code: codeNotFound, Field: "remote_id", Text: "the post is not there (any more)"}
	for _, p := range errs {
		if slug := p.slug(); slug != codeNotFound { // it may be there all the same
			e.Kind, e.Status, e.Code, e.Field = connectors.Permission, http.StatusForbidden, slug, ""
			e.Text = "the post cannot be read" + api.Quoted(p.Detail)
		}
	}
	return e
}

// slug is the last segment of a problem's type.
func (p partial) slug() string {
	return p.Type[strings.LastIndexByte(p.Type, '/')+1:]
}

// Delete removes a post. Deleting what is gone succeeds.
func (c *conn) Delete(ctx context.Context, rec connectors.Receipt) error {
	id, err := postID(rec.RemoteID)
	if err != nil {
		return err
	}
	var out deleted
	_, err = c.http.Do(ctx, api.Call{Op: "deleteTweet", Method: http.MethodDelete, URL: c.p.url("/2/tweets/" + id), Repeatable: true, Bucket: "delete", Out: &out})
	if e := connectors.AsError(err); e != nil && e.Status == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if !out.Data.Deleted {
		if slices.ContainsFunc(out.Errors, func(p partial) bool { return p.slug() == codeNotFound }) {
			return nil
		}
		said := ""
		if len(out.Errors) > 0 {
			said = out.Errors[0].Detail
		}
		return &connectors.Error{Kind: connectors.Unknown, Op: "deleteTweet", Text: "X does not say that it deleted the post" + api.Quoted(said)}
	}
	c.p.spent(ctx, c.p.cfg.Prices.Delete)
	return nil
}

// pageSize is the largest page of a timeline.
const pageSize = 100

// idleMark begins the cursor of a page that follows an empty one: a second empty
// one is the end, whatever token it has.
const idleMark = "~"

// List returns the account's posts, the newest first. Each post in the answer is
// paid, so it is read for numbers only while there is money for that.
func (c *conn) List(ctx context.Context, since time.Time, cursor string) (connectors.Page, error) {
	if err := c.p.mayRead(ctx, "usersTweets"); err != nil {
		return connectors.Page{}, err
	}
	token, idle := strings.CutPrefix(cursor, idleMark)
	got, a, err := c.timeline(ctx, pageSize, token)
	if err != nil {
		return connectors.Page{}, err
	}
	page := connectors.Page{Next: got.next(), Raw: []social.RawAnswer{{Op: "usersTweets", APIVersion: apiV2, At: c.p.env.Now(), Body: a.Body}}}
	switch {
	case page.Next == token, len(got.Data) == 0 && idle:
		page.Next = "" // a cursor that leads nowhere
	case len(got.Data) == 0 && page.Next != "":
		page.Next = idleMark + page.Next
	}
	older := 0
	for _, p := range got.Data {
		s := see(p, got.Includes)
		if s.at.Before(since) {
			older++
			continue
		}
		page.Posts = append(page.Posts, connectors.RemotePost{Receipt: c.receipt(s), Text: s.text, Media: s.media, Parent: s.parent})
	}
	if older > 0 && older == len(got.Data) {
		page.Next = "" // what follows is older still
	}
	return page, nil
}

// excerpt is the beginning of a text.
func excerpt(s string) string {
	const most = 80
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}
