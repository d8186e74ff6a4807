package credentials_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"smi/connectors"
	"smi/internal/credentials"
	"smi/internal/keyring"
	"smi/internal/social"
)

const canary = "SMICANARY"

// TestNoSecretIsSeen lets everything go wrong with logins that hold a canary,
// and looks for it wherever something could be printed or stored.
func TestNoSecretIsSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		net := newNetwork(r)
		m := &mortal{Store: r.store}
		var told sync.Map
		n := r.node("a", func(c *credentials.Config) { c.Store = m; c.Secrets = func(v string) { told.Store(v, true) } })
		a := r.account(n, net.login())
		c := n.For(a, net)
		var seen bytes.Buffer
		log := slog.New(slog.NewJSONHandler(&seen, nil))
		look := func(what string, v any) {
			t.Helper()
			fmt.Fprintf(&seen, "%s: %v %+v %#v %s %q\n", what, v, v, v, v, v)
			fmt.Fprintf(&seen, "%+v\n", struct{ hidden any }{v})
			log.Info(what, "v", v, "in", map[string]any{"v": v})
			if b, err := json.Marshal(v); err == nil {
				seen.Write(b)
			}
		}
		for f := fine; f <= denied; f++ {
			net.then(f)
			g, err := c.Renew(t.Context(), r.row(a).Gen)
			look("error", err)
			if e, ok := err.(*connectors.Error); ok && e.Err != nil {
				look("cause", e.Err)
			}
			look("grant", g)
			look("row", r.row(a))
			look("service", n)
			look("lent", c)
			sleep(time.Hour)
			if err := n.Connect(t.Context(), a, net.login()); err != nil {
				t.Fatal(err)
			}
		}
		m.set("save", func() error { return errDisk }, nil)
		if _, err := c.Renew(t.Context(), r.row(a).Gen); err != nil {
			t.Fatal(err)
		}
		look("service that holds an unsaved grant", n)
		m.set("", nil, nil)
		sleep(2 * time.Minute)
		if err := n.Connect(t.Context(), a, connectors.Grant{Refresh: social.NewSecret(canary)}); err == nil {
			t.Error("a grant without an access token was stored")
		} else {
			look("error", err)
		}
		r.close(n)
		seen.Write(r.log.Bytes())
		if seen.Len() < 10000 || r.log.Len() == 0 {
			t.Fatalf("only %d bytes were looked at, %d of them logged", seen.Len(), r.log.Len())
		}
		if i := bytes.Index(seen.Bytes(), []byte(canary)); i >= 0 {
			t.Errorf("a secret was printed: …%s…", seen.Bytes()[max(0, i-300):min(seen.Len(), i+60)])
		}
		if _, ok := told.Load(canary + "-dpop"); !ok {
			t.Error("the log's cleaner was not told about the secrets")
		}
		files, err := filepath.Glob(r.path + "*")
		if err != nil || len(files) < 2 {
			t.Fatalf("database files %v, %v; want one with its WAL", files, err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(b, []byte(canary)) {
				t.Errorf("%s holds a secret", f)
			}
			if strings.HasSuffix(f, "-wal") && len(b) == 0 {
				t.Error("the WAL is empty; nothing was looked at")
			}
		}
	})
}

// TestSealedRowsCannotBeMoved: a login opens only in its own row, generation and
// installation, and with its own key.
func TestSealedRowsCannotBeMoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		net, n := newNetwork(r), r.node("a")
		a, b := r.account(n, net.login()), r.account(n, net.login())
		if _, err := n.For(a, net).Renew(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		opens := func(what string, s *credentials.Service, account social.ID, want bool) {
			t.Helper()
			g, err := s.For(account, net).Grant(t.Context())
			if want != (err == nil) {
				t.Errorf("%s: generation %d, %v", what, g.Gen, err)
			}
			if !want {
				if connectors.KindOf(err) != connectors.Permanent || !g.Access.Empty() {
					t.Errorf("%s: %v", what, err)
				}
				wantText(t, what, err.Error(), "the stored login of team", "cannot be opened; put the key back that it was sealed with, or connect the account again")
			}
		}
		opens("as it is", n, a, true)
		opens("another installation", r.node("a", func(c *credentials.Config) { c.Instance = "instance-2" }), a, false)
		wrong, err := keyring.Init(filepath.Join(t.TempDir(), "other"), "")
		if err != nil {
			t.Fatal(err)
		}
		opens("another key", r.node("a", func(c *credentials.Config) { c.Keyring = wrong }), a, false)
		swap := `UPDATE grant_row SET sealed = (SELECT o.sealed FROM grant_row o WHERE o.account_id <> grant_row.account_id)`
		r.seeds.Exec(swap)
		opens("rows swapped", n, a, false)
		r.seeds.Exec(swap) // SQLite reads what it has changed: both hold one now
		r.seeds.Exec(`UPDATE grant_row SET sealed = prev_sealed WHERE account_id = $1`, int64(a))
		opens("the former generation put back", n, a, false)
		r.seeds.Exec(`UPDATE grant_row SET gen = 1 WHERE account_id = $1`, int64(a))
		opens("the former generation with its number", n, a, true)
		r.seeds.Exec(`UPDATE grant_row SET sealed = $1 WHERE account_id = $2`, []byte("x"), int64(b))
		opens("garbage", n, b, false)
		r.close(n)
	})
}

// TestRemoveDestroys: not even the sealed bytes are left in the files.
func TestRemoveDestroys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		net, n := newNetwork(r), r.node("a")
		a := r.account(n, net.login())
		if _, err := n.For(a, net).Renew(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		var sealed [2][]byte
		if err := r.store.WriterDB().QueryRowContext(t.Context(), `SELECT sealed, prev_sealed FROM grant_row WHERE account_id = $1`, int64(a)).Scan(&sealed[0], &sealed[1]); err != nil {
			t.Fatal(err)
		}
		inFiles := func() (n int) {
			r.seeds.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`)
			files, err := filepath.Glob(r.path + "*")
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range sealed {
					n += bytes.Count(b, s[len(s)-24:])
				}
			}
			return n
		}
		if inFiles() < 2 {
			t.Fatal("the sealed bytes are not where this test looks for them")
		}
		if err := n.Remove(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if left := inFiles(); left != 0 {
			t.Errorf("the sealed bytes are left %d times", left)
		}
		if _, err := n.For(a, net).Grant(t.Context()); connectors.KindOf(err) != connectors.AuthExpired {
			t.Errorf("Grant after it: %v", err)
		}
		wantText(t, "account", r.status(a), "needs_reconnect 2: Its login was deleted")
		if due, err := n.Due(t.Context()); err != nil || len(due) != 0 {
			t.Errorf("due %v, %v", due, err)
		}
		if err := n.Connect(t.Context(), a, net.login()); err != nil {
			t.Fatal(err)
		}
		if g := mustGrant(t, n.For(a, net)); g.Gen != 3 {
			t.Errorf("generation %d after a new login", g.Gen)
		}
		r.close(n)
	})
}

func TestNewRefusesGaps(t *testing.T) {
	t.Parallel()
	if _, err := credentials.New(credentials.Config{}); err == nil {
		t.Error("a Service without anything")
	}
}
