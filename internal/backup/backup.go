// Package backup copies the database and the files of an installation while it
// runs, proves each copy by putting it back into a scratch folder, and puts one
// back in earnest. A backup is one file: a compressed tar with a manifest, the
// database, and the media. The key is never in it.
package backup

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"smi/internal/crash"
	"smi/internal/social"
	"smi/store"
)

// format is the number of the layout of backups.
const format = 1

// The names in a backup. Media lie as in the media folder.
const (
	manifestName = "manifest.json"
	mediaPrefix  = "media/"
)

// Manifest is what a backup says of itself. It is the first thing in the file.
type Manifest struct {
	Format   int                    `json:"format"`
	MadeAt   time.Time              `json:"made_at"`
	Program  string                 `json:"smi"`
	Database string                 `json:"database"`
	Facts    store.Facts            `json:"facts"`
	Bytes    int64                  `json:"bytes"`  // of the database
	SHA256   string                 `json:"sha256"` // of the database
	Tables   map[string]store.Table `json:"tables"`
	Media    MediaManifest          `json:"media"`
}

// MediaManifest is what a backup says of its files. Each is named by its hash.
type MediaManifest struct {
	Included bool  `json:"included"`
	Files    int   `json:"files"`
	Bytes    int64 `json:"bytes"`
	// Missing are files of which the database knows and the media folder does not.
	Missing []string `json:"missing,omitempty"`
}

// Source is where a database is copied from: a running store, or a data folder
// that nobody uses.
type Source interface {
	Snapshot(ctx context.Context, file string) error
}

// Options say what to back up and where to.
type Options struct {
	Source  Source
	DataDir string // the database is here; so is the scratch folder
	Media   string // folder of the media; "" is media in DataDir
	To      Place
	Name    string // of the backup; "" takes one made of instance and time
	NoMedia bool
	Program string // version
	Now     func() time.Time
	Free    func(dir string) (int64, error) // free space; nil: not asked
	Reserve int64                           // what must stay free
}

// Result is a backup that was made and proved.
type Result struct {
	Name     string    `json:"name"`
	Place    string    `json:"place"`
	Bytes    int64     `json:"bytes"`
	MadeAt   time.Time `json:"made_at"`
	Verified bool      `json:"verified"`
	Manifest Manifest  `json:"manifest"`
}

// scratchPattern is how scratch folders in the data folder are called.
const scratchPattern = ".smi-backup-*.partial"

// Make makes a backup. It is proved by putting it back into a scratch folder
// before it gets its name: what is there under a backup's name is whole.
func Make(ctx context.Context, o Options) (_ Result, err error) {
	scratch, err := newScratch(o.DataDir, scratchPattern)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	if err := o.room(ctx); err != nil {
		return Result{}, err
	}
	db := filepath.Join(scratch, store.DatabaseName)
	if err := o.Source.Snapshot(ctx, db); err != nil {
		return Result{}, err
	}
	crash.Point("backup-copied")
	m := Manifest{Format: format, MadeAt: o.Now().UTC().Truncate(time.Second), Program: o.Program, Database: "sqlite"}
	files, err := describe(ctx, db, mediaDir(o.DataDir, o.Media), o.NoMedia, &m)
	if err != nil {
		return Result{}, err
	}
	name := o.Name
	if name == "" {
		name = NameOf(m.Facts.Instance, m.MadeAt)
	}
	d, err := o.To.create(ctx, name)
	if err != nil {
		return Result{}, err
	}
	defer d.discard() //nolint:errcheck // it is published, or of no use
	n := &counter{w: d}
	if err := write(ctx, n, m, db, files); err != nil {
		return Result{}, err
	}
	if err := d.seal(); err != nil {
		return Result{}, err
	}
	crash.Point("backup-written")
	// The copy goes before its proof is made: the disk need not hold both.
	if err := os.Remove(db); err != nil {
		return Result{}, fmt.Errorf("removing the copy of the database: %w", err)
	}
	if err := prove(ctx, d, m, scratch); err != nil {
		return Result{}, err
	}
	crash.Point("backup-proved")
	if err := d.publish(); err != nil {
		return Result{}, err
	}
	crash.Point("backup-named")
	return Result{Name: name, Place: o.To.String(), Bytes: n.n, MadeAt: m.MadeAt, Verified: true, Manifest: m}, nil
}

// newScratch makes a scratch folder, and removes those that killed processes
// left behind.
func newScratch(dir, pattern string) (string, error) {
	old, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return "", fmt.Errorf("looking for old scratch folders: %w", err)
	}
	for _, o := range old {
		if st, err := os.Stat(o); err == nil && time.Since(st.ModTime()) > 24*time.Hour {
			os.RemoveAll(o) //nolint:errcheck // only space is lost
		}
	}
	scratch, err := os.MkdirTemp(dir, pattern)
	if err != nil {
		return "", fmt.Errorf("making a scratch folder: %w", err)
	}
	return scratch, nil
}

// room refuses to begin what the disks cannot hold.
func (o *Options) room(context.Context) error {
	if o.Free == nil {
		return nil
	}
	var db, media int64
	for _, side := range []string{"", "-wal"} {
		if st, err := os.Stat(filepath.Join(o.DataDir, store.DatabaseName+side)); err == nil {
			db += st.Size()
		}
	}
	if !o.NoMedia {
		filepath.WalkDir(mediaDir(o.DataDir, o.Media), func(_ string, e fs.DirEntry, err error) error { //nolint:errcheck // what cannot be read fails later, with its name
			if err == nil && e.Type().IsRegular() {
				if st, err := e.Info(); err == nil {
					media += st.Size()
				}
			}
			return nil
		})
	}
	if err := enough(o.Free, o.DataDir, db+o.Reserve); err != nil {
		return err
	}
	if dir := o.To.dir(); dir != "" {
		// Both may be on one disk.
		return enough(o.Free, dir, 2*db+media+o.Reserve)
	}
	return nil
}

// mediaDir is the folder of the media.
func mediaDir(dataDir, media string) string {
	if media != "" {
		return media
	}
	return filepath.Join(dataDir, "media")
}

func enough(free func(string) (int64, error), dir string, need int64) error {
	have, err := free(dir)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("asking for the free space of %s: %w", dir, err)
	}
	if have < need {
		return social.Errorf(social.CodeExhausted, "to", "%s are free in %s and up to %s are needed; free space there, or name a folder on another disk", size(have), dir, size(need))
	}
	return nil
}

func size(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d KiB", (n+1023)>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// describe fills the manifest in from the copy, and returns the media by hash.
func describe(ctx context.Context, db, media string, noMedia bool, m *Manifest) (map[string]string, error) {
	c, err := store.OpenCopy(db)
	if err != nil {
		return nil, err
	}
	defer c.Close() //nolint:errcheck // it was only read
	if m.Facts, err = c.Facts(ctx); err != nil {
		return nil, err
	}
	if m.Tables, err = c.Tables(ctx); err != nil {
		return nil, err
	}
	if m.SHA256, m.Bytes, err = hashFile(db); err != nil {
		return nil, err
	}
	hashes, err := c.Media(ctx)
	if err != nil {
		return nil, err
	}
	m.Media.Included = !noMedia
	files := map[string]string{}
	for _, h := range hashes {
		name, err := mediaName(h)
		if err != nil {
			return nil, err
		}
		st, err := os.Stat(filepath.Join(media, filepath.FromSlash(name)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			m.Media.Missing = append(m.Media.Missing, h)
		case err != nil:
			return nil, fmt.Errorf("looking at the file %.12s…: %w", h, err)
		default:
			m.Media.Files++
			m.Media.Bytes += st.Size()
			if !noMedia {
				files[h] = filepath.Join(media, filepath.FromSlash(name))
			}
		}
	}
	return files, nil
}

// mediaName is where a file lies in the media folder: ab/cd/abcd….
func mediaName(hash string) (string, error) {
	if len(hash) != 64 {
		return "", fmt.Errorf("%.80q is no hash of a file", hash)
	}
	if _, err := hex.DecodeString(hash); err != nil {
		return "", fmt.Errorf("%.80q is no hash of a file", hash)
	}
	return hash[:2] + "/" + hash[2:4] + "/" + hash, nil
}

func hashFile(path string) (sum string, n int64, err error) {
	f, err := os.Open(path) //nolint:gosec // our own
	if err != nil {
		return "", 0, fmt.Errorf("reading %s: %w", path, err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	h := sha256.New()
	if n, err = io.Copy(h, f); err != nil {
		return "", 0, fmt.Errorf("reading %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), n, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// write writes the backup: manifest, database, media.
func write(ctx context.Context, w io.Writer, m Manifest, db string, files map[string]string) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	head, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	if err := t.WriteHeader(&tar.Header{Name: manifestName, Mode: 0o600, Size: int64(len(head)), ModTime: m.MadeAt}); err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	if _, err := t.Write(head); err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	if err := writeFile(ctx, t, store.DatabaseName, db, m.MadeAt); err != nil {
		return err
	}
	for _, h := range sorted(maps.Keys(files)) {
		name, err := mediaName(h)
		if err != nil {
			return err
		}
		if err := writeFile(ctx, t, mediaPrefix+name, files[h], m.MadeAt); err != nil {
			return err
		}
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	return nil
}

func writeFile(ctx context.Context, t *tar.Writer, name, path string, at time.Time) error {
	f, err := os.Open(path) //nolint:gosec // our own
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: st.Size(), ModTime: at}); err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	if _, err := io.Copy(t, &reader{ctx, f}); err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	return nil
}

// reader ends with its context.
type reader struct {
	ctx context.Context //nolint:containedctx // it belongs to the one copy
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// prove puts the backup back into a scratch folder and compares everything with
// what was copied.
func prove(ctx context.Context, d draft, m Manifest, scratch string) error {
	r, err := d.open()
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // it was only read
	got, err := unpack(ctx, r, scratch, false)
	if err != nil {
		return social.Errorf(social.CodeInternal, "to", "the backup was written but cannot be put back, so it was thrown away: %s", err.Error())
	}
	if got.SHA256 != m.SHA256 || !maps.Equal(got.Tables, m.Tables) {
		return social.Errorf(social.CodeInternal, "to", "the backup was written but is not what was copied, so it was thrown away; check the disk it was written to")
	}
	return nil
}
