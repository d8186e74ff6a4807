package faultdisk

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// slot is one file system registered with SQLite. They are used again and never
// freed: somebody may still have a file open.
type slot struct {
	name string
	vfs  uintptr
	disk *Disk // who uses it; nil: nobody
}

// file is what is known of an open file.
type file struct {
	disk *Disk
	path string
	real *sqlite3.Tsqlite3_io_methods

	memory *memoryHandle // instead of real
}

// system is what all disks share.
var system struct {
	once sync.Once
	real *sqlite3.Tsqlite3_vfs

	mu      sync.RWMutex
	slots   []*slot
	byVFS   map[uintptr]*slot
	methods map[uintptr]uintptr // real methods → their copy with ours in it
	open    map[uintptr]file
	memory  uintptr // methods of the files in memory, 0: not made yet
}

// at reads an address of C memory as a Go pointer.
func at[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) }

// callable makes a Go function of an address, address the reverse; both are how
// the translated SQLite keeps its functions.
func callable[F any](address uintptr) F {
	return *(*F)(unsafe.Pointer(&struct{ p uintptr }{address}))
}

func address(f any) uintptr { return (*[2]uintptr)(unsafe.Pointer(&f))[1] }

// take gives a disk a slot.
func take(d *Disk) error {
	tls := libc.NewTLS()
	defer tls.Close()
	system.once.Do(func() {
		sqlite3.Xsqlite3_initialize(tls)
		system.real = at[sqlite3.Tsqlite3_vfs](sqlite3.Xsqlite3_vfs_find(tls, 0))
		system.byVFS, system.methods, system.open = map[uintptr]*slot{}, map[uintptr]uintptr{}, map[uintptr]file{}
	})
	system.mu.Lock()
	defer system.mu.Unlock()
	for _, s := range system.slots {
		if s.disk == nil {
			s.disk, d.slot = d, s
			return nil
		}
	}
	s := &slot{name: fmt.Sprintf("faultdisk-%d", len(system.slots)), disk: d}
	s.vfs = libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_vfs{})))
	v := at[sqlite3.Tsqlite3_vfs](s.vfs)
	*v = *system.real
	name, err := libc.CString(s.name)
	if err != nil {
		return err
	}
	v.FzName, v.FpNext = name, 0
	v.FxOpen, v.FxDelete, v.FxAccess, v.FxFullPathname = address(xOpen), address(xDelete), address(xAccess), address(xFullPathname)
	if rc := sqlite3.Xsqlite3_vfs_register(tls, s.vfs, 0); rc != 0 {
		return fmt.Errorf("registering the disk %s: %d", s.name, rc)
	}
	system.slots = append(system.slots, s)
	system.byVFS[s.vfs] = s
	d.slot = s
	return nil
}

func (d *Disk) giveBack() {
	system.mu.Lock()
	defer system.mu.Unlock()
	d.slot.disk = nil
}

// diskOf returns who uses a file system; nil if nobody does any more.
func diskOf(vfs uintptr) *Disk {
	system.mu.RLock()
	defer system.mu.RUnlock()
	return system.byVFS[vfs].disk
}

func fileOf(f uintptr) file {
	system.mu.RLock()
	defer system.mu.RUnlock()
	return system.open[f]
}

// filename makes the C string of a file name as SQLite wants it: with zeros
// around it, for the parameters that it might have.
func filename(tls *libc.TLS, path string) uintptr {
	p := libc.Xcalloc(tls, 1, libc.Tsize_t(len(path)+16))
	for i := range len(path) {
		*at[byte](p + 4 + uintptr(i)) = path[i]
	}
	return p + 4
}

// where is the name of a file for the file system below.
func where(tls *libc.TLS, d *Disk, name uintptr) (_ uintptr, path string, moved bool) {
	if name == 0 || d == nil {
		return name, "", false
	}
	path = libc.GoString(name)
	if to := d.seen(path); to != path {
		return filename(tls, to), to, true
	}
	return name, path, false
}

func xOpen(tls *libc.TLS, vfs, name, f uintptr, flags int32, out uintptr) int32 {
	d := diskOf(vfs)
	if d == nil {
		return sqlite3.SQLITE_CANTOPEN // its test has ended
	}
	if m, name := inMemory(vfs, name); m != nil {
		return m.open(tls, name, f, flags, out)
	}
	name, path, _ := where(tls, d, name) // SQLite keeps the name as long as the file is open: it is not freed
	rc := callable[func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32](system.real.FxOpen)(tls, vfs, name, f, flags, out)
	handle := at[sqlite3.Tsqlite3_file](f)
	if rc != 0 || handle.FpMethods == 0 || name == 0 { // no name: a temporary file
		return rc
	}
	system.mu.Lock()
	defer system.mu.Unlock()
	ours, known := system.methods[handle.FpMethods]
	if !known {
		ours = libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{})))
		m := at[sqlite3.Tsqlite3_io_methods](ours)
		*m = *at[sqlite3.Tsqlite3_io_methods](handle.FpMethods)
		m.FxClose, m.FxWrite, m.FxSync, m.FxTruncate = address(xClose), address(xWrite), address(xSync), address(xTruncate)
		system.methods[handle.FpMethods] = ours
	}
	system.open[f] = file{disk: d, path: path, real: at[sqlite3.Tsqlite3_io_methods](handle.FpMethods)}
	handle.FpMethods = ours
	return rc
}

func xClose(tls *libc.TLS, f uintptr) int32 {
	o := fileOf(f)
	system.mu.Lock()
	delete(system.open, f)
	system.mu.Unlock()
	return callable[func(*libc.TLS, uintptr) int32](o.real.FxClose)(tls, f)
}

func xDelete(tls *libc.TLS, vfs, name uintptr, syncDir int32) int32 {
	if m, name := inMemory(vfs, name); m != nil {
		return m.delete(name)
	}
	d := diskOf(vfs)
	name, path, moved := where(tls, d, name)
	if moved {
		defer libc.Xfree(tls, name-4)
	}
	if d != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.dead {
			return sqlite3.SQLITE_IOERR_DELETE
		}
		delete(d.files, path)
	}
	return callable[func(*libc.TLS, uintptr, uintptr, int32) int32](system.real.FxDelete)(tls, vfs, name, syncDir)
}

func xAccess(tls *libc.TLS, vfs, name uintptr, flags int32, out uintptr) int32 {
	if m, name := inMemory(vfs, name); m != nil {
		return m.access(name, out)
	}
	name, _, moved := where(tls, diskOf(vfs), name)
	if moved {
		defer libc.Xfree(tls, name-4)
	}
	return callable[func(*libc.TLS, uintptr, uintptr, int32, uintptr) int32](system.real.FxAccess)(tls, vfs, name, flags, out)
}

func xWrite(tls *libc.TLS, f, buf uintptr, n int32, off int64) int32 {
	o := fileOf(f)
	d := o.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if rc := d.begin(); rc != 0 {
		return rc
	}
	size, rc := o.size(tls, f)
	if rc != 0 {
		return rc
	}
	end := off + int64(n)
	if !d.fits(end - size) {
		return sqlite3.SQLITE_FULL
	}
	if d.moved == "" {
		read := func(from, to int64) ([]byte, int32) { return o.read(tls, f, from, to) }
		if rc := d.of(o.path, size).note(off, unsafe.Slice(at[byte](buf), n), max(size, end), read); rc != 0 {
			return rc
		}
	}
	return callable[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](o.real.FxWrite)(tls, f, buf, n, off)
}

func xTruncate(tls *libc.TLS, f uintptr, to int64) int32 {
	o := fileOf(f)
	d := o.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if rc := d.begin(); rc != 0 {
		return rc
	}
	size, rc := o.size(tls, f)
	if rc != 0 {
		return rc
	}
	if d.moved == "" && to < size {
		read := func(from, to int64) ([]byte, int32) { return o.read(tls, f, from, to) }
		if rc := d.of(o.path, size).note(to, make([]byte, size-to), to, read); rc != 0 {
			return rc
		}
	}
	return callable[func(*libc.TLS, uintptr, int64) int32](o.real.FxTruncate)(tls, f, to)
}

func xSync(_ *libc.TLS, f uintptr, _ int32) int32 { return fileOf(f).disk.sync(fileOf(f).path) }

// sync makes a file durable.
func (d *Disk) sync(path string) int32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if rc := d.begin(); rc != 0 {
		return rc
	}
	if !d.lying {
		delete(d.files, path)
	}
	return 0
}

func (o file) size(tls *libc.TLS, f uintptr) (size int64, rc int32) {
	out := libc.Xmalloc(tls, 8)
	defer libc.Xfree(tls, out)
	rc = callable[func(*libc.TLS, uintptr, uintptr) int32](o.real.FxFileSize)(tls, f, out)
	return *at[int64](out), rc
}

// read returns what a file holds, with zeros after its end.
func (o file) read(tls *libc.TLS, f uintptr, from, to int64) ([]byte, int32) {
	buf := libc.Xmalloc(tls, libc.Tsize_t(to-from))
	defer libc.Xfree(tls, buf)
	rc := callable[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](o.real.FxRead)(tls, f, buf, int32(to-from), from)
	if rc != 0 && rc != sqlite3.SQLITE_IOERR_SHORT_READ {
		return nil, rc
	}
	return slices.Clone(unsafe.Slice(at[byte](buf), to-from)), 0
}

// sorted returns the keys of m in order.
func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
