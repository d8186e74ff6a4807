package app

import (
	"context"
	"errors"

	"smi/connectors"
	"smi/internal/credentials"
	"smi/internal/social"
)

// GrantRows is what StoredLogins needs of the store.
type GrantRows interface {
	GrantRow(ctx context.Context, account social.ID) (credentials.Row, error)
}

// StoredLogins are the logins that internal/credentials keeps.
type StoredLogins struct {
	Service *credentials.Service
	Rows    GrantRows
}

var _ Logins = StoredLogins{}

// Put implements Logins.
func (l StoredLogins) Put(ctx context.Context, account social.ID, g connectors.Grant) error {
	return l.Service.Connect(ctx, account, g)
}

// Grant implements Logins. It refreshes nothing.
func (l StoredLogins) Grant(ctx context.Context, account social.ID) (connectors.Grant, error) {
	return l.Service.For(account, nil).Grant(ctx)
}

// Destroy implements Logins.
func (l StoredLogins) Destroy(ctx context.Context, account social.ID) error {
	return l.Service.Remove(ctx, account)
}

// State implements Logins.
func (l StoredLogins) State(ctx context.Context, account social.ID) (LoginState, error) {
	r, err := l.Rows.GrantRow(ctx, account)
	if errors.Is(err, credentials.ErrNoGrant) {
		return LoginState{State: "none"}, nil
	}
	return LoginState{State: string(r.State), Expires: r.Expires, RefreshExpires: r.RefreshExpires, LastError: r.LastError}, err
}
