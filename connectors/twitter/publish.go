package twitter

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

var (
	_ connectors.Publisher    = (*conn)(nil)
	_ connectors.CommitDialer = (*conn)(nil)
)

// draft is what is kept of a part between its first Prepare and its end.
type draft struct {
	// Files are the uploaded files, in the order of the part's media.
	Files []file `json:"files,omitempty"`
	// Attempt is for which attempt they went up: X forgets a file after a day, and
	// an attempt that was refused because of that must upload again.
	Attempt int `json:"attempt,omitempty"`
	// Request is the body of the commit, byte for byte.
	Request string `json:"request,omitempty"`
}

// Prepare uploads the files and fixes the bytes of the commit.
func (c *conn) Prepare(ctx context.Context, j *connectors.Job) (connectors.Preparation, error) {
	none := connectors.Preparation{}
	var d draft
	if len(j.State) > 0 {
		if err := json.Unmarshal(j.State, &d); err != nil {
			return none, &connectors.Error{Kind: connectors.Unknown, Op: "prepare", Text: "what was kept of the prepared post cannot be read", Err: err}
		}
	}
	if err := sayable(j.Part, c.limits, options); err != nil {
		return none, err
	}
	if err := hasParent(j); err != nil {
		return none, err
	}
	wait, err := c.upload(ctx, j, &d)
	if err != nil {
		return none, err
	}
	prep := connectors.Preparation{Again: wait, Expires: d.expires()}
	if wait == 0 {
		if d.Request, err = d.request(j); err != nil {
			return none, err
		}
		prep.Class, prep.RequestHash = connectors.Unkeyed, connectors.RequestHash([]byte(d.Request))
	}
	prep.State, err = json.Marshal(&d)
	return prep, err
}

// hasParent refuses a part that must answer something which is not known.
func hasParent(j *connectors.Job) error {
	if j.Parent == nil && (j.Step > 0 || j.Kind == social.KindReply) || j.Parent != nil && !isID(j.Parent.RemoteID) {
		return &connectors.Error{Kind: connectors.Unsupported, Op: "prepare", Text: "the post that this part answers is not known yet"}
	}
	return nil
}

// request is the body of the commit. The same part gives the same bytes.
func (d *draft) request(j *connectors.Job) (string, error) {
	p := createPost{
		Text: composed(j.Part), ReplySettings: j.Part.Options[optionReplies],
		MadeWithAI: j.Part.Options[optionAI] != "", Partnership: j.Part.Options[optionPaid] != "",
	}
	if j.Parent != nil {
		p.Reply = &replyTo{j.Parent.RemoteID}
	}
	if len(d.Files) > 0 {
		p.Media = &mediaIDs{}
		for _, f := range d.Files {
			p.Media.IDs = append(p.Media.IDs, f.ID)
		}
	}
	if answers := pollAnswers(j.Part); len(answers) > 0 {
		minutes, err := pollMinutes(j.Part.Options[optionPollFor])
		if err != nil { // sayable has seen it
			return "", err
		}
		p.Poll = &createPoll{answers, minutes}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p); err != nil {
		return "", fmt.Errorf("writing the post as JSON: %w", err)
	}
	return string(bytes.TrimSpace(b.Bytes())), nil
}

// DialCommit opens the connection of the commit.
func (c *conn) DialCommit(ctx context.Context, _ *connectors.Job) (net.Conn, error) {
	return c.http.DialCommit(ctx, c.p.cfg.APIURL)
}

// Commit posts the bytes that were fixed in Prepare.
func (c *conn) Commit(ctx context.Context, j *connectors.Job) (connectors.Receipt, error) {
	none := connectors.Receipt{}
	var d draft
	if err := json.Unmarshal(j.State, &d); err != nil || d.Request == "" {
		return none, &connectors.Error{Kind: connectors.Transient, Op: opCreate, Text: "the post was not prepared", Err: err}
	}
	var out created
	_, err := c.http.Commit(ctx, api.Call{
		Op: opCreate, URL: c.p.url("/2/tweets"), Body: []byte(d.Request), ContentType: "application/json", Out: &out, Bucket: "create",
	})
	if err != nil {
		return none, doubted(err, j)
	}
	return connectors.Receipt{RemoteID: out.Data.ID, URL: c.p.postURL(c.account.Handle, out.Data.ID), PublishedAt: c.p.env.Now()}, nil
}

// doubted takes a "duplicate" for what it may be where an earlier attempt of the
// part is not accounted for: the word that it is there.
func doubted(err error, j *connectors.Job) error {
	if j.Unproven == 0 || !isCode(err, codeDuplicate, "187") {
		return err
	}
	e := *connectors.AsError(err)
	e.Kind = connectors.Ambiguous
	e.Text = "X says that the same text is there already: an earlier attempt may have got through"
	return &e
}

// expires is when the first of the files is forgotten, with time to spare.
func (d *draft) expires() time.Time {
	var first time.Time
	for _, f := range d.Files {
		if !f.Expires.IsZero() && (first.IsZero() || f.Expires.Before(first)) {
			first = f.Expires
		}
	}
	if first.IsZero() {
		return first
	}
	return first.Add(-time.Hour)
}
