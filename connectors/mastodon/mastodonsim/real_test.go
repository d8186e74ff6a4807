//go:build real

package mastodonsim_test

import (
	"context"
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"smi/connectors/internal/simkit"
	"smi/connectors/mastodon/mastodonsim"
	"smi/internal/pgtest"
	"smi/internal/realservers"
)

// The clients that drive the simulator were written by others, for real servers.
var (
	//go:embed clients/package.json
	packageJSON []byte
	//go:embed clients/package-lock.json
	packageLock []byte
	//go:embed clients/masto.mjs
	mastoJS []byte
	//go:embed clients/client.py
	clientPy []byte
)

// TestRealClientMasto drives the simulator by masto, the client for JavaScript.
func TestRealClientMasto(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	dir, err := realservers.InstallNPM(ctx, t.Logf, "smi-mastodon-clients", packageJSON, packageLock, map[string][]byte{"masto.mjs": mastoJS})
	if err != nil {
		t.Fatal(err)
	}
	drive(t, dir, "node", "masto.mjs")
}

// pythonMastodon is Debian's package of the client for Python. It is for
// Debian's own Python.
var pythonMastodon = pgtest.Package{Name: "python3-mastodon", Installed: func() bool {
	_, err := os.Stat("/usr/lib/python3/dist-packages/mastodon/__init__.py")
	return err == nil
}}

// TestRealClientPython drives the simulator by python3-mastodon.
func TestRealClientPython(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := pgtest.Install(ctx, t.Logf, pythonMastodon); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "client.py"), clientPy, 0o644); err != nil {
		t.Fatal(err)
	}
	drive(t, dir, "/usr/bin/python3", "client.py")
}

// drive runs a client's script in front of a server of its own and compares what
// it did with the truth.
func drive(t *testing.T, dir, program, script string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	sim := mastodonsim.New(mastodonsim.Options{MediaPolls: 2})
	id := sim.AddAccount(mastodonsim.Account{Username: "alice", DisplayName: "Alice"})
	srv := simkit.ServePlain(t, sim)
	cmd := exec.CommandContext(ctx, program, script, srv.URL)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", script, err, out)
	}
	posts := sim.Posts(id)
	if made, gone := sim.Kit.Journal.Count("create"), sim.Kit.Journal.Count("delete"); made != 6 || gone != 1 || len(posts) != 5 {
		t.Fatalf("%s made %d posts and deleted %d", script, made, gone)
	}
	first, answer := posts[0], posts[1]
	if first.Spoiler != "cats" || first.Visibility != "unlisted" || len(first.Media) != 1 || first.Media[0].Alt != "a cat" || first.Media[0].Focus == "" {
		t.Errorf("the first post is %+v", first)
	}
	if answer.Parent != first.ID || len(answer.Media) != 1 || answer.Media[0].Type != "video" {
		t.Errorf("the answer is %+v", answer)
	}
}
