package obs

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"smi/internal/social"
)

const token = `s3cr3t/"tök+en"<&>=`

// written is the token in every form it is met in.
func written(v string) map[string]string {
	j, _ := json.Marshal(v)
	return map[string]string{
		"raw":                  v,
		"query":                url.QueryEscape(v),
		"path":                 url.PathEscape(v),
		"JSON":                 string(j),
		"%q":                   fmt.Sprintf("%q", v),
		"base64":               base64.StdEncoding.EncodeToString([]byte(v)),
		"base64 URL":           base64.RawURLEncoding.EncodeToString([]byte(v)),
		"basic, name of 1":     base64.StdEncoding.EncodeToString([]byte("a:" + v)),
		"basic, name of 2":     base64.StdEncoding.EncodeToString([]byte("ab:" + v)),
		"basic, name of 3":     base64.StdEncoding.EncodeToString([]byte("abc:" + v)),
		"in the middle":        base64.StdEncoding.EncodeToString([]byte("abc:" + v + "x")),
		"hex":                  hex.EncodeToString([]byte(v)),
		"in a URL":             "https://h/x?a=1&token=" + url.QueryEscape(v) + "&b=2",
		"twice, back to back ": v + v,
	}
}

// telling is what would give the token away: its parts of eight bytes.
func telling(s, form string) bool {
	for i := 0; i+8 <= len(form); i++ {
		if strings.Contains(s, form[i:i+8]) {
			return true
		}
	}
	return false
}

func TestText(t *testing.T) {
	t.Parallel()
	r := NewRedactor(token)
	for name, form := range written(token) {
		got := r.Text("before " + form + " after")
		secretPart := strings.TrimSuffix(strings.TrimPrefix(form, "https://h/x?a=1&token="), "&b=2")
		if !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") || !strings.Contains(got, social.Redacted) || telling(got, secretPart) {
			t.Errorf("%s: %q became %q", name, form, got)
		}
	}
	if got := r.Text("nothing to hide"); got != "nothing to hide" {
		t.Errorf("an innocent text became %q", got)
	}
}

func TestAnyValueInAnyForm(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.StringN(Shortest, 40, -1).Draw(t, "value")
		r := NewRedactor("another-secret", v)
		for name, form := range written(v) {
			if strings.HasPrefix(name, "basic") || name == "in the middle" || name == "in a URL" {
				continue // their edges hold what is not secret
			}
			if got := r.Text(form); strings.Contains(got, v) && !strings.Contains(social.Redacted, v) {
				t.Fatalf("%s: %q became %q", name, form, got)
			}
		}
	})
}

func TestShortValuesAreLeft(t *testing.T) {
	t.Parallel()
	r := NewRedactor("", "a", "short")
	if got := r.Text("a short text"); got != "a short text" {
		t.Errorf("got %q", got)
	}
}

func TestOldestIsForgotten(t *testing.T) {
	t.Parallel()
	r := NewRedactor("long-lived-client-secret")
	for i := range keep + 10 {
		r.Add(fmt.Sprintf("token-number-%d.", i))
		if i == keep/2 {
			r.Add("long-lived-client-secret") // used, so it is the latest again
		}
	}
	if r.order.Len() != keep || len(r.values) != keep {
		t.Errorf("%d values are kept, want %d", r.order.Len(), keep)
	}
	if got := r.Text("token-number-0. long-lived-client-secret"); got != "token-number-0. "+social.Redacted {
		t.Errorf("got %q", got)
	}
	n := 0
	for _, forms := range r.index {
		n += len(forms)
	}
	if n > keep*16 {
		t.Errorf("%d forms are kept", n)
	}
}

type pair struct {
	Name string
	Deep *struct{ Token string }
}

type text string

func (s text) String() string { return "shows " + string(s) }

func TestHandler(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"text", "json"} {
		var b bytes.Buffer
		var inner slog.Handler = slog.NewTextHandler(&b, nil)
		if kind == "json" {
			inner = slog.NewJSONHandler(&b, nil)
		}
		r := NewRedactor(token)
		log := slog.New(Handler(inner, r)).With("with", token).WithGroup("g")
		log.Info("message "+token,
			"string", token,
			"error", fmt.Errorf("calling https://h/?t=%s: %w", url.QueryEscape(token), errors.New(token)),
			"bytes", []byte(token),
			"struct", pair{Name: token},
			"pointer", pair{Name: "x", Deep: &struct{ Token string }{token}},
			"stringer", text(token),
			"list", []string{"a", token},
			slog.Group("inner", "deep", token),
			"secret", social.NewSecret(token),
			"number", 17,
			"kept", "yes",
		)
		out := b.String()
		for name, form := range written(token) {
			if name != "in a URL" && telling(out, form) {
				t.Errorf("%s: the token is there as %s: %s", kind, name, out)
			}
		}
		if !strings.Contains(out, "17") || !strings.Contains(out, "yes") || !strings.Contains(out, "message ") {
			t.Errorf("%s: too much is gone: %s", kind, out)
		}
	}
}

func TestRedactorIsSafeForMany(t *testing.T) {
	t.Parallel()
	r := NewRedactor()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				v := fmt.Sprintf("secret-%d-%d", i, j)
				r.Add(v)
				if got := r.Text("x " + v); strings.Contains(got, v) {
					t.Errorf("%q is not hidden", v)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkText(b *testing.B) {
	r := NewRedactor()
	for i := range 2000 {
		r.Add(fmt.Sprintf("token-%d-%d", i, i*7919))
	}
	line := strings.Repeat("network=bluesky op=createRecord status=200 ms=12 ", 5)
	for b.Loop() {
		r.Text(line)
	}
}
