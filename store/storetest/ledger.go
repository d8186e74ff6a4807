package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smi/connectors"
	"smi/internal/social"
	"smi/scheduler"
	"smi/store"
)

// noon is the planned time of most deliveries below.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// room is a store with one workspace and one account.
type room struct {
	*Seeds
	s  *store.Store
	ws social.Workspace
	a  social.Account
}

func newRoom(t testing.TB, open Opener) *room {
	t.Helper()
	r := &room{s: open(t)}
	r.Seeds = Seed(t, r.s)
	r.ws = r.Workspace()
	r.a = r.Account(r.ws.ID)
	return r
}

// due adds a delivery of a new post of the room's account, planned at a time.
func (r *room) due(at time.Time, parts ...social.Part) social.Delivery {
	r.t.Helper()
	return r.Delivery(r.Post(r.ws.ID, at, parts...), r.a)
}

func (r *room) claim(node string, now time.Time, change ...func(*scheduler.ClaimRequest)) []scheduler.Work {
	r.t.Helper()
	q := scheduler.ClaimRequest{Node: node, Now: now, Lease: 15 * time.Second, Limit: 100, PerAccount: 16}
	for _, f := range change {
		f(&q)
	}
	works, err := r.s.Claim(r.t.Context(), q)
	if err != nil {
		r.t.Fatal(err)
	}
	return works
}

// ready claims everything due and makes the first of it ready.
func (r *room) ready(node string, now time.Time) scheduler.Work {
	r.t.Helper()
	works := r.claim(node, now)
	if len(works) == 0 {
		r.t.Fatal("nothing to claim")
	}
	w := works[0]
	m := scheduler.Move{
		Delivery: w.Delivery.ID, Epoch: w.Delivery.Epoch, From: []social.DeliveryState{social.Scheduled, social.Claimed, social.Waiting}, To: social.Ready,
		Now: now, NextAt: w.Delivery.PlannedAt, Step: w.Delivery.Step, Checkpoint: &scheduler.Checkpoint{Step: w.Delivery.Step, Class: connectors.Unkeyed, RequestHash: "h"},
	}
	if err := r.s.Move(r.t.Context(), m); err != nil {
		r.t.Fatal(err)
	}
	w.Delivery.State = social.Ready
	w.Delivery.Ver++
	return w
}

func (r *room) armRequest(w scheduler.Work, now time.Time) scheduler.ArmRequest {
	return scheduler.ArmRequest{
		Delivery: w.Delivery.ID, Epoch: w.Delivery.Epoch, Ver: w.Delivery.Ver, Attempt: r.ID(), Step: w.Delivery.Step, N: len(w.Attempts) + 1, Node: w.Delivery.Owner,
		Class: connectors.Unkeyed, Now: now, SendBy: now.Add(30 * time.Second), TakeoverAt: now.Add(95 * time.Second), TokenGen: w.Account.TokenGen,
		RequestHash: "h", Fingerprint: "fp-" + w.Delivery.ID.String(), ContentHash: w.Delivery.ContentHash,
	}
}

// armed is ready and armed.
func (r *room) armed(node string, now time.Time) (scheduler.Work, scheduler.Attempt) {
	r.t.Helper()
	w := r.ready(node, now)
	a, err := r.s.Arm(r.t.Context(), r.armRequest(w, now))
	if err != nil {
		r.t.Fatal(err)
	}
	w.Delivery.State = social.Armed
	w.Delivery.Ver++
	return w, a
}

// done is the move that publishes an armed part.
func (r *room) done(w scheduler.Work, a scheduler.Attempt, remote string, now time.Time) scheduler.Move {
	rec := connectors.Receipt{RemoteID: remote, URL: "https://example.org/" + remote, PublishedAt: now}
	m := scheduler.Move{
		Delivery: w.Delivery.ID, Epoch: w.Delivery.Epoch, From: []social.DeliveryState{social.Armed}, To: social.Published, Now: now, Step: w.Delivery.Step + 1, Release: true,
		Attempt: &scheduler.AttemptChange{ID: a.ID, State: scheduler.AttemptOK, Receipt: rec, DecidedBy: "answer"},
	}
	if w.Delivery.Step == 0 {
		m.Body = &rec
	}
	if w.Delivery.Step+1 < len(w.Delivery.Parts) {
		m.To, m.NextAt = social.Scheduled, now
	}
	return m
}

func (r *room) state(id social.ID) social.DeliveryState {
	r.t.Helper()
	return social.DeliveryState(r.Text(`SELECT state FROM delivery WHERE id = $1`, int64(id)))
}

// attemptState returns the state of the newest attempt of a delivery.
func (r *room) attemptState(id social.ID) scheduler.AttemptState {
	r.t.Helper()
	return scheduler.AttemptState(r.Text(`SELECT state FROM attempt WHERE delivery_id = $1 ORDER BY step DESC, n DESC LIMIT 1`, int64(id)))
}

// row is all of a delivery and what belongs to it, as one text to compare.
func (r *room) row(id social.ID) string {
	r.t.Helper()
	return r.Text(`SELECT state || '|' || reason || '|' || step || '|' || tries || '|' || next_at || '|' || epoch || '|' || owner || '|' || lease_until || '|' || ver || '|' || remote_id FROM delivery WHERE id = $1`, int64(id)) +
		"; attempts " + r.Text(`SELECT COALESCE(sum(n), 0) || '|' || count(*) || '|' || COALESCE(max(state), '') || '|' || COALESCE(min(state), '') FROM attempt WHERE delivery_id = $1`, int64(id)) +
		"; checkpoints " + r.Text(`SELECT count(*) FROM checkpoint WHERE delivery_id = $1`, int64(id)) +
		"; outbox " + r.Text(`SELECT count(*) FROM outbox`) + "; budget " + r.Text(`SELECT COALESCE(sum(used), 0) FROM budget`)
}

func ledger(t *testing.T, open Opener) {
	t.Run("claim", func(t *testing.T) { ledgerClaim(t, open) })
	t.Run("claim loads", func(t *testing.T) { ledgerClaimLoads(t, open) })
	t.Run("next due", func(t *testing.T) { ledgerNextDue(t, open) })
	t.Run("arm", func(t *testing.T) { ledgerArm(t, open) })
	t.Run("gates", func(t *testing.T) { ledgerGates(t, open) })
	t.Run("budget", func(t *testing.T) { ledgerBudget(t, open) })
	t.Run("budget of another zone", func(t *testing.T) { ledgerZone(t, open) })
	t.Run("repeat", func(t *testing.T) { ledgerRepeat(t, open) })
	t.Run("indexes", func(t *testing.T) { ledgerIndexes(t, open) })
	t.Run("move", func(t *testing.T) { ledgerMove(t, open) })
	t.Run("stale", func(t *testing.T) { ledgerStale(t, open) })
	t.Run("remote taken", func(t *testing.T) { ledgerRemoteTaken(t, open) })
	t.Run("recover", func(t *testing.T) { ledgerRecover(t, open) })
	t.Run("model", func(t *testing.T) { ledgerModel(t, open) })
}

func ids(works []scheduler.Work) []social.ID {
	var out []social.ID
	for _, w := range works {
		out = append(out, w.Delivery.ID)
	}
	return out
}

func ledgerClaim(t *testing.T, open Opener) {
	t.Parallel()
	t.Run("due and in order", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, open)
		later, now1, now2, future := r.due(noon), r.due(noon.Add(-time.Minute)), r.due(noon.Add(-time.Minute)), r.due(noon.Add(time.Millisecond))
		works := r.claim("n1", noon)
		if diff := cmp.Diff([]social.ID{now1.ID, now2.ID, later.ID}, ids(works)); diff != "" {
			t.Error(diff)
		}
		for _, w := range works {
			d := w.Delivery
			if d.Owner != "n1" || d.Epoch != 1 || d.State != social.Scheduled || !d.LeaseUntil.Equal(noon.Add(15*time.Second)) || d.Ver != 0 || w.Account.ID != r.a.ID {
				t.Errorf("claimed %+v", d)
			}
		}
		if again := r.claim("n1", noon); len(again) != 0 {
			t.Errorf("claimed twice: %v", ids(again))
		}
		if r.Text(`SELECT epoch FROM delivery WHERE id = $1`, int64(future.ID)) != "0" {
			t.Error("what is not due was touched")
		}
	})
	t.Run("limit takes the most urgent", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, open)
		r.due(noon)
		first := r.due(noon.Add(-time.Hour))
		works := r.claim("n1", noon, func(q *scheduler.ClaimRequest) { q.Limit = 1 })
		if diff := cmp.Diff([]social.ID{first.ID}, ids(works)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("states", func(t *testing.T) {
		t.Parallel()
		for _, st := range social.DeliveryStates {
			r := newRoom(t, open)
			d := r.due(noon)
			r.Exec(`UPDATE delivery SET state = $1, remote_id = 'x' WHERE id = $2`, string(st), int64(d.ID))
			want := 0
			switch st {
			case social.Scheduled, social.Claimed, social.Ready, social.Waiting, social.Armed, social.Ambiguous:
				want = 1
			}
			if got := r.claim("n1", noon, func(q *scheduler.ClaimRequest) { q.States = []social.DeliveryState{social.Ready} }); len(got) != 0 && st != social.Ready {
				t.Errorf("%s was claimed as ready", st)
			} else if st == social.Ready {
				want -= len(got)
			}
			if got := r.claim("n1", noon); len(got) != want {
				t.Errorf("%s: %d claimed, want %d", st, len(got), want)
			}
		}
	})
	t.Run("per account", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, open)
		other := r.Account(r.ws.ID)
		p := r.Post(r.ws.ID, noon)
		for range 5 {
			r.due(noon)
		}
		r.Delivery(p, other)
		three := func(q *scheduler.ClaimRequest) { q.PerAccount = 3 }
		works := r.claim("n1", noon, three)
		if len(works) != 4 {
			t.Fatalf("%d claimed, want 3 of one account and 1 of the other", len(works))
		}
		if more := r.claim("n1", noon, three); len(more) != 0 {
			t.Errorf("%d more than the account may hold", len(more))
		}
		w := works[0]
		if w.Delivery.AccountID != r.a.ID {
			w = works[1]
		}
		if err := r.s.Move(t.Context(), scheduler.Move{Delivery: w.Delivery.ID, Epoch: w.Delivery.Epoch, From: []social.DeliveryState{social.Scheduled}, To: social.Waiting, Now: noon, NextAt: noon.Add(time.Hour), Release: true}); err != nil {
			t.Fatal(err)
		}
		if more := r.claim("n1", noon, three); len(more) != 1 {
			t.Errorf("%d claimed after one was given back, want 1", len(more))
		}
	})
	t.Run("another node", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, open)
		first, second := r.due(noon.Add(-time.Minute)), r.due(noon)
		other := r.Delivery(r.Post(r.ws.ID, noon), r.Account(r.ws.ID))
		one := func(q *scheduler.ClaimRequest) { q.Limit = 1 }
		if diff := cmp.Diff([]social.ID{first.ID}, ids(r.claim("n1", noon, one))); diff != "" {
			t.Error(diff)
		}
		// n1 holds one of the account: n2 gets none of it, only the other account's.
		if diff := cmp.Diff([]social.ID{other.ID}, ids(r.claim("n2", noon))); diff != "" {
			t.Error(diff)
		}
		if err := r.s.Renew(t.Context(), "n1", noon.Add(30*time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := r.s.Renew(t.Context(), "n1", noon.Add(20*time.Second)); err != nil { // never shorter
			t.Fatal(err)
		}
		if got := r.claim("n3", noon.Add(29*time.Second)); len(got) != 1 || got[0].Delivery.ID != other.ID {
			t.Errorf("n3 took %v although n1 renewed", ids(got))
		}
		got := r.claim("n3", noon.Add(31*time.Second))
		if diff := cmp.Diff([]social.ID{first.ID, second.ID}, ids(got)); diff != "" {
			t.Fatal(diff)
		}
		if got[0].Delivery.Epoch != 2 {
			t.Errorf("taken over with epoch %d", got[0].Delivery.Epoch)
		}
	})
	t.Run("paused", func(t *testing.T) {
		t.Parallel()
		for name, scope := range map[string]func(*room) social.PauseScope{
			"everything": func(*room) social.PauseScope { return social.PauseScope{} },
			"workspace":  func(r *room) social.PauseScope { return social.PauseScope{Workspace: r.ws.ID} },
			"account":    func(r *room) social.PauseScope { return social.PauseScope{Workspace: r.ws.ID, Account: r.a.ID} },
			"quarantine": nil,
		} {
			r := newRoom(t, open)
			pause := func(on bool) error {
				if scope == nil {
					return r.s.SetQuarantine(t.Context(), on, "cli:test")
				}
				return r.s.SetPaused(t.Context(), scope(r), on, "cli:test")
			}
			_, amb, arm := r.due(noon), r.due(noon), r.due(noon)
			r.Exec(`UPDATE delivery SET state = 'ambiguous' WHERE id = $1`, int64(amb.ID))
			r.Exec(`UPDATE delivery SET state = 'armed' WHERE id = $1`, int64(arm.ID))
			if err := pause(true); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]social.ID{amb.ID, arm.ID}, ids(r.claim("n1", noon))); diff != "" {
				t.Errorf("%s: only what is on the wire goes on: %s", name, diff)
			}
			if next, err := r.s.NextDue(t.Context()); err != nil || next.Before(noon.Add(15*time.Second)) {
				t.Errorf("%s: next due %v, %v", name, next, err)
			}
			if err := pause(false); err != nil {
				t.Fatal(err)
			}
			if n := len(r.claim("n1", noon)); n != 1 {
				t.Errorf("%s: %d claimed after resuming", name, n)
			}
		}
	})
	t.Run("not prepared", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, open)
		now, later, ready := r.due(noon), r.due(noon.Add(time.Minute)), r.due(noon.Add(time.Hour))
		r.Exec(`UPDATE delivery SET next_at = $1`, noon.UnixMilli())
		r.Exec(`UPDATE delivery SET state = 'ready' WHERE id = $1`, int64(ready.ID))
		got := r.claim("n1", noon, func(q *scheduler.ClaimRequest) { q.PlannedBy = noon.Add(4 * time.Second) })
		if diff := cmp.Diff([]social.ID{now.ID, ready.ID}, ids(got)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]social.ID{later.ID}, ids(r.claim("n1", noon))); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("unknown state", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, open)
		if _, err := r.s.Claim(t.Context(), scheduler.ClaimRequest{Node: "n", Now: noon, States: []social.DeliveryState{social.NeedsHuman}}); err == nil {
			t.Error("claiming what waits for a person was allowed")
		}
	})
}

func ledgerClaimLoads(t *testing.T, open Opener) {
	t.Parallel()
	r := newRoom(t, open)
	parent := r.due(noon.Add(-time.Hour))
	w, a := r.armed("n1", noon)
	m := r.done(w, a, "at://parent", noon)
	m.Attempt.Receipt.State = json.RawMessage(`{"cid":"c0"}`)
	if err := r.s.Move(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if w.Delivery.ID != parent.ID {
		t.Fatal("claimed another")
	}
	thread := []social.Part{{Role: social.RoleBody, Text: "one"}, {Role: social.RoleThread, Text: "two"}}
	d := r.due(noon, thread...)
	r.Exec(`UPDATE delivery SET parent_ref = 'at://parent', kind = 'reply' WHERE id = $1`, int64(d.ID))
	w, a = r.armed("n1", noon)
	if string(w.ParentState) != `{"cid":"c0"}` {
		t.Errorf("parent state %s", w.ParentState)
	}
	m = r.done(w, a, "at://body", noon)
	m.Attempt.Receipt.State = json.RawMessage(`{"cid":"c1"}`)
	m.Attempt.Evidence = scheduler.Evidence{Reach: connectors.ReachAnswered, Status: 200, Bytes: 12, FirstByte: noon, Candidates: []connectors.Candidate{{Fingerprint: "f"}}}
	if err := r.s.Move(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	w, a = r.armed("n1", noon.Add(time.Minute))
	if w.Delivery.Step != 1 || len(w.Attempts) != 0 || w.Checkpoint != nil {
		t.Errorf("the second part begins at step %d with attempts %v, checkpoint %v", w.Delivery.Step, w.Attempts, w.Checkpoint)
	}
	want := map[int]connectors.Receipt{0: {RemoteID: "at://body", URL: "https://example.org/at://body", PublishedAt: noon, State: json.RawMessage(`{"cid":"c1"}`)}}
	if diff := cmp.Diff(want, w.Receipts); diff != "" {
		t.Error(diff)
	}
	// An ambiguous attempt comes back with its evidence and checkpoint.
	ev := scheduler.Evidence{Reach: connectors.ReachWritten, Bytes: 5, FirstByte: noon, Kind: connectors.Ambiguous, Text: strings.Repeat("x", 5000)}
	cp := &scheduler.Checkpoint{Step: 1, State: json.RawMessage(`{"rkey":"k"}`), Class: connectors.Keyed, RequestHash: "h2", Expires: noon.Add(time.Hour)}
	if err := r.s.Move(t.Context(), scheduler.Move{
		Delivery: d.ID, Epoch: w.Delivery.Epoch, From: []social.DeliveryState{social.Armed}, To: social.Ambiguous, Now: noon, NextAt: noon, Release: true, Checkpoint: cp,
		Attempt: &scheduler.AttemptChange{ID: a.ID, State: scheduler.AttemptAmbiguous, Evidence: ev, Polls: 2, DecidedBy: "answer"},
	}); err != nil {
		t.Fatal(err)
	}
	works := r.claim("n1", noon.Add(time.Minute))
	if len(works) != 1 || len(works[0].Attempts) != 1 {
		t.Fatalf("claimed %+v", works)
	}
	ev.Text = ev.Text[:4096]
	got := works[0]
	if diff := cmp.Diff(ev, got.Attempts[0].Evidence); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(cp, got.Checkpoint); diff != "" {
		t.Error(diff)
	}
	a.State, a.Evidence, a.Polls, a.DecidedBy, a.DecidedAt = scheduler.AttemptAmbiguous, ev, 2, "answer", noon
	if diff := cmp.Diff(a, got.Attempts[0]); diff != "" {
		t.Error(diff)
	}
	all, err := r.s.Attempts(t.Context(), r.ws.ID, d.ID)
	if err != nil || len(all) != 2 || all[0].State != scheduler.AttemptOK {
		t.Errorf("all attempts: %+v, %v", all, err)
	}
	if all, err := r.s.Attempts(t.Context(), r.ws.ID+1, d.ID); err != nil || len(all) != 0 {
		t.Errorf("attempts for a stranger: %+v, %v", all, err)
	}
}

func ledgerNextDue(t *testing.T, open Opener) {
	t.Parallel()
	r := newRoom(t, open)
	check := func(what string, want time.Time) {
		t.Helper()
		if got, err := r.s.NextDue(t.Context()); err != nil || !got.Equal(want) {
			t.Errorf("%s: next due %v, %v; want %v", what, got, err, want)
		}
	}
	check("nothing", time.Time{})
	r.due(noon.Add(time.Hour))
	d := r.due(noon)
	check("two", noon)
	r.Exec(`UPDATE delivery SET state = 'needs_human' WHERE id = $1`, int64(d.ID))
	check("one that waits for a person", noon.Add(time.Hour))
	r.Exec(`UPDATE delivery SET state = 'scheduled' WHERE id = $1`, int64(d.ID))
	r.claim("n1", noon)
	check("one that is held", noon.Add(15*time.Second))
}

func ledgerArm(t *testing.T, open Opener) {
	t.Parallel()
	r := newRoom(t, open)
	d := r.due(noon)
	w := r.ready("n1", noon)
	q := r.armRequest(w, noon)
	a, err := r.s.Arm(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if a.State != scheduler.AttemptArmed || a.ID != q.Attempt || a.Account != r.a.ID || a.N != 1 {
		t.Errorf("attempt %+v", a)
	}
	if got := r.Text(`SELECT state || ' ' || next_at || ' ' || ver || ' ' || owner FROM delivery WHERE id = $1`, int64(d.ID)); got != fmt.Sprintf("armed %d %d n1", q.TakeoverAt.UnixMilli(), q.Ver+1) {
		t.Errorf("the delivery is %s", got)
	}
	all, err := r.s.Attempts(t.Context(), r.ws.ID, d.ID)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	if diff := cmp.Diff(a, all[0]); diff != "" {
		t.Error(diff)
	}
	if r.Text(`SELECT count(*) FROM audit WHERE action = 'delivery.arm' AND actor = 'scheduler:n1' AND subject = $1`, d.ID.String()) != "1" {
		t.Error("arming is not in the audit log")
	}
	// The right to send is given once.
	q.Attempt = r.ID()
	if refusal := new(scheduler.Refusal); !errors.As(second(r.s.Arm(t.Context(), q)), &refusal) || refusal.Gate != scheduler.GateStale {
		t.Errorf("armed twice: %v", refusal)
	}
}

func second[T any](_ T, err error) error { return err }

func ledgerGates(t *testing.T, open Opener) {
	t.Parallel()
	for _, c := range []struct {
		name string
		gate scheduler.Gate
		do   func(r *room, w scheduler.Work, q *scheduler.ArmRequest)
		text string
	}{
		{"cancelled", scheduler.GateCancelled, func(r *room, w scheduler.Work, _ *scheduler.ArmRequest) {
			if _, err := r.s.CancelDelivery(r.t.Context(), r.ws.ID, w.Delivery.ID, "cli:test"); err != nil {
				r.t.Fatal(err)
			}
		}, "cancelled"},
		{"cancel wanted", scheduler.GateCancelled, func(r *room, w scheduler.Work, _ *scheduler.ArmRequest) {
			r.Exec(`UPDATE delivery SET cancel_wanted = TRUE WHERE id = $1`, int64(w.Delivery.ID))
		}, ""},
		{"gone", scheduler.GateStale, func(_ *room, _ scheduler.Work, q *scheduler.ArmRequest) { q.Delivery++ }, ""},
		{"another epoch", scheduler.GateStale, func(_ *room, _ scheduler.Work, q *scheduler.ArmRequest) { q.Epoch-- }, ""},
		{"another version", scheduler.GateStale, func(_ *room, _ scheduler.Work, q *scheduler.ArmRequest) { q.Ver-- }, ""},
		{"another step", scheduler.GateStale, func(_ *room, _ scheduler.Work, q *scheduler.ArmRequest) { q.Step++ }, ""},
		{"another node", scheduler.GateStale, func(_ *room, _ scheduler.Work, q *scheduler.ArmRequest) { q.Node = "n2" }, ""},
		{"not ready", scheduler.GateStale, func(r *room, w scheduler.Work, _ *scheduler.ArmRequest) {
			r.Exec(`UPDATE delivery SET state = 'waiting' WHERE id = $1`, int64(w.Delivery.ID))
		}, ""},
		{"the part before is not there", scheduler.GateStale, func(r *room, w scheduler.Work, q *scheduler.ArmRequest) {
			r.Exec(`UPDATE delivery SET step = 1 WHERE id = $1`, int64(w.Delivery.ID))
			q.Step = 1
		}, "the part before it"},
		{"other content", scheduler.GateContent, func(_ *room, _ scheduler.Work, q *scheduler.ArmRequest) { q.ContentHash = "other" }, "approve"},
		{"not approved", scheduler.GateContent, func(r *room, w scheduler.Work, _ *scheduler.ArmRequest) {
			r.Exec(`UPDATE delivery SET approved_hash = '' WHERE id = $1`, int64(w.Delivery.ID))
		}, "approve"},
		{"approved before the edit", scheduler.GateContent, func(r *room, w scheduler.Work, q *scheduler.ArmRequest) {
			r.Exec(`UPDATE delivery SET content_hash = 'new' WHERE id = $1`, int64(w.Delivery.ID))
			q.ContentHash = "new"
		}, "approve"},
		{"post not approved", scheduler.GateContent, func(r *room, w scheduler.Work, _ *scheduler.ArmRequest) {
			r.Exec(`UPDATE post SET state = 'in_review' WHERE id = $1`, int64(w.Delivery.PostID))
		}, "approve"},
		{"expired", scheduler.GateExpired, func(r *room, w scheduler.Work, q *scheduler.ArmRequest) {
			r.Exec(`UPDATE delivery SET not_after = $1 WHERE id = $2`, q.Now.Add(-time.Millisecond).UnixMilli(), int64(w.Delivery.ID))
		}, "2026-11-23T11:59:59Z"},
		{"all paused", scheduler.GatePaused, func(r *room, _ scheduler.Work, _ *scheduler.ArmRequest) { r.pause(social.PauseScope{}) }, "all publishing"},
		{"workspace paused", scheduler.GatePaused, func(r *room, _ scheduler.Work, _ *scheduler.ArmRequest) {
			r.pause(social.PauseScope{Workspace: r.ws.ID})
		}, "workspace"},
		{"account paused", scheduler.GatePaused, func(r *room, _ scheduler.Work, _ *scheduler.ArmRequest) {
			r.pause(social.PauseScope{Workspace: r.ws.ID, Account: r.a.ID})
		}, "account"},
		{"quarantine", scheduler.GateQuarantine, func(r *room, _ scheduler.Work, _ *scheduler.ArmRequest) {
			if err := r.s.SetQuarantine(r.t.Context(), true, "cli:test"); err != nil {
				r.t.Fatal(err)
			}
		}, "smi adopt"},
		{"account not connected", scheduler.GateAccount, func(r *room, _ scheduler.Work, _ *scheduler.ArmRequest) {
			r.Exec(`UPDATE account SET status = 'needs_reconnect', status_reason = 'Log in again.' WHERE id = $1`, int64(r.a.ID))
		}, "Log in again."},
		{"token renewed", scheduler.GateToken, func(r *room, _ scheduler.Work, _ *scheduler.ArmRequest) {
			r.Exec(`UPDATE account SET token_gen = 2 WHERE id = $1`, int64(r.a.ID))
		}, ""},
		{"open attempt", scheduler.GateOpen, func(r *room, w scheduler.Work, _ *scheduler.ArmRequest) { r.attempt(w, 7, "ambiguous") }, "look at the post"},
		{"done already", scheduler.GateOpen, func(r *room, w scheduler.Work, _ *scheduler.ArmRequest) { r.attempt(w, 7, "adopted") }, ""},
		{"number used", scheduler.GateOpen, func(r *room, w scheduler.Work, _ *scheduler.ArmRequest) { r.attempt(w, 1, "rejected") }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, open)
			r.due(noon)
			w := r.ready("n1", noon)
			q := r.armRequest(w, noon)
			q.Charges = []scheduler.Charge{{Key: "k", Window: time.Hour, Limit: 10, Cost: 1}}
			c.do(r, w, &q)
			before := r.row(w.Delivery.ID)
			_, err := r.s.Arm(t.Context(), q)
			refusal := new(scheduler.Refusal)
			if !errors.As(err, &refusal) || refusal.Gate != c.gate || !strings.Contains(refusal.Text, c.text) || refusal.Text == "" {
				t.Fatalf("got %v, want gate %s and %q", err, c.gate, c.text)
			}
			if diff := cmp.Diff(before, r.row(w.Delivery.ID)); diff != "" {
				t.Errorf("a refusal changed something: %s", diff)
			}
		})
	}
}

func (r *room) pause(scope social.PauseScope) {
	r.t.Helper()
	if err := r.s.SetPaused(r.t.Context(), scope, true, "cli:test"); err != nil {
		r.t.Fatal(err)
	}
}

// attempt inserts an attempt of a delivery's current part behind the ledger's
// back.
func (r *room) attempt(w scheduler.Work, n int, state string) {
	r.t.Helper()
	r.Exec(`INSERT INTO attempt (id, delivery_id, account_id, step, n, class, epoch, node, armed_at, send_by, takeover_at, token_gen, req_hash, fp, state)
		VALUES ($1, $2, $3, $4, $5, 'unkeyed', 1, 'n1', 0, 0, 0, 1, '', '', $6)`, int64(r.ID()), int64(w.Delivery.ID), int64(w.Delivery.AccountID), w.Delivery.Step, n, state)
}

func ledgerBudget(t *testing.T, open Opener) {
	t.Parallel()
	r := newRoom(t, open)
	for range 4 {
		r.due(noon)
	}
	arm := func(now time.Time, limit int) error {
		t.Helper()
		r.Exec(`UPDATE delivery SET state = 'waiting', owner = '' WHERE state IN ('scheduled', 'ready', 'waiting')`)
		r.Exec(`UPDATE delivery SET next_at = 0 WHERE state = 'armed'`) // their end is another test
		w := r.ready("n1", now)
		q := r.armRequest(w, now)
		q.Charges = []scheduler.Charge{{Key: "big", Window: time.Hour, Limit: 100, Cost: 3}, {Key: "small", Window: 24 * time.Hour, Limit: limit, Cost: 3}}
		_, err := r.s.Arm(t.Context(), q)
		return err
	}
	at := noon.Add(5 * time.Minute)
	if err := arm(at, 5); err != nil {
		t.Fatal(err)
	}
	refusal := new(scheduler.Refusal)
	if err := arm(at, 5); !errors.As(err, &refusal) || refusal.Gate != scheduler.GateBudget || !refusal.Until.Equal(time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("over the budget: %v until %v", err, refusal.Until)
	}
	// The charge before the one that refused is undone with it.
	if got := r.Text(`SELECT used FROM budget WHERE key = 'big'`); got != "3" {
		t.Errorf("%s of the first budget are used, want 3", got)
	}
	if err := arm(at, 6); err != nil {
		t.Errorf("exactly the budget: %v", err)
	}
	if err := arm(at, 2); !errors.As(err, &refusal) || refusal.Gate != scheduler.GateBudget {
		t.Errorf("a cost over the whole budget: %v", err)
	}
	if err := arm(at.Add(24*time.Hour), 5); err != nil {
		t.Errorf("the next day: %v", err)
	}
	if got := r.Text(`SELECT count(*) || ' ' || sum(used) FROM budget WHERE key = 'small'`); got != "1 3" {
		t.Errorf("windows that are over stay: %s", got)
	}
}

// ledgerZone: a day's budget begins anew at the midnight of its own zone.
func ledgerZone(t *testing.T, open Opener) {
	t.Parallel()
	zone, err := social.LoadZone("America/Los_Angeles")
	if err != nil {
		t.Fatal(err)
	}
	r := newRoom(t, open)
	for range 3 {
		r.due(noon)
	}
	arm := func(now time.Time) error {
		t.Helper()
		r.Exec(`UPDATE delivery SET state = 'waiting', owner = '' WHERE state IN ('scheduled', 'ready', 'waiting')`)
		r.Exec(`UPDATE delivery SET next_at = 0 WHERE state = 'armed'`) // their end is another test
		w := r.ready("n1", now)
		q := r.armRequest(w, now)
		q.Charges = []scheduler.Charge{{Key: "day", Window: 24 * time.Hour, Zone: zone, Limit: 1, Cost: 1}}
		_, err := r.s.Arm(t.Context(), q)
		return err
	}
	midnight := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC) // in that zone
	if err := arm(midnight.Add(-12 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	refusal := new(scheduler.Refusal)
	if err := arm(midnight.Add(-time.Second)); !errors.As(err, &refusal) || refusal.Gate != scheduler.GateBudget || !refusal.Until.Equal(midnight) {
		t.Errorf("a second before midnight: %v until %v", err, refusal.Until)
	}
	if err := arm(midnight); err != nil {
		t.Errorf("at midnight: %v", err)
	}
}

func ledgerRepeat(t *testing.T, open Opener) {
	t.Parallel()
	for _, c := range []struct {
		state scheduler.AttemptState
		after time.Duration
		allow bool
		same  bool // the earlier attempt is of the same delivery
		other bool // … or of another account
		gate  scheduler.Gate
	}{
		{state: scheduler.AttemptArmed, gate: scheduler.GateRepeat},
		{state: scheduler.AttemptAmbiguous, gate: scheduler.GateRepeat},
		{state: scheduler.AttemptOK, gate: scheduler.GateRepeat},
		{state: scheduler.AttemptAdopted, gate: scheduler.GateRepeat},
		{state: scheduler.AttemptOK, after: 24 * time.Hour, gate: scheduler.GateRepeat},
		{state: scheduler.AttemptOK, after: 24*time.Hour + time.Millisecond},
		{state: scheduler.AttemptOK, allow: true},
		{state: scheduler.AttemptOK, other: true},
		{state: scheduler.AttemptRejected},
		{state: scheduler.AttemptNotSent},
		{state: scheduler.AttemptAbsentByHandle},
		{state: scheduler.AttemptAbsentByHuman},
		{state: scheduler.AttemptRejected, same: true},
	} {
		t.Run(fmt.Sprintf("%s after %s, allowed %v, same %v, other account %v", c.state, c.after, c.allow, c.same, c.other), func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, open)
			r.due(noon)
			before := r.due(noon.Add(48 * time.Hour))
			w := r.ready("n1", noon.Add(c.after))
			if c.same {
				before = w.Delivery
			}
			account := r.a.ID
			if c.other {
				account = r.Account(r.ws.ID).ID
			}
			r.Exec(`INSERT INTO attempt (id, delivery_id, account_id, step, n, class, epoch, node, armed_at, send_by, takeover_at, token_gen, req_hash, fp, state)
				VALUES ($1, $2, $3, 0, 1, 'unkeyed', 1, 'n1', $4, 0, 0, 1, '', 'the same', $5)`, int64(r.ID()), int64(before.ID), int64(account), noon.UnixMilli(), string(c.state))
			q := r.armRequest(w, noon.Add(c.after))
			q.Fingerprint, q.AllowRepeat, q.N = "the same", c.allow, 2
			_, err := r.s.Arm(t.Context(), q)
			var got scheduler.Gate
			if refusal := new(scheduler.Refusal); errors.As(err, &refusal) {
				got = refusal.Gate
			} else if err != nil {
				t.Fatal(err)
			}
			if got != c.gate {
				t.Errorf("gate %q, want %q (%v)", got, c.gate, err)
			}
		})
	}
}

// ledgerIndexes goes round the Go code: even a wrong program cannot open a
// second attempt, publish a part twice or give one post to two deliveries.
func ledgerIndexes(t *testing.T, open Opener) {
	t.Parallel()
	r := newRoom(t, open)
	d, e := r.due(noon), r.due(noon)
	insert := func(delivery social.ID, step, n int, state, remote string) error {
		var id any
		if remote != "" {
			id = remote
		}
		_, err := r.s.WriterDB().ExecContext(t.Context(), `INSERT INTO attempt (id, delivery_id, account_id, step, n, class, epoch, node, armed_at, send_by, takeover_at, token_gen, req_hash, fp, state, remote_id)
			VALUES ($1, $2, $3, $4, $5, 'unkeyed', 1, 'n1', 0, 0, 0, 1, '', '', $6, $7)`, int64(r.ID()), int64(delivery), int64(r.a.ID), step, n, state, id)
		return err
	}
	for _, c := range []struct {
		what     string
		delivery social.ID
		step, n  int
		state    string
		remote   string
		refused  bool
	}{
		{"a first attempt", d.ID, 0, 1, "armed", "", false},
		{"a second open one", d.ID, 0, 2, "armed", "", true},
		{"a second ambiguous one", d.ID, 0, 2, "ambiguous", "", true},
		{"one of the next part", d.ID, 1, 1, "armed", "", false},
		{"a rejected one beside it", d.ID, 0, 2, "rejected", "", false},
		{"the same number again", d.ID, 0, 2, "rejected", "", true},
		{"one that succeeded", d.ID, 0, 3, "ok", "r1", false},
		{"a second success", d.ID, 0, 4, "adopted", "r2", true},
		{"the same post for another delivery", e.ID, 0, 1, "ok", "r1", true},
		{"a post of its own", e.ID, 0, 1, "ok", "r3", false},
		{"an unknown state", e.ID, 0, 2, "lost", "", true},
	} {
		if err := insert(c.delivery, c.step, c.n, c.state, c.remote); (err != nil) != c.refused {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	if _, err := r.s.WriterDB().ExecContext(t.Context(), `UPDATE delivery SET state = 'published' WHERE id = $1`, int64(e.ID)); err == nil {
		t.Error("published without a remote id")
	}
}

func ledgerMove(t *testing.T, open Opener) {
	t.Parallel()
	t.Run("notices", func(t *testing.T) {
		t.Parallel()
		for _, to := range []social.DeliveryState{social.Failed, social.NeedsHuman, social.HeldLate, social.Blocked, social.Skipped} {
			r := newRoom(t, open)
			d := r.due(noon)
			w := r.ready("n1", noon)
			m := scheduler.Move{Delivery: d.ID, Epoch: w.Delivery.Epoch, From: []social.DeliveryState{social.Ready}, To: to, Now: noon, Reason: "why", Release: true}
			before := r.row(d.ID)
			if err := r.s.Move(t.Context(), m); !errors.Is(err, scheduler.ErrInvalidMove) {
				t.Errorf("%s without a notice: %v", to, err)
			}
			if diff := cmp.Diff(before, r.row(d.ID)); diff != "" {
				t.Error(diff)
			}
			m.Notice = &scheduler.Notice{Kind: "k", Severity: "alarm", Delivery: d.ID, Account: r.a.ID, Text: "what to do"}
			if err := r.s.Move(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			got, err := r.s.Unsent(t.Context(), 10)
			if err != nil || len(got) != 1 || got[0].Notice != *m.Notice || got[0].Workspace != r.ws.ID {
				t.Errorf("%s: outbox %+v, %v", to, got, err)
			}
			if got := r.Text(`SELECT state || ' ' || reason || ' ' || owner || ' ' || lease_until || ' ' || next_at FROM delivery WHERE id = $1`, int64(d.ID)); got != string(to)+" why  0 0" {
				t.Errorf("moved to %q", got)
			}
			if r.Text(`SELECT actor FROM audit WHERE action = $1 AND subject = $2`, "delivery."+string(to), d.ID.String()) != "scheduler:n1" {
				t.Errorf("%s is not in the audit log", to)
			}
		}
	})
	t.Run("published", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, open)
		d := r.due(noon)
		w, a := r.armed("n1", noon)
		m := r.done(w, a, "r1", noon.Add(time.Second))
		bare := m
		bare.Body = nil
		if err := r.s.Move(t.Context(), bare); !errors.Is(err, scheduler.ErrInvalidMove) {
			t.Errorf("published without saying where: %v", err)
		}
		nameless := m
		nameless.Attempt = &scheduler.AttemptChange{ID: a.ID, State: scheduler.AttemptOK}
		if err := r.s.Move(t.Context(), nameless); !errors.Is(err, scheduler.ErrInvalidMove) {
			t.Errorf("succeeded without an id: %v", err)
		}
		m.NextAt, m.Release = noon, false // a final state takes no time and no owner
		if err := r.s.Move(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if got := r.Text(`SELECT state || ' ' || remote_id || ' ' || remote_url || ' ' || published_at || ' ' || next_at || ' ' || owner || ' ' || step FROM delivery WHERE id = $1`, int64(d.ID)); got !=
			fmt.Sprintf("published r1 https://example.org/r1 %d 0  1", noon.Add(time.Second).UnixMilli()) {
			t.Error(got)
		}
		if r.attemptState(d.ID) != scheduler.AttemptOK {
			t.Error(r.attemptState(d.ID))
		}
	})
	t.Run("armed only by Arm", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, open)
		r.due(noon)
		w := r.ready("n1", noon)
		if err := r.s.Move(t.Context(), scheduler.Move{Delivery: w.Delivery.ID, Epoch: w.Delivery.Epoch, From: []social.DeliveryState{social.Ready, social.Armed}, To: social.Armed, Now: noon}); !errors.Is(err, scheduler.ErrInvalidMove) {
			t.Errorf("armed by a move: %v", err)
		}
	})
	t.Run("checkpoints", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, open)
		d := r.due(noon)
		w := r.ready("n1", noon)
		count := func() string { return r.Text(`SELECT count(*) FROM checkpoint WHERE delivery_id = $1`, int64(d.ID)) }
		if count() != "1" {
			t.Error("the preparation was not saved with the move")
		}
		if err := r.s.Save(t.Context(), d.ID, w.Delivery.Epoch, scheduler.Checkpoint{State: json.RawMessage(`{"a":1}`), Expires: noon}); err != nil {
			t.Fatal(err)
		}
		if got := r.Text(`SELECT state || ' ' || class || ' ' || expires_at FROM checkpoint WHERE delivery_id = $1`, int64(d.ID)); got != fmt.Sprintf(`{"a":1}  %d`, noon.UnixMilli()) {
			t.Errorf("saved %s", got)
		}
		if err := r.s.Move(t.Context(), scheduler.Move{Delivery: d.ID, Epoch: w.Delivery.Epoch, From: []social.DeliveryState{social.Ready}, To: social.Waiting, Now: noon, NextAt: noon, DropCheckpoint: true, Tries: 2}); err != nil {
			t.Fatal(err)
		}
		if count() != "0" {
			t.Error("the preparation was not dropped")
		}
		if got := r.Text(`SELECT tries || ' ' || owner FROM delivery WHERE id = $1`, int64(d.ID)); got != "2 n1" {
			t.Error(got)
		}
	})
}

func ledgerStale(t *testing.T, open Opener) {
	t.Parallel()
	r := newRoom(t, open)
	d := r.due(noon)
	w, a := r.armed("n1", noon)
	good := r.done(w, a, "r1", noon)
	for name, change := range map[string]func(*scheduler.Move){
		"old epoch":        func(m *scheduler.Move) { m.Epoch-- },
		"new epoch":        func(m *scheduler.Move) { m.Epoch++ },
		"other state":      func(m *scheduler.Move) { m.From = []social.DeliveryState{social.Ambiguous, social.Ready} },
		"no such delivery": func(m *scheduler.Move) { m.Delivery++ },
		"no such attempt":  func(m *scheduler.Move) { c := *m.Attempt; c.ID++; m.Attempt = &c },
	} {
		m := good
		change(&m)
		before := r.row(d.ID)
		if err := r.s.Move(t.Context(), m); !errors.Is(err, scheduler.ErrStale) {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(before, r.row(d.ID)); diff != "" {
			t.Errorf("%s changed something: %s", name, diff)
		}
	}
	if err := r.s.Save(t.Context(), d.ID, w.Delivery.Epoch, scheduler.Checkpoint{}); !errors.Is(err, scheduler.ErrStale) {
		t.Errorf("saving a preparation while armed: %v", err)
	}
	if err := r.s.Move(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if err := r.s.Move(t.Context(), good); !errors.Is(err, scheduler.ErrStale) {
		t.Errorf("twice: %v", err)
	}
	// Not even the right epoch judges an attempt that is judged.
	again := good
	again.From, again.Body = []social.DeliveryState{social.Published}, nil
	if err := r.s.Move(t.Context(), again); !errors.Is(err, scheduler.ErrStale) {
		t.Errorf("an attempt was judged twice: %v", err)
	}

	// Only who armed an attempt may say that it was not sent.
	d = r.due(noon)
	w, a = r.armed("n1", noon)
	later := noon.Add(2 * time.Minute)
	works := r.claim("n2", later)
	if len(works) != 1 || works[0].Delivery.ID != d.ID || works[0].Delivery.State != social.Armed {
		t.Fatalf("taken over: %+v", works)
	}
	notSent := scheduler.Move{
		Delivery: d.ID, Epoch: works[0].Delivery.Epoch, From: []social.DeliveryState{social.Armed}, To: social.Waiting, Now: later, NextAt: later,
		Attempt: &scheduler.AttemptChange{ID: a.ID, State: scheduler.AttemptNotSent},
	}
	if err := r.s.Move(t.Context(), notSent); !errors.Is(err, scheduler.ErrStale) {
		t.Errorf("another node said that nothing was sent: %v", err)
	}
	if err := r.s.Move(t.Context(), r.done(w, a, "r2", later)); !errors.Is(err, scheduler.ErrStale) {
		t.Errorf("a node that lost the delivery recorded an outcome: %v", err)
	}
	if err := r.s.Save(t.Context(), d.ID, w.Delivery.Epoch, scheduler.Checkpoint{}); !errors.Is(err, scheduler.ErrStale) {
		t.Errorf("saving with an old epoch: %v", err)
	}
}

func ledgerRemoteTaken(t *testing.T, open Opener) {
	t.Parallel()
	r := newRoom(t, open)
	r.due(noon)
	w, a := r.armed("n1", noon)
	if err := r.s.Move(t.Context(), r.done(w, a, "r1", noon)); err != nil {
		t.Fatal(err)
	}
	d := r.due(noon)
	w, a = r.armed("n1", noon)
	before := r.row(d.ID)
	if err := r.s.Move(t.Context(), r.done(w, a, "r1", noon)); !errors.Is(err, scheduler.ErrRemoteTaken) {
		t.Errorf("one post for two deliveries: %v", err)
	}
	if diff := cmp.Diff(before, r.row(d.ID)); diff != "" {
		t.Error(diff)
	}
	if err := r.s.Move(t.Context(), r.done(w, a, "r2", noon)); err != nil {
		t.Error(err)
	}
}

func ledgerRecover(t *testing.T, open Opener) {
	t.Parallel()
	for _, alone := range []bool{true, false} {
		t.Run(fmt.Sprintf("alone %v", alone), func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, open)
			mine := r.due(noon)
			w, a := r.armed("n1", noon)
			claimedByMe := r.due(noon)
			r.claim("n1", noon)
			b := r.Account(r.ws.ID)
			theirs := r.Delivery(r.Post(r.ws.ID, noon), b)
			theirArmed := r.Delivery(r.Post(r.ws.ID, noon), b)
			r.claim("n2", noon)
			r.Exec(`UPDATE delivery SET state = 'armed' WHERE id = $1`, int64(theirArmed.ID))
			r.attempt(scheduler.Work{Delivery: theirArmed}, 1, "armed")
			forgotten := r.due(noon.Add(time.Hour))
			r.Exec(`UPDATE delivery SET next_at = 0 WHERE id = $1`, int64(forgotten.ID))

			now := noon.Add(time.Second)
			n, err := r.s.Recover(t.Context(), "n1", alone, now)
			if err != nil {
				t.Fatal(err)
			}
			wantN, wantTheirs := 1, "armed n2"
			if alone {
				wantN, wantTheirs = 2, "ambiguous "
			}
			if n != wantN {
				t.Errorf("%d were armed, want %d", n, wantN)
			}
			look := func(id social.ID) string {
				return r.Text(`SELECT state || ' ' || owner FROM delivery WHERE id = $1`, int64(id))
			}
			if look(mine.ID) != "ambiguous " || r.Text(`SELECT next_at FROM delivery WHERE id = $1`, int64(mine.ID)) != fmt.Sprint(now.UnixMilli()) {
				t.Errorf("my armed one is %s", r.row(mine.ID))
			}
			if got := r.Text(`SELECT state || ' ' || decided_by FROM attempt WHERE id = $1`, int64(a.ID)); got != "ambiguous restart" {
				t.Errorf("my attempt is %s", got)
			}
			if look(claimedByMe.ID) != "scheduled " {
				t.Errorf("my claim is %s", look(claimedByMe.ID))
			}
			if look(theirArmed.ID) != wantTheirs {
				t.Errorf("another node's armed one is %s, want %s", look(theirArmed.ID), wantTheirs)
			}
			if got, want := look(theirs.ID) == "scheduled n2", !alone; got != want {
				t.Errorf("another node's claim is %s", look(theirs.ID))
			}
			if got := r.Text(`SELECT next_at FROM delivery WHERE id = $1`, int64(forgotten.ID)) != "0"; got != alone {
				t.Errorf("a delivery without a time got one: %v", got)
			}
			// What the process before knew comes too late.
			if err := r.s.Move(t.Context(), r.done(w, a, "r1", now)); !errors.Is(err, scheduler.ErrStale) {
				t.Errorf("a write of the process before: %v", err)
			}
			if r.Text(`SELECT count(*) FROM outbox`) != "0" {
				t.Error("ambiguous needs no notice")
			}
			if n, err := r.s.Recover(t.Context(), "n1", alone, now); err != nil || n != 0 {
				t.Errorf("a second time: %d, %v", n, err)
			}
			if got := len(r.claim("n1", now)); got == 0 {
				t.Error("nothing can be claimed after recovering")
			}
		})
	}
}
