package clock

import (
	"strings"
	"testing"
	"time"
)

// machine is one whose clocks are set at will.
type machine struct {
	wall time.Time
	boot time.Duration
}

func newMachine() (*machine, *Watch) {
	m := &machine{wall: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), boot: 5 * time.Hour}
	return m, m.watch()
}

// watch begins a life of a process.
func (m *machine) watch() *Watch {
	return NewWatch(func() time.Time { return m.wall }, func() time.Duration { return m.boot })
}

// pass lets time pass.
func (m *machine) pass(d time.Duration) { m.wall, m.boot = m.wall.Add(d), m.boot+d }

// doubts checks whether the clock is in doubt, and with it whether Now is the
// wall clock.
func (m *machine) doubts(t *testing.T, w *Watch, says string) {
	t.Helper()
	d := w.Doubt()
	switch {
	case d == nil && says == "":
		if got := w.Now(); !got.Equal(m.wall) {
			t.Errorf("Now = %s, want the wall clock, %s", got, m.wall)
		}
	case d == nil || says == "" || !strings.Contains(d.Text, says):
		t.Errorf("Doubt = %+v, want %q in it", d, says)
	}
}

// TestWatchOverJumps: after a jump the time goes on as before, until the clock is
// set back or a person says that it is right.
func TestWatchOverJumps(t *testing.T) {
	t.Parallel()
	year := 365 * 24 * time.Hour
	for _, jump := range []time.Duration{time.Hour, -time.Hour, year, -year, Jump + time.Second, -Jump - time.Second} {
		m, w := newMachine()
		m.pass(20 * time.Minute)
		was := m.wall
		m.wall = m.wall.Add(jump)
		m.doubts(t, w, "was set "+map[bool]string{true: "forward", false: "back"}[jump > 0])
		m.pass(3 * time.Minute)
		if got, want := w.Now(), was.Add(3*time.Minute); !got.Equal(want) || !w.Doubt().Steady {
			t.Errorf("%s: Now = %s (steady %v), want %s", jump, got, w.Doubt().Steady, want)
		}
		m.wall = m.wall.Add(-jump)
		m.doubts(t, w, "")
		m.wall = m.wall.Add(jump)
		m.doubts(t, w, "was set")
		w.Confirm(time.Time{})
		m.doubts(t, w, "")
		m.pass(48 * time.Hour)
		m.doubts(t, w, "")
	}
}

// TestWatchFollowsSmallSteps: what is set by little is followed, and what is set
// by little again and again is no jump; but each minute only a little.
func TestWatchFollowsSmallSteps(t *testing.T) {
	t.Parallel()
	m, w := newMachine()
	m.wall = m.wall.Add(Jump)
	m.doubts(t, w, "")
	m, w = newMachine()
	for range 60 * 24 {
		m.pass(time.Minute)
		m.wall = m.wall.Add(500 * time.Millisecond)
		w.Settle()
	}
	m.doubts(t, w, "")
	m, w = newMachine()
	for range 10 {
		m.pass(time.Minute)
		m.wall = m.wall.Add(40 * time.Second)
		w.Settle()
	}
	m.doubts(t, w, "was set forward")
}

// TestWatchOverSuspend: the boot clock runs on while a machine sleeps.
func TestWatchOverSuspend(t *testing.T) {
	t.Parallel()
	m, w := newMachine()
	m.pass(9 * time.Hour)
	m.doubts(t, w, "")
	m.wall = m.wall.Add(time.Hour) // the firmware's clock was off when it woke
	m.doubts(t, w, "was set forward by 1h0m0s")
}

// TestWatchOverRestarts: a restart of the process is no way out of a doubt, nor
// is one of the machine.
func TestWatchOverRestarts(t *testing.T) {
	t.Parallel()
	m, w := newMachine()
	m.pass(time.Hour)
	right := w.State("b1")
	m.wall = m.wall.Add(time.Hour)
	wrong := w.State("b1")

	w = m.watch() // the clock was set while nothing ran
	w.Resume(right, "b1", m.wall.Add(-2*time.Hour))
	m.doubts(t, w, "was set forward")
	w = m.watch()
	w.Resume(wrong, "b1", m.wall.Add(-2*time.Hour))
	m.doubts(t, w, "was set forward")
	m.wall = m.wall.Add(-time.Hour)
	m.doubts(t, w, "")
	m.wall = m.wall.Add(time.Hour)

	w = m.watch() // another boot
	w.Resume(right, "b2", m.wall.Add(-2*time.Hour))
	m.doubts(t, w, "")
	w = m.watch()
	w.Resume(wrong, "b2", m.wall.Add(-2*time.Hour))
	m.doubts(t, w, "before the last start the clock of this machine was set forward")
	if w.Doubt().Steady {
		t.Error("a doubt of before the boot knows the time")
	}
	again := w.State("b2")
	w = m.watch()
	w.Resume(again, "b3", time.Time{})
	m.doubts(t, w, "before the last start the clock of this machine was set forward")
	w.Confirm(time.Time{})
	m.doubts(t, w, "")
	if s := w.State("b3"); s.Doubt != "" {
		t.Errorf("a doubt that is over is kept: %+v", s)
	}
}

// TestWatchBehindTheRows: a machine whose clock is before what was written waits
// until it is set, or until a person says that the rows are wrong.
func TestWatchBehindTheRows(t *testing.T) {
	t.Parallel()
	m, w := newMachine()
	newest := m.wall.Add(Jump)
	w.Resume(State{}, "b1", newest)
	m.doubts(t, w, "")
	newest = m.wall.Add(Jump + time.Second)
	w = m.watch()
	w.Resume(State{}, "b1", newest)
	m.doubts(t, w, "smi has written at 2026-11-24 12:05:01 UTC already")
	if w.Doubt().Steady || !w.Now().Equal(m.wall) {
		t.Error("the time is made up")
	}
	m.wall = m.wall.Add(30 * time.Hour) // set right: that is no jump
	m.doubts(t, w, "")
	m.wall = m.wall.Add(-30 * time.Hour)
	m.doubts(t, w, "was set back")

	w = m.watch()
	w.Resume(State{}, "b1", newest)
	w.Confirm(newest)
	m.doubts(t, w, "")
	s := w.State("b1")
	w = m.watch()
	w.Resume(s, "b2", newest)
	m.doubts(t, w, "") // the same rows
	w = m.watch()
	w.Resume(s, "b2", newest.Add(time.Hour))
	m.doubts(t, w, "smi has written") // others
}

// TestWatchAndTheNetworks: one network says nothing about a clock; two that agree
// do, unless as many say otherwise.
func TestWatchAndTheNetworks(t *testing.T) {
	t.Parallel()
	m, w := newMachine()
	w.Saw("a", m.wall.Add(-time.Hour))
	m.doubts(t, w, "")
	w.Saw("b", m.wall.Add(time.Hour))
	m.doubts(t, w, "") // they don't agree
	w.Saw("b", m.wall.Add(-11*time.Minute))
	m.doubts(t, w, "is 11m0s ahead of the networks'")
	if w.Doubt().Steady {
		t.Error("a clock that networks doubt is called steady")
	}
	w.Saw("c", m.wall)
	m.doubts(t, w, "is 11m0s ahead of the networks'") // two against one
	w.Saw("d", m.wall)
	m.doubts(t, w, "") // two against two
	m.pass(2 * time.Hour)
	m.doubts(t, w, "") // too long ago

	w.Saw("a", m.wall.Add(11*time.Minute))
	w.Saw("b", m.wall.Add(12*time.Minute))
	m.doubts(t, w, "is 11m0s behind the networks'")
	m.wall = m.wall.Add(11*time.Minute + 30*time.Second) // set right
	m.doubts(t, w, "")
	if got := w.Alarm(); got != "" {
		t.Errorf("Alarm = %q", got)
	}
	w.Saw("a", m.wall.Add(-3*time.Minute))
	w.Saw("b", m.wall.Add(-4*time.Minute))
	m.doubts(t, w, "")
	if got := w.Alarm(); !strings.Contains(got, "is 3m0s ahead of the networks'") {
		t.Errorf("Alarm = %q", got)
	}
	w.Saw("a", m.wall.Add(-30*time.Minute))
	w.Saw("b", m.wall.Add(-30*time.Minute))
	m.doubts(t, w, "ahead of")
	w.Confirm(time.Time{}) // the networks are wrong
	m.doubts(t, w, "")
	w.Saw("a", m.wall.Add(-31*time.Minute))
	w.Saw("b", m.wall.Add(-31*time.Minute))
	m.doubts(t, w, "")
	if got := w.Alarm(); got != "" {
		t.Errorf("Alarm = %q after it was confirmed", got)
	}
}

// TestWatchIsVouchedFor: a machine that was halted by its host has a boot clock
// that stood still. Two networks that agree with the new time end the doubt; what
// they said before does not.
func TestWatchIsVouchedFor(t *testing.T) {
	t.Parallel()
	m, w := newMachine()
	w.Saw("a", m.wall)
	w.Saw("b", m.wall)
	m.pass(time.Minute)
	m.wall = m.wall.Add(40 * time.Minute)
	m.doubts(t, w, "was set forward")
	w.Saw("a", m.wall)
	m.doubts(t, w, "was set forward")
	w.Saw("b", m.wall.Add(-time.Minute))
	m.doubts(t, w, "")
	m.pass(3 * time.Hour)
	m.doubts(t, w, "")
}
