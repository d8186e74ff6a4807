package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"smi/internal/social"
)

// DatabaseName is the file of the database in the data directory.
const DatabaseName = "smi.db"

// Copy is a database file that is looked at and never changed: one that was just
// copied, or that lies in a backup.
type Copy struct {
	path string
	db   *sql.DB
}

// OpenCopy opens a database file for looking only. Nobody else may be using it.
func OpenCopy(path string) (*Copy, error) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode=ro&_pragma=query_only(1)")
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	return &Copy{path, db}, nil
}

// Close closes it.
func (c *Copy) Close() error { return c.db.Close() }

// Facts are what a copy says of itself.
type Facts struct {
	Instance    string    `json:"instance"`
	Schema      int64     `json:"schema"`
	Version     string    `json:"smi,omitempty"`
	RestoreGen  string    `json:"restore_gen,omitempty"`
	KeyID       string    `json:"key_id,omitempty"` // of the key that opens its secrets
	LastAttempt social.ID `json:"last_attempt,omitempty"`
	LastArmed   time.Time `json:"last_armed,omitzero"`
	LastWrite   time.Time `json:"last_write,omitzero"`
}

// Facts reads them.
func (c *Copy) Facts(ctx context.Context) (Facts, error) {
	var f Facts
	values := map[string]string{}
	rows, err := c.db.QueryContext(ctx, `SELECT key, value FROM meta`)
	if err != nil {
		return f, fmt.Errorf("%s is no database of smi: %w", c.path, err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	for rows.Next() {
		var k, v string
		if err := rows.Scan(&k, &v); err != nil {
			return f, fmt.Errorf("reading %s: %w", c.path, err)
		}
		values[k] = v
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return f, fmt.Errorf("reading %s: %w", c.path, err)
	}
	f.Instance, f.Version, f.RestoreGen = values[metaInstance], values[metaApp], values[metaRestoreGen]
	if f.Schema, err = strconv.ParseInt(values[metaSchema], 10, 64); err != nil || f.Instance == "" {
		return f, fmt.Errorf("%s is no database of smi: it does not say its schema or instance", c.path)
	}
	f.KeyID = keyOf(values["keyring_check"])
	var armed sql.NullInt64
	err = c.db.QueryRowContext(ctx, `SELECT id, armed_at FROM attempt ORDER BY id DESC LIMIT 1`).Scan((*int64)(&f.LastAttempt), &armed)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return f, fmt.Errorf("reading %s: %w", c.path, err)
	}
	f.LastArmed = fromMillis(armed.Int64)
	f.LastWrite, err = lastWrite(ctx, c.db)
	return f, err
}

// keyOf is the id of the key in the keyring's check value.
func keyOf(check string) string {
	for i := range check {
		if check[i] == ':' {
			return check[:i]
		}
	}
	return ""
}

// Integrity returns what the database says of itself, "ok" if it is whole.
func (c *Copy) Integrity(ctx context.Context) (string, error) {
	var said string
	if err := c.db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&said); err != nil {
		return "", fmt.Errorf("checking %s: %w", c.path, err)
	}
	return said, nil
}

// Media returns the hashes of all stored files.
func (c *Copy) Media(ctx context.Context) ([]string, error) {
	rows, err := c.db.QueryContext(ctx, `SELECT hash FROM media ORDER BY hash`)
	out, err := collect(rows, err, func(row interface{ Scan(...any) error }) (string, error) {
		var h string
		err := row.Scan(&h)
		return h, err
	})
	if err != nil {
		return nil, fmt.Errorf("listing the files in %s: %w", c.path, err)
	}
	return out, nil
}

// Table is how many rows a table has, and the hash of what they say, "" for the
// large tables of figures, which are only counted.
type Table struct {
	Rows   int64  `json:"rows"`
	SHA256 string `json:"sha256,omitempty"`
}

// onlyCounted are the tables whose rows are not hashed: figures and logs, which
// are many. The hash of the whole file covers them.
var onlyCounted = []string{"audit", "raw_answer", "post_day", "account_day", "remote_post", "sync_run"}

// Tables counts and hashes every table.
func (c *Copy) Tables(ctx context.Context) (map[string]Table, error) {
	rows, err := c.db.QueryContext(ctx, `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name`)
	names, err := collect(rows, err, func(row interface{ Scan(...any) error }) (string, error) {
		var n string
		err := row.Scan(&n)
		return n, err
	})
	if err != nil {
		return nil, fmt.Errorf("listing the tables of %s: %w", c.path, err)
	}
	out := map[string]Table{}
	for _, n := range names {
		var t Table
		if slices.Contains(onlyCounted, n) {
			err = c.db.QueryRowContext(ctx, `SELECT count(*) FROM "`+n+`"`).Scan(&t.Rows)
		} else {
			t, err = c.hashTable(ctx, n)
		}
		if err != nil {
			return nil, fmt.Errorf("reading table %s of %s: %w", n, c.path, err)
		}
		out[n] = t
	}
	return out, nil
}

// hashTable hashes the rows of a table, in no order that matters: the hashes of
// the rows are added up.
func (c *Copy) hashTable(ctx context.Context, name string) (Table, error) {
	rows, err := c.db.QueryContext(ctx, `SELECT * FROM "`+name+`"`)
	if err != nil {
		return Table{}, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	columns, err := rows.Columns()
	if err != nil {
		return Table{}, err
	}
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	var t Table
	var sum [4]uint64
	h := sha256.New()
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return Table{}, err
		}
		h.Reset()
		for _, v := range values {
			hashValue(h, v)
		}
		d := h.Sum(nil)
		for i := range sum {
			sum[i] += binary.BigEndian.Uint64(d[8*i:])
		}
		t.Rows++
	}
	var b [32]byte
	for i, n := range sum {
		binary.BigEndian.PutUint64(b[8*i:], n)
	}
	t.SHA256 = hex.EncodeToString(b[:])
	return t, rows.Err()
}

// hashValue adds a value to a hash, with its kind and length, so that no two
// rows read alike.
func hashValue(h hash.Hash, v any) {
	kind, data := byte('?'), []byte(nil)
	switch v := v.(type) {
	case nil:
		kind = 'n'
	case int64:
		kind, data = 'i', binary.BigEndian.AppendUint64(nil, uint64(v)) //nolint:gosec // only the bits count
	case bool:
		kind, data = 'i', binary.BigEndian.AppendUint64(nil, 0)
		if v {
			data[7] = 1
		}
	case float64:
		kind, data = 'f', binary.BigEndian.AppendUint64(nil, math.Float64bits(v))
	case string:
		kind, data = 's', []byte(v)
	case []byte:
		kind, data = 'b', v
	case time.Time:
		kind, data = 't', []byte(v.UTC().Format(time.RFC3339Nano))
	default:
		data = fmt.Append(nil, v)
	}
	h.Write(binary.BigEndian.AppendUint64([]byte{kind}, uint64(len(data)))) //nolint:errcheck,gosec // a hash never fails
	h.Write(data)                                                           //nolint:errcheck // a hash never fails
}

// SchemaVersion is the newest schema that this program knows.
func SchemaVersion() (int64, error) {
	files, err := fs.ReadDir(migrations, "migrations/"+sqliteDialect.Name)
	if err != nil {
		return 0, err
	}
	var newest int64
	for _, f := range files {
		n, err := strconv.ParseInt(f.Name()[:4], 10, 64)
		if err == nil {
			newest = max(newest, n)
		}
	}
	return newest, nil
}

// Claimed is a data directory that this process has and no other can open.
type Claimed struct {
	dir  string
	lock *dirLock
}

// ClaimDir takes a data directory without opening its database, or says who has
// it.
func ClaimDir(dir string, now time.Time) (*Claimed, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	lock, err := lockDir(dir, now)
	if err != nil {
		return nil, err
	}
	return &Claimed{dir, lock}, nil
}

// Release gives the directory back.
func (c *Claimed) Release() error { return c.lock.Close() }

// Snapshot copies the database of the directory to a file, as Store.Snapshot
// does. Nothing of the database is changed but that what a killed process left
// in its log is taken in.
func (c *Claimed) Snapshot(ctx context.Context, file string) error {
	path := filepath.Join(c.dir, DatabaseName)
	if _, err := os.Stat(path); err != nil {
		return social.Errorf(social.CodeNotFound, "data_dir", "there is no database in %s; check data_dir in the configuration", c.dir)
	}
	return snapshot(ctx, path, file)
}

// SetAside moves the database of the directory out of the way, under a name
// beside it, and returns that name; "" if there is none. The database stays in
// its place until place is called, which puts another file there in one step.
func (c *Claimed) SetAside(suffix string) (aside string, place func(file string) error, err error) {
	path := filepath.Join(c.dir, DatabaseName)
	place = func(file string) error {
		if err := os.Rename(file, path); err != nil {
			return fmt.Errorf("putting the database in place: %w", err)
		}
		return syncDir(c.dir)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", place, nil
	}
	// What is only in the log goes into the file, so that the file is all there is.
	// A database that is damaged cannot do that: then its log is kept beside it.
	if db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode=rw&_pragma=busy_timeout(10000)"); err == nil {
		db.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`) //nolint:errcheck,noctx // see above
		db.Close()                                 //nolint:errcheck // see above
	}
	aside = path + suffix
	for n := 2; ; n++ {
		err := os.Link(path, aside)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) || n > 100 {
			return "", nil, fmt.Errorf("keeping the old database: %w", err)
		}
		aside = fmt.Sprintf("%s%s-%d", path, suffix, n)
	}
	for _, side := range []string{"-wal", "-shm"} {
		if err := os.Rename(path+side, aside+side); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", nil, fmt.Errorf("keeping the old database: %w", err)
		}
	}
	return aside, place, syncDir(c.dir)
}

// syncDir brings a directory's names to the disk.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("opening %s: %w", dir, err)
	}
	defer d.Close() //nolint:errcheck // nothing was written
	if err := d.Sync(); err != nil {
		return fmt.Errorf("saving the names in %s: %w", dir, err)
	}
	return nil
}
