package twitter

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"smi/connectors"
	"smi/connectors/internal/check"
	"smi/internal/social"
)

// The options of a part.
const (
	optionPoll    = "poll"
	optionPollFor = "poll_for"
	optionReplies = "reply_settings"
	optionAI      = "made_with_ai"
	optionPaid    = "paid_partnership"
)

// The bounds of a poll (docs.x.com, Create Post, read 2026-08-22).
const (
	pollLeast, pollMost       = 2, 4
	pollAnswer                = 25
	pollShortest, pollLongest = 5 * time.Minute, 7 * 24 * time.Hour
	pollNormal                = 24 * time.Hour
)

// minVideo is the shortest video, maxSegment and maxSegments the pieces in which
// files go up (docs.x.com, Media upload, and changelog of 2026-09-01).
const (
	minVideo    = 500 * time.Millisecond
	maxSegment  = 5_000_000
	maxSegments = 1000
)

// replySettings are who may answer; without one everybody may.
var replySettings = []string{"following", "mentionedUsers", "subscribers", "verified"}

var options = []connectors.OptionDoc{
	{Key: optionReplies, Values: replySettings, Doc: "Who may answer: accounts that this one follows, those it mentions, its subscribers, or verified accounts. Everybody without it."},
	{Key: optionPoll, Doc: "Answers of a poll, one a line: 2 to 4 of at most 25 characters each."},
	{Key: optionPollFor, Doc: "How long the poll is open, from 5m to 168h; 24h without it."},
	{Key: optionAI, Values: []string{"yes"}, Doc: "Mark the post as made with AI."},
	{Key: optionPaid, Values: []string{"yes"}, Doc: "Mark the post as a paid partnership."},
}

// limits are the rules of POST /2/tweets and of media (docs.x.com, Create Post
// and Media best practices, read 2026-08-22). X bounds no threads through the
// API; the length of a video and of a long post belong to the account.
func (c *Config) limits(text int) connectors.Limits {
	return connectors.Limits{
		Text: connectors.TextLimit{Unit: connectors.Weighted, Max: text},
		Image: connectors.MediaLimit{
			Support: connectors.OK, Max: 4, Bytes: 5_000_000, AltMax: 1000,
			MIME: []string{"image/jpeg", "image/png", "image/webp"},
		},
		GIF: connectors.MediaLimit{
			Support: connectors.OK, Max: 1, Bytes: 15_000_000, AltMax: 1000, MaxSide: 1280,
			MIME: []string{"image/gif"},
		},
		// 8 GB may be announced, but no more than 1000 pieces of 5 MB go up.
		Video: connectors.MediaLimit{
			Support: connectors.OK, Max: 1, Bytes: maxSegment * maxSegments, MinDuration: minVideo, MaxDuration: c.VideoMaxDuration,
			MinRatio: 1.0 / 3, MaxRatio: 3, MIME: []string{"video/mp4", "video/quicktime"},
		},
		MediaTotal:   4,
		Link:         connectors.Lossy,
		LinkAndMedia: true,
		Thread:       99,
		Comment:      10,
		Options:      options,
	}
}

// hasAlt says whether X shows a description of this kind of media.
func hasAlt(k social.MediaKind) bool { return k == social.Image || k == social.GIF }

// composed is a part's text with its link, which X turns into a card.
func composed(p *social.Part) string {
	if p.Link == nil || p.Link.URL == "" || hasURL(p.Text, p.Link.URL) {
		return p.Text
	}
	if strings.TrimSpace(p.Text) == "" {
		return p.Link.URL
	}
	return strings.TrimRight(p.Text, "\n") + "\n" + p.Link.URL
}

// hasURL says whether a text has this address as a link of its own, and not as
// the beginning of a longer one.
func hasURL(text, address string) bool {
	whole := findURLs(address)
	if len(whole) == 0 { // X makes no link of it
		return strings.Contains(text, address)
	}
	for _, u := range findURLs(text) {
		if text[u.start:u.end] == address[whole[0].start:whole[0].end] {
			return true
		}
	}
	return false
}

// Check says what is wrong with a part. Pure.
func (c *conn) Check(p *social.Part) []social.Problem {
	k := checker{part: p, limits: c.limits, options: options}
	k.text()
	k.rest()
	k.media()
	return k.Found
}

type checker struct {
	check.Problems
	part    *social.Part
	limits  connectors.Limits
	options []connectors.OptionDoc
}

// cashtag is a stock's symbol: X takes one in a post (changelog, read
// 2026-08-22).
var cashtag = regexp.MustCompile(`\$[A-Za-z]{1,6}(?:[._][A-Za-z]{1,2})?`)

// cashtags counts them. What stands between two of them belongs to both, which
// no pattern says.
func cashtags(text string) int {
	word := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }
	n := 0
	for _, at := range cashtag.FindAllStringIndex(text, -1) {
		before, _ := utf8.DecodeLastRuneInString(text[:at[0]])
		after, _ := utf8.DecodeRuneInString(text[at[1]:])
		if !word(before) && before != '$' && !word(after) {
			n++
		}
	}
	return n
}

func (k *checker) text() {
	if !utf8.ValidString(k.part.Text) {
		k.Refuse("text", "the text is not valid UTF-8; type it again")
		return
	}
	text := composed(k.part)
	if strings.TrimSpace(text) == "" && len(k.part.Media) == 0 {
		k.Refuse("text", "the post is empty; write something or add media")
	}
	n, most := Weight(text), k.limits.Text.Max
	k.Over("text", int64(most), int64(n), "the text counts %d; X takes %d (each link counts %d, emoji and many Asian characters 2)", n, most, urlWeight)
	if n := cashtags(text); n > 1 {
		k.Refuse("text", "there are %d cashtags; X takes one in a post", n)
	}
}

// rest looks at what a post of X has no place for. Prepare asks it too: without
// that a language or an option would be lost in silence.
func (k *checker) rest() {
	if len(k.part.Langs) > 0 {
		p := k.Refuse("langs", "X finds the language out by itself and takes none")
		p.Value = int64(len(k.part.Langs))
	}
	if l := k.part.Link; l != nil {
		if u, err := url.Parse(l.URL); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			k.Refuse("link", "%q is no web address; write it as https://…", l.URL)
		} else if l.Title != "" || l.Description != "" || l.Thumb != nil {
			k.Say(social.Lossy, "link", "X makes the card of a link from the page itself: title, description and picture are not sent")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(k.part.Options)) {
		v, field := k.part.Options[key], "options."+key
		i := slices.IndexFunc(k.options, func(o connectors.OptionDoc) bool { return o.Key == key })
		switch {
		case i < 0:
			k.Refuse(field, "X has no option %q here; it has %s", key, check.Options(k.options))
		case v != "" && len(k.options[i].Values) > 0 && !slices.Contains(k.options[i].Values, v):
			k.Refuse(field, "%q is not possible; use one of %s", v, strings.Join(k.options[i].Values, ", "))
		}
	}
	k.poll()
}

func (k *checker) poll() {
	answers, length := pollAnswers(k.part), k.part.Options[optionPollFor]
	if _, err := pollMinutes(length); err != nil {
		k.Refuse("options."+optionPollFor, "%v", err)
	}
	const field = "options." + optionPoll
	if len(answers) == 0 {
		if length != "" {
			k.Say(social.Advice, field, "there is no poll: write its answers, one a line")
		}
		return
	}
	if len(answers) < pollLeast || len(answers) > pollMost {
		k.Refuse(field, "the poll has %d answers; X takes %d to %d", len(answers), pollLeast, pollMost)
	}
	for _, a := range answers {
		k.Over(field, pollAnswer, int64(utf8.RuneCountInString(a)), "the answer %q has %d characters; X takes %d", a, utf8.RuneCountInString(a), pollAnswer)
	}
	if len(k.part.Media) > 0 {
		k.Refuse(field, "X takes a poll or media, not both; split the post")
	}
}

// pollAnswers are the lines of the option poll.
func pollAnswers(p *social.Part) []string {
	var out []string
	for line := range strings.SplitSeq(p.Options[optionPoll], "\n") {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// pollMinutes reads how long a poll is open.
func pollMinutes(s string) (int, error) {
	if s == "" {
		return int(pollNormal / time.Minute), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < pollShortest || d > pollLongest {
		return 0, fmt.Errorf("%q is not between 5m and 168h; write it as 90m or 24h", s)
	}
	return int(d / time.Minute), nil
}

func (k *checker) media() {
	count := map[social.MediaKind]int{}
	for i := range k.part.Media {
		m := &k.part.Media[i]
		field := fmt.Sprintf("media[%d]", i)
		l := k.limits.Of(m.Kind)
		if l.Support == connectors.No {
			k.Refuse(field, "X takes no %s here", m.Kind)
			continue
		}
		count[m.Kind]++
		if m.MIME != "" && !slices.Contains(l.MIME, m.MIME) {
			k.Refuse(field, "X does not take %s here; convert it to %s", m.MIME, l.MIME[0])
		}
		k.Over(field, l.Bytes, m.Bytes, "the file has %d bytes; X takes %d", m.Bytes, l.Bytes)
		k.shape(field, m, l)
		n := utf8.RuneCountInString(m.Alt)
		switch {
		case l.AltMax > 0:
			k.Over(field+".alt", int64(l.AltMax), int64(n), "the alt text has %d characters; X takes %d", n, l.AltMax)
			if strings.TrimSpace(m.Alt) == "" {
				k.Say(social.Advice, field+".alt", "describe it for people who cannot see it")
			}
		case n > 0:
			k.Say(social.Lossy, field+".alt", "X shows descriptions of pictures and GIFs only: this one is not sent")
		}
	}
	if len(count) > 1 {
		k.Refuse("media", "X takes pictures, one GIF or one video, and does not mix them; split the post")
	}
	for _, kind := range []social.MediaKind{social.Image, social.GIF, social.Video} {
		most := k.limits.Of(kind).Max
		k.Over("media", int64(most), int64(count[kind]), "there are %d files of the kind %s; X takes %d", count[kind], kind, most)
	}
}

// shape looks at the sides and the length of a file, where they are known.
func (k *checker) shape(field string, m *social.Media, l connectors.MediaLimit) {
	switch m.Kind {
	case social.GIF:
		if m.Width > l.MaxSide || m.Height > gifHeight {
			k.Refuse(field, "the GIF has %d × %d points; X takes %d × %d", m.Width, m.Height, l.MaxSide, gifHeight)
		}
	case social.Video:
		if m.Duration > l.MaxDuration {
			p := k.Refuse(field, "the video is %s long; X takes %s", m.Duration.Round(time.Second), l.MaxDuration)
			p.Limit, p.Value = l.MaxDuration.Milliseconds(), m.Duration.Milliseconds()
		}
		if m.Duration > 0 && m.Duration < l.MinDuration {
			p := k.Refuse(field, "the video is %s long; X takes none under %s", m.Duration, l.MinDuration)
			p.Limit, p.Value = l.MinDuration.Milliseconds(), m.Duration.Milliseconds()
		}
		if m.Width > 0 && m.Height > 0 {
			if r := float64(m.Width) / float64(m.Height); r < l.MinRatio || r > l.MaxRatio {
				k.Refuse(field, "the video has %d × %d points; X takes shapes from 1:3 to 3:1", m.Width, m.Height)
			}
		}
	case social.Image, social.Document:
	}
}

// gifHeight is the other side of a GIF's limit, 1280 × 1080.
const gifHeight = 1080

// sayable refuses what a post of X cannot say, where nobody asked Check.
func sayable(p *social.Part, l connectors.Limits, o []connectors.OptionDoc) error {
	k := checker{part: p, limits: l, options: o}
	k.rest()
	for i := range p.Media {
		if l.Of(p.Media[i].Kind).Support == connectors.No {
			k.Refuse(fmt.Sprintf("media[%d]", i), "X takes no %s here", p.Media[i].Kind)
		}
	}
	for _, bad := range social.Refusals(k.Found) {
		return &connectors.Error{Kind: connectors.Invalid, Op: "prepare", Field: bad.Field, Text: bad.Text}
	}
	return nil
}
