package media

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	s3 "smi/internal/bucket"
	"smi/internal/social"
)

// OpenToLook opens a directory that is there, or a bucket, in which nothing is
// changed: files can be opened and verified.
func OpenToLook(dir string, b *s3.Bucket) (*Store, error) {
	root, err := os.OpenRoot(dir)
	if err != nil && b == nil {
		return nil, fmt.Errorf("opening the media directory: %w", err)
	}
	return &Store{root: root, shelf: shelfOf(root, b)}, nil
}

// Verify says what is wrong with a stored file: it is missing or not as long as
// it was. With whole set its bytes are read, too, and must be those it was stored
// with.
func (s *Store) Verify(ctx context.Context, m social.Media, whole bool) error {
	if err := checkHash(m.Hash); err != nil {
		return err
	}
	f, err := s.shelf.open(ctx, m.Hash)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("missing")
	}
	if err != nil {
		return fmt.Errorf("cannot be opened: %w", bare(err))
	}
	defer f.Close() //nolint:errcheck // nothing was written
	n, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("cannot be looked at: %w", bare(err))
	}
	if n != m.Bytes {
		return fmt.Errorf("has %d bytes and was stored with %d", n, m.Bytes)
	}
	if !whole {
		return nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, &ctxReader{ctx, f}); err != nil {
		return fmt.Errorf("cannot be read: %w", bare(err))
	}
	if hexSum(h) != m.Hash {
		return errors.New("has other bytes than it was stored with")
	}
	return nil
}

// bare takes the path, which says nothing to people, out of an error.
func bare(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
