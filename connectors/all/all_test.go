package all_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/all"
	"smi/internal/social"
)

// Every network of the list can be made from its own defaults, says who it is,
// and does so without the network.
func TestRegistry(t *testing.T) {
	t.Parallel()
	env := connectors.Env{
		Now: func() time.Time { return time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC) },
		Dial: func(context.Context, string, string) (net.Conn, error) {
			t.Error("making a platform dialled")
			return nil, errors.New("no network here")
		},
	}
	r := all.Registry()
	if !slices.Contains(r.Names(), "bluesky") {
		t.Errorf("the list is %v", r.Names())
	}
	for _, m := range r.Makers() {
		p, err := m.New(m.NewConfig(), env)
		if err != nil {
			t.Errorf("%s: %v", m.Network, err)
			continue
		}
		d := p.Describe()
		if d.Network != m.Network || d.Title != m.Title {
			t.Errorf("%s (%s) describes itself as %s (%s)", m.Network, m.Title, d.Network, d.Title)
		}
		for _, metric := range d.Metrics {
			if _, ok := social.MetricByName(metric); !ok {
				t.Errorf("%s offers the metric %q, which the catalogue does not know", m.Network, metric)
			}
		}
	}
}
