package bluesky

import "testing"

// indigo writes one key in 128 in a form that servers refuse; none of ours is
// such a key.
func TestSessionKeysCanBePublished(t *testing.T) {
	t.Parallel()
	for range 1000 {
		key, err := newKey()
		if err != nil {
			t.Fatal(err)
		}
		pub, err := key.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		j, err := pub.JWK()
		if err != nil {
			t.Fatal(err)
		}
		if len(j.X) != 43 || len(j.Y) != 43 {
			t.Fatalf("a coordinate has %d and %d characters", len(j.X), len(j.Y))
		}
	}
}
