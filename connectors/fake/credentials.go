package fake

import (
	"context"
	"sync"

	"smi/connectors"
)

// Credentials lend one grant and refresh it when the network refused it. They
// are for tests of a connector or of whoever needs a Client; the daemon has
// internal/credentials.
type Credentials struct {
	by connectors.Refresher

	mu    sync.Mutex
	grant connectors.Grant
}

var _ connectors.Credentials = (*Credentials)(nil)

// NewCredentials lends g. by may be nil: then a refused grant is dead.
func NewCredentials(by connectors.Refresher, g connectors.Grant) *Credentials {
	if g.Gen == 0 {
		g.Gen = 1
	}
	return &Credentials{by: by, grant: g}
}

// Grant implements connectors.Credentials.
func (c *Credentials) Grant(ctx context.Context) (connectors.Grant, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.grant, ctx.Err()
}

// Renew implements connectors.Credentials.
func (c *Credentials) Renew(ctx context.Context, gen int64) (connectors.Grant, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.grant.Gen > gen {
		return c.grant, nil
	}
	if c.by == nil {
		return connectors.Grant{}, &connectors.Error{Kind: connectors.AuthExpired, Op: "refresh", Text: "the login is dead; connect the account again"}
	}
	g, err := c.by.Refresh(ctx, c.grant)
	if err != nil {
		return connectors.Grant{}, err
	}
	g.Gen = c.grant.Gen + 1
	c.grant = g
	return g, nil
}
