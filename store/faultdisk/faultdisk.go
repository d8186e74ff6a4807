// Package faultdisk gives tests disks that fail: file systems for SQLite that
// pass everything on to the real one, but let a chosen call fail, run full, stand
// in for a killed process, or lose power. There may be many at a time, each known
// to SQLite by a name of its own, so that tests run beside each other.
//
// A disk holds the files that SQLite opens through it. Shared memory and locks
// are the real ones. An fsync is noted and not passed on: what a machine would
// find after a power cut is worked out from the notes, and a test has no use for
// the time a real one takes.
package faultdisk

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	sqlite3 "modernc.org/sqlite/lib"
)

// Fault is the code of SQLite that a call fails with.
type Fault int32

// The faults that a disk has.
const (
	Full          Fault = sqlite3.SQLITE_FULL
	WriteError    Fault = sqlite3.SQLITE_IOERR_WRITE
	SyncError     Fault = sqlite3.SQLITE_IOERR_FSYNC
	TruncateError Fault = sqlite3.SQLITE_IOERR_TRUNCATE
)

func (f Fault) String() string {
	switch f {
	case Full:
		return "FULL"
	case WriteError:
		return "IOERR_WRITE"
	case SyncError:
		return "IOERR_FSYNC"
	case TruncateError:
		return "IOERR_TRUNCATE"
	}
	return fmt.Sprintf("code %d", int32(f))
}

// sector is what a disk writes whole or not at all.
const sector = 512

// Disk is one disk. Its methods may be called at any time, from any goroutine.
type Disk struct {
	slot *slot

	mu     sync.Mutex // held during each write, fsync and truncate
	calls  int        // of those since the last Fail
	at     int        // which of them fails; 0: none
	fault  Fault
	stay   bool // all after it fail as well
	room   int64
	inDir  string // what room is counted in
	lying  bool
	dead   bool   // the power is off
	moved  string // the folder that a killed process still sees elsewhere
	movedT string // where it sees it
	files  map[string]*content
	memory *memory // nil for a disk with real files
}

// content is what is not yet durable of one file: for each sector that was
// changed since the last fsync all that it has held, and all sizes the file has
// had, the durable one first.
type content struct {
	sectors map[int64][][]byte
	sizes   []int64
}

// New returns a disk in good order. Its name is given back when the test ends:
// close what is open on it before.
func New(t testing.TB) *Disk {
	t.Helper()
	d := &Disk{room: -1, files: map[string]*content{}}
	if err := take(d); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.giveBack)
	return d
}

// Name is the name of the file system for SQLite: store.Options.VFS.
func (d *Disk) Name() string { return d.slot.name }

// Fail lets the n-th write, fsync or truncate from now on fail, and all after it
// as well if stay. Nothing of a failed call reaches the file. Fail(0, 0, false)
// mends the disk.
func (d *Disk) Fail(n int, with Fault, stay bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls, d.at, d.fault, d.stay = 0, n, with, stay
}

// Calls is how many writes, fsyncs and truncates there were since the last Fail,
// or since New.
func (d *Disk) Calls() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

// Limit gives the disk so much room for all that is in a folder and below it,
// whoever wrote it: a write that needs more fails with Full. A negative number
// takes the limit away.
func (d *Disk) Limit(dir string, bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inDir, d.room = dir, bytes
}

// Lie makes the disk say that an fsync is done when it is not: what is written
// from now on is never durable.
func (d *Disk) Lie() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lying = true
}

// Kill is kill -9 for a process that lives inside the test: dir is from now on
// what the process left behind, to be opened by the next one on another disk.
// Whatever the killed one still does goes to a folder beside it: SQLite's files
// that it has open or opens later, and what it holds locked. It should stop to
// write files of other kinds by itself.
func (d *Disk) Kill(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.leave(dir, func(string) *content { return nil })
}

// Cut is what a power cut did to the sectors that were not durable.
type Cut struct {
	Kept, Older, Dropped int // with their newest content, with one before it, as they were
}

// PowerCut switches the power off: every write after it fails, and dir is from
// now on what a machine finds that starts again, to be opened on another disk.
// Each sector written since its file's last fsync, and each file's size, is as
// it was then, as it was last, or as it was in between, by the choice of r: all
// dropped, all kept, or mixed. Files of other kinds are kept as they are.
func (d *Disk) PowerCut(dir string, r *rand.Rand) (Cut, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
	keep := []float64{0, 0.5, 0.5, 0.9, 1}[r.IntN(5)] // how likely a sector is the newest
	var cut Cut
	err := d.leave(dir, func(path string) *content {
		c := d.files[path]
		if c == nil {
			return nil
		}
		chosen := &content{sectors: map[int64][][]byte{}, sizes: []int64{c.sizes[choose(r, keep, len(c.sizes))]}}
		for _, n := range sorted(c.sectors) {
			versions := c.sectors[n]
			i := choose(r, keep, len(versions))
			switch i {
			case len(versions) - 1:
				cut.Kept++
			case 0:
				cut.Dropped++
			default:
				cut.Older++
			}
			chosen.sectors[n] = versions[i : i+1]
		}
		return chosen
	})
	return cut, err
}

// choose picks one of n versions: the last one with a chance of keep, else one
// of all, and always the first when nothing is kept.
func choose(r *rand.Rand, keep float64, n int) int {
	switch {
	case keep == 0:
		return 0
	case r.Float64() < keep:
		return n - 1
	}
	return r.IntN(n)
}

// leave moves dir away, for those who have it open, and puts copies of its
// files in its place, with the changes that amend tells.
func (d *Disk) leave(dir string, amend func(path string) *content) error {
	if d.moved != "" {
		return fmt.Errorf("the disk has left %s before; give each life of a node one of its own", d.moved)
	}
	if d.memory != nil {
		d.leaveMemory(amend)
		return nil
	}
	dir = filepath.Clean(dir)
	beside, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".left-")
	if err != nil {
		return err
	}
	to := filepath.Join(beside, filepath.Base(dir))
	if err := os.Rename(dir, to); err != nil {
		return err
	}
	d.moved, d.movedT = dir, to
	return filepath.WalkDir(to, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		in := filepath.Join(dir, strings.TrimPrefix(path, to))
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone since it was listed
		}
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			return os.MkdirAll(in, info.Mode().Perm())
		case !info.Mode().IsRegular() || strings.HasSuffix(path, "-shm"):
			return nil // sockets, and memory that dies with the process
		}
		return copyFile(path, in, info.Mode().Perm(), amend(in))
	})
}

func copyFile(from, to string, mode fs.FileMode, c *content) (err error) {
	b, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // gone since it was listed
	}
	if err != nil {
		return err
	}
	return os.WriteFile(to, amended(b, c), mode)
}

// amended is what a file holds with the first version of each changed sector
// and of its size.
func amended(b []byte, c *content) []byte {
	if c == nil {
		return b
	}
	size := c.sizes[0]
	whole := make([]byte, max(size, int64(len(b)), c.end()))
	copy(whole, b)
	for n, versions := range c.sectors {
		copy(whole[n*sector:], versions[0])
	}
	return whole[:size]
}

// end is where the last of the sectors ends.
func (c *content) end() int64 {
	end := int64(0)
	for n := range c.sectors {
		end = max(end, (n+1)*sector)
	}
	return end
}

// begin counts a call. It returns the code it fails with, 0 if it does not.
func (d *Disk) begin() int32 {
	if d.dead {
		return sqlite3.SQLITE_IOERR
	}
	d.calls++
	if d.at > 0 && (d.calls == d.at || d.stay && d.calls > d.at) {
		return int32(d.fault)
	}
	return 0
}

// fits says whether there is room for so many bytes more.
func (d *Disk) fits(grow int64) bool {
	if d.room < 0 || grow <= 0 {
		return true
	}
	if d.memory != nil {
		return d.memory.used()+grow <= d.room
	}
	used := int64(0)
	err := filepath.WalkDir(d.inDir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // gone since it was listed
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && !strings.HasSuffix(e.Name(), "-shm") {
			used += info.Size()
		}
		return nil
	})
	return err == nil && used+grow <= d.room
}

// of returns the notes on a file. size is what it has before the first change.
func (d *Disk) of(path string, size int64) *content {
	c := d.files[path]
	if c == nil {
		c = &content{sectors: map[int64][][]byte{}, sizes: []int64{size}}
		d.files[path] = c
	}
	return c
}

// note notes that the bytes from off on become is, and the size with it. read
// returns what is there now between two ends of sectors.
func (c *content) note(off int64, is []byte, size int64, read func(from, to int64) ([]byte, int32)) int32 {
	first, end := off/sector, (off+int64(len(is))+sector-1)/sector
	var was []byte
	for n := first; n < end; n++ {
		versions := c.sectors[n]
		if versions == nil {
			if was == nil {
				var rc int32
				if was, rc = read(first*sector, end*sector); rc != 0 {
					return rc
				}
			}
			versions = [][]byte{slices.Clone(was[(n-first)*sector : (n-first+1)*sector])}
		}
		next := slices.Clone(versions[len(versions)-1])
		from := max(off, n*sector)
		copy(next[from-n*sector:], is[from-off:])
		c.sectors[n] = append(versions, next)
	}
	if last := c.sizes[len(c.sizes)-1]; size != last {
		c.sizes = append(c.sizes, size)
	}
	return 0
}

// seen is where a path is for who uses this disk.
func (d *Disk) seen(path string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.moved != "" && strings.HasPrefix(path, d.moved+string(filepath.Separator)) {
		return d.movedT + strings.TrimPrefix(path, d.moved)
	}
	return path
}
