package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

type connKey struct{}

// WithConn returns a context that carries the connection of a transaction, which
// a job that is put in with it needs on PostgreSQL: database/sql does not tell
// which one it is.
func WithConn(ctx context.Context, c *sql.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// onConn gives fn the transaction that runs on the connection of the context.
func onConn(ctx context.Context, fn func(pgx.Tx) error) error {
	conn, ok := ctx.Value(connKey{}).(*sql.Conn)
	if !ok {
		return errors.New("a job is put in with a transaction whose connection is not known")
	}
	return conn.Raw(func(c any) error {
		pc, ok := c.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("the connection is a %T, not one to PostgreSQL", c)
		}
		return fn(borrowed{pc.Conn()})
	})
}

// borrowed is a transaction that belongs to database/sql, which alone ends it.
type borrowed struct{ c *pgx.Conn }

func (b borrowed) Begin(ctx context.Context) (pgx.Tx, error) {
	if _, err := b.c.Exec(ctx, "SAVEPOINT job"); err != nil {
		return nil, err
	}
	return saved{b}, nil
}
func (b borrowed) Commit(context.Context) error   { return nil }
func (b borrowed) Rollback(context.Context) error { return nil }
func (b borrowed) Conn() *pgx.Conn                { return b.c }
func (b borrowed) LargeObjects() pgx.LargeObjects { return pgx.LargeObjects{} }
func (b borrowed) SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults {
	return b.c.SendBatch(ctx, batch)
}

func (b borrowed) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, rows pgx.CopyFromSource) (int64, error) {
	return b.c.CopyFrom(ctx, table, columns, rows)
}

func (b borrowed) Prepare(ctx context.Context, name, query string) (*pgconn.StatementDescription, error) {
	return b.c.Prepare(ctx, name, query)
}

func (b borrowed) Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error) {
	return b.c.Exec(ctx, query, args...)
}

func (b borrowed) Query(ctx context.Context, query string, args ...any) (pgx.Rows, error) {
	return b.c.Query(ctx, query, args...)
}

func (b borrowed) QueryRow(ctx context.Context, query string, args ...any) pgx.Row {
	return b.c.QueryRow(ctx, query, args...)
}

// saved is a savepoint in it.
type saved struct{ borrowed }

func (s saved) Commit(ctx context.Context) error {
	_, err := s.c.Exec(ctx, "RELEASE SAVEPOINT job")
	return err
}

func (s saved) Rollback(ctx context.Context) error {
	_, err := s.c.Exec(ctx, "ROLLBACK TO SAVEPOINT job")
	return err
}
