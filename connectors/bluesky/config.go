package bluesky

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"smi/internal/social"
)

// Config is the section of this network in the configuration file. Every
// address is a setting, so that a simulator, a proxy or a server of one's own
// can stand in; the defaults are the public network.
type Config struct {
	Service              string        `yaml:"service" doc:"Server that is asked when a login names no other: it resolves handles. Posts always go to the account's own server."`
	HandleResolver       string        `yaml:"handle_resolver" doc:"Server that answers com.atproto.identity.resolveHandle. Empty: the one of service."`
	PLC                  string        `yaml:"plc_url" doc:"Directory in which did:plc identifiers are looked up."`
	VideoService         string        `yaml:"video_service" doc:"Service that prepares videos. none: videos are uploaded to the account's own server as they are."`
	WebURL               string        `yaml:"web_url" doc:"Web client that links to posts point to."`
	AllowHosts           []string      `yaml:"allow_hosts" doc:"Further hosts (name or name:port) that the addresses above may name, and that may be spoken to without TLS. For simulators and tests on the own machine."`
	AllowAccountPassword bool          `yaml:"allow_account_password" doc:"Accept the main password of an account, not only app passwords. For tests: a main password opens everything."`
	FetchCards           bool          `yaml:"fetch_cards" doc:"Read title and description of a linked page when the author gave no title. If the page cannot be read, its address is the title."`
	MinGap               time.Duration `yaml:"min_gap" doc:"Least time between two posts on one account."`
	OAuth                OAuthConfig   `yaml:"oauth" doc:"Signing in by the browser."`
}

// OAuthConfig says as whom smi signs in by the browser. Facts: atproto.com
// specs/oauth, read 2026-08-20.
type OAuthConfig struct {
	ClientID   string        `yaml:"client_id" doc:"HTTPS address of this installation's client metadata document. Empty: a loopback client, which works for redirects to 127.0.0.1 and [::1] only."`
	ClientName string        `yaml:"client_name" doc:"Name that people see on the consent page."`
	Scopes     []string      `yaml:"scopes" doc:"Scopes to ask for. atproto is always needed."`
	ClientKey  social.Secret `yaml:"client_key" secret:"true" doc:"Private P-256 key in PEM form (openssl ecparam -name prime256v1 -genkey -noout). With it people sign in again after months, without it after two weeks."`
	KeyID      string        `yaml:"key_id" doc:"Name of the key in the client metadata document. Change it with the key."`
}

// NewConfig returns the defaults.
func NewConfig() *Config {
	return &Config{
		Service:      "https://bsky.social",
		PLC:          "https://plc.directory",
		VideoService: "https://video.bsky.app",
		WebURL:       "https://bsky.app",
		FetchCards:   true,
		MinGap:       3 * time.Second,
		OAuth:        OAuthConfig{ClientName: "smi", Scopes: []string{"atproto", "transition:generic"}, KeyID: "smi-1"},
	}
}

// noService is how the admin switches the video service off.
const noService = "none"

// knownHosts are the hosts that the settings may name without being listed in
// allow_hosts. The servers of accounts are not settings: they come from the
// accounts' own identity documents.
var knownHosts = []string{"bsky.social", "public.api.bsky.app", "plc.directory", "video.bsky.app", "bsky.app"}

// Check refuses settings that cannot work.
func (c *Config) Check() error {
	var bad []error
	refuse := func(field, format string, args ...any) {
		bad = append(bad, social.Errorf(social.CodeInvalid, field, format, args...))
	}
	for _, s := range []struct{ key, raw string }{
		{"service", c.Service},
		{"handle_resolver", c.HandleResolver},
		{"plc_url", c.PLC},
		{"video_service", c.VideoService},
		{"web_url", c.WebURL},
	} {
		switch {
		case s.key == "video_service" && !c.hasVideoService(), s.key == "handle_resolver" && s.raw == "":
			continue
		}
		u, err := c.serverURL(s.raw)
		switch {
		case err != nil:
			refuse(s.key, "%w", err)
		case !slices.Contains(knownHosts, u.Hostname()) && !c.allowed(u):
			refuse(s.key, "%s is none of the network's own hosts; if it is meant, add it to allow_hosts", u.Host)
		}
	}
	if c.MinGap < 0 {
		refuse("min_gap", "%s is negative; write 0s or more", c.MinGap)
	}
	if !slices.Contains(c.OAuth.Scopes, "atproto") {
		refuse("oauth.scopes", "the scope atproto is missing; without it the network grants nothing")
	}
	o := &c.OAuth
	if id := o.ClientID; id != "" {
		if u, err := url.Parse(id); err != nil || u.Scheme != "https" || u.Path == "" {
			refuse("oauth.client_id", "%q is not the https address of a document", id)
		}
	} else if !o.ClientKey.Empty() {
		refuse("oauth.client_key", "a key needs oauth.client_id as well; a loopback client has no key")
	}
	if !o.ClientKey.Empty() {
		if _, err := o.key(); err != nil {
			refuse("oauth.client_key", "%w", err)
		}
	}
	return errors.Join(bad...)
}

// resolver is the server that resolves handles.
func (c *Config) resolver() string {
	if c.HandleResolver != "" {
		return c.HandleResolver
	}
	return c.Service
}

func (c *Config) hasVideoService() bool { return c.VideoService != "" && c.VideoService != noService }

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
	return u, c.secure(u)
}

// secure refuses addresses without TLS, except those of allow_hosts.
func (c *Config) secure(u *url.URL) error {
	if u.Scheme == "https" || u.Scheme == "http" && c.allowed(u) {
		return nil
	}
	if u.Scheme != "http" {
		return fmt.Errorf("%s://%s is no web server; write it as https://%s", u.Scheme, u.Host, u.Host)
	}
	return fmt.Errorf("http://%s is not encrypted; use https, or add the host to allow_hosts if it is on this machine", u.Host)
}

func (c *Config) allowed(u *url.URL) bool {
	return slices.Contains(c.AllowHosts, u.Host) || slices.Contains(c.AllowHosts, u.Hostname())
}

// key reads the key by which a confidential client says who it is.
func (o *OAuthConfig) key() (atcrypto.PrivateKey, error) {
	wrong := errors.New("it is no private P-256 key in PEM form; make one with openssl ecparam -name prime256v1 -genkey -noout")
	block, _ := pem.Decode([]byte(o.ClientKey.Reveal()))
	if block == nil {
		return nil, wrong
	}
	var parsed any
	var err error
	if block.Type == "EC PRIVATE KEY" {
		parsed, err = x509.ParseECPrivateKey(block.Bytes)
	} else {
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	ec, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || ec.Curve != elliptic.P256() {
		return nil, wrong
	}
	raw, err := ec.Bytes()
	if err != nil {
		return nil, wrong
	}
	key, err := atcrypto.ParsePrivateBytesP256(raw)
	if err != nil {
		return nil, wrong
	}
	if !usableKey(key) {
		return nil, errors.New("this key cannot be published in the form that servers ask for; make another one")
	}
	return key, nil
}
