package storetest

import (
	"errors"
	"testing"
	"time"

	"smi/connectors"
	"smi/internal/social"
	"smi/scheduler"
)

// spend: money is counted by month, never past its limit, and what was refused
// is given back.
func spend(t *testing.T, open Opener) {
	t.Parallel()
	r := newRoom(t, open)
	has := func(purse string, at time.Time, want int64) {
		t.Helper()
		if got, err := r.s.Spent(t.Context(), purse, at); err != nil || got != want {
			t.Errorf("%d spent of %s, %v; want %d", got, purse, err, want)
		}
	}
	add := func(at time.Time, amount, limit int64, want bool) {
		t.Helper()
		if ok, err := r.s.Spend(t.Context(), "reads", at, amount, limit); err != nil || ok != want {
			t.Errorf("adding %d within %d: %v, %v; want %v", amount, limit, ok, err, want)
		}
	}
	next := noon.AddDate(0, 1, 0)
	has("reads", noon, 0)
	add(noon, 5_000, 10_000, true)
	add(noon, 5_001, 10_000, false)
	add(noon, 5_000, 10_000, true)
	has("reads", noon, 10_000)
	add(noon, 1, 0, true) // without a limit it is only counted
	has("reads", noon, 10_001)
	add(next, 10_001, 10_000, false) // more than all of it, with nothing spent
	has("reads", next, 0)
	add(next, 10_000, 10_000, true)
	has("reads", next, 10_000)
	has("reads", noon, 10_001)
	has("another", noon, 0)

	for range 3 {
		r.due(noon)
	}
	at := noon.Add(5 * time.Minute)
	arm := func(micros int64) (scheduler.Work, scheduler.Attempt, scheduler.Spend, error) {
		t.Helper()
		r.Exec(`UPDATE delivery SET state = 'waiting', owner = '' WHERE state IN ('scheduled', 'ready', 'waiting')`)
		r.Exec(`UPDATE delivery SET next_at = 0 WHERE state = 'armed'`)
		w := r.ready("n1", at)
		q := r.armRequest(w, at)
		q.Spend = scheduler.Spend{Purse: connectors.Purse{Name: "posts", Limit: 300_000}, Micros: micros}
		a, err := r.s.Arm(t.Context(), q)
		return w, a, q.Spend, err
	}
	w, a, paid, err := arm(200_000)
	if err != nil {
		t.Fatal(err)
	}
	has("posts", at, 200_000)
	refusal := new(scheduler.Refusal)
	if _, _, _, err := arm(200_000); !errors.As(err, &refusal) || refusal.Gate != scheduler.GateBudget || !refusal.Until.Equal(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("over the budget: %v until %v", err, refusal.Until)
	}
	has("posts", at, 200_000)
	if n := r.Text(`SELECT count(*) FROM attempt`); n != "1" {
		t.Errorf("there are %s attempts, want the one that was paid", n)
	}
	// What the network refused is free; what may be there is not.
	for _, c := range []struct {
		state scheduler.AttemptState
		want  int64
	}{{scheduler.AttemptAmbiguous, 200_000}, {scheduler.AttemptRejected, 0}} {
		m := scheduler.Move{
			Delivery: w.Delivery.ID, Epoch: w.Delivery.Epoch, From: []social.DeliveryState{social.Armed, social.Ambiguous}, To: social.Ambiguous, Now: at, NextAt: at.Add(time.Hour),
			Attempt: &scheduler.AttemptChange{ID: a.ID, State: c.state, DecidedBy: "answer", GiveBack: paid, ArmedAt: at},
		}
		if err := r.s.Move(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		has("posts", at, c.want)
	}
	if _, _, _, err := arm(300_000); err != nil {
		t.Errorf("exactly the budget: %v", err)
	}
	has("posts", at, 300_000)
}
