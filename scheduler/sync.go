package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"smi/connectors"
	"smi/internal/crash"
	"smi/internal/insights"
	"smi/internal/social"
)

// Archive is what the sync needs of the store. Each method is one transaction.
type Archive interface {
	// SyncRun returns a run with its account, and marks it as running. One that
	// waits for its ResumeAt stays partial until then.
	SyncRun(ctx context.Context, run social.ID, now time.Time) (SyncRun, social.Account, error)
	// SaveNumbers stores a reading together with where the run goes on: a second
	// call with the same reading changes nothing but the time of reading. It
	// returns how many values were set.
	SaveNumbers(ctx context.Context, run SyncRun, a social.Account, r social.Reading) (int, error)
	// SavePosts stores what a listing showed, together with where the run goes on.
	SavePosts(ctx context.Context, run SyncRun, a social.Account, p connectors.Page) error
	// PostsToRead returns posts of the account published since a time, by id,
	// after the one given, at most limit.
	PostsToRead(ctx context.Context, account social.ID, since time.Time, after social.ID, limit int) ([]KnownPost, error)
	// DayTotals returns what RollUp needs: the totals read on a day, the last
	// ones before it, and since when the account had been read before it.
	DayTotals(ctx context.Context, account social.ID, day int) (today []insights.Totals, before map[social.ID]insights.Totals, lastRead time.Time, err error)
	// SaveDay stores the amounts rolled up from the posts.
	SaveDay(ctx context.Context, account social.ID, day int, amounts insights.Numbers, now time.Time) error
	// EndTry notes how a try ended: done, failed, or partial until ResumeAt. A
	// failed one tells people with the notice.
	EndTry(ctx context.Context, run SyncRun, n *Notice, now time.Time) error
}

// SyncState is where a sync run is.
type SyncState string

// The states of a sync run.
const (
	SyncQueued  SyncState = "queued"
	SyncRunning SyncState = "running"
	SyncPartial SyncState = "partial" // goes on at ResumeAt
	SyncDone    SyncState = "done"
	SyncFailed  SyncState = "failed" // people were told
)

// SyncRun is one reading of an account's numbers, for one night or by hand.
type SyncRun struct {
	ID        social.ID `json:"id"`
	Account   social.ID `json:"account"`
	LocalDate int       `json:"-"`    // day number of the night, in the workspace's zone
	Kind      string    `json:"kind"` // "nightly" or "manual"
	State     SyncState `json:"state"`
	Step      string    `json:"step,omitempty"`
	Cursor    string    `json:"-"`
	Tries     int       `json:"tries"`
	Values    int       `json:"values"`
	Reason    string    `json:"reason,omitempty"`
	ResumeAt  time.Time `json:"resume_at,omitzero"`
	CreatedAt time.Time `json:"created_at"`
	StartedAt time.Time `json:"started_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`

	gotOn   bool     // in this try something was read and saved
	refused []string // in this try: posts whose numbers the network refused
}

// KnownPost is a post of an account, as it is asked for its numbers.
type KnownPost struct {
	ID      social.ID
	Receipt connectors.Receipt
}

// Sync reads the numbers of accounts.
type Sync struct {
	Archive Archive
	Clients func(context.Context, social.Account) (*connectors.Client, error)
	Now     func() time.Time
	Log     *slog.Logger
	// LookBack is how far back posts are read again; 0: what the platform says.
	LookBack time.Duration
}

const (
	syncBatch = 100
	maxTries  = 8
	maxPages  = 2000 // of one listing
	// accountDays is how many closed days of account numbers are read again:
	// networks correct them for days.
	accountDays = 7
)

// The steps of a run, in order. A run that was interrupted goes on with the
// step and cursor it had saved.
const (
	stepAccount = "account"
	stepList    = "list"
	stepPosts   = "posts"
	stepRollUp  = "rollup"
)

// Account works on a run until it is done or must wait, and returns after how
// long to call it again; zero means that it has ended. An error means that the
// store failed, and that the same call may be made again.
func (s *Sync) Account(ctx context.Context, id social.ID) (time.Duration, error) {
	run, account, err := s.Archive.SyncRun(ctx, id, s.Now())
	if err != nil {
		return 0, fmt.Errorf("opening sync run %s: %w", id, err)
	}
	if run.State == SyncDone || run.State == SyncFailed {
		return 0, nil
	}
	if run.State == SyncPartial {
		return max(run.ResumeAt.Sub(s.Now()), time.Millisecond), nil
	}
	if account.Status == social.AccountRemoved {
		return 0, s.drop(ctx, &run, "the account was removed")
	}
	if account.Status != social.AccountConnected {
		return 0, s.end(ctx, &run, account, SyncFailed, cmp.Or(account.StatusReason, "the account is not connected; connect it again"))
	}
	client, err := s.Clients(ctx, account)
	if err == nil {
		err = s.readOrRenew(ctx, &run, account, client)
	}
	if err == nil {
		reason := ""
		if len(run.refused) > 0 {
			reason = "the network refused the numbers of " + strings.Join(run.refused, ", ") + "."
		}
		return 0, s.end(ctx, &run, account, SyncDone, reason)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		// The try has used its time up. It goes on from where it is; if it did not
		// get on at all, that counts as a failure.
		return s.outOfTime(ctx, &run, account)
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if e, ok := err.(*storeError); ok { //nolint:errorlint // made right below, never wrapped
		return 0, e.err
	}
	e := connectors.AsError(err)
	s.Log.Warn("reading numbers stopped", "account", account.Handle, "step", run.Step, "kind", e.Kind, "err", err)
	switch v := Decide(Situation{Phase: PhasePrepare, Kind: e.Kind, RetryAfter: e.RetryAfter, Tries: min(run.Tries, maxUnknown-1), Renewed: true}); v.Do { //nolint:exhaustive // a reading has no other
	case DoWait:
		run.ResumeAt = s.Now().Add(v.After)
		return v.After, s.end(ctx, &run, account, SyncPartial, said(e))
	case DoRetry:
		if after := s.later(&run, e.RetryAfter); after > 0 {
			return after, s.end(ctx, &run, account, SyncPartial, said(e))
		}
	}
	return 0, s.end(ctx, &run, account, SyncFailed, said(e))
}

// later counts a failed try and returns after how long the next one comes; 0 if
// there have been enough. It is never sooner than the network asked for.
func (s *Sync) later(run *SyncRun, asked time.Duration) time.Duration {
	run.Tries++
	if run.Tries >= maxTries {
		return 0
	}
	after := max(min(time.Minute<<run.Tries, time.Hour), min(asked, 24*time.Hour))
	run.ResumeAt = s.Now().Add(after)
	return after
}

// outOfTime ends a try whose context has ended because it took too long.
func (s *Sync) outOfTime(ctx context.Context, run *SyncRun, a social.Account) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	const reason = "reading took too long"
	s.Log.Warn("reading numbers took too long", "account", a.Handle, "step", run.Step, "got_on", run.gotOn)
	after := time.Second
	if run.gotOn {
		run.ResumeAt = s.Now().Add(after)
	} else if after = s.later(run, 0); after == 0 {
		return 0, s.end(ctx, run, a, SyncFailed, reason)
	}
	return after, s.end(ctx, run, a, SyncPartial, reason)
}

// endTime is what is left for writing down how a try ended whose own time is up.
const endTime = 10 * time.Second

// readOrRenew reads, and once more with a new login if the network refused the
// one it has.
func (s *Sync) readOrRenew(ctx context.Context, run *SyncRun, a social.Account, c *connectors.Client) error {
	err := s.read(ctx, run, a, c)
	if _, own := err.(*storeError); err == nil || own || ctx.Err() != nil { //nolint:errorlint // never wrapped
		return err
	}
	if v := Decide(Situation{Phase: PhasePrepare, Kind: connectors.KindOf(err)}); !v.Renew {
		return err
	}
	if err := c.Renew(ctx); err != nil {
		return err
	}
	return s.read(ctx, run, a, c)
}

// storeError keeps failures of our own store apart from the network's.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }

func (s *Sync) end(ctx context.Context, run *SyncRun, a social.Account, state SyncState, reason string) error {
	run.State, run.Reason = state, reason
	var n *Notice
	if state == SyncFailed {
		n = &Notice{
			Kind: "sync_failed", Severity: "warning", Account: a.ID,
			Text: fmt.Sprintf("The numbers of %s could not be read: %s", a.Handle, sentence(reason)),
		}
	}
	if err := s.Archive.EndTry(ctx, *run, n, s.Now()); err != nil {
		return fmt.Errorf("ending sync run %s: %w", run.ID, err)
	}
	return nil
}

// drop ends a run that nobody waits for any more.
func (s *Sync) drop(ctx context.Context, run *SyncRun, reason string) error {
	run.State, run.Reason = SyncFailed, reason
	if err := s.Archive.EndTry(ctx, *run, nil, s.Now()); err != nil {
		return fmt.Errorf("ending sync run %s: %w", run.ID, err)
	}
	return nil
}

// read walks through the steps that are left.
func (s *Sync) read(ctx context.Context, run *SyncRun, a social.Account, c *connectors.Client) error {
	zone, err := social.LoadZone(a.DayZone)
	if err != nil {
		zone = time.UTC
	}
	lookBack := s.LookBack
	if lookBack == 0 {
		lookBack = c.Describe().LookBack
	}
	since := run.CreatedAt.Add(-lookBack)
	verbs := c.Verbs()
	for run.Step != stepRollUp {
		switch run.Step {
		case "":
			run.Step = stepAccount
		case stepAccount:
			if verbs.AccountInsights {
				yesterday := social.DateOf(run.CreatedAt, zone) - 1
				reading, err := c.AccountInsights(ctx, social.DayStart(yesterday-accountDays+1), social.DayStart(yesterday))
				if err != nil {
					return err
				}
				if err := s.save(ctx, run, stepList, "", a, reading); err != nil {
					return err
				}
			}
			run.Step, run.Cursor = stepList, ""
		case stepList:
			if verbs.List {
				if err := s.list(ctx, run, a, c, since); err != nil {
					return err
				}
			}
			run.Step, run.Cursor = stepPosts, ""
		case stepPosts:
			if verbs.PostInsights {
				if err := s.posts(ctx, run, a, c, since); err != nil {
					return err
				}
			}
			run.Step, run.Cursor = stepRollUp, ""
		default:
			return &storeError{fmt.Errorf("sync run %s has an unknown step %q", run.ID, run.Step)}
		}
	}
	return s.rollUp(ctx, run, a, zone)
}

// save stores a reading, and where the run goes on after it. Only then is the
// run there: what could not be saved is read again.
func (s *Sync) save(ctx context.Context, run *SyncRun, step, cursor string, a social.Account, r social.Reading) error {
	next := *run
	next.Step, next.Cursor = step, cursor
	n, err := s.Archive.SaveNumbers(ctx, next, a, r)
	if err != nil {
		return &storeError{fmt.Errorf("saving numbers: %w", err)}
	}
	next.Values += n
	next.gotOn = true
	*run = next
	crash.Point("sync-saved")
	return nil
}

// list reads the account's own posts, page by page, until they are older than
// the look-back.
func (s *Sync) list(ctx context.Context, run *SyncRun, a social.Account, c *connectors.Client, since time.Time) error {
	seen := map[string]bool{run.Cursor: true}
	taken := true // the cursor is that of an earlier try
	for {
		page, err := c.List(ctx, since, run.Cursor)
		if err != nil && taken && run.Cursor != "" && Decide(Situation{Phase: PhasePrepare, Kind: connectors.KindOf(err)}).Do == DoFail {
			// A cursor from yesterday may be dead. The beginning is always there.
			run.Cursor, taken = "", false
			continue
		}
		if err != nil {
			return err
		}
		taken = false
		next := *run
		next.Cursor, next.gotOn = page.Next, true
		if err := s.Archive.SavePosts(ctx, next, a, page); err != nil {
			return &storeError{fmt.Errorf("saving the list of posts: %w", err)}
		}
		*run = next
		old := len(page.Posts) > 0 && page.Posts[len(page.Posts)-1].Receipt.PublishedAt.Before(since)
		if page.Next == "" || old {
			return nil
		}
		if seen[page.Next] || len(seen) > maxPages {
			// Some networks send a cursor round in a circle. What it showed is known.
			s.Log.Warn("the listing of posts does not end", "account", a.Handle, "pages", len(seen))
			return nil
		}
		seen[page.Next] = true
	}
}

// posts reads the numbers of the posts of the look-back.
func (s *Sync) posts(ctx context.Context, run *SyncRun, a social.Account, c *connectors.Client, since time.Time) error {
	for {
		after, _ := strconv.ParseInt(run.Cursor, 10, 64) // "" is the beginning
		known, err := s.Archive.PostsToRead(ctx, a.ID, since, social.ID(after), syncBatch)
		if err != nil {
			return &storeError{fmt.Errorf("finding posts to read: %w", err)}
		}
		if len(known) == 0 {
			return nil
		}
		receipts := make([]connectors.Receipt, len(known))
		for i, k := range known {
			receipts[i] = k.Receipt
		}
		reading, err := s.numbersOf(ctx, run, a, c, receipts)
		if err != nil {
			return err
		}
		if err := s.save(ctx, run, stepPosts, strconv.FormatInt(int64(known[len(known)-1].ID), 10), a, reading); err != nil {
			return err
		}
	}
}

// numbersOf reads the numbers of posts. Where the network refuses to answer
// because of one of them, the others' are read without it; more than a few are
// no accident, and the refusal is returned.
func (s *Sync) numbersOf(ctx context.Context, run *SyncRun, a social.Account, c *connectors.Client, receipts []connectors.Receipt) (social.Reading, error) {
	out, err := c.PostInsights(ctx, receipts)
	if err == nil || Decide(Situation{Phase: PhasePrepare, Kind: connectors.KindOf(err)}).Do != DoFail {
		return out, err
	}
	if len(receipts) == 1 {
		if len(run.refused) >= maxRefused {
			return out, err
		}
		s.Log.Warn("the numbers of a post were refused", "account", a.Handle, "post", receipts[0].RemoteID, "err", err)
		run.refused = append(run.refused, receipts[0].RemoteID)
		return social.Reading{}, nil
	}
	half := len(receipts) / 2
	out, err = s.numbersOf(ctx, run, a, c, receipts[:half])
	if err != nil {
		return out, err
	}
	rest, err := s.numbersOf(ctx, run, a, c, receipts[half:])
	if err != nil {
		return out, err
	}
	for _, o := range rest.Observations {
		o.Raw += len(out.Raw)
		out.Observations = append(out.Observations, o)
	}
	out.Raw, out.Gone = append(out.Raw, rest.Raw...), append(out.Gone, rest.Gone...)
	return out, nil
}

// maxRefused is how many posts of a run may be left out because the network
// refuses to say their numbers.
const maxRefused = 3

// maxRunDays bounds the days of one run whose amounts are computed.
const maxRunDays = 40

// rollUp computes the amounts of the account from its posts, for the days on
// which this run read them.
func (s *Sync) rollUp(ctx context.Context, run *SyncRun, a social.Account, zone *time.Location) error {
	day := social.DateOf(s.Now(), zone)
	first := min(social.DateOf(run.StartedAt, zone), day-1) // a run that was interrupted read the days before too
	for d := max(first, day-maxRunDays); d <= day; d++ {
		today, before, lastRead, err := s.Archive.DayTotals(ctx, a.ID, d)
		if err != nil {
			return &storeError{fmt.Errorf("reading totals: %w", err)}
		}
		if len(today) == 0 {
			continue
		}
		if err := s.Archive.SaveDay(ctx, a.ID, d, insights.DayAmounts(today, before, lastRead), s.Now()); err != nil {
			return &storeError{fmt.Errorf("saving the day's roll-up: %w", err)}
		}
	}
	crash.Point("sync-rolled-up")
	return nil
}
