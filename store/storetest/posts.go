package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"smi/internal/social"
	"smi/store"
)

// timeZero is a time that is later than every test is written.
var timeZero = time.Date(2030, 1, 1, 9, 0, 0, 0, time.UTC)

func fatal(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func code(t testing.TB, err error, want social.Code) {
	t.Helper()
	if got := social.CodeOf(err); got != want {
		t.Errorf("got %v (%s), want %s", err, got, want)
	}
}

// planOn is a post on accounts, as a use case would store it.
func planOn(ws social.Workspace, text string, at time.Time, accounts ...social.Account) social.PlannedPost {
	parts := []social.Part{{Role: social.RoleBody, Text: text}}
	p := social.PlannedPost{Post: social.Post{
		WorkspaceID: ws.ID, State: social.PostApproved, Parts: parts,
		Planned: social.When{Local: at.Format("2006-01-02T15:04:05"), Zone: "UTC", UTC: at},
	}}
	for _, a := range accounts {
		p.Deliveries = append(p.Deliveries, social.Delivery{WorkspaceID: ws.ID, AccountID: a.ID, Parts: parts, PlannedAt: at, NextAt: at.Add(-15 * time.Minute)})
	}
	return p
}

// posts tests that a post is stored whole or not at all, once for each key, and
// that it is found again.
func posts(t *testing.T, open Opener) {
	t.Parallel()
	t.Run("whole or not at all", func(t *testing.T) { postsWhole(t, open(t)) })
	t.Run("once for a key", func(t *testing.T) { postsOnce(t, open(t)) })
	t.Run("lists", func(t *testing.T) { postsLists(t, open(t)) })
	t.Run("edit", func(t *testing.T) { postsEdit(t, open(t)) })
}

func postsWhole(t *testing.T, s *store.Store) {
	ctx, seed := t.Context(), Seed(t, s)
	ws, other := seed.Workspace(), seed.Workspace()
	a, b, foreign := seed.Account(ws.ID), seed.Account(ws.ID), seed.Account(other.ID)
	in := planOn(ws, "hello", timeZero, a, b)
	in.Post.Tags = []string{"Autumn", "autumn ", "", "launch"}
	p, replayed, err := s.CreatePost(ctx, in, "cli:tester", social.Once{})
	fatal(t, err)
	if replayed || len(p.Deliveries) != 2 || p.Post.Rev != 1 || fmt.Sprint(p.Post.Tags) != "[autumn launch]" {
		t.Errorf("stored %+v", p)
	}
	for _, d := range p.Deliveries {
		if d.State != social.Scheduled || d.ContentHash != social.ContentHash(d.Parts) || !d.PlannedAt.Equal(timeZero) || d.LatePolicy != social.LateAsk {
			t.Errorf("delivery %+v", d)
		}
		if seed.Text(`SELECT approved_hash FROM delivery WHERE id = $1`, int64(d.ID)) != d.ContentHash {
			t.Error("an approved post's delivery is not approved")
		}
	}
	if due, err := s.NextDue(ctx); err != nil || !due.Equal(timeZero.Add(-15*time.Minute)) {
		t.Errorf("the scheduler would look at %s, %v", due, err)
	}
	// A draft is stored too, and nothing of it can be armed.
	draft := planOn(ws, "draft", timeZero, a)
	draft.Post.State = social.PostDraft
	d, _, err := s.CreatePost(ctx, draft, "cli:tester", social.Once{})
	fatal(t, err)
	if got := seed.Text(`SELECT approved_hash FROM delivery WHERE id = $1`, int64(d.Deliveries[0].ID)); got != "" {
		t.Errorf("a draft is approved: %s", got)
	}

	// The last delivery is on a stranger's account: nothing at all is stored.
	before := seed.Text(`SELECT COUNT(*) FROM post`) + seed.Text(`SELECT COUNT(*) FROM audit`)
	_, _, err = s.CreatePost(ctx, planOn(ws, "half", timeZero, a, b, foreign), "cli:tester", social.Once{Key: "k", Actor: "x", RequestHash: "h"})
	code(t, err, social.CodeNotFound)
	if after := seed.Text(`SELECT COUNT(*) FROM post`) + seed.Text(`SELECT COUNT(*) FROM audit`); after != before {
		t.Errorf("half a post was stored: %s, then %s", before, after)
	}
	if n := seed.Text(`SELECT COUNT(*) FROM idempotency`); n != "0" {
		t.Errorf("the key of a failed request is kept")
	}
	_, err = s.Post(ctx, other.ID, p.Post.ID)
	code(t, err, social.CodeNotFound)
	_, err = s.PostOfDelivery(ctx, other.ID, p.Deliveries[0].ID)
	code(t, err, social.CodeNotFound)
	if got, err := s.PostOfDelivery(ctx, ws.ID, p.Deliveries[1].ID); err != nil || got.Post.ID != p.Post.ID {
		t.Errorf("by its delivery: %+v, %v", got.Post, err)
	}
}

// postsOnce asks for one post many times at once.
func postsOnce(t *testing.T, s *store.Store) {
	ctx, seed := t.Context(), Seed(t, s)
	ws := seed.Workspace()
	a := seed.Account(ws.ID)
	once := social.Once{Key: "k1", Actor: "cli:tester", RequestHash: "h1"}
	ids := make([]social.ID, 20)
	replays := 0
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			p, replayed, err := s.CreatePost(ctx, planOn(ws, "once", timeZero, a), "cli:tester", once)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ids[i] = p.Post.ID
			if replayed {
				replays++
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("one key made %s and %s", ids[0], id)
		}
	}
	if replays != len(ids)-1 {
		t.Errorf("%d of %d were replays", replays, len(ids))
	}
	if n := seed.Text(`SELECT COUNT(*) FROM delivery`); n != "1" {
		t.Errorf("there are %s deliveries", n)
	}
	if p, found, err := s.Recall(ctx, ws.ID, once); err != nil || !found || p.Post.ID != ids[0] {
		t.Errorf("recalled %v, %v, %v", p.Post.ID, found, err)
	}
	if _, found, err := s.Recall(ctx, ws.ID, social.Once{Key: "other", Actor: "cli:tester"}); err != nil || found {
		t.Errorf("an unknown key is found: %v", err)
	}
	_, _, err := s.CreatePost(ctx, planOn(ws, "another", timeZero, a), "cli:tester", social.Once{Key: "k1", Actor: "cli:tester", RequestHash: "h2"})
	code(t, err, social.CodeInvalid)
	if _, replayed, err := s.CreatePost(ctx, planOn(ws, "once", timeZero, a), "cli:other", social.Once{Key: "k1", Actor: "cli:other", RequestHash: "h1"}); err != nil || replayed {
		t.Errorf("another actor's key was taken for this one: %v, %v", replayed, err)
	}
	if n, err := s.PurgeKeys(ctx, time.Now().Add(time.Hour)); err != nil || n != 0 {
		t.Errorf("young keys were forgotten: %d, %v", n, err)
	}
	seed.Exec(`UPDATE idempotency SET created_at = 1`)
	if n, err := s.PurgeKeys(ctx, time.Now()); err != nil || n != 2 {
		t.Errorf("old keys forgotten: %d, %v", n, err)
	}
}

func postsLists(t *testing.T, s *store.Store) {
	ctx, seed := t.Context(), Seed(t, s)
	ws, other := seed.Workspace(), seed.Workspace()
	a, b := seed.Account(ws.ID), seed.Account(ws.ID)
	for i := range 7 {
		in := planOn(ws, fmt.Sprint("post ", i), timeZero.Add(time.Duration(i/3)*time.Hour), a)
		if i%2 == 0 {
			in = planOn(ws, fmt.Sprint("post ", i), timeZero.Add(time.Duration(i/3)*time.Hour), b)
			in.Post.Tags = []string{"even"}
		}
		_, _, err := s.CreatePost(ctx, in, "cli:tester", social.Once{})
		fatal(t, err)
	}
	seed.Exec(`UPDATE delivery SET state = 'cancelled', next_at = 0 WHERE account_id = $1`, int64(a.ID))
	for _, tc := range []struct {
		name string
		f    social.PostFilter
		want int
	}{
		{"all", social.PostFilter{}, 7},
		{"account", social.PostFilter{Account: b.ID}, 4},
		{"state", social.PostFilter{States: []social.DeliveryState{social.Cancelled}}, 3},
		{"two states", social.PostFilter{States: []social.DeliveryState{social.Cancelled, social.Scheduled}}, 7},
		{"account and state", social.PostFilter{Account: b.ID, States: []social.DeliveryState{social.Cancelled}}, 0},
		{"tag", social.PostFilter{Tag: "EVEN"}, 4},
		{"from", social.PostFilter{From: timeZero.Add(time.Hour)}, 4},
		{"to", social.PostFilter{To: timeZero.Add(time.Hour)}, 3},
		{"all of it", social.PostFilter{Account: b.ID, Tag: "even", From: timeZero, To: timeZero.Add(time.Hour), States: []social.DeliveryState{social.Scheduled}}, 2},
	} {
		for _, ascending := range []bool{false, true} {
			tc.f.Ascending, tc.f.Limit, tc.f.After = ascending, 2, ""
			seen := map[social.ID]bool{}
			var last time.Time
			for {
				page, err := s.Posts(ctx, ws.ID, tc.f)
				fatal(t, err)
				for _, p := range page.Posts {
					at := p.Post.Planned.UTC
					if seen[p.Post.ID] || !last.IsZero() && at != last && at.After(last) != ascending {
						t.Errorf("%s: post %s at %s is out of order or twice", tc.name, p.Post.ID, at)
					}
					seen[p.Post.ID], last = true, at
					if len(p.Deliveries) != 1 {
						t.Errorf("%s: a listed post has %d deliveries", tc.name, len(p.Deliveries))
					}
				}
				if tc.f.After = page.Next; page.Next == "" {
					break
				}
			}
			if len(seen) != tc.want {
				t.Errorf("%s: %d posts, want %d", tc.name, len(seen), tc.want)
			}
		}
	}
	if page, err := s.Posts(ctx, other.ID, social.PostFilter{}); err != nil || len(page.Posts) != 0 {
		t.Errorf("another workspace sees %d posts, %v", len(page.Posts), err)
	}
	if near, err := s.NearDeliveries(ctx, ws.ID, b.ID, timeZero, timeZero.Add(time.Hour)); err != nil || len(near) != 3 {
		t.Errorf("near: %d, %v", len(near), err)
	}
	if near, err := s.NearDeliveries(ctx, ws.ID, a.ID, timeZero, timeZero.Add(time.Hour)); err != nil || len(near) != 0 {
		t.Errorf("cancelled ones are near: %d, %v", len(near), err)
	}
	n, next, err := s.CountDeliveries(ctx, ws.ID)
	fatal(t, err)
	if n[social.Scheduled] != 4 || n[social.Cancelled] != 3 || !next.Equal(timeZero) {
		t.Errorf("counted %v, next %s", n, next)
	}
	if bad, err := s.Invariants(ctx, time.Now()); err != nil || len(bad) > 0 {
		t.Errorf("invariants: %v, %v", bad, err)
	}
	seed.Exec(`UPDATE delivery SET state = 'published', remote_id = 'r' WHERE account_id = $1`, int64(b.ID))
	if bad, err := s.Invariants(ctx, time.Now()); err != nil || len(bad) != 1 {
		t.Errorf("published without an attempt breaks %v, %v", bad, err)
	}
}

func postsEdit(t *testing.T, s *store.Store) {
	ctx, seed := t.Context(), Seed(t, s)
	ws := seed.Workspace()
	a, b := seed.Account(ws.ID), seed.Account(ws.ID)
	p, _, err := s.CreatePost(ctx, planOn(ws, "before", timeZero, a, b), "cli:tester", social.Once{})
	fatal(t, err)
	seed.Exec(`INSERT INTO checkpoint (delivery_id, step, state) VALUES ($1, 0, '{}')`, int64(p.Deliveries[0].ID))
	edited := func() social.PlannedPost {
		q := planOn(ws, "after", timeZero.Add(time.Hour), a, b)
		q.Post.ID, q.Post.Rev = p.Post.ID, p.Post.Rev
		for i := range q.Deliveries {
			q.Deliveries[i].ID, q.Deliveries[i].Ver, q.Deliveries[i].LatePolicy = p.Deliveries[i].ID, p.Deliveries[i].Ver, social.LateAsk
		}
		return q
	}
	// One of the two is being sent: nothing is changed.
	for _, state := range []string{"armed", "ambiguous", "published", "needs_human"} {
		seed.Exec(`UPDATE delivery SET state = $1, remote_id = 'r' WHERE id = $2`, state, int64(p.Deliveries[1].ID))
		_, err = s.EditPost(ctx, edited(), "cli:tester")
		code(t, err, social.CodeConflict)
	}
	seed.Exec(`UPDATE delivery SET state = 'scheduled', remote_id = '' WHERE id = $1`, int64(p.Deliveries[1].ID))
	if got, err := s.Post(ctx, ws.ID, p.Post.ID); err != nil || got.Post.Parts[0].Text != "before" || got.Deliveries[0].Parts[0].Text != "before" {
		t.Errorf("a refused edit changed %+v, %v", got, err)
	}
	// Somebody else was first.
	stale := edited()
	stale.Deliveries[0].Ver++
	_, err = s.EditPost(ctx, stale, "cli:tester")
	code(t, err, social.CodeConflict)

	// A blocked one stays blocked; what was prepared is forgotten.
	seed.Exec(`UPDATE delivery SET state = 'blocked', next_at = 0 WHERE id = $1`, int64(p.Deliveries[1].ID))
	got, err := s.EditPost(ctx, edited(), "cli:tester")
	fatal(t, err)
	if got.Post.Rev != 2 || got.Post.Parts[0].Text != "after" {
		t.Errorf("edited post %+v", got.Post)
	}
	for i, want := range []social.DeliveryState{social.Scheduled, social.Blocked} {
		d := got.Deliveries[i]
		if d.State != want || d.Parts[0].Text != "after" || d.Epoch <= p.Deliveries[i].Epoch || d.Ver <= p.Deliveries[i].Ver || d.NextAt.IsZero() != (want == social.Blocked) {
			t.Errorf("edited delivery %+v", d)
		}
	}
	if n := seed.Text(`SELECT COUNT(*) FROM checkpoint`); n != "0" {
		t.Error("the old preparation would be sent")
	}
	_, err = s.EditPost(ctx, edited(), "cli:tester") // revision 1 again
	code(t, err, social.CodeConflict)
}
