//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to look into the database of a daemon that has ended

	"smi/connectors/bluesky/blueskysim"
)

// TestSecondDaemon starts a daemon on a data directory that another one uses.
// It refuses, says who has the directory, and the first one works on.
func TestSecondDaemon(t *testing.T) {
	t.Parallel()
	n := startNetwork(t, 2)
	in := install(t, n)
	in.start("")
	in.connect()
	all := in.wishes(4, "2s")
	in.plan(all)
	// With a socket of its own, so that it is the directory that it trips over.
	b, err := os.ReadFile(in.config)
	if err != nil {
		t.Fatal(err)
	}
	in.write("second.yaml", string(b)+fmt.Sprintf("api: {socket: %q}\n", filepath.Join(in.dir, "second.sock")))
	for name, config := range map[string]string{"the same configuration": in.config, "another socket": filepath.Join(in.dir, "second.yaml")} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, binary, "--config", config, "serve", "--for", "10s")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		err := cmd.Run()
		if code := cmd.ProcessState.ExitCode(); err == nil || code != 7 {
			t.Errorf("%s: a second daemon ended with code %d (%v), want 7", name, code, err)
		}
		said := stderr.String()
		for _, want := range []string{"in use by another smi", fmt.Sprintf("pid %d", in.life.cmd.Process.Pid), "stop that one first"} {
			if !strings.Contains(said, want) {
				t.Errorf("%s: a second daemon said %q, want %q in it", name, said, want)
			}
		}
	}
	in.rest(time.Minute)
	for _, f := range in.judge(all).findings {
		t.Error(f)
	}
	in.stop()
}

// TestStopInTheMiddle tells a daemon to stop while posts are on the wire. It
// finishes those, begins no other, and leaves nothing in doubt; the next start
// does the rest.
func TestStopInTheMiddle(t *testing.T) {
	t.Parallel()
	n := startNetwork(t, 8)
	in := install(t, n)
	in.start("")
	in.connect()
	n.parks(400 * time.Millisecond) // each first write takes that long
	all := in.wishes(32, "2s")
	if !in.plan(all) {
		t.Fatal("the daemon went away")
	}
	until(t, 30*time.Second, "the burst", func() (bool, string) {
		_, parked := n.happened()
		return parked >= 12, fmt.Sprintf("%d writes so far", parked)
	})
	took := in.stop()
	_, sent := n.happened()
	if n := in.count(`SELECT count(*) FROM attempt WHERE state IN ('armed','ambiguous')`); n != 0 {
		t.Errorf("%d attempts were left in doubt by a daemon that was told to stop", n)
	}
	if n := in.count(`SELECT count(*) FROM delivery WHERE state IN ('armed','ambiguous')`); n != 0 {
		t.Errorf("%d posts were left in doubt by a daemon that was told to stop", n)
	}
	ok := in.count(`SELECT count(*) FROM attempt WHERE state = 'ok'`)
	if ok != sent {
		t.Errorf("%d writes were sent and %d are recorded as published", sent, ok)
	}
	parts := 0
	for _, p := range all {
		parts += len(p.input.Parts)
	}
	if sent >= parts {
		t.Errorf("all %d parts were sent before the daemon stopped: this was no burst's middle", parts)
	}
	t.Logf("stopped in %d ms with %d of %d parts published and none in doubt", took.Milliseconds(), ok, parts)

	in.start("")
	in.rest(time.Minute)
	v := in.judge(all)
	for _, f := range v.findings {
		t.Error(f)
	}
	if v.adopted > 0 || v.again > 0 {
		t.Errorf("%d posts had to be looked for and %d were sent again after an orderly stop", v.adopted, v.again)
	}
	in.stop()
	for _, f := range in.printed() {
		t.Error(f)
	}
}

// open opens the database of a daemon that has ended.
func (in *installation) open() *sql.DB {
	in.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(in.dir, "data", "smi.db"))
	if err != nil {
		in.t.Fatal(err)
	}
	return db
}

func (in *installation) count(query string) int {
	in.t.Helper()
	db := in.open()
	defer db.Close()
	var n int
	if err := db.QueryRowContext(in.t.Context(), query).Scan(&n); err != nil {
		in.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// figures are the rows of numbers, without where and when they came from.
func (in *installation) figures() []string {
	in.t.Helper()
	db := in.open()
	defer db.Close()
	var out []string
	for _, q := range []string{
		`SELECT 'post', p.account_id, p.day, r.remote_id, p.amount, p.likes, p.comments, p.shares, p.quotes, p.saves, p.views, p.extra, r.gone_at
			FROM post_day p JOIN remote_post r ON r.id = p.post_id`,
		`SELECT 'account', account_id, day, source, followers, following, posts, likes, comments, shares, quotes, saves, extra FROM account_day`,
	} {
		rows, err := db.QueryContext(in.t.Context(), q)
		if err != nil {
			in.t.Fatalf("reading the numbers: %v", err)
		}
		defer rows.Close()
		for rows.Next() {
			vals := make([]any, 13)
			ptrs := make([]any, len(vals))
			for i := range vals {
				ptrs[i] = &vals[i]
			}
			if err := rows.Scan(ptrs...); err != nil {
				in.t.Fatal(err)
			}
			out = append(out, fmt.Sprint(vals...))
		}
		if err := rows.Err(); err != nil {
			in.t.Fatal(err)
		}
	}
	slices.Sort(out)
	return out
}

// copyOf is another installation with the same data, network and keys.
func copyOf(t testing.TB, in *installation) *installation {
	t.Helper()
	c := install(t, in.net)
	if err := os.RemoveAll(filepath.Join(c.dir, "data")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(c.dir, "data"), withoutSockets{os.DirFS(filepath.Join(in.dir, "data"))}); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(c.dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(in.dir, "smi.keyset"))
	if err != nil {
		t.Fatal(err)
	}
	c.write("smi.keyset", string(key))
	return c
}

// withoutSockets leaves out what cannot be copied.
type withoutSockets struct{ fs.FS }

func (f withoutSockets) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(f.FS, name)
	return slices.DeleteFunc(all, func(e fs.DirEntry) bool { return e.Type()&fs.ModeSocket != 0 }), err
}

// TestSyncKilled reads the numbers of the same posts by a daemon that is left in
// peace, and by some that are killed in the middle of it and start again. All
// of them know the same in the end.
func TestSyncKilled(t *testing.T) {
	t.Parallel()
	n := startNetwork(t, 4)
	base := install(t, n)
	base.start("")
	base.connect()
	all := base.wishes(24, "1s")
	base.plan(all)
	base.rest(time.Minute)
	v := base.judge(all)
	for _, f := range v.findings {
		t.Error(f)
	}
	base.stop()
	i := int64(0)
	for _, did := range n.dids {
		for _, p := range n.Posts(did) {
			i++
			n.SetCounts(p.URI, blueskysim.Counts{Likes: 10 * i, Reposts: i, Replies: 0, Quotes: i % 3, Bookmarks: i % 2})
		}
	}

	var want []string
	undisturbed := copyOf(t, base)
	undisturbed.start("")
	undisturbed.sync(nil)
	undisturbed.stop()
	want = undisturbed.figures()
	// Each part as read today, each account from the network and from its posts.
	if min := v.parts + 2*len(n.dids); len(want) < min {
		t.Fatalf("the undisturbed daemon has %d rows of numbers, want at least %d\n%s", len(want), min, strings.Join(want, "\n"))
	}
	t.Logf("%d rows of numbers of %d parts on %d accounts", len(want), v.parts, len(n.dids))

	for _, points := range [][]string{
		{"sync-saved:1"},
		{"sync-saved:2", "sync-saved:3"},
		{"sync-saved:5"},
		{"sync-saved:8"},
		{"sync-rolled-up:1"},
		{"sync-rolled-up:2", "sync-rolled-up:1"},
		{"sync-rolled-up:4"},
		{"before-commit:8"},
		{"after-commit:9", "after-commit:12"},
	} {
		t.Run(strings.Join(points, ","), func(t *testing.T) {
			t.Parallel()
			in := copyOf(t, base)
			in.sync(points)
			in.stop()
			got := in.figures()
			if !slices.Equal(got, want) {
				t.Errorf("killed at %v, the daemon has other numbers than one that was left in peace:\ngot  %s\nwant %s", points, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
			}
			for _, f := range in.printed() {
				t.Error(f)
			}
		})
	}
}

// sync reads the numbers, dying at the points on the way, and waits until all
// is read.
func (in *installation) sync(points []string) {
	in.t.Helper()
	asked := false
	ask := func() {
		if !asked {
			runs, err := in.api.SyncNow(in.t.Context(), "")
			asked = err == nil && len(runs) == len(in.net.dids)
		}
	}
	for _, p := range points {
		in.start(p)
		ask()
		in.diesAt(p, time.Minute)
	}
	if len(points) > 0 {
		in.start("")
	}
	ask()
	until(in.t, time.Minute, "the numbers to be read", func() (bool, string) {
		runs, err := in.api.SyncStatus(in.t.Context())
		if err != nil {
			return false, err.Error()
		}
		done := 0
		for _, r := range runs {
			if r.State == "done" {
				done++
			}
		}
		return done == len(in.net.dids), fmt.Sprintf("%+v", runs)
	})
}
