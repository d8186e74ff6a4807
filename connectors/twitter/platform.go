// Package twitter publishes to X (Twitter), reads back what it published, and
// reads its numbers. It speaks API v2, and API v1.1 for the contracts that still
// have it.
//
// X knows no key by which a repeated post would be recognised: a commit is
// unkeyed, and after an unclear answer the account's own timeline is looked
// through for the same words.
package twitter

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// Network is the name of this network, title how people call it.
const (
	Network = social.Network("twitter")
	title   = "X (Twitter)"
)

// Maker makes the platform from its settings.
var Maker = connectors.Maker{
	Network:   Network,
	Title:     title,
	NewConfig: func() any { return NewConfig() },
	New: func(settings any, env connectors.Env) (connectors.Platform, error) {
		cfg, ok := settings.(*Config)
		if !ok {
			return nil, fmt.Errorf("twitter: settings are %T, not *twitter.Config", settings)
		}
		return New(*cfg, env)
	},
}

// New makes the platform that the settings ask for: a Platform for API v2, a
// Legacy for v1.1. No I/O.
func New(cfg Config, env connectors.Env) (connectors.Platform, error) {
	if err := cfg.Check(); err != nil {
		return nil, fmt.Errorf("twitter: %w", err)
	}
	p := &Platform{cfg: cfg, env: env}
	hosts := []string{cfg.APIURL}
	client, err := api.New(api.Config{
		Env: env, Network: Network, Title: "X", Classify: p.classify, BeforeEffect: beforeEffect, Hosts: hosts,
	})
	if err != nil {
		return nil, err
	}
	p.http = client
	p.newDialect.Store(cfg.FieldsDialect == dialectPost)
	if cfg.API == apiV11 {
		return &Legacy{p: p}, nil
	}
	return p, nil
}

// Platform is X as the admin configured it, by API v2.
type Platform struct {
	cfg  Config
	env  connectors.Env
	http *api.Client
	// newDialect says that fields are asked for by their newer names.
	newDialect atomic.Bool
}

var (
	_ connectors.Platform      = (*Platform)(nil)
	_ connectors.OAuth         = (*Platform)(nil)
	_ connectors.AccountLister = (*Platform)(nil)
	_ connectors.Revoker       = (*Platform)(nil)
	_ connectors.Payer         = (*Platform)(nil)
)

// Describe returns the facts of the network.
func (p *Platform) Describe() connectors.Description {
	return connectors.Description{
		Network: Network,
		Title:   title,
		Limits:  p.cfg.limits(normalText),
		Metrics: []social.Metric{
			social.Views, social.Likes, social.Comments, social.Shares, social.Quotes, social.Saves, social.Clicks,
			social.Followers, social.Following, social.Posts,
		},
		Budgets:     budgets,
		SendTime:    30 * time.Second,
		CommitTime:  60 * time.Second,
		FindSettles: 5 * time.Minute,
		StageAhead:  15 * time.Minute,
		MinGap:      p.cfg.MinGap,
		LookBack:    30 * 24 * time.Hour,
		Docs:        docs,
		Missing:     missing,
	}
}

const docs = "docs/networks/twitter.md"

// budgets are the limits of POST /2/tweets (docs.x.com, Rate limits, read
// 2026-08-22), and what an account may post in a day (X Help Center, About X
// limits).
var budgets = []connectors.Budget{
	{Endpoint: "create", Window: 15 * time.Minute, Limit: 100, Cost: 1},
	{Endpoint: "create", Window: 24 * time.Hour, Limit: 10_000, PerApp: true, Cost: 1},
	{Endpoint: "account", Window: 24 * time.Hour, Limit: 2400, Cost: 1},
}

// missing is what X takes from apps without an enterprise contract, or does not
// offer at all (docs.x.com, Changelog, of 2026-02-23 and 2026-04-20).
var missing = []connectors.Missing{
	{What: "answering others", Why: "X lets an app answer only posts whose author mentioned or quoted the account; answers to the account's own posts (threads, first comments) work"},
	{What: "quoting", Why: "X took quote posts from apps without an enterprise contract on 2026-04-20"},
	{What: "liking and following", Why: "X took both from apps without an enterprise contract on 2026-04-20"},
	{What: "mentions of strangers", Why: "X may refuse posts that mention people who did not write first"},
	{What: "reach", Why: "X tells views, but not how many people there were"},
	{What: "scheduling by the network", Why: "X offers it to its advertising API only; smi keeps the time itself"},
}

// Dial returns the connection of one account. No I/O.
func (p *Platform) Dial(a social.Account, c connectors.Credentials) (connectors.Conn, error) {
	return p.conn(a, c)
}

func (p *Platform) conn(a social.Account, c connectors.Credentials) (*conn, error) {
	client, err := p.http.For(a.RemoteID, api.Bearer(c))
	if err != nil {
		return nil, err
	}
	return &conn{p: p, account: a, http: client, limits: p.cfg.limits(textMost(a))}, nil
}

// url is the address of a method.
func (p *Platform) url(path string) string { return strings.TrimRight(p.cfg.APIURL, "/") + path }

// postURL is the page of a post.
func (p *Platform) postURL(handle, id string) string {
	if handle == "" {
		handle = "i"
	}
	return strings.TrimRight(p.cfg.WebURL, "/") + "/" + handle + "/status/" + id
}

// secret tells the log which value must never be seen.
func (p *Platform) secret(v string) social.Secret {
	if p.env.Secrets != nil && v != "" {
		p.env.Secrets(v)
	}
	return social.NewSecret(v)
}
