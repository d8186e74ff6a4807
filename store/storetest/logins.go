package storetest

import (
	"testing"
	"time"

	"smi/internal/credentials"
	"smi/scheduler"
)

// logins proves that an end is told together with the mark that it was, and that
// a login is tried once an hour however many ask for it.
func logins(t *testing.T, open Opener) {
	t.Parallel()
	s := open(t)
	d := Seed(t, s)
	ws := d.Workspace()
	a := d.Account(ws.ID)
	now := time.Now().UTC().Truncate(time.Millisecond)
	row := credentials.Row{Account: a.ID, Gen: 1, Sealed: []byte("sealed"), KeyID: "1", Issued: now}
	fatal(t, s.SaveGrant(t.Context(), credentials.Save{Row: row, Now: now, Login: true}))
	if all, err := s.Endings(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("a login without an end ends: %+v, %v", all, err)
	}
	// A refresh did not prolong it.
	end := now.Add(6 * 24 * time.Hour)
	row.Gen = 2
	fatal(t, s.SaveGrant(t.Context(), credentials.Save{Row: row, Now: now, Ends: end}))
	p := d.Post(ws.ID, end.Add(time.Hour))
	d.Delivery(p, a)
	tell := func(told credentials.Told, text string) {
		t.Helper()
		fatal(t, s.TellEnds(t.Context(), now, func(e credentials.Ending) (credentials.Told, *credentials.Notice) {
			if e.Account != a.ID || !e.Ends.Equal(end) || e.Posts != 1 || !e.First.Equal(p.Planned.UTC) {
				t.Errorf("ending %+v", e)
			}
			if e.Told == told {
				return told, nil
			}
			return told, &credentials.Notice{Kind: credentials.NoticeEnds, Severity: "alarm", Account: a.ID, Text: text}
		}))
	}
	for range 2 {
		tell(credentials.Told{Days: 7, Posts: true}, "first")
	}
	if n, told := d.Text(`SELECT count(*) FROM outbox`), d.Text(`SELECT days FROM login_end WHERE posts`); n != "1" || told != "7" {
		t.Errorf("%s notices, told %q", n, told)
	}
	// The same end, said a little differently, is the same; a later one is another.
	row.Gen = 3
	end = end.Add(time.Minute)
	fatal(t, s.SaveGrant(t.Context(), credentials.Save{Row: row, Now: now, Ends: end}))
	tell(credentials.Told{Days: 7, Posts: true}, "again")
	row.Gen = 4
	end = end.Add(24 * time.Hour)
	d.Exec(`UPDATE delivery SET planned_utc = $1`, end.Add(time.Hour).UnixMilli())
	p.Planned.UTC = end.Add(time.Hour)
	fatal(t, s.SaveGrant(t.Context(), credentials.Save{Row: row, Now: now, Ends: end}))
	if told := d.Text(`SELECT days FROM login_end WHERE NOT posts`); told != "99" {
		t.Errorf("another end is taken for told: %q", told)
	}
	tell(credentials.Told{Days: 7, Posts: true}, "another")
	if n := d.Text(`SELECT count(*) FROM outbox`); n != "2" {
		t.Errorf("%s notices of two ends", n)
	}
	row.Gen = 5
	fatal(t, s.SaveGrant(t.Context(), credentials.Save{Row: row, Now: now, Login: true}))
	if all, err := s.Endings(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("the end of the former login is left: %+v, %v", all, err)
	}

	// Posts in 30 minutes and in 20 hours.
	at := now.Add(30 * time.Minute)
	d.Exec(`UPDATE delivery SET planned_utc = $1`, at.UnixMilli())
	d.Delivery(d.Post(ws.ID, now.Add(20*time.Hour)), a)
	d.Delivery(d.Post(ws.ID, now.Add(30*time.Hour)), a)
	due, err := s.Probes(t.Context(), now, 10)
	if err != nil || len(due) != 1 || due[0].Account.Handle != a.Handle || due[0].Posts != 2 || !due[0].First.Equal(at) || !due[0].Near || due[0].Told {
		t.Fatalf("due %+v, %v", due, err)
	}
	for _, want := range []bool{true, false} {
		if mine, err := s.BeginProbe(t.Context(), a.ID, now); err != nil || mine != want {
			t.Errorf("the right to try it: %t, %v; want %t", mine, err, want)
		}
	}
	n := &scheduler.Notice{Kind: "account_login_dead", Severity: "alarm", Account: a.ID, Text: "It does not work."}
	fatal(t, s.EndProbe(t.Context(), a, "gone", true, n, now))
	if due, err := s.Probes(t.Context(), now.Add(10*time.Minute), 10); err != nil || len(due) != 0 {
		t.Errorf("tried again at once: %+v, %v", due, err)
	}
	d.Exec(`UPDATE delivery SET planned_utc = $1 WHERE planned_utc = $2`, now.Add(2*time.Hour).UnixMilli(), at.UnixMilli())
	if due, err := s.Probes(t.Context(), now.Add(61*time.Minute), 10); err != nil || len(due) != 1 || !due[0].Told || due[0].Said != "gone" {
		t.Errorf("an hour later: %+v, %v", due, err)
	}
	d.Exec(`UPDATE account SET status = 'needs_reconnect'`)
	fatal(t, s.EndProbe(t.Context(), a, "gone", true, n, now))
	if n := d.Text(`SELECT count(*) FROM outbox WHERE kind = 'account_login_dead'`); n != "1" {
		t.Errorf("%s notices; people knew that it needs a new login", n)
	}
	if due, err := s.Probes(t.Context(), now.Add(61*time.Minute), 10); err != nil || len(due) != 0 {
		t.Errorf("an account that needs a new login is tried: %+v, %v", due, err)
	}
}
