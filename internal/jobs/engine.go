package jobs

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
)

// queue is River on one of the databases.
type queue interface {
	// insert puts a job in; without tx in a transaction of its own.
	insert(ctx context.Context, tx *sql.Tx, args river.JobArgs, o *river.InsertOpts) error
	start(ctx context.Context) error
	stop(ctx context.Context) error
}

// engine makes queues.
type engine struct {
	migrate func(ctx context.Context, log *slog.Logger) error
	open    func(cfg *river.Config) (queue, error)
}

// onSQLite is River on the store's one writing connection.
func onSQLite(db *sql.DB) engine {
	return engineOf(riversqlite.New(db), func(_ context.Context, tx *sql.Tx, fn func(*sql.Tx) error) error { return fn(tx) })
}

// onPostgres is River on a server. The transactions of the store are those of
// database/sql; River gets the connection that is under one. Its migrations do
// not look out for other nodes, so they are run in turn.
func onPostgres(pool *pgxpool.Pool, turn func(ctx context.Context, name string, fn func(context.Context) error) error) engine {
	e := engineOf(riverpgxv5.New(pool), func(ctx context.Context, _ *sql.Tx, fn func(pgx.Tx) error) error { return onConn(ctx, fn) })
	up := e.migrate
	e.migrate = func(ctx context.Context, log *slog.Logger) error {
		if turn == nil {
			return up(ctx, log)
		}
		return turn(ctx, "job tables", func(ctx context.Context) error { return up(ctx, log) })
	}
	return e
}

func engineOf[T any](driver riverdriver.Driver[T], within func(ctx context.Context, tx *sql.Tx, fn func(T) error) error) engine {
	return engine{
		migrate: func(ctx context.Context, log *slog.Logger) error {
			m, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: log})
			if err != nil {
				return fmt.Errorf("preparing the job tables: %w", err)
			}
			if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
				return fmt.Errorf("bringing the job tables up to date: %w", err)
			}
			return nil
		},
		open: func(cfg *river.Config) (queue, error) {
			c, err := river.NewClient(driver, cfg)
			if err != nil {
				return nil, err
			}
			return &client[T]{c, within}, nil
		},
	}
}

type client[T any] struct {
	river  *river.Client[T]
	within func(ctx context.Context, tx *sql.Tx, fn func(T) error) error
}

func (c *client[T]) insert(ctx context.Context, tx *sql.Tx, args river.JobArgs, o *river.InsertOpts) error {
	if tx == nil {
		_, err := c.river.Insert(ctx, args, o)
		return err
	}
	return c.within(ctx, tx, func(t T) error {
		_, err := c.river.InsertTx(ctx, t, args, o)
		return err
	})
}

func (c *client[T]) start(ctx context.Context) error { return c.river.Start(ctx) }
func (c *client[T]) stop(ctx context.Context) error  { return c.river.Stop(ctx) }
