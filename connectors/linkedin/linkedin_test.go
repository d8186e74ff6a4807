package linkedin_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/fake"
	"smi/connectors/internal/simkit"
	"smi/connectors/linkedin"
	"smi/connectors/linkedin/linkedinsim"
	"smi/connectors/linkedin/linkedintest"
	"smi/internal/social"
)

// world is a simulated network with a member and a page, seen through the
// connector.
type world struct {
	t            *testing.T
	sim          *linkedinsim.Sim
	srv          *simkit.Server
	cfg          *linkedin.Config
	p            *linkedin.Platform
	person, page string
	now          *clock
	files        files
	attempts     int
}

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// files are media by hash.
type files map[string][]byte

type file struct{ *bytes.Reader }

func (file) Close() error { return nil }

func (f files) Open(_ context.Context, hash string) (io.ReadSeekCloser, error) {
	b, ok := f[hash]
	if !ok {
		return nil, fmt.Errorf("no file %s", hash)
	}
	return file{bytes.NewReader(b)}, nil
}

func (f files) add(kind social.MediaKind, mime, content, alt string) social.Media {
	sum := sha256.Sum256([]byte(content))
	h := hex.EncodeToString(sum[:])
	f[h] = []byte(content)
	m := social.Media{Hash: h, Kind: kind, MIME: mime, Bytes: int64(len(content)), Width: 40, Height: 30, Alt: alt}
	if kind == social.Video {
		m.Duration = 10 * time.Second
	}
	return m
}

var start = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

type change struct {
	sim func(*linkedinsim.Options)
	cfg func(*linkedin.Config)
}

func newWorld(t *testing.T, c change) *world {
	t.Helper()
	w := &world{t: t, now: &clock{t: start}, files: files{}}
	o := linkedinsim.Options{Now: w.now.Now}
	if c.sim != nil {
		c.sim(&o)
	}
	w.sim = linkedinsim.New(o)
	w.sim.AddApp(linkedintest.App(callback))
	w.person = w.sim.AddMember(linkedinsim.Member{ID: "782bbtaQ", First: "Alice", Last: "Example", Vanity: "alice"})
	w.page = w.sim.AddOrganization(linkedinsim.Organization{ID: "5515715", Name: "Devtestco", Vanity: "devtestco"})
	w.sim.SetRole(w.page, w.person, "ADMINISTRATOR")
	w.srv = simkit.ServePlain(t, w.sim)
	w.cfg = linkedintest.Config(w.srv.URL)
	w.cfg.UploadHosts = []string{w.srv.URL}
	if c.cfg != nil {
		c.cfg(w.cfg)
	}
	w.p = w.platform()
	return w
}

func (w *world) platform() *linkedin.Platform {
	w.t.Helper()
	p, err := linkedin.New(*w.cfg, connectors.Env{Dial: w.srv.Dial, Now: w.now.Now, UserAgent: "smi-test"})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// browse opens the login page and returns what comes back.
func (w *world) browse(req *connectors.AuthRequest) (string, error) {
	w.t.Helper()
	to, err := w.p.AuthURL(w.t.Context(), req)
	if err != nil {
		return "", err
	}
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, to, nil)
	if err != nil {
		return "", err
	}
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := browser.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	return res.Header.Get("Location"), nil
}

func (w *world) login() connectors.Grant {
	w.t.Helper()
	req := connectors.AuthRequest{State: "state", RedirectURI: callback}
	back, err := w.browse(&req)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, back, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	g, err := w.p.Exchange(w.t.Context(), req, r.URL.Query())
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

// client is an account as the scheduler has it.
func (w *world) client(urn string) *connectors.Client {
	w.t.Helper()
	c, err := connectors.Open(w.p, social.Account{Network: linkedin.Network, RemoteID: urn, Handle: "it"}, fake.NewCredentials(w.p, w.login()))
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) job(c *connectors.Client, p social.Part) *connectors.Job {
	if p.Role == "" {
		p.Role = social.RoleBody
	}
	now := w.now.Now()
	return &connectors.Job{Delivery: 7, Part: &p, Kind: social.KindPost, Planned: now, Now: now, Attempt: 1, Media: w.files, Fingerprint: c.Fingerprint(&p, "")}
}

// prepare runs Prepare to its end, with the waits it asks for.
func (w *world) prepare(c *connectors.Client, j *connectors.Job) error {
	w.t.Helper()
	for range 20 {
		p, err := c.Prepare(w.t.Context(), j)
		if err != nil {
			return err
		}
		if j.State = p.State; p.Again == 0 {
			return nil
		}
		w.now.Add(p.Again)
	}
	w.t.Fatal("preparing does not end")
	return nil
}

func (w *world) commit(c *connectors.Client, j *connectors.Job) (connectors.Receipt, error) {
	w.t.Helper()
	line, err := c.DialCommit(w.t.Context(), j)
	if err != nil {
		return connectors.Receipt{}, err
	}
	w.attempts++
	j.ArmedAt = w.now.Now()
	shot := connectors.NewShot(social.ID(w.attempts), j.ArmedAt.Add(30*time.Second), line, w.now.Now)
	return c.Commit(w.t.Context(), j, shot)
}

func (w *world) publish(c *connectors.Client, p social.Part) connectors.Receipt {
	w.t.Helper()
	j := w.job(c, p)
	if err := w.prepare(c, j); err != nil {
		w.t.Fatal(err)
	}
	r, err := w.commit(c, j)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// Every kind of post comes out as its author meant it.
func TestKinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{sim: func(o *linkedinsim.Options) { o.MediaPolls, o.PartSize = 2, 10 }})
	picture := w.files.add(social.Image, "image/png", "a picture", "what it shows")
	second := w.files.add(social.GIF, "image/gif", "another picture", "")
	film := w.files.add(social.Video, "video/mp4", "a film in three pieces...", "")
	film.Name = "film.mp4"
	paper := w.files.add(social.Document, "application/pdf", "%PDF", "")
	for name, c := range map[string]struct {
		part  social.Part
		want  string // the content, with # for the names of files
		kinds int
	}{
		"text":               {part: social.Part{Text: "a (b) #c"}, want: ""},
		"picture":            {social.Part{Text: "one", Media: []social.Media{picture}}, `{"media":{"id":"#","altText":"what it shows"}}`, 1},
		"picture with title": {social.Part{Text: "titled", Media: []social.Media{picture}, Options: map[string]string{"title": "T"}}, `{"media":{"id":"#","altText":"what it shows","title":"T"}}`, 1},
		"pictures": {
			social.Part{Text: "two", Media: []social.Media{picture, second}},
			`{"multiImage":{"images":[{"id":"#","altText":"what it shows"},{"id":"#"}]}}`, 2,
		},
		"video":    {social.Part{Text: "film", Media: []social.Media{film}}, `{"media":{"id":"#","title":"film.mp4"}}`, 1},
		"document": {social.Part{Text: "paper", Media: []social.Media{paper}, Options: map[string]string{"title": "Our paper"}}, `{"media":{"id":"#","title":"Our paper"}}`, 1},
		"untitled": {social.Part{Text: "paper again", Media: []social.Media{paper}}, `{"media":{"id":"#","title":"Document"}}`, 1},
		"link": {
			social.Part{Text: "link", Link: &social.LinkCard{URL: "https://example.com/?a=1&b=2", Title: "T", Description: "D", Thumb: &picture}},
			`{"article":{"source":"https://example.com/?a=1&b=2","title":"T","description":"D","thumbnail":"#"}}`, 0,
		},
		"bare link": {social.Part{Text: "bare", Link: &social.LinkCard{URL: "https://example.com/"}}, `{"article":{"source":"https://example.com/","title":"https://example.com/"}}`, 0},
		"poll": {
			social.Part{Text: "poll", Options: map[string]string{"poll_question": "Which?", "poll_options": "this | that|", "poll_duration": "7d"}},
			`{"poll":{"question":"Which?","options":[{"text":"this"},{"text":"that"}],"settings":{"duration":"SEVEN_DAYS"}}}`, 0,
		},
	} {
		for _, urn := range []string{w.page, w.person} {
			cl := w.client(urn)
			if bad := social.Refusals(cl.Check([]social.Part{withRole(c.part)})); len(bad) > 0 {
				t.Errorf("%s: Check refuses %+v", name, bad)
			}
			r := w.publish(cl, c.part)
			all := w.sim.Posts(urn)
			got := all[len(all)-1]
			if got.URN != r.RemoteID || got.Text != c.part.Text || got.Media != c.kinds || got.Visibility != "PUBLIC" {
				t.Errorf("%s: %+v is there as %+v", name, r, got)
			}
			if content := masked(string(got.Content)); content != c.want {
				t.Errorf("%s: the content is %s, want %s", name, content, c.want)
			}
			if video := strings.HasPrefix(r.RemoteID, "urn:li:ugcPost:"); video != (name == "video") || video != (string(r.State) == `{"video":true}`) {
				t.Errorf("%s is called %s and keeps %s", name, r.RemoteID, r.State)
			}
			if r.URL != "https://www.linkedin.com/feed/update/"+r.RemoteID+"/" {
				t.Errorf("%s is at %s", name, r.URL)
			}
		}
	}
	r := w.publish(w.client(w.person), social.Part{Text: "for friends", Options: map[string]string{"visibility": "connections"}})
	if all := w.sim.Posts(w.person); all[len(all)-1].URN != r.RemoteID || all[len(all)-1].Visibility != "CONNECTIONS" {
		t.Errorf("a post for connections is %+v", all[len(all)-1])
	}
}

func withRole(p social.Part) social.Part {
	p.Role = social.RoleBody
	return p
}

// masked puts # in the place of the names of files.
func masked(content string) string {
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(content, "urn:li:")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		out.WriteByte('#')
		content = rest[strings.IndexByte(rest, '"'):]
	}
}

// A GIF is a picture to the network; a page's post of one is found all the same.
func TestFindGIF(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	cl := w.client(w.page)
	j := w.job(cl, social.Part{Text: "it *moves*", Media: []social.Media{w.files.add(social.GIF, "image/gif", "gif", "")}})
	if err := w.prepare(cl, j); err != nil {
		t.Fatal(err)
	}
	r, err := w.commit(cl, j)
	if err != nil {
		t.Fatal(err)
	}
	f, err := cl.Find(t.Context(), j)
	if err != nil || len(f.Candidates) != 1 || f.Candidates[0].Fingerprint != j.Fingerprint || f.Candidates[0].Receipt.RemoteID != r.RemoteID || !f.Candidates[0].SameMedia {
		t.Errorf("%+v, %v; want %s", f, err, r.RemoteID)
	}
}

// A post of which no time is said is not ours for sure, and does not end the
// search before those that are.
func TestFindWithoutTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	cl := w.client(w.page)
	j := w.job(cl, social.Part{Text: "hello"})
	j.ArmedAt = w.now.Now()
	var timeless []string
	for i := range 100 { // a whole page
		timeless = append(timeless, fmt.Sprintf(`{"id":"urn:li:share:%d","author":%q,"commentary":"hello","lifecycleState":"PUBLISH_REQUESTED"}`, i+1, w.page))
	}
	first := func(r *http.Request) bool { return strings.Contains(r.URL.RawQuery, "start=0&") }
	w.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodGet, Path: "/rest/posts", Match: first, Do: simkit.Status(200, nil, `{"elements":[`+strings.Join(timeless, ",")+`]}`)})
	second := func(r *http.Request) bool { return strings.Contains(r.URL.RawQuery, "start=100&") }
	w.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodGet, Path: "/rest/posts", Match: second, Do: simkit.Status(200, nil,
		fmt.Sprintf(`{"elements":[{"id":"urn:li:share:700","author":%q,"commentary":"hello","lifecycleState":"PUBLISHED","createdAt":%d}]}`, w.page, j.ArmedAt.UnixMilli()))})
	f, err := cl.Find(t.Context(), j)
	if err != nil || len(f.Candidates) != 1 || f.Candidates[0].Receipt.RemoteID != "urn:li:share:700" {
		t.Errorf("%+v, %v", f, err)
	}
}

// A preparation that was killed in the middle of a video goes on with the first
// piece that is missing, in another process too.
func TestVideoGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{sim: func(o *linkedinsim.Options) { o.PartSize = 1000 }})
	film := w.files.add(social.Video, "video/mp4", strings.Repeat("0123456789", 750), "") // 8 pieces
	for killed := range 12 {
		before := puts(w)
		cl := w.client(w.page)
		j := w.job(cl, social.Part{Text: fmt.Sprint("film ", killed), Media: []social.Media{film}})
		var kept json.RawMessage
		left := killed
		j.Save = func(_ context.Context, st json.RawMessage, _ time.Time) error {
			kept = st
			if left == 0 {
				return fmt.Errorf("killed")
			}
			left--
			return nil
		}
		err := w.prepare(cl, j)
		if killed < 10 && err == nil { // named, 8 pieces, finished
			t.Errorf("killed at save %d, and it went on", killed)
		}
		w.p = w.platform()
		again := w.client(w.page)
		j.Save = nil
		if err != nil {
			j.State = kept
		}
		if err := w.prepare(again, j); err != nil {
			t.Fatal(err)
		}
		if _, err := w.commit(again, j); err != nil {
			t.Fatal(err)
		}
		if n := puts(w) - before; n != 8 {
			t.Errorf("killed at save %d: %d pieces went up, want 8", killed, n)
		}
	}
	if n := len(w.sim.Posts(w.page)); n != 12 {
		t.Errorf("%d posts are there", n)
	}
}

func puts(w *world) int {
	n := 0
	for _, r := range w.sim.Kit.Requests.All() {
		if r.Method == http.MethodPut {
			n++
		}
	}
	return n
}

// Addresses of uploads expire, also before the time that was said: the file goes
// up anew, in another process too.
func TestUploadExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{sim: func(o *linkedinsim.Options) { o.PartSize = 1000 }})
	cl := w.client(w.page)
	j := w.job(cl, social.Part{Text: "film", Media: []social.Media{w.files.add(social.Video, "video/mp4", strings.Repeat("x", 3000), "")}})
	saves := 0
	j.Save = func(_ context.Context, st json.RawMessage, _ time.Time) error {
		j.State = st
		if saves++; saves == 2 {
			w.sim.ExpireUploads()
		}
		return nil
	}
	err := w.prepare(cl, j)
	if connectors.KindOf(err) != connectors.Transient {
		t.Fatalf("an expired address is %v", err)
	}
	w.p = w.platform()
	cl = w.client(w.page)
	if err := w.prepare(cl, j); err != nil {
		t.Fatal(err)
	}
	if _, err := w.commit(cl, j); err != nil {
		t.Fatal(err)
	}
}

// Whoever has the address of a piece may write there: it is in no state as it
// is, and after the app's secret was changed the video goes up anew.
func TestUploadAddressIsSealed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{sim: func(o *linkedinsim.Options) { o.PartSize = 1000 }})
	cl := w.client(w.page)
	j := w.job(cl, social.Part{Text: "film", Media: []social.Media{w.files.add(social.Video, "video/mp4", strings.Repeat("x", 3000), "")}})
	var kept json.RawMessage
	j.Save = func(_ context.Context, st json.RawMessage, _ time.Time) error {
		kept = st
		return fmt.Errorf("killed")
	}
	if err := w.prepare(cl, j); err == nil {
		t.Fatal("it was killed and went on")
	}
	if s := string(kept); !strings.Contains(s, `"parts":[{"to":`) || strings.Contains(s, "dms-uploads") || strings.Contains(s, "sau=") {
		t.Errorf("kept is %s", s)
	}
	w.cfg.ClientSecret = social.NewSecret("another secret")
	w.sim.AddApp(linkedinsim.App{ID: w.cfg.ClientID, Secret: "another secret", Redirects: []string{callback}, Scopes: linkedintest.Scopes})
	w.p = w.platform()
	cl = w.client(w.page)
	j.State = kept
	j.Save = func(_ context.Context, st json.RawMessage, _ time.Time) error {
		j.State = st
		return nil
	}
	if err := w.prepare(cl, j); connectors.KindOf(err) != connectors.Transient {
		t.Fatalf("an address of another secret is %v", err)
	}
	if err := w.prepare(cl, j); err != nil {
		t.Fatal(err)
	}
	if _, err := w.commit(cl, j); err != nil {
		t.Fatal(err)
	}
}

// A file that is not known right after it went up is given time, is sent again a
// few times and no more, and in the end LinkedIn decides at the minute.
func TestMediaIsNotKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	w.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodGet, Path: "/rest/images/*", Do: simkit.Status(http.StatusNotFound, nil, `{"status":404,"code":"NOT_FOUND","message":"no such file"}`)})
	cl := w.client(w.page)
	j := w.job(cl, social.Part{Text: "unknown", Media: []social.Media{w.files.add(social.Image, "image/png", "one", "")}})
	began, looks := w.now.Now(), 0
	for done := false; !done; looks++ {
		p, err := cl.Prepare(t.Context(), j)
		if err != nil || looks > 1000 {
			t.Fatalf("after %d looks: %v", looks, err)
		}
		j.State, done = p.State, p.Again == 0
		w.now.Add(p.Again)
	}
	if n, took := puts(w), w.now.Now().Sub(began); n != 3 || took < 6*time.Minute || took > 10*time.Minute {
		t.Errorf("it went up %d times in %s, want 3 times with two minutes for each", n, took)
	}
	if _, err := w.commit(cl, j); err != nil {
		t.Fatal(err)
	}
}

// A file that LinkedIn cannot use is told a quarter of an hour before the minute.
func TestMediaFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	w.sim.FailMedia(true)
	cl := w.client(w.page)
	one, two := w.files.add(social.Image, "image/png", "one", ""), w.files.add(social.Image, "image/png", "two", "")
	err := w.prepare(cl, w.job(cl, social.Part{Text: "broken", Media: []social.Media{one, two}}))
	if e := connectors.AsError(err); e == nil || e.Kind != connectors.Invalid || e.Field != "media[0]" || !strings.Contains(e.Text, "cannot be read") {
		t.Errorf("it came out as %v", err)
	}
}

// A login that may not ask after a file waits, and does not ask for ever.
func TestMediaMayNotBeAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{sim: func(o *linkedinsim.Options) { o.NoAssets = true }})
	cl := w.client(w.person)
	j := w.job(cl, social.Part{Text: "blind", Media: []social.Media{w.files.add(social.Image, "image/png", "one", "")}})
	p, err := cl.Prepare(t.Context(), j)
	if err != nil || p.Again != 10*time.Second {
		t.Fatalf("it waits %v, %v", p.Again, err)
	}
	j.State = p.State
	w.now.Add(p.Again)
	if err := w.prepare(cl, j); err != nil {
		t.Fatal(err)
	}
	if _, err := w.commit(cl, j); err != nil {
		t.Fatal(err)
	}
}

// "This is a duplicate" proves an earlier effect only under the rule of
// duplicate.
func TestDuplicate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		member   bool
		unproven int
		before   func(w *world) // what stands on the network
		sim      func(*linkedinsim.Options)
		adopted  bool
	}{
		"page, after an unclear attempt":               {unproven: 1, before: posted, adopted: true},
		"member, after an unclear attempt":             {member: true, unproven: 1, before: posted, adopted: true},
		"page, first attempt":                          {before: posted},
		"member, first attempt":                        {member: true, before: posted},
		"page, the named post is not there":            {unproven: 1, before: deleted, sim: ghosts},
		"member, the named post is not there":          {member: true, unproven: 1, before: deleted, sim: ghosts},
		"member, the named post may not be asked for":  {member: true, unproven: 1, before: posted, sim: func(o *linkedinsim.Options) { o.NoMetadata = true }},
		"page, the named post has other words by then": {unproven: 1, before: edited},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, change{sim: c.sim})
			urn := w.page
			if c.member {
				urn = w.person
			}
			cl := w.client(urn)
			j := w.job(cl, social.Part{Text: "the same (words)"})
			if err := w.prepare(cl, j); err != nil {
				t.Fatal(err)
			}
			// An earlier attempt whose answer was lost.
			w.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodPost, Path: "/rest/posts", Nth: 1, Do: simkit.CutAfter()})
			if _, err := w.commit(cl, j); connectors.KindOf(err) != connectors.Ambiguous {
				t.Fatalf("a lost answer is %v", err)
			}
			first := w.sim.Posts(urn)[0].URN
			w.now.Add(time.Minute)
			c.before(w)
			j.Attempt, j.Unproven = 2, c.unproven
			r, err := w.commit(cl, j)
			switch {
			case c.adopted && (err != nil || r.RemoteID != first):
				t.Errorf("it came out as %+v, %v; want %s", r, err, first)
			case !c.adopted && connectors.KindOf(err) != connectors.Ambiguous:
				t.Errorf("it came out as %+v, %v; want ambiguous", r, err)
			}
			if n := w.sim.Kit.Journal.Count("create"); n != 1 {
				t.Errorf("%d posts ever were public", n)
			}
		})
	}
}

// A post with a picture that may be there already is sent again with the very
// same picture, whatever is said of it meanwhile: only so is it known again.
func TestSameFilesAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	cl := w.client(w.person)
	j := w.job(cl, social.Part{Text: "with a picture", Media: []social.Media{w.files.add(social.Image, "image/png", "one", "")}})
	if err := w.prepare(cl, j); err != nil {
		t.Fatal(err)
	}
	w.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodPost, Path: "/rest/posts", Nth: 1, Do: simkit.CutAfter()})
	if _, err := w.commit(cl, j); connectors.KindOf(err) != connectors.Ambiguous {
		t.Fatalf("a lost answer is %v", err)
	}
	w.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodGet, Path: "/rest/images/*", Do: simkit.Status(http.StatusNotFound, nil, `{"status":404,"code":"NOT_FOUND"}`)})
	w.now.Add(5 * time.Minute)
	j.Attempt, j.Unproven = 2, 1
	if err := w.prepare(cl, j); err != nil {
		t.Fatal(err)
	}
	r, err := w.commit(cl, j)
	if all := w.sim.Posts(w.person); err != nil || len(all) != 1 || r.RemoteID != all[0].URN || puts(w) != 1 {
		t.Errorf("%+v, %v; there are %+v, and %d uploads", r, err, all, puts(w))
	}
}

// What an app cannot do is shown with the reason, as the settings have it.
func TestMissing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		product, numbers string
		has, hasNot      []string
	}{
		{"share", "none", []string{"direct messages", "organisations", "numbers of a member's posts"}, []string{"views and reach of a member's posts"}},
		{"community", "social", []string{"direct messages", "views and reach of a member's posts"}, []string{"organisations", "numbers of a member's posts"}},
		{"community", "analytics", []string{"finding a member's posts"}, []string{"organisations", "numbers of a member's posts", "views and reach of a member's posts"}},
	} {
		w := newWorld(t, change{cfg: func(cfg *linkedin.Config) { cfg.Product, cfg.MemberNumbers = c.product, c.numbers }})
		said := map[string]bool{}
		for _, m := range w.p.Describe().Missing {
			said[m.What] = m.Why != ""
		}
		for _, what := range c.has {
			if !said[what] {
				t.Errorf("%s, %s: %q is not told as missing", c.product, c.numbers, what)
			}
		}
		for _, what := range c.hasNot {
			if said[what] {
				t.Errorf("%s, %s: %q is told as missing", c.product, c.numbers, what)
			}
		}
	}
}

func posted(*world) {}

func deleted(w *world) {
	for _, urn := range []string{w.page, w.person} {
		for _, p := range w.sim.Posts(urn) {
			w.sim.RemovePost(p.URN)
		}
	}
}

func ghosts(o *linkedinsim.Options) { o.Ghosts = true }

// edited lets somebody change the post between the refusal and the look.
func edited(w *world) {
	w.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodGet, Path: "/rest/posts/*", Do: simkit.Status(200, nil,
		`{"id":"urn:li:share:7300000000000000001","author":"`+w.page+`","commentary":"other words","lifecycleState":"PUBLISHED","createdAt":1795424400000}`)})
}

// Each refusal of the before-effect list comes out in its kind with a text that
// says what to do, and the same status with another code does not.
func TestRefusals(t *testing.T) {
	t.Parallel()
	body := func(status int, code, message string) string {
		return fmt.Sprintf(`{"status":%d,"code":%q,"message":%q}`, status, code, message)
	}
	for name, c := range map[string]struct {
		status int
		body   string
		kind   connectors.Kind
		says   string
		wait   time.Duration
	}{
		"version ended":         {426, body(426, "NONEXISTENT_VERSION", "Requested version 20240801 is not active"), connectors.Permanent, "linkedin.version", 0},
		"no version":            {400, body(400, "VERSION_MISSING", "A version must be present"), connectors.Permanent, "linkedin.version", 0},
		"upgrade, no code":      {426, `{}`, connectors.Ambiguous, "", 0},
		"expired":               {401, body(401, "EXPIRED_ACCESS_TOKEN", "expired"), connectors.AuthExpired, "connect it again", 0},
		"revoked, by number":    {401, `{"status":401,"serviceErrorCode":65601,"message":"revoked"}`, connectors.AuthExpired, "connect it again", 0},
		"unknown 401":           {401, body(401, "SOMETHING", "?"), connectors.Ambiguous, "", 0},
		"denied":                {403, body(403, "ACCESS_DENIED", "Not enough permissions to access: partnerApiPosts.CREATE"), connectors.Permission, "partnerApiPosts.CREATE", 0},
		"day's quota":           {429, body(429, "TOO_MANY_REQUESTS", "throttle APPLICATION DAY limit for calls to this resource is reached."), connectors.RateLimited, "wait", 15*time.Hour + time.Minute},
		"short limit":           {429, body(429, "TOO_MANY_REQUESTS", "slow down"), connectors.RateLimited, "wait", time.Minute},
		"blank":                 {422, `{"status":422,"message":"x","errorDetails":{"inputErrors":[{"code":"INVALID_VALUE_BLANK_FIELD","description":"must not be blank","input":{"inputPath":{"fieldPath":"commentary"}}}]}}`, connectors.Invalid, "must not be blank", 0},
		"not ready":             {400, body(400, "MEDIA_ASSET_WAITING_UPLOAD", "wait"), connectors.Transient, "", 0},
		"failed":                {400, body(400, "MEDIA_ASSET_PROCESSING_FAILED", "broken"), connectors.Invalid, "broken", 0},
		"conflict":              {409, body(409, "CONFLICT", "conflict"), connectors.Ambiguous, "", 0},
		"trouble with a code":   {500, body(500, "FIELD_LENGTH_TOO_LONG", "?"), connectors.Ambiguous, "", 0},
		"new in November":       {400, body(400, "NEW_IN_NOVEMBER", "?"), connectors.Ambiguous, "", 0},
		"duplicate, 400":        {400, `{"status":400,"message":"Content is a duplicate of urn:li:share:1"}`, connectors.Ambiguous, "", 0},
		"duplicate, other name": {400, `{"status":400,"code":"INVALID_VALUE_FOR_FIELD","message":"Content is a duplicate of urn:li:activity:1"}`, connectors.Ambiguous, "", 0},
		"duplicate, no name":    {422, `{"status":422,"code":"INVALID_VALUE_FOR_FIELD","message":"Duplicate post is detected"}`, connectors.Ambiguous, "", 0},
		"created, but unnamed":  {201, ``, connectors.Ambiguous, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, change{})
			cl := w.client(w.page)
			j := w.job(cl, social.Part{Text: "hello"})
			if err := w.prepare(cl, j); err != nil {
				t.Fatal(err)
			}
			w.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodPost, Path: "/rest/posts", Do: simkit.Status(c.status, nil, c.body)})
			_, err := w.commit(cl, j)
			e := connectors.AsError(err)
			if e == nil || e.Kind != c.kind || !strings.Contains(e.Text, c.says) || e.RetryAfter != c.wait {
				t.Errorf("%+v; want %s, %q, %v", e, c.kind, c.says, c.wait)
			}
		})
	}
}

// What the network calls a field is what smi calls it.
func TestRefusedFields(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"commentary": "text", "/commentary": "text", "content/media/altText": "media[0].alt", "content/multiImage/images": "media",
		"content/multiImage/images/3/id": "media[3]", "content.multiImage.images[2].altText": "media[2].alt", "content/article/title": "link",
		"content/poll/options/1/text": "options.poll_options", "content/poll/question": "options.poll_question", "visibility": "options.visibility", "author": "",
	} {
		w := newWorld(t, change{})
		cl := w.client(w.page)
		j := w.job(cl, social.Part{Text: "hello"})
		if err := w.prepare(cl, j); err != nil {
			t.Fatal(err)
		}
		w.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodPost, Path: "/rest/posts", Do: simkit.Status(400, nil,
			`{"status":400,"errorDetails":{"inputErrors":[{"code":"INVALID_VALUE_FOR_FIELD","input":{"inputPath":{"fieldPath":"`+path+`"}}}]}}`)})
		_, err := w.commit(cl, j)
		if e := connectors.AsError(err); e == nil || e.Kind != connectors.Invalid || e.Field != want {
			t.Errorf("%s is %+v, want %q", path, e, want)
		}
	}
}

// Comments go under posts and under comments, of a member too, and not before
// the network knows the post.
func TestComments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	for _, urn := range []string{w.page, w.person} {
		cl := w.client(urn)
		root := w.publish(cl, social.Part{Text: "a post by " + urn})
		j := w.job(cl, social.Part{Role: social.RoleComment, Text: "plain (text) #1", Media: []social.Media{w.files.add(social.Image, "image/png", "p", "")}})
		j.Step, j.Root, j.Parent = 1, &root, &root
		p, err := cl.Prepare(t.Context(), j)
		if err != nil || p.Again != 5*time.Second {
			t.Fatalf("it waits %v, %v; want 5s", p.Again, err)
		}
		if err := w.prepare(cl, j); err != nil {
			t.Fatal(err)
		}
		j.Fingerprint = cl.Fingerprint(j.Part, root.RemoteID)
		first, err := w.commit(cl, j)
		if err != nil {
			t.Fatal(err)
		}
		k := w.job(cl, social.Part{Text: "an answer"})
		k.Kind, k.Parent, k.Fingerprint = social.KindReply, &first, cl.Fingerprint(&social.Part{Text: "an answer"}, first.RemoteID)
		if err := w.prepare(cl, k); err != nil {
			t.Fatal(err)
		}
		second, err := w.commit(cl, k)
		if err != nil {
			t.Fatal(err)
		}
		got := w.sim.Posts(urn)
		if len(got) != 3 || got[1].Parent != root.RemoteID || got[1].Text != "plain (text) #1" || got[1].Media != 1 || got[2].Parent != first.RemoteID || got[2].URN != second.RemoteID {
			t.Errorf("%+v", got)
		}
		if !strings.HasPrefix(first.URL, root.URL+"?commentUrn=urn%3Ali%3Acomment%3A%28") {
			t.Errorf("the comment is at %s", first.URL)
		}
		for _, name := range []string{first.RemoteID, first.URL} {
			back, err := cl.Get(t.Context(), name)
			if err != nil || back.Receipt.RemoteID != first.RemoteID {
				t.Errorf("%s reads back as %+v, %v", name, back, err)
			}
		}
		if urn == w.page {
			for job, want := range map[*connectors.Job]string{j: first.RemoteID, k: second.RemoteID} {
				f, err := cl.Find(t.Context(), job)
				if err != nil || len(f.Candidates) != 1 || f.Candidates[0].Receipt.RemoteID != want || f.Candidates[0].Fingerprint != job.Fingerprint {
					t.Errorf("Find says %+v, %v; want %s", f, err, want)
				}
			}
		}
		if err := cl.Delete(t.Context(), second); err != nil || len(w.sim.Posts(urn)) != 2 {
			t.Errorf("deleting: %v, %+v", err, w.sim.Posts(urn))
		}
	}
	cl := w.client(w.page)
	long := social.Part{Role: social.RoleComment, Text: strings.Repeat("a", 1251)}
	if bad := social.Refusals(cl.Check([]social.Part{{Role: social.RoleBody, Text: "b"}, long})); len(bad) != 1 || bad[0].Field != "parts[1].text" {
		t.Errorf("a comment of 1251 characters: %+v", bad)
	}
}

// LinkedIn has a quota for each endpoint: comments that are too many hold no
// post up.
func TestQuotaOfComments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	cl := w.client(w.page)
	root := w.publish(cl, social.Part{Text: "a post"})
	w.now.Add(time.Minute)
	j := w.job(cl, social.Part{Role: social.RoleComment, Text: "one too many"})
	j.Step, j.Root, j.Parent = 1, &root, &root
	if err := w.prepare(cl, j); err != nil {
		t.Fatal(err)
	}
	w.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodPost, Path: "/rest/socialActions/*", Do: simkit.Status(http.StatusTooManyRequests, nil,
		`{"status":429,"code":"TOO_MANY_REQUESTS","message":"throttle MEMBER DAY limit for calls to this resource is reached."}`)})
	if _, err := w.commit(cl, j); connectors.KindOf(err) != connectors.RateLimited {
		t.Fatalf("the quota of comments is %v", err)
	}
	if r := w.publish(cl, social.Part{Text: "another post"}); r.RemoteID == "" {
		t.Error("the next post has no name")
	}
	if _, err := w.commit(cl, j); connectors.KindOf(err) != connectors.RateLimited {
		t.Errorf("the next comment is %v", err)
	}
}

// An option that has no place in a post is not dropped without a word.
func TestUnusedOptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	cl := w.client(w.page)
	picture := w.files.add(social.Image, "image/png", "p", "what it shows")
	other := w.files.add(social.Image, "image/png", "q", "what it shows")
	body := social.Part{Role: social.RoleBody, Text: "hello"}
	for name, c := range map[string]struct {
		parts []social.Part
		want  string // field that is said to be left out, or ""
	}{
		"a title of a text":     {[]social.Part{{Role: social.RoleBody, Text: "x", Options: map[string]string{"title": "T"}}}, "parts[0].options.title"},
		"a title of pictures":   {[]social.Part{{Role: social.RoleBody, Text: "x", Media: []social.Media{picture, other}, Options: map[string]string{"title": "T"}}}, "parts[0].options.title"},
		"a title of a picture":  {[]social.Part{{Role: social.RoleBody, Text: "x", Media: []social.Media{picture}, Options: map[string]string{"title": "T"}}}, ""},
		"a duration of no poll": {[]social.Part{{Role: social.RoleBody, Text: "x", Options: map[string]string{"poll_duration": "1d"}}}, "parts[0].options.poll_duration"},
		"who may see a comment": {[]social.Part{body, {Role: social.RoleComment, Text: "x", Options: map[string]string{"visibility": "public"}}}, "parts[1].options.visibility"},
		"nothing given":         {[]social.Part{{Role: social.RoleBody, Text: "x", Options: map[string]string{"title": "", "poll_duration": ""}}}, ""},
	} {
		got := ""
		for _, p := range cl.Check(c.parts) {
			if p.Severity != social.Advice {
				got += p.Field
			}
			if p.Severity == social.Refused {
				t.Errorf("%s is refused: %+v", name, p)
			}
		}
		if got != c.want {
			t.Errorf("%s: %q is said to be left out, want %q", name, got, c.want)
		}
	}
}

// A member's posts cannot be looked up, and the connection says so before
// anything is asked.
func TestVerbs(t *testing.T) {
	t.Parallel()
	for numbers, want := range map[string]connectors.Verbs{
		"none":      {Publish: true, Get: true, Delete: true},
		"social":    {Publish: true, Get: true, Delete: true, PostInsights: true},
		"analytics": {Publish: true, Get: true, Delete: true, PostInsights: true, AccountInsights: true},
	} {
		w := newWorld(t, change{cfg: func(c *linkedin.Config) { c.MemberNumbers = numbers }})
		if got := w.client(w.person).Verbs(); got != want {
			t.Errorf("%s: a member has %+v, want %+v", numbers, got, want)
		}
		all := connectors.Verbs{Publish: true, Find: true, Get: true, Delete: true, List: true, PostInsights: true, AccountInsights: true}
		if got := w.client(w.page).Verbs(); got != all {
			t.Errorf("a page has %+v, want %+v", got, all)
		}
	}
}

// A person names a post by what they see; a member's cannot be read, and they
// are believed where LinkedIn does not let the app ask.
func TestGet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	post, other := w.sim.Write(w.page, "hello"), w.sim.Write(w.person, "mine")
	for name, kind := range map[string]connectors.Kind{
		post: "", "https://www.linkedin.com/feed/update/" + post + "/?utm=x": "", other: connectors.Permission, "urn:li:share:1": connectors.Invalid,
		"urn:li:activity:7300000000000000002": connectors.Invalid, "hello": connectors.Invalid, "https://www.linkedin.com/in/alice/": connectors.Invalid,
	} {
		got, err := w.client(w.page).Get(t.Context(), name)
		if connectors.KindOf(err) != kind || err == nil && (got.Excerpt != "hello" || got.Receipt.RemoteID != post) {
			t.Errorf("a page: %s is %+v, %v", name, got, err)
		}
	}
	for _, blind := range []bool{false, true} {
		w := newWorld(t, change{sim: func(o *linkedinsim.Options) { o.NoMetadata = blind }})
		mine := w.sim.Write(w.person, "mine")
		cl := w.client(w.person)
		got, err := cl.Get(t.Context(), mine)
		if err != nil || got.Receipt.RemoteID != mine || got.Fingerprint != "" {
			t.Errorf("a member: %+v, %v", got, err)
		}
		w.sim.RemovePost(mine)
		_, err = cl.Get(t.Context(), mine)
		if gone := connectors.KindOf(err) == connectors.Invalid; gone == blind {
			t.Errorf("blind %v: a gone post is %v", blind, err)
		}
	}
}
