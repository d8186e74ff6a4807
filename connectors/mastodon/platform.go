// Package mastodon publishes to Mastodon and to other servers that speak its
// API (GoToSocial, Pleroma, Akkoma …), reads back what it published, and reads
// its numbers.
//
// Each server has rules of its own: they are read from it when an account is
// connected and once a day, and kept with the account. Servers of which it is
// proven that they recognise the key of a repeated post get one; a post is
// keyed there, for as long as the key is surely known. Everywhere else a post is
// sent once, and looked for in the account's own posts when the answer is lost.
package mastodon

import (
	"fmt"
	"log/slog"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// Network is the name of this network.
const Network social.Network = "mastodon"

const title = "Mastodon"

// Maker makes the platform from its settings.
var Maker = connectors.Maker{
	Network:   Network,
	Title:     title,
	NewConfig: func() any { return NewConfig() },
	New: func(settings any, env connectors.Env) (connectors.Platform, error) {
		cfg, ok := settings.(*Config)
		if !ok {
			return nil, fmt.Errorf("mastodon: settings are %T, not *mastodon.Config", settings)
		}
		return New(*cfg, env)
	},
}

// Platform is Mastodon as the admin configured it.
type Platform struct {
	cfg  Config
	env  connectors.Env
	http *api.Client
}

var (
	_ connectors.Platform = (*Platform)(nil)
	_ connectors.OAuth    = (*Platform)(nil)
	_ connectors.Revoker  = (*Platform)(nil)
	_ connectors.Voucher  = (*Platform)(nil)
)

// New makes the platform. No I/O.
func New(cfg Config, env connectors.Env) (*Platform, error) {
	if err := cfg.Check(); err != nil {
		return nil, fmt.Errorf("mastodon: %w", err)
	}
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	client, err := api.New(api.Config{
		Env: env, Network: Network, Title: title, Classify: classify, BeforeEffect: beforeEffect,
		Hosts:     []string{"*"}, // narrowed by at and remote to the one server that is called
		KeyWindow: cfg.KeyWindow, Language: "en",
	})
	if err != nil {
		return nil, err
	}
	return &Platform{cfg: cfg, env: env, http: client}, nil
}

// Describe returns the facts of the network, with the limits of a server that
// nobody has changed. Those of an account's own server are its Conn's.
func (p *Platform) Describe() connectors.Description {
	return connectors.Description{
		Network: Network,
		Title:   title,
		Limits:  limitsOf(usual),
		Metrics: []social.Metric{
			social.Likes, social.Comments, social.Shares, social.Quotes,
			social.Followers, social.Following, social.Posts,
		},
		// A server takes 300 posts of one account in three hours
		// (mastodon/mastodon, app/lib/rate_limiter.rb, read 2026-07-02).
		Budgets:    []connectors.Budget{{Endpoint: bucketCreate, Window: 3 * time.Hour, Limit: 300, Cost: 1}},
		KeyWindow:  p.cfg.KeyWindow,
		SendTime:   sendTime,
		CommitTime: 60 * time.Second,
		// The account's own list of posts shows a post as soon as it is stored; the
		// rest is for requests that were still on their way.
		FindSettles: 5 * time.Minute,
		StageAhead:  15 * time.Minute,
		MinGap:      p.cfg.MinGap,
		LookBack:    30 * 24 * time.Hour,
		Docs:        "docs/networks/mastodon.md",
	}
}

// sendTime is Description.SendTime.
const sendTime = 30 * time.Second

// Dial returns the connection of one account. No I/O.
func (p *Platform) Dial(a social.Account, c connectors.Credentials) (connectors.Conn, error) {
	s := readServer(a.Server)
	return &conn{p: p, account: a, creds: c, server: s, limits: limitsOf(s)}, nil
}

// secret tells the log which value must never be seen.
func (p *Platform) secret(v string) social.Secret {
	if p.env.Secrets != nil && v != "" {
		p.env.Secrets(v)
	}
	return social.NewSecret(v)
}
