package storetest

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smi/connectors"
	"smi/internal/insights"
	"smi/internal/social"
	"smi/scheduler"
	"smi/store"
)

// metrics proves that numbers are stored as the network said them, once, with
// where they came from.
func metrics(t *testing.T, open Opener) {
	at := time.Date(2026, 11, 23, 2, 30, 0, 0, time.UTC)
	day := social.DateOf(at, time.UTC)
	setup := func(t *testing.T) (*Seeds, social.Account, func(r social.Reading) int) {
		s := open(t)
		d := Seed(t, s)
		a := d.Account(d.Workspace().ID)
		page := connectors.Page{Posts: []connectors.RemotePost{
			{Receipt: connectors.Receipt{RemoteID: "p1", URL: "https://x.example/p1", PublishedAt: at.Add(-2 * time.Hour)}, Text: "one"},
			{Receipt: connectors.Receipt{RemoteID: "p2", PublishedAt: at.Add(-900 * time.Hour)}, Text: "two", Media: []social.MediaKind{social.Image}},
		}}
		for range 2 { // a listing that comes twice changes nothing
			if err := s.SavePosts(t.Context(), scheduler.SyncRun{}, a, page); err != nil {
				t.Fatal(err)
			}
		}
		if n := d.Text(`SELECT count(*) FROM remote_post`); n != "2" {
			t.Fatalf("%s posts are known, want 2", n)
		}
		return d, a, func(r social.Reading) int {
			t.Helper()
			n, err := s.SaveNumbers(t.Context(), scheduler.SyncRun{}, a, r)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	reading := func(likes, followers int64) social.Reading {
		return social.Reading{
			Raw: []social.RawAnswer{{Op: "getPosts", APIVersion: "v1", At: at, Body: []byte(`{"posts":[]}`)}},
			Observations: []social.Observation{
				{Subject: social.OfPost, RemoteID: "p1", Metric: social.Likes, Value: likes, Window: social.Lifetime, At: at, Name: "likeCount"},
				{Subject: social.OfPost, RemoteID: "p1", Metric: social.Comments, Value: 0, Window: social.Lifetime, At: at, Name: "replyCount"},
				{Subject: social.OfPost, RemoteID: "stranger", Metric: social.Likes, Value: 99, Window: social.Lifetime, At: at, Name: "likeCount"},
				{Subject: social.OfAccount, RemoteID: "did", Metric: social.Followers, Value: followers, Window: social.Instant, At: at, Name: "followersCount"},
				{Subject: social.OfAccount, RemoteID: "did", Metric: "rare_thing", Value: 7, Window: social.Instant, At: at, Name: "rareThing"},
			},
		}
	}

	t.Run("again changes nothing", func(t *testing.T) {
		d, a, save := setup(t)
		if n := save(reading(5, 100)); n != 4 {
			t.Errorf("%d values were set, want 4 (the stranger's is none of ours)", n)
		}
		before, err := d.s.NumbersOfAccount(t.Context(), a.ID, day-10, day+10)
		if err != nil {
			t.Fatal(err)
		}
		save(reading(5, 100))
		after, err := d.s.NumbersOfAccount(t.Context(), a.ID, day-10, day+10)
		if err != nil {
			t.Fatal(err)
		}
		for i := range before {
			before[i].Read, after[i].Read = time.Time{}, time.Time{}
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Error(diff)
		}
		want := []store.AccountDay{{Day: social.DayStart(day), Source: "network", Numbers: insights.Numbers{social.Followers: 100, "rare_thing": 7}}}
		if diff := cmp.Diff(want, after); diff != "" {
			t.Error(diff)
		}
		if n := d.Text(`SELECT count(*) FROM post_day`); n != "1" {
			t.Errorf("%s rows of one post and day, want 1", n)
		}
	})

	t.Run("unsaid is not zero, and does not erase", func(t *testing.T) {
		d, _, save := setup(t)
		save(reading(5, 100))
		r := reading(6, 101)
		r.Observations = r.Observations[:1] // the comments are missing this time
		save(r)
		if got := d.Text(`SELECT likes || '/' || comments || '/' || COALESCE(CAST(views AS TEXT), 'unknown') FROM post_day`); got != "6/0/unknown" {
			t.Errorf("got %s, want 6/0/unknown", got)
		}
	})

	t.Run("a value can be traced to the answer", func(t *testing.T) {
		d, _, save := setup(t)
		save(reading(5, 100))
		var id int64
		if err := d.s.WriterDB().QueryRowContext(t.Context(), `SELECT raw_id FROM post_day`).Scan(&id); err != nil {
			t.Fatal(err)
		}
		raw, err := d.s.RawAnswer(t.Context(), social.ID(id))
		if err != nil {
			t.Fatal(err)
		}
		want := social.RawAnswer{Op: "getPosts", APIVersion: "v1", At: at, Body: []byte(`{"posts":[]}`)}
		if diff := cmp.Diff(want, raw); diff != "" {
			t.Error(diff)
		}
		if names := d.Text(`SELECT names FROM raw_answer`); names != `{"comments":{"name":"replyCount","window":"lifetime"},"followers":{"name":"followersCount","window":"instant"},"likes":{"name":"likeCount","window":"lifetime"},"rare_thing":{"name":"rareThing","window":"instant"}}` {
			t.Errorf("the network's names are %s", names)
		}
	})

	t.Run("so can a value of the account", func(t *testing.T) {
		d, a, save := setup(t)
		save(reading(5, 100))
		last := reading(5, 101) // of the same day, in an answer of its own
		last.Raw = append(last.Raw, social.RawAnswer{Op: "getProfile", APIVersion: "v2", At: at.Add(time.Hour), Body: []byte(`{"followersCount":101}`)})
		last.Observations = last.Observations[3:4]
		last.Observations[0].Raw = 1
		save(last)
		var id, followers int64
		if err := d.s.WriterDB().QueryRowContext(t.Context(), `SELECT raw_id, followers FROM account_day WHERE account_id = $1 AND source = 'network'`, int64(a.ID)).Scan(&id, &followers); err != nil {
			t.Fatal(err)
		}
		raw, err := d.s.RawAnswer(t.Context(), social.ID(id))
		if err != nil || followers != 101 || raw.Op != "getProfile" || string(raw.Body) != `{"followersCount":101}` || !raw.At.Equal(at.Add(time.Hour)) {
			t.Errorf("%d followers come from %+v, %v", followers, raw, err)
		}
		if names := d.Text(`SELECT names FROM raw_answer WHERE id = $1`, id); names != `{"followers":{"name":"followersCount","window":"instant"}}` {
			t.Errorf("the network's names are %s", names)
		}
	})

	t.Run("an answer without an end is cut", func(t *testing.T) {
		d, a, _ := setup(t)
		if _, err := d.s.SaveNumbers(t.Context(), scheduler.SyncRun{}, a, social.Reading{Raw: []social.RawAnswer{{Op: "endless", At: at, Body: make([]byte, 32<<20)}}}); err != nil {
			t.Fatal(err)
		}
		raw, err := d.s.RawAnswer(t.Context(), social.ID(d.number(`SELECT id FROM raw_answer`)))
		if err != nil || len(raw.Body) != 4<<20 {
			t.Errorf("%d bytes are kept, %v; want 4 MiB", len(raw.Body), err)
		}
	})

	t.Run("an observation of no answer is refused", func(t *testing.T) {
		d, a, _ := setup(t)
		r := reading(5, 100)
		r.Observations[1].Raw = 1
		if _, err := d.s.SaveNumbers(t.Context(), scheduler.SyncRun{}, a, r); err == nil {
			t.Error("a value that cannot be traced was stored")
		}
		if n := d.Text(`SELECT count(*) FROM post_day`); n != "0" {
			t.Errorf("%s rows of a reading that was refused", n)
		}
	})

	t.Run("a listing forgets nothing, and finds out whose a post is", func(t *testing.T) {
		d, a, _ := setup(t)
		list := func(state string) {
			t.Helper()
			r := connectors.Receipt{RemoteID: "p1", URL: "https://x.example/new", PublishedAt: at.Add(-2 * time.Hour)}
			if state != "" {
				r.State = []byte(state)
			}
			if err := d.s.SavePosts(t.Context(), scheduler.SyncRun{}, a, connectors.Page{Posts: []connectors.RemotePost{{Receipt: r, Text: "one"}}}); err != nil {
				t.Fatal(err)
			}
		}
		row := func() string {
			return d.Text(`SELECT url || ' ' || receipt || ' ' || CASE WHEN delivery_id <> 0 THEN 'ours' ELSE 'not ours' END FROM remote_post WHERE remote_id = 'p1'`)
		}
		list(`{"cid":"a"}`)
		list("") // as another endpoint lists it
		if got, want := row(), `https://x.example/new {"remote_id":"p1","url":"https://x.example/new","published_at":"2026-11-23T00:30:00Z","state":{"cid":"a"}} not ours`; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		// The outcome of our own attempt becomes known only now.
		v := d.Delivery(d.Post(a.WorkspaceID, at), a)
		d.Exec(`INSERT INTO attempt (id, delivery_id, account_id, step, n, class, epoch, node, armed_at, send_by, takeover_at, token_gen, req_hash, fp, state, remote_id, receipt, decided_at)
			VALUES ($1, $2, $3, 0, 1, 'unkeyed', 1, 'n', $4, $4, $4, 1, 'h', 'f', 'adopted', 'p1', '{"remote_id":"p1"}', $4)`, int64(d.ID()), int64(v.ID), int64(a.ID), at.UnixMilli())
		if _, err := d.s.PostsToRead(t.Context(), a.ID, at.Add(-1000*time.Hour), 0, 10); err != nil {
			t.Fatal(err)
		}
		if got := d.Text(`SELECT delivery_id FROM remote_post WHERE remote_id = 'p1'`); got != d.Text(`SELECT id FROM delivery`) {
			t.Errorf("the post belongs to delivery %s, want %s", got, v.ID)
		}
	})

	t.Run("what has ended stays ended", func(t *testing.T) {
		d, a, _ := setup(t)
		id, err := d.s.PlanSync(t.Context(), a.ID, day, func(context.Context, *sql.Tx, social.ID) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		end := func(state scheduler.SyncState, n *scheduler.Notice) {
			t.Helper()
			if err := d.s.EndTry(t.Context(), scheduler.SyncRun{ID: id, Account: a.ID, State: state}, n, at); err != nil {
				t.Fatal(err)
			}
		}
		end(scheduler.SyncDone, nil)
		end(scheduler.SyncPartial, nil) // a second worker on the same run, which came later
		end(scheduler.SyncFailed, &scheduler.Notice{Kind: "sync_failed", Severity: "warning", Account: a.ID, Text: "x"})
		if got := d.Text(`SELECT state || ' ' || (SELECT count(*) FROM outbox) FROM sync_run`); got != "done 0" {
			t.Errorf("got %s notices, want done and none", got)
		}
	})

	t.Run("gone posts are asked for no more", func(t *testing.T) {
		d, a, save := setup(t)
		ask := func() int {
			known, err := d.s.PostsToRead(t.Context(), a.ID, at.Add(-1000*time.Hour), 0, 10)
			if err != nil {
				t.Fatal(err)
			}
			return len(known)
		}
		if n := ask(); n != 2 {
			t.Fatalf("%d posts to read, want 2", n)
		}
		save(social.Reading{Gone: []string{"p2"}})
		if n := ask(); n != 1 {
			t.Errorf("%d posts to read after one is gone, want 1", n)
		}
	})

	t.Run("one run a night, whoever plans it", func(t *testing.T) {
		d, a, _ := setup(t)
		queued := 0
		plan := func(date int) int {
			t.Helper()
			n, err := d.s.PlanNightly(t.Context(), a.WorkspaceID, date, func(context.Context, *sql.Tx, social.ID) error { queued++; return nil })
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := plan(day); n != 1 {
			t.Fatalf("%d runs planned, want 1", n)
		}
		if n := plan(day); n != 0 || queued != 1 {
			t.Errorf("planned again: %d new runs, %d queued; want 0 and 1", n, queued)
		}
		if n := plan(day + 1); n != 1 {
			t.Errorf("the next night: %d runs, want 1", n)
		}
	})
}

// number returns the first column of the first row of a query.
func (d *Seeds) number(query string, args ...any) (n int64) {
	d.t.Helper()
	if err := d.s.WriterDB().QueryRowContext(d.t.Context(), query, args...).Scan(&n); err != nil {
		d.t.Fatalf("%s: %v", query, err)
	}
	return n
}
