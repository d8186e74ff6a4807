package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"smi/connectors"
	"smi/internal/crash"
	"smi/internal/social"
)

// publish takes the current part as far as it can go now, and says whether the
// next part should follow at once.
func (t *task) publish(ctx context.Context) bool {
	doubtful, until := t.doubt()
	if doubtful != nil && t.client != nil && t.Account.Status == social.AccountConnected && !t.cfg.Now().Before(until) {
		return t.ask(ctx, doubtful, nil)
	}
	if t.Delivery.Cancel {
		t.stop()
		return false
	}
	if t.Account.Status != social.AccountConnected {
		t.rest(social.Blocked, "delivery_blocked", "alarm", sentence(orElseText(t.Account.StatusReason, "the account is not connected"))+" It waits until the account is connected again; if it is late by then, you are asked.", nil)
		return false
	}
	if !t.intime() {
		return false
	}
	prep, ok := t.prepare(ctx)
	if !ok {
		return false
	}
	now := t.cfg.Now()
	ahead := t.rules.Load().DialAhead
	if early := t.Delivery.PlannedAt.Add(-ahead); early.After(now.Add(ahead)) {
		t.move(Move{From: publishingStates, To: social.Ready, NextAt: early, Release: true, Checkpoint: prep}) //nolint:errcheck // stale: not ours
		return false
	}
	if !t.pace() {
		return false
	}
	if t.Delivery.State != social.Ready || prep != t.Checkpoint {
		if t.move(Move{From: publishingStates, To: social.Ready, NextAt: t.Delivery.PlannedAt, Tries: t.Delivery.Tries, Checkpoint: prep}) != nil {
			return false
		}
	}
	t.promote()
	return t.commit(ctx)
}

func orElseText(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// intime applies the late rules. A thread that has begun goes on: half a thread
// is worse than a late one. So does what was sent in time and may be there.
func (t *task) intime() bool {
	d, now := &t.Delivery, t.cfg.Now()
	if doubtful, _ := t.doubt(); d.Step > 0 || doubtful != nil {
		return true
	}
	late, rules := now.Sub(d.PlannedAt), t.rules.Load()
	switch {
	case !d.NotAfter.IsZero() && now.After(d.NotAfter):
		t.rest(social.Skipped, "delivery_skipped", "warning", fmt.Sprintf("it was not published by %s, after which it was not wanted.", d.NotAfter.UTC().Format(time.RFC3339)), nil)
	case late <= rules.Grace || d.LatePolicy == social.LatePublish:
		return true
	case d.LatePolicy == social.LateSkip:
		t.rest(social.Skipped, "delivery_skipped", "warning", fmt.Sprintf("it was due %s ago and is skipped, as its author wished.", round(late)), nil)
	case late <= rules.HoldUntil:
		t.rest(social.HeldLate, "delivery_held_late", "alarm", fmt.Sprintf("it was due %s ago. Publish it now, plan it anew or skip it.", round(late)), nil)
	default:
		t.rest(social.Skipped, "delivery_skipped", "alarm", fmt.Sprintf("it was due %s ago, which is too long to publish it unasked. Plan it anew if it is still wanted.", round(late)), nil)
	}
	return false
}

func round(d time.Duration) time.Duration {
	if d > time.Minute {
		return d.Round(time.Minute)
	}
	return d.Round(time.Second)
}

// prepare returns the part's finished preparation, from the ledger if it is
// still good.
func (t *task) prepare(ctx context.Context) (*Checkpoint, bool) {
	needed := t.Delivery.PlannedAt
	if now := t.cfg.Now(); now.After(needed) {
		needed = now
	}
	if c := t.Checkpoint; c != nil && c.Class != "" && len(t.Attempts) == 0 && t.Delivery.Tries == 0 &&
		(c.Expires.IsZero() || c.Expires.After(needed.Add(time.Minute))) {
		return c, true
	}
	limit := t.about.CommitTime + 10*time.Minute
	call, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	p, err := t.client.Prepare(call, t.job())
	if isStale(err) {
		return nil, false
	}
	if err != nil {
		t.judge(ctx, PhasePrepare, err)
		return nil, false
	}
	c := &Checkpoint{Step: t.Delivery.Step, State: p.State, Class: p.Class, RequestHash: p.RequestHash, Expires: p.Expires}
	if p.Again > 0 {
		c.Class = ""
		t.move(Move{From: publishingStates, To: social.Claimed, Tries: t.Delivery.Tries, NextAt: t.cfg.Now().Add(p.Again), Release: true, Checkpoint: c, //nolint:errcheck // stale: not ours
			Reason: "The network is still processing the upload."})
		return nil, false
	}
	crash.Point("after-prepare")
	return c, true
}

// pace keeps the least distance between two posts of an account, and a longer
// one between those that were missed while smi was away.
func (t *task) pace() bool {
	gap := max(t.about.MinGap, t.rules.Load().MinGap)
	if t.Delivery.PlannedAt.Before(t.started.Add(-time.Minute)) {
		gap = max(gap, t.cfg.BacklogGap)
	}
	if gap == 0 || t.Delivery.Step > 0 {
		return true
	}
	t.mu.Lock()
	last, known := t.last[t.Account.ID]
	t.mu.Unlock()
	wait := min(last.Add(gap).Sub(t.cfg.Now()), gap) // longer only if the clock was set back
	if !known || wait < time.Millisecond {           // the ledger keeps milliseconds: a part of one would be due at once, again and again
		return true
	}
	t.move(Move{From: publishingStates, To: social.Waiting, Tries: t.Delivery.Tries, NextAt: t.cfg.Now().Add(wait), Release: true, //nolint:errcheck // stale: not ours
		Reason: "Keeping a distance to the account's last post."})
	return false
}

// promote changes a place for preparing into one for publishing.
func (t *task) promote() {
	if t.pool == publishing {
		return
	}
	t.mu.Lock()
	t.busy[t.pool]--
	t.pool = publishing
	t.busy[t.pool]++
	t.mu.Unlock()
	t.Wake()
}

// commit dials, waits for the minute, arms, writes and records.
func (t *task) commit(ctx context.Context) bool {
	if !t.holds() {
		t.giveBack()
		return false
	}
	j := t.job()
	call, cancel := context.WithTimeout(ctx, 30*time.Second)
	conn, err := t.client.DialCommit(call, j)
	cancel()
	if err != nil {
		t.judge(ctx, PhaseDial, err)
		return false
	}
	closeConn := func() {
		if conn != nil {
			conn.Close() //nolint:errcheck // nothing was written
		}
	}
	if !pause(ctx, t.Delivery.PlannedAt.Sub(t.cfg.Now())) || !t.holds() {
		closeConn()
		t.giveBack()
		return false
	}
	sendBy := t.cfg.Boot().Add(t.about.SendTime)
	attempt, ok := t.arm()
	if !ok {
		closeConn()
		return false
	}
	crash.Point("after-arm")
	shot := connectors.NewShot(attempt.ID, sendBy, conn, t.cfg.Boot)
	j.Now, j.ArmedAt = t.cfg.Now(), attempt.ArmedAt
	// From here on stopping the daemon does not stop the call: the answer is
	// worth waiting for.
	call, cancel = context.WithTimeout(context.WithoutCancel(ctx), t.about.SendTime+t.about.CommitTime)
	receipt, err := t.client.Commit(call, j, shot)
	cancel()
	crash.Point("after-answer")
	t.mu.Lock()
	t.last[t.Account.ID] = t.cfg.Now()
	t.mu.Unlock()
	return t.record(ctx, attempt, receipt, err, shot.Evidence())
}

// arm writes the attempt down. Without ok nothing may be sent; the delivery is
// then already where it belongs.
func (t *task) arm() (Attempt, bool) {
	d, now := &t.Delivery, t.cfg.Now()
	crash.Point("before-arm")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r := ArmRequest{
		Delivery: d.ID, Epoch: d.Epoch, Ver: d.Ver, Attempt: t.cfg.IDs.New(now), Step: d.Step, N: len(t.Attempts) + 1,
		Node: t.cfg.Node, Class: t.Checkpoint.Class, Now: now, SendBy: now.Add(t.about.SendTime),
		TakeoverAt: now.Add(t.about.SendTime + t.about.CommitTime + 5*time.Second), TokenGen: t.Account.TokenGen,
		RequestHash: t.Checkpoint.RequestHash, Fingerprint: t.job().Fingerprint, ContentHash: social.ContentHash(d.Parts),
		AllowRepeat: d.AllowRepeat, Charges: t.charges(), Spend: t.spend(),
	}
	a, err := t.cfg.Ledger.Arm(ctx, r)
	if err == nil {
		d.Ver++
		d.State = social.Armed
		return a, true
	}
	refusal := new(Refusal)
	if !errors.As(err, &refusal) {
		t.log.Error("arming failed; nothing was sent", "err", err)
		t.undoArm(r)
		return a, false
	}
	t.log.Info("not armed", "gate", refusal.Gate, "text", refusal.Text)
	switch refusal.Gate {
	case GateStale:
		// Changed by somebody: the change has said where it goes from here. If the
		// claim is still ours it is given back.
		t.giveBack()
	case GateCancelled:
		d.Cancel = true
		t.giveBack() // if it is still ours, the next look stops it
	case GateToken:
		if now.Sub(d.PlannedAt) > 2*time.Second { // tokens that end as soon as they are got must not keep us spinning
			now = now.Add(time.Second)
		}
		t.again(now, "The account's token was renewed meanwhile.")
	case GatePaused, GateQuarantine:
		t.again(now, refusal.Text)
	case GateBudget, GateClock:
		t.again(later(refusal.Until, now.Add(time.Minute)), refusal.Text)
	case GateAccount:
		t.rest(social.Blocked, "delivery_blocked", "alarm", sentence(refusal.Text), nil)
	case GateExpired:
		if doubtful, until := t.doubt(); doubtful != nil {
			t.again(until, refusal.Text+"; an earlier attempt may still appear, smi makes sure first")
			break
		}
		if d.Step > 0 {
			t.rest(social.NeedsHuman, "delivery_needs_human", "alarm",
				"the time after which it was not wanted has passed, but parts of it are published. Please look.", nil)
			break
		}
		t.rest(social.Skipped, "delivery_skipped", "warning", sentence(refusal.Text), nil)
	case GateContent, GateRepeat, GateOpen:
		t.rest(social.NeedsHuman, "delivery_needs_human", "alarm", sentence(refusal.Text), nil)
	}
	return a, false
}

// again lets the delivery wait until a time.
func (t *task) again(at time.Time, reason string) {
	t.move(Move{From: publishingStates, To: social.Waiting, Tries: t.Delivery.Tries, NextAt: at, Release: true, Reason: sentence(reason)}) //nolint:errcheck // stale: not ours
}

func later(at, other time.Time) time.Time {
	if at.IsZero() {
		return other
	}
	return at
}

// undoArm follows an arming whose commit failed: it may have been written all
// the same. Nothing was sent, which only this process can say, so it says so.
func (t *task) undoArm(r ArmRequest) {
	next := t.cfg.Now().Add(2 * time.Second)
	err := t.move(Move{
		From: publishingStates, To: social.Waiting, Tries: t.Delivery.Tries + 1, NextAt: next, Release: true,
		Reason: "The attempt could not be written down; nothing was sent.",
	})
	if !isStale(err) {
		return
	}
	t.move(Move{ //nolint:errcheck // stale: not ours
		From: []social.DeliveryState{social.Armed}, To: social.Waiting, Tries: t.Delivery.Tries + 1, NextAt: next, Release: true,
		Reason:  "The attempt was written down late; nothing was sent.",
		Attempt: &AttemptChange{ID: r.Attempt, State: AttemptNotSent, DecidedBy: "answer", GiveBack: r.Spend, ArmedAt: r.Now, Evidence: Evidence{Reach: connectors.ReachNothing, Text: "arming was not confirmed in time"}},
	})
}

// Usable is how much of a budget is used: a fifth is kept free for what smi does
// not count.
func Usable(b connectors.Budget) int { return b.Limit - b.Limit/5 }

// charges are the budget units of one commit.
func (t *task) charges() []Charge {
	var out []Charge
	for _, b := range t.about.Budgets {
		if b.Cost == 0 {
			continue
		}
		who := t.Account.RemoteID
		if b.PerApp {
			who = "app:" + t.Account.App
		}
		var zone *time.Location
		if b.Zone != "" {
			var err error
			if zone, err = social.LoadZone(b.Zone); err != nil {
				t.log.Error("the zone of a budget is not known; its days are those of UTC", "endpoint", b.Endpoint, "err", err)
			}
		}
		out = append(out, Charge{
			Key:    fmt.Sprintf("%s/%s/%s/%s", t.Account.Network, who, b.Endpoint, b.Window),
			Window: b.Window, Zone: zone, Limit: Usable(b), Cost: t.client.Weigh(b, &t.Delivery.Parts[t.Delivery.Step]),
		})
	}
	return out
}

// spend is what the delivery costs, said with its first part.
func (t *task) spend() Spend {
	if t.Delivery.Step > 0 {
		return Spend{}
	}
	s := Spend{Purse: t.client.Purse()}
	for _, p := range t.client.Prices(t.Delivery.Parts) {
		s.Micros += p.Micros
	}
	return s
}

// record writes the outcome of a commit down, and says whether the next part
// follows.
func (t *task) record(ctx context.Context, a Attempt, r connectors.Receipt, err error, shot connectors.Evidence) bool {
	ev := Evidence{Reach: shot.Reach, Bytes: shot.Bytes, FirstByte: shot.FirstByte}
	e := connectors.AsError(err)
	s := Situation{Phase: PhaseCommit, Tries: t.Delivery.Tries, Reach: shot.Reach, Renewed: t.isRenewed()}
	if e != nil {
		ev.Kind, ev.Status, ev.Code, ev.RequestID, ev.Text = e.Kind, e.Status, e.Code, e.RequestID, clip(e.Error())
		s.Kind, s.RetryAfter = e.Kind, e.RetryAfter
	}
	v := Decide(s)
	change := &AttemptChange{ID: a.ID, State: v.Attempt, Evidence: ev, Receipt: r, DecidedBy: "answer", GiveBack: t.spend(), ArmedAt: a.ArmedAt}
	a.State = v.Attempt
	t.Attempts = append(t.Attempts, a)
	crash.Point("before-record")
	switch v.Do {
	case DoProceed:
		if r.Pending { // accepted, but only a look will tell
			change.State, change.Receipt = AttemptAmbiguous, connectors.Receipt{}
			t.unclear(change, lookAfter[0], "The network accepted it and is still processing it.")
			return false
		}
		return t.done([]social.DeliveryState{social.Armed}, change, r)
	case DoFail:
		if doubtful, _ := t.doubt(); doubtful != nil {
			// An earlier request with the same handle may still take effect: it is not
			// over before that is known.
			change.State = AttemptAmbiguous
			t.unclear(change, t.about.SendTime+t.about.FindSettles, said(e)+" smi makes sure that an earlier attempt did not get through.")
			break
		}
		t.carryOut(ctx, v, e, change)
	case DoCheck:
		t.log.Warn("the outcome is not known; looking for the post on the network", "err", err)
		t.unclear(change, v.After, "Sent, but the network's answer is missing or unclear: smi is looking for the post.")
	default:
		t.log.Warn("the network refused, or nothing was sent", "kind", e.Kind, "reach", shot.Reach, "err", err, "do", v.Do)
		t.carryOut(ctx, v, e, change)
	}
	crash.Point("after-record")
	return false
}

// unclear leaves the delivery ambiguous, to be looked at after a while.
func (t *task) unclear(change *AttemptChange, after time.Duration, reason string) {
	t.move(Move{From: []social.DeliveryState{social.Armed}, To: social.Ambiguous, Tries: t.Delivery.Tries, //nolint:errcheck // stale: not ours
		NextAt: t.cfg.Now().Add(after), Reason: reason, Release: true, Attempt: change})
}

// done is called when the current part is known to be public. It says whether
// another part follows.
func (t *task) done(from []social.DeliveryState, change *AttemptChange, r connectors.Receipt) bool {
	d := &t.Delivery
	m := Move{From: from, To: social.Published, Attempt: change, Release: true, Step: d.Step + 1}
	if r.PublishedAt.IsZero() {
		r.PublishedAt = t.cfg.Now()
		change.Receipt.PublishedAt = r.PublishedAt
	}
	if d.Step == 0 {
		m.Body = &r
		if late := t.cfg.Now().Sub(d.PlannedAt); late > time.Minute {
			m.Reason = fmt.Sprintf("Published %s late.", round(late))
		}
	}
	more := d.Step+1 < len(d.Parts)
	if more {
		m.To, m.Release, m.NextAt = social.Scheduled, false, t.cfg.Now()
	}
	if err := t.move(m); err != nil {
		if errors.Is(err, ErrRemoteTaken) {
			change.State, change.Receipt = AttemptAmbiguous, connectors.Receipt{}
			change.Evidence.Candidates = []connectors.Candidate{{Receipt: r, At: r.PublishedAt}}
			t.rest(social.NeedsHuman, "delivery_needs_human", "alarm",
				fmt.Sprintf("the network says that it is %s, but that belongs to another post already. Please look how often it is there.", orElseText(r.URL, r.RemoteID)), change)
		}
		return false
	}
	crash.Point("after-record")
	t.works()
	if t.Receipts == nil {
		t.Receipts = map[int]connectors.Receipt{}
	}
	t.Receipts[d.Step-1] = r
	t.Attempts, t.Checkpoint = nil, nil
	if !more {
		t.log.Info("published", "url", d.RemoteURL, "planned", d.PlannedAt)
	}
	return more
}

// stop ends a delivery whose cancelling was wanted while it was being sent, now
// that it turned out not to have been. What was called absent too early is
// looked for first (see publish); where that is not possible, a person can.
func (t *task) stop() {
	d := &t.Delivery
	if doubtful, until := t.doubt(); doubtful != nil {
		if t.cfg.Now().Before(until) {
			t.again(until, "It is to be cancelled, but may still appear: smi makes sure first.")
			return
		}
		t.rest(social.NeedsHuman, "delivery_needs_human", "alarm", fmt.Sprintf("it was to be cancelled, but may have got out, and smi cannot look because %s is not connected. Please look: it is there, or drop it.", t.Account.Handle), nil)
		return
	}
	m := Move{From: publishingStates, To: social.Cancelled, Release: true, Reason: "Cancelled before it got out."}
	if d.Step > 0 {
		m.To, m.Reason = social.Published, fmt.Sprintf("%d of %d parts are published; the rest was cancelled.", d.Step, len(d.Parts))
	}
	t.move(m) //nolint:errcheck // stale: not ours
}

// clip bounds what is kept of an error.
func clip(s string) string {
	const most = 4 << 10
	if len(s) > most {
		s = s[:most]
	}
	return s
}
