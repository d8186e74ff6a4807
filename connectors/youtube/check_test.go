package youtube_test

import (
	"strings"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/youtube"
	"smi/internal/social"
)

func parts(j *connectors.Job) []social.Part { return []social.Part{*j.Part} }

func TestCheck(t *testing.T) {
	w := newWorld(t, setting{cfg: func(c *youtube.Config) { c.MadeForKids, c.Audited = "", true }})
	c := w.client()
	kids := func(more ...string) map[string]string {
		o := map[string]string{"made_for_kids": "no"}
		for i := 0; i < len(more); i += 2 {
			o[more[i]] = more[i+1]
		}
		return o
	}
	for name, k := range map[string]struct {
		text    string
		options map[string]string
		change  func(*social.Part)
		field   string // "" is none
		word    string
	}{
		"fine":                  {text: "A title\nand more", options: kids()},
		"for kids not said":     {text: "A title", field: "options.made_for_kids", word: "made for children"},
		"no title":              {text: "", options: kids(), field: "options.title", word: "title"},
		"title alone":           {text: "", options: kids("title", "A title")},
		"title of 100":          {text: "x", options: kids("title", strings.Repeat("語", 100))},
		"title of 101":          {text: "x", options: kids("title", strings.Repeat("語", 101)), field: "options.title", word: "101"},
		"title of 51 emoji":     {text: "x", options: kids("title", strings.Repeat("😀", 51)), field: "options.title", word: "102"},
		"angle in the title":    {text: "x", options: kids("title", "a > b"), field: "options.title", word: "<"},
		"angle in the text":     {text: "a <b>", options: kids(), field: "text", word: "<"},
		"description of 5000":   {text: strings.Repeat("đ", 2500), options: kids()},
		"description of 5001":   {text: strings.Repeat("đ", 2500) + "a", options: kids(), field: "text", word: "5001 bytes"},
		"broken text":           {text: "a\xff", options: kids(), field: "text", word: "UTF-8"},
		"tags of 500":           {text: "x", options: kids("tags", strings.Repeat("a", 249)+","+strings.Repeat("b", 250))},
		"tags of 501":           {text: "x", options: kids("tags", strings.Repeat("a", 250)+","+strings.Repeat("b", 250)), field: "options.tags", word: "501"},
		"a space costs two":     {text: "x", options: kids("tags", strings.Repeat("a", 249)+","+strings.Repeat("b", 249)+" "+"c"), field: "options.tags", word: "503"},
		"category by name":      {text: "x", options: kids("category", "Music"), field: "options.category", word: "number"},
		"playlist":              {text: "x", options: kids("playlist", "https://www.youtube.com/watch?v=x&list=PLabc&index=2")},
		"no playlist":           {text: "x", options: kids("playlist", "my favourites"), field: "options.playlist", word: "PL"},
		"no thumbnail":          {text: "x", options: kids("thumbnail", "cat.png"), field: "options.thumbnail", word: "hash"},
		"no captions":           {text: "x", options: kids("captions", "cat"), field: "options.captions", word: ".srt"},
		"captions":              {text: "x", options: kids("captions", captionText, "captions_language", "pt-BR")},
		"no captions language":  {text: "x", options: kids("captions", captionText, "captions_language", "portuguese!"), field: "options.captions_language", word: "pt-BR"},
		"private":               {text: "x", options: kids("privacy", "private"), field: "options.privacy", word: "public or unlisted"},
		"publish_at":            {text: "x", options: kids("publish_at", "2026-12-01T09:00:00Z"), field: "options.publish_at", word: "native_schedule"},
		"language":              {text: "x", options: kids(), change: func(p *social.Part) { p.Langs = []string{"vi"} }},
		"two languages":         {text: "x", options: kids(), change: func(p *social.Part) { p.Langs = []string{"vi", "en"} }, field: "langs", word: "2 languages"},
		"a picture":             {text: "x", options: kids(), change: func(p *social.Part) { p.Media[0].Kind = social.Image }, field: "media[0]", word: "thumbnail"},
		"a picture beside":      {text: "x", options: kids(), change: func(p *social.Part) { p.Media = append(p.Media, social.Media{Kind: social.Image}) }, field: "media[1]", word: "thumbnail"},
		"an odd type":           {text: "x", options: kids(), change: func(p *social.Part) { p.Media[0].MIME = "video/ogg" }, field: "media[0]", word: "video/mp4"},
		"a day":                 {text: "x", options: kids(), change: func(p *social.Part) { p.Media[0].Duration = 24 * time.Hour }, field: "media[0]", word: "12h"},
		"a link":                {text: "x", options: kids(), change: func(p *social.Part) { p.Link = &social.LinkCard{URL: "https://a.example"} }, field: "link", word: "text"},
		"unknown option":        {text: "x", options: kids("colour", "red"), field: "options.colour", word: "no option"},
		"short and wide":        {text: "x", options: kids("short", "yes"), field: "options.short", word: "upright"},
		"a word for a question": {text: "x", options: map[string]string{"made_for_kids": "maybe"}, field: "options.made_for_kids", word: "yes or no"},
	} {
		j := w.job(k.text, k.options)
		if k.change != nil {
			k.change(j.Part)
		}
		bad := social.Refusals(c.Check(parts(j)))
		if k.field == "" {
			if len(bad) > 0 {
				t.Errorf("%s: %+v", name, bad)
			}
			continue
		}
		found := false
		for _, b := range bad {
			found = found || b.Field == "parts[0]."+k.field && strings.Contains(b.Text, k.word)
		}
		if !found {
			t.Errorf("%s: nothing is said of %s with %q: %+v", name, k.field, k.word, bad)
		}
	}
}

// TestUnauditedIsTold: a project that was not audited is warned of in every
// check, and no post is refused for it.
func TestUnauditedIsTold(t *testing.T) {
	w := newWorld(t, setting{})
	all := w.client().Check(parts(w.job("x", nil)))
	if len(all) != 1 || all[0].Severity != social.Advice || !strings.Contains(all[0].Text, "2 November 2026") {
		t.Errorf("said is %+v", all)
	}
	w = newWorld(t, setting{cfg: func(c *youtube.Config) { c.Audited = true }})
	if all := w.client().Check(parts(w.job("x", nil))); len(all) != 0 {
		t.Errorf("of an audited project is said %+v", all)
	}
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*youtube.Config)
		word   string
	}{
		"defaults":         {func(*youtube.Config) {}, ""},
		"client alone":     {func(c *youtube.Config) { c.ClientID = "x" }, "client_secret"},
		"secret alone":     {func(c *youtube.Config) { c.ClientSecret = social.NewSecret("x") }, "client_id"},
		"kids":             {func(c *youtube.Config) { c.MadeForKids = "maybe" }, "made_for_kids"},
		"category":         {func(c *youtube.Config) { c.Category = "Music" }, "category"},
		"odd pieces":       {func(c *youtube.Config) { c.ChunkBytes = 1_000_000 }, "chunk_bytes"},
		"huge thumbnail":   {func(c *youtube.Config) { c.ThumbnailBytes = 1 << 30 }, "thumbnail_bytes"},
		"gap":              {func(c *youtube.Config) { c.MinGap = -1 }, "min_gap"},
		"model":            {func(c *youtube.Config) { c.Quota.Model = "many" }, "quota.model"},
		"no units":         {func(c *youtube.Config) { c.Quota.Units = 0 }, "quota"},
		"another host":     {func(c *youtube.Config) { c.API = "https://youtube.example" }, "allow_hosts"},
		"a host that is":   {func(c *youtube.Config) { c.API, c.AllowHosts = "http://127.0.0.1:99", []string{"127.0.0.1:99"} }, ""},
		"not encrypted":    {func(c *youtube.Config) { c.Upload = "http://www.googleapis.com" }, "not encrypted"},
		"a path":           {func(c *youtube.Config) { c.API = "https://youtube.googleapis.com/youtube/v3" }, "without path"},
		"another protocol": {func(c *youtube.Config) { c.TokenURL = "ftp://oauth2.googleapis.com/token" }, "no web server"},
		"no address":       {func(c *youtube.Config) { c.WebURL = "youtube" }, "web_url"},
	} {
		cfg := youtube.NewConfig()
		c.change(cfg)
		err := cfg.Check()
		if c.word == "" && err != nil || c.word != "" && (err == nil || !strings.Contains(err.Error(), c.word)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBudgets(t *testing.T) {
	of := func(change func(*youtube.Config)) []connectors.Budget {
		w := newWorld(t, setting{cfg: change})
		return w.client().Describe().Budgets
	}
	split := of(func(*youtube.Config) {})
	const pacific = "America/Los_Angeles" // where the quotas begin anew
	if len(split) != 2 || split[0] != (connectors.Budget{Endpoint: "insert", Window: 24 * time.Hour, Zone: pacific, Limit: 100, PerApp: true, Cost: 1}) ||
		split[1].Limit != 10_000 || split[1].Cost != 75 || split[1].Zone != pacific {
		t.Errorf("split: %+v", split)
	}
	single := of(func(c *youtube.Config) { c.Quota.Model, c.Quota.InsertUnits = "single", 1600 })
	if len(single) != 1 || single[0].Cost != 1675 || !single[0].PerApp || single[0].Zone != pacific {
		t.Errorf("single: %+v", single)
	}
}

// TestWhatAPostCosts: thumbnail, playlist and captions are paid for, and a post
// that is dearer than a day's quota goes out on a day of its own.
func TestWhatAPostCosts(t *testing.T) {
	for _, c := range []struct {
		units   int // a day
		options map[string]string
		inserts int
		want    int
	}{
		{10_000, nil, 1, 75},
		{10_000, map[string]string{"captions": captionText}, 1, 525},
		{10_000, map[string]string{"captions": captionText, "thumbnail": "x", "playlist": "PLx", "title": "x"}, 1, 626},
		{500, map[string]string{"captions": captionText}, 1, 400},
	} {
		w := newWorld(t, setting{cfg: func(cfg *youtube.Config) { cfg.Quota.Units = c.units }})
		cl := w.client()
		b := cl.Describe().Budgets
		p := &social.Part{Options: c.options}
		if inserts, units := cl.Weigh(b[0], p), cl.Weigh(b[1], p); inserts != c.inserts || units != c.want {
			t.Errorf("%v of %d costs %d uploads and %d units, want %d and %d", c.options, c.units, inserts, units, c.inserts, c.want)
		}
	}
}

// TestTooManyHashtags: what the network would ignore in silence is said.
func TestTooManyHashtags(t *testing.T) {
	w := newWorld(t, setting{cfg: func(c *youtube.Config) { c.Audited = true }})
	for n, want := range map[int]int{60: 0, 61: 1} {
		all := w.client().Check(parts(w.job("A title\n"+strings.Repeat("#đà ", n), nil)))
		if len(all) != want || want > 0 && (all[0].Severity != social.Lossy || all[0].Value != 61) {
			t.Errorf("of %d hashtags is said %+v", n, all)
		}
	}
}
