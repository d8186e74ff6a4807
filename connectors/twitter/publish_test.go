package twitter_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/internal/simkit"
	"smi/connectors/twitter/twittersim"
	"smi/internal/social"
)

// TestPoll: a poll goes out with its answers, its length and who may answer.
func TestPoll(t *testing.T) {
	t.Parallel()
	s := newScene(t, "2", twittersim.Options{})
	for _, tt := range []struct {
		options map[string]string
		answers []string
		minutes int
	}{
		{map[string]string{"poll": "tea\n\n coffee \n", "poll_for": "90m", "reply_settings": "following"}, []string{"tea", "coffee"}, 90},
		{map[string]string{"poll": "one\ntwo\nthree\nfour"}, []string{"one", "two", "three", "four"}, 1440},
	} {
		before := len(s.posts())
		p := social.Part{Text: fmt.Sprintf("what of %d?", before), Options: tt.options}
		if problems := social.Refusals(s.client().Check([]social.Part{{Role: social.RoleBody, Text: p.Text, Options: p.Options}})); len(problems) > 0 {
			t.Fatalf("the poll is refused: %v", problems)
		}
		_, err := s.publish(s.job(p, ""))
		s.must(err)
		got := s.posts()[before]
		if got.Minutes != tt.minutes || got.Replies != tt.options["reply_settings"] || !slices.Equal(got.Poll, tt.answers) {
			t.Errorf("the poll is %+v", got)
		}
	}
	for name, o := range map[string]map[string]string{
		"options.poll":     {"poll": "alone"},
		"options.poll_for": {"poll": "a\nb", "poll_for": "4m"},
	} {
		_, err := s.prepare(s.job(social.Part{Text: "bad", Options: o}, ""))
		if e := s.wantKind("a bad poll", err, connectors.Invalid); e.Field != name {
			t.Errorf("the field is %s, want %s", e.Field, name)
		}
	}
	_, err := s.prepare(s.job(social.Part{Text: "bad", Options: map[string]string{"poll": "a\nb"}, Media: []social.Media{s.medium(social.Image, "image/png", 9)}}, ""))
	s.wantKind("a poll with a picture", err, connectors.Invalid)
}

// TestDuplicate: where every earlier attempt is accounted for, "duplicate" is a
// refusal. Where one is not, it may be that one that X means, and it is looked
// for.
func TestDuplicate(t *testing.T) {
	t.Parallel()
	both(t, twittersim.Options{}, func(s *scene) {
		j := s.job(social.Part{Text: "the same words"}, "")
		s.lost(j)
		j.Attempt = 2
		_, err := s.publish(j)
		if e := s.wantKind("a repetition", err, connectors.Invalid); e.Field != "text" {
			s.Errorf("the error is %+v", e)
		}
		j.Attempt, j.Unproven = 3, 1
		_, err = s.publish(j)
		s.wantKind("a repetition of an attempt that is not accounted for", err, connectors.Ambiguous)
		if found := s.exact(j); len(found) != 1 || found[0].Receipt.RemoteID != s.posts()[0].ID || len(s.posts()) != 1 {
			s.Errorf("it finds %+v of %+v", found, s.posts())
		}
	})
}

// TestFindWhatXRewrote: a post whose answer was lost is found although X writes
// its links in its own way, and what is only like it is not taken for it.
func TestFindWhatXRewrote(t *testing.T) {
	t.Parallel()
	both(t, twittersim.Options{}, func(s *scene) {
		other := s.sim.Write(s.account.RemoteID, "somebody else's thread")
		for _, tt := range []struct {
			part   social.Part
			parent string
			like   string // written by hand right after, as a body
		}{
			{social.Part{Text: "see https://example.com/a?b=1&c=2 & <that>"}, "", "see https://example.com/a?b=1&c=3 & <that>"},
			{social.Part{Text: "see Example.com, and (https://example.org/a_(b))."}, "", "see example.net, and (https://example.org/a_(b))."},
			{social.Part{Text: "a card", Link: &social.LinkCard{URL: "https://example.com/card"}}, "", "a card"},
			{social.Part{Text: "its picture https://x.com/bob/status/123/photo/1"}, "", "its picture"},
			{social.Part{Text: "an answer to myself"}, other, "an answer to myself"},
			{social.Part{Text: "Đà Nẵng 👩‍👩‍👧 &amp; e\u0301"}, "", "Đà Nẵng"},
		} {
			j := s.job(tt.part, tt.parent)
			s.lost(j)
			posts := s.posts()
			want := posts[len(posts)-1].ID
			s.sim.Write(s.account.RemoteID, tt.like)
			if found := s.exact(j); len(found) != 1 || found[0].Receipt.RemoteID != want {
				s.Errorf("%q: found %+v, want %s", tt.part.Text, found, want)
			}
			page, err := s.client().List(s.Context(), s.Now().Add(-time.Hour), "")
			s.must(err)
			n := 0
			for _, p := range page.Posts {
				fp, alike := s.client().Likeness(j.Part, p)
				if same := fp == j.Fingerprint; same {
					n++
					if p.Receipt.RemoteID != want || alike != 1 {
						s.Errorf("%q: the listing's %q is taken for it, likeness %v", tt.part.Text, p.Text, alike)
					}
				}
			}
			if n != 1 {
				s.Errorf("%q: it is %d times in the listing", tt.part.Text, n)
			}
			s.pass(5 * time.Minute)
		}
	})
}

// TestRepostsDoNotHide: reposts take their place in the pages of a timeline, so
// that a page without any post is not its end.
func TestRepostsDoNotHide(t *testing.T) {
	t.Parallel()
	both(t, twittersim.Options{}, func(s *scene) {
		j := s.job(social.Part{Text: "under many reposts"}, "")
		s.lost(j)
		bob := s.sim.AddAccount(twittersim.Account{Username: "bob_test"})
		for i := range 12 {
			s.sim.Repost(s.account.RemoteID, s.sim.Write(bob, "news "+strconv.Itoa(i)))
		}
		if found := s.exact(j); len(found) != 1 {
			s.Errorf("found %+v", found)
		}
		if s.cfg.API == "2" {
			return // see TestEmptyPageIsNotTheEnd
		}
		for i := range 210 {
			s.sim.Repost(s.account.RemoteID, s.sim.Write(bob, "old news "+strconv.Itoa(i)))
		}
		var texts []string
		for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
			page, err := s.client().List(s.Context(), time.Time{}, cursor)
			s.must(err)
			for _, p := range page.Posts {
				texts = append(texts, p.Text)
			}
			if cursor = page.Next; pages > 9 {
				s.Fatal("the listing has no end")
			}
		}
		if len(texts) != 1 || texts[0] != "under many reposts" {
			s.Errorf("the listing is %q", texts)
		}
	})
}

// TestEmptyPageIsNotTheEnd: one page without a post leads on.
func TestEmptyPageIsNotTheEnd(t *testing.T) {
	t.Parallel()
	s := newScene(t, "2", twittersim.Options{})
	s.sim.Write(s.account.RemoteID, "below")
	bob := s.sim.AddAccount(twittersim.Account{Username: "bob_test"})
	news := s.sim.Write(bob, "news")
	for range 100 {
		s.sim.Repost(s.account.RemoteID, news)
	}
	first, err := s.client().List(s.Context(), time.Time{}, "")
	s.must(err)
	if len(first.Posts) != 0 || first.Next == "" {
		t.Fatalf("the first page is %+v", first)
	}
	second, err := s.client().List(s.Context(), time.Time{}, first.Next)
	s.must(err)
	if len(second.Posts) != 1 || second.Posts[0].Text != "below" || second.Next != "" {
		t.Errorf("the second page is %+v", second)
	}
}

// TestLongPosts: who pays for X Premium writes more than 280, and a long post
// whose answer was lost is found though X cuts it.
func TestLongPosts(t *testing.T) {
	t.Parallel()
	s := newScene(t, "2", twittersim.Options{})
	long := social.Part{Role: social.RoleBody, Text: strings.Repeat("words & more ", 30) + "https://example.com/end"}
	refused := func() bool { return len(social.Refusals(s.client().Check([]social.Part{long}))) > 0 }
	if !refused() || s.client().Describe().Limits.Text.Max != 280 {
		t.Error("an account without Premium may write a long post")
	}
	for kind, most := range map[string]int{"Premium": 25_000, "PremiumPlus": 25_000, "None": 280} {
		s.sim.Subscribe(s.account.RemoteID, kind)
		me, err := s.client().Identity(s.Context())
		s.must(err)
		s.account.Server = me.Server
		if got := s.client().Describe().Limits.Text.Max; got != most {
			t.Errorf("%s may write %d, want %d", kind, got, most)
		}
	}
	s.sim.Subscribe(s.account.RemoteID, "Premium")
	me, err := s.client().Identity(s.Context())
	s.must(err)
	s.account.Server = me.Server
	if refused() {
		t.Error("an account with Premium may not write a long post")
	}
	j := s.job(long, "")
	s.lost(j)
	if found := s.exact(j); len(found) != 1 || found[0].Similarity != 1 {
		t.Errorf("found %+v", found)
	}
}

// TestOutOfMoney: 402 is a refusal before any effect, whatever type the problem
// has, and everything of the app waits for somebody who pays. A page of a proxy
// proves nothing.
func TestOutOfMoney(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"title":"CreditsDepleted","detail":"Your enrolled account does not have any credits","type":"https://api.twitter.com/2/problems/credits"}`,
		`{"title":"Payment Required","detail":"no credits","type":"about:blank","status":402}`,
	} {
		s := newScene(t, "2", twittersim.Options{})
		s.refuse(http.StatusPaymentRequired, map[string]string{"x-rate-limit-limit": "100", "x-rate-limit-remaining": "99", "x-rate-limit-reset": strconv.FormatInt(s.Now().Add(time.Minute).Unix(), 10)}, body)
		j := s.job(social.Part{Text: "broke"}, "")
		_, err := s.prepare(j)
		s.must(err)
		c := s.client()
		_, err = s.commit(c, j)
		if e := s.wantKind("a post without credits", err, connectors.RateLimited); e.RetryAfter != 15*time.Minute || e.Bucket != "app" || !strings.Contains(e.Text, "credits") {
			t.Errorf("the error is %+v", e)
		}
		_, err = c.Identity(s.Context())
		s.wantKind("the next call", err, connectors.RateLimited)
	}
	s := newScene(t, "2", twittersim.Options{})
	s.refuse(http.StatusPaymentRequired, nil, "<html>pay for the Wi-Fi</html>")
	_, err := s.publish(s.job(social.Part{Text: "a proxy"}, ""))
	s.wantKind("a page of a proxy", err, connectors.Ambiguous)
}

// TestDayIsFull: of two limits the one that is used up says how long to wait,
// and what is only read goes on.
func TestDayIsFull(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		status int
		header map[string]string // hours until the reset, or a count
		body   string
		want   time.Duration
	}{
		{"of the account", 429, map[string]string{"x-user-limit-24hour-remaining": "0", "x-user-limit-24hour-reset": "5h"}, `{"title":"Too Many Requests","type":"about:blank","status":429,"detail":"Too Many Requests"}`, 5 * time.Hour},
		{"of the app", 429, map[string]string{"x-app-limit-24hour-remaining": "0", "x-app-limit-24hour-reset": "7h", "x-user-limit-24hour-remaining": "3", "x-user-limit-24hour-reset": "9h"}, `{"title":"Too Many Requests","type":"about:blank","status":429,"detail":"Too Many Requests"}`, 7 * time.Hour},
		{"of 15 minutes", 429, map[string]string{"x-user-limit-24hour-remaining": "3", "x-user-limit-24hour-reset": "9h"}, `{"title":"Too Many Requests","type":"about:blank","status":429,"detail":"Too Many Requests"}`, 10 * time.Minute},
		{"of posts in a day", 403, nil, `{"errors":[{"code":185,"message":"User is over daily status update limit."}]}`, 30 * time.Minute},
		{"of the month", 429, nil, `{"title":"UsageCapExceeded","detail":"Usage cap exceeded: Monthly product cap","period":"Monthly","type":"https://api.twitter.com/2/problems/usage-capped"}`, time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, "2", twittersim.Options{AccessLife: 100 * time.Hour})
			header := map[string]string{"x-rate-limit-limit": "100", "x-rate-limit-remaining": "60", "x-rate-limit-reset": strconv.FormatInt(s.Now().Add(10*time.Minute).Unix(), 10)}
			for name, v := range tt.header {
				if d, err := time.ParseDuration(v); err == nil && strings.HasSuffix(v, "h") {
					v = strconv.FormatInt(s.Now().Add(d).Unix(), 10)
				}
				header[name] = v
			}
			s.refuse(tt.status, header, tt.body)
			j := s.job(social.Part{Text: "one too many"}, "")
			_, err := s.prepare(j)
			s.must(err)
			c := s.client()
			_, err = s.commit(c, j)
			if e := s.wantKind("a post too many", err, connectors.RateLimited); e.RetryAfter != tt.want {
				t.Errorf("it waits %s, want %s", e.RetryAfter, tt.want)
			}
			s.sim.Kit.Script.Clear()
			s.pass(tt.want - time.Minute)
			_, err = s.commit(c, j)
			s.wantKind("a post too soon", err, connectors.RateLimited)
			if n := s.sim.Kit.Requests.Count(http.MethodPost, "/2/tweets"); n != 1 {
				t.Errorf("%d posts were sent, want 1", n)
			}
			if _, err := c.List(s.Context(), time.Time{}, ""); (err != nil) != (tt.name == "of the month") {
				t.Errorf("reading meanwhile: %v", err)
			}
			s.pass(time.Minute + time.Second)
			if _, err := s.commit(c, j); err != nil {
				t.Errorf("after the wait: %v", err)
			}
		})
	}
}

// TestOneCashtag: X takes one cashtag in a post, wherever they stand.
func TestOneCashtag(t *testing.T) {
	t.Parallel()
	s := newScene(t, "2", twittersim.Options{})
	for text, ok := range map[string]bool{
		"buy $AAPL":                 true,
		"buy $AAPL $MSFT":           false,
		"$AAPL,$MSFT":               false,
		"$BRK.A and\n$TSLA!":        false,
		"$5 and $10 for $AAPL":      true,
		"US$AAPL $$AAPL $AAPLXYZQW": true,
	} {
		if got := len(social.Refusals(s.client().Check([]social.Part{{Role: social.RoleBody, Text: text}}))) == 0; got != ok {
			t.Errorf("%q passes: %v, want %v", text, got, ok)
		}
	}
}

// TestLinkIsNotLost: the address of a card goes into the text unless it stands
// there as a link of its own.
func TestLinkIsNotLost(t *testing.T) {
	t.Parallel()
	s := newScene(t, "2", twittersim.Options{})
	for _, tt := range []struct{ text, url, want string }{
		{"see https://example.com/page", "https://example.com", "see https://example.com/page\nhttps://example.com"},
		{"see https://example.com/other.", "https://example.com/other", "see https://example.com/other."},
		{"", "https://example.com/alone", "https://example.com/alone"},
	} {
		r, err := s.publish(s.job(social.Part{Text: tt.text, Link: &social.LinkCard{URL: tt.url}}, ""))
		s.must(err)
		if got := s.sim.Made(r.RemoteID).Text; got != tt.want {
			t.Errorf("%q with %s becomes %q", tt.text, tt.url, got)
		}
	}
}

// TestDeleteIsBelievedWhenSaid: an answer that does not say that the post is gone
// is no success, and one that it was gone before is.
func TestDeleteIsBelievedWhenSaid(t *testing.T) {
	t.Parallel()
	s := newScene(t, "2", twittersim.Options{})
	for body, ok := range map[string]bool{
		`{"data":{"deleted":true}}`:  true,
		`{"data":{"deleted":false}}`: false,
		`{"errors":[{"title":"Forbidden","detail":"not yours","type":"https://api.twitter.com/2/problems/not-authorized-for-resource"}]}`:                       false,
		`{"errors":[{"title":"Not Found Error","detail":"Could not find tweet with id: [1].","type":"https://api.twitter.com/2/problems/resource-not-found"}]}`: true,
	} {
		s.sim.Kit.Script.Clear()
		s.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodDelete, Do: simkit.Status(http.StatusOK, nil, body)})
		if err := s.client().Delete(s.Context(), connectors.Receipt{RemoteID: "1"}); (err == nil) != ok {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// TestHiddenIsNotGone: a post that may not be read is not taken for a deleted
// one.
func TestHiddenIsNotGone(t *testing.T) {
	t.Parallel()
	s := newScene(t, "2", twittersim.Options{})
	_, err := s.client().Get(s.Context(), "1")
	if e := s.wantKind("a post that there is not", err, connectors.Invalid); e.Status != http.StatusNotFound {
		t.Errorf("the error is %+v", e)
	}
	s.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodGet, Path: "/2/tweets/1", Do: simkit.Status(http.StatusOK, nil,
		`{"errors":[{"resource_id":"1","title":"Authorization Error","detail":"Sorry, you are not authorized","type":"https://api.twitter.com/2/problems/not-authorized-for-resource"}]}`)})
	_, err = s.client().Get(s.Context(), "1")
	if e := s.wantKind("a post that may not be read", err, connectors.Permission); e.Status == http.StatusNotFound {
		t.Errorf("the error is %+v", e)
	}
}
