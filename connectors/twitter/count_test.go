package twitter

import (
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func TestWeight(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		want int
	}{
		{"", 0},
		{"hello", 5},
		{"Chào buổi sáng, Đà Nẵng", 25}, // Vietnamese: ổ and ẵ are above U+1100
		{norm.NFD.String("Chào buổi sáng, Đà Nẵng"), 25}, // decomposed, it is the same
		{"e\u0301", 1},                        // combining: é in NFC
		{"a\u0300\u0301\u0302", 3},            // à and two marks that have no form of their own
		{"日本語", 6},                            // CJK
		{"한국어", 6},                            // Hangul syllables
		{"ㄱ", 2},                              // a compatibility letter
		{"\u10ff\u1100", 3},                   // the edge of the light letters: 4351, 4352
		{"مرحبا", 5},                          // Arabic
		{"שלום עולם", 9},                      // Hebrew
		{"สวัสดี", 6},                         // Thai with its marks
		{"“quoted” — and…", 16},               // quotes and dash weigh 1, the ellipsis U+2026 2
		{"\u200d\u2010\u201f\u2032\u2037", 5}, // 8205, 8208, 8223, 8242, 8247
		{"\u200e\u2020\u2031\u2038", 8},       // right beside them
		{"😀", 2},                              // one emoji
		{"👩\u200d👩\u200d👧\u200d👦", 2},         // a family
		{"👍🏽", 2},                             // with a skin tone
		{"🇻🇳🇯🇵", 4},                           // two flags
		{"🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", 2}, // England
		{"❤️", 2},  // with a variation selector
		{"1️⃣", 2}, // keycap
		{"©", 1},   // text
		{"©️", 2},  // emoji
		{"→", 2},   // an arrow is no letter
		{"https://example.com", 23},
		{"https://example.com/" + strings.Repeat("long/", 100), 23},
		{"HTTP://EXAMPLE.COM", 23},
		{"example.com", 23}, // a bare domain
		{"see example.com/path?q=1 now", 4 + 23 + 4},
		{"see example.com.", 4 + 23 + 1},            // the full stop is the sentence's
		{"(https://example.com/a_(b))", 1 + 23 + 1}, // brackets that belong to it
		{"https://example.com, https://example.org!", 23 + 2 + 23 + 1},
		{"foo.bar", 23}, // bar is a domain by now
		{"foo.nosuchdomain", 16},
		{"readme.txt", 10},
		{"mail@example.com", 16}, // no link in a mail address
		{"@example.com", 12},
		{"#example.com", 12},
		{"first.name@example.com", 22},
		{"3.14", 4},
		{"a.b", 3},
		{"http://", 7},
		{"https://例え.jp/ページ", 23 + 6}, // the path ends where Japanese goes on
		{"https://münchen.de/straße", 23},
		{"日本https://example.comです", 4 + 23 + 4},
		{"שלום https://example.com עולם", 5 + 23 + 5},
	} {
		if got := Weight(tt.text); got != tt.want {
			t.Errorf("%q weighs %d, want %d", tt.text, got, tt.want)
		}
	}
}

// FuzzWeight: no text breaks the count, and what is measured by parts that do
// not touch is measured as a whole.
func FuzzWeight(f *testing.F) {
	for _, s := range []string{"hello", "see https://example.com/a?b=c#d.", "👩\u200d👩\u200d👧 🇻🇳 e\u0301 語", "a@b.com", "1️⃣2", "\xff\xfe", "x.y.z.com/…"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := Weight(s)
		if n < 0 || n > 2*utf8.RuneCountInString(norm.NFC.String(s))+urlWeight*(len(s)/4+1) {
			t.Errorf("%q weighs %d", s, n)
		}
		if again := Weight(norm.NFC.String(s)); again != n {
			t.Errorf("%q weighs %d, and in NFC %d", s, n, again)
		}
		at := 0
		for _, u := range findURLs(s) {
			if u.start < at || u.end <= u.start || u.end > len(s) {
				t.Fatalf("%q has the links %v", s, findURLs(s))
			}
			at = u.end
		}
		if utf8.ValidString(s) {
			if two := Weight(s + "\n語\n" + s); two != 2*n+4 {
				t.Errorf("%q weighs %d, and twice with 4 between %d", s, n, two)
			}
		}
	})
}
