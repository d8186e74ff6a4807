package model

import (
	"cmp"
	"slices"

	"smi/internal/social"
)

const (
	maxAttempts = 3
	maxRequests = 3
)

// delivery states by their place here.
const (
	scheduled uint8 = iota
	claimed
	ready
	waiting
	armed
	ambiguous
	needsHuman
	heldLate
	blocked
	published
	failed
	cancelled
	skipped
)

var stateNames = []social.DeliveryState{
	social.Scheduled, social.Claimed, social.Ready, social.Waiting, social.Armed, social.Ambiguous, social.NeedsHuman,
	social.HeldLate, social.Blocked, social.Published, social.Failed, social.Cancelled, social.Skipped,
}

// What an attempt is. One that was refused, or of which nothing was sent, leaves
// no trace that matters later, and its row is dropped here.
const (
	none    uint8 = iota
	open          // armed
	unclear       // ambiguous
	done          // ok
	adopted
	absent      // by its handle
	absentHuman // by a person
	closed      // rejected or not_sent, while somebody still refers to it
)

// How much time has passed since an attempt was armed.
const (
	inTime  uint8 = iota
	late          // SendBy has passed
	orphan        // TakeoverAt has passed
	settled       // SendBy and the network's settle time have passed
)

// attempt is a row of the ledger.
type attempt struct {
	st, handle, clock uint8
	sure              bool // absent: said when nothing could appear any more
}

// Where a node's work on the delivery stands.
const (
	down       uint8 = iota
	idle             // has nothing
	work             // claimed, in a publishing state
	prepared         // ready, about to dial and arm
	unanswered       // the COMMIT of arming gave an error
	aimed            // armed, nothing written
	sent             // written, waiting for the answer
	answered         // the outcome is known to this process alone
	orphaned         // claimed an armed one
	looking          // about to ask the network
	looked           // the network's word is known to this process alone
)

// task is a node's work on the delivery. A node has one at a time.
type task struct {
	pc, attempt, verdict uint8
	cancel               bool // what it read when it claimed
}

// Where a request stands.
const (
	inFlight uint8 = iota + 1
	hidden         // took effect, not shown yet
	visible        // took effect, shown
	refused        // answered with a refusal before any effect
	repeated       // its handle was published already: no effect
)

// request is one request on the network. An effect is one that is hidden or
// visible.
type request struct {
	st, attempt, handle, waiter uint8
}

// state is everything. It is small, comparable, and the key of the search.
type state struct {
	st      uint8
	owner   uint8 // 0: nobody, else a node's number
	handle  uint8 // of the checkpoint
	lateBy  uint8 // 0: in time, 1: beyond the grace, 2: beyond asking
	again   uint8 // "send it again" by a person
	cancel  bool  // wanted
	anyway  bool  // publish whatever the time
	changed bool  // not what was approved
	paused  bool
	off     bool // the account is not connected
	dropped bool // ended by a person who was asked
	crashed bool
	tasks   [2]task
	tries   [maxAttempts]attempt
	net     [maxRequests]request
}

func (s *state) effects() int {
	n := 0
	for _, r := range s.net {
		if r.st == hidden || r.st == visible {
			n++
		}
	}
	return n
}

func (s *state) shown() int {
	n := 0
	for _, r := range s.net {
		if r.st == visible {
			n++
		}
	}
	return n
}

// published says whether a handle took effect, and whether it shows.
func (s *state) published(handle uint8) (effect, shows bool) {
	for _, r := range s.net {
		if r.handle == handle && (r.st == hidden || r.st == visible) {
			return true, r.st == visible
		}
	}
	return false, false
}

// openAttempt returns the place of the attempt that nobody has decided yet.
func (s *state) openAttempt() int {
	for i, a := range s.tries {
		if a.st == open || a.st == unclear {
			return i
		}
	}
	return -1
}

func (s *state) has(st ...uint8) bool {
	for _, a := range s.tries {
		if slices.Contains(st, a.st) {
			return true
		}
	}
	return false
}

// lastAbsent returns the newest attempt that its handle called absent.
func (s *state) lastAbsent() int {
	for i := maxAttempts - 1; i >= 0; i-- {
		if s.tries[i].st == absent {
			return i
		}
	}
	return -1
}

// newHandle is one that nothing refers to.
func (s *state) newHandle() uint8 {
	h := s.handle
	for _, a := range s.tries {
		h = max(h, a.handle)
	}
	for _, r := range s.net {
		h = max(h, r.handle)
	}
	return h + 1
}

// holds says whether a node's claim is the current one.
func (s *state) holds(i int) bool { return s.owner == uint8(i)+1 }

func (s *state) stop(i int) {
	for k := range s.net {
		if s.net[k].waiter == uint8(i)+1 {
			s.net[k].waiter = 0
		}
	}
	s.tasks[i] = task{pc: idle}
}

// tidy brings equal states into one form: what nobody can ask about any more is
// dropped. fenced says that a task that lost its claim can write nothing.
func (s *state) tidy(fenced bool) {
	if fenced {
		for i := range s.tasks {
			// A node that lost its claim and has nothing left to send changes nothing
			// any more; one that may still send does matter.
			if pc := s.tasks[i].pc; pc > idle && pc != aimed && !s.holds(i) {
				s.stop(i)
			}
		}
	}
	n := 0
	for _, r := range s.net {
		if (r.st == refused || r.st == repeated) && r.waiter == 0 {
			continue
		}
		if r.st != 0 {
			s.net[n] = r
			n++
		}
	}
	for ; n < maxRequests; n++ {
		s.net[n] = request{}
	}
	for i := range s.tries {
		a := &s.tries[i]
		if a.st == closed && !s.refers(uint8(i)+1) {
			*a = attempt{}
		}
		if (a.st == done || a.st == adopted) && !s.refers(uint8(i)+1) {
			a.clock = settled
		}
	}
}

// refers says whether a task may still act for an attempt, or a request of it
// is on the network.
func (s *state) refers(attempt uint8) bool {
	for _, t := range s.tasks {
		if t.attempt == attempt && t.pc > idle {
			return true
		}
	}
	for _, r := range s.net {
		if r.st != 0 && r.attempt == attempt {
			return true
		}
	}
	return false
}

// mirror returns the one of two states that differ only in the nodes' names.
func (s state) mirror() state {
	a, b := s.tasks[0], s.tasks[1]
	bit := func(x bool) int {
		if x {
			return 1
		}
		return 0
	}
	c := cmp.Or(cmp.Compare(a.pc, b.pc), cmp.Compare(a.attempt, b.attempt), cmp.Compare(a.verdict, b.verdict), cmp.Compare(bit(a.cancel), bit(b.cancel)))
	if c < 0 || c == 0 && s.owner != 2 {
		return s
	}
	swap := [3]uint8{0, 2, 1}
	s.tasks[0], s.tasks[1] = b, a
	s.owner = swap[s.owner]
	for k := range s.net {
		s.net[k].waiter = swap[s.net[k].waiter]
	}
	return s
}
