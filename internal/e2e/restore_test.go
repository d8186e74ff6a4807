//go:build e2e

package e2e

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"smi/internal/app"
	"smi/internal/social"
	"smi/store"
)

// inGap is how many posts are due between the backup and its restore.
const inGap = 50

// fails runs a command that must not succeed, with a crash point, and returns
// what it said.
func (in *installation) fails(at string, args ...string) string {
	in.t.Helper()
	cmd := in.command(args...)
	cmd.Env = append(cmd.Env, "SMI_CRASH_AT="+at)
	out, err := cmd.CombinedOutput()
	if name, _, _ := strings.Cut(at, ":"); err == nil || !strings.Contains(string(out), "crash: killed at "+name) {
		in.t.Fatalf("smi %s: %v, want it to die at %s\n%s", strings.Join(args, " "), err, at, out)
	}
	return string(out)
}

// query runs SQL on the database of a daemon that does not run.
func (in *installation) query(query string, args ...any) string {
	in.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(in.dir, "data", store.DatabaseName))
	if err != nil {
		in.t.Fatal(err)
	}
	defer db.Close()
	var out sql.NullString
	if err := db.QueryRowContext(in.t.Context(), query, args...).Scan(&out); err != nil && err != sql.ErrNoRows {
		in.t.Fatalf("%s: %v", query, err)
	}
	return out.String
}

// TestRestoredBackup is the whole story with real processes: a backup, 50 posts
// due after it of which half go out, a fire, a restore that is killed wherever
// that could do harm. The daemon that comes up publishes none of them, takes up
// those that are live, and asks about the rest.
func TestRestoredBackup(t *testing.T) {
	t.Parallel()
	n := startNetwork(t, 5)
	in := install(t, n)
	in.start("")
	in.connect()
	// A backup that is killed leaves nothing under a backup's name.
	out := filepath.Join(in.dir, "out")
	in.stop()
	for _, at := range []string{"backup-copied:1", "backup-written:1", "backup-proved:1"} {
		in.fails(at, "backup", "--to", out)
		if l := in.smi("backup", "list", "--to", out, "--json"); strings.Contains(l, ".backup.tar.gz") {
			t.Errorf("killed at %s, and there is %s", at, l)
		}
	}
	in.start("")
	in.smi("pause", "--all") // so that the backup is made before anything goes out
	plan := func(text, ahead string, account int) {
		if _, err := in.api.CreatePost(t.Context(), app.PostInput{
			Accounts: []string{n.handles[account]}, Parts: []app.PartInput{{Text: text}}, Plan: app.PlanInput{In: ahead},
		}, text); err != nil {
			t.Fatal(err)
		}
	}
	for i := range inGap {
		ahead := "2s"
		if i%2 == 1 {
			ahead = "24h"
		}
		plan(fmt.Sprintf("post %d says %d and %d", i, i*i, i*i*i), ahead, i%5)
	}
	plan("for after all that", "48h", 0)

	in.smi("backup", "--to", out)
	in.smi("resume", "--all")

	until(t, 90*time.Second, "half of the posts to be live", func() (bool, string) {
		live := len(n.all())
		return live == inGap/2, fmt.Sprint(live)
	})
	in.kill()

	// A restore that is killed leaves the old database or the new one, whole.
	for _, at := range []string{"restore-unpacked:1", "restore-revived:1", "restore-before-rename:1"} {
		in.fails(at, "restore", out)
		if got := in.query(`SELECT count(*) FROM quarantine`); got != "0" {
			t.Errorf("killed at %s, the old database has %s quarantines", at, got)
		}
		if got := in.query(`PRAGMA integrity_check`); got != "ok" {
			t.Errorf("killed at %s: %s", at, got)
		}
	}
	in.fails("restore-after-rename:1", "restore", out)
	if got := in.query(`SELECT count(*) FROM quarantine WHERE open AND stops`); got != "1" {
		t.Errorf("killed after the rename, the new database has %s quarantines", got)
	}
	// Once more by the book, and it says what happens next.
	if said := in.smi("restore", out); !strings.Contains(said, "smi adopt") || !strings.Contains(said, "kept as") {
		t.Errorf("restore said:\n%s", said)
	}
	// Two hours pass: what was planned for tomorrow was due an hour ago.
	ms := time.Now().Add(-time.Hour).UnixMilli()
	in.query(`UPDATE delivery SET planned_utc = $1, next_at = $1 WHERE planned_utc > $2 AND planned_utc < $3 RETURNING id`, ms, time.Now().UnixMilli(), time.Now().Add(30*time.Hour).UnixMilli())

	in.start("")
	in.smi("resume", "--all") // only the quarantine keeps it from publishing
	quarantine := func() social.Quarantine {
		q, err := in.api.Quarantine(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	until(t, time.Minute, "what is live to be found", func() (bool, string) {
		q := quarantine()
		return q.Gap.Adopted == inGap/2, fmt.Sprintf("%+v", q)
	})
	if q := quarantine(); q.Phase != social.Quarantined || !q.Stops {
		t.Errorf("before it is adopted: %+v", q)
	}
	in.smi("adopt", "--yes")
	until(t, time.Minute, "the quarantine to end", func() (bool, string) {
		q := quarantine()
		return !q.Open(), fmt.Sprintf("%+v", q)
	})
	if q := quarantine(); q.Gap.Adopted != inGap/2 || q.Gap.Missing != inGap/2 {
		t.Errorf("it ended as %+v", q)
	}
	s, err := in.api.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Deliveries[social.Published] != inGap/2 || s.Deliveries[social.HeldLate] != inGap/2 || s.Deliveries[social.Scheduled] != 1 || s.Quarantine != nil {
		t.Errorf("in the end: %+v", s)
	}
	notices, _, err := in.api.Notices(t.Context(), "", 200)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, notice := range notices {
		if notice.Kind == "delivery_held_late" {
			asked++
		}
	}
	if asked != inGap/2 {
		t.Errorf("people were asked about %d posts, want %d", asked, inGap/2)
	}
	total := 0
	for text, times := range n.made() {
		if total += times; times > 1 {
			t.Errorf("DUPLICATE: %q was made %d times", text, times)
		}
	}
	if total != inGap/2 {
		t.Errorf("%d posts are on the network, want %d", total, inGap/2)
	}
	in.stop()
	if left, err := filepath.Glob(filepath.Join(in.dir, "data", "*.before-restore-*")); err != nil || len(left) < 2 {
		t.Errorf("databases that were kept: %v, %v", left, err)
	}
}
