package storetest

import (
	"strings"
	"testing"
	"time"

	"smi/internal/social"
	"smi/store"
)

// doctor proves that each invariant bites: the data is broken by hand, and the
// sentence that names it appears, in the short check and in the whole one.
func doctor(t *testing.T, open Opener) {
	t.Parallel()
	const attempt = `INSERT INTO attempt (id, delivery_id, account_id, step, n, class, epoch, node, armed_at, send_by, takeover_at, token_gen, req_hash, fp, state, remote_id, decided_by)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 'n1', $8, $8, $8, 1, '', 'f', $9, $10, '')`
	now := time.Now()
	type world struct {
		*Seeds
		s  *store.Store
		ws social.Workspace
		a  social.Account
		d  social.Delivery // published properly, long enough ago
	}
	// try adds an attempt of the delivery.
	try := func(w *world, step, n int, class string, epoch int64, state string, remote any) {
		w.Exec(attempt, int64(w.ID()), int64(w.d.ID), int64(w.a.ID), step, n, class, epoch, now.Add(-time.Hour).UnixMilli(), state, remote)
	}
	state := func(w *world, state string) {
		w.Exec(`UPDATE delivery SET state = $1 WHERE id = $2`, state, int64(w.d.ID))
	}
	unguarded := func(w *world) {
		for _, index := range []string{"attempt_one_open", "attempt_one_ok", "attempt_adopt_once"} {
			w.Exec(`DROP INDEX ` + index)
		}
	}
	for _, tc := range []struct {
		name, want string
		full       bool // only the whole check finds it
		breaks     func(w *world)
	}{
		{"nothing", "", false, func(*world) {}},
		{"published and no attempt", "no attempt of it is known", false, func(w *world) { w.Exec(`DELETE FROM attempt`) }},
		{"another remote post", "names another remote post", false, func(w *world) { w.Exec(`UPDATE delivery SET remote_id = 'other'`) }},
		{"failed and published", "said not to be there", false, func(w *world) { state(w, "failed") }},
		{"cancelled and open", "is over, but an attempt", false, func(w *world) {
			w.Exec(`UPDATE attempt SET state = 'ambiguous', remote_id = NULL`)
			state(w, "cancelled")
		}},
		{"two open", "two open attempts", false, func(w *world) {
			unguarded(w)
			try(w, 1, 1, "keyed", 1, "ambiguous", nil)
			try(w, 1, 2, "keyed", 1, "armed", nil)
		}},
		{"published twice", "published twice", false, func(w *world) {
			unguarded(w)
			try(w, 0, 2, "keyed", 1, "ok", "r2")
		}},
		{"one remote post of two", "shares its remote post", true, func(w *world) {
			unguarded(w)
			try(w, 1, 1, "keyed", 1, "ok", "r1")
		}},
		{"an index is gone", "the index attempt_adopt_once is missing", false, func(w *world) { w.Exec(`DROP INDEX attempt_adopt_once`) }},
		{"tried again after success", "was tried again", false, func(w *world) { try(w, 0, 2, "keyed", 1, "rejected", nil) }},
		{"absent without a handle", "nobody could know", false, func(w *world) { try(w, 1, 1, "unkeyed", 1, "absent_by_handle", nil) }},
		{"absent by nobody", "nobody could know", false, func(w *world) { try(w, 1, 1, "keyed", 1, "absent_by_human", nil) }},
		{"parts out of order", "before the part before it", false, func(w *world) { try(w, 2, 1, "keyed", 1, "ok", "r3") }},
		{"the epoch fell", "the epoch of delivery", false, func(w *world) { w.Exec(`UPDATE delivery SET epoch = 0`) }},
		{"epochs out of order", "not in the order of their epochs", false, func(w *world) {
			try(w, 1, 1, "keyed", 1, "rejected", nil)
			try(w, 1, 2, "keyed", 0, "ambiguous", nil)
		}},
		{"no time", "waits without a time", false, func(w *world) {
			w.Exec(`DELETE FROM attempt`)
			w.Exec(`UPDATE delivery SET state = 'waiting', next_at = 0`)
		}},
		{"due and left", "nobody works on it", false, func(w *world) {
			w.Exec(`DELETE FROM attempt`)
			w.Exec(`UPDATE delivery SET state = 'ready', next_at = $1`, now.Add(-10*time.Minute).UnixMilli())
		}},
		{"sent and left", "what became of delivery", false, func(w *world) {
			w.Exec(`UPDATE attempt SET state = 'ambiguous', remote_id = NULL`)
			w.Exec(`UPDATE delivery SET state = 'ambiguous', next_at = $1`, now.Add(-10*time.Minute).UnixMilli())
		}},
		{"a question nobody heard", "waits for a person, but nobody was told", false, func(w *world) { state(w, "needs_human") }},
		{"held in silence", "waits for a person, but nobody was told", false, func(w *world) { state(w, "held_late") }},
		{"skipped in silence", "is not published, but nobody was told", false, func(w *world) {
			w.Exec(`DELETE FROM attempt`)
			state(w, "skipped")
		}},
		{"armed in a pause", "armed while everything was paused", false, func(w *world) {
			fatal(t, w.s.SetPaused(t.Context(), social.PauseScope{}, true, "cli:tester"))
			armLater(w.Seeds)
		}},
		{"armed in a workspace's pause", "armed while its workspace was paused", false, func(w *world) {
			fatal(t, w.s.SetPaused(t.Context(), social.PauseScope{Workspace: w.ws.ID}, true, "cli:tester"))
			armLater(w.Seeds)
		}},
		{"armed in an account's pause", "armed while its account was paused", false, func(w *world) {
			fatal(t, w.s.SetPaused(t.Context(), social.PauseScope{Workspace: w.ws.ID, Account: w.a.ID}, true, "cli:tester"))
			armLater(w.Seeds)
		}},
		{"armed in quarantine", "armed in quarantine", false, func(w *world) {
			fatal(t, w.s.SetQuarantine(t.Context(), true, "cli:tester"))
			armLater(w.Seeds)
		}},
		{"armed before the pause", "", false, func(w *world) {
			fatal(t, w.s.SetPaused(t.Context(), social.PauseScope{}, true, "cli:tester"))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := open(t)
			w := &world{Seeds: Seed(t, s), s: s}
			w.ws = w.Workspace()
			w.a = w.Account(w.ws.ID)
			w.d = w.Delivery(w.Post(w.ws.ID, now.Add(-time.Hour)), w.a)
			w.Exec(`UPDATE delivery SET state = 'published', next_at = 0, epoch = 1, remote_id = 'r1'`)
			try(w, 0, 1, "keyed", 1, "ok", "r1")
			tc.breaks(w)
			for _, recent := range []bool{true, false} {
				bad, err := s.CheckInvariants(t.Context(), store.InvariantsOptions{Now: now.Add(time.Hour), Recent: recent})
				fatal(t, err)
				all := strings.Join(bad, "; ")
				switch {
				case tc.want == "" && len(bad) > 0:
					t.Errorf("recent %t: nothing is broken, and it says %s", recent, all)
				case tc.want != "" && !strings.Contains(all, tc.want) && !(recent && tc.full):
					t.Errorf("recent %t: %q is not among: %s", recent, tc.want, all)
				}
			}
		})
	}

	// Old notices are deleted; that is no silence.
	s := open(t)
	d := Seed(t, s)
	ws := d.Workspace()
	d.Delivery(d.Post(ws.ID, now.Add(-time.Hour)), d.Account(ws.ID))
	d.Exec(`UPDATE delivery SET state = 'held_late', next_at = 0`)
	if _, err := s.PruneNotices(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if bad, err := s.Invariants(t.Context(), now); err != nil || len(bad) > 0 {
		t.Errorf("after notices were deleted: %v, %v", bad, err)
	}
	// Without a running smi nobody works on what is due.
	d.Exec(`UPDATE delivery SET state = 'scheduled', next_at = $1`, now.Add(-time.Hour).UnixMilli())
	if bad, err := s.CheckInvariants(t.Context(), store.InvariantsOptions{Now: now, Stopped: true}); err != nil || len(bad) > 0 {
		t.Errorf("while smi is stopped: %v, %v", bad, err)
	}
}

// armLater makes all attempts ones of a while after now.
func armLater(d *Seeds) {
	d.Exec(`UPDATE attempt SET id = $1, armed_at = $2`, int64((&social.IDs{}).New(time.Now().Add(time.Minute))), time.Now().Add(time.Minute).UnixMilli())
}
