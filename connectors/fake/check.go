package fake

import (
	"fmt"
	"net/http"
	"slices"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/rivo/uniseg"

	"smi/connectors"
	"smi/internal/social"
)

// Check implements connectors.Publisher. It is the connector's half: from the
// limits alone. What the network itself refuses is in Network.refuse, written
// apart so that one mistake is not made twice.
func (c *conn) Check(p *social.Part) []social.Problem {
	l := c.net.about.Limits
	var out []social.Problem
	refuse := func(field string, limit, value int64, format string, args ...any) {
		out = append(out, social.Problem{Field: field, Text: fmt.Sprintf(format, args...), Severity: social.Refused, Limit: limit, Value: value})
	}
	if l.Text.Max == 0 && p.Text != "" {
		refuse("text", 0, 0, "this network shows no text; take it away")
	} else if n := length(p.Text, l.Text.Unit); n > l.Text.Max {
		refuse("text", int64(l.Text.Max), int64(n), "the text has %d characters and may have %d; shorten it", n, l.Text.Max)
	}
	if n := len(p.Text); l.Text.Bytes > 0 && n > l.Text.Bytes {
		refuse("text", int64(l.Text.Bytes), int64(n), "the text has %d bytes and may have %d; shorten it", n, l.Text.Bytes)
	}
	if p.Text == "" && len(p.Media) == 0 && p.Link == nil {
		refuse("text", 0, 0, "there is nothing to publish; write something or add a picture")
	}
	c.checkMedia(l, p, refuse)
	if p.Link != nil {
		switch {
		case l.Link == connectors.No:
			refuse("link", 0, 0, "this network has no link cards; put the address into the text")
		case len(p.Media) > 0 && !l.LinkAndMedia:
			refuse("link", 0, 0, "a link card and media do not go together here; take one of them away")
		}
	}
	if len(p.Langs) > l.Langs {
		refuse("langs", int64(l.Langs), int64(len(p.Langs)), "there are %d languages and may be %d; take some away", len(p.Langs), l.Langs)
	}
	for _, k := range sortedKeys(p.Options) {
		i := slices.IndexFunc(l.Options, func(o connectors.OptionDoc) bool { return o.Key == k })
		if i < 0 {
			refuse("options."+k, 0, 0, "this network knows no option %q; take it away", k)
		} else if vs := l.Options[i].Values; len(vs) > 0 && !slices.Contains(vs, p.Options[k]) {
			refuse("options."+k, 0, 0, "%q is no value of %s; use one of %v", p.Options[k], k, vs)
		}
	}
	return out
}

func (c *conn) checkMedia(l connectors.Limits, p *social.Part, refuse func(string, int64, int64, string, ...any)) {
	if len(p.Media) == 0 {
		if l.MediaNeeded && p.Role == social.RoleBody {
			refuse("media", 1, 0, "this network needs a picture or a video; add one")
		}
		return
	}
	if len(p.Media) > l.MediaTotal {
		refuse("media", int64(l.MediaTotal), int64(len(p.Media)), "there are %d files and may be %d; take some away", len(p.Media), l.MediaTotal)
	}
	count := map[social.MediaKind]int{}
	for i, m := range p.Media {
		at := fmt.Sprintf("media[%d]", i)
		ml := l.Of(m.Kind)
		count[m.Kind]++
		switch {
		case ml.Support == connectors.No:
			refuse(at, 0, 0, "this network takes no %s; take it away", m.Kind)
			continue
		case count[m.Kind] == ml.Max+1 && len(p.Media) <= l.MediaTotal:
			refuse("media", int64(ml.Max), int64(count[m.Kind]), "there may be %d of kind %s in one post; take some away", ml.Max, m.Kind)
		case !slices.Contains(ml.MIME, m.MIME):
			refuse(at, 0, 0, "this network does not take %s; use one of %v", m.MIME, ml.MIME)
		}
		if m.Bytes > ml.Bytes {
			refuse(at, ml.Bytes, m.Bytes, "the file has %d bytes and may have %d; make it smaller", m.Bytes, ml.Bytes)
		}
		if ml.MaxDuration > 0 && m.Duration > ml.MaxDuration {
			refuse(at, int64(ml.MaxDuration), int64(m.Duration), "the video lasts %v and may last %v; cut it", m.Duration, ml.MaxDuration)
		}
		if n := uniseg.GraphemeClusterCount(m.Alt); n > ml.AltMax {
			refuse(at+".alt", int64(ml.AltMax), int64(n), "the description has %d characters and may have %d; shorten it", n, ml.AltMax)
		}
	}
	if len(count) > 1 && !l.MixMedia {
		refuse("media", 0, 0, "kinds of media do not mix here; keep to one kind")
	}
}

func length(s string, u connectors.TextUnit) int {
	switch u {
	case connectors.Graphemes:
		return uniseg.GraphemeClusterCount(s)
	case connectors.Runes:
		return utf8.RuneCountInString(s)
	case connectors.UTF16:
		return len(utf16.Encode([]rune(s)))
	}
	return len(s)
}

func sortedKeys(m map[string]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// content is what of a part the network looks at when it is handed in.
type content struct {
	text    string
	langs   int
	link    bool
	options map[string]string
	body    bool
	media   []file
}

type file struct {
	kind     social.MediaKind
	mime     string
	bytes    int64
	alt      int
	duration int64
}

// refuse is the network's own look at a post: the first thing it does not take.
// It measures on what was sent and knows nothing of Check.
func (n *Network) refuse(p content) *connectors.Error {
	no := func(field, text string) *connectors.Error {
		e := refused(OpPrepare, connectors.Invalid, http.StatusUnprocessableEntity, "the network does not take it: "+text)
		e.Code, e.Field = "content", field
		return e
	}
	l := n.about.Limits
	var units int
	switch l.Text.Unit {
	case connectors.Graphemes:
		for g := uniseg.NewGraphemes(p.text); g.Next(); {
			units++
		}
	case connectors.Runes:
		units = len([]rune(p.text))
	case connectors.UTF16:
		for _, r := range p.text {
			units += utf16.RuneLen(r)
		}
	default:
		units = len(p.text)
	}
	if units > l.Text.Max || l.Text.Bytes != 0 && len(p.text) > l.Text.Bytes {
		return no("text", "the text is too long")
	}
	if p.text == "" && len(p.media) == 0 && !p.link {
		return no("text", "it is empty")
	}
	if p.langs > l.Langs {
		return no("langs", "too many languages")
	}
	for k, v := range p.options {
		ok := false
		for _, o := range l.Options {
			ok = ok || o.Key == k && (len(o.Values) == 0 || slices.Contains(o.Values, v))
		}
		if !ok {
			return no("options."+k, "an option it does not know")
		}
	}
	if p.link && (l.Link == connectors.No || len(p.media) > 0 && !l.LinkAndMedia) {
		return no("link", "a link card cannot be here")
	}
	if len(p.media) > l.MediaTotal {
		return no("media", "too many files")
	}
	if p.body && l.MediaNeeded && len(p.media) == 0 {
		return no("media", "no picture and no video")
	}
	of := map[social.MediaKind]int{}
	for i, f := range p.media {
		field := fmt.Sprintf("media[%d]", i)
		ml := l.Of(f.kind)
		of[f.kind]++
		switch {
		case ml.Support == connectors.No || !slices.Contains(ml.MIME, f.mime):
			return no(field, "a kind of file it does not take")
		case f.bytes > ml.Bytes:
			return no(field, "the file is too large")
		case ml.MaxDuration > 0 && f.duration > int64(ml.MaxDuration):
			return no(field, "the video is too long")
		case f.alt > ml.AltMax:
			return no(field+".alt", "the description is too long")
		case of[f.kind] > ml.Max:
			return no("media", "too many files of one kind")
		}
	}
	if len(of) > 1 && !l.MixMedia {
		return no("media", "kinds of media are mixed")
	}
	return nil
}
