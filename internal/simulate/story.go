package simulate

import (
	"fmt"
	"time"

	"smi/connectors/connectortest"
	"smi/connectors/connectortest/worlds"
	"smi/internal/social"
)

// story is all that is decided before a run begins.
type story struct {
	name string
	dice dice

	worlds   []worlds.Maker
	accounts []int // the world of each account
	posts    []post
	acts     []act
	nodes    int // processes that share the database

	mishaps  []mishap // the ones that are set
	rate     float64  // how likely any other request has one
	dialRate float64  // how likely a connection has one
	lossRate float64  // how likely the ledger's answer to a change is lost
	stale    time.Duration
	life     time.Duration // of access tokens
	crashes  []crash
	stalls   []stall
	calm     time.Duration // after it nothing goes wrong any more
}

// post is a post that will be planned. Times are since the beginning.
type post struct {
	accounts []int
	roles    []social.PartRole
	picture  bool
	planned  time.Duration // the time at which it goes out
	created  time.Duration // when it is planned; 0: before everything
	notAfter time.Duration // 0: no such limit
	late     social.LatePolicy
}

// act is something that a person, or a network's owner, does.
type act struct {
	at      time.Duration
	do      string // cancel, edit, move, pause, pause all, expire, revoke
	post    int
	account int
	until   time.Duration // of a pause
}

// mishap is a misfortune that is set for a kind of request, or, with dial, for a
// connection.
type mishap struct {
	op    connectortest.Op
	name  connectortest.Misfortune
	dial  string
	from  int // the first of these requests since the beginning of the life, from 1
	times int
	lives int // only in lives from this one on, from 1
}

// crash ends a process, or the machine.
type crash struct {
	at    point
	nth   int           // which passing of the point; of an idle one unused
	time  time.Duration // not before
	after bool          // only when the set mishap was met
	kind  ending
	node  int           // whose passings count and who dies; -1: the machine
	down  time.Duration // how long nothing runs
}

// ending is how a life ends.
type ending string

// The endings.
const (
	killed   ending = "kill -9"
	powerCut ending = "power cut"
	torn     ending = "power cut while writing"
)

// stall is a node that stands still for its database: what it asks of the ledger
// gets no answer until the end.
type stall struct {
	node     int
	from, to time.Duration
}

// point is a place between two steps of the promise.
type point string

// The points.
const (
	idle            point = "idle"
	afterClaim      point = "after claim"
	beforeSave      point = "before checkpoint"
	afterSave       point = "after checkpoint"
	beforeArm       point = "before arm"
	afterArm        point = "after arm"
	arrived         point = "arrived" // the network has the request
	acted           point = "acted"   // the network has acted, nobody has the answer
	beforeRecord    point = "before record"
	afterRecord     point = "after record"
	beforeAdopt     point = "before adopt"
	afterAdopt      point = "after adopt"
	refreshBegun    point = "refresh begun"
	refreshAnswered point = "refresh answered"
	refreshStored   point = "refresh stored"
)

var points = []point{
	idle, afterClaim, beforeSave, afterSave, beforeArm, afterArm, arrived, acted, beforeRecord, afterRecord, beforeAdopt, afterAdopt,
	refreshBegun, refreshAnswered, refreshStored,
}

// The mishaps of connections.
const (
	dialName    = "no such name"
	dialRefused = "refused"
	dialHangs   = "hangs"
	dialCut     = "handshake cut"
	dialPlain   = "speaks no TLS"
	dialGone    = "gone before the first byte"
)

var dialMishaps = []string{
	dialName, dialRefused, dialHangs, dialCut, dialPlain, dialGone,
	string(connectortest.WrongHost), string(connectortest.Expired), string(connectortest.Unvouched),
}

// thread are the roles of a post with items and comments under it.
func thread(items, comments int) []social.PartRole {
	roles := []social.PartRole{social.RoleBody}
	for range items {
		roles = append(roles, social.RoleThread)
	}
	for range comments {
		roles = append(roles, social.RoleComment)
	}
	return roles
}

// cells are the stories in which one thing goes wrong and one life ends, each
// on each network, in both orders.
func cells() []story {
	var out []story
	for _, w := range worlds.All() {
		type fault struct {
			name string
			m    mishap
		}
		faults := []fault{{"nothing", mishap{}}}
		for _, name := range connectortest.Misfortunes[1:] {
			faults = append(faults, fault{"commit " + string(name), mishap{op: connectortest.OpCommit, name: name, from: 1, times: 1}})
		}
		for _, name := range []connectortest.Misfortune{connectortest.Reset, connectortest.Lost, connectortest.Silent, connectortest.GatewayDone, connectortest.Garbled, connectortest.NoID} {
			faults = append(faults, fault{"refresh " + string(name), mishap{op: connectortest.OpRefresh, name: name, from: 1, times: 1}})
		}
		for _, name := range dialMishaps {
			faults = append(faults, fault{"connection " + name, mishap{dial: name, from: 1, times: 3}})
		}
		for _, name := range []connectortest.Misfortune{connectortest.Down, connectortest.Silent, connectortest.Page} {
			faults = append(faults, fault{"find " + string(name), mishap{op: connectortest.OpFind, name: name, from: 1, times: 2}})
		}
		for _, f := range faults {
			for _, p := range points {
				for _, first := range []string{"fault", "crash"} {
					if f.name == "nothing" && first == "crash" {
						continue
					}
					s := story{
						name: fmt.Sprintf("%s: %s, %s at %s", w.Name, f.name, first+" first", p), worlds: []worlds.Maker{w}, accounts: []int{0}, nodes: 1,
						life: 12 * time.Minute, calm: 12 * time.Minute,
					}
					s.dice = dice(dice(0).draw(s.name))
					s.posts = []post{{accounts: []int{0}, roles: thread(1, 0), picture: true, planned: s.dice.between(30*time.Second, 90*time.Second, "planned")}}
					c := crash{at: p, nth: 1, node: -1, kind: pick(s.dice, []ending{killed, powerCut, torn}, "ending"), down: s.dice.between(2*time.Second, time.Minute, "down")}
					if p == idle {
						c.time = s.posts[0].planned + s.dice.between(-3*time.Second, 3*time.Second, "idle")
					}
					if f.m.times > 0 {
						f.m.lives = 1
						if first == "crash" {
							f.m.lives = 2
						} else {
							c.after = true
						}
						s.mishaps = []mishap{f.m}
						if f.m.op == connectortest.OpFind { // something must be looked for
							s.mishaps = append(s.mishaps, mishap{op: connectortest.OpCommit, name: connectortest.Lost, from: 1, times: 1, lives: f.m.lives})
						}
					}
					if p == beforeAdopt || p == afterAdopt {
						s.mishaps = append(s.mishaps, mishap{op: connectortest.OpCommit, name: connectortest.Lost, from: 1, times: 2, lives: 1})
					}
					if f.m.dial != "" {
						c.after = false
					}
					s.crashes = []crash{c}
					out = append(out, s)
				}
			}
		}
	}
	return out
}

// random is the story of a seed.
func random(seed uint64) story {
	d := dice(seed)
	s := story{
		name: fmt.Sprintf("seed %d", seed), dice: d, nodes: 1, calm: d.between(18*time.Minute, 28*time.Minute, "calm"),
		life: pick(d, []time.Duration{10 * time.Minute, 20 * time.Minute, 45 * time.Minute, 3 * time.Hour}, "life"),
		rate: pick(d, []float64{0, 0.05, 0.2, 0.5}, "rate"), dialRate: pick(d, []float64{0, 0, 0.1, 0.3}, "dial rate"),
	}
	all := worlds.All()
	networks := map[social.Network]bool{}
	for range 1 + d.n(2, "worlds") {
		w := pick(d, all, "world", len(s.worlds))
		if !networks[w.Network] {
			s.worlds, networks[w.Network] = append(s.worlds, w), true
		}
	}
	for i := range 1 + d.n(3, "accounts") {
		s.accounts = append(s.accounts, d.n(len(s.worlds), "account", i))
	}
	if d.chance(0.25, "two nodes") {
		s.nodes = 2
		s.lossRate = pick(d, []float64{0, 0.03, 0.1}, "loss rate")
		for i := range d.n(3, "stalls") {
			from := d.between(time.Minute, 16*time.Minute, "stall", i)
			s.stalls = append(s.stalls, stall{d.n(2, "stalled", i), from, from + d.between(5*time.Second, 3*time.Minute, "stall for", i)})
		}
	}
	if d.chance(0.3, "stale") {
		s.stale = 90 * time.Second
	}
	for i := range 2 + d.n(4, "posts") {
		s.posts = append(s.posts, randomPost(d, i, len(s.accounts)))
	}
	for i := range d.n(4, "acts") {
		p := d.n(len(s.posts), "act post", i)
		a := act{
			do:   pick(d, []string{"cancel", "cancel", "edit", "edit", "move", "pause", "pause all", "expire", "revoke"}, "act", i),
			post: p, account: pick(d, s.posts[p].accounts, "act account", i),
		}
		a.at = max(time.Second, s.posts[p].planned+d.between(-4*time.Second, 4*time.Second, "act at", i))
		if d.chance(0.4, "act early", i) {
			a.at = d.between(time.Second, s.posts[p].planned, "act early at", i)
		}
		a.until = a.at + d.between(10*time.Second, 20*time.Minute, "pause for", i)
		s.acts = append(s.acts, a)
	}
	for i := range d.n(4, "crashes") {
		c := crash{
			at: pick(d, points, "point", i), nth: 1 + d.n(4, "nth", i), kind: pick(d, []ending{killed, powerCut, torn}, "ending", i),
			down: d.between(time.Second, 2*time.Minute, "down", i), node: -1,
		}
		if d.chance(0.1, "down long", i) {
			c.down = d.between(10*time.Minute, 40*time.Minute, "down for", i)
		}
		if s.nodes == 2 && d.chance(0.7, "one of two", i) {
			c.node = d.n(2, "dies", i)
		}
		if c.at == idle {
			c.time = s.posts[d.n(len(s.posts), "idle post", i)].planned + d.between(-5*time.Second, 40*time.Second, "idle", i)
		}
		s.crashes = append(s.crashes, c)
	}
	return s
}

func randomPost(d dice, i, accounts int) post {
	p := post{planned: d.between(30*time.Second, 15*time.Minute, "planned", i)}
	if d.chance(0.3, "same minute", i) {
		p.planned = d.between(30*time.Second, 15*time.Minute, "planned", 0)
	}
	for a := range accounts {
		if d.chance(0.6, "on", i, a) || a == accounts-1 && len(p.accounts) == 0 {
			p.accounts = append(p.accounts, a)
		}
	}
	p.roles = thread(0, 0)
	switch d.n(5, "shape", i) {
	case 0:
		p.roles = thread(2, 0)
	case 1:
		p.roles = thread(0, 1)
	case 2:
		p.roles = thread(1, 1)
	}
	p.picture = d.chance(0.3, "picture", i)
	if d.chance(0.2, "planned later", i) {
		p.created = d.between(time.Second, p.planned, "created", i)
	}
	if d.chance(0.1, "not after", i) {
		p.notAfter = p.planned + d.between(time.Minute, 10*time.Minute, "not after", i)
	}
	p.late = pick(d, []social.LatePolicy{social.LateAsk, social.LateAsk, social.LatePublish, social.LateSkip}, "late", i)
	return p
}
