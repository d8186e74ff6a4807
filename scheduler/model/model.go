package model

import (
	"smi/connectors"
	"smi/scheduler"
)

// Setting is the part of the world that a search looks at.
type Setting struct {
	Name  string
	Class connectors.Class
	Nodes int  // 1 or 2
	Alone bool // the one node knows that no other can hold anything
	// What takes part beside claims, sends, kills and looks.
	Cancel, Edit, Pause, Late, Block, People bool
	// Truthful are people who look before they answer and say what they see. What
	// they say is no excuse then: no promise may break on it.
	Truthful bool
	// Liar is a network that may still show a post after its settle time.
	Liar bool
}

// Variant is a protocol with one rule left out. The zero value is the protocol.
type Variant struct {
	Name string

	NoIntent        bool // the attempt is written down after the call, not before
	RetryUnclear    bool // an unclear answer is tried again
	FailUnclear     bool // an unclear answer is stored as failed
	TakeoverSends   bool // who takes an armed one over sends it
	RescueByLease   bool // an armed one is work like any other once its lease ended
	CancelArmed     bool // cancelling succeeds while it is being sent
	NoSettle        bool // a look counts at once
	SendsNotFound   bool // what was looked for and not found is sent again
	NoFence         bool // who lost its claim still writes
	NoSendBy        bool // a request may be written however late
	NotSentByOther  bool // a takeover says that nothing was sent
	RestartNotSent  bool // so does a restart
	DoubtIsForgot   bool // an early word of a handle counts once time has passed
	NoRefusalDoubt  bool // a refusal is final although an earlier request may take effect
	CancelByOldWord bool // a node that read "not cancelled" arms
	PauseIgnored    bool // arming does not look at the pause
	StaleContent    bool // arming does not look at the approval
	EarlyAnswer     bool // an answer that it is not there counts while it may still appear
}

// promise names an invariant.
type promise string

// The promises. I4, that nothing is stuck, is asked of the whole graph.
const (
	promiseOnce     promise = "I1 two effects without a person who said so"
	promiseIntent   promise = "I2 sent without an attempt that is written down"
	promiseCancel   promise = "I3 said to be cancelled, and it is there"
	promisePublish  promise = "I5 said to be published, and it is not there"
	promiseOver     promise = "I5 said to be failed or skipped, and it is there"
	promiseOneOpen  promise = "I6 two open or two successful attempts"
	promiseApproved promise = "I8 armed what is not approved"
	promiseEpoch    promise = "I10 a node without the claim changed something"
	promiseNotSent  promise = "I11 somebody else said that nothing was sent"
	promisePause    promise = "I14 armed while paused"
)

// step is one edge of the graph.
type step struct {
	what   string
	node   int // 0: not a node's doing
	person bool
	broken promise // by the action itself
}

type machine struct {
	Setting
	Variant
	v    *verdicts
	emit func(step, state)
}

// next calls emit for each thing that can happen in s. It returns false if the
// search ends here because there is no place for another attempt or request.
func (m *machine) next(s *state) bool {
	whole := true
	for i := range m.Nodes {
		if !m.node(s, i) {
			whole = false
		}
	}
	m.network(s)
	m.time(s)
	m.people(s)
	return whole
}

func (m *machine) out(what string, node int, t state) { m.outBroken(what, node, t, "") }

func (m *machine) outBroken(what string, node int, t state, broken promise) {
	t.tidy(!m.NoFence)
	m.emit(step{what: what, node: node, broken: broken}, t)
}

func (m *machine) byPerson(what string, t state) {
	t.tidy(!m.NoFence)
	m.emit(step{what: what, person: true}, t)
}

// allowed says whether a node's write under its epoch is made, and which promise
// it breaks.
func (m *machine) allowed(s *state, i int) (bool, promise) {
	switch {
	case s.holds(i):
		return true, ""
	case m.NoFence:
		return true, promiseEpoch
	}
	return false, ""
}

func publishing(st uint8) bool { return st <= waiting }

// node is what a node can do. It returns false where there was no place.
func (m *machine) node(s *state, i int) bool {
	t := s.tasks[i]
	n := i + 1
	if t.pc != down && (t.pc != idle || s.holds(i)) {
		c := *s
		c.stop(i)
		c.tasks[i] = task{pc: down}
		c.crashed = true
		m.out("is killed", n, c)
	}
	switch t.pc {
	case down:
		m.restart(s, i)
	case idle:
		m.claim(s, i)
	case work:
		m.work(s, i)
	case prepared:
		return m.dialAndArm(s, i)
	case unanswered:
		m.undoArm(s, i)
	case aimed:
		return m.send(s, i)
	case sent:
		m.hear(s, i)
	case answered:
		m.record(s, i)
	case orphaned:
		m.takeOver(s, i)
	case looking:
		m.look(s, i)
	case looked:
		m.recordLook(s, i)
	}
	return true
}

// restart is Recover.
func (m *machine) restart(s *state, i int) {
	c := *s
	c.tasks[i] = task{pc: idle}
	mine := s.owner == uint8(i)+1
	if m.Alone {
		mine = s.owner != 0 || s.st == armed
	}
	if mine {
		c.owner = 0
		if s.st == armed {
			if at := s.openAttempt(); at >= 0 && s.tries[at].st == open {
				if m.RestartNotSent {
					c.tries[at].st, c.st = closed, waiting
					m.outBroken("starts again: nothing was sent", i+1, c, promiseNotSent)
					return
				}
				c.tries[at].st = unclear
			}
			c.st = ambiguous
		}
	}
	m.out("starts again", i+1, c)
}

func (m *machine) claim(s *state, i int) {
	if s.st > ambiguous || s.paused && publishing(s.st) {
		return
	}
	// What another node holds is free once its lease ended, which can be at any
	// time: that it still works on it is what the epoch is for.
	c := *s
	c.owner = uint8(i) + 1
	t := task{pc: work, cancel: s.cancel}
	switch s.st {
	case armed:
		t.pc = orphaned
	case ambiguous:
		t.pc = looking
	}
	if old := s.owner; old != 0 && old != c.owner && m.Nodes == 1 {
		return
	}
	c.tasks[i] = t
	m.out("claims it", i+1, c)
}

// give ends a node's work and gives the claim back.
func (m *machine) give(c *state, i int) {
	c.owner = 0
	c.stop(i)
}

// rest is a move of a publishing state, with the claim given back.
func (m *machine) rest(s *state, i int, what string, to uint8) {
	ok, broken := m.allowed(s, i)
	c := *s
	if !ok || !publishing(s.st) {
		c.stop(i)
		m.out("comes too late", i+1, c)
		return
	}
	c.st = to
	m.give(&c, i)
	m.outBroken(what, i+1, c, broken)
}

// doubtful is whether an early word of a handle has not been confirmed, and
// the request may still be on its way.
func (m *machine) doubtful(s *state) (doubt, over bool) {
	at := s.lastAbsent()
	if at < 0 || s.tries[at].sure {
		return false, false
	}
	over = s.tries[at].clock == settled
	if m.DoubtIsForgot && over {
		return false, false
	}
	return true, over
}

// work is publish, up to the connection.
func (m *machine) work(s *state, i int) {
	doubt, over := m.doubtful(s)
	cancel := s.tasks[i].cancel
	if at := s.lastAbsent(); m.DoubtIsForgot && cancel && at >= 0 && !s.tries[at].sure {
		doubt, over = true, s.tries[at].clock == settled // a wish to cancel remembers it
	}
	switch {
	case doubt && over && !s.off:
		m.lookAgain(s, i)
		return
	case cancel && doubt && over:
		m.rest(s, i, "asks a person: it was to be cancelled and may be there", needsHuman)
		return
	case cancel && doubt:
		m.rest(s, i, "waits until it cannot appear any more, then cancels", waiting)
		return
	case cancel:
		m.rest(s, i, "cancels it", cancelled)
		return
	case s.off:
		m.rest(s, i, "blocks it: the account is not connected", blocked)
		return
	case s.lateBy == 1 && !s.anyway && !doubt:
		m.rest(s, i, "holds it: it is late", heldLate)
		return
	case s.lateBy == 2 && !s.anyway && !doubt:
		m.rest(s, i, "skips it: it is too late", skipped)
		return
	}
	c := *s
	c.owner = 0
	c.stop(i)
	if s.holds(i) {
		m.out("gives the claim back", i+1, c)
	}
	for _, v := range m.v.before {
		m.carryOut(s, i, "cannot prepare", v)
	}
	ok, broken := m.allowed(s, i)
	if !ok || !publishing(s.st) {
		return
	}
	c = *s
	c.st = ready
	c.tasks[i].pc = prepared
	if m.Class == connectors.Keyed && c.handle == 0 {
		c.handle = s.newHandle()
	}
	m.outBroken("prepares it", i+1, c, broken)
}

// lookAgain settles an early word of a handle before anything is decided on it.
func (m *machine) lookAgain(s *state, i int) {
	at := s.lastAbsent()
	_, shows := s.published(s.tries[at].handle)
	c := *s
	if shows {
		c.tries[at].st = adopted
		c.st = published
		m.give(&c, i)
		m.out("looks again: it is there", i+1, c)
	} else {
		c.tries[at].sure = true
		c.st = waiting
		m.give(&c, i)
		m.out("looks again: it is not there", i+1, c)
		c = *s
		c.tries[at].sure = true
		c.st, c.handle = waiting, 0
		m.give(&c, i)
		m.out("looks again: the handle is dead", i+1, c)
	}
	c = *s
	c.st = waiting
	m.give(&c, i)
	m.out("looks again in vain and waits", i+1, c)
	m.rest(s, i, "looks again, cannot tell and asks a person", needsHuman)
}

// carryOut does what a verdict before or after a commit says.
func (m *machine) carryOut(s *state, i int, what string, verdict uint8) {
	o := m.v.all[verdict]
	ok, broken := m.allowed(s, i)
	c := *s
	if !ok || !publishing(s.st) && s.st != armed {
		c.stop(i)
		m.out("comes too late", i+1, c)
		return
	}
	before := o.attempt == ""
	if !before {
		if at := s.tasks[i].attempt; at > 0 {
			if c.tries[at-1].st != open && !m.NoFence {
				c.stop(i)
				m.out("comes too late", i+1, c)
				return
			}
			c.tries[at-1].st = closed
		}
	}
	m.give(&c, i)
	switch o.do {
	case scheduler.DoRetry, scheduler.DoWait:
		c.st = waiting
		what += ", tries again later"
		// honourCancel
		if !before && c.cancel && !c.has(unclear, absent, absentHuman) {
			c.st = cancelled
			what += ", cancels it as wished"
		}
	case scheduler.DoBlock:
		c.st = blocked
		what += ", blocks it"
	case scheduler.DoFail:
		doubt, _ := m.doubtful(s)
		if before && doubt && !m.DoubtIsForgot {
			c.st = waiting
			what += ", waits until an earlier attempt cannot appear any more"
			break
		}
		c.st = failed
		what += ", fails it"
	default:
		c.st = needsHuman
		what += ", asks a person"
	}
	m.outBroken(what, i+1, c, broken)
}

// dialAndArm is commit up to the attempt's row.
func (m *machine) dialAndArm(s *state, i int) bool {
	for _, v := range m.v.before {
		m.carryOut(s, i, "cannot dial", v)
	}
	c := *s
	if s.holds(i) {
		m.give(&c, i)
		m.out("gives the claim back", i+1, c)
	}
	ok, broken := m.allowed(s, i)
	switch {
	case !ok || s.st != ready:
		c = *s
		c.stop(i)
		m.out("is not armed: too late", i+1, c)
		return true
	case s.cancel && !m.CancelByOldWord:
		return true // gives the claim back, above
	case s.has(open, unclear, done, adopted) && !m.NoIntent:
		m.rest(s, i, "is not armed: an attempt is open or done", needsHuman)
		return true
	case s.changed && !m.StaleContent:
		m.rest(s, i, "is not armed: it is not approved", needsHuman)
		return true
	case s.paused && !m.PauseIgnored:
		m.rest(s, i, "is not armed: paused", waiting)
		return true
	case s.off:
		m.rest(s, i, "is not armed: the account is not connected", blocked)
		return true
	}
	switch {
	case s.changed:
		broken = promiseApproved
	case s.paused:
		broken = promisePause
	}
	// A budget is used up, or the token was renewed meanwhile.
	m.rest(s, i, "is not armed: no budget", waiting)
	if m.NoIntent {
		c = *s
		c.tasks[i].pc = aimed
		m.outBroken("goes on to send without writing it down", i+1, c, broken)
		return true
	}
	at := 0
	for k, a := range s.tries {
		if a.st != none {
			at = k + 1
		}
	}
	if at == maxAttempts {
		return false
	}
	c = *s
	c.tasks[i].pc = unanswered
	m.out("arms: the commit failed", i+1, c)
	c = *s
	c.st = armed
	c.tries[at] = attempt{st: open, handle: s.handle}
	c.tasks[i].attempt, c.tasks[i].pc = uint8(at)+1, aimed
	m.outBroken("arms", i+1, c, broken)
	c.tasks[i].pc = unanswered
	m.outBroken("arms: the commit was made, its answer lost", i+1, c, broken)
	return true
}

// undoArm follows an arming whose commit failed: nothing was sent.
func (m *machine) undoArm(s *state, i int) {
	if publishing(s.st) {
		m.rest(s, i, "undoes the arming that was not written", waiting)
		return
	}
	c := *s
	at := s.openAttempt()
	if ok, broken := m.allowed(s, i); ok && s.st == armed && at >= 0 && s.tries[at].st == open {
		if uint8(at)+1 != s.tasks[i].attempt {
			broken = promiseNotSent
		}
		c.tries[at].st = closed
		c.st = waiting
		if c.cancel && !c.has(unclear, absent, absentHuman) {
			c.st = cancelled
		}
		m.give(&c, i)
		m.outBroken("undoes the arming that was written: nothing was sent", i+1, c, broken)
		return
	}
	c.stop(i)
	m.out("comes too late", i+1, c)
}

// send is the write, once and before SendBy.
func (m *machine) send(s *state, i int) bool {
	at := s.tasks[i].attempt
	for _, v := range m.v.notSent {
		c := *s
		c.tasks[i].pc, c.tasks[i].verdict = answered, v
		m.out("loses the connection before a byte was written", i+1, c)
	}
	if at > 0 && s.tries[at-1].clock > inTime && !m.NoSendBy {
		return true
	}
	c := *s
	handle := s.handle
	var broken promise
	if at > 0 {
		handle = s.tries[at-1].handle
	} else {
		broken = promiseIntent
	}
	k := 0
	for k < maxRequests && c.net[k].st != 0 {
		k++
	}
	if k == maxRequests {
		return false
	}
	c.net[k] = request{st: inFlight, attempt: at, handle: handle, waiter: uint8(i) + 1}
	c.tasks[i].pc = sent
	m.outBroken("sends", i+1, c, broken)
	return true
}

// hear is the answer, or that none comes.
func (m *machine) hear(s *state, i int) {
	var r request
	for _, x := range s.net {
		if x.waiter == uint8(i)+1 {
			r = x
		}
	}
	say := func(what string, verdicts ...uint8) {
		for _, v := range verdicts {
			c := *s
			c.stop(i)
			c.tasks[i] = task{pc: answered, attempt: s.tasks[i].attempt, verdict: v, cancel: s.tasks[i].cancel}
			m.out(what, i+1, c)
		}
	}
	say("hears nothing, a 5xx or what cannot be trusted", m.v.unclear...)
	switch r.st {
	case hidden, visible:
		say("hears that it is published", m.v.success)
		say("hears that it is accepted", m.v.pending)
	case repeated:
		say("hears that it is published", m.v.success)
		say("hears a refusal: it was published already", m.v.refused...)
	case refused:
		say("hears a refusal", m.v.refused...)
	}
}

// record writes the outcome of a commit down.
func (m *machine) record(s *state, i int) {
	t := s.tasks[i]
	o := m.v.all[t.verdict]
	ok, broken := m.allowed(s, i)
	c := *s
	if m.NoIntent {
		m.recordLate(s, i, o)
		return
	}
	if !ok || s.st != armed && !m.NoFence || s.tries[t.attempt-1].st != open && s.tries[t.attempt-1].st != unclear {
		c.stop(i)
		m.out("comes too late", i+1, c)
		return
	}
	a := &c.tries[t.attempt-1]
	unclearly := func(what string) {
		a.st, c.st = unclear, ambiguous
		m.give(&c, i)
		m.outBroken(what, i+1, c, broken)
	}
	switch {
	case o.do == scheduler.DoProceed && o.pending:
		unclearly("records: accepted, to be looked for")
	case o.do == scheduler.DoProceed:
		a.st, c.st = done, published
		m.give(&c, i)
		m.outBroken("records: published", i+1, c, broken)
	case o.do == scheduler.DoCheck && m.RetryUnclear:
		a.st, c.st = closed, waiting
		m.give(&c, i)
		m.outBroken("records: unclear, tries again", i+1, c, broken)
	case o.do == scheduler.DoCheck && m.FailUnclear:
		a.st, c.st = closed, failed
		m.give(&c, i)
		m.outBroken("records: failed", i+1, c, broken)
	case o.do == scheduler.DoCheck:
		unclearly("records: unclear")
	case o.do == scheduler.DoFail:
		if doubt, _ := m.doubtful(s); doubt && !m.NoRefusalDoubt {
			unclearly("records: refused, but an earlier request may take effect")
			return
		}
		m.carryOut(s, i, "records a refusal", t.verdict)
	case o.attempt == scheduler.AttemptNotSent:
		m.carryOut(s, i, "records that nothing was sent", t.verdict)
	default:
		m.carryOut(s, i, "records a refusal", t.verdict)
	}
}

// recordLate is record of the variant that writes attempts down afterwards.
func (m *machine) recordLate(s *state, i int, o outcome) {
	c := *s
	if !s.holds(i) || !publishing(s.st) {
		c.stop(i)
		m.out("comes too late", i+1, c)
		return
	}
	m.give(&c, i)
	switch o.do {
	case scheduler.DoProceed:
		c.tries[0], c.st = attempt{st: done, handle: s.handle, clock: settled}, published
	case scheduler.DoCheck:
		c.tries[0], c.st = attempt{st: unclear, handle: s.handle}, ambiguous
	case scheduler.DoFail:
		c.st = failed
	case scheduler.DoBlock:
		c.st = blocked
	default:
		c.st = waiting
	}
	m.out("records the outcome", i+1, c)
}

// takeOver turns an armed attempt of a node that is gone into an ambiguous one.
func (m *machine) takeOver(s *state, i int) {
	c := *s
	at := s.openAttempt()
	ok, broken := m.allowed(s, i)
	switch {
	case !ok || s.st != armed || at < 0:
		c.stop(i)
		m.out("comes too late", i+1, c)
	case m.RescueByLease:
		c.tries[at].st, c.st = closed, waiting
		m.give(&c, i)
		m.out("takes it for work that was left lying", i+1, c)
	case s.tries[at].clock < orphan:
		m.give(&c, i)
		m.outBroken("waits for the node that armed it", i+1, c, broken)
	case m.TakeoverSends:
		c.tries[at].clock = inTime
		c.tasks[i].pc, c.tasks[i].attempt = aimed, uint8(at)+1
		m.outBroken("takes it over to send it", i+1, c, broken)
	case m.NotSentByOther:
		c.tries[at].st, c.st = closed, waiting
		m.give(&c, i)
		m.outBroken("takes it over: nothing was sent", i+1, c, promiseNotSent)
	default:
		c.tries[at].st, c.st = unclear, ambiguous
		c.tasks[i].pc = looking
		m.outBroken("takes it over as unclear", i+1, c, broken)
	}
}

// look asks the network.
func (m *machine) look(s *state, i int) {
	at := s.openAttempt()
	if at < 0 {
		m.recordAsk(s, i)
		return
	}
	over := s.tries[at].clock == settled || m.NoSettle
	say := func(what string, verdicts []uint8) {
		for _, v := range verdicts {
			c := *s
			c.tasks[i].pc, c.tasks[i].verdict, c.tasks[i].attempt = looked, v, uint8(at)+1
			m.out(what, i+1, c)
		}
	}
	found := func(f connectors.FindingKind, exact int) []uint8 { return m.v.find[look{m.Class, f, exact, over}] }
	k := 0
	if over {
		k = 1
	}
	say("looks and fails", m.v.findFail[k])
	say("looks and sees nothing", found(connectors.FoundNothing, 0))
	if m.Class == connectors.Keyed {
		if _, shows := s.published(s.tries[at].handle); shows {
			say("looks and finds it", found(connectors.FoundPublished, 0))
			return
		}
		say("looks: the handle was not used", found(connectors.FoundHandleGood, 0))
		say("looks: the handle is dead", found(connectors.FoundHandleDead, 0))
		return
	}
	// What was there before this attempt may be told apart by its time, or not.
	own := 0
	for _, r := range s.net {
		if r.st == visible && r.attempt == uint8(at)+1 {
			own++
		}
	}
	for exact := own; exact <= s.shown(); exact++ {
		if exact > 0 {
			say("looks and finds posts like it", found(connectors.FoundCandidates, exact))
		}
	}
}

func (m *machine) recordAsk(s *state, i int) {
	c := *s
	if ok, _ := m.allowed(s, i); ok && s.st == ambiguous {
		c.st = needsHuman
		m.give(&c, i)
	}
	c.stop(i)
	m.out("finds no open attempt and asks a person", i+1, c)
}

// recordLook writes down what the network said.
func (m *machine) recordLook(s *state, i int) {
	t := s.tasks[i]
	o := m.v.all[t.verdict]
	c := *s
	ok, broken := m.allowed(s, i)
	if !ok || s.st != ambiguous || s.tries[t.attempt-1].st != unclear {
		c.stop(i)
		m.out("comes too late", i+1, c)
		return
	}
	a := &c.tries[t.attempt-1]
	m.give(&c, i)
	what := ""
	switch o.do {
	case scheduler.DoAdopt:
		a.st, c.st = adopted, published
		what = "records: found"
	case scheduler.DoRetry, scheduler.DoFresh:
		a.st, a.sure, c.st = absent, o.sure || m.NoSettle, waiting
		what = "records: not there, sends it again with the same handle"
		if o.do == scheduler.DoFresh {
			c.handle = 0
			what = "records: the handle is dead, begins anew"
		}
	case scheduler.DoCheck:
		what = "records: looks again later"
	default:
		c.st = needsHuman
		what = "records: asks a person"
		if m.SendsNotFound {
			a.st, c.st = closed, waiting
			what = "records: not found, sends it again"
		}
	}
	m.outBroken(what, i+1, c, broken)
}
