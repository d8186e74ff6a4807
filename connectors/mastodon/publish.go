package mastodon

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

var _ connectors.CommitDialer = (*conn)(nil)

// draft is what is kept of a part between its first Prepare and its end.
type draft struct {
	// Key is the idempotency key, "" where the server does not surely know keys.
	// Its life is counted from Born, when it was made: no commit can have used it
	// before. Attempt is the attempt for which it was made: a later one says that
	// it may have been used.
	Key     string    `json:"key,omitempty"`
	Born    time.Time `json:"born"`
	Attempt int       `json:"attempt"`
	// Files are the uploads, by their place in the post. Uploaded is when the
	// oldest of them went up, Checked the attempt before which they were last seen.
	Files    []file    `json:"files,omitempty"`
	Uploaded time.Time `json:"uploaded,omitzero"`
	Checked  int       `json:"checked,omitempty"`
	// Request is the body of the commit, byte for byte. Seen is the attempt before
	// which what it answers was known to be there.
	Request string `json:"request,omitempty"`
	Seen    int    `json:"seen,omitempty"`
}

// postState is what a receipt keeps for the parts after it.
type postState struct {
	Visibility string `json:"visibility"`
}

// Prepare makes the key, uploads the files, waits until the server has processed
// them, and fixes the bytes of the commit.
func (c *conn) Prepare(ctx context.Context, j *connectors.Job) (connectors.Preparation, error) {
	none := connectors.Preparation{}
	d := &draft{}
	if len(j.State) > 0 {
		if err := json.Unmarshal(j.State, d); err != nil || d.Born.IsZero() {
			return none, &connectors.Error{Kind: connectors.Unknown, Op: "prepare", Text: "what was kept of the prepared post cannot be read", Err: err}
		}
	}
	if err := c.sayable(j.Part); err != nil {
		return none, err
	}
	r, err := c.remote(ctx)
	if err != nil {
		return none, err
	}
	if err := r.key(ctx, j, d); err != nil {
		return none, err
	}
	wait, err := r.upload(ctx, j, d)
	if err != nil {
		return none, err
	}
	if wait == 0 {
		if err := r.finish(ctx, j, d); err != nil {
			return none, err
		}
	}
	state, err := json.Marshal(d)
	if err != nil {
		return none, fmt.Errorf("keeping the prepared post: %w", err)
	}
	prep := connectors.Preparation{State: state, Expires: d.expires(c.p.cfg.KeyWindow)}
	if wait > 0 {
		prep.Again = wait
		return prep, nil
	}
	prep.Class, prep.RequestHash = connectors.Unkeyed, connectors.RequestHash([]byte(d.Request))
	if d.Key != "" {
		prep.Class = connectors.Keyed
	}
	return prep, nil
}

// expires is when Prepare must run again; zero: never.
func (d *draft) expires(window time.Duration) time.Time {
	var out time.Time
	if d.Key != "" {
		out = d.Born.Add(window)
	}
	if len(d.Files) > 0 {
		if end := d.Uploaded.Add(fileLife); out.IsZero() || end.Before(out) {
			out = end
		}
	}
	return out
}

// setBack is by how much a key may seem to come from the future: two nodes do not
// have the very same time.
const setBack = time.Minute

// young says whether the draft's key is not too old to be relied upon. One from
// the future was made before the clock was set back: nobody knows its age.
func (d *draft) young(now time.Time, window time.Duration) bool {
	age := now.Sub(d.Born)
	return age >= -setBack && age < window
}

// key makes the key of the part, and a new one when the old one is too old to be
// relied upon. That is right only while the old one has made no post: where an
// attempt may have used it, the account's own posts are asked once more. By then
// nothing of that attempt can be on its way.
func (r *remote) key(ctx context.Context, j *connectors.Job, d *draft) error {
	if !d.Born.IsZero() && (d.Key == "" || d.young(j.Now, r.c.p.cfg.KeyWindow)) {
		return nil
	}
	if d.Key != "" && j.Attempt > d.Attempt {
		if err := r.absent(ctx, j, d); err != nil {
			return err
		}
	}
	d.Born, d.Attempt, d.Key = j.Now.UTC(), j.Attempt, ""
	if r.c.p.keyed(r.software) {
		sum := sha256.Sum256(fmt.Appendf(nil, "smi\x00%s\x00%s\x00%d\x00%d", r.c.account.RemoteID, j.Delivery, j.Step, d.Born.UnixNano()))
		d.Key = hex.EncodeToString(sum[:])
	}
	return nil
}

// absent is nil when the account's own posts show neither the part nor one very
// like it since its key was made.
func (r *remote) absent(ctx context.Context, j *connectors.Job, d *draft) error {
	stop := func(text string) error {
		return &connectors.Error{Kind: connectors.Invalid, Op: "prepare", Field: "text", Text: text}
	}
	if j.Now.Before(d.Born.Add(-setBack)) {
		return stop("the clock of this machine was set back since this post was sent, so smi cannot say whether it is there; please look, and plan it again if it is not")
	}
	s, err := r.look(ctx, j, d.Born)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(s.candidates, func(k connectors.Candidate) bool { return k.Fingerprint == j.Fingerprint }); i >= 0 {
		return stop("a post with these words, made since this one was due, is there already: " + s.candidates[i].Receipt.URL)
	}
	if len(s.candidates) > 0 {
		return stop("a post very like this one, made since this one was due, is there: " + s.candidates[0].Receipt.URL + "; if it is another, plan this one again")
	}
	if !s.complete {
		return &connectors.Error{Kind: connectors.Transient, Op: "prepare", Text: "the account has posted so much that smi cannot see whether this post is there"}
	}
	return nil
}

// sayable refuses what a post cannot say. Check has refused it before; without
// this a link or an option would be lost in silence where nobody asked Check.
func (c *conn) sayable(p *social.Part) error {
	k := checker{part: p, server: c.server, limits: c.limits}
	k.link()
	k.langs()
	k.options()
	for _, bad := range social.Refusals(k.Found) {
		return &connectors.Error{Kind: connectors.Invalid, Op: "prepare", Field: bad.Field, Text: bad.Text}
	}
	return nil
}

// finish fixes the bytes of the commit. Once they are there they stay, unless the
// server knows a file by another name than before.
func (r *remote) finish(ctx context.Context, j *connectors.Job, d *draft) error {
	ids := d.ids()
	if j.Parent != nil && d.Request != "" && j.Attempt > d.Seen { // the attempt may have been refused because that is gone
		if err := r.stillThere(ctx, j.Parent); err != nil {
			return err
		}
	}
	d.Seen = j.Attempt
	if d.Request != "" {
		var was newStatus
		if err := json.Unmarshal([]byte(d.Request), &was); err == nil && slices.Equal(was.MediaIDs, ids) {
			return nil
		}
	}
	parent, seen, err := r.parent(ctx, j)
	if err != nil {
		return err
	}
	o := j.Part.Options
	s := newStatus{
		Status: j.Part.Text, MediaIDs: ids, InReplyTo: parent, SpoilerText: o[optionWarning],
		Sensitive:  o[optionSensitive] == "yes" || o[optionWarning] != "",
		Visibility: r.visibility(j, seen),
	}
	if len(j.Part.Langs) > 0 {
		if tag, err := language.Parse(j.Part.Langs[0]); err == nil {
			base, _ := tag.Base()
			s.Language = base.String()
		}
	}
	if r.software != softwareMastodon {
		s.ContentType = "text/plain" // else an account's own setting may make Markdown of it
	}
	if answers := pollAnswers(j.Part); len(answers) > 0 {
		lasts, err := pollLength(j.Part)
		if err != nil {
			return &connectors.Error{Kind: connectors.Invalid, Op: "prepare", Field: "options." + optionPollFor, Text: err.Error()}
		}
		s.Poll = &newPoll{Options: answers, ExpiresIn: int64(lasts / time.Second), Multiple: o[optionMultiple] == "yes", HideTotals: o[optionHide] == "yes"}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return fmt.Errorf("writing the post as JSON: %w", err)
	}
	d.Request = strings.TrimSuffix(b.String(), "\n")
	return nil
}

// parent says what the part answers, by the server's id, and who sees that.
func (r *remote) parent(ctx context.Context, j *connectors.Job) (id, visibility string, err error) {
	if j.Parent == nil {
		if j.Step > 0 || j.Kind == social.KindReply {
			return "", "", &connectors.Error{Kind: connectors.Unsupported, Op: "prepare", Text: "the post that this part answers is not known yet"}
		}
		return "", "", nil
	}
	if id, err = r.statusID(j.Parent.RemoteID); err != nil {
		return "", "", err
	}
	var st postState
	if len(j.Parent.State) > 0 && json.Unmarshal(j.Parent.State, &st) == nil && st.Visibility != "" {
		return id, st.Visibility, nil
	}
	got, err := r.status(ctx, id)
	return id, got.Visibility, ofParent(err)
}

// stillThere looks whether what the part answers can be answered.
func (r *remote) stillThere(ctx context.Context, parent *connectors.Receipt) error {
	id, err := r.statusID(parent.RemoteID)
	if err != nil {
		return err
	}
	_, err = r.status(ctx, id)
	return ofParent(err)
}

// ofParent says of which post it is that it is gone.
func ofParent(err error) error {
	if !isGone(err) {
		return err
	}
	e := *connectors.AsError(err)
	e.Field, e.Text = "parent", "the post to answer is not there (any more)"
	return &e
}

// visibility is who sees the part: what it says itself; else what the settings
// say, but never more people than see what it follows.
func (r *remote) visibility(j *connectors.Job, parent string) string {
	if v := j.Part.Options[optionVisibility]; v != "" {
		return v
	}
	if j.Parent == nil {
		return r.c.p.cfg.Visibility
	}
	v := r.c.p.cfg.FollowVisibility
	switch i := slices.Index(visibilities, parent); {
	case i > slices.Index(visibilities, v):
		v = parent
	case i < 0 && parent != "": // a visibility of another software, surely narrower than public
		v = "private"
	}
	return v
}

// DialCommit opens the connection of the commit.
func (c *conn) DialCommit(ctx context.Context, _ *connectors.Job) (net.Conn, error) {
	r, err := c.remote(ctx)
	if err != nil {
		return nil, err
	}
	return r.http.DialCommit(ctx, r.base.String())
}

// Commit posts: the bytes that were fixed in Prepare, with the key that was made
// there. A key that has grown too old meanwhile sends nothing.
func (c *conn) Commit(ctx context.Context, j *connectors.Job) (connectors.Receipt, error) {
	none := connectors.Receipt{}
	var d draft
	if err := json.Unmarshal(j.State, &d); err != nil || d.Request == "" {
		return none, &connectors.Error{Kind: connectors.Transient, Op: opPublish, Text: "the post was not prepared", Err: err}
	}
	header := http.Header{}
	if d.Key != "" {
		if j.Now.Sub(d.Born) > keyLife-keySlack {
			return none, &connectors.Error{Kind: connectors.Transient, Op: opPublish, Text: "the post was prepared too long ago; it is prepared again"}
		}
		header.Set("Idempotency-Key", d.Key)
	}
	r, err := c.remote(ctx)
	if err != nil {
		return none, err
	}
	var out status
	_, err = r.http.Commit(ctx, api.Call{
		Op: opPublish, URL: r.base.String() + pathStatuses, Header: header,
		Body: []byte(d.Request), ContentType: "application/json", Out: &out, Bucket: bucketCreate,
	})
	if err != nil {
		return none, err
	}
	return out.receipt()
}

// Validate asks for what a post must have.
func (s status) Validate() error {
	if s.ID == "" || s.CreatedAt.IsZero() {
		return missing("id or created_at")
	}
	return nil
}

// receipt is what is known of a post that is there.
func (s status) receipt() (connectors.Receipt, error) {
	state, err := json.Marshal(postState{Visibility: s.Visibility})
	return connectors.Receipt{RemoteID: s.ID, URL: cmp.Or(s.URL, s.URI), PublishedAt: s.CreatedAt.UTC(), State: state}, err
}
