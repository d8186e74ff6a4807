package realservers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Ref names a record at one version.
type Ref struct {
	URI string `json:"uri"`
	CID string `json:"cid"`
}

// Post is a post as it stands in its author's repository on the PDS.
type Post struct {
	Ref
	Text      string
	CreatedAt time.Time
	Parent    string   // URI of the post it answers, or ""
	Root      string   // URI of the first post of its thread, or ""
	Alts      []string // alternative text of each image; its length is the number of images
	Record    json.RawMessage
}

// Counts is what the AppView says of a post.
type Counts struct {
	Likes   int64 `json:"likeCount"`
	Reposts int64 `json:"repostCount"`
	Replies int64 `json:"replyCount"`
	Quotes  int64 `json:"quoteCount"`
}

// Failure is a complete answer that says no.
type Failure struct {
	Status int
	Code   string `json:"error"`
	Text   string `json:"message"`
}

func (f *Failure) Error() string { return fmt.Sprintf("status %d: %s: %s", f.Status, f.Code, f.Text) }

// sessions keeps the access token of each account, by DID.
type sessions struct {
	mu     sync.Mutex
	tokens map[string]string
}

var client = &http.Client{Timeout: 30 * time.Second}

// call makes one request and decodes its answer into out, which may be nil. A
// nil in makes it a GET.
func call(ctx context.Context, u, token string, in, out any) error {
	method, body := http.MethodGet, io.Reader(nil)
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("writing a request: %w", err)
		}
		method, body = http.MethodPost, bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, u, body)
	if err != nil {
		return fmt.Errorf("making a request: %w", err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("reading the answer of %s: %w", req.URL.Path, err)
	}
	if res.StatusCode/100 != 2 {
		f := &Failure{Status: res.StatusCode}
		if json.Unmarshal(text, f) != nil {
			f.Text = string(text)
		}
		return fmt.Errorf("%s: %w", req.URL.Path, f)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", req.URL.Path, err)
	}
	return nil
}

// token signs in with the password, once for each account.
func (n *Network) token(ctx context.Context, as Account) (string, error) {
	n.sessions.mu.Lock()
	defer n.sessions.mu.Unlock()
	if t, ok := n.sessions.tokens[as.DID]; ok {
		return t, nil
	}
	var out struct {
		AccessJWT string `json:"accessJwt"`
	}
	in := map[string]string{"identifier": as.DID, "password": as.Password}
	if err := call(ctx, xrpc(n.Direct, "com.atproto.server.createSession", nil), "", in, &out); err != nil {
		return "", fmt.Errorf("signing in as %s: %w", as.Handle, err)
	}
	if n.sessions.tokens == nil {
		n.sessions.tokens = map[string]string{}
	}
	n.sessions.tokens[as.DID] = out.AccessJWT
	return out.AccessJWT, nil
}

func (n *Network) addAppPassword(ctx context.Context, a *Account) error {
	token, err := n.token(ctx, *a)
	if err != nil {
		return err
	}
	var out struct{ Password string }
	in := map[string]any{"name": "smi test"}
	if err := call(ctx, xrpc(n.Direct, "com.atproto.server.createAppPassword", nil), token, in, &out); err != nil {
		return fmt.Errorf("making an app password for %s: %w", a.Handle, err)
	}
	a.AppPassword = out.Password
	return nil
}

// create writes a record into the account's repository.
func (n *Network) create(ctx context.Context, as Account, collection string, record map[string]any) (Ref, error) {
	token, err := n.token(ctx, as)
	if err != nil {
		return Ref{}, err
	}
	record["$type"] = collection
	record["createdAt"] = time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	in := map[string]any{"repo": as.DID, "collection": collection, "record": record}
	var ref Ref
	if err := call(ctx, xrpc(n.Direct, "com.atproto.repo.createRecord", nil), token, in, &ref); err != nil {
		return Ref{}, fmt.Errorf("writing a %s as %s: %w", collection, as.Handle, err)
	}
	return ref, nil
}

// Like likes a post.
func (n *Network) Like(ctx context.Context, as Account, post Ref) error {
	_, err := n.create(ctx, as, "app.bsky.feed.like", map[string]any{"subject": post})
	return err
}

// Repost reposts a post.
func (n *Network) Repost(ctx context.Context, as Account, post Ref) error {
	_, err := n.create(ctx, as, "app.bsky.feed.repost", map[string]any{"subject": post})
	return err
}

// Follow follows an account.
func (n *Network) Follow(ctx context.Context, as Account, did string) error {
	_, err := n.create(ctx, as, "app.bsky.graph.follow", map[string]any{"subject": did})
	return err
}

// Write publishes a text as a post of its own.
func (n *Network) Write(ctx context.Context, as Account, text string) (Ref, error) {
	return n.create(ctx, as, "app.bsky.feed.post", map[string]any{"text": text})
}

// Reply answers the first post of a thread.
func (n *Network) Reply(ctx context.Context, as Account, post Ref, text string) (Ref, error) {
	return n.create(ctx, as, "app.bsky.feed.post", map[string]any{"text": text, "reply": map[string]any{"root": post, "parent": post}})
}

// Posts returns all posts of the account, the newest first, from its repository.
func (n *Network) Posts(ctx context.Context, did string) ([]Post, error) {
	var posts []Post
	for cursor := ""; ; {
		q := url.Values{"repo": {did}, "collection": {"app.bsky.feed.post"}, "limit": {"100"}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		var page struct {
			Cursor  string
			Records []struct {
				Ref
				Value json.RawMessage
			}
		}
		if err := call(ctx, xrpc(n.Direct, "com.atproto.repo.listRecords", q), "", nil, &page); err != nil {
			return nil, fmt.Errorf("listing posts: %w", err)
		}
		for _, r := range page.Records {
			p, err := readPost(r.Ref, r.Value)
			if err != nil {
				return nil, err
			}
			posts = append(posts, p)
		}
		if page.Cursor == "" || len(page.Records) == 0 {
			return posts, nil
		}
		cursor = page.Cursor
	}
}

func readPost(ref Ref, record json.RawMessage) (Post, error) {
	var v struct {
		Text      string
		CreatedAt time.Time
		Reply     struct{ Root, Parent Ref }
		Embed     struct{ Images []struct{ Alt string } }
	}
	if err := json.Unmarshal(record, &v); err != nil {
		return Post{}, fmt.Errorf("reading %s: %w", ref.URI, err)
	}
	p := Post{Ref: ref, Text: v.Text, CreatedAt: v.CreatedAt, Parent: v.Reply.Parent.URI, Root: v.Reply.Root.URI, Record: record}
	for _, i := range v.Embed.Images {
		p.Alts = append(p.Alts, i.Alt)
	}
	return p, nil
}

// PostsWith returns the account's posts whose text holds part.
func (n *Network) PostsWith(ctx context.Context, did, part string) ([]Post, error) {
	all, err := n.Posts(ctx, did)
	var found []Post
	for _, p := range all {
		if strings.Contains(p.Text, part) {
			found = append(found, p)
		}
	}
	return found, err
}

// Counts asks the AppView for the counts of a post. A post that the AppView has
// not seen yet is an error.
func (n *Network) Counts(ctx context.Context, uri string) (Counts, error) {
	var out struct{ Posts []Counts }
	if err := call(ctx, xrpc(n.AppView, "app.bsky.feed.getPosts", url.Values{"uris": {uri}}), "", nil, &out); err != nil {
		return Counts{}, fmt.Errorf("asking for counts: %w", err)
	}
	if len(out.Posts) != 1 {
		return Counts{}, fmt.Errorf("the AppView does not know %s yet", uri)
	}
	return out.Posts[0], nil
}
