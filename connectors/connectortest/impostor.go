package connectortest

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"smi/connectors/internal/simkit"
)

// Impostor is a server in the place of a network whose certificate no client may
// take.
type Impostor string

// The impostors.
const (
	WrongHost Impostor = "certificate of another host"
	Expired   Impostor = "expired certificate"
	Unvouched Impostor = "certificate that nobody vouches for"
)

// impostors makes a certificate for each, of which the first two come from
// somebody whom the pool trusts.
func impostors(host string, trusted *x509.CertPool) (map[Impostor]tls.Certificate, error) {
	out := map[Impostor]tls.Certificate{}
	for _, c := range []struct {
		name Impostor
		made time.Time
		host string
	}{
		{WrongHost, time.Now(), "another." + host},
		{Expired, time.Now().AddDate(-11, 0, 0), host},
		{Unvouched, time.Now(), host},
	} {
		cert, _, err := simkit.Certificate(c.made, c.host)
		if err != nil {
			return nil, fmt.Errorf("making the %s: %w", c.name, err)
		}
		if c.name != Unvouched {
			trusted.AddCert(cert.Leaf)
		}
		out[c.name] = cert
	}
	return out, nil
}
