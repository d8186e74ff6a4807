package clock

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	// Jump is how far the wall clock may be set at once without being doubted.
	Jump = 5 * time.Minute
	// Off is how far the wall clock may differ from the networks' before somebody
	// is told.
	Off = 2 * time.Minute
	// FarOff is how far it may differ before nothing is sent by it.
	FarOff = 10 * time.Minute

	dateGood = time.Hour   // for so long a network's time counts
	settle   = time.Second // how far the wall clock is followed at each Settle
)

// Why the clock is in doubt.
const (
	set    = "set"    // it was set while the boot clock ran on
	behind = "behind" // it is before what was written already
	dates  = "dates"  // networks say otherwise
	before = "before" // it was in doubt when the machine went down
)

// Doubt is a reason not to send anything by the clock.
type Doubt struct {
	Text string // a sentence for people
	// Steady says that Now is right all the same: it goes on as the clock went
	// before it was set. Else nothing may be decided by it either.
	Steady bool
	why    string
}

// State is what a Watch keeps from one life of the process to the next.
type State struct {
	Boot  string        `json:"boot,omitempty"` // id of the machine's boot
	Since time.Duration `json:"since"`          // the boot clock when it was Base
	Base  time.Time     `json:"base"`
	Doubt string        `json:"doubt,omitempty"`
	Why   string        `json:"why,omitempty"`
	// Ignore is how far rows may be from a time that was wrong: they were written
	// before somebody said that the clock is right.
	Ignore time.Time `json:"ignore,omitzero"`
}

// Watch is the time by which everything is done. It follows the wall clock, but
// not when that is set by more than Jump: then it goes on with the boot clock
// until the two agree again, two networks say that the wall clock is right, or a
// person does. It is safe for concurrent use.
type Watch struct {
	wall func() time.Time
	boot func() time.Duration

	mu     sync.Mutex
	base   time.Time     // a time that was right
	since  time.Duration // the boot clock then
	floor  time.Time     // it is at least that late; zero if nothing says so
	before string        // the doubt of the life before
	ignore time.Time
	said   map[string]said
}

// said is what a network said of the time.
type said struct {
	at      time.Time
	boot    time.Duration
	allowed time.Duration // how far off it was when somebody said that this clock is right
	settled bool          // allowed counts
}

// NewWatch returns a Watch that trusts the wall clock as it is. boot is a clock
// that neither jumps nor stops while the machine sleeps; nil means the machine's.
func NewWatch(wall func() time.Time, boot func() time.Duration) *Watch {
	if boot == nil {
		boot = sinceBoot
	}
	return &Watch{wall: wall, boot: boot, base: wall().Round(0), since: boot(), said: map[string]said{}}
}

// Resume goes on from the state of the process before. boot is the id of the
// machine's boot, newest the time of the newest row.
func (w *Watch) Resume(s State, boot string, newest time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ignore = s.Ignore
	same := s.Boot != "" && s.Boot == boot && w.boot() >= s.Since && !s.Base.IsZero()
	if same {
		w.base, w.since = s.Base, s.Since
	} else if newest.After(s.Ignore) {
		w.floor = newest
	}
	if s.Doubt != "" && (!same || s.Why == dates || s.Why == before) {
		w.before = s.Doubt
	}
}

// State returns what Resume needs. boot is the id of the machine's boot.
func (w *Watch) State(boot string) State {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := State{Boot: boot, Since: w.since, Base: w.base, Ignore: w.ignore}
	if d := w.doubt(); d != nil {
		if s.Doubt, s.Why = d.Text, d.why; s.Why == before {
			s.Doubt = w.before
		}
	}
	return s
}

// Now returns the time.
func (w *Watch) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.wall()
	if d := w.doubt(); d != nil && d.Steady {
		return w.steady()
	}
	return now
}

// steady is the time by the boot clock.
func (w *Watch) steady() time.Time { return w.base.Add(w.boot() - w.since) }

// Doubt returns why the clock is in doubt, nil if it is not.
func (w *Watch) Doubt() *Doubt {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.doubt()
}

func (w *Watch) doubt() *Doubt {
	wall := w.wall().Round(0)
	if !w.floor.IsZero() || w.before != "" {
		return w.doubtOfBefore(wall)
	}
	if drift := wall.Sub(w.steady()); drift.Abs() > Jump {
		if !w.vouched(wall) {
			return &Doubt{why: set, Steady: true, Text: fmt.Sprintf("the clock of this machine was set %s by %s and says %s; smi goes on as if it were %s",
				way(drift), round(drift), stamp(wall), stamp(w.steady()))}
		}
		w.trust(wall)
	}
	if off := w.off(wall); off.Abs() > FarOff {
		return &Doubt{why: dates, Text: fmt.Sprintf("the clock of this machine is %s %s the networks': it says %s", round(off), aheadOf(off), stamp(wall))}
	}
	return nil
}

// doubtOfBefore is the doubt with which the process began: nothing of this life
// can tell how late it is.
func (w *Watch) doubtOfBefore(wall time.Time) *Doubt {
	if !w.floor.IsZero() && wall.Before(w.floor.Add(-Jump)) {
		if w.vouched(wall) {
			w.trust(wall)
			return nil
		}
		return &Doubt{why: behind, Text: fmt.Sprintf("the clock of this machine says %s, but smi has written at %s already", stamp(wall), stamp(w.floor))}
	}
	if w.floor = (time.Time{}); w.before == "" || w.vouched(wall) {
		w.trust(wall)
		return nil
	}
	return &Doubt{why: before, Text: "before the last start " + w.before + "; now it says " + stamp(wall)}
}

// trust takes the wall clock for right from here on.
func (w *Watch) trust(wall time.Time) {
	w.base, w.since, w.floor, w.before = wall, w.boot(), time.Time{}, ""
}

// Settle follows a wall clock that is corrected a little at a time. It is called
// about once a minute.
func (w *Watch) Settle() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.doubt() == nil {
		w.base = w.base.Add(max(-settle, min(settle, w.wall().Round(0).Sub(w.steady()))))
	}
}

// Confirm is called when a person says that the wall clock is right. newest is
// the time of the newest row.
func (w *Watch) Confirm(newest time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wall := w.wall().Round(0)
	w.trust(wall)
	if newest.After(wall) && newest.After(w.ignore) {
		w.ignore = newest
	}
	for name, s := range w.said {
		s.allowed, s.settled = w.behindOf(s, wall), true
		w.said[name] = s
	}
}

// Saw tells what a network said the time is. It says nothing about a clock by
// itself: two networks must agree.
func (w *Watch) Saw(network string, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.said[network]
	s.at, s.boot = at, w.boot()
	w.said[network] = s
}

// behindOf is how far the wall clock is ahead of what a network said.
func (w *Watch) behindOf(s said, wall time.Time) time.Duration {
	return wall.Sub(s.at.Add(w.boot() - s.boot))
}

// offs are how far the wall clock is ahead of each network that was heard of
// lately.
func (w *Watch) offs(wall time.Time) []time.Duration {
	var out []time.Duration
	for _, s := range w.said {
		if w.boot()-s.boot > dateGood {
			continue
		}
		off := w.behindOf(s, wall)
		if s.settled {
			off -= s.allowed
		}
		out = append(out, off)
	}
	return out
}

// vouched says whether two networks were heard of, and all of them agree with
// the wall clock.
func (w *Watch) vouched(wall time.Time) bool {
	all := w.offs(wall)
	for _, off := range all {
		if off.Abs() > Off {
			return false
		}
	}
	return len(all) >= 2
}

// off is by how much at least two networks, and more than say otherwise, differ
// from the wall clock: the least that they agree on; 0 if they don't.
func (w *Watch) off(wall time.Time) time.Duration {
	ahead, late := side{}, side{}
	agree := 0
	for _, off := range w.offs(wall) {
		switch {
		case off > Off:
			ahead.add(off)
		case off < -Off:
			late.add(-off)
		default:
			agree++
		}
	}
	switch {
	case ahead.n >= 2 && ahead.n > late.n+agree:
		return ahead.least
	case late.n >= 2 && late.n > ahead.n+agree:
		return -late.least
	}
	return 0
}

// side counts networks that say that the clock is off to one side.
type side struct {
	n     int
	least time.Duration
}

func (s *side) add(d time.Duration) {
	if s.n == 0 || d < s.least {
		s.least = d
	}
	s.n++
}

// Alarm says what people should hear of the clock although it is still gone by,
// "" if nothing.
func (w *Watch) Alarm() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	wall := w.wall().Round(0)
	if w.doubt() != nil {
		return ""
	}
	if off := w.off(wall); off != 0 {
		return fmt.Sprintf("The clock of this machine is %s %s the networks'. Set it right (with NTP); at %s nothing is sent any more.", round(off), aheadOf(off), strings.TrimSuffix(FarOff.String(), "0s"))
	}
	return ""
}

func way(drift time.Duration) string {
	if drift < 0 {
		return "back"
	}
	return "forward"
}

func aheadOf(off time.Duration) string {
	if off < 0 {
		return "behind"
	}
	return "ahead of"
}

// round writes how far a clock is off.
func round(d time.Duration) string {
	d = d.Abs().Round(time.Second)
	if days := d / (24 * time.Hour); days > 0 {
		return fmt.Sprintf("%d days", days)
	}
	return d.String()
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
