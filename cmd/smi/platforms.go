package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"smi/config"
	"smi/connectors"
	"smi/internal/social"
)

// platforms are the networks as the configuration has them now. A reload makes
// a new set beside the old one; clients that are open keep theirs.
type platforms struct {
	registry *connectors.Registry
	env      func(*config.Config) (connectors.Env, error)

	mu  sync.Mutex
	cfg *config.Config
	by  map[platformKey]connectors.Platform
}

type platformKey struct {
	network social.Network
	app     string
}

// use makes the platforms of a configuration and puts them in force. On an
// error the old ones stay.
func (p *platforms) use(cfg *config.Config) error {
	env, err := p.env(cfg)
	if err != nil {
		return err
	}
	by := map[platformKey]connectors.Platform{}
	for _, m := range p.registry.Makers() {
		n := cfg.Networks[m.Network]
		if !n.Enabled {
			continue
		}
		settings := maps.Clone(n.Apps)
		if settings == nil {
			settings = map[string]any{}
		}
		if n.Settings != nil {
			settings[""] = n.Settings
		}
		for app, s := range settings {
			made, err := m.New(s, env)
			if err != nil {
				return fmt.Errorf("making %s: %w", m.Title, err)
			}
			by[platformKey{m.Network, app}] = made
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cfg, p.by = cfg, by
	return nil
}

// Platform implements app.Networks.
func (p *platforms) Platform(n social.Network, app string) (connectors.Platform, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if made := p.by[platformKey{n, app}]; made != nil {
		return made, nil
	}
	if n == "" {
		return nil, social.Errorf(social.CodeInvalid, "network", "name a network: %v", p.registry.Names())
	}
	if _, err := p.cfg.For(n, app); err != nil {
		return nil, err
	}
	return nil, social.Errorf(social.CodeUnavailable, "network", "%s cannot be used with this configuration", n)
}

// All implements app.Networks.
func (p *platforms) All() []connectors.Platform {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []connectors.Platform
	for _, k := range slices.SortedFunc(maps.Keys(p.by), func(a, b platformKey) int {
		if a.network != b.network {
			if a.network < b.network {
				return -1
			}
			return 1
		}
		if a.app < b.app {
			return -1
		}
		return 1
	}) {
		if len(out) > 0 && out[len(out)-1].Describe().Network == k.network {
			continue
		}
		out = append(out, p.by[k])
	}
	return out
}

// purses are what the calls of networks that are paid per use are paid from.
func (p *platforms) purses() []connectors.Purse {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []connectors.Purse
	for _, made := range p.by {
		if purse := connectors.PurseOf(made); purse.Name != "" && !slices.Contains(out, purse) {
			out = append(out, purse)
		}
	}
	slices.SortFunc(out, func(a, b connectors.Purse) int { return strings.Compare(a.Name, b.Name) })
	return out
}
