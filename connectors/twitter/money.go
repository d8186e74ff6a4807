package twitter

import (
	"context"
	"fmt"

	"smi/connectors"
	"smi/internal/social"
)

// Purse is what the app's calls are paid from.
func (p *Platform) Purse() connectors.Purse {
	return connectors.Purse{Name: "twitter/app/" + p.cfg.ClientID, Limit: p.cfg.MonthlyBudget * 10_000}
}

var _ connectors.Pricer = (*conn)(nil)

// Prices says what each part will cost: a post with a link costs many times one
// without.
func (c *conn) Prices(parts []social.Part) []connectors.Price {
	prices := c.p.cfg.Prices
	var out []connectors.Price
	for i := range parts {
		p := connectors.Price{Micros: prices.Post, Reason: "for a post"}
		if len(findURLs(composed(&parts[i]))) > 0 {
			p = connectors.Price{Micros: prices.LinkPost, Reason: "for a post with a link"}
			if prices.Post < prices.LinkPost {
				p.Reason += " (without one: " + connectors.Dollars(prices.Post) + ")"
			}
		}
		described := int64(0)
		for _, m := range parts[i].Media {
			if m.Alt != "" && hasAlt(m.Kind) {
				described++
			}
		}
		if described > 0 && prices.AltText > 0 {
			p.Micros += described * prices.AltText
			p.Reason += fmt.Sprintf(" and the alt text of %d media", described)
		}
		out = append(out, p)
	}
	return out
}

// spent counts what a call has cost. What cannot be counted is logged: the call
// was made.
func (p *Platform) spent(ctx context.Context, micros int64) {
	if p.env.Spend == nil || micros <= 0 {
		return
	}
	if _, err := p.env.Spend.Spend(context.WithoutCancel(ctx), p.Purse().Name, p.env.Now(), micros, 0); err != nil && p.env.Log != nil {
		p.env.Log.Warn("what a call at X cost could not be counted", "micros", micros, "err", err)
	}
}

// mayRead refuses readings of numbers once four fifths of the month's budget
// are spent: the rest is for posts.
func (p *Platform) mayRead(ctx context.Context, op string) error {
	purse := p.Purse()
	if p.env.Spend == nil || purse.Limit == 0 {
		return nil
	}
	now := p.env.Now()
	spent, err := p.env.Spend.Spent(ctx, purse.Name, now)
	if err != nil {
		return &connectors.Error{Kind: connectors.Transient, Op: op, Text: "what was spent this month could not be read", Err: err}
	}
	if spent < purse.Limit/5*4 {
		return nil
	}
	_, next := connectors.MonthOf(now)
	return &connectors.Error{
		Kind: connectors.RateLimited, Op: op, Bucket: "app", RetryAfter: next.Sub(now),
		Text: fmt.Sprintf("%s of the budget of %s for X are spent in %s; the rest is kept for posts, and numbers are read again from %s on, or once twitter.monthly_budget_cents is raised",
			connectors.Dollars(spent), connectors.Dollars(purse.Limit), now.UTC().Format("January 2006"), next.Format("2006-01-02")),
	}
}
