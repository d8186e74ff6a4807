package youtube_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/internal/simkit"
	"smi/connectors/youtube"
	"smi/connectors/youtube/youtubesim"
	"smi/internal/social"
)

func day(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return t
}

func value(r social.Reading, id string, m social.Metric, w social.Window, d time.Time) (int64, bool) {
	for _, o := range r.Observations {
		if o.RemoteID == id && o.Metric == m && o.Window == w && o.Day.Equal(d) {
			return o.Value, true
		}
	}
	return 0, false
}

func TestAccountInsights(t *testing.T) {
	w := newWorld(t, setting{sim: youtubesim.Options{Rounded: true}})
	w.sim.SetSubscribers(w.channel, 123_456)
	w.sim.Write(w.channel, "one")
	w.sim.SetDay(w.channel, "2026-11-20", map[string]any{"views": 100, "likes": 5, "comments": 0, "shares": 2, "subscribersGained": 3, "estimatedMinutesWatched": 7})
	w.sim.SetDay(w.channel, "2026-11-21", map[string]any{"views": int64(9007199254740993 >> 8), "likes": nil}) // late: not all is there yet
	w.sim.SetDay(w.channel, "2026-11-10", map[string]any{"views": 1})                                          // not asked for
	r, err := w.client().AccountInsights(t.Context(), day("2026-11-18"), day("2026-11-24"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		m    social.Metric
		w    social.Window
		day  time.Time
		want int64
	}{
		{social.Followers, social.Instant, time.Time{}, 123_000},
		{social.Posts, social.Instant, time.Time{}, 1},
		{social.Views, social.Day, day("2026-11-20"), 100},
		{social.Likes, social.Day, day("2026-11-20"), 5},
		{social.Comments, social.Day, day("2026-11-20"), 0},
		{social.Shares, social.Day, day("2026-11-20"), 2},
		{social.Gained, social.Day, day("2026-11-20"), 3},
		{social.WatchMS, social.Day, day("2026-11-20"), 420_000},
		{social.Views, social.Day, day("2026-11-21"), 9007199254740993 >> 8},
	} {
		if got, ok := value(r, w.channel, c.m, c.w, c.day); !ok || got != c.want {
			t.Errorf("%s of %v is %d (%v), want %d", c.m, c.day, got, ok, c.want)
		}
	}
	if len(r.Observations) != 9 {
		t.Errorf("there are %d numbers: what was not said is unknown", len(r.Observations))
	}
	if len(r.Raw) != 2 || r.Raw[0].APIVersion != "v3" || r.Raw[1].APIVersion != "v2" || r.Observations[len(r.Observations)-1].Raw != 1 {
		t.Errorf("the answers are %+v", r.Raw)
	}
	w.sim.Hide("subscriberCount")
	r, err = w.client().AccountInsights(t.Context(), day("2026-11-18"), day("2026-11-24"))
	if _, ok := value(r, w.channel, social.Followers, social.Instant, time.Time{}); ok || err != nil {
		t.Errorf("hidden subscribers have a number, %v", err)
	}
}

func TestPostInsights(t *testing.T) {
	for name, batch := range map[string]bool{"by batchGetStats": true, "by videos.list": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setting{cfg: func(c *youtube.Config) { c.BatchStats = batch }})
			a, b, gone := w.sim.Write(w.channel, "a"), w.sim.Write(w.channel, "b"), w.sim.Write(w.channel, "gone")
			const most = 1<<62 + 1 // a float would lose its end
			w.sim.SetCount(a, "viewCount", most)
			w.sim.SetTotals(a, map[string]any{"shares": 4, "subscribersGained": 2, "estimatedMinutesWatched": 10})
			w.sim.Remove(gone)
			w.sim.Omit(b) // the counts are behind; the video is there
			r, err := w.client().PostInsights(t.Context(), []connectors.Receipt{{RemoteID: a}, {RemoteID: b}, {RemoteID: gone}, {RemoteID: a}})
			if err != nil {
				t.Fatal(err)
			}
			for m, want := range map[social.Metric]int64{social.Views: most, social.Likes: 0, social.Comments: 0, social.Shares: 4, social.Gained: 2, social.WatchMS: 600_000} {
				if got, ok := value(r, a, m, social.Lifetime, time.Time{}); !ok || got != want {
					t.Errorf("%s is %d (%v), want %d", m, got, ok, want)
				}
			}
			if _, ok := value(r, b, social.Shares, social.Lifetime, time.Time{}); ok {
				t.Error("shares that nobody told have a number")
			}
			if !slices.Equal(r.Gone, []string{gone}) {
				t.Errorf("gone are %v, want %s", r.Gone, gone)
			}
			want := "/youtube/v3/videos:batchGetStats"
			if n := w.sim.Kit.Requests.Count(http.MethodGet, want); (n == 1) != batch {
				t.Errorf("%s was asked %d times", want, n)
			}
		})
	}
}

// TestNoAnalytics: a login without its right, and a project in which it is
// switched off, have no numbers from there and all others.
func TestNoAnalytics(t *testing.T) {
	for _, reason := range []string{"insufficientPermissions", "accessNotConfigured", "forbidden"} {
		w := newWorld(t, setting{})
		w.always(http.MethodGet, "/v2/reports", googleError(403, reason))
		id := w.sim.Write(w.channel, "a")
		r, err := w.client().PostInsights(t.Context(), []connectors.Receipt{{RemoteID: id}})
		if err != nil || len(r.Observations) != 3 {
			t.Errorf("%s: %d numbers, %v", reason, len(r.Observations), err)
		}
		if !strings.Contains(w.log.String(), "numbers are unknown") {
			t.Errorf("%s: nobody is told", reason)
		}
	}
	w := newWorld(t, setting{})
	w.always(http.MethodGet, "/v2/reports", googleError(400, "badRequest"))
	id := w.sim.Write(w.channel, "a")
	if r, err := w.client().PostInsights(t.Context(), []connectors.Receipt{{RemoteID: id}}); err != nil || len(r.Observations) != 3 {
		t.Errorf("a question that is not supported: %d numbers, %v", len(r.Observations), err)
	}
	w = newWorld(t, setting{})
	w.always(http.MethodGet, "/v2/reports", googleError(503, "backendError"))
	_, err := w.client().AccountInsights(t.Context(), day("2026-11-18"), day("2026-11-24"))
	wantKind(t, err, connectors.Transient)
}

// TestChangedTypes: what no longer is what it was is reported with its place.
func TestChangedTypes(t *testing.T) {
	report := func(rows string) string {
		return `{"columnHeaders":[{"name":"shares"},{"name":"video"},{"name":"estimatedMinutesWatched"}],"rows":` + rows + `}`
	}
	for name, c := range map[string]struct{ path, body, word string }{
		"a number":      {"/youtube/v3/videos:batchGetStats", `{"items":[{"id":"a","statistics":{"viewCount":10}}]}`, "items.statistics.viewCount"},
		"no number":     {"/youtube/v3/videos:batchGetStats", `{"items":[{"id":"a","statistics":{"viewCount":"many"}}]}`, "items.statistics.viewCount"},
		"no id":         {"/youtube/v3/videos:batchGetStats", `{"items":[{"statistics":{}}]}`, "items[0].id"},
		"no columns":    {"/v2/reports", `{"rows":[["a",1]]}`, "columnHeaders"},
		"a short row":   {"/v2/reports", report(`[[1,"a"]]`), "rows[0]"},
		"a word":        {"/v2/reports", report(`[["one","a",1]]`), "rows[0][0] (shares)"},
		"a fraction":    {"/v2/reports", report(`[[1,"a",1.5]]`), "rows[0][2] (estimatedMinutesWatched)"},
		"no key":        {"/v2/reports", report(`[[1,7,1]]`), "rows[0][1]"},
		"no such thing": {"/v2/reports", `{"columnHeaders":[{"name":"shares"}],"rows":[[1]]}`, `"video"`},
	} {
		w := newWorld(t, setting{})
		id := w.sim.Write(w.channel, "a")
		w.always(http.MethodGet, c.path, simkit.Status(200, map[string]string{"Content-Type": "application/json"}, c.body))
		_, err := w.client().PostInsights(t.Context(), []connectors.Receipt{{RemoteID: id}})
		if connectors.KindOf(err) != connectors.Unknown || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v does not name %s", name, err, c.word)
		}
	}
	// Columns come in any order, amounts with a fraction of zeros.
	w := newWorld(t, setting{})
	id := w.sim.Write(w.channel, "a")
	w.always(http.MethodGet, "/v2/reports", simkit.Status(200, map[string]string{"Content-Type": "application/json"}, report(`[[3,"`+id+`",2.0]]`)))
	r, err := w.client().PostInsights(t.Context(), []connectors.Receipt{{RemoteID: id}})
	if err != nil {
		t.Fatal(err)
	}
	shares, _ := value(r, id, social.Shares, social.Lifetime, time.Time{})
	watched, _ := value(r, id, social.WatchMS, social.Lifetime, time.Time{})
	if shares != 3 || watched != 120_000 {
		t.Errorf("shares %d, watched %d", shares, watched)
	}
}

// TestListHidesWhatIsNotOut: videos that wait for their commit are in nobody's
// list.
func TestListHidesWhatIsNotOut(t *testing.T) {
	w := newWorld(t, setting{})
	c, j := w.client(), w.job("waiting", nil)
	w.mustPrepare(c, j)
	list := func() int {
		p, err := c.List(t.Context(), time.Time{}, "")
		if err != nil {
			t.Fatal(err)
		}
		return len(p.Posts)
	}
	if n := list(); n != 0 {
		t.Errorf("%d videos are listed before the commit", n)
	}
	w.mustCommit(c, j)
	if n := list(); n != 1 {
		t.Errorf("%d videos are listed after the commit", n)
	}
	w.always(http.MethodGet, "/youtube/v3/playlistItems", googleError(404, "playlistNotFound"))
	if _, err := c.List(t.Context(), time.Time{}, ""); connectors.KindOf(err) != connectors.Invalid { // the channel says that it has one
		t.Errorf("no list of a channel with a video came out as %v", err)
	}
	w = newWorld(t, setting{})
	c = w.client()
	w.always(http.MethodGet, "/youtube/v3/playlistItems", googleError(404, "playlistNotFound"))
	if n := list(); n != 0 { // a channel that never had a video
		t.Errorf("%d videos are listed of no list", n)
	}
}

// TestRecognised: a video is recognised by its title as well as by its
// description, which many channels have under all their videos.
func TestRecognised(t *testing.T) {
	w := newWorld(t, setting{})
	c := w.client()
	seen := map[string]string{}
	for _, v := range []struct{ title, text string }{
		{"", "Morning\nSubscribe!"},
		{"Noon", "Subscribe!"},
		{"Evening", "Subscribe!"},
		{"Night", ""},
		{"Chào buổi sáng", ""},
		{"<b>", "a"}, // refused by Check; here it only must not be that of another
	} {
		j := w.job(v.text, map[string]string{"title": v.title})
		fp := c.Fingerprint(j.Part, "")
		if other, twice := seen[fp]; twice {
			t.Errorf("%q is taken for %q", v.title, other)
		}
		seen[fp] = v.title
		if strings.Contains(v.title, "<") {
			continue
		}
		w.mustPrepare(c, j)
		r := w.mustCommit(c, j)
		k, err := c.Get(t.Context(), r.RemoteID)
		if err != nil || k.Fingerprint != fp {
			t.Errorf("%q is read back as %+v, %v", v.title, k, err)
		}
		page, err := c.List(t.Context(), time.Time{}, "")
		if err != nil || len(page.Posts) == 0 {
			t.Fatalf("%d videos are listed, %v", len(page.Posts), err)
		}
		if p := page.Posts[0]; p.Receipt.RemoteID != r.RemoteID || connectors.FingerprintOf(c.Account(), p.Parent, p.Text, p.Media) != fp {
			t.Errorf("%q is listed as %+v", v.title, p)
		}
	}
	// Marks of their own and letters with marks are the same title.
	composed := w.job("x", map[string]string{"title": "đá"})
	apart := w.job("x", map[string]string{"title": "đa\u0301"})
	if c.Fingerprint(composed.Part, "") != c.Fingerprint(apart.Part, "") {
		t.Error("one title typed in two ways is taken for two")
	}
}

func TestGet(t *testing.T) {
	w := newWorld(t, setting{})
	c := w.client()
	id := w.sim.Write(w.channel, "words")
	for _, name := range []string{id, "https://www.youtube.com/watch?v=" + id + "&t=3s", "https://youtu.be/" + id, "https://www.youtube.com/shorts/" + id} {
		k, err := c.Get(t.Context(), name)
		if err != nil || k.Receipt.RemoteID != id || k.Fingerprint != c.Fingerprint(w.job("words", nil).Part, "") {
			t.Errorf("%s is %+v, %v", name, k, err)
		}
	}
	_, err := c.Get(t.Context(), "https://example.com/")
	wantKind(t, err, connectors.Invalid, "no video")
	other := w.sim.Write(w.sim.AddChannel("Bob", "@bob"), "not ours")
	_, err = c.Get(t.Context(), other)
	wantKind(t, err, connectors.Invalid, "another channel")
	w.sim.SetPrivacy(id, "private")
	_, err = c.Get(t.Context(), id)
	wantKind(t, err, connectors.Invalid, "private")
}
