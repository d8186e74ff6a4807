package credentials

import (
	"hash/fnv"
	"time"

	"smi/connectors"
	"smi/internal/social"
)

// The times of the state machine.
const (
	leaseTime   = time.Minute      // how long a node may hold a refresh
	callTime    = 30 * time.Second // of one call; well below leaseTime, so that nothing is written after the lease
	saveTime    = 10 * time.Second // for storing an outcome
	proofTime   = time.Minute      // between the two refusals that disconnect an account
	waitTime    = 20 * time.Second // how long a caller waits for a refresh it needs
	waitValid   = 5 * time.Second  // how long if the old token is still good
	pollTime    = 250 * time.Millisecond
	skew        = 30 * time.Second    // a token this near its end is not lent any more
	lastMoves   = 10 * time.Minute    // a refresh must not wait longer than this before the end
	keepOld     = 24 * time.Hour      // how long the former generation is kept
	longLife    = 14 * 24 * time.Hour // tokens that live longer are refreshed weekly
	longestWait = 24 * time.Hour      // because the network said so
	lostAgain   = 30 * time.Second    // after a lost answer, where the old refresh token stays good
)

// dueAt says when a grant issued now should be refreshed: at 60 % of its life
// give or take 10 % of that (so that accounts connected together do not refresh
// together), ten minutes before the end at the latest, weekly if it lives long.
// A short-lived one keeps 30 % of its life instead of ten minutes. Zero: never,
// because it does not end, or cannot be refreshed.
func dueAt(account social.ID, g connectors.Grant, now time.Time) time.Time {
	end := g.Expires
	if end.IsZero() {
		end = g.RefreshExpires
	}
	if spent(g, now) {
		return time.Time{} // what is to be told of its end is told by Ends
	}
	if end.IsZero() {
		return time.Time{}
	}
	life := end.Sub(now)
	if life <= 0 {
		return now
	}
	at := life / 10 * 6
	if life > longLife {
		at = min(at, 7*24*time.Hour)
	}
	at += time.Duration(float64(at) * 0.1 * jitter(account))
	at = min(at, life-min(lastMoves, life/10*3))
	// Not in the last hour: where a refresh does not prolong this, that would
	// come to a refresh each second.
	if left := g.RefreshExpires.Sub(now); !g.RefreshExpires.IsZero() && left > time.Hour {
		at = min(at, left/10*6)
	}
	return now.Add(at)
}

// spent says whether a grant can no longer be renewed. Its access token is used
// to its end.
func spent(g connectors.Grant, now time.Time) bool {
	return g.Refresh.Empty() || !g.RefreshExpires.IsZero() && !now.Before(g.RefreshExpires)
}

// jitter is a number from -1 to 1 that is the account's own.
func jitter(account social.ID) float64 {
	h := fnv.New32a()
	h.Write([]byte(account.String())) //nolint:errcheck // a hash never fails
	return float64(h.Sum32()%2001)/1000 - 1
}

// usable says whether the access token of a row can still be lent.
func usable(r Row, now time.Time) bool { return r.Expires.IsZero() || now.Before(r.Expires.Add(-skew)) }

// retryAt is when to try again after the n-th failure that said nothing about
// the grant: 30 s, doubling to 15 minutes, sooner towards the end of the access
// token so that two more tries fit, and every minute after it. The network's
// own word on when (after) is kept, for a day at most.
func retryAt(r Row, n int, after time.Duration, now time.Time) time.Time {
	d := 30 * time.Second << min(n-1, 5)
	d = min(d, 15*time.Minute)
	if !r.Expires.IsZero() {
		left := r.Expires.Sub(now)
		if left <= 0 {
			d = min(d, time.Minute)
		} else {
			d = min(d, max(15*time.Second, left/3))
		}
	}
	return now.Add(max(d, min(after, longestWait)))
}

// unknownAt is when to try the old refresh token again after its answer was
// lost. Where tokens rotate, a second use may kill what still works, so it waits
// until little can be lost: ten minutes before the access token ends. Zero: not
// by itself, because nothing says when it ends; a refused call will ask for it.
func unknownAt(r Row, now time.Time) time.Time {
	first := now.Add(lostAgain)
	switch {
	case !r.Rotates:
		return first
	case r.Expires.IsZero():
		return time.Time{}
	}
	if at := r.Expires.Add(-lastMoves); at.After(first) {
		return at
	}
	return first
}
