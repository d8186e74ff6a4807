package youtube

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTitleLength(t *testing.T) {
	for s, want := range map[string]int{
		"":                       0,
		"abc":                    3,
		"語語":                     2,
		"Đà Nẵng":                7,
		"e\u0301":                2, // a letter and its accent
		"😀":                      2, // two UTF-16 units
		"👩\u200d👩\u200d👧\u200d👦": 11,
		"مرحبا":                  5,
		"🇻🇳":                     4,
		"https://a.b":            11,
		"a\xff":                  2,
	} {
		if got := titleLength(s); got != want {
			t.Errorf("%q has %d characters, want %d", s, got, want)
		}
	}
}

func TestTagsLength(t *testing.T) {
	for in, want := range map[string]int{
		"":                       0,
		"one":                    3,
		"one,two":                7,   // a comma between two
		"one, two":               7,   // spaces around are not part of a tag
		"new york":               10,  // two quotation marks
		"new york,sea":           14,  //
		"a,,a,b":                 3,   // empty ones and doubles are dropped
		"Đà Nẵng":                9,   //
		"語,語学":                   4,   //
		"😀":                      2,   //
		"مرحبا بكم":              11,  //
		strings.Repeat("a", 500): 500, //
	} {
		if got := tagsLength(splitTags(in)); got != want {
			t.Errorf("%q counts %d, want %d", in, got, want)
		}
	}
}

func TestTitleOf(t *testing.T) {
	long := strings.Repeat("word ", 40)
	for in, want := range map[string]string{
		"":                             "",
		"  \n\n ":                      "",
		"One\nTwo":                     "One",
		"\n  A  <b>bold</b>  line \nx": "A b bold /b line",
		"a\tb\u0000c":                  "a b c",
		long:                           strings.TrimSpace(strings.Repeat("word ", 20))[:94] + "…",
		strings.Repeat("語", 200):       strings.Repeat("語", 99) + "…",
		strings.Repeat("😀", 60):        strings.Repeat("😀", 49) + "…",
	} {
		if got := titleOf(in); got != want {
			t.Errorf("%q makes the title %q, want %q", in, got, want)
		}
	}
}

func FuzzTitleOf(f *testing.F) {
	for _, s := range []string{"", "One\nTwo", strings.Repeat("👩\u200d👩\u200d👧\u200d👦", 30), "<>", "a" + strings.Repeat("\u0301", 300), "\xff\xfe", "مرحبا " + strings.Repeat("語", 120)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		title := titleOf(s)
		if titleLength(title) > maxTitle || hasAngle(title) || strings.ContainsAny(title, "\n\r") {
			t.Errorf("%q makes the title %q of %d", s, title, titleLength(title))
		}
		if utf8.ValidString(s) && !utf8.ValidString(title) {
			t.Errorf("%q makes the broken title %q", s, title)
		}
		if title == "" && strings.ContainsFunc(s, func(r rune) bool { return r >= 'a' && r <= 'z' }) {
			t.Errorf("%q makes no title", s)
		}
	})
}

func FuzzTags(f *testing.F) {
	for _, s := range []string{"", "a,b", "new york, sea", ",,,", "語 学,😀"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tags := splitTags(s)
		n := tagsLength(tags)
		if n < 0 || len(tags) > 0 && n < titleLength(strings.Join(tags, ",")) {
			t.Errorf("%q counts %d", s, n)
		}
		if again := splitTags(strings.Join(tags, ",")); tagsLength(again) != n {
			t.Errorf("%q counts %d, and written again %d", s, n, tagsLength(again))
		}
	})
}
