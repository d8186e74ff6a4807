package storetest

import (
	"fmt"
	"testing"
	"time"

	"smi/internal/notify"
	"smi/scheduler"
)

func sending(t *testing.T, open Opener) {
	t.Parallel()
	r := newRoom(t, open)
	tell := func(kind, severity string, n int) {
		t.Helper()
		for i := range n {
			if err := r.s.Tell(t.Context(), r.ws.ID, scheduler.Notice{Kind: kind, Severity: severity, Text: fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	claim := func(node string, now time.Time) []notify.Group {
		t.Helper()
		out, err := r.s.ClaimNotices(t.Context(), notify.ClaimRequest{
			Node: node, Now: now, Lease: time.Minute, Settle: 2 * time.Second, Gap: func(string) time.Duration { return time.Minute }, Limit: 4,
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	end := func(o notify.Outcome) {
		t.Helper()
		if err := r.s.EndNotices(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if at, err := r.s.NextNotice(t.Context()); err != nil || !at.IsZero() {
		t.Fatalf("an empty outbox is due at %v, %v", at, err)
	}
	tell("warned", notify.Warning, 1)
	tell("failed", notify.Alarm, 3)
	<-r.s.Told()
	all, err := r.s.Notices(t.Context(), r.ws.ID, 0, 10)
	if err != nil || len(all) != 4 || !all[0].Unsent {
		t.Fatalf("notices %+v, %v", all, err)
	}
	made := all[0].CreatedAt
	if at, err := r.s.NextNotice(t.Context()); err != nil || at.IsZero() || at.After(made) {
		t.Errorf("due at %v, %v", at, err)
	}
	if early := claim("a", made.Add(time.Second)); len(early) > 0 {
		t.Errorf("%d groups before they are settled", len(early))
	}
	now := made.Add(5 * time.Second)
	got := claim("a", now)
	if len(got) != 2 || got[0].Kind != "failed" || len(got[0].Notices) != 3 || got[1].Kind != "warned" || got[0].Workspace != r.ws.ID {
		t.Fatalf("claimed %+v", got)
	}
	if twice := claim("b", now); len(twice) > 0 {
		t.Errorf("claimed twice: %+v", twice)
	}
	// No channel took the warnings; mail failed and a program took the alarms.
	end(notify.Outcome{Claim: got[0].Claim, Node: "a", Now: now, Done: true, Tries: []notify.Try{{Channel: "mail", Error: "down"}, {Channel: "exec"}}})
	end(notify.Outcome{Claim: got[1].Claim, Node: "a", Now: now, Next: now.Add(time.Minute), Tries: []notify.Try{{Channel: "mail", Error: "down"}}})
	if all, err = r.s.Notices(t.Context(), r.ws.ID, 0, 10); err != nil || all[0].Unsent || len(all[0].Sendings) != 2 || !all[3].Unsent || all[3].Sendings[0].Error != "down" {
		t.Errorf("notices %+v, %v", all, err)
	}
	if b, err := r.s.Backlog(t.Context()); err != nil || b.Unsent != 1 || b.Alarms != 0 || b.Oldest.IsZero() || !b.OldestAlarm.IsZero() {
		t.Errorf("backlog %+v, %v", b, err)
	}
	if at, err := r.s.NextNotice(t.Context()); err != nil || !at.Equal(now.Add(time.Minute)) {
		t.Errorf("the next is due at %v, %v; want %v", at, err, now.Add(time.Minute))
	}
	// Of a kind that was just sent, more is gathered.
	tell("failed", notify.Alarm, 2)
	if soon := claim("a", now.Add(30*time.Second)); len(soon) > 0 {
		t.Errorf("a second message at once: %+v", soon)
	}
	later := now.Add(61 * time.Second)
	got = claim("a", later)
	if len(got) != 2 || len(got[0].Notices) != 2 || got[1].Tries != 1 {
		t.Fatalf("claimed %+v", got)
	}
	// A node that is started again has its own at once, another one's when the
	// lease is over; who comes too late changes nothing.
	if err := r.s.ReleaseNotices(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if other := claim("b", later.Add(time.Second)); len(other) > 0 {
		t.Errorf("claimed from a living node: %+v", other)
	}
	if other := claim("b", later.Add(61*time.Second)); len(other) != 2 {
		t.Errorf("claimed %+v after the lease", other)
	}
	if err := r.s.ReleaseNotices(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	end(notify.Outcome{Claim: got[0].Claim, Node: "a", Now: later, Done: true, Tries: []notify.Try{{Channel: "exec"}}})
	if again := claim("b", later.Add(62*time.Second)); len(again) != 2 {
		t.Errorf("an outcome that came too late counted: %+v", again)
	}
	if n, err := r.s.PruneNotices(t.Context(), made.Add(24*time.Hour)); err != nil || n != 6 {
		t.Errorf("%d notices deleted, %v", n, err)
	}
	if n := Seed(t, r.s).Text(`SELECT COUNT(*) FROM notice_send`); n != "0" {
		t.Errorf("%s sendings are left", n)
	}
}
