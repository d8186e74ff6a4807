package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"smi/internal/social"
)

// lockName is the file in the data directory that says who uses it. The file
// stays when smi ends; only the kernel's lock on it counts, and that ends with
// the process however it ends.
const lockName = "smi.lock"

// dirLock is a taken data directory.
type dirLock struct{ file *os.File }

// Close gives the directory back. Unlocking comes first: a child process that is
// just being started has the file open for a moment, and would keep the lock.
func (l *dirLock) Close() error {
	return errors.Join(unix.Flock(int(l.file.Fd()), unix.LOCK_UN), l.file.Close())
}

// lockDir takes the data directory for this process, or says who has it.
func lockDir(dir string, now time.Time) (*dirLock, error) {
	name := filepath.Join(dir, lockName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		held, _ := os.ReadFile(name) //nolint:errcheck // only for the message
		f.Close()                    //nolint:errcheck // nothing was written
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking %s: %w", name, err)
		}
		return nil, social.Errorf(social.CodeUnavailable, "", "the data directory %s is in use by another smi (%s); stop that one first, or use another data directory",
			dir, describeLock(string(held)))
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(fmt.Appendf(nil, "pid %d\nsince %s\n", os.Getpid(), now.UTC().Format(time.RFC3339)), 0)
	}
	if err != nil {
		f.Close() //nolint:errcheck // the first error is told
		return nil, fmt.Errorf("writing the lock file: %w", err)
	}
	return &dirLock{f}, nil
}

// describeLock makes one line of a lock file's content.
func describeLock(held string) string {
	s := strings.Join(strings.Split(strings.TrimSpace(held), "\n"), ", ")
	if s == "" {
		return "pid unknown"
	}
	return s
}
