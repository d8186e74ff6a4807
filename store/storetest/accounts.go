package storetest

import (
	"encoding/json"
	"testing"

	"smi/internal/social"
)

// accounts tests what is done to accounts. Those of other workspaces are nothing.
func accounts(t *testing.T, open Opener) {
	t.Parallel()
	ctx := t.Context()
	s := open(t)
	seed := Seed(t, s)

	ws, err := s.EnsureWorkspace(ctx, "Main", "Europe/Berlin")
	fatal(t, err)
	again, err := s.EnsureWorkspace(ctx, "Main", "UTC")
	fatal(t, err)
	if again.ID != ws.ID || again.Zone != "UTC" {
		t.Errorf("ensuring a workspace twice gave %+v and %+v", ws, again)
	}
	other, err := s.EnsureWorkspace(ctx, "Other", "UTC")
	fatal(t, err)
	if all, err := s.Workspaces(ctx); err != nil || len(all) != 2 {
		t.Errorf("workspaces: %+v, %v", all, err)
	}

	login := social.Account{WorkspaceID: ws.ID, Network: "fake", RemoteID: "r1", Handle: "alice", DayZone: "UTC"}
	a, err := s.ConnectAccount(ctx, login, 0, "cli:tester")
	fatal(t, err)
	if a.Status != social.AccountNeedsReconnect {
		t.Errorf("an account without a stored login is %s", a.Status)
	}
	if _, err := s.MarkConnected(ctx, ws.ID, a.ID); err != nil {
		t.Error(err)
	}

	// The same account again is the same row, with what the network says now.
	login.Handle = "alice2"
	b, err := s.ConnectAccount(ctx, login, a.ID, "cli:tester")
	fatal(t, err)
	if b.ID != a.ID || b.Handle != "alice2" || b.Status != social.AccountConnected {
		t.Errorf("reconnected: %+v", b)
	}
	// What its server takes is kept until something else is said of it.
	fatal(t, s.UpdateProfile(ctx, ws.ID, a.ID, social.Profile{Handle: "alice2", Server: json.RawMessage(`{"max":500}`)}))
	fatal(t, s.UpdateProfile(ctx, ws.ID, a.ID, social.Profile{Handle: "alice2", Name: "Alice"}))
	if _, err = s.ConnectAccount(ctx, login, a.ID, "cli:tester"); err != nil {
		t.Error(err)
	}
	if got, err := s.Account(ctx, ws.ID, a.ID); err != nil || string(got.Server) != `{"max":500}` {
		t.Errorf("the account's server is %s, %v", got.Server, err)
	}
	login.Server = json.RawMessage(`{"max":5000}`)
	if got, err := s.ConnectAccount(ctx, login, a.ID, "cli:tester"); err != nil || string(got.Server) != `{"max":5000}` {
		t.Errorf("after a new login the account's server is %s, %v", got.Server, err)
	}
	// Another one in its place is refused, and nothing is stored.
	login.RemoteID, login.Handle = "r2", "bob"
	_, err = s.ConnectAccount(ctx, login, a.ID, "cli:tester")
	code(t, err, social.CodeConflict)
	if all, err := s.Accounts(ctx, ws.ID, true); err != nil || len(all) != 1 {
		t.Errorf("accounts after a refusal: %+v, %v", all, err)
	}

	// In another workspace the same remote account is another row, and the first
	// cannot be reached.
	foreign := social.Account{WorkspaceID: other.ID, Network: "fake", RemoteID: "r1", Handle: "alice", DayZone: "UTC"}
	c, err := s.ConnectAccount(ctx, foreign, 0, "cli:tester")
	fatal(t, err)
	if c.ID == a.ID {
		t.Error("two workspaces share a row")
	}
	_, err = s.Account(ctx, other.ID, a.ID)
	code(t, err, social.CodeNotFound)
	_, err = s.ConnectAccount(ctx, foreign, a.ID, "cli:tester")
	code(t, err, social.CodeNotFound)
	_, err = s.MarkConnected(ctx, other.ID, a.ID)
	code(t, err, social.CodeNotFound)
	_, err = s.RemoveAccount(ctx, other.ID, a.ID, true, "cli:tester")
	code(t, err, social.CodeNotFound)
	fatal(t, s.SetAccountStatus(ctx, other.ID, a.ID, social.AccountDisabled, "a stranger", "cli:tester"))
	fatal(t, s.UpdateProfile(ctx, other.ID, a.ID, social.Profile{Handle: "stolen"}))
	if got, err := s.Account(ctx, ws.ID, a.ID); err != nil || got.Status != social.AccountConnected || got.Handle != "alice2" {
		t.Errorf("a stranger changed the account: %+v, %v", got, err)
	}

	// Reconnecting frees what was blocked, and only that.
	post := seed.Post(ws.ID, timeZero.AddDate(0, 0, 2))
	blocked := seed.Delivery(post, b)
	seed.Exec(`UPDATE delivery SET state = 'blocked', next_at = 0, epoch = 7 WHERE id = $1`, int64(blocked.ID))
	if n, err := s.MarkConnected(ctx, ws.ID, a.ID); err != nil || n != 1 {
		t.Errorf("freed %d, %v", n, err)
	}
	if got := seed.Text(`SELECT state || ' ' || (next_at > 0) || ' ' || (epoch > 7) FROM delivery WHERE id = $1`, int64(blocked.ID)); got != "scheduled 1 1" && got != "scheduled true true" {
		t.Errorf("a freed delivery is %s", got)
	}

	// Removing asks first, never while something is on the wire, and cancels.
	_, err = s.RemoveAccount(ctx, ws.ID, a.ID, false, "cli:tester")
	code(t, err, social.CodeConflict)
	if n, err := s.WaitingDeliveries(ctx, ws.ID, a.ID); err != nil || n != 1 {
		t.Errorf("waiting: %d, %v", n, err)
	}
	for _, state := range []string{"armed", "ambiguous", "needs_human"} {
		seed.Exec(`UPDATE delivery SET state = $1 WHERE id = $2`, state, int64(blocked.ID))
		_, err = s.RemoveAccount(ctx, ws.ID, a.ID, true, "cli:tester")
		code(t, err, social.CodeConflict)
	}
	seed.Exec(`UPDATE delivery SET state = 'ready' WHERE id = $1`, int64(blocked.ID))
	if n, err := s.RemoveAccount(ctx, ws.ID, a.ID, true, "cli:tester"); err != nil || n != 1 {
		t.Errorf("removed with %d cancelled, %v", n, err)
	}
	if got := seed.Text(`SELECT state FROM delivery WHERE id = $1`, int64(blocked.ID)); got != "cancelled" {
		t.Errorf("its delivery is %s", got)
	}
	if all, err := s.AllAccounts(ctx); err != nil || len(all) != 1 || all[0].ID != c.ID {
		t.Errorf("accounts left: %+v, %v", all, err)
	}
	// Every change of people left its line.
	for _, action := range []string{"account.add", "account.reconnect", "account.remove"} {
		if seed.Text(`SELECT count(*) FROM audit WHERE actor = 'cli:tester' AND action = $1`, action) == "0" {
			t.Errorf("the audit log has no %s", action)
		}
	}
	if n := seed.Text(`SELECT count(DISTINCT action) FROM audit WHERE actor = 'cli:tester'`); n != "3" {
		t.Errorf("the audit log has %s kinds of changes, want 3", n)
	}
}
