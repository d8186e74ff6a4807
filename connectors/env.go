package connectors

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"time"

	"smi/internal/social"
)

// Env is what a platform is given to live in. Everything in it is safe for
// concurrent use.
type Env struct {
	// Dial opens a TCP connection to host:port. It is the guarded dialer of
	// internal/netguard in the daemon and an in-memory one in simulations.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// RootCAs are the certificate authorities; nil means the system's.
	RootCAs *x509.CertPool
	// Now is the time. It must not stop while the machine sleeps.
	Now func() time.Time
	// Log gets what is worth a line; never a body, never a token.
	Log *slog.Logger
	// Limits keeps what the network said of its limits, for all nodes and across
	// restarts.
	Limits LimitStore
	// Spend counts what calls cost at networks that are paid per use. May be nil:
	// then nothing is counted.
	Spend SpendStore
	// Secrets is told every secret value that will be used, so that it can be
	// removed from whatever is logged. May be nil.
	Secrets func(value string)
	// Redact removes known secrets from a text that came from outside. May be nil.
	Redact func(text string) string
	// Date is told what a network said the time is, with each fresh answer over TLS.
	// May be nil.
	Date func(network social.Network, at time.Time)
	// UserAgent is sent with every request.
	UserAgent string
}

// LimitStore keeps until when a bucket is blocked. A bucket is a name such as
// "bluesky/account/did:plc:…/create".
type LimitStore interface {
	BlockedUntil(ctx context.Context, bucket string) (time.Time, error)
	Block(ctx context.Context, bucket string, until time.Time) error
}
