package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"smi/internal/crash"
	"smi/internal/keyring"
	"smi/internal/social"
	"smi/store"
)

// RestoreOptions say what to put back, and where.
type RestoreOptions struct {
	From    string // a file, a folder (its newest backup), or s3://BUCKET/PREFIX (the newest) or s3://BUCKET/PREFIX/NAME
	Access  Access
	DataDir string
	Media   string                           // folder of the media; "" is media in DataDir
	Keys    func() (*keyring.Keyring, error) // the key that the daemon will use
	Program string                           // version
	Now     func() time.Time
	Free    func(dir string) (int64, error)
	By      string // actor
}

// Restored is what a restore did.
type Restored struct {
	From       string            `json:"from"`
	MadeAt     time.Time         `json:"made_at"`
	DataDir    string            `json:"data_dir"`
	Aside      string            `json:"aside,omitempty" doc:"where the database is that was here before"`
	Media      int               `json:"media" doc:"media files that were put back"`
	MediaThere bool              `json:"media_included"`
	Quarantine social.Quarantine `json:"quarantine"`
}

// restorePattern is how the scratch folder of a restore is called.
const restorePattern = ".smi-restore-*.partial"

// Restore puts a backup back. Everything is checked and made ready beside the
// place where it belongs; then one rename puts it there, in quarantine. What was
// there before is kept under another name.
func Restore(ctx context.Context, o RestoreOptions) (_ Restored, err error) {
	out := Restored{DataDir: o.DataDir}
	dir, err := store.ClaimDir(o.DataDir, o.Now())
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, dir.Release()) }()
	r, name, err := openFrom(ctx, o.From, o.Access)
	if err != nil {
		return out, err
	}
	defer r.Close() //nolint:errcheck // it was only read
	out.From = name

	scratch, err := newScratch(o.DataDir, restorePattern)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	m, err := peek(ctx, &o, r, name)
	if err != nil {
		return out, err
	}
	r2, _, err := openFrom(ctx, name, o.Access)
	if err != nil {
		return out, err
	}
	defer r2.Close() //nolint:errcheck // it was only read
	got, err := unpack(ctx, r2, scratch, true)
	if err != nil {
		return out, err
	}
	out.MadeAt, out.Media, out.MediaThere = m.MadeAt, got.Media.Files, m.Media.Included
	crash.Point("restore-unpacked")
	if out.Quarantine, err = revive(ctx, &o, scratch, name, m); err != nil {
		return out, err
	}
	crash.Point("restore-revived")
	if err := moveMedia(filepath.Join(scratch, "media"), mediaDir(o.DataDir, o.Media)); err != nil {
		return out, err
	}
	suffix := ".before-restore-" + o.Now().UTC().Format(stampLayout)
	aside, place, err := dir.SetAside(suffix)
	if err != nil {
		return out, err
	}
	out.Aside = aside
	crash.Point("restore-before-rename")
	if err := place(filepath.Join(scratch, store.DatabaseName)); err != nil {
		return out, err
	}
	crash.Point("restore-after-rename")
	return out, nil
}

// openFrom opens a backup, and returns the full name of the one that was meant.
func openFrom(ctx context.Context, from string, a Access) (io.ReadCloser, string, error) {
	if IsBucket(from) {
		return openFromBucket(ctx, from, a)
	}
	st, err := os.Stat(from)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "", social.Errorf(social.CodeNotFound, "file", "there is no file %s; smi backup list shows what there is", from)
	case err != nil:
		return nil, "", fmt.Errorf("looking at %s: %w", from, err)
	case st.IsDir():
		all, err := folder(from).List(ctx)
		if err != nil {
			return nil, "", err
		}
		if len(all) == 0 {
			return nil, "", social.Errorf(social.CodeNotFound, "file", "there is no backup of smi in %s", from)
		}
		from = filepath.Join(from, all[0].Name)
	}
	f, err := os.Open(from) //nolint:gosec // named by the person who restores
	if err != nil {
		return nil, "", fmt.Errorf("reading %s: %w", from, err)
	}
	return f, from, nil
}

func openFromBucket(ctx context.Context, from string, a Access) (io.ReadCloser, string, error) {
	address, query, _ := strings.Cut(from, "?")
	place, name := address, ""
	if i := strings.LastIndexByte(address, '/'); i > len("s3://") {
		if _, ok := parse(address[i+1:]); ok {
			place, name = address[:i], address[i+1:]
		}
	}
	if query != "" {
		query = "?" + query
	}
	p, err := OpenPlace(ctx, place+query, a)
	if err != nil {
		return nil, "", err
	}
	if name == "" {
		all, err := p.List(ctx)
		if err != nil {
			return nil, "", errors.Join(err, p.Close())
		}
		if len(all) == 0 {
			return nil, "", errors.Join(social.Errorf(social.CodeNotFound, "file", "there is no backup of smi in %s", p), p.Close())
		}
		name = all[0].Name
	}
	r, err := p.Open(ctx, name)
	if err != nil {
		return nil, "", errors.Join(err, p.Close())
	}
	return &ofPlace{r, p}, strings.TrimSuffix(place, "/") + "/" + name + query, nil
}

// ofPlace is a backup that keeps its bucket open.
type ofPlace struct {
	io.ReadCloser
	p Place
}

func (o *ofPlace) Close() error { return errors.Join(o.ReadCloser.Close(), o.p.Close()) }

// peek reads the manifest and refuses what cannot be put back here, before
// anything is written.
func peek(_ context.Context, o *RestoreOptions, r io.Reader, name string) (Manifest, error) {
	a, err := begin(r)
	if err != nil {
		return Manifest{}, err
	}
	known, err := store.SchemaVersion()
	if err != nil {
		return a.m, err
	}
	if a.m.Facts.Schema > known {
		return a.m, social.Errorf(social.CodeInvalid, "file", "%s was made by a newer smi (%s, schema %d) than this one (schema %d); install that version and restore with it", name, a.m.Program, a.m.Facts.Schema, known)
	}
	if o.Free != nil {
		if err := enough(o.Free, o.DataDir, a.m.Bytes+a.m.Media.Bytes); err != nil {
			if e, ok := errors.AsType[*social.Error](err); ok {
				e.Field = "data_dir"
			}
			return a.m, err
		}
	}
	return a.m, nil
}

// revive opens the database where it was unpacked, with the key that the daemon
// will use, and puts it into quarantine: it is never in its place without.
func revive(ctx context.Context, o *RestoreOptions, scratch, name string, m Manifest) (_ social.Quarantine, err error) {
	keys, err := o.Keys()
	if err != nil {
		return social.Quarantine{}, err
	}
	s, err := store.Open(ctx, store.Options{Path: filepath.Join(scratch, store.DatabaseName), Now: o.Now, Version: o.Program, BallastBytes: -1})
	if err != nil {
		return social.Quarantine{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	instance, err := s.InstanceID(ctx)
	if err != nil {
		return social.Quarantine{}, err
	}
	if err := keys.Check(ctx, s, instance); err != nil {
		return social.Quarantine{}, social.Errorf(social.CodeConflict, "key_file", "this backup cannot be used with the key that is here, so nothing was changed: %s", err.Error())
	}
	where := name
	if address, _, ok := strings.Cut(name, "?"); ok && IsBucket(name) {
		where = address
	}
	return s.Revive(ctx, fmt.Sprintf("The backup %s of %s was restored.", filepath.Base(where), m.MadeAt.UTC().Format("2006-01-02 15:04 UTC")), o.By)
}

// moveMedia puts the files of a backup into the media folder. A file that is
// there is the same one: its name is its hash.
func moveMedia(from, to string) error {
	dirs := map[string]bool{}
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == from {
			return filepath.SkipAll // no media
		}
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if here, err := os.Stat(target); err == nil {
			if st, err := d.Info(); err == nil && st.Size() == here.Size() {
				return nil
			}
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return err
		}
		dirs[filepath.Dir(target)] = true
		if err := os.Rename(path, target); !errors.Is(err, syscall.EXDEV) { //nolint:gosec // both folders are our own, and nobody else's
			return err
		}
		return copyFile(path, target)
	})
	if err != nil {
		return fmt.Errorf("putting the media back: %w", err)
	}
	for dir := range dirs {
		d, err := os.Open(dir) //nolint:gosec // our own
		if err != nil {
			return fmt.Errorf("putting the media back: %w", err)
		}
		err = errors.Join(d.Sync(), d.Close())
		if err != nil {
			return fmt.Errorf("putting the media back: %w", err)
		}
	}
	return nil
}

// copyFile copies a file to another disk, whole or not at all.
func copyFile(from, to string) (err error) {
	in, err := os.Open(from) //nolint:gosec // our own
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it was only read
	out, err := os.CreateTemp(filepath.Dir(to), ".smi-restore-*.partial")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name()) //nolint:errcheck // it has another name by then
	if _, err = io.Copy(out, in); err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), to)
}
