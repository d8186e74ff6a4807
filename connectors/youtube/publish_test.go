package youtube_test

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/png"
	"net/http"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/internal/simkit"
	"smi/connectors/youtube"
	"smi/connectors/youtube/youtubesim"
)

const captionText = "1\n00:00:00,000 --> 00:00:02,000\nGood morning\n"

// rich is a post with everything.
func (w *world) rich() *connectors.Job {
	w.t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 16, 9))); err != nil {
		w.t.Fatal(err)
	}
	w.sim.AddPlaylist(w.channel, "PLfilms")
	thumb := w.files.add(b.Bytes())
	j := w.job("Chào buổi sáng, Đà Nẵng! 🌊\nSecond line", map[string]string{
		"title": "Morning in Đà Nẵng", "tags": "sea, da nang,sea", "category": "19", "privacy": "public", "made_for_kids": "yes",
		"playlist": "https://www.youtube.com/playlist?list=PLfilms", "thumbnail": thumb.Hash, "captions": captionText, "captions_language": "vi",
		"notify_subscribers": "no", "synthetic_media": "yes",
	})
	j.Part.Langs = []string{"vi"}
	return j
}

func TestEverythingArrives(t *testing.T) {
	w := newWorld(t, setting{})
	c, j := w.client(), w.rich()
	p := w.mustPrepare(c, j)
	if w.public() != 0 {
		t.Fatal("something is public before the commit")
	}
	if p.Class != connectors.Keyed {
		t.Errorf("the class is %s", p.Class)
	}
	r := w.mustCommit(c, j)
	v := w.sim.Videos(w.channel)[0]
	if v.ID != r.RemoteID || v.Title != "Morning in Đà Nẵng" || v.Text != j.Part.Text || v.Category != "19" || strings.Join(v.Tags, "|") != "sea|da nang" ||
		!v.ForKids || !v.Synthetic || v.NotifySubscribed || v.Privacy != "public" || v.Thumbnail != j.Part.Options["thumbnail"] || v.Captions["vi"] != captionText {
		t.Errorf("on the network: %+v", v)
	}
	if l := w.sim.Playlist("PLfilms"); len(l) != 1 || l[0] != v.ID {
		t.Errorf("the playlist holds %v", l)
	}
	if v.Hash != p.RequestHash {
		t.Errorf("sent were bytes of the hash %s, announced %s", v.Hash, p.RequestHash)
	}
	if r.URL != w.srv.URL+"/watch?v="+v.ID || !r.PublishedAt.Equal(began) || len(r.State) != 0 {
		t.Errorf("the receipt is %+v", r)
	}
	if got := w.sim.Used("inserts"); got != 1 {
		t.Errorf("%d uploads were counted", got)
	}
	// captions 450, playlist 51, thumbnail 50, the change 50, one look, one at the channel
	if got := w.sim.Used("units"); got > 610 {
		t.Errorf("the post cost %d units", got)
	}
}

// TestExtrasOnce: whatever is lost or killed among what follows the upload, it is
// there once.
func TestExtrasOnce(t *testing.T) {
	for name, c := range map[string]struct{ method, path string }{
		"thumbnail": {http.MethodPost, "/upload/youtube/v3/thumbnails/set"},
		"captions":  {http.MethodPost, "/upload/youtube/v3/captions"},
		"playlist":  {http.MethodPost, "/youtube/v3/playlistItems"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setting{})
			j := w.rich()
			j.Planned = began.Add(10 * time.Minute)
			w.answer(c.method, c.path, 1, simkit.CutAfter())
			var stored json.RawMessage
			j.Save = func(_ context.Context, st json.RawMessage, _ time.Time) error { stored = st; return nil }
			if _, err := w.prepare(w.client(), j); err != nil { // a thumbnail is set again at once
				wantKind(t, err, connectors.Transient)
				j.State = stored
			}
			w.mustPrepare(w.client(), j)
			v := w.sim.Videos(w.channel)
			if len(v) != 1 || v[0].Thumbnail == "" || len(v[0].Captions) != 1 || len(w.sim.Playlist("PLfilms")) != 1 {
				t.Errorf("%+v in %v", v, w.sim.Playlist("PLfilms"))
			}
			if st := stateOf(t, j.State); len(st.LeftOut) != 0 {
				t.Errorf("left out are %q", st.LeftOut)
			}
		})
	}
}

func TestProcessing(t *testing.T) {
	w := newWorld(t, setting{sim: youtubesim.Options{Polls: 3}})
	c, j := w.client(), w.job("patience", nil)
	j.Planned = began.Add(10 * time.Minute)
	looks := 0
	for {
		p, err := w.prepare(c, j)
		if err != nil {
			t.Fatal(err)
		}
		if p.Again == 0 {
			break
		}
		if p.Again > 15*time.Second || p.Class != "" {
			t.Fatalf("again after %v, class %q", p.Again, p.Class)
		}
		looks++
		w.pass(p.Again)
	}
	if looks != 3 {
		t.Errorf("it was looked at %d times", looks)
	}

	// At its time the video goes out, finished or not.
	w = newWorld(t, setting{sim: youtubesim.Options{Polls: 1000}})
	c, j = w.client(), w.job("now", nil)
	j.Planned = began.Add(2 * time.Minute)
	if p, err := w.prepare(c, j); err != nil || p.Again != 15*time.Second {
		t.Fatalf("again after %v, %v", p.Again, err)
	}
	w.pass(35 * time.Second)
	w.mustPrepare(c, j)
	w.mustCommit(c, j)
}

func TestRefusedAfterUpload(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(w *world, id string)
		word string
	}{
		"failed":   {func(w *world, id string) { w.sim.Fail(id, "codec") }, "cannot read the video (codec)"},
		"rejected": {func(w *world, id string) { w.sim.Reject(id, "duplicate") }, "refused the video (duplicate)"},
		"removed":  {func(w *world, id string) { w.sim.Remove(id); w.pass(10 * time.Minute) }, "not on YouTube any more"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, setting{sim: youtubesim.Options{Polls: 5}})
			cl, j := w.client(), w.job("bad", nil)
			j.Planned = began.Add(10 * time.Minute)
			if p, err := w.prepare(cl, j); err != nil || p.Again == 0 {
				t.Fatalf("again after %v, %v", p.Again, err)
			}
			c.do(w, stateOf(t, j.State).VideoID)
			_, err := w.prepare(cl, j)
			wantKind(t, err, connectors.Invalid, c.word)
			if e := connectors.AsError(err); e.Field != "media[0]" {
				t.Errorf("the field is %q", e.Field)
			}
		})
	}
}

// TestLeftOut: what follows the video never decides about it.
func TestLeftOut(t *testing.T) {
	w := newWorld(t, setting{sim: youtubesim.Options{Unverified: true}})
	c, j := w.client(), w.rich()
	j.Part.Options["playlist"] = "PLnobody"
	w.mustPrepare(c, j)
	r := w.mustCommit(c, j)
	var st struct {
		LeftOut []string `json:"left_out"`
	}
	if err := json.Unmarshal(r.State, &st); err != nil || len(st.LeftOut) != 2 {
		t.Fatalf("the receipt's state is %s", r.State)
	}
	if !strings.HasPrefix(st.LeftOut[0], "thumbnail: ") || !strings.HasPrefix(st.LeftOut[1], "playlist: ") {
		t.Errorf("left out are %q", st.LeftOut)
	}
	if log := w.log.String(); strings.Count(log, "level=WARN") != 2 || !strings.Contains(log, "what=playlist") {
		t.Errorf("the log says\n%s", log)
	}
	if v := w.sim.Videos(w.channel)[0]; v.Captions["vi"] == "" || v.Privacy != "public" {
		t.Errorf("on the network: %+v", v)
	}
}

// TestLooksBecomeRare: a look costs a unit of the quota.
func TestLooksBecomeRare(t *testing.T) {
	w := newWorld(t, setting{sim: youtubesim.Options{Polls: 1000}})
	c, j := w.client(), w.job("slow", nil)
	j.Planned = began.Add(15 * time.Minute)
	looks := 0
	for ; looks < 100; looks++ {
		p, err := w.prepare(c, j)
		if err != nil {
			t.Fatal(err)
		}
		if p.Again == 0 {
			break
		}
		w.pass(p.Again)
	}
	if looks < 10 || looks > 25 {
		t.Errorf("it was looked at %d times", looks)
	}
	if at := w.time(); !at.Equal(j.Planned.Add(-90 * time.Second)) {
		t.Errorf("it was ready at %v", at)
	}
}

// TestStatusIsKeptWhole: an update overwrites the whole status; what the owner
// set by hand in the meantime stays.
func TestStatusIsKeptWhole(t *testing.T) {
	w := newWorld(t, setting{sim: youtubesim.Options{Polls: 1}})
	c, j := w.client(), w.job("whole", map[string]string{"made_for_kids": "yes"})
	j.Planned = began.Add(5 * time.Minute)
	if p, err := w.prepare(c, j); err != nil || p.Again == 0 {
		t.Fatalf("again after %v, %v", p.Again, err)
	}
	w.sim.SetEmbeddable(stateOf(t, j.State).VideoID, false)
	w.mustPrepare(c, j)
	w.mustCommit(c, j)
	if v := w.sim.Videos(w.channel)[0]; v.Embeddable || !v.ForKids || v.License != "youtube" || !v.PublicStats {
		t.Errorf("on the network: %+v", v)
	}
}

func TestFindTellsTheTruth(t *testing.T) {
	prepared := func(t *testing.T, s setting) (*world, *connectors.Client, *connectors.Job, string) {
		w := newWorld(t, s)
		c, j := w.client(), w.job("did it happen?", nil)
		w.mustPrepare(c, j)
		j.ArmedAt = w.time()
		return w, c, j, stateOf(t, j.State).VideoID
	}
	t.Run("private", func(t *testing.T) {
		w, c, j, _ := prepared(t, setting{})
		if f := w.find(c, j); f.Kind != connectors.FoundHandleGood {
			t.Errorf("found %s", f.Kind)
		}
	})
	t.Run("the answer was lost", func(t *testing.T) {
		w, c, j, id := prepared(t, setting{})
		w.answer(http.MethodPut, videosPath, 1, simkit.CutAfter())
		_, err := w.commit(c, j)
		wantKind(t, err, connectors.Ambiguous)
		if f := w.find(c, j); f.Kind != connectors.FoundPublished || f.Receipt.RemoteID != id || !f.Receipt.PublishedAt.Equal(began) {
			t.Errorf("found %+v", f)
		}
	})
	t.Run("unlisted by hand", func(t *testing.T) {
		w, c, j, id := prepared(t, setting{})
		w.sim.SetPrivacy(id, "unlisted")
		if f := w.find(c, j); f.Kind != connectors.FoundPublished {
			t.Errorf("found %s: others can see it", f.Kind)
		}
	})
	t.Run("removed", func(t *testing.T) {
		w, c, j, id := prepared(t, setting{})
		w.sim.Remove(id)
		if f := w.find(c, j); f.Kind != connectors.FoundNothing {
			t.Errorf("found %s: it may have been public before", f.Kind)
		}
		_, err := w.commit(c, j)
		wantKind(t, err, connectors.Invalid, "not on YouTube any more")
	})
	t.Run("locked in silence", func(t *testing.T) {
		w, c, j, _ := prepared(t, setting{sim: youtubesim.Options{Lock: "silent"}})
		_, err := w.commit(c, j)
		wantKind(t, err, connectors.Ambiguous, "still private", "audited")
		if f := w.find(c, j); f.Kind != connectors.FoundHandleGood {
			t.Errorf("found %s", f.Kind)
		}
		j.Attempt = 5 // it does not become public: a person decides
		if f := w.find(c, j); f.Kind != connectors.FoundNothing {
			t.Errorf("found %s at the fifth attempt", f.Kind)
		}
		if w.public() != 0 {
			t.Error("it is public")
		}
	})
	t.Run("locked with a word", func(t *testing.T) {
		w, c, j, _ := prepared(t, setting{sim: youtubesim.Options{Lock: "refuse"}})
		_, err := w.commit(c, j)
		wantKind(t, err, connectors.Invalid, "not audited") // this video's trouble, not the account's
	})
	t.Run("refused by the network meanwhile", func(t *testing.T) {
		w, c, j, id := prepared(t, setting{})
		w.sim.Reject(id, "copyright")
		_, err := w.commit(c, j)
		wantKind(t, err, connectors.Ambiguous, "refused the video (copyright)")
		if f := w.find(c, j); f.Kind != connectors.FoundNothing {
			t.Errorf("found %s: nobody can see it", f.Kind)
		}
	})
	t.Run("not prepared", func(t *testing.T) {
		w := newWorld(t, setting{})
		_, err := w.client().Find(t.Context(), w.job("nothing", nil))
		wantKind(t, err, connectors.Unsupported)
	})
}

// TestQuotaOnCommit: a refusal for the quota is certain, and says until when.
func TestQuotaOnCommit(t *testing.T) {
	w := newWorld(t, setting{})
	c, j := w.client(), w.job("too much", nil)
	w.mustPrepare(c, j)
	w.answer(http.MethodPut, videosPath, 1, googleError(403, "quotaExceeded"))
	_, err := w.commit(c, j)
	wantKind(t, err, connectors.RateLimited, "midnight Pacific")
	if e := connectors.AsError(err); e.RetryAfter != 14*time.Hour || e.Bucket != "app" { // ten in the morning there
		t.Errorf("wait %v on %q", e.RetryAfter, e.Bucket)
	}
	w.pass(14*time.Hour + time.Second)
	if _, err := w.Renew(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	w.mustCommit(c, j)
}

func TestShort(t *testing.T) {
	for _, c := range []struct {
		width, height int
		length        time.Duration
		short         bool
	}{
		{1080, 1920, time.Minute, true},
		{1080, 1080, 3 * time.Minute, true},
		{1080, 1920, 3*time.Minute + time.Second, false},
		{1920, 1080, time.Minute, false},
		{0, 0, time.Minute, false},
	} {
		w := newWorld(t, setting{})
		cl, j := w.client(), w.job("upright", map[string]string{"short": "yes"})
		m := &j.Part.Media[0]
		m.Width, m.Height, m.Duration = c.width, c.height, c.length
		refused := false
		for _, p := range cl.Check(parts(j)) {
			refused = refused || p.Field == "parts[0].options.short"
		}
		if refused == c.short {
			t.Errorf("%d × %d of %v: refused as a Short: %v", c.width, c.height, c.length, refused)
		}
		w.mustPrepare(cl, j)
		r := w.mustCommit(cl, j)
		if strings.Contains(r.URL, "/shorts/") != c.short {
			t.Errorf("%d × %d of %v has the page %s", c.width, c.height, c.length, r.URL)
		}
	}
}

// TestNativeSchedule: where it is switched on, the commit hands the video over,
// and YouTube publishes.
func TestNativeSchedule(t *testing.T) {
	on := func(c *youtube.Config) { c.NativeSchedule = true }
	at := began.Add(2 * time.Hour)
	options := map[string]string{"publish_at": at.Format(time.RFC3339)}
	w := newWorld(t, setting{cfg: on})
	c, j := w.client(), w.job("by itself", options)
	w.mustPrepare(c, j)
	if f := w.find(c, j); f.Kind != connectors.FoundHandleGood {
		t.Errorf("before the commit: %s", f.Kind)
	}
	w.answer(http.MethodPut, videosPath, 1, simkit.CutAfter())
	_, err := w.commit(c, j)
	wantKind(t, err, connectors.Ambiguous)
	f := w.find(c, j)
	if f.Kind != connectors.FoundPublished || !f.Receipt.PublishedAt.Equal(at) || w.public() != 0 {
		t.Fatalf("after the commit: %+v, %d public", f, w.public())
	}
	r := w.mustCommit(c, j)
	if !r.PublishedAt.Equal(at) {
		t.Errorf("the receipt says %v", r.PublishedAt)
	}
	w.pass(2*time.Hour + time.Second)
	if posts := w.sim.Posts(w.channel); len(posts) != 1 || w.public() != 1 {
		t.Errorf("at its time: %+v", posts)
	}
	if f := w.find(c, j); f.Kind != connectors.FoundPublished {
		t.Errorf("afterwards: %s", f.Kind)
	}

	late := w.job("before", map[string]string{"publish_at": began.Add(-time.Hour).Format(time.RFC3339)})
	_, err = w.prepare(c, late)
	wantKind(t, err, connectors.Invalid, "before the time")

	w = newWorld(t, setting{})
	_, err = w.prepare(w.client(), w.job("off", options))
	wantKind(t, err, connectors.Invalid, "native_schedule")
}
