package bluesky_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/bluesky"
	"smi/internal/social"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t, change{})
	c := w.client(connectors.Grant{})
	image := social.Media{Hash: "h", Kind: social.Image, MIME: "image/jpeg", Bytes: 10, Alt: "x"}
	video := social.Media{Hash: "v", Kind: social.Video, MIME: "video/mp4", Bytes: 10, Alt: "x", Duration: time.Minute}
	with := func(m social.Media, f func(*social.Media)) social.Media { f(&m); return m }
	family := "👩‍👩‍👧‍👦" // one character, 25 bytes
	for _, c2 := range []struct {
		name string
		part social.Part
		want []string // "severity field"
	}{
		{"300 characters", social.Part{Text: strings.Repeat("é", 300)}, nil},
		{"301 characters", social.Part{Text: strings.Repeat("é", 301)}, []string{"refused text"}},
		{"120 families are 3000 bytes", social.Part{Text: strings.Repeat(family, 120)}, nil},
		{"121 families are too many bytes", social.Part{Text: strings.Repeat(family, 121)}, []string{"refused text"}},
		{"combining marks are no characters", social.Part{Text: strings.Repeat("e\u0301", 300)}, nil},
		{"300 of CJK", social.Part{Text: strings.Repeat("漢", 300)}, nil},
		{"empty", social.Part{Text: " \n"}, []string{"refused text"}},
		{"not UTF-8", social.Part{Text: "a\xff"}, []string{"refused text"}},
		{"picture alone", social.Part{Media: []social.Media{image}}, nil},
		{"four pictures", social.Part{Media: []social.Media{image, image, image, image}}, nil},
		{"five pictures", social.Part{Media: []social.Media{image, image, image, image, image}}, []string{"refused media"}},
		{"largest picture", social.Part{Media: []social.Media{with(image, func(m *social.Media) { m.Bytes = 2_000_000 })}}, nil},
		{"picture too large", social.Part{Media: []social.Media{image, with(image, func(m *social.Media) { m.Bytes = 2_000_001 })}}, []string{"refused media[1]"}},
		{"no alt text", social.Part{Media: []social.Media{with(image, func(m *social.Media) { m.Alt = "" })}}, []string{"advice media[0].alt"}},
		{"alt text too long", social.Part{Media: []social.Media{with(image, func(m *social.Media) { m.Alt = strings.Repeat("x", 2001) })}}, []string{"refused media[0].alt"}},
		{"picture of another kind", social.Part{Media: []social.Media{with(image, func(m *social.Media) { m.MIME = "image/tiff" })}}, []string{"refused media[0]"}},
		{"GIF", social.Part{Media: []social.Media{{Kind: social.GIF, MIME: "image/gif", Bytes: 1, Alt: "x"}}}, []string{"lossy media[0]"}},
		{"document", social.Part{Media: []social.Media{{Kind: social.Document, MIME: "application/pdf", Bytes: 1}}}, []string{"refused media[0]"}},
		{"video", social.Part{Media: []social.Media{video}}, nil},
		{"two videos", social.Part{Media: []social.Media{video, video}}, []string{"refused media"}},
		{"video too long", social.Part{Media: []social.Media{with(video, func(m *social.Media) { m.Duration = 3*time.Minute + 1 })}}, []string{"refused media[0]"}},
		{"video too large", social.Part{Media: []social.Media{with(video, func(m *social.Media) { m.Bytes = 300_000_001 })}}, []string{"refused media[0]"}},
		{"mixed", social.Part{Media: []social.Media{image, video}}, []string{"refused media"}},
		{"three languages", social.Part{Text: "x", Langs: []string{"en", "pt-BR", "zh-Hant"}}, nil},
		{"four languages", social.Part{Text: "x", Langs: []string{"en", "de", "fr", "it"}}, []string{"refused langs"}},
		{"too long for a language", social.Part{Text: "x", Langs: []string{"en", "xx-yyyyyyyyyy"}}, []string{"refused langs[1]"}},
		{"unknown language", social.Part{Text: "x", Langs: []string{"qx"}}, []string{"refused langs[0]"}},
		{"no language", social.Part{Text: "x", Langs: []string{"english!"}}, []string{"refused langs[0]"}},
		{"link", social.Part{Text: "x", Link: &social.LinkCard{URL: "https://example.com"}}, nil},
		{"link of another kind", social.Part{Text: "x", Link: &social.LinkCard{URL: "javascript:alert(1)"}}, []string{"refused link"}},
		{"link and picture", social.Part{Link: &social.LinkCard{URL: "https://example.com"}, Media: []social.Media{image}}, []string{"refused link"}},
		{"largest thumb", social.Part{Text: "x", Link: &social.LinkCard{URL: "https://example.com", Thumb: &social.Media{Kind: social.Image, Bytes: 1_000_000}}}, nil},
		{"thumb too large", social.Part{Text: "x", Link: &social.LinkCard{URL: "https://example.com", Thumb: &social.Media{Kind: social.Image, Bytes: 1_000_001}}}, []string{"refused link"}},
		{"quote", social.Part{Options: map[string]string{"quote": "https://bsky.app/profile/alice.test/post/3m5xk2jqv7s2a"}}, nil},
		{"quote of no post", social.Part{Text: "x", Options: map[string]string{"quote": "https://example.com"}}, []string{"refused options.quote"}},
		{"label", social.Part{Text: "x", Options: map[string]string{"label": "nudity"}}, nil},
		{"unknown label", social.Part{Text: "x", Options: map[string]string{"label": "spicy"}}, []string{"refused options.label"}},
		{"unknown option", social.Part{Text: "x", Options: map[string]string{"visibility": "x"}}, []string{"refused options.visibility"}},
	} {
		t.Run(c2.name, func(t *testing.T) {
			t.Parallel()
			c2.part.Role = social.RoleBody
			var got []string
			for _, p := range c.Check([]social.Part{c2.part}) {
				if p.Text == "" {
					t.Errorf("%s has no sentence", p.Field)
				}
				got = append(got, fmt.Sprintf("%s %s", p.Severity, strings.TrimPrefix(p.Field, "parts[0].")))
			}
			if !slices.Equal(got, c2.want) {
				t.Errorf("problems are %q, want %q", got, c2.want)
			}
		})
	}
}

// The network takes what is exactly at a limit, and refuses what is past it: our
// numbers are not stricter and not looser than the simulated network's.
func TestLimitsAreTheNetworks(t *testing.T) {
	t.Parallel()
	family := "👩‍👩‍👧‍👦"
	for _, c := range []struct {
		name  string
		part  social.Part
		field string // "": accepted
	}{
		{"300", social.Part{Text: strings.Repeat("é", 300)}, ""},
		{"301", social.Part{Text: strings.Repeat("é", 301)}, "text"},
		{"3000 bytes", social.Part{Text: strings.Repeat(family, 120)}, ""},
		{"3025 bytes", social.Part{Text: strings.Repeat(family, 121)}, "text"},
		{"3 languages", social.Part{Text: "x", Langs: []string{"en", "de", "fr"}}, ""},
		{"4 languages", social.Part{Text: "x", Langs: []string{"en", "de", "fr", "it"}}, "langs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, change{})
			cl := w.client(w.login())
			j := w.job(c.part)
			w.prepare(cl, j)
			_, err := w.commit(cl, j)
			refused := social.Refusals(cl.Check([]social.Part{*j.Part}))
			if c.field == "" {
				if err != nil || len(refused) > 0 {
					t.Fatalf("refused: %v %v", refused, err)
				}
				return
			}
			e := connectors.AsError(err)
			if e == nil || e.Kind != connectors.Invalid || e.Field != c.field || len(refused) != 1 || refused[0].Field != "parts[0]."+c.field {
				t.Errorf("the network says %+v, we say %+v", e, refused)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*bluesky.Config)
		want   string // "": good
	}{
		{"defaults", func(*bluesky.Config) {}, ""},
		{"own server, listed", func(c *bluesky.Config) { c.Service = "https://pds.example"; c.AllowHosts = []string{"pds.example"} }, ""},
		{"own server, not listed", func(c *bluesky.Config) { c.Service = "https://pds.example" }, "service: pds.example is none of the network's own hosts"},
		{"without TLS", func(c *bluesky.Config) { c.PLC = "http://plc.directory" }, "plc_url: http://plc.directory is not encrypted"},
		{"another protocol", func(c *bluesky.Config) { c.Service = "ftp://x" }, "service: ftp://x is no web server; write it as https://x"},
		{"loopback without TLS, listed", func(c *bluesky.Config) {
			c.PLC = "http://localhost:2582"
			c.AllowHosts = []string{"localhost:2582"}
		}, ""},
		{"path", func(c *bluesky.Config) { c.Service = "https://bsky.social/xrpc" }, "service:"},
		{"no address", func(c *bluesky.Config) { c.WebURL = "bsky" }, "web_url:"},
		{"no video service", func(c *bluesky.Config) { c.VideoService = "none" }, ""},
		{"negative gap", func(c *bluesky.Config) { c.MinGap = -1 }, "min_gap:"},
		{"scopes", func(c *bluesky.Config) { c.OAuth.Scopes = []string{"transition:generic"} }, "oauth.scopes:"},
		{"client id", func(c *bluesky.Config) { c.OAuth.ClientID = "http://smi.example/c.json" }, "oauth.client_id:"},
		{"no key", func(c *bluesky.Config) {
			c.OAuth.ClientID, c.OAuth.ClientKey = "https://smi.example/c.json", social.NewSecret("z1")
		}, "oauth.client_key:"},
		{"key without client", func(c *bluesky.Config) { c.OAuth.ClientKey = social.NewSecret("z1") }, "oauth.client_key:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := bluesky.NewConfig()
			c.change(cfg)
			err := cfg.Check()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "handle_resolver") {
				t.Errorf("a setting that nobody wrote is blamed: %v", err)
			}
		})
	}
}
