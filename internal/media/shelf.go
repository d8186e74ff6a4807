package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	s3 "smi/internal/bucket"
)

// shelf is where finished files lie, by their hash.
type shelf interface {
	// put takes a finished file of n bytes in: durably, and whole or not at all. It
	// may be there already.
	put(ctx context.Context, f *tempFile, hash string, n int64) error
	// open reads a file. The error of one that is not there is fs.ErrNotExist.
	open(ctx context.Context, hash string) (io.ReadSeekCloser, error)
	// place names where files lie, for people.
	place() string
	close() error
}

// folder is a shelf on a disk.
type folder struct {
	root *os.Root
	sync func(*os.File) error // (*os.File).Sync
}

func (s *folder) place() string { return "the media directory" }
func (s *folder) close() error  { return s.root.Close() }

func (s *folder) open(_ context.Context, hash string) (io.ReadSeekCloser, error) {
	f, err := s.root.Open(pathOf(hash))
	if err != nil {
		return nil, err // not a nil *os.File in an interface
	}
	return f, nil
}

// put syncs the file, gives it its name, and syncs the name. A file that is there
// is replaced: it may be damaged, and its name may not be on the disk yet.
func (s *folder) put(_ context.Context, f *tempFile, hash string, _ int64) error {
	to := pathOf(hash)
	if err := s.sync(f.File); err != nil {
		return diskError(fmt.Errorf("saving a file: %w", err))
	}
	dir := path.Dir(to)
	if err := s.root.MkdirAll(dir, 0o700); err != nil {
		return diskError(fmt.Errorf("making a media directory: %w", err))
	}
	if err := s.root.Rename(f.name, to); err != nil {
		return diskError(fmt.Errorf("saving a file: %w", err))
	}
	f.name = ""
	for _, d := range []string{dir, path.Dir(dir), "."} {
		if err := s.syncDir(d); err != nil {
			return diskError(fmt.Errorf("saving a media directory: %w", err))
		}
	}
	return nil
}

func (s *folder) syncDir(name string) error {
	d, err := s.root.Open(name)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // opened for reading
	return s.sync(d)
}

// bucket is a shelf in S3 or a store that speaks its language. Files that lay in
// the folder before there was a bucket are still found there.
type bucket struct {
	b   *s3.Bucket
	old *folder // nil: there is no folder
}

func (s *bucket) place() string { return s.b.String() }

func (s *bucket) close() error {
	err := s.b.Close()
	if s.old != nil {
		err = errors.Join(err, s.old.close())
	}
	return err
}

// An upload goes in parts, one after the other: so many bytes that 10,000 of them,
// the most that S3 takes, are enough for the file.
const (
	leastPart = 8 << 20
	mostParts = 9_000
)

func partOf(n int64) int64 {
	part := int64(leastPart)
	for part*mostParts < n {
		part += 1 << 20
	}
	return part
}

func (s *bucket) put(ctx context.Context, f *tempFile, hash string, n int64) error {
	if there, err := s.stat(ctx, hash); err == nil && there == n {
		return nil // is there already
	}
	if err := s.b.Put(ctx, pathOf(hash), f, n, partOf(n)); err != nil {
		return s.explain(ctx, "the file was not taken", err)
	}
	got, err := s.stat(ctx, hash)
	if err != nil {
		return s.explain(ctx, "the file cannot be found after it was taken", err)
	}
	if got != n {
		return fmt.Errorf("%s keeps %d bytes of a file of %d", s.b, got, n)
	}
	return nil
}

// explain keeps the end of the caller's patience what it is.
func (s *bucket) explain(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.b.Explain(what, err)
}

func (s *bucket) stat(ctx context.Context, hash string) (int64, error) {
	a, err := s.b.Attributes(ctx, pathOf(hash))
	if err != nil {
		return 0, err
	}
	return a.Size, nil
}

// length asks the bucket alone, so that a file which lies only in the folder of
// this machine is put into it when it comes again.
func (s *bucket) length(ctx context.Context, hash string) (int64, error) {
	n, err := s.stat(ctx, hash)
	switch {
	case gcerrors.Code(err) == gcerrors.NotFound:
		return 0, fs.ErrNotExist
	case err != nil:
		return 0, s.explain(ctx, "a file cannot be asked for", err)
	}
	return n, nil
}

func (s *bucket) open(ctx context.Context, hash string) (io.ReadSeekCloser, error) {
	n, err := s.length(ctx, hash)
	if errors.Is(err, fs.ErrNotExist) && s.old != nil {
		return s.old.open(ctx, hash)
	}
	if err != nil {
		return nil, err
	}
	return &ranged{ctx: ctx, s: s, key: pathOf(hash), size: n}, nil
}

// mostTries is how often in a row reading goes on where it broke off.
const mostTries = 3

// ranged reads an object of a bucket from where it is told, as one stream until
// it is told another place.
type ranged struct {
	ctx   context.Context //nolint:containedctx // that of who opened it
	s     *bucket
	key   string
	size  int64
	at    int64
	r     *blob.Reader // nil: not open
	tries int
}

// Seek implements io.Seeker. It makes no call.
func (r *ranged) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, errors.New("media: a place before the beginning of a file")
	}
	if offset != r.at {
		r.at = offset
		r.drop()
	}
	return offset, nil
}

// Read implements io.Reader.
func (r *ranged) Read(p []byte) (int, error) {
	for {
		if r.at >= r.size {
			return 0, io.EOF
		}
		if len(p) == 0 {
			return 0, nil
		}
		n, err := r.some(p)
		r.at += int64(n)
		if n > 0 {
			r.tries = 0
			return n, nil // what is wrong shows again, or is over
		}
		if r.ctx.Err() != nil {
			return 0, r.ctx.Err()
		}
		if r.tries++; r.tries > mostTries {
			return 0, r.s.explain(r.ctx, "a file cannot be read", err)
		}
	}
}

// some reads some bytes. The stream is closed after an error, and an end before
// the end is one.
func (r *ranged) some(p []byte) (int, error) {
	if r.r == nil {
		var err error
		if r.r, err = r.s.b.NewRangeReader(r.ctx, r.key, r.at, -1, nil); err != nil {
			return 0, err
		}
	}
	n, err := r.r.Read(p)
	if err != nil {
		r.drop()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

func (r *ranged) drop() {
	if r.r != nil {
		r.r.Close() //nolint:errcheck // nothing was written
		r.r = nil
	}
}

// Close implements io.Closer.
func (r *ranged) Close() error {
	r.drop()
	return nil
}
