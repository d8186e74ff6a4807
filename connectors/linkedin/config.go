package linkedin

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"smi/internal/social"
)

// Config is the section of this network in the configuration file: one
// developer app. What LinkedIn's pages leave open is a setting here.
type Config struct {
	ClientID     string        `yaml:"client_id" doc:"Client ID of the developer app."`
	ClientSecret social.Secret `yaml:"client_secret" secret:"true" doc:"Client secret of the developer app. A new one ends all logins made with the old."`
	Product      string        `yaml:"product" doc:"What the app was given in the developer portal. share: Sign In with LinkedIn and Share on LinkedIn, which let a member post; community: Community Management, which must be the only product of its app, and lets organisations post and be read."`
	Scopes       []string      `yaml:"scopes" doc:"Scopes to ask for. Empty: those of the product. One that the app was not given makes LinkedIn refuse the whole login."`
	Refresh      bool          `yaml:"refresh" doc:"Use the refresh tokens that LinkedIn gives to approved apps. Without them people log in again every 60 days."`

	Version      string   `yaml:"version" doc:"Version of the API, year and month. LinkedIn ends each about a year after it appeared and then answers with status 426."`
	APIURL       string   `yaml:"api_url" doc:"Server of the API."`
	OAuthURL     string   `yaml:"oauth_url" doc:"Server of the login pages and tokens."`
	WebURL       string   `yaml:"web_url" doc:"Web site that links to posts point to."`
	UploadHosts  []string `yaml:"upload_hosts" doc:"Hosts to which files may be uploaded, with the login's token: LinkedIn names the address of each upload."`
	AllowHosts   []string `yaml:"allow_hosts" doc:"Further hosts (name or name:port) that the addresses above may name, and that may be spoken to without TLS. For simulators and tests on the own machine."`
	StripETags   bool     `yaml:"strip_etags" doc:"Take the quotes off the ETags by which the parts of a video are named. LinkedIn's pages do not say; as they come is known to work."`
	TextMax      int      `yaml:"text_max" doc:"Longest text of a post."`
	TextUnit     string   `yaml:"text_unit" doc:"How text is counted: utf16 (UTF-16 code units) or runes (code points). LinkedIn's pages do not say."`
	CountEscapes bool     `yaml:"count_escapes" doc:"Count the backslashes that LinkedIn's text format puts before some characters. LinkedIn's pages do not say; counting them is safe."`

	MemberNumbers string        `yaml:"member_numbers" doc:"Where the numbers of a member's posts come from. none; social: reactions and comments of the social metadata, which are too low (needs w_member_social_feed); analytics: the member's own statistics (needs r_member_postAnalytics and r_member_profileAnalytics, which only the Standard tier has)."`
	AccountPosts  int           `yaml:"account_posts" doc:"Posts of an account in a UTC day. LinkedIn's own number is shown in the developer portal alone."`
	AppPosts      int           `yaml:"app_posts" doc:"Posts of all accounts of the app in a UTC day; see the developer portal."`
	MinGap        time.Duration `yaml:"min_gap" doc:"Least time between two posts on one account."`
	MediaWait     time.Duration `yaml:"media_wait" doc:"How long an uploaded picture or document is given where the login may not ask whether it is ready."`
	MediaLife     time.Duration `yaml:"media_life" doc:"How long an uploaded file is relied upon before it is uploaded again. LinkedIn's pages do not say how long it is kept."`
	CommentDelay  time.Duration `yaml:"comment_delay" doc:"How long after its post a first comment is sent: right after it LinkedIn may not know the post yet."`
}

// Where the numbers of a member's posts come from.
const (
	numbersNone      = "none"
	numbersSocial    = "social"
	numbersAnalytics = "analytics"
)

const (
	productShare     = "share"
	productCommunity = "community"
)

// productScopes are what each product lets an app ask for ("Getting access to
// LinkedIn APIs" and "Community Management overview", read 2026-08-22). Left out
// is what smi does not use.
var productScopes = map[string][]string{
	productShare:     {"openid", "profile", "w_member_social"},
	productCommunity: {"r_basicprofile", "rw_organization_admin", "r_organization_social", "w_organization_social", "w_member_social"},
}

// NewConfig returns the defaults.
func NewConfig() *Config {
	return &Config{
		Product: productShare, Refresh: true,
		// 202608 was the newest version on 2026-08-22 ("Marketing API versioning").
		Version: "202608", APIURL: "https://api.linkedin.com", OAuthURL: "https://www.linkedin.com", WebURL: "https://www.linkedin.com",
		UploadHosts: []string{"*.linkedin.com"},
		TextMax:     3000, TextUnit: unitUTF16, CountEscapes: true,
		MemberNumbers: numbersNone, AccountPosts: 100, AppPosts: 500,
		MinGap: 10 * time.Second, MediaWait: 10 * time.Second, MediaLife: 12 * time.Hour, CommentDelay: 5 * time.Second,
	}
}

const (
	unitUTF16 = "utf16"
	unitRunes = "runes"
)

// knownHosts are the hosts that the settings may name without being listed in
// allow_hosts.
var knownHosts = []string{"api.linkedin.com", "www.linkedin.com"}

var versionForm = regexp.MustCompile(`^20[2-9][0-9](0[1-9]|1[0-2])$`)

// Check refuses settings that cannot work.
func (c *Config) Check() error {
	var bad []error
	refuse := func(field, format string, args ...any) {
		bad = append(bad, social.Errorf(social.CodeInvalid, field, format, args...))
	}
	for _, s := range []struct{ key, raw string }{{"api_url", c.APIURL}, {"oauth_url", c.OAuthURL}, {"web_url", c.WebURL}} {
		u, err := c.serverURL(s.raw)
		switch {
		case err != nil:
			refuse(s.key, "%w", err)
		case !slices.Contains(knownHosts, u.Hostname()) && !c.allowed(u):
			refuse(s.key, "%s is none of LinkedIn's own hosts; if it is meant, add it to allow_hosts", u.Host)
		}
	}
	oneOf := func(field, v string, of ...string) {
		if !slices.Contains(of, v) {
			refuse(field, "%q is unknown; use one of %s", v, strings.Join(of, ", "))
		}
	}
	oneOf("product", c.Product, productShare, productCommunity)
	oneOf("member_numbers", c.MemberNumbers, numbersNone, numbersSocial, numbersAnalytics)
	oneOf("text_unit", c.TextUnit, unitUTF16, unitRunes)
	if !versionForm.MatchString(c.Version) {
		refuse("version", "%q is no version; write year and month, such as 202608", c.Version)
	}
	if (c.ClientID == "") != c.ClientSecret.Empty() {
		refuse("client_secret", "client_id and client_secret (client_secret_file or client_secret_env) belong together; set both or none")
	}
	if len(c.UploadHosts) == 0 {
		refuse("upload_hosts", "without a host no file can be uploaded; LinkedIn's is *.linkedin.com")
	}
	for _, n := range []struct {
		field string
		v     int
	}{{"text_max", c.TextMax}, {"account_posts", c.AccountPosts}, {"app_posts", c.AppPosts}} {
		if n.v < 1 {
			refuse(n.field, "%d is too few; write 1 or more", n.v)
		}
	}
	for _, d := range []struct {
		field string
		v     time.Duration
	}{{"min_gap", c.MinGap}, {"media_wait", c.MediaWait}, {"comment_delay", c.CommentDelay}} {
		if d.v < 0 {
			refuse(d.field, "%s is negative; write 0s or more", d.v)
		}
	}
	if c.MediaLife < 20*time.Minute {
		refuse("media_life", "%s is too short; files are uploaded a quarter of an hour ahead", c.MediaLife)
	}
	return errors.Join(bad...)
}

// serverURL reads the base address of a server: https, or http for a host of
// allow_hosts; no path, no query, no user.
func (c *Config) serverURL(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(raw, "/"))
	switch {
	case err != nil || u.Host == "":
		return nil, fmt.Errorf("%q is not the address of a server; write it as https://host", raw)
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, fmt.Errorf("%q must be a server's address without path, query or user", raw)
	case u.Scheme == "https", u.Scheme == "http" && c.allowed(u):
		return u, nil
	}
	return nil, fmt.Errorf("%q is not encrypted; use https, or add the host to allow_hosts if it is on this machine", raw)
}

func (c *Config) allowed(u *url.URL) bool {
	return slices.Contains(c.AllowHosts, u.Host) || slices.Contains(c.AllowHosts, u.Hostname())
}

// hosts are those that may be called.
func (c *Config) hosts() []string {
	out := slices.Clone(c.UploadHosts)
	for _, raw := range []string{c.APIURL, c.OAuthURL} {
		if u, err := c.serverURL(raw); err == nil {
			out = append(out, u.Scheme+"://"+u.Host)
		}
	}
	return out
}

// versionEnds is a time at which the version may have ended: LinkedIn promises
// each for a year ("Marketing API versioning", read 2026-08-22).
func (c *Config) versionEnds() time.Time {
	at, err := time.Parse("200601", c.Version)
	if err != nil {
		return time.Time{}
	}
	return at.AddDate(1, 0, 0)
}

// scopes are what a login asks for.
func (c *Config) scopes() []string {
	if len(c.Scopes) > 0 {
		return c.Scopes
	}
	return productScopes[c.Product]
}

// has says whether the scopes have this right. Newer apps are given some of them
// under names that end in _feed (Posts API, read 2026-08-22).
func has(scopes []string, right string) bool {
	return slices.Contains(scopes, right) || slices.Contains(scopes, right+"_feed")
}
