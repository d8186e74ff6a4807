package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	_ "modernc.org/sqlite" // reads what the daemon wrote

	"smi/internal/app"
	"smi/internal/social"
	"smi/scheduler"
)

// connect logs every account in through the daemon's API.
func (b *bench) connect(ctx context.Context) error {
	begin := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i := range b.accounts {
		g.Go(func() error {
			c, err := b.api.StartConnect(ctx, app.ConnectRequest{Network: "bluesky", Method: "form", Handle: handle(i)})
			if err != nil {
				return err
			}
			values := map[string]social.Secret{}
			for _, f := range c.Fields {
				switch {
				case f.Secret:
					values[f.Name] = social.NewSecret(appPassword)
				case f.Name == "handle" || f.Name == "identifier":
					values[f.Name] = social.NewSecret(handle(i))
				}
			}
			_, err = b.api.FinishForm(ctx, c.ID, values)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("connecting accounts: %w", err)
	}
	took := time.Since(begin)
	fmt.Printf("%-64s %10v (%.0f a second)\n\n", fmt.Sprintf("connecting %d accounts", b.accounts), took.Round(time.Millisecond), float64(b.accounts)/took.Seconds())
	return nil
}

// plan plans n posts over some accounts, all due at the same time, and returns
// their ids and how long planning took.
func (b *bench) plan(ctx context.Context, n, accounts int, at time.Time) (took time.Duration, err error) {
	begin := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i := range n {
		b.serial++
		text := fmt.Sprintf("load post %d: the same words for everybody but this number", b.serial)
		g.Go(func() error {
			_, err := b.api.CreatePost(ctx, app.PostInput{
				Accounts: []string{handle(i % accounts)}, Parts: []app.PartInput{{Text: text}},
				Plan: app.PlanInput{At: at.UTC().Format(time.RFC3339)},
			}, "")
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return 0, fmt.Errorf("planning: %w", err)
	}
	return time.Since(begin), nil
}

// burst measures posts that are due in the same second.
func (b *bench) burst(ctx context.Context, name string, n, accounts int, latency time.Duration) error {
	b.latency.Store(int64(latency))
	// Time enough to plan them all and to prepare them before the second.
	at := time.Now().Add(time.Duration(n)*12*time.Millisecond + 12*time.Second).Truncate(time.Second)
	took, err := b.plan(ctx, n, accounts, at)
	if err != nil {
		return err
	}
	late, sent, err := b.results(ctx, at, n)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Printf("%-64s %10v %10v %10v %10v   (planned at %.0f a second)\n", name, pick(late, 0.5), pick(late, 0.99), pick(late, 1), sent, float64(n)/took.Seconds())
	return nil
}

// sustained measures how many posts a minute go out when more are due than can.
func (b *bench) sustained(ctx context.Context, n int) error {
	b.latency.Store(int64(50 * time.Millisecond))
	at := time.Now().Add(time.Duration(n)*12*time.Millisecond + 12*time.Second).Truncate(time.Second)
	if _, err := b.plan(ctx, n, b.accounts, at); err != nil {
		return err
	}
	_, sent, err := b.results(ctx, at, n)
	if err != nil {
		return err
	}
	fmt.Printf("\n%-64s %10.0f a minute\n", fmt.Sprintf("sustained: %d due at once over %d accounts, 50ms", n, b.accounts), float64(n)/sent.Minutes())
	return nil
}

// results waits until all posts of a time are published and returns how late
// their first bytes were, and when the last was sent.
func (b *bench) results(ctx context.Context, at time.Time, n int) (late []time.Duration, sent time.Duration, err error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.dir, "data", "smi.db")+"?_pragma=busy_timeout(5000)&_pragma=query_only(1)")
	if err != nil {
		return nil, 0, err
	}
	defer db.Close() //nolint:errcheck // it only read
	done := func() bool {
		if time.Now().Before(at) {
			return false
		}
		var published int
		err := db.QueryRowContext(ctx, `SELECT count(*) FROM delivery WHERE planned_utc = $1 AND state = 'published'`, at.UnixMilli()).Scan(&published)
		return err == nil && published == n
	}
	if err := b.until(ctx, 5*time.Minute, done); err != nil {
		return nil, 0, errors.Join(err, b.explain(ctx, db, at))
	}
	rows, err := db.QueryContext(ctx, `SELECT a.evidence FROM delivery d JOIN attempt a ON a.delivery_id = d.id WHERE d.planned_utc = $1`, at.UnixMilli())
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	for rows.Next() {
		var text string
		var e scheduler.Evidence
		if err := rows.Scan(&text); err != nil {
			return nil, 0, err
		}
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			return nil, 0, err
		}
		late = append(late, e.FirstByte.Sub(at))
	}
	slices.Sort(late)
	if len(late) != n {
		return nil, 0, fmt.Errorf("%d attempts for %d posts", len(late), n)
	}
	return late, late[n-1].Round(time.Millisecond), rows.Err()
}

// explain says where the posts of a time are that were not published.
func (b *bench) explain(ctx context.Context, db *sql.DB, at time.Time) error {
	var text string
	err := db.QueryRowContext(ctx, `SELECT group_concat(line, '; ') FROM (SELECT state || ' ' || count(*) || ' ' || max(reason) AS line FROM delivery WHERE planned_utc = $1 GROUP BY state)`, at.UnixMilli()).Scan(&text)
	if err != nil {
		return err
	}
	return errors.New(text)
}

// pick returns a quantile of sorted values.
func pick(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(float64(len(sorted)-1)*q)].Round(time.Millisecond)
}
