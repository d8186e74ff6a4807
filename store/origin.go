package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"smi/internal/social"
	"smi/scheduler"
)

// metaOrigin is where the database was when a node looked last, as JSON.
const metaOrigin = "origin"

// Origin tells a database on a server from a copy of it. What a server does not
// tell is empty, and says nothing.
type Origin struct {
	System   string `json:"system,omitempty"`   // made by initdb; a standby has that of its primary
	Timeline int64  `json:"timeline,omitempty"` // grows with each standby that is promoted and each recovery to a point in time
	Database int64  `json:"database,omitempty"` // the OID: one that was dropped and restored has another
	// Synchronous says that a commit waited for a standby.
	Synchronous bool `json:"synchronous,omitempty"`
}

// Whereabouts compares where the database is with where it was.
type Whereabouts struct {
	Kept  Origin // zero: nobody has looked yet
	Found Origin
	// Lost says that the database does not have what this process has armed in it.
	Lost  bool
	Wrote time.Time // the newest row
	Doubt int64     // how many connections led elsewhere since the last Trust
}

// watched is what a process knows of its server.
type watched struct {
	known  atomic.Pointer[Origin] // nil: nothing is watched
	armed  atomic.Int64           // the newest attempt that was armed here
	doubt  atomic.Int64           // grows with each connection that is somewhere else; 0: none
	doubts chan struct{}
}

const originSQL = `SELECT
	CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE') THEN (SELECT CAST(system_identifier AS TEXT) FROM pg_control_system()) ELSE '' END,
	CASE WHEN pg_is_in_recovery() OR NOT has_function_privilege('pg_walfile_name(pg_lsn)', 'EXECUTE') THEN '0' ELSE substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END,
	(SELECT CAST(oid AS BIGINT) FROM pg_database WHERE datname = current_database()),
	current_setting('synchronous_standby_names') <> '',
	(SELECT COALESCE(MAX(id), 0) FROM attempt)`

func scanOrigin(row interface{ Scan(...any) error }) (o Origin, attempt int64, err error) {
	var timeline string
	if err := row.Scan(&o.System, &timeline, &o.Database, &o.Synchronous, &attempt); err != nil {
		return o, 0, fmt.Errorf("asking which server this is: %w", err)
	}
	if _, err := fmt.Sscanf(timeline, "%X", &o.Timeline); err != nil {
		return o, 0, fmt.Errorf("reading the timeline %q: %w", timeline, err)
	}
	return o, attempt, nil
}

// Same says whether two origins are one place.
func (o Origin) Same(other Origin) bool {
	o.Synchronous, other.Synchronous = false, false
	return o == other
}

// connected looks at each new connection before anybody uses it: a server that
// failed over, or was set back, breaks the connections that there were. Nothing
// is armed by this process until somebody has looked at what is different.
func (p *postgres) connected(ctx context.Context, conn *pgx.Conn) error {
	known := p.watched.known.Load()
	if known == nil {
		return nil
	}
	armed := p.watched.armed.Load()
	found, attempt, err := scanOrigin(conn.QueryRow(ctx, originSQL))
	if err != nil {
		return err
	}
	if !found.Same(*known) || attempt < armed {
		p.watched.doubt.Add(1)
		select {
		case p.watched.doubts <- struct{}{}:
		default:
		}
	}
	return nil
}

// noteArmed keeps the newest attempt of this process.
func (w *watched) noteArmed(id social.ID) {
	for {
		have := w.armed.Load()
		if have >= int64(id) || w.armed.CompareAndSwap(have, int64(id)) {
			return
		}
	}
}

// inDoubt refuses to arm while nobody has looked what server this is.
func (s *Store) inDoubt(now time.Time) error {
	if s.pg == nil || s.pg.watched.doubt.Load() == 0 {
		return nil
	}
	return &scheduler.Refusal{Gate: scheduler.GateClock, Until: now.Add(2 * time.Second), Text: "smi makes sure that the database has lost nothing"}
}

// Doubts rings when a connection led to another place than the ones before, or
// to a database that lacks what was armed in it. On SQLite it never does.
func (s *Store) Doubts() <-chan struct{} {
	if s.pg == nil {
		return nil
	}
	return s.pg.watched.doubts
}

// Whereabouts says where the database is. It is for databases on a server.
func (s *Store) Whereabouts(ctx context.Context) (w Whereabouts, err error) {
	if s.pg == nil {
		return w, nil
	}
	w.Doubt = s.pg.watched.doubt.Load()
	armed := s.pg.watched.armed.Load()
	var attempt int64
	if w.Found, attempt, err = scanOrigin(s.read().QueryRowContext(ctx, originSQL)); err != nil {
		return w, s.pg.explain(err)
	}
	w.Lost = attempt < armed
	text, err := metaGet(ctx, s.read(), metaOrigin)
	if err == nil && text != "" {
		err = json.Unmarshal([]byte(text), &w.Kept)
	}
	if err != nil {
		return w, fmt.Errorf("reading where the database was: %w", err)
	}
	if known := s.pg.watched.known.Load(); known != nil && w.Lost {
		w.Kept = *known // another node has judged what it knew of the fail-over; this one knows more
	}
	w.Wrote, err = s.LastWrite(ctx)
	return w, err
}

// Trust keeps where the database was found: whoever calls it has judged that,
// and begun a quarantine if one was called for. From here on the process watches
// its connections. It says no if there was another doubt meanwhile.
func (s *Store) Trust(ctx context.Context, w Whereabouts) (bool, error) {
	if s.pg == nil {
		return true, nil
	}
	if w.Found != w.Kept {
		if err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
			text, err := json.Marshal(w.Found)
			if err != nil {
				return err
			}
			if err := metaSet(ctx, tx, metaOrigin, string(text)); err != nil || w.Kept.Same(w.Found) {
				return err
			}
			return s.note(ctx, tx, auditEntry{Actor: "smi", Action: "database.origin", Detail: map[string]any{"was": w.Kept, "is": w.Found}})
		}); err != nil {
			return false, fmt.Errorf("keeping where the database is: %w", err)
		}
	}
	p := &s.pg.watched
	if w.Lost {
		p.armed.Store(0)
	}
	p.known.Store(&w.Found)
	return p.doubt.CompareAndSwap(w.Doubt, 0), nil
}
