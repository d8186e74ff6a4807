package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"smi/internal/social"
	"smi/store/faultdisk"
)

// A failed fsync ends writing: what the kernel could not write it may have
// dropped, so a later fsync that succeeds would prove nothing.
func TestFsyncFails(t *testing.T) {
	t.Parallel()
	disk := faultdisk.New(t)
	path := filepath.Join(t.TempDir(), "smi.db")
	s, err := Open(t.Context(), Options{Path: path, BallastBytes: -1, VFS: disk.Name()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.write(t.Context(), put("before")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Broken():
		t.Error("broken before anything failed")
	default:
	}
	disk.Fail(1, faultdisk.SyncError, false)
	err = s.write(t.Context(), put("during"))
	if !errors.Is(err, ErrCommitUnknown) || social.CodeOf(err) != social.CodeUnavailable {
		t.Errorf("a commit whose fsync failed: %v", err)
	}
	if err := s.write(t.Context(), put("after")); social.CodeOf(err) != social.CodeUnavailable {
		t.Errorf("the next write, with a disk that works again: %v", err)
	}
	if err := s.Healthy(); err == nil {
		t.Error("healthy after a failed fsync")
	}
	select {
	case <-s.Broken():
	default:
		t.Error("nobody is told that the process should end")
	}
	s.Close() //nolint:errcheck // it is broken
	s, err = Open(t.Context(), Options{Path: path, BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !has(t, s, "before") || has(t, s, "after") {
		t.Error("after the restart: what was acknowledged is lost, or what was refused is there")
	}
	if err := s.write(t.Context(), put("after")); err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

// Every single write and fsync fails once, in every way: what was acknowledged
// is there when the database is opened next, and the file is whole.
func TestEveryFault(t *testing.T) {
	t.Parallel()
	disk := faultdisk.New(t)
	failed := 0
	for _, code := range []faultdisk.Fault{faultdisk.Full, faultdisk.WriteError, faultdisk.SyncError} {
		for n := 1; ; n++ {
			path := filepath.Join(t.TempDir(), "smi.db")
			disk.Fail(0, 0, false)
			s, err := Open(t.Context(), Options{Path: path, BallastBytes: -1, VFS: disk.Name()})
			if err != nil {
				t.Fatal(err)
			}
			disk.Fail(n, code, n%2 == 0)
			acknowledged := map[string]bool{}
			for i := range 4 {
				key := fmt.Sprintf("k%d", i)
				err := s.write(t.Context(), func(ctx context.Context, tx *sql.Tx) error { return put(key)(ctx, tx) })
				if err == nil {
					acknowledged[key] = true
				} else {
					failed++
				}
			}
			over := disk.Calls() < n
			s.Close() //nolint:errcheck // may be broken
			disk.Fail(0, 0, false)
			s, err = Open(t.Context(), Options{Path: path, BallastBytes: -1})
			if err != nil {
				t.Fatalf("opening after fault %d of code %s: %v", n, code, err)
			}
			for key := range acknowledged {
				if !has(t, s, key) {
					t.Errorf("fault %d of code %s: %s was acknowledged and is lost", n, code, key)
				}
			}
			var whole string
			if err := s.read().QueryRowContext(t.Context(), `PRAGMA integrity_check`).Scan(&whole); err != nil || whole != "ok" {
				t.Errorf("fault %d of code %s: %s, %v", n, code, whole, err)
			}
			s.Close() //nolint:errcheck // only read
			if over {
				break
			}
		}
	}
	if failed < 10 {
		t.Errorf("only %d writes failed: the faults do not bite", failed)
	}
}
