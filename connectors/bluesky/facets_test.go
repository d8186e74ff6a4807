package bluesky

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFindFacets(t *testing.T) {
	t.Parallel()
	// want lists "kind what-the-text-shows value".
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"none", "plain words, e.g. file.txt and 3.14", nil},
		{"link", "see https://example.com/a?b=c#d.", []string{"link https://example.com/a?b=c#d https://example.com/a?b=c#d"}},
		{"link in brackets", "(https://example.com/x)", []string{"link https://example.com/x https://example.com/x"}},
		{"link with brackets", "https://en.wikipedia.org/wiki/Go_(game)!", []string{"link https://en.wikipedia.org/wiki/Go_(game) https://en.wikipedia.org/wiki/Go_(game)"}},
		{"bare domain", "visit example.com/path, now", []string{"link example.com/path https://example.com/path"}},
		{"bare domain on a shared host", "see me.github.io", []string{"link me.github.io https://me.github.io"}},
		{"bare suffix is a word", "the github.io domain and co.uk", nil},
		{"no such top level domain", "archive.zipped and a.b", nil},
		{"mail address is no mention", "write to someone@example.com", nil},
		{"mention", "hi @Alice.Test!", []string{"mention @Alice.Test alice.test"}},
		{"mention at the start, dot after", "@bob.bsky.social.", []string{"mention @bob.bsky.social bob.bsky.social"}},
		{"mention in brackets", "(@bob.test)", []string{"mention @bob.test bob.test"}},
		{"a name alone is no mention", "@bob hello", nil},
		{"tag", "it is #monday, #2nd and #100", []string{"tag #monday monday", "tag #2nd 2nd"}},
		{"tag full width", "今日は ＃月曜日 です", []string{"tag ＃月曜日 月曜日"}},
		{"tag with emoji", "#😀fun!", []string{"tag #😀fun 😀fun"}},
		{"tag inside a word", "C# and a#b", nil},
		{"tags beside each other", "#a #b\n#c", []string{"tag #a a", "tag #b b", "tag #c c"}},
		{"fragment is no tag", "https://example.com/#top", []string{"link https://example.com/#top https://example.com/#top"}},
		{"mention in a link", "https://bsky.app/profile/@x.test", []string{"link https://bsky.app/profile/@x.test https://bsky.app/profile/@x.test"}},
		{"emoji before", "👩‍👩‍👧‍👦 https://example.com 🇩🇪 @a.test", []string{"link https://example.com https://example.com", "mention @a.test a.test"}},
		{"cjk", "東京「https://example.jp/日本」へ #旅行。", []string{"link https://example.jp/日本 https://example.jp/日本", "tag #旅行 旅行"}},
		{"right to left", "שלום https://example.co.il/א @dani.test #שלום", []string{"link https://example.co.il/א https://example.co.il/א", "mention @dani.test dani.test", "tag #שלום שלום"}},
		{"combining marks", "e\u0301t\u00e9 #e\u0301te\u0301", []string{"tag #e\u0301te\u0301 e\u0301te\u0301"}},
		{"keycap is no tag", "#\ufe0f\u20e3 one", nil},
		{"two links", "https://a.com https://b.com", []string{"link https://a.com https://a.com", "link https://b.com https://b.com"}},
		{"tag too long", "#" + strings.Repeat("a", 65), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			last := 0
			for _, s := range findFacets(c.text) {
				if s.start < last || s.end <= s.start || s.end > len(c.text) {
					t.Fatalf("span %+v overlaps or leaves the text", s)
				}
				last = s.end
				got = append(got, fmt.Sprintf("%s %s %s", s.kind[strings.Index(s.kind, "#")+1:], c.text[s.start:s.end], s.value))
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func FuzzFindFacets(f *testing.F) {
	f.Add("hi @a.test #b https://c.com/d)")
	f.Add("＃月曜日 \xff example.com")
	f.Fuzz(func(t *testing.T, text string) {
		last := 0
		for _, s := range findFacets(text) {
			if s.start < last || s.end <= s.start || s.end > len(text) {
				t.Fatalf("span %+v of %q overlaps or leaves the text", s, text)
			}
			last = s.end
		}
	})
}
