package mastodon

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"smi/internal/social"
)

// Config is the section of this network in the configuration file. There is no
// address in it: each account is on the server that the person names who
// connects it.
type Config struct {
	ClientName       string        `yaml:"client_name" doc:"Name that people see on the consent page and, on some servers, under each post."`
	Website          string        `yaml:"website" doc:"Address that the name links to. Empty: none."`
	Scopes           []string      `yaml:"scopes" doc:"Scopes to ask for. A server refuses the whole if it does not know one of them."`
	Servers          []string      `yaml:"servers" doc:"The only servers whose accounts may be connected, by name. Empty: any."`
	AllowHosts       []string      `yaml:"allow_hosts" doc:"Hosts (name or name:port) that may be named by an IP address and spoken to without TLS. For simulators and tests on the own machine."`
	Visibility       string        `yaml:"visibility" doc:"Who sees a post that does not say it itself: public, unlisted, private (followers) or direct (who is mentioned)."`
	FollowVisibility string        `yaml:"follow_visibility" doc:"The same for thread items and comments. They are never seen by more people than what they follow."`
	KeySoftware      []string      `yaml:"key_software" doc:"Server software that recognises a repeated post by its Idempotency-Key, by its name in nodeinfo. Add a name only if you have seen it do so: where it does not, a repeated post is there twice."`
	KeyWindow        time.Duration `yaml:"key_window" doc:"How long after it was made a key is relied upon. Mastodon keeps keys for an hour."`
	StatusBatch      int           `yaml:"status_batch" doc:"Posts whose numbers are read by one call, where a server can do so."`
	MinGap           time.Duration `yaml:"min_gap" doc:"Least time between two posts on one account."`
}

// neededScopes are what smi cannot do without. They are in every release since
// 2.4.3, and in GoToSocial (docs.joinmastodon.org, api/oauth-scopes, read
// 2026-07-02).
var neededScopes = []string{"read:accounts", "read:statuses", "write:statuses", "write:media"}

// keyLife is how long Mastodon keeps a key (docs.joinmastodon.org,
// methods/statuses, Idempotency-Key; app/services/post_status_service.rb; read
// 2026-07-02).
const keyLife = time.Hour

// keySlack is what must be left of keyLife when a key is used for the last time:
// dialling, arming and sending take their time.
const keySlack = 3 * time.Minute

// visibilities are those of the API, from the widest to the narrowest.
var visibilities = []string{"public", "unlisted", "private", "direct"}

// NewConfig returns the defaults.
func NewConfig() *Config {
	return &Config{
		ClientName:       "smi",
		Scopes:           slices.Clone(neededScopes),
		Visibility:       "public",
		FollowVisibility: "public",
		KeySoftware:      []string{softwareMastodon},
		KeyWindow:        55 * time.Minute,
		StatusBatch:      20,
		MinGap:           3 * time.Second,
	}
}

// Check refuses settings that cannot work.
func (c *Config) Check() error {
	var bad []error
	refuse := func(field, format string, args ...any) {
		bad = append(bad, social.Errorf(social.CodeInvalid, field, format, args...))
	}
	if strings.TrimSpace(c.ClientName) == "" {
		refuse("client_name", "people must see who asks them; write a name")
	}
	if c.Website != "" {
		if u, err := url.Parse(c.Website); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			refuse("website", "%q is no web address; write it as https://…", c.Website)
		}
	}
	if missing := missingScopes(c.Scopes); len(missing) > 0 {
		refuse("scopes", "without %s smi cannot work; add it", strings.Join(missing, " and "))
	}
	for _, s := range c.Scopes {
		if s == "" || strings.ContainsAny(s, " \t\n") {
			refuse("scopes", "%q is no scope; write one an entry", s)
		}
	}
	for i, s := range c.Servers {
		if _, err := serverName(s); err != nil {
			refuse(fmt.Sprintf("servers[%d]", i), "%w", err)
		}
	}
	for _, v := range []struct{ key, value string }{{"visibility", c.Visibility}, {"follow_visibility", c.FollowVisibility}} {
		if !slices.Contains(visibilities, v.value) {
			refuse(v.key, "%q is no visibility; use %s", v.value, strings.Join(visibilities, ", "))
		}
	}
	if c.KeyWindow <= 0 || c.KeyWindow > keyLife-keySlack {
		refuse("key_window", "%s cannot be kept; write between 1m and %s, or leave key_software empty", c.KeyWindow, keyLife-keySlack)
	}
	if c.StatusBatch < 1 || c.StatusBatch > 100 {
		refuse("status_batch", "%d posts a call; write 1 to 100", c.StatusBatch)
	}
	if c.MinGap < 0 {
		refuse("min_gap", "%s is negative; write 0s or more", c.MinGap)
	}
	return errors.Join(bad...)
}

// missingScopes are the needed scopes that a list does not hold, neither
// themselves nor by the name above them: write holds write:media.
func missingScopes(have []string) []string {
	var out []string
	for _, s := range neededScopes {
		above, _, _ := strings.Cut(s, ":")
		if !slices.Contains(have, s) && !slices.Contains(have, above) {
			out = append(out, s)
		}
	}
	return out
}

// serverName makes a bare name, name:port or IP address of what stands for a
// server: lower case, and in ASCII as the DNS wants it.
func serverName(s string) (string, error) {
	host, port := strings.ToLower(strings.TrimSuffix(s, ".")), ""
	if h, p, err := net.SplitHostPort(host); err == nil {
		host, port = h, p
	}
	if net.ParseIP(host) == nil {
		ascii, err := idna.Lookup.ToASCII(host)
		if err != nil || ascii == "" || !strings.Contains(ascii, ".") {
			return "", fmt.Errorf("%q is no name of a server; write it as mastodon.social", s)
		}
		host = ascii
	}
	switch {
	case port != "":
		return net.JoinHostPort(host, port), nil
	case strings.Contains(host, ":"):
		return "[" + host + "]", nil
	}
	return host, nil
}

// serverOf finds the server in what a person typed: its name, its address, the
// address of a page on it, or a whole handle such as @name@mastodon.social.
func (c *Config) serverOf(typed string) (*url.URL, error) {
	s := strings.TrimSpace(typed)
	if s == "" {
		return nil, errors.New("type the name of your server, such as mastodon.social")
	}
	scheme := "https"
	if before, rest, ok := strings.Cut(s, "://"); ok {
		scheme, s = strings.ToLower(before), rest
		s, _, _ = strings.Cut(s, "/")
		if strings.Contains(s, "@") {
			return nil, fmt.Errorf("%q holds more than the name of a server; write it as mastodon.social", typed)
		}
	} else if at := strings.LastIndex(s, "@"); at >= 0 && !strings.Contains(s[:at], "/") {
		s = s[at+1:]
	}
	s, _, _ = strings.Cut(s, "/")
	host, err := serverName(s)
	if err != nil {
		return nil, err
	}
	u := &url.URL{Scheme: scheme, Host: host}
	if err := c.secure(u); err != nil {
		return nil, err
	}
	if len(c.Servers) > 0 && !slices.ContainsFunc(c.Servers, func(s string) bool { n, err := serverName(s); return err == nil && n == host }) {
		return nil, fmt.Errorf("%s is not one of the servers that this smi may use: %s", host, strings.Join(c.Servers, ", "))
	}
	return u, nil
}

// baseOf reads the address of a server as it is kept with a login.
func (c *Config) baseOf(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil {
		return nil, errors.New("the address of the account's server was not kept; connect the account again")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, c.secure(u)
}

// secure refuses addresses without TLS and bare IP addresses, except those of
// allow_hosts.
func (c *Config) secure(u *url.URL) error {
	switch allowed := slices.Contains(c.AllowHosts, u.Host) || slices.Contains(c.AllowHosts, u.Hostname()); {
	case allowed && (u.Scheme == "http" || u.Scheme == "https"):
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("http://%s is not encrypted; use https, or add the host to allow_hosts if it is on this machine", u.Host)
	case u.Scheme != "https":
		return fmt.Errorf("%s://%s is no web server; write it as %s", u.Scheme, u.Host, u.Host)
	case net.ParseIP(u.Hostname()) != nil:
		return fmt.Errorf("%s is an IP address; write the name of the server, or add it to allow_hosts if it is on this machine", u.Hostname())
	}
	return nil
}
