package youtube

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"smi/internal/social"
)

// Config is the section of this network in the configuration file. Every
// address is a setting; the defaults are the public network.
type Config struct {
	ClientID       string        `yaml:"client_id" doc:"Client id of the OAuth client (type: web application) of a Google Cloud project in which the YouTube Data API v3 and the YouTube Analytics API are switched on."`
	ClientSecret   social.Secret `yaml:"client_secret" secret:"true" doc:"Secret of the OAuth client."`
	Testing        bool          `yaml:"testing" doc:"The consent screen of the project is in the state Testing: Google then ends every login after 7 days, and smi tells so in time."`
	Audited        bool          `yaml:"audited" doc:"Google has audited the project. Until then each post carries a warning: uploads of projects that were not audited were locked as private until 2026-11-02, and nobody here could try what holds since."`
	MadeForKids    string        `yaml:"made_for_kids" doc:"Answer for posts without the option made_for_kids: yes or no. Empty: each post must say."`
	Category       string        `yaml:"category" doc:"Number of the category of posts without the option category. 22 is People & Blogs."`
	NativeSchedule bool          `yaml:"native_schedule" doc:"Allow the option publish_at: at the planned time smi hands the video to YouTube, which makes it public at publish_at by itself. A pause of smi does not hold it then."`
	AnalyticsData  bool          `yaml:"analytics_data" doc:"Read views, likes, comments, shares and watch time per day from the YouTube Analytics API. It needs a scope of its own."`
	BatchStats     bool          `yaml:"batch_stats" doc:"Read the counts of videos by videos.batchGetStats, which has a quota of its own since June 2026. Off: by videos.list."`
	ChunkBytes     int64         `yaml:"chunk_bytes" doc:"Bytes of one piece of an upload, a multiple of 262144."`
	ThumbnailBytes int64         `yaml:"thumbnail_bytes" doc:"Largest thumbnail in bytes. YouTube has taken 50 MB since September 2026; older pages say 2 MB."`
	MinGap         time.Duration `yaml:"min_gap" doc:"Least time between two posts on one account."`
	Quota          QuotaConfig   `yaml:"quota" doc:"Quotas of the Google Cloud project, as its console shows them. All accounts share them; they begin anew at midnight Pacific time."`

	API        string   `yaml:"api_url" doc:"Server of the YouTube Data API."`
	Upload     string   `yaml:"upload_url" doc:"Server that takes files."`
	Analytics  string   `yaml:"analytics_url" doc:"Server of the YouTube Analytics API."`
	AuthURL    string   `yaml:"auth_url" doc:"Page at which people allow access."`
	TokenURL   string   `yaml:"token_url" doc:"Address that gives tokens."`
	RevokeURL  string   `yaml:"revoke_url" doc:"Address that ends a login."`
	WebURL     string   `yaml:"web_url" doc:"Site that links to videos point to."`
	AllowHosts []string `yaml:"allow_hosts" doc:"Further hosts (name or name:port) that the addresses above may name, and that may be spoken to without TLS. For simulators and tests on the own machine."`
}

// QuotaConfig says how much of the API the project may use in a day. The split
// quotas exist since 2026-06-01; projects from before may still have a single
// one (YouTube Data API, revision history, read 2026-11).
type QuotaConfig struct {
	Model       string `yaml:"model" doc:"split: uploads have a quota of their own. single: uploads count in the general quota."`
	Units       int    `yaml:"units" doc:"Units a day of the general quota."`
	Inserts     int    `yaml:"inserts" doc:"Uploads a day, where they have a quota of their own."`
	InsertUnits int    `yaml:"insert_units" doc:"Units of one upload, where it counts in the general quota: 100, and 1600 before December 2025."`
}

// The models of quota.
const (
	quotaSplit  = "split"
	quotaSingle = "single"
)

// chunkStep is what the size of a piece must be a multiple of (YouTube Data API,
// "Resumable uploads", read 2026-11).
const chunkStep = 256 << 10

// NewConfig returns the defaults.
func NewConfig() *Config {
	return &Config{ //nolint:gosec // the address that gives tokens is no token
		Category:       "22",
		AnalyticsData:  true,
		BatchStats:     true,
		ChunkBytes:     8 << 20,
		ThumbnailBytes: 2 << 20,
		MinGap:         3 * time.Second,
		Quota:          QuotaConfig{Model: quotaSplit, Units: 10_000, Inserts: 100, InsertUnits: 100},
		API:            "https://youtube.googleapis.com",
		Upload:         "https://www.googleapis.com",
		Analytics:      "https://youtubeanalytics.googleapis.com",
		AuthURL:        "https://accounts.google.com/o/oauth2/v2/auth",
		TokenURL:       "https://oauth2.googleapis.com/token",
		RevokeURL:      "https://oauth2.googleapis.com/revoke",
		WebURL:         "https://www.youtube.com",
	}
}

// knownHosts are the hosts that the settings may name without being listed in
// allow_hosts.
var knownHosts = []string{
	"youtube.googleapis.com", "www.googleapis.com", "youtubeanalytics.googleapis.com", "accounts.google.com", "oauth2.googleapis.com", "www.youtube.com", "youtube.com",
}

// maxThumbnail is the most a thumbnail may be: it is held in memory on its way.
const maxThumbnail = 50 << 20

// Check refuses settings that cannot work.
func (c *Config) Check() error {
	var bad []error
	refuse := func(field, format string, args ...any) {
		bad = append(bad, social.Errorf(social.CodeInvalid, field, format, args...))
	}
	for _, s := range []struct {
		key, raw string
		path     bool
	}{
		{"api_url", c.API, false},
		{"upload_url", c.Upload, false},
		{"analytics_url", c.Analytics, false},
		{"auth_url", c.AuthURL, true},
		{"token_url", c.TokenURL, true},
		{"revoke_url", c.RevokeURL, true},
		{"web_url", c.WebURL, false},
	} {
		if err := c.address(s.raw, s.path); err != nil {
			refuse(s.key, "%w", err)
		}
	}
	if c.ClientID == "" && !c.ClientSecret.Empty() {
		refuse("client_id", "there is a client_secret without a client_id; both are shown in the Google Cloud console under Credentials")
	}
	if c.ClientID != "" && c.ClientSecret.Empty() {
		refuse("client_secret", "there is a client_id without a client_secret; both are shown in the Google Cloud console under Credentials")
	}
	if !slices.Contains([]string{"", yes, no}, c.MadeForKids) {
		refuse("made_for_kids", "%q is no answer; write yes or no, or leave it empty so that each post must say", c.MadeForKids)
	}
	if !isCategory(c.Category) {
		refuse("category", "%q is no category; write its number, such as 22", c.Category)
	}
	if c.ChunkBytes < chunkStep || c.ChunkBytes%chunkStep != 0 || c.ChunkBytes > 1<<30 {
		refuse("chunk_bytes", "%d is no multiple of %d; write 8388608 for 8 MiB", c.ChunkBytes, chunkStep)
	}
	if c.ThumbnailBytes < 1 || c.ThumbnailBytes > maxThumbnail {
		refuse("thumbnail_bytes", "%d is not between 1 and %d", c.ThumbnailBytes, maxThumbnail)
	}
	if c.MinGap < 0 {
		refuse("min_gap", "%s is negative; write 0s or more", c.MinGap)
	}
	q := &c.Quota
	if q.Model != quotaSplit && q.Model != quotaSingle {
		refuse("quota.model", "%q is no model; write split or single", q.Model)
	}
	if q.Units < 1 || q.Inserts < 1 || q.InsertUnits < 1 {
		refuse("quota", "units, inserts and insert_units must be 1 or more")
	}
	return errors.Join(bad...)
}

// address refuses what is no address of Google's, or of a host of allow_hosts.
func (c *Config) address(raw string, path bool) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("%q is not the address of a server; write it as https://host", raw)
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil || !path && strings.Trim(u.Path, "/") != "":
		return fmt.Errorf("%q must be an address without path, query or user", raw)
	case !slices.Contains(knownHosts, u.Hostname()) && !c.allowed(u):
		return fmt.Errorf("%s is none of the network's own hosts; if it is meant, add it to allow_hosts", u.Host)
	case u.Scheme == "http" && !c.allowed(u):
		return fmt.Errorf("http://%s is not encrypted; use https, or add the host to allow_hosts if it is on this machine", u.Host)
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%s://%s is no web server; write it as https://%s", u.Scheme, u.Host, u.Host)
	}
	return nil
}

func (c *Config) allowed(u *url.URL) bool {
	return slices.Contains(c.AllowHosts, u.Host) || slices.Contains(c.AllowHosts, u.Hostname())
}
