package linkedin

import "strings"

// How LinkedIn writes values into addresses: Rest.li protocol 2.0.0
// (linkedin.github.io/rest.li, "Protocol"; read 2026-08-22). The characters
// ( ) , : and the word List are structure and stay as they are; inside a value
// they are percent-encoded, with everything else that encodeURIComponent
// encodes, and the apostrophe. net/url would encode the structure as well, so
// that queries are put together here.

// enc writes one value. An empty one is written as two apostrophes.
func enc(s string) string {
	if s == "" {
		return "''"
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.!~*", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}

// list writes a list of values.
func list(values []string) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = enc(v)
	}
	return "List(" + strings.Join(out, ",") + ")"
}
