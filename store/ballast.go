package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// ballastName is the file that gives way when the disk is full.
const ballastName = "ballast"

// ballastEvery is how often at most it is tried to make it again.
const ballastEvery = time.Minute

// ballast is a file of no use except that deleting it frees its space.
type ballast struct {
	path string
	size int64

	mu    sync.Mutex
	there bool
	tried time.Time
	// freed is called after a release, for tests; may be nil.
	freed func()
}

func newBallast(dir string, size int64) ballast {
	if size == 0 {
		size = defaultBallast
	}
	return ballast{path: filepath.Join(dir, ballastName), size: size}
}

// release deletes the file. It says whether that can have freed anything.
func (b *ballast) release(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.size <= 0 || !b.there {
		return false
	}
	if err := os.Remove(b.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	b.there, b.tried = false, now
	if b.freed != nil {
		b.freed()
	}
	return true
}

// refill makes the file again if it is gone and there is room. A failure is not
// told: the next write that fails says that the disk is full.
func (b *ballast) refill(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.size <= 0 || b.there || (!b.tried.IsZero() && now.Sub(b.tried) < ballastEvery) {
		return
	}
	b.tried = now
	if st, err := os.Stat(b.path); err == nil && st.Size() == b.size {
		b.there = true
		return
	}
	if err := writeBallast(b.path, b.size); err != nil {
		os.Remove(b.path) //nolint:errcheck // it was only half there
		return
	}
	b.there = true
}

// writeBallast writes real bytes: a sparse file would hold no space.
func writeBallast(path string, size int64) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("making the ballast file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	block := make([]byte, 64<<10)
	for i := range block {
		block[i] = byte(i*7 + 1) // not zeros, which some file systems do not store
	}
	for left := size; left > 0; left -= int64(len(block)) {
		if left < int64(len(block)) {
			block = block[:left]
		}
		if _, err := f.Write(block); err != nil {
			return fmt.Errorf("writing the ballast file: %w", err)
		}
	}
	return f.Sync()
}
