package connectors

import (
	"context"
	"fmt"
	"time"

	"smi/internal/social"
)

// Price is what something costs at a network that is paid per use.
type Price struct {
	Micros int64  // millionths of a US dollar
	Reason string // what is paid for, and what would be cheaper; one clause
}

// Pricer is a Conn of a network that is paid per use.
type Pricer interface {
	// Prices says what each part of a delivery will cost, in their order. Pure and
	// instant, as Check.
	Prices(parts []social.Part) []Price
}

// Purse is the money that the calls of one app are paid from.
type Purse struct {
	Name  string // "twitter/app/CLIENT-ID"; what is spent is counted under it
	Limit int64  // of a calendar month (UTC), in millionths of a US dollar; 0: no limit
}

// Payer is a Platform of a network that is paid per use.
type Payer interface {
	Purse() Purse
}

// SpendStore counts what was spent of purses, for all nodes and across
// restarts.
type SpendStore interface {
	// Spent returns what was spent in the month of at, in millionths of a US dollar.
	Spent(ctx context.Context, purse string, at time.Time) (int64, error)
	// Spend adds an amount to the month of at. Where more than limit would be spent
	// then, it adds nothing and returns false; limit 0 is none.
	Spend(ctx context.Context, purse string, at time.Time, amount, limit int64) (bool, error)
}

// Prices returns what each part will cost, nil where posting is free.
func (c *Client) Prices(parts []social.Part) []Price {
	if p, ok := c.conn.(Pricer); ok && len(parts) > 0 {
		return p.Prices(parts)
	}
	return nil
}

// Purse returns what the account's calls are paid from; the zero Purse where
// they are free.
func (c *Client) Purse() Purse { return PurseOf(c.platform) }

// PurseOf returns what a platform's calls are paid from; the zero Purse where
// they are free.
func PurseOf(p Platform) Purse {
	if payer, ok := p.(Payer); ok {
		return payer.Purse()
	}
	return Purse{}
}

// MonthOf returns the calendar month (UTC) in which something is paid, and when
// the next one begins.
func MonthOf(at time.Time) (begin, next time.Time) {
	y, m, _ := at.UTC().Date()
	begin = time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
	return begin, begin.AddDate(0, 1, 0)
}

// Dollars writes an amount for a person: in whole cents, or as exactly as it is
// where it is less.
func Dollars(micros int64) string {
	sign := ""
	if micros < 0 {
		sign, micros = "-", -micros
	}
	whole, rest := micros/1_000_000, micros%1_000_000
	if rest%10_000 == 0 {
		return fmt.Sprintf("%s$%d.%02d", sign, whole, rest/10_000)
	}
	if rest%1000 == 0 {
		return fmt.Sprintf("%s$%d.%03d", sign, whole, rest/1000)
	}
	return fmt.Sprintf("%s$%d.%06d", sign, whole, rest)
}
