package fake_test

import (
	"testing"
	"time"

	"smi/connectors"
	"smi/connectors/connectortest"
	"smi/connectors/fake"
	"smi/connectors/fake/faketest"
)

// TestConformance: what is proved on the fake is proved of the contract only if
// the fake keeps it, in each of its kinds.
func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name string
		o    fake.Options
	}{
		{"unkeyed", fake.Options{Mangle: true}},
		{"keyed", fake.Options{Network: "fake-keyed", Class: connectors.Keyed, Rotates: true, StrictReuse: true, ProcessTime: 5 * time.Millisecond}},
	} {
		t.Run(c.name, func(t *testing.T) {
			connectortest.Run(t, func(t testing.TB) *connectortest.Harness { return faketest.Open(t, c.o) })
		})
	}
}
