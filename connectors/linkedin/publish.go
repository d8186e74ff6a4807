package linkedin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// draft is what is kept of a part between its first Prepare and its end.
type draft struct {
	Files   map[string]*file `json:"files,omitempty"` // by hash
	Began   time.Time        `json:"began,omitzero"`  // when the first of them went up
	Attempt int              `json:"attempt,omitempty"`
	Lost    int              `json:"lost,omitempty"` // files that went up and were not known afterwards
	// Path and Request are the commit, byte for byte. Once they are here nothing of
	// the part changes any more: an earlier attempt may have sent it, and the
	// network knows a repetition by its content.
	Path    string `json:"path,omitempty"`
	Request string `json:"request,omitempty"`
}

// The names of posts and comments. A comment's name holds that of what it is
// under.
var (
	postForm    = regexp.MustCompile(`^urn:li:(?:share|ugcPost|activity):\d+$`)
	commentForm = regexp.MustCompile(`^urn:li:comment:\((urn:li:(?:activity|share|ugcPost):\d+),(\d+)\)$`)
	postInURL   = regexp.MustCompile(`urn:li:(?:share|ugcPost|activity):\d+`)
)

// pathPosts is where posts are made.
const pathPosts = "/rest/posts"

// Prepare uploads the files and fixes the bytes of the commit.
func (c *conn) Prepare(ctx context.Context, j *connectors.Job) (connectors.Preparation, error) {
	none := connectors.Preparation{}
	d := &draft{}
	if len(j.State) > 0 {
		if err := json.Unmarshal(j.State, d); err != nil {
			return none, &connectors.Error{Kind: connectors.Unknown, Op: "prepare", Text: "what was kept of the prepared post cannot be read", Err: err}
		}
	}
	if err := c.sayable(j); err != nil {
		return none, err
	}
	wait, err := c.upload(ctx, j, d)
	if err != nil {
		return none, err
	}
	if left := c.early(j); wait == 0 && left > 0 {
		wait = left
	}
	if wait == 0 && d.Request == "" {
		if err := c.finish(j, d); err != nil {
			return none, err
		}
	}
	state, err := json.Marshal(d)
	if err != nil {
		return none, fmt.Errorf("keeping the prepared post: %w", err)
	}
	if wait > 0 {
		return connectors.Preparation{State: state, Again: wait}, nil
	}
	prep := connectors.Preparation{State: state, Class: connectors.Unkeyed, RequestHash: connectors.RequestHash([]byte(d.Request))}
	if !d.Began.IsZero() {
		prep.Expires = d.Began.Add(c.p.cfg.MediaLife)
	}
	return prep, nil
}

// early is how long a comment must wait for the network to know its post.
func (c *conn) early(j *connectors.Job) time.Duration {
	if j.Root == nil || j.Root.PublishedAt.IsZero() {
		return 0
	}
	return j.Root.PublishedAt.Add(c.p.cfg.CommentDelay).Sub(c.p.env.Now())
}

// sayable refuses what a request cannot say. Check has refused it before;
// without this it would be lost in silence where nobody asked Check. Limits on
// lengths are the network's to refuse.
func (c *conn) sayable(j *connectors.Job) error {
	k := checker{part: j.Part, cfg: &c.p.cfg, limits: c.p.cfg.limits(), answer: j.Parent != nil}
	k.media()
	k.link()
	k.options()
	if len(j.Part.Langs) > 0 {
		k.Refuse("langs", "LinkedIn keeps no language with a post; leave it out")
	}
	for _, bad := range social.Refusals(k.Found) {
		if strings.HasSuffix(bad.Field, ".alt") || bad.Limit > 0 && bad.Field == "media" {
			continue
		}
		return &connectors.Error{Kind: connectors.Invalid, Op: "prepare", Field: bad.Field, Text: bad.Text}
	}
	return nil
}

// finish fixes the bytes of the commit.
func (c *conn) finish(j *connectors.Job, d *draft) error {
	var body any
	if j.Parent != nil || j.Step > 0 || j.Kind == social.KindReply {
		comment, path, err := c.comment(j, d)
		if err != nil {
			return err
		}
		d.Path, body = path, comment
	} else {
		d.Path, body = pathPosts, c.post(j.Part, d)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		return fmt.Errorf("writing the post as JSON: %w", err)
	}
	d.Request = strings.TrimSuffix(b.String(), "\n")
	return nil
}

// post is the body of a post.
func (c *conn) post(p *social.Part, d *draft) createPost {
	visibility := visibilities[p.Options[optionVisibility]]
	return createPost{
		Author: c.account.RemoteID, Commentary: escape(p.Text), Visibility: cmp.Or(visibility, visibilities["public"]),
		Distribution: distribution{Feed: "MAIN_FEED", Targets: []any{}, Channels: []any{}},
		Content:      contentOf(p, d), Lifecycle: "PUBLISHED",
	}
}

// contentOf is what stands beside the text of a post.
func contentOf(p *social.Part, d *draft) *content {
	var out []media
	for i := range p.Media {
		m := &p.Media[i]
		one := media{ID: d.Files[m.Hash].URN}
		switch m.Kind {
		case social.Image, social.GIF:
			one.Alt = m.Alt
			if len(p.Media) == 1 { // of several, none has a title
				one.Title = p.Options[optionTitle]
			}
		case social.Document: // its title must be there
			one.Title = cmp.Or(p.Options[optionTitle], cmp.Or(m.Name, "Document"))
		case social.Video:
			one.Title = cmp.Or(p.Options[optionTitle], m.Name)
		}
		out = append(out, one)
	}
	switch {
	case len(out) == 1:
		return &content{Media: &out[0]}
	case len(out) > 1:
		return &content{MultiImage: &multiImage{out}}
	case p.Link != nil:
		a := &article{Source: p.Link.URL, Title: cmp.Or(p.Link.Title, p.Link.URL), Description: p.Link.Description}
		if p.Link.Thumb != nil {
			a.Thumbnail = d.Files[p.Link.Thumb.Hash].URN
		}
		return &content{Article: a}
	case p.Options[optionPollQuestion] != "":
		q := &poll{Question: p.Options[optionPollQuestion], Settings: pollSettings{cmp.Or(durations[p.Options[optionPollDuration]], durations["3d"])}}
		for _, o := range pollOptions(p.Options[optionPollOptions]) {
			q.Options = append(q.Options, pollOption{o})
		}
		return &content{Poll: q}
	}
	return nil
}

// comment is the body of a comment, and where it goes: under a post, or under
// another comment.
func (c *conn) comment(j *connectors.Job, d *draft) (createComment, string, error) {
	if j.Parent == nil {
		return createComment{}, "", &connectors.Error{Kind: connectors.Unsupported, Op: "prepare", Text: "the post that this part answers is not known yet"}
	}
	out := createComment{Actor: c.account.RemoteID, Object: j.Parent.RemoteID, Message: message{j.Part.Text}}
	if m := commentForm.FindStringSubmatch(j.Parent.RemoteID); m != nil {
		out.Object, out.Parent = m[1], j.Parent.RemoteID
	} else if !postForm.MatchString(j.Parent.RemoteID) {
		return out, "", &connectors.Error{Kind: connectors.Invalid, Op: "prepare", Field: "parent", Text: "what this part answers is no post or comment of LinkedIn"}
	}
	for i := range j.Part.Media {
		out.Content = append(out.Content, commentContent{commentEntity{d.Files[j.Part.Media[i].Hash].URN}})
	}
	return out, "/rest/socialActions/" + enc(j.Parent.RemoteID) + "/comments", nil
}

// DialCommit opens the connection of the commit.
func (c *conn) DialCommit(ctx context.Context, _ *connectors.Job) (net.Conn, error) {
	return c.http.DialCommit(ctx, c.p.cfg.APIURL)
}

// create makes the one call.
func (c *conn) create(ctx context.Context, j *connectors.Job) (connectors.Receipt, error) {
	none := connectors.Receipt{}
	var d draft
	if err := json.Unmarshal(j.State, &d); err != nil || d.Request == "" {
		return none, &connectors.Error{Kind: connectors.Transient, Op: opPublish, Text: "the post was not prepared", Err: err}
	}
	k := api.Call{
		Op: opPublish, URL: c.url(d.Path, ""), Header: c.headers(""), Body: []byte(d.Request), ContentType: "application/json", Bucket: "create",
	}
	if d.Path != pathPosts {
		var made readComment
		// The quotas are of each endpoint: that no more comments are taken does not hold
		// posts up.
		k.Op, k.Out, k.Bucket = opComment, &made, "comment"
		if _, err := c.http.Commit(ctx, k); err != nil {
			return none, err
		}
		return c.p.commentReceipt(made.urn(), j.Parent.RemoteID, c.p.env.Now()), nil
	}
	a, err := c.http.Commit(ctx, k)
	if err != nil {
		return none, err
	}
	urn := cmp.Or(a.Header.Get("X-Restli-Id"), a.Header.Get("X-Linkedin-Id")) // the body is empty
	if !postForm.MatchString(urn) {
		return none, &connectors.Error{Kind: connectors.Ambiguous, Op: opPublish, Status: a.Status, RequestID: a.RequestID(), Text: "LinkedIn accepted the post but did not say its name"}
	}
	return c.p.receipt(urn, c.p.env.Now(), isVideo(social.Kinds(j.Part.Media))), nil
}

func isVideo(kinds []social.MediaKind) bool { return len(kinds) == 1 && kinds[0] == social.Video }

// receipt is what is known of a post that is there. Its state says that it is a
// video, whose numbers are asked for apart.
func (p *Platform) receipt(urn string, at time.Time, video bool) connectors.Receipt {
	r := connectors.Receipt{RemoteID: urn, URL: p.webURL(urn), PublishedAt: at}
	if video {
		r.State = json.RawMessage(videoState)
	}
	return r
}

const videoState = `{"video":true}`

func (p *Platform) webURL(urn string) string { return p.cfg.WebURL + "/feed/update/" + urn + "/" }

// commentReceipt is what is known of a comment. Its address is that of the post
// with the comment in its query.
func (p *Platform) commentReceipt(urn, parent string, at time.Time) connectors.Receipt {
	if m := commentForm.FindStringSubmatch(parent); m != nil {
		parent = m[1]
	}
	return connectors.Receipt{RemoteID: urn, URL: p.webURL(parent) + "?commentUrn=" + enc(urn), PublishedAt: at}
}

// Commit publishes the bytes that were fixed in Prepare. See duplicate for what
// a refusal as a duplicate proves.
func (o *organization) Commit(ctx context.Context, j *connectors.Job) (connectors.Receipt, error) {
	r, err := o.create(ctx, j)
	urn, ok := o.duplicate(j, err)
	if !ok {
		return r, err
	}
	got, gerr := o.read(ctx, urn)
	if gerr != nil || got.Author != o.account.RemoteID || o.fingerprint(got, j) != j.Fingerprint {
		return r, err
	}
	return o.p.receipt(urn, got.at(), isVideo(social.Kinds(j.Part.Media))), nil
}

// Commit publishes the bytes that were fixed in Prepare. See duplicate for what
// a refusal as a duplicate proves.
func (m *member) Commit(ctx context.Context, j *connectors.Job) (connectors.Receipt, error) {
	r, err := m.create(ctx, j)
	urn, ok := m.duplicate(j, err)
	if !ok {
		return r, err
	}
	if _, merr := m.metadata(ctx, urn); merr != nil {
		return r, err
	}
	return m.p.receipt(urn, m.p.env.Now(), isVideo(social.Kinds(j.Part.Media))), nil
}

// duplicate returns of which post LinkedIn says that this one is a duplicate, if
// that may be ours.
//
// The answer alone proves nothing: the post may be an older one of the same
// words, and LinkedIn has been seen to name posts that are not there, for a day
// or two after the real one was deleted (2026-02). It counts only if an earlier
// attempt of this very part may have happened, and if the post can be seen; the
// ledger refuses a post that belongs to another delivery, deleted ones included.
// Else the outcome stays unclear: an organisation's posts are then listed, and a
// member is asked.
func (c *conn) duplicate(j *connectors.Job, err error) (string, bool) {
	e := connectors.AsError(err)
	if e == nil || e.Code != codeDuplicate || j.Unproven == 0 || j.Parent != nil {
		return "", false
	}
	m := duplicateOf.FindStringSubmatch(e.Error())
	if m == nil {
		return "", false
	}
	return m[1], true
}

// metadata asks for the counters of a post, which more logins may do than read
// it. A post that is not there is an error of status 404.
func (c *conn) metadata(ctx context.Context, urn string) (socialMetadata, error) {
	var out socialMetadata
	a, err := c.get(ctx, "socialMetadata.get", "/rest/socialMetadata/"+enc(urn), "", &out)
	out.raw = c.raw("socialMetadata", a)
	return out, gone(err)
}

// gone puts a 404 in words.
func gone(err error) error {
	if !isStatus(err, http.StatusNotFound) {
		return err
	}
	e := *connectors.AsError(err)
	e.Kind, e.Field, e.Text = connectors.Invalid, "remote_id", "the post is not there (any more)"
	return &e
}
