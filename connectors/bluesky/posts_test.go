package bluesky_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/bluesky/blueskysim"
	"smi/connectors/internal/simkit"
	"smi/internal/social"
)

func TestDeleteAndList(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	cl := w.client(w.login())
	var receipts []connectors.Receipt
	for i := range 3 {
		j := w.job(social.Part{Text: fmt.Sprint("number ", i)})
		j.Planned = w.now.Now()
		receipts = append(receipts, w.publish(cl, j))
		w.now.Add(30 * time.Minute)
	}
	page, err := cl.List(t.Context(), start.Add(time.Minute), "")
	if err != nil || len(page.Posts) != 2 || page.Posts[0].Text != "number 2" {
		t.Fatalf("page is %+v, %v", page, err)
	}
	next, err := cl.List(t.Context(), start.Add(time.Minute), page.Next)
	if err != nil || len(next.Posts) != 0 || next.Next != "" {
		t.Fatalf("second page is %+v, %v", next, err)
	}
	for range 2 { // deleting what is gone is no error
		if err := cl.Delete(t.Context(), receipts[1]); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(w.sim.Posts(w.did)); n != 2 {
		t.Errorf("%d posts are left", n)
	}
	_, err = cl.Get(t.Context(), receipts[1].RemoteID)
	if e := connectors.AsError(err); e == nil || e.Kind != connectors.Invalid || e.Status != http.StatusNotFound {
		t.Errorf("reading a deleted post: %+v", e)
	}
	bob := w.sim.AddAccount(blueskysim.Account{Handle: "bob.test"})
	if err := cl.Delete(t.Context(), connectors.Receipt{RemoteID: "at://" + bob + "/app.bsky.feed.post/3aaaaaaaaaa2a"}); connectors.KindOf(err) != connectors.Invalid {
		t.Errorf("deleting another's post: %v", err)
	}
}

func TestInsights(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	cl := w.client(w.login())
	var rs []connectors.Receipt
	for i := range 27 {
		rs = append(rs, w.publish(cl, w.job(social.Part{Text: fmt.Sprint(i)})))
	}
	w.sim.Like(rs[0].RemoteID, 5)
	w.sim.Repost(rs[0].RemoteID, 2)
	w.sim.Quote(rs[0].RemoteID, 1)
	w.sim.Bookmark(rs[26].RemoteID, 9)
	w.sim.RemovePost(w.did, rkeyOf(rs[3]))
	got, err := cl.PostInsights(t.Context(), rs)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Raw) != 2 || len(got.Gone) != 1 || got.Gone[0] != rs[3].RemoteID || len(got.Observations) != 26*5 {
		t.Fatalf("%d answers, %v gone, %d numbers", len(got.Raw), got.Gone, len(got.Observations))
	}
	want := map[social.Metric]int64{social.Likes: 5, social.Shares: 2, social.Quotes: 1, social.Comments: 0, social.Saves: 0}
	for _, o := range got.Observations {
		if o.RemoteID == rs[0].RemoteID && o.Value != want[o.Metric] {
			t.Errorf("%s is %d", o.Metric, o.Value)
		}
		if o.RemoteID == rs[26].RemoteID && o.Metric == social.Saves && (o.Value != 9 || o.Raw != 1 || o.Window != social.Lifetime) {
			t.Errorf("observation %+v", o)
		}
	}
	// A number that is not said is not zero, and a post that only the AppView
	// does not know is not gone.
	w.sim.Kit.Script.Add(simkit.Fault{Path: "/xrpc/app.bsky.feed.getPosts", Nth: 1, Do: simkit.Status(200, nil, `{"posts":[{"uri":"`+rs[0].RemoteID+`","likeCount":6}]}`)})
	got, err = cl.PostInsights(t.Context(), rs[:2])
	if err != nil || len(got.Observations) != 1 || got.Observations[0].Value != 6 || len(got.Gone) != 0 {
		t.Errorf("reading is %+v, %v", got, err)
	}
	acc, err := cl.AccountInsights(t.Context(), start, start)
	if err != nil || len(acc.Observations) != 3 {
		t.Fatalf("reading is %+v, %v", acc, err)
	}
	for i, want := range []int64{7, 3, 26} {
		if o := acc.Observations[i]; o.Value != want || o.Window != social.Instant || o.RemoteID != w.did {
			t.Errorf("observation %+v, want %d", o, want)
		}
	}
}

func TestWithoutAppView(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{sim: func(o *blueskysim.Options) { o.NoAppView = true }})
	cl := w.client(w.login())
	r := w.publish(cl, w.job(social.Part{Text: "no numbers here"}))
	if _, err := cl.PostInsights(t.Context(), []connectors.Receipt{r}); connectors.KindOf(err) != connectors.Transient {
		t.Errorf("reading numbers: %v", err)
	}
	if page, err := cl.List(t.Context(), start, ""); err != nil || len(page.Posts) != 1 {
		t.Errorf("the list needs no AppView: %+v, %v", page, err)
	}
}

func rkeyOf(r connectors.Receipt) string { return r.RemoteID[strings.LastIndex(r.RemoteID, "/")+1:] }
