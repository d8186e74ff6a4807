package mastodonsim

import (
	"html"
	"regexp"
	"strings"
	"unicode"

	"github.com/rivo/uniseg"
)

// entity finds what the server makes links of: web addresses, mentions and tags,
// each at the beginning of a word. The first group is what stands before it.
var (
	entityURL     = regexp.MustCompile(`(?i)https?://[^\s<>"“”«»]+\.[^\s<>"“”«»]+`)
	entityMention = regexp.MustCompile(`(^|[^/\w@])@([a-zA-Z0-9_]+(?:[a-zA-Z0-9_.-]+[a-zA-Z0-9_]+)?)(@[\p{L}\p{N}.-]*[\p{L}\p{N}])?`)
	entityTag     = regexp.MustCompile(`(^|[^\w/#&])#([\p{L}\p{N}_]*[\p{L}_][\p{L}\p{N}_]*)`)
)

// span is a place in a text that becomes a link.
type span struct {
	from, to int
	kind     byte // u, m, t
}

// spans finds the links of a text in order; of those that overlap the first.
func spans(text string) []span {
	var out []span
	add := func(from, to int, kind byte) {
		for _, s := range out {
			if from < s.to && s.from < to {
				return
			}
		}
		out = append(out, span{from, to, kind})
	}
	for _, m := range entityURL.FindAllStringIndex(text, -1) {
		if m[0] > 0 && isWord(text[:m[0]]) {
			continue
		}
		add(m[0], m[0]+len(trimAddress(text[m[0]:m[1]])), 'u')
	}
	for _, m := range entityMention.FindAllStringSubmatchIndex(text, -1) {
		add(m[4]-1, m[1], 'm')
	}
	for _, m := range entityTag.FindAllStringSubmatchIndex(text, -1) {
		add(m[4]-1, m[1], 't')
	}
	for i := range out { // a few: sorted by hand
		for j := i; j > 0 && out[j].from < out[j-1].from; j-- {
			out[j], out[j-1] = out[j-1], out[j]
		}
	}
	return out
}

// isWord says whether a text ends in the middle of a word.
func isWord(before string) bool {
	r := []rune(before)
	last := r[len(r)-1]
	return unicode.IsLetter(last) || unicode.IsDigit(last) || strings.ContainsRune("@$#_/", last)
}

// trimAddress takes off what ends the sentence and not the address.
func trimAddress(s string) string {
	for {
		short := strings.TrimRight(s, ".,:;!?'…")
		if strings.HasSuffix(short, ")") && strings.Count(short, ")") > strings.Count(short, "(") {
			short = short[:len(short)-1]
		}
		if short == s {
			return s
		}
		s = short
	}
}

// Count is how long the server finds a warning and a text.
func Count(spoiler, text string) int {
	var b strings.Builder
	at := 0
	for _, s := range spans(text) {
		b.WriteString(text[at:s.from])
		switch s.kind {
		case 'u':
			b.WriteString(strings.Repeat("x", perURL))
		case 'm':
			local, _, _ := strings.Cut(text[s.from+1:s.to], "@")
			b.WriteString("@" + local)
		default:
			b.WriteString(text[s.from:s.to])
		}
		at = s.to
	}
	b.WriteString(text[at:])
	return uniseg.GraphemeClusterCount(spoiler) + uniseg.GraphemeClusterCount(b.String())
}

// render makes the HTML of a text, and says whom it mentions.
func (s *Sim) render(base, text string) (content string, mentions []object) {
	var b strings.Builder
	plain := func(t string) { b.WriteString(html.EscapeString(t)) }
	at := 0
	for _, e := range spans(text) {
		plain(text[at:e.from])
		what := text[e.from:e.to]
		at = e.to
		switch e.kind {
		case 'u':
			b.WriteString(link(what))
		case 't':
			b.WriteString(`<a href="` + base + "/tags/" + html.EscapeString(strings.ToLower(what[1:])) + `" class="mention hashtag" rel="tag">#<span>` + html.EscapeString(what[1:]) + `</span></a>`)
		case 'm':
			local, host, remote := strings.Cut(what[1:], "@")
			href, acct := base+"/@"+local, local
			if remote && host != s.o.Domain {
				href, acct = "https://"+host+"/@"+local, local+"@"+host
			} else if !s.exists(local) {
				plain(what)
				continue
			}
			b.WriteString(`<span class="h-card" translate="no"><a href="` + html.EscapeString(href) + `" class="u-url mention">@<span>` + html.EscapeString(local) + `</span></a></span>`)
			mentions = append(mentions, object{"id": "1", "username": local, "url": href, "acct": acct})
		}
	}
	plain(text[at:])
	body := strings.ReplaceAll(b.String(), "\r\n", "\n")
	if body == "" {
		return "", mentions
	}
	var out strings.Builder
	for p := range strings.SplitSeq(body, "\n\n") {
		out.WriteString("<p>" + strings.ReplaceAll(p, "\n", "<br />") + "</p>")
	}
	return out.String(), mentions
}

// link shows an address in short and holds it in full.
func link(address string) string {
	scheme, rest, _ := strings.Cut(address, "://")
	hidden, shown := scheme+"://", rest
	if w, ok := strings.CutPrefix(rest, "www."); ok {
		hidden, shown = hidden+"www.", w
	}
	tail := ""
	class := ""
	if r := []rune(shown); len(r) > 30 {
		shown, tail, class = string(r[:30]), string(r[30:]), "ellipsis"
	}
	return `<a href="` + html.EscapeString(address) + `" target="_blank" rel="nofollow noopener" translate="no"><span class="invisible">` + html.EscapeString(hidden) +
		`</span><span class="` + class + `">` + html.EscapeString(shown) + `</span><span class="invisible">` + html.EscapeString(tail) + `</span></a>`
}

// exists says whether somebody is here. The caller holds s.mu.
func (s *Sim) exists(username string) bool {
	for _, a := range s.accounts {
		if strings.EqualFold(a.Username, username) {
			return true
		}
	}
	return false
}
