package seal_test

import (
	"strings"
	"testing"

	"smi/connectors/internal/seal"
	"smi/internal/social"
)

func box(t *testing.T, secret, purpose string) seal.Box {
	t.Helper()
	b, err := seal.New(social.NewSecret(secret), purpose)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What was sealed is opened with the same secret for the same purpose only.
func TestBox(t *testing.T) {
	t.Parallel()
	const address = "https://upload.example/?upload_id=secret"
	b := box(t, "one", "a")
	sealed := b.Seal(address)
	if strings.Contains(sealed, "upload") || sealed == b.Seal(address) {
		t.Errorf("sealed as %q", sealed)
	}
	if got, ok := box(t, "one", "a").Open(sealed); !ok || got != address {
		t.Errorf("opened as %q, %v", got, ok)
	}
	other := "A"
	if sealed[0] == 'A' {
		other = "B"
	}
	for name, got := range map[string]func() (string, bool){
		"another secret":  func() (string, bool) { return box(t, "two", "a").Open(sealed) },
		"another purpose": func() (string, bool) { return box(t, "one", "b").Open(sealed) },
		"a changed one":   func() (string, bool) { return b.Open(other + sealed[1:]) },
		"a short one":     func() (string, bool) { return b.Open("abc") },
		"no base64":       func() (string, bool) { return b.Open("#") },
	} {
		if text, ok := got(); ok {
			t.Errorf("%s: %q", name, text)
		}
	}
}
