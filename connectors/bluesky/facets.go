package bluesky

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
	"golang.org/x/net/publicsuffix"
)

// Nothing is linked by the network itself: a post carries its links, mentions
// and tags as facets over byte ranges of its UTF-8 text
// (app.bsky.richtext.facet, read 2026-08-20).

// span is a facet found in a text, before mentions are resolved.
type span struct {
	start, end int    // bytes; end is exclusive
	kind       string // one of the facet features
	value      string // URL, handle or tag
}

// The facet features.
const (
	featureLink    = "app.bsky.richtext.facet#link"
	featureMention = "app.bsky.richtext.facet#mention"
	featureTag     = "app.bsky.richtext.facet#tag"
)

// maxTag is the longest tag in graphemes.
const maxTag = 64

var (
	// A link begins where a word begins. Scheme links end at white space, bare
	// ones are a domain, perhaps with a path.
	linkPattern = regexp.MustCompile(`(?i)(?:^|[\s("'<\[{«“‘（「])((?:https?://[^\s<>"“”「」]+)|(?:(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}(?::[0-9]{2,5})?(?:[/?#][^\s<>"“”「」]*)?))`)
	// A mention is a handle after an @ where a word begins.
	mentionPattern = regexp.MustCompile(`(?i)(?:^|[\s("'<\[{«“‘（「])(@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?)`)
	// A tag is everything after a # up to white space.
	tagPattern = regexp.MustCompile(`(?:^|\s)([#＃][^\s\x{00AD}\x{2060}\x{200A}\x{200B}\x{200C}\x{20e2}]+)`)
)

// findFacets returns the links, mentions and tags of a text in its order. They
// never overlap: what begins first wins, and a link wins over what is inside it.
func findFacets(text string) []span {
	var out []span
	add := func(s span) {
		for _, o := range out {
			if s.start < o.end && o.start < s.end {
				return
			}
		}
		out = append(out, s)
	}
	for _, m := range matches(linkPattern, text) {
		raw := trimLink(text[m[0]:m[1]])
		if uri, ok := linkURI(raw); ok {
			add(span{m[0], m[0] + len(raw), featureLink, uri})
		}
	}
	for _, m := range matches(mentionPattern, text) {
		handle := strings.ToLower(text[m[0]+1 : m[1]])
		add(span{m[0], m[0] + 1 + len(handle), featureMention, handle})
	}
	for _, m := range matches(tagPattern, text) {
		raw := trimTag(text[m[0]:m[1]])
		_, hash := utf8.DecodeRuneInString(raw)
		if tag := raw[hash:]; validTag(tag) {
			add(span{m[0], m[0] + len(raw), featureTag, tag})
		}
	}
	slices.SortFunc(out, func(a, b span) int { return a.start - b.start })
	return out
}

// matches returns the ranges of the first group of every match. The search goes
// on at the end of the group, so that the space between two matches can end one
// and begin the next.
func matches(re *regexp.Regexp, text string) [][2]int {
	var out [][2]int
	for at := 0; at < len(text); {
		m := re.FindStringSubmatchIndex(text[at:])
		if m == nil {
			break
		}
		start, end := at+m[2], at+m[3]
		// The pattern's "beginning of text" must not match in the middle.
		if m[2] == 0 && at > 0 && !boundary(text[:at]) {
			_, n := utf8.DecodeRuneInString(text[at:])
			at += n
			continue
		}
		out = append(out, [2]int{start, end})
		at = end
	}
	return out
}

// boundary says whether a word may begin after before.
func boundary(before string) bool {
	r, _ := utf8.DecodeLastRuneInString(before)
	return unicode.IsSpace(r) || strings.ContainsRune(`("'<[{«“‘（「`, r)
}

// trimLink takes the punctuation of the sentence off the end of a link.
func trimLink(s string) string {
	for s != "" {
		r, n := utf8.DecodeLastRuneInString(s)
		switch {
		case strings.ContainsRune(`.,;:!?'"*_~`, r), strings.ContainsRune("。、，！？；：…»”’", r):
		case r == ')' && strings.Count(s, ")") > strings.Count(s, "("):
		case r == ']' && strings.Count(s, "]") > strings.Count(s, "["):
		case r == '}' && strings.Count(s, "}") > strings.Count(s, "{"):
		case r == '）' || r == '」':
		default:
			return s
		}
		s = s[:len(s)-n]
	}
	return s
}

// linkURI makes the address of a link. A bare domain is one only under a top
// level domain that exists, so that "file.txt" and "e.g" stay words.
func linkURI(raw string) (string, bool) {
	scheme := strings.Contains(raw[:min(len(raw), 8)], "://")
	if !scheme {
		host, _, _ := strings.Cut(strings.ToLower(raw), "/")
		host = strings.FieldsFunc(host+"?", func(r rune) bool { return r == '?' || r == '#' || r == ':' })[0]
		suffix, icann := publicsuffix.PublicSuffix(host)
		if known := icann || strings.Contains(suffix, "."); !known || suffix == host {
			return "", false
		}
		raw = "https://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || !utf8.ValidString(raw) {
		return "", false
	}
	return raw, true
}

// trimTag takes punctuation off the end of a tag.
func trimTag(s string) string {
	return strings.TrimRightFunc(s, func(r rune) bool { return unicode.IsPunct(r) && r != '_' })
}

// validTag says whether a tag without its # is one: not empty, not only digits,
// not a keycap or other combining mark, not too long.
func validTag(tag string) bool {
	r, _ := utf8.DecodeRuneInString(tag)
	if tag == "" || r == 0xfe0f || r == 0x20e3 || uniseg.GraphemeClusterCount(tag) > maxTag {
		return false
	}
	return strings.ContainsFunc(tag, func(r rune) bool { return !unicode.IsDigit(r) && !unicode.IsPunct(r) })
}
