// Package linkedin publishes to LinkedIn as a member or as an organisation,
// reads back what an organisation published, and reads numbers.
//
// LinkedIn knows no key for a post: a commit is never repeated. After an unclear
// answer the posts of an organisation are listed; those of a member cannot be,
// so that a person is asked.
package linkedin

import (
	"fmt"
	"strings"
	"time"

	"smi/connectors"
	"smi/connectors/internal/api"
	"smi/internal/social"
)

// Network is the name of this network.
const Network social.Network = "linkedin"

// Maker makes the platform from its settings.
var Maker = connectors.Maker{
	Network:   Network,
	Title:     title,
	NewConfig: func() any { return NewConfig() },
	New: func(settings any, env connectors.Env) (connectors.Platform, error) {
		cfg, ok := settings.(*Config)
		if !ok {
			return nil, fmt.Errorf("linkedin: settings are %T, not *linkedin.Config", settings)
		}
		return New(*cfg, env)
	},
}

const title = "LinkedIn"

// Platform is LinkedIn as the admin configured it: one developer app.
type Platform struct {
	cfg  Config
	env  connectors.Env
	http *api.Client
}

var (
	_ connectors.Platform      = (*Platform)(nil)
	_ connectors.OAuth         = (*Platform)(nil)
	_ connectors.AccountLister = (*Platform)(nil)
	_ connectors.Revoker       = (*Platform)(nil)
)

// New makes the platform. No I/O.
func New(cfg Config, env connectors.Env) (*Platform, error) {
	if err := cfg.Check(); err != nil {
		return nil, fmt.Errorf("linkedin: %w", err)
	}
	p := &Platform{cfg: cfg, env: env}
	var err error
	p.http, err = api.New(api.Config{
		Env: env, Network: Network, Title: title, Classify: p.classify, BeforeEffect: beforeEffect, Hosts: cfg.hosts(),
	})
	if err != nil {
		return nil, err
	}
	p.secret(cfg.ClientSecret.Reveal())
	if left := cfg.versionEnds().Sub(env.Now()); left < 45*24*time.Hour && env.Log != nil {
		env.Log.Warn("the version of LinkedIn's API in the settings is about to end or has ended; set linkedin.version to a newer one", "version", cfg.Version)
	}
	return p, nil
}

// Describe returns the facts of the network.
func (p *Platform) Describe() connectors.Description {
	return connectors.Description{
		Network: Network,
		Title:   title,
		Limits:  p.cfg.limits(),
		Metrics: []social.Metric{
			social.Views, social.Reach, social.Likes, social.Comments, social.Shares, social.Saves, social.Clicks, social.WatchMS,
			social.Followers, social.Gained,
		},
		// The quotas are per UTC day and shown in the developer portal alone ("Rate
		// limiting", read 2026-08-22), so that they are settings.
		Budgets: []connectors.Budget{
			{Endpoint: "create", Window: 24 * time.Hour, Limit: p.cfg.AccountPosts, Cost: 1},
			{Endpoint: "create", Window: 24 * time.Hour, Limit: p.cfg.AppPosts, PerApp: true, Cost: 1},
		},
		SendTime:    30 * time.Second,
		CommitTime:  60 * time.Second,
		FindSettles: 10 * time.Minute,
		StageAhead:  15 * time.Minute,
		MinGap:      p.cfg.MinGap,
		LookBack:    30 * 24 * time.Hour,
		Docs:        "docs/networks/linkedin.md",
		Missing:     p.cfg.missing(),
	}
}

// missing is what LinkedIn lets no app do, or not this one ("Getting access to
// LinkedIn APIs", "Community Management overview"; read 2026-08-22).
func (c *Config) missing() []connectors.Missing {
	out := []connectors.Missing{
		{What: "finding a member's posts", Why: "LinkedIn gives the right to hardly any app: after a lost answer a person is asked"},
		{What: "direct messages", Why: "LinkedIn gives them to partners of its own only"},
		{What: "searching people and posts", Why: "LinkedIn has no such API"},
		{What: "long articles and newsletters", Why: "LinkedIn has no such API"},
		{What: "threads", Why: "LinkedIn has none; first comments work"},
		{What: "scheduling by the network", Why: "LinkedIn offers none to apps; smi keeps the time itself"},
	}
	if c.Product == productShare {
		out = append(out, connectors.Missing{What: "organisations", Why: "linkedin.product is share: such an app lets a member post; pages need an app with Community Management (linkedin.product: community)"})
	}
	switch c.MemberNumbers {
	case numbersNone:
		out = append(out, connectors.Missing{What: "numbers of a member's posts", Why: "LinkedIn gives them to apps of the Standard tier only; see linkedin.member_numbers"})
	case numbersSocial:
		out = append(out, connectors.Missing{What: "views and reach of a member's posts", Why: "LinkedIn gives them to apps of the Standard tier only; see linkedin.member_numbers"})
	}
	return out
}

// The beginnings of the names of authors.
const (
	personURN       = "urn:li:person:"
	organizationURN = "urn:li:organization:"
)

// Dial returns the connection of one account, which is a member or an
// organisation: they can do different things. No I/O.
func (p *Platform) Dial(a social.Account, c connectors.Credentials) (connectors.Conn, error) {
	http, err := p.http.For(a.RemoteID, api.Bearer(c))
	if err != nil {
		return nil, err
	}
	one := conn{p: p, account: a, http: http}
	switch {
	case !strings.HasPrefix(a.RemoteID, personURN):
		return &organization{one}, nil
	case p.cfg.MemberNumbers == numbersAnalytics:
		return &analysedMember{member{one}}, nil
	case p.cfg.MemberNumbers == numbersSocial:
		return &countedMember{member{one}}, nil
	}
	return &member{one}, nil
}

// secret tells the log which value must never be seen.
func (p *Platform) secret(v string) social.Secret {
	if p.env.Secrets != nil && v != "" {
		p.env.Secrets(v)
	}
	return social.NewSecret(v)
}
