package credentials

import (
	"context"
	"fmt"
	"time"

	"smi/internal/social"
)

// Ending is a login that ends although smi renews what it can.
type Ending struct {
	Account social.ID
	Network social.Network
	Handle  string
	Ends    time.Time
	// Posts is how many posts are planned for later than that, and First when the
	// first of them is.
	Posts int
	First time.Time
	Told  Told // so far
}

// Told is what people know of an end.
type Told struct {
	Days  int  // the last of warnings that was told; NotTold: none
	Posts bool // that posts are planned for later
}

// NotTold is the number of days of an end of which nobody was told.
const NotTold = 99

// warnings are how many days before the end of a login people are told.
var warnings = []int{0, 1, 3, 7, 14, 30}

// Nearness is the nearest warning whose time has come, NotTold if none has.
func Nearness(end, now time.Time) int {
	for _, days := range warnings {
		if !now.Before(end.Add(-time.Duration(days) * 24 * time.Hour)) {
			return days
		}
	}
	return NotTold
}

// Ends tells people of the logins that end: 30, 14, 7, 3 and 1 days before, at
// the end, and once as soon as a post is planned for later. A periodic job calls
// it.
func (s *Service) Ends(ctx context.Context) error {
	now := s.now()
	if err := s.c.Store.TellEnds(ctx, now, func(e Ending) (Told, *Notice) { return e.say(now) }); err != nil {
		return fmt.Errorf("telling of logins that end: %w", err)
	}
	return nil
}

// say is what people are told of an end now, nil if they know it.
func (e *Ending) say(now time.Time) (Told, *Notice) {
	near := Nearness(e.Ends, now)
	posts := e.Posts > 0 && now.Before(e.Ends)
	if near >= e.Told.Days && (!posts || e.Told.Posts) {
		return e.Told, nil
	}
	told := Told{Days: min(near, e.Told.Days), Posts: e.Told.Posts || posts}
	n := &Notice{Kind: NoticeEnds, Severity: "warning", Account: e.Account}
	if near <= 3 || e.Posts > 0 {
		n.Severity = "alarm"
	}
	who, at := name(Row{Account: e.Account, Network: e.Network, Handle: e.Handle}), e.Ends.UTC().Format(day)
	switch {
	case !now.Before(e.Ends):
		n.Text = fmt.Sprintf("The login of %s ended at %s. Connect the account again.", who, at)
		if e.Posts > 0 {
			n.Text += fmt.Sprintf(" %s until then.", e.waiting("wait"))
		}
	case e.Posts > 0:
		n.Text = fmt.Sprintf("THE LOGIN OF %s ENDS BEFORE ITS POSTS GO OUT: it ends at %s and cannot be renewed by smi, and %s. None of them is published unless you connect the account again before.",
			who, at, e.waiting("planned"))
	default:
		n.Text = fmt.Sprintf("The login of %s ends at %s and cannot be renewed by smi. Connect the account again before; posts planned for later will wait.", who, at)
	}
	return told, n
}

// day is a time in a sentence.
const day = "15:04 UTC on 2 January 2006"

// waiting says how many posts there are.
func (e *Ending) waiting(how string) string {
	first := e.First.UTC().Format(day)
	switch {
	case how == "planned" && e.Posts == 1:
		return "1 post is planned for later, for " + first
	case how == "planned":
		return fmt.Sprintf("%d posts are planned for later, the first for %s", e.Posts, first)
	case e.Posts == 1:
		return fmt.Sprintf("1 post, planned for %s, waits", first)
	}
	return fmt.Sprintf("%d posts, the first planned for %s, wait", e.Posts, first)
}
