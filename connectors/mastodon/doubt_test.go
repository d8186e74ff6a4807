package mastodon_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/internal/simkit"
	"smi/connectors/mastodon/mastodonsim"
	"smi/internal/social"
)

// A key that was made for a Mastodon is worth nothing on the software that
// stands in its place.
func TestKeyAfterAChangeOfSoftware(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{})
	s.sim.Stale(s.account.RemoteID, time.Hour)
	s.lose()
	j := s.job(social.Part{Text: "once"})
	_, err := s.prepare(j)
	s.must(err)
	_, err = s.commit(j)
	s.wantKind("a lost answer", err, connectors.Ambiguous)
	s.pass(10 * time.Minute)
	if f := s.find(j); f.Kind != connectors.FoundHandleGood {
		t.Fatalf("on a Mastodon Find says %s", f.Kind)
	}
	s.account.Server = bytes.ReplaceAll(s.account.Server, []byte(`"software":"mastodon"`), []byte(`"software":"gotosocial"`))
	if f := s.find(j); f.Kind != connectors.FoundNothing {
		t.Errorf("on a GoToSocial Find says %s", f.Kind)
	}
}

// How old a key is nobody knows once the clock was set back.
func TestKeyAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{})
	j := s.job(social.Part{Text: "when?"})
	_, err := s.prepare(j)
	s.must(err)
	s.pass(-30 * time.Minute)
	j.ArmedAt = s.Now().Add(-10 * time.Minute)
	if f := s.find(j); f.Kind != connectors.FoundNothing {
		t.Errorf("Find says %s", f.Kind)
	}
	j.Attempt = 2
	_, err = s.prepare(j)
	if e := s.wantKind("preparing again", err, connectors.Invalid); !strings.Contains(e.Text, "clock") {
		t.Errorf("the text is %q", e.Text)
	}
	j.Attempt = 1 // nothing was sent
	p, err := s.prepare(j)
	s.must(err)
	if !p.Expires.Equal(s.Now().Add(55 * time.Minute)) {
		t.Errorf("the new key is good until %v", p.Expires)
	}
}

// A post very like the one whose key is too old stops it as the very same does.
func TestNearOnesStopANewKey(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{})
	j := s.job(social.Part{Text: "the same words in the very same order but for the last one of them"})
	_, err := s.prepare(j)
	s.must(err)
	s.sim.Write(s.account.RemoteID, "the same words in the very same order but for the last one of these")
	s.pass(time.Hour)
	j.Attempt = 2
	_, err = s.prepare(j)
	if e := s.wantKind("preparing again", err, connectors.Invalid); !strings.Contains(e.Text, s.posts()[0].URL) {
		t.Errorf("the text is %q", e.Text)
	}
}

// What is not seen to its end proves nothing, and lets no key be used again.
func TestListingsThatEndTooEarly(t *testing.T) {
	t.Parallel()
	begin := func() (*scene, *connectors.Job) {
		s := newScene(t, mastodonsim.Options{})
		j := s.job(social.Part{Text: "one two three four"})
		_, err := s.prepare(j)
		s.must(err)
		j.ArmedAt = s.Now()
		return s, j
	}
	write := func(s *scene, n int, text string) {
		for i := range n {
			s.sim.Write(s.account.RemoteID, fmt.Sprintf(text, i))
		}
		s.pass(10 * time.Minute)
	}
	s, j := begin()
	write(s, 50, "number-%d")
	if f := s.find(j); f.Kind != connectors.FoundHandleGood {
		t.Errorf("of a whole list Find says %s", f.Kind)
	}
	s.sim.Loop()
	if f := s.find(j); f.Kind != connectors.FoundNothing {
		t.Errorf("of a list whose links lead back Find says %s", f.Kind)
	}

	for name, change := range map[string]func(*mastodonsim.Sim){"without links": (*mastodonsim.Sim).Unlink, "whose links lead back": (*mastodonsim.Sim).Loop} {
		s, j = begin()
		s.sim.Write(s.account.RemoteID, "one two three four")
		write(s, 50, "number-%d")
		change(s.sim)
		if f := s.find(j); f.Kind != connectors.FoundCandidates || len(f.Candidates) != 1 {
			t.Errorf("of a list %s that holds it Find says %s %+v", name, f.Kind, f.Candidates)
		}
	}

	s, j = begin()
	write(s, 10, "one two and-%d more")
	if f := s.find(j); f.Kind != connectors.FoundHandleGood {
		t.Errorf("after ten that are a little like it Find says %s", f.Kind)
	}
	write(s, 1, "one two or-%d more")
	if f := s.find(j); f.Kind != connectors.FoundNothing {
		t.Errorf("after more than it asks about Find says %s", f.Kind)
	}
}

// A part whose parent is gone fails in words; it is not tried for ever.
func TestParentIsGone(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{})
	root := s.publish(social.Part{Text: "first"})
	j := s.job(social.Part{Role: social.RoleThread, Text: "second"})
	j.Step, j.Root, j.Parent = 1, &root, &root
	_, err := s.prepare(j)
	s.must(err)
	s.sim.RemovePost(root.RemoteID)
	_, err = s.commit(j)
	s.wantKind("an answer to what is gone", err, connectors.Transient)
	j.Attempt = 2
	_, err = s.prepare(j)
	if e := s.wantKind("preparing it again", err, connectors.Invalid); e.Field != "parent" {
		t.Errorf("the field is %q", e.Field)
	}
}

// A web page that says 404 is no word of the server: nothing is gone.
func TestOnlyTheServerSaysGone(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{Old: true})
	r := s.publish(social.Part{Text: "there"})
	s.sim.Kit.Script.Add(simkit.Fault{Path: "/api/v1/statuses/*", Do: simkit.HTML(http.StatusNotFound)})
	if rd, err := s.client().PostInsights(t.Context(), []connectors.Receipt{r}); err == nil || len(rd.Gone) > 0 {
		t.Errorf("gone: %v, %v", rd.Gone, err)
	}
	if err := s.client().Delete(t.Context(), r); err == nil {
		t.Error("a post that is there was called deleted")
	}
	s.sim.Kit.Script.Clear()
	s.must(s.client().Delete(t.Context(), r))
	s.must(s.client().Delete(t.Context(), r))
	if len(s.posts()) != 0 {
		t.Error("the post is still there")
	}
}

// Pages have a limit of their own; it keeps no post back.
func TestReadingKeepsNoPostBack(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{})
	for i := range 50 {
		s.sim.Write(s.account.RemoteID, fmt.Sprint("number ", i))
	}
	page, err := s.client().List(t.Context(), time.Time{}, "")
	s.must(err)
	s.sim.Exhaust(s.account.RemoteID, "paging", 1)
	_, err = s.client().List(t.Context(), time.Time{}, page.Next)
	s.must(err)
	_, err = s.client().List(t.Context(), time.Time{}, page.Next)
	s.wantKind("a page past the limit", err, connectors.RateLimited)
	s.publish(social.Part{Text: "not kept back"})
}

// Servers word refusals in the reader's language; smi knows them in English.
func TestRefusalsAreAskedForInEnglish(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{German: true})
	j := s.job(social.Part{Text: strings.Repeat("x", 501)})
	_, err := s.prepare(j)
	s.must(err)
	_, err = s.commit(j)
	s.wantKind("a text that is too long", err, connectors.Invalid)
	s.sim.RevokeTokens(s.account.RemoteID)
	j = s.job(social.Part{Text: "x"})
	_, err = s.prepare(j)
	s.must(err)
	_, err = s.commit(j)
	s.wantKind("a post after the end of the login", err, connectors.AuthExpired)
}

// Asking whether a token lives loses none: what a proxy says in place of the
// server is not taken for a refresh that was cut off.
func TestAskingLosesNoLogin(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{})
	s.sim.Kit.Script.Add(simkit.Fault{Path: "/api/v1/accounts/verify_credentials", Do: simkit.HTML(http.StatusBadGateway)})
	_, err := s.platform.Refresh(t.Context(), s.grant)
	if e := s.wantKind("asking through a proxy that is broken", err, connectors.Transient); e.Status != 0 {
		t.Errorf("the status is %d", e.Status)
	}
}

// A GoToSocial words its refusals otherwise: of what it refuses nothing is
// known but that it cannot be seen, and nothing is sent again.
func TestRefusalsInOtherWords(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{GoToSocial: true, OwnWords: true})
	j := s.job(social.Part{Text: strings.Repeat("x", 5001)})
	_, err := s.prepare(j)
	s.must(err)
	_, err = s.commit(j)
	s.wantKind("a text that is too long", err, connectors.Ambiguous)
	for range 4 {
		s.pass(20 * time.Minute)
		if f := s.find(j); f.Kind != connectors.FoundNothing {
			t.Errorf("Find says %s", f.Kind)
		}
	}
	busy := simkit.Fault{Method: http.MethodPost, Path: "/api/v1/statuses", Nth: 1, Do: simkit.Status(http.StatusServiceUnavailable, map[string]string{"Retry-After": "30"}, "")}
	s.sim.Kit.Script.Add(busy)
	j = s.job(social.Part{Text: "too busy"})
	_, err = s.prepare(j)
	s.must(err)
	_, err = s.commit(j)
	s.wantKind("a server that has too much to do", err, connectors.Ambiguous)
	r := s.publish(social.Part{Text: "there"})
	s.sim.RemovePost(r.RemoteID)
	rd, err := s.client().PostInsights(t.Context(), []connectors.Receipt{r})
	s.must(err)
	if len(rd.Gone) != 1 {
		t.Errorf("read %+v", rd)
	}
	s.sim.RevokeTokens(s.account.RemoteID)
	_, err = s.client().Identity(t.Context())
	s.wantKind("a token that was revoked", err, connectors.AuthExpired)
}

// A server that calls itself compatible with Mastodon is not one, whatever its
// nodeinfo says.
func TestCompatibleIsNotTheSame(t *testing.T) {
	t.Parallel()
	s := newScene(t, mastodonsim.Options{})
	if name := s.grant.Extra["software"].Reveal(); name != "mastodon" {
		t.Errorf("the software is %q", name)
	}
	s.sim.Kit.Script.Add(simkit.Fault{Path: "/api/v2/instance", Do: simkit.Status(http.StatusOK, map[string]string{"Content-Type": "application/json"},
		`{"domain":"mastodon.test","version":"2.7.2 (compatible; Other 2.6.0)"}`)})
	if name := s.login().Extra["software"].Reveal(); name != "other" {
		t.Errorf("the software is %q", name)
	}
}
