package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"smi/connectors"
	"smi/scheduler"
)

var _ connectors.SpendStore = (*Store)(nil)

// Spent returns what was spent of a purse in the month of at.
func (s *Store) Spent(ctx context.Context, purse string, at time.Time) (int64, error) {
	month, _ := connectors.MonthOf(at)
	var spent int64
	err := s.lookup(ctx, `SELECT spent FROM spend WHERE purse = $1 AND month = $2`, purse, millis(month)).Scan(&spent)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("reading what was spent of %s: %w", purse, err)
	}
	return spent, nil
}

// Spend adds an amount to the month of at, unless more than limit (0: none)
// would be spent then.
func (s *Store) Spend(ctx context.Context, purse string, at time.Time, amount, limit int64) (bool, error) {
	var fits bool
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var err error
		fits, err = s.addSpend(ctx, tx, purse, at, amount, limit)
		return err
	})
	if err != nil {
		return false, err
	}
	return fits, nil
}

func (s *Store) addSpend(ctx context.Context, tx *sql.Tx, purse string, at time.Time, amount, limit int64) (bool, error) {
	if limit > 0 && amount > limit {
		return false, nil
	}
	month, _ := connectors.MonthOf(at)
	n, err := changed(s.run(ctx, tx, `INSERT INTO spend (purse, month, spent) VALUES ($1, $2, $3)
		ON CONFLICT (purse, month) DO UPDATE SET spent = spend.spent + excluded.spent
		WHERE CAST($4 AS BIGINT) = 0 OR spend.spent + excluded.spent <= CAST($4 AS BIGINT)`, purse, millis(month), amount, limit))
	if err != nil {
		return false, fmt.Errorf("counting what is spent of %s: %w", purse, err)
	}
	return n > 0, nil
}

// pay takes what an attempt costs, or refuses.
func (s *Store) pay(ctx context.Context, tx *sql.Tx, p scheduler.Spend, now time.Time) error {
	if p.Micros <= 0 || p.Purse.Name == "" {
		return nil
	}
	fits, err := s.addSpend(ctx, tx, p.Purse.Name, now, p.Micros, p.Purse.Limit)
	if err != nil || fits {
		return err
	}
	_, next := connectors.MonthOf(now)
	return &scheduler.Refusal{
		Gate: scheduler.GateBudget, Until: next,
		Text: fmt.Sprintf("it costs %s, and more than the budget of %s of this month would be spent; it waits until %s, or raise the budget in the configuration",
			connectors.Dollars(p.Micros), connectors.Dollars(p.Purse.Limit), next.Format(time.RFC3339)),
	}
}

// giveBack gives back what was paid for an attempt of which nothing came.
func (s *Store) giveBack(ctx context.Context, tx *sql.Tx, c *scheduler.AttemptChange) error {
	p := c.GiveBack
	if p.Micros <= 0 || p.Purse.Name == "" || c.State != scheduler.AttemptNotSent && c.State != scheduler.AttemptRejected {
		return nil
	}
	month, _ := connectors.MonthOf(c.ArmedAt)
	if _, err := s.run(ctx, tx, `UPDATE spend SET spent = CASE WHEN spent > $1 THEN spent - $1 ELSE 0 END WHERE purse = $2 AND month = $3`, p.Micros, p.Purse.Name, millis(month)); err != nil {
		return fmt.Errorf("giving back to %s: %w", p.Purse.Name, err)
	}
	return nil
}
