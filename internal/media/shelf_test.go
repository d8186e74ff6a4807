package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"smi/internal/social"

	s3 "smi/internal/bucket"
)

// cloud is an S3 written by others, on this machine.
type cloud struct {
	url  string
	b    *s3.Bucket
	puts atomic.Int64                                      // parts and whole objects that were sent
	cut  func(w http.ResponseWriter, r *http.Request) bool // answers instead, if it says so
}

func newCloud(t testing.TB) *cloud {
	t.Helper()
	c := &cloud{}
	fake := gofakes3.New(s3mem.New(), gofakes3.WithAutoBucket(true)).Server()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.cut != nil && c.cut(w, r) {
			return
		}
		if r.Method == http.MethodPut {
			c.puts.Add(1)
		}
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	c.url = srv.URL
	c.b = c.open(t)
	return c
}

func (c *cloud) open(t testing.TB) *s3.Bucket {
	t.Helper()
	b, err := s3.Open(t.Context(), s3.Options{
		To:     "s3://smi/media?region=us-east-1&use_path_style=true&hostname_immutable=true&endpoint=" + c.url,
		Access: s3.Access{Key: social.NewSecret("id"), Secret: social.NewSecret("secret")}, Field: "media.bucket", Key: "media.access_key_file",
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (c *cloud) keys(t testing.TB) (out []string) {
	t.Helper()
	for it := c.b.List(nil); ; {
		o, err := it.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, o.Key)
	}
}

// house is a store of one of both kinds.
type house struct {
	*Store
	dir   string
	cloud *cloud // nil: files lie in the folder
}

func (h *house) kept(t testing.TB) []string {
	if h.cloud != nil {
		return h.cloud.keys(t)
	}
	return files(t, h.dir)
}

// inBoth runs a test with files in a folder and with files in a bucket.
func inBoth(t *testing.T, run func(t *testing.T, h *house)) {
	for _, kind := range []string{"folder", "bucket"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			h := &house{dir: filepath.Join(t.TempDir(), "media")}
			o := Options{Dir: h.dir, Index: &memoryIndex{files: map[string]social.Media{}, derived: map[string]string{}}, Now: time.Now}
			if kind == "bucket" {
				h.cloud = newCloud(t)
				o.Bucket = h.cloud.open(t)
			}
			var err error
			if h.Store, err = Open(o); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { h.Close() })
			run(t, h)
		})
	}
}

// TestBothShelves: what is taken in is there, whole and once, can be read from
// anywhere, and is missed when it is gone.
func TestBothShelves(t *testing.T) {
	t.Parallel()
	inBoth(t, func(t *testing.T, h *house) {
		photo := asJPEG(t, noise(300, 200, false))
		m := h.imported(t, "photo.jpg", photo)
		if again := h.imported(t, "photo.jpg", photo); again != m || len(h.kept(t)) != 1 {
			t.Errorf("the same bytes twice: %+v and %+v, kept %v", m, again, h.kept(t))
		}
		if want := m.Hash[:2] + "/" + m.Hash[2:4] + "/" + m.Hash; h.kept(t)[0] != want {
			t.Errorf("it lies at %v, want %s", h.kept(t), want)
		}
		if err := h.Verify(t.Context(), m, true); err != nil {
			t.Error(err)
		}
		smaller, err := h.Fit(t.Context(), m, FitRule{MaxSide: 100})
		if err != nil || smaller.Width != 100 || len(h.kept(t)) != 2 {
			t.Errorf("a smaller copy: %+v, %v", smaller, err)
		}
		if left, err := os.ReadDir(filepath.Join(h.dir, tmpDir)); err != nil || len(left) != 0 {
			t.Errorf("unfinished files are left: %v %v", left, err)
		}

		content := h.bytes(t, m.Hash)
		f, err := h.Open(t.Context(), m.Hash)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := iotest.TestReader(f, content); err != nil {
			t.Error(err)
		}
		for _, at := range []int64{int64(len(content)) - 5, 7, 0} {
			if _, err := f.Seek(at, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(f)
			if err != nil || !bytes.Equal(got, content[at:]) {
				t.Errorf("from %d: %d bytes, %v", at, len(got), err)
			}
		}

		none := strings.Repeat("a", 64)
		if _, err := h.Open(t.Context(), none); social.CodeOf(err) != social.CodeNotFound || !strings.Contains(err.Error(), "upload it again") {
			t.Errorf("a file that is not there: %v", err)
		}
		if err := h.Verify(t.Context(), social.Media{Hash: none}, false); err == nil || err.Error() != "missing" {
			t.Errorf("verifying a file that is not there: %v", err)
		}
		if err := h.Verify(t.Context(), social.Media{Hash: m.Hash, Bytes: m.Bytes + 1}, false); err == nil || !strings.Contains(err.Error(), "was stored with") {
			t.Errorf("verifying a file of another length: %v", err)
		}
	})
}

// TestFileIsDurable: a file and its name are on the disk before anybody is told:
// first the file, then, when it has its name, the folders that lead to it. If one of
// them fails, nothing is known of the file.
func TestFileIsDurable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	x := &memoryIndex{files: map[string]social.Media{}}
	s, err := Open(Options{Dir: dir, Index: x, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var synced []string
	fails := -1
	broken := errors.New("the disk is broken")
	s.shelf = &folder{s.root, func(f *os.File) error {
		if len(synced) == fails {
			return broken
		}
		rel, err := filepath.Rel(dir, f.Name())
		if err != nil {
			return err
		}
		if filepath.Dir(rel) == tmpDir {
			rel = "the file"
		}
		var named []string
		for _, n := range files(t, dir) {
			if filepath.Dir(n) != tmpDir {
				named = append(named, filepath.Base(n)[:4])
			}
		}
		synced = append(synced, fmt.Sprint(rel, named))
		return f.Sync()
	}}
	photo := asJPEG(t, picture(40, 30))
	for fails = range 4 { //nolint:intrange // the last one is used behind
		synced = nil
		if _, err := s.Import(t.Context(), 1, "photo.jpg", bytes.NewReader(photo)); !errors.Is(err, broken) || len(x.files) != 0 {
			t.Errorf("failure %d: %v, known are %v", fails, err, x.files)
		}
	}
	// And now it works: what the failures left is nothing that is relied on.
	synced, fails = nil, -1
	m := s.imported(t, "photo.jpg", photo)
	h := m.Hash[:4]
	want := []string{"the file[" + h + "]", m.Hash[:2] + "/" + m.Hash[2:4] + "[" + h + "]", m.Hash[:2] + "[" + h + "]", ".[" + h + "]"}
	if fmt.Sprint(synced) != fmt.Sprint(want) {
		t.Errorf("brought to the disk: %v, want %v", synced, want)
	}
	synced = nil
	other := s.imported(t, "other.jpg", asJPEG(t, picture(30, 40)))
	if len(synced) != 4 || strings.Contains(synced[0], other.Hash[:4]) || !strings.Contains(synced[1], other.Hash[:4]) {
		t.Errorf("brought to the disk: %v", synced)
	}
}

// TestDamagedFileIsReplaced: as doctor says, uploading it again is a cure.
func TestDamagedFileIsReplaced(t *testing.T) {
	t.Parallel()
	s, dir := newStore(t, Limits{})
	photo := asJPEG(t, picture(40, 30))
	m := s.imported(t, "photo.jpg", photo)
	at := filepath.Join(dir, m.Hash[:2], m.Hash[2:4], m.Hash)
	if err := os.WriteFile(at, make([]byte, m.Bytes), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(t.Context(), m, true); err == nil {
		t.Fatal("the file is not damaged: the test proves nothing")
	}
	s.imported(t, "photo.jpg", photo)
	if err := s.Verify(t.Context(), m, true); err != nil {
		t.Error(err)
	}
}

// TestLargeFile: a file of several parts comes out as it went in.
func TestLargeFile(t *testing.T) {
	t.Parallel()
	inBoth(t, func(t *testing.T, h *house) {
		head, tail := filmParts(filmOptions{width: 1280, height: 720, ms: 60_000})
		const payload = 20 << 20
		m, err := h.Import(t.Context(), 1, "film.mp4", io.MultiReader(bytes.NewReader(head(payload)), io.LimitReader(zeros{}, payload), bytes.NewReader(tail)))
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Verify(t.Context(), m, true); err != nil {
			t.Error(err)
		}
		if h.cloud != nil && h.cloud.puts.Load() < 3 {
			t.Errorf("it was sent in %d parts, want 3", h.cloud.puts.Load())
		}
		f, err := h.Open(t.Context(), m.Hash)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		end := make([]byte, len(tail))
		if _, err := f.Seek(-int64(len(tail)), io.SeekEnd); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(f, end); err != nil || !bytes.Equal(end, tail) {
			t.Errorf("the end of it: %v", err)
		}
	})
}

// TestUploadGivenUp: a file of which the upload ended half-way is not there.
func TestUploadGivenUp(t *testing.T) {
	t.Parallel()
	inBoth(t, func(t *testing.T, h *house) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if h.cloud != nil {
			h.cloud.cut = func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPut && r.URL.Query().Get("partNumber") == "2" {
					cancel()
				}
				return false
			}
		}
		head, tail := filmParts(filmOptions{width: 16, height: 9, ms: 5})
		const payload = 20 << 20
		body := io.MultiReader(bytes.NewReader(head(payload)), io.LimitReader(zeros{}, payload), bytes.NewReader(tail))
		if h.cloud == nil {
			body = io.MultiReader(bytes.NewReader(head(payload)), readerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil }))
		}
		if _, err := h.Import(ctx, 1, "film.mp4", body); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want that it was given up", err)
		}
		if rest := h.kept(t); len(rest) != 0 {
			t.Errorf("kept: %v", rest)
		}
	})
}

// TestBucketBreaksOff: reading goes on where the answer broke off, and gives up
// when nothing comes any more.
func TestBucketBreaksOff(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	s, err := Open(Options{Dir: t.TempDir(), Index: &memoryIndex{files: map[string]social.Media{}, derived: map[string]string{}}, Now: time.Now, Bucket: c.open(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m := s.imported(t, "photo.png", asPNG(t, noise(400, 400, false)))
	want := s.bytes(t, m.Hash)
	var gets atomic.Int64
	half := true
	c.cut = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet {
			return false
		}
		gets.Add(1)
		var from int
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err != nil {
			from = 0
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(want)-from))
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(want)-1, len(want)))
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusPartialContent)
		if half {
			w.Write(want[from:min(from+1+len(want)/3, len(want))])
		}
		panic(http.ErrAbortHandler)
	}
	f, err := s.Open(t.Context(), m.Hash)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, want) || gets.Load() < 3 {
		t.Errorf("%d of %d bytes after %d answers: %v", len(got), len(want), gets.Load(), err)
	}
	half = false
	if _, err := f.Seek(5, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	gets.Store(0)
	if _, err := io.ReadAll(f); err == nil || social.CodeOf(err) != social.CodeUnavailable || gets.Load() > 20 {
		t.Errorf("%v after %d answers", err, gets.Load())
	}
}

// TestBucketIsRefused: the sentence names the setting of the key.
func TestBucketIsRefused(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	s, err := Open(Options{Dir: t.TempDir(), Index: &memoryIndex{files: map[string]social.Media{}}, Now: time.Now, Bucket: c.open(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c.cut = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `<Error><Code>AccessDenied</Code><Message>no</Message></Error>`)
		return true
	}
	_, err = s.Import(t.Context(), 1, "photo.jpg", bytes.NewReader(asJPEG(t, picture(8, 8))))
	if err == nil || !strings.Contains(err.Error(), "media.access_key_file") || social.CodeOf(err) != social.CodeRemote {
		t.Errorf("%v", err)
	}
}

// TestBucketKeepsLess: a bucket that says it has taken a file, and has not all of
// it, is not believed.
func TestBucketKeepsLess(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	x := &memoryIndex{files: map[string]social.Media{}}
	s, err := Open(Options{Dir: t.TempDir(), Index: x, Now: time.Now, Bucket: c.open(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c.cut = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodHead || c.puts.Load() == 0 {
			return false
		}
		w.Header().Set("Content-Length", "7")
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		return true
	}
	_, err = s.Import(t.Context(), 1, "photo.jpg", bytes.NewReader(asJPEG(t, picture(8, 8))))
	if err == nil || !strings.Contains(err.Error(), "keeps 7 bytes of a file of") || len(x.files) != 0 {
		t.Errorf("%v, known are %v", err, x.files)
	}
}

// TestFilesOfTheFolderStay: who begins to use a bucket keeps what lay in the
// folder.
func TestFilesOfTheFolderStay(t *testing.T) {
	t.Parallel()
	before, dir := newStore(t, Limits{})
	old := before.imported(t, "old.jpg", asJPEG(t, picture(20, 10)))
	c := newCloud(t)
	s, err := Open(Options{Dir: dir, Index: before.index, Now: time.Now, Bucket: c.open(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Verify(t.Context(), old, true); err != nil {
		t.Error(err)
	}
	if s.imported(t, "old.jpg", asJPEG(t, picture(20, 10))); len(c.keys(t)) != 1 {
		t.Errorf("the bucket has %v after the file came again", c.keys(t))
	}
	look, err := OpenToLook(filepath.Join(dir, "not there"), c.open(t))
	if err != nil {
		t.Fatal(err)
	}
	defer look.Close()
	if err := look.Verify(t.Context(), old, true); err != nil {
		t.Error(err)
	}
	if _, err := OpenToLook(filepath.Join(dir, "not there"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("neither folder nor bucket: %v", err)
	}
}

func TestPartsAreEnough(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{0, 1, leastPart, 2 << 30, 256 << 30} {
		if part := partOf(n); part < 5<<20 || part*10_000 < n || part > 32<<20 {
			t.Errorf("%d bytes in parts of %d", n, part)
		}
	}
}
