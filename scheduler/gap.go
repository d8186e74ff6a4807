package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"smi/connectors"
	"smi/internal/crash"
	"smi/internal/social"
)

// Gap is what is known of a delivery of a gap: a time of which the ledger may
// have lost what happened (see social.Quarantine). Such a delivery may have been
// published by a process of which no trace is left here, so it is looked up
// before anything else is done with it.
type Gap struct {
	Quarantine social.ID
	Planned    time.Time // as it was when the gap was closed
	Since      time.Time // from here on its post may be on the network
	Adopting   bool      // nobody else publishes any more: not found means not there
	Short      bool      // what is not found goes out as usual
	Tries      int       // looks that failed
}

// GapChange is what a look at a delivery of a gap brought.
type GapChange struct {
	Quarantine social.ID
	Outcome    social.GapOutcome // GapPending: it is looked at again
	NextAt     time.Time         // of the next look; zero: none before the instance is adopted
	Tries      int
	Seen       bool // the network answered
}

// Trace is an attempt that was made, or may have been made, without this ledger
// knowing: what was found on the network stands for it.
type Trace struct {
	ID          social.ID
	State       AttemptState // adopted or ambiguous
	Fingerprint string
	Evidence    Evidence
	Receipt     connectors.Receipt
	DecidedBy   string
}

// byRestore is who decided about the attempts of a gap.
const byRestore = "restore"

// listFresh is how long the listing of an account's posts serves all deliveries
// of the gap.
const listFresh = time.Minute

// listing is what an account has posted since the beginning of a gap.
type listing struct {
	since, at time.Time
	posts     []connectors.RemotePost
}

// shortSettles is how long after its time a post of a short gap may still appear.
const shortSettles = 5 * time.Minute

// mostListed bounds the posts of one listing: an account that has more since the
// beginning of a gap is looked through by a person.
const mostListed = 5000

// lookBack looks for a delivery of a gap, part by part.
func (t *task) lookBack(ctx context.Context, openErr error) {
	for t.lookBackOnce(ctx, openErr) {
	}
}

// lookBackOnce looks for the current part, and says whether the next one is to
// be looked for.
func (t *task) lookBackOnce(ctx context.Context, openErr error) bool {
	d, now := &t.Delivery, t.cfg.Now()
	settles := t.about.FindSettles
	if t.Gap.Short { // it goes out when it is not there: waiting longer would only make it late
		settles = min(settles, shortSettles)
	}
	s := Situation{
		Phase: PhaseGap, Tries: t.Gap.Tries, Adopting: t.Gap.Adopting, Renewed: t.isRenewed(),
		Settled: !now.Before(t.Gap.Planned.Add(t.about.SendTime + settles)),
	}
	err := openErr
	if err == nil && t.Account.Status != social.AccountConnected {
		err = &connectors.Error{Kind: connectors.Permission, Op: "look", Text: orElseText(t.Account.StatusReason, "the account is not connected")}
	}
	var found connectors.Finding
	var near []connectors.Candidate
	var fp string
	if err == nil {
		j := t.job()
		j.ArmedAt = t.Gap.Since
		fp = j.Fingerprint
		found, near, err = t.seek(ctx, j)
	}
	if err != nil && ctx.Err() != nil {
		t.giveBack()
		return false
	}
	if e := connectors.AsError(err); e != nil {
		s.Kind, s.RetryAfter, s.Frozen = e.Kind, e.RetryAfter, errors.Is(err, connectors.ErrFrozen)
	} else {
		s.Finding, s.Exact, s.Near = found.Kind, len(found.Candidates), len(near)
		if s.Finding != connectors.FoundPublished && s.Exact == 1 {
			found.Receipt = found.Candidates[0].Receipt
		}
	}
	v := Decide(s)
	t.log.Info("looked for a post of the gap", "part", d.Step, "finding", s.Finding, "exact", s.Exact, "near", s.Near, "kind", s.Kind, "err", err, "do", v.Do)
	if v.Renew {
		if t.renew(ctx, &v); v.Do == DoBlock {
			v.Do = DoGiveUp
		}
	}
	crash.Point("before-gap")
	gap := &GapChange{Quarantine: t.Gap.Quarantine, Tries: t.Gap.Tries, Seen: err == nil}
	trace := func(state AttemptState, ev Evidence) *Trace {
		return &Trace{ID: t.cfg.IDs.New(now), State: state, Fingerprint: fp, Evidence: ev, Receipt: found.Receipt, DecidedBy: byRestore}
	}
	switch v.Do {
	case DoAdopt:
		return t.takeUp(gap, trace(AttemptAdopted, Evidence{Text: "smi's records of this time were incomplete; the post was found on the network"}), found.Receipt)
	case DoAsk:
		ev := Evidence{Text: "smi's records of this time were incomplete; what may be the post was found on the network", Candidates: append(found.Candidates, near...)}
		gap.Outcome = social.GapAsked
		reason := "smi's records of that time are incomplete, and something very like it is on the network. Please look, and say: it is there, send it again, or drop it."
		if s.Exact > 1 {
			reason = "smi's records of that time are incomplete, and it seems to be on the network more than once. Please look, and say which one is it."
		}
		found.Receipt = connectors.Receipt{}
		t.restGap(social.NeedsHuman, "delivery_needs_human", reason, gap, trace(AttemptAmbiguous, ev))
	case DoHold:
		t.missing(gap)
	case DoGiveUp:
		gap.Outcome = social.GapUnlooked
		t.restGap(social.HeldLate, "delivery_held_late", fmt.Sprintf("smi's records of that time are incomplete, and it could not be looked up: %s Please look at %s whether it is there; then publish it now, plan it anew or skip it.",
			t.whyNot(err), orElseText(t.Account.URL, t.Account.Handle)), gap, nil)
	default: // DoCheck
		if v.After > 0 {
			gap.NextAt = now.Add(v.After)
		}
		if err != nil && s.Kind != connectors.RateLimited {
			gap.Tries++
		}
		t.keep(gap)
	}
	crash.Point("after-gap")
	return false
}

// whyNot is why something could not be looked up, as a sentence.
func (t *task) whyNot(err error) string {
	e := connectors.AsError(err)
	if e == nil {
		return "there is no answer."
	}
	if e.Kind == connectors.Unsupported {
		return fmt.Sprintf("%s shows smi no list of what was posted.", orElseText(t.about.Title, string(t.Account.Network)))
	}
	return said(e)
}

// seek asks the network for the current part: by its handle where one is kept
// and the handle says yes, else by what the account has posted. The candidates of
// the finding are the very same post and no other delivery's; near ones are like
// it.
func (t *task) seek(ctx context.Context, j *connectors.Job) (found connectors.Finding, near []connectors.Candidate, err error) {
	call, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if c := t.Checkpoint; c != nil && c.Class == connectors.Keyed {
		found, err := t.client.Find(call, j)
		if err != nil && connectors.KindOf(err) != connectors.Unsupported {
			return found, nil, err
		}
		if err == nil && found.Kind == connectors.FoundPublished {
			owned, err := t.cfg.Ledger.Owned(ctx, t.Account.ID, []string{found.Receipt.RemoteID})
			if err != nil || !owned[found.Receipt.RemoteID] {
				found.Candidates = nil
				return found, nil, err
			}
		}
	}
	all, err := t.candidates(ctx, j)
	if err != nil {
		return found, nil, err
	}
	found = connectors.Finding{Kind: connectors.FoundNothing}
	var ids []string
	for _, c := range all {
		ids = append(ids, c.Receipt.RemoteID)
	}
	owned, err := t.cfg.Ledger.Owned(ctx, t.Account.ID, ids)
	if err != nil {
		return found, nil, err
	}
	for _, c := range all {
		switch {
		case owned[c.Receipt.RemoteID]:
		case c.Fingerprint == j.Fingerprint:
			found.Candidates = append(found.Candidates, c)
		default:
			near = append(near, c)
		}
	}
	if len(found.Candidates) > 0 {
		found.Kind = connectors.FoundCandidates
	}
	return found, near, nil
}

// candidates are the posts since the beginning of the gap that are the current
// part or like it.
func (t *task) candidates(ctx context.Context, j *connectors.Job) ([]connectors.Candidate, error) {
	posts, err := t.listed(ctx)
	var all []connectors.Candidate
	if connectors.KindOf(err) == connectors.Unsupported {
		// It shows no list, but it may look a single post up.
		var f connectors.Finding
		if f, err = t.client.Find(ctx, j); err == nil && f.Kind != connectors.FoundCandidates && f.Kind != connectors.FoundNothing {
			err = &connectors.Error{Kind: connectors.Unsupported, Op: "list", Text: "only posts that were prepared here can be looked up"}
		}
		all = f.Candidates
	}
	if err != nil {
		return nil, err
	}
	kinds := fmt.Sprint(social.Kinds(j.Part.Media))
	for _, p := range posts {
		fp, similarity := t.client.Likeness(j.Part, p)
		all = append(all, connectors.Candidate{
			Receipt: p.Receipt, At: p.Receipt.PublishedAt, Excerpt: excerptOf(p.Text), Similarity: similarity,
			SameMedia: fmt.Sprint(p.Media) == kinds, Fingerprint: fp,
		})
	}
	return slices.DeleteFunc(all, func(c connectors.Candidate) bool {
		return c.Fingerprint != j.Fingerprint && (!c.SameMedia || c.Similarity < likeness)
	}), nil
}

// likeness is how much of their words two posts share that a person should see
// side by side.
const likeness = 0.9

// excerptOf is the beginning of a text.
func excerptOf(s string) string {
	const most = 120
	if r := []rune(social.NormalText(s)); len(r) > most {
		return string(r[:most]) + "…"
	}
	return social.NormalText(s)
}

// listed returns what the account has posted since the beginning of the gap. The
// deliveries of one account share a listing, so that fifty of them do not cost
// the network's patience.
func (t *task) listed(ctx context.Context) ([]connectors.RemotePost, error) {
	const clockSkew = 2 * time.Minute
	since := t.Gap.Since.Add(-clockSkew)
	now := t.cfg.Now()
	t.mu.Lock()
	l, ok := t.listings[t.Account.ID]
	t.mu.Unlock()
	if ok && l.since.Equal(since) && now.Sub(l.at) < listFresh {
		return l.posts, nil
	}
	l = listing{since: since, at: now}
	seen := map[string]bool{}
	for cursor := ""; ; {
		call, cancel := context.WithTimeout(ctx, time.Minute)
		page, err := t.client.List(call, since, cursor)
		cancel()
		if err != nil {
			return nil, err
		}
		for _, p := range page.Posts {
			if at := p.Receipt.PublishedAt; at.IsZero() || !at.Before(since) {
				l.posts = append(l.posts, p)
			}
		}
		if page.Next == "" {
			break
		}
		if seen[page.Next] || len(l.posts) > mostListed {
			return nil, &connectors.Error{Kind: connectors.Unsupported, Op: "list", Text: "the network's list of posts does not end"}
		}
		seen[page.Next] = true
		cursor = page.Next
	}
	t.mu.Lock()
	t.listings[t.Account.ID] = l
	t.mu.Unlock()
	return l.posts, nil
}

// gapStates are those of a delivery of a gap that is looked for.
var gapStates = append([]social.DeliveryState{social.HeldLate, social.Blocked}, publishingStates...)

// takeUp makes what was found the current part, and says whether there is a next
// one to look for.
func (t *task) takeUp(gap *GapChange, trace *Trace, r connectors.Receipt) bool {
	d := &t.Delivery
	if r.PublishedAt.IsZero() {
		r.PublishedAt = t.Gap.Planned
		trace.Receipt.PublishedAt = r.PublishedAt
	}
	more := d.Step+1 < len(d.Parts)
	m := Move{From: gapStates, To: social.Published, Release: true, Step: d.Step + 1, Gap: gap, Trace: trace, Reason: "Found on the network: it had been published before smi's records of that time were lost."}
	gap.Outcome = social.GapAdopted
	if d.Step == 0 {
		m.Body = &r
	}
	if more {
		m.To, m.Release, m.NextAt = social.Scheduled, false, t.cfg.Now()
		gap.Outcome, gap.NextAt, gap.Tries = social.GapPending, t.cfg.Now(), 0
	}
	if err := t.move(m); err != nil {
		if errors.Is(err, ErrRemoteTaken) { // another delivery took it a moment ago
			t.keep(&GapChange{Quarantine: gap.Quarantine, NextAt: t.cfg.Now().Add(time.Second), Tries: t.Gap.Tries})
		}
		return false
	}
	if t.Receipts == nil {
		t.Receipts = map[int]connectors.Receipt{}
	}
	t.Receipts[d.Step-1] = r
	t.Attempts, t.Checkpoint = nil, nil
	return more
}

// missing is called when the part is certainly not on the network.
func (t *task) missing(gap *GapChange) {
	d := &t.Delivery
	switch {
	case d.Cancel:
		gap.Outcome = social.GapReleased
		m := Move{From: gapStates, To: social.Cancelled, Release: true, Gap: gap, Reason: "Cancelled: smi looked for it on the network and did not find it."}
		if d.Step > 0 {
			m.To, m.Reason = social.Published, fmt.Sprintf("%d of %d parts are published; the rest was cancelled.", d.Step, len(d.Parts))
		}
		t.move(m) //nolint:errcheck // stale: not ours
	case t.Gap.Short:
		gap.Outcome = social.GapReleased
		t.keep(gap)
	default:
		gap.Outcome = social.GapMissing
		what := "it"
		if d.Step > 0 {
			what = fmt.Sprintf("part %d of %d", d.Step+1, len(d.Parts))
		}
		t.restGap(social.HeldLate, "delivery_held_late", fmt.Sprintf("smi's records of that time are incomplete. smi looked for %s at %s and did not find it; it was due %s. Publish it now, plan it anew or skip it.",
			what, orElseText(t.Account.URL, t.Account.Handle), t.Gap.Planned.UTC().Format("2006-01-02 15:04 UTC")), gap, nil)
	}
}

// keep leaves the delivery as it is, and notes what the look brought.
func (t *task) keep(gap *GapChange) {
	d := &t.Delivery
	m := Move{From: []social.DeliveryState{d.State}, To: d.State, Tries: d.Tries, NextAt: d.NextAt, Release: true, Reason: d.Reason, Gap: gap}
	if !d.State.Resting() {
		m.NextAt = orNow(d.NextAt, t.cfg.Now())
	}
	t.move(m) //nolint:errcheck // stale: not ours
}

// restGap leaves a delivery of the gap to people, and tells them.
func (t *task) restGap(to social.DeliveryState, kind, reason string, gap *GapChange, trace *Trace) {
	ripe := t.Gap.Planned.Add(t.about.SendTime + t.about.FindSettles)
	if !ripe.After(t.cfg.Now()) {
		ripe = time.Time{}
	}
	reason += t.patience(ripe)
	t.move(Move{ //nolint:errcheck // stale: others tell
		From: gapStates, To: to, Tries: t.Delivery.Tries, NextAt: ripe, Reason: reason, Release: true, Gap: gap, Trace: trace,
		Notice: &Notice{
			Kind: kind, Severity: "alarm", Delivery: t.Delivery.ID, Account: t.Account.ID,
			Text: fmt.Sprintf("%s on %s: %s", excerpt(t.Delivery.Parts), t.Account.Handle, reason),
		},
	})
}

// maxGapTries is how often a look at a delivery of a gap may fail before a person
// is asked.
const maxGapTries = 6

// longestGapWait is how long a limit of a network may keep an adoption waiting.
const longestGapWait = time.Hour

// decideGap judges a look at a delivery of which the ledger may have lost what
// happened. Without an attempt of its own there is nothing to send again: what
// is there is adopted, and about the rest a person is asked. DoCheck without a
// time waits until the instance is adopted.
func decideGap(s Situation) Verdict {
	switch s.Kind {
	case "":
	case connectors.RateLimited:
		if s.Adopting && s.RetryAfter > longestGapWait { // all others wait for it
			return Verdict{Do: DoGiveUp}
		}
		return Verdict{Do: DoCheck, After: limitWait(s.RetryAfter)}
	case connectors.Transient, connectors.Ambiguous, connectors.Unknown, connectors.Invalid:
		switch {
		case s.Frozen: // its login is not renewed before that
			return Verdict{Do: DoCheck}
		case s.Tries+1 < maxGapTries:
			return Verdict{Do: DoCheck, After: max(lookAfter[min(s.Tries, len(lookAfter)-1)], min(s.RetryAfter, 15*time.Minute))}
		case !s.Adopting:
			return Verdict{Do: DoCheck}
		}
		return Verdict{Do: DoGiveUp}
	case connectors.AuthExpired:
		switch {
		case !s.Adopting:
			return Verdict{Do: DoCheck}
		case s.Renewed || s.Tries+1 >= maxGapTries:
			return Verdict{Do: DoGiveUp}
		}
		return Verdict{Do: DoCheck, After: time.Second, Renew: true}
	case connectors.Permission, connectors.Permanent, connectors.Unsupported:
		if !s.Adopting { // a person may connect it before
			return Verdict{Do: DoCheck}
		}
		return Verdict{Do: DoGiveUp}
	}
	switch {
	case s.Finding == connectors.FoundPublished || s.Exact == 1:
		return Verdict{Do: DoAdopt}
	case s.Exact > 1 || s.Near > 0:
		return Verdict{Do: DoAsk}
	case !s.Adopting: // the live instance may still publish it
		return Verdict{Do: DoCheck}
	case !s.Settled:
		return Verdict{Do: DoCheck, After: time.Minute}
	}
	return Verdict{Do: DoHold}
}
