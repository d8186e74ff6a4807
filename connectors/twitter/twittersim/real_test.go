//go:build real

package twittersim_test

import (
	"context"
	_ "embed"
	"net"
	"os/exec"
	"testing"
	"time"

	"smi/connectors/internal/simkit"
	"smi/connectors/twitter/twittersim"
	"smi/internal/realservers"
)

// The client that drives the simulator was written by others, for the real
// network.
var (
	//go:embed clients/package.json
	packageJSON []byte
	//go:embed clients/package-lock.json
	packageLock []byte
	//go:embed clients/x.mjs
	clientJS []byte
)

// TestRealClientTwitterAPI drives the simulator by twitter-api-v2, the client
// for JavaScript, and compares what it did with the truth.
func TestRealClientTwitterAPI(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	dir, err := realservers.InstallNPM(ctx, t.Logf, "smi-x-clients", packageJSON, packageLock, map[string][]byte{"x.mjs": clientJS})
	if err != nil {
		t.Fatal(err)
	}
	app := twittersim.App{ClientID: "client", ClientSecret: "client-secret", ConsumerKey: "consumer-key", ConsumerSecret: "consumer/secret"}
	sim := twittersim.New(app, twittersim.Options{MediaPolls: 2})
	id := sim.AddAccount(twittersim.Account{Username: "alice", Name: "Alice"})
	token, secret := sim.AddKeys(id)
	srv := simkit.Serve(t, sim)
	_, port, err := net.SplitHostPort(srv.Addr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "node", "x.mjs", port, app.ClientID, app.ClientSecret, app.ConsumerKey, app.ConsumerSecret, token, secret)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("x.mjs: %v\n%s", err, out)
	}
	posts := sim.Posts(id)
	if made, gone := sim.Kit.Journal.Count("create"), sim.Kit.Journal.Count("delete"); made != 8 || gone != 2 || len(posts) != 6 {
		t.Fatalf("%d posts were made, %d deleted, and %d are there", made, gone, len(posts))
	}
	first, film := posts[0], posts[1]
	if len(first.Media) != 1 || first.Alt[0] != "a cat" || first.Replies != "following" {
		t.Errorf("the first post is %+v", first)
	}
	if film.Parent != first.ID || len(film.Media) != 1 || len(sim.Pieces(film.Media[0])) != 3 {
		t.Errorf("the answer is %+v", film)
	}
	if posts[3].Parent != posts[2].ID || posts[4].Parent != posts[3].ID {
		t.Errorf("the thread is %+v", posts[2:5])
	}
	if sim.Reused() != 1 {
		t.Errorf("%d refresh tokens were used twice", sim.Reused())
	}
}
