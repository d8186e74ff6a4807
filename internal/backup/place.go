package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"gocloud.dev/blob"

	s3 "smi/internal/bucket"
	"smi/internal/social"
)

// Place is where backups lie: a folder, or a bucket.
type Place interface {
	fmt.Stringer
	// create begins a backup that has no name yet.
	create(ctx context.Context, name string) (draft, error)
	// Open reads a backup.
	Open(ctx context.Context, name string) (io.ReadCloser, error)
	// List returns the backups of smi that lie here, the newest first. What has
	// another name is not among them.
	List(ctx context.Context) ([]Entry, error)
	// remove deletes a backup. Its name is one that List returned.
	remove(ctx context.Context, name string) error
	// dir is the folder, "" for a bucket.
	dir() string
	Close() error
}

// draft is a backup that is being written.
type draft interface {
	io.Writer
	seal() error                  // all is written, durably
	open() (io.ReadCloser, error) // reads it back
	publish() error               // gives it its name
	discard() error               // throws it away, unless it was published
}

// Entry is a backup in a list.
type Entry struct {
	Name     string    `json:"name"`
	Instance string    `json:"instance" doc:"the first characters of the instance's id"`
	MadeAt   time.Time `json:"made_at"`
	Bytes    int64     `json:"bytes"`
}

const stampLayout = "20060102T150405Z"

// NameOf is the name of a backup.
func NameOf(instance string, at time.Time) string {
	if len(instance) > 12 {
		instance = instance[:12]
	}
	return "smi-" + instance + "-" + at.UTC().Format(stampLayout) + ".backup.tar.gz"
}

var namePattern = regexp.MustCompile(`^smi-([0-9a-f]{12})-(\d{8}T\d{6}Z)\.backup\.tar\.gz$`)

// parse reads a backup's name.
func parse(name string) (Entry, bool) {
	m := namePattern.FindStringSubmatch(name)
	if m == nil {
		return Entry{}, false
	}
	at, err := time.Parse(stampLayout, m[2])
	return Entry{Name: name, Instance: m[1], MadeAt: at}, err == nil
}

// Access are the credentials of a bucket. Empty ones are found in the usual
// places of the environment.
type Access = s3.Access

// IsBucket says whether a place is a bucket.
func IsBucket(to string) bool { return s3.Is(to) }

// OpenPlace opens a folder, which is made if it is missing, or a bucket:
// s3://NAME/PREFIX?region=…&endpoint=….
func OpenPlace(ctx context.Context, to string, a Access) (Place, error) {
	if !IsBucket(to) {
		if i := strings.Index(to, "://"); i > 0 {
			return nil, social.Errorf(social.CodeInvalid, "to", "smi cannot write to %s://; name a folder or s3://BUCKET/PREFIX", to[:i])
		}
		if err := os.MkdirAll(to, 0o700); err != nil {
			return nil, social.Errorf(social.CodeInvalid, "to", "the folder %s cannot be made (%v); name another one", to, errors.Unwrap(err))
		}
		return folder(to), nil
	}
	b, err := s3.Open(ctx, s3.Options{To: to, Access: a, Field: "to", Key: "backup.access_key_file"})
	if err != nil {
		return nil, err
	}
	return &bucket{b}, nil
}

// folder is a place on a disk.
type folder string

func (f folder) String() string { return string(f) }
func (f folder) dir() string    { return string(f) }
func (f folder) Close() error   { return nil }

func (f folder) create(_ context.Context, name string) (draft, error) {
	path := filepath.Join(string(f), name)
	if _, err := os.Lstat(path); err == nil {
		return nil, social.Errorf(social.CodeConflict, "to", "%s is there already; smi writes over no backup, so name another file", path)
	}
	t, err := os.CreateTemp(string(f), ".smi-backup-*.partial")
	if err != nil {
		return nil, social.Errorf(social.CodeInvalid, "to", "nothing can be written into %s (%v); name another folder", string(f), errors.Unwrap(err))
	}
	if old, err := filepath.Glob(filepath.Join(string(f), ".smi-backup-*.partial")); err == nil {
		for _, o := range old { // of processes that were killed
			if st, err := os.Stat(o); err == nil && time.Since(st.ModTime()) > 24*time.Hour {
				os.RemoveAll(o) //nolint:errcheck // only space is lost
			}
		}
	}
	return &partial{File: t, dir: string(f), path: path}, nil
}

func (f folder) Open(_ context.Context, name string) (io.ReadCloser, error) {
	r, err := os.Open(filepath.Join(string(f), filepath.Base(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, social.Errorf(social.CodeNotFound, "file", "there is no %s in %s; see smi backup list", name, string(f))
	}
	if err != nil {
		return nil, fmt.Errorf("reading the backup: %w", err)
	}
	return r, nil
}

func (f folder) List(context.Context) ([]Entry, error) {
	all, err := os.ReadDir(string(f))
	if err != nil {
		return nil, fmt.Errorf("listing the backups: %w", err)
	}
	var out []Entry
	for _, d := range all {
		e, ok := parse(d.Name())
		if !ok || !d.Type().IsRegular() {
			continue
		}
		if st, err := d.Info(); err == nil {
			e.Bytes = st.Size()
		}
		out = append(out, e)
	}
	return newestFirst(out), nil
}

func newestFirst(es []Entry) []Entry {
	slices.SortFunc(es, func(a, b Entry) int { return b.MadeAt.Compare(a.MadeAt) })
	return es
}

func (f folder) remove(_ context.Context, name string) error {
	return os.Remove(filepath.Join(string(f), filepath.Base(name)))
}

// partial is a file that has no name yet.
type partial struct {
	*os.File
	dir, path string
	done      bool
}

func (p *partial) seal() error {
	if err := p.Sync(); err != nil {
		return fmt.Errorf("saving the backup: %w", err)
	}
	return nil
}

func (p *partial) open() (io.ReadCloser, error) {
	r, err := os.Open(p.Name())
	if err != nil {
		return nil, fmt.Errorf("reading the backup back: %w", err)
	}
	return r, nil
}

func (p *partial) publish() error {
	// A link, not a rename: a file that came meanwhile is not written over.
	if err := os.Link(p.Name(), p.path); errors.Is(err, fs.ErrExist) {
		return social.Errorf(social.CodeConflict, "to", "%s is there already; smi writes over no backup, so name another file", p.path)
	} else if err != nil {
		if err := os.Rename(p.Name(), p.path); err != nil { // a file system without links
			return fmt.Errorf("naming the backup: %w", err)
		}
	}
	p.done = true
	os.Remove(p.Name()) //nolint:errcheck // the next backup removes it
	d, err := os.Open(p.dir)
	if err != nil {
		return fmt.Errorf("saving the backup's name: %w", err)
	}
	defer d.Close() //nolint:errcheck // nothing was written
	if err := d.Sync(); err != nil {
		return fmt.Errorf("saving the backup's name: %w", err)
	}
	return nil
}

func (p *partial) discard() error {
	err := p.Close()
	if !p.done {
		err = errors.Join(err, os.Remove(p.Name()))
	}
	return err
}

// bucket is a place in the cloud. What is there has been uploaded whole.
type bucket struct{ b *s3.Bucket }

func (b *bucket) String() string { return b.b.String() }
func (b *bucket) dir() string    { return "" }
func (b *bucket) Close() error   { return b.b.Close() }

func (b *bucket) create(ctx context.Context, name string) (draft, error) {
	there, err := b.b.Exists(ctx, name)
	if err != nil {
		return nil, b.b.Explain("the bucket cannot be reached", err)
	}
	if there {
		return nil, social.Errorf(social.CodeConflict, "to", "%s is in %s already; smi writes over no backup", name, b)
	}
	up, cancel := context.WithCancel(ctx) // ending it gives an upload up
	w, err := b.b.NewWriter(up, name, &blob.WriterOptions{ContentType: "application/gzip"})
	if err != nil {
		cancel()
		return nil, b.b.Explain("the bucket takes no file", err)
	}
	return &upload{Writer: w, b: b, ctx: ctx, name: name, cancel: cancel}, nil
}

func (b *bucket) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := b.b.NewReader(ctx, name, nil)
	if err != nil {
		return nil, b.b.Explain("the backup cannot be read", err)
	}
	return r, nil
}

func (b *bucket) List(ctx context.Context) ([]Entry, error) {
	var out []Entry
	for it := b.b.List(&blob.ListOptions{Prefix: "smi-"}); ; {
		o, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return newestFirst(out), nil
		}
		if err != nil {
			return nil, b.b.Explain("the backups cannot be listed", err)
		}
		if e, ok := parse(o.Key); ok {
			e.Bytes = o.Size
			out = append(out, e)
		}
	}
}

func (b *bucket) remove(ctx context.Context, name string) error { return b.b.Delete(ctx, name) }

// upload is a backup on its way into a bucket.
type upload struct {
	*blob.Writer
	b      *bucket
	ctx    context.Context //nolint:containedctx // that of the backup
	cancel func()
	name   string
	sealed bool
	done   bool
}

func (u *upload) seal() error {
	u.sealed = true
	if err := u.Close(); err != nil {
		return u.b.b.Explain("the backup was not taken", err)
	}
	return nil
}

func (u *upload) open() (io.ReadCloser, error) { return u.b.Open(u.ctx, u.name) }
func (u *upload) publish() error               { u.done = true; return nil }

func (u *upload) discard() error {
	defer u.cancel()
	switch {
	case u.done:
		return nil
	case !u.sealed:
		u.cancel()
		u.Close() //nolint:errcheck // it was given up
		return nil
	}
	return u.b.remove(context.WithoutCancel(u.ctx), u.name)
}

// Keep says which backups stay.
type Keep struct {
	Last   int           // the newest ones; 0 keeps all
	Weekly int           // the newest of each of so many weeks
	For    time.Duration // younger ones
}

// Prune deletes the backups of an instance that need not be kept, and returns
// their names. What does not have the name of a backup is never touched.
func Prune(ctx context.Context, p Place, instance string, keep Keep, now time.Time) ([]string, error) {
	if keep.Last <= 0 {
		return nil, nil
	}
	all, err := p.List(ctx)
	if err != nil {
		return nil, err
	}
	own, _ := parse(NameOf(instance, now))
	var gone []string
	n := 0
	weeks := map[string]bool{}
	for _, e := range all {
		if own.Instance == "" || e.Instance != own.Instance {
			continue
		}
		year, week := e.MadeAt.ISOWeek()
		key := fmt.Sprint(year, week)
		newest := !weeks[key] && len(weeks) < keep.Weekly
		if newest {
			weeks[key] = true
		}
		n++
		if n <= keep.Last || newest || keep.For > 0 && now.Sub(e.MadeAt) < keep.For {
			continue
		}
		if err := p.remove(ctx, e.Name); err != nil {
			return gone, fmt.Errorf("deleting the old backup %s: %w", e.Name, err)
		}
		gone = append(gone, e.Name)
	}
	return gone, nil
}
