//go:build real

package blueskysim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"smi/connectors/bluesky/blueskysim"
	"smi/internal/realservers"
)

// host is one of the two networks that are compared.
type host struct {
	t                        *testing.T
	base, did, other, handle string
	password                 string
	access, refresh          string
	blob                     json.RawMessage
}

// said is what a network answered, as far as a client may rely on it.
type said struct {
	Status int
	Error  string
	Field  string // the place in the record that the message names
	Nonce  bool   // a WWW-Authenticate header is there
}

func (h *host) send(ctx context.Context, method, path, token, ctype string, body []byte) (said, map[string]any) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, h.base+path, bytes.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", token)
	}
	if ctype != "" {
		req.Header.Set("Content-Type", ctype)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	out := map[string]any{}
	_ = json.Unmarshal(raw, &out)
	s := said{Status: res.StatusCode, Nonce: res.Header.Get("WWW-Authenticate") != ""}
	s.Error, _ = out["error"].(string)
	if m, _ := out["message"].(string); strings.Contains(m, " at $.") {
		s.Field = m[strings.LastIndex(m, " at $."):]
	}
	if res.StatusCode >= 400 {
		h.t.Logf("%s %s %s: %d %s", h.handle, method, path[:min(len(path), 60)], res.StatusCode, raw[:min(len(raw), 200)])
	}
	return s, out
}

func (h *host) get(ctx context.Context, method string, q url.Values) (said, map[string]any) {
	return h.send(ctx, http.MethodGet, "/xrpc/"+method+"?"+q.Encode(), "Bearer "+h.access, "", nil)
}

func (h *host) post(ctx context.Context, method string, in any) (said, map[string]any) {
	h.t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.send(ctx, http.MethodPost, "/xrpc/"+method, "Bearer "+h.access, "application/json", b)
}

func (h *host) login(ctx context.Context) {
	h.t.Helper()
	s, out := h.post(ctx, "com.atproto.server.createSession", map[string]string{"identifier": h.did, "password": h.password})
	if s.Status != 200 {
		h.t.Fatalf("signing in at %s: %+v", h.base, s)
	}
	h.access, _ = out["accessJwt"].(string)
	h.refresh, _ = out["refreshJwt"].(string)
	_, up := h.send(ctx, http.MethodPost, "/xrpc/com.atproto.repo.uploadBlob", "Bearer "+h.access, "image/png", picture())
	b, err := json.Marshal(up["blob"])
	if err != nil {
		h.t.Fatal(err)
	}
	h.blob = b
}

// picture is a small PNG. The real server looks into pictures and answers 500 to
// a broken one.
func picture() []byte {
	var b bytes.Buffer
	_ = png.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8))) // into memory
	return b.Bytes()
}

type object = map[string]any

// put is a putRecord with a record of text "x" that fields change.
func (h *host) put(ctx context.Context, rkey string, fields object) (said, map[string]any) {
	rec := object{"$type": "app.bsky.feed.post", "text": "x", "createdAt": "2026-11-23T09:00:00.000Z"}
	for k, v := range fields {
		if v == nil {
			delete(rec, k)
			continue
		}
		rec[k] = v
	}
	return h.post(ctx, "com.atproto.repo.putRecord", object{"repo": h.did, "collection": "app.bsky.feed.post", "rkey": rkey, "record": rec})
}

const rkey = "3m5xk2jqv7s2a"

// questions are asked of both networks in this order.
var questions = []struct {
	name string
	ask  func(context.Context, *host) said
}{
	{"no token", func(ctx context.Context, h *host) said {
		s, _ := h.send(ctx, "GET", "/xrpc/com.atproto.server.getSession", "", "", nil)
		return s
	}},
	{"nonsense as token", func(ctx context.Context, h *host) said {
		s, _ := h.send(ctx, "GET", "/xrpc/com.atproto.server.getSession", "Bearer nonsense", "", nil)
		return s
	}},
	{"refresh token as access token", func(ctx context.Context, h *host) said {
		s, _ := h.send(ctx, "GET", "/xrpc/com.atproto.server.getSession", "Bearer "+h.refresh, "", nil)
		return s
	}},
	{"write without token", func(ctx context.Context, h *host) said {
		s, _ := h.send(ctx, "POST", "/xrpc/com.atproto.repo.putRecord", "", "application/json", []byte(`{}`))
		return s
	}},
	{"wrong password", func(ctx context.Context, h *host) said {
		s, _ := h.post(ctx, "com.atproto.server.createSession", object{"identifier": h.did, "password": "aaaa-bbbb-cccc-dddd"})
		return s
	}},
	{"unknown handle", func(ctx context.Context, h *host) said {
		s, _ := h.get(ctx, "com.atproto.identity.resolveHandle", url.Values{"handle": {"nobody-at-all.test"}})
		return s
	}},
	{"unknown method", func(ctx context.Context, h *host) said {
		s, _ := h.get(ctx, "com.atproto.server.noSuchMethod", nil)
		return s
	}},
	{"300 graphemes", func(ctx context.Context, h *host) said {
		s, _ := h.put(ctx, "3m5xk2jqv7s22", object{"text": strings.Repeat("e\u0301", 300)})
		return s
	}},
	{"301 graphemes", func(ctx context.Context, h *host) said {
		s, _ := h.put(ctx, rkey, object{"text": strings.Repeat("é", 301)})
		return s
	}},
	{"too many bytes", func(ctx context.Context, h *host) said {
		s, _ := h.put(ctx, rkey, object{"text": strings.Repeat("👩‍👩‍👧‍👦", 121)})
		return s
	}},
	{"no text", func(ctx context.Context, h *host) said {
		s, _ := h.put(ctx, rkey, object{"text": nil})
		return s
	}},
	{"no time", func(ctx context.Context, h *host) said {
		s, _ := h.put(ctx, rkey, object{"createdAt": nil})
		return s
	}},
	{"a time of another form", func(ctx context.Context, h *host) said {
		s, _ := h.put(ctx, rkey, object{"createdAt": "yesterday"})
		return s
	}},
	{"four languages", func(ctx context.Context, h *host) said {
		s, _ := h.put(ctx, rkey, object{"langs": []string{"en", "de", "fr", "it"}})
		return s
	}},
	{"no language", func(ctx context.Context, h *host) said {
		s, _ := h.put(ctx, rkey, object{"langs": []string{"not a language!"}})
		return s
	}},
	{"image without alt", func(ctx context.Context, h *host) said {
		s, _ := h.put(ctx, rkey, object{"embed": object{"$type": "app.bsky.embed.images", "images": []object{{"image": h.blob}}}})
		return s
	}},
	{"five images", func(ctx context.Context, h *host) said {
		img := object{"image": h.blob, "alt": ""}
		s, _ := h.put(ctx, rkey, object{"embed": object{"$type": "app.bsky.embed.images", "images": []object{img, img, img, img, img}}})
		return s
	}},
	{"unknown blob", func(ctx context.Context, h *host) said {
		b := object{"$type": "blob", "ref": object{"$link": "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"}, "mimeType": "image/png", "size": 5}
		s, _ := h.put(ctx, rkey, object{"embed": object{"$type": "app.bsky.embed.images", "images": []object{{"image": b, "alt": ""}}}})
		return s
	}},
	{"card without a title", func(ctx context.Context, h *host) said {
		s, _ := h.put(ctx, rkey, object{"embed": object{"$type": "app.bsky.embed.external", "external": object{"uri": "https://example.com", "description": ""}}})
		return s
	}},
	{"reply without cid", func(ctx context.Context, h *host) said {
		r := object{"uri": "at://" + h.did + "/app.bsky.feed.post/" + rkey}
		s, _ := h.put(ctx, rkey, object{"reply": object{"root": r, "parent": r}})
		return s
	}},
	{"tag too long", func(ctx context.Context, h *host) said {
		f := []object{{"index": object{"byteStart": 0, "byteEnd": 1}, "features": []object{{"$type": "app.bsky.richtext.facet#tag", "tag": strings.Repeat("a", 65)}}}}
		s, _ := h.put(ctx, rkey, object{"facets": f})
		return s
	}},
	{"bad key", func(ctx context.Context, h *host) said {
		s, _ := h.put(ctx, "no good/key", nil)
		return s
	}},
	{"another's repository", func(ctx context.Context, h *host) said {
		s, _ := h.post(ctx, "com.atproto.repo.putRecord", object{
			"repo": h.other, "collection": "app.bsky.feed.post", "rkey": rkey,
			"record": object{"$type": "app.bsky.feed.post", "text": "x", "createdAt": "2026-11-23T09:00:00.000Z"},
		})
		return s
	}},
	{"wrong type", func(ctx context.Context, h *host) said {
		s, _ := h.put(ctx, rkey, object{"$type": "app.bsky.feed.like"})
		return s
	}},
	{"no such record", func(ctx context.Context, h *host) said {
		s, _ := h.get(ctx, "com.atproto.repo.getRecord", url.Values{"repo": {h.did}, "collection": {"app.bsky.feed.post"}, "rkey": {rkey}})
		return s
	}},
	{"written", func(ctx context.Context, h *host) said {
		s, _ := h.put(ctx, rkey, nil)
		return s
	}},
	{"written again: same name, no commit", func(ctx context.Context, h *host) said {
		s, first := h.put(ctx, rkey, nil)
		_, second := h.put(ctx, rkey, nil)
		if first["cid"] != second["cid"] || first["uri"] != second["uri"] || second["commit"] != nil {
			s.Error = fmt.Sprintf("another answer: %v, %v", first, second)
		}
		return s
	}},
	{"must not exist, and does", func(ctx context.Context, h *host) said {
		s, _ := h.post(ctx, "com.atproto.repo.putRecord", object{
			"repo": h.did, "collection": "app.bsky.feed.post", "rkey": rkey, "swapRecord": nil,
			"record": object{"$type": "app.bsky.feed.post", "text": "other", "createdAt": "2026-11-23T09:00:00.000Z"},
		})
		return s
	}},
	{"created again", func(ctx context.Context, h *host) said {
		s, _ := h.post(ctx, "com.atproto.repo.createRecord", object{
			"repo": h.did, "collection": "app.bsky.feed.post", "rkey": rkey,
			"record": object{"$type": "app.bsky.feed.post", "text": "x", "createdAt": "2026-11-23T09:00:00.000Z"},
		})
		return s
	}},
	{"newest first", func(ctx context.Context, h *host) said {
		s, out := h.get(ctx, "com.atproto.repo.listRecords", url.Values{"repo": {h.did}, "collection": {"app.bsky.feed.post"}})
		list, _ := out["records"].([]any)
		if len(list) != 2 || !strings.HasSuffix(fmt.Sprint(list[0].(object)["uri"]), rkey) {
			s.Error = fmt.Sprint(list)
		}
		return s
	}},
	{"deleted, twice", func(ctx context.Context, h *host) said {
		in := object{"repo": h.did, "collection": "app.bsky.feed.post", "rkey": rkey}
		h.post(ctx, "com.atproto.repo.deleteRecord", in)
		s, _ := h.post(ctx, "com.atproto.repo.deleteRecord", in)
		return s
	}},
	{"a blob without a type", func(ctx context.Context, h *host) said {
		s, _ := h.send(ctx, "POST", "/xrpc/com.atproto.repo.uploadBlob", "Bearer "+h.access, "", []byte("x"))
		return s
	}},
	{"refresh with an access token", func(ctx context.Context, h *host) said {
		s, _ := h.send(ctx, "POST", "/xrpc/com.atproto.server.refreshSession", "Bearer "+h.access, "", nil)
		return s
	}},
	{"refresh with a body", func(ctx context.Context, h *host) said {
		s, _ := h.send(ctx, "POST", "/xrpc/com.atproto.server.refreshSession", "Bearer "+h.refresh, "application/json", []byte("{}"))
		return s
	}},
	{"refreshed twice: the same session", func(ctx context.Context, h *host) said {
		h.send(ctx, "POST", "/xrpc/com.atproto.server.refreshSession", "Bearer "+h.refresh, "", nil)
		s, out := h.send(ctx, "POST", "/xrpc/com.atproto.server.refreshSession", "Bearer "+h.refresh, "", nil)
		next, _ := out["refreshJwt"].(string)
		h.send(ctx, "POST", "/xrpc/com.atproto.server.deleteSession", "Bearer "+next, "", nil)
		return s
	}},
	{"refresh after the end", func(ctx context.Context, h *host) said {
		s, _ := h.send(ctx, "POST", "/xrpc/com.atproto.server.refreshSession", "Bearer "+h.refresh, "", nil)
		return s
	}},
}

// TestRealServerAnswersAsTheSimulator asks both the same questions.
func TestRealServerAnswersAsTheSimulator(t *testing.T) {
	n := realservers.Start(t, realservers.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	alice, bob := n.Account("alice"), n.Account("bob")
	real := &host{t: t, handle: "real", base: n.PDS, did: alice.DID, other: bob.DID, password: alice.AppPassword}

	sim := blueskysim.New(blueskysim.Options{})
	srv := httptest.NewServer(sim)
	defer srv.Close()
	made := &host{t: t, handle: "sim ", base: srv.URL, password: "abcd-efgh-ijkl-mnop"}
	made.did = sim.AddAccount(blueskysim.Account{Handle: "alice.test", AppPassword: made.password})
	made.other = sim.AddAccount(blueskysim.Account{Handle: "bob.test"})
	real.login(ctx)
	made.login(ctx)
	for _, q := range questions {
		t.Run(q.name, func(t *testing.T) {
			real.t, made.t = t, t
			want := q.ask(ctx, real)
			if got := q.ask(ctx, made); got != want {
				t.Errorf("the real server says %+v, ours %+v", want, got)
			}
		})
	}
}
