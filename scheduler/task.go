package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"smi/connectors"
	"smi/internal/crash"
	"smi/internal/social"
)

// task is one claimed delivery being worked on by this node.
type task struct {
	*Scheduler
	Work
	pool   pool
	log    *slog.Logger
	client *connectors.Client
	about  connectors.Description
}

var publishingStates = []social.DeliveryState{social.Scheduled, social.Claimed, social.Ready, social.Waiting}

// run works on the delivery until it rests, waits, or belongs to somebody else.
func (t *task) run(ctx context.Context) {
	crash.Point("after-claim")
	if ctx.Err() != nil {
		t.giveBack()
		return
	}
	var err error
	t.client, err = t.cfg.Clients(ctx, t.Account)
	if err == nil {
		t.about = t.client.Describe()
	}
	if t.Gap != nil {
		t.lookBack(ctx, err)
		return
	}
	switch t.Delivery.State {
	case social.Armed:
		t.takeOver(ctx, err)
	case social.Ambiguous:
		t.look(ctx, err)
	default:
		if err != nil && !t.Delivery.Cancel { // to cancel takes no client
			t.judge(ctx, PhasePrepare, err)
			return
		}
		for t.publish(ctx) {
		}
	}
}

// move writes a change and keeps the task's copy in step. It goes on trying
// while the ledger cannot be reached, because what happened must not be
// forgotten while this process knows it; it gives up when the delivery belongs
// to somebody else.
func (t *task) move(m Move) error {
	m.Delivery, m.Epoch, m.Now = t.Delivery.ID, t.Delivery.Epoch, t.cfg.Now()
	if m.Step == 0 {
		m.Step = t.Delivery.Step
	}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		err := t.cfg.Ledger.Move(ctx, m)
		cancel()
		if err == nil {
			break
		}
		switch {
		case isStale(err):
			t.log.Warn("a change came too late: the delivery is in other hands", "to", m.To)
			return err
		case errors.Is(err, ErrRemoteTaken):
			return err
		case errors.Is(err, ErrInvalidMove) && m.To != social.NeedsHuman:
			t.log.Error("the ledger refused a change that is never right", "to", m.To, "err", err)
			t.lost()
			return err
		}
		t.log.Error("recording what happened failed; trying again", "to", m.To, "err", err)
		pause(context.Background(), wait)
	}
	from := t.Delivery.State
	t.Delivery.State, t.Delivery.Step, t.Delivery.Tries = m.To, m.Step, m.Tries
	t.Delivery.Ver++
	if m.Checkpoint != nil {
		t.Checkpoint = m.Checkpoint
	}
	if m.DropCheckpoint {
		t.Checkpoint = nil
	}
	if m.Body != nil {
		t.Delivery.RemoteID, t.Delivery.RemoteURL = m.Body.RemoteID, m.Body.URL
	}
	e := Event{
		Delivery: t.Delivery.ID, Account: t.Account.ID, Network: t.Account.Network, Step: m.Step, From: from, State: m.To,
		Planned: t.Delivery.PlannedAt, URL: t.Delivery.RemoteURL, Reason: m.Reason,
	}
	if m.Attempt != nil {
		e.FirstByte = m.Attempt.Evidence.FirstByte
		e.Attempt = t.news(from, m.Attempt)
	}
	t.cfg.Observe(e)
	return nil
}

// news is what a change says of its attempt that was not known before: a look
// that brought nothing says nothing.
func (t *task) news(from social.DeliveryState, c *AttemptChange) AttemptState {
	for _, a := range t.Attempts {
		if from != social.Armed && a.ID == c.ID && a.State == c.State {
			return ""
		}
	}
	return c.State
}

// giveBack releases the claim without a change: another node, or the next
// start, goes on.
func (t *task) giveBack() {
	next := t.Delivery.NextAt
	if !t.Delivery.State.Resting() { // one that rests may be claimed for a look
		next = orNow(next, t.cfg.Now())
	}
	t.move(Move{From: []social.DeliveryState{t.Delivery.State}, To: t.Delivery.State, Tries: t.Delivery.Tries, //nolint:errcheck // stale is fine
		NextAt: next, Reason: t.Delivery.Reason, Release: true})
}

func orNow(at, now time.Time) time.Time {
	if at.IsZero() {
		return now
	}
	return at
}

// rest moves the delivery into a state in which it waits for people, and tells
// them.
func (t *task) rest(to social.DeliveryState, kind, severity, reason string, attempt *AttemptChange) {
	ripe := t.ripe(to, attempt)
	reason += t.patience(ripe)
	t.move(Move{ //nolint:errcheck // stale: others tell
		From: append(publishingStates, social.Armed, social.Ambiguous), To: to, Tries: t.Delivery.Tries, NextAt: ripe,
		Reason: reason, Release: true, Attempt: attempt,
		Notice: &Notice{
			Kind: kind, Severity: severity, Delivery: t.Delivery.ID, Account: t.Account.ID,
			Text: fmt.Sprintf("%s on %s: %s", excerpt(t.Delivery.Parts), t.Account.Handle, reason),
		},
	})
}

// ripe is when nothing that was sent of the current part can appear any more, if
// a person is asked about it before: until then the answer that it is there
// counts, and no other. It is zero if they are not asked, or may answer at once.
func (t *task) ripe(to social.DeliveryState, change *AttemptChange) time.Time {
	if to != social.NeedsHuman {
		return time.Time{}
	}
	var until time.Time
	for _, a := range t.Attempts {
		if change != nil && change.ID == a.ID {
			a.State, a.Early = change.State, change.Early
		}
		if a.State == AttemptArmed || a.State == AttemptAmbiguous || a.Early {
			if settled := a.SendBy.Add(t.about.FindSettles); settled.After(until) {
				until = settled
			}
		}
	}
	if !until.After(t.cfg.Now()) {
		return time.Time{}
	}
	return until
}

// patience tells a person who is asked before ripe what they may answer.
func (t *task) patience(ripe time.Time) string {
	if !ripe.After(t.cfg.Now()) {
		return ""
	}
	return fmt.Sprintf(" It may still appear until %s: that it is there counts at once, any other answer from then on.", ripe.UTC().Format("15:04:05 UTC"))
}

// excerpt is how a post is named to people.
func excerpt(parts []social.Part) string {
	if len(parts) == 0 || parts[0].Text == "" {
		return "A post"
	}
	text := []rune(social.NormalText(parts[0].Text))
	if len(text) > 40 {
		text = append(text[:39], '…')
	}
	return fmt.Sprintf("“%s”", string(text))
}

// job describes the current part to the connector.
func (t *task) job() *connectors.Job {
	d := &t.Delivery
	j := &connectors.Job{
		Delivery: d.ID, Step: d.Step, Kind: d.Kind, Part: &d.Parts[d.Step], Planned: d.PlannedAt, Now: t.cfg.Now(),
		Attempt: len(t.Attempts) + 1, Media: t.cfg.Media,
	}
	for _, a := range t.Attempts {
		if a.State == AttemptAbsentByHuman || a.State == AttemptAmbiguous || a.State == AttemptArmed {
			j.Unproven++
		}
	}
	if d.ParentRef != "" {
		j.Parent = &connectors.Receipt{RemoteID: d.ParentRef, State: t.ParentState}
	}
	if root, ok := t.Receipts[0]; ok && d.Step > 0 {
		j.Root = &root
		parent := root // a comment answers the body
		if d.Parts[d.Step].Role == social.RoleThread {
			parent = t.Receipts[d.Step-1]
		}
		j.Parent = &parent
	}
	var parent string
	if j.Parent != nil {
		parent = j.Parent.RemoteID
	}
	if t.client != nil {
		j.Fingerprint = t.client.Fingerprint(j.Part, parent)
	}
	if t.Checkpoint != nil {
		j.State = t.Checkpoint.State
	}
	j.Save = func(ctx context.Context, state json.RawMessage, expires time.Time) error {
		crash.Point("before-checkpoint")
		c := Checkpoint{Step: d.Step, State: state, Expires: expires}
		if err := t.cfg.Ledger.Save(ctx, d.ID, d.Epoch, c); err != nil {
			return fmt.Errorf("saving the preparation: %w", err)
		}
		crash.Point("after-checkpoint")
		t.Checkpoint = &c
		return nil
	}
	return j
}

// judge lets Decide say what a failure before the commit means, and does it.
func (t *task) judge(ctx context.Context, phase Phase, err error) {
	if ctx.Err() != nil {
		t.giveBack() // we are stopping: the failure is our own doing
		return
	}
	e := connectors.AsError(err)
	v := Decide(Situation{Phase: phase, Kind: e.Kind, RetryAfter: e.RetryAfter, Tries: t.Delivery.Tries, Renewed: t.isRenewed()})
	t.log.Warn("publishing did not get to the network", "phase", phase, "kind", e.Kind, "err", err, "do", v.Do)
	t.carryOut(ctx, v, e, nil)
}

// carryOut does what a verdict before or after a commit says; success and
// looking are the callers' own.
func (t *task) carryOut(ctx context.Context, v Verdict, e *connectors.Error, attempt *AttemptChange) {
	text := said(e)
	now := t.cfg.Now()
	if doubtful, until := t.doubt(); v.Do == DoFail && attempt == nil && doubtful != nil {
		if until.Before(now) {
			until = now.Add(time.Minute)
		}
		t.again(until, text+" An earlier attempt may still appear: smi makes sure first.")
		return
	}
	if v.Renew {
		t.renew(ctx, &v)
	}
	switch v.Do {
	case DoRetry, DoWait:
		tries := t.Delivery.Tries
		if v.Do == DoRetry {
			tries++
		}
		t.move(Move{From: append(publishingStates, social.Armed), To: social.Waiting, Tries: tries, NextAt: now.Add(v.After), //nolint:errcheck // stale: not ours
			Reason: text, Release: true, Attempt: attempt})
	case DoBlock:
		t.rest(social.Blocked, "delivery_blocked", "alarm", text+" It waits until the account works again; if it is late by then, you are asked.", attempt)
	case DoFail:
		t.fail(text, attempt)
	default:
		t.rest(social.NeedsHuman, "delivery_needs_human", "alarm", text, attempt)
	}
}

// renewal is a login that was renewed because the network refused it.
type renewal struct {
	gen int64 // of the token that was refused
	at  time.Time
	n   int // how many in a row, with nothing published between them that is known here
}

// A token that is refused within renewedFor of having been got because the one
// before it was refused is worth another once: it may have worked on another
// node since. After renewedMost in a row the login is taken for broken.
const (
	renewedFor  = 10 * time.Minute
	renewedMost = 2
)

// isRenewed says whether the account's token is one that was got a short time
// ago because those before it were refused.
func (t *task) isRenewed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.renewals[t.Account.ID]
	return ok && r.n >= renewedMost && t.Account.TokenGen > r.gen && t.cfg.Now().Sub(r.at) < renewedFor
}

// works notes that the account's token was taken for a post.
func (t *task) works() {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.renewals, t.Account.ID)
}

// renew gets a new token. Where that does not work for the time being, the
// delivery waits: sending it with the old one would only be refused again.
func (t *task) renew(ctx context.Context, v *Verdict) {
	if t.client == nil { // it could not even be opened
		v.Do = DoBlock
		return
	}
	err := t.client.Renew(ctx)
	switch connectors.KindOf(err) {
	case "":
		t.mu.Lock()
		defer t.mu.Unlock()
		now, was := t.cfg.Now(), t.renewals[t.Account.ID]
		if t.Account.TokenGen > was.gen { // another task has not counted this one
			if now.Sub(was.at) >= renewedFor {
				was.n = 0
			}
			was.n++
		}
		was.n = max(was.n, 1)
		t.renewals[t.Account.ID] = renewal{max(was.gen, t.Account.TokenGen), now, was.n}
	case connectors.AuthExpired, connectors.Permission, connectors.Permanent:
		v.Do = DoBlock
	default:
		t.log.Warn("the login could not be renewed; the post waits for it", "err", err)
		v.After = max(v.After, backOff(Situation{Tries: t.Delivery.Tries, RetryAfter: connectors.AsError(err).RetryAfter}))
	}
}

// fail ends the delivery, or, where its body is public already, only what was
// to follow: a later part never decides the fate of the main one.
func (t *task) fail(text string, attempt *AttemptChange) {
	d := &t.Delivery
	switch {
	case d.Step == 0:
		t.rest(social.Failed, "delivery_failed", "alarm", text, attempt)
	case d.Parts[d.Step].Role == social.RoleThread:
		t.rest(social.NeedsHuman, "delivery_needs_human", "alarm",
			fmt.Sprintf("part %d of %d was refused; the parts before it are published. %s Send it again, or drop the rest.", d.Step+1, len(d.Parts), text), attempt)
	default:
		reason := fmt.Sprintf("Published, but the comment under it was refused: %s", text)
		t.move(Move{From: append(publishingStates, social.Armed), To: social.Published, Release: true, Reason: reason, Attempt: attempt, //nolint:errcheck // stale: not ours
			Notice: &Notice{Kind: "comment_failed", Severity: "warning", Delivery: d.ID, Account: t.Account.ID, Text: excerpt(d.Parts) + " on " + t.Account.Handle + ": " + reason}})
	}
}

// said is an error in words for people.
func said(e *connectors.Error) string {
	text := e.Text
	if text == "" {
		text = "the network refused it (" + string(e.Kind) + ")"
	}
	if e.Field != "" {
		text = e.Field + ": " + text
	}
	return sentence(text)
}

func sentence(s string) string {
	if s == "" || s[len(s)-1] == '.' {
		return s
	}
	return s + "."
}
