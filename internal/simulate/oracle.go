package simulate

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"smi/connectors/connectortest"
	"smi/internal/social"
)

// acks are what smi said yes to: promises, which no crash may break.
type acks struct {
	armed     map[social.ID]string // attempts, and of which delivery
	published map[social.ID]string
	cancelled map[social.ID]int   // deliveries, and how many parts were public
	gens      map[social.ID]int64 // generations of logins, by account
}

func newAcks() acks {
	return acks{armed: map[social.ID]string{}, published: map[social.ID]string{}, cancelled: map[social.ID]int{}, gens: map[social.ID]int64{}}
}

// acked keeps a promise, unless the node that made it has died before it could
// tell anybody.
func (r *run) acked(n *node, keep func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n == nil || !n.gone && !n.l.over {
		keep()
	}
}

// checkAcks wants that all that was promised is still there after a crash.
func (r *run) checkAcks() {
	s := r.m.last().store
	r.mu.Lock()
	defer r.mu.Unlock()
	bad := func(format string, args ...any) {
		r.findings = append(r.findings, "UNSAVED: "+fmt.Sprintf(format, args...))
	}
	one := func(query string, args ...any) (n int64) {
		if err := s.WriterDB().QueryRowContext(context.Background(), query, args...).Scan(&n); err != nil {
			bad("after the crash: %v", err)
		}
		return n
	}
	for id, of := range r.acks.armed {
		if one(`SELECT count(*) FROM attempt WHERE id = $1`, int64(id)) == 0 {
			bad("an attempt of %s that had been written down is gone", of)
		}
	}
	for id, of := range r.acks.published {
		if one(`SELECT count(*) FROM delivery WHERE id = $1 AND state = 'published'`, int64(id)) == 0 {
			bad("%s had been called published and is not any more", of)
		}
	}
	for id := range r.acks.cancelled {
		if one(`SELECT count(*) FROM delivery WHERE id = $1 AND state IN ('cancelled','published')`, int64(id)) == 0 {
			bad("%s had been cancelled and is not any more", r.nameLocked(id))
		}
	}
	for id, gen := range r.acks.gens {
		if one(`SELECT COALESCE(MAX(gen), 0) FROM grant_row WHERE account_id = $1`, int64(id)) < gen {
			bad("a login that had been stored is gone")
		}
	}
	for _, w := range r.wishes {
		for _, id := range w.ids {
			if one(`SELECT count(*) FROM delivery WHERE id = $1`, int64(id)) == 0 {
				bad("P%d had been planned and is gone", w.n)
			}
		}
	}
}

var label = regexp.MustCompile(`^P(\d+)\.(\d+)\.(\d+) `)

// effects are what became public of a post on an account, by part.
func (r *run) effects(post, account int) map[int][]connectortest.Effect {
	out := map[int][]connectortest.Effect{}
	for _, e := range r.nets[r.accounts[account]].Effects() {
		m := label.FindStringSubmatch(social.NormalText(e.Text))
		if e.Account != r.accts[account].RemoteID || m == nil || m[1] != strconv.Itoa(post) {
			continue
		}
		part, _ := strconv.Atoi(m[2]) //nolint:errcheck // digits
		out[part] = append(out[part], e)
	}
	return out
}

// judge compares what smi says with what is true.
func (r *run) judge() {
	for _, w := range r.wishes {
		if !w.planned() {
			r.find("LOST: P%d could not be planned", w.n)
			continue
		}
		for _, a := range r.posts[w.n].accounts {
			r.counts.Deliveries++
			r.judgeDelivery(w, a)
		}
	}
	r.judgeWrites()
	r.judgeLogins()
	bad, err := r.m.last().store.Invariants(context.Background(), r.now())
	if err != nil {
		r.find("LOST: the invariants cannot be read: %v", err)
	}
	for _, b := range bad {
		r.find("INVARIANT: %s", b)
	}
	for _, f := range r.findings {
		switch kind, _, _ := strings.Cut(f, ":"); kind {
		case "DUPLICATE":
			r.counts.Twice++
		case "LOST":
			r.counts.Lost++
		case "FALSE":
			r.counts.False++
		default:
			r.counts.Other++
		}
	}
}

// attempt is an attempt as the oracle reads it.
type attempt struct {
	step                    int
	state, remote, hash, by string
	id                      int64
}

func (r *run) attempts(d social.ID) (out []attempt) {
	rows, err := r.m.last().store.WriterDB().QueryContext(context.Background(),
		`SELECT step, state, COALESCE(remote_id, ''), req_hash, decided_by, id FROM attempt WHERE delivery_id = $1 ORDER BY step, n`, int64(d))
	if err != nil {
		r.find("LOST: the attempts cannot be read: %v", err)
		return nil
	}
	defer rows.Close()
	for rows.Next() {
		var a attempt
		if err := rows.Scan(&a.step, &a.state, &a.remote, &a.hash, &a.by, &a.id); err != nil {
			r.find("LOST: the attempts cannot be read: %v", err)
		}
		out = append(out, a)
	}
	if err := rows.Err(); err != nil {
		r.find("LOST: the attempts cannot be read: %v", err)
	}
	return out
}

func (r *run) judgeDelivery(w *wish, account int) {
	id, db := w.ids[account], r.seeds()
	key := fmt.Sprintf("P%d@%d", w.n, account)
	text := func(column string) string { return db.Text(`SELECT `+column+` FROM delivery WHERE id = $1`, int64(id)) }
	state := social.DeliveryState(text("state"))
	step, _ := strconv.Atoi(text("step")) //nolint:errcheck // a column of numbers
	var parts []social.Part
	if err := json.Unmarshal([]byte(text("parts")), &parts); err != nil {
		r.find("LOST: %s is not there: %v", key, err)
		return
	}
	says := fmt.Sprintf("%s is %s at part %d of %d (%s)", key, state, step, len(parts), text("reason"))
	effects := r.effects(w.n, account)
	tries := r.attempts(id)
	r.sometimes("ended " + string(state))

	for part, es := range effects {
		if len(es) > 1 {
			r.find("DUPLICATE: part %d of %s is %d times on the network; %s", part, key, len(es), says)
		}
		if part < len(parts) && part < step && social.NormalText(es[0].Text) != social.NormalText(parts[part].Text) {
			r.find("FALSE: on the network stands %q instead of %q; %s", es[0].Text, parts[part].Text, says)
		}
	}
	if !state.Final() {
		r.find("LOST: %s", says)
	}
	// What counts as done is there, once, under the id that smi knows.
	var last connectortest.Effect
	var body string
	for part := range step {
		es := effects[part]
		i := slices.IndexFunc(tries, func(a attempt) bool { return a.step == part && (a.state == "ok" || a.state == "adopted") })
		switch {
		case len(es) == 0:
			r.find("FALSE: part %d of %s is not on the network; %s", part, key, says)
			return
		case i < 0:
			r.find("FALSE: no attempt of part %d of %s has succeeded; %s", part, key, says)
			return
		case tries[i].remote != es[0].RemoteID:
			r.find("FALSE: part %d of %s is %s, smi says %s", part, key, es[0].RemoteID, tries[i].remote)
		}
		e := es[0]
		if part == 0 {
			body = e.RemoteID
		}
		if part > 0 {
			parent := last.RemoteID
			if parts[part].Role == social.RoleComment {
				parent = body
			}
			if e.At.Before(last.At) || e.Parent != parent {
				r.find("ORDER: part %d of %s does not follow the one before it", part, key)
			}
		}
		if len(parts[part].Media) != e.Media {
			r.find("FALSE: part %d of %s has %d pictures on the network", part, key, e.Media)
		}
		last = e
	}
	for part := range effects {
		if part >= step {
			r.find("FALSE: part %d of %s is on the network; %s", part, key, says)
		}
	}
	if step > 0 && text("remote_id") != body {
		r.find("FALSE: %s is %s on the network, smi says %s", key, body, text("remote_id"))
	}
	if state == social.Published && step == 0 || state != social.Published && state.Final() && step > 0 {
		r.find("FALSE: %s", says)
	}
	if planned := text("planned_utc"); len(effects[0]) > 0 && strconv.FormatInt(effects[0][0].At.UnixMilli(), 10) < planned {
		r.find("EARLY: %s was public before its time", key)
	}
	r.mu.Lock()
	promised, was := r.acks.cancelled[id]
	r.mu.Unlock()
	if was && step > promised {
		r.find("CANCELLED: %s was cancelled at part %d and went on; %s", key, promised, says)
	}
	for _, a := range tries {
		if a.state == "armed" || a.state == "ambiguous" && state != social.Failed && (state != social.Published || step == len(parts)) {
			r.find("LOST: an attempt of part %d of %s is still %s; %s", a.step, key, a.state, says)
		}
	}
	told, _ := strconv.Atoi(db.Text(`SELECT count(*) FROM outbox WHERE delivery_id = $1`, int64(id))) //nolint:errcheck // a number
	must, _ := strconv.Atoi(db.Text(`SELECT count(*) FROM audit WHERE subject = $1 AND actor LIKE 'scheduler:%' AND action IN
		('delivery.failed','delivery.needs_human','delivery.held_late','delivery.blocked','delivery.skipped')`, id.String())) //nolint:errcheck // a number
	if told < must {
		r.find("SILENT: people had to be told %d times of %s and were %d times", must, key, told)
	}
}

// judgeWrites wants that no request was sent more often than it was written
// down, and that each effect comes from an attempt.
func (r *run) judgeWrites() {
	db := r.seeds()
	for hash, sent := range r.sends {
		if n, _ := strconv.Atoi(db.Text(`SELECT count(*) FROM attempt WHERE req_hash = $1`, hash)); n < sent { //nolint:errcheck // a number
			r.find("UNARMED: a request was sent %d times and is written down %d times", sent, n)
		}
	}
	for i, w := range r.nets {
		for _, e := range w.Effects() {
			if e.Attempt != 0 && db.Text(`SELECT req_hash FROM attempt WHERE id = $1`, int64(e.Attempt)) != e.Hash {
				r.find("UNARMED: %q came to %s without an attempt of its bytes", e.Text, r.worlds[i].Name)
			}
		}
	}
}

// judgeLogins wants that no login died by smi's own doing.
func (r *run) judgeLogins() {
	db := r.seeds()
	for i, w := range r.nets {
		if n := w.Reused(); n > 0 && !r.gaveUp[i] {
			r.find("TOKEN: a login of %s was used up twice, %d times, although no answer was lost", r.worlds[i].Name, n)
		}
	}
	for i, a := range r.accts {
		gave := db.Text(`SELECT count(*) FROM outbox WHERE account_id = $1 AND kind = 'account_needs_reconnect'`, int64(a.ID))
		if gave != "0" && !r.gaveUp[r.accounts[i]] {
			r.find("TOKEN: %s had to be connected again, and no login was lost", r.accountName(a.ID))
		}
	}
}
