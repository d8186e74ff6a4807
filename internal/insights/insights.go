// Package insights computes smi's own figures from what networks reported. It
// is pure: numbers in, numbers out. What is not known stays unknown; it is never
// taken for zero.
package insights

import (
	"time"

	"smi/internal/social"
)

// Numbers are values by metric. A metric that is absent is unknown.
type Numbers map[social.Metric]int64

// Interactions are likes, comments and shares (quotes are shares). They are
// unknown only if the network reported none of them.
func Interactions(n Numbers) (int64, bool) {
	var sum int64
	known := false
	for _, m := range []social.Metric{social.Likes, social.Comments, social.Shares, social.Quotes} {
		if v, ok := n[m]; ok {
			sum += v
			known = true
		}
	}
	return sum, known
}

// EngagementRate is interactions ÷ views of the same posts in the same period.
// Without views there is no rate.
func EngagementRate(n Numbers) (float64, bool) {
	i, ok := Interactions(n)
	views := n[social.Views]
	if !ok || views <= 0 {
		return 0, false
	}
	return float64(i) / float64(views), true
}

// Totals are the running totals of one post as they were read on a day.
type Totals struct {
	Post      social.ID
	Published time.Time
	Read      time.Time
	Numbers   Numbers
}

// DayAmounts rolls the totals of an account's posts up into the amounts of one
// day: for each post what came since it was read before. previous holds, for
// each post that has one, the last reading before the day; lastRead is when the
// last complete reading of the account before the day began (zero: never).
//
// The first reading of an old post says nothing about this day and is left out;
// that of a post published since the account was last read is this day's in
// full. Metrics that count people (reach, participants) are not amounts and are
// left out: they cannot be added. A metric is in the result only if at least
// one post contributed to it.
func DayAmounts(today []Totals, previous map[social.ID]Totals, lastRead time.Time) Numbers {
	sum := Numbers{}
	for _, t := range today {
		before, had := previous[t.Post]
		isNew := !lastRead.IsZero() && !t.Published.Before(lastRead) || t.Read.Sub(t.Published) < 24*time.Hour
		for m, v := range t.Numbers {
			if info, ok := social.MetricByName(m); !ok || !info.Adds {
				continue
			}
			base, known := before.Numbers[m]
			switch {
			case had && known:
				sum[m] += v - base
			case !had && isNew:
				sum[m] += v
			}
		}
	}
	return sum
}
