package linkedin

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The text of a post is in a format of LinkedIn's own ("little text format",
// Posts API, read 2026-08-22): some characters must have a backslash before
// them, or the post is cut there without a word; @[Name](urn) is a mention, #tag
// and {hashtag|\#|tag} are tags. The text of a comment is plain.

// reserved are the characters that need a backslash.
const reserved = `\|{}@[]()<>#*_~`

// mentionForm is how an author writes a mention. The name must be exactly that
// of the page or person, or it stays text.
var mentionForm = regexp.MustCompile(`^@\[([^\[\]\\\n]{1,200})\]\((urn:li:(?:person|organization):[A-Za-z0-9_-]{1,100})\)`)

// escape writes a text as LinkedIn wants it. unescape(escape(s)) is s.
func escape(s string) string {
	var b strings.Builder
	before := ' ' // the character before
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '@':
			if m := mentionForm.FindStringSubmatch(s[i:]); m != nil {
				b.WriteString("@[" + plain(m[1]) + "](" + m[2] + ")")
				n, r = len(m[0]), ')'
				break
			}
			b.WriteString(`\@`)
		case r == '#':
			tag := tagAt(s[i+1:], before)
			switch {
			case tag == "":
				b.WriteString(`\#`)
			case strings.Contains(tag, "_"):
				b.WriteString(`{hashtag|\#|` + plain(tag) + "}")
			default:
				b.WriteString("#" + tag)
			}
			if tag != "" {
				n += len(tag)
				r, _ = utf8.DecodeLastRuneInString(tag)
			}
		case strings.ContainsRune(reserved, r):
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteString(s[i : i+n])
		}
		before = r
		i += n
	}
	return b.String()
}

// tagAt returns the tag that begins at s, which follows a #, or "".
func tagAt(s string, before rune) string {
	if !unicode.IsSpace(before) && !strings.ContainsRune(`([{"'“‘«`, before) {
		return ""
	}
	end, letter := len(s), false
	for i, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && r != '_' {
			end = i
			break
		}
		letter = letter || unicode.IsLetter(r)
	}
	if first, _ := utf8.DecodeRuneInString(s); !letter || first == '_' || unicode.IsMark(first) {
		return ""
	}
	return s[:end]
}

// plain puts a backslash before each reserved character.
func plain(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(reserved, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

const tagTemplate = `{hashtag|\#|`

// unescape is the text as an author would write it.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && strings.IndexByte(reserved, s[i+1]) >= 0:
			i++
			b.WriteByte(s[i])
		case strings.HasPrefix(s[i:], tagTemplate):
			rest := s[i+len(tagTemplate):]
			end := strings.IndexByte(rest, '}')
			if end < 0 {
				b.WriteByte(s[i])
				continue
			}
			b.WriteString("#" + unescape(rest[:end]))
			i += len(tagTemplate) + end
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// length counts a text in a unit.
func length(s, unit string) int {
	n := utf8.RuneCountInString(s)
	if unit == unitRunes {
		return n
	}
	for _, r := range s {
		if r > 0xffff {
			n++
		}
	}
	return n
}

// count counts the text of a post as LinkedIn is taken to count it.
func (c *Config) count(s string) int {
	if c.CountEscapes {
		s = escape(s)
	}
	return length(s, c.TextUnit)
}
