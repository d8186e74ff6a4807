package scheduler_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"smi/connectors"
	"smi/connectors/fake"
	"smi/internal/social"
)

// TestEarlyWordOfAHandle: a handle says "not done" five seconds after a lost
// answer, nothing is sent again because the login is lost, and a minute later the
// request takes effect all the same. Whatever people do then, hours later, smi
// asks the network again before it decides anything on that early word.
func TestEarlyWordOfAHandle(t *testing.T) {
	t.Parallel()
	lost := fake.Fault{Do: fake.CutBeforeEffect}
	late := fake.Fault{Do: fake.Park, After: time.Minute}
	connect := func(w *world) {
		w.seeds.Exec(`UPDATE account SET status = 'connected'`)
		if _, err := w.db.FreeBlocked(w.t.Context(), 0); err != nil {
			w.t.Error(err)
		}
	}
	cancel := func(w *world, id social.ID) {
		if state, err := w.db.CancelDelivery(w.t.Context(), w.ws.ID, id, "test"); err == nil {
			w.t.Errorf("cancelled was answered (%s) although it may be there", state)
		}
	}
	for name, c := range map[string]struct {
		fault fake.Fault
		do    func(w *world, id social.ID)
		want  social.DeliveryState
	}{
		"cancelled without a login": {late, cancel, social.NeedsHuman},
		"cancelled and connected": {late, func(w *world, id social.ID) {
			cancel(w, id)
			connect(w)
		}, social.Published},
		"connected and cancelled": {late, func(w *world, id social.ID) {
			connect(w)
			cancel(w, id)
		}, social.Published},
		"connected":                       {late, func(w *world, _ social.ID) { connect(w) }, social.Published},
		"connected, it never took effect": {lost, func(w *world, _ social.ID) { connect(w) }, social.HeldLate},
		"cancelled, it never took effect": {lost, func(w *world, id social.ID) {
			cancel(w, id)
			connect(w)
		}, social.Cancelled},
		"not wanted any more": {late, func(w *world, id social.ID) {
			w.seeds.Exec(`UPDATE delivery SET not_after = planned_utc + 600000 WHERE id = $1`, int64(id))
			connect(w)
		}, social.Published},
		"refused for its content": {late, func(w *world, id social.ID) {
			a := w.seeds.Text(`SELECT remote_id FROM account`)
			w.net.Account(a).Script(fake.OpPrepare, fake.Fault{Do: fake.Refuse, Kind: connectors.Invalid})
			connect(w)
		}, social.Published},
		"another text": {late, func(w *world, id social.ID) {
			err := w.db.EditDelivery(w.t.Context(), w.ws.ID, id, social.DeliveryEdit{
				Ver: int64(w.count(`SELECT ver FROM delivery WHERE id = $1`, id)), Parts: text("another"), PlannedAt: now(), NextAt: now(), Approved: true,
			}, "test")
			if social.CodeOf(err) != social.CodeConflict || !strings.Contains(err.Error(), "may still appear") {
				w.t.Errorf("its text was changed: %v", err)
			}
			connect(w)
		}, social.Published},
		"another time": {late, func(w *world, id social.ID) {
			err := w.db.RescheduleDelivery(w.t.Context(), w.ws.ID, id, int64(w.count(`SELECT ver FROM delivery WHERE id = $1`, id)), now().Add(time.Hour), time.Time{}, "test")
			if social.CodeOf(err) != social.CodeConflict {
				w.t.Errorf("it was planned anew: %v", err)
			}
			connect(w)
		}, social.Published},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fake.Options{Class: connectors.Keyed})
				defer w.close()
				a := w.account()
				w.net.Account(a.RemoteID).Script(fake.OpCommit, c.fault)
				at := now().Add(time.Minute)
				ids := w.plan(at, text("once"), a)
				w.start()
				pass(at.Add(3 * time.Second).Sub(now()))
				w.want(ids[0], social.Ambiguous)
				w.seeds.Exec(`UPDATE account SET status = 'needs_reconnect', status_reason = 'the login ended'`)
				pass(5 * time.Second)
				w.want(ids[0], social.Blocked)
				if len(w.net.Journal()) != 0 {
					t.Fatal("it took effect before it could be taken for absent")
				}
				pass(3 * time.Hour)
				c.do(w, ids[0])
				w.rest(time.Hour, ids...)
				w.oracle(ids...)
				w.want(ids[0], c.want)
			})
		})
	}
}

// TestAskedBeforeItCanHaveAppeared: where smi cannot look it asks at once, but
// takes no other answer than that it is there until it can no longer appear.
func TestAskedBeforeItCanHaveAppeared(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault   fake.Fault
		ripe    social.Answer // what is answered when it may be
		effects int
		want    social.DeliveryState
	}{
		"there":       {fake.Fault{Do: fake.Park, After: 10 * time.Minute}, social.AnswerThere, 1, social.Published},
		"never, sent": {fake.Fault{Do: fake.CutBeforeEffect}, social.AnswerAgain, 1, social.Published},
		"never, left": {fake.Fault{Do: fake.CutBeforeEffect}, social.AnswerDrop, 0, social.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fake.Options{Class: connectors.Unkeyed})
				defer w.close()
				a := w.account()
				at := now().Add(time.Minute)
				ids := w.plan(at, text("once"), a)
				w.net.Account(a.RemoteID).Script(fake.OpCommit, c.fault)
				w.net.Account(a.RemoteID).Script(fake.OpFind, fake.Fault{Do: fake.Refuse, Kind: connectors.Unsupported})
				w.start()
				pass(at.Add(time.Minute).Sub(now()))
				w.want(ids[0], social.NeedsHuman)
				if _, reason := w.state(ids[0]); !strings.Contains(reason, "may still appear until") {
					t.Errorf("it asks %q", reason)
				}
				for _, answer := range []social.Answer{social.AnswerAgain, social.AnswerDrop} {
					err := w.db.ResolveDelivery(t.Context(), w.ws.ID, ids[0], answer, connectors.Receipt{}, "test")
					if social.CodeOf(err) != social.CodeConflict || !strings.Contains(err.Error(), "look again then") {
						t.Errorf("%s, too early: %v", answer, err)
					}
				}
				pass(16 * time.Minute)
				var there connectors.Receipt
				if posts := w.net.Posts(a.RemoteID); c.ripe == social.AnswerThere {
					there.RemoteID = posts[0].RemoteID
				}
				if err := w.db.ResolveDelivery(t.Context(), w.ws.ID, ids[0], c.ripe, there, "test"); err != nil {
					t.Fatalf("%s: %v", c.ripe, err)
				}
				w.runs[0].s.Wake()
				w.rest(time.Hour, ids...)
				w.oracle(ids...)
				w.want(ids[0], c.want)
				if got := len(w.net.Posts(a.RemoteID)); got != c.effects {
					t.Errorf("it is there %d times, want %d", got, c.effects)
				}
			})
		})
	}
}

// TestRefusedWhileAnEarlierOneMayAppear: what cannot be prepared any more is not
// called failed while an earlier attempt of it may still take effect.
func TestRefusedWhileAnEarlierOneMayAppear(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Options{Class: connectors.Keyed})
		defer w.close()
		a := w.account()
		w.net.Account(a.RemoteID).Script(fake.OpCommit, fake.Fault{Do: fake.Park, After: 10 * time.Minute})
		at := now().Add(time.Minute)
		ids := w.plan(at, text("once"), a)
		w.start()
		pass(at.Add(3 * time.Second).Sub(now()))
		w.want(ids[0], social.Ambiguous)
		w.net.Account(a.RemoteID).Script(fake.OpPrepare, fake.Fault{Do: fake.Refuse, Kind: connectors.Invalid})
		pass(5 * time.Minute)
		w.want(ids[0], social.Waiting)
		w.rest(time.Hour, ids...)
		w.oracle(ids...)
		w.want(ids[0], social.Published)
	})
}
