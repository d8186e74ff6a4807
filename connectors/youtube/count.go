package youtube

import (
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// The limits of words (YouTube Data API, "Videos", snippet.title, description
// and tags[], read 2026-11).
const (
	maxTitle       = 100  // characters, see titleLength
	maxDescription = 5000 // bytes of UTF-8
	maxTags        = 500  // characters, see tagsLength
)

// titleLength counts a title. The network says "characters" and not which; UTF-16
// units are never fewer than any other, so a title that fits here fits there.
func titleLength(s string) int {
	n := 0
	for _, r := range s {
		n += max(utf16.RuneLen(r), 1)
	}
	return n
}

// tagsLength counts tags as the network does: their characters, a comma between
// two, and two quotation marks around one that holds a space.
func tagsLength(tags []string) int {
	n := max(len(tags)-1, 0)
	for _, t := range tags {
		n += titleLength(t)
		if strings.ContainsFunc(t, unicode.IsSpace) {
			n += 2
		}
	}
	return n
}

// splitTags reads the tags of an option: separated by commas, each once.
func splitTags(s string) []string {
	var out []string
	seen := map[string]bool{}
	for t := range strings.SplitSeq(s, ",") {
		t = strings.TrimSpace(t)
		if t == "" || seen[t] {
			continue
		}
		seen[t] = true
		out = append(out, t)
	}
	return out
}

// hasAngle says whether a text holds < or >, which titles and descriptions may
// not.
func hasAngle(s string) bool { return strings.ContainsAny(s, "<>") }

// titleOf makes a title of a text that has none: its first line, cut between two
// words where it is too long, and never inside a character.
func titleOf(text string) string {
	line := ""
	for l := range strings.Lines(text) {
		l = strings.Join(strings.FieldsFunc(l, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '<' || r == '>' }), " ")
		if l != "" {
			line = l
			break
		}
	}
	if titleLength(line) <= maxTitle {
		return line
	}
	room := maxTitle - titleLength("…")
	cut, used, space := 0, 0, 0
	for rest, state := line, -1; rest != ""; {
		var cluster string
		cluster, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if used += titleLength(cluster); used > room {
			break
		}
		if cluster == " " {
			space = cut
		}
		cut += len(cluster)
	}
	if space > cut/2 {
		cut = space
	}
	if cut == 0 { // one character longer than a title
		for cut < len(line) && titleLength(line[:cut]) < room-1 {
			_, n := utf8.DecodeRuneInString(line[cut:])
			cut += n
		}
	}
	return strings.TrimSpace(line[:cut]) + "…"
}
