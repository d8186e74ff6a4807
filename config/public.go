package config

import (
	"net/netip"
	"net/url"
	"strings"

	"smi/internal/social"
)

// Public is the door for networks that fetch files by themselves.
type Public struct {
	Listen         string   `yaml:"listen" kind:"listen" reload:"restart" doc:"Address on which files of posts are served to networks that fetch them by themselves (Instagram, Threads, TikTok), such as 0.0.0.0:8443; or, behind a proxy, 127.0.0.1:8480. Only signed addresses that end after a while are answered, and nothing else is there. Empty: on none."`
	URL            string   `yaml:"url" kind:"url" reload:"restart" doc:"The address under which the internet reaches listen: https://HOST, without a path. A host of its own, on which nothing else is served."`
	TLSCert        string   `yaml:"tls_cert" kind:"path" reload:"restart" doc:"File of the certificate and its chain (PEM). It is read again when it changes."`
	TLSKey         string   `yaml:"tls_key" kind:"path" reload:"restart" doc:"File of the certificate's key (PEM)."`
	TrustedProxies []string `yaml:"trusted_proxies" default:"[]" reload:"restart" doc:"Addresses or networks of the proxies in front, such as 127.0.0.1 or 10.1.2.0/24. Without tls_cert nobody else is answered, and TLS must end at them. They must pass on the host (X-Forwarded-Host is not looked at)."`
	Connections    int      `yaml:"connections" default:"256" min:"8" max:"100000" reload:"restart" doc:"The most connections at a time. One address that is no proxy's has at most an eighth of them."`
}

// Check wants an address that strangers can trust.
func (p *Public) Check() error {
	if _, err := p.Proxies(); err != nil {
		return err
	}
	bad := func(field, format string, args ...any) error {
		return social.Errorf(social.CodeInvalid, field, format, args...)
	}
	switch {
	case (p.TLSCert == "") != (p.TLSKey == ""):
		missing, there := "tls_key", "tls_cert"
		if p.TLSCert == "" {
			missing, there = there, missing
		}
		return bad(missing, "is missing, and %s is there; give both or none", there)
	case p.Listen == "" && p.URL != "":
		return bad("listen", "is missing; say on which address smi is to listen for url")
	case p.Listen == "":
		return nil
	case p.URL == "":
		return bad("url", "is missing; say under which address, such as https://media.example.org, the internet reaches listen")
	}
	u, err := url.Parse(p.URL)
	switch {
	case err != nil || u.Scheme != "https":
		return bad("url", "%s does not begin with https://; networks fetch nothing without TLS", quoted(p.URL))
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return bad("url", "%s is more or less than a host; write for example https://media.example.org", quoted(p.URL))
	case strings.Trim(u.Path, "/") != "":
		return bad("url", "%s has a path; give smi a host of its own, such as https://media.example.org", quoted(p.URL))
	case p.TLSCert == "" && len(p.TrustedProxies) == 0:
		return bad("tls_cert", "is missing; give tls_cert and tls_key, or name the proxy at which TLS ends in trusted_proxies")
	}
	return nil
}

// Proxies are the networks of trusted_proxies.
func (p *Public) Proxies() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range p.TrustedProxies {
		if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
			a = a.Unmap()
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		n, err := netip.ParsePrefix(s)
		switch {
		case err != nil:
			return nil, social.Errorf(social.CodeInvalid, "trusted_proxies", "%s is no address or network; write for example 127.0.0.1 or 10.1.2.0/24", quoted(s))
		case n.Bits() == 0:
			return nil, social.Errorf(social.CodeInvalid, "trusted_proxies", "%s is everybody; name the proxy", quoted(s))
		}
		out = append(out, n.Masked())
	}
	return out, nil
}
