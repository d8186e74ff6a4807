package blueskysim_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"smi/connectors/bluesky/blueskysim"
)

const appPassword = "abcd-efgh-ijkl-mnop"

// network is a simulator with one account that is signed in.
type network struct {
	*blueskysim.Sim
	t     *testing.T
	url   string
	did   string
	token string
}

func start(t *testing.T, o blueskysim.Options) *network {
	t.Helper()
	n := &network{Sim: blueskysim.New(o), t: t}
	srv := httptest.NewServer(n.Sim)
	t.Cleanup(srv.Close)
	n.url = srv.URL
	n.did = n.AddAccount(blueskysim.Account{Handle: "alice.test", AppPassword: appPassword, Followers: 200})
	_, out := n.post("com.atproto.server.createSession", map[string]any{"identifier": n.did, "password": appPassword})
	n.token, _ = out["accessJwt"].(string)
	if n.token == "" {
		t.Fatalf("no session: %v", out)
	}
	return n
}

func (n *network) post(method string, in any) (int, map[string]any) {
	n.t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		n.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(n.t.Context(), http.MethodPost, n.url+"/xrpc/"+method, strings.NewReader(string(b)))
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if n.token != "" {
		req.Header.Set("Authorization", "Bearer "+n.token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		n.t.Fatal(err)
	}
	return res.StatusCode, out
}

func (n *network) write(rkey string, fields map[string]any) (int, map[string]any) {
	n.t.Helper()
	rec := map[string]any{"$type": "app.bsky.feed.post", "text": "grüße @a.test", "createdAt": "2026-11-23T09:00:00Z"}
	maps.Copy(rec, fields)
	return n.post("com.atproto.repo.putRecord", map[string]any{"repo": n.did, "collection": "app.bsky.feed.post", "rkey": rkey, "record": rec})
}

// The simulator is stricter than the network about facets.
func TestBrokenFacetsAreRefused(t *testing.T) {
	t.Parallel()
	n := start(t, blueskysim.Options{})
	facet := func(start, end int) map[string]any {
		return map[string]any{
			"index":    map[string]int{"byteStart": start, "byteEnd": end},
			"features": []any{map[string]any{"$type": "app.bsky.richtext.facet#mention", "did": n.did}},
		}
	}
	for i, c := range []struct {
		facets []any
		ok     bool
	}{
		{[]any{facet(8, 15)}, true},
		{[]any{facet(0, 2), facet(8, 15)}, true},
		{[]any{facet(8, 16)}, false},              // past the text
		{[]any{facet(3, 6)}, false},               // begins in a character
		{[]any{facet(8, 15), facet(0, 2)}, false}, // not in order
		{[]any{facet(5, 5)}, false},               // empty
	} {
		status, out := n.write(fmt.Sprintf("3aaaaaaaaaa%d2", i+2), map[string]any{"facets": c.facets})
		if (status == http.StatusOK) != c.ok {
			t.Errorf("facets %v: %d %v", c.facets, status, out)
		}
	}
}

func TestWritePointsRunOut(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	n := start(t, blueskysim.Options{HourPoints: 7, Now: func() time.Time { return now }})
	var got []int
	for i := range 4 {
		status, _ := n.write(fmt.Sprintf("3aaaaaaaaaa%d2", i+2), nil)
		got = append(got, status)
	}
	if fmt.Sprint(got) != "[200 200 429 429]" || len(n.Posts(n.did)) != 2 {
		t.Errorf("statuses %v, %d posts", got, len(n.Posts(n.did)))
	}
	if status, _ := n.write("3aaaaaaaaaa22", nil); status != http.StatusOK {
		t.Errorf("the same record again costs points: %d", status)
	}
}

// Counters of the demo grow, slowly at the end, and never fall.
func TestGrowth(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	n := start(t, blueskysim.Options{Growth: true, Now: func() time.Time { return at }})
	uri := n.Write(n.did, "hello")
	read := func() float64 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.url+"/xrpc/app.bsky.feed.getPosts?uris="+url.QueryEscape(uri), nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var out struct{ Posts []struct{ LikeCount float64 } }
		if err := json.NewDecoder(res.Body).Decode(&out); err != nil || len(out.Posts) != 1 {
			t.Fatalf("%+v, %v", out, err)
		}
		return out.Posts[0].LikeCount
	}
	last := read()
	for _, h := range []int{1, 24, 24, 12, 240} {
		n.Advance(at.Add(time.Duration(h) * time.Hour))
		now := read()
		if now < last {
			t.Errorf("likes fell from %v to %v", last, now)
		}
		last = now
	}
	if last == 0 {
		t.Error("nobody liked it")
	}
}

func TestConsentPage(t *testing.T) {
	t.Parallel()
	n := start(t, blueskysim.Options{ConsentPage: true})
	res, err := http.Get(n.url + "/oauth/authorize?client_id=x&request_uri=unknown") //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusBadRequest || !strings.Contains(string(b), "Start again") {
		t.Errorf("an unknown request: %d %s", res.StatusCode, b)
	}
}
