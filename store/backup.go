package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"smi/internal/social"
)

// ErrServerBackup is the answer to who wants a copy of a database on a server.
var ErrServerBackup = social.Errorf(social.CodeUnsupported, "database.url",
	"this smi keeps its data on a PostgreSQL server, and smi backup does not copy that; use pg_dump -Fc -f smi.dump \"$(cat DATABASE_URL_FILE)\" and copy media.dir after it; docs/postgresql.md says how to prove such a backup and how to put it back")

// Snapshot writes a copy of the database, as it is at one moment, to a file that
// must not be there. Writers are not held up. The copy is on the disk when it
// returns nil.
//
// A database on a server is not copied: its own tools do that.
func (s *Store) Snapshot(ctx context.Context, file string) error {
	if s.pg != nil {
		return ErrServerBackup
	}
	if err := snapshot(ctx, s.path, file); err != nil {
		return s.w.explainCopy(err, file)
	}
	return nil
}

// explainCopy puts the sentence for a person before what SQLite said of a copy.
func (w *groupWriter) explainCopy(err error, file string) error {
	if w.s.dialect.IsFull(err) {
		return &social.Error{Code: social.CodeExhausted, Err: err, Text: fmt.Sprintf("the disk is full while writing %s; free space there, or name another folder", file)}
	}
	return err
}

// snapshot copies a database by a connection of its own: the writing one belongs
// to everybody, and the reading ones may not write anywhere.
func snapshot(ctx context.Context, path, file string) (err error) {
	if _, err := os.Lstat(file); err == nil {
		return social.Errorf(social.CodeConflict, "to", "%s is there already; name another file", file)
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode=rw&_pragma=busy_timeout(10000)")
	if err != nil {
		return fmt.Errorf("opening the database for a copy: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, `VACUUM INTO $1`, file); err != nil {
		os.Remove(file) //nolint:errcheck // it was only half there
		return fmt.Errorf("copying the database: %w", err)
	}
	return syncFile(file)
}

// syncFile brings a file's bytes to the disk.
func syncFile(file string) (err error) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", file, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Chmod(0o600); err != nil {
		return fmt.Errorf("protecting %s: %w", file, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("saving %s: %w", file, err)
	}
	return nil
}

// Revive is called by a restore, on the database that is about to take its
// place: it counts the restore, and begins the quarantine of what this database
// cannot know.
func (s *Store) Revive(ctx context.Context, reason, by string) (social.Quarantine, error) {
	last, err := s.LastWrite(ctx)
	if err != nil {
		return social.Quarantine{}, err
	}
	if now := s.now(); last.After(now) { // its clock was ahead
		last = now
	}
	if err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES ('`+metaRestoreGen+`', '1') ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(meta.value AS BIGINT) + 1 AS TEXT)`)
		return err
	}); err != nil {
		return social.Quarantine{}, fmt.Errorf("counting the restore: %w", err)
	}
	return s.BeginQuarantine(ctx, social.QuarantineOrder{Kind: social.Restored, Reason: reason, From: last.Add(-gapMargin), By: by})
}

// gapMargin is how long before its last write a database is trusted no more.
const gapMargin = time.Hour

// RestoreGen is how often this database was put back from a backup.
func (s *Store) RestoreGen(ctx context.Context) (string, error) {
	return metaGet(ctx, s.read(), metaRestoreGen)
}
