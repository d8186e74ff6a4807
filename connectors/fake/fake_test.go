package fake_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"smi/connectors"
	"smi/connectors/fake"
	"smi/internal/social"
)

// stage is one network with one account, inside a bubble of fake time.
type stage struct {
	net    *fake.Network
	acct   *fake.Account
	client *connectors.Client
}

func setup(t *testing.T, o fake.Options) *stage {
	t.Helper()
	o.Now = time.Now // inside synctest: the bubble's clock
	n := fake.New(o)
	a := n.AddAccount("ann", "")
	c, err := connectors.Open(n, a.Connected(1, 1), a.Credentials())
	if err != nil {
		t.Fatal(err)
	}
	return &stage{n, a, c}
}

func (s *stage) job(text string) *connectors.Job {
	p := &social.Part{Role: social.RoleBody, Text: text}
	return &connectors.Job{Delivery: 7, Part: p, Now: time.Now(), Attempt: 1, Fingerprint: s.client.Fingerprint(p, "")}
}

func (s *stage) prepare(t *testing.T, j *connectors.Job) {
	t.Helper()
	p, err := s.client.Prepare(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	j.State, j.ArmedAt = p.State, time.Now()
}

func (s *stage) commit(ctx context.Context, j *connectors.Job) (connectors.Receipt, connectors.Evidence, error) {
	shot := connectors.NewShot(99, time.Now().Add(10*time.Second), nil, time.Now)
	r, err := s.client.Commit(ctx, j, shot)
	return r, shot.Evidence(), err
}

// TestCommitFaults says for each misfortune of a commit what the client is told,
// how far the bytes came, what is true, and what Find says.
func TestCommitFaults(t *testing.T) {
	t.Parallel()
	type want struct {
		kind    connectors.Kind
		reach   connectors.Reach
		effects int
		keyed   connectors.FindingKind
	}
	for name, c := range map[string]struct {
		fault fake.Fault
		want  want
	}{
		"healthy":           {fake.Fault{}, want{"", connectors.ReachAnswered, 1, connectors.FoundPublished}},
		"refused":           {fake.Fault{Do: fake.Refuse, Kind: connectors.Invalid}, want{connectors.Invalid, connectors.ReachAnswered, 0, connectors.FoundHandleGood}},
		"rate limited":      {fake.Fault{Do: fake.Refuse, Kind: connectors.RateLimited, RetryAfter: time.Minute}, want{connectors.RateLimited, connectors.ReachAnswered, 0, connectors.FoundHandleGood}},
		"cut before write":  {fake.Fault{Do: fake.CutBeforeWrite}, want{connectors.Transient, connectors.ReachNothing, 0, connectors.FoundHandleGood}},
		"cut before effect": {fake.Fault{Do: fake.CutBeforeEffect}, want{connectors.Ambiguous, connectors.ReachWritten, 0, connectors.FoundHandleGood}},
		"cut after effect":  {fake.Fault{Do: fake.CutAfterEffect}, want{connectors.Ambiguous, connectors.ReachWritten, 1, connectors.FoundPublished}},
		"fail after effect": {fake.Fault{Do: fake.FailAfterEffect}, want{connectors.Ambiguous, connectors.ReachAnswered, 1, connectors.FoundPublished}},
		"400 after effect":  {fake.Fault{Do: fake.FailAfterEffect, Status: 400}, want{connectors.Ambiguous, connectors.ReachAnswered, 1, connectors.FoundPublished}},
		"5xx before effect": {fake.Fault{Do: fake.Refuse, Status: 503}, want{connectors.Ambiguous, connectors.ReachAnswered, 0, connectors.FoundHandleGood}},
		"without id":        {fake.Fault{Do: fake.WithoutID}, want{connectors.Ambiguous, connectors.ReachAnswered, 1, connectors.FoundPublished}},
		"garbage":           {fake.Fault{Do: fake.Garbage}, want{connectors.Ambiguous, connectors.ReachAnswered, 1, connectors.FoundPublished}},
		"hang":              {fake.Fault{Do: fake.Hang}, want{connectors.Ambiguous, connectors.ReachWritten, 1, connectors.FoundPublished}},
		"hang before":       {fake.Fault{Do: fake.HangBefore}, want{connectors.Ambiguous, connectors.ReachWritten, 0, connectors.FoundHandleGood}},
		"too slow to send":  {fake.Fault{Before: time.Minute}, want{connectors.Transient, connectors.ReachNothing, 0, connectors.FoundHandleGood}},
		"parked":            {fake.Fault{Do: fake.Park, After: time.Hour}, want{connectors.Ambiguous, connectors.ReachWritten, 0, connectors.FoundHandleGood}},
	} {
		for _, class := range []connectors.Class{connectors.Keyed, connectors.Unkeyed} {
			t.Run(name+"/"+string(class), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := setup(t, fake.Options{Class: class})
					j := s.job("good morning")
					s.prepare(t, j)
					s.acct.Script(fake.OpCommit, c.fault)
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
					defer cancel()
					r, ev, err := s.commit(ctx, j)
					if got := connectors.KindOf(err); got != c.want.kind {
						t.Errorf("the client is told %q (%v), want %q", got, err, c.want.kind)
					}
					if ev.Reach != c.want.reach {
						t.Errorf("reach %s, want %s", ev.Reach, c.want.reach)
					}
					posts := s.acct.Posts()
					if len(posts) != c.want.effects {
						t.Fatalf("%d posts are there, want %d", len(posts), c.want.effects)
					}
					if err == nil && (r.RemoteID != posts[0].RemoteID || posts[0].Attempt != 99) {
						t.Errorf("receipt %+v is not of %+v", r, posts[0])
					}
					f, err := s.client.Find(t.Context(), j)
					if err != nil {
						t.Fatal(err)
					}
					if class == connectors.Keyed {
						if f.Kind != c.want.keyed {
							t.Errorf("the handle says %s, want %s", f.Kind, c.want.keyed)
						}
						return
					}
					found := 0
					for _, k := range f.Candidates {
						if k.Fingerprint == j.Fingerprint {
							found++
						}
					}
					if found != c.want.effects || (f.Kind == connectors.FoundNothing) != (found == 0) {
						t.Errorf("the listing says %s with %d matches, want %d", f.Kind, found, c.want.effects)
					}
				})
			})
		}
	}
}

// TestParked: what was accepted appears at its time, once, and not before.
func TestParked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, fake.Options{Class: connectors.Keyed})
		j := s.job("later")
		s.prepare(t, j)
		s.acct.Script(fake.OpCommit, fake.Fault{Do: fake.Park, After: 45 * time.Second}, fake.Fault{})
		if _, _, err := s.commit(t.Context(), j); connectors.KindOf(err) != connectors.Ambiguous {
			t.Fatalf("got %v", err)
		}
		wait(t, 44*time.Second)
		if n := len(s.acct.Posts()); n != 0 {
			t.Fatalf("%d posts too early", n)
		}
		// The same handle again, while the first is still on its way: one post.
		if _, _, err := s.commit(t.Context(), j); err != nil {
			t.Fatal(err)
		}
		wait(t, 2*time.Second)
		if n := len(s.acct.Effects()); n != 1 {
			t.Fatalf("%d effects of one handle, want 1", n)
		}
	})
}

// TestSameHandle: a handle that was published answers with its post.
func TestSameHandle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, fake.Options{Class: connectors.Keyed})
		j := s.job("once")
		s.prepare(t, j)
		first, _, err := s.commit(t.Context(), j)
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := s.commit(t.Context(), j)
		if err != nil || again.RemoteID != first.RemoteID || len(s.acct.Effects()) != 1 {
			t.Fatalf("%+v, then %+v, %v", first, again, err)
		}
	})
}

func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-t.Context().Done():
		t.Fatal("the test was ended")
	case <-time.After(d): // the bubble's clock
	}
}

// TestHandleExpiry: a handle that ran out is refused before any effect and
// Prepare makes a new one.
func TestHandleExpiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, fake.Options{Class: connectors.Keyed, HandleLife: time.Minute})
		j := s.job("hello")
		s.prepare(t, j)
		wait(t, time.Minute)
		if _, _, err := s.commit(t.Context(), j); connectors.KindOf(err) != connectors.Transient {
			t.Fatalf("a dead handle was committed: %v", err)
		}
		if f, err := s.client.Find(t.Context(), j); err != nil || f.Kind != connectors.FoundHandleDead {
			t.Fatalf("%v %v", f.Kind, err)
		}
		s.prepare(t, j)
		if _, _, err := s.commit(t.Context(), j); err != nil {
			t.Fatal(err)
		}
		if n := len(s.acct.Posts()); n != 1 {
			t.Fatalf("%d posts", n)
		}
	})
}

// TestStale: a listing that lags hides a fresh post; asking by id does not.
func TestStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, fake.Options{})
		s.acct.Stale(90 * time.Second)
		j := s.job("hello")
		s.prepare(t, j)
		r, _, err := s.commit(t.Context(), j)
		if err != nil {
			t.Fatal(err)
		}
		if f, _ := s.client.Find(t.Context(), j); f.Kind != connectors.FoundNothing {
			t.Errorf("seen too early: %s", f.Kind)
		}
		if _, err := s.client.Get(t.Context(), r.RemoteID); err != nil {
			t.Errorf("by id: %v", err)
		}
		wait(t, 90*time.Second)
		if f, _ := s.client.Find(t.Context(), j); f.Kind != connectors.FoundCandidates {
			t.Errorf("still not seen: %s", f.Kind)
		}
	})
}

// TestTokens: a dead access token is renewed once, except by a commit; a strict
// network kills the grant whose old refresh token is used again.
func TestTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, fake.Options{Rotates: true, StrictReuse: true, TokenLife: time.Hour})
		old := s.acct.Grant()
		creds := fake.NewCredentials(s.net, old)
		c, err := connectors.Open(s.net, s.client.Account(), creds)
		if err != nil {
			t.Fatal(err)
		}
		j := s.job("hello")
		s.prepare(t, j)
		wait(t, time.Hour)
		_, err = c.Commit(t.Context(), j, connectors.NewShot(1, time.Now().Add(time.Minute), nil, time.Now))
		if connectors.KindOf(err) != connectors.AuthExpired || len(s.acct.Effects()) != 0 {
			t.Fatalf("a commit with a dead token: %v", err)
		}
		if _, err := c.Identity(t.Context()); err != nil {
			t.Fatalf("the token was not renewed: %v", err)
		}
		if n := s.net.Calls(fake.OpRefresh); n != 1 {
			t.Errorf("%d refreshes, want 1", n)
		}
		if _, err := s.net.Refresh(t.Context(), old); connectors.KindOf(err) != connectors.AuthExpired {
			t.Errorf("the old refresh token lives: %v", err)
		}
		if _, err := c.Identity(t.Context()); connectors.KindOf(err) != connectors.AuthExpired {
			t.Errorf("strict reuse did not kill the grant: %v", err)
		}
	})
}

// TestRefreshAnswerLost: the old grant is dead although the client has no new one.
func TestRefreshAnswerLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, fake.Options{Rotates: true})
		old := s.acct.Grant()
		s.net.Script(fake.OpRefresh, fake.Fault{Do: fake.CutAfterEffect})
		if _, err := s.net.Refresh(t.Context(), old); connectors.KindOf(err) != connectors.Ambiguous {
			t.Fatalf("got %v", err)
		}
		if _, err := s.net.Refresh(t.Context(), old); connectors.KindOf(err) != connectors.AuthExpired {
			t.Fatalf("got %v", err)
		}
	})
}

// TestPermission: what the owner did not agree to is refused and named.
func TestPermission(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, fake.Options{})
		s.acct.Withhold("insights", true)
		_, err := s.client.AccountInsights(t.Context(), time.Time{}, time.Time{})
		if connectors.KindOf(err) != connectors.Permission {
			t.Fatalf("got %v", err)
		}
		s.acct.Disable(true)
		if _, err := s.client.Identity(t.Context()); connectors.KindOf(err) != connectors.Permanent {
			t.Fatalf("got %v", err)
		}
	})
}

// TestProcessing: while the network works on media, Prepare says when to come
// again, and goes on from what it saved.
func TestProcessing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, fake.Options{ProcessTime: 30 * time.Second})
		files := fake.Files{}
		j := s.job("look")
		j.Part.Media = []social.Media{files.Add(social.Image, "image/png", []byte("one")), files.Add(social.Image, "image/png", []byte("two"))}
		j.Media = files
		var saved json.RawMessage
		stop := errors.New("killed")
		left := 2
		j.Save = func(_ context.Context, st json.RawMessage, _ time.Time) error {
			saved = st
			if left--; left == 1 { // killed after the first file was kept
				return stop
			}
			return nil
		}
		if _, err := s.client.Prepare(t.Context(), j); !errors.Is(err, stop) {
			t.Fatal(err)
		}
		j.State = saved
		p, err := s.client.Prepare(t.Context(), j)
		if err != nil || p.Again != 30*time.Second || p.Class != "" {
			t.Fatalf("%+v %v", p, err)
		}
		if n := s.acct.Calls(fake.OpUpload); n != 2 {
			t.Errorf("%d uploads of two files", n)
		}
		j.State = saved
		wait(t, 30*time.Second)
		s.prepare(t, j)
		if _, _, err := s.commit(t.Context(), j); err != nil {
			t.Fatal(err)
		}
		if p := s.acct.Posts(); len(p) != 1 || len(p[0].Media) != 2 {
			t.Fatalf("%+v", p)
		}
	})
}

// TestConfirm: a pending post is not there until it is confirmed.
func TestConfirm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, fake.Options{ConfirmTime: time.Minute})
		j := s.job("slow network")
		s.prepare(t, j)
		r, _, err := s.commit(t.Context(), j)
		if err != nil || !r.Pending || len(s.acct.Posts()) != 0 || len(s.acct.Effects()) != 1 {
			t.Fatalf("%+v %v", r, err)
		}
		wait(t, time.Minute)
		if r, err = s.client.Confirm(t.Context(), r); err != nil || r.Pending || len(s.acct.Posts()) != 1 {
			t.Fatalf("%+v %v", r, err)
		}
	})
}

// TestMangle: what the network changes in storing does not hide a post.
func TestMangle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, fake.Options{Mangle: true, NoRepeats: true})
		j := s.job("salt & pepper\n<3")
		s.prepare(t, j)
		s.acct.Script(fake.OpCommit, fake.Fault{Do: fake.CutAfterEffect})
		if _, _, err := s.commit(t.Context(), j); connectors.KindOf(err) != connectors.Ambiguous {
			t.Fatal(err)
		}
		s.acct.Write("salt & pepper <4", "") // a near duplicate of the owner's
		f, err := s.client.Find(t.Context(), j)
		if err != nil || len(f.Candidates) != 2 || f.Candidates[0].Fingerprint != j.Fingerprint || f.Candidates[1].Fingerprint == j.Fingerprint {
			t.Fatalf("%+v %v", f, err)
		}
		// A second commit of the same text is refused as a repetition, and that is
		// no proof of anything.
		if _, _, err := s.commit(t.Context(), j); connectors.KindOf(err) != connectors.Ambiguous || len(s.acct.Effects()) != 2 {
			t.Fatalf("%v", err)
		}
	})
}
