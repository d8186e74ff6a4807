package bluesky

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

var (
	_ connectors.CommitDialer = (*conn)(nil)
	_ connectors.Finder       = (*conn)(nil)
)

// draft is what is kept of a part between its first Prepare and its end.
type draft struct {
	RKey      string `json:"rkey"`
	CreatedAt string `json:"created_at"`
	// Blobs are the uploaded files by hash, as the server named them.
	Blobs map[string]json.RawMessage `json:"blobs,omitempty"`
	// Uploaded is when the oldest of them went up, Attempt for which attempt: the
	// server collects what no record refers to, and an attempt that was refused
	// because of that must upload again.
	Uploaded time.Time `json:"uploaded,omitzero"`
	Attempt  int       `json:"attempt,omitempty"`
	VideoJob string    `json:"video_job,omitempty"`
	Card     *external `json:"card,omitempty"`
	Reply    *replyRef `json:"reply,omitempty"`
	// Request is the body of the commit, byte for byte. Once it is here nothing of
	// the part changes any more: an earlier attempt may have sent it.
	Request string `json:"request,omitempty"`
}

// blobLife is how long an uploaded file is relied upon before a record refers
// to it. Servers keep them for some hours.
const blobLife = time.Hour

// timeLayout is how the network writes times.
const timeLayout = "2006-01-02T15:04:05.000Z"

// postState is what a receipt keeps for the parts after it.
type postState struct {
	CID  string `json:"cid"`
	Root *ref   `json:"root,omitempty"` // of the conversation, where the post answers one
}

// Prepare chooses the record's key and time, uploads the files, resolves what
// the text mentions and fixes the bytes of the commit.
func (c *conn) Prepare(ctx context.Context, j *connectors.Job) (connectors.Preparation, error) {
	none := connectors.Preparation{}
	d, err := c.draft(j)
	if err != nil {
		return none, err
	}
	if err := sayable(j.Part); err != nil {
		return none, err
	}
	r, err := c.remote(ctx)
	if err != nil {
		return none, err
	}
	wait, err := r.upload(ctx, j, d)
	if err != nil {
		return none, err
	}
	if wait > 0 {
		state, err := json.Marshal(d)
		return connectors.Preparation{State: state, Again: wait}, err
	}
	if d.Request == "" {
		if err := r.finish(ctx, j, d); err != nil {
			return none, err
		}
	}
	state, err := json.Marshal(d)
	if err != nil {
		return none, fmt.Errorf("keeping the prepared post: %w", err)
	}
	prep := connectors.Preparation{State: state, Class: connectors.Keyed, RequestHash: connectors.RequestHash([]byte(d.Request))}
	if !d.Uploaded.IsZero() {
		prep.Expires = d.Uploaded.Add(blobLife)
	}
	return prep, nil
}

// sayable refuses what a record cannot say. Check has refused it before; without
// this a link or an option would be lost in silence where nobody asked Check.
func sayable(p *social.Part) error {
	k := checker{part: p}
	k.link()
	k.options()
	for _, bad := range social.Refusals(k.Found) {
		return &connectors.Error{Kind: connectors.Invalid, Op: "prepare", Field: bad.Field, Text: bad.Text}
	}
	return nil
}

// draft returns what the last Prepare kept, or begins a new one.
func (c *conn) draft(j *connectors.Job) (*draft, error) {
	d := &draft{}
	if len(j.State) > 0 {
		if err := json.Unmarshal(j.State, d); err != nil || d.RKey == "" {
			return nil, &connectors.Error{Kind: connectors.Unknown, Op: "prepare", Text: "what was kept of the prepared post cannot be read", Err: err}
		}
		return d, nil
	}
	d.RKey = c.p.tids.next(j.Now)
	// Feeds sort by this time. A part that is made late is not put into the past,
	// and the parts of a thread follow each other.
	at := j.Planned
	if at.Before(j.Now) {
		at = j.Now
	}
	d.CreatedAt = at.Add(time.Duration(j.Step) * time.Millisecond).UTC().Format(timeLayout)
	return d, nil
}

// finish builds the record and fixes the bytes of the commit.
func (r *remote) finish(ctx context.Context, j *connectors.Job, d *draft) error {
	reply, err := r.replyTo(ctx, j)
	if err != nil {
		return err
	}
	d.Reply = reply
	p := post{Type: collectionPost, Text: j.Part.Text, CreatedAt: d.CreatedAt, Langs: j.Part.Langs, Reply: reply}
	if p.Facets, err = r.facets(ctx, j); err != nil {
		return err
	}
	if p.Embed, err = r.embed(ctx, j, d); err != nil {
		return err
	}
	if l := j.Part.Options[optionLabel]; l != "" {
		p.Labels = &selfLabel{Type: "com.atproto.label.defs#selfLabels", Values: []labelValue{{l}}}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(putRecord{Repo: r.did, Collection: collectionPost, RKey: d.RKey, Record: p}); err != nil {
		return fmt.Errorf("writing the post as JSON: %w", err)
	}
	d.Request = strings.TrimSuffix(b.String(), "\n")
	return nil
}

// facets finds links, mentions and tags and resolves the mentions. One of
// somebody who does not exist stays plain text. One that cannot be resolved now
// is tried again while there is time, and stays plain text in the last minute:
// the post's time matters more.
func (r *remote) facets(ctx context.Context, j *connectors.Job) ([]facet, error) {
	var out []facet
	for _, s := range findFacets(j.Part.Text) {
		f := feature{Type: s.kind}
		switch s.kind {
		case featureLink:
			f.URI = s.value
		case featureTag:
			f.Tag = s.value
		case featureMention:
			var who struct {
				DID string `json:"did"`
			}
			_, err := r.query(ctx, "com.atproto.identity.resolveHandle", url.Values{"handle": {s.value}}, &who)
			switch kind := connectors.KindOf(err); {
			case err == nil && strings.HasPrefix(who.DID, "did:"):
				f.DID = who.DID
			case kind == connectors.AuthExpired, kind == connectors.Permanent:
				return nil, err
			case kind == connectors.Transient && j.Now.Before(j.Planned.Add(-time.Minute)):
				return nil, err
			default:
				continue
			}
		}
		out = append(out, facet{Index: byteSlice{s.start, s.end}, Features: []feature{f}})
	}
	return out, nil
}

// replyTo says what the part answers.
func (r *remote) replyTo(ctx context.Context, j *connectors.Job) (*replyRef, error) {
	if j.Parent == nil {
		if j.Step > 0 || j.Kind == social.KindReply {
			return nil, &connectors.Error{Kind: connectors.Unsupported, Op: "prepare", Text: "the post that this part answers is not known yet"}
		}
		return nil, nil
	}
	parent, root, err := r.refOf(ctx, j.Parent)
	if err != nil {
		return nil, err
	}
	if root == nil {
		root = &parent
	}
	return &replyRef{Root: *root, Parent: parent}, nil
}

// refOf names the version of a post that was published: from the receipt, or by
// asking the network where a person pasted the address. root is nil where the
// post begins its conversation.
func (r *remote) refOf(ctx context.Context, rec *connectors.Receipt) (ref, *ref, error) {
	var st postState
	if len(rec.State) > 0 && json.Unmarshal(rec.State, &st) == nil && st.CID != "" && strings.HasPrefix(rec.RemoteID, "at://") {
		return ref{rec.RemoteID, st.CID}, st.Root, nil
	}
	got, err := r.record(ctx, rec.RemoteID)
	if err != nil {
		return ref{}, nil, err
	}
	if got.Value.Reply != nil {
		return ref{got.URI, got.CID}, &got.Value.Reply.Root, nil
	}
	return ref{got.URI, got.CID}, nil, nil
}

// DialCommit opens the connection of the commit. A session that signs proofs
// gets a nonce first, so that the commit itself is not refused for a stale one.
func (c *conn) DialCommit(ctx context.Context, _ *connectors.Job) (net.Conn, error) {
	r, err := c.remote(ctx)
	if err != nil {
		return nil, err
	}
	if u, perr := url.Parse(r.pds); r.auth && perr == nil && !c.p.nonces.fresh(nonceData, u, c.p.env.Now()) {
		if _, err := r.query(ctx, "com.atproto.server.getSession", nil, nil); err != nil {
			return nil, err
		}
	}
	return r.http.DialCommit(ctx, r.pds)
}

// Commit writes the record: the bytes that were fixed in Prepare, under the key
// that was chosen there.
func (c *conn) Commit(ctx context.Context, j *connectors.Job) (connectors.Receipt, error) {
	none := connectors.Receipt{}
	var d draft
	if err := json.Unmarshal(j.State, &d); err != nil || d.Request == "" {
		return none, &connectors.Error{Kind: connectors.Transient, Op: opPublish, Text: "the post was not prepared", Err: err}
	}
	r, err := c.remote(ctx)
	if err != nil {
		return none, err
	}
	var out written
	a, err := r.http.Commit(ctx, api.Call{
		Op: opPublish, URL: xrpc(r.pds, "com.atproto.repo.putRecord"),
		Body: []byte(d.Request), ContentType: "application/json", Out: &out, Bucket: "create", Cost: 3,
	})
	r.learn(a)
	if err != nil {
		return none, err
	}
	want := postRef{r.did, d.RKey}.uri()
	if out.URI != want {
		return none, &connectors.Error{Kind: connectors.Ambiguous, Op: opPublish, Status: a.Status, Text: fmt.Sprintf("Bluesky says that it wrote %s instead of %s", out.URI, want)}
	}
	return c.p.receipt(ref(out), d.Reply, c.p.env.Now())
}

// Validate asks for what a written record must have.
func (w written) Validate() error {
	if w.URI == "" || w.CID == "" {
		return fmt.Errorf("uri or cid is missing")
	}
	return nil
}

// receipt is what is known of a post that is there.
func (p *Platform) receipt(at ref, reply *replyRef, when time.Time) (connectors.Receipt, error) {
	st := postState{CID: at.CID}
	if reply != nil {
		st.Root = &reply.Root
	}
	state, err := json.Marshal(st)
	return connectors.Receipt{RemoteID: at.URI, URL: p.webURL(at.URI), PublishedAt: when, State: state}, err
}

// Find asks for the record by the key that was chosen before.
func (c *conn) Find(ctx context.Context, j *connectors.Job) (connectors.Finding, error) {
	var d draft
	if err := json.Unmarshal(j.State, &d); err != nil || d.RKey == "" {
		return connectors.Finding{}, &connectors.Error{Kind: connectors.Unsupported, Op: "find", Text: "the key of the post was not kept; it cannot be looked up", Err: err}
	}
	r, err := c.remote(ctx)
	if err != nil {
		return connectors.Finding{}, err
	}
	got, err := r.record(ctx, postRef{r.did, d.RKey}.uri())
	if isCode(err, codeRecordNotFound) {
		return connectors.Finding{Kind: connectors.FoundHandleGood}, nil
	}
	if err != nil {
		return connectors.Finding{}, err
	}
	rec, err := c.p.receipt(ref{got.URI, got.CID}, got.Value.Reply, got.at(c.p.env.Now()))
	return connectors.Finding{Kind: connectors.FoundPublished, Receipt: rec}, err
}
