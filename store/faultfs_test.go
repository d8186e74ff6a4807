package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"

	"smi/internal/social"
)

// faults is a disk that fails on demand: a file system for SQLite that passes
// everything on to the real one, but lets the chosen write or fsync fail. There
// is one in the process; one test uses it at a time.
var faults struct {
	using sync.Mutex // held by the test that uses it

	mu   sync.Mutex
	seen int   // writes and fsyncs since reset
	at   int   // which of them fails; 0: none
	code int32 // with what
	stay bool  // all after it fail as well

	once    sync.Once
	real    *sqlite3.Tsqlite3_vfs
	methods map[uintptr]uintptr // the real methods' copies with ours in them
	origin  map[uintptr]uintptr // open file → real methods
}

func resetFaults(at int, code int32, stay bool) {
	faults.mu.Lock()
	defer faults.mu.Unlock()
	faults.seen, faults.at, faults.code, faults.stay = 0, at, code, stay
}

// fault counts a call and returns the code it fails with, 0 if it does not.
func fault() int32 {
	faults.mu.Lock()
	defer faults.mu.Unlock()
	faults.seen++
	if faults.at > 0 && (faults.seen == faults.at || faults.stay && faults.seen > faults.at) {
		return faults.code
	}
	return 0
}

// at reads an address of C memory as a Go pointer.
func at[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) }

// callable makes a Go function of an address, address the reverse; both are how
// the translated SQLite keeps its functions.
func callable[F any](address uintptr) F {
	return *(*F)(unsafe.Pointer(&struct{ p uintptr }{address}))
}

func address(f any) uintptr { return (*[2]uintptr)(unsafe.Pointer(&f))[1] }

func realMethods(file uintptr) *sqlite3.Tsqlite3_io_methods {
	faults.mu.Lock()
	defer faults.mu.Unlock()
	return at[sqlite3.Tsqlite3_io_methods](faults.origin[file])
}

func faultyWrite(tls *libc.TLS, file, buf uintptr, n int32, off int64) int32 {
	if rc := fault(); rc != 0 {
		return rc
	}
	return callable[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](realMethods(file).FxWrite)(tls, file, buf, n, off)
}

func faultySync(tls *libc.TLS, file uintptr, flags int32) int32 {
	if rc := fault(); rc != 0 {
		return rc
	}
	return callable[func(*libc.TLS, uintptr, int32) int32](realMethods(file).FxSync)(tls, file, flags)
}

func faultyOpen(tls *libc.TLS, _, name, file uintptr, flags int32, out uintptr) int32 {
	rc := callable[func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32](faults.real.FxOpen)(tls, uintptr(unsafe.Pointer(faults.real)), name, file, flags, out)
	f := at[sqlite3.Tsqlite3_file](file)
	if rc != 0 || f.FpMethods == 0 {
		return rc
	}
	faults.mu.Lock()
	defer faults.mu.Unlock()
	ours, known := faults.methods[f.FpMethods]
	if !known {
		ours = libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{})))
		m := at[sqlite3.Tsqlite3_io_methods](ours)
		*m = *at[sqlite3.Tsqlite3_io_methods](f.FpMethods)
		m.FxWrite, m.FxSync = address(faultyWrite), address(faultySync)
		faults.methods[f.FpMethods] = ours
	}
	faults.origin[file] = f.FpMethods
	f.FpMethods = ours
	return rc
}

// useFaults makes the failing disk known to SQLite as "faulty" and keeps it for
// one test.
func useFaults(t *testing.T) {
	t.Helper()
	faults.using.Lock()
	t.Cleanup(faults.using.Unlock)
	faults.once.Do(func() {
		tls := libc.NewTLS()
		sqlite3.Xsqlite3_initialize(tls)
		faults.real = at[sqlite3.Tsqlite3_vfs](sqlite3.Xsqlite3_vfs_find(tls, 0))
		faults.methods, faults.origin = map[uintptr]uintptr{}, map[uintptr]uintptr{}
		copied := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_vfs{})))
		v := at[sqlite3.Tsqlite3_vfs](copied)
		*v = *faults.real
		name, err := libc.CString("faulty")
		if err != nil {
			t.Fatal(err)
		}
		v.FzName, v.FpNext, v.FxOpen = name, 0, address(faultyOpen)
		if rc := sqlite3.Xsqlite3_vfs_register(tls, copied, 0); rc != 0 {
			t.Fatalf("registering the failing disk: %d", rc)
		}
	})
	resetFaults(0, 0, false)
}

// A failed fsync ends writing: what the kernel could not write it may have
// dropped, so a later fsync that succeeds would prove nothing.
func TestFsyncFails(t *testing.T) {
	t.Parallel()
	useFaults(t)
	path := filepath.Join(t.TempDir(), "smi.db")
	s, err := Open(t.Context(), Options{Path: path, BallastBytes: -1, vfs: "faulty"})
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
	resetFaults(1, sqlite3.SQLITE_IOERR_FSYNC, false)
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
	useFaults(t)
	failed := 0
	for _, code := range []int32{sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC} {
		for n := 1; ; n++ {
			path := filepath.Join(t.TempDir(), "smi.db")
			resetFaults(0, 0, false)
			s, err := Open(t.Context(), Options{Path: path, BallastBytes: -1, vfs: "faulty"})
			if err != nil {
				t.Fatal(err)
			}
			resetFaults(n, code, n%2 == 0)
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
			faults.mu.Lock()
			over := faults.seen < n
			faults.mu.Unlock()
			s.Close() //nolint:errcheck // may be broken
			resetFaults(0, 0, false)
			s, err = Open(t.Context(), Options{Path: path, BallastBytes: -1})
			if err != nil {
				t.Fatalf("opening after fault %d of code %d: %v", n, code, err)
			}
			for key := range acknowledged {
				if !has(t, s, key) {
					t.Errorf("fault %d of code %d: %s was acknowledged and is lost", n, code, key)
				}
			}
			var whole string
			if err := s.read().QueryRowContext(t.Context(), `PRAGMA integrity_check`).Scan(&whole); err != nil || whole != "ok" {
				t.Errorf("fault %d of code %d: %s, %v", n, code, whole, err)
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
