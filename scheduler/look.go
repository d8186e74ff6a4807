package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"smi/connectors"
	"smi/internal/crash"
	"smi/internal/social"
)

// open returns the attempt of the current part that nobody has decided yet.
func (t *task) open() *Attempt {
	for i := range t.Attempts {
		if s := t.Attempts[i].State; s == AttemptArmed || s == AttemptAmbiguous {
			return &t.Attempts[i]
		}
	}
	return nil
}

// takeOver turns an armed attempt of a node that is gone into an ambiguous one.
// It is never sent by anybody else.
func (t *task) takeOver(ctx context.Context, openErr error) {
	a := t.open()
	if a == nil {
		t.lost()
		return
	}
	if t.cfg.Now().Before(a.TakeoverAt) {
		t.move(Move{From: []social.DeliveryState{social.Armed}, To: social.Armed, Tries: t.Delivery.Tries, NextAt: a.TakeoverAt, Release: true, Reason: t.Delivery.Reason}) //nolint:errcheck // stale: not ours
		return
	}
	ev := a.Evidence
	ev.Text = fmt.Sprintf("node %s did not say what became of it", a.Node)
	err := t.move(Move{
		From: []social.DeliveryState{social.Armed}, To: social.Ambiguous, Tries: t.Delivery.Tries, NextAt: t.cfg.Now(),
		Reason:  "smi stopped while it was being sent: it is looking for the post.",
		Attempt: &AttemptChange{ID: a.ID, State: AttemptAmbiguous, Evidence: ev, DecidedBy: "takeover"},
	})
	if err == nil {
		a.State, a.Evidence = AttemptAmbiguous, ev
		t.look(ctx, openErr)
	}
}

// lost is a delivery whose state says that an attempt is open when none is: it
// cannot be, and a person is told.
func (t *task) lost() {
	t.log.Error("the delivery has no open attempt although its state says so")
	t.rest(social.NeedsHuman, "delivery_needs_human", "alarm", "smi's records of this post do not fit together; please look whether it is on the network.", nil)
}

// look asks the network whether an ambiguous attempt happened.
func (t *task) look(ctx context.Context, openErr error) {
	a := t.open()
	if a == nil {
		t.lost()
		return
	}
	if t.ask(ctx, a, openErr) {
		t.giveBack() // the next part is claimed like any other
	}
}

// doubt returns the newest attempt of the part that its handle called absent
// when it could still take effect, nil if there is none, and when it no longer
// can. Until the network was asked again after that, the post may be there.
// Sending the same handle once more is safe all the same; calling it cancelled,
// failed or late is not, and neither is making a new handle for another text.
func (t *task) doubt() (*Attempt, time.Time) {
	for i := len(t.Attempts) - 1; i >= 0; i-- {
		if a := &t.Attempts[i]; a.Early {
			return a, a.SendBy.Add(t.about.FindSettles)
		}
	}
	return nil, time.Time{}
}

// ask looks for an attempt, which is ambiguous or was called absent too early,
// and writes down what that says of it. It returns whether the part was found
// and another follows; the claim is then still ours.
func (t *task) ask(ctx context.Context, a *Attempt, openErr error) bool {
	d, now := &t.Delivery, t.cfg.Now()
	from, stay := publishingStates, social.Waiting
	if d.State == social.Ambiguous {
		from, stay = []social.DeliveryState{social.Ambiguous}, social.Ambiguous
	}
	s := Situation{Phase: PhaseFind, Class: a.Class, Polls: a.Polls, Settled: !now.Before(a.SendBy.Add(t.about.FindSettles))}
	var found connectors.Finding
	err := openErr
	if err == nil {
		j := t.job()
		j.Attempt, j.ArmedAt = a.N, a.ArmedAt
		call, cancel := context.WithTimeout(ctx, time.Minute)
		found, err = t.client.Find(call, j)
		cancel()
	}
	if err != nil && ctx.Err() != nil {
		t.giveBack()
		return false
	}
	if errors.Is(err, connectors.ErrFrozen) { // it is looked for when its login may be renewed
		t.move(Move{From: from, To: stay, NextAt: now.Add(frozenWait), Tries: d.Tries, Release: true, Reason: d.Reason}) //nolint:errcheck // stale: not ours
		return false
	}
	change := &AttemptChange{ID: a.ID, State: a.State, Early: a.Early, Evidence: a.Evidence, Polls: a.Polls + 1, DecidedBy: a.DecidedBy}
	if e := connectors.AsError(err); e != nil {
		s.Kind, s.RetryAfter = e.Kind, e.RetryAfter
		t.log.Warn("looking for a post failed", "kind", e.Kind, "err", err)
	} else {
		s.Finding = found.Kind
		var exact []connectors.Candidate
		exact, change.Evidence.Candidates = t.sift(a, found.Candidates)
		s.Exact = len(exact)
		if s.Exact == 1 {
			found.Receipt = exact[0].Receipt
		}
	}
	v := Decide(s)
	t.log.Info("looked for a post", "finding", s.Finding, "exact", s.Exact, "polls", change.Polls, "settled", s.Settled, "do", v.Do)
	crash.Point("before-adopt")
	switch v.Do {
	case DoAdopt:
		change.State, change.Early, change.Receipt, change.DecidedBy = AttemptAdopted, false, found.Receipt, by(s.Finding)
		change.Evidence.Candidates = nil
		more := t.done(from, change, found.Receipt)
		crash.Point("after-adopt")
		return more
	case DoRetry, DoFresh:
		change.State, change.DecidedBy, change.Early = v.Attempt, "handle", !s.Settled
		t.move(Move{From: from, To: social.Waiting, NextAt: now.Add(v.After), Tries: d.Tries + 1, Release: true, Attempt: change, //nolint:errcheck // stale: not ours
			DropCheckpoint: v.Do == DoFresh, Reason: "The network says that it did not happen; smi publishes it now."})
	case DoCheck:
		t.move(Move{From: from, To: stay, NextAt: now.Add(v.After), Tries: d.Tries, Release: true, Attempt: change, Reason: d.Reason}) //nolint:errcheck // stale: not ours
	default:
		change.DecidedBy = a.DecidedBy
		t.rest(social.NeedsHuman, "delivery_needs_human", "alarm", t.question(s, change.Evidence.Candidates), change)
	}
	return false
}

// frozenWait is how long a look waits whose login may not be renewed.
const frozenWait = 10 * time.Minute

func by(f connectors.FindingKind) string {
	if f == connectors.FoundCandidates {
		return "listing"
	}
	return "handle"
}

// sift parts candidates into those that are the very same post, made after the
// attempt was armed, and those that are near enough to show to a person.
func (t *task) sift(a *Attempt, all []connectors.Candidate) (exact, near []connectors.Candidate) {
	const clockSkew = 2 * time.Minute
	for _, c := range all {
		switch {
		case c.At.Before(a.ArmedAt.Add(-clockSkew)):
		case c.Fingerprint == a.Fingerprint:
			exact = append(exact, c)
		case c.SameMedia && c.Similarity >= 0.9:
			near = append(near, c)
		}
	}
	if len(exact) > 1 {
		near = append(exact, near...)
	}
	return exact, near
}

// question is what a person is asked.
func (t *task) question(s Situation, near []connectors.Candidate) string {
	switch {
	case s.Exact > 1:
		return "it seems to be there more than once. Please look, and say which one is it."
	case len(near) > 0:
		return "smi cannot tell whether it was published, but found something very like it. Please look, and say: it is there, send it again, or drop it."
	case s.Kind == connectors.Unsupported:
		return fmt.Sprintf("%s does not let smi look whether it was published. Please look at %s, and say: it is there, send it again, or drop it.", t.about.Title, orElseText(t.Account.URL, t.Account.Handle))
	}
	return fmt.Sprintf("smi looked for it for a while and did not find it. Please look at %s, and say: it is there, send it again, or drop it.", orElseText(t.Account.URL, t.Account.Handle))
}
