//go:build e2e && cluster

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	late  int             // requests that came after their attempt was taken for absent
	gaps  []time.Duration // from a node's death to the first byte of ready work it held
	jobs  background
}

func (r *result) add(o result) {
	r.posts, r.parts, r.adopted, r.again = r.posts+o.posts, r.parts+o.parts, r.adopted+o.adopted, r.again+o.again
	r.duplicates, r.lost, r.wrong = r.duplicates+o.duplicates, r.lost+o.lost, r.wrong+o.wrong
	r.findings = append(r.findings, o.findings...)
	r.lines = append(r.lines, o.lines...)
	r.kills += o.kills
	r.late += o.late
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

// register is what the database writes down, in its own order and by its own
// clock, whenever an attempt begins or changes its state. The order of the rows
// of one part is the order in which they came to be, since each change takes
// the delivery first.
const register = `CREATE TABLE witness (seq BIGSERIAL PRIMARY KEY, at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(), attempt BIGINT NOT NULL, state TEXT NOT NULL);
CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO witness (attempt, state) VALUES (NEW.id, NEW.state); RETURN NULL; END';
CREATE TRIGGER witness AFTER INSERT OR UPDATE OF state ON attempt FOR EACH ROW EXECUTE FUNCTION witness()`

// right is an attempt: the right of one node to send a part once.
type right struct {
	id          int64
	text        string
	n           int
	epoch       int64
	node, state string
	began       int64 // place in the register
	armed       time.Time
	closed      int64     // place in the register where it ended, or became doubtful; 0: never
	closedAt    time.Time // when
	over        int64     // place where it ended
	overAt      time.Time
}

// rights reads the attempts and their history, in the order of the register.
func (c *cluster) rights() []*right {
	c.t.Helper()
	texts := map[social.ID]*planned{}
	for _, p := range c.wishes {
		texts[p.id] = p
	}
	var out []*right
	byID := map[int64]*right{}
	err := c.sql(`SELECT w.seq, w.at, w.state, a.id, d.post_id, a.step, a.n, a.epoch, a.node, a.state
		FROM witness w JOIN attempt a ON a.id = w.attempt JOIN delivery d ON d.id = a.delivery_id ORDER BY w.seq`, nil, func(rows pgx.Rows) error {
		var seq, id, post, epoch int64
		var at time.Time
		var step, n int
		var was, node, state string
		if err := rows.Scan(&seq, &at, &was, &id, &post, &step, &n, &epoch, &node, &state); err != nil {
			return err
		}
		a := byID[id]
		if a == nil {
			a = &right{id: id, n: n, epoch: epoch, node: node, state: state, began: seq, armed: at}
			if p := texts[social.ID(post)]; p != nil {
				a.text = p.input.Parts[step].Text
			}
			byID[id] = a
			out = append(out, a)
		}
		if was != string(scheduler.AttemptArmed) && a.closed == 0 {
			a.closed, a.closedAt = seq, at
		}
		if was != string(scheduler.AttemptArmed) && was != string(scheduler.AttemptAmbiguous) {
			a.over, a.overAt = seq, at
		}
		return nil
	})
	if err != nil {
		c.t.Fatalf("reading the attempts: %v", err)
	}
	return out
}

// shot is the first byte of an attempt, as its node noted it before it wrote.
type shot struct {
	attempt int64
	at      time.Time
}

// shots reads what the nodes noted, by the address and port they wrote from. A
// port may be used again; the shots are in the order of time.
func (c *cluster) shots() map[string][]shot {
	c.t.Helper()
	out := map[string][]shot{}
	for _, n := range c.nodes {
		b, err := os.ReadFile(filepath.Join(n.dir, sentFile))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			c.t.Fatalf("reading what %s sent: %v", n.name, err)
		}
		for line := range strings.Lines(string(b)) {
			var s shot
			var from string
			var at int64
			if _, err := fmt.Sscan(line, &s.attempt, &from, &at); err != nil {
				c.t.Fatalf("reading what %s sent: %v in %q", n.name, err, line)
			}
			s.at = time.UnixMicro(at)
			out[from] = append(out[from], s)
		}
	}
	return out
}

// shotOf is the shot that a request came from: the last from its address before
// it came.
func shotOf(shots map[string][]shot, x arrival) int64 {
	id := int64(0)
	for _, s := range shots[x.from] {
		if !s.at.After(x.at) {
			id = s.attempt
		}
	}
	return id
}

// oneSender looks at the attempts as at a register that one node at a time may
// hold, in the order in which the database wrote it, and at the requests by the
// attempt that each was made under. No clocks of different machines are compared:
// nodes and network run on one, and the register is the database's.
//
//   - of a part no right begins while another is open, or after one that
//     succeeded, and epochs never fall and belong to one node each;
//   - no node begins to send under a right that is no longer simply armed;
//   - each request came under a right of that node to that part, armed before it
//     came; no two under one, and none under one that is said to be unsent;
//   - a part was taken for absent only if it never came, or if the network had
//     said that it was not there.
func (c *cluster) oneSender(r *result, came map[string][]arrival, seen map[string][]seenPost) {
	c.t.Helper()
	address := map[string]string{}
	for _, n := range c.nodes {
		address[n.name] = n.address
	}
	byID := map[int64]*right{}
	held := map[string][]*right{}
	for _, a := range c.rights() {
		byID[a.id] = a
		held[a.text] = append(held[a.text], a)
		if address[a.node] == "" {
			r.untrue("%q: an attempt is of node %q, which is none", a.text, a.node)
		}
	}
	delete(held, "")
	for text, rights := range held {
		for i, a := range rights[1:] {
			b := rights[i]
			good := b.state == string(scheduler.AttemptOK) || b.state == string(scheduler.AttemptAdopted)
			if b.over == 0 || a.began < b.over || good {
				r.duplicate("%q: %s was given the right to send while that of %s was %s", text, a.node, b.node, b.state)
			}
			if a.epoch < b.epoch || (a.epoch == b.epoch && a.node != b.node) {
				r.duplicate("%q: epoch %d of %s comes after epoch %d of %s", text, a.epoch, a.node, b.epoch, b.node)
			}
		}
	}
	shots := c.shots()
	for _, all := range shots {
		for _, s := range all {
			a := byID[s.attempt]
			switch {
			case a == nil:
				r.duplicate("attempt %d was sent and is not written down", s.attempt)
			case a.closed != 0 && s.at.After(a.closedAt):
				r.duplicate("%q: %s began to send at %s what was not armed any more since %s", a.text, a.node, s.at.UTC().Format(stampMicros), a.closedAt.UTC().Format(stampMicros))
			}
		}
	}
	used := map[int64]int{}
	missed := c.net.missed()
	for text, requests := range came {
		for _, x := range requests {
			id := shotOf(shots, x)
			a := byID[id]
			host, _, _ := strings.Cut(x.from, ":")
			switch {
			case a == nil:
				r.duplicate("%q was sent by %s without any attempt", text, x.from)
				continue
			case a.text != text || address[a.node] != host:
				r.duplicate("%q was sent by %s under the attempt of %s for %q", text, x.from, a.node, a.text)
			case x.at.Before(a.armed):
				r.duplicate("%q was sent by %s %s before its attempt was written down", text, a.node, a.armed.Sub(x.at))
			case a.state == string(scheduler.AttemptNotSent):
				r.duplicate("%q was sent by %s under an attempt that is said to be unsent", text, a.node)
			}
			if used[id]++; used[id] > 1 {
				r.duplicate("%q was sent %d times under one attempt of %s", text, used[id], a.node)
			}
			if a.over != 0 && x.at.After(a.overAt) {
				r.late++ // the same key makes nothing of it
			}
		}
	}
	for text, rights := range held {
		there := seen[text]
		if len(there) == 0 || len(came[text]) == 0 {
			continue
		}
		for _, a := range rights {
			if a.state != string(scheduler.AttemptAbsentByHandle) || !there[0].Indexed.Before(a.overAt) {
				continue
			}
			if !slices.ContainsFunc(missed[came[text][0].key], func(at time.Time) bool { return at.After(a.armed) && at.Before(a.overAt) }) {
				r.untrue("%q: attempt %d of %s was taken for absent at %s without the network having said so, and was there since %s", text, a.n, a.node, a.overAt.UTC().Format(stampMicros), there[0].Indexed.UTC().Format(stampMicros))
			}
		}
	}
}

const stampMicros = "15:04:05.000000"

// gaps measures how long the ready work of killed nodes lay: for each account from
// the death, or from when the first of its posts was due, to the first byte of
// any of them. The posts of an account go out one after the other.
func (c *cluster) gaps(r *result, came map[string][]arrival) {
	type work struct {
		at  time.Time // of the death
		did string
	}
	from, first, node := map[work]time.Time{}, map[work]time.Time{}, map[work]string{}
	earliest := func(m map[work]time.Time, w work, at time.Time) {
		if had, ok := m[w]; !ok || at.Before(had) {
			m[w] = at
		}
	}
	for _, k := range c.takeover {
		w := work{k.at, k.post.did}
		node[w] = k.node
		due := k.at
		if k.post.at.After(due) {
			due = k.post.at
		}
		earliest(from, w, due)
		for _, part := range k.post.input.Parts {
			for _, x := range came[part.Text] {
				if x.at.After(k.at) {
					earliest(first, w, x.at)
				}
			}
		}
	}
	for w, at := range first { // without any it was on the way already, or the oracle has missed it
		late := max(0, at.Sub(from[w]))
		r.gaps = append(r.gaps, late)
		if late > mostGap {
			r.findings = append(r.findings, fmt.Sprintf("LATE: the posts of %s lay for %s after %s was killed", w.did, late.Round(time.Millisecond), node[w]))
		}
	}
}

// mostGap is how long ready work of a killed node may lie at most. The promise
// is 20 s on a machine that has time; this one may have none. What lay longer is
// late, which is told apart from what is lost.
const mostGap = 45 * time.Second
