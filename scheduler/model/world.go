package model

import "smi/connectors"

// network is what happens to requests on their way.
func (m *machine) network(s *state) {
	for k, r := range s.net {
		switch r.st {
		case inFlight:
			c := *s
			if effect, _ := s.published(r.handle); effect && m.Class == connectors.Keyed {
				c.net[k].st = repeated
				m.out("the network gets a handle that is published already", 0, c)
			} else {
				c.net[k].st = hidden
				m.out("the network makes it public", 0, c)
				c = *s
				c.net[k].st = refused
				m.out("the network refuses it", 0, c)
			}
			c = *s
			c.net[k] = request{}
			m.out("the request is lost", 0, c)
		case hidden:
			c := *s
			c.net[k].st = visible
			m.out("the network shows it", 0, c)
		}
	}
}

// time passes for attempts in the order in which they were armed.
func (m *machine) time(s *state) {
	for k, a := range s.tries {
		if a.st == none || a.clock == settled || k > 0 && s.tries[k-1].st != none && s.tries[k-1].clock <= a.clock {
			continue
		}
		switch a.clock {
		case inTime:
			c := *s
			c.tries[k].clock = late
			m.out("the time to send passes", 0, c)
		case late:
			c := *s
			c.tries[k].clock = orphan
			m.out("the time of the longest call passes", 0, c)
		case orphan:
			if !m.Liar && !m.quiet(s, uint8(k)+1) {
				continue // what the settle time means: nothing can appear any more
			}
			c := *s
			c.tries[k].clock = settled
			m.out("the settle time passes", 0, c)
		}
	}
	if m.Late && s.lateBy < 2 && s.st <= ambiguous {
		c := *s
		c.lateBy++
		m.out("it becomes late", 0, c)
	}
	if m.Block && !s.off {
		c := *s
		c.off = true
		m.out("the account loses its login", 0, c)
	}
}

// quiet says that all requests of an attempt are over and show.
func (m *machine) quiet(s *state, attempt uint8) bool {
	for _, r := range s.net {
		if r.attempt == attempt && (r.st == inFlight || r.st == hidden) {
			return false
		}
	}
	return true
}

// take ends the claim of whoever works on it.
func take(c *state) { c.owner = 0 }

func stoppable(st uint8) bool { return st <= waiting || st == heldLate || st == blocked }

// people is what people do: each a transaction of store/change.go,
// store/resolve.go or store/pause.go.
func (m *machine) people(s *state) {
	doubt, _ := m.doubtful(s)
	if m.Cancel {
		m.cancel(s, doubt)
	}
	if m.Edit {
		m.edit(s, doubt)
	}
	if m.Pause {
		c := *s
		c.paused = !s.paused
		m.byPerson("a person pauses or resumes", c)
	}
	if m.Block {
		if s.off {
			c := *s
			c.off = false
			if s.st == blocked {
				c.st, c.lateBy = scheduled, 0
				take(&c)
			}
			m.byPerson("a person connects the account", c)
		}
	}
	if s.st == blocked && !s.off {
		c := *s
		c.st = scheduled
		take(&c)
		m.byPerson("a person frees what is blocked", c)
	}
	if s.st == heldLate {
		c := *s
		c.st, c.anyway = scheduled, true
		take(&c)
		m.byPerson("a person publishes it late", c)
		c = *s
		c.st = skipped
		take(&c)
		m.byPerson("a person skips it", c)
	}
	if m.People && s.st == needsHuman {
		m.answer(s)
	}
}

func (m *machine) cancel(s *state, doubt bool) {
	switch {
	case stoppable(s.st) && !doubt, m.CancelArmed && (s.st == armed || s.st == ambiguous):
		c := *s
		c.st = cancelled
		take(&c)
		m.byPerson("a person cancels: done", c)
	case !s.cancel && (s.st == armed || s.st == ambiguous || stoppable(s.st) && doubt):
		c := *s
		c.cancel = true
		if s.st == blocked { // the scheduler looks, or asks
			c.st = waiting
			take(&c)
		}
		m.byPerson("a person cancels: too late, it is kept as a wish", c)
	}
}

func (m *machine) edit(s *state, doubt bool) {
	free := s.openAttempt() < 0 && !doubt
	if stoppable(s.st) && free || s.st == needsHuman && free {
		for _, approved := range []bool{true, false} {
			c := *s
			c.handle, c.lateBy, c.changed = 0, 0, !approved
			if !(s.st == blocked && s.off) {
				c.st = scheduled
			}
			take(&c)
			m.byPerson("a person edits it", c)
		}
	}
	if s.changed {
		c := *s
		c.changed = false
		m.byPerson("a person approves it", c)
	}
	if stoppable(s.st) && free || (s.st == skipped || s.st == failed) && s.openAttempt() < 0 {
		c := *s
		c.handle, c.lateBy, c.cancel, c.dropped = 0, 0, false, false
		if !(s.st == blocked && s.off) {
			c.st = scheduled
		}
		take(&c)
		m.byPerson("a person plans it anew", c)
	}
}

// answer is what a person says of one that smi cannot find. Who says "it is
// there" has seen it; the other answers may be wrong.
func (m *machine) answer(s *state) {
	at := s.openAttempt()
	if s.shown() > 0 {
		c := *s
		if at < 0 {
			for k := range c.tries {
				if c.tries[k].st == none {
					at = k
				}
			}
		}
		if at >= 0 {
			c.tries[at].st, c.tries[at].clock = adopted, settled
			c.st = published
			take(&c)
			m.byPerson("a person says: it is there", c)
		}
	}
	if m.Truthful && (s.shown() > 0 || !m.EarlyAnswer && !s.ripe()) {
		return
	}
	if s.again == 0 {
		c := *s
		for k := range c.tries {
			if a := &c.tries[k]; a.st == open || a.st == unclear || a.st == absent && !m.DoubtIsForgot {
				a.st = absentHuman
			}
		}
		c.st, c.anyway, c.cancel, c.again = scheduled, true, false, 1
		take(&c)
		m.byPerson("a person says: not there, send it again", c)
	}
	c := *s
	if at >= 0 {
		c.tries[at].st = unclear
	}
	c.st, c.dropped = failed, true
	take(&c)
	m.byPerson("a person says: drop it", c)
}

// ripe says that no attempt of which nobody knows the outcome can take effect
// any more.
func (s *state) ripe() bool {
	for _, a := range s.tries {
		if (a.st == open || a.st == unclear || a.st == absent && !a.sure) && a.clock != settled {
			return false
		}
	}
	return true
}

// broken returns the promise that a state breaks, "" if none.
func (m *machine) broken(s *state) promise {
	n := s.effects()
	openOnes, good := 0, 0
	for _, a := range s.tries {
		switch a.st {
		case open, unclear:
			openOnes++
		case done, adopted:
			good++
		}
	}
	switch {
	case n > 1+int(s.again), m.Truthful && n > 1:
		return promiseOnce
	case openOnes > 1 || good > 1:
		return promiseOneOpen
	case m.Liar: // what the network promises does not hold: only I1 can
		return ""
	case s.st == published && n == 0:
		return promisePublish
	case s.again > 0 && !m.Truthful: // a person said that it is not there, and may be wrong
		return ""
	case s.st == cancelled && n > 0:
		return promiseCancel
	case (s.st == failed && (m.Truthful || !s.dropped) || s.st == skipped) && n > 0:
		return promiseOver
	}
	return ""
}

// rests says whether it is a state that need not change by itself.
func (s *state) rests() bool { return s.st >= needsHuman || s.paused && publishing(s.st) }
