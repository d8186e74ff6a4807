// Package media keeps the files that are published: it finds out what a file
// is from its content, refuses what is harmful or cannot be read, takes out
// where and with what it was taken, and makes copies that fit a network's rules.
// Files lie in a folder or in a bucket and are never in memory as a whole, but
// for pictures while they are looked at.
//
// Bytes are named by their SHA-256 and never change; what is known of them is
// in the Index.
package media

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	s3 "smi/internal/bucket"
	"smi/internal/social"
)

// Index keeps what is known of files. The store implements it.
type Index interface {
	// SaveMedia adds a file (nothing happens if it is known) and notes that it
	// belongs to a workspace, under the name of social.Media.
	SaveMedia(ctx context.Context, workspace social.ID, m social.Media) error
	// SaveDerived adds a file that was made from another by a rule.
	SaveDerived(ctx context.Context, from, rule string, m social.Media) error
	// Derived returns the file that was made from another by a rule.
	Derived(ctx context.Context, from, rule string) (m social.Media, found bool, err error)
	// MediaOf returns a file that belongs to a workspace or was made from one that
	// does.
	MediaOf(ctx context.Context, workspace social.ID, hash string) (m social.Media, found bool, err error)
	// MediaList returns a workspace's own files, the latest first.
	MediaList(ctx context.Context, workspace social.ID, limit int) ([]social.Media, error)
}

// Limits bound what is taken in. Zero values mean the defaults.
type Limits struct {
	ImageBytes int64 // of a picture or GIF as it comes; 64 MiB
	VideoBytes int64 // of a video; 2 GiB
	Pixels     int64 // width × height of a picture; 100 million
	Frames     int   // of a GIF; 2000
}

// maxGIFPixels bounds the pixels of all frames of a GIF together.
const maxGIFPixels = 2_000_000_000

func (l Limits) withDefaults() Limits {
	if l.ImageBytes <= 0 {
		l.ImageBytes = 64 << 20
	}
	if l.VideoBytes <= 0 {
		l.VideoBytes = 2 << 30
	}
	if l.Pixels <= 0 {
		l.Pixels = 100_000_000
	}
	if l.Frames <= 0 {
		l.Frames = 2000
	}
	return l
}

// Options make a Store.
type Options struct {
	Dir    string // is made if it does not exist
	Index  Index
	Limits Limits
	Now    func() time.Time
	// Bucket keeps the files instead of Dir, in which then only lies what is not
	// finished, and what it held before. nil: Dir keeps them.
	Bucket *s3.Bucket
	// Transcoder makes other videos of videos; nil: there is none.
	Transcoder *Transcoder
	// AsIs leaves in JPEG, PNG, GIF and videos what says where and with what they
	// were taken.
	AsIs bool
}

// Store keeps files in a directory or in a bucket. It is safe for concurrent
// use; several processes may share either.
type Store struct {
	root   *os.Root // of what is not finished
	shelf  shelf
	index  Index
	limits Limits
	// pictures lets one picture be decoded at a time: each may take hundreds of
	// megabytes.
	pictures chan struct{}
	// films lets one video be transcoded at a time.
	films      chan struct{}
	transcoder *Transcoder
	asIs       bool
}

const tmpDir = "tmp"

// Open opens the directory and removes what imports that were killed left
// behind more than a day ago.
func Open(o Options) (*Store, error) {
	if o.Index == nil || o.Now == nil {
		return nil, errors.New("media: Index and Now are needed")
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the media directory: %w", err)
	}
	root, err := os.OpenRoot(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening the media directory: %w", err)
	}
	s := &Store{
		root: root, shelf: shelfOf(root, o.Bucket), index: o.Index, limits: o.Limits.withDefaults(),
		pictures: make(chan struct{}, 1), films: make(chan struct{}, 1), transcoder: o.Transcoder, asIs: o.AsIs,
	}
	if err := s.sweep(o.Now()); err != nil {
		root.Close() //nolint:errcheck // err says more
		return nil, err
	}
	return s, nil
}

func shelfOf(root *os.Root, b *s3.Bucket) shelf {
	on := &folder{root, (*os.File).Sync}
	if b == nil {
		return on
	}
	if root == nil {
		on = nil
	}
	return &bucket{b: b, old: on}
}

func (s *Store) sweep(now time.Time) error {
	if err := s.root.MkdirAll(tmpDir, 0o700); err != nil {
		return fmt.Errorf("making the directory of unfinished files: %w", err)
	}
	entries, err := fs.ReadDir(s.root.FS(), tmpDir)
	if err != nil {
		return fmt.Errorf("reading the directory of unfinished files: %w", err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > 24*time.Hour {
			s.root.RemoveAll(path.Join(tmpDir, e.Name())) //nolint:errcheck // the next start tries again
		}
	}
	return nil
}

// Close closes the directory and the bucket. Files of the directory that are
// open stay usable.
func (s *Store) Close() error { return s.shelf.close() }

// Import takes a file in: it reads it to its end, finds out what it is, cleans
// it and stores the result, whose hash it returns. name is for people only.
// What is refused is a *social.Error with a sentence that says why. The same
// bytes twice are one file.
func (s *Store) Import(ctx context.Context, workspace social.ID, name string, r io.Reader) (social.Media, error) {
	name = cleanName(name)
	br := bufio.NewReaderSize(r, 64<<10)
	head, err := br.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return social.Media{}, fmt.Errorf("reading %s: %w", name, err)
	}
	f, err := sniff(name, head)
	if err != nil {
		return social.Media{}, err
	}
	limit := s.limits.ImageBytes
	if f.film() {
		limit = s.limits.VideoBytes
	}
	in, err := s.temp()
	if err != nil {
		return social.Media{}, err
	}
	defer in.discard()
	n, err := io.Copy(in, io.LimitReader(&ctxReader{ctx, br}, limit+1))
	if err != nil {
		return social.Media{}, diskError(fmt.Errorf("reading %s: %w", name, err))
	}
	if n > limit {
		return social.Media{}, refuse("%s is larger than %s; make it smaller", name, size(limit))
	}
	m := social.Media{Name: name}
	out := in
	if f.film() {
		m.Kind, m.MIME = social.Video, string(f)
		err = cleanVideo(ctx, in.File, n, name, &m, s.asIs)
	} else {
		if out, err = s.temp(); err != nil {
			return social.Media{}, err
		}
		defer out.discard()
		select {
		case s.pictures <- struct{}{}:
		case <-ctx.Done():
			return social.Media{}, ctx.Err()
		}
		err = s.cleanPicture(f, in, out, name, &m)
		<-s.pictures
	}
	if err != nil {
		return social.Media{}, diskError(err)
	}
	if err := s.keep(ctx, out, &m); err != nil {
		return social.Media{}, err
	}
	if err := s.index.SaveMedia(ctx, workspace, m); err != nil {
		return social.Media{}, fmt.Errorf("saving what is known of %s: %w", name, err)
	}
	return m, nil
}

// Get returns what is known of a workspace's file, CodeNotFound if it has none
// with that hash.
func (s *Store) Get(ctx context.Context, workspace social.ID, hash string) (social.Media, error) {
	m, found, err := s.index.MediaOf(ctx, workspace, hash)
	if err == nil && !found {
		err = social.Errorf(social.CodeNotFound, "", "there is no file %.12s…; upload it first", hash)
	}
	return m, err
}

// List returns a workspace's files, the latest first.
func (s *Store) List(ctx context.Context, workspace social.ID, limit int) ([]social.Media, error) {
	return s.index.MediaList(ctx, workspace, limit)
}

// Open opens the bytes of a file. It fits connectors.MediaSource. A file in a
// bucket is read while ctx lives.
func (s *Store) Open(ctx context.Context, hash string) (io.ReadSeekCloser, error) {
	if err := checkHash(hash); err != nil {
		return nil, err
	}
	f, err := s.shelf.open(ctx, hash)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, social.Errorf(social.CodeNotFound, "", "the file %.12s… is missing from %s; restore it from a backup or upload it again", hash, s.shelf.place())
	}
	if err != nil {
		return nil, fmt.Errorf("opening a media file: %w", err)
	}
	return f, nil
}

// checkHash refuses what cannot be the name of a file.
func checkHash(hash string) error {
	if len(hash) != 64 || strings.Trim(hash, "0123456789abcdef") != "" {
		return social.Errorf(social.CodeInvalid, "hash", "%.80q is no hash of a file: it has 64 characters of 0-9 and a-f", hash)
	}
	return nil
}

// pathOf is where a file lies: ab/cd/abcd….
func pathOf(hash string) string { return path.Join(hash[:2], hash[2:4], hash) }

// keep moves a finished file to its place, durably, and fills in Hash and
// Bytes.
func (s *Store) keep(ctx context.Context, f *tempFile, m *social.Media) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading a file back: %w", err)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, &ctxReader{ctx, f})
	if err != nil {
		return fmt.Errorf("reading a file back: %w", err)
	}
	m.Hash, m.Bytes = hexSum(sum), n
	return s.shelf.put(ctx, f, m.Hash, n)
}

// tempFile is a file that is not finished.
type tempFile struct {
	*os.File
	root *os.Root
	name string // "" once it was moved to its place
}

func (s *Store) temp() (*tempFile, error) {
	name := path.Join(tmpDir, rand.Text())
	f, err := s.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, diskError(fmt.Errorf("making a file: %w", err))
	}
	return &tempFile{File: f, root: s.root, name: name}, nil
}

func (f *tempFile) discard() {
	f.Close() //nolint:errcheck // was synced if it was kept
	if f.name != "" {
		f.root.Remove(f.name) //nolint:errcheck // the sweep does
	}
}

// ctxReader ends reading when the context ends.
type ctxReader struct {
	ctx context.Context //nolint:containedctx // lives as long as one copy
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// refuse is the error for a file that is not taken.
func refuse(format string, args ...any) error {
	return &social.Error{Code: social.CodeInvalid, Field: "file", Text: fmt.Sprintf(format, args...)}
}

// diskError gives a full disk its own code.
func diskError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &social.Error{Code: social.CodeExhausted, Text: "the disk of the media directory is full; free some space and try again", Err: err}
	}
	return err
}

// cleanName keeps what people call the file and nothing that could mean a
// place.
func cleanName(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, name)
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	name = strings.TrimSpace(name)
	for len(name) > 120 {
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	if name == "" || name == "." || name == ".." {
		return "the file"
	}
	return name
}

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20:
		return fmt.Sprintf("%.4g MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}
