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
