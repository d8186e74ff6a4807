package store

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"smi/internal/social"
)

// errLooking is why a store that was opened to be looked at changes nothing.
var errLooking = errors.New("the database was opened for reading only")

// OpenToLook opens a database in which nothing is changed, not even its schema.
// On SQLite no smi may be running; none can start meanwhile.
func OpenToLook(ctx context.Context, o Options) (_ *Store, err error) {
	s := &Store{version: o.Version, now: o.Now, log: slog.New(slog.DiscardHandler), looking: true, told: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			s.Close() //nolint:errcheck // the first error is told
		}
	}()
	if o.URL != "" {
		if err := s.openPostgres(ctx, o); err != nil {
			return nil, err
		}
	} else if err := s.lookAt(o.Path); err != nil {
		return nil, err
	}
	if s.now == nil {
		s.now = time.Now
	}
	have, err := metaGet(ctx, s.read(), metaSchema)
	if err != nil {
		return nil, social.Errorf(social.CodeUnavailable, "", "%s cannot be read: %v", s.path, rootCause(err))
	}
	want, err := SchemaVersion()
	if err != nil {
		return nil, err
	}
	if have != strconv.FormatInt(want, 10) {
		return nil, social.Errorf(social.CodeConflict, "", "%s has schema %s and this smi knows schema %d; smi serve brings an older one up to date, a newer one needs its own smi", s.path, have, want)
	}
	return s, nil
}

// lookAt opens a file for reading, if nobody else has it.
func (s *Store) lookAt(path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return social.Errorf(social.CodeNotFound, "data_dir", "there is no database in %s yet; smi serve makes it", filepath.Dir(path))
	}
	s.dir, s.path, s.dialect = filepath.Dir(path), path, &sqliteDialect
	var err error
	if s.lock, err = lockDir(s.dir, time.Now()); err != nil {
		return err
	}
	if s.reader, err = sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?mode=ro&_pragma=busy_timeout(10000)&_pragma=query_only(1)"); err != nil {
		return err
	}
	s.reader.SetMaxOpenConns(4)
	return nil
}
