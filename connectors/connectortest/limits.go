package connectortest

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/rivo/uniseg"

	"smi/connectors"
	"smi/internal/social"
)

// wireMost is the largest file the suite sends; limits above it are checked
// without the network.
const wireMost = 4 << 20

// limit is one limit and a part on either side of it.
type limit struct {
	name  string
	field string // what Check and the network must name; a prefix will do
	at    func(*check) *social.Part
	past  func(*check) *social.Part
	big   bool // too large to be sent in a test
}

func (r *runner) limits(t *testing.T) {
	if !r.verbs.Publish {
		r.na("limits/all", "nothing can be published")
		return
	}
	for _, l := range r.textLimits() {
		r.limit(t, l)
	}
	for _, l := range r.mediaLimits() {
		r.limit(t, l)
	}
	for _, l := range r.otherLimits() {
		r.limit(t, l)
	}
	r.counts(t)
}

// limit checks both sides of one limit, with Check and with the network.
func (r *runner) limit(t *testing.T, l limit) {
	loose, isLoose := r.skip("limits/" + l.name + " at the network")
	r.check(t, "limits/"+l.name, "what Check allows is taken, what it refuses would have been refused, in the same words", func(c *check) string {
		if isLoose {
			c.Logf("not asked of the network: %s", loose)
		}
		if l.at != nil {
			p := l.at(c)
			if bad := social.Refusals(c.client.Check([]social.Part{*p})); len(bad) > 0 {
				c.Errorf("exactly at the limit, Check refuses: %+v", bad)
			} else if !l.big {
				j := c.job(*p)
				_, err := c.prepare(c.Context(), j)
				c.want("preparing what is exactly at the limit", err, "")
				if err == nil {
					_, _, err = c.shoot(c.Context(), j)
					c.want("committing what is exactly at the limit", err, "")
					c.effects(1, "a post exactly at the limit")
				}
			}
		}
		if l.past == nil {
			return ""
		}
		before := c.h.Truth.Effects()
		p := l.past(c)
		bad := social.Refusals(c.client.Check([]social.Part{*p}))
		named := false
		for _, b := range bad {
			named = named || strings.HasPrefix(strings.TrimPrefix(b.Field, "parts[0]."), l.field)
			if b.Text == "" {
				c.Errorf("Check refuses %s without a word", b.Field)
			}
		}
		if !named {
			c.Errorf("one past the limit, Check does not refuse %q: %+v", l.field, bad)
		}
		if l.big || isLoose {
			return ""
		}
		j := c.job(*p)
		_, err := c.prepare(c.Context(), j)
		if err == nil {
			_, _, err = c.shoot(c.Context(), j)
		}
		c.want("publishing what is one past the limit, in spite of Check,", err, connectors.Invalid)
		if e := connectors.AsError(err); e != nil && e.Kind == connectors.Invalid && !strings.HasPrefix(e.Field, l.field) {
			c.Errorf("the network's refusal names the field %q, Check names %q", e.Field, l.field)
		}
		c.effects(before, "a post one past the limit")
		return ""
	})
}

// length counts text as the network does.
func (r *runner) length(s string) int {
	switch r.about.Limits.Text.Unit {
	case connectors.Graphemes:
		return uniseg.GraphemeClusterCount(s)
	case connectors.Runes:
		return utf8.RuneCountInString(s)
	case connectors.UTF16:
		return len(utf16.Encode([]rune(s)))
	case connectors.Weighted:
		if r.probe.Count != nil {
			return r.probe.Count(s)
		}
	case connectors.Bytes:
	}
	return len(s)
}

// scripts are characters that are counted differently by bytes, code points,
// UTF-16 and graphemes.
var scripts = []struct{ name, char string }{
	{"latin", "a"},
	{"cjk", "語"},
	{"arabic", "ب"},
	{"combining", "e\u0301"},
	{"emoji", "😀"},
	{"family", "👩\u200d👩\u200d👧\u200d👦"},
	{"flag", "🇻🇳"},
}

// text returns a text of exactly units, made of as many chars as bytes allow
// and of plain letters.
func (r *runner) text(char string, units, bytes int) string {
	if bytes == 0 {
		bytes = 1 << 30
	}
	w := r.length(char)
	n := 0
	for n = units / w; n > 0 && n*len(char)+(units-n*w) > bytes; n-- {
	}
	// A letter between flags would be swallowed by none of them; the letters come last.
	return strings.Repeat(char, n) + strings.Repeat("a", units-n*w)
}

func (r *runner) textLimits() []limit {
	tl := r.about.Limits.Text
	fix := func(text string) func(*check) *social.Part {
		return func(c *check) *social.Part {
			p := c.body(text)
			return &p
		}
	}
	if tl.Max == 0 {
		return []limit{{name: "no text", field: "text", past: fix("a")}}
	}
	var out []limit
	for _, s := range scripts {
		at := r.text(s.char, tl.Max, tl.Bytes)
		if len(at) == tl.Bytes {
			continue // one more letter would pass two limits; the byte limit has its own check
		}
		out = append(out, limit{name: "text " + s.name, field: "text", at: fix(at), past: fix(at + "a")})
	}
	if tl.Bytes > 0 {
		const wide = "👩\u200d👩\u200d👧\u200d👦"
		n := tl.Bytes / len(wide)
		at := strings.Repeat(wide, n) + strings.Repeat("a", tl.Bytes-n*len(wide))
		if r.length(at) < tl.Max {
			out = append(out, limit{name: "text bytes", field: "text", at: fix(at), past: fix(at + "a")})
		} else {
			r.na("limits/text bytes", "the other limit on text comes first")
		}
	}
	if r.about.Limits.MediaNeeded {
		return append(out, limit{name: "media needed", field: "media", past: func(*check) *social.Part {
			p := part("words alone")
			return &p
		}})
	}
	return append(out, limit{name: "empty", field: "text", past: func(*check) *social.Part {
		p := part("")
		return &p
	}})
}

// with is a body with n media of a kind, changed by fn.
func with(kind social.MediaKind, mime string, n int, size int64, fn func(i int, m *social.Media)) func(*check) *social.Part {
	return func(c *check) *social.Part {
		p := part("a picture is worth it")
		for i := range n {
			m := c.medium(kind, mime, size+int64(i)) // different files
			if fn != nil {
				fn(i, &m)
			}
			p.Media = append(p.Media, m)
		}
		return &p
	}
}

func (r *runner) mediaLimits() []limit {
	l := r.about.Limits
	var out []limit
	for _, k := range mediaKinds {
		name, ml := string(k), l.Of(k)
		if ml.Support == connectors.No {
			mime := map[social.MediaKind]string{social.Image: "image/png", social.GIF: "image/gif", social.Video: "video/mp4", social.Document: "application/pdf"}[k]
			out = append(out, limit{name: name + " refused", field: "media", past: with(k, mime, 1, 2000, nil)})
			continue
		}
		mime := ml.MIME[0]
		const small = 2000
		out = append(out,
			limit{name: name + " count", field: "media", at: with(k, mime, ml.Max, small, nil), past: with(k, mime, ml.Max+1, small, nil)},
			limit{name: name + " type", field: "media", past: func(c *check) *social.Part {
				p := with(k, mime, 1, small, nil)(c)
				p.Media[0].MIME = "application/x-unheard-of"
				return p
			}},
			r.sizeLimit(k, ml),
		)
		if ml.AltMax > 0 {
			alt := func(n int) func(*check) *social.Part {
				return with(k, mime, 1, small, func(_ int, m *social.Media) { m.Alt = strings.Repeat("a", n) })
			}
			out = append(out, limit{name: name + " alt", field: "media[0]", at: alt(ml.AltMax), past: alt(ml.AltMax + 1)})
		}
		if ml.MaxDuration > 0 {
			long := func(d time.Duration) func(*check) *social.Part {
				return with(k, mime, 1, small, func(_ int, m *social.Media) { m.Duration = d })
			}
			out = append(out, limit{name: name + " duration", field: "media[0]", at: long(ml.MaxDuration), past: long(ml.MaxDuration + time.Second)})
		}
		if ml.MinDuration > 0 {
			short := func(d time.Duration) func(*check) *social.Part {
				return with(k, mime, 1, small, func(_ int, m *social.Media) { m.Duration = d })
			}
			out = append(out, limit{name: name + " shortest", field: "media[0]", at: short(ml.MinDuration), past: short(ml.MinDuration / 2)})
		}
		for _, other := range ml.MIME[1:] {
			out = append(out, limit{name: name + " as " + strings.ReplaceAll(other, "/", " "), field: "media", at: with(k, other, 1, small, nil)})
		}
	}
	if l.Image.Support != connectors.No && l.Video.Support != connectors.No && l.MediaTotal > 1 {
		mixed := func(c *check) *social.Part {
			p := with(social.Image, l.Image.MIME[0], 1, 2000, nil)(c)
			p.Media = append(p.Media, c.medium(social.Video, l.Video.MIME[0], 2000))
			return p
		}
		if l.MixMedia {
			out = append(out, limit{name: "mixed media", at: mixed})
		} else {
			out = append(out, limit{name: "mixed media", field: "media", past: mixed})
		}
	}
	return out
}

// sizeLimit is the limit on the bytes of one file. Files too large for a test
// are only described, not made.
func (r *runner) sizeLimit(k social.MediaKind, ml connectors.MediaLimit) limit {
	out := limit{name: string(k) + " bytes", field: "media[0]", big: ml.Bytes > wireMost}
	if !out.big {
		out.at, out.past = with(k, ml.MIME[0], 1, ml.Bytes, nil), with(k, ml.MIME[0], 1, ml.Bytes+1, nil)
		return out
	}
	claim := func(n int64) func(*check) *social.Part {
		return with(k, ml.MIME[0], 1, 2000, func(_ int, m *social.Media) { m.Bytes = n })
	}
	out.at, out.past = claim(ml.Bytes), claim(ml.Bytes+1)
	return out
}

func (r *runner) otherLimits() []limit {
	l := r.about.Limits
	card := func(c *check) *social.Part {
		p := c.body("a link")
		p.Link = &social.LinkCard{URL: "https://example.com/page", Title: "A page", Description: "About it"}
		return &p
	}
	cardAndMedia := func(c *check) *social.Part {
		p := c.picture("a link")
		p.Link = &social.LinkCard{URL: "https://example.com/page", Title: "A page", Description: "About it"}
		return &p
	}
	var out []limit
	switch {
	case l.Link == connectors.No:
		out = append(out, limit{name: "link", field: "link", past: card})
	case l.LinkAndMedia:
		out = append(out, limit{name: "link", at: cardAndMedia})
	case l.MediaTotal > 0 && !l.MediaNeeded:
		out = append(out, limit{name: "link", field: "link", at: card, past: cardAndMedia})
	default:
		out = append(out, limit{name: "link", at: card})
	}
	tongues := []string{"en", "de", "vi", "fr", "es", "pt", "it", "nl", "sv", "pl"}
	langs := func(n int) func(*check) *social.Part {
		return func(c *check) *social.Part {
			p := c.body("hello")
			p.Langs = tongues[:n]
			return &p
		}
	}
	if l.Langs < len(tongues) {
		out = append(out, limit{name: "langs", field: "langs", at: langs(l.Langs), past: langs(l.Langs + 1)})
	}
	out = append(out, limit{name: "unknown option", field: "options.unheard_of", past: func(c *check) *social.Part {
		p := c.body("hello")
		p.Options = map[string]string{"unheard_of": "yes"}
		return &p
	}})
	for _, o := range l.Options {
		for _, v := range o.Values {
			out = append(out, limit{name: fmt.Sprintf("option %s %s", o.Key, v), at: func(c *check) *social.Part {
				p := c.body("hello")
				p.Options = map[string]string{o.Key: v}
				return &p
			}})
		}
		if len(o.Values) > 0 {
			out = append(out, limit{name: "option " + o.Key + " wrong", field: "options." + o.Key, past: func(c *check) *social.Part {
				p := c.body("hello")
				p.Options = map[string]string{o.Key: "unheard_of"}
				return &p
			}})
		}
	}
	return out
}

// counts are the limits on how many parts a delivery has. They are smi's own:
// each part is sent by itself.
func (r *runner) counts(t *testing.T) {
	r.check(t, "limits/parts", "a thread that is too long is stopped before its first item is out", func(c *check) string {
		l := r.about.Limits
		for _, k := range []struct {
			role social.PartRole
			max  int
		}{{social.RoleThread, l.Thread}, {social.RoleComment, l.Comment}} {
			parts := []social.Part{c.body("the body")}
			for i := range k.max + 1 {
				if i == k.max {
					if bad := social.Refusals(c.client.Check(parts)); len(bad) > 0 {
						c.Errorf("%d of role %s are refused: %+v", k.max, k.role, bad)
					}
				}
				p := c.body(fmt.Sprintf("part %d", i))
				p.Role = k.role
				parts = append(parts, p)
			}
			if bad := social.Refusals(c.client.Check(parts)); len(bad) == 0 {
				c.Errorf("%d of role %s are allowed, the limit is %d", k.max+1, k.role, k.max)
			}
		}
		return ""
	})
}
