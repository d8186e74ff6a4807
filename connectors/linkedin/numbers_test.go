package linkedin_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/internal/simkit"
	"smi/connectors/linkedin"
	"smi/connectors/linkedin/linkedinsim"
	"smi/internal/social"
)

// seen are observations as text, sorted.
func seen(rd social.Reading) []string {
	var out []string
	for _, o := range rd.Observations {
		s := fmt.Sprintf("%s %s=%d", o.Window, o.Metric, o.Value)
		if !o.Day.IsZero() {
			s += o.Day.Format(" 01-02")
		}
		if o.Raw < 0 || o.Raw >= len(rd.Raw) || rd.Raw[o.Raw].APIVersion != "202608" {
			s += " from nowhere"
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

func want(t *testing.T, what string, rd social.Reading, err error, values ...string) {
	t.Helper()
	slices.Sort(values)
	if got := seen(rd); err != nil || !slices.Equal(got, values) {
		t.Errorf("%s: %q, %v; want %q", what, got, err, values)
	}
}

// A page's days are in UTC; a day that is not over has no amount, followers are
// known up to two days ago, and what is below zero is no amount.
func TestPageDays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	day := func(d int) time.Time { return time.Date(2026, 11, d, 0, 0, 0, 0, time.UTC) }
	w.sim.SetFollowers(w.page, 9_007_199_254_740_993)
	for d := 18; d <= 23; d++ { // the 23rd is today
		w.sim.SetDay(w.page, day(d), linkedinsim.Counts{Impressions: int64(d), Unique: 5, Clicks: 4, Likes: 3, Comments: 2, Shares: 1})
		w.sim.SetGain(w.page, day(d), int64(100+d))
	}
	w.sim.SetDay(w.page, day(22), linkedinsim.Counts{Impressions: 22, Likes: -2})
	rd, err := w.client(w.page).AccountInsights(t.Context(), day(21), day(23))
	want(t, "three days", rd, err,
		"instant followers=9007199254740993",
		"day views=21 11-21", "day reach=5 11-21", "day clicks=4 11-21", "day likes=3 11-21", "day comments=2 11-21", "day shares=1 11-21", "day gained=121 11-21",
		"day views=22 11-22", "day reach=0 11-22", "day clicks=0 11-22", "day comments=0 11-22", "day shares=0 11-22")
	rd, err = w.client(w.page).AccountInsights(t.Context(), day(23), day(23))
	want(t, "today", rd, err, "instant followers=9007199254740993")
}

// A post without statistics is gone, or nothing has happened to it yet, or it is
// too old to be counted.
func TestPagePosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{sim: func(o *linkedinsim.Options) { o.Sparse = true }})
	quiet := w.sim.Write(w.page, "nobody saw it")
	gone := w.sim.Write(w.page, "gone")
	w.sim.RemovePost(gone)
	cl := w.client(w.page)
	rd, err := cl.PostInsights(t.Context(), []connectors.Receipt{{RemoteID: quiet}, {RemoteID: gone}, {RemoteID: quiet}})
	want(t, "quiet", rd, err, "lifetime views=0", "lifetime reach=0", "lifetime clicks=0", "lifetime likes=0", "lifetime comments=0", "lifetime shares=0")
	if !slices.Equal(rd.Gone, []string{gone}) {
		t.Errorf("gone are %v", rd.Gone)
	}
	w.now.Add(366 * 24 * time.Hour)
	rd, err = w.client(w.page).PostInsights(t.Context(), []connectors.Receipt{{RemoteID: quiet}})
	want(t, "a year later", rd, err)

	film := w.publish(w.client(w.page), social.Part{Text: "film", Media: []social.Media{w.files.add(social.Video, "video/mp4", "film", "")}})
	w.sim.SetCounts(film.RemoteID, linkedinsim.Counts{Impressions: 7, Unique: 6, WatchMS: 1234})
	rd, err = w.client(w.page).PostInsights(t.Context(), []connectors.Receipt{film})
	if err != nil || !slices.Contains(texts(rd), "watch_ms=1234") || !slices.Contains(texts(rd), "views=7") {
		t.Errorf("film: %v, %v", texts(rd), err)
	}
}

// An answer of statistics may be cut: what is missing from a long one is asked
// for again before it counts as a post to which nothing happened.
func TestStatisticsAreCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{sim: func(o *linkedinsim.Options) { o.Sparse = true }})
	var rs []connectors.Receipt
	var values []string
	for i := range 25 {
		id := w.sim.Write(w.page, fmt.Sprint("post ", i))
		rs = append(rs, connectors.Receipt{RemoteID: id})
		n := int64(0)
		if i%5 != 0 {
			n = int64(100 + i)
			w.sim.SetCounts(id, linkedinsim.Counts{Impressions: n})
		}
		values = append(values, fmt.Sprintf("lifetime views=%d", n), "lifetime reach=0", "lifetime clicks=0", "lifetime likes=0", "lifetime comments=0", "lifetime shares=0")
	}
	rd, err := w.client(w.page).PostInsights(t.Context(), rs)
	want(t, "25 posts", rd, err, values...)
	if n := w.sim.Kit.Requests.Count("", "/rest/organizationalEntityShareStatistics"); n != 3 {
		t.Errorf("%d questions for 20 posts with numbers, ten an answer, and 5 without; want 3", n)
	}
}

// A post is gone if the network says so, and not because an answer leaves it out.
func TestGoneIsSaid(t *testing.T) {
	t.Parallel()
	for answer, gone := range map[string]bool{
		`{"results":{}}`: false,
		`{"results":{},"errors":{"urn:li:share:1":{"status":403}}}`:    false,
		`{"results":{},"errors":{"urn:li:share:1":{"status":404}}}`:    true,
		`{"results":{},"errors":{},"statuses":{"urn:li:share:1":404}}`: true,
	} {
		w := newWorld(t, change{})
		w.sim.Kit.Script.Add(simkit.Fault{Path: "/rest/posts", Do: simkit.Status(http.StatusOK, nil, answer)})
		rd, err := w.client(w.page).PostInsights(t.Context(), []connectors.Receipt{{RemoteID: "urn:li:share:1"}})
		if err != nil || len(rd.Observations) > 0 || (len(rd.Gone) == 1) != gone {
			t.Errorf("%s: %+v gone, %d numbers, %v; want gone %v", answer, rd.Gone, len(rd.Observations), err, gone)
		}
	}
}

// That LinkedIn does not give the time a video was watched costs no other
// number; that it asks to wait is told.
func TestVideoNumbersAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
		kind   connectors.Kind
	}{
		"not for this one": {400, `{"status":400,"code":"INVALID_URN_TYPE"}`, ""},
		"not for this app": {403, `{"status":403,"code":"ACCESS_DENIED"}`, ""},
		"no such thing":    {404, `{"status":404}`, ""},
		"in another shape": {200, `{"elements":[{"value":{"ms":1}}]}`, ""},
		"without elements": {200, `{"data":[]}`, ""},
		"later":            {429, `{"status":429,"code":"TOO_MANY_REQUESTS"}`, connectors.RateLimited},
	} {
		w := newWorld(t, change{})
		film := w.publish(w.client(w.page), social.Part{Text: "film", Media: []social.Media{w.files.add(social.Video, "video/mp4", "film", "")}})
		w.sim.SetCounts(film.RemoteID, linkedinsim.Counts{Impressions: 7})
		w.sim.Kit.Script.Add(simkit.Fault{Path: "/rest/videoAnalytics", Do: simkit.Status(c.status, nil, c.body)})
		rd, err := w.client(w.page).PostInsights(t.Context(), []connectors.Receipt{film})
		if connectors.KindOf(err) != c.kind || !slices.Contains(texts(rd), "views=7") || slices.Contains(rd.Gone, film.RemoteID) {
			t.Errorf("%s: %v, %v", name, texts(rd), err)
		}
	}
}

// To a deleted post the statistics of members answer what they answer to an app
// without the right. The others' numbers are read all the same.
func TestMemberDeletedOne(t *testing.T) {
	t.Parallel()
	for name, blind := range map[string]bool{"may look": false, "may not look": true} {
		w := newWorld(t, change{sim: func(o *linkedinsim.Options) { o.NoMetadata = blind }, cfg: func(c *linkedin.Config) { c.MemberNumbers = "analytics" }})
		first, second := w.sim.Write(w.person, "deleted"), w.sim.Write(w.person, "there")
		w.sim.SetCounts(second, linkedinsim.Counts{Impressions: 9})
		w.sim.RemovePost(first)
		cl := w.client(w.person)
		rd, err := cl.PostInsights(t.Context(), []connectors.Receipt{{RemoteID: first}, {RemoteID: second}})
		if err != nil || !slices.Contains(texts(rd), "views=9") || slices.Contains(rd.Gone, first) == blind {
			t.Errorf("%s: %v, gone %v, %v", name, texts(rd), rd.Gone, err)
		}
		rd, err = cl.PostInsights(t.Context(), []connectors.Receipt{{RemoteID: first}})
		if err != nil || len(rd.Observations) > 0 || slices.Contains(rd.Gone, first) == blind {
			t.Errorf("%s, alone: %v, gone %v, %v", name, texts(rd), rd.Gone, err)
		}
		// One that is there and has no statistics costs no other's numbers either.
		third := w.sim.Write(w.person, "there, without statistics")
		bare := func(r *http.Request) bool {
			return strings.Contains(r.URL.RawQuery, strings.TrimPrefix(third, "urn:li:share:"))
		}
		w.sim.Kit.Script.Add(simkit.Fault{Path: "/rest/memberCreatorPostAnalytics", Match: bare, Do: simkit.Status(http.StatusNotFound, nil, `{"status":404}`)})
		rd, err = cl.PostInsights(t.Context(), []connectors.Receipt{{RemoteID: third}, {RemoteID: second}})
		if err != nil || !slices.Contains(texts(rd), "views=9") || len(rd.Gone) > 0 {
			t.Errorf("%s, one without: %v, gone %v, %v", name, texts(rd), rd.Gone, err)
		}
	}
}

// A member's video has the time watched; a newer number that is refused costs no
// other.
func TestMemberVideo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{cfg: func(c *linkedin.Config) { c.MemberNumbers = "analytics" }})
	cl := w.client(w.person)
	film := w.publish(cl, social.Part{Text: "film", Media: []social.Media{w.files.add(social.Video, "video/mp4", "film", "")}})
	w.sim.SetCounts(film.RemoteID, linkedinsim.Counts{Impressions: 7, WatchMS: 9_007_199_254_740_993})
	rd, err := cl.PostInsights(t.Context(), []connectors.Receipt{film})
	if err != nil || !slices.Contains(texts(rd), "watch_ms=9007199254740993") || !slices.Contains(texts(rd), "views=7") {
		t.Errorf("%v, %v", texts(rd), err)
	}
	w.sim.Kit.Script.Add(simkit.Fault{Path: "/rest/memberCreatorVideoAnalytics", Do: simkit.Status(http.StatusBadRequest, nil, `{"status":400,"code":"INVALID_VALUE_FOR_FIELD"}`)})
	newer := func(r *http.Request) bool { return strings.Contains(r.URL.RawQuery, "queryType=POST_SAVE") }
	w.sim.Kit.Script.Add(simkit.Fault{Path: "/rest/memberCreatorPostAnalytics", Match: newer, Do: simkit.Status(http.StatusBadRequest, nil, `{"status":400,"code":"INVALID_VALUE_FOR_FIELD"}`)})
	rd, err = cl.PostInsights(t.Context(), []connectors.Receipt{film})
	want(t, "without", rd, err, "lifetime views=7", "lifetime reach=0", "lifetime likes=0", "lifetime comments=0", "lifetime shares=0", "lifetime clicks=0")
}

func texts(rd social.Reading) []string {
	var out []string
	for _, o := range rd.Observations {
		out = append(out, fmt.Sprintf("%s=%d", o.Metric, o.Value))
	}
	return out
}

// Numbers may come as strings; one that is neither is told with its path.
func TestNumbersAsTheyCome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	id := w.sim.Write(w.page, "hello")
	cl := w.client(w.page)
	answer := func(total string) {
		w.sim.Kit.Script.Clear()
		w.sim.Kit.Script.Add(simkit.Fault{Path: "/rest/organizationalEntityShareStatistics", Do: simkit.Status(http.StatusOK, nil,
			`{"elements":[{"share":"`+id+`","totalShareStatistics":{"impressionCount":`+total+`}}]}`)})
	}
	for sent, value := range map[string]string{`"9007199254740993"`: "lifetime views=9007199254740993", "9007199254740993": "lifetime views=9007199254740993"} {
		answer(sent)
		rd, err := cl.PostInsights(t.Context(), []connectors.Receipt{{RemoteID: id}})
		want(t, sent, rd, err, value)
	}
	for _, sent := range []string{"{}", "true", "1.5", `"many"`} {
		answer(sent)
		_, err := cl.PostInsights(t.Context(), []connectors.Receipt{{RemoteID: id}})
		if err == nil || !strings.Contains(err.Error(), "totalShareStatistics.impressionCount") {
			t.Errorf("%s is told as %v", sent, err)
		}
	}
}

// A member's numbers come from where the settings say, and are named so.
func TestMemberNumbers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{cfg: func(c *linkedin.Config) { c.MemberNumbers = "analytics" }})
	id := w.sim.Write(w.person, "hello")
	w.sim.SetCounts(id, linkedinsim.Counts{Impressions: 9, Unique: 8, Clicks: 7, Likes: 6, Comments: 5, Shares: 4, Saves: 3})
	w.sim.SetFollowers(w.person, 77)
	rd, err := w.client(w.person).PostInsights(t.Context(), []connectors.Receipt{{RemoteID: id}})
	want(t, "analytics", rd, err, "lifetime views=9", "lifetime reach=8", "lifetime clicks=7", "lifetime likes=6", "lifetime comments=5", "lifetime shares=4", "lifetime saves=3")
	rd, err = w.client(w.person).AccountInsights(t.Context(), start, start)
	want(t, "account", rd, err, "instant followers=77")

	w = newWorld(t, change{cfg: func(c *linkedin.Config) { c.MemberNumbers = "social" }})
	id = w.sim.Write(w.person, "hello")
	w.sim.SetCounts(id, linkedinsim.Counts{Likes: 6, Comments: 5})
	rd, err = w.client(w.person).PostInsights(t.Context(), []connectors.Receipt{{RemoteID: id}, {RemoteID: "urn:li:share:1"}})
	want(t, "social", rd, err, "lifetime likes=6", "lifetime comments=5")
	for _, o := range rd.Observations {
		if !strings.HasPrefix(o.Name, "socialMetadata.") {
			t.Errorf("%s does not say where it is from: %s", o.Metric, o.Name)
		}
	}
	if !slices.Equal(rd.Gone, []string{"urn:li:share:1"}) {
		t.Errorf("gone are %v", rd.Gone)
	}

	// The Development tier answers 404 to everything: that is no deleted post.
	w = newWorld(t, change{sim: func(o *linkedinsim.Options) { o.DevTier = true }, cfg: func(c *linkedin.Config) { c.MemberNumbers = "analytics" }})
	id = w.sim.Write(w.person, "hello")
	rd, err = w.client(w.person).PostInsights(t.Context(), []connectors.Receipt{{RemoteID: id}})
	if connectors.KindOf(err) != connectors.Permission || len(rd.Gone) != 0 || !strings.Contains(err.Error(), "Standard tier") {
		t.Errorf("without the tier: %+v, %v", rd, err)
	}
	if _, err = w.client(w.person).AccountInsights(t.Context(), start, start); connectors.KindOf(err) != connectors.Permission {
		t.Errorf("without the tier: %v", err)
	}
}
