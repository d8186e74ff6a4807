package model

import (
	"slices"
	"time"

	"smi/connectors"
	"smi/scheduler"
)

// outcome is what Decide says of something that happened, as far as it matters
// here: times are left out, because in the model every time can pass.
type outcome struct {
	do      scheduler.Do
	attempt scheduler.AttemptState
	pending bool // accepted, to be looked for
	sure    bool // of a look: it was made when nothing could appear any more
}

var kinds = []connectors.Kind{
	"", connectors.AuthExpired, connectors.Permission, connectors.RateLimited, connectors.Invalid, connectors.Unsupported,
	connectors.Transient, connectors.Permanent, connectors.Ambiguous, connectors.Unknown,
}

// table holds each outcome once; a state keeps its place in it.
type table struct {
	all []outcome
}

func (t *table) place(o outcome) uint8 {
	if i := slices.Index(t.all, o); i >= 0 {
		return uint8(i)
	}
	t.all = append(t.all, o)
	return uint8(len(t.all) - 1)
}

// ask collects what Decide can answer to a situation, whatever the number of
// tries and looks before and the login's renewals.
func (t *table) ask(s scheduler.Situation, sure bool, ks ...connectors.Kind) []uint8 {
	var out []uint8
	for _, k := range ks {
		for n := range 8 {
			for _, renewed := range []bool{false, true} {
				s.Kind, s.Tries, s.Polls, s.Renewed, s.RetryAfter = k, n, n, renewed, time.Duration(n)*time.Second
				v := scheduler.Decide(s)
				if p := t.place(outcome{do: v.Do, attempt: v.Attempt, sure: sure}); !slices.Contains(out, p) {
					out = append(out, p)
				}
			}
		}
	}
	return out
}

// verdicts are all outcomes, by where they come from.
type verdicts struct {
	table
	before   []uint8 // of preparing and dialling, failures
	success  uint8
	pending  uint8
	unclear  []uint8 // some bytes were written and no answer can be trusted
	notSent  []uint8 // not one byte was written
	refused  []uint8 // a complete answer that says no
	findFail [2][]uint8
	find     map[look][]uint8
}

// look is what decides about a look at the network.
type look struct {
	class   connectors.Class
	finding connectors.FindingKind
	exact   int
	settled bool
}

var classes = []connectors.Class{connectors.Unkeyed, connectors.Keyed}

func newVerdicts() *verdicts {
	v := &verdicts{find: map[look][]uint8{}}
	failures := kinds[1:]
	v.before = v.ask(scheduler.Situation{Phase: scheduler.PhasePrepare}, false, failures...)
	for _, p := range v.ask(scheduler.Situation{Phase: scheduler.PhaseDial}, false, failures...) {
		if !slices.Contains(v.before, p) {
			v.before = append(v.before, p)
		}
	}
	v.success = v.ask(scheduler.Situation{Phase: scheduler.PhaseCommit, Reach: connectors.ReachAnswered}, false, "")[0]
	ok := v.all[v.success]
	ok.pending = true
	v.pending = v.place(ok)
	v.unclear = v.ask(scheduler.Situation{Phase: scheduler.PhaseCommit, Reach: connectors.ReachWritten}, false, failures...)
	for _, p := range v.ask(scheduler.Situation{Phase: scheduler.PhaseCommit, Reach: connectors.ReachAnswered}, false, connectors.Ambiguous, connectors.Unknown) {
		if !slices.Contains(v.unclear, p) {
			v.unclear = append(v.unclear, p)
		}
	}
	definite := slices.DeleteFunc(slices.Clone(failures), func(k connectors.Kind) bool { return k == connectors.Ambiguous || k == connectors.Unknown })
	v.notSent = v.ask(scheduler.Situation{Phase: scheduler.PhaseCommit, Reach: connectors.ReachNothing}, false, definite...)
	v.refused = v.ask(scheduler.Situation{Phase: scheduler.PhaseCommit, Reach: connectors.ReachAnswered}, false, definite...)
	for _, class := range classes {
		for _, settled := range []bool{false, true} {
			s := scheduler.Situation{Phase: scheduler.PhaseFind, Class: class, Settled: settled}
			i := 0
			if settled {
				i = 1
			}
			for _, p := range v.ask(s, settled, failures...) {
				if !slices.Contains(v.findFail[i], p) {
					v.findFail[i] = append(v.findFail[i], p)
				}
			}
			for _, f := range []connectors.FindingKind{connectors.FoundPublished, connectors.FoundHandleGood, connectors.FoundHandleDead, connectors.FoundNothing, connectors.FoundCandidates} {
				for exact := range 4 {
					s.Finding, s.Exact = f, exact
					v.find[look{class, f, exact, settled}] = v.ask(s, settled, "")
				}
			}
		}
	}
	return v
}
