package store

import (
	"context"
	"database/sql"
	"sync"
)

// statements are the prepared statements of the writing connection. SQLite needs
// longer to parse most of our statements than to run them.
//
// A statement cannot be prepared from inside a transaction, which holds the only
// connection: its first use says that it is wanted, and the writer prepares it
// when the transaction is over. Should the connection ever be replaced,
// database/sql prepares it anew by itself.
type statements struct {
	mu     sync.Mutex
	ready  map[string]*sql.Stmt
	wanted []string
}

// maxStatements bounds the cache; what comes later is parsed each time.
const maxStatements = 100

// of returns the statement of a query, nil if it is not prepared yet.
func (p *statements) of(query string) *sql.Stmt {
	p.mu.Lock()
	defer p.mu.Unlock()
	if st, known := p.ready[query]; known {
		return st // nil while it is wanted
	}
	if len(p.ready) < maxStatements {
		if p.ready == nil {
			p.ready = map[string]*sql.Stmt{}
		}
		p.ready[query] = nil
		p.wanted = append(p.wanted, query)
	}
	return nil
}

// prepare prepares what is wanted. Nobody may hold the writing connection.
func (p *statements) prepare(ctx context.Context, db *sql.DB) {
	p.mu.Lock()
	wanted := p.wanted
	p.wanted = nil
	p.mu.Unlock()
	for _, query := range wanted {
		st, err := db.PrepareContext(ctx, query)
		if err != nil {
			continue // who runs it is told why
		}
		p.mu.Lock()
		p.ready[query] = st
		p.mu.Unlock()
	}
}

// now returns the statement of a query, preparing it first where that is needed,
// nil if it cannot be prepared or no more are kept. It is for pools of which
// nobody waits for the only connection.
func (p *statements) now(ctx context.Context, db *sql.DB, query string) *sql.Stmt {
	p.mu.Lock()
	defer p.mu.Unlock()
	if st := p.ready[query]; st != nil || len(p.ready) >= maxStatements {
		return st
	}
	st, err := db.PrepareContext(ctx, query)
	if err != nil {
		return nil // who runs it is told why
	}
	if p.ready == nil {
		p.ready = map[string]*sql.Stmt{}
	}
	p.ready[query] = st
	return st
}

// run is tx.ExecContext for the statements that run most often. The query must
// be one of a few, so no value may be written into it.
func (s *Store) run(ctx context.Context, tx *sql.Tx, query string, args ...any) (sql.Result, error) {
	if s.pg != nil { // its driver keeps its own
		return tx.ExecContext(ctx, query, args...)
	}
	if st := s.statements.of(query); st != nil {
		return tx.StmtContext(ctx, st).ExecContext(ctx, args...)
	}
	return tx.ExecContext(ctx, query, args...)
}

// runRow is to tx.QueryRowContext what run is to tx.ExecContext.
func (s *Store) runRow(ctx context.Context, tx *sql.Tx, query string, args ...any) *sql.Row {
	if s.pg != nil {
		return tx.QueryRowContext(ctx, query, args...)
	}
	if st := s.statements.of(query); st != nil {
		return tx.StmtContext(ctx, st).QueryRowContext(ctx, args...)
	}
	return tx.QueryRowContext(ctx, query, args...)
}

// runRows is to tx.QueryContext what run is to tx.ExecContext.
func (s *Store) runRows(ctx context.Context, tx *sql.Tx, query string, args ...any) (*sql.Rows, error) {
	if s.pg != nil {
		return tx.QueryContext(ctx, query, args...)
	}
	if st := s.statements.of(query); st != nil {
		return tx.StmtContext(ctx, st).QueryContext(ctx, args...)
	}
	return tx.QueryContext(ctx, query, args...)
}

// lookup is read().QueryRowContext for the queries that are asked again and
// again. No value may be written into the query.
func (s *Store) lookup(ctx context.Context, query string, args ...any) *sql.Row {
	if s.pg == nil {
		if st := s.lookups.now(ctx, s.reader, query); st != nil {
			return st.QueryRowContext(ctx, args...)
		}
	}
	return s.read().QueryRowContext(ctx, query, args...)
}
