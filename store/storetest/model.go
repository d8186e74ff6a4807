package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"smi/connectors"
	"smi/internal/social"
	"smi/scheduler"
)

// ledgerModel drives the ledger the way two nodes, a network and people might:
// claims, preparations, arms, sends, lost answers, takeovers, restarts, leases
// that end unnoticed, cancels and answers, in any order. After each step the
// promises must hold.
func ledgerModel(t *testing.T, open Opener) {
	s := open(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(t, rt, &room{Seeds: Seed(t, s), s: s})
		rt.Repeat(map[string]func(*rapid.T){
			"plan":    m.plan,
			"wait":    m.wait,
			"claim":   m.claimSome,
			"prepare": m.prepare,
			"arm":     m.armOne,
			"send":    m.send,
			"record":  m.record,
			"look":    m.look,
			"cancel":  m.cancel,
			"answer":  m.answer,
			"restart": m.restart,
			"pause":   m.pauseAccount,
			"":        m.check,
		})
	})
}

// effect is one post on the network.
type effect struct {
	delivery social.ID
	step     int
	attempt  social.ID
	remote   string
}

// held is a claimed delivery in a node's memory, which may be out of date.
type held struct {
	node    string
	work    scheduler.Work
	attempt *scheduler.Attempt // armed by this node
	sent    bool
}

type model struct {
	t     *testing.T
	r     *room
	now   time.Time
	all   []social.ID
	held  []*held
	world []effect
	// cancelled says how many effects a delivery had when it was said to be
	// cancelled; dropped were given up without knowing.
	cancelled map[social.ID]int
	dropped   map[social.ID]bool
	epochs    map[social.ID]int64
	asked     int // moves into NeedsHuman
}

var modelTables = []string{"attempt", "checkpoint", "delivery", "post", "account", "workspace", "outbox", "audit", "budget"}

func newModel(t *testing.T, rt *rapid.T, r *room) *model {
	for _, table := range modelTables {
		r.Exec(`DELETE FROM ` + table)
	}
	r.ws = r.Workspace()
	r.a = r.Account(r.ws.ID)
	m := &model{t: t, r: r, now: time.Now().UTC().Truncate(time.Millisecond), cancelled: map[social.ID]int{}, dropped: map[social.ID]bool{}, epochs: map[social.ID]int64{}}
	m.plan(rt)
	return m
}

func (m *model) plan(rt *rapid.T) {
	parts := []social.Part{{Role: social.RoleBody, Text: fmt.Sprintf("post %d", len(m.all))}}
	if rapid.Bool().Draw(rt, "thread") {
		parts = append(parts, social.Part{Role: social.RoleThread, Text: "more"})
	}
	m.all = append(m.all, m.r.due(m.now, parts...).ID)
}

func (m *model) wait(rt *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.SampledFrom([]int{1, 10, 20, 40, 100, 400}).Draw(rt, "seconds")) * time.Second)
}

func (m *model) node(rt *rapid.T) string {
	return rapid.SampledFrom([]string{"n1", "n2"}).Draw(rt, "node")
}

func (m *model) claimSome(rt *rapid.T) {
	node := m.node(rt)
	for _, w := range m.r.claim(node, m.now, func(q *scheduler.ClaimRequest) { q.PerAccount = 3 }) {
		if w.Delivery.Owner != node || m.cancelledNow(w.Delivery.ID) {
			rt.Fatalf("claimed %+v", w.Delivery)
		}
		h := &held{node: node, work: w}
		m.held = append(m.held, h)
	}
}

func (m *model) cancelledNow(id social.ID) bool {
	_, ok := m.cancelled[id]
	return ok
}

// pick draws one of the held deliveries that ok likes; nil if there is none.
func (m *model) pick(rt *rapid.T, ok func(*held) bool) *held {
	var out []*held
	for _, h := range m.held {
		if ok(h) {
			out = append(out, h)
		}
	}
	if len(out) == 0 {
		rt.Skip("nothing of the kind is held")
	}
	return rapid.SampledFrom(out).Draw(rt, "held")
}

func (m *model) forget(h *held) {
	m.held = slices.DeleteFunc(m.held, func(o *held) bool { return o == h })
}

// move makes a change in a node's name. It says whether the node still had the
// delivery, and holds the ledger to its word about old epochs.
func (m *model) move(rt *rapid.T, h *held, mv scheduler.Move) bool {
	d := &h.work.Delivery
	mv.Delivery, mv.Epoch, mv.Now = d.ID, d.Epoch, m.now
	before := m.r.row(d.ID)
	current := m.r.Text(`SELECT epoch FROM delivery WHERE id = $1`, int64(d.ID)) == fmt.Sprint(d.Epoch)
	err := m.r.s.Move(m.t.Context(), mv)
	switch {
	case err == nil && !current:
		rt.Fatalf("a move with an old epoch was made")
	case err == nil:
		d.State, d.Ver = mv.To, d.Ver+1
		return true
	case !errors.Is(err, scheduler.ErrStale):
		rt.Fatalf("moving to %s: %v", mv.To, err)
	case before != m.r.row(d.ID):
		rt.Fatalf("a stale move changed something")
	}
	m.forget(h)
	return false
}

func (m *model) prepare(rt *rapid.T) {
	h := m.pick(rt, func(h *held) bool {
		return slices.Contains([]social.DeliveryState{social.Scheduled, social.Claimed, social.Waiting}, h.work.Delivery.State)
	})
	m.move(rt, h, scheduler.Move{From: []social.DeliveryState{social.Scheduled, social.Claimed, social.Waiting}, To: social.Ready, NextAt: m.now, Checkpoint: &scheduler.Checkpoint{Step: h.work.Delivery.Step, Class: connectors.Unkeyed}})
}

func (m *model) armOne(rt *rapid.T) {
	h := m.pick(rt, func(h *held) bool { return h.work.Delivery.State == social.Ready && h.attempt == nil })
	d := &h.work.Delivery
	current := m.r.Text(`SELECT epoch FROM delivery WHERE id = $1`, int64(d.ID)) == fmt.Sprint(d.Epoch)
	a, err := m.r.s.Arm(m.t.Context(), m.r.armRequest(h.work, m.now))
	refusal := new(scheduler.Refusal)
	switch {
	case errors.As(err, &refusal):
		if refusal.Gate != scheduler.GatePaused {
			m.forget(h)
		}
		return
	case err != nil:
		rt.Fatalf("arming: %v", err)
	case !current, m.cancelledNow(d.ID):
		rt.Fatalf("armed with an old epoch or after cancelling")
	}
	d.State, d.Ver, h.attempt = social.Armed, d.Ver+1, &a
	if rapid.IntRange(0, 9).Draw(rt, "answer of arm lost") == 0 {
		m.forget(h) // the node never learns that it may send, so it sends nothing
	}
}

// send is the write to the network: once per shot, and not after SendBy, also by
// a node whose lease has ended.
func (m *model) send(rt *rapid.T) {
	h := m.pick(rt, func(h *held) bool { return h.attempt != nil && !h.sent && m.now.Before(h.attempt.SendBy) })
	h.sent = true
	m.world = append(m.world, effect{h.work.Delivery.ID, h.work.Delivery.Step, h.attempt.ID, fmt.Sprintf("remote-%d", len(m.world))})
}

func (m *model) found(attempt social.ID) (effect, bool) {
	for _, e := range m.world {
		if e.attempt == attempt {
			return e, true
		}
	}
	return effect{}, false
}

func (m *model) record(rt *rapid.T) {
	h := m.pick(rt, func(h *held) bool { return h.attempt != nil })
	from := []social.DeliveryState{social.Armed}
	e, there := m.found(h.attempt.ID)
	switch {
	case !there && rapid.Bool().Draw(rt, "not sent"):
		h.sent = true // decided: it will not be sent any more
		m.move(rt, h, scheduler.Move{From: from, To: social.Waiting, NextAt: m.now.Add(time.Second), Release: true, Attempt: &scheduler.AttemptChange{ID: h.attempt.ID, State: scheduler.AttemptNotSent}})
	case there && rapid.Bool().Draw(rt, "answer read"):
		m.move(rt, h, m.r.done(h.work, *h.attempt, e.remote, m.now))
	default:
		h.sent = true
		m.move(rt, h, scheduler.Move{From: from, To: social.Ambiguous, NextAt: m.now.Add(time.Second), Release: true, Attempt: &scheduler.AttemptChange{ID: h.attempt.ID, State: scheduler.AttemptAmbiguous}})
	}
	m.forget(h)
}

// look asks the network about an attempt of a node that is gone.
func (m *model) look(rt *rapid.T) {
	h := m.pick(rt, func(h *held) bool {
		return h.attempt == nil && (h.work.Delivery.State == social.Armed || h.work.Delivery.State == social.Ambiguous)
	})
	d := h.work.Delivery
	if len(h.work.Attempts) == 0 {
		rt.Fatalf("%s without an attempt", d.State)
	}
	a := h.work.Attempts[len(h.work.Attempts)-1]
	if d.State == social.Armed {
		if m.now.Before(a.TakeoverAt) {
			m.move(rt, h, scheduler.Move{From: []social.DeliveryState{social.Armed}, To: social.Armed, NextAt: a.TakeoverAt, Release: true})
			m.forget(h)
			return
		}
		m.move(rt, h, scheduler.Move{From: []social.DeliveryState{social.Armed}, To: social.Ambiguous, NextAt: m.now, Attempt: &scheduler.AttemptChange{ID: a.ID, State: scheduler.AttemptAmbiguous, DecidedBy: "takeover"}})
		return
	}
	from := []social.DeliveryState{social.Ambiguous}
	e, there := m.found(a.ID)
	switch {
	case there && rapid.Bool().Draw(rt, "listed"):
		mv := m.r.done(h.work, a, e.remote, m.now)
		mv.From, mv.Attempt.State = from, scheduler.AttemptAdopted
		m.move(rt, h, mv)
	case m.now.Before(a.SendBy.Add(5 * time.Minute)):
		m.move(rt, h, scheduler.Move{From: from, To: social.Ambiguous, NextAt: m.now.Add(5 * time.Second), Release: true, Attempt: &scheduler.AttemptChange{ID: a.ID, State: scheduler.AttemptAmbiguous, Polls: a.Polls + 1}})
	default:
		if m.move(rt, h, scheduler.Move{
			From: from, To: social.NeedsHuman, Release: true, Attempt: &scheduler.AttemptChange{ID: a.ID, State: scheduler.AttemptAmbiguous, Polls: a.Polls + 1},
			Notice: &scheduler.Notice{Kind: "delivery_needs_human", Severity: "alarm", Delivery: d.ID, Text: "look"},
		}) {
			m.asked++
		}
	}
	m.forget(h)
}

func (m *model) cancel(rt *rapid.T) {
	id := rapid.SampledFrom(m.all).Draw(rt, "delivery")
	st, err := m.r.s.CancelDelivery(m.t.Context(), m.r.ws.ID, id, "person:ada")
	switch {
	case err == nil && !m.cancelledNow(id):
		m.cancelled[id] = m.effects(id)
	case err != nil && social.CodeOf(err) != social.CodeConflict:
		rt.Fatalf("cancelling: %s, %v", st, err)
	}
}

func (m *model) effects(id social.ID) (n int) {
	for _, e := range m.world {
		if e.delivery == id {
			n++
		}
	}
	return n
}

// answer is a person who looks properly before answering.
func (m *model) answer(rt *rapid.T) {
	var waiting []social.ID
	for _, id := range m.all {
		if m.r.state(id) == social.NeedsHuman {
			waiting = append(waiting, id)
		}
	}
	if len(waiting) == 0 {
		rt.Skip("nobody is asked")
	}
	id := rapid.SampledFrom(waiting).Draw(rt, "delivery")
	attempts, err := m.r.s.Attempts(m.t.Context(), m.r.ws.ID, id)
	if err != nil {
		rt.Fatal(err)
	}
	e, there := m.found(attempts[len(attempts)-1].ID)
	say, rec := social.AnswerAgain, connectors.Receipt{}
	switch {
	case rapid.IntRange(0, 3).Draw(rt, "drop") == 0:
		say = social.AnswerDrop
		m.dropped[id] = true
	case there:
		say, rec.RemoteID = social.AnswerThere, e.remote
	}
	if err := m.r.s.ResolveDelivery(m.t.Context(), m.r.ws.ID, id, say, rec, "person:ada"); err != nil {
		rt.Fatal(err)
	}
	m.now = m.now.Add(time.Minute) // answers are timed by the store's clock
	m.r.Exec(`UPDATE delivery SET next_at = $1 WHERE id = $2 AND next_at > $1`, m.now.UnixMilli(), int64(id))
}

// restart kills nodes in whatever they do.
func (m *model) restart(rt *rapid.T) {
	node, alone := m.node(rt), rapid.Bool().Draw(rt, "all nodes")
	m.held = slices.DeleteFunc(m.held, func(h *held) bool { return alone || h.node == node })
	if _, err := m.r.s.Recover(m.t.Context(), node, alone, m.now); err != nil {
		rt.Fatal(err)
	}
}

func (m *model) pauseAccount(rt *rapid.T) {
	if err := m.r.s.SetPaused(m.t.Context(), social.PauseScope{Workspace: m.r.ws.ID, Account: m.r.a.ID}, rapid.IntRange(0, 3).Draw(rt, "pause") == 0, "person:ada"); err != nil {
		rt.Fatal(err)
	}
}

// check holds the ledger to the promises.
func (m *model) check(rt *rapid.T) {
	type part struct {
		id   social.ID
		step int
	}
	count := map[part]int{}
	for _, e := range m.world {
		count[part{e.delivery, e.step}]++
	}
	for p, n := range count {
		if n > 1 {
			rt.Fatalf("part %d of %s is on the network %d times", p.step, p.id, n)
		}
		if p.step > 0 && count[part{p.id, p.step - 1}] == 0 {
			rt.Fatalf("part %d of %s is there without the one before it", p.step, p.id)
		}
	}
	for id, n := range m.cancelled {
		if m.effects(id) != n {
			rt.Fatalf("%s was published after it was cancelled", id)
		}
	}
	for _, q := range []string{
		`SELECT count(*) FROM (SELECT 1 FROM attempt WHERE state IN ('armed','ambiguous') GROUP BY delivery_id, step HAVING count(*) > 1) x`,
		`SELECT count(*) FROM (SELECT 1 FROM attempt WHERE state IN ('ok','adopted') GROUP BY delivery_id, step HAVING count(*) > 1) x`,
		`SELECT count(*) FROM (SELECT 1 FROM attempt WHERE remote_id IS NOT NULL GROUP BY remote_id HAVING count(DISTINCT delivery_id) > 1) x`,
		`SELECT count(*) FROM delivery WHERE state IN ('scheduled','claimed','ready','waiting','armed','ambiguous') AND next_at = 0`,
		`SELECT count(*) FROM delivery WHERE state IN ('published','failed','cancelled','skipped') AND (next_at > 0 OR owner <> '')`,
		`SELECT count(*) FROM delivery d WHERE state = 'armed' AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.delivery_id = d.id AND a.step = d.step AND a.state = 'armed')`,
	} {
		if n := m.r.Text(q); n != "0" {
			rt.Fatalf("%s rows break a rule: %s", n, q)
		}
	}
	for _, id := range m.all {
		var epoch int64
		var state, remote string
		if err := m.r.s.WriterDB().QueryRowContext(m.t.Context(), `SELECT epoch, state, remote_id FROM delivery WHERE id = $1`, int64(id)).Scan(&epoch, &state, &remote); err != nil {
			rt.Fatal(err)
		}
		if epoch < m.epochs[id] {
			rt.Fatalf("the epoch of %s fell from %d to %d", id, m.epochs[id], epoch)
		}
		m.epochs[id] = epoch
		switch social.DeliveryState(state) {
		case social.Published:
			if i := slices.IndexFunc(m.world, func(e effect) bool { return e.delivery == id && e.step == 0 && e.remote == remote }); i < 0 {
				rt.Fatalf("%s is published as %q, which is not there", id, remote)
			}
		case social.Failed, social.Cancelled, social.Skipped:
			if m.effects(id) > 0 && !m.dropped[id] {
				rt.Fatalf("%s is %s, but on the network", id, state)
			}
		}
	}
	if n := m.r.Text(`SELECT count(*) FROM outbox WHERE kind = 'delivery_needs_human'`); n != fmt.Sprint(m.asked) {
		rt.Fatalf("%d questions, %s notices", m.asked, n)
	}
}
