package credentials

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"smi/connectors"
	"smi/internal/keyring"
	"smi/internal/social"
)

// secrets is a grant as it is sealed. The generation is not in it: it is bound
// to the sealed bytes.
type secrets struct {
	Access         string            `json:"access"`
	Refresh        string            `json:"refresh,omitempty"`
	Expires        time.Time         `json:"expires,omitzero"`
	RefreshExpires time.Time         `json:"refresh_expires,omitzero"`
	Scopes         []string          `json:"scopes,omitempty"`
	Rotates        bool              `json:"rotates,omitempty"`
	Extra          map[string]string `json:"extra,omitempty"`
	Public         []string          `json:"public,omitempty"`
}

func (s *Service) place(account social.ID, gen int64) keyring.Context {
	return keyring.Context{Instance: s.c.Instance, Table: "grant_row", Row: account.String(), Column: "sealed", Generation: gen}
}

// seal makes the row of a grant as it is after it was issued.
func (s *Service) seal(account social.ID, g connectors.Grant) (Row, error) {
	v := secrets{Access: g.Access.Reveal(), Refresh: g.Refresh.Reveal(), Expires: g.Expires, RefreshExpires: g.RefreshExpires, Scopes: g.Scopes, Rotates: g.Rotates, Public: g.Public}
	for k, x := range g.Extra {
		if v.Extra == nil {
			v.Extra = map[string]string{}
		}
		v.Extra[k] = x.Reveal()
	}
	plain, err := json.Marshal(v)
	if err != nil {
		return Row{}, errors.New("writing the login down failed")
	}
	sealed, err := s.c.Keyring.Seal(s.place(account, g.Gen), plain)
	clear(plain)
	if err != nil {
		return Row{}, fmt.Errorf("sealing the login of account %s: %w", account, err)
	}
	now := s.now()
	return Row{
		Account: account, Gen: g.Gen, Sealed: sealed, KeyID: s.c.Keyring.ID(), Issued: now, Expires: g.Expires,
		RefreshExpires: g.RefreshExpires, Rotates: g.Rotates, Scopes: g.Scopes, State: Connected, NextAt: dueAt(account, g, now),
	}, nil
}

// open reads the grant of a row.
func (s *Service) open(r Row) (connectors.Grant, error) {
	plain, err := s.c.Keyring.Open(s.place(r.Account, r.Gen), r.Sealed)
	if err != nil {
		return connectors.Grant{}, &connectors.Error{
			Kind: connectors.Permanent, Op: "login", Err: err,
			Text: fmt.Sprintf("the stored login of %s (sealed with key id %s) cannot be opened; put the key back that it was sealed with, or connect the account again", name(r), r.KeyID),
		}
	}
	defer clear(plain)
	var v secrets
	if err := json.Unmarshal(plain, &v); err != nil { // the cause may quote what it read
		return connectors.Grant{}, &connectors.Error{
			Kind: connectors.Permanent, Op: "login",
			Text: fmt.Sprintf("the stored login of %s is damaged; connect the account again", name(r)),
		}
	}
	g := connectors.Grant{
		Gen: r.Gen, Access: social.NewSecret(v.Access), Refresh: social.NewSecret(v.Refresh), Expires: v.Expires,
		RefreshExpires: v.RefreshExpires, Scopes: v.Scopes, Rotates: v.Rotates, Public: v.Public,
	}
	for k, x := range v.Extra {
		if g.Extra == nil {
			g.Extra = map[string]social.Secret{}
		}
		g.Extra[k] = social.NewSecret(x)
	}
	s.register(g)
	return g, nil
}

// register tells whoever cleans the logs about the secrets of a grant.
func (s *Service) register(g connectors.Grant) {
	if s.c.Secrets == nil {
		return
	}
	for _, v := range values(g) {
		s.c.Secrets(v)
	}
}

// values are the secrets of a grant.
func values(g connectors.Grant) []string {
	var out []string
	for _, v := range []social.Secret{g.Access, g.Refresh} {
		if !v.Empty() {
			out = append(out, v.Reveal())
		}
	}
	for name, v := range g.Extra {
		if !v.Empty() && !slices.Contains(g.Public, name) {
			out = append(out, v.Reveal())
		}
	}
	return out
}

// name is how people know the account of a row.
func name(r Row) string {
	if r.Handle == "" {
		return "account " + r.Account.String()
	}
	return r.Handle + " on " + string(r.Network)
}

// Sealed is a stored login as it lies in the database.
type Sealed struct {
	Account social.ID
	Network social.Network
	Handle  string
	Gen     int64
	Bytes   []byte
	KeyID   string
	Former  bool // the one before the current one, kept for a day
}

// Unopenable returns a sentence for each login that cannot be opened with the
// keys at hand. Nothing of what is opened is kept.
func (s *Service) Unopenable(all []Sealed) []string {
	var out []string
	for _, v := range all {
		plain, err := s.c.Keyring.Open(s.place(v.Account, v.Gen), v.Bytes)
		clear(plain)
		if err != nil {
			which := "the login of "
			if v.Former {
				which = "the former login of "
			}
			out = append(out, fmt.Sprintf("%s%s (key id %s)", which, name(Row{Account: v.Account, Network: v.Network, Handle: v.Handle}), v.KeyID))
		}
	}
	return out
}
