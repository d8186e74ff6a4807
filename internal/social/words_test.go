package social

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

// text draws what people write, with what makes trouble.
func text(t *rapid.T) string {
	return rapid.StringOf(rapid.OneOf(
		rapid.Rune(),
		rapid.SampledFrom([]rune(" \t\n\r\u00a0\u2003&<>;amp#x26lt\u200b\ufe0f\ufeff\u200dЖ語👩ệ")),
	)).Draw(t, "text")
}

// TestNormalText: what a network does to a text in storing it does not matter.
func TestNormalText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := text(t)
		n := NormalText(s)
		if again := NormalText(n); again != n {
			t.Fatalf("%q becomes %q, and that %q", s, n, again)
		}
		if e := NormalText(html.EscapeString(s)); e != n {
			t.Fatalf("%q escaped becomes %q, want %q", s, e, n)
		}
		if strings.TrimFunc(n, unicode.IsSpace) != n || strings.Contains(n, "  ") {
			t.Fatalf("%q becomes %q, with space to spare", s, n)
		}
		wide := strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) {
				return '\n'
			}
			return r
		}, s)
		if w := NormalText("\r\n" + strings.ReplaceAll(wide, "\n", " \r\n\t") + " "); w != n {
			t.Fatalf("%q with other white space becomes %q, want %q", s, w, n)
		}
		if z := NormalText("\ufeff" + s + "\u200b"); z != n {
			t.Fatalf("%q with invisible characters becomes %q, want %q", s, z, n)
		}
	})
	for in, want := range map[string]string{
		"salt &amp;amp; pepper": "salt & pepper",
		"a\u200db":              "a\u200db", // joins a family; it is no ornament
		"I ❤️ it":               "I ❤ it",
		"&lt;3":                 "<3",
	} {
		if got := NormalText(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// TestFingerprint: it stays the same over all a network does, and differs in
// whatever makes another post.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := text(t)
		media := rapid.SliceOfN(rapid.SampledFrom([]MediaKind{Image, GIF, Video, Document}), 0, 4).Draw(t, "media")
		f := Fingerprint("net", "me", "parent", s, media)
		if len(f) != 32 {
			t.Fatalf("the fingerprint is %q", f)
		}
		if same := Fingerprint("net", "me", "parent", html.EscapeString(s)+"\r\n", media); same != f {
			t.Fatalf("a stored %q is not recognised", s)
		}
		for what, other := range map[string]string{
			"another network":   Fingerprint("ten", "me", "parent", s, media),
			"another account":   Fingerprint("net", "you", "parent", s, media),
			"another parent":    Fingerprint("net", "me", "", s, media),
			"another text":      Fingerprint("net", "me", "parent", s+"x", media),
			"one more file":     Fingerprint("net", "me", "parent", s, append(slices.Clip(media), Image)),
			"the fields joined": Fingerprint("net", "mep", "arent", s, media),
		} {
			if other == f {
				t.Fatalf("%s has the same fingerprint", what)
			}
		}
	})
	if Fingerprint("n", "a", "", "x", []MediaKind{Image, Video}) == Fingerprint("n", "a", "", "x", []MediaKind{Video, Image}) {
		t.Error("the order of media does not matter, and it should")
	}
}

func TestSimilarity(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b     string
		from, to float64
	}{
		{"good morning", "good morning", 1, 1},
		{"good  MORNING", "Good morning\n", 1, 1},
		{"good morning", "bad evening", 0, 0},
		{"good morning all", "good morning", 0.7, 0.9},
		{"", "", 1, 1},
		{"", "x", 0, 0},
		{"a a a a", "a", 0.39, 0.41},
	} {
		if got := Similarity(c.a, c.b); got < c.from || got > c.to || got != Similarity(c.b, c.a) {
			t.Errorf("%q and %q are alike by %v, want %v to %v, both ways", c.a, c.b, got, c.from, c.to)
		}
	}
}

// TestContentHash: approval and arming compare it, so it changes with every
// word and with nothing that is for people only.
func TestContentHash(t *testing.T) {
	t.Parallel()
	parts := func() []Part {
		return []Part{{
			Role: RoleBody, Text: "hello", Langs: []string{"en"}, Options: map[string]string{"b": "2", "a": "1"},
			Link:  &LinkCard{URL: "https://example.com", Thumb: &Media{Hash: "t", Name: "thumb.png"}},
			Media: []Media{{Hash: "h", Kind: Image, Name: "holiday.jpg", Alt: "a beach"}},
		}, {Role: RoleThread, Text: "more"}}
	}
	h := ContentHash(parts())
	named := parts()
	named[0].Media[0].Name, named[0].Link.Thumb.Name = "IMG_0001.JPG", ""
	if ContentHash(named) != h {
		t.Error("the hash depends on the name of a file")
	}
	if named[0].Media[0].Name != "IMG_0001.JPG" {
		t.Error("hashing changed the parts")
	}
	for what, change := range map[string]func([]Part){
		"text":      func(p []Part) { p[0].Text = "hello " },
		"alt":       func(p []Part) { p[0].Media[0].Alt = "" },
		"file":      func(p []Part) { p[0].Media[0].Hash = "i" },
		"thumb":     func(p []Part) { p[0].Link.Thumb.Hash = "u" },
		"link":      func(p []Part) { p[0].Link.URL += "/" },
		"option":    func(p []Part) { p[0].Options["a"] = "2" },
		"language":  func(p []Part) { p[0].Langs[0] = "de" },
		"role":      func(p []Part) { p[1].Role = RoleComment },
		"order":     func(p []Part) { p[0], p[1] = p[1], p[0] },
		"last part": func(p []Part) { p[1].Text = "" },
	} {
		p := parts()
		change(p)
		if ContentHash(p) == h {
			t.Errorf("another %s has the same hash", what)
		}
	}
	rapid.Check(t, func(t *rapid.T) { // the store keeps parts as JSON
		p := []Part{{Role: RoleBody, Text: text(t), Media: []Media{}, Langs: rapid.SliceOf(rapid.String()).Draw(t, "langs")}}
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var back []Part
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if ContentHash(back) != ContentHash(p) {
			t.Fatalf("%s has another hash after it was stored", b)
		}
	})
}

func TestErrorf(t *testing.T) {
	t.Parallel()
	err := Errorf(CodeNotFound, "media", "the file cannot be read: %w", fs.ErrNotExist)
	if !errors.Is(err, fs.ErrNotExist) || CodeOf(fmt.Errorf("planning: %w", err)) != CodeNotFound {
		t.Errorf("%v does not wrap its cause or lost its code", err)
	}
	if err.Text != "the file cannot be read" {
		t.Errorf("people would read %q", err.Text)
	}
	if got := err.Error(); got != "media: the file cannot be read: file does not exist" {
		t.Errorf("the log would read %q", got)
	}
	if got := Errorf(CodeInternal, "", "because of %w it stopped", fs.ErrClosed).Error(); got != "because of file already closed it stopped" {
		t.Errorf("the log would read %q", got)
	}
	if e := Errorf(CodeInvalid, "text", "it is %d too long", 3); e.Err != nil || e.Text != "it is 3 too long" {
		t.Errorf("%+v", e)
	}
	if CodeOf(nil) != "" || CodeOf(errors.New("x")) != CodeInternal {
		t.Error("CodeOf of nil or of a foreign error is wrong")
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	got := Refusals([]Problem{{Field: "a", Severity: Advice}, {Field: "b", Severity: Refused}, {Field: "c", Severity: Lossy}, {Field: "d", Severity: Refused}})
	if len(got) != 2 || got[0].Field != "b" || got[1].Field != "d" {
		t.Errorf("%+v", got)
	}
}

// TestCatalogue: every metric once, with all that is said of it.
func TestCatalogue(t *testing.T) {
	t.Parallel()
	seen := map[Metric]bool{}
	for _, i := range Catalogue {
		if seen[i.Metric] || i.Meaning == "" || i.Unit != "count" && i.Unit != "ms" || i.Level != OfPost && i.Level != OfAccount || i.Also == i.Level {
			t.Errorf("%+v", i)
		}
		seen[i.Metric] = true
		if got, ok := MetricByName(i.Metric); !ok || got != i {
			t.Errorf("%s is not found by its name", i.Metric)
		}
	}
	for _, m := range []Metric{Reach, Participants, Followers} {
		if i, _ := MetricByName(m); i.Adds {
			t.Errorf("%s of two posts are added up; the same people would be counted twice", m)
		}
	}
	if _, ok := MetricByName("karma"); ok {
		t.Error("karma is a metric")
	}
}

// TestDeliveryStates: final ones rest, and every state is listed once.
func TestDeliveryStates(t *testing.T) {
	t.Parallel()
	seen := map[DeliveryState]bool{}
	for _, s := range DeliveryStates {
		if seen[s] {
			t.Errorf("%s is listed twice", s)
		}
		seen[s] = true
		if s.Final() && !s.Resting() {
			t.Errorf("%s is final and does not rest", s)
		}
	}
	for _, s := range []DeliveryState{Scheduled, Claimed, Ready, Armed, Ambiguous, Waiting} {
		if s.Resting() || !seen[s] {
			t.Errorf("%s rests, or is not listed", s)
		}
	}
}
