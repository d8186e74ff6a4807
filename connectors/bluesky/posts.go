package bluesky

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

var (
	_ connectors.Getter  = (*conn)(nil)
	_ connectors.Deleter = (*conn)(nil)
	_ connectors.Lister  = (*conn)(nil)
)

// record reads one post by its at:// address or the address of its page. A gone
// one is an error for which isGone holds.
func (r *remote) record(ctx context.Context, address string) (record, error) {
	at, err := parsePostRef(address)
	if err != nil {
		return record{}, &connectors.Error{Kind: connectors.Invalid, Op: "getRecord", Field: "remote_id", Text: err.Error()}
	}
	var out record
	_, err = r.query(ctx, "com.atproto.repo.getRecord", url.Values{"repo": {at.repo}, "collection": {collectionPost}, "rkey": {at.rkey}}, &out)
	if isCode(err, codeRecordNotFound) {
		e := *connectors.AsError(err)
		e.Kind, e.Status, e.Field, e.Text = connectors.Invalid, http.StatusNotFound, "remote_id", "the post is not there (any more)"
		return record{}, &e
	}
	return out, err
}

// Validate asks for what a record must have.
func (r record) Validate() error {
	if r.URI == "" || r.CID == "" {
		return fmt.Errorf("uri or cid is missing")
	}
	return nil
}

func isGone(err error) bool { return isCode(err, codeRecordNotFound) }

// at is when the post says that it was made, or other.
func (r record) at(other time.Time) time.Time {
	t, err := time.Parse(time.RFC3339Nano, r.Value.CreatedAt)
	if err != nil {
		return other
	}
	return t.UTC()
}

// media are the kinds of what hangs under the post, as social.Kinds would say.
func (r record) media() []social.MediaKind { return r.Value.Embed.kinds() }

func (e *readRich) kinds() []social.MediaKind {
	if e == nil {
		return nil
	}
	switch e.Type {
	case "app.bsky.embed.video":
		return []social.MediaKind{social.Video}
	case "app.bsky.embed.recordWithMedia":
		return e.Media.kinds()
	}
	var out []social.MediaKind
	for _, raw := range append(e.Images, e.Items...) {
		var img struct {
			Image struct {
				MIME string `json:"mimeType"`
			} `json:"image"`
		}
		kind := social.Image
		if json.Unmarshal(raw, &img) == nil && img.Image.MIME == "image/gif" {
			kind = social.GIF
		}
		out = append(out, kind)
	}
	return out
}

// Get reads one post back.
func (c *conn) Get(ctx context.Context, remoteID string) (connectors.Candidate, error) {
	r, err := c.remote(ctx)
	if err != nil {
		return connectors.Candidate{}, err
	}
	got, err := r.record(ctx, remoteID)
	if err != nil {
		return connectors.Candidate{}, err
	}
	if !strings.HasPrefix(got.URI, "at://"+r.did+"/") {
		return connectors.Candidate{}, &connectors.Error{Kind: connectors.Invalid, Op: "getRecord", Field: "remote_id", Text: "this post is by another account"}
	}
	at := got.at(time.Time{})
	rec, err := c.p.receipt(ref{got.URI, got.CID}, got.Value.Reply, at)
	if err != nil {
		return connectors.Candidate{}, err
	}
	return connectors.Candidate{
		Receipt: rec, Excerpt: excerpt(got.Value.Text), At: at,
		Fingerprint: connectors.FingerprintOf(c.known(r), got.parent(), got.Value.Text, got.media()),
	}, nil
}

// known is the account with its remote id, which is not known before the first
// login is finished.
func (c *conn) known(r *remote) social.Account {
	a := c.account
	a.Network, a.RemoteID = Network, r.did
	return a
}

func (r record) parent() string {
	if r.Value.Reply == nil {
		return ""
	}
	return r.Value.Reply.Parent.URI
}

// excerpt is the beginning of a text.
func excerpt(s string) string {
	const most = 80
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}

// Delete removes a post. Deleting what is gone succeeds at the network as well.
func (c *conn) Delete(ctx context.Context, rec connectors.Receipt) error {
	r, err := c.remote(ctx)
	if err != nil {
		return err
	}
	at, err := parsePostRef(rec.RemoteID)
	if err != nil || at.repo != r.did {
		return &connectors.Error{Kind: connectors.Invalid, Op: "deleteRecord", Field: "remote_id", Text: "this is no post of the account"}
	}
	_, err = r.do(ctx, api.Call{
		Op: "deleteRecord", Method: http.MethodPost, URL: xrpc(r.pds, "com.atproto.repo.deleteRecord"), Repeatable: true, Bucket: "create",
		JSON: map[string]string{"repo": r.did, "collection": collectionPost, "rkey": at.rkey},
	})
	return err
}

// pageSize is the largest page that listRecords gives.
const pageSize = 100

// List returns the account's posts, the newest first, straight from its own
// server: it works where no AppView does.
func (c *conn) List(ctx context.Context, since time.Time, cursor string) (connectors.Page, error) {
	r, err := c.remote(ctx)
	if err != nil {
		return connectors.Page{}, err
	}
	q := url.Values{"repo": {r.did}, "collection": {collectionPost}, "limit": {fmt.Sprint(pageSize)}}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	var out recordPage
	a, err := r.query(ctx, "com.atproto.repo.listRecords", q, &out)
	if err != nil {
		return connectors.Page{}, err
	}
	page := connectors.Page{Next: out.Cursor, Raw: []social.RawAnswer{{Op: "listRecords", At: c.p.env.Now(), Body: a.Body}}}
	if out.Cursor == cursor || len(out.Records) == 0 {
		page.Next = "" // a cursor that leads nowhere
	}
	older := 0
	for _, rec := range out.Records {
		at := rec.at(time.Time{})
		if at.Before(since) {
			older++
			continue
		}
		receipt, err := c.p.receipt(ref{rec.URI, rec.CID}, rec.Value.Reply, at)
		if err != nil {
			return connectors.Page{}, err
		}
		page.Posts = append(page.Posts, connectors.RemotePost{Receipt: receipt, Text: rec.Value.Text, Media: rec.media(), Parent: rec.parent()})
	}
	if older > 0 && older == len(out.Records) {
		page.Next = "" // keys grow with time: what follows is older still
	}
	return page, nil
}
