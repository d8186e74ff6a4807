package scheduler

import (
	"testing"
	"time"

	"smi/connectors"
)

// Every kind in every phase, spelt out: a new kind or a changed answer must
// show up here.
func TestDecideBeforeCommit(t *testing.T) {
	t.Parallel()
	want := map[connectors.Kind]Do{
		"":                     DoProceed,
		connectors.AuthExpired: DoRetry,
		connectors.Permission:  DoBlock,
		connectors.RateLimited: DoWait,
		connectors.Transient:   DoRetry,
		connectors.Invalid:     DoFail,
		connectors.Ambiguous:   DoRetry, // preparations may be repeated
		connectors.Unsupported: DoFail,
		connectors.Permanent:   DoBlock,
		connectors.Unknown:     DoRetry,
	}
	if len(want) != len(connectors.Kinds)+1 {
		t.Fatalf("the table has %d kinds, connectors has %d", len(want)-1, len(connectors.Kinds))
	}
	for _, phase := range []Phase{PhasePrepare, PhaseDial} {
		for kind, do := range want {
			v := Decide(Situation{Phase: phase, Kind: kind})
			if v.Do != do || v.Attempt != "" {
				t.Errorf("%s %q: got %+v, want %s and no attempt", phase, kind, v, do)
			}
			if v.Do == DoRetry && v.After <= 0 {
				t.Errorf("%s %q: retries without a pause", phase, kind)
			}
		}
	}
	for _, phase := range []Phase{PhasePrepare, PhaseDial, PhaseCommit} {
		s := Situation{Phase: phase, Kind: connectors.AuthExpired, Reach: connectors.ReachAnswered, Tries: 5}
		if v := Decide(s); v.Do != DoRetry || !v.Renew {
			t.Errorf("%s: a token that ended during an outage: got %+v, want %s with a renewal", phase, v, DoRetry)
		}
		s.Renewed = true
		if v := Decide(s); v.Do != DoBlock {
			t.Errorf("%s: a dead token after a renewal: got %s, want %s", phase, v.Do, DoBlock)
		}
	}
	if v := Decide(Situation{Phase: PhasePrepare, Kind: connectors.Unknown, Tries: maxUnknown}); v.Do != DoFail {
		t.Errorf("an unknown failure for the fourth time: got %s, want %s", v.Do, DoFail)
	}
}

func TestDecideCommit(t *testing.T) {
	t.Parallel()
	type row struct {
		kind    connectors.Kind
		reach   connectors.Reach
		do      Do
		attempt AttemptState
	}
	const nothing, written, answered = connectors.ReachNothing, connectors.ReachWritten, connectors.ReachAnswered
	rows := []row{{"", answered, DoProceed, AttemptOK}}
	// Bytes on the wire without a complete answer: always unknown.
	for _, k := range connectors.Kinds {
		rows = append(rows, row{k, written, DoCheck, AttemptAmbiguous})
	}
	for reach, attempt := range map[connectors.Reach]AttemptState{nothing: AttemptNotSent, answered: AttemptRejected} {
		rows = append(rows,
			row{connectors.AuthExpired, reach, DoRetry, attempt},
			row{connectors.Permission, reach, DoBlock, attempt},
			row{connectors.RateLimited, reach, DoWait, attempt},
			row{connectors.Transient, reach, DoRetry, attempt},
			row{connectors.Invalid, reach, DoFail, attempt},
			row{connectors.Unsupported, reach, DoFail, attempt},
			row{connectors.Permanent, reach, DoBlock, attempt},
			row{connectors.Ambiguous, reach, DoCheck, AttemptAmbiguous},
			row{connectors.Unknown, reach, DoCheck, AttemptAmbiguous},
		)
	}
	if want := 1 + 3*len(connectors.Kinds); len(rows) != want {
		t.Fatalf("the table has %d rows, want %d", len(rows), want)
	}
	for _, r := range rows {
		v := Decide(Situation{Phase: PhaseCommit, Kind: r.kind, Reach: r.reach})
		if v.Do != r.do || v.Attempt != r.attempt {
			t.Errorf("commit %q, %s: got %s/%s, want %s/%s", r.kind, r.reach, v.Do, v.Attempt, r.do, r.attempt)
		}
	}
}

func TestDecideFind(t *testing.T) {
	t.Parallel()
	const last = Looks - 1
	keyed, unkeyed := connectors.Keyed, connectors.Unkeyed
	for name, c := range map[string]struct {
		s       Situation
		do      Do
		attempt AttemptState
	}{
		"there":                            {Situation{Class: unkeyed, Finding: connectors.FoundPublished}, DoAdopt, AttemptAdopted},
		"handle good":                      {Situation{Class: keyed, Finding: connectors.FoundHandleGood}, DoRetry, AttemptAbsentByHandle},
		"handle good, but unkeyed":         {Situation{Class: unkeyed, Finding: connectors.FoundHandleGood}, DoCheck, ""},
		"handle dead, too early":           {Situation{Class: keyed, Finding: connectors.FoundHandleDead}, DoCheck, ""},
		"handle dead, many looks, early":   {Situation{Class: keyed, Finding: connectors.FoundHandleDead, Polls: 50}, DoCheck, ""},
		"handle dead, settled":             {Situation{Class: keyed, Finding: connectors.FoundHandleDead, Settled: true}, DoFresh, AttemptAbsentByHandle},
		"handle dead, unkeyed, settled":    {Situation{Class: unkeyed, Finding: connectors.FoundHandleDead, Settled: true}, DoCheck, ""},
		"one exact":                        {Situation{Class: unkeyed, Finding: connectors.FoundCandidates, Exact: 1}, DoAdopt, AttemptAdopted},
		"two exact":                        {Situation{Class: unkeyed, Finding: connectors.FoundCandidates, Exact: 2}, DoAsk, ""},
		"only near ones":                   {Situation{Class: unkeyed, Finding: connectors.FoundCandidates}, DoCheck, ""},
		"only near ones, at the end":       {Situation{Class: unkeyed, Finding: connectors.FoundCandidates, Polls: last, Settled: true}, DoAsk, ""},
		"not seen":                         {Situation{Class: unkeyed, Finding: connectors.FoundNothing}, DoCheck, ""},
		"not seen, settled, looks left":    {Situation{Class: unkeyed, Finding: connectors.FoundNothing, Settled: true}, DoCheck, ""},
		"not seen, no looks left, early":   {Situation{Class: unkeyed, Finding: connectors.FoundNothing, Polls: 50}, DoCheck, ""},
		"not seen, no looks left, settled": {Situation{Class: unkeyed, Finding: connectors.FoundNothing, Polls: last, Settled: true}, DoAsk, ""},
		"cannot look":                      {Situation{Class: unkeyed, Kind: connectors.Unsupported}, DoAsk, ""},
		"look failed":                      {Situation{Class: unkeyed, Kind: connectors.Transient}, DoCheck, ""},
		"look failed to the end":           {Situation{Class: unkeyed, Kind: connectors.Transient, Polls: last, Settled: true}, DoAsk, ""},
		"look is limited, at the end":      {Situation{Class: unkeyed, Kind: connectors.RateLimited, Polls: last, Settled: true}, DoCheck, ""},
		"token dead":                       {Situation{Class: unkeyed, Kind: connectors.AuthExpired}, DoCheck, ""},
	} {
		c.s.Phase = PhaseFind
		if v := Decide(c.s); v.Do != c.do || v.Attempt != c.attempt {
			t.Errorf("%s: got %s/%q, want %s/%q", name, v.Do, v.Attempt, c.do, c.attempt)
		}
	}
	// A network that asks for 31 years is asked again tomorrow.
	s := Situation{Phase: PhaseFind, Kind: connectors.RateLimited, RetryAfter: 1_000_000_000 * time.Second}
	if v := Decide(s); v.After > 24*time.Hour {
		t.Errorf("the next look is in %s", v.After)
	}
}

// Whatever happens, a commit of which bytes were written is not tried again,
// and no look sends an unkeyed commit again.
func FuzzDecideNeverResends(f *testing.F) {
	f.Add("commit", "transient", "written", "unkeyed", "not_seen", 3, 2, 1, true)
	f.Add("find", "", "written", "unkeyed", "handle_dead", 0, 9, 0, true)
	f.Add("commit", "nonsense", "answered", "keyed", "", 0, 0, 0, false)
	f.Fuzz(func(t *testing.T, phase, kind, reach, class, finding string, tries, polls, exact int, settled bool) {
		s := Situation{
			Phase: Phase(phase), Kind: connectors.Kind(kind), Reach: connectors.Reach(reach), Class: connectors.Class(class),
			Finding: connectors.FindingKind(finding), Tries: max(0, tries), Polls: max(0, polls), Exact: max(0, exact), Settled: settled, RetryAfter: time.Duration(tries),
		}
		v := Decide(s)
		sends := v.Do == DoRetry || v.Do == DoFresh || v.Do == DoWait
		switch {
		case v.Do == "":
			t.Errorf("%+v: no answer", s)
		case s.Phase == PhaseCommit && sends && (s.Reach == connectors.ReachWritten || s.Kind == connectors.Ambiguous || s.Kind == connectors.Unknown):
			t.Errorf("%+v: %s would send again", s, v.Do)
		case s.Phase == PhaseFind && sends && s.Class != connectors.Keyed:
			t.Errorf("%+v: %s would send an unkeyed commit again", s, v.Do)
		case s.Phase == PhaseCommit && s.Kind != "" && v.Attempt == AttemptOK:
			t.Errorf("%+v: a failure is called a success", s)
		}
	})
}
