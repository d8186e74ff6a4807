package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"smi/connectors"
	"smi/internal/social"
)

// Spending is what was spent of one purse in the present month.
type Spending struct {
	Purse  string    `json:"purse" doc:"network/app/ID"`
	Spent  int64     `json:"spent" doc:"since the first of the month (UTC), in millionths of a US dollar"`
	Limit  int64     `json:"limit,omitempty" doc:"what may be spent in a month; absent: no limit is set"`
	Resets time.Time `json:"resets_at" doc:"when the next month begins"`
	Text   string    `json:"text"`
}

// spending reads what was spent of every purse.
func (a *App) spending(ctx context.Context) ([]Spending, error) {
	if a.Spend == nil || a.Purses == nil {
		return nil, nil
	}
	now := a.Now()
	_, next := connectors.MonthOf(now)
	var out []Spending
	for _, p := range a.Purses() {
		spent, err := a.Spend.Spent(ctx, p.Name, now)
		if err != nil {
			return nil, err
		}
		s := Spending{Purse: p.Name, Spent: spent, Limit: p.Limit, Resets: next}
		s.Text = fmt.Sprintf("spent this month at %s: %s, without a limit", p.Name, connectors.Dollars(spent))
		if p.Limit > 0 {
			s.Text = fmt.Sprintf("spent this month at %s: %s of %s", p.Name, connectors.Dollars(spent), connectors.Dollars(p.Limit))
		}
		out = append(out, s)
	}
	return out, nil
}

// price says what a delivery will cost, and refuses one that the month's budget
// has no room for. Arming looks again: what is planned is not yet spent.
func (a *App) price(ctx context.Context, d *draft, client *connectors.Client, parts []social.Part) error {
	var sum int64
	var why []string
	prices := client.Prices(parts)
	for i, n := 0, 0; i < len(prices); i += n { // equal ones are told together
		n = 1
		for i+n < len(prices) && prices[i+n] == prices[i] {
			n++
		}
		sum += int64(n) * prices[i].Micros
		line := connectors.Dollars(prices[i].Micros) + " " + prices[i].Reason
		if n > 1 {
			line = fmt.Sprintf("%d × %s", n, line)
		}
		why = append(why, line)
	}
	if sum == 0 {
		return nil
	}
	note := social.Problem{Severity: social.Costs, Value: sum, Text: fmt.Sprintf("publishing it costs %s: %s", connectors.Dollars(sum), strings.Join(why, "; "))}
	purse := client.Purse()
	if a.Spend != nil && purse.Limit > 0 {
		at := d.when.UTC
		if at.IsZero() {
			at = a.Now()
		}
		spent, err := a.Spend.Spent(ctx, purse.Name, at)
		if err != nil {
			return err
		}
		note.Limit = purse.Limit
		if spent+sum > purse.Limit {
			note.Severity = social.Refused
			note.Text = fmt.Sprintf("publishing it costs %s, and of the budget of %s for %s %s is spent; plan it for another month or raise the budget in the configuration",
				connectors.Dollars(sum), connectors.Dollars(purse.Limit), at.Format("January 2006"), connectors.Dollars(spent))
		}
	}
	d.findings = append(d.findings, Finding{Account: AccountName(client.Account()), Problem: note})
	return nil
}
