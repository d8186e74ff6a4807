package connectors

import (
	"fmt"
	"slices"

	"smi/internal/social"
)

// Maker makes the platform of one network. Each connector folder exports one.
type Maker struct {
	Network social.Network
	Title   string
	// NewConfig returns a pointer to the connector's settings with its defaults
	// in place; config decodes the admin's section into it. The fields carry the
	// tags config understands.
	NewConfig func() any
	// New makes the platform from the settings NewConfig returned.
	New func(settings any, env Env) (Platform, error)
}

// Registry is the list of networks that this program knows.
type Registry struct{ makers []Maker }

// NewRegistry returns a registry of these networks. A name that comes twice is
// a bug and panics.
func NewRegistry(makers ...Maker) *Registry {
	r := &Registry{}
	for _, m := range makers {
		if _, twice := r.Maker(m.Network); twice {
			panic(fmt.Sprintf("network %q is registered twice", m.Network))
		}
		r.makers = append(r.makers, m)
	}
	slices.SortFunc(r.makers, func(a, b Maker) int {
		if a.Network < b.Network {
			return -1
		}
		return 1
	})
	return r
}

// Makers returns all of them by name.
func (r *Registry) Makers() []Maker { return r.makers }

// Maker returns the one of a network.
func (r *Registry) Maker(n social.Network) (Maker, bool) {
	for _, m := range r.makers {
		if m.Network == n {
			return m, true
		}
	}
	return Maker{}, false
}

// Names returns the names of all networks.
func (r *Registry) Names() []string {
	var out []string
	for _, m := range r.makers {
		out = append(out, string(m.Network))
	}
	return out
}
