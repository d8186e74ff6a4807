package twittersim

import (
	"fmt"
	"html"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// links are what becomes a t.co address: addresses with a scheme, and bare ones
// under a few domains, which is fewer than the network knows.
var links = regexp.MustCompile(`(?i)https?://[a-z0-9.\-]+\.[a-z]{2,}(?::\d+)?(?:[/?#][^\s]*)?|\b[a-z0-9\-]+(?:\.[a-z0-9\-]+)*\.(?:com|org|net|io|dev|test|vn|de)\b(?:/[^\s]*)?`)

// emoji are sequences that count as one.
var emoji = func() *regexp.Regexp {
	const one = `[\x{2190}-\x{2bff}\x{3030}\x{303d}\x{3297}\x{3299}\x{a9}\x{ae}\x{1f000}-\x{1f1e5}\x{1f200}-\x{1faff}]\x{fe0f}?[\x{1f3fb}-\x{1f3ff}]?[\x{e0020}-\x{e007f}]*`
	return regexp.MustCompile(`[\x{1f1e6}-\x{1f1ff}]{2}|[0-9#*]\x{fe0f}?\x{20e3}|` + one + `(?:\x{200d}` + one + `)*`)
}()

// weight counts as twitter-text does.
func weight(text string) int {
	text = norm.NFC.String(text)
	n := 0
	text = links.ReplaceAllStringFunc(text, func(string) string { n += 23; return "" })
	text = emoji.ReplaceAllStringFunc(text, func(e string) string {
		if r, size := utf8.DecodeRuneInString(e); size == len(e) && r < 4352 {
			return e // © alone is text
		}
		n += 2
		return ""
	})
	for _, r := range text {
		switch {
		case r < 4352, r > 8191 && r < 8206, r > 8207 && r < 8224, r > 8241 && r < 8248:
			n++
		default:
			n += 2
		}
	}
	return n
}

// short is a post's text as the API gives it, with the addresses in it.
type short struct {
	text string
	urls []map[string]any
}

// shorten makes t.co addresses of links, adds that of the media, and escapes.
func shorten(p *Post, username string, cut int) short {
	var out short
	n := 0
	add := func(expanded, display, mediaKey string) string {
		n++
		u := map[string]any{"url": fmt.Sprintf("https://t.co/%s%02d", p.ID[9:], n), "expanded_url": expanded, "display_url": display}
		if mediaKey != "" {
			u["media_key"] = mediaKey
		}
		out.urls = append(out.urls, u)
		return u["url"].(string)
	}
	text := links.ReplaceAllStringFunc(p.Text, func(l string) string {
		tail := ""
		for l != "" && strings.ContainsRune(".,;:!?)", rune(l[len(l)-1])) {
			l, tail = l[:len(l)-1], l[len(l)-1:]+tail
		}
		full := l
		if !strings.Contains(strings.ToLower(l), "://") {
			full = "http://" + l
		}
		return add(full, strings.TrimPrefix(strings.TrimPrefix(l, "https://"), "http://"), "") + tail
	})
	if cut > 0 && utf8.RuneCountInString(text) > cut {
		text = string([]rune(text)[:cut-1]) + "…"
	}
	if len(p.Media) > 0 {
		page := fmt.Sprintf("https://x.com/%s/status/%s/photo/1", username, p.ID)
		if text != "" {
			text += " "
		}
		text += add(page, "pic.x.com/abc", "3_"+p.Media[0])
	}
	out.text = html.EscapeString(text)
	out.text = strings.NewReplacer("&#34;", `"`, "&#39;", "'").Replace(out.text) // only & < > are escaped
	return out
}
