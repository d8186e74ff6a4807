package insights

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smi/internal/social"
)

func TestInteractions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in    Numbers
		want  int64
		known bool
	}{
		"nothing known":       {Numbers{social.Views: 10}, 0, false},
		"zero is known":       {Numbers{social.Likes: 0}, 0, true},
		"all":                 {Numbers{social.Likes: 5, social.Comments: 3, social.Shares: 2, social.Quotes: 1}, 11, true},
		"saves do not count":  {Numbers{social.Likes: 5, social.Saves: 100, social.Clicks: 9}, 5, true},
		"some of them absent": {Numbers{social.Shares: 2}, 2, true},
	} {
		if got, known := Interactions(c.in); got != c.want || known != c.known {
			t.Errorf("%s: got %d %v, want %d %v", name, got, known, c.want, c.known)
		}
	}
}

func TestEngagementRate(t *testing.T) {
	t.Parallel()
	if r, ok := EngagementRate(Numbers{social.Likes: 3, social.Comments: 1, social.Views: 80}); !ok || r != 0.05 {
		t.Errorf("got %v %v, want 0.05", r, ok)
	}
	for name, n := range map[string]Numbers{
		"views unknown":        {social.Likes: 3},
		"no views":             {social.Likes: 3, social.Views: 0},
		"interactions unknown": {social.Views: 80},
	} {
		if r, ok := EngagementRate(n); ok {
			t.Errorf("%s: got a rate of %v, want none", name, r)
		}
	}
}

func TestDayAmounts(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 11, 23, 2, 30, 0, 0, time.UTC)
	yesterday := day.Add(-24 * time.Hour)
	today := []Totals{
		{Post: 1, Published: day.Add(-100 * time.Hour), Read: day, Numbers: Numbers{social.Likes: 12, social.Reach: 900}},
		{Post: 2, Published: day.Add(-5 * time.Hour), Read: day, Numbers: Numbers{social.Likes: 4}},    // new
		{Post: 3, Published: day.Add(-900 * time.Hour), Read: day, Numbers: Numbers{social.Likes: 70}}, // read for the first time
		{Post: 4, Published: day.Add(-100 * time.Hour), Read: day, Numbers: Numbers{social.Likes: 1, social.Saves: 6}},
	}
	previous := map[social.ID]Totals{
		1: {Post: 1, Numbers: Numbers{social.Likes: 10, social.Reach: 500}},
		4: {Post: 4, Numbers: Numbers{social.Likes: 3}}, // two likes were taken back; saves were not reported
	}
	want := Numbers{social.Likes: 2 + 4 - 2}
	if diff := cmp.Diff(want, DayAmounts(today, previous, yesterday)); diff != "" {
		t.Error(diff)
	}
	if got := DayAmounts(nil, nil, yesterday); len(got) != 0 {
		t.Errorf("no readings: got %v, want nothing (not zeros)", got)
	}
}
