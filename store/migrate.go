package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"smi/internal/social"
)

//go:embed migrations
var migrations embed.FS

// The keys of the table meta.
const (
	metaInstance   = "instance_id"    // made once; bound into sealed secrets
	metaSchema     = "schema_version" // number of the newest migration
	metaApp        = "app_version"    // of the smi that last opened the database
	metaPaused     = "paused"         // "1": nothing is published anywhere
	metaRestoreGen = "restore_gen"    // how often the database was put back from a backup
)

// migrate brings the database to the schema of this program. Migrations only
// go forward; a database from a newer smi is refused and left as it is.
func (s *Store) migrate(ctx context.Context) error {
	dir, err := fs.Sub(migrations, "migrations/"+s.dialect.Name)
	if err != nil {
		return err
	}
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if s.pg != nil { // nodes may start together
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return fmt.Errorf("preparing the migrations: %w", err)
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(s.dialect.Goose, s.writer, dir, options...)
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("reading the schema version: %w", err)
	}
	if have > want {
		by, _ := metaGet(ctx, s.writer, metaApp) //nolint:errcheck // only for the message
		if by == "" {
			by = "a newer version"
		}
		return social.Errorf(social.CodeInvalid, "", "the database %s was last used by a newer smi (%s, schema %d) than this one (schema %d); start that version, or restore a backup made before the update",
			s.path, by, have, want)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("updating the database: %w", err)
	}
	return s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for k, v := range map[string]string{metaSchema: strconv.FormatInt(want, 10), metaApp: s.version} {
			if err := metaSet(ctx, tx, k, v); err != nil {
				return err
			}
		}
		var b [16]byte
		rand.Read(b[:]) //nolint:errcheck // crypto/rand.Read never fails since Go 1.24
		_, err := tx.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING`, metaInstance, hex.EncodeToString(b[:]))
		return err
	})
}

// queryer is what *sql.DB and *sql.Tx have in common for reading.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// metaGet returns the value of a key of meta, "" if there is none.
func metaGet(ctx context.Context, q queryer, key string) (string, error) {
	var v string
	err := q.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = $1`, key).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", key, err)
	}
	return v, nil
}

// metaSet stores a value in meta.
func metaSet(ctx context.Context, tx *sql.Tx, key, value string) error {
	if _, err := tx.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value`, key, value); err != nil {
		return fmt.Errorf("saving %s: %w", key, err)
	}
	return nil
}

// InstanceID names this installation. It is made once and part of what sealed
// secrets are bound to.
func (s *Store) InstanceID(ctx context.Context) (string, error) {
	return metaGet(ctx, s.read(), metaInstance)
}
