package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smi/connectors"
	"smi/internal/social"
	"smi/scheduler"
)

func change(t *testing.T, open Opener) {
	t.Run("cancel", func(t *testing.T) { changeCancel(t, open) })
	t.Run("cancel while being sent", func(t *testing.T) { changeCancelLate(t, open) })
	t.Run("edit", func(t *testing.T) { changeEdit(t, open) })
	t.Run("reschedule", func(t *testing.T) { changeReschedule(t, open) })
	t.Run("blocked", func(t *testing.T) { changeBlocked(t, open) })
	t.Run("edit what may still appear", func(t *testing.T) { changeEditOnItsWay(t, open) })
	t.Run("what was called absent too early", func(t *testing.T) { changeEarly(t, open) })
	t.Run("late", func(t *testing.T) { changeLate(t, open) })
	t.Run("answers", func(t *testing.T) { changeAnswers(t, open) })
	t.Run("answers before sending", func(t *testing.T) { changeAnswersUnsent(t, open) })
	t.Run("thread", func(t *testing.T) { changeThread(t, open) })
	t.Run("pause", func(t *testing.T) { changePause(t, open) })
}

var stoppable = []social.DeliveryState{social.Scheduled, social.Claimed, social.Ready, social.Waiting, social.HeldLate, social.Blocked}

func changeCancel(t *testing.T, open Opener) {
	t.Parallel()
	for _, st := range social.DeliveryStates {
		if st == social.Armed || st == social.Ambiguous {
			continue
		}
		r := newRoom(t, open)
		d := r.due(noon)
		w := r.ready("n1", noon)
		r.Exec(`UPDATE delivery SET state = $1, remote_id = 'r', remote_url = 'https://example.org/r' WHERE id = $2`, string(st), int64(d.ID))
		got, err := r.s.CancelDelivery(t.Context(), r.ws.ID, d.ID, "person:ada")
		switch {
		case slices.Contains(stoppable, st):
			if err != nil || got != social.Cancelled || r.state(d.ID) != social.Cancelled {
				t.Errorf("%s: %s, %v", st, got, err)
			}
			if got := r.Text(`SELECT reason || owner || next_at FROM delivery WHERE id = $1`, int64(d.ID)); got != "Cancelled by person:ada.0" {
				t.Error(got)
			}
			if r.Text(`SELECT count(*) FROM audit WHERE action = 'delivery.cancel' AND actor = 'person:ada' AND subject = $1`, d.ID.String()) != "1" {
				t.Errorf("%s: not in the audit log", st)
			}
			// Who was working on it changes nothing any more.
			if err := r.s.Move(t.Context(), scheduler.Move{Delivery: d.ID, Epoch: w.Delivery.Epoch, From: social.DeliveryStates, To: social.Waiting, Now: noon, NextAt: noon}); !errors.Is(err, scheduler.ErrStale) {
				t.Errorf("%s: a late move gave %v", st, err)
			}
		case st == social.Cancelled:
			if err != nil || got != social.Cancelled {
				t.Errorf("cancelling twice: %s, %v", got, err)
			}
		default:
			want := map[social.DeliveryState]string{
				social.Published: "https://example.org/r", social.NeedsHuman: "send it again, or drop it", social.Failed: "it is failed already", social.Skipped: "it is skipped already",
			}[st]
			if social.CodeOf(err) != social.CodeConflict || !strings.Contains(err.Error(), want) || got != st || r.state(d.ID) != st {
				t.Errorf("%s: %s, %v", st, got, err)
			}
		}
	}
	r := newRoom(t, open)
	d := r.due(noon)
	if _, err := r.s.CancelDelivery(t.Context(), r.Workspace().ID, d.ID, "person:eve"); social.CodeOf(err) != social.CodeNotFound || r.state(d.ID) != social.Scheduled {
		t.Errorf("a stranger cancelled: %v", err)
	}
}

// changeCancelLate: the wish is kept, and honoured where it can be.
func changeCancelLate(t *testing.T, open Opener) {
	t.Parallel()
	thread := []social.Part{{Role: social.RoleBody, Text: "one"}, {Role: social.RoleThread, Text: "two"}}
	for _, c := range []struct {
		name    string
		outcome scheduler.AttemptState
		parts   []social.Part
		want    social.DeliveryState
	}{
		{"it got out", scheduler.AttemptOK, nil, social.Published},
		{"it did not get out", scheduler.AttemptNotSent, nil, social.Cancelled},
		{"it was refused for now", scheduler.AttemptRejected, nil, social.Cancelled},
		{"its handle says no", scheduler.AttemptAbsentByHandle, nil, social.Waiting}, // may be overtaken: the scheduler looks again
		{"the first of two got out", scheduler.AttemptOK, thread, social.Published},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, open)
			d := r.due(noon, c.parts...)
			w, a := r.armed("n1", noon)
			st, err := r.s.CancelDelivery(t.Context(), r.ws.ID, d.ID, "person:ada")
			if st != social.Armed || social.CodeOf(err) != social.CodeConflict || !strings.Contains(err.Error(), "being sent since 12:00:00 UTC") {
				t.Fatalf("%s, %v", st, err)
			}
			if r.Text(`SELECT cancel_wanted FROM delivery WHERE id = $1`, int64(d.ID)) == "0" {
				t.Error("the wish is not kept")
			}
			m := r.done(w, a, "r1", noon)
			if c.outcome != scheduler.AttemptOK {
				m = scheduler.Move{
					Delivery: d.ID, Epoch: w.Delivery.Epoch, From: []social.DeliveryState{social.Armed}, To: social.Waiting, Now: noon, NextAt: noon.Add(time.Second), Release: true,
					Attempt: &scheduler.AttemptChange{ID: a.ID, State: c.outcome},
				}
			}
			if err := r.s.Move(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if got := r.state(d.ID); got != c.want {
				t.Errorf("it is %s, want %s", got, c.want)
			}
			works := r.claim("n1", noon.Add(time.Hour))
			if got := len(works) == 1 && works[0].Delivery.Cancel; got != (c.want == social.Waiting) {
				t.Errorf("it goes on: %+v", works)
			}
		})
	}
}

func changeEdit(t *testing.T, open Opener) {
	t.Parallel()
	r := newRoom(t, open)
	d := r.due(noon)
	w := r.ready("n1", noon)
	edit := social.DeliveryEdit{Ver: w.Delivery.Ver, Parts: []social.Part{{Role: social.RoleBody, Text: "new"}}, PlannedAt: noon.Add(time.Hour), NextAt: noon.Add(50 * time.Minute)}
	for name, c := range map[string]struct {
		code   social.Code
		field  string
		change func(*social.DeliveryEdit)
	}{
		"old version": {social.CodeConflict, "delivery", func(e *social.DeliveryEdit) { e.Ver-- }},
		"no parts":    {social.CodeInvalid, "parts", func(e *social.DeliveryEdit) { e.Parts = nil }},
		"no time":     {social.CodeInvalid, "planned", func(e *social.DeliveryEdit) { e.PlannedAt = time.Time{} }},
		"limit":       {social.CodeInvalid, "not_after", func(e *social.DeliveryEdit) { e.NotAfter = noon }},
	} {
		e := edit
		c.change(&e)
		before := r.row(d.ID)
		err := r.s.EditDelivery(t.Context(), r.ws.ID, d.ID, e, "person:ada")
		se, _ := errors.AsType[*social.Error](err)
		if se == nil || se.Code != c.code || se.Field != c.field {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(before, r.row(d.ID)); diff != "" {
			t.Error(diff)
		}
	}
	if err := r.s.EditDelivery(t.Context(), r.ws.ID, d.ID, edit, "person:ada"); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("scheduled %s  %d %d ask 0 %d", social.ContentHash(edit.Parts), noon.Add(time.Hour).UnixMilli(), noon.Add(50*time.Minute).UnixMilli(), edit.Ver+1)
	if got := r.Text(`SELECT state || ' ' || content_hash || ' ' || approved_hash || ' ' || planned_utc || ' ' || next_at || ' ' || late_policy || ' ' || step || ' ' || ver FROM delivery WHERE id = $1`, int64(d.ID)); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if r.Text(`SELECT count(*) FROM checkpoint`) != "0" {
		t.Error("the old preparation is still there")
	}
	// Whoever had prepared the old text can not arm it.
	if _, err := r.s.Arm(t.Context(), r.armRequest(w, noon)); err == nil {
		t.Error("the old text was armed after the edit")
	}
	edit.Ver, edit.Approved = edit.Ver+1, true
	if err := r.s.EditDelivery(t.Context(), r.ws.ID, d.ID, edit, "person:ada"); err != nil {
		t.Fatal(err)
	}
	if w, _ := r.armed("n1", noon.Add(time.Hour)); w.Delivery.Parts[0].Text != "new" {
		t.Errorf("armed %+v", w.Delivery.Parts)
	}
	edit.Ver = 6
	if err := r.s.EditDelivery(t.Context(), r.ws.ID, d.ID, edit, "person:ada"); social.CodeOf(err) != social.CodeConflict || !strings.Contains(err.Error(), "too late") {
		t.Errorf("edited while being sent: %v", err)
	}
}

func changeReschedule(t *testing.T, open Opener) {
	t.Parallel()
	later := noon.Add(time.Hour)
	for _, st := range social.DeliveryStates {
		r := newRoom(t, open)
		d := r.due(noon)
		r.Exec(`UPDATE delivery SET state = $1, remote_id = 'r', reason = 'why' WHERE id = $2`, string(st), int64(d.ID))
		if st == social.Blocked {
			r.Exec(`UPDATE account SET status = 'needs_reconnect'`)
		}
		err := r.s.RescheduleDelivery(t.Context(), r.ws.ID, d.ID, 0, later, later.Add(-time.Minute), "person:ada")
		got := r.Text(`SELECT state || ' ' || planned_utc || ' ' || next_at || ' ' || reason FROM delivery WHERE id = $1`, int64(d.ID))
		switch {
		case st == social.Blocked:
			if err != nil || got != fmt.Sprintf("blocked %d 0 why", later.UnixMilli()) {
				t.Errorf("%s: %s, %v", st, got, err)
			}
		case slices.Contains(stoppable, st), st == social.Skipped, st == social.Failed:
			if err != nil || got != fmt.Sprintf("scheduled %d %d ", later.UnixMilli(), later.Add(-time.Minute).UnixMilli()) {
				t.Errorf("%s: %s, %v", st, got, err)
			}
		default:
			if social.CodeOf(err) != social.CodeConflict || r.state(d.ID) != st {
				t.Errorf("%s: %s, %v", st, got, err)
			}
		}
	}
	r := newRoom(t, open)
	d := r.due(noon)
	if err := r.s.RescheduleDelivery(t.Context(), r.ws.ID, d.ID, 4, later, later, "person:ada"); social.CodeOf(err) != social.CodeConflict {
		t.Errorf("another version: %v", err)
	}

	// Of a thread that has begun the rest can be put off. That it was public before
	// its time, or on time although it was late, must not come of it.
	r = newRoom(t, open)
	d = r.due(noon, social.Part{Role: social.RoleBody, Text: "one"}, social.Part{Role: social.RoleThread, Text: "two"})
	r.Exec(`UPDATE delivery SET step = 1, remote_id = 'r' WHERE id = $1`, int64(d.ID))
	plan := func() string {
		return r.Text(`SELECT state || ' ' || planned_utc || ' ' || next_at FROM delivery WHERE id = $1`, int64(d.ID))
	}
	rest := fmt.Sprintf("scheduled %d %d", d.PlannedAt.UnixMilli(), later.UnixMilli())
	if err := r.s.RescheduleDelivery(t.Context(), r.ws.ID, d.ID, 0, later, later.Add(-time.Minute), "person:ada"); err != nil || plan() != rest {
		t.Errorf("the rest of a thread, moved: %s, want %s, %v", plan(), rest, err)
	}
	r.Exec(`UPDATE delivery SET next_at = 0 WHERE id = $1`, int64(d.ID))
	edit := social.DeliveryEdit{Ver: 1, Parts: d.Parts, PlannedAt: later, NextAt: later.Add(-time.Minute), Approved: true}
	if err := r.s.EditDelivery(t.Context(), r.ws.ID, d.ID, edit, "person:ada"); err != nil || plan() != rest {
		t.Errorf("the rest of a thread, edited: %s, want %s, %v", plan(), rest, err)
	}
}

// changeBlocked: a delivery that was blocked although its account is connected
// (a permission, a network that was switched off) has ways out of it.
func changeBlocked(t *testing.T, open Opener) {
	t.Parallel()
	later := noon.Add(time.Hour)
	blocked := func() (*room, social.Delivery) {
		r := newRoom(t, open)
		d := r.due(noon)
		r.Exec(`UPDATE delivery SET state = 'blocked', next_at = 0, reason = 'why' WHERE id = $1`, int64(d.ID))
		return r, d
	}
	r, d := blocked()
	if err := r.s.RescheduleDelivery(t.Context(), r.ws.ID, d.ID, 0, later, later, "person:ada"); err != nil || r.state(d.ID) != social.Scheduled {
		t.Errorf("planned anew: %s, %v", r.state(d.ID), err)
	}
	r, d = blocked()
	edit := social.DeliveryEdit{Parts: d.Parts, PlannedAt: later, NextAt: later, Approved: true}
	if err := r.s.EditDelivery(t.Context(), r.ws.ID, d.ID, edit, "person:ada"); err != nil || r.state(d.ID) != social.Scheduled {
		t.Errorf("edited: %s, %v", r.state(d.ID), err)
	}
	r, d = blocked()
	other := r.Account(r.ws.ID)
	e := r.Delivery(r.Post(r.ws.ID, noon), other)
	r.Exec(`UPDATE delivery SET state = 'blocked', next_at = 0 WHERE id = $1`, int64(e.ID))
	if n, err := r.s.FreeBlocked(t.Context(), r.a.ID); err != nil || n != 1 || r.state(d.ID) != social.Scheduled || r.state(e.ID) != social.Blocked {
		t.Errorf("freeing one account: %d, %v: %s and %s", n, err, r.state(d.ID), r.state(e.ID))
	}
	r.Exec(`UPDATE account SET status = 'needs_reconnect' WHERE id = $1`, int64(other.ID))
	if n, err := r.s.FreeBlocked(t.Context(), 0); err != nil || n != 0 || r.state(e.ID) != social.Blocked {
		t.Errorf("an account that is not connected: %d, %v: %s", n, err, r.state(e.ID))
	}
	r.Exec(`UPDATE account SET status = 'connected' WHERE id = $1`, int64(other.ID))
	if n, err := r.s.FreeBlocked(t.Context(), 0); err != nil || n != 1 || r.state(e.ID) != social.Scheduled || r.Text(`SELECT next_at > 0 FROM delivery WHERE id = $1`, int64(e.ID)) == "0" {
		t.Errorf("freeing all: %d, %v: %s", n, err, r.state(e.ID))
	}
}

// changeEditOnItsWay: an attempt that its handle called absent may still take
// effect for a while. Nobody may drop that handle and send another text.
func changeEditOnItsWay(t *testing.T, open Opener) {
	t.Parallel()
	r := newRoom(t, open)
	d := r.due(noon)
	w, a := r.armed("n1", noon)
	if err := r.s.Move(t.Context(), scheduler.Move{
		Delivery: d.ID, Epoch: w.Delivery.Epoch, From: []social.DeliveryState{social.Armed}, To: social.NeedsHuman, Now: noon, Release: true,
		Attempt: &scheduler.AttemptChange{ID: a.ID, State: scheduler.AttemptAbsentByHandle, Early: true, DecidedBy: "handle"},
		Notice:  &scheduler.Notice{Kind: "delivery_needs_human", Severity: "alarm", Delivery: d.ID, Text: "look"},
	}); err != nil {
		t.Fatal(err)
	}
	edit := func() error {
		ver, err := strconv.ParseInt(r.Text(`SELECT ver FROM delivery WHERE id = $1`, int64(d.ID)), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return r.s.EditDelivery(t.Context(), r.ws.ID, d.ID, social.DeliveryEdit{
			Ver: ver, Parts: []social.Part{{Role: social.RoleBody, Text: "another"}}, PlannedAt: noon, NextAt: noon, Approved: true,
		}, "person:ada")
	}
	if err := edit(); social.CodeOf(err) != social.CodeConflict || r.state(d.ID) != social.NeedsHuman {
		t.Errorf("edited while it may still appear: %s, %v", r.state(d.ID), err)
	}
	// Time alone settles nothing: only another look at the network does.
	r.Exec(`UPDATE attempt SET send_by = $1`, noon.Add(-48*time.Hour).UnixMilli())
	if err := edit(); social.CodeOf(err) != social.CodeConflict {
		t.Errorf("edited because time has passed: %s, %v", r.state(d.ID), err)
	}
	if err := r.s.Move(t.Context(), scheduler.Move{
		Delivery: d.ID, Epoch: w.Delivery.Epoch, From: []social.DeliveryState{social.NeedsHuman}, To: social.NeedsHuman, Now: noon,
		Attempt: &scheduler.AttemptChange{ID: a.ID, State: scheduler.AttemptAbsentByHandle, DecidedBy: "handle"},
	}); err != nil {
		t.Fatal(err)
	}
	if err := edit(); err != nil || r.state(d.ID) != social.Scheduled {
		t.Errorf("edited when it is settled: %s, %v", r.state(d.ID), err)
	}
}

// changeEarly: what was called absent too early stays in doubt: it is not
// cancelled, not planned anew, and a person's answer is about that attempt.
func changeEarly(t *testing.T, open Opener) {
	t.Parallel()
	for _, c := range []struct {
		answer social.Answer
		want   scheduler.AttemptState
		state  social.DeliveryState
	}{
		{social.AnswerThere, scheduler.AttemptAdopted, social.Published},
		{social.AnswerAgain, scheduler.AttemptAbsentByHuman, social.Scheduled},
		{social.AnswerDrop, scheduler.AttemptAbsentByHandle, social.Failed},
	} {
		t.Run(string(c.answer), func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, open)
			d := r.due(noon)
			w, a := r.armed("n1", noon)
			blocked := scheduler.Move{
				Delivery: d.ID, Epoch: w.Delivery.Epoch, From: []social.DeliveryState{social.Armed}, To: social.Blocked, Now: noon, Release: true,
				Attempt: &scheduler.AttemptChange{ID: a.ID, State: scheduler.AttemptAbsentByHandle, Early: true, DecidedBy: "handle"},
				Notice:  &scheduler.Notice{Kind: "delivery_blocked", Severity: "alarm", Delivery: d.ID, Text: "no login"},
			}
			if err := r.s.Move(t.Context(), blocked); err != nil {
				t.Fatal(err)
			}
			state, err := r.s.CancelDelivery(t.Context(), r.ws.ID, d.ID, "person:ada")
			if social.CodeOf(err) != social.CodeConflict || r.state(d.ID) != social.Waiting {
				t.Errorf("cancelled: %s, %v; now %s, want waiting for a look", state, err, r.state(d.ID))
			}
			again := r.claim("n1", time.Now().Add(time.Minute))
			if len(again) != 1 || !again[0].Delivery.Cancel || len(again[0].Attempts) != 1 || !again[0].Attempts[0].Early {
				t.Fatalf("claimed for the look: %+v", again)
			}
			r.ask(again[0], nil)
			if err := r.s.ResolveDelivery(t.Context(), r.ws.ID, d.ID, c.answer, connectors.Receipt{RemoteID: "r1"}, "person:ada"); err != nil {
				t.Fatal(err)
			}
			var got []scheduler.AttemptState
			attempts, err := r.s.Attempts(t.Context(), r.ws.ID, d.ID)
			for _, x := range attempts {
				got = append(got, x.State)
			}
			if err != nil || !slices.Equal(got, []scheduler.AttemptState{c.want}) || r.state(d.ID) != c.state {
				t.Errorf("the attempts are %v (%v), the delivery is %s; want %s and %s", got, err, r.state(d.ID), c.want, c.state)
			}
			if c.answer != social.AnswerDrop {
				return
			}
			ver, err := strconv.ParseInt(r.Text(`SELECT ver FROM delivery WHERE id = $1`, int64(d.ID)), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.s.RescheduleDelivery(t.Context(), r.ws.ID, d.ID, ver, noon.Add(time.Hour), time.Time{}, "person:ada"); social.CodeOf(err) != social.CodeConflict {
				t.Errorf("dropped in doubt and planned anew: %v", err)
			}
		})
	}
}

func changeLate(t *testing.T, open Opener) {
	t.Parallel()
	for _, publish := range []bool{true, false} {
		r := newRoom(t, open)
		d := r.due(noon)
		if err := r.s.PublishLate(t.Context(), r.ws.ID, d.ID, publish, "person:ada"); social.CodeOf(err) != social.CodeConflict {
			t.Errorf("not held: %v", err)
		}
		r.Exec(`UPDATE delivery SET state = 'held_late', next_at = 0, not_after = 1000 WHERE id = $1`, int64(d.ID))
		if err := r.s.PublishLate(t.Context(), r.ws.ID, d.ID, publish, "person:ada"); err != nil {
			t.Fatal(err)
		}
		got := r.Text(`SELECT state || ' ' || late_policy || ' ' || not_after || ' ' || CASE WHEN next_at > 0 THEN 'now' ELSE '' END FROM delivery WHERE id = $1`, int64(d.ID))
		want, notices := "scheduled publish 0 now", "0"
		if !publish {
			want, notices = "skipped ask 1000 ", "1"
		}
		if got != want || r.Text(`SELECT count(*) FROM outbox`) != notices {
			t.Errorf("publish %v: %s, %s notices", publish, got, r.Text(`SELECT count(*) FROM outbox`))
		}
	}
}

// asked brings a delivery into NeedsHuman with an attempt whose outcome nobody
// knows.
func (r *room) asked(parts ...social.Part) (social.Delivery, scheduler.Attempt) {
	r.t.Helper()
	d := r.due(noon, parts...)
	w, a := r.armed("n1", noon)
	r.ask(w, &scheduler.AttemptChange{ID: a.ID, State: scheduler.AttemptAmbiguous, DecidedBy: "answer"})
	return d, a
}

func (r *room) ask(w scheduler.Work, c *scheduler.AttemptChange) {
	r.t.Helper()
	if err := r.s.Move(r.t.Context(), scheduler.Move{
		Delivery: w.Delivery.ID, Epoch: w.Delivery.Epoch, From: []social.DeliveryState{social.Armed, social.Ready, social.Waiting}, To: social.NeedsHuman, Now: noon, Release: true, Attempt: c,
		Notice: &scheduler.Notice{Kind: "delivery_needs_human", Severity: "alarm", Delivery: w.Delivery.ID, Account: r.a.ID, Text: "look"},
	}); err != nil {
		r.t.Fatal(err)
	}
}

func changeAnswers(t *testing.T, open Opener) {
	t.Parallel()
	r := newRoom(t, open)
	answer := func(id social.ID, a social.Answer, remote string) error {
		return r.s.ResolveDelivery(t.Context(), r.ws.ID, id, a, connectors.Receipt{RemoteID: remote, URL: "https://example.org/" + remote}, "person:ada")
	}
	d, a := r.asked()
	if err := answer(d.ID, social.AnswerThere, ""); social.CodeOf(err) != social.CodeInvalid {
		t.Errorf("there without an id: %v", err)
	}
	if err := answer(d.ID, "perhaps", ""); social.CodeOf(err) != social.CodeInvalid {
		t.Errorf("an unknown answer: %v", err)
	}
	if err := answer(d.ID, social.AnswerThere, "r1"); err != nil {
		t.Fatal(err)
	}
	if got := r.Text(`SELECT state || ' ' || remote_id || ' ' || remote_url || ' ' || step FROM delivery WHERE id = $1`, int64(d.ID)); got != "published r1 https://example.org/r1 1" {
		t.Errorf("there: %s", got)
	}
	if got := r.Text(`SELECT state || ' ' || remote_id || ' ' || decided_by FROM attempt WHERE id = $1`, int64(a.ID)); got != "adopted r1 person:ada" {
		t.Errorf("there: the attempt is %s", got)
	}
	if err := answer(d.ID, social.AnswerAgain, ""); social.CodeOf(err) != social.CodeConflict || r.state(d.ID) != social.Published {
		t.Errorf("answered twice: %v", err)
	}

	d, a = r.asked()
	before := r.row(d.ID)
	if err := answer(d.ID, social.AnswerThere, "r1"); !errors.Is(err, scheduler.ErrRemoteTaken) || social.CodeOf(err) != social.CodeConflict {
		t.Errorf("one post for two: %v", err)
	}
	if diff := cmp.Diff(before, r.row(d.ID)); diff != "" {
		t.Error(diff)
	}
	if err := answer(d.ID, social.AnswerAgain, ""); err != nil {
		t.Fatal(err)
	}
	if r.attemptState(d.ID) != scheduler.AttemptAbsentByHuman {
		t.Errorf("again: the attempt is %s", r.attemptState(d.ID))
	}
	now := time.Now().Add(time.Hour)
	works := r.claim("n1", now)
	if len(works) != 1 || works[0].Delivery.LatePolicy != social.LatePublish || len(works[0].Attempts) != 1 {
		t.Fatalf("again: %+v", works)
	}
	r.Exec(`UPDATE delivery SET owner = '' WHERE id = $1`, int64(d.ID))
	w2, a2 := r.armed("n1", now)
	if a2.N != 2 {
		t.Errorf("again: attempt number %d", a2.N)
	}
	if err := r.s.Move(t.Context(), r.done(w2, a2, "r2", now)); err != nil {
		t.Fatal(err)
	}
	_ = a

	d, a = r.asked()
	if err := answer(d.ID, social.AnswerDrop, ""); err != nil {
		t.Fatal(err)
	}
	if got := r.Text(`SELECT state || ' ' || reason FROM delivery WHERE id = $1`, int64(d.ID)); got != "failed Dropped by person:ada." {
		t.Errorf("drop: %s", got)
	}
	if r.Text(`SELECT count(*) FROM outbox WHERE kind = 'delivery_failed' AND delivery_id = $1`, int64(d.ID)) != "1" {
		t.Error("drop: nobody was told")
	}
	// Its attempt stays open, so it can not be planned anew and sent a second time.
	if err := r.s.RescheduleDelivery(t.Context(), r.ws.ID, d.ID, 3, now, now, "person:ada"); social.CodeOf(err) != social.CodeConflict {
		t.Errorf("planned anew after drop: %v", err)
	}
	if r.attemptState(d.ID) != scheduler.AttemptAmbiguous {
		t.Errorf("drop: the attempt is %s", r.attemptState(d.ID))
	}
	if n := r.Text(`SELECT count(*) FROM audit WHERE action = 'delivery.resolve'`); n != "3" {
		t.Errorf("%s answers in the audit log", n)
	}
}

// changeAnswersUnsent: asked before anything was sent (the same text twice).
func changeAnswersUnsent(t *testing.T, open Opener) {
	t.Parallel()
	r := newRoom(t, open)
	d := r.due(noon)
	r.ask(r.ready("n1", noon), nil)
	if err := r.s.ResolveDelivery(t.Context(), r.ws.ID, d.ID, social.AnswerThere, connectors.Receipt{RemoteID: "theirs"}, "person:ada"); err != nil {
		t.Fatal(err)
	}
	if got := r.Text(`SELECT state || ' ' || remote_id || ' ' || n FROM attempt WHERE delivery_id = $1`, int64(d.ID)); got != "adopted theirs 1" || r.state(d.ID) != social.Published {
		t.Errorf("there: %s, %s", got, r.state(d.ID))
	}
	d = r.due(noon)
	r.ask(r.ready("n1", noon), nil)
	if err := r.s.ResolveDelivery(t.Context(), r.ws.ID, d.ID, social.AnswerAgain, connectors.Receipt{}, "person:ada"); err != nil {
		t.Fatal(err)
	}
	works := r.claim("n1", time.Now().Add(time.Minute))
	if len(works) != 1 || !works[0].Delivery.AllowRepeat {
		t.Errorf("again: the repetition is not allowed: %+v", works)
	}
}

func changeThread(t *testing.T, open Opener) {
	t.Parallel()
	parts := []social.Part{{Role: social.RoleBody, Text: "one"}, {Role: social.RoleThread, Text: "two"}, {Role: social.RoleThread, Text: "three"}}
	begun := func() (*room, social.Delivery) {
		r := newRoom(t, open)
		d := r.due(noon, parts...)
		w, a := r.armed("n1", noon)
		if err := r.s.Move(t.Context(), r.done(w, a, "r1", noon)); err != nil {
			t.Fatal(err)
		}
		return r, d
	}
	r, d := begun()
	if st, err := r.s.CancelDelivery(t.Context(), r.ws.ID, d.ID, "person:ada"); err != nil || st != social.Published || r.state(d.ID) != social.Published {
		t.Errorf("cancelling the rest: %s, %v", st, err)
	}

	r, d = begun()
	ver := func() (v int64) {
		fmt.Sscan(r.Text(`SELECT ver FROM delivery WHERE id = $1`, int64(d.ID)), &v) //nolint:errcheck // compared below
		return v
	}
	e := social.DeliveryEdit{Ver: ver(), Parts: []social.Part{{Role: social.RoleBody, Text: "other"}, parts[1]}, PlannedAt: noon, Approved: true}
	if err := r.s.EditDelivery(t.Context(), r.ws.ID, d.ID, e, "person:ada"); social.CodeOf(err) != social.CodeConflict {
		t.Errorf("changing what is published: %v", err)
	}
	e.Parts = []social.Part{parts[0], {Role: social.RoleThread, Text: "better"}}
	if err := r.s.EditDelivery(t.Context(), r.ws.ID, d.ID, e, "person:ada"); err != nil {
		t.Fatal(err)
	}
	w, a := r.armed("n1", time.Now().Add(time.Hour))
	if w.Delivery.Step != 1 || w.Delivery.Parts[1].Text != "better" {
		t.Errorf("goes on with %+v", w.Delivery)
	}
	// The second part is refused; the person changes it and it goes on.
	r.ask(w, &scheduler.AttemptChange{ID: a.ID, State: scheduler.AttemptRejected})
	e.Ver, e.Parts = ver(), []social.Part{parts[0], parts[1]}
	if err := r.s.EditDelivery(t.Context(), r.ws.ID, d.ID, e, "person:ada"); err != nil {
		t.Fatal(err)
	}
	w, a = r.armed("n1", time.Now().Add(time.Hour))
	r.ask(w, &scheduler.AttemptChange{ID: a.ID, State: scheduler.AttemptAmbiguous})
	e.Ver = ver()
	if err := r.s.EditDelivery(t.Context(), r.ws.ID, d.ID, e, "person:ada"); social.CodeOf(err) != social.CodeConflict {
		t.Errorf("edited while nobody knows: %v", err)
	}
	if err := r.s.ResolveDelivery(t.Context(), r.ws.ID, d.ID, social.AnswerDrop, connectors.Receipt{}, "person:ada"); err != nil {
		t.Fatal(err)
	}
	if got := r.Text(`SELECT state || ' ' || reason FROM delivery WHERE id = $1`, int64(d.ID)); got != "published 1 of 2 parts are published; the rest was dropped by person:ada." {
		t.Errorf("drop the rest: %s", got)
	}

	r, d = begun()
	w, a = r.armed("n1", noon)
	r.ask(w, &scheduler.AttemptChange{ID: a.ID, State: scheduler.AttemptAmbiguous})
	if err := r.s.ResolveDelivery(t.Context(), r.ws.ID, d.ID, social.AnswerThere, connectors.Receipt{RemoteID: "r2"}, "person:ada"); err != nil {
		t.Fatal(err)
	}
	if got := r.Text(`SELECT state || ' ' || step || ' ' || remote_id FROM delivery WHERE id = $1`, int64(d.ID)); got != "scheduled 2 r1" {
		t.Errorf("the second is there: %s", got)
	}
	if w := r.claim("n1", time.Now().Add(time.Hour)); len(w) != 1 || len(w[0].Receipts) != 2 {
		t.Errorf("goes on with %+v", w)
	}
}

func changePause(t *testing.T, open Opener) {
	t.Parallel()
	r := newRoom(t, open)
	other := r.Workspace()
	for _, scope := range []social.PauseScope{{Workspace: other.ID, Account: r.a.ID}, {Workspace: 7}} {
		if err := r.s.SetPaused(t.Context(), scope, true, "person:ada"); social.CodeOf(err) != social.CodeNotFound {
			t.Errorf("%+v: %v", scope, err)
		}
	}
	for _, on := range []bool{true, true, false} {
		if err := r.s.SetPaused(t.Context(), social.PauseScope{}, on, "person:ada"); err != nil {
			t.Fatal(err)
		}
		if got, err := r.s.Paused(t.Context()); err != nil || got != on {
			t.Errorf("paused %v, %v; want %v", got, err, on)
		}
		if err := r.s.SetQuarantine(t.Context(), on, "person:ada"); err != nil {
			t.Fatal(err)
		}
		if got, err := r.s.Quarantined(t.Context()); err != nil || got != on {
			t.Errorf("in quarantine %v, %v; want %v", got, err, on)
		}
	}
	if got := r.Text(`SELECT count(*) FROM audit WHERE actor = 'person:ada'`); got != "5" {
		t.Errorf("%s rows in the audit log", got)
	}
}
