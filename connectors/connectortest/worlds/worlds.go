// Package worlds lists the simulated networks that internal/simulate runs the
// whole program against: each of connectors/all, and the fake one in its kinds.
// A network is added here, in one line.
package worlds

import (
	"testing"

	"smi/connectors"
	"smi/connectors/bluesky"
	"smi/connectors/bluesky/blueskytest"
	"smi/connectors/connectortest"
	"smi/connectors/fake"
	"smi/connectors/fake/faketest"
	"smi/connectors/linkedin"
	"smi/connectors/linkedin/linkedintest"
	"smi/connectors/mastodon"
	"smi/connectors/mastodon/mastodontest"
	"smi/connectors/twitter"
	"smi/connectors/twitter/twittertest"
	"smi/connectors/youtube"
	"smi/connectors/youtube/youtubetest"
	"smi/internal/social"
)

// Maker makes one World.
type Maker struct {
	Name    string
	Network social.Network
	Make    func(testing.TB, connectortest.WorldOptions) *connectortest.World
}

// All returns every World.
func All() []Maker {
	return []Maker{
		fakeWorld("fake", fake.Options{Mangle: true, Rotates: true, StrictReuse: true}),
		fakeWorld("fake-keyed", fake.Options{Class: connectors.Keyed}),
		{"bluesky", bluesky.Network, func(t testing.TB, o connectortest.WorldOptions) *connectortest.World {
			return blueskytest.World(t, false, o)
		}},
		{"bluesky-oauth", bluesky.Network, func(t testing.TB, o connectortest.WorldOptions) *connectortest.World {
			return blueskytest.World(t, true, o)
		}},
		{"twitter", twitter.Network, func(t testing.TB, o connectortest.WorldOptions) *connectortest.World {
			return twittertest.World(t, "2", o)
		}},
		{"twitter-1.1", twitter.Network, func(t testing.TB, o connectortest.WorldOptions) *connectortest.World {
			return twittertest.World(t, "1.1", o)
		}},
		{"youtube", youtube.Network, youtubetest.World},
		{"linkedin", linkedin.Network, func(t testing.TB, o connectortest.WorldOptions) *connectortest.World {
			return linkedintest.World(t, true, o)
		}},
		{"linkedin-member", linkedin.Network, func(t testing.TB, o connectortest.WorldOptions) *connectortest.World {
			return linkedintest.World(t, false, o)
		}},
		{"mastodon", mastodon.Network, func(t testing.TB, o connectortest.WorldOptions) *connectortest.World {
			return mastodontest.World(t, false, o)
		}},
		{"gotosocial", mastodon.Network, func(t testing.TB, o connectortest.WorldOptions) *connectortest.World {
			return mastodontest.World(t, true, o)
		}},
	}
}

func fakeWorld(name social.Network, o fake.Options) Maker {
	o.Network = name
	return Maker{string(name), name, func(_ testing.TB, w connectortest.WorldOptions) *connectortest.World { return faketest.World(o, w) }}
}
