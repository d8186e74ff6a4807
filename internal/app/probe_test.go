package app_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/internal/app"
	"smi/internal/social"
)

// TestProbes: a login is tried a day and an hour before a post, at most once an
// hour however many posts there are, and people hear at once if it is dead.
func TestProbes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acc := w.join("team.example")
	w.join("idle.example") // nothing is planned for it
	tries, fails := 0, error(nil)
	run := func() int {
		t.Helper()
		tries = 0
		p := app.Prober{Rows: w.store, Now: w.clock, Log: slog.New(slog.DiscardHandler), Clients: func(_ context.Context, a social.Account) (*connectors.Client, error) {
			tries++
			if a.Handle != "team.example" {
				t.Errorf("%s is tried", a.Handle)
			}
			if fails != nil {
				return nil, fails
			}
			return connectors.Open(w.net, a, w.creds.For(a.ID, w.net))
		}}
		check(t, p.Run(t.Context()))
		return tries
	}
	told := func() string {
		t.Helper()
		out, err := w.store.Unsent(t.Context(), 100)
		check(t, err)
		var kinds []string
		for _, n := range out {
			kinds = append(kinds, n.Severity+" "+n.Kind)
		}
		return strings.Join(kinds, ", ")
	}
	wants := func(when string, n int, notices string) {
		t.Helper()
		if got := run(); got != n {
			t.Errorf("%s: tried %d times, want %d", when, got, n)
		}
		if got := told(); got != notices {
			t.Errorf("%s: told %q, want %q", when, got, notices)
		}
	}
	wants("nothing planned", 0, "")
	for i := range 3 { // at 08:00, 08:10 and 08:20 UTC in two days
		_, err := w.text(fmt.Sprintf("2026-11-25 09:%d0", i), fmt.Sprintf("post %d", i), "team.example")
		check(t, err)
	}
	wants("two days before", 0, "")
	w.advance(24 * time.Hour)
	wants("a day before", 1, "")
	wants("at once again", 0, "")
	w.advance(30 * time.Minute) // the second and third came within the day, too
	wants("within the hour", 0, "")
	w.advance(30 * time.Minute)
	wants("an hour later, for the others", 1, "")
	w.advance(2 * time.Hour)
	wants("nothing is due", 0, "")

	// An hour before it is dead: an alarm at once, and one is enough.
	w.advance(20 * time.Hour)
	fails = &connectors.Error{Kind: connectors.Permission, Text: "the app password was deleted"}
	wants("dead", 1, "alarm account_login_dead")
	out, err := w.store.Unsent(t.Context(), 1)
	check(t, err)
	for _, want := range []string{"the app password was deleted. 3 posts are planned for it within a day, the first for 08:00 UTC on 25 November", "smi accounts reconnect " + acc.Name} {
		if !strings.Contains(out[0].Text, want) || out[0].Account != acc.ID {
			t.Errorf("%+v lacks %q", out[0], want)
		}
	}
	w.advance(61 * time.Minute) // the post at 08:00 has passed
	_, err = w.text("2026-11-25 10:30", "another", "team.example")
	check(t, err)
	wants("still dead", 1, "alarm account_login_dead")
	w.advance(time.Hour)
	_, err = w.text("2026-11-25 11:30", "one more", "team.example")
	check(t, err)
	fails = nil
	wants("repaired", 1, "alarm account_login_dead, info account_fine_again")

	// A network that does not answer is no dead login; an hour before it is said.
	fails = &connectors.Error{Kind: connectors.Transient, Text: "no answer came"}
	w.advance(time.Hour)
	_, err = w.text("2026-11-26 10:59", "tomorrow", "team.example")
	check(t, err)
	wants("no answer, a day before", 1, "alarm account_login_dead, info account_fine_again, warning account_not_reached")
}

// TestProbesAreShared: of two nodes one tries.
func TestProbesAreShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acc := w.join("team.example")
	for i, want := range []bool{true, false} {
		if got, err := w.store.BeginProbe(t.Context(), acc.ID, w.clock()); err != nil || got != want {
			t.Errorf("node %d: %t, %v", i+1, got, err)
		}
	}
}

// served is a network whose servers say what they take.
type served struct{ connectors.Platform }

func (s served) Dial(a social.Account, c connectors.Credentials) (connectors.Conn, error) {
	conn, err := s.Platform.Dial(a, c)
	return servedConn{conn}, err
}

type servedConn struct{ connectors.Conn }

func (c servedConn) Identity(ctx context.Context) (social.Profile, error) {
	p, err := c.Conn.Identity(ctx)
	p.Server = []byte(`{"max":500}`)
	return p, err
}

// TestProbesKeepTheServer: what an account's server says of itself when the login
// is tried is kept with the account.
func TestProbesKeepTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acc := w.join("team.example")
	_, err := w.text("2026-11-23 11:00", "soon", "team.example")
	check(t, err)
	p := app.Prober{Rows: w.store, Now: w.clock, Log: slog.New(slog.DiscardHandler), Clients: func(_ context.Context, a social.Account) (*connectors.Client, error) {
		return connectors.Open(served{w.net}, a, w.creds.For(a.ID, w.net))
	}}
	check(t, p.Run(t.Context()))
	got, err := w.store.Account(t.Context(), w.owner.Workspace, acc.ID)
	check(t, err)
	if string(got.Server) != `{"max":500}` || got.Handle != "team.example" {
		t.Errorf("the account is %+v", got)
	}
}
