package app_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"smi/internal/app"
	"smi/internal/social"
	"smi/store/storetest"
)

func TestConnectAndReconnect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acc := w.join("alice")
	if acc.Status != social.AccountConnected || acc.Name != "fake/alice" || acc.Login.State != "connected" {
		t.Fatalf("after the login: %+v", acc)
	}

	// The same account by the browser: the row stays, the login is new.
	c, err := w.app.StartConnect(t.Context(), w.owner, app.ConnectRequest{Reconnect: "alice", Method: "oauth"})
	check(t, err)
	query, err := w.net.Consent(c.AuthURL, "alice")
	check(t, err)
	done, err := w.app.FinishOAuth(t.Context(), query)
	check(t, err)
	if done.Account.ID != acc.ID || done.New {
		t.Errorf("reconnecting made another account: %+v", done)
	}
	if got, err := w.app.GetConnection(t.Context(), w.owner, c.ID, true); err != nil || got.State != "done" {
		t.Errorf("the login's end is not told: %+v, %v", got, err)
	}

	// The state works once.
	_, err = w.app.FinishOAuth(t.Context(), query)
	wantCode(t, err, social.CodeConflict, "id", "start again")

	// Another account's login is refused, and changes nothing.
	w.net.AddAccount("bob", "bob")
	c, err = w.app.StartConnect(t.Context(), w.owner, app.ConnectRequest{Reconnect: "fake/alice", Method: "oauth"})
	check(t, err)
	query, err = w.net.Consent(c.AuthURL, "bob")
	check(t, err)
	_, err = w.app.FinishOAuth(t.Context(), query)
	wantCode(t, err, social.CodeConflict, "reconnect", "bob")
	all, err := w.app.ListAccounts(t.Context(), w.owner, true)
	check(t, err)
	if len(all) != 1 {
		t.Errorf("a refused login left %d accounts", len(all))
	}

	// A stranger's state, and a login that took too long.
	_, err = w.app.FinishOAuth(t.Context(), map[string][]string{"state": {""}, "code": {"x"}})
	wantCode(t, err, social.CodeNotFound, "id", "start again")
	c, err = w.app.StartConnect(t.Context(), w.owner, app.ConnectRequest{Network: "fake", Method: "oauth"})
	check(t, err)
	query, err = w.net.Consent(c.AuthURL, "alice")
	check(t, err)
	w.advance(16 * time.Minute)
	_, err = w.app.FinishOAuth(t.Context(), query)
	wantCode(t, err, social.CodeConflict, "id", "start again")
}

func TestPlanWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join("alice")
	for _, tc := range []struct {
		name        string
		plan        app.PlanInput
		utc         string // of the planned time, "" if refused
		note        string
		field, cure string
	}{
		{"later today", app.PlanInput{At: "2026-11-23T10:00"}, "2026-11-23T09:00:00Z", "", "", ""},
		{"another zone", app.PlanInput{At: "2026-11-24T09:00", Zone: "America/New_York"}, "2026-11-24T14:00:00Z", "", "", ""},
		{"with an offset", app.PlanInput{At: "2026-11-24T09:00:00+07:00"}, "2026-11-24T02:00:00Z", "", "", ""},
		{"in ten minutes", app.PlanInput{In: "10m"}, "2026-11-23T08:10:00Z", "", "", ""},
		{"now", app.PlanInput{Now: true}, "2026-11-23T08:00:00Z", "", "", ""},
		{"half a minute ago means now", app.PlanInput{At: "2026-11-23T08:59:30"}, "2026-11-23T07:59:30Z", "", "", ""},
		{"gap", app.PlanInput{At: "2027-03-28T02:30"}, "2027-03-28T01:30:00Z", "does not exist", "", ""},
		{"fold", app.PlanInput{At: "2027-10-31T02:30"}, "2027-10-31T00:30:00Z", "happens twice", "", ""},
		{"past", app.PlanInput{At: "2026-11-23T08:00"}, "", "", "plan.at", "choose a later time"},
		{"long past", app.PlanInput{At: "2025-11-23T08:00"}, "", "", "plan.at", "365 days in the past"},
		{"wrong year", app.PlanInput{At: "2062-11-23T08:00"}, "", "", "plan.at", "check the year"},
		{"bad zone", app.PlanInput{At: "2026-11-24T09:00", Zone: "Europe/Berlim"}, "", "", "plan.zone", "IANA name"},
		{"not a time", app.PlanInput{At: "tomorrow"}, "", "", "plan.at", "YYYY-MM-DDTHH:MM"},
		{"not a length", app.PlanInput{In: "soon"}, "", "", "plan.in", "10m"},
		{"two times", app.PlanInput{In: "10m", Now: true}, "", "", "plan", "exactly one"},
		{"none", app.PlanInput{}, "", "", "plan", "exactly one"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := w.app.CreatePost(t.Context(), w.owner, app.PostInput{Accounts: []string{"alice"}, Parts: []app.PartInput{{Text: tc.name}}, Plan: tc.plan}, "")
			if tc.utc == "" {
				wantCode(t, err, social.CodeInvalid, tc.field, tc.cure)
				return
			}
			check(t, err)
			if got := c.Post.Planned.UTC.Format(time.RFC3339); got != tc.utc {
				t.Errorf("planned at %s, want %s", got, tc.utc)
			}
			if strings.Contains(strings.Join(c.Notes, " "), tc.note) != (tc.note != "") && tc.note != "" {
				t.Errorf("notes %q do not say %q", c.Notes, tc.note)
			}
			if tc.note == "" && len(c.Notes) > 0 {
				t.Errorf("unexpected notes %q", c.Notes)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join("alice")
	w.join("bob")
	pics := []app.MediaRef{}
	for _, s := range []string{"1", "2", "3", "4", "5"} {
		m, err := w.app.ImportMedia(t.Context(), w.owner, app.MediaFile{Name: s + ".png", Body: strings.NewReader(s)})
		check(t, err)
		pics = append(pics, app.MediaRef{Hash: m.Hash, Alt: "a picture"})
	}
	long := strings.Repeat("too long ", 40)
	ok := app.PlanInput{At: "2026-11-24T09:00"}
	for _, tc := range []struct {
		name        string
		in          app.PostInput
		field, cure string
	}{
		{"no account", app.PostInput{Parts: []app.PartInput{{Text: "x"}}, Plan: ok}, "accounts", "fake/alice and fake/bob"},
		{"unknown account", app.PostInput{Accounts: []string{"carol"}, Parts: []app.PartInput{{Text: "x"}}, Plan: ok}, "accounts[0]", "fake/alice and fake/bob"},
		{"twice", app.PostInput{Accounts: []string{"alice", "fake/alice"}, Parts: []app.PartInput{{Text: "x"}}, Plan: ok}, "accounts[1]", "twice"},
		{"too long", app.PostInput{Accounts: []string{"alice"}, Parts: []app.PartInput{{Text: long}}, Plan: ok}, "parts[0].text", "shorten it"},
		{"five pictures", app.PostInput{Accounts: []string{"alice"}, Parts: []app.PartInput{{Text: "x", Media: pics}}, Plan: ok}, "parts[0].media", "4"},
		{"unknown file", app.PostInput{Accounts: []string{"alice"}, Parts: []app.PartInput{{Text: "x", Media: []app.MediaRef{{Hash: "beef"}}}}, Plan: ok}, "parts[0].media[0]", "import it first"},
		{"nothing", app.PostInput{Accounts: []string{"alice"}, Parts: []app.PartInput{{Text: " "}}, Plan: ok}, "parts[0].text", "write a text"},
		{"no parts", app.PostInput{Accounts: []string{"alice"}, Plan: ok}, "parts", "needs a text"},
		{"override of a stranger", app.PostInput{Accounts: []string{"alice"}, Parts: []app.PartInput{{Text: "x"}}, Overrides: []app.Override{{Account: "bob", Text: new("y")}}, Plan: ok}, "overrides[0].account", "not one of"},
		{"long override", app.PostInput{Accounts: []string{"alice"}, Parts: []app.PartInput{{Text: "x"}}, Overrides: []app.Override{{Account: "alice", Text: &long}}, Plan: ok}, "parts[0].text", "shorten it"},
		{"late policy", app.PostInput{Accounts: []string{"alice"}, Parts: []app.PartInput{{Text: "x"}}, LatePolicy: "maybe", Plan: ok}, "late_policy", "ask, publish or skip"},
		{"not after before", app.PostInput{Accounts: []string{"alice"}, Parts: []app.PartInput{{Text: "x"}}, NotAfter: "2026-11-24T08:00", Plan: ok}, "not_after", "later"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := w.app.CreatePost(t.Context(), w.owner, tc.in, "")
			wantCode(t, err, social.CodeInvalid, tc.field, tc.cure)
		})
	}
	// All that is wrong is said at once.
	_, err := w.app.CreatePost(t.Context(), w.owner, app.PostInput{Accounts: []string{"carol", "alice"}, Parts: []app.PartInput{{Text: long}}, Plan: app.PlanInput{At: "2025-01-01T00:00"}}, "")
	if r, ok := errors.AsType[*app.RefusedError](err); !ok || len(r.Findings) < 3 {
		t.Errorf("three mistakes gave %v", err)
	}
	if l, err := w.app.ListPosts(t.Context(), w.owner, app.PostQuery{}); err != nil || len(l.Posts) != 0 {
		t.Errorf("refused posts were stored: %v, %v", l.Posts, err)
	}
}

func TestOverridesAndTags(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join("alice")
	w.join("bob")
	c, err := w.app.CreatePost(t.Context(), w.owner, app.PostInput{
		Accounts: []string{"alice", "bob"}, Tags: []string{"Launch", "autumn", "launch"},
		Parts:     []app.PartInput{{Text: "for all"}, {Text: "second"}, {Role: social.RoleComment, Text: "a comment"}},
		Overrides: []app.Override{{Account: "bob", Text: new("for bob")}}, Plan: app.PlanInput{In: "1h"},
	}, "")
	check(t, err)
	if got := strings.Join(c.Post.Tags, " "); got != "autumn launch" {
		t.Errorf("tags are %q", got)
	}
	if c.Post.Status != "scheduled" || len(c.Post.Deliveries) != 2 || w.wakes == 0 {
		t.Fatalf("not planned: %+v", c.Post)
	}
	for _, d := range c.Post.Deliveries {
		switch {
		case d.AccountName == "fake/alice" && d.Own != nil:
			t.Errorf("alice has words of her own: %+v", d.Own)
		case d.AccountName == "fake/bob" && (len(d.Own) != 3 || d.Own[0].Text != "for bob" || d.Own[1].Text != "second"):
			t.Errorf("bob says %+v", d.Own)
		}
		if d.NextAt.After(d.PlannedAt) || d.PartsTotal != 3 {
			t.Errorf("delivery %+v", d)
		}
	}
	for tag, want := range map[string]int{"LAUNCH": 1, "spring": 0} {
		if l, err := w.app.ListPosts(t.Context(), w.owner, app.PostQuery{Tag: tag}); err != nil || len(l.Posts) != want {
			t.Errorf("tag %s has %d posts, %v", tag, len(l.Posts), err)
		}
	}
}

func TestRepetition(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join("alice")
	_, err := w.text("2026-11-24T09:00", "the same", "alice")
	check(t, err)
	_, err = w.text("2026-11-25T08:00", "the  same ", "alice")
	wantCode(t, err, social.CodeInvalid, "allow_repeat", "allow the repetition")
	_, err = w.text("2026-11-25T10:00", "the same", "alice") // more than a day later
	check(t, err)
	_, err = w.app.CreatePost(t.Context(), w.owner, app.PostInput{Accounts: []string{"alice"}, Parts: []app.PartInput{{Text: "the same"}}, Plan: app.PlanInput{At: "2026-11-24T10:00"}, AllowRepeat: true}, "")
	check(t, err)
}

func TestSameKeyPlansOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join("alice")
	in := app.PostInput{Accounts: []string{"alice"}, Parts: []app.PartInput{{Text: "once"}}, Plan: app.PlanInput{At: "2026-11-23T09:05"}}
	first, err := w.app.CreatePost(t.Context(), w.owner, in, "key-1")
	check(t, err)
	w.advance(time.Hour) // the planned time has passed: the answer is the same all the same
	again, err := w.app.CreatePost(t.Context(), w.owner, in, "key-1")
	check(t, err)
	if again.Post.ID != first.Post.ID || !again.Replayed {
		t.Errorf("the repetition made %s beside %s", again.Post.ID, first.Post.ID)
	}
	in.Parts[0].Text = "another"
	_, err = w.app.CreatePost(t.Context(), w.owner, in, "key-1")
	wantCode(t, err, social.CodeInvalid, "Idempotency-Key", "new key")
	if l, err := w.app.ListPosts(t.Context(), w.owner, app.PostQuery{}); err != nil || len(l.Posts) != 1 {
		t.Errorf("there are %d posts, %v", len(l.Posts), err)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join("alice")
	for _, s := range []string{"one", "two", "three", "four", "five"} {
		_, err := w.app.CreatePost(t.Context(), w.owner, app.PostInput{Accounts: []string{"alice"}, Parts: []app.PartInput{{Text: s}}, Plan: app.PlanInput{At: "2026-11-24T09:00"}}, "")
		check(t, err)
	}
	for _, asc := range []bool{false, true} {
		seen := map[social.ID]bool{}
		q := app.PostQuery{Limit: 2, Ascending: asc}
		for {
			l, err := w.app.ListPosts(t.Context(), w.owner, q)
			check(t, err)
			for _, p := range l.Posts {
				if seen[p.ID] {
					t.Errorf("post %s is on two pages", p.ID)
				}
				seen[p.ID] = true
			}
			if q.After = l.Next; l.Next == "" {
				break
			}
		}
		if len(seen) != 5 {
			t.Errorf("the pages have %d posts", len(seen))
		}
	}
	_, err := w.app.ListPosts(t.Context(), w.owner, app.PostQuery{After: "nonsense"})
	wantCode(t, err, social.CodeInvalid, "after", "next")
}

func TestCancelEditDecide(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join("alice")
	w.join("bob")
	c, err := w.text("2026-11-24T09:00", "draft", "alice", "bob")
	check(t, err)
	id := c.Post.ID.String()

	edited, err := w.app.EditPost(t.Context(), w.owner, id, app.EditInput{Rev: 1, Parts: []app.PartInput{{Text: "better"}}, Plan: &app.PlanInput{At: "2026-11-24T11:00"}})
	check(t, err)
	if edited.Post.Rev != 2 || edited.Post.Planned.Local != "2026-11-24T11:00:00" || edited.Post.Deliveries[0].Own != nil {
		t.Errorf("edited: %+v", edited.Post)
	}
	_, err = w.app.EditPost(t.Context(), w.owner, id, app.EditInput{Rev: 1, Parts: []app.PartInput{{Text: "older"}}})
	wantCode(t, err, social.CodeConflict, "rev", "look at it again")

	part, err := w.app.CancelPost(t.Context(), w.owner, id, "bob")
	check(t, err)
	if part.Cancelled != 1 || part.Post.Status != "scheduled" {
		t.Errorf("cancelling bob's: %+v", part)
	}
	for range 2 { // the second time it is cancelled already
		all, err := w.app.CancelPost(t.Context(), w.owner, id, "")
		check(t, err)
		if all.Cancelled != 2 || all.Post.Status != "cancelled" {
			t.Errorf("cancelling all: %+v", all)
		}
	}
	_, err = w.app.EditPost(t.Context(), w.owner, id, app.EditInput{Rev: 2, Parts: []app.PartInput{{Text: "too late"}}})
	wantCode(t, err, social.CodeConflict, "id", "cancelled")

	// A delivery that is being sent can be neither edited nor cancelled.
	c, err = w.text("2026-11-24T15:00", "on the wire", "alice")
	check(t, err)
	seeds := storetest.Seed(t, w.store)
	d := c.Post.Deliveries[0]
	seeds.Exec(`UPDATE delivery SET state = 'armed' WHERE id = $1`, int64(d.ID))
	_, err = w.app.CancelPost(t.Context(), w.owner, c.Post.ID.String(), "")
	wantCode(t, err, social.CodeConflict, "delivery", "too late")
	_, err = w.app.EditPost(t.Context(), w.owner, c.Post.ID.String(), app.EditInput{Rev: 1, Parts: []app.PartInput{{Text: "no"}}})
	wantCode(t, err, social.CodeConflict, "post", "being sent")
	if p, err := w.app.GetPost(t.Context(), w.owner, c.Post.ID.String()); err != nil || p.Parts[0].Text != "on the wire" || p.Rev != 1 {
		t.Errorf("a refused edit changed the post: %+v, %v", p, err)
	}

	// Nobody knows: found is read back from the network and compared.
	seeds.Exec(`UPDATE delivery SET state = 'needs_human' WHERE id = $1`, int64(d.ID))
	alice := w.net.Account("alice")
	wrong := alice.Write("something else", "")
	right := alice.Write("on the wire", "")
	_, err = w.app.Decide(t.Context(), w.owner, d.ID.String(), app.Decision{})
	wantCode(t, err, social.CodeInvalid, "answer", "found")
	_, err = w.app.Decide(t.Context(), w.owner, d.ID.String(), app.Decision{Answer: "found", Ref: wrong})
	wantCode(t, err, social.CodeInvalid, "ref", "something else")
	p, err := w.app.Decide(t.Context(), w.owner, d.ID.String(), app.Decision{Answer: "found", Ref: right})
	check(t, err)
	if p.Status != "published" || p.Deliveries[0].RemoteID != right {
		t.Errorf("after found: %+v", p)
	}
	_, err = w.app.Decide(t.Context(), w.owner, d.ID.String(), app.Decision{Answer: "resend"})
	wantCode(t, err, social.CodeConflict, "id", "nothing to decide")

	// What is held because it is late goes out by a person's word alone.
	c, err = w.text("2026-11-24T17:00", "held", "alice")
	check(t, err)
	held := c.Post.Deliveries[0].ID.String()
	seeds.Exec(`UPDATE delivery SET state = 'held_late', next_at = 0 WHERE id = $1`, int64(c.Post.Deliveries[0].ID))
	_, err = w.app.Decide(t.Context(), w.owner, held, app.Decision{})
	wantCode(t, err, social.CodeInvalid, "answer", "publish")
	if p, err = w.app.GetPost(t.Context(), w.owner, held); err != nil || p.Deliveries[0].State != social.HeldLate {
		t.Errorf("asking without an answer changed it: %+v, %v", p.Deliveries, err)
	}
	p, err = w.app.Decide(t.Context(), w.owner, held, app.Decision{Answer: "publish"})
	check(t, err)
	if p.Deliveries[0].State != social.Scheduled {
		t.Errorf("after publish: %+v", p.Deliveries[0])
	}

	// Failed ones are planned again.
	c, err = w.text("2026-11-24T18:00", "failed", "alice")
	check(t, err)
	seeds.Exec(`UPDATE delivery SET state = 'failed', next_at = 0 WHERE id = $1`, int64(c.Post.Deliveries[0].ID))
	p, err = w.app.Decide(t.Context(), w.owner, c.Post.ID.String(), app.Decision{Answer: "plan", Plan: &app.PlanInput{In: "2h"}})
	check(t, err)
	if p.Status != "scheduled" || !p.Deliveries[0].PlannedAt.Equal(w.clock().Add(2*time.Hour)) {
		t.Errorf("after plan: %+v", p.Deliveries[0])
	}
}

func TestRemoveAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join("alice")
	c, err := w.text("2026-11-24T09:00", "waits", "alice")
	check(t, err)
	_, err = w.app.RemoveAccount(t.Context(), w.owner, "alice", false)
	wantCode(t, err, social.CodeConflict, "force", "1 post is waiting")
	r, err := w.app.RemoveAccount(t.Context(), w.owner, "alice", true)
	check(t, err)
	if r.Cancelled != 1 || !r.Revoked {
		t.Errorf("removal %+v", r)
	}
	p, err := w.app.GetPost(t.Context(), w.owner, c.Post.ID.String())
	check(t, err)
	if p.Status != "cancelled" {
		t.Errorf("its post is %s", p.Status)
	}
	if n := storetest.Seed(t, w.store).Text(`SELECT COUNT(*) FROM grant_row WHERE length(sealed) > 0`); n != "0" {
		t.Errorf("%s logins are still stored", n)
	}
	// It can be connected anew, as another row.
	c2, err := w.app.StartConnect(t.Context(), w.owner, app.ConnectRequest{Network: "fake", Method: "oauth"})
	check(t, err)
	q, err := w.net.Consent(c2.AuthURL, "alice")
	check(t, err)
	done, err := w.app.FinishOAuth(t.Context(), q)
	check(t, err)
	if done.Account.ID == r.Account.ID {
		t.Error("the removed row was taken up again")
	}
}

// TestOtherWorkspace proves that ids of one workspace are nothing in another.
func TestOtherWorkspace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acc := w.join("alice")
	c, err := w.text("2026-11-24T09:00", "private", "alice")
	check(t, err)
	ws, err := w.store.EnsureWorkspace(t.Context(), "Other", "UTC")
	check(t, err)
	stranger := app.Actor{Name: "stranger", Kind: "cli", Workspace: ws.ID, Roles: []app.Role{app.Owner}}
	for name, call := range map[string]func() error{
		"show": func() error { _, err := w.app.GetPost(t.Context(), stranger, c.Post.ID.String()); return err },
		"show delivery": func() error {
			_, err := w.app.GetPost(t.Context(), stranger, c.Post.Deliveries[0].ID.String())
			return err
		},
		"cancel": func() error { _, err := w.app.CancelPost(t.Context(), stranger, c.Post.ID.String(), ""); return err },
		"edit": func() error {
			_, err := w.app.EditPost(t.Context(), stranger, c.Post.ID.String(), app.EditInput{Rev: 1})
			return err
		},
		"decide": func() error {
			_, err := w.app.Decide(t.Context(), stranger, c.Post.ID.String(), app.Decision{})
			return err
		},
		"account": func() error { _, err := w.app.GetAccount(t.Context(), stranger, acc.ID.String()); return err },
		"check":   func() error { _, err := w.app.CheckAccount(t.Context(), stranger, acc.ID.String()); return err },
		"remove":  func() error { _, err := w.app.RemoveAccount(t.Context(), stranger, acc.ID.String(), true); return err },
		"pause": func() error {
			_, err := w.app.SetPaused(t.Context(), stranger, app.PauseInput{Account: acc.ID.String()}, true)
			return err
		},
		"post as theirs": func() error {
			_, err := w.app.CreatePost(t.Context(), stranger, app.PostInput{Accounts: []string{acc.ID.String()}, Parts: []app.PartInput{{Text: "x"}}, Plan: app.PlanInput{Now: true}}, "")
			return err
		},
	} {
		if code := social.CodeOf(call()); code != social.CodeNotFound && code != social.CodeInvalid {
			t.Errorf("%s: a stranger got %q", name, code)
		}
	}
	if _, err := w.app.ListPosts(t.Context(), app.Actor{Name: "nobody", Workspace: ws.ID}, app.PostQuery{}); social.CodeOf(err) != social.CodeForbidden {
		t.Errorf("an actor without a role got %v", err)
	}
	if p, err := w.app.GetPost(t.Context(), w.owner, c.Post.ID.String()); err != nil || p.Status != "scheduled" {
		t.Errorf("the post is now %+v, %v", p, err)
	}
}

func TestCheckAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join("alice")
	w.net.Account("alice").Rename("alice2")
	r, err := w.app.CheckAccount(t.Context(), w.owner, "alice")
	check(t, err)
	if !r.OK || r.Account.Handle != "alice2" {
		t.Errorf("check %+v", r)
	}
	// An account that works blocks no post.
	c, err := w.text("2026-11-24T09:00", "blocked", "alice2")
	check(t, err)
	_, err = w.store.WriterDB().ExecContext(t.Context(), `UPDATE delivery SET state = 'blocked', next_at = 0`)
	check(t, err)
	r, err = w.app.CheckAccount(t.Context(), w.owner, "alice2")
	check(t, err)
	if p, err := w.app.GetPost(t.Context(), w.owner, c.Post.ID.String()); err != nil || p.Status != "scheduled" || !strings.Contains(r.Text, "tried again: 1") {
		t.Errorf("after the check (%s) the post is %s, %v", r.Text, p.Status, err)
	}
	w.net.Account("alice").RevokeAll()
	r, err = w.app.CheckAccount(t.Context(), w.owner, "alice2")
	check(t, err)
	if r.OK || r.Text == "" {
		t.Errorf("a dead login is called fine: %+v", r)
	}
}

func TestPauseAndStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.join("alice")
	_, err := w.text("2026-11-24T09:00", "waits", "alice")
	check(t, err)
	for _, in := range []app.PauseInput{{}, {All: true}, {Account: "alice"}} {
		r, err := w.app.SetPaused(t.Context(), w.owner, in, true)
		check(t, err)
		if !r.Paused || r.Text == "" {
			t.Errorf("%+v gave %+v", in, r)
		}
	}
	s, err := w.app.Status(t.Context(), w.owner)
	check(t, err)
	if !s.Paused || !s.Workspace.Paused || s.Deliveries[social.Scheduled] != 1 || s.NextDue.IsZero() {
		t.Errorf("status %+v", s)
	}
	caps, err := w.app.Capabilities(t.Context(), w.owner)
	check(t, err)
	if len(caps) != 1 || !caps[0].Verbs.Publish || len(caps[0].Join) != 2 {
		t.Errorf("capabilities %+v", caps)
	}
}

// wantCode checks that an error is of a code, names a field and says the cure.
func wantCode(t *testing.T, err error, code social.Code, field, cure string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error; want %s at %s", code, field)
		return
	}
	found := []social.Error{}
	if r, ok := errors.AsType[*app.RefusedError](err); ok {
		for _, f := range r.Findings {
			found = append(found, social.Error{Code: social.CodeInvalid, Field: f.Field, Text: f.Text})
		}
	} else if e, ok := errors.AsType[*social.Error](err); ok {
		found = append(found, *e)
	}
	for _, e := range found {
		if e.Code == code && e.Field == field && strings.Contains(e.Text, cure) {
			return
		}
	}
	t.Errorf("got %v (%s)\nwant %s at %q saying %q", err, social.CodeOf(err), code, field, cure)
}
