package storetest

import (
	"testing"
	"time"

	"smi/internal/instance"
	"smi/internal/social"
)

// marks are the functions that guard against copies and wrong clocks.
func marks(t *testing.T, open Opener) {
	t.Run("mark", func(t *testing.T) { markKept(t, open) })
	t.Run("clock right", func(t *testing.T) { clockRight(t, open) })
}

// markKept: a new database has no mark; each mark is one beat after the one
// before it, whoever keeps it, and knows the newest attempt.
func markKept(t *testing.T, open Opener) {
	t.Parallel()
	r := newRoom(t, open)
	m, _, err := r.s.Mark(t.Context())
	if err != nil || m.Beat != 0 || m.Attempt != 0 || m.Instance == "" {
		t.Fatalf("a new database has the mark %+v, %v", m, err)
	}
	for beat := int64(1); beat <= 2; beat++ {
		kept, err := r.s.KeepMark(t.Context(), func(m *instance.Mark) { m.Run, m.Clean = "r", beat == 2 })
		if err != nil || kept.Beat != beat || kept.At.IsZero() {
			t.Fatalf("mark %d was kept as %+v, %v", beat, kept, err)
		}
	}
	r.due(noon)
	_, a := r.armed("n1", noon)
	m, wrote, err := r.s.Mark(t.Context())
	if err != nil || m.Beat != 2 || m.Run != "r" || !m.Clean || m.Attempt != a.ID {
		t.Errorf("the mark is %+v, %v; want beat 2 and attempt %s", m, err, a.ID)
	}
	if wrote.Before(a.ArmedAt) {
		t.Errorf("the newest row is of %s, and something was armed at %s", wrote, a.ArmedAt)
	}
	if id, err := r.s.NewestAttempt(t.Context()); err != nil || id != a.ID {
		t.Errorf("the newest attempt is %s, %v; want %s", id, err, a.ID)
	}
	// A mark may jump ahead: the next one goes on from there.
	if _, err := r.s.KeepMark(t.Context(), func(m *instance.Mark) { m.Beat = 40 }); err != nil {
		t.Fatal(err)
	}
	if kept, err := r.s.KeepMark(t.Context(), func(*instance.Mark) {}); err != nil || kept.Beat != 41 {
		t.Errorf("after beat 40 comes %+v, %v", kept, err)
	}
}

// clockRight: what waits for the clock, or for a time that a wrong clock
// reckoned, is due at once; what waits for its own time goes on waiting, and so
// does what somebody holds.
func clockRight(t *testing.T, open Opener) {
	t.Parallel()
	r := newRoom(t, open)
	const sentence = "The clock is in doubt."
	now := r.s.Now()
	put := func(planned, next time.Time, reason, owner string) social.ID {
		d := r.due(planned)
		r.Exec(`UPDATE delivery SET next_at = $1, reason = $2, owner = $3 WHERE id = $4`, next.UnixMilli(), reason, owner, int64(d.ID))
		return d.ID
	}
	soon, far := now.Add(10*time.Minute), now.Add(48*time.Hour)
	doubted := put(now.Add(-time.Minute), soon, sentence+" It was set.", "")
	reckoned := put(now.Add(-time.Minute), far, "The network asked to wait.", "")
	waits := put(now.Add(-time.Minute), soon, "The network asked to wait.", "")
	later := put(far, far, "", "")
	held := put(now.Add(-time.Minute), far, sentence, "n1")
	if err := r.s.ClockRight(t.Context(), "state", sentence, "cli:me"); err != nil {
		t.Fatal(err)
	}
	after := r.s.Now()
	for name, c := range map[string]struct {
		id    social.ID
		atNow bool
		want  time.Time
	}{
		"what waits for the clock":    {doubted, true, now},
		"what waits for a wrong time": {reckoned, true, now},
		"what waits for a while":      {waits, false, soon},
		"what is planned for then":    {later, false, far},
		"what a node works on":        {held, false, far},
	} {
		at := time.UnixMilli(r.number(`SELECT next_at FROM delivery WHERE id = $1`, int64(c.id)))
		if c.atNow && (at.Before(now.Truncate(time.Millisecond)) || at.After(after)) {
			t.Errorf("%s is due at %s, want at once (%s)", name, at, now)
		}
		if !c.atNow && !at.Equal(c.want.Truncate(time.Millisecond)) {
			t.Errorf("%s is due at %s, want %s", name, at, c.want)
		}
	}
	if state, err := r.s.ClockState(t.Context()); err != nil || state != "state" {
		t.Errorf("the state of the clock is kept as %q, %v", state, err)
	}
}
