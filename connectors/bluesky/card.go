package bluesky

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/html"

	"smi/connectors/internal/api"
	"smi/internal/social"
)

// What reading a page for its card may cost.
const (
	cardBytes = 1 << 20
	cardTime  = 10 * time.Second
	cardHops  = 3
	cardTitle = 300  // characters kept of a title
	cardText  = 1000 // and of a description
)

// card makes the link card: in the author's words, else in the page's own. A
// page that cannot be read never fails a post: its address is then the title.
func (p *Platform) card(ctx context.Context, l *social.LinkCard) *external {
	x := &external{URI: l.URL, Title: l.Title, Description: l.Description}
	if x.Title == "" && p.cfg.FetchCards {
		title, text := p.readPage(ctx, l.URL)
		x.Title = title
		if x.Description == "" {
			x.Description = text
		}
	}
	if x.Title == "" {
		x.Title = l.URL
	}
	return x
}

// readPage reads title and description of a page. Private addresses are refused
// by the dialer.
func (p *Platform) readPage(ctx context.Context, raw string) (title, text string) {
	ctx, cancel := context.WithTimeout(ctx, cardTime)
	defer cancel()
	client, err := p.http.For("", nil, "*", "http://*")
	if err != nil {
		return "", ""
	}
	for range cardHops + 1 {
		base, perr := url.Parse(raw)
		if perr != nil {
			return "", ""
		}
		a, err := client.Do(ctx, api.Call{
			Op: "card", URL: raw, Anonymous: true, MaxBytes: cardBytes, Timeout: cardTime, Bucket: "card/" + base.Host,
			Header: http.Header{"Accept": {"text/html"}},
		})
		if err == nil {
			if !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
				return "", ""
			}
			return parseCard(string(a.Body))
		}
		to := a.Header.Get("Location")
		if a.Status < 300 || a.Status >= 400 || to == "" {
			return "", ""
		}
		next, perr := base.Parse(to)
		if perr != nil {
			return "", ""
		}
		raw = next.String()
	}
	return "", ""
}

// parseCard takes title and description out of the head of a page; what the
// page says for cards (Open Graph) comes first.
func parseCard(page string) (title, text string) {
	meta := map[string]string{}
	z := html.NewTokenizer(strings.NewReader(page))
	inTitle := false
	for {
		switch z.Next() {
		case html.ErrorToken:
			return pick(meta)
		case html.TextToken:
			if inTitle && meta["title"] == "" {
				meta["title"] = string(z.Text())
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			if string(name) == "head" {
				return pick(meta)
			}
			inTitle = false
		case html.StartTagToken, html.SelfClosingTagToken:
			t := z.Token()
			inTitle = t.Data == "title"
			if t.Data == "body" {
				return pick(meta)
			}
			if t.Data != "meta" {
				continue
			}
			var name, content string
			for _, a := range t.Attr {
				switch a.Key {
				case "property", "name":
					name = strings.ToLower(a.Val)
				case "content":
					content = a.Val
				}
			}
			if meta[name] == "" {
				meta[name] = content
			}
		}
	}
}

func pick(meta map[string]string) (title, text string) {
	first := func(most int, names ...string) string {
		for _, n := range names {
			v := strings.Join(strings.Fields(strings.ToValidUTF8(html.UnescapeString(meta[n]), "")), " ")
			if v == "" {
				continue
			}
			if utf8.RuneCountInString(v) > most {
				v = string([]rune(v)[:most]) + "…"
			}
			return v
		}
		return ""
	}
	return first(cardTitle, "og:title", "twitter:title", "title"), first(cardText, "og:description", "twitter:description", "description")
}
