package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"smi/internal/media"
	"smi/internal/social"
)

var _ media.Index = (*Store)(nil)

// SaveMedia implements media.Index.
func (s *Store) SaveMedia(ctx context.Context, workspace social.ID, m social.Media) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := s.insertMedia(ctx, tx, m); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO media_owner (workspace_id, hash, name, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
			int64(workspace), m.Hash, m.Name, millis(s.now()))
		return err
	})
	if err != nil {
		return fmt.Errorf("saving a file's row: %w", err)
	}
	return nil
}

func (s *Store) insertMedia(ctx context.Context, tx *sql.Tx, m social.Media) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO media (hash, kind, mime, bytes, width, height, duration_ms, codec, sound, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`,
		m.Hash, string(m.Kind), m.MIME, m.Bytes, m.Width, m.Height, m.Duration.Milliseconds(), m.Codec, m.Sound, millis(s.now()))
	return err
}

// SaveDerived implements media.Index.
func (s *Store) SaveDerived(ctx context.Context, from, rule string, m social.Media) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := s.insertMedia(ctx, tx, m); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO media_derived (derived_from, rule, hash, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
			from, rule, m.Hash, millis(s.now()))
		return err
	})
	if err != nil {
		return fmt.Errorf("saving a copy's row: %w", err)
	}
	return nil
}

const mediaColumns = `m.hash, m.kind, m.mime, m.bytes, m.width, m.height, m.duration_ms, m.codec, m.sound`

func scanMedia(row interface{ Scan(...any) error }, more ...any) (social.Media, error) {
	var m social.Media
	var ms int64
	err := row.Scan(append([]any{&m.Hash, &m.Kind, &m.MIME, &m.Bytes, &m.Width, &m.Height, &ms, &m.Codec, &m.Sound}, more...)...)
	m.Duration = time.Duration(ms) * time.Millisecond
	return m, err
}

// Derived implements media.Index.
func (s *Store) Derived(ctx context.Context, from, rule string) (social.Media, bool, error) {
	m, err := scanMedia(s.read().QueryRowContext(ctx, `SELECT `+mediaColumns+` FROM media_derived d JOIN media m ON m.hash = d.hash
		WHERE d.derived_from = $1 AND d.rule = $2`, from, rule))
	return foundMedia(m, err)
}

// MediaOf implements media.Index.
func (s *Store) MediaOf(ctx context.Context, workspace social.ID, hash string) (social.Media, bool, error) {
	var name string
	m, err := scanMedia(s.read().QueryRowContext(ctx, `SELECT `+mediaColumns+`, o.name FROM media m
		JOIN media_owner o ON o.workspace_id = $1 AND (o.hash = m.hash OR o.hash IN (SELECT derived_from FROM media_derived WHERE hash = m.hash))
		WHERE m.hash = $2 LIMIT 1`, int64(workspace), hash), &name)
	m.Name = name
	return foundMedia(m, err)
}

func foundMedia(m social.Media, err error) (social.Media, bool, error) {
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return social.Media{}, false, nil
	case err != nil:
		return social.Media{}, false, fmt.Errorf("reading a file's row: %w", err)
	}
	return m, true, nil
}

// MediaList implements media.Index.
func (s *Store) MediaList(ctx context.Context, workspace social.ID, limit int) ([]social.Media, error) {
	rows, err := s.read().QueryContext(ctx, `SELECT `+mediaColumns+`, o.name FROM media_owner o JOIN media m ON m.hash = o.hash
		WHERE o.workspace_id = $1 ORDER BY o.created_at DESC, o.hash LIMIT $2`, int64(workspace), limit)
	if err != nil {
		return nil, fmt.Errorf("listing files: %w", err)
	}
	defer rows.Close() //nolint:errcheck // Err is looked at
	var out []social.Media
	for rows.Next() {
		var name string
		m, err := scanMedia(rows, &name)
		if err != nil {
			return nil, fmt.Errorf("listing files: %w", err)
		}
		m.Name = name
		out = append(out, m)
	}
	return out, rows.Err()
}

// PlannedFile is a file of a delivery that is not over.
type PlannedFile struct {
	Media   social.Media
	Post    social.ID
	Planned time.Time
}

// PlannedFiles returns the files of everything that may still be published, the
// next first.
func (s *Store) PlannedFiles(ctx context.Context) ([]PlannedFile, error) {
	const with = ` AND d.parts LIKE '%"hash":"%'`
	rows, err := s.read().QueryContext(ctx, `SELECT d.post_id, d.planned_utc, d.parts FROM delivery d WHERE d.state IN ('scheduled','claimed','ready','waiting')`+with+`
		UNION ALL SELECT d.post_id, d.planned_utc, d.parts FROM delivery d WHERE d.state IN ('needs_human','held_late','blocked')`+with+` ORDER BY 2, 1`)
	named := map[string]bool{} // by options: only their hashes are known yet
	all, err := collect(rows, err, func(row interface{ Scan(...any) error }) ([]PlannedFile, error) {
		var post social.ID
		var planned int64
		var text string
		if err := row.Scan((*int64)(&post), &planned, &text); err != nil {
			return nil, err
		}
		var parts []social.Part
		if err := json.Unmarshal([]byte(text), &parts); err != nil {
			return nil, fmt.Errorf("the parts of post %s: %w", post, err)
		}
		var out []PlannedFile
		for _, p := range parts {
			files := p.Media
			if p.Link != nil && p.Link.Thumb != nil {
				files = append(slices.Clip(files), *p.Link.Thumb)
			}
			for _, key := range slices.Sorted(maps.Keys(p.Options)) {
				if v := p.Options[key]; hashForm.MatchString(v) {
					named[v] = true
					files = append(slices.Clip(files), social.Media{Hash: v})
				}
			}
			for _, m := range files {
				out = append(out, PlannedFile{m, post, fromMillis(planned)})
			}
		}
		return out, nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing the files of planned posts: %w", err)
	}
	out := slices.Concat(all...)
	for hash := range named {
		m, err := scanMedia(s.read().QueryRowContext(ctx, `SELECT `+mediaColumns+` FROM media m WHERE m.hash = $1`, hash))
		m, found, err := foundMedia(m, err)
		if err != nil {
			return nil, err
		}
		if !found { // an option that only looks like one
			out = slices.DeleteFunc(out, func(f PlannedFile) bool { return f.Media.Hash == hash && f.Media.Bytes == 0 })
			continue
		}
		for i := range out {
			if out[i].Media.Hash == hash {
				out[i].Media = m
			}
		}
	}
	return out, nil
}

// hashForm is the form of the hash of a stored file.
var hashForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
