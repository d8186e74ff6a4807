package backup

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"smi/internal/social"
	"smi/store"
)

func sorted[T ~string](s iter.Seq[T]) []T { return slices.Sorted(s) }

// maxManifest bounds the manifest.
const maxManifest = 16 << 20

// archive is a backup that is being read.
type archive struct {
	m Manifest
	t *tar.Reader
	z io.Reader
}

// begin reads the manifest of a backup.
func begin(r io.Reader) (*archive, error) {
	b := bufio.NewReaderSize(r, 1<<20)
	if head, err := b.Peek(2); err != nil || !bytes.Equal(head, []byte{0x1f, 0x8b}) {
		return nil, errNoBackup
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		return nil, errNoBackup
	}
	t := tar.NewReader(z)
	h, err := t.Next()
	if err != nil || h.Name != manifestName || h.Size > maxManifest {
		if cut := damaged(err); cut != nil {
			return nil, cut
		}
		return nil, errNoBackup
	}
	a := &archive{t: t, z: z}
	raw, err := io.ReadAll(t)
	if err != nil {
		return nil, damaged(err)
	}
	if err := json.Unmarshal(raw, &a.m); err != nil {
		return nil, social.Errorf(social.CodeInvalid, "file", "the manifest of the backup cannot be read (%v); take another backup", err)
	}
	if a.m.Format > format {
		return nil, social.Errorf(social.CodeInvalid, "file", "the backup was made by a newer smi (%s); use that version to put it back", a.m.Program)
	}
	return a, nil
}

var errNoBackup = social.Errorf(social.CodeInvalid, "file", "this is no backup of smi; name a file that smi backup made")

// damaged is the sentence for a backup that cannot be read to its end, nil for
// other errors.
func damaged(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return social.Errorf(social.CodeInvalid, "file", "the backup is cut off: it ends in the middle; copy it again from where it was made, or take another one")
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader), errors.Is(err, tar.ErrHeader), strings.HasPrefix(err.Error(), "flate:"):
		return social.Errorf(social.CodeInvalid, "file", "the backup was altered or is damaged (%v); copy it again from where it was made, or take another one", err)
	}
	return nil
}

// unpack puts a backup into a folder and checks everything that is in it. The
// media are written only if keep says so; their hashes are checked either way.
// The manifest it returns is of what was found, not of what was promised.
func unpack(ctx context.Context, r io.Reader, dir string, keep bool) (Manifest, error) {
	a, err := begin(r)
	if err != nil {
		return Manifest{}, err
	}
	got := a.m
	got.Media = MediaManifest{Included: a.m.Media.Included, Missing: a.m.Media.Missing}
	db := filepath.Join(dir, store.DatabaseName)
	seen := false
	for {
		h, err := a.t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return got, readError(err)
		}
		switch {
		case h.Name == store.DatabaseName && !seen:
			seen = true
			if got.SHA256, got.Bytes, err = extract(ctx, a.t, db); err != nil {
				return got, readError(err)
			}
			if got.SHA256 != a.m.SHA256 {
				return got, social.Errorf(social.CodeInvalid, "file", "the database in the backup was altered: it is not the one that the manifest names; take another backup")
			}
		case strings.HasPrefix(h.Name, mediaPrefix):
			if err := media(ctx, a.t, h, dir, keep); err != nil {
				return got, readError(err)
			}
			got.Media.Files++
			got.Media.Bytes += h.Size
		default:
			return got, social.Errorf(social.CodeInvalid, "file", "the backup was altered: it holds %.80q, which smi did not put there; take another backup", h.Name)
		}
	}
	// The end of the tar is not the end of the file: only there is its checksum.
	if _, err := io.Copy(io.Discard, a.z); err != nil {
		return got, readError(err)
	}
	switch {
	case !seen:
		return got, social.Errorf(social.CodeInvalid, "file", "the backup is cut off: there is no database in it; take another one")
	case a.m.Media.Included && got.Media.Files != a.m.Media.Files:
		return got, social.Errorf(social.CodeInvalid, "file", "the backup is not whole: %d of %d media files are in it; take another one", got.Media.Files, a.m.Media.Files)
	}
	return got, compare(ctx, db, a.m, &got)
}

// compare opens the database and compares it with the manifest.
func compare(ctx context.Context, db string, want Manifest, got *Manifest) error {
	c, err := store.OpenCopy(db)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // it was only read
	said, err := c.Integrity(ctx)
	if err != nil || said != "ok" {
		return social.Errorf(social.CodeInvalid, "file", "the database in the backup is damaged (%s%s); take another backup", said, text(err))
	}
	if got.Facts, err = c.Facts(ctx); err != nil {
		return err
	}
	if got.Tables, err = c.Tables(ctx); err != nil {
		return err
	}
	if !maps.Equal(got.Tables, want.Tables) || got.Facts.Instance != want.Facts.Instance || got.Facts.Schema != want.Facts.Schema {
		return social.Errorf(social.CodeInvalid, "file", "the backup was altered: its manifest does not fit its database; take another backup")
	}
	return nil
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// readError makes a sentence of a read error.
func readError(err error) error {
	if social.CodeOf(err) != social.CodeInternal {
		return err
	}
	if d := damaged(err); d != nil {
		return d
	}
	return fmt.Errorf("reading the backup: %w", err)
}

// extract writes one file of the backup, durably, and returns its hash.
func extract(ctx context.Context, r io.Reader, path string) (sum string, n int64, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // our own
	if err != nil {
		return "", 0, fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	if n, err = io.Copy(io.MultiWriter(f, h), &reader{ctx, r}); err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(h.Sum(nil)), n, f.Sync()
}

// media checks one file of the backup, and keeps it where it is wanted.
func media(ctx context.Context, r io.Reader, h *tar.Header, dir string, keep bool) error {
	rel := strings.TrimPrefix(h.Name, mediaPrefix)
	hash := rel[strings.LastIndexByte(rel, '/')+1:]
	if name, err := mediaName(hash); err != nil || name != rel || h.Typeflag != tar.TypeReg {
		return social.Errorf(social.CodeInvalid, "file", "the backup was altered: it holds %.80q, which smi did not put there; take another backup", h.Name)
	}
	var sum string
	var err error
	if keep {
		path := filepath.Join(dir, "media", filepath.FromSlash(rel))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("making a media folder: %w", err)
		}
		sum, _, err = extract(ctx, r, path)
	} else {
		s := sha256.New()
		_, err = io.Copy(s, &reader{ctx, r})
		sum = hex.EncodeToString(s.Sum(nil))
	}
	if err != nil {
		return err
	}
	if sum != hash {
		return social.Errorf(social.CodeInvalid, "file", "the media file %.12s… in the backup was altered; take another backup", hash)
	}
	return nil
}
