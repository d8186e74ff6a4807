package youtube_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
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
	"smi/connectors/internal/simkit"
	"smi/connectors/youtube"
	"smi/internal/social"
)

const (
	uploadPath = "/upload/youtube/v3/videos"
	videosPath = "/youtube/v3/videos"
)

// stream is a file that nobody has: its bytes are made as they are read.
type stream struct {
	size, at int64
}

func (s *stream) Read(p []byte) (int, error) {
	if s.at >= s.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), s.size-s.at)]
	var word [8]byte
	for i := 0; i < len(p); {
		binary.LittleEndian.PutUint64(word[:], uint64((s.at+int64(i))/8)*0x9e3779b97f4a7c15)
		i += copy(p[i:], word[(s.at+int64(i))%8:])
	}
	s.at += int64(len(p))
	return len(p), nil
}

func (s *stream) Seek(to int64, whence int) (int64, error) {
	if whence != io.SeekStart {
		return 0, fmt.Errorf("only from the start")
	}
	s.at = to
	return to, nil
}

func (s *stream) Close() error { return nil }

type streams int64

func (n streams) Open(context.Context, string) (io.ReadSeekCloser, error) {
	return &stream{size: int64(n)}, nil
}

func (n streams) hash(t *testing.T) string {
	t.Helper()
	h := sha256.New()
	if _, err := io.Copy(h, &stream{size: int64(n)}); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// pieces notes what was put to upload sessions, and does something at one.
type pieces struct {
	mu     sync.Mutex
	ranges []string
	bytes  int64
	at     int // the piece, from 1
	before func()
	after  func() // before the connection is cut
}

func (p *pieces) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && r.URL.Path == uploadPath {
			p.mu.Lock()
			p.ranges = append(p.ranges, r.Header.Get("Content-Range"))
			p.bytes += max(r.ContentLength, 0)
			hit := len(p.ranges) == p.at
			p.mu.Unlock()
			if hit {
				p.before()
				defer p.after()
			}
		}
		next.ServeHTTP(w, r)
	})
}

// TestKilledInTheMiddle kills a process in the middle of a large file: the
// connection breaks in a piece of which the server kept a part, and the process
// is gone. Another one, which has only the stored state, goes on at the byte
// that the server names.
func TestKilledInTheMiddle(t *testing.T) {
	size := streams(200 << 20)
	const piece, kept = 8 << 20, 3<<20 + 17
	var seen pieces
	w := newWorld(t, setting{wrap: seen.wrap})
	j := w.job("A long film", nil)
	j.Media, j.Part.Media[0].Bytes = size, int64(size)
	var stored json.RawMessage
	j.Save = func(_ context.Context, st json.RawMessage, _ time.Time) error { stored = st; return nil }
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	seen.at, seen.before, seen.after = 13, func() { w.sim.Tear(kept) }, kill
	if _, err := w.client().Prepare(ctx, j); err == nil {
		t.Fatal("the killed process finished the upload")
	}
	first := len(seen.ranges)
	if st := stateOf(t, stored); st.Offset <= 0 || st.Offset >= int64(size) || st.VideoID != "" {
		t.Fatalf("stored was %+v", st)
	}

	// Whatever the first process still had on its way has been cut.
	next := w.job("A long film", nil)
	next.Media, next.Part, next.State = size, j.Part, stored
	w.mustPrepare(w.client(), next)
	resumed := seen.ranges[first:]
	if want := fmt.Sprintf("bytes */%d", size); resumed[0] != want {
		t.Errorf("the second process began with %q, want to ask first: %q", resumed[0], want)
	}
	if want := fmt.Sprintf("bytes %d-", 12*piece+kept); !strings.HasPrefix(resumed[1], want) { // 12 whole pieces, and what was kept of the 13th
		t.Errorf("the second process went on with %q, want %q", resumed[1], want)
	}
	if seen.bytes > int64(size)+piece {
		t.Errorf("%d bytes were sent of %d", seen.bytes, size)
	}
	vs := w.sim.Videos(w.channel)
	if len(vs) != 1 || vs[0].MediaHash != size.hash(t) || vs[0].Privacy != "private" || w.public() != 0 {
		t.Fatalf("on the network: %+v", vs)
	}
	w.mustCommit(w.client(), next)
	if w.public() != 1 {
		t.Errorf("%d became public", w.public())
	}
}

// small is a world whose uploads have several pieces.
func small(t *testing.T, s setting) (*world, *connectors.Job) {
	t.Helper()
	s.cfg = func(c *youtube.Config) { c.ChunkBytes = 256 << 10 }
	w := newWorld(t, s)
	size := streams(1<<20 + 12345)
	j := w.job("Film", nil)
	j.Media, j.Part.Media[0].Bytes = size, int64(size)
	return w, j
}

func (w *world) whole(t *testing.T, j *connectors.Job) {
	t.Helper()
	vs := w.sim.Videos(w.channel)
	if len(vs) != 1 || vs[0].MediaHash != j.Media.(streams).hash(t) {
		t.Errorf("on the network: %+v", vs)
	}
}

func TestUploadMishaps(t *testing.T) {
	busy := simkit.Status(http.StatusServiceUnavailable, nil, "")
	for name, c := range map[string]struct {
		do     func(*world)
		videos int
	}{
		"a piece is cut":                 {func(w *world) { w.answer(http.MethodPut, uploadPath, 2, simkit.CutBefore()) }, 1},
		"an answer is lost":              {func(w *world) { w.answer(http.MethodPut, uploadPath, 2, simkit.CutAfter()) }, 1},
		"the last answer is lost":        {func(w *world) { w.answer(http.MethodPut, uploadPath, 5, simkit.CutAfter()) }, 1},
		"a piece is torn":                {func(w *world) { w.sim.Tear(1000) }, 1},
		"a server is busy":               {func(w *world) { w.answer(http.MethodPut, uploadPath, 3, busy) }, 1},
		"the session is gone":            {func(w *world) { w.answer(http.MethodPut, uploadPath, 3, simkit.Status(http.StatusGone, nil, "")) }, 1},
		"the server forgets the session": {func(w *world) { w.answer(http.MethodPut, uploadPath, 3, forget(w)) }, 1},
		"the last answer is a forgotten one": {func(w *world) {
			w.answer(http.MethodPut, uploadPath, 5, simkit.ActThenStatus(http.StatusNotFound, nil, ""))
		}, 1},
		"the last answer is a forgotten one, and the list is behind": {func(w *world) {
			w.answer(http.MethodPut, uploadPath, 5, simkit.ActThenStatus(http.StatusNotFound, nil, ""))
			w.answer(http.MethodGet, "/youtube/v3/playlistItems", 1, googleError(404, "playlistNotFound"))
		}, 2},
		"the token ends": {func(w *world) { w.answer(http.MethodPut, uploadPath, 2, expire(w)) }, 1},
		"opening is cut": {func(w *world) {
			w.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodPost, Path: uploadPath, Nth: 1, Do: simkit.CutAfter()})
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w, j := small(t, setting{})
			c.do(w)
			w.mustPrepare(w.client(), j)
			if vs := w.sim.Videos(w.channel); len(vs) != c.videos || vs[len(vs)-1].MediaHash != j.Media.(streams).hash(t) {
				t.Errorf("%d videos, want %d: %+v", len(vs), c.videos, vs)
			}
			if w.public() != 0 {
				t.Error("something is public")
			}
			r := w.mustCommit(w.client(), j)
			if vs := w.sim.Posts(w.channel); len(vs) != 1 || vs[0].ID != r.RemoteID {
				t.Errorf("public is %+v, and smi says %s", vs, r.RemoteID)
			}
		})
	}
}

func forget(w *world) simkit.Action {
	return func(out http.ResponseWriter, r *http.Request, next http.Handler) {
		w.sim.Forget()
		next.ServeHTTP(out, r)
	}
}

func expire(w *world) simkit.Action {
	return func(out http.ResponseWriter, r *http.Request, next http.Handler) {
		w.sim.ExpireAccess(w.channel)
		next.ServeHTTP(out, r)
	}
}

// TestUploadGivesUp: a server that takes nothing is left alone after a few tries.
func TestUploadGivesUp(t *testing.T) {
	w, j := small(t, setting{})
	w.sim.Kit.Script.Add(simkit.Fault{Method: http.MethodPut, Path: uploadPath, Match: func(r *http.Request) bool { return !strings.Contains(r.Header.Get("Content-Range"), "*") }, Do: simkit.Status(308, nil, "")})
	_, err := w.prepare(w.client(), j)
	wantKind(t, err, connectors.Transient, "nothing more")
	if n := w.sim.Kit.Requests.Count(http.MethodPut, ""); n > 6 {
		t.Errorf("%d pieces were tried", n)
	}
}

// TestSessionIsSealed: the address of a session is an authority; it is in no
// state and no log, and after a new login an upload begins anew.
func TestSessionIsSealed(t *testing.T) {
	w, j := small(t, setting{})
	var stored json.RawMessage
	j.Save = func(_ context.Context, st json.RawMessage, _ time.Time) error { stored = st; return errKilled }
	if _, err := w.prepare(w.client(), j); err == nil {
		t.Fatal("the killed process finished")
	}
	if s := string(stored); strings.Contains(s, "upload_id") || strings.Contains(s, "sim.test") || stateOf(t, stored).Session == "" {
		t.Errorf("stored is %s", s)
	}
	address := ""
	for _, v := range w.secrets {
		if strings.Contains(v, "upload_id=") {
			address = v
		}
	}
	if address == "" || strings.Contains(w.log.String(), "upload_id") {
		t.Errorf("the log knows of %q and says\n%s", address, &w.log)
	}
	if n := w.sim.Kit.Requests.Count(http.MethodPost, uploadPath); n != 1 {
		t.Fatalf("%d sessions", n)
	}
	again := *j
	again.State, again.Save = stored, nil
	w.mustPrepare(w.client(), &again)
	if n := w.sim.Kit.Requests.Count(http.MethodPost, uploadPath); n != 1 {
		t.Errorf("a stored session was not used: %d sessions", n)
	}
	w.connect() // a new refresh token
	w.sim.Remove(stateOf(t, again.State).VideoID)
	anew := *j
	anew.State, anew.Save = stored, nil
	w.mustPrepare(w.client(), &anew)
	if n := w.sim.Kit.Requests.Count(http.MethodPost, uploadPath); n != 2 {
		t.Errorf("after a new login there are %d sessions, want another one", n)
	}
}

// TestLostUploadIsFound: where the session is lost when its last piece may have
// arrived, the video is looked for among the uploads of the channel, and only
// what is certainly it is taken.
func TestLostUploadIsFound(t *testing.T) {
	type lost struct {
		w       *world
		j       *connectors.Job // with the session, which nobody can use any more
		id      string          // of the video that it made
		another func() string   // uploads the same once more
	}
	begin := func(t *testing.T) lost {
		w, j := small(t, setting{})
		var stored json.RawMessage
		j.Save = func(_ context.Context, st json.RawMessage, _ time.Time) error {
			if stored == nil {
				stored = st
			}
			return nil
		}
		w.mustPrepare(w.client(), j)
		id := stateOf(t, j.State).VideoID
		w.sim.Forget()
		another := func() string {
			k := w.job(j.Part.Text, j.Part.Options)
			k.Media, k.Part = j.Media, j.Part
			w.mustPrepare(w.client(), k)
			return stateOf(t, k.State).VideoID
		}
		j.State, j.Save = stored, nil
		return lost{w, j, id, another}
	}
	for name, c := range map[string]struct {
		do    func(lost)
		found bool
	}{
		"it is there":               {func(lost) {}, true},
		"the channel was connected": {func(l lost) { l.w.connect() }, true},
		"there are two":             {func(l lost) { l.another() }, false},
		"it is public":              {func(l lost) { l.w.sim.SetPrivacy(l.id, "public") }, false},
		"it was refused":            {func(l lost) { l.w.sim.Reject(l.id, "copyright") }, false},
		"it is an older one": {func(l lost) {
			l.w.sim.Remove(l.id)
			l.another()
			l.w.pass(time.Hour)
			var st map[string]any
			if err := json.Unmarshal(l.j.State, &st); err != nil {
				l.w.t.Fatal(err)
			}
			st["started"] = l.w.time()
			l.j.State, _ = json.Marshal(st) //nolint:errcheck // a map of JSON
			if _, err := l.w.Renew(l.w.t.Context(), 0); err != nil {
				l.w.t.Fatal(err)
			}
		}, false},
		"it has other words": {func(l lost) { l.j.Part.Options["title"] = "Another" }, false},
		"it has other bytes": {func(l lost) {
			l.j.Media = l.j.Media.(streams) + 1
			l.j.Part.Media[0].Bytes++
			var st map[string]any
			if err := json.Unmarshal(l.j.State, &st); err != nil {
				l.w.t.Fatal(err)
			}
			st["size"] = l.j.Part.Media[0].Bytes
			l.j.State, _ = json.Marshal(st) //nolint:errcheck // a map of JSON
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := begin(t)
			l.j.Part.Options = map[string]string{"made_for_kids": "no"}
			c.do(l)
			w := l.w
			before := len(w.sim.Videos(w.channel))
			w.mustPrepare(w.client(), l.j)
			got := stateOf(t, l.j.State).VideoID
			if after := len(w.sim.Videos(w.channel)); (got == l.id) != c.found || (after == before) != c.found {
				t.Errorf("it became %s of %d videos, was %s of %d; found should be %v", got, after, l.id, before, c.found)
			}
			if r := w.mustCommit(w.client(), l.j); r.RemoteID != got {
				t.Errorf("public is %s, and smi says %s", got, r.RemoteID)
			}
		})
	}
	t.Run("the list does not answer", func(t *testing.T) {
		l := begin(t)
		w := l.w
		for n := 1; n <= 3; n++ {
			w.answer(http.MethodGet, "/youtube/v3/playlistItems", n, simkit.Status(http.StatusServiceUnavailable, nil, ""))
		}
		_, err := w.prepare(w.client(), l.j)
		wantKind(t, err, connectors.Transient)
		w.mustPrepare(w.client(), l.j)
		if got := stateOf(t, l.j.State).VideoID; got != l.id {
			t.Errorf("it became %s, want %s", got, l.id)
		}
	})
}

// TestTurns: a slow upload lets others have their turn.
func TestTurns(t *testing.T) {
	var w *world
	slow := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && r.URL.Path == uploadPath {
				w.pass(3 * time.Minute)
			}
			next.ServeHTTP(out, r)
		})
	}
	var j *connectors.Job
	w, j = small(t, setting{wrap: slow})
	turns := 0
	for ; turns < 20; turns++ {
		p, err := w.prepare(w.client(), j)
		if err != nil {
			t.Fatal(err)
		}
		if p.Again == 0 {
			break
		}
	}
	if turns < 2 || turns == 20 {
		t.Errorf("it took %d turns", turns)
	}
	w.whole(t, j)
}

func TestUploadRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		do     func(*world)
		kind   connectors.Kind
		bucket string
		word   string
	}{
		"enough today": {func(w *world) { w.sim.UploadLimit() }, connectors.RateLimited, "endpoint:videos.insert", "number of videos"},
		"quota": {func(w *world) {
			w.answer(http.MethodPost, uploadPath, 1, googleError(403, "quotaExceeded"))
		}, connectors.RateLimited, "endpoint:videos.insert", "midnight Pacific"},
		"no place named": {func(w *world) { w.answer(http.MethodPost, uploadPath, 1, simkit.Status(200, nil, "")) }, connectors.Unknown, "", "did not say where"},
		"elsewhere": {func(w *world) {
			w.answer(http.MethodPost, uploadPath, 1, simkit.Status(200, map[string]string{"Location": "https://evil.example/upload?upload_id=1"}, ""))
		}, connectors.Permission, "", "not on the list of hosts"},
		"an odd range": {func(w *world) {
			w.answer(http.MethodPut, uploadPath, 1, simkit.Status(308, map[string]string{"Range": "bytes=5-9"}, ""))
		}, connectors.Unknown, "", "unknown way"},
	} {
		t.Run(name, func(t *testing.T) {
			w, j := small(t, setting{})
			c.do(w)
			_, err := w.prepare(w.client(), j)
			wantKind(t, err, c.kind, c.word)
			if e := connectors.AsError(err); e.Bucket != c.bucket {
				t.Errorf("the bucket is %q, want %q", e.Bucket, c.bucket)
			}
			if len(w.sim.Videos(w.channel)) != 0 {
				t.Error("there is a video")
			}
		})
	}
}

// TestNoTwins: two posts of the same words and the same file are two videos, and
// each commit makes its own public.
func TestNoTwins(t *testing.T) {
	w := newWorld(t, setting{})
	a, b := w.job("the same", nil), w.job("the same", nil)
	b.Delivery = social.ID(8)
	c := w.client()
	w.mustPrepare(c, a)
	w.mustPrepare(c, b)
	if r, s := w.mustCommit(c, a), w.mustCommit(c, b); r.RemoteID == s.RemoteID || w.public() != 2 {
		t.Errorf("%s and %s; %d became public", r.RemoteID, s.RemoteID, w.public())
	}
}
