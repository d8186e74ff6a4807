package youtube

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/rivo/uniseg"
	"golang.org/x/text/unicode/norm"

	"smi/internal/social"
)

// The limits of words (YouTube Data API, "Videos", snippet.title, description
// and tags[], read 2026-11).
const (
	maxTitle       = 100  // characters, see titleLength
	maxDescription = 5000 // bytes of UTF-8
	maxTags        = 500  // characters, see tagsLength
	maxHashtags    = 60   // with more the network ignores them all (YouTube Help, "Use hashtags", read 2026-11)
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

// titleFor is the title of the video of a part: the option, or the first line of
// the text.
func titleFor(p *social.Part) string {
	if t := norm.NFC.String(strings.TrimSpace(p.Options[optionTitle])); t != "" {
		return t
	}
	return titleOf(p.Text)
}

// words are what a video is recognised by: its title and its description. Many
// channels have the same description under all their videos, and some none. A
// title that is the description's own first line adds nothing to it.
func words(title, text string) string {
	first, _, _ := strings.Cut(text, "\n")
	if t := social.NormalText(title); t == social.NormalText(titleOf(text)) || t == social.NormalText(first) {
		return text
	}
	return title + "\n" + text
}

// Words are what a part is recognised by.
func (c *conn) Words(p *social.Part) string { return words(titleFor(p), p.Text) }

// hashtagForm is a hashtag.
var hashtagForm = regexp.MustCompile(`#[\p{L}\p{M}\p{N}_]+`)

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
