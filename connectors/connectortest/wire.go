package connectortest

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"smi/connectors"
)

// cell is one field of the matrix: a fault, and what it must come out as on a
// call that may be repeated, on a commit and on a refresh.
type cell struct {
	name   string
	fault  Fault
	read   []connectors.Kind
	commit []connectors.Kind
	renew  []connectors.Kind // of a refresh; nil: not played there
	wait   time.Duration     // RetryAfter must be about this; 0: whatever
	ended  bool              // the suite ends the context once the fault was met
	dial   int               // what Env.Dial does
	reach  connectors.Reach  // of a commit; "" is not compared
	give   bool              // the context has ended before the call
	slack  bool              // a delete or an upload may not need the answer's body
}

const (
	kAuth  = connectors.AuthExpired
	kPerm  = connectors.Permission
	kRate  = connectors.RateLimited
	kTrans = connectors.Transient
	kInv   = connectors.Invalid
	kAmb   = connectors.Ambiguous
	kPman  = connectors.Permanent
	kUnk   = connectors.Unknown
	kUns   = connectors.Unsupported
)

type kinds = []connectors.Kind

// statuses says how a bare status (no code of the network's own in the body) is
// read. On a commit only what a network's own list proves harmless may be
// definite, and the doubtful ones never are: posts have been live behind a 504.
var statuses = []struct {
	status              int
	read, commit, renew kinds
}{
	{400, kinds{kInv, kUnk}, kinds{kInv, kAmb}, kinds{kAuth, kInv, kAmb, kPerm}},
	{401, kinds{kAuth}, kinds{kAuth, kAmb}, kinds{kAuth, kAmb}},
	{403, kinds{kPerm, kPman}, kinds{kPerm, kAmb, kPman}, kinds{kAuth, kPerm, kAmb, kPman}},
	{404, kinds{kInv, kPman, kUnk}, kinds{kInv, kAmb, kPman}, nil},
	{408, kinds{kTrans}, kinds{kAmb}, kinds{kAmb}},
	{409, kinds{kTrans, kInv, kUnk}, kinds{kAmb}, nil},
	{413, kinds{kInv, kUnk}, kinds{kInv, kAmb}, nil},
	{422, kinds{kInv, kUnk}, kinds{kInv, kAmb}, nil},
	{425, kinds{kTrans, kUnk}, kinds{kAmb}, nil},
	{429, kinds{kRate}, kinds{kRate, kAmb}, kinds{kRate, kAmb}},
	{500, kinds{kTrans}, kinds{kAmb}, kinds{kAmb}},
	{502, kinds{kTrans}, kinds{kAmb}, kinds{kAmb}},
	{503, kinds{kTrans, kRate}, kinds{kAmb}, kinds{kAmb, kRate}},
	{504, kinds{kTrans}, kinds{kAmb}, kinds{kAmb}},
}

const page = "<!DOCTYPE html><html><head><title>Sorry</title></head><body>Something went wrong</body></html>"

func (r *runner) cells() []cell {
	var out []cell
	for _, s := range statuses {
		out = append(out, cell{name: fmt.Sprintf("status %d", s.status), fault: Fault{Do: Answer, Status: s.status}, read: s.read, commit: s.commit, renew: s.renew, reach: connectors.ReachAnswered})
	}
	for _, s := range []int{500, 502, 503, 504} {
		out = append(out, cell{name: fmt.Sprintf("status %d after acting", s), fault: Fault{Do: Answer, Status: s, Acted: true}, commit: kinds{kAmb}, renew: kinds{kAmb, kRate}, reach: connectors.ReachAnswered})
	}
	html := map[string]string{"Content-Type": "text/html"}
	out = append(out, cell{name: "status 502 as HTML", fault: Fault{Do: Answer, Status: 502, Header: html, Body: page}, read: kinds{kTrans}, commit: kinds{kAmb}, renew: kinds{kAmb}})
	limited := func(name string, header map[string]string, wait time.Duration) {
		out = append(out, cell{name: "429 with " + name, fault: Fault{Do: Answer, Status: 429, Header: header}, read: kinds{kRate}, commit: kinds{kRate, kAmb}, wait: wait})
	}
	now := r.probe.Env.Now()
	limited("seconds", map[string]string{"Retry-After": "37"}, 37*time.Second)
	limited("date", map[string]string{"Retry-After": now.Add(3 * time.Minute).UTC().Format(http.TimeFormat)}, 3*time.Minute)
	limited("garbage", map[string]string{"Retry-After": "soon"}, 0)
	limited("eternity", map[string]string{"Retry-After": "99999999999999999999"}, 0)
	if r.probe.ResetHeader != nil {
		limited("reset header", r.probe.ResetHeader(now.Add(3*time.Minute)), 3*time.Minute)
	}
	good := connectors.ReachWritten
	out = append(out,
		cell{name: "200 as HTML", fault: Fault{Do: Answer, Status: 200, Header: html, Body: page, Acted: true}, read: kinds{kTrans, kUnk}, commit: kinds{kAmb}, renew: kinds{kAmb}, slack: true},
		cell{name: "200 with an empty body", fault: Fault{Do: Answer, Status: 200, Acted: true}, read: kinds{kTrans, kUnk}, commit: kinds{kAmb}, renew: kinds{kAmb}, slack: true},
		cell{name: "200 with an empty object", fault: Fault{Do: Answer, Status: 200, Body: "{}", Acted: true}, commit: kinds{kAmb}, renew: kinds{kAmb}},
		cell{name: "200 with other JSON", fault: Fault{Do: Answer, Status: 200, Body: `["what", 1, null]`, Acted: true}, read: kinds{kTrans, kUnk}, commit: kinds{kAmb}, renew: kinds{kAmb}, slack: true},
		cell{name: "cut JSON", fault: Fault{Do: CutJSON, Acted: true}, read: kinds{kTrans, kUnk}, commit: kinds{kAmb}, renew: kinds{kAmb}, slack: true},
		cell{name: "redirect", fault: Fault{Do: Answer, Status: 307, Header: map[string]string{"Location": "/elsewhere"}}, read: kinds{kTrans, kUnk, kInv, kPman}, commit: kinds{kAmb}, renew: kinds{kAmb}},
		cell{name: "cut before acting", fault: Fault{Do: Cut}, read: kinds{kTrans}, commit: kinds{kAmb}, renew: kinds{kAmb}, reach: good},
		cell{name: "cut after acting", fault: Fault{Do: Cut, Acted: true}, read: kinds{kTrans}, commit: kinds{kAmb}, renew: kinds{kAmb}, reach: good},
		cell{name: "slow headers", fault: Fault{Do: SlowHeaders, Acted: true}, read: kinds{kTrans}, commit: kinds{kAmb}, renew: kinds{kAmb}, ended: true, reach: good},
		cell{name: "slow body", fault: Fault{Do: SlowBody, Acted: true}, read: kinds{kTrans}, commit: kinds{kAmb}, renew: kinds{kAmb}, ended: true, reach: good},
		cell{name: "refused connection", fault: Fault{Do: RefuseDial}, read: kinds{kTrans}, commit: kinds{kTrans}, renew: kinds{kTrans}, dial: dialRefuse, reach: connectors.ReachNothing},
		cell{name: "broken TLS", fault: Fault{Do: BreakTLS}, read: kinds{kTrans}, commit: kinds{kTrans}, renew: kinds{kTrans}, dial: dialBreakTLS, reach: connectors.ReachNothing},
		cell{name: "given up before", read: kinds{kTrans}, commit: kinds{kTrans}, renew: kinds{kTrans}, give: true, reach: connectors.ReachNothing},
	)
	return out
}

func (r *runner) wire(t *testing.T) {
	if r.probe.Faults == nil {
		t.Fatal(`the harness has no Faults; if there is nothing to put them on, say why in Skip["wire"]`)
	}
	for _, op := range []Op{OpIdentity, OpPrepare, OpCommit, OpFind, OpGet, OpDelete, OpList, OpPostInsights, OpAccountInsights, OpRefresh} {
		if !r.has(op) {
			r.na("wire/"+string(op), "this connection has no such verb")
			continue
		}
		if _, ok := r.skip("wire/" + string(op)); ok {
			continue
		}
		t.Run(string(op), func(t *testing.T) {
			// Each cell has its own network and most of its time is waiting (a
			// connector repeats a read after a pause), so many are played at once.
			var wg sync.WaitGroup
			defer wg.Wait()
			room := make(chan struct{}, 16)
			play := func(fn func()) {
				room <- struct{}{}
				wg.Go(func() {
					defer func() { <-room }()
					fn()
				})
			}
			for _, cl := range r.cells() {
				play(func() { r.cell(t, op, cl) })
			}
			if op != OpCommit {
				play(func() { r.deadline(t, op) })
			}
		})
	}
}

func (r *runner) has(op Op) bool {
	switch op {
	case OpPrepare, OpCommit:
		return r.verbs.Publish
	case OpFind:
		return r.verbs.Find
	case OpGet:
		return r.verbs.Get
	case OpDelete:
		return r.verbs.Delete
	case OpList:
		return r.verbs.List
	case OpPostInsights:
		return r.verbs.PostInsights
	case OpAccountInsights:
		return r.verbs.AccountInsights
	case OpRefresh:
		p, err := r.probe.New(r.probe.Env)
		if err != nil {
			return false
		}
		_, ok := p.(connectors.Refresher)
		return ok
	case OpIdentity:
	}
	return true
}

// cell plays one fault on one op.
func (r *runner) cell(t *testing.T, op Op, cl cell) {
	want := cl.read
	switch op {
	case OpCommit:
		want = cl.commit
	case OpRefresh:
		want = cl.renew
	case OpDelete:
		// Deleting what is gone is no error, and a delete needs no body.
		if cl.slack || strings.HasPrefix(cl.name, "status 404") {
			want = append(kinds{""}, want...)
		}
	case OpPrepare:
		if cl.slack {
			want = append(kinds{kInv}, want...)
		}
	case OpFind, OpPostInsights:
		if cl.name == "status 404" { // not there: data, not a failure
			want = append(kinds{""}, want...)
		}
	case OpIdentity, OpGet, OpList, OpAccountInsights:
	}
	if want == nil {
		return
	}
	name := "wire/" + string(op) + "/" + cl.name
	if w, ok := r.probe.Expect[name]; ok {
		want = w
	}
	if _, ok := r.skip(name); ok {
		return
	}
	r.sub(t, name, func(c *check) string {
		if op == OpCommit {
			return c.commitCell(cl, want)
		}
		return c.repeatableCell(op, cl, want)
	})
}

// sub is check for a name of three steps: the subtest of the op exists already.
func (r *runner) sub(t *testing.T, name string, fn func(*check) string) {
	parts := strings.SplitN(name, "/", 3)
	t.Run(parts[2], func(t *testing.T) {
		na := ""
		defer func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			switch {
			case t.Failed():
				r.results[parts[0]].Failed++
			case na != "":
				r.results[parts[0]].NotApplicable[name] = na
			default:
				r.results[parts[0]].Passed++
			}
		}()
		c := newCheck(t, r, name)
		na = fn(c)
		c.leaks()
	})
}

// set puts the fault in place and reports whether it can happen at all.
func (c *check) set(op Op, cl cell) bool {
	if cl.give {
		return true
	}
	on := c.h.Faults.Set(op, cl.fault)
	if cl.dial != dialReal {
		c.dialMode.Store(int32(cl.dial)) //nolint:gosec // a small constant
		on = true
	}
	return on
}

// met fails unless the fault was met: a matrix that missed would prove nothing.
func (c *check) met(cl cell, dialsBefore int64) {
	c.Helper()
	if cl.give {
		return
	}
	select {
	case <-c.h.Faults.Hit():
		return
	default:
	}
	if cl.dial != dialReal && c.dials.Load() > dialsBefore {
		return
	}
	c.Error("the fault was never met: the route of this op in the harness is wrong, or the call sends nothing")
}

// act prepares a call of an op and returns it.
func (c *check) act(op Op) func(context.Context) error {
	c.Helper()
	seed := func() connectors.Receipt {
		if c.h.Stage.Write == nil {
			c.Fatal("the harness has no Stage.Write")
		}
		return connectors.Receipt{RemoteID: c.h.Stage.Write("written by hand")}
	}
	switch op {
	case OpIdentity:
		return func(ctx context.Context) error { _, err := c.client.Identity(ctx); return err }
	case OpPrepare:
		j := c.job(c.picture("prepare me"))
		return func(ctx context.Context) error { _, err := c.prepare(ctx, j); return err }
	case OpFind:
		j := c.job(c.body("find me"))
		_, err := c.prepare(c.Context(), j)
		c.must("preparing", err)
		j.ArmedAt = c.h.Env.Now()
		return func(ctx context.Context) error { _, err := c.client.Find(ctx, j); return err }
	case OpGet:
		id := seed().RemoteID
		return func(ctx context.Context) error { _, err := c.client.Get(ctx, id); return err }
	case OpDelete:
		rc := seed()
		return func(ctx context.Context) error { return c.client.Delete(ctx, rc) }
	case OpList:
		return func(ctx context.Context) error { _, err := c.client.List(ctx, time.Time{}, ""); return err }
	case OpPostInsights:
		rc := seed()
		return func(ctx context.Context) error {
			_, err := c.client.PostInsights(ctx, []connectors.Receipt{rc})
			return err
		}
	case OpAccountInsights:
		to := c.h.Env.Now().UTC().Truncate(24 * time.Hour)
		return func(ctx context.Context) error {
			_, err := c.client.AccountInsights(ctx, to.AddDate(0, 0, -2), to)
			return err
		}
	case OpRefresh:
		return func(ctx context.Context) error {
			g, err := c.platform.(connectors.Refresher).Refresh(ctx, c.h.Grant)
			c.creds.saw(g.Access, g.Refresh)
			return err
		}
	case OpCommit:
	}
	c.Fatalf("the suite does not know the op %s", op)
	return nil
}

func (c *check) repeatableCell(op Op, cl cell, want kinds) string {
	call := c.act(op)
	dials, calls := c.dials.Load(), c.h.Truth.Calls()
	if !c.set(op, cl) {
		return "this fault cannot be put on this op"
	}
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	var trigger <-chan struct{}
	switch {
	case cl.give:
		cancel()
	case cl.ended:
		trigger = c.h.Faults.Hit()
	}
	var err error
	if trigger != nil || cl.give {
		err = c.ends(string(op), cancel, trigger, func() error { return call(ctx) })
	} else {
		err = call(ctx)
	}
	c.want(string(op), err, want...)
	c.met(cl, dials)
	if cl.give && c.h.Truth.Calls() != calls {
		c.Errorf("%d requests were made after the context had ended", c.h.Truth.Calls()-calls)
	}
	c.shape(cl, err)
	if op == OpPrepare {
		c.effects(0, "a preparation that failed")
	}
	return ""
}

// shape compares what the error carries beside its kind.
func (c *check) shape(cl cell, err error) {
	c.Helper()
	e := connectors.AsError(err)
	if e == nil {
		return
	}
	if cl.fault.Do == Answer && cl.fault.Status >= 400 && e.Status != cl.fault.Status {
		c.Errorf("the error has the status %d, the network answered %d", e.Status, cl.fault.Status)
	}
	if e.Kind == kRate && cl.wait > 0 {
		if low, high := cl.wait-20*time.Second, cl.wait+20*time.Second; e.RetryAfter < low || e.RetryAfter > high {
			c.Errorf("RetryAfter is %v, the network said %v", e.RetryAfter, cl.wait)
		}
	}
	if e.RetryAfter < 0 {
		c.Errorf("RetryAfter is %v", e.RetryAfter)
	}
	if strings.Contains(e.Text, "<") && strings.Contains(e.Text, "html") {
		c.Errorf("the text for a person is a web page: %s", strconv.Quote(e.Text))
	}
}

// commitCell plays a fault on a commit and compares the kind, the evidence, the
// truth, and what Find makes of it.
func (c *check) commitCell(cl cell, want kinds) string {
	j := c.job(c.body("did it happen?"))
	_, err := c.prepare(c.Context(), j)
	c.must("preparing", err)
	dials := c.dials.Load()
	if !c.set(OpCommit, cl) {
		return "this fault cannot be put on this op"
	}
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	var ev connectors.Evidence
	shoot := func() error {
		_, e, err := c.shoot(ctx, j)
		ev = e
		return err
	}
	switch {
	case cl.give:
		cancel()
		err = c.ends("the commit", cancel, nil, shoot)
	case cl.ended:
		err = c.ends("the commit", cancel, c.h.Faults.Hit(), shoot)
	default:
		err = shoot()
	}
	c.want("the commit", err, want...)
	c.met(cl, dials)
	c.shape(cl, err)
	if cl.reach != "" && ev.Reach != cl.reach {
		c.Errorf("the evidence says %s, want %s", ev.Reach, cl.reach)
	}
	acted := 0
	if cl.fault.Acted {
		acted = 1
	}
	c.effects(acted, "a commit that met "+cl.name)
	if !c.r.verbs.Find {
		return ""
	}
	c.dialMode.Store(dialReal)
	if j.ArmedAt.IsZero() {
		j.ArmedAt = c.h.Env.Now()
	}
	id, found := c.there(j)
	switch posts := c.h.Truth.Posts(); {
	case acted == 1 && len(posts) == 1 && id != posts[0].RemoteID:
		c.Errorf("the post is there as %s, and Find says %s %q", posts[0].RemoteID, found, id)
	case acted == 0 && id != "":
		c.Errorf("nothing is there, and Find says %s %q", found, id)
	}
	c.effects(acted, "looking for it")
	return ""
}

// deadline lets a context run out in the middle of an answer: its deadline comes
// when the fault is met, so that no speed of a machine decides anything, and the
// result is that of the very call that met it.
func (r *runner) deadline(t *testing.T, op Op) {
	name := "wire/" + string(op) + "/deadline"
	if _, ok := r.skip(name); ok {
		return
	}
	want := kinds{kTrans}
	if op == OpRefresh {
		want = kinds{kAmb}
	}
	r.sub(t, name, func(c *check) string {
		call := c.act(op)
		cl := cell{fault: Fault{Do: SlowHeaders, Acted: true}}
		if !c.set(op, cl) {
			return "this fault cannot be put on this op"
		}
		ctx := &deadlineContext{Context: c.Context(), end: time.Now().Add(patience), over: make(chan struct{})}
		defer ctx.expire()
		err := c.ends(string(op), ctx.expire, c.h.Faults.Hit(), func() error { return call(ctx) })
		c.want(string(op)+" past its deadline", err, want...)
		c.met(cl, c.dials.Load())
		return ""
	})
}

// deadlineContext is a context whose deadline comes when expire is called.
type deadlineContext struct {
	context.Context
	end  time.Time
	once sync.Once
	over chan struct{}
}

func (d *deadlineContext) expire() { d.once.Do(func() { close(d.over) }) }

// Deadline implements context.Context.
func (d *deadlineContext) Deadline() (time.Time, bool) { return d.end, true }

// Done implements context.Context.
func (d *deadlineContext) Done() <-chan struct{} { return d.over }

// Err implements context.Context.
func (d *deadlineContext) Err() error {
	select {
	case <-d.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}
