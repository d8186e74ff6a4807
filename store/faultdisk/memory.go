package faultdisk

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// memory is what a disk without files of its own holds instead, by base name. It
// is for runs that open so many databases that the system calls would be most of
// the work. What SQLite asks for is done as the real file system does it, for
// the connections of one process.
type memory struct {
	files map[string]*memoryFile
	left  map[string][]byte // what the next life finds
}

// memoryFile is one file: its bytes, the locks of its handles and the memory
// that they share.
type memoryFile struct {
	data    []byte
	handles map[uintptr]*memoryHandle // also of files that are deleted
	shared  []uintptr                 // regions of shared memory
}

// memoryHandle is an open file.
type memoryHandle struct {
	file             *memoryFile
	level            int32  // SQLITE_LOCK_…
	mapped           bool   // uses the shared memory
	reading, writing uint32 // locks of the shared memory, a bit each
}

// InMemory returns a disk in good order that holds these files, by base name,
// and keeps all in memory. Files of other kinds than SQLite's are not its
// business. Kill and PowerCut take a folder that does not matter; what the
// process left behind is then to be had from Left.
func InMemory(t testing.TB, files map[string][]byte) *Disk {
	t.Helper()
	d := New(t)
	d.memory = &memory{files: map[string]*memoryFile{}}
	for name, b := range files {
		d.memory.files[name] = &memoryFile{data: slices.Clone(b), handles: map[uintptr]*memoryHandle{}}
	}
	return d
}

// Left are the files that a killed process left behind, or that a machine finds
// after a power cut, for the next disk in memory.
func (d *Disk) Left() map[string][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.memory.left)
}

// leaveMemory is leave for a disk in memory.
func (d *Disk) leaveMemory(amend func(path string) *content) {
	d.moved = "left"
	d.memory.left = map[string][]byte{}
	for _, name := range slices.Sorted(maps.Keys(d.memory.files)) {
		d.memory.left[name] = amended(slices.Clone(d.memory.files[name].data), amend(name))
	}
}

// used is the room that all files take.
func (m *memory) used() (n int64) {
	for _, f := range m.files {
		n += int64(len(f.data))
	}
	return n
}

// memoryMethods are those of the files in memory, made once.
func memoryMethods(tls *libc.TLS) uintptr {
	if system.memory == 0 {
		system.memory = libc.Xcalloc(tls, 1, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{})))
		*at[sqlite3.Tsqlite3_io_methods](system.memory) = sqlite3.Tsqlite3_io_methods{
			FiVersion: 2, // without memory-mapped files
			FxClose:   address(memClose), FxRead: address(memRead), FxWrite: address(memWrite), FxTruncate: address(memTruncate),
			FxSync: address(memSync), FxFileSize: address(memFileSize), FxLock: address(memLock), FxUnlock: address(memUnlock),
			FxCheckReservedLock: address(memReserved), FxFileControl: address(memControl), FxSectorSize: address(memSectorSize),
			FxDeviceCharacteristics: address(memCharacteristics), FxShmMap: address(memShmMap), FxShmLock: address(memShmLock),
			FxShmBarrier: address(memShmBarrier), FxShmUnmap: address(memShmUnmap),
		}
	}
	return system.memory
}

// open opens a file. d.mu is not held.
func (d *Disk) open(tls *libc.TLS, name string, f uintptr, flags int32, out uintptr) int32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.memory.files[name]
	if m == nil {
		if flags&sqlite3.SQLITE_OPEN_CREATE == 0 || d.dead {
			return sqlite3.SQLITE_CANTOPEN
		}
		m = &memoryFile{handles: map[uintptr]*memoryHandle{}}
		d.memory.files[name] = m
	}
	h := &memoryHandle{file: m}
	m.handles[f] = h
	if out != 0 {
		*at[int32](out) = flags
	}
	system.mu.Lock()
	defer system.mu.Unlock()
	system.open[f] = file{disk: d, path: name, memory: h}
	at[sqlite3.Tsqlite3_file](f).FpMethods = memoryMethods(tls)
	return 0
}

func memClose(tls *libc.TLS, f uintptr) int32 {
	o := fileOf(f)
	memShmUnmap(tls, f, 0)
	o.disk.mu.Lock()
	defer o.disk.mu.Unlock()
	delete(o.memory.file.handles, f)
	system.mu.Lock()
	defer system.mu.Unlock()
	delete(system.open, f)
	return 0
}

func memRead(_ *libc.TLS, f, buf uintptr, n int32, off int64) int32 {
	o := fileOf(f)
	o.disk.mu.Lock()
	defer o.disk.mu.Unlock()
	to := unsafe.Slice(at[byte](buf), n)
	got := 0
	if data := o.memory.file.data; off < int64(len(data)) {
		got = copy(to, data[off:])
	}
	if got < len(to) {
		clear(to[got:])
		return sqlite3.SQLITE_IOERR_SHORT_READ
	}
	return 0
}

// between returns a copy of what a file holds, with zeros after its end.
func (m *memoryFile) between(from, to int64) []byte {
	b := make([]byte, to-from)
	if from < int64(len(m.data)) {
		copy(b, m.data[from:])
	}
	return b
}

func memWrite(_ *libc.TLS, f, buf uintptr, n int32, off int64) int32 {
	o := fileOf(f)
	d, m := o.disk, o.memory.file
	d.mu.Lock()
	defer d.mu.Unlock()
	if rc := d.begin(); rc != 0 {
		return rc
	}
	b := unsafe.Slice(at[byte](buf), n)
	size, end := int64(len(m.data)), off+int64(n)
	if !d.fits(end - size) {
		return sqlite3.SQLITE_FULL
	}
	if d.moved == "" {
		d.of(o.path, size).note(off, b, max(size, end), func(from, to int64) ([]byte, int32) { return m.between(from, to), 0 })
	}
	if end > size {
		if end > int64(cap(m.data)) { // append would grow by a quarter, and copy more
			m.data = append(make([]byte, 0, 2*end), m.data...)
		}
		m.data = m.data[:end]
		clear(m.data[size:])
	}
	copy(m.data[off:], b)
	return 0
}

func memTruncate(_ *libc.TLS, f uintptr, to int64) int32 {
	o := fileOf(f)
	d, m := o.disk, o.memory.file
	d.mu.Lock()
	defer d.mu.Unlock()
	if rc := d.begin(); rc != 0 {
		return rc
	}
	size := int64(len(m.data))
	if to >= size {
		return 0
	}
	if d.moved == "" {
		d.of(o.path, size).note(to, make([]byte, size-to), to, func(from, to int64) ([]byte, int32) { return m.between(from, to), 0 })
	}
	m.data = m.data[:to]
	return 0
}

func memSync(_ *libc.TLS, f uintptr, _ int32) int32 { return fileOf(f).disk.sync(fileOf(f).path) }

func memFileSize(_ *libc.TLS, f, out uintptr) int32 {
	o := fileOf(f)
	o.disk.mu.Lock()
	defer o.disk.mu.Unlock()
	*at[int64](out) = int64(len(o.memory.file.data))
	return 0
}

func memLock(_ *libc.TLS, f uintptr, level int32) int32 {
	o := fileOf(f)
	o.disk.mu.Lock()
	defer o.disk.mu.Unlock()
	h := o.memory
	if h.level >= level {
		return 0
	}
	highest := int32(sqlite3.SQLITE_LOCK_NONE) // of the others
	for g, other := range h.file.handles {
		if g != f {
			highest = max(highest, other.level)
		}
	}
	switch {
	case highest >= sqlite3.SQLITE_LOCK_PENDING,
		level >= sqlite3.SQLITE_LOCK_RESERVED && highest >= sqlite3.SQLITE_LOCK_RESERVED:
		return sqlite3.SQLITE_BUSY
	case level == sqlite3.SQLITE_LOCK_EXCLUSIVE && highest >= sqlite3.SQLITE_LOCK_SHARED:
		h.level = sqlite3.SQLITE_LOCK_PENDING // no new reader comes in
		return sqlite3.SQLITE_BUSY
	}
	h.level = level
	return 0
}

func memUnlock(_ *libc.TLS, f uintptr, level int32) int32 {
	o := fileOf(f)
	o.disk.mu.Lock()
	defer o.disk.mu.Unlock()
	o.memory.level = min(o.memory.level, level)
	return 0
}

func memReserved(_ *libc.TLS, f, out uintptr) int32 {
	o := fileOf(f)
	o.disk.mu.Lock()
	defer o.disk.mu.Unlock()
	*at[int32](out) = 0
	for _, h := range o.memory.file.handles {
		if h.level >= sqlite3.SQLITE_LOCK_RESERVED {
			*at[int32](out) = 1
		}
	}
	return 0
}

func memControl(*libc.TLS, uintptr, int32, uintptr) int32 { return sqlite3.SQLITE_NOTFOUND }

func memSectorSize(*libc.TLS, uintptr) int32 { return 4096 }

func memCharacteristics(*libc.TLS, uintptr) int32 { return sqlite3.SQLITE_IOCAP_POWERSAFE_OVERWRITE }

func memShmMap(tls *libc.TLS, f uintptr, region, size, extend int32, out uintptr) int32 {
	o := fileOf(f)
	o.disk.mu.Lock()
	defer o.disk.mu.Unlock()
	m := o.memory.file
	o.memory.mapped = true
	*at[uintptr](out) = 0
	for int(region) >= len(m.shared) {
		if extend == 0 {
			return 0
		}
		m.shared = append(m.shared, libc.Xcalloc(tls, 1, libc.Tsize_t(size)))
	}
	*at[uintptr](out) = m.shared[region]
	return 0
}

func memShmLock(_ *libc.TLS, f uintptr, first, n, flags int32) int32 {
	o := fileOf(f)
	o.disk.mu.Lock()
	defer o.disk.mu.Unlock()
	h := o.memory
	mask := (uint32(1)<<n - 1) << first
	if flags&sqlite3.SQLITE_SHM_UNLOCK != 0 {
		h.reading, h.writing = h.reading&^mask, h.writing&^mask
		return 0
	}
	for g, other := range h.file.handles {
		if g != f && (other.writing&mask != 0 || flags&sqlite3.SQLITE_SHM_EXCLUSIVE != 0 && other.reading&mask != 0) {
			return sqlite3.SQLITE_BUSY
		}
	}
	if flags&sqlite3.SQLITE_SHM_SHARED != 0 {
		h.reading |= mask
	} else {
		h.writing |= mask
	}
	return 0
}

func memShmBarrier(_ *libc.TLS, f uintptr) {
	d := fileOf(f).disk
	d.mu.Lock()
	d.mu.Unlock() //nolint:staticcheck // what was written before is seen after
}

// memShmUnmap gives the shared memory back when nobody uses it any more; it dies
// with the process, whatever is to be deleted.
func memShmUnmap(tls *libc.TLS, f uintptr, _ int32) int32 {
	o := fileOf(f)
	o.disk.mu.Lock()
	defer o.disk.mu.Unlock()
	h := o.memory
	h.mapped, h.reading, h.writing = false, 0, 0
	for _, other := range h.file.handles {
		if other.mapped {
			return 0
		}
	}
	for _, p := range h.file.shared {
		libc.Xfree(tls, p)
	}
	h.file.shared = nil
	return 0
}

// inMemory is the disk of a file system and the name that a file has there; nil
// if the disk has files of its own, or the file no name.
func inMemory(vfs, name uintptr) (*Disk, string) {
	d := diskOf(vfs)
	if d == nil || d.memory == nil || name == 0 {
		return nil, ""
	}
	return d, filepath.Base(libc.GoString(name))
}

func (d *Disk) delete(name string) int32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return sqlite3.SQLITE_IOERR_DELETE
	}
	if d.memory.files[name] == nil {
		return sqlite3.SQLITE_IOERR_DELETE_NOENT
	}
	delete(d.memory.files, name)
	delete(d.files, name)
	return 0
}

func (d *Disk) access(name string, out uintptr) int32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	*at[int32](out) = 0
	if d.memory.files[name] != nil {
		*at[int32](out) = 1
	}
	return 0
}

// xFullPathname spares disks in memory the look at links that the real one
// takes.
func xFullPathname(tls *libc.TLS, vfs, name uintptr, n int32, out uintptr) int32 {
	d, _ := inMemory(vfs, name)
	path := libc.GoString(name)
	if d == nil || !filepath.IsAbs(path) || len(path) >= int(n) {
		return callable[func(*libc.TLS, uintptr, uintptr, int32, uintptr) int32](system.real.FxFullPathname)(tls, vfs, name, n, out)
	}
	to := unsafe.Slice(at[byte](out), n)
	to[copy(to, path)] = 0
	return 0
}
