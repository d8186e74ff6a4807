package linkedin

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"smi/connectors"
	"smi/connectors/internal/check"
	"smi/internal/social"
)

// The options of a part.
const (
	optionVisibility   = "visibility"
	optionTitle        = "title"
	optionPollQuestion = "poll_question"
	optionPollOptions  = "poll_options"
	optionPollDuration = "poll_duration"
)

// visibilities and durations are the network's values by ours.
var (
	visibilities = map[string]string{"public": "PUBLIC", "connections": "CONNECTIONS", "logged_in": "LOGGED_IN"}
	durations    = map[string]string{"1d": "ONE_DAY", "3d": "THREE_DAYS", "7d": "SEVEN_DAYS", "14d": "FOURTEEN_DAYS"}
)

var (
	visibilityWords = []string{"public", "connections", "logged_in"}
	durationWords   = []string{"1d", "3d", "7d", "14d"}
)

// The limits of LinkedIn's pages (Posts API, Images API, Videos API, Documents
// API, Poll API, MultiImage API; read 2026-08-22).
const (
	maxComment    = 1250
	maxTitle      = 400
	maxQuestion   = 140
	maxPollOption = 30
	minPoll       = 2
	maxPoll       = 4
	maxPixels     = 36_152_320 // a picture has fewer
	// maxImage is our own: the pages bound the points of a picture, not its bytes.
	maxImage = 10_000_000
)

// limits are the rules about content.
func (c *Config) limits() connectors.Limits {
	unit := connectors.UTF16
	if c.TextUnit == unitRunes {
		unit = connectors.Runes
	}
	return connectors.Limits{
		Text: connectors.TextLimit{Unit: unit, Max: c.TextMax},
		Image: connectors.MediaLimit{
			Support: connectors.OK, Max: 20, Bytes: maxImage, AltMax: 4086, MaxSide: 6012, // 6012² is under maxPixels
			MIME: []string{"image/jpeg", "image/png"},
		},
		GIF: connectors.MediaLimit{
			Support: connectors.OK, Max: 20, Bytes: maxImage, AltMax: 4086, MIME: []string{"image/gif"},
		},
		Video: connectors.MediaLimit{
			Support: connectors.OK, Max: 1, Bytes: 500_000_000, MinDuration: 3 * time.Second, MaxDuration: 30 * time.Minute,
			MIME: []string{"video/mp4"},
		},
		Document: connectors.MediaLimit{
			Support: connectors.OK, Max: 1, Bytes: 100_000_000,
			MIME: []string{
				"application/pdf", "application/msword", "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
				"application/vnd.ms-powerpoint", "application/vnd.openxmlformats-officedocument.presentationml.presentation",
			},
		},
		MediaTotal: 20,
		Link:       connectors.OK,
		Comment:    10,
		Options: []connectors.OptionDoc{
			{Key: optionVisibility, Values: visibilityWords, Doc: "Who may see the post. Left out: public."},
			{Key: optionTitle, Doc: "Title of the video, the document or the one picture. Left out: the name of the file, for a picture none."},
			{Key: optionPollQuestion, Doc: "Question of a poll, at most 140 characters."},
			{Key: optionPollOptions, Doc: "2 to 4 answers of a poll, at most 30 characters each, with | between them."},
			{Key: optionPollDuration, Values: durationWords, Doc: "How long a poll is open. Left out: 3d."},
		},
	}
}

// Check says what is wrong with a part. Pure.
func (c *conn) Check(p *social.Part) []social.Problem {
	k := checker{part: p, cfg: &c.p.cfg, limits: c.p.cfg.limits(), answer: p.Role == social.RoleComment || p.Role == social.RoleThread}
	k.text()
	k.media()
	k.link()
	k.options()
	if n := len(p.Langs); n > 0 {
		k.Refuse("langs", "LinkedIn keeps no language with a post; leave it out")
	}
	return k.Found
}

type checker struct {
	check.Problems
	part   *social.Part
	cfg    *Config
	limits connectors.Limits
	answer bool // a comment
}

func (k *checker) text() {
	t := k.part.Text
	switch {
	case !utf8.ValidString(t):
		k.Refuse("text", "the text is not valid UTF-8; type it again")
		return
	case strings.TrimSpace(t) == "" && len(k.part.Media) == 0 && k.part.Link == nil && !k.poll():
		k.Refuse("text", "the post is empty; write something or add media")
	}
	if k.answer {
		n := length(t, k.cfg.TextUnit)
		k.Over("text", maxComment, int64(n), "the comment has %d characters; LinkedIn takes %d", n, maxComment)
		return
	}
	n := k.cfg.count(t)
	more := ""
	if own := length(t, k.cfg.TextUnit); own < n {
		more = fmt.Sprintf(", of which %d are backslashes that LinkedIn's format needs before characters such as ( and _", n-own)
	}
	k.Over("text", int64(k.cfg.TextMax), int64(n), "the text has %d characters%s; LinkedIn takes %d", n, more, k.cfg.TextMax)
}

func (k *checker) media() {
	n := map[social.MediaKind]int{}
	for i := range k.part.Media {
		m := &k.part.Media[i]
		field := fmt.Sprintf("media[%d]", i)
		l := k.limits.Of(m.Kind)
		if l.Support == connectors.No {
			k.Refuse(field, "LinkedIn takes pictures, videos and documents, no %s", m.Kind)
			continue
		}
		kind := m.Kind
		if kind == social.GIF {
			kind = social.Image // it is one to the network
		}
		n[kind]++
		if m.MIME != "" && !slices.Contains(l.MIME, m.MIME) {
			k.Refuse(field, "LinkedIn does not take %s here; convert it to %s", m.MIME, l.MIME[0])
		}
		k.Over(field, l.Bytes, m.Bytes, "the file has %d bytes; LinkedIn takes %d", m.Bytes, l.Bytes)
		k.picture(m, field, l)
		k.length(m, field, l)
	}
	if k.answer {
		if len(k.part.Media) > 1 || n[social.Image] < len(k.part.Media) {
			k.Refuse("media", "a comment takes one picture")
		}
		return
	}
	if len(n) > 1 {
		k.Refuse("media", "LinkedIn takes pictures, one video or one document, not both; split the post")
	}
	for _, kind := range []social.MediaKind{social.Image, social.Video, social.Document} {
		most := k.limits.Of(kind).Max
		k.Over("media", int64(most), int64(n[kind]), "there are %d files of kind %s; LinkedIn takes %d", n[kind], kind, most)
	}
}

func (k *checker) picture(m *social.Media, field string, l connectors.MediaLimit) {
	if m.Kind != social.Image && m.Kind != social.GIF {
		if m.Alt != "" {
			k.Say(social.Lossy, field+".alt", "LinkedIn keeps alt text for pictures only")
		}
		return
	}
	if px := int64(m.Width) * int64(m.Height); px >= maxPixels {
		p := k.Refuse(field, "the picture has %d points; LinkedIn takes fewer than %d: make it smaller", px, maxPixels)
		p.Limit, p.Value = maxPixels, px
	}
	n := length(m.Alt, k.cfg.TextUnit)
	k.Over(field+".alt", int64(l.AltMax), int64(n), "the alt text has %d characters; LinkedIn takes %d", n, l.AltMax)
	if strings.TrimSpace(m.Alt) == "" {
		k.Say(social.Advice, field+".alt", "describe it for people who cannot see it")
	}
}

func (k *checker) length(m *social.Media, field string, l connectors.MediaLimit) {
	switch {
	case l.MaxDuration > 0 && m.Duration > l.MaxDuration:
		p := k.Refuse(field, "the video is %s long; LinkedIn takes %s", m.Duration.Round(time.Second), l.MaxDuration)
		p.Limit, p.Value = l.MaxDuration.Milliseconds(), m.Duration.Milliseconds()
	case m.Duration > 0 && m.Duration < l.MinDuration:
		p := k.Refuse(field, "the video is %s long; LinkedIn takes none under %s", m.Duration, l.MinDuration)
		p.Limit, p.Value = l.MinDuration.Milliseconds(), m.Duration.Milliseconds()
	}
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
		k.Refuse("link", "LinkedIn shows a link card or media, not both; put the link into the text or remove the media")
	}
	if k.answer {
		k.Refuse("link", "a comment has no link card; put the link into the text")
	}
	n := length(l.Title, k.cfg.TextUnit)
	k.Over("link", maxTitle, int64(n), "the title of the link has %d characters; LinkedIn takes %d", n, maxTitle)
	if strings.TrimSpace(l.Title) == "" {
		k.Say(social.Advice, "link", "LinkedIn does not read the page: without a title its address is shown, without a picture none")
	}
	if t := l.Thumb; t != nil {
		if t.Kind != social.Image {
			k.Refuse("link", "the picture of a link card must be a still image, not a %s", t.Kind)
		}
		k.Over("link", maxImage, t.Bytes, "the picture of the link card has %d bytes; at most %d are taken", t.Bytes, maxImage)
	}
}

// poll says whether the part is a poll.
func (k *checker) poll() bool {
	return k.part.Options[optionPollQuestion] != "" || k.part.Options[optionPollOptions] != ""
}

func (k *checker) options() {
	o := k.part.Options
	for _, key := range slices.Sorted(maps.Keys(o)) {
		v := o[key]
		field := "options." + key
		switch key {
		case optionVisibility:
			if v != "" && visibilities[v] == "" {
				k.Refuse(field, "%q is no visibility; use one of %s", v, strings.Join(visibilityWords, ", "))
			}
		case optionPollDuration:
			if v != "" && durations[v] == "" {
				k.Refuse(field, "%q is no duration of a poll; use one of %s", v, strings.Join(durationWords, ", "))
			}
		case optionTitle:
			n := length(v, k.cfg.TextUnit)
			k.Over(field, maxTitle, int64(n), "the title has %d characters; at most %d are taken", n, maxTitle)
		case optionPollQuestion, optionPollOptions:
		default:
			k.Refuse(field, "LinkedIn has no option %q; it has %s", key, strings.Join([]string{optionVisibility, optionTitle, optionPollQuestion, optionPollOptions, optionPollDuration}, ", "))
		}
	}
	k.unused()
	if !k.poll() {
		return
	}
	q, list := o[optionPollQuestion], pollOptions(o[optionPollOptions])
	if strings.TrimSpace(q) == "" {
		k.Refuse("options."+optionPollQuestion, "the poll has no question")
	}
	n := length(q, k.cfg.TextUnit)
	k.Over("options."+optionPollQuestion, maxQuestion, int64(n), "the question has %d characters; LinkedIn takes %d", n, maxQuestion)
	if len(list) < minPoll || len(list) > maxPoll {
		k.Refuse("options."+optionPollOptions, "a poll has %d to %d answers with | between them; there are %d", minPoll, maxPoll, len(list))
	}
	for _, answer := range list {
		n := length(answer, k.cfg.TextUnit)
		k.Over("options."+optionPollOptions, maxPollOption, int64(n), "the answer %q has %d characters; LinkedIn takes %d", answer, n, maxPollOption)
	}
	if len(k.part.Media) > 0 || k.part.Link != nil || k.answer {
		k.Refuse("options."+optionPollQuestion, "a poll stands alone: no media, no link card, no comment")
	}
}

// unused says which options have no place in a part of this kind and are left
// out.
func (k *checker) unused() {
	o := k.part.Options
	leave := func(key, why string) {
		if o[key] != "" {
			k.Say(social.Lossy, "options."+key, "%s; it is left out", why)
		}
	}
	if k.answer {
		leave(optionVisibility, "a comment is seen by whoever sees its post")
		leave(optionTitle, "a comment has no title")
	} else if m := k.part.Media; len(m) != 1 {
		leave(optionTitle, "LinkedIn keeps a title with one picture, a video or a document only")
	}
	if !k.poll() {
		leave(optionPollDuration, "there is no poll")
	}
}

// pollOptions reads the answers of a poll.
func pollOptions(s string) []string {
	var out []string
	for o := range strings.SplitSeq(s, "|") {
		if o = strings.TrimSpace(o); o != "" {
			out = append(out, o)
		}
	}
	return out
}
