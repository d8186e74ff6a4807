package storetest

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smi/internal/credentials"
	"smi/internal/social"
)

// grants: generations and epochs decide who may write a login's row, and the
// account agrees with it at every moment.
func grants(t *testing.T, open Opener) {
	at := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	save := func(a social.Account, gen int64, sealed string) credentials.Save {
		return credentials.Save{Login: true, Now: at, Row: credentials.Row{
			Account: a.ID, Network: a.Network, Handle: a.Handle, Gen: gen, Sealed: []byte(sealed), KeyID: "7", Issued: at, Expires: at.Add(2 * time.Hour),
			RefreshExpires: at.Add(90 * 24 * time.Hour), Rotates: true, Scopes: []string{"post"}, State: credentials.Connected, NextAt: at.Add(time.Hour),
		}}
	}
	status := func(d *Seeds, a social.Account) string {
		return d.Text(`SELECT status || ' ' || token_gen FROM account WHERE id = $1`, int64(a.ID))
	}

	t.Run("round trip", func(t *testing.T) {
		s := open(t)
		d := Seed(t, s)
		a := d.Account(d.Workspace().ID)
		if _, err := s.GrantRow(t.Context(), a.ID); !errors.Is(err, credentials.ErrNoGrant) {
			t.Fatalf("before the first: %v", err)
		}
		v := save(a, 1, "sealed-1")
		if err := s.SaveGrant(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		got, err := s.GrantRow(t.Context(), a.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(v.Row, got); diff != "" {
			t.Errorf("row (-saved +read):\n%s", diff)
		}
	})

	t.Run("only the next generation is stored", func(t *testing.T) {
		s := open(t)
		d := Seed(t, s)
		a := d.Account(d.Workspace().ID)
		refresh := func(gen int64, sealed string) error {
			v := save(a, gen, sealed)
			v.Login, v.KeepPrevious = false, at.Add(24*time.Hour)
			return s.SaveGrant(t.Context(), v)
		}
		if err := refresh(1, "x"); !errors.Is(err, credentials.ErrStale) {
			t.Errorf("a refresh of no login: %v", err)
		}
		if err := s.SaveGrant(t.Context(), save(a, 2, "x")); !errors.Is(err, credentials.ErrStale) {
			t.Errorf("a first generation that is the second: %v", err)
		}
		if err := s.SaveGrant(t.Context(), save(a, 1, "sealed-1")); err != nil {
			t.Fatal(err)
		}
		for _, gen := range []int64{0, 1, 3} {
			if err := refresh(gen, "x"); !errors.Is(err, credentials.ErrStale) {
				t.Errorf("generation %d over 1: %v", gen, err)
			}
		}
		if err := refresh(2, "sealed-2"); err != nil {
			t.Fatal(err)
		}
		got := d.Text(`SELECT gen || ' ' || prev_gen || ' ' || prev_key_id FROM grant_row WHERE account_id = $1`, int64(a.ID)) +
			" " + d.Text(`SELECT sealed FROM grant_row WHERE account_id = $1`, int64(a.ID)) + // bytes, which not every database joins to a text
			" " + d.Text(`SELECT prev_sealed FROM grant_row WHERE account_id = $1`, int64(a.ID))
		if got != "2 1 7 sealed-2 sealed-1" {
			t.Errorf("row: %q", got)
		}
		if got := status(d, a); got != "connected 2" {
			t.Errorf("account: %q", got)
		}
		// Two writers of the same generation: one wins.
		var wg sync.WaitGroup
		won := make(chan string, 8)
		for who := range strings.SplitSeq("abcdefgh", "") {
			wg.Go(func() {
				if err := refresh(3, who); err == nil {
					won <- who
				} else if !errors.Is(err, credentials.ErrStale) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		close(won)
		if got := d.Text(`SELECT sealed FROM grant_row WHERE account_id = $1`, int64(a.ID)); len(won) != 1 || got != <-won {
			t.Errorf("%d writers won, stored is %q", len(won), got)
		}
	})

	t.Run("an old epoch changes nothing", func(t *testing.T) {
		s := open(t)
		d := Seed(t, s)
		a := d.Account(d.Workspace().ID)
		if err := s.SaveGrant(t.Context(), save(a, 1, "sealed-1")); err != nil {
			t.Fatal(err)
		}
		begin := func(gen, epoch int64) (int64, error) {
			return s.BeginRefresh(t.Context(), credentials.Begin{Account: a.ID, Gen: gen, Epoch: epoch, Node: "n", Now: at, LeaseUntil: at.Add(time.Minute)})
		}
		end := func(gen, epoch int64, to credentials.State) error {
			return s.EndRefresh(t.Context(), credentials.End{
				Account: a.ID, Gen: gen, Epoch: epoch, To: to, Now: at, NextAt: at.Add(time.Hour), Fails: 1, LastError: "e",
				Reason: "why", Notice: &credentials.Notice{Kind: "k", Severity: "alarm", Account: a.ID, Text: "t"},
			})
		}
		if _, err := begin(2, 0); !errors.Is(err, credentials.ErrStale) {
			t.Errorf("beginning for another generation: %v", err)
		}
		epoch, err := begin(1, 0)
		if err != nil || epoch != 1 {
			t.Fatalf("epoch %d, %v", epoch, err)
		}
		for _, e := range []int64{0, 1} {
			if _, err := begin(1, e); !errors.Is(err, credentials.ErrStale) {
				t.Errorf("a second refresh with epoch %d: %v", e, err)
			}
		}
		rows, err := s.RefreshingGrants(t.Context(), "n")
		if err != nil || len(rows) != 1 || rows[0].Owner != "n" || !rows[0].LeaseUntil.Equal(at.Add(time.Minute)) || !rows[0].Started.Equal(at) {
			t.Errorf("refreshing rows: %+v, %v", rows, err)
		}
		if rows, err := s.RefreshingGrants(t.Context(), "other"); err != nil || len(rows) != 0 {
			t.Errorf("refreshing rows of another node: %v, %v", rows, err)
		}
		if err := end(1, 1, credentials.RefreshUnknown); err != nil {
			t.Fatal(err)
		}
		if epoch, err = begin(1, 1); err != nil || epoch != 2 {
			t.Fatalf("epoch %d, %v", epoch, err)
		}
		before := d.Text(`SELECT state || next_at || fail_count || last_error FROM grant_row WHERE account_id = $1`, int64(a.ID))
		for _, c := range [][2]int64{{1, 1}, {1, 3}, {0, 2}, {2, 2}} {
			if err := end(c[0], c[1], credentials.NeedsReconnect); !errors.Is(err, credentials.ErrStale) {
				t.Errorf("the end of generation %d, epoch %d: %v", c[0], c[1], err)
			}
		}
		if after := d.Text(`SELECT state || next_at || fail_count || last_error FROM grant_row WHERE account_id = $1`, int64(a.ID)); after != before {
			t.Errorf("the row was changed: %q, was %q", after, before)
		}
		if got := d.Text(`SELECT COUNT(*) FROM outbox`); got != "1" || status(d, a) != "connected 1" {
			t.Errorf("%s notices, account %q", got, status(d, a))
		}
		if err := end(1, 2, credentials.NeedsReconnect); err != nil {
			t.Fatal(err)
		}
		if got := d.Text(`SELECT a.status || '|' || a.status_reason || '|' || o.kind || '|' || (o.workspace_id = a.workspace_id) FROM account a, outbox o
			WHERE o.account_id = a.id AND a.id = $1 ORDER BY o.id DESC LIMIT 1`, int64(a.ID)); got != "needs_reconnect|why|k|1" && got != "needs_reconnect|why|k|true" {
			t.Errorf("account and notice: %q", got)
		}
		if err := end(1, 2, credentials.Connected); !errors.Is(err, credentials.ErrStale) {
			t.Errorf("a second end: %v", err)
		}
	})

	t.Run("a late grant heals", func(t *testing.T) {
		s := open(t)
		d := Seed(t, s)
		w := d.Workspace()
		a := d.Account(w.ID)
		v := d.Delivery(d.Post(w.ID, at), a)
		if err := s.SaveGrant(t.Context(), save(a, 1, "sealed-1")); err != nil {
			t.Fatal(err)
		}
		d.Exec(`UPDATE grant_row SET state = 'needs_reconnect', next_at = 0`)
		d.Exec(`UPDATE account SET status = 'needs_reconnect', status_reason = 'r'`)
		d.Exec(`UPDATE delivery SET state = 'blocked', next_at = 0`)
		late := save(a, 2, "sealed-2")
		late.Login = false
		if err := s.SaveGrant(t.Context(), late); err != nil {
			t.Fatal(err)
		}
		if got := status(d, a); got != "connected 2" {
			t.Errorf("account: %q", got)
		}
		if got := d.Text(`SELECT state || ' ' || (next_at > 0) FROM delivery WHERE id = $1`, int64(v.ID)); got != "scheduled 1" && got != "scheduled true" {
			t.Errorf("its delivery: %q", got)
		}
		// An account that somebody disabled is not connected by a refresh, but by a login.
		d.Exec(`UPDATE account SET status = 'disabled'`)
		late.Gen = 3
		if err := s.SaveGrant(t.Context(), late); err != nil || status(d, a) != "disabled 3" {
			t.Errorf("after a refresh: %q, %v", status(d, a), err)
		}
		if err := s.SaveGrant(t.Context(), save(a, 4, "x")); err != nil || status(d, a) != "connected 4" {
			t.Errorf("after a login: %q, %v", status(d, a), err)
		}
	})

	t.Run("destroyed", func(t *testing.T) {
		s := open(t)
		d := Seed(t, s)
		w := d.Workspace()
		a, b, c := d.Account(w.ID), d.Account(w.ID), d.Account(w.ID)
		for _, x := range []social.Account{a, b, c} {
			if err := s.SaveGrant(t.Context(), save(x, 1, "sealed-1")); err != nil {
				t.Fatal(err)
			}
			v := save(x, 2, "sealed-2")
			v.Login, v.KeepPrevious = false, at.Add(time.Hour)
			if err := s.SaveGrant(t.Context(), v); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.DestroyGrant(t.Context(), a.ID, at); err != nil {
			t.Fatal(err)
		}
		row := func(x social.Account) string {
			return d.Text(`SELECT state FROM grant_row WHERE account_id = $1`, int64(x.ID)) +
				" " + d.Text(`SELECT COALESCE(sealed, $2) FROM grant_row WHERE account_id = $1`, int64(x.ID), []byte("-")) +
				" " + d.Text(`SELECT COALESCE(prev_sealed, $2) FROM grant_row WHERE account_id = $1`, int64(x.ID), []byte("-")) +
				" " + d.Text(`SELECT next_at || ' ' || key_id FROM grant_row WHERE account_id = $1`, int64(x.ID))
		}
		if got := row(a); got != "removed - - 0 " || status(d, a) != "needs_reconnect 2" {
			t.Errorf("destroyed: %q, account %q", got, status(d, a))
		}
		late := save(a, 3, "late")
		late.Login = false
		if err := s.SaveGrant(t.Context(), late); !errors.Is(err, credentials.ErrStale) {
			t.Errorf("a refresh that ended after it: %v", err)
		}
		if err := s.SaveGrant(t.Context(), save(a, 3, "again")); err != nil || status(d, a) != "connected 3" {
			t.Errorf("a new login: %v, %q", err, status(d, a))
		}
		d.Exec(`UPDATE account SET status = 'removed' WHERE id = $1`, int64(b.ID))
		if err := s.SaveGrant(t.Context(), save(b, 3, "x")); !errors.Is(err, credentials.ErrStale) {
			t.Errorf("a login for a removed account: %v", err)
		}
		if err := s.SweepGrants(t.Context(), at.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if got := row(b); got != "removed - - 0 " || status(d, b) != "removed 2" {
			t.Errorf("of a removed account: %q, account %q", got, status(d, b))
		}
		if got := row(c); !strings.HasPrefix(got, "connected sealed-2 - ") {
			t.Errorf("the former generation after its time: %q", got)
		}
	})

	t.Run("what is due", func(t *testing.T) {
		s := open(t)
		d := Seed(t, s)
		w := d.Workspace()
		var want []social.ID
		for i := range 5 {
			a := d.Account(w.ID)
			v := save(a, 1, "x")
			v.NextAt = at.Add(time.Duration(-i) * time.Minute)
			if i == 4 {
				v.NextAt = time.Time{}
			}
			if err := s.SaveGrant(t.Context(), v); err != nil {
				t.Fatal(err)
			}
			if i > 0 && i < 4 {
				want = append([]social.ID{a.ID}, want...)
			}
		}
		got, err := s.GrantsDue(t.Context(), at.Add(-time.Second), 10)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("due (-want +got):\n%s", diff)
		}
		if got, err := s.GrantsDue(t.Context(), at, 2); err != nil || len(got) != 2 {
			t.Errorf("limited: %v, %v", got, err)
		}
	})

	t.Run("meta", func(t *testing.T) {
		s := open(t)
		for _, want := range []string{"", "one", "two"} {
			if want != "" {
				if err := s.SetMeta(t.Context(), "k", want); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := s.Meta(t.Context(), "k"); err != nil || got != want {
				t.Errorf("meta %q, %v; want %q", got, err, want)
			}
		}
	})
}
