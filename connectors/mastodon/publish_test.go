package mastodon_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/internal/simkit"
	"smi/connectors/mastodon"
	"smi/connectors/mastodon/mastodonsim"
	"smi/internal/social"
)

// A post that is not there may be sent again with its key, but not while the
// first request may still be at work, and not when the server may have forgotten
// the key.
func TestWhenAKeyIsGood(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{})
	j := s.job(social.Part{Text: "keyed"})
	p, err := s.prepare(j)
	s.must(err)
	if p.Class != connectors.Keyed || !p.Expires.Equal(s.Now().Add(55*time.Minute)) {
		t.Fatalf("prepared as %s until %v", p.Class, p.Expires)
	}
	j.ArmedAt = s.Now()
	for _, step := range []struct {
		at   time.Duration
		want connectors.FindingKind
	}{
		{5 * time.Second, connectors.FoundNothing},
		{179 * time.Second, connectors.FoundNothing},
		{3 * time.Minute, connectors.FoundHandleGood},
		{54 * time.Minute, connectors.FoundHandleGood},
		{55 * time.Minute, connectors.FoundNothing},
		{3 * time.Hour, connectors.FoundNothing},
	} {
		s.pass(j.ArmedAt.Add(step.at).Sub(s.Now()))
		if f := s.find(j); f.Kind != step.want {
			t.Errorf("%v after it was armed, Find says %s, want %s", step.at, f.Kind, step.want)
		}
	}
}

// Where a server ignores keys, nothing is ever sent twice by smi itself.
func TestNoKeyWhereItIsIgnored(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]*scene{
		"GoToSocial":                    newScene(t, mastodonsim.Options{GoToSocial: true}),
		"a software nobody vouches for": newScene(t, mastodonsim.Options{}, func(c *mastodon.Config) { c.KeySoftware = []string{"akkoma"} }),
	} {
		j := s.job(social.Part{Text: "unkeyed"})
		p, err := s.prepare(j)
		s.must(err)
		if p.Class != connectors.Unkeyed || !p.Expires.IsZero() {
			t.Errorf("%s: prepared as %s until %v", name, p.Class, p.Expires)
		}
		j.ArmedAt = s.Now()
		for range 12 {
			s.pass(5 * time.Minute)
			if f := s.find(j); f.Kind != connectors.FoundNothing {
				t.Errorf("%s: Find says %s", name, f.Kind)
			}
		}
		_, err = s.commit(j)
		s.must(err)
		for _, r := range s.sim.Kit.Requests.All() {
			if r.IdempotencyKey != "" {
				t.Errorf("%s: a key was sent", name)
			}
		}
	}
}

// The answer is lost and the list of posts is late: the same key gives the post
// that is there.
func TestSentAgainWithItsKey(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{})
	s.sim.Stale(s.account.RemoteID, time.Hour)
	s.lose()
	j := s.job(social.Part{Text: "once", Media: []social.Media{s.medium(social.Image, "image/png", "a picture")}})
	first, err := s.prepare(j)
	s.must(err)
	_, err = s.commit(j)
	s.wantKind("a lost answer", err, connectors.Ambiguous)
	s.pass(3 * time.Minute)
	if f := s.find(j); f.Kind != connectors.FoundHandleGood {
		t.Fatalf("Find says %s", f.Kind)
	}
	j.Attempt = 2
	again, err := s.prepare(j)
	s.must(err)
	if again.Class != connectors.Keyed || !again.Expires.Equal(first.Expires) {
		t.Errorf("prepared again as %s until %v, before until %v", again.Class, again.Expires, first.Expires)
	}
	r, err := s.commit(j)
	s.must(err)
	if posts := s.posts(); len(posts) != 1 || posts[0].ID != r.RemoteID || len(posts[0].Media) != 1 {
		t.Errorf("there are %+v, and the receipt names %s", posts, r.RemoteID)
	}
}

// A key that is too old is not relied upon: the account's posts are looked
// through before there is a new one.
func TestOldKey(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{})
	s.sim.Stale(s.account.RemoteID, 30*time.Minute)
	s.lose()
	j := s.job(social.Part{Text: "once"})
	_, err := s.prepare(j)
	s.must(err)
	_, err = s.commit(j)
	s.wantKind("a lost answer", err, connectors.Ambiguous)

	s.pass(58 * time.Minute)
	_, err = s.commit(j)
	s.wantKind("a commit with an old key", err, connectors.Transient)

	j.Attempt = 2
	_, err = s.prepare(j)
	if e := s.wantKind("preparing what is there", err, connectors.Invalid); !strings.Contains(e.Text, s.posts()[0].URL) {
		t.Errorf("the text is %q", e.Text)
	}
	if len(s.posts()) != 1 {
		t.Errorf("there are %d posts", len(s.posts()))
	}
	s.sim.RemovePost(s.posts()[0].ID)
	p, err := s.prepare(j)
	s.must(err)
	if !p.Expires.Equal(s.Now().Add(55 * time.Minute)) {
		t.Errorf("the new key is good until %v", p.Expires)
	}
	_, err = s.commit(j)
	s.must(err)
	if len(s.posts()) != 1 {
		t.Errorf("there are %d posts", len(s.posts()))
	}
	// One that was never used is simply made anew.
	j = s.job(social.Part{Text: "later"})
	_, err = s.prepare(j)
	s.must(err)
	s.pass(2 * time.Hour)
	_, err = s.prepare(j)
	s.must(err)
	_, err = s.commit(j)
	s.must(err)
}

// A mention shows without its server; what was written is asked for.
func TestFindByWhatWasWritten(t *testing.T) {
	t.Parallel()
	for _, o := range []mastodonsim.Options{{}, {GoToSocial: true}} {
		s := newScene(t, o)
		for _, text := range []string{
			"hello @bob@example.social, and @alice: see https://www.example.com/" + strings.Repeat("long/", 12) + "?a=1&b=2 #smi <b>",
			"two\n\nparagraphs\nand a line",
			"Đa\u0300 Na\u0306\u0303ng & 👩\u200d👩\u200d👧\u200d👦",
			"@alice@mastodon.test by its whole name",
		} {
			s.lose()
			j := s.job(social.Part{Text: text})
			_, err := s.prepare(j)
			s.must(err)
			_, err = s.commit(j)
			s.wantKind("a lost answer", err, connectors.Ambiguous)
			s.pass(time.Minute)
			f := s.find(j)
			if f.Kind != connectors.FoundCandidates || len(f.Candidates) != 1 || f.Candidates[0].Fingerprint != j.Fingerprint {
				t.Errorf("of %q Find says %s %+v", text, f.Kind, f.Candidates)
			}
			s.pass(time.Hour)
		}
	}
}

// What is like the post is shown to a person; it does not let smi send again.
func TestNearOnesStopAKey(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{})
	j := s.job(social.Part{Text: "the same words in the very same order but for the last one of them"})
	_, err := s.prepare(j)
	s.must(err)
	j.ArmedAt = s.Now()
	s.sim.Write(s.account.RemoteID, "the same words in the very same order but for the last one of these")
	s.sim.Write(s.account.RemoteID, "something else")
	s.pass(10 * time.Minute)
	if f := s.find(j); f.Kind != connectors.FoundCandidates || len(f.Candidates) != 1 || f.Candidates[0].Fingerprint == j.Fingerprint {
		t.Errorf("Find says %+v", f)
	}
}

func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{})
	alt := s.medium(social.Image, "image/png", "one")
	alt.Alt = "a cat"
	s.publish(social.Part{
		Text: "pictures", Langs: []string{"pt-BR"}, Media: []social.Media{alt, s.medium(social.Image, "image/jpeg", "two")},
		Options: map[string]string{"cw": "cats", "focus": "; -0.5 , 0.25", "visibility": "unlisted"},
	})
	s.publish(social.Part{
		Text: "a poll", Options: map[string]string{"poll": "yes\n\n no \n", "poll_for": "90m", "poll_multiple": "yes", "sensitive": "yes"},
	})
	posts := s.posts()
	if p := posts[0]; p.Spoiler != "cats" || !p.Sensitive || p.Visibility != "unlisted" || p.Language != "pt" ||
		p.Media[0].Alt != "a cat" || p.Media[0].Focus != "" || p.Media[1].Focus != "-0.5,0.25" || p.Media[1].MIME != "image/jpeg" {
		t.Errorf("the pictures came as %+v", p)
	}
	if p := posts[1]; !slices.Equal(p.Poll, []string{"yes", "no"}) || p.Visibility != "public" || !p.Sensitive {
		t.Errorf("the poll came as %+v", p)
	}
}

func TestRefusedPolls(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{})
	many := strings.Repeat("a\n", 1) + "b\nc\nd\ne"
	for name, o := range map[string]map[string]string{
		"options.poll one":     {"poll": "alone"},
		"options.poll many":    {"poll": many},
		"options.poll long":    {"poll": "a\n" + strings.Repeat("x", 51)},
		"options.poll twice":   {"poll": "a\na"},
		"options.poll_for 1m":  {"poll": "a\nb", "poll_for": "1m"},
		"options.poll_for 99d": {"poll": "a\nb", "poll_for": "2400h"},
		"options.poll_for x":   {"poll": "a\nb", "poll_for": "soon"},
		"options.focus far":    {"focus": "2,0"},
		"options.sensitive x":  {"sensitive": "perhaps"},
	} {
		field, _, _ := strings.Cut(name, " ")
		bad := social.Refusals(s.client().Check([]social.Part{{Role: social.RoleBody, Text: "x", Options: o}}))
		if len(bad) == 0 || bad[0].Field != "parts[0]."+field {
			t.Errorf("%s: Check says %+v", name, bad)
		}
		if _, err := s.prepare(s.job(social.Part{Text: "x", Options: o})); connectors.KindOf(err) != connectors.Invalid || connectors.AsError(err).Field != field {
			t.Errorf("%s: Prepare says %v", name, err)
		}
	}
	p := social.Part{Role: social.RoleBody, Options: map[string]string{"cw": "warned"}}
	if bad := social.Refusals(s.client().Check([]social.Part{p})); len(bad) != 1 || bad[0].Field != "parts[0].text" {
		t.Errorf("a warning of nothing: %+v", bad)
	}
}

// What follows a post is never seen by more people than the post.
func TestVisibility(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ first, follow, own, want string }{
		{"public", "public", "", "public"},
		{"public", "unlisted", "", "unlisted"},
		{"private", "public", "", "private"},
		{"direct", "unlisted", "", "direct"},
		{"unlisted", "private", "", "private"},
		{"private", "public", "public", "public"},
	} {
		s := newScene(t, mastodonsim.Options{}, func(cfg *mastodon.Config) { cfg.Visibility, cfg.FollowVisibility = c.first, c.follow })
		root := s.publish(social.Part{Text: "first"})
		for _, parent := range []connectors.Receipt{root, {RemoteID: root.RemoteID}, {RemoteID: root.URL}} { // remembered, asked for, pasted
			p := social.Part{Role: social.RoleThread, Text: "second", Options: map[string]string{"visibility": c.own}}
			j := s.job(p)
			j.Step, j.Root, j.Parent = 1, &root, &parent
			_, err := s.prepare(j)
			s.must(err)
			_, err = s.commit(j)
			s.must(err)
			last := s.posts()[len(s.posts())-1]
			if last.Visibility != c.want || last.Parent != root.RemoteID {
				t.Errorf("after a post that is %s, one that may be %s is %s, want %s, under %q", c.first, c.follow, last.Visibility, c.want, last.Parent)
			}
		}
	}
}

// A video is waited for; one that cannot be processed is named; files that the
// server threw away go up again.
func TestMediaInWork(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{MediaPolls: 3})
	j := s.job(social.Part{Text: "moving", Media: []social.Media{s.medium(social.Video, "video/mp4", "a video")}})
	j.Now = s.Now()
	p, err := s.client().Prepare(t.Context(), j)
	s.must(err)
	if p.Again <= 0 || p.Class != "" {
		t.Errorf("a video in work is %+v", p)
	}
	_, err = s.prepare(j)
	s.must(err)
	if n := s.sim.Kit.Requests.Count(http.MethodPost, "/api/v2/media"); n != 2 { // the state of the first call was not kept
		t.Errorf("%d uploads", n)
	}
	s.sim.CollectMedia()
	_, err = s.commit(j)
	s.wantKind("a post with files that are gone", err, connectors.Transient)
	j.Attempt = 2
	_, err = s.prepare(j)
	s.must(err)
	_, err = s.commit(j)
	s.must(err)
	if posts := s.posts(); len(posts) != 1 || len(posts[0].Media) != 1 || posts[0].Media[0].Type != "video" {
		t.Errorf("there are %+v", posts)
	}

	s.sim.FailMedia(true)
	j = s.job(social.Part{Text: "broken", Media: []social.Media{s.medium(social.Video, "video/mp4", "another video")}})
	_, err = s.prepare(j)
	if e := s.wantKind("a video that cannot be processed", err, connectors.Invalid); e.Field != "media[0]" {
		t.Errorf("the field is %q", e.Field)
	}
}

// Uploads that are ready are kept over attempts, and not looked at each time.
func TestMediaIsKept(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{})
	j := s.job(social.Part{Text: "picture", Media: []social.Media{s.medium(social.Image, "image/png", "a picture")}})
	for range 3 {
		_, err := s.prepare(j)
		s.must(err)
	}
	j.Attempt = 2
	_, err := s.prepare(j)
	s.must(err)
	if up, seen := s.sim.Kit.Requests.Count(http.MethodPost, "/api/v2/media"), s.sim.Kit.Requests.Count(http.MethodGet, ""); up != 1 || seen == 0 {
		t.Errorf("%d uploads", up)
	}
	s.pass(50 * time.Minute) // the server may throw it away in the end
	_, err = s.prepare(j)
	s.must(err)
	if n := s.sim.Kit.Requests.Count(http.MethodPost, "/api/v2/media"); n != 2 {
		t.Errorf("%d uploads after most of an hour", n)
	}
}

// Only refusals that are known to come before anything happened are believed.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		body   string
		want   connectors.Kind
	}{
		{401, `{"error":"The access token was revoked"}`, connectors.AuthExpired},
		{401, `{"error":"who are you?"}`, connectors.Ambiguous},
		{403, `{"error":"This action is outside the authorized scopes"}`, connectors.Permission},
		{403, `{"error":"Your login is currently disabled"}`, connectors.Permanent},
		{403, `{"error":"This action is not allowed"}`, connectors.Ambiguous},
		{404, `{"error":"Record not found"}`, connectors.Transient},
		{422, `{"error":"Validation failed: Text character limit of 500 exceeded"}`, connectors.Invalid},
		{422, `{"error":"Cannot attach files that have not finished processing. Try again in a moment!"}`, connectors.Transient},
		{422, `{"error":"Cannot attach more than 4 files"}`, connectors.Invalid},
		{422, `{"error":"no"}`, connectors.Ambiguous},
		{429, `{"error":"Too many requests"}`, connectors.RateLimited},
		{429, `{"error":"slow down"}`, connectors.Ambiguous},
		{400, `{"error":"Validation failed: Text"}`, connectors.Ambiguous},
		{500, `{"error":"Validation failed: Text"}`, connectors.Ambiguous},
		{422, `<html>Validation failed: </html>`, connectors.Ambiguous},
	} {
		s := newScene(t, mastodonsim.Options{})
		s.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodPost, Path: "/api/v1/statuses", Do: simkit.Status(c.status, nil, c.body)})
		j := s.job(social.Part{Text: "refused"})
		_, err := s.prepare(j)
		s.must(err)
		_, err = s.commit(j)
		if connectors.KindOf(err) != c.want {
			t.Errorf("%d %s is %v, want %s", c.status, c.body, err, c.want)
		}
	}
}

// The server's headers say when a limit is full; it is kept without asking.
func TestLimitsFromHeaders(t *testing.T) {
	t.Parallel()
	for _, epoch := range []bool{false, true} {
		s := newScene(t, mastodonsim.Options{EpochReset: epoch})
		s.sim.Exhaust(s.account.RemoteID, "publish", 1)
		s.publish(social.Part{Text: "the last"})
		before := len(s.sim.Kit.Requests.All())
		j := s.job(social.Part{Text: "one too many"})
		_, err := s.prepare(j)
		s.must(err)
		_, err = s.commit(j)
		e := s.wantKind("a post past the limit", err, connectors.RateLimited)
		if want := s.Now().Truncate(3 * time.Hour).Add(3 * time.Hour).Sub(s.Now()); e.RetryAfter < want-time.Second || e.RetryAfter > want+time.Second {
			t.Errorf("to wait %v, want %v", e.RetryAfter, want)
		}
		if n := len(s.sim.Kit.Requests.All()); n != before {
			t.Errorf("%d requests were made in spite of the limit", n-before)
		}
		if _, err := s.client().Identity(t.Context()); err != nil {
			t.Errorf("a full limit of posts keeps reads back: %v", err)
		}
		s.pass(3 * time.Hour)
		j.State = nil
		_, err = s.prepare(j)
		s.must(err)
		_, err = s.commit(j)
		s.must(err)
	}
}
