package mastodon

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
)

// softwareMastodon is the name of Mastodon and its closest kin in nodeinfo.
const softwareMastodon = "mastodon"

// server is what is known of an account's home server: the content of
// social.Account.Server. A zero number is one that the server did not say.
type server struct {
	ReadAt   time.Time `json:"read_at"`
	Software string    `json:"software"` // as nodeinfo calls it; "" unknown
	Version  string    `json:"version,omitempty"`
	Domain   string    `json:"domain"` // what stands behind the @ of its handles
	API      int       `json:"api,omitempty"`

	Text        int      `json:"text,omitempty"`         // characters
	URL         int      `json:"url,omitempty"`          // characters that a link counts
	Media       int      `json:"media,omitempty"`        // files of a post
	Alt         int      `json:"alt,omitempty"`          // characters of alt text
	ImageBytes  int64    `json:"image_bytes,omitempty"`  //
	ImagePoints int64    `json:"image_points,omitempty"` // width × height
	VideoBytes  int64    `json:"video_bytes,omitempty"`  //
	VideoPoints int64    `json:"video_points,omitempty"` //
	MIME        []string `json:"mime,omitempty"`         //
	PollOptions int      `json:"poll_options,omitempty"` //
	PollOption  int      `json:"poll_option,omitempty"`  // characters of one
	PollMin     int64    `json:"poll_min,omitempty"`     // seconds
	PollMax     int64    `json:"poll_max,omitempty"`     //
}

// usual are the rules of a server that nobody has changed
// (docs.joinmastodon.org, entities/Instance, read 2026-07-02).
var usual = server{
	Text: 500, URL: 23, Media: 4, Alt: 1500,
	ImageBytes: 16777216, ImagePoints: 33177600, VideoBytes: 103809024, VideoPoints: 8294400,
	MIME:        []string{"image/jpeg", "image/png", "image/webp", "image/gif", "video/mp4", "video/webm", "video/quicktime"},
	PollOptions: 4, PollOption: 50, PollMin: 300, PollMax: 2629746,
}

// serverLife is how long what a server said of itself is good.
const serverLife = 24 * time.Hour

// readServer reads what is kept with an account. What is not there, or makes no
// sense, is as usual.
func readServer(kept json.RawMessage) server {
	var s server
	if len(kept) > 0 {
		if err := json.Unmarshal(kept, &s); err != nil {
			s = server{} // of another release: it is read anew
		}
	}
	return s.complete()
}

// complete fills in what the server did not say.
func (s server) complete() server {
	fill := func(v *int, usual, most int) {
		if *v <= 0 {
			*v = usual
		}
		*v = min(*v, most)
	}
	fill64 := func(v *int64, usual int64) {
		if *v <= 0 {
			*v = usual
		}
	}
	fill(&s.Text, usual.Text, 1_000_000)
	fill(&s.URL, usual.URL, 1000)
	fill(&s.Media, usual.Media, 100)
	fill(&s.Alt, usual.Alt, 1_000_000)
	fill(&s.PollOptions, usual.PollOptions, 1000)
	fill(&s.PollOption, usual.PollOption, 10_000)
	fill64(&s.ImageBytes, usual.ImageBytes)
	fill64(&s.ImagePoints, usual.ImagePoints)
	fill64(&s.VideoBytes, usual.VideoBytes)
	fill64(&s.VideoPoints, usual.VideoPoints)
	fill64(&s.PollMin, usual.PollMin)
	fill64(&s.PollMax, usual.PollMax)
	if len(s.MIME) == 0 {
		s.MIME = usual.MIME
	}
	return s
}

// limitsOf are a server's rules as smi knows rules.
func limitsOf(s server) connectors.Limits {
	s = s.complete()
	var images, videos []string
	gif := false
	for _, m := range s.MIME {
		switch {
		case m == "image/gif":
			gif = true
		case strings.HasPrefix(m, "image/"):
			images = append(images, m)
		case strings.HasPrefix(m, "video/"):
			videos = append(videos, m)
		}
	}
	l := connectors.Limits{
		Text:       connectors.TextLimit{Unit: connectors.Weighted, Max: s.Text},
		MediaTotal: s.Media,
		Thread:     99, // a bound of smi's own
		Comment:    10, // as above
		Langs:      1,
		Options:    options,
	}
	// A picture beyond the bound of points is refused, and each is made smaller
	// than that by the server anyway.
	if len(images) > 0 {
		l.Image = connectors.MediaLimit{
			Support: connectors.OK, Max: s.Media, Bytes: s.ImageBytes, AltMax: s.Alt, MIME: preferred(images, "image/jpeg", "image/png", "image/webp"),
			MaxSide: int(math.Sqrt(float64(s.ImagePoints))),
		}
	}
	if gif {
		l.GIF = connectors.MediaLimit{Support: connectors.OK, Max: 1, Bytes: s.ImageBytes, AltMax: s.Alt, MIME: []string{"image/gif"}}
	}
	if len(videos) > 0 {
		l.Video = connectors.MediaLimit{Support: connectors.OK, Max: 1, Bytes: s.VideoBytes, AltMax: s.Alt, MIME: preferred(videos, "video/mp4", "video/webm")}
	}
	return l
}

// preferred puts these types first, in this order.
func preferred(have []string, first ...string) []string {
	rank := func(m string) int {
		if i := slices.Index(first, m); i >= 0 {
			return i
		}
		return len(first)
	}
	out := slices.Clone(have)
	slices.SortStableFunc(out, func(a, b string) int { return rank(a) - rank(b) })
	return slices.Compact(out)
}

// at returns a client for calls without an account to the server of base.
func (p *Platform) at(base *url.URL) (*api.Client, error) {
	return p.http.For("", nil, base.Scheme+"://"+base.Host)
}

// get asks a server without an account. What one server says of limits stops
// nobody at another.
func (p *Platform) get(ctx context.Context, base *url.URL, k api.Call) error {
	client, err := p.at(base)
	if err != nil {
		return err
	}
	k.Anonymous, k.Bucket = true, "server/"+base.Host
	_, err = client.Do(ctx, k)
	return err
}

// ask reads what a server says of itself: its rules, and what software it runs.
func (p *Platform) ask(ctx context.Context, base *url.URL) (server, error) {
	var in instance
	err := p.get(ctx, base, api.Call{Op: "instance", URL: base.String() + "/api/v2/instance", Out: &in})
	if e := connectors.AsError(err); e != nil && (e.Status == http.StatusNotFound || e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden) {
		in = instance{} // before release 4.0
		err = p.get(ctx, base, api.Call{Op: "instance", URL: base.String() + "/api/v1/instance", Out: &in})
	}
	if err != nil {
		return server{}, err
	}
	s := in.server()
	s.ReadAt = p.env.Now().UTC().Truncate(time.Second)
	if s.Domain == "" {
		s.Domain = base.Host
	}
	s.Software = p.software(ctx, base, in.Version)
	return s, nil
}

// software asks which software a server runs (nodeinfo.diaspora.software, read
// 2026-07-02). A server that does not say is known by its version, if that names
// somebody.
func (p *Platform) software(ctx context.Context, base *url.URL, version string) string {
	var list nodeinfoList
	if err := p.get(ctx, base, api.Call{Op: "nodeinfo", URL: base.String() + "/.well-known/nodeinfo", Out: &list, MaxBytes: 64 << 10}); err == nil {
		for _, l := range list.Links {
			u, err := base.Parse(l.Href)
			if err != nil || u.Host != base.Host || u.Scheme != base.Scheme || !strings.Contains(l.Rel, "nodeinfo.diaspora.software/ns/schema/") {
				continue
			}
			var n nodeinfo
			if err := p.get(ctx, base, api.Call{Op: "nodeinfo", URL: u.String(), Out: &n, MaxBytes: 256 << 10}); err == nil {
				if name := strings.ToLower(n.Software.Name); name != softwareMastodon || compatible(version) == "" {
					return name
				}
			}
		}
	}
	return compatible(version)
}

// compatible is who a version says to be that is not Mastodon, "" if it names
// nobody: "2.7.2 (compatible; Pleroma 2.6.0)", "0.20.0+git-…".
func compatible(version string) string {
	_, name, ok := strings.Cut(version, "compatible; ")
	if !ok {
		return ""
	}
	name, _, _ = strings.Cut(name, " ")
	return strings.ToLower(name)
}

// server takes out of an instance's document what smi needs.
func (in instance) server() server {
	c := in.Configuration
	s := server{
		Version: in.Version, Domain: in.Domain, API: in.APIVersions.Mastodon,
		Text: c.Statuses.MaxCharacters, URL: c.Statuses.ReservedPerURL, Media: c.Statuses.MaxMedia,
		Alt: c.Media.Description, ImageBytes: c.Media.ImageSize, ImagePoints: c.Media.ImageMatrix,
		VideoBytes: c.Media.VideoSize, VideoPoints: c.Media.VideoMatrix, MIME: c.Media.MIME,
		PollOptions: c.Polls.Options, PollOption: c.Polls.Option, PollMin: c.Polls.Min, PollMax: c.Polls.Max,
	}
	if s.Domain == "" {
		s.Domain = strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(in.URI, "https://"), "http://"), "/")
	}
	if s.Text == 0 {
		s.Text = in.MaxTootChars
	}
	return s
}

// Validate asks for what every server says.
func (in instance) Validate() error {
	if in.Version == "" || in.Domain == "" && in.URI == "" {
		return fmt.Errorf("version or domain is missing")
	}
	return nil
}

// keyed says whether the key of a repeated post is surely recognised there.
func (p *Platform) keyed(software string) bool {
	return software != "" && slices.ContainsFunc(p.cfg.KeySoftware, func(s string) bool { return strings.EqualFold(s, software) })
}
