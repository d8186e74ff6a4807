package scheduler

import (
	"time"

	"smi/connectors"
)

// Phase is where in the life of a part something happened.
type Phase string

// The phases.
const (
	PhasePrepare Phase = "prepare"
	PhaseDial    Phase = "dial"
	PhaseCommit  Phase = "commit"
	PhaseFind    Phase = "find"
	PhaseGap     Phase = "gap" // a look at what the ledger may have lost
)

// Situation is everything Decide may look at.
type Situation struct {
	Phase      Phase
	Kind       connectors.Kind // "" for success
	RetryAfter time.Duration   // what the network asked for
	Tries      int             // passing failures before this one
	// Renewed says that the login which was refused had been renewed shortly
	// before, because the one before it was refused too.
	Renewed bool
	// For PhaseCommit: how far the request went.
	Reach connectors.Reach
	// For PhaseFind.
	Class   connectors.Class
	Finding connectors.FindingKind // when Kind is ""
	Exact   int                    // candidates with the very same fingerprint, not known as another post of ours
	Polls   int                    // looks before this one
	Settled bool                   // long enough after SendBy that the post would show
	// For PhaseGap, with Finding, Exact and Settled.
	Near     int  // candidates that are like it
	Adopting bool // nobody else publishes any more
	Frozen   bool // the login may not be renewed at the moment
}

// Do is what to do next.
type Do string

// What Decide may answer.
const (
	DoProceed Do = "proceed" // it is done: the next part, or published
	DoRetry   Do = "retry"   // certainly not done: prepare again and make a new attempt after After
	DoWait    Do = "wait"    // a limit: the same after After, and it does not count as a try
	DoBlock   Do = "block"   // the account cannot be used until somebody acts
	DoFail    Do = "fail"    // refused: nothing is there and nothing will be
	DoCheck   Do = "check"   // unknown: look after After
	DoAdopt   Do = "adopt"   // found: it is ours
	DoFresh   Do = "fresh"   // certainly not done and the handle is dead: begin the part anew
	DoAsk     Do = "ask"     // only a person can say
	DoHold    Do = "hold"    // it is not there, and a person says whether it is still wanted
	DoGiveUp  Do = "give_up" // it cannot be looked up; a person says whether it is wanted
)

// Verdict is Decide's answer. Attempt is what becomes of the open attempt, ""
// where there is none or it stays as it is.
type Verdict struct {
	Do      Do
	After   time.Duration
	Attempt AttemptState
	Renew   bool // get a new token before the next attempt
}

// lookAfter is the schedule of looks after an unclear outcome.
var lookAfter = []time.Duration{5 * time.Second, 15 * time.Second, 45 * time.Second, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute}

// Looks is how many looks smi takes before it asks a person.
const Looks = 6

// maxUnknown is how often an unclassified failure before a commit is tried again.
const maxUnknown = 3

// Decide says what an outcome means. It is the only place that compares kinds,
// it is pure, and it never answers DoRetry or DoFresh to a commit that may have
// happened.
func Decide(s Situation) Verdict {
	switch s.Phase {
	case PhasePrepare, PhaseDial:
		return decideBefore(s)
	case PhaseCommit:
		return decideCommit(s)
	case PhaseFind:
		return decideFind(s)
	case PhaseGap:
		return decideGap(s)
	}
	return Verdict{Do: DoAsk}
}

// decideBefore judges what happened before anything could become visible.
func decideBefore(s Situation) Verdict {
	switch s.Kind {
	case "":
		return Verdict{Do: DoProceed}
	case connectors.AuthExpired:
		if s.Renewed {
			return Verdict{Do: DoBlock}
		}
		return Verdict{Do: DoRetry, After: time.Second, Renew: true}
	case connectors.Permission, connectors.Permanent:
		return Verdict{Do: DoBlock}
	case connectors.RateLimited:
		return Verdict{Do: DoWait, After: limitWait(s.RetryAfter)}
	case connectors.Invalid, connectors.Unsupported:
		return Verdict{Do: DoFail}
	case connectors.Transient, connectors.Ambiguous:
		return Verdict{Do: DoRetry, After: backOff(s)}
	case connectors.Unknown:
		if s.Tries >= maxUnknown {
			return Verdict{Do: DoFail}
		}
		return Verdict{Do: DoRetry, After: backOff(s)}
	}
	return Verdict{Do: DoAsk}
}

// decideCommit judges the one call that makes it public. Only a complete
// refusal, or not one byte written, lets it be tried again.
func decideCommit(s Situation) Verdict {
	if s.Kind == "" {
		return Verdict{Do: DoProceed, Attempt: AttemptOK}
	}
	check := Verdict{Do: DoCheck, After: lookAfter[0], Attempt: AttemptAmbiguous}
	if s.Kind == connectors.Ambiguous || s.Kind == connectors.Unknown || s.Reach == connectors.ReachWritten {
		return check
	}
	attempt := AttemptRejected
	if s.Reach == connectors.ReachNothing {
		attempt = AttemptNotSent
	}
	switch s.Kind {
	case connectors.Transient:
		after := backOff(s)
		if attempt == AttemptRejected && s.Tries == 0 {
			after = 0 // the network said why at once (a stale nonce): it is put right at once
		}
		return Verdict{Do: DoRetry, After: after, Attempt: attempt}
	case connectors.AuthExpired:
		if s.Renewed {
			return Verdict{Do: DoBlock, Attempt: attempt}
		}
		return Verdict{Do: DoRetry, After: min(time.Duration(s.Tries), 1) * time.Second, Attempt: attempt, Renew: true}
	case connectors.RateLimited:
		return Verdict{Do: DoWait, After: limitWait(s.RetryAfter), Attempt: attempt}
	case connectors.Permission, connectors.Permanent:
		return Verdict{Do: DoBlock, Attempt: attempt}
	case connectors.Invalid, connectors.Unsupported:
		return Verdict{Do: DoFail, Attempt: attempt}
	case connectors.Ambiguous, connectors.Unknown:
	}
	return check
}

// decideFind judges a look at the network after an unclear outcome.
func decideFind(s Situation) Verdict {
	next := lookAfter[min(s.Polls+1, len(lookAfter)-1)]
	exhausted := s.Polls+1 >= Looks && s.Settled
	again := Verdict{Do: DoCheck, After: next}
	if exhausted {
		again = Verdict{Do: DoAsk}
	}
	switch s.Kind {
	case "":
	case connectors.RateLimited:
		return Verdict{Do: DoCheck, After: max(next, min(s.RetryAfter, longestWait))}
	case connectors.Unsupported:
		return Verdict{Do: DoAsk}
	case connectors.AuthExpired, connectors.Permission, connectors.Permanent:
		// It cannot be looked up any more; a person can look.
		return again
	case connectors.Transient, connectors.Invalid, connectors.Ambiguous, connectors.Unknown:
		return again
	}
	switch s.Finding {
	case connectors.FoundPublished:
		return Verdict{Do: DoAdopt, Attempt: AttemptAdopted}
	case connectors.FoundHandleGood:
		if s.Class == connectors.Keyed {
			return Verdict{Do: DoRetry, Attempt: AttemptAbsentByHandle}
		}
		return again
	case connectors.FoundHandleDead:
		// Right after a lost answer the request may still be on its way.
		if s.Class == connectors.Keyed && s.Settled {
			return Verdict{Do: DoFresh, Attempt: AttemptAbsentByHandle}
		}
		if s.Class == connectors.Keyed {
			return Verdict{Do: DoCheck, After: next}
		}
		return again
	case connectors.FoundCandidates:
		switch {
		case s.Exact == 1:
			return Verdict{Do: DoAdopt, Attempt: AttemptAdopted}
		case s.Exact > 1:
			return Verdict{Do: DoAsk}
		}
		return again
	case connectors.FoundNothing:
		return again
	}
	return again
}

// limitWait is how long to wait for a limit: what the network said, within
// reason; a minute if it said nothing.
func limitWait(said time.Duration) time.Duration {
	if said <= 0 {
		return time.Minute
	}
	return min(max(said, time.Second), longestWait)
}

// longestWait is how long smi waits at most because a network said so: networks
// have been seen to ask for 10⁹ seconds.
const longestWait = 24 * time.Hour

// backOff grows 2 s, 10 s, 1 min, 5 min. Jitter is the dispatcher's.
func backOff(s Situation) time.Duration {
	steps := []time.Duration{2 * time.Second, 10 * time.Second, time.Minute, 5 * time.Minute}
	return max(steps[min(s.Tries, len(steps)-1)], min(s.RetryAfter, time.Hour))
}
