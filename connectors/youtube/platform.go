// Package youtube publishes videos and Shorts to YouTube channels, reads back
// what it published, and reads their numbers.
//
// A video goes up ahead of time as a private one, in pieces, over an upload
// session whose address is kept, so that a restart goes on where the server
// stopped. The commit is the change from private to public at the planned
// minute. It is keyed by the id of the video: making a public video public
// changes nothing, and the video itself says what it is.
//
// Calls are built and read by google.golang.org/api. They travel over
// connectors/internal/api, which decides alone what may be sent twice.
package youtube

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	youtube "google.golang.org/api/youtube/v3"
	analytics "google.golang.org/api/youtubeanalytics/v2"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// Network is the name of this network.
const Network social.Network = "youtube"

// dayZone is the zone of the days of YouTube Analytics (YouTube Analytics API,
// "Data model", read 2026-11).
const dayZone = "America/Los_Angeles"

// Maker makes the platform from its settings.
var Maker = connectors.Maker{
	Network:   Network,
	Title:     "YouTube",
	NewConfig: func() any { return NewConfig() },
	New: func(settings any, env connectors.Env) (connectors.Platform, error) {
		cfg, ok := settings.(*Config)
		if !ok {
			return nil, fmt.Errorf("youtube: settings are %T, not *youtube.Config", settings)
		}
		return New(*cfg, env)
	},
}

// Platform is YouTube as the admin configured it.
type Platform struct {
	cfg   Config
	env   connectors.Env
	http  *api.Client
	zone  *time.Location
	about connectors.Description

	data    *youtube.Service   // the Data API
	uploads *youtube.Service   // the same, at the server for files
	reports *analytics.Service // the Analytics API
}

var (
	_ connectors.Platform      = (*Platform)(nil)
	_ connectors.OAuth         = (*Platform)(nil)
	_ connectors.AccountLister = (*Platform)(nil)
	_ connectors.Revoker       = (*Platform)(nil)
	_ connectors.Weigher       = (*conn)(nil)
	_ connectors.Worded        = (*conn)(nil)
)

// New makes the platform. No I/O.
func New(cfg Config, env connectors.Env) (*Platform, error) {
	if err := cfg.Check(); err != nil {
		return nil, fmt.Errorf("youtube: %w", err)
	}
	zone, err := social.LoadZone(dayZone)
	if err != nil {
		return nil, fmt.Errorf("youtube: %w", err)
	}
	p := &Platform{cfg: cfg, env: env, zone: zone}
	p.http, err = api.New(api.Config{
		Env: env, Network: Network, Title: "YouTube", Classify: p.classify, BeforeEffect: beforeEffect, Hosts: hosts(&cfg),
	})
	if err != nil {
		return nil, err
	}
	if p.data, p.uploads, p.reports, err = services(&cfg); err != nil {
		return nil, fmt.Errorf("youtube: %w", err)
	}
	p.about = describe(&cfg)
	return p, nil
}

// hosts are the servers that may be called. An upload session may be on another
// of Google's API servers than the one that opened it.
func hosts(cfg *Config) []string {
	var out []string
	for _, raw := range []string{cfg.API, cfg.Upload, cfg.Analytics, cfg.TokenURL, cfg.RevokeURL} {
		u, err := url.Parse(raw)
		if err != nil {
			continue // Check has refused it
		}
		out = append(out, u.Scheme+"://"+u.Host)
		if strings.HasSuffix(u.Hostname(), ".googleapis.com") {
			out = append(out, "*.googleapis.com")
		}
	}
	return out
}

// Describe returns the facts of the network.
func (p *Platform) Describe() connectors.Description { return p.about }

func describe(cfg *Config) connectors.Description {
	return connectors.Description{
		Network: Network,
		Title:   "YouTube",
		Limits:  limits(cfg),
		Metrics: []social.Metric{
			social.Views, social.Likes, social.Comments, social.Shares, social.WatchMS, social.Followers, social.Gained, social.Posts,
		},
		Budgets:     budgets(&cfg.Quota),
		SendTime:    30 * time.Second,
		CommitTime:  60 * time.Second,
		FindSettles: 5 * time.Minute,
		StageAhead:  15 * time.Minute,
		MinGap:      cfg.MinGap,
		LookBack:    30 * 24 * time.Hour,
		Docs:        "docs/networks/youtube.md",
	}
}

// What a post costs in units of the general quota (YouTube Data API, "Quota
// costs", read 2026-11).
const (
	postUnits      = 75  // the change to public 50, and the looks at the processing 1 each
	thumbnailUnits = 50  //
	playlistUnits  = 51  // the entry, and the look before it
	captionsUnits  = 450 // the captions 400, and the look before them 50
)

// The budgets.
const (
	budgetUnits  = "units"
	budgetInsert = "insert"
)

// budgets are the quotas of a Google Cloud project that a post uses. They begin
// anew at midnight Pacific time. batchGetStats and search have quotas of their
// own that no post uses.
func budgets(q *QuotaConfig) []connectors.Budget {
	const day = 24 * time.Hour
	units := connectors.Budget{Endpoint: budgetUnits, Window: day, Zone: dayZone, Limit: q.Units, PerApp: true, Cost: min(postUnits, q.Units)}
	if q.Model == quotaSingle {
		units.Cost = min(q.InsertUnits+postUnits, q.Units)
		return []connectors.Budget{units}
	}
	return []connectors.Budget{{Endpoint: budgetInsert, Window: day, Zone: dayZone, Limit: q.Inserts, PerApp: true, Cost: 1}, units}
}

// Weigh is what a post takes of a quota: captions cost more than all the rest.
// What would never fit takes all that smi uses, so that it goes out on a day of
// its own.
func (c *conn) Weigh(b connectors.Budget, p *social.Part) int {
	if b.Endpoint != budgetUnits {
		return b.Cost
	}
	n := b.Cost
	for option, units := range map[string]int{optionThumbnail: thumbnailUnits, optionPlaylist: playlistUnits, optionCaptions: captionsUnits} {
		if p.Options[option] != "" {
			n += units
		}
	}
	return min(n, b.Limit-b.Limit/5)
}

// Dial returns the connection of one account. No I/O.
func (p *Platform) Dial(a social.Account, c connectors.Credentials) (connectors.Conn, error) {
	return &conn{p: p, account: a, creds: c}, nil
}

// secret tells the log which value must never be seen.
func (p *Platform) secret(v string) social.Secret {
	if p.env.Secrets != nil && v != "" {
		p.env.Secrets(v)
	}
	return social.NewSecret(v)
}

// midnight is when the quotas begin anew: the next midnight Pacific time.
func (p *Platform) midnight() time.Time {
	y, m, d := p.env.Now().In(p.zone).Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, p.zone)
}
