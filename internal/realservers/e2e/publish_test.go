//go:build real

// Package e2e drives the built smi command against the real Bluesky server
// software: see `make test-real`.
package e2e

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	_ "modernc.org/sqlite" // reads what the daemon stored

	"smi/internal/realservers"
)

// commit is the request by which smi makes something public on Bluesky.
const commit = "POST /xrpc/com.atproto.repo.putRecord"

// maxLate is how late the first byte of a commit may pass the wire.
const maxLate = 2 * time.Second

// picture makes a PNG of one colour.
func picture(t *testing.T, c color.Color, width, height int) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for x := range width {
		for y := range height {
			img.Set(x, y, c)
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// file writes a file into the folder of the daemon and returns its path.
func (d *daemon) file(name string, text []byte) string {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		d.t.Fatal(err)
	}
	return path
}

// TestRealPublish is the main job from end to end: connect, publish at the
// second, read the counts; then the worst that can happen while a post goes out.
func TestRealPublish(t *testing.T) {
	t.Parallel()
	n := realservers.Start(t, realservers.Options{})
	alice, bob := n.Account("alice"), n.Account("bob")
	d := install(t, n)
	d.start()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()

	d.connectOAuth(ctx, alice, "")
	d.connectForm(bob)

	t.Run("a thread with pictures at the planned second, and its counts", func(t *testing.T) {
		d.t = t
		red := d.file("red.png", picture(t, color.RGBA{200, 0, 0, 255}, 320, 200))
		blue := d.file("blue.png", picture(t, color.RGBA{0, 0, 200, 255}, 200, 320))
		at := time.Now().Add(20 * time.Second).Truncate(time.Second)
		before := len(n.Wire.Times(commit))
		id := d.plan(
			alice, at, "--text", "One of three: two pictures #smi", "--media", red, "--alt", "a red card", "--media", blue, "--alt", "a blue card",
			"--thread", "Two of three, see https://example.org/two", "--thread", "Three of three",
		)
		p := d.until(ctx, id, 60*time.Second, "published", "failed", "needs_human", "blocked")
		if p.Deliveries[0].State != "published" {
			t.Fatalf("the post is %s: %s", p.Deliveries[0].State, p.Deliveries[0].Reason)
		}
		sent := n.Wire.Times(commit)[before:]
		if len(sent) != 3 {
			t.Fatalf("%d writes passed the wire, want 3", len(sent))
		}
		late := sent[0].Sub(at)
		t.Logf("planned for %s; the first byte passed %d ms later, the third part's %d ms", at.Format("15:04:05"), late.Milliseconds(), sent[2].Sub(at).Milliseconds())
		if late < 0 || late > maxLate {
			t.Errorf("the first byte passed %s after the planned second, want at most %s and never early", late, maxLate)
		}
		if said := p.Deliveries[0].LateMS; said == nil || time.Duration(*said)*time.Millisecond > late+50*time.Millisecond {
			t.Errorf("smi says that it was %v ms late, the wire saw %d", said, late.Milliseconds())
		}

		posts, err := n.PostsWith(ctx, alice.DID, "of three")
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(posts) // oldest first
		if len(posts) != 3 {
			t.Fatalf("the server has %d posts, want 3: %+v", len(posts), posts)
		}
		type shape struct{ Text, Root, Parent, Alts string }
		var got []shape
		for _, p := range posts {
			got = append(got, shape{p.Text, p.Root, p.Parent, strings.Join(p.Alts, "; ")})
		}
		first := posts[0].URI
		want := []shape{
			{"One of three: two pictures #smi", "", "", "a red card; a blue card"},
			{"Two of three, see https://example.org/two", first, first, ""},
			{"Three of three", first, posts[1].URI, ""},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the thread on the server (-want +got):\n%s", diff)
		}
		if p.Deliveries[0].RemoteID != first {
			t.Errorf("smi calls it %s, the server %s", p.Deliveries[0].RemoteID, first)
		}

		for what, err := range map[string]error{"like": n.Like(ctx, bob, posts[0].Ref), "repost": n.Repost(ctx, bob, posts[0].Ref)} {
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		if _, err := n.Reply(ctx, bob, posts[0].Ref, "well said"); err != nil {
			t.Fatal(err)
		}
		wantCounts := realservers.Counts{Likes: 1, Reposts: 1, Replies: 2} // the thread's second part is a reply too
		await(ctx, t, 30*time.Second, "the AppView to count", func(ctx context.Context) error {
			c, err := n.Counts(ctx, first)
			if err == nil && c != wantCounts {
				err = fmt.Errorf("it says %+v", c)
			}
			return err
		})
		d.run("sync", "now", "--account", "bluesky/"+alice.Handle)
		await(ctx, t, 60*time.Second, "the counts to be stored", func(ctx context.Context) error {
			likes, shares, comments, err := d.stored(ctx, first)
			if err == nil && (likes != 1 || shares != 1 || comments != 2) {
				err = fmt.Errorf("stored are %d likes, %d shares, %d comments", likes, shares, comments)
			}
			return err
		})
	})

	t.Run("killed between arming and the answer", func(t *testing.T) {
		d.t = t
		x := d.trapped(ctx, n, alice, "kill -9 in the middle", realservers.Hold())
		d.kill()
		if err := x.trap.Release(ctx); err != nil {
			t.Fatal(err)
		}
		d.start()
		d.adopted(ctx, n, x)
	})

	for name, bytes := range map[string]int64{"the answer is cut off": 0, "the answer is cut in its middle": 60} {
		t.Run(name, func(t *testing.T) {
			d.t = t
			x := d.trapped(ctx, n, alice, name, realservers.Cut(bytes))
			d.until(ctx, x.id, 30*time.Second, "ambiguous", "published")
			if err := x.trap.Release(ctx); err != nil {
				t.Fatal(err)
			}
			d.adopted(ctx, n, x)
		})
	}
}

// trapped is a post whose answer is held or cut.
type trapped struct {
	as   realservers.Account
	text string
	id   string
	trap *realservers.Trap
	sent int // writes that had passed the wire before
}

// trapped plans a post, waits until it is prepared, sets the fault on its commit
// and returns when the server has the post.
func (d *daemon) trapped(ctx context.Context, n *realservers.Network, as realservers.Account, text string, f realservers.Fault) trapped {
	d.t.Helper()
	x := trapped{as: as, text: text, sent: n.Wire.Requests(commit)}
	x.id = d.plan(as, time.Now().Add(10*time.Second).Truncate(time.Second), "--text", text)
	d.until(ctx, x.id, 10*time.Second, "ready")
	x.trap = n.Wire.Trap(commit, f)
	select {
	case <-x.trap.Sprung():
	case <-time.After(30 * time.Second):
		d.t.Fatal("no write came")
	case <-ctx.Done():
		d.t.Fatal(ctx.Err())
	}
	await(ctx, d.t, 10*time.Second, "the server to have the post", func(ctx context.Context) error {
		posts, err := n.PostsWith(ctx, as.DID, text)
		if err == nil && len(posts) == 0 {
			err = fmt.Errorf("it has none with %q", text)
		}
		return err
	})
	return x
}

// adopted checks that smi found out by itself that the post is there: one write,
// one post, and the state says so.
func (d *daemon) adopted(ctx context.Context, n *realservers.Network, x trapped) {
	d.t.Helper()
	p := d.until(ctx, x.id, 3*time.Minute, "published", "failed", "needs_human", "blocked", "cancelled")
	posts, err := n.PostsWith(ctx, x.as.DID, x.text)
	if err != nil {
		d.t.Fatal(err)
	}
	if sent := n.Wire.Requests(commit) - x.sent; sent != 1 || len(posts) != 1 {
		d.t.Fatalf("%d writes were sent and the server has %d posts, want one of each", sent, len(posts))
	}
	want := []attempt{{Part: 0, N: 1, State: "adopted"}}
	if diff := cmp.Diff(want, p.Deliveries[0].Attempts); diff != "" || p.Deliveries[0].State != "published" || p.Deliveries[0].RemoteID != posts[0].URI {
		d.t.Errorf("the post is %s (%s) as %s, the server has %s; attempts (-want +got):\n%s",
			p.Deliveries[0].State, p.Deliveries[0].Reason, p.Deliveries[0].RemoteID, posts[0].URI, diff)
	}
}

// await asks ok until it has nothing to complain about.
func await(ctx context.Context, t *testing.T, limit time.Duration, what string, ok func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := realservers.Until(ctx, 100*time.Millisecond, func(ctx context.Context) (bool, error) {
		err := ok(ctx)
		return err == nil, err
	})
	if err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

// stored reads a post's newest counts from the daemon's database.
func (d *daemon) stored(ctx context.Context, remoteID string) (likes, shares, comments int64, err error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(d.dir, "data", "smi.db")+"?mode=ro")
	if err != nil {
		return 0, 0, 0, err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, `SELECT likes, shares, comments FROM post_day
		JOIN remote_post ON remote_post.id = post_day.post_id
		WHERE remote_post.remote_id = $1 AND NOT post_day.amount ORDER BY day DESC`, remoteID).Scan(&likes, &shares, &comments)
	return likes, shares, comments, err
}
