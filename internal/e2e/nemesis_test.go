//go:build e2e && cluster

package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"smi/internal/pgtest"
)

var (
	scenarioFlag = flag.Int("scenarios", 12, "how many scenarios TestCluster plays")
	clusterFlag  = flag.Int("clusters", 6, "how many clusters play them at a time")
	seedFlag     = flag.Uint64("seed", 0, "of the scenarios; 0: another one each time")
	postsFlag    = flag.Int("posts", 30, "how many posts are due in each scenario")
)

// nemesis is a kind of misfortune.
type nemesis struct {
	name string
	// before is done before the posts are planned, during while they are due.
	before func(*cluster)
	during func(*cluster, window)
	expire bool // the access tokens end before the posts are due
}

// window is the time in which the posts of a scenario are due.
type window struct{ from, to time.Time }

// within waits until some moment of the window, or shortly before or after it.
func (c *cluster) within(w window) {
	from := w.from.Add(-1500 * time.Millisecond)
	wait(time.Until(from.Add(time.Duration(c.rng.Int64N(int64(w.to.Sub(from)))))))
}

// between waits for a time between two.
func (c *cluster) between(least, most time.Duration) {
	wait(least + time.Duration(c.rng.Int64N(int64(most-least))))
}

// takeoverAfter is how long after arming an attempt of a dead node may be taken
// over (the connector's SendTime and CommitTime, and 5 s).
const takeoverAfter = 95 * time.Second

// nemeses are all kinds. The times are such that a node is away either for less
// than a lease or for so long that others have taken up its work.
func nemeses() []nemesis {
	long := func(c *cluster) { c.between(lease+6*time.Second, lease+10*time.Second) }
	perhapsLong := func(c *cluster) {
		if c.rng.IntN(2) == 0 {
			long(c)
		}
	}
	killAt := func(points ...string) (before func(*cluster), during func(*cluster, window)) {
		var victim *node
		before = func(c *cluster) {
			victim = c.some(1)[0]
			victim.stop()
			point, nth := points[c.rng.IntN(len(points))], 1+c.rng.IntN(3)
			if strings.HasSuffix(point, "-commit") {
				nth *= 10 // starting takes some, and planning
			}
			victim.start(fmt.Sprintf("%s:%d", point, nth))
		}
		during = func(c *cluster, w window) {
			select { // a point that this node does not come to makes it a kill at that time
			case <-victim.life.gone:
			case <-time.After(time.Until(w.to.Add(3 * time.Second))):
			}
			c.kill(victim)
			perhapsLong(c)
		}
		return before, during
	}
	cutOff := func(sides ...string) func(*cluster, window) {
		return func(c *cluster, w window) {
			n, atSwitch := c.some(1)[0], c.rng.IntN(2) == 0
			c.within(w)
			for _, s := range sides {
				c.lan.cut(n.name, s, atSwitch)
			}
			if c.rng.IntN(2) == 0 {
				long(c)
			} else {
				c.between(2*time.Second, 8*time.Second)
			}
			for _, s := range sides {
				c.lan.mend(n.name, s, atSwitch)
			}
		}
	}
	early, earlyDuring := killAt("after-claim", "after-checkpoint", "after-prepare", "before-arm", "before-commit", "after-commit")
	late, lateDuring := killAt("after-arm", "before-write", "after-write", "after-answer", "before-record", "after-record")
	login, loginDuring := killAt("refresh-begun", "refresh-answered", "refresh-stored")
	return []nemesis{
		{name: "kill at a point before sending", before: early, during: earlyDuring},
		{name: "kill at a point of sending", before: late, during: lateDuring},
		{name: "kill while logins are renewed", before: login, during: loginDuring, expire: true},
		{name: "kill one node", during: func(c *cluster, w window) {
			c.within(w)
			c.kill(c.some(1)[0])
			long(c)
		}},
		{name: "kill one node and put another in its place", during: func(c *cluster, w window) {
			// So long that its armed attempts are taken over, by others.
			c.within(w)
			c.kill(c.some(1)[0])
			c.nodes[3].start("")
			wait(takeoverAfter + 10*time.Second)
		}},
		{name: "kill two nodes", during: func(c *cluster, w window) {
			c.within(w)
			two := c.some(2)
			c.kill(two[0])
			c.between(0, time.Second)
			c.kill(two[1])
			perhapsLong(c)
		}},
		{name: "freeze a node for three leases", during: func(c *cluster, w window) {
			c.within(w)
			n := c.some(1)[0]
			c.freeze(n)
			c.between(3*lease+time.Second, 3*lease+4*time.Second)
			c.thaw(n)
		}},
		{name: "cut off the database", during: cutOff(toDatabase)},
		{name: "cut off the network", during: cutOff(toNetwork)},
		{name: "cut off both", during: cutOff(toDatabase, toNetwork)},
		{name: "cut off the database, then kill and start", during: func(c *cluster, w window) {
			// The server must have noticed that the node's first connection is dead: it
			// holds the name of the node.
			n := c.some(1)[0]
			c.within(w)
			c.lan.cut(n.name, toDatabase, true)
			long(c)
			c.lan.mend(n.name, toDatabase, true)
			c.between(0, 3*time.Second)
			c.kill(n)
		}},
		{name: "stop PostgreSQL at once", during: func(c *cluster, w window) {
			c.within(w)
			c.pg.StopImmediate(c.t)
			c.between(0, 6*time.Second)
			c.pg.Restart(c.t)
		}},
		{name: "kill PostgreSQL", during: func(c *cluster, w window) {
			c.within(w)
			c.pg.KillPostmaster(c.t)
			c.between(0, 6*time.Second)
			c.pg.Restart(c.t)
		}},
		{name: "fail over to the standby", before: func(c *cluster) {
			c.standby = c.pg.StandbyOn(c.t, pgtest.Synchronous, 5432+5433-c.pg.Port)
			until(c.t, time.Minute, "a node to see the standby", func() (bool, string) {
				seen := ""
				err := c.sql(`SELECT value FROM meta WHERE key = 'origin'`, nil, func(rows pgx.Rows) error { return rows.Scan(&seen) })
				return strings.Contains(seen, `"synchronous":true`), fmt.Sprintf("%s, %v", seen, err)
			})
		}, during: func(c *cluster, w window) {
			c.within(w)
			c.pg.KillPostmaster(c.t)
			c.between(0, 3*time.Second)
			c.standby.Promote(c.t)
			c.pg, c.standby = c.standby, nil
		}},
		{name: "one joins, one leaves", during: func(c *cluster, w window) {
			c.within(w)
			c.nodes[3].start("")
			c.some(1)[0].stop()
		}},
		{name: "start all anew, one by one", during: func(c *cluster, w window) {
			c.within(w)
			for _, n := range c.some(3) {
				n.stop()
				n.start("")
			}
		}},
	}
}

// wires are what may be wrong on the way to the network at the same time.
var wires = []struct {
	name string
	put  func(*network)
}{
	{"", func(*network) {}},
	{"", func(*network) {}},
	{"answers cut", (*network).cutAnswers},
	{"requests lost", (*network).lostRequests},
	{"5xx though applied", (*network).badGateways},
	{"parked", func(n *network) { n.parks(6 * time.Second) }},
	{"slow", func(n *network) { n.slows(300 * time.Millisecond) }},
}

// scenario is one misfortune that meets some posts.
type scenario struct {
	number int
	nemesis
	wire string
	put  func(*network)
}

func (s scenario) String() string {
	name := fmt.Sprintf("S%d %s", s.number, s.name)
	if s.wire != "" {
		name += ", " + s.wire
	}
	return name
}

// play lets a scenario happen on a cluster that is well, and leaves it so.
func (c *cluster) play(s scenario, posts int) {
	c.t.Helper()
	if s.before != nil {
		s.before(c)
	}
	if s.expire {
		c.net.expireTokens()
	}
	s.put(c.net)
	wishes := wishesOf(c.net, c.pictures, fmt.Sprintf("S%d ", s.number), posts, func(i int) string { return fmt.Sprintf("%ds", 4+i%3) })
	c.plan(wishes)
	w := window{wishes[0].at, wishes[0].at}
	for _, p := range wishes {
		if p.at.Before(w.from) {
			w.from = p.at
		}
		if p.at.After(w.to) {
			w.to = p.at
		}
	}
	before := len(c.takeover)
	s.during(c, w)
	if s.expire {
		c.takeover = c.takeover[:before] // it waits for logins whose renewal the dead node had begun
	}
	c.heal()
	c.settle(wishes, true, time.Minute)
}

// line is a row of the table.
type line struct {
	scenario
	took time.Duration
}

// TestCluster lets three daemons publish while machines, cables, PostgreSQL and
// the network fail, and compares what they say in the end with what the network
// has.
func TestCluster(t *testing.T) {
	t.Parallel()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64N(1_000_000) + 1
	}
	t.Logf("seed %d: go test -tags e2e,cluster -run TestCluster ./internal/e2e -seed %d -scenarios %d", seed, seed, *scenarioFlag)
	todo := make(chan scenario, *scenarioFlag)
	for _, s := range scenarios(seed, *scenarioFlag) {
		todo <- s
	}
	close(todo)
	var mu sync.Mutex
	var sum result
	began := time.Now()
	t.Run("clusters", func(t *testing.T) {
		for number := range min(*clusterFlag, *scenarioFlag) {
			t.Run(fmt.Sprint(number+1), func(t *testing.T) {
				t.Parallel()
				r := playAll(t, number+1, binary, rand.New(rand.NewPCG(seed, uint64(number))), todo)
				for _, f := range r.findings {
					t.Error(f)
				}
				mu.Lock()
				defer mu.Unlock()
				sum.add(r)
			})
		}
	})
	sum.show(t, time.Since(began))
}

// scenarios makes n of them, of each kind as many.
func scenarios(seed uint64, n int) []scenario {
	rng := rand.New(rand.NewPCG(seed, 0))
	var out []scenario
	for len(out) < n {
		kinds := nemeses()
		for _, k := range rng.Perm(len(kinds)) {
			w := wires[rng.IntN(len(wires))]
			out = append(out, scenario{len(out) + 1, kinds[k], w.name, w.put})
		}
	}
	return out[:n]
}

// playAll plays scenarios on one cluster, one after the other, and judges them
// together when everything rests.
func playAll(t testing.TB, number int, smi string, rng *rand.Rand, todo <-chan scenario) result {
	t.Helper()
	c := newCluster(t, number, smi, rng, 6)
	var lines []line
	for s := range todo {
		began := time.Now()
		c.play(s, *postsFlag)
		lines = append(lines, line{s, time.Since(began)})
	}
	c.settle(c.wishes, false, 4*time.Minute)
	r := c.judge()
	r.lines = lines
	for _, n := range c.alive() {
		n.stop()
	}
	for _, n := range c.nodes {
		for _, f := range n.printed() {
			r.findings = append(r.findings, fmt.Sprintf("PRINTED: %s, %s", n.name, f))
		}
	}
	return r
}

// show prints the table and the line that says what was proved.
func (r *result) show(t *testing.T, took time.Duration) {
	var b strings.Builder
	slices.SortFunc(r.lines, func(x, y line) int { return x.number - y.number })
	for _, l := range r.lines {
		fmt.Fprintf(&b, "%6.1fs  %s\n", l.took.Seconds(), l.scenario)
	}
	fmt.Fprintf(&b, "%d posts of %d parts by three nodes; %d parts were found on the network, %d sent again, %d requests came when they had been taken for lost\n", r.posts, r.parts, r.adopted, r.again, r.late)
	fmt.Fprintf(&b, "the ready work of a killed node went on after %s at the median and %s at most (%d accounts)\n", r.taken(0.5), r.taken(1), len(r.gaps))
	fmt.Fprintf(&b, "background: %s\n", r.jobs)
	fmt.Fprintf(&b, "in %s\n", took.Round(time.Second))
	t.Log("\n" + b.String())
	t.Logf("prove: cluster scenarios=%d deliveries=%d kills=%d twice=%d lost=%d false=%d", len(r.lines), r.posts, r.kills, r.duplicates, r.lost, r.wrong)
}
