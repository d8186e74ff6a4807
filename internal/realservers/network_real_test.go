//go:build real

package realservers

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestRealNetwork shows that the servers do what the tests of smi rely on, with
// nothing of smi between: so a failure here is not smi's.
func TestRealNetwork(t *testing.T) {
	n := Start(t, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	alice, bob := n.Account("alice"), n.Account("bob")

	t.Run("counts", func(t *testing.T) {
		post, err := n.Write(ctx, alice, "first")
		if err != nil {
			t.Fatal(err)
		}
		for what, err := range map[string]error{
			"like": n.Like(ctx, bob, post), "repost": n.Repost(ctx, bob, post), "follow": n.Follow(ctx, bob, alice.DID),
		} {
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		if _, err := n.Reply(ctx, bob, post, "an answer"); err != nil {
			t.Fatal(err)
		}
		want := Counts{Likes: 1, Reposts: 1, Replies: 1}
		err = Until(ctx, 200*time.Millisecond, func(ctx context.Context) (bool, error) {
			got, err := n.Counts(ctx, post.URI)
			if err == nil && got != want {
				err = fmt.Errorf("got %+v, want %+v", got, want)
			}
			return err == nil, err
		})
		if err != nil {
			t.Errorf("the AppView's counts: %v", err)
		}
	})

	t.Run("an app password signs in over the wire", func(t *testing.T) {
		in := map[string]string{"identifier": alice.Handle, "password": alice.AppPassword}
		before := n.Wire.Requests("POST /xrpc/com.atproto.server.createSession")
		if err := call(ctx, xrpc(n.PDS, "com.atproto.server.createSession", nil), "", in, nil); err != nil {
			t.Fatal(err)
		}
		if got := n.Wire.Requests("POST /xrpc/com.atproto.server.createSession") - before; got != 1 {
			t.Errorf("the wire saw %d sign-ins, want 1", got)
		}
	})

	t.Run("a cut answer leaves one post", func(t *testing.T) {
		token, err := n.token(ctx, alice)
		if err != nil {
			t.Fatal(err)
		}
		trap := n.Wire.Trap("POST /xrpc/com.atproto.repo.createRecord", Cut(0))
		in := map[string]any{"repo": alice.DID, "collection": "app.bsky.feed.post", "record": map[string]any{
			"$type": "app.bsky.feed.post", "text": "cut", "createdAt": time.Now().UTC().Format(time.RFC3339),
		}}
		err = call(ctx, xrpc(n.PDS, "com.atproto.repo.createRecord", nil), token, in, nil)
		var no *Failure
		if err == nil || errors.As(err, &no) {
			t.Errorf("the answer came through: %v", err)
		}
		if err := trap.Release(ctx); err != nil {
			t.Fatal(err)
		}
		if posts, err := n.PostsWith(ctx, alice.DID, "cut"); err != nil || len(posts) != 1 {
			t.Errorf("the PDS has %d posts (%v), want the one that was written", len(posts), err)
		}
	})
}
