package linkedin

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// address reads the name of a post or comment: as LinkedIn writes it, or in the
// address of its page.
func address(s string) (string, error) {
	s = strings.TrimSpace(s)
	if postForm.MatchString(s) || commentForm.MatchString(s) {
		return s, nil
	}
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		if c := u.Query().Get("commentUrn"); commentForm.MatchString(c) {
			return c, nil
		}
		if urn := postInURL.FindString(u.Path); urn != "" {
			return urn, nil
		}
	}
	return "", &connectors.Error{Kind: connectors.Invalid, Op: "get", Field: "remote_id", Text: "this is no post of LinkedIn; give its address, such as https://www.linkedin.com/feed/update/urn:li:share:…/, or the urn in it"}
}

// read reads one post.
func (c *conn) read(ctx context.Context, urn string) (readPost, error) {
	if strings.HasPrefix(urn, "urn:li:activity:") {
		return readPost{}, &connectors.Error{Kind: connectors.Invalid, Op: "posts.get", Field: "remote_id", Text: "LinkedIn lets posts be read by their urn:li:share or urn:li:ugcPost, not by the activity that the browser shows; list the posts of the page to find it"}
	}
	var p readPost
	_, err := c.get(ctx, "posts.get", "/rest/posts/"+enc(urn), "", &p)
	return p, gone(err)
}

// at is when the post was published.
func (p readPost) at() time.Time {
	if t := p.Published.at(); !t.IsZero() {
		return t
	}
	return p.Created.at()
}

// media are the kinds of what stands beside the text, by their names. A GIF is a
// picture.
func (p readPost) media() []social.MediaKind {
	var out []social.MediaKind
	for _, id := range p.files() {
		switch {
		case strings.HasPrefix(id, "urn:li:video:"):
			out = append(out, social.Video)
		case strings.HasPrefix(id, "urn:li:document:"):
			out = append(out, social.Document)
		default:
			out = append(out, social.Image)
		}
	}
	return out
}

// files are the names of the files beside the text.
func (p readPost) files() []string {
	var out []string
	switch {
	case p.Content == nil:
	case p.Content.Media != nil:
		out = append(out, p.Content.Media.ID)
	case p.Content.MultiImage != nil:
		for _, m := range p.Content.MultiImage.Images {
			out = append(out, m.ID)
		}
	}
	return out
}

// there says whether others can see a post, now or when the network has worked
// on it.
func (p readPost) there() bool { return p.Lifecycle != "DRAFT" && p.Lifecycle != "PUBLISH_FAILED" }

// fingerprint is that of a post of ours. The network does not tell GIFs from
// other pictures; where it shows as many as the job has, they are taken for the
// same.
func (c *conn) fingerprint(p readPost, j *connectors.Job) string {
	kinds := p.media()
	if j != nil {
		own := social.Kinds(j.Part.Media)
		if slices.EqualFunc(kinds, own, func(a, b social.MediaKind) bool { return a == b || a == social.Image && b == social.GIF }) {
			kinds = own
		}
	}
	return connectors.FingerprintOf(c.known(), "", unescape(p.Commentary), kinds)
}

// known is the account with its network.
func (c *conn) known() social.Account {
	a := c.account
	a.Network = Network
	return a
}

// excerpt is the beginning of a text.
func excerpt(s string) string {
	const most = 80
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}

// Get reads one post or comment back.
func (o *organization) Get(ctx context.Context, remoteID string) (connectors.Candidate, error) {
	none := connectors.Candidate{}
	urn, err := address(remoteID)
	if err != nil {
		return none, err
	}
	if m := commentForm.FindStringSubmatch(urn); m != nil {
		return o.readBack(ctx, urn, m[1], m[2])
	}
	p, err := o.read(ctx, urn)
	if err != nil {
		return none, err
	}
	if p.Author != o.account.RemoteID {
		return none, &connectors.Error{Kind: connectors.Invalid, Op: "posts.get", Field: "remote_id", Text: "this post is by another account"}
	}
	return connectors.Candidate{
		Receipt: o.p.receipt(p.ID, p.at(), isVideo(p.media())), At: p.at(),
		Excerpt: cmp.Or(excerpt(unescape(p.Commentary)), "(no text)"), Fingerprint: o.fingerprint(p, nil),
	}, nil
}

// readBack reads a comment.
func (o *organization) readBack(ctx context.Context, urn, object, id string) (connectors.Candidate, error) {
	var cm readComment
	if _, err := o.get(ctx, "comments.get", "/rest/socialActions/"+enc(object)+"/comments/"+enc(id), "", &cm); err != nil {
		return connectors.Candidate{}, gone(err)
	}
	if cm.Actor != o.account.RemoteID {
		return connectors.Candidate{}, &connectors.Error{Kind: connectors.Invalid, Op: "comments.get", Field: "remote_id", Text: "this comment is by another account"}
	}
	at := cm.Created.Time.at()
	return connectors.Candidate{Receipt: o.p.commentReceipt(urn, object, at), At: at, Excerpt: cmp.Or(excerpt(cm.Message.Text), "(no text)")}, nil
}

// unread is what is shown of a post that smi may not read.
const unread = "(LinkedIn does not let smi read the posts of members)"

// Get says whether a post is there, as far as LinkedIn lets an app know of the
// posts of members: their text cannot be read, and the person who names the post
// is believed.
func (m *member) Get(ctx context.Context, remoteID string) (connectors.Candidate, error) {
	none := connectors.Candidate{}
	urn, err := address(remoteID)
	if err != nil {
		return none, err
	}
	rec := m.p.receipt(urn, time.Time{}, false)
	about := urn
	if c := commentForm.FindStringSubmatch(urn); c != nil {
		rec, about = m.p.commentReceipt(urn, c[1], time.Time{}), c[1]
	}
	if _, err := m.metadata(ctx, about); err != nil && !isStatus(err, http.StatusForbidden) {
		return none, err
	}
	return connectors.Candidate{Receipt: rec, Excerpt: unread}, nil
}

// Delete removes a post or comment. Deleting what is gone succeeds.
func (c *conn) Delete(ctx context.Context, rec connectors.Receipt) error {
	path, query := "/rest/posts/"+enc(rec.RemoteID), ""
	switch m := commentForm.FindStringSubmatch(rec.RemoteID); {
	case m != nil:
		path, query = "/rest/socialActions/"+enc(m[1])+"/comments/"+enc(m[2]), "actor="+enc(c.account.RemoteID)
	case !postForm.MatchString(rec.RemoteID):
		return &connectors.Error{Kind: connectors.Invalid, Op: "posts.delete", Field: "remote_id", Text: "this is no post of LinkedIn"}
	}
	_, err := c.http.Do(ctx, api.Call{Op: "posts.delete", Method: http.MethodDelete, URL: c.url(path, query), Header: c.headers("DELETE"), Repeatable: true, Bucket: "posts.delete"})
	if isStatus(err, http.StatusNotFound) {
		return nil
	}
	return err
}

// page reads a page of the organisation's posts, the newest first. working shows
// also those that LinkedIn still works on.
func (o *organization) page(ctx context.Context, start int, working bool) (posts, api.Answer, error) {
	q := fmt.Sprintf("author=%s&q=author&start=%d&count=%d&sortBy=CREATED", enc(o.account.RemoteID), start, pageSize)
	if working {
		q += "&viewContext=AUTHOR"
	}
	var out posts
	a, err := o.http.Do(ctx, api.Call{Op: "posts.author", URL: o.url("/rest/posts", q), Header: o.headers("FINDER"), Out: &out, Bucket: "posts.author"})
	return out, a, err
}

// skew is how far the clocks may differ.
const skew = 2 * time.Minute

// Find lists what the organisation has published since the attempt.
func (o *organization) Find(ctx context.Context, j *connectors.Job) (connectors.Finding, error) {
	since := j.ArmedAt.Add(-skew)
	if j.Parent != nil {
		return o.findComment(ctx, j, since)
	}
	out := connectors.Finding{Kind: connectors.FoundNothing}
	seen := map[string]bool{}
	for start := 0; start < maxPages*pageSize; start += pageSize {
		page, _, err := o.page(ctx, start, true)
		if err != nil {
			return connectors.Finding{}, err
		}
		older := false
		for _, p := range page.Elements {
			at := p.at()
			if at.IsZero() { // it may be any post, and must not end the listing
				continue
			}
			if at.Before(since) {
				older = true
				continue
			}
			if seen[p.ID] || !p.there() {
				continue
			}
			seen[p.ID] = true
			text, kinds := unescape(p.Commentary), p.media()
			out.Candidates = append(out.Candidates, connectors.Candidate{
				Receipt: o.p.receipt(p.ID, at, isVideo(kinds)), Fingerprint: o.fingerprint(p, j), Excerpt: excerpt(text), At: at,
				Similarity: social.Similarity(j.Part.Text, text), SameMedia: len(kinds) == len(j.Part.Media),
			})
		}
		if older || len(page.Elements) < pageSize {
			break
		}
	}
	if len(out.Candidates) > 0 {
		out.Kind = connectors.FoundCandidates
	}
	return out, nil
}

// findComment lists what the organisation has said under a post or comment since
// the attempt.
func (o *organization) findComment(ctx context.Context, j *connectors.Job, since time.Time) (connectors.Finding, error) {
	out := connectors.Finding{Kind: connectors.FoundNothing}
	seen := map[string]bool{}
	for start := 0; start < maxPages*pageSize; start += pageSize {
		var page comments
		_, err := o.get(ctx, "comments.list", "/rest/socialActions/"+enc(j.Parent.RemoteID)+"/comments", fmt.Sprintf("start=%d&count=%d", start, pageSize), &page)
		if err != nil {
			return connectors.Finding{}, err
		}
		for _, cm := range page.Elements {
			at := cm.Created.Time.at()
			if cm.Actor != o.account.RemoteID || at.Before(since) || seen[cm.urn()] {
				continue
			}
			seen[cm.urn()] = true
			kinds := social.Kinds(j.Part.Media)
			if len(cm.Content) != len(kinds) {
				kinds = nil
			}
			out.Candidates = append(out.Candidates, connectors.Candidate{
				Receipt: o.p.commentReceipt(cm.urn(), j.Parent.RemoteID, at), At: at, Excerpt: excerpt(cm.Message.Text),
				Fingerprint: connectors.FingerprintOf(o.known(), j.Parent.RemoteID, cm.Message.Text, kinds),
				Similarity:  social.Similarity(j.Part.Text, cm.Message.Text), SameMedia: len(cm.Content) == len(j.Part.Media),
			})
		}
		if len(page.Elements) < pageSize {
			break
		}
	}
	if len(out.Candidates) > 0 {
		out.Kind = connectors.FoundCandidates
	}
	return out, nil
}

// List returns the organisation's posts, the newest first. The cursor is where
// the page begins and the last post before it: LinkedIn pages by place, and a
// page that shows that post again leads back.
func (o *organization) List(ctx context.Context, since time.Time, cursor string) (connectors.Page, error) {
	start, last := 0, ""
	if cursor != "" {
		place, urn, _ := strings.Cut(cursor, " ")
		n, err := strconv.Atoi(place)
		if err != nil || n < 0 {
			return connectors.Page{}, &connectors.Error{Kind: connectors.Invalid, Op: "posts.author", Field: "cursor", Text: "this is no place in the list of posts"}
		}
		start, last = n, urn
	}
	got, a, err := o.page(ctx, start, false)
	if err != nil {
		return connectors.Page{}, err
	}
	out := connectors.Page{Raw: []social.RawAnswer{o.raw("posts", a)}}
	older, back := false, false
	for i, p := range got.Elements {
		at := p.at()
		switch {
		case last != "" && p.ID == last:
			// One that was written meanwhile moves the others by a place; a whole page
			// of what is known is a circle.
			back = i == pageSize-1
			continue
		case at.Before(since):
			older = true
			continue
		case !p.there():
			continue
		}
		out.Posts = append(out.Posts, connectors.RemotePost{Receipt: o.p.receipt(p.ID, at, isVideo(p.media())), Text: unescape(p.Commentary), Media: p.media()})
	}
	if len(got.Elements) == pageSize && !older && !back {
		out.Next = fmt.Sprintf("%d %s", start+pageSize, got.Elements[pageSize-1].ID)
	}
	return out, nil
}
