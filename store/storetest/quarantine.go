package storetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"smi/internal/social"
	"smi/scheduler"
)

func quarantine(t *testing.T, open Opener) {
	t.Parallel()
	t.Run("full", func(t *testing.T) { quarantineFull(t, open) })
	t.Run("short", func(t *testing.T) { quarantineShort(t, open) })
	t.Run("once", func(t *testing.T) { quarantineOnce(t, open) })
}

// known makes every delivery one that was there before the quarantine.
func (r *room) known() { r.Exec(`UPDATE delivery SET created_at = 1`) }

func (r *room) begin(o social.QuarantineOrder) social.Quarantine {
	r.t.Helper()
	q, err := r.s.BeginQuarantine(r.t.Context(), o)
	if err != nil {
		r.t.Fatal(err)
	}
	return q
}

func (r *room) looks(at time.Time) []scheduler.Work {
	r.t.Helper()
	works, err := r.s.Claim(r.t.Context(), scheduler.ClaimRequest{Node: "n1", Gap: true, Now: at, Lease: 15 * time.Second, Limit: 10, PerAccount: 10})
	if err != nil {
		r.t.Fatal(err)
	}
	return works
}

// quarantineFull: nothing is claimed, armed or changed before it was looked up,
// and when all is decided the quarantine ends by itself and says so.
func quarantineFull(t *testing.T, open Opener) {
	t.Parallel()
	r := newRoom(t, open)
	now := time.Now().UTC().Truncate(time.Millisecond)
	r.due(now.Add(-time.Minute))
	armed := r.ready("n1", now)
	request := r.armRequest(armed, now)
	free := r.due(now.Add(-time.Minute))
	later := r.due(now.Add(time.Hour))
	r.known()
	q := r.begin(social.QuarantineOrder{Kind: social.Restored, Reason: "A backup was restored.", From: now.Add(-time.Hour), By: "cli:test"})
	if q.Phase != social.Quarantined || !q.Stops || q.Gap.Pending != 2 || !q.To.IsZero() {
		t.Fatalf("it began as %+v", q)
	}
	refusal := new(scheduler.Refusal)
	if _, err := r.s.Arm(t.Context(), request); !errors.As(err, &refusal) || refusal.Gate != scheduler.GateQuarantine {
		t.Errorf("arming in quarantine: %v", err)
	}
	if works := r.claim("n1", now.Add(2*time.Hour)); len(works) != 0 {
		t.Errorf("%d deliveries were claimed to be published", len(works))
	}
	if _, err := r.s.CancelDelivery(t.Context(), r.ws.ID, free.ID, "person:ada"); social.CodeOf(err) != social.CodeConflict || !strings.Contains(err.Error(), "not looked yet") {
		t.Errorf("cancelling what may be live: %v", err)
	}
	if next, err := r.s.NextDue(t.Context()); err != nil || next.IsZero() || next.After(time.Now().Add(time.Minute)) {
		t.Errorf("the look is due %v, %v", next, err)
	}
	at := time.Now().Add(time.Minute)
	works := r.looks(at)
	if len(works) != 2 || works[0].Gap == nil || works[0].Gap.Adopting || !works[0].Gap.Since.Equal(now.Add(-time.Hour)) {
		t.Fatalf("looks: %+v", works)
	}
	// Not found is no answer before it is adopted.
	for _, w := range works {
		if err := r.s.Move(t.Context(), scheduler.Move{
			Delivery: w.Delivery.ID, Epoch: w.Delivery.Epoch, From: []social.DeliveryState{w.Delivery.State}, To: w.Delivery.State, Now: at, NextAt: at, Release: true,
			Gap: &scheduler.GapChange{Quarantine: q.ID, Seen: true},
		}); err != nil {
			t.Fatal(err)
		}
	}
	if works := r.looks(at.Add(time.Hour)); len(works) != 0 {
		t.Errorf("%d are looked at again before it is adopted", len(works))
	}
	if q, err := r.s.Adopt(t.Context(), "person:ada"); err != nil || q.Phase != social.Adopting || !q.Stops || q.Gap.Pending != 2 || q.AdoptedBy != "person:ada" {
		t.Fatalf("adopted: %+v, %v", q, err)
	}
	at = time.Now().Add(2 * time.Hour)
	works = r.looks(at)
	if len(works) != 2 || !works[0].Gap.Adopting {
		t.Fatalf("looks: %+v", works)
	}
	post := scheduler.Trace{ID: r.ID(), State: scheduler.AttemptAdopted, DecidedBy: "restore", Fingerprint: "fp"}
	post.Receipt.RemoteID, post.Receipt.PublishedAt = "post-1", now
	if err := r.s.Move(t.Context(), scheduler.Move{
		Delivery: works[0].Delivery.ID, Epoch: works[0].Delivery.Epoch, From: []social.DeliveryState{works[0].Delivery.State}, To: social.Published, Now: at, Step: 1, Release: true,
		Body: &post.Receipt, Trace: &post, Gap: &scheduler.GapChange{Quarantine: q.ID, Outcome: social.GapAdopted, Seen: true},
	}); err != nil {
		t.Fatal(err)
	}
	if owned, err := r.s.Owned(t.Context(), r.a.ID, []string{"post-0", "post-1"}); err != nil || !owned["post-1"] || owned["post-0"] {
		t.Errorf("owned: %v, %v", owned, err)
	}
	second := post
	second.ID = r.ID()
	m := scheduler.Move{
		Delivery: works[1].Delivery.ID, Epoch: works[1].Delivery.Epoch, From: []social.DeliveryState{works[1].Delivery.State}, To: social.Published, Now: at, Step: 1, Release: true,
		Body: &post.Receipt, Trace: &second, Gap: &scheduler.GapChange{Quarantine: q.ID, Outcome: social.GapAdopted, Seen: true},
	}
	if err := r.s.Move(t.Context(), m); !errors.Is(err, scheduler.ErrRemoteTaken) {
		t.Errorf("two deliveries took one post: %v", err)
	}
	m.To, m.Body, m.Trace, m.Step = social.HeldLate, nil, nil, 0
	m.Gap.Outcome = social.GapMissing
	m.Notice = &scheduler.Notice{Kind: "delivery_held_late", Severity: "alarm", Text: "not found"}
	if err := r.s.Move(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got, err := r.s.Quarantine(t.Context())
	if err != nil || got.Phase != social.Ended || got.Stops || got.Gap.Adopted != 1 || got.Gap.Missing != 1 || got.EndedAt.IsZero() {
		t.Errorf("it ended as %+v, %v", got, err)
	}
	if works := r.claim("n1", now.Add(3*time.Hour)); len(works) != 1 || works[0].Delivery.ID != later.ID {
		t.Errorf("afterwards %d are claimed, want the one for later", len(works))
	}
	for _, kind := range []string{"quarantine_began", "quarantine_adopted", "quarantine_ended"} {
		if n := r.Text(`SELECT count(*) FROM outbox WHERE kind = $1`, kind); n != "1" {
			t.Errorf("%s notices %s", n, kind)
		}
	}
	if _, err := r.s.Adopt(t.Context(), "person:ada"); social.CodeOf(err) != social.CodeConflict {
		t.Errorf("adopting what is not in quarantine: %v", err)
	}
}

// quarantineShort: only what was planned in the gap is held back.
func quarantineShort(t *testing.T, open Opener) {
	t.Parallel()
	r := newRoom(t, open)
	now := time.Now().UTC().Truncate(time.Millisecond)
	before, in, after := r.due(now.Add(-time.Hour)), r.due(now.Add(-5*time.Minute)), r.due(now)
	r.known()
	q := r.begin(social.QuarantineOrder{Kind: social.UncleanStop, Reason: "It went down.", Short: true, From: now.Add(-10 * time.Minute), To: now.Add(-time.Minute), By: "smi"})
	if q.Phase != social.Adopting || q.Stops || q.Gap.Pending != 1 {
		t.Fatalf("it began as %+v", q)
	}
	if on, err := r.s.Quarantined(t.Context()); err != nil || on {
		t.Errorf("in quarantine: %v, %v", on, err)
	}
	got := ids(r.claim("n1", now.Add(time.Minute)))
	if len(got) != 2 || got[0] != before.ID || got[1] != after.ID {
		t.Errorf("claimed %v, want what is not of the gap", got)
	}
	works := r.looks(now.Add(time.Minute))
	if len(works) != 1 || works[0].Delivery.ID != in.ID || !works[0].Gap.Short {
		t.Fatalf("looks: %+v", works)
	}
	// A doubt that only a person can end takes its place.
	q = r.begin(social.QuarantineOrder{Kind: social.Copied, Reason: "Another machine.", From: now.Add(-2 * time.Hour), By: "smi"})
	if q.Phase != social.Quarantined || !q.Stops || q.Short || q.Kind != social.Copied || q.Gap.Pending != 3 {
		t.Errorf("widened to %+v", q)
	}
	if again := r.begin(social.QuarantineOrder{Kind: social.UncleanStop, Reason: "It went down.", Short: true, From: now, To: now, By: "smi"}); again.Phase != social.Quarantined || !again.Stops || again.Kind != social.Copied {
		t.Errorf("a short one made of it %+v", again)
	}
}

// quarantineOnce: the same doubt at each start is told once, and with nothing in
// the gap there is nothing to wait for.
func quarantineOnce(t *testing.T, open Opener) {
	t.Parallel()
	r := newRoom(t, open)
	now := time.Now().UTC()
	o := social.QuarantineOrder{Kind: social.Copied, Reason: "Another machine.", From: now.Add(-time.Hour), By: "smi"}
	first := r.begin(o)
	if again := r.begin(o); again.ID != first.ID {
		t.Errorf("a second quarantine: %+v", again)
	}
	if n := r.Text(`SELECT count(*) FROM outbox WHERE kind = 'quarantine_began'`); n != "1" {
		t.Errorf("told %s times", n)
	}
	if q, err := r.s.Adopt(t.Context(), "person:ada"); err != nil || q.Open() {
		t.Errorf("with an empty gap: %+v, %v", q, err)
	}
	if q := r.begin(social.QuarantineOrder{Kind: social.UncleanStop, Reason: "It went down.", Short: true, From: now.Add(-time.Hour), To: now, By: "smi"}); q.Open() || q.ID == first.ID {
		t.Errorf("a short one with an empty gap: %+v", q)
	}
}
