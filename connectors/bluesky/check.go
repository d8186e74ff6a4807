package bluesky

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/rivo/uniseg"
	"golang.org/x/text/language"

	"smi/connectors"
	"smi/connectors/internal/check"
	"smi/internal/social"
)

// The options of a part.
const (
	optionQuote = "quote"
	optionLabel = "label"
)

// labels are the warnings that an author may put on a post of their own
// (com.atproto.label.defs, read 2026-08-20).
var labels = []string{"sexual", "nudity", "porn", "graphic-media"}

// maxThumb is the largest picture of a link card in bytes.
const maxThumb = 1_000_000

// limits are the rules of app.bsky.feed.post and its embeds (lexicons of
// bluesky-social/atproto, read 2026-08-20). The network itself has no bound on
// threads; the length of alt text and of videos are those of its own client.
var limits = connectors.Limits{
	Text: connectors.TextLimit{Unit: connectors.Graphemes, Max: 300, Bytes: 3000},
	Image: connectors.MediaLimit{
		Support: connectors.OK, Max: 4, Bytes: 2_000_000, AltMax: 2000,
		MIME: []string{"image/jpeg", "image/png", "image/webp"},
	},
	GIF: connectors.MediaLimit{
		Support: connectors.Lossy, Max: 4, Bytes: 2_000_000, AltMax: 2000,
		MIME: []string{"image/gif"}, Note: "it is shown as a still picture; convert it to a video to keep it moving",
	},
	Video: connectors.MediaLimit{
		Support: connectors.OK, Max: 1, Bytes: 300_000_000, AltMax: 2000, MaxDuration: 3 * time.Minute,
		MIME: []string{"video/mp4"},
	},
	MediaTotal: 4,
	Link:       connectors.OK,
	Thread:     99,
	Comment:    10,
	Langs:      3,
	Options: []connectors.OptionDoc{
		{Key: optionQuote, Doc: "Post to quote: its address on bsky.app or its at:// address."},
		{Key: optionLabel, Values: labels, Doc: "Content warning that the author puts on the post."},
	},
}

var _ connectors.Publisher = (*conn)(nil)

// Check says what is wrong with a part. Pure.
func (c *conn) Check(p *social.Part) []social.Problem {
	k := checker{part: p}
	k.text()
	k.langs()
	k.media()
	k.link()
	k.options()
	return k.Found
}

type checker struct {
	check.Problems
	part *social.Part
}

func (k *checker) text() {
	t, l := k.part.Text, limits.Text
	if !utf8.ValidString(t) {
		k.Refuse("text", "the text is not valid UTF-8; type it again")
		return
	}
	if strings.TrimSpace(t) == "" && len(k.part.Media) == 0 && k.part.Link == nil && k.part.Options[optionQuote] == "" {
		k.Refuse("text", "the post is empty; write something or add media")
	}
	n := uniseg.GraphemeClusterCount(t)
	k.Over("text", int64(l.Max), int64(n), "the text has %d characters; Bluesky takes %d", n, l.Max)
	k.Over("text", int64(l.Bytes), int64(len(t)), "the text has %d bytes; Bluesky takes %d: use fewer emoji or accents", len(t), l.Bytes)
}

func (k *checker) langs() {
	n := len(k.part.Langs)
	k.Over("langs", int64(limits.Langs), int64(n), "there are %d languages; Bluesky takes %d", n, limits.Langs)
	for i, l := range k.part.Langs {
		_, bad := syntax.ParseLanguage(l) // what the network takes
		_, err := language.Parse(l)       // what means something
		if bad != nil || err != nil {
			k.Refuse(fmt.Sprintf("langs[%d]", i), "%q is no language tag; write one such as en or pt-BR", l)
		}
	}
}

func (k *checker) media() {
	pictures, videos := 0, 0
	for i := range k.part.Media {
		m := &k.part.Media[i]
		field := fmt.Sprintf("media[%d]", i)
		var l connectors.MediaLimit
		switch m.Kind {
		case social.Image:
			pictures++
			l = limits.Image
		case social.GIF:
			pictures++
			l = limits.GIF
			k.Say(social.Lossy, field, "Bluesky does not animate GIFs: %s", l.Note)
		case social.Video:
			videos++
			l = limits.Video
			if m.Duration > l.MaxDuration {
				p := k.Refuse(field, "the video is %s long; Bluesky takes %s", m.Duration.Round(time.Second), l.MaxDuration)
				p.Limit, p.Value = l.MaxDuration.Milliseconds(), m.Duration.Milliseconds()
			}
		default:
			k.Refuse(field, "Bluesky takes pictures and videos, no %s", m.Kind)
			continue
		}
		if m.MIME != "" && !slices.Contains(l.MIME, m.MIME) {
			k.Refuse(field, "Bluesky does not take %s here; convert it to %s", m.MIME, l.MIME[0])
		}
		k.Over(field, l.Bytes, m.Bytes, "the file has %d bytes; Bluesky takes %d", m.Bytes, l.Bytes)
		n := utf8.RuneCountInString(m.Alt)
		k.Over(field+".alt", int64(l.AltMax), int64(n), "the alt text has %d characters; Bluesky shows %d", n, l.AltMax)
		if strings.TrimSpace(m.Alt) == "" {
			k.Say(social.Advice, field+".alt", "describe it for people who cannot see it")
		}
	}
	if pictures > 0 && videos > 0 {
		k.Refuse("media", "Bluesky takes pictures or one video, not both; split the post")
	}
	k.Over("media", int64(limits.Image.Max), int64(pictures), "there are %d pictures; Bluesky takes %d", pictures, limits.Image.Max)
	k.Over("media", int64(limits.Video.Max), int64(videos), "there are %d videos; Bluesky takes %d", videos, limits.Video.Max)
}

func (k *checker) link() {
	l := k.part.Link
	if l == nil {
		return
	}
	if u, err := url.Parse(l.URL); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		k.Refuse("link", "%q is no web address; write it as https://…", l.URL)
	}
	if len(k.part.Media) > 0 {
		k.Refuse("link", "Bluesky shows a link card or media, not both; put the link into the text or remove the media")
	}
	if t := l.Thumb; t != nil {
		if t.Kind != social.Image {
			k.Refuse("link", "the picture of a link card must be a still image, not a %s", t.Kind)
		}
		k.Over("link", maxThumb, t.Bytes, "the picture of the link card has %d bytes; Bluesky takes %d", t.Bytes, maxThumb)
	}
}

func (k *checker) options() {
	for _, key := range slices.Sorted(maps.Keys(k.part.Options)) {
		v := k.part.Options[key]
		switch key {
		case optionQuote:
			if _, err := parsePostRef(v); v != "" && err != nil {
				k.Refuse("options."+key, "%v", err)
			}
		case optionLabel:
			if v != "" && !slices.Contains(labels, v) {
				k.Refuse("options."+key, "%q is no content warning; use one of %s", v, strings.Join(labels, ", "))
			}
		default:
			k.Refuse("options."+key, "Bluesky has no option %q; it has %s and %s", key, optionQuote, optionLabel)
		}
	}
}
