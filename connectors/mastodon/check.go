package mastodon

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rivo/uniseg"
	"golang.org/x/text/language"

	"smi/connectors"
	"smi/connectors/internal/check"
	"smi/internal/social"
)

// The options of a part.
const (
	optionWarning    = "cw"
	optionVisibility = "visibility"
	optionSensitive  = "sensitive"
	optionFocus      = "focus"
	optionPoll       = "poll"
	optionPollFor    = "poll_for"
	optionMultiple   = "poll_multiple"
	optionHide       = "poll_hide_totals"
)

var yesNo = []string{"yes", "no"}

var options = []connectors.OptionDoc{
	{Key: optionVisibility, Values: visibilities, Doc: "Who sees it: public; unlisted: everybody, but in no public list; private: followers; direct: who is mentioned."},
	{Key: optionWarning, Doc: "Content warning: the text that is shown in place of the post until it is opened. It counts as text."},
	{Key: optionSensitive, Values: yesNo, Doc: "Hide the media until they are clicked. A post with a content warning is always sensitive."},
	{Key: optionFocus, Doc: `Points of the pictures that stay visible in previews, in the order of the media: "x,y; x,y", each from -1 to 1, 0,0 being the middle.`},
	{Key: optionPoll, Doc: "Answers of a poll, one a line."},
	{Key: optionPollFor, Doc: "How long the poll is open, such as 24h (as without it) or 90m."},
	{Key: optionMultiple, Values: yesNo, Doc: "Whether one may choose several answers."},
	{Key: optionHide, Values: yesNo, Doc: "Whether votes are hidden until the poll is over."},
}

// pollFor is how long a poll is open that does not say so.
const pollFor = 24 * time.Hour

var _ connectors.Publisher = (*conn)(nil)

// Check says what is wrong with a part. Pure.
func (c *conn) Check(p *social.Part) []social.Problem {
	k := checker{part: p, server: c.server, limits: c.limits}
	k.text()
	k.langs()
	k.media()
	k.link()
	k.options()
	return k.Found
}

type checker struct {
	check.Problems
	part   *social.Part
	server server
	limits connectors.Limits
}

func (k *checker) text() {
	t, warning := k.part.Text, k.part.Options[optionWarning]
	switch {
	case !utf8.ValidString(t):
		k.Refuse("text", "the text is not valid UTF-8; type it again")
		return
	case strings.TrimSpace(t) == "" && warning != "":
		k.Refuse("text", "there is a content warning and nothing behind it; write a text")
	case strings.TrimSpace(t) == "" && len(k.part.Media) == 0:
		k.Refuse("text", "the post is empty; write something or add media")
	}
	n := Length(warning, t, k.server.URL)
	with := ""
	if warning != "" {
		with = " with its content warning"
	}
	k.Over("text", int64(k.limits.Text.Max), int64(n), "the text has %d characters%s; the server takes %d", n, with, k.limits.Text.Max)
}

func (k *checker) langs() {
	n := len(k.part.Langs)
	k.Over("langs", int64(k.limits.Langs), int64(n), "there are %d languages; Mastodon takes %d", n, k.limits.Langs)
	for i, l := range k.part.Langs {
		if _, err := language.Parse(l); err != nil {
			k.Refuse(fmt.Sprintf("langs[%d]", i), "%q is no language tag; write one such as en or pt-BR", l)
		}
	}
}

func (k *checker) media() {
	pictures, moving := 0, 0
	for i := range k.part.Media {
		m := &k.part.Media[i]
		field := fmt.Sprintf("media[%d]", i)
		l := k.limits.Of(m.Kind)
		points := k.server.ImagePoints
		switch m.Kind {
		case social.Image:
			pictures++
		case social.GIF:
			moving++
		case social.Video:
			moving++
			points = k.server.VideoPoints
		default:
		}
		if l.Support == connectors.No {
			k.Refuse(field, "the server takes no file of the kind %s", m.Kind)
			continue
		}
		if m.MIME != "" && !slices.Contains(l.MIME, m.MIME) {
			k.Refuse(field, "the server does not take %s here; convert it to %s", m.MIME, l.MIME[0])
		}
		k.Over(field, l.Bytes, m.Bytes, "the file has %d bytes; the server takes %d", m.Bytes, l.Bytes)
		k.Over(field, points, int64(m.Width)*int64(m.Height), "it has %d × %d points; the server takes %d in all: make it smaller", m.Width, m.Height, points)
		n := utf8.RuneCountInString(m.Alt)
		k.Over(field+".alt", int64(l.AltMax), int64(n), "the alt text has %d characters; the server takes %d", n, l.AltMax)
		if strings.TrimSpace(m.Alt) == "" {
			k.Say(social.Advice, field+".alt", "describe it for people who cannot see it")
		}
	}
	if pictures > 0 && moving > 0 {
		k.Refuse("media", "Mastodon takes pictures or one moving picture, not both; split the post")
	}
	k.Over("media", int64(k.limits.MediaTotal), int64(pictures), "there are %d pictures; the server takes %d", pictures, k.limits.MediaTotal)
	k.Over("media", 1, int64(moving), "there are %d videos and GIFs; Mastodon takes 1", moving)
}

func (k *checker) link() {
	if k.part.Link != nil {
		k.Refuse("link", "Mastodon makes the card itself from an address in the text; put it there")
	}
}

func (k *checker) options() {
	for _, key := range slices.Sorted(maps.Keys(k.part.Options)) {
		v, field := k.part.Options[key], "options."+key
		i := slices.IndexFunc(options, func(o connectors.OptionDoc) bool { return o.Key == key })
		if i < 0 {
			k.Refuse(field, "Mastodon has no option %q; it has %s", key, check.Options(options))
			continue
		}
		if values := options[i].Values; v != "" && len(values) > 0 && !slices.Contains(values, v) {
			k.Refuse(field, "%q is none of %s", v, strings.Join(values, ", "))
		}
	}
	if _, err := focusOf(k.part); err != nil {
		k.Refuse("options."+optionFocus, "%v", err)
	}
	k.poll()
}

func (k *checker) poll() {
	lasts, err := pollLength(k.part)
	if err != nil {
		k.Refuse("options."+optionPollFor, "%v", err)
	}
	answers := pollAnswers(k.part)
	if len(answers) == 0 {
		if k.part.Options[optionPollFor] != "" || k.part.Options[optionMultiple] != "" || k.part.Options[optionHide] != "" {
			k.Say(social.Advice, "options."+optionPoll, "there is no poll: write its answers, one a line")
		}
		return
	}
	const field = "options." + optionPoll
	if len(k.part.Media) > 0 {
		k.Refuse(field, "a post has media or a poll, not both; remove one of them")
	}
	if len(answers) < 2 {
		k.Refuse(field, "a poll needs two answers; write one a line")
	}
	k.Over(field, int64(k.server.PollOptions), int64(len(answers)), "there are %d answers; the server takes %d", len(answers), k.server.PollOptions)
	for i, a := range answers {
		n := uniseg.GraphemeClusterCount(a)
		k.Over(field, int64(k.server.PollOption), int64(n), "answer %d has %d characters; the server takes %d", i+1, n, k.server.PollOption)
		if slices.Contains(answers[:i], a) {
			k.Refuse(field, "the answer %q is there twice", a)
		}
	}
	if s := int64(lasts / time.Second); err == nil && (s < k.server.PollMin || s > k.server.PollMax) {
		k.Refuse("options."+optionPollFor, "a poll is open for %s to %s here", time.Duration(k.server.PollMin)*time.Second, time.Duration(k.server.PollMax)*time.Second)
	}
}

// pollAnswers are the answers of the part's poll; none: it has none.
func pollAnswers(p *social.Part) []string {
	var out []string
	for a := range strings.Lines(p.Options[optionPoll]) {
		if a = strings.TrimSpace(a); a != "" {
			out = append(out, a)
		}
	}
	return out
}

// pollLength is how long the part's poll is open.
func pollLength(p *social.Part) (time.Duration, error) {
	v := p.Options[optionPollFor]
	if v == "" {
		return pollFor, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is no time span; write 24h or 90m", v)
	}
	return d, nil
}

// focusOf are the focal points of the part's media in their order, "" where
// there is none.
func focusOf(p *social.Part) ([]string, error) {
	out := make([]string, len(p.Media))
	v := p.Options[optionFocus]
	if strings.TrimSpace(v) == "" {
		return out, nil
	}
	points := strings.Split(v, ";")
	if len(points) > len(p.Media) {
		return out, fmt.Errorf("there are %d points for %d files; write one for each", len(points), len(p.Media))
	}
	for i, point := range points {
		if strings.TrimSpace(point) == "" {
			continue
		}
		x, y, ok := strings.Cut(point, ",")
		fx, errX := strconv.ParseFloat(strings.TrimSpace(x), 64)
		fy, errY := strconv.ParseFloat(strings.TrimSpace(y), 64)
		if !ok || errX != nil || errY != nil || !(fx >= -1 && fx <= 1 && fy >= -1 && fy <= 1) {
			return out, fmt.Errorf(`%q is no point; write x,y such as 0.2,-0.5, each from -1 to 1`, strings.TrimSpace(point))
		}
		out[i] = strconv.FormatFloat(fx, 'f', -1, 64) + "," + strconv.FormatFloat(fy, 'f', -1, 64)
	}
	return out, nil
}

// hostOf is the host of a web address, "" for what is none.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return u.Host
}
