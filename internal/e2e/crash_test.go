//go:build e2e

package e2e

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// rounds is how often TestKilledAtEveryPoint plays all stories.
var rounds = flag.Int("rounds", 1, "how often each crash point is played")

// wishesEach is how many posts each row of the table plans.
const wishesEach = 12

// death is how a life of the daemon ends.
type death struct {
	at   string                             // by itself, at a point: "after-arm:3"
	when func(*installation) (bool, string) // or by kill -9 from outside, once this is true
}

func at(points ...string) []death {
	var out []death
	for _, p := range points {
		out = append(out, death{at: p})
	}
	return out
}

// story is a row of the table: what stands on the wire, and how often and where
// the daemon dies.
type story struct {
	name   string
	wire   func(*network) // what is wrong on the way to the network
	expire bool           // the access tokens have ended before anything is sent
	deaths []death
}

// stories are all crash points that an account's posts pass, each twice or with
// the death that leads there, then deaths together with faults on the wire.
func stories() []story {
	random := func(after time.Duration) death {
		return death{when: func(in *installation) (bool, string) { return time.Since(in.life.began) > after, "" }}
	}
	var anyTime []death
	for range 8 {
		anyTime = append(anyTime, random(200*time.Millisecond+rand.N(1500*time.Millisecond)))
	}
	slow := func(n *network) { n.slows(120 * time.Millisecond) } // each outcome is then a commit of its own
	return []story{
		{name: "after-claim", deaths: at("after-claim:5", "after-claim:7")},
		{name: "before-checkpoint", deaths: at("before-checkpoint:2", "before-checkpoint:2")},
		{name: "after-checkpoint", deaths: at("after-checkpoint:3", "after-checkpoint:1")},
		{name: "after-prepare", deaths: at("after-prepare:6", "after-prepare:8")},
		{name: "before-arm", deaths: at("before-arm:4", "before-arm:6")},
		{name: "after-arm", deaths: at("after-arm:7", "after-arm:2")},
		{name: "before-write", deaths: at("before-write:6", "before-write:3")},
		{name: "after-write", deaths: at("after-write:5", "after-write:4")},
		{name: "after-answer", deaths: at("after-answer:8", "after-answer:2")},
		{name: "before-record", deaths: at("before-record:6", "before-record:3")},
		{name: "after-record", deaths: at("after-record:7", "after-record:3")},
		{name: "before-adopt", deaths: at("after-answer:6", "before-adopt:1", "before-adopt:1")},
		{name: "after-adopt", deaths: at("before-record:5", "after-adopt:1")},
		{name: "refresh-begun", expire: true, deaths: at("refresh-begun:3", "refresh-begun:2")},
		{name: "refresh-answered", expire: true, deaths: at("refresh-answered:2", "refresh-answered:2")},
		{name: "refresh-stored", expire: true, deaths: at("refresh-stored:3", "refresh-stored:1")},
		{name: "before-commit", wire: slow, deaths: at("before-commit:8", "before-commit:32", "before-commit:8")},
		{name: "after-commit", wire: slow, deaths: at("after-commit:9", "after-commit:32", "after-commit:8")},

		{name: "answers cut, after-answer", wire: (*network).cutAnswers, deaths: at("after-answer:4", "before-adopt:2")},
		{name: "answers cut, after-arm", wire: (*network).cutAnswers, deaths: at("after-arm:6", "after-adopt:2")},
		{name: "requests lost, before-record", wire: (*network).lostRequests, deaths: at("before-record:4", "after-answer:6")},
		{name: "5xx though applied, before-record", wire: (*network).badGateways, deaths: at("before-record:5", "after-adopt:3")},
		{name: "parked, kill -9 while waiting", wire: func(n *network) { n.parks(6 * time.Second) }, deaths: []death{{when: func(in *installation) (bool, string) {
			_, parked := in.net.happened()
			return parked >= 6, fmt.Sprintf("%d writes are parked", parked)
		}}}},
		{name: "slow, kill -9 at any time", wire: func(n *network) { n.slows(300 * time.Millisecond) }, deaths: anyTime},
	}
}

// row is a line of the table.
type row struct {
	name    string
	kills   int
	rest    time.Duration // from the last start to the rest of everything
	faults  int
	verdict verdict
}

// TestKilledAtEveryPoint plans posts, kills the daemon at a point, again at
// another, starts it anew and lets it finish. In the end each post is there
// exactly once, and the daemon says so.
func TestKilledAtEveryPoint(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var rows []row
	t.Run("stories", func(t *testing.T) {
		var all []story
		for range *rounds {
			all = append(all, stories()...)
		}
		for _, s := range all {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				r := s.play(t, binary)
				for _, f := range r.verdict.findings {
					t.Error(f)
				}
				mu.Lock()
				rows = append(rows, r)
				mu.Unlock()
			})
		}
	})
	show(t, rows)
}

// play runs a story with a build of smi and judges its end.
func (s story) play(t *testing.T, smi string) row {
	n := startNetwork(t, 8)
	in := install(t, n)
	in.binary = smi
	in.start("")
	in.connect()
	all := in.wishes(wishesEach, "3s")
	in.stop()

	if s.wire != nil {
		s.wire(n)
	}
	if s.expire {
		n.expireTokens()
	}
	r := row{name: s.name}
	for _, d := range s.deaths {
		in.start(d.at)
		in.plan(all)
		if d.when == nil {
			in.diesAt(d.at, 90*time.Second)
		} else {
			until(t, 90*time.Second, "the moment to kill", func() (bool, string) { return d.when(in) })
			in.kill()
			if !in.life.diedBySIGKILL() {
				t.Fatalf("the daemon ended with %v before it was killed\n%s", in.life.err, in.life.log(t))
			}
		}
		r.kills++
	}
	last := in.start("")
	if !in.plan(all) {
		t.Fatalf("the daemon went away while posts were being planned\n%s", last.log(t))
	}
	in.rest(2 * time.Minute)
	r.rest = time.Since(last.began)
	r.faults, _ = n.happened()
	if s.wire != nil && r.faults == 0 {
		t.Errorf("no fault happened on the wire")
	}
	r.verdict = *in.judge(all)
	in.stop()
	for _, f := range in.printed() {
		r.verdict.findings = append(r.verdict.findings, "PRINTED: "+f)
	}
	return r
}

// printed finds what no log of smi may hold: a secret, a panic, the words for
// what can never be.
func (in *installation) printed() []string {
	in.t.Helper()
	var out []string
	for n := range in.lives {
		log := (&life{stderr: fmt.Sprintf("%s/life-%d.log", in.dir, n+1)}).log(in.t)
		for line := range strings.Lines(log) {
			for _, bad := range []string{appPassword, "panic", "do not fit together", "a change that is never right", "no open attempt"} {
				if strings.Contains(line, bad) {
					out = append(out, fmt.Sprintf("life %d: %s", n+1, strings.TrimSpace(line)))
				}
			}
		}
	}
	return out
}

// show prints the table.
func show(t *testing.T, rows []row) {
	order := map[string]int{}
	for i, s := range stories() {
		order[s.name] = i
	}
	slices.SortStableFunc(rows, func(x, y row) int { return cmp.Compare(order[x.name], order[y.name]) })
	if sum := table(t, "kills", rows); len(rows) >= len(stories()) && sum.verdict.posts < 200 {
		t.Errorf("%d posts were planned, want 200 or more", sum.verdict.posts)
	}
}

// table prints rows, and their sum once more for make prove.
func table(t *testing.T, what string, rows []row) (sum row) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%-44s %5s %5s %5s %4s %4s %5s %8s %7s %7s\n", what, "kills", "posts", "parts", "dup", "lost", "false", "adopted", "again", "to rest")
	for _, r := range rows {
		v := r.verdict
		fmt.Fprintf(&b, "%-44s %5d %5d %5d %4d %4d %5d %8d %7d %6.1fs\n", r.name, r.kills, v.posts, v.parts, v.duplicates, v.lost, v.wrong, v.adopted, v.again, r.rest.Seconds())
		sum.kills += r.kills
		sum.rest = max(sum.rest, r.rest)
		s := &sum.verdict
		s.posts, s.parts, s.duplicates, s.lost, s.wrong = s.posts+v.posts, s.parts+v.parts, s.duplicates+v.duplicates, s.lost+v.lost, s.wrong+v.wrong
		s.adopted, s.again = s.adopted+v.adopted, s.again+v.again
	}
	s := sum.verdict
	fmt.Fprintf(&b, "%-44s %5d %5d %5d %4d %4d %5d %8d %7d %6.1fs\n", fmt.Sprintf("all %d", len(rows)), sum.kills, s.posts, s.parts, s.duplicates, s.lost, s.wrong, s.adopted, s.again, sum.rest.Seconds())
	t.Logf("adopted: found on the network after the kill; again: not found there, and sent once more; to rest: from the last start (the longest in the last line)\n%s", b.String())
	t.Logf("prove: %s runs=%d deliveries=%d kills=%d twice=%d lost=%d false=%d", what, len(rows), s.posts, sum.kills, s.duplicates, s.lost, s.wrong)
	return sum
}
