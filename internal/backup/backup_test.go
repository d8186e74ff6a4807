package backup_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"smi/internal/backup"
	"smi/internal/keyring"
	"smi/internal/social"
	"smi/store"
	"smi/store/storetest"
)

// house is an installation in a folder.
type house struct {
	t    *testing.T
	dir  string // of the data
	out  string // of the backups
	key  string
	s    *store.Store
	seed *storetest.Seeds
	ws   social.Workspace
	a    social.Account
}

func newHouse(t *testing.T) *house {
	t.Helper()
	root := t.TempDir()
	h := &house{t: t, dir: filepath.Join(root, "data"), out: filepath.Join(root, "out"), key: filepath.Join(root, "key", "smi.keyset")}
	h.open()
	h.seed = storetest.Seed(t, h.s)
	h.ws = h.seed.Workspace()
	h.a = h.seed.Account(h.ws.ID)
	k, err := keyring.Init(h.key, h.dir)
	check(t, err)
	id, err := h.s.InstanceID(t.Context())
	check(t, err)
	check(t, k.Check(t.Context(), h.s, id))
	return h
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (h *house) open() {
	h.t.Helper()
	s, err := store.Open(h.t.Context(), store.Options{Path: filepath.Join(h.dir, store.DatabaseName), BallastBytes: -1, Version: "test"})
	check(h.t, err)
	h.s = s
	h.t.Cleanup(func() { s.Close() }) //nolint:errcheck // closed by the test where it counts
}

// media puts a file into the media folder and the database.
func (h *house) media(content string) string {
	h.t.Helper()
	sum := sha256.Sum256([]byte(content))
	hash := hex.EncodeToString(sum[:])
	path := filepath.Join(h.dir, "media", hash[:2], hash[2:4], hash)
	check(h.t, os.MkdirAll(filepath.Dir(path), 0o700))
	check(h.t, os.WriteFile(path, []byte(content), 0o600))
	check(h.t, h.s.SaveMedia(h.t.Context(), h.ws.ID, social.Media{Hash: hash, Kind: social.Image, MIME: "image/png", Bytes: int64(len(content))}))
	return hash
}

func (h *house) options(p backup.Place) backup.Options {
	return backup.Options{Source: h.s, DataDir: h.dir, To: p, Program: "test", Now: time.Now}
}

func (h *house) place() backup.Place {
	h.t.Helper()
	p, err := backup.OpenPlace(h.t.Context(), h.out, backup.Access{})
	check(h.t, err)
	return p
}

func (h *house) backup() backup.Result {
	h.t.Helper()
	r, err := backup.Make(h.t.Context(), h.options(h.place()))
	check(h.t, err)
	return r
}

func (h *house) restore(from string, change ...func(*backup.RestoreOptions)) (backup.Restored, error) {
	o := backup.RestoreOptions{
		From: from, DataDir: h.dir, Now: time.Now, By: "cli:test", Program: "test",
		Keys: func() (*keyring.Keyring, error) { return keyring.Load(keyring.Options{File: h.key, DataDir: h.dir}) },
	}
	for _, c := range change {
		c(&o)
	}
	return backup.Restore(h.t.Context(), o)
}

func (h *house) file(r backup.Result) string { return filepath.Join(h.out, r.Name) }

// left lists what lies in a folder under a name that is no backup's or no file
// of an installation.
func left(t *testing.T, dir string) (out []string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	check(t, err)
	for _, e := range all {
		if strings.Contains(e.Name(), "partial") {
			out = append(out, e.Name())
		}
	}
	return out
}

// TestBackupRestoreUnderLoad: while everybody writes, a backup is whole and of
// one moment, and what is put back is what was copied, in quarantine.
func TestBackupRestoreUnderLoad(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	hash := h.media("a picture")
	at := time.Now().Add(-30 * time.Minute)
	for range 20 {
		h.seed.Delivery(h.seed.Post(h.ws.ID, at), h.a)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				// Two values in one transaction: a copy of one moment has them alike.
				v := fmt.Sprintf("%d.%d", w, i)
				if err := h.s.SetPaused(ctx, social.PauseScope{Workspace: h.ws.ID}, i%2 == 0, "cli:"+v); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	r := h.backup()
	cancel()
	wg.Wait()
	if !r.Verified || r.Manifest.Tables["delivery"].Rows != 20 || r.Manifest.Tables["delivery"].SHA256 == "" || r.Manifest.Media.Files != 1 {
		t.Errorf("the backup says %+v", r)
	}
	paused := h.seed.Text(`SELECT count(*) FROM audit`)
	h.seed.Exec(`DELETE FROM delivery`)
	check(t, h.s.Close())
	check(t, os.RemoveAll(filepath.Join(h.dir, "media")))

	got, err := h.restore(h.file(r))
	check(t, err)
	if got.Quarantine.Gap.Pending != 20 || got.Quarantine.Kind != social.Restored || !got.Quarantine.Stops || got.Media != 1 || got.Aside == "" {
		t.Errorf("restored: %+v", got)
	}
	c, err := store.OpenCopy(filepath.Join(h.dir, store.DatabaseName))
	check(t, err)
	tables, err := c.Tables(t.Context())
	check(t, err)
	if said, err := c.Integrity(t.Context()); err != nil || said != "ok" {
		t.Errorf("integrity: %s, %v", said, err)
	}
	check(t, c.Close())
	for name, want := range r.Manifest.Tables {
		switch name {
		case "meta", "quarantine", "gap_delivery", "outbox", "audit": // the restore is written into these
		default:
			if tables[name] != want {
				t.Errorf("table %s: %+v became %+v", name, want, tables[name])
			}
		}
	}
	old, err := store.OpenCopy(got.Aside)
	check(t, err)
	if was, err := old.Tables(t.Context()); err != nil || was["delivery"].Rows != 0 || fmt.Sprint(was["audit"].Rows) != paused {
		t.Errorf("the database that was kept has %d deliveries and %d audit rows of %s, %v", was["delivery"].Rows, was["audit"].Rows, paused, err)
	}
	check(t, old.Close())
	b, err := os.ReadFile(filepath.Join(h.dir, "media", hash[:2], hash[2:4], hash))
	if err != nil || string(b) != "a picture" {
		t.Errorf("the picture is %q, %v", b, err)
	}
	if l := append(left(t, h.dir), left(t, h.out)...); len(l) > 0 {
		t.Errorf("left behind: %v", l)
	}
	h.open()
	if gen, err := h.s.RestoreGen(t.Context()); err != nil || gen != "1" {
		t.Errorf("restores counted: %s, %v", gen, err)
	}
	if on, err := h.s.Quarantined(t.Context()); err != nil || !on {
		t.Errorf("in quarantine: %v, %v", on, err)
	}
}

// rewrite changes the files of a backup.
func rewrite(t *testing.T, from, to string, change func(name string, b []byte) (string, []byte)) {
	t.Helper()
	f, err := os.Open(from)
	check(t, err)
	defer f.Close() //nolint:errcheck // it was only read
	z, err := gzip.NewReader(f)
	check(t, err)
	in := tar.NewReader(z)
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	tw := tar.NewWriter(zw)
	for {
		h, err := in.Next()
		if err == io.EOF { //nolint:errorlint // as documented
			break
		}
		check(t, err)
		b, err := io.ReadAll(in)
		check(t, err)
		name, b := change(h.Name, b)
		if name == "" {
			continue
		}
		check(t, tw.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(b))}))
		_, err = tw.Write(b)
		check(t, err)
	}
	check(t, tw.Close())
	check(t, zw.Close())
	check(t, os.WriteFile(to, out.Bytes(), 0o600))
}

// edit changes one value of the manifest.
func edit(path string, v any) func(string, []byte) (string, []byte) {
	return func(name string, b []byte) (string, []byte) {
		if name != "manifest.json" {
			return name, b
		}
		var m map[string]any
		if json.Unmarshal(b, &m) != nil {
			return name, b
		}
		into := m
		keys := strings.Split(path, ".")
		for _, k := range keys[:len(keys)-1] {
			into, _ = into[k].(map[string]any)
		}
		into[keys[len(keys)-1]] = v
		b, _ = json.Marshal(m) //nolint:errcheck // it came from JSON
		return name, b
	}
}

// TestRestoreRefuses: what cannot be put back is refused with its cure, and
// nothing of what is there is touched.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.media("a picture")
	h.seed.Delivery(h.seed.Post(h.ws.ID, time.Now()), h.a)
	r := h.backup()
	good := h.file(r)
	whole, err := os.ReadFile(good)
	check(t, err)
	if _, err := h.restore(good); social.CodeOf(err) != social.CodeUnavailable || !strings.Contains(err.Error(), "in use by another smi") {
		t.Errorf("while the daemon has the folder: %v", err)
	}
	check(t, h.s.Close())
	before, _, err := hashOf(filepath.Join(h.dir, store.DatabaseName))
	check(t, err)

	bad := func(name string) string { return filepath.Join(t.TempDir(), name) }
	for _, c := range []struct {
		name string
		make func(to string)
		opt  func(*backup.RestoreOptions)
		says string
	}{
		{"no backup", func(to string) { check(t, os.WriteFile(to, []byte("hello, world"), 0o600)) }, nil, "no backup of smi"},
		{"empty", func(to string) { check(t, os.WriteFile(to, nil, 0o600)) }, nil, "no backup of smi"},
		{"another archive", func(to string) {
			rewrite(t, good, to, func(n string, b []byte) (string, []byte) {
				if n == "manifest.json" {
					return "", nil
				}
				return n, b
			})
		}, nil, "no backup of smi"},
		{"cut off", func(to string) { check(t, os.WriteFile(to, whole[:len(whole)/2], 0o600)) }, nil, "cut off"},
		{"cut off at the end", func(to string) { check(t, os.WriteFile(to, whole[:len(whole)-4], 0o600)) }, nil, "cut off"},
		{"a bit was turned", func(to string) {
			b := slices.Clone(whole)
			b[len(b)/2] ^= 4
			check(t, os.WriteFile(to, b, 0o600))
		}, nil, "altered"},
		{"another database", func(to string) {
			rewrite(t, good, to, func(n string, b []byte) (string, []byte) {
				if n == store.DatabaseName {
					b[len(b)-1]++
				}
				return n, b
			})
		}, nil, "altered"},
		{"another manifest", func(to string) { rewrite(t, good, to, edit("facts.instance", "00")) }, nil, "manifest does not fit"},
		{"another picture", func(to string) {
			rewrite(t, good, to, func(n string, b []byte) (string, []byte) {
				if strings.HasPrefix(n, "media/") {
					b = []byte("b picture")
				}
				return n, b
			})
		}, nil, "was altered"},
		{"without its picture", func(to string) {
			rewrite(t, good, to, func(n string, b []byte) (string, []byte) {
				if strings.HasPrefix(n, "media/") {
					return "", nil
				}
				return n, b
			})
		}, nil, "0 of 1 media files"},
		{"a way out", func(to string) {
			rewrite(t, good, to, func(n string, b []byte) (string, []byte) {
				if strings.HasPrefix(n, "media/") {
					n = "media/../../../etc/passwd"
				}
				return n, b
			})
		}, nil, "smi did not put there"},
		{"newer schema", func(to string) { rewrite(t, good, to, edit("facts.schema", 9999)) }, nil, "newer smi"},
		{"newer format", func(to string) { rewrite(t, good, to, edit("format", 9)) }, nil, "newer smi"},
		{"another key", func(to string) { check(t, os.WriteFile(to, whole, 0o600)) }, func(o *backup.RestoreOptions) {
			o.Keys = func() (*keyring.Keyring, error) {
				return keyring.Init(filepath.Join(t.TempDir(), "smi.keyset"), h.dir)
			}
		}, "put the right key file in its place"},
		{"no room", func(to string) { check(t, os.WriteFile(to, whole, 0o600)) }, func(o *backup.RestoreOptions) {
			o.Free = func(string) (int64, error) { return 1000, nil }
		}, "free space there"},
		{"not there", func(string) {}, nil, "there is no file"},
	} {
		file := bad("x.tar.gz")
		c.make(file)
		var opts []func(*backup.RestoreOptions)
		if c.opt != nil {
			opts = append(opts, c.opt)
		}
		_, err := h.restore(file, opts...)
		if err == nil || !strings.Contains(err.Error(), c.says) || social.CodeOf(err) == social.CodeInternal {
			t.Errorf("%s: %v; want %q", c.name, err, c.says)
		}
		if after, _, err := hashOf(filepath.Join(h.dir, store.DatabaseName)); err != nil || after != before {
			t.Errorf("%s: the database was touched, %v", c.name, err)
		}
		if l := left(t, h.dir); len(l) > 0 {
			t.Errorf("%s: left behind: %v", c.name, l)
		}
	}
}

func hashOf(path string) (string, int, error) {
	b, err := os.ReadFile(path)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), len(b), err
}

// TestBackupRefuses: a backup that cannot be made is refused with its cure and
// leaves nothing behind.
func TestBackupRefuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := h.backup()
	for name, c := range map[string]struct {
		change func(*backup.Options)
		says   string
	}{
		"target exists": {func(o *backup.Options) { o.Name = r.Name }, "is there already"},
		"no room":       {func(o *backup.Options) { o.Free = func(string) (int64, error) { return 10, nil } }, "free space there"},
	} {
		o := h.options(h.place())
		c.change(&o)
		if _, err := backup.Make(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.says) || social.CodeOf(err) == social.CodeInternal {
			t.Errorf("%s: %v; want %q", name, err, c.says)
		}
	}
	if _, err := backup.OpenPlace(t.Context(), "ftp://host/x", backup.Access{}); err == nil || !strings.Contains(err.Error(), "s3://BUCKET") {
		t.Errorf("a place that is none: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := backup.Make(ctx, h.options(h.place())); err == nil {
		t.Error("a backup was made although it was given up")
	}
	if l := append(left(t, h.dir), left(t, h.out)...); len(l) > 0 {
		t.Errorf("left behind: %v", l)
	}
}

// TestBucket: a bucket takes, shows, prunes and gives back backups as a folder
// does. What has another name stays.
func TestBucket(t *testing.T) {
	fake := gofakes3.New(s3mem.New(), gofakes3.WithAutoBucket(true))
	srv := httptest.NewServer(fake.Server())
	defer srv.Close()
	to := "s3://smi/team/?region=us-east-1&use_path_style=true&hostname_immutable=true&endpoint=" + srv.URL
	access := backup.Access{Key: social.NewSecret("id"), Secret: social.NewSecret("secret")}
	h := newHouse(t)
	h.media("a picture")
	id, err := h.s.InstanceID(t.Context())
	check(t, err)
	p, err := backup.OpenPlace(t.Context(), to, access)
	check(t, err)
	defer p.Close() //nolint:errcheck // the test ends
	now := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	for i := range 20 {
		o := h.options(p)
		o.Now = func() time.Time { return now.AddDate(0, 0, i-19) }
		_, err := backup.Make(t.Context(), o)
		check(t, err)
	}
	o := h.options(p)
	o.Name = "by-hand.tar.gz"
	_, err = backup.Make(t.Context(), o)
	check(t, err)
	o.Name = backup.NameOf("0123456789abcdef", now.AddDate(-1, 0, 0)) // of another instance
	_, err = backup.Make(t.Context(), o)
	check(t, err)

	gone, err := backup.Prune(t.Context(), p, id, backup.Keep{Last: 3, Weekly: 3}, now)
	check(t, err)
	all, err := p.List(t.Context())
	check(t, err)
	var days []string
	for _, e := range all {
		days = append(days, e.MadeAt.Format("01-02"))
	}
	// The newest three, the newest of this and the two weeks before, and the other
	// instance's.
	if got := strings.Join(days, " "); got != "11-24 11-23 11-22 11-15 11-24" || len(gone) != 16 {
		t.Errorf("%d were deleted, kept are %s", len(gone), got)
	}
	if r, err := p.Open(t.Context(), "by-hand.tar.gz"); err != nil {
		t.Errorf("a file with another name is gone: %v", err)
	} else {
		check(t, r.Close())
	}
	check(t, h.s.Close())
	got, err := h.restore(to, func(o *backup.RestoreOptions) { o.Access = access })
	check(t, err)
	if !strings.HasPrefix(filepath.Base(strings.Split(got.From, "?")[0]), "smi-"+id[:12]+"-20261124") || got.Media != 1 {
		t.Errorf("restored %s with %d files", got.From, got.Media)
	}
	if _, err := backup.OpenPlace(t.Context(), to, access); err != nil {
		t.Error(err)
	}
}

// TestPruneKeepsYoung: what is younger than it is to be kept stays.
func TestPruneKeepsYoung(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const id = "0123456789abcdef"
	now := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	for i := range 10 {
		check(t, os.WriteFile(filepath.Join(dir, backup.NameOf(id, now.AddDate(0, 0, -i))), []byte("x"), 0o600))
	}
	check(t, os.WriteFile(filepath.Join(dir, "smi.db"), []byte("x"), 0o600))
	p, err := backup.OpenPlace(t.Context(), dir, backup.Access{})
	check(t, err)
	for want, keep := range map[int]backup.Keep{0: {}, 3: {Last: 1, For: 7 * 24 * time.Hour}} {
		if gone, err := backup.Prune(t.Context(), p, id, keep, now); err != nil || len(gone) != want {
			t.Errorf("%+v deleted %v, %v", keep, gone, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "smi.db")); err != nil {
		t.Error(err)
	}
}
