package bluesky_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/bluesky"
	"smi/connectors/bluesky/blueskysim"
	"smi/connectors/internal/simkit"
	"smi/internal/social"
)

const putRecord = "/xrpc/com.atproto.repo.putRecord"

// Whatever happens to the answer of a commit, smi knows that it does not know,
// finds the truth by the key, and never makes a second post.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		do    simkit.Action
		kind  connectors.Kind
		there bool
	}{
		{"cut before it acted", simkit.CutBefore(), connectors.Ambiguous, false},
		{"cut after it acted", simkit.CutAfter(), connectors.Ambiguous, true},
		{"a 504 after it acted", simkit.ActThenStatus(504, nil, `{"error":"UpstreamTimeout"}`), connectors.Ambiguous, true},
		{"a page after it acted", simkit.ActThenHTML(502), connectors.Ambiguous, true},
		{"garbage after it acted", simkit.Garbage(), connectors.Ambiguous, true},
		{"a limit after it acted, without its name", simkit.ActThenStatus(429, nil, `{}`), connectors.Ambiguous, true},
		{"another post's name", simkit.ActThenStatus(200, nil, `{"uri":"at://did:plc:x/app.bsky.feed.post/3aaaaaaaaaa2a","cid":"bafyrei"}`), connectors.Ambiguous, true},
		{"no name", simkit.ActThenStatus(200, nil, `{"uri":"","cid":""}`), connectors.Ambiguous, true},
		{"a conflict", simkit.ActThenStatus(409, nil, `{"error":"InvalidRequest"}`), connectors.Ambiguous, true},
		{"an unknown refusal", simkit.Status(400, nil, `{"error":"NewInNovember","message":"?"}`), connectors.Ambiguous, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, change{})
			cl := w.client(w.login())
			j := w.job(social.Part{Text: "only once"})
			w.prepare(cl, j)
			w.sim.Kit.Script.Add(simkit.Fault{Path: putRecord, Nth: 1, Do: c.do})
			_, err := w.commit(cl, j)
			if got := connectors.KindOf(err); got != c.kind {
				t.Fatalf("kind is %s (%v), want %s", got, err, c.kind)
			}
			f, err := cl.Find(t.Context(), j)
			if err != nil {
				t.Fatal(err)
			}
			want := connectors.FoundHandleGood
			if c.there {
				want = connectors.FoundPublished
			}
			if f.Kind != want {
				t.Fatalf("found %s, want %s", f.Kind, want)
			}
			// Sending the same bytes again is harmless either way.
			w.now.Add(2 * time.Minute)
			j.Attempt, j.Now = 2, w.now.Now()
			again := w.publish(cl, j)
			posts := w.sim.Posts(w.did)
			if len(posts) != 1 || posts[0].URI != again.RemoteID {
				t.Fatalf("posts are %+v", posts)
			}
			if c.there && f.Receipt.RemoteID != again.RemoteID {
				t.Errorf("found %s, but it is %s", f.Receipt.RemoteID, again.RemoteID)
			}
			if n := w.sim.Kit.Journal.Count("create"); n != 1 {
				t.Errorf("%d posts became public", n)
			}
			if n := w.sim.Kit.Journal.Count("update"); n != 0 {
				t.Errorf("the post was changed %d times", n)
			}
		})
	}
}

// What the network refuses before anything happened is no lost answer.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		status int
		body   string
		kind   connectors.Kind
		field  string
	}{
		{"text too long", 400, `{"error":"InvalidRequest","message":"Invalid app.bsky.feed.post record: Record/text must not be longer than 300 graphemes"}`, connectors.Invalid, "text"},
		{"second picture", 400, `{"error":"InvalidRequest","message":"Invalid app.bsky.feed.post record: Record/embed/images/1/image is too large"}`, connectors.Invalid, "media[1]"},
		{"text too long, as servers say now", 400, `{"error":"InvalidRequest","message":"Invalid app.bsky.feed.post record: grapheme too big (maximum 300, got 301) at $.record.text"}`, connectors.Invalid, "text"},
		{"alt text of the third picture beside a quote", 400, `{"error":"InvalidRequest","message":"Missing required key \"alt\" at $.record.embed.media.images[2].alt"}`, connectors.Invalid, "media[2].alt"},
		{"a language", 400, `{"error":"InvalidRequest","message":"Invalid language (got \"x\") at $.record.langs[0]"}`, connectors.Invalid, "langs"},
		{"expired", 400, `{"error":"ExpiredToken","message":"Token has expired"}`, connectors.AuthExpired, ""},
		{"scope", 403, `{"error":"ScopeMissingError","message":"Missing required scope \"repo:app.bsky.feed.post?action=create\""}`, connectors.Permission, ""},
		{"limit", 429, `{"error":"RateLimitExceeded","message":"Rate Limit Exceeded"}`, connectors.RateLimited, ""},
		{"taken down", 400, `{"error":"AccountTakedown","message":"gone"}`, connectors.Permanent, ""},
		{"file collected", 400, `{"error":"BlobNotFound","message":"Could not find blob: bafkrei"}`, connectors.Transient, ""},
		{"stale nonce", 401, `{"error":"use_dpop_nonce","message":"nonce"}`, connectors.Transient, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, change{})
			cl := w.client(w.login())
			j := w.job(social.Part{Text: "refused"})
			w.prepare(cl, j)
			w.sim.Kit.Script.Add(simkit.Fault{Path: putRecord, Nth: 1, Do: simkit.Status(c.status, nil, c.body)})
			_, err := w.commit(cl, j)
			e := connectors.AsError(err)
			if e == nil || e.Kind != c.kind || e.Field != c.field || e.Text == "" {
				t.Fatalf("error is %+v, want %s in %q", e, c.kind, c.field)
			}
		})
	}
}

func TestLimitSaysWhen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{sim: func(o *blueskysim.Options) { o.HourPoints = 5 }})
	cl := w.client(w.login())
	w.publish(cl, w.job(social.Part{Text: "one"}))
	j := w.job(social.Part{Text: "two"})
	w.prepare(cl, j)
	conn, err := cl.DialCommit(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	// The last answer said that two points are left: the next create is not even
	// sent.
	shot := connectors.NewShot(ids.New(time.Now()), w.now.Now().Add(time.Minute), conn, w.now.Now)
	_, err = cl.Commit(t.Context(), j, shot)
	e := connectors.AsError(err)
	if e == nil || e.Kind != connectors.RateLimited || e.RetryAfter < 59*time.Minute || e.RetryAfter > 61*time.Minute {
		t.Fatalf("error is %+v", e)
	}
	if got := shot.Evidence().Reach; got != connectors.ReachNothing {
		t.Errorf("reach is %s", got)
	}
}

func TestExpiredTokenIsRenewedForReadsAndRefusedOnCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	g := w.login()
	cl := w.client(g)
	j := w.job(social.Part{Text: "late token"})
	w.prepare(cl, j)
	w.sim.ExpireAccess(w.did)
	_, err := w.commit(cl, j)
	if connectors.KindOf(err) != connectors.AuthExpired {
		t.Fatalf("commit with an expired token: %v", err)
	}
	if n := len(w.sim.Posts(w.did)); n != 0 {
		t.Fatalf("%d posts", n)
	}
	p, err := cl.Identity(t.Context()) // a read renews by itself
	if err != nil || p.RemoteID != w.did || p.Handle != "alice.test" || p.Host != w.srv.URL {
		t.Fatalf("identity is %+v, %v", p, err)
	}
	w.publish(cl, j)
	if n := len(w.sim.Posts(w.did)); n != 1 {
		t.Fatalf("%d posts", n)
	}
}

func TestPictures(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	cl := w.client(w.login())
	part := social.Part{Text: "two pictures", Options: map[string]string{"label": "nudity"}}
	part.Media = append(part.Media, w.files.add(social.Image, "image/jpeg", "first picture", "a cat"), w.files.add(social.Image, "image/png", "second picture", ""))
	j := w.job(part)
	saved := 0
	j.Save = func(_ context.Context, state json.RawMessage, expires time.Time) error {
		saved++
		j.State = state
		if !expires.After(w.now.Now()) {
			t.Errorf("saved state has expired at %s", expires)
		}
		return nil
	}
	// The second upload fails once; the first is not repeated after it.
	w.sim.Kit.Script.Add(simkit.Fault{Path: "/xrpc/com.atproto.repo.uploadBlob", Nth: 2, Do: simkit.Status(400, nil, `{"error":"NotToday"}`)})
	if _, err := cl.Prepare(t.Context(), j); err == nil {
		t.Fatal("the refused upload was not noticed")
	}
	first := w.prepare(cl, j)
	if n := w.sim.Kit.Requests.Count("POST", "/xrpc/com.atproto.repo.uploadBlob"); n != 3 || saved != 2 {
		t.Errorf("%d uploads, %d saved", n, saved)
	}
	if first.Expires.IsZero() {
		t.Error("uploaded files are kept for ever")
	}
	second := w.prepare(cl, j)
	if second.RequestHash != first.RequestHash {
		t.Error("a second Prepare changed the bytes of the commit")
	}
	// The server collects what no record refers to: the commit is refused, the
	// next attempt uploads again, under the same names.
	w.sim.CollectBlobs(w.did)
	if _, err := w.commit(cl, j); connectors.KindOf(err) != connectors.Transient {
		t.Fatalf("commit without its files: %v", err)
	}
	j.Attempt = 2
	third := w.prepare(cl, j)
	if third.RequestHash != first.RequestHash {
		t.Error("uploading again changed the bytes of the commit")
	}
	r := w.publish(cl, j)
	posts := w.sim.Posts(w.did)
	if len(posts) != 1 {
		t.Fatalf("%d posts", len(posts))
	}
	for _, want := range []string{`"alt":"a cat"`, `"alt":""`, `"aspectRatio":{"height":30,"width":40}`, `"val":"nudity"`} {
		if !strings.Contains(string(posts[0].Record), want) {
			t.Errorf("the record lacks %s: %s", want, posts[0].Record)
		}
	}
	got, err := cl.Get(t.Context(), r.RemoteID)
	if err != nil || got.Fingerprint != cl.Fingerprint(j.Part, "") {
		t.Errorf("read back %+v, %v", got, err)
	}
}

func TestVideo(t *testing.T) {
	t.Parallel()
	for _, service := range []bool{true, false} {
		t.Run(fmt.Sprintf("service %t", service), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, change{sim: func(o *blueskysim.Options) { o.VideoPolls = 3 }, cfg: func(c *bluesky.Config) {
				if !service {
					c.VideoService = "none"
				}
			}})
			cl := w.client(w.login())
			j := w.job(social.Part{Text: "moving", Media: []social.Media{w.files.add(social.Video, "video/mp4", "a film", "waves")}})
			w.publish(cl, j)
			posts := w.sim.Posts(w.did)
			if len(posts) != 1 || !strings.Contains(string(posts[0].Record), "app.bsky.embed.video") {
				t.Fatalf("posts are %+v", posts)
			}
			polls := w.sim.Kit.Requests.Count("GET", "/xrpc/app.bsky.video.getJobStatus")
			if service != (polls == 4) {
				t.Errorf("%d looks at the job", polls)
			}
			if !service {
				return
			}
			// The same film again: the service knows it.
			w.publish(cl, w.job(social.Part{Text: "again", Media: j.Part.Media}))
			if n := w.sim.Kit.Requests.Count("GET", "/xrpc/app.bsky.video.getJobStatus"); n != polls {
				t.Errorf("%d looks more", n-polls)
			}
		})
	}
}

func TestVideoFailures(t *testing.T) {
	t.Parallel()
	for code, kind := range map[string]connectors.Kind{"encoding_failure": connectors.Invalid, "generic_failure": connectors.Transient} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, change{})
			w.sim.FailVideos(code)
			cl := w.client(w.login())
			j := w.job(social.Part{Text: "moving", Media: []social.Media{w.files.add(social.Video, "video/mp4", "a film", "")}})
			j.Save = func(_ context.Context, state json.RawMessage, _ time.Time) error { j.State = state; return nil }
			var err error
			for range 3 {
				var prep connectors.Preparation
				if prep, err = cl.Prepare(t.Context(), j); err != nil {
					break
				}
				j.State = prep.State
			}
			e := connectors.AsError(err)
			if e == nil || e.Kind != kind || kind == connectors.Invalid && e.Field != "media[0]" {
				t.Fatalf("error is %+v", e)
			}
			if kind != connectors.Transient {
				return
			}
			w.sim.FailVideos("")
			w.publish(cl, j) // the failed job is not asked again for ever
		})
	}
}

func TestThread(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	cl := w.client(w.login())
	root := w.publish(cl, w.job(social.Part{Text: "one"}))
	parent := root
	for step, text := range []string{"two", "three"} {
		j := w.job(social.Part{Text: text, Role: social.RoleThread})
		j.Step = step + 1
		if _, err := cl.Prepare(t.Context(), j); connectors.KindOf(err) != connectors.Unsupported {
			t.Fatalf("a thread item without a parent: %v", err)
		}
		j.Root, j.Parent = &root, &parent
		parent = w.publish(cl, j)
	}
	posts := w.sim.Posts(w.did)
	if len(posts) != 3 {
		t.Fatalf("%d posts", len(posts))
	}
	for i := 1; i < 3; i++ {
		if posts[i].Root != posts[0].URI || posts[i].Parent != posts[i-1].URI {
			t.Errorf("post %d answers %s in %s", i, posts[i].Parent, posts[i].Root)
		}
		if posts[i].CreatedAt <= posts[i-1].CreatedAt {
			t.Errorf("post %d is from %s, the one before from %s", i, posts[i].CreatedAt, posts[i-1].CreatedAt)
		}
	}
}

// An answer to a post that is known by its address alone.
func TestReplyAndQuoteByAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	cl := w.client(w.login())
	root := w.publish(cl, w.job(social.Part{Text: "one"}))
	second := w.job(social.Part{Text: "two", Role: social.RoleThread})
	second.Step, second.Root, second.Parent = 1, &root, &root
	parent := w.publish(cl, second)

	j := w.job(social.Part{Text: "an answer", Options: map[string]string{"quote": root.URL}})
	j.Kind, j.Parent = social.KindReply, &connectors.Receipt{RemoteID: parent.URL}
	w.publish(cl, j)
	posts := w.sim.Posts(w.did)
	last := posts[len(posts)-1]
	if last.Parent != parent.RemoteID || last.Root != root.RemoteID {
		t.Errorf("it answers %s in %s", last.Parent, last.Root)
	}
	if !strings.Contains(string(last.Record), `"$type":"app.bsky.embed.record"`) {
		t.Errorf("it quotes nothing: %s", last.Record)
	}

	gone := w.job(social.Part{Text: "x", Options: map[string]string{"quote": strings.Replace(root.RemoteID, posts[0].RKey, "3aaaaaaaaaa2a", 1)}})
	_, err := cl.Prepare(t.Context(), gone)
	if e := connectors.AsError(err); e == nil || e.Kind != connectors.Invalid || e.Field != "options.quote" {
		t.Errorf("quoting what is gone: %v", err)
	}
}

func TestLinkCards(t *testing.T) {
	t.Parallel()
	pages := simkit.ServePlain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/page", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/page":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, `<html><head><title>plain</title><meta property="og:title" content="Tom &amp;amp; Jerry"><meta name="description" content=" two
 lines "></head><body><meta property="og:title" content="late"></body></html>`)
		case "/big":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<title>big</title>", strings.Repeat(" ", 2<<20))
		case "/limit":
			http.Error(w, "slow down", http.StatusTooManyRequests)
		default:
			http.Error(w, "no", http.StatusInternalServerError)
		}
	}))
	for _, c := range []struct {
		name, path, title string
		card              social.LinkCard
		wantTitle, wantOf string
	}{
		{name: "page", path: "/page", wantTitle: "Tom & Jerry", wantOf: "two lines"},
		{name: "moved", path: "/moved", wantTitle: "Tom & Jerry", wantOf: "two lines"},
		{name: "own words", path: "/page", card: social.LinkCard{Title: "mine", Description: "too"}, wantTitle: "mine", wantOf: "too"},
		{name: "loop", path: "/loop"},
		{name: "error", path: "/error"},
		{name: "too big", path: "/big"},
		{name: "limit", path: "/limit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, change{})
			cl := w.client(w.login())
			card := c.card
			card.URL = pages.URL + c.path
			if c.wantTitle == "" {
				c.wantTitle = card.URL
			}
			w.publish(cl, w.job(social.Part{Text: "look", Link: &card}))
			var rec struct {
				Embed struct {
					External struct{ URI, Title, Description string }
				}
			}
			if err := json.Unmarshal(w.sim.Posts(w.did)[0].Record, &rec); err != nil {
				t.Fatal(err)
			}
			got := rec.Embed.External
			if got.URI != card.URL || got.Title != c.wantTitle || got.Description != c.wantOf {
				t.Errorf("card is %+v", got)
			}
		})
	}
}

// A mention that cannot be resolved now is worth waiting for, but not worth the
// post's minute.
func TestMentionThatCannotBeResolved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	w.sim.AddAccount(blueskysim.Account{Handle: "bob.test"})
	cl := w.client(w.login())
	w.sim.Kit.Script.Add(simkit.Fault{Path: "/xrpc/com.atproto.identity.resolveHandle", Do: simkit.Status(502, nil, `{"error":"UpstreamFailure"}`)})
	j := w.job(social.Part{Text: "hi @bob.test"})
	if _, err := cl.Prepare(t.Context(), j); connectors.KindOf(err) != connectors.Transient {
		t.Fatalf("ten minutes before: %v", err)
	}
	w.now.Add(9*time.Minute + 30*time.Second)
	j.Now = w.now.Now()
	w.publish(cl, j)
	posts := w.sim.Posts(w.did)
	if len(posts) != 1 || strings.Contains(string(posts[0].Record), "facets") {
		t.Errorf("posts are %+v", posts)
	}
}

// What is made late is dated to when it was made, and keeps that date.
func TestLatePostIsNotPutIntoThePast(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	cl := w.client(w.login())
	j := w.job(social.Part{Text: "late"})
	w.now.Add(time.Hour)
	j.Now = w.now.Now()
	first := w.prepare(cl, j)
	w.now.Add(30 * time.Minute)
	j.Now = w.now.Now()
	if again := w.prepare(cl, j); again.RequestHash != first.RequestHash {
		t.Error("preparing again changed the bytes")
	}
	if _, err := w.commit(cl, j); err != nil {
		t.Fatal(err)
	}
	if at := w.sim.Posts(w.did)[0].CreatedAt; at != "2026-11-23T10:00:00.000Z" {
		t.Errorf("createdAt is %s", at)
	}
}
