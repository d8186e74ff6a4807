package social

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html"
	"strings"
	"unicode"
)

// Fingerprint recognises a post on a network's page: the same account saying
// the same words with the same kinds of media under the same parent. It is used
// to find a post whose answer was lost and to notice a repetition.
//
// parent is the remote id that the post answers, or "". Text is normalised (see
// NormalText) so that what a network changes in storing it does not matter.
// Callers pass text in Unicode NFC; the connectors' Client sees to it.
func Fingerprint(network Network, account, parent, text string, media []MediaKind) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s\x00%d", network, account, parent, NormalText(text), len(media))
	for _, m := range media {
		fmt.Fprintf(h, "\x00%s", m)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Kinds returns the kinds of a part's media.
func Kinds(media []Media) []MediaKind {
	var out []MediaKind
	for _, m := range media {
		out = append(out, m.Kind)
	}
	return out
}

// NormalText undoes what networks do to text: HTML entities become characters
// (however often they were escaped: an author may write one, and a network
// escape it again), zero-width characters go, every run of white space becomes
// one space. A normal text stays as it is.
func NormalText(s string) string {
	for range 8 {
		n := normalOnce(s)
		if n == s {
			break
		}
		s = n
	}
	return s
}

func normalOnce(s string) string {
	s = html.UnescapeString(s)
	var b strings.Builder
	space := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = b.Len() > 0
		case r == 0x200b || r == 0xfeff || r == 0xfe0f:
		default:
			if space {
				b.WriteByte(' ')
				space = false
			}
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Similarity compares two texts by the words they share: 1 is the same text,
// 0 has no word in common. It is shown to a person who must choose between
// candidates, and decides nothing by itself.
func Similarity(a, b string) float64 {
	count := func(s string) map[string]int {
		m := map[string]int{}
		for w := range strings.FieldsSeq(strings.ToLower(NormalText(s))) {
			m[w]++
		}
		return m
	}
	ma, mb := count(a), count(b)
	var common, total int
	for w, n := range ma {
		common += min(n, mb[w])
		total += n
	}
	for _, n := range mb {
		total += n
	}
	if total == 0 {
		return 1
	}
	return 2 * float64(common) / float64(total)
}
