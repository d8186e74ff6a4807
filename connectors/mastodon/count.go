package mastodon

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// Length is how long a server finds a post: the grapheme clusters of its warning
// and its text, where each web address counts perURL and of @name@host only
// @name (mastodon/mastodon, app/validators/status_length_validator.rb, and
// docs.joinmastodon.org, user/posting, read 2026-07-02).
func Length(warning, text string, perURL int) int {
	var b strings.Builder
	n := 0
	for at := 0; at < len(text); {
		rest := text[at:]
		switch {
		case startsAddress(text, at):
			end := addressEnd(rest)
			if end == 0 {
				break
			}
			// What stands around an address never joins it into one cluster.
			n += uniseg.GraphemeClusterCount(b.String()) + perURL
			b.Reset()
			at += end
			continue
		case rest[0] == '@' && !wordBefore(text, at):
			if m := remoteMention.FindStringSubmatch(rest); m != nil {
				b.WriteString(m[1])
				at += len(m[0])
				continue
			}
		}
		_, size := utf8.DecodeRuneInString(rest)
		b.WriteString(rest[:size])
		at += size
	}
	return uniseg.GraphemeClusterCount(warning) + n + uniseg.GraphemeClusterCount(b.String())
}

// remoteMention is a mention of somebody on another server.
var remoteMention = regexp.MustCompile(`^(@[A-Za-z0-9_]+(?:[A-Za-z0-9_.-]*[A-Za-z0-9_]+)?)@[\p{L}\p{N}](?:[\p{L}\p{N}.-]*[\p{L}\p{N}])?`)

// address is the beginning of a web address up to the end of its host.
var address = regexp.MustCompile(`^(?i:https?)://[\p{L}\p{N}](?:[\p{L}\p{N}.-]*[\p{L}\p{N}])?(?::\d+)?`)

// startsAddress says whether a web address may begin here: not in the middle of
// a word.
func startsAddress(text string, at int) bool {
	rest := text[at:]
	return len(rest) > 7 && (rest[0] == 'h' || rest[0] == 'H') && !wordBefore(text, at) && address.MatchString(rest)
}

// wordBefore says whether the character before a place belongs to a word.
func wordBefore(text string, at int) bool {
	r, _ := utf8.DecodeLastRuneInString(text[:at])
	return at > 0 && (unicode.IsLetter(r) || unicode.IsNumber(r) || strings.ContainsRune("_@/$#", r))
}

// addressEnd is where a web address ends: before white space, and before the
// punctuation that ends a sentence or closes what was opened before it. 0 means
// that it is none: a host without a dot.
func addressEnd(s string) int {
	host := address.FindString(s)
	_, name, _ := strings.Cut(host, "://")
	if !strings.Contains(name, ".") {
		return 0
	}
	end, open := len(host), 0
	if end == len(s) || !strings.ContainsRune("/?#", rune(s[end])) {
		return end
	}
	last := end
	for i, r := range s[end:] {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("<>\"“”«»", r):
			return last
		case r == '(':
			open++
			continue
		case r == ')':
			if open == 0 {
				return last
			}
			open--
		case strings.ContainsRune(".,:;!?'…", r):
			continue
		}
		last = end + i + utf8.RuneLen(r)
	}
	return last
}
