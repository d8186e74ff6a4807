// Package bluesky publishes to Bluesky and every other network of the AT
// protocol, reads back what it published, and reads its numbers.
//
// A post is a record in the account's repository. Its key, its time and its
// exact bytes are chosen before the commit and kept, so that writing it again
// changes nothing: a commit is keyed, and after an unclear answer the record
// itself says whether it is there.
package bluesky

import (
	"fmt"
	"net/url"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// Network is the name of this network.
const Network social.Network = "bluesky"

// Maker makes the platform from its settings.
var Maker = connectors.Maker{
	Network:   Network,
	Title:     "Bluesky",
	NewConfig: func() any { return NewConfig() },
	New: func(settings any, env connectors.Env) (connectors.Platform, error) {
		cfg, ok := settings.(*Config)
		if !ok {
			return nil, fmt.Errorf("bluesky: settings are %T, not *bluesky.Config", settings)
		}
		return New(*cfg, env)
	},
}

// Platform is Bluesky as the admin configured it.
type Platform struct {
	cfg    Config
	env    connectors.Env
	http   *api.Client
	tids   *tidClock
	nonces *nonces
}

var (
	_ connectors.Platform      = (*Platform)(nil)
	_ connectors.OAuth         = (*Platform)(nil)
	_ connectors.FormLogin     = (*Platform)(nil)
	_ connectors.AccountLister = (*Platform)(nil)
	_ connectors.Revoker       = (*Platform)(nil)
)

// New makes the platform. No I/O.
func New(cfg Config, env connectors.Env) (*Platform, error) {
	if err := cfg.Check(); err != nil {
		return nil, fmt.Errorf("bluesky: %w", err)
	}
	client, err := api.New(api.Config{
		Env: env, Network: Network, Title: "Bluesky", Classify: classify, BeforeEffect: beforeEffect,
		Hosts: []string{"*"}, // narrowed by at and conn.session for each server that is called
	})
	if err != nil {
		return nil, err
	}
	return &Platform{cfg: cfg, env: env, http: client, tids: newTIDClock(), nonces: newNonces()}, nil
}

// Describe returns the facts of the network.
func (p *Platform) Describe() connectors.Description {
	return connectors.Description{
		Network: Network,
		Title:   "Bluesky",
		Limits:  limits,
		Metrics: []social.Metric{
			social.Likes, social.Comments, social.Shares, social.Quotes, social.Saves,
			social.Followers, social.Following, social.Posts,
		},
		// A create costs 3 points of an account (bluesky-social/bsky-docs, rate
		// limits, read 2026-04-21).
		Budgets: []connectors.Budget{
			{Endpoint: "create", Window: time.Hour, Limit: 5000, Cost: 3},
			{Endpoint: "create", Window: 24 * time.Hour, Limit: 35000, Cost: 3},
		},
		SendTime:    30 * time.Second,
		CommitTime:  60 * time.Second,
		FindSettles: 5 * time.Minute,
		StageAhead:  15 * time.Minute,
		MinGap:      p.cfg.MinGap,
		LookBack:    30 * 24 * time.Hour,
		Docs:        "docs/networks/bluesky.md",
	}
}

// Dial returns the connection of one account. No I/O.
func (p *Platform) Dial(a social.Account, c connectors.Credentials) (connectors.Conn, error) {
	return &conn{p: p, account: a, creds: c}, nil
}

// at returns a client for calls without an account to the server of rawURL,
// which must be encrypted or listed in allow_hosts.
func (p *Platform) at(rawURL string) (*api.Client, error) {
	u, err := url.Parse(rawURL)
	if err == nil {
		err = p.cfg.secure(u)
	}
	if err != nil {
		return nil, &connectors.Error{Kind: connectors.Permission, Op: "connect", Text: err.Error(), Err: err}
	}
	return p.http.For("", nil, u.Scheme+"://"+u.Host)
}

// secret tells the log which value must never be seen.
func (p *Platform) secret(v string) social.Secret {
	if p.env.Secrets != nil && v != "" {
		p.env.Secrets(v)
	}
	return social.NewSecret(v)
}
