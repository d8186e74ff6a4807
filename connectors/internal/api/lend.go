package api

import (
	"context"

	"smi/connectors"
)

// Lend lends a grant that was given a moment ago and is not stored yet, for the
// first questions: who it belongs to. It is never renewed; one that is refused is
// none. op is the verb that asks, and title the network's.
func Lend(g connectors.Grant, op, title string) connectors.Credentials { return lent{g, op, title} }

type lent struct {
	g         connectors.Grant
	op, title string
}

func (l lent) Grant(context.Context) (connectors.Grant, error) { return l.g, nil }

func (l lent) Renew(context.Context, int64) (connectors.Grant, error) {
	return connectors.Grant{}, &connectors.Error{Kind: connectors.AuthExpired, Op: l.op, Text: l.title + " does not accept the new sign-in; try again"}
}
