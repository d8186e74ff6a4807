package twitter

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"smi/internal/social"
)

// The versions of the API that smi speaks.
const (
	apiV2  = "2"
	apiV11 = "1.1"
)

// The spellings of fields and counters (docs.x.com, OpenAPI document 2.167 and
// the pages before it, read 2026-08-22).
const (
	dialectAuto   = "auto"
	dialectLegacy = "legacy"
	dialectPost   = "post"
)

// Config is the section of this network in the configuration file.
type Config struct {
	API              string        `yaml:"api" enum:"2,1.1" doc:"Version of the API: 2, or 1.1 for enterprise and legacy contracts that still have it. 1.1 takes text and threads only."`
	ClientID         string        `yaml:"client_id" doc:"OAuth 2 client id of the app, from the developer console. Needed with api: 2."`
	ClientSecret     social.Secret `yaml:"client_secret" secret:"true" doc:"OAuth 2 client secret. Empty for an app of the type native."`
	Scopes           []string      `yaml:"scopes" doc:"Scopes to ask for. smi needs tweet.read, tweet.write, users.read, media.write and offline.access."`
	ConsumerKey      social.Secret `yaml:"consumer_key" secret:"true" doc:"OAuth 1.0a consumer key (API key) of the app. Needed with api: 1.1."`
	ConsumerSecret   social.Secret `yaml:"consumer_secret" secret:"true" doc:"OAuth 1.0a consumer secret (API key secret) of the app. Needed with api: 1.1."`
	APIURL           string        `yaml:"api_url" doc:"Where the API is."`
	WebURL           string        `yaml:"web_url" doc:"Where people sign in and links to posts point to."`
	AllowHosts       []string      `yaml:"allow_hosts" doc:"Further hosts (name or name:port) that the addresses above may name, and that may be spoken to without TLS. For simulators and tests on the own machine."`
	FieldsDialect    string        `yaml:"fields_dialect" enum:"auto,legacy,post" doc:"Spelling of fields and counters: legacy (tweet.fields, retweet_count), post (post.fields, repost_count), or auto: legacy until its fields no longer come. post reads the author with each answer, which costs more."`
	MonthlyBudget    int64         `yaml:"monthly_budget_cents" doc:"What this app may spend at X in a calendar month (UTC), in US cents. Numbers are no longer read once four fifths are spent; posts are refused before they are planned or sent when they would not fit. 0: no limit."`
	Prices           Prices        `yaml:"prices" doc:"What X charges for a call, in millionths of a US dollar (1000000 is one dollar). The defaults are the list prices of September 2026."`
	MinGap           time.Duration `yaml:"min_gap" doc:"Least time between two posts on one account."`
	SegmentBytes     int64         `yaml:"upload_segment_bytes" doc:"Size of the pieces in which GIFs and videos go up, at most 5000000. It grows by itself where a video would need more than 1000 pieces."`
	VideoMaxDuration time.Duration `yaml:"video_max_duration" doc:"Longest video. X says 20 minutes, more for some paying accounts, and has said 140 seconds before."`
}

// Prices are what calls cost, in millionths of a US dollar (X's price list for
// pay-per-use, read 2026-09-23). Failed calls are free.
type Prices struct {
	Post     int64 `yaml:"post" doc:"A post without a link."`
	LinkPost int64 `yaml:"post_with_link" doc:"A post with a link in its text."`
	AltText  int64 `yaml:"alt_text" doc:"The description of a picture."`
	Delete   int64 `yaml:"delete" doc:"Deleting a post."`
	ReadPost int64 `yaml:"read_post" doc:"A post in an answer. X charges a post once a day; smi counts each reading."`
	ReadOwn  int64 `yaml:"read_own_timeline" doc:"A post in a listing of the account's own posts. 1000 where the account owns the app."`
	ReadUser int64 `yaml:"read_user" doc:"An account in an answer."`
}

// NewConfig returns the defaults.
func NewConfig() *Config {
	return &Config{
		API:              apiV2,
		Scopes:           slices.Clone(neededScopes),
		APIURL:           "https://api.x.com",
		WebURL:           "https://x.com",
		FieldsDialect:    dialectAuto,
		Prices:           Prices{Post: 15_000, LinkPost: 200_000, AltText: 5_000, Delete: 10_000, ReadPost: 5_000, ReadOwn: 5_000, ReadUser: 10_000},
		MinGap:           3 * time.Second,
		SegmentBytes:     4_000_000,
		VideoMaxDuration: 20 * time.Minute,
	}
}

// knownHosts are the hosts that the settings may name without being listed in
// allow_hosts.
var knownHosts = []string{"api.x.com", "api.twitter.com", "x.com", "twitter.com"}

// Check refuses settings that cannot work. Credentials are asked for when
// somebody connects, so that a network that is not used needs none.
func (c *Config) Check() error {
	var bad []error
	refuse := func(field, format string, args ...any) {
		bad = append(bad, social.Errorf(social.CodeInvalid, field, format, args...))
	}
	if c.API != apiV2 && c.API != apiV11 {
		refuse("api", "%q is no version smi speaks; write \"2\" or \"1.1\"", c.API)
	}
	for _, s := range []struct{ key, raw string }{{"api_url", c.APIURL}, {"web_url", c.WebURL}} {
		u, err := c.serverURL(s.raw)
		switch {
		case err != nil:
			refuse(s.key, "%w", err)
		case !slices.Contains(knownHosts, u.Host) && !c.allowed(u):
			refuse(s.key, "%s is none of the network's own hosts; if it is meant, add it to allow_hosts", u.Host)
		}
	}
	if !slices.Contains([]string{dialectAuto, dialectLegacy, dialectPost}, c.FieldsDialect) {
		refuse("fields_dialect", "%q is no spelling; write auto, legacy or post", c.FieldsDialect)
	}
	for _, s := range neededScopes {
		if !slices.Contains(c.Scopes, s) {
			refuse("scopes", "the scope %s is missing; smi cannot work without it", s)
		}
	}
	if c.MonthlyBudget < 0 {
		refuse("monthly_budget_cents", "%d is negative; write 0 for no limit", c.MonthlyBudget)
	}
	p := c.Prices
	for _, micros := range []int64{p.Post, p.LinkPost, p.AltText, p.Delete, p.ReadPost, p.ReadOwn, p.ReadUser} {
		if micros < 0 {
			refuse("prices", "a price is negative; write 0 for what is free")
			break
		}
	}
	if c.MinGap < 0 {
		refuse("min_gap", "%s is negative; write 0s or more", c.MinGap)
	}
	if c.SegmentBytes < 1 || c.SegmentBytes > maxSegment {
		refuse("upload_segment_bytes", "%d is not between 1 and %d", c.SegmentBytes, maxSegment)
	}
	if c.VideoMaxDuration < minVideo {
		refuse("video_max_duration", "%s is shorter than the shortest video, %s", c.VideoMaxDuration, minVideo)
	}
	return errors.Join(bad...)
}

// serverURL reads the base address of a server: https, or http for a host of
// allow_hosts; no path, no query, no user.
func (c *Config) serverURL(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(raw, "/"))
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q is not the address of a server; write it as https://host", raw)
	}
	if u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("%q must be a server's address without path, query or user", raw)
	}
	switch {
	case u.Scheme == "https", u.Scheme == "http" && c.allowed(u):
		return u, nil
	case u.Scheme == "http":
		return nil, fmt.Errorf("http://%s is not encrypted; use https, or add the host to allow_hosts if it is on this machine", u.Host)
	}
	return nil, fmt.Errorf("%s://%s is no web server; write it as https://%s", u.Scheme, u.Host, u.Host)
}

func (c *Config) allowed(u *url.URL) bool {
	return slices.Contains(c.AllowHosts, u.Host) || slices.Contains(c.AllowHosts, u.Hostname())
}
