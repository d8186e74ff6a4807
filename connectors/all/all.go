// Package all is the one list of the networks that smi knows. A network is
// added here, in one line.
package all

import (
	"smi/connectors"
	"smi/connectors/bluesky"
	"smi/connectors/linkedin"
	"smi/connectors/mastodon"
	"smi/connectors/twitter"
	"smi/connectors/youtube"
)

// Registry returns every network of this program.
func Registry() *connectors.Registry {
	return connectors.NewRegistry(
		bluesky.Maker,
		twitter.Maker,
		linkedin.Maker,
		youtube.Maker,
		mastodon.Maker,
	)
}
