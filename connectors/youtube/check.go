package youtube

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"

	"smi/connectors"
	"smi/connectors/internal/check"
	"smi/internal/social"
)

// The options of a part. Its text is the description.
const (
	optionTitle     = "title"
	optionTags      = "tags"
	optionCategory  = "category"
	optionPrivacy   = "privacy"
	optionForKids   = "made_for_kids"
	optionPlaylist  = "playlist"
	optionThumbnail = "thumbnail"
	optionCaptions  = "captions"
	optionCaptionsL = "captions_language"
	optionShort     = "short"
	optionNotify    = "notify_subscribers"
	optionSynthetic = "synthetic_media"
	optionPublishAt = "publish_at"
)

const (
	yes = "yes"
	no  = "no"
)

// What a video can be for others. A private one would be no post.
const (
	public   = "public"
	unlisted = "unlisted"
	private  = "private"
)

// A Short is an upright or square video of at most three minutes; there is no
// switch for it (YouTube Help, "Understand three-minute YouTube Shorts", read
// 2026-11).
const shortMost = 3 * time.Minute

// maxCaptions bounds the text of captions, which is kept with the post. The
// network takes 100 MB (discovery document of the YouTube Data API, revision
// 20260820).
const maxCaptions = 256 << 10

// limits are the rules of videos.insert (YouTube Data API, "Videos: insert" and
// its discovery document, revision 20260820): 256 GB or 12 hours. A channel that
// has not confirmed a telephone number may upload 15 minutes; whether it has is
// not known before.
func limits(cfg *Config) connectors.Limits {
	l := connectors.Limits{
		Text: connectors.TextLimit{Unit: connectors.Bytes, Max: maxDescription},
		Video: connectors.MediaLimit{
			Support: connectors.OK, Max: 1, Bytes: 256 << 30, MaxDuration: 12 * time.Hour,
			MIME: []string{"video/mp4", "video/quicktime", "video/webm"},
		},
		MediaTotal:  1,
		MediaNeeded: true,
		Langs:       1,
		Options: []connectors.OptionDoc{
			{Key: optionTitle, Doc: "Title of the video, at most 100 characters. Without it the first line of the text is taken."},
			{Key: optionTags, Doc: "Tags, separated by commas; 500 characters in all, counted as YouTube does."},
			{Key: optionCategory, Doc: "Number of the category, such as 22 (People & Blogs) or 28 (Science & Technology)."},
			{Key: optionPrivacy, Values: []string{public, unlisted}, Doc: "Who may find the video: everybody, or whoever has the link."},
			{Key: optionForKids, Values: []string{yes, no}, Doc: "Whether the video is made for children. YouTube wants an answer for each video."},
			{Key: optionPlaylist, Doc: "Playlist that the video is put into: its id, such as PL…, or its address."},
			{
				Key: optionThumbnail, Doc: "Picture for the thumbnail: the hash of a JPEG or PNG file that was uploaded to smi.",
				File: connectors.MediaLimit{Support: connectors.OK, Max: 1, Bytes: cfg.ThumbnailBytes, MIME: []string{"image/jpeg", "image/png"}},
			},
			{Key: optionCaptions, Doc: "Captions: the text of a SubRip (.srt) or WebVTT (.vtt) file."},
			{Key: optionCaptionsL, Doc: "Language of the captions. Without it the language of the post, else en."},
			{Key: optionShort, Values: []string{yes}, Doc: "Insist that the video is a Short: upright or square, and at most 3 minutes long. YouTube decides by that alone."},
			{Key: optionNotify, Values: []string{yes, no}, Doc: "Whether subscribers are told of the video."},
			{Key: optionSynthetic, Values: []string{yes, no}, Doc: "Whether the video holds realistic altered or synthetic content."},
		},
	}
	if cfg.NativeSchedule {
		l.Options = append(l.Options, connectors.OptionDoc{
			Key: optionPublishAt, Doc: "Time, such as 2026-12-01T09:00:00Z, at which YouTube itself makes the video public. smi hands it over at the planned time.",
		})
	}
	return l
}

var _ connectors.Publisher = (*conn)(nil)

// Check says what is wrong with a part. Pure.
func (c *conn) Check(p *social.Part) []social.Problem {
	k := checker{part: p, cfg: &c.p.cfg, about: &c.p.about}
	k.text()
	k.shape()
	k.files()
	if !c.p.cfg.Audited {
		k.Say(social.Advice, "options."+optionPrivacy,
			"Google locked the uploads of apps that it has not audited as private until 2 November 2026; if the video does not become public, ask for the audit (networks.youtube.audited ends this warning)")
	}
	return k.Found
}

type checker struct {
	check.Problems
	part  *social.Part
	cfg   *Config
	about *connectors.Description
}

// text is what the network counts and refuses by itself: title, description,
// tags.
func (k *checker) text() {
	t, o := k.part.Text, k.part.Options
	switch {
	case !utf8.ValidString(t):
		k.Refuse("text", "the text is not valid UTF-8; type it again")
	case hasAngle(t):
		k.Refuse("text", "YouTube takes no < and > in a description; write other signs")
	}
	k.Over("text", maxDescription, int64(len(t)), "the text has %d bytes; YouTube takes %d: letters with accents, other scripts and emoji count 2 to 4", len(t), maxDescription)
	if n := len(hashtagForm.FindAllString(o[optionTitle]+" "+t, -1)); n > maxHashtags {
		p := k.Say(social.Lossy, "text", "there are %d hashtags; with more than %d YouTube ignores them all", n, maxHashtags)
		p.Limit, p.Value = maxHashtags, int64(n)
	}
	title := norm.NFC.String(strings.TrimSpace(o[optionTitle]))
	field := "options." + optionTitle
	switch {
	case title == "" && titleOf(t) == "":
		k.Refuse(field, "the video needs a title; give one, or write a text whose first line can be it")
	case !utf8.ValidString(title):
		k.Refuse(field, "the title is not valid UTF-8; type it again")
	case hasAngle(title):
		k.Refuse(field, "YouTube takes no < and > in a title; write other signs")
	}
	n := titleLength(title)
	k.Over(field, maxTitle, int64(n), "the title has %d characters; YouTube takes %d", n, maxTitle)
	tags := splitTags(o[optionTags])
	n = tagsLength(tags)
	k.Over("options."+optionTags, maxTags, int64(n), "the tags have %d characters with their commas and quotation marks; YouTube takes %d", n, maxTags)
	if hasAngle(o[optionTags]) {
		k.Refuse("options."+optionTags, "YouTube takes no < and > in tags; write other signs")
	}
}

// shape is what cannot be said to the network at all. Prepare asks it as well:
// without it something would be lost in silence.
func (k *checker) shape() {
	videos := 0
	for i, m := range k.part.Media {
		if m.Kind != social.Video {
			k.Refuse(fmt.Sprintf("media[%d]", i), "YouTube takes videos, no %s; a picture can be the thumbnail (option %s)", m.Kind, optionThumbnail)
			continue
		}
		videos++
	}
	switch {
	case videos == 0:
		k.Refuse("media", "a post on YouTube needs a video; add one")
	case videos > 1:
		k.Over("media", 1, int64(videos), "there are %d videos; YouTube takes 1 in a post", videos)
	}
	if k.part.Link != nil {
		k.Refuse("link", "YouTube has no link cards; put the link into the text")
	}
	k.langs()
	k.options()
}

func (k *checker) langs() {
	n := len(k.part.Langs)
	k.Over("langs", 1, int64(n), "there are %d languages; YouTube takes 1", n)
	for i, l := range k.part.Langs {
		if _, err := language.Parse(l); err != nil {
			k.Refuse(fmt.Sprintf("langs[%d]", i), "%q is no language tag; write one such as en or pt-BR", l)
		}
	}
}

// files is what is known of a file beforehand.
func (k *checker) files() {
	l := k.about.Limits.Video
	for i, m := range k.part.Media {
		if m.Kind != social.Video {
			continue
		}
		field := fmt.Sprintf("media[%d]", i)
		if !slices.Contains(l.MIME, m.MIME) {
			k.Refuse(field, "smi sends videos of type %s to YouTube, and this is %s", strings.Join(l.MIME, ", "), m.MIME)
		}
		k.Over(field, l.Bytes, m.Bytes, "the video has %d bytes; YouTube takes %d", m.Bytes, l.Bytes)
		k.Over(field, int64(l.MaxDuration/time.Second), int64(m.Duration/time.Second), "the video is %s long; YouTube takes %s", m.Duration, l.MaxDuration)
		if m.Alt != "" {
			k.Say(social.Lossy, field+".alt", "YouTube keeps no alternative text of videos; captions say more")
		}
		if k.part.Options[optionShort] == yes && !isShort(m) {
			k.Refuse("options."+optionShort, "this is no Short: it must be upright or square and at most %s long; it is %d × %d and %s", shortMost, m.Width, m.Height, m.Duration)
		}
	}
}

// isShort says whether the network will show a video as a Short.
func isShort(m social.Media) bool {
	return m.Width > 0 && m.Height >= m.Width && m.Duration > 0 && m.Duration <= shortMost
}

var (
	hashForm     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	playlistForm = regexp.MustCompile(`^[A-Za-z0-9_-]{2,64}$`)
	categoryForm = regexp.MustCompile(`^[1-9][0-9]{0,3}$`)
)

func isCategory(s string) bool { return categoryForm.MatchString(s) }

func (k *checker) options() {
	for _, key := range slices.Sorted(maps.Keys(k.part.Options)) {
		v, field := k.part.Options[key], "options."+key
		i := slices.IndexFunc(k.about.Limits.Options, func(o connectors.OptionDoc) bool { return o.Key == key })
		switch {
		case i < 0 && key == optionPublishAt:
			k.Refuse(field, "smi keeps the time itself here; an admin can allow YouTube's own schedule (networks.youtube.native_schedule)")
			continue
		case i < 0:
			k.Refuse(field, "YouTube has no option %q; it has %s", key, check.Options(k.about.Limits.Options))
			continue
		case v == "":
			continue
		}
		if values := k.about.Limits.Options[i].Values; len(values) > 0 && !slices.Contains(values, v) {
			k.Refuse(field, "%q is no value of %s; use %s", v, key, strings.Join(values, " or "))
		}
		switch key {
		case optionCategory:
			if !isCategory(v) {
				k.Refuse(field, "%q is no category; write its number, such as 22", v)
			}
		case optionPlaylist:
			if playlistID(v) == "" {
				k.Refuse(field, "%q is no playlist; paste its address, or its id that begins with PL", v)
			}
		case optionThumbnail:
			if !hashForm.MatchString(v) {
				k.Refuse(field, "%q is no file of smi; upload the picture and write its hash (64 digits)", v)
			}
		case optionCaptions:
			k.Over(field, maxCaptions, int64(len(v)), "the captions have %d bytes; smi takes %d", len(v), maxCaptions)
			if !strings.Contains(v, "-->") {
				k.Refuse(field, "these are no captions; paste the text of a .srt or .vtt file, with its times")
			}
		case optionCaptionsL:
			if _, err := language.Parse(v); err != nil {
				k.Refuse(field, "%q is no language tag; write one such as en or pt-BR", v)
			}
		case optionPublishAt:
			if _, err := time.Parse(time.RFC3339, v); err != nil {
				k.Refuse(field, "%q is no time; write it as 2026-12-01T09:00:00Z", v)
			}
			if k.part.Options[optionPrivacy] == unlisted {
				k.Refuse(field, "YouTube's own schedule makes videos public; an unlisted one needs smi's")
			}
		}
	}
	if k.forKids() == "" {
		k.Refuse("options."+optionForKids, "say whether the video is made for children: yes or no. YouTube wants an answer for each video (COPPA); an admin can set one for all")
	}
}

// forKids is the answer for this part, "" where nobody gave one.
func (k *checker) forKids() string {
	if v := k.part.Options[optionForKids]; v != "" {
		return v
	}
	return k.cfg.MadeForKids
}

// playlistID reads what people paste as a playlist.
func playlistID(s string) string {
	s = strings.TrimSpace(s)
	if _, after, ok := strings.Cut(s, "list="); ok {
		s, _, _ = strings.Cut(after, "&")
	}
	if !playlistForm.MatchString(s) {
		return ""
	}
	return s
}
