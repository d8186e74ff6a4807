package linkedin

import (
	"strings"
	"testing"
)

func TestEscape(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want string }{
		"plain":            {"Hello world", "Hello world"},
		"reserved":         {`\|{}@[]()<>#*_~`, `\\\|\{\}\@\[\]\(\)\<\>\#\*\_\~`},
		"brackets":         {"Hello (world)", `Hello \(world\)`},
		"mail":             {"write to a_b@example.com", `write to a\_b\@example.com`},
		"tag":              {"#smi is out", "#smi is out"},
		"tag in brackets":  {"(#smi)", `\(#smi\)`},
		"tag with line":    {"#smi_news!", `{hashtag|\#|smi\_news}!`},
		"no tag: a number": {"we are #1", `we are \#1`},
		"no tag: in word":  {"C# and a#b", `C\# and a\#b`},
		"no tag: address":  {"https://example.com/#top", `https://example.com/\#top`},
		"tag in script":    {"#마케팅 #Tiếng", "#마케팅 #Tiếng"},
		"organisation":     {"by @[Devtestco](urn:li:organization:2414183)!", "by @[Devtestco](urn:li:organization:2414183)!"},
		"person":           {"@[Eddy (x)](urn:li:person:a_B-1)", `@[Eddy \(x\)](urn:li:person:a_B-1)`},
		"no mention":       {"@[Eddy](urn:li:group:1)", `\@\[Eddy\]\(urn:li:group:1\)`},
		"emoji":            {"👩‍👩‍👧‍👦*", `👩‍👩‍👧‍👦\*`},
		"arabic":           {"مرحبا (عالم)", `مرحبا \(عالم\)`},
	} {
		if got := escape(c.in); got != c.want {
			t.Errorf("%s: %q becomes %q, want %q", name, c.in, got, c.want)
		}
		if back := unescape(escape(c.in)); back != c.in {
			t.Errorf("%s: %q comes back as %q", name, c.in, back)
		}
	}
}

// Other clients write tags as templates; it is the same text.
func TestUnescape(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`see {hashtag|\#|smi} and {hashtag|\#|a\_b}`: "see #smi and #a_b",
		`{hashtag|\#|open`:                           "{hashtag|#|open",
		`a\b\\c`:                                     `a\b\c`,
		`@[Eddy](urn:li:person:a\_b)`:                "@[Eddy](urn:li:person:a_b)",
	} {
		if got := unescape(in); got != want {
			t.Errorf("%q reads as %q, want %q", in, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	utf16, runes, bare := NewConfig(), NewConfig(), NewConfig()
	runes.TextUnit, bare.CountEscapes = unitRunes, false
	for _, c := range []struct {
		name, in          string
		utf16, rune, bare int
	}{
		{"empty", "", 0, 0, 0},
		{"latin", "abc", 3, 3, 3},
		{"escapes", "(a_b)", 8, 8, 5},
		{"cjk", "日本語", 3, 3, 3},
		{"vietnamese, composed", "Đà Nẵng", 7, 7, 7},
		{"vietnamese, combining", "Đa\u0300", 3, 3, 3},
		{"combining", "e\u0301", 2, 2, 2},
		{"arabic", "مرحبا", 5, 5, 5},
		{"hebrew with marks", "שָׁלוֹם", 7, 7, 7},
		{"emoji", "😀", 2, 1, 2},
		{"family", "👩‍👩‍👧‍👦", 11, 7, 11},
		{"flag", "🇻🇳", 4, 2, 4},
		{"address", "https://example.com/a_b", 24, 24, 23},
		{"tag", "#smi", 4, 4, 4},
		{"mention", "@[A](urn:li:person:b)", 21, 21, 21},
	} {
		if u, r, b := utf16.count(c.in), runes.count(c.in), bare.count(c.in); u != c.utf16 || r != c.rune || b != c.bare {
			t.Errorf("%s: %d, %d and %d without escapes; want %d, %d and %d", c.name, u, r, b, c.utf16, c.rune, c.bare)
		}
	}
}

// FuzzEscape: no text is changed by its way to the network and back, and nothing
// reserved stays bare outside of an element.
func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", `\`, `\\|`, "#a_b#", "@[a](urn:li:person:b)c", "{hashtag|\\#|x}", "👩‍👩‍👧‍👦#", "#e\u0301", "\xff#a", "@[\xff](urn:li:person:b)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := escape(s)
		if back := unescape(e); back != s {
			t.Fatalf("%q is written as %q and read as %q", s, e, back)
		}
		if strings.ContainsAny(s, "@#{") {
			return // may hold elements
		}
		for i := 0; i < len(e); i++ {
			if e[i] == '\\' {
				i++
			} else if strings.IndexByte(reserved, e[i]) >= 0 {
				t.Fatalf("%q is written as %q, where byte %d is bare", s, e, i)
			}
		}
	})
}

// FuzzCount: a count is never negative, grows with the text, and code points are
// never more than UTF-16 units.
func FuzzCount(f *testing.F) {
	f.Add("a(b", "😀")
	f.Fuzz(func(t *testing.T, a, b string) {
		u, r := NewConfig(), NewConfig()
		r.TextUnit = unitRunes
		if u.count(a) < r.count(a) || length(a+" "+b, unitUTF16) < length(a, unitUTF16) {
			t.Fatalf("%q and %q are counted as %d, %d", a, b, u.count(a), r.count(a))
		}
	})
}
