package twitter

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
	"golang.org/x/text/unicode/norm"
)

// urlWeight is what every link counts, however long it is: it becomes a t.co
// address (docs.x.com, Counting characters, read 2026-08-22).
const urlWeight = 23

// Weight counts a text as X does (docs.x.com, Counting characters, and
// configuration v3 of twitter-text, read 2026-08-22): the text in NFC, each link
// 23, each emoji 2, code points of the Latin, Cyrillic, Greek, Arabic and other
// alphabets below U+1100 and some punctuation 1, all others 2.
func Weight(text string) int {
	text = norm.NFC.String(text)
	n, at := 0, 0
	for _, u := range findURLs(text) {
		n += weigh(text[at:u.start]) + urlWeight
		at = u.end
	}
	return n + weigh(text[at:])
}

func weigh(s string) int {
	n, state := 0, -1
	var cluster string
	for s != "" {
		cluster, s, _, state = uniseg.FirstGraphemeClusterInString(s, state)
		if isEmoji(cluster) {
			n += 2
			continue
		}
		for _, r := range cluster {
			n += runeWeight(r)
		}
	}
	return n
}

func runeWeight(r rune) int {
	switch {
	case r <= 4351, r >= 8192 && r <= 8205, r >= 8208 && r <= 8223, r >= 8242 && r <= 8247:
		return 1
	}
	return 2
}

// isEmoji says whether a grapheme cluster is an emoji of several code points.
// One of a single code point weighs 2 anyway.
func isEmoji(cluster string) bool {
	first, size := utf8.DecodeRuneInString(cluster)
	if size == len(cluster) {
		return false
	}
	for _, r := range cluster[size:] {
		switch {
		case isFlagLetter(r) && isFlagLetter(first), // two letters make a flag
			r == 0x20e3, // keycap
			(r == 0xfe0f || r == 0x200d || r >= 0x1f3fb && r <= 0x1f3ff || r >= 0xe0020 && r <= 0xe007f) && isPictograph(first):
			return true
		}
	}
	return false
}

func isFlagLetter(r rune) bool { return r >= 0x1f1e6 && r <= 0x1f1ff }

// isPictograph says whether a code point may begin an emoji (Unicode emoji-data
// 15.1, rounded to whole blocks where the rest of a block is no text either).
func isPictograph(r rune) bool {
	switch {
	case r >= 0x1f000 && r <= 0x1faff, r >= 0x2600 && r <= 0x27bf, r >= 0x2190 && r <= 0x21ff, r >= 0x2300 && r <= 0x23ff,
		r >= 0x25a0 && r <= 0x25ff, r >= 0x2b00 && r <= 0x2bff, r >= 0x2934 && r <= 0x2935, r >= '0' && r <= '9':
		return true
	}
	return strings.ContainsRune("#*©®‼⁉™ℹⓂ〰〽㊗㊙", r)
}

// span is a link in a text, by bytes.
type span struct{ start, end int }

// Links with a scheme may have a host in any script, those without only in
// Latin letters (twitter-text, read 2026-08-22).
var (
	schemed = regexp.MustCompile(`(?i)https?://(?:[\pL\pN](?:[\pL\pN\pM_-]*[\pL\pN\pM])?\.)+([\pL\pM]{2,}|xn--[a-z0-9-]+)(?::\d+)?(?:[/?#]\S*)?`)
	bare    = regexp.MustCompile(`(?i)(?:[a-z0-9\x{c0}-\x{24f}](?:[a-z0-9\x{c0}-\x{24f}_-]*[a-z0-9\x{c0}-\x{24f}])?\.)+([a-z]{2,}|xn--[a-z0-9-]+)(?::\d+)?(?:[/?]\S*)?`)
)

// findURLs finds the links that X makes of a text, in order.
func findURLs(text string) []span {
	var out []span
	at := 0
	for at < len(text) {
		u, ok := nextURL(text, at)
		if !ok {
			break
		}
		out = append(out, u)
		at = u.end
	}
	return out
}

// nextURL finds the first link at or after a byte.
func nextURL(text string, from int) (span, bool) {
	for at := from; at < len(text); {
		s, b := schemed.FindStringSubmatchIndex(text[at:]), bare.FindStringSubmatchIndex(text[at:])
		m, isBare := s, false
		if m == nil || b != nil && b[0] < s[0] {
			m, isBare = b, true
		}
		if m == nil {
			return span{}, false
		}
		u := span{at + m[0], at + m[1]}
		label := text[at+m[2] : at+m[3]]
		valid := validTLD(label)
		if end := strings.IndexFunc(label, func(r rune) bool { return r >= utf8.RuneSelf }); !valid && end > 0 {
			// A script without spaces goes on right behind the host.
			valid, u.end = validTLD(label[:end]), at+m[2]+end
		}
		if valid && mayPrecede(text[:u.start], isBare) && !(isBare && strings.HasPrefix(text[u.end:], "@")) {
			u.end = trimURL(text, u)
			return u, true
		}
		_, size := utf8.DecodeRuneInString(text[u.start:])
		if size = max(size, 1); isBare { // the whole word is none
			for u.start+size < u.end && !strings.ContainsRune(" /?", rune(text[u.start+size])) {
				size++
			}
		}
		at = u.start + size
	}
	return span{}, false
}

// mayPrecede says whether a link may follow this text: not inside a word, a
// mention, a tag or a mail address.
func mayPrecede(before string, isBare bool) bool {
	r, size := utf8.DecodeLastRuneInString(before)
	switch {
	case size == 0:
		return true
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("@＠$#＃", r), r >= 0x202a && r <= 0x202e:
		return false
	}
	return !isBare || !strings.ContainsRune("-_./", r)
}

// trimURL leaves punctuation at the end of a link to the sentence around it.
func trimURL(text string, u span) int {
	s := text[u.start:u.end]
	from := 0
	if i := strings.Index(s, "://"); i >= 0 {
		from = i + len("://")
	}
	host := strings.IndexAny(s[from:], "/?#")
	if host < 0 {
		return u.end
	}
	from += host
	if i := strings.IndexFunc(s[from:], func(r rune) bool { return r >= 0x2e80 && r <= 0x9fff || r >= 0xac00 && r <= 0xd7af || r >= 0xff00 }); i > 0 {
		s = s[:from+i] // the path ends where a script without spaces goes on
	}
	for s != "" {
		r, size := utf8.DecodeLastRuneInString(s)
		closes := r == ')' && strings.Count(s, ")") > strings.Count(s, "(")
		if !closes && !strings.ContainsRune(".,;:!?'\"`…*]}<>|“”‘’«»", r) && !unicode.IsControl(r) {
			break
		}
		s = s[:len(s)-size]
	}
	return u.start + len(s)
}

// validTLD says whether the last label of a host is a domain that the public
// suffix list knows.
func validTLD(label string) bool {
	ascii, err := idna.ToASCII(strings.ToLower(label))
	if err != nil {
		return false
	}
	_, icann := publicsuffix.PublicSuffix(ascii)
	return icann
}

// plainURL is an address as it is compared: X adds a scheme and may change the
// case of the host and the last slash.
func plainURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		if u, err = url.Parse("http://" + raw); err != nil {
			return raw
		}
	}
	return strings.ToLower(u.Host) + strings.TrimSuffix(u.RequestURI(), "/") + u.Fragment
}

// plainLinks writes every link of a text in the form in which it is compared.
func plainLinks(text string) string {
	var b strings.Builder
	at := 0
	for _, u := range findURLs(text) {
		b.WriteString(text[at:u.start])
		b.WriteString(plainURL(text[u.start:u.end]))
		at = u.end
	}
	return b.String() + text[at:]
}
