//go:build e2e && cluster

package e2e

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"smi/internal/app"
	"smi/internal/social"
	"smi/scheduler"
)

// result is what came of the scenarios of one cluster, or of several.
type result struct {
	verdict
	lines []line
	kills int
	gaps  []time.Duration // from a node's death to the first byte of ready work it held
	jobs  background
}

func (r *result) add(o result) {
	r.posts, r.parts, r.adopted, r.again = r.posts+o.posts, r.parts+o.parts, r.adopted+o.adopted, r.again+o.again
	r.duplicates, r.lost, r.wrong = r.duplicates+o.duplicates, r.lost+o.lost, r.wrong+o.wrong
	r.findings = append(r.findings, o.findings...)
	r.lines = append(r.lines, o.lines...)
	r.kills += o.kills
	r.gaps = append(r.gaps, o.gaps...)
	r.jobs.add(o.jobs)
}

// taken is the time within which this share of the ready work went on.
func (r *result) taken(share float64) time.Duration {
	if len(r.gaps) == 0 {
		return 0
	}
	slices.Sort(r.gaps)
	return r.gaps[int(share*float64(len(r.gaps)-1))].Round(10 * time.Millisecond)
}

// judge compares what was wished, what the nodes say, what the database holds
// and what the public sees.
func (c *cluster) judge() result {
	c.t.Helper()
	r := result{kills: c.kills}
	r.posts = len(c.wishes)
	r.findings = c.findings
	now := truth{c.net.all(), c.net.made(), c.net.written()}
	came := c.net.arrivals()
	wished := map[string]bool{}
	for _, p := range c.wishes {
		name := p.input.Parts[0].Text
		for _, part := range p.input.Parts {
			wished[part.Text] = true
		}
		var post app.Post
		c.ask(time.Minute, "a post", func(ctx context.Context, n *node) (err error) {
			post, err = n.api.Post(ctx, p.id.String(), 0)
			return err
		})
		if len(post.Deliveries) != 1 {
			r.missing("%q: the daemons know %d deliveries of it", name, len(post.Deliveries))
			continue
		}
		r.delivery(p, post.Deliveries[0], now)
	}
	for text := range now.made {
		if !wished[text] {
			r.untrue("%q is on the network and nobody wanted it", text)
		}
	}
	posts := 0
	if err := c.sql(`SELECT count(*) FROM post`, nil, func(rows pgx.Rows) error { return rows.Scan(&posts) }); err != nil || posts != len(c.wishes) {
		r.duplicate("%d posts were planned and the database has %d (%v): a repeated request was taken for a new one", len(c.wishes), posts, err)
	}
	c.oneSender(&r, came, now.seen)
	c.gaps(&r, came)
	c.background(&r)
	return r
}

// right is an attempt as the database has it: the right of one node to send a
// part once.
type right struct {
	post        social.ID
	step, n     int
	epoch       int64
	node, state string
	armed, end  int64 // in milliseconds; end is when it was decided
}

// known is how exactly the times of rights are known, in milliseconds: nodes take
// them from the clock of the database, which they know to the length of a round
// trip, and write the end down after the answer.
const known = 1000

// covers says whether a request came while the right was held.
func (a right) covers(at time.Time) bool {
	return a.armed-known <= at.UnixMilli() && (a.end == 0 || at.UnixMilli() <= a.end+known)
}

// oneSender looks at the attempts as at a register that one node at a time may
// hold: for a part, each right begins after the one before it has ended, in
// epochs that never fall and belong to one node each; and from no machine came
// more requests than its node had rights, nor any while it had none. Nor was a
// part taken for absent that was there.
func (c *cluster) oneSender(r *result, came map[string][]arrival, seen map[string][]seenPost) {
	c.t.Helper()
	rights := map[string][]right{} // by the text of the part
	texts := map[social.ID]*planned{}
	for _, p := range c.wishes {
		texts[p.id] = p
	}
	err := c.sql(`SELECT d.post_id, a.step, a.n, a.epoch, a.node, a.state, a.armed_at, a.decided_at
		FROM attempt a JOIN delivery d ON d.id = a.delivery_id ORDER BY a.delivery_id, a.step, a.n`, nil, func(rows pgx.Rows) error {
		var a right
		var post int64
		if err := rows.Scan(&post, &a.step, &a.n, &a.epoch, &a.node, &a.state, &a.armed, &a.end); err != nil {
			return err
		}
		a.post = social.ID(post)
		if p := texts[a.post]; p != nil {
			text := p.input.Parts[a.step].Text
			rights[text] = append(rights[text], a)
		}
		return nil
	})
	if err != nil {
		c.t.Fatalf("reading the attempts: %v", err)
	}
	address := map[string]string{}
	for _, n := range c.nodes {
		address[n.name] = n.address
	}
	for text, held := range rights {
		allowed := map[string]int{}
		for i, a := range held {
			if address[a.node] == "" {
				r.untrue("%q: an attempt is of node %q, which is none", text, a.node)
			}
			if a.state != string(scheduler.AttemptNotSent) {
				allowed[address[a.node]]++
			}
			if there := seen[text]; a.state == string(scheduler.AttemptAbsentByHandle) && len(there) > 0 && there[0].Indexed.UnixMilli() < a.end-known {
				r.untrue("%q: attempt %d of %s was taken for absent at %d and was there since %d", text, a.n, a.node, a.end, there[0].Indexed.UnixMilli())
			}
			if i == 0 {
				continue
			}
			b := held[i-1]
			if a.armed < b.end-known || b.end == 0 {
				r.duplicate("%q: %s had the right to send from %d on, and %s until %d", text, a.node, a.armed, b.node, b.end)
			}
			if a.epoch < b.epoch || (a.epoch == b.epoch && a.node != b.node) {
				r.duplicate("%q: epoch %d of %s comes after epoch %d of %s", text, a.epoch, a.node, b.epoch, b.node)
			}
		}
		sent := map[string]int{}
		for _, x := range came[text] {
			sent[x.from]++
			if !slices.ContainsFunc(held, func(a right) bool { return address[a.node] == x.from && a.covers(x.at) }) {
				r.duplicate("%q was sent by %s at %d, which had no right to it then: %+v", text, x.from, x.at.UnixMilli(), held)
			}
		}
		for from, n := range sent {
			if n > allowed[from] {
				r.duplicate("%q was sent %d times by %s, which had the right to do so %d times", text, n, from, allowed[from])
			}
		}
	}
}

// gaps measures how long the ready work of killed nodes lay.
func (c *cluster) gaps(r *result, came map[string][]arrival) {
	for _, k := range c.takeover {
		from := k.at
		if k.post.at.After(from) {
			from = k.post.at
		}
		var first time.Time
		for _, part := range k.post.input.Parts {
			for _, x := range came[part.Text] {
				if x.at.After(k.at) && (first.IsZero() || x.at.Before(first)) {
					first = x.at
				}
			}
		}
		if first.IsZero() {
			continue // it was on the way already, or the oracle has missed it
		}
		r.gaps = append(r.gaps, max(0, first.Sub(from)))
		if late := first.Sub(from); late > mostGap {
			r.missing("%q lay for %s after %s was killed", k.post.input.Parts[0].Text, late.Round(time.Millisecond), k.node)
		}
	}
}

// mostGap is how long ready work of a killed node may lie at most. The promise
// is 20 s on a machine that has time; this one may have none.
const mostGap = 45 * time.Second
