package storetest

import (
	"testing"
	"time"

	"smi/connectors"
	"smi/internal/credentials"
	"smi/internal/social"
	"smi/scheduler"
	"smi/store"
)

// told proves for each change that a person must know of that it and its notice
// are one: where the notice cannot be stored, nothing changes; where it can, both
// are there.
func told(t *testing.T, open Opener) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Millisecond)
	type change struct {
		name  string
		begin func(r *room, d social.Delivery) // by plain SQL
		do    func(r *room, d social.Delivery) error
		look  string // what it changes
		kind  string // of the notice
	}
	const state = `SELECT state FROM delivery`
	var all []change
	for _, to := range []social.DeliveryState{social.Failed, social.NeedsHuman, social.HeldLate, social.Blocked, social.Skipped} {
		all = append(all, change{
			"the scheduler: " + string(to), nil,
			func(r *room, d social.Delivery) error {
				n := &scheduler.Notice{Kind: "delivery", Severity: "alarm", Delivery: d.ID, Account: r.a.ID, Text: "so it is"}
				return r.s.Move(t.Context(), scheduler.Move{Delivery: d.ID, From: []social.DeliveryState{social.Scheduled}, To: to, Reason: "so it is", Release: true, Now: now, Notice: n})
			},
			state, "delivery",
		})
	}
	set := func(state string) func(*room, social.Delivery) {
		return func(r *room, d social.Delivery) {
			r.Exec(`UPDATE delivery SET state = $1, next_at = 0 WHERE id = $2`, state, int64(d.ID))
		}
	}
	grant := func(r *room, _ social.Delivery) {
		r.Exec(`INSERT INTO grant_row (account_id, gen, sealed, issued_at, state, refresh_epoch, refresh_owner, updated_at) VALUES ($1, 1, $2, 0, 'refreshing', 1, 'n1', 0)`, int64(r.a.ID), []byte("x"))
	}
	all = append(
		all,
		change{"a person skips it", set("held_late"), func(r *room, d social.Delivery) error {
			return r.s.PublishLate(t.Context(), r.ws.ID, d.ID, false, "cli:ada")
		}, state, "delivery_skipped"},
		change{"a person drops it", set("needs_human"), func(r *room, d social.Delivery) error {
			return r.s.ResolveDelivery(t.Context(), r.ws.ID, d.ID, social.AnswerDrop, connectors.Receipt{}, "cli:ada")
		}, state, "delivery_failed"},
		change{"a login is over", grant, func(r *room, _ social.Delivery) error {
			return r.s.EndRefresh(t.Context(), credentials.End{Account: r.a.ID, Gen: 1, Epoch: 1, To: credentials.NeedsReconnect, Now: now, Reason: "Over.", Notice: &credentials.Notice{
				Kind: credentials.NoticeNeedsReconnect, Severity: "alarm", Account: r.a.ID, Text: "Over.",
			}})
		}, `SELECT a.status || g.state FROM account a JOIN grant_row g ON g.account_id = a.id`, credentials.NoticeNeedsReconnect},
		change{"an answer to a refresh was lost", grant, func(r *room, _ social.Delivery) error {
			return r.s.EndRefresh(t.Context(), credentials.End{Account: r.a.ID, Gen: 1, Epoch: 1, To: credentials.RefreshUnknown, Now: now, Notice: &credentials.Notice{
				Kind: credentials.NoticeMayReconnect, Severity: "alarm", Account: r.a.ID, Text: "Perhaps.",
			}})
		}, `SELECT state FROM grant_row`, credentials.NoticeMayReconnect},
		change{"a login ends", func(r *room, d social.Delivery) {
			grant(r, d)
			r.Exec(`INSERT INTO login_end (account_id, ends_at, days, posts, told_at) VALUES ($1, $2, 99, FALSE, 0)`, int64(r.a.ID), now.Add(time.Hour).UnixMilli())
		}, func(r *room, _ social.Delivery) error {
			return r.s.TellEnds(t.Context(), now, func(credentials.Ending) (credentials.Told, *credentials.Notice) {
				return credentials.Told{Days: 1}, &credentials.Notice{Kind: credentials.NoticeEnds, Severity: "alarm", Account: r.a.ID, Text: "Soon."}
			})
		}, `SELECT days FROM login_end`, credentials.NoticeEnds},
		change{"a login that was tried is dead", func(r *room, _ social.Delivery) {
			r.Exec(`INSERT INTO login_probe (account_id, asked_at) VALUES ($1, 1)`, int64(r.a.ID))
		}, func(r *room, _ social.Delivery) error {
			return r.s.EndProbe(t.Context(), r.a, "dead", true, &scheduler.Notice{Kind: "account_login_dead", Severity: "alarm", Account: r.a.ID, Text: "Dead."}, now)
		}, `SELECT said FROM login_probe`, "account_login_dead"},
		change{"a quarantine begins", nil, func(r *room, _ social.Delivery) error {
			return r.s.SetQuarantine(t.Context(), true, "cli:ada")
		}, `SELECT count(*) FROM quarantine`, "quarantine_began"},
		change{"smi was away", func(r *room, _ social.Delivery) {
			r.Exec(`INSERT INTO meta (key, value) VALUES ('alive', '1')`)
		}, func(r *room, _ social.Delivery) error {
			_, err := r.s.ReportAway(t.Context(), store.Away{Least: time.Minute})
			return err
		}, `SELECT value FROM meta WHERE key = 'alive'`, "away"},
	)
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			r := newRoom(t, open)
			d := r.due(now.Add(-time.Minute))
			if c.begin != nil {
				c.begin(r, d)
			}
			before := r.Text(c.look)
			r.Exec(`ALTER TABLE outbox RENAME TO outbox_gone`)
			if err := c.do(r, d); err == nil {
				t.Error("it is done although nobody can be told")
			}
			if after := r.Text(c.look); after != before {
				t.Errorf("it changed %q to %q, and nobody was told", before, after)
			}
			r.Exec(`ALTER TABLE outbox_gone RENAME TO outbox`)
			fatal(t, c.do(r, d))
			if after := r.Text(c.look); after == before {
				t.Errorf("nothing changed: %q", after)
			}
			if n := r.Text(`SELECT count(*) FROM outbox WHERE kind = $1`, c.kind); n != "1" {
				t.Errorf("%s notices of kind %s, want 1", n, c.kind)
			}
		})
	}
}
