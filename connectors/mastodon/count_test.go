package mastodon_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rivo/uniseg"

	"smi/connectors/mastodon"
	"smi/connectors/mastodon/mastodonsim"
)

// lengths are texts and how long a server finds them, by the rules on
// docs.joinmastodon.org: links count 23, of mentions the server does not count.
var lengths = []struct {
	name, warning, text string
	want                int
}{
	{"nothing", "", "", 0},
	{"letters", "", "hello", 5},
	{"a line break", "", "a\nb", 3},
	{"a line break of Windows", "", "a\r\nb", 3},
	{"a warning counts too", "spoiler", "text", 11},
	{"Vietnamese, composed", "", "Đà Nẵng", 7},
	{"Vietnamese, decomposed", "", "Đa\u0300 Na\u0306\u0303ng", 7},
	{"combining marks", "", "e\u0301e\u0301\u0302", 2},
	{"Chinese", "", "你好，世界", 5},
	{"Japanese", "", "こんにちは", 5},
	{"Korean, in pieces", "", "\u1112\u1161\u11ab", 1},
	{"Arabic", "", "مرحبا", 5},
	{"Hebrew with points", "", "שָׁלוֹם", 4},
	{"Hindi", "", "नमस्ते", uniseg.GraphemeClusterCount("नमस्ते")},
	{"an emoji", "", "😀", 1},
	{"a family", "", "👩\u200d👩\u200d👧\u200d👦", 1},
	{"a flag", "", "🇻🇳", 1},
	{"a skin", "", "👍🏽", 1},
	{"a short link", "", "http://a.co", 23},
	{"a long link", "", "https://example.com/" + strings.Repeat("x", 300), 23},
	{"a link and words", "", "see https://example.com/a?b=c#d now", 4 + 23 + 4},
	{"a link that ends a sentence", "", "see https://example.com/a.", 4 + 23 + 1},
	{"a link in parentheses", "", "(https://example.com/a)", 25},
	{"parentheses in a link", "", "https://en.wikipedia.org/wiki/Go_(game)", 23},
	{"a link without a path and a comma", "", "https://example.com, then", 23 + 6},
	{"a link with a port", "", "https://example.com:8443/x y", 25},
	{"two links", "", "https://example.com https://example.org", 47},
	{"a link of another script", "", "https://例え.jp/あ い", 25},
	{"a link glued to a word", "", "xhttps://a.co", 13},
	{"a link without a scheme", "", "example.com", 11},
	{"a host without a dot", "", "http://localhost/x", 18},
	{"a link after an emoji", "", "😀https://example.com/abcdefghijkl", 24},
	{"a mention here", "", "@alice hi", 9},
	{"a mention elsewhere", "", "@alice@example.social hi", 9},
	{"a mention with dots", "", "@a.b_c@example.social", 6},
	{"two mentions", "", "@a@x.social @b@y.social", 5},
	{"a mention that ends a sentence", "", "@a@x.social.", 3},
	{"a mail address", "", "me@example.com", 14},
	{"a handle in a link", "", "https://example.com/@alice@example.org", 23},
	{"a tag", "", "#smi", 4},
}

func TestLength(t *testing.T) {
	t.Parallel()
	for _, l := range lengths {
		if got := mastodon.Length(l.warning, l.text, 23); got != l.want {
			t.Errorf("%s: %q is %d, want %d", l.name, l.text, got, l.want)
		}
		if got := mastodonsim.Count(l.warning, l.text); got != l.want {
			t.Errorf("%s: the simulator finds %q %d, want %d", l.name, l.text, got, l.want)
		}
	}
	if got := mastodon.Length("", "https://example.com", 40); got != 40 {
		t.Errorf("on a server where links count 40, one counts %d", got)
	}
}

func FuzzLength(f *testing.F) {
	for _, l := range lengths {
		f.Add(l.warning, l.text)
	}
	f.Fuzz(func(t *testing.T, warning, text string) {
		n := mastodon.Length(warning, text, 23)
		plain := uniseg.GraphemeClusterCount(warning) + uniseg.GraphemeClusterCount(text)
		addresses := strings.Count(strings.ToLower(text), "http")
		switch {
		case n < 0 || (n == 0) != (warning == "" && text == ""):
			t.Errorf("%q %q has the length %d", warning, text, n)
		case !strings.Contains(text, "://") && !strings.Contains(text, "@") && n != plain:
			t.Errorf("%q %q has the length %d, and %d characters without a link or a mention", warning, text, n, plain)
		case n > plain+addresses*24: // a link may part what was one cluster
			t.Errorf("%q %q has the length %d, of %d characters with %d links", warning, text, n, plain, addresses)
		}
		if utf8.ValidString(text) && mastodon.Length("", text+" x", 23) < mastodon.Length("", text, 23) {
			t.Errorf("%q becomes shorter by a word", text)
		}
	})
}
