package mastodon

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/html"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

var (
	_ connectors.Getter  = (*conn)(nil)
	_ connectors.Deleter = (*conn)(nil)
	_ connectors.Lister  = (*conn)(nil)
)

// plainID is what ids of posts look like: numbers on Mastodon, words elsewhere.
var plainID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// statusID is the server's id of a post that is named by it or by the address of
// its page.
func (r *remote) statusID(name string) (string, error) {
	id := name
	if strings.Contains(name, "://") {
		if h := hostOf(name); !strings.EqualFold(h, r.base.Host) && !strings.EqualFold(h, r.domain) {
			return "", &connectors.Error{Kind: connectors.Invalid, Op: "get", Field: "remote_id", Text: "this is no address on the account's server, " + r.base.Host}
		}
		u, _ := url.Parse(name) // hostOf has parsed it
		id = u.Path[strings.LastIndex(u.Path, "/")+1:]
	}
	if !plainID.MatchString(id) {
		return "", &connectors.Error{Kind: connectors.Invalid, Op: "get", Field: "remote_id", Text: strconv.Quote(excerpt(name)) + " names no post"}
	}
	return id, nil
}

// status reads one post. A gone one is an error for which isGone holds.
func (r *remote) status(ctx context.Context, id string) (status, error) {
	var out status
	_, err := r.get(ctx, "getStatus", pathStatuses+"/"+url.PathEscape(id), nil, &out)
	if isGone(err) {
		e := *connectors.AsError(err)
		e.Kind, e.Status, e.Field, e.Text = connectors.Invalid, http.StatusNotFound, "remote_id", "the post is not there (any more)"
		return out, &e
	}
	return out, err
}

// isGone says whether the server answered that something is not there.
func isGone(err error) bool {
	e := connectors.AsError(err)
	return e != nil && e.Kind == connectors.Invalid && (e.Status == http.StatusNotFound || e.Status == http.StatusGone)
}

// Get reads one post back.
func (c *conn) Get(ctx context.Context, remoteID string) (connectors.Candidate, error) {
	none := connectors.Candidate{}
	r, err := c.remote(ctx)
	if err != nil {
		return none, err
	}
	id, err := r.statusID(remoteID)
	if err != nil {
		return none, err
	}
	s, err := r.status(ctx, id)
	if err != nil {
		return none, err
	}
	if s.Account.ID != r.id() {
		return none, &connectors.Error{Kind: connectors.Invalid, Op: "getStatus", Field: "remote_id", Text: "this post is by another account"}
	}
	rec, err := s.receipt()
	text := s.text()
	return connectors.Candidate{
		Receipt: rec, Excerpt: excerpt(text), At: s.CreatedAt.UTC(),
		Fingerprint: connectors.FingerprintOf(c.known(), s.InReplyTo, text, s.kinds()),
	}, err
}

// Delete removes a post. One that is gone is deleted.
func (c *conn) Delete(ctx context.Context, rec connectors.Receipt) error {
	r, err := c.remote(ctx)
	if err != nil {
		return err
	}
	id, err := r.statusID(rec.RemoteID)
	if err != nil {
		return err
	}
	_, err = r.http.Do(ctx, api.Call{
		Op: "deleteStatus", Method: http.MethodDelete, URL: r.base.String() + pathStatuses + "/" + url.PathEscape(id), Repeatable: true, Bucket: bucketDelete,
	})
	if isGone(err) {
		return nil
	}
	return err
}

// pageSize is the largest page of an account's posts (docs.joinmastodon.org,
// methods/accounts, read 2026-07-02).
const pageSize = 40

// page reads a page of the account's own posts, the newest first, boosts of
// others left out. Where the next page begins the server says in a Link header;
// only its place is taken from there, never its host.
func (r *remote) page(ctx context.Context, cursor string) (list []status, next string, a api.Answer, err error) {
	q := url.Values{"limit": {strconv.Itoa(pageSize)}, "exclude_reblogs": {"true"}}
	if cursor != "" {
		q.Set("max_id", cursor)
	}
	if !plainID.MatchString(r.id()) {
		return nil, "", a, &connectors.Error{Kind: connectors.Unsupported, Op: "accountStatuses", Text: "the account's id was not kept; connect the account again"}
	}
	var out statuses
	k := api.Call{Op: "accountStatuses", URL: r.base.String() + "/api/v1/accounts/" + url.PathEscape(r.id()) + "/statuses", Query: q, Out: &out}
	if cursor != "" {
		k.Bucket = bucketPaging
	}
	a, err = r.http.Do(ctx, k)
	if err != nil {
		return nil, "", a, err
	}
	for _, s := range out {
		if s.Reblog == nil {
			list = append(list, s)
		}
	}
	if next = nextID(a.Header.Values("Link")); next == cursor || len(out) == 0 {
		next = "" // it leads nowhere
	}
	return list, next, a, nil
}

// statuses is a page of posts.
type statuses []status

// Validate asks of each post what it must have.
func (l statuses) Validate() error {
	if l == nil {
		return errors.New("the list is missing")
	}
	for _, s := range l {
		if err := s.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// linkNext is the link to the next page in a Link header (RFC 8288).
var linkNext = regexp.MustCompile(`<([^<>]*)>\s*;\s*rel="?next"?`)

// nextID is the max_id of the next page, "" on the last one.
func nextID(links []string) string {
	for _, l := range links {
		if m := linkNext.FindStringSubmatch(l); m != nil {
			if u, err := url.Parse(m[1]); err == nil && plainID.MatchString(u.Query().Get("max_id")) {
				return u.Query().Get("max_id")
			}
		}
	}
	return ""
}

// List returns the account's own posts, the newest first.
func (c *conn) List(ctx context.Context, since time.Time, cursor string) (connectors.Page, error) {
	none := connectors.Page{}
	r, err := c.remote(ctx)
	if err != nil {
		return none, err
	}
	list, next, a, err := r.page(ctx, cursor)
	if err != nil {
		return none, err
	}
	page := connectors.Page{Next: next, Raw: []social.RawAnswer{{Op: "accountStatuses", At: c.p.env.Now(), Body: a.Body}}}
	older := 0
	for i := range list {
		s := &list[i]
		if s.CreatedAt.Before(since) {
			older++
			continue
		}
		rec, err := s.receipt()
		if err != nil {
			return none, err
		}
		page.Posts = append(page.Posts, connectors.RemotePost{Receipt: rec, Text: s.text(), Media: s.kinds(), Parent: s.InReplyTo})
	}
	if older > 0 && older == len(list) {
		page.Next = "" // what follows is older still
	}
	return page, nil
}

// kinds are the kinds of a post's media, as social.Kinds would say.
func (s *status) kinds() []social.MediaKind {
	var out []social.MediaKind
	for _, a := range s.Media {
		kind := social.Image
		switch a.Type {
		case "gifv":
			kind = social.GIF
		case "video":
			kind = social.Video
		}
		out = append(out, kind)
	}
	return out
}

// text is what a post says, taken out of its HTML: paragraphs and line breaks as
// such, links in full (their hidden parts are text), mentions of people on other
// servers with those.
func (s *status) text() string {
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(s.Content))
	inMention := 0 // how deep inside the link of a mention
	for {
		switch t := z.Next(); t {
		case html.ErrorToken:
			return strings.TrimSpace(b.String())
		case html.TextToken:
			if inMention == 0 {
				b.WriteString(string(z.Text())) //nolint:staticcheck // z.Text is good until the next token only
			}
		case html.StartTagToken, html.SelfClosingTagToken, html.EndTagToken:
			tok := z.Token()
			switch {
			case inMention > 0:
				if tok.Type == html.StartTagToken && tok.Data == "a" {
					inMention++
				}
				if tok.Type == html.EndTagToken && tok.Data == "a" {
					inMention--
				}
			case tok.Data == "br":
				b.WriteByte('\n')
			case tok.Data == "p" && tok.Type == html.StartTagToken && b.Len() > 0:
				b.WriteString("\n\n")
			case tok.Data == "a" && tok.Type == html.StartTagToken:
				if acct := s.mentioned(tok.Attr); acct != "" {
					b.WriteString("@" + acct)
					inMention = 1
				}
			}
		case html.CommentToken, html.DoctypeToken:
		}
	}
}

// mentioned says whom a link mentions, "" if it is another link.
func (s *status) mentioned(attrs []html.Attribute) string {
	href, is := "", false
	for _, a := range attrs {
		switch a.Key {
		case "href":
			href = a.Val
		case "class":
			is = strings.Contains(" "+a.Val+" ", " mention ") && !strings.Contains(" "+a.Val+" ", " hashtag ")
		}
	}
	if !is {
		return ""
	}
	for _, m := range s.Mentions {
		if m.URL == href && m.Acct != "" {
			return m.Acct
		}
	}
	return ""
}
