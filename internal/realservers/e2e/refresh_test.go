//go:build real

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"smi/internal/realservers"
)

// TestRealRefresh cuts the answer to a token refresh. The PDS has then used up
// the old refresh token, and smi does not know the new one: the account must
// still work, or people must have been told that and why it does not.
func TestRealRefresh(t *testing.T) {
	t.Parallel()
	n := realservers.Start(t, realservers.Options{Accounts: []string{"alice"}, TokenLife: 90 * time.Second})
	alice := n.Account("alice")
	d := install(t, n)
	d.start()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	d.connectOAuth(ctx, alice, "")
	name := "bluesky/" + alice.Handle

	const refresh = "POST /oauth/token"
	before := n.Wire.Requests(refresh)
	await(ctx, t, 3*time.Minute, "a refresh by itself", func(context.Context) error {
		if n.Wire.Requests(refresh) == before {
			return fmt.Errorf("no token was asked for")
		}
		return nil
	})
	if out := d.run("accounts", "check", name); strings.Contains(string(out), "reconnect") {
		t.Fatalf("after an ordinary refresh: %s", out)
	}

	trap := n.Wire.Trap(refresh, realservers.Cut(0))
	select {
	case <-trap.Sprung():
	case <-time.After(3 * time.Minute):
		t.Fatal("no refresh came")
	}
	// The connection is closed when the answer comes: the next request of any
	// kind shows that smi has noticed.
	await(ctx, t, time.Minute, "the lost answer to be noticed", func(ctx context.Context) error {
		var notices struct{ Notices []notice }
		if err := d.get(ctx, "/notices", &notices); err != nil {
			return err
		}
		if len(notices.Notices) == 0 {
			return fmt.Errorf("nobody was told anything")
		}
		return nil
	})
	if err := trap.Release(ctx); err != nil {
		t.Fatal(err)
	}
	// This post's time comes when the login is gone.
	text := "planned before, published after connecting again"
	id := d.plan(alice, time.Now().Add(4*time.Minute).Truncate(time.Second), "--text", text)

	// Either it lives on, past the life of the token it had …
	var acc account
	await(ctx, t, 6*time.Minute, "the account to be alive or given up", func(ctx context.Context) error {
		if err := d.get(ctx, "/accounts/"+strings.ReplaceAll(name, "/", "%2F"), &acc); err != nil {
			return err
		}
		if acc.Status == "connected" {
			return fmt.Errorf("it is still %s", acc.Status)
		}
		return nil
	})
	// … or people were told why, in the account's state and by a notice.
	if acc.Status != "needs_reconnect" || !strings.Contains(acc.Reason, "lost") || !strings.Contains(acc.Reason, "Connect the account again") {
		t.Errorf("the account is %s because %q; want the lost answer named, and the cure", acc.Status, acc.Reason)
	}
	var notices struct{ Notices []notice }
	if err := d.get(ctx, "/notices", &notices); err != nil {
		t.Fatal(err)
	}
	told := false
	for _, n := range notices.Notices {
		t.Logf("notice: %s", n.Text)
		told = told || strings.Contains(n.Text, "must be connected again")
	}
	if !told {
		t.Errorf("no notice says that the account must be connected again")
	}

	// The post that waits is not lost: it goes out when the person has signed in.
	d.until(ctx, id, 5*time.Minute, "blocked")
	if c := d.connectOAuth(ctx, alice, name); c.Freed != 1 {
		t.Errorf("connecting again freed %d posts, want 1", c.Freed)
	}
	d.until(ctx, id, 5*time.Minute, "published")
	if posts, err := n.PostsWith(ctx, alice.DID, text); err != nil || len(posts) != 1 {
		t.Errorf("the server has %d posts (%v), want one", len(posts), err)
	}
	d.run("accounts", "check", name)
}

type notice struct{ Kind, Text string }
